package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/client"
)

// DefaultWithin is how long [Run] waits for the public URL of a destination to
// show what was written.
const DefaultWithin = 5 * time.Minute

// The pauses between two looks at a public URL.
const (
	firstPause = 2 * time.Second
	maxPause   = 30 * time.Second
)

// NotServedError says that what was written is not what clients get. The files
// at the destination are right; what lies between is not.
type NotServedError struct {
	URL    string
	Waited time.Duration
	Want   string // versions
	Got    string // how far a new client came
	// Served are the answers to blame, with what caches said of them.
	Served []string
}

func (e *NotServedError) Error() string {
	text := fmt.Sprintf("read back through %s: %s; want %s; waited %v for it", e.URL, e.Got, e.Want, e.Waited)
	if len(e.Served) > 0 {
		text += "; served were " + strings.Join(e.Served, ", ")
	}
	return text
}

// Hint says what to do.
func (e *NotServedError) Hint() string {
	return "the destination has the files, so see what stands between it and the clients: purge what a cache remembers (an old timestamp.json, or that a file was not there), have it obey Cache-Control and keep no 404, and publish again, which then only looks"
}

// readBack has a new client update through the public URL, until it gets what was
// written or the time is over: at least this root, our timestamp, or newer ones
// of a publisher who was faster. Files are read back byte for byte.
func (p *publisher) readBack(ctx context.Context, root int64, files []File) error {
	if p.public == "" || p.to == nil {
		return nil
	}
	o := p.options
	within, sleep := o.Within, o.Sleep
	if within == 0 {
		within = DefaultWithin
	}
	if sleep == nil {
		sleep = pause
	}
	proof := &proof{publisher: p, root: root, timestamp: p.published().Timestamp().Version(), pending: files, saw: map[string]string{}}
	proof.fetcher = proof.newFetcher()
	// The pauses are counted, so that they may be simulated; what servers take
	// for their answers is bounded as well.
	looking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var waited time.Duration
	for next := firstPause; ; next = min(2*next, maxPause) {
		got, served := proof.look(looking)
		if got == "" {
			p.report.ReadBack = &ReadBack{URL: p.public, Root: proof.reached.Root().Version, Timestamp: proof.reached.Timestamp.Version, Waited: int64(waited / time.Second)}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if waited >= within || looking.Err() != nil {
			return &NotServedError{URL: p.public, Waited: max(waited, 0), Got: got, Served: served,
				Want: fmt.Sprintf("root version %d and timestamp version %d", root, proof.timestamp)}
		}
		next = min(next, within-waited)
		o.Log.Info("waiting until clients see it", "url", p.public, "now", got, "in", next)
		if err := sleep(ctx, next); err != nil {
			return fmt.Errorf("read back through %s: %w", p.public, err)
		}
		waited += next
	}
}

// proof is one reading back.
type proof struct {
	*publisher
	root, timestamp int64
	pending         []File // not read back yet
	fetcher         client.Fetcher
	reached         *client.Result

	watch sync.Mutex
	saw   map[string]string // by name: what the last answer was, and what caches said of it
}

// look tries once. It returns what is wrong, and the answers that are to blame;
// "": nothing.
func (p *proof) look(ctx context.Context) (got string, served []string) {
	result, err := p.update(ctx)
	p.reached = result
	blame := func(name string) {
		p.watch.Lock()
		defer p.watch.Unlock()
		if saw := p.saw[name]; saw != "" {
			served = append(served, name+" "+saw)
		}
	}
	behind := result.Root().Version < p.root
	if behind {
		blame(fmt.Sprintf("%d.root.json", result.Root().Version+1))
	}
	switch {
	case err != nil:
		if !behind {
			blame("timestamp.json")
		}
		return fmt.Sprintf("a new client fails after %s: %v", result, err), served
	case behind || result.Timestamp.Version < p.timestamp:
		if result.Timestamp.Version < p.timestamp {
			blame("timestamp.json")
		}
		return fmt.Sprintf("a new client comes to root version %d and timestamp version %d", result.Root().Version, result.Timestamp.Version), served
	}
	var mu sync.Mutex
	wrong := map[string]string{}
	err = p.each(ctx, p.pending, func(ctx context.Context, f File, rd io.Reader) error {
		if why := p.serves(ctx, f, rd); why != "" {
			mu.Lock()
			defer mu.Unlock()
			wrong[ObjectName(f)] = why
		}
		return nil
	})
	var left []File
	for _, f := range p.pending {
		name := ObjectName(f)
		if wrong[name] == "" {
			continue
		}
		left = append(left, f)
		if len(left) <= 5 {
			blame(path.Base(name))
			got += fmt.Sprintf("; %s: %s", name, wrong[name])
		}
	}
	if err != nil {
		return err.Error(), served
	}
	if p.pending = left; len(left) > 5 {
		got += fmt.Sprintf(" and %d more", len(left)-5)
	}
	return strings.TrimPrefix(got, "; "), served
}

// update is a client's that has nothing but the oldest root it can read, so it
// asks for every root that there is.
func (p *proof) update(ctx context.Context) (*client.Result, error) {
	roots := p.published().Roots()
	first := roots[max(0, len(roots)-1-client.MaxRootRotations)].Document
	c, err := client.New(client.Options{
		Root: first.Raw(), MetadataURL: p.public + "/metadata", Fetcher: strict{p.fetcher}, Now: p.published().At, Logger: p.options.Log,
	})
	if err != nil {
		return &client.Result{}, err
	}
	return c.Refresh(ctx)
}

// strict lets no client take 403 for "there is none", as ours does after the newest
// root: go-tuf's takes it for a failure.
type strict struct{ client.Fetcher }

func (s strict) Fetch(ctx context.Context, from string, maxBytes int64) (io.ReadCloser, error) {
	body, err := s.Fetcher.Fetch(ctx, from, maxBytes)
	if fault := (*client.FetchError)(nil); errors.As(err, &fault) && fault.Status == http.StatusForbidden {
		err = fmt.Errorf("%s is answered with HTTP status 403: where there is no file it must be 404, or clients that are built with go-tuf fail; let the public list the place", fault.URL)
	}
	return body, err
}

// serves reports why a file is not what is served; "": it is.
func (p *proof) serves(ctx context.Context, f File, ours io.Reader) string {
	rd, err := p.fetcher.Fetch(ctx, p.public+"/"+(&url.URL{Path: ObjectName(f)}).EscapedPath(), f.Size)
	if err != nil {
		if errors.As(err, new(*client.NotFoundError)) {
			return "it is not served"
		}
		return err.Error()
	}
	defer rd.Close()
	same, err := equal(ours, io.LimitReader(rd, f.Size+1))
	switch {
	case err != nil:
		return err.Error()
	case !same:
		return "other bytes are served"
	}
	return ""
}

// newFetcher is a client's own, which asks as every client does, with an ear for
// what caches say.
func (p *proof) newFetcher() client.Fetcher {
	if strings.HasPrefix(p.public, "file:") {
		return client.FileFetcher{}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	return &client.HTTPFetcher{Client: &http.Client{Transport: listening{transport, p}}}
}

type listening struct {
	http.RoundTripper
	proof *proof
}

// RoundTrip implements [http.RoundTripper].
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	said := []string{}
	for _, header := range []string{"Age", "Via", "X-Cache", "Cache-Control"} {
		if v := resp.Header.Values(header); len(v) > 0 {
			said = append(said, header+": "+strings.Join(v, ", "))
		}
	}
	saw := fmt.Sprintf("with status %d", resp.StatusCode)
	if len(said) > 0 {
		saw += " (" + strings.Join(said, "; ") + ")"
	}
	l.proof.watch.Lock()
	defer l.proof.watch.Unlock()
	l.proof.saw[path.Base(r.URL.Path)] = saw
	return resp, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// immutable are the files among those written that clients ask for by a name
// which never changes its content.
func immutable(files []File) []File {
	var list []File
	for _, f := range files {
		if f.Class == Artifact || f.Class == TargetsRole || f.Class == Snapshot || f.Class == Root {
			list = append(list, f)
		}
	}
	return list
}
