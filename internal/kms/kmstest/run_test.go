package kmstest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// day is how long a timestamp of a world rests.
const day = 24 * time.Hour

// trial is a world whose online key is with a service.
type trial struct {
	*onlinesigntest.World
	uri     string
	service bool // a key service, not a file
	keys    onlinesign.Keys
	// faults break the service, by name; heal mends it.
	faults map[string]func()
	heal   func()
	hang   func()
}

// trials are the worlds: each service of the contract, and keys in files.
func trials(t *testing.T, test func(t *testing.T, w trial)) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		w := trial{onlinesigntest.New(t, repository.OnlineConfig{}), f.uri, true, f.keys, map[string]func(){}, f.service.Heal, func() { f.service.Break("read", kmstest.Hangs, kmstest.Forever) }}
		scheme, _, _ := strings.Cut(f.uri, ":")
		w.keys = onlinesign.Services{scheme: f.keys}
		signer, err := f.keys.Resolve(t.Context(), f.uri, "")
		if err != nil {
			t.Fatal(err)
		}
		key, err := metadata.NewKey(signer.Public(), "", f.uri)
		if err != nil {
			t.Fatal(err)
		}
		w.Rotate(key)
		for _, b := range breakages {
			for _, operation := range []string{"read", "sign"} {
				if cannot[a.name][b.how] == "" && (operation == "sign" || b.how != kmstest.Damaged) {
					w.faults[operation+", "+string(b.how)] = func() { f.service.Break(operation, b.how, kmstest.Forever) }
				}
			}
		}
		test(t, w)
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		w := trial{World: onlinesigntest.New(t, repository.OnlineConfig{}), uri: "file2:online.pem"}
		w.keys = onlinesign.Services{file.Scheme: file.Keys{Prefix: w.KeyDir}}
		name := filepath.Join(w.KeyDir, "online.pem")
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write := func(data []byte) {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.heal = func() {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
			write(good)
		}
		w.faults = map[string]func(){
			"gone":    func() { os.Remove(name) },
			"garbage": func() { write([]byte("not what you look for")) },
			"denied":  func() { os.Remove(name); os.Mkdir(name, 0o700) },
			"another key": func() {
				w.OnlineKey("other.pem")
				os.Rename(filepath.Join(w.KeyDir, "other.pem"), name)
			},
		}
		test(t, w)
	})
}

// night is what docs/break-glass.md has a row for: words behind the key.
type night struct{ behind []string }

func readNight(t *testing.T) night {
	t.Helper()
	text, err := os.ReadFile("../../../docs/break-glass.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| behind the key |")
	table, _, _ = strings.Cut(table, "\n\n")
	var n night
	for _, line := range strings.Split(table, "\n")[2:] {
		words, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for i, w := range strings.Split(words, "`") {
			if i%2 == 1 {
				n.behind = append(n.behind, w)
			}
		}
	}
	for _, cause := range []kms.Cause{kms.NoCredentials, kms.Denied, kms.NotFound, kms.Disabled, kms.Unsuited, kms.RateLimited, kms.Unavailable, kms.Corrupt, kms.Refused} {
		if !slices.Contains(n.behind, string(cause)) {
			t.Errorf("docs/break-glass.md has no row for %q", cause)
		}
	}
	return n
}

// has asks that whoever reads an error at night finds its row.
func (n night) has(t *testing.T, err error, uri string) {
	t.Helper()
	_, behind, _ := strings.Cut(err.Error(), uri+": ")
	found := strings.Contains(err.Error(), "compare key "+uri+": the metadata lists")
	for _, words := range n.behind {
		found = found || strings.HasPrefix(behind, words)
	}
	if !found {
		t.Errorf("docs/break-glass.md has no row for %q", err)
	}
}

func (w trial) run(repo *repository.Repository) (onlinesign.Result, error) {
	o := w.Options(repo)
	o.Keys = w.keys
	return onlinesign.Run(context.Background(), o)
}

// Whatever a service does: an error that names URI, operation and fix, nothing on
// main, nothing in the checkout; and the next run signs the version that was due.
func TestOnlineSign(t *testing.T) {
	rows := readNight(t)
	trials(t, func(t *testing.T, w trial) {
		repo := w.Clone("bot")
		if r, err := w.run(repo); err != nil || len(r.Signed) != 2 {
			t.Fatalf("the first run signed %v: %v", r.Signed, err)
		}
		// When nothing is due no service is asked: this one would fail.
		w.faults[slices.Sorted(maps.Keys(w.faults))[0]]()
		if r, err := w.run(repo); err != nil || len(r.Signed) != 0 {
			t.Errorf("with nothing due it signed %v: %v", r.Signed, err)
		}
		w.heal()
		w.Wait(day)
		head := w.Upstream.Head("main")
		unmoved := func(name string) {
			if w.Upstream.Head("main") != head {
				t.Fatalf("%s: main moved", name)
			}
			if at, err := repo.Git.Resolve(context.Background(), "HEAD"); err != nil || at != git.OID(head) {
				t.Fatalf("%s: the checkout moved to %s (%v)", name, at, err)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(w.faults)) {
			w.faults[name]()
			r, err := w.run(repo)
			unmoved(name)
			var quorum *onlinesign.QuorumError
			if !errors.As(err, &quorum) || len(quorum.Errs) != 1 || len(r.Signed) != 0 {
				t.Fatalf("%s: signed %v, error %v", name, r.Signed, err)
			}
			var key *onlinesign.KeyError
			var mismatch *onlinesign.MismatchError
			switch {
			case errors.As(err, &key):
				if key.URI != w.uri || key.Operation == "" || key.Hint() == "" {
					t.Errorf("%s: error %q, hint %q", name, err, key.Hint())
				}
			case errors.As(err, &mismatch):
				if mismatch.URI != w.uri || mismatch.Hint() == "" || !strings.Contains(name, "another key") {
					t.Errorf("%s: error %q, hint %q", name, err, mismatch.Hint())
				}
			default:
				t.Errorf("%s: error is %v", name, err)
			}
			if !strings.Contains(err.Error(), w.uri) {
				t.Errorf("%s: error %q does not name the key", name, err)
			}
			if w.service {
				rows.has(t, err, w.uri)
			}
			w.heal()
		}
		if w.service {
			// A service that hangs, where patience ends before the service's tries do.
			w.hang()
			o := w.Options(repo)
			o.Keys, o.Patience = w.keys, 50*time.Millisecond
			_, err := onlinesign.Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
				t.Errorf("a service that hangs: %v", err)
			} else {
				rows.has(t, err, w.uri)
			}
			unmoved("hangs")
			w.heal()
		}
		if len(w.faults) < 4 {
			t.Fatalf("%d faults were tried", len(w.faults))
		}
		t.Logf("%d faults, and main never moved", len(w.faults))
		r, err := w.run(repo)
		if err != nil || len(r.Signed) != 1 || r.Signed[0].Role != metadata.Timestamp || r.Signed[0].Version != 2 || r.Signed[0].Keys[0] != w.uri {
			t.Fatalf("healed, it signed %v: %v", r.Signed, err)
		}
		if d, ok := w.Document(metadata.Root).Delegation(metadata.Timestamp); !ok || !metadata.Check(d, w.Document(metadata.Timestamp)).Met() {
			t.Error("what is on main does not verify")
		}
	})
}
