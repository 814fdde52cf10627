package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tufops/tufops/internal/wholefile"
)

// The files of a cache directory. Those that end in .json at the top are the
// newest verified metadata, byte for byte as it was received, each delegated
// role under its percent-encoded name.
const (
	historyDir = "root_history" // N.root.json: the verified chain, so that it need not be fetched again
	anchorFile = "trust_anchor" // what Init was given; no .json, for it may be an old root
	lockFile   = ".lock"        // held by whoever updates
)

// cache keeps verified files between updates: in a directory, or in memory.
// What it returns is as trustworthy as a file from the network.
type cache struct {
	dir      string // empty: memory
	memory   map[string][]byte
	readOnly bool
	log      *slog.Logger
	sync     func(*os.File) error // nil: (*os.File).Sync
}

// load returns a file of at most max bytes; nil where there is none or it
// cannot be read, which is never a reason to fail: it will be fetched.
func (s *cache) load(name string, max int64) []byte {
	if s.dir == "" {
		return s.memory[name]
	}
	data, err := readFile(filepath.Join(s.dir, name), max)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("ignoring a file of the cache", "file", name, "reason", err)
		}
		return nil
	}
	return data
}

func (s *cache) exists(name string) bool {
	if s.dir == "" {
		return s.memory[name] != nil
	}
	_, err := os.Stat(filepath.Join(s.dir, name))
	return err == nil
}

// readFile reads a regular file of at most max bytes.
func readFile(path string, max int64) ([]byte, error) {
	info, err := os.Stat(path) // first, since opening a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// A buffer of the stated size takes one read, and one more for the end.
	data := bytes.NewBuffer(make([]byte, 0, min(info.Size(), max)+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(f, max+1))
	if err == nil && int64(data.Len()) > max {
		err = fmt.Errorf("%s is longer than %d bytes", path, max)
	}
	return data.Bytes(), err
}

// save writes a verified file: all of it or nothing, whatever happens
// meanwhile. When it returns the file survives a power cut.
func (s *cache) save(name string, data []byte) error { return s.write(name, data, true) }

// keep is save for files that only save requests. It does not wait for the disk:
// after a power cut such a file may be empty or cut off, and then it does not
// verify, which is as if it were not there. What nobody may make a client forget,
// so that it cannot be taken back, are the versions in timestamp and snapshot.
// Roots and targets roles are fetched again.
//
// In the history of roots keep never writes over a file that verifies. So the
// worst that a power cut does to it is to undo the update that was under way.
func (s *cache) keep(name string, data []byte) error { return s.write(name, data, false) }

func (s *cache) write(name string, data []byte, durable bool) error {
	switch {
	case s.readOnly:
		return nil
	case s.dir == "":
		s.memory[name] = data
		return nil
	}
	path := filepath.Join(s.dir, name)
	if old, err := readFile(path, int64(len(data))); err == nil && bytes.Equal(old, data) {
		return nil
	}
	err := s.replace(path, data, durable)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = s.replace(path, data, durable)
		}
	}
	if err != nil {
		return &CacheError{Do: "store " + filepath.Base(name) + " in directory", Path: s.dir, Err: reason(err)}
	}
	return nil
}

// replace lets a file appear whole under its name.
func (s *cache) replace(path string, data []byte, durable bool) error {
	f, err := wholefile.Create(path, "", 0o644)
	if err != nil {
		return err
	}
	defer f.Discard()
	_, err = f.Write(data)
	if err == nil && durable {
		if s.sync != nil {
			err = s.sync(f.File)
		} else {
			err = f.Sync()
		}
	}
	if err != nil {
		return err
	}
	return f.Commit()
}

func (s *cache) remove(name string) error {
	switch {
	case s.readOnly:
		return nil
	case s.dir == "":
		delete(s.memory, name)
		return nil
	}
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &CacheError{Do: "remove " + name + " from directory", Path: s.dir, Err: reason(err)}
	}
	return nil
}

// lock waits until no other process updates this cache, and returns how to let
// the next one in. The lock ends with the process, however it ends.
//
// It spans a whole update, network included: two updates that took turns file
// by file could put an older timestamp over a newer one, or bring back the one
// that a key rotation had just removed. A reader needs no lock, since files
// appear whole, but may then see two states; it takes a shared one if it can.
func (s *cache) lock(ctx context.Context) (unlock func(), err error) {
	if s.dir == "" {
		return func() {}, nil
	}
	try := (*flock.Flock).TryLockContext
	if s.readOnly {
		if _, err := os.Stat(filepath.Join(s.dir, lockFile)); err != nil {
			return func() {}, nil // and none is created: the directory may be read-only
		}
		try = (*flock.Flock).TryRLockContext
	} else if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, &CacheError{Do: "create directory", Path: s.dir, Err: reason(err)}
	}
	l := flock.New(filepath.Join(s.dir, lockFile))
	if _, err := try(l, ctx, 50*time.Millisecond); err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait for another process that uses %s: %w", s.dir, ctx.Err())
		case s.readOnly:
			return func() {}, nil
		}
		return nil, &CacheError{Do: "lock directory", Path: s.dir, Err: reason(err)}
	}
	return func() { _ = l.Close() }, nil
}

// reason takes the path out of an error that names it already.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// cacheName is the file name of a role's metadata.
func cacheName(role string) string { return localName(role, ".json") }

// LocalName is the name under which [Client.Download] stores an artifact: its
// path percent-encoded, so that it is always one file directly in the
// directory, whatever the path says.
func LocalName(path string) string { return localName(path, "") }

func localName(name, suffix string) string {
	const longest = 200 // most file systems take 255 bytes, and a temporary name is longer
	s := quote(name)
	if strings.Trim(s, ".") == "" {
		s = strings.ReplaceAll(s, ".", "%2E")
	}
	if len(s) > longest {
		sum := sha256.Sum256([]byte(name))
		s = s[:longest-65] + "-" + hex.EncodeToString(sum[:])
	}
	return s + suffix
}

// Init makes root the trust anchor of a cache directory, which it creates if
// need be. It makes no request. Clients that are given the directory and no
// root start from there.
//
// The root may be an old or expired one: clients find the way to the newest. It
// must be signed by a threshold of its own keys. Doing it again with the same
// root changes nothing; with another one, what is cached stays only as far as
// it verifies from there.
func Init(ctx context.Context, dir string, root []byte) (err error) {
	doc, err := parseAnchor(root)
	if err != nil {
		return &AnchorError{Err: err}
	}
	s := &cache{dir: dir, log: slog.New(slog.DiscardHandler)}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if bytes.Equal(s.load(anchorFile, RootMaxLength), root) && s.load("root.json", RootMaxLength) != nil {
		return nil
	}
	// root.json first: without the anchor the directory is not yet in use.
	if err := s.save("root.json", doc.Raw()); err != nil {
		return err
	}
	return s.save(anchorFile, doc.Raw())
}
