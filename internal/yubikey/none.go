//go:build !cgo && !windows

package yubikey

import (
	"context"
	"crypto"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/signer"
)

// Supported reports whether this build can speak with smart cards.
const Supported = false

// Open would choose tokens.
func Open(spec string) (signer.Tokens, error) {
	if _, err := parseSpec(spec); err != nil {
		return nil, err
	}
	return nil, ErrNoSupport
}

// List would look for tokens.
func List(context.Context) ([]Device, error) { return nil, ErrNoSupport }

// Attest would ask a token where its key was made.
func Attest(context.Context, uint32) (attestation.Certificates, error) {
	return attestation.Certificates{}, ErrNoSupport
}

// Generate would make a key.
func Generate(context.Context, uint32, Setup) (crypto.PublicKey, error) { return nil, ErrNoSupport }
