// Package gittest makes real git repositories for tests: a bare upstream with
// clones, and a clone of the corpus of a real TUF repository.
//
// It owns the repositories it makes, all below the test's temporary directory,
// and the git environment of the test process: on first use it turns off the
// machine's and the user's git configuration for this process and its children,
// so the code under test does not see them either. It trusts the git program. It
// never uses the network and never touches a repository it did not make.
package gittest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Epoch is the time of the first commit of every [Repo], unless its Now is set.
var Epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Isolate turns off git's configuration outside repositories for this process,
// and what a calling git hook may have left in the environment. [New], [Init] and
// [Corpus] do it by themselves; a second call does nothing.
func Isolate() { isolate() }

var isolate = sync.OnceFunc(func() {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") || name == "EMAIL" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	os.Setenv("GIT_CONFIG_NOSYSTEM", "1")
})

// An Upstream is a bare repository to clone from and push to, with main as its
// default branch and no commit.
type Upstream struct {
	Dir string
	t   testing.TB
}

// New makes an empty upstream.
func New(t testing.TB) *Upstream {
	t.Helper()
	u := &Upstream{Dir: filepath.Join(t.TempDir(), "upstream.git"), t: t}
	Init(t, u.Dir, "--bare")
	return u
}

// Init runs `git init` with main as the default branch. It gives the repository
// an identity, name "Test" unless changed by [Repo.Identity].
func Init(t testing.TB, dir string, args ...string) *Repo {
	t.Helper()
	isolate()
	r := &Repo{Dir: filepath.Dir(dir), Now: Epoch, t: t}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.Run(append(append([]string{"init", "--quiet", "--initial-branch=main"}, args...), dir)...)
	r.Dir = dir
	r.configure(still)
	r.Identity("Test", "test@example.com")
	return r
}

// still keeps git from looking, after each write, whether there is something to
// tidy up: that is a process or two each time. No test has a power cut to survive.
const still = "[maintenance]\n\tauto = false\n[receive]\n\tautoGC = false\n[core]\n\tfsync = none\n"

// Clone clones the upstream. name becomes the clone's identity too: Name
// <name@example.com>.
func (u *Upstream) Clone(name string, args ...string) *Repo {
	u.t.Helper()
	dir := filepath.Join(u.t.TempDir(), name)
	r := &Repo{Dir: filepath.Dir(dir), Now: Epoch, t: u.t}
	r.Run(append(append([]string{"clone", "--quiet"}, args...), u.Dir, dir)...)
	r.Dir = dir
	r.configure(still)
	r.identify(name)
	return r
}

func (r *Repo) identify(name string) {
	if name != "" {
		r.Identity(strings.ToUpper(name[:1])+name[1:], name+"@example.com")
	}
}

// Run runs git in the upstream and returns what it printed, without the final
// newline. Failure ends the test.
func (u *Upstream) Run(args ...string) string {
	u.t.Helper()
	return (&Repo{Dir: u.Dir, Now: Epoch, t: u.t}).Run(args...)
}

// Packed is all of an upstream or a clone, to be had again without a git process.
type Packed map[string][]byte

// Pack reads the upstream.
func (u *Upstream) Pack() Packed {
	u.t.Helper()
	return pack(u.t, u.Dir)
}

func pack(t testing.TB, dir string) Packed {
	t.Helper()
	p := Packed{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(name, ".sample") {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			p[rel] = nil
			return nil
		}
		data, err := os.ReadFile(name)
		p[rel] = append([]byte{}, data...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Unpack makes a new upstream of what was packed.
func (p Packed) Unpack(t testing.TB) *Upstream {
	t.Helper()
	isolate()
	u := &Upstream{Dir: filepath.Join(t.TempDir(), "upstream.git"), t: t}
	p.write(t, u.Dir)
	return u
}

func (p Packed) write(t testing.TB, dir string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(p)) {
		var err error
		if data := p[name]; data == nil {
			err = os.MkdirAll(filepath.Join(dir, name), 0o755)
		} else {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// PackedClone is a clone of an upstream, for others that were unpacked of the same.
type PackedClone struct {
	files    Packed
	upstream string
}

// PackClone makes a clone and reads it.
func (u *Upstream) PackClone() PackedClone {
	u.t.Helper()
	return PackedClone{pack(u.t, u.Clone("").Dir), u.Dir}
}

// Unpack is [Upstream.Clone] for an upstream as it was when the clone was made.
func (c PackedClone) Unpack(u *Upstream, name string) *Repo {
	u.t.Helper()
	r := &Repo{Dir: filepath.Join(u.t.TempDir(), name), Now: Epoch, t: u.t}
	c.files.write(u.t, r.Dir)
	config := strings.ReplaceAll(r.ReadFile(".git/config"), c.upstream, u.Dir)
	if !strings.Contains(config, u.Dir) {
		u.t.Fatalf("the configuration of a clone of %s does not name it:\n%s", c.upstream, config)
	}
	r.WriteFile(".git/config", config)
	r.identify(name)
	return r
}

// Input runs git in the upstream with something to read.
func (u *Upstream) Input(stdin string, args ...string) (string, error) {
	return (&Repo{Dir: u.Dir, Now: Epoch, t: u.t}).TryInput(stdin, args...)
}

// Head returns the commit of a branch of the upstream, or "" if there is none.
func (u *Upstream) Head(branch string) string {
	u.t.Helper()
	// A ref is mostly a file of its own, which needs no process.
	if data, err := os.ReadFile(filepath.Join(u.Dir, "refs", "heads", filepath.FromSlash(branch))); err == nil && !strings.HasPrefix(string(data), "ref:") {
		return strings.TrimSpace(string(data))
	}
	out, err := (&Repo{Dir: u.Dir, Now: Epoch, t: u.t}).Try("rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	if err != nil {
		return ""
	}
	return out
}

// A Repo is a repository with a work tree.
type Repo struct {
	Dir string
	// Now is the author's and committer's date of what Run does. Commit moves it
	// on by a minute.
	Now time.Time

	t testing.TB
}

// Identity sets the name and mail of the repository's commits.
func (r *Repo) Identity(name, mail string) {
	r.t.Helper()
	r.configure(fmt.Sprintf("[user]\n\tname = %q\n\temail = %q\n", name, mail))
}

// Run runs git in r and returns what it printed, without the final newline.
// Failure ends the test.
func (r *Repo) Run(args ...string) string {
	r.t.Helper()
	out, err := r.Try(args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// Try is Run for a command that may fail.
func (r *Repo) Try(args ...string) (string, error) {
	return r.TryInput("", args...)
}

// TryInput is Try with something to read for git.
func (r *Repo) TryInput(stdin string, args ...string) (string, error) {
	isolate()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	date := r.Now.Format(time.RFC3339)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date, "LC_ALL=C")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s in %s: %w\n%s%s", strings.Join(args, " "), r.Dir, err, stdout.String(), stderr.String())
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// Path returns the absolute path of a file of the work tree.
func (r *Repo) Path(path string) string {
	return filepath.Join(r.Dir, filepath.FromSlash(path))
}

// WriteFile writes a file of the work tree and makes its directories. An
// existing file keeps its mode.
func (r *Repo) WriteFile(path, data string) {
	r.t.Helper()
	p := r.Path(path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// ReadFile returns a file of the work tree.
func (r *Repo) ReadFile(path string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.Path(path))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// configure adds to the repository's configuration, where what comes last counts.
func (r *Repo) configure(text string) {
	r.t.Helper()
	file := filepath.Join(r.Dir, ".git", "config")
	if _, err := os.Stat(file); err != nil { // a bare one
		file = filepath.Join(r.Dir, "config")
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// Commit commits everything in the work tree, if need be an empty change, and
// returns the commit's id. It is the same whenever the test runs.
func (r *Repo) Commit(message string) string {
	r.t.Helper()
	r.Run("add", "--all")
	r.Run("commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
	r.Now = r.Now.Add(time.Minute)
	return r.Run("rev-parse", "HEAD")
}

// Push pushes refspecs to origin; without any, the branch that is checked out.
func (r *Repo) Push(refspecs ...string) {
	r.t.Helper()
	if len(refspecs) == 0 {
		refspecs = []string{"HEAD"}
	}
	r.Run(append([]string{"push", "--quiet", "origin"}, refspecs...)...)
}
