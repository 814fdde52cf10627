package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

func TestInitInviteAcceptSign(t *testing.T) {
	w := newWorld(t)
	w.person("alice", "bob")
	for _, name := range []string{"alice", "bob"} {
		w.dirty(name)
	}
	before := map[string]string{"alice": w.checkout("alice"), "bob": w.checkout("bob")}

	w.ok("alice", "init", "sign/init", "--signers", "[@Alice, BOB]", "--threshold", "2", "--online-key", "file2:online.pem",
		"--expiry-days", "200", "--targets-expiry-days", "100", "--targets-signing-days", "20")
	w.expectCommits("sign/init", "Initial root and targets", "Signed by @alice")
	w.expect("sign/init",
		"root v1 0/2 missing=@alice invites=@bob",
		"targets v1 1/2 signed=@alice")
	root := w.document("sign/init", "root")
	if ts, _ := root.Delegation("timestamp"); metadata.PeriodOf(ts.Object).Expiry != 2 || metadata.PeriodOf(ts.Object).Signing != 1 {
		t.Errorf("timestamp's periods: %v", ts.Object)
	}
	if sn, _ := root.Delegation("snapshot"); metadata.PeriodOf(sn.Object).Expiry != 200 || metadata.PeriodOf(sn.Object).Signing != 60 {
		t.Errorf("snapshot's periods are not root's: %v", sn.Object)
	}
	if p := metadata.PeriodOf(w.document("sign/init", "targets").Signed()); p.Expiry != 100 || p.Signing != 20 {
		t.Errorf("targets' periods: %+v", p)
	}
	if got := string(w.file("sign/init", "metadata/.signing-event-state")); got != "{\n  \"invites\": {\n    \"@bob\": [\n      \"root\",\n      \"targets\"\n    ]\n  }\n}" {
		t.Errorf("state file: %s", got)
	}

	// Bob answers on the terminal.
	a := w.run("bob", "yes\n", "sign", "sign/init")
	if a.status != 0 || !strings.Contains(a.stderr, "Sign root v1 and targets v1 and push it to origin sign/init? (yes/no) [no]: ") {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.expectCommits("sign/init", "Initial root and targets", "Signed by @alice", "@bob accepted invitation")
	w.expect("sign/init",
		"root v1 1/2 signed=@bob missing=@alice",
		"targets v1 2/2 signed=@alice,@bob complete")

	a = w.ok("alice", "sign", "sign/init")
	if !strings.Contains(a.stdout, "The event is complete") {
		t.Errorf("not said to be complete:\n%s", a.stdout)
	}
	w.expectCommits("sign/init", "Initial root and targets", "Signed by @alice", "@bob accepted invitation", "Signature from @alice")
	w.expect("sign/init",
		"root v1 2/2 signed=@alice,@bob complete",
		"targets v1 2/2 signed=@alice,@bob complete")

	// Signing again does nothing.
	head := w.upstream.Head("sign/init")
	a = w.ok("alice", "sign", "sign/init")
	if w.upstream.Head("sign/init") != head || !strings.Contains(a.stdout, "Nothing to do in sign/init: @alice has signed root, targets already.") {
		t.Errorf("a second signature:\n%s", a.stdout)
	}
	for name, was := range before {
		if now := w.checkout(name); now != was {
			t.Errorf("%s's checkout was touched:\n%s\nwas\n%s", name, now, was)
		}
	}
	w.merge("sign/init")
	a = w.refused(1, "alice", "", []string{"there is a root already", "tufops-sign delegate sign/again root"}, "init", "sign/again", "--online-key", "file2:online.pem", "--yes")
	if a.stdout != "" {
		t.Errorf("stdout: %s", a.stdout)
	}
}

func TestInitWithAnswers(t *testing.T) {
	w := newWorld(t)
	w.person("alice")
	answers := strings.Join([]string{
		"alice, bob", "nonsense", "2", "300", "", // signers, threshold (twice), expiry, signing of root
		"", "1", "", "30", // targets
		"file2:online.pem", "3", "", "", "50", // online
		"y",
	}, "\n") + "\n"
	a := w.run("alice", answers, "init", "sign/init")
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	root, targets := w.document("sign/init", "root"), w.document("sign/init", "targets")
	r, _ := root.Delegation("root")
	tg, _ := root.Delegation("targets")
	ts, _ := root.Delegation("timestamp")
	sn, _ := root.Delegation("snapshot")
	if r.Threshold != 2 || tg.Threshold != 1 {
		t.Errorf("thresholds %d, %d", r.Threshold, tg.Threshold)
	}
	for name, want := range map[string]struct {
		object          metadata.Object
		expiry, signing int64
	}{
		"root":      {root.Signed(), 300, 60},
		"targets":   {targets.Signed(), 300, 30},
		"timestamp": {ts.Object, 3, 1},
		"snapshot":  {sn.Object, 300, 50},
	} {
		if p := metadata.PeriodOf(want.object); p.Expiry != want.expiry || p.Signing != want.signing {
			t.Errorf("%s: periods %+v", name, p)
		}
	}
	if strings.Contains(a.stdout, "Signers of") {
		t.Error("a question went to stdout")
	}
	if !strings.Contains(a.stderr, `"nonsense" is not a number of at least 1. Again, Signatures that root needs (of 2) [1]: `) {
		t.Errorf("stderr:\n%s", a.stderr)
	}
}

func TestDelegatedRole(t *testing.T) {
	w := established(t)
	w.person("carol")
	w.ok("alice", "delegate", "sign/crew", "crew")
	w.expectCommits("sign/crew", "'crew' role/delegation change", "Signed by @alice")
	w.expect("sign/crew", "targets v2 1/2 signed=@alice missing=@bob", "crew v1 1/1 signed=@alice complete")

	// The same again changes nothing: the role exists now.
	head := w.upstream.Head("sign/crew")
	if a := w.ok("alice", "delegate", "sign/crew", "crew"); !strings.Contains(a.stdout, "role crew is already as you want it") || w.upstream.Head("sign/crew") != head {
		t.Errorf("delegate without flags:\n%s", a.stdout)
	}

	// A second signer, invited in the same event.
	w.ok("alice", "delegate", "sign/crew", "crew", "--signers", "@alice,@carol", "--threshold", "2")
	w.expect("sign/crew", "targets v2 0/2 missing=@alice,@bob invites=@carol", "crew v1 1/2 signed=@alice")
	a := w.ok("alice", "sign", "sign/crew")
	if !strings.Contains(a.stdout, "targets waits until @carol have brought their keys") {
		t.Errorf("why nothing is asked:\n%s", a.stdout)
	}
	w.ok("carol", "sign", "sign/crew")
	w.ok("bob", "sign", "sign/crew")
	w.ok("alice", "sign", "sign/crew")
	w.expect("sign/crew", "targets v2 2/2 signed=@alice,@bob complete", "crew v1 2/2 signed=@alice,@carol complete")
	w.merge("sign/crew")

	// Periods only: the delegator stays as it is.
	targets := string(w.file("main", "metadata/targets.json"))
	w.refused(1, "carol", "", []string{"a signing period of 60 days, not less than its expiry period of 40 [period-invalid]", "nothing was committed or pushed"},
		"delegate", "sign/period", "crew", "--expiry-days", "40", "--yes")
	w.ok("carol", "delegate", "sign/period", "crew", "--expiry-days", "40", "--signing-days", "10")
	if string(w.file("sign/period", "metadata/targets.json")) != targets {
		t.Error("targets.json changed")
	}
	w.expect("sign/period", "crew v2 1/2 signed=@carol missing=@alice")

	// A machine takes over.
	w.ok("alice", "delegate", "sign/machine", "crew", "--online-key", "file2:online.pem")
	w.expect("sign/machine", "targets v3 1/2 signed=@alice missing=@bob")
	d, _ := w.document("sign/machine", "targets").Delegation("crew")
	if len(d.KeyIDs) != 1 || d.Threshold != 1 || d.Keys[d.KeyIDs[0]].OnlineURI != "file2:online.pem" {
		t.Errorf("delegation of crew: %v", d.Object)
	}
}

func TestRootSignerReplaced(t *testing.T) {
	w := established(t)
	w.person("carol")
	w.ok("alice", "delegate", "sign/carol", "root", "--signers", "alice,carol")
	w.expectCommits("sign/carol", "'root' role/delegation change")
	w.expect("sign/carol", "root v2 0/2 missing=@alice known=0/2 invites=@carol")
	w.ok("carol", "sign", "sign/carol")
	w.expect("sign/carol", "root v2 1/2 signed=@carol missing=@alice known=0/2")
	w.ok("alice", "sign", "sign/carol")
	// The new quorum is met; the old one is not without bob.
	w.expect("sign/carol", "root v2 2/2 signed=@alice,@carol known=1/2")
	a := w.ok("bob", "sign", "sign/carol")
	if !strings.Contains(a.stdout, "Signed root v2 as @bob.") {
		t.Errorf("bob:\n%s", a.stdout)
	}
	w.expect("sign/carol", "root v2 2/2 signed=@alice,@carol known=2/2 complete")
	w.merge("sign/carol")
}

func TestOnlinePeriodsByOneWhoSignsNothing(t *testing.T) {
	w := established(t)
	dave := w.upstream.Clone("dave")
	w.people["dave"] = dave
	dave.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = dave\n")
	w.ok("dave", "delegate", "sign/periods", "timestamp", "--timestamp-expiry-days", "5", "--snapshot-signing-days", "31")
	w.expectCommits("sign/periods", "'timestamp' role/delegation change")
	w.expect("sign/periods", "root v2 0/2 missing=@alice,@bob known=0/2")
	root := w.document("sign/periods", "root")
	ts, _ := root.Delegation("timestamp")
	sn, _ := root.Delegation("snapshot")
	if p := metadata.PeriodOf(ts.Object); p.Expiry != 5 || p.Signing != 1 {
		t.Errorf("timestamp: %+v", p)
	}
	if p := metadata.PeriodOf(sn.Object); p.Expiry != 365 || p.Signing != 31 {
		t.Errorf("snapshot: %+v", p)
	}
	w.ok("alice", "sign", "sign/periods")
	w.ok("bob", "sign", "sign/periods")
	w.expect("sign/periods", "root v2 2/2 signed=@alice,@bob known=2/2 complete")
	w.merge("sign/periods")

	w.makeKey("online2")
	w.ok("alice", "delegate", "sign/rekey", "snapshot", "--online-key", "file2:online2.pem")
	root = w.document("sign/rekey", "root")
	for _, role := range []string{"timestamp", "snapshot"} {
		d, _ := root.Delegation(role)
		if len(d.KeyIDs) != 1 || d.Keys[d.KeyIDs[0]].OnlineURI != "file2:online2.pem" {
			t.Errorf("%s: %v", role, d.Object)
		}
	}
	if len(root.Delegations().Keys) != 3 {
		t.Errorf("the old online key is still there: %d keys", len(root.Delegations().Keys))
	}
}

// A person with two keys signs with both, and can sign without a lost one.
func TestTwoKeysOfOnePerson(t *testing.T) {
	w := established(t)
	w.makeKey("alice2")
	invite := []byte("{\n  \"invites\": {\n    \"@alice\": [\n      \"root\"\n    ]\n  }\n}")
	w.commitFiles("sign/second", "invite", map[string][]byte{"metadata/.signing-event-state": invite})
	w.ok("alice", "sign", "sign/second", "--key", "file:"+w.key("alice2"), "--key", "file:"+w.key("alice"))
	// An owner with two keys is listed once; the root lists three keys.
	w.expect("sign/second", "root v2 1/2 signed=@alice missing=@bob known=1/2")
	root := w.document("sign/second", "root")
	d, _ := root.Delegation("root")
	if q := metadata.Check(d, root); q.Count != 2 || len(d.KeyIDs) != 3 {
		t.Errorf("%d of %d keys signed", q.Count, len(d.KeyIDs))
	}

	// The configuration names one key, and that one alone is at hand: the other
	// is said to be missing.
	w.commitFiles("sign/lost", "invite", map[string][]byte{"metadata/.signing-event-state": invite})
	w.people["alice"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name=alice\nkey=file:"+w.key("alice2")+"\n")
	a := w.ok("alice", "sign", "sign/lost")
	old := w.keyObject("alice", "@alice")
	if !strings.Contains(a.stderr, "not signed with keyid "+old.ID+" of role root") {
		t.Errorf("stderr:\n%s", a.stderr)
	}
	root = w.document("sign/lost", "root")
	d, _ = root.Delegation("root")
	if q := metadata.Check(d, root); q.Count != 1 || q.Signed[0].Fingerprint() != w.keyObject("alice2", "@alice").Fingerprint() {
		t.Errorf("signed: %v", q.Signed)
	}
}

func TestSigningKeysOfTheConfiguration(t *testing.T) {
	w := established(t)
	alice := w.keyObject("alice", "@alice")
	w.targetsEvent("sign/x")
	// Indented, in tuf-on-ci's file, with a key for a keyid; relative to the top.
	r := w.people["alice"]
	if err := os.Remove(r.Path(".tufops-sign.ini")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(w.key("alice"))
	if err != nil {
		t.Fatal(err)
	}
	r.WriteFile("private/alice.pem", string(data))
	r.WriteFile(".tuf-on-ci-sign.ini", "  [settings]\n  # who\n  user-name = @Alice\n  pull-remote = origin\n  push-remote = origin\n\n  [signing-keys]\n    "+alice.ID+" = file:private/alice.pem\n")
	w.ok("alice", "sign", "sign/x")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

func TestNoPush(t *testing.T) {
	w := established(t)
	before := w.upstream.Run("for-each-ref")
	r := w.people["alice"]
	r.Run("pull", "--quiet", "origin", "main")
	was := w.checkout("alice")
	a := w.ok("alice", "delegate", "sign/local", "crew", "--no-push")
	if !strings.Contains(a.stdout, "Local branch sign/local is at ") {
		t.Errorf("stdout:\n%s", a.stdout)
	}
	if w.upstream.Run("for-each-ref") != before {
		t.Error("something was pushed")
	}
	now := w.checkout("alice")
	branch := regexp.MustCompile(`(?m)^[0-9a-f]{40} refs/heads/sign/local\n`)
	if !branch.MatchString(now) || branch.ReplaceAllString(now, "") != was {
		t.Errorf("more than the branch changed:\n%s\nwas\n%s", now, was)
	}
	_, s := w.eventAt(r.Dir, "sign/local")
	if len(s.Roles) != 2 || !s.Roles[1].Complete {
		t.Errorf("local event: %+v", s.Roles)
	}
	// The next command goes on from there.
	w.ok("alice", "delegate", "sign/local", "crew2", "--no-push")
	if got := r.Run("log", "--format=%s", "origin/main..sign/local"); got != "Signed by @alice\n'crew2' role/delegation change\nSigned by @alice\n'crew' role/delegation change" {
		t.Errorf("commits:\n%s", got)
	}
	r.Run("switch", "--quiet", "sign/local")
	a = w.refused(1, "alice", "", []string{"branch sign/local is checked out", "git switch main"}, "delegate", "sign/local", "crew3", "--no-push", "--yes")
	_ = a
	r.Run("switch", "--quiet", "main")
	other := filepath.Join(t.TempDir(), "linked")
	r.Run("worktree", "add", "--quiet", other, "sign/local")
	w.refused(1, "alice", "", []string{"is checked out in " + other}, "delegate", "sign/local", "crew3", "--no-push", "--yes")
}

func TestEventCheckedOut(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	r := w.people["alice"]
	r.Run("fetch", "--quiet")
	r.Run("switch", "--quiet", "sign/x")
	was := r.Run("rev-parse", "HEAD")
	a := w.ok("alice", "sign", "sign/x")
	if !strings.Contains(a.stderr, "branch sign/x is checked out in "+r.Dir+" and was left as it is: git pull brings it up to date") {
		t.Errorf("stderr:\n%s", a.stderr)
	}
	if r.Run("rev-parse", "HEAD") != was || r.Run("status", "--porcelain", "--untracked-files=no") != "" {
		t.Error("the checkout was touched")
	}
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// race makes a hook in somebody's clone that runs once, when git is about to
// push: everything is signed, nothing is sent.
func (w *world) race(name, script string) {
	w.t.Helper()
	r := w.people[name]
	hook := r.Path(".git/hooks/pre-push")
	text := "#!/bin/sh\nset -e\nrm -f \"" + hook + "\"\nunset $(git rev-parse --local-env-vars)\n" + script + "\n"
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func TestRemoteMovedWhileSigning(t *testing.T) {
	w := established(t)
	m := w.people["maintainer"]
	// meanwhile has the hook of alice's clone push what change does to an event.
	meanwhile := func(event string, change func()) {
		t.Helper()
		head := w.upstream.Head(event)
		change()
		m.Run("fetch", "--quiet", "--prune", "origin")
		m.Run("branch", "--force", "other", "origin/"+event)
		if head == "" {
			w.upstream.Run("update-ref", "-d", "refs/heads/"+event)
		} else {
			w.upstream.Run("update-ref", "refs/heads/"+event, head)
		}
		w.race("alice", "git -C '"+m.Dir+"' push --quiet origin other:refs/heads/"+event)
	}

	t.Run("another signature", func(t *testing.T) {
		w.now = w.now.AddDate(0, 0, 1)
		w.commitBump("sign/one", "targets")
		meanwhile("sign/one", func() { w.ok("bob", "sign", "sign/one") })
		a := w.ok("alice", "sign", "sign/one")
		if !strings.Contains(a.stderr, "somebody pushed meanwhile") {
			t.Errorf("stderr:\n%s", a.stderr)
		}
		w.expectCommits("sign/one", "bump", "Signature from @bob", "Signature from @alice")
		w.expect("sign/one", "targets v2 2/2 signed=@alice,@bob complete")
	})
	t.Run("the same signature", func(t *testing.T) {
		w.commitBump("sign/same", "targets")
		meanwhile("sign/same", func() { w.ok("alice", "sign", "sign/same") })
		w.ok("alice", "sign", "sign/same")
		w.expectCommits("sign/same", "bump", "Signature from @alice")
	})
	t.Run("another file", func(t *testing.T) {
		w.commitBump("sign/file", "targets")
		meanwhile("sign/file", func() { w.commitFiles("sign/file", "notes", map[string][]byte{"NOTES": []byte("x")}) })
		w.ok("alice", "sign", "sign/file")
		if got := w.upstream.Run("log", "-2", "--format=%s", "sign/file"); got != "Signature from @alice\nnotes" {
			t.Errorf("commits: %s", got)
		}
	})
	t.Run("other content", func(t *testing.T) {
		w.commitBump("sign/content", "targets")
		meanwhile("sign/content", func() { w.ok("bob", "delegate", "sign/content", "targets", "--expiry-days", "70") })
		a := w.run("alice", "", "sign", "sign/content", "--yes")
		if a.status != 1 || !strings.Contains(a.stderr, "role targets has other content") || !strings.Contains(a.stderr, "nothing was committed or pushed") {
			t.Errorf("status %d\n%s", a.status, a.stderr)
		}
		if w.upstream.Head("sign/content") != m.Run("rev-parse", "other") {
			t.Error("something was pushed")
		}
	})
	t.Run("delegate", func(t *testing.T) {
		meanwhile("sign/delegate", func() { w.commitFiles("sign/delegate", "notes", map[string][]byte{"NOTES": []byte("x")}) })
		w.ok("alice", "delegate", "sign/delegate", "crew")
		if got := w.upstream.Run("log", "--reverse", "--format=%s", "main..sign/delegate"); got != "notes\n'crew' role/delegation change\nSigned by @alice" {
			t.Errorf("commits: %s", got)
		}
		w.expect("sign/delegate", "targets v2 1/2 signed=@alice missing=@bob", "crew v1 1/1 signed=@alice complete")
	})
	t.Run("delegate over delegate", func(t *testing.T) {
		meanwhile("sign/both", func() { w.ok("bob", "delegate", "sign/both", "crew") })
		a := w.run("alice", "", "delegate", "sign/both", "crew2", "--yes")
		if a.status != 1 || !strings.Contains(a.stderr, "role targets has other content") {
			t.Errorf("status %d\n%s", a.status, a.stderr)
		}
	})
	t.Run("accept", func(t *testing.T) {
		invite := []byte("{\n  \"invites\": {\n    \"@alice\": [\n      \"crew\"\n    ]\n  }\n}")
		w.ok("bob", "delegate", "sign/accept", "crew")
		w.commitFiles("sign/accept", "invite", map[string][]byte{"metadata/.signing-event-state": invite})
		meanwhile("sign/accept", func() { w.commitFiles("sign/accept", "notes", map[string][]byte{"NOTES": []byte("x")}) })
		w.ok("alice", "sign", "sign/accept")
		if got := w.upstream.Run("log", "-2", "--format=%s", "sign/accept"); got != "@alice accepted invitation\nnotes" {
			t.Errorf("commits: %s", got)
		}
		w.expect("sign/accept", "targets v2 1/2 signed=@alice missing=@bob", "crew v1 2/1 signed=@alice,@bob complete")
	})
	t.Run("for ever", func(t *testing.T) {
		w.commitBump("sign/ever", "targets")
		m.Run("fetch", "--quiet", "origin")
		m.Run("switch", "--quiet", "-C", "ever", "origin/sign/ever")
		r := w.people["alice"]
		hook := r.Path(".git/hooks/pre-push")
		script := "#!/bin/sh\nset -e\nunset $(git rev-parse --local-env-vars)\ncd '" + m.Dir + "'\ngit commit --quiet --allow-empty -m more\ngit push --quiet origin ever:refs/heads/sign/ever\n"
		if err := os.WriteFile(hook, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(hook)
		a := w.run("alice", "", "sign", "sign/ever", "--yes")
		if a.status != 1 || !strings.Contains(a.stderr, "somebody pushed meanwhile: git fetch, and run the same again") {
			t.Errorf("status %d\n%s", a.status, a.stderr)
		}
		if n := w.upstream.Run("rev-list", "--count", "--grep=more", "sign/ever"); n != "5" {
			t.Errorf("%s attempts", n)
		}
	})
}

// countdown is a context that is cancelled when it has been asked so often
// whether it is.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func newCountdown(n int64) *countdown {
	c := &countdown{}
	c.Context, c.cancel = context.WithCancel(context.Background())
	c.left.Store(n)
	return c
}

func (c *countdown) Done() <-chan struct{} {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Done()
}

// Ctrl-C at any moment leaves the checkout as it was, and the remote either as
// it was or with all of the work.
func TestInterruptedAnywhere(t *testing.T) {
	w := established(t)
	w.ok("bob", "delegate", "sign/x", "crew")
	w.dirty("alice")
	was := w.checkout("alice")
	refs := w.upstream.Run("for-each-ref")
	// One moment in some twelve is tried, others each time; make soak tries all.
	step := func() int64 { return 1 }
	if os.Getenv("TUFOPS_SOAK") == "" {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 0))
		step = func() int64 { return 1 + dice.Int64N(24) }
	}
	stopped := 0
	for n := int64(1); ; n += step() {
		ctx := newCountdown(n)
		a := w.runContext(ctx, "alice", "yes\n", "sign", "sign/x")
		ctx.cancel()
		if now := w.checkout("alice"); now != was {
			t.Fatalf("stopped at %d: the checkout changed:\n%s\nwas\n%s", n, now, was)
		}
		if locks, _ := filepath.Glob(w.people["alice"].Path(".git/*.lock")); len(locks) > 0 {
			t.Fatalf("stopped at %d: %v", n, locks)
		}
		if a.status == 0 {
			break
		}
		stopped++
		if !strings.Contains(a.stderr, "error: interrupted") {
			t.Errorf("stopped at %d:\n%s", n, a.stderr)
		}
		if now := w.upstream.Run("for-each-ref"); now != refs {
			if !strings.Contains(a.stderr, "it is not known whether the push was done") && !strings.Contains(a.stdout, "Pushed ") {
				t.Errorf("stopped at %d: pushed without a word:\n%s%s", n, a.stdout, a.stderr)
			}
			break
		}
		if strings.Contains(a.stdout, "Signed ") {
			t.Errorf("stopped at %d: says to have signed:\n%s", n, a.stdout)
		}
	}
	if stopped < 5 {
		t.Errorf("stopped only %d times", stopped)
	}
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete", "crew v1 1/1 signed=@bob complete")
}
