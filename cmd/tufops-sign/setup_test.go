package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/signer/signertest"
)

// newcomer is a clone of somebody who has set nothing up.
func (w *world) newcomer(name string) {
	w.t.Helper()
	w.people[name] = w.upstream.Clone(name)
}

func TestSetupWithToken(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	os.Remove(w.people["alice"].Path(".tufops-sign.ini"))
	w.people["alice"].WriteFile(".git/info/exclude", "# mine")
	w.targetsEvent("sign/x")
	a := w.run("alice", "Alice\n\n\n\n\nyes\n123456\n", "setup", "--root-sha256", strings.ToUpper(payloadDigest(w.document("main", "root"))))
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.says(a.stderr, "Your login on the forge: Alice", "Git remote that events are read from [origin]: ", "Git remote that you push to", "[origin]: ",
		"Your key (yubikey, yubikey:SERIAL, a pkcs11: URI or file:PATH) [yubikey]: ", "Try YubiKey 11111111 now, with PIN and touch? (yes/no) [yes]: yes", "touch YubiKey")
	w.says(a.stdout, "Remote origin has main at ", "root v1 of main is the one that this machine saw", "Wrote ", "which git does not see",
		"YubiKey 11111111: signs root, targets as @alice", "YubiKey 11111111 signs, and its signature verifies.", "tufops-sign sign sign/NAME")
	w.did("11111111", "pin, signed")
	if got, want := w.people["alice"].ReadFile(".tufops-sign.ini"), "# Written by tufops-sign setup. Git must not track this file.\n[settings]\nuser-name = Alice\npull-remote = origin\npush-remote = origin\nkey = yubikey\n"; got != want {
		t.Errorf("configuration:\n%s", got)
	}
	if got := w.people["alice"].Run("status", "--porcelain", "--untracked-files=all"); got != "" {
		t.Errorf("git sees %s", got)
	}
	if got := w.people["alice"].ReadFile(".git/info/exclude"); got != "# mine\n/.tufops-sign.ini\n" {
		t.Errorf("exclude:\n%s", got)
	}
	if a := w.run("alice", "yes\n123456\n", "sign", "sign/x"); a.status != 0 || strings.Contains(a.stdout, reviewFirst) {
		t.Errorf("status %d, after setup:\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")

	ini := w.people["alice"].ReadFile(".tufops-sign.ini")
	w.refused(1, "alice", "", []string{"there is a configuration already", "setup --replace", "nothing was written"}, "setup", "--yes", "--user", "bob")
	if w.people["alice"].ReadFile(".tufops-sign.ini") != ini {
		t.Error("the configuration was replaced")
	}
	// What was there is what is offered.
	a = w.ok("alice", "setup", "--replace", "--user", "carol")
	w.says(a.stdout, "signs root, targets as @alice, and you are @carol: check")
	w.says(a.stderr, "YubiKey 11111111 was not tried")
	if got := w.people["alice"].ReadFile(".tufops-sign.ini"); !strings.Contains(got, "user-name = carol\n") || !strings.Contains(got, "key = yubikey\n") {
		t.Errorf("configuration:\n%s", got)
	}
}

// Each of these writes nothing.
func TestSetupRefuses(t *testing.T) {
	w := established(t)
	w.newcomer("carol")
	w.makeKey("carol")
	args := func(more ...string) []string {
		return append([]string{"setup", "--yes", "--user", "carol", "--key", "file:" + w.key("carol")}, more...)
	}
	for _, c := range []struct {
		words []string
		args  []string
	}{
		{[]string{"user-name is missing", "it looks like this"}, []string{"setup", "--yes"}},
		{[]string{`user-name "@a b" is not a login`}, args("--user", "a b")},
		{[]string{`git remote "nowhere" is not configured`}, args("--pull-remote", "nowhere")},
		{[]string{`git remote "nowhere" is not configured`}, args("--push-remote", "nowhere")},
		{[]string{"none of the roots of main, versions 1 to 1, has sha256 " + strings.Repeat("0", 64), "sign nothing from it"}, args("--root-sha256", strings.Repeat("0", 64))},
		{[]string{"evil.so lies inside the checkout"}, args("--pykcs11lib", w.people["carol"].Path("evil.so"))},
	} {
		w.refused(1, "carol", "", append(c.words, "note: nothing was written"), c.args...)
		if _, err := os.Lstat(w.people["carol"].Path(".tufops-sign.ini")); err == nil {
			t.Fatalf("%q: a configuration was written", c.args)
		}
	}
	if got, _ := filepath.Glob(filepath.Join(w.state("carol"), "tufops-sign", "*.json")); len(got) > 0 {
		t.Errorf("something is remembered of refusals: %q", got)
	}
	// The key is not at hand: all else is kept, and it is said.
	a := w.run("carol", "", "setup", "--yes", "--user", "carol", "--key", "yubikey")
	if a.status != 1 || !strings.Contains(a.stderr, "no token is inserted that yubikey names") || !strings.Contains(a.stderr, "note: wrote ") {
		t.Errorf("status %d\n%s", a.status, a.stderr)
	}
	if a := w.run("carol", "", args("--replace")...); a.status != 0 || !strings.Contains(a.stdout, "signs, and its signature verifies") {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.people["carol"].Run("add", "--force", ".tufops-sign.ini")
	w.refused(1, "carol", "", []string{".tufops-sign.ini: git tracks it", "nothing was written"}, args("--replace")...)
}

// A root that was pinned, and another one at the remote.
func TestSetupPins(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	one := w.upstream.Head("main")
	w.newcomer("carol")
	w.makeKey("carol")
	two := w.commitFiles("main", "root 2", w.root("main", next(2, "2027-01-01T00:00:00Z"), "alice", "bob"))
	// By the digest of the file this time, and of the version before.
	file := sha256sum(string(w.file(one, "metadata/root.json")))
	a := w.ok("carol", "setup", "--user", "carol", "--key", "file:"+w.key("carol"), "--root-sha256", hexOf(file))
	w.says(a.stdout, "root v2 of main follows v1, which this machine saw on 2026-03-01", "no role lists it yet")
	w.reset(one)
	w.refused(1, "carol", "", []string{"it is version 1, older than what was seen"}, "review", "sign/x")
	w.reset(two)
	w.ok2("carol", "review", "sign/x")
}

// What tuf-on-ci's configuration says is taken over.
func TestSetupBesideTheOther(t *testing.T) {
	w := established(t)
	w.newcomer("carol")
	signertest.Insert(t, w.devices, "77777777")
	id := strings.Repeat("ab", 32)
	w.people["carol"].WriteFile(".tuf-on-ci-sign.ini", "[settings]\nuser-name = @Carol\npull-remote = origin\npush-remote = origin\n[signing-keys]\n"+id+" = hsm:2?label=YubiKey+PIV+%2377777777\n")
	w.ok("carol", "setup", "--no-trial")
	if got, want := w.people["carol"].ReadFile(".tufops-sign.ini"), "user-name = @carol\npull-remote = origin\npush-remote = origin\nkey = yubikey\n\n[signing-keys]\n"+id+" = yubikey:77777777\n"; !strings.HasSuffix(got, want) {
		t.Errorf("configuration:\n%s", got)
	}
}

// Who has never committed is told before they are asked to sign.
func TestSetupWithoutIdentity(t *testing.T) {
	w := established(t)
	w.newcomer("carol")
	w.makeKey("carol")
	r := w.people["carol"]
	args := []string{"setup", "--user", "carol", "--key", "file:" + w.key("carol")}
	if a := w.ok("carol", args...); strings.Contains(a.stdout, "warning: git has no") {
		t.Errorf("carol has a name:\n%s", a.stdout)
	}
	r.Run("config", "--unset-all", "user.name")
	r.Run("config", "--unset-all", "user.email")
	a := w.ok("carol", append(args, "--replace")...)
	w.says(strings.Join(strings.Fields(a.stdout), " "), `warning: git has no user.name and user.email to commit with, and a signature is one. Before you sign: git config --global user.name "Your Name"`)
}
