// Package onlinesigntest makes small TUF repositories in real git, with online
// keys in files, and the things that happen to them: people merge, keys rotate,
// days pass.
//
// It trusts its caller: pushing what nobody should push is its purpose. Its
// people sign whatever they are told to.
package onlinesigntest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/mldsa"
	"filippo.io/mldsa/x509"

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
	main   *repository.Repository // the upstream itself
	people *repository.Repository // where Sign works; nil until it is needed
	state  *repository.State      // of the last look at main

	published string // commit and time of the last Publish
}

// New makes a world. Periods of 0 get the defaults: timestamp 2/1, snapshot 365/60.
func New(t testing.TB, periods repository.OnlineConfig) *World {
	t.Helper()
	periods.SnapshotExpiry, periods.SnapshotSigning = or(periods.SnapshotExpiry, 365), or(periods.SnapshotSigning, 60)
	w := &World{KeyDir: t.TempDir(), Now: Start, Site: t.TempDir(), t: t}
	if found, ok := begun.Load(fmt.Sprint(periods)); ok {
		from := found.(beginning)
		w.Upstream = from.upstream.Unpack(t)
		w.main = w.Open(w.Upstream.Dir)
		if err := os.WriteFile(filepath.Join(w.KeyDir, "online.pem"), from.key, 0o600); err != nil {
			t.Fatal(err)
		}
		return w
	}
	w.Upstream = gittest.New(t)
	w.main = w.Open(w.Upstream.Dir)
	w.importCommit("A start", "", []git.FileChange{{Path: "README.md", Data: []byte("a repository\n")}})
	online := periods
	online.Key = w.OnlineKey("online.pem")
	alice := repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: PersonKey(t, "alice"), ExpiryPeriod: 3650, SigningPeriod: 60}
	w.Change("Initial root and targets", func(e *repository.Edit) error { return e.Init(alice, alice, online) }, metadata.Root, metadata.Targets)
	key, err := os.ReadFile(filepath.Join(w.KeyDir, "online.pem"))
	if err != nil {
		t.Fatal(err)
	}
	begun.Store(fmt.Sprint(periods), beginning{key, w.Upstream.Pack()})
	return w
}

// begun are worlds as [New] returns them, by their periods: most tests begin with
// the same one.
var begun sync.Map

type beginning struct {
	key      []byte // online.pem
	upstream gittest.Packed
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
	return w.keep(name, private)
}

// MLDSAKey is OnlineKey with a key of ML-DSA. go-tuf reads no root that lists one.
func (w *World) MLDSAKey(name string, p mldsa.Parameters) *metadata.Key {
	w.t.Helper()
	private, err := mldsa.GenerateKey(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.keep(name, private)
}

func (w *World) keep(name string, private crypto.Signer) *metadata.Key {
	w.t.Helper()
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

// Sign signs online at main, without the way there and back: in a work tree of the
// upstream itself. It must succeed.
func (w *World) Sign() onlinesign.Result {
	w.t.Helper()
	r, err := w.TrySign(w.Keys())
	if err != nil {
		w.t.Fatalf("online-sign: %v", err)
	}
	return r
}

// TrySign is Sign with other keys and with places that clients are served from, and
// may fail.
func (w *World) TrySign(keys onlinesign.Keys, live ...onlinesign.Live) (onlinesign.Result, error) {
	w.t.Helper()
	head := w.Upstream.Head("main")
	if w.people == nil {
		dir := filepath.Join(w.t.TempDir(), "people")
		w.Upstream.Run("worktree", "add", "--quiet", "--detach", dir, head)
		w.people = w.Open(dir)
	} else if at, err := w.people.Git.Resolve(context.Background(), "HEAD"); err != nil || string(at) != head {
		w.Upstream.Run("-C", w.people.Git.Top(), "reset", "--quiet", "--hard", head)
	}
	o := w.Options(w.people)
	o.Remote, o.Keys, o.Live = "", keys, live
	r, err := onlinesign.Run(context.Background(), o)
	if err == nil && string(r.Commit) != head {
		w.Upstream.Run("update-ref", "refs/heads/main", string(r.Commit), head)
	}
	return r, err
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
	state := w.State()
	changes, err := work(context.Background(), state)
	if err != nil {
		w.t.Fatalf("%s: %v", message, err)
	}
	return w.importCommit(message, state.Commit(), changes)
}

// importCommit puts a commit onto main of the upstream: what a push leaves there,
// with one git process.
func (w *World) importCommit(message string, parent git.OID, changes []git.FileChange) git.OID {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/main\ncommitter People <people@example.com> %d +0000\ndata %d\n%s\n", w.Now.Unix(), len(message), message)
	if parent != "" {
		fmt.Fprintf(&b, "from %s\n", parent)
	}
	for _, c := range changes {
		if c.Delete {
			fmt.Fprintf(&b, "D %q\n", c.Path)
			continue
		}
		fmt.Fprintf(&b, "M 100644 inline %q\ndata %d\n%s\n", c.Path, len(c.Data), c.Data)
	}
	if _, err := w.Upstream.Input(b.String(), "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"); err != nil {
		w.t.Fatal(err)
	}
	return git.OID(w.Upstream.Head("main"))
}

// State is the state of the upstream's main.
func (w *World) State() *repository.State {
	w.t.Helper()
	head := git.OID(w.Upstream.Head("main"))
	if w.state != nil && w.state.Commit() == head {
		return w.state
	}
	state, err := w.main.At(context.Background(), head)
	if err != nil {
		w.t.Fatal(err)
	}
	w.state = state
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
// what keeps it from being published. A second call at the same moment does nothing.
func (w *World) Publish() error {
	ctx := context.Background()
	commit := w.State().Commit()
	what := fmt.Sprint(commit, w.Now)
	if w.published == what {
		return nil
	}
	published, err := w.main.Published(ctx, commit, w.Now)
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
	tree, err := publish.NewTree(ctx, published, nil)
	if err != nil {
		return err
	}
	if err := tree.Build(ctx, filepath.Join(w.Site, "metadata"), filepath.Join(w.Site, "targets")); err != nil {
		return err
	}
	w.published = what
	return nil
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
