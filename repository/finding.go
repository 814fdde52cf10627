package repository

import (
	"fmt"
	"slices"
	"strings"
)

// Level says what a finding does to an event.
type Level string

// The levels, from worst to harmless.
const (
	LevelError   Level = "error"   // the role is not complete and people are not asked to sign
	LevelAwaited Level = "awaited" // the role is not complete, and only people can cure it: they are asked
	LevelWarning Level = "warning" // shown, never gates
	LevelOff     Level = "off"     // not shown; only in a [Decision]
)

// Gates says where a finding of level error or awaited stops something: any of
// the letters E (the event's role is not complete), S (no new snapshot) and P
// (publish refuses). Empty: nowhere.
type Gates string

// Event reports whether the finding keeps an event's role from being complete.
func (g Gates) Event() bool { return strings.Contains(string(g), "E") }

// Snapshot reports whether the finding stops a new snapshot.
func (g Gates) Snapshot() bool { return strings.Contains(string(g), "S") }

// Publish reports whether the finding stops publishing.
func (g Gates) Publish() bool { return strings.Contains(string(g), "P") }

// Finding is one thing that a rule has found. Names of rules are stable.
type Finding struct {
	Rule    string `json:"rule"`
	Level   Level  `json:"level"`
	Gates   Gates  `json:"gates"`
	Role    string `json:"role,omitempty"` // empty where the whole event is meant
	File    string `json:"file,omitempty"` // path in the git repository; empty where no single file is meant
	Message string `json:"message"`        // what differs, with both values
	Hint    string `json:"hint"`           // what to do

	// Lowered is the level that the rule has by itself, where .tufops.yaml has
	// made a warning of it. Reason is why, in its maintainers' words.
	Lowered Level  `json:"lowered,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Blocks reports whether the finding keeps an event from being complete.
func (f Finding) Blocks() bool { return f.Level != LevelWarning && f.Gates.Event() }

// Decided says what .tufops.yaml has made of the finding, and why; "" where it
// has made nothing of it.
func (f Finding) Decided() string {
	switch {
	case f.Lowered != "":
		return fmt.Sprintf("lowered from %s by .tufops.yaml on main: %s", f.Lowered, f.Reason)
	case f.Reason != "":
		return "raised by .tufops.yaml on main: " + f.Reason
	}
	return ""
}

// Rule is one entry of the rule engine: what it is called, what it does to an
// event, and what it says of itself. docs/rules.md and `tufops rules` are made
// from it.
type Rule struct {
	Name  string // stable
	Level Level  // where nothing else is said
	Gates Gates
	Title string // when it breaks, in a few words

	Stops  string // the attack or accident that it stops, in one sentence
	Source string // where that is known from: the specification, an advisory, an incident
	Breaks string // when exactly it breaks, and where its level is another one

	Example string // a message as it is printed
	Hint    string // what is printed with it

	// Fixed rules are those that .tufops.yaml cannot lower or silence: without
	// them a role is not what its people have agreed to.
	Fixed bool
	// Raised is the level that .tufops.yaml can raise a warning to; "" for most.
	Raised Level
}

// Decisions are the levels that .tufops.yaml can give the rule, see [Decision].
func (r *Rule) Decisions() []Level {
	switch {
	case r.Fixed:
		return nil
	case r.Level != LevelWarning:
		return []Level{LevelWarning}
	case r.Raised != "":
		return []Level{LevelOff, LevelError}
	}
	return []Level{LevelOff}
}

// rules are all rules, in the order in which they are declared.
var rules []*Rule

func rule(r Rule) *Rule {
	rules = append(rules, &r)
	return &r
}

// Rules lists the rules by name.
func Rules() []Rule {
	list := make([]Rule, len(rules))
	for i, r := range rules {
		list[i] = *r
	}
	slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// ruleNamed is the rule of a name; nil where there is none.
func ruleNamed(name string) *Rule {
	for _, r := range rules {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// findings collects what the rules find for one subject.
type findings struct {
	role string
	list []Finding
}

func (f *findings) add(r *Rule, file, hint, format string, args ...any) {
	f.addAs(r, r.Level, file, hint, format, args...)
}

// addAs reports a rule at another level than its own. A warning gates nothing.
func (f *findings) addAs(r *Rule, level Level, file, hint, format string, args ...any) {
	gates := r.Gates
	if level == LevelWarning {
		gates = ""
	}
	f.list = append(f.list, Finding{
		Rule: r.Name, Level: level, Gates: gates, Role: f.role, File: file,
		Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}
