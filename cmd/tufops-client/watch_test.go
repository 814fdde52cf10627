package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/metadata"
)

// A watch sees a good repository, one that goes back, and the good one again, and
// says so once each; then it is interrupted, which is no fault. Kills: a watch that
// ends at the first alarm, and one that takes what is older for its new memory.
func TestWatch(t *testing.T) {
	t.Chdir(t.TempDir())
	repo := clienttest.New()
	old := repo.Clone()
	repo.Publish(metadata.Targets)
	served := []*clienttest.Repo{repo, repo, old, old, repo, repo}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	round := -1
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/1.root.json") { // what a check asks for first
			if round++; round == len(served)-1 {
				cancel()
			}
		}
		served[min(round, len(served)-1)].ServeHTTP(w, r)
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
	args := "tufops-client --time 2026-01-01T00:00:00Z check --metadata-url " + server.URL + "/metadata --state seen.json --watch 1ms --format prometheus --output check.prom"
	if status := run(ctx, env, strings.Fields(args)); status != 0 {
		t.Errorf("ends with %d: %s", status, stderr.String())
	}
	if round < len(served)-1 {
		t.Fatalf("%d rounds: %s", round, stderr.String())
	}
	said := stderr.String()
	good, bad := strings.Count(said, "is good"), strings.Count(said, "is bad")
	if good != 2 || bad != 1 || strings.Index(said, "is bad") < strings.Index(said, "is good") || !strings.Contains(said, "was served before") {
		t.Errorf("%d times good and %d times bad:\n%s", good, bad, said)
	}
	if stdout.Len() > 0 {
		t.Errorf("prints %s", stdout.String())
	}
	if got, err := os.ReadFile("check.prom"); err != nil || !strings.Contains(string(got), `,result="passed"} 1`) || !strings.Contains(string(got), `role="targets"} 2`) {
		t.Errorf("%s, %v", got, err)
	}
}
