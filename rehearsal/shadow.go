package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// shadow is one state of the repository as it would be published if we held the
// keys of root, snapshot and timestamp: its targets roles byte for byte, below a
// root that is made for the occasion.
type shadow struct {
	state *repository.State
	root  *metadata.Document
	roles map[string]*metadata.Document // the targets roles that can be read, by name
}

// document is the metadata of a role, also where it is larger than our model
// reads: whether that is too large is for the clients to say.
func document(ctx context.Context, s *repository.State, role string) (*metadata.Document, error) {
	doc, err := s.Document(role)
	var large *repository.TooLargeError
	if !errors.As(err, &large) || large.Size > 4*large.Max {
		return doc, err
	}
	file, _ := s.File(repository.MetadataFile(role))
	data, err := s.Repository().Git.Blob(ctx, file.OID)
	if err != nil {
		return nil, err
	}
	return metadata.Parse(data)
}

// newShadow makes the shadow of a state. One that follows another has the same
// root, byte for byte, if the real root is the same; else its root is signed by
// the keys of the one before as well, as in a rotation.
func (r *keyring) newShadow(ctx context.Context, state *repository.State, before *shadow) (*shadow, error) {
	real, err := document(ctx, state, metadata.Root)
	if err != nil {
		return nil, err
	}
	s := &shadow{state: state, roles: map[string]*metadata.Document{}}
	for _, role := range state.TargetsRoles() {
		doc, err := document(ctx, state, role)
		if err == nil && doc.Type() == metadata.Targets {
			s.roles[role] = doc
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if before != nil {
		if old, err := before.state.Document(metadata.Root); err == nil && string(old.Payload()) == string(real.Payload()) {
			s.root = before.root
			return s, nil
		}
	}
	signed, err := r.rebuild(real)
	if err != nil {
		return nil, err
	}
	unsigned, err := metadata.New(metadata.Clone(signed), nil)
	if err != nil {
		return nil, err
	}
	own, _ := unsigned.Delegation(metadata.Root)
	by := []metadata.Delegation{own}
	if before != nil {
		old, _ := before.root.Delegation(metadata.Root)
		by = append(by, old)
	}
	s.root, err = r.sign(ctx, signed, by...)
	return s, err
}

// rebuild is the signed part of a root in which stand-ins take the place of the
// keys of root, snapshot and timestamp. The keys of targets stay. So does a keyid
// that has no key.
func (r *keyring) rebuild(real *metadata.Document) (metadata.Object, error) {
	signed := metadata.Clone(real.Signed())
	keys := signed["keys"].(metadata.Object)
	replaced := map[string]bool{}
	for _, d := range real.Delegations().Roles {
		if d.Role == metadata.Targets {
			continue
		}
		ids := []any{}
		for _, id := range d.KeyIDs {
			if key := d.Keys[id]; key != nil {
				other, obj, err := r.standIn(key)
				if err != nil {
					return nil, err
				}
				replaced[id] = true
				id, keys[other] = other, obj
			}
			ids = append(ids, id)
		}
		signed["roles"].(metadata.Object)[d.Role].(metadata.Object)["keyids"] = ids
	}
	targets, _ := real.Delegation(metadata.Targets)
	for id := range replaced {
		if !slices.Contains(targets.KeyIDs, id) {
			delete(keys, id)
		}
	}
	return signed, nil
}

// publish lays a shadow out on a site as online-sign and publish would at a
// moment: with a new snapshot and timestamp. It returns the names of files that
// got other bytes than they had, which caches would not notice.
func (r *keyring) publish(ctx context.Context, onto *site, s *shadow, at time.Time) (changed []string, err error) {
	put := func(name string, doc *metadata.Document) {
		if !onto.put(name, doc.Raw()) {
			changed = append(changed, name)
		}
	}
	entries := metadata.Object{}
	for _, role := range sorted(s.roles) {
		doc := s.roles[role]
		put(fmt.Sprintf("metadata/%d.%s.json", doc.Version(), role), doc)
		entries[role+".json"] = metadata.Object{"version": doc.Version()}
		onto.artifacts(s.state, doc)
	}
	snapshot, err := r.online(ctx, onto, s, metadata.Snapshot, entries, at)
	if err != nil {
		return nil, err
	}
	put(fmt.Sprintf("metadata/%d.snapshot.json", snapshot.Version()), snapshot)
	put(fmt.Sprintf("metadata/%d.root.json", s.root.Version()), s.root)
	timestamp, err := r.online(ctx, onto, s, metadata.Timestamp, metadata.Object{"snapshot.json": metadata.Object{"version": snapshot.Version()}}, at)
	if err != nil {
		return nil, err
	}
	put(timestampFile, timestamp)
	onto.online[metadata.Snapshot], onto.online[metadata.Timestamp] = snapshot, timestamp
	return changed, nil
}

// online makes the next version of snapshot or timestamp: what the site's lists
// stays listed, and everything else of it stays as well. The first one goes on
// from the real one, if there is one.
func (r *keyring) online(ctx context.Context, onto *site, s *shadow, role string, entries metadata.Object, at time.Time) (*metadata.Document, error) {
	signed, version := metadata.Object{"_type": role, "spec_version": s.root.SpecVersion()}, int64(1)
	before := onto.online[role]
	if before == nil {
		before, _ = s.state.Document(role)
	}
	if before != nil {
		signed, version = metadata.Clone(before.Signed()), before.Version()+1
	}
	meta, _ := signed["meta"].(metadata.Object)
	if meta == nil || onto.online[role] == nil { // the real one's entries may be of roles that are not read here
		meta = metadata.Object{}
	}
	for name, entry := range entries {
		meta[name] = entry
	}
	d, _ := s.root.Delegation(role)
	days := min(max(metadata.PeriodOf(d.Object).Expiry, 1), 36500)
	signed["meta"], signed["version"] = meta, version
	signed["expires"] = at.UTC().Add(time.Duration(days) * 24 * time.Hour).Format(metadata.TimeFormat)
	return r.sign(ctx, signed, d)
}
