package repository

import (
	"fmt"
	"time"
)

// rehearsalFailed is the one rule that [Event.Status] does not judge: see
// [Status.AddRehearsal].
var rehearsalFailed = rule(Rule{
	Name: "rehearsal-failed", Level: LevelError, Gates: "E",
	Title:   "a client cannot go on",
	Stops:   "an event that breaks no other rule breaks clients all the same: one of them cannot update to it, or loses an artifact",
	Source:  "sigstore/root-signing-staging#25: a P-384 online key broke cosign; a recorded commit of that repository, in which a delegation that lists a new online key before the role is signed with it",
	Breaks:  "in a rehearsal, ours or go-tuf's client cannot do with what a merge would give what it could do with main; a warning where the rehearsal itself breaks off",
	Example: "read releases/v1/tool fails (go-tuf, now): it could be read from main, and releases still lists it: no role that clients ask lists it",
	Hint:    "mend what the message names and have it signed again; see all steps with: tufops status --rehearse --format json",
})

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
// error, and the event is not complete, unless the policy has decided otherwise.
// That the rehearsal itself broke off says nothing about the event: it is a
// warning.
func (s *Status) AddRehearsal(r *Rehearsal, policy Policy) {
	s.Rehearsal = r
	f := &findings{}
	if failed := r.With(Failed); len(failed) > 0 {
		first := failed[0]
		message := fmt.Sprintf("%s fails (%s): %s", first.What, first.Who(), first.Message)
		if n := len(failed) - 1; n > 0 {
			message += fmt.Sprintf(" (and %d more steps that fail)", n)
		}
		f.add(rehearsalFailed, "", rehearsalFailed.Hint, "%s", message)
	}
	if r.Trouble != "" {
		f.addAs(rehearsalFailed, LevelWarning, "", "this says nothing about the event: report it as a bug of tufops",
			"the rehearsal broke off: %s", r.Trouble)
	}
	shown, _ := policy.decide(f.list) // an error can be lowered, never silenced
	for _, one := range shown {
		s.Findings = append(s.Findings, one)
		s.Complete = s.Complete && !one.Blocks()
	}
}
