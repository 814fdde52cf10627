package pages_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/objstore/pages"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

func open(t *testing.T, path string) *pages.Store {
	t.Helper()
	s, err := pages.Open(path, pages.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestContract: a site has one view, since it is built by one run.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Destination {
		s := open(t, filepath.Join(t.TempDir(), "site"))
		return storetest.Destination{OneView: true, Open: func() publish.Store { return s }}
	})
}

// TestFresh: nothing that was there before is deployed, and nothing is removed
// to that end.
func TestFresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site")
	if err := storetest.Put(t.Context(), open(t, path), "metadata/1.root.json", "root", ""); err != nil {
		t.Fatal(err)
	}
	_, err := pages.Open(path, pages.Options{})
	var full *pages.NotEmptyError
	if !errors.As(err, &full) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "metadata") {
		t.Errorf("Open of a directory that is not empty gives %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(path, "metadata/1.root.json")); err != nil || string(data) != "root" {
		t.Errorf("what was there is %q, %v", data, err)
	}

	empty := t.TempDir()
	s := open(t, empty)
	if got := s.URL(); got != "pages:"+s.Dir() {
		t.Errorf("URL is %s", got)
	}
	if err := storetest.Put(t.Context(), s, "metadata/1.root.json", "root", ""); err != nil {
		t.Fatal(err)
	}
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	entries, err := os.ReadDir(empty)
	if err != nil || len(entries) != 1 || entries[0].Name() != "metadata" {
		t.Errorf("the site holds %v, %v; all of it would be deployed", entries, err)
	}
}
