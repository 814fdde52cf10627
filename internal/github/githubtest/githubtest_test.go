package githubtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
)

// world is a GitHub with a commit on main and one more on sign/x, and a clone.
type world struct {
	*githubtest.Server
	t     *testing.T
	clone *gittest.Repo
	token string // of a workflow job that may do all
}

func newWorld(t *testing.T, o githubtest.Options) *world {
	t.Helper()
	w := &world{Server: githubtest.New(t, o), t: t}
	w.clone = w.Upstream.Clone("alice")
	w.clone.WriteFile("a", "1\n")
	w.clone.WriteFile(".github/workflows/publish.yml", "on:\n  workflow_dispatch:\n    inputs:\n      what: {required: true}\n")
	w.clone.WriteFile(".github/workflows/test.yml", "on: [push, pull_request]\n")
	w.clone.Commit("first")
	w.clone.Push("HEAD:main")
	w.push("sign/x")
	w.token = w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	return w
}

// push adds a commit to a branch, which is made from main if it does not exist,
// and returns it.
func (w *world) push(branch string) string {
	w.t.Helper()
	from := "main"
	if w.Upstream.Head(branch) != "" {
		from = branch
	}
	w.clone.Run("fetch", "--quiet", "origin")
	w.clone.Run("checkout", "--quiet", "--detach", "origin/"+from)
	w.clone.WriteFile(strings.ReplaceAll(branch, "/", "-"), w.clone.Now.String())
	commit := w.clone.Commit("work on " + branch)
	w.clone.Push("HEAD:refs/heads/" + branch)
	return commit
}

// client is Google's, which shows the token.
func (w *world) client(token string) *github.Client {
	w.t.Helper()
	c := github.NewClient(nil).WithAuthToken(token)
	base, err := url.Parse(w.URL + "/")
	check(w.t, err)
	c.BaseURL = base
	return c
}

// ask sends a request as it is, and returns the status and the body.
func (w *world) ask(token, method, path, body string) (int, string) {
	w.t.Helper()
	status, _, answer := w.askFor(token, method, w.URL+path, body)
	return status, answer
}

func (w *world) askFor(token, method, address, body string) (int, http.Header, string) {
	w.t.Helper()
	status, header, answer, err := send(token, method, address, body)
	check(w.t, err)
	return status, header, answer
}

func send(token, method, address, body string) (int, http.Header, string, error) {
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(data), err
}

const repo = "/repos/octo/tuf"

// openPull opens a pull request from sign/x, or another branch, to main.
func (w *world) openPull(branch string) int {
	w.t.Helper()
	return w.OpenPull("alice", branch, "main", "Sign "+branch, "", false)
}

// numbers lists pull requests and returns their numbers.
func (w *world) numbers(query string) []int {
	w.t.Helper()
	status, body := w.ask(w.token, "GET", repo+"/pulls"+query, "")
	var list []struct{ Number int }
	if status != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil {
		w.t.Fatalf("listing pull requests answered %d %s", status, body)
	}
	numbers := []int{}
	for _, p := range list {
		numbers = append(numbers, p.Number)
	}
	return numbers
}

// graphql asks and returns the whole answer, compact.
func (w *world) graphql(token, query string, variables map[string]any) string {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	check(w.t, err)
	status, _, answer := w.askFor(token, "POST", w.GraphQLURL, string(body))
	if status != http.StatusOK {
		w.t.Fatalf("GraphQL answered %d: %s", status, answer)
	}
	var out bytes.Buffer
	check(w.t, json.Compact(&out, []byte(answer)))
	return out.String()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// issue opens an issue and returns its number.
func (w *world) issue(title string, labels ...string) int {
	w.t.Helper()
	i, _, err := w.client(w.token).Issues.Create(w.t.Context(), "octo", "tuf", &github.IssueRequest{Title: &title, Labels: new(append([]string{}, labels...))})
	check(w.t, err)
	return i.GetNumber()
}
