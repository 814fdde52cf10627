package main

import (
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
