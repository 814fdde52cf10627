package signingevent_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// TestOneBadRole: a role whose event cannot be made keeps no other role from
// getting one, or root would expire because of it.
func TestOneBadRole(t *testing.T) {
	for name, spoil := range map[string]func(w *World){
		"file gone":       func(w *World) { w.Remove("metadata/releases.json") },
		"file unreadable": func(w *World) { w.WriteFile("metadata/releases.json", "{") },
		"name that is no branch": func(w *World) {
			w.Edit("targets", func(s metadata.Object) {
				r := Roles(s, "releases")
				r["name"] = "a b"
				delegations := s["delegations"].(metadata.Object)
				delegations["roles"] = append(delegations["roles"].([]any), metadata.Object{"name": "docs", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"}})
			}).Sign("targets", "alice", "bob")
			w.WriteFile("metadata/a b.json", w.ReadFile("metadata/releases.json"))
			w.WriteFile("metadata/docs.json", w.ReadFile("metadata/releases.json"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := upstream(t, func(w *World) {
				spoil(w)
				if name != "name that is no branch" {
					w.Edit("targets", func(s metadata.Object) {
						delegations := s["delegations"].(metadata.Object)
						delegations["roles"] = append(delegations["roles"].([]any), metadata.Object{"name": "docs", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"}})
					}).Sign("targets", "alice", "bob")
					w.WriteFile("metadata/docs.json", string(metadata.Write(w.Tree("targets"))))
					w.Edit("docs", func(s metadata.Object) { s["targets"] = metadata.Object{}; delete(s, "delegations") })
				}
				w.Commit("main")
				w.Run("branch", "-f", "main", "HEAD")
			})
			o := bot(t, u, "one", "main", Start.AddDate(0, 0, 330))
			events, err := signingevent.CreateEvents(context.Background(), o)
			if err == nil {
				t.Error("the bad role is not reported")
			}
			made := map[string]bool{}
			for _, e := range events {
				made[e.Role] = e.Created
			}
			for _, role := range []string{"root", "targets", "docs"} {
				if !made[role] {
					t.Errorf("no event for %s: %+v, %v", role, events, err)
				}
			}
		})
	}
}

// TestLateRun: the event was merged and its branch deleted before CI came to it.
// Nothing is to be done, so the branch does not come back.
func TestLateRun(t *testing.T) {
	u := upstream(t, func(*World) {})
	o := bot(t, u, "one", Event, Start)
	u.Run("branch", "-D", Event)
	if _, err := signingevent.UpdateTargets(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if got := u.Run("for-each-ref", "refs/heads/sign"); got != "" {
		t.Errorf("the branch is back: %s", got)
	}
}

// TestOccupiedBranch: a branch of the event's name that adds nothing to main keeps
// no event from being opened; one that does is left alone.
func TestOccupiedBranch(t *testing.T) {
	for _, there := range []string{"main", "main^", "ahead"} {
		t.Run(there, func(t *testing.T) {
			u := upstream(t, func(w *World) {
				w.Edit("releases", nil).Sign("releases", "carol")
				w.Commit("main")
				w.Run("branch", "-f", "main", "HEAD")
				w.Artifact("b.txt", "b")
			})
			u.Run("branch", "ahead", Event)
			u.Run("branch", "sign/root-v2", there)
			o := bot(t, u, "one", "main", Start.AddDate(0, 0, 330))
			for run := range 2 {
				events, err := signingevent.CreateEvents(context.Background(), o)
				if err != nil || len(events) == 0 || events[0].Branch != "sign/root-v2" {
					t.Fatalf("%+v, %v", events, err)
				}
				if want := there != "ahead" && run == 0; events[0].Created != want {
					t.Errorf("run %d: created is %v", run, events[0].Created)
				}
			}
			subject := u.Run("log", "-1", "--format=%s", "sign/root-v2")
			if ours := subject == "Periodic version bump: root v2"; ours != (there != "ahead") {
				t.Errorf("the branch is at %q", subject)
			}
			if there != "ahead" && u.Run("rev-parse", "sign/root-v2^") != u.Head("main") {
				t.Error("the event does not begin at main")
			}
		})
	}
}

// TestBranchInTheWay: git has no branch sign/root-v2 beside sign/root-v2/x. Whoever has
// pushed that does not keep root from being re-signed without anybody hearing of it.
func TestBranchInTheWay(t *testing.T) {
	u := upstream(t, func(*World) {})
	u.Run("branch", "sign/root-v2/x", Event)
	events, err := signingevent.CreateEvents(context.Background(), bot(t, u, "one", "main", Start.AddDate(0, 0, 330)))
	var blocked *signingevent.InTheWayError
	if !errors.As(err, &blocked) || blocked.Branch != "sign/root-v2" || !strings.Contains(blocked.Error(), "sign/root-v2/x") {
		t.Errorf("error is %v", err)
	}
	var made []string
	for _, e := range events {
		if e.Created {
			made = append(made, e.Branch)
		}
	}
	if got := strings.Join(made, " "); len(events) != 2 || got != "sign/targets-v2 sign/releases-v2" && got != "sign/releases-v2 sign/targets-v2" {
		t.Errorf("opened and told of %+v", events)
	}
}
