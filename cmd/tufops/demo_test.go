package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish/publishtest"
)

// tufopsAt runs tufops with its clock at now; zero is the system's clock.
func tufopsAt(t testing.TB, now time.Time, environ map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	environ = maps.Clone(environ)
	if environ == nil {
		environ = map[string]string{}
	}
	if !now.IsZero() {
		environ["TUFOPS_NOW"] = now.Format(time.RFC3339)
	}
	var out, errs bytes.Buffer
	env := cli.Env{Stdout: &out, Stderr: &errs, LookupEnv: func(key string) (string, bool) { v, ok := environ[key]; return v, ok }}
	status = run(context.Background(), env, append([]string{"tufops"}, args...))
	return status, out.String(), errs.String()
}

// state is every file below a directory, by hash.
func state(t testing.TB, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDemoOnCorpus: the reading half on a real repository, with the clock of
// today: nothing but the demo's own clock is set back.
func TestDemoOnCorpus(t *testing.T) {
	repo := gittest.Corpus(t)
	before := state(t, repo)
	dir := filepath.Join(t.TempDir(), "demo")
	status, stdout, stderr := tufopsAt(t, time.Time{}, nil, "demo", "--repo", repo, "--dir", dir)
	if status != 0 || stderr != "" {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	for _, want := range []string{
		"the clock   2026-08-21 19:23:59 UTC",
		"14 roots, each signed by enough keys of the one before it and of its own",
		"root 1 -> 14, timestamp v703, snapshot v25, targets v28",
		"its 12722 bytes are, byte for byte, targets/trusted_root.json in git",
		"has sha256",                                // the client on the changed file
		"timestamp v704 from metadata/timestamp",    // on the changed timestamp
		"root v14 from metadata/14.root.json has 0", // on the changed root
		"expired at",                                // on the same bytes, later
		"From root v1 alone a client has reached root v14 and timestamp v703.",
		"4 attempts to deceive it have failed",
	} {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the narration lacks %q", want)
		}
	}
	if got := strings.Count(stdout, "ok  refused"); got != 4 {
		t.Errorf("%d refusals, want 4", got)
	}
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}

	fetched, err := os.ReadFile(filepath.Join(dir, "client/files/trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := git.Open(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	head, err := g.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	entry, _, err := g.Lookup(t.Context(), head, "targets/trusted_root.json")
	if err != nil {
		t.Fatal(err)
	}
	if want, err := g.Blob(t.Context(), entry.OID); err != nil || !bytes.Equal(fetched, want) {
		t.Errorf("the client's trusted_root.json is not the one in git, %v", err)
	}
	for file, want := range map[string]int64{"client/metadata/root.json": 14, "client/metadata/timestamp.json": 703, "tampered-root/client/metadata/root.json": 13} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := metadata.Parse(data)
		if err != nil || doc.Version() != want {
			t.Errorf("%s: version %d, %v, want %d", file, doc.Version(), err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tampered-file/client/files/trusted_root.json")); err == nil {
		t.Error("the client has kept the changed file")
	}
	if after := state(t, repo); !maps.Equal(before, after) {
		t.Error("the demo has written into the repository")
	}

	// A second demo does not mix with what the first has left.
	if status, _, stderr := tufopsAt(t, time.Time{}, nil, "demo", "--repo", repo, "--dir", dir); status != 2 || !strings.Contains(stderr, "is not empty") {
		t.Errorf("exit status %d, %s", status, stderr)
	}
}

// TestDemoSmall: a repository with one root, no periods, no trusted_root.json,
// and one without any file.
func TestDemoSmall(t *testing.T) {
	r := publishtest.New(t)
	r.Git.Now = publishtest.Now
	r.Commit(t, "first")
	dir := filepath.Join(t.TempDir(), "demo")
	status, stdout, stderr := tufopsAt(t, time.Time{}, nil, "demo", "--repo", r.Git.Dir, "--dir", dir)
	if status != 0 {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	for _, want := range []string{"lists no trusted_root.json", "root v1, timestamp v2", "3 attempts"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the narration lacks %q", want)
		}
	}
	r.Roles[metadata.Targets].Signed["targets"] = metadata.Object{}
	r.Publish(metadata.Targets)
	r.Commit(t, "nothing")
	if status, stdout, stderr := tufopsAt(t, publishtest.Now, nil, "demo", "--repo", r.Git.Dir, "--dir", dir+"2"); status != 0 || !strings.Contains(stdout, "lists no file") || !strings.Contains(stdout, "2 attempts") {
		t.Errorf("exit status %d: %s\n%s", status, stderr, stdout)
	}
}

func TestDemoRefuses(t *testing.T) {
	r := publishtest.New(t)
	r.Git.Now = publishtest.Now
	r.Commit(t, "first")
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--dir", r.Git.Dir}, 2, "is not empty"},
		{[]string{"--repo", filepath.Join(r.Git.Dir, "nowhere")}, 1, "nowhere"},
		{[]string{"--repo", r.Git.Dir, "--dir", r.Git.Path("metadata/demo")}, 2, "is inside the repository"},
		{[]string{"--repo", r.Git.Dir, "--tuf-dir", "other", "--dir", filepath.Join(t.TempDir(), "demo")}, 1, "other/metadata/root.json"},
	} {
		before := state(t, r.Git.Dir)
		status, _, stderr := tufopsAt(t, time.Time{}, nil, append([]string{"demo"}, test.args...)...)
		if status != test.status || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit status %d, want %d; %s", test.args, status, test.status, stderr)
		}
		if !maps.Equal(before, state(t, r.Git.Dir)) {
			t.Errorf("%q: the repository was written to", test.args)
		}
	}
}
