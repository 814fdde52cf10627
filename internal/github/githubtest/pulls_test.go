package githubtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/github/githubtest"
)

// One bot's life through Google's client, and every route: what GitHub's schemas
// say of the answers is checked by the server.
func TestEveryRoute(t *testing.T) {
	for _, base := range []string{"", "/api/v3"} {
		t.Run("base "+base, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, githubtest.Options{BasePath: base})
			c, ctx := w.client(w.token), t.Context()
			r, _, err := c.Repositories.Get(ctx, "octo", "tuf")
			check(t, err)
			if r.GetFullName() != "octo/tuf" || r.GetDefaultBranch() != "main" || r.GetPrivate() {
				t.Errorf("the repository is %s with %s, private %v", r.GetFullName(), r.GetDefaultBranch(), r.GetPrivate())
			}
			head := w.Upstream.Head("sign/x")
			p, _, err := c.PullRequests.Create(ctx, "octo", "tuf", &github.NewPullRequest{
				Title: github.String("Sign"), Head: github.String("sign/x"), Base: github.String("main"), Body: github.String("b"), Draft: github.Bool(true)})
			check(t, err)
			if p.GetNumber() != 1 || !p.GetDraft() || p.GetHead().GetSHA() != head || p.GetUser().GetLogin() != githubtest.ActionsLogin ||
				p.GetCommits() != 1 || p.GetChangedFiles() != 1 || p.GetAdditions() != 1 {
				t.Errorf("opened %v", p)
			}
			p, _, err = c.PullRequests.Get(ctx, "octo", "tuf", 1)
			check(t, err)
			if p.GetTitle() != "Sign" || p.GetBody() != "b" || p.GetHTMLURL() != githubtest.Web+"/octo/tuf/pull/1" {
				t.Errorf("got %v", p)
			}
			list, _, err := c.PullRequests.List(ctx, "octo", "tuf", &github.PullRequestListOptions{Head: "octo:sign/x", State: "all"})
			check(t, err)
			if len(list) != 1 || list[0].GetNumber() != 1 || list[0].GetHead().GetRepo().GetFullName() != "octo/tuf" {
				t.Errorf("listed %v", list)
			}
			_, _, err = c.PullRequests.Edit(ctx, "octo", "tuf", 1, &github.PullRequest{Title: github.String("Sign it")})
			check(t, err)

			m, _, err := c.Issues.CreateComment(ctx, "octo", "tuf", 1, &github.IssueComment{Body: github.String("hello")})
			check(t, err)
			_, _, err = c.Issues.EditComment(ctx, "octo", "tuf", m.GetID(), &github.IssueComment{Body: github.String("bye")})
			check(t, err)
			m, _, err = c.Issues.GetComment(ctx, "octo", "tuf", m.GetID())
			check(t, err)
			if m.GetBody() != "bye" || m.GetUser().GetType() != "Bot" {
				t.Errorf("the comment is %v", m)
			}
			comments, _, err := c.Issues.ListComments(ctx, "octo", "tuf", 1, nil)
			check(t, err)
			if len(comments) != 1 || comments[0].GetID() != m.GetID() {
				t.Errorf("comments are %v", comments)
			}
			_, err = c.Issues.DeleteComment(ctx, "octo", "tuf", m.GetID())
			check(t, err)

			_, _, err = c.Repositories.CreateStatus(ctx, "octo", "tuf", head, &github.RepoStatus{
				State: github.String("pending"), Context: github.String("signing"), Description: github.String("1 of 2"), TargetURL: github.String("https://example.com/")})
			check(t, err)
			combined, _, err := c.Repositories.GetCombinedStatus(ctx, "octo", "tuf", "heads/sign/x", nil)
			check(t, err)
			if combined.GetState() != "pending" || combined.GetTotalCount() != 1 || combined.GetSHA() != head {
				t.Errorf("combined status is %v", combined)
			}
			statuses, _, err := c.Repositories.ListStatuses(ctx, "octo", "tuf", head, nil)
			check(t, err)
			if len(statuses) != 1 || statuses[0].GetDescription() != "1 of 2" || statuses[0].GetCreator().GetLogin() != githubtest.ActionsLogin {
				t.Errorf("statuses are %v", statuses)
			}
			commit, _, err := c.Repositories.GetCommit(ctx, "octo", "tuf", "sign/x", nil)
			check(t, err)
			if commit.GetSHA() != head || commit.GetCommit().GetMessage() != "work on sign/x" || commit.Parents[0].GetSHA() != w.Upstream.Head("main") {
				t.Errorf("the commit is %v", commit)
			}

			_, _, err = c.Issues.CreateLabel(ctx, "octo", "tuf", &github.Label{Name: github.String("root"), Color: github.String("ff0000")})
			check(t, err)
			_, _, err = c.Issues.AddLabelsToIssue(ctx, "octo", "tuf", 1, []string{"signing", "Root"})
			check(t, err)
			_, err = c.Issues.RemoveLabelForIssue(ctx, "octo", "tuf", 1, "signing")
			check(t, err)
			labels, _, err := c.Issues.ListLabelsByIssue(ctx, "octo", "tuf", 1, nil)
			check(t, err)
			if len(labels) != 1 || labels[0].GetName() != "root" {
				t.Errorf("the labels are %v", labels)
			}
			if labels, _, err = c.Issues.ListLabels(ctx, "octo", "tuf", nil); err != nil || len(labels) != 2 {
				t.Errorf("the repository's labels are %v, %v", labels, err)
			}

			i, _, err := c.Issues.Create(ctx, "octo", "tuf", &github.IssueRequest{Title: github.String("broken"), Labels: &[]string{"bug"}})
			check(t, err)
			_, _, err = c.Issues.Edit(ctx, "octo", "tuf", i.GetNumber(), &github.IssueRequest{State: github.String("closed")})
			check(t, err)
			i, _, err = c.Issues.Get(ctx, "octo", "tuf", 2)
			check(t, err)
			if i.GetState() != "closed" || i.GetClosedBy().GetLogin() != githubtest.ActionsLogin || i.IsPullRequest() {
				t.Errorf("the issue is %v", i)
			}
			issues, _, err := c.Issues.ListByRepo(ctx, "octo", "tuf", &github.IssueListByRepoOptions{State: "all"})
			check(t, err)
			if len(issues) != 2 || issues[0].GetNumber() != 2 || !issues[1].IsPullRequest() {
				t.Errorf("issues are %v", issues)
			}

			_, err = c.Actions.CreateWorkflowDispatchEventByFileName(ctx, "octo", "tuf", "publish.yml",
				github.CreateWorkflowDispatchEventRequest{Ref: "main", Inputs: map[string]any{"what": "all"}})
			check(t, err)
			runs, _, err := c.Actions.ListWorkflowRunsByFileName(ctx, "octo", "tuf", "publish.yml", nil)
			check(t, err)
			if runs.GetTotalCount() != 1 || runs.WorkflowRuns[0].GetHeadSHA() != w.Upstream.Head("main") || runs.WorkflowRuns[0].GetStatus() != "queued" {
				t.Errorf("runs are %v", runs)
			}

			person := w.client(w.AddToken(githubtest.Token{Login: "alice", Permissions: githubtest.All()}))
			u, _, err := person.Users.Get(ctx, "")
			check(t, err)
			if u.GetLogin() != "alice" || u.GetType() != "User" {
				t.Errorf("alice is %v", u)
			}
			if status, body := w.ask(w.token, "GET", repo+"/activity", ""); status != http.StatusOK || !strings.Contains(body, "refs/heads/sign/x") {
				t.Errorf("activity is %d %s", status, body)
			}
			if got := w.graphql(w.token, "{ viewer { login } }", nil); got != `{"data":{"viewer":{"login":"github-actions[bot]"}}}` {
				t.Errorf("viewer is %s", got)
			}
			w.installApp()
			a := w.client(w.jwt(map[string]any{}))
			_, _, err = a.Apps.Get(ctx, "")
			check(t, err)
			installation, _, err := a.Apps.FindRepositoryInstallation(ctx, "octo", "tuf")
			check(t, err)
			_, _, err = a.Apps.CreateInstallationToken(ctx, installation.GetID(), &github.InstallationTokenOptions{})
			check(t, err)

			seen := map[string]bool{}
			for _, r := range w.Requests() {
				if r.Status < 300 {
					seen[r.Route] = true
				}
			}
			for _, route := range githubtest.Routes() {
				if !seen[route] {
					t.Errorf("%s was not tried", route)
				}
			}
		})
	}
}

func TestPullFollowsItsBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	n := w.openPull("sign/x")
	next := w.push("sign/x")
	if p := w.Pull(n); p.HeadSHA != next || p.State != "open" {
		t.Errorf("after a push to %s it is %+v", next, p)
	}
	if ref := w.Upstream.Run("rev-parse", fmt.Sprintf("refs/pull/%d/head", n)); ref != next {
		t.Errorf("refs/pull/%d/head is %s, want %s", n, ref, next)
	}
	w.push("main")
	if p := w.Pull(n); p.HeadSHA != next || p.State != "open" {
		t.Errorf("after a push to main it is %+v", p)
	}
	w.ClosePull(n, "bob")
	w.push("sign/x")
	if p := w.Pull(n); p.HeadSHA != next || p.State != "closed" || p.Merged {
		t.Errorf("closed, and its branch pushed to, it is %+v", p)
	}
	w.Reopen(n)
	if p := w.Pull(n); p.HeadSHA != w.Upstream.Head("sign/x") || p.State != "open" {
		t.Errorf("reopened it is %+v", p)
	}
}

func TestPullEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		do     func(*world, int)
		state  string
		merged bool
	}{
		{"merged", func(w *world, n int) { w.Merge(n, githubtest.MergeCommit, "bob") }, "closed", true},
		{"squashed", func(w *world, n int) { w.Merge(n, githubtest.Squash, "bob") }, "closed", true},
		{"rebased", func(w *world, n int) { w.push("main"); w.Merge(n, githubtest.Rebase, "bob") }, "closed", true},
		{"merged by a push", func(w *world, n int) { w.clone.Push("origin/sign/x:refs/heads/main") }, "closed", true},
		{"squashed by a push", func(w *world, n int) {
			w.clone.Run("checkout", "--quiet", "--detach", "origin/main")
			w.clone.Run("merge", "--quiet", "--squash", "origin/sign/x")
			w.clone.Commit("by hand")
			w.clone.Push("HEAD:refs/heads/main")
		}, "open", false}, // GitHub does not see it either
		{"branch deleted", func(w *world, n int) { w.clone.Push(":refs/heads/sign/x") }, "closed", false},
		{"branch emptied", func(w *world, n int) { w.clone.Push("+origin/main:refs/heads/sign/x") }, "closed", false},
		{"base deleted", func(w *world, n int) {
			w.clone.Push("origin/main:refs/heads/release")
			w.ask(w.token, "PATCH", repo+"/pulls/1", `{"base": "release"}`)
			w.clone.Push(":refs/heads/release")
		}, "closed", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, githubtest.Options{})
			n := w.openPull("sign/x")
			head := w.Upstream.Head("sign/x")
			w.clone.Run("fetch", "--quiet", "origin")
			test.do(w, n)
			p := w.Pull(n)
			if p.State != test.state || p.Merged != test.merged {
				t.Errorf("it is %s, merged %v; want %s, %v", p.State, p.Merged, test.state, test.merged)
			}
			if test.merged {
				if p.MergeCommit != w.Upstream.Head("main") {
					t.Errorf("it was merged as %s, main is %s", p.MergeCommit, w.Upstream.Head("main"))
				}
				if got := w.Upstream.Run("cat-file", "-e", "main:sign-x"); got != "" {
					t.Errorf("main lacks the pull request's file: %s", got)
				}
			}
			if test.name != "branch emptied" && p.HeadSHA != head {
				t.Errorf("its head is %s, want %s", p.HeadSHA, head)
			}
			if got := len(w.numbers("?state=open")) == 1; got != (test.state == "open") {
				t.Errorf("listed as open: %v", got)
			}
			if !test.merged {
				return
			}
			if status, body := w.ask(w.token, "PATCH", repo+"/pulls/1", `{"state": "open"}`); status != 422 || !strings.Contains(body, "cannot be reopened") {
				t.Errorf("reopening says %d %s", status, body)
			}
		})
	}
}

func TestMergeMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	for i, test := range []struct {
		method  string
		parents int
		subject string
	}{
		{githubtest.MergeCommit, 2, "Merge pull request #1 from octo/sign/0"},
		{githubtest.Squash, 1, "Sign sign/1 (#2)"},
		{githubtest.Rebase, 1, "work on sign/2"},
	} {
		branch := fmt.Sprintf("sign/%d", i)
		w.push(branch)
		got := w.Merge(w.openPull(branch), test.method, "bob")
		parents := strings.Fields(w.Upstream.Run("show", "-s", "--format=%P", got))
		if subject := w.Upstream.Run("show", "-s", "--format=%s", got); len(parents) != test.parents || subject != test.subject || w.Upstream.Head("main") != got {
			t.Errorf("%s made %q with %d parents, want %q with %d", test.method, subject, len(parents), test.subject, test.parents)
		}
	}
	if last := w.Pushes()[len(w.Pushes())-1]; last.Kind != "pr_merge" || last.Actor != "bob" || last.After != w.Upstream.Head("main") {
		t.Errorf("the last push is %+v", last)
	}
}

func TestPullList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.clone.Run("fetch", "--quiet", "origin")
	w.clone.Push("origin/main:refs/heads/release")
	w.push("sign/y")
	w.openPull("sign/x")                                                                  // 1
	w.OpenPull("alice", "sign/x", "release", "the same to another base", "", true)        // 2
	w.openPull("sign/y")                                                                  // 3
	w.Fork("mallory", "sign/x", w.Upstream.Head("sign/y"))                                //
	w.OpenPull("mallory", "mallory:sign/x", "main", "not what it seems to be", "", false) // 4
	w.ClosePull(3, "alice")
	w.openPull("sign/y") // 5, since 3 is closed
	w.Comment(1, "bob", "hello")
	for _, test := range []struct {
		query string
		want  []int
	}{
		{"", []int{5, 4, 2, 1}},
		{"?state=all", []int{5, 4, 3, 2, 1}},
		{"?state=closed", []int{3}},
		{"?head=octo:sign/x", []int{2, 1}},
		{"?head=octo%3Asign%2Fy&state=all", []int{5, 3}},
		{"?head=mallory:sign/x", []int{4}},
		{"?head=sign/x", []int{5, 4, 2, 1}}, // ignored
		{"?head=octo:sign/none", []int{}},
		{"?base=release", []int{2}},
		{"?head=octo:sign/x&base=main", []int{1}},
		{"?direction=asc", []int{1, 2, 4, 5}},
		{"?sort=updated", []int{2, 4, 5, 1}},
		{"?sort=updated&direction=desc", []int{1, 5, 4, 2}},
		{"?state=all&per_page=2&page=2", []int{3, 2}},
		{"?per_page=2&page=9", []int{}},
	} {
		if got := w.numbers(test.query); !slices.Equal(got, test.want) {
			t.Errorf("%q lists %v, want %v", test.query, got, test.want)
		}
	}
	status, body := w.ask(w.token, "GET", repo+"/pulls/4", "")
	var p github.PullRequest
	check(t, json.Unmarshal([]byte(body), &p))
	if status != 200 || p.GetHead().GetRepo().GetFullName() != "mallory/tuf" || !p.GetHead().GetRepo().GetFork() || p.GetHead().GetRef() != "sign/x" ||
		p.GetHead().GetLabel() != "mallory:sign/x" || p.GetBase().GetRepo().GetFullName() != "octo/tuf" {
		t.Errorf("the pull request from a fork is %s", body)
	}
	if got := w.clone.Run("ls-remote", "--heads", "origin"); strings.Contains(got, "mallory") {
		t.Errorf("a clone sees the fork: %s", got)
	}
}

func TestPullRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Lenient: true}) // what breaks the schema is refused too
	w.clone.Run("fetch", "--quiet", "origin")
	w.clone.Push("origin/main:refs/heads/even", "origin/main:refs/heads/release")
	w.clone.Run("checkout", "--quiet", "--orphan", "apart")
	w.clone.Commit("another beginning")
	w.clone.Push("HEAD:refs/heads/apart")
	w.push("sign/y")
	w.openPull("sign/x")
	w.openPull("sign/y")
	w.ClosePull(2, "alice")
	w.clone.Push(":refs/heads/sign/y")
	w.push("sign/z")
	person := w.AddToken(githubtest.Token{Login: "alice", Permissions: githubtest.All()})
	create := func(head, base, more string) string {
		return fmt.Sprintf(`{"title": "t", "head": %q, "base": %q%s}`, head, base, more)
	}
	long := strings.Repeat("é", 65537)
	for _, test := range []struct {
		name         string
		settings     githubtest.Settings
		token        string
		method, path string
		body         string
		status       int
		says         string
	}{
		{"exists", githubtest.Settings{}, w.token, "POST", "/pulls", create("sign/x", "main", ""), 422, "A pull request already exists for octo:sign/x."},
		{"exists, with the owner", githubtest.Settings{}, w.token, "POST", "/pulls", create("octo:sign/x", "main", ""), 422, "A pull request already exists for octo:sign/x."},
		{"no commits", githubtest.Settings{}, w.token, "POST", "/pulls", create("even", "main", ""), 422, "No commits between main and even"},
		{"no common history", githubtest.Settings{}, w.token, "POST", "/pulls", create("apart", "main", ""), 422, "has no history in common with main"},
		{"no head", githubtest.Settings{}, w.token, "POST", "/pulls", create("sign/none", "main", ""), 422, `"field":"head"`},
		{"no base", githubtest.Settings{}, w.token, "POST", "/pulls", create("sign/z", "none", ""), 422, `"field":"base"`},
		{"no title", githubtest.Settings{}, w.token, "POST", "/pulls", `{"head": "sign/z", "base": "main"}`, 422, `"code":"missing_field"`},
		{"nothing", githubtest.Settings{}, w.token, "POST", "/pulls", `{}`, 422, `"title"`},
		{"no JSON", githubtest.Settings{}, w.token, "POST", "/pulls", `{"title":`, 400, "Problems parsing JSON"},
		{"wrong type", githubtest.Settings{}, w.token, "POST", "/pulls", `{"title": 1}`, 422, "Invalid request."},
		{"long title", githubtest.Settings{}, w.token, "POST", "/pulls", `{"title": "` + strings.Repeat("x", 257) + `", "head": "sign/z", "base": "main"}`, 422, "maximum is 256"},
		{"long body", githubtest.Settings{}, w.token, "POST", "/pulls", create("sign/z", "main", `, "body": "`+long+`"`), 422, "maximum is 65536"},
		{"no drafts", githubtest.Settings{NoDrafts: true}, w.token, "POST", "/pulls", create("sign/z", "main", `, "draft": true`), 422, "Draft pull requests are not supported in this repository."},
		{"Actions may not", githubtest.Settings{ActionsOpenNoPulls: true}, w.token, "POST", "/pulls", create("sign/z", "main", ""), 403, "GitHub Actions is not permitted to create or approve pull requests."},
		{"no such pull", githubtest.Settings{}, w.token, "GET", "/pulls/99", "", 404, "Not Found"},
		{"no number", githubtest.Settings{}, w.token, "GET", "/pulls/x", "", 404, "Not Found"},
		{"base to nowhere", githubtest.Settings{}, w.token, "PATCH", "/pulls/1", `{"base": "none"}`, 422, `"field":"base"`},
		{"base of a closed one", githubtest.Settings{}, w.token, "PATCH", "/pulls/2", `{"base": "release"}`, 422, "Cannot change the base branch of a closed pull request."},
		{"reopen without a branch", githubtest.Settings{}, w.token, "PATCH", "/pulls/2", `{"state": "open"}`, 422, "state cannot be changed. The sign/y branch has been deleted."},
		{"title away", githubtest.Settings{}, w.token, "PATCH", "/pulls/1", `{"title": ""}`, 422, `"field":"title"`},
		{"another state", githubtest.Settings{}, w.token, "PATCH", "/pulls/1", `{"state": "merged"}`, 422, `"field":"state"`},
		{"another repository", githubtest.Settings{}, w.token, "GET", "/../other/pulls", "", 404, "Not Found"},
		// What is refused to one is not refused to all.
		{"a person may", githubtest.Settings{ActionsOpenNoPulls: true, NoDrafts: true}, person, "POST", "/pulls", create("sign/z", "main", ""), 201, `"number":3`},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(w.Pulls())
			w.Configure(func(s *githubtest.Settings) { *s = test.settings })
			path := repo + test.path
			if test.name == "another repository" {
				path = "/repos/octo/other/pulls"
			}
			status, body := w.ask(test.token, test.method, path, test.body)
			if status != test.status || !strings.Contains(body, test.says) {
				t.Errorf("it answers %d %s, want %d %s", status, body, test.status, test.says)
			}
			if after := len(w.Pulls()); status >= 400 && after != before {
				t.Errorf("refused, and there are %d pull requests, not %d", after, before)
			}
		})
	}
}

func TestReopenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	w.ClosePull(1, "alice")
	w.openPull("sign/x")
	reopen := func(want string) {
		t.Helper()
		if status, body := w.ask(w.token, "PATCH", repo+"/pulls/1", `{"state": "open"}`); status != 422 || !strings.Contains(body, want) {
			t.Errorf("reopening says %d %s, want %s", status, body, want)
		}
		if p := w.Pull(1); p.State != "closed" {
			t.Errorf("it is %s", p.State)
		}
	}
	reopen("already exists")
	w.ClosePull(2, "alice")
	w.clone.Run("checkout", "--quiet", "--detach", "origin/main")
	w.clone.WriteFile("other", "1")
	w.clone.Commit("begun again")
	w.clone.Push("+HEAD:refs/heads/sign/x")
	reopen("force-pushed or recreated")
}

func TestPatchPull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Lenient: true}) // for draft, which the schema does not have
	w.clone.Run("fetch", "--quiet", "origin")
	w.clone.Push("origin/main:refs/heads/release")
	w.OpenPull("alice", "sign/x", "main", "t", "b", true)
	status, body := w.ask(w.token, "PATCH", repo+"/pulls/1", `{"title": "t2", "body": "b2", "base": "release", "draft": false}`)
	p := w.Pull(1)
	if status != 200 || p.Title != "t2" || p.Body != "b2" || p.Base != "release" || p.State != "open" {
		t.Errorf("it says %d %s, and is %+v", status, body, p)
	}
	if !p.Draft {
		t.Error("REST has made it ready, which GitHub's does not")
	}
	w.ask(w.token, "PATCH", repo+"/pulls/1", `{"state": "closed"}`)
	if p := w.Pull(1); p.State != "closed" || p.Title != "t2" {
		t.Errorf("closed it is %+v", p)
	}
	w.ask(w.token, "PATCH", repo+"/pulls/1", `{"state": "open"}`)
	if p := w.Pull(1); p.State != "open" {
		t.Errorf("reopened it is %+v", p)
	}
	if violations := strings.Join(w.Violations(), "\n"); githubtest.HaveSchemas() && !strings.Contains(violations, `"draft"`) {
		t.Errorf("nobody says that GitHub ignores draft: %q", violations)
	}
}
