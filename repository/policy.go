package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/tufops/tufops/internal/git"
)

// PolicyFile is where maintainers decide what the rules leave open. It stands at
// the top of the git repository and is read from the tip of the base branch,
// never from an event.
const PolicyFile = ".tufops.yaml"

// maxPolicy bounds the policy file, in bytes.
const maxPolicy = 100_000

// PolicyError says that the policy file of a commit cannot be used.
type PolicyError struct {
	Commit git.OID
	Err    error
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("%s at commit %.10s: %v", PolicyFile, e.Commit, e.Err)
}

func (e *PolicyError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *PolicyError) Hint() string {
	return "fix the file on main; known keys are repositories and legacy-keyids"
}

// policyFile is the form of [PolicyFile].
type policyFile struct {
	Repositories []string `yaml:"repositories"`  // folders of the TUF repositories in this git repository
	LegacyKeyIDs string   `yaml:"legacy-keyids"` // allowed, or refused (default)
}

// Policy reads the policy file at a commit; without one it is the strict
// default. Keys that are not known are errors: a misspelt rule would else be no
// rule.
func (r *Repository) Policy(ctx context.Context, commit git.OID) (Policy, error) {
	var p Policy
	fail := func(err error) (Policy, error) { return Policy{}, &PolicyError{Commit: commit, Err: err} }
	entry, ok, err := r.Git.Lookup(ctx, commit, PolicyFile)
	if err != nil || !ok {
		return p, err
	}
	if !entry.Mode.IsRegular() {
		return fail(errors.New("it is not a regular file"))
	}
	data, err := r.Git.BlobLimit(ctx, entry.OID, maxPolicy)
	if err != nil {
		return fail(err)
	}
	var f policyFile
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fail(errors.New("it holds more than one document"))
	}
	switch f.LegacyKeyIDs {
	case "", "refused":
	case "allowed":
		p.AllowLegacyKeyIDs = true
	default:
		return fail(fmt.Errorf("legacy-keyids is %q, not allowed or refused", f.LegacyKeyIDs))
	}
	for _, dir := range f.Repositories {
		clean := path.Clean(dir)
		if !filepath.IsLocal(dir) {
			return fail(fmt.Errorf("repositories lists %q, which is no folder of this git repository", dir))
		}
		if clean == "." {
			clean = ""
		}
		if slices.Contains(p.Repositories, clean) {
			return fail(fmt.Errorf("repositories lists %q twice", dir))
		}
		p.Repositories = append(p.Repositories, clean)
	}
	if len(p.Repositories) > 0 && !slices.Contains(p.Repositories, r.dir) {
		return fail(fmt.Errorf("the TUF repository in folder %q is not one of repositories (%q): name one with --tuf-dir", r.dir, f.Repositories))
	}
	return p, nil
}

// others are the folders of the other TUF repositories in the same git
// repository.
func (p Policy) others(dir string) []string {
	return slices.DeleteFunc(slices.Clone(p.Repositories), func(d string) bool { return d == dir })
}
