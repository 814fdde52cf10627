package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
)

// user is somebody with a client, who trusts one root and remembers what was
// verified, from one update to the next.
type user interface {
	// refresh updates from a site at a moment. After a failure, version says how
	// far the update came.
	refresh(ctx context.Context, from *site, at time.Time) error
	// version of a top-level role that the last update has verified; 0 for none.
	version(role string) int64
	// find looks an artifact up in what the last update, which succeeded, found.
	// That no role lists it is errNotFound.
	find(ctx context.Context, path string) (artifact, error)
	// download fetches an artifact and verifies it.
	download(ctx context.Context, path string) error
}

var errNotFound = errors.New("no role that clients ask lists it")

// artifact is what a client has found of one.
type artifact struct {
	length int64
	hashes map[string]string
}

// is reports whether the artifact is the one that a role lists: same length, and
// no hash that differs of at least one that both name.
func (a artifact) is(listed metadata.TargetFile) bool {
	common := 0
	for algorithm, hash := range a.hashes {
		other, both := listed.Hashes[algorithm]
		if both && !strings.EqualFold(hash, other) {
			return false
		}
		if both {
			common++
		}
	}
	return common > 0 && a.length == listed.Length
}

// kind is a client program.
type kind struct {
	name string
	// user makes one who trusts a root. dir is a folder of their own for what was
	// verified, if the client keeps that in one; "" where they update only once. A
	// root that the client does not take is an error, here or in refresh.
	user func(root []byte, dir string) (user, error)
}

var kinds = []kind{{"tufops-client", newOurs}, {"go-tuf", newTheirs}}

// ours is our client, with its cache in memory.
type ours struct {
	client *client.Client
	result *client.Result
	site   *site
	now    time.Time
}

func newOurs(root []byte, _ string) (user, error) {
	u := &ours{result: &client.Result{}}
	var err error
	u.client, err = client.New(client.Options{
		Root: root, MetadataURL: gotuf.Base + "metadata", TargetsURL: gotuf.Base + "targets",
		Fetcher: u, Now: func() time.Time { return u.now },
	})
	return u, err
}

// Fetch serves the site to the client.
func (u *ours) Fetch(ctx context.Context, from string, _ int64) (io.ReadCloser, error) {
	parsed, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, err := u.site.open(ctx, strings.TrimPrefix(parsed.Path, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &client.NotFoundError{URL: from}
	}
	return io.NopCloser(bytes.NewReader(data)), err
}

func (u *ours) refresh(ctx context.Context, from *site, at time.Time) (err error) {
	u.site, u.now = from, at
	u.result, err = u.client.Refresh(ctx)
	return err
}

func (u *ours) version(role string) int64 {
	return map[string]int64{
		metadata.Root: u.result.Root().Version, metadata.Timestamp: u.result.Timestamp.Version,
		metadata.Snapshot: u.result.Snapshot.Version, metadata.Targets: u.result.Targets.Version,
	}[role]
}

func (u *ours) find(ctx context.Context, path string) (artifact, error) {
	info, err := u.client.Target(ctx, path)
	if errors.As(err, new(*client.TargetNotFoundError)) {
		err = errNotFound
	}
	return artifact{info.Length, info.Hashes}, err
}

func (u *ours) download(ctx context.Context, path string) error {
	_, _, err := u.client.Read(ctx, path)
	return err
}

// theirs is go-tuf. Its updater serves one update, and what the next one
// remembers lies in a folder.
type theirs struct {
	root   []byte
	dir    string
	client *gotuf.Client
}

func newTheirs(root []byte, dir string) (user, error) {
	return &theirs{root: root, dir: dir}, nil // the root is verified at each update
}

func (u *theirs) refresh(ctx context.Context, from *site, at time.Time) (err error) {
	u.client, err = gotuf.New(gotuf.Options{Root: u.root, Now: at, Dir: u.dir, Open: func(name string) ([]byte, error) {
		return from.open(ctx, name)
	}})
	if err != nil {
		return err
	}
	return u.client.Refresh()
}

func (u *theirs) version(role string) int64 {
	if u.client == nil {
		return 0
	}
	return u.client.Version(role)
}

func (u *theirs) find(_ context.Context, path string) (artifact, error) {
	t, err := u.client.Target(path)
	if errors.Is(err, gotuf.ErrTargetNotFound) {
		err = errNotFound
	}
	return artifact{t.Length, t.Hashes}, err
}

func (u *theirs) download(_ context.Context, path string) error {
	t, err := u.client.Target(path)
	if err != nil {
		return err
	}
	_, err = u.client.Download(t)
	return err
}

// words are an error of a client without the address that it believed in.
func words(err error) string { return strings.ReplaceAll(err.Error(), gotuf.Base, "") }

// versions say what a user has: "root v2, targets v3".
func versions(u user) string {
	return fmt.Sprintf("root v%d, targets v%d", u.version(metadata.Root), u.version(metadata.Targets))
}
