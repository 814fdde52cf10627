package signer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tufops/tufops/repository"
)

// OverrideError says that a rule cannot be overridden.
type OverrideError struct{ Rule, Reason string }

func (e *OverrideError) Error() string { return fmt.Sprintf("rule %q %s", e.Rule, e.Reason) }

// Hint says what to do.
func (e *OverrideError) Hint() string {
	return "the review names the rule of each error; what a rule stops is said by: tufops rules"
}

// checkOverrides makes sure that each rule is one that maintainers could lower as
// well, and that a reason is given.
func checkOverrides(override map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(override)) {
		all := repository.Rules()
		i := slices.IndexFunc(all, func(r repository.Rule) bool { return r.Name == name })
		switch {
		case i < 0:
			return &OverrideError{name, "is not one of the rules"}
		case all[i].Fixed:
			return &OverrideError{name, "cannot be overridden: without it a role is not what its people have agreed to"}
		case !slices.Contains(all[i].Decisions(), repository.LevelWarning):
			return &OverrideError{name, "keeps nobody from signing: it is a warning"}
		case strings.TrimSpace(override[name]) == "":
			return &OverrideError{name, "is overridden without a reason"}
		}
	}
	return nil
}

// overridden is a policy with what one person overrides: it decides whether they
// may sign, and nothing else.
func overridden(p repository.Policy, override map[string]string) repository.Policy {
	if len(override) == 0 {
		return p
	}
	rules := maps.Clone(p.Rules)
	if rules == nil {
		rules = map[string]repository.Decision{}
	}
	for name, reason := range override {
		rules[name] = repository.Decision{Level: repository.LevelWarning, Reason: reason}
	}
	p.Rules = rules
	return p
}

// record adds to the message of a commit of signatures what they were given in
// spite of, and why: the maintainers and the next signer look there.
func (s *session) record(p *plan, message string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s.Override)) {
		if slices.ContainsFunc(p.status.AllFindings(), func(f repository.Finding) bool { return f.Rule == name && f.Level == repository.LevelError }) {
			lines = append(lines, repository.OverrideTrailer(name, s.Override[name]))
		}
	}
	if len(lines) == 0 {
		return message
	}
	return message + "\n\n" + strings.Join(lines, "\n")
}
