package githubtest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
)

// appKey is made once; nothing depends on which it is.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func (w *world) installApp() {
	w.InstallApp(githubtest.App{ID: 7, ClientID: "Iv1.7", Slug: "tufops", Key: &appKey().PublicKey, InstallationID: 42, Permissions: githubtest.All()})
}

// jwt makes an app's token, good for five minutes but for what claims say.
func (w *world) jwt(claims map[string]any) string {
	w.t.Helper()
	now := gittest.Epoch
	all := map[string]any{"iss": "7", "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	return signJWT(w.t, appKey(), "RS256", all)
}

func signJWT(t *testing.T, key *rsa.PrivateKey, alg string, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		check(t, err)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(map[string]string{"alg": alg, "typ": "JWT"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	check(t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestJWT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.installApp()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	at := func(d time.Duration) int64 { return gittest.Epoch.Add(d).Unix() }
	fine := map[string]any{"iss": "7", "iat": at(-time.Minute), "exp": at(5 * time.Minute)}
	for _, test := range []struct {
		name, token string
		status      int
		says        string
	}{
		{"good", w.jwt(nil), 200, `"slug":"tufops"`},
		{"number as iss", w.jwt(map[string]any{"iss": 7}), 200, `"slug":"tufops"`},
		{"client ID as iss", w.jwt(map[string]any{"iss": "Iv1.7"}), 200, `"slug":"tufops"`},
		{"another app", w.jwt(map[string]any{"iss": "8"}), 404, "Integration not found"},
		{"no app", w.jwt(map[string]any{"iss": ""}), 404, "Integration not found"},
		{"another key", signJWT(t, other, "RS256", fine), 401, "could not be decoded"},
		{"another algorithm", signJWT(t, appKey(), "RS384", fine), 401, "could not be decoded"},
		{"no signature", strings.Join(strings.Split(w.jwt(nil), ".")[:2], ".") + ".", 401, "could not be decoded"},
		{"no JSON", "a.b.c", 401, "could not be decoded"},
		{"expired", w.jwt(map[string]any{"exp": at(-time.Second)}), 401, "must be a numeric value representing the future time"},
		{"never expires", w.jwt(map[string]any{"exp": nil}), 401, "must be a numeric value representing the future time"},
		{"lives long", w.jwt(map[string]any{"exp": at(20 * time.Minute)}), 401, "too far in the future"},
		{"issued tomorrow", w.jwt(map[string]any{"iat": at(24 * time.Hour)}), 401, "'Issued at' claim"},
		{"no token", "", 401, "could not be decoded"},
		{"a workflow's token", w.token, 401, "could not be decoded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if status, body := w.ask(test.token, "GET", "/app", ""); status != test.status || !strings.Contains(body, test.says) {
				t.Errorf("it answers %d %s, want %d %s", status, body, test.status, test.says)
			}
		})
	}
	if status, _ := w.ask(w.jwt(nil), "GET", repo+"/pulls", ""); status != 401 {
		t.Errorf("with an app's own token pull requests are %d, want 401", status)
	}
}

func TestInstallationToken(t *testing.T) {
	t.Parallel()
	now := gittest.Epoch
	w := newWorld(t, githubtest.Options{Now: func() time.Time { return now }})
	w.installApp()
	ctx, app := t.Context(), w.client(w.jwt(nil))
	i, _, err := app.Apps.FindRepositoryInstallation(ctx, "octo", "tuf")
	check(t, err)
	got, _, err := app.Apps.CreateInstallationToken(ctx, i.GetID(), &github.InstallationTokenOptions{
		Repositories: []string{"tuf"}, Permissions: &github.InstallationPermissions{PullRequests: github.String("write"), Contents: github.String("read")}})
	check(t, err)
	if !got.GetExpiresAt().Time.Equal(now.Add(time.Hour)) {
		t.Errorf("it expires at %v", got.GetExpiresAt())
	}
	create := `{"title": "t", "head": "sign/x", "base": "main"}`
	if status, body := w.ask(got.GetToken(), "POST", repo+"/pulls", create); status != 201 || !strings.Contains(body, `"login":"tufops[bot]"`) {
		t.Errorf("opening a pull request says %d %s", status, body)
	}
	if status, _ := w.ask(got.GetToken(), "POST", repo+"/issues", `{"title": "t"}`); status != 403 {
		t.Errorf("opening an issue says %d, want 403", status)
	}
	now = now.Add(time.Hour)
	if status, body := w.ask(got.GetToken(), "GET", repo+"/pulls", ""); status != 401 || !strings.Contains(body, "Bad credentials") {
		t.Errorf("after an hour it says %d %s", status, body)
	}
	now = gittest.Epoch
	for _, test := range []struct {
		path, body string
		status     int
	}{
		{"/app/installations/43/access_tokens", "", 404},
		{"/app/installations/42/access_tokens", `{"repositories": ["other"]}`, 422},
		{"/app/installations/42/access_tokens", `{"permissions": {"checks": "write"}}`, 422},
	} {
		if status, body := w.ask(w.jwt(nil), "POST", test.path, test.body); status != test.status {
			t.Errorf("%s %s answers %d %s, want %d", test.path, test.body, status, body, test.status)
		}
	}
}

// Every write is tried with all permissions but those that would do, and with
// each of those alone.
func TestPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	c := w.Comment(1, "bob", "hello")
	issue := itoa(w.issue("an issue"))
	for _, test := range []struct {
		name, method, path, body string
		need                     []string
	}{
		{"open a pull request", "POST", "/pulls", `{"title": "t", "head": "sign/x", "base": "main"}`, []string{"pull_requests"}},
		{"edit it", "PATCH", "/pulls/1", `{"title": "t"}`, []string{"pull_requests"}},
		{"edit it as an issue", "PATCH", "/issues/1", `{"title": "t"}`, []string{"pull_requests", "issues"}},
		{"comment on it", "POST", "/issues/1/comments", `{"body": "b"}`, []string{"pull_requests", "issues"}},
		{"edit a comment", "PATCH", "/issues/comments/" + itoa(int(c.ID)), `{"body": "b"}`, []string{"pull_requests", "issues"}},
		{"delete a comment", "DELETE", "/issues/comments/1", "", []string{"pull_requests", "issues"}},
		{"label it", "POST", "/issues/1/labels", `{"labels": ["x"]}`, []string{"pull_requests", "issues"}},
		{"take a label away", "DELETE", "/issues/1/labels/none", "", []string{"pull_requests", "issues"}},
		{"open an issue", "POST", "/issues", `{"title": "t"}`, []string{"issues"}},
		{"comment on an issue", "POST", "/issues/" + issue + "/comments", `{"body": "b"}`, []string{"issues"}},
		{"close an issue", "PATCH", "/issues/" + issue, `{"state": "closed"}`, []string{"issues"}},
		{"make a label", "POST", "/labels", `{"name": "y"}`, []string{"pull_requests", "issues"}},
		{"set a status", "POST", "/statuses/" + w.Upstream.Head("main"), `{"state": "success"}`, []string{"statuses"}},
		{"start a workflow", "POST", "/actions/workflows/publish.yml/dispatches", `{"ref": "main", "inputs": {"what": "x"}}`, []string{"actions"}},
	} {
		for _, private := range []bool{false, true} {
			w.Configure(func(s *githubtest.Settings) { s.Private = private })
			for kind, says := range map[githubtest.Kind]string{
				githubtest.Workflow: "by integration", githubtest.Installation: "by integration", githubtest.Personal: "by personal access token",
			} {
				lacks := w.AddToken(githubtest.Token{Login: "x", Kind: kind, Permissions: githubtest.All().Without(test.need...)})
				if status, body := w.ask(lacks, test.method, repo+test.path, test.body); status != 403 || !strings.Contains(body, "Resource not accessible "+says) {
					t.Errorf("private %v: without %v to %s says %d %s", private, test.need, test.name, status, body)
				}
			}
			for _, p := range test.need {
				reads := w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{p: "read"}})
				if status, _ := w.ask(reads, test.method, repo+test.path, test.body); status != 403 {
					t.Errorf("private %v: with %s to read, to %s says %d, want 403", private, p, test.name, status)
				}
				has := w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{p: "write"}})
				_, header, _ := w.askFor(has, test.method, w.URL+repo+test.path, test.body)
				status, _ := w.ask(has, test.method, repo+test.path, test.body)
				if status == 403 || status == 401 {
					t.Errorf("private %v: with %s to %s says %d", private, p, test.name, status)
				}
				if accepted := header.Get("X-Accepted-GitHub-Permissions"); !strings.Contains(accepted, p+"=write") {
					t.Errorf("it says that %q would do to %s", accepted, test.name)
				}
			}
		}
	}
}

func TestWhoMayRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	reader := w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{"pull_requests": "read"}})
	elsewhere := w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{"contents": "read"}})
	nothing := w.AddToken(githubtest.Token{Login: "stranger", Permissions: githubtest.Permissions{}})
	for _, test := range []struct {
		name, token     string
		public, private int
	}{
		{"reader", reader, 200, 200},
		{"other permissions", elsewhere, 200, 403},
		{"stranger", nothing, 200, 404},
		{"nobody", "", 200, 404},
		{"unknown", "ghs_unknown", 401, 401},
	} {
		for _, private := range []bool{false, true} {
			w.Configure(func(s *githubtest.Settings) { s.Private = private })
			want := test.public
			if private {
				want = test.private
			}
			if status, body := w.ask(test.token, "GET", repo+"/pulls/1", ""); status != want {
				t.Errorf("%s, private %v: %d %s, want %d", test.name, private, status, body, want)
			}
		}
	}
	w.Configure(func(s *githubtest.Settings) { s.Private = false })
	for token, want := range map[string]int{"": 401, w.token: 403, "x": 401} {
		if status, _ := w.ask(token, "GET", "/user", ""); status != want {
			t.Errorf("/user with %q answers %d, want %d", token, status, want)
		}
	}
	if status, _ := w.ask("", "POST", repo+"/issues", `{"title": "t"}`); status != http.StatusUnauthorized {
		t.Errorf("nobody may open an issue: %d, want 401", status)
	}
	req, err := http.NewRequest("GET", w.URL+repo, nil)
	check(t, err)
	req.Header.Set("User-Agent", "")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("without a user agent it answers %d, want 403", resp.StatusCode)
	}
}
