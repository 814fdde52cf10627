// Package azure finds online keys in Azure Key Vault and Managed HSM: `azurekms:`
// and the identifier of a key version without its https:, as tuf-on-ci has it.
//
// It signs and reads public keys, and changes nothing. Credentials are those of
// the SDK's default chain; it shows none, and sends none to a host outside
// Azure.
package azure

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Scheme is what stands before the colon of the URIs of this package.
const Scheme = "azurekms"

// Keys finds keys. The zero value is ready for use.
type Keys struct {
	Credential azcore.TokenCredential // nil: the SDK's default chain
	Transport  http.RoundTripper      // to the service, and to log in; nil: http.DefaultTransport
	Patience   kms.Patience

	mu      sync.Mutex
	login   azcore.TokenCredential
	secrets kms.Secrets
}

const form = "azurekms://VAULT.vault.azure.net/keys/NAME/VERSION"

// The domains of Key Vault and Managed HSM, in the clouds that Azure has. A URI
// stands in metadata, so it must not decide who is shown a login.
var pattern = regexp.MustCompile(`^azurekms://([a-z0-9-]+\.(?:vault\.azure\.net|vault\.azure\.cn|vault\.usgovcloudapi\.net|managedhsm\.azure\.net|managedhsm\.azure\.cn|managedhsm\.usgovcloudapi\.net))/keys/([0-9A-Za-z-]+)(?:/([0-9A-Za-z]+))?$`)

// Resolve reads the key's public part. Every error is an *[onlinesign.KeyError],
// or that of ctx.
func (k *Keys) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	m := pattern.FindStringSubmatch(uri)
	if m == nil {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it is not the name of a key version in Azure Key Vault"), Fix: "write it as " + form}
	}
	r := &remote{keys: k, host: m[1], name: m[2], version: m[3]}
	var err error
	r.client, err = azkeys.NewClient("https://"+r.host, lazy{k}, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: k.carried(),
		Retry:     policy.RetryOptions{MaxRetries: -1}, // patience is ours
	}})
	if err != nil {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New(kms.Line(err.Error())), Fix: "write it as " + form}
	}
	if r.version == "" {
		return nil, r.unpinned(ctx, uri)
	}
	return kms.Open(ctx, uri, scheme, r, k.Patience)
}

func (k *Keys) carried() policy.Transporter {
	return &http.Client{Transport: kms.Carrier{Base: k.Transport, Secrets: &k.secrets}}
}

// lazy logs in when a request first needs it, and says what failed in our words.
type lazy struct{ keys *Keys }

func (l lazy) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	k := l.keys
	k.mu.Lock()
	if k.login == nil {
		k.login = k.Credential
	}
	if k.login == nil {
		found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: k.carried()}})
		if err != nil {
			k.mu.Unlock()
			return azcore.AccessToken{}, &kms.Failure{Cause: kms.NoCredentials, Detail: kms.Line(err.Error())}
		}
		k.login = found
	}
	login := k.login
	k.mu.Unlock()
	token, err := login.GetToken(ctx, options)
	k.secrets.Keep(token.Token)
	if err != nil && ctx.Err() == nil {
		err = k.refused(err)
	}
	return token, err
}

// denials are the codes with which Entra refuses an identity that it knows: no
// federated credential fits the token, or a policy keeps it out.
var denials = []int{70021, 700211, 700213, 50105, 53003}

// refused is what a failed login means.
func (k *Keys) refused(err error) error {
	var ours *kms.Failure
	if errors.As(err, &ours) {
		return ours // of the way there
	}
	f := &kms.Failure{Cause: kms.NoCredentials, Detail: k.secrets.Line("login: " + err.Error())}
	var said *azidentity.AuthenticationFailedError
	if !errors.As(err, &said) || said.RawResponse == nil {
		return f
	}
	var answer struct {
		Description string `json:"error_description"`
		Codes       []int  `json:"error_codes"`
	}
	if body, err := runtime.Payload(said.RawResponse); err == nil && json.Unmarshal(body, &answer) == nil && answer.Description != "" {
		f.Detail = k.secrets.Line("login: " + answer.Description)
	}
	switch code := said.RawResponse.StatusCode; {
	case code == http.StatusTooManyRequests || code >= 500:
		f.Cause = kms.Unavailable
	case slices.ContainsFunc(answer.Codes, func(c int) bool { return slices.Contains(denials, c) }):
		f.Cause = kms.Denied
	}
	return f
}

// remote is one key version.
type remote struct {
	keys                *Keys
	client              *azkeys.Client
	host, name, version string

	mu   sync.Mutex
	kind string
}

// id is the identifier of the key version.
func (r *remote) id() string { return "https://" + r.host + "/keys/" + r.name + "/" + r.version }

// unpinned says which version a URI means today. Reading it takes no permission
// that signing does not.
func (r *remote) unpinned(ctx context.Context, uri string) error {
	fix := "write it with the version: " + uri + "/VERSION; az keyvault key list-versions --id https://" + r.host + "/keys/" + r.name + " tells which there are"
	var newest string
	err := r.keys.Patience.Do(ctx, func(ctx context.Context) error {
		found, err := r.client.GetKey(ctx, r.name, "", nil)
		if err != nil {
			return r.failure(err)
		}
		if found.Key != nil && found.Key.KID != nil {
			newest = strings.TrimPrefix(string(*found.Key.KID), "https:")
		}
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if pinned := Scheme + ":" + newest; err == nil && pattern.MatchString(pinned) && strings.HasPrefix(pinned, uri+"/") {
		fix = "its newest version now is " + pinned + ", so write that"
	}
	return &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it names no version of the key"), Fix: fix}
}

// Public is part of [kms.Remote].
func (r *remote) Public(ctx context.Context) (crypto.PublicKey, []string, error) {
	found, err := r.client.GetKey(ctx, r.name, r.version, nil)
	if err != nil {
		return nil, nil, r.failure(err)
	}
	key := found.Key
	if key == nil || key.KID == nil || key.Kty == nil || string(*key.KID) != r.id() {
		return nil, nil, corrupt("it is of another key")
	}
	r.mu.Lock()
	r.kind = string(*key.Kty)
	if key.Crv != nil {
		r.kind += " " + string(*key.Crv)
	}
	r.mu.Unlock()
	if found.Attributes != nil && found.Attributes.Enabled != nil && !*found.Attributes.Enabled {
		return nil, nil, &kms.Failure{Cause: kms.Disabled, Detail: "the key version is not enabled"}
	}
	if !slices.ContainsFunc(key.KeyOps, func(o *azkeys.KeyOperation) bool { return o != nil && *o == azkeys.KeyOperationSign }) {
		return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: "its operations do not include sign"}
	}
	switch *key.Kty {
	case azkeys.KeyTypeEC, azkeys.KeyTypeECHSM:
		if key.Crv == nil {
			return nil, nil, corrupt("it is on no curve")
		}
		curve, scheme := elliptic.Curve(nil), ""
		switch *key.Crv {
		case azkeys.CurveNameP256:
			curve, scheme = elliptic.P256(), kms.P256
		case azkeys.CurveNameP384:
			curve, scheme = elliptic.P384(), kms.P384
		default:
			return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: "it is on curve " + kms.Line(string(*key.Crv)) + ", which metadata has no scheme for"}
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(key.X) > size || len(key.Y) > size {
			return nil, nil, corrupt("what came is no point of the curve")
		}
		point := make([]byte, 1+2*size)
		point[0] = 4 // not compressed
		copy(point[1+size-len(key.X):], key.X)
		copy(point[1+2*size-len(key.Y):], key.Y)
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, nil, corrupt("what came is no point of the curve")
		}
		return public, []string{scheme}, nil
	case azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM:
		e := new(big.Int).SetBytes(key.E)
		if len(key.N) == 0 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, nil, corrupt("what came is no RSA key")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(key.N), E: int(e.Int64())}, kms.RSASchemes, nil
	}
	return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: "it is of type " + kms.Line(string(*key.Kty))}
}

var algorithms = map[string]azkeys.SignatureAlgorithm{
	kms.P256: azkeys.SignatureAlgorithmES256, kms.P384: azkeys.SignatureAlgorithmES384,
	kms.PSS256: azkeys.SignatureAlgorithmPS256, kms.PSS384: azkeys.SignatureAlgorithmPS384, kms.PSS512: azkeys.SignatureAlgorithmPS512,
	kms.PKCS1v256: azkeys.SignatureAlgorithmRS256, kms.PKCS1v384: azkeys.SignatureAlgorithmRS384, kms.PKCS1v512: azkeys.SignatureAlgorithmRS512,
}

// Sign is part of [kms.Remote].
func (r *remote) Sign(ctx context.Context, scheme string, message []byte) ([]byte, error) {
	algorithm := algorithms[scheme]
	answer, err := r.client.Sign(ctx, r.name, r.version, azkeys.SignParameters{Algorithm: &algorithm, Value: message}, nil)
	if err != nil {
		return nil, r.failure(err)
	}
	if answer.KID == nil || string(*answer.KID) != r.id() {
		return nil, corrupt("the signature is of another key")
	}
	if scheme != kms.P256 && scheme != kms.P384 {
		return answer.Result, nil
	}
	// The service writes r and s one after the other, metadata as DER.
	size := kms.Hash(scheme).Size()
	if len(answer.Result) != 2*size {
		return nil, corrupt("the signature has %d bytes, not %d", len(answer.Result), 2*size)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(answer.Result[:size]), new(big.Int).SetBytes(answer.Result[size:])})
}

// Inspect is part of [kms.Remote].
func (r *remote) Inspect(context.Context) (onlinesign.Inspection, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := onlinesign.Inspection{Version: r.version, Algorithm: r.kind, Untold: "Azure Key Vault does not tell a caller its permissions"}
	if i.Algorithm != "" {
		i.Protection = "software"
	}
	if kind, _, _ := strings.Cut(r.kind, " "); strings.HasSuffix(kind, "-HSM") {
		i.Protection = "HSM"
	}
	return i, nil
}

// Fix is part of [kms.Remote].
func (r *remote) Fix(operation string, cause kms.Cause) string {
	switch cause {
	case kms.NoCredentials:
		return kms.LogIn("azure/login", "az login")
	case kms.Denied:
		action := "read"
		if operation == "sign with" {
			action = "sign/action"
		}
		return "assign a role with Microsoft.KeyVault/vaults/keys/" + action + " on the key: az role assignment create --assignee WHO --role ROLE --scope VAULT/keys/" + r.name +
			"; if the login was refused, see the federated credentials of the application"
	case kms.NotFound:
		return "see which there are: az keyvault key list-versions --id https://" + r.host + "/keys/" + r.name
	case kms.Disabled:
		return "if it is to be used: az keyvault key set-attributes --enabled true --id " + r.id() +
			" (and see its dates); else have another key signed for: tufops-sign delegate EVENT timestamp --online-key URI"
	case kms.Refused:
		return kms.Usual(cause) + "; where it speaks of a firewall or a connection: az keyvault network-rule list --name " + strings.TrimSuffix(r.host, ".vault.azure.net")
	case kms.Unsuited:
		return "use a key made with --kty EC --curve P-256 --ops sign: tufops-sign delegate EVENT timestamp --online-key URI"
	}
	return kms.Usual(cause)
}

// failure is what an error of the client means.
func (r *remote) failure(err error) *kms.Failure {
	var ours *kms.Failure
	if errors.As(err, &ours) {
		return ours // of the login
	}
	var said *azcore.ResponseError
	if !errors.As(err, &said) {
		f := &kms.Failure{Cause: kms.Unavailable, Detail: r.keys.secrets.Line(err.Error())}
		if !errors.As(err, new(net.Error)) && !errors.As(err, new(*url.Error)) && !errors.Is(err, io.ErrUnexpectedEOF) {
			f.Cause = kms.Corrupt // an answer that cannot be read
		}
		return f
	}
	var answer struct {
		Error struct {
			Code, Message string
			Inner         struct{ Code string } `json:"innererror"`
		}
	}
	if body, err := runtime.Payload(said.RawResponse); err == nil {
		_ = json.Unmarshal(body, &answer)
	}
	f := &kms.Failure{Cause: kms.Refused, Detail: r.keys.secrets.Line(fmt.Sprintf("%d %s %s %s", said.StatusCode, answer.Error.Code, answer.Error.Inner.Code, answer.Error.Message))}
	switch inner := answer.Error.Inner.Code; {
	case slices.Contains([]string{"KeyDisabled", "KeyExpired", "KeyNotYetValid"}, inner), said.StatusCode == http.StatusConflict:
		f.Cause = kms.Disabled
	case said.StatusCode == http.StatusForbidden && !strings.HasPrefix(inner, "ForbiddenByFirewall") && !strings.HasPrefix(inner, "ForbiddenByConnection"):
		f.Cause = kms.Denied
	case said.StatusCode == http.StatusUnauthorized:
		f.Cause = kms.NoCredentials
	case said.StatusCode == http.StatusNotFound:
		f.Cause = kms.NotFound
	case said.StatusCode == http.StatusTooManyRequests:
		f.Cause = kms.RateLimited
	case said.StatusCode >= 500 || said.StatusCode == http.StatusRequestTimeout:
		f.Cause = kms.Unavailable
	}
	return f
}

func corrupt(format string, args ...any) error {
	return &kms.Failure{Cause: kms.Corrupt, Detail: fmt.Sprintf(format, args...)}
}
