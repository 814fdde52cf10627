package signer

import (
	"context"
	"crypto"
	"fmt"
	"strings"
)

// Tokens are the hardware keys that one key SPEC selects: yubikey[:SERIAL], or a
// pkcs11: URI. An adapter implements it; calls come one at a time.
//
// Nothing is remembered between calls but the SPEC: people plug and unplug, so
// each call finds the device anew, by its serial.
type Tokens interface {
	// List returns the keys on the devices that are there now, in an order that
	// does not depend on the sockets they are plugged into. It needs no PIN, no
	// touch, and changes nothing. A device without a key in the signing slot, or
	// one that cannot be read, is listed too, with the reason in Problem. That
	// none is there is no error; an error says why none could be looked for.
	List(ctx context.Context) ([]Token, error)

	// Sign signs the payload itself (it does the hashing) as
	// [metadata.Signer] does, with the key of a Token that List returned. It fails
	// before it asks for the PIN if that device holds another key now.
	//
	// It asks p for the PIN once at most, and only if the device wants one. A PIN
	// that no such device could have (too short, too long) is refused as a
	// *WrongPINError and not sent, so that it costs no try. Nothing is tried twice.
	//
	// Errors, anywhere in the chain: *WrongPINError, *BlockedPINError, *TouchError,
	// *RemovedError, *BusyError, and what p or ctx returned.
	Sign(ctx context.Context, t Token, payload []byte, p Prompt) ([]byte, error)

	// Wait returns once the device of t is there, at once if it is; with the
	// context's error if that ends first.
	Wait(ctx context.Context, t Token) error
}

// Attester is implemented by Tokens whose devices can prove where a key was made.
type Attester interface {
	// Attest returns the files that prove it, by name, as they stand in git below
	// keys/<sha256 of the public key>/. It needs no PIN. A key that was not made on
	// the device has no proof: that is an error, and says so.
	Attest(ctx context.Context, t Token) (map[string][]byte, error)
}

// Prompt is how a device speaks with the person while it signs.
type Prompt interface {
	// PIN returns the PIN of a device that has so many tries left; -1 where it
	// does not say.
	PIN(ctx context.Context, t Token, tries int) (string, error)
	// Touch says that the device waits for a touch from now on.
	Touch(t Token)
}

// Token is one key on one device, as it can be seen without a PIN.
type Token struct {
	Kind   string           // what people call such a device: "YubiKey", or its label
	Serial string           // tells devices of a kind apart
	Slot   string           // where on the device the key is: "9c", or "id 02"
	Public crypto.PublicKey // nil where Problem says why
	// Problem says why the key cannot be used: an empty slot, a device that
	// another program holds.
	Problem error
	// Doubts are what speaks against trusting the key with a signature, one
	// sentence each: that it signs without a PIN, say. They refuse nothing.
	Doubts []string
}

// String names the device as a person would: "YubiKey 12345678".
func (t Token) String() string { return strings.TrimSpace(t.Kind + " " + t.Serial) }

// WrongPINError says that a device refused a PIN, or that no such device could
// have it.
type WrongPINError struct {
	Token  Token
	Tries  int    // left; -1 where the device does not say
	Reason string // why it was not even sent; empty where the device refused it
}

func (e *WrongPINError) Error() string {
	what := "wrong PIN for " + e.Token.String()
	if e.Reason != "" {
		what = "not a PIN of " + e.Token.String() + " (" + e.Reason + ")"
	}
	if left := triesLeft(e.Tries); left != "" {
		what += ", " + left
	}
	return what
}

// Hint says what to do.
func (e *WrongPINError) Hint() string {
	return "look the PIN up before you run the same command again: after the last try the device blocks it"
}

// triesLeft says how many tries are left; empty where that is not known.
func triesLeft(n int) string {
	switch {
	case n < 0:
		return ""
	case n == 1:
		return "1 try left"
	}
	return fmt.Sprintf("%d tries left", n)
}

// BlockedPINError says that a device takes no PIN any more.
type BlockedPINError struct{ Token Token }

func (e *BlockedPINError) Error() string {
	return "the PIN of " + e.Token.String() + " is blocked after too many wrong ones"
}

// Hint says what to do.
func (e *BlockedPINError) Hint() string {
	if e.Token.Kind == "YubiKey" {
		return "set a new PIN with the PUK: ykman --device " + e.Token.Serial + " piv access unblock-pin; your key stays as it is"
	}
	return "whoever set the device up can unblock it with the security officer's PIN"
}

// TouchError says that a device waited for a touch in vain.
type TouchError struct{ Token Token }

func (e *TouchError) Error() string { return e.Token.String() + " saw no touch" }

// Hint says what to do.
func (e *TouchError) Hint() string {
	return "run the same command again, and touch the metal of the device while it blinks"
}

// RemovedError says that a device is not there any more.
type RemovedError struct{ Token Token }

func (e *RemovedError) Error() string { return e.Token.String() + " was removed" }

// Hint says what to do.
func (e *RemovedError) Hint() string { return "insert it and run the same command again" }

// BusyError says that another program holds a device.
type BusyError struct {
	Token Token
	Err   error
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s is in use by another program: %v", e.Token, e.Err)
}

func (e *BusyError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *BusyError) Hint() string {
	return "close what else uses it (gpg's scdaemon, an agent, a browser) and run the same command again"
}
