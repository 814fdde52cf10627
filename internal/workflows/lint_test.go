package workflows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// This file states what no workflow and no action of ours may do. General linters
// run beside it in CI; here is what they do not know: what a job on a sign/ branch
// may hold, and what stands in the signing path.

// laid is how the laid-down files are looked at: with the references filled in.
var laid = Actions{Repository: "tufops/tufops", Ref: "0123456789abcdef0123456789abcdef01234567", Version: "v0.1.0"}

func TestLint(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	look := func(where, name string, data []byte) {
		if !isWorkflow(name) && !isAction(name) {
			return
		}
		looked++
		for _, problem := range lint(name, data) {
			t.Errorf("%s%s: %s", where, name, problem)
		}
	}
	for _, f := range files {
		look("laid down: ", f.Path, f.Data)
		if isWorkflow(f.Path) {
			for _, problem := range lintFork(f.Data) {
				t.Errorf("laid down: %s: %s", f.Path, problem)
			}
		}
	}
	if looked < 5 {
		t.Errorf("looked at %d laid-down workflows, want 5 or more", looked)
	}
	top := os.DirFS("../..")
	err = fs.WalkDir(top, ".github", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(top, name)
		look("", name, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 5 + 3 + len(Names); looked < want {
		t.Errorf("looked at %d files, want %d or more", looked, want)
	}
}

func isWorkflow(name string) bool {
	return path.Dir(name) == ".github/workflows" && (path.Ext(name) == ".yml" || path.Ext(name) == ".yaml")
}

func isAction(name string) bool {
	return path.Base(name) == "action.yml" || path.Base(name) == "action.yaml"
}

var (
	pinned  = regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]+)?@[0-9a-f]{40}$`)
	says    = regexp.MustCompile(`^# (v[0-9]|unreleased)`)
	secrets = regexp.MustCompile(`\bsecrets\b\s*(\.\s*GITHUB_TOKEN\b)?`)
)

// lint returns what is wrong with a workflow or an action.
func lint(name string, data []byte) []string {
	var problems []string
	add := func(n *yaml.Node, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("line %d: ", n.Line)+fmt.Sprintf(format, args...))
	}
	doc, err := parse(data)
	if err != nil {
		return []string{err.Error()}
	}
	steps := func(list *yaml.Node, action bool) {
		if list == nil {
			return
		}
		for _, step := range list.Content {
			if uses := field(step, "uses"); uses != nil {
				lintUses(add, uses, action)
			}
			if shell := field(step, "shell"); shell != nil && shell.Value != "bash" {
				add(shell, "the shell is %q, not bash", shell.Value)
			}
			run := field(step, "run")
			if run == nil {
				continue
			}
			if strings.Contains(run.Value, "${{") {
				add(run, "an expression in a script: what it gives becomes code; pass it through env")
			}
			if action && strings.Contains(strings.TrimSpace(run.Value), "\n") && !strings.HasPrefix(run.Value, "set -euo pipefail\n") {
				add(run, "a script of several lines does not begin with set -euo pipefail")
			}
			if strings.Contains(run.Value, "GITHUB_PATH") {
				add(run, "a script changes PATH: programs are called by their full path")
			}
		}
	}
	if isAction(name) {
		runs := field(doc, "runs")
		if runs == nil || field(runs, "steps") == nil {
			return append(problems, "it is not a composite action")
		}
		steps(field(runs, "steps"), true)
		return problems
	}

	triggers := field(doc, "on")
	if triggers == nil {
		return append(problems, "nothing starts it")
	}
	for _, banned := range []string{"pull_request_target", "workflow_run", "issue_comment"} {
		if trigger(triggers, banned) {
			add(triggers, "%s runs with the rights of main on what a stranger brings", banned)
		}
	}
	if p := field(doc, "permissions"); p == nil || p.Kind != yaml.MappingNode || len(p.Content) > 0 {
		add(doc, "permissions at the top are not {}: each job names its own")
	}
	strangers := startedByStrangers(triggers)
	writes := false
	jobs := field(doc, "jobs")
	if jobs == nil || len(jobs.Content) == 0 {
		return append(problems, "it has no jobs")
	}
	for i := 0; i+1 < len(jobs.Content); i += 2 {
		id, job := jobs.Content[i], jobs.Content[i+1]
		if uses := field(job, "uses"); uses != nil {
			lintUses(add, uses, false)
		} else if field(job, "timeout-minutes") == nil {
			add(id, "job %s has no timeout-minutes", id.Value)
		}
		permissions := field(job, "permissions")
		if permissions == nil || permissions.Kind != yaml.MappingNode {
			add(id, "job %s does not list its permissions", id.Value)
		} else {
			for j := 0; j+1 < len(permissions.Content); j += 2 {
				what, level := permissions.Content[j], permissions.Content[j+1]
				writes = writes || level.Value == "write"
				if strings.Trim(level.LineComment, "# ") == "" {
					add(what, "job %s does not say why it has %s: %s", id.Value, what.Value, level.Value)
				}
				if strangers && what.Value == "id-token" {
					add(what, "job %s has an id-token, and a push to a sign/ branch brings its own workflow", id.Value)
				}
			}
		}
		if environment := field(job, "environment"); strangers && environment != nil {
			add(environment, "job %s has an environment, and a push to a sign/ branch brings its own workflow", id.Value)
		}
		steps(field(job, "steps"), false)
	}
	if strangers {
		walk(doc, func(n *yaml.Node) {
			for _, m := range secrets.FindAllStringSubmatch(n.Value, -1) {
				if m[1] == "" && (strings.Contains(n.Value, "${{") || n.Value == "secrets") {
					add(n, "it uses a secret, and a push to a sign/ branch brings its own workflow")
				}
			}
		})
	}
	if c := field(doc, "concurrency"); c != nil {
		if cancel := field(c, "cancel-in-progress"); writes && cancel != nil && cancel.Value != "false" {
			add(cancel, "a job that writes can be cancelled in the middle")
		}
	} else if writes && !trigger(triggers, "workflow_call") {
		add(doc, "a job writes, and there is no concurrency group")
	}
	return problems
}

func lintUses(add func(*yaml.Node, string, ...any), uses *yaml.Node, action bool) {
	switch {
	case strings.HasPrefix(uses.Value, "./"):
		if action {
			add(uses, "%s is looked up in the workspace, which may hold a stranger's files", uses.Value)
		}
		return
	case !pinned.MatchString(uses.Value):
		add(uses, "%s is not pinned to a full commit", uses.Value)
	case !says.MatchString(uses.LineComment):
		add(uses, "no comment behind %s says which version it is", uses.Value)
	}
	if action && !strings.HasPrefix(uses.Value, "actions/") {
		add(uses, "%s is somebody else's, and our actions sign and publish", uses.Value)
	}
}

// lintFork returns which jobs of a laid-down workflow would run in a fork.
func lintFork(data []byte) []string {
	doc, err := parse(data)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	jobs := field(doc, "jobs")
	for i := 0; i+1 < len(jobs.Content); i += 2 {
		job := jobs.Content[i+1]
		condition := field(job, "if")
		if condition == nil && field(job, "needs") != nil {
			continue // it does not run if what it needs was skipped
		}
		if condition == nil || !regexp.MustCompile(`^\$\{\{ (always\(\) && !cancelled\(\) && )?!github\.event\.repository\.fork( &&.*)? \}\}$`).MatchString(condition.Value) ||
			strings.Contains(condition.Value, "||") {
			problems = append(problems, fmt.Sprintf("job %s runs in a fork", jobs.Content[i].Value))
		}
	}
	return problems
}

func parse(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not one document")
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is not a mapping")
	}
	var alias *yaml.Node
	walk(&doc, func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			alias = n
		}
	})
	if alias != nil {
		return nil, fmt.Errorf("line %d: an alias hides what stands there", alias.Line)
	}
	return doc.Content[0], nil
}

func walk(n *yaml.Node, visit func(*yaml.Node)) {
	visit(n)
	for _, c := range n.Content {
		walk(c, visit)
	}
}

// trigger reports whether the event is among those that start the workflow.
func trigger(on *yaml.Node, event string) bool {
	switch on.Kind {
	case yaml.ScalarNode:
		return on.Value == event
	case yaml.SequenceNode:
		return slices.ContainsFunc(on.Content, func(n *yaml.Node) bool { return n.Value == event })
	}
	for i := 0; i < len(on.Content); i += 2 {
		if on.Content[i].Value == event {
			return true
		}
	}
	return false
}

// startedByStrangers reports whether the workflow runs as a sign/ branch has it:
// after a push to one, or for a pull request from one.
func startedByStrangers(on *yaml.Node) bool {
	if trigger(on, "pull_request") || trigger(on, "create") {
		return true
	}
	if !trigger(on, "push") {
		return false
	}
	var push *yaml.Node
	if on.Kind == yaml.MappingNode {
		push = field(on, "push")
	}
	if push == nil || push.Kind != yaml.MappingNode {
		return true
	}
	branches := field(push, "branches")
	if branches == nil {
		return field(push, "tags") == nil || field(push, "branches-ignore") != nil
	}
	list := branches.Content
	if branches.Kind == yaml.ScalarNode {
		list = []*yaml.Node{branches}
	}
	// Everything with a wildcard counts, but for a name that ends before it could
	// say sign/.
	return slices.ContainsFunc(list, func(n *yaml.Node) bool {
		return strings.HasPrefix(n.Value, "sign") || strings.ContainsAny(n.Value[:min(len(n.Value), 5)], "*?[+!")
	})
}

const goodWorkflow = `name: w
on:
  push:
    branches: ["sign/**"]
permissions: {}
concurrency:
  group: x
  cancel-in-progress: false
jobs:
  j:
    if: ${{ !github.event.repository.fork }}
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      contents: write # push
    steps:
      - uses: actions/checkout@0123456789abcdef0123456789abcdef01234567 # v1.0.0
        with:
          token: ${{ secrets.GITHUB_TOKEN }}
      - run: |
          echo hello
`

const goodAction = `name: a
runs:
  using: composite
  steps:
    - uses: actions/checkout@0123456789abcdef0123456789abcdef01234567 # v1.0.0
    - shell: bash
      env:
        X: ${{ inputs.x }}
      run: |
        set -euo pipefail
        echo "$X"
`

// A lint that finds nothing looks the same as files that are in order, so each
// check is tried on one that is not.
func TestLintReports(t *testing.T) {
	const w, a = ".github/workflows/w.yml", "x/action.yml"
	for _, good := range []struct{ name, src string }{{w, goodWorkflow}, {a, goodAction}} {
		if got := append(lint(good.name, []byte(good.src)), lintForkOf(good.name, good.src)...); got != nil {
			t.Fatalf("%s: reported %q, want nothing", good.name, got)
		}
	}
	for _, test := range []struct{ name, file, old, new, want string }{
		{"tag", w, "@0123456789abcdef0123456789abcdef01234567 # v1.0.0", "@v1", "actions/checkout@v1 is not pinned"},
		{"branch", w, "@0123456789abcdef0123456789abcdef01234567", "@main", "is not pinned"},
		{"short hash", w, "@0123456789abcdef0123456789abcdef01234567", "@0123456", "is not pinned"},
		{"hash in capitals", w, "@0123456789abcdef", "@0123456789ABCDEF", "is not pinned"},
		{"docker", w, "actions/checkout@0123456789abcdef0123456789abcdef01234567", "docker://alpine:3", "is not pinned"},
		{"no version", w, " # v1.0.0", "", "says which version"},
		{"comment without version", w, " # v1.0.0", " # checkout", "says which version"},
		{"tag in a quoted value", w, "actions/checkout@0123456789abcdef0123456789abcdef01234567 # v1.0.0", `"actions/checkout@v1" # v1`, "is not pinned"},
		{"reusable workflow by branch", w, "    runs-on: ubuntu-latest\n", "    uses: o/r/.github/workflows/w.yml@main\n", "is not pinned"},
		{"tag in an action", a, "@0123456789abcdef0123456789abcdef01234567 # v1.0.0", "@v1", "is not pinned"},
		{"local use in an action", a, "actions/checkout@0123456789abcdef0123456789abcdef01234567", "./setup", "looked up in the workspace"},
		{"third party in an action", a, "actions/checkout@", "astral/setup@", "somebody else's"},
		{"pull_request_target", w, "  push:\n    branches: [\"sign/**\"]\n", "  pull_request_target:\n", "rights of main"},
		{"pull_request_target in a list", w, "on:\n  push:\n    branches: [\"sign/**\"]\n", "on: [push, pull_request_target]\n", "rights of main"},
		{"pull_request_target alone", w, "on:\n  push:\n    branches: [\"sign/**\"]\n", "on: pull_request_target\n", "rights of main"},
		{"workflow_run", w, "on:\n  push:\n    branches: [\"sign/**\"]\n", "on: workflow_run\n", "rights of main"},
		{"expression in a script", w, "echo hello", "echo ${{ github.head_ref }}", "becomes code"},
		{"expression in an action's script", a, `echo "$X"`, `echo "${{ inputs.x }}"`, "becomes code"},
		{"expression on one line", w, "run: |\n          echo hello", "run: echo ${{ inputs.x }}", "becomes code"},
		{"sloppy script", a, "        set -euo pipefail\n        echo", "        true\n        echo", "set -euo pipefail"},
		{"other shell", a, "shell: bash", "shell: sh", "not bash"},
		{"shell with an expression", a, "shell: bash", "shell: ${{ inputs.x }}", "not bash"},
		{"PATH", a, `echo "$X"`, `echo "$X" >>"$GITHUB_PATH"`, "changes PATH"},
		{"no permissions at the top", w, "permissions: {}\n", "", "permissions at the top"},
		{"permissions at the top", w, "permissions: {}\n", "permissions:\n  contents: read\n", "permissions at the top"},
		{"read-all at the top", w, "permissions: {}\n", "permissions: read-all\n", "permissions at the top"},
		{"no permissions", w, "    permissions:\n      contents: write # push\n", "", "does not list its permissions"},
		{"write-all", w, "    permissions:\n      contents: write # push\n", "    permissions: write-all # all\n", "does not list its permissions"},
		{"no reason", w, "write # push", "write", "does not say why it has contents: write"},
		{"empty reason", w, "write # push", "write #", "does not say why it has contents: write"},
		{"no timeout", w, "    timeout-minutes: 5\n", "", "no timeout-minutes"},
		{"no concurrency", w, "concurrency:\n  group: x\n  cancel-in-progress: false\n", "", "no concurrency group"},
		{"cancelled while it writes", w, "cancel-in-progress: false", "cancel-in-progress: true", "cancelled in the middle"},
		{"perhaps cancelled while it writes", w, "cancel-in-progress: false", "cancel-in-progress: ${{ true }}", "cancelled in the middle"},
		{"id-token", w, "contents: write # push", "id-token: write # log in", "has an id-token"},
		{"environment", w, "    timeout-minutes: 5\n", "    timeout-minutes: 5\n    environment: prod\n", "has an environment"},
		{"environment with a url", w, "    timeout-minutes: 5\n", "    timeout-minutes: 5\n    environment: {name: prod}\n", "has an environment"},
		{"secret", w, "secrets.GITHUB_TOKEN", "secrets.TUF_ON_CI_TOKEN || secrets.GITHUB_TOKEN", "uses a secret"},
		{"secret by index", w, "secrets.GITHUB_TOKEN", "secrets['KEY']", "uses a secret"},
		{"secret of a longer name", w, "secrets.GITHUB_TOKEN", "secrets.GITHUB_TOKEN_2", "uses a secret"},
		{"all secrets", w, "secrets.GITHUB_TOKEN", "toJSON(secrets)", "uses a secret"},
		{"secrets inherited", w, "    timeout-minutes: 5\n", "    timeout-minutes: 5\n    secrets: inherit\n", "uses a secret"},
		{"secret after a push anywhere", w, "    branches: [\"sign/**\"]\n", "    paths: [x]\n", "" /* see below */},
		{"runs in a fork", w, "    if: ${{ !github.event.repository.fork }}\n", "", "job j runs in a fork"},
		{"runs in a fork after all", w, "fork }}", "fork || true }}", "job j runs in a fork"},
		{"runs in a fork only", w, "!github.event.repository.fork", "github.event.repository.fork", "job j runs in a fork"},
		{"alias", w, "name: w\n", "name: &n w\nrun-name: *n\n", "an alias hides"},
		{"two documents", w, "name: w\n", "name: w\n---\n", "not one document"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := goodWorkflow
			if test.file == a {
				src = goodAction
			}
			bad := strings.Replace(src, test.old, test.new, 1)
			if bad == src {
				t.Fatalf("%q is not in the good file", test.old)
			}
			if test.want == "" {
				bad = strings.Replace(bad, "secrets.GITHUB_TOKEN", "secrets.KEY", 1)
				test.want = "uses a secret"
			}
			got := append(lint(test.file, []byte(bad)), lintForkOf(test.file, bad)...)
			if !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, test.want) }) {
				t.Errorf("reported %q, want %q", got, test.want)
			}
		})
	}
}

func lintForkOf(name, src string) []string {
	if !isWorkflow(name) {
		return nil
	}
	if _, err := parse([]byte(src)); err != nil {
		return nil
	}
	return lintFork([]byte(src))
}

func TestStartedByStrangers(t *testing.T) {
	for on, want := range map[string]bool{
		"push":                                   true,
		"[push]":                                 true,
		"pull_request":                           true,
		"{push: {branches: [main]}}":             false,
		"{push: {branches: main}}":               false,
		"{push: {branches: [main, 'sign/**']}}":  true,
		"{push: {branches: ['**']}}":             true,
		"{push: {branches: ['s*']}}":             true,
		"{push: {branches: ['release/**']}}":     false,
		"{push: {branches-ignore: [main]}}":      true,
		"{push: {paths: ['metadata/**']}}":       true,
		"{push: {tags: ['v*']}}":                 false,
		"{push: {}}":                             true,
		"{schedule: [{cron: '1 2 * * *'}]}":      false,
		"{workflow_dispatch: , workflow_call: }": false,
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(on), &doc); err != nil {
			t.Fatal(err)
		}
		if got := startedByStrangers(doc.Content[0]); got != want {
			t.Errorf("%s: got %v, want %v", on, got, want)
		}
	}
}

// The laid-down workflow that signing events start must be among those that are
// held to the strict rules, whatever its triggers become.
func TestSigningEventIsStrangers(t *testing.T) {
	data, err := os.ReadFile(filepath.FromSlash("files/.github/workflows/signing-event.yml"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if !startedByStrangers(field(doc, "on")) {
		t.Error("signing-event.yml is not held to what a job on a sign/ branch may have")
	}
}
