package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

// What is published first, and how long a store that is elsewhere takes for an
// answer.
const (
	publishedArtifacts = 10000
	publishedSize      = 10000 // bytes
	awayFor            = 5 * time.Millisecond
)

// away is a store that is elsewhere, whose listing has digests, as those of the
// clouds do. It counts what it is asked.
type away struct {
	*storetest.Memory
	digests                     sync.Map // by name
	reads, lists, writes, pages atomic.Int64
}

func (s *away) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	s.reads.Add(1)
	time.Sleep(awayFor)
	return s.Memory.Get(ctx, name)
}

func (s *away) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	s.lists.Add(1)
	time.Sleep(awayFor)
	objects, err := s.Memory.List(ctx, prefix)
	for i := range objects {
		sum, _ := s.digests.Load(objects[i].Name)
		objects[i].MD5, _ = sum.([]byte)
	}
	return objects, err
}

func (s *away) Put(ctx context.Context, u publish.Upload) error {
	if strings.HasSuffix(u.Name, "/index.html") || strings.HasSuffix(u.Name, "/status.json") {
		s.pages.Add(1)
	} else {
		s.writes.Add(1)
	}
	time.Sleep(awayFor)
	sum := md5.New()
	u.Body = io.TeeReader(u.Body, sum)
	err := s.Memory.Put(ctx, u)
	if err == nil {
		s.digests.Store(u.Name, sum.Sum(nil))
	}
	return err
}

// asked says what the store was asked since the last call, and how many questions
// and how many writes that is.
func (s *away) asked() (text string, questions, writes int) {
	reads, lists, read, pages := s.reads.Swap(0), s.lists.Swap(0), s.writes.Swap(0), s.pages.Swap(0)
	return fmt.Sprintf("%d reads, %d listings, %d writes (%d that clients read, %d of pages for people)",
		reads, lists, read+pages, read, pages), int(reads + lists), int(read + pages)
}

// publish measures what publishing asks of a store, and how long a first
// publication takes beside the bare uploads.
func (b *bench) publish(ctx context.Context, rounds int) error {
	work, err := os.MkdirTemp(b.dir, "publish-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	clone := filepath.Join(work, "clone")
	if _, err := output(ctx, "", b.git, "init", "--quiet", "--initial-branch=main", clone); err != nil {
		return err
	}
	drawn := clienttest.New()
	for i := range publishedArtifacts {
		drawn.AddTarget(metadata.Targets, fmt.Sprintf("%05d.bin", i), strings.Repeat(fmt.Sprintf("%09d\n", i), publishedSize/10))
	}
	drawn.Publish(metadata.Targets)
	first, err := b.commitDrawn(ctx, clone, drawn, "")
	if err != nil {
		return err
	}
	drawn.Publish(metadata.Timestamp)
	second, err := b.commitDrawn(ctx, clone, drawn, first)
	if err != nil {
		return err
	}
	g, err := git.Open(ctx, clone)
	if err != nil {
		return err
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		return err
	}
	whole := func(commit git.OID, store publish.Store) (*publish.Report, error) {
		p, err := repo.Published(ctx, commit, clienttest.Now.Add(time.Hour))
		if err != nil {
			return nil, err
		}
		publishable, err := p.Publishable()
		if err != nil {
			return nil, err
		}
		return publish.Run(ctx, publish.Options{Commit: commit, Publishable: publishable, To: []publish.Destination{{URL: "store:", Store: store}}})
	}

	fmt.Printf("\npublish, %d artifacts of %d bytes, a store that answers after %v\n", publishedArtifacts, publishedSize, awayFor)
	stores := []struct {
		name string
		make func() (publish.Store, error)
	}{
		{"the store elsewhere", func() (publish.Store, error) { return &away{Memory: &storetest.Memory{}}, nil }},
		{"a directory", func() (publish.Store, error) {
			path := filepath.Join(work, "site")
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
			return dir.Open(path, dir.Options{})
		}},
	}
	var last *away
	for _, s := range stores {
		bare := &timing{run: func() (time.Duration, error) {
			store, err := s.make()
			if err != nil {
				return 0, err
			}
			return clocked(func() error { return bareUploads(ctx, store, drawn.Files) })
		}}
		all := &timing{run: func() (time.Duration, error) {
			store, err := s.make()
			if err != nil {
				return 0, err
			}
			if a, ok := store.(*away); ok {
				last = a
			}
			return clocked(func() error { _, err := whole(first, store); return err })
		}}
		if err := interleave(ctx, rounds, bare, all); err != nil {
			return err
		}
		row("bare parallel uploads to "+s.name, bare.median(), fmt.Sprintf("%d at a time", publish.DefaultParallel))
		b.ratio("first publication to "+s.name, all, bare.median(), 2)
		row("first publication there", all.median(), fmt.Sprintf("%.2f times the bare uploads (fastest runs: %.2f), goal 2.0",
			float64(all.median())/float64(bare.median()), float64(all.fastest())/float64(bare.fastest())))
	}
	last.asked()
	d, err := clocked(func() error { _, err := whole(first, last); return err })
	if err != nil {
		return err
	}
	text, questions, _ := last.asked()
	row("nothing has changed", d, text+"; goal at most 3 requests or one listing")
	b.most("publish, nothing has changed", questions, "requests", 3)
	d, err = clocked(func() error { _, err := whole(second, last); return err })
	if err != nil {
		return err
	}
	text, _, writes := last.asked()
	row("only the timestamp", d, text+"; goal at most 2 writes")
	b.most("publish, only the timestamp", writes, "writes", 2)
	return nil
}

// bareUploads writes files of a drawing, as many at a time as publish does.
func bareUploads(ctx context.Context, store publish.Store, files map[string][]byte) error {
	slots := make(chan struct{}, publish.DefaultParallel)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	if lock, ok := store.(publish.Exclusive); ok {
		unlock, err := lock.Lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	for name, data := range files {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := store.Put(ctx, publish.Upload{Name: name, Size: int64(len(data)), Body: bytes.NewReader(data)}); err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// commitDrawn commits what is drawn, in the layout that people sign in, after
// another commit if there is one.
func (b *bench) commitDrawn(ctx context.Context, clone string, drawn *clienttest.Repo, after git.OID) (git.OID, error) {
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Bench <bench@example.com> %d +0000\ndata 5\ndrawn\n", clienttest.Now.Unix())
	if after != "" {
		fmt.Fprintf(&in, "from %s\n", after)
	}
	fmt.Fprintln(&in, "deleteall")
	file := func(name string, data []byte) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(data), data)
	}
	for name := range drawn.Roles {
		file("metadata/"+name+".json", drawn.Current(name))
	}
	for name, data := range drawn.Files {
		switch folder, base, _ := strings.Cut(name, "/"); {
		case folder == "targets":
			_, base, _ = strings.Cut(base, ".")
			file("targets/"+base, data)
		case strings.HasSuffix(base, ".root.json"):
			file("metadata/root_history/"+base, data)
		}
	}
	cmd := exec.CommandContext(ctx, b.git, "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Stdin, cmd.Stderr = clone, &in, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", err
	}
	oid, err := output(ctx, clone, b.git, "rev-parse", "main")
	return git.OID(strings.TrimSpace(oid)), err
}
