package kmstest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/tufops/tufops/internal/kms"
)

// AzureHost is the vault that [Azure] serves.
const AzureHost = "tuf.vault.azure.net"

// AzureToken is the login that [Azure] accepts.
const AzureToken = "eyJ.token-of-a-test.x"

// AzureTenant is whose vault it is: a client logs in there.
const AzureTenant = "6d3f7c0e-0000-0000-0000-000000000000"

// EntraHost is where people and machines log in to Azure.
const EntraHost = "login.microsoftonline.com"

// Azure serves keys as Azure Key Vault does, and returns what a client needs: a
// transport that finds the server by the vault's own name, and a login that it
// accepts.
func Azure(t testing.TB, s *Service) (azcore.TokenCredential, http.RoundTripper) {
	t.Helper()
	return AzureWithLogin(t, s, http.NotFoundHandler())
}

// AzureWithLogin is [Azure] with a server of the test's at [EntraHost]. Nothing
// else can be reached over the transport, but this machine.
func AzureWithLogin(t testing.TB, s *Service, entra http.Handler) (azcore.TokenCredential, http.RoundTripper) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == EntraHost {
			entra.ServeHTTP(w, r)
			return
		}
		keyVault{s}.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, AzureHost, EntraHost)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.TLS.Certificates[0].Leaf)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch host, _, _ := net.SplitHostPort(address); {
			case address == AzureHost+":443", address == EntraHost+":443":
				address = server.Listener.Addr().String()
			case host != "127.0.0.1":
				return nil, fmt.Errorf("a test asks for %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return AzureLogin(AzureToken), transport
}

// AzureLogin is a login that gives a token.
type AzureLogin string

// GetToken is part of [azcore.TokenCredential].
func (l AzureLogin) GetToken(_ context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !slices.Equal(options.Scopes, []string{"https://vault.azure.net/.default"}) {
		return azcore.AccessToken{}, fmt.Errorf("a token for %s is asked for", options.Scopes)
	}
	return azcore.AccessToken{Token: string(l), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// certificate is one that a server may show for some hosts.
func certificate(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: hosts, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

type keyVault struct{ service *Service }

// azureVersion is the description of the service that [keyVault] follows.
const azureVersion = "2025-07-01"

var vaultAlgorithms = map[string]string{
	"ES256": kms.P256, "ES384": kms.P384, "PS256": kms.PSS256, "PS384": kms.PSS384, "PS512": kms.PSS512,
	"RS256": kms.PKCS1v256, "RS384": kms.PKCS1v384, "RS512": kms.PKCS1v512,
}

// vaultFaults are status, code, inner code and message.
var vaultFaults = map[Fault][4]string{
	Denied:    {"403", "Forbidden", "ForbiddenByRbac", "Caller is not authorized to perform action on resource."},
	Throttled: {"429", "Throttled", "", "Request was not processed because too many requests were received."},
	Down:      {"503", "ServiceUnavailable", "", ""},
	Disabled:  {"403", "Forbidden", "KeyDisabled", "Operation is not allowed on a disabled key."},
	Destroyed: {"409", "Conflict", "ObjectIsDeletedButRecoverable", "Key is currently in a deleted but recoverable state."},
	Gone:      {"404", "KeyNotFound", "", "A key with (name/id) was not found in this key vault."},
}

func (v keyVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	challenge := `Bearer authorization="https://` + EntraHost + `/` + AzureTenant + `", resource="https://vault.azure.net"`
	if r.Header.Get("Authorization") == "" {
		if body, _ := io.ReadAll(r.Body); len(body) > 0 {
			answerAzure(w, "400", "BadParameter", "", "a body before the login")
			return
		}
		w.Header().Set("WWW-Authenticate", challenge)
		answerAzure(w, "401", "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token.")
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/keys/"), "/")
	operation := ""
	switch {
	case r.Method == http.MethodGet && len(parts) == 2 && parts[1] != "":
		operation = "read"
	case r.Method == http.MethodGet && len(parts) <= 2:
		operation = "list"
	case r.Method == http.MethodPost && len(parts) == 3 && parts[2] == "sign":
		operation = "sign"
	}
	if operation == "" || r.URL.Query().Get("api-version") != azureVersion || r.Host != AzureHost || operation == "sign" && r.Header.Get("Content-Type") != "application/json" {
		answerAzure(w, "400", "BadParameter", "", r.Method+" "+r.URL.Path)
		return
	}
	fault := v.service.begin(r.Context(), operation)
	enabled := fault != Disabled
	if said, ok := vaultFaults[fault]; ok && (enabled || operation == "sign") { // what is disabled can still be read
		answerAzure(w, said[0], said[1], said[2], said[3])
		return
	}
	if fault == Echo {
		answerAzure(w, "403", "Forbidden", "", repeat(r))
		return
	}
	if fault == LoggedOut || r.Header.Get("Authorization") != "Bearer "+AzureToken {
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
		answerAzure(w, "401", "Unauthorized", "", "AKV10022: Invalid token.")
		return
	}
	if fault == CutOff {
		cutOff(w)
	}
	if fault == Garbage {
		fmt.Fprint(w, "<html>not what you look for</html>")
		return
	}
	if operation == "list" { // without a version it is the newest that answers
		versions := v.service.versions(parts[0])
		if len(versions) == 0 {
			versions = []string{""}
		}
		parts = []string{parts[0], versions[len(versions)-1]}
	}
	k := v.service.find(parts[0], parts[1])
	if k == nil {
		answerAzure(w, "404", "KeyNotFound", "", "A key with (name/id) "+r.URL.Path+" was not found in this key vault.")
		return
	}
	id := "https://" + AzureHost + "/keys/" + parts[0] + "/" + parts[1]
	if fault == OtherVersion {
		id += "0"
	}
	if operation != "sign" {
		writeJSON(w, "application/json", 200, map[string]any{
			"key": webKey(k, fault, id), "attributes": map[string]any{"enabled": enabled, "recoverableDays": 90},
		})
		return
	}
	var in struct{ Alg, Value string }
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &in) != nil {
		answerAzure(w, "400", "BadParameter", "", "no JSON")
		return
	}
	digest, err := base64.RawURLEncoding.DecodeString(in.Value)
	var sig []byte
	if err == nil && vaultAlgorithms[in.Alg] == "" {
		err = fmt.Errorf("algorithm %q", in.Alg)
	}
	if err == nil {
		sig, err = k.sign(fault, vaultAlgorithms[in.Alg], digest)
	}
	if err != nil {
		answerAzure(w, "400", "BadParameter", "", err.Error())
		return
	}
	if public, ok := k.Private.Public().(*ecdsa.PublicKey); ok {
		sig = raw(sig, (public.Curve.Params().BitSize+7)/8)
	}
	writeJSON(w, "application/json", 200, map[string]any{"kid": id, "value": base64.RawURLEncoding.EncodeToString(sig)})
}

// webKey is the public key as JWK.
func webKey(k *Key, fault Fault, id string) map[string]any {
	text := base64.RawURLEncoding.EncodeToString
	switch public := k.public(fault).(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		x, y := point[1:1+size], point[1+size:]
		if fault == Corrupted {
			y = flip(y)
		}
		return map[string]any{"kid": id, "kty": "EC-HSM", "crv": public.Curve.Params().Name, "key_ops": []string{"sign"}, "x": text(x), "y": text(y)}
	case *rsa.PublicKey:
		return map[string]any{"kid": id, "kty": "RSA", "key_ops": []string{"sign", "verify"}, "n": text(public.N.Bytes()), "e": text(big.NewInt(int64(public.E)).Bytes())}
	}
	panic("a key that Azure does not have")
}

// raw is an ECDSA signature as r and s, one after the other.
func raw(der []byte, size int) []byte {
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		panic(err)
	}
	return bytes.Join([][]byte{v.R.FillBytes(make([]byte, size)), v.S.FillBytes(make([]byte, size))}, nil)
}

func answerAzure(w http.ResponseWriter, status, code, inner, message string) {
	var n int
	fmt.Sscan(status, &n)
	body := map[string]any{"code": code, "message": message}
	if inner != "" {
		body["innererror"] = map[string]any{"code": inner}
	}
	writeJSON(w, "application/json", n, map[string]any{"error": body})
}
