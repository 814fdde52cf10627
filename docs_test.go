package tufops_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDocsExist(t *testing.T) {
	for _, name := range []string{
		"README.md", "LICENSE",
		"docs/architecture.md", "docs/dependencies.md", "docs/development.md", "docs/divergences.md",
	} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty", name)
		}
	}
}

var (
	mdLink    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// Links between our own pages must lead somewhere, headings included.
func TestDocLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(pages, "README.md") {
		for _, m := range mdLink.FindAllStringSubmatch(readFile(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			target, fragment, _ := strings.Cut(m[1], "#")
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), filepath.FromSlash(target))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if fragment != "" && !slices.Contains(anchors(readFile(t, file)), fragment) {
				t.Errorf("%s links to %s, but no heading there gives #%s", page, m[1], fragment)
			}
		}
	}
	if checked == 0 {
		t.Error("no link was found")
	}
}

// anchors returns the names that a forge gives to the headings of a page.
func anchors(page string) []string {
	var names []string
	for _, m := range mdHeading.FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(name, "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func TestDependenciesAreExplained(t *testing.T) {
	page := readFile(t, "docs/dependencies.md")
	for line := range strings.Lines(readFile(t, "go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "v") || strings.Contains(line, "// indirect") {
			continue
		}
		if !strings.Contains(page, "`"+fields[0]+"`") {
			t.Errorf("docs/dependencies.md does not say why we need %s", fields[0])
		}
	}
	// A tool's module is marked as indirect.
	for line := range strings.Lines(readFile(t, "go.mod")) {
		if tool, ok := strings.CutPrefix(strings.TrimSpace(line), "tool "); ok {
			if module, _, _ := strings.Cut(tool, "/cmd/"); !strings.Contains(page, "`"+module+"`") {
				t.Errorf("docs/dependencies.md does not say why we need %s", module)
			}
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A variable that programs or tests read is found in the docs.
func TestVariablesAreExplained(t *testing.T) {
	var docs strings.Builder
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		docs.WriteString(readFile(t, page))
	}
	// What a test or an action tells its own second process is nobody's affair.
	variable := regexp.MustCompile(`"(TUFOPS_(?:REQUIRE_)?[A-Z_]+)[="]`)
	own := regexp.MustCompile(`^TUFOPS_((TEST|SHIM|BENCH|YUBIKEY)_|CLIENT$)`)
	seen := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() && d.Name() == "build" {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		for _, m := range variable.FindAllStringSubmatch(readFile(t, path), -1) {
			if name := m[1]; !seen[name] && !own.MatchString(name) {
				seen[name] = true
				if !regexp.MustCompile(`\b` + name + `\b`).MatchString(docs.String()) {
					t.Errorf("%s reads %s, which no page of docs/ explains", path, name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < 30 {
		t.Errorf("only %d variables were found: %v", len(seen), seen)
	}
}
