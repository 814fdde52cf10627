package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// The attacks of the specification, one test each.
// https://theupdateframework.github.io/specification/latest/#goals-to-protect-against-specific-attacks

// Whoever controls the server but no key serves software of their own.
func TestAttackArbitrarySoftware(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "tool", "good software")
	repo.Publish(targets)
	repo.AddTarget(targets, "other", "wanted later")
	repo.Publish(targets)
	u := newUser(t, repo)
	dir := filepath.Join(t.TempDir(), "out")
	d, err := u.client().Download(t.Context(), "tool", dir)
	if err != nil {
		t.Fatal(err)
	}
	for name := range repo.Files {
		if strings.HasPrefix(name, "targets/") {
			repo.Files[name] = []byte("evil software")[:len(repo.Files[name])%14]
		}
	}
	evil := strings.Repeat("e", len("wanted later"))
	for name := range repo.Files {
		if strings.HasSuffix(name, ".other") {
			repo.Files[name] = []byte(evil)
		}
	}
	_, err = u.client().Download(t.Context(), "other", dir)
	refused[*client.HashError](t, "download", err)
	_, _, err = u.client().Read(t.Context(), "other")
	refused[*client.HashError](t, "read", err)
	wantFiles(t, dir, "tool")
	if got, _ := os.ReadFile(d.File); string(got) != "good software" {
		t.Errorf("the good file became %q", got)
	}

	// Signed by keys that nobody delegated to.
	for _, role := range repo.Roles {
		role.Keys = []*clienttest.Key{clienttest.NewKey("mallory")}
	}
	repo.Publish(targets)
	bad[*client.QuorumError](u)
}

// A server never stops sending.
func TestAttackEndlessData(t *testing.T) {
	limits := map[string]int64{
		"2.root.json": client.RootMaxLength, "timestamp.json": client.TimestampMaxLength,
		"1.snapshot.json": client.SnapshotMaxLength, "1.targets.json": client.TargetsMaxLength,
		"1.A.json": client.TargetsMaxLength, "artifact": 7,
	}
	for file, limit := range limits {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/announced=%v", file, announced), func(t *testing.T) {
				repo := clienttest.New()
				repo.Delegate(targets, "A", false, []string{"*"})
				repo.AddTarget("A", "artifact", "content")
				for _, name := range []string{targets, snapshot, timestamp} {
					repo.Roles[name].Signed["version"] = int64(0)
				}
				repo.Publish("A", targets)
				sent := int64(0)
				repo.Hook = func(w http.ResponseWriter, r *http.Request, name string) bool {
					if !strings.HasSuffix(name, file) {
						return false
					}
					if announced {
						w.Header().Set("Content-Length", "99999999999")
					}
					junk := make([]byte, 1<<12)
					for r.Context().Err() == nil && sent < 64<<20 {
						n, err := w.Write(junk)
						sent += int64(n)
						if err != nil {
							break
						}
					}
					return true
				}
				u := newUser(t, repo)
				dir := t.TempDir()
				_, err := u.client().Download(t.Context(), "artifact", dir)
				e := refused[*client.LengthError](t, "download", err)
				if e.Want != limit {
					t.Errorf("limit was %d, want %d", e.Want, limit)
				}
				wantFiles(t, dir)
			})
		}
	}
}

// A signed length is a promise, not a permission.
func TestAttackEndlessDataOfSignedLength(t *testing.T) {
	for role, limit := range map[string]int64{snapshot: client.SnapshotMaxLength, targets: client.TargetsMaxLength} {
		repo := clienttest.New()
		in := map[string]string{snapshot: timestamp, targets: snapshot}[role]
		repo.Roles[in].Signed["meta"].(metadata.Object)[role+".json"].(metadata.Object)["length"] = int64(1) << 40
		if in == snapshot {
			repo.Publish(snapshot, timestamp)
		} else {
			repo.Publish(timestamp)
		}
		repo.Hook = func(w http.ResponseWriter, r *http.Request, name string) bool {
			if !strings.HasSuffix(name, "1."+role+".json") {
				return false
			}
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					break
				}
			}
			return true
		}
		if e := bad[*client.LengthError](newUser(t, repo)); e.Want != limit {
			t.Errorf("%s: limit was %d, want %d", role, e.Want, limit)
		}
	}
}

// wantFiles checks that a directory holds exactly these files, at any depth.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			got = append(got, rel)
		}
		return nil
	})
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// Somebody who had the online keys for a day gave everything the highest
// version there is. New keys bring clients back.
func TestAttackFastForward(t *testing.T) {
	const far = int64(1) << 60
	for name, c := range map[string]struct {
		attack  func(r *clienttest.Repo)
		recover func(r *clienttest.Repo)
	}{
		"timestamp": {
			func(r *clienttest.Repo) { r.Roles[timestamp].Signed["version"] = far; r.Publish(timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(timestamp, 1, clienttest.NewKey("timestamp-2"))
			},
		},
		"snapshot": {
			func(r *clienttest.Repo) { r.Roles[snapshot].Signed["version"] = far; r.Publish(snapshot, timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(timestamp, 1, clienttest.NewKey("timestamp-2"))
				r.SetKeys(snapshot, 1, clienttest.NewKey("snapshot-2"))
			},
		},
		// The specification drops both files when either key is new.
		"snapshot with only the snapshot key new": {
			func(r *clienttest.Repo) { r.Roles[snapshot].Signed["version"] = far; r.Publish(snapshot, timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(snapshot, 1, clienttest.NewKey("snapshot-2"))
			},
		},
		// The old signatures still hold; only the difference tells.
		"timestamp with another threshold": {
			func(r *clienttest.Repo) { r.Roles[timestamp].Signed["version"] = far; r.Publish(timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(timestamp, 2, clienttest.NewKey(timestamp), clienttest.NewKey("timestamp spare"))
			},
		},
		"timestamp with one more key": {
			func(r *clienttest.Repo) { r.Roles[timestamp].Signed["version"] = far; r.Publish(timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(timestamp, 1, clienttest.NewKey(timestamp), clienttest.NewKey("timestamp spare"), clienttest.NewKey("timestamp-2"))
			},
		},
		"snapshot with a key less": {
			func(r *clienttest.Repo) { r.Roles[snapshot].Signed["version"] = far; r.Publish(snapshot, timestamp) },
			func(r *clienttest.Repo) {
				r.SetKeys(snapshot, 1, clienttest.NewKey(snapshot))
			},
		},
		"targets": {
			func(r *clienttest.Repo) { r.Roles[targets].Signed["version"] = far; r.Publish(targets) },
			func(r *clienttest.Repo) {
				r.SetKeys(snapshot, 1, clienttest.NewKey("snapshot-2"))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			for _, role := range []string{timestamp, snapshot} {
				repo.SetKeys(role, 1, clienttest.NewKey(role), clienttest.NewKey(role+" spare"))
			}
			repo.Publish(root, targets)
			u := newUser(t, repo)
			u.good("")
			hurt := repo.Clone()
			c.attack(hurt)
			u.repo = hurt
			u.good("")

			// The keepers go on from where they were; without new keys clients
			// cannot tell them from an attacker.
			same := repo.Clone()
			same.Publish(root, targets)
			same.Publish(targets)
			u.repo = same
			bad[*client.RollbackError](u)

			recovered := repo.Clone()
			recovered.Publish(root)
			c.recover(recovered)
			recovered.Publish(root, targets)
			u.repo = recovered
			u.good("root 1 -> 4, timestamp v3, snapshot v3, targets v3")
			u.repo.Requests()
			u.good("root 1 -> 4, timestamp v3, snapshot v3, targets v3")
			u.wantRequests("5.root.json timestamp.json")
		})
	}
}

// Keys that are new for the other roles do not open the door to a rollback.
func TestOtherNewKeysDoNotAllowRollback(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	repo.Publish(targets)
	old := repo.Clone()
	repo.Publish(targets)
	u.good("root v1, timestamp v3, snapshot v3, targets v3")
	old.SetKeys(root, 1, clienttest.NewKey("root-2"))
	old.Roles[root].Keys = append(old.Roles[root].Keys, clienttest.NewKey(root))
	old.SetKeys(targets, 1, clienttest.NewKey("targets-2"))
	old.Publish(root)
	u.repo = old
	bad[*client.RollbackError](u)
}

// Whoever stands in between withholds all news.
func TestAttackIndefiniteFreeze(t *testing.T) {
	repo := clienttest.New()
	repo.Roles[timestamp].Expire(clienttest.Now.Add(2 * day))
	repo.Publish(timestamp)
	u := newUser(t, repo)
	u.good("")
	u.repo = repo.Clone()
	repo.Publish(targets) // never seen
	u.now = clienttest.Now.Add(2*day - time.Second)
	u.good("")
	u.now = clienttest.Now.Add(2 * day)
	if e := bad[*client.ExpiredError](u); e.Role != timestamp {
		t.Errorf("got %v", e)
	}
	// Answering nothing at all is no way out either: no update, but an error.
	delete(u.repo.Files, "metadata/timestamp.json")
	bad[*client.NotFoundError](u)
}

// Only a missing file ends the search for roots, or one that nobody may read, which
// is what some stores say of what is missing. Any other answer could be somebody
// who hides a new root.
func TestAttackHiddenRoot(t *testing.T) {
	for _, status := range []int{204, 400, 401, 407, 410, 429, 451, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			repo := clienttest.New()
			repo.Publish(root)
			repo.Hook = func(w http.ResponseWriter, _ *http.Request, file string) bool {
				if strings.HasSuffix(file, ".root.json") {
					w.WriteHeader(status)
					return true
				}
				return false
			}
			if e := bad[*client.FetchError](newUser(t, repo)); e.Status != status {
				t.Errorf("got %v", e)
			}
		})
	}
}

// A store that answers 403 for what is not there serves clients; and a server that
// forbids what must be there is no end of the roots but an error.
func TestForbiddenRoot(t *testing.T) {
	repo := clienttest.New()
	repo.Publish(root, targets)
	closed := ""
	repo.Hook = func(w http.ResponseWriter, _ *http.Request, file string) bool {
		if _, there := repo.Files[file]; there && file != "metadata/"+closed {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	newUser(t, repo).good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	if got := repo.Requests(); got != "2.root.json 3.root.json timestamp.json 2.snapshot.json 2.targets.json" {
		t.Errorf("asked for %s", got)
	}
	for _, closed = range []string{"timestamp.json", "2.snapshot.json", "2.targets.json"} {
		if e := bad[*client.FetchError](newUser(t, repo)); e.Status != http.StatusForbidden || !strings.HasSuffix(e.URL, "/"+closed) {
			t.Errorf("%s is forbidden: %v", closed, e)
		}
	}
}

// Old and new files are put together to a state that never was.
func TestAttackMixAndMatch(t *testing.T) {
	for _, hashes := range []bool{false, true} {
		for _, role := range []string{snapshot, targets, "A"} {
			t.Run(fmt.Sprintf("%s/hashes=%v", role, hashes), func(t *testing.T) {
				repo := clienttest.New()
				repo.MetaHashes = hashes
				repo.Delegate(targets, "A", false, []string{"*"})
				repo.AddTarget("A", "tool", "old")
				repo.Publish("A", targets)
				before := repo.Clone()
				repo.AddTarget("A", "tool", "new")
				repo.Publish("A", targets)
				now := repo.Roles[role].Version()
				repo.Files[clienttest.File(role, now)] = before.Current(role)
				_, err := newUser(t, repo).client().Target(t.Context(), "tool")
				var version *client.VersionError
				var hash *client.HashError
				if !errors.As(err, &version) && !errors.As(err, &hash) {
					t.Errorf("got %v", err)
				}
				t.Log(err)
			})
		}
	}
}

// Old but once valid metadata is served again.
func TestAttackRollback(t *testing.T) {
	for name, back := range map[string]func(old, now *clienttest.Repo){
		"all of it": func(old, now *clienttest.Repo) {},
		"new timestamp, old snapshot": func(old, now *clienttest.Repo) {
			old.Roles[timestamp].Signed["version"] = now.Roles[timestamp].Version()
			old.Publish(timestamp)
		},
		"new timestamp and snapshot, old targets": func(old, now *clienttest.Repo) {
			old.Roles[timestamp].Signed["version"] = now.Roles[timestamp].Version()
			old.Roles[snapshot].Signed["version"] = now.Roles[snapshot].Version()
			old.Publish(snapshot, timestamp)
		},
		"new timestamp, snapshot and targets, old delegated role": func(old, now *clienttest.Repo) {
			for _, role := range metadata.TopLevel {
				old.Roles[role].Signed["version"] = now.Roles[role].Version()
			}
			old.Publish(targets)
		},
		"delegated role no longer listed": func(old, now *clienttest.Repo) {
			for _, role := range append(metadata.TopLevel, "A") {
				old.Roles[role].Signed["version"] = now.Roles[role].Version()
			}
			old.Publish("A", targets)
			delete(old.Roles[snapshot].Signed["meta"].(metadata.Object), "A.json")
			old.Publish(snapshot, timestamp)
		},
		"new snapshot under the version of the old timestamp": func(old, now *clienttest.Repo) {
			old.Publish(timestamp)
		},
	} {
		for _, hashes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/hashes=%v", name, hashes), func(t *testing.T) {
				repo := clienttest.New()
				repo.MetaHashes = hashes
				u := newUser(t, repo)
				repo.Delegate(targets, "A", false, []string{"*"})
				repo.Publish("A", targets)
				old := repo.Clone()
				repo.Publish("A", targets)
				repo.Publish("A", targets)
				u.good("root v1, timestamp v4, snapshot v4, targets v4")
				held := u.cached()
				back(old, repo)
				u.repo = old
				bad[*client.RollbackError](u)
				if now := u.cached(); !strings.Contains(now, "snapshot 4, targets 4, timestamp") {
					t.Errorf("cache went from %q to %q", held, now)
				}
				u.repo = repo
				for range 3 {
					repo.Publish(targets)
				}
				u.good("")
			})
		}
	}
}

// The timestamp is lost; the snapshot still is there and counts.
func TestRollbackIsNoticedWithoutTheTimestamp(t *testing.T) {
	repo := clienttest.New()
	old := repo.Clone()
	repo.Publish(snapshot, timestamp)
	u := newUser(t, repo)
	u.good("")
	if err := os.Remove(filepath.Join(u.dir, "timestamp.json")); err != nil {
		t.Fatal(err)
	}
	old.Publish(timestamp)
	u.repo = old
	bad[*client.RollbackError](u)
}

// Some keys are stolen, too few for the threshold.
func TestAttackKeyCompromiseBelowThreshold(t *testing.T) {
	for _, role := range []string{root, timestamp, snapshot, targets, "A"} {
		for trick, sign := range map[string]func(signed metadata.Object, stolen, other *clienttest.Key) []byte{
			"one signature": func(s metadata.Object, stolen, _ *clienttest.Key) []byte { return clienttest.Sign(s, stolen) },
			"the other signature of another file": func(s metadata.Object, stolen, other *clienttest.Key) []byte {
				return splice(clienttest.Sign(s, stolen), clienttest.Sign(metadata.Object{"version": int64(1)}, other))
			},
			"the other signature under its keyid by the stolen key": func(s metadata.Object, stolen, other *clienttest.Key) []byte {
				alias := *stolen
				alias.ID = other.ID
				return clienttest.Sign(s, stolen, &alias)
			},
			"an empty second signature": func(s metadata.Object, stolen, other *clienttest.Key) []byte {
				return []byte(strings.Replace(string(clienttest.Sign(s, stolen)), `"signatures": [`, `"signatures": [{"keyid": "`+other.ID+`", "sig": ""},`, 1))
			},
		} {
			t.Run(role+" "+trick, func(t *testing.T) {
				repo := clienttest.New()
				stolen, other := clienttest.NewKey("stolen"), clienttest.NewKey("other")
				if role == "A" {
					repo.Delegate(targets, "A", false, []string{"*"}, stolen, other)["threshold"] = int64(2)
					repo.Publish("A", root, targets)
				} else {
					repo.SetKeys(role, 2, stolen, other)
					if role == root { // the old key signs the change once
						repo.Roles[root].Keys = append(repo.Roles[root].Keys, clienttest.NewKey(root))
					}
					repo.Publish(root, targets)
				}
				u := newUser(t, repo)
				u.good("")
				if role == "A" {
					if _, err := u.client().Target(t.Context(), "x"); err == nil {
						t.Fatal("found what is not there")
					}
				}
				switch role {
				case root:
					repo.Publish(root)
				case timestamp:
					repo.Publish(timestamp)
				case snapshot:
					repo.Publish(snapshot, timestamp)
				default:
					repo.Publish(role)
				}
				repo.Files[clienttest.File(role, repo.Roles[role].Version())] = sign(repo.Roles[role].Signed, stolen, other)
				_, err := u.client().Target(t.Context(), "x")
				if e := refused[*client.QuorumError](t, "target", err); e.Role != role || e.Quorum.Count != 1 || e.Quorum.Threshold != 2 {
					t.Errorf("got %v", e)
				}
			})
		}
	}
}

// splice adds the signatures of one file to another.
func splice(file, from []byte) []byte {
	a, _, _ := metadata.ParseTree(file)
	b, _, _ := metadata.ParseTree(from)
	tree := a.(metadata.Object)
	tree["signatures"] = append(tree["signatures"].([]any), b.(metadata.Object)["signatures"].([]any)...)
	return metadata.Write(tree)
}

// A client asks for one artifact and is given another one, each with good
// signatures.
func TestAttackWrongSoftware(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "editor", "the editor")
	repo.AddTarget(targets, "remote", "the remote")
	repo.Publish(targets)
	var editor, remote string
	for name := range repo.Files {
		switch {
		case strings.HasSuffix(name, ".editor"):
			editor = name
		case strings.HasSuffix(name, ".remote"):
			remote = name
		}
	}
	repo.Files[editor], repo.Files[remote] = repo.Files[remote], repo.Files[editor]
	u := newUser(t, repo)
	dir := t.TempDir()
	for _, name := range []string{"editor", "remote"} {
		_, err := u.client().Download(t.Context(), name, dir)
		refused[*client.HashError](t, name, err)
	}
	wantFiles(t, dir)
}

// A role signs for a path that it is not trusted with.
func TestAttackExtraneousPaths(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"a/*"})
	repo.AddTarget("A", "b/tool", "not theirs")
	repo.AddTarget("A", "a/x/tool", "not theirs either")
	repo.Publish("A", targets)
	for _, path := range []string{"b/tool", "a/x/tool"} {
		_, err := newUser(t, repo).client().Target(t.Context(), path)
		refused[*client.TargetNotFoundError](t, path, err)
	}
}

// A server keeps clients waiting, byte by byte or altogether.
func TestAttackSlowRetrieval(t *testing.T) {
	for name, c := range map[string]struct {
		fetcher *client.HTTPFetcher
		serve   func(w http.ResponseWriter, r *http.Request)
		want    func(e *client.SlowError) bool
		tries   int
	}{
		"no answer": {
			&client.HTTPFetcher{Idle: 700 * time.Millisecond},
			func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(e *client.SlowError) bool { return e.Idle > 0 }, 3,
		},
		"half an answer": {
			&client.HTTPFetcher{Idle: 700 * time.Millisecond},
			func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte("{"))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			},
			func(e *client.SlowError) bool { return e.Idle > 0 }, 3,
		},
		"drop by drop": { // 16384 bytes at 1 MiB/s: no time at all, and the idle time
			&client.HTTPFetcher{Idle: 2 * time.Second, MinRate: 1 << 20},
			func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = w.Write([]byte(" "))
					w.(http.Flusher).Flush()
					time.Sleep(10 * time.Millisecond)
				}
			},
			func(e *client.SlowError) bool { return e.Idle == 0 && e.All > 0 }, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			var tries atomic.Int32 // some answers are still being given
			repo.Hook = func(w http.ResponseWriter, r *http.Request, file string) bool {
				if !strings.HasSuffix(file, "timestamp.json") {
					return false
				}
				tries.Add(1)
				c.serve(w, r)
				return true
			}
			u := newUser(t, repo)
			began := time.Now()
			_, err := u.client(func(o *client.Options) { o.Fetcher = c.fetcher }).Refresh(t.Context())
			if e := refused[*client.SlowError](t, "refresh", err); !c.want(e) {
				t.Errorf("got %#v", e)
			}
			refused[*client.FetchError](t, "refresh", err)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if got := int(tries.Load()); got != c.tries {
				t.Errorf("asked %d times, want %d", got, c.tries)
			}
			u.wantCached("root 1")
		})
	}
}

// A timestamp that leads back to an older snapshot is refused itself: were it
// stored, the client could not go back to the right one of that version.
func TestTimestampToAnOlderSnapshotIsNotStored(t *testing.T) {
	repo := clienttest.New()
	old := repo.Clone()
	u := newUser(t, repo)
	repo.Publish(targets)
	u.good("root v1, timestamp v2, snapshot v2, targets v2")
	old.Publish(timestamp)
	old.Publish(timestamp)
	u.repo = old
	if e := bad[*client.RollbackError](u); e.Role != snapshot || e.Version != 1 || e.Trusted != 2 {
		t.Errorf("got %v", e)
	}
	u.wantRequests("2.root.json timestamp.json")
	u.wantCached("root 1, snapshot 2, targets 2, timestamp 2")
}
