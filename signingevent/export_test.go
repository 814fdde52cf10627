package signingevent

import (
	"time"

	"github.com/tufops/tufops/repository"
)

// Shown is the status comment after the event was in each of the states, for as
// long as the last says; at are the times.
func Shown(notes []string, at []time.Time, states ...*repository.Status) string {
	var m memo
	for i, s := range states {
		m = m.next(entry{Since: at[i], Commit: s.Commit, Summary: Summary(s)}, crowd(People(s)))
	}
	return statusComment(states[len(states)-1], notes, m)
}

// Called is the call for an event.
func Called(s *repository.Status) string {
	return callComment(s, call{s.Commit, People(s)})
}

// After is the status comment that follows one that people may have edited.
func After(body string, at time.Time, s *repository.Status, notes ...string) string {
	m, _ := readMemo(body)
	next := m.next(entry{Since: at, Commit: s.Commit, Summary: "now " + Summary(s)}, m.Awaited)
	return statusComment(s, notes, next)
}

var Login = login
