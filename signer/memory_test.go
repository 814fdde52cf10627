package signer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/repository"
)

// Runs that end at the same moment forget nothing of each other's.
func TestMemoryOfManyRuns(t *testing.T) {
	ctx := context.Background()
	r := gittest.New(t).Clone("alice")
	g, err := git.Open(ctx, r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Repository: repo, Event: "sign/x", Config: Config{PullRemote: "origin"}, Memory: t.TempDir(),
		Now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
	}
	const runs, each = 8, 4
	var wait sync.WaitGroup
	for run := range runs {
		wait.Go(func() {
			s, err := newSession(o)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				one := signature{ask: ask{role: "targets", version: int64(i), payload: fmt.Append(nil, run)}}
				if err := s.rememberSigned(ctx, []signature{one, one}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s, err := newSession(o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.recall(ctx)
	if err != nil || len(m.Signed) != runs*each {
		t.Errorf("%d signatures are remembered of %d, %v", len(m.Signed), runs*each, err)
	}
	if got := m.others(ask{role: "targets", version: 0, payload: []byte("0")}); len(got) != runs-1 {
		t.Errorf("%d other payloads of one version, not %d: %v", len(got), runs-1, got)
	}
}

func TestPlainURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://user:secret@example.com/a/b.git": "https://example.com/a/b", "https://example.com/a/b/": "https://example.com/a/b",
		"git@example.com:a/b.git": "git@example.com:a/b", "ssh://git@example.com/a": "ssh://git@example.com/a", "/srv/x.git": "/srv/x",
	} {
		if got := plainURL(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
