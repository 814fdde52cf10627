package wholefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// only fails if the folder holds anything but one file with that content.
func only(t *testing.T, dir, name, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name {
			t.Errorf("%s was left in the folder", e.Name())
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(data) != content {
		t.Errorf("%s holds %q, %v; want %q", name, data, err, content)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, content := range []string{"one", "a longer one", "", "two"} {
		if err := Write(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		only(t, dir, "a", content)
	}
}

func TestPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	mode := func() fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if err := Write(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if mode() != 0o600 {
		t.Errorf("a new file has %o, want 600", mode())
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if mode() != 0o640 {
		t.Errorf("a file that was there with 640 has %o afterwards", mode())
	}
}

// Until the commit others read what was there; without one they go on doing so.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := Write(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path, "", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of the n"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "old" {
		t.Errorf("before the commit others read %q, %v", data, err)
	}
	f.Discard()
	f.Discard()
	only(t, dir, "a", "old")
}

func TestCommit(t *testing.T) {
	dir, staging := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "a")
	f, err := Create(path, staging, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	// Somebody else's next version is not ours to discard.
	if err := Write(path, []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	only(t, dir, "a", "newer")
	if left, _ := os.ReadDir(staging); len(left) > 0 {
		t.Errorf("%s was left in the staging folder", left[0].Name())
	}
}

// What cannot take its name leaves nothing behind, and what was there.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "a"), []byte("x"), 0o644); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the folder holds %v, want a alone", entries)
	}
	if err := Write(filepath.Join(dir, "none", "a"), []byte("x"), 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v, want fs.ErrNotExist", err)
	}
}
