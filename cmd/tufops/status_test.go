package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/repository/repositorytest"
)

// program runs tufops in this process at the beginning of a world's time.
func program(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdout: &out, Stderr: &errs, LookupEnv: func(key string) (string, bool) {
		if key == "TUFOPS_NOW" {
			return repositorytest.Start.Format("2006-01-02T15:04:05Z07:00"), true
		}
		return "", false
	}}
	status = run(context.Background(), env, append([]string{"tufops"}, args...))
	return status, out.String(), strings.ReplaceAll(errs.String(), "tufops: note: TUFOPS_NOW is set: the clock stands at 2030-01-01T00:00:00Z\n", "")
}

// TestGitProcesses counts, and does not time: most of what these commands take is
// the start of git. The number depends neither on roles nor on artifacts.
func TestGitProcesses(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	w := repositorytest.New(t)
	w.Run("switch", "-q", "-c", "sign/x")
	w.Edit("root", nil).Sign("root", "alice")
	w.Edit("targets", nil).Sign("targets", "alice")
	w.Commit("an event")
	w.Run("switch", "-q", "main")
	w.WriteFile("README", "main has moved")
	w.Commit("main has moved")
	bin := t.TempDir()
	shim := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> '%s/log'\nexec '%s' \"$@\"\n", bin, git)
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	for _, c := range []struct {
		command string
		exit    int
		most    int
	}{
		{"status --base main --head sign/x --event sign/x", 3, 5},
		{"build --metadata " + filepath.Join(bin, "site"), 0, 3},
	} {
		if err := os.WriteFile(filepath.Join(bin, "log"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if exit, _, stderr := program(t, append([]string{"-C", w.Dir}, strings.Fields(c.command)...)...); exit != c.exit {
			t.Fatalf("%s: exit %d: %s", c.command, exit, stderr)
		}
		log, err := os.ReadFile(filepath.Join(bin, "log"))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(log, []byte("\n")); n == 0 || n > c.most {
			t.Errorf("%s starts git %d times, and may %d times:\n%s", c.command, n, c.most, log)
		}
	}
}

// TestBadInput: whatever is wrong with a repository ends in one clear sentence
// and a hint, exit status 1, and nothing is written.
func TestBadInput(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		prep func(w *repositorytest.World) // changes the world; -C is its folder
		want []string                      // parts of the sentence
		hint string                        // part of the hint
	}{
		{"truncated", []string{"status", "--base", "main"}, func(w *repositorytest.World) {
			w.WriteFile("metadata/targets.json", w.ReadFile("metadata/targets.json")[:400])
		}, []string{"metadata/targets.json", "role targets", "truncated"}, "restore the file"},
		{"duplicate name", []string{"status", "--base", "main"}, func(w *repositorytest.World) {
			w.WriteFile("metadata/releases.json", strings.Replace(w.ReadFile("metadata/releases.json"), `"version": 1`, `"version": 1, "version": 2`, 1))
		}, []string{"metadata/releases.json", "role releases", `names "version" twice`}, "remove one"},
		{"root gone", []string{"status", "--base", "main"}, func(w *repositorytest.World) { w.Remove("metadata/root.json") },
			[]string{"metadata/root.json", "role root", "removes"}, "restore"},
		{"no repository at all", []string{"status", "--base", "main", "--tuf-dir", "other"}, func(w *repositorytest.World) {},
			[]string{"other/metadata/root.json", "role root", "does not exist"}, "--tuf-dir"},
		{"no base", []string{"status"}, func(w *repositorytest.World) {}, []string{"origin/main"}, "git fetch origin main"},
		{"unknown head", []string{"status", "--base", "main", "--head", "nowhere"}, func(w *repositorytest.World) {}, []string{"nowhere"}, ""},
		{"unrelated histories", []string{"status", "--base", "main"}, func(w *repositorytest.World) {
			w.Run("switch", "-q", "--orphan", "alien")
			w.WriteFile("x", "x")
		}, []string{"known-good"}, ""},
		{"build without targets", []string{"build", "--metadata", "OUT"}, func(w *repositorytest.World) { w.Remove("metadata/targets.json") }, nil, ""},
		{"build from an unsigned root", []string{"build", "--metadata", "OUT"}, func(w *repositorytest.World) {
			w.Edit("root", nil).Sign("root", "alice")
		}, []string{"role root", "version 2", "1 of 2"}, "revert"},
		{"build without timestamp", []string{"build", "--metadata", "OUT"}, func(w *repositorytest.World) { w.Remove("metadata/timestamp.json") },
			[]string{"nothing can be published from commit ", ": it has no metadata/timestamp.json (role timestamp)"}, "online-sign"},
		{"targets role of no repository", []string{"online-sign-targets", "npm", "--tuf-dir", "other"}, func(w *repositorytest.World) {}, []string{"other/metadata/root.json"}, "--tuf-dir"},
		{"targets role that is not there", []string{"online-sign-targets", "npm"}, func(w *repositorytest.World) {}, []string{"no role delegates to npm"}, "check out the branch"},
		{"build into a file", []string{"build", "--metadata", "README/x"}, func(w *repositorytest.World) { w.WriteFile("README", "x") }, []string{"README"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := repositorytest.New(t)
			test.prep(w)
			w.Commit("prepared")
			args := append([]string{"-C", w.Dir}, test.args...)
			for i := range args {
				args[i] = strings.Replace(args[i], "OUT", filepath.Join(w.Dir, "out"), 1)
				args[i] = strings.Replace(args[i], "README/", filepath.Join(w.Dir, "README")+"/", 1)
			}
			before := listing(t, w.Dir)
			status, stdout, stderr := program(t, args...)
			if test.want == nil { // history still has what is missing
				if status != 0 {
					t.Errorf("exit %d: %s", status, stderr)
				}
				return
			}
			if status != 1 {
				t.Errorf("exit %d, want 1\n%s%s", status, stdout, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if !strings.HasPrefix(lines[0], "tufops: error: ") || strings.Count(stderr, "tufops: error: ") != 1 {
				t.Errorf("not one sentence:\n%s", stderr)
			}
			for _, part := range test.want {
				if !strings.Contains(lines[0], part) {
					t.Errorf("the sentence lacks %q: %s", part, lines[0])
				}
			}
			if !strings.Contains(stderr, "tufops: hint: ") && test.hint != "" || !strings.Contains(stderr, test.hint) {
				t.Errorf("no hint with %q:\n%s", test.hint, stderr)
			}
			if after := listing(t, w.Dir); after != before {
				t.Errorf("something was written:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// TestReadOnlyDestination: root ignores permissions, so the folder is one where
// nobody can write.
func TestReadOnlyDestination(t *testing.T) {
	w := repositorytest.New(t)
	status, _, stderr := program(t, "-C", w.Dir, "build", "--metadata", "/proc/tufops/metadata")
	if status != 1 || !strings.Contains(stderr, "/proc/tufops") {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

// TestShallow: a clone without the merge base says how to get it.
func TestShallow(t *testing.T) {
	w := repositorytest.New(t)
	w.Edit("targets", nil).Sign("targets", "alice", "bob")
	w.Commit("one")
	w.Edit("targets", nil).Sign("targets", "alice", "bob")
	w.Commit("two")
	clone := filepath.Join(t.TempDir(), "clone")
	w.Run("clone", "-q", "--depth", "1", "--no-single-branch", "file://"+w.Dir, clone)
	status, _, stderr := program(t, "-C", clone, "status", "--head", "origin/"+repositorytest.Event, "--base", "origin/main")
	if status != 1 || !strings.Contains(stderr, "known-good") || !strings.Contains(stderr, "git fetch --unshallow") {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				b.WriteString(p + " " + info.ModTime().String() + "\n")
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestNoCommitYet: a repository that was just made.
func TestNoCommitYet(t *testing.T) {
	w := repositorytest.New(t)
	w.Run("switch", "-q", "--orphan", "empty")
	for _, args := range [][]string{{"status"}, {"online-sign"}, {"build", "--metadata", "x"}} {
		status, _, stderr := program(t, append([]string{"-C", w.Dir}, args...)...)
		if status != 1 || !strings.Contains(stderr, `find commit "HEAD"`) || !strings.Contains(stderr, "hint: this branch has no commit yet") {
			t.Errorf("%v: status %d, stderr %s", args, status, stderr)
		}
	}
}

// TestStatusExit: the exit status and the JSON say the same.
func TestStatusExit(t *testing.T) {
	for _, test := range []struct {
		name  string
		event func(w *repositorytest.World)
		exit  int
	}{
		{"nothing", func(*repositorytest.World) {}, 3},
		{"awaited", func(w *repositorytest.World) { w.Edit("targets", nil).Sign("targets", "alice") }, 3},
		{"complete", func(w *repositorytest.World) { w.Edit("targets", nil).Sign("targets", "alice", "bob") }, 0},
		{"warning only", func(w *repositorytest.World) {
			w.Edit("targets", nil).Sign("targets", "alice", "bob").WriteFile("README", "x")
		}, 0},
		{"error", func(w *repositorytest.World) { w.Edit("targets", nil).Sign("targets", "alice").Artifact("b", "b") }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := repositorytest.New(t)
			test.event(w)
			w.Commit("event")
			exit, stdout, stderr := program(t, "status", "-C", w.Dir, "--base=main", "--format", "json")
			if exit != test.exit {
				t.Errorf("exit %d, want %d: %s", exit, test.exit, stderr)
			}
			var s repository.Status
			dec := json.NewDecoder(strings.NewReader(stdout))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&s); err != nil {
				t.Fatalf("%v\n%s", err, stdout)
			}
			if s.Schema != 1 || s.Complete != (test.exit == 0) || s.Event != repositorytest.Event {
				t.Errorf("%+v", s)
			}
			for _, format := range []string{"text", "markdown"} {
				if again, report, _ := program(t, "status", "-C", w.Dir, "--base=main", "--format", format); again != exit || report == "" {
					t.Errorf("%s: exit %d\n%s", format, again, report)
				}
			}
		})
	}
}

// TestBuildCorpus: the built tree is exactly the published one, with the two
// pages.
func TestBuildCorpus(t *testing.T) {
	dir := t.TempDir()
	status, _, stderr := program(t, "-C", gittest.Corpus(t), "build", "--metadata", filepath.Join(dir, "metadata"), "--artifacts", filepath.Join(dir, "targets"))
	if status != 0 {
		t.Fatalf("exit %d: %s", status, stderr)
	}
	want, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "published.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	got := sums(t, dir)
	for _, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
		sum, name, _ := strings.Cut(line, "  ")
		if got[name] != sum {
			t.Errorf("%s has SHA-256 %q, want %s", name, got[name], sum)
		}
		delete(got, name)
	}
	if got["metadata/index.html"] == "" || got["metadata/status.json"] == "" || len(got) != 2 {
		t.Errorf("beside the published files there are %v, want index.html and status.json", got)
	}
}

func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		list[filepath.ToSlash(name)] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
