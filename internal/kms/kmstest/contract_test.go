package kmstest_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/hashicorp/vault/api"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/azure"
	"github.com/tufops/tufops/internal/kms/gcp"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/kms/vault"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// quick is a patience that a test has.
var quick = kms.Patience{Tries: 3, Timeout: 30 * time.Second, Pause: time.Microsecond}

// A fixture is an adapter with a service of ours behind the vendor's client.
type fixture struct {
	keys    onlinesign.Keys
	service *kmstest.Service
	uri     string // of the key P256, version 1
}

// An adapter is what the contract is asked of.
type adapter struct {
	name    string
	schemes []string // that it signs in; the first of a key type is what the service prefers
	start   func(t testing.TB, patience kms.Patience) fixture
	// make makes a key of a scheme, and returns it with its URI.
	make func(t testing.TB, f fixture, scheme string) (*kmstest.Key, string)

	// What hints say: by operation and cause.
	denied   map[string]string
	login    string
	find     string
	enable   string
	unpinned []string // URIs that name no version
	wrong    []string // that are no URIs of this service
}

const cryptoKey = "projects/example.com:tuf/locations/europe-west1/keyRings/ring/cryptoKeys/"

var adapters = []adapter{
	{
		name:    "gcp",
		schemes: []string{kms.P256, kms.P384, kms.Ed25519, kms.PSS256, kms.PSS512, kms.PKCS1v256, kms.PKCS1v512},
		start: func(t testing.TB, patience kms.Patience) fixture {
			s := kmstest.NewService(t)
			keys := &gcp.Keys{Options: kmstest.GCP(t, s), Patience: patience}
			t.Cleanup(func() { keys.Close() })
			s.Make(t, cryptoKey+"online", "1", kms.P256)
			return fixture{keys, s, "gcpkms:" + cryptoKey + "online/cryptoKeyVersions/1"}
		},
		make: func(t testing.TB, f fixture, scheme string) (*kmstest.Key, string) {
			k := f.service.Make(t, cryptoKey+scheme, "12", scheme)
			return k, "gcpkms:" + k.Name + "/cryptoKeyVersions/12"
		},
		denied: map[string]string{
			"read":      "gcloud kms keys add-iam-policy-binding online --keyring ring --location europe-west1 --project example.com:tuf --role roles/cloudkms.publicKeyViewer",
			"sign with": "--role roles/cloudkms.signer",
		},
		login: "google-github-actions/auth", find: "gcloud kms keys versions list", enable: "gcloud kms keys versions enable 1 --key online",
		unpinned: []string{"gcpkms:" + cryptoKey + "online"},
		wrong: []string{
			"gcpkms:", "gcpkms:x", "gcpkms:" + cryptoKey + "a/cryptoKeyVersions/", "gcpkms:" + cryptoKey + "a/cryptoKeyVersions/0",
			"gcpkms:" + cryptoKey + "a;b/cryptoKeyVersions/1", "gcpkms://" + cryptoKey + "a/cryptoKeyVersions/1", "awskms:" + cryptoKey + "a/cryptoKeyVersions/1",
			"gcpkms:" + cryptoKey + "a/cryptoKeyVersions/1?x", "gcpkms:" + cryptoKey + "a/cryptoKeyVersions/1\n",
		},
	},
}

func init() {
	adapters = append(adapters, adapter{
		name:    "aws",
		schemes: []string{kms.P256, kms.P384, kms.Ed25519, kms.PSS256, kms.PSS384, kms.PSS512, kms.PKCS1v256, kms.PKCS1v384, kms.PKCS1v512},
		start: func(t testing.TB, patience kms.Patience) fixture {
			s := kmstest.NewService(t)
			s.Make(t, "online", "", kms.P256)
			return fixture{&aws.Keys{Options: awsOptions(kmstest.AWS(t, s)), Patience: patience}, s, "awskms:" + kmstest.AWSKey("online")}
		},
		make: func(t testing.TB, f fixture, scheme string) (*kmstest.Key, string) {
			k := f.service.Make(t, scheme, "", scheme)
			return k, "awskms:alias/key/" + scheme + "/now" // an alias may look like an ARN
		},
		denied: map[string]string{"read": "allow kms:GetPublicKey", "sign with": "allow kms:Sign"},
		login:  "aws-actions/configure-aws-credentials", find: "aws kms describe-key --region eu-central-1 --key-id arn:aws", enable: "aws kms enable-key",
		wrong: []string{"awskms:", "awskms:a b", "awskms:alias/", "awskms:alias/$(x)", "awskms:arn:aws:kms:eu-central-1:1:key/x", "awskms:arn:aws:s3:eu-central-1:123456789012:key/x", "gcpkms:x", "awskms://x"},
	})
}

func init() {
	vault := "azurekms://" + kmstest.AzureHost + "/keys/"
	adapters = append(adapters, adapter{
		name:    "azure",
		schemes: []string{kms.P256, kms.P384, kms.PSS256, kms.PSS384, kms.PSS512, kms.PKCS1v256, kms.PKCS1v384, kms.PKCS1v512},
		start: func(t testing.TB, patience kms.Patience) fixture {
			s := kmstest.NewService(t)
			s.Make(t, "online", "0a1b2c", kms.P256)
			credential, transport := kmstest.Azure(t, s)
			return fixture{&azure.Keys{Credential: credential, Transport: transport, Patience: patience}, s, vault + "online/0a1b2c"}
		},
		make: func(t testing.TB, f fixture, scheme string) (*kmstest.Key, string) {
			f.service.Make(t, scheme, "ff", scheme)
			return f.service.Make(t, scheme, "01", scheme), vault + scheme + "/01"
		},
		denied: map[string]string{"read": "Microsoft.KeyVault/vaults/keys/read", "sign with": "Microsoft.KeyVault/vaults/keys/sign/action"},
		login:  "azure/login", find: "az keyvault key list-versions --id https://tuf.vault.azure.net/keys/online", enable: "az keyvault key set-attributes --enabled true --id https://tuf.vault.azure.net/keys/online/0a1b2c",
		unpinned: []string{vault + "online"},
		wrong: []string{
			"azurekms:", "azurekms:x", "azurekms://evil.example/keys/x/1", "azurekms://x.vault.azure.net.evil.example/keys/x/1", "azurekms://evil.example#.vault.azure.net/keys/x/1",
			"azurekms://x@x.vault.azure.net/keys/x/1", "azurekms://x.vault.azure.net:443/keys/x/1", "azurekms://a.b.vault.azure.net/keys/x/1", vault + "x/1/2", vault + "x/", vault + "x/1?y", "azurekms://x.vault.azure.net/secrets/x/1",
			"azurekms://127.0.0.1/keys/x/1", "https://x.vault.azure.net/keys/x/1",
		},
	})
}

func init() {
	adapters = append(adapters, adapter{
		name:    "vault",
		schemes: []string{kms.P256, kms.P384, kms.Ed25519, kms.PSS256, kms.PSS384, kms.PSS512, kms.PKCS1v256, kms.PKCS1v384, kms.PKCS1v512},
		start: func(t testing.TB, patience kms.Patience) fixture {
			s := kmstest.NewService(t)
			s.Make(t, "online", "1", kms.P256)
			config := api.DefaultConfig()
			config.Address = kmstest.Vault(t, s)
			return fixture{&vault.Keys{Config: config, Token: kmstest.VaultToken, Patience: patience}, s, "hv:online/1"}
		},
		make: func(t testing.TB, f fixture, scheme string) (*kmstest.Key, string) {
			f.service.Make(t, scheme, "9", scheme)
			f.service.Make(t, scheme, "12", scheme)
			return f.service.Make(t, scheme, "10", scheme), "hv:" + scheme + "/10"
		},
		denied: map[string]string{"read": `path "transit/keys/online" { capabilities = ["read"] }`, "sign with": `path "transit/sign/online" { capabilities = ["update"] }`},
		login:  "hashicorp/vault-action", find: "vault read transit/keys/online", enable: "vault write transit/keys/online/config min_decryption_version=1",
		unpinned: []string{"hv:online"},
		wrong:    []string{"hv:", "hv:/1", "hv:x/", "hv:x/0", "hv:x/01", "hv:x/-1", "hv:x/1/2", "hv:../sys/1", "hv:a b/1", "hv:x/9999999999", "vault:x/1"},
	})
}

// awsOptions point the SDK at a server, with credentials that are worth nothing,
// and away from the files of whoever runs the test.
func awsOptions(url string) []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithBaseEndpoint(url), config.WithRegion(kmstest.AWSRegion), config.WithSharedConfigFiles([]string{}), config.WithSharedCredentialsFiles([]string{}),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret-of-a-test", "session-token-of-a-test")),
	}
}

func each(t *testing.T, test func(t *testing.T, a adapter)) {
	for _, a := range adapters {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			test(t, a)
		})
	}
}

// payload is longer than any digest, and than what some services sign at once.
var payload = []byte(`{"_type":"timestamp",` + strings.Repeat(" ", 3000) + `}`)

// Each scheme signs what the listed key verifies, asked for by name; without a
// name the key's own is taken, and metadata of ours lists it.
func TestSigns(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		for _, scheme := range a.schemes {
			key, uri := a.make(t, f, scheme)
			signer, err := f.keys.Resolve(t.Context(), uri, scheme)
			if err != nil {
				t.Errorf("%s: %v", scheme, err)
				continue
			}
			if got := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !got.Equal(key.Private.Public()) {
				t.Errorf("%s: the public key is another", scheme)
			}
			sig, err := signer.Sign(t.Context(), payload)
			if err != nil {
				t.Errorf("%s: %v", scheme, err)
				continue
			}
			verified := kms.Verify(key.Private.Public(), scheme, payload, sig)
			if object := object(t, key, uri, scheme); object.Unusable == nil {
				verified = object.Verify(payload, sig) == nil
			} else if !strings.HasPrefix(scheme, "rsa-pkcs1v15-") {
				t.Errorf("%s: %v", scheme, object.Unusable)
			}
			if !verified {
				t.Errorf("%s: the signature does not verify", scheme)
			}
			if kms.Verify(key.Private.Public(), scheme, append([]byte(" "), payload...), sig) {
				t.Errorf("%s: the signature verifies over anything", scheme)
			}
			if _, err := f.keys.Resolve(t.Context(), uri, ""); err != nil {
				t.Errorf("%s, not named: %v", scheme, err)
			}
		}
	})
}

// object is the key object that lists a key for a scheme.
func object(t *testing.T, key *kmstest.Key, uri, scheme string) *metadata.Key {
	t.Helper()
	k, err := metadata.NewKey(key.Private.Public(), "", uri)
	if err != nil {
		t.Fatal(err)
	}
	obj := metadata.Clone(k.Object)
	obj["scheme"] = scheme
	if k, err = metadata.DecodeKey("id", obj); err != nil {
		t.Fatal(err)
	}
	return k
}

// A key that signs in another scheme than the metadata lists is found out before
// it signs.
func TestOtherScheme(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		for _, scheme := range []string{kms.P384, kms.Ed25519, kms.PSS256, "ml-dsa-65/1", "ecdsa-sha2-nistp521"} {
			_, err := f.keys.Resolve(t.Context(), f.uri, scheme)
			wantFailure(t, err, f.uri, "read", kms.Unsuited, "tufops-sign delegate")
			if err != nil && (!strings.Contains(err.Error(), scheme) || !strings.Contains(err.Error(), kms.P256)) {
				t.Errorf("%s: error %q does not name both", scheme, err)
			}
		}
		if n := f.service.Requests("sign"); n != 0 {
			t.Errorf("%d requests to sign", n)
		}
	})
}

// wantFailure asks that an error names the key, what was tried and why it failed,
// and says what to do.
func wantFailure(t *testing.T, err error, uri, operation string, cause kms.Cause, hint string) {
	t.Helper()
	var key *onlinesign.KeyError
	var failure *kms.Failure
	if !errors.As(err, &key) || !errors.As(err, &failure) {
		t.Errorf("error is %T %v, want a KeyError with a Failure", err, err)
		return
	}
	if key.URI != uri || key.Operation != operation || failure.Cause != cause || !strings.HasPrefix(err.Error(), operation+" key "+uri+": "+string(cause)) {
		t.Errorf("error is %q, want %s key %s: %s", err, operation, uri, cause)
	}
	if key.Hint() == "" || !strings.Contains(key.Hint(), hint) {
		t.Errorf("hint is %q, want %q in it", key.Hint(), hint)
	}
	if denied := errors.Is(err, onlinesign.ErrDenied); denied != (cause == kms.Denied) {
		t.Errorf("is ErrDenied: %t, with cause %q", denied, cause)
	}
	if strings.ContainsAny(err.Error()+key.Hint(), "\n\r\t") {
		t.Errorf("error or hint has several lines: %q %q", err, key.Hint())
	}
}

// A fault, and what is made of it.
type breakage struct {
	fault kms.Cause
	how   kmstest.Fault
	again bool // is tried again
	hint  func(a adapter, operation string) string
}

var breakages = []breakage{
	{kms.Denied, kmstest.Denied, false, func(a adapter, operation string) string { return a.denied[operation] }},
	{kms.NoCredentials, kmstest.LoggedOut, false, func(a adapter, _ string) string { return a.login }},
	{kms.RateLimited, kmstest.Throttled, true, func(adapter, string) string { return "quota" }},
	{kms.Unavailable, kmstest.Down, true, func(adapter, string) string { return "outage" }},
	{kms.Unavailable, kmstest.CutOff, true, func(adapter, string) string { return "outage" }},
	{kms.Corrupt, kmstest.Damaged, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Corrupt, kmstest.Garbage, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Corrupt, kmstest.Corrupted, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Corrupt, kmstest.OtherVersion, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Corrupt, kmstest.Unchecked, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Corrupt, kmstest.OtherKey, true, func(adapter, string) string { return "nothing of it was used" }},
	{kms.Disabled, kmstest.Disabled, false, func(a adapter, _ string) string { return a.enable }},
	{kms.Disabled, kmstest.Destroyed, false, func(a adapter, _ string) string { return a.enable }},
	{kms.NotFound, kmstest.Gone, false, func(a adapter, _ string) string { return a.find }},
}

// Whatever breaks, at reading or at signing: the error says so, what may help is
// tried as often as was said and no more, and once it is over the key signs.
func TestFaults(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		good, err := f.keys.Resolve(t.Context(), f.uri, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range breakages {
			for _, operation := range []string{"read", "sign"} {
				if operation == "read" && (b.how == kmstest.OtherKey || b.how == kmstest.Damaged) || cannot[a.name][b.how] != "" {
					continue // nobody but who knows the key can tell; and nothing is sent but its name
				}
				name := operation + ", " + string(b.how)
				request := func() error {
					if operation == "read" {
						_, err := f.keys.Resolve(t.Context(), f.uri, kms.P256)
						return err
					}
					_, err := good.Sign(t.Context(), payload)
					return err
				}
				said := map[string]string{"read": "read", "sign": "sign with"}[operation]
				f.service.Break(operation, b.how, kmstest.Forever)
				before := f.service.Requests(operation)
				t.Log(name)
				wantFailure(t, request(), f.uri, said, b.fault, b.hint(a, said))
				tries := 1
				if b.again {
					tries = quick.Tries
				}
				if a.name == "azure" && operation == "sign" && b.how == kmstest.LoggedOut {
					tries = 2 // its client logs in anew for the challenge that comes with the refusal, once
				}
				if n := f.service.Requests(operation) - before; n != tries {
					t.Errorf("%s: %d requests, want %d", name, n, tries)
				}
				if b.again {
					f.service.Break(operation, b.how, quick.Tries-1)
					if err := request(); err != nil {
						t.Errorf("%s, over before the last try: %v", name, err)
					}
				}
				f.service.Heal()
				if err := request(); err != nil {
					t.Errorf("%s, healed: %v", name, err)
				}
			}
		}
	})
}

// cannot happen there, and why.
var cannot = map[string]map[kmstest.Fault]string{
	"gcp":   {kmstest.Garbage: "gRPC makes an error of its own of it, as of a service that is down", kmstest.CutOff: "the same"},
	"aws":   noChecksums,
	"azure": noChecksums,
	"vault": noChecksums,
}

var noChecksums = map[kmstest.Fault]string{kmstest.Unchecked: "the protocol has no checksums", kmstest.Damaged: "the same: what comes back does not verify"}

// A service that never answers is left alone after a while, and at once when the
// run is stopped.
func TestHangs(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, kms.Patience{Tries: 2, Timeout: 50 * time.Millisecond, Pause: time.Microsecond})
		f.service.Break("read", kmstest.Hangs, kmstest.Forever)
		_, err := f.keys.Resolve(t.Context(), f.uri, "")
		wantFailure(t, err, f.uri, "read", kms.Unavailable, "outage")
		if err != nil && !strings.Contains(err.Error(), "(2 tries): no answer in time") {
			t.Errorf("error is %q", err)
		}

		f = a.start(t, kms.Patience{Tries: 2, Timeout: time.Hour})
		f.service.Break("read", kmstest.Hangs, kmstest.Forever)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for f.service.Requests("read") == 0 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, err := f.keys.Resolve(ctx, f.uri, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped while it waits: %v", err)
		}
	})
}

// What is no URI of the service is refused before anybody is asked, with the form
// that it has.
func TestForm(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		scheme, _, _ := strings.Cut(f.uri, ":")
		for _, uri := range a.wrong {
			_, err := f.keys.Resolve(t.Context(), uri, "")
			var key *onlinesign.KeyError
			if !errors.As(err, &key) || key.URI != uri || key.Operation != "find" || !strings.HasPrefix(key.Hint(), "write it as "+scheme+":") {
				t.Errorf("%q: error is %v", uri, err)
			}
		}
		for _, operation := range []string{"read", "sign", "list"} {
			if n := f.service.Requests(operation); n != 0 {
				t.Errorf("%d requests to %s", n, operation)
			}
		}
	})
}

// A URI without a version is an error that names the version where this identity
// can see it, and else says how to write it.
func TestUnpinned(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		for _, uri := range a.unpinned {
			for _, seen := range []bool{true, false} {
				f.service.Heal()
				if !seen {
					f.service.Break("list", kmstest.Denied, kmstest.Forever)
					f.service.Break("read", kmstest.Denied, kmstest.Forever)
				}
				_, err := f.keys.Resolve(t.Context(), uri, "")
				var key *onlinesign.KeyError
				if !errors.As(err, &key) || key.URI != uri || key.Operation != "find" || !strings.Contains(err.Error(), "it names no version of the key") {
					t.Errorf("%s: error is %v", uri, err)
					continue
				}
				if strings.Contains(key.Hint(), f.uri) != seen || !strings.Contains(key.Hint(), uri+"/") {
					t.Errorf("%s, versions seen %t: hint is %q", uri, seen, key.Hint())
				}
			}
		}
		if n := f.service.Requests("sign"); n != 0 {
			t.Errorf("%d requests to sign", n)
		}
	})
}
