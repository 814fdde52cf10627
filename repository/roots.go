package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// servable is the part of the root chain that clients can be led along, up to the
// newest root for which there is a tree. held says of each root after it why it
// is held back: until that is cured all goes on as if it had not been merged, so
// that a root never costs clients the freshness of what they have.
//
// A root that clients do not read ends the chain, unless they have never read
// one: history is not judged by the rules of today. One that they read, and
// under which there is no tree yet, is passed over for its predecessor. Where
// there is no tree under any, nothing is held back for that: what lacks is said
// by those who look for it.
func (s *State) servable(ctx context.Context) (chain []RootFileVersion, held []Finding, err error) {
	chain, err = s.RootChain(ctx)
	if err != nil {
		return nil, nil, err
	}
	f := &findings{role: metadata.Root}
	readable := false
	for i, r := range chain {
		g := &findings{role: metadata.Root}
		unreadableRoot(g, s.repo.Path(r.File.Path), r.Document)
		if len(g.list) > 0 && readable {
			f.list, chain = g.list[:1], chain[:i]
			break
		}
		readable = readable || len(g.list) == 0
	}
	for i := len(chain) - 1; i >= 0; i-- {
		g := &findings{role: metadata.Root}
		if err := s.treeless(ctx, g, chain[i]); err != nil {
			return nil, nil, err
		}
		if len(g.list) == 0 {
			chain, held = chain[:i+1], append(held, f.list...)
			for i := range held {
				held[i].Gates = Gates(strings.ReplaceAll(string(held[i].Gates), "P", "")) // the root before it is published
				held[i].Message += fmt.Sprintf("; until that is cured, root version %d stays the newest that is published", chain[len(chain)-1].Document.Version())
			}
			return chain, held, nil
		}
		f.list = append(f.list, g.list[:1]...)
	}
	return chain, nil, nil
}

// unreadableRoot adds why clients cannot take a root, whoever has signed it.
func unreadableRoot(f *findings, file string, doc *metadata.Document) {
	refused(f, file, doc)
	unusableKeys(f, file, doc, metadata.Root)
}

// unusableKeys adds the keys for which go-tuf verifies nothing that a role of root
// signs, whoever else has signed.
func unusableKeys(f *findings, file string, doc *metadata.Document, role string) {
	const hint = "have a root signed in which every role lists only keys that can be used"
	d, _ := doc.Delegation(role)
	for _, id := range keyless(d) {
		f.add(keyMissing, file, hint, "root version %d: role %s lists keyid %s, which the keys of root lack", doc.Version(), role, id)
	}
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil && k.Unusable != nil {
			f.add(keyTypeNotAllowed, file, hint, "root version %d: role %s lists keyid %s, which can verify nothing: %v", doc.Version(), role, id, k.Unusable)
		}
	}
}

// treeless adds why nothing can be published under a root that clients take.
func (s *State) treeless(ctx context.Context, f *findings, r RootFileVersion) error {
	file, doc := s.repo.Path(r.File.Path), r.Document
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot, metadata.Targets} {
		unusableKeys(f, file, doc, role)
		if d, _ := doc.Delegation(role); d.Threshold < 1 || d.Threshold > int64(d.PublicKeys()) {
			f.add(thresholdInvalid, file, "have a root signed with a threshold that can be met", "root version %d: role %s has a threshold of %d and %d distinct public keys", doc.Version(), role, d.Threshold, d.PublicKeys())
		}
	}
	if !doc.ConsistentSnapshot() {
		f.add(consistentSnapshotOff, file, "have a root signed that sets consistent_snapshot to true",
			"root version %d does not set consistent_snapshot; the published files have names with versions and hashes", doc.Version())
	}
	if len(f.list) > 0 {
		return nil
	}
	d, _ := doc.Delegation(metadata.Targets)
	fits := func(doc *metadata.Document) bool {
		return doc.Type() == metadata.Targets && verified(d, doc) == nil
	}
	main, err := s.Document(metadata.Targets)
	if err == nil && fits(main) {
		return nil
	}
	listed, err := s.everListed(ctx)
	if err != nil {
		return err
	}
	_, ok, err := s.search(ctx, metadata.Targets, func(doc *metadata.Document, _ *State) error {
		if doc.Version() < listed || !fits(doc) {
			return errors.New("not it")
		}
		return nil
	})
	if err == nil && !ok {
		f.add(quorumRule, file, "have a version of targets signed in a signing event", "root version %d: no version of targets from %d on has the %d signatures that it asks for", doc.Version(), listed, d.Threshold)
	}
	return err
}

// everListed is the highest version of targets that a snapshot in history lists
// that keys of one of the roots have signed: clients may have seen it. 0 where
// there is none.
func (s *State) everListed(ctx context.Context) (most int64, err error) {
	chain, err := s.RootChain(ctx)
	if err != nil {
		return 0, err
	}
	_, _, err = s.search(ctx, metadata.Snapshot, func(doc *metadata.Document, _ *State) error {
		version := doc.Meta()[metaName(metadata.Targets)].Version
		for _, r := range chain {
			if d, _ := r.Document.Delegation(metadata.Snapshot); version > most && doc.Type() == metadata.Snapshot && verified(d, doc) == nil {
				most = version
			}
		}
		return errors.New("older ones may list a higher version")
	})
	return most, err
}
