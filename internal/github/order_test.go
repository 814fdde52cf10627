package github_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// A sequence is one order in which people push and workflows run: people do one
// thing after another, each push starts a run, and whose turn it is, at every
// request of every run, follows from the seed. So does what goes wrong.
type sequence struct {
	*story
	random *rand.Rand

	mu     sync.Mutex
	pushed []string // commits of people
	log    []string
}

func (q *sequence) note(format string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log = append(q.log, fmt.Sprintf(format, args...))
}

// act is one thing that people do: they take over what is there, change it and
// push it.
func (q *sequence) act(n int) {
	q.Run("fetch", "-q", "origin")
	if n > 0 {
		q.Run("reset", "-q", "--hard", "origin/"+Event)
	}
	what := q.random.IntN(6)
	switch {
	case what == 0 || n == 0: // the bot has to bring the metadata in line
		q.Artifact(fmt.Sprintf("file-%d.txt", n), "x")
	case what == 1: // a new version without signatures
		name := fmt.Sprintf("listed-%d.txt", n)
		q.Artifact(name, "y").Edit("targets", func(o metadata.Object) { List(o, name, "y") })
	case what == 2: // main moves
		q.Run("switch", "-q", "-C", "main", "origin/main")
		q.Edit("releases", nil).Sign("releases", "carol")
		q.Commit("another event, merged")
		q.Run("push", "-q", "origin", "main")
		q.Run("switch", "-q", Event)
		q.note("main moved")
		return
	default:
		q.Sign("targets", "alice", "bob")
		what = 3
	}
	q.Commit(fmt.Sprintf("act %d", n))
	head := q.Run("rev-parse", "HEAD")
	if _, err := q.Try("push", "-q", "origin", "HEAD:"+Event); err != nil {
		q.note("too late to push %d", what) // the bot was faster; people look again
		return
	}
	q.mu.Lock()
	q.pushed = append(q.pushed, head)
	q.mu.Unlock()
	q.note("pushed %d, %.8s", what, head)
}

// turn gives the others their turn: a request of no effect.
func (q *sequence) turn(e githubtest.Endpoint) {
	req, err := http.NewRequest("GET", e.REST+"/repos/octo/tuf", nil)
	if err != nil {
		q.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+q.token)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
	}
}

// complete tells from the head alone whether the event is: what the targets
// metadata lists is what is there, and two of its three people have signed it.
func (q *sequence) complete() bool {
	q.t.Helper()
	q.Run("fetch", "-q", "origin")
	q.Run("reset", "-q", "--hard", "origin/"+Event)
	listed := map[string]string{}
	for name, target := range q.Doc("targets").Targets() {
		listed[name] = target.Hashes["sha256"]
	}
	for _, name := range strings.Fields(q.Run("ls-tree", "-r", "--name-only", "HEAD", "targets/")) {
		name = strings.TrimPrefix(name, "targets/")
		sum := sha256.Sum256([]byte(q.ReadFile("targets/" + name)))
		if strings.HasPrefix(name, "releases/") {
			continue
		}
		if listed[name] != hex.EncodeToString(sum[:]) {
			return false
		}
		delete(listed, name)
	}
	if len(listed) > 0 {
		return false
	}
	d, _ := q.Doc("root").Delegation("targets")
	return len(metadata.Check(d, q.Doc("targets")).Signed) >= 2
}

// settled checks what must hold once every run has ended.
func (q *sequence) settled() {
	q.t.Helper()
	pulls := q.gh.Pulls()
	if len(pulls) != 1 || pulls[0].State != "open" {
		q.t.Fatalf("pull requests %+v", pulls)
	}
	head, complete := q.head(), q.complete()
	if pulls[0].Draft == complete {
		q.t.Errorf("draft is %v, complete is %v", pulls[0].Draft, complete)
	}
	want := map[bool]string{true: "success", false: "pending"}[complete]
	if got := q.state(head); got != want {
		q.t.Errorf("the head's status is %q, want %q", got, want)
	}
	boards := q.marked(1, statusMark)
	if len(boards) == 0 || !strings.Contains(boards[0].Body, "<sub>commit "+head[:12]) {
		q.t.Errorf("%d status comments, the first not about %.12s", len(boards), head)
	}
}

// history checks that no branch went backwards and no commit is lost.
func (q *sequence) history() {
	q.t.Helper()
	for _, p := range q.gh.Pushes() {
		if strings.Trim(p.Before, "0") == "" {
			continue
		}
		if p.Kind == "force_push" || p.Kind == "branch_deletion" {
			q.t.Errorf("%s of %s from %.8s to %.8s", p.Kind, p.Ref, p.Before, p.After)
		}
	}
	for _, commit := range q.pushed {
		if base := q.gh.Upstream.Run("merge-base", commit, q.head()); base != commit {
			q.t.Errorf("commit %.8s is not in the event any more", commit)
		}
	}
}

// play plays one sequence of the seed.
func play(t *testing.T, seed uint64, faults bool) {
	q := &sequence{story: begin(t, githubtest.Settings{}), random: rand.New(rand.NewPCG(seed, 7))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s\n%s", seed, strings.Join(q.log, "\n"), q.requests(0))
		}
	})
	const acts = 4
	q.act(0)
	if faults {
		q.gh.InjectFunc(githubtest.Flaky(seed, 0.2))
	}
	done := 1
	runs := map[string]func(githubtest.Endpoint){
		"people": func(e githubtest.Endpoint) {
			for n := 1; n < acts; n++ {
				q.turn(e)
				q.act(n)
				q.mu.Lock()
				done++
				q.mu.Unlock()
			}
		},
	}
	for n := range acts { // what act n pushed starts it
		runs[fmt.Sprintf("run %d", n)] = func(e githubtest.Endpoint) {
			d, err := signingevent.Drive(context.Background(), q.options(Event, q.forge(e)))
			q.note("run %d ends: %v, %v", n, d.Done, err)
			if err != nil && !faults {
				q.t.Errorf("run %d: %v", n, err)
			}
		}
	}
	shuffle := githubtest.Shuffle(seed)
	q.gh.Interleave(func(waiting []string) string {
		q.mu.Lock()
		defer q.mu.Unlock()
		var can []string
		for _, name := range waiting {
			n := -1
			fmt.Sscanf(name, "run %d", &n)
			if n < done {
				can = append(can, name)
			}
		}
		if len(can) == 0 {
			can = waiting
		}
		return shuffle(can)
	}, runs)
	q.gh.Heal()
	if t.Failed() {
		return
	}
	if !faults {
		q.settled()
	}
	q.drive()
	q.settled()
	if n := len(q.marked(1, statusMark)); n != 1 {
		t.Errorf("%d status comments after one more run", n)
	}
	seen := map[string]bool{}
	for _, c := range q.marked(1, callMark) {
		marker := c.Body[strings.Index(c.Body, callMark):]
		if seen[marker] {
			t.Errorf("a call is there twice: %s", marker)
		}
		seen[marker] = true
	}
	q.quiet()
	q.history()
}

// TestAnyOrder: pushes and runs in any order, at any request, any number of
// times; then with requests that fail, before and after they took effect.
func TestAnyOrder(t *testing.T) {
	n := 6
	if os.Getenv("TUFOPS_SOAK") != "" {
		n = 100
	}
	for _, faults := range []bool{false, true} {
		for seed := range uint64(n) {
			t.Run(fmt.Sprintf("faults %v/seed %d", faults, seed), func(t *testing.T) {
				t.Parallel()
				play(t, seed, faults)
			})
		}
	}
}

// TestStopped: a run that is stopped at any request, before GitHub did what was asked
// or after, and another one: all is there once, as after a run that nothing stopped.
// One of the ways in each make test, all of them with TUFOPS_SOAK.
func TestStopped(t *testing.T) {
	stop := func(t *testing.T, at int, carriedOut bool) (requests int) {
		s := begin(t, githubtest.Settings{})
		s.Artifact("b.txt", "b")
		s.push("an artifact")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.gh.InjectFunc(func(*githubtest.Request) *githubtest.Fault {
			if requests++; requests != at {
				return nil
			}
			cancel()
			return &githubtest.Fault{Drop: true, Done: carriedOut}
		})
		_, err := signingevent.Drive(ctx, s.options(Event, s.forge(s.gh.Endpoint(""))))
		s.gh.Heal()
		if (err == nil) != (at == 0) || at > 0 && requests != at {
			t.Errorf("after %d requests: %v", requests, err)
		}
		if at > 0 {
			s.drive()
			s.quiet()
		}
		s.want(1, true, "pending", "@alice @bob @carol")
		return requests
	}
	n := stop(t, 0, false)
	if n < 6 {
		t.Fatalf("a run makes %d requests", n)
	}
	chosen := rand.IntN(2 * n)
	for i := range 2 * n {
		if i == chosen || os.Getenv("TUFOPS_SOAK") != "" {
			t.Run(fmt.Sprintf("at request %d, carried out %v", 1+i/2, i%2 == 1), func(t *testing.T) { stop(t, 1+i/2, i%2 == 1) })
		}
	}
}
