package publish_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

func run(t testing.TB, r *publishtest.Repo, commit git.OID, store publish.Store) (publish.DestinationReport, error) {
	t.Helper()
	report, err := publish.Run(t.Context(), publish.Options{
		Commit: commit, Publishable: r.Publishable(t, commit), To: []publish.Destination{{URL: "store:", Store: store}},
	})
	if report == nil {
		t.Fatal(err)
	}
	return report.Destinations[0], err
}

func mustRun(t testing.TB, r *publishtest.Repo, commit git.OID, store publish.Store) publish.DestinationReport {
	t.Helper()
	report, err := run(t, r, commit, store)
	if err != nil {
		t.Fatalf("publish %.8s: %v", commit, err)
	}
	return report
}

func written(r publish.DestinationReport) string {
	var names []string
	for _, f := range r.Written {
		_, name, _ := strings.Cut(f.Name, "/")
		if hash, rest, ok := strings.Cut(name, "."); ok && len(hash) == 64 {
			name = rest
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func codes(r publish.DestinationReport) string {
	var list []string
	for _, n := range r.Notes {
		list = append(list, n.Code)
	}
	return strings.Join(list, " ")
}

func TestOnlyWhatWasChecked(t *testing.T) {
	r := publishtest.New(t)
	first := r.Commit(t, "first")
	r.Publish(metadata.Timestamp)
	second := r.Commit(t, "second")
	store := &storetest.Memory{}
	to := []publish.Destination{{URL: "store:", Store: store}}
	if _, err := publish.Run(t.Context(), publish.Options{Commit: second, To: to}); !errors.Is(err, repository.ErrUnchecked) {
		t.Errorf("a zero Publishable gives %v, want ErrUnchecked", err)
	}
	var other *repository.OtherCommitError
	if _, err := publish.Run(t.Context(), publish.Options{Commit: second, Publishable: r.Publishable(t, first), To: to}); !errors.As(err, &other) {
		t.Errorf("another commit's Publishable gives %v, want OtherCommitError", err)
	}
	if _, err := publish.Run(t.Context(), publish.Options{Publishable: r.Publishable(t, first), To: to}); !errors.As(err, &other) {
		t.Errorf("no commit gives %v, want OtherCommitError", err)
	}
	if n := store.Writes(); n != 0 {
		t.Errorf("%d writes", n)
	}
}

// TestWrongCallsDoNotCompile: the compiler refuses to publish what was not
// checked.
func TestWrongCallsDoNotCompile(t *testing.T) {
	// One call for all, as it is the go command's start that takes time.
	out, err := exec.Command("go", "build", "-gcflags=-e", "./testdata/wrongcall/...").CombinedOutput()
	if err == nil {
		t.Fatal("the wrong calls compile")
	}
	said := map[string]string{} // by package
	for part := range strings.SplitSeq("\n"+string(out), "\n# ") {
		name, text, _ := strings.Cut(part, "\n")
		said[name[strings.LastIndexByte(name, '/')+1:]] = text
	}
	if said["control"] != "" {
		t.Fatalf("the right call does not compile either: %s", said["control"])
	}
	for name, want := range map[string]string{
		"unchecked": "cannot use p",
		"forged":    "repository.Publishable",
		"literal":   "cannot use t",
	} {
		if said[name] == "" {
			t.Errorf("%s compiles", name)
		} else if !strings.Contains(said[name], want) {
			t.Errorf("%s does not compile for another reason than meant: %s", name, said[name])
		}
	}
}

func TestPublish(t *testing.T) {
	r := publishtest.New(t)
	r.Delegate(metadata.Targets, "npm", true, []string{"npm/*", "npm/*/*/*"})
	r.AddTarget("npm", "npm/deep/er/b.txt", "b\n")
	r.Publish("npm", metadata.Targets)
	commit := r.Commit(t, "first")
	store := &storetest.Memory{}

	// A dry run says what the run then does.
	options := publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), DryRun: true, To: []publish.Destination{{Store: store}}}
	dry, err := publish.Run(t.Context(), options)
	if err != nil || store.Writes() != 0 {
		t.Fatalf("the dry run made %d writes and gave %v", store.Writes(), err)
	}
	report := mustRun(t, r, commit, store)
	const order = "a.txt npm/deep/er/%s.b.txt 3.targets.json 1.npm.json 3.snapshot.json 1.root.json timestamp.json index.html status.json"
	got := written(report)
	if want := written(dry.Destinations[0]); got != want || !dry.Changed || !dry.DryRun {
		t.Errorf("written %s, the dry run said %s", got, want)
	}
	if i, j := strings.Index(got, "npm/deep/er/"), strings.Index(got, "b.txt"); i < 0 || got[:i+12]+"%s."+got[j:] != order {
		t.Errorf("written %s, want %s", got, order)
	}

	// It is what build writes.
	published, err := r.Publishable(t, commit).For(commit)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := publish.NewTree(t.Context(), published, nil)
	if err != nil {
		t.Fatal(err)
	}
	built := t.TempDir()
	if err := tree.Build(t.Context(), filepath.Join(built, "metadata"), filepath.Join(built, "targets")); err != nil {
		t.Fatal(err)
	}
	if got, want := store.Content(), files(t, built); !maps.Equal(got, want) {
		t.Errorf("published %v, built %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}

	// Again, and later: nothing to do.
	writes := store.Writes()
	for _, now := range []time.Time{publishtest.Now, publishtest.Now.Add(5 * 24 * time.Hour)} {
		counted := &counting{Store: store}
		again, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.PublishableAt(t, commit, now), To: []publish.Destination{{Store: counted}}})
		if err != nil || again.Changed || store.Writes() != writes {
			t.Errorf("the run at %v changed %v, error %v", now, again.Destinations[0].Written, err)
		}
		if counted.requests.Load() > 3 {
			t.Errorf("nothing to do took %d requests, want at most 3", counted.requests.Load())
		}
	}

	// Only the timestamp.
	r.Publish(metadata.Timestamp)
	next := mustRun(t, r, r.Commit(t, "timestamp"), store)
	if got := written(next); got != "timestamp.json index.html" {
		t.Errorf("written %s for a new timestamp", got)
	}
	if want := []publish.RoleChange{{Role: "root", From: 1, To: 1}, {Role: "timestamp", From: 3, To: 4}, {Role: "snapshot", From: 3, To: 3}}; !slices.Equal(next.Roles, want) {
		t.Errorf("roles %v, want %v", next.Roles, want)
	}

	// Removed by hand.
	for name := range store.Content() {
		if strings.HasSuffix(name, ".a.txt") {
			store.Remove(name)
		}
	}
	commit = git.OID(r.Git.Run("rev-parse", "HEAD"))
	deep, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), Deep: true, To: []publish.Destination{{Store: store}}})
	if err != nil || written(deep.Destinations[0]) != "a.txt" {
		t.Errorf("deep wrote %s, error %v", written(deep.Destinations[0]), err)
	}
}

type counting struct {
	publish.Store
	requests atomic.Int64
}

func (c *counting) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	c.requests.Add(1)
	return c.Store.Get(ctx, name)
}

func (c *counting) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	c.requests.Add(1)
	return c.Store.List(ctx, prefix)
}

func files(t testing.TB, root string) map[string]string {
	t.Helper()
	content := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		content[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// change is one step from a published state to the next.
type change struct {
	name string
	make func(r *publishtest.Repo)
	// order is what is written, but for pages.
	order string
	note  string
	// fails says that clients fail right after this write, unavoidably.
	fails string
}

var changes = []change{
	{name: "timestamp", order: "timestamp.json",
		make: func(r *publishtest.Repo) { r.Publish(metadata.Timestamp) }},
	{name: "artifact", order: "b.txt 3.targets.json 3.snapshot.json timestamp.json",
		make: func(r *publishtest.Repo) {
			r.AddTarget(metadata.Targets, "b.txt", "b")
			r.Publish(metadata.Targets)
		}},
	{name: "artifact replaced", order: "a.txt 3.targets.json 3.snapshot.json timestamp.json",
		make: func(r *publishtest.Repo) {
			r.AddTarget(metadata.Targets, "a.txt", "new")
			r.Publish(metadata.Targets)
		}},
	{name: "delegated role", order: "b.txt 3.targets.json 1.d.json 3.snapshot.json timestamp.json",
		make: func(r *publishtest.Repo) {
			r.Delegate(metadata.Targets, "d", true, []string{"*.txt"})
			r.AddTarget("d", "b.txt", "b")
			r.Publish("d", metadata.Targets)
		}},
	{name: "root rotation", order: "2.root.json timestamp.json",
		make: func(r *publishtest.Repo) {
			r.RotateKey(metadata.Root, "root2", true)
			r.Publish(metadata.Timestamp)
		}},
	{name: "root alone", order: "2.root.json",
		make: func(r *publishtest.Repo) { r.RotateKey(metadata.Root, "root2", true) }},
	{name: "two roots", order: "3.targets.json 3.snapshot.json 3.root.json 2.root.json timestamp.json",
		make: func(r *publishtest.Repo) {
			r.RotateKey(metadata.Root, "root2", true)
			r.RotateKey(metadata.Root, "root3", true)
			r.Publish(metadata.Targets)
		}},
	{name: "targets key", order: "3.targets.json 3.snapshot.json timestamp.json 2.root.json", note: publish.NoteTimestampFirst,
		make: func(r *publishtest.Repo) {
			r.RotateKey(metadata.Targets, "targets2", true)
			r.Publish(metadata.Targets)
		}},
	{name: "targets key, old one does not sign", order: "3.targets.json 3.snapshot.json 2.root.json timestamp.json", note: publish.NoteWindow, fails: "2.root.json",
		make: func(r *publishtest.Repo) {
			r.RotateKey(metadata.Targets, "targets2", false)
			r.Publish(metadata.Targets)
		}},
	{name: "online key", order: "3.snapshot.json timestamp.json 2.root.json", note: publish.NoteTimestampFirst,
		make: func(r *publishtest.Repo) { r.RotateOnlineKey("online2", true) }},
	{name: "online key with an artifact", order: "b.txt 3.targets.json 4.snapshot.json timestamp.json 2.root.json", note: publish.NoteTimestampFirst,
		make: func(r *publishtest.Repo) {
			r.AddTarget(metadata.Targets, "b.txt", "b")
			r.Publish(metadata.Targets)
			r.RotateOnlineKey("online2", true)
		}},
	{name: "online key, old one does not sign", order: "3.snapshot.json 2.root.json timestamp.json", note: publish.NoteWindow, fails: "2.root.json",
		make: func(r *publishtest.Repo) { r.RotateOnlineKey("online2", false) }},
	{name: "all keys", order: "3.targets.json 4.snapshot.json timestamp.json 4.root.json 3.root.json 2.root.json", note: publish.NoteTimestampFirst,
		make: func(r *publishtest.Repo) {
			r.RotateKey(metadata.Root, "root2", true)
			r.RotateKey(metadata.Targets, "targets2", true)
			r.Publish(metadata.Targets)
			r.RotateOnlineKey("online2", true)
		}},
}

// TestFaults stops at every write, before it and after it, and asks clients that
// know nothing but the first root, and clients that know the state of before.
func TestFaults(t *testing.T) {
	var stops, seenStates atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d stops leave %d states, each with a new and a warm client of both kinds, and the warm ones again after the next run", stops.Load(), seenStates.Load())
	})
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := publishtest.New(t)
			root := r.Files["metadata/1.root.json"]
			old := &storetest.Memory{}
			mustRun(t, r, r.Commit(t, "before"), old)
			before := update(t, publishtest.Client(t, old, root, ""), nil)
			known2 := t.TempDir() // what a warm go-tuf has
			before2 := updateTheirs(t, old, root, known2, nil)
			c.make(r)
			commit := r.Commit(t, "after")

			clean := &storetest.Faulty{Store: old.Clone()}
			report := mustRun(t, r, commit, clean)
			pages := " index.html status.json"
			if c.name == "timestamp" {
				pages = " index.html"
			}
			if got, want := written(report), c.order+pages; got != want {
				t.Errorf("written %s, want %s", got, want)
			}
			if got := codes(report); got != c.note {
				t.Errorf("notes %q, want %q", got, c.note)
			}
			want := clean.Store.(*storetest.Memory).Content()
			update(t, publishtest.Client(t, clean, root, ""), before)
			updateTheirs(t, clean, root, "", before2)

			// A write that is stored leaves what the next one leaves that is not: so
			// each state is looked at once, and the run that follows is made once.
			var states []map[string]string
			writes := clean.Writes()
			for stop := 1; stop <= len(writes); stop++ {
				for _, stored := range []bool{false, true} {
					where := fmt.Sprintf("stopped at %s, stored %v", writes[stop-1], stored)
					store := old.Clone()
					if _, err := run(t, r, commit, &storetest.Faulty{Store: store, Stop: stop, Stored: stored}); !errors.Is(err, storetest.ErrStopped) {
						t.Fatalf("%s: %v", where, err)
					}
					stops.Add(1)
					state := store.Content()
					if slices.ContainsFunc(states, func(s map[string]string) bool { return maps.Equal(s, state) }) {
						continue
					}
					states = append(states, state)
					last := writes[stop-1]
					if !stored {
						last = ""
						if stop > 1 {
							last = writes[stop-2]
						}
					}
					site := &moving{old}
					known := publishtest.Client(t, site, root, "")
					update(t, known, nil)
					site.Reader = store
					theirs := t.TempDir()
					if err := os.CopyFS(theirs, os.DirFS(known2)); err != nil {
						t.Fatal(err)
					}
					seen, seen2 := before, before2
					if c.fails == "" || last != "metadata/"+c.fails {
						update(t, publishtest.Client(t, store, root, ""), before)
						seen = update(t, known, before)
						updateTheirs(t, store, root, "", before2)
						seen2 = updateTheirs(t, store, root, theirs, before2)
					} else if _, err := known.Refresh(t.Context()); err == nil {
						t.Errorf("%s: clients do not fail; the note is wrong", where)
					}
					if _, err := run(t, r, commit, store); err != nil {
						t.Fatalf("%s: the next run: %v", where, err)
					}
					if got := store.Content(); !maps.Equal(got, want) {
						t.Errorf("%s: the next run ends as %v, a clean one as %v", where, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
					}
					update(t, known, seen) // a new one has been there after the clean run
					updateTheirs(t, store, root, theirs, seen2)
					seenStates.Add(1)
				}
			}
			if len(states) < len(writes)+1 { // of what is written at the same time either may be first
				t.Errorf("%d writes leave only %d states", len(writes), len(states))
			}
		})
	}
}

// moving is where a client looks, which then goes on.
type moving struct{ publish.Reader }

// update lets a client update and read the artifact that every state has. It
// must not come out older than before.
func update(t testing.TB, c *client.Client, before *client.Result) *client.Result {
	t.Helper()
	result, err := c.Refresh(t.Context())
	if err == nil {
		_, _, err = c.Read(t.Context(), "a.txt")
	}
	if err != nil {
		t.Fatalf("a client fails: %v", err)
	}
	if before != nil && (result.Root().Version < before.Root().Version || result.Timestamp.Version < before.Timestamp.Version ||
		result.Snapshot.Version < before.Snapshot.Version || result.Targets.Version < before.Targets.Version) {
		t.Fatalf("a client goes back from %v to %v", before, result)
	}
	return result
}

// versions are what a client has of the top-level roles.
type versions map[string]int64

// updateTheirs is update with go-tuf, which keeps what it verified in dir, or
// nowhere.
func updateTheirs(t testing.TB, store publish.Reader, root []byte, dir string, before versions) versions {
	t.Helper()
	c, err := gotuf.New(gotuf.Options{Root: root, Now: publishtest.Now, Dir: dir, Open: func(name string) ([]byte, error) {
		rd, _, err := store.Get(t.Context(), name)
		if err != nil {
			return nil, err
		}
		defer rd.Close()
		return io.ReadAll(rd)
	}})
	if err == nil {
		err = c.Refresh()
	}
	var target gotuf.Target
	if err == nil {
		target, err = c.Target("a.txt")
	}
	if err == nil {
		_, err = c.Download(target)
	}
	if err != nil {
		t.Fatalf("go-tuf fails: %v", err)
	}
	now := versions{}
	for _, role := range metadata.TopLevel {
		if now[role] = c.Version(role); now[role] < before[role] {
			t.Fatalf("go-tuf goes back from %v to %v", before, now)
		}
	}
	return now
}

// TestFaultsOnDisk does the same to a directory for the hardest change.
func TestFaultsOnDisk(t *testing.T) {
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	open := func(path string) publish.Store {
		s, err := dir.Open(path, dir.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := filepath.Join(t.TempDir(), "old")
	mustRun(t, r, r.Commit(t, "before"), open(old))
	before := update(t, publishtest.Client(t, open(old), root, ""), nil)
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	r.RotateOnlineKey("online2", true)
	commit := r.Commit(t, "after")
	copied := func() string {
		path := filepath.Join(t.TempDir(), "site")
		if err := os.CopyFS(path, os.DirFS(old)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	clean := copied()
	n := len(mustRun(t, r, commit, open(clean)).Written)
	for stop := 1; stop <= n; stop++ {
		for _, stored := range []bool{false, true} {
			path := copied()
			if _, err := run(t, r, commit, &storetest.Faulty{Store: open(path), Stop: stop, Stored: stored}); !errors.Is(err, storetest.ErrStopped) {
				t.Fatal(err)
			}
			update(t, publishtest.Client(t, open(path), root, ""), before)
			mustRun(t, r, commit, open(path))
			if got, want := files(t, path), files(t, clean); !maps.Equal(got, want) {
				t.Errorf("stop %d: %v, want %v", stop, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		}
	}
}

// TestRollbackGuard: what a destination shows counts if it is signed, and then
// it is never taken back.
func TestRollbackGuard(t *testing.T) {
	const timestamp = "metadata/timestamp.json"
	for _, test := range []struct {
		name string
		// later changes the repository after it was committed, and what is then
		// drawn is what the destination shows.
		later func(r *publishtest.Repo, store *storetest.Memory)
		want  any // a pointer to the type of the error; nil: none
		text  string
		note  string
	}{
		{"newer timestamp", func(r *publishtest.Repo, store *storetest.Memory) {
			r.Publish(metadata.Timestamp)
			store.Set(timestamp, string(r.Files[timestamp]))
		}, new(*publish.NewerError), "timestamp version 4", ""},
		{"newer timestamp, expired", func(r *publishtest.Repo, store *storetest.Memory) {
			r.Roles[metadata.Timestamp].Expire(publishtest.Now.Add(-time.Minute))
			r.Publish(metadata.Timestamp)
			store.Set(timestamp, string(r.Files[timestamp]))
		}, new(*publish.NewerError), "timestamp version 4", ""},
		{"newer timestamp of a stranger", func(r *publishtest.Repo, store *storetest.Memory) {
			r.Roles[metadata.Timestamp].Keys = []*clienttest.Key{clienttest.NewKey("mallory")}
			r.Publish(metadata.Timestamp)
			store.Set(timestamp, string(r.Files[timestamp]))
		}, nil, "", publish.NoteTimestampReplaced},
		{"garbage", func(_ *publishtest.Repo, store *storetest.Memory) { store.Set(timestamp, "<html>503</html>") }, nil, "", publish.NoteTimestampReplaced},
		{"huge garbage", func(_ *publishtest.Repo, store *storetest.Memory) { store.Set(timestamp, strings.Repeat("x", 1<<20)) }, nil, "", publish.NoteTimestampReplaced},
		{"empty", func(_ *publishtest.Repo, store *storetest.Memory) { store.Set(timestamp, "") }, nil, "", publish.NoteTimestampReplaced},
		{"another role", func(r *publishtest.Repo, store *storetest.Memory) {
			store.Set(timestamp, string(r.Current(metadata.Root)))
		}, nil, "", publish.NoteTimestampReplaced},
		{"gone", func(_ *publishtest.Repo, store *storetest.Memory) { store.Remove(timestamp) }, nil, "", ""},
		{"older timestamp", func(_ *publishtest.Repo, store *storetest.Memory) {}, nil, "", ""},
		{"equal version, other bytes", func(r *publishtest.Repo, store *storetest.Memory) {
			r.Roles[metadata.Timestamp].Expire(publishtest.Now.Add(time.Hour))
			store.Set(timestamp, string(r.Roles[metadata.Timestamp].Sign()))
		}, new(*publish.SameVersionError), "timestamp version 3", ""},
		{"newer root", func(r *publishtest.Repo, store *storetest.Memory) {
			r.RotateKey(metadata.Root, "root2", true)
			store.Set("metadata/2.root.json", string(r.Files["metadata/2.root.json"]))
		}, new(*publish.NewerError), "root version 2", ""},
		{"root of a stranger", func(r *publishtest.Repo, store *storetest.Memory) {
			r.RotateKey(metadata.Root, "mallory", false)
			store.Set("metadata/2.root.json", string(r.Files["metadata/2.root.json"]))
		}, new(*publish.ForeignRootError), "metadata/2.root.json", ""},
		{"newer snapshot below an older timestamp", func(r *publishtest.Repo, store *storetest.Memory) {
			r.Publish(metadata.Snapshot) // version 3
			r.Roles[metadata.Timestamp].Signed["version"] = int64(1)
			r.Publish(metadata.Timestamp)
			store.Set(timestamp, string(r.Files[timestamp]))
			store.Set("metadata/3.snapshot.json", string(r.Files["metadata/3.snapshot.json"]))
		}, new(*publish.NewerError), "snapshot version 3", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := publishtest.New(t)
			store := &storetest.Memory{}
			mustRun(t, r, r.Commit(t, "live"), store)
			r.Publish(metadata.Timestamp)
			commit := r.Commit(t, "ours")
			ours := string(r.Files[timestamp])
			test.later(r, store)
			live := store.Content()
			report, err := run(t, r, commit, store)
			got := store.Content()
			if test.want == nil {
				if err != nil || got[timestamp] != ours || codes(report) != test.note {
					t.Errorf("error %v, notes %v, want %q", err, report.Notes, test.note)
				}
				return
			}
			if !errors.As(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want a %T with %q", err, test.want, test.text)
			}
			if hint := (interface{ Hint() string })(nil); !errors.As(err, &hint) || hint.Hint() == "" {
				t.Errorf("%v: no hint", err)
			}
			// What was signed past the status page was not published by us.
			if _, foreign := test.want.(**publish.ForeignRootError); !foreign && !strings.Contains(err.Error(), "; the status page there ") {
				t.Errorf("%v: it does not say who", err)
			}
			if _, foreign := test.want.(**publish.ForeignRootError); foreign {
				// It is reported; the timestamp, which is not to blame, goes on.
				if got[timestamp] != ours {
					t.Error("the timestamp was not renewed")
				}
				if _, err := run(t, r, commit, store); !errors.As(err, test.want) {
					t.Errorf("the next run gives %v; it must not forget", err)
				}
				return
			}
			if !maps.Equal(got, live) {
				t.Error("something was written")
			}
		})
	}
}

// TestGuardNames: a run that is refused says who was there before, and how main
// gets ahead again.
func TestGuardNames(t *testing.T) {
	r := publishtest.New(t)
	first := r.Commit(t, "first")
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	event := r.Commit(t, "Merge event sign/b")
	store := &storetest.Memory{}
	mustRun(t, r, event, store)
	live := store.Content()
	refused := func(what string, commit git.OID, texts ...string) {
		t.Helper()
		_, err := run(t, r, commit, store)
		var newer *publish.NewerError
		if !errors.As(err, &newer) {
			t.Fatalf("%s: got %v, want a NewerError", what, err)
		}
		if !maps.Equal(store.Content(), live) {
			t.Errorf("%s: something was written", what)
		}
		for _, text := range texts {
			if !strings.Contains(err.Error()+"\n"+newer.Hint(), text) {
				t.Errorf("%s: %q (%s) does not say %q", what, err, newer.Hint(), text)
			}
		}
	}
	refused("a late run", first, "timestamp version 3", "the status page there names commit "+string(event[:12])+", built on 2026-01-01T01:00:00Z", ": Merge event sign/b)", "if this run is late, there is nothing to do")

	// Somebody reverts the event's commit on main.
	r.Git.Run("revert", "--no-edit", string(event))
	reverted := git.OID(r.Git.Run("rev-parse", "HEAD"))
	refused("a revert", reverted, "timestamp version 3", "do not revert its commit: make a new event with the old content and higher versions, then tufops online-sign", "online-sign --live URL")
	// And online signing goes on from there: the timestamp is higher, the roles are not.
	older := r.Clone()
	older.Files = maps.Clone(r.Files)
	old := &publishtest.Repo{Repo: older, Git: r.Git}
	targets := old.Roles[metadata.Targets]
	delete(targets.Signed["targets"].(metadata.Object), "b.txt")
	targets.Signed["version"] = int64(2)
	old.Put(metadata.Targets, targets.Sign())
	old.Publish(metadata.Snapshot, metadata.Timestamp)
	live = store.Content()
	refused("a revert that was signed online", old.Commit(t, "online signing"), "targets version 3", "make a new event with the old content and higher versions")
	// The forward fix.
	targets.Signed["version"] = int64(3)
	old.Publish(metadata.Targets)
	if report := mustRun(t, r, old.Commit(t, "Merge event sign/without-b"), store); !report.Changed {
		t.Error("the forward fix changes nothing")
	}
}

// TestPageNeverGoesBack: beside one timestamp a late run leaves the page of a later
// commit alone, whether it knows that commit or not; an early one brings its own.
func TestPageNeverGoesBack(t *testing.T) {
	r := publishtest.New(t)
	first := r.Commit(t, "first")
	late := t.TempDir() // a clone from before there was a second
	if err := os.CopyFS(late, os.DirFS(r.Git.Dir)); err != nil {
		t.Fatal(err)
	}
	r.Git.WriteFile("README.md", "nothing that clients read")
	second := r.Commit(t, "second")
	published := func(dir string, commit git.OID) repository.Publishable {
		p, err := publishedAt(t, dir, commit, publishtest.Now.Add(time.Hour)).Publishable()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, test := range []struct {
		name, dir, note string
	}{
		{"the later commit is known", r.Git.Dir, ""},
		{"the later commit is not known", late, publish.NotePageLeft},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &storetest.Memory{}
			mustRun(t, r, first, store)
			if got := written(mustRun(t, r, second, store)); got != "index.html" {
				t.Fatalf("the second commit writes %s", got)
			}
			before := store.Content()
			for _, deep := range []bool{false, true} {
				counted := &counting{Store: store}
				report, err := publish.Run(t.Context(), publish.Options{Commit: first, Publishable: published(test.dir, first), Deep: deep,
					To: []publish.Destination{{Store: counted}}})
				if err != nil {
					t.Fatal(err)
				}
				if d := report.Destinations[0]; d.Changed || !maps.Equal(store.Content(), before) || codes(d) != test.note {
					t.Errorf("deep %v: the late run writes %q, notes %v", deep, written(d), d.Notes)
				}
				if counted.requests.Load() > 3 && !deep && test.note == "" { // else it looks at everything
					t.Errorf("the late run takes %d requests", counted.requests.Load())
				}
			}
			// It does heal what clients read: where it cannot tell, by itself.
			for name := range before {
				if strings.HasSuffix(name, ".a.txt") {
					store.Remove(name)
				}
			}
			if _, err := publish.Run(t.Context(), publish.Options{Commit: first, Publishable: published(test.dir, first), Deep: test.note == "",
				To: []publish.Destination{{Store: store}}}); err != nil || !maps.Equal(store.Content(), before) {
				t.Errorf("what was removed by hand is not there again: %v", err)
			}
		})
	}

	// What a stranger has drawn stays no longer than the timestamp beside it.
	store := &storetest.Memory{}
	page := mustRun(t, r, second, store)
	store.Set("metadata/index.html", strings.ReplaceAll(store.Content()["metadata/index.html"], string(second), strings.Repeat("0", 40)))
	if page = mustRun(t, r, second, store); page.Changed || codes(page) != publish.NotePageLeft {
		t.Errorf("beside the same timestamp %q is written, notes %v", written(page), page.Notes)
	}
	r.Publish(metadata.Timestamp)
	if got := written(mustRun(t, r, r.Commit(t, "timestamp"), store)); got != "timestamp.json index.html" {
		t.Errorf("a new timestamp writes %q", got)
	}
}

// TestRecoverFastForward: a valid timestamp is gone back from only if a person
// names its version, and they are told what that means.
func TestRecoverFastForward(t *testing.T) {
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	store := &storetest.Memory{}
	commit := r.Commit(t, "ours")
	mustRun(t, r, commit, store)
	ahead := r.Clone()
	ahead.Roles[metadata.Timestamp].Signed["version"] = int64(1000)
	forward := string(ahead.Roles[metadata.Timestamp].Sign())
	store.Set("metadata/timestamp.json", forward)
	recover := func(version int64) (publish.DestinationReport, error) {
		report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), RecoverFastForward: version,
			To: []publish.Destination{{URL: "store:", Store: store}}})
		return report.Destinations[0], err
	}
	for _, version := range []int64{0, 999, 1001, 2} {
		_, err := recover(version)
		if !errors.As(err, new(*publish.NewerError)) || store.Content()["metadata/timestamp.json"] != forward {
			t.Errorf("giving up version %d: %v", version, err)
		}
		if version > 0 && !strings.Contains(err.Error(), fmt.Sprintf("version %d was to be given up", version)) {
			t.Errorf("giving up version %d: %v", version, err)
		}
	}
	report, err := recover(1000)
	if err != nil || codes(report) != publish.NoteRecovered || report.Roles[1] != (publish.RoleChange{Role: "timestamp", From: 1000, To: 2}) {
		t.Errorf("notes %v, roles %v, error %v", report.Notes, report.Roles, err)
	}
	if got := update(t, publishtest.Client(t, store, root, ""), nil); got.Timestamp.Version != 2 {
		t.Errorf("a new client is at %v", got)
	}
	if report, err := recover(1000); err != nil || report.Changed || len(report.Notes) != 0 {
		t.Errorf("again: %v, %v", report, err)
	}
	// It overrides the guard of the timestamp and nothing else: a root stays.
	r.RotateKey(metadata.Root, "root2", true)
	store.Set("metadata/2.root.json", string(r.Files["metadata/2.root.json"]))
	store.Set("metadata/timestamp.json", forward)
	if _, err := recover(1000); !errors.As(err, new(*publish.NewerError)) {
		t.Errorf("with a newer root: %v", err)
	}
}

// TestFastForwardRecovery: a stolen online key has signed the largest version;
// a root with another key puts an end to it.
func TestFastForwardRecovery(t *testing.T) {
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	store := &storetest.Memory{}
	mustRun(t, r, r.Commit(t, "live"), store)
	r.RotateOnlineKey("online2", true)
	commit := r.Commit(t, "rotated")
	stolen := r.Clone()
	stolen.Roles[metadata.Timestamp].Keys = []*clienttest.Key{clienttest.NewKey(metadata.Timestamp)}
	stolen.Roles[metadata.Timestamp].Signed["version"] = int64(1<<31 - 1)
	store.Set("metadata/timestamp.json", string(stolen.Roles[metadata.Timestamp].Sign()))
	store.Set("metadata/3.snapshot.json", string(r.Files["metadata/3.snapshot.json"]))
	warm := publishtest.Client(t, store, root, t.TempDir())
	update(t, warm, nil)
	report := mustRun(t, r, commit, store)
	if got, want := written(report), "2.root.json timestamp.json index.html status.json"; got != want {
		t.Errorf("written %s, want %s: a timestamp that goes back must not go out before the root", got, want)
	}
	if got, want := codes(report), publish.NoteRestarted+" "+publish.NoteWindow; got != want {
		t.Errorf("notes %q, want %q", got, want)
	}
	if got := update(t, warm, nil); got.Timestamp.Version != 3 {
		t.Errorf("the client is at %v", got)
	}
}

func TestImmutableDiffers(t *testing.T) {
	r := publishtest.New(t)
	clean := &storetest.Memory{}
	mustRun(t, r, r.Commit(t, "live"), clean)
	r.Publish(metadata.Timestamp)
	commit := r.Commit(t, "timestamp")
	for name, content := range clean.Content() {
		if name == "metadata/timestamp.json" || strings.HasSuffix(name, "/index.html") || strings.HasSuffix(name, "/status.json") {
			continue
		}
		for _, altered := range []string{content + "\n", strings.ToUpper(content), ""} {
			store := clean.Clone()
			store.Set(name, altered)
			for range 2 { // the second run does not forget
				_, err := run(t, r, commit, store)
				var differs *publish.DiffersError
				if !errors.As(err, &differs) || !slices.Equal(differs.Names, []string{name}) {
					t.Fatalf("%s: got %v, want a DiffersError that names it", name, err)
				}
				if differs.Stopped != strings.HasPrefix(name, "metadata/") {
					t.Errorf("%s: stopped %v", name, differs.Stopped)
				}
				if !strings.Contains(err.Error(), "immutable-differs") {
					t.Errorf("error %v does not name the rule", err)
				}
				got := store.Content()
				if got[name] != altered {
					t.Errorf("%s was overwritten", name)
				}
				if renewed := got["metadata/timestamp.json"] == string(r.Files["metadata/timestamp.json"]); renewed == differs.Stopped {
					t.Errorf("%s: timestamp renewed: %v", name, renewed)
				}
			}
		}
	}
}

// TestSignaturesChanged: whoever joins a role signs its present version. The file
// is written again over what was read, before a root that needs the signature.
func TestSignaturesChanged(t *testing.T) {
	r := publishtest.New(t)
	store := &storetest.Memory{}
	mustRun(t, r, r.Commit(t, "live"), store)
	const name = "metadata/2.targets.json"
	before := store.Content()[name]
	doc, err := metadata.Parse([]byte(before))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = doc.WithSignature(strings.Repeat("a", 64), []byte("of somebody who joined")); err != nil {
		t.Fatal(err)
	}
	r.Git.WriteFile("metadata/targets.json", string(doc.Bytes()))
	commit := git.OID(r.Git.Commit("joined"))
	report, err := run(t, r, commit, store)
	if err != nil {
		t.Fatal(err)
	}
	if got := store.Content()[name]; got != string(doc.Bytes()) || !strings.Contains(codes(report), publish.NoteResigned) {
		t.Errorf("notes %q, and the file is\n%s", codes(report), got)
	}
	if report, err = run(t, r, commit, store); err != nil || report.Changed {
		t.Errorf("a second run: changed %v, %v", report.Changed, err)
	}
}

// TestConcurrent: publishers of one commit and of several at the same time, with
// a lock and without.
func TestConcurrent(t *testing.T) {
	stores := map[string]func(t *testing.T) func() publish.Store{
		"memory": func(*testing.T) func() publish.Store {
			m := &storetest.Memory{}
			return func() publish.Store { return m }
		},
		"directory": func(t *testing.T) func() publish.Store {
			path := filepath.Join(t.TempDir(), "site")
			return func() publish.Store {
				s, err := dir.Open(path, dir.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
	}
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	var commits []git.OID
	commits = append(commits, r.Commit(t, "first"))
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	commits = append(commits, r.Commit(t, "artifact"))
	r.RotateOnlineKey("online2", true)
	commits = append(commits, r.Commit(t, "online key"))
	r.Publish(metadata.Timestamp)
	commits = append(commits, r.Commit(t, "timestamp"))
	var all []repository.Publishable
	for _, c := range commits {
		all = append(all, r.Publishable(t, c))
	}
	newest := len(commits) - 1
	for name, empty := range stores {
		for _, who := range [][]int{{newest, newest}, {0, 1}, {2, 1}, {0, 1, 2, 3}, {3, 2, 1, 0}} {
			t.Run(fmt.Sprint(name, who), func(t *testing.T) {
				t.Parallel()
				open := empty(t)
				mustRun(t, r, commits[0], open())
				before := update(t, publishtest.Client(t, open(), root, ""), nil)
				var wg sync.WaitGroup
				errs := make([]error, len(who))
				for i, w := range who {
					store := open()
					wg.Go(func() {
						_, errs[i] = publish.Run(t.Context(), publish.Options{Commit: commits[w], Publishable: all[w], To: []publish.Destination{{Store: store}}})
					})
				}
				var seen []*client.Result
				c := publishtest.Client(t, open(), root, t.TempDir())
				for range 5 {
					if result, err := c.Refresh(t.Context()); err == nil { // it may read across a rotation
						seen = append(seen, result)
					}
				}
				wg.Wait()
				for i := 1; i < len(seen); i++ {
					if seen[i].Timestamp.Version < seen[i-1].Timestamp.Version {
						t.Errorf("a client went back from %v to %v", seen[i-1], seen[i])
					}
				}
				best := slices.Max(who)
				for i, err := range errs {
					var newer *publish.NewerError
					switch {
					case err == nil:
					case who[i] != best && errors.As(err, &newer):
					case who[i] == best:
						t.Errorf("the publisher of the newest commit: %v", err)
					default:
						t.Errorf("a publisher of an older commit: %v, want a NewerError", err)
					}
				}
				after := update(t, publishtest.Client(t, open(), root, ""), before)
				published, err := all[best].For(commits[best])
				if err != nil {
					t.Fatal(err)
				}
				if after.Timestamp.Version != published.Timestamp().Version() {
					t.Errorf("clients end at %v, want timestamp v%d", after, published.Timestamp().Version())
				}
				mustRun(t, r, commits[best], open())
				var status publish.Status
				data, _ := storetest.Read(t, open(), "metadata/status.json")
				if err := json.Unmarshal(data, &status); err != nil || status.Commit != string(commits[best]) && status.Commit != string(commits[min(best, 2)]) {
					t.Errorf("status.json is of commit %s, %v", status.Commit, err) // the last commit only renews the timestamp
				}
				page, _ := storetest.Read(t, open(), "metadata/index.html")
				if !strings.Contains(string(page), `<code class="commit">`+string(commits[best])) {
					t.Error("the status page is of another commit")
				}
			})
		}
	}
}

// TestCorpus: what a real repository publishes, on disk.
func TestCorpus(t *testing.T) {
	g, err := git.Open(t.Context(), gittest.Corpus(t))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	head, err := g.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	published, err := repo.Published(t.Context(), head, time.Date(2026, 8, 21, 20, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	publishable, err := published.Publishable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "site")
	store, err := dir.Open(path, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Run(t.Context(), publish.Options{Commit: head, Publishable: publishable, To: []publish.Destination{{URL: path, Store: store}}}); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, content := range files(t, path) {
		if name != "metadata/index.html" && name != "metadata/status.json" {
			lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(content)), name))
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	want, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "published.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, ""); got != string(want) {
		t.Errorf("published\n%s\nwant\n%s", got, want)
	}
}

func TestReportText(t *testing.T) {
	r := publishtest.New(t)
	commit := r.Commit(t, "first")
	store := &storetest.Memory{}
	text := func(r *publishtest.Repo, dry bool) string {
		report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), DryRun: dry,
			To: []publish.Destination{{URL: "file:///srv/tuf", Store: store}}})
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(report.Text(), string(commit)[:12], "COMMIT")
	}
	text(r, false)
	r.RotateOnlineKey("online2", true)
	commit = r.Commit(t, "rotation")
	const roles = `
  root      v1 -> v2
  timestamp v2 -> v3
  snapshot  v2 -> v3
`
	const lists = ` 5; there already: 3
    metadata/3.snapshot.json (662 bytes)
    metadata/timestamp.json (664 bytes)
    metadata/2.root.json (2346 bytes)
    metadata/index.html (HTML bytes)
    metadata/status.json (STATUS bytes)
  rehearsed 12 client updates, 2 artifacts looked up
  note: root version 2 does not accept what is live; timestamp version 3, which old and new root accept, goes out before it [timestamp-before-root]
`
	sized := func(s string) string {
		s = regexp.MustCompile(`index.html \(\d+`).ReplaceAllString(s, "index.html (HTML")
		return regexp.MustCompile(`status.json \(\d+`).ReplaceAllString(s, "status.json (STATUS")
	}
	for _, step := range []struct {
		dry  bool
		want string
	}{
		{true, "file:///srv/tuf: would be published (commit COMMIT)" + roles + "  to write " + lists},
		{false, "file:///srv/tuf: published (commit COMMIT)" + roles + "  written  " + lists},
		{false, "file:///srv/tuf: up to date (commit COMMIT)\n  root      v2, as before\n  timestamp v3, as before\n  snapshot  v3, as before\n"},
	} {
		if got := sized(text(r, step.dry)); got != step.want {
			t.Errorf("dry run %v:\n%s\nwant\n%s", step.dry, got, step.want)
		}
	}
}

// TestDestinationsAreIndependent: one that fails does not keep the others back.
func TestDestinationsAreIndependent(t *testing.T) {
	r := publishtest.New(t)
	commit := r.Commit(t, "first")
	good := &storetest.Memory{}
	report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), To: []publish.Destination{
		{URL: "bad:", Store: &storetest.Faulty{Store: &storetest.Memory{}, Stop: 2}}, {URL: "good:", Store: good},
	}})
	var failed *publish.DestinationError
	if !errors.As(err, &failed) || failed.URL != "bad:" {
		t.Errorf("got %v, want a DestinationError about bad:", err)
	}
	if d := report.Destinations; len(d) != 2 || d[0].Error == "" || d[1].Error != "" || !d[1].Changed {
		t.Errorf("report %+v", report)
	}
	update(t, publishtest.Client(t, good, r.Files["metadata/1.root.json"], ""), nil)
}

// listing tells digests of objects, right or wrong, and counts what is read of
// them.
type listing struct {
	*storetest.Memory
	digest func(name, content string) []byte

	mu    sync.Mutex // several files are compared at a time
	reads []string
}

func (l *listing) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	objects, err := l.Memory.List(ctx, prefix)
	for i, o := range objects {
		objects[i].MD5 = l.digest(o.Name, l.Content()[o.Name])
	}
	return objects, err
}

func (l *listing) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, name)
	return l.Memory.Get(ctx, name)
}

// TestListedDigests: a digest that agrees spares reading; one that does not says
// nothing, since some stores list that of an object as it is encrypted.
func TestListedDigests(t *testing.T) {
	r := publishtest.New(t)
	live := &storetest.Memory{}
	mustRun(t, r, r.Commit(t, "live"), live)
	r.Publish(metadata.Timestamp)
	commit := r.Commit(t, "timestamp")
	right := func(_, content string) []byte { sum := md5.Sum([]byte(content)); return sum[:] }
	for _, test := range []struct {
		name   string
		digest func(name, content string) []byte
		alter  string
		reads  bool // artifacts are read
		fails  bool
	}{
		{"right", right, "", false, false},
		{"of something else", func(name, _ string) []byte { return right("", name) }, "", true, false},
		{"of another length", func(string, string) []byte { return []byte("short") }, "", true, false},
		{"none", func(string, string) []byte { return nil }, "", true, false},
		{"right, and altered", right, "targets/", true, true},
		{"of something else, and altered", func(name, _ string) []byte { return right("", name) }, "targets/", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &listing{Memory: live.Clone(), digest: test.digest}
			for name, content := range live.Content() {
				if test.alter != "" && strings.HasPrefix(name, test.alter) && content != "" {
					store.Set(name, strings.ToUpper(content[:1])+strings.Repeat("x", len(content)-1))
				}
			}
			_, err := run(t, r, commit, store)
			if errors.As(err, new(*publish.DiffersError)) != test.fails || err != nil && !test.fails {
				t.Errorf("publishing gives %v", err)
			}
			read := slices.ContainsFunc(store.reads, func(name string) bool { return strings.HasPrefix(name, "targets/") })
			if read != test.reads {
				t.Errorf("read %q", store.reads)
			}
		})
	}
}
