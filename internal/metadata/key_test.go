package metadata_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/metadata"
)

func TestSignAndVerify(t *testing.T) {
	payload := []byte(`{"_type":"targets"}`)
	for _, c := range []struct{ word, keytype, scheme string }{
		{"alice", "ecdsa", "ecdsa-sha2-nistp256"},
		{"compat-alice", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
		{"hex-alice", "ecdsa", "ecdsa-sha2-nistp256"},
		{"p384-alice", "ecdsa", "ecdsa-sha2-nistp384"},
		{"ed-alice", "ed25519", "ed25519"},
		{"rsa-alice", "rsa", "rsassa-pss-sha256"},
		{"mldsa44-alice", "ml-dsa", "ml-dsa-44/1"},
		{"mldsa65-alice", "ml-dsa", "ml-dsa-65/1"},
		{"mldsa87-alice", "ml-dsa", "ml-dsa-87/1"},
	} {
		t.Run(c.word, func(t *testing.T) {
			made := keyFor(t, c.word)
			k, err := metadata.DecodeKey(made.id, made.object)
			if err != nil {
				t.Fatal(err)
			}
			if k.Unusable != nil || k.Type != c.keytype || k.Scheme != c.scheme || k.Owner != "@"+c.word || k.Holder() != k.Owner {
				t.Errorf("decoded as %+v", k)
			}
			if pub, ok := made.private.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(k.Public) {
				t.Errorf("another public key: %v", k.Public)
			}
			sig := made.sign(t, payload)
			if err := k.Verify(payload, sig); err != nil {
				t.Errorf("its own signature: %v", err)
			}
			if k.Verify([]byte(`{"_type":"target"}`), sig) == nil {
				t.Error("verifies over another payload")
			}
			if k.Verify(payload, nil) == nil || k.Verify(payload, sig[:len(sig)-1]) == nil || k.Verify(payload, append(sig[:len(sig):len(sig)], 0)) == nil {
				t.Error("a cut or lengthened signature verifies")
			}
			step := 1
			if c.keytype == "ml-dsa" && os.Getenv("TUFOPS_SOAK") == "" {
				step = 61 // of the thousands of bytes that it has
			}
			for i := 0; i < len(sig); i += step {
				bad := append([]byte(nil), sig...)
				if bad[i] ^= 1; k.Verify(payload, bad) == nil {
					t.Errorf("verifies with a bit of byte %d turned", i)
				}
			}
			stranger := keyFor(t, strings.Replace(c.word, "alice", "mallory", 1))
			if c.keytype != "rsa" && k.Verify(payload, stranger.sign(t, payload)) == nil {
				t.Error("the signature of another key verifies")
			}
		})
	}
}

// A key of a type that nobody here knows must not fail the document, since
// clients skip such keys; and it must never verify anything.
func TestUnusableKeys(t *testing.T) {
	spki := func(pub any) string {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	p256, p384 := spki(private(t, "", "alice").Public()), spki(private(t, "p384", "alice").Public())
	ed, rsaPEM := spki(private(t, "ed", "alice").Public()), spki(rsaKey().Public())
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rawEd := hex.EncodeToString(private(t, "ed", "alice").Public().(ed25519.PublicKey))
	point, err := private(t, "", "alice").Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	offCurve := append([]byte(nil), point...)
	offCurve[64] ^= 1
	smallRSA := spki(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(12345), 2046, 1), E: 65537})
	hugeRSA := spki(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(12345), 1_000_000, 1), E: 65537})
	for _, c := range []struct {
		name, keytype, scheme string
		public                any
		reason                string
	}{
		{"sigstore", "sigstore-oidc", "Fulcio", nil, `key type "sigstore-oidc" is not supported`},
		{"a type of tomorrow", "slh-dsa", "slh-dsa-sha2-128s/1", p256, `key type "slh-dsa" is not supported`},
		{"no type", "", "", p256, `key type "" is not supported`},
		{"type by case", "ECDSA", "ecdsa-sha2-nistp256", p256, `key type "ECDSA" is not supported`},
		{"unknown ECDSA scheme", "ecdsa", "ecdsa-sha2-nistp521", spki(p521.Public()), `scheme "ecdsa-sha2-nistp521" of key type ecdsa is not supported`},
		{"P-521 that claims P-256", "ecdsa", "ecdsa-sha2-nistp256", spki(p521.Public()), "on curve P-521"},
		{"P-256 that claims P-384", "ecdsa", "ecdsa-sha2-nistp384", p256, "the key is on curve P-256 but its scheme is ecdsa-sha2-nistp384"},
		{"P-384 that claims P-256", "ecdsa", "ecdsa-sha2-nistp256", p384, "the key is on curve P-384"},
		{"P-384 under the old P-256 type", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", p384, "the key is on curve P-384"},
		{"ECDSA that is Ed25519", "ecdsa", "ecdsa-sha2-nistp256", ed, "no ECDSA public key"},
		{"ECDSA that is RSA", "ecdsa", "ecdsa-sha2-nistp256", rsaPEM, "no ECDSA public key"},
		{"no public", "ecdsa", "ecdsa-sha2-nistp256", nil, "not one PEM block"},
		{"public is a number", "ecdsa", "ecdsa-sha2-nistp256", 5, "not one PEM block"},
		{"empty public", "ecdsa", "ecdsa-sha2-nistp256", "", "not one PEM block"},
		{"trailing junk", "ecdsa", "ecdsa-sha2-nistp256", p256 + "junk", "not one PEM block"},
		{"a second block", "ecdsa", "ecdsa-sha2-nistp256", p256 + p256, "not one PEM block"},
		{"another label", "ecdsa", "ecdsa-sha2-nistp256", strings.ReplaceAll(p256, "PUBLIC KEY", "EC PUBLIC KEY"), "is \"EC PUBLIC KEY\", and should be PUBLIC KEY"},
		{"junk inside the DER", "ecdsa", "ecdsa-sha2-nistp256", pemOf(t, append(derOf(t, p256), 0)), "no ECDSA public key"},
		{"hex point off the curve", "ecdsa", "ecdsa-sha2-nistp256", hex.EncodeToString(offCurve), "the hex is no point of P-256"},
		{"hex point at infinity", "ecdsa", "ecdsa-sha2-nistp256", "00", "the hex is no point of P-256"},
		{"hex point too long", "ecdsa", "ecdsa-sha2-nistp256", hex.EncodeToString(append(point[:65:65], 0)), "the hex is no point of P-256"},
		{"hex point compressed", "ecdsa", "ecdsa-sha2-nistp256", "02" + hex.EncodeToString(point[1:33]), "the hex is no point of P-256"},
		{"hex point of the other curve", "ecdsa", "ecdsa-sha2-nistp384", hex.EncodeToString(point), "the hex is no point of P-384"},
		{"Ed25519 too short", "ed25519", "ed25519", rawEd[2:], "64 hex digits"},
		{"Ed25519 not hex", "ed25519", "ed25519", strings.Repeat("g", 64), "64 hex digits"},
		{"Ed25519 as PEM", "ed25519", "ed25519", ed, "64 hex digits"},
		{"Ed25519 with another scheme", "ed25519", "ed25519ph", rawEd, `scheme "ed25519ph"`},
		{"RSA PKCS #1 v1.5", "rsa", "rsa-pkcs1v15-sha256", rsaPEM, `scheme "rsa-pkcs1v15-sha256"`},
		{"RSA of 2047 bits", "rsa", "rsassa-pss-sha256", smallRSA, "2048 to 16384 bits"},
		{"RSA of a million bits", "rsa", "rsassa-pss-sha256", hugeRSA, "2048 to 16384 bits"},
		{"RSA that is ECDSA", "rsa", "rsassa-pss-sha256", p256, "no RSA public key"},
		{"RSA with another label", "rsa", "rsassa-pss-sha256", strings.ReplaceAll(rsaPEM, "PUBLIC KEY", "KEY"), "and should be PUBLIC KEY or RSA PUBLIC KEY"},
		{"RSA with the label of PKCS #1", "rsa", "rsassa-pss-sha256", strings.ReplaceAll(rsaPEM, "PUBLIC KEY", "RSA PUBLIC KEY"), "RSA PUBLIC KEY holds no RSA public key"},
		{"RSA trailing junk", "rsa", "rsassa-pss-sha256", rsaPEM + "x", "not one PEM block"},
	} {
		t.Run(c.name, func(t *testing.T) {
			val := metadata.Object{"public": c.public}
			if c.public == nil {
				val = metadata.Object{"identity": "alice@example.com"}
			}
			k, err := metadata.DecodeKey("id", metadata.Object{"keytype": c.keytype, "scheme": c.scheme, "keyval": val, metadata.FieldKeyOwner: "@alice"})
			if err != nil {
				t.Fatalf("an unusable key is an error: %v", err)
			}
			if k.Unusable == nil || !strings.Contains(k.Unusable.Error(), c.reason) {
				t.Errorf("unusable because of %v, want %s", k.Unusable, c.reason)
			}
			if k.Public != nil {
				t.Fatal("it has a public key")
			}
			if len(k.Fingerprint()) != 64 || k.Fingerprint() == strings.Repeat("0", 64) || k.Owner != "@alice" {
				t.Errorf("fingerprint %s, owner %s", k.Fingerprint(), k.Owner)
			}
			if err := k.Verify([]byte("x"), nil); err == nil || err != k.Unusable {
				t.Errorf("verifying gives %v, want why it is unusable", err)
			}
		})
	}
}

func derOf(t *testing.T, text string) []byte {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func pemOf(_ *testing.T, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Keys that no DecodeKey made: a mistake of a caller must not count as a
// signature.
func TestVerifyFailsClosed(t *testing.T) {
	for name, k := range map[string]*metadata.Key{
		"zero":             {},
		"unknown type":     {Public: "not a key"},
		"RSA, no scheme":   {Public: rsaKey().Public()},
		"value, not point": {Public: *rsaKey().Public().(*rsa.PublicKey)},
		"zero ML-DSA":      {Public: &mldsa.PublicKey{}, Type: "ml-dsa", Scheme: "ml-dsa-44/1"},
	} {
		if err := k.Verify([]byte("x"), nil); err == nil {
			t.Errorf("%s: verifies", name)
		}
	}
}

// With a public key of small order anybody can make a signature that verifies,
// over any content.
func TestEd25519SmallOrderKeysAreUnusable(t *testing.T) {
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	} {
		k, err := metadata.DecodeKey("id", metadata.Object{"keytype": "ed25519", "scheme": "ed25519", "keyval": metadata.Object{"public": text}})
		if err != nil {
			t.Fatal(err)
		}
		if k.Unusable == nil {
			t.Errorf("%s is usable", text)
		}
		// The forgery: R is the identity, S is zero. It holds for one payload in
		// eight at least, whatever the payload says.
		forged := append([]byte{1}, make([]byte, 63)...)
		for i := range 256 {
			if k.Verify([]byte{byte(i)}, forged) == nil {
				t.Errorf("a signature forged without a private key verifies under %s", text)
				break
			}
		}
	}
}

func TestDecodeKeyRefusesWhatIsNoKey(t *testing.T) {
	good := func() metadata.Object { return keyFor(t, "alice").object }
	for _, c := range []struct {
		field  string
		value  any
		reason string
	}{
		{"keytype", nil, "keytype is not a string"},
		{"scheme", true, "scheme is not a string"},
		{"keyval", "x", "keyval is not an object"},
	} {
		o := good()
		o[c.field] = c.value
		if k, err := metadata.DecodeKey("id", o); err == nil || k != nil || err.Error() != c.reason {
			t.Errorf("%s = %v: %v, %v; want %s", c.field, c.value, k, err, c.reason)
		}
		delete(o, c.field)
		if _, err := metadata.DecodeKey("id", o); err == nil {
			t.Errorf("a key without %s", c.field)
		}
	}
	// Our own fields are none of a client's business.
	for _, field := range []string{metadata.FieldKeyOwner, metadata.FieldOnlineURI} {
		o := good()
		o[field] = []any{}
		if k, err := metadata.DecodeKey("id", o); err != nil || k.Unusable != nil || k.Owner != "" && field == metadata.FieldKeyOwner {
			t.Errorf("%s is a list: %+v, %v", field, k, err)
		}
	}
}

func TestRSAForms(t *testing.T) {
	spki := keyFor(t, "rsa-alice")
	pkcs1 := metadata.Clone(spki.object)
	pkcs1["keyval"] = metadata.Object{"public": string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey),
	}))}
	first, err := metadata.DecodeKey("a", spki.object)
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.DecodeKey("b", pkcs1)
	if err != nil || k.Unusable != nil {
		t.Fatal(err, k.Unusable)
	}
	if k.Fingerprint() != first.Fingerprint() {
		t.Error("PKCS #1 and SubjectPublicKeyInfo of one key are told apart")
	}
	payload := []byte("payload")
	for scheme, h := range map[string]crypto.Hash{
		"rsassa-pss-sha256": crypto.SHA256, "rsassa-pss-sha384": crypto.SHA384, "rsassa-pss-sha512": crypto.SHA512,
	} {
		o := metadata.Clone(spki.object)
		o["scheme"] = scheme
		k, err := metadata.DecodeKey("id", o)
		if err != nil || k.Unusable != nil {
			t.Fatal(err, k.Unusable)
		}
		w := h.New()
		w.Write(payload)
		for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto} {
			sig, err := rsaKey().Sign(rand.Reader, w.Sum(nil), &rsa.PSSOptions{SaltLength: salt, Hash: h})
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Verify(payload, sig); err != nil {
				t.Errorf("%s with salt length %d: %v", scheme, salt, err)
			}
		}
		sig, err := rsaKey().Sign(rand.Reader, w.Sum(nil), h)
		if err != nil {
			t.Fatal(err)
		}
		if k.Verify(payload, sig) == nil {
			t.Errorf("%s takes a PKCS #1 v1.5 signature", scheme)
		}
	}
}

// One public key has one fingerprint, however it is written and called.
func TestFingerprint(t *testing.T) {
	decode := func(word string) *metadata.Key {
		made := keyFor(t, word)
		k, err := metadata.DecodeKey(made.id, made.object)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	alice := decode("alice")
	der, err := x509.MarshalPKIXPublicKey(alice.Public)
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256Hex(der); alice.Fingerprint() != want {
		t.Errorf("fingerprint %s, want the hash of the SubjectPublicKeyInfo, %s", alice.Fingerprint(), want)
	}
	for _, same := range []string{"alice2=alice", "hex-alice", "compat-alice"} {
		k := decode(same)
		if k.Fingerprint() != alice.Fingerprint() {
			t.Errorf("%s has another fingerprint than alice", same)
		}
		if k.ID == alice.ID {
			t.Errorf("%s has the keyid of alice", same)
		}
	}
	upper := keyFor(t, "hex-alice").object
	val := upper["keyval"].(metadata.Object)
	val["public"] = strings.ToUpper(val["public"].(string))
	if k, err := metadata.DecodeKey("id", upper); err != nil || k.Fingerprint() != alice.Fingerprint() {
		t.Errorf("upper-case hex is told apart: %v", err)
	}
	seen := map[string]string{}
	for _, word := range []string{"alice", "bob", "p384-alice", "ed-alice", "rsa-alice", "mldsa44-alice", "mldsa65-alice", "sigstore-alice", "sigstore-bob"} {
		f := decode(word).Fingerprint()
		if other := seen[f]; other != "" {
			t.Errorf("%s and %s share a fingerprint", word, other)
		}
		seen[f] = word
	}
}

// Whatever has been read before, a document reads the same. Kills: a memo that
// goes by keyid or by the key's text alone, and one that remembers that a key is good.
func TestMemo(t *testing.T) {
	ed, p256 := keyFor(t, "ed-alice").object, keyFor(t, "alice").object
	with := func(o metadata.Object, name string, value any) metadata.Object {
		o = metadata.Clone(o)
		o[name] = value
		return o
	}
	rename := func(o metadata.Object, name string, value any) metadata.Object {
		o = metadata.Clone(o)
		o["keyval"].(metadata.Object)[name] = value
		return o
	}
	keys := []metadata.Object{
		ed, p256, keyFor(t, "bob").object, keyFor(t, "hex-alice").object, keyFor(t, "p384-alice").object, keyFor(t, "rsa-alice").object,
		keyFor(t, "mldsa44-alice").object, keyFor(t, "mldsa65-alice").object, with(keyFor(t, "mldsa65-alice").object, "scheme", "ml-dsa-44/1"),
		with(ed, metadata.FieldKeyOwner, "@alice"), with(p256, metadata.FieldOnlineURI, "file2:x"),
		with(p256, "scheme", "ecdsa-sha2-nistp384"), with(p256, "keytype", "ed25519"), with(ed, "keytype", "rsa"),
		rename(ed, "public", "00"), rename(p256, "x-more", "field"), rename(ed, "public", int64(1)),
	}
	var memo metadata.Memo
	for round := range 2 {
		for i, o := range keys {
			document, err := metadata.Parse(rootWithKey("same-id", o))
			if err != nil {
				t.Fatal(err)
			}
			remembered, err := memo.Parse(rootWithKey("same-id", o))
			if err != nil {
				t.Fatal(err)
			}
			want, got := document.Delegations().Keys["same-id"], remembered.Delegations().Keys["same-id"]
			if !reflect.DeepEqual(got, want) {
				t.Errorf("round %d, key %d: %+v, want %+v", round, i, got, want)
			}
		}
	}
	public := func(parse func([]byte) (*metadata.Document, error)) any {
		doc, err := parse(rootWithKey("another-id", p256))
		if err != nil {
			t.Fatal(err)
		}
		return doc.Delegations().Keys["another-id"].Public // a pointer
	}
	if public(memo.Parse) != public(memo.Parse) || public(memo.Parse) == public(metadata.Parse) {
		t.Error("the key was decoded again, or remembered by nobody's memo")
	}
	if _, err := memo.Parse(rootWithKey("id", with(ed, "keytype", nil))); err == nil {
		t.Error("a key without a type was read")
	}
}

// rootWithKey is an unsigned root that declares one key.
func rootWithKey(id string, key metadata.Object) []byte {
	role := metadata.Object{"keyids": []any{}, "threshold": int64(1)}
	return metadata.Write(metadata.Object{"signatures": []any{}, "signed": metadata.Object{
		"_type": "root", "spec_version": "1.0", "version": int64(1), "expires": "2036-01-31T00:00:00Z",
		"keys":  metadata.Object{id: key},
		"roles": metadata.Object{"root": role, "timestamp": role, "snapshot": role, "targets": role},
	}})
}

func TestNewKey(t *testing.T) {
	k, err := metadata.NewKey(private(t, "", "alice").Public(), "@alice", "")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "keytype": "ecdsa",
 "keyval": {
  "public": "-----BEGIN PUBLIC KEY-----\n%s\n%s\n-----END PUBLIC KEY-----\n"
 },
 "scheme": "ecdsa-sha2-nistp256",
 "x-tuf-on-ci-keyowner": "@alice"
}`
	lines := strings.Split(k.Object["keyval"].(metadata.Object)["public"].(string), "\n")
	if got := string(metadata.Write(k.Object)); got != strings.Replace(strings.Replace(want, "%s", lines[1], 1), "%s", lines[2], 1) {
		t.Errorf("the key object is %s", got)
	}
	id, err := metadata.KeyID(k.Object)
	if err != nil || k.ID != id {
		t.Errorf("keyid %s, want %s, %v", k.ID, id, err)
	}
	if computed, ok := k.CheckID(); !ok || computed != id {
		t.Errorf("CheckID = %s, %v", computed, ok)
	}
	k.ID = "other"
	if computed, ok := k.CheckID(); ok || computed != id {
		t.Errorf("CheckID of a key under another id = %s, %v", computed, ok)
	}
	online, err := metadata.NewKey(private(t, "p384", "kms").Public(), "", "awskms:alias/x")
	if err != nil || online.Holder() != "awskms:alias/x" || online.Scheme != "ecdsa-sha2-nistp384" || online.Owner != "" {
		t.Errorf("online key %+v, %v", online, err)
	}
	if _, there := online.Object[metadata.FieldKeyOwner]; there {
		t.Error("an empty owner is written")
	}
	if bare, err := metadata.NewKey(private(t, "ed", "x").Public(), "", ""); err != nil || bare.Holder() != "" || len(bare.Object) != 3 {
		t.Errorf("bare key %+v, %v", bare, err)
	}
	if k, err := metadata.NewKey(private(t, "", "alice").Public(), "", ""); err != nil || k.ID == id {
		t.Errorf("the keyid does not depend on the owner: %v", err)
	}
}

// A key that could never count is not made.
func TestNewKeyRefuses(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, pub := range map[string]crypto.PublicKey{
		"P-521":         p521.Public(),
		"small RSA":     &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537},
		"short Ed25519": ed25519.PublicKey("short"),
		"small order":   ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...)),
		"a string":      "key",
		"nil":           nil,
	} {
		if k, err := metadata.NewKey(pub, "@alice", ""); err == nil || k != nil {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if sig, err := metadata.LocalSigner(p521).Sign(t.Context(), []byte("x")); err == nil {
		t.Errorf("a P-521 key signs: %x", sig)
	}
}

// Verification must stay cheap whatever key a stranger puts into a file.
func TestHostileRSAKeyIsCheap(t *testing.T) {
	n := new(big.Int).SetBit(big.NewInt(12345), 16_000, 1)
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.DecodeKey("id", metadata.Object{
		"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": metadata.Object{"public": pemOf(t, der)},
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if k.Verify([]byte("x"), make([]byte, 2001)) == nil {
		t.Error("verifies")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("verifying took %v", took)
	}
}
