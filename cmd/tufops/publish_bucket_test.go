package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
)

// TestPublishToBucket: a bucket and the site of a forge get what a directory
// gets, under the same names, with the headers that caches need.
func TestPublishToBucket(t *testing.T) {
	r := publishtest.New(t)
	r.Commit(t, "first")
	service := httptest.NewUnstartedServer(nil)
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: service.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Stop()
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "tuf"})
	service.Config.Handler = fake.HTTPHandler()
	service.Start()
	defer service.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", service.URL)

	top := t.TempDir()
	dir, site := filepath.Join(top, "dir"), filepath.Join(top, "site")
	publish := func(args ...string) (int, string, string) {
		t.Helper()
		return tufopsAt(t, publishtest.Now, nil, append([]string{"-C", r.Git.Dir, "publish"}, args...)...)
	}
	status, stdout, stderr := publish("--to", "file://"+dir, "--to", "gs://tuf/prod", "--to", "pages:"+site)
	if status != 0 || !strings.Contains(stdout, "gs://tuf/prod") || !strings.Contains(stdout, "pages:"+site) {
		t.Fatalf("exit status %d: %s%s", status, stdout, stderr)
	}
	files := state(t, dir)
	if len(files) == 0 {
		t.Fatal("nothing was published")
	}
	read := storetest.OverHTTP(service.URL + "/tuf/prod")
	for file := range files {
		name, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if built, err := os.ReadFile(filepath.Join(site, name)); err != nil || string(built) != string(want) {
			t.Errorf("the site has another %s: %v", name, err)
		}
		got, err := read(filepath.ToSlash(name))
		if err != nil || got.Content != string(want) {
			t.Errorf("the bucket has another %s: %v", name, err)
		}
		if name == "metadata/timestamp.json" && !strings.Contains(got.CacheControl, "no-cache") || strings.HasSuffix(name, ".root.json") && !strings.Contains(got.CacheControl, "immutable") {
			t.Errorf("caches are told %q of %s", got.CacheControl, name)
		}
	}
	if status, stdout, stderr := publish("--format", "json", "--to", "gs://tuf/prod"); status != 0 || !strings.Contains(stdout, `"changed": false`) {
		t.Errorf("the second time: exit status %d: %s%s", status, stdout, stderr)
	}
	if status, _, stderr := publish("--to", "pages:"+site); status != 1 || !strings.Contains(stderr, "hint: name a directory that is empty") {
		t.Errorf("a site over another one: exit status %d: %s", status, stderr)
	}
}
