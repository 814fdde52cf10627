package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

// pythonTUF is a Python that has python-tuf. Without one the test is skipped,
// unless TUFOPS_REQUIRE_PYTHON_TUF is set, as CI does.
func pythonTUF(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python-tuf", "python3"} {
		program, err := exec.LookPath(name)
		if err == nil && exec.Command(program, "-c", "import tuf.ngclient, sys; sys.exit(not tuf.__version__.startswith('7.'))").Run() == nil {
			return program
		}
	}
	const lack = "no Python in PATH has python-tuf 7: pip install tuf==7.0.1"
	if os.Getenv("TUFOPS_REQUIRE_PYTHON_TUF") != "" {
		t.Fatal(lack)
	}
	t.Skip(lack)
	return ""
}

// updatePython lets python-tuf update, and returns root, timestamp, snapshot and
// targets as it has verified them.
func updatePython(t *testing.T, program, folder string, root []byte, url string, now time.Time, targets ...string) string {
	t.Helper()
	out, err := tryPython(t, program, folder, root, url, now, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryPython(t *testing.T, program, folder string, root []byte, url string, now time.Time, targets ...string) (string, error) {
	t.Helper()
	anchor := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(anchor, root, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"testdata/python_tuf.py", folder, anchor, url, now.UTC().Format("2006-01-02T15:04:05+00:00")}, targets...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("python-tuf: %w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// serve shows a store as a web server would.
func serve(t *testing.T, store publish.Reader) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rd, _, err := store.Get(r.Context(), strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer rd.Close()
		_, _ = io.Copy(w, rd)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestPythonTUF: python-tuf goes with us through every rotation, for the first
// time and again, and in the middle of a publication.
func TestPythonTUF(t *testing.T) {
	program := pythonTUF(t)
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	store := &storetest.Memory{}
	url, warm := serve(t, store), t.TempDir()
	steps := []struct {
		make func()
		want string
	}{
		{func() {}, "1 2 2 2"},
		{func() { r.RotateKey(metadata.Root, "root2", true); r.Publish(metadata.Timestamp) }, "2 3 2 2"},
		{func() { r.RotateKey(metadata.Targets, "targets2", true); r.Publish(metadata.Targets) }, "3 4 3 3"},
		{func() { r.RotateOnlineKey("online2", true) }, "4 5 4 3"},
		{func() { r.Publish(metadata.Timestamp) }, "4 6 4 3"},
	}
	for i, step := range steps {
		step.make()
		between := &storetest.Faulty{Store: store, Before: func(name string) {
			if i > 1 && strings.HasSuffix(name, ".root.json") {
				updatePython(t, program, warm, root, url, publishtest.Now)
			}
		}}
		mustRun(t, r, r.Commit(t, fmt.Sprint(i)), between)
		if got := updatePython(t, program, warm, root, url, publishtest.Now); got != step.want {
			t.Errorf("step %d: python-tuf comes to %s, want %s", i, got, step.want)
		}
	}
	if got, want := updatePython(t, program, t.TempDir(), root, url, publishtest.Now, "a.txt"), steps[len(steps)-1].want; got != want {
		t.Errorf("a new python-tuf comes to %s, want %s", got, want)
	}
}

// TestPythonTUFReadsMLDSA: python-tuf verifies keys of ML-DSA of every level, where
// they sign alone and where a threshold needs them beside others, and refuses what
// they have not signed. Kills: a message or an encoding that only we understand.
func TestPythonTUFReadsMLDSA(t *testing.T) {
	program := pythonTUF(t)
	repo := clienttest.New()
	anchor := repo.Files["metadata/1.root.json"]
	key := func(level mldsa.Parameters) *clienttest.Key {
		private, err := mldsa.GenerateKey(level)
		if err != nil {
			t.Fatal(err)
		}
		return clienttest.KeyOf(level.String(), private)
	}
	repo.SetKeys(metadata.Root, 2, clienttest.NewKey(metadata.Root), key(mldsa.MLDSA44()))
	repo.SetKeys(metadata.Timestamp, 1, key(mldsa.MLDSA44()))
	repo.SetKeys(metadata.Snapshot, 1, key(mldsa.MLDSA65()))
	repo.SetKeys(metadata.Targets, 2, clienttest.NewKey(metadata.Targets), key(mldsa.MLDSA87()))
	repo.AddTarget(metadata.Targets, "tool", "the tool")
	repo.Publish(metadata.Root, metadata.Targets, metadata.Snapshot, metadata.Timestamp)
	server := httptest.NewServer(repo)
	defer server.Close()
	if got := updatePython(t, program, t.TempDir(), anchor, server.URL, clienttest.Now, "tool"); got != "2 2 2 2" {
		t.Errorf("python-tuf comes to %s", got)
	}
	file := clienttest.File(metadata.Targets, 2)
	doc, err := metadata.Parse(repo.Files[file])
	if err != nil {
		t.Fatal(err)
	}
	sig := doc.Signatures()[1].Sig
	other := strings.Repeat("0", len(sig))
	repo.Files[file] = bytes.Replace(repo.Files[file], []byte(sig), []byte(other), 1)
	_, err = tryPython(t, program, t.TempDir(), anchor, server.URL, clienttest.Now)
	if err == nil || !strings.Contains(err.Error(), "targets was signed by 1/2 keys") {
		t.Errorf("with a signature that is none: %v", err)
	}
}

// TestPythonTUFOnTheCorpus: it reads what we publish of a real repository, from
// its first root on.
func TestPythonTUFOnTheCorpus(t *testing.T) {
	corpus, program := gittest.Corpus(t), pythonTUF(t)
	g, err := git.Open(t.Context(), corpus)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	head, err := g.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 8, 21, 20, 0, 0, 0, time.UTC)
	published, err := repo.Published(t.Context(), head, now)
	if err != nil {
		t.Fatal(err)
	}
	publishable, err := published.Publishable()
	if err != nil {
		t.Fatal(err)
	}
	store, err := dir.Open(filepath.Join(t.TempDir(), "site"), dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Run(t.Context(), publish.Options{Commit: head, Publishable: publishable, To: []publish.Destination{{URL: "site", Store: store}}}); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d %d %d ", published.Root().Version(), published.Timestamp().Version(), published.Snapshot().Version())
	got := updatePython(t, program, t.TempDir(), published.Roots()[0].Document.Raw(), serve(t, store), now, "trusted_root.json", "registry.npmjs.org/keys.json")
	if !strings.HasPrefix(got, want) {
		t.Errorf("python-tuf comes to %s, want %s", got, want)
	}
}

// TestCosign: cosign takes what we publish as its trust root. make interop builds
// cosign and names it.
func TestCosign(t *testing.T) {
	program := os.Getenv("TUFOPS_COSIGN")
	if program == "" {
		t.Skip("TUFOPS_COSIGN names no cosign; make interop builds one")
	}
	r := publishtest.New(t)
	root := r.Files["metadata/1.root.json"]
	r.RotateKey(metadata.Root, "root2", true)
	for _, role := range r.Roles {
		role.Expire(time.Now().AddDate(0, 1, 0)) // cosign knows no other clock
	}
	const trustedRoot = `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`
	r.AddTarget(metadata.Targets, "trusted_root.json", trustedRoot)
	r.Publish(metadata.Root, metadata.Targets)
	store := &storetest.Memory{}
	mustRun(t, r, r.Commit(t, "for cosign"), store)
	// cosign wants metadata and targets/ under one URL.
	url := serve(t, mirror{store})
	anchor := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(anchor, root, 0o644); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(program, "initialize", "--mirror", url, "--root", anchor)
	cmd.Env = append(os.Environ(), "HOME="+home, "TUF_ROOT="+filepath.Join(home, "tuf"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("cosign initialize: %v\n%s", err, out)
	}
	// What it has now is what was published: the newest root, and the artifact.
	for name, want := range map[string]string{
		"root.json": string(r.Current(metadata.Root)), "timestamp.json": string(r.Current(metadata.Timestamp)), "targets/trusted_root.json": trustedRoot,
	} {
		found, _ := filepath.Glob(filepath.Join(home, "tuf", "*", filepath.FromSlash(name)))
		if len(found) != 1 {
			t.Errorf("cosign has %d files %s", len(found), name)
			continue
		}
		if got, err := os.ReadFile(found[0]); err != nil || string(got) != want {
			t.Errorf("cosign has another %s: %v", name, err)
		}
	}
}

// mirror is a store as a server shows it that has the metadata at its top.
type mirror struct{ publish.Reader }

func (m mirror) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	if !strings.HasPrefix(name, "targets/") {
		name = "metadata/" + name
	}
	return m.Reader.Get(ctx, name)
}
