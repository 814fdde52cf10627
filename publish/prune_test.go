package publish_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
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

// pruning is a store from which something can go, and a newer commit that lists it
// again.
type pruning struct {
	repo *publishtest.Repo
	live *storetest.Memory
	now  time.Time

	old, young         git.OID
	publishable, newer repository.Publishable
	tree               *publish.Tree // of the newer commit
}

func wantedAgain(t *testing.T) pruning {
	t.Helper()
	w := pruning{repo: publishtest.New(t), live: &storetest.Memory{}}
	r := w.repo
	w.old, w.now = drawHistory(t, r, w.live)
	w.publishable = r.PublishableAt(t, w.old, w.now)
	if _, err := publish.Run(t.Context(), publish.Options{Commit: w.old, Publishable: w.publishable, To: []publish.Destination{{Store: w.live}}}); err != nil {
		t.Fatal(err)
	}
	r.AddTarget(metadata.Targets, "a.txt", "the second artifact\n")
	r.AddTarget("d", "gone.txt", "listed by d until it is gone")
	r.Publish("d", metadata.Targets)
	w.young = r.Commit(t, "four")
	w.newer = r.PublishableAt(t, w.young, w.now)
	want, err := w.newer.For(w.young)
	if err != nil {
		t.Fatal(err)
	}
	if w.tree, err = publish.NewTree(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestPruneBesidePublisher: while one publisher prunes, another one publishes a
// commit that lists again what could go, one store call after the other in a
// random order. Clients of the newer state find all that it lists; where pruning was
// killed right after a deletion, after the next run.
func TestPruneBesidePublisher(t *testing.T) {
	w := wantedAgain(t)
	live, old, publishable, young, newer, tree := w.live, w.old, w.publishable, w.young, w.newer, w.tree

	rounds := 10
	if os.Getenv("TUFOPS_SOAK") != "" {
		rounds = 300
	}
	start := seed(t)
	deleted, over, kills, gone := 0, 0, 0, 0
	for round := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(start+round, 0))
		store := live.Clone()
		ts := &turns{asked: make(chan turn)}
		var pruned, published *publish.Report
		var errs [2]error
		pruner := &dying{Memory: store}
		pruner.left.Store(1 << 20)
		if round%2 == 1 {
			calls := rng.IntN(2) // after a deletion
			pruner.before = func(string) { pruner.left.Store(int64(calls)) }
		}
		ts.user(func(call func()) {
			pruned, errs[0] = publish.Run(t.Context(), publish.Options{Commit: old, Publishable: publishable, Prune: publish.PruneDelete,
				To: []publish.Destination{{URL: "store:", Store: removerInTurn{inTurn{pruner, call}, pruner}}}})
		})
		ts.user(func(call func()) {
			published, errs[1] = publish.Run(t.Context(), publish.Options{Commit: young, Publishable: newer, Parallel: 1,
				To: []publish.Destination{{URL: "store:", Store: inTurn{store, call}}}})
		})
		ts.play(rng)
		if errs[1] != nil {
			t.Fatalf("TUFOPS_SEED=%d: publishing: %v", start+round, errs[1])
		}
		if killed := errors.Is(errs[0], storetest.ErrStopped); killed {
			kills++
			if lacks(store, tree) != nil {
				gone++
			}
			if _, err := publish.Run(t.Context(), publish.Options{Commit: young, Publishable: newer, To: []publish.Destination{{Store: store}}}); err != nil {
				t.Fatalf("TUFOPS_SEED=%d: the next run: %v", start+round, err)
			}
		} else if errs[0] != nil && !errors.As(errs[0], new(*publish.NewerError)) && !strings.Contains(errs[0].Error(), "another publisher was faster; run it again") {
			t.Errorf("TUFOPS_SEED=%d: pruning: %v", start+round, errs[0])
		}
		if names := lacks(store, tree); names != nil {
			t.Fatalf("TUFOPS_SEED=%d: %v is gone, and is listed", start+round, names)
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
	t.Logf("%d orders: %d files were deleted, the publisher started over %d times; pruning was killed %d times, and %d times something lacked then", rounds, deleted, over, kills, gone)
	if deleted == 0 || over == 0 {
		t.Error("nobody was ever in anybody's way: the orders are not random")
	}
}

// lacks lists what is gone of what clients are told of.
func lacks(store *storetest.Memory, tree *publish.Tree) (list []string) {
	content := store.Content()
	for _, f := range tree.Files() {
		if name := publish.ObjectName(f); f.Class != publish.Page && content[name] == "" {
			list = append(list, name)
		}
	}
	return list
}

// dying is the store of a publisher that is killed: after a number of calls it
// answers no more, and does nothing. before is called before each deletion that is
// carried out.
type dying struct {
	*storetest.Memory
	left   atomic.Int64 // calls; all that follow the last one fail
	before func(name string)
}

func (s *dying) call() error {
	if s.left.Add(-1) < 0 {
		return storetest.ErrStopped
	}
	return nil
}

func (s *dying) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	if err := s.call(); err != nil {
		return nil, "", err
	}
	return s.Memory.Get(ctx, name)
}

func (s *dying) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	return s.Memory.List(ctx, prefix)
}

func (s *dying) Put(ctx context.Context, u publish.Upload) error {
	if err := s.call(); err != nil {
		return err
	}
	return s.Memory.Put(ctx, u)
}

func (s *dying) Delete(ctx context.Context, name string, was publish.Version) error {
	if err := s.call(); err != nil {
		return err
	}
	if s.before != nil {
		s.before(name)
	}
	return s.Memory.Delete(ctx, name, was)
}

// TestPruneKilled: pruning is killed at each of its calls, and right before a
// deletion that is carried out somebody publishes what lists the file again, all of
// it. The next run, which is no deep one, puts back what is gone; the one after
// that finds nothing to do with three reads.
func TestPruneKilled(t *testing.T) {
	w := wantedAgain(t)
	live, old, publishable, young, newer, tree := w.live, w.old, w.publishable, w.young, w.newer, w.tree
	w.repo.Publish(metadata.Timestamp)
	younger := w.repo.Commit(t, "five")
	newest := w.repo.PublishableAt(t, younger, w.now)

	// Killed after so many calls from one of the deletions on. What may be listed
	// again goes first.
	most, calls := 1, 3
	if os.Getenv("TUFOPS_SOAK") != "" {
		most, calls = 5, 6
	}
	gone := 0
	for deletion := 1; deletion <= most; deletion++ {
		for after := range calls {
			store := live.Clone()
			seen := 0
			pruner := &dying{Memory: store}
			pruner.left.Store(1 << 20)
			pruner.before = func(string) {
				if seen++; seen == deletion {
					pruner.left.Store(int64(after))
					to := []publish.Destination{{Store: store}}
					if _, err := publish.Run(t.Context(), publish.Options{Commit: young, Publishable: newer, Parallel: 1, To: to}); err != nil {
						t.Fatal(err)
					}
				}
			}
			_, err := publish.Run(t.Context(), publish.Options{Commit: old, Publishable: publishable, Prune: publish.PruneDelete,
				To: []publish.Destination{{URL: "store:", Store: pruner}}})
			if err == nil || seen < deletion {
				t.Fatalf("deletion %d of %d: the pruner does not notice that it was overtaken", deletion, seen)
			}
			if lacks(store, tree) != nil {
				gone++
			}
			// The next run is of the same commit, or brings another timestamp.
			for _, next := range []struct {
				commit git.OID
				proof  repository.Publishable
			}{{young, newer}, {younger, newest}} {
				store := store.Clone()
				counted := &counting{Store: store}
				to := []publish.Destination{{Store: counted}}
				if _, err := publish.Run(t.Context(), publish.Options{Commit: next.commit, Publishable: next.proof, To: to}); err != nil {
					t.Fatal(err)
				}
				if names := lacks(store, tree); names != nil {
					t.Errorf("deletion %d, killed %d calls later: after the next run %v is gone, and is listed", deletion, after, names)
				}
				if page := store.Content()["metadata/index.html"]; !strings.HasPrefix(page, "<!DOCTYPE html>") {
					t.Errorf("deletion %d, killed %d calls later: the page is still marked", deletion, after)
				}
				counted.requests.Store(0)
				again, err := publish.Run(t.Context(), publish.Options{Commit: next.commit, Publishable: next.proof, To: to})
				if err != nil || again.Changed || counted.requests.Load() > 3 {
					t.Errorf("deletion %d, killed %d calls later: the run after that takes %d requests and writes %v, %v", deletion, after, counted.requests.Load(), again.Destinations[0].Written, err)
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("in %d of %d states something was gone that is listed", gone, most*calls)
	if gone == 0 {
		t.Error("nothing was ever gone: the kill is not where it is meant to be")
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
