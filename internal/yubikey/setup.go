//go:build cgo || windows

package yubikey

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/signer"
)

// factory asks a token which of its secrets are the factory's. What cannot be
// asked is unknown. piv-go has no way to ask, and to guess would cost a try.
//
// https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/metadata.html
func factory(reader string, v attestation.Version) Factory {
	f := Factory{Unknown, Unknown, Unknown}
	if !says(v) {
		return f
	}
	metadata := func(reference byte) []byte { return []byte{0x00, 0xf7, 0x00, reference, 0x00} }
	answers, err := exchange(reader, selectPIV, metadata(0x80), metadata(0x81), metadata(0x9b))
	if err != nil {
		return f
	}
	for i, of := range []*Answer{&f.PIN, &f.PUK, &f.ManagementKey} {
		*of = isDefault(answers[1+i])
	}
	return f
}

// isDefault reads the field of an answer that says whether a secret is the
// factory's. Fields have a tag, a length and a value of less than 128 bytes.
func isDefault(answer []byte) Answer {
	const tagDefault = 0x05
	fields, ok := bytes.CutSuffix(answer, []byte{0x90, 0x00})
	for ok && len(fields) >= 2 && len(fields) >= 2+int(fields[1]) {
		value := fields[2 : 2+int(fields[1])]
		if fields[0] == tagDefault && len(value) == 1 {
			if value[0] == 0 {
				return No
			}
			return Yes
		}
		fields = fields[2+len(value):]
	}
	return Unknown
}

// Generate makes a key in slot 9c that wants PIN and touch for each signature,
// and returns its public half. Before that it replaces what secrets are the
// factory's.
//
// It stops at the first thing that is missing or refused. Run again, it goes on
// where it stopped, with what is set by then: a secret is changed in one step, and
// a random management key is stored before it holds.
//
// Errors, besides those of signer: *OverwriteError, *SecretError.
func Generate(ctx context.Context, serial uint32, s Setup) (crypto.PublicKey, error) {
	name := token(serial).String()
	// What the token says of its secrets is asked for while nobody holds it.
	f, err := secrets(ctx, serial)
	if err != nil {
		return nil, err
	}
	if err := s.check(name, f); err != nil {
		return nil, err
	}
	return with(ctx, serial, func(yk *piv.YubiKey, _ string) (crypto.PublicKey, error) {
		d, err := inspect(yk)
		if err != nil {
			return nil, err
		}
		if d.Public != nil && !s.Overwrite {
			return nil, &OverwriteError{d}
		}
		pin, err := s.setPIN(yk, d)
		if err != nil {
			return nil, err
		}
		if err := s.setPUK(yk, d); err != nil {
			return nil, err
		}
		management, err := s.manage(yk, d, pin)
		if err != nil {
			return nil, err
		}
		algorithm := piv.AlgorithmEC256
		if s.P384 {
			algorithm = piv.AlgorithmEC384
		}
		public, err := yk.GenerateKey(management, piv.SlotSignature, piv.Key{
			Algorithm: algorithm, PINPolicy: piv.PINPolicyAlways, TouchPolicy: piv.TouchPolicyAlways,
		})
		if err != nil {
			return nil, fmt.Errorf("make a key on %s: %w", name, err)
		}
		return public, attests(yk, name, public)
	})
}

// attests fails if the token does not say of a key what was asked for.
func attests(yk *piv.YubiKey, name string, public crypto.PublicKey) error {
	cert, err := yk.Attest(piv.SlotSignature)
	if err != nil {
		return fmt.Errorf("attest the new key of %s: %w", name, err)
	}
	f, err := attestation.Read(cert)
	switch {
	case err != nil:
		return fmt.Errorf("attest the new key of %s: %w", name, err)
	case !samePublic(public, f.PublicKey):
		return &SlotError{name, "it attests another key than it made"}
	case f.PINPolicy != attestation.Always || f.TouchPolicy != attestation.Always:
		return &SlotError{name, fmt.Sprintf("PIN and touch were to be asked for always, and it says PIN %s, touch %s", f.PINPolicy, f.TouchPolicy)}
	}
	return nil
}

// secrets asks the token of a serial which of its secrets are the factory's.
func secrets(ctx context.Context, serial uint32) (Factory, error) {
	yk, reader, err := find(ctx, serial)
	switch {
	case err != nil:
		return Factory{}, err
	case yk == nil:
		return Factory{}, &signer.RemovedError{Token: token(serial)}
	}
	v := version(yk)
	yk.Close()
	return factory(reader, v), nil
}

// check looks for what is missing before anything is changed. Where the token
// does not say, the person does: what they name as the present secret may be the
// factory's.
func (s *Setup) check(name string, f Factory) error {
	for _, one := range []struct {
		which        string
		present, new *string
		factory      string
		is           Answer
		flag         string
	}{
		{"PIN", &s.PIN, &s.NewPIN, FactoryPIN, f.PIN, "new-pin"},
		{"PUK", &s.PUK, &s.NewPUK, FactoryPUK, f.PUK, "new-puk"},
	} {
		if one.is == Yes {
			*one.present = one.factory
		}
		if one.is == No && *one.present == one.factory {
			return &SecretError{name, one.which, "it is not the factory's any more", "name the one that you set"}
		}
		switch {
		case *one.present == one.factory && *one.new == "":
			return &SecretError{name, one.which, "it is still the factory's, which everybody knows", "choose a new one of six to eight characters: --" + one.flag}
		case *one.present == "" && (one.which == "PIN" || one.is == Unknown || *one.new != ""):
			return &SecretError{name, one.which, "it is needed and was not given", "name the one that it has now; a new token has " + one.factory}
		case *one.new == one.factory:
			return &SecretError{name, one.which, "the new one is the factory's, which everybody knows", "choose another"}
		}
		for _, text := range []string{*one.present, *one.new} {
			if reason := checkSecret(text); text != "" && reason != "" {
				return &SecretError{name, one.which, reason, "six to eight letters, digits and signs"}
			}
		}
	}
	if f.ManagementKey == Yes {
		s.ManagementKey = piv.DefaultManagementKey
	}
	return nil
}

// setPIN changes the PIN if that is asked for, and makes sure that it is right
// otherwise.
func (s Setup) setPIN(yk *piv.YubiKey, d Device) (string, error) {
	t := token(d.Serial)
	if d.PINTries == 0 {
		return "", &signer.BlockedPINError{Token: t}
	}
	if err := present(yk, t, s.PIN); err != nil {
		return "", err
	}
	if s.NewPIN == "" || s.NewPIN == s.PIN {
		return s.PIN, nil
	}
	if err := yk.SetPIN(s.PIN, s.NewPIN); err != nil {
		return "", fmt.Errorf("change the PIN of %s: %w", t, err)
	}
	return s.NewPIN, nil
}

// setPUK changes the PUK if that is asked for, or if nobody can tell whether the
// one that was named is right.
func (s Setup) setPUK(yk *piv.YubiKey, d Device) error {
	if s.PUK == "" {
		return nil
	}
	to := s.NewPUK
	if to == "" {
		to = s.PUK
	}
	err := yk.SetPUK(s.PUK, to)
	var wrong piv.AuthErr
	if errors.As(err, &wrong) {
		return &SecretError{d.String(), "PUK", fmt.Sprintf("it is not the one that was named; %d more tries until it is blocked", wrong.Retries), "look it up before you run the same command again"}
	}
	if err != nil {
		return fmt.Errorf("change the PUK of %s: %w", d, err)
	}
	return nil
}

// manage returns the management key. The factory's gives way to a random one that
// the token keeps, to be read with the PIN.
func (s Setup) manage(yk *piv.YubiKey, d Device, pin string) ([]byte, error) {
	stored, err := yk.Metadata(pin)
	if err != nil {
		return nil, fmt.Errorf("read what %s keeps for the PIN: %w", d, err)
	}
	candidates := [][]byte{s.ManagementKey}
	if s.ManagementKey == nil {
		candidates = [][]byte{piv.DefaultManagementKey}
		if stored.ManagementKey != nil {
			candidates = [][]byte{*stored.ManagementKey, piv.DefaultManagementKey}
		}
	}
	key, err := firstThatOpens(yk, candidates)
	if err != nil {
		return nil, fmt.Errorf("use the management key of %s: %w", d, err)
	}
	if key == nil {
		return nil, &SecretError{d.String(), "management key", "it is neither the factory's nor one that the token keeps", "name it in hex: --management-key"}
	}
	if !bytes.Equal(key, piv.DefaultManagementKey) {
		return key, nil
	}
	// Stored first: were it the other way round and the token taken out in between,
	// nobody would know the key. A copy that does not hold yet harms nobody.
	random := make([]byte, managementKeySize)
	rand.Read(random)              // never fails
	stored.ManagementKey = &random // beside what else is stored there
	if err := yk.SetMetadata(key, stored); err != nil {
		return nil, fmt.Errorf("store a management key on %s: %w", d, err)
	}
	if err := yk.SetManagementKey(key, random); err != nil {
		return nil, fmt.Errorf("set the management key of %s: %w", d, err)
	}
	return random, nil
}

// managementKeySize fits Triple-DES, which firmware before 5.4 has, and AES-192.
// piv-go stores no other correctly.
const managementKeySize = 24

// firstThatOpens returns the first key that the token takes; nil if none. Wrong
// ones cost nothing.
func firstThatOpens(yk *piv.YubiKey, keys [][]byte) ([]byte, error) {
	for _, key := range keys {
		// No algorithm: it authenticates and then makes no key.
		_, err := yk.GenerateKey(key, piv.SlotSignature, piv.Key{})
		switch {
		case err == nil:
			return nil, errors.New("a key was made that was not asked for")
		case err.Error() == errNoAlgorithm:
			return key, nil
		case causeOf(err) != other:
			return nil, err
		}
	}
	return nil, nil
}

// errNoAlgorithm is how piv-go refuses to make a key of no kind, once the
// management key was right. Its errors have no type; a test holds it against
// right and wrong keys.
const errNoAlgorithm = "unsupported algorithm"
