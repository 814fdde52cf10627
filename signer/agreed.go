package signer

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

// agreedRef is the commit of main whose policy this clone's person has last
// signed under. It is never pushed.
const agreedRef = "refs/tufops/agreed"

// agreed is the policy that this person has last signed under. Where this clone
// knows of none it is the strict default: everything that is lowered is then new.
func (s *session) agreed(ctx context.Context) (repository.Policy, error) {
	commit, ok, err := s.git.Ref(ctx, agreedRef)
	if err != nil || !ok {
		return repository.Policy{}, err
	}
	p, err := s.Repository.Policy(ctx, commit)
	if errors.As(err, new(*repository.PolicyError)) || errors.As(err, new(*git.MissingObjectError)) {
		return repository.Policy{}, nil
	}
	return p, err
}

// agree notes that this person signs under the policy at a commit of main, once
// they have been shown it and before anything is pushed: whoever is stopped in
// between is shown it once more at most.
func (s *session) agree(ctx context.Context, main git.OID, policy repository.Policy) error {
	old, known, err := s.git.Ref(ctx, agreedRef)
	if err != nil || old == main || !known && len(policy.Rules) == 0 {
		return err
	}
	err = s.git.UpdateRef(ctx, agreedRef, main, old)
	if errors.As(err, new(*git.StaleRefError)) { // another run of this person's
		return nil
	}
	return err
}

// reviewLowered names what main's policy has lowered or silenced since this
// person signed last.
func reviewLowered(p *page, now, before repository.Policy) {
	first := true
	for _, name := range slices.Sorted(maps.Keys(now.Rules)) {
		d := now.Rules[name]
		if d.Level == repository.LevelError || d == before.Rules[name] {
			continue
		}
		if first {
			p.line("  since you last signed here, .tufops.yaml on main")
			first = false
		}
		what := "lowers " + name + " to a warning"
		if d.Level == repository.LevelOff {
			what = "silences " + name
		}
		p.fold(8, "    %s: %s", what, d.Reason)
	}
}
