package metadata

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// The top-level roles of TUF; every other role name is a delegated targets role.
const (
	Root      = "root"
	Timestamp = "timestamp"
	Snapshot  = "snapshot"
	Targets   = "targets"
)

// TopLevel lists the four roles that root delegates to.
var TopLevel = []string{Root, Timestamp, Snapshot, Targets}

// IsOnline reports whether a role is one of the two that a machine signs for
// freshness. They are never part of a signing event.
func IsOnline(role string) bool { return role == Timestamp || role == Snapshot }

// The custom fields of `signed` in root and targets roles, and of
// `roles.timestamp` and `roles.snapshot` in root. Both count days.
const (
	FieldExpiryPeriod  = "x-tuf-on-ci-expiry-period"
	FieldSigningPeriod = "x-tuf-on-ci-signing-period"
)

// TimeFormat is how dates are written: UTC, no fraction.
const TimeFormat = "2006-01-02T15:04:05Z"

// Document is one parsed metadata file. It is immutable: an edit makes a new
// one. What its accessors return must not be changed.
type Document struct {
	raw         []byte
	tree        Object
	signed      Object
	kind        string
	specVersion string
	version     int64
	expires     time.Time
	signatures  []Signature
	duplicates  []Duplicate
	payload     []byte
	delegations *Delegations
	targets     map[string]TargetFile
	meta        map[string]MetaFile
	verified    verified
}

// Signature is one entry of a signature list.
type Signature struct {
	KeyID string
	Sig   string // as written; empty is a placeholder: "this key is asked to sign"
}

// Bytes of the signature; an error where it is not hex.
func (s Signature) Bytes() ([]byte, error) {
	b, err := hex.DecodeString(s.Sig)
	if err != nil {
		return nil, errors.New("the signature is not hex")
	}
	return b, nil
}

// TargetFile describes one artifact.
type TargetFile struct {
	Length int64             // bytes
	Hashes map[string]string // algorithm to lower- or upper-case hex; never empty
	Object Object
}

// MetaFile is what snapshot and timestamp say of another metadata file.
type MetaFile struct {
	Version int64
	Length  int64             // bytes; -1 where it is not stated
	Hashes  map[string]string // nil where none are stated
	Object  Object
}

// Delegations are the roles that a root or targets document delegates to.
type Delegations struct {
	Keys     map[string]*Key
	Roles    []Delegation // of root: in the order of [TopLevel]; of targets: in the order of the document
	Succinct *Succinct    // hash bins; nil where there are none
}

// Delegation is the trust that a delegator puts in one role.
type Delegation struct {
	Role      string
	KeyIDs    []string
	Threshold int64
	Keys      map[string]*Key // all keys of the delegator, by keyid

	// Of delegated targets roles only.
	Paths        []string
	HashPrefixes []string
	Terminating  bool

	Object Object
	bins   *Succinct // of which it is one
}

// Succinct is a delegation to 2^BitLength hash bins, TAP 15.
type Succinct struct {
	Delegation // Role is empty
	BitLength  int64
	NamePrefix string
}

// Parse reads a metadata file of any of the four types. It is lenient about
// formatting and about what the TUF specification leaves open, and strict about
// what a later step would have to guess.
func Parse(data []byte) (*Document, error) { return (*Memo)(nil).Parse(data) }

// Parse is the function of that name, and decodes no key a second time.
func (m *Memo) Parse(data []byte) (*Document, error) {
	v, dups, err := ParseTree(data)
	if err != nil {
		return nil, err
	}
	tree, ok := v.(Object)
	if !ok {
		return nil, &ParseError{Offset: -1, Reason: "it is not a JSON object"}
	}
	d := &Document{raw: bytes.Clone(data), tree: tree, duplicates: dups}
	r := reader{memo: m}
	d.signed = r.object(tree, "signed")
	for i, e := range r.list(tree, "signatures") {
		r.path = []string{"signatures", fmt.Sprint(i)}
		entry, ok := e.(Object)
		if !ok {
			r.fail("is not an object")
			break
		}
		d.signatures = append(d.signatures, Signature{KeyID: r.text(entry, "keyid"), Sig: r.text(entry, "sig")})
	}
	r.path = []string{"signed"}
	d.kind = r.text(d.signed, "_type")
	d.specVersion = r.text(d.signed, "spec_version")
	d.version = r.integer(d.signed, "version", 1)
	expires := r.text(d.signed, "expires")
	if r.err == nil {
		if d.expires, err = time.Parse(time.RFC3339, expires); err != nil {
			r.path = append(r.path, "expires")
			r.fail(fmt.Sprintf("is %.80q, not a date like 2026-01-31T00:00:00Z", expires))
		}
		d.expires = d.expires.UTC()
	}
	if r.err == nil {
		switch d.kind {
		case Root:
			d.delegations = r.root(d.signed)
		case Targets:
			d.targets = r.targets(d.signed)
			d.delegations = r.delegated(d.signed)
		case Snapshot, Timestamp:
			d.meta = r.meta(d.signed)
		default:
			r.fail(fmt.Sprintf("_type is %q, not root, targets, snapshot or timestamp", d.kind))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if d.payload, err = canonical(d.signed, len(data)); err != nil {
		return nil, &ParseError{Offset: -1, Path: "signed", Reason: "has no canonical form: " + err.Error()}
	}
	return d, nil
}

// reader takes typed values out of a tree; the first fault sticks.
type reader struct {
	memo *Memo
	path []string
	err  error
}

func (r *reader) fail(reason string) {
	if r.err == nil {
		r.err = &ParseError{Offset: -1, Path: joinPath(r.path), Reason: reason}
	}
}

func (r *reader) at(name string, read func()) {
	r.path = append(r.path, name)
	read()
	r.path = r.path[:len(r.path)-1]
}

func typed[T any](r *reader, o Object, name, want string) (v T) {
	r.at(name, func() {
		e, there := o[name]
		var ok bool
		if v, ok = e.(T); !ok && r.err == nil {
			if !there {
				r.fail("is missing")
			} else {
				r.fail("is not " + want)
			}
		}
	})
	return v
}

func (r *reader) object(o Object, name string) Object {
	return typed[Object](r, o, name, "an object")
}
func (r *reader) list(o Object, name string) []any { return typed[[]any](r, o, name, "a list") }
func (r *reader) text(o Object, name string) string {
	return typed[string](r, o, name, "a string")
}
func (r *reader) boolean(o Object, name string) bool {
	return typed[bool](r, o, name, "true or false")
}

func (r *reader) integer(o Object, name string, least int64) int64 {
	n, err := typed[json.Number](r, o, name, "a number").Int64()
	r.at(name, func() {
		if r.err == nil && (err != nil || n < least) {
			r.fail(fmt.Sprintf("is %v, not an integer of %d or more", o[name], least))
		}
	})
	return n
}

func (r *reader) texts(o Object, name string) (texts []string) {
	list := r.list(o, name)
	r.at(name, func() {
		for _, e := range list {
			s, ok := e.(string)
			if !ok {
				r.fail("holds something that is not a string")
				return
			}
			texts = append(texts, s)
		}
	})
	return texts
}

func (r *reader) each(o Object, visit func(name string, e Object)) {
	for _, name := range sortedNames(o) {
		r.at(name, func() {
			e, ok := o[name].(Object)
			if !ok {
				r.fail("is not an object")
				return
			}
			visit(name, e)
		})
	}
}

func (r *reader) keys(o Object) map[string]*Key {
	keys := map[string]*Key{}
	obj := r.object(o, "keys")
	r.at("keys", func() {
		r.each(obj, func(id string, e Object) {
			k, err := r.memo.decodeKey(id, e)
			if err != nil {
				r.fail(err.Error())
				return
			}
			keys[id] = k
		})
	})
	return keys
}

func (r *reader) delegation(role string, o Object, keys map[string]*Key) Delegation {
	return Delegation{
		Role: role, Object: o, Keys: keys,
		KeyIDs:    r.texts(o, "keyids"),
		Threshold: r.integer(o, "threshold", -1<<31), // a bad threshold is judged by a rule and by Quorum
	}
}

func (r *reader) root(signed Object) *Delegations {
	d := &Delegations{Keys: r.keys(signed)}
	if _, there := signed["consistent_snapshot"]; there {
		r.boolean(signed, "consistent_snapshot")
	}
	roles := r.object(signed, "roles")
	r.at("roles", func() {
		for _, role := range TopLevel {
			o := r.object(roles, role)
			r.at(role, func() { d.Roles = append(d.Roles, r.delegation(role, o, d.Keys)) })
		}
	})
	return d
}

func (r *reader) delegated(signed Object) *Delegations {
	if signed["delegations"] == nil { // absent or null: python-tuf reads both as none
		return nil
	}
	o := r.object(signed, "delegations")
	d := &Delegations{}
	r.at("delegations", func() {
		d.Keys = r.keys(o)
		_, hasRoles := o["roles"]
		if s, there := o["succinct_roles"]; there {
			if hasRoles {
				r.fail("has both roles and succinct_roles")
			}
			r.at("succinct_roles", func() {
				obj, ok := s.(Object)
				if !ok {
					r.fail("is not an object")
					return
				}
				d.Succinct = &Succinct{
					Delegation: r.delegation("", obj, d.Keys),
					BitLength:  r.integer(obj, "bit_length", 1),
					NamePrefix: r.text(obj, "name_prefix"),
				}
				if d.Succinct.BitLength > 32 {
					r.fail("bit_length is more than 32")
				}
			})
			return
		}
		roles := r.list(o, "roles")
		r.at("roles", func() {
			seen := map[string]bool{}
			for i, e := range roles {
				r.at(fmt.Sprint(i), func() {
					obj, ok := e.(Object)
					if !ok {
						r.fail("is not an object")
						return
					}
					name := r.text(obj, "name")
					if seen[name] {
						r.fail(fmt.Sprintf("delegates to %q a second time", name))
					}
					seen[name] = true
					del := r.delegation(name, obj, d.Keys)
					del.Terminating = r.boolean(obj, "terminating")
					_, paths := obj["paths"]
					_, prefixes := obj["path_hash_prefixes"]
					switch {
					case paths && prefixes:
						r.fail("has both paths and path_hash_prefixes")
					case prefixes:
						del.HashPrefixes = r.texts(obj, "path_hash_prefixes")
					default:
						del.Paths = r.texts(obj, "paths")
					}
					d.Roles = append(d.Roles, del)
				})
			}
		})
	})
	return d
}

func (r *reader) hashes(o Object) (hashes map[string]string) {
	obj := r.object(o, "hashes")
	r.at("hashes", func() {
		hashes = map[string]string{}
		for _, algorithm := range sortedNames(obj) {
			hashes[algorithm] = r.text(obj, algorithm)
		}
		if len(hashes) == 0 {
			r.fail("is empty")
		}
	})
	return hashes
}

func (r *reader) targets(signed Object) map[string]TargetFile {
	files := map[string]TargetFile{}
	obj := r.object(signed, "targets")
	r.at("targets", func() {
		r.each(obj, func(path string, e Object) {
			files[path] = TargetFile{Object: e, Length: r.integer(e, "length", 0), Hashes: r.hashes(e)}
		})
	})
	return files
}

func (r *reader) meta(signed Object) map[string]MetaFile {
	files := map[string]MetaFile{}
	obj := r.object(signed, "meta")
	r.at("meta", func() {
		r.each(obj, func(name string, e Object) {
			m := MetaFile{Object: e, Version: r.integer(e, "version", 1), Length: -1}
			if _, there := e["length"]; there {
				m.Length = r.integer(e, "length", 0)
			}
			if _, there := e["hashes"]; there {
				m.Hashes = r.hashes(e)
			}
			files[name] = m
		})
	})
	return files
}

// Type is `_type`: root, targets, snapshot or timestamp.
func (d *Document) Type() string { return d.kind }

// SpecVersion is `spec_version` as written, like "1.0.31" or "1.0".
func (d *Document) SpecVersion() string { return d.specVersion }

// Version is 1 or more.
func (d *Document) Version() int64 { return d.version }

// Expires is the moment from which the document is no longer valid, in UTC.
func (d *Document) Expires() time.Time { return d.expires }

// Expired reports whether the document is no longer valid at now.
//
// Spec: #update-root step 10: the expiration timestamp must be higher than the
// fixed update start time, so it is expired at that very second.
func (d *Document) Expired(now time.Time) bool { return !d.expires.After(now) }

// Signatures in the order of the file.
func (d *Document) Signatures() []Signature { return d.signatures }

// Duplicates are the names that some JSON object of the file holds twice.
func (d *Document) Duplicates() []Duplicate { return d.duplicates }

// Payload is the canonical form of the signed part: what signatures are over.
func (d *Document) Payload() []byte { return d.payload }

// Raw is the file as it was read.
func (d *Document) Raw() []byte { return d.raw }

// Bytes is the file as this format writes it; for every file that tuf-on-ci or
// tufops wrote, the same as Raw.
func (d *Document) Bytes() []byte { return Write(d.tree) }

// Signed is the signed part as a tree.
func (d *Document) Signed() Object { return d.signed }

// Targets are the artifacts of a targets document; nil for other types.
func (d *Document) Targets() map[string]TargetFile { return d.targets }

// Meta lists the metadata files of a snapshot or timestamp; nil for other types.
func (d *Document) Meta() map[string]MetaFile { return d.meta }

// ConsistentSnapshot reports whether a root asks for versioned file names.
func (d *Document) ConsistentSnapshot() bool {
	on, _ := d.signed["consistent_snapshot"].(bool)
	return on
}

// Delegations of a root or targets document; nil where it has none.
func (d *Document) Delegations() *Delegations { return d.delegations }

// Delegation of one role; false where the document does not delegate to it.
// Hash bins are found by name as well.
func (d *Document) Delegation(role string) (Delegation, bool) {
	if d.delegations == nil {
		return Delegation{}, false
	}
	for _, del := range d.delegations.Roles {
		if del.Role == role {
			return del, true
		}
	}
	if s := d.delegations.Succinct; s != nil && s.has(role) {
		return s.bin(role), true
	}
	return Delegation{}, false
}

// Period is how long versions of a role live, in days.
type Period struct {
	Expiry  int64 // a version lives so long; 0 where it is not stated
	Signing int64 // so long before expiry re-signing starts; half of Expiry where it is not stated
	// Explicit is false where the signing period is the half that stands in for a missing one.
	Explicit bool
}

// PeriodOf reads the two period fields of an object: `signed` of root or of a
// targets role, or the delegation of an online role. A field that is not an
// integer reads as missing.
func PeriodOf(o Object) Period {
	integer := func(name string) (int64, bool) {
		n, ok := o[name].(json.Number)
		if !ok {
			return 0, false
		}
		i, err := n.Int64()
		if err != nil { // beyond 64 bits, i is the largest there is
			return 0, false
		}
		return i, true
	}
	var p Period
	p.Expiry, _ = integer(FieldExpiryPeriod)
	if p.Signing, p.Explicit = integer(FieldSigningPeriod); !p.Explicit {
		p.Signing = p.Expiry / 2
	}
	return p
}

// WithSigned returns the document with another signed part and other
// signatures, written in this format's form and parsed again. The given tree is
// taken over: the caller must not use it afterwards. A string in it that is not
// valid UTF-8, like some file name, is an error.
func (d *Document) WithSigned(signed Object, signatures []Signature) (*Document, error) {
	tree := make(Object, len(d.tree))
	for name, v := range d.tree {
		tree[name] = v
	}
	tree["signed"] = signed
	list := make([]any, 0, len(signatures))
	for _, s := range signatures {
		list = append(list, Object{"keyid": s.KeyID, "sig": s.Sig})
	}
	tree["signatures"] = list
	if text, ok := invalidUTF8(tree); ok {
		return nil, &ParseError{Offset: -1, Path: "signed", Reason: fmt.Sprintf("holds %.80q, which is not valid UTF-8", text)}
	}
	return Parse(Write(tree))
}

// invalidUTF8 finds a string that Write could not represent.
func invalidUTF8(v any) (text string, found bool) {
	switch v := v.(type) {
	case string:
		return v, !utf8.ValidString(v)
	case []any:
		for _, e := range v {
			if text, found = invalidUTF8(e); found {
				return text, true
			}
		}
	case Object:
		for name, e := range v {
			if text, found = invalidUTF8(e); found {
				return text, true
			}
			if !utf8.ValidString(name) {
				return name, true
			}
		}
	}
	return "", false
}

// WithSignature returns the document with sig as the signature of keyID: in the
// place of the entry of that keyid, else at the end. All other entries stay as
// they are, unknown fields and stale signatures included.
func (d *Document) WithSignature(keyID string, sig []byte) (*Document, error) {
	tree := Clone(d.tree)
	list, _ := tree["signatures"].([]any)
	text := hex.EncodeToString(sig)
	found := false
	for _, e := range list {
		if entry := e.(Object); entry["keyid"] == keyID {
			entry["sig"] = text
			found = true
			break
		}
	}
	if !found {
		list = append(list, Object{"keyid": keyID, "sig": text})
	}
	tree["signatures"] = list
	if !utf8.ValidString(keyID) {
		return nil, &ParseError{Offset: -1, Path: "signatures", Reason: fmt.Sprintf("would hold the keyid %.80q, which is not valid UTF-8", keyID)}
	}
	return Parse(Write(tree))
}

// New makes a document from nothing. See [Document.WithSigned] for the tree.
func New(signed Object, signatures []Signature) (*Document, error) {
	return (&Document{tree: Object{}}).WithSigned(signed, signatures)
}
