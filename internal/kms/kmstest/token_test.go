package kmstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cloudlogin"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/azure"
	"github.com/tufops/tufops/internal/kms/gcp"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/metadata"
)

// From what a machine has, over the token that it gets for it, to a signature:
// each login as the vendor's client makes it, against token servers of ours that
// check what they are shown.

// proof is what GitHub says of a job.
const proof = "eyJ.proof-of-a-test.x"

// tokens is a token server. refuse, if it is not empty, is its next answers.
type tokens struct {
	t      *testing.T
	refuse string
	asked  []string // paths
}

func (s *tokens) answer(w http.ResponseWriter, r *http.Request, fits bool, body string) {
	s.asked = append(s.asked, r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case s.refuse != "":
		w.WriteHeader(http.StatusUnauthorized)
		body = s.refuse
	case !fits:
		s.t.Errorf("%s %s shows another login", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(w, body)
}

// google answers as Google's token services and the metadata server of a machine
// at Google do.
func (s *tokens) google(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/sts":
		fits := r.FormValue("subject_token") == proof && strings.HasPrefix(r.FormValue("audience"), "//iam.googleapis.com/projects/1/")
		s.answer(w, r, fits, `{"access_token": "federated-of-a-test", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600}`)
	case r.URL.Path == "/impersonate":
		s.answer(w, r, r.Header.Get("Authorization") == "Bearer federated-of-a-test", `{"accessToken": "`+kmstest.GoogleToken+`", "expireTime": "2100-01-01T00:00:00Z"}`)
	case strings.HasSuffix(r.URL.Path, "/token"):
		s.answer(w, r, r.Header.Get("Metadata-Flavor") == "Google", `{"access_token": "`+kmstest.GoogleToken+`", "token_type": "Bearer", "expires_in": 3600}`)
	default:
		http.NotFound(w, r)
	}
}

// entra answers as the login of Azure does, which says first where it is.
func (s *tokens) entra(w http.ResponseWriter, r *http.Request) {
	base := "https://" + kmstest.EntraHost + "/" + kmstest.AzureTenant
	switch r.URL.Path {
	case "/common/discovery/instance":
		fmt.Fprintf(w, `{"tenant_discovery_endpoint": "%s/v2.0/.well-known/openid-configuration", "metadata": [{"preferred_network": %q, "preferred_cache": %[2]q, "aliases": [%[2]q]}]}`, base, kmstest.EntraHost)
	case "/" + kmstest.AzureTenant + "/v2.0/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"token_endpoint": "%[1]s/oauth2/v2.0/token", "authorization_endpoint": "%[1]s/oauth2/v2.0/authorize", "issuer": "%[1]s/v2.0"}`, base)
	case "/" + kmstest.AzureTenant + "/oauth2/v2.0/token":
		fits := r.FormValue("client_assertion") == proof && r.FormValue("client_id") == "client" && strings.Contains(r.FormValue("scope"), "https://vault.azure.net/.default")
		s.answer(w, r, fits, `{"access_token": "`+kmstest.AzureToken+`", "token_type": "Bearer", "expires_in": 3600}`)
	default:
		http.NotFound(w, r)
	}
}

// hub gives the proof of a job, as GitHub does.
func hub(t *testing.T) func(string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer request-of-a-test" || r.URL.Query().Get("audience") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"value": %q}`, proof)
	}))
	t.Cleanup(server.Close)
	temp := t.TempDir()
	return func(name string) string {
		return map[string]string{
			"ACTIONS_ID_TOKEN_REQUEST_URL": server.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-of-a-test", "RUNNER_TEMP": temp,
			"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/p/providers/github",
			"TUFOPS_GCP_SERVICE_ACCOUNT":            "tuf@p.iam.gserviceaccount.com",
			"TUFOPS_AZURE_CLIENT_ID":                "client", "TUFOPS_AZURE_TENANT_ID": kmstest.AzureTenant,
			"TUFOPS_AWS_ROLE_TO_ASSUME": "arn:aws:iam::123456789012:role/tuf", "TUFOPS_AWS_REGION": kmstest.AWSRegion,
		}[name]
	}
}

// detour is Google's adapter, which looks for its token services here.
type detour struct {
	t    *testing.T
	url  string
	keys *gcp.Keys
}

func (d detour) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	file := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	data, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		d.t.Fatal(err)
	}
	for name, place := range map[string][2]string{
		"token_url":                         {"https://sts.googleapis.com/v1/token", d.url + "/sts"},
		"service_account_impersonation_url": {"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/tuf@p.iam.gserviceaccount.com:generateAccessToken", d.url + "/impersonate"},
	} {
		if config[name] != place[0] && config[name] != place[1] {
			d.t.Errorf("%s is %v, want %s", name, config[name], place[0])
		}
		config[name] = place[1]
	}
	if data, err = json.Marshal(config); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.keys.Resolve(ctx, uri, scheme)
}

// A job's proof becomes a token of Google's, that of a service account's, and that
// a signature. The same on a machine at Google, which asks its metadata server.
func TestGoogleToken(t *testing.T) {
	home := noLogin(t)
	s := kmstest.NewService(t)
	s.Make(t, cryptoKey+"online", "1", kms.P256)
	uri := "gcpkms:" + cryptoKey + "online/cryptoKeyVersions/1"
	at := kmstest.GCPWithLogin(t, s)
	open := func() *gcp.Keys {
		keys := &gcp.Keys{At: at, Patience: quick}
		t.Cleanup(func() { keys.Close() })
		return keys
	}
	login := &tokens{t: t}
	server := httptest.NewServer(http.HandlerFunc(login.google))
	t.Cleanup(server.Close)

	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "") // to be put back
	job := &cloudlogin.Keys{Keys: detour{t, server.URL, open()}, Job: cloudlogin.Job{Getenv: hub(t)}}
	t.Cleanup(func() { job.Close() })
	signs(t, job, uri)
	if got := strings.Join(login.asked, " "); got != "/sts /impersonate" {
		t.Errorf("logged in at %q", got)
	}
	for refusal, want := range map[string]struct {
		cause kms.Cause
		hint  string
	}{
		`{"error": "invalid_grant", "error_description": "ID Token issued at 1 is stale to sign-in."}`: {kms.NoCredentials, "made anew"},
		`{"error": "unauthorized_client", "error_description": "rejected by the attribute condition"}`: {kms.Denied, "workload identity provider"},
	} {
		login.refuse = refusal
		_, err := open().Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", want.cause, want.hint)
		hidden(t, err)
	}

	login.refuse = ""
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	signs(t, open(), uri)
	if last := login.asked[len(login.asked)-1]; last != "/computeMetadata/v1/instance/service-accounts/default/token" {
		t.Errorf("logged in at %s", last)
	}
	// What the service itself refuses, because the token has expired there.
	s.Break("sign", kmstest.LoggedOut, kmstest.Forever)
	signer, err := open().Resolve(t.Context(), uri, "")
	if err == nil {
		_, err = signer.Sign(t.Context(), payload)
	}
	wantFailure(t, err, uri, "sign with", kms.NoCredentials, "google-github-actions/auth")
	hidden(t, err)
	if _, err := os.Stat(filepath.Join(home, ".config")); err == nil {
		t.Error("a login was left in the home of the person")
	}
}

// A job's proof becomes a token of Azure's, and that a signature.
func TestAzureToken(t *testing.T) {
	noLogin(t)
	os.Unsetenv("AZURE_TOKEN_CREDENTIALS") // the whole chain, as it is in a job
	s := kmstest.NewService(t)
	s.Make(t, "online", "1", kms.P256)
	login := &tokens{t: t}
	_, transport := kmstest.AzureWithLogin(t, s, http.HandlerFunc(login.entra))
	uri := "azurekms://" + kmstest.AzureHost + "/keys/online/1"
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "") // to be put back
	}
	job := &cloudlogin.Keys{Keys: &azure.Keys{Transport: transport, Patience: quick}, Job: cloudlogin.Job{Getenv: hub(t)}}
	t.Cleanup(func() { job.Close() })
	signs(t, job, uri)
	if got := strings.Join(login.asked, " "); got != "/"+kmstest.AzureTenant+"/oauth2/v2.0/token" {
		t.Errorf("logged in at %q", got)
	}
	for refusal, want := range map[string]struct {
		cause kms.Cause
		hint  string
	}{
		`{"error": "invalid_client", "error_description": "AADSTS700024: Client assertion is not within its valid time range.", "error_codes": [700024]}`: {kms.NoCredentials, "made anew"},
		`{"error": "invalid_client", "error_description": "AADSTS700213: No matching federated identity record found for it.", "error_codes": [700213]}`:  {kms.Denied, "federated credentials"},
	} {
		login.refuse = refusal
		_, err := (&azure.Keys{Transport: transport, Patience: quick}).Resolve(t.Context(), uri, "")
		wantFailure(t, err, uri, "read", want.cause, want.hint)
		hidden(t, err)
	}
}

// A job's proof becomes keys of AWS, and those a signature.
func TestAWSToken(t *testing.T) {
	noLogin(t)
	s := kmstest.NewService(t)
	s.Make(t, "online", "", kms.P256)
	uri := "awskms:" + kmstest.AWSKey("online")
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != proof || r.FormValue("RoleArn") != "arn:aws:iam::123456789012:role/tuf" {
			t.Errorf("%s shows another login", r.FormValue("Action"))
		}
		_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
			<AccessKeyId>AKIDEXAMPLE</AccessKeyId><SecretAccessKey>secret-of-a-test</SecretAccessKey><SessionToken>session-token-of-a-test</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration>
			</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_KMS", kmstest.AWS(t, s))
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	for _, name := range []string{"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"} {
		t.Setenv(name, "") // to be put back
		os.Unsetenv(name)
	}
	job := &cloudlogin.Keys{Keys: &aws.Keys{Patience: quick}, Job: cloudlogin.Job{Getenv: hub(t)}}
	t.Cleanup(func() { job.Close() })
	signs(t, job, uri)
	if asked != 1 {
		t.Errorf("logged in %d times", asked)
	}
}
