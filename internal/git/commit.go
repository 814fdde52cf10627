package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrNothingToCommit says that a commit would have had its parent's tree. None
// was made.
var ErrNothingToCommit = errors.New("nothing to commit: the tree would be that of the parent")

// IdentityError says that git does not know whose name a commit should carry.
type IdentityError struct {
	Err error
}

func (e *IdentityError) Error() string {
	return "git has no user.name and user.email to commit with"
}

func (e *IdentityError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *IdentityError) Hint() string {
	return `git config --global user.name "Your Name" && git config --global user.email you@example.com`
}

// An Identity is an author's and committer's name and mail address.
type Identity struct {
	Name, Email string
}

// A FileChange is one file that a commit writes or deletes.
type FileChange struct {
	Path string // from the root of the tree, with slashes
	// Mode is that of a file or symlink. 0 keeps the mode of the file in the
	// parent; what is no regular file there becomes one.
	Mode   Mode
	Data   []byte
	Delete bool // deleting what is not there changes nothing
}

// CommitOptions describe a commit.
type CommitOptions struct {
	Parent       OID // "" makes a root commit
	ExtraParents []OID
	Changes      []FileChange
	Message      string
	Signoff      bool // add the committer's Signed-off-by, as git commit -s does
	// Identity is used only if git itself knows no name and mail.
	Identity *Identity
	// When is the author's and committer's date, to the second and in its zone.
	// Zero leaves it to git.
	When time.Time
}

// WriteCommit makes a commit: the parent's tree with some files changed. It moves
// no ref, and does not touch the index or the work tree; after a crash at any
// point there are at most objects that nothing refers to.
//
// A path that is absolute, leaves the tree, has a .git component, or holds a
// backslash, a NUL or a line break is refused; so is one that is given twice. If
// nothing changes the error is [ErrNothingToCommit] (unless there are
// ExtraParents). A missing identity is an [*IdentityError].
//
// The commit is signed if commit.gpgSign says so; git may then ask the user.
// Otherwise the same options and identity give the same commit, if When is set.
// No hook runs.
func (r *Repo) WriteCommit(ctx context.Context, o CommitOptions) (OID, error) {
	oid, err := r.writeCommit(ctx, o)
	if err != nil {
		return "", fmt.Errorf("commit %q: %w", strings.SplitN(o.Message, "\n", 2)[0], err)
	}
	return oid, nil
}

func (r *Repo) writeCommit(ctx context.Context, o CommitOptions) (OID, error) {
	var parents []OID
	parentTree := OID("")
	if o.Parent != "" {
		c, err := r.Commit(ctx, o.Parent)
		if err != nil {
			return "", err
		}
		parents, parentTree = append(parents, o.Parent), c.Tree
	}
	for _, p := range o.ExtraParents {
		if _, err := r.Commit(ctx, p); err != nil {
			return "", err
		}
		parents = append(parents, p)
	}
	if strings.TrimSpace(o.Message) == "" || strings.Contains(o.Message, "\x00") {
		return "", errors.New("the message is empty or holds a NUL byte")
	}
	changes, err := r.checkChanges(ctx, parentTree, o.Changes)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "tufops-commit-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)

	tree, err := r.writeTree(ctx, tmp, parentTree, changes)
	if err != nil {
		return "", err
	}
	if tree == parentTree && len(o.ExtraParents) == 0 || o.Parent == "" && len(changes) == 0 {
		return "", ErrNothingToCommit
	}

	who, env, err := r.identity(ctx, o.Identity)
	if err != nil {
		return "", err
	}
	if !o.When.IsZero() {
		date := fmt.Sprintf("@%d %s", o.When.Unix(), o.When.Format("-0700"))
		env = append(env, "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	}
	message := strings.TrimSpace(o.Message) + "\n"
	if o.Signoff {
		message = signOff(message, who)
	}
	sign, _, err := r.config(ctx, "commit.gpgSign", "--type=bool")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", "-F", "-"}
	if sign == "true" {
		args = append(args, "-S")
	}
	for _, p := range parents {
		args = append(args, "-p", string(p))
	}
	out, err := r.run(ctx, call{
		args:   append(args, string(tree)),
		config: []string{"i18n.commitEncoding=UTF-8"},
		stdin:  strings.NewReader(message),
		env:    env,
		prompt: true, // a signing key may have a passphrase
	})
	if err != nil {
		return "", err
	}
	return ParseOID(strings.TrimSpace(string(out)))
}

// checkChanges returns the changes with their modes filled in, deletions first,
// so that a file can take the place of a directory.
func (r *Repo) checkChanges(ctx context.Context, parentTree OID, changes []FileChange) ([]FileChange, error) {
	changes = slices.Clone(changes)
	seen := make(map[string]bool)
	for i, c := range changes {
		if err := checkPath(c.Path); err != nil {
			return nil, err
		}
		if seen[c.Path] {
			return nil, fmt.Errorf("%q is to be changed twice", c.Path)
		}
		seen[c.Path] = true
		switch {
		case c.Delete, c.Mode.IsRegular(), c.Mode == ModeSymlink:
		case c.Mode != 0:
			return nil, fmt.Errorf("%q cannot get mode %s: only files and symlinks are written", c.Path, c.Mode)
		default:
			changes[i].Mode = ModeFile
			if parentTree == "" {
				break
			}
			old, _, err := r.Lookup(ctx, parentTree, c.Path)
			if err != nil {
				return nil, err
			}
			if old.Mode.IsRegular() {
				changes[i].Mode = old.Mode
			}
		}
	}
	slices.SortStableFunc(changes, func(a, b FileChange) int {
		switch {
		case a.Delete && !b.Delete:
			return -1
		case b.Delete && !a.Delete:
			return 1
		}
		return 0
	})
	return changes, nil
}

func checkPath(path string) error {
	bad := !fs.ValidPath(path) || path == "." || strings.ContainsAny(path, "\\\x00\n\r")
	for name := range strings.SplitSeq(path, "/") {
		bad = bad || strings.EqualFold(name, ".git")
	}
	if bad {
		return fmt.Errorf("%q is not a path that may be committed", path)
	}
	return nil
}

// writeTree applies changes to a tree, in an index of its own below tmp.
func (r *Repo) writeTree(ctx context.Context, tmp string, parentTree OID, changes []FileChange) (OID, error) {
	// The blobs: all of them with one process, which reads them from files.
	var names strings.Builder
	n := 0
	for i, c := range changes {
		if c.Delete {
			continue
		}
		name := filepath.Join(tmp, fmt.Sprintf("blob%d", i))
		if err := os.WriteFile(name, c.Data, 0o600); err != nil {
			return "", err
		}
		names.WriteString(name + "\n")
		n++
	}
	var blobs []string
	if n > 0 {
		out, err := r.run(ctx, call{args: []string{"hash-object", "-w", "--no-filters", "--stdin-paths"}, stdin: strings.NewReader(names.String())})
		if err != nil {
			return "", err
		}
		if blobs = strings.Fields(string(out)); len(blobs) != n {
			return "", fmt.Errorf("git hash-object gave %d ids for %d files", len(blobs), n)
		}
	}

	index := call{
		env:     []string{"GIT_INDEX_FILE=" + filepath.Join(tmp, "index")},
		config:  []string{"core.splitIndex=false", "index.sparse=false", "core.untrackedCache=false"},
		noHooks: true,
	}
	if parentTree != "" {
		index.args = []string{"read-tree", string(parentTree)}
		if _, err := r.run(ctx, index); err != nil {
			return "", err
		}
	}
	if len(changes) > 0 {
		var info strings.Builder
		for _, c := range changes {
			if c.Delete {
				zero := parentTree.zero()
				if zero == "" {
					continue // nothing to delete from
				}
				fmt.Fprintf(&info, "0 %s\t%s\x00", zero, c.Path)
				continue
			}
			fmt.Fprintf(&info, "%s %s\t%s\x00", c.Mode, blobs[0], c.Path)
			blobs = blobs[1:]
		}
		index.args, index.stdin = []string{"update-index", "-z", "--add", "--replace", "--index-info"}, strings.NewReader(info.String())
		if _, err := r.run(ctx, index); err != nil {
			return "", err
		}
	}
	index.args, index.stdin = []string{"write-tree"}, nil
	out, err := r.run(ctx, index)
	if err != nil {
		return "", err
	}
	return ParseOID(strings.TrimSpace(string(out)))
}

// Committer returns whose name a commit would carry, as `Name <mail>`. Where git
// knows none the error is an [*IdentityError].
func (r *Repo) Committer(ctx context.Context) (string, error) {
	who, _, err := r.identity(ctx, nil)
	return who, err
}

// identity returns the committer as `Name <mail>`, and what the environment of
// git commit-tree needs to use fallback.
func (r *Repo) identity(ctx context.Context, fallback *Identity) (who string, env []string, err error) {
	// useConfigOnly: a name guessed from this machine's user and host is none.
	out, err := r.run(ctx, call{args: []string{"var", "GIT_COMMITTER_IDENT"}, config: []string{"user.useConfigOnly=true"}})
	if err == nil {
		s := strings.TrimSpace(string(out))
		if i := strings.LastIndexByte(s, '>'); i >= 0 {
			return s[:i+1], nil, nil
		}
		return "", nil, fmt.Errorf("git gave %q as the committer", s)
	}
	if exitCode(err) < 0 {
		return "", nil, err
	}
	if fallback == nil {
		return "", nil, &IdentityError{Err: err}
	}
	if fallback.Name == "" || fallback.Email == "" || strings.ContainsAny(fallback.Name+fallback.Email, "<>\n\x00") {
		return "", nil, fmt.Errorf("%q <%q> cannot be a committer", fallback.Name, fallback.Email)
	}
	return fallback.Name + " <" + fallback.Email + ">", []string{
		"GIT_AUTHOR_NAME=" + fallback.Name, "GIT_AUTHOR_EMAIL=" + fallback.Email,
		"GIT_COMMITTER_NAME=" + fallback.Name, "GIT_COMMITTER_EMAIL=" + fallback.Email,
	}, nil
}

var (
	trailer       = regexp.MustCompile(`^[A-Za-z0-9-]+[ \t]*:`)
	gitsOwnPrefix = regexp.MustCompile(`^(Signed-off-by: |\(cherry picked from commit )`)
)

// signOff appends the sign-off as git does (append_signoff in its sequencer.c):
// to the trailers at the end of the message if there are any, else as a paragraph
// of its own; and not at all if it is the last trailer already. message ends with
// one newline.
func signOff(message, who string) string {
	line := "Signed-off-by: " + who
	if message == line+"\n" {
		return message
	}
	lines := strings.Split(strings.TrimSuffix(message, "\n"), "\n")
	start := len(lines)
	for start > 0 && strings.TrimSpace(lines[start-1]) != "" {
		start--
	}
	trailers, others, own := 0, 0, false
	last := ""
	for i, l := range lines[start:] {
		switch {
		case gitsOwnPrefix.MatchString(l):
			own = true
			trailers++
			last = l
		case trailer.MatchString(l):
			trailers++
			last = l
		case i > 0 && (l[0] == ' ' || l[0] == '\t'): // goes on from the line before
			last += "\n" + l
		default:
			others++
		}
	}
	// The first paragraph is the subject, whatever it looks like.
	isBlock := start > 0 && (trailers > 0 && others == 0 || own && trailers*3 >= others)
	switch {
	case isBlock && strings.HasPrefix(last+"\n", line+"\n"):
		return message
	case isBlock:
		return message + line + "\n"
	}
	return message + "\n" + line + "\n"
}
