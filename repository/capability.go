package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// The three types below make unsafe calls unwritable: what signs or publishes
// takes one of them, only the checks of this package make them, and each opens
// only for the very commit it was made from.

// ErrUnchecked is what a zero value of [Reviewed], [Signable] or [Publishable]
// answers: nothing has been checked.
var ErrUnchecked = errors.New("this commit has not been checked")

// OtherCommitError says that what was checked is not what is to be used.
type OtherCommitError struct{ Checked, Wanted git.OID }

func (e *OtherCommitError) Error() string {
	return fmt.Sprintf("commit %.12s was checked, but %.12s is to be used", e.Checked, e.Wanted)
}

// Hint says what to do.
func (e *OtherCommitError) Hint() string {
	return "run the command again: it starts over from the newer commit"
}

// GatedError says that findings stand in the way.
type GatedError struct {
	Commit   git.OID
	Doing    string // what they are in the way of, such as "sign event sign/x"
	Findings []Finding
}

func (e *GatedError) Error() string {
	first := e.Findings[0]
	text := fmt.Sprintf("%s [%s]", first.Message, first.Rule)
	if first.File != "" {
		text = first.File + ": " + text
	}
	if more := len(e.Findings) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return e.Doing + ": " + text
}

// Hint says what to do about the first finding.
func (e *GatedError) Hint() string { return e.Findings[0].Hint }

func opened[T any](v *T, made, want git.OID) (*T, error) {
	switch {
	case v == nil:
		return nil, ErrUnchecked
	case made != want:
		return nil, &OtherCommitError{Checked: made, Wanted: want}
	}
	return v, nil
}

// Publishable is a commit whose published tree no client fails on now. Its zero
// value opens for no commit.
type Publishable struct{ p *Published }

// Publishable checks that no finding gates P.
func (p *Published) Publishable() (Publishable, error) {
	if p == nil || len(p.roots) == 0 {
		return Publishable{}, ErrUnchecked
	}
	var gating []Finding
	for _, f := range p.findings.list {
		if f.Level != LevelWarning && f.Gates.Publish() {
			gating = append(gating, f)
		}
	}
	if len(gating) > 0 {
		return Publishable{}, &GatedError{Commit: p.commit, Doing: fmt.Sprintf("publish commit %.10s", p.commit), Findings: gating}
	}
	return Publishable{p}, nil
}

// For opens the published tree of the commit that the caller is about to
// publish. It fails with [ErrUnchecked] or *[OtherCommitError].
func (p Publishable) For(commit git.OID) (*Published, error) {
	if p.p == nil {
		return nil, ErrUnchecked
	}
	return opened(p.p, p.p.commit, commit)
}

// Reviewed is a signing event that a person may be asked to sign: its
// known-good state is verified and no finding of level error stands. Its zero
// value opens for no commit.
type Reviewed struct{ r *Review }

// Review is an opened [Reviewed].
type Review struct {
	Event  *Event
	Status *Status
}

// Reviewed judges the event and makes sure that the root chain of its known-good
// state holds. A role of that state that was merged without its quorum does not
// keep anybody from signing the version that heals it: its changes are shown
// against the newest version that was signed ([Event.Baseline]).
func (e *Event) Reviewed(ctx context.Context, now time.Time, policy Policy) (Reviewed, error) {
	if e.KnownGood.hasRoot() {
		if _, err := e.KnownGood.RootChain(ctx); err != nil {
			return Reviewed{}, fmt.Errorf("the known-good state of event %s cannot be trusted: %w", e.Name, err)
		}
	}
	s, err := e.Status(ctx, now, policy)
	if err != nil {
		return Reviewed{}, err
	}
	var errs []Finding
	for _, f := range s.AllFindings() {
		if f.Level == LevelError && f.Gates.Event() {
			errs = append(errs, f)
		}
	}
	if len(errs) > 0 {
		return Reviewed{}, &GatedError{Commit: e.Head, Doing: "sign event " + e.Name, Findings: errs}
	}
	return Reviewed{&Review{Event: e, Status: s}}, nil
}

// For opens the review of the head that the caller is about to sign on. It
// fails with [ErrUnchecked] or *[OtherCommitError].
func (r Reviewed) For(head git.OID) (*Review, error) {
	if r.r == nil {
		return nil, ErrUnchecked
	}
	return opened(r.r, r.r.Event.Head, head)
}

// Signable is a commit of main whose root chain holds: a machine may sign
// freshness for it. Its zero value opens for no commit.
type Signable struct{ o *Online }

// Online is an opened [Signable]: what online-sign works on.
type Online struct {
	State *State
	// Root is the newest that is published, verified by the chain. A newer one
	// on main is held back while it is in Blocked.
	Root *metadata.Document
	// Previous is the root before Root; nil where Root is the first.
	Previous *metadata.Document
	// Blocked are the findings that keep a new snapshot from being made; the
	// timestamp is renewed all the same, over the snapshot there is.
	Blocked []Finding
	// Roles are the targets roles that a new snapshot lists, with their versions.
	Roles map[string]int64
}

// Signable checks what online signing relies on: the root chain, and for a new
// snapshot every offline role. An offline role that does not verify does not
// stop the timestamp: it would stop every client in the world.
func (r *Repository) Signable(ctx context.Context, commit git.OID) (Signable, error) {
	s, err := r.At(ctx, commit)
	if err != nil {
		return Signable{}, err
	}
	chain, held, err := s.servable(ctx)
	if err != nil {
		return Signable{}, fmt.Errorf("sign online at commit %.10s: %w", commit, err)
	}
	o := &Online{State: s, Root: chain[len(chain)-1].Document, Roles: map[string]int64{}}
	if len(chain) > 1 {
		o.Previous = chain[len(chain)-2].Document
	}
	f := &findings{list: held}
	old, _ := s.Document(metadata.Snapshot)
	names := map[string]string{} // of the roles that a new snapshot would list, by their lower case
	if old != nil {
		for name := range old.Meta() {
			names[strings.ToLower(name)] = name
		}
	}

	for _, role := range s.TargetsRoles() {
		f.role = role
		file := r.Path(MetadataFile(role))
		fix := "have a version signed in a signing event; until then the timestamp is renewed over the old snapshot"
		doc, err := s.Document(role)
		if err != nil {
			rule := metadataInvalid
			var missing *MissingError
			if errors.As(err, &missing) {
				rule = metadataRemoved
			} else if invalid := (*InvalidError)(nil); errors.As(err, &invalid) {
				err = invalid.Err
			}
			f.add(rule, file, fix, "%v", err)
			continue
		}
		// What publish would refuse must not get into a snapshot: it would stop
		// the timestamp as well.
		refused(f, file, doc)
		if why := UnsafeRoleName(role); why != "" && role != metadata.Targets {
			f.add(roleNameUnsafe, file, fix, "the name of role %q %s", role, why)
		}
		name := metaName(role)
		if other, ok := names[strings.ToLower(name)]; ok && other != name {
			f.add(roleNameUnsafe, file, fix, "a snapshot would list %q and %q, which differ only in case", other, name)
		}
		names[strings.ToLower(name)] = name
		for _, d := range s.Delegations(role) {
			if q := metadata.Check(d.Delegation, doc); !q.Met() {
				f.add(quorumRule, file, fix, "%s version %d has %d of %d signatures (missing: %s)", role, doc.Version(), q.Count, q.Threshold, strings.Join(holders(q.Missing), ", "))
			}
		}
		var listed int64
		if old != nil {
			listed = old.Meta()[role+".json"].Version
		}
		switch {
		case doc.Version() < listed:
			f.add(versionNotIncreased, file, fix, "%s has version %d, but the snapshot lists %d already", role, doc.Version(), listed)
		case doc.Version() > listed:
			g := &findings{role: role}
			if _, err := r.publishedArtifacts(ctx, g, PublishedRole{Role: role, Document: doc, Commit: commit, state: s}); err != nil {
				return Signable{}, err
			}
			f.list = append(f.list, slices.DeleteFunc(g.list, func(one Finding) bool { return !one.Gates.Publish() })...)
			// What is published with one of these stays: it fails only who asks for
			// what that role signs.
			if doc.Delegations() != nil {
				for _, d := range doc.Delegations().Roles {
					for _, id := range keyless(d) {
						f.add(keyMissing, file, fix, "role %s lists keyid %s, which the keys of %s lack", d.Role, id, role)
					}
				}
			}
		}
		o.Roles[role] = doc.Version()
	}
	o.Blocked = f.list
	return Signable{o}, nil
}

// For opens the state that the caller is about to sign online. It fails with
// [ErrUnchecked] or *[OtherCommitError].
func (s Signable) For(commit git.OID) (*Online, error) {
	if s.o == nil {
		return nil, ErrUnchecked
	}
	return opened(s.o, s.o.State.commit, commit)
}
