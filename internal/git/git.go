// Package git runs the git program. No other package of this module does.
//
// It owns the conversation with git: how a process is started, what it may see
// of the environment, how its answers are parsed, which failure is which error
// type. Objects are read without a checkout, through one long-lived `git
// cat-file` process, so that looking at a whole signing event costs a handful
// of processes. Commits are written through a temporary index. Only
// [Repo.AdvanceCheckout] touches the user's index or work tree, and nothing here
// ever touches the stash.
//
// It trusts the git program, the user's own git configuration (credentials,
// SSH, hooks on push, commit signing), and that the bytes git returns for an
// object id belong to that id: git checked them when they arrived. It does not
// trust what the objects say. Any tree, commit, ref name or path may have been
// made by a stranger: trees that git's own fsck would refuse are refused here,
// tree bombs run into a limit, and a blob is measured before it is read.
//
// It never forces a push, never follows replace refs or grafts, never lets a
// rev or a path be taken for an option, never passes a PIN, a token of the forge or
// an app's key on, and never prints credentials that stand in a URL.
//
// [Objects] are the one repository that takes no git program: some objects in
// memory, from which this package answers by itself what a review asks, the
// merge base, the history and a merge among them.
//
// The repository is the one at the directory given to [Open]. GIT_DIR,
// GIT_WORK_TREE, GIT_INDEX_FILE and their like, which git sets for its hooks,
// are not passed on, because they may name another repository or an index in the
// middle of a commit. Objects that the caller's environment makes visible
// (GIT_OBJECT_DIRECTORY and GIT_ALTERNATE_OBJECT_DIRECTORIES, as in a receiving
// hook) can be read, but nothing is written there.
//
// Git 2.38 or newer is needed, for `merge-tree --write-tree`.
package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// An OID is the name of a git object: 40 (SHA-1) or 64 (SHA-256) lower-case hex
// digits. The empty OID names nothing; where a function gives it a meaning, its
// comment says so.
type OID string

// ParseOID returns s as an OID if it has the form of one.
func ParseOID(s string) (OID, error) {
	if !OID(s).valid() {
		return "", fmt.Errorf("%q is not a git object id: want 40 or 64 lower-case hex digits", s)
	}
	return OID(s), nil
}

// Short returns the first 12 digits, for messages to people.
func (o OID) Short() string {
	return string(o[:min(len(o), 12)])
}

func (o OID) valid() bool {
	if len(o) != 40 && len(o) != 64 {
		return false
	}
	for _, c := range []byte(o) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// zero returns the all-zero OID of o's length, with which git says "no object".
func (o OID) zero() OID {
	return OID(strings.Repeat("0", len(o)))
}

func checkOIDs(oids ...OID) error {
	for _, o := range oids {
		if _, err := ParseOID(string(o)); err != nil {
			return err
		}
	}
	return nil
}

// A Repo is one git repository on this machine. It is safe for concurrent use;
// [Repo.Close] must come after the last other call has returned.
type Repo struct {
	dir     string // where processes run: top, or gitDir of a bare repository
	gitDir  string
	objects string
	top     string
	shallow bool

	only *Objects // where all of it is; nil: in gitDir

	processes atomic.Int64
	trees     treeCache

	// catLock holds a token while nobody talks to cat. It is a channel so that
	// waiting for it ends with the context.
	catLock chan struct{}
	cat     *catFile // the idle cat-file process; nil if there is none

	mu      sync.Mutex
	tmp     string // temporary directory, "" until one is needed
	closed  bool
	answers map[string]string // of git, by question; see once
}

// Open finds the repository that dir lies in, with one git process.
//
// It returns a [*NotRepositoryError] if there is none. The context bounds Open
// only; what Open starts later ends with [Repo.Close].
func Open(ctx context.Context, dir string) (*Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open git repository %s: %w", dir, err)
	}
	if st, err := os.Stat(abs); err != nil {
		return nil, &NotRepositoryError{Dir: dir, Err: err}
	} else if !st.IsDir() {
		return nil, &NotRepositoryError{Dir: dir, Err: fs.ErrInvalid}
	}
	r := &Repo{dir: abs, catLock: make(chan struct{}, 1)}
	r.catLock <- struct{}{}

	// --show-toplevel comes last: outside a work tree git prints the other
	// answers and fails at that one.
	out, err := r.run(ctx, call{args: []string{"rev-parse", "--path-format=absolute", "--git-dir", "--git-path", "objects",
		"--is-shallow-repository", "--is-inside-work-tree", "--show-toplevel"}})
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if err != nil && (len(lines) != 4 || lines[3] != "false") {
		var ce *CommandError
		if errors.As(err, &ce) && strings.Contains(ce.Stderr, "not a git repository") {
			return nil, &NotRepositoryError{Dir: dir, Err: err}
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("open git repository %s: the git program is not installed or not in PATH: %w", dir, err)
		}
		return nil, fmt.Errorf("open git repository %s: %w", dir, err)
	}
	if len(lines) < 4 || len(lines) > 5 {
		return nil, fmt.Errorf("open git repository %s: git rev-parse gave %d lines, want 4 or 5 (a newline in a path?)", dir, len(lines))
	}
	r.gitDir, r.objects, r.shallow = filepath.FromSlash(lines[0]), filepath.FromSlash(lines[1]), lines[2] == "true"
	r.dir = r.gitDir
	if len(lines) == 5 {
		r.top = filepath.FromSlash(lines[4])
		r.dir = r.top
	}
	return r, nil
}

// Close ends the cat-file process and removes temporary objects. Calling it
// again does nothing. Every other call fails after it.
func (r *Repo) Close() error {
	<-r.catLock
	c := r.cat
	r.cat = nil
	r.mu.Lock()
	tmp := r.tmp
	r.tmp, r.closed = "", true
	r.mu.Unlock()
	r.catLock <- struct{}{}
	if c != nil {
		c.close()
	}
	if tmp == "" {
		return nil
	}
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("remove temporary git objects: %w", err)
	}
	return nil
}

// Top returns the absolute path of the work tree, or "" if the repository is
// bare or was opened inside its git directory.
func (r *Repo) Top() string { return r.top }

// GitDir returns the absolute path of the git directory. In a linked work tree
// that is the work tree's own directory below the main one's.
func (r *Repo) GitDir() string { return r.gitDir }

// Shallow reports whether the history was cut off when the repository was
// opened, as actions/checkout does unless told fetch-depth: 0.
func (r *Repo) Shallow() bool { return r.shallow }

// Processes returns how many git processes r has started so far.
func (r *Repo) Processes() int { return int(r.processes.Load()) }

// once asks git what has the same answer for as long as r is open: what follows
// from commits, and settings that nobody changes meanwhile. An error is no answer.
func (r *Repo) once(question string, ask func() (string, error)) (string, error) {
	r.mu.Lock()
	answer, known := r.answers[question]
	r.mu.Unlock()
	if known {
		return answer, nil
	}
	answer, err := ask()
	if err != nil {
		return answer, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = map[string]string{}
	}
	r.answers[question] = answer
	return answer, nil
}

// tempDir returns r's temporary directory and makes it if there is none yet. It
// is an object directory, and so a work tree without a file of its own.
func (r *Repo) tempDir() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", ErrClosed
	}
	if r.tmp != "" {
		return r.tmp, nil
	}
	tmp, err := os.MkdirTemp("", "tufops-git-")
	if err != nil {
		return "", err
	}
	r.tmp = tmp
	return tmp, nil
}
