package repository_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// elsewhere are the rules that no event breaks by what it holds alone, with the
// test that breaks them.
var elsewhere = map[string]string{
	"rehearsal-failed": "TestRehearsalFailed here, and package rehearsal, whose events do it",
}

// isElsewhere reports whether a rule is tried elsewhere. The checks of trust
// material, which package trustroot tries one by one, have a slash in their names.
func isElsewhere(rule string) bool { return elsewhere[rule] != "" || strings.Contains(rule, "/") }

// TestRehearsalFailed: a step that fails is an error and the event is not
// complete; a rehearsal that broke off, or could not begin, is none.
func TestRehearsalFailed(t *testing.T) {
	step := func(o repository.Outcome) repository.RehearsalStep {
		return repository.RehearsalStep{What: "update from main's state", Client: "go-tuf", When: "now", At: time.Now(), Outcome: o,
			Message: "value error: key with ID 0123abcd not found in targets keyids"}
	}
	for name, test := range map[string]struct {
		r        repository.Rehearsal
		want     string
		complete bool
	}{
		"ok":        {repository.Rehearsal{Steps: []repository.RehearsalStep{step(repository.OK)}}, "", true},
		"not yet":   {repository.Rehearsal{Steps: []repository.RehearsalStep{step(repository.NotYet)}}, "", true},
		"failed":    {repository.Rehearsal{Steps: []repository.RehearsalStep{step(repository.OK), step(repository.Failed)}}, "- rehearsal-failed error", false},
		"broke off": {repository.Rehearsal{Trouble: "no room on the disk"}, "- rehearsal-failed warning", true},
	} {
		w := New(t)
		bumpRoot(w, nil)
		s := w.Status(repository.Policy{})
		if !s.Complete {
			t.Fatal("not complete before")
		}
		s.AddRehearsal(&test.r)
		got := ""
		for _, one := range found(s) {
			got += one
		}
		if got != test.want || s.Complete != test.complete {
			t.Errorf("%s: found %q, complete %v", name, got, s.Complete)
		}
		if name != "failed" {
			continue
		}
		for _, r := range repository.Rules() {
			f := s.Findings[0]
			if r.Name == f.Rule && (f.Message != r.Example || f.Hint != r.Hint || f.Gates != r.Gates) {
				t.Errorf("the finding is %+v, the example of its rule %q, %q", f, r.Example, r.Hint)
			}
		}
	}
}
