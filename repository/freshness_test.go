package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// harmful are the cases after which freshness ends, and rightly.
var harmful = map[string]string{
	"another root was merged meanwhile":    "merged all the same, it rewrites a root that clients have: root-history-rewritten",
	"old root rewritten":                   "the same",
	"main holds a root that nobody signed": "the root chain breaks",
	"new root without its own quorum":      "the same",
	"new root without the old quorum":      "the same",
	"root jumps":                           "the same",
	"root copy missing":                    "the same",
	"root copy missing, signature awaited": "the same",
	"root version without root":            "the same",
	"root removed":                         "the same",
}

// TestFreshness: what breaks a rule is merged all the same. A day later the
// timestamp is renewed, published, and taken by those who had the state before it
// as well as by who comes new. Outside of CI and make soak one case of each rule does.
func TestFreshness(t *testing.T) {
	cases := ruleCases()
	for _, test := range personCases() {
		cases = append(cases, test.ruleCase)
	}
	broken := map[string]bool{} // rules
	all := os.Getenv("CI") != "" || os.Getenv("TUFOPS_SOAK") != ""
	for _, test := range cases {
		first := false
		for _, one := range test.want {
			rule := strings.Fields(one)[1]
			first = first || !broken[rule]
			broken[rule] = true
		}
		if !first && (!all || len(test.want) == 0) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := merged(t, test)
			if why := harmful[test.name]; why == "" && err != nil {
				t.Error(err)
			} else if why != "" && err == nil {
				t.Errorf("clients stay fresh, though listed: %s", why)
			}
		})
	}
	for _, r := range repository.Rules() {
		if !broken[r.Name] && !isElsewhere(r.Name) { // of a rehearsal online-sign and publish know nothing
			t.Errorf("no case breaks %s: nobody knows whether clients stay fresh", r.Name)
		}
	}
}

// merged merges the event of a case, whatever status says, a day before main is
// published. What main brought meanwhile has been published before.
func merged(t *testing.T, test ruleCase) error {
	w := New(t)
	s := newSite(t, w)
	if err := s.release(); err != nil {
		t.Fatal(err)
	}
	w.Run("switch", "-q", "-C", Event)
	test.event(w)
	w.Commit("event")
	w.Run("switch", "-q", "main")
	if err := s.release(); err != nil {
		return fmt.Errorf("main, before the merge: %w", err)
	}
	before := w.Doc("timestamp").Version()
	w.Run("merge", "-q", "--no-edit", "-X", "theirs", Event)
	w.Now = w.Now.AddDate(0, 0, 1)
	if err := s.release(); err != nil {
		return err
	}
	if after := w.Doc("timestamp"); after.Version() <= before || !after.Expires().After(w.Now.AddDate(0, 0, 1)) {
		return fmt.Errorf("timestamp version %d, expires %s, was version %d", after.Version(), after.Expires(), before)
	}
	return nil
}

// TestHeldBack: a root that clients cannot follow yet waits, with everything that
// is new, while what they have stays fresh; once main is cured all of it goes
// out.
func TestHeldBack(t *testing.T) {
	for _, test := range []struct {
		name          string
		event         func(w *World) // a new root, merged whatever status says
		cure          func(w *World) // on main
		root, targets int64          // versions that are published after the cure
	}{
		{"targets do not meet it yet",
			func(w *World) { bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "dave") }) },
			func(w *World) { w.Edit("targets", nil).Sign("targets", "alice", "dave") }, 2, 2},
		{"targets do not meet it, and the root after it does not differ",
			func(w *World) {
				bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "dave") })
				bumpRoot(w, nil)
			},
			func(w *World) { w.Edit("targets", nil).Sign("targets", "alice", "dave") }, 3, 2},
		{"targets do not meet it, and it rotates the online key",
			func(w *World) {
				bumpRoot(w, func(s object) {
					SetKeys(s, "targets", "alice", "dave")
					SetKeys(s, "timestamp", "online2")
					SetKeys(s, "snapshot", "online2")
				})
			},
			func(w *World) { w.Sign("targets", "dave") }, 2, 1},
		{"a key of targets that nothing verifies with, cured by another root",
			func(w *World) {
				bumpRoot(w, func(s object) {
					AddKey(s, "targets", "dave")
					Keys(s)[Key("dave").ID].(object)["keyval"] = object{"public": ""}
				})
			},
			func(w *World) { bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "bob", "carol") }) }, 3, 1},
		{"a fifth role, taken back on main",
			func(w *World) { bumpRoot(w, func(s object) { s["roles"].(object)["x"] = object{} }) },
			func(w *World) { w.Run("revert", "--no-edit", ":/merged by hand") }, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			s := newSite(t, w)
			if err := s.release(); err != nil {
				t.Fatal(err)
			}
			test.event(w)
			w.Commit("merged by hand")
			s.day(1, 1)
			s.day(1, 1)
			test.cure(w)
			w.Commit("cured")
			s.day(test.root, test.targets)
		})
	}
}

// TestHeldBackUntilNewTargets: an older version of targets that happens to meet a
// new root is no tree for it, since clients do not go back.
func TestHeldBackUntilNewTargets(t *testing.T) {
	w := New(t)
	s := newSite(t, w)
	w.Edit("targets", nil).Sign("targets", "bob", "carol")
	w.Commit("targets, as alice has not signed it")
	s.day(1, 2)
	bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "bob") })
	w.Commit("merged by hand")
	s.day(1, 2)
	w.Sign("targets", "alice")
	w.Commit("cured")
	s.day(2, 2)
}

// TestOneContentPerVersion: what clients have seen under a version stays, whatever
// else is signed under it, and stays through snapshots that list it again.
func TestOneContentPerVersion(t *testing.T) {
	w := New(t)
	s := newSite(t, w)
	s.day(1, 1)
	first := w.ReadFile("metadata/targets.json")
	bumpTargets(w, func(s object) { s["version"], s["x"] = int64(1), "other" })
	w.Commit("other content under version 1")
	s.day(1, 1)
	w.Edit("releases", nil).Sign("releases", "carol")
	w.Commit("another role moves on")
	s.day(1, 1)
	w.Sign("targets", "carol")
	w.Commit("a signature more under the other content")
	s.day(1, 1)
	if got, err := os.ReadFile(filepath.Join(s.dir, "metadata/1.targets.json")); err != nil || string(got) != first {
		t.Errorf("targets version 1 has changed: %v", err)
	}
	if got := w.Doc("snapshot").Meta()["releases.json"].Version; got != 2 {
		t.Errorf("snapshot lists version %d of releases, want 2", got)
	}
	bumpTargets(w, nil)
	w.Commit("a new version")
	s.day(1, 2)
}

// day lets a day go by, releases main, and says which root and targets clients
// must have then.
func (s *site) day(root, targets int64) {
	s.t.Helper()
	s.w.Now = s.w.Now.AddDate(0, 0, 1)
	if err := s.release(); err != nil {
		s.t.Fatal(err)
	}
	got, err := s.warm.Refresh(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if got.Root().Version != root || got.Targets.Version != targets {
		s.t.Errorf("clients have root version %d and targets version %d, want %d and %d", got.Root().Version, got.Targets.Version, root, targets)
	}
}

// A site is where a world's main is published, with clients that follow it.
type site struct {
	t     *testing.T
	w     *World
	r     *repository.Repository
	dir   string
	root  []byte // the first
	warm  *client.Client
	cache string // of a go-tuf client that goes on from what it has
}

func newSite(t *testing.T, w *World) *site {
	s := &site{t: t, w: w, r: w.Open(), dir: t.TempDir(), root: []byte(w.ReadFile("metadata/root.json")), cache: t.TempDir()}
	w.Run("switch", "-q", "main")
	s.warm = s.client()
	return s
}

func (s *site) client() *client.Client {
	s.t.Helper()
	url := "file://" + filepath.ToSlash(s.dir)
	c, err := client.New(client.Options{Root: s.root, MetadataURL: url + "/metadata", TargetsURL: url + "/targets", Now: func() time.Time { return s.w.Now }})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// keys are those of a [World], by their URI.
type keys struct{}

func (keys) Resolve(_ context.Context, uri, _ string) (metadata.Signer, error) {
	name, ok := strings.CutPrefix(uri, "file2:")
	if !ok { // a service that finds a key without being told its version
		name = "online"
	}
	return metadata.LocalSigner(Private(name)), nil
}

// release signs main online and publishes it, and lets all clients update.
func (s *site) release() error {
	ctx := s.t.Context()
	result, err := onlinesign.Run(ctx, onlinesign.Options{Repository: s.r, Keys: keys{}, Now: s.w.Now})
	if err != nil {
		return fmt.Errorf("online-sign: %w", err)
	}
	p, err := s.r.Published(ctx, result.Commit, s.w.Now)
	if err != nil {
		return err
	}
	publishable, err := p.Publishable()
	if err != nil {
		return err
	}
	store, err := dir.Open(s.dir, dir.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = publish.Run(ctx, publish.Options{Commit: result.Commit, Publishable: publishable,
		To: []publish.Destination{{URL: "file://" + filepath.ToSlash(s.dir), Store: store}}})
	if err != nil {
		return err
	}
	var errs []error
	want := s.w.Doc("timestamp").Version()
	check := func(name string, got int64, err error) {
		if err == nil && got != want {
			err = fmt.Errorf("timestamp version %d, want %d", got, want)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	for name, c := range map[string]*client.Client{"our fresh client": s.client(), "our warm client": s.warm} {
		got, err := c.Refresh(ctx)
		version := int64(0)
		if err == nil {
			version = got.Timestamp.Version
		}
		check(name, version, err)
	}
	for name, cache := range map[string]string{"go-tuf's fresh client": s.t.TempDir(), "go-tuf's warm client": s.cache} {
		version, err := s.gotuf(cache)
		check(name, version, err)
	}
	return errors.Join(errs...)
}

// gotuf updates with go-tuf, and returns the version of the timestamp it is at.
func (s *site) gotuf(cache string) (version int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cfg, err := config.New("https://site.invalid/metadata", s.root)
	if err != nil {
		return 0, err
	}
	cfg.Fetcher = folder(filepath.Join(s.dir, "metadata"))
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = cache, filepath.Join(cache, "targets")
	up, err := updater.New(cfg)
	if err != nil {
		return 0, err
	}
	up.UnsafeSetRefTime(s.w.Now)
	if err := up.Refresh(); err != nil {
		return 0, err
	}
	return up.GetTrustedMetadataSet().Timestamp.Signed.Version, nil
}

// A folder is how go-tuf reaches metadata without a network.
type folder string

func (f folder) DownloadFile(url string, _ int64, _ time.Duration) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(string(f), path.Base(url)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &gotuf.ErrDownloadHTTP{StatusCode: 404, URL: url}
	}
	return data, err
}
