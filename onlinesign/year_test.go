package onlinesign_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// errFlaky is what a service answers that has a bad moment, or is away.
var errFlaky = errors.New("the service is not available")

// flaky is a key service of which each call fails with a probability, and all of
// them while it is away. calls counts what it was asked.
type flaky struct {
	keys   onlinesign.Keys
	random *rand.Rand
	fails  float64
	away   bool
	calls  int
}

func (f *flaky) call() error {
	f.calls++
	if f.away || f.random.Float64() < f.fails {
		return errFlaky
	}
	return nil
}

func (f *flaky) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	s, err := f.keys.Resolve(ctx, uri, scheme)
	return flakySigner{s, f}, err
}

type flakySigner struct {
	metadata.Signer
	f *flaky
}

func (s flakySigner) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	if err := s.f.call(); err != nil {
		return nil, err
	}
	return s.Signer.Sign(ctx, payload)
}

// seeded is the source of chance of a test. TUFOPS_SEED repeats a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64N(1_000_000)
	if s := os.Getenv("TUFOPS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("TUFOPS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 8))
}

// A year (a quarter in make test) with a timestamp of 7 days that is renewed from
// the sixth before its end, a run every six hours, a key service of which every
// fifth call fails and which is away for up to two days now and then, and people
// who bring new artifacts. At every step a go-tuf client that keeps its cache
// updates from what was published, and does not fail. No version is left out, none
// comes twice with other content, a commit is made only where one was due, and
// where none is the service is not called.
func TestYear(t *testing.T) {
	ctx := context.Background()
	days := 91
	if os.Getenv("TUFOPS_SOAK") != "" {
		days = 365
	}
	random := seeded(t)
	w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: 7, TimestampSigning: 6, SnapshotExpiry: 60, SnapshotSigning: 20})
	repo := w.Open(w.Upstream.Dir)
	service := &flaky{keys: w.Keys(), random: random}
	published := map[string][sha256.Size]byte{} // by file name and version
	last := map[string]int64{}
	var commits, idle, failures, outages, refreshes, changes int
	var awayUntil time.Time
	cache := t.TempDir()
	root := anchor(t, w, 1)
	for step := range days * 4 {
		if step > 0 {
			w.Wait(6 * time.Hour)
			service.fails = 0.2 // the first version there is gets made
		}
		if random.IntN(120) == 0 { // once a month
			w.Artifact("a.txt", fmt.Sprint(step), true)
			changes++
		}
		if step > 0 && w.Now.After(awayUntil.Add(4*day)) && random.IntN(40) == 0 { // every two weeks
			awayUntil = w.Now.Add(time.Duration(1+random.IntN(48)) * time.Hour)
			outages++
		}
		service.away = w.Now.Before(awayUntil)

		head := w.State().Commit()
		due := mustSign(w)
		asked := service.calls
		r, edit, err := onlinesign.Prepare(ctx, onlinesign.Options{Repository: repo, Keys: service, Now: w.Now}, head, nil)
		switch {
		case !due && (err != nil || len(r.Signed) > 0 || service.calls != asked):
			t.Fatalf("%v: nothing is due, and it signed %q after %d calls: %v", w.Now, signedText(r), service.calls-asked, err)
		case !due:
			idle++
		case errors.Is(err, errFlaky):
			failures++
		case err != nil || len(r.Signed) == 0 || len(r.Warnings)+len(r.Blocked) > 0:
			t.Fatalf("%v: signed %q, warnings %q: %v", w.Now, signedText(r), r.Warnings, err)
		default:
			commits++
			changes, err := edit.Changes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string][]byte{}
			for _, c := range changes {
				files[c.Path] = c.Data
			}
			w.Write("Online sign", files)
			for _, s := range r.Signed {
				if s.Version != last[s.Role]+1 {
					t.Fatalf("%v: %s version %d follows %d", w.Now, s.Role, s.Version, last[s.Role])
				}
				last[s.Role] = s.Version
			}
			if err := w.Publish(); err != nil {
				t.Fatalf("%v: %v", w.Now, err)
			}
		}
		for role, file := range map[string]string{"timestamp": "timestamp.json", "snapshot": fmt.Sprintf("%d.snapshot.json", last["snapshot"])} {
			data, err := os.ReadFile(filepath.Join(w.Site, "metadata", file))
			if err != nil {
				t.Fatal(err)
			}
			name, sum := fmt.Sprint(role, last[role]), sha256.Sum256(data)
			if was, ok := published[name]; ok && was != sum {
				t.Fatalf("%v: %s version %d comes with other content", w.Now, role, last[role])
			}
			published[name] = sum
			if doc, err := metadata.Parse(data); err != nil || doc.Version() != last[role] {
				t.Fatalf("%v: %s is served as %s, want version %d (%v)", w.Now, role, bytes.TrimSpace(data), last[role], err)
			}
		}
		c, err := gotuf.New(gotuf.Options{Root: root, Now: w.Now, Dir: cache, Open: func(name string) ([]byte, error) {
			return os.ReadFile(filepath.Join(w.Site, filepath.FromSlash(name)))
		}})
		if err == nil {
			err = c.Refresh()
		}
		if err != nil || c.Version("timestamp") != last["timestamp"] {
			t.Fatalf("%v: a client fails at timestamp version %d: %v", w.Now, c.Version("timestamp"), err)
		}
		refreshes++
	}
	t.Logf("%d days: %d commits, %d runs with nothing to do, %d that failed, %d outages, %d changes by people, %d refreshes, timestamp version %d, snapshot version %d",
		days, commits, idle, failures, outages, changes, refreshes, last["timestamp"], last["snapshot"])
	if int64(commits) != last["timestamp"] || commits > days+changes+1 || commits < days/3 || failures < days/10 || outages < days/60 {
		t.Error("these numbers make no sense")
	}
	if n := w.Upstream.Run("rev-list", "--count", "--grep=^Online sign$", "main"); n != fmt.Sprint(commits) {
		t.Errorf("main has %s commits of the bot, want %d", n, commits)
	}
}

// mustSign works out from main's files alone whether a run has anything to do.
func mustSign(w *onlinesigntest.World) bool {
	state := w.State()
	timestamp, err := state.Document("timestamp")
	if err != nil {
		return true
	}
	snapshot, err := state.Document("snapshot")
	if err != nil {
		return true
	}
	targets, err := state.Document("targets")
	return err == nil && (!w.Now.Before(timestamp.Expires().Add(-6*day)) || !w.Now.Before(snapshot.Expires().Add(-20*day)) ||
		snapshot.Meta()["targets.json"].Version < targets.Version())
}
