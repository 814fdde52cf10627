package demo

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/signer"
)

// programs builds the three programs, once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tufops-programs-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/tufops/tufops/cmd/tufops", "github.com/tufops/tufops/cmd/tufops-sign", "github.com/tufops/tufops/cmd/tufops-client").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// gitShim stands in for git. It counts the processes of one run that write, and
// kills the program that called it with SIGKILL, before or after the K-th has done
// its work: all that a command ever writes to a repository, such a process writes.
const gitShim = `#!/bin/sh
writes=
for word; do
  case "$word" in
    commit-tree|write-tree|hash-object|update-index|read-tree|update-ref|symbolic-ref|push|fetch|merge|checkout*|reset|restore) writes=yes; break;;
    cat-file|rev-parse|rev-list|merge-base|merge-tree|ls-remote|config|var|for-each-ref|diff-index|diff-files|diff-tree|ls-files|remote) break;;
  esac
done
[ -n "$writes" ] || exec "$SHIM_GIT" "$@"
n=$(($(cat "$SHIM_COUNT") + 1))
echo $n > "$SHIM_COUNT"
[ "$n" = "$SHIM_STOP" ] || exec "$SHIM_GIT" "$@"
[ "$SHIM_WHEN" = before ] || "$SHIM_GIT" "$@"
kill -9 $PPID
exit 1
`

// fault is one command on a prepared repository.
type fault struct {
	name    string
	branch  string // that is checked out
	person  string // whose configuration lies there; "" for the bot
	command []string
	prepare func(s *stage)
	forge   bool // it runs in a workflow on GitHub
}

// TestFaults stops every command that writes to git between every two writes,
// before the first and after the last, and runs it again: the repository then is
// the same as after a clean run, commit for commit, and so is the checkout. Outside
// of CI and make soak it leaves out every other stop but the last.
func TestFaults(t *testing.T) {
	for _, f := range []fault{
		{name: "update-targets", branch: "sign/x", command: []string{"tufops", "update-targets", "--push"}, prepare: twoRoles},
		{name: "update-targets here", branch: "sign/x", command: []string{"tufops", "update-targets"}, prepare: twoRoles},
		{name: "create-signing-events", command: []string{"tufops", "create-signing-events", "--push"}, prepare: func(s *stage) { s.pass(320 * 24 * time.Hour) }},
		{name: "signing-event", branch: "sign/x", command: []string{"tufops", "signing-event", "--push"}, prepare: twoRoles, forge: true},
		{name: "create-signing-events --dispatch", command: []string{"tufops", "create-signing-events", "--push", "--dispatch"}, forge: true,
			prepare: func(s *stage) { s.pass(320 * 24 * time.Hour) }},
		{name: "online-sign --dispatch", command: []string{"tufops", "online-sign", "--push", "--dispatch"}, prepare: func(s *stage) { s.pass(2 * 24 * time.Hour) }, forge: true},
		{name: "online-sign", command: []string{"tufops", "online-sign", "--push"}, prepare: func(s *stage) {
			s.no(s.push(s.ctx, "alice", "sign/a", "add", map[string][]byte{"targets/a.txt": text("a")}))
			s.event("sign/a", false, "targets 0/2")
			s.sign("alice", "sign/a", "targets")
			s.sign("bob", "sign/a", "targets")
			s.no(s.merge(s.ctx, "sign/a", mergeCommit))
		}},
		{name: "online-sign-targets", branch: "sign/x", command: []string{"tufops", "online-sign-targets", "nightly", "--push"}, prepare: func(s *stage) {
			online, err := s.onlineKey("nightly")
			s.no(err)
			s.no(s.push(s.ctx, "alice", "main", "allow keys in files", map[string][]byte{".tufops.yaml": text("online-keys: ['file2:']")}))
			_, err = signer.Delegate(s.ctx, s.signs("alice", "sign/x"), "nightly", signer.RoleAnswers{OnlineKey: online, ExpiryDays: 9, SigningDays: 3}, signer.OnlineAnswers{})
			s.no(err)
		}},
		{name: "init", person: "alice", command: []string{"tufops-sign", "init", "sign/init", "--yes", "--signers", "@alice,@bob", "--threshold", "2", "--online-key", "file2:ONLINE"},
			prepare: nil},
		{name: "delegate", person: "alice", command: []string{"tufops-sign", "delegate", "sign/x", "targets", "--yes", "--signers", "@alice,@bob", "--threshold", "2", "--expiry-days", "100"},
			prepare: func(s *stage) {}},
		{name: "import", person: "alice", command: []string{"tufops-sign", "import", "sign/x", "--yes"}, prepare: func(s *stage) {}},
		{name: "accept", person: "carol", command: []string{"tufops-sign", "sign", "sign/x", "--yes"}, prepare: func(s *stage) {
			for _, role := range []string{"root", "targets"} {
				_, err := signer.Delegate(s.ctx, s.signs("alice", "sign/x"), role, signer.RoleAnswers{Signers: []string{"@alice", "@carol"}}, signer.OnlineAnswers{})
				s.no(err)
			}
		}},
		{name: "sign", person: "bob", command: []string{"tufops-sign", "sign", "sign/x", "--yes"}, prepare: func(s *stage) {
			twoRoles(s)
			s.event("sign/x", false, "targets 0/2", "releases 0/1")
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			runFaults(t, f)
		})
	}
}

// twoRoles is an event with artifacts of two roles that the metadata lacks.
func twoRoles(s *stage) {
	_, err := signer.Delegate(s.ctx, s.signs("alice", "sign/roles"), "releases", signer.RoleAnswers{Signers: []string{"@alice"}}, signer.OnlineAnswers{})
	s.no(err)
	s.sign("bob", "sign/roles", "targets")
	s.no(s.merge(s.ctx, "sign/roles", mergeCommit))
	s.no(s.push(s.ctx, "alice", "sign/x", "add", map[string][]byte{"targets/a.txt": text("a"), "targets/releases/tool": text("tool")}))
}

func runFaults(t *testing.T, f fault) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	seed := byte(0)
	s.newKey = func() (crypto.Signer, error) { // its signatures are the same in every run
		seed++
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), nil
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		s.no(s.person(s.ctx, name))
	}
	if f.prepare != nil {
		s.start()
		s.sign("bob", "sign/init", "root targets")
		s.sign("alice", "sign/init", "root")
		s.no(s.merge(s.ctx, "sign/init", mergeCommit))
		_, err := s.onlineSign(s.ctx)
		s.no(err)
		f.prepare(s)
	} else {
		_, err := s.onlineKey("online")
		s.no(err)
	}
	clean, processes := s.run(bin, f, 0, "")
	every := 2
	if os.Getenv("CI") != "" || os.Getenv("TUFOPS_SOAK") != "" {
		every = 1
	}
	stops := 0
	for stop := 1; stop <= processes; stop++ {
		if (stop-len(f.name))%every != 0 && stop != processes {
			continue
		}
		stops++
		// To stop after one write leaves what stopping before the next one does,
		// unless something else is written in between: to the forge.
		when := []string{"before"}
		if f.forge || stop == processes {
			when = []string{"before", "after"}
		}
		for _, when := range when {
			if got, _ := s.run(bin, f, stop, when); got != clean {
				t.Errorf("stopped %s write %d of %d and run again:\n%s\nclean run:\n%s", when, stop, processes, got, clean)
			}
		}
	}
	t.Logf("%d writes, stopped at %d of them", processes, stops)
}

// run copies the repository, runs the command, stopped at one of its git
// processes if asked to, and then again; it returns what the repository and the
// checkout are afterwards, and how many git processes the first run had.
func (s *stage) run(bin string, f fault, stop int, when string) (state string, processes int) {
	t := s.t
	t.Helper()
	work, err := os.MkdirTemp(s.dir, "fault-")
	s.no(err)
	defer os.RemoveAll(work)
	s.no(os.CopyFS(filepath.Join(work, "git.git"), os.DirFS(s.path("git.git"))))
	realGit, err := exec.LookPath("git")
	s.no(err)
	s.no(os.MkdirAll(filepath.Join(work, "bin"), 0o755))
	s.no(os.WriteFile(filepath.Join(work, "bin", "git"), []byte(gitShim), 0o755))
	who := f.person
	if who == "" {
		who = "tufops"
	}
	branch := f.branch
	if branch == "" {
		branch = "main"
	}
	checkout := filepath.Join(work, "checkout")
	git := func(dir string, args ...string) string {
		out, err := exec.Command(realGit, append([]string{"-C", dir}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	git(work, "clone", "-q", "--branch", branch, "-c", "user.name="+who, "-c", "user.email="+who+"@example.com", "git.git", checkout)
	if f.person != "" {
		s.no(os.WriteFile(filepath.Join(checkout, signer.ConfigFile), []byte("[settings]\nuser-name = "+f.person+"\npull-remote = origin\npush-remote = origin\nkey = file:"+s.path("keys", f.person+".pem")+"\n"), 0o600))
	}
	var env []string
	var gh *githubtest.Server
	if f.forge {
		gh = githubtest.New(t, githubtest.Options{Dir: filepath.Join(work, "git.git"), Settings: githubtest.Settings{Workflows: []string{"signing-event.yml", "publish.yml"}}})
		defer gh.Close()
		token := gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
		env = []string{"GITHUB_REPOSITORY=octo/tuf", "GITHUB_API_URL=" + gh.URL, "GITHUB_GRAPHQL_URL=" + gh.GraphQLURL, "GITHUB_TOKEN=" + token, "TUFOPS_DEFAULT_TOKEN=" + token}
	}
	count := filepath.Join(work, "count")
	command := func(stop int) error {
		s.no(os.WriteFile(count, []byte("0\n"), 0o644))
		args := append([]string{"-C", checkout}, f.command[1:]...)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "ONLINE", s.path("keys", "online.pem"))
		}
		cmd := exec.Command(filepath.Join(bin, f.command[0]), args...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(work, "bin")+":"+os.Getenv("PATH"), "TMPDIR="+work, "TUFOPS_NOW="+s.now.Format(time.RFC3339),
			"SHIM_GIT="+realGit, "SHIM_COUNT="+count, "SHIM_STOP="+strconv.Itoa(stop), "SHIM_WHEN="+when)
		cmd.Env = append(cmd.Env, env...)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState.ExitCode() != 3 { // people are awaited
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	if err := command(stop); (err == nil) != (stop == 0) {
		t.Fatalf("run with stop %s write %d: %v", when, stop, err)
	}
	data, err := os.ReadFile(count)
	s.no(err)
	if processes, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
		t.Fatal(err)
	}
	if stop > 0 {
		// init says so where it had been done: there is a root.
		if err := command(0); err != nil && !strings.Contains(err.Error(), "there is a root already") {
			t.Fatalf("run again after a stop %s write %d: %v", when, stop, err)
		}
	}
	var b strings.Builder
	for _, ref := range strings.Fields(git(filepath.Join(work, "git.git"), "for-each-ref", "--format=%(refname)")) {
		fmt.Fprintf(&b, "%s\n%s", ref, git(filepath.Join(work, "git.git"), "log", "--first-parent", "--format=  %T %s", ref))
	}
	fmt.Fprintf(&b, "checkout %s%s", git(checkout, "rev-parse", "HEAD^{tree}"), git(checkout, "status", "--porcelain", "--untracked-files=no"))
	if gh != nil {
		b.WriteString(forgeState(gh, f.command[1] == "signing-event"))
	}
	return b.String(), processes
}

// forgeState is what the forge shows. What was started twice does no harm. The run
// that signing-event starts after its push finds nothing to do, so it is not
// missed where the second run had nothing to push.
func forgeState(gh *githubtest.Server, event bool) string {
	var b strings.Builder
	for _, p := range gh.Pulls() {
		fmt.Fprintf(&b, "\npull request %d, %s, draft %v\n", p.Number, p.Title, p.Draft)
		for _, c := range p.Comments {
			fmt.Fprintf(&b, "%s\n", c.Body)
		}
		for _, s := range gh.Statuses(p.HeadSHA) {
			fmt.Fprintf(&b, "%s: %s\n", s.State, s.Description)
		}
	}
	started := map[string]bool{}
	for _, d := range gh.Dispatches() {
		if event {
			continue
		}
		started[fmt.Sprintf("%s on %s %v", d.Workflow, d.Ref, d.Inputs)] = true
	}
	for _, line := range slices.Sorted(maps.Keys(started)) {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}
