package github

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Where the public GitHub answers. These stand here and nowhere else: an
// instance of GitHub Enterprise is named by the variables that Actions sets.
const (
	publicAPI     = "https://api.github.com"
	publicGraphQL = "https://api.github.com/graphql"
	publicServer  = "https://github.com"
)

// The variables that hold a secret. A message names the variable, never its
// value.
const (
	customTokenVariable  = "TUF_ON_CI_TOKEN"
	appKeyVariable       = "TUFOPS_APP_PRIVATE_KEY"
	workflowVariable     = "GITHUB_TOKEN"
	defaultTokenVariable = "TUFOPS_DEFAULT_TOKEN"
)

// ErrNotConfigured says that nothing names a repository on GitHub: the program
// runs elsewhere, and there is nobody to talk to.
var ErrNotConfigured = errors.New("no repository on GitHub is named")

// ConfigError says that a variable of the environment is missing or wrong. It
// never holds the value of one that is secret.
type ConfigError struct {
	Variable string
	Reason   string // "is not set"
	Advice   string // what to do; may be empty
	Err      error  // may be nil
}

func (e *ConfigError) Error() string {
	s := e.Variable + " " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ConfigError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ConfigError) Hint() string { return e.Advice }

// Options for [FromEnv].
type Options struct {
	Now       func() time.Time  // required: dates the requests of a GitHub App, and tells how long a token lives
	Log       *slog.Logger      // nil: no log
	Transport http.RoundTripper // nil: the network, by way of the proxy that the environment names
	Budget    Budget            // zero: DefaultBudget

	// Sleep waits, or returns the context's error. nil: it waits for as long as
	// it is told to.
	Sleep func(ctx context.Context, d time.Duration) error
}

// FromEnv opens the repository that the environment names, in the variables
// that GitHub Actions sets: GITHUB_REPOSITORY, and for an instance other than the
// public one GITHUB_API_URL, GITHUB_GRAPHQL_URL and GITHUB_SERVER_URL.
//
// It writes with TUF_ON_CI_TOKEN if that is set, else as the GitHub App of
// TUFOPS_APP_ID (or its client id) and TUFOPS_APP_PRIVATE_KEY, else with
// GITHUB_TOKEN. TUFOPS_DEFAULT_TOKEN is not used to write: it is the token that
// the workflow was given, so that it is known when no other is in use.
//
// No request is made. The error wraps [ErrNotConfigured] where GITHUB_REPOSITORY
// is not set, and is a [*ConfigError] in any case.
func FromEnv(getenv func(string) string, o Options) (*Forge, error) {
	full := getenv("GITHUB_REPOSITORY")
	if full == "" {
		return nil, &ConfigError{Variable: "GITHUB_REPOSITORY", Reason: "is not set", Err: ErrNotConfigured,
			Advice: "GitHub Actions sets it; elsewhere: GITHUB_REPOSITORY=owner/name"}
	}
	owner, name, _ := strings.Cut(full, "/")
	if !ownerName().MatchString(owner) || !repositoryName().MatchString(name) || name == "." || name == ".." {
		return nil, &ConfigError{Variable: "GITHUB_REPOSITORY", Reason: fmt.Sprintf("is %q, not owner/name", full)}
	}
	api, err := endpoint(getenv, "GITHUB_API_URL", publicAPI)
	if err != nil {
		return nil, err
	}
	graphql, err := endpoint(getenv, "GITHUB_GRAPHQL_URL", graphQLBeside(api))
	if err != nil {
		return nil, err
	}
	server, err := endpoint(getenv, "GITHUB_SERVER_URL", publicServer)
	if err != nil {
		return nil, err
	}
	f := newForge(owner, name, api, graphql, server, o)
	if f.credentials, err = credentialsFromEnv(getenv, f); err != nil {
		return nil, err
	}
	return f, nil
}

// These are narrower than what goes into a URL unescaped. A repetition that is
// counted is dear to compile, so that waits until a forge is asked for.
var (
	ownerName      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`) })
	repositoryName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`) })
)

// endpoint reads a URL that the token, or a link, goes to. A token is sent over
// TLS only, or stays on this machine.
func endpoint(getenv func(string) string, variable, otherwise string) (*url.URL, error) {
	text := getenv(variable)
	if text == "" {
		text = otherwise
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, &ConfigError{Variable: variable, Reason: "is not a URL"} // url's error would show a password in it
	}
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.Hostname() == "":
		return nil, &ConfigError{Variable: variable, Reason: fmt.Sprintf("is %s, not a URL like %s", u.Redacted(), otherwise)}
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
	default:
		return nil, &ConfigError{Variable: variable, Reason: fmt.Sprintf("is %s: without https a token would be open to everybody on the way", u.Redacted())}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// graphQLBeside guesses the address of GraphQL from that of REST. On GitHub
// Enterprise they are /api/graphql and /api/v3.
func graphQLBeside(api *url.URL) string {
	if api.String() == publicAPI {
		return publicGraphQL
	}
	u := *api
	u.Path = strings.TrimSuffix(u.Path, "/v3") + "/graphql"
	return u.String()
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
