package cloudlogin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/cloudlogin"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// canary is in every secret of these tests.
const canary = "of-a-test"

// hub is the runner's side: it proves what a job is.
type hub struct {
	*httptest.Server
	mu        sync.Mutex
	audiences []string
	failures  []int // statuses of the next answers
	body      string
}

func newHub(t *testing.T) *hub {
	h := &hub{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if r.URL.Query().Get("api-version") != "2.0" || r.Header.Get("Authorization") != "Bearer request-"+canary {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		audience := r.URL.Query().Get("audience")
		h.audiences = append(h.audiences, audience)
		if len(h.failures) > 0 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(h.failures[0])
			h.failures = h.failures[1:]
			return
		}
		if h.body != "" {
			fmt.Fprint(w, h.body)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"count": 1, "value": "proof-" + canary + " for " + audience})
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hub) env(more ...string) map[string]string {
	env := map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": h.URL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-" + canary}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		env[name] = value
	}
	return env
}

type keysFunc func(uri string) error

func (f keysFunc) Resolve(_ context.Context, uri, _ string) (metadata.Signer, error) {
	return nil, f(uri)
}

var errFound = errors.New("the key was asked for")

// clean takes what a login leaves out of the environment of the test, and puts it
// back as it was at the end.
func clean(t *testing.T) {
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
}

const (
	poolProvider = "projects/1/locations/global/workloadIdentityPools/pool/providers/github"
	gcpKey       = "gcpkms:projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
	awsKey       = "awskms:arn:aws:kms:eu-central-1:123456789012:key/1"
	azureKey     = "azurekms://tuf.vault.azure.net/keys/online/1"
)

// TestLogin: each cloud's client finds the proof that was made for it where it
// looks, and nobody is asked for a cloud that the key is not in.
func TestLogin(t *testing.T) {
	inputs := []string{
		"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER=" + poolProvider, "TUFOPS_GCP_SERVICE_ACCOUNT=tuf@p.iam.gserviceaccount.com",
		"TUFOPS_AWS_ROLE_TO_ASSUME=arn:aws:iam::123456789012:role/tuf", "TUFOPS_AWS_REGION=eu-central-1",
		"TUFOPS_AZURE_CLIENT_ID=client", "TUFOPS_AZURE_TENANT_ID=tenant",
	}
	proof := func(audience string) string { return "proof-" + canary + " for " + audience }
	for _, test := range []struct {
		name, uri, audience string
		check               func(t *testing.T) map[string]string // what must be, and is
		without             []string                             // inputs, without which nobody logs in
		bucket              string                               // a destination in the same cloud
	}{
		{"Google", gcpKey, "https://iam.googleapis.com/" + poolProvider, func(t *testing.T) map[string]string {
			var config struct {
				Type, Audience   string
				SubjectTokenType string                `json:"subject_token_type"`
				TokenURL         string                `json:"token_url"`
				Impersonation    string                `json:"service_account_impersonation_url"`
				CredentialSource struct{ File string } `json:"credential_source"`
			}
			if err := json.Unmarshal(read(t, os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")), &config); err != nil {
				t.Fatal(err)
			}
			return map[string]string{
				"external_account":                                  config.Type,
				"//iam.googleapis.com/" + poolProvider:              config.Audience,
				"urn:ietf:params:oauth:token-type:jwt":              config.SubjectTokenType,
				"https://sts.googleapis.com/v1/token":               config.TokenURL,
				proof("https://iam.googleapis.com/" + poolProvider): string(read(t, config.CredentialSource.File)),
				"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/tuf@p.iam.gserviceaccount.com:generateAccessToken": config.Impersonation,
			}
		}, []string{"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER"}, "gs://tuf"},
		{"AWS", awsKey, "sts.amazonaws.com", func(t *testing.T) map[string]string {
			return map[string]string{
				"arn:aws:iam::123456789012:role/tuf": os.Getenv("AWS_ROLE_ARN"), "eu-central-1": os.Getenv("AWS_REGION"),
				proof("sts.amazonaws.com"): string(read(t, os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))),
			}
		}, []string{"TUFOPS_AWS_ROLE_TO_ASSUME"}, "s3://tuf"},
		{"Azure", azureKey, "api://AzureADTokenExchange", func(t *testing.T) map[string]string {
			return map[string]string{
				"client": os.Getenv("AZURE_CLIENT_ID"), "tenant": os.Getenv("AZURE_TENANT_ID"),
				proof("api://AzureADTokenExchange"): string(read(t, os.Getenv("AZURE_FEDERATED_TOKEN_FILE"))),
			}
		}, []string{"TUFOPS_AZURE_CLIENT_ID"}, "azblob://account/tuf"},
		{"Vault", "hv:online/1", "", nil, nil, ""},
		{"file", "file2:online.pem", "", nil, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			clean(t)
			h, temp := newHub(t), t.TempDir()
			env := h.env(append(inputs, "RUNNER_TEMP="+temp)...)
			asked := 0
			k := &cloudlogin.Keys{Job: cloudlogin.Job{Getenv: func(name string) string { return env[name] }}, Keys: keysFunc(func(uri string) error {
				asked++
				if test.check != nil {
					for want, got := range test.check(t) {
						if got != want {
							t.Errorf("got %q, want %q", got, want)
						}
					}
				}
				return errFound
			})}
			for range 2 { // one login serves every key
				if _, err := k.Resolve(t.Context(), test.uri, ""); !errors.Is(err, errFound) {
					t.Fatalf("resolve: %v", err)
				}
			}
			want := []string{test.audience}
			if test.audience == "" {
				want = nil
			}
			if fmt.Sprint(h.audiences) != fmt.Sprint(want) || asked != 2 {
				t.Errorf("proofs for %q, want %q; the key was asked for %d times", h.audiences, want, asked)
			}
			err := filepath.WalkDir(temp, func(path string, d os.DirEntry, err error) error {
				if info, _ := d.Info(); path != temp && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s can be read by others: %v", path, info.Mode())
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if left, _ := os.ReadDir(temp); len(left) > 0 {
				t.Errorf("left on disk: %v", left)
			}

			// A destination in the same cloud is logged in for the same way.
			if test.bucket != "" {
				h.audiences = nil
				job := &cloudlogin.Job{Getenv: func(name string) string { return env[name] }}
				for _, uri := range []string{"file:///srv/tuf", "pages:site", test.bucket, test.bucket + "/other"} {
					if err := job.Login(t.Context(), uri); err != nil {
						t.Fatal(err)
					}
				}
				for want, got := range test.check(t) {
					if got != want {
						t.Errorf("for %s: got %q, want %q", test.bucket, got, want)
					}
				}
				if fmt.Sprint(h.audiences) != fmt.Sprint(want) {
					t.Errorf("for %s: proofs for %q, want %q", test.bucket, h.audiences, want)
				}
				if err := job.Close(); err != nil {
					t.Fatal(err)
				}
				if left, _ := os.ReadDir(temp); len(left) > 0 {
					t.Errorf("for %s: left on disk: %v", test.bucket, left)
				}
			}

			for _, name := range test.without {
				delete(env, name)
			}
			h.audiences = nil
			k = &cloudlogin.Keys{Job: cloudlogin.Job{Getenv: func(name string) string { return env[name] }}, Keys: keysFunc(func(string) error { return errFound })}
			if _, err := k.Resolve(t.Context(), test.uri, ""); !errors.Is(err, errFound) || len(h.audiences) > 0 {
				t.Errorf("with no identity named: %v, proofs for %q", err, h.audiences)
			}
		})
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRefused: an error names the key and what helps, holds no secret, and no key
// is asked for.
func TestRefused(t *testing.T) {
	*cloudlogin.Pause = 0
	aws := "TUFOPS_AWS_ROLE_TO_ASSUME=arn:aws:iam::123456789012:role/tuf"
	for _, test := range []struct {
		name, uri string
		env       []string
		failures  []int
		body      string
		want, fix string // "" for a login that succeeds at last
		asked     int
	}{
		{"no permission", awsKey, []string{aws, "ACTIONS_ID_TOKEN_REQUEST_TOKEN="}, nil, "", "gives this job no proof", "id-token: write", 0},
		{"plain text", awsKey, []string{aws, "ACTIONS_ID_TOKEN_REQUEST_URL=http://tokens.example/?a=" + canary}, nil, "", "over TLS", "inputs", 0},
		{"half an identity", azureKey, []string{"TUFOPS_AZURE_CLIENT_ID=client"}, nil, "", "TUFOPS_AZURE_TENANT_ID is not", "inputs", 0},
		{"no provider", gcpKey, []string{"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER=../../x"}, nil, "", `gcp_workload_identity_provider is "../../x"`, "inputs", 0},
		{"no account", gcpKey, []string{"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER=" + poolProvider, "TUFOPS_GCP_SERVICE_ACCOUNT=a@b/c"}, nil, "", `gcp_service_account is "a@b/c"`, "inputs", 0},
		{"refused", awsKey, []string{aws}, []int{403}, "", "it answered 403", "inputs", 1},
		{"led elsewhere", awsKey, []string{aws}, []int{302}, "", "it answered 302", "inputs", 1},
		{"down", awsKey, []string{aws}, []int{500, 502, 503}, "", "it answered 503", "inputs", 3},
		{"down for a while", awsKey, []string{aws}, []int{500, 429}, "", "", "", 3},
		{"no token", awsKey, []string{aws}, nil, `{"message":"` + canary + `"}`, "holds no token", "inputs", 3},
		{"no JSON", awsKey, []string{aws}, nil, canary, "holds no token", "inputs", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			clean(t)
			h := newHub(t)
			h.failures, h.body = test.failures, test.body
			env := h.env(append(test.env, "RUNNER_TEMP="+t.TempDir())...)
			found := false
			k := &cloudlogin.Keys{Job: cloudlogin.Job{Getenv: func(name string) string { return env[name] }}, Keys: keysFunc(func(string) error { found = true; return errFound })}
			defer k.Close()
			_, err := k.Resolve(t.Context(), test.uri, "")
			if len(h.audiences) != test.asked {
				t.Errorf("GitHub was asked %d times, want %d", len(h.audiences), test.asked)
			}
			if test.want == "" {
				if !found {
					t.Errorf("the login failed: %v", err)
				}
				return
			}
			var ke *onlinesign.KeyError
			if !errors.As(err, &ke) || ke.URI != test.uri || !strings.Contains(err.Error(), test.want) || !strings.Contains(ke.Fix, test.fix) {
				t.Fatalf("error %v, fix %+v", err, ke)
			}
			if found || strings.Contains(fmt.Sprintf("%v %+v %s", err, err, ke.Fix), canary) {
				t.Errorf("the key was asked for: %v; error %+v", found, err)
			}
		})
	}
}

// TestAWSItself: the vendor's client presents the proof.
func TestAWSItself(t *testing.T) {
	clean(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	var form []string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form = append(form, r.FormValue("Action")+" "+r.FormValue("RoleArn")+" "+r.FormValue("WebIdentityToken"))
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
	}))
	defer sts.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	h := newHub(t)
	env := h.env("TUFOPS_AWS_ROLE_TO_ASSUME=arn:aws:iam::123456789012:role/tuf", "TUFOPS_AWS_REGION=eu-central-1", "RUNNER_TEMP="+t.TempDir())
	k := &cloudlogin.Keys{Job: cloudlogin.Job{Getenv: func(name string) string { return env[name] }}, Keys: &aws.Keys{Patience: kms.Patience{Tries: 1}}}
	defer k.Close()
	_, err := k.Resolve(t.Context(), awsKey, "")
	want := "AssumeRoleWithWebIdentity arn:aws:iam::123456789012:role/tuf proof-" + canary + " for sts.amazonaws.com"
	if len(form) == 0 || form[0] != want {
		t.Errorf("AWS was told %q (%v), want %q", form, err, want)
	}
	if !errors.Is(err, onlinesign.ErrDenied) {
		t.Errorf("error %v, want a denial", err)
	}
}
