package rehearsal_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
)

// broken are the recorded states that were complete, by our rules and by
// tuf-on-ci, and that would have broken clients, had somebody merged them.
var broken = map[string]string{
	"2c433aa5": "the delegation of registry.npmjs.org has its new online key, and the role is not signed with it yet; a later commit of the event did that",
}

// TestCorpus: every recorded state that is complete rehearses without a failure,
// and nothing of it is left untried. With TUFOPS_SOAK set, as make soak does, all
// are tried, else every sixth and the broken ones; and those that are not complete
// too, which may fail but must not break off.
func TestCorpus(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Event, Base, Head string
		Now               time.Time
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	g, err := git.Open(t.Context(), gittest.Corpus(t))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	soak := os.Getenv("TUFOPS_SOAK") != ""
	complete, tried := 0, 0
	for _, row := range rows {
		name := row.Event + " " + row.Head[:8]
		e, err := repo.OpenEvent(t.Context(), repository.EventOptions{Name: row.Event, Head: row.Head, Base: row.Base})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := e.Status(t.Context(), row.Now, repository.Policy{AllowLegacyKeyIDs: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		why := broken[row.Head[:8]]
		if s.Complete {
			complete++
		}
		if !soak && why == "" && (!s.Complete || complete%6 != 0) {
			continue
		}
		r := rehearsal.Run(t.Context(), e, row.Now)
		if r.Trouble != "" {
			t.Errorf("%s: %s", name, r.Trouble)
		}
		if !s.Complete && why == "" { // what rules refuse as well is tried all the same
			continue
		}
		tried++
		if failed := len(r.With(repository.Failed)) > 0; failed != (why != "") {
			t.Errorf("%s: failed is %v (%s)", name, failed, why)
			log(t, r)
		}
		if got := with(r, repository.OK)["update with an empty cache"]; got != both || len(r.With(repository.NotYet)) > 0 {
			t.Errorf("%s: not tried as a whole", name)
			log(t, r)
		}
	}
	t.Logf("%d complete states, %d tried", complete, tried)
	if complete < 57 || tried < 10 {
		t.Errorf("%d complete states, %d tried: did the corpus change?", complete, tried)
	}
}
