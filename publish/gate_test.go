package publish_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// TestStages: what is new goes to the stage, past the checks, and only then on.
func TestStages(t *testing.T) {
	r := publishtest.New(t)
	stage, one, two := &storetest.Memory{}, &storetest.Memory{}, &storetest.Memory{}
	var asked []string
	red := map[string]bool{}
	check := func(name string) publish.Check {
		return publish.Check{Name: name, Run: func(ctx context.Context, s publish.Staged) error {
			asked = append(asked, name)
			// The stage has what is checked, and no destination has it yet.
			if got := stage.Content()["metadata/timestamp.json"]; got != string(r.Files["metadata/timestamp.json"]) || s.URL != "stage:" {
				t.Errorf("check %s comes before the stage is there (%s)", name, s.URL)
			}
			if one.Content()["metadata/timestamp.json"] == string(r.Files["metadata/timestamp.json"]) {
				t.Errorf("check %s comes after production", name)
			}
			if red[name] {
				return errors.New("client 7 fails")
			}
			return nil
		}}
	}
	publishIt := func(commit git.OID, from publish.Store) (*publish.Report, error) {
		asked = nil
		return publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit),
			Stage: &publish.Destination{URL: "stage:", Store: from}, Checks: []publish.Check{check("old"), check("new")},
			To: []publish.Destination{{URL: "one:", Store: one}, {URL: "two:", Store: two}}})
	}
	same := func(a, b *storetest.Memory) bool { return maps.Equal(a.Content(), b.Content()) }

	commit := r.Commit(t, "first")
	report, err := publishIt(commit, stage)
	if err != nil || strings.Join(asked, " ") != "old new" || !same(one, stage) || !same(two, stage) || report.Stage == nil || len(report.Checks) != 2 {
		t.Fatalf("green: %v, asked %v", err, asked)
	}
	if _, err := publishIt(commit, stage); err != nil || asked != nil {
		t.Errorf("nothing to do: %v, asked %v", err, asked)
	}

	// Red: production is untouched, both checks were asked, and the next run heals.
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	commit = r.Commit(t, "artifact")
	red["old"] = true
	before := one.Content()
	report, err = publishIt(commit, stage)
	var held *publish.GateError
	if !errors.As(err, &held) || strings.Join(held.Red, " ") != "old" || !strings.Contains(err.Error(), "client 7 fails") || !strings.Contains(held.Hint(), "until 2026-01-31T00:00:00Z") {
		t.Errorf("red: %v", err)
	}
	if strings.Join(asked, " ") != "old new" || !maps.Equal(one.Content(), before) || !maps.Equal(two.Content(), before) {
		t.Errorf("red: asked %v, or production was touched", asked)
	}
	if report.Checks[0].Error == "" || report.Checks[1].Error != "" || report.Destinations[0].Error == "" || report.Changed {
		t.Errorf("red: report %+v", report)
	}
	if text := report.Text(); !strings.Contains(text, "check FAILED: old\n  client 7 fails\ncheck passed: new\n") || !strings.Contains(text, "stage stage:: published") || !strings.Contains(text, "one:: NOT published") {
		t.Errorf("red: %s", text)
	}
	red["old"] = false
	if _, err := publishIt(commit, stage); err != nil || len(asked) != 2 || !same(one, stage) || !same(two, stage) {
		t.Errorf("the next run: %v, asked %v", err, asked)
	}

	// A fresh timestamp has no gate of others, even where the stage is broken.
	red["old"], red["new"] = true, true
	r.Publish(metadata.Timestamp)
	if _, err := publishIt(r.Commit(t, "timestamp"), stage); err != nil || asked != nil || !same(one, stage) {
		t.Errorf("timestamp: %v, asked %v", err, asked)
	}
	r.Publish(metadata.Snapshot, metadata.Timestamp)
	if _, err := publishIt(r.Commit(t, "snapshot"), stage); err != nil || asked != nil || !same(one, stage) {
		t.Errorf("snapshot of the same: %v, asked %v", err, asked)
	}
	r.Publish(metadata.Timestamp)
	commit = r.Commit(t, "timestamp again")
	_, err = publishIt(commit, &storetest.Faulty{Store: stage, Stop: 1})
	var failed *publish.DestinationError
	if !errors.As(err, &failed) || failed.URL != "stage:" || one.Content()["metadata/timestamp.json"] != string(r.Files["metadata/timestamp.json"]) {
		t.Errorf("timestamp with a broken stage: %v", err)
	}

	// A broken stage holds new content back, and nobody checks it.
	r.AddTarget(metadata.Targets, "c.txt", "c")
	r.Publish(metadata.Targets)
	commit = r.Commit(t, "another artifact")
	before = one.Content()
	if _, err = publishIt(commit, &storetest.Faulty{Store: stage, Stop: 1}); !errors.As(err, &held) || strings.Join(held.Red, " ") != "stage" || asked != nil || !maps.Equal(one.Content(), before) {
		t.Errorf("broken stage: %v, asked %v", err, asked)
	}

	// One destination that is behind is held back, one that is not goes on.
	red["old"], red["new"] = false, false
	if _, err := publishIt(commit, stage); err != nil {
		t.Fatal(err)
	}
	r.Publish(metadata.Timestamp)
	commit = r.Commit(t, "timestamp for two")
	red["old"] = true
	two.Remove("metadata/timestamp.json")
	for name := range two.Content() {
		if strings.HasSuffix(name, ".c.txt") {
			two.Remove(name)
		}
	}
	report, err = publishIt(commit, stage)
	if !errors.As(err, &held) || !errors.As(err, &failed) || failed.URL != "two:" || report.Destinations[0].Error != "" || !same(one, stage) {
		t.Errorf("one of two behind: %v", err)
	}

	// A destination that could not be looked at before may need anything.
	red["old"], red["new"] = true, false
	two = one.Clone()
	r.AddTarget(metadata.Targets, "d.txt", "d")
	r.Publish(metadata.Targets)
	commit = r.Commit(t, "one more")
	asked, before = nil, one.Content()
	_, err = publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit),
		Stage: &publish.Destination{URL: "stage:", Store: stage}, Checks: []publish.Check{check("old")},
		To: []publish.Destination{{URL: "one:", Store: &shaky{Store: one, fails: 1}}}})
	if !errors.As(err, &held) || len(asked) != 1 || !maps.Equal(one.Content(), before) {
		t.Errorf("looked at in vain: %v, asked %v", err, asked)
	}
	// And one that changes after it was looked at goes unchecked, so it waits.
	red["old"] = false
	if _, err := publishIt(commit, stage); err != nil {
		t.Fatal(err)
	}
	r.Publish(metadata.Timestamp)
	commit = r.Commit(t, "one more timestamp")
	asked = nil
	_, err = publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.Publishable(t, commit),
		Stage: &publish.Destination{URL: "stage:", Store: &storetest.Faulty{Store: stage, Before: func(string) {
			for name := range one.Content() {
				if strings.HasSuffix(name, ".d.txt") {
					one.Remove(name)
				}
			}
		}}}, Checks: []publish.Check{check("old")}, To: []publish.Destination{{URL: "one:", Store: one}}})
	if !errors.As(err, &held) || asked != nil || !strings.Contains(err.Error(), "not checked") {
		t.Errorf("changed after it was looked at: %v, asked %v", err, asked)
	}
}

// shaky is a store that cannot be listed so many times.
type shaky struct {
	publish.Store
	fails int
}

func (s *shaky) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	if s.fails--; s.fails >= 0 {
		return nil, errors.New("the line is dead")
	}
	return s.Store.List(ctx, prefix)
}
