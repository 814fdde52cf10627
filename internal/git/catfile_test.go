package git

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
)

// TestCatFileDies kills the cat-file process, as Ctrl-C in a terminal does.
func TestCatFileDies(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("x", strings.Repeat("x", 1<<20))
	oid := OID(c.Commit("one"))
	blob := OID(c.Run("rev-parse", "HEAD:x"))
	r, err := Open(t.Context(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Commit(t.Context(), oid); err != nil {
		t.Fatal(err)
	}
	nothing := func(int, int64, io.Reader) error { return nil }
	for name, f := range map[string]func() error{
		"Commit": func() error { _, err := r.Commit(t.Context(), oid); return err },
		"Blobs":  func() error { return r.Blobs(t.Context(), []OID{blob}, nothing) },
	} {
		// While idle: nobody notices.
		before := r.Processes()
		r.cat.cmd.Process.Kill()
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := r.Processes() - before; n != 1 {
			t.Errorf("%s: %d new processes, want 1", name, n)
		}
	}
	// In mid blob: an error, and no half of a blob.
	err = r.Blobs(t.Context(), []OID{blob}, func(_ int, _ int64, rd io.Reader) error {
		if _, err := rd.Read(make([]byte, 1)); err != nil {
			return err
		}
		rd.(*body).c.cmd.Process.Kill()
		rd.(*body).c.cmd.Process.Wait()
		_, err := io.ReadAll(rd)
		if err == nil {
			t.Error("a blob cut off was read without an error")
		}
		return nil // a careless caller
	})
	if !errors.As(err, new(*CommandError)) {
		t.Errorf("in mid blob: %v", err)
	}
	if _, err := r.Blob(t.Context(), blob); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCorruptObject(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("x", strings.Repeat("x", 1000))
	c.Commit("one")
	blob := OID(c.Run("rev-parse", "HEAD:x"))
	path := filepath.Join(c.Dir, ".git/objects", string(blob[:2]), string(blob[2:]))
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 20); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		if data, err := r.Blob(t.Context(), blob); err == nil {
			t.Errorf("read %d bytes of a corrupt object", len(data))
		}
		if _, err := r.Resolve(t.Context(), "HEAD"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

func TestTempDirGoes(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c := gittest.New(t).Clone("alice")
	oid := OID(c.Commit("one"))
	r, err := Open(t.Context(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	left := func() int {
		n, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "tufops-*"))
		return len(n)
	}
	if _, err := r.MergeTree(t.Context(), oid, oid); err != nil {
		t.Fatal(err)
	}
	if left() != 1 {
		t.Errorf("%d temporary directories, want 1", left())
	}
	_, err = r.WriteCommit(t.Context(), CommitOptions{Parent: oid, Message: "m", Changes: []FileChange{{Path: "x"}}})
	if err != nil || left() != 1 {
		t.Errorf("%d temporary directories, want 1; %v", left(), err)
	}
	if err := r.Close(); err != nil || left() != 0 {
		t.Errorf("%d temporary directories, %v", left(), err)
	}
}

func TestTreeCacheIsBounded(t *testing.T) {
	var c treeCache
	for i := range 1000 {
		c.put(OID(strings.Repeat("x", i)), &tree{entries: make([]Entry, 1000)})
		if c.entries > maxCachedEntries {
			t.Fatalf("%d entries", c.entries)
		}
	}
	c.put("big", &tree{entries: make([]Entry, maxCachedEntries*2)})
	c.put("small", &tree{})
	if c.entries > maxCachedEntries || c.get("small") == nil {
		t.Errorf("%d entries", c.entries)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pass@host/x":                    "https://REDACTED@host/x",
		"fatal: 'https://tok@host/a' and http://b@c/": "fatal: 'https://REDACTED@host/a' and http://REDACTED@c/",
		"ssh://git@host/x":                            "ssh://git@host/x",
		"git@host:x":                                  "git@host:x",
		"https://host/x@y":                            "https://host/x@y",
		"https://a@b@host/x":                          "https://REDACTED@host/x",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
