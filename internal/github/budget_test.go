package github_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// TestBudget counts the requests of the most expensive runs: a key and an artifact
// are new, so that the bot asks who pushed and pushes itself.
//
// With the default token and drafts a run takes at most eight requests, and four
// where nothing changed; so does one with another token. A first run where there
// are no drafts costs one more, the refusal; an app two more in every run, for its
// token; each further hundred of comments one more.
func TestBudget(t *testing.T) {
	custom := func(s *story) map[string]string {
		own := s.gh.AddToken(githubtest.Token{Login: "tuf-bot", Permissions: githubtest.All()})
		return map[string]string{"TUF_ON_CI_TOKEN": own, "TUFOPS_DEFAULT_TOKEN": s.token}
	}
	app := func(s *story) map[string]string {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			s.t.Fatal(err)
		}
		s.gh.InstallApp(githubtest.App{ID: 5, ClientID: "Iv1.app", Slug: "tuf-bot", Key: &key.PublicKey, InstallationID: 99, Permissions: githubtest.All()})
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		return map[string]string{"TUFOPS_APP_ID": "5", "TUFOPS_APP_PRIVATE_KEY": string(text), "TUFOPS_DEFAULT_TOKEN": s.token}
	}
	for _, test := range []struct {
		name           string
		settings       githubtest.Settings
		env            func(*story) map[string]string
		comments       int
		changed, quiet int
	}{
		{name: "default token", changed: 8, quiet: 4},
		{name: "no drafts", settings: githubtest.Settings{Private: true, NoDrafts: true}, changed: 9, quiet: 4},
		{name: "custom token", env: custom, changed: 8, quiet: 4},
		{name: "custom token, no drafts", settings: githubtest.Settings{Private: true, NoDrafts: true}, env: custom, changed: 8, quiet: 4},
		{name: "300 comments", comments: 300, changed: 8 + 3, quiet: 4 + 3},
		{name: "app", env: app, changed: 8 + 2, quiet: 4 + 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, test.settings)
			env := map[string]string{"GITHUB_TOKEN": s.token, "TUFOPS_DEFAULT_TOKEN": s.token}
			if test.env != nil {
				env = test.env(s)
			}
			env["GITHUB_REPOSITORY"], env["GITHUB_API_URL"], env["GITHUB_GRAPHQL_URL"] = "octo/tuf", s.gh.URL, s.gh.GraphQLURL
			run := func(what string, limit int) {
				t.Helper()
				before := len(s.gh.Requests())
				f, err := github.FromEnv(func(name string) string { return env[name] }, github.Options{Now: func() time.Time { return gittest.Epoch }})
				if err != nil {
					t.Fatal(err)
				}
				done, err := signingevent.Drive(context.Background(), s.options(Event, f))
				if err != nil {
					t.Fatal(err)
				}
				if n := len(s.gh.Requests()) - before; n > limit || (what == "nothing") != (len(done.Done) == 0) {
					t.Errorf("%s: %d requests, at most %d wanted; did %q:\n%s", what, n, limit, done.Done, s.requests(before))
				}
			}
			s.Edit("targets", func(o metadata.Object) { AddKey(o, "releases", "dave") })
			s.Artifact("b.txt", "b")
			s.push("a new key and an artifact")
			run("first run", test.changed)
			for range test.comments {
				s.gh.Comment(1, "mallory", "first!")
			}
			run("nothing", test.quiet)
			s.Run("fetch", "-q", "origin")
			s.Run("reset", "-q", "--hard", "origin/"+Event)
			s.Sign("targets", "alice", "bob").Sign("releases", "carol")
			s.push("signed")
			run("complete", test.changed)
			run("nothing", test.quiet)
			s.Artifact("c.txt", "c")
			s.push("another artifact")
			run("draft again", test.changed)
			run("nothing", test.quiet)
		})
	}
}
