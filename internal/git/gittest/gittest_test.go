package gittest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
)

func TestClones(t *testing.T) {
	u := gittest.New(t)
	if u.Head("main") != "" {
		t.Error("a new upstream has a commit")
	}
	alice := u.Clone("alice")
	alice.WriteFile("a/b", "x")
	first := alice.Commit("one")
	alice.Push()
	bob := u.Clone("bob")
	if got := bob.ReadFile("a/b"); got != "x" {
		t.Errorf("bob sees %q", got)
	}
	if u.Head("main") != first || bob.Run("rev-parse", "HEAD") != first {
		t.Errorf("upstream at %s, alice at %s", u.Head("main"), first)
	}
	if got := bob.Run("log", "-1", "--format=%an %ae %at"); got != fmt.Sprintf("Alice alice@example.com %d", gittest.Epoch.Unix()) {
		t.Errorf("author %s", got)
	}
	if _, err := bob.Try("rev-parse", "--verify", "nothing"); err == nil {
		t.Error("Try hides a failure")
	}
}

// What was packed comes back as it was, and is a repository of its own.
func TestPack(t *testing.T) {
	u := gittest.New(t)
	alice := u.Clone("alice")
	alice.WriteFile("a", "x")
	first := alice.Commit("one")
	alice.Push()
	p := u.Pack()
	alice.WriteFile("a", "y")
	alice.Commit("two")
	alice.Push()
	again := p.Unpack(t)
	bob := again.Clone("bob")
	if again.Head("main") != first || bob.ReadFile("a") != "x" || again.Dir == u.Dir {
		t.Errorf("main is at %s, want %s", again.Head("main"), first)
	}
	bob.WriteFile("b", "z")
	second := bob.Commit("three")
	bob.Push()
	if again.Head("main") != second || p.Unpack(t).Head("main") != first {
		t.Error("a push to one changes another")
	}
}

// fake records how a test would have ended.
type fake struct {
	testing.TB
	ended string
}

func (f *fake) Helper() {}

func (f *fake) Fatalf(format string, args ...any) {
	f.ended = "fatal: " + fmt.Sprintf(format, args...)
	panic(f)
}

func (f *fake) Skipf(format string, args ...any) {
	f.ended = "skip: " + fmt.Sprintf(format, args...)
	panic(f)
}

func TestNoCorpus(t *testing.T) {
	t.Setenv("TUFOPS_CORPUS", filepath.Join(t.TempDir(), "none"))
	for require, want := range map[string]string{"": "skip: ", "1": "fatal: "} {
		t.Setenv("TUFOPS_REQUIRE_CORPUS", require)
		f := &fake{TB: t}
		func() {
			defer func() { recover() }()
			gittest.Corpus(f)
		}()
		if !strings.HasPrefix(f.ended, want) || strings.Contains(f.ended, "\n") {
			t.Errorf("TUFOPS_REQUIRE_CORPUS=%q: %q", require, f.ended)
		}
		if require == "" && !strings.Contains(f.ended, "git clone https://github.com/sigstore/root-signing-staging") {
			t.Errorf("no way out in %q", f.ended)
		}
	}
}

func TestCorpus(t *testing.T) {
	dir := gittest.Corpus(t)
	if again := gittest.Corpus(t); again != dir {
		t.Errorf("two clones: %s and %s", dir, again)
	}
	if _, err := os.Stat(filepath.Join(dir, "metadata", "root.json")); err != nil {
		t.Error(err)
	}
	mine := gittest.CorpusClone(t)
	mine.WriteFile("x", "x")
	mine.Commit("mine")
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("the shared clone was changed")
	}
}
