package main

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/repository"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

// TestRulesPage: docs/rules.md is what the program prints.
func TestRulesPage(t *testing.T) {
	const file = "../../docs/rules.md"
	status, stdout, stderr := program(t, "rules", "--format", "markdown")
	if status != 0 {
		t.Fatalf("exit %d: %s", status, stderr)
	}
	if *update {
		if err := os.WriteFile(file, []byte(stdout), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != stdout {
		t.Errorf("docs/rules.md is not what the rules say of themselves; write it anew with: go test ./cmd/tufops -run TestRulesPage -update")
	}
}

// TestRulesCommand: all forms name every rule and say all that is known of it.
func TestRulesCommand(t *testing.T) {
	status, list, stderr := program(t, "rules")
	if status != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", status, stderr)
	}
	_, text, _ := program(t, "rules", "--format", "json")
	var doc struct {
		Schema int
		Rules  []struct {
			Name, Level, Gates, Title, Stops, Source, Breaks string
			Example                                          struct{ Message, Hint string }
			Decisions                                        []string
		}
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil || doc.Schema != 1 || len(doc.Rules) != len(repository.Rules()) {
		t.Fatalf("%v\n%s", err, text)
	}
	lines := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	for i, r := range repository.Rules() {
		if want := strings.Fields(strings.Join([]string{r.Name, string(r.Level), string(r.Gates), r.Title}, " ")); !slices.Equal(strings.Fields(lines[i]), want) {
			t.Errorf("line %q, want %q", lines[i], want)
		}
		d := doc.Rules[i]
		if d.Name != r.Name || d.Level != string(r.Level) || d.Gates != string(r.Gates) || d.Title != r.Title || d.Stops != r.Stops || d.Source != r.Source ||
			d.Breaks != r.Breaks || d.Example.Message != r.Example || d.Example.Hint != r.Hint || len(d.Decisions) != len(r.Decisions()) {
			t.Errorf("%+v, want %+v", d, r)
		}
		status, one, stderr := program(t, "rules", r.Name)
		if status != 0 {
			t.Errorf("%s: exit %d: %s", r.Name, status, stderr)
		}
		flat := strings.Join(strings.Fields(one), " ")
		for _, part := range []string{r.Name, r.Title, "level " + string(r.Level), r.Stops, r.Source, r.Breaks, r.Example, "hint: " + r.Hint} {
			if part == "" || !strings.Contains(flat, strings.Join(strings.Fields(part), " ")) {
				t.Errorf("%s does not say %q:\n%s", r.Name, part, one)
			}
		}
		if lowers := strings.Contains(one, "level: off") || strings.Contains(one, "level: warning"); lowers == r.Fixed || r.Fixed != strings.Contains(one, "neither be lowered nor silenced") {
			t.Errorf("%s: fixed is %v:\n%s", r.Name, r.Fixed, one)
		}
		for _, line := range append(strings.Split(one, "\n"), lines[i]) {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s has a line of %d columns: %s", r.Name, utf8.RuneCountInString(line), line)
			}
		}
		if _, section, _ := program(t, "rules", "--format", "markdown", r.Name); !strings.HasPrefix(section, "## "+r.Name+"\n") || strings.Count(section, "\n## ") > 0 {
			t.Errorf("the section of %s:\n%s", r.Name, section)
		}
	}
	if status, _, stderr := program(t, "rules", "quorums"); status != 2 || !strings.Contains(stderr, `there is no rule "quorums"`) || !strings.Contains(stderr, "hint: list them with: tufops rules") {
		t.Errorf("exit %d: %s", status, stderr)
	}
	if status, _, _ := program(t, "rules", "--format", "yaml"); status != 2 {
		t.Errorf("exit %d", status)
	}
}

// TestPolicyExample: what an explanation proposes for .tufops.yaml can stand
// there.
func TestPolicyExample(t *testing.T) {
	for _, r := range repository.Rules() {
		_, one, _ := program(t, "rules", r.Name)
		_, example, ok := strings.Cut(one, "\n  rules:\n")
		if !ok {
			continue
		}
		p, err := repository.ParsePolicy([]byte("rules:\n" + example))
		if err != nil || p.Rules[r.Name].Level == "" {
			t.Errorf("%s: %v\n%s", r.Name, err, example)
		}
	}
}

// TestBrokenPolicy: a policy that nobody can read fails the verdict on an event
// with one sentence, and keeps nobody from freshness: online-sign and publish go
// on, and say so.
func TestBrokenPolicy(t *testing.T) {
	const hostile = "rules: {quorum: {level: off, reason: x}}\n"
	const sentence = "rules gives quorum the level off, but it can neither be lowered nor silenced"
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	main := w.Upstream.Clone("main")
	main.WriteFile(repository.PolicyFile, hostile)
	main.Commit("a policy")
	main.Push()
	status, stdout, stderr := tufops(t, w, nil, "-C", main.Dir, "online-sign", "--push", "--format", "json")
	var doc struct {
		Signed   []struct{ Role string }
		Warnings []string
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 0 || len(doc.Signed) != 2 {
		t.Errorf("exit %d, %v\n%s%s", status, err, stdout, stderr)
	}
	if len(doc.Warnings) != 1 || !strings.Contains(doc.Warnings[0], sentence) || !strings.Contains(stderr, sentence) {
		t.Errorf("warnings %q, stderr %s", doc.Warnings, stderr)
	}
	main.Run("switch", "-q", "-c", "sign/x")
	status, stdout, stderr = tufops(t, w, nil, "-C", main.Dir, "status")
	if status != 1 || stdout != "" || !strings.Contains(stderr, "tufops: error: .tufops.yaml at commit ") || !strings.Contains(stderr, sentence) || !strings.Contains(stderr, "hint: fix the file on main") {
		t.Errorf("exit %d, stdout %q, stderr %q", status, stdout, stderr)
	}

	r := publishtest.New(t)
	r.Git.WriteFile(repository.PolicyFile, hostile)
	r.Commit(t, "first")
	status, stdout, stderr = tufopsAt(t, publishtest.Now, nil, "-C", r.Git.Dir, "publish", "--to", "file://"+t.TempDir()+"/site")
	if status != 0 || !strings.Contains(stdout, ": published") || !strings.Contains(stderr, sentence) {
		t.Errorf("exit %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
