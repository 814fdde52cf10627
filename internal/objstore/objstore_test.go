package objstore_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tufops/tufops/internal/objstore"
	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

const (
	awsSecret = "correct-horse-battery-staple"
	signature = "sig=c2lnbmF0dXJl"
)

// environment names one endpoint for all services, and credentials for those
// that want some.
func environment(t *testing.T, endpoint string) {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for name, value := range map[string]string{
		"STORAGE_EMULATOR_HOST": endpoint,
		"AWS_ENDPOINT_URL_S3":   endpoint, "AWS_ACCESS_KEY_ID": "publisher", "AWS_SECRET_ACCESS_KEY": awsSecret, "AWS_SESSION_TOKEN": "",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
		"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=" + endpoint + "/acct;SharedAccessSignature=sv=2026&" + signature,
	} {
		t.Setenv(name, value)
	}
}

// TestOpen: a destination is the same however its URL is written, bytes go where
// the environment says, and opening asks nobody.
func TestOpen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("opening asks %s %s", r.Method, r.URL)
	}))
	defer server.Close()
	environment(t, server.URL)
	site, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ url, want, endpoint string }{
		{"file://" + site, "file://" + site, "file://" + site},
		{"file://localhost" + site + "/", "file://" + site, "file://" + site},
		{"file://" + site + "/a%20b", "file://" + site + "/a%20b", "file://" + site + "/a%20b"},
		{"gs://tuf", "gs://tuf", server.URL},
		{"gs://tuf/", "gs://tuf", server.URL},
		{"gs://tuf.example.com/a/b/", "gs://tuf.example.com/a/b", server.URL},
		{"s3://tuf/prod", "s3://tuf/prod", server.URL},
		{"azblob://acct/$web", "azblob://acct/$web", server.URL + "/acct/$web"},
		{"azblob://acct/tuf/prod", "azblob://acct/tuf/prod", server.URL + "/acct/tuf"},
		{"pages:" + site, "pages:" + site, "file://" + site},
	} {
		s, err := objstore.Open(t.Context(), test.url, objstore.Options{})
		if err != nil {
			t.Errorf("Open(%s): %v", test.url, err)
			continue
		}
		if s.URL() != test.want || s.Endpoint() != test.endpoint {
			t.Errorf("%s is %s at %s, want %s at %s", test.url, s.URL(), s.Endpoint(), test.want, test.endpoint)
		}
		if _, ok := s.(publish.Remover); !ok {
			t.Errorf("%s: it cannot delete", test.url)
		}
	}
}

// TestRealEndpoints: without an endpoint in the environment bytes leave the
// machine, and a destination says so before it asks for credentials.
func TestRealEndpoints(t *testing.T) {
	environment(t, "")
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "")
	t.Setenv("AWS_REGION", "eu-central-1")
	for url, want := range map[string]string{
		"gs://tuf":               "https://storage.googleapis.com",
		"s3://tuf":               "https://s3.eu-central-1.amazonaws.com",
		"azblob://acct/tuf/prod": "https://acct.blob.core.windows.net/tuf",
	} {
		s, err := objstore.Open(t.Context(), url, objstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Endpoint(); got != want {
			t.Errorf("%s is at %s, want %s", url, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	environment(t, "http://127.0.0.1:1")
	for _, test := range []struct{ url, want, hint string }{
		{"", `destination "": it is no URL, such as file:///srv/tuf`, "destinations are written azblob://ACCOUNT/CONTAINER/PREFIX, file://DIR, gs://BUCKET/PREFIX, pages:DIR, s3://BUCKET/PREFIX"},
		{"/srv/tuf", `destination "/srv/tuf": it is no URL, such as file:///srv/tuf`, "destinations are written azblob://"},
		{"ftp://host/x", `destination "ftp://host/x": there is no kind "ftp"`, "destinations are written azblob://"},
		{"GS://tuf", `destination "GS://tuf": there is no kind "GS"`, "destinations are written azblob://"},
		{"file://", `it is no URL of a directory, such as file:///srv/tuf`, "it is written file://DIR"},
		{"file:/srv/tuf", `it is no URL of a directory, such as file:///srv/tuf`, "it is written file://DIR"},
		{"file:///srv/tuf?x", `it is no URL of a directory, such as file:///srv/tuf`, "it is written file://DIR"},
		{"gs://", `"" cannot be the name of a bucket`, "it is written gs://BUCKET/PREFIX"},
		{"gs:tuf", `it names no bucket`, "it is written gs://BUCKET/PREFIX"},
		{"gs://tuf/a//b", `"a//b" cannot be a prefix`, "it is written gs://BUCKET/PREFIX"},
		{"gs://tuf/../b", `"../b" cannot be a prefix`, "it is written gs://BUCKET/PREFIX"},
		{"gs://user@tuf/x", `"user@tuf" cannot be the name of a bucket`, "it is written gs://BUCKET/PREFIX"},
		{"s3://tuf/a%20b", `"a%20b" cannot be a prefix: it is a path, and is not unescaped`, "it is written s3://BUCKET/PREFIX"},
		{"s3://tuf?region=x", `"tuf?region=x" cannot be the name of a bucket`, "it is written s3://BUCKET/PREFIX"},
		{"azblob://acct", `it does not name all of the bucket`, "it is written azblob://ACCOUNT/CONTAINER/PREFIX"},
		{"azblob://acct//x", `"" cannot be the name of a bucket`, "it is written azblob://ACCOUNT/CONTAINER/PREFIX"},
		{"pages:", `it names no directory`, "it is written pages:DIR"},
		{"pages://site", `it names no directory`, "it is written pages:DIR"},
	} {
		_, err := objstore.Open(t.Context(), test.url, objstore.Options{})
		var bad *objstore.URLError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(bad.Hint(), test.hint) {
			t.Errorf("Open(%q) gives %v, want %s, with the hint %s", test.url, err, test.want, test.hint)
		}
	}
	for _, test := range []struct{ url, want string }{
		{"azblob://other/tuf", `open azblob://other/tuf: AZURE_STORAGE_CONNECTION_STRING is for the account "acct", not "other"`},
	} {
		if _, err := objstore.Open(t.Context(), test.url, objstore.Options{}); err == nil || err.Error() != test.want {
			t.Errorf("Open(%q) gives %v, want %s", test.url, err, test.want)
		}
	}
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acct;AccountKey=c2VjcmV0!;x")
	if _, err := objstore.Open(t.Context(), "azblob://acct/tuf", objstore.Options{}); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("Open with a broken connection string gives %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	_, err := objstore.Open(t.Context(), "s3://tuf", objstore.Options{})
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || hint.Hint() != "name the region of the bucket: AWS_REGION" {
		t.Errorf("Open without a region gives %v", err)
	}
}

// TestNoSecrets: what cannot be reached, and what refuses, is told without the
// credentials that the request carried.
func TestNoSecrets(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "refused: "+r.URL.String(), http.StatusForbidden) // a service that repeats what it was asked
	}))
	defer refusing.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, test := range []struct{ endpoint, url, want string }{
		{refusing.URL, "gs://tuf", "Forbidden (403)"},
		{refusing.URL, "s3://tuf", "Forbidden (403 Forbidden)"},
		{refusing.URL, "azblob://acct/tuf", "Forbidden (403)"},
		{gone.URL, "gs://tuf", "connect: connection refused"},
		{gone.URL, "s3://tuf", "connect: connection refused"},
		{gone.URL, "azblob://acct/tuf", "connect: connection refused"},
	} {
		environment(t, test.endpoint)
		s, err := objstore.Open(t.Context(), test.url, objstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for op, err := range map[string]error{
			"put":    storetest.Put(t.Context(), s, "metadata/timestamp.json", "x", ""),
			"delete": s.(publish.Remover).Delete(t.Context(), "metadata/timestamp.json", "1"),
		} {
			if strings.HasPrefix(test.url, "s3:") && op == "delete" {
				err = s.(publish.Remover).Delete(t.Context(), "metadata/timestamp.json", `"1"`)
			}
			var e *bucket.Error
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), op+" "+test.url+"/metadata/timestamp.json: ") || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%s, %s gives %v, want %s", test.url, op, err, test.want)
				continue
			}
			if denied := e.Kind == bucket.Denied; denied != (test.endpoint == refusing.URL) || denied != strings.Contains(e.Hint(), "docs/infrastructure.md") {
				t.Errorf("%s, %s: %v has the hint %q", test.url, op, err, e.Hint())
			}
			for _, secret := range []string{awsSecret, "sig=", "sig%3D", "Signature="} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %s tells a secret: %v", test.url, op, err)
				}
			}
		}
	}
}

// TestBoundedMemory: of a long body only a part is in memory at any time.
func TestBoundedMemory(t *testing.T) {
	const size, bound = 32 << 20, 8 << 20
	var came atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		came.Add(n)
		w.Header().Set("ETag", `"1"`)
		switch {
		case strings.HasPrefix(r.URL.Path, "/upload/"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"name": "targets/long", "bucket": "tuf", "generation": "1"}`)
		case strings.HasPrefix(r.URL.Path, "/acct/"):
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer server.Close()
	environment(t, server.URL)
	for _, url := range []string{"gs://tuf", "s3://tuf", "azblob://acct/tuf"} {
		s, err := objstore.Open(t.Context(), url, objstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		came.Store(0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = s.Put(t.Context(), publish.Upload{Name: "targets/long", Size: size, Body: io.LimitReader(zeros{}, size)})
		runtime.ReadMemStats(&after)
		if err != nil || came.Load() < size {
			t.Errorf("%s: Put gives %v, and %d of %d bytes came", url, err, came.Load(), size)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > bound {
			t.Errorf("%s: to send %d bytes %d were allocated, more than %d", url, size, used, bound)
		} else {
			t.Logf("%s: to send %d bytes %d were allocated", url, size, used)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
