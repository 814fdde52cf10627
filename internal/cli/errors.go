package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/escape"
)

// Status is an exit status that a command returns when it has already said all
// there is to say. [Run] prints nothing for it. Status(3) means that nothing is
// wrong and people are awaited; Status(1) that an error finding stands.
//
// If a Status is wrapped in another error, the text is printed and the status
// kept.
type Status int

func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Usagef returns an error about how the program was called: a bad value, flags
// that do not go together. The program exits 2. The format is fmt.Errorf's.
func Usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u)
}

// WithHint returns err with a hint: what the person should do, best a command.
// Errors that always call for the same action have a method Hint() string
// instead; the outermost hint in a chain is the one printed.
func WithHint(err error, hint string) error { return hintError{err, hint} }

type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }
func (e hintError) Hint() string  { return e.hint }

// WithNote returns err with a note: in what state things were left, such as
// "nothing was committed or pushed". A method Note() string does the same.
func WithNote(err error, note string) error { return noteError{err, note} }

type noteError struct {
	error
	note string
}

func (e noteError) Unwrap() error { return e.error }
func (e noteError) Note() string  { return e.note }

func hintOf(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}

func noteOf(err error) string {
	if n, ok := err.(interface{ Note() string }); ok {
		return n.Note()
	}
	return ""
}

// findText returns what get finds first in err's tree, outermost first.
func findText(err error, get func(error) string) string {
	if err == nil {
		return ""
	}
	if text := get(err); text != "" {
		return text
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return findText(e.Unwrap(), get)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if text := findText(err, get); text != "" {
				return text
			}
		}
	}
	return ""
}

func exitStatus(err error) int {
	var s Status
	switch {
	case errors.As(err, &s):
		return int(s)
	case isUsage(err):
		return 2
	default:
		return 1
	}
}

// report prints err, its hint and its note. The errors of an errors.Join are
// printed one after the other.
func report(w io.Writer, program string, err error) {
	for _, err := range split(err) {
		say(w, program, "error", strings.Join(lines(err.Error()), "; "))
		for _, line := range lines(findText(err, hintOf)) {
			say(w, program, "hint", line)
		}
		for _, line := range lines(findText(err, noteOf)) {
			say(w, program, "note", line)
		}
	}
}

func say(w io.Writer, program, kind, text string) {
	fmt.Fprintf(w, "%s: %s: %s\n", program, kind, escape.Terminal(text))
}

// split returns the errors that err joins without a text of its own. What
// fmt.Errorf makes of several errors is one sentence and stays whole.
func split(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var parts []error
	var texts []string
	for _, e := range joined.Unwrap() {
		parts = append(parts, split(e)...)
		texts = append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return parts
}

// lines returns the lines of s that are not blank, trimmed.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// onUsageError is called when a flag's value does not parse. The flags
// themselves were checked before.
func onUsageError(_ *urfave.Context, err error, _ bool) error {
	// The flag package writes: invalid value "x" for flag -days: parse error,
	// and for booleans: invalid boolean value "x" for -push: parse error.
	before, name, found := strings.Cut(err.Error(), " for flag -")
	if !found {
		before, name, found = strings.Cut(err.Error(), " for -")
	}
	if !found {
		return usageError{err}
	}
	name, reason, _ := strings.Cut(name, ": ")
	if reason == "parse error" {
		if value, ok := strings.CutPrefix(before, "invalid boolean value "); ok {
			return Usagef("%s is true or false, not %s", dashes(name), value)
		}
		if value, ok := strings.CutPrefix(before, "invalid value "); ok {
			return Usagef("%s is a whole number, not %s", dashes(name), value)
		}
	}
	return Usagef("%s for %s: %s", before, dashes(name), reason)
}
