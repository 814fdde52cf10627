package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// recordTo names the variable that makes this program stand in for git: it notes
// how it was called and what it was told, and lets the real git answer.
const (
	recordTo  = "TUFOPS_BENCH_RECORD" // directory for the notes
	recordGit = "TUFOPS_BENCH_GIT"    // the real git
)

// A call is one run of git, as recorded.
type call struct {
	Args, Env []string
	Dir       string
	stdin     string // file with all it was told
}

// record is this program when it stands in for git.
func record(dir string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	git := os.Getenv(recordGit)
	c := call{Args: os.Args[1:], Dir: wd}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TUFOPS_BENCH_") {
			c.Env = append(c.Env, kv)
		}
	}
	note, err := json.Marshal(c)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("%020d-%d", time.Now().UnixNano(), os.Getpid()))
	if err := os.WriteFile(name+".json", note, 0o644); err != nil {
		return err
	}
	told, err := os.Create(name + ".stdin")
	if err != nil {
		return err
	}
	if !c.catFile() {
		return syscall.Exec(git, append([]string{"git"}, c.Args...), c.Env) // nothing to hear; the exit status is git's
	}
	cmd := exec.Command(git, c.Args...)
	// What is heard is noted before it is passed on: cat-file is not asked to
	// end but killed.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.TeeReader(os.Stdin, told), os.Stdout, os.Stderr
	return cmd.Run()
}

// catFile reports whether the call is the one that is told things as it goes.
func (c call) catFile() bool { return slices.Contains(c.Args, "cat-file") }

// recorded runs tufops once and returns the git processes that it started.
func (b *bench) recorded(ctx context.Context, dir string, env []string, allowed []int, args ...string) ([]call, error) {
	notes, err := os.MkdirTemp(b.dir, "record-")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(self, filepath.Join(notes, "git")); err != nil {
		return nil, err
	}
	env = append(slices.Clone(env), recordTo+"="+notes, recordGit+"="+b.git,
		"PATH="+notes+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if _, err := program(ctx, dir, env, allowed, b.tufops, args...)(); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(notes, "*.json")) // sorted: in the order of their start
	if err != nil {
		return nil, err
	}
	var calls []call
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		c := call{stdin: strings.TrimSuffix(f, ".json") + ".stdin"}
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	// cat-file is told all at once, so what it shows must be there: last.
	var last []call
	calls = slices.DeleteFunc(calls, func(c call) bool {
		if c.catFile() {
			last = append(last, c)
		}
		return c.catFile()
	})
	return append(calls, last...), nil
}

// replay runs the recorded processes again, bare: nobody looks at the answers.
// The time is that of the processes, one after the other.
func replay(ctx context.Context, calls []call) func() (time.Duration, error) {
	const prefix = "GIT_OBJECT_DIRECTORY="
	return func() (all time.Duration, err error) {
		for _, c := range calls { // temporary directories, new and empty again
			i := slices.IndexFunc(c.Env, func(kv string) bool {
				return strings.HasPrefix(kv, prefix) && strings.Contains(kv, "tufops-git-")
			})
			if i < 0 {
				continue
			}
			tmp := strings.TrimPrefix(c.Env[i], prefix)
			if err := os.RemoveAll(tmp); err != nil {
				return 0, err
			}
			if err := os.Mkdir(tmp, 0o700); err != nil {
				return 0, err
			}
			defer os.RemoveAll(tmp)
		}
		for _, c := range calls {
			in, err := os.Open(c.stdin)
			if err != nil {
				return 0, err
			}
			cmd := exec.CommandContext(ctx, "git", c.Args...)
			cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout = c.Dir, c.Env, in, discard{}
			d, err := clocked(cmd.Run)
			in.Close()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) { // an exit status may be an answer
				return 0, err
			}
			if processors {
				d = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			all += d
		}
		return all, nil
	}
}

// discard reads answers through a pipe, as a program that wants them must.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
