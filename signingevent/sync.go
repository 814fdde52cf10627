package signingevent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

// Options are what the bot's commands on branches have in common.
type Options struct {
	Repository *repository.Repository
	Now        time.Time
	// Remote is where to push; "" for not at all.
	Remote string
	// Upstream is the remote whose events are open too where nothing is pushed; ""
	// for none.
	Upstream string
	// DryRun stops before the first write. What would be written is reported
	// all the same.
	DryRun bool
	Log    *slog.Logger // nil: silent
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// maxAttempts bounds how often a push that lost a race is tried again.
const maxAttempts = 5

// Sync is what [UpdateTargets] did.
type Sync struct {
	Head  git.OID  // the branch's head afterwards
	Roles []string // roles whose metadata was brought in line, one commit each

	Pushed bool // the branch at the remote was moved
}

// UpdateTargets brings the metadata of every targets role in line with the
// artifacts at the head of the checked-out branch: one commit per role that
// differs. If the branch moves meanwhile it starts over. A second call does
// nothing.
func UpdateTargets(ctx context.Context, o Options) (Sync, error) {
	branch, err := o.Repository.Git.OpenBranch(ctx, o.Remote)
	if err != nil {
		return Sync{}, err
	}
	for attempt := 1; ; attempt++ {
		s, err := syncTargets(ctx, o, branch.Head())
		if err != nil || o.DryRun {
			return s, err
		}
		if err = branch.Move(ctx, s.Head); err == nil {
			if s.Pushed = branch.Pushed(); s.Pushed {
				o.log().Info("pushed", "branch", branch.Name(), "commit", s.Head.Short())
			}
			return s, nil
		}
		again, err := branch.Again(ctx, err)
		if !again || attempt == maxAttempts {
			return Sync{}, err
		}
		o.log().Info("the branch moved meanwhile: starting over", "branch", branch.Name())
	}
}

func syncTargets(ctx context.Context, o Options, head git.OID) (Sync, error) {
	s := Sync{Head: head}
	state, err := o.Repository.At(ctx, head)
	if err != nil {
		return s, err
	}
	if _, err := state.Document("root"); err != nil {
		return s, err
	}
	for _, role := range state.TargetsRoles() {
		edit, err := state.Edit(ctx, state, o.Now)
		if err != nil {
			return s, err
		}
		changed, err := edit.SyncTargets(ctx, role)
		if errors.As(err, new(*repository.MissingError)) {
			o.log().Warn(err.Error())
			continue
		}
		if err != nil {
			return s, err
		}
		if !changed {
			continue
		}
		s.Roles = append(s.Roles, role)
		if o.DryRun {
			continue
		}
		if s.Head, err = commit(ctx, o, state, edit, "Update targets metadata for role "+role); err != nil {
			return s, err
		}
		if state, err = o.Repository.At(ctx, s.Head); err != nil {
			return s, err
		}
	}
	return s, nil
}

func commit(ctx context.Context, o Options, on *repository.State, edit *repository.Edit, message string) (git.OID, error) {
	changes, err := edit.Changes(ctx)
	if err != nil {
		return "", err
	}
	return o.Repository.Git.WriteCommit(ctx, git.CommitOptions{
		Parent: on.Commit(), Changes: changes, Message: message, Signoff: true, Identity: repository.Bot, When: o.Now,
	})
}

// NewEvent is a signing event that the bot opens, or would.
type NewEvent struct {
	Role    string
	Version int64
	Branch  string // sign/ROLE-vN, or sign/DIR-ROLE-vN where the git repository holds several TUF repositories
	Created bool   // false: the branch was there already
}

// CreateEvents opens a signing event for every offline role whose signing
// period has begun at the head of the checked-out branch: a branch sign/R-vN
// with one commit that bumps version and expiry. A branch that exists is left
// alone, on whatever commit it is, unless main has all of it: nobody would be asked
// for anything then, and the role would expire. A role for which that fails keeps no other
// from getting its event; the error joins what failed.
func CreateEvents(ctx context.Context, o Options) ([]NewEvent, error) {
	g := o.Repository.Git
	branch, err := g.OpenBranch(ctx, o.Remote)
	if err != nil {
		return nil, err
	}
	state, err := o.Repository.At(ctx, branch.Head())
	if err != nil {
		return nil, err
	}
	exists, err := eventBranches(ctx, o)
	if err != nil {
		return nil, err
	}
	policy, err := o.Repository.Policy(ctx, branch.Head())
	if err != nil {
		return nil, err
	}
	prefix := ""
	if len(policy.Repositories) > 1 { // roles of two repositories may have one name
		prefix = strings.TrimPrefix(strings.ReplaceAll(o.Repository.Dir(), "/", "-")+"-", "-")
	}
	var events []NewEvent
	var errs []error // of a role each: no role expires because another is broken
	for _, role := range state.OfflineRoles() {
		if ctx.Err() != nil {
			return events, ctx.Err()
		}
		doc, err := state.Document(role)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !repository.Due(doc, repository.PeriodOf(doc), o.Now) {
			continue
		}
		e := NewEvent{Role: role, Version: doc.Version() + 1}
		e.Branch = fmt.Sprintf("sign/%s%s-v%d", prefix, role, e.Version)
		at := exists["refs/heads/"+e.Branch]
		idle := at == ""
		if !idle {
			idle, err = isMerged(ctx, g, at, branch.Head())
		}
		if err == nil && idle {
			e.Created, err = createEvent(ctx, o, state, e, at)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("open event %s: %w", e.Branch, err))
			continue
		}
		events = append(events, e)
	}
	return events, errors.Join(errs...)
}

// eventBranches lists the branches of signing events: the remote's and, where
// nothing is pushed, also those that are here.
func eventBranches(ctx context.Context, o Options) (map[string]git.OID, error) {
	const pattern = "refs/heads/sign/*"
	if o.Remote != "" {
		return o.Repository.Git.LsRemote(ctx, o.Remote, pattern)
	}
	branches, err := o.Repository.Git.Refs(ctx, "refs/heads/sign/")
	if err != nil || o.Upstream == "" {
		return branches, err
	}
	there, err := o.Repository.Git.LsRemote(ctx, o.Upstream, pattern)
	if err != nil {
		o.log().Warn("cannot see which events are open at "+o.Upstream+", so only those here count", "error", err)
	}
	for ref, head := range there {
		branches[ref] = head
	}
	return branches, nil
}

// createEvent makes one event, from where its branch is, "" for nowhere. It reports
// false where somebody else was first. A branch that cannot be is an
// [*InTheWayError].
func createEvent(ctx context.Context, o Options, state *repository.State, e NewEvent, at git.OID) (bool, error) {
	edit, err := state.Edit(ctx, state, o.Now)
	if err != nil {
		return false, err
	}
	if err := edit.Bump(e.Role); err != nil {
		return false, err
	}
	if o.DryRun {
		return true, nil
	}
	head, err := commit(ctx, o, state, edit, fmt.Sprintf("Periodic version bump: %s v%d", e.Role, e.Version))
	if err != nil {
		return false, err
	}
	ref := "refs/heads/" + e.Branch
	if o.Remote == "" {
		err = o.Repository.Git.UpdateRef(ctx, ref, head, at)
	} else {
		err = o.Repository.Git.Push(ctx, o.Remote, git.RefUpdate{Ref: ref, New: head, Old: at})
	}
	var stale *git.StaleRefError
	var rejected *git.RejectedError
	if errors.As(err, &stale) {
		return false, nil
	}
	if errors.As(err, &rejected) && rejected.Moved() {
		refs, failed := o.Repository.Git.LsRemote(ctx, o.Remote, ref)
		if failed == nil && refs[ref] == at { // nobody was first
			failed = &InTheWayError{Branch: e.Branch, Remote: o.Remote, Err: err}
		}
		return false, failed
	}
	return err == nil, err
}

// InTheWayError says that a remote does not take the branch of an event, which
// nobody has made meanwhile. Git has no branch sign/x beside sign/x/y.
type InTheWayError struct {
	Branch, Remote string
	Err            error // what git says
}

func (e *InTheWayError) Error() string {
	return fmt.Sprintf("something is in the way of branch %s: %v", e.Branch, e.Err)
}

func (e *InTheWayError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *InTheWayError) Hint() string {
	return fmt.Sprintf("look for branches whose names begin with %s/, and delete them: git ls-remote %s 'refs/heads/sign*'", e.Branch, e.Remote)
}
