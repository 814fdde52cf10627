package file_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

func write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func pkcs8(t *testing.T, key any) []byte {
	return must[[]byte](t)(mldsax509.MarshalPKCS8PrivateKey(key))
}

// Each type of key signs what its key object verifies; relative paths lie below
// the prefix, absolute ones do not.
func TestResolve(t *testing.T) {
	dir := t.TempDir()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"rsa":     must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)),
		"p256":    must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384":    must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"ed25519": ed,
		"ml-dsa":  must[*mldsa.PrivateKey](t)(mldsa.GenerateKey(mldsa.MLDSA65())),
	} {
		path := filepath.Join(dir, "below", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, "PRIVATE KEY", pkcs8(t, key))
		for uri, keys := range map[string]file.Keys{
			"file2:below/" + name: {Prefix: dir},
			"file2:" + path:       {Prefix: filepath.Join(dir, "elsewhere")},
		} {
			signer, err := keys.Resolve(context.Background(), uri, "")
			if err != nil {
				t.Errorf("%s: %v", uri, err)
				continue
			}
			object, err := metadata.NewKey(key.Public(), "", uri)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := signer.Sign(context.Background(), []byte("payload"))
			if err != nil || object.Verify([]byte("payload"), sig) != nil {
				t.Errorf("%s: the signature does not verify (%v)", uri, err)
			}
		}
	}
	t.Chdir(dir)
	if _, err := (file.Keys{}).Resolve(context.Background(), "file2:below/p256", ""); err != nil {
		t.Errorf("without a prefix: %v", err)
	}
}

// Whatever else stands there is an error that names the URI and says what to do,
// and shows nothing of the file.
func TestResolveRefuses(t *testing.T) {
	dir := t.TempDir()
	secret := "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	for name, data := range map[string]string{
		"empty": "", "text": secret, "cut": "-----BEGIN PRIVATE KEY-----\n" + secret,
		"large": strings.Repeat(secret, 1<<14),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p256 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	write(t, filepath.Join(dir, "sec1"), "EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(p256)))
	write(t, filepath.Join(dir, "encrypted"), "ENCRYPTED PRIVATE KEY", pkcs8(t, p256))
	write(t, filepath.Join(dir, "public"), "PUBLIC KEY", must[[]byte](t)(x509.MarshalPKIXPublicKey(p256.Public())))
	write(t, filepath.Join(dir, "junk"), "PRIVATE KEY", []byte(secret))
	write(t, filepath.Join(dir, "p521"), "PRIVATE KEY", pkcs8(t, must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))))
	write(t, filepath.Join(dir, "rsa1024"), "PRIVATE KEY", weakRSA(t))
	write(t, filepath.Join(dir, "x25519"), "PRIVATE KEY", pkcs8(t, must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))))
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string][2]string{ // in the error, in the hint
		"file2:missing":   {"find key", "CRYPTO_SIGNER_PATH_PREFIX"},
		"file2:":          {"names no file", "file2:PATH"},
		"gcpkms:k":        {"names no file", "file2:PATH"},
		"file2:folder":    {"not a file", "read"},
		"file2:empty":     {"no PEM block", "openssl pkcs8 -topk8 -nocrypt"},
		"file2:text":      {"no PEM block", "openssl pkcs8"},
		"file2:cut":       {"no PEM block", "openssl pkcs8"},
		"file2:large":     {"more than", "read"},
		"file2:sec1":      {`"EC PRIVATE KEY"`, "openssl pkcs8"},
		"file2:encrypted": {`"ENCRYPTED PRIVATE KEY"`, "openssl pkcs8"},
		"file2:public":    {`"PUBLIC KEY"`, "openssl pkcs8"},
		"file2:junk":      {"PKCS#8", "openssl pkcs8"},
		"file2:p521":      {"P-256 or P-384", "openssl genpkey"},
		"file2:rsa1024":   {"2048", "openssl genpkey"},
		"file2:x25519":    {"do not sign", "openssl pkcs8"},
	} {
		_, err := (file.Keys{Prefix: dir}).Resolve(context.Background(), uri, "")
		var k *onlinesign.KeyError
		if !errors.As(err, &k) || k.URI != uri || !strings.Contains(k.Error(), uri) {
			t.Errorf("%s: error is %v, want a KeyError", uri, err)
			continue
		}
		if !strings.Contains(k.Error(), want[0]) || !strings.Contains(k.Hint(), want[1]) {
			t.Errorf("%s: error %q, hint %q, want %q", uri, k.Error(), k.Hint(), want)
		}
		if strings.Contains(k.Error()+k.Hint(), "secret") || strings.Contains(k.Error()+k.Hint(), secret[:6]) {
			t.Errorf("%s: the error shows what is in the file: %q", uri, k.Error())
		}
	}
}

// weakRSA is an RSA key of 1024 bits, which crypto/rsa makes no longer.
func weakRSA(t *testing.T) []byte {
	t.Setenv("GODEBUG", "rsa1024min=0")
	return pkcs8(t, must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024)))
}
