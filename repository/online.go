package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// Bot is who the bot's commits are by where git has no identity of its own:
// GitHub's address for its Actions bot.
var Bot = &git.Identity{Name: "tufops", Email: "41898282+github-actions[bot]@users.noreply.github.com"}

// Reason says why a new version of an online role is made.
type Reason string

// The reasons, the first that holds is named.
const (
	ReasonNew       Reason = "new"       // there is none yet
	ReasonSignature Reason = "signature" // it is not validly signed by the keys of the newest root
	ReasonContent   Reason = "content"   // what it lists has changed
	ReasonPeriod    Reason = "period"    // its signing period has begun
	ReasonRestored  Reason = "restored"  // main's file was removed, put back or never signed: the last good version goes on
)

// Renewal is a new version of an online role: made, and not signed yet.
type Renewal struct {
	Role     string
	Version  int64
	Previous int64 // the version it goes on from; 0 for the first
	Why      Reason
	// From is where Previous was found, if not at the commit itself.
	From git.OID
	// Delegation is the newest root's: its keys sign.
	Delegation metadata.Delegation
	// Outgoing is the delegation of the older root that Previous was signed
	// under, if the newest root's keys have not signed a version yet. Clients
	// that have not seen the newest root need a signature of its keys as well.
	Outgoing *metadata.Delegation
}

// Renewals are what online signing has to do at one commit.
type Renewals struct {
	// Edit holds the new versions, with placeholders.
	Edit *Edit
	// List is in the order snapshot, timestamp; empty where nothing is due.
	List []Renewal
	// Blocked are the findings that keep the content of the snapshot as it is.
	Blocked []Finding
}

// Renew works out which of snapshot and timestamp need a new version at a
// moment, and makes them, as docs/format.md has it under "Online roles". A new
// version goes on from what main holds.
//
// A file on main that no root's keys have signed does not count, whoever pushed
// it: the new version then goes on from the newest in history that was signed.
// Otherwise a writer could have a machine sign any version and any entry. (Where
// there never was a signed one, nothing is published yet, and main's is taken.)
//
// While o has findings in Blocked, the snapshot's content stays as it is: a new
// version is made only if clients would fail without (its signing period has
// begun, or the keys have changed), and lists what the old one lists.
func (o *Online) Renew(ctx context.Context, now time.Time) (*Renewals, error) {
	// Not State.Edit: what it reads beyond the roles is a matter of signing
	// events, and a fault there must not stop the timestamp.
	r := &Renewals{
		Edit: &Edit{
			base: o.State, known: o.State, now: now, docs: map[string]*metadata.Document{},
			edited: map[string]bool{}, files: map[string][]byte{},
		},
		Blocked: o.Blocked[:len(o.Blocked):len(o.Blocked)],
	}
	timestamp, err := o.latest(ctx, metadata.Timestamp, 0)
	if err != nil {
		return nil, err
	}
	var listed int64 // of the snapshot, as a client knows it
	if timestamp.root != nil {
		listed = timestamp.doc.Meta()[metaName(metadata.Snapshot)].Version
	}
	snapshot, err := o.latest(ctx, metadata.Snapshot, listed)
	if err != nil {
		return nil, err
	}
	if err := o.renewSnapshot(r, snapshot, listed); err != nil {
		return nil, err
	}
	return r, o.renewTimestamp(r, timestamp, snapshot)
}

func metaName(role string) string { return role + ".json" }

// origin is the version of an online role that the next one goes on from.
type origin struct {
	doc    *metadata.Document // nil where there has never been one
	root   *metadata.Document // the newest root whose keys have signed it; nil where none has
	commit git.OID            // where it stands; empty for the commit that is worked on
}

// current reports whether main holds it, signed by the newest root's keys.
func (s origin) current(o *Online) bool { return s.root == o.Root && s.root != nil && s.commit == "" }

// maxPutBack is how many of the last versions of timestamp are looked at for
// one that is newer than main's.
const maxPutBack = 50

// latest is the version to go on from: main's own if it was ever validly
// signed, else the newest in the file's history that was. A version below
// atLeast, which the timestamp lists, will not do: it has been put back.
//
// Nothing lists the timestamp. One that has been put back shows by a higher
// version in history that the keys of the newest root have signed. (Versions of
// older keys do not bind: a rotation ends a stolen key's.)
func (o *Online) latest(ctx context.Context, role string, atLeast int64) (origin, error) {
	var main origin
	doc, err := o.State.Document(role)
	switch {
	case err == nil:
		if main, err = o.signedBy(ctx, role, doc); err != nil {
			return main, err
		}
		if main.root != nil && doc.Version() >= atLeast && role != metadata.Timestamp {
			return main, nil
		}
	case !errors.As(err, new(*MissingError)) && !errors.As(err, new(*InvalidError)):
		return main, err
	}
	unreadable := err
	repo := o.State.repo
	file := repo.Path(MetadataFile(role))
	var best origin
	most := maxSearch
	if main.root != nil && doc.Version() >= atLeast {
		best, most = main, maxPutBack
	}
	commits, err := repo.Git.History(ctx, o.State.commit, "", git.HistoryOptions{Paths: []string{file}, FullHistory: true, Max: most})
	if err != nil {
		return main, err
	}
	seen := map[git.OID]bool{}
	for i, commit := range commits {
		if best.root != nil && i >= maxPutBack {
			break
		}
		entry, ok, err := repo.Git.Lookup(ctx, commit, file)
		if err != nil {
			return main, err
		}
		if !ok || seen[entry.OID] {
			continue
		}
		seen[entry.OID] = true
		doc, err := repo.read(ctx, File{Path: MetadataFile(role), Mode: entry.Mode, OID: entry.OID})
		if ctx.Err() != nil {
			return main, ctx.Err()
		}
		if err != nil || doc.Type() != role || doc.Version() < atLeast || best.root != nil && doc.Version() <= best.doc.Version() {
			continue
		}
		found, err := o.signedBy(ctx, role, doc)
		if err != nil {
			return main, err
		}
		if found.root == o.Root || found.root != nil && best.root == nil {
			best = found
			best.commit = commit
		}
	}
	if best.root != nil {
		return best, nil
	}
	if errors.As(unreadable, new(*InvalidError)) {
		return main, unreadable
	}
	return main, nil
}

// signedBy says which is the newest root whose keys have signed a document; none
// for one that clients do not read.
func (o *Online) signedBy(ctx context.Context, role string, doc *metadata.Document) (origin, error) {
	s := origin{doc: doc}
	if d, _ := o.Root.Delegation(role); verified(d, doc) == nil {
		s.root = o.Root
		return s, nil
	}
	chain, err := o.State.RootChain(ctx)
	if err != nil {
		return s, err
	}
	for i := len(chain) - 1; i >= 0; i-- {
		if d, _ := chain[i].Document.Delegation(role); verified(d, doc) == nil {
			s.root = chain[i].Document
			break
		}
	}
	return s, nil
}

// renewSnapshot makes a new snapshot if one is due.
func (o *Online) renewSnapshot(r *Renewals, from origin, listed int64) error {
	f := &findings{role: metadata.Snapshot}
	defer func() { r.Blocked = append(r.Blocked, f.list...) }()
	file := o.State.repo.Path(MetadataFile(metadata.Snapshot))
	if from.doc != nil && from.doc.Version() < listed {
		f.add(versionNotIncreased, file, "restore the version that the timestamp lists: git log -- "+escape.Argument(file),
			"snapshot has version %d, but the timestamp lists %d already", from.doc.Version(), listed)
		return nil
	}
	var meta map[string]metadata.MetaFile
	if from.doc != nil {
		meta = from.doc.Meta()
	}
	grown := map[string]int64{}
	for role, version := range o.Roles {
		old, ok := meta[metaName(role)]
		switch {
		case !ok || version > old.Version:
			grown[role] = version
			if doc, err := o.State.Document(role); role == metadata.Targets && err == nil && doc.Expired(r.Edit.now) {
				f.role = role
				f.add(expired, o.State.repo.Path(MetadataFile(role)), "have a new version signed in a signing event",
					"%s version %d expired on %s", role, version, doc.Expires().Format(metadata.TimeFormat))
			}
		case version < old.Version && len(o.Blocked) == 0: // else o says so already, of main's snapshot
			f.role = role
			f.add(versionNotIncreased, o.State.repo.Path(MetadataFile(role)), "have a higher version signed in a signing event",
				"%s has version %d, but the snapshot lists %d already", role, version, old.Version)
		}
	}
	if len(r.Blocked)+len(f.list) > 0 {
		if from.root == nil {
			return nil // there is none whose content somebody stands for
		}
		grown = nil
	}
	why := o.due(from, metadata.Snapshot, r.Edit.now, len(grown) > 0)
	if why == "" {
		return nil
	}
	return o.renew(r, metadata.Snapshot, from, why, func(entries metadata.Object) {
		for role, version := range grown {
			entries[metaName(role)] = metadata.Object{"version": version}
		}
	})
}

// renewTimestamp makes a new timestamp if one is due.
func (o *Online) renewTimestamp(r *Renewals, from, snapshot origin) error {
	var version int64 // of the snapshot; 0 keeps what is listed
	switch {
	case len(r.List) > 0:
		version = r.List[0].Version
	case snapshot.current(o):
		version = snapshot.doc.Version()
	}
	var listed int64
	if from.root != nil {
		listed = from.doc.Meta()[metaName(metadata.Snapshot)].Version
	}
	if version == 0 && listed == 0 {
		return nil // nothing that a timestamp could list: Blocked says why
	}
	why := o.due(from, metadata.Timestamp, r.Edit.now, version > listed)
	if why == "" {
		return nil
	}
	return o.renew(r, metadata.Timestamp, from, why, func(entries metadata.Object) {
		if version > listed {
			entries[metaName(metadata.Snapshot)] = metadata.Object{"version": version}
		}
	})
}

// due says why a new version of an online role is to be made; "" where none is.
func (o *Online) due(from origin, role string, now time.Time, changed bool) Reason {
	d, _ := o.Root.Delegation(role)
	switch {
	case from.doc == nil:
		return ReasonNew
	case from.commit != "":
		return ReasonRestored
	case !from.current(o):
		return ReasonSignature
	case changed:
		return ReasonContent
	case Due(from.doc, metadata.PeriodOf(d.Object), now):
		return ReasonPeriod
	}
	return ""
}

// renew makes the next version of an online role: everything stays as it was but
// version, expiry date and the entries that change.
func (o *Online) renew(r *Renewals, role string, from origin, why Reason, change func(entries metadata.Object)) error {
	d, _ := o.Root.Delegation(role)
	renewal := Renewal{Role: role, Version: 1, Why: why, From: from.commit, Delegation: d}
	period := metadata.PeriodOf(d.Object).Expiry
	if period < 1 {
		return fmt.Errorf("renew role %s: root version %d gives it no expiry period (%s); set one with tufops-sign delegate EVENT %s --%s-expiry-days N",
			role, o.Root.Version(), metadata.FieldExpiryPeriod, role, role)
	}
	if from.doc != nil {
		renewal.Previous = from.doc.Version()
		renewal.Version = renewal.Previous + 1
		r.Edit.docs[role] = from.doc
	}
	if from.root != nil && from.root != o.Root {
		outgoing, _ := from.root.Delegation(role)
		renewal.Outgoing = &outgoing
	}
	_, tree, err := r.Edit.signedPart(role)
	if err != nil {
		return err
	}
	entries := tree["meta"].(metadata.Object)
	change(entries)
	if err := r.Edit.setSigned(role, tree, renewal.Version, period, d.KeyIDs); err != nil {
		return err
	}
	r.List = append(r.List, renewal)
	return nil
}
