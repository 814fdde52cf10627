package onlinesign

import (
	"context"
	"errors"
	"fmt"

	"github.com/tufops/tufops/internal/git"
)

// PublishBranch is moved to what is to be published, as tuf-on-ci does, for
// workflows that are started by it or shown on it. Nobody reads from it what was
// published: the destinations tell that.
const PublishBranch = "publish"

// Workflows starts workflows of the repository. It is an adapter to a forge.
type Workflows interface {
	// Start starts a workflow, named by its file, on a branch.
	Start(ctx context.Context, workflow, branch string, inputs map[string]string) error

	// LastRun tells about the newest run of a workflow on a branch: the commit it
	// ran on ("" if there was none), and whether it succeeded or is still running.
	LastRun(ctx context.Context, workflow, branch string) (commit string, good bool, err error)
}

// HandOff says what is to be published.
type HandOff struct {
	Options
	Workflows Workflows
	Workflow  string // file name of the workflow that publishes

	// Idle says that nothing was asked for and nothing was signed: the workflow is
	// then started only if its last run was for another commit or has failed.
	Idle bool
}

// HandedOff is what [HandOff.Run] did, or would do.
type HandedOff struct {
	Commit  git.OID
	Moved   bool // the publish branch
	Started bool
}

// MisplacedError says that the publish branch holds a commit that the branch which
// is published from does not have: somebody else has moved it.
type MisplacedError struct {
	There, Head git.OID // where it is, and where it was to be moved
}

func (e *MisplacedError) Error() string {
	return fmt.Sprintf("branch %s is at %s, which is not part of what is published; it was to be at %s", PublishBranch, e.There.Short(), e.Head.Short())
}

// Hint says what to do next.
func (e *MisplacedError) Hint() string {
	return fmt.Sprintf("let only the bot push to it, and put it back: git push --force origin %s:refs/heads/%s", e.Head, PublishBranch)
}

// Note says how things were left.
func (e *MisplacedError) Note() string { return "the branch was left where it is" }

// Run moves the publish branch to the checked-out commit and starts the workflow
// that publishes it. It never moves the branch backwards: where a newer run was
// faster nothing is left to do. A second call does nothing more than start the
// workflow again, and with Idle not even that.
//
// Where the branch cannot be moved, since somebody else has moved it away or a rule
// of the remote is against it, that is an error, and the workflow is started all
// the same: it is told the commit, and clients wait for it.
func (h HandOff) Run(ctx context.Context) (HandedOff, error) {
	head, err := h.Repository.Git.Resolve(ctx, "HEAD")
	if err != nil {
		return HandedOff{}, err
	}
	done := HandedOff{Commit: head}
	var newer bool
	done.Moved, newer, err = h.move(ctx, head)
	unmoved := err
	if newer || err != nil && !errors.As(err, new(*MisplacedError)) && !errors.As(err, new(*git.RejectedError)) {
		return done, err
	}
	if h.Idle && !done.Moved && unmoved == nil {
		commit, good, err := h.Workflows.LastRun(ctx, h.Workflow, PublishBranch)
		if err != nil {
			return done, fmt.Errorf("find out how the last run of %s ended: %w", h.Workflow, err)
		}
		if commit == string(head) && good {
			return done, nil
		}
	}
	if !h.DryRun {
		if err := h.Workflows.Start(ctx, h.Workflow, PublishBranch, map[string]string{"ref": string(head)}); err != nil {
			return done, errors.Join(unmoved, fmt.Errorf("start %s for commit %s: %w", h.Workflow, head.Short(), err))
		}
	}
	done.Started = true
	return done, unmoved
}

// move moves the publish branch to head. It reports whether it has, and whether a
// newer run was faster.
func (h HandOff) move(ctx context.Context, head git.OID) (moved, newer bool, err error) {
	g := h.Repository.Git
	branch, err := g.CurrentBranch(ctx)
	if err != nil {
		return false, false, err
	}
	const ref = "refs/heads/" + PublishBranch
	main := "refs/heads/" + branch
	for attempt := 1; ; attempt++ {
		refs, err := g.LsRemote(ctx, h.Remote, ref, main)
		if err != nil {
			return false, false, err
		}
		there, tip := refs[ref], refs[main]
		if there == head {
			return false, false, nil
		}
		if there != "" {
			fetch := []string{"+" + ref + ":refs/tufops/fetched/" + PublishBranch}
			if tip != "" {
				fetch = append(fetch, "+"+main+":refs/tufops/fetched/"+branch)
			}
			if err := g.Fetch(ctx, h.Remote, fetch...); err != nil {
				return false, false, err
			}
			behind, err := g.IsAncestor(ctx, there, head)
			if err == nil && !behind && tip != "" {
				newer, err = g.IsAncestor(ctx, there, tip)
			}
			if err != nil || newer {
				return false, newer, err
			}
			if !behind {
				return false, false, &MisplacedError{There: there, Head: head}
			}
		}
		if h.DryRun {
			return true, false, nil
		}
		if err = g.Push(ctx, h.Remote, git.RefUpdate{Ref: ref, New: head, Old: there}); err == nil {
			return true, false, nil
		}
		var rejected *git.RejectedError
		if !errors.As(err, &rejected) || !rejected.Moved() || attempt == maxAttempts {
			return false, false, fmt.Errorf("move branch %s to what is to be published: %w", PublishBranch, err)
		}
	}
}
