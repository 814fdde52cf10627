package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tufops/tufops/signingevent"
)

func callOf(t *testing.T, name string) func(context.Context, *Forge) error {
	t.Helper()
	for _, c := range calls {
		if c.name == name {
			return c.call
		}
	}
	switch name {
	case "pulls":
		return func(ctx context.Context, f *Forge) error { _, err := f.Pulls(ctx, "sign/x"); return err }
	case "statuses":
		return func(ctx context.Context, f *Forge) error {
			_, err := f.Status(ctx, "0123456789abcdef", "c")
			return err
		}
	case "last run":
		return func(ctx context.Context, f *Forge) error { _, err := f.LastRun(ctx, "w.yml", "main"); return err }
	case "update issue":
		return func(ctx context.Context, f *Forge) error {
			_, err := f.UpdateIssue(ctx, Failure{Workflow: "w", RunID: 1, Attempt: 1})
			return err
		}
	}
	t.Fatalf("no call %q", name)
	return nil
}

// TestAnswers: what each refusal means, in words and as errors to act on.
func TestAnswers(t *testing.T) {
	const notAccessible = `{"message":"Resource not accessible by integration","documentation_url":"https://docs.github.com/rest"}`
	const accepted = "X-Accepted-GitHub-Permissions: issues=write; pull_requests=write"
	gql := func(kind, text string) string {
		return fmt.Sprintf(`{"data":null,"errors":[{"type":%q,"message":%q}]}`, kind, text)
	}
	for _, test := range []struct {
		name, call string
		status     int
		body       string
		headers    []string
		want       string
		is         error  // errors.Is
		permission string // of a PermissionError; "none" for one that names none
		hint       string // part of it
	}{
		{"no permission to comment", "comment", 403, notAccessible, []string{accepted},
			"the token may not comment on #1 (it needs pull-requests: write): GitHub answered 403 Forbidden: Resource not accessible by integration", nil, "pull-requests: write", "give the workflow job, or the token, the permission pull-requests: write"},
		{"no permission, without the header", "status", 403, notAccessible, nil,
			"the token may not set the commit status of abc (it needs statuses: write): GitHub answered 403 Forbidden: Resource not accessible by integration", nil, "statuses: write", ""},
		{"the header knows better", "status", 403, notAccessible, []string{"X-Accepted-GitHub-Permissions: statuses=write,metadata=read; contents=write"},
			"the token may not set the commit status of abc (it needs statuses: write and metadata: read or contents: write): GitHub answered 403 Forbidden: Resource not accessible by integration", nil, "statuses: write and metadata: read or contents: write", ""},
		{"a header that says nothing", "dispatch", 403, notAccessible, []string{"X-Accepted-GitHub-Permissions: ;,"},
			`the token may not start the workflow w.yml on "main" (it needs actions: write)`, nil, "actions: write", ""},
		{"personal token", "edit", 403, message("Resource not accessible by personal access token"), nil,
			"the token may not edit comment 1 (it needs pull-requests: write)", nil, "pull-requests: write", ""},
		{"reading", "pulls", 403, notAccessible, []string{"X-Accepted-GitHub-Permissions: pull_requests=read"},
			`the token may not list the pull requests of branch "sign/x" (it needs pull-requests: read)`, nil, "pull-requests: read", ""},
		{"issues", "update issue", 403, notAccessible, []string{accepted},
			`the token may not look for the issue of workflow "w" (it needs issues: write)`, nil, "issues: write", "the permission issues: write"},
		{"runs", "last run", 403, notAccessible, nil, `the token may not find the last run of the workflow w.yml on "main" (it needs actions: read)`, nil, "actions: read", ""},
		{"GraphQL", "draft", 200, gql("FORBIDDEN", "Resource not accessible by integration"), nil,
			"the token may not make pull request #1 a draft (it needs pull-requests: write and contents: write): GitHub answered 403 Forbidden: Resource not accessible by integration", nil, writeDraft, ""},
		{"archived", "comment", 403, message("Repository was archived so is read-only."), []string{accepted},
			"the token may not comment on #1: GitHub answered 403 Forbidden: Repository was archived so is read-only.", nil, "none", "repository's Actions settings"},
		{"single sign-on", "pulls", 403, message("Resource protected by organization SAML enforcement."), nil,
			`the token may not list the pull requests of branch "sign/x": GitHub answered 403 Forbidden: Resource protected`, nil, "none", ""},
		{"setting", "open", 403, message("GitHub Actions is not permitted to create or approve pull requests."), nil,
			`the token may not open a pull request for branch "b": GitHub answered 403 Forbidden: GitHub Actions is not permitted`, nil, "none", `turn on "Allow GitHub Actions to create and approve pull requests" in Settings, Actions, General`},
		{"there is one already", "open", 422, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for octo:b."}]}`, nil,
			`open a pull request for branch "b": GitHub answered 422 Unprocessable Entity: Validation Failed: A pull request already exists for octo:b.: there is one already`, signingevent.ErrExists, "", ""},
		{"no drafts", "open", 422, message("Draft pull requests are not supported in this repository."), nil,
			`this repository has no draft pull requests`, signingevent.ErrNoDrafts, "", ""},
		{"no drafts, in the details", "open", 422, `{"message":"Validation Failed","errors":["Draft pull requests are not supported in this repository."]}`, nil,
			`this repository has no draft pull requests`, signingevent.ErrNoDrafts, "", ""},
		{"no drafts, by GraphQL", "draft", 200, gql("UNPROCESSABLE", "Draft pull requests are not supported in this repository."), nil,
			`this repository has no draft pull requests`, signingevent.ErrNoDrafts, "", ""},
		{"no drafts, by GraphQL in other words", "draft", 200, gql("FORBIDDEN", "someone does not have permission to convert the pull request PR_1 to draft."), nil,
			`make pull request #1 a draft: GitHub answered 403 Forbidden: someone does not have permission`, signingevent.ErrNoDrafts, "", ""},
		{"nothing between", "open", 422, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"No commits between main and b"}]}`, nil,
			`open a pull request for branch "b": GitHub answered 422 Unprocessable Entity: Validation Failed: No commits between main and b`, nil, "", ""},
		{"a field", "open", 422, `{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"head","code":"invalid"}]}`, nil,
			`Validation Failed: head invalid`, nil, "", ""},
		{"no workflow", "dispatch", 404, message("Not Found"), nil,
			`start the workflow w.yml on "main": GitHub answered 404 Not Found: Not Found: there is no such thing, or the repository octo/tuf is not there or not visible to the token`, signingevent.ErrNotFound, "", "TUF_ON_CI_TOKEN"},
		{"no trigger", "dispatch", 422, message("Workflow does not have 'workflow_dispatch' trigger"), nil,
			`start the workflow w.yml on "main": GitHub answered 422 Unprocessable Entity: Workflow does not have 'workflow_dispatch' trigger: there is no such thing`, signingevent.ErrNotFound, "", ""},
		{"no repository", "pulls", 404, message("Not Found"), nil,
			`the repository octo/tuf is not there or not visible to the token`, signingevent.ErrNotFound, "", "check GITHUB_REPOSITORY, and what the token of TUF_ON_CI_TOKEN may see"},
		{"no pull request, by GraphQL", "draft", 200, gql("NOT_FOUND", "Could not resolve to a node with the global id of 'PR_1'"), nil,
			"make pull request #1 a draft: GitHub answered 404 Not Found: Could not resolve", signingevent.ErrNotFound, "", ""},
		{"no label to remove from", "unlabel", 404, message("Not Found"), nil, `remove the label "l" from #1`, signingevent.ErrNotFound, "", ""},
		{"bad credentials", "read", 401, message("Bad credentials"), nil,
			"list the comments of #1: GitHub answered 401 Unauthorized: Bad credentials", nil, "", "the token of TUF_ON_CI_TOKEN is wrong, has expired or was revoked"},
		{"second factor", "read", 401, message("Must specify two-factor authentication OTP code."), []string{"X-GitHub-OTP: required; app"},
			"GitHub answered 401 Unauthorized: Must specify two-factor", nil, "", "TUF_ON_CI_TOKEN"},
		{"no issues", "issue", 410, message("Issues has been disabled in this repository."), nil,
			`open an issue for workflow "w": GitHub answered 410 Gone: Issues has been disabled in this repository.`, nil, "", "turn issues on"},
		{"a status that nobody knows", "read", 499, ``, nil, "list the comments of #1: GitHub answered 499", nil, "", ""},
		{"202", "read", 202, `{}`, nil, "list the comments of #1: ", nil, "", ""},
		{"not what was asked for", "read", 200, `<html>`, nil, "list the comments of #1: read GitHub's answer: ", nil, "", ""},
		{"another shape", "read", 200, `{"message":"x"}`, nil, "list the comments of #1: read GitHub's answer: ", nil, "", ""},
		{"no pull request in the answer", "open", 201, `{}`, nil, `open a pull request for branch "b": GitHub's answer holds no pull request`, nil, "", ""},
		{"no comment in the answer", "comment", 201, `{}`, nil, `comment on #1: GitHub's answer holds no comment`, nil, "", ""},
		{"no data", "draft", 200, `{}`, nil, `make pull request #1 a draft: GitHub's answer holds no data`, nil, "", ""},
		{"not done", "draft", 200, `{"data":{"convertPullRequestToDraft":{"pullRequest":{"isDraft":false}}}}`, nil, `make pull request #1 a draft: GitHub answered without an error, and it is not so`, nil, "", ""},
		{"not told", "draft", 200, `{"data":{"convertPullRequestToDraft":null}}`, nil, `GitHub answered without an error, and it is not so`, nil, "", ""},
		{"no list", "comments", 200, `{"data":{"viewer":{"login":"x"},"repository":{"pullRequest":null}}}`, nil, `list the comments of #1: GitHub's answer holds no list`, nil, "", ""},
		{"a list for nobody", "comments", 200, `{"data":{"viewer":{},"repository":{"pullRequest":{"comments":{"nodes":[]}}}}}`, nil, `list the comments of #1: GitHub's answer holds no list`, nil, "", ""},
		{"no login", "self", 200, `{"data":{"viewer":{}}}`, nil, `ask whom the token belongs to: GitHub's answer holds no login`, nil, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, h := open(t, always(test.status, test.body, test.headers...))
			err := callOf(t, test.call)(t.Context(), f)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if len(h.asked) != 1 {
				t.Errorf("asked %d times", len(h.asked))
			}
			for _, kind := range []error{signingevent.ErrExists, signingevent.ErrNoDrafts, signingevent.ErrNotFound} {
				if errors.Is(err, kind) != (kind == test.is) {
					t.Errorf("%v: is %q: %v", err, kind, errors.Is(err, kind))
				}
			}
			var permission *signingevent.PermissionError
			if errors.As(err, &permission) != (test.permission != "") {
				t.Errorf("%v: a PermissionError: %v", err, permission != nil)
			} else if permission != nil && strings.TrimPrefix(test.permission, "none") != permission.Permission {
				t.Errorf("it needs %q, want %q", permission.Permission, test.permission)
			}
			if !strings.Contains(hintOf(err), test.hint) {
				t.Errorf("hint %q, want %q", hintOf(err), test.hint)
			}
		})
	}
}

// TestLongMessages: a server that says a lot is cut short.
func TestLongMessages(t *testing.T) {
	long := strings.Repeat("not accessible ", 10000)
	f, _ := open(t, always(403, message(long), "X-Accepted-GitHub-Permissions: "+strings.Repeat("a=b;", 10000)))
	if err := callOf(t, "read")(t.Context(), f); err == nil || len(err.Error()) > 3*maxMessage || len(hintOf(err)) > 2*maxMessage {
		t.Errorf("an error of %d bytes, a hint of %d", len(err.Error()), len(hintOf(err)))
	}
	f, _ = open(t, always(422, fmt.Sprintf(`{"message":%q,"errors":[%q]}`, long, long)))
	if err := callOf(t, "read")(t.Context(), f); err == nil || len(err.Error()) > 2*maxMessage {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// TestGoneIsDone: what is not there any more need not be removed.
func TestGoneIsDone(t *testing.T) {
	f, _ := open(t, always(404, message("Not Found")))
	if err := f.DeleteComment(t.Context(), 1); err != nil {
		t.Error(err)
	}
	f, _ = open(t, always(404, message("Label does not exist")))
	if err := f.SetLabel(t.Context(), signingevent.Pull{Number: 1}, "l", false); err != nil {
		t.Error(err)
	}
	if err := f.SetLabel(t.Context(), signingevent.Pull{Number: 1}, "l", true); err == nil {
		t.Error("a label was added to what is not there")
	}
}

// TestNamesStayInTheirPlace: a name from elsewhere does not lead a request to
// another path.
func TestNamesStayInTheirPlace(t *testing.T) {
	pull := signingevent.Pull{Number: 1}
	for _, name := range []string{"..", ".", ""} {
		f, h := open(t, always(200, `{}`))
		if err := f.Dispatch(t.Context(), name, "main", nil); !errors.Is(err, signingevent.ErrNotFound) {
			t.Errorf("workflow %q: %v", name, err)
		}
		if _, err := f.LastRun(t.Context(), name, "main"); !errors.Is(err, signingevent.ErrNotFound) {
			t.Errorf("workflow %q: %v", name, err)
		}
		if err := f.SetLabel(t.Context(), pull, name, false); err == nil {
			t.Errorf("label %q was removed", name)
		}
		if len(h.asked) != 0 {
			t.Errorf("%q: asked %+v", name, h.asked)
		}
	}
	for _, name := range []string{"../../x", "a/b", "a?b", "a#b", "a%2fb", "ä b,c"} {
		f, h := open(t, always(200, `{"workflow_runs":[]}`))
		_ = f.Dispatch(t.Context(), name, "main", nil)
		_, _ = f.LastRun(t.Context(), name, "main")
		_ = f.SetLabel(t.Context(), pull, name, false)
		if _, err := f.Status(t.Context(), name, "c"); err == nil {
			t.Errorf("%q passed for a commit", name)
		}
		if err := f.SetStatus(t.Context(), name, signingevent.CommitStatus{}); err == nil {
			t.Errorf("%q passed for a commit", name)
		}
		escaped := url.PathEscape(name)
		want := []string{"POST actions/workflows/" + escaped + "/dispatches", "GET actions/workflows/" + escaped + "/runs", "DELETE issues/1/labels/" + escaped}
		var got []string
		for _, a := range h.asked {
			path, _, _ := strings.Cut(strings.TrimPrefix(a.url, "https://api.github.com/repos/octo/tuf/"), "?")
			got = append(got, a.method+" "+path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q leads to %q, want %q", name, got, want)
		}
	}
	f, h := open(t, always(200, `[]`))
	if _, err := f.comments(t.Context(), 0, readPulls); err == nil || len(h.asked) != 0 { // those of the whole repository
		t.Errorf("asked %+v: %v", h.asked, err)
	}
}

// TestPullsOfABranch: a filter that GitHub does not apply does not bring pull
// requests of other branches or of forks. Of those that were closed it is known which
// are ours; nobody's are not.
func TestPullsOfABranch(t *testing.T) {
	pull := func(number int, branch string, headRepo any, state string) map[string]any {
		return map[string]any{"number": number, "node_id": fmt.Sprint("PR_", number), "state": state, "draft": true,
			"head": map[string]any{"ref": branch, "sha": "abc", "repo": headRepo}, "base": map[string]any{"ref": "main", "repo": map[string]any{"id": 7}},
			"labels": []any{nil, map[string]any{"name": "l"}}, "html_url": "u", "merged_at": nil}
	}
	here, fork := map[string]any{"id": 7}, map[string]any{"id": 8}
	merged := pull(2, "sign/x", here, "closed")
	merged["merged_at"] = "2026-11-22T12:00:00Z"
	closed := func(number int, by any) map[string]any {
		p := pull(number, "sign/x", here, "closed")
		p["user"] = by
		return p
	}
	list := []any{nil, pull(9, "sign/x", fork, "open"), pull(8, "sign/x", nil, "open"), pull(7, "sign/y", here, "open"), merged, pull(3, "sign/x", here, "open"), pull(3, "sign/x", here, "open"),
		closed(6, map[string]any{"login": "Robot"}), closed(5, map[string]any{"login": "mallory"}), closed(4, nil)}
	f, h := open(t, func(n int, r *http.Request, _ string) (*http.Response, error) {
		if r.URL.Path == "/graphql" {
			return reply(200, `{"data":{"viewer":{"login":"robot"}}}`)
		}
		return reply(200, toJSON(t, list))
	})
	got, err := f.Pulls(t.Context(), "sign/x")
	want := `[{6 PR_6 abc main false false true true [ l] u} {5 PR_5 abc main false false true false [ l] u} {4 PR_4 abc main false false true false [ l] u} ` +
		`{3 PR_3 abc main true false true false [ l] u} {2 PR_2 abc main false true true false [ l] u}]`
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v\nwant %s", got, err, want)
	}
	if want := "https://api.github.com/repos/octo/tuf/pulls?direction=desc&head=octo%3Asign%2Fx&page=1&per_page=100&sort=created&state=all"; h.asked[0].url != want {
		t.Errorf("asked %s", h.asked[0].url)
	}
}

// pageLinks answers with a page of so many comments, and that there is a next.
func pageLinks(n int, next string) (*http.Response, error) {
	var b bytes.Buffer
	b.WriteString("[")
	for i := range 100 {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"id":%d,"body":"x"}`, n*100+i+1)
	}
	b.WriteString("]")
	return reply(200, b.String(), fmt.Sprintf(`Link: <https://api.github.com/x?page=%s>; rel="next"`, next))
}

// TestPagesEnd: a list that goes in circles ends, and one that does not end is
// an error and not taken for whole.
func TestPagesEnd(t *testing.T) {
	f, h := open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) { return pageLinks(n, fmt.Sprint(n+1)) })
	if list, err := f.comments(t.Context(), 1, readPulls); list != nil || !errors.Is(err, errTooMany) || err.Error() != "list the comments of #1: there are too many to read: more than 10000" || len(h.asked) != maxPages {
		t.Errorf("%d comments after %d requests: %v", len(list), len(h.asked), err)
	}
	for _, next := range []string{"1", "0", "-1", "x", ""} {
		f, h := open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) { return pageLinks(0, next) })
		if list, err := f.comments(t.Context(), 1, readPulls); len(list) != 100 || err != nil || len(h.asked) != 1 {
			t.Errorf("next %q: %d comments after %d requests: %v", next, len(list), len(h.asked), err)
		}
	}
	// Comments that are deleted meanwhile shift the pages; none counts twice.
	f, _ = open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) {
		if n == 1 {
			return pageLinks(0, "2")
		}
		return reply(200, `[{"id":100},{"id":7},{"id":101},null]`)
	})
	list, err := f.comments(t.Context(), 1, readPulls)
	if err != nil || len(list) != 101 || list[0].GetID() != 1 || list[100].GetID() != 101 {
		t.Errorf("%d comments: %v", len(list), err)
	}
}

func TestNewestStatus(t *testing.T) {
	f, _ := open(t, always(200, `{"statuses":[null,{"id":3,"context":"c","state":"pending"},{"id":9,"context":"d","state":"error"},
		{"id":5,"context":"c","state":"success","description":"d","target_url":"u"},{"id":4,"context":"c","state":"failure"}]}`))
	got, err := f.Status(t.Context(), "abc", "c")
	if err != nil || got == nil || *got != (signingevent.CommitStatus{Context: "c", State: "success", Description: "d", URL: "u"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := f.Status(t.Context(), "abc", "x"); got != nil || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöüß", 3, "äö…"}, {"äöü", 3, "äöü"}, {"a\xffc", 3, "a\ufffdc"},
		{strings.Repeat("\xff", 9), 3, "\ufffd"},
	} {
		if got := cut(test.in, test.n); got != test.want {
			t.Errorf("cut(%q, %d) = %q, want %q", test.in, test.n, got, test.want)
		}
	}
	for in, want := range map[string]string{"": "", "abc": "abc", "0123456789abcdef": "0123456789ab"} {
		if got := short(in); got != want {
			t.Errorf("short(%q) = %q", in, got)
		}
	}
	long := strings.Repeat("ä", 200)
	f, h := open(t, always(201, `{}`))
	if err := f.SetStatus(t.Context(), "abc", signingevent.CommitStatus{Context: "c", State: "success", Description: long}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(h.asked[0].body, "ä"); n != 139 || !utf8.ValidString(h.asked[0].body) {
		t.Errorf("%d characters are left: %s", n, h.asked[0].body)
	}
}

// FuzzAnswers: whatever a server says, no method panics, goes on for ever, or
// asks anybody else.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `[null]`, `[[]]`, `"x"`, `1e999`, `{"id":"x"}`, `[{"id":9223372036854775808}]`,
		`[{"number":1,"head":null,"base":{"repo":null},"user":null,"labels":[null]}]`,
		`{"data":{"viewer":{"login":"a"}}}`, `{"data":null,"errors":[null]}`, `{"errors":[{"type":"RATE_LIMITED"}]}`, `{"data":{"convertPullRequestToDraft":null}}`,
		`{"statuses":[null,{"context":null,"id":null}]}`, `{"workflow_runs":[null,{"head_branch":null}]}`, `{"workflow_runs":null}`,
		`{"message":null,"errors":null}`, `{"message":"x","errors":["y",{"code":1}]}`, `{"message":"x","errors":[null]}`, "<html>", "\xff\xfe",
		`[{"number":1,"state":"open","title":"Failure in w","labels":[{"name":"w"}],"user":{"login":"a"}}]`,
		`{"id":99,"token":"x","expires_at":"x"}`, `{"created_at":"x"}`,
	} {
		for _, status := range []int{200, 201, 403} {
			f.Add(status, body, `<https://api.github.com/x?page=2>; rel="next"`, "0", "1")
		}
	}
	for _, status := range []int{204, 307, 404, 422, 429, 500} {
		f.Add(status, `{"message":null}`, `https://evil.example`, "x", "-99999999999999999999")
	}
	f.Fuzz(func(t *testing.T, status int, body, link, remaining, reset string) {
		if status < 200 || status > 599 {
			t.Skip()
		}
		answer := func(n int, r *http.Request, _ string) (*http.Response, error) {
			if r.URL.Host != "api.github.com" || n > 5000 {
				t.Fatalf("request %d: %s %s", n, r.Method, r.URL)
			}
			w := &http.Response{StatusCode: status, Header: http.Header{"Link": {link}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset},
				"Retry-After": {reset}, "Location": {link}, "X-Accepted-Github-Permissions": {link}}, Body: http.NoBody}
			got, err := reply(status, body)
			w.Body = got.Body
			return w, err
		}
		app, _ := open(t, answer, "TUF_ON_CI_TOKEN=", "TUFOPS_APP_ID=1", "TUFOPS_APP_PRIVATE_KEY="+pkcs1())
		forge, _ := open(t, answer)
		for _, f := range []*Forge{app, forge} {
			f.client.Client().Transport.(*transport).budget.Tries = 2
		}
		_, _ = app.comments(t.Context(), 1, readPulls) // looks for its installation and gets a token first
		for _, c := range calls {
			_ = c.call(t.Context(), forge)
		}
		for _, name := range []string{"pulls", "statuses", "last run", "update issue"} {
			err := callOf(t, name)(t.Context(), forge)
			if err != nil && (err.Error() == "" || strings.Contains(err.Error(), "%!")) {
				t.Errorf("%s: %q", name, err)
			}
		}
	})
}
