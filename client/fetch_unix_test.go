//go:build unix

package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
)

// Opening a pipe waits for ever. Kills: a client that opens what it finds.
func TestPipes(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "tool", "content")
	repo.Publish(targets)
	u := newUser(t, repo)
	dir := t.TempDir()
	if _, err := u.client().Download(t.Context(), "tool", dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(u.dir, "targets.json"), filepath.Join(u.dir, "timestamp.json"), filepath.Join(dir, "tool")} {
		if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := u.client().Download(t.Context(), "tool", dir); err != nil || d.Cached {
		t.Errorf("%+v, %v", d, err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := client.NewFetcher().Fetch(t.Context(), "file://"+pipe, 10)
	refused[*client.FetchError](t, "fetch", err)
	_, err = client.ReadRoot(pipe)
	refused[*client.AnchorError](t, "root", err)
}
