//go:build !cgo

package pkcs11

import "github.com/tufops/tufops/signer"

// Open says that this build cannot load a module.
func Open(spec, _, _ string) (signer.Tokens, error) {
	return nil, &signer.SpecError{Spec: shown(spec), Reason: "needs a build with cgo: this one cannot load PKCS#11 modules"}
}
