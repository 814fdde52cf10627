package git

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// MergeBase returns the best common ancestor of two commits. If there are several
// equally good ones (criss-cross merges) it is the one git names first.
//
// If none is known the error is a [*NoMergeBaseError], which knows whether a
// shallow clone is the reason.
func (r *Repo) MergeBase(ctx context.Context, a, b OID) (OID, error) {
	if err := checkOIDs(a, b); err != nil {
		return "", err
	}
	if r.only != nil {
		return r.mergeBase(ctx, a, b)
	}
	find := func() (string, error) {
		out, err := r.run(ctx, call{args: []string{"merge-base", string(a), string(b)}})
		if exitCode(err) == 1 && len(out) == 0 {
			return "", &NoMergeBaseError{A: a, B: b, Shallow: r.shallow}
		}
		if err != nil {
			return "", fmt.Errorf("find merge base of %s and %s: %w", a.Short(), b.Short(), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	base := ""
	var err error
	if r.shallow { // a fetch may bring what was cut off
		base, err = find()
	} else {
		base, err = r.once("merge-base "+string(a)+" "+string(b), find)
	}
	if err != nil {
		return "", err
	}
	return ParseOID(base)
}

// IsAncestor reports whether a is b or an ancestor of b, as far as this clone
// knows the history.
func (r *Repo) IsAncestor(ctx context.Context, a, b OID) (bool, error) {
	if err := checkOIDs(a, b); err != nil {
		return false, err
	}
	_, err := r.run(ctx, call{args: []string{"merge-base", "--is-ancestor", string(a), string(b)}})
	if exitCode(err) == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare history of %s and %s: %w", a.Short(), b.Short(), err)
	}
	return true, nil
}

// A MergeResult is what merging two commits would give.
type MergeResult struct {
	Tree OID
	// Conflicts are the paths that git could not merge, sorted. Tree then holds
	// conflict markers there, and must not be taken for a result.
	Conflicts []string
}

// MergeTree merges theirs into ours without a checkout. Conflicts are an outcome,
// not an error.
//
// Nothing is written to the repository: new objects go to a temporary directory
// that [Repo.Close] removes, and only r sees them. The attributes of a checkout
// and this user's merge settings play no part, so that every signer and the bot
// compute the same result. (The git directory's own info/attributes still does.)
// Histories with no common ancestor are a [*NoMergeBaseError].
func (r *Repo) MergeTree(ctx context.Context, ours, theirs OID) (MergeResult, error) {
	var res MergeResult
	if err := checkOIDs(ours, theirs); err != nil {
		return res, err
	}
	if r.only != nil {
		return r.mergeTree(ctx, ours, theirs)
	}
	fail := func(err error) (MergeResult, error) {
		return MergeResult{}, fmt.Errorf("merge %s into %s: %w", theirs.Short(), ours.Short(), err)
	}
	tmp, err := r.tempDir()
	if err != nil {
		return fail(err)
	}
	out, err := r.run(ctx, call{
		// Git looks for .gitattributes from where it runs: here there are none.
		dir:  tmp,
		args: []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", string(ours), string(theirs)},
		env: []string{
			"GIT_DIR=" + r.gitDir,
			"GIT_WORK_TREE=" + tmp,
			"GIT_OBJECT_DIRECTORY=" + tmp,
			alternates(r.objects),
		},
		config: []string{
			"merge.renames=true", "merge.directoryRenames=conflict", "merge.renameLimit=7000", "merge.conflictStyle=merge",
			"merge.renormalize=false", "core.attributesFile=" + os.DevNull, "core.bare=false",
		},
	})
	if err != nil && (exitCode(err) != 1 || len(out) == 0) {
		if exitCode(err) > 1 {
			// Git refuses unrelated histories, in words only.
			if _, berr := r.MergeBase(ctx, ours, theirs); berr != nil {
				err = berr
			}
		}
		return fail(err)
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if res.Tree, err = ParseOID(names[0]); err != nil {
		return fail(err)
	}
	res.Conflicts = names[1:]
	slices.Sort(res.Conflicts)
	res.Conflicts = slices.Compact(res.Conflicts)
	if len(res.Conflicts) == 0 {
		res.Conflicts = nil
	}
	return res, nil
}

// HistoryOptions narrow a [Repo.History].
type HistoryOptions struct {
	FirstParent bool     // of a merge follow only the branch merged into
	Paths       []string // only commits that change one of these files or directories
	Reverse     bool     // oldest first
	// FullHistory follows, with Paths, both sides of a merge that takes them
	// unchanged from one of its parents.
	FullHistory bool
	Max         int // at most so many commits; 0 for all
}

// History returns the commits reachable from include and not from exclude,
// children before their parents. An empty exclude excludes nothing.
//
// With Paths, git leaves out merges that take those paths unchanged from one
// parent, and, without FullHistory, the other parent's side with them.
func (r *Repo) History(ctx context.Context, include, exclude OID, opts HistoryOptions) ([]OID, error) {
	if err := checkOIDs(include); err != nil {
		return nil, err
	}
	if r.only != nil {
		return r.history(ctx, include, exclude, opts)
	}
	args := []string{"rev-list", "--topo-order"}
	if opts.FirstParent {
		args = append(args, "--first-parent")
	}
	if opts.FullHistory {
		args = append(args, "--full-history")
	}
	if opts.Max > 0 {
		args = append(args, fmt.Sprintf("--max-count=%d", opts.Max))
	}
	if opts.Reverse {
		args = append(args, "--reverse")
	}
	args = append(args, string(include))
	if exclude != "" {
		if err := checkOIDs(exclude); err != nil {
			return nil, err
		}
		args = append(args, "^"+string(exclude))
	}
	args = append(args, "--")
	args = append(args, opts.Paths...)
	out, err := r.run(ctx, call{args: args})
	if err != nil {
		return nil, fmt.Errorf("list history of %s: %w", include.Short(), err)
	}
	var oids []OID
	for line := range strings.Lines(string(out)) {
		oid, err := ParseOID(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("list history of %s: %w", include.Short(), err)
		}
		oids = append(oids, oid)
	}
	return oids, nil
}
