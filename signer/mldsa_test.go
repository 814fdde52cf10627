package signer

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/mldsa/x509"

	"github.com/tufops/tufops/internal/metadata"
)

// A file may hold an ML-DSA key, and what it signs verifies with the key that a
// repository lists.
func TestMLDSAFileKey(t *testing.T) {
	for name, parameters := range map[string]mldsa.Parameters{"44": mldsa.MLDSA44(), "65": mldsa.MLDSA65(), "87": mldsa.MLDSA87()} {
		private, err := mldsa.GenerateKey(parameters)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := OpenFileKey("file:" + file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := k.Open(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		listed, err := metadata.NewKey(private.Public(), "@alice", "")
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(context.Background(), []byte("payload"))
		if err != nil || listed.Verify([]byte("payload"), sig) != nil {
			t.Errorf("ML-DSA-%s: the signature does not verify (%v)", name, err)
		}
	}
}
