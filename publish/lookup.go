package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// errUnlisted is that no role which a client asks for an artifact lists it.
var errUnlisted = errors.New("no role that clients ask lists it")

// maxLookups bounds how many artifacts each client looks up. Where there are more
// it takes some of each role: a role that fails does so for all that is asked of
// it.
const maxLookups = 1000

// sought is what clients look for in one role.
type sought struct {
	role  string
	paths []string
}

// sought lists, for each targets role, artifacts that it lists. Of one that lists
// none it is a path that leads to it, so that it is loaded all the same.
func (p *publisher) sought() []sought {
	listed := map[string][]string{}
	for _, a := range p.published().Artifacts() {
		listed[a.Role] = append(listed[a.Role], a.Target)
	}
	roles := p.published().Roles()
	some := len(p.published().Artifacts()) > maxLookups
	var list []sought
	for _, r := range roles {
		paths := listed[r.Role]
		slices.Sort(paths)
		if share := max(1, maxLookups/len(roles)); some && len(paths) > share {
			for i := range share {
				paths[i] = paths[i*len(paths)/share]
			}
			paths = paths[:share]
		}
		if len(paths) == 0 && len(r.Delegation.Paths) > 0 {
			paths = []string{strings.NewReplacer("*", "x", "?", "x").Replace(r.Delegation.Paths[0])}
		}
		list = append(list, sought{r.Role, paths})
	}
	return list
}

// lookUp has a client that has updated load each delegated role, and look its
// artifacts up.
//
// A role that fails harms those who ask for what it may list, and them alone. So
// the plan is refused where they fail by what it brings, now: not where the role
// and those that lead to it are there already or could not be read in what is live
// either, and not where a delegated role has expired, which stops nothing else of
// what people sign.
func (r *rehearsal) lookUp(ctx context.Context, k kind, u user, root *metadata.Document, at stage) error {
	for _, s := range r.sought() {
		for _, path := range s.paths {
			err := u.find(ctx, path)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				r.report.LookedUp++
			}
			if err == nil || errors.Is(err, errUnlisted) {
				continue
			}
			if u.expired(err) {
				r.note(NoteLookupFails, "%s cannot look up what role %s may list, such as %s: %s", k.name, s.role, path, words(err))
				break
			}
			brought, broken := r.brings(s.role), error(nil)
			if brought {
				brought, broken = r.couldFind(ctx, k, path)
			}
			switch {
			case broken != nil:
				return broken
			case !brought:
				r.note(NoteLookupFails, "%s cannot look up what role %s may list, such as %s, nor could it before: %s", k.name, s.role, path, words(err))
			default:
				return &RehearsalError{Client: k.name, From: fmt.Sprintf("root version %d", root.Version()), At: at.after,
					Err: fmt.Errorf("look up %s, which role %s may list: %w", path, s.role, err)}
			}
			break // what else the role lists fails the same way, and each time it is read anew
		}
	}
	return nil
}

// brings reports whether the plan writes a role, or one of those that lead to it.
func (r *rehearsal) brings(role string) bool {
	for range r.published().Roles() { // more than the longest way
		for _, p := range r.published().Roles() {
			if p.Role != role {
				continue
			}
			name := versioned(role, p.Document)
			if slices.ContainsFunc(r.plan.files, func(f File) bool { return f.Class == TargetsRole && f.Name == name }) {
				return true
			}
			role = p.By
			break
		}
	}
	return false
}

// couldFind reports whether a client that looks for an artifact in what is live
// meets no role that fails. Where nothing is live there is none.
func (r *rehearsal) couldFind(ctx context.Context, k kind, path string) (bool, error) {
	if r.before == nil {
		return true, nil
	}
	if r.beforeRoles == nil {
		r.beforeRoles = r.before
		for _, role := range r.published().Roles() {
			doc, err := r.liveDocument(ctx, role.Role, metadata.Targets, r.live.snapshot.Meta()[role.Role+".json"].Version)
			if err != nil {
				return false, fmt.Errorf("rehearsal: %w", err)
			}
			if doc != nil {
				r.beforeRoles = r.beforeRoles.with(metadataFolder+versioned(role.Role, doc), doc.Raw())
			}
		}
	}
	u, err := k.user(r.liveRoot().Raw(), "", r.was)
	if err == nil {
		err = u.refresh(ctx, r.beforeRoles, r.was)
	}
	if err == nil {
		if err = u.find(ctx, path); errors.Is(err, errUnlisted) {
			err = nil
		}
	}
	return err == nil, ctx.Err()
}
