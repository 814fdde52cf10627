// Package gcp finds online keys in Google Cloud KMS: `gcpkms:` and the full name
// of a key version, as tuf-on-ci has it.
//
// It signs and reads public keys, and changes nothing. For a URI that names no
// version it asks once which there are. Credentials are Google's Application
// Default Credentials; it shows none. No answer is believed that lacks its
// checksum.
package gcp

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/iam/apiv1/iampb"
	kmsapi "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Scheme is what stands before the colon of the URIs of this package.
const Scheme = "gcpkms"

// Keys finds keys. The zero value is ready for use and keeps one connection for
// all of them; see [Keys.Close].
type Keys struct {
	// Options, if there are any, are all that the client is made with: they must
	// say where the service is and who asks. Without them it is Google's, and
	// Application Default Credentials.
	Options []option.ClientOption
	// At, without Options, say where the service is; it is asked with Application
	// Default Credentials all the same.
	At       []option.ClientOption
	Patience kms.Patience

	mu      sync.Mutex
	client  *kmsapi.KeyManagementClient
	secrets kms.Secrets
}

// Close ends the connection. The keys that were resolved cannot be used then.
func (k *Keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client == nil {
		return nil
	}
	defer func() { k.client = nil }()
	return k.client.Close()
}

// Resolve reads the key's public part. Every error is an *[onlinesign.KeyError],
// or that of ctx.
func (k *Keys) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	name, ok := parse(uri)
	if !ok {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it is not the name of a key version in Google Cloud"), Fix: "write it as " + form}
	}
	if name.version == "" {
		return nil, k.unpinned(ctx, uri, name)
	}
	return kms.Open(ctx, uri, scheme, &remote{keys: k, name: name}, k.Patience)
}

const form = "gcpkms:projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/VERSION"

// name is the name of a key, and of a version of it where that is not empty.
type name struct{ project, location, ring, key, version string }

// Letters that mean something to a shell are in no part: what is found goes into
// commands that people copy.
var pattern = regexp.MustCompile(`^gcpkms:projects/([a-z0-9.:-]+)/locations/([a-z0-9-]+)/keyRings/([A-Za-z0-9_-]+)/cryptoKeys/([A-Za-z0-9_-]+)(?:/cryptoKeyVersions/([1-9][0-9]*))?$`)

func parse(uri string) (name, bool) {
	m := pattern.FindStringSubmatch(uri)
	if m == nil {
		return name{}, false
	}
	return name{m[1], m[2], m[3], m[4], m[5]}, true
}

func (n name) cryptoKey() string {
	return "projects/" + n.project + "/locations/" + n.location + "/keyRings/" + n.ring + "/cryptoKeys/" + n.key
}

func (n name) String() string { return n.cryptoKey() + "/cryptoKeyVersions/" + n.version }

// flags say to gcloud which key.
func (n name) flags() string {
	return "--keyring " + n.ring + " --location " + n.location + " --project " + n.project
}

// unpinned says which versions a URI could mean. Listing them takes a permission
// that signing does not, so nothing is said of it where it is missing.
func (k *Keys) unpinned(ctx context.Context, uri string, n name) error {
	fix := "write it with the version: " + uri + "/cryptoKeyVersions/VERSION; gcloud kms keys versions list --key " + n.key + " " + n.flags() + " tells which there are"
	var enabled []string
	err := k.Patience.Do(ctx, func(ctx context.Context) error {
		client, err := k.open(ctx)
		if err != nil {
			return err
		}
		enabled = nil
		all := client.ListCryptoKeyVersions(ctx, &kmspb.ListCryptoKeyVersionsRequest{Parent: n.cryptoKey(), Filter: "state=ENABLED", PageSize: 100})
		for {
			v, err := all.Next()
			if errors.Is(err, iterator.Done) || len(enabled) == 100 {
				return nil
			}
			if err != nil {
				return k.failure(err)
			}
			if found, ok := parse(Scheme + ":" + v.GetName()); ok && found.cryptoKey() == n.cryptoKey() && v.GetState() == kmspb.CryptoKeyVersion_ENABLED {
				enabled = append(enabled, found.version)
			}
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case err != nil || len(enabled) == 0:
	case len(enabled) == 1:
		fix = "its enabled version is " + enabled[0] + ", so write " + uri + "/cryptoKeyVersions/" + enabled[0]
	default:
		slices.SortFunc(enabled, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
		fix = "its enabled versions are " + strings.Join(enabled, ", ") + ": write " + uri + "/cryptoKeyVersions/ and one of them"
	}
	return &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New("it names no version of the key"), Fix: fix}
}

// open makes the client at the first call that succeeds.
func (k *Keys) open(ctx context.Context) (*kmsapi.KeyManagementClient, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	options := k.Options
	if len(options) == 0 {
		w := &witness{carrier: kms.Carrier{Secrets: &k.secrets}}
		who, err := credentials.DetectDefault(&credentials.DetectOptions{
			Scopes: []string{"https://www.googleapis.com/auth/cloudkms"}, Client: &http.Client{Transport: w},
		})
		if err != nil {
			return nil, &kms.Failure{Cause: kms.NoCredentials, Detail: k.secrets.Line(err.Error())}
		}
		who.TokenProvider = noting{who.TokenProvider, &k.secrets}
		// Asked for here, since gRPC would make text of what is wrong with it.
		if _, err := who.Token(ctx); err != nil {
			return nil, w.failure(err)
		}
		options = append([]option.ClientOption{option.WithAuthCredentials(who)}, k.At...)
	}
	// The client outlives the try that it is made in.
	client, err := kmsapi.NewKeyManagementClient(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, &kms.Failure{Cause: kms.NoCredentials, Detail: kms.Line(err.Error())}
	}
	client.CallOptions = &kmsapi.KeyManagementCallOptions{} // patience is ours
	k.client = client
	return client, nil
}

// noting notes each token, so that no error shows one.
type noting struct {
	auth.TokenProvider
	secrets *kms.Secrets
}

func (n noting) Token(ctx context.Context) (*auth.Token, error) {
	token, err := n.TokenProvider.Token(ctx)
	if token != nil {
		n.secrets.Keep(token.Value)
	}
	return token, err
}

// witness sees the answers to a login: some of the errors that come of them are
// only text.
type witness struct {
	carrier kms.Carrier

	mu     sync.Mutex
	status int
	body   []byte // of a refusal
}

// maxRefusal is more than a refusal has.
const maxRefusal = 64 << 10

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := w.carrier.RoundTrip(req)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.body = 0, nil
	if err != nil || answer.StatusCode < 400 {
		return answer, err
	}
	defer answer.Body.Close()
	w.status = answer.StatusCode
	w.body, err = io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
	answer.Body = io.NopCloser(bytes.NewReader(w.body))
	return answer, err
}

// failure is what a failed login means.
func (w *witness) failure(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var answer struct {
		Error json.RawMessage `json:"error"`
	}
	_ = json.Unmarshal(w.body, &answer)
	var ours *kms.Failure
	if errors.As(err, &ours) {
		return ours // of the way there
	}
	f := &kms.Failure{Cause: kms.NoCredentials, Detail: w.carrier.Secrets.Line("login: " + err.Error())}
	switch refused := string(answer.Error); {
	case w.status >= 500, w.status == http.StatusTooManyRequests, w.status == http.StatusRequestTimeout, errors.As(err, new(*url.Error)):
		f.Cause = kms.Unavailable
	case w.status == http.StatusForbidden, refused == `"unauthorized_client"`, refused == `"access_denied"`:
		f.Cause = kms.Denied
	}
	return f
}

// remote is one key version.
type remote struct {
	keys *Keys
	name name

	mu    sync.Mutex
	found *kmspb.PublicKey
}

// algorithms are those that metadata has a scheme for.
var algorithms = map[kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm]string{
	kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256:        kms.P256,
	kmspb.CryptoKeyVersion_EC_SIGN_P384_SHA384:        kms.P384,
	kmspb.CryptoKeyVersion_EC_SIGN_ED25519:            kms.Ed25519,
	kmspb.CryptoKeyVersion_RSA_SIGN_PSS_2048_SHA256:   kms.PSS256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PSS_3072_SHA256:   kms.PSS256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA256:   kms.PSS256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA512:   kms.PSS512,
	kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256: kms.PKCS1v256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_3072_SHA256: kms.PKCS1v256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA256: kms.PKCS1v256,
	kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA512: kms.PKCS1v512,
}

// Public is part of [kms.Remote].
func (r *remote) Public(ctx context.Context) (crypto.PublicKey, []string, error) {
	client, err := r.keys.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	found, err := client.GetPublicKey(ctx, &kmspb.GetPublicKeyRequest{Name: r.name.String()})
	if err != nil {
		return nil, nil, r.keys.failure(err)
	}
	if found.GetName() != r.name.String() {
		return nil, nil, corrupt("it is of key %.200q", found.GetName())
	}
	if !intact([]byte(found.GetPem()), found.GetPemCrc32C()) {
		return nil, nil, corrupt("the public key does not have the checksum that came with it")
	}
	r.mu.Lock()
	r.found = found
	r.mu.Unlock()
	scheme, ok := algorithms[found.GetAlgorithm()]
	if !ok {
		return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: fmt.Sprintf("its algorithm is %s, which metadata has no scheme for", found.GetAlgorithm())}
	}
	block, _ := pem.Decode([]byte(found.GetPem()))
	if block == nil {
		return nil, nil, corrupt("the public key is no PEM block")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, nil, corrupt("the PEM block holds no public key")
	}
	return public, []string{scheme}, nil
}

// Sign is part of [kms.Remote].
func (r *remote) Sign(ctx context.Context, scheme string, message []byte) ([]byte, error) {
	client, err := r.keys.open(ctx)
	if err != nil {
		return nil, err
	}
	request := &kmspb.AsymmetricSignRequest{Name: r.name.String()}
	switch sum := checksum(message); kms.Hash(scheme) {
	case 0:
		request.Data, request.DataCrc32C = message, sum
	case crypto.SHA256:
		request.Digest, request.DigestCrc32C = &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: message}}, sum
	case crypto.SHA384:
		request.Digest, request.DigestCrc32C = &kmspb.Digest{Digest: &kmspb.Digest_Sha384{Sha384: message}}, sum
	case crypto.SHA512:
		request.Digest, request.DigestCrc32C = &kmspb.Digest{Digest: &kmspb.Digest_Sha512{Sha512: message}}, sum
	}
	answer, err := client.AsymmetricSign(ctx, request)
	switch {
	case err != nil:
		return nil, r.keys.failure(err)
	case answer.GetName() != r.name.String():
		return nil, corrupt("the signature is of key %.200q", answer.GetName())
	case request.Digest != nil && !answer.GetVerifiedDigestCrc32C(), request.Digest == nil && !answer.GetVerifiedDataCrc32C():
		return nil, corrupt("the service does not say that it has received the content undamaged")
	case !intact(answer.GetSignature(), answer.GetSignatureCrc32C()):
		return nil, corrupt("the signature does not have the checksum that came with it")
	}
	return answer.GetSignature(), nil
}

// needed are the permissions that signing takes; of excess, one is too many.
var (
	needed = []string{"cloudkms.cryptoKeyVersions.useToSign", "cloudkms.cryptoKeyVersions.viewPublicKey"}
	excess = []string{
		"cloudkms.cryptoKeys.setIamPolicy", "cloudkms.cryptoKeys.update",
		"cloudkms.cryptoKeyVersions.create", "cloudkms.cryptoKeyVersions.destroy",
		"cloudkms.cryptoKeyVersions.restore", "cloudkms.cryptoKeyVersions.update",
	}
)

// Inspect is part of [kms.Remote].
func (r *remote) Inspect(ctx context.Context) (onlinesign.Inspection, error) {
	client, err := r.keys.open(ctx)
	if err != nil {
		return onlinesign.Inspection{}, err
	}
	i := onlinesign.Inspection{Version: r.name.version}
	r.mu.Lock()
	if r.found != nil {
		i.Algorithm, i.Protection = r.found.GetAlgorithm().String(), r.found.GetProtectionLevel().String()
	}
	r.mu.Unlock()
	answer, err := client.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{
		Resource: r.name.cryptoKey(), Permissions: slices.Concat(needed, excess),
	})
	if f := r.keys.failure(err); f != nil {
		if f.Cause == kms.Unavailable || f.Cause == kms.RateLimited || f.Cause == kms.NoCredentials {
			return i, f
		}
		i.Untold = "Google Cloud does not tell this identity what it may do with the key: " + f.Error()
		return i, nil
	}
	i.Told, i.Asked = true, slices.Concat(needed, excess)
	for _, permission := range answer.GetPermissions() {
		if slices.Contains(excess, permission) {
			i.Excess = append(i.Excess, permission)
		}
	}
	slices.Sort(i.Excess)
	return i, nil
}

// Fix is part of [kms.Remote].
func (r *remote) Fix(operation string, cause kms.Cause) string {
	switch cause {
	case kms.NoCredentials:
		return kms.LogIn("google-github-actions/auth", "gcloud auth application-default login")
	case kms.Denied:
		role := "roles/cloudkms.publicKeyViewer"
		if operation == "sign with" {
			role = "roles/cloudkms.signer"
		}
		return "grant it: gcloud kms keys add-iam-policy-binding " + r.name.key + " " + r.name.flags() + " --role " + role +
			" --member serviceAccount:WHO (of a person user:WHO); if the login was refused, see the condition of the workload identity provider"
	case kms.NotFound:
		return "see which there are: gcloud kms keys versions list --key " + r.name.key + " " + r.name.flags()
	case kms.Disabled:
		return "if it is to be used: gcloud kms keys versions enable " + r.name.version + " --key " + r.name.key + " " + r.name.flags() +
			" (a destroyed one is gone); else have another key signed for: tufops-sign delegate EVENT timestamp --online-key URI"
	case kms.Unsuited:
		return "use a key made with --purpose asymmetric-signing --default-algorithm ec-sign-p256-sha256: tufops-sign delegate EVENT timestamp --online-key URI"
	}
	return kms.Usual(cause)
}

// failure is what an error of the client means; nil for nil.
func (k *Keys) failure(err error) *kms.Failure {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return &kms.Failure{Cause: kms.Unavailable, Detail: k.secrets.Line(err.Error())}
	}
	if s.Code() == codes.DeadlineExceeded { // the service may see the end of its time before our clock does
		return kms.Late()
	}
	f := &kms.Failure{Cause: kms.Refused, Detail: k.secrets.Line(s.Code().String() + ": " + s.Message())}
	switch s.Code() {
	case codes.InvalidArgument:
		if strings.Contains(s.Message(), "crc32c") {
			f.Cause = kms.Corrupt // what we sent did not arrive as it was
		}
	case codes.Unauthenticated:
		f.Cause = kms.NoCredentials
	case codes.PermissionDenied:
		f.Cause = kms.Denied
	case codes.NotFound:
		f.Cause = kms.NotFound
	case codes.FailedPrecondition:
		f.Cause = kms.Disabled
	case codes.ResourceExhausted:
		f.Cause = kms.RateLimited
	case codes.Unavailable, codes.Internal, codes.Aborted, codes.Unknown:
		f.Cause = kms.Unavailable
	}
	return f
}

func corrupt(format string, args ...any) error {
	return &kms.Failure{Cause: kms.Corrupt, Detail: fmt.Sprintf(format, args...)}
}

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, castagnoli)))
}

func intact(data []byte, sum *wrapperspb.Int64Value) bool {
	return sum != nil && sum.GetValue() == checksum(data).GetValue()
}
