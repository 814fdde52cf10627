package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/tufops/tufops/publish"
)

// ErrStopped is what [Faulty] says of the write at which it stops, and of all
// that follow.
var ErrStopped = errors.New("stopped here by the test")

// Faulty is a store that dies at one write, as a publisher does that is killed
// or loses its connection.
type Faulty struct {
	publish.Store

	// Stop is the number of the write to stop at, counted from 1; 0: never.
	Stop int
	// Stored says that this write is carried out, and reported as failed.
	Stored bool
	// Before, if set, is called before each write that is carried out.
	Before func(name string)

	mu     sync.Mutex
	writes []string
}

// Put implements [publish.Store].
func (f *Faulty) Put(ctx context.Context, u publish.Upload) error {
	f.mu.Lock()
	f.writes = append(f.writes, u.Name)
	n := len(f.writes)
	f.mu.Unlock()
	if f.Stop > 0 && (n > f.Stop || n == f.Stop && !f.Stored) {
		return ErrStopped
	}
	if f.Before != nil {
		f.Before(u.Name)
	}
	if err := f.Store.Put(ctx, u); err != nil {
		return err
	}
	if n == f.Stop {
		return ErrStopped
	}
	return nil
}

// Writes are the names of all writes that were asked for, in order.
func (f *Faulty) Writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.writes...)
}
