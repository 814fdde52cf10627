package publish

import (
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/escape"
)

// Report says what [Run] found and did.
type Report struct {
	Schema       int                 `json:"schema"`
	Commit       string              `json:"commit"`
	DryRun       bool                `json:"dry_run"`
	Changed      bool                `json:"changed"` // something was written to a destination; in a dry run: would be
	Stage        *DestinationReport  `json:"stage,omitempty"`
	Checks       []CheckReport       `json:"checks"` // in order; none where no destination gets new content
	Destinations []DestinationReport `json:"destinations"`
}

// CheckReport is how one [Check] of the staged repository ended.
type CheckReport struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // why it is red
}

// DestinationReport is one destination of a [Report].
type DestinationReport struct {
	URL     string        `json:"url"`
	Changed bool          `json:"changed"`
	Roles   []RoleChange  `json:"roles"`   // root, timestamp, snapshot
	Written []WrittenFile `json:"written"` // in order; in a dry run what would be
	// Present counts the files that were there already, with the right bytes.
	// If nothing had to be done only the timestamp and the pages were looked at.
	Present int `json:"present"`
	// Rehearsed counts the updates of clients that succeeded before the first
	// byte was written.
	Rehearsed int          `json:"rehearsed"`
	LookedUp  int          `json:"looked_up"` // artifacts that they found, through delegations, each client for itself
	ReadBack  *ReadBack    `json:"read_back,omitempty"`
	Prune     *PruneReport `json:"prune,omitempty"`
	// Lost says what the destination cannot do: see [Guarantees.Lost].
	Lost  []string `json:"lost"`
	Notes []Note   `json:"notes"`
	Error string   `json:"error,omitempty"`
}

// ReadBack says what a new client got through the public URL.
type ReadBack struct {
	URL       string `json:"url"`
	Root      int64  `json:"root"`
	Timestamp int64  `json:"timestamp"`
	Waited    int64  `json:"waited_seconds"`
}

// PruneReport lists what no client can ask for any more.
type PruneReport struct {
	Files   []string `json:"files"`
	Deleted int      `json:"deleted"` // so many of them, in this order
}

// RoleChange is what clients saw of a role before and what they see now.
type RoleChange struct {
	Role string `json:"role"`
	From int64  `json:"from"` // 0: nothing that counts
	To   int64  `json:"to"`
}

// WrittenFile is one write.
type WrittenFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Note is something a person should know. Its code is stable.
type Note struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of notes.
const (
	NoteTimestampFirst    = "timestamp-before-root" // a rotation that no client notices
	NoteWindow            = "rotation-window"       // a rotation during which clients fail for a moment
	NoteTimestampReplaced = "timestamp-replaced"    // what was there did not count
	NoteRestarted         = "rollback-guard-anew"   // other online keys: old versions no longer bind
	NoteResigned          = "signatures-changed"    // a role has new signatures over the content that is live
	NoteChangedMeanwhile  = "changed-meanwhile"     // another publisher was at work
	NoteNotRehearsed      = "not-rehearsed"         // a client that could not update before either
	NoteLookupFails       = "lookup-fails"          // a delegated role that a client cannot read, as before or since it has expired
	NoteExpiresSoon       = "expires-soon"          // people must sign
	NotePageLeft          = "page-left"             // the status page is of a commit that is not known here
	NoteRecovered         = "fast-forward-given-up" // versions at the destination that a person gave up
)

// alarms are the notes that somebody should look at even if all is well again.
var alarms = []string{NoteTimestampReplaced, NoteRestarted, NoteWindow, NoteNotRehearsed, NoteLookupFails, NoteExpiresSoon, NotePageLeft, NoteRecovered}

// Text is the report for a person.
func (r *Report) Text() string {
	var b strings.Builder
	if r.Stage != nil {
		b.WriteString("stage ")
		r.destination(&b, *r.Stage)
	}
	for _, c := range r.Checks {
		if c.Error == "" {
			fmt.Fprintf(&b, "check passed: %s\n", escape.Terminal(c.Name))
		} else {
			fmt.Fprintf(&b, "check FAILED: %s\n  %s\n", escape.Terminal(c.Name), escape.Terminal(c.Error))
		}
	}
	for _, d := range r.Destinations {
		r.destination(&b, d)
	}
	return b.String()
}

func (r *Report) destination(b *strings.Builder, d DestinationReport) {
	what := "published"
	switch {
	case d.Error != "" && d.Changed:
		what = "NOT all published"
	case d.Error != "":
		what = "NOT published"
	case !d.Changed:
		what = "up to date"
	case r.DryRun:
		what = "would be published"
	}
	fmt.Fprintf(b, "%s: %s (commit %.12s)\n", escape.Terminal(d.URL), what, r.Commit)
	for _, role := range d.Roles {
		switch {
		case role.From == 0:
			fmt.Fprintf(b, "  %-9s v%d\n", role.Role, role.To)
		case role.From == role.To:
			fmt.Fprintf(b, "  %-9s v%d, as before\n", role.Role, role.To)
		default:
			fmt.Fprintf(b, "  %-9s v%d -> v%d\n", role.Role, role.From, role.To)
		}
	}
	if len(d.Written) > 0 || d.Error != "" {
		verb := "written"
		if r.DryRun {
			verb = "to write"
		}
		fmt.Fprintf(b, "  %-9s %d; there already: %d\n", verb, len(d.Written), d.Present)
		for _, f := range d.Written {
			fmt.Fprintf(b, "    %s (%d bytes)\n", escape.Terminal(f.Name), f.Bytes)
		}
	}
	if d.Rehearsed > 0 {
		fmt.Fprintf(b, "  rehearsed %d client updates, %d artifacts looked up\n", d.Rehearsed, d.LookedUp)
	}
	if back := d.ReadBack; back != nil {
		fmt.Fprintf(b, "  read back through %s: root v%d, timestamp v%d\n", escape.Terminal(back.URL), back.Root, back.Timestamp)
	}
	if p := d.Prune; p != nil {
		if p.Deleted > 0 {
			fmt.Fprintf(b, "  deleted   %d of %d files that no client can ask for any more\n", p.Deleted, len(p.Files))
		} else {
			fmt.Fprintf(b, "  can go    %d files that no client can ask for any more\n", len(p.Files))
		}
		for _, name := range p.Files {
			fmt.Fprintf(b, "    %s\n", escape.Terminal(name))
		}
	}
	if r.DryRun {
		for _, lost := range d.Lost {
			fmt.Fprintf(b, "  mind: %s\n", escape.Terminal(lost))
		}
	}
	writeNotes(b, d.Notes)
}

func writeNotes(b *strings.Builder, notes []Note) {
	for _, n := range notes {
		fmt.Fprintf(b, "  note: %s [%s]\n", escape.Terminal(n.Message), n.Code)
	}
}
