package kmstest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/kmstest"
)

// started starts a server that others wrote, and returns its URL once it answers.
// install is the command that brings the program.
func started(t *testing.T, name, install, health string, args func(address string) []string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("TUFOPS_REQUIRE_KMS_SERVERS") != "" {
			t.Fatalf("%s is not in PATH", name)
		}
		t.Skipf("%s is not in PATH: %s", name, install)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer
	server := exec.CommandContext(ctx, program, args(address)...)
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for range 600 {
		if answer, err := http.Get("http://" + address + health); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, &said)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer", name)
	return ""
}

// moto starts a server that speaks AWS's protocols.
func moto(t *testing.T) string {
	t.Helper()
	return started(t, "moto_server", "pip install --no-deps --require-hashes -r .ci/requirements-moto.txt", "/moto-api/", func(address string) []string {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"-H", host, "-p", port}
	})
}

// asked is what a service answers to requests, in words; keys go by the alias of
// their scheme. It leaves aside what moto does not have, and AWS does: the ARN in
// the answer to GetPublicKey, the spec of the key, and keys that are disabled.
func asked(t *testing.T, client *awskms.Client) map[string]string {
	t.Helper()
	outcome := map[string]string{}
	code := func(err error) string {
		var said smithy.APIError
		switch {
		case err == nil:
			return "signed"
		case errors.As(err, &said):
			return said.ErrorCode()
		}
		return err.Error()
	}
	digests := map[types.SigningAlgorithmSpec][]byte{}
	d256, d384, d512 := sha256.Sum256(payload), sha512.Sum384(payload), sha512.Sum512(payload)
	for _, name := range []string{"ECDSA", "RSASSA_PSS", "RSASSA_PKCS1_V1_5"} {
		digests[types.SigningAlgorithmSpec(name+"_SHA_256")] = d256[:]
		digests[types.SigningAlgorithmSpec(name+"_SHA_384")] = d384[:]
		digests[types.SigningAlgorithmSpec(name+"_SHA_512")] = d512[:]
	}
	for _, scheme := range []string{kms.P256, kms.P384, kms.PSS256, "none"} {
		alias := awssdk.String("alias/" + scheme)
		found, err := client.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: alias})
		if err != nil {
			outcome["read "+scheme] = code(err)
		} else {
			public, err := x509.ParsePKIXPublicKey(found.PublicKey)
			slices.Sort(found.SigningAlgorithms)
			outcome["read "+scheme] = fmt.Sprintf("%T %v %s %v", public, err, found.KeyUsage, found.SigningAlgorithms)
		}
		for _, algorithm := range slices.Sorted(maps.Keys(digests)) {
			signed, err := client.Sign(t.Context(), &awskms.SignInput{KeyId: alias, Message: digests[algorithm], MessageType: types.MessageTypeDigest, SigningAlgorithm: algorithm})
			name := "sign " + scheme + " " + string(algorithm)
			outcome[name] = code(err)
			if err == nil && (signed.SigningAlgorithm != algorithm || !strings.HasSuffix(*signed.KeyId, *found.KeyId)) {
				outcome[name] = "signed with something else"
			}
		}
	}
	return outcome
}

var algorithms = map[string]types.SigningAlgorithmSpec{
	kms.P256: types.SigningAlgorithmSpecEcdsaSha256, kms.P384: types.SigningAlgorithmSpecEcdsaSha384,
	kms.PSS256: types.SigningAlgorithmSpecRsassaPssSha256, kms.PSS384: types.SigningAlgorithmSpecRsassaPssSha384, kms.PSS512: types.SigningAlgorithmSpecRsassaPssSha512,
	kms.PKCS1v256: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, kms.PKCS1v384: types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, kms.PKCS1v512: types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
}

// The adapter finds keys at a server that others wrote, that server answers the
// same requests as ours does, and its signatures have the encoding that we expect.
func TestMoto(t *testing.T) {
	url := moto(t)
	connect := func(url string) *awskms.Client {
		found, err := config.LoadDefaultConfig(t.Context(), awsOptions(url)...)
		if err != nil {
			t.Fatal(err)
		}
		return awskms.NewFromConfig(found, func(o *awskms.Options) { o.Retryer = awssdk.NopRetryer{} })
	}
	theirs, s := connect(url), kmstest.NewService(t)
	ids := map[string]*string{}
	for scheme, spec := range map[string]types.KeySpec{kms.P256: types.KeySpecEccNistP256, kms.P384: types.KeySpecEccNistP384, kms.PSS256: types.KeySpecRsa2048} {
		made, err := theirs.CreateKey(t.Context(), &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeSignVerify})
		if err != nil {
			t.Fatal(err)
		}
		ids[scheme] = made.KeyMetadata.KeyId
		if _, err := theirs.CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: awssdk.String("alias/" + scheme), TargetKeyId: made.KeyMetadata.KeyId}); err != nil {
			t.Fatal(err)
		}
		s.Make(t, scheme, "", scheme)
	}
	want, got := asked(t, theirs), asked(t, connect(kmstest.AWS(t, s)))
	for _, request := range slices.Sorted(maps.Keys(want)) {
		if got[request] != want[request] {
			t.Errorf("%s: ours answers %q, moto %q", request, got[request], want[request])
		}
	}
	t.Logf("%d requests are answered alike", len(want))

	keys := &aws.Keys{Options: awsOptions(url), Patience: quick}
	for _, scheme := range append([]string{kms.P256, kms.P384}, kms.RSASchemes...) {
		alias := scheme
		if strings.HasPrefix(scheme, "rsa") {
			alias = kms.PSS256
		}
		for _, uri := range []string{"awskms:alias/" + alias, "awskms:" + *ids[alias], "awskms:arn:aws:kms:eu-central-1:123456789012:key/" + *ids[alias]} {
			signer, err := keys.Resolve(t.Context(), uri, scheme)
			if err != nil {
				t.Errorf("%s: %v", uri, err)
				continue
			}
			// moto hashes what it is given as a digest once more. That is no signature
			// over the payload, and the adapter does not let it pass.
			_, err = signer.Sign(t.Context(), payload)
			wantFailure(t, err, uri, "sign with", kms.Corrupt, "nothing of it was used")
			in := &awskms.SignInput{KeyId: ids[alias], Message: payload, MessageType: types.MessageTypeRaw, SigningAlgorithm: algorithms[scheme]}
			raw, err := theirs.Sign(t.Context(), in)
			if err != nil || !kms.Verify(signer.Public(), scheme, payload, raw.Signature) {
				t.Errorf("%s, hashed by moto: %v", scheme, err)
			}
		}
	}
	_, err := keys.Resolve(t.Context(), "awskms:alias/none", "")
	wantFailure(t, err, "awskms:alias/none", "read", kms.NotFound, "aws kms describe-key")
}
