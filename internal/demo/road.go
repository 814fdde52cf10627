package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
)

// Road plays the whole road from an empty directory: trust material, a new
// repository with two key holders, a signing event, online signing, publishing, a
// client that verifies an artifact; then keys are replaced while a client goes
// on, and a byte is changed, which it refuses.
func Road(ctx context.Context, o Options) error {
	folder, err := folder(o.Dir, nil)
	if err != nil {
		return err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	r := &road{story: &story{w: o.Out}, start: o.Now.UTC().Truncate(time.Second)}
	defer func() {
		if r.scene != nil {
			r.scene.close()
		}
		if r.site != nil {
			r.site.close()
		}
	}()
	begin := func(ctx context.Context) (err error) {
		r.scene, err = newScene(ctx, folder, r.start)
		return err
	}
	return play(ctx, folder, begin, r.material, r.repository, r.event, r.serveAndVerify, r.rotateRoot, r.rotateOnline, r.weeks, r.tamper, r.end)
}

type road struct {
	*story
	*scene
	start    time.Time
	sigstore *instance
	artifact []byte
	bundle   []byte
	site     *site
	root     []byte // what clients are given
	client   *client.Client
	first    *client.Result
	last     *client.Result
	online   string // URI of the online key
}

// The names of files that the demo makes.
const (
	artifactName = "hello.txt"
	bundleName   = "hello.txt.sigstore.json"
	trustedRoot  = "trusted_root.json"
)

func (r *road) material(context.Context) (err error) {
	r.title("From an empty directory to a verified file")
	r.row("left in", r.dir)
	r.row("the clock", r.now.Format("2006-01-02 15:04:05")+" UTC, moved by the demo")
	r.para("Software is signed so that users can tell who made it. But whose signatures count? That is written in one file, %s, "+
		"and whoever can change it can forge everything. So the file itself is delivered in a way that no single person, machine or web server can subvert: "+
		"in a TUF repository. This demo makes one, with all that belongs to it.", trustedRoot)
	r.step("Something worth protecting")
	if r.sigstore, err = newInstance(); err != nil {
		return err
	}
	r.artifact = []byte("Hello, world.\n")
	if r.bundle, err = r.sigstore.sign(artifactName, r.artifact); err != nil {
		return err
	}
	for name, data := range map[string][]byte{artifactName: r.artifact, bundleName: r.bundle} {
		if err := os.MkdirAll(r.path("release"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(r.path("release", name), data, 0o644); err != nil {
			return err
		}
	}
	r.para("A small Sigstore of our own: a certificate authority, a transparency log, a timestamp authority. With it %s signed "+
		"release/%s; the proof is in %s beside it. %s names the keys of that Sigstore.", artifactSigner, artifactName, bundleName, trustedRoot)
	r.blank()
	r.hang("names   ", trustMaterial(r.sigstore.trustedRoot))
	if err := verifyBundle(r.sigstore.trustedRoot, r.bundle, r.artifact); err != nil {
		return fmt.Errorf("the artifact does not verify with its own trusted root: %w", err)
	}
	r.check("with this %s the artifact verifies", trustedRoot)
	return nil
}

// sign lets a person sign an event and says what they signed.
func (r *road) sign(ctx context.Context, name, event string) error {
	done, err := signer.Sign(ctx, r.signs(name, event))
	if err != nil {
		return fmt.Errorf("%s signs %s: %w", name, event, err)
	}
	r.hang(fmt.Sprintf("%-9s", name), fmt.Sprintf("tufops-sign sign %s: signed %s", event, strings.Join(done.Signed, " and ")))
	return nil
}

// verdict shows how far an event is, and whether it is as far as it should be.
func (r *road) verdict(ctx context.Context, event string, complete bool) error {
	s, err := r.signingEvent(ctx, event)
	if err != nil {
		return fmt.Errorf("CI for %s: %w", event, err)
	}
	for _, role := range s.Roles {
		text := fmt.Sprintf("%s v%d: %d of %d signatures", role.Role, role.Version, len(role.Signed), role.Threshold)
		if k := role.KnownGood; k != nil && int64(len(k.Signed)) < k.Threshold && int64(len(role.Signed)) >= role.Threshold {
			text += fmt.Sprintf("; by root v%d: %d of %d, awaited: %s", role.PreviousVersion, len(k.Signed), k.Threshold, strings.Join(k.Missing, ", "))
		} else if len(role.Missing) > 0 && !role.Complete {
			text += ", awaited: " + strings.Join(role.Missing, ", ")
		}
		if len(role.Invites) > 0 {
			text += ", invited: " + strings.Join(role.Invites, ", ")
		}
		r.hang("the bot  ", text)
	}
	if s.Complete != complete {
		return fmt.Errorf("event %s: complete is %v and should be %v: %+v", event, s.Complete, complete, s.AllFindings())
	}
	if complete {
		r.check("complete: every role is signed as it must be")
	}
	return nil
}

// mergeAndRelease lets alice merge an event, and the machine do its part.
func (r *road) mergeAndRelease(ctx context.Context, event string) error {
	r.hang("alice    ", "merges "+event+" into main")
	if err := r.merge(ctx, event, mergeCommit); err != nil {
		return err
	}
	return r.release(ctx)
}

// release is what happens after a merge: online signing and publishing.
func (r *road) release(ctx context.Context) error {
	signed, report, err := r.scene.release(ctx)
	if err != nil {
		return err
	}
	var list []string
	for _, s := range signed.Signed {
		text := fmt.Sprintf("%s v%d", s.Role, s.Version)
		if len(s.Keys) > 1 {
			text += " with the new and the outgoing key"
		}
		list = append(list, text)
	}
	r.hang("machine  ", "tufops online-sign: "+strings.Join(list, " and "))
	r.hang("machine  ", fmt.Sprintf("tufops publish --to file://.../published: %d files written, timestamp.json last", len(report.Destinations[0].Written)))
	for _, n := range report.Destinations[0].Notes {
		r.hang("         ", n.Message)
	}
	return nil
}

func (r *road) repository(ctx context.Context) (err error) {
	r.step("A new repository, two people, one machine")
	r.para("Alice and Bob hold the offline keys: of everything that changes trust, both must sign. A machine holds the online key: it says every day " +
		"what is current, and can say nothing else. Everybody meets in one git repository; a change is a branch, called a signing event.")
	for _, name := range []string{"alice", "bob"} {
		if err := r.person(ctx, name); err != nil {
			return err
		}
	}
	if r.online, err = r.onlineKey("online"); err != nil {
		return err
	}
	const event = "sign/first"
	r.blank()
	both := signer.RoleAnswers{Signers: []string{"@alice", "@bob"}, Threshold: 2, ExpiryDays: 365, SigningDays: 60}
	if _, err := signer.Init(ctx, r.signs("alice", event), both, both, signer.OnlineAnswers{Key: r.online, TimestampExpiryDays: 7, TimestampSigningDays: 6, SnapshotExpiryDays: 365, SnapshotSigningDays: 60}); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	r.hang("alice    ", "tufops-sign init "+event+": root and targets, to be signed by 2 of 2; bob is invited")
	if err := r.verdict(ctx, event, false); err != nil {
		return err
	}
	if err := r.sign(ctx, "bob", event); err != nil {
		return err
	}
	if err := r.verdict(ctx, event, false); err != nil {
		return err
	}
	if err := r.sign(ctx, "alice", event); err != nil {
		return err
	}
	if err := r.verdict(ctx, event, true); err != nil {
		return err
	}
	return r.mergeAndRelease(ctx, event)
}

func (r *road) event(ctx context.Context) error {
	r.step("A signing event: the trusted root")
	r.para("Bob proposes %s: he pushes the file to a branch. The bot brings the metadata of targets in line with it; "+
		"from then on people sign its length and hash.", trustedRoot)
	r.pass(24 * time.Hour)
	const event = "sign/trusted-root"
	r.blank()
	if err := r.push(ctx, "bob", event, "Add our trusted root", map[string][]byte{"targets/" + trustedRoot: r.sigstore.trustedRoot}); err != nil {
		return err
	}
	r.hang("bob      ", "git push: targets/"+trustedRoot+" on branch "+event)
	if err := r.verdict(ctx, event, false); err != nil {
		return err
	}
	for i, name := range []string{"bob", "alice"} {
		if err := r.sign(ctx, name, event); err != nil {
			return err
		}
		if err := r.verdict(ctx, event, i == 1); err != nil {
			return err
		}
	}
	return r.mergeAndRelease(ctx, event)
}

func (r *road) serveAndVerify(ctx context.Context) (err error) {
	if r.root, err = r.firstRoot(); err != nil {
		return err
	}
	if err := os.WriteFile(r.path("1.root.json"), r.root, 0o644); err != nil {
		return err
	}
	if r.site, err = serve(r.path("published")); err != nil {
		return err
	}
	r.step("A client that knows one file")
	r.para("A user's program was built with 1.root.json. Everything else it fetches from %s, which it does not trust.", r.site.url)
	if r.client, err = r.scene.client(ctx, "client", r.site.url, r.root); err != nil {
		return err
	}
	r.blank()
	if err := r.update(ctx); err != nil {
		return err
	}
	r.first = r.last
	_, data, err := r.client.Read(ctx, trustedRoot)
	if err != nil {
		return err
	}
	if string(data) != string(r.sigstore.trustedRoot) {
		return errors.New("the client got another trusted root than the one that was signed")
	}
	if err := os.WriteFile(r.path("client", trustedRoot), data, 0o644); err != nil {
		return err
	}
	r.check("it has %s: %d bytes, with the hash that Alice and Bob signed", trustedRoot, len(data))
	if err := verifyBundle(data, r.bundle, r.artifact); err != nil {
		return fmt.Errorf("the artifact does not verify with the fetched trusted root: %w", err)
	}
	r.check("with it release/%s verifies: signed by %s, logged, timestamped", artifactName, artifactSigner)
	if err := verifyBundle(data, r.bundle, append([]byte("x"), r.artifact...)); err == nil {
		return errors.New("an artifact that was changed verifies")
	}
	r.check("an artifact with one more byte does not verify")
	return nil
}

// update lets the client go on from what it knows.
func (r *road) update(ctx context.Context) error {
	result, err := r.client.Refresh(ctx)
	if err != nil {
		return fmt.Errorf("the client cannot update: %w", err)
	}
	r.last = result
	r.hang("client   ", "updated to "+result.String())
	return nil
}

func (r *road) rotateRoot(ctx context.Context) error {
	r.step("A root key is replaced")
	r.para("Bob leaves, Carol comes. The new root must be signed by the old quorum and by the new one: so nobody can take over, and clients can follow.")
	r.pass(24 * time.Hour)
	if err := r.person(ctx, "carol"); err != nil {
		return err
	}
	const event = "sign/carol-for-bob"
	r.blank()
	for _, role := range []string{metadata.Root, metadata.Targets} {
		if _, err := signer.Delegate(ctx, r.signs("alice", event), role, signer.RoleAnswers{Signers: []string{"@alice", "@carol"}}, signer.OnlineAnswers{}); err != nil {
			return fmt.Errorf("delegate %s: %w", role, err)
		}
		r.hang("alice    ", fmt.Sprintf("tufops-sign delegate %s %s --signers @alice,@carol", event, role))
	}
	if err := r.verdict(ctx, event, false); err != nil {
		return err
	}
	for i, name := range []string{"carol", "alice", "bob"} {
		if err := r.sign(ctx, name, event); err != nil {
			return err
		}
		if err := r.verdict(ctx, event, i == 2); err != nil {
			return err
		}
	}
	if err := r.mergeAndRelease(ctx, event); err != nil {
		return err
	}
	if err := r.update(ctx); err != nil {
		return err
	}
	r.check("the client went from root v%d to v%d without noticing more than that", r.first.Root().Version, r.last.Root().Version)
	return nil
}

func (r *road) rotateOnline(ctx context.Context) error {
	r.step("The online key is rotated")
	r.para("The machine gets a new key. In between, some clients have the new root and the old timestamp, or the reverse; either alone would fail. " +
		"So the first timestamp after the rotation carries both signatures, and is published before the new root.")
	r.pass(24 * time.Hour)
	online, err := r.onlineKey("online-2")
	if err != nil {
		return err
	}
	const event = "sign/online-key"
	r.blank()
	if _, err := signer.Delegate(ctx, r.signs("alice", event), metadata.Timestamp, signer.RoleAnswers{}, signer.OnlineAnswers{Key: online}); err != nil {
		return fmt.Errorf("delegate timestamp: %w", err)
	}
	r.hang("alice    ", "tufops-sign delegate "+event+" timestamp --online-key file2:.../online-2.pem")
	if err := r.sign(ctx, "carol", event); err != nil {
		return err
	}
	if err := r.verdict(ctx, event, true); err != nil {
		return err
	}
	if err := r.mergeAndRelease(ctx, event); err != nil {
		return err
	}
	r.online = online
	if err := r.update(ctx); err != nil {
		return err
	}
	fresh, err := r.scene.client(ctx, "new-client", r.site.url, r.root)
	if err != nil {
		return err
	}
	result, err := fresh.Refresh(ctx)
	if err != nil {
		return fmt.Errorf("a new client cannot update: %w", err)
	}
	r.hang("client   ", "a new one, with 1.root.json only: "+result.String())
	r.check("old clients and new ones follow")
	return nil
}

func (r *road) weeks(ctx context.Context) error {
	r.step("Two weeks go by")
	r.para("A timestamp lives for 7 days here, so that nobody can hide a new version for longer. The machine renews it every day; nobody else has to do anything.")
	before := r.last.Timestamp.Version
	r.blank()
	for range 14 {
		r.pass(24 * time.Hour)
		if _, _, err := r.scene.release(ctx); err != nil {
			return err
		}
		result, err := r.client.Refresh(ctx)
		if err != nil {
			return fmt.Errorf("the client cannot update on %s: %w", r.now.Format("2006-01-02"), err)
		}
		r.last = result
	}
	r.hang("client   ", fmt.Sprintf("updated every day, from timestamp v%d to v%d", before, r.last.Timestamp.Version))
	if r.last.Timestamp.Version <= before {
		return errors.New("the timestamp has not been renewed")
	}
	r.check("not one day without a valid timestamp")
	return nil
}

func (r *road) tamper(ctx context.Context) error {
	r.step("One byte is changed")
	r.para("Somebody controls the web server. In a copy of published/ one byte of %s is another.", trustedRoot)
	copied := r.path("tampered")
	if err := os.CopyFS(filepath.Join(copied, "published"), os.DirFS(r.path("published"))); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(copied, "published", "targets", "*."+trustedRoot))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("find %s in the copy: %v %w", trustedRoot, files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	at, to := flipMiddle(data)
	from := data[at]
	data[at] = to
	if err := os.WriteFile(files[0], data, 0o644); err != nil {
		return err
	}
	bad, err := serve(filepath.Join(copied, "published"))
	if err != nil {
		return err
	}
	defer bad.close()
	c, err := r.scene.client(ctx, filepath.Join("tampered", "client"), bad.url, r.root)
	if err != nil {
		return err
	}
	_, _, err = c.Read(ctx, trustedRoot)
	if !errors.As(err, new(*client.HashError)) {
		return fmt.Errorf("%s was changed at byte %d, and a client did not refuse it as it should: %w", trustedRoot, at, errOr(err))
	}
	r.blank()
	r.hang("changed  ", fmt.Sprintf("byte %d: %q became %q", at, from, to))
	r.hang("client   ", strings.ReplaceAll(err.Error(), bad.url+"/", ""))
	r.check("refused")
	return nil
}

func (r *road) end(ctx context.Context) error {
	r.step("In short")
	g, err := git.Open(ctx, r.path("git.git"))
	if err != nil {
		return err
	}
	defer g.Close()
	repo, err := repository.New(g, r.tufDir)
	if err != nil {
		return err
	}
	commit, err := g.Resolve(ctx, "refs/heads/main")
	if err != nil {
		return err
	}
	state, err := repo.At(ctx, commit)
	if err != nil {
		return err
	}
	chain, err := state.RootChain(ctx)
	if err != nil {
		return err
	}
	r.para("Four signing events made %d roots; a client that knew the first is now at root v%d and timestamp v%d, and verified an artifact with what it got.", len(chain), r.last.Root().Version, r.last.Timestamp.Version)
	r.para("What is left to look at, in %s:", r.dir)
	r.blank()
	for _, e := range []struct{ name, what string }{
		{"git.git", "the git repository; git log --stat main"},
		{"people/alice", "a clone of it, as Bob and Carol have one"},
		{"keys", "all private keys; in real life they are in hardware or a KMS"},
		{"release", "the artifact and its Sigstore bundle"},
		{"1.root.json", "the one file that clients were given"},
		{"published", "what clients read; begin with metadata/index.html"},
		{"client", "what the client has verified, and the trusted root it got"},
		{"tampered", "the copy with another byte"},
		{"ci", "what the bot checked out, run by run"},
	} {
		r.line(fmt.Sprintf("%-14s  %s", e.name, e.what))
	}
	r.para("Go on yourself: clone git.git, push a file below targets/ to a branch sign/NAME, and look at it with")
	r.blank()
	r.line("tufops status --head origin/sign/NAME --base origin/main")
	return nil
}
