package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/repository"
)

// corpus clones the real repository.
func (b *bench) corpus(ctx context.Context) error {
	dir := cmp.Or(os.Getenv("TUFOPS_CORPUS"), filepath.Join(filepath.Dir(b.module), "shared", "corpus"))
	bundle := filepath.Join(dir, "root-signing-staging.bundle")
	if _, err := os.Stat(bundle); err != nil {
		return err
	}
	b.events, b.clone = filepath.Join(dir, "events.json"), filepath.Join(b.dir, "corpus")
	_, err := output(ctx, "", b.git, "clone", "--quiet", bundle, b.clone)
	return err
}

// corpusNow is a day on which the corpus's main was valid.
const corpusNow = "2026-08-22T00:00:00Z"

func (b *bench) printHead() {
	by := "clock"
	if processors {
		by = "processors"
	}
	fmt.Printf("Medians of %d rounds, by the %s. The things of one block take turns.\n", b.rounds, by)
}

// A row is a line of a block: a part, a sum of parts, or what is compared.
func row(name string, d time.Duration, note string) {
	fmt.Printf("  %-46s %10s   %s\n", name, milliseconds(d), note)
}

// compare prints the floor, which is the sum of parts, and each thing next to it,
// and notes the goal.
func (b *bench) compare(of string, parts []*timing, goal float64, names []string, things ...*timing) {
	var median, fastest time.Duration
	for _, p := range parts {
		median, fastest = median+p.median(), fastest+p.fastest()
	}
	if len(parts) > 1 {
		row("floor: the sum", median, "")
	}
	for i, t := range things {
		row(names[i], t.median(), fmt.Sprintf("%.2f times the floor (fastest runs: %.2f), goal %.1f",
			float64(t.median())/float64(median), float64(t.fastest())/float64(fastest), goal))
		b.ratio(of+names[i], t, median, goal)
	}
}

// A verification is one signature that has to be checked, whoever does it.
type verification struct {
	key     *metadata.Key
	payload []byte
	sig     []byte
	file    []byte // that has the signature
}

// verifications collects distinct ones: of every signature, or with enough of no
// more than the thresholds ask for, which is what a client needs.
type verifications struct {
	list   []verification
	seen   map[string]bool
	enough bool
}

func (v *verifications) add(d metadata.Delegation, doc *metadata.Document) {
	if v.seen == nil {
		v.seen = map[string]bool{}
	}
	var good int64
	for _, s := range doc.Signatures() {
		for _, id := range d.KeyIDs {
			sig, err := s.Bytes()
			k := d.Keys[id]
			if s.KeyID != id || k == nil || len(sig) == 0 || err != nil {
				continue
			}
			if v.enough && good == d.Threshold {
				return
			}
			if k.Verify(doc.Payload(), sig) == nil {
				good++
			}
			if name := k.Fingerprint() + s.Sig + string(doc.Payload()); !v.seen[name] {
				v.seen[name] = true
				v.list = append(v.list, verification{k, doc.Payload(), sig, doc.Raw()})
			}
		}
	}
}

// chain adds the roots, each by its own keys and its predecessor's.
func (v *verifications) chain(roots []*metadata.Document) {
	for i, doc := range roots {
		for _, by := range roots[max(0, i-1) : i+1] {
			d, _ := by.Delegation(metadata.Root)
			v.add(d, doc)
		}
	}
}

func (v *verifications) run() (time.Duration, error) {
	return timed(func() error {
		for _, one := range v.list {
			_ = one.key.Verify(one.payload, one.sig) // one that fails costs the same
		}
		return nil
	})
}

// open opens the TUF repository of a clone.
func open(ctx context.Context, dir string) (*repository.Repository, error) {
	g, err := git.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	return repository.New(g, "")
}

// status measures `tufops status` on recorded states of real signing events.
func (b *bench) status(ctx context.Context) error {
	data, err := os.ReadFile(b.events)
	if err != nil {
		return err
	}
	var events []struct{ Event, Base, Head, Now string }
	if err := json.Unmarshal(data, &events); err != nil {
		return err
	}
	for _, e := range events {
		if !strings.HasPrefix(e.Head, "41c0aacb") && !strings.HasPrefix(e.Head, "fb32e436") {
			continue
		}
		env, allowed := []string{"TUFOPS_NOW=" + e.Now}, []int{1, 3}
		args := []string{"status", "--head", e.Head, "--base", e.Base, "--event", e.Event, "--format", "json"}
		calls, err := b.recorded(ctx, b.clone, env, allowed, args...)
		if err != nil {
			return err
		}
		v, err := b.eventVerifications(ctx, repository.EventOptions{Name: e.Event, Head: e.Head, Base: e.Base})
		if err != nil {
			return err
		}
		whole := &timing{run: program(ctx, b.clone, env, allowed, b.tufops, args...)}
		empty := &timing{run: program(ctx, b.clone, nil, nil, b.empty)}
		bare := &timing{run: replay(ctx, calls)}
		checks := &timing{run: v.run}
		without := &timing{run: program(ctx, b.clone, env, nil, b.counts, e.Event, e.Head, e.Base)}
		if err := interleave(ctx, b.rounds, whole, empty, bare, checks, without); err != nil {
			return err
		}
		fmt.Printf("\nstatus of %s at %.8s, main has moved: %d git processes, goal at most 5\n", e.Event, e.Head, len(calls))
		row("empty program with the same imports", empty.median(), "")
		row("the same git processes, bare", bare.median(), "")
		row("signature verifications", checks.median(), fmt.Sprint(len(v.list)))
		b.compare("", []*timing{empty, bare, checks}, 2, []string{"tufops status of " + e.Event}, whole)
		b.most("tufops status of "+e.Event, len(calls), "git processes", 5)
		row("status without the rules", without.median(), fmt.Sprintf("with them %.2f times that (fastest runs: %.2f), goal 1.5",
			float64(whole.median())/float64(without.median()), float64(whole.fastest())/float64(without.fastest())))
		b.ratio("the same, beside status without rules", whole, without.median(), 1.5)
	}
	return nil
}

func (b *bench) eventVerifications(ctx context.Context, o repository.EventOptions) (*verifications, error) {
	repo, err := open(ctx, b.clone)
	if err != nil {
		return nil, err
	}
	defer repo.Git.Close()
	e, err := repo.OpenEvent(ctx, o)
	if err != nil {
		return nil, err
	}
	v := &verifications{}
	for _, role := range e.Changed() {
		for _, pair := range [][2]*repository.State{{e.KnownGood, e.Proposed}, {e.Tip, e.Merged}} {
			if pair[1] == nil {
				continue
			}
			doc, err := pair[1].Document(role)
			if err != nil {
				return nil, err
			}
			for _, d := range pair[1].Delegations(role) {
				v.add(d.Delegation, doc)
			}
			if d, ok := pair[0].Delegation(role); ok && role == metadata.Root {
				v.add(d.Delegation, doc)
			}
		}
	}
	return v, nil
}

// build measures `tufops build` of the corpus's main.
func (b *bench) build(ctx context.Context) error {
	site, copied := filepath.Join(b.dir, "site"), filepath.Join(b.dir, "copied")
	env := []string{"TUFOPS_NOW=" + corpusNow}
	args := []string{"build", "--metadata", site, "--artifacts", filepath.Join(site, "targets")}
	calls, err := b.recorded(ctx, b.clone, env, nil, args...)
	if err != nil {
		return err
	}
	v, err := b.publishedVerifications(ctx, false)
	if err != nil {
		return err
	}
	fresh := func(dir string, run func() (time.Duration, error)) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			if err := os.RemoveAll(dir); err != nil {
				return 0, err
			}
			return run()
		}
	}
	whole := &timing{run: fresh(site, program(ctx, b.clone, env, nil, b.tufops, args...))}
	copying := &timing{run: fresh(copied, program(ctx, b.clone, nil, nil, b.empty, site, copied))}
	bare := &timing{run: replay(ctx, calls)}
	checks := &timing{run: v.run}
	if err := interleave(ctx, b.rounds, whole, copying, bare, checks); err != nil {
		return err
	}
	fmt.Printf("\nbuild of the corpus's main: %d git processes\n", len(calls))
	row("program with the same imports copies the tree", copying.median(), "")
	row("the same git processes, bare", bare.median(), "")
	row("signature verifications", checks.median(), fmt.Sprint(len(v.list)))
	b.compare("", []*timing{copying, bare, checks}, 2, []string{"tufops build"}, whole)
	row("", whole.median(), fmt.Sprintf("%.2f times the copying alone", float64(whole.median())/float64(copying.median())))
	return nil
}

func (b *bench) published(ctx context.Context) (*repository.Published, error) {
	repo, err := open(ctx, b.clone)
	if err != nil {
		return nil, err
	}
	defer repo.Git.Close()
	head, err := repo.Git.Resolve(ctx, "HEAD")
	if err != nil {
		return nil, err
	}
	now, err := time.Parse(time.RFC3339, corpusNow)
	if err != nil {
		return nil, err
	}
	return repo.Published(ctx, head, now)
}

// publishedVerifications are those of all that is published, or only of what a
// client that refreshes needs.
func (b *bench) publishedVerifications(ctx context.Context, refresh bool) (*verifications, error) {
	p, err := b.published(ctx)
	if err != nil {
		return nil, err
	}
	v := &verifications{enough: refresh}
	var roots []*metadata.Document
	for _, r := range p.Roots() {
		roots = append(roots, r.Document)
	}
	v.chain(roots)
	d, _ := p.Root().Delegation(metadata.Timestamp)
	v.add(d, p.Timestamp())
	d, _ = p.Root().Delegation(metadata.Snapshot)
	v.add(d, p.Snapshot())
	for _, r := range p.Roles() {
		if !refresh || r.Role == metadata.Targets {
			v.add(r.Delegation, r.Document)
		}
	}
	return v, nil
}

// client measures package client from 1.root.json to the newest metadata, over
// loopback and with nothing cached.
func (b *bench) client(ctx context.Context) error {
	site := filepath.Join(b.dir, "served")
	if _, err := program(ctx, b.clone, []string{"TUFOPS_NOW=" + corpusNow}, nil, b.tufops, "build", "--metadata", site)(); err != nil {
		return err
	}
	v, err := b.publishedVerifications(ctx, true)
	if err != nil {
		return err
	}
	now, err := time.Parse(time.RFC3339, corpusNow)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var asked []string
	log := false
	files := http.FileServer(http.Dir(site))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if log {
			asked = append(asked, r.URL.Path)
		}
		files.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	defer server.Close()
	base := "http://" + listener.Addr().String()

	root, err := os.ReadFile(filepath.Join(site, "1.root.json"))
	if err != nil {
		return err
	}
	var found *client.Result
	refresh := func(cache string) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			if cache != "" {
				if err := os.RemoveAll(cache); err != nil {
					return 0, err
				}
			}
			hc := httpClient()
			defer hc.CloseIdleConnections()
			return timed(func() error {
				c, err := client.New(client.Options{
					Root: root, MetadataURL: base, CacheDir: cache, Fetcher: &client.HTTPFetcher{Client: hc},
					Now: func() time.Time { return now },
				})
				if err != nil {
					return err
				}
				found, err = c.Refresh(ctx)
				return err
			})
		}
	}
	log = true
	if _, err := refresh("")(); err != nil {
		return err
	}
	log = false

	memory := &timing{run: refresh("")}
	disk := &timing{run: refresh(filepath.Join(b.dir, "cache"))}
	gets := &timing{run: (&verifications{}).bareRefresh(ctx, base, root, asked, "")}
	checks := &timing{run: v.run}
	least := &timing{run: v.bareRefresh(ctx, base, root, asked, "")}
	leastOnDisk := &timing{run: v.bareRefresh(ctx, base, root, asked, filepath.Join(b.dir, "least"))}
	// As people run it: a program from start to end, its cache on disk.
	fresh, cache := filepath.Join(b.dir, "initialised"), filepath.Join(b.dir, "program-cache")
	if _, err := program(ctx, b.dir, nil, nil, b.tufopsClient, "--metadata-dir", fresh, "init", filepath.Join(site, "1.root.json"))(); err != nil {
		return err
	}
	var urls []string
	for _, path := range asked {
		urls = append(urls, base+path)
	}
	refreshes := program(ctx, b.dir, nil, nil, b.tufopsClient, "--metadata-dir", cache, "--metadata-url", base, "--time", corpusNow, "refresh")
	whole := &timing{run: func() (time.Duration, error) {
		if err := errors.Join(os.RemoveAll(cache), os.CopyFS(cache, os.DirFS(fresh))); err != nil {
			return 0, err
		}
		return refreshes()
	}}
	bare := &timing{run: program(ctx, b.dir, nil, nil, b.bareGets, urls...)}
	// What keeping the files takes, which is apart since it is not the program's.
	keeping := &timing{run: func() (time.Duration, error) {
		dir := filepath.Join(b.dir, "keeping")
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
			return 0, err
		}
		files := map[string][]byte{}
		for _, path := range asked {
			data, err := os.ReadFile(filepath.Join(site, path))
			if errors.Is(err, fs.ErrNotExist) {
				continue // the root that is not there
			}
			if err != nil {
				return 0, err
			}
			files[path] = data
		}
		return timed(func() error {
			for path, data := range files {
				if err := keep(filepath.Join(dir, path), data); err != nil {
					return err
				}
			}
			return nil
		})
	}}
	// The same client again and again, which is what a service does: nothing is new.
	const inARow = 20
	again := func(cache string) (*timing, error) {
		hc := httpClient()
		c, err := client.New(client.Options{Root: root, MetadataURL: base, CacheDir: cache, Fetcher: &client.HTTPFetcher{Client: hc}, Now: func() time.Time { return now }})
		if err == nil {
			_, err = c.Refresh(ctx)
		}
		return &timing{run: repeated(inARow, func() (time.Duration, error) {
			return timed(func() error { _, err := c.Refresh(ctx); return err })
		})}, err
	}
	keptOnDisk := filepath.Join(b.dir, "kept")
	kept, err := again("")
	if err != nil {
		return err
	}
	onDisk, err := again(keptOnDisk)
	if err != nil {
		return err
	}
	two := httpClient()
	last := []string{asked[13], asked[14]} // the root that is not there, and the timestamp
	bareTwo := &timing{run: repeated(inARow, func() (time.Duration, error) {
		return timed(func() error {
			_, err1 := get(ctx, two, base+last[0])
			_, err2 := get(ctx, two, base+last[1])
			return errors.Join(err1, err2)
		})
	})}
	// On disk it must also take its turn with other processes, and read what
	// they may have left.
	bareTwoOnDisk := &timing{run: repeated(inARow, func() (time.Duration, error) {
		return timed(func() error {
			lock := flock.New(filepath.Join(keptOnDisk, ".lock"))
			_, err1 := lock.TryLock()
			_, err2 := get(ctx, two, base+last[0])
			_, err3 := get(ctx, two, base+last[1])
			for _, file := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
				_, err := os.ReadFile(filepath.Join(keptOnDisk, file))
				err1 = errors.Join(err1, err)
			}
			return errors.Join(err1, err2, err3, lock.Close())
		})
	})}
	keptArgs := []string{"--metadata-dir", keptOnDisk, "--metadata-url", base, "--time", corpusNow, "refresh"}
	if _, err := program(ctx, b.dir, nil, nil, b.tufopsClient, "--metadata-dir", keptOnDisk, "init", filepath.Join(site, "1.root.json"))(); err != nil {
		return err
	}
	programAgain := &timing{run: program(ctx, b.dir, nil, nil, b.tufopsClient, keptArgs...)}
	programTwo := &timing{run: program(ctx, b.dir, nil, nil, b.bareGets, base+last[0], base+last[1])}
	for _, block := range [][]*timing{
		{memory, disk, gets, checks, least, leastOnDisk},
		{whole, bare, keeping, programAgain, programTwo},
		{kept, onDisk, bareTwo, bareTwoOnDisk},
	} {
		if err := interleave(ctx, b.rounds, block...); err != nil {
			return err
		}
	}
	fmt.Printf("\nclient over loopback, nothing cached: %s\n", found)
	row("the same GETs, bare", gets.median(), fmt.Sprint(len(asked)))
	row("signature verifications", checks.median(), fmt.Sprint(len(v.list)))
	row("floor: each GET, then its signatures", least.median(), "")
	b.compare("1 to 14: ", []*timing{least}, 1.5, []string{"client, cache in memory"}, memory)
	row("floor: each kept in a file too, two synced", leastOnDisk.median(), "")
	b.compare("1 to 14: ", []*timing{leastOnDisk}, 1.5, []string{"client, cache on disk"}, disk)
	fmt.Printf("\nthe same as a program, from start to end\n")
	row("program with the same imports gets the same", bare.median(), fmt.Sprint(len(asked)))
	row("signature verifications", checks.median(), fmt.Sprint(len(v.list)))
	row("keeping the files, two synced", keeping.median(), "")
	b.compare("1 to 14: ", []*timing{bare, checks, keeping}, 1.5, []string{"tufops-client refresh"}, whole)
	log, asked = true, nil
	if _, err := kept.run(); err != nil {
		return err
	}
	fmt.Printf("\nnothing new: %s and %s\n", last[0], last[1])
	b.most("nothing new: the same client", len(asked)/inARow, "requests", 2)
	row("the two GETs, bare", bareTwo.median(), "")
	b.compare("nothing new: ", []*timing{bareTwo}, 1.2, []string{"the same client, cache in memory"}, kept)
	row("the two GETs, a lock, and three files read", bareTwoOnDisk.median(), "")
	b.compare("nothing new: ", []*timing{bareTwoOnDisk}, 1.2, []string{"the same client, cache on disk"}, onDisk)
	fmt.Printf("\nnothing new, as a program, which verifies the whole chain again\n")
	row("program with the same imports gets the two", programTwo.median(), "")
	row("signature verifications", checks.median(), fmt.Sprint(len(v.list)))
	b.compare("nothing new: ", []*timing{programTwo, checks}, 1.2, []string{"tufops-client refresh"}, programAgain)
	return nil
}

// bareRefresh does the least that a client must, in the order in which it must: it
// gets a file and verifies the signatures of it that are in v, and only then gets the
// next. Where there is a directory it keeps each there.
func (v *verifications) bareRefresh(ctx context.Context, base string, anchor []byte, asked []string, dir string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		if dir != "" {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				return 0, err
			}
		}
		hc := httpClient()
		defer hc.CloseIdleConnections()
		return timed(func() error {
			done := 0
			verify := func(file []byte) {
				for ; done < len(v.list) && bytes.Equal(v.list[done].file, file); done++ {
					_ = v.list[done].key.Verify(v.list[done].payload, v.list[done].sig)
				}
			}
			verify(anchor)
			for _, path := range asked {
				data, err := get(ctx, hc, base+path)
				if err != nil {
					return err
				}
				verify(data)
				if dir != "" && data != nil {
					if err := keep(filepath.Join(dir, path), data); err != nil {
						return err
					}
				}
			}
			if done != len(v.list) {
				return fmt.Errorf("%d of %d signatures are of no file that was fetched", len(v.list)-done, len(v.list))
			}
			return nil
		})
	}
}

// keep lets a file appear whole, and waits for the disk at timestamp and snapshot,
// which nobody may make a client forget.
func keep(path string, data []byte) error {
	f, err := wholefile.Create(path, "", 0o644)
	if err != nil {
		return err
	}
	defer f.Discard()
	_, err = f.Write(data)
	if name := filepath.Base(path); err == nil && (strings.HasSuffix(name, "timestamp.json") || strings.HasSuffix(name, "snapshot.json")) {
		err = f.Sync()
	}
	return errors.Join(err, f.Commit())
}

// httpClient has the settings of [client.HTTPFetcher]'s own.
func httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, DisableCompression: true,
	}}
}

// get returns a file, or nil where there is none.
func get(ctx context.Context, hc *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusNotFound {
		data = nil
	}
	return data, errors.Join(err, resp.Body.Close())
}
