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
	Changed      bool                `json:"changed"` // something was written; in a dry run: would be
	Destinations []DestinationReport `json:"destinations"`
}

// DestinationReport is one destination of a [Report].
type DestinationReport struct {
	URL     string        `json:"url"`
	Changed bool          `json:"changed"`
	Roles   []RoleChange  `json:"roles"`   // root, timestamp, snapshot
	Written []WrittenFile `json:"written"` // in order; in a dry run what would be
	// Present counts the files that were there already, with the right bytes.
	// If nothing had to be done only the timestamp and the pages were looked at.
	Present int    `json:"present"`
	Notes   []Note `json:"notes"`
	Error   string `json:"error,omitempty"`
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
)

// Text is the report for a person.
func (r *Report) Text() string {
	var b strings.Builder
	for _, d := range r.Destinations {
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
		fmt.Fprintf(&b, "%s: %s (commit %.12s)\n", escape.Terminal(d.URL), what, r.Commit)
		for _, role := range d.Roles {
			switch {
			case role.From == 0:
				fmt.Fprintf(&b, "  %-9s v%d\n", role.Role, role.To)
			case role.From == role.To:
				fmt.Fprintf(&b, "  %-9s v%d, as before\n", role.Role, role.To)
			default:
				fmt.Fprintf(&b, "  %-9s v%d -> v%d\n", role.Role, role.From, role.To)
			}
		}
		if len(d.Written) == 0 && d.Error == "" {
			writeNotes(&b, d.Notes)
			continue
		}
		verb := "written"
		if r.DryRun {
			verb = "to write"
		}
		fmt.Fprintf(&b, "  %-9s %d; there already: %d\n", verb, len(d.Written), d.Present)
		for _, f := range d.Written {
			fmt.Fprintf(&b, "    %s (%d bytes)\n", escape.Terminal(f.Name), f.Bytes)
		}
		writeNotes(&b, d.Notes)
	}
	return b.String()
}

func writeNotes(b *strings.Builder, notes []Note) {
	for _, n := range notes {
		fmt.Fprintf(b, "  note: %s [%s]\n", escape.Terminal(n.Message), n.Code)
	}
}
