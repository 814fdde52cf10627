package metadata

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
)

// The custom fields of a key object.
const (
	FieldKeyOwner  = "x-tuf-on-ci-keyowner"   // a person's key: @login, lower case
	FieldOnlineURI = "x-tuf-on-ci-online-uri" // an online key: where the private key is
)

// SigstoreKey is the keytype of an identity whose keys Sigstore certifies, one for
// each signature. Such a key is kept and shown, and no signature of it counts.
const SigstoreKey = "sigstore-oidc"

// MLDSAKey is the keytype of ML-DSA (FIPS 204) as TAP 21 has it. Keys of it are
// verified here, and many clients that are in use cannot: nobody gets one unasked.
const MLDSAKey = "ml-dsa"

// Key is one entry of a `keys` map.
type Key struct {
	ID        string // the keyid it is declared under; need not be the hash of Object
	Object    Object // the whole key object; not to be changed
	Type      string // keytype
	Scheme    string
	Owner     string            // FieldKeyOwner, or empty
	OnlineURI string            // FieldOnlineURI, or empty
	Public    crypto.PublicKey  // nil when Unusable is not
	Unusable  error             // why a signature of this key can never count; nil for a good key
	print     [sha256.Size]byte // of the public key
}

// Holder names who signs with the key: its owner, else its online URI, else "".
func (k *Key) Holder() string {
	if k.Owner != "" {
		return k.Owner
	}
	return k.OnlineURI
}

// Fingerprint is the hex SHA-256 of the public key (its SubjectPublicKeyInfo),
// the same whatever the key is called, however it is encoded and whatever
// custom fields it carries. For a key that cannot be decoded it is the hash of
// its keyval.
func (k *Key) Fingerprint() string { return hex.EncodeToString(k.print[:]) }

// CheckID compares the declared keyid with the hash of the key object. It
// returns the computed id and whether they are equal.
func (k *Key) CheckID() (computed string, ok bool) {
	computed, err := KeyID(k.Object)
	return computed, err == nil && computed == k.ID
}

// DecodeKey reads a key object. An unknown key type, scheme or encoding is not
// an error here: the key is returned with Unusable set, since clients must skip
// such a key and still count the others. An error means the object is not a key
// at all.
func DecodeKey(id string, obj Object) (*Key, error) { return (*Memo)(nil).decodeKey(id, obj) }

// A Memo remembers public keys, so that whoever reads many documents of one
// repository decodes each key once. It remembers no verdict. The zero value is
// ready for use, by one goroutine; it grows with the documents that are read.
type Memo struct{ keys map[publicText]publicKey }

// publicText is all that a usable public key depends on.
type publicText struct{ keytype, scheme, public string }

type publicKey struct {
	key   crypto.PublicKey
	print [sha256.Size]byte
}

func (m *Memo) decodeKey(id string, obj Object) (*Key, error) {
	k := &Key{ID: id, Object: obj}
	var ok bool
	if k.Type, ok = obj["keytype"].(string); !ok {
		return nil, errors.New("keytype is not a string")
	}
	if k.Scheme, ok = obj["scheme"].(string); !ok {
		return nil, errors.New("scheme is not a string")
	}
	val, ok := obj["keyval"].(Object)
	if !ok {
		return nil, errors.New("keyval is not an object")
	}
	// Fields of ours that are not strings say nothing: a client must not stop at
	// what other clients do not look at.
	k.Owner, _ = obj[FieldKeyOwner].(string)
	k.OnlineURI, _ = obj[FieldOnlineURI].(string)
	text, _ := val["public"].(string)
	if m != nil {
		if known, ok := m.keys[publicText{k.Type, k.Scheme, text}]; ok {
			k.Public, k.print = known.key, known.print
			return k, nil
		}
	}
	k.Public, k.Unusable = decodePublic(k.Type, k.Scheme, text)
	if k.Unusable == nil {
		der, err := mldsax509.MarshalPKIXPublicKey(k.Public)
		if err != nil {
			return nil, err
		}
		k.print = sha256.Sum256(der)
		if m != nil {
			if m.keys == nil {
				m.keys = map[publicText]publicKey{}
			}
			m.keys[publicText{k.Type, k.Scheme, text}] = publicKey{k.Public, k.print}
		}
		return k, nil
	}
	raw, err := Canonical(val)
	if err != nil {
		return nil, fmt.Errorf("keyval: %w", err)
	}
	k.print = sha256.Sum256(raw)
	return k, nil
}

func decodePublic(keytype, scheme, text string) (crypto.PublicKey, error) {
	switch keytype {
	case "ecdsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384":
		curve := map[string]elliptic.Curve{
			"ecdsa-sha2-nistp256": elliptic.P256(), "ecdsa-sha2-nistp384": elliptic.P384(),
		}[scheme]
		if curve == nil {
			return nil, fmt.Errorf("scheme %q of key type %s is not supported", scheme, keytype)
		}
		pub, err := decodeECDSA(curve, text)
		if err != nil {
			return nil, err
		}
		if pub.Curve != curve {
			return nil, fmt.Errorf("the key is on curve %s but its scheme is %s", pub.Curve.Params().Name, scheme)
		}
		return pub, nil
	case "ed25519":
		raw, err := hex.DecodeString(text)
		if scheme != "ed25519" {
			return nil, fmt.Errorf("scheme %q of key type ed25519 is not supported", scheme)
		}
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, errors.New("an ed25519 public key is 64 hex digits")
		}
		if smallOrder(raw) {
			return nil, errors.New("the ed25519 public key is a point of small order: anybody can sign for it")
		}
		return ed25519.PublicKey(raw), nil
	case "rsa":
		if _, ok := rsaHash(scheme); !ok {
			return nil, fmt.Errorf("scheme %q of key type rsa is not supported", scheme)
		}
		block, err := onePEM(text, "PUBLIC KEY", "RSA PUBLIC KEY")
		if err != nil {
			return nil, err
		}
		var any crypto.PublicKey
		if block.Type == "PUBLIC KEY" {
			any, err = x509.ParsePKIXPublicKey(block.Bytes)
		} else {
			any, err = x509.ParsePKCS1PublicKey(block.Bytes)
		}
		if err != nil {
			return nil, fmt.Errorf("the PEM block %s holds no RSA public key", block.Type)
		}
		pub, ok := any.(*rsa.PublicKey)
		if !ok || pub.N.BitLen() < minRSABits || pub.N.BitLen() > maxRSABits {
			return nil, fmt.Errorf("the PEM block holds no RSA public key of %d to %d bits", minRSABits, maxRSABits)
		}
		return pub, nil
	case MLDSAKey:
		parameters, ok := mldsaSchemes[scheme]
		if !ok {
			return nil, fmt.Errorf("scheme %q of key type %s is not supported", scheme, MLDSAKey)
		}
		block, err := onePEM(text, "PUBLIC KEY")
		if err != nil {
			return nil, err
		}
		any, err := mldsax509.ParsePKIXPublicKey(block.Bytes)
		pub, ok := any.(*mldsa.PublicKey)
		if err != nil || !ok {
			return nil, errors.New("the PEM block holds no ML-DSA public key")
		}
		if der, err := mldsax509.MarshalPKIXPublicKey(pub); err != nil || !bytes.Equal(der, block.Bytes) {
			return nil, errors.New("the ML-DSA public key is not in the form that others read (DER)") // its bits may be shifted
		}
		if pub.Parameters() != parameters {
			return nil, fmt.Errorf("the key is of %s but its scheme is %s", pub.Parameters(), scheme)
		}
		return pub, nil
	}
	return nil, fmt.Errorf("key type %q is not supported", keytype)
}

// mldsaSchemes are the schemes of ML-DSA keys. The number behind the slash is the
// version of what is signed, see [mldsaMessage]: no other is read.
var mldsaSchemes = map[string]mldsa.Parameters{
	"ml-dsa-44/1": mldsa.MLDSA44(), "ml-dsa-65/1": mldsa.MLDSA65(), "ml-dsa-87/1": mldsa.MLDSA87(),
}

// mldsaMessage is what an ML-DSA key signs for a payload, by version 1 of TAP 21:
// a digest, so that a device need not be sent the payload, behind a word and a
// version, so that the signature means nothing elsewhere. The context is empty.
func mldsaMessage(payload []byte) []byte {
	sum := sha512.Sum512(payload)
	return append([]byte("tuf\x01"), sum[:]...)
}

// The sizes of RSA keys that are taken: smaller ones are weak, larger ones take
// seconds to hours to verify with, and who made the key may be a stranger.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// smallOrder reports whether an Ed25519 public key is one of the points of
// order 1, 2, 4 or 8, for which signatures can be made without a private key.
// crypto/ed25519 accepts them.
func smallOrder(pub []byte) bool {
	y := append([]byte(nil), pub...)
	y[len(y)-1] &= 0x7f // the sign of x
	switch hex.EncodeToString(y) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // y is 0
		"0100000000000000000000000000000000000000000000000000000000000000", // 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // -1
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 0, not reduced
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 1, not reduced
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": // order 8
		return true
	}
	return false
}

// decodeECDSA reads a PEM SubjectPublicKeyInfo or, as Sigstore's production
// roots 1 to 4 have it, an uncompressed point in hex.
func decodeECDSA(curve elliptic.Curve, text string) (*ecdsa.PublicKey, error) {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) > 0 {
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, raw)
		if err != nil {
			return nil, fmt.Errorf("the hex is no point of %s", curve.Params().Name)
		}
		return pub, nil
	}
	block, err := onePEM(text, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	pub, ok := any.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, errors.New("the PEM block holds no ECDSA public key")
	}
	return pub, nil
}

// onePEM reads a PEM block that has one of some labels. Python's readers go by the
// label.
func onePEM(text string, labels ...string) (*pem.Block, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("the public key is not one PEM block")
	}
	if !slices.Contains(labels, block.Type) {
		return nil, fmt.Errorf("the PEM block of the public key is %q, and should be %s", block.Type, strings.Join(labels, " or "))
	}
	return block, nil
}

func rsaHash(scheme string) (crypto.Hash, bool) {
	h, ok := map[string]crypto.Hash{
		"rsassa-pss-sha256": crypto.SHA256, "rsassa-pss-sha384": crypto.SHA384, "rsassa-pss-sha512": crypto.SHA512,
	}[scheme]
	return h, ok
}

// Verify checks a signature over payload, which is the canonical form of the
// signed part. sig is the decoded signature: DER for ECDSA.
func (k *Key) Verify(payload, sig []byte) error {
	if k.Unusable != nil {
		return k.Unusable
	}
	ok := false
	switch pub := k.Public.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, digest(schemeHash(k.Scheme), payload), sig)
	case ed25519.PublicKey:
		ok = len(pub) == ed25519.PublicKeySize && ed25519.Verify(pub, payload, sig)
	case *rsa.PublicKey:
		h, known := rsaHash(k.Scheme)
		ok = known && rsa.VerifyPSS(pub, h, digest(h, payload), sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
	case *mldsa.PublicKey:
		ok = mldsa.Verify(pub, mldsaMessage(payload), sig, nil) == nil
	}
	if !ok {
		return errors.New("the signature does not verify over this content")
	}
	return nil
}

func schemeHash(scheme string) crypto.Hash {
	if strings.HasSuffix(scheme, "384") {
		return crypto.SHA384
	}
	return crypto.SHA256
}

func digest(h crypto.Hash, payload []byte) []byte {
	w := h.New()
	w.Write(payload)
	return w.Sum(nil)
}

// NewKey makes the key object for a public key, the way this format writes it,
// with its keyid computed over the custom fields as well. owner and onlineURI
// may be empty; the text form of an Ed25519 key is hex, of all others PEM.
// RSA keys get the scheme rsassa-pss-sha256. A key that could not be used is an
// error here.
func NewKey(pub crypto.PublicKey, owner, onlineURI string) (*Key, error) {
	obj := Object{}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		obj["keytype"] = "ecdsa"
		switch pub.Curve {
		case elliptic.P256():
			obj["scheme"] = "ecdsa-sha2-nistp256"
		case elliptic.P384():
			obj["scheme"] = "ecdsa-sha2-nistp384"
		default:
			return nil, fmt.Errorf("ECDSA keys on %s are not supported: use P-256 or P-384", pub.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		obj["keytype"], obj["scheme"] = "ed25519", "ed25519"
	case *rsa.PublicKey:
		obj["keytype"], obj["scheme"] = "rsa", "rsassa-pss-sha256"
	case *mldsa.PublicKey:
		obj["keytype"] = MLDSAKey
		for scheme, parameters := range mldsaSchemes {
			if parameters == pub.Parameters() {
				obj["scheme"] = scheme
			}
		}
	default:
		return nil, fmt.Errorf("keys of type %T are not supported: use ECDSA P-256 or P-384, Ed25519, RSA or ML-DSA", pub)
	}
	if raw, ok := pub.(ed25519.PublicKey); ok {
		obj["keyval"] = Object{"public": hex.EncodeToString(raw)}
	} else {
		der, err := mldsax509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return nil, err
		}
		obj["keyval"] = Object{"public": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
	}
	if owner != "" {
		obj[FieldKeyOwner] = owner
	}
	if onlineURI != "" {
		obj[FieldOnlineURI] = onlineURI
	}
	id, err := KeyID(obj)
	if err != nil {
		return nil, err
	}
	k, err := DecodeKey(id, obj)
	if err == nil && k.Unusable != nil {
		err = k.Unusable
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Signer signs payloads with one private key, wherever that key is.
type Signer interface {
	// Public is the public key that the signatures verify with.
	Public() crypto.PublicKey
	// Sign signs the payload itself (it does the hashing) and returns the
	// signature as TUF stores it before hex: DER for ECDSA, PSS for RSA. It may
	// block on a person or a network and must end with ctx. The caller checks
	// the result with the role's key.
	Sign(ctx context.Context, payload []byte) ([]byte, error)
}

// LocalSigner signs with a private key held in memory.
func LocalSigner(key crypto.Signer) Signer { return localSigner{key} }

type localSigner struct{ key crypto.Signer }

func (s localSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s localSigner) Sign(_ context.Context, payload []byte) ([]byte, error) {
	switch pub := s.key.Public().(type) {
	case *ecdsa.PublicKey:
		var h crypto.Hash
		switch pub.Curve {
		case elliptic.P256():
			h = crypto.SHA256
		case elliptic.P384():
			h = crypto.SHA384
		default:
			return nil, fmt.Errorf("ECDSA keys on %s cannot sign TUF metadata: use P-256 or P-384", pub.Curve.Params().Name)
		}
		return s.key.Sign(rand.Reader, digest(h, payload), h)
	case ed25519.PublicKey:
		return s.key.Sign(rand.Reader, payload, crypto.Hash(0))
	case *rsa.PublicKey:
		return s.key.Sign(rand.Reader, digest(crypto.SHA256, payload),
			&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case *mldsa.PublicKey:
		return s.key.Sign(rand.Reader, mldsaMessage(payload), crypto.Hash(0))
	default:
		return nil, fmt.Errorf("keys of type %T cannot sign TUF metadata", pub)
	}
}
