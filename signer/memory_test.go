package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// However one gets to a repository, what is known of it is the same; two that are
// not one stay apart.
func TestRepositoryAt(t *testing.T) {
	for want, urls := range map[string][]string{
		"example.com/a/b": {
			"https://example.com/a/b", "https://user:secret@Example.com/A/b.git/", "http://example.com:8080/a/b", "ssh://git@example.com/a/b.git",
			"ssh://example.com:2222/a/b", "git@example.com:a/b.git", "example.com:/a/b", "git://example.com/a/b", "example.com/a/b",
		},
		"example.com/a/c": {"https://example.com/a/c"},
		"example.org/a/b": {"git@example.org:a/b"},
		"::1/a":           {"ssh://[::1]:22/a"},
		"/srv/x":          {"/srv/x.git", "/srv/x/", "file:///srv/x.git"},
		"/srv/X":          {"/srv/X"},
		"../x":            {"../x"},
		`C:\x`:            {`C:\x`},
	} {
		for _, url := range urls {
			if got := repositoryAt(url); got != want {
				t.Errorf("%s is %s, want %s", url, got, want)
			}
			if again := repositoryAt(repositoryAt(url)); again != want {
				t.Errorf("%s is %s the second time, want %s", url, again, want)
			}
		}
	}
}

// What was remembered by URL, when each had a memory of its own, is remembered of
// the repository.
func TestMemoryOfOlderFiles(t *testing.T) {
	ctx := context.Background()
	r := gittest.New(t).Clone("alice")
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	sum := func(c string) string { return strings.Repeat(c, 64) }
	// by is a session that gets to the repository by a URL.
	by := func(t *testing.T, dir, url, tufDir string) *session {
		t.Helper()
		r.Run("remote", "set-url", "origin", url)
		g, err := git.Open(ctx, r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		repo, err := repository.New(g, tufDir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSession(Options{Repository: repo, Event: "sign/x", Config: Config{PullRemote: "origin"}, Memory: dir, Now: day})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	older := func(t *testing.T, dir, url, tufDir string, m memory) {
		t.Helper()
		m.Schema, m.Remote, m.TUFDir = 1, url, tufDir
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		name := digest([]byte(url+"\x00"+tufDir)) + ".json"
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const ssh, https, scp = "ssh://git@example.com/a/b", "https://example.com/a/b", "git@example.com:a/b"
	one := signed{Role: "targets", Version: 2, SHA256: sum("1"), Event: "sign/x", Time: day}
	two := signed{Role: "targets", Version: 2, SHA256: sum("2"), Event: "sign/y", Time: day}

	dir := t.TempDir()
	older(t, dir, ssh, "", memory{Root: &seenRoot{4, sum("4"), day}, Signed: []signed{one}, Agreed: "a"})
	older(t, dir, https, "", memory{Root: &seenRoot{3, sum("3"), day}, Signed: []signed{one, two}, Agreed: "b"})
	older(t, dir, https, "tuf", memory{Root: &seenRoot{9, sum("9"), day}, Agreed: "c"})
	older(t, dir, "https://example.com/a/other", "", memory{Root: &seenRoot{8, sum("8"), day}})
	for _, url := range []string{ssh, https, scp} {
		m, err := by(t, dir, url, "").recall(ctx)
		if err != nil || m.Root == nil || m.Root.Version != 4 || m.Root.SHA256 != sum("4") || len(m.Signed) != 2 || m.Agreed != "" {
			t.Errorf("by %s: %+v, %v", url, m, err)
		}
	}
	if m, err := by(t, dir, scp, "tuf").recall(ctx); err != nil || m.Root.Version != 9 || m.Agreed != "c" {
		t.Errorf("another folder: %+v, %v", m, err)
	}
	// From then on there is one.
	s := by(t, dir, ssh, "")
	if err := s.remember(ctx, func(m *memory) { m.Root = &seenRoot{5, sum("5"), day} }); err != nil {
		t.Fatal(err)
	}
	if m, err := by(t, dir, https, "").recall(ctx); err != nil || m.Root.Version != 5 || len(m.Signed) != 2 {
		t.Errorf("by https, after ssh: %+v, %v", m, err)
	}

	// Two that disagree are for a person to decide about.
	dir = t.TempDir()
	older(t, dir, ssh, "", memory{Root: &seenRoot{4, sum("4"), day}})
	older(t, dir, https, "", memory{Root: &seenRoot{4, sum("5"), day}})
	_, err := by(t, dir, scp, "").recall(ctx)
	var memory *MemoryError
	if !errors.As(err, &memory) || !strings.Contains(err.Error(), sum("4")) || !strings.Contains(err.Error(), sum("5")) || !strings.HasPrefix(memory.Hint(), "sign nothing") {
		t.Errorf("two that disagree: %v", err)
	}
}
