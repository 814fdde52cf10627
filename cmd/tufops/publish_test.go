package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish/publishtest"
)

func TestPublishCommand(t *testing.T) {
	r := publishtest.New(t)
	commit := r.Commit(t, "first")
	site := filepath.Join(t.TempDir(), "si te")
	to := "file://" + strings.ReplaceAll(site, " ", "%20")
	output := filepath.Join(t.TempDir(), "output")
	environ := map[string]string{"GITHUB_OUTPUT": output}
	publish := func(args ...string) (int, string, string) {
		t.Helper()
		return tufopsAt(t, publishtest.Now, environ, append([]string{"-C", r.Git.Dir, "publish"}, args...)...)
	}
	if status, stdout, stderr := publish("--to", to, "--dry-run"); status != 0 || !strings.Contains(stdout, "would be published") {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	if _, err := os.Stat(site); err == nil {
		t.Error("a dry run makes the destination")
	}
	if _, err := os.Stat(site + ".lock"); err == nil {
		t.Error("a dry run makes the lock file")
	}
	status, stdout, stderr := publish("--to", to, "--to", to+"2")
	if status != 0 || strings.Count(stdout, ": published (commit "+string(commit)[:12]+")") != 2 {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	if status, stdout, _ := publish("--format", "json", "--to", to); status != 0 || !regexp.MustCompile(`^\{\n  "schema": 1,[^]]*"changed": false`).MatchString(stdout) {
		t.Errorf("exit status %d: %s", status, stdout)
	}
	if data, err := os.ReadFile(output); err != nil || string(data) != "changed=false\nchanged=true\nchanged=false\n" {
		t.Errorf("step output %q, %v", data, err)
	}
	if got := state(t, site); len(got) != 7 {
		t.Errorf("the destination has %d files: %v", len(got), got)
	}

	// A late run of an older commit.
	r.Publish(metadata.Timestamp)
	r.Commit(t, "second")
	if status, _, stderr := publish("--to", to); status != 0 {
		t.Fatal(stderr)
	}
	before := state(t, site)
	r.Git.Run("checkout", "-q", string(commit))
	status, stdout, stderr = publish("--to", to)
	if status != 1 || !strings.Contains(stderr, "the destination has timestamp version 3") || !strings.Contains(stderr, "hint: if this run is late") || !strings.Contains(stdout, "NOT published") {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	if !maps.Equal(before, state(t, site)) {
		t.Error("the late run has written")
	}
	r.Git.Run("checkout", "-q", "main")

	// Expired: a finding that gates.
	status, _, stderr = tufopsAt(t, publishtest.Now.AddDate(1, 0, 0), nil, "-C", r.Git.Dir, "publish", "--to", to)
	if status != 1 || !strings.Contains(stderr, "[expired]") || !strings.Contains(stderr, "note: nothing was published") {
		t.Errorf("exit status %d: %s", status, stderr)
	}

	for _, test := range []struct{ to, want string }{
		{"/srv/tuf", "it is no URL"}, {"file://", "it is no URL of a directory"}, {"file:///srv/tuf?x", "it is written file://DIR"},
		{"ftp://host", "destinations are written azblob://ACCOUNT/CONTAINER/PREFIX, file://DIR, gs://BUCKET/PREFIX"}, {"gs://", "cannot be the name of a bucket"},
		{"gs://bucket", "is neither a path nor on loopback"}, // the clock of these tests is simulated
	} {
		if status, _, stderr := publish("--to", test.to); status != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("--to %s: exit status %d: %s", test.to, status, stderr)
		}
	}
	if status, _, stderr := publish("--to", to, "--to", to+"/."); status != 2 || !strings.Contains(stderr, "twice") {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	if status, _, _ := publish(); status != 2 {
		t.Errorf("without --to: exit status %d", status)
	}
}

// TestBuildCommand: it says what it wrote; a dry run writes nothing; a folder that
// was asked for is there even where nothing belongs into it; run again after it was
// stopped it writes the rest.
func TestBuildCommand(t *testing.T) {
	r := publishtest.New(t)
	commit := r.Commit(t, "first")
	site := filepath.Join(t.TempDir(), "site")
	build := func(args ...string) (int, string, string) {
		t.Helper()
		args = append([]string{"-C", r.Git.Dir, "build", "--metadata", filepath.Join(site, "m"), "--artifacts", filepath.Join(site, "a")}, args...)
		return tufopsAt(t, publishtest.Now, nil, args...)
	}
	status, stdout, stderr := build("--dry-run")
	if status != 0 || !strings.Contains(stdout, "Would write 6 files to "+filepath.Join(site, "m")+" (commit "+string(commit)[:12]+")\n") ||
		!strings.Contains(stdout, "  1.root.json (") {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	if _, err := os.Stat(site); err == nil {
		t.Error("a dry run makes folders")
	}
	status, stdout, stderr = build()
	if status != 0 || !strings.HasPrefix(stdout, "Wrote 6 files to "+filepath.Join(site, "m")+" (commit ") {
		t.Errorf("exit status %d: %s%s", status, stdout, stderr)
	}
	if names, err := os.ReadDir(filepath.Join(site, "m")); err != nil || len(names) != 6 {
		t.Errorf("%v, %v", names, err)
	}
	if st, err := os.Stat(filepath.Join(site, "a")); err != nil || !st.IsDir() {
		t.Errorf("the folder for artifacts: %v", err)
	}
	// What a run leaves that was stopped anywhere: a file cut short, others missing.
	whole := state(t, site)
	for _, err := range []error{os.Truncate(filepath.Join(site, "m", "1.root.json"), 10), os.Remove(filepath.Join(site, "m", "timestamp.json"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if status, _, stderr = build(); status != 0 || !maps.Equal(state(t, site), whole) {
		t.Errorf("run again: exit status %d, another tree: %s", status, stderr)
	}
}
