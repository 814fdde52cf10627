package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// proxy is a shared cache between a store and all clients: it keeps what the
// headers let it keep, serves that again when it is too old but may be (once,
// while it fetches anew), and remembers for ten minutes what was not there.
type proxy struct {
	publish.Reader // only for the methods that clients do not use
	origin         *storetest.Memory
	now            *time.Time
	// control replaces what the store says of a file; nil: nothing is replaced.
	control func(name, control string) string

	kept    map[string]kept
	missing map[string]time.Time

	hits, stale, negative int
}

type kept struct {
	data    []byte
	at      time.Time
	control string
}

const rememberMissing = 10 * time.Minute

func (p *proxy) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	serve := func(data []byte) (io.ReadCloser, publish.Version, error) {
		return io.NopCloser(bytes.NewReader(data)), "cached", nil
	}
	if at, gone := p.missing[name]; gone && p.now.Sub(at) < rememberMissing {
		p.negative++
		return nil, "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	have, ok := p.kept[name]
	if ok && !directive(have.control, "no-cache") {
		if p.now.Sub(have.at) < maxAge(have.control) {
			p.hits++
			return serve(have.data)
		}
		p.stale++
		defer p.fetch(ctx, name) // for the next one
		return serve(have.data)
	}
	if err := p.fetch(ctx, name); err != nil {
		return nil, "", err
	}
	return serve(p.kept[name].data)
}

func (p *proxy) fetch(ctx context.Context, name string) error {
	rd, _, err := p.origin.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		p.missing[name] = *p.now
	}
	if err != nil {
		return err
	}
	delete(p.missing, name)
	data, err := io.ReadAll(rd)
	_, control := p.origin.Headers(name)
	if p.control != nil {
		control = p.control(name, control)
	}
	p.kept[name] = kept{data, *p.now, control}
	return err
}

func directive(control, name string) bool {
	for d := range strings.SplitSeq(control, ",") {
		if strings.TrimSpace(d) == name {
			return true
		}
	}
	return false
}

func maxAge(control string) time.Duration {
	for d := range strings.SplitSeq(control, ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(d), "max-age="); ok {
			n, _ := strconv.Atoi(seconds)
			return time.Duration(n) * time.Second
		}
	}
	return 0
}

// TestCachingProxy: thirty days behind a cache, with a timestamp every 22 hours and a
// rotation of each kind, and clients that come before, between and after the
// writes, for the first time or again. With headers as we write them none fails;
// with others the last of these days show that the cache can harm.
func TestCachingProxy(t *testing.T) {
	none := func(_, control string) string { return control }
	for _, test := range []struct {
		name    string
		control func(name, control string) string
		from    int // the first day
		fails   bool
	}{
		{"our headers", none, 0, false},
		{"timestamp for a day", func(name, control string) string {
			if name == "metadata/timestamp.json" {
				return "public, max-age=86400"
			}
			return control
		}, 19, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			updates, failures, p := thirtyDays(t, test.control, test.from)
			t.Logf("%d updates, %d failed; the cache served %d times without asking, %d times while asking, %d times that there is nothing", updates, len(failures), p.hits, p.stale, p.negative)
			if test.fails != (len(failures) > 0) {
				t.Errorf("%d of %d updates failed: %v", len(failures), updates, failures[:min(5, len(failures))])
			}
			if p.hits == 0 || p.stale == 0 || p.negative == 0 {
				t.Error("the cache did not do what caches do")
			}
		})
	}
}

func thirtyDays(t *testing.T, control func(name, control string) string, from int) (updates int, failures []string, p *proxy) {
	r := publishtest.New(t)
	anchor := r.Files["metadata/1.root.json"]
	now := publishtest.Now
	for _, role := range []string{metadata.Root, metadata.Targets, metadata.Snapshot} {
		r.Roles[role].Expire(now.AddDate(0, 3, 0))
	}
	store := &storetest.Memory{}
	p = &proxy{origin: store, now: &now, control: control, kept: map[string]kept{}, missing: map[string]time.Time{}}
	clock := func() time.Time { return now }
	warm := publishtest.ClientAt(t, p, anchor, "", clock)
	clients := func(when string) {
		tried := func(who string, err error) {
			if updates++; err != nil {
				failures = append(failures, fmt.Sprintf("%s, %s: %v", when, who, err))
			}
		}
		_, err := warm.Refresh(t.Context())
		tried("a client that comes again", err)
		_, _, err = publishtest.ClientAt(t, p, anchor, "", clock).Read(t.Context(), "a.txt")
		tried("a new client", err)
		theirs, err := gotuf.New(gotuf.Options{Root: anchor, Now: now, Open: func(name string) ([]byte, error) {
			rd, _, err := p.Get(t.Context(), name)
			if err != nil {
				return nil, err
			}
			return io.ReadAll(rd)
		}})
		if err == nil {
			err = theirs.Refresh()
		}
		tried("a new go-tuf", err)
		// And somebody who looks at the page for people, which may be old for a while.
		if rd, _, err := p.Get(t.Context(), "metadata/index.html"); err == nil {
			rd.Close()
		}
	}
	for day := from; day < 33; day++ { // of 22 hours each, so that a cache of a day is in the way
		r.Roles[metadata.Timestamp].Expire(now.AddDate(0, 0, 2))
		switch day {
		case 7:
			r.RotateKey(metadata.Root, "root2", true)
			r.Publish(metadata.Timestamp)
		case 14:
			r.RotateKey(metadata.Targets, "targets2", true)
			r.Publish(metadata.Targets)
		case 21:
			r.RotateOnlineKey("online2", true)
		case 3, 25:
			r.AddTarget(metadata.Targets, fmt.Sprintf("%d.txt", day), "new")
			r.Publish(metadata.Targets)
		default:
			r.Publish(metadata.Timestamp)
		}
		commit := r.Commit(t, fmt.Sprintf("day %d", day))
		rotates := day == 7 || day == 14 || day == 21
		between := &storetest.Faulty{Store: store, Before: func(name string) {
			if rotates {
				clients(fmt.Sprintf("day %d, before %s is written", day, name))
				now = now.Add(time.Second)
			}
		}}
		if _, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.PublishableAt(t, commit, now), To: []publish.Destination{{Store: between}}}); err != nil {
			t.Fatal(err)
		}
		for _, later := range []time.Duration{time.Second, 5 * time.Minute, time.Hour, 21 * time.Hour} {
			now = now.Add(later)
			clients(fmt.Sprintf("day %d, %v after", day, later))
		}
	}
	return updates, failures, p
}
