package git

import (
	"context"
	"fmt"
	"strings"
)

// StaleRefError says that a ref was not where the caller thought it was. It was
// not changed: read the repository again and start over from what is there.
type StaleRefError struct {
	Ref      string
	Expected OID // "" if it was expected not to exist
	Actual   OID // "" if it does not exist
}

func (e *StaleRefError) Error() string {
	at := func(o OID) string {
		if o == "" {
			return "absent"
		}
		return "at " + o.Short()
	}
	return fmt.Sprintf("%s is %s, expected it %s", visible(e.Ref), at(e.Actual), at(e.Expected))
}

// UpdateRef points ref, a full name, at new if it points at old now; an empty old
// means that it must not exist. A ref that is elsewhere, even at new already, is
// a [*StaleRefError].
//
// A branch that is checked out is moved with [Repo.AdvanceCheckout] instead: here
// its index and work tree would stay behind.
func (r *Repo) UpdateRef(ctx context.Context, ref string, new, old OID) error {
	if err := checkRef(ref); err != nil {
		return err
	}
	return r.updateRef(ctx, ref, new, old, call{})
}

func (r *Repo) updateRef(ctx context.Context, ref string, new, old OID, c call, options ...string) error {
	if err := checkOIDs(new); err != nil {
		return err
	}
	expect := old
	if old == "" {
		expect = new.zero()
	} else if err := checkOIDs(old); err != nil {
		return err
	}
	c.args = append(append([]string{"update-ref", "-m", "tufops: update"}, options...), ref, string(new), string(expect))
	_, err := r.run(ctx, c)
	if err == nil {
		return nil
	}
	if exitCode(err) > 0 {
		// Ask where the ref is, rather than take git's words for it.
		if now, _, rerr := r.Ref(ctx, ref); rerr == nil && now != old {
			return &StaleRefError{Ref: ref, Expected: old, Actual: now}
		}
	}
	return fmt.Errorf("update %s to %s: %w", ref, new.Short(), err)
}

// Refs returns the refs whose full name begins with prefix (refs/heads/,
// refs/remotes/origin/), with what they point at: for an annotated tag, the tag.
func (r *Repo) Refs(ctx context.Context, prefix string) (map[string]OID, error) {
	if !strings.HasPrefix(prefix, "refs/") {
		return nil, fmt.Errorf("%q does not begin with refs/", prefix)
	}
	// Git matches whole components, or globs.
	dir := prefix[:strings.LastIndexByte(prefix, '/')]
	if strings.ContainsAny(dir, "*?[\\\x00\n") {
		return nil, fmt.Errorf("%q is not the beginning of a ref", prefix)
	}
	out, err := r.run(ctx, call{args: []string{"for-each-ref", "--format=%(objectname) %(refname)", dir}})
	if err != nil {
		return nil, fmt.Errorf("list refs below %s: %w", prefix, err)
	}
	return parseRefs(string(out), " ", prefix)
}

// parseRefs reads lines of an object id, a separator and a ref.
func parseRefs(out, sep, prefix string) (map[string]OID, error) {
	refs := make(map[string]OID)
	for line := range strings.Lines(out) {
		hex, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), sep)
		oid, err := ParseOID(hex)
		if err != nil {
			return nil, fmt.Errorf("list refs: %w", err)
		}
		if strings.HasPrefix(ref, prefix) {
			refs[ref] = oid
		}
	}
	return refs, nil
}
