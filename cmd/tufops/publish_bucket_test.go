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

// TestPublishLogsIn: a job whose action names an identity logs in for a bucket of
// that cloud before anything else, and for nothing else.
func TestPublishLogsIn(t *testing.T) {
	r := publishtest.New(t)
	r.Commit(t, "first")
	env := map[string]string{"TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/pool/providers/github",
		"TUFOPS_AWS_ROLE_TO_ASSUME": "arn:aws:iam::123456789012:role/tuf", "TUFOPS_AZURE_CLIENT_ID": "client"}
	top := t.TempDir()
	dir := filepath.Join(top, "dir")
	for to, want := range map[string]string{
		"gs://tuf":             "log in for gs://tuf: GitHub gives this job no proof of what it is\ntufops: hint: give the job permissions: id-token: write\n",
		"s3://tuf":             "log in for s3://tuf: GitHub gives this job no proof of what it is\n",
		"azblob://account/tuf": "log in for azblob://account/tuf: TUFOPS_AZURE_CLIENT_ID is set and TUFOPS_AZURE_TENANT_ID is not\n",
	} {
		for _, args := range [][]string{{"--to", to}, {"--to", "file://" + dir, "--stage", to}} {
			status, stdout, stderr := tufopsAt(t, publishtest.Now, env, append([]string{"-C", r.Git.Dir, "publish"}, args...)...)
			if status != 1 || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, "nothing was published") {
				t.Errorf("%q: exit status %d: %s%s", args, status, stdout, stderr)
			}
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was published")
	}
	if status, _, stderr := tufopsAt(t, publishtest.Now, env, "-C", r.Git.Dir, "publish", "--to", "file://"+dir); status != 0 {
		t.Errorf("to a directory: exit status %d: %s", status, stderr)
	}
}
