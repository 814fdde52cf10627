package signingevent

import (
	"context"
	"errors"
	"fmt"
)

// Forge is where people talk about a signing event: pull requests, comments and
// commit statuses on one repository. It is an adapter: it decides nothing. Who
// pushed a commit can bring a finding about; nothing else that it says is an input
// to a verdict.
//
// A call that fails has either not happened or has happened without the answer
// arriving. Reads and edits are tried again by the adapter within a budget.
// Creating something is tried again only where the forge has said that it was
// not done; the next run finds what was done but not told.
//
// A permission that the token lacks is a [*PermissionError]. Methods are safe to
// call twice, and from several goroutines at once.
type Forge interface {
	// PushStartsWorkflows reports whether a push made with this token starts
	// workflows. The default token of a workflow does not.
	PushStartsWorkflows(ctx context.Context) (bool, error)

	// Pushes lists the newest pushes to a branch, newest first, at least a hundred
	// if there are as many. Merges are not among them: who pressed the button has
	// not made the commits.
	Pushes(ctx context.Context, branch string) ([]Push, error)

	// Pulls lists the pull requests from a branch of this repository (never of a
	// fork), open or not, newest first.
	Pulls(ctx context.Context, branch string) ([]Pull, error)

	// OpenPull opens a pull request. Where there is one open already for this
	// branch it is an error that wraps [ErrExists]; where the forge has no drafts
	// and one was wanted, [ErrNoDrafts].
	OpenPull(ctx context.Context, p NewPull) (Pull, error)

	// SetDraft makes a pull request a draft, or ready for review. Where the forge
	// has no drafts the error wraps [ErrNoDrafts].
	SetDraft(ctx context.Context, p Pull, draft bool) error

	// SetLabel adds or removes a label of a pull request. A label that does not
	// exist is made; removing one that is not there is no error.
	SetLabel(ctx context.Context, p Pull, label string, on bool) error

	// Comments lists all comments of a pull request, oldest first.
	Comments(ctx context.Context, pull int) ([]Comment, error)

	CreateComment(ctx context.Context, pull int, body string) (Comment, error)
	EditComment(ctx context.Context, id int64, body string) error

	// DeleteComment removes a comment. One that is gone already is no error.
	DeleteComment(ctx context.Context, id int64) error

	// Status returns the newest status that a commit has in a context, nil for
	// none.
	Status(ctx context.Context, commit, statusContext string) (*CommitStatus, error)
	SetStatus(ctx context.Context, commit string, s CommitStatus) error

	// Dispatch starts a workflow, named by its file, on a branch. Where there is
	// no such workflow, or it cannot be started so, the error wraps [ErrNotFound].
	Dispatch(ctx context.Context, workflow, branch string, inputs map[string]string) error
}

// Push is one push to a branch.
type Push struct {
	Before, After string // commits; Before is empty where the push made the branch
	Login         string
}

// Pull is a pull request.
type Pull struct {
	Number int
	ID     string // the forge's own, for the draft switch
	Head   string // commit, as the forge last saw it
	Base   string // branch that it is to be merged into
	Open   bool
	Merged bool
	Draft  bool
	Own    bool // opened under the login of our token; told of one that was closed without being merged
	Labels []string
	URL    string // for people
}

// decided reports whether somebody who may write has ended this pull request: it was
// merged, or it is ours and was closed. Whoever may read can open one of their own from
// any branch, and close it.
func (p Pull) decided() bool { return p.Merged || p.Own && !p.Open }

// NewPull is a pull request to open.
type NewPull struct {
	Branch, Base, Title, Body string
	Draft                     bool
}

// Comment is a comment on a pull request.
type Comment struct {
	ID     int64
	Author string // login
	Own    bool   // written under the login of our token
	Body   string
	URL    string
}

// CommitStatus is what is said of a commit in one context.
type CommitStatus struct {
	Context     string
	State       string // success, pending, failure or error
	Description string // at most 140 characters
	URL         string // for people; may be empty
}

// What a forge may answer, to be told apart with errors.Is.
var (
	ErrExists   = errors.New("there is one already")
	ErrNoDrafts = errors.New("this repository has no draft pull requests")
	ErrNotFound = errors.New("there is no such thing")
)

// PermissionError says that the token may not do something.
type PermissionError struct {
	Action     string // what was tried: "set the commit status of 0123456789ab"
	Permission string // what would allow it: "statuses: write"; empty where the forge does not tell
	Err        error  // the forge's answer
}

func (e *PermissionError) Error() string {
	s := fmt.Sprintf("the token may not %s", e.Action)
	if e.Permission != "" {
		s += fmt.Sprintf(" (it needs %s)", e.Permission)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *PermissionError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *PermissionError) Hint() string {
	if e.Permission == "" {
		return "look at the token's permissions and the repository's Actions settings"
	}
	return "give the workflow job, or the token, the permission " + e.Permission
}
