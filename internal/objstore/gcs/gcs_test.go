package gcs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/internal/objstore/gcs"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

// emulator is fake-gcs-server on loopback, with what it does not do: it deletes
// whatever the condition says.
type emulator struct {
	*fakestorage.Server
	http.Handler
	mu sync.Mutex
}

func newEmulator(t *testing.T) (*emulator, string) {
	t.Helper()
	e := &emulator{}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: server.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Stop)
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "tuf"})
	e.Server, e.Handler = fake, fake.HTTPHandler()
	return e, server.URL
}

func (e *emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		e.Handler.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if key, ok := strings.CutPrefix(r.URL.Path, "/storage/v1/b/tuf/o/"); ok && r.Method == http.MethodDelete {
		object, err := e.GetObject("tuf", key)
		if err == nil && r.URL.Query().Get("ifGenerationMatch") != fmt.Sprint(object.Generation) {
			w.WriteHeader(http.StatusPreconditionFailed)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": http.StatusPreconditionFailed, "message": "conditionNotMet"}})
			return
		}
	}
	e.Handler.ServeHTTP(w, r)
}

func open(t *testing.T, url string, o gcs.Options) *gcs.Store {
	t.Helper()
	at, err := bucket.Parse(url, 1)
	if err != nil {
		t.Fatal(err)
	}
	return gcs.Open(at, o)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Destination {
		_, service := newEmulator(t)
		way, clock := storetest.NewWay(t, service), &storetest.Clock{}
		t.Setenv("STORAGE_EMULATOR_HOST", way.URL)
		return storetest.Destination{
			Open: func() publish.Store {
				return open(t, "gs://tuf/staging/new", gcs.Options{PageSize: storetest.PageSize(), Sleep: clock.Sleep})
			},
			Public:  storetest.OverHTTP(service + "/tuf/staging/new"),
			Digests: true,
			Way:     way,
			Clock:   clock,
		}
	})
}

// TestPrefix: what stands beside the prefix is another destination's.
func TestPrefix(t *testing.T) {
	_, service := newEmulator(t)
	t.Setenv("STORAGE_EMULATOR_HOST", service)
	one, two, all := open(t, "gs://tuf/a", gcs.Options{}), open(t, "gs://tuf/ab/", gcs.Options{}), open(t, "gs://tuf", gcs.Options{})
	if err := storetest.Put(t.Context(), one, "metadata/x", "one", ""); err != nil {
		t.Fatal(err)
	}
	if objects, err := two.List(t.Context(), ""); err != nil || len(objects) != 0 {
		t.Errorf("List gives %v, %v", objects, err)
	}
	if objects, err := one.List(t.Context(), ""); err != nil || len(objects) != 1 || objects[0].Name != "metadata/x" {
		t.Errorf("List gives %v, %v", objects, err)
	}
	if content, _ := storetest.Read(t, all, "a/metadata/x"); string(content) != "one" {
		t.Errorf("the bucket holds %q", content)
	}
	if got := two.URL(); got != "gs://tuf/ab" {
		t.Errorf("URL is %s", got)
	}
}

func TestErrors(t *testing.T) {
	_, service := newEmulator(t)
	t.Setenv("STORAGE_EMULATOR_HOST", service)
	s := open(t, "gs://missing/x", gcs.Options{})
	_, err := s.List(t.Context(), "metadata/")
	if e := (*bucket.Error)(nil); !errors.As(err, &e) || e.Kind != bucket.NoBucket {
		t.Errorf("List gives %v, which should say that there is no bucket", err)
	}
	if err := storetest.Put(t.Context(), s, "metadata/x", "x", ""); err == nil || errors.Is(err, publish.ErrChanged) {
		t.Errorf("Put gives %v", err)
	}
}
