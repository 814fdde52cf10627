package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

// seed is where a random test begins: TUFOPS_SEED, and in make soak another one in
// each run. It is printed, so that a failure can be had again.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(1)
	if os.Getenv("TUFOPS_SOAK") != "" {
		n = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("TUFOPS_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("TUFOPS_SEED=%d", n)
	return n
}

// turns lets several users of a store go on one call at a time, in an order that
// chance decides: between any two calls of one there may be any number of the
// others. The same chance gives the same order.
type turns struct {
	asked chan turn
	users int
}

type turn struct {
	user int
	goOn chan struct{} // nil: the user is done
}

func (ts *turns) user(work func(call func())) {
	me := ts.users
	ts.users++
	go func() {
		defer func() { ts.asked <- turn{user: me} }()
		work(func() {
			goOn := make(chan struct{})
			ts.asked <- turn{me, goOn}
			<-goOn
		})
	}()
}

// play gives turns until all users are done, and returns how many there were.
func (ts *turns) play(rng *rand.Rand) (given int) {
	waiting := make([]chan struct{}, ts.users)
	active, idle := ts.users, 0
	for active > 0 {
		for idle < active {
			t := <-ts.asked
			if t.goOn == nil {
				active--
				continue
			}
			waiting[t.user] = t.goOn
			idle++
		}
		if active == 0 {
			break
		}
		n := rng.IntN(idle)
		for user, goOn := range waiting {
			if goOn == nil {
				continue
			}
			if n == 0 {
				waiting[user] = nil
				idle--
				given++
				close(goOn)
				break
			}
			n--
		}
	}
	return given
}

// inTurn is a store whose every call waits for its user's turn.
type inTurn struct {
	publish.Store
	call func()
}

func (s inTurn) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	s.call()
	return s.Store.Get(ctx, name)
}

func (s inTurn) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	s.call()
	return s.Store.List(ctx, prefix)
}

func (s inTurn) Put(ctx context.Context, u publish.Upload) error {
	s.call()
	return s.Store.Put(ctx, u)
}

// TestInterleaved: two and four publishers of different commits, one store call
// after the other in a random order, with a client that updates all the while.
// Whatever the order the newest wins and stays, and the client is never shown
// anything older. make soak tries thousands of orders.
func TestInterleaved(t *testing.T) {
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	var commits []git.OID
	commit := func(message string) { commits = append(commits, r.Commit(t, message)) }
	commit("first")
	r.AddTarget(metadata.Targets, "b.txt", "b")
	r.Publish(metadata.Targets)
	commit("artifact")
	r.RotateOnlineKey("online2", true)
	commit("online key")
	r.Publish(metadata.Timestamp)
	commit("timestamp")
	var all []repository.Publishable
	for _, c := range commits {
		all = append(all, r.Publishable(t, c))
	}
	live := &storetest.Memory{}
	mustRun(t, r, commits[0], live)

	rounds := 6
	if os.Getenv("TUFOPS_SOAK") != "" {
		rounds = 300 // in each of ten runs
	}
	start := seed(t)
	given, changed, late := 0, 0, 0
	for round := range uint64(rounds) {
		for _, who := range [][]int{{1, 2}, {0, 3}, {3, 2, 1, 0}} {
			rng := rand.New(rand.NewPCG(start+round, uint64(len(who))))
			where := fmt.Sprintf("TUFOPS_SEED=%d, publishers of commits %v", start+round, who)
			store := live.Clone()
			ts := &turns{asked: make(chan turn)}
			errs := make([]error, len(who))
			reports := make([]*publish.Report, len(who))
			for i, w := range who {
				ts.user(func(call func()) {
					reports[i], errs[i] = publish.Run(t.Context(), publish.Options{Commit: commits[w], Publishable: all[w], Parallel: 1,
						To: []publish.Destination{{URL: "store:", Store: inTurn{store, call}}}})
				})
			}
			var mu sync.Mutex
			var seen []*client.Result
			ts.user(func(call func()) {
				c := publishtest.Client(t, inTurn{store, call}, root, "")
				for range 4 {
					result, err := c.Refresh(t.Context())
					mu.Lock()
					if err == nil {
						seen = append(seen, result)
					}
					mu.Unlock()
					// It may have read a root before and a timestamp after a
					// rotation and the publication that followed it; nothing older.
					if errors.As(err, new(*client.RollbackError)) {
						t.Errorf("%s: the client is taken back: %v", where, err)
					}
				}
			})
			given += ts.play(rng)
			best := who[0]
			for _, w := range who {
				best = max(best, w)
			}
			for i, err := range errs {
				switch {
				case err == nil:
				case who[i] == best || !errors.As(err, new(*publish.NewerError)):
					t.Errorf("%s: commit %d: %v", where, who[i], err)
				default:
					late++
				}
				for _, n := range reports[i].Destinations[0].Notes {
					if n.Code == publish.NoteChangedMeanwhile {
						changed++
					}
				}
			}
			for i := 1; i < len(seen); i++ {
				if seen[i].Timestamp.Version < seen[i-1].Timestamp.Version {
					t.Errorf("%s: a client went back from %v to %v", where, seen[i-1], seen[i])
				}
			}
			content := store.Content()
			published, err := all[best].For(commits[best])
			if err != nil {
				t.Fatal(err)
			}
			if content["metadata/timestamp.json"] != string(published.Timestamp().Raw()) {
				t.Errorf("%s: the newest commit did not win", where)
			}
			if !strings.Contains(content["metadata/index.html"], `<code class="commit">`+string(commits[best])) {
				t.Errorf("%s: the status page is of another commit", where)
			}
			update(t, publishtest.Client(t, store, root, ""), nil)
			if again := mustRun(t, r, commits[best], store); again.Changed {
				t.Errorf("%s: the newest commit had to be published again: %v", where, again.Written)
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d turns; %d times a publisher started over, %d times one was late", given, changed, late)
	if changed == 0 || late == 0 {
		t.Error("nobody was ever in anybody's way: the orders are not random")
	}
}
