package git

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// ErrClosed is returned by every call on a [Repo] that was closed.
var ErrClosed = errors.New("git repository is closed")

// NotRepositoryError says that no git repository is at or above Dir.
type NotRepositoryError struct {
	Dir string
	Err error
}

func (e *NotRepositoryError) Error() string {
	return fmt.Sprintf("%s is not in a git repository", visible(e.Dir))
}

func (e *NotRepositoryError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *NotRepositoryError) Hint() string {
	return "run inside a clone of the TUF repository, or name one with -C DIR"
}

// RevisionError says that Rev does not name one commit in the repository at Dir.
type RevisionError struct {
	Rev, Dir string
	Reason   string // "no such commit", or why Rev was not even looked up
}

func (e *RevisionError) Error() string {
	return fmt.Sprintf("find commit %q in %s: %s", e.Rev, visible(e.Dir), e.Reason)
}

// Hint says what to do next.
func (e *RevisionError) Hint() string {
	if e.Rev == "HEAD" {
		return "this branch has no commit yet: git switch to one that has, or make a first commit"
	}
	return "git fetch, check the name with: git branch --all, and write refs/heads/... or refs/remotes/... in full if it is ambiguous"
}

// MissingObjectError says that an object is not in the repository. In a shallow
// or damaged clone it may well exist elsewhere.
type MissingObjectError struct {
	OID OID
}

func (e *MissingObjectError) Error() string {
	return fmt.Sprintf("git object %s is not in this repository", e.OID)
}

// Hint says what to do next.
func (e *MissingObjectError) Hint() string {
	return "git fetch (in a shallow clone: git fetch --unshallow), then git fsck"
}

// TypeError says that an object is not of the type asked for.
type TypeError struct {
	OID       OID
	Got, Want string // "blob", "tree", "commit", "tag"
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("git object %s is a %s, not a %s", e.OID, e.Got, e.Want)
}

// TooLargeError says that an object is larger than the caller will read. It was
// not read into memory.
type TooLargeError struct {
	OID       OID
	Size, Max int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("git object %s has %d bytes, at most %d are read", e.OID, e.Size, e.Max)
}

// MalformedError says that a tree or commit is one that git itself would not
// have written (git fsck names it too), or a tree too large to walk. Such an
// object was made by hand; what the rest of it says should not be believed.
type MalformedError struct {
	OID    OID
	Reason string
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("git object %s is malformed: %s", e.OID, e.Reason)
}

// NoMergeBaseError says that no common ancestor of two commits is known.
type NoMergeBaseError struct {
	A, B    OID
	Shallow bool // the history is cut off, so there may be one after all
}

func (e *NoMergeBaseError) Error() string {
	if e.Shallow {
		return fmt.Sprintf("commits %s and %s have no common ancestor in this shallow clone", e.A.Short(), e.B.Short())
	}
	return fmt.Sprintf("commits %s and %s have no common ancestor", e.A.Short(), e.B.Short())
}

// Hint says what to do next.
func (e *NoMergeBaseError) Hint() string {
	if e.Shallow {
		return "fetch the whole history: git fetch --unshallow (in a workflow: actions/checkout with fetch-depth: 0)"
	}
	return "the histories are unrelated: make the branch again from the tip of main"
}

// CommandError says that a git process failed.
//
// Args and Stderr hold no URL credentials; they may hold control characters,
// which Error makes visible.
type CommandError struct {
	Args     []string // the subcommand and its arguments
	ExitCode int      // -1 if git did not exit by itself
	Stderr   string   // the end of what it said
	Err      error    // the context's error if that ended it
}

func (e *CommandError) Error() string {
	const maxArgs = 8
	args := e.Args
	more := ""
	if len(args) > maxArgs {
		args, more = args[:maxArgs], " ..."
	}
	s := "git " + visible(strings.Join(args, " ")) + more
	if e.Err != nil {
		s += ": " + visible(e.Err.Error())
	}
	var said []string
	for line := range strings.Lines(e.Stderr) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "hint:") {
			continue
		}
		said = append(said, line)
	}
	if len(said) > 0 {
		s += ": " + visible(strings.Join(said, "; "))
	}
	return s
}

func (e *CommandError) Unwrap() error { return e.Err }

// userinfo matches the part of a URL that can hold a password or a token. It may
// itself hold an @.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^/\s'"]*)@`)

// redact removes credentials from the URLs in s. The user `git`, which every
// forge uses for SSH, is no secret and stays.
func redact(s string) string {
	return userinfo.ReplaceAllStringFunc(s, func(m string) string {
		sub := userinfo.FindStringSubmatch(m)
		if sub[2] == "git" {
			return m
		}
		return sub[1] + "REDACTED@"
	})
}

// visible makes one printable line of s: what a stranger wrote must not move the
// cursor of the person who reads it.
func visible(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			b.WriteByte(' ')
		case c == unicode.ReplacementChar || !unicode.IsPrint(c):
			fmt.Fprintf(&b, "\\u%04x", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
