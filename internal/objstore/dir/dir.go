// Package dir keeps published files in a directory of this machine, the way
// [publish.Store] asks: each file appears whole, is on the disk once Put has
// returned, and is replaced only by who has seen what was there.
//
// It trusts the file system: rename replaces a file at once, fsync of a file
// and then of its directory survives a power cut, flock ends with its process.
// It removes a published file only when told to (Delete), and writes nothing below the directory but
// objects and, while a publisher is at work, [Staging].
package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/publish"
)

// Staging is the folder in the directory where files are written before they
// get their name, so that a crash leaves no half file among the objects. It is
// on the same file system as they are, which a folder elsewhere need not be. The
// next publisher removes what a crash has left there.
const Staging = ".tufops-staging"

// DefaultWait is how long a second publisher waits for the first.
const DefaultWait = 2 * time.Minute

// Options for [Open].
type Options struct {
	Wait time.Duration // how long to wait for another publisher; 0: DefaultWait
	Log  *slog.Logger  // nil: no log
}

// Store is a directory. It is safe for concurrent use, also by several
// processes.
type Store struct {
	dir  string
	wait time.Duration
	log  *slog.Logger

	mu   sync.Mutex
	lock *flock.Flock // held; nil: not by this store
}

// Open names a directory. It need not exist: the first Put makes it. Symbolic
// links are followed here, so that the lock of a directory is the same by
// whatever name it is called.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = resolve(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the destination: %w", err)
	}
	if dir == filepath.Dir(dir) {
		return nil, fmt.Errorf("%s cannot be a destination: the lock file has to stand beside it", dir)
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("the destination %s is not a directory", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("look at the destination: %w", err)
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{dir: dir, wait: o.Wait, log: o.Log}, nil
}

// resolve follows the symbolic links of a path that need not exist.
func resolve(dir string) (string, error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
		return filepath.EvalSymlinks(dir)
	}
	parent, err := resolve(filepath.Dir(dir))
	return filepath.Join(parent, filepath.Base(dir)), err
}

// URL names the directory.
func (s *Store) URL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.dir)}).String()
}

// Endpoint is where bytes go: into the directory.
func (s *Store) Endpoint() string { return s.URL() }

// Dir is the directory, as an absolute path without symbolic links.
func (s *Store) Dir() string { return s.dir }

// LockFile is the file beside the directory that publishers lock. It stays:
// removing it would let two publishers lock two files of one name.
func (s *Store) LockFile() string { return s.dir + ".lock" }

// LockedError says that another publisher is at work.
type LockedError struct {
	Path string // of the lock file
	Wait time.Duration
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("another publisher holds %s; waited %v for it", e.Path, e.Wait)
}

// Hint says what to do.
func (e *LockedError) Hint() string {
	return "run it again when the other one is done; the lock ends with its process, so there is no stale lock to remove"
}

// Lock implements [publish.Exclusive].
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		return nil, errors.New("this store is locked by its own user")
	}
	if s.lock, err = s.acquire(ctx); err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release(s.lock)
		s.lock = nil
	}, nil
}

func (s *Store) acquire(ctx context.Context) (*flock.Flock, error) {
	if err := mkdirAll(filepath.Dir(s.dir)); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", s.LockFile(), err)
	}
	l := flock.New(s.LockFile(), flock.SetPermissions(0o644))
	locked, err := l.TryLock()
	if err == nil && !locked {
		s.log.Info("waiting for another publisher", "lock", s.LockFile(), "at-most", s.wait)
		waiting, cancel := context.WithTimeout(ctx, s.wait)
		defer cancel()
		if _, err = l.TryLockContext(waiting, 20*time.Millisecond); err != nil && ctx.Err() == nil && waiting.Err() != nil {
			err = &LockedError{Path: s.LockFile(), Wait: s.wait}
		}
	}
	if err != nil {
		_ = l.Close()
		if locked := (*LockedError)(nil); errors.As(err, &locked) {
			return nil, err
		}
		return nil, fmt.Errorf("lock %s: %w", s.LockFile(), err)
	}
	// Nobody else is at work, so what is there was left by a crash.
	if err := os.RemoveAll(filepath.Join(s.dir, Staging)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("remove what an earlier crash has left: %w", err)
	}
	return l, nil
}

func (s *Store) release(l *flock.Flock) {
	_ = os.RemoveAll(filepath.Join(s.dir, Staging)) // if it fails, the next publisher does it
	_ = l.Close()
}

// Get implements [publish.Reader]. The version is the hash of the content.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, "", err
	}
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	info, err := os.Stat(path) // first, since opening a pipe would wait
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	// Files are never changed in place, so what is hashed is what is read later.
	v, err := hashOf(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("read %s: %w", path, err)
	}
	return f, v, nil
}

func hashOf(r io.Reader) (publish.Version, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return publish.Version(hex.EncodeToString(h.Sum(nil))), nil
}

// List implements [publish.Reader]. Symbolic links to files count as files.
func (s *Store) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	var objects []publish.Object
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if name == Staging || name != "." && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(name, prefix) {
			return nil
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			objects = append(objects, publish.Object{Name: name, Size: info.Size()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.dir, err)
	}
	return objects, nil
}

// Put implements [publish.Store]. A directory has no compare-and-swap, so
// looking and renaming happen under the lock; it is taken for this one file if
// the caller does not hold it.
func (s *Store) Put(ctx context.Context, u publish.Upload) error {
	path, err := s.path(u.Name)
	if err != nil {
		return err
	}
	return s.locked(ctx, path, u.Was, func() error {
		return write(path, filepath.Join(s.dir, Staging), u.Size, u.Body)
	})
}

// Delete implements [publish.Remover]. Folders stay, also empty ones.
func (s *Store) Delete(ctx context.Context, name string, was publish.Version) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	err = s.locked(ctx, path, was, func() error {
		if was == "" {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	})
	if _, stat := os.Stat(path); errors.Is(err, publish.ErrChanged) && errors.Is(stat, fs.ErrNotExist) {
		return nil
	}
	return err
}

// locked calls change, under the lock, if the file is what it was.
func (s *Store) locked(ctx context.Context, path string, was publish.Version, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		l, err := s.acquire(ctx)
		if err != nil {
			return err
		}
		defer s.release(l)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := unchanged(path, was); err != nil {
		return err
	}
	return change()
}

// Guarantees implements [publish.Store]. Compare-and-swap holds for all who use
// this package on this machine. What headers there are is the web server's
// affair.
func (s *Store) Guarantees() publish.Guarantees { return publish.Guarantees{CompareAndSwap: true} }

func unchanged(path string, was publish.Version) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if was != "" {
			return fmt.Errorf("%s is gone: %w", path, publish.ErrChanged)
		}
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case was == "":
		return fmt.Errorf("%s exists: %w", path, publish.ErrChanged)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := hashOf(f)
	if err == nil && now != was {
		err = fmt.Errorf("%s: %w", path, publish.ErrChanged)
	}
	return err
}

// write is, in system calls: mkdir and fsync of the folders that are missing;
// open, write, fsync and close of a temporary file; rename; fsync of the folder.
// A crash before the rename leaves a file in the staging folder, one before the
// last fsync may undo the rename: in both cases the object is as it was before.
func write(path, staging string, size int64, body io.Reader) error {
	for _, dir := range []string{filepath.Dir(path), staging} {
		if err := mkdirAll(dir); err != nil {
			return err
		}
	}
	f, err := wholefile.Create(path, staging, 0o644)
	if err != nil {
		return err
	}
	defer f.Discard()
	n, err := io.Copy(f, body)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came, not %d", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Commit()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// mkdirAll is os.MkdirAll, durably.
func mkdirAll(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func (s *Store) path(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)) ||
		strings.HasPrefix(name+"/", Staging+"/") || strings.Contains(name, "\\") {
		return "", fmt.Errorf("%q cannot be the name of a published file", name)
	}
	return filepath.Join(s.dir, filepath.FromSlash(name)), nil
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
