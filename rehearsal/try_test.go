package rehearsal_test

import (
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

func TestTry(t *testing.T) {
	w := New(t)
	w.Artifact("b.txt", "b").Edit("targets", func(s metadata.Object) { List(s, "b.txt", "b") }).Sign("targets", "alice", "bob")
	w.Edit("root", func(s metadata.Object) { SetKeys(s, "root", "alice", "dave"); SetKeys(s, "timestamp", "online2"); SetKeys(s, "snapshot", "online2") }).Sign("root", "alice", "bob", "dave")
	w.Commit("event")
	e, err := w.Open().OpenEvent(t.Context(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	r := rehearsal.Run(t.Context(), e, w.Now)
	for _, s := range r.Steps {
		t.Logf("%s | %s | %s | %s | %s | %s", s.Outcome, s.What, s.Client, s.When, s.At, s.Message)
	}
	t.Log(r.Unproven, r.Trouble)
}
