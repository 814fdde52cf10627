// Package pages builds a site that is deployed as a whole, such as that of
// GitHub Pages, in the directory that actions/upload-pages-artifact takes.
//
// The directory is not what readers see, and says nothing about it: it begins
// empty, gets all files of the site, and is then somebody else's. So it is only
// ever written once. Whoever wants to publish there again removes it first; this
// package removes nothing that it has not been told by name.
package pages

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
)

// NotEmptyError says that something is in the directory already.
type NotEmptyError struct {
	Dir   string
	Entry string // one of what is there
}

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("build a site in %s: the directory holds %s, and would be deployed with it", e.Dir, e.Entry)
}

// Hint says what to do.
func (e *NotEmptyError) Hint() string {
	return "name a directory that is empty or does not exist; if this one is from an earlier run, remove it first"
}

// Options for [Open].
type Options struct {
	Log *slog.Logger // nil: no log
}

// Store is a site that is being built.
type Store struct{ *dir.Store }

// Open names a directory, which must be empty or missing, else the error is a
// *[NotEmptyError].
func Open(path string, o Options) (*Store, error) {
	s, err := dir.Open(path, dir.Options{Log: o.Log})
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.Dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at the directory of the site: %w", err)
	}
	if len(entries) > 0 {
		return nil, &NotEmptyError{Dir: s.Dir(), Entry: entries[0].Name()}
	}
	return &Store{s}, nil
}

// URL names the directory.
func (s *Store) URL() string { return "pages:" + s.Dir() }

// Guarantees implements [publish.Store]. Which headers readers get is the
// forge's affair.
func (s *Store) Guarantees() publish.Guarantees {
	return publish.Guarantees{CompareAndSwap: true, AtomicSite: true}
}
