package dir_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

func open(t testing.TB, path string, o dir.Options) *dir.Store {
	t.Helper()
	s, err := dir.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Destination {
		path := filepath.Join(t.TempDir(), "not", "there yet", "site")
		return storetest.Destination{Open: func() publish.Store { return open(t, path, dir.Options{}) }}
	})
}

// TestNothingElse: the tree holds objects only, the lock stands beside it, and
// what a crash has left is removed by the next publisher.
func TestNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site")
	s := open(t, path, dir.Options{})
	if _, err := s.List(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.LockFile()); err == nil {
		t.Errorf("%s was made although nothing was written", s.LockFile())
	}
	left := filepath.Join(path, dir.Staging, ".timestamp.json123")
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half a fi"), 0o644); err != nil {
		t.Fatal(err)
	}
	if objects, err := s.List(t.Context(), ""); err != nil || len(objects) != 0 {
		t.Errorf("List gives %v, %v; what is being written is no object", objects, err)
	}
	if err := storetest.Put(t.Context(), s, "metadata/1.root.json", "root", ""); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, filepath.Dir(path)), "site site.lock site/metadata site/metadata/1.root.json"; got != want {
		t.Errorf("there is %s, want %s", got, want)
	}
	info, err := os.Stat(filepath.Join(path, "metadata/1.root.json"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: a web server must be able to read what is published", info.Mode(), err)
	}
}

func tree(t *testing.T, root string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); rel != "." {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site")
	s := open(t, path, dir.Options{})
	for _, name := range []string{"", ".", "/etc/passwd", "../x", "metadata/../../x", "a//b", "a/", `a\b`, dir.Staging, dir.Staging + "/x"} {
		if err := storetest.Put(t.Context(), s, name, "x", ""); err == nil {
			t.Errorf("Put(%q) succeeds", name)
		}
		if _, _, err := s.Get(t.Context(), name); err == nil {
			t.Errorf("Get(%q) succeeds", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", file, filepath.Join(file, "below")} {
		if _, err := dir.Open(path, dir.Options{}); err == nil {
			t.Errorf("Open(%s) succeeds", path)
		}
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(file), "odd"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Dir(file), dir.Options{})
	if err := storetest.Put(t.Context(), s, "odd", "x", ""); err == nil || errors.Is(err, publish.ErrChanged) {
		t.Errorf("Put over a folder gives %v; it should say what is in the way", err)
	}
}

func TestReadOnly(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Put(t.Context(), open(t, filepath.Join(parent, "site"), dir.Options{}), "a", "x", ""); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v, want os.ErrPermission", err)
	}
}

func TestLockedByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site")
	unlock, err := open(t, path, dir.Options{}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	s := open(t, path, dir.Options{Wait: 30 * time.Millisecond})
	_, err = s.Lock(t.Context())
	var locked *dir.LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("Lock gives %v, want a LockedError", err)
	}
	if got, want := err.Error(), "another publisher holds "+s.LockFile()+"; waited 30ms for it"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if err := storetest.Put(t.Context(), s, "a", "x", ""); !errors.As(err, &locked) {
		t.Errorf("Put gives %v, want a LockedError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, path, dir.Options{}).Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock gives %v, want context.Canceled", err)
	}
}

// TestOneLock: a directory has one lock, whatever it is called.
func TestOneLock(t *testing.T) {
	parent := t.TempDir()
	if err := os.Mkdir(filepath.Join(parent, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	for _, site := range []string{"", "site"} {
		a, b := open(t, filepath.Join(parent, "real", site), dir.Options{}), open(t, filepath.Join(parent, "link", site), dir.Options{})
		if a.LockFile() != b.LockFile() {
			t.Errorf("one directory, two locks: %s and %s", a.LockFile(), b.LockFile())
		}
	}
}

// TestLockEndsWithItsProcess: a publisher that was killed keeps nobody out.
func TestLockEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv("TUFOPS_TEST_LOCK"); path != "" { // the other process
		if _, err := open(t, path, dir.Options{}).Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	path := filepath.Join(t.TempDir(), "site")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "TUFOPS_TEST_LOCK="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	var locked *dir.LockedError
	if _, err := open(t, path, dir.Options{Wait: time.Millisecond}).Lock(t.Context()); !errors.As(err, &locked) {
		t.Fatalf("Lock gives %v while another process holds it", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	unlock, err := open(t, path, dir.Options{Wait: time.Second}).Lock(t.Context())
	if err != nil {
		t.Fatalf("Lock after the holder was killed: %v", err)
	}
	unlock()
}
