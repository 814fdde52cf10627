package onlinesign

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// TargetsResult is what [SignTargets] did, or would do.
type TargetsResult struct {
	Commit git.OID // the branch's head afterwards
	// Signed has one entry per role that got a signature; a role that had all
	// of them already has none.
	Signed []SignedTargets
	// Warnings are online keys that did not sign. Their signatures are still
	// missing, as those of people may be.
	Warnings []string
}

// SignedTargets is a targets role that got signatures of online keys.
type SignedTargets struct {
	Role    string
	Version int64
	Keys    []string // online URIs
	Commit  git.OID  // empty on a dry run
}

// NoOnlineKeyError says that a role lists no online key, so that there is nothing
// a machine could sign.
type NoOnlineKeyError struct{ Role string }

func (e *NoOnlineKeyError) Error() string {
	return fmt.Sprintf("role %s lists no online key: only people sign it", e.Role)
}

// Hint says what to do.
func (e *NoOnlineKeyError) Hint() string { return "tufops-sign sign EVENT" }

// StrangerError says that a signing event has a role signed by an online key that
// main knows nothing of. Nobody was asked for it.
type StrangerError struct{ Role, URI string }

func (e *StrangerError) Error() string {
	return fmt.Sprintf("sign role %s: no role on main lists key %s, and online-keys in main's %s does not allow it", e.Role, e.URI, repository.PolicyFile)
}

// Hint says what to do.
func (e *StrangerError) Hint() string {
	return "if the key is yours, add the beginning of its URI to online-keys on main: docs/format.md#policy"
}

// NoMainError says that the tip of main is not there to be compared with.
type NoMainError struct {
	Base string
	Err  error
}

func (e *NoMainError) Error() string {
	return fmt.Sprintf("read the tip of main, %s, which says whose online keys may sign: %v", e.Base, e.Err)
}

func (e *NoMainError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *NoMainError) Hint() string { return "fetch it, or name it with --base REV" }

// NotDelegatedError says that no role delegates to a role.
type NotDelegatedError struct {
	Role   string
	Commit git.OID
}

func (e *NotDelegatedError) Error() string {
	return fmt.Sprintf("no role delegates to %s at commit %.10s", e.Role, e.Commit)
}

// Hint says what to do.
func (e *NotDelegatedError) Hint() string {
	return "check the name, and check out the branch of the event if one makes the role"
}

// SignTargets signs the present metadata of targets roles with the online keys
// that their delegations list, as they stand at the head of the checked-out
// branch: main, or a signing event. One commit per role; none for a role that
// they have signed already. Versions, dates and the signatures of people stay as
// they are.
//
// It does not judge the content: that is what the signing event is for, where
// people start this. A role that nobody delegates to, that is not a targets
// role, or whose metadata cannot be read is refused before any key is used. So is
// a role without a key that main, at revision base, lists or allows: else whoever
// pushes an event would choose which service the machine calls.
//
// A key that fails where another one of the role signs is a warning.
func SignTargets(ctx context.Context, o Options, base string, roles []string) (TargetsResult, error) {
	var r TargetsResult
	err := onBranch(ctx, o, func(head git.OID) (_ git.OID, err error) {
		r, err = signTargets(ctx, o, base, head, roles)
		return r.Commit, err
	})
	if err != nil {
		return TargetsResult{}, err
	}
	return r, nil
}

// known says which online keys may be asked for: what main lists, by its people's
// signatures, and what its policy allows. A policy that cannot be read allows
// nothing.
func known(ctx context.Context, o Options, base string) (func(uri string) bool, error) {
	tip, err := o.Repository.Git.Resolve(ctx, base)
	if err != nil {
		return nil, &NoMainError{Base: base, Err: err}
	}
	main, err := o.Repository.At(ctx, tip)
	if err != nil {
		return nil, err
	}
	list, err := Candidates(ctx, main)
	if err != nil {
		return nil, err
	}
	policy, err := o.Repository.Policy(ctx, tip)
	if err != nil && !errors.As(err, new(*repository.PolicyError)) {
		return nil, err
	}
	return func(uri string) bool {
		return policy.AllowsOnlineKey(uri) || slices.ContainsFunc(list, func(c Candidate) bool { return c.URI == uri })
	}, nil
}

func signTargets(ctx context.Context, o Options, base string, head git.OID, roles []string) (TargetsResult, error) {
	r := TargetsResult{Commit: head}
	state, err := o.Repository.At(ctx, head)
	if err != nil {
		return r, err
	}
	type work struct {
		role string
		keys []*metadata.Key
	}
	var list []work
	for i, role := range roles {
		if slices.Contains(roles[:i], role) {
			continue
		}
		online, missing, err := onlineKeys(state, role)
		if err != nil {
			return r, err
		}
		if len(online) == 0 {
			return r, &NoOnlineKeyError{Role: role}
		}
		if len(missing) > 0 {
			list = append(list, work{role, missing})
		}
	}
	if len(list) == 0 {
		return r, nil
	}
	known, err := known(ctx, o, base)
	if err != nil {
		return r, err
	}
	for i, w := range list {
		var ours []*metadata.Key
		for _, key := range w.keys {
			if known(key.OnlineURI) {
				ours = append(ours, key)
				continue
			}
			r.Warnings = append(r.Warnings, (&StrangerError{Role: w.role, URI: key.OnlineURI}).Error())
		}
		if list[i].keys = ours; len(ours) == 0 {
			return r, &StrangerError{Role: w.role, URI: w.keys[0].OnlineURI}
		}
	}
	keys := o.keyring()
	for _, w := range list {
		edit, err := state.Edit(ctx, state, o.Now)
		if err != nil {
			return r, err
		}
		doc, err := state.Document(w.role)
		if err != nil {
			return r, err
		}
		s := SignedTargets{Role: w.role, Version: doc.Version()}
		var failed error
		for _, key := range w.keys {
			if o.DryRun {
				s.Keys = append(s.Keys, key.OnlineURI)
				continue
			}
			sig, err := keys.sign(ctx, key, doc.Payload())
			if err == nil {
				err = edit.AddSignature(w.role, key, sig)
			}
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				err = fmt.Errorf("sign role %s: %w", w.role, err)
				r.Warnings = append(r.Warnings, err.Error())
				failed = errors.Join(failed, err)
				continue
			}
			s.Keys = append(s.Keys, key.OnlineURI)
		}
		if len(s.Keys) == 0 {
			return r, failed
		}
		if !o.DryRun {
			if r.Commit, err = commit(ctx, o, r.Commit, edit, "Online sign targets role "+w.role); err != nil {
				return r, err
			}
			s.Commit = r.Commit
			if state, err = o.Repository.At(ctx, r.Commit); err != nil {
				return r, err
			}
		}
		r.Signed = append(r.Signed, s)
	}
	return r, nil
}

// onlineKeys are the online keys of a targets role, and those of them that have
// not signed its present metadata.
func onlineKeys(state *repository.State, role string) (all, missing []*metadata.Key, err error) {
	if role == metadata.Root || metadata.IsOnline(role) {
		return nil, nil, fmt.Errorf("%s is no targets role: snapshot and timestamp are signed by tufops online-sign, root by people", role)
	}
	delegations := state.Delegations(role)
	if len(delegations) == 0 {
		if _, err := state.Document(metadata.Root); err != nil {
			return nil, nil, err
		}
		return nil, nil, &NotDelegatedError{Role: role, Commit: state.Commit()}
	}
	doc, err := state.Document(role)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, d := range delegations {
		q := metadata.Check(d.Delegation, doc)
		for i, keys := range [][]*metadata.Key{q.Signed, q.Missing} {
			for _, key := range keys {
				if key.OnlineURI == "" || key.Owner != "" || seen[key.ID] {
					continue
				}
				seen[key.ID] = true
				all = append(all, key)
				if i == 1 {
					missing = append(missing, key)
				}
			}
		}
	}
	return all, missing, nil
}
