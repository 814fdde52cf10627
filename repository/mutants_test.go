package repository_test

import (
	"context"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

func TestRekeyed(t *testing.T) {
	m := newMenagerie(t)
	g, err := git.Open(context.Background(), m.repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range m.events {
		ev, err := r.OpenEvent(context.Background(), repository.EventOptions{Name: e.name, Head: string(e.headAt), Base: string(e.baseAt)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := ev.Status(context.Background(), e.now, repository.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(e.name, e.changed(), s.Complete, e.originalComplete, found(s), blocking(s))
	}
}
