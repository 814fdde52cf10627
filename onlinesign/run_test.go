package onlinesign_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

const day = 24 * time.Hour

// signedText is what a run signed, in short: "snapshot 1 new {targets.json:1}".
func signedText(r onlinesign.Result) string {
	var list []string
	for _, s := range r.Signed {
		list = append(list, fmt.Sprintf("%s %d %s %v", s.Role, s.Version, s.Why, strings.TrimPrefix(fmt.Sprint(s.Meta), "map")))
	}
	return strings.Join(list, ", ")
}

func blockedText(r onlinesign.Result) string {
	var list []string
	for _, f := range r.Blocked {
		list = append(list, f.Role+" "+f.Rule)
	}
	return strings.Join(list, ", ")
}

// unusable is a Keys that must not be asked.
type unusable struct{ t *testing.T }

func (k unusable) Resolve(_ context.Context, uri, _ string) (metadata.Signer, error) {
	k.t.Errorf("key %s was asked for", uri)
	return nil, errors.New("no")
}

func subjects(t *testing.T, w *onlinesigntest.World) []string {
	t.Helper()
	return strings.Split(w.Upstream.Run("log", "--format=%s", "main"), "\n")
}

// Signing a new repository, then what is due and nothing else, in this order.
func TestRunSignsWhatIsDue(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: 7, TimestampSigning: 6, SnapshotExpiry: 20, SnapshotSigning: 5})
	repo := w.Clone("bot")
	steps := []struct {
		name   string
		before func()
		want   string // "" for nothing
	}{
		{"new repository", func() {}, "snapshot 1 new [targets.json:1], timestamp 1 new [snapshot.json:1]"},
		{"at once again", func() {}, ""},
		{"one second before the signing period", func() { w.Wait(day - time.Second) }, ""},
		{"the signing period has begun", func() { w.Wait(time.Second) }, "timestamp 2 period [snapshot.json:1]"},
		{"targets grew", func() { w.Wait(time.Hour); w.Artifact("a.txt", "one", true) }, "snapshot 2 content [targets.json:2], timestamp 3 content [snapshot.json:2]"},
		{"a delegated role was added", func() {
			w.Change("'npm' role/delegation change", func(e *repository.Edit) error {
				return e.SetRole("npm", repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: onlinesigntest.PersonKey(t, "alice")})
			}, "targets", "npm")
		}, "snapshot 3 content [npm.json:1 targets.json:3], timestamp 4 content [snapshot.json:3]"},
		{"root changed, but not the online keys", func() {
			w.Change("'root' role/delegation change", func(e *repository.Edit) error {
				return e.SetRole("root", repository.RoleConfig{ExpiryPeriod: 3000})
			}, "root")
		}, ""},
		{"the snapshot's signing period has begun", func() { w.Wait(15 * day) }, "snapshot 4 period [npm.json:1 targets.json:3], timestamp 5 content [snapshot.json:4]"},
		{"long after everything expired", func() { w.Wait(100 * day) }, "snapshot 5 period [npm.json:1 targets.json:3], timestamp 6 content [snapshot.json:5]"},
	}
	for _, step := range steps {
		step.before()
		head := w.Upstream.Head("main")
		o := w.Options(repo)
		o.DryRun, o.Keys = true, unusable{t}
		dry, err := onlinesign.Run(context.Background(), o)
		if err != nil {
			t.Fatalf("%s: dry run: %v", step.name, err)
		}
		if w.Upstream.Head("main") != head {
			t.Fatalf("%s: the dry run moved main", step.name)
		}
		o = w.Options(repo)
		if step.want == "" {
			o.Keys = unusable{t}
		}
		got, err := onlinesign.Run(context.Background(), o)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if signedText(got) != step.want || signedText(dry) != step.want {
			t.Errorf("%s: signed %q, dry run %q, want %q", step.name, signedText(got), signedText(dry), step.want)
		}
		if len(got.Blocked)+len(got.Warnings) > 0 {
			t.Errorf("%s: blocked %v, warnings %v", step.name, got.Blocked, got.Warnings)
		}
		if string(got.Commit) != w.Upstream.Head("main") {
			t.Errorf("%s: result is commit %s, the upstream has %s", step.name, got.Commit, w.Upstream.Head("main"))
		}
		if step.want == "" && w.Upstream.Head("main") != head {
			t.Errorf("%s: a commit was made", step.name)
		}
		if step.want == "" {
			continue
		}
		// One commit of the form that tuf-on-ci makes, and nothing else in it.
		message, files := "Online sign (timestamp)", "metadata/timestamp.json"
		if len(got.Signed) == 2 {
			message, files = "Online sign (snapshot & timestamp)", "metadata/snapshot.json\nmetadata/timestamp.json"
		}
		commit := w.Upstream.Run("log", "-1", "--format=%B%P%n%cd", "--date=unix", "main")
		want := fmt.Sprintf("%s\n\nSigned-off-by: Bot <bot@example.com>\n%s\n%d", message, head, w.Now.Unix())
		if commit != want {
			t.Errorf("%s: commit is %q, want %q", step.name, commit, want)
		}
		if got := w.Upstream.Run("diff-tree", "-r", "--name-only", head, "main"); got != files {
			t.Errorf("%s: the commit changes %q, want %q", step.name, got, files)
		}
		for _, s := range got.Signed {
			doc := w.Document(s.Role)
			d, _ := w.Document("root").Delegation(s.Role)
			if q := metadata.Check(d, doc); !q.Met() || doc.Version() != s.Version || len(doc.Signatures()) != 1 {
				t.Errorf("%s: %s on main is version %d with %d of %d signatures", step.name, s.Role, doc.Version(), q.Count, q.Threshold)
			}
			period := time.Duration(metadata.PeriodOf(d.Object).Expiry) * day
			if !doc.Expires().Equal(w.Now.Add(period)) || !s.Expires.Equal(doc.Expires()) {
				t.Errorf("%s: %s expires %v, want %v", step.name, s.Role, doc.Expires(), w.Now.Add(period))
			}
			if !slices.Equal(s.Keys, []string{"file2:online.pem"}) {
				t.Errorf("%s: %s was signed with %v", step.name, s.Role, s.Keys)
			}
		}
		update(t, w, nil)
	}
}

// Without an identity of its own git gets the bot's.
func TestRunWithoutIdentity(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	repo := w.Clone("bot")
	config := filepath.Join(repo.Git.GitDir(), "config")
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(data), "[user]")
	if err := os.WriteFile(config, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run(repo); err != nil {
		t.Fatal(err)
	}
	want := "tufops <41898282+github-actions[bot]@users.noreply.github.com>"
	if got := w.Upstream.Run("log", "-1", "--format=%an <%ae>%n%(trailers:key=Signed-off-by,valueonly)", "main"); strings.TrimSpace(got) != want+"\n"+want {
		t.Errorf("author and sign-off are %q, want %q", got, want)
	}
}

// Without a remote the checked-out branch moves, and its files with it.
func TestRunWithoutPush(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	repo := w.Clone("bot")
	head := w.Upstream.Head("main")
	o := w.Options(repo)
	o.Remote = ""
	got, err := onlinesign.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Upstream.Head("main") != head {
		t.Error("it pushed")
	}
	at, err := repo.Git.Resolve(context.Background(), "HEAD")
	if err != nil || at != got.Commit || len(got.Signed) != 2 {
		t.Errorf("HEAD is %s (%v), the result %s", at, err, got.Commit)
	}
	if data, err := os.ReadFile(filepath.Join(repo.Git.Top(), "metadata", "timestamp.json")); err != nil || !strings.Contains(string(data), `"version": 1`) {
		t.Errorf("the work tree has no new timestamp: %v", err)
	}
	// What was signed here is pushed by the next run that may.
	o = w.Options(repo)
	o.Keys, o.DryRun = unusable{t}, true
	if _, err := onlinesign.Run(context.Background(), o); err != nil || w.Upstream.Head("main") != head {
		t.Errorf("a dry run pushed (%v)", err)
	}
	o.DryRun = false
	if _, err := onlinesign.Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if w.Upstream.Head("main") != string(got.Commit) {
		t.Error("the next run with a remote did not push it")
	}
}

// clients are the clients that must be able to update, by name. Each gets a
// trust anchor and a folder that is its own.
var clients = map[string]func(w *onlinesigntest.World, anchor []byte, dir string) (timestamp, targets int64, err error){
	"tufops-client": func(w *onlinesigntest.World, anchor []byte, dir string) (int64, int64, error) {
		c, err := client.New(client.Options{
			Root: anchor, MetadataURL: "file://" + filepath.Join(w.Site, "metadata"), TargetsURL: "file://" + filepath.Join(w.Site, "targets"),
			CacheDir: dir, Now: func() time.Time { return w.Now },
		})
		if err != nil {
			return 0, 0, err
		}
		r, err := c.Refresh(context.Background())
		return r.Timestamp.Version, r.Targets.Version, err
	},
}

// update publishes main and has every client update from it, from the first
// root or from the given ones. It returns the version of targets that they saw.
func update(t *testing.T, w *onlinesigntest.World, dirs map[string]string) int64 {
	t.Helper()
	if err := w.Publish(); err != nil {
		t.Fatalf("publish: %v", err)
	}
	return refresh(t, w, 1, dirs)
}

// refresh has every client update from what is published, with one version of
// root as their anchor. dirs keeps their caches from one call to the next; nil
// for fresh clients.
func refresh(t *testing.T, w *onlinesigntest.World, root int, dirs map[string]string) int64 {
	t.Helper()
	seen := int64(0)
	for name, one := range clients {
		dir := dirs[name]
		if dir == "" {
			dir = t.TempDir()
			if dirs != nil {
				dirs[name] = dir
			}
		}
		timestamp, targets, err := one(w, anchor(t, w, root), dir)
		if err != nil {
			t.Fatalf("%v: %s from root %d cannot update: %v", w.Now, name, root, err)
		}
		if want := w.Document("timestamp").Version(); timestamp != want {
			t.Errorf("%v: %s has timestamp version %d, main has %d", w.Now, name, timestamp, want)
		}
		if seen != 0 && seen != targets {
			t.Errorf("clients see targets versions %d and %d", seen, targets)
		}
		seen = targets
	}
	return seen
}

func anchor(t *testing.T, w *onlinesigntest.World, version int) []byte {
	t.Helper()
	doc, err := w.State().RootVersion(context.Background(), int64(version))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Raw()
}

// Somebody pushes an unsigned targets.json to main. For 10 days (30 in make soak)
// the timestamp stays fresh over the old content, and so does a snapshot that lives
// only a week; the event that has targets signed heals it.
func TestUnsignedTargetsOnMain(t *testing.T) {
	days, renewed := 10, 2
	if os.Getenv("TUFOPS_SOAK") != "" {
		days, renewed = 30, 7
	}
	for name, periods := range map[string]repository.OnlineConfig{
		"long snapshot":  {TimestampExpiry: 2, TimestampSigning: 1},
		"short snapshot": {TimestampExpiry: 2, TimestampSigning: 1, SnapshotExpiry: 7, SnapshotSigning: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, periods)
			w.Artifact("a.txt", "one", true)
			w.Sign()
			dirs := map[string]string{}
			if got := update(t, w, dirs); got != 2 {
				t.Fatalf("clients see targets version %d, want 2", got)
			}
			w.Artifact("a.txt", "two", false)
			snapshots := 0
			for d := range days {
				w.Wait(day)
				r := w.Sign()
				if blockedText(r) != "targets quorum" {
					t.Fatalf("day %d: blocked by %q", d, blockedText(r))
				}
				if n := len(r.Signed); n == 0 || r.Signed[n-1].Role != "timestamp" {
					t.Fatalf("day %d: signed %q: no timestamp", d, signedText(r))
				}
				if r.Signed[0].Role == "snapshot" {
					snapshots++
				}
				if doc := w.Document("snapshot"); doc.Meta()["targets.json"].Version != 2 {
					t.Fatalf("day %d: the snapshot lists targets version %d", d, doc.Meta()["targets.json"].Version)
				}
				if got := update(t, w, dirs); got != 2 {
					t.Fatalf("day %d: clients see targets version %d, want 2", d, got)
				}
				refresh(t, w, 1, nil) // who comes only now
			}
			if want := map[string]int{"long snapshot": 0, "short snapshot": renewed}[name]; snapshots != want {
				t.Errorf("%d new snapshots in %d days, want %d", snapshots, days, want)
			}
			w.Change("Signature from @alice", nil, "targets")
			r := w.Sign()
			if got := blockedText(r); got != "" {
				t.Errorf("after the fixing event blocked by %q", got)
			}
			if doc := w.Document("snapshot"); doc.Meta()["targets.json"].Version != 3 || len(r.Signed) != 2 {
				t.Errorf("after the fixing event signed %q", signedText(r))
			}
			if got := update(t, w, dirs); got != 3 {
				t.Errorf("after the fixing event clients see targets version %d, want 3", got)
			}
		})
	}
}

// A root that its predecessor's people have not signed stops everything: no
// client could follow it.
func TestBrokenRootChain(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Change("A root that nobody signed", func(e *repository.Edit) error {
		return e.SetRole("root", repository.RoleConfig{ExpiryPeriod: 3000})
	})
	w.Wait(10 * day)
	head := w.Upstream.Head("main")
	o := w.Options(w.Clone("bot"))
	o.Keys = unusable{t}
	_, err := onlinesign.Run(context.Background(), o)
	var chain *repository.ChainError
	if !errors.As(err, &chain) || chain.Version != 2 {
		t.Errorf("error is %v, want a ChainError of version 2", err)
	}
	if w.Upstream.Head("main") != head {
		t.Error("main moved")
	}
}
