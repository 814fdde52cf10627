// Package kms is what the adapters for key services have in common: which
// schemes there are and what is sent for each, how often a service is asked, what
// can go wrong, and that no signature is handed on that does not verify.
//
// It trusts no answer of a service, and holds no credentials: the vendors'
// libraries find those, each in its own way. It never logs.
package kms

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// A Remote is one key as its service has it. Each method makes one request, or
// two where the service wants to be asked for a login first, may be called again,
// and ends with ctx. An error is a *[Failure]; another is taken for a service
// that does not answer.
type Remote interface {
	// Public reads the public key, and the schemes that the key signs in: the one
	// that new metadata should list first.
	Public(ctx context.Context) (crypto.PublicKey, []string, error)
	// Sign signs a message that [Message] made.
	Sign(ctx context.Context, scheme string, message []byte) ([]byte, error)
	// Inspect is that of [onlinesign.Inspector].
	Inspect(ctx context.Context) (onlinesign.Inspection, error)
	// Fix is what a person can do about a failure. operation is that of an
	// [onlinesign.KeyError].
	Fix(operation string, cause Cause) string
}

// Open reads the public key of a remote key. scheme may be empty, for the one
// that the key prefers. Every error is an *[onlinesign.KeyError], or that of ctx.
//
// What it returns is an [onlinesign.Inspector] as well.
func Open(ctx context.Context, uri, scheme string, remote Remote, patience Patience) (metadata.Signer, error) {
	k := &key{uri: uri, scheme: scheme, remote: remote, patience: patience}
	var schemes []string
	err := k.ask(ctx, "read", func(ctx context.Context) (err error) {
		k.public, schemes, err = remote.Public(ctx)
		return err
	})
	if unread := (*onlinesign.KeyError)(nil); errors.Is(err, onlinesign.ErrDenied) && errors.As(err, &unread) {
		unread.Blind = k.blind
	}
	if err != nil {
		return nil, err
	}
	if k.scheme == "" && len(schemes) > 0 {
		k.scheme = schemes[0]
	}
	if !slices.Contains(schemes, k.scheme) {
		return nil, k.failed("read", &Failure{Cause: Unsuited, Detail: fmt.Sprintf("it signs in %s, and the metadata lists %s", list(schemes), k.scheme)})
	}
	if !fits(k.public, k.scheme) {
		return nil, k.failed("read", &Failure{Cause: Corrupt, Detail: fmt.Sprintf("it is said to sign in %s, and is of type %T", k.scheme, k.public)})
	}
	return k, nil
}

func list(schemes []string) string {
	if len(schemes) == 0 {
		return "no scheme that TUF knows"
	}
	return strings.Join(schemes, ", ")
}

// key is an open key. It is safe for concurrent use if its remote is.
type key struct {
	uri, scheme string
	remote      Remote
	public      crypto.PublicKey
	patience    Patience
}

func (k *key) Public() crypto.PublicKey { return k.public }

// Sign may ask the service several times: a signature that nobody has received
// does no harm.
func (k *key) Sign(ctx context.Context, payload []byte) (sig []byte, err error) {
	message := Message(k.scheme, payload)
	err = k.ask(ctx, "sign with", func(ctx context.Context) error {
		if sig, err = k.remote.Sign(ctx, k.scheme, message); err != nil {
			return err
		}
		if !Verify(k.public, k.scheme, payload, sig) {
			return &Failure{Cause: Corrupt, Detail: "the signature does not verify with the public key that the service gave"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// blind is Blind of an [onlinesign.KeyError]. What comes is no use without the
// public part: it is thrown away, and that it came is the answer.
func (k *key) blind(ctx context.Context, payload []byte) error {
	scheme := cmp.Or(k.scheme, P256) // permission is asked before all else
	return k.ask(ctx, "sign with", func(ctx context.Context) error {
		_, err := k.remote.Sign(ctx, scheme, Message(scheme, payload))
		return err
	})
}

func (k *key) Inspect(ctx context.Context) (i onlinesign.Inspection, err error) {
	err = k.ask(ctx, "inspect", func(ctx context.Context) error {
		i, err = k.remote.Inspect(ctx)
		return err
	})
	return i, err
}

func (k *key) ask(ctx context.Context, operation string, request func(context.Context) error) error {
	err := k.patience.Do(ctx, request)
	if failure := (*Failure)(nil); errors.As(err, &failure) {
		return k.failed(operation, failure)
	}
	return err
}

func (k *key) failed(operation string, failure *Failure) error {
	return &onlinesign.KeyError{URI: k.uri, Operation: operation, Fix: k.remote.Fix(operation, failure.Cause), Err: failure}
}

// Patience is how long a service is waited for. All in all a request takes at
// most Tries*Timeout, and the pauses: less than 3*Pause*2^(Tries-1).
type Patience struct {
	Tries   int           // including the first; 0: 5
	Timeout time.Duration // of one try; 0: 20 s
	Pause   time.Duration // about that before the second try, then doubling, with jitter; 0: 1 s
}

// Do makes a request until it succeeds, or fails in a way that another try does
// not change, or patience ends. Its error is a *[Failure], or that of ctx.
func (p Patience) Do(ctx context.Context, request func(context.Context) error) error {
	pause := backoff.NewExponentialBackOff() // with jitter
	pause.InitialInterval, pause.Multiplier = or(p.Pause, time.Second), 2
	for try := 1; ; try++ {
		err := once(ctx, or(p.Timeout, 20*time.Second), request)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		failure := &Failure{Cause: Unavailable}
		if !errors.As(err, &failure) {
			failure.Detail = Line(err.Error())
		}
		if !failure.again() || try >= or(p.Tries, 5) {
			failure.tries = try
			return failure
		}
		timer := time.NewTimer(pause.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Late is the failure of a service that has not answered in its time.
func Late() *Failure { return &Failure{Cause: Unavailable, Detail: "no answer in time"} }

func once(ctx context.Context, timeout time.Duration, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := request(ctx)
	if err != nil && ctx.Err() != nil {
		return Late()
	}
	return err
}

func or[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// Cause is why a service did not do what it was asked for, as far as it changes
// what to do about it.
type Cause string

// The causes. What a service says that fits none of them is Refused.
const (
	NoCredentials Cause = "no credentials that the service accepts"
	Denied        Cause = "permission denied"
	NotFound      Cause = "not found"
	Disabled      Cause = "disabled or destroyed"
	Unsuited      Cause = "another kind of key" // signs not at all, or in other schemes
	RateLimited   Cause = "too many requests"
	Unavailable   Cause = "the service does not answer"
	Corrupt       Cause = "a wrong answer" // damaged, of another key, or forged
	Refused       Cause = "the service refuses"
)

// Failure is how a request failed.
type Failure struct {
	Cause  Cause
	Detail string // what the service says; one line, without secrets
	tries  int
}

func (f *Failure) Error() string {
	text := string(f.Cause)
	if f.tries > 1 {
		text += fmt.Sprintf(" (%d tries)", f.tries)
	}
	if f.Detail != "" {
		text += ": " + f.Detail
	}
	return text
}

// Unwrap is [onlinesign.ErrDenied] where that is the cause. What the vendor's
// library returned is not kept: it may print more than a person should see.
func (f *Failure) Unwrap() error {
	if f.Cause == Denied {
		return onlinesign.ErrDenied
	}
	return nil
}

// NonRetriable tells Azure's client that it is not the one to ask again.
func (f *Failure) NonRetriable() {}

// again reports whether asking again may help.
func (f *Failure) again() bool {
	return f.Cause == RateLimited || f.Cause == Unavailable || f.Cause == Corrupt
}

// maxLine is how much of a service's words is shown.
const maxLine = 300

// Line makes one line of what a service says.
func Line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if letters := []rune(text); len(letters) > maxLine {
		text = string(letters[:maxLine]) + "…"
	}
	return text
}

// LogIn is what to do where there is no login: which action gives a workflow one,
// and which command a person.
func LogIn(action, command string) string {
	return "log in: in a workflow with " + action + ", on a laptop with " + command + "; one that has expired is made anew in the same way"
}

// Usual is what to do about causes for which it is the same at every service;
// empty for the others.
func Usual(cause Cause) string {
	switch cause {
	case RateLimited:
		return "run the same again in some minutes; if it goes on, see who else uses the key, and the quota"
	case Unavailable:
		return "run the same again; see whether the service has an outage, and whether this machine reaches it"
	case Refused:
		return "what it says is none of the refusals that tufops knows: see the service's own log of requests, and whether the key can be used from elsewhere"
	case Corrupt:
		return "nothing of it was used; run the same again, and if it goes on ask the people of the service"
	}
	return ""
}

// Secrets are what a login gave and no error may show, even where a service
// repeats what it was shown. The zero value knows none. It is safe for concurrent
// use.
type Secrets struct {
	mu   sync.Mutex
	list []string
}

// Keep notes a secret.
func (s *Secrets) Keep(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range secrets {
		if secret != "" && !slices.Contains(s.list, secret) {
			s.list = append(s.list, secret)
		}
	}
}

// Line is [Line] of a text without the secrets.
func (s *Secrets) Line(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.list {
		text = strings.ReplaceAll(text, secret, "[hidden]")
	}
	return Line(text)
}
