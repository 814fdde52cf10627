package publish_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// together lets an artifact be written only when so many are being written at
// the same time.
type together struct {
	publish.Store
	want int

	mu             sync.Mutex
	under, most    int // artifacts that are being written
	waiting        int // of them, for others to come
	full           chan struct{}
	early, written int // other files that were begun meanwhile, and artifacts that are there
}

func (s *together) Put(ctx context.Context, u publish.Upload) error {
	if !strings.HasPrefix(u.Name, "targets/") {
		s.mu.Lock()
		if s.under > 0 {
			s.early++
		}
		s.mu.Unlock()
		return s.Store.Put(ctx, u)
	}
	s.mu.Lock()
	s.under++
	s.most = max(s.most, s.under)
	full := s.full
	if s.waiting++; s.waiting == s.want {
		close(full)
		s.full, s.waiting = make(chan struct{}), 0
	}
	s.mu.Unlock()
	select {
	case <-full:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.Store.Put(ctx, u)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under--
	s.written++
	return err
}

// TestParallel: so many artifacts are written at the same time as was asked for,
// and nothing that leads to one before all of them are there.
func TestParallel(t *testing.T) {
	r := publishtest.New(t)
	for i := range 23 { // with a.txt a multiple of what is written together
		r.AddTarget(metadata.Targets, fmt.Sprintf("%d.bin", i), strings.Repeat(fmt.Sprint(i), 100))
	}
	r.Delegate(metadata.Targets, "d", true, []string{"d/*"})
	r.Publish("d", metadata.Targets)
	commit := r.Commit(t, "first")
	const parallel = 4
	store := &together{Store: &storetest.Memory{}, want: parallel, full: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // where fewer come it would never end
	defer cancel()
	var steps []publish.Progress
	report, err := publish.Run(ctx, publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), Parallel: parallel,
		Progress: func(p publish.Progress) { steps = append(steps, p) }, To: []publish.Destination{{URL: "store:", Store: store}}})
	if err != nil {
		t.Fatal(err)
	}
	if store.most != parallel || store.early != 0 || store.written != 24 {
		t.Errorf("at most %d of %d artifacts at a time, %d files before all were there; want %d of 24, and none", store.most, store.written, store.early, parallel)
	}
	total := len(report.Destinations[0].Written)
	for i, p := range steps {
		if p.Done != i+1 || p.Of != total || p.URL != "store:" {
			t.Errorf("progress %+v after %d of %d writes", p, i+1, total)
		}
	}
	if len(steps) != total {
		t.Errorf("told of %d writes, want %d", len(steps), total)
	}
}
