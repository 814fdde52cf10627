package kmstest_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/tufops/tufops/internal/cloudlogin"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/azure"
	"github.com/tufops/tufops/internal/kms/gcp"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/kms/vault"
	"github.com/tufops/tufops/onlinesign"
)

// Whoever is asked for a login and repeats what it was shown, or for a signature
// and repeats the token, cannot make us show either.
func TestEchoedLogins(t *testing.T) {
	noLogin(t)
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"} {
		t.Setenv(name, "") // to be put back
		os.Unsetenv(name)
	}
	os.Unsetenv("AZURE_TOKEN_CREDENTIALS")
	job := func(keys onlinesign.Keys) *cloudlogin.Keys {
		k := &cloudlogin.Keys{Keys: keys, Job: cloudlogin.Job{Getenv: hub(t)}}
		t.Cleanup(func() { k.Close() })
		return k
	}
	s := kmstest.NewService(t)
	s.Make(t, cryptoKey+"online", "1", kms.P256)
	s.Make(t, "online", "1", kms.P256)
	entra := &tokens{t: t}
	echoed := func(r *http.Request, form string) string {
		text := strings.ReplaceAll(form, `"`, "'") + " " + r.Header.Get("Authorization")
		return `{"error": "invalid_grant", "error_description": "AADSTS1: I was shown ` + text + `", "error_codes": [1]}`
	}
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(echoed(r, r.FormValue("subject_token"))))
	}))
	t.Cleanup(google.Close)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte(`<ErrorResponse><Error><Code>AccessDenied</Code><Message>I was shown ` + r.FormValue("WebIdentityToken") + `</Message></Error></ErrorResponse>`))
	}))
	t.Cleanup(sts.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	t.Setenv("AWS_ENDPOINT_URL_KMS", kmstest.AWS(t, s))
	_, transport := kmstest.AzureWithLogin(t, s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_assertion") == "" {
			entra.entra(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte(echoed(r, r.FormValue("client_assertion"))))
	}))
	for uri, keys := range map[string]onlinesign.Keys{
		"gcpkms:" + cryptoKey + "online/cryptoKeyVersions/1": detour{t, google.URL, &gcp.Keys{Patience: quick}},
		"awskms:" + kmstest.AWSKey("online"):                 &aws.Keys{Patience: quick},
		"azurekms://" + kmstest.AzureHost + "/keys/online/1": &azure.Keys{Transport: transport, Patience: quick},
	} {
		_, err := job(keys).Resolve(t.Context(), uri, "")
		if err == nil || !strings.Contains(err.Error(), "I was shown") || !strings.Contains(err.Error(), "[hidden]") {
			t.Errorf("%s: %v, want what the login said", uri, err)
		}
		hidden(t, err)
	}

	// And the key service of Google, which [TestEchoedSecrets] asks without a login.
	login := &tokens{t: t}
	metadata := httptest.NewServer(http.HandlerFunc(login.google))
	t.Cleanup(metadata.Close)
	os.Unsetenv("GOOGLE_APPLICATION_CREDENTIALS")
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadata.URL, "http://"))
	s.Break("read", kmstest.Echo, kmstest.Forever)
	keys := &gcp.Keys{At: kmstest.GCPWithLogin(t, s), Patience: quick}
	t.Cleanup(func() { keys.Close() })
	_, err := keys.Resolve(t.Context(), "gcpkms:"+cryptoKey+"online/cryptoKeyVersions/1", "")
	if err == nil || !strings.Contains(err.Error(), "[hidden]") {
		t.Errorf("%v, want what the service said", err)
	}
	hidden(t, err)
}

// A service that sends us elsewhere brings nobody a login: no other host is shown
// one.
func TestRedirects(t *testing.T) {
	home := noLogin(t)
	var mu sync.Mutex
	var seen []string
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		text, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, string(text))
	}))
	t.Cleanup(stranger.Close)
	elsewhere := strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1)
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		send := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, code)
		})
		server := httptest.NewServer(send)
		t.Cleanup(server.Close)
		config := api.DefaultConfig()
		config.Address = server.URL
		token := filepath.Join(home, "token")
		if err := os.WriteFile(token, []byte(proof), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", googleFile(t, home, server.URL, token))
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
		t.Setenv("AZURE_CLIENT_ID", "client")
		t.Setenv("AZURE_TENANT_ID", kmstest.AzureTenant)
		t.Setenv("AZURE_FEDERATED_TOKEN_FILE", token)
		login := &tokens{t: t}
		_, transport := kmstest.AzureWithLogin(t, kmstest.NewService(t), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("client_assertion") != "" {
				send(w, r)
				return
			}
			login.entra(w, r)
		}))
		for uri, keys := range map[string]onlinesign.Keys{
			"azurekms://" + kmstest.AzureHost + "/keys/online/1": &azure.Keys{Transport: transport, Patience: quick},
			"hv:online/1":                                        &vault.Keys{Config: config, Token: kmstest.VaultToken, Patience: quick},
			"awskms:" + kmstest.AWSKey("online"):                 &aws.Keys{Options: awsOptions(server.URL), Patience: quick},
			"gcpkms:" + cryptoKey + "online/cryptoKeyVersions/1": &gcp.Keys{Patience: quick},
		} {
			_, err := keys.Resolve(t.Context(), uri, "")
			if err == nil || !strings.HasPrefix(uri, "awskms:") && !strings.Contains(err.Error(), "sends us to http://local") {
				t.Errorf("%s: %v", uri, err)
			}
			hidden(t, err)
		}
	}
	for _, request := range seen {
		if strings.Contains(request, canary) {
			t.Errorf("another host was shown a login:\n%s", request)
		}
	}
}
