package rehearsal_test

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// TestNewKeyTypes: that go-tuf does not know a type of keys is held against an
// event, but where main's policy names such a type; then it is said, and all else
// that go-tuf fails on counts as before.
func TestNewKeyTypes(t *testing.T) {
	const named = "key-types: [ed25519/ed25519, ml-dsa/ml-dsa-44/1]\n"
	toRoot := func(w *World) {
		w.Edit("root", func(s metadata.Object) { AddKey(s, "root", "mldsa-dave") }).Sign("root", "alice", "bob", "mldsa-dave")
	}
	toReleases := func(w *World) {
		targets(w, func(s metadata.Object) {
			d := s["delegations"].(metadata.Object)
			k := Key("mldsa-dave")
			d["keys"].(metadata.Object)[k.ID] = k.Object
			Roles(s, "releases")["keyids"] = append(Roles(s, "releases")["keyids"].([]any), k.ID)
		})
		w.Edit("releases", nil).Sign("releases", "carol", "mldsa-dave")
	}
	lossy := func(w *World) {
		toReleases(w)
		targets(w, func(s metadata.Object) { s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = nil })
	}
	for _, test := range []struct {
		name, policy string
		event        func(w *World)
		fails        bool   // go-tuf does, and it counts
		excused      string // a step that is shown and does not
	}{
		{"of root, not named", "", toRoot, true, ""},
		{"of root, named", named, toRoot, false, "update from main's state"},
		{"of a delegated role, not named", "", toReleases, true, ""},
		{"of a delegated role, named", named, toReleases, false, "read releases/v1/tool"},
		{"named, and a field that go-tuf drops", named, lossy, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			if test.policy != "" {
				onMain(w, func() { w.WriteFile(repository.PolicyFile, test.policy) })
			}
			test.event(w)
			r := rehearsal.Run(t.Context(), open(t, w), w.Now)
			if r.Trouble != "" {
				t.Fatal(r.Trouble)
			}
			failed := with(r, repository.Failed)
			if (len(failed) > 0) != test.fails {
				t.Errorf("failed: %v", failed)
			}
			for what, clients := range failed {
				if clients != "go-tuf" {
					t.Errorf("%s fails for %s", what, clients)
				}
			}
			notYet := with(r, repository.NotYet)
			if test.excused != "" && notYet[test.excused] != "go-tuf" || test.excused == "" && !test.fails {
				t.Errorf("not yet: %v, want %q of go-tuf", notYet, test.excused)
			}
			for _, s := range r.With(repository.NotYet) {
				if test.excused != "" && !strings.Contains(s.Message, "allows keys that this client does not know") {
					t.Errorf("%s: %s", s.What, s.Message)
				}
			}
			if ok := with(r, repository.OK); !strings.Contains(ok["update from main's state"], "tufops-client") {
				t.Errorf("ok: %v", ok)
			}
		})
	}
}

// TestTooLongForClients: a root whose online keys make a timestamp that is longer
// than clients read is found before it is merged.
func TestTooLongForClients(t *testing.T) {
	w := New(t)
	onMain(w, func() { w.WriteFile(repository.PolicyFile, "key-types: [ed25519/ed25519, ml-dsa/ml-dsa-44/1]\n") })
	w.Edit("root", func(s metadata.Object) {
		for _, name := range []string{"mldsa-1", "mldsa-2", "mldsa-3", "mldsa-4"} { // 4,840 characters each
			AddKey(s, "timestamp", name)
		}
		Roles(s, "timestamp")["threshold"] = 4
	}).Sign("root", "alice", "bob")
	r := rehearsal.Run(t.Context(), open(t, w), w.Now)
	if r.Trouble != "" {
		t.Fatal(r.Trouble)
	}
	const what = "update from main's state"
	if failed := with(r, repository.Failed); !strings.Contains(failed[what], "tufops-client") {
		t.Errorf("failed: %v", failed)
	}
	for _, s := range r.With(repository.Failed) {
		if s.What == what && s.Client == "tufops-client" && !strings.Contains(s.Message, "longer than the 16384 bytes") {
			t.Errorf("%s: %s", s.What, s.Message)
		}
	}
}
