package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository/repositorytest"
)

// contract is what scripts and workflows of others call: the arguments of each
// command, and flags that it has. Commands and flags are added to it; none is
// renamed or taken away.
var contract = map[string]string{
	"status":                " --head --base --event --format --allow-legacy-keyids",
	"update-targets":        " --push --dry-run --format",
	"signing-event":         " --push --dry-run --format",
	"create-signing-events": " --push --dry-run --format",
	"online-sign":           " --push --dry-run --format",
	"online-sign-targets":   "ROLE... --push --dry-run --format",
	"build":                 " --metadata --artifacts --dry-run",
	"publish":               " --to --dry-run --format",
	"trusted-root show":     "[FILE] --format",
	"trusted-root validate": "[FILE] --format",
	"trusted-root diff":     "A B --format",
	"update-issue":          " --workflow --success --dry-run --format",
	"init":                  " --dry-run",
	"rules":                 "[NAME]",
	"keys check":            "[URI]",
	"demo":                  " --dir --repo",
}

// TestContract: each command takes what it always took, and what it does not take
// is a usage error before anything is looked at.
func TestContract(t *testing.T) {
	flags := func(list []urfave.Flag) (names []string) {
		for _, f := range list {
			for _, name := range f.Names() {
				names = append(names, strings.Repeat("-", min(len(name), 2))+name)
			}
		}
		return names
	}
	a := app(cli.Env{})
	if got := flags(a.Flags); !slices.Equal(got, []string{"-C", "--tuf-dir", "--log-format", "-v"}) {
		t.Errorf("every command has %q", got)
	}
	for name, want := range contract {
		group, rest, _ := strings.Cut(name, " ")
		c := a.Command(group)
		if c != nil && rest != "" {
			i := slices.IndexFunc(c.Subcommands, func(sub *urfave.Command) bool { return sub.Name == rest })
			c = c.Subcommands[max(i, 0)]
		}
		if c == nil || !strings.HasSuffix(name, c.Name) {
			t.Errorf("there is no %s", name)
			continue
		}
		words, _, _ := strings.Cut(want, " --")
		if c.ArgsUsage != words {
			t.Errorf("%s takes %q, not %q", name, c.ArgsUsage, words)
		}
		have := flags(c.Flags)
		for _, flag := range strings.Fields(strings.TrimPrefix(want, words)) {
			if !slices.Contains(have, flag) {
				t.Errorf("%s has no %s", name, flag)
			}
		}
		if slices.Contains(have, "--push") && !slices.Contains(have, "--dry-run") {
			t.Errorf("%s writes, and has no --dry-run", name)
		}
		args := append([]string{"-C", "/nowhere"}, strings.Fields(name)...)
		wrong := [][]string{{"--no-such-flag"}, {"one", "two", "three"}}
		if strings.HasSuffix(words, "...") {
			wrong[1] = nil // it takes any number, but not none
		}
		for _, wrong := range wrong {
			status, stdout, stderr := program(t, append(slices.Clone(args), wrong...)...)
			if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "tufops: error: ") || !strings.Contains(stderr, "tufops: hint: ") {
				t.Errorf("%s %q: exit %d, stdout %q, stderr %q", name, wrong, status, stdout, stderr)
			}
		}
	}
}

// TestStatusShape: the JSON that scripts read: which fields there are, root and targets
// before the other roles, people by name, the known-good root on root alone.
func TestStatusShape(t *testing.T) {
	w := repositorytest.New(t)
	w.Edit("root", nil).Sign("root", "alice")
	w.Edit("targets", func(s metadata.Object) {
		d := s["delegations"].(metadata.Object)
		d["roles"] = append([]any{metadata.Object{
			"name": "docs", "keyids": []any{repositorytest.Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"},
		}}, d["roles"].([]any)...)
	}).Sign("targets", "carol")
	w.Edit("releases", nil).Sign("releases", "carol")
	w.WriteFile("metadata/docs.json", w.ReadFile("metadata/releases.json"))
	w.Edit("docs", nil)
	w.Artifact("b.txt", "b")
	w.Commit("event")
	exit, stdout, stderr := program(t, "-C", w.Dir, "status", "--base", "main", "--format", "json")
	var s map[string]json.RawMessage
	var roles []map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(stdout), &s), json.Unmarshal(s["roles"], &roles)); err != nil || exit != 1 {
		t.Fatalf("exit %d, %v: %s%s", exit, err, stdout, stderr)
	}
	for _, name := range []string{"schema", "event", "commit", "base", "complete", "findings"} {
		if len(s[name]) == 0 {
			t.Errorf("no %s", name)
		}
	}
	var names []string
	for _, r := range roles {
		names = append(names, strings.Trim(string(r["role"]), `"`))
		for _, name := range []string{"complete", "version", "previous_version", "threshold", "signed", "missing", "artifacts", "findings"} {
			if v := string(r[name]); v == "" || v == "null" {
				t.Errorf("%s: %s is %q", r["role"], name, v)
			}
		}
		if known := r["known_good"] != nil; known != (string(r["role"]) == `"root"`) {
			t.Errorf("%s: known_good is %s", r["role"], r["known_good"])
		}
		for _, name := range []string{"signed", "missing"} {
			var people []string
			if err := json.Unmarshal(r[name], &people); err != nil || !slices.IsSorted(people) {
				t.Errorf("%s: %s is %s", r["role"], name, r[name])
			}
		}
	}
	if want := []string{"root", "targets", "docs", "releases"}; !slices.Equal(names, want) {
		t.Errorf("roles %q, want %q", names, want)
	}
	if got := string(roles[1]["missing"]); strings.Join(strings.Fields(got), "") != `["@alice","@bob"]` {
		t.Errorf("targets lacks %s", got)
	}
}

// TestEventName: an event is called as its branch, wherever that was found, and
// what only looks like one by its own name.
func TestEventName(t *testing.T) {
	w := repositorytest.New(t)
	w.Edit("targets", nil).Sign("targets", "alice")
	w.Commit("event")
	for _, ref := range []string{"refs/remotes/origin/sign/a/b", "refs/remotes/origin/design/x", "refs/heads/cosign/y"} {
		w.Run("update-ref", ref, "HEAD")
	}
	for _, test := range []struct{ args, want string }{
		{"", repositorytest.Event},
		{"--head origin/sign/a/b", "sign/a/b"},
		{"--head refs/remotes/origin/sign/a/b", "sign/a/b"},
		{"--head origin/design/x", "origin/design/x"},
		{"--head cosign/y", "cosign/y"},
		{"--head origin/design/x --event sign/x", "sign/x"},
	} {
		exit, stdout, stderr := program(t, append([]string{"-C", w.Dir, "status", "--base", "main", "--format", "json"}, strings.Fields(test.args)...)...)
		var s struct{ Event string }
		if err := json.Unmarshal([]byte(stdout), &s); err != nil || exit != 3 || s.Event != test.want {
			t.Errorf("%s: exit %d, event %q, want %q: %s", test.args, exit, s.Event, test.want, stderr)
		}
	}
}
