package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// update is one run of the client workflow: what it has verified so far.
type update struct {
	*Client
	start  time.Time
	result Result

	root, timestamp, snapshot, targets *metadata.Document

	// roles are the delegated roles that were verified, each for the document
	// that delegates to it: a role that one delegator's keys have signed says
	// nothing to another delegator with other keys.
	roles   map[edge]*metadata.Document
	fetched map[string]served // by role: fetched in this update, so not fetched twice

	memo    metadata.Memo // of keys, which most roots share
	proving map[edge]*metadata.Document
}

// served is a document and where it comes from.
type served struct {
	doc    *metadata.Document
	source string
}

type edge struct {
	delegator *metadata.Document
	role      string
}

// updateRoot walks from the trust anchor to the newest root.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-root.
func (u *update) updateRoot(ctx context.Context) error {
	before := u.newest
	source, err := u.walkRoots(ctx)
	// root.json is for people and other programs: the history is what the next
	// start reads. So it is written once, as far as the walk came.
	known := u.root == before && u.cache.exists("root.json") // written by the update that came here first
	if !known && (err == nil || u.root != u.anchor) {
		if serr := u.cache.keep("root.json", u.root.Raw()); err == nil {
			err = serr
		}
	}
	if err != nil {
		return err
	}
	// Step 10: expiry counts for the newest root only.
	return u.unexpired(metadata.Root, source, u.root)
}

// walkRoots goes from the anchor to the newest root, u.root, and returns where
// that one comes from.
func (u *update) walkRoots(ctx context.Context) (source string, err error) {
	step := func(doc *metadata.Document, from string, cached bool) {
		u.root, source = doc, from
		u.result.Roots = append(u.result.Roots, u.state(metadata.Root, doc, cached))
	}
	step(u.anchor, u.anchorSource, true)
	// The newest stands for those before it: what else is gone the next start fetches.
	if n := len(u.walked); n > 0 && u.cache.exists(historyFile(u.newest.Version())) {
		u.result.Roots = append(u.result.Roots, u.walked...)
		u.root, source = u.newest, u.cacheFile(historyFile(u.newest.Version()))
	} else {
		u.walked = nil
	}
	accept := func(doc *metadata.Document, from string, cached bool) {
		u.walked, u.newest = append(u.walked, u.state(metadata.Root, doc, true)), doc
		step(doc, from, cached)
	}
	for rotations := 0; ; {
		next := u.root.Version() + 1
		name := rootFile(next)
		history := historyFile(next)

		// A root of an earlier update is as good as a new one if it verifies
		// the same way, and costs no request.
		if data := u.cache.load(history, RootMaxLength); data != nil {
			doc, err := u.nextRoot(u.cacheFile(history), data)
			if err == nil {
				accept(doc, u.cacheFile(history), true)
				continue
			}
			u.log.Warn("ignoring a root of the cache", "reason", err)
		}
		if u.offline {
			break
		}
		if rotations == MaxRootRotations {
			return source, &LimitError{What: "new roots in one update", Limit: MaxRootRotations,
				Next: "run again to go on from there; a repository with so many roots is unusual"}
		}

		// Steps 3 and 9: the file of the next version, at most so long; the
		// search ends where there is none, and only there.
		// Of several mirrors all are asked before it does: one that lags behind, or
		// hides a root, does not end it for the others.
		var doc *metadata.Document
		var data []byte
		var from string
		wanted := request{name: metadata.Root, from: &u.metadataURLs, file: name, maxBytes: RootMaxLength, optional: true}
		err := u.fetch(ctx, wanted, func(source string, got []byte) (err error) {
			data, from = got, source
			doc, err = u.nextRoot(source, got)
			return err
		})
		if errors.As(err, new(*NotFoundError)) {
			break
		}
		if err != nil {
			return source, err
		}
		// Step 11: recover from a fast-forward attack. With other keys for
		// timestamp or snapshot, the versions of the old ones no longer bind.
		// The files go before the root is stored: a crash in between leaves
		// the old root without them, which the next start mends, and never the
		// new root beside versions that nobody can exceed. A file system with a
		// journal keeps that order in a power cut too.
		if onlineKeysDiffer(u.root, doc) {
			if u.cache.load("timestamp.json", TimestampMaxLength) != nil { // else nobody misses anything
				u.log.Info("the repository has new online keys: what was signed with the old ones no longer counts", "root", next)
			}
			if err := errors.Join(u.cache.remove("timestamp.json"), u.cache.remove("snapshot.json")); err != nil {
				return source, err
			}
		}
		// Steps 7 and 8.
		if err := u.cache.keep(history, data); err != nil {
			return source, err
		}
		rotations++
		accept(doc, from, false)
	}
	return source, nil
}

func historyFile(version int64) string {
	return historyDir + string(filepath.Separator) + rootFile(version)
}

func rootFile(version int64) string { return strconv.FormatInt(version, 10) + ".root.json" }

// nextRoot verifies the root after u.root.
func (u *update) nextRoot(source string, data []byte) (*metadata.Document, error) {
	doc, err := u.parse(metadata.Root, metadata.Root, source, data)
	if err != nil {
		return nil, err
	}
	// Step 4: signed by a threshold of the old keys and of the new ones.
	if err := signedBy(metadata.Root, source, doc, u.root, metadata.Root); err != nil {
		return nil, err
	}
	if err := signedBy(metadata.Root, source, doc, doc, metadata.Root); err != nil {
		return nil, err
	}
	// Step 5: exactly the next version.
	if want := u.root.Version() + 1; doc.Version() != want {
		return nil, &VersionError{Role: metadata.Root, Source: source, Want: want, Got: doc.Version()}
	}
	return doc, nil
}

// parseAnchor reads a trust anchor. Its expiry does not matter.
//
// Spec: https://theupdateframework.github.io/specification/latest/#load-trusted-root.
func parseAnchor(data []byte) (*metadata.Document, error) {
	if len(data) > RootMaxLength {
		return nil, fmt.Errorf("it is longer than %d bytes", RootMaxLength)
	}
	doc, err := parseBare(nil, metadata.Root, data)
	if err != nil {
		return nil, err
	}
	d, _ := doc.Delegation(metadata.Root)
	if !metadata.Met(d, doc) {
		q := metadata.Check(d, doc)
		return nil, fmt.Errorf("root v%d has %d of the %d signatures that it asks for itself", doc.Version(), q.Count, q.Threshold)
	}
	return doc, nil
}

// onlineKeysDiffer reports whether the keys or the threshold of timestamp or
// snapshot are others in b than in a.
func onlineKeysDiffer(a, b *metadata.Document) bool {
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
		da, _ := a.Delegation(role)
		db, _ := b.Delegation(role)
		if da.Threshold != db.Threshold || !maps.Equal(keySet(da), keySet(db)) {
			return true
		}
	}
	return false
}

func keySet(d metadata.Delegation) map[string]bool {
	set := map[string]bool{}
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil {
			set[k.Fingerprint()] = true
		}
	}
	return set
}

// updateTimestamp fetches the one file without a version in its name.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-timestamp.
func (u *update) updateTimestamp(ctx context.Context) error {
	const name = "timestamp.json"
	trusted := u.fromCache(metadata.Timestamp, TimestampMaxLength)
	if trusted != nil && checkTimestamp(trusted, name) != nil {
		trusted = nil
	}
	if u.offline {
		if trusted == nil {
			return &NotCachedError{Name: name, Dir: u.cache.dir}
		}
		return u.setTimestamp(trusted, true, u.cacheFile(name))
	}
	var fetched []byte                                                                                           // nil: the trusted one stays
	wanted := request{name: metadata.Timestamp, from: &u.metadataURLs, file: name, maxBytes: TimestampMaxLength} // step 1
	err := u.fetch(ctx, wanted, func(source string, data []byte) error {
		doc, err := u.verified(metadata.Timestamp, source, data) // step 2
		if err != nil {
			return err
		}
		if err := checkTimestamp(doc, source); err != nil {
			return err
		}
		if trusted != nil { // step 3
			switch {
			case doc.Version() < trusted.Version():
				return &RollbackError{Role: metadata.Timestamp, Version: doc.Version(), Trusted: trusted.Version(), Source: source}
			case doc.Version() == trusted.Version():
				// Nothing new, whatever else the file says: the one that was
				// accepted first stays. The update goes on from it, since the one
				// before may have ended here.
				if !bytes.Equal(doc.Payload(), trusted.Payload()) {
					u.log.Warn("the repository serves two timestamps of one version; keeping the first", "version", doc.Version())
				}
				return u.setTimestamp(trusted, true, u.cacheFile(name))
			}
			now, before := doc.Meta()["snapshot.json"], trusted.Meta()["snapshot.json"]
			if now.Version < before.Version {
				return &RollbackError{Role: metadata.Snapshot, Version: now.Version, Trusted: before.Version,
					In: fmt.Sprintf("timestamp v%d", doc.Version()), Source: source}
			}
		}
		fetched = data
		return u.setTimestamp(doc, false, source)
	})
	if err != nil || fetched == nil {
		return err
	}
	return u.cache.save(name, fetched) // step 5
}

func checkTimestamp(doc *metadata.Document, source string) error {
	if _, ok := doc.Meta()["snapshot.json"]; !ok {
		return &FormatError{Role: metadata.Timestamp, Source: source, Err: errors.New("it does not list snapshot.json")}
	}
	return nil
}

func (u *update) setTimestamp(doc *metadata.Document, cached bool, source string) error {
	if err := u.unexpired(metadata.Timestamp, source, doc); err != nil { // step 4
		return err
	}
	u.timestamp = doc
	u.result.Timestamp = u.state(metadata.Timestamp, doc, cached)
	return nil
}

// updateSnapshot fetches the snapshot that the timestamp names, unless it is
// there.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-snapshot.
func (u *update) updateSnapshot(ctx context.Context) error {
	const name = "snapshot.json"
	want := u.timestamp.Meta()[name]
	trusted := u.fromCache(metadata.Snapshot, SnapshotMaxLength)
	set := func(doc *metadata.Document, cached bool, source string) error {
		if err := u.unexpired(metadata.Snapshot, source, doc); err != nil { // step 6
			return err
		}
		u.snapshot = doc
		u.result.Snapshot = u.state(metadata.Snapshot, doc, cached)
		return nil
	}
	if trusted != nil && trusted.Version() == want.Version && u.asListed(metadata.Snapshot, u.cacheFile(name), trusted.Raw(), want) == nil {
		return set(trusted, true, u.cacheFile(name))
	}
	if u.offline {
		return &NotCachedError{Name: fmt.Sprintf("snapshot v%d", want.Version), Dir: u.cache.dir}
	}
	var fetched []byte
	wanted := request{name: metadata.Snapshot, from: &u.metadataURLs, file: u.versioned(metadata.Snapshot, want.Version), maxBytes: bound(want, SnapshotMaxLength)} // step 1
	err := u.fetch(ctx, wanted, func(source string, data []byte) error {
		if err := u.asListed(metadata.Snapshot, source, data, want); err != nil { // step 2
			return err
		}
		doc, err := u.verified(metadata.Snapshot, source, data) // step 3
		if err != nil {
			return err
		}
		if doc.Version() != want.Version { // step 4
			return &VersionError{Role: metadata.Snapshot, Source: source, Want: want.Version, Got: doc.Version()}
		}
		if trusted != nil { // step 5
			if doc.Version() < trusted.Version() { // stricter than the specification: the timestamp of before may be lost
				return &RollbackError{Role: metadata.Snapshot, Version: doc.Version(), Trusted: trusted.Version(), Source: source}
			}
			in := fmt.Sprintf("snapshot v%d", doc.Version())
			for _, file := range slices.Sorted(maps.Keys(trusted.Meta())) {
				before, now := trusted.Meta()[file], doc.Meta()[file] // a role that is gone has version 0
				if now.Version < before.Version {
					return &RollbackError{Role: strings.TrimSuffix(file, ".json"), Version: now.Version, Trusted: before.Version, In: in, Source: source}
				}
			}
		}
		fetched = data
		return set(doc, false, source)
	})
	if err != nil {
		return err
	}
	return u.cache.save(name, fetched) // step 7
}

// updateTargets fetches the top-level targets role.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-targets.
func (u *update) updateTargets(ctx context.Context) error {
	d, _ := u.root.Delegation(metadata.Targets)
	doc, state, err := u.loadTargets(ctx, u.root, metadata.Root, d)
	if err != nil {
		return err
	}
	u.targets, u.result.Targets = doc, state
	return nil
}

// loadTargets returns a targets role, top-level or delegated, verified for this
// delegator: from an earlier step of the update, the cache or the repository.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-targets, steps 1 to 6,
// which hold for delegated roles as well.
func (u *update) loadTargets(ctx context.Context, delegator *metadata.Document, by string, d metadata.Delegation) (*metadata.Document, RoleState, error) {
	role := d.Role
	fail := func(err error) (*metadata.Document, RoleState, error) { return nil, RoleState{}, err }
	verified := func(doc *metadata.Document, cached bool) (*metadata.Document, RoleState, error) {
		u.roles[edge{delegator, role}] = doc
		return doc, u.state(role, doc, cached), nil
	}
	if doc := u.roles[edge{delegator, role}]; doc != nil {
		return doc, u.state(role, doc, true), nil
	}
	want, listed := u.snapshot.Meta()[role+".json"]
	if !listed {
		return fail(&UnlistedError{Role: role, In: metadata.Snapshot, Version: u.snapshot.Version(), Delegate: by})
	}
	if was, ok := u.fetched[role]; ok {
		// It has been fetched for another delegator. Asking again would bring
		// the same file.
		if err := signedByDelegation(role, was.source, was.doc, delegator, by, d); err != nil {
			return fail(err)
		}
		return verified(was.doc, true)
	}
	check := func(source string, data []byte) (*metadata.Document, error) {
		if err := u.asListed(role, source, data, want); err != nil { // step 2
			return nil, err
		}
		doc, err := u.verifiedBy(role, metadata.Targets, source, data, delegator, by, d) // step 3
		if err != nil {
			return nil, err
		}
		if doc.Version() != want.Version { // step 4
			return nil, &VersionError{Role: role, Source: source, Want: want.Version, Got: doc.Version()}
		}
		return doc, nil
	}
	file := cacheName(role)
	if data := u.cache.load(file, TargetsMaxLength); data != nil {
		doc, err := check(u.cacheFile(file), data)
		if err == nil {
			if err := u.unexpired(role, u.cacheFile(file), doc); err != nil { // step 5
				return fail(err)
			}
			return verified(doc, true)
		}
		u.log.Debug("the cached file does not serve", "role", role, "reason", err)
	}
	if u.offline {
		return fail(&NotCachedError{Name: fmt.Sprintf("%s v%d", role, want.Version), Dir: u.cache.dir})
	}
	var fetched []byte
	var got served
	wanted := request{name: role, from: &u.metadataURLs, file: u.versioned(role, want.Version), maxBytes: bound(want, TargetsMaxLength)} // step 1
	err := u.fetch(ctx, wanted, func(source string, data []byte) (err error) {
		if got.doc, err = check(source, data); err != nil {
			return err
		}
		fetched, got.source = data, source
		return u.unexpired(role, source, got.doc) // step 5
	})
	if err != nil {
		return fail(err)
	}
	if err := u.cache.keep(file, fetched); err != nil { // step 6
		return fail(err)
	}
	u.fetched[role] = got
	return verified(got.doc, false)
}

// versioned is the file name of a role in the repository.
//
// Spec: https://theupdateframework.github.io/specification/latest/#reading-consistent-snapshots.
func (u *update) versioned(role string, version int64) string {
	if !u.root.ConsistentSnapshot() {
		return quote(role) + ".json"
	}
	return fmt.Sprintf("%d.%s.json", version, quote(role))
}

func (u *update) cacheFile(name string) string {
	if u.cache.dir == "" {
		return "the memory of this client"
	}
	return filepath.Join(u.cache.dir, name)
}

func (u *update) state(role string, doc *metadata.Document, cached bool) RoleState {
	return RoleState{Role: role, Version: doc.Version(), Expires: doc.Expires(), Cached: cached}
}

// fromCache returns the timestamp or snapshot of the last update if it still
// verifies; its expiry does not matter, since it also serves to notice a
// rollback.
func (u *update) fromCache(role string, max int64) *metadata.Document {
	data := u.cache.load(role+".json", max)
	if data == nil {
		return nil
	}
	doc, err := u.verified(role, u.cacheFile(role+".json"), data)
	if err != nil {
		u.log.Warn("ignoring a file of the cache", "reason", err)
		return nil
	}
	return doc
}

// verified reads the metadata of timestamp or snapshot and checks its signatures.
func (u *update) verified(role, source string, data []byte) (*metadata.Document, error) {
	d, _ := u.root.Delegation(role)
	return u.verifiedBy(role, role, source, data, u.root, metadata.Root, d)
}

// verifiedBy reads metadata and checks its signatures for this delegator, unless
// it is byte for byte what was checked before.
func (u *update) verifiedBy(role, kind, source string, data []byte, delegator *metadata.Document, by string, d metadata.Delegation) (*metadata.Document, error) {
	name := edge{delegator, role}
	for _, known := range []*metadata.Document{u.proving[name], u.proven[name]} {
		if known != nil && bytes.Equal(known.Raw(), data) {
			u.proving[name] = known
			return known, nil
		}
	}
	doc, err := u.parse(role, kind, source, data)
	if err != nil {
		return nil, err
	}
	if err := signedByDelegation(role, source, doc, delegator, by, d); err != nil {
		return nil, err
	}
	u.proving[name] = doc
	return doc, nil
}

// unexpired refuses a document that is not valid at the reference time.
func (u *update) unexpired(role, source string, doc *metadata.Document) error {
	if doc.Expired(u.start) {
		return &ExpiredError{Role: role, Version: doc.Version(), Source: source, Expires: doc.Expires(), Now: u.start}
	}
	return nil
}

// parse reads a role's metadata, of which nothing is known yet.
func (u *update) parse(role, kind, source string, data []byte) (*metadata.Document, error) {
	doc, err := parseBare(&u.memo, kind, data)
	if err != nil {
		return nil, &FormatError{Role: role, Source: source, Err: err}
	}
	return doc, nil
}

func parseBare(memo *metadata.Memo, kind string, data []byte) (*metadata.Document, error) {
	doc, err := memo.Parse(data)
	if err != nil {
		return nil, err
	}
	if doc.Type() != kind {
		return nil, fmt.Errorf("it is of type %s, not %s", doc.Type(), kind)
	}
	// Clients MUST verify that spec_version is the one they expect; another
	// major version may mean other things by the same fields.
	// Spec: https://theupdateframework.github.io/specification/latest/#file-formats-root.
	if major, _, _ := strings.Cut(doc.SpecVersion(), "."); major != "1" {
		return nil, fmt.Errorf("it follows version %.40q of the TUF specification, and this client knows version 1", doc.SpecVersion())
	}
	// Two readers could see two documents. Names that differ only in case are
	// fine here: nobody reads this tree case-insensitively.
	for _, d := range doc.Duplicates() {
		if d.Name == d.With {
			return nil, fmt.Errorf("%.300s", d)
		}
	}
	// The keyid MUST be unique in the signatures array.
	// Spec: https://theupdateframework.github.io/specification/latest/#file-formats-object-format.
	seen := map[string]bool{}
	for _, s := range doc.Signatures() {
		if seen[s.KeyID] {
			return nil, fmt.Errorf("it holds two signatures of keyid %.80q", s.KeyID)
		}
		seen[s.KeyID] = true
	}
	return doc, nil
}

// signedBy checks the signatures of a top-level role with the keys that a root
// gives it.
func signedBy(role, source string, doc, root *metadata.Document, by string) error {
	d, _ := root.Delegation(role)
	return signedByDelegation(role, source, doc, root, by, d)
}

func signedByDelegation(role, source string, doc, delegator *metadata.Document, by string, d metadata.Delegation) error {
	if !metadata.Met(d, doc) {
		return &QuorumError{Role: role, Version: doc.Version(), Source: source, By: by, ByVersion: delegator.Version(), Quorum: metadata.Check(d, doc)}
	}
	return nil
}

// bound is how much of a metadata file to read.
func bound(m metadata.MetaFile, max int64) int64 {
	if m.Length >= 0 {
		return min(m.Length, max)
	}
	return max
}

// asListed compares a metadata file with the length and the hashes that
// timestamp or snapshot states, if any.
func (u *update) asListed(role, source string, data []byte, m metadata.MetaFile) error {
	if m.Length >= 0 && m.Length != int64(len(data)) {
		return &LengthError{Name: role, Source: source, Exact: true, Want: m.Length, Got: int64(len(data))}
	}
	if m.Hashes == nil {
		return nil
	}
	d, err := newDigests(role, m.Hashes)
	if err != nil {
		return err
	}
	_, _ = d.Write(data)
	return d.check(source)
}

// algorithms are the hashes that clients know, the preferred one first. MD5 and
// SHA-1 are not among them on purpose.
var algorithms = []struct {
	name string
	new  func() hash.Hash
}{
	{"sha256", sha256.New}, {"sha512", sha512.New}, {"sha384", sha512.New384},
}

// digests computes every hash of a list that it knows. Hashes it does not know
// are passed over: the list is signed, and one good hash is enough.
type digests struct {
	name   string
	wanted map[string]string
	hashes map[string]hash.Hash
}

func newDigests(name string, wanted map[string]string) (*digests, error) {
	d := &digests{name: name, wanted: wanted, hashes: map[string]hash.Hash{}}
	for _, a := range algorithms {
		if _, ok := wanted[a.name]; ok {
			d.hashes[a.name] = a.new()
		}
	}
	if len(d.hashes) == 0 {
		return nil, &HashError{Name: name}
	}
	return d, nil
}

func (d *digests) Write(p []byte) (int, error) {
	for _, h := range d.hashes {
		_, _ = h.Write(p) // never fails
	}
	return len(p), nil
}

func (d *digests) check(source string) error {
	for _, a := range algorithms {
		h := d.hashes[a.name]
		if h == nil {
			continue
		}
		if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, d.wanted[a.name]) {
			return &HashError{Name: d.name, Source: source, Algorithm: a.name, Want: d.wanted[a.name], Got: got}
		}
	}
	return nil
}

// prefix is a hash of the list that is fit for a file name, as it is written
// there.
func (d *digests) prefix() (string, error) {
	for _, a := range algorithms {
		if h := d.hashes[a.name]; h != nil {
			text := d.wanted[a.name]
			if raw, err := hex.DecodeString(text); err != nil || len(raw) != h.Size() {
				return "", &HashError{Name: d.name, Source: "its metadata", Algorithm: a.name, Want: fmt.Sprintf("%d hex digits", 2*h.Size()), Got: text}
			}
			return text, nil
		}
	}
	return "", &HashError{Name: d.name}
}
