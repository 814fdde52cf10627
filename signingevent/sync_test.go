package signingevent_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// upstream makes a world's branches an upstream that bots clone.
func upstream(t *testing.T, event func(w *World)) *gittest.Upstream {
	t.Helper()
	w := New(t)
	event(w)
	w.Commit("event")
	u := gittest.New(t)
	w.Run("push", "-q", u.Dir, "main", Event)
	return u
}

func bot(t *testing.T, u *gittest.Upstream, name, branch string, now time.Time) signingevent.Options {
	t.Helper()
	clone := u.Clone(name, "--branch", branch)
	g, err := git.Open(context.Background(), clone.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	r, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	return signingevent.Options{Repository: r, Now: now, Remote: "origin"}
}

// TestConcurrentUpdates: two bots at once, and a person who pushes in between:
// one commit per role, nothing lost, history linear.
func TestConcurrentUpdates(t *testing.T) {
	u := upstream(t, func(w *World) { w.Artifact("b.txt", "b").Artifact("releases/v2/tool", "two") })
	bots := []signingevent.Options{bot(t, u, "one", Event, Start), bot(t, u, "two", Event, Start)}
	person := u.Clone("person", "--branch", Event)
	person.WriteFile("targets/c.txt", "c")
	person.Commit("another artifact")
	person.Push()
	var wg sync.WaitGroup
	errs := make([]error, len(bots))
	for i, o := range bots {
		wg.Go(func() { _, errs[i] = signingevent.UpdateTargets(context.Background(), o) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("bot %d: %v", i, err)
		}
	}
	log := u.Run("log", "--format=%s|%p", Event)
	if n := strings.Count(log, "Update targets metadata for role targets"); n != 1 {
		t.Errorf("%d updates of targets:\n%s", n, log)
	}
	if n := strings.Count(log, "Update targets metadata for role releases"); n != 1 {
		t.Errorf("%d updates of releases:\n%s", n, log)
	}
	if !strings.Contains(log, "another artifact") {
		t.Errorf("the person's commit is lost:\n%s", log)
	}
	for _, line := range strings.Split(log, "\n") {
		if _, parents, _ := strings.Cut(line, "|"); strings.Contains(parents, " ") {
			t.Errorf("a merge: %s", line)
		}
	}
	metadata := u.Run("show", Event+":metadata/targets.json")
	for _, want := range []string{`"b.txt"`, `"c.txt"`} {
		if !strings.Contains(metadata, want) {
			t.Errorf("targets lacks %s", want)
		}
	}
}

// TestConcurrentEvents: the branch of an event is made once, and one that exists
// is left alone on whatever commit it is.
func TestConcurrentEvents(t *testing.T) {
	u := upstream(t, func(*World) {})
	later := Start.AddDate(0, 0, 306)
	u.Run("branch", "sign/targets-v2", Event)
	before := u.Head("sign/targets-v2")
	bots := []signingevent.Options{bot(t, u, "one", "main", later), bot(t, u, "two", "main", later)}
	created := make([]int, len(bots))
	var wg sync.WaitGroup
	for i, o := range bots {
		wg.Go(func() {
			events, err := signingevent.CreateEvents(context.Background(), o)
			if err != nil {
				t.Error(err)
			}
			for _, e := range events {
				if e.Created {
					created[i]++
				}
			}
		})
	}
	wg.Wait()
	if created[0]+created[1] != 2 { // root-v2 and releases-v2
		t.Errorf("created %v", created)
	}
	if after := u.Head("sign/targets-v2"); after != before {
		t.Error("a branch that existed was moved")
	}
	for _, branch := range []string{"sign/root-v2", "sign/releases-v2"} {
		if got := u.Run("log", "--format=%s", "main.."+branch); got != fmt.Sprintf("Periodic version bump: %s", strings.Replace(strings.TrimPrefix(branch, "sign/"), "-v", " v", 1)) {
			t.Errorf("%s: %q", branch, got)
		}
	}
}

// TestStaleCheckout: main has moved since CI checked it out. A role that was signed
// meanwhile, whose event is merged and gone, gets no second one.
func TestStaleCheckout(t *testing.T) {
	u := upstream(t, func(*World) {})
	later := Start.AddDate(0, 0, 306)
	stale := bot(t, u, "stale", "main", later)
	events, err := signingevent.CreateEvents(context.Background(), bot(t, u, "first", "main", later))
	if err != nil || len(events) != 3 {
		t.Fatalf("%+v, %v", events, err)
	}
	u.Run("update-ref", "refs/heads/main", "sign/root-v2")
	u.Run("branch", "-D", "sign/root-v2")
	events, err = signingevent.CreateEvents(context.Background(), stale)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Role == "root" || e.Created {
			t.Errorf("from a checkout that is behind: %+v", e)
		}
	}
	if got := u.Run("for-each-ref", "refs/heads/sign/root-v2"); got != "" {
		t.Errorf("the event of root is back: %s", got)
	}
}

// TestDryRun: what would be done is said, nothing is written, neither here nor
// there.
func TestDryRun(t *testing.T) {
	u := upstream(t, func(w *World) { w.Artifact("b.txt", "b") })
	refs := u.Run("for-each-ref")
	o := bot(t, u, "one", Event, Start)
	o.DryRun = true
	done, err := signingevent.UpdateTargets(context.Background(), o)
	if err != nil || len(done.Roles) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	o = bot(t, u, "two", "main", Start.AddDate(0, 0, 306))
	o.DryRun = true
	events, err := signingevent.CreateEvents(context.Background(), o)
	if err != nil || len(events) != 3 || !events[0].Created {
		t.Errorf("%+v, %v", events, err)
	}
	if after := u.Run("for-each-ref"); after != refs {
		t.Errorf("refs moved:\n%s\nbefore:\n%s", after, refs)
	}
	o = bot(t, u, "three", Event, Start)
	o.Remote = ""
	if _, err := signingevent.UpdateTargets(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if after := u.Run("for-each-ref"); after != refs {
		t.Error("without a remote something was pushed")
	}
}
