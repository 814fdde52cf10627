package git

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DirtyError says that files which would have to change have changes of the
// user's. Nothing was touched.
type DirtyError struct {
	Paths []string // sorted
	Err   error    // what git said, if it was git that refused
}

func (e *DirtyError) Error() string {
	const most = 5
	paths := e.Paths
	more := ""
	if len(paths) > most {
		more = fmt.Sprintf(" and %d more", len(paths)-most)
		paths = paths[:most]
	}
	return "the work tree has local changes in " + visible(strings.Join(paths, ", ")) + more
}

func (e *DirtyError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *DirtyError) Hint() string {
	return "commit them, or set them aside with git stash, and run the same again"
}

// InProgressError says that the user is in the middle of a git operation that the
// checkout belongs to.
type InProgressError struct {
	Operation string // "merge", "cherry-pick" or "revert"
}

func (e *InProgressError) Error() string {
	return "a git " + e.Operation + " is in progress in this checkout"
}

// Hint says what to do next.
func (e *InProgressError) Hint() string {
	return fmt.Sprintf("end it with git %s --continue or --abort, and run the same again", e.Operation)
}

// AdvanceCheckout moves what is checked out (the branch, or a detached HEAD) from
// commit old to commit new, with the index and the work tree. Local changes to
// other files stay, staged ones staged.
//
// It changes nothing and returns a [*StaleRefError] if HEAD is not at old, or a
// [*DirtyError] if a file that differs between old and new has local changes or
// an untracked file is in the way, or an [*InProgressError]. Files that are as in
// new already are no local changes.
//
// The work tree comes first, the index second and the ref last, each step atomic
// per file. So a crash leaves HEAD at old with a part of the change as local or
// staged changes, and the same call again completes it; git restore takes it
// back. (Where a crashed git left index.lock, git says so and how to remove it.)
// No hook runs.
func (r *Repo) AdvanceCheckout(ctx context.Context, old, new OID) error {
	if err := checkOIDs(old, new); err != nil {
		return err
	}
	if err := r.advance(ctx, old, new); err != nil {
		return fmt.Errorf("move checkout from %s to %s: %w", old.Short(), new.Short(), err)
	}
	return nil
}

func (r *Repo) advance(ctx context.Context, old, new OID) error {
	if r.top == "" {
		return fmt.Errorf("%s has no work tree", r.gitDir)
	}
	ref, err := r.head(ctx)
	if err != nil {
		return err
	}
	var options []string
	if ref == "" {
		ref, options = "HEAD", []string{"--no-deref"}
	}
	if at, _, err := r.Ref(ctx, ref); err != nil {
		return err
	} else if at != old {
		return &StaleRefError{Ref: ref, Expected: old, Actual: at}
	}
	operations := []string{"merge", "cherry-pick", "revert"}
	found, err := r.info(ctx, []string{"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"})
	if err != nil {
		return err
	}
	for i, h := range found {
		if !h.missing {
			return &InProgressError{Operation: operations[i]}
		}
	}
	changes, err := r.DiffTrees(ctx, old, new)
	if err != nil {
		return err
	}
	done, err := r.prepareIndex(ctx, old, changes)
	if err != nil {
		return err
	}
	if !done {
		if err := r.readTree(ctx, old, new); err != nil {
			return err
		}
	}
	// From here on the move is as good as done, so ctx no longer stops it.
	ctx = context.WithoutCancel(ctx)
	err = r.updateRef(ctx, ref, new, old, call{noHooks: true}, options...)
	if err != nil {
		// Somebody committed meanwhile. Give them their work tree back.
		if rerr := r.readTree(ctx, new, old); rerr != nil {
			err = fmt.Errorf("%w (and the work tree stays at %s: %w)", err, new.Short(), rerr)
		}
	}
	return err
}

// prepareIndex checks that nothing of the user's would be lost, and tells the
// index about files that are as they will be: git would take those for local
// changes. done says that the index is as in new now, so that the work tree is
// too, but for edits made since.
func (r *Repo) prepareIndex(ctx context.Context, old OID, changes []Change) (done bool, err error) {
	if err := r.refreshIndex(ctx); err != nil {
		return false, err
	}
	staged, err := r.rawDiff(ctx, "diff-index", "--cached", string(old))
	if err != nil {
		return false, err
	}
	unstaged, err := r.rawDiff(ctx, "diff-files", "--ignore-submodules")
	if err != nil {
		return false, err
	}
	root, err := os.OpenRoot(r.top)
	if err != nil {
		return false, err
	}
	defer root.Close()

	var dirty []string
	for path, s := range staged {
		if s.status == "U" {
			dirty = append(dirty, path) // a merge is going on
		}
	}
	var info strings.Builder
	asNew := 0
	for _, c := range changes {
		s, isStaged := staged[c.Path]
		u, isUnstaged := unstaged[c.Path]
		switch {
		case isStaged && s.status == "U":
		case isStaged && (s.mode != c.New.Mode || c.New.Mode != 0 && s.oid != c.New.OID):
			dirty = append(dirty, c.Path)
		case isStaged: // what the file holds stays
			asNew++
		case isUnstaged && u.status == "D" && c.New.Mode == 0:
			fmt.Fprintf(&info, "0 %s\t%s\x00", old.zero(), c.Path)
			asNew++
		case isUnstaged && u.status == "D": // nothing there that could be lost
		case isUnstaged || c.Old.Mode == 0 && exists(root, c.Path):
			if c.New.Mode == 0 || !holds(root, c.New) {
				dirty = append(dirty, c.Path)
				break
			}
			fmt.Fprintf(&info, "%s %s\t%s\x00", c.New.Mode, c.New.OID, c.Path)
			asNew++
		}
	}
	if len(dirty) > 0 {
		slices.Sort(dirty)
		return false, &DirtyError{Paths: slices.Compact(dirty)}
	}
	if info.Len() > 0 {
		_, err = r.run(ctx, call{
			args: []string{"update-index", "-z", "--add", "--replace", "--index-info"}, stdin: strings.NewReader(info.String()), noHooks: true,
		})
		if err != nil {
			return false, err
		}
		if err := r.refreshIndex(ctx); err != nil {
			return false, err
		}
	}
	return asNew == len(changes), nil
}

// refreshIndex makes the index take files that were only touched for unchanged.
func (r *Repo) refreshIndex(ctx context.Context) error {
	_, err := r.run(ctx, call{args: []string{"update-index", "--refresh", "--unmerged", "--ignore-submodules"}, noHooks: true})
	if exitCode(err) == 1 {
		return nil // some file was changed: that is looked at elsewhere
	}
	return err
}

// readTree carries index and work tree from one commit to another (git-read-tree,
// "Two Tree Merge").
func (r *Repo) readTree(ctx context.Context, from, to OID) error {
	_, err := r.run(ctx, call{args: []string{"read-tree", "-m", "-u", "--no-recurse-submodules", string(from), string(to)}, noHooks: true})
	var ce *CommandError
	if exitCode(err) == 128 && errors.As(err, &ce) {
		var paths []string
		for _, m := range notUpToDate.FindAllStringSubmatch(ce.Stderr, -1) {
			paths = append(paths, m[1])
		}
		if len(paths) > 0 {
			slices.Sort(paths)
			return &DirtyError{Paths: slices.Compact(paths), Err: err}
		}
	}
	return err
}

// notUpToDate finds the paths in the refusals of git read-tree. What we check
// before covers what we know of; this is for the rest, such as an untracked file
// where a directory must go.
var notUpToDate = regexp.MustCompile(`(?m)^error: (?:Entry|Untracked working tree file|Updating|Working tree file) '(.*)' (?:not uptodate|would|is not|is beyond|.*cannot)`)

type rawChange struct {
	status string
	mode   Mode
	oid    OID // zero for a file of the work tree
}

// rawDiff runs a plumbing diff and returns the new side of each path.
func (r *Repo) rawDiff(ctx context.Context, command string, args ...string) (map[string]rawChange, error) {
	argv := append([]string{command, "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff"}, args...)
	out, err := r.run(ctx, call{args: append(argv, "--")})
	if err != nil {
		return nil, err
	}
	diff := make(map[string]rawChange)
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		f := strings.Fields(fields[i])
		if len(f) != 5 {
			return nil, fmt.Errorf("git %s said %q", command, fields[i])
		}
		mode, err := strconv.ParseUint(f[1], 8, 32)
		if err != nil {
			return nil, fmt.Errorf("git %s said %q", command, fields[i])
		}
		// An unmerged path comes twice in diff-files; U is what counts.
		if path := fields[i+1]; diff[path].status != "U" {
			diff[path] = rawChange{status: f[4], mode: Mode(mode), oid: OID(f[3])}
		}
	}
	return diff, nil
}

// exists reports whether a file or symlink is at path in the work tree. What else
// is in the way of a new file (a directory, or a file where one must go) may be
// part of old, or empty: git finds out by itself.
func exists(root *os.Root, path string) bool {
	for i, c := range path {
		if c != '/' {
			continue
		}
		if st, err := root.Lstat(path[:i]); err != nil || !st.IsDir() {
			return false
		}
	}
	st, err := root.Lstat(path)
	return err == nil && !st.IsDir()
}

// holds reports whether the file in the work tree is, byte for byte, what e says.
func holds(root *os.Root, e Entry) bool {
	st, err := root.Lstat(e.Path)
	if err != nil {
		return false
	}
	var body io.Reader
	size := st.Size()
	switch {
	case e.Mode == ModeSymlink && st.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(e.Path)
		if err != nil {
			return false
		}
		body, size = strings.NewReader(target), int64(len(target))
	case e.Mode.IsRegular() && st.Mode().IsRegular():
		f, err := root.Open(e.Path)
		if err != nil {
			return false
		}
		defer f.Close()
		body = f
	default:
		return false
	}
	var h hash.Hash = sha1.New()
	if len(e.OID) == 64 {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", size)
	if _, err := io.Copy(h, body); err != nil {
		return false
	}
	return fmt.Sprintf("%x", h.Sum(nil)) == string(e.OID)
}
