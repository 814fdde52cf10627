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
		m = m.next(entry{Since: at[i], Commit: s.Commit, Summary: Summary(s)}, People(s))
	}
	return statusComment(states[len(states)-1], notes, m)
}

// Called is the call for an event.
func Called(s *repository.Status) string {
	return callComment(s, call{s.Commit, People(s)})
}
