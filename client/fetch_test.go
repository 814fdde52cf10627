package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
)

// Kills: a client that retries the probe for the next root (1.5 s lost on every
// refresh, in go-tuf), gives up on a hiccup, or hammers a server that asks for
// patience.
func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		fail  int // so many requests for the timestamp fail
		with  int
		after string
		tries int
		waits []time.Duration // at least
		ok    bool
	}{
		"503 once":          {fail: 1, with: 503, tries: 2, waits: []time.Duration{250 * time.Millisecond}, ok: true},
		"500 twice":         {fail: 2, with: 500, tries: 3, waits: []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}, ok: true},
		"502 for ever":      {fail: 99, with: 502, tries: 3, waits: []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}},
		"429 with patience": {fail: 1, with: 429, after: "7", tries: 2, waits: []time.Duration{7 * time.Second}, ok: true},
		"429 for an hour":   {fail: 1, with: 429, after: "3600", tries: 1},
		"404":               {fail: 1, with: 404, tries: 1},
		"403":               {fail: 1, with: 403, tries: 1},
		"400":               {fail: 1, with: 400, tries: 1},
		"206":               {fail: 1, with: 206, tries: 1},
		"cut off":           {fail: 1, with: -1, tries: 2, waits: []time.Duration{250 * time.Millisecond}, ok: true},
		"connection closed": {fail: 2, with: -2, tries: 3, waits: []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			u := newUser(t, repo)
			tries := 0
			repo.Hook = func(w http.ResponseWriter, r *http.Request, file string) bool {
				if !strings.HasSuffix(file, "timestamp.json") {
					return false
				}
				if tries++; tries > c.fail {
					return false
				}
				switch c.with {
				case -1:
					w.Header().Set("Content-Length", "1000")
					_, _ = w.Write([]byte("{"))
				case -2:
					conn, _, err := http.NewResponseController(w).Hijack()
					if err == nil {
						conn.Close()
					}
				default:
					w.Header().Set("Retry-After", c.after)
					w.WriteHeader(c.with)
					fmt.Fprint(w, strings.Repeat("no. ", 9999))
				}
				return true
			}
			cl := u.client()
			var waits []time.Duration
			cl.SetSleep(func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil })
			_, err := cl.Refresh(t.Context())
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			// net/http repeats a request by itself on a kept connection that died.
			if tries != c.tries && c.with != -2 || tries < c.tries {
				t.Errorf("asked %d times, want %d", tries, c.tries)
			}
			if c.with == -2 {
				return
			}
			if len(waits) != len(c.waits) {
				t.Fatalf("waited %v, want %v", waits, c.waits)
			}
			for i, least := range c.waits {
				if waits[i] < least || waits[i] > max(least*4, 3*time.Second) && c.after == "" {
					t.Errorf("waited %v, want at least %v", waits, c.waits)
				}
			}
			if got := strings.Count(repo.Requests(), "2.root.json"); got != 1 {
				t.Errorf("looked for the next root %d times", got)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "soon": 0, "99999999999999999999": 0,
		"Thu, 01 Jan 2026 00:00:09 GMT": 9 * time.Second, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		if got := client.RetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestCancel(t *testing.T) {
	repo := clienttest.New()
	asked := make(chan struct{})
	repo.Hook = func(_ http.ResponseWriter, r *http.Request, file string) bool {
		close(asked)
		<-r.Context().Done()
		return true
	}
	u := newUser(t, repo)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := u.client().Refresh(ctx)
	if e := refused[*client.FetchError](t, "refresh", err); !errors.Is(err, context.Canceled) || e.Transient {
		t.Errorf("got %v", err)
	}
}

// Waiting before another attempt ends with the context too.
func TestCancelWhileWaiting(t *testing.T) {
	repo := clienttest.New()
	repo.Hook = func(w http.ResponseWriter, _ *http.Request, _ string) bool { w.WriteHeader(503); return true }
	u := newUser(t, repo)
	o := u.options()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = c.Refresh(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// Kills: a client that changes http.DefaultClient or its transport for the
// whole program.
func TestDefaultClientIsLeftAlone(t *testing.T) {
	clientBefore, transportBefore := *http.DefaultClient, http.DefaultTransport.(*http.Transport).Clone()
	var used atomic.Bool
	old := http.DefaultTransport
	http.DefaultTransport = roundTripper(func(r *http.Request) (*http.Response, error) {
		used.Store(true)
		return old.RoundTrip(r)
	})
	defer func() { http.DefaultTransport = old }()
	newUser(t, clienttest.New()).good("")
	if used.Load() {
		t.Error("it uses http.DefaultTransport")
	}
	if !reflect.DeepEqual(clientBefore, *http.DefaultClient) {
		t.Error("it changed http.DefaultClient")
	}
	if now := old.(*http.Transport); now.DisableCompression != transportBefore.DisableCompression || now.MaxIdleConns != transportBefore.MaxIdleConns {
		t.Error("it changed http.DefaultTransport")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHTTPRequests(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/file", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/file":
			fmt.Fprint(w, "data")
		}
	}))
	defer server.Close()
	f := client.NewFetcher()
	for _, path := range []string{"/file", "/redirect"} {
		body, err := f.Fetch(t.Context(), server.URL+path, 10)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil || string(data) != "data" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		body.Close()
		if got.Get("User-Agent") != "tufops" || got.Get("Accept-Encoding") != "" {
			t.Errorf("request header: %v", got)
		}
	}
	_, err := f.Fetch(t.Context(), server.URL+"/loop", 10)
	refused[*client.FetchError](t, "loop", err)
	_, err = f.Fetch(t.Context(), server.URL+"/file", 3)
	refused[*client.LengthError](t, "too long", err)

	// Nobody listens, no such host, no such scheme, not what it says it is.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for from, transient := range map[string]bool{
		"http://user:secret@" + l.Addr().String() + "/x": true,
		"ftp://127.0.0.1/x": false,
		"https://" + strings.TrimPrefix(server.URL, "http://") + "/plain": true,
		"http://user:secret@[::1": false,
	} {
		_, err := f.Fetch(t.Context(), from, 10)
		e := refused[*client.FetchError](t, from, err)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("shows the password: %v", err)
		}
		if strings.Count(err.Error(), "://") > 1 {
			t.Errorf("names the URL twice: %v", err)
		}
		if e.Transient != transient {
			t.Errorf("%s: transient is %v: %v", from, e.Transient, err)
		}
	}
}

// TestProxyAnswers: what a proxy answers to CONNECT is told apart from what a
// server says. Kills: trying a wrong password again, and taking a proxy's 403 or 404
// for the end of the roots.
func TestProxyAnswers(t *testing.T) {
	for _, c := range []struct {
		named     bool
		status    int
		transient bool
		text      string
	}{
		{false, 407, false, "asks for a name and password: HTTP status 407"},
		{true, 407, false, "does not take the name and password it was given: HTTP status 407"},
		{false, 403, false, "lets nothing through: HTTP status 403"},
		{false, 404, false, "lets nothing through: HTTP status 404"},
		{false, 429, true, "lets nothing through: HTTP status 429"},
		{false, 503, true, "lets nothing through: HTTP status 503"},
	} {
		server := httptest.NewServer(answer(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(c.status) }))
		proxy := &url.URL{Scheme: "http", Host: server.Listener.Addr().String()}
		shown := proxy.String()
		if c.named {
			proxy.User = url.UserPassword("user", "geheim")
			shown = "http://user:xxxxx@" + proxy.Host
		}
		_, err := client.Through(proxy).Fetch(t.Context(), "https://tuf.example.org/2.root.json", 10)
		e := refused[*client.FetchError](t, "fetch", err)
		p := refused[*client.ProxyError](t, "fetch", err)
		want := "fetch https://tuf.example.org/2.root.json: the proxy " + shown + " " + c.text
		if err.Error() != want || e.Status != 0 || e.Transient != c.transient || p.Status != c.status || e.Hint() != p.Hint() {
			t.Errorf("%v (status %d, transient %v, hint %s), want %s (transient %v)", err, e.Status, e.Transient, e.Hint(), want, c.transient)
		}
		server.Close()
	}
}

func TestTLSOfAStranger(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	_, err := client.NewFetcher().Fetch(t.Context(), server.URL+"/2.root.json", 10)
	if e := refused[*client.FetchError](t, "fetch", err); e.Transient {
		t.Errorf("would try again: %v", err)
	}
}

func TestFileFetcher(t *testing.T) {
	dir := t.TempDir()
	name := "a b#?%.json"
	if err := os.WriteFile(filepath.Join(dir, name), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
	f := client.NewFetcher()
	body, err := f.Fetch(t.Context(), base+"/"+url.PathEscape(name), 10)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	body.Close()
	if err != nil || string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
	for _, missing := range []string{"/none", "/none/below", "/..%2F" + filepath.Base(dir) + "%2F" + url.PathEscape(name)} {
		_, err := f.Fetch(t.Context(), base+missing, 10)
		refused[*client.NotFoundError](t, missing, err)
	}
	for _, no := range []string{base, base + "/../x", "file://other.example/x", base + "/%00", base + "/" + url.PathEscape(name) + "/below"} {
		_, err := f.Fetch(t.Context(), no, 10)
		refused[*client.FetchError](t, no, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Fetch(ctx, base+"/none", 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The same repository from a directory.
func TestFileURLs(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"*/*"})
	repo.AddTarget("A", "dir/a b", "content")
	repo.Publish(root, "A", targets)
	dir := t.TempDir()
	if err := repo.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	u := newUser(t, repo)
	u.url = (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
	u.good("root 1 -> 2, timestamp v2, snapshot v2, targets v2")
	if _, data, err := u.client().Read(t.Context(), "dir/a b"); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	u.wantRequests("")
}

// The client bounds what it reads itself, whatever a Fetcher does.
func TestFetcherIsNotTrusted(t *testing.T) {
	repo := clienttest.New()
	u := newUser(t, repo)
	u.dir = ""
	read := int64(0)
	c := u.client(func(o *client.Options) {
		o.Fetcher = fetchFunc(func(_ context.Context, from string, _ int64) (io.ReadCloser, error) {
			if strings.HasSuffix(from, ".root.json") {
				return nil, &client.NotFoundError{URL: from}
			}
			return io.NopCloser(readFunc(func(p []byte) (int, error) { read += int64(len(p)); return len(p), nil })), nil
		})
	})
	_, err := c.Refresh(t.Context())
	refused[*client.LengthError](t, "endless", err)
	if read > 4*client.TimestampMaxLength {
		t.Errorf("read %d bytes", read)
	}
}

type fetchFunc func(context.Context, string, int64) (io.ReadCloser, error)

func (f fetchFunc) Fetch(ctx context.Context, from string, max int64) (io.ReadCloser, error) {
	return f(ctx, from, max)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A consumer that takes its time is not a slow server.
func TestSlowReaderIsNotASlowServer(t *testing.T) {
	data := strings.Repeat("x", 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, data) }))
	defer server.Close()
	f := &client.HTTPFetcher{Idle: time.Second, MinRate: 1 << 10}
	body, err := f.Fetch(t.Context(), server.URL, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.CopyN(io.Discard, body, 1000); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if n, err := io.Copy(io.Discard, body); err != nil || n != 1<<20-1000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// An artifact that breaks off is fetched again from its beginning.
func TestArtifactThatBreaksOff(t *testing.T) {
	repo := clienttest.New()
	repo.AddTarget(targets, "tool", "content")
	repo.Publish(targets)
	var tries atomic.Int32
	repo.Hook = func(w http.ResponseWriter, _ *http.Request, file string) bool {
		if !strings.HasSuffix(file, ".tool") || tries.Add(1)%2 == 0 {
			return false
		}
		w.Header().Set("Content-Length", "7")
		_, _ = w.Write([]byte("con"))
		return true
	}
	u := newUser(t, repo)
	if _, data, err := u.client().Read(t.Context(), "tool"); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
	dir := t.TempDir()
	if _, err := u.client().Download(t.Context(), "tool", dir); err != nil {
		t.Error(err)
	}
	wantFiles(t, dir, "tool")
	if data, _ := os.ReadFile(filepath.Join(dir, "tool")); string(data) != "content" {
		t.Errorf("%q", data)
	}
}
