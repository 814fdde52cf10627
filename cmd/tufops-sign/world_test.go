package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
	"github.com/tufops/tufops/signer/signertest"
)

// world is an upstream repository and the people who clone it. Its clock stands
// until a test moves it.
type world struct {
	t        *testing.T
	upstream *gittest.Upstream
	keys     string // the folder of all private keys
	devices  string // the folder of all hardware keys that are plugged in
	now      time.Time
	people   map[string]*gittest.Repo
	opened   map[string]*git.Repo // by folder
	env      map[string]string
	tufDir   string
	python   string // which has python-tuf; empty for none
}

func worldAt(t *testing.T, upstream *gittest.Upstream) *world {
	return &world{
		t: t, upstream: upstream, keys: t.TempDir(), devices: t.TempDir(),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), people: map[string]*gittest.Repo{}, opened: map[string]*git.Repo{}, env: map[string]string{},
	}
}

func newWorld(t *testing.T) *world {
	w := worldAt(t, gittest.New(t))
	m := w.upstream.Clone("maintainer")
	m.WriteFile("README", "a repository\n")
	m.Commit("start")
	m.Push("HEAD:main")
	w.people["maintainer"] = m
	w.makeKey("online")
	return w
}

// makeKey writes a new private key, keys/NAME.pem.
func (w *world) makeKey(name string) crypto.Signer {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.key(name), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return key
}

func (w *world) key(name string) string { return filepath.Join(w.keys, name+".pem") }

// person clones the upstream for somebody with a key and a configuration.
func (w *world) person(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.people[name] = w.upstream.Clone(name)
		w.makeKey(name)
		w.configure(name)
	}
}

func (w *world) configure(name string) {
	r := w.people[name]
	r.WriteFile(".git/info/exclude", ".tufops-sign.ini\n")
	r.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = "+strings.ToUpper(name)+"\npull-remote = origin\npush-remote = origin\nkey = file:"+w.key(name)+"\n")
}

// state is where somebody's machine remembers.
func (w *world) state(name string) string { return filepath.Join(w.keys, "state", name) }

// openTokens finds the devices that lie in the world's folder of them.
// Modules are real.
func (w *world) openTokens(spec, top, module string) (signer.Tokens, error) {
	if strings.HasPrefix(spec, "pkcs11:") {
		return openTokens(spec, top, module)
	}
	return signertest.Open(w.devices, spec)
}

// refs are those of a git folder whose names begin with one of some prefixes, as
// they lie there: tests ask often, and git takes its time.
func (w *world) refs(dir string, prefixes ...string) string {
	w.t.Helper()
	found := map[string]string{}
	packed, err := os.ReadFile(filepath.Join(dir, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(packed)) {
		if oid, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && oid != "#" {
			found[name] = oid
		}
	}
	err = filepath.WalkDir(filepath.Join(dir, "refs"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		name, rerr := filepath.Rel(dir, file)
		found[filepath.ToSlash(name)] = strings.TrimSpace(string(data))
		return errors.Join(err, rerr)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			fmt.Fprintf(&b, "%s %s\n", found[name], name)
		}
	}
	if len(found) == 0 {
		w.t.Fatalf("%s has no ref", dir)
	}
	return b.String()
}

type answer struct {
	status         int
	stdout, stderr string
}

// run runs the program as somebody, with answers on stdin.
func (w *world) run(name, stdin string, args ...string) answer {
	w.t.Helper()
	return w.runContext(context.Background(), name, stdin, args...)
}

func (w *world) runContext(ctx context.Context, name, stdin string, args ...string) answer {
	w.t.Helper()
	return w.runReader(ctx, name, strings.NewReader(stdin), args...)
}

func (w *world) runReader(ctx context.Context, name string, stdin io.Reader, args ...string) answer {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	env := cli.Env{
		Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
		LookupEnv: func(key string) (string, bool) {
			switch key {
			case "TUFOPS_NOW":
				return w.now.Format(time.RFC3339), true
			case "CRYPTO_SIGNER_PATH_PREFIX":
				return w.keys, true
			case "XDG_STATE_HOME":
				return w.state(name), true
			}
			v, ok := w.env[key]
			return v, ok
		},
	}
	full := []string{"tufops-sign", "-C", w.people[name].Dir}
	if w.tufDir != "" {
		full = append(full, "--tuf-dir", w.tufDir)
	}
	a := answer{status: cli.Run(ctx, env, newApp(machine{env, w.openTokens}), append(full, args...))}
	a.stdout, a.stderr = stdout.String(), stderr.String()
	return a
}

// ok is run for a command that must succeed and ask nothing.
func (w *world) ok(name string, args ...string) answer {
	w.t.Helper()
	a := w.run(name, "", append(args, "--yes")...)
	if a.status != 0 {
		w.t.Fatalf("%s: tufops-sign %s: status %d\n%s%s", name, strings.Join(args, " "), a.status, a.stdout, a.stderr)
	}
	return a
}

// refused is run for a command that must fail, saying some words, and leave the
// upstream as it is.
func (w *world) refused(status int, name, stdin string, words []string, args ...string) answer {
	w.t.Helper()
	before := w.refs(w.upstream.Dir)
	own := w.people[name].Path(".git")
	local := w.refs(own, "refs/heads/", "refs/stash")
	a := w.run(name, stdin, args...)
	if a.status != status {
		w.t.Fatalf("%s: tufops-sign %s: status %d, want %d\n%s%s", name, strings.Join(args, " "), a.status, status, a.stdout, a.stderr)
	}
	for _, word := range words {
		if !strings.Contains(a.stderr, word) {
			w.t.Errorf("tufops-sign %s: stderr lacks %q:\n%s", strings.Join(args, " "), word, a.stderr)
		}
	}
	if after := w.refs(w.upstream.Dir); after != before {
		w.t.Errorf("tufops-sign %s failed and moved the remote's refs:\n%s\n%s", strings.Join(args, " "), before, after)
	}
	if after := w.refs(own, "refs/heads/", "refs/stash"); after != local {
		w.t.Errorf("tufops-sign %s failed and moved local branches:\n%s\n%s", strings.Join(args, " "), local, after)
	}
	return a
}

// repository is the one at a git folder, which stays open: a process less each time.
func (w *world) repository(dir string) *repository.Repository {
	w.t.Helper()
	if w.opened[dir] == nil {
		g, err := git.Open(context.Background(), dir)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { delete(w.opened, dir); g.Close() })
		w.opened[dir] = g
	}
	repo, err := repository.New(w.opened[dir], w.tufDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return repo
}

// event opens an event of the upstream.
func (w *world) event(name string) (*repository.Event, *repository.Status) {
	w.t.Helper()
	return w.eventAt(w.upstream.Dir, name)
}

func (w *world) eventAt(dir, name string) (*repository.Event, *repository.Status) {
	w.t.Helper()
	ctx := context.Background()
	repo := w.repository(dir)
	base := "refs/heads/main"
	if dir != w.upstream.Dir {
		base = "refs/remotes/origin/main"
	}
	e, err := repo.OpenEvent(ctx, repository.EventOptions{Name: name, Head: "refs/heads/" + name, Base: base})
	if err != nil {
		w.t.Fatal(err)
	}
	policy, err := repo.Policy(ctx, e.Base)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := e.Status(ctx, w.now, policy)
	if err != nil {
		w.t.Fatal(err)
	}
	return e, s
}

// expect compares the verdict on an event with one line per role:
// "root v2 1/2 signed=@alice missing=@bob known=1/1 invites=@carol complete".
func (w *world) expect(event string, want ...string) *repository.Status {
	w.t.Helper()
	_, s := w.event(event)
	var got []string
	for _, r := range s.Roles {
		line := fmt.Sprintf("%s v%d %d/%d", r.Role, r.Version, len(r.Signed), r.Threshold)
		if len(r.Signed) > 0 {
			line += " signed=" + strings.Join(r.Signed, ",")
		}
		if len(r.Missing) > 0 {
			line += " missing=" + strings.Join(r.Missing, ",")
		}
		if r.KnownGood != nil {
			line += fmt.Sprintf(" known=%d/%d", len(r.KnownGood.Signed), r.KnownGood.Threshold)
		}
		if len(r.Invites) > 0 {
			line += " invites=" + strings.Join(r.Invites, ",")
		}
		if r.Complete {
			line += " complete"
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("event %s:\n got %q\nwant %q\nfindings %+v", event, got, want, s.AllFindings())
	}
	if s.Failed() {
		w.t.Errorf("event %s has errors: %+v", event, s.AllFindings())
	}
	return s
}

// commits are the subjects of an event's own commits, oldest first. Each must be
// signed off and touch nothing but metadata.
func (w *world) commits(event string) []string {
	w.t.Helper()
	out := w.upstream.Run("log", "--reverse", "-z", "--name-only", "--format=%x01%s%x02%b%x02", "main.."+event)
	var subjects []string
	for commit := range strings.SplitSeq(out[min(1, len(out)):], "\x01") {
		part := strings.Split(commit, "\x02")
		if len(part) != 3 {
			w.t.Fatalf("git log gives %q", out)
		}
		subjects = append(subjects, part[0])
		if !strings.Contains(part[1], "Signed-off-by: ") {
			w.t.Errorf("commit %q is not signed off", part[0])
		}
		for file := range strings.FieldsFuncSeq(part[2], func(r rune) bool { return r == 0 || r == '\n' }) {
			if !strings.Contains("/"+file, "/metadata/") {
				w.t.Errorf("commit %q changes %s", part[0], file)
			}
		}
	}
	return subjects
}

func (w *world) expectCommits(event string, want ...string) {
	w.t.Helper()
	if got := w.commits(event); !slices.Equal(got, want) {
		w.t.Errorf("commits of %s:\n got %q\nwant %q", event, got, want)
	}
}

// merge merges a complete event into main, as the forge does, and asks go-tuf
// whether it takes the result.
func (w *world) merge(event string) {
	w.t.Helper()
	if _, s := w.event(event); !s.Complete {
		w.t.Fatalf("event %s is not complete: %+v", event, s)
	}
	m := w.people["maintainer"]
	m.Run("fetch", "--quiet", "origin")
	m.Run("switch", "--quiet", "-C", "main", "origin/main")
	m.Run("merge", "--quiet", "--no-ff", "-m", "Merge "+event, "origin/"+event)
	m.Push("main")
	m.Run("push", "--quiet", "origin", ":"+event)
	w.checkGoTUF()
}

// checkGoTUF has go-tuf load main's root chain and targets roles, and verify
// them.
func (w *world) checkGoTUF() {
	w.t.Helper()
	files := map[string][]byte{}
	for in := tar.NewReader(strings.NewReader(w.upstream.Run("archive", "--format=tar", "main"))); ; {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		data, rerr := io.ReadAll(in)
		if err := errors.Join(err, rerr); err != nil {
			w.t.Fatal(err)
		}
		files[h.Name] = data
	}
	show := func(file string) []byte { return files[filepath.ToSlash(filepath.Join(w.tufDir, file))] }
	var root *gotuf.Metadata[gotuf.RootType]
	for v := 1; ; v++ {
		name := fmt.Sprintf("metadata/root_history/%d.root.json", v)
		if show(name) == nil {
			break
		}
		next, err := gotuf.Root().FromBytes(show(name))
		if err != nil {
			w.t.Fatalf("go-tuf: %s: %v", name, err)
		}
		for _, by := range []*gotuf.Metadata[gotuf.RootType]{root, next} {
			if by == nil {
				continue
			}
			if err := by.VerifyDelegate("root", next); err != nil {
				w.t.Errorf("go-tuf: root %d by root %d: %v", v, by.Signed.Version, err)
			}
		}
		root = next
	}
	targets, err := gotuf.Targets().FromBytes(show("metadata/targets.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := root.VerifyDelegate("targets", targets); err != nil {
		w.t.Errorf("go-tuf: targets: %v", err)
	}
	if targets.Signed.Delegations == nil {
		return
	}
	for _, d := range targets.Signed.Delegations.Roles {
		role, err := gotuf.Targets().FromBytes(show("metadata/" + d.Name + ".json"))
		if err == nil {
			err = targets.VerifyDelegate(d.Name, role)
		}
		if err != nil {
			w.t.Errorf("go-tuf: %s: %v", d.Name, err)
		}
	}
}

// template is the main branch of an established world, with its keys: made once,
// by the program itself.
var template struct {
	sync.Once
	upstream gittest.Packed
	clone    gittest.PackedClone
	main     string // its tip
	event    string // a commit on that, of what targetsEvent makes
	keys     map[string][]byte
}

// established is a world with a repository on main: alice and bob sign root and
// targets, two of two.
func established(t *testing.T) *world {
	template.Do(func() {
		w := newWorld(t)
		w.person("alice", "bob")
		w.ok("alice", "init", "sign/init", "--signers", "alice,bob", "--threshold", "2", "--online-key", "file2:online.pem")
		w.ok("bob", "sign", "sign/init")
		w.ok("alice", "sign", "sign/init")
		w.merge("sign/init")
		template.main = w.upstream.Head("main")
		w.ok("bob", "delegate", "sign/event", "targets", "--expiry-days", "80")
		template.event = w.upstream.Head("sign/event")
		w.upstream.Run("update-ref", "-d", "refs/heads/sign/event")
		template.upstream, template.clone = w.upstream.Pack(), w.upstream.PackClone()
		template.keys = map[string][]byte{}
		for _, name := range []string{"alice", "bob", "online"} {
			data, err := os.ReadFile(w.key(name))
			if err != nil {
				t.Fatal(err)
			}
			template.keys[name] = data
		}
	})
	if template.keys == nil {
		t.Fatal("no template: see the first test that failed")
	}
	w := worldAt(t, template.upstream.Unpack(t))
	for _, name := range []string{"maintainer", "alice", "bob"} {
		w.people[name] = template.clone.Unpack(w.upstream, name)
	}
	w.configure("alice")
	w.configure("bob")
	for name, data := range template.keys {
		if err := os.WriteFile(w.key(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// commitFiles puts a commit on an event as somebody else would; nil deletes. It is
// one process, since tests do it often.
func (w *world) commitFiles(event, message string, files map[string][]byte) string {
	w.t.Helper()
	m := w.people["maintainer"]
	from := w.upstream.Head(event)
	if from == "" {
		from = w.upstream.Head("main")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter Maintainer <maintainer@example.com> %d +0000\ndata %d\n%s\nfrom %s\n",
		event, m.Now.Unix(), len(message)+1, message+"\n", from)
	m.Now = m.Now.Add(time.Minute)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := strings.Builder{} // as git quotes it
		for _, c := range []byte(name) {
			fmt.Fprintf(&path, `\%03o`, c)
		}
		if data := files[name]; data == nil {
			fmt.Fprintf(&b, "D \"%s\"\n", &path)
		} else {
			fmt.Fprintf(&b, "M 100644 inline \"%s\"\ndata %d\n%s\n", &path, len(data), data)
		}
	}
	if _, err := w.upstream.Input(b.String(), "fast-import", "--quiet"); err != nil {
		w.t.Fatal(err)
	}
	return w.upstream.Head(event)
}

// commitBump puts what the bot's expiry bump does on an event.
func (w *world) commitBump(event, role string) {
	w.t.Helper()
	ctx := context.Background()
	repo := w.repository(w.upstream.Dir)
	g := repo.Git
	main, err := g.Resolve(ctx, "refs/heads/main")
	if err != nil {
		w.t.Fatal(err)
	}
	state, err := repo.At(ctx, main)
	if err != nil {
		w.t.Fatal(err)
	}
	edit, err := state.Edit(ctx, state, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := edit.Bump(role); err != nil {
		w.t.Fatal(err)
	}
	changes, err := edit.Changes(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	commit, err := g.WriteCommit(ctx, git.CommitOptions{Parent: main, Changes: changes, Message: "bump", Signoff: true, When: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.UpdateRef(ctx, "refs/heads/"+event, commit, ""); err != nil {
		w.t.Fatal(err)
	}
}

// file reads a file at the upstream.
func (w *world) file(rev, name string) []byte {
	w.t.Helper()
	return []byte(w.upstream.Run("show", rev+":"+name))
}

// document parses a role's metadata at the upstream.
func (w *world) document(rev, role string) *metadata.Document {
	w.t.Helper()
	doc, err := metadata.Parse(w.file(rev, filepath.ToSlash(filepath.Join(w.tufDir, "metadata", role+".json"))))
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// scalar is the number that somebody's private key is.
func (w *world) scalar(name string) *big.Int {
	w.t.Helper()
	data, err := os.ReadFile(w.key(name))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return new(big.Int).SetBytes(raw)
}

// targetsWith makes the next version of targets, with one artifact.
func targetsWith(name string, data []byte) func(metadata.Object) {
	return func(s metadata.Object) {
		s["version"] = int64(2)
		s["targets"] = metadata.Object{name: metadata.Object{
			"length": int64(len(data)), "hashes": metadata.Object{"sha256": hexOf(sha256sum(string(data)))},
		}}
	}
}

// keyObject is the key object of somebody's key.
func (w *world) keyObject(name, owner string) *metadata.Key {
	w.t.Helper()
	data, err := os.ReadFile(w.key(name))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := metadata.NewKey(private.(crypto.Signer).Public(), owner, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// signature is one by somebody's key file over a payload.
func (w *world) signature(name string, payload []byte) []byte {
	w.t.Helper()
	data, err := os.ReadFile(w.key(name))
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	sig, err := metadata.LocalSigner(private.(crypto.Signer)).Sign(context.Background(), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	return sig
}

// checkout is all of a clone that a command must leave alone: its files, byte by
// byte, what is staged and stashed, its branches, and what they were.
func (w *world) checkout(name string) string {
	w.t.Helper()
	r := w.people[name]
	var b strings.Builder
	b.WriteString(w.refs(r.Path(".git"), "refs/heads/", "refs/stash", "refs/tags/"))
	err := filepath.WalkDir(r.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".git" {
			return filepath.SkipDir
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			fmt.Fprintf(&b, "%s %s %d %q %v\n", p, info.Mode(), info.ModTime().UnixNano(), data, err)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range []string{"HEAD", "FETCH_HEAD", "config", "MERGE_HEAD", "index", "logs/HEAD", "logs/refs/stash"} {
		data, _ := os.ReadFile(filepath.Join(r.Dir, ".git", f))
		fmt.Fprintf(&b, "%s %q\n", f, data)
	}
	return b.String()
}

// dirty gives a clone everything that a command could disturb: a branch of its
// own, a stash, staged, unstaged and untracked changes.
func (w *world) dirty(name string) {
	w.t.Helper()
	r := w.people[name]
	r.Run("fetch", "--quiet", "origin")
	r.Run("switch", "--quiet", "-C", "work", "origin/main")
	r.WriteFile("README", "stashed\n")
	r.Run("stash", "--quiet")
	r.WriteFile("README", "staged\n")
	r.Run("add", "README")
	r.WriteFile("README", "not staged\n")
	r.WriteFile("metadata/root.json", "in the way\n")
	r.WriteFile("metadata/untracked.json", "untracked\n")
	r.Run("status")
}
