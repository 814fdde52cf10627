package publish

import (
	"fmt"
	"strings"
)

// NewerError says that a destination shows something newer than what was to be
// published: this run is late, or main was taken back.
type NewerError struct {
	What       string // a role
	Live, Ours int64  // versions; Ours is 0 where ours no longer has the role
	Commit     string
	By         string // who published it, as far as the destination tells
}

func (e *NewerError) Error() string {
	if e.Ours == 0 {
		return fmt.Sprintf("the destination lists role %s (version %d), which commit %.12s no longer has%s", e.What, e.Live, e.Commit, by(e.By))
	}
	return fmt.Sprintf("the destination has %s version %d, commit %.12s has version %d; clients refuse to go back%s", e.What, e.Live, e.Commit, e.Ours, by(e.By))
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return "; " + who
}

// Hint says what to do.
func (e *NewerError) Hint() string {
	return "if this run is late, there is nothing to do: a later commit is published. To undo a change, do not revert its commit: make a new event with the old content and higher versions, then tufops online-sign. If a version was signed past main, tufops online-sign --live URL signs one that is higher still"
}

// SameVersionError says that a destination has a timestamp of the same version
// with other bytes.
type SameVersionError struct {
	Version int64
	Commit  string
	By      string // who published it, as far as the destination tells
}

func (e *SameVersionError) Error() string {
	return fmt.Sprintf("the destination has a valid timestamp version %d that differs from the one of commit %.12s%s", e.Version, e.Commit, by(e.By))
}

// Hint says what to do.
func (e *SameVersionError) Hint() string {
	return "two timestamps of one version were signed, perhaps by hand. Make one that is higher than both, which every client takes: tufops online-sign --live URL"
}

// DiffersError says that files which never change have other bytes than they
// must have. They are not overwritten: clients or caches may have them.
type DiffersError struct {
	Names []string
	// Stopped says that nothing was written because of them. Artifacts that
	// differ do not stop the timestamp: that would harm all clients, not only
	// those that ask for the artifact.
	Stopped bool
}

func (e *DiffersError) Error() string {
	text := strings.Join(e.Names[:min(len(e.Names), 5)], ", ")
	if more := len(e.Names) - 5; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	text += ": the destination has other bytes under this name, which must never change [immutable-differs]"
	if !e.Stopped {
		text += "; all else that clients read is published"
	}
	return text
}

// Hint says what to do.
func (e *DiffersError) Hint() string {
	return "find out who wrote it; if clients cannot have seen it, remove it there and publish again, else sign a new version"
}

// ForeignRootError says that a destination has a root after the newest one that
// the newest one's keys have not signed.
type ForeignRootError struct {
	Name   string
	Reason error
}

func (e *ForeignRootError) Error() string {
	return fmt.Sprintf("%s at the destination is no successor of our newest root, and clients stop at it: %v", e.Name, e.Reason)
}

func (e *ForeignRootError) Unwrap() error { return e.Reason }

// Hint says what to do.
func (e *ForeignRootError) Hint() string {
	return "find out who wrote it and remove it at the destination"
}

// DestinationError says which destination an error is about.
type DestinationError struct {
	URL string
	Err error
}

func (e *DestinationError) Error() string { return fmt.Sprintf("publish to %s: %v", e.URL, e.Err) }

func (e *DestinationError) Unwrap() error { return e.Err }
