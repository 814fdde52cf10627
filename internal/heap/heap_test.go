package heap

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// gcPercent reads what it can only set.
func gcPercent() int {
	now := debug.SetGCPercent(usual)
	debug.SetGCPercent(now)
	return now
}

// The first collection is put off, and only that one: a large repository costs no
// more memory than in any program. Kills: one that sets it for good.
func TestOnlyTheFirst(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	begin()
	if got := gcPercent(); got != first {
		t.Errorf("the first collection comes at %d per cent", got)
	}
	for gcPercent() != usual { // a hang is the failure
		runtime.GC()
		runtime.Gosched()
	}
}

// Who has set GOGC is heard. Kills: one that knows better.
func TestEnvironment(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as GOGC=50 does
	begin()
	if got := gcPercent(); got != 50 {
		t.Errorf("got %d per cent, want 50", got)
	}
}
