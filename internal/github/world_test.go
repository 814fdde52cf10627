package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/signingevent"
)

// world is a GitHub with a commit on main and one more on sign/x, and a forge
// that writes to it with the default token of a workflow.
type world struct {
	*githubtest.Server
	*Forge
	t     *testing.T
	clone *gittest.Repo
	head  string // of sign/x
	token string

	pull       signingevent.Pull // of sign/x, where a test has opened one
	dispatched int               // of which a test has taken note

	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newWorld(t *testing.T, o githubtest.Options) *world {
	t.Helper()
	w := emptyWorld(t, o)
	w.clone = w.Upstream.Clone("alice")
	w.clone.WriteFile(".github/workflows/publish.yml", "on:\n  workflow_dispatch:\n    inputs:\n      what: {}\n")
	w.clone.WriteFile(".github/workflows/test.yml", "on: push\n")
	w.clone.Commit("first")
	w.clone.Push("HEAD:main")
	w.head = w.push("sign/x")
	return w
}

// emptyWorld is without a commit, which is enough for issues.
func emptyWorld(t *testing.T, o githubtest.Options) *world {
	t.Helper()
	w := &world{t: t, now: gittest.Epoch}
	o.Now = w.time
	w.Server = githubtest.New(t, o)
	w.token = w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	w.Forge = w.open(w.Endpoint(""), w.token)
	return w
}

// time is the clock of both sides. It moves while somebody sleeps, and a little
// whenever it is looked at.
func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(time.Millisecond)
	return w.now
}

func (w *world) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
	w.slept = append(w.slept, d)
	return ctx.Err()
}

func (w *world) push(branch string) string {
	w.t.Helper()
	w.clone.Run("checkout", "--quiet", "--detach", "origin/main")
	w.clone.WriteFile(strings.ReplaceAll(branch, "/", "-"), branch)
	commit := w.clone.Commit("work on " + branch)
	w.clone.Push("HEAD:refs/heads/" + branch)
	return commit
}

func (w *world) open(at githubtest.Endpoint, token string, vars ...string) *Forge {
	w.t.Helper()
	f, err := FromEnv(env(append(vars, "GITHUB_REPOSITORY=octo/tuf", "GITHUB_API_URL="+at.REST, "GITHUB_GRAPHQL_URL="+at.GraphQL,
		"GITHUB_SERVER_URL=https://github.example", "GITHUB_TOKEN="+token)...), Options{
		Now: w.time, Sleep: w.sleep,
		// A new connection each time: Go asks again by itself where one that was
		// in use is dropped.
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// must is for calls that succeed.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestEvent plays what a bot does for one event, on github.com and on GitHub
// Enterprise Server, with each kind of token.
func TestEvent(t *testing.T) {
	for _, test := range []struct{ name, base, as string }{
		{"github.com", "", "workflow"}, {"enterprise server", "/api/v3", "workflow"}, {"personal token", "", "personal"}, {"app", "/api/v3", "app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, githubtest.Options{BasePath: test.base})
			ctx, self := t.Context(), githubtest.ActionsLogin
			switch test.as {
			case "personal":
				self = "robot"
				w.Forge = w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Login: self, Permissions: githubtest.All()}))
			case "app":
				self = "tuf-bot[bot]"
				w.InstallApp(githubtest.App{ID: 5, ClientID: "Iv1.app", Slug: "tuf-bot", Key: &appKey().PublicKey, InstallationID: 99, Permissions: githubtest.All()})
				w.Forge = w.open(w.Endpoint(""), w.token, "TUFOPS_APP_ID=5", "TUFOPS_APP_PRIVATE_KEY="+pkcs8(t, appKey()))
			}
			if got := must(w.Self(ctx))(t); got != self {
				t.Errorf("self is %q, want %q", got, self)
			}
			if got := must(w.PushStartsWorkflows(ctx))(t); got != (test.as != "workflow") {
				t.Errorf("a push starts workflows: %v", got)
			}
			if got := must(w.Forge.Pulls(ctx, "sign/x"))(t); got != nil {
				t.Errorf("pull requests %+v", got)
			}

			// GitHub's description has it that a label in a list of pull requests has
			// a description.
			label := "ready, 100%/all"
			if _, _, err := w.client.Issues.CreateLabel(ctx, "octo", "tuf", &gh.Label{Name: &label, Description: gh.String("text"), Color: gh.String("ededed")}); err != nil {
				t.Fatal(err)
			}

			made := must(w.Forge.OpenPull(ctx, signingevent.NewPull{Branch: "sign/x", Base: "main", Title: "Sign x", Body: "text", Draft: true}))(t)
			listed := must(w.Forge.Pulls(ctx, "sign/x"))(t)
			if len(listed) != 1 || fmt.Sprint(listed[0]) != fmt.Sprint(made) || made.Head != w.head || made.Base != "main" || !made.Open || made.Merged || !made.Draft || made.ID == "" || !strings.HasSuffix(made.URL, "/pull/1") {
				t.Errorf("made %+v, listed %+v", made, listed)
			}
			if p := w.Pull(made.Number); p.Title != "Sign x" || p.Body != "text" || p.Author != self || !p.Draft {
				t.Errorf("pull request %+v", p)
			}

			for _, draft := range []bool{false, false, true, true, false} {
				if err := w.Forge.SetDraft(ctx, made, draft); err != nil || w.Pull(1).Draft != draft {
					t.Errorf("draft %v: %v", draft, err)
				}
			}
			for _, on := range []bool{true, true, false, false, true} {
				if err := w.SetLabel(ctx, made, label, on); err != nil || slices.Contains(w.Pull(1).Labels, label) != on {
					t.Errorf("label %v: %v, %q", on, err, w.Pull(1).Labels)
				}
			}
			if got := must(w.Forge.Pulls(ctx, "sign/x"))(t); !slices.Equal(got[0].Labels, []string{label}) || got[0].Draft {
				t.Errorf("listed %+v", got)
			}

			one := must(w.CreateComment(ctx, 1, "one\n<!-- x -->"))(t)
			w.Comment(1, "alice", "two")
			if err := w.Forge.EditComment(ctx, one.ID, "changed"); err != nil {
				t.Error(err)
			}
			got := must(w.Forge.Comments(ctx, 1))(t)
			if len(got) != 2 || got[0].ID != one.ID || got[0].Author != self || got[0].Body != "changed" || got[1].Author != "alice" || got[0].URL == "" {
				t.Errorf("comments %+v", got)
			}
			for range 2 {
				if err := w.Forge.DeleteComment(ctx, one.ID); err != nil || len(w.Server.Comments(1)) != 1 {
					t.Errorf("%v; comments %+v", err, w.Server.Comments(1))
				}
			}

			if got := must(w.Status(ctx, w.head, "tufops"))(t); got != nil {
				t.Errorf("status %+v", got)
			}
			for _, want := range []signingevent.CommitStatus{
				{Context: "tufops", State: "pending", Description: "waits for @alice", URL: "https://github.example/x"},
				{Context: "other", State: "error"},
				{Context: "tufops", State: "success"},
			} {
				if err := w.SetStatus(ctx, w.head, want); err != nil {
					t.Fatal(err)
				}
				if got := must(w.Status(ctx, w.head, want.Context))(t); got == nil || *got != want {
					t.Errorf("status %+v, want %+v", got, want)
				}
			}
			if err := w.SetStatus(ctx, w.head, signingevent.CommitStatus{Context: "long", State: "success", Description: strings.Repeat("ä", 300)}); err != nil {
				t.Error(err)
			}

			if got := must(w.LastRun(ctx, "publish.yml", "main"))(t); got != nil {
				t.Errorf("run %+v", got)
			}
			w.AddRun("publish.yml", "push", "main", "alice", "failure")
			w.AddRun("publish.yml", "push", "sign/x", "alice", "success")
			if got := must(w.LastRun(ctx, "publish.yml", "main"))(t); got == nil || *got != (Run{Head: w.Upstream.Head("main"), Status: "completed", Conclusion: "failure"}) {
				t.Errorf("run %+v", got)
			}
			if err := w.Dispatch(ctx, "publish.yml", "main", map[string]string{"what": "all"}); err != nil {
				t.Error(err)
			}
			if d := w.Dispatches(); len(d) != 1 || d[0].Workflow != "publish.yml" || d[0].Ref != "main" || d[0].Inputs["what"] != "all" || d[0].Login != self {
				t.Errorf("dispatches %+v", d)
			}
			if got := must(w.LastRun(ctx, "publish.yml", "main"))(t); got == nil || got.Status != "queued" || got.Conclusion != "" {
				t.Errorf("run %+v", got)
			}
			for _, refused := range []struct{ workflow, branch, input string }{{"none.yml", "main", "what"}, {"test.yml", "main", "what"}, {"publish.yml", "none", "what"}, {"publish.yml", "main", "other"}} {
				if err := w.Dispatch(ctx, refused.workflow, refused.branch, map[string]string{refused.input: "x"}); !errors.Is(err, signingevent.ErrNotFound) {
					t.Errorf("%+v: %v", refused, err)
				}
			}
			if _, err := w.LastRun(ctx, "none.yml", "main"); !errors.Is(err, signingevent.ErrNotFound) {
				t.Error(err)
			}

			if _, err := w.Forge.OpenPull(ctx, signingevent.NewPull{Branch: "sign/x", Base: "main", Title: "again"}); !errors.Is(err, signingevent.ErrExists) {
				t.Error(err)
			}
			w.Merge(1, githubtest.MergeCommit, "alice")
			if got := must(w.Forge.Pulls(ctx, "sign/x"))(t); len(got) != 1 || got[0].Open || !got[0].Merged {
				t.Errorf("after the merge %+v", got)
			}
			if len(w.slept) != 0 {
				t.Errorf("slept %v", w.slept)
			}
		})
	}
}

// TestManyComments: a status comment is found also where people have talked a
// lot.
func TestManyComments(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.Server.OpenPull("alice", "sign/x", "main", "t", "b", true)
	for i := range 250 {
		w.Comment(1, "alice", fmt.Sprint(i))
	}
	got := must(w.Forge.Comments(t.Context(), 1))(t)
	for i, c := range got {
		if c.Body != fmt.Sprint(i) {
			t.Fatalf("comment %d is %q", i, c.Body)
		}
	}
	if len(got) != 250 {
		t.Errorf("%d comments", len(got))
	}
}

// TestOwnComments: what we have written is known by its author and by what kind
// of account that is, since a person can have an app's name without [bot].
func TestOwnComments(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.Server.OpenPull("alice", "sign/x", "main", "t", "b", true)
	w.InstallApp(githubtest.App{ID: 5, ClientID: "Iv1.app", Slug: "tuf-bot", Key: &appKey().PublicKey, InstallationID: 99, Permissions: githubtest.All()})
	authors := []string{"tuf-bot", "tuf-bot[bot]", "github-actions", githubtest.ActionsLogin, "robot", "Robot2", "alice"}
	for _, author := range authors {
		w.Comment(1, author, "<!-- tufops:status -->")
	}
	for self, f := range map[string]*Forge{
		"tuf-bot[bot]":          w.open(w.Endpoint(""), w.token, "TUFOPS_APP_ID=5", "TUFOPS_APP_PRIVATE_KEY="+pkcs8(t, appKey())),
		githubtest.ActionsLogin: w.Forge,
		"robot":                 w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Login: "robot", Permissions: githubtest.All()})),
	} {
		list := must(f.Comments(t.Context(), 1))(t)
		if len(list) != len(authors) {
			t.Fatalf("%d comments", len(list))
		}
		for i, c := range list {
			if c.Author != authors[i] || c.Own != (authors[i] == self) {
				t.Errorf("as %s: the comment of %s is by %s, own %v", self, authors[i], c.Author, c.Own)
			}
		}
	}
}

// TestPagesOfComments: whatever pages say, reading them ends, and no comment
// counts twice.
func TestPagesOfComments(t *testing.T) {
	answer := func(ids, info string) string {
		return `{"data":{"viewer":{"login":"robot"},"repository":{"pullRequest":{"comments":{"nodes":[` + ids + `],"pageInfo":` + info + `}}}}}`
	}
	for _, test := range []struct {
		name, ids, info string
		comments, asked int
		fails           bool
	}{
		{"the same cursor again", `{"fullDatabaseId":"1"}`, `{"hasNextPage":true,"endCursor":"x"}`, 1, 2, false},
		{"no cursor", `{"fullDatabaseId":"1"}`, `{"hasNextPage":true}`, 1, 1, false},
		{"nonsense", `null,{"fullDatabaseId":"one"},{"fullDatabaseId":"-3"},{"fullDatabaseId":"2","author":null},{"fullDatabaseId":"2"}`, `{"hasNextPage":false}`, 1, 1, false},
		{"without end", `{"fullDatabaseId":"1"}`, `{"hasNextPage":true,"endCursor":"%d"}`, 0, maxPages, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, h := open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) {
				info := test.info
				if strings.Contains(info, "%d") {
					info = fmt.Sprintf(info, n)
				}
				return reply(200, answer(test.ids, info))
			})
			list, err := f.Comments(t.Context(), 1)
			if len(list) != test.comments || (err != nil) != test.fails || err != nil && !errors.Is(err, errTooMany) || len(h.asked) != test.asked {
				t.Errorf("%d comments after %d requests, error %v", len(list), len(h.asked), err)
			}
		})
	}
}

// TestPullsOfForks: a fork can have a branch of the same name.
func TestPullsOfForks(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.Fork("mallory", "sign/x", w.head)
	w.Server.OpenPull("mallory", "mallory:sign/x", "main", "t", "b", false)
	if got := must(w.Forge.Pulls(t.Context(), "sign/x"))(t); got != nil {
		t.Errorf("pull requests of a fork: %+v", got)
	}
	closed := w.Server.OpenPull("alice", "sign/x", "main", "t", "b", false)
	w.ClosePull(closed, "alice")
	newest := w.Server.OpenPull("alice", "sign/x", "main", "t", "b", false)
	got := must(w.Forge.Pulls(t.Context(), "sign/x"))(t)
	if len(got) != 2 || got[0].Number != newest || got[1].Number != closed || got[1].Open {
		t.Errorf("pull requests %+v", got)
	}
}

// TestSettings: what the repository does not allow is told apart.
func TestSettings(t *testing.T) {
	pull := signingevent.NewPull{Branch: "sign/x", Base: "main", Title: "t", Draft: true}
	w := newWorld(t, githubtest.Options{Settings: githubtest.Settings{NoDrafts: true}})
	if _, err := w.Forge.OpenPull(t.Context(), pull); !errors.Is(err, signingevent.ErrNoDrafts) {
		t.Error(err)
	}
	pull.Draft = false
	made := must(w.Forge.OpenPull(t.Context(), pull))(t)
	if err := w.Forge.SetDraft(t.Context(), made, true); !errors.Is(err, signingevent.ErrNoDrafts) || errors.As(err, new(*signingevent.PermissionError)) {
		t.Error(err)
	}
	w = newWorld(t, githubtest.Options{Settings: githubtest.Settings{ActionsOpenNoPulls: true}})
	_, err := w.Forge.OpenPull(t.Context(), pull)
	if !errors.As(err, new(*signingevent.PermissionError)) || !strings.Contains(hintOf(err), `"Allow GitHub Actions to create and approve pull requests"`) {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
}

// TestPermissions takes one permission after the other away from a token for a
// private repository: what needs it says so, and the rest works.
func TestPermissions(t *testing.T) {
	ctx := t.Context()
	type call struct {
		name, needs string // permissions as GitHub's API spells them
		do          func(*Forge, signingevent.Pull) error
	}
	calls := []call{
		{"Pulls", "pull_requests", func(f *Forge, _ signingevent.Pull) error { _, err := f.Pulls(ctx, "sign/x"); return err }},
		{"OpenPull", "pull_requests", func(f *Forge, _ signingevent.Pull) error {
			_, err := f.OpenPull(ctx, signingevent.NewPull{Branch: "sign/x", Base: "main", Title: "t"})
			if errors.Is(err, signingevent.ErrExists) {
				return nil
			}
			return err
		}},
		{"SetDraft", "pull_requests contents", func(f *Forge, p signingevent.Pull) error { return f.SetDraft(ctx, p, true) }},
		{"SetStatus", "statuses", func(f *Forge, p signingevent.Pull) error {
			return f.SetStatus(ctx, p.Head, signingevent.CommitStatus{Context: "c", State: "success"})
		}},
		{"Status", "statuses", func(f *Forge, p signingevent.Pull) error { _, err := f.Status(ctx, p.Head, "c"); return err }},
		{"Dispatch", "actions", func(f *Forge, _ signingevent.Pull) error { return f.Dispatch(ctx, "publish.yml", "main", nil) }},
		{"LastRun", "actions", func(f *Forge, _ signingevent.Pull) error { _, err := f.LastRun(ctx, "publish.yml", "main"); return err }},
	}
	w := newWorld(t, githubtest.Options{Settings: githubtest.Settings{Private: true}})
	pull := must(w.Forge.OpenPull(ctx, signingevent.NewPull{Branch: "sign/x", Base: "main", Title: "t", Draft: true}))(t)
	for _, missing := range []string{"none", "pull_requests", "statuses", "actions", "contents"} {
		f := w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All().Without(missing)}))
		for _, c := range calls {
			err := c.do(f, pull)
			var permission *signingevent.PermissionError
			if !strings.Contains(c.needs, missing) {
				if err != nil {
					t.Errorf("%s without %s: %v", c.name, missing, err)
				}
				continue
			}
			if !errors.As(err, &permission) || !strings.Contains(permission.Permission, strings.ReplaceAll(missing, "_", "-")) {
				t.Errorf("%s without %s: %v", c.name, missing, err)
			}
		}
	}
	// A token that may nothing does not even see the repository.
	f := w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Login: "mallory"}))
	if _, err := f.Pulls(ctx, "sign/x"); !errors.Is(err, signingevent.ErrNotFound) || !strings.Contains(err.Error(), "octo/tuf is not there or not visible to the token") {
		t.Error(err)
	}
}

// TestPrimaryLimit: a token that has used up its hour waits for the next one if
// that is soon.
func TestPrimaryLimit(t *testing.T) {
	w := newWorld(t, githubtest.Options{})
	w.Limit(w.token, 1, w.time().Add(2*time.Minute))
	for range 3 {
		if _, err := w.Forge.Pulls(t.Context(), "sign/x"); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.slept) != 1 || w.slept[0] < 110*time.Second {
		t.Errorf("slept %v", w.slept)
	}
	w.Limit(w.token, 0, w.time().Add(2*time.Minute))
	if _, err := w.Self(t.Context()); err != nil || len(w.slept) != 2 {
		t.Errorf("%v, slept %v", err, w.slept)
	}
	w.Limit(w.token, 0, w.time().Add(time.Hour))
	if _, err := w.Forge.Pulls(t.Context(), "sign/x"); err == nil || len(w.slept) != 2 || !strings.Contains(hintOf(err), "no more requests before") {
		t.Errorf("%v, slept %v", err, w.slept)
	}
}

// write is one write to GitHub, what it leaves, and how that is taken back.
type write struct {
	name    string
	creates bool
	do      func(context.Context, *world) error
	left    func(*world) string
	undo    func(context.Context, *world)
}

var writes = []write{
	{"OpenPull", true, func(ctx context.Context, w *world) error {
		_, err := w.Forge.OpenPull(ctx, signingevent.NewPull{Branch: "sign/y", Base: "main", Title: "t"})
		return err
	}, func(w *world) string {
		open := 0
		for _, p := range w.Server.Pulls() {
			if p.State == "open" {
				open++
			}
		}
		return fmt.Sprint(open)
	}, func(_ context.Context, w *world) {
		for _, p := range w.Server.Pulls() {
			if p.State == "open" && p.Head == "sign/y" {
				w.ClosePull(p.Number, "alice")
			}
		}
	}},
	{"CreateComment", true, func(ctx context.Context, w *world) error {
		_, err := w.CreateComment(ctx, 1, "new")
		return err
	}, leftComments, onlyFirstComment},
	{"Dispatch", true, func(ctx context.Context, w *world) error { return w.Dispatch(ctx, "publish.yml", "main", nil) },
		func(w *world) string { return fmt.Sprint(len(w.Dispatches()) - w.dispatched) },
		func(_ context.Context, w *world) { w.dispatched = len(w.Dispatches()) }},
	{"EditComment", false, func(ctx context.Context, w *world) error {
		return w.Forge.EditComment(ctx, w.Server.Comments(1)[0].ID, "changed")
	}, leftComments, onlyFirstComment},
	{"DeleteComment", false, func(ctx context.Context, w *world) error {
		return w.Forge.DeleteComment(ctx, w.Server.Comments(1)[0].ID)
	}, leftComments, onlyFirstComment},
	{"SetLabel", false, func(ctx context.Context, w *world) error {
		return w.SetLabel(ctx, signingevent.Pull{Number: 1}, "new", true)
	}, leftLabels, onlyOldLabel},
	{"SetLabel off", false, func(ctx context.Context, w *world) error {
		return w.SetLabel(ctx, signingevent.Pull{Number: 1}, "old", false)
	}, leftLabels, onlyOldLabel},
	{"SetDraft", false, func(ctx context.Context, w *world) error { return w.Forge.SetDraft(ctx, w.pull, true) },
		func(w *world) string { return fmt.Sprint(w.Pull(1).Draft) },
		func(_ context.Context, w *world) { w.Server.SetDraft(1, false) }},
	{"SetStatus", false, func(ctx context.Context, w *world) error {
		return w.SetStatus(ctx, w.head, signingevent.CommitStatus{Context: "c", State: "success"})
	}, func(w *world) string {
		all := w.Statuses(w.head)
		return all[len(all)-1].State
	}, func(ctx context.Context, w *world) {
		if err := w.SetStatus(ctx, w.head, signingevent.CommitStatus{Context: "c", State: "pending"}); err != nil {
			w.t.Fatal(err)
		}
	}},
}

func leftComments(w *world) string { return bodies(w.Server.Comments(1)) }
func leftLabels(w *world) string   { return fmt.Sprint(w.Pull(1).Labels) }

func onlyFirstComment(_ context.Context, w *world) {
	for _, c := range w.Server.Comments(1) {
		w.Server.DeleteComment(c.ID)
	}
	w.Comment(1, githubtest.ActionsLogin, "first")
}

func onlyOldLabel(_ context.Context, w *world) { w.Label(1, "old") }

func bodies(comments []githubtest.Comment) string {
	var all []string
	for _, c := range comments {
		all = append(all, c.Body)
	}
	return strings.Join(all, "|")
}

// TestFaults breaks every request of every write, before and after it is
// carried out, over real sockets. What is not new is done in the end, once. What
// is new is made at most once, and if it is not known whether it was, that is
// said.
func TestFaults(t *testing.T) {
	for _, write := range writes {
		t.Run(write.name, func(t *testing.T) {
			ctx := t.Context()
			w := newWorld(t, githubtest.Options{})
			w.push("sign/y")
			w.Server.OpenPull("alice", "sign/x", "main", "t", "b", false)
			w.pull = must(w.Forge.Pulls(ctx, "sign/x"))(t)[0]
			write.undo(ctx, w)
			before, first := write.left(w), len(w.Requests())
			if err := write.do(ctx, w); err != nil {
				t.Fatal(err)
			}
			after, requests := write.left(w), len(w.Requests())-first
			if before == after || requests != 1 {
				t.Fatalf("it leaves %q, as it was, or makes %d requests", after, requests)
			}
			for name, f := range map[string]githubtest.Fault{
				"dropped before": {Drop: true}, "dropped after": {Drop: true, Done: true},
				"502 before": {Status: 502}, "502 after": {Status: 502, Done: true},
				"500 before": {Status: 500}, "500 after": {Status: 500, Done: true},
				"secondary limit": githubtest.SecondaryLimit(403, 7), "429": githubtest.SecondaryLimit(429, 7),
			} {
				t.Run(name, func(t *testing.T) {
					write.undo(ctx, w)
					w.slept = nil
					first := len(w.Requests())
					f.On = githubtest.Nth(first + 1)
					w.Inject(f)
					defer w.Heal()
					err := write.do(ctx, w)
					got, made := write.left(w), len(w.Requests())-first
					if !write.creates || len(f.Header) > 0 {
						if err != nil || got != after || len(w.slept) != 1 || made != 2 {
							t.Errorf("leaves %q, want %q; %d requests, slept %v: %v", got, after, made, w.slept, err)
						}
						return
					}
					want := before
					if f.Done {
						want = after
					}
					var gone *UnavailableError
					if !errors.As(err, &gone) || !gone.MayBeDone || got != want || len(w.slept) != 0 || made != 1 {
						t.Errorf("leaves %q, want %q; %d requests, slept %v: %v", got, want, made, w.slept, err)
					}
				})
			}
		})
	}
}
