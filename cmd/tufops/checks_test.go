package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish/publishtest"
)

func TestSplitCommand(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                       {"a"},
		"  a\tb  c\n":             {"a", "b", "c"},
		`./x --name 'a b' "c d"e`: {"./x", "--name", "a b", "c de"},
		`a '' ""`:                 {"a", "", ""},
		`a $HOME;b|c > d\ e`:      {"a", "$HOME;b|c", ">", `d\`, "e"},
		`a "it's"`:                {"a", "it's"},
	} {
		if got, err := splitCommand(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gives %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "  ", `a "b`, `a 'b`, `""`, `'' a`} {
		if got, err := splitCommand(text); err == nil {
			t.Errorf("%q gives %q, want an error", text, got)
		}
	}
}

// TestPublishSteps: the stage, the checks on it, production; what is red heals
// with the next run, without anybody touching a branch.
func TestPublishSteps(t *testing.T) {
	r := publishtest.New(t)
	r.Commit(t, "first")
	dir := t.TempDir()
	script := filepath.Join(dir, "client tests")
	said, red := filepath.Join(dir, "said"), filepath.Join(dir, "red")
	// It fails while the file is there, and tells what it was given.
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\necho \"$@\" >> '%s'\nenv >> '%s'\necho looking at the stage\ntest ! -e '%s'\n", said, said, red), 0o755); err != nil {
		t.Fatal(err)
	}
	stage, site := filepath.Join(dir, "stage"), filepath.Join(dir, "site")
	environ := map[string]string{"PATH": os.Getenv("PATH"), "HOME": dir, "AWS_SECRET_ACCESS_KEY": "secret", "GITHUB_TOKEN": "secret", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"}
	run := func(args ...string) (int, string, string) {
		t.Helper()
		_ = os.Remove(said)
		return tufopsAt(t, publishtest.Now, environ, append([]string{"-C", r.Git.Dir, "publish", "--to", "file://" + site, "--stage", "file://" + stage,
			"--check", "'" + script + "' one 'two  three'"}, args...)...)
	}
	status, stdout, stderr := run()
	if status != 0 || !strings.Contains(stdout, "check passed: '"+script+"'") || !maps.Equal(below(t, stage), below(t, site)) {
		t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
	}
	if !strings.Contains(stderr, "looking at the stage") || strings.Contains(stdout, "looking at the stage") {
		t.Error("what a check says goes to stderr")
	}
	out, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	url := "file://" + stage
	for _, want := range []string{"one two  three\n", "TUFOPS_STAGE_URL=" + url + "\n", "TUFOPS_STAGE_METADATA_URL=" + url + "/metadata\n",
		"TUFOPS_STAGE_TARGETS_URL=" + url + "/targets\n", "TUFOPS_STAGE_COMMIT=" + r.Git.Run("rev-parse", "HEAD") + "\n", "HOME=" + dir + "\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("a check is not given %q", want)
		}
	}
	if strings.Contains(string(out), "secret") {
		t.Error("a check is given what the publisher may do")
	}

	// Red: production stays, the exit status says so, and the same command heals.
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	r.Commit(t, "second")
	if err := os.WriteFile(red, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := below(t, site)
	status, stdout, stderr = run()
	if status != 1 || !strings.Contains(stdout, "check FAILED") || !strings.Contains(stderr, "held back, as the stage is red") || !strings.Contains(stderr, "the next run tries again by itself") {
		t.Errorf("red: exit status %d: %s%s", status, stdout, stderr)
	}
	if !maps.Equal(below(t, site), before) || maps.Equal(below(t, stage), before) {
		t.Error("red: production was touched, or the stage was not")
	}
	if err := os.Remove(red); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr = run(); status != 0 || !maps.Equal(below(t, stage), below(t, site)) {
		t.Errorf("the next run: exit status %d: %s%s", status, stdout, stderr)
	}

	// A program that is not there is red; a fresh timestamp needs none.
	r.Publish(metadata.Timestamp)
	r.Commit(t, "timestamp")
	if status, _, stderr = run("--check", "no-such-program"); status != 0 {
		t.Errorf("a timestamp: exit status %d: %s", status, stderr)
	}
	if _, err := os.Stat(said); err == nil {
		t.Error("a timestamp was checked")
	}
	r.Publish(metadata.Targets)
	r.Commit(t, "third")
	if status, _, stderr = run("--check", "no-such-program"); status != 1 || !strings.Contains(stderr, "check no-such-program: ") {
		t.Errorf("no such program: exit status %d: %s", status, stderr)
	}
}

func TestPublishUsage(t *testing.T) {
	r := publishtest.New(t)
	r.Commit(t, "first")
	dir := t.TempDir()
	to := "file://" + filepath.Join(dir, "site")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--check", "true"}, "need --stage"},
		{[]string{"--stage-public-url", "https://x.test"}, "need --stage"},
		{[]string{"--stage", to}, "both name"},
		{[]string{"--stage", to + "2", "--check", "'x"}, "is not closed"},
		{[]string{"--yes"}, "--yes goes with --prune"},
		{[]string{"--recover-fast-forward", "0"}, "the version of a timestamp"},
		{[]string{"--within", "0s"}, "--within is a time"},
		{[]string{"--public-url", "ftp://x.test"}, "--public-url is a URL"},
		{[]string{"--public-url", "https://x.test?a"}, "--public-url is a URL"},
		{[]string{"--public-url", "http://127.0.0.1:1", "--public-url", "http://127.0.0.1:2"}, "--public-url is given 2 times and --to 1 times"},
		{[]string{"--public-url", "https://tuf.test"}, "TUFOPS_NOW is set"},
	} {
		status, _, stderr := tufopsAt(t, publishtest.Now, nil, append([]string{"-C", r.Git.Dir, "publish", "--to", to}, test.args...)...)
		if status != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit status %d: %s", test.args, status, stderr)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v, %v: a usage error writes", names, err)
	}
}
