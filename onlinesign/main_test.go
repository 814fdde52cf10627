package onlinesign_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// forge is a role's metadata on main, changed by somebody who has no key: the
// signatures are left as they are.
func forge(t *testing.T, w *onlinesigntest.World, role string, change func(signed metadata.Object)) []byte {
	t.Helper()
	doc := w.Document(role)
	signed := metadata.Clone(doc.Signed())
	change(signed)
	forged, err := doc.WithSigned(signed, doc.Signatures())
	if err != nil {
		t.Fatal(err)
	}
	return forged.Bytes()
}

// Somebody who may write to main, and has no key, pushes this and that. The
// timestamp stays fresh, clients stay on what was signed, and no version or entry
// of theirs is ever signed.
func TestForgedFilesOnMain(t *testing.T) {
	entry := func(version int64) func(metadata.Object) {
		return func(signed metadata.Object) {
			signed["meta"].(metadata.Object)["targets.json"] = metadata.Object{"version": version}
		}
	}
	for _, test := range []struct {
		name    string
		push    func(t *testing.T, w *onlinesigntest.World) map[string][]byte
		want    string // of the first run after it, a day later
		blocked string
		next    string // of the run after that, one more day later
		warned  bool
	}{
		{"a snapshot far ahead", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": forge(t, w, "snapshot", func(s metadata.Object) { s["version"] = int64(1 << 53) })}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "", "timestamp 4 period [snapshot.json:3]", true},
		{"a snapshot that lists targets far ahead", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": forge(t, w, "snapshot", entry(99))}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "targets version-not-increased", "timestamp 4 period [snapshot.json:3]", true},
		{"no snapshot", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": nil}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "", "timestamp 4 period [snapshot.json:3]", true},
		{"a snapshot that is no JSON", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": []byte("{")}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "", "timestamp 4 period [snapshot.json:3]", true},
		{"the snapshot before, validly signed", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": old(t, w, "snapshot")}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "", "timestamp 4 period [snapshot.json:3]", true},
		{"a timestamp far ahead", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/timestamp.json": forge(t, w, "timestamp", func(s metadata.Object) { s["version"] = int64(1<<63 - 1) })}
		}, "timestamp 3 restored [snapshot.json:2]", "", "timestamp 4 period [snapshot.json:2]", true},
		{"a timestamp that lists another snapshot", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/timestamp.json": forge(t, w, "timestamp", func(s metadata.Object) {
				s["meta"].(metadata.Object)["snapshot.json"] = metadata.Object{"version": int64(99)}
			})}
		}, "timestamp 3 restored [snapshot.json:2]", "", "timestamp 4 period [snapshot.json:2]", true},
		{"no timestamp", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/timestamp.json": nil}
		}, "timestamp 3 restored [snapshot.json:2]", "", "timestamp 4 period [snapshot.json:2]", true},
		{"neither", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/timestamp.json": nil, "metadata/snapshot.json": nil}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 restored [snapshot.json:3]", "", "timestamp 4 period [snapshot.json:3]", true},
		{"targets that are no JSON", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/targets.json": []byte("{")}
		}, "timestamp 3 period [snapshot.json:2]", "targets metadata-invalid", "timestamp 4 period [snapshot.json:2]", false},
		{"no targets", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/targets.json": nil}
		}, "timestamp 3 period [snapshot.json:2]", "targets metadata-removed", "timestamp 4 period [snapshot.json:2]", false},
		{"the targets before, validly signed", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/targets.json": old(t, w, "targets")}
		}, "timestamp 3 period [snapshot.json:2]", "targets version-not-increased", "timestamp 4 period [snapshot.json:2]", false},
		{"snapshot and targets before, validly signed", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/snapshot.json": old(t, w, "snapshot"), "metadata/targets.json": old(t, w, "targets")}
		}, "snapshot 3 restored [targets.json:2], timestamp 3 content [snapshot.json:3]", "targets version-not-increased", "timestamp 4 period [snapshot.json:3]", true},
		{"a broken file of a signing event", func(t *testing.T, w *onlinesigntest.World) map[string][]byte {
			return map[string][]byte{"metadata/.signing-event-state": []byte("{"), "metadata/junk.json": []byte("{"), "metadata/root_history/x.root.json": []byte("{")}
		}, "timestamp 3 period [snapshot.json:2]", "", "timestamp 4 period [snapshot.json:2]", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Sign()
			w.Wait(day / 2)
			w.Artifact("a.txt", "one", true)
			w.Sign() // snapshot 2, timestamp 2, targets 2
			dirs := map[string]string{}
			update(t, w, dirs)
			w.Write("Something else", test.push(t, w))
			w.Wait(day)
			r := w.Sign()
			if got := signedText(r); got != test.want {
				t.Errorf("signed %q, want %q", got, test.want)
			}
			if blockedText(r) != test.blocked {
				t.Errorf("blocked by %q, want %q", blockedText(r), test.blocked)
			}
			if (len(r.Warnings) > 0) != test.warned {
				t.Errorf("warnings %q", r.Warnings)
			}
			if got := update(t, w, dirs); got != 2 {
				t.Errorf("clients see targets version %d", got)
			}
			update(t, w, nil)
			w.Wait(day)
			if got := signedText(w.Sign()); got != test.next {
				t.Errorf("the next run signed %q, want %q", got, test.next)
			}
			update(t, w, dirs)
		})
	}
}

// old is the first version of a role that main ever had.
func old(t *testing.T, w *onlinesigntest.World, role string) []byte {
	t.Helper()
	file := repository.MetadataFile(role)
	first := strings.Fields(w.Upstream.Run("log", "--reverse", "--diff-filter=A", "--format=%H", "main", "--", file))[0]
	return []byte(w.Upstream.Run("show", first+":"+file))
}

// A file that nobody ever signed, in a repository where nothing was signed yet,
// is where the versions begin.
func TestUnsignedFromTheStart(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	doc, err := metadata.New(metadata.Object{
		"_type": "snapshot", "spec_version": "1.0", "version": 6, "expires": "2026-01-31T00:00:00Z", "unknown": []any{"<é>"},
		"meta": metadata.Object{
			"targets.json": metadata.Object{"version": 1, "length": 7, "hashes": metadata.Object{"sha256": strings.Repeat("ab", 32)}},
			"gone.json":    metadata.Object{"version": 4, "x": true},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write("Import", map[string][]byte{"metadata/snapshot.json": doc.Bytes()})
	if got, want := signedText(w.Sign()), "snapshot 7 signature [gone.json:4 targets.json:1], timestamp 1 new [snapshot.json:7]"; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	// Nothing but version and date has changed, entries of roles that are gone
	// and unknown fields included.
	want := metadata.Clone(doc.Signed())
	want["version"], want["expires"] = 7, w.Now.Add(365*day).Format(metadata.TimeFormat)
	if got := metadata.Write(w.Document("snapshot").Signed()); string(got) != string(metadata.Write(want)) {
		t.Errorf("snapshot is %s, want %s", got, metadata.Write(want))
	}
	if got := w.Document("timestamp").SpecVersion(); got != "1.0.31" {
		t.Errorf("the new timestamp has spec_version %s", got)
	}
	// An entry changes only when the role's version grew, and then loses what no
	// longer holds.
	w.Artifact("a.txt", "one", true)
	w.Sign()
	want["meta"].(metadata.Object)["targets.json"] = metadata.Object{"version": 2}
	want["version"] = 8
	if got := metadata.Write(w.Document("snapshot").Signed()); string(got) != string(metadata.Write(want)) {
		t.Errorf("snapshot is %s, want %s", got, metadata.Write(want))
	}
}

// Root gives a role no expiry period: an error that says what to do.
func TestNoPeriod(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Raw("root", "No period", func(root metadata.Object) {
		delete(root["roles"].(metadata.Object)["timestamp"].(metadata.Object), metadata.FieldExpiryPeriod)
	})
	_, err := w.Run(w.Clone("bot"))
	if err == nil || !strings.Contains(err.Error(), "tufops-sign delegate EVENT timestamp --timestamp-expiry-days") {
		t.Errorf("error is %v", err)
	}
}

// A stopped run stops, and is not taken for a key that is gone.
func TestCancelled(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Rotate(w.OnlineKey("next.pem"))
	head := w.Upstream.Head("main")
	ctx, cancel := context.WithCancel(context.Background())
	o := w.Options(w.Clone("bot"))
	o.Keys = keysFunc(func(uri string) (metadata.Signer, error) {
		if uri == "file2:online.pem" { // the outgoing one
			cancel()
			return nil, context.Canceled
		}
		return w.Keys().Resolve(ctx, uri, "")
	})
	if _, err := onlinesign.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if w.Upstream.Head("main") != head {
		t.Error("main moved")
	}
}

// The snapshot was put back, and the version that the timestamp lists is nowhere
// in this shallow clone. A lower version is never listed: the snapshot is left
// alone, the timestamp renewed as it is.
func TestSnapshotPutBackInShallowClone(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Artifact("a.txt", "one", true)
	w.Sign()
	w.Write("Put back", map[string][]byte{"metadata/snapshot.json": old(t, w, "snapshot")})
	w.Wait(day)
	bot := w.Upstream.Clone("bot")
	dir := bot.Dir + "-shallow"
	bot.Run("clone", "--quiet", "--depth=1", "file://"+w.Upstream.Dir, dir)
	r, err := onlinesign.Run(context.Background(), w.Options(w.Open(dir)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := signedText(r), "timestamp 3 period [snapshot.json:2]"; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	if blockedText(r) != "snapshot version-not-increased" {
		t.Errorf("blocked by %q", blockedText(r))
	}
	update(t, w, nil) // who has the whole history finds the version
}

// Targets are not signed, and there is no snapshot that anybody signed: there is
// nothing to be fresh about. That is said, and nothing is signed until it is.
func TestBlockedFromTheStart(t *testing.T) {
	for _, unsigned := range []bool{false, true} {
		w := onlinesigntest.New(t, repository.OnlineConfig{})
		w.Artifact("a.txt", "one", false)
		if unsigned {
			doc, err := metadata.New(metadata.Object{
				"_type": "snapshot", "spec_version": "1.0.31", "version": 6, "expires": "2036-01-31T00:00:00Z",
				"meta": metadata.Object{"targets.json": metadata.Object{"version": 1}},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			w.Write("Import", map[string][]byte{"metadata/snapshot.json": doc.Bytes()})
		}
		o := w.Options(w.Clone("bot"))
		o.Keys = unusable{t}
		r, err := onlinesign.Run(context.Background(), o)
		if err != nil || len(r.Signed) > 0 || blockedText(r) != "targets quorum" {
			t.Errorf("with a snapshot that nobody signed (%v): signed %q, blocked by %q: %v", unsigned, signedText(r), blockedText(r), err)
		}
		w.Change("Signature from @alice", nil, "targets")
		if r := w.Sign(); len(r.Signed) != 2 || len(r.Blocked) > 0 {
			t.Errorf("once targets are signed: signed %q, blocked by %q", signedText(r), blockedText(r))
		}
		update(t, w, nil)
	}
}
