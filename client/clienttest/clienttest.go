// Package clienttest makes small TUF repositories for tests of TUF clients: it
// draws them in memory, signs whatever it is told to sign, however wrong, and
// serves them over HTTP while counting requests.
//
// It trusts its caller and never checks what it signs: making repositories that
// a client must refuse is its purpose. Its keys are derived from their names,
// so a repository has the same bytes in every run. It is no example of how to
// keep a repository.
package clienttest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/metadata"
)

// Now is the moment at which repositories are drawn. Unless a test says
// otherwise everything expires [Life] later.
var Now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Life is how long metadata lives.
const Life = 30 * 24 * time.Hour

// Repo is a repository: Roles is what its keepers are working on, Files what
// they have published. Neither may be changed while a request is under way.
type Repo struct {
	Roles map[string]*Role

	// Files by name: metadata/1.root.json, targets/<hash>.<name>.
	Files map[string][]byte

	// MetaHashes has snapshot and timestamp state length and hashes.
	MetaHashes bool

	// Hook, if set, sees every request first, and returns true where it has
	// answered it.
	Hook func(w http.ResponseWriter, r *http.Request, file string) bool

	mu       sync.Mutex
	requests []string
}

// Role is one role's metadata and those who sign it.
type Role struct {
	Name      string
	Signed    metadata.Object // to be edited at will; values are what a parsed tree holds, or int64
	Keys      []*Key          // those who sign at the next publication
	published bool
}

// Key is a private key and how metadata describes it.
type Key struct {
	ID     string
	Object metadata.Object
	sign   metadata.Signer
}

// NewKey makes the key of that name.
func NewKey(name string) *Key {
	seed := sha256.Sum256([]byte(name))
	return KeyOf(name, ed25519.NewKeyFromSeed(seed[:]))
}

// NewMLDSAKey makes the ML-DSA-44 key of that name.
func NewMLDSAKey(name string) *Key {
	seed := sha256.Sum256([]byte(name))
	private, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed[:])
	if err != nil {
		panic(err)
	}
	return KeyOf(name, sameSignature{private})
}

// KeyOf is a private key that the caller has made, by that name.
func KeyOf(name string, private crypto.Signer) *Key {
	k, err := metadata.NewKey(private.Public(), "@"+strings.ToLower(name), "")
	if err != nil {
		panic(err)
	}
	return &Key{ID: k.ID, Object: k.Object, sign: metadata.LocalSigner(private)}
}

// sameSignature signs without randomness.
type sameSignature struct{ *mldsa.PrivateKey }

func (s sameSignature) Sign(_ io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	return s.SignDeterministic(message, o)
}

// New draws a repository with one key for each top-level role, everything at
// version 1, published.
func New() *Repo {
	r := &Repo{Roles: map[string]*Role{}, Files: map[string][]byte{}}
	r.add(metadata.Root, metadata.Object{"keys": metadata.Object{}, "roles": metadata.Object{}, "consistent_snapshot": true})
	r.add(metadata.Targets, metadata.Object{"targets": metadata.Object{}})
	r.add(metadata.Snapshot, metadata.Object{"meta": metadata.Object{}})
	r.add(metadata.Timestamp, metadata.Object{"meta": metadata.Object{}})
	for _, role := range metadata.TopLevel {
		r.SetKeys(role, 1, NewKey(role))
	}
	r.Publish(metadata.Root, metadata.Targets)
	return r
}

func (r *Repo) add(name string, signed metadata.Object) *Role {
	kind := name
	if !slices.Contains(metadata.TopLevel, name) {
		kind = metadata.Targets
	}
	signed["_type"], signed["spec_version"], signed["version"] = kind, "1.0.31", int64(1)
	signed["expires"] = Now.Add(Life).Format(metadata.TimeFormat)
	role := &Role{Name: name, Signed: signed}
	r.Roles[name] = role
	return role
}

// SetKeys makes keys the keys of a top-level role and lets them sign it.
func (r *Repo) SetKeys(role string, threshold int64, keys ...*Key) {
	root := r.Roles[metadata.Root].Signed
	root["roles"].(metadata.Object)[role] = metadata.Object{"keyids": declare(root, keys), "threshold": threshold}
	r.Roles[role].Keys = keys
}

func declare(delegator metadata.Object, keys []*Key) []any {
	ids := []any{}
	for _, k := range keys {
		delegator["keys"].(metadata.Object)[k.ID] = k.Object
		ids = append(ids, k.ID)
	}
	return ids
}

// Delegate has a targets role delegate to another one, which is made if it does
// not exist, by a key of its own. It returns the delegation as it stands in the
// metadata, to be changed at will. Keys, if given, replace the one key.
func (r *Repo) Delegate(from, to string, terminating bool, paths []string, keys ...*Key) metadata.Object {
	role := r.Roles[to]
	if role == nil {
		role = r.add(to, metadata.Object{"targets": metadata.Object{}})
	}
	if keys == nil {
		keys = []*Key{NewKey(to)}
	}
	for _, k := range keys {
		if !slices.ContainsFunc(role.Keys, func(have *Key) bool { return have.ID == k.ID }) {
			role.Keys = append(role.Keys, k)
		}
	}
	signed := r.Roles[from].Signed
	if signed["delegations"] == nil {
		signed["delegations"] = metadata.Object{"keys": metadata.Object{}, "roles": []any{}}
	}
	all := signed["delegations"].(metadata.Object)
	patterns := []any{}
	for _, p := range paths {
		patterns = append(patterns, p)
	}
	d := metadata.Object{"name": to, "keyids": declare(all, keys), "threshold": int64(1), "terminating": terminating, "paths": patterns}
	all["roles"] = append(all["roles"].([]any), d)
	return d
}

// AddTarget adds an artifact to a role and its bytes to the files.
func (r *Repo) AddTarget(role, path, content string) {
	sum := sha256.Sum256([]byte(content))
	hash := hex.EncodeToString(sum[:])
	r.Roles[role].Signed["targets"].(metadata.Object)[path] = metadata.Object{
		"length": int64(len(content)), "hashes": metadata.Object{"sha256": hash}}
	r.Files[TargetFile(path, hash)] = []byte(content)
}

// TargetFile is the name of the file of an artifact.
func TargetFile(path, hash string) string {
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i+1], path[i+1:]
	}
	return "targets/" + dir + hash + "." + base
}

// Publish gives each role a new version (but the first time), signs it and
// publishes it. Targets roles are entered into the snapshot. Snapshot and
// timestamp follow by themselves unless only root is published; name them to
// say exactly what is published instead.
func (r *Repo) Publish(roles ...string) {
	exactly, follow := false, false
	for _, name := range roles {
		exactly = exactly || metadata.IsOnline(name)
		follow = follow || name != metadata.Root
	}
	if follow && !exactly {
		roles = append(slices.Clone(roles), metadata.Snapshot, metadata.Timestamp)
	}
	for _, name := range roles {
		role := r.Roles[name]
		if role.published {
			role.Signed["version"] = role.Version() + 1
		}
		role.published = true
		r.Put(name, role.Sign())
	}
}

// Put publishes bytes as the present version of a role.
func (r *Repo) Put(name string, data []byte) {
	version := r.Roles[name].Version()
	r.Files[File(name, version)] = data
	switch name {
	case metadata.Root, metadata.Timestamp:
	case metadata.Snapshot:
		r.list(metadata.Timestamp, name, version, data)
	default:
		r.list(metadata.Snapshot, name, version, data)
	}
}

func (r *Repo) list(in, name string, version int64, data []byte) {
	entry := metadata.Object{"version": version}
	if r.MetaHashes {
		sum := sha256.Sum256(data)
		entry["length"], entry["hashes"] = int64(len(data)), metadata.Object{"sha256": hex.EncodeToString(sum[:])}
	}
	r.Roles[in].Signed["meta"].(metadata.Object)[name+".json"] = entry
}

// File is the name of a role's metadata file.
func File(role string, version int64) string {
	if role == metadata.Timestamp {
		return "metadata/timestamp.json"
	}
	return fmt.Sprintf("metadata/%d.%s.json", version, role)
}

// Current is what is published of a role.
func (r *Repo) Current(role string) []byte {
	return r.Files[File(role, r.Roles[role].Version())]
}

// Version of the role as it is worked on.
func (role *Role) Version() int64 {
	switch v := role.Signed["version"].(type) {
	case int64:
		return v
	case json.Number:
		n, _ := v.Int64()
		return n
	}
	return 0
}

// Expire sets when the role expires.
func (role *Role) Expire(at time.Time) {
	role.Signed["expires"] = at.UTC().Format(metadata.TimeFormat)
}

// Sign returns the role's file, signed by its keys.
func (role *Role) Sign() []byte { return Sign(role.Signed, role.Keys...) }

// Sign makes a metadata file. Keys sign in order; nothing is checked.
func Sign(signed metadata.Object, keys ...*Key) []byte {
	// A round trip first, as int64 and json.Number have one canonical form only there.
	tree, _, err := metadata.ParseTree(metadata.Write(signed))
	if err != nil {
		panic(err)
	}
	payload, err := metadata.Canonical(tree)
	if err != nil {
		panic(err)
	}
	list := []any{}
	for _, k := range keys {
		sig, err := k.sign.Sign(context.Background(), payload)
		if err != nil {
			panic(err)
		}
		list = append(list, metadata.Object{"keyid": k.ID, "sig": hex.EncodeToString(sig)})
	}
	return metadata.Write(metadata.Object{"signed": tree, "signatures": list})
}

// Clone returns a repository that can go another way.
func (r *Repo) Clone() *Repo {
	c := &Repo{Roles: map[string]*Role{}, Files: maps.Clone(r.Files), MetaHashes: r.MetaHashes, Hook: r.Hook}
	for name, role := range r.Roles {
		c.Roles[name] = &Role{Name: name, Signed: metadata.Clone(role.Signed), Keys: slices.Clone(role.Keys), published: role.published}
	}
	return c
}

// ServeHTTP serves the files.
func (r *Repo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	file := strings.TrimPrefix(req.URL.Path, "/")
	r.mu.Lock()
	name := file[strings.IndexByte(file, '/')+1:]
	if req.Method != http.MethodGet {
		name = req.Method + " " + name
	}
	r.requests = append(r.requests, name)
	r.mu.Unlock()
	if r.Hook != nil && r.Hook(w, req, file) {
		return
	}
	data, ok := r.Files[file]
	if !ok {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// Requests returns what has been asked for since the last call, without the
// directory, one after the other: "2.root.json timestamp.json".
func (r *Repo) Requests() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.requests = nil }()
	return strings.Join(r.requests, " ")
}

// WriteTo writes the files into a directory, which then is a published tree.
func (r *Repo) WriteTo(dir string) error {
	for name, data := range r.Files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
