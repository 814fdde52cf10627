package github

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// ActionsBot is the login of the token that every workflow is given.
const ActionsBot = "github-actions[bot]"

// A secret is a function, since whatever prints a value, at any depth, prints
// of a function only where it lies.
type secret func() string

func keep(value string) secret { return func() string { return value } }

// credentials are what a [Forge] writes with.
type credentials struct {
	source    string // the variable that they came from, for messages
	token     func(context.Context) (secret, error)
	renew     func(refused secret) bool // forgets a token that was refused; false: there is no other
	isDefault *bool                     // nil: not known without a request
}

func credentialsFromEnv(getenv func(string) string, f *Forge) (credentials, error) {
	given := func(variable string) string { return strings.TrimSpace(getenv(variable)) }
	app, appKey := given("TUFOPS_APP_ID"), given(appKeyVariable)
	for _, variable := range []string{customTokenVariable, workflowVariable} {
		token := given(variable)
		if variable == workflowVariable && (app != "" || appKey != "") {
			return appCredentials(app, appKey, given("TUFOPS_APP_INSTALLATION_ID"), f)
		}
		if token == "" {
			continue
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return credentials{}, &ConfigError{Variable: variable, Reason: "holds something else than a token",
				Advice: "it has a space, a line break or a character that tokens do not have"}
		}
		c := credentials{
			source: variable,
			token:  func(context.Context) (secret, error) { return keep(token), nil },
			renew:  func(secret) bool { return false },
		}
		if known := given(defaultTokenVariable); known != "" {
			same := known == token
			c.isDefault = &same
		}
		return c, nil
	}
	return credentials{}, &ConfigError{Variable: workflowVariable, Reason: "is not set, nor is " + customTokenVariable + ": there is no token to talk to GitHub with",
		Advice: "in a workflow step: env: GITHUB_TOKEN: ${{ github.token }}"}
}

// app is a GitHub App installed in the repository. Its private key signs
// requests for tokens that live for an hour and reach this repository only.
type app struct {
	id           string // the app's, or its client id
	installation int64  // 0: looked up
	sign         func(message []byte) ([]byte, error)
	forge        *Forge

	mu      sync.Mutex // held while a token is fetched, so that only one is
	current secret
	expires time.Time
}

// A token is renewed when it has less than this to live: clocks differ.
const tokenMargin = 5 * time.Minute

func appCredentials(id, key, installation string, f *Forge) (credentials, error) {
	if id == "" {
		return credentials{}, &ConfigError{Variable: "TUFOPS_APP_ID", Reason: "is not set, but " + appKeyVariable + " is",
			Advice: "set it to the app's id, or to its client id; both stand on the app's settings page"}
	}
	if key == "" {
		return credentials{}, &ConfigError{Variable: appKeyVariable, Reason: "is not set, but TUFOPS_APP_ID is",
			Advice: "set it to the private key of the app, in PEM, from a secret"}
	}
	private, err := parseKey(key)
	if err != nil {
		return credentials{}, &ConfigError{Variable: appKeyVariable, Reason: "is not a private key: " + err.Error(),
			Advice: "it is the whole .pem file that GitHub gives out, with its line breaks"}
	}
	a := &app{id: id, forge: f, sign: func(message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	}}
	if installation != "" {
		if a.installation, err = strconv.ParseInt(installation, 10, 64); err != nil || a.installation <= 0 {
			return credentials{}, &ConfigError{Variable: "TUFOPS_APP_INSTALLATION_ID", Reason: fmt.Sprintf("is %q, not a number", installation)}
		}
	}
	no := false
	return credentials{source: appKeyVariable, token: a.token, renew: a.renew, isDefault: &no}, nil
}

// parseKey reads the PEM of an RSA key, as PKCS #1 or PKCS #8. Its errors say
// nothing of what was in there.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("there is no PEM in it")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the PEM is neither PKCS #1 nor PKCS #8")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is for %T, and GitHub Apps sign with RSA", parsed)
	}
	return key, nil
}

// token returns one that lives long enough for the next request.
func (a *app) token(ctx context.Context) (secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.forge.now().Add(tokenMargin).Before(a.expires) {
		return a.current, nil
	}
	if err := a.fetch(ctx); err != nil {
		return nil, fmt.Errorf("get a token for the GitHub App %s: %w", a.id, err)
	}
	return a.current, nil
}

func (a *app) renew(refused secret) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current() == refused() {
		a.current = nil
	}
	return true
}

func (a *app) fetch(ctx context.Context) error {
	ctx = context.WithValue(ctx, signedBy{}, a)
	client := a.forge.client
	if a.installation == 0 {
		found, _, err := client.Apps.FindRepositoryInstallation(ctx, a.forge.owner, a.forge.name)
		if err != nil {
			return a.forge.failed("find where the app is installed", "", err)
		}
		if a.installation = found.GetID(); a.installation == 0 {
			return errors.New("find where the app is installed: GitHub's answer names no installation")
		}
	}
	// Asked for twice it makes two tokens, and one is never used.
	got, _, err := client.Apps.CreateInstallationToken(repeatable(ctx), a.installation, &gh.InstallationTokenOptions{Repositories: []string{a.forge.name}})
	if err != nil {
		return a.forge.failed(fmt.Sprintf("get a token of installation %d", a.installation), "", err)
	}
	token, expires := got.GetToken(), got.GetExpiresAt().Time
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("GitHub's answer holds no token")
	}
	if expires.IsZero() {
		expires = a.forge.now() // good for this request, and for no other
	}
	a.current, a.expires = keep(token), expires
	return nil
}

// signedBy is the key of a context in which requests carry the app's own
// signature instead of a token.
type signedBy struct{}

// jwt is what an app shows to get a token: who it is, signed with RS256, for
// the next minutes. https://datatracker.ietf.org/doc/html/rfc7519
func (a *app) jwt() (secret, error) {
	now := a.forge.now()
	claims, err := json.Marshal(map[string]any{
		"iss": a.id,
		"iat": now.Add(-time.Minute).Unix(), // GitHub's clock may be behind ours
		"exp": now.Add(8 * time.Minute).Unix(),
	})
	if err != nil {
		return nil, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	message := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	signature, err := a.sign([]byte(message))
	if err != nil {
		return nil, fmt.Errorf("sign as the GitHub App %s: %w", a.id, err)
	}
	return keep(message + "." + encode(signature)), nil
}

// authorization returns what a request is to carry. Nothing goes to anybody
// but the API, whoever has led there.
func (f *Forge) authorization(req *http.Request) (secret, error) {
	if !sameOrigin(req.URL, f.api) && !sameOrigin(req.URL, f.graphql) {
		return nil, &redirectError{from: f.api.Host, to: req.URL.Scheme + "://" + req.URL.Host}
	}
	if a, ok := req.Context().Value(signedBy{}).(*app); ok {
		return a.jwt()
	}
	return f.credentials.token(req.Context())
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

// censor takes a secret out of what a server has said.
func censor(data []byte, s secret) []byte {
	return bytes.ReplaceAll(data, []byte(s()), []byte("REDACTED"))
}
