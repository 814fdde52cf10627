package signer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// PublishedRoots reads the roots that clients get.
type PublishedRoots interface {
	// Root returns the file of one version, found false where there is none.
	Root(ctx context.Context, version int64) (data []byte, found bool, err error)
	// String names the place.
	String() string
}

// RootError says that the root of main's tip is not one that follows what this
// machine knows.
type RootError struct {
	Remote string
	Reason string // with both values
}

func (e *RootError) Error() string {
	return fmt.Sprintf("the root on %s of remote %s cannot be trusted: %s", Main, e.Remote, e.Reason)
}

// Hint says what to do.
func (e *RootError) Hint() string {
	return "sign nothing; ask the other key holders what root they see, and who has pushed to " + Main
}

// mainRoot is what was found out about the root of main's tip.
type mainRoot struct {
	remote string
	chain  []repository.RootFileVersion // none: a new repository
	notes  []string                     // what the person is to be told
}

// at is the root of a version on the chain; nil where it does not reach.
func (r *mainRoot) at(version int64) *metadata.Document {
	for _, one := range r.chain {
		if one.Document.Version() == version {
			return one.Document
		}
	}
	return nil
}

func (r *mainRoot) refuse(format string, args ...any) error {
	return &RootError{Remote: r.remote, Reason: fmt.Sprintf(format, args...)}
}

// mainRoot compares the root of main's tip with the newest root that this machine
// has seen and with the one that clients get, before anything is shown, asked or
// done. Then it remembers it.
func (s *session) mainRoot(ctx context.Context, main git.OID, m *memory) (*mainRoot, error) {
	r := &mainRoot{remote: s.Config.PullRemote}
	seen := func() string {
		return fmt.Sprintf("this machine saw version %d, sha256 %s, on %s", m.Root.Version, m.Root.SHA256, date(m.Root.Seen))
	}
	tip, err := s.Repository.At(ctx, main)
	if err != nil {
		return nil, err
	}
	_, err = tip.Document(metadata.Root)
	if errors.As(err, new(*repository.MissingError)) {
		if m.Root != nil {
			return nil, r.refuse("there is none, but %s", seen())
		}
		return r, nil
	}
	if err != nil {
		return nil, r.refuse("%v", err)
	}
	if r.chain, err = tip.RootChain(ctx); err != nil {
		return nil, r.refuse("%v", err)
	}
	newest := r.chain[len(r.chain)-1].Document
	if m.Root != nil {
		switch same := r.at(m.Root.Version); {
		case newest.Version() < m.Root.Version:
			return nil, r.refuse("it is version %d, older than what was seen: %s", newest.Version(), seen())
		case same == nil:
			return nil, r.refuse("its chain begins at version %d and does not lead from what was seen: %s", r.chain[0].Document.Version(), seen())
		case digest(same.Payload()) != m.Root.SHA256:
			return nil, r.refuse("its version %d is another one, sha256 %s: %s", m.Root.Version, digest(same.Payload()), seen())
		}
	}
	live, err := s.liveRoot(ctx, r)
	if err != nil {
		return nil, err
	}
	r.notes = append(r.notes, live.notes...)
	switch {
	case s.Memory == "":
	case m.Root != nil && m.Root.Version < newest.Version():
		r.notes = append(r.notes, fmt.Sprintf("root v%d of %s follows v%d, which this machine saw on %s", newest.Version(), Main, m.Root.Version, date(m.Root.Seen)))
	case m.Root != nil:
		r.notes = append(r.notes, fmt.Sprintf("root v%d of %s is the one that this machine saw on %s", newest.Version(), Main, date(m.Root.Seen)))
	default:
		if by := m.signedRoot(r.at); by != nil && by.Version == newest.Version() {
			r.notes = append(r.notes, fmt.Sprintf("root v%d of %s is the one that you signed on %s", newest.Version(), Main, date(by.Time)))
		} else if by != nil {
			r.notes = append(r.notes, fmt.Sprintf("root v%d of %s follows v%d, which you signed on %s", newest.Version(), Main, by.Version, date(by.Time)))
		} else if !live.same {
			r.notes = append(r.notes, fmt.Sprintf("warning: this machine has never seen a root of this repository, and takes v%d of %s, sha256 %s, as it is; "+
				"compare that with another key holder, or pin what you know with tufops-sign setup --root-sha256", newest.Version(), Main, digest(newest.Payload())))
		}
	}
	if m.Root != nil && m.Root.Version == newest.Version() {
		return r, nil
	}
	return r, s.remember(ctx, func(m *memory) {
		if m.Root == nil || m.Root.Version < newest.Version() {
			m.Root = &seenRoot{Version: newest.Version(), SHA256: digest(newest.Payload()), Seen: s.Now.UTC()}
		}
	})
}

// holds makes sure that the known-good root of an event lies on the chain of
// main.
func (r *mainRoot) holds(e *repository.Event) error {
	if len(r.chain) == 0 {
		return nil
	}
	known, err := e.KnownGood.Document(metadata.Root)
	if err != nil {
		return r.refuse("event %s began at commit %.12s, before there was one: %v", e.Name, e.MergeBase, err)
	}
	if same := r.at(known.Version()); same == nil || digest(same.Payload()) != digest(known.Payload()) {
		return r.refuse("the known-good root of event %s, version %d, sha256 %s, does not lie on its chain of versions %d to %d",
			e.Name, known.Version(), digest(known.Payload()), r.chain[0].Document.Version(), r.chain[len(r.chain)-1].Document.Version())
	}
	return nil
}

// signedRoot is the newest root on a chain that the person has signed; nil for
// none.
func (m *memory) signedRoot(at func(int64) *metadata.Document) (found *signed) {
	for i, one := range m.Signed {
		if doc := at(one.Version); one.Role == metadata.Root && doc != nil && digest(doc.Payload()) == one.SHA256 &&
			(found == nil || found.Version < one.Version) {
			found = &m.Signed[i]
		}
	}
	return found
}

type live struct {
	same  bool // main's chain holds the newest root that clients get
	notes []string
}

// maxLiveLag bounds how many roots may be merged and not published.
const maxLiveLag = 8

// liveRoot compares the chain of main with what clients get. That nothing can be
// read there is told and refuses nothing: people sign when a service is down,
// too.
func (s *session) liveRoot(ctx context.Context, r *mainRoot) (live, error) {
	if s.Live == nil {
		return live{}, nil
	}
	unread := func(err error) (live, error) {
		if ctx.Err() != nil {
			return live{}, ctx.Err()
		}
		return live{notes: []string{fmt.Sprintf("warning: the published root at %s was not compared: %v", s.Live, err)}}, nil
	}
	newest := r.chain[len(r.chain)-1].Document
	// Newer than main: main was rolled back, unless somebody without keys put it
	// there.
	data, found, err := s.Live.Root(ctx, newest.Version()+1)
	if err != nil {
		return unread(err)
	}
	var notes []string
	if found {
		d, _ := newest.Delegation(metadata.Root)
		doc, err := metadata.Parse(data)
		if err == nil && doc.Version() == newest.Version()+1 && metadata.Check(d, doc).Met() {
			return live{}, r.refuse("it is version %d, older than what clients get: %s has version %d, sha256 %s",
				newest.Version(), s.Live, doc.Version(), digest(doc.Payload()))
		}
		notes = append(notes, fmt.Sprintf("warning: %s has a root v%d that v%d does not vouch for; tell whoever publishes there", s.Live, newest.Version()+1, newest.Version()))
	}
	for i := len(r.chain) - 1; i >= 0 && i >= len(r.chain)-maxLiveLag; i-- {
		ours := r.chain[i].Document
		data, found, err := s.Live.Root(ctx, ours.Version())
		if err != nil {
			return unread(err)
		}
		if !found {
			continue
		}
		doc, err := metadata.Parse(data)
		if err != nil {
			return live{}, r.refuse("version %d at %s cannot be read: %v", ours.Version(), s.Live, err)
		}
		if digest(doc.Payload()) != digest(ours.Payload()) {
			return live{}, r.refuse("its version %d has sha256 %s, and clients get another one from %s, sha256 %s",
				ours.Version(), digest(ours.Payload()), s.Live, digest(doc.Payload()))
		}
		return live{same: true, notes: append(notes, fmt.Sprintf("root v%d of %s is the one at %s", ours.Version(), Main, s.Live))}, nil
	}
	return live{notes: append(notes, fmt.Sprintf("warning: %s has none of the newest roots of %s, so they were not compared", s.Live, Main))}, nil
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02") }
