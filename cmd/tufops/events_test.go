package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// eventsWorld is a repository with an artifact that its metadata does not list,
// on branch sign/new of the bot's clone.
func eventsWorld(t *testing.T) (w *onlinesigntest.World, dir string, outputs func() string) {
	t.Helper()
	w = onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	bot := w.Upstream.Clone("bot")
	bot.Run("switch", "-q", "-c", "sign/new")
	bot.WriteFile("targets/a.txt", "one\n")
	bot.Commit("an artifact")
	bot.Push()
	output := filepath.Join(t.TempDir(), "output")
	t.Setenv("GITHUB_OUTPUT", output)
	return w, bot.Dir, func() string {
		data, _ := os.ReadFile(output)
		os.Remove(output)
		return string(data)
	}
}

// TestDryRun: a dry run says what would be written, in words that do not claim
// that it was, writes nothing, and tells the workflow that nothing has changed.
func TestDryRun(t *testing.T) {
	w, dir, outputs := eventsWorld(t)
	env := map[string]string{"GITHUB_OUTPUT": os.Getenv("GITHUB_OUTPUT")}
	w.Wait(3600 * 24 * time.Hour) // into the signing period of root and targets
	for _, test := range []struct{ command, stdout, stderr, output string }{
		{"update-targets", "Would update the metadata of targets.\n", "", "updated=\n"},
		{"create-signing-events", "sign/root-v2\nsign/targets-v2\n", "tufops: dry run: nothing was written\n", "events=\n"},
		{"online-sign", "Would sign ", "", "signed=\n"},
	} {
		before := w.Upstream.Run("for-each-ref") + listing(t, dir)
		status, stdout, stderr := tufops(t, w, env, "-C", dir, test.command, "--dry-run", "--push")
		if status != 0 || !strings.HasPrefix(stdout, test.stdout) || !strings.HasSuffix(stderr, test.stderr) {
			t.Errorf("%s: status %d, stdout %q, stderr %q", test.command, status, stdout, stderr)
		}
		if got := outputs(); got != test.output {
			t.Errorf("%s: step output is %q, want %q", test.command, got, test.output)
		}
		if w.Upstream.Run("for-each-ref")+listing(t, dir) != before {
			t.Errorf("%s --dry-run has written", test.command)
		}
	}
}

// TestPushOfWhatWasThere: a command that finds nothing to do but pushes commits
// of an earlier run says so.
func TestPushOfWhatWasThere(t *testing.T) {
	w, dir, _ := eventsWorld(t)
	if status, stdout, stderr := tufops(t, w, nil, "-C", dir, "update-targets"); status != 0 || stdout != "Updated the metadata of targets.\n" {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	status, stdout, stderr := tufops(t, w, nil, "-C", dir, "update-targets", "--push")
	if status != 0 || !strings.HasPrefix(stdout, "Nothing to do") || !strings.Contains(stderr, "tufops: pushed branch=sign/new commit=") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if _, _, stderr := tufops(t, w, nil, "-C", dir, "update-targets", "--push"); strings.Contains(stderr, "pushed") {
		t.Errorf("nothing was there to push: %q", stderr)
	}
}

// TestEventsOfTheRemote: an event that is at the remote is not opened a second
// time, also where nothing is pushed.
func TestEventsOfTheRemote(t *testing.T) {
	w, _, _ := eventsWorld(t)
	w.Wait(3600 * 24 * time.Hour)
	w.Sign()
	one, two := w.Upstream.Clone("one"), w.Upstream.Clone("two")
	if status, stdout, stderr := tufops(t, w, nil, "-C", one.Dir, "create-signing-events", "--push"); status != 0 || !strings.Contains(stdout, "sign/root-v2\n") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	status, stdout, stderr := tufops(t, w, nil, "-C", two.Dir, "create-signing-events", "--format", "json")
	var doc struct {
		Events []struct{ Created bool }
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 0 || len(doc.Events) != 2 || doc.Events[0].Created || doc.Events[1].Created {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if got := two.Run("branch", "--list", "sign/*"); got != "" {
		t.Errorf("branches %q were made here", got)
	}
	two.Run("remote", "remove", "origin")
	if status, stdout, stderr := tufops(t, w, nil, "-C", two.Dir, "create-signing-events"); status != 0 || stdout != "sign/root-v2\nsign/targets-v2\n" {
		t.Errorf("without a remote: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	w.Now = onlinesigntest.Start
	if status, stdout, stderr := tufops(t, w, nil, "-C", one.Dir, "create-signing-events"); status != 0 || stdout != "" || !strings.Contains(stderr, "no role is due for re-signing") {
		t.Errorf("nothing due: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// TestNoWorkTree: a bare repository has no checkout to move, and nothing is
// pushed before that is said.
func TestNoWorkTree(t *testing.T) {
	w, _, _ := eventsWorld(t)
	bare := filepath.Join(t.TempDir(), "bare.git")
	w.Upstream.Clone("x").Run("clone", "-q", "--bare", w.Upstream.Dir, bare)
	w.Wait(48 * time.Hour)
	head := w.Upstream.Head("main")
	status, _, stderr := tufops(t, w, nil, "-C", bare, "online-sign", "--push")
	if status != 1 || !strings.Contains(stderr, "has no work tree") || !strings.Contains(stderr, "hint: ") || w.Upstream.Head("main") != head {
		t.Errorf("status %d, stderr %q; main moved: %v", status, stderr, w.Upstream.Head("main") != head)
	}
}

// TestPushedAndNotMoved: where the push is done and the checkout cannot follow,
// the person is told both.
func TestPushedAndNotMoved(t *testing.T) {
	w, dir, _ := eventsWorld(t)
	if err := os.WriteFile(filepath.Join(dir, "metadata/targets.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := w.Upstream.Head("sign/new")
	status, _, stderr := tufops(t, w, nil, "-C", dir, "update-targets", "--push")
	if status != 1 || !strings.Contains(stderr, "local changes in metadata/targets.json") || !strings.Contains(stderr, "tufops: note: the push is done") {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if w.Upstream.Head("sign/new") == head {
		t.Error("nothing was pushed")
	}
}
