package kmstest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/azure"
	"github.com/tufops/tufops/internal/kms/gcp"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/kms/vault"
	"github.com/tufops/tufops/onlinesign"
)

// canary is in every secret of these tests.
const canary = "of-a-test"

func hidden(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = unwrap(err) {
		text := err.Error() + fmt.Sprintf("%+v", err)
		if h, ok := err.(interface{ Hint() string }); ok {
			text += h.Hint()
		}
		if strings.Contains(text, canary) {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// A service that repeats what it was sent, in the words of its refusal, cannot
// make us show the login.
func TestEchoedSecrets(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		good, err := f.keys.Resolve(t.Context(), f.uri, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, operation := range []string{"read", "sign"} {
			f.service.Break(operation, kmstest.Echo, kmstest.Forever)
		}
		_, err = f.keys.Resolve(t.Context(), f.uri, "")
		wantFailure(t, err, f.uri, "read", kms.Denied, a.denied["read"])
		hidden(t, err)
		_, err = good.Sign(t.Context(), payload)
		wantFailure(t, err, f.uri, "sign with", kms.Denied, a.denied["sign with"])
		hidden(t, err)
	})
}

// noLogin empties the environment of everything that a vendor's library would
// find a login in, and keeps it away from the machine's own service.
func noLogin(t *testing.T) string {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		for _, vendor := range []string{"AWS_", "AZURE_", "VAULT_", "GOOGLE_", "IDENTITY_", "MSI_", "CLOUDSDK_"} {
			if strings.HasPrefix(name, vendor) {
				t.Setenv(name, value) // to be put back
				os.Unsetenv(name)
			}
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(home, "none"))
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
	return home
}

// answering is a server that gives one answer, and counts.
func answering(t *testing.T, status int, kind, body string) (url string, requests *int) {
	t.Helper()
	requests = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		*requests++
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// signs tries a key that stands in a service.
func signs(t *testing.T, keys onlinesign.Keys, uri string) {
	t.Helper()
	signer, err := keys.Resolve(t.Context(), uri, kms.P256)
	if err == nil {
		_, err = signer.Sign(t.Context(), payload)
	}
	if err != nil {
		t.Errorf("%s: %v", uri, err)
	}
}

// The environment says where Vault is and who asks, or the file that vault login
// writes.
func TestVaultLogin(t *testing.T) {
	home := noLogin(t)
	s := kmstest.NewService(t)
	s.Make(t, "online", "1", kms.P256)
	const uri = "hv:online/1"
	t.Setenv("VAULT_ADDR", kmstest.Vault(t, s))
	_, err := (&vault.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "vault login")
	if n := s.Requests("read"); n != 0 {
		t.Errorf("%d requests without a token", n)
	}

	if err := os.WriteFile(filepath.Join(home, ".vault-token"), []byte(kmstest.VaultToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signs(t, &vault.Keys{Patience: quick}, uri)

	t.Setenv("VAULT_TOKEN", "hvs.another-of-a-test")
	_, err = (&vault.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "vault login")
	hidden(t, err)
	t.Setenv("VAULT_TOKEN", kmstest.VaultToken)
	signs(t, &vault.Keys{Patience: quick}, uri)

	t.Setenv("VAULT_TOKEN", "hvs.with\x01letters-of-a-test")
	_, err = (&vault.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
	hidden(t, err)
	for _, address := range []string{"http://user:password-of-a-test@127.0.0.1:x/", "http://user:password-of-a-test@127.0.0.1:1/", "unix:///password-of-a-test\x7f"} {
		t.Setenv("VAULT_ADDR", address)
		_, err := (&vault.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
		if err == nil {
			t.Errorf("%s was found", address)
		}
		if strings.Contains(address, "password") && !strings.HasPrefix(address, "unix") {
			hidden(t, err)
		}
	}
}

// The environment says where AWS is and who asks. A role that may not be taken is
// a denial; a token that says nothing is none.
func TestAWSLogin(t *testing.T) {
	home := noLogin(t)
	s := kmstest.NewService(t)
	s.Make(t, "online", "", kms.P256)
	uri := "awskms:" + kmstest.AWSKey("online")
	t.Setenv("AWS_ENDPOINT_URL_KMS", kmstest.AWS(t, s))

	_, err := (&aws.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "aws sso login")
	_, err = (&aws.Keys{Patience: quick}).Resolve(t.Context(), "awskms:alias/online", "")
	if err == nil || !strings.Contains(err.Error(), "nothing says in which region it is") {
		t.Errorf("without a region: %v", err)
	}

	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
	t.Setenv("AWS_SESSION_TOKEN", "session-token-of-a-test")
	t.Setenv("AWS_REGION", "us-east-1") // the ARN says another
	signs(t, &aws.Keys{Patience: quick}, uri)
	t.Setenv("AWS_REGION", kmstest.AWSRegion)
	signs(t, &aws.Keys{Patience: quick}, "awskms:alias/online")
	signs(t, &aws.Keys{Patience: quick}, "awskms:online")

	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	os.Unsetenv("AWS_SESSION_TOKEN")
	token := filepath.Join(home, "token")
	if err := os.WriteFile(token, []byte("web-token-of-a-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/tuf")
	refusal := func(code string) string {
		return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`
	}
	for _, c := range []struct {
		status int
		body   string
		cause  kms.Cause
		hint   string
	}{
		{403, refusal("AccessDenied"), kms.Denied, "trust policy"},
		{400, refusal("InvalidIdentityToken"), kms.NoCredentials, "configure-aws-credentials"},
		{400, refusal("ExpiredTokenException"), kms.NoCredentials, "configure-aws-credentials"},
		{503, refusal("ServiceUnavailable"), kms.Unavailable, "outage"},
	} {
		url, requests := answering(t, c.status, "text/xml", c.body)
		t.Setenv("AWS_ENDPOINT_URL_STS", url)
		_, err := (&aws.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", c.cause, c.hint)
		hidden(t, err)
		if *requests == 0 {
			t.Error("nobody logged in")
		}
	}
}

// googleFile says that a token is to be exchanged at a URL.
func googleFile(t *testing.T, dir, url, token string) string {
	t.Helper()
	file := filepath.Join(dir, "credentials.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": %q, "credential_source": {"file": %q}}`, url, token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A workload identity that Google refuses is a denial where it is known, and no
// login where it is not.
func TestGoogleLogin(t *testing.T) {
	home := noLogin(t)
	uri := "gcpkms:" + cryptoKey + "online/cryptoKeyVersions/1"
	_, err := (&gcp.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "gcloud auth application-default login")

	token := filepath.Join(home, "token")
	if err := os.WriteFile(token, []byte("web-token-of-a-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		body   string
		cause  kms.Cause
		hint   string
	}{
		{401, `{"error":"unauthorized_client","error_description":"The given credential is rejected by the attribute condition."}`, kms.Denied, "workload identity provider"},
		{403, `{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' denied"}}`, kms.Denied, "workload identity provider"},
		{400, `{"error":"invalid_grant","error_description":"The audience in ID Token does not match."}`, kms.NoCredentials, "google-github-actions/auth"},
		{503, `down`, kms.Unavailable, "outage"},
	} {
		url, requests := answering(t, c.status, "application/json", c.body)
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", googleFile(t, home, url, token))
		_, err := (&gcp.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", c.cause, c.hint)
		hidden(t, err)
		if *requests == 0 {
			t.Error("nobody logged in")
		}
	}
	file := filepath.Join(home, "key.json")
	for _, text := range []string{"secret-of-a-test", `{"type": "service_account", "private_key": "secret-of-a-test", "client_email": "a@b.example", "token_uri": "http://127.0.0.1:1/"}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
		_, err := (&gcp.Keys{Patience: quick}).Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", kms.NoCredentials, "google-github-actions/auth")
		hidden(t, err)
	}
}

type refusing struct{ err error }

func (r refusing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, r.err
}

// The SDK's own chain logs in at Azure, here as a machine; what Entra refuses is
// a denial where it knows the identity.
func TestAzureLogin(t *testing.T) {
	noLogin(t)
	s := kmstest.NewService(t)
	s.Make(t, "online", "1", kms.P256)
	_, transport := kmstest.Azure(t, s)
	uri := "azurekms://" + kmstest.AzureHost + "/keys/online/1"
	_, err := (&azure.Keys{Transport: transport, Patience: quick}).Resolve(t.Context(), uri, "")
	wantFailure(t, err, uri, "read", kms.NoCredentials, "azure/login")

	url, _ := answering(t, 200, "application/json", `{"access_token": "`+kmstest.AzureToken+`", "expires_on": "4102444800", "resource": "https://vault.azure.net", "token_type": "Bearer"}`)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	t.Setenv("IDENTITY_ENDPOINT", url)
	t.Setenv("IDENTITY_HEADER", "header-of-a-test")
	signs(t, &azure.Keys{Transport: transport, Patience: quick}, uri)

	for body, cause := range map[string]kms.Cause{
		`{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject.","error_codes":[700213]}`: kms.Denied,
		`{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}`:                                            kms.NoCredentials,
	} {
		failed := &azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: 401, Body: io.NopCloser(strings.NewReader(body))}}
		_, err := (&azure.Keys{Transport: transport, Credential: refusing{failed}, Patience: quick}).Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", cause, map[kms.Cause]string{kms.Denied: "federated credentials", kms.NoCredentials: "azure/login"}[cause])
	}
}
