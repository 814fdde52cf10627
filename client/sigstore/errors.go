package sigstore

import (
	"fmt"
	"strings"
)

// Step is a part of the proof that a bundle brings.
type Step string

// The steps, in the order in which they are judged.
const (
	Bundle      Step = "bundle"      // it can be read
	Log         Step = "log"         // a transparency log of the trusted root has recorded this signature
	Time        Step = "time"        // somebody of the trusted root says when that was
	Certificate Step = "certificate" // an authority of the trusted root has issued the certificate
	Signature   Step = "signature"   // it verifies
	Subject     Step = "artifact"    // what is signed is this artifact
	CTLog       Step = "ct-log"      // a CT log of the trusted root has seen the certificate
	Identity    Step = "identity"    // the signer is the one that is asked for
)

// Error says at which step a bundle fails to prove what was asked. The steps
// before it hold, but that a key instead of a certificate, or the reverse, is seen
// first of all. Err is the library's reason, or an [*IdentityError].
type Error struct {
	Step Step
	Err  error

	// UnknownLogs are the IDs of the logs that the bundle's entries are from, if
	// the trusted root knows none of them.
	UnknownLogs []string
}

func (e *Error) Error() string {
	why := plain(e.Err)
	switch e.Step {
	case Bundle:
		return fmt.Sprintf("the bundle cannot be used: %s", why)
	case Log:
		if e.UnknownLogs != nil {
			return fmt.Sprintf("the bundle is recorded in logs that the trusted root does not name: log ID %s", strings.Join(e.UnknownLogs, ", "))
		}
		return fmt.Sprintf("the bundle's log entry does not hold: %s", why)
	case Time:
		return fmt.Sprintf("nobody whom the trusted root names says when it was signed: %s", why)
	case Certificate:
		return fmt.Sprintf("the signer's certificate is not issued by an authority of the trusted root that was in use at the time: %s", why)
	case Signature:
		return fmt.Sprintf("the signature does not verify: %s", why)
	case Subject:
		return fmt.Sprintf("the bundle is about another artifact: %s", why)
	case CTLog:
		return fmt.Sprintf("no CT log of the trusted root has seen the signer's certificate: %s", why)
	}
	return why
}

// plain is the text of an error of the library. What it says of JSON holds spaces
// that differ from one build to the next.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "\u00a0", " ") }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *Error) Hint() string {
	switch {
	case e.Step == Bundle:
		return "name the bundle (.sigstore.json) that was published with the artifact, complete and unchanged"
	case e.UnknownLogs != nil:
		return "the bundle is from another Sigstore instance, or from a log that is newer than the trusted root: name the right instance, or bring the trusted root up to date"
	case e.Step == Subject:
		return "look whether artifact and bundle belong together; if they do, the artifact has been altered: do not use it"
	case e.Step == Identity:
		return "do not use the artifact, unless you know this signer and meant to name it"
	case e.Step == Time || e.Step == Certificate || e.Step == CTLog:
		return "do not use the artifact; if its publisher uses another Sigstore instance, name that one's trusted root"
	}
	return "do not use the artifact: artifact or bundle have been altered; report it to whoever publishes them"
}

// IdentityError says that somebody else has signed than was asked for.
type IdentityError struct {
	Policy Policy

	Certificate      bool // it is signed with a certificate, for
	Identity, Issuer string
}

func (e *IdentityError) Error() string {
	by := "a key without a certificate"
	if e.Certificate {
		by = fmt.Sprintf("%q, for whom %q vouches", e.Identity, e.Issuer)
	}
	if e.Policy.Key != nil {
		return fmt.Sprintf("the bundle is signed by %s, and should be by the key with SHA-256 %s", by, e.Policy.Key.Fingerprint())
	}
	return fmt.Sprintf("the bundle is signed by %s, and should be by %q, for whom %q vouches", by, e.Policy.Identity, e.Policy.Issuer)
}

// TrustedRootError says that a trusted_root.json cannot be used.
type TrustedRootError struct{ Err error }

func (e *TrustedRootError) Error() string {
	return fmt.Sprintf("the trusted root cannot be used: %s", plain(e.Err))
}

func (e *TrustedRootError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *TrustedRootError) Hint() string {
	return "get it with tufops-client trusted-root; tufops trusted-root validate says more about a file"
}

// KeyError says that a public key cannot be used.
type KeyError struct{ Err error }

func (e *KeyError) Error() string {
	return fmt.Sprintf("the public key cannot be used: %s", plain(e.Err))
}

func (e *KeyError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *KeyError) Hint() string {
	return "name a file with one ECDSA, RSA or Ed25519 public key that begins with -----BEGIN PUBLIC KEY-----"
}
