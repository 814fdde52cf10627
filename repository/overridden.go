package repository

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/git"
)

// Override is what the message of a commit in an event says of a rule: that somebody
// signed in spite of its errors, and why. Whoever can push can write any of it, so
// it is text for people and plays no part in a verdict.
type Override struct {
	Commit string `json:"commit"`
	Author string `json:"author"` // the name that the commit has for its author
	Rule   string `json:"rule"`
	Reason string `json:"reason"` // on one line
}

const (
	maxOverrides      = 20
	maxOverrideReason = 500 // bytes
)

// OverrideTrailer is the line of a commit message that tells of an override.
func OverrideTrailer(rule, reason string) string {
	return fmt.Sprintf("Overridden: %s (%s)", rule, shortLine(reason))
}

var overrideTrailer = regexp.MustCompile(`^Overridden: ([a-z0-9/-]+) \((.*)\)$`)

// overridden are the overrides that the event's commits tell of, oldest first: each
// rule and reason once. Lines that name no rule that could be overridden are left
// out, and what is more than people would read.
func (e *Event) overridden(ctx context.Context) ([]Override, error) {
	var list []Override
	for _, oid := range slices.Backward(e.commits[:min(len(e.commits), maxEventCommits)]) {
		commit, err := e.repo.Git.Commit(ctx, oid)
		var large *git.TooLargeError
		var malformed *git.MalformedError
		switch {
		case errors.As(err, &large), errors.As(err, &malformed): // nobody can have meant to be read
			continue
		case err != nil:
			return nil, fmt.Errorf("overrides in event %s: %w", e.Name, err)
		}
		for _, line := range trailers(commit.Message) {
			m := overrideTrailer.FindStringSubmatch(line)
			if m == nil || shortLine(m[2]) == "" || !slices.ContainsFunc(rules, func(r *Rule) bool { return r.Name == m[1] && !r.Fixed }) {
				continue
			}
			o := Override{Commit: string(oid), Author: shortLine(commit.AuthorName), Rule: m[1], Reason: shortLine(m[2])}
			if slices.ContainsFunc(list, func(p Override) bool { return p.Author == o.Author && p.Rule == o.Rule && p.Reason == o.Reason }) {
				continue
			}
			if list = append(list, o); len(list) == maxOverrides {
				return list, nil
			}
		}
	}
	return list, nil
}

// trailers are the lines of a message's last paragraph; none where that is its only
// one, the subject.
func trailers(message string) []string {
	message = strings.TrimRight(strings.ReplaceAll(message, "\r\n", "\n"), "\n")
	at := strings.LastIndex(message, "\n\n")
	if at < 0 {
		return nil
	}
	return strings.Split(message[at+2:], "\n")
}

// shortLine is a stranger's words on one line, cut where it gets long.
func shortLine(s string) string {
	s = oneLine(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) <= maxOverrideReason {
		return s
	}
	s = s[:maxOverrideReason]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "..."
}
