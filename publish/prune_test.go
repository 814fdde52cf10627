package publish_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// drawHistory publishes three states in turn, of which the first has expired by
// the end. It returns the last commit and the moment.
func drawHistory(t *testing.T, r *publishtest.Repo, store publish.Store) (git.OID, time.Time) {
	t.Helper()
	expire := func(at time.Time, roles ...string) {
		for _, role := range roles {
			r.Roles[role].Expire(at)
		}
	}
	now := publishtest.Now.AddDate(0, 0, 20)
	far := publishtest.Now.AddDate(1, 0, 0)
	expire(far, metadata.Root, metadata.Targets)
	r.Delegate(metadata.Targets, "d", true, []string{"*.txt"})
	r.AddTarget("d", "gone.txt", "listed by d until it is gone")
	expire(publishtest.Now.AddDate(0, 0, 10), metadata.Snapshot, metadata.Timestamp)
	r.RotateKey(metadata.Root, "root2", true)
	r.AddTarget(metadata.Targets, "a.txt", "the second artifact\n")
	r.Publish("d", metadata.Targets)
	mustRun(t, r, r.Commit(t, "one"), store)

	r.AddTarget(metadata.Targets, "a.txt", "the third artifact\n")
	delete(r.Roles["d"].Signed["targets"].(metadata.Object), "gone.txt")
	r.AddTarget("d", "still.txt", "listed by d in a snapshot that lives")
	expire(far, "d", metadata.Snapshot, metadata.Timestamp)
	r.Publish("d", metadata.Targets)
	mustRun(t, r, r.Commit(t, "two"), store)

	delete(r.Roles["d"].Signed["targets"].(metadata.Object), "still.txt")
	r.AddTarget("d", "new.txt", "new")
	r.Publish("d", metadata.Targets)
	return r.Commit(t, "three"), now
}

// TestPrune: what a client can still come to stays, and so does what nothing
// lists yet. Listing deletes nothing.
func TestPrune(t *testing.T) {
	r := publishtest.New(t)
	store := &storetest.Memory{}
	commit, now := drawHistory(t, r, store)
	run := func(store publish.Store, prune publish.Prune) (publish.DestinationReport, error) {
		report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.PublishableAt(t, commit, now), Prune: prune,
			To: []publish.Destination{{URL: "store:", Store: store}}})
		return report.Destinations[0], err
	}
	// What others have begun with, or put there.
	begun := r.Clone()
	begun.AddTarget(metadata.Targets, "begun.txt", "of a publisher that has just begun")
	begun.Publish(metadata.Targets)
	strangers := map[string]string{
		"metadata/6.targets.json": string(begun.Current(metadata.Targets)), "metadata/1.new.json": string(begun.Current(metadata.Targets)),
		"metadata/README": "x", "metadata/1.root.json.bak": "x", "targets/README": "x", "metadata/2.d.json.orig": "x", "metadata/09.d.json": "x",
	}
	for name, content := range strangers {
		store.Set(name, content)
	}
	for name, data := range begun.Files {
		if strings.HasSuffix(name, ".begun.txt") {
			store.Set(name, string(data))
		}
	}
	report, err := run(store, publish.PruneList)
	if err != nil {
		t.Fatal(err)
	}
	var short []string
	for _, name := range report.Prune.Files {
		folder, base, _ := strings.Cut(name, "/")
		if folder == "targets" {
			_, base, _ = strings.Cut(base, ".")
		}
		short = append(short, folder+"/"+base)
	}
	want := []string{"targets/a.txt", "targets/gone.txt", "metadata/1.d.json", "metadata/3.targets.json", "metadata/3.snapshot.json"}
	slices.Sort(short[:2])
	if !slices.Equal(short, want) {
		t.Errorf("can go: %v, want %v", short, want)
	}
	before := store.Content()
	if report.Prune.Deleted != 0 || len(before) == 0 {
		t.Error("listing deletes")
	}

	// Stopped after each deletion, the next run finds the rest.
	for stop := 1; stop <= len(want); stop++ {
		left := store.Clone()
		if report, err := run(&fewDeletions{Memory: left, left: stop - 1}, publish.PruneDelete); !errors.Is(err, storetest.ErrStopped) || report.Prune.Deleted != stop-1 {
			t.Fatalf("stopped at deletion %d: %v", stop, err)
		}
		report, err := run(left, publish.PruneDelete)
		if err != nil || report.Prune.Deleted != len(want)-stop+1 || !report.Changed {
			t.Errorf("stopped at deletion %d, the next run deletes %v, %v", stop, report.Prune, err)
		}
		after := left.Content()
		if len(after) != len(before)-len(want) {
			t.Errorf("%d of %d files are left, want %d fewer", len(after), len(before), len(want))
		}
		for name := range strangers {
			if after[name] == "" {
				t.Errorf("%s is gone", name)
			}
		}
		// Who comes with an old root, and who is in the middle of an update.
		update(t, publishtest.ClientAt(t, left, r.Files["metadata/1.root.json"], "", func() time.Time { return now }), nil)
	}

	if report, err := run(withoutRemover{store.Clone()}, publish.PruneDelete); !errors.As(err, new(*publish.CannotDeleteError)) {
		t.Errorf("a store that cannot delete: %v, %v", report.Prune, err)
	}
	// Somebody else is ahead: their files are not ours to judge.
	behind := store.Clone()
	behind.Set("metadata/timestamp.json", string(begun.Current(metadata.Timestamp)))
	if report, err := run(behind, publish.PruneDelete); err == nil || report.Prune != nil || behind.Writes() != store.Writes()+1 {
		t.Errorf("behind another publisher: %v, %v", report.Prune, err)
	}
}

type fewDeletions struct {
	*storetest.Memory
	left int
}

func (s *fewDeletions) Delete(ctx context.Context, name string, was publish.Version) error {
	if s.left--; s.left < 0 {
		return storetest.ErrStopped
	}
	return s.Memory.Delete(ctx, name, was)
}

type withoutRemover struct{ publish.Store }

// TestPruneBesidePublisher: while one publisher prunes, another one publishes a
// commit that lists again what could go, one store call after the other in a
// random order. Clients of the newer state find all that it lists.
func TestPruneBesidePublisher(t *testing.T) {
	r := publishtest.New(t)
	live := &storetest.Memory{}
	old, now := drawHistory(t, r, live)
	publishable := r.PublishableAt(t, old, now)
	if _, err := publish.Run(t.Context(), publish.Options{Commit: old, Publishable: publishable, To: []publish.Destination{{Store: live}}}); err != nil {
		t.Fatal(err)
	}
	r.AddTarget(metadata.Targets, "a.txt", "the second artifact\n")
	r.AddTarget("d", "gone.txt", "listed by d until it is gone")
	r.Publish("d", metadata.Targets)
	young := r.Commit(t, "four")
	newer := r.PublishableAt(t, young, now)
	want, err := newer.For(young)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := publish.NewTree(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}

	rounds := 10
	if os.Getenv("TUFOPS_SOAK") != "" {
		rounds = 300
	}
	start := seed(t)
	deleted, over := 0, 0
	for round := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(start+round, 0))
		store := live.Clone()
		ts := &turns{asked: make(chan turn)}
		var pruned, published *publish.Report
		var errs [2]error
		ts.user(func(call func()) {
			pruned, errs[0] = publish.Run(t.Context(), publish.Options{Commit: old, Publishable: publishable, Prune: publish.PruneDelete,
				To: []publish.Destination{{URL: "store:", Store: removerInTurn{inTurn{store, call}, store}}}})
		})
		ts.user(func(call func()) {
			published, errs[1] = publish.Run(t.Context(), publish.Options{Commit: young, Publishable: newer, Parallel: 1,
				To: []publish.Destination{{URL: "store:", Store: inTurn{store, call}}}})
		})
		ts.play(rng)
		if errs[1] != nil {
			t.Fatalf("TUFOPS_SEED=%d: publishing: %v", start+round, errs[1])
		}
		if errs[0] != nil && !errors.As(errs[0], new(*publish.NewerError)) && !strings.Contains(errs[0].Error(), "another publisher was faster; run it again") {
			t.Errorf("TUFOPS_SEED=%d: pruning: %v", start+round, errs[0])
		}
		content := store.Content()
		for _, f := range tree.Files() {
			if content[publish.ObjectName(f)] == "" {
				t.Errorf("TUFOPS_SEED=%d: %s is gone, and is listed", start+round, publish.ObjectName(f))
			}
		}
		if t.Failed() {
			return
		}
		if p := pruned.Destinations[0].Prune; p != nil {
			deleted += p.Deleted
		}
		for _, n := range published.Destinations[0].Notes {
			if n.Code == publish.NoteChangedMeanwhile {
				over++
			}
		}
	}
	t.Logf("%d orders: %d files were deleted, the publisher started over %d times", rounds, deleted, over)
	if deleted == 0 || over == 0 {
		t.Error("nobody was ever in anybody's way: the orders are not random")
	}
}

// removerInTurn can delete as well.
type removerInTurn struct {
	inTurn
	publish.Remover
}

func (s removerInTurn) Delete(ctx context.Context, name string, was publish.Version) error {
	s.call()
	return s.Remover.Delete(ctx, name, was)
}
