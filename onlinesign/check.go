package onlinesign

import (
	"context"
	"errors"
)

// ErrDenied says that a key service, or the login before it, knows who asks and
// refuses: what has to be true of every identity that is not to sign. A
// *[KeyError] of a service wraps it for that and for nothing else. No credentials
// at all, a key that is not there, a network that fails or a rate limit are no
// denial.
var ErrDenied = errors.New("permission denied")

// Inspector is what a signer that [Keys] resolve may be as well: it tells what
// only the service knows about its key. A signer that is none is checked by what
// it does.
type Inspector interface {
	// Inspect asks the service; it signs and changes nothing. It needs no permission
	// that signing does not: what the service does not tell this identity stays
	// empty, and is no error. An error is a *[KeyError], and means that the service
	// could not be asked.
	Inspect(ctx context.Context) (Inspection, error)
}

// Inspection is what a service tells about the key that it signs with. What is
// empty is not known.
type Inspection struct {
	// Version is the version of the key that signs, as the service writes it in a
	// URI. Empty where the keys of the service have none.
	Version string

	// Algorithm is what the key signs with, in the service's words. Protection is
	// where it is: "HSM", "software".
	Algorithm, Protection string

	// Excess are the permissions, in the service's words, that this identity has and
	// online signing does not need: whatever goes beyond signing with the key and
	// reading its public part. Empty and Told: there are none of those in Asked.
	Excess []string

	// Told says that the service has answered what this identity may do, and Asked
	// what it was asked about. Where it has not, Untold is why, in a sentence that
	// goes into a report: "AWS KMS does not tell a caller its permissions".
	Told   bool
	Asked  []string
	Untold string
}
