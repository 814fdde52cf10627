package githubtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
)

func TestStart(t *testing.T) {
	t.Parallel()
	upstream := gittest.New(t)
	clone := upstream.Clone("alice")
	clone.Commit("first")
	clone.Push("HEAD:main")
	clone.Commit("second")
	clone.Push("HEAD:refs/heads/sign/x")
	s, err := githubtest.Start(githubtest.Options{Dir: upstream.Dir, Owner: "sigstore", Repo: "root", BasePath: "/api/v3",
		Settings: githubtest.Settings{Workflows: []string{"publish.yml"}}})
	check(t, err)
	defer s.Close()
	if !strings.HasPrefix(s.URL, "http://127.0.0.1:") || !strings.HasSuffix(s.URL, "/api/v3") || !strings.HasSuffix(s.GraphQLURL, "/api/graphql") {
		t.Errorf("it is at %s and %s", s.URL, s.GraphQLURL)
	}
	token := s.AddToken(githubtest.Token{Value: "secret", Kind: githubtest.Workflow, Permissions: githubtest.All()})
	for _, r := range [][2]string{
		{"/pulls", `{"title": "Sign", "head": "sign/x", "base": "main", "draft": true}`},
		{"/issues/1/comments", `{"body": "hello"}`},
		{"/issues", `{"title": "broken"}`},
		{"/statuses/" + upstream.Head("sign/x"), `{"state": "pending", "context": "signing"}`},
		{"/actions/workflows/publish.yml/dispatches", `{"ref": "main", "inputs": {"a": "b"}}`},
	} {
		status, _, body, err := send(token, "POST", s.Endpoint("bot").REST+"/repos/sigstore/root"+r[0], r[1])
		if err != nil || status >= 300 {
			t.Errorf("%s: %d %s, %v", r[0], status, body, err)
		}
	}
	var got struct {
		Pulls      []githubtest.Pull
		Issues     []githubtest.Issue
		Statuses   []githubtest.Status
		Dispatches []githubtest.Dispatch
		Requests   []string
		Violations []string
	}
	check(t, json.Unmarshal(s.Dump(), &got))
	switch {
	case len(got.Pulls) != 1 || !got.Pulls[0].Draft || len(got.Pulls[0].Comments) != 1 || got.Pulls[0].Comments[0].Body != "hello",
		len(got.Issues) != 1 || got.Issues[0].Title != "broken",
		len(got.Statuses) != 1 || got.Statuses[0].Context != "signing",
		len(got.Dispatches) != 1 || got.Dispatches[0].Inputs["a"] != "b",
		len(got.Requests) != 5 || !strings.HasPrefix(got.Requests[0], "#1 POST /repos/sigstore/root/pulls"),
		len(got.Violations) != 0:
		t.Errorf("the dump is %s", s.Dump())
	}
	if strings.Contains(string(s.Dump()), "secret") {
		t.Error("the dump holds a token")
	}
	if run := s.Requests()[0].Run; run != "bot" {
		t.Errorf("the request came from %q", run)
	}
	func() {
		defer func() {
			if r := recover(); r == nil {
				t.Error("a pull request that is not there: no panic")
			}
		}()
		s.Pull(99)
	}()
	// Nothing outside the base path.
	if status, _, _, _ := send(token, "POST", strings.Replace(s.GraphQLURL, "/api/graphql", "/graphql", 1), `{"query": "{ viewer { login } }"}`); status != 404 {
		t.Errorf("GraphQL without the base path is %d", status)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	work := gittest.Init(t, filepath.Join(t.TempDir(), "work"))
	for name, dir := range map[string]string{"no directory": filepath.Join(t.TempDir(), "none"), "no repository": t.TempDir(), "not bare": work.Dir} {
		s, err := githubtest.Start(githubtest.Options{Dir: dir})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want an error that names %s", name, err, dir)
		}
	}
}

// A broken repository is nobody's fault but the test's, and does not hang it.
func TestBrokenRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Lenient: true})
	check(t, os.RemoveAll(filepath.Join(w.Dir, "objects")))
	if status, body := w.ask(w.token, "GET", repo+"/pulls", ""); status != 500 {
		t.Errorf("it answers %d %s", status, body)
	}
	if got := strings.Join(w.Violations(), "\n"); !strings.Contains(got, "git for-each-ref") {
		t.Errorf("the violations are %q", got)
	}
}
