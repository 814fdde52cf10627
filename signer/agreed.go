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
	if s.file != nil {
		m, err := s.recall(ctx)
		if err != nil {
			return repository.Policy{}, err
		}
		p, err := repository.ParsePolicy([]byte(m.Agreed))
		if err != nil { // of another version of this program
			return repository.Policy{}, nil
		}
		return p, nil
	}
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
	if s.file != nil {
		return s.agreeFile(ctx, main)
	}
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

// agreeFile notes the same where there is no clone to note it in.
func (s *session) agreeFile(ctx context.Context, main git.OID) error {
	text := ""
	entry, ok, err := s.git.Lookup(ctx, main, repository.PolicyFile)
	if err != nil {
		return err
	}
	if ok {
		data, err := s.git.Blob(ctx, entry.OID)
		if err != nil {
			return err
		}
		text = string(data)
	}
	return s.remember(ctx, func(m *memory) { m.Agreed = text })
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
