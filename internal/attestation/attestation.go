// Package attestation judges what a hardware token says of a key: that it was
// made on the token, in which slot, and what the token asks for before it signs.
//
// An attestation is two certificates. The token makes one for the key; the maker
// made the other for the token. Both may come from a stranger: nothing in them
// counts until the chain to a root that the caller trusts holds, and it must have
// exactly the shape that such tokens give. Otherwise whoever has a token could
// sign with one of its keys what passes for an attestation of another.
//
// The package takes bytes and returns facts. It reads no file and no clock:
// attestations are statements about the past, so it asks that the certificates
// were valid together at some time, and not whether they are today.
package attestation

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names of the files that hold an attestation, each one certificate in PEM.
const (
	KeyFile    = "key_cert.pem"    // of the key, signed by the token
	DeviceFile = "device_cert.pem" // of the token, signed by its maker
)

// MaxFile is more than any certificate needs, in bytes.
const MaxFile = 16 << 10

// Certificates are what a token hands out about one key.
type Certificates struct {
	Key    *x509.Certificate
	Device *x509.Certificate
}

// Files are the certificates as they stand in git, by name.
func (c Certificates) Files() map[string][]byte {
	encode := func(cert *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	return map[string][]byte{KeyFile: encode(c.Key), DeviceFile: encode(c.Device)}
}

// Parse reads the files of one key. Other files are not looked at.
func Parse(files map[string][]byte) (Certificates, error) {
	var c Certificates
	for name, to := range map[string]**x509.Certificate{KeyFile: &c.Key, DeviceFile: &c.Device} {
		data, ok := files[name]
		if !ok {
			return Certificates{}, &Error{Form, name + " is missing"}
		}
		cert, err := certificate(data)
		if err != nil {
			return Certificates{}, &Error{Form, fmt.Sprintf("%s: %v", name, err)}
		}
		*to = cert
	}
	return c, nil
}

// certificate reads a file that holds one certificate and nothing else.
func certificate(data []byte) (*x509.Certificate, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("it has %d bytes, and %d are enough for a certificate", len(data), MaxFile)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil || block.Type != "CERTIFICATE":
		return nil, errors.New("it holds no certificate in PEM")
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("it holds more than one certificate in PEM")
	}
	return parseCertificate(block.Bytes)
}

func parseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("it holds no certificate that can be read")
	}
	return cert, nil
}

// Check is one thing that can be wrong with an attestation.
type Check string

// The checks, in the order in which they are made.
const (
	Form        Check = "form"         // the files cannot be read, or say too little
	Chain       Check = "chain"        // the certificates do not lead to a root that is trusted
	PublicKey   Check = "public-key"   // they are about another key
	Slot        Check = "slot"         // the key lives in another slot than the one for signatures
	Firmware    Check = "firmware"     // the token's own keys are not to be trusted
	PINPolicy   Check = "pin-policy"   // the key signs without a PIN
	TouchPolicy Check = "touch-policy" // the key signs without a touch
)

// Error says why an attestation does not hold.
type Error struct {
	Check  Check
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Facts are what an attestation says.
type Facts struct {
	Serial      uint32     // of the token
	Firmware    Version    // of the token
	FormFactor  FormFactor // of the token; zero where it does not say
	Slot        string     // where the key is: 9c
	PINPolicy   Policy     // when the token asks for the PIN
	TouchPolicy Policy     // when the token asks for a touch
	PublicKey   crypto.PublicKey
}

// Version is that of a token's firmware.
type Version struct{ Major, Minor, Patch byte }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func (v Version) less(w Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

// Policy says when a token asks for a PIN or a touch.
type Policy string

// The policies that YubiKeys know. Cached is of a touch, for 15 seconds.
const (
	Never       Policy = "never"
	Once        Policy = "once"
	Always      Policy = "always"
	Cached      Policy = "cached"
	MatchOnce   Policy = "match-once" // a fingerprint in place of a PIN
	MatchAlways Policy = "match-always"
)

var (
	pinPolicies   = map[byte]Policy{1: Never, 2: Once, 3: Always, 4: MatchOnce, 5: MatchAlways}
	touchPolicies = map[byte]Policy{1: Never, 2: Always, 3: Cached}
)

// FormFactor is the shape of a token.
type FormFactor byte

func (f FormFactor) String() string {
	const fips, securityKey = 0x80, 0x40
	name, ok := map[FormFactor]string{
		1: "USB-A keychain", 2: "USB-A nano", 3: "USB-C keychain", 4: "USB-C nano", 5: "USB-C and Lightning keychain",
		6: "USB-A with fingerprint reader", 7: "USB-C with fingerprint reader",
	}[f&^(fips|securityKey)]
	if !ok {
		return "unknown form"
	}
	if f&fips != 0 {
		name += " FIPS"
	}
	return name
}

// String is the facts on one line: "YubiKey 12345678 (firmware 5.4.3, USB-A
// keychain), slot 9c, PIN always, touch always".
func (f Facts) String() string {
	form := ""
	if f.FormFactor != 0 {
		form = ", " + f.FormFactor.String()
	}
	return fmt.Sprintf("YubiKey %d (firmware %s%s), slot %s, PIN %s, touch %s", f.Serial, f.Firmware, form, f.Slot, f.PINPolicy, f.TouchPolicy)
}

// Advice says what is known against tokens of this firmware, one sentence;
// empty if nothing is.
//
// https://www.yubico.com/support/security-advisories/ysa-2024-03/
func (f Facts) Advice() string {
	if f.Firmware.less(Version{5, 7, 0}) {
		return "with firmware before 5.7 somebody who has the token, the PIN and costly equipment can copy the key (YSA-2024-03)"
	}
	return ""
}

// oldest is the first firmware whose attestation is taken. Versions 4.2.6 to
// 4.3.4 make RSA keys that can be computed from their public half, and sign
// attestations with one.
//
// https://www.yubico.com/support/security-advisories/ysa-2017-01/
var oldest = Version{4, 3, 5}

// Slot9c is where keys for signatures live.
const Slot9c = "9c"

const namePrefix = "YubiKey PIV Attestation "

// Numbers of Yubico's extensions in the certificate of a key.
//
// https://developers.yubico.com/PIV/Introduction/PIV_attestation.html
const (
	extensionFirmware   = 3
	extensionSerial     = 7
	extensionPolicy     = 8
	extensionFormFactor = 9
)

// extensions returns those of Yubico's arc, by number. x509 has refused a
// certificate that has one twice.
func extensions(cert *x509.Certificate) map[int][]byte {
	arc := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3}
	found := map[int][]byte{}
	for _, e := range cert.Extensions {
		if n := len(arc); len(e.Id) == n+1 && e.Id[:n].Equal(arc) {
			found[e.Id[n]] = e.Value
		}
	}
	return found
}

// Read returns what the certificate of a key says, believed or not: whoever may
// have written it is to be asked in person, or with [Verifier.Verify]. All but the
// form factor has to be there.
func Read(cert *x509.Certificate) (Facts, error) {
	f := Facts{PublicKey: cert.PublicKey}
	form := func(format string, args ...any) (Facts, error) {
		return Facts{}, &Error{Form, fmt.Sprintf(format, args...)}
	}
	name := cert.Subject.CommonName
	slot, ok := strings.CutPrefix(name, namePrefix)
	if id, err := strconv.ParseUint(slot, 16, 8); !ok || err != nil || slot != fmt.Sprintf("%02x", id) {
		return form("the certificate of the key is for %q, not for %sSLOT", name, namePrefix)
	}
	f.Slot = slot
	all := extensions(cert)
	firmware, ok := all[extensionFirmware]
	if !ok || len(firmware) != 3 {
		return form("the certificate of the key names no firmware")
	}
	f.Firmware = Version{firmware[0], firmware[1], firmware[2]}
	var serial int64
	if rest, err := asn1.Unmarshal(all[extensionSerial], &serial); err != nil || len(rest) > 0 || serial < 0 || serial > 1<<32-1 {
		return form("the certificate of the key names no serial")
	}
	f.Serial = uint32(serial)
	policy, ok := all[extensionPolicy]
	if !ok || len(policy) != 2 {
		return form("the certificate of the key names no PIN and touch policy")
	}
	var okPIN, okTouch bool
	f.PINPolicy, okPIN = pinPolicies[policy[0]]
	f.TouchPolicy, okTouch = touchPolicies[policy[1]]
	if !okPIN || !okTouch {
		return form("the certificate of the key names a PIN and touch policy %x that is not known", policy)
	}
	if b, ok := all[extensionFormFactor]; ok {
		if len(b) != 1 {
			return form("the certificate of the key names no single form factor")
		}
		f.FormFactor = FormFactor(b[0])
	}
	return f, nil
}

// Verifier knows whose attestations to believe.
type Verifier struct{ issuers []*x509.Certificate }

// NewVerifier believes tokens that a root certified, or an intermediate which
// leads to one of the roots; other intermediates are left out.
func NewVerifier(roots, intermediates []*x509.Certificate) *Verifier {
	v := &Verifier{issuers: append([]*x509.Certificate(nil), roots...)}
	for range intermediates { // in any order: each round finds one at least, or there is no more
		for _, cert := range intermediates {
			if !v.has(cert) && v.issued(cert) {
				v.issuers = append(v.issuers, cert)
			}
		}
	}
	return v
}

// ParseVerifier reads certificates in PEM, one after another: one that issued
// itself is a root, any other an intermediate. Text between them is skipped.
func ParseVerifier(data []byte) (*Verifier, error) {
	var roots, intermediates []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a PEM block %s among the certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Errorf("certificate %d: %w", len(roots)+len(intermediates)+1, err)
		case string(cert.RawIssuer) == string(cert.RawSubject) && cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil:
			roots = append(roots, cert)
		default:
			intermediates = append(intermediates, cert)
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("there is no certificate that issued itself: a root is needed")
	}
	v := NewVerifier(roots, intermediates)
	if len(v.issuers) != len(roots)+len(intermediates) {
		return nil, errors.New("there is a certificate that no root among them leads to")
	}
	return v, nil
}

// Also returns a verifier that believes whom either believes.
func (v *Verifier) Also(w *Verifier) *Verifier {
	return &Verifier{issuers: append(v.issuers[:len(v.issuers):len(v.issuers)], w.issuers...)}
}

func (v *Verifier) has(cert *x509.Certificate) bool {
	for _, c := range v.issuers {
		if c.Equal(cert) {
			return true
		}
	}
	return false
}

// issued reports whether one who is believed issued the certificate.
func (v *Verifier) issued(cert *x509.Certificate) bool {
	for _, issuer := range v.issuers {
		if issuedBy(cert, issuer) {
			return true
		}
	}
	return false
}

// issuedBy reports whether the certificate is of the issuer, and valid at some
// time at which the issuer's is.
func issuedBy(cert, issuer *x509.Certificate) bool {
	return string(cert.RawIssuer) == string(issuer.RawSubject) && len(cert.UnhandledCriticalExtensions) == 0 &&
		cert.CheckSignatureFrom(issuer) == nil &&
		!latest(cert.NotBefore, issuer.NotBefore).After(earliest(cert.NotAfter, issuer.NotAfter))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Verify judges an attestation of the public key: that it was made in slot 9c of
// a token, and signs only after a PIN and a touch each time.
//
// The facts are returned as soon as they are known to be true and about this
// key, also beside an error; they are zero where the error's Check is Form, Chain
// or PublicKey. The error is an [*Error].
//
// It does not know who else claims the same token: compare the serials.
func (v *Verifier) Verify(c Certificates, public crypto.PublicKey) (Facts, error) {
	// From the top, so that nothing is computed with a key of a stranger.
	if !v.issued(c.Device) {
		return Facts{}, &Error{Chain, fmt.Sprintf("the certificate of the device is not of a maker who is trusted: its issuer calls itself %q", c.Device.Issuer)}
	}
	device := *c.Device
	// Tokens of version 4 do not say that they may issue certificates.
	if !device.BasicConstraintsValid {
		device.BasicConstraintsValid, device.IsCA = true, true
	}
	if !issuedBy(c.Key, &device) {
		return Facts{}, &Error{Chain, "the certificate of the key was not made by the device"}
	}
	f, err := Read(c.Key)
	if err != nil {
		return Facts{}, err
	}
	if same, ok := f.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(public) {
		return Facts{}, &Error{PublicKey, fmt.Sprintf("the attestation is of another key of YubiKey %d", f.Serial)}
	}
	switch {
	case f.Slot != Slot9c:
		return f, &Error{Slot, fmt.Sprintf("the key lives in slot %s, not %s", f.Slot, Slot9c)}
	case f.Firmware.less(oldest):
		return f, &Error{Firmware, fmt.Sprintf("firmware %s may make keys that can be computed; %s is the first that is taken", f.Firmware, oldest)}
	case f.PINPolicy != Always:
		return f, &Error{PINPolicy, fmt.Sprintf("the PIN policy of the key is %s, not %s", f.PINPolicy, Always)}
	case f.TouchPolicy != Always:
		return f, &Error{TouchPolicy, fmt.Sprintf("the touch policy of the key is %s, not %s", f.TouchPolicy, Always)}
	}
	return f, nil
}
