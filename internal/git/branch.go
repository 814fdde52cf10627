package git

import (
	"context"
	"errors"
	"fmt"
)

// Branch is the branch that a bot works on: the one checked out here and, where
// there is a remote, the branch of that name there, which then is the truth.
type Branch struct {
	repo   *Repo
	remote string // "" for a branch that is only here
	name   string // "" for a detached HEAD, only without a remote
	local  OID    // HEAD
	there  OID    // at the remote; "" where it has no such branch
	head   OID
	pushed bool
}

// DetachedError says that a branch is needed and none is checked out.
type DetachedError struct{ Head OID }

func (e *DetachedError) Error() string {
	return fmt.Sprintf("no branch is checked out (HEAD is detached at %s), so there is none to push", e.Head.Short())
}

// Hint says what to do next.
func (e *DetachedError) Hint() string { return "check out the branch first: git switch BRANCH" }

// DivergedError says that the branch here and the one at the remote both have
// commits that the other lacks.
type DivergedError struct {
	Branch      string
	Here, There OID
}

func (e *DivergedError) Error() string {
	return fmt.Sprintf("branch %s is at %s here and at %s at the remote; neither contains the other", visible(e.Branch), e.Here.Short(), e.There.Short())
}

// Hint says what to do next.
func (e *DivergedError) Hint() string {
	return "take the remote's: git fetch, then git reset --hard to its branch"
}

// NoWorkTreeError says that there is no checkout to move.
type NoWorkTreeError struct{ Dir string }

func (e *NoWorkTreeError) Error() string {
	return visible(e.Dir) + " has no work tree, so there is no checkout to move"
}

// Hint says what to do next.
func (e *NoWorkTreeError) Hint() string {
	return "run it in a clone that has one: git clone " + visible(e.Dir)
}

// BehindError says that the remote's branch was moved and the checkout could not
// follow.
type BehindError struct {
	Branch string
	Commit OID // where the remote's branch is
	Err    error
}

func (e *BehindError) Error() string { return e.Err.Error() }

func (e *BehindError) Unwrap() error { return e.Err }

// Note says in what state things were left.
func (e *BehindError) Note() string {
	return fmt.Sprintf("the push is done: branch %s is at %s at the remote, and only this checkout is behind", visible(e.Branch), e.Commit.Short())
}

// OpenBranch reads the checked-out branch. With a remote it fetches the branch
// there and starts from whichever of the two contains the other, so that a run
// that was stopped between push and checkout, or the other way round, heals.
func (r *Repo) OpenBranch(ctx context.Context, remote string) (*Branch, error) {
	b := &Branch{repo: r, remote: remote}
	var err error
	if b.local, err = r.Resolve(ctx, "HEAD"); err != nil {
		return nil, err
	}
	b.head = b.local
	if b.name, err = r.CurrentBranch(ctx); err != nil {
		return nil, err
	}
	if remote == "" {
		return b, nil
	}
	if b.name == "" {
		return nil, &DetachedError{Head: b.local}
	}
	return b, b.refresh(ctx)
}

// refresh looks where the remote's branch is now.
func (b *Branch) refresh(ctx context.Context) error {
	refs, err := b.repo.LsRemote(ctx, b.remote, b.ref())
	if err != nil {
		return err
	}
	b.there = refs[b.ref()]
	b.head = b.local
	if b.there == "" || b.there == b.local {
		return nil
	}
	// A tracking ref of our own: the remote's may be configured away.
	if err := b.repo.Fetch(ctx, b.remote, "+"+b.ref()+":refs/tufops/fetched/"+b.name); err != nil {
		return err
	}
	if behind, err := b.repo.IsAncestor(ctx, b.local, b.there); err != nil {
		return err
	} else if behind {
		b.head = b.there
		return nil
	}
	ahead, err := b.repo.IsAncestor(ctx, b.there, b.local)
	if err == nil && !ahead {
		err = &DivergedError{Branch: b.name, Here: b.local, There: b.there}
	}
	return err
}

func (b *Branch) ref() string { return "refs/heads/" + b.name }

// Name is the branch's name; "" for a detached HEAD.
func (b *Branch) Name() string { return b.name }

// Head is the commit to work from.
func (b *Branch) Head() OID { return b.head }

// Remote is where [Branch.Move] pushes; "" where it does not.
func (b *Branch) Remote() string { return b.remote }

// Move moves the branch to a commit that descends from [Branch.Head]: first at
// the remote, by compare-and-swap, then here. new may be Head itself: then only
// what an earlier run left undone is done.
//
// A remote that has moved meanwhile is a [*RejectedError]; nothing has changed
// then, and the caller may ask for [Branch.Again]. Where there is nothing to move
// here it is a [*NoWorkTreeError], before anything is pushed; where the checkout
// cannot follow the remote, a [*BehindError].
func (b *Branch) Move(ctx context.Context, new OID) error {
	if b.local != new && b.repo.Top() == "" {
		return &NoWorkTreeError{Dir: b.repo.GitDir()}
	}
	// A branch that is gone there, and to which nothing is to be added, stays
	// gone: it was merged and deleted before we came.
	if b.remote != "" && b.there != new && (b.there != "" || new != b.local) {
		if err := b.repo.Push(ctx, b.remote, RefUpdate{Ref: b.ref(), New: new, Old: b.there}); err != nil {
			return err
		}
		b.there, b.pushed = new, true
	}
	if b.local != new {
		if err := b.repo.AdvanceCheckout(ctx, b.local, new); err != nil && b.remote != "" {
			return &BehindError{Branch: b.name, Commit: new, Err: err}
		} else if err != nil {
			return err
		}
		b.local = new
	}
	b.head = new
	return nil
}

// Pushed reports whether [Branch.Move] has moved the branch at the remote.
func (b *Branch) Pushed() bool { return b.pushed }

// Again reports whether the error of [Branch.Move] means that somebody else
// pushed first. If so the branch now starts from their commit and the work can
// be done anew.
func (b *Branch) Again(ctx context.Context, err error) (bool, error) {
	var rejected *RejectedError
	if !errors.As(err, &rejected) || !rejected.Moved() {
		return false, err
	}
	if err := b.refresh(ctx); err != nil {
		return false, err
	}
	return true, nil
}
