package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// softHSM finds the module of a software token. Where something of this is
// missing the test is skipped and says how to get it, unless
// TUFOPS_REQUIRE_TUF_ON_CI is set, as CI does.
func softHSM(t *testing.T) (module string) {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err == nil {
		for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
			if found, _ := filepath.Glob(pattern); len(found) > 0 {
				return found[0]
			}
		}
	}
	lack(t, "SoftHSM is missing: apt-get install softhsm2")
	return ""
}

func lack(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("TUFOPS_REQUIRE_TUF_ON_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// hsm makes a token with somebody's key, the only one in a SoftHSM of its own,
// and returns the configuration that leads there.
func (w *world) hsm(name string) (conf string) {
	w.t.Helper()
	dir := w.t.TempDir()
	conf = filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", name, "--so-pin", "12345678", "--pin", "123456"},
		{"--import", w.key(name), "--token", name, "--label", name, "--id", "02", "--pin", "123456"},
	} {
		cmd := exec.Command("softhsm2-util", args...)
		cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+conf)
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("softhsm2-util %q: %v\n%s", args, err, out)
		}
	}
	return conf
}

// other sets tuf-on-ci's tools up for somebody.
func (w *world) other(name, module string) func(stdin, program string, args ...string) string {
	w.t.Helper()
	home, conf := w.t.TempDir(), w.hsm(name)
	w.people[name].WriteFile(".tuf-on-ci-sign.ini", "[settings]\nuser-name = @"+name+"\npull-remote = origin\npush-remote = origin\npykcs11lib = "+module+"\n")
	// Without this file it asks PyPI whether there is a newer version.
	cache := filepath.Join(home, ".cache", "tuf-on-ci-sign")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cache, "pypi_release_version"), []byte("0.21.0"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return func(stdin, program string, args ...string) string {
		w.t.Helper()
		path, err := exec.LookPath(program)
		if err != nil {
			lack(w.t, program+" is not in PATH: pip install tuf-on-ci-sign==0.21.0")
		}
		cmd := exec.Command(path, args...)
		cmd.Dir, cmd.Stdin = w.people[name].Dir, strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+conf, "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, ".cache"), "XDG_DATA_HOME="+filepath.Join(home, "data"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			w.t.Fatalf("%s %q: %v\n%s", program, args, err, out)
		}
		w.now = time.Now().UTC().Truncate(time.Second) // its clock cannot be set
		return string(out)
	}
}

// Both tools in one event, both ways round, each with its key in a PKCS#11 token:
// ours starts one and invites, the other accepts and signs; the other starts one
// and ours signs. go-tuf verifies what is merged.
func TestBothToolsInOneEvent(t *testing.T) {
	module := softHSM(t)
	w := newWorld(t)
	w.now = time.Now().UTC().Truncate(time.Second)
	w.person("alice", "tina")
	tina := w.other("tina", module)
	t.Setenv("SOFTHSM2_CONF", w.hsm("alice"))
	if err := os.Remove(w.key("alice")); err != nil {
		t.Fatal(err)
	}
	// No key is named: the module's is found by the id that ykcs11 gives slot 9c.
	w.people["alice"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name = alice\npykcs11lib = "+module+"\n")
	alice := func(want string, args ...string) {
		t.Helper()
		a := w.run("alice", "yes\n123456\n", args...)
		if a.status != 0 || !strings.Contains(a.stderr, want) || strings.Count(a.stderr, "PIN of token alice") != 1 {
			t.Fatalf("%q: status %d, want %q and one PIN\n%s%s", args, a.status, want, a.stdout, a.stderr)
		}
	}
	periods := []string{"--expiry-days", "365", "--signing-days", "60"}
	alice("Sign root v1 and targets v1 with token alice ", append([]string{
		"init", "sign/init", "--signers", "alice", "--online-key", "file2:online.pem", "--targets-signers", "alice",
		"--targets-expiry-days", "365", "--targets-signing-days", "60",
		"--timestamp-expiry-days", "2", "--timestamp-signing-days", "1", "--snapshot-expiry-days", "365", "--snapshot-signing-days", "60",
	}, periods...)...)
	w.expect("sign/init", "root v1 1/1 signed=@alice complete", "targets v1 1/1 signed=@alice complete")
	w.merge("sign/init")

	// Ours starts and invites to both roles; nothing is asked before she has come.
	for _, role := range []string{"root", "targets"} {
		a := w.run("alice", "yes\n", append([]string{"delegate", "sign/tina", role, "--signers", "alice,tina", "--threshold", "2"}, periods...)...)
		if a.status != 0 {
			t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
		}
	}
	out := tina("2\n\n123456\n123456\n\n", "tuf-on-ci-sign", "sign/tina")
	if !strings.Contains(out, "You have been invited to become a signer for role(s)") {
		t.Errorf("tuf-on-ci-sign saw something else:\n%s", out)
	}
	w.expect("sign/tina", "root v2 1/2 signed=@tina missing=@alice known=0/1", "targets v1 2/2 signed=@alice,@tina complete")
	alice("Sign root v2 with token alice ", "sign", "sign/tina")
	w.expect("sign/tina", "root v2 2/2 signed=@alice,@tina known=1/1 complete", "targets v1 2/2 signed=@alice,@tina complete")
	w.expectCommits("sign/tina", "'root' role/delegation change", "'targets' role/delegation change", "@tina accepted invitation", "Signature from @alice")
	w.merge("sign/tina")

	// The other starts, with a role that ours does not sign.
	out = tina("\n2\n\n123456\n123456\n\n", "tuf-on-ci-delegate", "sign/crew", "crew")
	if !strings.Contains(out, "Creating a new delegation for crew") {
		t.Errorf("tuf-on-ci-delegate saw something else:\n%s", out)
	}
	w.expect("sign/crew", "targets v2 1/2 signed=@tina missing=@alice", "crew v1 1/1 signed=@tina complete")
	alice("Sign targets v2 with token alice ", "sign", "sign/crew")
	w.expect("sign/crew", "targets v2 2/2 signed=@alice,@tina complete", "crew v1 1/1 signed=@tina complete")
	w.merge("sign/crew")

	// And the other signs what ours has started, in the next event.
	alice("Sign targets v3 with token alice ", append([]string{"delegate", "sign/next", "targets", "--signers", "alice,tina", "--threshold", "2", "--expiry-days", "300"}, "--signing-days", "50")...)
	tina("123456\n\n", "tuf-on-ci-sign", "sign/next")
	w.expect("sign/next", "targets v3 2/2 signed=@alice,@tina complete")
	w.merge("sign/next")
}
