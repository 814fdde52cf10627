//go:build cgo || windows

package yubikey

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/signer"
)

// tokens are the YubiKeys that a SPEC names.
type tokens struct{ serial uint32 } // 0: all

var (
	_ signer.Tokens   = tokens{}
	_ signer.Attester = tokens{}
)

// Open returns the tokens of a SPEC, yubikey or yubikey:SERIAL. It looks for none
// yet.
func Open(spec string) (signer.Tokens, error) {
	serial, err := parseSpec(spec)
	return tokens{serial}, err
}

// List implements [signer.Tokens]. A token that another program holds tells no
// serial, so it is listed where one serial is asked for, too.
func (ts tokens) List(ctx context.Context) ([]signer.Token, error) {
	devices, err := list(ctx, func(yk *piv.YubiKey, _ string) (Device, error) { return inspect(yk) }, nil)
	if err != nil {
		return nil, err
	}
	var all []signer.Token
	for _, d := range devices {
		if ts.serial != 0 && d.Serial != 0 && d.Serial != ts.serial {
			continue
		}
		t := token(d.Serial)
		t.Public, t.Problem, t.Doubts = d.Public, d.Problem, doubts(d)
		if t.Problem == nil && t.Public == nil {
			t.Problem = errEmpty
		}
		all = append(all, t)
	}
	return all, nil
}

// doubts are what speaks against the key of a token.
func doubts(d Device) []string {
	var list []string
	if d.Public == nil {
		return nil
	}
	if d.Imported {
		list = append(list, "nothing shows that the key was made on the token: it may exist elsewhere")
	}
	if d.PINPolicy != attestation.Always {
		list = append(list, policyDoubt("PIN", d.PINPolicy))
	}
	if d.TouchPolicy != attestation.Always {
		list = append(list, policyDoubt("touch", d.TouchPolicy))
	}
	return list
}

func policyDoubt(what string, p attestation.Policy) string {
	switch p {
	case attestation.Never:
		return "the key signs without a " + what
	case "":
		return "the token does not say whether the key wants a " + what + " for each signature"
	}
	return fmt.Sprintf("the key does not want a %s for each signature (its policy is %s)", what, p)
}

// Sign implements [signer.Tokens].
func (ts tokens) Sign(ctx context.Context, t signer.Token, payload []byte, p signer.Prompt) ([]byte, error) {
	serial, err := serialOf(t)
	if err != nil {
		return nil, err
	}
	d, err := with(ctx, serial, func(yk *piv.YubiKey, _ string) (Device, error) { return look(yk, t) })
	if err != nil {
		return nil, err
	}
	pin := ""
	if d.PINPolicy != attestation.Never {
		if d.PINTries == 0 {
			return nil, &signer.BlockedPINError{Token: t}
		}
		// The token is free meanwhile, and may be taken out.
		if pin, err = p.PIN(ctx, t, d.PINTries); err != nil {
			return nil, err
		}
		if reason := checkSecret(pin); reason != "" {
			return nil, &signer.WrongPINError{Token: t, Tries: d.PINTries, Reason: reason}
		}
	}
	return with(ctx, serial, func(yk *piv.YubiKey, _ string) ([]byte, error) {
		d, err := look(yk, t)
		if err != nil {
			return nil, err
		}
		return sign(ctx, yk, d, t, pin, payload, p)
	})
}

// look reads the token and fails if it holds another key than it did.
func look(yk *piv.YubiKey, t signer.Token) (Device, error) {
	d, err := inspect(yk)
	if err == nil && !samePublic(t.Public, d.Public) {
		err = &SlotError{t.String(), "slot 9c does not hold the key any more that it held a moment ago"}
	}
	return d, err
}

// sign presents the PIN, once, and has the key sign.
func sign(ctx context.Context, yk *piv.YubiKey, d Device, t signer.Token, pin string, payload []byte, p signer.Prompt) ([]byte, error) {
	if pin != "" {
		if err := present(yk, t, pin); err != nil {
			return nil, err
		}
	}
	if d.TouchPolicy != attestation.Never {
		p.Touch(t)
	}
	// The PIN has been presented, so piv-go is told that none is needed.
	private, err := yk.PrivateKey(piv.SlotSignature, d.Public, piv.KeyAuth{PINPolicy: piv.PINPolicyNever})
	if err != nil {
		return nil, fmt.Errorf("use slot 9c of %s: %w", t, err)
	}
	key, ok := private.(crypto.Signer)
	if !ok {
		return nil, &SlotError{t.String(), "the key in slot 9c is not one that signs"}
	}
	signature, err := metadata.LocalSigner(key).Sign(ctx, payload)
	if statusOf(err) == swSecurity {
		return nil, &signer.TouchError{Token: t}
	}
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", t, err)
	}
	public, err := metadata.NewKey(d.Public, "", "")
	if err == nil {
		err = public.Verify(payload, signature)
	}
	if err != nil {
		return nil, fmt.Errorf("the signature of %s is not good: %w", t, err)
	}
	return signature, nil
}

// present gives the token a PIN.
func present(yk *piv.YubiKey, t signer.Token, pin string) error {
	err := yk.VerifyPIN(pin)
	var wrong piv.AuthErr
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Retries > 0:
		return &signer.WrongPINError{Token: t, Tries: wrong.Retries}
	case errors.As(err, &wrong):
		return &signer.BlockedPINError{Token: t}
	}
	return fmt.Errorf("present the PIN to %s: %w", t, err)
}

func serialOf(t signer.Token) (uint32, error) {
	n, err := strconv.ParseUint(t.Serial, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s has no serial to find it by", t)
	}
	return uint32(n), nil
}

// pollInterval is how often Wait looks.
var pollInterval = 250 * time.Millisecond

// Wait implements [signer.Tokens].
func (ts tokens) Wait(ctx context.Context, t signer.Token) error {
	serial, err := serialOf(t)
	if err != nil {
		return err
	}
	for {
		yk, _, err := find(ctx, serial)
		if yk != nil {
			return yk.Close()
		}
		var service *ServiceError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &service):
			return err
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// Attest implements [signer.Attester].
func (ts tokens) Attest(ctx context.Context, t signer.Token) (map[string][]byte, error) {
	serial, err := serialOf(t)
	if err != nil {
		return nil, err
	}
	c, err := Attest(ctx, serial)
	if err != nil {
		return nil, err
	}
	if !samePublic(t.Public, c.Key.PublicKey) {
		return nil, &SlotError{t.String(), "slot 9c does not hold the key any more that it held a moment ago"}
	}
	return c.Files(), nil
}
