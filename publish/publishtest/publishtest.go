// Package publishtest makes small signed repositories in git, for tests of what
// is published of them. A repository is drawn with [clienttest.Repo] and
// committed in the layout that people sign in; nothing is checked, so it may be
// as wrong as a test needs it.
package publishtest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

// Now is a moment at which everything drawn is valid.
var Now = clienttest.Now.Add(time.Hour)

// Repo is a repository in git and the drawing that the next commit is made of.
type Repo struct {
	*clienttest.Repo
	Git  *gittest.Repo
	repo *repository.Repository

	mu      sync.Mutex
	checked map[check]repository.Publishable
}

type check struct {
	commit git.OID
	at     time.Time
}

// New draws a repository with one artifact, a.txt, in the targets role. Nothing
// is committed.
func New(t testing.TB) *Repo {
	t.Helper()
	g := gittest.Init(t, t.TempDir()+"/repo")
	opened, err := git.Open(t.Context(), g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	repo, err := repository.New(opened, "")
	if err != nil {
		t.Fatal(err)
	}
	drawn := clienttest.New()
	drawn.AddTarget(metadata.Targets, "a.txt", "the first artifact\n")
	drawn.Publish(metadata.Targets)
	return &Repo{Repo: drawn, Git: g, repo: repo, checked: map[check]repository.Publishable{}}
}

// Commit commits what is drawn: the newest version of each role, all roots, and
// the artifacts that the roles list.
func (r *Repo) Commit(t testing.TB, message string) git.OID {
	t.Helper()
	for _, dir := range []string{"metadata", "targets"} {
		if err := os.RemoveAll(r.Git.Path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	for name, role := range r.Roles {
		r.Git.WriteFile("metadata/"+name+".json", string(r.Current(name)))
		targets, _ := role.Signed["targets"].(metadata.Object)
		for target, o := range targets {
			hash := o.(metadata.Object)["hashes"].(metadata.Object)["sha256"].(string)
			r.Git.WriteFile("targets/"+target, string(r.Files[clienttest.TargetFile(target, hash)]))
		}
	}
	for name, data := range r.Files {
		if strings.HasSuffix(name, ".root.json") {
			r.Git.WriteFile("metadata/root_history/"+path.Base(name), string(data))
		}
	}
	return git.OID(r.Git.Commit(message))
}

// Publishable checks a commit at [Now].
func (r *Repo) Publishable(t testing.TB, commit git.OID) repository.Publishable {
	t.Helper()
	return r.PublishableAt(t, commit, Now)
}

// PublishableAt is [Repo.Publishable] at another moment.
func (r *Repo) PublishableAt(t testing.TB, commit git.OID, now time.Time) repository.Publishable {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.checked[check{commit, now}]; ok {
		return p
	}
	published, err := r.repo.Published(t.Context(), commit, now)
	if err != nil {
		t.Fatal(err)
	}
	publishable, err := published.Publishable()
	if err != nil {
		t.Fatal(err)
	}
	r.checked[check{commit, now}] = publishable
	return publishable
}

// RotateOnlineKey gives timestamp and snapshot another key, in a new root, and
// publishes new versions of them; cosigned says that the outgoing key signs them
// too.
func (r *Repo) RotateOnlineKey(name string, cosigned bool) {
	for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
		old, key := r.Roles[role].Keys, clienttest.NewKey(name)
		r.SetKeys(role, 1, key)
		if cosigned {
			r.Roles[role].Keys = append(old[:len(old):len(old)], key)
		}
	}
	r.Publish(metadata.Root)
	r.Publish(metadata.Snapshot, metadata.Timestamp)
	for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
		r.Roles[role].Keys = []*clienttest.Key{clienttest.NewKey(name)}
	}
}

// RotateKey replaces the key of root or targets in a new root. The next version
// of the role is signed by both keys if cosigned says so.
func (r *Repo) RotateKey(role, name string, cosigned bool) {
	old, key := r.Roles[role].Keys, clienttest.NewKey(name)
	r.SetKeys(role, 1, key)
	if cosigned {
		r.Roles[role].Keys = append(old[:len(old):len(old)], key)
	}
	r.Publish(metadata.Root)
}

// Client is a client of what a store holds, that trusts root and keeps what it
// has verified in cacheDir; "" is memory.
func Client(t testing.TB, store publish.Reader, root []byte, cacheDir string) *client.Client {
	t.Helper()
	return ClientAt(t, store, root, cacheDir, func() time.Time { return Now })
}

// ClientAt is [Client] with a clock of its own.
func ClientAt(t testing.TB, store publish.Reader, root []byte, cacheDir string, now func() time.Time) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{
		Root: root, CacheDir: cacheDir, MetadataURL: "https://store.test/metadata", TargetsURL: "https://store.test/targets",
		Fetcher: fetcher{store}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type fetcher struct{ store publish.Reader }

func (f fetcher) Fetch(ctx context.Context, from string, _ int64) (io.ReadCloser, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	rd, _, err := f.store.Get(ctx, strings.TrimPrefix(u.Path, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &client.NotFoundError{URL: from}
	}
	return rd, err
}
