package git

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CurrentBranch returns the short name of the branch that is checked out (also of
// one that has no commit yet), or "" if HEAD is detached.
func (r *Repo) CurrentBranch(ctx context.Context) (string, error) {
	ref, err := r.head(ctx)
	if err != nil {
		return "", fmt.Errorf("find current branch: %w", err)
	}
	return strings.TrimPrefix(ref, "refs/heads/"), nil
}

// head returns the full name of the branch that is checked out, or "".
func (r *Repo) head(ctx context.Context) (string, error) {
	if ref, ok := r.headFile(); ok {
		return ref, nil
	}
	out, err := r.run(ctx, call{args: []string{"symbolic-ref", "-q", "HEAD"}})
	if exitCode(err) == 1 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// headFile is head without a process. It reports false where HEAD is not a file
// that says it: a repository whose refs are in a reftable has one that names
// refs/heads/.invalid.
func (r *Repo) headFile() (ref string, ok bool) {
	name := filepath.Join(r.gitDir, "HEAD")
	if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
		return "", false
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", false
	}
	line := strings.TrimSuffix(string(data), "\n")
	if OID(line).valid() {
		return "", true
	}
	ref, ok = strings.CutPrefix(line, "ref: ")
	if !ok || !strings.HasPrefix(ref, "refs/heads/") || ref == "refs/heads/.invalid" || checkRef(ref) != nil {
		return "", false
	}
	// A branch can itself stand for another.
	branch, err := os.ReadFile(filepath.Join(filepath.Dir(r.objects), filepath.FromSlash(ref)))
	return ref, err != nil || !strings.HasPrefix(string(branch), "ref:")
}

// Config returns a value of the user's git configuration and whether it is set.
// Of several values it is the last, as git itself takes it.
func (r *Repo) Config(ctx context.Context, key string) (string, bool, error) {
	return r.config(ctx, key)
}

func (r *Repo) config(ctx context.Context, key string, options ...string) (string, bool, error) {
	if key == "" || strings.HasPrefix(key, "-") || strings.ContainsAny(key, "\x00\n") {
		return "", false, fmt.Errorf("%q is not the name of a git setting", key)
	}
	args := append([]string{"config", "--null"}, options...)
	out, err := r.run(ctx, call{args: append(args, "--get", key)})
	if exitCode(err) == 1 {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read git setting %s: %w", key, err)
	}
	return strings.TrimSuffix(string(out), "\x00"), true, nil
}

// RemoteURL returns the URL that fetching from a remote uses, with the user's
// url.*.insteadOf applied. It may hold credentials. A remote that is not
// configured is a [*RemoteError]; of one that is, git is asked once.
func (r *Repo) RemoteURL(ctx context.Context, name string) (string, error) {
	return r.remoteURL(ctx, name)
}

// RemotePushURLs returns the URLs that pushing to a remote uses, all of them; see
// [Repo.RemoteURL].
func (r *Repo) RemotePushURLs(ctx context.Context, name string) ([]string, error) {
	urls, err := r.remoteURL(ctx, name, "--push", "--all")
	return strings.Split(urls, "\n"), err
}

func (r *Repo) remoteURL(ctx context.Context, name string, options ...string) (string, error) {
	if err := checkRemote(name); err != nil {
		return "", err
	}
	args := append(append([]string{"remote", "get-url"}, options...), "--", name)
	return r.once(strings.Join(args, " "), func() (string, error) {
		out, err := r.run(ctx, call{args: args})
		if exitCode(err) == 2 {
			return "", &RemoteError{Remote: redact(name), Dir: r.dir}
		}
		if err != nil {
			return "", fmt.Errorf("find URL of remote %s: %w", redact(name), err)
		}
		return strings.TrimSuffix(string(out), "\n"), nil
	})
}

// checkRemote refuses what git would not take for the name or URL of a remote.
func checkRemote(name string) error {
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, "\x00\n\r") {
		return fmt.Errorf("%q is not the name of a git remote", redact(name))
	}
	return nil
}

// RemoteError says that a remote is not configured.
type RemoteError struct {
	Remote, Dir string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("git remote %q is not configured in %s", e.Remote, visible(e.Dir))
}

// Hint says what to do next.
func (e *RemoteError) Hint() string {
	return "list remotes with git remote -v, add one with git remote add NAME URL"
}

// IsTracked reports whether git tracks path, a file or directory relative to
// [Repo.Top]: whether it is in the index or in HEAD's commit.
//
// A tracked path that differs only in the case of letters counts, because on
// many file systems it is the same file.
func (r *Repo) IsTracked(ctx context.Context, path string) (bool, error) {
	if !fs.ValidPath(path) || path == "." {
		return false, fmt.Errorf("%q is not a path inside the work tree", path)
	}
	if r.top != "" {
		out, err := r.run(ctx, call{args: []string{"ls-files", "-z", "--", ":(top,icase,literal)" + path}, magic: true})
		if err != nil {
			return false, fmt.Errorf("find out whether git tracks %s: %w", path, err)
		}
		if len(out) > 0 {
			return true, nil
		}
	}
	head, ok, err := r.Ref(ctx, "HEAD")
	if err != nil || !ok {
		return false, err
	}
	return r.lookupFold(ctx, head, strings.Split(path, "/"))
}

// lookupFold reports whether a path is in a tree, in whatever case.
func (r *Repo) lookupFold(ctx context.Context, oid OID, names []string) (bool, error) {
	t, err := r.tree(ctx, oid)
	if err != nil {
		return false, err
	}
	for _, e := range t.entries {
		if !strings.EqualFold(e.Path, names[0]) {
			continue
		}
		if len(names) == 1 {
			return true, nil
		}
		if e.Mode != ModeTree {
			continue
		}
		if ok, err := r.lookupFold(ctx, e.OID, names[1:]); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
