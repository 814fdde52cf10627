package repository_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// TestOverridden: what a message claims is shown as what it is, and changes no
// verdict.
func TestOverridden(t *testing.T) {
	w := New(t)
	w.WriteFile(".github/workflows/x.yml", "on: push\n")
	w.Edit("targets", func(s object) { s["version"] = int64(2) }).Sign("targets", "alice", "bob")
	w.Commit("event")
	before := w.Status(repository.Policy{})
	if before.Overridden != nil || !before.Failed() {
		t.Fatalf("before: %+v", before)
	}
	long := strings.Repeat("\u00e9", 400)
	messages := []string{
		repository.OverrideTrailer("foreign-change", "read\n\nSigned-off-by: nobody") + "\nSigned-off-by: x",
		"Overridden: foreign-change (the subject is none)",
		"Overridden: foreign-change (the body is none)\n\nSigned-off-by: x",
		"x\n\nOverridden: quorum (never)\nOverridden: no-such-rule (x)\nOverridden: foreign-change ( )\nOverridden: foreign-change\nOverridden: ../../x (y)",
		"x\n\nOverridden: foreign-change (\x1b[2J\u202e@all (twice) )\r\nOverridden: expired (" + long + ")\r\n",
		"x\n\nOverridden: foreign-change (read Signed-off-by: nobody)",
	}
	for i, message := range messages {
		w.WriteFile("README", fmt.Sprint(i))
		if i == 0 {
			message = "one\n\n" + message
		}
		w.Commit(message)
	}
	s := w.Status(repository.Policy{})
	var got []string
	for _, o := range s.Overridden {
		if len(o.Commit) != 40 || o.Author == "" {
			t.Errorf("%+v", o)
		}
		got = append(got, o.Rule+": "+o.Reason)
	}
	want := []string{
		"foreign-change: read Signed-off-by: nobody", "foreign-change: \x1b[2J\u202e@all (twice)", "expired: " + strings.Repeat("\u00e9", 250) + "...",
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s.Complete != before.Complete || s.Failed() != before.Failed() || len(s.Roles[0].Findings) != len(before.Roles[0].Findings) {
		t.Errorf("a message changed the verdict: %+v, before %+v", s, before)
	}

	// A stranger cannot fill the page.
	var many []string
	for i := range 100 {
		many = append(many, repository.OverrideTrailer("foreign-change", fmt.Sprint(i)))
	}
	w.WriteFile("README", "many")
	w.Commit("x\n\n" + strings.Join(many, "\n"))
	if n := len(w.Status(repository.Policy{}).Overridden); n != 20 {
		t.Errorf("%d are shown", n)
	}
}
