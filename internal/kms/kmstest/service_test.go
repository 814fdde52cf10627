package kmstest_test

import (
	"crypto/sha256"
	"hash/crc32"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/hashicorp/vault/api"

	gcpkms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/kmstest"
)

// The services refuse what an adapter must not send: a digest of another length,
// another algorithm, another version, no checksum or a wrong one. Each request
// differs in one thing from one that is signed, so that a service that refuses
// everything fails too.
func TestServicesRefuse(t *testing.T) {
	digest := sha256.Sum256(payload)
	crc := func(data []byte) *wrapperspb.Int64Value {
		return wrapperspb.Int64(int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
	}
	try := func(t *testing.T, what string, good bool, err error) {
		t.Helper()
		if (err == nil) != good {
			t.Errorf("%s: signed: %t, want %t (%v)", what, err == nil, good, err)
		}
	}
	t.Run("gcp", func(t *testing.T) {
		s := kmstest.NewService(t)
		name := s.Make(t, cryptoKey+"k", "1", kms.P256).Name + "/cryptoKeyVersions/"
		client, err := gcpkms.NewKeyManagementClient(t.Context(), kmstest.GCP(t, s)...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for what, change := range map[string]func(*kmspb.AsymmetricSignRequest){
			"": func(*kmspb.AsymmetricSignRequest) {},
			"a short digest": func(r *kmspb.AsymmetricSignRequest) {
				r.Digest, r.DigestCrc32C = &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: digest[1:]}}, crc(digest[1:])
			},
			"another algorithm": func(r *kmspb.AsymmetricSignRequest) {
				long := append(digest[:], digest[:16]...)
				r.Digest, r.DigestCrc32C = &kmspb.Digest{Digest: &kmspb.Digest_Sha384{Sha384: long}}, crc(long)
			},
			"data":             func(r *kmspb.AsymmetricSignRequest) { r.Digest, r.Data, r.DataCrc32C = nil, digest[:], crc(digest[:]) },
			"digest and data":  func(r *kmspb.AsymmetricSignRequest) { r.Data, r.DataCrc32C = payload, crc(payload) },
			"another version":  func(r *kmspb.AsymmetricSignRequest) { r.Name = name + "2" },
			"no version":       func(r *kmspb.AsymmetricSignRequest) { r.Name = cryptoKey + "k" },
			"no checksum":      func(r *kmspb.AsymmetricSignRequest) { r.DigestCrc32C = nil },
			"a wrong checksum": func(r *kmspb.AsymmetricSignRequest) { r.DigestCrc32C = crc(payload) },
		} {
			in := &kmspb.AsymmetricSignRequest{Name: name + "1", Digest: &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: digest[:]}}, DigestCrc32C: crc(digest[:])}
			change(in)
			_, err := client.AsymmetricSign(t.Context(), in)
			try(t, what, what == "", err)
		}
	})
	t.Run("aws", func(t *testing.T) {
		s := kmstest.NewService(t)
		s.Make(t, "k", "", kms.P256)
		found, err := config.LoadDefaultConfig(t.Context(), awsOptions(kmstest.AWS(t, s))...)
		if err != nil {
			t.Fatal(err)
		}
		client := awskms.NewFromConfig(found, func(o *awskms.Options) { o.Retryer = awssdk.NopRetryer{} })
		for what, change := range map[string]func(*awskms.SignInput){
			"":                       func(*awskms.SignInput) {},
			"a short digest":         func(in *awskms.SignInput) { in.Message = digest[1:] },
			"another algorithm":      func(in *awskms.SignInput) { in.SigningAlgorithm = types.SigningAlgorithmSpecEcdsaSha384 },
			"one of another type":    func(in *awskms.SignInput) { in.SigningAlgorithm = types.SigningAlgorithmSpecRsassaPssSha256 },
			"a message to be hashed": func(in *awskms.SignInput) { in.MessageType = types.MessageTypeRaw },
			"another key":            func(in *awskms.SignInput) { in.KeyId = awssdk.String("alias/other") },
		} {
			in := &awskms.SignInput{KeyId: awssdk.String("alias/k"), Message: digest[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}
			change(in)
			_, err := client.Sign(t.Context(), in)
			try(t, what, what == "", err)
		}
	})
	t.Run("azure", func(t *testing.T) {
		s := kmstest.NewService(t)
		s.Make(t, "k", "1", kms.P256)
		credential, transport := kmstest.Azure(t, s)
		sign := func(login azcore.TokenCredential, version string, algorithm azkeys.SignatureAlgorithm, value []byte) error {
			client, err := azkeys.NewClient("https://"+kmstest.AzureHost, login, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Sign(t.Context(), "k", version, azkeys.SignParameters{Algorithm: &algorithm, Value: value}, nil)
			return err
		}
		try(t, "", true, sign(credential, "1", azkeys.SignatureAlgorithmES256, digest[:]))
		try(t, "a short digest", false, sign(credential, "1", azkeys.SignatureAlgorithmES256, digest[1:]))
		try(t, "another algorithm", false, sign(credential, "1", azkeys.SignatureAlgorithmES384, digest[:]))
		try(t, "one of another type", false, sign(credential, "1", azkeys.SignatureAlgorithmPS256, digest[:]))
		try(t, "another version", false, sign(credential, "2", azkeys.SignatureAlgorithmES256, digest[:]))
		try(t, "another login", false, sign(kmstest.AzureLogin("other"), "1", azkeys.SignatureAlgorithmES256, digest[:]))
	})
	t.Run("vault", func(t *testing.T) {
		s := kmstest.NewService(t)
		s.Make(t, "k", "1", kms.P256)
		s.Make(t, "r", "1", kms.PSS256)
		where := api.DefaultConfig()
		where.Address = kmstest.Vault(t, s)
		client, err := api.NewClient(where)
		if err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(in map[string]any){
			"":                      func(map[string]any) {},
			"a short digest":        func(in map[string]any) { in["input"] = digest[1:] },
			"another algorithm":     func(in map[string]any) { in["hash_algorithm"] = "sha2-384" },
			"no algorithm":          func(in map[string]any) { delete(in, "hash_algorithm") },
			"not hashed":            func(in map[string]any) { delete(in, "prehashed") },
			"another form":          func(in map[string]any) { in["marshaling_algorithm"] = "jws" },
			"another version":       func(in map[string]any) { in["key_version"] = 2 },
			"no version":            func(in map[string]any) { delete(in, "key_version") },
			"another key":           func(in map[string]any) { in["key"] = "none" },
			"RSA":                   func(in map[string]any) { in["key"], in["signature_algorithm"], in["salt_length"] = "r", "pss", "hash" },
			"RSA without algorithm": func(in map[string]any) { in["key"] = "r" },
			"RSA with another salt": func(in map[string]any) { in["key"], in["signature_algorithm"] = "r", "pss" },
			"another token":         func(map[string]any) { client.SetToken("hvs.other") },
		} {
			client.SetToken(kmstest.VaultToken)
			in := map[string]any{"key": "k", "input": digest[:], "key_version": 1, "prehashed": true, "hash_algorithm": "sha2-256", "marshaling_algorithm": "asn1"}
			change(in)
			name := in["key"].(string)
			delete(in, "key")
			_, err := client.Logical().WriteWithContext(t.Context(), "transit/sign/"+name, in)
			try(t, what, what == "" || what == "RSA", err)
		}
	})
}
