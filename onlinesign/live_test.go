package onlinesign_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// serving is a place that serves a timestamp.
func serving(data []byte) []onlinesign.Live {
	return []onlinesign.Live{{URL: "https://cdn.example", Read: func(context.Context) ([]byte, error) { return data, nil }}}
}

// elsewhere is main's timestamp, changed and signed with a key of this world.
func elsewhere(t *testing.T, w *onlinesigntest.World, uri string, change func(signed metadata.Object)) []byte {
	t.Helper()
	doc := w.Document("timestamp")
	signed := metadata.Clone(doc.Signed())
	change(signed)
	next, err := doc.WithSigned(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := w.Keys().Resolve(context.Background(), uri, "")
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign(context.Background(), next.Payload())
	if err != nil {
		t.Fatal(err)
	}
	key, err := metadata.NewKey(signer.Public(), "", uri)
	if err != nil {
		t.Fatal(err)
	}
	if next, err = next.WithSignature(key.ID, sig); err != nil {
		t.Fatal(err)
	}
	return next.Bytes()
}

func version(timestamp, snapshot int64) func(metadata.Object) {
	return func(s metadata.Object) {
		s["version"] = timestamp
		s["meta"].(metadata.Object)["snapshot.json"] = metadata.Object{"version": snapshot}
	}
}

// What clients are served decides the next version where it can be believed, and
// nothing else. Main has timestamp version 2 over snapshot 2, signed with the key
// of root 2.
func TestLive(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: 7, TimestampSigning: 6})
	w.Sign()
	w.OnlineKey("thief.pem")
	w.Rotate(w.OnlineKey("next.pem"))
	w.Sign()
	start := w.Upstream.Head("main")
	began := w.Now
	fail := []onlinesign.Live{{URL: "https://cdn.example", Read: func(context.Context) ([]byte, error) { return nil, errors.New("no route to host") }}}
	for _, test := range []struct {
		name string
		live []onlinesign.Live
		now  string // what is signed at once
		day  string // what is signed a day later, when a timestamp is due
		warn string // "" for no warning
	}{
		{"nothing served", nil, "", "timestamp 3 period [snapshot.json:2]", ""},
		{"what main has", serving(w.Document("timestamp").Bytes()), "", "timestamp 3 period [snapshot.json:2]", ""},
		{"what main has, with another signature", serving(elsewhere(t, w, "file2:next.pem", func(metadata.Object) {})), "", "timestamp 3 period [snapshot.json:2]", ""},
		{"an older one", serving(elsewhere(t, w, "file2:next.pem", version(1, 1))), "", "timestamp 3 period [snapshot.json:2]", ""},
		{"a newer one", serving(elsewhere(t, w, "file2:next.pem", version(9, 2))), "snapshot 3 live [targets.json:1], timestamp 10 live [snapshot.json:3]", "", "clients have timestamp version 9, which"},
		{"one over a newer snapshot", serving(elsewhere(t, w, "file2:next.pem", version(4, 6))), "snapshot 7 live [targets.json:1], timestamp 5 live [snapshot.json:7]", "", "clients have timestamp version 4, which"},
		{"the same version with other content", serving(elsewhere(t, w, "file2:next.pem", func(s metadata.Object) { s["expires"] = "2026-04-01T00:00:00Z" })),
			"snapshot 3 live [targets.json:1], timestamp 3 live [snapshot.json:3]", "", "clients have timestamp version 2, which differs"},
		{"two places", append(serving(elsewhere(t, w, "file2:next.pem", version(5, 2))), serving(elsewhere(t, w, "file2:next.pem", version(4, 8)))...),
			"snapshot 9 live [targets.json:1], timestamp 6 live [snapshot.json:9]", "", "version 5"},
		{"as far ahead as may be", serving(elsewhere(t, w, "file2:next.pem", version(1_000_002, 2))), "snapshot 3 live [targets.json:1], timestamp 1000003 live [snapshot.json:3]", "", "1000002"},
		{"absurdly far ahead", serving(elsewhere(t, w, "file2:next.pem", version(1_000_003, 2))), "", "timestamp 3 period [snapshot.json:2]", "is not followed"},
		{"the end of all numbers", serving(elsewhere(t, w, "file2:next.pem", version(1<<63-1, 2))), "", "timestamp 3 period [snapshot.json:2]", "is not followed"},
		{"over an absurd snapshot", serving(elsewhere(t, w, "file2:next.pem", version(3, 1<<62))), "", "timestamp 3 period [snapshot.json:2]", "is not followed"},
		{"signed by a stranger", serving(elsewhere(t, w, "file2:thief.pem", version(9, 2))), "", "timestamp 3 period [snapshot.json:2]", "not signed by the online keys of root version 2"},
		{"signed by the key that was replaced", serving(elsewhere(t, w, "file2:online.pem", version(9, 2))), "", "timestamp 3 period [snapshot.json:2]", "not signed by the online keys of root version 2"},
		{"another role", serving(w.Document("snapshot").Bytes()), "", "timestamp 3 period [snapshot.json:2]", "snapshot"},
		{"no JSON", serving([]byte("<html>")), "", "timestamp 3 period [snapshot.json:2]", "cannot be read"},
		{"nothing at all", serving(nil), "", "timestamp 3 period [snapshot.json:2]", "cannot be read"},
		{"unreachable", fail, "", "timestamp 3 period [snapshot.json:2]", "no route to host"},
		{"one of two unreachable", append(fail, serving(elsewhere(t, w, "file2:next.pem", version(9, 2)))...), "snapshot 3 live [targets.json:1], timestamp 10 live [snapshot.json:3]", "", "no route to host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.Upstream.Run("update-ref", "refs/heads/main", start)
			w.Now = began
			keys := w.Keys()
			if test.now == "" {
				keys = unusable{t} // promise 7: nothing to do, no service called
			}
			r, err := w.TrySign(keys, test.live...)
			if err != nil || signedText(r) != test.now {
				t.Errorf("signed %q, want %q: %v", signedText(r), test.now, err)
			}
			if text := strings.Join(r.Warnings, "\n"); (test.warn == "") != (text == "") || !strings.Contains(text, test.warn) || text != "" && !strings.Contains(text, "https://cdn.example") {
				t.Errorf("warnings %q, want %q", text, test.warn)
			}
			if test.now != "" {
				return
			}
			w.Wait(day)
			if r, err = w.TrySign(w.Keys(), test.live...); err != nil || signedText(r) != test.day {
				t.Errorf("a day later signed %q, want %q: %v", signedText(r), test.day, err)
			}
		})
	}
}

// A night without GitHub: somebody signs and publishes from a laptop, twice, and
// pushes nothing. The next run in CI goes on from there, so that no client is left
// behind; without --live they would be.
func TestBreakGlassThenCI(t *testing.T) {
	for _, look := range []bool{true, false} {
		w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: 7, TimestampSigning: 6})
		w.Sign()
		dirs := map[string]string{}
		update(t, w, dirs)
		main := w.Upstream.Head("main")
		w.Artifact("a.txt", "one", true)
		merged := w.Upstream.Head("main")
		for range 2 { // on the laptop
			w.Wait(2 * day)
			w.Sign()
			update(t, w, dirs)
		}
		served, err := os.ReadFile(filepath.Join(w.Site, "metadata", "timestamp.json"))
		if err != nil {
			t.Fatal(err)
		}
		w.Upstream.Run("update-ref", "refs/heads/main", merged) // none of it was pushed
		w.Now = w.Now.Add(time.Hour)
		live := serving(served)
		if !look {
			live = nil
		}
		r, err := w.TrySign(w.Keys(), live...)
		if err != nil {
			t.Fatal(err)
		}
		if !look {
			if got, want := signedText(r), "snapshot 2 content [targets.json:2], timestamp 2 content [snapshot.json:2]"; got != want {
				t.Errorf("from main alone it signs %q, want %q", got, want)
			}
			continue
		}
		if got, want := signedText(r), "snapshot 3 live [targets.json:2], timestamp 4 live [snapshot.json:3]"; got != want {
			t.Errorf("after %s signed %q, want %q", main, got, want)
		}
		if got := update(t, w, dirs); got != 2 {
			t.Errorf("clients see targets version %d", got)
		}
		update(t, w, nil)
		if r, err := w.TrySign(unusable{t}, serving(w.Document("timestamp").Bytes())...); err != nil || len(r.Signed)+len(r.Warnings) > 0 {
			t.Errorf("the next run signs %q, warns %q: %v", signedText(r), r.Warnings, err)
		}
	}
}

// A run says how long it may stand still: to the second, a client that is served
// the last timestamp made before its due moment fails after that.
func TestOutage(t *testing.T) {
	for _, test := range []struct {
		expiry, signing int64
		want            time.Duration
	}{{2, 1, day}, {7, 6, 6 * day}, {10, 3, 3 * day}} {
		w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: test.expiry, TimestampSigning: test.signing})
		r := w.Sign()
		if r.Outage != test.want {
			t.Errorf("%d/%d: %v, want %v", test.expiry, test.signing, r.Outage, test.want)
		}
		dirs := map[string]string{}
		update(t, w, dirs)
		w.Wait(time.Duration(test.expiry-test.signing)*day - time.Second)
		if r := w.Sign(); len(r.Signed) > 0 {
			t.Fatalf("signed %q", signedText(r))
		}
		w.Wait(test.want) // and then nothing more
		refresh(t, w, 1, dirs)
		w.Wait(2 * time.Second)
		for name, one := range clients {
			if _, _, err := one(w, anchor(t, w, 1), dirs[name]); err == nil {
				t.Errorf("%d/%d: %s takes a timestamp that has expired", test.expiry, test.signing, name)
			}
		}
	}
}
