package workflows

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/infrastructure.md says which permissions each job holds. People decide by
// it, so it must say what the files say.
func TestInfrastructurePage(t *testing.T) {
	told := make(map[string][]string) // by "FILE JOB"
	row := regexp.MustCompile("(?m)^\\| (?:`([a-z-]+\\.yml)` ([a-z-]+)|(update-issue), [^|]*) \\|[^|]*\\|([^|]*)\\|")
	permission := regexp.MustCompile("`([a-z-]+: (?:read|write))`")
	for _, m := range row.FindAllStringSubmatch(string(readFile(t, "../../docs/infrastructure.md")), -1) {
		for _, p := range permission.FindAllStringSubmatch(m[4], -1) {
			name := strings.TrimSpace(m[1] + " " + m[2] + m[3])
			told[name] = append(told[name], p[1])
		}
	}
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range files {
		if !isWorkflow(f.Path) {
			continue
		}
		doc, err := parse(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		jobs := field(doc, "jobs")
		for i := 0; i+1 < len(jobs.Content); i += 2 {
			id, job := jobs.Content[i].Value, jobs.Content[i+1]
			if field(job, "uses") != nil {
				continue // it holds nothing itself
			}
			name := strings.TrimPrefix(f.Path, ".github/workflows/") + " " + id
			if id == "update-issue" {
				name = id
			}
			seen[name] = true
			var have []string
			for j := 0; j+1 < len(field(job, "permissions").Content); j += 2 {
				have = append(have, field(job, "permissions").Content[j].Value+": "+field(job, "permissions").Content[j+1].Value)
			}
			slices.Sort(have)
			slices.Sort(told[name])
			if !slices.Equal(have, told[name]) {
				t.Errorf("%s has %q, and the page says %q", name, have, told[name])
			}
		}
	}
	if names := slices.Sorted(maps.Keys(told)); !slices.Equal(names, slices.Sorted(maps.Keys(seen))) {
		t.Errorf("the page tells of %q, there are %q", names, slices.Sorted(maps.Keys(seen)))
	}
}
