package kmstest_test

import (
	"crypto"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/vault"
	"github.com/tufops/tufops/onlinesign"
)

// The adapter for Vault and OpenBao against OpenBao itself: every scheme signs what
// its key verifies, an older version is what its URI says, and each refusal is the
// failure that our own server makes of it.
func TestOpenBao(t *testing.T) {
	noLogin(t)
	const root = "root-of-a-test"
	address := started(t, "bao", "pip install --no-deps --require-hashes -r .ci/requirements-openbao.txt", "/v1/sys/health", func(address string, server *exec.Cmd) {
		server.Args = append(server.Args, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+root, "-dev-listen-address="+address)
	})
	config := api.DefaultConfig()
	config.Address = address
	admin, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	admin.SetToken(root)
	write := func(path string, data map[string]any) *api.Secret {
		t.Helper()
		secret, err := admin.Logical().WriteWithContext(t.Context(), path, data)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	write("sys/mounts/transit", map[string]any{"type": "transit"})
	types := map[string]string{kms.P256: "ecdsa-p256", kms.P384: "ecdsa-p384", kms.Ed25519: "ed25519", kms.PSS256: "rsa-2048"}
	for _, kind := range types {
		write("transit/keys/"+kind, map[string]any{"type": kind})
		write("transit/keys/"+kind+"/rotate", nil)
	}
	write("transit/keys/cipher", map[string]any{"type": "aes256-gcm96"})
	write("sys/policies/acl/signs", map[string]any{"policy": `
		path "transit/keys/ecdsa-p256" { capabilities = ["read"] }
		path "transit/keys/ed25519" { capabilities = ["read"] }
		path "transit/sign/ecdsa-p256" { capabilities = ["update"] }`})
	write("sys/policies/acl/more", map[string]any{"policy": `path "transit/keys/ecdsa-p256/rotate" { capabilities = ["update"] }`})
	as := func(policies ...string) *vault.Keys {
		t.Helper()
		own := api.DefaultConfig()
		own.Address = address
		token := root
		if policies != nil {
			token = write("auth/token/create", map[string]any{"policies": policies}).Auth.ClientToken
		}
		return &vault.Keys{Config: own, Token: token, Patience: quick}
	}

	keys := as()
	for _, scheme := range append([]string{kms.P256, kms.P384, kms.Ed25519}, kms.RSASchemes...) {
		kind := types[scheme]
		if strings.HasPrefix(scheme, "rsa") {
			kind = types[kms.PSS256]
		}
		var publics []crypto.PublicKey
		for _, version := range []string{"1", "2"} {
			uri := "hv:" + kind + "/" + version
			signer, err := keys.Resolve(t.Context(), uri, scheme)
			if err != nil {
				t.Errorf("%s in %s: %v", uri, scheme, err)
				continue
			}
			publics = append(publics, signer.Public())
			if sig, err := signer.Sign(t.Context(), payload); err != nil || !kms.Verify(signer.Public(), scheme, payload, sig) {
				t.Errorf("%s in %s: signature of %d bytes: %v", uri, scheme, len(sig), err)
			}
		}
		if len(publics) == 2 && publics[0].(interface{ Equal(crypto.PublicKey) bool }).Equal(publics[1]) {
			t.Errorf("%s: two versions are one key", kind)
		}
	}

	const uri = "hv:ecdsa-p256/2"
	for name, policies := range map[string][]string{"signs": {"signs"}, "may do more": {"signs", "more"}} {
		signer, err := as(policies...).Resolve(t.Context(), uri, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i, err := signer.(onlinesign.Inspector).Inspect(t.Context())
		if err != nil || !i.Told || strings.Join(i.Excess, ", ") != map[bool]string{true: "update on transit/keys/ecdsa-p256/rotate"}[len(policies) > 1] {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
	}
	_, err = as("default").Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.Denied, `path "transit/keys/ecdsa-p256" { capabilities = ["read"] }`)
	signer, err := as("signs").Resolve(t.Context(), "hv:ed25519/1", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = signer.Sign(t.Context(), payload)
	wantFailure(t, err, "hv:ed25519/1", "sign with", kms.Denied, `path "transit/sign/ed25519" { capabilities = ["update"] }`)
	stranger := as()
	stranger.Token = "s.another-of-a-test"
	_, err = stranger.Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "vault login")
	_, err = keys.Resolve(t.Context(), "hv:none/1", "")
	wantFailure(t, err, "hv:none/1", "read", kms.NotFound, "vault read transit/keys/none")
	_, err = keys.Resolve(t.Context(), "hv:ecdsa-p256/3", "")
	wantFailure(t, err, "hv:ecdsa-p256/3", "read", kms.NotFound, "vault read transit/keys/ecdsa-p256")
	_, err = keys.Resolve(t.Context(), "hv:cipher/1", "")
	wantFailure(t, err, "hv:cipher/1", "read", kms.Unsuited, "type=ecdsa-p256")

	// A version that may not sign any more.
	signer, err = keys.Resolve(t.Context(), "hv:ecdsa-p256/1", "")
	if err != nil {
		t.Fatal(err)
	}
	write("transit/keys/ecdsa-p256/config", map[string]any{"min_encryption_version": 2})
	_, err = signer.Sign(t.Context(), payload)
	wantFailure(t, err, "hv:ecdsa-p256/1", "sign with", kms.Disabled, "min_encryption_version=1")
}
