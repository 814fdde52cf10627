package repository

import (
	"fmt"
	"strings"
)

// Level says what a finding does to an event.
type Level string

// The levels, from worst to harmless.
const (
	LevelError   Level = "error"   // the role is not complete and people are not asked to sign
	LevelAwaited Level = "awaited" // the role is not complete, and only people can cure it: they are asked
	LevelWarning Level = "warning" // shown, never gates
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
}

// Blocks reports whether the finding keeps an event from being complete.
func (f Finding) Blocks() bool { return f.Level != LevelWarning && f.Gates.Event() }

// Rule is one entry of the rule engine: its stable name, how bad it is where
// nothing else is said, and what it stops.
type Rule struct {
	Name  string
	Level Level
	Gates Gates
	Stops string // the attack or accident it stops, in one sentence
}

// rules in the order in which they are listed and documented.
var rules []*Rule

func rule(name string, level Level, gates Gates, stops string) *Rule {
	r := &Rule{Name: name, Level: level, Gates: gates, Stops: stops}
	rules = append(rules, r)
	return r
}

// Rules lists the rules in the order of their documentation.
func Rules() []Rule {
	list := make([]Rule, len(rules))
	for i, r := range rules {
		list[i] = *r
	}
	return list
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

func (f *findings) blocked() bool {
	for _, one := range f.list {
		if one.Blocks() {
			return true
		}
	}
	return false
}
