package kmstest_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/kmstest"
)

// miniStack starts a server that speaks AWS's protocols.
func miniStack(t *testing.T) string {
	t.Helper()
	return started(t, "ministack", "pip install --no-deps --require-hashes -r .ci/requirements-ministack.txt", "/_ministack/health", func(address string, server *exec.Cmd) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		// It writes beside other temporary files, and would open ports of other services on every interface.
		server.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "BIND_HOST="+host, "GATEWAY_PORT="+port, "SERVICES=kms", "IOT_MTLS_ENABLED=0", "SFTP_ENABLED=0",
			"MINISTACK_REGION="+kmstest.AWSRegion, "MINISTACK_ACCOUNT_ID="+kmstest.AWSAccount)
	})
}

// signing are the algorithms of AWS, by the scheme that metadata has for each.
var signing = map[string]types.SigningAlgorithmSpec{
	kms.P256: types.SigningAlgorithmSpecEcdsaSha256, kms.P384: types.SigningAlgorithmSpecEcdsaSha384, kms.Ed25519: types.SigningAlgorithmSpecEd25519Sha512,
	kms.PSS256: types.SigningAlgorithmSpecRsassaPssSha256, kms.PSS384: types.SigningAlgorithmSpecRsassaPssSha384, kms.PSS512: types.SigningAlgorithmSpecRsassaPssSha512,
	kms.PKCS1v256: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, kms.PKCS1v384: types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, kms.PKCS1v512: types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
}

// asked is what a service answers to requests, in words; keys go by the alias of
// their scheme.
func asked(t *testing.T, client *awskms.Client) map[string]string {
	t.Helper()
	outcome := map[string]string{}
	code := func(err error) string {
		var said smithy.APIError
		if errors.As(err, &said) {
			return said.ErrorCode()
		}
		return err.Error()
	}
	for _, name := range []string{kms.P256, kms.P384, kms.Ed25519, kms.PSS256, "none"} {
		alias := awssdk.String("alias/" + name)
		var arn string
		var public crypto.PublicKey
		found, err := client.GetPublicKey(t.Context(), &awskms.GetPublicKeyInput{KeyId: alias})
		if err != nil {
			outcome["read "+name] = code(err)
		} else {
			arn = *found.KeyId
			if public, err = x509.ParsePKIXPublicKey(found.PublicKey); err != nil {
				t.Fatal(err)
			}
			slices.Sort(found.SigningAlgorithms)
			outcome["read "+name] = fmt.Sprintf("%T %s %s %v, named by its ARN: %t", public, found.KeyUsage, found.KeySpec, found.SigningAlgorithms, strings.HasPrefix(arn, kmstest.AWSKey("")))
		}
		sign := func(what, scheme string, kind types.MessageType, message []byte) {
			signed, err := client.Sign(t.Context(), &awskms.SignInput{KeyId: alias, Message: message, MessageType: kind, SigningAlgorithm: signing[scheme]})
			said := "signed"
			switch {
			case err != nil:
				said = code(err)
			case *signed.KeyId != arn || signed.SigningAlgorithm != signing[scheme] || !kms.Verify(public, scheme, payload, signed.Signature):
				said = "signed something else"
			}
			outcome["sign with "+name+" in "+scheme+what] = said
		}
		for scheme := range signing {
			message := kms.Message(scheme, payload)
			if scheme == kms.Ed25519 {
				sign("", scheme, types.MessageTypeRaw, message)
				sign(", as a digest", scheme, types.MessageTypeDigest, message[:32])
				continue
			}
			sign("", scheme, types.MessageTypeDigest, message)
			sign(", a digest too short", scheme, types.MessageTypeDigest, message[1:])
		}
	}
	return outcome
}

// The adapter signs with keys of a server that others wrote, in every scheme, and
// tells its refusals apart; and that server answers the same requests as ours does.
func TestMiniStack(t *testing.T) {
	url := miniStack(t)
	connect := func(url string) *awskms.Client {
		found, err := config.LoadDefaultConfig(t.Context(), awsOptions(url)...)
		if err != nil {
			t.Fatal(err)
		}
		return awskms.NewFromConfig(found) // which asks again where a connection breaks
	}
	theirs, s := connect(url), kmstest.NewService(t)
	create := func(spec types.KeySpec, usage types.KeyUsageType, alias string) string {
		t.Helper()
		made, err := theirs.CreateKey(t.Context(), &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.CreateAlias(t.Context(), &awskms.CreateAliasInput{AliasName: awssdk.String("alias/" + alias), TargetKeyId: made.KeyMetadata.KeyId}); err != nil {
			t.Fatal(err)
		}
		return *made.KeyMetadata.KeyId
	}
	ids := map[string]string{}
	for scheme, spec := range map[string]types.KeySpec{kms.P256: types.KeySpecEccNistP256, kms.P384: types.KeySpecEccNistP384, kms.Ed25519: types.KeySpecEccNistEdwards25519, kms.PSS256: types.KeySpecRsa2048} {
		ids[scheme] = create(spec, types.KeyUsageTypeSignVerify, scheme)
		s.Make(t, scheme, "", scheme)
	}
	want, got := asked(t, theirs), asked(t, connect(kmstest.AWS(t, s)))
	signed := 0
	for _, request := range slices.Sorted(maps.Keys(want)) {
		if got[request] != want[request] {
			t.Errorf("%s: ours answers %q, ministack %q", request, got[request], want[request])
		}
		if want[request] == "signed" {
			signed++
		}
	}
	if signed != len(signing) {
		t.Errorf("%d requests end in a signature, want one for each of %d schemes", signed, len(signing))
	}
	t.Logf("%d requests are answered alike, %d of them with a signature", len(want), signed)

	keys := &aws.Keys{Options: awsOptions(url), Patience: quick}
	arn := "awskms:arn:aws:kms:" + kmstest.AWSRegion + ":" + kmstest.AWSAccount + ":"
	for scheme := range signing {
		alias := scheme
		if strings.HasPrefix(scheme, "rsa") {
			alias = kms.PSS256
		}
		for _, uri := range []string{"awskms:alias/" + alias, arn + "alias/" + alias, "awskms:" + ids[alias], arn + "key/" + ids[alias]} {
			signer, err := keys.Resolve(t.Context(), uri, scheme)
			if err != nil {
				t.Errorf("%s in %s: %v", uri, scheme, err)
				continue
			}
			sig, err := signer.Sign(t.Context(), payload)
			if err != nil {
				t.Errorf("%s in %s: %v", uri, scheme, err)
				continue
			}
			in := &awskms.VerifyInput{KeyId: awssdk.String(ids[alias]), Message: kms.Message(scheme, payload), MessageType: types.MessageTypeDigest, Signature: sig, SigningAlgorithm: signing[scheme]}
			if scheme == kms.Ed25519 {
				in.MessageType = types.MessageTypeRaw
			}
			if out, err := theirs.Verify(t.Context(), in); err != nil || !out.SignatureValid {
				t.Errorf("%s in %s: the service does not accept its own signature: %v", uri, scheme, err)
			}
		}
	}

	// What a key on call runs into.
	uri := arn + "key/" + ids[kms.P256]
	signer, err := keys.Resolve(t.Context(), uri, "")
	if err != nil {
		t.Fatal(err)
	}
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(signer interface {
		Sign(context.Context, []byte) ([]byte, error)
	}, uri string, cause kms.Cause, hint string) {
		t.Helper()
		_, err := signer.Sign(t.Context(), payload)
		wantFailure(t, err, uri, "sign with", cause, hint)
	}
	id := awssdk.String(ids[kms.P256])
	do(theirs.DisableKey(t.Context(), &awskms.DisableKeyInput{KeyId: id}))
	refused(signer, uri, kms.Disabled, "aws kms enable-key")
	do(theirs.EnableKey(t.Context(), &awskms.EnableKeyInput{KeyId: id}))
	do(signer.Sign(t.Context(), payload))
	do(theirs.ScheduleKeyDeletion(t.Context(), &awskms.ScheduleKeyDeletionInput{KeyId: id}))
	refused(signer, uri, kms.Disabled, "aws kms cancel-key-deletion")

	// Somebody has an alias mean another key while a run goes on.
	moved := "awskms:alias/" + kms.P384
	if signer, err = keys.Resolve(t.Context(), moved, ""); err != nil {
		t.Fatal(err)
	}
	do(theirs.UpdateAlias(t.Context(), &awskms.UpdateAliasInput{AliasName: awssdk.String("alias/" + kms.P384), TargetKeyId: awssdk.String(create(types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify, "next"))}))
	refused(signer, moved, kms.Corrupt, "nothing of it was used")

	for name, kind := range map[string]struct {
		spec  types.KeySpec
		usage types.KeyUsageType
	}{
		"for-encryption": {types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt},
		"symmetric":      {types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
		"a-mac":          {types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac},
		"another-curve":  {types.KeySpecEccNistP521, types.KeyUsageTypeSignVerify},
	} {
		create(kind.spec, kind.usage, name)
		_, err := keys.Resolve(t.Context(), "awskms:alias/"+name, "")
		wantFailure(t, err, "awskms:alias/"+name, "read", kms.Unsuited, "--key-usage SIGN_VERIFY")
	}
	for _, uri := range []string{"awskms:alias/none", arn + "key/" + strings.Repeat("0", 36), "awskms:arn:aws:kms:" + kmstest.AWSRegion + ":000000000001:key/" + ids[kms.P384]} {
		_, err = keys.Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", kms.NotFound, "aws kms describe-key")
	}
}
