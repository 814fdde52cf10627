// Package vault finds online keys in the transit engine of HashiCorp Vault or
// OpenBao: `hv:NAME/VERSION`, as tuf-on-ci has it. The engine is mounted at
// transit.
//
// It signs and reads public keys, and changes nothing. Where Vault is and how to
// log in is what its own command line would take: VAULT_ADDR and the other
// variables, and the token that `vault login` keeps where there is none in
// VAULT_TOKEN. It shows none.
package vault

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Scheme is what stands before the colon of the URIs of this package.
const Scheme = "hv"

// Keys finds keys. The zero value is ready for use.
type Keys struct {
	Config   *api.Config // nil: what the environment says
	Token    string      // "": what the environment says, else what `vault login` kept
	Patience kms.Patience

	mu      sync.Mutex
	client  *api.Client
	secrets kms.Secrets
}

var pattern = regexp.MustCompile(`^hv:([A-Za-z0-9_][A-Za-z0-9_.-]*)(?:/([1-9][0-9]{0,8}))?$`)

// Resolve reads the key's public part. Every error is an *[onlinesign.KeyError],
// or that of ctx.
func (k *Keys) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	m := pattern.FindStringSubmatch(uri)
	if m == nil {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it is not the name of a key version in Vault"), Fix: "write it as hv:NAME/VERSION"}
	}
	r := &remote{keys: k, name: m[1], version: m[2]}
	if r.version == "" {
		return nil, r.unpinned(ctx, uri)
	}
	return kms.Open(ctx, uri, scheme, r, k.Patience)
}

// open makes the client at the first call that succeeds.
func (k *Keys) open() (*api.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	config := k.Config
	if config == nil {
		config = api.DefaultConfig()
	}
	client, err := api.NewClient(config)
	if err != nil {
		// Its words may hold a variable as it is, with a password in it.
		return nil, &kms.Failure{Cause: kms.NoCredentials, Detail: "the variables that begin with VAULT_ cannot be read"}
	}
	if k.Token != "" {
		client.SetToken(k.Token)
	}
	if home, err := os.UserHomeDir(); err == nil && client.Token() == "" {
		if kept, err := os.ReadFile(filepath.Join(home, ".vault-token")); err == nil {
			client.SetToken(strings.TrimSpace(string(kept)))
		}
	}
	if client.Token() == "" {
		return nil, &kms.Failure{Cause: kms.NoCredentials, Detail: "there is no token"}
	}
	k.secrets.Keep(client.Token())
	client.SetMaxRetries(0) // patience is ours
	config.HttpClient.Transport = kms.Carrier{Base: config.HttpClient.Transport, Secrets: &k.secrets}
	k.client = client
	return client, nil
}

// remote is one key version.
type remote struct {
	keys          *Keys
	name, version string

	mu   sync.Mutex
	kind string
}

// found is what Vault tells about a key.
type found struct {
	Type    string                     `json:"type"`
	Derived bool                       `json:"derived"`
	Latest  int                        `json:"latest_version"`
	Keys    map[string]json.RawMessage `json:"keys"`
}

func (r *remote) read(ctx context.Context) (*found, error) {
	client, err := r.keys.open()
	if err != nil {
		return nil, err
	}
	secret, err := client.Logical().ReadWithContext(ctx, "transit/keys/"+r.name)
	if err != nil {
		return nil, r.failure(ctx, err)
	}
	if secret == nil {
		return nil, &kms.Failure{Cause: kms.NotFound, Detail: "Vault has no key transit/keys/" + r.name}
	}
	f := &found{}
	if data, err := json.Marshal(secret.Data); err != nil || json.Unmarshal(data, f) != nil || f.Type == "" || f.Latest < 1 {
		return nil, corrupt("what came is not what Vault tells about a key")
	}
	return f, nil
}

// unpinned says which version a URI could mean. Reading it takes no permission
// that signing does not.
func (r *remote) unpinned(ctx context.Context, uri string) error {
	fix := "write it with the version: " + uri + "/VERSION; vault read transit/keys/" + r.name + " tells which there are"
	var latest int
	err := r.keys.Patience.Do(ctx, func(ctx context.Context) error {
		f, err := r.read(ctx)
		if err == nil {
			latest = f.Latest
		}
		return err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		fix = "its newest version now is " + strconv.Itoa(latest) + ", so write " + uri + "/" + strconv.Itoa(latest)
	}
	return &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it names no version of the key"), Fix: fix}
}

// schemes are those of Vault's types of keys.
var schemes = map[string][]string{
	"ecdsa-p256": {kms.P256}, "ecdsa-p384": {kms.P384}, "ed25519": {kms.Ed25519},
	"rsa-2048": kms.RSASchemes, "rsa-3072": kms.RSASchemes, "rsa-4096": kms.RSASchemes,
}

// Public is part of [kms.Remote].
func (r *remote) Public(ctx context.Context) (crypto.PublicKey, []string, error) {
	f, err := r.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	r.kind = f.Type
	r.mu.Unlock()
	if schemes[f.Type] == nil || f.Derived {
		return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: fmt.Sprintf("its type is %s (derived: %t), which metadata has no scheme for", kms.Line(f.Type), f.Derived)}
	}
	raw, ok := f.Keys[r.version]
	if n, err := strconv.Atoi(r.version); !ok && err == nil && n > f.Latest {
		return nil, nil, &kms.Failure{Cause: kms.NotFound, Detail: fmt.Sprintf("the newest version is %d", f.Latest)}
	} else if !ok {
		return nil, nil, &kms.Failure{Cause: kms.Disabled, Detail: "the version is older than those that Vault keeps in use"}
	}
	var version struct {
		Public string `json:"public_key"`
	}
	if err := json.Unmarshal(raw, &version); err != nil {
		return nil, nil, corrupt("what came is no public key")
	}
	if f.Type == "ed25519" {
		raw, err := base64.StdEncoding.DecodeString(version.Public)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, nil, corrupt("what came is no Ed25519 key")
		}
		return ed25519.PublicKey(raw), schemes[f.Type], nil
	}
	block, _ := pem.Decode([]byte(version.Public))
	if block == nil {
		return nil, nil, corrupt("the public key is no PEM block")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, nil, corrupt("the PEM block holds no public key")
	}
	return public, schemes[f.Type], nil
}

// Sign is part of [kms.Remote].
func (r *remote) Sign(ctx context.Context, scheme string, message []byte) ([]byte, error) {
	client, err := r.keys.open()
	if err != nil {
		return nil, err
	}
	in := map[string]any{"input": base64.StdEncoding.EncodeToString(message), "key_version": json.Number(r.version)}
	if hash := kms.Hash(scheme); hash != 0 {
		in["prehashed"], in["hash_algorithm"], in["marshaling_algorithm"] = true, fmt.Sprintf("sha2-%d", 8*hash.Size()), "asn1"
	}
	switch {
	case kms.PSS(scheme):
		in["signature_algorithm"], in["salt_length"] = "pss", "hash"
	case slices.Contains(kms.RSASchemes, scheme):
		in["signature_algorithm"] = "pkcs1v15"
	}
	secret, err := client.Logical().WriteWithContext(ctx, "transit/sign/"+r.name, in)
	if err != nil {
		return nil, r.failure(ctx, err)
	}
	var text string
	if secret != nil {
		text, _ = secret.Data["signature"].(string)
	}
	text, ok := strings.CutPrefix(text, "vault:v"+r.version+":")
	if !ok {
		return nil, corrupt("what came is no signature of version %s", r.version)
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, corrupt("the signature is not in base64")
	}
	return sig, nil
}

// Inspect is part of [kms.Remote].
func (r *remote) Inspect(ctx context.Context) (onlinesign.Inspection, error) {
	i := onlinesign.Inspection{Version: r.version, Protection: "software"}
	r.mu.Lock()
	i.Algorithm = r.kind
	r.mu.Unlock()
	client, err := r.keys.open()
	if err != nil {
		return i, err
	}
	key := "transit/keys/" + r.name
	needed := map[string][]string{key: {"read"}, "transit/sign/" + r.name: {"update", "create"}}
	paths := []string{
		key, "transit/sign/" + r.name, key + "/config", key + "/rotate", key + "/trim",
		"transit/export/signing-key/" + r.name, "transit/backup/" + r.name, "transit/restore/" + r.name,
	}
	secret, err := client.Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil {
		f := r.failure(ctx, err)
		if f.Cause == kms.Denied || f.Cause == kms.Refused || f.Cause == kms.NotFound {
			i.Untold = "Vault does not tell this token what it may do: " + f.Error()
			return i, nil
		}
		return i, f
	}
	if secret == nil {
		return i, corrupt("Vault does not say what this token may do")
	}
	i.Told, i.Asked = true, paths
	for _, path := range paths {
		list, ok := secret.Data[path].([]any)
		if !ok {
			return i, corrupt("Vault does not say what this token may do with %s", path)
		}
		for _, c := range list {
			if c != "deny" && !slices.Contains(needed[path], fmt.Sprint(c)) {
				i.Excess = append(i.Excess, kms.Line(fmt.Sprintf("%v on %s", c, path)))
			}
		}
	}
	return i, nil
}

// Fix is part of [kms.Remote].
func (r *remote) Fix(operation string, cause kms.Cause) string {
	switch cause {
	case kms.NoCredentials:
		return kms.LogIn("hashicorp/vault-action and exportToken", "vault login") + "; VAULT_ADDR says where Vault is"
	case kms.Denied:
		rule := `path "transit/keys/` + r.name + `" { capabilities = ["read"] }`
		if operation == "sign with" {
			rule = `path "transit/sign/` + r.name + `" { capabilities = ["update"] }`
		}
		return "put this into the policy of the role that signs: " + rule
	case kms.NotFound:
		return "see which there are: vault read transit/keys/" + r.name
	case kms.Disabled:
		return "if it is to be used: vault write transit/keys/" + r.name + "/config min_decryption_version=" + r.version + " min_encryption_version=" + r.version +
			"; else have another key signed for: tufops-sign delegate EVENT timestamp --online-key URI"
	case kms.Unsuited:
		return "use a key made with vault write transit/keys/NAME type=ecdsa-p256: tufops-sign delegate EVENT timestamp --online-key URI"
	case kms.Unavailable:
		return kms.Usual(cause) + ", at VAULT_ADDR, and whether it is unsealed"
	}
	return kms.Usual(cause)
}

// failure is what an error of the client means.
func (r *remote) failure(ctx context.Context, err error) *kms.Failure {
	var ours *kms.Failure
	if errors.As(err, &ours) {
		return ours // of the way there
	}
	var said *api.ResponseError
	if !errors.As(err, &said) {
		f := &kms.Failure{Cause: kms.Unavailable, Detail: r.keys.secrets.Line(err.Error())}
		if !errors.As(err, new(net.Error)) && !errors.As(err, new(*url.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) {
			f.Cause = kms.Corrupt // an answer that cannot be read
		}
		return f
	}
	text := strings.Join(said.Errors, "; ")
	f := &kms.Failure{Cause: kms.Refused, Detail: r.keys.secrets.Line(fmt.Sprintf("%d %s", said.StatusCode, text))}
	switch code := said.StatusCode; {
	case code == http.StatusForbidden:
		f.Cause = kms.Denied
		if !r.known(ctx) {
			f.Cause = kms.NoCredentials
			f.Detail += " (the token is not valid, or may not look itself up)"
		}
	case code == http.StatusUnauthorized:
		f.Cause = kms.NoCredentials
	case code == http.StatusNotFound, strings.Contains(text, "key not found"):
		f.Cause = kms.NotFound
	case strings.Contains(text, "minimum encryption key version"):
		f.Cause = kms.Disabled
	case code == http.StatusTooManyRequests:
		f.Cause = kms.RateLimited
	case code >= 500 || code == http.StatusPreconditionFailed: // a standby, sealed, or not yet up to date
		f.Cause = kms.Unavailable
	}
	return f
}

// known reports whether Vault knows the token: it refuses one that it does not
// with the same words as one that may not.
func (r *remote) known(ctx context.Context) bool {
	client, err := r.keys.open()
	if err != nil {
		return false
	}
	_, err = client.Auth().Token().LookupSelfWithContext(ctx)
	return err == nil
}

func corrupt(format string, args ...any) error {
	return &kms.Failure{Cause: kms.Corrupt, Detail: fmt.Sprintf(format, args...)}
}
