package github

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/signingevent"
)

// TestWhoseToken: which token is used, whose it is, and whether its pushes start
// workflows; and how often that has to be asked.
func TestWhoseToken(t *testing.T) {
	const (
		custom   = "TUF_ON_CI_TOKEN=custom"
		workflow = "GITHUB_TOKEN=workflow"
		actions  = "GITHUB_ACTIONS=true"
	)
	for _, test := range []struct {
		name   string
		env    []string
		viewer string // whose token GraphQL says it is
		used   string
		self   string
		starts bool
		asked  int // for Self and PushStartsWorkflows, each twice
	}{
		{"the default token, known", []string{workflow, actions, "TUFOPS_DEFAULT_TOKEN=workflow"}, "never asked", "workflow", "github-actions[bot]", false, 0},
		{"the default token, as the custom one", []string{"TUF_ON_CI_TOKEN=workflow", workflow, "TUFOPS_DEFAULT_TOKEN=workflow"}, "never asked", "workflow", "github-actions[bot]", false, 0},
		{"a custom token beside the default one", []string{custom, workflow, actions, "TUFOPS_DEFAULT_TOKEN=workflow"}, "someone", "custom", "someone", true, 1},
		{"a personal token passed as GITHUB_TOKEN", []string{"GITHUB_TOKEN=personal", actions, "TUFOPS_DEFAULT_TOKEN=workflow"}, "someone", "personal", "someone", true, 1},
		{"the default token, not known", []string{workflow, actions}, "github-actions[bot]", "workflow", "github-actions[bot]", false, 1},
		{"a personal token, not known", []string{workflow, actions}, "someone", "workflow", "someone", true, 1},
		{"a custom token, not known", []string{custom, workflow, actions}, "some-app[bot]", "custom", "some-app[bot]", true, 1},
		{"a line break at the end of a secret", []string{"GITHUB_TOKEN=workflow\n", "TUFOPS_DEFAULT_TOKEN=workflow"}, "never asked", "workflow", "github-actions[bot]", false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &hub{now: start, answer: func(_ int, r *http.Request, _ string) (*http.Response, error) {
				if r.Method == http.MethodGet {
					return reply(200, `[]`)
				}
				return reply(200, toJSON(t, map[string]any{"data": map[string]any{"viewer": map[string]any{"login": test.viewer}}}))
			}}
			f, err := FromEnv(env(append(test.env, "GITHUB_REPOSITORY=octo/tuf")...), h.options())
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if self, err := f.Self(t.Context()); err != nil || self != test.self {
					t.Errorf("self is %q, %v; want %q", self, err, test.self)
				}
				if starts, err := f.PushStartsWorkflows(t.Context()); err != nil || starts != test.starts {
					t.Errorf("a push starts workflows: %v, %v", starts, err)
				}
			}
			if len(h.asked) != test.asked {
				t.Errorf("asked %+v, want %d requests", h.asked, test.asked)
			}
			if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
				t.Error(err)
			}
			for _, a := range h.asked {
				if a.authorization != "Bearer "+test.used {
					t.Errorf("%s %s was asked with %q, want %q", a.method, a.url, a.authorization, test.used)
				}
			}
		})
	}
}

// TestSelfIsAskedAgain: what could not be found out is not remembered.
func TestSelfIsAskedAgain(t *testing.T) {
	f, _ := open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) {
		if n == 1 {
			return reply(200, `{"data":{"viewer":null}}`)
		}
		return reply(200, `{"data":{"viewer":{"login":"someone"}}}`)
	})
	if self, err := f.Self(t.Context()); err == nil {
		t.Errorf("self is %q", self)
	}
	if self, err := f.Self(t.Context()); err != nil || self != "someone" {
		t.Errorf("self is %q, %v", self, err)
	}
}

var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pkcs1() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(appKey())}))
}

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// appHub is a GitHub that knows one app, installed in octo/tuf as 99. It checks
// what an app shows as GitHub does.
type appHub struct {
	*hub
	t      *testing.T
	mu     sync.Mutex
	tokens map[string]time.Time // and when they end
	made   int
	life   time.Duration
}

func newAppHub(t *testing.T) *appHub {
	a := &appHub{t: t, tokens: map[string]time.Time{}, life: time.Hour}
	a.hub = &hub{now: start, answer: a.serve}
	return a
}

func (a *appHub) serve(_ int, r *http.Request, body string) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hub.mu.Lock()
	now := a.hub.now
	a.hub.mu.Unlock()
	shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch r.Method + " " + r.URL.Path {
	case "GET /repos/octo/tuf/installation":
		if err := checkJWT(shown, now); err != nil {
			a.t.Error(err)
			return reply(401, message("A JSON web token could not be decoded"))
		}
		return reply(200, `{"id":99}`)
	case "POST /app/installations/99/access_tokens":
		if err := checkJWT(shown, now); err != nil {
			a.t.Error(err)
			return reply(401, message("A JSON web token could not be decoded"))
		}
		if body != `{"repositories":["tuf"]}`+"\n" {
			a.t.Errorf("a token was asked for with %s", body)
		}
		a.made++
		made := fmt.Sprintf("ghs_%dSECRET", a.made)
		a.tokens[made] = now.Add(a.life)
		return reply(201, fmt.Sprintf(`{"token":%q,"expires_at":%q}`, made, now.Add(a.life).Format(time.RFC3339)))
	}
	if end, ok := a.tokens[shown]; !ok || !now.Before(end) {
		return reply(401, message("Bad credentials"))
	}
	if r.URL.Path == "/graphql" {
		return reply(200, `{"data":{"viewer":{"login":"tuf-bot[bot]"}}}`)
	}
	return reply(200, `[]`)
}

func checkJWT(text string, now time.Time) error {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return fmt.Errorf("%q is no JWT", text)
	}
	decode := func(part string, v any) error {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, v)
	}
	var header struct{ Alg, Typ string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	if err := errors.Join(decode(parts[0], &header), decode(parts[1], &claims)); err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&appKey().PublicKey, crypto.SHA256, digest[:], signature); err != nil {
		return err
	}
	if header.Alg != "RS256" || claims.Iss != "Iv1.app" || claims.Iat >= now.Unix() || claims.Exp <= now.Unix() || claims.Exp-claims.Iat > 600 {
		return fmt.Errorf("JWT says %+v %+v at %d", header, claims, now.Unix())
	}
	return nil
}

func (a *appHub) open(t *testing.T, vars ...string) *Forge {
	t.Helper()
	f, err := FromEnv(env(append(vars, "GITHUB_REPOSITORY=octo/tuf", "TUFOPS_APP_ID=Iv1.app", "TUFOPS_APP_PRIVATE_KEY="+pkcs1())...), a.options())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (a *appHub) to(path string) int {
	n := 0
	for _, asked := range a.asked {
		if strings.Contains(asked.url, path) {
			n++
		}
	}
	return n
}

// TestApp: an app shows who it is, gets a token for this repository alone, uses
// it while it lives, and gets another before it ends.
func TestApp(t *testing.T) {
	a := newAppHub(t)
	f := a.open(t, "GITHUB_TOKEN=workflow", "TUFOPS_DEFAULT_TOKEN=workflow")
	if starts, err := f.PushStartsWorkflows(t.Context()); err != nil || !starts || len(a.asked) != 0 {
		t.Errorf("a push starts workflows: %v, %v, after %d requests", starts, err, len(a.asked))
	}
	if self, err := f.Self(t.Context()); err != nil || self != "tuf-bot[bot]" {
		t.Fatalf("self is %q, %v", self, err)
	}
	for range 3 {
		if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
			t.Fatal(err)
		}
	}
	if a.made != 1 || a.to("/installation") != 2 {
		t.Errorf("%d tokens were made, by %+v", a.made, a.asked)
	}
	a.now = a.now.Add(56 * time.Minute) // the token still lives
	if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
		t.Fatal(err)
	}
	if a.made != 2 || a.to("octo/tuf/installation") != 1 {
		t.Errorf("%d tokens were made, the installation looked up %d times", a.made, a.to("octo/tuf/installation"))
	}
	if last := a.asked[len(a.asked)-1]; last.authorization != "Bearer ghs_2SECRET" {
		t.Errorf("used %q", last.authorization)
	}
}

// TestAppTokenRevoked: a token that ends before its time is replaced once, and
// what was asked is asked again.
func TestAppTokenRevoked(t *testing.T) {
	a := newAppHub(t)
	f := a.open(t, "TUFOPS_APP_INSTALLATION_ID=99")
	if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
		t.Fatal(err)
	}
	clear(a.tokens)
	if _, err := f.CreateComment(t.Context(), 1, "x"); err == nil || a.made != 2 || a.to("octo/tuf/installation") != 0 {
		t.Errorf("%d tokens, %v", a.made, err) // the hub's list is no comment, but it was let in
	} else if errors.As(err, new(*AnswerError)) {
		t.Error(err)
	}
	// One that is refused whatever is shown is refused.
	a.life = -time.Hour
	clear(a.tokens)
	_, err := f.comments(t.Context(), 1, readPulls)
	var answer *AnswerError
	if !errors.As(err, &answer) || answer.Status != 401 || !strings.Contains(hintOf(err), "TUFOPS_APP_PRIVATE_KEY") {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
}

// TestAppAtOnce: many requests at once get one token.
func TestAppAtOnce(t *testing.T) {
	a := newAppHub(t)
	f := a.open(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
				t.Error(err)
			}
			if _, err := f.Self(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a.made != 1 || a.to("/graphql") != 1 {
		t.Errorf("%d tokens were made, and GraphQL asked %d times", a.made, a.to("/graphql"))
	}
}

// TestAppRefused: each way in which an app gets no token says which.
func TestAppRefused(t *testing.T) {
	for _, test := range []struct {
		name, path  string
		status      int
		answer      string
		want, tries string
	}{
		{"not installed", "/repos/octo/tuf/installation", 404, message("Not Found"), "get a token for the GitHub App Iv1.app: find where the app is installed: GitHub answered 404", ""},
		{"key of another app", "/repos/octo/tuf/installation", 401, message("A JSON web token could not be decoded"), "GitHub answered 401 Unauthorized: A JSON web token could not be decoded", ""},
		{"suspended", "/app/installations/99/access_tokens", 403, message("This installation has been suspended"), "the token may not get a token of installation 99: GitHub answered 403 Forbidden: This installation has been suspended", ""},
		{"no id", "/repos/octo/tuf/installation", 200, `{}`, "GitHub's answer names no installation", ""},
		{"no token", "/app/installations/99/access_tokens", 201, `{"expires_at":"2026-11-22T13:00:00Z"}`, "GitHub's answer holds no token", ""},
		{"a token that breaks a header", "/app/installations/99/access_tokens", 201, `{"token":"a\nX-Evil: b","expires_at":"2026-11-22T13:00:00Z"}`, "GitHub's answer holds no token", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAppHub(t)
			f := a.open(t)
			a.answer = func(n int, r *http.Request, body string) (*http.Response, error) {
				if r.URL.Path == test.path {
					return reply(test.status, test.answer)
				}
				return a.serve(n, r, body)
			}
			_, err := f.comments(t.Context(), 1, readPulls)
			if err == nil || !strings.Contains(err.Error(), test.want) || a.to("/comments") != 0 {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		a := newAppHub(t)
		f := a.open(t)
		a.answer = always(502, "")
		if _, err := f.comments(t.Context(), 1, readPulls); !errors.As(err, new(*UnavailableError)) || len(a.asked) != DefaultBudget.Tries {
			t.Errorf("asked %d times: %v", len(a.asked), err)
		}
	})
}

func TestAppKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{pkcs1(), pkcs8(t, appKey()), "\n\n" + pkcs1() + "\n"} {
		if key, err := parseKey(text); err != nil || !key.Equal(appKey()) {
			t.Errorf("%v", err)
		}
	}
	for name, text := range map[string]string{
		"it is for *ecdsa.PrivateKey, and GitHub Apps sign with RSA": pkcs8(t, ec),
		"the PEM is neither PKCS #1 nor PKCS #8":                     "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"there is no PEM in it":                                      strings.ReplaceAll(pkcs1(), "\n", " "),
	} {
		if _, err := parseKey(text); err == nil || err.Error() != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
	if _, err := FromEnv(env("GITHUB_REPOSITORY=octo/tuf", "TUFOPS_APP_ID=1", "TUFOPS_APP_PRIVATE_KEY="+pkcs1(), "TUFOPS_APP_INSTALLATION_ID=x"), Options{}); err == nil || err.Error() != `TUFOPS_APP_INSTALLATION_ID is "x", not a number` {
		t.Errorf("%v", err)
	}
}

// TestNoSecretIsTold goes through everything that can go wrong, with a server
// that repeats whatever it was shown, and looks for tokens and keys in every
// error, however it is printed, in the log, and in what goes into an address.
func TestNoSecretIsTold(t *testing.T) {
	secrets := []string{token, "SECRET", "0123456789abcdef"}
	for line := range strings.Lines(pkcs1()) {
		if !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, strings.TrimSpace(line))
		}
	}
	secrets = append(secrets, appKey().D.String(), appKey().Primes[0].String())
	look := func(t *testing.T, where, text string) {
		t.Helper()
		for _, s := range append(secrets, "eyJ") { // how a JWT begins
			if strings.Contains(text, s) {
				t.Fatalf("%s holds a secret: %.300s", where, text)
			}
		}
	}
	print := func(v any) string {
		s := fmt.Sprintf("%v %+v %#v %s %q %d %x", v, v, v, v, v, v, v)
		data, _ := json.Marshal(v)
		return s + string(data)
	}
	shown := func(r *http.Request) string { return r.Header.Get("Authorization") }
	servers := map[string]func(int, *http.Request, string) (*http.Response, error){
		"dropped": func(int, *http.Request, string) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"redirect": func(_ int, r *http.Request, _ string) (*http.Response, error) {
			return reply(307, "", "Location: https://evil.example/"+strings.TrimPrefix(shown(r), "Bearer "))
		},
		"no JSON": func(_ int, r *http.Request, _ string) (*http.Response, error) { return reply(200, "<"+shown(r)) },
		"graphql": func(_ int, r *http.Request, _ string) (*http.Response, error) {
			return reply(200, `{"errors":[{"type":"FORBIDDEN","message":"no"}]}`)
		},
	}
	for _, status := range []int{301, 400, 401, 403, 404, 409, 410, 422, 429, 451, 500, 502, 503} {
		servers[fmt.Sprint(status)] = func(_ int, r *http.Request, body string) (*http.Response, error) {
			return reply(status, message("Resource not accessible: you sent "+shown(r)), "X-Sent: "+shown(r), "X-Accepted-GitHub-Permissions: "+shown(r)+"=write")
		}
	}
	for name, server := range servers {
		for kind, forge := range map[string]func(*testing.T) (*Forge, *hub){
			"token": func(t *testing.T) (*Forge, *hub) { return open(t, server) },
			"app": func(t *testing.T) (*Forge, *hub) {
				a := newAppHub(t)
				a.answer = func(n int, r *http.Request, body string) (*http.Response, error) {
					if strings.Contains(r.URL.Path, "/installation") {
						return a.serve(n, r, body)
					}
					return server(n, r, body)
				}
				return a.open(t), a.hub
			},
			"app without a token": func(t *testing.T) (*Forge, *hub) {
				a := newAppHub(t)
				a.answer = server
				return a.open(t), a.hub
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				f, h := forge(t)
				failed := 0
				for _, call := range calls {
					err := call.call(t.Context(), f)
					if err != nil {
						failed++
					}
					for e := err; e != nil; e = errors.Unwrap(e) {
						look(t, call.name+": "+fmt.Sprintf("%T", e), print(e))
					}
					look(t, call.name+": hint", hintOf(err))
				}
				look(t, "the log", h.log.String())
				for _, v := range []any{f, f.credentials, f.client, f.client.Client(), f.client.Client().Transport, *f.client.Client().Transport.(*transport), []any{f}, map[string]any{"f": f}} {
					look(t, fmt.Sprintf("%T", v), fmt.Sprintf("%v %+v %#v", v, v, v))
				}
				for _, a := range h.asked {
					look(t, "an address", a.url)
					if !strings.Contains(a.url, "/access_tokens") {
						look(t, "a body", a.body)
					}
				}
				if h.log.Len() == 0 || failed < 3 {
					t.Errorf("%d errors and %d bytes of log were looked at", failed, h.log.Len())
				}
			})
		}
	}
}

var _ signingevent.Forge = (*Forge)(nil)
