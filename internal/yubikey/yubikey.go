// Package yubikey signs with YubiKeys, and makes keys on them: the PIV
// application's slot 9c, over PC/SC. It implements [signer.Tokens] and
// [signer.Attester].
//
// It trusts the system's smart card service to carry commands, and nothing else:
// a token is found anew by its serial each time, its key is compared before
// anybody is asked for a PIN, and a signature is verified before it is returned.
// It never presents a PIN twice, and never one that it was not given.
//
// A token is held only while commands run, not while a person thinks, so it can
// be removed and inserted, and used by other programs, in between.
//
// Where the build has neither cgo nor Windows there is no PC/SC: every function
// fails with [ErrNoSupport].
package yubikey

import (
	"crypto"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/signer"
)

// Scheme is how a key SPEC begins: yubikey, or yubikey:SERIAL.
const Scheme = "yubikey"

const (
	kind  = "YubiKey"
	slot9 = attestation.Slot9c
)

// What a YubiKey has from the factory.
const (
	FactoryPIN = "123456"
	FactoryPUK = "12345678"
)

// The length of a PIN and of a PUK, in bytes.
const (
	minPIN = 6
	maxPIN = 8
)

// Device is a token, as it can be seen without a PIN.
type Device struct {
	Serial     uint32
	Firmware   attestation.Version
	FormFactor attestation.FormFactor // zero where it does not say

	// The key in slot 9c. Public is nil if there is none.
	Public      crypto.PublicKey
	PINPolicy   attestation.Policy // empty where the token does not say
	TouchPolicy attestation.Policy
	Imported    bool // the key was not made on the token, or nothing shows that it was

	PINTries int
	Factory  Factory

	// Problem says why the token cannot be used, such as [signer.BusyError]; then
	// all else is zero.
	Problem error
}

// String names the device as a person would: "YubiKey 12345678".
func (d Device) String() string {
	if d.Serial == 0 {
		return kind
	}
	return fmt.Sprintf("%s %d", kind, d.Serial)
}

// Factory says which secrets are still those that every new token has.
type Factory struct{ PIN, PUK, ManagementKey Answer }

// Answer is what a token says, if it does: firmware before 5.3 does not.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Setup is how a key is made.
type Setup struct {
	// P384 asks for a key on that curve, not on P-256.
	P384 bool
	// Overwrite says that the key that is there may be lost.
	Overwrite bool

	// PIN and PUK are those that the token has now, NewPIN and NewPUK what they
	// become; empty: they stay. The factory's do not stay.
	PIN, NewPIN string
	PUK, NewPUK string
	// ManagementKey is the one that the token has now; nil: the factory's, or the
	// one that it keeps for whoever knows the PIN. The factory's is replaced by a
	// random one, which the token then keeps so.
	ManagementKey []byte
}

// ErrNoSupport says that this program cannot speak with smart cards.
var ErrNoSupport error = noSupport{}

type noSupport struct{}

func (noSupport) Error() string { return "this program was built without PC/SC support" }

// Hint says what to do.
func (noSupport) Hint() string {
	return "use a release, or build it with cgo: a C compiler, and on Linux libpcsclite-dev and pkg-config"
}

// ErrNoToken says that no YubiKey is there.
var ErrNoToken error = noToken{}

type noToken struct{}

func (noToken) Error() string { return "no YubiKey is inserted" }

// Hint says what to do.
func (noToken) Hint() string { return "insert it and run the same command again" }

// ServiceError says that the system's smart card service does not answer.
type ServiceError struct{ Err error }

func (e *ServiceError) Error() string {
	return fmt.Sprintf("the smart card service does not answer: %v", e.Err)
}

func (e *ServiceError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ServiceError) Hint() string {
	return "start it: on Linux it is pcscd (apt-get install pcscd, then systemctl start pcscd.socket)"
}

// CommError says that a token is there and could not be spoken with.
type CommError struct {
	Device string
	Err    error
}

func (e *CommError) Error() string { return fmt.Sprintf("speak with %s: %v", e.Device, e.Err) }

func (e *CommError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CommError) Hint() string {
	return "take it out, insert it again, and run the same command again"
}

// SlotError says that slot 9c does not hold what was looked for.
type SlotError struct {
	Device string
	Reason string
}

func (e *SlotError) Error() string { return e.Device + ": " + e.Reason }

// Hint says what to do.
func (e *SlotError) Hint() string { return "see what the tokens hold: tufops-sign keys list" }

// errEmpty is the problem of a token without a key, told beside its name.
var errEmpty = errors.New("its slot 9c is empty: make a key with tufops-sign keys generate")

// OverwriteError says that making a key would destroy one.
type OverwriteError struct{ Device Device }

func (e *OverwriteError) Error() string {
	return fmt.Sprintf("%s holds a key in slot 9c, which would be lost for good", e.Device)
}

// Hint says what to do.
func (e *OverwriteError) Hint() string {
	return fmt.Sprintf("use another token, or give it up: --overwrite %d", e.Device.Serial)
}

// SecretError says that a PIN, PUK or management key is missing or of no use.
type SecretError struct {
	Device string
	Which  string // PIN, PUK or management key
	Reason string
	Advice string
}

func (e *SecretError) Error() string { return fmt.Sprintf("%s of %s: %s", e.Which, e.Device, e.Reason) }

// Hint says what to do.
func (e *SecretError) Hint() string { return e.Advice }

// parseSpec reads a key SPEC; serial is 0 if none is named.
func parseSpec(spec string) (serial uint32, err error) {
	if spec == Scheme {
		return 0, nil
	}
	text, ok := strings.CutPrefix(spec, Scheme+":")
	n, err := strconv.ParseUint(text, 10, 32)
	if !ok || err != nil || n == 0 {
		return 0, &signer.SpecError{Spec: spec, Reason: "is not of the form yubikey or yubikey:SERIAL"}
	}
	return uint32(n), nil
}

// checkSecret says why a PIN or PUK can be none; empty if it can. The token pads
// what is shorter with a byte that no PIN has.
func checkSecret(text string) string {
	switch n := len(text); {
	case n < minPIN:
		return fmt.Sprintf("it has %d characters, and %d at least are needed", n, minPIN)
	case n > maxPIN:
		return fmt.Sprintf("it has %d characters, and %d at most are taken", n, maxPIN)
	}
	for _, b := range []byte(text) {
		if b < ' ' || b > '~' {
			return "it has characters other than letters, digits and signs of ASCII"
		}
	}
	return ""
}
