//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
)

// beProgram makes the test binary the program, so that a process can be killed
// that runs it whole.
const beProgram = "TUFOPS_TEST_BE_PROGRAM"

func init() {
	if os.Getenv(beProgram) != "" {
		main()
	}
}

// aProgram is tufops in a process of its own, which has less right to the
// processor than whoever wants to kill it.
func aProgram(t testing.TB, args ...string) (cmd *exec.Cmd, output *strings.Builder) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), beProgram+"=1", "TUFOPS_NOW="+publishtest.Now.Format(time.RFC3339))
	output = &strings.Builder{}
	cmd.Stderr = output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19)
	return cmd, output
}

// bigChange is a repository with a state that is live and one that is to be
// published: many artifacts, new keys, a new delegation.
func bigChange(t *testing.T) (r *publishtest.Repo, before, after git.OID) {
	t.Helper()
	r = publishtest.New(t)
	before = r.Commit(t, "before")
	r.RotateKey(metadata.Root, "root2", true)
	r.RotateKey(metadata.Targets, "targets2", true)
	r.Delegate(metadata.Targets, "d", true, []string{"*.bin"})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		content := make([]byte, 16<<10)
		for j := range content {
			content[j] = byte(rng.Uint32())
		}
		r.AddTarget("d", fmt.Sprintf("%03d.bin", i), string(content))
	}
	r.Publish("d", metadata.Targets)
	r.RotateOnlineKey("online2", true)
	return r, before, r.Commit(t, "after")
}

// below is [state] by name below the directory.
func below(t testing.TB, root string) map[string]string {
	t.Helper()
	names := map[string]string{}
	for path, hash := range state(t, root) {
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		names[filepath.ToSlash(name)] = hash
	}
	return names
}

// checkClients has new clients of both kinds update to what is in a directory.
// They must not come out older than before.
func checkClients(t *testing.T, site string, root []byte, least int64) {
	t.Helper()
	store, err := dir.Open(site, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := publishtest.Client(t, store, root, "")
	result, err := c.Refresh(t.Context())
	if err == nil {
		_, _, err = c.Read(t.Context(), "a.txt")
	}
	if err != nil || result.Timestamp.Version < least {
		t.Errorf("a client comes to %v, %v", result, err)
	}
	theirs, err := gotuf.New(gotuf.Options{Root: root, Now: publishtest.Now, Open: func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(site, filepath.FromSlash(name)))
	}})
	if err == nil {
		err = theirs.Refresh()
	}
	if err != nil || theirs.Version(metadata.Timestamp) < least {
		t.Errorf("go-tuf: %v", err)
	}
}

// TestPublishKilled kills the program (SIGKILL) at random moments while it writes
// to a directory. Clients go on at every one of them, and the next run ends as if
// nothing had been.
func TestPublishKilled(t *testing.T) {
	kills := 3
	switch {
	case os.Getenv("TUFOPS_SOAK") != "":
		kills = 50 // in each of ten runs
	case os.Getenv("CI") != "":
		kills = 60
	}
	seed := uint64(1)
	if os.Getenv("TUFOPS_SOAK") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("TUFOPS_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("TUFOPS_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))

	r, before, after := bigChange(t)
	root := r.Files["metadata/1.root.json"]
	publishTo := func(site string, args ...string) string {
		t.Helper()
		status, stdout, stderr := tufopsAt(t, publishtest.Now, nil, append([]string{"-C", r.Git.Dir, "publish", "--to", "file://" + site, "--format", "json"}, args...)...)
		if status != 0 {
			t.Fatalf("exit status %d: %s", status, stderr)
		}
		return stdout
	}
	old, clean := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "clean")
	r.Git.Run("checkout", "-q", string(before))
	publishTo(old)
	r.Git.Run("checkout", "-q", string(after))
	if err := os.CopyFS(clean, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	var report publish.Report
	if err := json.Unmarshal([]byte(publishTo(clean)), &report); err != nil {
		t.Fatal(err)
	}
	order := report.Destinations[0].Written
	first, last := below(t, old), below(t, clean)

	// A busy machine kills some too late: only those in the middle count.
	mid, tries := 0, 0
	for ; mid < kills && tries < 4*kills; tries++ {
		site := filepath.Join(t.TempDir(), "site")
		if err := os.CopyFS(site, os.DirFS(old)); err != nil {
			t.Fatal(err)
		}
		// It is killed when this file appears, or what replaces it.
		k := rng.IntN(len(order) - 2) // what stands there already, as timestamp.json, is told by its content
		mark := filepath.Join(site, filepath.FromSlash(order[k].Name))
		was, _ := os.Stat(mark)
		cmd, output := aProgram(t, "-C", r.Git.Dir, "publish", "--to", "file://"+site)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for waiting := true; waiting; {
			now, err := os.Stat(mark)
			switch {
			case err == nil && (was == nil || !os.SameFile(was, now)):
				waiting = false
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				t.Fatal(err)
			}
			select {
			case err := <-done:
				done <- err
				waiting = false
			default:
			}
		}
		_ = cmd.Process.Kill()
		if err := <-done; err != nil && !strings.Contains(err.Error(), "killed") {
			t.Fatalf("%v: %s", err, output)
		}
		left := below(t, site)
		maps.DeleteFunc(left, func(name string, _ string) bool { return strings.HasPrefix(name, dir.Staging) })
		if !maps.Equal(left, first) && !maps.Equal(left, last) {
			mid++
		}
		checkClients(t, site, root, 2)
		publishTo(site)
		if got := below(t, site); !maps.Equal(got, last) {
			t.Errorf("kill %d at %s: the next run ends with %d files and not with the %d of a clean one", tries, order[k].Name, len(got), len(last))
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d of them in the middle", tries, mid)
	if mid < kills {
		t.Errorf("only %d of %d kills came in the middle, want %d", mid, tries, kills)
	}
}

// TestPublishers runs two and four whole programs at the same time, each for a
// commit of its own, on one directory: the newest wins.
func TestPublishers(t *testing.T) {
	if os.Getenv("TUFOPS_SOAK") == "" {
		t.Skip("make soak runs it; the same is tried in one process in every run")
	}
	r, before, after := bigChange(t)
	root := r.Files["metadata/1.root.json"]
	commits := []git.OID{before, after}
	for i := range 2 {
		r.Publish(metadata.Timestamp)
		commits = append(commits, r.Commit(t, fmt.Sprintf("timestamp %d", i)))
	}
	clones := make([]string, len(commits))
	for i, c := range commits {
		clones[i] = filepath.Join(t.TempDir(), "clone")
		r.Git.Run("clone", "-q", ".", clones[i])
		cmd := exec.Command("git", "-C", clones[i], "checkout", "-q", string(c))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for round := range 5 {
		for _, who := range [][]int{{0, 3}, {1, 2}, {0, 1, 2, 3}} {
			site := filepath.Join(t.TempDir(), "site")
			var wg sync.WaitGroup
			outs := make([]*strings.Builder, len(who))
			errs := make([]error, len(who))
			for i, w := range who {
				cmd, out := aProgram(t, "-C", clones[w], "publish", "--to", "file://"+site)
				outs[i] = out
				wg.Go(func() { errs[i] = cmd.Wait() })
			}
			wg.Wait()
			newest := slices.Max(who)
			for i, err := range errs {
				if err != nil && (who[i] == newest || !strings.Contains(outs[i].String(), "clients refuse to go back")) {
					t.Errorf("round %d, publishers %v: that of commit %d: %v: %s", round, who, who[i], err, outs[i])
				}
			}
			published, err := r.Publishable(t, commits[newest]).For(commits[newest])
			if err != nil {
				t.Fatal(err)
			}
			checkClients(t, site, root, published.Timestamp().Version())
		}
	}
}
