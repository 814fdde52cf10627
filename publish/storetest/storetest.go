// Package storetest has what tests of destinations share: the contract of
// [publish.Store] as a test, a store in memory, and one that breaks at a chosen
// write.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/publish"
)

// Destination is an empty destination that a store is tried on.
type Destination struct {
	// Open may be called again for another view of the same destination, as a
	// second process would have it. A view of a service lists [PageSize] objects
	// at a time.
	Open func() publish.Store
	// OneView says that Open returns the same store each time.
	OneView bool
	// Public reads an object as everybody would. It is set where the store says
	// that it keeps headers, and only there.
	Public func(name string) (Answer, error)
	// Digests says that a listing tells the digest of each object.
	Digests bool
	// Way is the way from the views to the service; nil: there is no service.
	Way *Way
	// Clock is what views wait by before they repeat a write; nil where Way is.
	Clock *Clock
	// Secrets may stand in no error.
	Secrets []string
}

// Run tests that a store keeps the contract of [publish.Store], and that of
// [publish.Exclusive] and [publish.Remover] if it has them.
func Run(t *testing.T, empty func(t *testing.T) Destination) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, d Destination)
	}{
		{"EmptyDestination", emptyDestination},
		{"PutGetList", putGetList},
		{"Names", objectNames},
		{"Listing", listing},
		{"Headers", headers},
		{"CompareAndSwap", compareAndSwap},
		{"CompareAndSwapRace", race},
		{"FailedBody", failedBody},
		{"CancelledContext", cancelled},
		{"ReadWhileReplaced", readWhileReplaced},
		{"Delete", remove},
		{"Exclusive", exclusive},
		{"BrokenWrite", brokenWrite},
		{"BrieflyBroken", briefly},
		{"BrokenRead", brokenRead},
		{"SlowService", slowService},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, empty(t)) })
	}
}

// Read returns an object's content.
func Read(t testing.TB, s publish.Reader, name string) ([]byte, publish.Version) {
	t.Helper()
	rd, v, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("Get(%s): %v", name, err)
	}
	defer rd.Close()
	data, err := io.ReadAll(rd)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	if v == "" {
		t.Fatalf("Get(%s): the version is empty", name)
	}
	return data, v
}

// Put writes an object.
func Put(ctx context.Context, s publish.Store, name, content string, was publish.Version) error {
	return s.Put(ctx, publish.Upload{Name: name, Size: int64(len(content)), Body: strings.NewReader(content), Was: was})
}

func put(t *testing.T, s publish.Store, name, content string, was publish.Version) {
	t.Helper()
	if err := Put(t.Context(), s, name, content, was); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func want(t *testing.T, s publish.Reader, name, content string) publish.Version {
	t.Helper()
	data, v := Read(t, s, name)
	if string(data) != content {
		t.Fatalf("%s holds %q, want %q", name, data, content)
	}
	return v
}

func names(t *testing.T, s publish.Reader, prefix string) string {
	t.Helper()
	objects, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatalf("List(%s): %v", prefix, err)
	}
	var list []string
	for _, o := range objects {
		list = append(list, fmt.Sprintf("%s:%d", o.Name, o.Size))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func emptyDestination(t *testing.T, d Destination) {
	s := d.Open()
	if _, _, err := s.Get(t.Context(), "metadata/timestamp.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get gives %v, want fs.ErrNotExist", err)
	}
	if got := names(t, s, "metadata/"); got != "" {
		t.Errorf("List gives %s, want nothing", got)
	}
	if err := Put(t.Context(), s, "metadata/timestamp.json", "x", "never-seen"); !errors.Is(err, publish.ErrChanged) {
		t.Errorf("Put over an object that does not exist gives %v, want ErrChanged", err)
	}
}

func putGetList(t *testing.T, d Destination) {
	s := d.Open()
	content := map[string]string{
		"metadata/1.root.json":        "root",
		"metadata/timestamp.json":     "timestamp",
		"targets/abc.file":            "",
		"targets/dir/sub/abc.größe %": strings.Repeat("0123456789", 100_000),
	}
	for name, data := range content {
		put(t, s, name, data, "")
	}
	other := d.Open() // what is put is there for everybody
	for name, data := range content {
		want(t, other, name, data)
	}
	if got, want := names(t, other, "metadata/"), "metadata/1.root.json:4 metadata/timestamp.json:9"; got != want {
		t.Errorf("List(metadata/) gives %s, want %s", got, want)
	}
	if got, want := names(t, other, "targets/"), "targets/abc.file:0 targets/dir/sub/abc.größe %:1000000"; got != want {
		t.Errorf("List(targets/) gives %s, want %s", got, want)
	}
	for _, prefix := range []string{"targets/dir", "targets/dir/sub/a"} {
		if got, want := names(t, other, prefix), "targets/dir/sub/abc.größe %:1000000"; got != want {
			t.Errorf("List(%s) gives %s, want %s", prefix, got, want)
		}
	}
}

func compareAndSwap(t *testing.T, d Destination) {
	s := d.Open()
	const name = "metadata/timestamp.json"
	put(t, s, name, "1", "")
	v1 := want(t, s, name, "1")
	refuse := func(content string, was publish.Version) {
		t.Helper()
		if err := Put(t.Context(), s, name, content, was); !errors.Is(err, publish.ErrChanged) {
			t.Errorf("Put(was %q) gives %v, want ErrChanged", was, err)
		}
	}
	refuse("2", "")
	refuse("1", "") // not even with the same content
	refuse("2", "other")
	if v := want(t, s, name, "1"); v != v1 {
		t.Errorf("the version went from %q to %q although nothing was written", v1, v)
	}
	put(t, d.Open(), name, "2", v1)
	if v := want(t, s, name, "2"); v == v1 {
		t.Errorf("the version %q stayed although the object changed", v)
	}
	refuse("3", v1)
	want(t, s, name, "2")
}

func race(t *testing.T, d Destination) {
	const name, writers, rounds = "metadata/timestamp.json", 8, 10
	var was publish.Version
	for round := range rounds {
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i := range writers {
			s := d.Open()
			wg.Go(func() { errs[i] = Put(t.Context(), s, name, fmt.Sprintf("%d-%d", round, i), was) })
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: %d and %d both replaced the same version", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, publish.ErrChanged):
				t.Fatalf("round %d: %v, want ErrChanged", round, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		was = want(t, d.Open(), name, fmt.Sprintf("%d-%d", round, winner))
	}
}

type broken struct{ r io.Reader }

var errBroken = errors.New("the source broke off")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

// failedBody: an object appears whole or not at all.
func failedBody(t *testing.T, d Destination) {
	s := d.Open()
	put(t, s, "metadata/timestamp.json", "old", "")
	v := want(t, s, "metadata/timestamp.json", "old")
	for _, name := range []string{"metadata/timestamp.json", "targets/new"} {
		was := v
		if name == "targets/new" {
			was = ""
		}
		if err := s.Put(t.Context(), publish.Upload{Name: name, Size: 9, Body: broken{strings.NewReader("new")}, Was: was}); !errors.Is(err, errBroken) {
			t.Errorf("Put(%s) from a source that breaks off gives %v", name, err)
		}
		for _, size := range []int64{2, 4} {
			if err := s.Put(t.Context(), publish.Upload{Name: name, Size: size, Body: strings.NewReader("new"), Was: was}); err == nil {
				t.Errorf("Put(%s) of 3 bytes as %d succeeds", name, size)
			}
		}
	}
	want(t, s, "metadata/timestamp.json", "old")
	if got := names(t, s, "targets/"); got != "" {
		t.Errorf("after failed writes there is %s", got)
	}
	put(t, s, "targets/new", "new", "")
	want(t, s, "targets/new", "new")
}

func cancelled(t *testing.T, d Destination) {
	s := d.Open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Put(ctx, s, "targets/new", "new", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Put gives %v, want context.Canceled", err)
	}
	if got := names(t, s, "targets/"); got != "" {
		t.Errorf("after a cancelled write there is %s", got)
	}
	put(t, s, "targets/new", "new", "")
}

// readWhileReplaced: who has opened an object reads that very content.
func readWhileReplaced(t *testing.T, d Destination) {
	s := d.Open()
	old, young := bytes.Repeat([]byte("old"), 1<<20), strings.Repeat("young", 1<<20)
	put(t, s, "metadata/timestamp.json", string(old), "")
	rd, v, err := s.Get(t.Context(), "metadata/timestamp.json")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	put(t, s, "metadata/timestamp.json", young, v)
	got, err := io.ReadAll(rd)
	if err != nil || !bytes.Equal(got, old) {
		t.Errorf("reading on gives %d bytes and %v, not the old content", len(got), err)
	}
}

func exclusive(t *testing.T, d Destination) {
	first, ok := d.Open().(publish.Exclusive)
	if !ok || d.OneView {
		return
	}
	unlock, err := first.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, first.(publish.Store), "metadata/a", "a", "") // its holder may write
	second := d.Open()
	want(t, second, "metadata/a", "a") // and everybody may read
	got := make(chan error, 1)
	go func() {
		unlock, err := second.(publish.Exclusive).Lock(t.Context())
		if err == nil {
			unlock()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("a second publisher got in: %v", err)
	default:
	}
	unlock()
	if err := <-got; err != nil {
		t.Errorf("the second publisher waited in vain: %v", err)
	}
	put(t, second, "metadata/b", "b", "")
}
