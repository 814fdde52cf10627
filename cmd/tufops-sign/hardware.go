package main

import (
	"strings"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/pkcs11"
	"github.com/tufops/tufops/internal/yubikey"
	"github.com/tufops/tufops/signer"
)

// machine is where the program runs: its streams and environment, and what is
// plugged in.
type machine struct {
	cli.Env
	// tokens opens the hardware keys that a SPEC names. top is the checkout, from
	// which nothing may be loaded, and module the PKCS#11 module of the
	// configuration.
	tokens func(spec, top, module string) (signer.Tokens, error)
}

func (m machine) openTokens(top string) func(spec, module string) (signer.Tokens, error) {
	return func(spec, module string) (signer.Tokens, error) { return m.tokens(spec, top, module) }
}

// openTokens chooses the adapter.
func openTokens(spec, top, module string) (signer.Tokens, error) {
	if strings.HasPrefix(spec, "pkcs11:") {
		return pkcs11.Open(spec, module, top)
	}
	return yubikey.Open(spec)
}
