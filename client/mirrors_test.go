package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
)

// mirrored is a user whose repository is at several places, asked in order.
func mirrored(t *testing.T, places ...http.Handler) (u *user, urls []string) {
	t.Helper()
	u = newUser(t, places[len(places)-1].(*clienttest.Repo))
	for _, p := range places {
		server := httptest.NewServer(p)
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	u.url = urls[0]
	return u, urls
}

func at(urls ...string) func(*client.Options) {
	return func(o *client.Options) {
		for _, url := range urls {
			o.Mirrors = append(o.Mirrors, client.Mirror{MetadataURL: url + "/metadata", TargetsURL: url + "/targets"})
		}
	}
}

// impatient fetches from some places without the patience that others get, so
// that a silent one costs little and a loaded machine nothing.
type impatient struct {
	with        []string
	short, long client.HTTPFetcher
}

func (f *impatient) Fetch(ctx context.Context, url string, maxBytes int64) (io.ReadCloser, error) {
	for _, base := range f.with {
		if strings.HasPrefix(url, base+"/") {
			return f.short.Fetch(ctx, url, maxBytes)
		}
	}
	return f.long.Fetch(ctx, url, maxBytes)
}

func with(places ...string) *impatient {
	return &impatient{with: places, short: client.HTTPFetcher{Idle: 50 * time.Millisecond}}
}

// atVersion3 is a repository at version 3 of everything, and what it was before.
func atVersion3() (now, before *clienttest.Repo) {
	repo := clienttest.New()
	repo.AddTarget(targets, "tool", "the old tool")
	repo.Publish(root, targets)
	before = repo.Clone()
	repo.AddTarget(targets, "tool", "the tool")
	repo.Publish(root, targets)
	return repo, before
}

// once is the URL of a place's metadata.
func once(t *testing.T, place http.Handler) string {
	server := httptest.NewServer(place)
	t.Cleanup(server.Close)
	return server.URL + "/metadata"
}

func answer(f func(w http.ResponseWriter, r *http.Request)) http.Handler { return http.HandlerFunc(f) }

// hostile are places that must not be believed, and must not keep anybody from
// the next. The string is part of what each says of its failure.
func hostile(t *testing.T) map[string]http.Handler {
	now, before := atVersion3()
	evil, late := clienttest.New(), before.Clone()
	for _, role := range evil.Roles {
		role.Keys = []*clienttest.Key{clienttest.NewKey("mallory")}
	}
	evil.AddTarget(targets, "tool", "software")
	evil.Publish(root, targets)
	evil.Publish(root, targets)
	for _, role := range []string{timestamp, snapshot, targets} {
		late.Roles[role].Expire(clienttest.Now.Add(-time.Hour))
	}
	late.Publish(targets)
	torn := now.Clone()
	for name, data := range torn.Files {
		torn.Files[name] = data[:len(data)-1]
	}
	loop := answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) })
	elsewhere := httptest.NewServer(answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in</html>") }))
	t.Cleanup(elsewhere.Close)
	return map[string]http.Handler{
		"old":              before,
		"expired":          late,
		"signed by others": evil,
		"cut off":          torn,
		"empty":            answer(http.NotFound),
		"garbage":          answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{\x00garbage") }),
		"nothing":          answer(func(http.ResponseWriter, *http.Request) {}),
		"failing":          answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }),
		"forbidden":        answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }),
		"busy for an hour": answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}),
		"silent": answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		"stalling": answer(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"signed":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}),
		"endless": answer(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<15))); err != nil {
					return
				}
			}
		}),
		"hanging up": answer(func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}),
		"a loop":         loop,
		"a captive page": answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }),
	}
}

// TestHostileMirror: whatever one mirror does, a client that has another one comes
// to the newest state, whoever is asked first; and one that has seen more than a
// mirror shows takes no alarm at it. Kills: giving up at the first mirror, taking
// what is older from it, and letting it end the search for roots.
func TestHostileMirror(t *testing.T) {
	const newest = "root 1 -> 3, timestamp v3, snapshot v3, targets v3"
	for name, place := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, before := atVersion3()
			u, urls := mirrored(t, place, good)
			for order, change := range map[string]func(*client.Options){
				"first": at(urls[1]),
				"second": func(o *client.Options) {
					at(urls[0])(o)
					o.MetadataURL, o.TargetsURL = urls[1]+"/metadata", urls[1]+"/targets"
				},
			} {
				// Somebody who was at the state before.
				u.dir = t.TempDir()
				if _, err := u.client(func(o *client.Options) { o.MetadataURL = once(t, before) }).Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				fetcher := with(urls[0])
				seen := u.client(change, func(o *client.Options) { o.Fetcher = fetcher })
				if name == "old" && order == "first" {
					// The same as what this user has seen is no attack that anybody
					// could tell: nothing newer is shown until it expires.
					r, err := seen.Refresh(t.Context())
					if err != nil || r.Root().Version != 3 || r.Timestamp.Version != 2 {
						t.Errorf("%s: %s, %v", order, r, err)
					}
					continue
				}
				r, err := seen.Refresh(t.Context())
				if err != nil || r.String() != newest {
					t.Errorf("%s: %s, %v", order, r, err)
				}
				if _, data, err := seen.Read(t.Context(), "tool"); err != nil || string(data) != "the tool" {
					t.Errorf("%s: the artifact is %q, %v", order, data, err)
				}
				if d, err := seen.Download(t.Context(), "tool", t.TempDir()); err != nil || d.Length != 8 {
					t.Errorf("%s: download: %v", order, err)
				}
				// And now that the newest is known, the other changes nothing.
				again := u.client(at(urls[1]), func(o *client.Options) { o.Fetcher = fetcher })
				if r, err := again.Refresh(t.Context()); err != nil || r.String() != newest {
					t.Errorf("%s, again: %s, %v", order, r, err)
				}
			}
		})
	}
}

// TestHostileMirrorsOnly: where no mirror is any good the error has a reason for
// each, and nothing is stored.
func TestHostileMirrorsOnly(t *testing.T) {
	places := hostile(t)
	names := slices.Sorted(maps.Keys(places))
	good, _ := atVersion3()
	good.Publish(targets) // so that all that the others show is older
	var list []http.Handler
	for _, name := range names {
		list = append(list, places[name])
	}
	u, urls := mirrored(t, append(list, good)...)
	urls = urls[:len(names)]
	u.root = good.Files["metadata/1.root.json"]
	if _, err := u.client(func(o *client.Options) { o.MetadataURL = once(t, good) }).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := tree(t, u.dir)

	fetcher := with(urls[slices.Index(names, "silent")], urls[slices.Index(names, "stalling")])
	_, err := u.client(at(urls[1:]...), func(o *client.Options) { o.Fetcher = fetcher }).Refresh(t.Context())
	all := refused[*client.MirrorsError](t, "refresh", err)
	if len(all.Failures) != len(urls) || all.Name != timestamp || all.Hint() == "" {
		t.Errorf("%d failures of %s, want %d of the timestamp", len(all.Failures), all.Name, len(urls))
	}
	for i, url := range urls {
		if !strings.Contains(err.Error(), url+"/") && names[i] != "a captive page" {
			t.Errorf("%q is not said of %s (%s)", err, names[i], url)
		}
	}
	for _, kind := range []any{new(*client.RollbackError), new(*client.QuorumError), new(*client.FormatError), new(*client.NotFoundError), new(*client.FetchError), new(*client.LengthError), new(*client.SlowError)} {
		if !errors.As(err, kind) {
			t.Errorf("there is no %T in it", kind)
		}
	}
	if after := tree(t, u.dir); before != after {
		t.Error("the cache has changed")
	}
}

// TestMirrorHidesRoot: a mirror that ends the chain of roots early does not end it
// for the others.
func TestMirrorHidesRoot(t *testing.T) {
	good, _ := atVersion3()
	hiding := good.Clone()
	delete(hiding.Files, "metadata/3.root.json")
	u, urls := mirrored(t, hiding, good)
	r, err := u.client(at(urls[1])).Refresh(t.Context())
	if err != nil || r.Root().Version != 3 {
		t.Errorf("%s, %v", r, err)
	}
	if got := hiding.Requests(); got != "2.root.json 3.root.json 4.root.json timestamp.json 3.snapshot.json 3.targets.json" {
		t.Errorf("the first was asked for %s", got)
	}
	if got := good.Requests(); got != "3.root.json 4.root.json" {
		t.Errorf("the second was asked for %s", got)
	}

	// A root that does not verify is no root, and does not hide the end either.
	lying := good.Clone()
	lying.Files["metadata/4.root.json"] = lying.Files["metadata/3.root.json"]
	for _, order := range [][]*clienttest.Repo{{lying, good}, {good, lying}} {
		u, urls := mirrored(t, order[0], order[1])
		if r, err := u.client(at(urls[1])).Refresh(t.Context()); err != nil || r.Root().Version != 3 {
			t.Errorf("with a root that does not verify: %s, %v", r, err)
		}
	}
}

// TestMirrorsInOrder: a healthy first mirror is the only one that is asked but for
// the end of the roots; one that does not answer is asked once in an update, and
// again in the next.
func TestMirrorsInOrder(t *testing.T) {
	first, _ := atVersion3()
	second := first.Clone()
	u, urls := mirrored(t, first, second)
	c := u.client(at(urls[1]))
	refresh := func(want string) {
		t.Helper()
		first.Requests()
		second.Requests()
		if _, err := c.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Read(t.Context(), "tool"); err != nil {
			t.Error(err)
		}
		if got := first.Requests() + " | " + second.Requests(); got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
	}
	sum := ".tool"
	for name := range first.Files {
		if strings.HasPrefix(name, "targets/") && string(first.Files[name]) == "the tool" {
			sum = strings.TrimPrefix(name, "targets/")
		}
	}
	refresh("2.root.json 3.root.json 4.root.json timestamp.json 3.snapshot.json 3.targets.json " + sum + " | 4.root.json")
	down := true
	first.Hook = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down
	}
	refresh("4.root.json " + sum + " | 4.root.json timestamp.json " + sum)
	down = false
	refresh("4.root.json timestamp.json " + sum + " | 4.root.json")

	// A mirror that knows of a newer state and withholds it: the other has it.
	newer := second.Clone()
	newer.Publish(targets)
	first.Files = maps.Clone(newer.Files)
	delete(first.Files, "metadata/4.snapshot.json")
	if _, err := c.Refresh(t.Context()); !errors.As(err, new(*client.MirrorsError)) || !errors.As(err, new(*client.NotFoundError)) {
		t.Errorf("nobody has the snapshot: %v", err)
	}
	second.Files = newer.Files
	if r, err := c.Refresh(t.Context()); err != nil || r.Targets.Version != 4 {
		t.Errorf("the other has it: %s, %v", r, err)
	}
}

// TestMirrorOptions: a mirror need not have artifacts, and its URLs are checked
// like the first.
func TestMirrorOptions(t *testing.T) {
	good, _ := atVersion3()
	u, urls := mirrored(t, answer(http.NotFound), good)
	c := u.client(at(urls[1]), func(o *client.Options) { o.TargetsURL, o.Mirrors[0].TargetsURL = "", "" })
	var bad *client.URLError
	if _, _, err := c.Read(t.Context(), "tool"); !errors.As(err, &bad) || bad.Of != "targets" {
		t.Errorf("no artifacts anywhere: %v", err)
	}
	c = u.client(at(urls[1]), func(o *client.Options) { o.TargetsURL = "" })
	if _, data, err := c.Read(t.Context(), "tool"); err != nil || string(data) != "the tool" {
		t.Errorf("artifacts at the mirror alone: %q, %v", data, err)
	}
	for _, m := range []client.Mirror{{}, {MetadataURL: "ftp://x/"}, {MetadataURL: urls[1], TargetsURL: "x"}} {
		o := u.options()
		o.Mirrors = []client.Mirror{m}
		if _, err := client.New(o); !errors.As(err, &bad) {
			t.Errorf("%+v: %v", m, err)
		}
	}
}
