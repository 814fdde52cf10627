//go:build cgo && linux

package yubikey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest/vpcd"
)

// again starts this test binary anew for some flows, with a daemon of its own.
// Few are given as places in flows; none are all.
func again(t *testing.T, transport string, some []int) {
	t.Helper()
	const limit = 3 * time.Minute
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFlows$", "-test.v", fmt.Sprintf("-test.timeout=%s", limit))
	cmd.Env = append(os.Environ(), transportVariable+"="+transport, flowsVariable+"="+strings.Trim(fmt.Sprint(some), "[]"))
	out, err := cmd.CombinedOutput()
	want := 2 * len(some)
	if want == 0 {
		want = 2 * len(flows)
	}
	// A run that found nothing to do must not pass.
	if passed := strings.Count(string(out), "--- PASS: TestFlows/"); err != nil || passed != want {
		t.Errorf("%v, %d flows of %d passed:\n%s", err, passed, want, out)
	}
}

// many runs flows in so many processes, a few at a time, each with a choice of
// its own.
func many(t *testing.T, transport string, runs, atOnce, few int) {
	seed := uint64(1)
	if os.Getenv("TUFOPS_SOAK") != "" {
		seed = rand.Uint64()
	}
	t.Logf("seed %d, %d runs", seed, runs)
	random := rand.New(rand.NewPCG(seed, 0))
	turn := make(chan bool, atOnce)
	var wait sync.WaitGroup
	for range runs {
		some := random.Perm(len(flows))[:few]
		turn <- true
		wait.Go(func() {
			again(t, transport, some)
			<-turn
		})
	}
	wait.Wait()
}

// TestParallel runs flows beside each other over our daemon; soaking takes 200
// runs of all.
func TestParallel(t *testing.T) {
	if os.Getenv(transportVariable) != "" {
		t.Skip("is itself a run of TestParallel or TestRealDaemon")
	}
	if os.Getenv("TUFOPS_SOAK") != "" {
		many(t, "fake", 200, 8, len(flows))
		return
	}
	many(t, "fake", 6, 3, 4)
}

// TestRealDaemon runs flows over the daemon that people run; soaking takes 20
// runs of all.
func TestRealDaemon(t *testing.T) {
	if os.Getenv(transportVariable) != "" {
		t.Skip("is itself a run of TestParallel or TestRealDaemon")
	}
	requireReal(t)
	if os.Getenv("TUFOPS_SOAK") != "" {
		many(t, "real", 20, 4, len(flows))
		return
	}
	many(t, "real", 2, 2, 2)
}

// requireReal skips a test where the real daemon is not installed, unless it has
// to be.
func requireReal(t *testing.T) {
	t.Helper()
	err := vpcd.Missing()
	switch {
	case err == nil:
	case os.Getenv("TUFOPS_REQUIRE_PCSCD") != "":
		t.Fatalf("%v (TUFOPS_REQUIRE_PCSCD is set)", err)
	default:
		t.Skip(err)
	}
}
