package onlinesign_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// Runs at the same moment in clones of one upstream: one of them signs, the
// others find it done. Somebody else's push in between is not lost. Ten repetitions,
// as make soak has them, are 200 rounds with 2, 4 and 8 runs each; TUFOPS_ROUNDS=200
// has them in one.
func TestConcurrentRuns(t *testing.T) {
	asked, _ := strconv.Atoi(os.Getenv("TUFOPS_ROUNDS"))
	if os.Getenv("TUFOPS_SOAK") != "" {
		asked = max(asked, 20)
	}
	for n, rounds := range map[int]int{2: 1, 4: 1, 8: 0} {
		if rounds = max(rounds, asked); rounds == 0 {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Sign()
			var repos []*repository.Repository
			for i := range n {
				repos = append(repos, w.Clone(fmt.Sprintf("bot%d", i)))
			}
			person := w.Upstream.Clone("person")
			first, again := make([]int, n), 0
			for round := range rounds {
				w.Wait(day)
				before := w.Upstream.Head("main")
				version := w.Document("timestamp").Version()
				results, errs := make([]onlinesign.Result, n), make([]error, n)
				ready := make(chan struct{})
				var done sync.WaitGroup
				for i, repo := range repos {
					done.Go(func() {
						<-ready
						results[i], errs[i] = w.Run(repo)
					})
				}
				note := fmt.Sprintf("Note %d", round)
				done.Go(func() { // a person, who has to try again where the bot was first
					<-ready
					for {
						person.Run("fetch", "--quiet")
						person.Run("reset", "--quiet", "--hard", "origin/main")
						person.WriteFile(note, "for the record\n")
						person.Commit(note)
						if _, err := person.Try("push", "--quiet", "origin", "HEAD:main"); err == nil {
							return
						}
						again++
					}
				})
				close(ready)
				done.Wait()

				winners := 0
				for i := range n {
					if errs[i] != nil {
						t.Errorf("round %d: run %d: %v", round, i, errs[i])
					}
					winners += len(results[i].Signed)
					first[i] += len(results[i].Signed)
				}
				if winners != 1 {
					t.Errorf("round %d: %d runs say that they signed, want 1", round, winners)
				}
				if got := w.Document("timestamp").Version(); got != version+1 {
					t.Errorf("round %d: timestamp went from version %d to %d", round, version, got)
				}
				if got := w.Upstream.Run("rev-list", "--count", before+"..main"); got != "2" {
					t.Errorf("round %d: %s commits, want the bot's and the person's", round, got)
				}
				if got := w.Upstream.Run("rev-list", "--merges", "--count", "main"); got != "0" {
					t.Errorf("round %d: %s merges", round, got)
				}
				if got := w.Upstream.Run("log", "--format=%s", before+"..main"); strings.Count(got, "Online sign (timestamp)") != 1 || strings.Count(got, note) != 1 {
					t.Errorf("round %d: commits %q", round, got)
				}
			}
			t.Logf("%d rounds of %d runs: each signed %v times; a person's push was refused %d times", rounds, n, first, again)
			update(t, w, nil)
			for i, repo := range repos { // wherever each was left, its next run brings it to main
				if _, err := w.Run(repo); err != nil {
					t.Fatal(err)
				}
				if at, err := repo.Git.Resolve(context.Background(), "HEAD"); err != nil || string(at) != w.Upstream.Head("main") {
					t.Errorf("clone %d stays at %s (%v)", i, at, err)
				}
			}
		})
	}
}

// shim stands before git in PATH. It counts the calls that write; at call number
// $TUFOPS_SHIM_AT it ends before git has run, or after it, as if the machine had
// been switched off: from then on no git runs at all.
const shim = `#!/bin/sh
write=
for arg in "$@"; do
	case "$arg" in
	hash-object|update-index|write-tree|commit-tree|push|fetch|read-tree|update-ref|checkout|reset) write=$arg; break ;;
	esac
done
dir=$TUFOPS_SHIM_DIR
[ ! -e "$dir/dead" ] || exit 137
if [ -n "$write" ]; then
	n=$(($(cat "$dir/count") + 1))
	echo $n >"$dir/count"
	echo "$write" >>"$dir/log"
	if [ "$TUFOPS_SHIM_AT" = "$n-before" ]; then : >"$dir/dead"; exit 137; fi
	if [ "$TUFOPS_SHIM_AT" = "$n-after" ]; then "$TUFOPS_SHIM_GIT" "$@" >/dev/null; : >"$dir/dead"; exit 137; fi
fi
exec "$TUFOPS_SHIM_GIT" "$@"
`

// A run is stopped before and after every git process that writes, each in
// turn; in make test at every second of these moments, the first by chance. The
// next run ends where an undisturbed one ends: the same versions, one commit, the
// checkout at main and clean.
func TestStoppedAnywhere(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	bot := w.Upstream.Clone("bot")
	path := os.Getenv("PATH")
	t.Setenv("TUFOPS_SHIM_GIT", git)

	// run signs in bot's clone; at is "" or where to stop.
	run := func(at string) (onlinesign.Result, []string, error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "count"), []byte("0"), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("TUFOPS_SHIM_DIR", dir)
		t.Setenv("TUFOPS_SHIM_AT", at)
		repo := w.Open(bot.Dir)
		t.Setenv("PATH", bin+string(filepath.ListSeparator)+path)
		r, err := w.Run(repo)
		t.Setenv("PATH", path)
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		repo.Git.Close()
		return r, strings.Fields(string(log)), err
	}
	timestamp, snapshot := int64(1), int64(1)
	round := 0
	// due makes both roles due, by somebody else's push, so that bot is behind.
	due := func() {
		round++
		w.Wait(day)
		w.Artifact("a.txt", fmt.Sprint(round), true)
		timestamp++
		snapshot++
	}
	check := func(name string) {
		t.Helper()
		if got := w.Document("timestamp"); got.Version() != timestamp || got.Meta()["snapshot.json"].Version != snapshot {
			t.Errorf("%s: timestamp is version %d over snapshot %d, want %d over %d", name, got.Version(), got.Meta()["snapshot.json"].Version, timestamp, snapshot)
		}
		if got := w.Document("snapshot").Version(); got != snapshot {
			t.Errorf("%s: snapshot is version %d, want %d", name, got, snapshot)
		}
		if got := strings.Count(strings.Join(subjects(t, w), "\n"), "Online sign (snapshot & timestamp)"); got != int(snapshot) {
			t.Errorf("%s: %d online signings on main, want %d", name, got, snapshot)
		}
		if got := bot.Run("rev-parse", "HEAD"); got != w.Upstream.Head("main") {
			t.Errorf("%s: the checkout is at %s, main at %s", name, got, w.Upstream.Head("main"))
		}
		if got := bot.Run("status", "--porcelain"); got != "" {
			t.Errorf("%s: the checkout is not clean: %s", name, got)
		}
		if got := bot.Run("symbolic-ref", "HEAD"); got != "refs/heads/main" {
			t.Errorf("%s: HEAD is %s", name, got)
		}
	}

	due()
	_, writes, err := run("")
	if err != nil {
		t.Fatal(err)
	}
	check("undisturbed")
	t.Logf("git processes that write: %v", writes)
	for _, must := range []string{"fetch", "hash-object", "commit-tree", "push", "update-ref"} {
		if !strings.Contains(strings.Join(writes, " "), must) {
			t.Errorf("an undisturbed run does not %s: the shim does not see it", must)
		}
	}
	seed := rand.IntN(2)
	if s := os.Getenv("TUFOPS_SEED"); s != "" {
		seed, _ = strconv.Atoi(s)
	}
	t.Logf("TUFOPS_SEED=%d", seed)
	for n, what := range writes {
		for i, when := range []string{"before", "after"} {
			if (n+i+seed)%2 != 0 && os.Getenv("TUFOPS_SOAK") == "" {
				continue
			}
			name := fmt.Sprintf("%s %s (%d)", when, what, n+1)
			due()
			if _, log, err := run(fmt.Sprintf("%d-%s", n+1, when)); err == nil || len(log) != n+1 || log[n] != what {
				t.Fatalf("%s: the run was not stopped there: %v, %v", name, log, err)
			}
			if _, _, err := run(""); err != nil {
				t.Fatalf("%s: the next run: %v", name, err)
			}
			check(name)
			if r, _, err := run(""); err != nil || len(r.Signed) > 0 {
				t.Errorf("%s: one more run signs %q: %v", name, signedText(r), err)
			}
		}
	}
	update(t, w, nil)
}
