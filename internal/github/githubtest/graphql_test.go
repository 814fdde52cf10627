package githubtest_test

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/github/githubtest"
)

const (
	toDraft = `mutation($id: ID!) { convertPullRequestToDraft(input: {pullRequestId: $id}) { pullRequest { id isDraft } } }`
	toReady = `mutation($input: MarkPullRequestReadyForReviewInput!) { markPullRequestReadyForReview(input: $input) { pullRequest { isDraft } } }`
)

func TestDraft(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/api/v3"} {
		w := newWorld(t, githubtest.Options{BasePath: base})
		w.openPull("sign/x")
		query := `query($owner: String!, $name: String!, $n: Int!) { repository(owner: $owner, name: $name) { pullRequest(number: $n) { id isDraft } } }`
		got := w.graphql(w.token, query, map[string]any{"owner": "octo", "name": "tuf", "n": 1})
		_, rest, _ := strings.Cut(got, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		if want := `{"data":{"repository":{"pullRequest":{"id":"` + id + `","isDraft":false}}}}`; id == "" || got != want {
			t.Fatalf("the pull request is %s, want %s", got, want)
		}
		if _, body := w.ask(w.token, "GET", repo+"/pulls/1", ""); !strings.Contains(body, `"node_id":"`+id+`"`) {
			t.Errorf("REST has another id than %s", id)
		}
		draft, ready := map[string]any{"id": id}, map[string]any{"input": map[string]any{"pullRequestId": id}}
		for _, test := range []struct {
			query     string
			variables map[string]any
			want      bool
		}{{toDraft, draft, true}, {toDraft, draft, true}, {toReady, ready, false}, {toReady, ready, false}} {
			if got := w.graphql(w.token, test.query, test.variables); strings.Contains(got, "errors") {
				t.Errorf("it says %s", got)
			}
			if got := w.Pull(1).Draft; got != test.want {
				t.Errorf("draft is %v, want %v", got, test.want)
			}
		}
	}
}

func TestGraphQLRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	w.push("sign/y")
	w.openPull("sign/y")
	w.ClosePull(2, "alice")
	id := func(number int) map[string]any {
		_, body := w.ask(w.token, "GET", repo+"/pulls/"+itoa(number), "")
		_, rest, _ := strings.Cut(body[strings.LastIndex(body, `"mergeable_state"`):], `"node_id":"`) // after those of base and head
		value, _, _ := strings.Cut(rest, `"`)
		return map[string]any{"id": value}
	}
	token := func(p githubtest.Permissions) string {
		return w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: p})
	}
	for _, test := range []struct {
		name, token, query string
		variables          map[string]any
		says               []string
	}{
		{"contents to read", token(githubtest.Permissions{"pull_requests": "write", "contents": "read"}), toDraft, id(1),
			[]string{`"type":"FORBIDDEN"`, "Resource not accessible by integration", `"path":["convertPullRequestToDraft"]`, `"data":{"convertPullRequestToDraft":null}`}},
		{"pull requests to read", token(githubtest.Permissions{"pull_requests": "read", "contents": "write"}), toDraft, id(1), []string{`"type":"FORBIDDEN"`}},
		{"no such id", w.token, toDraft, map[string]any{"id": "PR_none"}, []string{`"type":"NOT_FOUND"`, "Could not resolve to a node with the global id of 'PR_none'."}},
		{"closed", w.token, toDraft, id(2), []string{`"type":"UNPROCESSABLE"`}},
		{"no such number", w.token, `{ repository(owner: "octo", name: "tuf") { pullRequest(number: 99) { id } } }`, nil,
			[]string{`"type":"NOT_FOUND"`, "Could not resolve to a PullRequest with the number of 99.", `"path":["repository","pullRequest"]`}},
		{"no such repository", w.token, `{ repository(owner: "octo", name: "other") { id } }`, nil, []string{`"type":"NOT_FOUND"`, `"data":{"repository":null}`}},
	} {
		got := w.graphql(test.token, test.query, test.variables)
		for _, want := range test.says {
			if !strings.Contains(got, want) {
				t.Errorf("%s: it says %s, want %s", test.name, got, want)
			}
		}
	}
	w.Configure(func(s *githubtest.Settings) { s.NoDrafts = true })
	if got := w.graphql(w.token, toDraft, id(1)); !strings.Contains(got, "does not have permission to convert the pull request") {
		t.Errorf("without drafts it says %s", got)
	}
	if w.Pull(1).Draft || w.Pull(2).Draft {
		t.Error("what was refused was done")
	}
	status, _, body := w.askFor("ghs_unknown", "POST", w.GraphQLURL, `{"query": "{ viewer { login } }"}`)
	if status != 401 || !strings.Contains(body, "Bad credentials") {
		t.Errorf("an unknown token is told %d %s", status, body)
	}
	w.Configure(func(s *githubtest.Settings) { s.Private = true })
	if got := w.graphql(token(githubtest.Permissions{"contents": "read"}), `{ repository(owner: "octo", name: "tuf") { pullRequest(number: 1) { id } } }`, nil); !strings.Contains(got, `"type":"FORBIDDEN"`) {
		t.Errorf("in a private repository a token that may not read says %s", got)
	}
}

func TestGraphQLLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	for query, want := range map[string]string{
		`query A { viewer { __typename name: login } }`: `{"data":{"viewer":{"__typename":"User","name":"github-actions[bot]"}}}`,
		`{ repository(owner: "octo", name: "tuf") { ...R } } fragment R on Repository { n: pullRequest(number: 1) { number state } }`: `{"data":{"repository":{"n":{"number":1,"state":"OPEN"}}}}`,
		`{ repository(owner: "octo", name: "tuf") { ... on Repository { pullRequest(number: 1) { headRefName merged } } } }`:          `{"data":{"repository":{"pullRequest":{"headRefName":"sign/x","merged":false}}}}`,
	} {
		if got := w.graphql(w.token, query, nil); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
}
