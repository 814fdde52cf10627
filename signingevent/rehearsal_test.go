package signingevent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// TestRehearsalReport: what failed, what could not be tried yet, and what only
// the merge can show. It says the same on another day.
func TestRehearsalReport(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s metadata.Object) {
		Roles(s, "releases")["paths"] = []any{"releases/[!x]*/*"}
		s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = nil
	}).Sign("targets", "alice", "bob")
	w.Edit("root", nil).Sign("root", "alice")
	s := w.Status(repository.Policy{})
	e, err := w.Open().OpenEvent(t.Context(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	later := *s
	if err := rehearsal.Judge(t.Context(), e, s, w.Now); err != nil {
		t.Fatal(err)
	}
	golden(t, "rehearsed.txt", signingevent.Text(s))
	golden(t, "rehearsed.md", signingevent.Markdown(s))
	if err := rehearsal.Judge(t.Context(), e, &later, w.Now.Add(30*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if a, b := signingevent.Markdown(s), signingevent.Markdown(&later); a != b {
		t.Errorf("it says:\n%s\nand a day later:\n%s", a, b)
	}
}

// TestRehearsalText: text from the branch stays text, and a long list ends.
func TestRehearsalText(t *testing.T) {
	w := New(t)
	w.Edit("targets", nil).Sign("targets", "alice", "bob")
	s := w.Status(repository.Policy{})
	hostile := "x\x1b[31m\u202e|`@all` [a](b) <b>\n#1"
	r := &repository.Rehearsal{Unproven: []string{hostile, "more"}, Trouble: hostile}
	r.Steps = []repository.RehearsalStep{{What: "read " + hostile, Client: "go-tuf", When: hostile, Outcome: repository.NotYet, Message: hostile}}
	for i := range 30 {
		r.Steps = append(r.Steps, repository.RehearsalStep{What: fmt.Sprint("read ", i), Client: "go-tuf", When: "now", Outcome: repository.NotYet, Message: "gone"})
	}
	s.AddRehearsal(r)
	text, markdown := signingevent.Text(s), signingevent.Markdown(s)
	golden(t, "rehearsed-hostile.txt", text)
	golden(t, "rehearsed-hostile.md", markdown)
	if strings.ContainsAny(text+markdown, "\x1b\u202e") {
		t.Error("control characters come through")
	}
}
