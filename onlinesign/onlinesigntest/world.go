// Package onlinesigntest makes small TUF repositories in real git, with online
// keys in files, and the things that happen to them: people merge, keys rotate,
// days pass.
//
// It trusts its caller: pushing what nobody should push is its purpose. Its
// people sign whatever they are told to.
package onlinesigntest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

// Start is when a [World] begins.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A World is an upstream with a TUF repository on main: root and targets at
// version 1, signed by alice, and nothing signed online yet. The online key is
// file2:online.pem, below KeyDir.
type World struct {
	Upstream *gittest.Upstream
	KeyDir   string
	Now      time.Time
	Site     string // what Publish builds: metadata/ and targets/

	t      testing.TB
	people *repository.Repository
}

// New makes a world. Periods of 0 get the defaults: timestamp 2/1, snapshot 365/60.
func New(t testing.TB, periods repository.OnlineConfig) *World {
	t.Helper()
	w := &World{Upstream: gittest.New(t), KeyDir: t.TempDir(), Now: Start, Site: t.TempDir(), t: t}
	seed := w.Upstream.Clone("people")
	seed.WriteFile("README.md", "a repository\n")
	seed.Commit("A start")
	seed.Push()
	w.people = w.Open(seed.Dir)
	periods.Key = w.OnlineKey("online.pem")
	periods.SnapshotExpiry, periods.SnapshotSigning = or(periods.SnapshotExpiry, 365), or(periods.SnapshotSigning, 60)
	alice := repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: PersonKey(t, "alice"), ExpiryPeriod: 3650, SigningPeriod: 60}
	w.Change("Initial root and targets", func(e *repository.Edit) error { return e.Init(alice, alice, periods) }, metadata.Root, metadata.Targets)
	return w
}

func or(days, otherwise int64) int64 {
	if days == 0 {
		return otherwise
	}
	return days
}

// Person signs for a name; the key is the same in every run.
func Person(name string) metadata.Signer {
	seed := sha256.Sum256([]byte(name))
	return metadata.LocalSigner(ed25519.NewKeyFromSeed(seed[:]))
}

// PersonKey is the key object of a [Person].
func PersonKey(t testing.TB, name string) *metadata.Key {
	t.Helper()
	key, err := metadata.NewKey(Person(name).Public(), "@"+name, "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// OnlineKey makes a new private key in a file and returns its key object, with
// the URI file2:NAME.
func (w *World) OnlineKey(name string) *metadata.Key {
	w.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	WriteKey(w.t, filepath.Join(w.KeyDir, name), private)
	key, err := metadata.NewKey(private.Public(), "", "file2:"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// WriteKey writes a private key as PKCS#8 in PEM.
func WriteKey(t testing.TB, name string, private any) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Keys finds the keys of this world.
func (w *World) Keys() onlinesign.Keys {
	return onlinesign.Services{file.Scheme: file.Keys{Prefix: w.KeyDir}}
}

// Clone is a checkout of main.
func (w *World) Clone(name string) *repository.Repository {
	w.t.Helper()
	return w.Open(w.Upstream.Clone(name).Dir)
}

// Open opens a checkout.
func (w *World) Open(dir string) *repository.Repository {
	w.t.Helper()
	g, err := git.Open(context.Background(), dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { g.Close() })
	repo, err := repository.New(g, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return repo
}

// Run signs online in a clone, and pushes.
func (w *World) Run(repo *repository.Repository) (onlinesign.Result, error) {
	return onlinesign.Run(context.Background(), w.Options(repo))
}

// Sign is Run in people's clone; it must succeed.
func (w *World) Sign() onlinesign.Result {
	w.t.Helper()
	r, err := w.Run(w.people)
	if err != nil {
		w.t.Fatalf("online-sign: %v", err)
	}
	return r
}

// Options are those of a run that pushes.
func (w *World) Options(repo *repository.Repository) onlinesign.Options {
	return onlinesign.Options{Repository: repo, Keys: w.Keys(), Now: w.Now, Remote: "origin"}
}

// Change is what people bring to main, as one commit: an edit, and alice's
// signature on some roles.
func (w *World) Change(message string, change func(*repository.Edit) error, sign ...string) git.OID {
	w.t.Helper()
	return w.push(message, func(ctx context.Context, state *repository.State) ([]git.FileChange, error) {
		edit, err := state.Edit(ctx, state, w.Now)
		if err != nil {
			return nil, err
		}
		if change != nil {
			if err := change(edit); err != nil {
				return nil, err
			}
		}
		for _, role := range sign {
			doc, err := edit.Document(role)
			if err != nil {
				return nil, err
			}
			sig, err := Person("alice").Sign(ctx, doc.Payload())
			if err != nil {
				return nil, err
			}
			if err := edit.AddSignature(role, PersonKey(w.t, "alice"), sig); err != nil {
				return nil, err
			}
		}
		return edit.Changes(ctx)
	})
}

// Artifact changes an artifact of targets and its metadata; alice signs if
// signed.
func (w *World) Artifact(name, content string, signed bool) git.OID {
	w.t.Helper()
	w.Write("Change "+name, map[string][]byte{"targets/" + name: []byte(content)})
	sign := []string{metadata.Targets}
	if !signed {
		sign = nil
	}
	return w.Change("Update targets metadata for role targets", func(e *repository.Edit) error {
		changed, err := e.SyncTargets(context.Background(), metadata.Targets)
		if err == nil && !changed {
			w.t.Fatalf("artifact %s did not change", name)
		}
		return err
	}, sign...)
}

// Rotate replaces the online key of both roles; alice signs the new root.
func (w *World) Rotate(key *metadata.Key) git.OID {
	w.t.Helper()
	return w.Change("'timestamp' role/delegation change", func(e *repository.Edit) error {
		return e.SetOnline(repository.OnlineConfig{Key: key})
	}, metadata.Root)
}

// Write commits files to main as they are given; nil deletes.
func (w *World) Write(message string, files map[string][]byte) git.OID {
	w.t.Helper()
	return w.push(message, func(context.Context, *repository.State) ([]git.FileChange, error) {
		var changes []git.FileChange
		for name, data := range files {
			changes = append(changes, git.FileChange{Path: name, Data: data, Delete: data == nil})
		}
		slices.SortFunc(changes, func(a, b git.FileChange) int { return map[bool]int{true: -1, false: 1}[a.Path < b.Path] })
		return changes, nil
	})
}

func (w *World) push(message string, work func(context.Context, *repository.State) ([]git.FileChange, error)) git.OID {
	w.t.Helper()
	ctx := context.Background()
	branch, err := w.people.Git.OpenBranch(ctx, "origin")
	if err != nil {
		w.t.Fatal(err)
	}
	state, err := w.people.At(ctx, branch.Head())
	if err != nil {
		w.t.Fatal(err)
	}
	changes, err := work(ctx, state)
	if err != nil {
		w.t.Fatalf("%s: %v", message, err)
	}
	oid, err := w.people.Git.WriteCommit(ctx, git.CommitOptions{Parent: branch.Head(), Changes: changes, Message: message, When: w.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := branch.Move(ctx, oid); err != nil {
		w.t.Fatal(err)
	}
	return oid
}

// State is the state of the upstream's main.
func (w *World) State() *repository.State {
	w.t.Helper()
	ctx := context.Background()
	branch, err := w.people.Git.OpenBranch(ctx, "origin")
	if err == nil {
		err = branch.Move(ctx, branch.Head())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	state, err := w.people.At(ctx, branch.Head())
	if err != nil {
		w.t.Fatal(err)
	}
	return state
}

// Document is a role's metadata on the upstream's main.
func (w *World) Document(role string) *metadata.Document {
	w.t.Helper()
	doc, err := w.State().Document(role)
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// Publish builds what main publishes into Site, over what is there, and returns
// what keeps it from being published.
func (w *World) Publish() error {
	ctx := context.Background()
	commit := w.State().Commit()
	published, err := w.people.Published(ctx, commit, w.Now)
	if err != nil {
		return err
	}
	publishable, err := published.Publishable()
	if err != nil {
		return err
	}
	if published, err = publishable.For(commit); err != nil {
		return err
	}
	tree, err := publish.NewTree(published)
	if err != nil {
		return err
	}
	return tree.Build(ctx, filepath.Join(w.Site, "metadata"), filepath.Join(w.Site, "targets"))
}

// Wait lets time pass.
func (w *World) Wait(d time.Duration) { w.Now = w.Now.Add(d) }

// Raw changes the signed part of a role by hand, to what no command of ours
// makes: the next version, with alice's signature.
func (w *World) Raw(role, message string, change func(signed metadata.Object)) git.OID {
	w.t.Helper()
	doc := w.Document(role)
	signed := metadata.Clone(doc.Signed())
	change(signed)
	signed["version"] = doc.Version() + 1
	next, err := doc.WithSigned(signed, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	sig, err := Person("alice").Sign(context.Background(), next.Payload())
	if err != nil {
		w.t.Fatal(err)
	}
	if next, err = next.WithSignature(PersonKey(w.t, "alice").ID, sig); err != nil {
		w.t.Fatal(err)
	}
	files := map[string][]byte{repository.MetadataFile(role): next.Bytes()}
	if role == metadata.Root {
		files[repository.RootFile(next.Version())] = next.Bytes()
	}
	return w.Write(message, files)
}
