package githubtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
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

// refusal returns what GitHub says no with: the status, the message, and that
// of the first error.
func refusal(t *testing.T, err error) (int, string) {
	t.Helper()
	var e *github.ErrorResponse
	if !errors.As(err, &e) {
		t.Fatalf("%v is no answer of GitHub", err)
	}
	message := e.Message
	if len(e.Errors) > 0 {
		message += "; " + e.Errors[0].Field + " " + e.Errors[0].Code + " " + e.Errors[0].Message
	}
	return e.Response.StatusCode, message
}

func wantRefusal(t *testing.T, err error, status int, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was done, want %d %q", status, text)
	}
	if got, message := refusal(t, err); got != status || !strings.Contains(message, text) {
		t.Fatalf("it says %d %q, want %d %q", got, message, status, text)
	}
}

func TestEverythingOnce(t *testing.T) {
	for _, base := range []string{"", "/api/v3"} {
		t.Run("base "+base, func(t *testing.T) {
			w := newWorld(t, githubtest.Options{BasePath: base})
			c, ctx := w.client(w.token), t.Context()
			r, _, err := c.Repositories.Get(ctx, "octo", "tuf")
			check(t, err)
			if r.GetFullName() != "octo/tuf" || r.GetDefaultBranch() != "main" {
				t.Errorf("the repository is %s with %s", r.GetFullName(), r.GetDefaultBranch())
			}
			p, _, err := c.PullRequests.Create(ctx, "octo", "tuf", &github.NewPullRequest{
				Title: github.String("Sign"), Head: github.String("sign/x"), Base: github.String("main"), Body: github.String("b"), Draft: github.Bool(true)})
			check(t, err)
			if p.GetNumber() != 1 || !p.GetDraft() || p.GetHead().GetSHA() != w.Upstream.Head("sign/x") || p.GetUser().GetLogin() != githubtest.ActionsLogin ||
				p.GetCommits() != 1 || p.GetChangedFiles() != 1 {
				t.Errorf("opened %v", p)
			}
			list, _, err := c.PullRequests.List(ctx, "octo", "tuf", &github.PullRequestListOptions{Head: "octo:sign/x", State: "all"})
			check(t, err)
			if len(list) != 1 || list[0].GetNumber() != 1 {
				t.Errorf("listed %v", list)
			}
			m, _, err := c.Issues.CreateComment(ctx, "octo", "tuf", 1, &github.IssueComment{Body: github.String("hello")})
			check(t, err)
			_, _, err = c.Issues.EditComment(ctx, "octo", "tuf", m.GetID(), &github.IssueComment{Body: github.String("bye")})
			check(t, err)
			comments, _, err := c.Issues.ListComments(ctx, "octo", "tuf", 1, nil)
			check(t, err)
			if len(comments) != 1 || comments[0].GetBody() != "bye" || comments[0].GetUser().GetType() != "Bot" {
				t.Errorf("comments are %v", comments)
			}
			head := w.Upstream.Head("sign/x")
			_, _, err = c.Repositories.CreateStatus(ctx, "octo", "tuf", head, &github.RepoStatus{
				State: github.String("pending"), Context: github.String("signing"), Description: github.String("1 of 2"), TargetURL: github.String("https://example.com/")})
			check(t, err)
			combined, _, err := c.Repositories.GetCombinedStatus(ctx, "octo", "tuf", head, nil)
			check(t, err)
			if combined.GetState() != "pending" || combined.GetTotalCount() != 1 {
				t.Errorf("combined status is %v", combined)
			}
			_, _, err = c.Issues.AddLabelsToIssue(ctx, "octo", "tuf", 1, []string{"signing"})
			check(t, err)
			_, err = c.Issues.RemoveLabelForIssue(ctx, "octo", "tuf", 1, "signing")
			check(t, err)
			_, err = c.Actions.CreateWorkflowDispatchEventByFileName(ctx, "octo", "tuf", "publish.yml",
				github.CreateWorkflowDispatchEventRequest{Ref: "main", Inputs: map[string]any{"what": "all"}})
			check(t, err)
			runs, _, err := c.Actions.ListWorkflowRunsByFileName(ctx, "octo", "tuf", "publish.yml", nil)
			check(t, err)
			if runs.GetTotalCount() != 1 || runs.WorkflowRuns[0].GetHeadSHA() != w.Upstream.Head("main") {
				t.Errorf("runs are %v", runs)
			}
			if got := w.graphql(w.token, "query { viewer { login } }", nil); got != `{"data":{"viewer":{"login":"github-actions[bot]"}}}` {
				t.Errorf("viewer is %s", got)
			}
		})
	}
}
