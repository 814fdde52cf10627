//go:build unix

package client_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// The same with files that are as long as they may be, each in a process whose
// memory the system counts.
func TestLongestFiles(t *testing.T) {
	if os.Getenv("TUFOPS_SOAK") == "" {
		t.Skip("several seconds: TUFOPS_SOAK=1 runs it; TestLongFiles has a fifth of the length")
	}
	longFiles(client.TargetsMaxLength, func(what string, _ func() error) {
		ctx, cancel := context.WithTimeout(t.Context(), maxTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), "WORKER_LONGEST="+what)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			t.Fatal("the system does not count")
		}
		peak := int64(usage.Maxrss) << 10 // kilobytes
		if runtime.GOOS == "darwin" {
			peak = int64(usage.Maxrss)
		}
		t.Logf("%s: %d MiB at most, %v", what, peak>>20, cmd.ProcessState.UserTime())
		if peak > maxMemory {
			t.Errorf("%s: the process had %d MiB", what, peak>>20)
		}
	})
}
