package publish_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// front is what stands between a store and clients: a cache that may remember
// what it should not.
type front struct {
	publish.Reader
	mu       sync.Mutex
	remember map[string]string // by name: what is served instead; "" is that it is not there
	asked    map[string]int
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[name]++
	if data, old := f.remember[name]; old {
		w.Header().Set("Age", "300")
		w.Header().Set("Via", "1.1 cache")
		w.Header().Set("X-Cache", "HIT")
		if data == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, data)
		return
	}
	rd, _, err := f.Get(r.Context(), name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer rd.Close()
	_, _ = io.Copy(w, rd)
}

func (f *front) forget(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		delete(f.remember, name)
	}
}

// TestReadBack: what was written must come out of the public URL, or the run
// fails and says what was served; the next run only looks.
func TestReadBack(t *testing.T) {
	r := publishtest.New(t)
	old := &storetest.Memory{}
	first := r.Commit(t, "first")
	mustRun(t, r, first, old)
	was := old.Content()
	r.RotateKey(metadata.Root, "root2", true)
	r.AddTarget(metadata.Targets, "b c.txt", "b")
	r.Publish(metadata.Targets)
	commit := r.Commit(t, "second")
	rotated := publishtest.New(t)
	rotatedStore := &storetest.Memory{}
	mustRun(t, rotated, rotated.Commit(t, "first"), rotatedStore)
	rotatedWas := rotatedStore.Content()
	rotated.RotateOnlineKey("online2", true)
	rotatedCommit := rotated.Commit(t, "rotated")
	var artifact string
	for name := range r.Files {
		if strings.HasSuffix(name, "b c.txt") {
			artifact = name
		}
	}
	const timestamp = "metadata/timestamp.json"
	for _, test := range []struct {
		name     string
		repo     *publishtest.Repo
		store    *storetest.Memory
		commit   git.OID
		remember map[string]string
		forget   int      // after so many pauses
		want     []string // of the error; nil: none
		waited   time.Duration
	}{
		{"at once", r, old, commit, nil, 0, nil, 0},
		{"old timestamp for a while", r, old, commit, map[string]string{timestamp: was[timestamp]}, 3, nil, 14 * time.Second},
		{"old timestamp", r, old, commit, map[string]string{timestamp: was[timestamp]}, 0,
			[]string{"timestamp version 2;", "want root version 2 and timestamp version 3", "waited 1m0s", "timestamp.json with status 200 (Age: 300; Via: 1.1 cache; X-Cache: HIT)"}, time.Minute},
		{"remembered that there is no root", r, old, commit, map[string]string{"metadata/2.root.json": ""}, 0,
			[]string{"comes to root version 1 and timestamp version 3", "2.root.json with status 404 (Age: 300; "}, time.Minute},
		{"remembered that there is no snapshot", r, old, commit, map[string]string{"metadata/3.snapshot.json": ""}, 0, []string{"a new client fails after root 1 -> 2, timestamp v3"}, time.Minute},
		{"remembered that there is no artifact", r, old, commit, map[string]string{artifact: ""}, 0, []string{artifact + ": it is not served", "b c.txt with status 404"}, time.Minute},
		{"other bytes of an artifact", r, old, commit, map[string]string{artifact: "x"}, 0, []string{artifact + ": other bytes are served"}, time.Minute},
		{"old timestamp before a new online key", rotated, rotatedStore, rotatedCommit, map[string]string{timestamp: rotatedWas[timestamp]}, 0,
			[]string{"timestamp version 2;", "the new roots were not published"}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := test.store.Clone()
			f := &front{Reader: store, remember: test.remember, asked: map[string]int{}}
			server := httptest.NewServer(f)
			defer server.Close()
			var waited time.Duration
			pauses := 0
			sleep := func(_ context.Context, d time.Duration) error {
				waited += d
				if pauses++; pauses == test.forget {
					f.forget(timestamp)
				}
				return nil
			}
			publishOnce := func() (publish.DestinationReport, error) {
				report, err := publish.Run(t.Context(), publish.Options{Commit: test.commit, Publishable: test.repo.Publishable(t, test.commit),
					Within: time.Minute, Sleep: sleep, To: []publish.Destination{{URL: "store:", Store: store, Public: server.URL + "/"}}})
				return report.Destinations[0], err
			}
			report, err := publishOnce()
			if waited != test.waited {
				t.Errorf("waited %v, want %v", waited, test.waited)
			}
			if test.want == nil {
				if back := report.ReadBack; err != nil || back == nil || back.Root != 2 || back.Timestamp != 3 || back.Waited != int64(test.waited/time.Second) {
					t.Errorf("read back %+v, error %v", back, err)
				}
				if f.asked[artifact] != 1 {
					t.Errorf("the artifact was asked for %d times", f.asked[artifact])
				}
				return
			}
			var failed *publish.NotServedError
			if !errors.As(err, &failed) || failed.Hint() == "" || report.ReadBack != nil {
				t.Fatalf("got %v, want a NotServedError with a hint; read back %+v", err, report.ReadBack)
			}
			for _, text := range test.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			_, root := store.Content()["metadata/2.root.json"]
			if root != (test.repo == r) {
				t.Errorf("the new root was written: %v", root)
			}
			// The cache has forgotten: the next run writes what is left, if anything, and succeeds.
			for name := range test.remember {
				f.forget(name)
			}
			report, err = publishOnce()
			if err != nil || report.ReadBack == nil || test.repo == r && report.Changed {
				t.Errorf("the next run wrote %v, error %v", report.Written, err)
			}
		})
	}

	// A dry run asks nobody, and a newer publisher's state is as good.
	store := old.Clone()
	dry, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), DryRun: true,
		To: []publish.Destination{{Store: store, Public: "http://127.0.0.1:1"}}})
	if err != nil || dry.Destinations[0].ReadBack != nil {
		t.Errorf("a dry run: %v", err)
	}
	r.Publish(metadata.Timestamp)
	third := r.Commit(t, "third")
	newer := store.Clone()
	mustRun(t, r, third, newer)
	server := httptest.NewServer(&front{Reader: newer, asked: map[string]int{}})
	defer server.Close()
	if _, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit),
		To: []publish.Destination{{Store: store, Public: server.URL}}}); err != nil {
		t.Errorf("a newer state at the public URL: %v", err)
	}
}

// TestReadBackForbidden: a place that answers 403 for the root that is not there
// yet serves our client, and not go-tuf's.
func TestReadBackForbidden(t *testing.T) {
	r := publishtest.New(t)
	commit := r.Commit(t, "first")
	store := &storetest.Memory{}
	behind := &front{Reader: store, asked: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, there := store.Content()[strings.TrimPrefix(req.URL.Path, "/")]; !there {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		behind.ServeHTTP(w, req)
	}))
	defer server.Close()
	_, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit),
		Sleep: func(context.Context, time.Duration) error { return nil }, Within: time.Minute,
		To: []publish.Destination{{Store: store, Public: server.URL}}})
	var failed *publish.NotServedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "2.root.json is answered with HTTP status 403: where there is no file it must be 404") {
		t.Errorf("got %v", err)
	}
	if c, err := client.New(client.Options{Root: r.Files["metadata/1.root.json"], MetadataURL: server.URL + "/metadata", Now: func() time.Time { return publishtest.Now }}); err != nil {
		t.Error(err)
	} else if _, err := c.Refresh(t.Context()); err != nil {
		t.Errorf("our client: %v", err)
	}
}

// TestReadBackInterrupted: whoever stops the run is not told of a deadline, nor kept
// waiting, by the real clock either.
func TestReadBackInterrupted(t *testing.T) {
	for name, realClock := range map[string]bool{"simulated": false, "real clock": true} {
		t.Run(name, func(t *testing.T) {
			r := publishtest.New(t)
			commit := r.Commit(t, "first")
			store := &storetest.Memory{}
			server := httptest.NewServer(http.NotFoundHandler())
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), To: []publish.Destination{{Store: store, Public: server.URL}}}
			if realClock {
				o.Log = slog.New(slog.NewTextHandler(onLine(func(line string) {
					if strings.Contains(line, "waiting until clients see it") {
						cancel()
					}
				}), nil))
			} else {
				o.Sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return ctx.Err() }
			}
			_, err := publish.Run(ctx, o)
			if !errors.Is(err, context.Canceled) || errors.As(err, new(*publish.NotServedError)) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	}
}

// onLine is called with each line of a log.
type onLine func(line string)

func (f onLine) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }
