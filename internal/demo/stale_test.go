package demo

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
)

// The tests below merge what status refuses, as a person with the right to
// merge can, and look at what clients get then.

// signsAnyway signs a role at the head of an event with people's keys, as
// somebody does whom no review stops.
func (s *stage) signsAnyway(event, role string, people ...string) {
	s.t.Helper()
	g := s.people[people[0]].Git
	s.no(g.Fetch(s.ctx, "origin", "+refs/heads/*:refs/remotes/origin/*"))
	head, err := g.Resolve(s.ctx, "refs/remotes/origin/"+event)
	s.no(err)
	state, err := s.people[people[0]].At(s.ctx, head)
	s.no(err)
	doc, err := state.Document(role)
	s.no(err)
	for _, name := range people {
		key, err := s.keys.Resolve(s.ctx, "file2:"+s.path("keys", name+".pem"), "")
		s.no(err)
		sig, err := key.Sign(s.ctx, doc.Payload())
		s.no(err)
		named, err := metadata.NewKey(key.Public(), "@"+name, "")
		s.no(err)
		doc, err = doc.WithSignature(named.ID, sig)
		s.no(err)
	}
	s.no(s.push(s.ctx, people[0], event, "sign anyway", map[string][]byte{repository.MetadataFile(role): doc.Bytes()}))
}

// refused checks that an event is not complete, because of what it would be on
// main, and that nobody is asked to sign it.
func (s *stage) refused(event, name string) {
	s.t.Helper()
	status, err := s.signingEvent(s.ctx, event)
	s.no(err)
	if status.Complete || !slices.ContainsFunc(status.AllFindings(), func(f repository.Finding) bool {
		return f.Rule == "merge-result-incomplete" && f.Level == repository.LevelError
	}) {
		s.t.Errorf("%s: complete %v, %+v", event, status.Complete, status.AllFindings())
	}
	var gated *repository.GatedError
	if _, err := signer.Sign(s.ctx, s.signs(name, event)); !errors.As(err, &gated) {
		s.t.Errorf("%s is asked to sign %s: %v", name, event, err)
	}
}

// takesBobAway replaces bob by carol as a signer of targets, and publishes that.
func (s *stage) takesBobAway() {
	s.t.Helper()
	const event = "sign/carol"
	_, err := signer.Delegate(s.ctx, s.signs("alice", event), "targets", signer.RoleAnswers{Signers: []string{"@alice", "@carol"}}, signer.OnlineAnswers{})
	s.no(err)
	s.sign("carol", event, "targets")
	s.sign("alice", event, "root")
	s.sign("bob", event, "root")
	s.event(event, true, "root 2/2", "targets 2/2")
	s.done(event, mergeCommit)
}

func (s *stage) main() git.OID {
	s.t.Helper()
	g, err := git.Open(s.ctx, s.path("git.git"))
	s.no(err)
	defer g.Close()
	main, err := g.Resolve(s.ctx, "refs/heads/main")
	s.no(err)
	return main
}

func (s *stage) published(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(s.path("published", "metadata", name))
	s.no(err)
	return data
}

// artifact reports whether a client finds an artifact.
func (s *stage) artifact(name string) bool {
	s.t.Helper()
	root, err := s.firstRoot()
	s.no(err)
	c, err := s.scene.client(s.ctx, "looks-for-"+name, s.site.url, root)
	s.no(err)
	_, _, err = c.Read(s.ctx, name)
	return err == nil
}

// TestOldBaseReplay: bob may no longer sign targets. He makes an event that
// begins where he still could, and somebody merges it.
func TestOldBaseReplay(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob", "carol").initial()
	old := s.main()
	s.takesBobAway()

	const event = "sign/replay"
	g, err := git.Open(s.ctx, s.path("git.git"))
	s.no(err)
	defer g.Close()
	s.no(g.UpdateRef(s.ctx, "refs/heads/"+event, old, ""))
	s.no(s.push(s.ctx, "bob", event, "bad", map[string][]byte{"targets/bad.txt": text("bad")}))
	_, err = s.signingEvent(s.ctx, event) // the bot writes the metadata
	s.no(err)
	s.signsAnyway(event, "targets", "alice", "bob") // alice did so long ago
	s.refused(event, "alice")

	s.no(s.merge(s.ctx, event, mergeCommit))
	s.pass(6 * 24 * time.Hour)
	signed, _, err := s.release(s.ctx)
	s.no(err)
	if len(signed.Blocked) == 0 || len(signed.Signed) == 0 {
		t.Errorf("blocked %v, signed %v", signed.Blocked, signed.Signed)
	}
	s.clients()
	if s.artifact("bad.txt") {
		t.Error("bad.txt was published")
	}
}

// TestOneEventAfterTheOther: two events change targets, both signed by all. One
// is merged, and the verdict on the other, which was complete, no longer holds.
func TestOneEventAfterTheOther(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	for _, name := range []string{"a", "b"} {
		event := "sign/" + name
		s.no(s.push(s.ctx, "alice", event, "add", map[string][]byte{"targets/" + name + ".txt": text(name)}))
		s.event(event, false, "targets 0/2")
		s.sign("alice", event, "targets")
		s.sign("bob", event, "targets")
		s.event(event, true, "targets 2/2")
	}
	s.done("sign/a", mergeCommit)
	before := s.published("2.targets.json")
	s.refused("sign/b", "alice")

	s.no(s.merge(s.ctx, "sign/b", squash)) // over what the other has brought
	s.pass(6 * 24 * time.Hour)
	if _, _, err := s.release(s.ctx); err != nil {
		t.Logf("release: %v", err) // it may stop: two contents of one version are signed
	}
	if !bytes.Equal(s.published("2.targets.json"), before) {
		t.Error("a published version has other bytes now")
	}
	if !s.artifact("a.txt") || s.artifact("b.txt") {
		t.Errorf("a.txt is there: %v, b.txt: %v", s.artifact("a.txt"), s.artifact("b.txt"))
	}
}

// TestStaleStatus: carol's release is signed and complete. Before it is merged
// another event gives the role to dave.
func TestStaleStatus(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob", "carol", "dave").initial()
	delegate := func(event, to string) {
		t.Helper()
		_, err := signer.Delegate(s.ctx, s.signs("alice", event), "releases", signer.RoleAnswers{Signers: []string{"@" + to}, Threshold: 1, ExpiryDays: 100, SigningDays: 30}, signer.OnlineAnswers{})
		s.no(err)
		s.sign(to, event, "releases")
		s.sign("alice", event, "targets")
		s.sign("bob", event, "targets")
		s.event(event, true, "targets 2/2", "releases 1/1")
	}
	delegate("sign/carol", "carol")
	s.done("sign/carol", mergeCommit)

	const event = "sign/tool"
	s.no(s.push(s.ctx, "carol", event, "a tool", map[string][]byte{"targets/releases/tool": text("tool")}))
	s.event(event, false, "releases 0/1")
	s.sign("carol", event, "releases")
	s.event(event, true, "releases 1/1")

	delegate("sign/dave", "dave")
	s.done("sign/dave", mergeCommit)
	s.refused(event, "carol")

	s.no(s.merge(s.ctx, event, mergeCommit))
	s.pass(6 * 24 * time.Hour)
	signed, _, err := s.release(s.ctx)
	s.no(err)
	if len(signed.Blocked) == 0 || len(signed.Signed) == 0 {
		t.Errorf("blocked %v, signed %v", signed.Blocked, signed.Signed)
	}
	s.clients()
	if s.artifact("releases/tool") {
		t.Error("what carol signed was published")
	}
}
