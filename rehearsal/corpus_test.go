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

func TestCorpus(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Event, Base, Head string
		Now               time.Time
		Valid             bool `json:"tuf_on_ci_valid_allowing_legacy_keyids"`
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
	for _, row := range rows {
		e, err := repo.OpenEvent(t.Context(), repository.EventOptions{Name: row.Event, Head: row.Head, Base: row.Base})
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.Status(t.Context(), row.Now, repository.Policy{AllowLegacyKeyIDs: true})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		r := rehearsal.Run(t.Context(), e, row.Now)
		t.Logf("%s %.8s valid %v complete %v needed %v: %v, %d steps, %d ok, trouble %q", row.Event, row.Head, row.Valid, s.Complete, rehearsal.Needed(e), time.Since(begin), len(r.Steps), len(r.With(repository.OK)), r.Trouble)
		for _, s := range r.Steps {
			if s.Outcome != repository.OK {
				t.Logf("  %s | %s | %s | %s | %s", s.Outcome, s.What, s.Client, s.When, s.Message)
			}
		}
	}
}
