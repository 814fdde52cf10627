// Package cloudlogin logs in, as a job of GitHub Actions, to the cloud that holds an
// online key, or the bucket that is published to: it has GitHub prove which workflow
// asks, and leaves that proof where the cloud's own client looks for it.
//
// It owns the inputs of our actions that name a cloud identity. It trusts the
// address that the runner gives for such proofs if it is one over TLS, and nothing
// that is answered beyond a token. A token goes into a file that only this user can
// read, for as long as the program runs, and never into a log, an error, an
// argument or the environment.
package cloudlogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Job logs in to clouds, for which the environment names an identity. It logs in
// once per cloud, and not before somebody asks for it.
//
// The proof of a job lives for minutes, so a Job is for one command. It is safe
// for concurrent use, but there may be only one in a process: where the vendors'
// clients look is the environment of the process.
type Job struct {
	Getenv func(string) string

	mu    sync.Mutex
	dir   string           // of the files; empty until there is one
	tried map[string]error // by cloud
}

// Keys finds keys in other Keys, after it has logged in to the cloud of their URI.
type Keys struct {
	Keys onlinesign.Keys
	Job
}

// clouds are those that a URI is in, by its scheme: of a key, or of a destination.
var clouds = map[string]string{
	"gcpkms": "google", "gs": "google", "awskms": "aws", "s3": "aws", "azurekms": "azure", "azblob": "azure",
}

// login is what one cloud needs.
type login struct {
	inputs   []string // variables that name the identity; the first tells that there is one
	optional []string
	audience func(get func(string) string) (string, error)
	// leave says which variables the vendor's client reads, given the file that the
	// token is in. file writes another one.
	leave func(get func(string) string, token string, file func(name string, data []byte) (string, error)) (map[string]string, error)
}

var (
	provider = regexp.MustCompile(`^projects/[0-9]+/locations/[a-z0-9-]+/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$`)
	account  = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+$`)
)

var logins = map[string]login{
	// https://google.aip.dev/auth/4117
	"google": {
		inputs:   []string{"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER"},
		optional: []string{"TUFOPS_GCP_SERVICE_ACCOUNT"},
		audience: func(get func(string) string) (string, error) {
			name := get("TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER")
			if !provider.MatchString(name) {
				return "", fmt.Errorf("gcp_workload_identity_provider is %q, not projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER", name)
			}
			if sa := get("TUFOPS_GCP_SERVICE_ACCOUNT"); sa != "" && !account.MatchString(sa) {
				return "", fmt.Errorf("gcp_service_account is %q, not NAME@PROJECT.iam.gserviceaccount.com", sa)
			}
			return "https://iam.googleapis.com/" + name, nil
		},
		leave: func(get func(string) string, token string, file func(string, []byte) (string, error)) (map[string]string, error) {
			config := map[string]any{
				"type":               "external_account",
				"audience":           "//iam.googleapis.com/" + get("TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER"),
				"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
				"token_url":          "https://sts.googleapis.com/v1/token",
				"credential_source":  map[string]any{"file": token, "format": map[string]any{"type": "text"}},
			}
			if sa := get("TUFOPS_GCP_SERVICE_ACCOUNT"); sa != "" {
				config["service_account_impersonation_url"] = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + sa + ":generateAccessToken"
			}
			data, err := json.Marshal(config)
			if err != nil {
				return nil, err
			}
			name, err := file("google.json", data)
			return map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": name}, err
		},
	},
	// https://docs.aws.amazon.com/sdkref/latest/guide/access-assume-role-web.html
	"aws": {
		inputs:   []string{"TUFOPS_AWS_ROLE_TO_ASSUME"},
		optional: []string{"TUFOPS_AWS_REGION"},
		audience: func(func(string) string) (string, error) { return "sts.amazonaws.com", nil },
		leave: func(get func(string) string, token string, _ func(string, []byte) (string, error)) (map[string]string, error) {
			set := map[string]string{
				"AWS_ROLE_ARN": get("TUFOPS_AWS_ROLE_TO_ASSUME"), "AWS_ROLE_SESSION_NAME": "tufops", "AWS_WEB_IDENTITY_TOKEN_FILE": token,
			}
			if region := get("TUFOPS_AWS_REGION"); region != "" {
				set["AWS_REGION"] = region
			}
			return set, nil
		},
	},
	// https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains
	"azure": {
		inputs: []string{"TUFOPS_AZURE_CLIENT_ID", "TUFOPS_AZURE_TENANT_ID"},
		audience: func(func(string) string) (string, error) {
			return "api://AzureADTokenExchange", nil
		},
		leave: func(get func(string) string, token string, _ func(string, []byte) (string, error)) (map[string]string, error) {
			return map[string]string{
				"AZURE_CLIENT_ID": get("TUFOPS_AZURE_CLIENT_ID"), "AZURE_TENANT_ID": get("TUFOPS_AZURE_TENANT_ID"), "AZURE_FEDERATED_TOKEN_FILE": token,
			}, nil
		},
	},
}

// Resolve logs in, and finds the key.
func (k *Keys) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	err := k.Login(ctx, uri)
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return nil, &onlinesign.KeyError{URI: uri, Operation: "log in for", Err: refused.Err, Fix: refused.Fix}
	}
	if err != nil {
		return nil, err
	}
	return k.Keys.Resolve(ctx, uri, scheme)
}

// Error says that a job could not log in to the cloud of a URI.
type Error struct {
	URI string
	Err error
	Fix string
}

func (e *Error) Error() string { return fmt.Sprintf("log in for %s: %v", e.URI, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Fix }

// Login logs in to the cloud that a URI is in, and leaves what its client looks
// for. Where the URI is in none, or the environment names no identity, it does
// nothing. Its error is a *[Error], for the same cloud always the same.
func (j *Job) Login(ctx context.Context, uri string) error {
	scheme, _, _ := strings.Cut(uri, ":")
	cloud := clouds[scheme]
	l, ok := logins[cloud]
	if !ok || j.Getenv(l.inputs[0]) == "" {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	err, done := j.tried[cloud]
	if !done {
		err = j.login(ctx, cloud, l)
		if ctx.Err() == nil {
			if j.tried == nil {
				j.tried = map[string]error{}
			}
			j.tried[cloud] = err
		}
	}
	if err == nil {
		return nil
	}
	e := &Error{URI: uri, Err: err, Fix: "see that the inputs of the action name the identity as its cloud does"}
	if fix := (*fixable)(nil); errors.As(err, &fix) {
		e.Fix = fix.fix
	}
	return e
}

// Close removes what was written. Calling it again is allowed.
func (j *Job) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dir == "" {
		return nil
	}
	dir := j.dir
	j.dir, j.tried = "", nil
	return os.RemoveAll(dir)
}

// fixable is an error that says what helps.
type fixable struct {
	err error
	fix string
}

func (e *fixable) Error() string { return e.err.Error() }

func (e *fixable) Unwrap() error { return e.err }

func (j *Job) login(ctx context.Context, cloud string, l login) error {
	for _, name := range l.inputs {
		if j.Getenv(name) == "" {
			return fmt.Errorf("%s is set and %s is not", l.inputs[0], name)
		}
	}
	audience, err := l.audience(j.Getenv)
	if err != nil {
		return err
	}
	token, err := j.prove(ctx, audience)
	if err != nil {
		return err
	}
	if j.dir == "" {
		if j.dir, err = os.MkdirTemp(j.Getenv("RUNNER_TEMP"), "tufops-login-"); err != nil { // 0700
			return err
		}
	}
	file := func(name string, data []byte) (string, error) {
		name = filepath.Join(j.dir, name)
		return name, os.WriteFile(name, data, 0o600)
	}
	name, err := file(cloud+".token", []byte(token))
	if err != nil {
		return err
	}
	set, err := l.leave(j.Getenv, name, file)
	if err != nil {
		return err
	}
	for name, value := range set {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// tries and pause bound how often GitHub is asked; timeout bounds one request.
const (
	tries   = 3
	timeout = 20 * time.Second
)

var pause = 2 * time.Second

// maxToken is far more than a proof has, in bytes.
const maxToken = 64 << 10

// prove has GitHub say which workflow this is.
//
// https://docs.github.com/actions/reference/security/oidc
func (j *Job) prove(ctx context.Context, audience string) (string, error) {
	address, secret := j.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), j.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address == "" || secret == "" {
		return "", &fixable{errors.New("GitHub gives this job no proof of what it is"), "give the job permissions: id-token: write"}
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return "", errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is not an address over TLS")
	}
	query := u.Query()
	query.Set("audience", audience)
	u.RawQuery = query.Encode()
	for try := 1; ; try++ {
		token, again, err := ask(ctx, u, secret)
		if err == nil || !again || try == tries {
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("ask GitHub for a proof of what this job is: %w", err)
			}
			return token, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(pause):
		}
	}
}

func ask(ctx context.Context, u *url.URL, secret string) (token string, again bool, err error) {
	asking, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(asking, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", false, errors.New("ACTIONS_ID_TOKEN_REQUEST_URL cannot be asked")
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	// A redirect could take the secret elsewhere.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return "", false, ctx.Err()
		}
		return "", true, errors.New("no answer") // the error holds the address, which is a secret's neighbour
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("it answered %d", resp.StatusCode)
	}
	var answer struct{ Value string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxToken)).Decode(&answer); err != nil || answer.Value == "" {
		return "", true, errors.New("its answer holds no token")
	}
	return answer.Value, false, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
