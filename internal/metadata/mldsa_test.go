package metadata_test

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"github.com/tufops/tufops/internal/metadata"
)

// The public keys of a seed, and the signatures without randomness of what TAP 21
// makes of a payload, as another implementation computes them (dilithium-py
// 1.5.1). Kills: a wrong parameter set, prefix, digest or context, on both sides.
func TestMLDSAKnownAnswers(t *testing.T) {
	payload := []byte(`{"_type":"targets"}`)
	sum := sha512.Sum512(payload)
	message := append([]byte{'t', 'u', 'f', 1}, sum[:]...)
	for _, c := range []struct{ form, scheme, public, sig string }{
		{"mldsa44", "ml-dsa-44/1", "47e03bfe215fc642de49a700c7f22d285f076fa82070dd0bebf6a666e6e9898a", "ac110f84fea4dd215ec1fab822ed4e5666b75503443215231644ff0d7c6ae62c"},
		{"mldsa65", "ml-dsa-65/1", "c731fa8e5feedd87a92322404972d21c4da8ee849834c44424ed896560a3386c", "3d0427ead0a1071457975d4602958df5bb750a5752d2db8295dc61591537edfe"},
		{"mldsa87", "ml-dsa-87/1", "ac59a528e3a1b5b98af9ac5dcbc944ef00e430f86075b3b8dd0f6d343f60615f", "e14e43c96ed9a0e7c4747d9e2be1d8c18ebf8f94edc506e33ab5b5052870783e"},
	} {
		p := private(t, c.form, "alice").(*mldsa.PrivateKey)
		if got := sha256Hex(p.PublicKey().Bytes()); got != c.public {
			t.Errorf("%s: the public key of the seed has the hash %s, want %s", c.form, got, c.public)
		}
		sig, err := p.SignDeterministic(message, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256Hex(sig); got != c.sig {
			t.Errorf("%s: the signature has the hash %s, want %s", c.form, got, c.sig)
		}
		k, err := metadata.NewKey(p.Public(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if k.Type != "ml-dsa" || k.Scheme != c.scheme {
			t.Errorf("%s: the key has type %s and scheme %s", c.form, k.Type, k.Scheme)
		}
		if err := k.Verify(payload, sig); err != nil {
			t.Errorf("%s: %v", c.form, err)
		}
	}
}

// What a key has signed, but not as TAP 21 says, is no signature. Kills: trying
// several readings.
func TestMLDSAOtherReadings(t *testing.T) {
	payload := []byte(`{"_type":"targets"}`)
	long, short := sha512.Sum512(payload), sha256.Sum256(payload)
	prefixed := func(prefix string, digest []byte) []byte { return append([]byte(prefix), digest...) }
	for _, form := range []string{"mldsa44", "mldsa65", "mldsa87"} {
		p := private(t, form, "alice").(*mldsa.PrivateKey)
		k, err := metadata.NewKey(p.Public(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name    string
			message []byte
			context string
			good    bool
		}{
			{"as TAP 21 has it", prefixed("tuf\x01", long[:]), "", true},
			{"the payload itself", payload, "", false},
			{"the digest alone", long[:], "", false},
			{"another version", prefixed("tuf\x02", long[:]), "", false},
			{"the version as a digit", prefixed("tuf1", long[:]), "", false},
			{"another word", prefixed("TUF\x01", long[:]), "", false},
			{"SHA-256", prefixed("tuf\x01", short[:]), "", false},
			{"the digest in hex", prefixed("tuf\x01", []byte(hex.EncodeToString(long[:]))), "", false},
			{"the word as context", long[:], "tuf\x01", false},
			{"a context besides", prefixed("tuf\x01", long[:]), "tuf", false},
			{"the digest of the message", func() []byte { d := sha512.Sum512(prefixed("tuf\x01", long[:])); return d[:] }(), "", false},
		} {
			sig, err := p.SignDeterministic(c.message, &mldsa.Options{Context: c.context})
			if err != nil {
				t.Fatal(err)
			}
			if got := k.Verify(payload, sig) == nil; got != c.good {
				t.Errorf("%s, %s: verifies %v", form, c.name, got)
			}
		}
	}
}

// ML-DSA keys that contradict themselves, or are not as RFC 9881 writes them:
// other readers would see another key, or none.
func TestMLDSAUnusableKeys(t *testing.T) {
	of := func(form string) *mldsa.PublicKey { return private(t, form, "alice").(*mldsa.PrivateKey).PublicKey() }
	spki := func(pub crypto.PublicKey) []byte {
		der, err := mldsax509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	text := func(der []byte) string { return pemOf(t, der) }
	der := spki(of("mldsa65"))
	type info struct {
		Algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	edited := func(edit func(*info)) string {
		var i info
		if _, err := asn1.Unmarshal(der, &i); err != nil {
			t.Fatal(err)
		}
		edit(&i)
		out, err := asn1.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return text(out)
	}
	if k, err := metadata.DecodeKey("id", metadata.Object{"keytype": "ml-dsa", "scheme": "ml-dsa-65/1", "keyval": metadata.Object{"public": edited(func(*info) {})}}); err != nil || k.Unusable != nil {
		t.Fatalf("the key itself cannot be used: %v, %v", err, k.Unusable)
	}
	for _, c := range []struct{ name, scheme, public, reason string }{
		{"scheme of a lower level", "ml-dsa-44/1", text(der), "the key is of ML-DSA-65 but its scheme is ml-dsa-44/1"},
		{"scheme of a higher level", "ml-dsa-87/1", text(der), "the key is of ML-DSA-65 but its scheme is ml-dsa-87/1"},
		{"version to come", "ml-dsa-65/2", text(der), `scheme "ml-dsa-65/2" of key type ml-dsa is not supported`},
		{"version zero", "ml-dsa-65/0", text(der), `scheme "ml-dsa-65/0"`},
		{"version with a leading zero", "ml-dsa-65/01", text(der), `scheme "ml-dsa-65/01"`},
		{"no version", "ml-dsa-65", text(der), `scheme "ml-dsa-65"`},
		{"no scheme", "", text(der), `scheme ""`},
		{"by case", "ML-DSA-65/1", text(der), `scheme "ML-DSA-65/1"`},
		{"no level", "ml-dsa/1", text(der), `scheme "ml-dsa/1"`},
		{"scheme of ECDSA", "ecdsa-sha2-nistp256", text(der), `scheme "ecdsa-sha2-nistp256"`},
		{"hex", "ml-dsa-65/1", hex.EncodeToString(of("mldsa65").Bytes()), "not one PEM block"},
		{"an ECDSA key", "ml-dsa-65/1", text(spki(private(t, "", "alice").Public())), "no ML-DSA public key"},
		{"an Ed25519 key", "ml-dsa-65/1", text(spki(private(t, "ed", "alice").Public())), "no ML-DSA public key"},
		{"another label", "ml-dsa-65/1", strings.ReplaceAll(text(der), "PUBLIC KEY", "ML-DSA-65 PUBLIC KEY"), `is "ML-DSA-65 PUBLIC KEY", and should be PUBLIC KEY`},
		{"two blocks", "ml-dsa-65/1", text(der) + text(der), "not one PEM block"},
		{"junk behind the DER", "ml-dsa-65/1", text(append(slices.Clone(der), 0)), "no ML-DSA public key"},
		{"the OID of another level", "ml-dsa-44/1", edited(func(i *info) { i.Algorithm.OID[8] = 17 }), "no ML-DSA public key"},
		{"parameters that are null", "ml-dsa-65/1", edited(func(i *info) { i.Algorithm.Parameters = asn1.NullRawValue }), "no ML-DSA public key"},
		{"a byte short", "ml-dsa-65/1", edited(func(i *info) { i.Key.Bytes = i.Key.Bytes[1:]; i.Key.BitLength -= 8 }), "no ML-DSA public key"},
		{"a byte more", "ml-dsa-65/1", edited(func(i *info) { i.Key.Bytes = append(i.Key.Bytes, 0); i.Key.BitLength += 8 }), "no ML-DSA public key"},
		{"bits that are not used", "ml-dsa-65/1", edited(func(i *info) {
			i.Key.Bytes = slices.Clone(i.Key.Bytes)
			i.Key.Bytes[len(i.Key.Bytes)-1] &= 0xfe
			i.Key.BitLength--
		}), "not in the form that others read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := metadata.DecodeKey("id", metadata.Object{"keytype": "ml-dsa", "scheme": c.scheme, "keyval": metadata.Object{"public": c.public}})
			if err != nil {
				t.Fatalf("an unusable key is an error: %v", err)
			}
			if k.Unusable == nil || !strings.Contains(k.Unusable.Error(), c.reason) || k.Public != nil {
				t.Errorf("unusable because of %v (%v), want %s", k.Unusable, k.Public, c.reason)
			}
		})
	}
}

// An ML-DSA key stands in metadata as RFC 9881 and TAP 21 write it.
func TestMLDSAKeyObject(t *testing.T) {
	k := keyFor(t, "mldsa44-alice")
	text := k.object["keyval"].(metadata.Object)["public"].(string)
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		t.Fatalf("the public key is %q", text)
	}
	// SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.3.17 }, BIT STRING }
	const head = "30820532300b06096086480165030403110382052100"
	raw := k.private.(*mldsa.PrivateKey).PublicKey().Bytes()
	if got, want := hex.EncodeToString(block.Bytes), head+hex.EncodeToString(raw); got != want {
		t.Errorf("the DER is %.80s..., want %.80s...", got, want)
	}
	if made, err := metadata.DecodeKey(k.id, k.object); err != nil || made.Fingerprint() != sha256Hex(block.Bytes) {
		t.Errorf("the fingerprint is not the hash of the SubjectPublicKeyInfo: %v", err)
	}
}
