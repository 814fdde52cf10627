package sigstore_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/sigstore"
)

// Each known repository has a root to start from, which is another one's than the
// other's, and asks its own server for everything.
func TestLookup(t *testing.T) {
	versions := map[string]string{}
	for name, host := range map[string]string{sigstore.PublicGood: "tuf-repo-cdn.sigstore.dev", sigstore.Staging: "tuf-repo-cdn.sigstage.dev"} {
		r, ok := sigstore.Lookup(name)
		if !ok || r.Name != name || r.MetadataURL != "https://"+host || r.TargetsURL != "https://"+host+"/targets" {
			t.Errorf("%s: %v, %+v", name, ok, r)
		}
		// The root is signed by its own keys, and a client walks from it.
		var asked []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			asked = append(asked, q.URL.Path)
			http.NotFound(w, q)
		}))
		c, err := client.New(client.Options{Root: r.Root, MetadataURL: server.URL})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		result, err := c.Refresh(t.Context())
		server.Close()
		if err == nil || len(result.Roots) != 1 || len(asked) == 0 {
			t.Errorf("%s: %+v, %v, asked for %q", name, result, err, asked)
		}
		versions[string(r.Root)] = name
	}
	if len(versions) != 2 {
		t.Error("both start from one root")
	}
	if r, ok := sigstore.Lookup("production"); ok {
		t.Errorf("production: %+v", r)
	}
	if r := sigstore.At("https://tuf.test//"); r.Root != nil || r.MetadataURL != "https://tuf.test" || r.TargetsURL != "https://tuf.test/targets" {
		t.Errorf("%+v", r)
	}
}
