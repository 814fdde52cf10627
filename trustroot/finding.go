package trustroot

import (
	"fmt"
	"time"
)

// Level says how bad a finding is where nothing else is said.
type Level string

const (
	Error   Level = "error"   // clients fail, or verify what they should not
	Warning Level = "warning" // to be looked at by a person
)

// Finding is one thing that a check has found.
type Finding struct {
	Check   string `json:"check"` // the name of a [Check]
	Level   Level  `json:"level"`
	Path    string `json:"path,omitempty"` // place in the document, like tlogs[1].logId; empty for the whole
	Line    int    `json:"line,omitempty"` // 0 where no line is meant
	Message string `json:"message"`        // what differs, with both values
	Hint    string `json:"hint"`           // what to do
}

// Check is one mistake that [Lint] looks for.
type Check struct {
	Name  string // stable, without the kind of the document
	Level Level
	Kinds []Kind
	Fixed bool   // the document cannot be judged without it, so nobody can wave it through
	Title string // when it breaks, in a few words

	Stops   string // the accident that it stops, in one sentence
	Source  string // where that has happened, or where the demand stands
	Example string // a message
	Hint    string // what is printed with it
}

// For reports whether the check looks at documents of a kind.
func (c *Check) For(k Kind) bool {
	for _, have := range c.Kinds {
		if have == k {
			return true
		}
	}
	return false
}

var checks []*Check

func check(c Check) *Check {
	checks = append(checks, &c)
	return &c
}

// Checks lists all checks in the order in which they are documented.
func Checks() []Check {
	list := make([]Check, len(checks))
	for i, c := range checks {
		list[i] = *c
	}
	return list
}

// Input is what a document is judged by.
type Input struct {
	Name string // path of the artifact; its last part tells the kind
	Data []byte

	// Before is the version that people have trusted so far. Where it is nil the
	// checks of changes say nothing.
	Before []byte
	// Files are the other artifacts that the document has to agree with: trust
	// material and key files of older clients, by path. See [Related].
	Files map[string][]byte
	// Now is the moment to judge at.
	Now time.Time
}

// linter runs the checks on one document.
type linter struct {
	in     Input
	reader *Reader
	d      *Document
	before *Document // nil where there is none, or it cannot be read
	found  []Finding
}

func (l *linter) add(c *Check, path string, n *node, format string, args ...any) {
	l.addAs(c, c.Level, path, n, c.Hint, format, args...)
}

func (l *linter) addAs(c *Check, level Level, path string, n *node, hint, format string, args ...any) {
	f := Finding{Check: c.Name, Level: level, Path: path, Hint: hint, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, _ = position(l.d.data, n.start)
	}
	l.found = append(l.found, f)
}

// entry reports a finding about one entry.
func (l *linter) entry(c *Check, e Entry, field, format string, args ...any) {
	l.entryAs(c, c.Level, e, field, c.Hint, format, args...)
}

func (l *linter) entryAs(c *Check, level Level, e Entry, field, hint, format string, args ...any) {
	n, path := e.node, e.path
	if m := n.member(field); m != nil {
		n = m
	}
	if field != "" {
		path += "." + field
	}
	l.addAs(c, level, path, n, hint, "%s: %s", e.Title(), fmt.Sprintf(format, args...))
}
