// Package aws finds online keys in AWS KMS: `awskms:` and a key id, an ARN or an
// alias, as tuf-on-ci has it.
//
// It signs and reads public keys, and changes nothing. Credentials and region are
// those that the AWS SDK finds, but that the region of an ARN is its own; it
// shows none.
package aws

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	kmsapi "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Scheme is what stands before the colon of the URIs of this package.
const Scheme = "awskms"

// Keys finds keys. The zero value is ready for use, and reads the configuration
// of the SDK once.
type Keys struct {
	// Options add to what the SDK finds in the environment and in files.
	Options  []func(*config.LoadOptions) error
	Patience kms.Patience

	mu     sync.Mutex
	config *aws.Config
}

// The forms of a key id. Letters that mean something to a shell are in none:
// what is found goes into commands that people copy.
var (
	plain   = regexp.MustCompile(`^(?:[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)$`)
	pattern = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:(?:key/[A-Za-z0-9-]+|alias/[A-Za-z0-9/_-]+)$`)
)

// Resolve reads the key's public part. Every error is an *[onlinesign.KeyError],
// or that of ctx.
func (k *Keys) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	fail := func(text, fix string) (metadata.Signer, error) {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: errors.New(text), Fix: fix}
	}
	id, ok := strings.CutPrefix(uri, Scheme+":")
	arn := pattern.FindStringSubmatch(id)
	if !ok || arn == nil && !plain.MatchString(id) {
		return fail("it is not the name of a key in AWS KMS", "write it as awskms:arn:aws:kms:REGION:ACCOUNT:key/ID, or with an alias or the ID alone")
	}
	found, err := k.load(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return fail("the configuration of AWS cannot be read: "+kms.Line(err.Error()), "see the files and variables of AWS, such as AWS_PROFILE")
	}
	region := found.Region
	if arn != nil {
		region = arn[1]
	}
	if region == "" {
		return fail("nothing says in which region it is", "set AWS_REGION, or write the key as an ARN")
	}
	client := kmsapi.NewFromConfig(*found, func(o *kmsapi.Options) {
		o.Region = region
		o.Retryer = aws.NopRetryer{} // patience is ours
	})
	return kms.Open(ctx, uri, scheme, &remote{client: client, credentials: found.Credentials, id: id, region: region}, k.Patience)
}

// load reads the configuration at the first call that succeeds.
func (k *Keys) load(ctx context.Context) (*aws.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config == nil {
		quiet := config.WithLogger(logging.Nop{}) // what goes wrong is in errors
		found, err := config.LoadDefaultConfig(ctx, append([]func(*config.LoadOptions) error{quiet}, k.Options...)...)
		if err != nil {
			return nil, err
		}
		k.config = &found
	}
	return k.config, nil
}

// remote is one key.
type remote struct {
	client      *kmsapi.Client
	credentials aws.CredentialsProvider
	id, region  string
	secrets     kms.Secrets

	mu    sync.Mutex
	found string // the last part of the key's ARN, also where id is an alias
	spec  string
}

// last is what stands last in an ARN: the id of a key.
func last(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// algorithms are those that metadata has a scheme for, in the order in which new
// metadata should list them.
var algorithms = []struct {
	scheme string
	is     types.SigningAlgorithmSpec
}{
	{kms.P256, types.SigningAlgorithmSpecEcdsaSha256},
	{kms.P384, types.SigningAlgorithmSpecEcdsaSha384},
	{kms.Ed25519, types.SigningAlgorithmSpecEd25519Sha512},
	{kms.PSS256, types.SigningAlgorithmSpecRsassaPssSha256},
	{kms.PSS384, types.SigningAlgorithmSpecRsassaPssSha384},
	{kms.PSS512, types.SigningAlgorithmSpecRsassaPssSha512},
	{kms.PKCS1v256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha256},
	{kms.PKCS1v384, types.SigningAlgorithmSpecRsassaPkcs1V15Sha384},
	{kms.PKCS1v512, types.SigningAlgorithmSpecRsassaPkcs1V15Sha512},
}

// Public is part of [kms.Remote].
func (r *remote) Public(ctx context.Context) (crypto.PublicKey, []string, error) {
	if err := r.login(ctx); err != nil {
		return nil, nil, err
	}
	found, err := r.client.GetPublicKey(ctx, &kmsapi.GetPublicKeyInput{KeyId: aws.String(r.id)})
	if err != nil {
		return nil, nil, r.failure(err)
	}
	id := last(aws.ToString(found.KeyId))
	if id == "" || !strings.Contains(r.id, "alias/") && id != last(r.id) {
		return nil, nil, corrupt("it is of key %.200q", id)
	}
	if found.KeyUsage != types.KeyUsageTypeSignVerify {
		return nil, nil, &kms.Failure{Cause: kms.Unsuited, Detail: "its usage is " + kms.Line(string(found.KeyUsage)) + ", not SIGN_VERIFY"}
	}
	public, err := x509.ParsePKIXPublicKey(found.PublicKey)
	if err != nil {
		return nil, nil, corrupt("what came is no public key")
	}
	r.mu.Lock()
	r.found, r.spec = id, string(found.KeySpec)
	r.mu.Unlock()
	var schemes []string
	for _, a := range algorithms {
		if slices.Contains(found.SigningAlgorithms, a.is) {
			schemes = append(schemes, a.scheme)
		}
	}
	return public, schemes, nil
}

// maxRaw is the largest message that the service signs without a digest, which is
// how Ed25519 signs.
const maxRaw = 4096

// Sign is part of [kms.Remote].
func (r *remote) Sign(ctx context.Context, scheme string, message []byte) ([]byte, error) {
	if err := r.login(ctx); err != nil {
		return nil, err
	}
	in := &kmsapi.SignInput{KeyId: aws.String(r.id), Message: message, MessageType: types.MessageTypeDigest}
	for _, a := range algorithms {
		if a.scheme == scheme {
			in.SigningAlgorithm = a.is
		}
	}
	if kms.Hash(scheme) == 0 {
		in.MessageType = types.MessageTypeRaw
		if len(message) > maxRaw {
			return nil, &kms.Failure{Cause: kms.Unsuited, Detail: fmt.Sprintf("AWS KMS signs at most %d bytes in %s, and these are %d", maxRaw, scheme, len(message))}
		}
	}
	answer, err := r.client.Sign(ctx, in)
	if err != nil {
		return nil, r.failure(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.found != "" && last(aws.ToString(answer.KeyId)) != r.found:
		return nil, corrupt("the signature is of key %.200q", aws.ToString(answer.KeyId))
	case answer.SigningAlgorithm != in.SigningAlgorithm:
		return nil, corrupt("the signature is in %.50q", answer.SigningAlgorithm)
	}
	return answer.Signature, nil
}

// Inspect is part of [kms.Remote].
func (r *remote) Inspect(context.Context) (onlinesign.Inspection, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return onlinesign.Inspection{Algorithm: r.spec, Untold: "AWS KMS does not tell a caller its permissions"}, nil
}

// Fix is part of [kms.Remote].
func (r *remote) Fix(operation string, cause kms.Cause) string {
	switch cause {
	case kms.NoCredentials:
		return kms.LogIn("aws-actions/configure-aws-credentials", "aws sso login") + "; see that the clock is right"
	case kms.Denied:
		action := "kms:GetPublicKey"
		if operation == "sign with" {
			action = "kms:Sign"
		}
		return "allow " + action + " on this key in the policy of the role that signs, and in the key's own; if the login was refused, see the trust policy of the role"
	case kms.NotFound:
		return "see account and region (here " + r.region + "): aws kms describe-key --region " + r.region + " --key-id " + r.id
	case kms.Disabled:
		return "if it is to be used: aws kms enable-key --region " + r.region + " --key-id " + r.id +
			", after aws kms cancel-key-deletion if it waits for that; else have another key signed for: tufops-sign delegate EVENT timestamp --online-key URI"
	case kms.Unsuited:
		return "use a key made with --key-usage SIGN_VERIFY --key-spec ECC_NIST_P256: tufops-sign delegate EVENT timestamp --online-key URI"
	}
	return kms.Usual(cause)
}

// login gets the credentials before a request needs them, so that a login that
// fails is told from a request that does. The SDK keeps them until they end.
func (r *remote) login(ctx context.Context) error {
	if r.credentials == nil {
		return &kms.Failure{Cause: kms.NoCredentials}
	}
	// The SDK's own client is not ours to carry; what it shows stands in a file.
	if proof, err := os.ReadFile(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")); err == nil {
		r.secrets.Keep(strings.TrimSpace(string(proof)))
	}
	found, err := r.credentials.Retrieve(ctx)
	r.secrets.Keep(found.SecretAccessKey, found.SessionToken)
	if err == nil {
		return nil
	}
	if f := r.failure(err); f.Cause != kms.Unavailable {
		return f
	}
	// The last place that the SDK looks at is the machine's own service, which is
	// out of reach where there is none.
	f := &kms.Failure{Cause: kms.NoCredentials, Detail: r.secrets.Line(err.Error())}
	var asked *smithy.OperationError
	if errors.As(err, &asked) && asked.ServiceID != "ec2imds" {
		f.Cause = kms.Unavailable
	}
	return f
}

// causes are what the codes of KMS and STS mean.
var causes = map[string]kms.Cause{
	"AccessDenied": kms.Denied, "AccessDeniedException": kms.Denied,

	"UnrecognizedClientException": kms.NoCredentials, "InvalidClientTokenId": kms.NoCredentials, "ExpiredTokenException": kms.NoCredentials,
	"ExpiredToken": kms.NoCredentials, "InvalidSignatureException": kms.NoCredentials, "SignatureDoesNotMatch": kms.NoCredentials,
	"IncompleteSignature": kms.NoCredentials, "IncompleteSignatureException": kms.NoCredentials, "MissingAuthenticationToken": kms.NoCredentials,
	"MissingAuthenticationTokenException": kms.NoCredentials, "InvalidIdentityToken": kms.NoCredentials,
	"IDPRejectedClaim": kms.NoCredentials, "NotAuthorized": kms.NoCredentials, "RequestExpired": kms.NoCredentials,

	"NotFoundException": kms.NotFound,

	"DisabledException": kms.Disabled, "KMSInvalidStateException": kms.Disabled,

	"InvalidKeyUsageException": kms.Unsuited, "UnsupportedOperationException": kms.Unsuited,

	"ThrottlingException": kms.RateLimited, "Throttling": kms.RateLimited, "TooManyRequestsException": kms.RateLimited,
	"RequestLimitExceeded": kms.RateLimited, "LimitExceededException": kms.RateLimited,

	"KMSInternalException": kms.Unavailable, "DependencyTimeoutException": kms.Unavailable, "KeyUnavailableException": kms.Unavailable,
	"InternalFailure": kms.Unavailable, "ServiceUnavailable": kms.Unavailable, "ServiceUnavailableException": kms.Unavailable,
	"IDPCommunicationError": kms.Unavailable,
}

// failure is what an error of the client means.
func (r *remote) failure(err error) *kms.Failure {
	var said smithy.APIError
	var status interface{ HTTPStatusCode() int }
	code := 0
	if errors.As(err, &status) {
		code = status.HTTPStatusCode()
	}
	if errors.As(err, &said) {
		if cause, ok := causes[said.ErrorCode()]; ok {
			return &kms.Failure{Cause: cause, Detail: r.secrets.Line(said.ErrorCode() + ": " + said.ErrorMessage())}
		}
	}
	f := &kms.Failure{Cause: kms.Unavailable, Detail: r.secrets.Line(err.Error())}
	switch {
	case code == 429:
		f.Cause = kms.RateLimited
	case code >= 500, errors.As(err, new(net.Error)), errors.Is(err, io.ErrUnexpectedEOF): // it broke off
	case errors.As(err, new(*smithy.DeserializationError)):
		f.Cause = kms.Corrupt
	case said != nil:
		f.Cause, f.Detail = kms.Refused, r.secrets.Line(said.ErrorCode()+": "+said.ErrorMessage())
	}
	return f
}

func corrupt(format string, args ...any) error {
	return &kms.Failure{Cause: kms.Corrupt, Detail: fmt.Sprintf(format, args...)}
}
