package git

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// waitDelay is how long a git process may take to end after it was told to, and
// how long its children (a credential cache, an SSH master) may hold our pipes
// open after it has ended.
const waitDelay = 2 * time.Second

// A call is one run of the git program.
type call struct {
	args    []string // subcommand and arguments
	config  []string // more -c settings
	stdin   io.Reader
	env     []string // added last, so these win
	prompt  bool     // git may ask the user for credentials
	noHooks bool
	magic   bool   // pathspecs are not literal
	dir     string // where to run, if not at the top
}

// run runs git to its end and returns what it printed. A failure is a
// [*CommandError], with the output so far.
func (r *Repo) run(ctx context.Context, c call) ([]byte, error) {
	if r.only != nil {
		return nil, r.noGit(c.args)
	}
	cmd := exec.CommandContext(ctx, "git", c.argv()...)
	// SIGTERM, because git then removes its lock files; whoever does not listen
	// is killed after waitDelay.
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = waitDelay
	cmd.Dir = cmp.Or(c.dir, r.dir)
	cmd.Env = append(environ(c), c.env...)
	cmd.Stdin = c.stdin
	var stdout bytes.Buffer
	var stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := ctx.Err(); err != nil {
		return nil, newCommandError(c.args, cmd, "", err)
	}
	r.processes.Add(1)
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		err = nil // git is done; only a child of its still holds a pipe
	}
	if err != nil {
		if cerr := ctx.Err(); cerr != nil {
			err = cerr
		}
		return stdout.Bytes(), newCommandError(c.args, cmd, stderr.String(), err)
	}
	return stdout.Bytes(), nil
}

// argv returns the arguments of the git program.
func (c call) argv() []string {
	argv := []string{"--no-replace-objects", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false"}
	if c.noHooks {
		argv = append(argv, "-c", "core.hooksPath="+os.DevNull)
	}
	for _, s := range c.config {
		argv = append(argv, "-c", s)
	}
	return append(argv, c.args...)
}

func newCommandError(args []string, cmd *exec.Cmd, stderr string, err error) *CommandError {
	e := &CommandError{ExitCode: -1, Stderr: redact(stderr), Err: err}
	for _, a := range args {
		e.Args = append(e.Args, redact(a))
	}
	if cmd.ProcessState != nil {
		e.ExitCode = cmd.ProcessState.ExitCode()
	}
	return e
}

// exitCode returns git's exit status if err says that git ended with one, else -1.
func exitCode(err error) int {
	var ce *CommandError
	var xe *exec.ExitError
	if errors.As(err, &ce) && errors.As(ce.Err, &xe) {
		return ce.ExitCode
	}
	return -1
}

// notInherited are the variables that git sets for its hooks or that change what
// a command means, and secrets that are for others than git, its hooks and its
// filters; a process of ours gets none of them from our caller. See the package
// comment. (GITHUB_TOKEN stays: credential helpers of people read it.)
var notInherited = map[string]bool{
	"GIT_DIR": true, "GIT_WORK_TREE": true, "GIT_INDEX_FILE": true, "GIT_COMMON_DIR": true,
	"GIT_PREFIX": true, "GIT_IMPLICIT_WORK_TREE": true, "GIT_NAMESPACE": true, "GIT_SHALLOW_FILE": true,
	"GIT_GRAFT_FILE": true, "GIT_REPLACE_REF_BASE": true, "GIT_NO_REPLACE_OBJECTS": true,
	"GIT_OBJECT_DIRECTORY": true, "GIT_ALTERNATE_OBJECT_DIRECTORIES": true,
	"GIT_LITERAL_PATHSPECS": true, "GIT_GLOB_PATHSPECS": true, "GIT_NOGLOB_PATHSPECS": true, "GIT_ICASE_PATHSPECS": true,
	"GIT_CONFIG": true, "GIT_INTERNAL_SUPER_PREFIX": true, "GIT_ATTR_SOURCE": true,
	"TUFOPS_PIN": true, "TUFOPS_APP_PRIVATE_KEY": true, "TUFOPS_DEFAULT_TOKEN": true, "TUF_ON_CI_TOKEN": true,
	"ACTIONS_ID_TOKEN_REQUEST_TOKEN": true, "ACTIONS_RUNTIME_TOKEN": true,
	"AWS_SECRET_ACCESS_KEY": true, "AWS_SESSION_TOKEN": true, "AWS_CONTAINER_AUTHORIZATION_TOKEN": true,
	"AZURE_CLIENT_SECRET": true, "AZURE_CLIENT_CERTIFICATE_PASSWORD": true, "IDENTITY_HEADER": true,
	"VAULT_TOKEN": true,
}

// environ returns the environment of a git process.
func environ(c call) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if notInherited[name] {
			continue
		}
		env = append(env, kv)
	}
	env = append(env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_GRAFT_FILE="+os.DevNull)
	if !c.prompt {
		env = append(env, "GIT_TERMINAL_PROMPT=0")
	}
	if !c.magic {
		env = append(env, "GIT_LITERAL_PATHSPECS=1")
	}
	if alt := alternates(); alt != "" {
		env = append(env, alt)
	}
	return env
}

// alternates returns the setting with which git reads objects from dirs and from
// wherever our caller's environment says, or "" if that is nowhere.
func alternates(dirs ...string) string {
	var list []string
	for _, d := range append(dirs, os.Getenv("GIT_OBJECT_DIRECTORY")) {
		if d == "" {
			continue
		}
		if abs, err := filepath.Abs(d); err == nil {
			d = abs
		}
		if strings.ContainsAny(d, "\"\n"+string(filepath.ListSeparator)) {
			d = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(d) + `"`
		}
		list = append(list, d)
	}
	if user := os.Getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES"); user != "" {
		list = append(list, user)
	}
	if len(list) == 0 {
		return ""
	}
	return "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + strings.Join(list, string(filepath.ListSeparator))
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - maxTail; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
