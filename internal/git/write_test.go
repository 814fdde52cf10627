package git_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
)

var when = time.Date(2024, 5, 6, 7, 8, 9, 0, time.FixedZone("", 2*3600))

// state is everything of a checkout that WriteCommit must not touch.
func state(t testing.TB, c *gittest.Repo) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(c.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if p == c.Path(".git/objects") {
				return filepath.SkipDir
			}
			return err
		}
		st, err := os.Lstat(p)
		check(t, err)
		data, _ := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %s %s %x\n", p, st.Mode(), st.ModTime(), data)
		return nil
	})
	check(t, err)
	return b.String()
}

func TestWriteCommit(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			gittest.Isolate()
			c := gittest.Init(t, filepath.Join(t.TempDir(), "repo"), "--object-format="+format)
			c.WriteFile("metadata/root.json", "1")
			c.WriteFile("run", "1")
			c.WriteFile("dir/a/b", "1")
			c.WriteFile("file", "1")
			c.WriteFile("gone", "1")
			check(t, os.Chmod(c.Path("run"), 0o755))
			check(t, os.Symlink("/etc/passwd", c.Path("link")))
			parent := git.OID(c.Commit("one"))
			// Line ends, were filters to run, and all that a user may have under way.
			c.WriteFile(".gitattributes", "* text=auto eol=crlf\n")
			c.WriteFile("stashed", "x")
			c.Run("stash", "push", "--quiet", "--include-untracked")
			c.WriteFile("staged", "x")
			c.Run("add", "staged")
			c.WriteFile("metadata/root.json", "unstaged")
			c.WriteFile(".git/hooks/post-index-change", "#!/bin/sh\ntouch hook-ran\n")
			c.WriteFile(".git/hooks/pre-commit", "#!/bin/sh\ntouch hook-ran\n")
			check(t, os.Chmod(c.Path(".git/hooks/post-index-change"), 0o755))
			check(t, os.Chmod(c.Path(".git/hooks/pre-commit"), 0o755))
			before := state(t, c)

			r := open(t, c.Dir)
			opts := git.CommitOptions{
				Parent: parent,
				Changes: []git.FileChange{
					{Path: "metadata/root.json", Data: []byte("2\r\n")},
					{Path: "run", Data: []byte("2")},
					{Path: "link", Data: []byte("no link")},
					{Path: "new/ü \t\"x\"", Data: nil},
					{Path: "new/exec", Mode: git.ModeExecutable, Data: []byte("x")},
					{Path: "new/link", Mode: git.ModeSymlink, Data: []byte("exec")},
					{Path: "dir", Data: []byte("dir becomes file")},
					{Path: "dir/a/b", Delete: true},
					{Path: "file/x", Data: []byte("file becomes dir")},
					{Path: "gone", Delete: true},
					{Path: "never there", Delete: true},
				},
				Message: "Subject\n\nBody\n\n",
				Signoff: true,
				When:    when,
			}
			oid, err := r.WriteCommit(t.Context(), opts)
			check(t, err)
			if after := state(t, c); after != before {
				t.Errorf("checkout before:\n%s\nafter:\n%s", before, after)
			}
			again, err := r.WriteCommit(t.Context(), opts)
			if again != oid || err != nil {
				t.Errorf("again: %s, %v; want %s", again, err, oid)
			}
			want := "author Test <test@example.com> 1714972089 +0200\ncommitter Test <test@example.com> 1714972089 +0200\n\n" +
				"Subject\n\nBody\n\nSigned-off-by: Test <test@example.com>"
			if raw := c.Run("cat-file", "commit", string(oid)); !strings.HasSuffix(raw, want) || !strings.Contains(raw, "\nparent "+string(parent)+"\n") {
				t.Errorf("commit\n%s", raw)
			}
			files, err := r.Files(t.Context(), oid, "")
			check(t, err)
			var got []string
			for _, f := range files {
				data, err := r.Blob(t.Context(), f.OID)
				check(t, err)
				got = append(got, fmt.Sprintf("%s %s %q", f.Mode, f.Path, data))
			}
			wantFiles := []string{
				`100644 dir "dir becomes file"`, `100644 file/x "file becomes dir"`, `100644 link "no link"`,
				`100644 metadata/root.json "2\r\n"`, `100755 new/exec "x"`, `120000 new/link "exec"`, "100644 new/ü \t\"x\" \"\"",
				`100755 run "2"`,
			}
			if !slices.Equal(got, wantFiles) {
				t.Errorf("got  %q\nwant %q", got, wantFiles)
			}
			c.Run("fsck", "--strict")

			// A root commit, then one of nothing.
			root, err := r.WriteCommit(t.Context(), git.CommitOptions{Changes: []git.FileChange{{Path: "a", Data: []byte("x")}}, Message: "root"})
			check(t, err)
			if commit, err := r.Commit(t.Context(), root); err != nil || len(commit.Parents) != 0 {
				t.Errorf("%+v, %v", commit, err)
			}
			for _, o := range []git.CommitOptions{
				{Parent: root, Changes: []git.FileChange{{Path: "a", Data: []byte("x")}}, Message: "m"},
				{Parent: root, Changes: []git.FileChange{{Path: "b", Delete: true}}, Message: "m"},
				{Parent: root, Message: "m"},
				{Message: "m"},
			} {
				if _, err := r.WriteCommit(t.Context(), o); !errors.Is(err, git.ErrNothingToCommit) {
					t.Errorf("%+v: %v", o, err)
				}
			}
			merge, err := r.WriteCommit(t.Context(), git.CommitOptions{Parent: root, ExtraParents: []git.OID{oid}, Message: "merge"})
			check(t, err)
			if commit, err := r.Commit(t.Context(), merge); err != nil || !slices.Equal(commit.Parents, []git.OID{root, oid}) {
				t.Errorf("%+v, %v", commit, err)
			}
		})
	}
}

func TestWriteCommitRefuses(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	parent := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	write := func(changes ...git.FileChange) error {
		_, err := r.WriteCommit(t.Context(), git.CommitOptions{Parent: parent, Changes: changes, Message: "m"})
		return err
	}
	for _, p := range []string{
		"", ".", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "a/", "./a", ".git/config", "a/.git/hooks/x", ".GIT/config", "a/.Git",
		`a\b`, "a\nb", "a\rb", "a\x00b", "\xff", "git~1/config",
	} {
		for _, del := range []bool{false, true} {
			if err := write(git.FileChange{Path: p, Data: []byte("x"), Delete: del}); err == nil {
				t.Errorf("path %q, delete %v: taken", p, del)
			} else if p != "git~1/config" && errors.Is(err, git.ErrNothingToCommit) {
				t.Errorf("path %q, delete %v: %v", p, del, err)
			}
		}
	}
	for _, m := range []git.Mode{git.ModeTree, git.ModeGitlink, 0o100600, 1} {
		if err := write(git.FileChange{Path: "x", Mode: m}); err == nil {
			t.Errorf("mode %s was taken", m)
		}
	}
	if err := write(git.FileChange{Path: "x"}, git.FileChange{Path: "x", Delete: true}); err == nil {
		t.Error("a path was taken twice")
	}
	changes := []git.FileChange{{Path: "x", Data: []byte("x")}}
	for _, o := range []git.CommitOptions{
		{Parent: parent, Changes: changes, Message: " \n"},
		{Parent: parent, Changes: changes, Message: "a\x00b"},
		{Parent: "HEAD", Changes: changes, Message: "m"},
		{Parent: git.OID(strings.Repeat("1", 40)), Changes: changes, Message: "m"},
		{Parent: parent, ExtraParents: []git.OID{"-x"}, Changes: changes, Message: "m"},
	} {
		if oid, err := r.WriteCommit(t.Context(), o); err == nil {
			t.Errorf("%+v: %s", o, oid)
		}
	}
	if n, _ := filepath.Glob(filepath.Join(os.TempDir(), "tufops-commit-*")); len(n) != 0 {
		t.Logf("temporary directories (of this or another test process): %q", n)
	}
}

func TestWriteCommitIdentity(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	parent := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	opts := git.CommitOptions{Parent: parent, Changes: []git.FileChange{{Path: "x", Data: []byte("x")}}, Message: "m", Signoff: true,
		Identity: &git.Identity{Name: "tufops", Email: "bot@example.com"}}
	author := func() string {
		t.Helper()
		oid, err := r.WriteCommit(t.Context(), opts)
		check(t, err)
		return c.Run("log", "-1", "--format=%an %ae %cn %ce %(trailers:key=signed-off-by,valueonly)", string(oid))
	}
	if got := strings.TrimSpace(author()); got != "Alice alice@example.com Alice alice@example.com Alice <alice@example.com>" {
		t.Errorf("configured: %s", got)
	}
	c.Run("config", "--unset", "user.name")
	if got := strings.TrimSpace(author()); got != "tufops bot@example.com tufops bot@example.com tufops <bot@example.com>" {
		t.Errorf("fallback: %s", got)
	}
	opts.Identity = nil
	_, err := r.WriteCommit(t.Context(), opts)
	if e := wantError[*git.IdentityError](t, err); !strings.Contains(e.Hint(), "git config") {
		t.Error(e.Hint())
	}
	t.Setenv("GIT_AUTHOR_NAME", "A")
	t.Setenv("GIT_AUTHOR_EMAIL", "a@example.com")
	t.Setenv("GIT_COMMITTER_NAME", "C")
	t.Setenv("GIT_COMMITTER_EMAIL", "c@example.com")
	if got := strings.TrimSpace(author()); got != "A a@example.com C c@example.com C <c@example.com>" {
		t.Errorf("environment: %s", got)
	}
}

func TestWriteCommitSigns(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	parent := git.OID(c.Commit("one"))
	gpg := filepath.Join(t.TempDir(), "gpg")
	check(t, os.WriteFile(gpg, []byte("#!/bin/sh\ncat >/dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\necho SIGNATURE\n"), 0o755))
	c.Run("config", "gpg.program", gpg)
	r := open(t, c.Dir)
	opts := git.CommitOptions{Parent: parent, Changes: []git.FileChange{{Path: "x", Data: []byte("x")}}, Message: "m"}
	for _, sign := range []string{"false", "yes"} {
		c.Run("config", "commit.gpgSign", sign)
		oid, err := r.WriteCommit(t.Context(), opts)
		check(t, err)
		if got := strings.Contains(c.Run("cat-file", "commit", string(oid)), "gpgsig SIGNATURE"); got != (sign == "yes") {
			t.Errorf("gpgSign %s: signed %v", sign, got)
		}
	}
	check(t, os.WriteFile(gpg, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	_, err := r.WriteCommit(t.Context(), opts)
	wantError[*git.CommandError](t, err)
}

// TestSignoff compares with git commit -s.
func TestSignoff(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	parent := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	mine := "Signed-off-by: Alice <alice@example.com>"
	for _, message := range []string{
		"Subject",
		"Subject\n\nBody",
		"Subject\n\nBody\n\nReviewed-by: B <b@example.com>",
		"Subject\n\nReviewed-by: B <b@example.com>\n" + mine,
		"Subject\n\n" + mine + "\nReviewed-by: B <b@example.com>",
		"Subject\n\n" + mine,
		"Key: value",
		"Key: value\nmore: values",
		"Subject\n\nThis is prose: with a colon.\nAnd: one more.",
		"Subject\n\nOne line of prose\nSigned-off-by: B <b@example.com>",
		"Subject\n\nOne\nTwo\nThree\nFour\nSigned-off-by: B <b@example.com>",
		"Subject\n\nReviewed-by: B\n  folded <b@example.com>",
		"Subject\n\n" + mine + "\n  folded",
		"Subject\n\nbody\n(cherry picked from commit 1234)",
		"Subject\n\nhttps://example.com/x",
	} {
		c.Run("reset", "--quiet", "--hard", string(parent))
		c.WriteFile("x", "x")
		c.Run("add", "x")
		if _, err := c.TryInput(message, "commit", "--quiet", "-s", "-F", "-"); err != nil {
			t.Fatal(err)
		}
		want := c.Run("log", "-1", "--format=%B")
		oid, err := r.WriteCommit(t.Context(), git.CommitOptions{Parent: parent, Changes: []git.FileChange{{Path: "x", Data: []byte("x")}}, Message: message, Signoff: true})
		check(t, err)
		if got := c.Run("log", "-1", "--format=%B", string(oid)); got != want {
			t.Errorf("message %q\n got %q\nwant %q", message, got, want)
		}
	}
}

func TestUpdateRef(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	one := git.OID(c.Commit("one"))
	two := git.OID(c.Commit("two"))
	r := open(t, c.Dir)
	ctx := t.Context()
	const ref = "refs/heads/sign/x"
	check(t, r.UpdateRef(ctx, ref, one, ""))
	check(t, r.UpdateRef(ctx, ref, two, one))
	for _, old := range []git.OID{"", one} {
		e := wantError[*git.StaleRefError](t, r.UpdateRef(ctx, ref, one, old))
		if e.Ref != ref || e.Expected != old || e.Actual != two {
			t.Errorf("%+v", e)
		}
	}
	e := wantError[*git.StaleRefError](t, r.UpdateRef(ctx, "refs/heads/none", two, one))
	if e.Actual != "" || !strings.Contains(e.Error(), "absent") {
		t.Errorf("%+v: %v", e, e)
	}
	wantError[*git.CommandError](t, r.UpdateRef(ctx, "refs/heads/new", git.OID(strings.Repeat("1", 40)), ""))
	for _, bad := range []string{"", "HEAD", "main", "-d", "refs/heads/../x", "refs/heads/a b", "refs/heads/x\n"} {
		if err := r.UpdateRef(ctx, bad, one, ""); err == nil {
			t.Errorf("ref %q was taken", bad)
		}
	}
	if err := r.UpdateRef(ctx, ref, "-d", two); err == nil {
		t.Error("an option was taken for an OID")
	}
	refs, err := r.Refs(ctx, "refs/heads/")
	check(t, err)
	if len(refs) != 2 || refs[ref] != two || refs["refs/heads/main"] != two {
		t.Errorf("refs %v", refs)
	}
	if refs, err = r.Refs(ctx, "refs/heads/si"); err != nil || len(refs) != 1 {
		t.Errorf("refs %v, %v", refs, err)
	}
	if got, ok, err := r.Ref(ctx, ref); got != two || !ok || err != nil {
		t.Errorf("%s, %v, %v", got, ok, err)
	}

	// Many at once: one wins.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 6 {
		wg.Go(func() {
			err := r.UpdateRef(ctx, "refs/heads/race", one, "")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.As(err, new(*git.StaleRefError)) && !errors.As(err, new(*git.CommandError)) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 6 made the branch", won)
	}
}

// checkout makes a clone at commit old, with new made on top of it.
func checkout(t *testing.T) (c *gittest.Repo, old, new git.OID) {
	t.Helper()
	c = gittest.New(t).Clone("alice")
	c.WriteFile("changed", "1\n")
	c.WriteFile("changed2", "1\n")
	c.WriteFile("removed", "1\n")
	c.WriteFile("other", "1\n")
	c.WriteFile("other2", "1\n")
	c.WriteFile("dir-to-file/a", "1\n")
	c.WriteFile("file-to-dir", "1\n")
	c.WriteFile("exec", "1\n")
	check(t, os.Symlink("changed", c.Path("link")))
	old = git.OID(c.Commit("old"))
	r := open(t, c.Dir)
	new, err := r.WriteCommit(t.Context(), git.CommitOptions{Parent: old, Message: "new", When: when, Changes: []git.FileChange{
		{Path: "changed", Data: []byte("2\n")},
		{Path: "changed2", Data: []byte("2\n")},
		{Path: "removed", Delete: true},
		{Path: "added", Data: []byte("2\n")},
		{Path: "sub/added", Data: []byte("2\n")},
		{Path: "dir-to-file/a", Delete: true},
		{Path: "dir-to-file", Data: []byte("2\n")},
		{Path: "file-to-dir", Delete: true},
		{Path: "file-to-dir/x", Data: []byte("2\n")},
		{Path: "exec", Mode: git.ModeExecutable, Data: []byte("1\n")},
		{Path: "link", Mode: git.ModeSymlink, Data: []byte("added")},
	}})
	check(t, err)
	return c, old, new
}

func TestAdvanceCheckout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, c *gittest.Repo, old, new git.OID)
		status string // git status --porcelain afterwards, if it works
		dirty  []string
	}{
		{"clean", func(t *testing.T, c *gittest.Repo, old, new git.OID) {}, "", nil},
		{"detached", func(t *testing.T, c *gittest.Repo, old, new git.OID) { c.Run("checkout", "--quiet", "--detach") }, "", nil},
		{"unrelated changes stay", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("other", "mine\n")
			c.WriteFile("other2", "mine\n")
			c.Run("add", "other2")
			c.WriteFile("staged", "mine\n")
			c.Run("add", "staged")
			c.WriteFile("untracked", "mine\n")
		}, " M other\nM  other2\nA  staged\n?? untracked", nil},
		{"touched but the same", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			check(t, os.Chtimes(c.Path("changed"), when, when))
		}, "", nil},
		{"hooks do not run", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			for _, h := range []string{"post-checkout", "post-merge", "post-index-change", "reference-transaction", "pre-commit"} {
				c.WriteFile(".git/hooks/"+h, "#!/bin/sh\ntouch "+c.Path("hook-ran")+"\nexit 1\n")
				check(t, os.Chmod(c.Path(".git/hooks/"+h), 0o755))
			}
		}, "", nil},
		{"modified", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("changed", "mine\n")
			c.WriteFile("removed", "mine\n")
			c.WriteFile("other", "mine\n")
		}, "", []string{"changed", "removed"}},
		{"staged", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("changed", "mine\n")
			c.Run("add", "changed")
			c.WriteFile("changed", "1\n")
		}, "", []string{"changed"}},
		{"untracked in the way", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("added", "mine\n")
			check(t, os.MkdirAll(c.Path("sub"), 0o755))
			check(t, os.Symlink("x", c.Path("sub/added")))
		}, "", []string{"added", "sub/added"}},
		{"ignored in the way", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile(".git/info/exclude", "added\n")
			c.WriteFile("added", "mine\n")
		}, "", []string{"added"}},
		{"untracked where a directory must go", func(t *testing.T, c *gittest.Repo, old, new git.OID) { c.WriteFile("sub", "mine\n") }, "", []string{"sub"}},
		{"untracked in a directory that goes", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("dir-to-file/untracked", "mine\n")
		}, "", []string{"dir-to-file"}},
		{"mode changed by the user", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			check(t, os.Chmod(c.Path("changed"), 0o755))
		}, "", []string{"changed"}},
		{"crash: work tree half done", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.WriteFile("changed", "2\n")
			check(t, os.Remove(c.Path("changed2"))) // between unlink and create
			check(t, os.Remove(c.Path("removed")))
			c.WriteFile("added", "2\n")
			check(t, os.Remove(c.Path("link")))
			check(t, os.Symlink("added", c.Path("link")))
			check(t, os.Remove(c.Path("file-to-dir")))
			check(t, os.MkdirAll(c.Path("file-to-dir"), 0o755))
		}, "", nil},
		{"crash: work tree done", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			check(t, os.Rename(c.Path(".git/index"), c.Path(".git/index.old")))
			c.Run("read-tree", string(old))
			c.Run("-c", "core.hooksPath=/dev/null", "reset", "--quiet", "--hard", string(new))
			c.Run("update-ref", "HEAD", string(old))
			check(t, os.Rename(c.Path(".git/index.old"), c.Path(".git/index")))
		}, "", nil},
		{"crash: index done", func(t *testing.T, c *gittest.Repo, old, new git.OID) {
			c.Run("read-tree", "-m", "-u", string(old), string(new))
			c.WriteFile("changed", "2, and an edit since\n")
		}, " M changed", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, old, new := checkout(t)
			tt.before(t, c, old, new)
			r := open(t, c.Dir)
			status := c.Run("-c", "core.hooksPath=/dev/null", "status", "--porcelain", "--ignored")
			err := r.AdvanceCheckout(t.Context(), old, new)
			if tt.dirty != nil {
				e := wantError[*git.DirtyError](t, err)
				if !slices.Equal(e.Paths, tt.dirty) || e.Hint() == "" {
					t.Errorf("dirty %q, want %q", e.Paths, tt.dirty)
				}
				if got := c.Run("-c", "core.hooksPath=/dev/null", "status", "--porcelain", "--ignored"); got != status || c.Run("rev-parse", "HEAD") != string(old) {
					t.Errorf("something was touched: status\n%s\nwas\n%s", got, status)
				}
				return
			}
			check(t, err)
			if got := c.Run("rev-parse", "HEAD"); got != string(new) {
				t.Errorf("HEAD is %s, want %s", got, new)
			}
			if got := c.Run("-c", "core.hooksPath=/dev/null", "status", "--porcelain"); got != tt.status {
				t.Errorf("status\n%s\nwant\n%s", got, tt.status)
			}
			if got := c.ReadFile("file-to-dir/x"); got != "2\n" {
				t.Errorf("file %q", got)
			}
			branch, err := r.CurrentBranch(t.Context())
			if detached := tt.name == "detached"; err != nil || (branch == "") != detached {
				t.Errorf("branch %q, %v", branch, err)
			}
			if main := c.Run("rev-parse", "main"); (main == string(old)) != (tt.name == "detached") {
				t.Errorf("main is at %s", main)
			}
		})
	}
}

func TestAdvanceCheckoutRefuses(t *testing.T) {
	c, old, new := checkout(t)
	r := open(t, c.Dir)
	ctx := t.Context()
	e := wantError[*git.StaleRefError](t, r.AdvanceCheckout(ctx, new, old))
	if e.Ref != "refs/heads/main" || e.Expected != new || e.Actual != old {
		t.Errorf("%+v", e)
	}
	if err := r.AdvanceCheckout(ctx, "HEAD", new); err == nil {
		t.Error("a rev was taken for an OID")
	}
	if err := open(t, c.Path(".git")).AdvanceCheckout(ctx, old, new); err == nil {
		t.Error("worked without a work tree")
	}

	lock := c.Path(".git/index.lock")
	c.WriteFile(".git/index.lock", "")
	if err := r.AdvanceCheckout(ctx, old, new); !strings.Contains(fmt.Sprint(err), "index.lock") {
		t.Errorf("locked index: %v", err)
	}
	check(t, os.Remove(lock))

	c.Run("checkout", "--quiet", "-b", "side")
	c.WriteFile("changed", "side\n")
	c.WriteFile("other", "side\n")
	c.Commit("side")
	c.Run("checkout", "--quiet", "main")
	c.WriteFile("other", "main\n")
	tip := git.OID(c.Commit("main"))
	if _, err := c.Try("merge", "side"); err == nil {
		t.Fatal("the merge has no conflict")
	}
	next, err := r.WriteCommit(ctx, git.CommitOptions{Parent: tip, Message: "n", Changes: []git.FileChange{{Path: "n", Data: []byte("n")}}})
	check(t, err)
	if e := wantError[*git.InProgressError](t, r.AdvanceCheckout(ctx, tip, next)); e.Operation != "merge" {
		t.Errorf("%+v", e)
	}
	check(t, os.Remove(c.Path(".git/MERGE_HEAD")))
	if e := wantError[*git.DirtyError](t, r.AdvanceCheckout(ctx, tip, next)); !slices.Equal(e.Paths, []string{"other"}) {
		t.Errorf("unmerged index: %+v", e)
	}
}

// TestAdvanceCheckoutRace has somebody commit between our last look and the
// moment at which the branch moves.
func TestAdvanceCheckoutRace(t *testing.T) {
	c, old, new := checkout(t)
	other := c.Run("commit-tree", "-m", "other", "-p", string(old), string(old)+"^{tree}")
	r := open(t, c.Dir)
	fakeGit(t, `case "$*" in *" update-ref "*) "$REAL" update-ref refs/heads/main `+other+`;; esac`)
	e := wantError[*git.StaleRefError](t, r.AdvanceCheckout(t.Context(), old, new))
	if e.Actual != git.OID(other) {
		t.Errorf("%+v", e)
	}
	if got := c.Run("status", "--porcelain"); got != "" {
		t.Errorf("status\n%s", got)
	}
}

// fakeGit puts a program named git in PATH that runs script and then the real git
// ($REAL).
func fakeGit(t *testing.T, script string) {
	t.Helper()
	real, err := exec.LookPath("git")
	check(t, err)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\nREAL="+real+"\n"+script+"\nexec \"$REAL\" \"$@\"\n"), 0o755))
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func TestEnvironment(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	one := git.OID(c.Commit("one"))
	log := filepath.Join(t.TempDir(), "log")
	fakeGit(t, `{ echo "args $*"; env | sed 's/^/env /'; } >> `+log)
	secrets := []string{"TUFOPS_PIN", "TUF_ON_CI_TOKEN", "TUFOPS_DEFAULT_TOKEN", "TUFOPS_APP_PRIVATE_KEY", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN",
		"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "IDENTITY_HEADER", "VAULT_TOKEN"}
	for _, name := range secrets {
		t.Setenv(name, "123456")
	}
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("GIT_GLOB_PATHSPECS", "1")
	t.Setenv("GIT_INDEX_FILE", "/nonexistent/index")
	r := open(t, c.Dir)
	take := func() string {
		t.Helper()
		data, err := os.ReadFile(log)
		check(t, err)
		check(t, os.Remove(log))
		return string(data)
	}
	_, err := r.Commit(t.Context(), one)
	check(t, err)
	_, err = r.IsTracked(t.Context(), "x")
	check(t, err)
	_, err = r.MergeTree(t.Context(), one, one)
	check(t, err)
	reading := take()
	two, err := r.WriteCommit(t.Context(), git.CommitOptions{Parent: one, Message: "m", Changes: []git.FileChange{{Path: "x"}}})
	check(t, err)
	check(t, r.AdvanceCheckout(t.Context(), one, two))
	take()
	check(t, r.Push(t.Context(), "origin", git.RefUpdate{Ref: "refs/heads/main", New: two}))
	check(t, r.Fetch(t.Context(), "origin"))
	_, err = r.LsRemote(t.Context(), "origin")
	check(t, err)
	remote := take()
	if !strings.Contains(reading, "env GIT_TERMINAL_PROMPT=0\n") || strings.Contains(remote, "env GIT_TERMINAL_PROMPT") {
		t.Errorf("prompting: reading\n%s\nremote\n%s", reading, remote)
	}
	for _, out := range []string{reading, remote} {
		for _, bad := range append(secrets, "123456", "GLOB_PATHSPECS", "/nonexistent", "de_DE") {
			if strings.Contains(out, bad) {
				t.Errorf("a git process sees %s", bad)
			}
		}
		for line := range strings.Lines(out) {
			if args, ok := strings.CutPrefix(line, "args "); ok && !strings.HasPrefix(args, "--no-replace-objects -c core.fsmonitor=false -c core.quotePath=false ") {
				t.Errorf("git %s", args)
			}
		}
		for _, want := range []string{"env LC_ALL=C\n", "env GIT_OPTIONAL_LOCKS=0\n"} {
			if strings.Count(out, want) != strings.Count(out, "args ") {
				t.Errorf("not every process has %s", want)
			}
		}
	}
}

func TestKill(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	one := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	_, err := r.Commit(t.Context(), one)
	check(t, err)
	fakeGit(t, `case "$*" in *rev-list*) trap "" TERM; sleep 30; sleep 30;; esac`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = r.History(ctx, one, "", git.HistoryOptions{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	wantError[*git.CommandError](t, err)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestNoGit(t *testing.T) {
	dir := gittest.New(t).Dir
	t.Setenv("PATH", t.TempDir())
	_, err := git.Open(t.Context(), dir)
	if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("error %v", err)
	}
}

func TestPush(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	one := git.OID(c.Commit("one"))
	two := git.OID(c.Commit("two"))
	three := git.OID(c.Commit("three"))
	other := git.OID(c.Run("commit-tree", "-m", "other", "-p", string(one), string(one)+"^{tree}"))
	r := open(t, c.Dir)
	ctx := t.Context()
	push := func(updates ...git.RefUpdate) error { return r.Push(ctx, "origin", updates...) }
	at := func(branch string, want git.OID) {
		t.Helper()
		if got := u.Head(branch); got != string(want) {
			t.Errorf("upstream %s is %q, want %q", branch, got, want)
		}
	}
	main := func(new, old git.OID) git.RefUpdate {
		return git.RefUpdate{Ref: "refs/heads/main", New: new, Old: old}
	}

	check(t, push())
	check(t, push(main(one, "")))
	at("main", one)
	check(t, push(main(two, one)))
	at("main", two)
	// Done but not told: the same again is success.
	check(t, push(main(two, one)))

	for _, tt := range []struct {
		name     string
		update   git.RefUpdate
		moved    bool
		expected git.OID
	}{
		{"must not exist", main(three, ""), true, ""},
		{"moved on", main(other, one), true, one},
		{"moved on, we have more", main(three, one), true, one},
		{"gone", git.RefUpdate{Ref: "refs/heads/gone", New: two, Old: one}, true, one},
		{"discards commits", main(other, two), false, two},
		{"unknown old", main(three, git.OID(strings.Repeat("1", 40))), false, git.OID(strings.Repeat("1", 40))},
	} {
		e := wantError[*git.RejectedError](t, push(tt.update))
		if e.Moved() != tt.moved || e.Expected != tt.expected || e.Ref != tt.update.Ref || e.Remote != "origin" || e.Reason == "" || e.Hint() == "" {
			t.Errorf("%s: %+v, moved %v", tt.name, e, e.Moved())
		}
		at("main", two)
		at("gone", "")
	}

	// Several at once: all or none.
	x := git.RefUpdate{Ref: "refs/heads/sign/x", New: one}
	e := wantError[*git.RejectedError](t, push(x, main(three, one)))
	if e.Ref != "refs/heads/main" || !e.Moved() {
		t.Errorf("%+v", e)
	}
	at("main", two)
	at("sign/x", "")
	check(t, push(x, main(three, two)))
	check(t, push(x, main(three, two)))
	at("main", three)
	at("sign/x", one)

	for _, bad := range []git.RefUpdate{{Ref: "main", New: one}, {Ref: "refs/heads/y:refs/heads/main", New: one}, {Ref: "+refs/heads/main", New: one},
		{Ref: "refs/heads/y"}, {Ref: "refs/heads/y", New: "HEAD"}, {Ref: "refs/heads/y", New: one, Old: "HEAD"}, {Ref: "refs/heads/*", New: one}} {
		if err := push(bad); err == nil {
			t.Errorf("%+v was pushed", bad)
		}
	}
	if err := push(x, x); err == nil {
		t.Error("a ref was pushed twice")
	}
	for _, bad := range []string{"", "--receive-pack=touch x", "a\nb"} {
		if err := r.Push(ctx, bad, x); err == nil {
			t.Errorf("pushed to %q", bad)
		}
	}
	if n := strings.Count(u.Run("for-each-ref"), "refs/"); n != 2 {
		t.Errorf("%d refs upstream", n)
	}
}

func TestPushMeetsRules(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	one := git.OID(c.Commit("one"))
	two := git.OID(c.Commit("two"))
	c.Push(string(one) + ":refs/heads/main")
	other := c.Run("commit-tree", "-m", "other", "-p", string(one), string(one)+"^{tree}")
	c.Push(other + ":refs/heads/other")
	r := open(t, c.Dir)
	hook := func(name, script string) {
		t.Helper()
		p := filepath.Join(u.Dir, "hooks", name)
		check(t, os.MkdirAll(filepath.Dir(p), 0o755))
		check(t, os.WriteFile(p, []byte("#!/bin/sh\n"+script), 0o755))
	}
	update := git.RefUpdate{Ref: "refs/heads/main", New: two, Old: one}
	hook("pre-receive", "printf 'error: GH006: not \\033[31mtoday, fetch first\\nerror: 1 of 2 required status checks is expected.\\n' >&2; exit 1\n")
	e := wantError[*git.RejectedError](t, r.Push(t.Context(), "origin", update))
	if e.Moved() || !strings.Contains(e.Reason, "declined") {
		t.Errorf("%+v", e)
	}
	want := `declined: error: GH006: not \u001b[31mtoday, fetch first error: 1 of 2 required status checks is expected.`
	if !strings.HasSuffix(e.Error(), want) {
		t.Errorf("%q does not end with %q", e.Error(), want)
	}
	hook("pre-receive", "seq 5000 >&2; exit 1\n")
	e = wantError[*git.RejectedError](t, r.Push(t.Context(), "origin", update))
	if n := len(e.Error()); n < 500 || n > 2000 {
		t.Errorf("a remote that says much makes an error of %d bytes", n)
	}
	// Between what the remote advertises and what it does, somebody else is faster.
	hook("pre-receive", "")
	hook("update", "git update-ref refs/heads/main "+other+"\n")
	e = wantError[*git.RejectedError](t, r.Push(t.Context(), "origin", update))
	if !e.Moved() || !strings.Contains(e.Reason, "remote rejected") {
		t.Errorf("%+v", e)
	}
	// The user's own hook.
	c.WriteFile(".git/hooks/pre-push", "#!/bin/sh\nexit 1\n")
	check(t, os.Chmod(c.Path(".git/hooks/pre-push"), 0o755))
	wantError[*git.CommandError](t, r.Push(t.Context(), "origin", git.RefUpdate{Ref: "refs/heads/new", New: two}))
}

func TestPushRace(t *testing.T) {
	u := gittest.New(t)
	c := u.Clone("alice")
	base := git.OID(c.Commit("base"))
	c.Push()
	var tips []git.OID
	for i := range 5 {
		tips = append(tips, git.OID(c.Run("commit-tree", "-m", fmt.Sprint(i), "-p", string(base), string(base)+"^{tree}")))
	}
	r := open(t, c.Dir)
	var wg sync.WaitGroup
	errs := make([]error, len(tips))
	for i, tip := range tips {
		wg.Go(func() {
			errs[i] = r.Push(t.Context(), u.Dir, git.RefUpdate{Ref: "refs/heads/main", New: tip, Old: base})
		})
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		var e *git.RejectedError
		switch {
		case err == nil && won >= 0:
			t.Error("two pushes won")
		case err == nil:
			won = i
		case !errors.As(err, &e) || !e.Moved():
			t.Errorf("push %d: %v", i, err)
		}
	}
	if won < 0 || u.Head("main") != string(tips[won]) {
		t.Errorf("push %d won, upstream is at %s", won, u.Head("main"))
	}
}

func TestFetch(t *testing.T) {
	u := gittest.New(t)
	alice, bob := u.Clone("alice"), u.Clone("bob")
	one := git.OID(alice.Commit("one"))
	alice.Run("tag", "origin/main")
	alice.Run("tag", "-a", "-m", "t", "v1")
	alice.Push("main", "main:refs/heads/sign/main", "--tags")
	r := open(t, bob.Dir)
	ctx := t.Context()
	refs, err := r.LsRemote(ctx, "origin")
	check(t, err)
	if len(refs) != 6 || refs["HEAD"] != one || refs["refs/heads/main"] != one || refs["refs/tags/v1^{}"] != one {
		t.Errorf("refs %v", refs)
	}
	if refs, err = r.LsRemote(ctx, "origin", "refs/heads/sign/*"); err != nil || len(refs) != 1 {
		t.Errorf("refs %v, %v", refs, err)
	}
	if refs, err = r.LsRemote(ctx, "origin", "nothing"); err != nil || len(refs) != 0 {
		t.Errorf("refs %v, %v", refs, err)
	}
	check(t, r.Fetch(ctx, "origin"))
	if got, err := r.Resolve(ctx, "origin/main"); got != one || err != nil {
		t.Errorf("origin/main %s, %v", got, err)
	}
	if bob.Run("tag") != "" {
		t.Error("tags were fetched")
	}
	if _, err := os.Stat(bob.Path(".git/FETCH_HEAD")); err == nil {
		t.Error("FETCH_HEAD was written")
	}
	check(t, r.Fetch(ctx, u.Dir, "+refs/heads/sign/*:refs/x/*"))
	if got, ok, err := r.Ref(ctx, "refs/x/main"); got != one || !ok || err != nil {
		t.Errorf("%s, %v, %v", got, ok, err)
	}
	wantError[*git.CommandError](t, r.Fetch(ctx, "nowhere"))
	for _, f := range []func() error{
		func() error { return r.Fetch(ctx, "--upload-pack=touch x") },
		func() error { return r.Fetch(ctx, "origin", "--upload-pack=touch x") },
		func() error { return r.Fetch(ctx, "") },
		func() error { _, err := r.LsRemote(ctx, "--upload-pack=touch x"); return err },
	} {
		if err := f(); err == nil || errors.As(err, new(*git.CommandError)) {
			t.Errorf("error %v", err)
		}
	}
}

func TestCommandError(t *testing.T) {
	c := gittest.New(t).Clone("alice")
	one := git.OID(c.Commit("one"))
	r := open(t, c.Dir)
	for _, url := range []string{"https://user:tok3n@127.0.0.1:1/x", "https://tok3n@127.0.0.1:1/x.git", "http://a:b@tok3n@127.0.0.1:1/x"} {
		for name, err := range map[string]error{
			"push":      r.Push(t.Context(), url, git.RefUpdate{Ref: "refs/heads/main", New: one}),
			"fetch":     r.Fetch(t.Context(), url),
			"ls-remote": func() error { _, err := r.LsRemote(t.Context(), url); return err }(),
		} {
			e := wantError[*git.CommandError](t, err)
			if all := err.Error() + fmt.Sprintf("%+v", *e); strings.Contains(all, "tok3n") || !strings.Contains(all, "127.0.0.1") {
				t.Errorf("%s: %s", name, all)
			}
			if e.ExitCode <= 0 || e.Args[0] != name || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	e := &git.CommandError{Args: []string{"push", "x\x1b[2J"}, ExitCode: 1, Stderr: "one \x1b]0;title\x07\r\nhint: not this\n\ntwo \u202e\xff\n", Err: errors.New("exit status 1")}
	if got, want := e.Error(), `git push x\u001b[2J: exit status 1: one \u001b]0;title\u0007; two \u202e\ufffd`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
