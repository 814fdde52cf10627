package publish_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// delegating draws a repository with an artifact in a delegated role, one in a
// role that this delegates to, and a delegated role that lists nothing.
func delegating(t *testing.T) *publishtest.Repo {
	r := publishtest.New(t)
	r.Delegate(metadata.Targets, "d", true, []string{"d/*", "d/*/*"})
	r.Delegate("d", "below", true, []string{"d/below/*"})
	r.Delegate(metadata.Targets, "empty", true, []string{"empty/*"})
	r.AddTarget("d", "d/b.txt", "b")
	r.AddTarget("below", "d/below/c.txt", "c")
	r.Publish("below", "d", "empty", metadata.Targets)
	return r
}

// TestLookUp: clients look up what every role lists, and a role that one of them
// cannot read is not published.
func TestLookUp(t *testing.T) {
	r := delegating(t)
	store := &storetest.Memory{}
	if got := mustRun(t, r, r.Commit(t, "first"), store).LookedUp; got != 2*3 {
		t.Errorf("first: %d artifacts were looked up, want 3 by each client", got)
	}
	r.Publish(metadata.Timestamp)
	if got := mustRun(t, r, r.Commit(t, "timestamp"), store).LookedUp; got != 0 {
		t.Errorf("a timestamp: %d artifacts were looked up, and nothing about them has changed", got)
	}
	for role, path := range map[string]string{"d": "d/b.txt", "below": "d/below/c.txt", "empty": "empty/x"} {
		for name, live := range map[string]*storetest.Memory{"over a live state": store.Clone(), "first": {}} {
			t.Run(role+" "+name, func(t *testing.T) {
				r := delegating(t)
				r.Publish(metadata.Timestamp)
				r.Commit(t, "live")
				garble(r, role)
				r.Publish(metadata.Timestamp)
				before := live.Content()
				_, err := run(t, r, r.Commit(t, "garbled"), live)
				var failed *publish.RehearsalError
				if !errors.As(err, &failed) || failed.Client != "go-tuf" || failed.At != "the end" || failed.Hint() == "" ||
					!strings.Contains(err.Error(), "go-tuf, starting from root version 1, fails at the end: look up "+path+", which role "+role+" may list: ") {
					t.Errorf("got %v, want that go-tuf fails to look up %s of role %s", err, path, role)
				}
				if !maps.Equal(live.Content(), before) {
					t.Error("something was written")
				}
			})
		}
	}
}

// TestLookUpOfBadLuck: a delegated role that a client could not read before, and
// one that has expired, keep nothing from being published, and somebody is told
// whose client fails, and how.
func TestLookUpOfBadLuck(t *testing.T) {
	draw := func(change func(r *publishtest.Repo)) (publish.DestinationReport, *storetest.Memory, *publishtest.Repo, error) {
		r := delegating(t)
		change(r)
		store := showing(r)
		r.AddTarget(metadata.Targets, "new.txt", "new")
		r.Publish(metadata.Targets)
		report, err := run(t, r, r.Commit(t, "new"), store)
		return report, store, r, err
	}
	for _, test := range []struct {
		name   string
		change func(r *publishtest.Repo)
		want   []string
	}{
		{"nothing", func(*publishtest.Repo) {}, nil},
		{"go-tuf could not read it before", func(r *publishtest.Repo) { garble(r, "d") },
			[]string{"go-tuf cannot look up what role d may list, such as d/b.txt, nor could it before: "}},
		{"it has expired", func(r *publishtest.Repo) {
			r.Roles["below"].Expire(publishtest.Now.Add(-time.Hour))
			r.Publish("below")
		}, []string{"tufops-client cannot look up what role below may list, such as d/below/c.txt: ", "go-tuf cannot look up what role below may list, such as d/below/c.txt: "}},
	} {
		report, store, r, err := draw(test.change)
		if err != nil || store.Content()["metadata/timestamp.json"] != string(r.Files["metadata/timestamp.json"]) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, n := range report.Notes {
			if n.Code == publish.NoteLookupFails {
				got = append(got, n.Message)
			}
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: notes %q", test.name, report.Notes)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], test.want[i]) {
				t.Errorf("%s: note %q, want %q", test.name, got[i], test.want[i])
			}
		}
	}

	// What expires with the plan that brings it is told as well, and stops nothing.
	r := delegating(t)
	store := showing(r)
	r.Roles["d"].Expire(publishtest.Now.Add(-time.Hour))
	r.Publish("d")
	if report := mustRun(t, r, r.Commit(t, "expired"), store); !strings.Contains(codes(report), publish.NoteLookupFails) {
		t.Errorf("notes %v", report.Notes)
	}
}

// TestLookUpInNeed: where what is live serves nobody, a delegated role that stands
// there already must not keep clients from what heals the rest.
func TestLookUpInNeed(t *testing.T) {
	for name, need := range map[string]func(r *publishtest.Repo, store *storetest.Memory) int64{
		"garbage for a timestamp": func(_ *publishtest.Repo, store *storetest.Memory) int64 {
			store.Set("metadata/timestamp.json", "{}")
			return 0
		},
		"a timestamp that a person gives up": func(r *publishtest.Repo, store *storetest.Memory) int64 {
			forward := r.Clone()
			forward.Roles[metadata.Timestamp].Signed["version"] = int64(1000)
			store.Set("metadata/timestamp.json", string(forward.Roles[metadata.Timestamp].Sign()))
			return 1000
		},
	} {
		for _, role := range []string{"d", "below"} {
			r := delegating(t)
			garble(r, role)
			store := showing(r)
			giveUp := need(r, store)
			r.Publish(metadata.Snapshot, metadata.Timestamp)
			commit := r.Commit(t, "healed")
			report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), RecoverFastForward: giveUp,
				To: []publish.Destination{{URL: "store:", Store: store}}})
			if err != nil || store.Content()["metadata/timestamp.json"] != string(r.Files["metadata/timestamp.json"]) {
				t.Errorf("%s, %s cannot be read: %v", name, role, err)
			} else if !strings.Contains(codes(report.Destinations[0]), publish.NoteLookupFails) {
				t.Errorf("%s, %s cannot be read: notes %v", name, role, report.Destinations[0].Notes)
			}
		}
	}
}

// TestLookUpBounded: of very many artifacts some of each role are looked up.
func TestLookUpBounded(t *testing.T) {
	r := delegating(t)
	for i := range 1500 {
		r.AddTarget(metadata.Targets, fmt.Sprintf("%04d.txt", i), "x")
	}
	r.Publish(metadata.Targets)
	// A quarter of the thousand each, where a role has so many.
	if got := mustRun(t, r, r.Commit(t, "many"), &storetest.Memory{}).LookedUp; got != 2*(250+1+1) {
		t.Errorf("%d artifacts were looked up", got)
	}
}
