package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/publish"
)

// Fault is what happens to requests on their way to a service.
type Fault int

// The faults.
const (
	None     Fault = iota
	Before         // the connection breaks, and the service never hears of the request
	After          // the service does what it was asked, and the answer is lost
	Refused        // status 500
	Busy           // status 503
	Garbled        // the service gets "broken" where "intact" was sent
	Misread        // the caller gets "broken" where "intact" is stored
	CutShort       // the connection breaks in the middle of the answer
	Hang           // the request waits until its caller gives up
)

var faultNames = [...]string{"none", "before", "after", "refused", "busy", "garbled", "misread", "cut short", "hang"}

func (f Fault) String() string { return faultNames[f] }

// Way is a proxy between the client of a service and the service, on which
// things go wrong. Nothing about a request is changed, so its signature holds.
type Way struct {
	URL string // send requests here

	proxy    *httputil.ReverseProxy
	mu       sync.Mutex
	fault    Fault
	times    int
	arrived  func()
	requests int
	after    string // Retry-After of Busy
}

// NewWay makes a way to the service at a URL without a path, or behind a socket:
// unix:PATH.
func NewWay(t testing.TB, service string) *Way {
	t.Helper()
	to, err := url.Parse(service)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	if to.Scheme == "unix" {
		socket := to.Opaque + to.Path
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
		to = &url.URL{Scheme: "http", Host: "localhost"}
	}
	quiet := log.New(io.Discard, "", 0)
	w := &Way{proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // also what cannot be parsed
		},
		Transport: transport,
		ErrorLog:  quiet,
	}}
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	w.URL = server.URL
	return w
}

// Break lets the next requests fail; times says how many, less than 0: all from
// now on.
func (w *Way) Break(f Fault, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.times = f, times
}

// RetryAfter is how many seconds a service that is busy asks for; "": it does not.
func (w *Way) RetryAfter(seconds string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after = seconds
}

func (w *Way) count() int {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// next is the fault of one request.
func (w *Way) next() (Fault, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	if w.times == 0 {
		return None, w.arrived
	}
	w.times--
	return w.fault, w.arrived
}

// ServeHTTP implements [http.Handler].
func (w *Way) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	fault, arrived := w.next()
	if arrived != nil {
		arrived()
	}
	switch fault {
	case Before:
		panic(http.ErrAbortHandler)
	case After:
		w.proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case Refused:
		_, _ = io.Copy(io.Discard, r.Body)
		out.WriteHeader(http.StatusInternalServerError)
	case Busy:
		_, _ = io.Copy(io.Discard, r.Body)
		w.mu.Lock()
		if w.after != "" {
			out.Header().Set("Retry-After", w.after)
		}
		w.mu.Unlock()
		out.WriteHeader(http.StatusServiceUnavailable)
	case Garbled:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte("intact"), []byte("broken"))))
		w.proxy.ServeHTTP(out, r)
	case Misread, CutShort:
		answer := httptest.NewRecorder()
		w.proxy.ServeHTTP(answer, r)
		for name, values := range answer.Result().Header {
			out.Header()[name] = values
		}
		out.WriteHeader(answer.Code)
		if fault == Misread {
			_, _ = out.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte("intact"), []byte("broken")))
			return
		}
		_, _ = out.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		_ = http.NewResponseController(out).Flush()
		panic(http.ErrAbortHandler)
	case Hang:
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that its client has gone
		<-r.Context().Done()
	default:
		w.proxy.ServeHTTP(out, r)
	}
}

// Clock is the time that passes between two attempts of a write: none.
type Clock struct {
	mu     sync.Mutex
	waited []time.Duration
	during func() // what happens meanwhile; nil: nothing
}

// Sleep is over at once.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.waited = append(c.waited, d)
	during := c.during
	c.mu.Unlock()
	if during != nil {
		during()
	}
	return ctx.Err()
}

// meanwhile forgets what was waited, and has something happen during the next
// waits.
func (c *Clock) meanwhile(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waited, c.during = nil, f
}

// brokenWrite: whatever happens on the way, a write is carried out once or not
// at all, and only one that was refused is called ErrChanged: a client that
// repeats a write after a lost answer would call its own another publisher's.
// Writing is tried a few times where that can help, deleting once.
func brokenWrite(t *testing.T, d Destination) {
	if d.Way == nil {
		return
	}
	s := d.Open()
	r := s.(publish.Remover)
	const name = "metadata/timestamp.json"
	for _, fault := range []Fault{Before, After, Refused, Busy, Garbled} {
		present := func() string {
			if content, there := lookup(t, s, name); there {
				return content
			}
			return "nothing"
		}
		try := func(what string, attempts int, write func() error, old, young string) {
			t.Helper()
			d.Clock.meanwhile(nil)
			before := d.Way.count()
			d.Way.Break(fault, -1)
			err := write()
			asked := d.Way.count() - before
			d.Way.Break(None, 0)
			if err == nil || errors.Is(err, publish.ErrChanged) {
				t.Errorf("%s, %v: the error is %v", what, fault, err)
			}
			if asked != attempts || len(d.Clock.waited) != attempts-1 {
				t.Errorf("%s, %v: %d requests were made, with %d pauses, want %d", what, fault, asked, len(d.Clock.waited), attempts)
			}
			for _, w := range d.Clock.waited {
				if w < 100*time.Millisecond || w > 5*time.Second {
					t.Errorf("%s, %v: the pauses are %v", what, fault, d.Clock.waited)
				}
			}
			d.hidesSecrets(t, err)
			wanted := old
			if fault == After {
				wanted = young
			}
			if got := present(); got != wanted {
				t.Errorf("%s, %v: there is %s, want %s", what, fault, got, wanted)
			}
		}
		attempts := 4
		if fault == Garbled { // the service says so, and what is sent again is the same
			attempts = 1
		}
		try("make", attempts, func() error { return Put(t.Context(), s, name, "intact 1", "") }, "nothing", "intact 1")
		if present() == "nothing" {
			put(t, s, name, "intact 1", "")
		} else if err := Put(t.Context(), s, name, "intact 1", ""); !errors.Is(err, publish.ErrChanged) {
			t.Errorf("%v: Put again gives %v, want ErrChanged", fault, err)
		}
		was := want(t, s, name, "intact 1")
		try("replace", attempts, func() error { return Put(t.Context(), s, name, "intact 2", was) }, "intact 1", "intact 2")
		if fault == Garbled { // a deletion has nothing that could be garbled
			_, was := Read(t, s, name)
			if err := r.Delete(t.Context(), name, was); err != nil {
				t.Fatal(err)
			}
			continue
		}
		_, was = Read(t, s, name)
		is := present()
		try("delete", 1, func() error { return r.Delete(t.Context(), name, was) }, is, "nothing")
		if err := r.Delete(t.Context(), name, was); err != nil {
			t.Errorf("%v: Delete again gives %v", fault, err)
		}
	}
}

// briefly: a write succeeds in spite of what is soon over. It does so once: who
// meets a write of another publisher is told, and so is who meets one over the
// very write whose answer was lost.
func briefly(t *testing.T, d Destination) {
	if d.Way == nil {
		return
	}
	s, other := d.Open(), d.Open()
	const name = "metadata/timestamp.json"
	was := publish.Version("")
	content := "nothing"
	write := func(s publish.Store, content string, was publish.Version) error {
		return s.Put(t.Context(), publish.Upload{Name: name, Size: int64(len(content)), Body: strings.NewReader(content), Was: was,
			ContentType: "application/json", CacheControl: "no-cache, max-age=60"})
	}
	try := func(what string, fault Fault, times int, next string, during func(), wantErr error) {
		t.Helper()
		d.Clock.meanwhile(during)
		d.Way.Break(fault, times)
		err := write(s, next, was)
		d.Way.Break(None, 0)
		if !errors.Is(err, wantErr) || wantErr == nil && err != nil {
			t.Errorf("%s, %v %d times: Put gives %v, want %v", what, fault, times, err, wantErr)
		}
		if err == nil {
			content = next
		}
		got, v := Read(t, s, name)
		if string(got) != content {
			t.Errorf("%s, %v %d times: there is %q, want %q", what, fault, times, got, content)
		}
		was = v
		if a, err := d.Public(name); err != nil || wantErr == nil && a != (Answer{next, "application/json", "no-cache, max-age=60"}) {
			t.Errorf("%s, %v %d times: it is served as %+v, %v", what, fault, times, a, err)
		}
	}
	n := 0
	next := func() string { n++; return fmt.Sprintf("%06d ", n) + strings.Repeat("x", n%3*40_000) }
	for _, fault := range []Fault{Before, After, Refused, Busy} {
		for _, times := range []int{1, 3} {
			if n > 0 {
				try("replace", fault, times, next(), nil, nil)
				continue
			}
			try("make", fault, times, next(), nil, nil)
		}
		foreign := func() {
			_, v := Read(t, other, name)
			content = next()
			put(t, other, name, content, v)
		}
		try("another was faster", fault, 1, next(), foreign, publish.ErrChanged)
		try("another wrote the same", fault, 1, "the same", func() {
			if _, v := Read(t, other, name); fault != After {
				if err := write(other, "the same", v); err != nil {
					t.Error(err)
				}
			}
		}, nil)
	}
	d.Way.RetryAfter("7")
	defer d.Way.RetryAfter("")
	try("the service names a time", Busy, 1, next(), nil, nil)
	if w := d.Clock.waited; len(w) != 1 || w[0] != 7*time.Second {
		t.Errorf("the service asks for 7 seconds, and the pauses are %v", w)
	}
	d.Way.RetryAfter("31")
	d.Clock.meanwhile(nil)
	d.Way.Break(Busy, 1)
	if err := Put(t.Context(), s, name, "later", was); err == nil || errors.Is(err, publish.ErrChanged) || len(d.Clock.waited) > 0 {
		t.Errorf("the service asks for more time than there is: Put gives %v after %v", err, d.Clock.waited)
	}
	d.Way.Break(None, 0)
	ctx, cancel := context.WithCancel(t.Context())
	d.Clock.meanwhile(cancel)
	d.Way.Break(Busy, -1)
	d.Way.RetryAfter("")
	if err := Put(ctx, s, name, "later", was); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled between two attempts: Put gives %v", err)
	}
	d.Way.Break(None, 0)
	d.Clock.meanwhile(nil)
	want(t, s, name, content)
}

// lookup reads an object that need not be there.
func lookup(t *testing.T, s publish.Reader, name string) (content string, there bool) {
	t.Helper()
	objects, err := s.List(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) == 0 {
		return "", false
	}
	data, _ := Read(t, s, name)
	return string(data), true
}

// brokenRead: reading gives the content or an error, never a part of the
// content and never that it does not exist.
func brokenRead(t *testing.T, d Destination) {
	if d.Way == nil {
		return
	}
	s := d.Open()
	const name = "targets/abc.file"
	content := strings.Repeat("0123456789", 10_000) + "intact"
	put(t, s, name, content, "")
	for _, fault := range []Fault{Before, After, Refused, Busy, Misread, CutShort} {
		d.Way.Break(fault, 1)
		got, err := get(t.Context(), s, name)
		if err == nil && got != content {
			t.Errorf("%v: %d of %d bytes come, not all as they are stored, and no error", fault, len(got), len(content))
		}
		if fault != Misread && fault != CutShort && err != nil {
			t.Errorf("%v, once: Get gives %v; reading can be tried again", fault, err)
		}
		d.hidesSecrets(t, err)
	}
	for _, fault := range []Fault{Before, CutShort} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // else clients try for long
		d.Way.Break(fault, -1)
		if _, err := get(ctx, s, name); err == nil {
			t.Errorf("%v, always: Get succeeds", fault)
		} else {
			d.hidesSecrets(t, err)
		}
		if _, err := s.List(ctx, "targets/"); err == nil {
			t.Errorf("%v, always: List succeeds", fault)
		} else {
			d.hidesSecrets(t, err)
		}
		cancel()
	}
	d.Way.Break(None, 0)
	want(t, s, name, content)
}

func get(ctx context.Context, s publish.Reader, name string) (string, error) {
	rd, _, err := s.Get(ctx, name)
	if err != nil {
		return "", err
	}
	defer rd.Close()
	data, err := io.ReadAll(rd)
	return string(data), err
}

// slowService: who has waited long enough is let go.
func slowService(t *testing.T, d Destination) {
	if d.Way == nil {
		return
	}
	s := d.Open()
	put(t, s, "metadata/timestamp.json", "old", "")
	was := want(t, s, "metadata/timestamp.json", "old")
	for what, call := range map[string]func(ctx context.Context) error{
		"Get":  func(ctx context.Context) error { _, err := get(ctx, s, "metadata/timestamp.json"); return err },
		"List": func(ctx context.Context) error { _, err := s.List(ctx, ""); return err },
		"Put":  func(ctx context.Context) error { return Put(ctx, s, "metadata/timestamp.json", "new", was) },
		"Delete": func(ctx context.Context) error {
			return s.(publish.Remover).Delete(ctx, "metadata/timestamp.json", was)
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		d.Way.mu.Lock()
		d.Way.arrived = cancel
		d.Way.mu.Unlock()
		d.Way.Break(Hang, -1)
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v, want context.Canceled", what, err)
		}
		cancel()
		d.Way.mu.Lock()
		d.Way.arrived = nil
		d.Way.mu.Unlock()
	}
	d.Way.Break(None, 0)
	if v := want(t, s, "metadata/timestamp.json", "old"); v != was {
		t.Errorf("the version went from %q to %q", was, v)
	}
}

func (d Destination) hidesSecrets(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range d.Secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("an error tells a secret: %v", err)
		}
	}
}
