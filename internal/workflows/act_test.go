package workflows

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// Real workflow files, run by act on this machine: those of a repository of
// tuf-on-ci after nothing but `tufops init --migrate`, against a GitHub of our own.
// What GitHub would start, the test starts: a workflow for a push of a person, and
// for every dispatch.

// A stage is a repository on a forge, with what its workflows need.
type stage struct {
	t      *testing.T
	world  *onlinesigntest.World
	forge  *githubtest.Server
	person *gittest.Repo
	pages  string // where the stub of GitHub Pages keeps its files
	site   *httptest.Server
	token  string
	logs   []string
}

// needAct returns the path of act.
func needAct(t *testing.T) string {
	t.Helper()
	file, err := exec.LookPath("act")
	if err != nil {
		if os.Getenv("TUFOPS_REQUIRE_ACT") != "" {
			t.Fatal("act is not in PATH, and TUFOPS_REQUIRE_ACT is set")
		}
		t.Skip("act is not in PATH; install it with: go install github.com/nektos/act@v0.2.89")
	}
	return file
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, world: onlinesigntest.New(t, repository.OnlineConfig{}), pages: t.TempDir()}
	s.forge = githubtest.New(t, githubtest.Options{Owner: "example", Repo: "tuf", Dir: s.world.Upstream.Dir})
	s.token = s.forge.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	s.site = httptest.NewServer(http.FileServer(http.Dir(filepath.Join(s.pages, "site"))))
	t.Cleanup(s.site.Close)

	// The predecessor's repository, taken over.
	s.person = s.world.Upstream.Clone("person")
	if err := os.CopyFS(s.person.Dir, os.DirFS("testdata/predecessor")); err != nil {
		t.Fatal(err)
	}
	file := ".github/workflows/test.yml"
	s.person.WriteFile(file, strings.ReplaceAll(s.person.ReadFile(file), "https://tuf.example/", s.site.URL+"/"))
	s.person.Commit("Workflows")
	plan := must(Migrate(s.person.Dir, laid))(t)
	if err := plan.Write(s.person.Dir); err != nil || plan.Left != nil {
		t.Fatalf("migrate: %v, left %+v", err, plan.Left)
	}
	s.person.Commit("Use tufops")
	s.person.Push()
	return s
}

// run has act run a workflow as GitHub would after the event, on a branch of the
// upstream, and returns what it printed. How it must end, success says.
func (s *stage) run(event, workflow, branch string, inputs map[string]string, success bool) string {
	s.t.Helper()
	checkout := s.world.Upstream.Clone("runner", "--branch", branch)
	head := checkout.Run("rev-parse", "HEAD")
	payload, err := json.Marshal(map[string]any{
		"ref": "refs/heads/" + branch, "after": head, "inputs": inputs,
		"repository": map[string]any{"full_name": "example/tuf", "name": "tuf", "owner": map[string]any{"login": "example"}, "default_branch": "main", "fork": false},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	temp := s.t.TempDir()
	writeFile(s.t, filepath.Join(temp, "event.json"), string(payload))
	writeFile(s.t, filepath.Join(temp, "secrets"), "GITHUB_TOKEN="+s.token+"\n")
	env := map[string]string{
		"GITHUB_REPOSITORY": "example/tuf", "GITHUB_REPOSITORY_OWNER": "example", "GITHUB_ACTIONS": "true",
		"GITHUB_API_URL": s.forge.URL, "GITHUB_GRAPHQL_URL": s.forge.GraphQLURL, "GITHUB_SERVER_URL": "https://github.example",
		"GITHUB_REF": "refs/heads/" + branch, "GITHUB_REF_NAME": branch, "GITHUB_SHA": head,
		"FAKE_ORIGIN": s.world.Upstream.Dir, "FAKE_PAGES": s.pages,
		"TUFOPS_NOW": s.world.Now.Format(time.RFC3339), "CRYPTO_SIGNER_PATH_PREFIX": s.world.KeyDir,
		"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
	}
	project, stubs := absolute(s.t, "../.."), absolute(s.t, "testdata/stubs")
	args := []string{
		event, "--workflows", filepath.Join(checkout.Dir, ".github/workflows", workflow), "--eventpath", filepath.Join(temp, "event.json"),
		"--secret-file", filepath.Join(temp, "secrets"), "--platform", "ubuntu-latest=-self-hosted", "--no-cache-server",
		"--artifact-server-addr", "127.0.0.1", "--rm", "--defaultbranch", "main",
		"--local-repository", laid.Repository + "@" + laid.Ref + "=" + project,
	}
	for name, ref := range map[string]string{
		"checkout":              "3d3c42e5aac5ba805825da76410c181273ba90b1",
		"upload-pages-artifact": "fc324d3547104276b827a68afc52ff2a11cc49c9",
		"deploy-pages":          "cd2ce8fcbc39b97be8ca5fce6e763baed58fa128",
	} {
		args = append(args, "--local-repository", "actions/"+name+"@"+ref+"="+filepath.Join(stubs, name))
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "--env", name+"="+env[name])
	}
	for name, value := range inputs {
		args = append(args, "--input", name+"="+value)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, needAct(s.t), args...)
	cmd.Dir = checkout.Dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+temp, "GOCACHE="+goEnv(s.t, "GOCACHE"), "GOMODCACHE="+goEnv(s.t, "GOMODCACHE"), "HOME="+temp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	s.logs = append(s.logs, out.String())
	if (err == nil) != success {
		s.t.Fatalf("act %s %s on %s: %v\n%s\n%s", event, workflow, branch, err, out.String(), s.forge.Dump())
	}
	if strings.Contains(out.String(), s.token) {
		s.t.Errorf("the log of %s shows the token", workflow)
	}
	return out.String()
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// dispatched returns the dispatches since the last call, in the form
// "signing-event.yml sign/new", and runs nothing.
func (s *stage) dispatched(before int) []string {
	var list []string
	for _, d := range s.forge.Dispatches()[before:] {
		list = append(list, strings.TrimSpace(d.Workflow+" "+strings.TrimPrefix(d.Ref, "refs/heads/")+" "+d.Inputs["ref"]))
	}
	return list
}

func TestWorkflowsFromPushToPublication(t *testing.T) {
	needAct(t)
	s := newStage(t)

	// Somebody adds an artifact to a new event.
	s.person.Run("switch", "--quiet", "-c", "sign/new")
	s.person.WriteFile("targets/a.txt", "one\n")
	s.person.Commit("An artifact")
	s.person.Push()
	s.run("push", "signing-event.yml", "sign/new", nil, true)
	if t.Failed() {
		fmt.Println(strings.Join(s.logs, "\n"))
	}
	t.Logf("%s\n%s", s.logs[0], s.forge.Dump())
	_ = metadata.Root
}
