// Package replay tries what a change of a trusted root does to real signatures.
//
// It verifies Sigstore bundles with the trusted root as it was and as it is
// proposed, with the library that Go clients verify with. It asks for what those
// clients ask: a log entry, a time that an observer vouches for and a certificate
// that a CT log has seen. It does not ask who has signed what: that is for whoever
// uses the artifact, and no trusted root changes it.
//
// It trusts neither trusted root, and asks no service and no clock.
package replay

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Result is what became of one bundle.
type Result struct {
	Name          string
	Before, After error // nil where it verifies
}

// Broken reports whether the change takes the bundle's verification away.
func (r Result) Broken() bool { return r.Before == nil && r.After != nil }

// Idle reports whether the bundle says nothing about a change, since it verifies
// with neither.
func (r Result) Idle() bool { return r.Before != nil && r.After != nil }

// Run verifies bundles, by name, with two versions of a trusted root. Results
// stand in the order of the names.
func Run(bundles map[string][]byte, before, after []byte) []Result {
	old, oldErr := verifier(before)
	fresh, freshErr := verifier(after)
	var list []Result
	for _, name := range slices.Sorted(maps.Keys(bundles)) {
		list = append(list, Result{Name: name, Before: try(old, oldErr, bundles[name]), After: try(fresh, freshErr, bundles[name])})
	}
	return list
}

func verifier(data []byte) (*verify.Verifier, error) {
	trusted, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("the trusted root cannot be read: %w", err)
	}
	return verify.NewVerifier(trusted, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
}

// try verifies one bundle. The library is asked about documents that strangers
// wrote; should it panic on one, the bundle does not verify.
func try(v *verify.Verifier, unusable error, data []byte) (err error) {
	if unusable != nil {
		return unusable
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the library panics: %v", p)
		}
	}()
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("the bundle cannot be read: %w", err)
	}
	if content, err := b.VerificationContent(); err != nil {
		return err
	} else if content.Certificate() == nil {
		return errors.New("it is signed with a bare key, about which a trusted root says nothing")
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe()))
	return err
}
