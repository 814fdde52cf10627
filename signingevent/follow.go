package signingevent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/git"
)

// StartEvents starts the workflow of events that [CreateEvents] found, where
// nothing else does: of those just created if the push starts none by itself, and
// of those that were there already if they have no pull request, or only such as
// others have closed again, which is what a run leaves that was stopped after its
// push. Such a branch may be anybody's; where the workflow cannot be started on it,
// that is not a failure. It returns the branches, and goes on with the others when one
// fails.
func StartEvents(ctx context.Context, f Forge, workflow string, events []NewEvent, dryRun bool) ([]string, error) {
	starts, err := f.PushStartsWorkflows(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out whether a push starts workflows: %w", err)
	}
	var started []string
	var errs []error
	for _, e := range events {
		if e.Created && starts {
			continue
		}
		if !e.Created {
			pulls, err := f.Pulls(ctx, e.Branch)
			if err != nil {
				errs = append(errs, fmt.Errorf("list the pull requests of %s: %w", e.Branch, err))
			}
			if err != nil || slices.ContainsFunc(pulls, func(p Pull) bool { return p.Open || p.decided() }) {
				continue
			}
		}
		if !dryRun {
			if err := f.Dispatch(ctx, workflow, e.Branch, nil); err != nil {
				if e.Created || !errors.Is(err, ErrNotFound) {
					errs = append(errs, fmt.Errorf("start %s on %s: %w", workflow, e.Branch, err))
				}
				continue
			}
		}
		started = append(started, e.Branch)
	}
	return started, errors.Join(errs...)
}

// maxStarted bounds how many workflows one run starts. Branches are anybody's, and
// the default token has a thousand requests an hour for all workflows together.
const maxStarted = 100

// Reevaluate starts the workflow of every open event: main has moved, or time
// has passed, and what was complete may not be so any more. An event is open
// while its branch at the remote has something that main lacks. It returns the
// branches, and goes on with the others when one fails.
//
// At most maxStarted are started: with more of them the next ones have their turn
// six hours later, which is how often a schedule asks.
//
// Branches are anybody's: one from which the workflow cannot be started, as it
// began before there was one or has removed it, is told to the log and no failure.
func Reevaluate(ctx context.Context, o Options, f Forge, workflow string) ([]string, error) {
	g := o.Repository.Git
	main, err := g.Resolve(ctx, "HEAD")
	if err != nil {
		return nil, err
	}
	refs, err := g.LsRemote(ctx, o.Remote, "refs/heads/sign/*")
	if err != nil {
		return nil, err
	}
	var open, started []string
	var errs []error
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		if !strings.HasPrefix(ref, "refs/heads/sign/") {
			continue // the pattern matches the end of a name: refs/tags/refs/heads/sign/x
		}
		merged, err := isMerged(ctx, g, refs[ref], main)
		if err != nil {
			errs = append(errs, err)
		} else if !merged {
			open = append(open, strings.TrimPrefix(ref, "refs/heads/"))
		}
	}
	if n := len(open); n > maxStarted {
		turn := uint64(o.Now.Unix()) / (6 * 3600)
		first := int(turn % uint64(n) * maxStarted % uint64(n))
		o.log().Warn("too many events are open to judge all of them again: the others have their turn later", "open", n, "started", maxStarted)
		open = append(open[first:], open[:first]...)[:maxStarted]
	}
	for _, branch := range open {
		if !o.DryRun {
			err := f.Dispatch(ctx, workflow, branch, nil)
			if errors.Is(err, ErrNotFound) {
				o.log().Warn("workflow cannot be started on the event", "workflow", workflow, "branch", branch, "error", err)
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("start %s on %s: %w", workflow, branch, err))
				continue
			}
		}
		started = append(started, branch)
	}
	return started, errors.Join(errs...)
}

// isMerged reports whether main contains a commit. One that is not here yet is
// newer than what was fetched, and so is not.
func isMerged(ctx context.Context, g *git.Repo, head, main git.OID) (bool, error) {
	if _, err := g.Resolve(ctx, string(head)); err != nil {
		return false, ctx.Err()
	}
	return g.IsAncestor(ctx, head, main)
}
