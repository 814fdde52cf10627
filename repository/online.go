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
	ReasonLive      Reason = "live"      // clients have a version that main does not know
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
	// Notes are what was made of each [Live] that is not as main has it, in a
	// sentence.
	Notes []string
}

// Live is a timestamp that clients are served.
type Live struct {
	Where string
	Data  []byte // as it arrived
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
//
// Clients do not go back. Where one of live is newer than main's timestamp, or of
// the same version with other content, somebody has signed elsewhere: new versions
// of both roles are then made, above what it states. It counts if the keys of the
// newest root have signed it, or those of the root that main's is signed by, and if
// it is not so far ahead that only a thief of the key can have made it. What does
// not count is told of in Notes and changes nothing.
func (o *Online) Renew(ctx context.Context, now time.Time, live ...Live) (*Renewals, error) {
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
	seen, err := o.ahead(ctx, r, timestamp, live)
	if err != nil {
		return nil, err
	}
	if err := o.renewSnapshot(r, snapshot, listed, seen); err != nil {
		return nil, err
	}
	return r, o.renewTimestamp(r, timestamp, snapshot, seen)
}

// floor is what clients have seen of both roles and main does not know; zero where
// main knows all.
type floor struct{ timestamp, snapshot int64 }

// ahead looks which of live is newer than main's timestamp, or differs from it.
func (o *Online) ahead(ctx context.Context, r *Renewals, main origin, live []Live) (floor, error) {
	var seen floor
	var version, snapshot int64 // of main's, and what it lists; 0 where it does not count
	root := o.Root
	if main.root != nil {
		version, root = main.doc.Version(), main.root
		snapshot = main.doc.Meta()[metaName(metadata.Snapshot)].Version
	}
	for _, l := range live {
		note := func(format string, args ...any) {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: ", l.Where)+fmt.Sprintf(format, args...))
		}
		doc, err := metadata.Parse(l.Data)
		if err == nil && doc.Type() != metadata.Timestamp {
			err = fmt.Errorf("it is of type %q", doc.Type())
		}
		if err != nil {
			note("what is served as the timestamp cannot be read, and is passed over: %v", err)
			continue
		}
		found, err := o.signedBy(ctx, metadata.Timestamp, doc)
		if err != nil {
			return seen, err
		}
		switch {
		case found.root == nil || found.root.Version() < root.Version():
			note("timestamp version %d, which is served, is not signed by the online keys of root version %d, and is passed over", doc.Version(), root.Version())
		case doc.Version()-version > maxVersionGrowth || doc.Meta()[metaName(metadata.Snapshot)].Version-snapshot > maxVersionGrowth:
			note("timestamp version %d over snapshot %d, which is served, is more than %d above version %d over %d of main, and is not followed: whoever signed it has the online key, so replace that (docs/maintainer-manual.md)",
				doc.Version(), doc.Meta()[metaName(metadata.Snapshot)].Version, maxVersionGrowth, version, snapshot)
		case doc.Version() < version, doc.Version() == version && string(doc.Payload()) == string(main.doc.Payload()):
		default:
			how := "and main does not have"
			if doc.Version() == version {
				how = "differs from main's"
			}
			note("clients have timestamp version %d, which %s: the next version goes on from it", doc.Version(), how)
			seen.timestamp = max(seen.timestamp, doc.Version())
			seen.snapshot = max(seen.snapshot, doc.Meta()[metaName(metadata.Snapshot)].Version)
		}
	}
	return seen, nil
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
func (o *Online) renewSnapshot(r *Renewals, from origin, listed int64, seen floor) error {
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
	if size, limit := snapshotSize(from.doc, grown), sizeLimits[metadata.Snapshot]-signatureRoom; len(grown) > 0 && size > limit {
		f.role = metadata.Snapshot
		f.add(metadataTooLarge, file, "have roles taken out of the delegations, and keep artifacts of several in one",
			"with the new versions of the roles, snapshot would have %d bytes without its signatures; common clients read at most %d, of which %d are kept for those",
			size, sizeLimits[metadata.Snapshot], signatureRoom)
	}
	if len(r.Blocked)+len(f.list) > 0 {
		if from.root == nil {
			return nil // there is none whose content somebody stands for
		}
		grown = nil
	}
	// A timestamp that main does not know may list a snapshot that it does not know
	// either, under the very number that the next one here would get.
	why := o.due(from, metadata.Snapshot, r.Edit.now, len(grown) > 0, seen.snapshot)
	if why == "" {
		return nil
	}
	return o.renew(r, metadata.Snapshot, from, why, seen.snapshot, func(entries metadata.Object) {
		for role, version := range grown {
			entries[metaName(role)] = metadata.Object{"version": version}
		}
	})
}

// signatureRoom is what a snapshot leaves for its signatures, in bytes: more than
// those of the same keys may take in a timestamp.
const signatureRoom = 16_384

// snapshotSize is how many bytes a snapshot has without signatures, once it lists
// new versions of roles.
func snapshotSize(old *metadata.Document, grown map[string]int64) int {
	signed := metadata.Object{"meta": metadata.Object{}}
	if old != nil {
		signed = metadata.Clone(old.Signed())
	}
	entries, _ := signed["meta"].(metadata.Object)
	for role, version := range grown {
		entries[metaName(role)] = metadata.Object{"version": version}
	}
	return len(metadata.Write(metadata.Object{"signatures": []any{}, "signed": signed}))
}

// renewTimestamp makes a new timestamp if one is due.
func (o *Online) renewTimestamp(r *Renewals, from, snapshot origin, seen floor) error {
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
	why := o.due(from, metadata.Timestamp, r.Edit.now, version > listed, seen.timestamp)
	if why == "" {
		return nil
	}
	return o.renew(r, metadata.Timestamp, from, why, seen.timestamp, func(entries metadata.Object) {
		if version > listed {
			entries[metaName(metadata.Snapshot)] = metadata.Object{"version": version}
		}
	})
}

// due says why a new version of an online role is to be made; "" where none is.
func (o *Online) due(from origin, role string, now time.Time, changed bool, seen int64) Reason {
	d, _ := o.Root.Delegation(role)
	switch {
	case from.doc == nil:
		return ReasonNew
	case from.commit != "":
		return ReasonRestored
	case !from.current(o):
		return ReasonSignature
	case seen > 0:
		return ReasonLive
	case changed:
		return ReasonContent
	case Due(from.doc, metadata.PeriodOf(d.Object), now):
		return ReasonPeriod
	}
	return ""
}

// renew makes the next version of an online role, above seen: everything stays as
// it was but version, expiry date and the entries that change.
func (o *Online) renew(r *Renewals, role string, from origin, why Reason, seen int64, change func(entries metadata.Object)) error {
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
	renewal.Version = max(renewal.Version, seen+1)
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
