package metadata_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/metadata"
)

// testKey is a key of a tiny repository, made from a word like "alice",
// "ed-bob", or "hex-alice2=alice": the form of the key object, then whose it is,
// then whose private key it has, if not their own.
type testKey struct {
	id      string
	object  metadata.Object
	private crypto.Signer
}

// The private half is a hash of a name, so that every run has the same keys.
func private(t testing.TB, form, who string) crypto.Signer {
	seed := sha256.Sum256([]byte(who))
	switch form {
	case "ed":
		return ed25519.NewKeyFromSeed(seed[:])
	case "rsa":
		return rsaKey()
	case "p384", "as256":
		wide := make([]byte, 48)
		copy(wide[16:], seed[:])
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), wide)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if parameters, ok := mldsaForms[form]; ok {
		k, err := mldsa.NewPrivateKey(parameters, seed[:])
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var mldsaForms = map[string]mldsa.Parameters{"mldsa44": mldsa.MLDSA44(), "mldsa65": mldsa.MLDSA65(), "mldsa87": mldsa.MLDSA87()}

// rsaKey is the one RSA key of the tests: they are slow to make.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func keyFor(t testing.TB, word string) testKey {
	t.Helper()
	name, whose, shared := strings.Cut(word, "=")
	if !shared {
		whose = name
		if _, bare, ok := strings.Cut(name, "-"); ok {
			whose = bare
		}
	}
	form, _, _ := strings.Cut(name, "-")
	p := private(t, form, whose)
	k, err := metadata.NewKey(p.Public(), "@"+name, "")
	if err != nil {
		t.Fatal(err)
	}
	o := metadata.Clone(k.Object)
	val := o["keyval"].(metadata.Object)
	switch form {
	case "hex": // an uncompressed point, as in Sigstore's production roots 1 to 4
		raw, err := p.Public().(*ecdsa.PublicKey).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		val["public"] = hex.EncodeToString(raw)
	case "compat":
		o["keytype"] = "ecdsa-sha2-nistp256"
	case "as384": // a P-256 key that claims the other scheme
		o["scheme"] = "ecdsa-sha2-nistp384"
	case "as256": // and the reverse
		o["scheme"] = "ecdsa-sha2-nistp256"
	case "oddscheme":
		o["scheme"] = "ecdsa-sha2-nistp521"
	case "junk":
		val["public"] = val["public"].(string) + "junk"
	case "sigstore":
		o["keytype"], o["scheme"] = "sigstore-oidc", "Fulcio"
		o["keyval"] = metadata.Object{"identity": name + "@example.com", "issuer": "https://accounts.example.com"}
	case "future": // a type that nobody knows yet
		o["keytype"], o["scheme"] = "slh-dsa", "slh-dsa-sha2-128s/1"
	}
	id, err := metadata.KeyID(o)
	if err != nil {
		t.Fatal(err)
	}
	return testKey{id: id, object: o, private: p}
}

func (k testKey) sign(t testing.TB, payload []byte) []byte {
	t.Helper()
	sig, err := metadata.LocalSigner(k.private).Sign(context.Background(), payload)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// situation is a delegator and a document, drawn in words: the delegator's
// keys, the keyids that its delegation lists, and the entries of the
// document's signature list. An entry is a key and, after a colon, what is odd
// about it: empty, other (another payload is signed), nothex, upper, short, or
// by=KEY (KEY signed it).
type situation struct {
	keys, lists, signed string
	threshold           any // int or int64
}

// build makes a root that delegates targets in that way, and the targets
// document. names gives the key that a keyid was made from.
func (s situation) build(t testing.TB) (root, targets *metadata.Document, names map[string]string) {
	t.Helper()
	names = map[string]string{}
	find := func(name string) testKey {
		for _, word := range strings.Fields(s.keys) {
			if bare, _, _ := strings.Cut(word, "="); bare == name {
				name = word
			}
		}
		k := keyFor(t, name)
		bare, _, _ := strings.Cut(name, "=")
		names[k.id] = bare
		return k
	}
	keys := metadata.Object{}
	for _, word := range strings.Fields(s.keys) {
		bare, _, _ := strings.Cut(word, "=")
		k := find(bare)
		keys[k.id] = k.object
	}
	admin := keyFor(t, "admin")
	keys[admin.id] = admin.object
	lists := []any{}
	for _, name := range strings.Fields(s.lists) {
		lists = append(lists, find(name).id)
	}
	other := metadata.Object{"keyids": []any{admin.id}, "threshold": 1}
	root, err := metadata.New(metadata.Object{
		"_type": "root", "spec_version": "1.0.31", "version": 1, "expires": "2036-01-31T00:00:00Z",
		"consistent_snapshot": true, "keys": keys,
		"roles": metadata.Object{
			"root": other, "timestamp": other, "snapshot": other,
			"targets": metadata.Object{"keyids": lists, "threshold": s.threshold},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := tinyTargets(t).Signed()
	targets, err = metadata.New(metadata.Clone(signed), nil)
	if err != nil {
		t.Fatal(err)
	}
	var sigs []metadata.Signature
	for _, entry := range strings.Fields(s.signed) {
		name, odd, _ := strings.Cut(entry, ":")
		k := find(name)
		signer, payload := k, targets.Payload()
		if by, ok := strings.CutPrefix(odd, "by="); ok {
			signer = find(by)
		}
		if odd == "other" {
			payload = append([]byte("x"), payload...)
		}
		sig := hex.EncodeToString(signer.sign(t, payload))
		switch odd {
		case "empty":
			sig = ""
		case "nothex":
			sig = "MEUCIQ=="
		case "upper":
			sig = strings.ToUpper(sig)
		case "short":
			sig = sig[:len(sig)-2]
		}
		sigs = append(sigs, metadata.Signature{KeyID: k.id, Sig: sig})
	}
	targets, err = targets.WithSigned(metadata.Clone(signed), sigs)
	if err != nil {
		t.Fatal(err)
	}
	return root, targets, names
}

// tinyRoot is a root with every field that this format knows and some that
// nobody knows.
func tinyRoot(t testing.TB) *metadata.Document {
	t.Helper()
	alice, bob, online := keyFor(t, "alice"), keyFor(t, "ed-bob"), keyFor(t, "online")
	delete(online.object, metadata.FieldKeyOwner)
	online.object[metadata.FieldOnlineURI] = "gcpkms:projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/2"
	online.object["unknown"] = metadata.Object{"é": "<&>"}
	id, err := metadata.KeyID(online.object)
	if err != nil {
		t.Fatal(err)
	}
	online.id = id
	persons := func() metadata.Object {
		return metadata.Object{"keyids": []any{alice.id, bob.id}, "threshold": 2}
	}
	machine := func() metadata.Object {
		return metadata.Object{"keyids": []any{online.id}, "threshold": 1, metadata.FieldExpiryPeriod: 7, metadata.FieldSigningPeriod: 4}
	}
	d, err := metadata.New(metadata.Object{
		"_type": "root", "spec_version": "1.0.31", "version": 3, "expires": "2026-01-31T00:00:00Z", "consistent_snapshot": true,
		metadata.FieldExpiryPeriod: 182, "unknown": []any{nil, true, "\x7f"},
		"keys":  metadata.Object{alice.id: alice.object, bob.id: bob.object, online.id: online.object},
		"roles": metadata.Object{"root": persons(), "targets": persons(), "snapshot": machine(), "timestamp": machine()},
	}, []metadata.Signature{{KeyID: alice.id}})
	if err != nil {
		t.Fatal(err)
	}
	if d, err = d.WithSignature(bob.id, bob.sign(t, d.Payload())); err != nil {
		t.Fatal(err)
	}
	return d
}

// tinyTargets is a targets document with one delegated role and one artifact.
func tinyTargets(t testing.TB) *metadata.Document {
	t.Helper()
	carol := keyFor(t, "carol")
	d, err := metadata.New(metadata.Object{
		"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2036-01-31T00:00:00Z",
		metadata.FieldExpiryPeriod: 365, metadata.FieldSigningPeriod: 60,
		"targets": metadata.Object{"a.txt": metadata.Object{
			"length": 3, "hashes": metadata.Object{"sha256": strings.Repeat("ab", 32)}, "custom": metadata.Object{"x": nil},
		}},
		"delegations": metadata.Object{
			"keys": metadata.Object{carol.id: carol.object},
			"roles": []any{metadata.Object{
				"name": "npm", "keyids": []any{carol.id}, "threshold": 1, "terminating": true, "paths": []any{"npm/*", "npm/*/*"},
			}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tinySnapshot(t testing.TB) *metadata.Document {
	t.Helper()
	d, err := metadata.New(metadata.Object{
		"_type": "snapshot", "spec_version": "1.0.31", "version": 2, "expires": "2036-01-31T00:00:00Z",
		"meta": metadata.Object{
			"targets.json": metadata.Object{"version": 1},
			"npm.json":     metadata.Object{"version": 4, "length": 0, "hashes": metadata.Object{"sha256": strings.Repeat("ab", 32)}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func tinyTimestamp(t testing.TB) *metadata.Document {
	t.Helper()
	d, err := metadata.New(metadata.Object{
		"_type": "timestamp", "spec_version": "1.0.31", "version": 9, "expires": "2036-01-31T00:00:00Z",
		"meta": metadata.Object{"snapshot.json": metadata.Object{"version": 2}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// useAll calls every accessor of a document; none may panic.
func useAll(d *metadata.Document) {
	d.Type()
	d.SpecVersion()
	d.Version()
	d.Expired(d.Expires())
	for _, s := range d.Signatures() {
		s.Bytes() //nolint:errcheck // only that it does not panic
	}
	for _, dup := range d.Duplicates() {
		_ = dup.String()
	}
	d.Payload()
	d.Raw()
	d.Bytes()
	d.Targets()
	d.Meta()
	d.ConsistentSnapshot()
	metadata.PeriodOf(d.Signed())
	use := func(del metadata.Delegation) {
		del.Covers("npm/a")
		del.PublicKeys()
		metadata.PeriodOf(del.Object)
		metadata.Check(del, d).Met()
	}
	for _, role := range append([]string{"", "npm", "bin-0", "bin-f"}, metadata.TopLevel...) {
		if del, ok := d.Delegation(role); ok {
			use(del)
		}
	}
	if dels := d.Delegations(); dels != nil {
		for _, del := range dels.Roles {
			use(del)
		}
		for _, k := range dels.Keys {
			k.Holder()
			k.Fingerprint()
			k.CheckID()
			k.Verify([]byte("x"), []byte("y")) //nolint:errcheck // only that it does not panic
		}
		if dels.Succinct != nil {
			use(dels.Succinct.For("npm/a"))
		}
	}
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
