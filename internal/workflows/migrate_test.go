package workflows

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const (
	theirs = "theupdateframework/tuf-on-ci/actions/signing-event@4e63a5934064216b7caa7a4a833b1b0936bec660"
	ours   = "tufops/tufops/.github/actions/signing-event@0123456789abcdef0123456789abcdef01234567"
)

// workflow is one with a single step whose line is given from its indent on.
func workflow(lines string) string {
	return "on: push\njobs:\n  j:\n    runs-on: x\n    steps:\n" + lines + "\n      - run: true\n"
}

func TestMigrateLine(t *testing.T) {
	for _, test := range []struct{ name, old, new string }{
		{"plain", "      - uses: " + theirs + " # v0.20.0", "      - uses: " + ours + " # v0.1.0, was: " + theirs + " # v0.20.0"},
		{"no comment", "      - uses: " + theirs, "      - uses: " + ours + " # v0.1.0, was: " + theirs},
		{"by tag", "      - uses: theupdateframework/tuf-on-ci/actions/online-sign@v0.20.0",
			"      - uses: tufops/tufops/.github/actions/online-sign@" + laid.Ref + " # v0.1.0, was: theupdateframework/tuf-on-ci/actions/online-sign@v0.20.0"},
		{"not first in its step", "      - name: a\n        uses: " + theirs, "      - name: a\n        uses: " + ours + " # v0.1.0, was: " + theirs},
		{"double quotes", `      - uses:   "` + theirs + `"   # why`, `      - uses:   "` + ours + `" # v0.1.0, was: "` + theirs + `"   # why`},
		{"single quotes", `      - uses: '` + theirs + `'`, `      - uses: '` + ours + `' # v0.1.0, was: '` + theirs + `'`},
		{"quoted key", `      - "uses" : ` + theirs, `      - "uses" : ` + ours + ` # v0.1.0, was: ` + theirs},
		{"anchor", "      - uses: &it " + theirs + "\n      - uses: *it", "      - uses: &it " + ours + " # v0.1.0, was: " + theirs + "\n      - uses: *it"},
		{"white space at the end", "      - uses: " + theirs + " \t ", "      - uses: " + ours + " # v0.1.0, was: " + theirs + " \t "},
		{"comment with our mark", "      - uses: " + theirs + " # v0.20.0, was: v0.19.0", "      - uses: " + ours + " # v0.1.0, was: " + theirs + " # v0.20.0, was: v0.19.0"},
		{"comment that is not ASCII", "      - uses: " + theirs + " # fünf", "      - uses: " + ours + " # v0.1.0, was: " + theirs + " # fünf"},
		{"CRLF", "      - uses: " + theirs + " # v0.20.0\r\n      - name: x\r", "      - uses: " + ours + " # v0.1.0, was: " + theirs + " # v0.20.0\r\n      - name: x\r"},
		{"in a script", "      - run: |\n          cat <<E\n          uses: " + theirs + "\n          E", ""},
		{"in an input", "      - uses: x/y@z\n        with:\n          uses: " + theirs, ""},
		{"in a comment", "      # - uses: " + theirs, ""},
		{"ours already", "      - uses: " + ours + " # v0.1.0", ""},
		{"somebody else's", "      - uses: example/tuf-on-ci/actions/signing-event@v1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := t.TempDir()
			file := filepath.Join(top, ".github/workflows/w.yaml")
			old, want := workflow(test.old), workflow(test.new)
			if test.new == "" {
				want = old
			}
			writeFile(t, file, old)
			for range 2 { // the second time changes nothing
				if plan := must(Migrate(top, laid))(t); plan.Left != nil {
					t.Errorf("left %+v", plan.Left)
				} else if err := plan.Write(top); err != nil {
					t.Fatal(err)
				}
				if got := string(readFile(t, file)); got != want {
					t.Errorf("got\n%q, want\n%q", got, want)
				}
			}
			for range 2 {
				if err := must(Undo(top, "nobody/nothing"))(t).Write(top); err != nil {
					t.Fatal(err)
				}
				if got := string(readFile(t, file)); got != old {
					t.Errorf("undone, got\n%q, want\n%q", got, old)
				}
			}
		})
	}
}

// What cannot be rewritten is told, and stays byte for byte.
func TestMigrateLeaves(t *testing.T) {
	const repo = "theupdateframework/tuf-on-ci"
	for _, test := range []struct {
		name, lines, why string
		line             int
	}{
		{"unknown action", "      - uses: " + repo + "/actions/build@v1", "no action of this name", 6},
		{"action below another", "      - uses: " + repo + "/actions/online-sign/x@v1", "no action of this name", 6},
		{"the repository itself", "      - uses: " + repo + "/@v1", "no action of this name", 6},
		{"no version", "      - uses: " + repo + "/actions/online-sign", "no version stands behind", 6},
		{"empty version", "      - uses: " + repo + "/actions/online-sign@", "no version stands behind", 6},
		{"other case", "      - uses: TheUpdateFramework/tuf-on-ci/actions/online-sign@v1", "spelt other than", 6},
		{"flow", "      - {uses: " + repo + "/actions/online-sign@v1, with: {token: x}}", "on a line of its own", 6},
		{"over two lines", "      - uses:\n          " + repo + "/actions/online-sign@v1", "on a line of its own", 7},
		{"folded", "      - uses: >-\n          " + repo + "/actions/online-sign@v1", "on a line of its own", 6},
		{"escaped", `      - uses: "theupdateframework\x2ftuf-on-ci/actions/online-sign@v1"`, "on a line of its own", 6},
		{"reusable workflow", "      - run: true\n  k:\n    uses: " + repo + "/.github/workflows/x.yml@v1\n  l:\n    steps:", "no action of this name", 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := t.TempDir()
			file := filepath.Join(top, ".github/workflows/w.yml")
			writeFile(t, file, workflow(test.lines))
			plan := must(Migrate(top, laid))(t)
			if len(plan.Edits) > 0 {
				t.Errorf("would write %q", plan.Edits[0].New)
			}
			if len(plan.Left) != 1 || plan.Left[0].Line != test.line || !strings.Contains(plan.Left[0].Why, test.why) ||
				!strings.Contains(strings.ToLower(plan.Left[0].Uses), repo) || plan.Left[0].Path != ".github/workflows/w.yml" {
				t.Errorf("left %+v, want line %d because %q", plan.Left, test.line, test.why)
			}
		})
	}
}

// Undoing touches only what it can read without a doubt.
func TestUndoLeaves(t *testing.T) {
	for _, test := range []struct{ name, line, why string }{
		{"not ours", "      - uses: example/x/.github/actions/y@v1 # v0.1.0, was: " + theirs, ""},
		{"of another repository, never migrated", "      - uses: example/x/.github/actions/signing-event@v1", ""},
		{"laid down by init", "      - uses: " + ours + " # v0.1.0", "does not say what was there before"},
		{"mark in front of the mark", "      - uses: " + ours + " # v0.1.0, was: old, was: " + theirs, "does not end with a use of tuf-on-ci"},
		{"original cut off", "      - uses: " + ours + " # v0.1.0, was: theupdateframework/tuf-on-ci/actions/signing-event", "does not end with a use of tuf-on-ci"},
		{"original with half its quotes", "      - uses: " + ours + " # v0.1.0, was: \"" + theirs, "does not end with a use of tuf-on-ci"},
		{"something else behind the mark", "      - uses: " + ours + " # v0.1.0, was: example/evil@v1", "does not end with a use of tuf-on-ci"},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := t.TempDir()
			writeFile(t, filepath.Join(top, ".github/workflows/w.yml"), workflow(test.line))
			plan := must(Undo(top, laid.Repository))(t)
			if len(plan.Edits) > 0 {
				t.Errorf("would write %q", plan.Edits[0].New)
			}
			if test.why == "" && plan.Left == nil {
				return
			}
			if len(plan.Left) != 1 || !strings.Contains(plan.Left[0].Why, test.why) || test.why == "" {
				t.Errorf("left %+v, want %q", plan.Left, test.why)
			}
		})
	}
}

// Between migrating and undoing people and bots edit the files.
func TestUndoAfterEdits(t *testing.T) {
	top := t.TempDir()
	file := filepath.Join(top, ".github/workflows/w.yml")
	writeFile(t, file, workflow("      - uses: "+theirs+" # v0.20.0"))
	if err := must(Migrate(top, laid))(t).Write(top); err != nil {
		t.Fatal(err)
	}
	edited := string(readFile(t, file))
	edited = strings.ReplaceAll(edited, laid.Ref, strings.Repeat("f", 40))
	edited = strings.ReplaceAll(edited, "v0.1.0", "v0.2.0")
	edited = strings.Replace(edited, "on: push\n", "name: new\n\non: push\n", 1)
	writeFile(t, file, edited)
	if err := must(Undo(top, laid.Repository))(t).Write(top); err != nil {
		t.Fatal(err)
	}
	if got, want := string(readFile(t, file)), "name: new\n\n"+workflow("      - uses: "+theirs+" # v0.20.0"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A repository of the shape that Sigstore's have: every line that names tuf-on-ci
// changes, nothing else does, and the way back ends where it began.
func TestMigrateRepository(t *testing.T) {
	top := t.TempDir()
	if err := os.CopyFS(top, os.DirFS("testdata/predecessor")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, top)
	plan := must(Migrate(top, laid))(t)
	if plan.Left != nil {
		t.Errorf("left %+v", plan.Left)
	}
	if err := plan.Write(top); err != nil {
		t.Fatal(err)
	}
	after := tree(t, top)
	changed := 0
	for name, old := range before {
		oldLines, newLines := strings.SplitAfter(old, "\n"), strings.SplitAfter(after[name], "\n")
		if len(oldLines) != len(newLines) {
			t.Fatalf("%s has %d lines, had %d", name, len(newLines), len(oldLines))
		}
		for i, line := range oldLines {
			if strings.Contains(line, "theupdateframework/tuf-on-ci/") {
				changed++
				action, _, _ := strings.Cut(line[strings.Index(line, "actions/")+len("actions/"):], "@")
				before, _, _ := strings.Cut(line, "theupdateframework")
				want := before + laid.uses(action) + " # v0.1.0, was: " + strings.TrimPrefix(line, before)
				if newLines[i] != want {
					t.Errorf("%s:%d: %q, want %q", name, i+1, newLines[i], want)
				}
			} else if newLines[i] != line {
				t.Errorf("%s:%d changed to %q", name, i+1, newLines[i])
			}
		}
	}
	if changed != 10 {
		t.Errorf("%d lines were looked at, want 10", changed)
	}
	for name, data := range after {
		doc, err := parse([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		walk(doc, func(n *yaml.Node) {
			if uses := field(n, "uses"); uses != nil {
				lintUses(func(n *yaml.Node, format string, args ...any) {
					t.Errorf("%s:%d: %s", name, n.Line, fmt.Sprintf(format, args...))
				}, uses, false)
			}
		})
	}
	// The diff is one: applied to the old files it gives the new ones.
	patched := t.TempDir()
	if err := os.CopyFS(patched, os.DirFS("testdata/predecessor")); err != nil {
		t.Fatal(err)
	}
	apply(t, patched, plan.Diff())
	if got := tree(t, patched); !reflect.DeepEqual(got, after) {
		t.Error("the diff does not give what was written")
	}
	if err := must(Undo(top, laid.Repository))(t).Write(top); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, top); !maps.Equal(got, before) {
		t.Error("undoing did not bring back what was there")
	}
}

// TestMigrateStopped: stopped between any two files, either way, and run again it
// ends as if it had not been.
func TestMigrateStopped(t *testing.T) {
	top := t.TempDir()
	if err := os.CopyFS(top, os.DirFS("testdata/predecessor")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, top)
	ways := []func() Plan{
		func() Plan { return must(Migrate(top, laid))(t) },
		func() Plan { return must(Undo(top, laid.Repository))(t) },
	}
	if err := ways[0]().Write(top); err != nil {
		t.Fatal(err)
	}
	after := tree(t, top)
	if maps.Equal(before, after) {
		t.Fatal("nothing is migrated")
	}
	for i, want := range []map[string]string{before, after, before} { // undone, migrated, undone
		way := ways[(i+1)%2]
		for n := range way().Edits {
			plan := way()
			plan.Edits = plan.Edits[:min(n, len(plan.Edits))]
			if err := plan.Write(top); err != nil {
				t.Fatal(err)
			}
		}
		if err := way().Write(top); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, top); !maps.Equal(got, want) {
			t.Errorf("way %d: stopped and run again it leaves %q, want %q", i, got, want)
		}
		if again := way(); again.Edits != nil || again.Left != nil {
			t.Errorf("way %d: there is more to do: %+v", i, again)
		}
	}
}

func TestDiff(t *testing.T) {
	lines := strings.SplitAfter(strings.Repeat("same\n", 40), "\n")[:40]
	for _, test := range []struct {
		name   string
		change []int
		last   string // replaces the last line
		hunks  int
	}{
		{"first line", []int{0}, "", 1},
		{"last line", []int{39}, "", 1},
		{"two beside each other", []int{10, 11}, "", 1},
		{"two that share lines around", []int{10, 16}, "", 1},
		{"two that meet", []int{10, 17}, "", 2},
		{"two far apart", []int{3, 30}, "", 2},
		{"all", seq(40), "", 1},
		{"no line feed at the end", []int{39}, "end", 1},
		{"no line feed near a change", []int{38}, "end", 1},
		{"carriage returns", []int{38}, "end\r\n", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := slices.Clone(lines)
			if test.last != "" {
				old[39] = test.last
			}
			now := slices.Clone(old)
			for _, i := range test.change {
				now[i] = "new " + old[i]
			}
			e := Edit{"a/b.yml", []byte(strings.Join(old, "")), []byte(strings.Join(now, ""))}
			diff := Plan{Edits: []Edit{e}}.Diff()
			if got := strings.Count(diff, "@@ -"); got != test.hunks {
				t.Errorf("%d hunks, want %d:\n%s", got, test.hunks, diff)
			}
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "a/b.yml"), string(e.Old))
			apply(t, dir, diff)
			if got := readFile(t, filepath.Join(dir, "a/b.yml")); string(got) != string(e.New) {
				t.Errorf("applied, it gives %q, want %q", got, e.New)
			}
		})
	}
}

func TestMigrateRefusesWhatIsNoYAML(t *testing.T) {
	top := t.TempDir()
	writeFile(t, filepath.Join(top, ".github/workflows/a.yml"), workflow("      - uses: "+theirs))
	writeFile(t, filepath.Join(top, ".github/workflows/b.yml"), "jobs: [\n")
	before := tree(t, top)
	if plan, err := Migrate(top, laid); err == nil || !strings.Contains(err.Error(), ".github/workflows/b.yml") {
		t.Errorf("planned %+v, %v; want an error that names b.yml", plan, err)
	}
	if !maps.Equal(tree(t, top), before) {
		t.Error("something was written")
	}
	if plan := must(Migrate(t.TempDir(), laid))(t); plan.Edits != nil || plan.Left != nil {
		t.Errorf("without workflows, planned %+v", plan)
	}
}

// YAML of this version counts more characters as the end of a line than people and
// git do. Where that leads to another line that looks the same, nothing is written.
func TestMigrateRefusesWhatItMightMistake(t *testing.T) {
	top := t.TempDir()
	file := filepath.Join(top, ".github/workflows/w.yml")
	old := "# a\u2028# b\u2028# c\n" + workflow("      - uses: "+theirs+"\n        with:\n          uses: "+theirs)
	writeFile(t, file, old)
	if plan, err := Migrate(top, laid); err == nil || !strings.Contains(err.Error(), "please change it by hand") {
		t.Errorf("planned %+v, %v; want an error", plan, err)
	}
}

// TestMigrateOwnActions: a repository can have put tuf-on-ci's actions into one of
// its own.
func TestMigrateOwnActions(t *testing.T) {
	top := t.TempDir()
	action := func(uses string) string {
		return "name: x\nruns:\n  using: composite\n  steps:\n    - uses: " + uses + "\n    - run: true\n"
	}
	for name, changed := range map[string]bool{
		".github/actions/sign/action.yml": true, ".github/actions/other/action.yaml": true,
		".github/actions/sign/more.yml": false, ".github/actions/action.yml": false, ".github/actions/sign/deeper/action.yml": false,
	} {
		writeFile(t, filepath.Join(top, name), action(theirs))
		plan := must(Migrate(top, laid))(t)
		if (len(plan.Edits) == 1) != changed || plan.Left != nil {
			t.Errorf("%s: planned %+v", name, plan)
		}
		if err := plan.Write(top); err != nil {
			t.Fatal(err)
		}
		want := action(theirs)
		if changed {
			want = action(ours + " # v0.1.0, was: " + theirs)
		}
		if got := string(readFile(t, filepath.Join(top, name))); got != want {
			t.Errorf("%s says %q, want %q", name, got, want)
		}
	}
	if err := must(Undo(top, "nobody/nothing"))(t).Write(top); err != nil {
		t.Fatal(err)
	}
	if got := string(readFile(t, filepath.Join(top, ".github/actions/sign/action.yml"))); got != action(theirs) {
		t.Errorf("came back as %q", got)
	}
}

func FuzzMigrate(f *testing.F) {
	for _, lines := range []string{"      - uses: " + theirs, "      - uses: \"" + theirs + "\" # x\r", "      - {uses: " + theirs + "}"} {
		f.Add(workflow(lines))
	}
	f.Fuzz(func(t *testing.T, src string) {
		top := t.TempDir()
		file := filepath.Join(top, ".github/workflows/w.yml")
		writeFile(t, file, src)
		plan, err := Migrate(top, laid)
		if err != nil || plan.Edits == nil {
			return
		}
		if err := plan.Write(top); err != nil {
			t.Fatal(err)
		}
		if again := must(Migrate(top, laid))(t); again.Edits != nil {
			t.Errorf("a second time would write %q", again.Edits[0].New)
		}
		if err := must(Undo(top, "nobody/nothing"))(t).Write(top); err != nil {
			t.Fatal(err)
		}
		if got := string(readFile(t, file)); got != src {
			t.Errorf("came back as %q, was %q", got, src)
		}
	})
}

func seq(n int) []int {
	var s []int
	for i := range n {
		s = append(s, i)
	}
	return s
}

// apply has git apply a diff, so that it is what people take it for.
func apply(t *testing.T, dir, diff string) {
	t.Helper()
	cmd := exec.Command("git", "apply", "--whitespace=nowarn", "-")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(diff)
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v\n%s\n%s", err, out, diff)
	}
}

func must(plan Plan, err error) func(*testing.T) Plan {
	return func(t *testing.T) Plan {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
}
