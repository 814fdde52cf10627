package onlinesign

import (
	"context"
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

// Run moves the publish branch to the checked-out commit and starts the workflow
// that publishes it. It never moves the branch backwards: where a newer run was
// faster nothing is left to do. A second call does nothing more than start the
// workflow again, and with Idle not even that.
func (h HandOff) Run(ctx context.Context) (HandedOff, error) {
	g := h.Repository.Git
	head, err := g.Resolve(ctx, "HEAD")
	if err != nil {
		return HandedOff{}, err
	}
	done := HandedOff{Commit: head}
	const ref = "refs/heads/" + PublishBranch
	refs, err := g.LsRemote(ctx, h.Remote, ref)
	if err != nil {
		return done, err
	}
	if there := refs[ref]; there != head {
		if there != "" {
			if err := g.Fetch(ctx, h.Remote, "+"+ref+":refs/tufops/fetched/"+PublishBranch); err != nil {
				return done, err
			}
			if ahead, err := g.IsAncestor(ctx, head, there); err != nil || ahead {
				return done, err
			}
		}
		if !h.DryRun {
			if err := g.Push(ctx, h.Remote, git.RefUpdate{Ref: ref, New: head, Old: there}); err != nil {
				return done, fmt.Errorf("move branch %s to what is to be published: %w", PublishBranch, err)
			}
		}
		done.Moved = true
	}
	if h.Idle && !done.Moved {
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
			return done, fmt.Errorf("start %s for commit %s: %w", h.Workflow, head.Short(), err)
		}
	}
	done.Started = true
	return done, nil
}
