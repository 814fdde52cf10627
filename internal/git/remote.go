package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A RefUpdate is one ref to move at a remote.
type RefUpdate struct {
	Ref string // full name
	New OID
	Old OID // where the remote has it now; "" means that it must not exist yet
}

// RejectedError says that a remote did not take a push. With more than one update
// none was made.
type RejectedError struct {
	Remote   string
	Ref      string
	Expected OID    // the Old of the update; "" if the ref was not to exist
	Reason   string // in git's or the remote's words
	Said     string // what else the remote said, such as which check its rule asks for; may be empty
}

func (e *RejectedError) Error() string {
	at := "absent"
	if e.Expected != "" {
		at = "at " + e.Expected.Short()
	}
	s := fmt.Sprintf("push to %s of %s, expected there %s: rejected: %s", visible(e.Remote), visible(e.Ref), at, visible(e.Reason))
	if e.Said != "" && !e.Moved() {
		s += ": " + visible(e.Said)
	}
	return s
}

// Moved reports whether the reason is that the ref was no longer where it was
// expected: somebody else pushed. Fetching and doing the work again helps then;
// where the remote has a rule against the push, it does not.
func (e *RejectedError) Moved() bool {
	for _, s := range []string{
		"stale info", "fetch first", "non-fast-forward", "needs force", // said by our git
		"cannot lock ref", "failed to update ref", "incorrect old value", "reference already exists", // by theirs, when two pushes meet
	} {
		if strings.Contains(e.Reason, s) {
			return true
		}
	}
	return false
}

// Hint says what to do next.
func (e *RejectedError) Hint() string {
	if e.Moved() {
		return "somebody pushed meanwhile: git fetch, and run the same again"
	}
	return "this push is against a rule of the remote (branch protection, hooks) or of tufops (no commit is discarded)"
}

// Push moves refs at a remote, a configured one or a URL: all or none, and each
// only from where the caller expects it to where it descends to. It never
// discards a commit of the remote, and never deletes.
//
// If the remote already has what is pushed that is success, so a push whose
// answer got lost can be repeated. A remote that refuses is a [*RejectedError];
// ask its Moved method whether to start over. Any other failure is a
// [*CommandError], after which it is unknown whether the push was done: repeat
// it.
//
// Git may ask the user for credentials, and the user's pre-push hook runs.
func (r *Repo) Push(ctx context.Context, remote string, updates ...RefUpdate) error {
	if err := checkRemote(remote); err != nil {
		return err
	}
	if len(updates) == 0 {
		return nil
	}
	args := []string{"push", "--porcelain", "--no-follow-tags", "--recurse-submodules=no"}
	if len(updates) > 1 {
		args = append(args, "--atomic")
	}
	var refspecs []string
	byRef := make(map[string]RefUpdate)
	for _, u := range updates {
		if err := checkRef(u.Ref); err != nil {
			return err
		}
		if _, ok := byRef[u.Ref]; ok {
			return fmt.Errorf("push %s: it is to be updated twice", u.Ref)
		}
		byRef[u.Ref] = u
		if err := checkOIDs(u.New); err != nil {
			return fmt.Errorf("push %s: %w", u.Ref, err)
		}
		if u.Old != "" {
			if err := r.checkDescends(ctx, remote, u); err != nil {
				return err
			}
		}
		// The lease is the compare-and-swap. By itself it would also allow to
		// discard commits; checkDescends is what forbids that.
		args = append(args, "--force-with-lease="+u.Ref+":"+string(u.Old))
		refspecs = append(refspecs, string(u.New)+":"+u.Ref)
	}
	args = append(append(args, "--", remote), refspecs...)
	out, err := r.run(ctx, call{args: args, prompt: true})

	done := make(map[string]bool)
	var rejected []*RejectedError
	for line := range strings.Lines(string(out)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(f) != 3 || len(f[0]) != 1 {
			continue
		}
		_, ref, _ := strings.Cut(f[1], ":")
		u, ok := byRef[ref]
		switch {
		case !ok:
		case f[0] == "!":
			rejected = append(rejected, &RejectedError{Remote: redact(remote), Ref: ref, Expected: u.Old, Reason: reason(f[2]), Said: said(err)})
		default:
			done[ref] = true
		}
	}
	if len(rejected) > 0 {
		// Of an atomic push, every ref is rejected, but one for a reason.
		i := slices.IndexFunc(rejected, func(e *RejectedError) bool {
			return !strings.Contains(e.Reason, "atomic push fail") && !strings.Contains(e.Reason, "atomic transaction fail")
		})
		return rejected[max(i, 0)]
	}
	if err != nil {
		return fmt.Errorf("push to %s: %w", redact(remote), err)
	}
	if len(done) != len(updates) {
		return fmt.Errorf("push to %s: git reported on %d of %d refs", redact(remote), len(done), len(updates))
	}
	return nil
}

// reason takes `[remote rejected] (hook declined)` apart.
func reason(summary string) string {
	kind, why, ok := strings.Cut(summary, " (")
	if !ok {
		return summary
	}
	why = strings.TrimSuffix(why, ")")
	if strings.HasPrefix(kind, "[remote") {
		return "remote rejected: " + why
	}
	return why
}

// maxSaid bounds what a remote may add to an error, in bytes.
const maxSaid = 1_000

// said is what the remote printed while a push failed, on one line.
func said(err error) string {
	var failed *CommandError
	if !errors.As(err, &failed) {
		return ""
	}
	var words []string
	for line := range strings.Lines(failed.Stderr) {
		if text, ok := strings.CutPrefix(line, "remote: "); ok {
			words = append(words, strings.Fields(text)...)
		}
	}
	text := strings.Join(words, " ")
	return strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
}

// checkDescends refuses an update that would discard commits of the remote.
func (r *Repo) checkDescends(ctx context.Context, remote string, u RefUpdate) error {
	if err := checkOIDs(u.Old); err != nil {
		return fmt.Errorf("push %s: %w", u.Ref, err)
	}
	c, err := r.Commit(ctx, u.New)
	if err != nil {
		return fmt.Errorf("push %s: %w", u.Ref, err)
	}
	if u.Old == u.New || slices.Contains(c.Parents, u.Old) {
		return nil
	}
	found, err := r.info(ctx, []string{string(u.Old)})
	if err != nil {
		return fmt.Errorf("push %s: %w", u.Ref, err)
	}
	if !found[0].missing {
		ok, err := r.IsAncestor(ctx, u.Old, u.New)
		if err != nil {
			return fmt.Errorf("push %s: %w", u.Ref, err)
		}
		if ok {
			return nil
		}
	}
	return &RejectedError{Remote: redact(remote), Ref: u.Ref, Expected: u.Old,
		Reason: fmt.Sprintf("it would discard commits, as %s does not descend from what is there", u.New.Short())}
}

// Fetch fetches refspecs from a remote, without any: what is configured for it.
//
// Tags are not fetched unless a refspec names them: anybody who may push can make
// a tag, and a tag can shadow a branch. FETCH_HEAD stays as it is. Git may ask
// the user for credentials.
func (r *Repo) Fetch(ctx context.Context, remote string, refspecs ...string) error {
	if err := checkRemote(remote); err != nil {
		return err
	}
	for _, s := range refspecs {
		if s == "" || strings.HasPrefix(s, "-") || strings.ContainsAny(s, "\x00\n") {
			return fmt.Errorf("%q is not a refspec to fetch", s)
		}
	}
	args := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--", remote}
	if _, err := r.run(ctx, call{args: append(args, refspecs...), prompt: true}); err != nil {
		return fmt.Errorf("fetch from %s: %w", redact(remote), err)
	}
	return nil
}

// LsRemote asks a remote for its refs, by full name. A pattern matches the end of
// a name, whole components at a time: `main` matches refs/heads/main and also
// refs/heads/sign/main. For an annotated tag there are two entries, the second
// with ^{} at its end and the commit. Git may ask the user for credentials.
func (r *Repo) LsRemote(ctx context.Context, remote string, patterns ...string) (map[string]OID, error) {
	if err := checkRemote(remote); err != nil {
		return nil, err
	}
	args := append([]string{"ls-remote", "--quiet", "--", remote}, patterns...)
	out, err := r.run(ctx, call{args: args, prompt: true})
	if err != nil {
		return nil, fmt.Errorf("list refs of %s: %w", redact(remote), err)
	}
	return parseRefs(string(out), "\t", "")
}
