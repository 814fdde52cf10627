package repository

import (
	"fmt"
	"time"
)

var rehearsalFailed = rule(Rule{
	Name: "rehearsal-failed", Level: LevelError, Gates: "E",
	Title:   "clients fail on the event",
	Stops:   "an event that breaks no rule breaks clients all the same: one of them cannot update to it, or loses an artifact",
	Source:  "a root in 2024 and one in 2025 kept every rule of their time and broke clients that people had",
	Breaks:  "with --rehearse, or in signing-event where root or a delegation changes: our client or go-tuf's fails on the event, tried with throw-away root and online keys; a warning where the rehearsal itself broke off",
	Example: "update from main's state fails (go-tuf, now): value error: key with ID 0123abcd not found in targets keyids",
	Hint:    rehearsalHint,
	Fixed:   true,
})

const rehearsalHint = "mend what the message names and have it signed again; see all steps with: tufops status --rehearse --format json"

// Rehearsal is what came of trying an event on clients before it is merged:
// package rehearsal makes it. Its JSON form is documented in docs/format.md.
type Rehearsal struct {
	Steps    []RehearsalStep `json:"steps"`
	Unproven []string        `json:"unproven"` // what only the merge itself can show

	// Trouble is why the rehearsal itself broke off; empty where it did not. The
	// steps are those before.
	Trouble string `json:"trouble,omitempty"`
}

// RehearsalStep is one thing that was tried. Text in it may come from the branch
// and is not escaped.
type RehearsalStep struct {
	What    string    `json:"what"`             // "update from main's state"
	Client  string    `json:"client,omitempty"` // whose client; empty where it holds for each
	When    string    `json:"when"`             // the moment in words: "one day before targets v3 expires"
	At      time.Time `json:"at"`               // the moment
	Outcome Outcome   `json:"outcome"`
	Message string    `json:"message"`
}

// Who names the client and the moment: "go-tuf, now".
func (s RehearsalStep) Who() string {
	if s.Client == "" {
		return s.When
	}
	return s.Client + ", " + s.When
}

// Outcome says how a step of a rehearsal ended.
type Outcome string

// The outcomes. NotYet is a step that could not be tried, and says nothing about
// the event.
const (
	OK     Outcome = "ok"
	Failed Outcome = "failed"
	NotYet Outcome = "not yet"
)

// With lists the steps of one outcome.
func (r *Rehearsal) With(o Outcome) []RehearsalStep {
	var list []RehearsalStep
	for _, s := range r.Steps {
		if s.Outcome == o {
			list = append(list, s)
		}
	}
	return list
}

// AddRehearsal makes a rehearsal part of the verdict. A step that failed is an
// error, and the event is not complete. That the rehearsal itself broke off says
// nothing about the event: it is a warning.
func (s *Status) AddRehearsal(r *Rehearsal) {
	s.Rehearsal = r
	f := &findings{}
	if failed := r.With(Failed); len(failed) > 0 {
		first := failed[0]
		message := fmt.Sprintf("%s fails (%s): %s", first.What, first.Who(), first.Message)
		if n := len(failed) - 1; n > 0 {
			message += fmt.Sprintf(" (and %d more steps that fail)", n)
		}
		f.add(rehearsalFailed, "", rehearsalHint, "%s", message)
	}
	if r.Trouble != "" {
		f.addAs(rehearsalFailed, LevelWarning, "", "this says nothing about the event: report it as a bug of tufops",
			"the rehearsal broke off: %s", r.Trouble)
	}
	s.Findings = append(s.Findings, f.list...)
	for _, one := range f.list {
		s.Complete = s.Complete && !one.Blocks()
	}
}
