package card

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// CA stands in for the maker: it certifies the attestation keys of devices.
type CA struct {
	Root          *x509.Certificate
	Intermediates []*x509.Certificate // from the root's child on

	key *ecdsa.PrivateKey // of the last of them
}

// Certificates do not expire in practice, as Yubico's do not.
var (
	notBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2070, 1, 1, 0, 0, 0, 0, time.UTC)
)

// NewCA makes a root with so many intermediates below it.
func NewCA(intermediates int) (*CA, error) {
	ca := &CA{}
	parent := (*x509.Certificate)(nil)
	for i := range intermediates + 1 {
		name := "Virtual Attestation Root"
		if i > 0 {
			name = fmt.Sprintf("Virtual Attestation Intermediate %d", i)
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		cert, err := certify(&x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, parent, &key.PublicKey, ca.key, key)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			ca.Root = cert
		} else {
			ca.Intermediates = append(ca.Intermediates, cert)
		}
		parent, ca.key = cert, key
	}
	return ca, nil
}

// issuer is the certificate that device certificates are signed under.
func (ca *CA) issuer() *x509.Certificate {
	if n := len(ca.Intermediates); n > 0 {
		return ca.Intermediates[n-1]
	}
	return ca.Root
}

// certify completes a template and signs it. Without a parent it signs itself
// with own.
func certify(template, parent *x509.Certificate, public *ecdsa.PublicKey, by, own *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, notBefore, notAfter
	if parent == nil {
		parent, by = template, own
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// device makes the attestation key of one device.
func (ca *CA) device(serial uint32) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	cert, err := certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Yubico PIV Attestation", SerialNumber: fmt.Sprint(serial)}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, ca.issuer(), &key.PublicKey, ca.key, nil)
	return key, cert, err
}

// Yubico's extensions of the certificate of a key.
//
// https://developers.yubico.com/PIV/Introduction/PIV_attestation.html
func extension(number int, value []byte) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, number}, Value: value}
}

// attest certifies the key of a slot.
func (c *Card) attest(id byte, s *slot) (*x509.Certificate, error) {
	device, err := c.deviceCertificate()
	if err != nil {
		return nil, err
	}
	serial, err := asn1.Marshal(int64(c.config.Serial))
	if err != nil {
		return nil, err
	}
	return certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: fmt.Sprintf("YubiKey PIV Attestation %02x", id)},
		ExtraExtensions: []pkix.Extension{
			extension(3, c.config.Firmware[:]), extension(7, serial), extension(8, []byte{s.pin, s.touch}), extension(9, []byte{c.config.FormFactor}),
		},
	}, device, &s.key.PublicKey, c.slots[slotAttestation].key, nil)
}

func certificateObject(cert *x509.Certificate) []byte {
	return append(append(tlv(0x70, cert.Raw), tlv(0x71, []byte{0})...), tlv(0xfe)...)
}

// deviceCertificate reads the object that clients read.
func (c *Card) deviceCertificate() (*x509.Certificate, error) {
	der, ok := allTLV(c.objects[objectAttestation])[0x70]
	if !ok {
		return nil, errors.New("the attestation certificate is missing")
	}
	return x509.ParseCertificate(der)
}
