package repository_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

// mergedByGit are the recorded states in which main and the event have changed one
// file, and git puts the two texts together. They have errors either way, and a
// signer's machine exports none whose verdict differs.
var mergedByGit = []string{"0ff66182"}

// TestVerdictsWithoutGit has real events judged from nothing but the objects that
// judging them reads, as a signer without network does: the verdict is the same to
// the byte. In make test it is one in twenty of the recorded states.
func TestVerdictsWithoutGit(t *testing.T) {
	r := openCorpus(t)
	ctx := context.Background()
	judge := func(r *repository.Repository, want row) (string, error) {
		e, err := r.OpenEvent(ctx, repository.EventOptions{Name: want.Event, Head: want.Head, Base: want.Base})
		if err != nil {
			return "", err
		}
		s, err := e.Status(ctx, want.Now, repository.Policy{})
		if err != nil {
			t.Fatalf("%s: %v", want.Head, err)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(data), nil
	}
	on := func(g *git.Repo) *repository.Repository {
		t.Helper()
		r, err := repository.New(g, "")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	states, gits, largest := 0, 0, 0
	for i, want := range rows(t) {
		if i%20 != 0 && os.Getenv("TUFOPS_SOAK") == "" {
			continue
		}
		verdict, err := judge(r, want)
		if err != nil {
			t.Fatal(err)
		}
		noted, objects := r.Git.Noted()
		got, err := judge(on(noted), want)
		if errors.As(err, new(*git.NeedsGitError)) {
			gits++
			continue
		}
		if slices.Contains(mergedByGit, want.Head[:8]) && err == nil && got != verdict {
			gits++
			continue
		}
		if err != nil || got != verdict {
			t.Errorf("%s %s: noted: %v\n got %s\nwant %s", want.Event, want.Head, err, got, verdict)
			continue
		}
		data, err := objects.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		alone, err := git.ReadObjects(data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := judge(on(alone.Repo()), want); err != nil || got != verdict || alone.Missed() != "" {
			t.Errorf("%s %s: from %d bytes: %v, %q missed\n got %s\nwant %s", want.Event, want.Head, len(data), err, alone.Missed(), got, verdict)
		}
		states++
		largest = max(largest, len(data))
	}
	t.Logf("%d states judged alike, %d are left to git; the largest takes %d bytes", states, gits, largest)
	if gits > states/10 {
		t.Error("too many are left to git")
	}
}
