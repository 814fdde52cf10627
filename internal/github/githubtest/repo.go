package githubtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// none is the commit that a branch had before it was made, and has after it was
// deleted.
const none = "0000000000000000000000000000000000000000"

// bare is a bare git repository.
type bare string

// run runs git and returns what it printed, without the final newline.
func (b bare) run(args ...string) (string, error) { return b.runAs(nil, args...) }

func (b bare) runAs(env []string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = string(b)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s in %s: %w\n%s%s", strings.Join(args, " "), b, err, stdout.String(), stderr.String())
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// says runs git for its exit status, 0 or 1.
func (b bare) says(args ...string) (bool, error) {
	_, err := b.run(args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// pushLog is written by the hook that prepare installs.
const pushLog = "pushes.log"

// prepare has each push to the repository noted down.
func (b bare) prepare() error {
	switch answer, err := b.run("rev-parse", "--is-bare-repository"); {
	case err != nil:
		return err
	case answer != "true":
		return errors.New("it is not bare")
	}
	hook := filepath.Join(string(b), "hooks", "post-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		return err
	}
	// $GITHUB_ACTOR is what a workflow job has.
	script := "#!/bin/sh\nwhile read -r old new ref; do\n" +
		`  printf '%s %s %s %s\n' "$old" "$new" "$ref" "${GITHUB_ACTOR:-}" >>` + pushLog + "\ndone\n"
	return os.WriteFile(hook, []byte(script), 0o755)
}

// A Push is what happened to one branch or tag, in one push or merge.
type Push struct {
	ID     int64     `json:"id"`
	Ref    string    `json:"ref"`
	Before string    `json:"before"` // zeros if it was made
	After  string    `json:"after"`  // zeros if it was deleted
	Kind   string    `json:"kind"`   // push, force_push, branch_creation, branch_deletion or pr_merge
	Actor  string    `json:"actor"`  // $GITHUB_ACTOR of the process that pushed, else the owner
	At     time.Time `json:"at"`     // when the server noticed
}

// Pushes are all pushes since the server began, in their order. Which workflows
// they would have started is for the test to say.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	return append([]Push(nil), s.pushes...)
}

// readPushes takes in what the hook has noted.
func (s *Server) readPushes() error {
	data, err := os.ReadFile(filepath.Join(s.Dir, pushLog))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	for line := range strings.Lines(string(data[s.logSeen:end])) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return fmt.Errorf("the push log holds %q", line)
		}
		p := Push{ID: s.id(), Before: fields[0], After: fields[1], Ref: fields[2], Actor: s.Owner, At: s.now()}
		if len(fields) > 3 {
			p.Actor = fields[3]
		}
		switch {
		case p.Before == none:
			p.Kind = "branch_creation"
		case p.After == none:
			p.Kind = "branch_deletion"
		default:
			onward, err := s.git.says("merge-base", "--is-ancestor", p.Before, p.After)
			if err != nil {
				return err
			}
			p.Kind = "push"
			if !onward {
				p.Kind = "force_push"
			}
		}
		s.pushes = append(s.pushes, p)
	}
	s.logSeen = end
	return nil
}

// sync looks at the repository and draws the conclusions that GitHub draws: the
// head of an open pull request is where its branch is; it is merged once that is
// reachable from its base, and closed when one of the two branches is gone or
// has nothing of its own left.
func (s *Server) sync() error {
	out, err := s.git.run("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags", "refs/forks")
	if err != nil {
		return err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		name, oid, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[name] = oid
	}
	s.refs = refs
	if err := s.readPushes(); err != nil {
		return err
	}
	for _, i := range s.issues {
		if i.pull == nil || !i.open {
			continue
		}
		if err := s.syncPull(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) syncPull(i *issue) error {
	p := i.pull
	head, base := s.refs[s.headRef(p)], s.refs["refs/heads/"+p.base]
	if head == p.headSHA && base == p.baseSHA {
		return nil
	}
	if head == "" || base == "" {
		s.close(i, s.Owner)
		return nil
	}
	contained, err := s.git.says("merge-base", "--is-ancestor", head, base)
	if err != nil {
		return err
	}
	baseMoved := base != p.baseSHA
	if err := s.setHead(i, head); err != nil {
		return err
	}
	p.baseSHA = base
	switch {
	case contained && baseMoved:
		s.merged(i, base, s.Owner)
	case contained:
		s.close(i, s.Owner)
	}
	return nil
}

// headRef is where the bare repository has the branch of a pull request. Forks
// are kept out of sight of clones.
func (s *Server) headRef(p *pull) string {
	if p.headOwner == s.Owner {
		return "refs/heads/" + p.headBranch
	}
	return forkRef(p.headOwner, p.headBranch)
}

func forkRef(login, branch string) string { return "refs/forks/" + login + "/" + branch }

// setHead moves the head of a pull request, and the ref that GitHub has for it.
func (s *Server) setHead(i *issue, head string) error {
	i.pull.headSHA = head
	i.updated = s.now()
	_, err := s.git.run("update-ref", fmt.Sprintf("refs/pull/%d/head", i.number), head)
	return err
}

// resolve returns the commit that a name in a request means: an id, or a branch
// or tag, also with heads/ or tags/ before it.
func (s *Server) resolve(name string) (string, bool) {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/"} {
		if oid, ok := s.refs[prefix+name]; ok {
			return oid, true
		}
	}
	return name, s.hasCommit(name)
}

// hasCommit reports whether name is the full id of a commit that is there.
func (s *Server) hasCommit(name string) bool {
	if len(name) != len(none) || strings.Trim(name, "0123456789abcdef") != "" {
		return false
	}
	kind, err := s.git.run("cat-file", "-t", name)
	return err == nil && kind == "commit"
}

// file returns a file of a commit; ok is false if there is none.
func (s *Server) file(commit, path string) (data string, ok bool) {
	data, err := s.git.run("cat-file", "blob", commit+":"+path)
	return data, err == nil
}

// How a pull request is merged.
const (
	MergeCommit = "merge"
	Squash      = "squash"
	Rebase      = "rebase"
)

// Merge merges an open pull request as a maintainer does with the button, and
// returns the commit that the base then has. A draft or a conflict ends the test.
func (s *Server) Merge(number int, method, login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t != nil {
		s.t.Helper()
	}
	oid, err := s.merge(number, method, login)
	s.must(err)
	return oid
}

func (s *Server) merge(number int, method, login string) (string, error) {
	if err := s.sync(); err != nil {
		return "", err
	}
	i := s.issue(number)
	if i == nil || i.pull == nil || !i.open || i.pull.draft {
		return "", fmt.Errorf("merge pull request %d: it is not open, or a draft", number)
	}
	p := i.pull
	new, err := s.mergeCommit(i, method, login)
	if err != nil {
		return "", fmt.Errorf("merge pull request %d into %s by %s: %w", number, p.base, method, err)
	}
	ref, old := "refs/heads/"+p.base, p.baseSHA
	if _, err := s.git.run("update-ref", ref, new, old); err != nil {
		return "", fmt.Errorf("merge pull request %d: %w", number, err)
	}
	s.pushes = append(s.pushes, Push{ID: s.id(), Ref: ref, Before: old, After: new, Kind: "pr_merge", Actor: login, At: s.now()})
	p.baseSHA = new
	s.merged(i, new, login)
	return new, s.sync()
}

// mergeCommit makes what base becomes.
func (s *Server) mergeCommit(i *issue, method, login string) (string, error) {
	p := i.pull
	date := s.now().Format(time.RFC3339)
	mail := login + "@users.noreply.github.com"
	env := []string{
		"GIT_AUTHOR_NAME=" + login, "GIT_AUTHOR_EMAIL=" + mail, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com", "GIT_COMMITTER_DATE=" + date,
	}
	if method == Rebase {
		return s.rebase(p, env[3:])
	}
	tree, err := s.git.run("merge-tree", "--write-tree", p.baseSHA, p.headSHA)
	if err != nil {
		return "", err
	}
	commit := []string{"commit-tree", tree, "-p", p.baseSHA}
	switch method {
	case MergeCommit:
		commit = append(commit, "-p", p.headSHA,
			"-m", fmt.Sprintf("Merge pull request #%d from %s/%s", i.number, p.headOwner, p.headBranch), "-m", i.title)
	case Squash:
		commit = append(commit, "-m", fmt.Sprintf("%s (#%d)", i.title, i.number))
	default:
		return "", fmt.Errorf("there is merge, squash and rebase, not %q", method)
	}
	return s.git.runAs(env, commit...)
}

// rebase puts the commits of a pull request on its base. That takes a work tree.
func (s *Server) rebase(p *pull, committer []string) (string, error) {
	tmp, err := os.MkdirTemp("", "githubtest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	work := bare(filepath.Join(tmp, "work"))
	if _, err := s.git.run("worktree", "add", "--quiet", "--detach", string(work), p.baseSHA); err != nil {
		return "", err
	}
	defer s.git.run("worktree", "remove", "--force", string(work))
	if _, err := work.runAs(committer, "cherry-pick", p.baseSHA+".."+p.headSHA); err != nil {
		return "", err
	}
	return work.run("rev-parse", "HEAD")
}

// Fork sets a branch of somebody's fork of the repository to a commit that the
// repository has, or deletes it if commit is empty. [Server.OpenPull] takes
// it as "login:branch".
func (s *Server) Fork(login, branch, commit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"update-ref", forkRef(login, branch), commit}
	if commit == "" {
		args = []string{"update-ref", "-d", forkRef(login, branch)}
	}
	_, err := s.git.run(args...)
	s.must(err)
	s.must(s.sync())
}
