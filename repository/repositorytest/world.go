// Package repositorytest makes small TUF repositories in real git for tests, and
// edits them the way a stranger with push rights could: any byte, signed by
// whoever the test wants.
//
// It owns the keys, which are the same in every run, and the repositories, which
// live in the test's temporary directory. It uses no edit of package repository,
// so a test compares two independent makers.
package repositorytest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Event is the branch of the event in every world.
const Event = "sign/test"

// Start is when every world begins.
var Start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// World is one git repository with a TUF repository: main holds a good state,
// the branch [Event] is checked out.
//
// In the beginning root is signed by alice and bob (2 of 2), targets by alice,
// bob and carol (2 of 3), the delegated role "releases" by carol; timestamp and
// snapshot by the online key. targets has the artifact "a.txt", releases has
// "releases/v1/tool".
type World struct {
	*gittest.Repo
	T   testing.TB
	Now time.Time
}

// Private is the private key of a person or of "online", by name; any name has
// one. Names that begin with mldsa have one of ML-DSA-44, all others of Ed25519.
func Private(name string) crypto.Signer {
	seed := sha256.Sum256([]byte("tufops test key " + name))
	if strings.HasPrefix(name, "mldsa") {
		k, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed[:])
		if err != nil {
			panic(err)
		}
		return k
	}
	return ed25519.NewKeyFromSeed(seed[:])
}

// Key is the key object of a name. "online" and names beginning with it have an
// online URI, other names an owner.
func Key(name string) *metadata.Key {
	owner, uri := "@"+name, ""
	if strings.HasPrefix(name, "online") {
		owner, uri = "", "file2:"+name
	}
	k, err := metadata.NewKey(Private(name).Public(), owner, uri)
	if err != nil {
		panic(err)
	}
	return k
}

// New makes a world.
func New(t testing.TB) *World {
	w := &World{Repo: gittest.Init(t, filepath.Join(t.TempDir(), "repo")), T: t, Now: Start}
	w.WriteFile("targets/a.txt", "a\n")
	w.WriteFile("targets/releases/v1/tool", "tool\n")
	role := func(threshold int64, names ...string) metadata.Object {
		ids := []any{}
		for _, n := range names {
			ids = append(ids, Key(n).ID)
		}
		return metadata.Object{"keyids": ids, "threshold": threshold}
	}
	online := func(expiry, signing int64) metadata.Object {
		o := role(1, "online")
		o[metadata.FieldExpiryPeriod], o[metadata.FieldSigningPeriod] = expiry, signing
		return o
	}
	w.write("root", metadata.Object{
		"_type": "root", "spec_version": "1.0.31", "version": int64(1), "expires": w.in(365), "consistent_snapshot": true,
		metadata.FieldExpiryPeriod: int64(365), metadata.FieldSigningPeriod: int64(60),
		"keys": keys("alice", "bob", "carol", "online"),
		"roles": metadata.Object{
			"root": role(2, "alice", "bob"), "targets": role(2, "alice", "bob", "carol"),
			"timestamp": online(2, 1), "snapshot": online(365, 60),
		},
	})
	releases := role(1, "carol")
	releases["name"], releases["terminating"] = "releases", true
	releases["paths"] = []any{"releases/*", "releases/*/*", "releases/*/*/*", "releases/*/*/*/*"}
	w.write("targets", w.targets(metadata.Object{"targets": metadata.Object{"a.txt": entry("a\n")},
		"delegations": metadata.Object{"keys": keys("carol"), "roles": []any{releases}}}))
	w.write("releases", w.targets(metadata.Object{"targets": metadata.Object{"releases/v1/tool": entry("tool\n")}}))
	w.write("snapshot", metadata.Object{"_type": "snapshot", "spec_version": "1.0.31", "version": int64(1), "expires": w.in(365),
		"meta": metadata.Object{"targets.json": metadata.Object{"version": int64(1)}, "releases.json": metadata.Object{"version": int64(1)}}})
	w.write("timestamp", metadata.Object{"_type": "timestamp", "spec_version": "1.0.31", "version": int64(1), "expires": w.in(2),
		"meta": metadata.Object{"snapshot.json": metadata.Object{"version": int64(1)}}})
	w.Sign("root", "alice", "bob").Sign("targets", "alice", "bob").Sign("releases", "carol")
	w.Sign("snapshot", "online").Sign("timestamp", "online")
	w.Commit("main")
	w.Run("switch", "-q", "-c", Event)
	return w
}

func keys(names ...string) metadata.Object {
	o := metadata.Object{}
	for _, n := range names {
		o[Key(n).ID] = metadata.Clone(Key(n).Object)
	}
	return o
}

func entry(content string) metadata.Object {
	sum := sha256.Sum256([]byte(content))
	return metadata.Object{"length": int64(len(content)), "hashes": metadata.Object{"sha256": hex.EncodeToString(sum[:])}}
}

func (w *World) in(days int) string { return w.Now.AddDate(0, 0, days).Format(metadata.TimeFormat) }

func (w *World) targets(more metadata.Object) metadata.Object {
	signed := metadata.Object{"_type": "targets", "spec_version": "1.0.31", "version": int64(1), "expires": w.in(365),
		metadata.FieldExpiryPeriod: int64(365), metadata.FieldSigningPeriod: int64(60)}
	for name, v := range more {
		signed[name] = v
	}
	return signed
}

func (w *World) write(role string, signed metadata.Object) {
	w.WriteFile(repository.MetadataFile(role), string(metadata.Write(metadata.Object{"signatures": []any{}, "signed": signed})))
}

// Tree is a role's file in the work tree.
func (w *World) Tree(role string) metadata.Object {
	w.T.Helper()
	tree, _, err := metadata.ParseTree([]byte(w.ReadFile(repository.MetadataFile(role))))
	if err != nil {
		w.T.Fatalf("%s: %v", role, err)
	}
	return tree.(metadata.Object)
}

// Doc is a role's file in the work tree, parsed.
func (w *World) Doc(role string) *metadata.Document {
	w.T.Helper()
	doc, err := metadata.Parse([]byte(w.ReadFile(repository.MetadataFile(role))))
	if err != nil {
		w.T.Fatalf("%s: %v", role, err)
	}
	return doc
}

// Edit changes the signed part of a role and drops its signatures. The version
// grows by one, the expiry date is set anew; edit may set both otherwise.
func (w *World) Edit(role string, edit func(signed metadata.Object)) *World {
	w.T.Helper()
	doc := w.Doc(role)
	signed := metadata.Clone(doc.Signed())
	signed["version"] = doc.Version() + 1
	if p := metadata.PeriodOf(signed); p.Expiry > 0 {
		signed["expires"] = w.in(int(p.Expiry))
	}
	if edit != nil {
		edit(signed)
	}
	w.write(role, signed)
	if role == "root" {
		w.copyRoot()
	}
	return w
}

// copyRoot writes root.json to root_history. A version that is no number stays
// without a copy.
func (w *World) copyRoot() {
	data := w.ReadFile("metadata/root.json")
	if doc, err := metadata.Parse([]byte(data)); err == nil {
		w.WriteFile(repository.RootFile(doc.Version()), data)
	}
}

// Sign adds signatures by name to a role's file in the work tree, in place of
// placeholders or older signatures of the same keyid.
func (w *World) Sign(role string, names ...string) *World {
	w.T.Helper()
	for _, n := range names {
		w.SignAs(role, Key(n).ID, n)
	}
	return w
}

// SignAs adds a signature made by one name's key under any keyid.
func (w *World) SignAs(role, keyid, name string) *World {
	w.T.Helper()
	tree := w.Tree(role)
	payload, err := metadata.Canonical(tree["signed"])
	if err != nil {
		w.T.Fatal(err)
	}
	sig, err := metadata.LocalSigner(Private(name)).Sign(context.Background(), payload)
	if err != nil {
		w.T.Fatal(err)
	}
	list, _ := tree["signatures"].([]any)
	one := metadata.Object{"keyid": keyid, "sig": hex.EncodeToString(sig)}
	i := slices.IndexFunc(list, func(e any) bool { return e.(metadata.Object)["keyid"] == keyid })
	if i < 0 {
		list = append(list, one)
	} else {
		list[i] = one
	}
	tree["signatures"] = list
	w.WriteFile(repository.MetadataFile(role), string(metadata.Write(tree)))
	if role == "root" {
		w.copyRoot()
	}
	return w
}

// Artifact writes a file below targets/.
func (w *World) Artifact(target, content string) *World {
	w.WriteFile("targets/"+target, content)
	return w
}

// List puts an artifact into a signed part with the length and hash of content.
func List(signed metadata.Object, target, content string) {
	signed["targets"].(metadata.Object)[target] = entry(content)
}

// Remove deletes a file of the work tree.
func (w *World) Remove(name string) *World {
	if err := os.RemoveAll(filepath.Join(w.Dir, name)); err != nil {
		w.T.Fatal(err)
	}
	return w
}

// OnMain runs change with main checked out, commits, and comes back to the
// event.
func (w *World) OnMain(change func()) *World {
	w.Commit("before main moves")
	w.Run("switch", "-q", "main")
	change()
	w.Commit("main moves")
	w.Run("switch", "-q", Event)
	return w
}

// Open opens the repository as the programs do.
func (w *World) Open() *repository.Repository {
	w.T.Helper()
	g, err := git.Open(context.Background(), w.Dir)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { g.Close() })
	r, err := repository.New(g, "")
	if err != nil {
		w.T.Fatal(err)
	}
	return r
}

// Status commits what the work tree holds and judges the event against main.
func (w *World) Status(policy repository.Policy) *repository.Status {
	w.T.Helper()
	w.Commit("event")
	e, err := w.Open().OpenEvent(context.Background(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		w.T.Fatal(err)
	}
	s, err := e.Status(context.Background(), w.Now, policy)
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// Roles is roles of a root's signed part, or of its delegations.
func Roles(signed metadata.Object, role string) metadata.Object {
	if roles, ok := signed["roles"].(metadata.Object); ok {
		return roles[role].(metadata.Object)
	}
	for _, o := range signed["delegations"].(metadata.Object)["roles"].([]any) {
		if o := o.(metadata.Object); o["name"] == role {
			return o
		}
	}
	panic(fmt.Sprintf("no role %s", role))
}

// AddKey lists a name's key for a role, in keyids and keys.
func AddKey(signed metadata.Object, role, name string) {
	o := Roles(signed, role)
	o["keyids"] = append(o["keyids"].([]any), Key(name).ID)
	Keys(signed)[Key(name).ID] = metadata.Clone(Key(name).Object)
}

// Keys is the keys object of a root's or targets' signed part.
func Keys(signed metadata.Object) metadata.Object {
	if keys, ok := signed["keys"].(metadata.Object); ok {
		return keys
	}
	return signed["delegations"].(metadata.Object)["keys"].(metadata.Object)
}

// SetKeys makes the keys of the given names the only ones of a role. Keys that
// no role lists any more are removed.
func SetKeys(signed metadata.Object, role string, names ...string) {
	Roles(signed, role)["keyids"] = []any{}
	for _, n := range names {
		AddKey(signed, role, n)
	}
	text := string(metadata.Write(signed["roles"]))
	if d, ok := signed["delegations"].(metadata.Object); ok {
		text = string(metadata.Write(d["roles"]))
	}
	for id := range Keys(signed) {
		if !strings.Contains(text, id) {
			delete(Keys(signed), id)
		}
	}
}
