package demo

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
	"github.com/tufops/tufops/signingevent"
)

// scene is everybody who has a part in a TUF repository, on one machine: the
// git repository they meet in, people with their own clones and keys, the bot
// that clones for each run as CI does, the published site. Its clock stands until
// somebody moves it.
//
//	git.git/          where everybody pushes to
//	people/NAME/      a person's clone
//	keys/NAME.pem     private keys: people's, and those of the machine
//	ci/N/             what the bot checked out in its run N
//	published/        what clients read
type scene struct {
	dir    string
	now    time.Time
	tufDir string // of the TUF repository in the git repository
	runs   int
	people map[string]*repository.Repository
	out    io.Writer // what the signer prints
	log    *slog.Logger
	keys   onlinesign.Keys
	newKey func() (crypto.Signer, error)
}

// policy is what the maintainers of the demo have decided: its Sigstore instance
// lives for some hours of real time, and the clock of the demo stands elsewhere.
const policy = `trust-material: enforced
rules:
  trusted-root/chain-expired: {level: warning, reason: "this Sigstore lives for an hour of real time"}
`

// newScene makes the git repository, with a README on main.
func newScene(ctx context.Context, dir string, now time.Time) (*scene, error) {
	s := &scene{dir: dir, now: now, people: map[string]*repository.Repository{}, out: io.Discard, log: slog.New(slog.DiscardHandler)}
	s.keys = onlinesign.Services{file.Scheme: file.Keys{}}
	s.newKey = func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
	if err := os.MkdirAll(s.path("keys"), 0o700); err != nil {
		return nil, err
	}
	if err := git.Init(ctx, s.path("git.git")); err != nil {
		return nil, err
	}
	g, err := git.Open(ctx, s.path("git.git"))
	if err != nil {
		return nil, err
	}
	defer g.Close()
	first, err := g.WriteCommit(ctx, git.CommitOptions{
		Changes: []git.FileChange{{Path: repository.PolicyFile, Data: []byte(policy)}, {Path: "README.md", Data: []byte("# A TUF repository\n")}},
		Message: "A place to meet", Identity: identity("maintainer"), When: now,
	})
	if err != nil {
		return nil, err
	}
	return s, g.UpdateRef(ctx, "refs/heads/main", first, "")
}

// close ends what the people's clones hold open.
func (s *scene) close() {
	for _, r := range s.people {
		r.Git.Close()
	}
}

func (s *scene) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

func identity(name string) *git.Identity {
	return &git.Identity{Name: name, Email: name + "@example.com"}
}

// key makes a private key and returns its file.
func (s *scene) key(name string) (string, error) {
	to := s.path("keys", name+".pem")
	key, err := s.newKey()
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return to, os.WriteFile(to, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// onlineKey makes a key for the machine and returns its URI.
func (s *scene) onlineKey(name string) (string, error) {
	f, err := s.key(name)
	return file.Scheme + ":" + f, err
}

// clone checks a branch out, "" for main.
func (s *scene) clone(ctx context.Context, to, branch, who string) (*repository.Repository, error) {
	g, err := git.Clone(ctx, s.path("git.git"), to, git.CloneOptions{Branch: branch, Identity: identity(who), Unsigned: true})
	if err != nil {
		return nil, err
	}
	r, err := repository.New(g, s.tufDir)
	if err != nil {
		g.Close()
	}
	return r, err
}

// person gives somebody a clone and a key.
func (s *scene) person(ctx context.Context, name string) error {
	if _, err := s.key(name); err != nil {
		return err
	}
	r, err := s.clone(ctx, s.path("people", name), "", name)
	if err != nil {
		return err
	}
	s.people[name] = r
	return nil
}

// signs is how a person calls tufops-sign.
func (s *scene) signs(name, event string) signer.Options {
	return signer.Options{
		Repository: s.people[name], Event: event, Now: s.now, Out: s.out, Log: s.log, OnlineKeys: publicKeys{s.keys},
		Config: signer.Config{User: signer.Login(name), PullRemote: "origin", PushRemote: "origin", Key: "file:" + s.path("keys", name+".pem")},
	}
}

// ci is one run of the bot on a branch: a fresh clone, and a command in it.
func (s *scene) ci(ctx context.Context, branch string, command func(r *repository.Repository) error) error {
	s.runs++
	r, err := s.clone(ctx, s.path("ci", fmt.Sprint(s.runs)), branch, "tufops")
	if err != nil {
		return err
	}
	defer r.Git.Close()
	return command(r)
}

// signingEvent is what CI does after a push to an event: metadata in line with
// the artifacts, and the verdict.
func (s *scene) signingEvent(ctx context.Context, event string) (status *repository.Status, err error) {
	err = s.ci(ctx, event, func(r *repository.Repository) error {
		done, err := signingevent.UpdateTargets(ctx, signingevent.Options{Repository: r, Now: s.now, Remote: "origin", Log: s.log})
		if err != nil {
			return err
		}
		e, err := r.OpenEvent(ctx, repository.EventOptions{Name: event, Head: string(done.Head), Base: "refs/remotes/origin/main"})
		if err != nil {
			return err
		}
		policy, err := r.Policy(ctx, e.Base)
		if err != nil {
			return err
		}
		status, err = e.Status(ctx, s.now, policy)
		return err
	})
	return status, err
}

// onlineSignIn is what CI does after a push to main and every day.
func (s *scene) onlineSignIn(ctx context.Context, r *repository.Repository) (onlinesign.Result, error) {
	result, err := onlinesign.Run(ctx, onlinesign.Options{Repository: r, Keys: s.keys, Now: s.now, Remote: "origin", Log: s.log})
	if err != nil {
		err = fmt.Errorf("online-sign: %w", err)
	}
	return result, err
}

// publishFrom brings the site to what is checked out.
func (s *scene) publishFrom(ctx context.Context, r *repository.Repository) (*publish.Report, error) {
	commit, err := r.Git.Resolve(ctx, "HEAD")
	if err != nil {
		return nil, err
	}
	p, err := r.Published(ctx, commit, s.now)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	publishable, err := p.Publishable()
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	store, err := dir.Open(s.path("published"), dir.Options{})
	if err != nil {
		return nil, err
	}
	report, err := publish.Run(ctx, publish.Options{Commit: commit, Publishable: publishable, Log: s.log,
		To: []publish.Destination{{URL: "file://" + filepath.ToSlash(s.path("published")), Store: store}}})
	if err != nil {
		err = fmt.Errorf("publish: %w", err)
	}
	return report, err
}

// release is online signing and publishing in one run of CI.
func (s *scene) release(ctx context.Context) (signed onlinesign.Result, report *publish.Report, err error) {
	err = s.ci(ctx, "", func(r *repository.Repository) error {
		if signed, err = s.onlineSignIn(ctx, r); err != nil {
			return err
		}
		report, err = s.publishFrom(ctx, r)
		return err
	})
	return signed, report, err
}

// merging is a way to merge, as forges offer them.
type merging int

const (
	mergeCommit merging = iota
	squash
	rebase
)

// merge merges an event into main, as a person does on the forge. It is the
// person who decides; nothing is judged here.
func (s *scene) merge(ctx context.Context, event string, how merging) error {
	g, err := git.Open(ctx, s.path("git.git"))
	if err != nil {
		return err
	}
	defer g.Close()
	main, err := g.Resolve(ctx, "refs/heads/main")
	if err != nil {
		return err
	}
	head, err := g.Resolve(ctx, "refs/heads/"+event)
	if err != nil {
		return err
	}
	base, err := g.MergeBase(ctx, main, head)
	if err != nil {
		return err
	}
	o := git.CommitOptions{Parent: main, Message: "Merge " + event, Identity: identity("maintainer"), When: s.now}
	tip := main
	switch how {
	case mergeCommit:
		o.ExtraParents = []git.OID{head}
		tip, err = s.apply(ctx, g, o, base, head)
	case squash:
		tip, err = s.apply(ctx, g, o, base, head)
	case rebase:
		commits, herr := g.History(ctx, head, base, git.HistoryOptions{Reverse: true, FirstParent: true})
		if herr != nil {
			return herr
		}
		for _, c := range commits {
			one, cerr := g.Commit(ctx, c)
			if cerr != nil {
				return cerr
			}
			o.Parent, o.Message = tip, one.Message
			if tip, err = s.apply(ctx, g, o, one.Parents[0], c); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	return g.UpdateRef(ctx, "refs/heads/main", tip, main)
}

// apply makes a commit with what changed between two others.
func (s *scene) apply(ctx context.Context, g *git.Repo, o git.CommitOptions, from, to git.OID) (git.OID, error) {
	diff, err := g.DiffTrees(ctx, from, to)
	if err != nil {
		return "", err
	}
	for _, d := range diff {
		c := git.FileChange{Path: d.Path, Mode: d.New.Mode, Delete: d.New.OID == ""}
		if !c.Delete {
			if c.Data, err = g.Blob(ctx, d.New.OID); err != nil {
				return "", err
			}
		}
		o.Changes = append(o.Changes, c)
	}
	return g.WriteCommit(ctx, o)
}

// push lets a person change files on a branch, which begins at main if it does
// not exist. A nil content removes the file.
func (s *scene) push(ctx context.Context, name, branch, message string, files map[string][]byte) error {
	g := s.people[name].Git
	refs, err := g.LsRemote(ctx, "origin", "refs/heads/main", "refs/heads/"+branch)
	if err != nil {
		return err
	}
	old := refs["refs/heads/"+branch]
	parent := old
	if parent == "" {
		parent = refs["refs/heads/main"]
	}
	if err := g.Fetch(ctx, "origin", "+refs/heads/*:refs/remotes/origin/*"); err != nil {
		return err
	}
	var changes []git.FileChange
	for file, data := range files {
		changes = append(changes, git.FileChange{Path: s.people[name].Path(file), Data: data, Delete: data == nil})
	}
	commit, err := g.WriteCommit(ctx, git.CommitOptions{Parent: parent, Changes: changes, Message: message, Signoff: true, When: s.now})
	if err != nil {
		return err
	}
	return g.Push(ctx, "origin", git.RefUpdate{Ref: "refs/heads/" + branch, New: commit, Old: old})
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) { s.now = s.now.Add(d) }

// firstRoot is what a client is given by a way that it trusts.
func (s *scene) firstRoot() ([]byte, error) {
	return os.ReadFile(s.path("published", "metadata", "1.root.json"))
}

// client is a client of a site that keeps what it has verified in a folder of
// its own, and begins with one root.
func (s *scene) client(ctx context.Context, name, url string, root []byte) (*client.Client, error) {
	cache := s.path(name, "metadata")
	if err := client.Init(ctx, cache, root); err != nil {
		return nil, err
	}
	return client.New(client.Options{CacheDir: cache, MetadataURL: url + "/metadata", TargetsURL: url + "/targets", Now: func() time.Time { return s.now }})
}

// publicKeys reads the public half of online keys for people who configure them.
type publicKeys struct{ keys onlinesign.Keys }

// Public implements [signer.OnlineKeys].
func (p publicKeys) Public(ctx context.Context, uri string) (crypto.PublicKey, error) {
	k, err := p.keys.Resolve(ctx, uri, "")
	if err != nil {
		return nil, err
	}
	return k.Public(), nil
}
