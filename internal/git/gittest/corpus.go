package gittest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const corpusBundle = "root-signing-staging.bundle"

// CorpusDir returns the directory of the corpus of real data: $TUFOPS_CORPUS,
// else ../shared/corpus beside the module.
//
// Where neither exists the test is skipped, or fails if TUFOPS_REQUIRE_CORPUS is
// set.
func CorpusDir(t testing.TB) string {
	t.Helper()
	dir, err := findCorpus()
	if err == nil {
		return dir
	}
	if os.Getenv("TUFOPS_REQUIRE_CORPUS") != "" {
		t.Fatalf("%v (TUFOPS_REQUIRE_CORPUS is set)", err)
	}
	t.Skipf("%v; to get the same: git clone https://github.com/sigstore/root-signing-staging && cd root-signing-staging && "+
		"git bundle create DIR/%s main, then set TUFOPS_CORPUS=DIR", err, corpusBundle)
	return ""
}

func findCorpus() (string, error) {
	dir := os.Getenv("TUFOPS_CORPUS")
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", fmt.Errorf("no corpus: %w", err)
		}
		dir = filepath.Join(filepath.Dir(root), "shared", "corpus")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("no corpus: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, corpusBundle)); err != nil {
		return "", fmt.Errorf("no corpus: %w", err)
	}
	return dir, nil
}

// moduleRoot looks upwards from the directory of the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
		dir = up
	}
}

// Corpus returns a clone of the corpus's git repository, with main checked out
// and origin/main. All tests of one binary share it, so do not change it: clone
// it again to do so, as [CorpusClone] does.
func Corpus(t testing.TB) string {
	t.Helper()
	dir := CorpusDir(t)
	clone, err := sharedCorpus(dir)
	if err != nil {
		t.Fatalf("clone corpus: %v", err)
	}
	return clone
}

// CorpusClone returns a clone of the corpus that belongs to this test alone.
func CorpusClone(t testing.TB) *Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "corpus")
	r := &Repo{Dir: filepath.Dir(dir), Now: Epoch, t: t}
	r.Run("clone", "--quiet", Corpus(t), dir)
	r.Dir = dir
	r.Identity("Test", "test@example.com")
	return r
}

var (
	corpusMu     sync.Mutex
	corpusClones = map[string]string{} // by directory of the bundle
)

func sharedCorpus(dir string) (string, error) {
	corpusMu.Lock()
	defer corpusMu.Unlock()
	if c, ok := corpusClones[dir]; ok {
		return c, nil
	}
	isolate()
	// A test binary has no moment at which to remove what its tests share, so
	// each removes what earlier ones left.
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), "tufops-corpus-*"))
	for _, o := range old {
		if st, err := os.Stat(o); err == nil && time.Since(st.ModTime()) > time.Hour {
			os.RemoveAll(o)
		}
	}
	tmp, err := os.MkdirTemp("", "tufops-corpus-")
	if err != nil {
		return "", err
	}
	clone := filepath.Join(tmp, "root-signing-staging")
	out, err := exec.Command("git", "clone", "--quiet", filepath.Join(dir, corpusBundle), clone).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git clone %s: %w\n%s", filepath.Join(dir, corpusBundle), err, out)
	}
	corpusClones[dir] = clone
	return clone, nil
}
