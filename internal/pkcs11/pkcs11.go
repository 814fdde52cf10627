//go:build cgo

package pkcs11

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/tufops/tufops/signer"
)

// Tokens are the keys that a pkcs11: URI selects.
type Tokens struct {
	spec string
	uri  uri
}

// Open reads a pkcs11: URI. Its module is that of the URI's module-path, else
// module, the pykcs11lib of the configuration. One that lies in the checkout
// whose top is given is refused; none is loaded yet.
func Open(spec, module, top string) (signer.Tokens, error) {
	u, err := parse(spec)
	if err != nil {
		return nil, err
	}
	if u.module = cmp.Or(u.module, module); u.module == "" {
		return nil, &signer.SpecError{Spec: spec, Reason: "names no module: add ?module-path=PATH, or pykcs11lib to the configuration"}
	}
	if err := signer.CheckModule(top, u.module); err != nil {
		return nil, err
	}
	return &Tokens{spec: spec, uri: u}, nil
}

// LoadError says that a module cannot be used.
type LoadError struct {
	Module string
	Err    error
}

func (e *LoadError) Error() string { return fmt.Sprintf("PKCS#11 module %s: %v", e.Module, e.Err) }

func (e *LoadError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *LoadError) Hint() string {
	return "check the path of the module, and what it needs to run, such as SOFTHSM2_CONF or a running pcscd"
}

// talking is held while a conversation goes on. C_Initialize and C_Finalize are of
// the whole process (PKCS #11 v2.40, section 5.4): a conversation that nobody waits
// for any more would have the module taken away by the end of the next.
var talking = make(chan struct{}, 1)

// with loads the module for one conversation.
func (t *Tokens) with(ctx context.Context, f func(*p11.Ctx) error) error {
	select {
	case talking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	return await(ctx, func() error {
		defer func() { <-talking }()
		m := p11.New(t.uri.module)
		if m == nil {
			return &LoadError{t.uri.module, errors.New("it cannot be loaded")}
		}
		defer m.Destroy()
		if err := m.Initialize(); err != nil {
			return &LoadError{t.uri.module, err}
		}
		defer m.Finalize()
		return f(m)
	})
}

// await ends with the context even where a module does not. The call goes on
// then, until it or the process ends.
func await(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// key is a key on a token, while the module is loaded.
type key struct {
	signer.Token
	slot uint
	id   string // CKA_ID
	info p11.TokenInfo
}

// find lists the keys that the URI selects, by serial and id.
func (t *Tokens) find(m *p11.Ctx) ([]key, error) {
	slots, err := m.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	var list []key
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		if isRemoved(err) || err == nil && info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		trim := func(s string) string { return strings.TrimRight(s, " \x00") }
		is := func(want, have string) bool { return want == "" || want == trim(have) }
		if !is(t.uri.token, info.Label) || !is(t.uri.serial, info.SerialNumber) || !is(t.uri.manufacturer, info.ManufacturerID) ||
			!is(t.uri.model, info.Model) || t.uri.hasSlot && t.uri.slot != slot {
			continue
		}
		token := signer.Token{Kind: "token " + trim(info.Label), Serial: trim(info.SerialNumber), Slot: slotOf(t.uri.id, t.uri.object)}
		found, err := t.publicKeys(m, slot)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("it has no public key with %s that can be read without a PIN", token.Slot)
		}
		if err != nil {
			token.Problem = err
			list = append(list, key{Token: token, slot: slot, info: info})
			continue
		}
		for _, one := range found {
			token.Public, token.Problem, token.Slot = one.public, one.problem, slotOf(one.id, t.uri.object)
			list = append(list, key{Token: token, slot: slot, id: one.id, info: info})
		}
	}
	slices.SortStableFunc(list, func(a, b key) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Serial, b.Serial), strings.Compare(a.id, b.id))
	})
	return list, nil
}

// List lists the tokens that the URI selects.
func (t *Tokens) List(ctx context.Context) ([]signer.Token, error) {
	var list []signer.Token
	err := t.with(ctx, func(m *p11.Ctx) error {
		found, err := t.find(m)
		for _, k := range found {
			list = append(list, k.Token)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

type publicKey struct {
	id      string
	public  crypto.PublicKey
	problem error
}

const maxObjects = 64

// publicKeys reads the public keys that the URI selects on a token, and where it
// has none those of its certificates, which cards often have alone.
func (t *Tokens) publicKeys(m *p11.Ctx, slot uint) ([]publicKey, error) {
	session, err := m.OpenSession(slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	defer m.CloseSession(session)
	var list []publicKey
	for _, class := range []uint{p11.CKO_PUBLIC_KEY, p11.CKO_CERTIFICATE} {
		objects, err := t.objects(m, session, class, t.uri.id)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			if one, ok := readPublic(m, session, o, class); ok {
				list = append(list, one)
			}
		}
		if len(list) > 0 {
			break
		}
	}
	return list, nil
}

func (t *Tokens) objects(m *p11.Ctx, session p11.SessionHandle, class uint, id string) ([]p11.ObjectHandle, error) {
	template := []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, class)}
	if id != "" {
		template = append(template, p11.NewAttribute(p11.CKA_ID, []byte(id)))
	}
	if t.uri.object != "" {
		template = append(template, p11.NewAttribute(p11.CKA_LABEL, t.uri.object))
	}
	if err := m.FindObjectsInit(session, template); err != nil {
		return nil, err
	}
	objects, _, err := m.FindObjects(session, maxObjects)
	return objects, errors.Join(err, m.FindObjectsFinal(session))
}

func readPublic(m *p11.Ctx, session p11.SessionHandle, o p11.ObjectHandle, class uint) (publicKey, bool) {
	read := func(types ...uint) ([][]byte, error) {
		var template []*p11.Attribute
		for _, a := range types {
			template = append(template, p11.NewAttribute(a, nil))
		}
		got, err := m.GetAttributeValue(session, o, template)
		if err != nil {
			return nil, err
		}
		var values [][]byte
		for _, a := range got {
			values = append(values, a.Value)
		}
		return values, nil
	}
	id, err := read(p11.CKA_ID)
	if err != nil {
		return publicKey{}, false
	}
	one := publicKey{id: string(id[0])}
	if class == p11.CKO_CERTIFICATE {
		value, err := read(p11.CKA_VALUE)
		if err != nil {
			return publicKey{}, false
		}
		cert, err := x509.ParseCertificate(value[0])
		if err != nil {
			return publicKey{}, false
		}
		one.public, one.problem = usable(cert.PublicKey)
		return one, true
	}
	values, err := read(p11.CKA_EC_PARAMS, p11.CKA_EC_POINT)
	if err != nil {
		one.problem = errKind
		return one, true
	}
	one.public, one.problem = point(values[0], values[1])
	return one, true
}

var errKind = errors.New("its key is not an ECDSA key on P-256 or P-384")

func usable(public crypto.PublicKey) (crypto.PublicKey, error) {
	if k, ok := public.(*ecdsa.PublicKey); ok && (k.Curve == elliptic.P256() || k.Curve == elliptic.P384()) {
		return k, nil
	}
	return nil, errKind
}

// point decodes CKA_EC_PARAMS and CKA_EC_POINT, by way of the structure that x509
// reads, which checks that the point is on the curve.
func point(params, octets []byte) (crypto.PublicKey, error) {
	var raw []byte
	if rest, err := asn1.Unmarshal(octets, &raw); err != nil || len(rest) > 0 {
		raw = octets // some modules leave the OCTET STRING out
	}
	der, err := asn1.Marshal(struct {
		Algorithm struct {
			OID   asn1.ObjectIdentifier
			Curve asn1.RawValue
		}
		Key asn1.BitString
	}{
		Algorithm: struct {
			OID   asn1.ObjectIdentifier
			Curve asn1.RawValue
		}{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.RawValue{FullBytes: params}},
		Key: asn1.BitString{Bytes: raw, BitLength: 8 * len(raw)},
	})
	if err != nil {
		return nil, errKind
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errKind
	}
	return usable(public)
}

// Sign signs with the key of a token that List returned.
func (t *Tokens) Sign(ctx context.Context, token signer.Token, payload []byte, p signer.Prompt) ([]byte, error) {
	var sig []byte
	err := t.with(ctx, func(m *p11.Ctx) error {
		found, err := t.find(m)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(found, func(k key) bool { return same(k.Token, token) })
		if i < 0 {
			return &signer.RemovedError{Token: token}
		}
		sig, err = t.sign(ctx, m, found[i], payload, p)
		if isRemoved(err) {
			return &signer.RemovedError{Token: token}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// same reports whether a token still holds the key that it held.
func same(a, b signer.Token) bool {
	x, ok := a.Public.(*ecdsa.PublicKey)
	return ok && a.Kind == b.Kind && a.Serial == b.Serial && x.Equal(b.Public)
}

func (t *Tokens) sign(ctx context.Context, m *p11.Ctx, k key, payload []byte, p signer.Prompt) ([]byte, error) {
	session, err := m.OpenSession(k.slot, p11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	defer m.CloseSession(session)
	pin := ""
	if k.info.Flags&p11.CKF_LOGIN_REQUIRED != 0 {
		if pin, err = login(ctx, m, session, k, p); err != nil {
			return nil, err
		}
	}
	objects, err := t.objects(m, session, p11.CKO_PRIVATE_KEY, k.id)
	if err != nil {
		return nil, err
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("%s has no private key with %s", k.Token, k.Slot)
	}
	if err := m.SignInit(session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDSA, nil)}, objects[0]); err != nil {
		return nil, err
	}
	// A key like that of PIV slot 9c wants the PIN for each signature.
	if a, err := m.GetAttributeValue(session, objects[0], []*p11.Attribute{p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, nil)}); err == nil &&
		len(a) == 1 && bytes.Equal(a[0].Value, []byte{1}) {
		if err := m.Login(session, p11.CKU_CONTEXT_SPECIFIC, pin); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(k.info.ManufacturerID, "Yubico") { // the module cannot say whether the key wants it
		p.Touch(k.Token)
	}
	public := k.Public.(*ecdsa.PublicKey)
	raw, err := m.Sign(session, hash(public.Curve, payload))
	if err != nil {
		return nil, err
	}
	// The module gives r and s side by side, TUF has them as DER.
	if half := len(raw) / 2; half > 0 && len(raw) == 2*half {
		return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
	}
	return nil, fmt.Errorf("%s gave a signature of %d bytes", k.Token, len(raw))
}

func hash(curve elliptic.Curve, payload []byte) []byte {
	if curve == elliptic.P384() {
		sum := sha512.Sum384(payload)
		return sum[:]
	}
	sum := sha256.Sum256(payload)
	return sum[:]
}

// login gives the token its PIN, once. A token with a keypad asks for it itself.
func login(ctx context.Context, m *p11.Ctx, session p11.SessionHandle, k key, p signer.Prompt) (string, error) {
	pin := ""
	if k.info.Flags&p11.CKF_USER_PIN_LOCKED != 0 {
		return "", &signer.BlockedPINError{Token: k.Token}
	}
	if k.info.Flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH == 0 {
		var err error
		if pin, err = p.PIN(ctx, k.Token, tries(k.info)); err != nil {
			return "", err
		}
		if least, most := k.info.MinPinLen, k.info.MaxPinLen; most >= least && (uint(len(pin)) < least || uint(len(pin)) > most) {
			return "", &signer.WrongPINError{Token: k.Token, Tries: tries(k.info), Reason: fmt.Sprintf("it has %d to %d characters", least, most)}
		}
	}
	err := m.Login(session, p11.CKU_USER, pin)
	switch {
	case is(err, p11.CKR_PIN_INCORRECT, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_INVALID):
		left := -1
		if info, err := m.GetTokenInfo(k.slot); err == nil {
			if info.Flags&p11.CKF_USER_PIN_LOCKED != 0 {
				return "", &signer.BlockedPINError{Token: k.Token}
			}
			left = tries(info)
		}
		return "", &signer.WrongPINError{Token: k.Token, Tries: left}
	case is(err, p11.CKR_PIN_LOCKED):
		return "", &signer.BlockedPINError{Token: k.Token}
	}
	return pin, err
}

// tries is how many are left, as far as a token says: only the last one.
func tries(info p11.TokenInfo) int {
	if info.Flags&p11.CKF_USER_PIN_FINAL_TRY != 0 {
		return 1
	}
	return -1
}

func is(err error, codes ...uint) bool {
	var e p11.Error
	return errors.As(err, &e) && slices.Contains(codes, uint(e))
}

func isRemoved(err error) bool {
	return is(err, p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_SLOT_ID_INVALID, p11.CKR_SESSION_HANDLE_INVALID)
}

// pollEvery is how often a token that was removed is looked for: modules do not
// say when one is inserted.
const pollEvery = 200 * time.Millisecond

// Wait looks for the token until it is there.
func (t *Tokens) Wait(ctx context.Context, token signer.Token) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		list, err := t.List(ctx)
		if err == nil && slices.ContainsFunc(list, func(one signer.Token) bool { return same(one, token) }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
