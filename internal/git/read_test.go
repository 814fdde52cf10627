package git_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
)

func open(t testing.TB, dir string) *git.Repo {
	t.Helper()
	r, err := git.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// wantError fails the test unless err is an error of type E, which it returns.
func wantError[E error](t testing.TB, err error) E {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a %T", err, err, e)
	}
	return e
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// snapshot lists every file below dirs with its content, to see that nothing was
// written.
func snapshot(t testing.TB, dirs ...string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			fmt.Fprintf(&b, "%s %x\n", p, data)
			return err
		})
		check(t, err)
	}
	return b.String()
}

func TestOpen(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	c.WriteFile("sub/dir/file", "x")
	c.Commit("one")
	c.Push()
	c.Run("worktree", "add", "--quiet", filepath.Join(t.TempDir(), "linked"))
	linked := strings.TrimPrefix(strings.Split(c.Run("worktree", "list", "--porcelain"), "\n\n")[1], "worktree ")
	linked, _, _ = strings.Cut(linked, "\n")

	for _, tt := range []struct{ name, dir, top, gitDir string }{
		{"work tree", c.Dir, c.Dir, c.Path(".git")},
		{"subdirectory", c.Path("sub/dir"), c.Dir, c.Path(".git")},
		{"git directory", c.Path(".git"), "", c.Path(".git")},
		{"bare", u.Dir, "", u.Dir},
		{"linked work tree", linked, linked, c.Path(".git/worktrees/linked")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := open(t, tt.dir)
			if r.Top() != tt.top || r.GitDir() != tt.gitDir || r.Shallow() {
				t.Errorf("top %q, git dir %q, shallow %v; want %q, %q, false", r.Top(), r.GitDir(), r.Shallow(), tt.top, tt.gitDir)
			}
			if n := r.Processes(); n != 1 {
				t.Errorf("%d processes, want 1", n)
			}
			oid, err := r.Resolve(t.Context(), "main")
			check(t, err)
			files, err := r.Files(t.Context(), oid, "")
			check(t, err)
			if len(files) != 1 || files[0].Path != "sub/dir/file" {
				t.Errorf("files %v", files)
			}
			if n := r.Processes(); n != 2 {
				t.Errorf("%d processes, want 2", n)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		dir := t.TempDir()
		for _, d := range []string{dir, filepath.Join(dir, "missing"), filepath.Join(c.Dir, "sub/dir/file")} {
			_, err := git.Open(t.Context(), d)
			if e := wantError[*git.NotRepositoryError](t, err); e.Dir != d || e.Hint() == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}

func TestOpenIgnoresHookEnvironment(t *testing.T) {
	gittest.Isolate()
	other := gittest.New(t).Clone("other")
	other.Commit("other")
	c := gittest.New(t).Clone("alice")
	c.WriteFile("a", "a")
	want := c.Commit("one")
	t.Setenv("GIT_DIR", other.Path(".git"))
	t.Setenv("GIT_WORK_TREE", other.Dir)
	t.Setenv("GIT_INDEX_FILE", other.Path(".git/index"))
	t.Setenv("GIT_PREFIX", "x/")
	r := open(t, c.Dir)
	if r.Top() != c.Dir {
		t.Errorf("top %s, want %s", r.Top(), c.Dir)
	}
	got, err := r.Resolve(t.Context(), "HEAD")
	check(t, err)
	if string(got) != want {
		t.Errorf("HEAD %s, want %s", got, want)
	}
}

func TestClosed(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	oid := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	_, err := r.Commit(t.Context(), oid)
	check(t, err)
	check(t, r.Close())
	check(t, r.Close())
	if _, err := r.Commit(t.Context(), oid); !errors.Is(err, git.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := r.MergeTree(t.Context(), oid, oid); !errors.Is(err, git.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestResolve(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	one := c.Commit("one")
	c.Run("tag", "-a", "-m", "t", "annotated")
	two := c.Commit("two")
	c.Push()
	c.Run("branch", "sign/x", one)
	c.Run("branch", "same")
	c.Run("tag", "same")
	c.Run("tag", "origin/main", one)   // a stranger's tag that shadows the remote branch
	c.Run("branch", "deadbeef00", one) // looks like an abbreviated id
	c.Run("branch", "cafe", one)       // too short to be taken for one
	c.WriteFile("file", "x")
	c.Run("add", "file")
	blob := c.Run("rev-parse", ":file")

	r := open(t, c.Dir)
	for _, tt := range []struct{ rev, want, reason string }{
		{"HEAD", two, ""},
		{"HEAD~1", one, ""},
		{"HEAD^", one, ""},
		{"main@{0}", two, ""},
		{"sign/x", one, ""},
		{"refs/heads/sign/x", one, ""},
		{"annotated", one, ""},
		{"same", two, ""},
		{"cafe", one, ""},
		{two, two, ""},
		{two[:8], two, ""},
		{"refs/remotes/origin/main", two, ""},
		{"origin/main", "", "ambiguous"},
		{"origin/main~0", "", "ambiguous"},
		{"deadbeef00", "", "ambiguous"},
		{"", "", "empty"},
		{"--help", "", `begins with "-"`},
		{"-h", "", `begins with "-"`},
		{"HEAD\nHEAD", "", "newline"},
		{"HEAD\x00", "", "newline"},
		{"HEAD:file", "", "colon"},
		{":/two", "", "colon"},
		{"nothing", "", "no such commit"},
		{"x y", "", "no such commit"},
		{"x missing", "", "no such commit"},
		{"HEAD^{tree}", "", "no such commit"},
		{blob, "", "no such commit"},
		{strings.Repeat("0", 40), "", "no such commit"},
		{strings.Repeat("x", 5000), "", "no such commit"},
		{"\x1b[31m", "", "no such commit"},
	} {
		got, err := r.Resolve(t.Context(), tt.rev)
		if tt.reason == "" {
			if err != nil || string(got) != tt.want {
				t.Errorf("Resolve(%q) = %q, %v; want %q", tt.rev, got, err, tt.want)
			}
			continue
		}
		var e *git.RevisionError
		if !errors.As(err, &e) || !strings.Contains(e.Reason, tt.reason) || e.Hint() == "" {
			t.Errorf("Resolve(%q) = %q, %v; want a RevisionError with %q", tt.rev, got, err, tt.reason)
		} else if strings.ContainsAny(e.Error(), "\n\x1b\x00") {
			t.Errorf("control characters in %q", e.Error())
		}
	}
	if n := r.Processes(); n != 2 {
		t.Errorf("%d processes, want 2", n)
	}
	// What is made later is found by the same process.
	c.Run("branch", "later", one)
	got, err := r.Resolve(t.Context(), "later")
	if err != nil || string(got) != one {
		t.Errorf("later: %s, %v", got, err)
	}
}

func TestEmptyRepository(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	r := open(t, c.Dir)
	_, err := r.Resolve(t.Context(), "HEAD")
	wantError[*git.RevisionError](t, err)
	if _, ok, err := r.Ref(t.Context(), "HEAD"); ok || err != nil {
		t.Errorf("HEAD: %v, %v", ok, err)
	}
	if b, err := r.CurrentBranch(t.Context()); b != "main" || err != nil {
		t.Errorf("branch %q, %v", b, err)
	}
	if ok, err := r.IsTracked(t.Context(), "x"); ok || err != nil {
		t.Errorf("tracked: %v, %v", ok, err)
	}
}

func TestCommit(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	one := c.Commit("one")
	c.Run("checkout", "--quiet", "-b", "side")
	two := c.Commit("two")
	c.Run("checkout", "--quiet", "main")
	c.Commit("three")
	c.Run("merge", "--quiet", "--no-ff", "-m", "merge\n\nbody\n\nmore", "side")
	merge := c.Run("rev-parse", "HEAD")
	tree := c.Run("rev-parse", "HEAD^{tree}")
	c.Run("tag", "-a", "-m", "t", "v1", one)

	raw := func(s string) git.OID {
		t.Helper()
		out, err := c.TryInput(s, "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
		check(t, err)
		return git.OID(out)
	}
	r := open(t, c.Dir)
	got, err := r.Commit(t.Context(), git.OID(merge))
	check(t, err)
	if got.Tree != git.OID(tree) || len(got.Parents) != 2 || got.Parents[1] != git.OID(two) || got.Subject() != "merge" ||
		got.Message != "merge\n\nbody\n\nmore\n" || got.AuthorName != "Alice" || got.AuthorEmail != "alice@example.com" ||
		!got.CommitterTime.Equal(c.Now) || !got.AuthorTime.Equal(c.Now) || got.CommitterName != "Alice" || got.CommitterEmail != "alice@example.com" {
		t.Errorf("%+v", got)
	}

	signed := raw("tree " + tree + "\nparent " + one + "\nauthor A <a> 1700000000 +0230\ncommitter B> <b <c> 99999999999999999999 +0000\n" +
		"gpgsig -----BEGIN\n \n author X <x> 1 +0000\n -----END\nencoding latin1\n\nmessage\x00\xff")
	got, err = r.Commit(t.Context(), signed)
	check(t, err)
	if got.AuthorName != "A" || got.AuthorTime.Format(time.RFC3339) != "2023-11-15T00:43:20+02:30" || got.Message != "message\x00\xff" ||
		got.CommitterEmail != "b <c" && got.CommitterName == "" || !got.CommitterTime.IsZero() {
		t.Errorf("%+v", got)
	}
	for name, s := range map[string]string{
		"no tree":    "author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx",
		"late tree":  "parent " + one + "\ntree " + tree + "\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx",
		"bad parent": "tree " + tree + "\nparent xyz\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx",
		"no author":  "tree " + tree + "\n\nx",
		"empty":      "",
	} {
		_, err := r.Commit(t.Context(), raw(s))
		if !errors.As(err, new(*git.MalformedError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = r.Commit(t.Context(), git.OID(tree))
	if e := wantError[*git.TypeError](t, err); e.Got != "tree" || e.Want != "commit" {
		t.Errorf("%+v", e)
	}
	_, err = r.Commit(t.Context(), git.OID(c.Run("rev-parse", "v1")))
	wantError[*git.TypeError](t, err)
	_, err = r.Commit(t.Context(), git.OID(strings.Repeat("1", 40)))
	wantError[*git.MissingObjectError](t, err)
	for _, bad := range []git.OID{"", "HEAD", "--help", git.OID(strings.Repeat("A", 40)), git.OID(one + "\n")} {
		if _, err := r.Commit(t.Context(), bad); err == nil {
			t.Errorf("Commit(%q) succeeded", bad)
		}
	}
}

// modes makes a commit with every kind of entry.
func modes(t *testing.T, c *gittest.Repo) git.OID {
	t.Helper()
	c.WriteFile("a/b/c", "c")
	c.WriteFile("a/b.txt", "b")
	c.WriteFile("a.txt", "")
	c.WriteFile("a-b", "x")
	c.WriteFile("run", "#!/bin/sh")
	c.WriteFile("ü \"quoted\"\tname", "u")
	check(t, os.Chmod(c.Path("run"), 0o755))
	check(t, os.Symlink("../../etc/passwd", c.Path("link")))
	check(t, os.Symlink("a", c.Path("dirlink")))
	c.Run("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", len(c.Run("hash-object", "run"))/2)+",sub")
	c.Run("add", "--all", "--", ":!sub")
	c.Run("commit", "--quiet", "-m", "modes")
	return git.OID(c.Run("rev-parse", "HEAD"))
}

func TestFiles(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			gittest.Isolate()
			c := gittest.Init(t, filepath.Join(t.TempDir(), "repo"), "--object-format="+format)
			commit := modes(t, c)
			r := open(t, c.Dir)
			for _, dir := range []string{"", ".", "a", "a/", "a/b", "link", "dirlink", "sub", "run", "missing", "a/missing/x", "dirlink/b"} {
				got, err := r.Files(t.Context(), commit, dir)
				check(t, err)
				var lines []string
				for _, e := range got {
					kind := "blob"
					if e.Mode == git.ModeGitlink {
						kind = "commit"
					}
					lines = append(lines, fmt.Sprintf("%s %s %s\t%s", e.Mode, kind, e.OID, e.Path))
				}
				want := ""
				switch dir {
				case "link", "dirlink", "sub", "run", "missing", "a/missing/x", "dirlink/b":
				case "", ".":
					want = strings.TrimSuffix(c.Run("ls-tree", "-r", "-z", "HEAD"), "\x00")
				default:
					want = strings.TrimSuffix(c.Run("ls-tree", "-r", "-z", "HEAD", strings.TrimSuffix(dir, "/")+"/"), "\x00")
				}
				if g := strings.Join(lines, "\x00"); g != want {
					t.Errorf("Files(%q):\n%q\nwant\n%q", dir, g, want)
				}
				if !slices.IsSortedFunc(got, func(a, b git.Entry) int { return strings.Compare(a.Path, b.Path) }) {
					t.Errorf("Files(%q) is not sorted", dir)
				}
			}
			for _, bad := range []string{"/a", "../a", "a/../b", "a//b", "./a"} {
				if _, err := r.Files(t.Context(), commit, bad); err == nil {
					t.Errorf("Files(%q) succeeded", bad)
				}
			}
			for path, mode := range map[string]git.Mode{
				"run": git.ModeExecutable, "a.txt": git.ModeFile, "link": git.ModeSymlink, "sub": git.ModeGitlink,
				"a/b": git.ModeTree, "a/b/c": git.ModeFile, ".": git.ModeTree,
				"none": 0, "link/x": 0, "sub/x": 0, "run/x": 0, "dirlink/b/c": 0, "a/b/c/d": 0,
			} {
				e, ok, err := r.Lookup(t.Context(), commit, path)
				if err != nil || ok != (mode != 0) || e.Mode != mode {
					t.Errorf("Lookup(%q) = %v, %v, %v; want mode %v", path, e, ok, err, mode)
				}
			}
			e, _, err := r.Lookup(t.Context(), commit, "run")
			check(t, err)
			data, err := r.Blob(t.Context(), e.OID)
			if string(data) != "#!/bin/sh" || err != nil {
				t.Errorf("blob %q, %v", data, err)
			}
			root, _, err := r.Lookup(t.Context(), commit, "")
			check(t, err)
			if byTree, err := r.Files(t.Context(), root.OID, ""); err != nil || len(byTree) != 9 {
				t.Errorf("by tree: %v, %v", byTree, err)
			}
			_, err = r.Files(t.Context(), e.OID, "")
			wantError[*git.TypeError](t, err)
			_, err = r.Files(t.Context(), git.OID(strings.Repeat("3", len(commit))), "")
			wantError[*git.MissingObjectError](t, err)
			if n := r.Processes(); n != 2 {
				t.Errorf("%d processes, want 2", n)
			}
		})
	}
}

// rawTree writes a tree object as it is given: mode, name and object of each entry.
func rawTree(t *testing.T, c *gittest.Repo, entries ...string) git.OID {
	t.Helper()
	var b bytes.Buffer
	for i := 0; i < len(entries); i += 3 {
		fmt.Fprintf(&b, "%s %s\x00", entries[i], entries[i+1])
		var raw []byte
		_, err := fmt.Sscanf(entries[i+2], "%x", &raw)
		check(t, err)
		b.Write(raw)
	}
	out, err := c.TryInput(b.String(), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	check(t, err)
	return git.OID(out)
}

func TestHostileTrees(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("x", "x")
	c.Commit("one")
	blob, empty := c.Run("rev-parse", "HEAD:x"), string(rawTree(t, c))
	r := open(t, c.Dir)
	for name, oid := range map[string]git.OID{
		"dot dot":         rawTree(t, c, "100644", "..", blob),
		"dot":             rawTree(t, c, "40000", ".", empty),
		"dot git":         rawTree(t, c, "40000", ".GIT", empty),
		"slash":           rawTree(t, c, "100644", "a/../../b", blob),
		"no name":         rawTree(t, c, "100644", "", blob),
		"twice":           rawTree(t, c, "100644", "a", blob, "100755", "a", blob),
		"file and dir":    rawTree(t, c, "100644", "a", blob, "100644", "a.b", blob, "40000", "a", empty),
		"order":           rawTree(t, c, "100644", "b", blob, "100644", "a", blob),
		"mode":            rawTree(t, c, "10644", "b", blob),
		"no number":       rawTree(t, c, "rw", "b", blob),
		"cut off":         rawTree(t, c, "100644", "b", blob[:20]),
		"below":           rawTree(t, c, "40000", "d", string(rawTree(t, c, "100644", "..", blob))),
		"blob as subtree": rawTree(t, c, "40000", "d", blob),
		"missing subtree": rawTree(t, c, "40000", "d", strings.Repeat("1", 40)),
	} {
		got, err := r.Files(t.Context(), oid, "")
		switch name {
		case "blob as subtree":
			if !errors.As(err, new(*git.TypeError)) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		case "missing subtree":
			if !errors.As(err, new(*git.MissingObjectError)) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		default:
			if !errors.As(err, new(*git.MalformedError)) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	// Old git wrote 100664 and zero-padded modes; git reads them still.
	got, err := r.Files(t.Context(), rawTree(t, c, "100664", "a", blob, "0100755", "b", blob), "")
	if err != nil || len(got) != 2 || got[0].Mode != git.ModeFile || got[1].Mode != git.ModeExecutable {
		t.Errorf("old modes: %v, %v", got, err)
	}

	bomb := rawTree(t, c, "100644", "f", blob)
	hollow := git.OID(empty)
	for range 12 {
		var entries, hollowEntries []string
		for _, n := range "abcdefghij" {
			entries = append(entries, "40000", string(n), string(bomb))
			hollowEntries = append(hollowEntries, "40000", string(n), string(hollow))
		}
		bomb, hollow = rawTree(t, c, entries...), rawTree(t, c, hollowEntries...)
	}
	deep := git.OID(empty)
	for range 25 {
		deep = rawTree(t, c, "40000", strings.Repeat("d", 200), string(deep))
	}
	for name, oid := range map[string]git.OID{"bomb": bomb, "hollow bomb": hollow, "deep": deep} {
		start := time.Now()
		_, err := r.Files(t.Context(), oid, "")
		wantError[*git.MalformedError](t, err)
		_, err = r.DiffTrees(t.Context(), git.OID(empty), oid)
		wantError[*git.MalformedError](t, err)
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

func TestDiffTrees(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	for i := range 50 {
		c.WriteFile(fmt.Sprintf("same/%d/file", i), "x")
	}
	c.WriteFile("dir/changed", "1")
	c.WriteFile("dir/removed", "1")
	c.WriteFile("exec", "x")
	c.WriteFile("file-to-dir", "x")
	c.WriteFile("dir-to-file/a/b", "x")
	c.WriteFile("dir-to-file/c", "x")
	c.WriteFile("to-link", "target")
	one := git.OID(c.Commit("one"))
	c.WriteFile("dir/changed", "2")
	c.WriteFile("dir/added", "1")
	c.Run("rm", "--quiet", "-r", "dir/removed", "file-to-dir", "dir-to-file", "to-link")
	c.WriteFile("file-to-dir/x", "x")
	c.WriteFile("dir-to-file", "x")
	check(t, os.Symlink("target", c.Path("to-link")))
	check(t, os.Chmod(c.Path("exec"), 0o755))
	two := git.OID(c.Commit("two"))

	r := open(t, c.Dir)
	format := func(changes []git.Change) string {
		var b strings.Builder
		for _, ch := range changes {
			status, from, to := "M", ch.Old, ch.New
			zero := git.OID(strings.Repeat("0", 40))
			switch {
			case from.Mode == 0:
				status, from.OID = "A", zero
			case to.Mode == 0:
				status, to.OID = "D", zero
			case (from.Mode == git.ModeSymlink) != (to.Mode == git.ModeSymlink):
				status = "T"
			}
			if from.Mode != 0 && from.Path != ch.Path || to.Mode != 0 && to.Path != ch.Path {
				t.Errorf("paths of %+v", ch)
			}
			fmt.Fprintf(&b, ":%s %s %s %s %s\t%s\n", from.Mode, to.Mode, from.OID, to.OID, status, ch.Path)
		}
		return strings.TrimSuffix(b.String(), "\n")
	}
	got, err := r.DiffTrees(t.Context(), one, two)
	check(t, err)
	want := strings.Split(c.Run("diff-tree", "-r", "--no-commit-id", "--no-abbrev", string(one), string(two)), "\n")
	slices.SortFunc(want, func(a, b string) int {
		_, pa, _ := strings.Cut(a, "\t")
		_, pb, _ := strings.Cut(b, "\t")
		return strings.Compare(pa, pb)
	})
	if g := format(got); g != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", g, strings.Join(want, "\n"))
	}
	if got, err := r.DiffTrees(t.Context(), one, one); len(got) != 0 || err != nil {
		t.Errorf("same: %v, %v", got, err)
	}
	all, err := r.Files(t.Context(), two, "")
	check(t, err)
	added, err := r.DiffTrees(t.Context(), "", two)
	if err != nil || len(added) != len(all) {
		t.Errorf("from nothing: %d changes, %v; want %d", len(added), err, len(all))
	}
	removed, err := r.DiffTrees(t.Context(), two, "")
	if err != nil || len(removed) != len(all) || removed[0].New.Mode != 0 {
		t.Errorf("to nothing: %d changes, %v; want %d", len(removed), err, len(all))
	}
}

func TestBlobs(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	hash := func(data string) git.OID {
		t.Helper()
		out, err := c.TryInput(data, "hash-object", "-w", "--stdin")
		check(t, err)
		return git.OID(out)
	}
	big := strings.Repeat("0123456789abcdef", 50<<16) // 50 MiB
	contents := []string{"", "\n", "x", "x\n", "no such commit missing\n", strings.Repeat("\x00\xff", 70_000), big}
	var oids []git.OID
	for _, s := range contents {
		oids = append(oids, hash(s))
	}
	r := open(t, c.Dir)
	ctx := t.Context()
	for i, s := range contents[:6] {
		got, err := r.Blob(ctx, oids[i])
		if err != nil || string(got) != s {
			t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
		}
	}
	bigOID := oids[6]
	_, err := r.Blob(ctx, bigOID)
	if e := wantError[*git.TooLargeError](t, err); e.Size != int64(len(big)) || e.Max != git.MaxBlob || e.OID != bigOID {
		t.Errorf("%+v", e)
	}
	if _, err := r.BlobLimit(ctx, oids[3], 2); err != nil {
		t.Error(err)
	}
	_, err = r.BlobLimit(ctx, oids[3], 1)
	wantError[*git.TooLargeError](t, err)
	if got, err := r.BlobLimit(ctx, bigOID, int64(len(big))); err != nil || string(got) != big {
		t.Errorf("big: %d bytes, %v", len(got), err)
	}
	err = r.Blobs(ctx, []git.OID{bigOID}, func(_ int, size int64, rd io.Reader) error {
		got, err := io.ReadAll(rd)
		if size != int64(len(big)) || string(got) != big {
			t.Errorf("blobs: %d bytes of %d", len(got), size)
		}
		return err
	})
	check(t, err)
	if n := r.Processes(); n != 2 {
		t.Errorf("%d processes, want 2", n)
	}

	t.Run("partial reads", func(t *testing.T) {
		order := []git.OID{bigOID, oids[5], oids[0], bigOID, oids[2], oids[3]}
		var got []string
		err := r.Blobs(ctx, order, func(i int, size int64, rd io.Reader) error {
			p := make([]byte, 3)
			n, err := io.ReadFull(rd, p)
			if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
				return err
			}
			got = append(got, fmt.Sprintf("%d %d %q", i, size, p[:n]))
			return nil
		})
		check(t, err)
		want := []string{`0 52428800 "012"`, `1 140000 "\x00\xff\x00"`, `2 0 ""`, `3 52428800 "012"`, `4 1 "x"`, `5 2 "x\n"`}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("reader ends with fn", func(t *testing.T) {
		var kept io.Reader
		check(t, r.Blobs(ctx, []git.OID{oids[2]}, func(_ int, _ int64, rd io.Reader) error { kept = rd; return nil }))
		if n, err := kept.Read(make([]byte, 8)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
	})
	t.Run("error of fn", func(t *testing.T) {
		mine := errors.New("mine")
		many := slices.Repeat([]git.OID{oids[5]}, 5000)
		calls := 0
		err := r.Blobs(ctx, many, func(i int, _ int64, _ io.Reader) error {
			if calls++; i == 2 {
				return mine
			}
			return nil
		})
		if !errors.Is(err, mine) || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
		if _, err := r.Blob(ctx, oids[2]); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
	t.Run("missing and wrong type", func(t *testing.T) {
		missing := git.OID(strings.Repeat("4", 40))
		tree := rawTree(t, c)
		for _, bad := range []git.OID{missing, tree} {
			var seen []int
			err := r.Blobs(ctx, []git.OID{oids[2], bad, oids[3]}, func(i int, _ int64, _ io.Reader) error { seen = append(seen, i); return nil })
			_, single := r.Blob(ctx, bad)
			if bad == missing {
				wantError[*git.MissingObjectError](t, err)
				wantError[*git.MissingObjectError](t, single)
			} else {
				wantError[*git.TypeError](t, err)
				if e := wantError[*git.TypeError](t, single); e.Got != "tree" || e.Want != "blob" {
					t.Errorf("%+v", e)
				}
			}
			if !slices.Equal(seen, []int{0}) {
				t.Errorf("fn saw %v", seen)
			}
		}
		if err := r.Blobs(ctx, []git.OID{"HEAD"}, nil); err == nil {
			t.Error("a rev was taken for an OID")
		}
	})
	t.Run("fn may use the repository", func(t *testing.T) {
		err := r.Blobs(ctx, oids[:4], func(i int, _ int64, rd io.Reader) error {
			got, err := r.Blob(ctx, oids[1])
			if err != nil || string(got) != "\n" {
				return fmt.Errorf("inside: %q, %w", got, err)
			}
			return r.Blobs(ctx, oids[2:4], func(j int, _ int64, inner io.Reader) error {
				got, err := io.ReadAll(inner)
				if string(got) != contents[2+j] {
					return fmt.Errorf("nested: %q, %w", got, err)
				}
				return err
			})
		})
		check(t, err)
	})
}

func TestBlobsMany(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	const n = 10_000
	var in strings.Builder
	for i := range n {
		data := fmt.Sprintf("blob %d", i)
		fmt.Fprintf(&in, "blob\nmark :%d\ndata %d\n%s\n", i+1, len(data), data)
	}
	in.WriteString("commit refs/heads/main\ncommitter A <a> 1700000000 +0000\ndata 1\nx\n")
	for i := range n {
		fmt.Fprintf(&in, "M 100644 :%d targets/%05d\n", i+1, i)
	}
	_, err := c.TryInput(in.String(), "fast-import", "--quiet")
	check(t, err)
	r := open(t, c.Dir)
	oid, err := r.Resolve(t.Context(), "main")
	check(t, err)
	start := time.Now()
	files, err := r.Files(t.Context(), oid, "targets")
	check(t, err)
	var oids []git.OID
	for _, f := range files {
		oids = append(oids, f.OID)
	}
	seen := 0
	err = r.Blobs(t.Context(), oids, func(i int, _ int64, rd io.Reader) error {
		got, err := io.ReadAll(rd)
		if want := fmt.Sprintf("blob %d", i); string(got) != want {
			return fmt.Errorf("blob %d is %q: %w", i, got, err)
		}
		seen++
		return err
	})
	check(t, err)
	d := time.Since(start)
	t.Logf("%d blobs in %v", seen, d)
	if seen != n || d > 5*time.Second {
		t.Errorf("%d blobs in %v", seen, d)
	}
	if p := r.Processes(); p != 2 {
		t.Errorf("%d processes, want 2", p)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	var oids []git.OID
	for i := range 40 {
		c.WriteFile(fmt.Sprintf("d%d/f", i), strings.Repeat("x", i*100))
	}
	commit := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	files, err := r.Files(t.Context(), commit, "")
	check(t, err)
	for _, f := range files {
		oids = append(oids, f.OID)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				switch (g + i) % 5 {
				case 0:
					if _, err := r.Resolve(t.Context(), "HEAD"); err != nil {
						t.Error(err)
					}
				case 1:
					if f, err := r.Files(t.Context(), commit, ""); err != nil || len(f) != 40 {
						t.Error(len(f), err)
					}
				case 2:
					err := r.Blobs(t.Context(), oids, func(_ int, size int64, rd io.Reader) error {
						n, err := io.Copy(io.Discard, rd)
						if n != size {
							t.Errorf("%d of %d bytes", n, size)
						}
						return err
					})
					if err != nil {
						t.Error(err)
					}
				case 3:
					ctx, cancel := context.WithCancel(t.Context())
					go cancel()
					if _, err := r.Blob(ctx, oids[0]); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				case 4:
					if _, err := r.MergeTree(t.Context(), commit, commit); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestCancel(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	out, err := c.TryInput(strings.Repeat("x", 20<<20), "hash-object", "-w", "--stdin")
	check(t, err)
	oid := git.OID(out)
	commit := git.OID(c.Commit("one"))
	r := open(t, c.Dir)

	// In mid blob: the process is ended, the next call gets a new one.
	ctx, cancel := context.WithCancel(t.Context())
	err = r.Blobs(ctx, []git.OID{oid, oid}, func(_ int, _ int64, rd io.Reader) error {
		if _, err := rd.Read(make([]byte, 10)); err != nil {
			return err
		}
		cancel()
		_, err := io.Copy(io.Discard, rd)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("in mid blob: %v", err)
	}
	for name, f := range map[string]func() error{
		"Blob":      func() error { _, err := r.Blob(ctx, oid); return err },
		"Resolve":   func() error { _, err := r.Resolve(ctx, "HEAD"); return err },
		"Files":     func() error { _, err := r.Files(ctx, commit, ""); return err },
		"MergeBase": func() error { _, err := r.MergeBase(ctx, commit, commit); return err },
		"Open":      func() error { _, err := git.Open(ctx, c.Dir); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Blob(t.Context(), oid); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestMergeBase(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	base := git.OID(c.Commit("base"))
	c.Run("checkout", "--quiet", "-b", "sign/x")
	side := git.OID(c.Commit("side"))
	c.Run("checkout", "--quiet", "main")
	tip := git.OID(c.Commit("tip"))
	c.Push("main", "sign/x")
	c.Run("checkout", "--quiet", "--orphan", "unrelated")
	orphan := git.OID(c.Commit("orphan"))
	ctx := t.Context()

	r := open(t, c.Dir)
	if got, err := r.MergeBase(ctx, side, tip); got != base || err != nil {
		t.Errorf("merge base %s, %v", got, err)
	}
	_, err := r.MergeBase(ctx, orphan, tip)
	if e := wantError[*git.NoMergeBaseError](t, err); e.Shallow || !strings.Contains(e.Hint(), "unrelated") {
		t.Errorf("%+v %s", e, e.Hint())
	}
	_, err = r.MergeTree(ctx, orphan, tip)
	wantError[*git.NoMergeBaseError](t, err)
	_, err = r.MergeBase(ctx, git.OID(strings.Repeat("1", 40)), tip)
	wantError[*git.CommandError](t, err)
	for _, tt := range []struct {
		a, b git.OID
		want bool
	}{{base, tip, true}, {tip, tip, true}, {tip, base, false}, {side, tip, false}, {orphan, tip, false}} {
		if got, err := r.IsAncestor(ctx, tt.a, tt.b); got != tt.want || err != nil {
			t.Errorf("IsAncestor(%s, %s) = %v, %v", tt.a, tt.b, got, err)
		}
	}

	shallow := filepath.Join(t.TempDir(), "shallow")
	c.Run("clone", "--quiet", "--depth=1", "--no-single-branch", "file://"+u.Dir, shallow)
	s := open(t, shallow)
	if !s.Shallow() {
		t.Error("not shallow")
	}
	_, err = s.MergeBase(ctx, side, tip)
	if e := wantError[*git.NoMergeBaseError](t, err); !e.Shallow || !strings.Contains(e.Hint(), "--unshallow") {
		t.Errorf("%+v %s", e, e.Hint())
	}
	if commit, err := s.Commit(ctx, tip); err != nil || len(commit.Parents) != 1 {
		t.Errorf("%+v, %v", commit, err)
	}
	if got, err := s.History(ctx, tip, "", git.HistoryOptions{}); err != nil || !slices.Equal(got, []git.OID{tip}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMergeTree(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("a", "1\n2\n3\n4\n5\n")
	c.WriteFile("b", "1\n")
	c.WriteFile("dir/ü", "1\n")
	c.WriteFile("union", "1\n")
	base := git.OID(c.Commit("base"))
	c.Run("checkout", "--quiet", "-b", "sign/x")
	c.WriteFile("a", "one\n2\n3\n4\n5\n")
	c.WriteFile("new", "new\n")
	clean := git.OID(c.Commit("clean"))
	c.WriteFile("b", "theirs\n")
	c.WriteFile("dir/ü", "theirs\n")
	conflict := git.OID(c.Commit("conflict"))
	c.Run("checkout", "--quiet", "main")
	c.WriteFile("a", "1\n2\n3\n4\nfive\n")
	c.WriteFile("b", "ours\n")
	c.WriteFile("dir/ü", "ours\n")
	tip := git.OID(c.Commit("tip"))
	ctx := t.Context()

	for _, name := range []string{"work tree", "bare", "inside .git", "attributes of the checkout"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir()) // other tests leave things in the shared one
			dir := c.Dir
			switch name {
			case "bare":
				dir = filepath.Join(t.TempDir(), "bare.git")
				c.Run("clone", "--quiet", "--bare", c.Dir, dir)
			case "inside .git":
				dir = c.Path(".git")
			case "attributes of the checkout":
				c.WriteFile(".gitattributes", "* merge=union\n")
				defer os.Remove(c.Path(".gitattributes"))
			}
			r := open(t, dir)
			// The cat-file process runs before there is anything temporary to see.
			_, err := r.Commit(ctx, tip)
			check(t, err)
			before := snapshot(t, r.GitDir())

			res, err := r.MergeTree(ctx, tip, clean)
			check(t, err)
			if len(res.Conflicts) != 0 {
				t.Errorf("conflicts %q", res.Conflicts)
			}
			e, ok, err := r.Lookup(ctx, res.Tree, "a")
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			data, err := r.Blob(ctx, e.OID)
			if want := "one\n2\n3\n4\nfive\n"; string(data) != want || err != nil {
				t.Errorf("merged %q, %v; want %q", data, err, want)
			}
			if err := r.Blobs(ctx, []git.OID{e.OID}, func(int, int64, io.Reader) error { return nil }); err != nil {
				t.Error(err)
			}
			if n := r.Processes(); n != 3 {
				t.Errorf("%d processes, want 3: open, cat-file, merge-tree", n)
			}

			res, err = r.MergeTree(ctx, tip, conflict)
			check(t, err)
			if want := []string{"b", "dir/ü"}; !slices.Equal(res.Conflicts, want) {
				t.Errorf("conflicts %q, want %q", res.Conflicts, want)
			}
			if ff, err := r.MergeTree(ctx, base, tip); err != nil || len(ff.Conflicts) != 0 {
				t.Errorf("fast forward: %+v, %v", ff, err)
			}
			if after := snapshot(t, r.GitDir()); after != before {
				t.Error("MergeTree wrote to the repository")
			}
			_, err = r.MergeTree(ctx, tip, git.OID(strings.Repeat("1", 40)))
			wantError[*git.CommandError](t, err)
			check(t, r.Close())
			if n, _ := filepath.Glob(filepath.Join(os.TempDir(), "tufops-git-*")); len(n) != 0 {
				t.Errorf("left behind: %q", n)
			}
		})
	}
}

func TestAlternates(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	c.WriteFile("a", "1\n")
	base := c.Commit("base")
	c.Run("checkout", "--quiet", "-b", "side")
	c.WriteFile("b", "2\n")
	side := git.OID(c.Commit("side"))
	c.Run("checkout", "--quiet", "main")
	c.WriteFile("c", "3\n")
	tip := git.OID(c.Commit("tip"))
	ctx := t.Context()

	// A clone that borrows all of its objects, by a path that git must quote.
	odd := filepath.Join(t.TempDir(), `odd:"name`)
	c.Run("clone", "--quiet", "--shared", c.Dir, odd)
	r := open(t, odd)
	res, err := r.MergeTree(ctx, tip, side)
	check(t, err)
	files, err := r.Files(ctx, res.Tree, "")
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}

	// Objects that only our caller's environment makes visible, as in a hook.
	for _, name := range []string{"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY"} {
		t.Run(name, func(t *testing.T) {
			empty := gittest.New(t).Clone("empty")
			t.Setenv(name, c.Path(".git/objects"))
			before := snapshot(t, c.Dir, empty.Dir)
			r := open(t, empty.Dir)
			if got, err := r.MergeBase(ctx, side, tip); string(got) != base || err != nil {
				t.Errorf("%s, %v", got, err)
			}
			res, err := r.MergeTree(ctx, tip, side)
			check(t, err)
			files, err := r.Files(ctx, res.Tree, "")
			if err != nil || len(files) != 3 {
				t.Errorf("%v, %v", files, err)
			}
			if snapshot(t, c.Dir, empty.Dir) != before {
				t.Error("something was written")
			}
		})
	}
}

func TestReplaceRefsAndGrafts(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("a", "true\n")
	one := git.OID(c.Commit("one"))
	c.WriteFile("a", "false\n")
	two := git.OID(c.Commit("two"))
	c.Run("replace", string(one), string(two))
	c.Run("replace", c.Run("rev-parse", string(two)+":a"), c.Run("hash-object", "-w", "--stdin"))
	c.WriteFile(".git/info/grafts", string(two)+"\n")
	r := open(t, c.Dir)
	commit, err := r.Commit(t.Context(), one)
	if err != nil || commit.Message != "one\n" {
		t.Errorf("%+v, %v", commit, err)
	}
	if got, err := r.History(t.Context(), two, "", git.HistoryOptions{}); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestHistory(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	var oids []git.OID
	add := func(path string) {
		c.WriteFile(path, fmt.Sprint(len(oids)))
		oids = append(oids, git.OID(c.Commit(path)))
	}
	add("a") // 0
	add("b") // 1
	c.Run("checkout", "--quiet", "-b", "side")
	add("a") // 2
	c.Run("checkout", "--quiet", "main")
	add("b") // 3
	c.Run("merge", "--quiet", "--no-ff", "-m", "merge", "side")
	oids = append(oids, git.OID(c.Run("rev-parse", "HEAD"))) // 4
	r := open(t, c.Dir)
	for _, tt := range []struct {
		include, exclude git.OID
		opts             git.HistoryOptions
		want             []int
	}{
		{oids[1], "", git.HistoryOptions{}, []int{1, 0}},
		{oids[1], "", git.HistoryOptions{Reverse: true}, []int{0, 1}},
		{oids[4], oids[2], git.HistoryOptions{}, []int{4, 3}},
		{oids[4], "", git.HistoryOptions{FirstParent: true}, []int{4, 3, 1, 0}},
		{oids[4], "", git.HistoryOptions{FirstParent: true, Paths: []string{"a"}}, []int{4, 0}},
		{oids[4], "", git.HistoryOptions{Paths: []string{"b"}, Reverse: true}, []int{1, 3}},
		{oids[4], "", git.HistoryOptions{Paths: []string{"*"}}, nil},
		{oids[4], "", git.HistoryOptions{Paths: []string{":(glob)**"}}, nil},
		{oids[4], "", git.HistoryOptions{Paths: []string{"--all"}}, nil},
		{oids[0], oids[4], git.HistoryOptions{}, nil},
	} {
		got, err := r.History(t.Context(), tt.include, tt.exclude, tt.opts)
		var want []git.OID
		for _, i := range tt.want {
			want = append(want, oids[i])
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v, %v; want %v", tt, got, err, want)
		}
	}
	for _, bad := range []git.OID{"", "--all", "HEAD"} {
		if _, err := r.History(t.Context(), bad, "", git.HistoryOptions{}); err == nil {
			t.Errorf("include %q was taken", bad)
		}
		if _, err := r.MergeBase(t.Context(), bad, oids[0]); err == nil {
			t.Errorf("merge base with %q", bad)
		}
	}
}

func TestConfigAndRemotes(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	r := open(t, c.Dir)
	ctx := t.Context()
	if b, err := r.CurrentBranch(ctx); b != "main" || err != nil {
		t.Errorf("branch %q, %v", b, err)
	}
	c.Commit("one")
	c.Run("checkout", "--quiet", "-b", "sign/a/b")
	if b, err := r.CurrentBranch(ctx); b != "sign/a/b" || err != nil {
		t.Errorf("branch %q, %v", b, err)
	}
	c.Run("checkout", "--quiet", "--detach")
	if b, err := r.CurrentBranch(ctx); b != "" || err != nil {
		t.Errorf("branch %q, %v", b, err)
	}
	if n := r.Processes(); n != 1 {
		t.Errorf("%d processes to open the repository and read HEAD, want 1", n)
	}
	// What only git knows to follow.
	c.Run("symbolic-ref", "refs/heads/alias", "refs/heads/main")
	c.Run("symbolic-ref", "HEAD", "refs/heads/alias")
	if b, err := r.CurrentBranch(ctx); b != "main" || err != nil {
		t.Errorf("branch %q, %v", b, err)
	}
	c.Run("checkout", "--quiet", "main")
	c.Run("config", "x.y", "two\nlines ")
	c.Run("config", "x.empty", "")
	for _, tt := range []struct {
		key, want string
		set       bool
	}{{"user.name", "Alice", true}, {"x.y", "two\nlines ", true}, {"x.empty", "", true}, {"x.none", "", false}} {
		if got, ok, err := r.Config(ctx, tt.key); got != tt.want || ok != tt.set || err != nil {
			t.Errorf("Config(%q) = %q, %v, %v", tt.key, got, ok, err)
		}
	}
	if _, _, err := r.Config(ctx, "--list"); err == nil {
		t.Error("Config took an option")
	}
	c.Run("remote", "set-url", "--push", "origin", "ssh://git@example.com/x.git")
	c.Run("config", "url.https://example.org/.insteadOf", "short:")
	c.Run("remote", "add", "other", "short:repo")
	if u2, err := r.RemoteURL(ctx, "origin"); u2 != u.Dir || err != nil {
		t.Errorf("%q, %v", u2, err)
	}
	c.Run("remote", "set-url", "--push", "--add", "origin", "short:two")
	if urls, err := r.RemotePushURLs(ctx, "origin"); !slices.Equal(urls, []string{"ssh://git@example.com/x.git", "https://example.org/two"}) || err != nil {
		t.Errorf("%q, %v", urls, err)
	}
	if _, err := r.RemotePushURLs(ctx, "none"); !errors.As(err, new(*git.RemoteError)) {
		t.Error(err)
	}
	if u2, err := r.RemoteURL(ctx, "other"); u2 != "https://example.org/repo" || err != nil {
		t.Errorf("%q, %v", u2, err)
	}
	_, err := r.RemoteURL(ctx, "none")
	if e := wantError[*git.RemoteError](t, err); e.Remote != "none" || e.Hint() == "" {
		t.Errorf("%+v", e)
	}
	if _, err := r.RemoteURL(ctx, "--all"); err == nil {
		t.Error("RemoteURL took an option")
	}
}

func TestIsTracked(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	c.WriteFile("committed", "x")
	c.WriteFile("dir/Sub/File", "x")
	c.Commit("one")
	c.Run("rm", "--quiet", "--cached", "committed")
	c.WriteFile("staged", "x")
	c.Run("add", "staged")
	c.WriteFile("untracked", "x")
	c.WriteFile("[s]taged*", "x")
	r := open(t, c.Dir)
	for path, want := range map[string]bool{
		"committed": true, "COMMITTED": true, "staged": true, "Staged": true, "dir": true, "dir/sub/file": true, "dir/Sub": true,
		"untracked": false, "[s]taged": false, "s*": false, "dir/Sub/File/x": false, ":(top)staged": false,
	} {
		if got, err := r.IsTracked(t.Context(), path); got != want || err != nil {
			t.Errorf("IsTracked(%q) = %v, %v", path, got, err)
		}
	}
	for _, bad := range []string{"", ".", "../x", "/etc/passwd", "a/../b"} {
		if _, err := r.IsTracked(t.Context(), bad); err == nil {
			t.Errorf("IsTracked(%q) succeeded", bad)
		}
	}
}

func TestCorpus(t *testing.T) {
	r := open(t, gittest.Corpus(t))
	ctx := t.Context()
	tip, err := r.Resolve(ctx, "origin/main")
	check(t, err)
	history, err := r.History(ctx, tip, "", git.HistoryOptions{FirstParent: true})
	check(t, err)
	var previous git.OID
	for _, oid := range history {
		if _, err := r.Commit(ctx, oid); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Files(ctx, oid, ""); err != nil {
			t.Fatal(err)
		}
		if previous != "" {
			if _, err := r.DiffTrees(ctx, oid, previous); err != nil {
				t.Fatal(err)
			}
		}
		previous = oid
	}
	if len(history) < 500 || r.Processes() != 3 {
		t.Errorf("%d commits, %d processes", len(history), r.Processes())
	}
	if c := gittest.CorpusClone(t); c.Run("rev-parse", "HEAD") != string(tip) {
		t.Error("clone of the corpus has another head")
	}
}
