package repository_test

import (
	"context"
	"slices"
	"testing"

	"github.com/tufops/tufops/repository"
)

// TestMergedEvents: of the 28 events that were merged, only those are refused
// whose keyids are not the hashes of their keys; allow those, and none is.
func TestMergedEvents(t *testing.T) {
	r := openCorpus(t)
	ctx := context.Background()
	last := map[string]row{} // the rows of an event stand in the order of its commits
	for _, row := range rows(t) {
		last[row.Event] = row
	}
	refused := 0
	for name, row := range last {
		e, err := r.OpenEvent(ctx, repository.EventOptions{Name: name, Head: row.Head, Base: row.Base})
		if err != nil {
			t.Fatal(err)
		}
		strict, err := e.Status(ctx, row.Now, repository.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		legacy, err := e.Status(ctx, row.Now, repository.Policy{AllowLegacyKeyIDs: true})
		if err != nil {
			t.Fatal(err)
		}
		if !legacy.Complete {
			t.Errorf("%s was merged, and is refused even with legacy keyids: %v", name, blocking(legacy))
		}
		why := blocking(strict)
		if strict.Complete != (len(why) == 0) || slices.ContainsFunc(why, func(f repository.Finding) bool { return f.Rule != "keyid-mismatch" }) {
			t.Errorf("%s was merged; complete %v: %v", name, strict.Complete, why)
		}
		if !strict.Complete {
			refused++
		}
	}
	if len(last) != 28 || refused != 6 {
		t.Errorf("%d of %d events have other keyids, want 6 of 28", refused, len(last))
	}
}
