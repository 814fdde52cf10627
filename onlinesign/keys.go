package onlinesign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// Keys is where online keys live.
type Keys interface {
	// Resolve finds the private key that a URI names, as it stands in a key
	// object's x-tuf-on-ci-online-uri. It may block on a network and must end
	// with ctx. Nothing is signed yet.
	//
	// scheme is the signature scheme that the key object lists, for services
	// whose keys can sign in several; empty: whichever the service prefers.
	//
	// An error should be a *[KeyError]. The caller compares the key's public
	// part with the key object, and checks every signature: Resolve need not.
	Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error)
}

// Services finds online keys by the scheme of their URI: what stands before the
// first colon. It is itself [Keys].
type Services map[string]Keys

// Resolve asks the service of the URI's scheme. Where there is none the error is
// a *[NoServiceError].
func (s Services) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	kind, _, ok := strings.Cut(uri, ":")
	if service := s[kind]; ok && service != nil {
		return service.Resolve(ctx, uri, scheme)
	}
	e := &NoServiceError{URI: uri}
	for name := range s {
		e.Known = append(e.Known, name+":")
	}
	slices.Sort(e.Known)
	return nil, e
}

// NoServiceError says that this build cannot reach an online key.
type NoServiceError struct {
	URI   string
	Known []string // schemes that it can, with their colon, sorted
}

func (e *NoServiceError) Error() string {
	return fmt.Sprintf("find key %s: this build of tufops has no key service for it", e.URI)
}

// Hint says what to do.
func (e *NoServiceError) Hint() string {
	return fmt.Sprintf("use a build that knows it (this one knows %s), or replace the key: tufops-sign delegate EVENT timestamp --online-key URI", strings.Join(e.Known, " "))
}

// KeyError says that an online key could not be used.
type KeyError struct {
	URI       string
	Operation string // "find", "read", "sign with"
	Fix       string // what a person can do
	Err       error
	// Blind, where the public part may not be read, asks for a signature all the same.
	Blind func(ctx context.Context, payload []byte) error
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s key %s: %v", e.Operation, e.URI, e.Err) }

func (e *KeyError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *KeyError) Hint() string { return e.Fix }

// MismatchError says that a service holds another key than the one that the
// metadata lists. Nothing was signed.
type MismatchError struct {
	URI   string
	KeyID string
	// Listed and Found are fingerprints: the hex SHA-256 of the public key.
	Listed, Found string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("compare key %s: the metadata lists a public key with SHA-256 %s (keyid %s), but the key there has %s", e.URI, e.Listed, e.KeyID, e.Found)
}

// Hint says what to do.
func (e *MismatchError) Hint() string {
	return "put the listed key back in its place, or have the new one signed for: tufops-sign delegate EVENT timestamp --online-key URI"
}

// errNotOnline says that a key has no online URI.
var errNotOnline = errors.New("the key has no online URI")

// keyring signs with online keys. One run asks a service for each key once, and
// for one signature per key and content.
type keyring struct {
	keys       Keys
	patience   time.Duration
	after      func(time.Duration, func()) (stop func() bool)
	signers    map[string]resolved // by URI and scheme
	signatures map[string][]byte   // by public key, scheme and payload
}

type resolved struct {
	signer metadata.Signer
	err    error
}

// Patience is how long one call of a key service may take, unless
// [Options.Patience] says otherwise. A service that does not answer must not keep
// the others from signing.
const Patience = time.Minute

func newKeyring(keys Keys, patience time.Duration) *keyring {
	if keys == nil {
		keys = Services(nil)
	}
	return &keyring{keys: keys, patience: cmp.Or(patience, Patience), after: after, signers: map[string]resolved{}, signatures: map[string][]byte{}}
}

func after(d time.Duration, do func()) (stop func() bool) { return time.AfterFunc(d, do).Stop }

func (o Options) keyring() *keyring {
	k := newKeyring(o.Keys, o.Patience)
	if o.after != nil {
		k.after = o.after
	}
	return k
}

// sign is a signature of one of the keys of a delegation over payload. It has
// been checked with the key as the metadata has it.
func (k *keyring) sign(ctx context.Context, key *metadata.Key, payload []byte) ([]byte, error) {
	name := key.Fingerprint() + " " + key.Scheme + " " + string(payload)
	if sig, ok := k.signatures[name]; ok {
		return sig, nil // the same key under another keyid
	}
	if key.OnlineURI == "" {
		return nil, errNotOnline
	}
	if key.Unusable != nil {
		return nil, &KeyError{URI: key.OnlineURI, Operation: "use", Err: key.Unusable,
			Fix: "have a key of a supported type signed for: tufops-sign delegate EVENT timestamp --online-key URI"}
	}
	signer, err := k.resolve(ctx, key)
	if err != nil {
		return nil, err
	}
	var sig []byte
	err = k.call(ctx, key.OnlineURI, "sign with", func(ctx context.Context) (err error) {
		sig, err = signer.Sign(ctx, payload)
		return err
	})
	if err != nil {
		if ctx.Err() == nil && !errors.As(err, new(*KeyError)) {
			err = &KeyError{URI: key.OnlineURI, Operation: "sign with", Err: err, Fix: "look at the key service, then run the same again"}
		}
		return nil, err
	}
	if err := key.Verify(payload, sig); err != nil {
		return nil, &KeyError{URI: key.OnlineURI, Operation: "sign with", Err: fmt.Errorf("what it answered was thrown away: %w", err),
			Fix: "see that the service signs with the algorithm " + key.Scheme + " and with the listed key version, then run the same again"}
	}
	k.signatures[name] = sig
	return sig, nil
}

// call asks a service and ends what takes too long. The context of a call that went
// well stays alive, as clients of some services keep it.
func (k *keyring) call(ctx context.Context, uri, operation string, ask func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	slow := fmt.Errorf("no answer within %v", k.patience)
	stop := k.after(k.patience, func() { cancel(slow) })
	defer stop()
	err := ask(ctx)
	if err != nil && errors.Is(context.Cause(ctx), slow) {
		err = &KeyError{URI: uri, Operation: operation, Err: slow, Fix: "see whether the key service can be reached from here, then run the same again"}
	}
	return err
}

func (k *keyring) resolve(ctx context.Context, key *metadata.Key) (metadata.Signer, error) {
	name := key.OnlineURI + " " + key.Scheme
	r, ok := k.signers[name]
	if !ok {
		r.err = k.call(ctx, key.OnlineURI, "find", func(ctx context.Context) (err error) {
			r.signer, err = k.keys.Resolve(ctx, key.OnlineURI, key.Scheme)
			if err == nil && r.signer == nil {
				err = &KeyError{URI: key.OnlineURI, Operation: "find", Err: errors.New("the service answered with no key"), Fix: "look at the key service, then run the same again"}
			}
			return err
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		k.signers[name] = r
	}
	if r.err != nil {
		return nil, r.err
	}
	found, err := metadata.NewKey(r.signer.Public(), "", "")
	if err != nil {
		return nil, &KeyError{URI: key.OnlineURI, Operation: "compare", Err: err, Fix: (&MismatchError{}).Hint()}
	}
	if found.Fingerprint() != key.Fingerprint() {
		return nil, &MismatchError{URI: key.OnlineURI, KeyID: key.ID, Listed: key.Fingerprint(), Found: found.Fingerprint()}
	}
	return r.signer, nil
}
