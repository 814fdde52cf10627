package kms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"strings"
)

// The schemes of key objects that a service can sign in. Those of PKCS1v15 are
// read by no client that we know; they are here for the key objects that list
// them.
const (
	P256       = "ecdsa-sha2-nistp256"
	P384       = "ecdsa-sha2-nistp384"
	PSS256     = "rsassa-pss-sha256"
	PSS384     = "rsassa-pss-sha384"
	PSS512     = "rsassa-pss-sha512"
	PKCS1v256  = "rsa-pkcs1v15-sha256"
	PKCS1v384  = "rsa-pkcs1v15-sha384"
	PKCS1v512  = "rsa-pkcs1v15-sha512"
	Ed25519    = "ed25519"
	pssPrefix  = "rsassa-pss-"
	pkcsPrefix = "rsa-pkcs1v15-"
)

// RSASchemes are those that an RSA key can sign in, the one that new metadata
// should list first.
var RSASchemes = []string{PSS256, PSS384, PSS512, PKCS1v256, PKCS1v384, PKCS1v512}

// Hash is what a scheme hashes the payload with; 0 for Ed25519, which signs the
// payload itself.
func Hash(scheme string) crypto.Hash {
	switch {
	case scheme == Ed25519:
		return 0
	case strings.HasSuffix(scheme, "384"):
		return crypto.SHA384
	case strings.HasSuffix(scheme, "512"):
		return crypto.SHA512
	}
	return crypto.SHA256
}

// PSS reports whether a scheme is one of RSA-PSS.
func PSS(scheme string) bool { return strings.HasPrefix(scheme, pssPrefix) }

// Message is what a service is given to sign: the digest, or for Ed25519 the
// payload.
func Message(scheme string, payload []byte) []byte {
	hash := Hash(scheme)
	if hash == 0 {
		return payload
	}
	h := hash.New()
	h.Write(payload)
	return h.Sum(nil)
}

// fits reports whether a public key is of the type that a scheme is for.
func fits(public crypto.PublicKey, scheme string) bool {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return scheme == P256 && public.Curve == elliptic.P256() || scheme == P384 && public.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return PSS(scheme) || strings.HasPrefix(scheme, pkcsPrefix)
	case ed25519.PublicKey:
		return scheme == Ed25519 && len(public) == ed25519.PublicKeySize
	}
	return false
}

// Verify reports whether sig is a signature of the payload in that scheme, as it
// stands in metadata: DER for ECDSA.
func Verify(public crypto.PublicKey, scheme string, payload, sig []byte) bool {
	if !fits(public, scheme) {
		return false
	}
	message, hash := Message(scheme, payload), Hash(scheme)
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, message, sig)
	case *rsa.PublicKey:
		if PSS(scheme) {
			return rsa.VerifyPSS(public, hash, message, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, message, sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, sig)
	}
	return false
}
