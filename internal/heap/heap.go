// Package heap puts off a program's first garbage collection, until the heap has
// 16 MB in place of 4. Most commands end before, and what packages do before main would
// have cost them one: a fifth of the time of some. From then on memory is collected as in
// any program.
//
// To import it is all there is. It imports nothing of ours and nothing beyond the runtime,
// so Go initialises it before nearly all others. It does nothing where GOGC is set.
package heap

import (
	"runtime"
	"runtime/debug"
)

// The usual percentage is Go's own; at the first one the smallest heap that is collected
// is four times as large.
const usual, first = 100, 400

func init() { begin() }

func begin() {
	if now := debug.SetGCPercent(first); now != usual {
		debug.SetGCPercent(now)
		return
	}
	// Go cleans up after an object when a collection finds it unused.
	runtime.AddCleanup(new([32]byte), func(int) { debug.SetGCPercent(usual) }, 0)
}
