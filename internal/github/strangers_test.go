package github_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// TestStrangersBranches: a branch from which the workflow cannot be started, or a
// tag that looks like an event, fails nothing for the others.
func TestStrangersBranches(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	s.Run("switch", "-q", "-c", "stranger", "main")
	s.WriteFile(".github/workflows/"+workflow, "on: push\n")
	s.Commit("a workflow of mine")
	s.Run("push", "-q", "origin", "HEAD:sign/a", "HEAD:refs/tags/refs/heads/sign/tag", "HEAD:other/refs/heads/sign/deep")
	f := s.forge(s.gh.Endpoint(""))
	started, err := signingevent.Reevaluate(context.Background(), s.checkout("main"), f, workflow)
	if err != nil || !slices.Equal(started, []string{Event}) {
		t.Errorf("started %q, %v", started, err)
	}
	events := []signingevent.NewEvent{{Branch: "sign/a"}, {Branch: Event}}
	started, err = signingevent.StartEvents(context.Background(), f, workflow, events, false)
	if err != nil || !slices.Equal(started, []string{Event}) {
		t.Errorf("started %q, %v", started, err)
	}
	// Of a branch that the bot has made itself it is a fault.
	if _, err := signingevent.StartEvents(context.Background(), f, workflow, []signingevent.NewEvent{{Branch: "sign/a", Created: true}}, false); err == nil {
		t.Error("an event was created whose workflow cannot be started, and nobody is told")
	}
}

// TestStrangersMany: however many branches look like events, a run starts a hundred
// workflows at most, and each has its turn.
func TestStrangersMany(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	push := []string{"push", "-q", "origin"}
	for i := range 129 {
		push = append(push, fmt.Sprintf("HEAD:refs/heads/sign/x%d", i))
	}
	s.Run(push...)
	o := s.checkout("main")
	o.DryRun = true
	turns := map[string]int{}
	for range 2 {
		started, err := signingevent.Reevaluate(context.Background(), o, s.forge(s.gh.Endpoint("")), workflow)
		if err != nil || len(started) != 100 {
			t.Fatalf("started %d, %v", len(started), err)
		}
		for _, branch := range started {
			turns[branch]++
		}
		o.Now = o.Now.Add(6 * time.Hour)
	}
	if len(turns) != 130 {
		t.Errorf("of 130 events %d had their turn", len(turns))
	}
}

// TestStrangersCrowd: however many people a branch invites, and however long
// their names are, what is said of it fits into a comment.
func TestStrangersCrowd(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	var invites []string
	for i := range 1300 { // as much as the file may hold
		invites = append(invites, fmt.Sprintf(`"@%s%d":["releases"]`, strings.Repeat("_-", 25), i))
	}
	s.WriteFile(repository.StateFile, `{"invites": {`+strings.Join(invites, ",")+`}}`)
	s.Edit("targets", nil)
	s.push("everybody")
	s.drive()
	if n := len(s.marked(1, callMark)); n != 1 {
		t.Errorf("%d calls", n)
	}
	for _, c := range s.gh.Comments(1) {
		if n := utf8.RuneCountInString(c.Body); n > 65_536 {
			t.Errorf("a comment of %d characters", n)
		}
	}
	s.quiet()
}

// TestStrangersBases: that the branch was merged into another branch says nothing about
// the event.
func TestStrangersBases(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Run("push", "-q", "origin", "main:other")
	s.edit()
	s.push("an artifact")
	n := s.gh.OpenPull("mallory", Event, "other", "mine", "", false)
	s.gh.Merge(n, githubtest.MergeCommit, "mallory")
	done := s.drive()
	if done.Pull == nil || done.Pull.Base != "main" || done.Merged {
		t.Fatalf("merged %v, pull request %+v", done.Merged, done.Pull)
	}
	s.want(done.Pull.Number, true, "pending", "@alice @bob @carol")
	s.quiet()
}

// TestStrangersClose: whoever may read the repository can open a pull request of the
// event's branch, and close it again. That does not stop the event; what became of
// the bot's own pull request, which only those who may write can close, does.
func TestStrangersClose(t *testing.T) {
	openAndClose := func(s *story) {
		s.gh.ClosePull(s.gh.OpenPull("mallory", Event, "main", "mine", "", false), "mallory")
	}
	// goesOn wants the event to be shown in a pull request of the bot's own.
	goesOn := func(s *story, number int) {
		s.t.Helper()
		done := s.drive()
		if done.Pull == nil || done.Pull.Number != number || s.gh.Pull(number).Author != githubtest.ActionsLogin {
			s.t.Fatalf("pull request %+v, did %q", done.Pull, done.Done)
		}
		s.want(number, true, "pending", "@alice @bob @carol")
	}
	// stays wants nothing to be written.
	stays := func(s *story) signingevent.Driven {
		s.t.Helper()
		before, pulls := s.dump(), len(s.gh.Pulls())
		done := s.drive()
		if len(done.Done) > 0 || s.dump() != before {
			s.t.Errorf("did %q, pull requests %+v", done.Done, s.gh.Pulls()[pulls:])
		}
		return done
	}
	for name, test := range map[string]func(*story){
		"before the bot came": func(s *story) {
			openAndClose(s)
			events := []signingevent.NewEvent{{Branch: Event}}
			started, err := signingevent.StartEvents(context.Background(), s.forge(s.gh.Endpoint("")), workflow, events, false)
			if err != nil || !slices.Equal(started, []string{Event}) {
				s.t.Errorf("started %q, %v", started, err)
			}
			goesOn(s, 2)
		},
		"after the bot took it over": func(s *story) {
			s.gh.OpenPull("mallory", Event, "main", "mine", "", false)
			if done := s.drive(); done.Pull == nil || done.Pull.Number != 1 {
				s.t.Fatalf("pull request %+v", done.Pull)
			}
			s.gh.ClosePull(1, "mallory")
			goesOn(s, 2)
		},
		"after the event was stopped": func(s *story) {
			s.drive()
			s.gh.ClosePull(1, "alice")
			s.drive()
			openAndClose(s)
			done := stays(s)
			contains(s.t, strings.Join(done.Notes, "\n"), "closed by hand. Reopen it")
			if done.Pull == nil || done.Pull.Number != 1 {
				s.t.Errorf("shown in %+v", done.Pull)
			}
		},
		"after the event was merged": func(s *story) {
			s.Sign("targets", "alice", "bob")
			s.push("signed")
			s.drive()
			s.gh.Merge(1, githubtest.Squash, "alice")
			openAndClose(s)
			if done := stays(s); !done.Merged {
				s.t.Errorf("not seen to be merged: %+v", done)
			}
		},
		"while one into another branch is open": func(s *story) {
			s.Run("push", "-q", "origin", "main:other")
			s.gh.OpenPull("mallory", Event, "other", "mine", "", false)
			goesOn(s, 2)
			contains(s.t, s.board(2), "Pull request 1 into other is open for the same branch")
			if n := len(s.gh.Comments(1)); n > 0 || s.gh.Pull(1).Draft {
				s.t.Errorf("the stranger's pull request was touched: %+v", s.gh.Pull(1))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, githubtest.Settings{})
			s.edit()
			s.push("an artifact")
			test(s)
		})
	}
}

// TestStrangersStatus: whoever may post a commit status posts ours. It is no input to
// anything, and the next run says again what is so.
func TestStrangersStatus(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	s.drive()
	mallory := s.gh.AddToken(githubtest.Token{Kind: githubtest.Personal, Login: "mallory", Permissions: githubtest.All()})
	post := func(state string) {
		t.Helper()
		bot := s.token
		s.token = mallory
		defer func() { s.token = bot }()
		status := signingevent.CommitStatus{Context: signingevent.StatusContext, State: state, Description: "posted by hand"}
		if err := s.custom().SetStatus(t.Context(), s.head(), status); err != nil {
			t.Fatal(err)
		}
		if got := s.state(s.head()); got != state {
			t.Fatalf("the status is %q", got)
		}
	}
	post("success")
	if done := s.drive(); done.Status.Complete {
		t.Error("a status makes the event complete")
	}
	s.want(1, true, "pending", "@alice @bob @carol")

	s.Sign("targets", "alice", "bob")
	s.push("signed")
	s.drive()
	post("failure")
	s.drive()
	s.want(1, false, "success", "@alice @bob @carol")
	s.quiet()
}

// TestStrangersLabel: the label that stands for a draft where there are none, given
// by hand where there are, does not keep the pull request from being one.
func TestStrangersLabel(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.Sign("targets", "alice", "bob")
	s.push("signed")
	s.drive()
	s.want(1, false, "success")
	s.gh.Label(1, signingevent.DraftLabel)
	s.Artifact("c.txt", "c")
	s.push("one more artifact")
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
	if labels := s.gh.Pull(1).Labels; len(labels) > 0 {
		t.Errorf("labels %q", labels)
	}
	s.quiet()
}

// TestStrangersNames: whatever git allows in the name of a branch, its event is
// opened, found again and called by that name.
func TestStrangersNames(t *testing.T) {
	for _, name := range []string{
		"sign/" + strings.Repeat("x", 240), "sign/a&b=c#d%2e+e", "sign/@alice", "sign/fixes-#1", `sign/"'$(id);|{}!<b>`, "sign/größe", "sign/a\u202eb",
		"sign/-x", "sign/refs/heads/main",
	} {
		t.Run(name[:min(len(name), 30)], func(t *testing.T) {
			t.Parallel()
			s := begin(t, githubtest.Settings{})
			s.edit()
			s.push("an artifact")
			s.Run("push", "-q", "origin", "HEAD:refs/heads/"+name)
			f := s.forge(s.gh.Endpoint(""))
			for run := range 2 {
				done, err := signingevent.Drive(context.Background(), s.options(name, f))
				if err != nil || done.Pull == nil || done.Pull.Number != 1 || (run == 1) != (len(done.Done) == 0) {
					t.Fatalf("run %d: pull request %+v, did %q, %v", run, done.Pull, done.Done, err)
				}
			}
			title := s.gh.Pull(1).Title
			if n := utf8.RuneCountInString(title); n > 256 || strings.ContainsRune(title, '\u202e') || !strings.HasPrefix(title, "Signing event: sign/") {
				t.Errorf("the title has %d characters: %q", n, title)
			}
			for _, c := range s.gh.Comments(1) {
				if strings.ContainsRune(c.Body, '\u202e') {
					t.Errorf("the name comes through:\n%s", c.Body)
				}
			}
		})
	}
}

// upon is a log that does something when a message is written to it.
type upon struct {
	slog.Handler
	message string
	do      func()
}

func (u *upon) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == u.message && u.do != nil {
		do := u.do
		u.do = nil
		do()
	}
	return nil
}

func (u *upon) Enabled(context.Context, slog.Level) bool { return true }

// TestMovedAfterMerge: an event that was merged as it was goes on, under a run
// that has just seen it merged.
func TestMovedAfterMerge(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.Sign("targets", "alice", "bob")
	s.push("signed")
	s.drive()
	s.gh.Merge(1, githubtest.Squash, "alice")
	o := s.options(Event, s.forge(s.gh.Endpoint("")))
	o.Log = slog.New(&upon{slog.DiscardHandler, "the event was merged", func() {
		s.Artifact("c.txt", "c")
		s.push("one more artifact")
	}})
	done, err := signingevent.Drive(context.Background(), o)
	if err != nil || done.Merged || done.Pull == nil || done.Pull.Number != 2 {
		t.Fatalf("merged %v, pull request %+v, %v", done.Merged, done.Pull, err)
	}
	if len(s.marked(2, statusMark)) != 1 || s.state(s.head()) == "" {
		t.Errorf("what was opened is not shown: %+v, did %q", s.gh.Comments(2), done.Done)
	}
}

// TestLocked: in a locked conversation the bot cannot write; the rest is done, and
// the run says what GitHub said.
func TestLocked(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.edit()
	s.push("an artifact")
	s.gh.Inject(githubtest.Fault{
		On: func(r *githubtest.Request) bool {
			return r.Writes() && strings.Contains(r.String(), "comments")
		},
		Status: 403, Body: `{"message":"Unable to create comment because issue is locked."}`,
	})
	done := s.drive()
	if done.Pull == nil || !s.gh.Pull(1).Draft || s.state(s.head()) != "pending" {
		t.Errorf("pull request %+v, status %q", done.Pull, s.state(s.head()))
	}
	contains(t, strings.Join(done.Notes, "\n"), "may not comment on #1. GitHub answered 403 Forbidden: Unable to create comment because issue is locked.")
	s.gh.Heal()
	s.drive()
	s.want(1, true, "pending", "@alice @bob @carol")
}

// TestByHand: where the bot may not open the pull request, people get the page to
// do so, as a link, and what to change so that it may.
func TestByHand(t *testing.T) {
	s := begin(t, githubtest.Settings{ActionsOpenNoPulls: true})
	s.edit()
	s.push("an artifact")
	done := s.drive()
	contains(t, done.Markdown(), "<https://github.com/octo/tuf/compare/main...sign/test?expand=1>", `Turn on "Allow GitHub Actions to create and approve pull requests"`)
}

// TestStrangersTags: a tag by the name of the base, which a checkout with all
// history has, stands in nobody's way.
func TestStrangersTags(t *testing.T) {
	s := begin(t, githubtest.Settings{})
	s.Edit("targets", func(o metadata.Object) { AddKey(o, "releases", "dave") })
	s.push("a new key")
	for _, tag := range []string{"origin/main", "main", Event, "refs/remotes/origin/main", "HEAD", "origin/HEAD"} {
		s.Run("push", "-q", "origin", "HEAD:refs/tags/"+tag)
	}
	o := s.options(Event, s.forge(s.gh.Endpoint("")))
	if _, err := signingevent.Drive(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	s.want(1, true, "pending", s.called(1)...)
	contains(t, s.board(1), " `targets` | v1")
	started, err := signingevent.Reevaluate(context.Background(), s.checkout("main"), s.forge(s.gh.Endpoint("")), workflow)
	if err != nil || !slices.Equal(started, []string{Event}) {
		t.Errorf("started %q, %v", started, err)
	}
}
