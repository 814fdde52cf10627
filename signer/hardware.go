package signer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// maxAbsence bounds how long a command waits for a token that was removed while
// it was to sign.
const maxAbsence = 5 * time.Minute

// onToken signs with a key on a device, and speaks with the person while it
// does.
type onToken struct {
	s      *session
	tokens Tokens
	token  Token
}

func (k *onToken) Public() crypto.PublicKey { return k.token.Public }

// Sign asks for the PIN of the device if it is not known to be right from an
// earlier signature of this run. Where a person is asked, a PIN that was refused
// is asked for again once they have seen how many tries are left, and a device
// that was removed is waited for. Nothing else is tried again.
func (k *onToken) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	for {
		p := &prompt{s: k.s}
		sig, err := k.tokens.Sign(ctx, k.token, payload, p)
		var wrong *WrongPINError
		var gone *RemovedError
		switch {
		case err == nil:
			if p.given != "" {
				k.s.pins[k.token.device()] = p.given
			}
			return sig, nil
		case errors.As(err, &wrong):
			delete(k.s.pins, k.token.device())
			if k.s.Person == nil || k.s.PIN != "" || wrong.Tries == 0 {
				return nil, err
			}
			k.s.tell(wrong.Error())
		case errors.As(err, &gone):
			if k.s.Person == nil {
				return nil, err
			}
			k.s.tell(gone.Error() + ": insert it again, or end with Ctrl-C")
			wait, stop := context.WithTimeout(ctx, maxAbsence)
			waited := k.tokens.Wait(wait, k.token)
			stop()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if waited != nil {
				return nil, fmt.Errorf("%w, and was not inserted again: %w", err, waited)
			}
		default:
			return nil, err
		}
	}
}

// device tells whether two tokens are keys on one device.
func (t Token) device() string { return t.Kind + "\x00" + t.Serial }

// prompt is one conversation of a device with the person.
type prompt struct {
	s     *session
	given string
}

// ErrNoPIN says that the person gave no PIN.
var ErrNoPIN error = noPIN{}

type noPIN struct{}

func (noPIN) Error() string { return "no PIN was given" }

// Hint says what to do.
func (noPIN) Hint() string { return "run the same command again; an empty answer costs no try" }

// PIN is the one that the device took before, TUFOPS_PIN, or what the person
// answers.
func (p *prompt) PIN(ctx context.Context, t Token, tries int) (string, error) {
	pin, known := p.s.pins[t.device()]
	switch {
	case known:
	case p.s.PIN != "":
		pin = p.s.PIN
	case p.s.Person == nil:
		return "", &NoPassphraseError{Key: t.String(), PIN: true}
	default:
		question := "PIN of " + t.String()
		if left := triesLeft(tries); tries == 1 {
			question += " (" + left + ", then it is blocked)"
		} else if left != "" {
			question += " (" + left + ")"
		}
		var err error
		if pin, err = p.s.Person.Secret(ctx, question); err != nil {
			return "", err
		}
		if pin == "" {
			return "", ErrNoPIN
		}
	}
	p.given = pin
	return pin, nil
}

// Touch tells the person.
func (p *prompt) Touch(t Token) { p.s.tell("touch " + t.String() + " now: it blinks") }

// tell says something that a person at the terminal must know now.
func (s *session) tell(text string) {
	if s.Person != nil {
		s.Person.Tell(text)
		return
	}
	s.Log.Info(text)
}

// ExpectError says that a YubiKey is to sign what nobody has agreed to.
type ExpectError struct{ Payloads []string }

func (e *ExpectError) Error() string {
	return "with --yes a YubiKey signs only what was expected"
}

// Hint says what to do.
func (e *ExpectError) Hint() string {
	hint := "run it without --yes, or name what you have agreed to:"
	for _, sum := range e.Payloads {
		hint += " --expect-sha256 " + sum
	}
	return hint
}

var _ metadata.Signer = (*onToken)(nil)
