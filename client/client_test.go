package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

const (
	root, timestamp, snapshot, targets = metadata.Root, metadata.Timestamp, metadata.Snapshot, metadata.Targets
	day                                = 24 * time.Hour
)

// user is one machine that uses a repository.
type user struct {
	t    testing.TB
	repo *clienttest.Repo // what is served now
	url  string
	dir  string // its cache
	now  time.Time
	root []byte
}

// newUser serves the repository and trusts its first root.
func newUser(t testing.TB, repo *clienttest.Repo) *user {
	t.Helper()
	u := &user{t: t, repo: repo, dir: filepath.Join(t.TempDir(), "cache"), now: clienttest.Now,
		root: repo.Files["metadata/1.root.json"]}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { u.repo.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	u.url = server.URL
	return u
}

func (u *user) options() client.Options {
	return client.Options{
		Root: u.root, MetadataURL: u.url + "/metadata", TargetsURL: u.url + "/targets/", CacheDir: u.dir,
		Now: func() time.Time { return u.now }, Logger: slog.New(slog.NewTextHandler(u.t.Output(), nil)),
	}
}

// client is a new process, as it were.
func (u *user) client(change ...func(*client.Options)) *client.Client {
	u.t.Helper()
	o := u.options()
	for _, f := range change {
		f(&o)
	}
	c, err := client.New(o)
	if err != nil {
		u.t.Fatal(err)
	}
	c.SetSleep(func(context.Context, time.Duration) error { return nil })
	return c
}

func (u *user) refresh() (*client.Result, error) { return u.client().Refresh(u.t.Context()) }

// good refreshes, which must succeed, and compares the result.
func (u *user) good(want string) {
	u.t.Helper()
	r, err := u.refresh()
	if err != nil {
		u.t.Fatalf("refresh: %v", err)
	}
	if want != "" && r.String() != want {
		u.t.Errorf("refresh: %s, want %s", r, want)
	}
}

// bad refreshes, which must fail with an error of type E.
func bad[E error](u *user) E {
	u.t.Helper()
	r, err := u.refresh()
	return refused[E](u.t, r.String(), err)
}

func refused[E error](t testing.TB, what string, err error) E {
	t.Helper()
	var e E
	switch {
	case err == nil:
		t.Fatalf("%s: succeeded, want %T", what, e)
	case !errors.As(err, &e):
		t.Fatalf("%s: error %T %v, want %T", what, err, err, e)
	}
	t.Logf("refused: %v", err)
	if h, ok := any(e).(interface{ Hint() string }); ok && h.Hint() == "" {
		t.Errorf("%T has no hint", e)
	}
	return e
}

// cached is the versions on disk: "root 1, timestamp 2"
func (u *user) cached() string {
	u.t.Helper()
	entries, err := filepath.Glob(filepath.Join(u.dir, "*.json"))
	if err != nil {
		u.t.Fatal(err)
	}
	var list []string
	for _, file := range entries {
		data, err := os.ReadFile(file)
		if err != nil {
			u.t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		doc, err := metadata.Parse(data)
		if err != nil {
			u.t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %d", name, doc.Version()))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (u *user) wantCached(want string) {
	u.t.Helper()
	if got := u.cached(); got != want {
		u.t.Errorf("cache holds %q, want %q", got, want)
	}
}

func (u *user) wantRequests(want string) {
	u.t.Helper()
	if got := u.repo.Requests(); got != want {
		u.t.Errorf("requests: %q, want %q", got, want)
	}
}

// Kills: a client that asks with HEAD, fetches ahead, fetches what it has, or
// trusts a server's word instead of versions.
func TestRequests(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("root v1, timestamp v1, snapshot v1, targets v1")
	u.wantRequests("2.root.json timestamp.json 1.snapshot.json 1.targets.json")
	u.good("")
	u.wantRequests("2.root.json timestamp.json")

	repo.Publish(timestamp)
	u.good("root v1, timestamp v2, snapshot v1, targets v1")
	u.wantRequests("2.root.json timestamp.json")

	repo.Publish(snapshot, timestamp)
	u.good("root v1, timestamp v3, snapshot v2, targets v1")
	u.wantRequests("2.root.json timestamp.json 2.snapshot.json")

	repo.Publish(targets)
	u.good("root v1, timestamp v4, snapshot v3, targets v2")
	u.wantRequests("2.root.json timestamp.json 3.snapshot.json 2.targets.json")

	repo.Publish(root)
	repo.Publish(root)
	u.good("root 1 -> 3, timestamp v4, snapshot v3, targets v2")
	u.wantRequests("2.root.json 3.root.json 4.root.json timestamp.json")
	u.good("root 1 -> 3, timestamp v4, snapshot v3, targets v2")
	u.wantRequests("4.root.json timestamp.json")
}

// A client that goes on running does not verify its own history again, and is not
// fooled by that: neither by what others do to its directory meanwhile, nor by a
// file that was good under keys of before. Kills: a memory by name, or of bytes
// without the keys that they were checked with.
func TestClientThatRunsOn(t *testing.T) {
	repo := clienttest.New()
	repo.Publish(root)
	repo.Publish(root, targets)
	u := newUser(t, repo)
	c := u.client()
	refresh := func(requests string) *client.Result {
		t.Helper()
		repo.Requests()
		r, err := c.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u.wantRequests(requests)
		return r
	}
	refresh("2.root.json 3.root.json 4.root.json timestamp.json 2.snapshot.json 2.targets.json")
	files := u.cached()
	if got := refresh("4.root.json timestamp.json"); got.String() != "root 1 -> 3, timestamp v2, snapshot v2, targets v2" || len(got.Roots) != 3 || !got.Roots[2].Cached {
		t.Errorf("got %s: %+v", got, got.Roots)
	}
	if got := u.cached(); got != files {
		t.Errorf("the cache holds %s, and before %s", got, files)
	}

	// Somebody empties the directory or breaks a file: it is as it was again.
	for _, name := range []string{"root.json", "targets.json", filepath.Join("root_history", "2.root.json")} {
		if err := os.Remove(filepath.Join(u.dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := u.cached(); got != files {
			t.Errorf("without %s the cache holds %s, and before %s", name, got, files)
		}
	}
	evil := bytes.Replace(repo.Current(targets), []byte("2026"), []byte("2027"), 1)
	if err := os.WriteFile(filepath.Join(u.dir, "targets.json"), evil, 0o600); err != nil || bytes.Equal(evil, repo.Current(targets)) {
		t.Fatal("nothing is changed", err)
	}
	refresh("4.root.json timestamp.json 2.targets.json")

	// The same bytes under other keys are not what was verified.
	old := repo.Current(timestamp)
	repo.SetKeys(timestamp, 1, clienttest.NewKey("another"))
	repo.Publish(root)
	repo.Files["metadata/timestamp.json"] = old
	if _, err := c.Refresh(t.Context()); err == nil {
		t.Error("a timestamp of the keys of before is taken")
	} else {
		refused[*client.QuorumError](t, "refresh", err)
	}
}

// Kills: a client that writes its own rendering of what it received.
func TestCacheIsByteExact(t *testing.T) {
	repo := clienttest.New()
	repo.Publish(root)
	for _, role := range []string{root, snapshot, targets, timestamp} {
		data := append(repo.Current(role), " \n\t"...)
		repo.Files[clienttest.File(role, repo.Roles[role].Version())] = data
	}
	u := newUser(t, repo)
	u.good("")
	for _, role := range metadata.TopLevel {
		data, err := os.ReadFile(filepath.Join(u.dir, role+".json"))
		if err != nil || !bytes.Equal(data, repo.Current(role)) {
			t.Errorf("%s.json is not the published file (%v)", role, err)
		}
	}
}

// Kills: a client that stores before it verifies, and one that forgets what it
// verified before a failure.
func TestUnsignedRoleEndsTheUpdateThere(t *testing.T) {
	for role, want := range map[string]string{
		root:      "",
		timestamp: "root 2",
		snapshot:  "root 2, timestamp 2",
		targets:   "root 2, snapshot 2, timestamp 2",
	} {
		t.Run(role, func(t *testing.T) {
			repo := clienttest.New()
			repo.Roles[role].Keys = []*clienttest.Key{clienttest.NewKey("stranger")}
			repo.Publish(root, targets)
			u := newUser(t, repo)
			if e := bad[*client.QuorumError](u); e.Role != role || e.Version != 2 || e.Quorum.Count != 0 {
				t.Errorf("error is about %s v%d: %v", e.Role, e.Version, e)
			}
			u.wantCached(want)
		})
	}
}

func TestInMemory(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "a", "content")
	repo.Publish(root, targets)
	u := newUser(t, repo)
	u.dir = ""
	c := u.client()
	for range 2 {
		if _, err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	u.wantRequests("2.root.json 3.root.json timestamp.json 2.snapshot.json 2.targets.json 3.root.json timestamp.json")
	if _, data, err := c.Read(t.Context(), "a"); err != nil || string(data) != "content" {
		t.Errorf("read: %q, %v", data, err)
	}
	old := repo.Files["metadata/timestamp.json"]
	repo.Publish(timestamp)
	if _, err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	repo.Files["metadata/timestamp.json"] = old
	_, err := c.Refresh(t.Context())
	refused[*client.RollbackError](t, "rollback in memory", err)
}

// A client answers from its last update only while that one succeeded.
func TestFailedRefreshIsNotFresh(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "a", "content")
	repo.Publish(targets)
	u := newUser(t, repo)
	c := u.client()
	if _, err := c.Target(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	u.wantRequests("2.root.json timestamp.json 2.snapshot.json 2.targets.json")
	delete(repo.Files, "metadata/timestamp.json")
	_, err := c.Refresh(t.Context())
	refused[*client.NotFoundError](t, "refresh", err)
	_, err = c.Target(t.Context(), "a")
	refused[*client.NotFoundError](t, "target", err)
}

func TestRootRotation(t *testing.T) {
	type version struct {
		keys, threshold, signers string
	}
	const refusedLast = "!"
	for name, chain := range map[string][]version{
		"one key":                           {{"a", "1", "a"}, {"b", "1", "ab"}, {"b", "1", "b"}},
		"signatures of strangers":           {{"a", "1", "xay"}, {"b", "1", "xbay"}, {"b", "1", "xby"}},
		"changing quorums":                  {{"abcde", "3", "ace"}, {"abcde", "3", "aeb"}, {"abcde", "3", "abd"}},
		"one of five":                       {{"abcde", "3", "ace"}, {"abdef", "3", "abe"}},
		"all of five at once":               {{"abcde", "3", "ace"}, {"fghij", "3", "acefgh"}, {"fghij", "3", "fgh"}},
		"threshold up":                      {{"abc", "1", "a"}, {"abc", "2", "ab"}},
		"threshold down":                    {{"abc", "2", "ab"}, {"abc", "1", "ab"}, {"abc", "1", "c"}},
		"! without the old key":             {{"a", "1", "a"}, {"b", "1", "bxy"}},
		"! without the new key":             {{"a", "1", "a"}, {"b", "1", "axy"}},
		"! too few new keys":                {{"abcde", "3", "ace"}, {"abdef", "3", "ace"}},
		"! too few old keys":                {{"abcde", "3", "ace"}, {"abdef", "3", "aef"}},
		"! new threshold not met":           {{"abc", "1", "a"}, {"abc", "2", "b"}},
		"! old threshold not met":           {{"abc", "2", "ab"}, {"abc", "1", "a"}},
		"! one key listed often":            {{"a", "1", "a"}, {"aaa", "2", "a"}},
		"! threshold of zero":               {{"a", "1", "a"}, {"a", "0", "a"}},
		"! new root replaces all by itself": {{"ab", "2", "ab"}, {"c", "1", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			keys := func(names string) (list []*clienttest.Key) {
				for _, n := range names {
					list = append(list, clienttest.NewKey(string(n)))
				}
				return list
			}
			repo := clienttest.New()
			for i, v := range chain {
				repo.SetKeys(root, int64(v.threshold[0]-'0'), keys(v.keys)...)
				repo.Roles[root].Keys = keys(v.signers)
				repo.Roles[root].Signed["version"] = int64(i) // Publish adds one
				repo.Publish(root)
			}
			u := newUser(t, repo)
			if strings.HasPrefix(name, refusedLast) {
				bad[*client.QuorumError](u)
				if got := u.cached(); len(chain) > 2 && got != fmt.Sprintf("root %d", len(chain)-1) {
					t.Errorf("cache: %s", got)
				}
				return
			}
			u.good(fmt.Sprintf("root 1 -> %d, timestamp v1, snapshot v1, targets v1", len(chain)))
		})
	}
}

// Kills: a client that takes any newer root, or looks at the file name only.
func TestVersionIsThatOfTheName(t *testing.T) {
	for _, role := range []string{root, snapshot, targets} {
		t.Run(role, func(t *testing.T) {
			repo := clienttest.New()
			repo.Publish(root, targets)
			repo.Roles[role].Signed["version"] = int64(3)
			repo.Files[clienttest.File(role, 2)] = repo.Roles[role].Sign()
			e := bad[*client.VersionError](newUser(t, repo))
			if e.Role != role || e.Want != 2 || e.Got != 3 {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	for role, want := range map[string]string{
		root:      "root 2, snapshot 1, targets 1, timestamp 1",
		timestamp: "root 2, snapshot 1, targets 1, timestamp 1",
		snapshot:  "root 2, snapshot 1, targets 1, timestamp 2",
		targets:   "root 2, snapshot 2, targets 1, timestamp 2",
	} {
		t.Run(role, func(t *testing.T) {
			repo := clienttest.New()
			u := newUser(t, repo)
			u.good("")
			repo.Roles[role].Expire(clienttest.Now.Add(day))
			repo.Publish(root, targets)
			u.now = clienttest.Now.Add(day) // the very second is too late
			e := bad[*client.ExpiredError](u)
			if e.Role != role || e.Version != 2 || !e.Now.Equal(u.now) {
				t.Errorf("got %v", e)
			}
			u.wantCached(want)
			u.now = u.now.Add(-time.Second)
			u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
		})
	}
}

// Roots in the middle of the chain and cached files may have expired.
func TestExpiredPastDoesNotMatter(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("")
	for _, role := range repo.Roles {
		role.Expire(clienttest.Now.Add(2 * Life))
	}
	repo.Roles[root].Expire(clienttest.Now.Add(-day))
	repo.Publish(root)
	repo.Roles[root].Expire(clienttest.Now.Add(2 * Life))
	repo.Publish(root, targets)
	u.now = clienttest.Now.Add(Life + day)
	u.good("root 1 -> 3, timestamp v2, snapshot v2, targets v2")
}

const Life = clienttest.Life

// Kills: a client that asks the clock at every step, so that a slow server can
// carry one update over an expiry it was checked against.
func TestOneReferenceTime(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"*"})
	repo.Publish(root, "A", targets)
	u := newUser(t, repo)
	calls := 0
	c := u.client(func(o *client.Options) {
		o.Now = func() time.Time { calls++; return clienttest.Now.Add(time.Duration(calls-1) * 2 * Life) }
	})
	if _, err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Target(t.Context(), "nothing")
	refused[*client.TargetNotFoundError](t, "target", err)
	if calls != 1 {
		t.Errorf("asked the clock %d times", calls)
	}
	_, err = c.Refresh(t.Context())
	refused[*client.ExpiredError](t, "second update", err)
}

func TestTimestampOfTheSameVersionIsKept(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("")
	before := repo.Current(timestamp)
	repo.Roles[timestamp].Signed["meta"].(metadata.Object)["snapshot.json"] = metadata.Object{"version": int64(100)}
	repo.Put(timestamp, repo.Roles[timestamp].Sign())
	repo.Requests()
	u.good("root v1, timestamp v1, snapshot v1, targets v1")
	u.wantRequests("2.root.json timestamp.json")
	if now, _ := os.ReadFile(filepath.Join(u.dir, "timestamp.json")); !bytes.Equal(now, before) {
		t.Error("the stored timestamp was replaced by another one of the same version")
	}
	// Once it has expired, the other one of the same version does not revive it.
	repo.Roles[timestamp].Expire(clienttest.Now.Add(2 * Life))
	repo.Put(timestamp, repo.Roles[timestamp].Sign())
	u.now = clienttest.Now.Add(Life)
	repo.Roles[root].Expire(clienttest.Now.Add(2 * Life))
	repo.Publish(root)
	bad[*client.ExpiredError](u)
}

func TestLengthsAndHashesOfMetadata(t *testing.T) {
	repo := clienttest.New()
	repo.MetaHashes = true
	repo.Delegate(targets, "A", false, []string{"*"})
	repo.AddTarget("A", "a", "content")
	repo.Publish("A", targets)
	newUser(t, repo).good("root v1, timestamp v2, snapshot v2, targets v2")

	for _, role := range []string{snapshot, targets, "A"} {
		in := timestamp
		if role != snapshot {
			in = snapshot
		}
		for name, c := range map[string]struct {
			change func(entry metadata.Object)
			check  func(t *testing.T, err error)
		}{
			"wrong hash": {
				func(e metadata.Object) { e["hashes"] = metadata.Object{"sha256": strings.Repeat("0", 64)} },
				func(t *testing.T, err error) { refused[*client.HashError](t, role, err) },
			},
			"one wrong hash of two": {
				func(e metadata.Object) { e["hashes"].(metadata.Object)["sha512"] = strings.Repeat("0", 128) },
				func(t *testing.T, err error) { refused[*client.HashError](t, role, err) },
			},
			"unknown hash only": {
				func(e metadata.Object) { e["hashes"] = metadata.Object{"md5": strings.Repeat("0", 32)} },
				func(t *testing.T, err error) { refused[*client.HashError](t, role, err) },
			},
			"shorter": {
				func(e metadata.Object) { e["length"] = e["length"].(int64) - 1 },
				func(t *testing.T, err error) { refused[*client.LengthError](t, role, err) },
			},
			"longer": {
				func(e metadata.Object) { e["length"] = e["length"].(int64) + 1 },
				func(t *testing.T, err error) { refused[*client.LengthError](t, role, err) },
			},
			"an unknown hash beside a good one": {
				func(e metadata.Object) { e["hashes"].(metadata.Object)["blake9"] = "abc" },
				func(t *testing.T, err error) {
					if err != nil {
						t.Error(err)
					}
				},
			},
			"hash in capitals": {
				func(e metadata.Object) {
					h := e["hashes"].(metadata.Object)
					h["sha256"] = strings.ToUpper(h["sha256"].(string))
				},
				func(t *testing.T, err error) {
					if err != nil {
						t.Error(err)
					}
				},
			},
		} {
			t.Run(role+" "+name, func(t *testing.T) {
				repo := repo.Clone()
				c.change(repo.Roles[in].Signed["meta"].(metadata.Object)[role+".json"].(metadata.Object))
				if in == snapshot {
					repo.Publish(snapshot, timestamp)
				} else {
					repo.Publish(timestamp)
				}
				_, err := newUser(t, repo).client().Target(t.Context(), "a")
				c.check(t, err)
			})
		}
	}
}

// Kills: a client that keeps a cached file because its version is right while
// the hash that is now stated is another one.
func TestCachedFileMustMatchTheStatedHash(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.good("")
	repo.Requests()
	// The same versions again with other bytes, and hashes that say so.
	repo.MetaHashes = true
	repo.Roles[targets].Signed["x-note"] = "new"
	repo.Put(targets, repo.Roles[targets].Sign())
	repo.Publish(snapshot, timestamp)
	u.good("root v1, timestamp v2, snapshot v2, targets v1")
	u.wantRequests("2.root.json timestamp.json 2.snapshot.json 1.targets.json")
	repo.Roles[snapshot].Signed["x-note"] = "new"
	repo.Put(snapshot, repo.Roles[snapshot].Sign())
	repo.Publish(timestamp)
	u.good("root v1, timestamp v3, snapshot v2, targets v1")
	u.wantRequests("2.root.json timestamp.json 2.snapshot.json")
	u.good("")
	u.wantRequests("2.root.json timestamp.json")
}

// What is in the cache grows old there. Kills: a client that looks at the expiry
// of new files only.
func TestCachedFilesExpire(t *testing.T) {
	for _, role := range []string{root, timestamp, snapshot, targets, "A"} {
		t.Run(role, func(t *testing.T) {
			repo := clienttest.New()
			repo.Delegate(targets, "A", false, []string{"*"})
			repo.AddTarget("A", "tool", "content")
			repo.Roles[role].Expire(clienttest.Now.Add(day))
			repo.Publish(root, "A", targets)
			u := newUser(t, repo)
			if _, err := u.client().Target(t.Context(), "tool"); err != nil {
				t.Fatal(err)
			}
			repo.Requests()
			u.now = clienttest.Now.Add(day)
			_, err := u.client().Target(t.Context(), "tool")
			if e := refused[*client.ExpiredError](t, "target", err); e.Role != role {
				t.Errorf("got %v", e)
			}
			if got := repo.Requests(); !strings.HasPrefix("3.root.json timestamp.json", got) {
				t.Errorf("requests: %s", got)
			}
		})
	}
}

// Kills: a client that reads a file that another reader reads differently.
func TestAmbiguousFilesAreRefused(t *testing.T) {
	for _, role := range []string{root, timestamp, snapshot, targets} {
		repo := clienttest.New()
		repo.Publish(root, targets)
		good := string(repo.Current(role))
		for name, data := range map[string]string{
			"name twice at the top":      strings.Replace(good, `{`, `{"signatures": [],`, 1),
			"name twice in signed":       strings.Replace(good, `"version": 2`, `"version": 1, "version": 2`, 1),
			"keyid twice":                strings.Replace(good, `"signatures": [`, `"signatures": [{"keyid": "a", "sig": ""}, {"keyid": "a", "sig": ""},`, 1),
			"two documents":              good + good,
			"not JSON":                   "<html>",
			"empty":                      "",
			"cut off":                    good[:len(good)/2],
			"a list":                     "[]",
			"null":                       "null",
			"another role's file":        string(repo.Current(map[string]string{root: targets, timestamp: snapshot, snapshot: timestamp, targets: root}[role])),
			"spec_version of the future": string(respec(repo, role, "2.0.0")),
			"spec_version of the past":   string(respec(repo, role, "0.9")),
		} {
			t.Run(role+" "+name, func(t *testing.T) {
				repo := repo.Clone()
				repo.Files[clienttest.File(role, 2)] = []byte(data)
				if e := bad[*client.FormatError](newUser(t, repo)); e.Role != role {
					t.Errorf("got %v", e)
				}
			})
		}
	}
}

func respec(repo *clienttest.Repo, role, version string) []byte {
	signed := metadata.Clone(repo.Roles[role].Signed)
	signed["spec_version"] = version
	return clienttest.Sign(signed, repo.Roles[role].Keys...)
}

// Names that differ only in case are one field to Go's encoding/json and two to
// us: what is signed counts.
func TestFieldsAreCaseSensitive(t *testing.T) {
	repo := clienttest.New()
	for _, role := range repo.Roles {
		role.Signed["Version"], role.Signed["EXPIRES"], role.Signed["_TYPE"] = int64(77), "1999-01-01T00:00:00Z", "x"
	}
	repo.Publish(root, targets)
	newUser(t, repo).good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
}

func TestUnusableKeysDoNotStopTheOthers(t *testing.T) {
	repo := clienttest.New()
	for _, role := range metadata.TopLevel {
		future, absent := clienttest.NewKey("future-"+role), clienttest.NewKey("absent-"+role)
		future.Object["keytype"], future.Object["scheme"], future.Object["keyval"] = "slh-dsa", "slh-dsa-sha2-128s/1", metadata.Object{}
		keys := repo.Roles[role].Keys
		repo.SetKeys(role, 1, append([]*clienttest.Key{future, absent}, keys...)...)
		delete(repo.Roles[root].Signed["keys"].(metadata.Object), absent.ID)
	}
	repo.Publish(root, targets)
	newUser(t, repo).good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
}

// ML-DSA keys, by themselves and beside others. Kills: skipping them as unknown,
// and counting them without looking.
func TestMLDSAThresholds(t *testing.T) {
	keys := func(role string) (ed, pq *clienttest.Key) {
		return clienttest.NewKey(role), clienttest.NewMLDSAKey("pq " + role)
	}
	mixed := func() *clienttest.Repo {
		repo := clienttest.New()
		repo.Delegate(targets, "A", false, []string{"a/*"}, clienttest.NewKey("A"), clienttest.NewMLDSAKey("pq A"))["threshold"] = int64(2)
		repo.AddTarget("A", "a/tool", "the tool")
		for _, role := range metadata.TopLevel {
			ed, pq := keys(role)
			repo.SetKeys(role, 2, ed, pq)
		}
		repo.Publish(root, targets, "A")
		return repo
	}
	repo := mixed()
	u := newUser(t, repo)
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	if _, data, err := u.client().Read(t.Context(), "a/tool"); err != nil || string(data) != "the tool" {
		t.Errorf("behind a mixed delegation: %q, %v", data, err)
	}

	for _, role := range []string{root, timestamp, snapshot, targets, "A"} {
		ed, pq := keys(role)
		other := clienttest.NewMLDSAKey("stranger")
		other.ID = pq.ID
		for name, signers := range map[string][]*clienttest.Key{
			"without ML-DSA": {ed}, "with ML-DSA alone": {pq}, "with a stranger's ML-DSA": {ed, other},
		} {
			repo := mixed()
			repo.Put(role, clienttest.Sign(repo.Roles[role].Signed, signers...))
			u := newUser(t, repo)
			_, _, err := u.client().Read(t.Context(), "a/tool")
			var short *client.QuorumError
			count, threshold := 1, int64(2)
			if role == root && len(signers) == 1 && signers[0] == pq {
				count, threshold = 0, 1 // the root before it knows the other key alone
			}
			if !errors.As(err, &short) || short.Role != role || short.Quorum.Count != count || short.Quorum.Threshold != threshold {
				t.Errorf("%s %s: %v", role, name, err)
			}
		}
	}

	only := clienttest.New()
	for _, role := range metadata.TopLevel {
		_, pq := keys(role)
		keep := only.Roles[role].Keys
		only.SetKeys(role, 1, pq)
		if role == root {
			only.Roles[root].Keys = append(keep, pq) // the old root's key signs the change
		}
	}
	only.Publish(root, targets)
	newUser(t, only).good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
}

func TestTimestampMustListSnapshot(t *testing.T) {
	repo := clienttest.New()
	delete(repo.Roles[timestamp].Signed["meta"].(metadata.Object), "snapshot.json")
	repo.Publish(timestamp)
	bad[*client.FormatError](newUser(t, repo))
}

func TestSnapshotMustListTargets(t *testing.T) {
	repo := clienttest.New()
	delete(repo.Roles[snapshot].Signed["meta"].(metadata.Object), "targets.json")
	repo.Publish(snapshot, timestamp)
	if e := bad[*client.UnlistedError](newUser(t, repo)); e.Role != targets {
		t.Errorf("got %v", e)
	}
}

func TestMissingFiles(t *testing.T) {
	for role, want := range map[string]string{
		timestamp: "root 2",
		snapshot:  "root 2, timestamp 2",
		targets:   "root 2, snapshot 2, timestamp 2",
	} {
		repo := clienttest.New()
		repo.Publish(root, targets)
		delete(repo.Files, clienttest.File(role, 2))
		u := newUser(t, repo)
		bad[*client.NotFoundError](u)
		u.wantCached(want)
	}
}

// Repositories without versions in file names work, though they cannot be
// updated while clients read.
func TestWithoutConsistentSnapshot(t *testing.T) {
	repo := clienttest.New()
	repo.Roles[root].Signed["consistent_snapshot"] = false
	repo.AddTarget(targets, "dir/a", "content")
	repo.Publish(root, targets)
	repo.Files["metadata/snapshot.json"] = repo.Current(snapshot)
	repo.Files["metadata/targets.json"] = repo.Current(targets)
	repo.Files["targets/dir/a"] = []byte("content")
	u := newUser(t, repo)
	_, data, err := u.client().Read(t.Context(), "dir/a")
	if err != nil || string(data) != "content" {
		t.Fatalf("read: %q, %v", data, err)
	}
	u.wantRequests("2.root.json 3.root.json timestamp.json snapshot.json targets.json dir/a")
}

func TestTrustAnchor(t *testing.T) {
	repo := clienttest.New()
	unsigned := clienttest.Sign(repo.Roles[root].Signed, clienttest.NewKey("stranger"))
	for name, data := range map[string][]byte{
		"unsigned":     unsigned,
		"truncated":    repo.Current(root)[:300],
		"empty":        {},
		"not a root":   repo.Current(targets),
		"too long":     bytes.Repeat([]byte(" "), client.RootMaxLength+1),
		"no version":   bytes.Replace(repo.Current(root), []byte(`"version"`), []byte(`"wersion"`), 1),
		"future major": respec(repo, root, "2.0"),
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, repo)
			o := u.options()
			o.Root = data
			_, err := client.New(o)
			refused[*client.AnchorError](t, "new", err)
			err = client.Init(t.Context(), u.dir, data)
			refused[*client.AnchorError](t, "init", err)
			file := filepath.Join(t.TempDir(), "root.json")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = client.ReadRoot(file)
			if e := refused[*client.AnchorError](t, "read", err); e.File != file {
				t.Errorf("error does not name the file: %v", e)
			}
			if _, err := os.Stat(u.dir); err == nil {
				t.Error("something was written")
			}
			if got := repo.Requests(); got != "" {
				t.Errorf("requests: %s", got)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		_, err := client.New(client.Options{MetadataURL: "http://127.0.0.1/"})
		refused[*client.NoAnchorError](t, "new", err)
		_, err = client.New(client.Options{MetadataURL: "http://127.0.0.1/", CacheDir: t.TempDir()})
		refused[*client.NoAnchorError](t, "new", err)
	})
	t.Run("expired is fine", func(t *testing.T) {
		repo := clienttest.New()
		u := newUser(t, repo)
		for _, role := range repo.Roles {
			role.Expire(clienttest.Now.Add(9 * Life))
		}
		repo.Publish(root, targets)
		u.now = clienttest.Now.Add(5 * Life)
		u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	})
}

func TestBadURLs(t *testing.T) {
	repo := clienttest.New()
	for _, url := range []string{"", "example.org/metadata", "://", "http:///metadata", "http://h/m?x=1", "http://h/m#x", "http://h/?", "mailto:x@y", "ftp://h/m"} {
		_, err := client.New(client.Options{Root: repo.Current(root), MetadataURL: url})
		refused[*client.URLError](t, url, err)
		if _, err := client.New(client.Options{Root: repo.Current(root), MetadataURL: "http://h/", TargetsURL: url}); err == nil && url != "" {
			t.Errorf("targets URL %q was taken", url)
		}
	}
}

func TestTooManyRoots(t *testing.T) {
	repo := clienttest.New()
	for range client.MaxRootRotations + 1 {
		repo.Publish(root)
	}
	u := newUser(t, repo)
	e := bad[*client.LimitError](u)
	if e.Limit != client.MaxRootRotations {
		t.Errorf("got %v", e)
	}
	u.wantCached("root 257")
	repo.Requests()
	u.good("root 1 -> 258, timestamp v1, snapshot v1, targets v1") // it goes on from there
	u.wantRequests("258.root.json 259.root.json timestamp.json 1.snapshot.json 1.targets.json")
}
