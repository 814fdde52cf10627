package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fetcher gets files of a repository by URL. It need not be trusted: what it
// returns is bounded and verified by the client.
type Fetcher interface {
	// Fetch opens a file for reading. The caller reads at most maxBytes+1
	// bytes and closes the body; a Fetcher may refuse at once what is longer.
	//
	// A file that does not exist is a [*NotFoundError]: that, or a [*FetchError]
	// with status 403, says that there is no newer root. A failure worth another attempt is a
	// [*FetchError] with Transient set, also from the body's Read; the client
	// makes the further attempts. Fetch and Read end with ctx. Fetch is called
	// by several goroutines at once. A body may have a method Length() int64,
	// which is -1 where nobody knows.
	Fetch(ctx context.Context, url string, maxBytes int64) (io.ReadCloser, error)
}

// NewFetcher returns what a client uses where [Options.Fetcher] is nil: an
// [HTTPFetcher] for http and https, a [FileFetcher] for file.
func NewFetcher() Fetcher { return &bySchemeFetcher{http: &HTTPFetcher{}} }

type bySchemeFetcher struct {
	http *HTTPFetcher
	file FileFetcher
}

func (f *bySchemeFetcher) Fetch(ctx context.Context, from string, maxBytes int64) (io.ReadCloser, error) {
	if strings.HasPrefix(from, "file:") {
		return f.file.Fetch(ctx, from, maxBytes)
	}
	return f.http.Fetch(ctx, from, maxBytes)
}

// The bounds of [HTTPFetcher] where its fields are zero.
const (
	DefaultIdle    = 30 * time.Second
	DefaultMinRate = 16 << 10
)

// HTTPFetcher fetches over http and https. The zero value is ready for use.
//
// It is patient with a slow network and not with a server that keeps a client
// waiting: no transfer may pause for longer than Idle, and all of it must take
// no longer than Idle plus its greatest length at MinRate.
//
// It asks for bytes as they are (no compression on the way), follows redirects,
// and uses the proxy that the environment names.
type HTTPFetcher struct {
	Client  *http.Client  // nil: one of its own
	Idle    time.Duration // 0: DefaultIdle
	MinRate int64         // bytes per second; 0: DefaultMinRate

	once sync.Once
	own  *http.Client
}

// UserAgent is what [HTTPFetcher] calls itself.
const UserAgent = "tufops"

func (f *HTTPFetcher) client() *http.Client {
	if f.Client != nil {
		return f.Client
	}
	f.once.Do(func() {
		dialer := net.Dialer{Timeout: 15 * time.Second}
		f.own = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			OnProxyConnectResponse: connected,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        30 * time.Second,
			TLSHandshakeTimeout:    15 * time.Second,
			DisableCompression:     true,
		}}
	})
	return f.own
}

// Fetch implements [Fetcher].
func (f *HTTPFetcher) Fetch(ctx context.Context, from string, maxBytes int64) (io.ReadCloser, error) {
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		return nil, &FetchError{URL: redact(from), Err: errors.New("only http, https and file URLs are known")}
	}
	idle, rate := f.Idle, f.MinRate
	if idle <= 0 {
		idle = DefaultIdle
	}
	if rate <= 0 {
		rate = DefaultMinRate
	}
	seconds := min(maxBytes/rate+1, int64(time.Hour*24*365/time.Second)) // a length is any number that somebody signed
	all := idle + time.Duration(seconds)*time.Second
	inner, cancel := context.WithCancelCause(ctx)
	body := &httpBody{
		url: redact(from), ctx: inner, parent: ctx, cancel: cancel, idle: idle,
		idleTimer: time.AfterFunc(idle, func() { cancel(&SlowError{Idle: idle}) }),
		allTimer:  time.AfterFunc(all, func() { cancel(&SlowError{All: all}) }),
	}
	req, err := http.NewRequestWithContext(inner, http.MethodGet, from, nil)
	if err != nil {
		body.Close()
		return nil, &FetchError{URL: body.url, Err: withoutURL(err)}
	}
	req.Header.Set("User-Agent", UserAgent)
	resp, err := f.client().Do(req)
	if err != nil {
		defer body.Close()
		return nil, body.fail(err)
	}
	body.rc, body.length = resp.Body, resp.ContentLength
	body.idleTimer.Stop()
	if resp.StatusCode == http.StatusOK {
		if resp.ContentLength > maxBytes {
			body.Close()
			return nil, &LengthError{Name: fileOf(from), Source: body.url, Want: maxBytes, Got: resp.ContentLength}
		}
		return body, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 4<<10)) // so that the connection can be used again
	body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, &NotFoundError{URL: body.url}
	}
	if proxy := proxyOf(f.client(), resp.Request); proxy != nil && resp.StatusCode == http.StatusProxyAuthRequired {
		return nil, &FetchError{URL: body.url, Err: newProxyError(proxy, resp.Request.URL.Scheme, resp.StatusCode)}
	}
	return nil, &FetchError{
		URL: body.url, Status: resp.StatusCode,
		Transient:  resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// httpBody is a response body under the watch of two timers.
type httpBody struct {
	url                 string
	rc                  io.ReadCloser
	ctx, parent         context.Context
	cancel              context.CancelCauseFunc
	idle                time.Duration
	idleTimer, allTimer *time.Timer
	length              int64
}

// Length is what the server says; -1 where it says nothing.
func (b *httpBody) Length() int64 { return b.length }

func (b *httpBody) Read(p []byte) (int, error) {
	b.idleTimer.Reset(b.idle) // runs only while somebody waits for the server
	n, err := b.rc.Read(p)
	b.idleTimer.Stop()
	if err != nil && err != io.EOF {
		err = b.fail(err)
	}
	return n, err
}

func (b *httpBody) Close() error {
	b.idleTimer.Stop()
	b.allTimer.Stop()
	b.cancel(context.Canceled)
	if b.rc == nil {
		return nil
	}
	return b.rc.Close()
}

func (b *httpBody) fail(err error) error {
	err = withoutURL(err)
	var slow *SlowError
	switch {
	case b.parent.Err() != nil:
		return &FetchError{URL: b.url, Err: b.parent.Err()}
	case errors.As(context.Cause(b.ctx), &slow):
		// A server that was slow from the first byte to the last will be so
		// again; a pause may have been the network's.
		return &FetchError{URL: b.url, Err: slow, Transient: slow.Idle > 0}
	}
	var proxy *ProxyError
	if errors.As(err, &proxy) {
		return &FetchError{URL: b.url, Err: proxy, Transient: proxy.transient()}
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	hopeless := errors.As(err, &dns) && dns.IsNotFound || errors.As(err, &cert)
	return &FetchError{URL: b.url, Err: err, Transient: !hopeless}
}

// withoutURL takes the URL out of an error that will be shown beside it.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// FileFetcher fetches file URLs of this machine.
type FileFetcher struct{}

// Fetch implements [Fetcher]. Only regular files are opened.
func (FileFetcher) Fetch(ctx context.Context, from string, _ int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, &FetchError{URL: from, Err: err}
	}
	u, err := url.Parse(from)
	switch {
	case err != nil || u.Scheme != "file" || u.Host != "" && u.Host != "localhost":
		return nil, &FetchError{URL: redact(from), Err: errors.New("it is not a file URL of this machine")}
	case strings.Contains(strings.ToLower(u.EscapedPath()), "%2f"):
		return nil, &NotFoundError{URL: from} // no file name contains a slash
	case slices.Contains(strings.Split(u.Path, "/"), ".."):
		return nil, &FetchError{URL: from, Err: errors.New("the path goes up with .. somewhere")}
	}
	path := filepath.FromSlash(u.Path)
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, `\`)
	}
	info, err := os.Stat(path) // first, since opening a pipe would wait
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &NotFoundError{URL: from}
	case err != nil:
		return nil, &FetchError{URL: from, Err: err}
	}
	return f, nil
}

// How often and for how long the client tries again.
const (
	attempts      = 3
	firstWait     = 500 * time.Millisecond
	maxRetryAfter = 30 * time.Second // where a server asks for more, the person should know instead
)

// mirrors are the URLs below which the metadata of a repository is, or its
// artifacts, in the order in which they are asked.
type mirrors struct {
	urls []string

	mu   sync.Mutex
	down map[string]bool // those that did not answer in this update: they are asked last
}

// begin forgets who did not answer.
func (m *mirrors) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = nil
}

// failed remembers that a mirror did not answer. One that has answered, with
// whatever, costs no wait.
func (m *mirrors) failed(url string, err error) {
	if !errors.As(err, new(*FetchError)) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down == nil {
		m.down = map[string]bool{}
	}
	m.down[url] = true
}

// order lists the mirrors as they are to be asked now, and how many of them are
// not known to be down.
func (m *mirrors) order() (urls []string, up int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var last []string
	for _, url := range m.urls {
		if m.down[url] {
			last = append(last, url)
		} else {
			urls = append(urls, url)
		}
	}
	return append(urls, last...), len(urls)
}

// request is a file that is wanted from any mirror.
type request struct {
	name     string // of what it is, for people
	from     *mirrors
	file     string // below the URL of a mirror
	maxBytes int64

	// optional says that the file need not exist: where one mirror says that it
	// does not, the others are still asked, but nobody is waited for.
	optional bool
}

// absent reports whether a failure says that there is no such file. Of an optional
// one 403 says so too: stores answer that for what is not there to those who may
// not list it. Whoever could hide a file behind a 403 could behind a 404.
func (r request) absent(err error) bool {
	fault := (*FetchError)(nil)
	return errors.As(err, new(*NotFoundError)) || r.optional && errors.As(err, &fault) && fault.Status == http.StatusForbidden
}

// transfer fetches a file and lets consume read it, from its beginning at every
// attempt, until consume is content. It asks one mirror after the other, and then
// again those of whom that may help. With several mirrors the error is a
// *[MirrorsError].
//
// That a mirror has nothing, or what consume refuses, is its failure and nobody
// else's: the next is asked. That this machine cannot go on is the end. That an
// optional file is nowhere is a *[NotFoundError].
func (c *Client) transfer(ctx context.Context, r request, consume func(source string, body io.Reader) error) error {
	once := func(from string) error {
		c.log.Debug("fetch", "url", redact(from))
		body, err := c.fetcher.Fetch(ctx, from, r.maxBytes)
		if err != nil {
			return err
		}
		defer body.Close()
		return consume(redact(from), body)
	}
	urls, up := r.from.order()
	failures := make([]error, len(urls))
	ask := make([]int, len(urls))
	for i := range urls {
		ask[i] = i
	}
	for attempt := 1; ; attempt++ {
		var again []int
		var fault *FetchError // the one that may be over first
		missing := false
		for _, i := range ask {
			if r.optional && missing && i >= up {
				continue
			}
			err := once(urls[i] + r.file)
			if err == nil || ctx.Err() != nil || errors.As(err, new(*CacheError)) {
				return err
			}
			failures[i] = err
			none := r.absent(err)
			missing = missing || none
			if !none {
				r.from.failed(urls[i], err)
			}
			if one := (*FetchError)(nil); errors.As(err, &one) && one.Transient && one.RetryAfter <= maxRetryAfter {
				again = append(again, i)
				if fault == nil || one.RetryAfter < fault.RetryAfter {
					fault = one
				}
			}
			if len(urls) > 1 && !(none && r.optional) {
				c.log.Warn("a mirror fails", "reason", err)
			}
		}
		if r.optional && missing {
			return &NotFoundError{URL: redact(urls[0] + r.file)}
		}
		all := mirrorsError(r.name, failures)
		if len(again) == 0 || attempt == attempts {
			return all
		}
		base := firstWait << (attempt - 1)
		wait := max(fault.RetryAfter, base/2+rand.N(base))
		c.log.Info("trying again", "url", fault.URL, "in", wait.Round(time.Millisecond), "after", fault)
		if err := c.sleep(ctx, wait); err != nil {
			return fmt.Errorf("%w (while waiting to try again: %w)", all, err)
		}
		ask = again
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch reads a whole file into memory, from the first mirror whose file accept
// takes.
func (c *Client) fetch(ctx context.Context, r request, accept func(source string, data []byte) error) error {
	return c.transfer(ctx, r, func(source string, body io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(body, r.maxBytes+1))
		if err == nil && int64(len(data)) > r.maxBytes {
			err = &LengthError{Name: r.name, Source: source, Want: r.maxBytes, Got: int64(len(data))}
		}
		if err != nil {
			return err
		}
		return accept(source, data)
	})
}

// fetchFrom reads a whole file of one URL.
func (c *Client) fetchFrom(ctx context.Context, name, url string, maxBytes int64) (data []byte, err error) {
	one := request{name: name, from: &mirrors{urls: []string{url}}, maxBytes: maxBytes}
	err = c.fetch(ctx, one, func(_ string, got []byte) error { data = got; return nil })
	return data, err
}

// redact takes a password out of a URL that a person will see.
func redact(from string) string {
	if !strings.Contains(from, "@") {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return from[strings.LastIndexByte(from, '@')+1:]
	}
	if u.User != nil {
		return u.Redacted()
	}
	return from
}

func fileOf(from string) string { return from[strings.LastIndexByte(from, '/')+1:] }

// quote percent-encodes all but letters, digits and -._~ so that any role or
// artifact name is one segment of a URL and one name of a file. It is what
// python-tuf encodes.
func quote(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// baseURL checks and normalises a URL that file names are appended to. Other
// schemes than ours are for other fetchers than ours.
func baseURL(of, base string, ours bool) (string, error) {
	fail := func(reason string) (string, error) { return "", &URLError{Of: of, URL: redact(base), Reason: reason} }
	u, err := url.Parse(base)
	switch {
	case base == "":
		return fail("it is missing")
	case err != nil || u.Scheme == "" || u.Opaque != "" || u.Host == "" && u.Scheme != "file":
		return fail("it is not a URL")
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(base, "?"):
		return fail("file names cannot be appended to a query or a fragment")
	case ours && !slices.Contains([]string{"http", "https", "file"}, u.Scheme):
		return fail("only http, https and file are known")
	}
	return strings.TrimRight(base, "/") + "/", nil
}
