package kmstest

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tufops/tufops/internal/kms"
)

// GCP serves keys as Google Cloud KMS does, and returns what a client is made
// with. The names of keys are theirs in full.
func GCP(t testing.TB, s *Service) []option.ClientOption {
	t.Helper()
	return []option.ClientOption{
		option.WithEndpoint(serveGCP(t, s)), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

// GoogleToken is the login that [GCPWithLogin] accepts.
const GoogleToken = "ya29.token-of-a-test"

// GCPWithLogin is [GCP] for whoever shows [GoogleToken], over TLS, as a client
// shows no token without. What it returns says where the service is, and not who
// asks.
func GCPWithLogin(t testing.TB, s *Service) []option.ClientOption {
	t.Helper()
	const host = "cloudkms.googleapis.com"
	shown := certificate(t, host)
	roots := x509.NewCertPool()
	roots.AddCert(shown.Leaf)
	address := serveGCP(t, s, grpc.Creds(credentials.NewServerTLSFromCert(&shown)), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			sent, _ := grpcmetadata.FromIncomingContext(ctx)
			if !slices.Equal(sent.Get("authorization"), []string{"Bearer " + GoogleToken}) {
				return nil, status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
			}
			return handler(ctx, req)
		}))
	return []option.ClientOption{
		option.WithEndpoint(address),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: host}))),
	}
}

func serveGCP(t testing.TB, s *Service, options ...grpc.ServerOption) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	g := &google{service: s}
	kmspb.RegisterKeyManagementServiceServer(server, g)
	iampb.RegisterIAMPolicyServer(server, iam{service: s})
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

type google struct {
	kmspb.UnimplementedKeyManagementServiceServer
	service *Service
}

var googleAlgorithms = map[string]kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm{
	kms.P256:      kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256,
	kms.P384:      kmspb.CryptoKeyVersion_EC_SIGN_P384_SHA384,
	kms.Ed25519:   kmspb.CryptoKeyVersion_EC_SIGN_ED25519,
	kms.PSS256:    kmspb.CryptoKeyVersion_RSA_SIGN_PSS_3072_SHA256,
	kms.PSS512:    kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA512,
	kms.PKCS1v256: kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256,
	kms.PKCS1v512: kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA512,
}

// begin is what Google says about a fault; "" is none that has words. It finds the
// part of the service that has a key by a header, and insists on it.
func (g *google) begin(ctx context.Context, operation, field, name string) (Fault, error) {
	sent, _ := grpcmetadata.FromIncomingContext(ctx)
	if want := field + "=" + url.QueryEscape(name); !slices.Equal(sent.Get("x-goog-request-params"), []string{want}) {
		return "", status.Errorf(codes.InvalidArgument, "the request is routed by %q, not %q", sent.Get("x-goog-request-params"), want)
	}
	return googleFault(ctx, g.service, operation)
}

func googleFault(ctx context.Context, s *Service, operation string) (Fault, error) {
	fault := s.begin(ctx, operation)
	switch fault {
	case Denied:
		return fault, status.Error(codes.PermissionDenied, "Permission 'cloudkms.cryptoKeyVersions.useToSign' denied on resource (or it may not exist).")
	case Echo:
		sent, _ := grpcmetadata.FromIncomingContext(ctx)
		return fault, status.Error(codes.PermissionDenied, fmt.Sprint(map[string][]string(sent))) // itself it shows no login
	case LoggedOut:
		return fault, status.Error(codes.Unauthenticated, "Request had invalid authentication credentials.")
	case Throttled:
		return fault, status.Error(codes.ResourceExhausted, "Quota exceeded for quota metric.")
	case Down:
		return fault, status.Error(codes.Unavailable, "The service is currently unavailable.")
	case Garbage:
		return fault, status.Error(codes.Internal, "malformed")
	case Hangs:
		return fault, status.FromContextError(ctx.Err()).Err()
	case Disabled:
		return fault, status.Error(codes.FailedPrecondition, "CryptoKeyVersion is not enabled, current state is: DISABLED.")
	case Destroyed:
		return fault, status.Error(codes.FailedPrecondition, "CryptoKeyVersion is not enabled, current state is: DESTROYED.")
	case Gone:
		return fault, status.Error(codes.NotFound, "CryptoKeyVersion not found.")
	}
	return fault, nil
}

// version finds a key by the name of a version.
func (g *google) version(name string) (*Key, error) {
	key, version, ok := strings.Cut(name, "/cryptoKeyVersions/")
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "%q names no version", name)
	}
	k := g.service.find(key, version)
	if k == nil {
		return nil, status.Errorf(codes.NotFound, "%s not found", name)
	}
	return k, nil
}

func (g *google) GetPublicKey(ctx context.Context, in *kmspb.GetPublicKeyRequest) (*kmspb.PublicKey, error) {
	fault, err := g.begin(ctx, "read", "name", in.GetName())
	if err != nil {
		return nil, err
	}
	k, err := g.version(in.GetName())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.public(fault))
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	out := &kmspb.PublicKey{Name: in.GetName(), Algorithm: googleAlgorithms[k.Scheme], PemCrc32C: sum(text), ProtectionLevel: kmspb.ProtectionLevel_HSM}
	switch fault {
	case Corrupted:
		text = flip(text)
	case OtherVersion:
		out.Name += "0"
	case Unchecked:
		out.PemCrc32C = nil
	}
	out.Pem = string(text)
	return out, nil
}

func (g *google) AsymmetricSign(ctx context.Context, in *kmspb.AsymmetricSignRequest) (*kmspb.AsymmetricSignResponse, error) {
	fault, err := g.begin(ctx, "sign", "name", in.GetName())
	if err != nil {
		return nil, err
	}
	k, err := g.version(in.GetName())
	if err != nil {
		return nil, err
	}
	out := &kmspb.AsymmetricSignResponse{Name: in.GetName(), ProtectionLevel: kmspb.ProtectionLevel_HSM}
	var message []byte
	var size int
	if in.GetDigest() != nil && in.GetData() != nil {
		return nil, status.Error(codes.InvalidArgument, "digest and data were both supplied")
	}
	if d := in.GetDigest(); d != nil {
		for n, digest := range map[int][]byte{sha256.Size: d.GetSha256(), sha512.Size384: d.GetSha384(), sha512.Size: d.GetSha512()} {
			if digest != nil {
				message, size = digest, n
			}
		}
		if len(message) != size {
			return nil, status.Errorf(codes.InvalidArgument, "a digest of %d bytes, not %d", len(message), size)
		}
		if out.VerifiedDigestCrc32C, err = received(fault, "digest", message, in.GetDigestCrc32C()); err != nil {
			return nil, err
		}
	} else {
		message = in.GetData()
		if out.VerifiedDataCrc32C, err = received(fault, "data", message, in.GetDataCrc32C()); err != nil {
			return nil, err
		}
	}
	if want := kms.Hash(k.Scheme); want == 0 && size != 0 || want != 0 && size != want.Size() {
		return nil, status.Errorf(codes.InvalidArgument, "a digest of %d bytes for a key of %s", size, k.Scheme)
	}
	if out.Signature, err = k.sign(fault, k.Scheme, message); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	out.SignatureCrc32C = sum(out.Signature)
	switch fault {
	case Corrupted:
		out.SignatureCrc32C = sum(flip(out.Signature)) // damaged on the way, after it was summed
	case OtherVersion:
		out.Name += "0"
	case Unchecked:
		out.VerifiedDigestCrc32C, out.VerifiedDataCrc32C = false, false
	}
	return out, nil
}

// received looks whether a field is what was sent. The real service does not
// insist on a checksum; this one does.
func received(fault Fault, field string, data []byte, crc *wrapperspb.Int64Value) (bool, error) {
	if fault == Damaged {
		data = flip(data)
	}
	if crc == nil {
		return false, status.Error(codes.InvalidArgument, "the request has no checksum")
	}
	if crc.GetValue() != sum(data).GetValue() {
		return false, status.Errorf(codes.InvalidArgument, "The checksum in field %s_crc32c did not match the data in field %s.", field, field)
	}
	return true, nil
}

func (g *google) ListCryptoKeyVersions(ctx context.Context, in *kmspb.ListCryptoKeyVersionsRequest) (*kmspb.ListCryptoKeyVersionsResponse, error) {
	if _, err := g.begin(ctx, "list", "parent", in.GetParent()); err != nil {
		return nil, err
	}
	out := &kmspb.ListCryptoKeyVersionsResponse{}
	for _, v := range g.service.versions(in.GetParent()) {
		out.CryptoKeyVersions = append(out.CryptoKeyVersions, &kmspb.CryptoKeyVersion{
			Name: in.GetParent() + "/cryptoKeyVersions/" + v, State: kmspb.CryptoKeyVersion_ENABLED,
		})
	}
	return out, nil
}

type iam struct {
	iampb.UnimplementedIAMPolicyServer
	service *Service
}

func (i iam) TestIamPermissions(ctx context.Context, in *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	if _, err := googleFault(ctx, i.service, "inspect"); err != nil {
		return nil, err
	}
	if len(i.service.versions(in.GetResource())) == 0 {
		return nil, status.Errorf(codes.NotFound, "%s not found", in.GetResource())
	}
	has := append([]string{"cloudkms.cryptoKeyVersions.useToSign", "cloudkms.cryptoKeyVersions.viewPublicKey"}, i.service.granted()...)
	out := &iampb.TestIamPermissionsResponse{}
	for _, p := range in.GetPermissions() {
		if slices.Contains(has, p) {
			out.Permissions = append(out.Permissions, p)
		}
	}
	return out, nil
}

func sum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
}
