package workflows

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
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
	host   string // URL of the releases, over TLS
	roots  string // file of the certificate that it is known by
	laid   string // our actions, with a table that names the release
	site   *httptest.Server
	token  string
	seen   int // dispatches that were looked at
	fork   bool
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
	gittest.Isolate()
	s := &stage{t: t, world: onlinesigntest.New(t, repository.OnlineConfig{}), pages: t.TempDir()}
	s.forge = githubtest.New(t, githubtest.Options{Owner: "example", Repo: "tuf", Dir: s.world.Upstream.Dir})
	s.token = s.forge.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	s.site = httptest.NewServer(http.FileServer(http.Dir(filepath.Join(s.pages, "site"))))
	t.Cleanup(s.site.Close)
	s.release()

	s.person = s.world.Upstream.Clone("person")
	return s
}

// takeOver gives the repository the predecessor's workflows, and migrates them.
func (s *stage) takeOver() {
	t := s.t
	t.Helper()
	if err := os.CopyFS(s.person.Dir, os.DirFS("testdata/predecessor")); err != nil {
		t.Fatal(err)
	}
	file := ".github/workflows/test.yml"
	s.person.WriteFile(file, strings.NewReplacer(
		"https://tuf.example/", s.site.URL+"/",
		// A called workflow has its caller's name on GitHub, but its own under act.
		"github.workflow == 'Repository tests'", "false",
	).Replace(s.person.ReadFile(file)))
	s.person.Commit("Workflows")
	plan := must(Migrate(s.person.Dir, laid))(t)
	if err := plan.Write(s.person.Dir); err != nil || plan.Left != nil {
		t.Fatalf("migrate: %v, left %+v", err, plan.Left)
	}
	s.person.Commit("Use tufops")
	s.person.Push()
}

// programs is a folder, with our programs after build.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "tufops-programs-"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(programs)
	os.Exit(status)
}

// build makes our programs from this source, once for all tests.
var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", programs+"/", "../../cmd/tufops", "../../cmd/tufops-client")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build our programs: %w\n%s", err, out)
	}
	return nil
})

// release puts our programs where releases are, and their digests into the table
// of a copy of the actions. Building them in every job would take longer than all
// the rest, and is tested elsewhere.
func (s *stage) release() {
	t := s.t
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	s.laid = t.TempDir()
	if err := os.CopyFS(filepath.Join(s.laid, ".github/actions"), os.DirFS(actionsDir)); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	assets := make(map[string][]byte)
	for _, program := range []string{"tufops", "tufops-client"} {
		data := readFile(t, filepath.Join(programs, program))
		assets["/tufops/tufops/releases/download/v0.1.0/"+program+"_"+runtime.GOOS+"_"+runtime.GOARCH] = data
		fmt.Fprintf(&table, "v0.1.0 %s/%s %s %x\n", runtime.GOOS, runtime.GOARCH, program, sha256.Sum256(data))
	}
	writeFile(t, filepath.Join(s.laid, ".github/actions/setup/tufops-binaries.txt"), table.String())

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(server.Close)
	s.host, s.roots = server.URL, filepath.Join(t.TempDir(), "roots.pem")
	writeFile(t, s.roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
}

// run has act run a workflow as GitHub would after the event, on a branch of the
// upstream, and returns what it printed. How it must end, success says.
func (s *stage) run(event, workflow, branch string, inputs map[string]string, success bool) string {
	s.t.Helper()
	checkout := s.world.Upstream.Clone("runner", "--branch", branch)
	head := checkout.Run("rev-parse", "HEAD")
	payload, err := json.Marshal(map[string]any{
		"ref": "refs/heads/" + branch, "after": head, "inputs": inputs,
		"repository": map[string]any{"full_name": "example/tuf", "name": "tuf", "owner": map[string]any{"login": "example"}, "default_branch": "main", "fork": s.fork},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	temp := s.t.TempDir()
	writeFile(s.t, filepath.Join(temp, "event.json"), string(payload))
	writeFile(s.t, filepath.Join(temp, "secrets"), "GITHUB_TOKEN="+s.token+"\n")
	env := map[string]string{
		"GITHUB_REPOSITORY": "example/tuf", "GITHUB_REPOSITORY_OWNER": "example", "GITHUB_ACTIONS": "true",
		"GITHUB_API_URL": s.forge.URL, "GITHUB_GRAPHQL_URL": s.forge.GraphQLURL, "GITHUB_SERVER_URL": s.host, "CURL_CA_BUNDLE": s.roots,
		"GITHUB_REF": "refs/heads/" + branch, "GITHUB_REF_NAME": branch, "GITHUB_SHA": head,
		"FAKE_ORIGIN": s.world.Upstream.Dir, "FAKE_PAGES": s.pages,
		"TUFOPS_NOW": s.world.Now.Format(time.RFC3339), "CRYPTO_SIGNER_PATH_PREFIX": s.world.KeyDir,
		"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
	}
	args := []string{
		event, "--workflows", filepath.Join(checkout.Dir, ".github/workflows", workflow), "--eventpath", filepath.Join(temp, "event.json"),
		"--secret-file", filepath.Join(temp, "secrets"), "--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--action-offline-mode",
		"--artifact-server-addr", "127.0.0.1", "--rm", "--defaultbranch", "main",
		"--local-repository", laid.Repository + "@" + laid.Ref + "=" + s.laid,
	}
	for name, ref := range map[string]string{
		"checkout":              "3d3c42e5aac5ba805825da76410c181273ba90b1",
		"upload-artifact":       "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a",
		"upload-pages-artifact": "fc324d3547104276b827a68afc52ff2a11cc49c9",
		"deploy-pages":          "cd2ce8fcbc39b97be8ca5fce6e763baed58fa128",
	} {
		args = append(args, "--local-repository", "actions/"+name+"@"+ref+"="+absolute(s.t, "testdata/stubs/"+name))
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
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+temp, "XDG_CONFIG_HOME="+temp, "HOME="+temp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if (err == nil) != success {
		s.t.Fatalf("act %s %s on %s: %v\n%s\n%s", event, workflow, branch, err, out.String(), s.forge.Dump())
	}
	// A job that had to build is one whose release was not found.
	if strings.Contains(out.String(), "building it") {
		s.t.Errorf("%s did not take the release:\n%s", workflow, out.String())
	}
	if strings.Contains(out.String(), s.token) {
		s.t.Errorf("the log of %s shows the token", workflow)
	}
	return out.String()
}

// dispatches returns the workflows that were started since the last call, as
// "FILE BRANCH REF".
func (s *stage) dispatches() []string {
	var list []string
	all := s.forge.Dispatches()
	for _, d := range all[s.seen:] {
		list = append(list, strings.TrimSpace(d.Workflow+" "+strings.TrimPrefix(d.Ref, "refs/heads/")+" "+d.Inputs["ref"]))
	}
	s.seen = len(all)
	return list
}

// sign has alice sign a role at the tip of the branch.
func (s *stage) sign(branch, role string) {
	s.t.Helper()
	ctx := s.t.Context()
	s.person.Run("fetch", "--quiet", "origin")
	s.person.Run("switch", "--quiet", "-C", branch, "origin/"+branch)
	repo := s.world.Open(s.person.Dir)
	state, err := repo.At(ctx, git.OID(s.person.Run("rev-parse", "HEAD")))
	if err != nil {
		s.t.Fatal(err)
	}
	edit, err := state.Edit(ctx, state, s.world.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	doc, err := edit.Document(role)
	if err != nil {
		s.t.Fatal(err)
	}
	signature, err := onlinesigntest.Person("alice").Sign(ctx, doc.Payload())
	if err == nil {
		err = edit.AddSignature(role, onlinesigntest.PersonKey(s.t, "alice"), signature)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	changes, err := edit.Changes(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range changes {
		s.person.WriteFile(c.Path, string(c.Data))
	}
	s.person.Commit("Signature from @alice")
	s.person.Push()
}

// update is what a client gets that begins with the first root: the artifact.
func (s *stage) update(artifact string) (string, error) {
	s.t.Helper()
	root, err := os.ReadFile(filepath.Join(s.pages, "site", "1.root.json"))
	if err != nil {
		return "", err
	}
	c, err := client.New(client.Options{
		Root: root, MetadataURL: s.site.URL, TargetsURL: s.site.URL + "/targets", Now: func() time.Time { return s.world.Now },
	})
	if err != nil {
		return "", err
	}
	_, data, err := c.Read(s.t.Context(), artifact)
	return string(data), err
}

// From an artifact that somebody pushes to a client that has it, through nothing
// but the workflows.
func TestWorkflowsFromPushToPublication(t *testing.T) {
	needAct(t)
	s := newStage(t)
	s.takeOver()

	s.person.Run("switch", "--quiet", "-c", "sign/new")
	s.person.WriteFile("targets/a.txt", "one\n")
	s.person.WriteFile("build/notes.txt", "not what is built\n") // in the way of the folder that is uploaded
	pushed := s.person.Commit("An artifact")
	s.person.Push()
	s.run("push", "signing-event.yml", "sign/new", nil, true)
	head := s.world.Upstream.Head("sign/new")
	if parent := s.world.Upstream.Run("rev-parse", head+"^"); parent != pushed {
		t.Errorf("the bot's commit follows %s, want %s", parent, pushed)
	}
	if got, want := s.dispatches(), []string{"signing-event.yml sign/new"}; !slices.Equal(got, want) {
		t.Errorf("started %q, want %q: the push of the default token starts nothing", got, want)
	}
	s.run("workflow_dispatch", "signing-event.yml", "sign/new", nil, true)
	if pulls := s.forge.Pulls(); len(pulls) != 1 || !pulls[0].Draft || pulls[0].HeadSHA != head || pulls[0].Base != "main" {
		t.Fatalf("pull requests are %+v, want one draft of %s", pulls, head)
	}
	if state := s.forge.Statuses(head)[0].State; state != "pending" {
		t.Errorf("the commit status is %s, want pending", state)
	}

	s.sign("sign/new", metadata.Targets)
	s.run("push", "signing-event.yml", "sign/new", nil, true)
	head = s.world.Upstream.Head("sign/new")
	if pulls := s.forge.Pulls(); len(pulls) != 1 || pulls[0].Draft || pulls[0].HeadSHA != head || pulls[0].State != "open" {
		t.Fatalf("pull requests are %+v, want one that is ready at %s", pulls, head)
	}
	if state := s.forge.Statuses(head)[0].State; state != "success" {
		t.Errorf("the commit status is %s, want success", state)
	}
	if got := s.dispatches(); got != nil {
		t.Errorf("started %q, want nothing: nothing was pushed", got)
	}

	merge := s.forge.Merge(1, "merge", "maintainer")
	s.run("push", "online-sign.yml", "main", nil, true)
	published := s.world.Upstream.Head("publish")
	if main := s.world.Upstream.Head("main"); published != main || main == merge {
		t.Errorf("publish is at %s and main at %s, want both at the commit that follows %s", published, main, merge)
	}
	if got, want := s.dispatches(), []string{"publish.yml publish " + published}; !slices.Equal(got, want) {
		t.Errorf("started %q, want %q", got, want)
	}
	s.run("workflow_dispatch", "publish.yml", "publish", map[string]string{"ref": published}, true)
	if issues := s.forge.Issues(); len(issues) != 0 {
		t.Errorf("issues were opened: %+v", issues)
	}
	if got, err := s.update("a.txt"); err != nil || got != "one\n" {
		t.Errorf("a client gets %q (%v), want the artifact", got, err)
	}

	// Who mirrors the repository gets metadata and artifacts apart.
	s.run("workflow_dispatch", "mirror.yml", "main", nil, true)
	for _, name := range []string{"metadata/1.root.json", "metadata/2.targets.json", "metadata/timestamp.json", "artifacts/" + fmt.Sprintf("%x.a.txt", sha256.Sum256([]byte("one\n")))} {
		if _, err := os.Stat(filepath.Join(s.pages, name)); err != nil {
			t.Errorf("uploaded artifact: %v", err)
		}
	}
}

// The action that publishes to a bucket, with a directory in its place: to a stage
// that a check looks at, then to the destination, then read back as clients do.
func TestPublishRepositoryAction(t *testing.T) {
	needAct(t)
	s := newStage(t)
	s.world.Artifact("a.txt", "one\n", true)
	s.world.Sign()
	first := s.world.Upstream.Head("main")
	temp := t.TempDir()
	check := filepath.Join(temp, "check")
	writeFile(t, check, "#!/bin/sh\nset -eu\n"+
		"test -z \"${GITHUB_TOKEN-}${ACTIONS_RUNTIME_TOKEN-}\"\n"+ // it is somebody else's program
		"grep -q . \"${TUFOPS_STAGE_METADATA_URL#file://}/timestamp.json\"\n"+
		"echo \"$1 $TUFOPS_STAGE_COMMIT\" >>'"+temp+"/checked'\n"+
		"test ! -e '"+temp+"/red'\n")
	if err := os.Chmod(check, 0o755); err != nil {
		t.Fatal(err)
	}
	workflow := fmt.Sprintf(`on:
  workflow_dispatch:
    inputs:
      ref: {type: string}
      deep: {type: boolean}
permissions: {}
jobs:
  publish:
    runs-on: ubuntu-latest
    permissions:
      contents: read
    steps:
      - id: publish
        uses: %s
        with:
          to: file://%s
          public_url: %s
          stage: file://%s/stage
          stage_public_url: file://%[4]s/stage
          checks: |
            %[4]s/check 'one word'
            %[4]s/check two
          ref: ${{ inputs.ref }}
          deep: ${{ inputs.deep }}
      - shell: bash
        env:
          CHANGED: ${{ steps.publish.outputs.changed }}
        run: echo "changed is $CHANGED"
`, laid.uses("publish-repository"), filepath.Join(s.pages, "site"), s.site.URL, temp)
	s.person.Run("fetch", "--quiet", "origin")
	s.person.Run("switch", "--quiet", "-C", "main", "origin/main")
	s.person.WriteFile(".github/workflows/bucket.yml", workflow)
	s.person.Commit("A bucket")
	s.person.Push()

	run := func(ref, deep string, success bool) string {
		t.Helper()
		return s.run("workflow_dispatch", "bucket.yml", "main", map[string]string{"ref": ref, "deep": deep}, success)
	}
	checked := func() string {
		data, _ := os.ReadFile(filepath.Join(temp, "checked"))
		os.Remove(filepath.Join(temp, "checked"))
		return string(data)
	}
	update := func() string {
		t.Helper()
		root := readFile(t, filepath.Join(s.pages, "site/metadata/1.root.json"))
		c, err := client.New(client.Options{
			Root: root, MetadataURL: s.site.URL + "/metadata", TargetsURL: s.site.URL + "/targets", Now: func() time.Time { return s.world.Now },
		})
		if err != nil {
			t.Fatal(err)
		}
		_, data, err := c.Read(t.Context(), "a.txt")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	// A commit and not the branch: nothing but what was asked for.
	out := run(first, "false", true)
	if !strings.Contains(out, "changed is true") || !strings.Contains(out, "read back through "+s.site.URL) {
		t.Errorf("it printed\n%s", out)
	}
	if got, want := checked(), "one word "+first+"\ntwo "+first+"\n"; got != want {
		t.Errorf("checked %q, want %q", got, want)
	}
	if got := update(); got != "one\n" {
		t.Errorf("a client gets %q", got)
	}

	// Later, with a check that is red: new content is held back, and the job fails.
	s.world.Artifact("a.txt", "two\n", true)
	s.world.Sign()
	writeFile(t, filepath.Join(temp, "red"), "")
	if out := run("", "true", false); !strings.Contains(out, "held back, as the stage is red (") || strings.Contains(out, "changed is") {
		t.Errorf("it printed\n%s", out)
	}
	if got, want := checked(), s.world.Upstream.Head("main"); !strings.HasPrefix(got, "one word "+want+"\n") {
		t.Errorf("checked %q, want the branch, at %s", got, want)
	}
	if got := update(); got != "one\n" {
		t.Errorf("a client gets %q, which was to be held back", got)
	}
	if requests := s.forge.Requests(); len(requests) > 0 {
		t.Errorf("the forge was asked %v", requests)
	}
}

// A job that fails leaves an issue for people, and nothing else; the next that
// succeeds closes it.
func TestWorkflowsTellOfFailure(t *testing.T) {
	needAct(t)
	s := newStage(t)
	s.takeOver()
	keys, main := s.world.KeyDir, s.world.Upstream.Head("main")
	s.world.KeyDir = t.TempDir() // the online key is not there
	s.run("schedule", "online-sign.yml", "main", nil, false)
	issues := s.forge.Issues()
	if len(issues) != 1 || issues[0].State != "open" || !slices.Equal(issues[0].Labels, []string{"Online signatures"}) {
		t.Fatalf("issues are %+v, want one that is open and labelled with the name of the workflow", issues)
	}
	if head := s.world.Upstream.Head("main"); head != main || s.world.Upstream.Head("publish") != "" || s.dispatches() != nil {
		t.Error("something was pushed or started all the same")
	}
	s.world.KeyDir = keys
	s.run("schedule", "online-sign.yml", "main", nil, true)
	if issues = s.forge.Issues(); len(issues) != 1 || issues[0].State != "closed" {
		t.Errorf("issues are %+v, want the one closed", issues)
	}
	if s.world.Upstream.Head("publish") != s.world.Upstream.Head("main") || len(s.dispatches()) != 1 {
		t.Error("what was signed then is not published")
	}
}

// The files that init lays down: the same road as far as it leads without a site
// of the repository's own, and nothing at all in a fork.
func TestLaidDownWorkflows(t *testing.T) {
	needAct(t)
	s := newStage(t)
	files, err := Files(laid)
	if err == nil {
		err = Write(s.person.Dir, files)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.person.Commit("Workflows")
	s.person.Push()
	s.person.Run("switch", "--quiet", "-c", "sign/new")
	s.person.WriteFile("targets/a.txt", "one\n")
	s.person.Commit("An artifact")
	s.person.Push()

	s.fork = true
	before := s.world.Upstream.Run("for-each-ref")
	for workflow, branch := range map[string]string{
		"signing-event.yml": "sign/new", "create-signing-events.yml": "main", "online-sign.yml": "main", "publish.yml": "main", "test.yml": "main",
	} {
		s.run("workflow_dispatch", workflow, branch, nil, true)
	}
	if s.world.Upstream.Run("for-each-ref") != before || len(s.forge.Requests()) > 0 {
		t.Errorf("in a fork, refs are now\n%s\nand the forge was asked %v", s.world.Upstream.Run("for-each-ref"), s.forge.Requests())
	}

	s.fork = false
	s.run("push", "signing-event.yml", "sign/new", nil, true)
	if pulls := s.forge.Pulls(); len(pulls) != 1 || !pulls[0].Draft || pulls[0].Head != "sign/new" {
		t.Errorf("pull requests are %+v, want one draft", pulls)
	}
	s.run("push", "online-sign.yml", "main", nil, true)
	published := s.world.Upstream.Head("publish")
	if published == "" || published != s.world.Upstream.Head("main") {
		t.Errorf("publish is at %q, want main", published)
	}
	s.world.Wait(3600 * 24 * time.Hour) // into the signing period of root and targets
	s.run("schedule", "create-signing-events.yml", "main", nil, true)
	got := s.dispatches()
	for _, want := range []string{"publish.yml publish " + published, "signing-event.yml sign/root-v2", "signing-event.yml sign/targets-v2"} {
		if !slices.Contains(got, want) {
			t.Errorf("started %q, and not %q", got, want)
		}
	}
	if issues := s.forge.Issues(); len(issues) != 0 {
		t.Errorf("issues were opened: %+v", issues)
	}
}
