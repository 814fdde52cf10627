package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/metadata"
)

// TestOnlineKeyIsTried: an online key signs a test message before an event lists
// it. Whoever may only read it says so, and whoever has no login brings the public
// key; then the service is asked for no more than that.
func TestOnlineKeyIsTried(t *testing.T) {
	w := established(t)
	service := kmstest.NewService(t)
	good := service.Make(t, "online", "1", kms.P256)
	t.Setenv("HOME", t.TempDir())
	w.env["VAULT_ADDR"] = kmstest.Vault(t, service)
	der, err := x509.MarshalPKIXPublicKey(good.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := metadata.NewKey(good.Private.Public(), "", "hv:online/1")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		token   string
		fault   kmstest.Fault // of signing
		args    []string
		status  int
		signs   bool // it was asked to
		reads   bool
		words   []string // on stderr
		unwords string
	}{
		{name: "good", token: kmstest.VaultToken, signs: true, reads: true, unwords: "warning"},
		{name: "may not sign", token: kmstest.VaultToken, fault: kmstest.Denied, status: 1, signs: true, reads: true, words: []string{"permission denied", "add --no-check"}},
		{name: "may not sign, and says so", token: kmstest.VaultToken, fault: kmstest.Denied, args: []string{"--no-check"}, reads: true, words: []string{"hv:online/1 was not asked to sign"}},
		{name: "no login", status: 1, words: []string{"there is no token", "--online-public FILE"}},
		{name: "no login, and the public key", args: []string{"--online-public", public}, words: []string{"no service was asked"}},
		{name: "no public key", args: []string{"--online-public", w.key("alice")}, status: 1, words: []string{"holds no public key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("VAULT_ADDR", w.env["VAULT_ADDR"])
			t.Setenv("VAULT_TOKEN", test.token)
			service.Heal()
			if test.fault != "" {
				service.Break("sign", test.fault, kmstest.Forever)
			}
			w.upstream.Run("update-ref", "-d", "refs/heads/sign/rekey")
			reads, signs := service.Requests("read"), service.Requests("sign")
			a := w.run("alice", "", append([]string{"delegate", "sign/rekey", "timestamp", "--online-key", "hv:online/1", "--yes"}, test.args...)...)
			if a.status != test.status || test.unwords != "" && strings.Contains(a.stderr, test.unwords) {
				t.Errorf("status %d, want %d:\n%s%s", a.status, test.status, a.stdout, a.stderr)
			}
			for _, word := range test.words {
				if !strings.Contains(a.stderr, word) {
					t.Errorf("stderr lacks %q:\n%s", word, a.stderr)
				}
			}
			if asked := service.Requests("sign") > signs; asked != test.signs {
				t.Errorf("asked to sign: %v, want %v", asked, test.signs)
			}
			if asked := service.Requests("read") > reads; asked != test.reads {
				t.Errorf("asked for the public key: %v, want %v", asked, test.reads)
			}
			head := w.upstream.Head("sign/rekey")
			if (head == "") != (test.status != 0) {
				t.Errorf("the event is at %q", head)
			}
			if head == "" {
				return
			}
			d, ok := w.document("sign/rekey", "root").Delegation("timestamp")
			if !ok || len(d.KeyIDs) != 1 || d.Keys[d.KeyIDs[0]].OnlineURI != "hv:online/1" || d.Keys[d.KeyIDs[0]].Fingerprint() != want.Fingerprint() {
				t.Errorf("timestamp lists %v", d.KeyIDs)
			}
		})
	}
	w.refused(2, "alice", "", []string{"go with --online-key"}, "delegate", "sign/rekey", "timestamp", "--no-check", "--yes")
}
