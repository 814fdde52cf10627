package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// stale are the cases after which clients do not stay fresh, though no rule that
// they break stops anything on main. Each is a hole.
var stale = map[string]string{
	"version stays": "publish finds other bytes under the name of a targets version that is out already, and refuses the whole tree with the timestamp",
	"main revoked a signer, targets as it was": "root is merged before targets meets its new delegation, no targets verify, and nothing can be published; the tree of the old root could",
	"targets no longer meets its delegation":   "the same",
	"a keyid without a key":                    "go-tuf does not verify a role that lists a keyid without a key; such a root is published",
	"new key of another type":                  "go-tuf does not verify a role that lists a key of an unknown type, whoever has signed; such a root is published",
}

// harmful are the cases that break a rule on main which does stop publishing,
// and rightly.
var harmful = map[string]string{
	"another root was merged meanwhile": "merged all the same, it rewrites a root that clients have: root-history-rewritten",
}

// TestFreshness: what breaks a rule that stops neither a snapshot nor publishing
// is merged all the same. A day later the timestamp is renewed, published, and
// taken by those who had the state before it as well as by who comes new.
func TestFreshness(t *testing.T) {
	harmless := map[string]bool{} // rules, by whether a case breaks them
	for _, r := range repository.Rules() {
		if !r.Gates.Snapshot() && !r.Gates.Publish() {
			harmless[r.Name] = false
		}
	}
	cases := ruleCases()
	for _, test := range personCases() {
		cases = append(cases, test.ruleCase)
	}
	for _, test := range cases {
		var broken []string
		for _, one := range test.want {
			broken = append(broken, strings.Fields(one)[1])
		}
		if slices.ContainsFunc(broken, func(rule string) bool { _, ok := harmless[rule]; return !ok }) || len(broken) == 0 {
			continue
		}
		for _, rule := range broken {
			harmless[rule] = true
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := merged(t, test)
			why := stale[test.name] + harmful[test.name]
			if why == "" && err != nil {
				t.Error(err)
			} else if why != "" && err == nil {
				t.Errorf("clients stay fresh, though listed: %s", why)
			}
		})
	}
	for rule, broken := range harmless {
		if !broken && !isElsewhere(rule) { // of a rehearsal online-sign and publish know nothing
			t.Errorf("no case breaks %s without a rule that stops publishing: nobody knows whether clients stay fresh", rule)
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
	w.Run("merge", "-q", "--no-edit", "-X", "theirs", Event)
	w.Now = w.Now.AddDate(0, 0, 1)
	before := w.Doc("timestamp").Version()
	if err := s.release(); err != nil {
		return err
	}
	if after := w.Doc("timestamp"); after.Version() <= before || !after.Expires().After(w.Now.AddDate(0, 0, 1)) {
		return fmt.Errorf("timestamp version %d, expires %s, was version %d", after.Version(), after.Expires(), before)
	}
	return nil
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

func (keys) Resolve(_ context.Context, uri string) (metadata.Signer, error) {
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
