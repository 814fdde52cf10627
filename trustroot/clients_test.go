package trustroot_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"slices"
	"testing"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// No log goes through without an error that makes Go clients refuse the whole
// file: every kind of key that protobuf-specs knows is tried with every key, and
// every hash algorithm. What they read is no error for its kind alone.
func TestLogsThatGoClientsRefuse(t *testing.T) {
	keys := map[string][]byte{"RSA 2048, PKCS#1": raw(t, at(trustroottest.Log(t, "https://x.test", "rsa", "2025-06-01T00:00:00Z"), "publicKey")["rawBytes"])}
	pkix := func(name string, key any, err error) {
		t.Helper()
		if err == nil {
			keys[name], err = x509.MarshalPKIXPublicKey(key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pkix("ECDSA "+curve.Params().Name, key.Public(), nil)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	pkix("Ed25519", public, err)
	rsa, err := x509.ParsePKCS1PublicKey(keys["RSA 2048, PKCS#1"])
	pkix("RSA 2048", rsa, err)

	refused, accepted := 0, 0
	try := func(what string, change func(log object)) {
		t.Helper()
		w := newWorld()
		log := trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z")
		change(log)
		trustroottest.Add(w.root, "ctlogs", log)
		_, err := root.NewTrustedRootFromJSON(trustroottest.Bytes(w.root))
		stopped := slices.ContainsFunc(w.lint(), func(f trustroot.Finding) bool { return f.Level == trustroot.Error })
		if err == nil {
			accepted++
			return
		}
		refused++
		if !stopped {
			t.Errorf("%s: Go clients refuse the file, and there is no error: %v", what, err)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(common.PublicKeyDetails_value)) {
		for name, key := range keys {
			try(name+" as "+kind, func(log object) {
				id := sha256.Sum256(key)
				log["logId"] = object{"keyId": id[:]}
				at(log, "publicKey")["rawBytes"], at(log, "publicKey")["keyDetails"] = key, kind
			})
		}
	}
	for _, hash := range slices.Sorted(maps.Keys(common.HashAlgorithm_value)) {
		try(hash, func(log object) { log["hashAlgorithm"] = hash })
	}
	t.Logf("Go clients refuse %d of %d logs, and none goes through", refused, refused+accepted)
	if refused < 100 || accepted < 8 {
		t.Errorf("Go clients refuse %d and read %d: the test has lost its grip", refused, accepted)
	}
}
