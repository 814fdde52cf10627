package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// Whatever lies in the cache directory, an update succeeds and the file is
// right afterwards. Kills: a client that trusts its disk, or fails over it.
func TestBrokenCacheIsRepaired(t *testing.T) {
	foreign := clienttest.New()
	for _, role := range foreign.Roles {
		role.Signed["version"] = int64(50)
		role.Keys = []*clienttest.Key{clienttest.NewKey("stranger")}
	}
	foreign.Publish(root, targets)
	files := []string{"root.json", "timestamp.json", "snapshot.json", "targets.json", "A.json",
		"root_history/2.root.json", "root_history/3.root.json"}
	for _, file := range files {
		for name, hurt := range map[string]func(path string, good []byte) error{
			"gone":      func(path string, _ []byte) error { return os.Remove(path) },
			"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
			"truncated": func(path string, good []byte) error { return os.WriteFile(path, good[:len(good)/2], 0o600) },
			"garbage":   func(path string, _ []byte) error { return os.WriteFile(path, []byte("\x00\xff{"), 0o600) },
			"one bit": func(path string, good []byte) error {
				bad := bytes.Replace(good, []byte("2026"), []byte("2027"), 1)
				return os.WriteFile(path, bad, 0o600)
			},
			"another repository's": func(path string, _ []byte) error {
				role := strings.TrimSuffix(filepath.Base(path), ".json")
				if role == "A" {
					role = targets
				}
				if strings.HasSuffix(role, ".root") {
					role = root
				}
				return os.WriteFile(path, foreign.Current(role), 0o600)
			},
			"padded": func(path string, good []byte) error {
				return os.WriteFile(path, append(bytes.Clone(good), bytes.Repeat([]byte(" "), client.TargetsMaxLength)...), 0o600)
			},
			"endless": func(path string, good []byte) error { return os.Truncate(path, 1<<40) },
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				repo := clienttest.New()
				repo.Delegate(targets, "A", false, []string{"*"})
				repo.AddTarget("A", "tool", "content")
				repo.Publish(root, "A", targets)
				repo.Publish(root)
				u := newUser(t, repo)
				if _, err := u.client().Target(t.Context(), "tool"); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(u.dir, filepath.FromSlash(file))
				good, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := hurt(path, good); err != nil {
					t.Fatal(err)
				}
				if _, err := u.client().Target(t.Context(), "tool"); err != nil {
					t.Errorf("after damage: %v", err)
				}
				if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, good) {
					t.Errorf("the file was not repaired: %v", err)
				}
			})
		}
	}
}

// A power cut takes what was not synced. What is left still stops whoever wants
// to take the client back, and the rest is fetched again. Kills: a client that
// waits for the disk at every root, and one that never does.
func TestPowerCut(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"*"})
	repo.AddTarget("A", "tool", "content")
	repo.Publish("A", targets)
	before := repo.Clone()
	repo.Publish(root)
	repo.Publish(root)
	repo.Publish(targets)
	u := newUser(t, repo)
	var synced []string
	use := func() error {
		c := u.client()
		c.SetSync(func(f *os.File) error {
			name, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f.Name()), "."), ".json")
			synced = append(synced, name)
			return f.Sync()
		})
		_, err := c.Target(t.Context(), "tool")
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(synced, " "); got != "timestamp snapshot" {
		t.Errorf("synced %s", got)
	}
	lose := func() {
		t.Helper()
		n := 0
		err := filepath.WalkDir(u.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() == "timestamp.json" || d.Name() == "snapshot.json" {
				return err
			}
			n++
			return os.Truncate(path, 0)
		})
		if err != nil || n < 5 { // root.json, two roots, targets, A
			t.Fatalf("%d files, %v", n, err)
		}
	}
	lose()
	for _, role := range []string{root, root} {
		before.Publish(role) // an old timestamp, and as many roots
	}
	before.Files["metadata/2.root.json"], before.Files["metadata/3.root.json"] = repo.Files["metadata/2.root.json"], repo.Files["metadata/3.root.json"]
	u.repo = before
	bad[*client.RollbackError](u)

	lose()
	u.repo = repo
	if err := use(); err != nil {
		t.Fatal(err)
	}
	u.repo = clienttest.New() // nothing is asked of it
	offline := u.client(func(o *client.Options) { o.Offline = true })
	if _, err := offline.Target(t.Context(), "tool"); err != nil {
		t.Errorf("what was lost was not stored again: %v", err)
	}
}

// Things that are no files where files belong: the directory cannot be used,
// and the error says so in one sentence.
func TestUnusableCache(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a file in place of the directory": func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a directory named root.json":      func(dir string) error { return os.MkdirAll(filepath.Join(dir, "root.json", "x"), 0o700) },
		"a directory named timestamp.json": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "timestamp.json", "x"), 0o700) },
		"a directory in place of the lock": func(dir string) error { return os.MkdirAll(filepath.Join(dir, ".lock"), 0o700) },
		"a file named root_history": func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "root_history"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			repo.Publish(root)
			u := newUser(t, repo)
			if err := spoil(u.dir); err != nil {
				t.Fatal(err)
			}
			e := bad[*client.CacheError](u)
			if e.Path != u.dir || strings.Count(e.Error(), u.dir) != 1 {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	if err := os.Mkdir(u.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(u.dir, "probe")); err == nil {
		f.Close()
		t.Skip("this user may write everywhere")
	}
	if e := bad[*client.CacheError](u); !errors.Is(e, fs.ErrPermission) {
		t.Errorf("got %v", e)
	}
	err := client.Init(t.Context(), u.dir, u.root)
	refused[*client.CacheError](t, "init", err)
	wantFiles(t, u.dir)
}

// A crash between forgetting the old timestamp and storing the root that made
// it old leaves a directory that works, and never one that is stuck.
func TestCrashInFastForwardRecovery(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	hurt := repo.Clone()
	hurt.Roles[timestamp].Signed["version"] = int64(1) << 60
	hurt.Publish(timestamp)
	u.repo = hurt
	u.good("")
	repo.SetKeys(snapshot, 1, clienttest.NewKey("snapshot-2")) // timestamp's stay
	repo.Publish(root, targets)
	u.repo = repo
	// The root cannot be stored.
	history := filepath.Join(u.dir, "root_history")
	if err := os.WriteFile(history, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad[*client.CacheError](u)
	u.wantCached("root 1, targets 1")
	if err := os.Remove(history); err != nil {
		t.Fatal(err)
	}
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
}

// The stored chain is walked from the anchor every time. Kills: a client that
// takes root.json for the newest root because it lies there.
func TestCachedRootIsNotTrusted(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("")
	evil := clienttest.New()
	for _, role := range metadata.TopLevel {
		evil.SetKeys(role, 1, clienttest.NewKey("evil "+role))
	}
	evil.Publish(root, targets)
	for _, file := range []string{"root.json", "root_history/2.root.json"} {
		path := filepath.Join(u.dir, filepath.FromSlash(file))
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, evil.Current(root), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.good("root v1, timestamp v1, snapshot v1, targets v1")
	if data, _ := os.ReadFile(filepath.Join(u.dir, "root.json")); !bytes.Equal(data, repo.Current(root)) {
		t.Error("root.json was not repaired")
	}
	u.repo = evil
	bad[*client.QuorumError](u)
}

func TestInit(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	root1 := u.root
	u.root = nil
	if err := client.Init(t.Context(), u.dir, root1); err != nil {
		t.Fatal(err)
	}
	u.wantRequests("")
	u.wantCached("root 1")
	if data, _ := os.ReadFile(filepath.Join(u.dir, "root.json")); !bytes.Equal(data, root1) {
		t.Error("root.json is not what was given")
	}
	repo.Publish(root, targets)
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")

	// Again, as scripts do: it forgets nothing.
	if err := client.Init(t.Context(), u.dir, root1); err != nil {
		t.Fatal(err)
	}
	u.wantCached("root 2, snapshot 2, targets 2, timestamp 2")
	repo.Requests()
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	u.wantRequests("3.root.json timestamp.json")

	// A newer anchor goes on from there.
	if err := client.Init(t.Context(), u.dir, repo.Current(root)); err != nil {
		t.Fatal(err)
	}
	u.good("root v2, timestamp v2, snapshot v2, targets v2")
	u.wantRequests("3.root.json timestamp.json")

	// The anchor of another repository makes another client.
	other := clienttest.New()
	for _, role := range metadata.TopLevel {
		other.SetKeys(role, 1, clienttest.NewKey("other "+role))
	}
	other.Roles[root].Signed["version"] = int64(0)
	other.Publish(root, targets)
	if err := client.Init(t.Context(), u.dir, other.Files["metadata/1.root.json"]); err != nil {
		t.Fatal(err)
	}
	bad[*client.QuorumError](u)
	u.repo = other
	u.good("root v1, timestamp v2, snapshot v2, targets v2")
}

func TestOffline(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"*"})
	repo.AddTarget("A", "tool", "content")
	repo.AddTarget("A", "never fetched", "content")
	repo.Publish(root, "A", targets)
	u := newUser(t, repo)
	artifacts := filepath.Join(t.TempDir(), "artifacts")
	offline := func(o *client.Options) { o.Offline, o.MetadataURL, o.TargetsURL = true, "", "" }

	_, err := u.client(offline).Refresh(t.Context())
	refused[*client.NotCachedError](t, "empty cache", err)
	if _, err := os.Stat(u.dir); err == nil {
		t.Error("an offline client made a directory")
	}
	if _, err := u.client().Download(t.Context(), "tool", artifacts); err != nil {
		t.Fatal(err)
	}
	repo.Requests()

	c := u.client(offline)
	r, err := c.Refresh(t.Context())
	if err != nil || r.String() != "root 1 -> 2, timestamp v2, snapshot v2, targets v2" {
		t.Errorf("%s, %v", r, err)
	}
	d, err := c.Download(t.Context(), "tool", artifacts)
	if err != nil || !d.Cached {
		t.Fatalf("%+v, %v", d, err)
	}
	if data, err := d.ReadFile(); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	_, err = c.Download(t.Context(), "never fetched", artifacts)
	refused[*client.NotCachedError](t, "download", err)
	_, err = c.Download(t.Context(), "tool", t.TempDir())
	refused[*client.NotCachedError](t, "download elsewhere", err)
	_, _, err = c.Read(t.Context(), "tool")
	refused[*client.NotCachedError](t, "read", err)

	u.now = clienttest.Now.Add(Life)
	_, err = u.client(offline).Refresh(t.Context())
	refused[*client.ExpiredError](t, "expired", err)
	u.now = clienttest.Now

	// Every file counts, the artifact too, and none is written.
	for _, file := range []string{d.File, "A.json", "targets.json", "snapshot.json", "timestamp.json", "root_history/2.root.json"} {
		path := filepath.Join(u.dir, filepath.FromSlash(file))
		if filepath.IsAbs(file) {
			path = file
		}
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		evil := bytes.Replace(good, []byte("e"), []byte("f"), 1)
		if err := os.WriteFile(path, evil, 0o600); err != nil {
			t.Fatal(err)
		}
		c := u.client(offline)
		d, err := c.Download(t.Context(), "tool", artifacts)
		if err == nil && file != "root_history/2.root.json" { // root 1 still lists all the keys
			t.Errorf("%s was changed: got %+v", file, d)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, evil) {
			t.Errorf("%s was written", file)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u.wantRequests("")
}

func TestOfflineInReadOnlyDirectory(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("")
	if err := os.Remove(filepath.Join(u.dir, ".lock")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, u.dir)
	if _, err := u.client(func(o *client.Options) { o.Offline = true }).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, u.dir); after != before {
		t.Errorf("the directory changed:\n%s\n%s", before, after)
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDownload(t *testing.T) {
	repo := clienttest.New()
	for _, name := range []string{"tool", "dir/sub/tool", "../up", "..", "/etc/passwd", "a b?#%", "ä", strings.Repeat("n", 300)} {
		repo.AddTarget(targets, name, "content of "+name)
	}
	repo.Publish(targets)
	u := newUser(t, repo)
	parent := t.TempDir()
	dir := filepath.Join(parent, "new", "out")
	c := u.client()
	for name := range repo.Roles[targets].Signed["targets"].(metadata.Object) {
		d, err := c.Download(t.Context(), name, dir)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		data, err := os.ReadFile(d.File)
		if err != nil || string(data) != "content of "+name || d.Cached || filepath.Dir(d.File) != dir {
			t.Errorf("%q: %q in %s, %v", name, data, d.File, err)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 8 {
		t.Errorf("%d files: %v", len(entries), entries)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if above, _ := os.ReadDir(filepath.Join(parent, "new")); len(above) != 1 {
		t.Errorf("something was written outside: %v", above)
	}

	// What is there and right is not fetched again; what is not right is.
	repo.Requests()
	d, err := u.client().Download(t.Context(), "tool", dir)
	if err != nil || !d.Cached {
		t.Errorf("%+v, %v", d, err)
	}
	u.wantRequests("2.root.json timestamp.json")
	for _, other := range []string{"content of t0ol", "short", ""} {
		if err := os.WriteFile(d.File, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err = u.client().Download(t.Context(), "tool", dir)
		if data, _ := os.ReadFile(d.File); err != nil || d.Cached || string(data) != "content of tool" {
			t.Errorf("%+v %q, %v", d, data, err)
		}
	}
	// A symbolic link is replaced, not followed.
	secret := filepath.Join(parent, "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("mine"), 0o600), os.Remove(d.File), os.Symlink(secret, d.File)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.client().Download(t.Context(), "tool", dir); err != nil {
		t.Error(err)
	}
	if data, _ := os.ReadFile(secret); string(data) != "mine" {
		t.Errorf("wrote through a link: %q", data)
	}
}

func TestDownloadOfWhatCannotBeVerified(t *testing.T) {
	for name, entry := range map[string]metadata.Object{
		"unknown hash":  {"length": int64(7), "hashes": metadata.Object{"md5": "00"}},
		"hash no hex":   {"length": int64(7), "hashes": metadata.Object{"sha256": "../../x"}},
		"hash too long": {"length": int64(7), "hashes": metadata.Object{"sha256": strings.Repeat("0", 66)}},
		"huge":          {"length": int64(1<<63 - 1), "hashes": metadata.Object{"sha256": strings.Repeat("0", 64)}},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			repo.Roles[targets].Signed["targets"] = metadata.Object{"tool": entry}
			repo.Publish(targets)
			repo.Files[clienttest.TargetFile("tool", strings.Repeat("0", 64))] = []byte("content")
			u := newUser(t, repo)
			dir := t.TempDir()
			_, err := u.client().Download(t.Context(), "tool", dir)
			var length *client.LengthError
			var hash *client.HashError
			if !errors.As(err, &hash) && !errors.As(err, &length) {
				t.Errorf("got %v", err)
			}
			t.Log(err)
			wantFiles(t, dir)
		})
	}
}

// The full disk, as far as it can be had without one.
func TestDownloadIntoWhatIsNoDirectory(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "tool", "content")
	repo.Publish(targets)
	u := newUser(t, repo)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := u.client().Download(t.Context(), "tool", file)
	if e := refused[*client.CacheError](t, "download", err); e.Path != file {
		t.Errorf("got %v", e)
	}
}

// Several processes, each with goroutines that share a client and goroutines
// with their own, use one empty cache.
func TestSharedCache(t *testing.T) {
	const processes, rounds = 3, 6
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"*"})
	repo.AddTarget("A", "tool", "content")
	repo.Publish(root, "A", targets)
	u := newUser(t, repo)
	if err := client.Init(t.Context(), u.dir, u.root); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	start := make([]*bufio.Writer, 0, processes)
	for range processes {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+u.url, "WORKER_DIR="+u.dir, "WORKER_OUT="+filepath.Join(t.TempDir(), "out"))
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		start = append(start, bufio.NewWriter(stdin))
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("worker: %v\n%s", err, out)
			}
		})
	}
	for _, w := range start { // all at once
		fmt.Fprintln(w, rounds)
		w.Flush()
	}
	wg.Wait()
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	// Not more than the first one had to: the others found it in the cache.
	if got := repo.Requests(); strings.Count(got, "2.targets.json") != 1 || strings.Count(got, " 2.root.json")+strings.Count("x"+got, "x2.root.json") != 1 {
		t.Errorf("files were fetched more than once: %.400s", got)
	}
	entries, _ := os.ReadDir(u.dir)
	for _, e := range entries {
		switch e.Name() {
		case "root.json", "timestamp.json", "snapshot.json", "targets.json", "A.json", "root_history", "trust_anchor", ".lock":
		default:
			t.Errorf("left over: %s", e.Name())
		}
	}
}

// Many processes start from an old root that they embed, with one cache directory
// and nothing in it: 16 of them ten times each with TUFOPS_SOAK. Kills: a client
// that writes its own root over the newer one of another.
func TestSharedCacheFromEmbeddedRoot(t *testing.T) {
	processes, refreshes := 4, 3
	if os.Getenv("TUFOPS_SOAK") != "" {
		processes, refreshes = 16, 10
	}
	repo := clienttest.New()
	for range 12 {
		repo.Publish(root)
	}
	repo.Publish(root, targets)
	u := newUser(t, repo)
	anchor := filepath.Join(t.TempDir(), "embedded.json")
	if err := os.WriteFile(anchor, u.root, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var succeeded atomic.Int64
	for range processes {
		wg.Go(func() {
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), workerEnv+"="+u.url, "WORKER_DIR="+u.dir, "WORKER_ROOT="+anchor)
			cmd.Stdin = strings.NewReader(fmt.Sprintln(refreshes))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("worker: %v\n%s", err, out)
			}
			succeeded.Add(int64(strings.Count(string(out), "root 1 -> 14, timestamp v2, snapshot v2, targets v2\n")))
		})
	}
	wg.Wait()
	t.Logf("%d of %d refreshes succeed", succeeded.Load(), processes*refreshes)
	if succeeded.Load() != int64(processes*refreshes) {
		t.Errorf("%d of %d refreshes succeed", succeeded.Load(), processes*refreshes)
	}
	if got := repo.Requests(); strings.Count(got, "14.root.json") != 1 {
		t.Errorf("roots were fetched more than once: %.400s", got)
	}
	if got, err := os.ReadFile(filepath.Join(u.dir, "root.json")); err != nil || !bytes.Equal(got, repo.Current(root)) {
		t.Errorf("root.json is not the newest (%v)", err)
	}
}

// embedded refreshes again and again, each time as a program would that embeds a
// root, and prints what it found.
func embedded(url, dir, anchor string) error {
	var refreshes int
	if _, err := fmt.Scan(&refreshes); err != nil {
		return err
	}
	root, err := client.ReadRoot(anchor)
	if err != nil {
		return err
	}
	for range refreshes {
		c, err := client.New(client.Options{Root: root, MetadataURL: url + "/metadata", CacheDir: dir, Now: func() time.Time { return clienttest.Now }})
		if err != nil {
			return err
		}
		r, err := c.Refresh(context.Background())
		if err != nil {
			return err
		}
		fmt.Println(r)
	}
	return nil
}

const workerEnv = "TUFOPS_TEST_CLIENT_WORKER"

func TestMain(m *testing.M) {
	if only := os.Getenv("WORKER_LONGEST"); only != "" {
		longFiles(client.TargetsMaxLength, func(what string, update func() error) {
			if what != only {
				return
			}
			if err := update(); err == nil {
				fmt.Println(what + ": no error")
				os.Exit(1)
			}
		})
		os.Exit(0)
	}
	if url := os.Getenv(workerEnv); url != "" {
		work := func() error { return worker(url, os.Getenv("WORKER_DIR"), os.Getenv("WORKER_OUT")) }
		if anchor := os.Getenv("WORKER_ROOT"); anchor != "" {
			work = func() error { return embedded(url, os.Getenv("WORKER_DIR"), anchor) }
		}
		if err := work(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func worker(url, dir, out string) error {
	var rounds int
	if _, err := fmt.Scan(&rounds); err != nil {
		return err
	}
	o := client.Options{MetadataURL: url + "/metadata", TargetsURL: url + "/targets", CacheDir: dir,
		Now: func() time.Time { return clienttest.Now }}
	shared, err := client.New(o)
	if err != nil {
		return err
	}
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			errs <- func() error {
				for range rounds {
					c := shared
					if i%2 == 0 {
						var err error
						if c, err = client.New(o); err != nil {
							return err
						}
					}
					if _, err := c.Refresh(context.Background()); err != nil {
						return err
					}
					if _, err := c.Download(context.Background(), "tool", out); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range 8 {
		err = errors.Join(err, <-errs)
	}
	return err
}

// Whoever waits for the lock of another process can give up.
func TestWaitingForTheLockEnds(t *testing.T) {
	repo := clienttest.New()
	release := make(chan struct{})
	repo.Hook = func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
	u := newUser(t, repo)
	first := make(chan error, 1)
	go func() {
		_, err := u.client().Refresh(t.Context())
		first <- err
	}()
	for {
		if _, err := os.Stat(filepath.Join(u.dir, ".lock")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := u.client().Refresh(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), u.dir) {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
