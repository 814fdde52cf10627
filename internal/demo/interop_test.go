package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/signer"
)

// otherSigner finds tuf-on-ci's signer and a software token for its keys. Where
// they are missing the test is skipped and says how to get them, unless
// TUFOPS_REQUIRE_TUF_ON_CI is set, as CI does.
func otherSigner(t *testing.T) (program, module string) {
	t.Helper()
	lack := func(what string) {
		if os.Getenv("TUFOPS_REQUIRE_TUF_ON_CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	program, err := exec.LookPath("tuf-on-ci-sign")
	if err != nil {
		lack("tuf-on-ci-sign is not in PATH: pip install tuf-on-ci-sign==0.21.0")
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		lack("softhsm2-util is not in PATH: apt-get install softhsm2")
	}
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return program, found[0]
		}
	}
	lack("libsofthsm2.so is not where it usually is: apt-get install softhsm2")
	return "", ""
}

// TestGivenBack: after two weeks under tufops a repository is handed back.
// tuf-on-ci's signer signs the next event, with its key in a PKCS#11 token, beside
// one of ours; our status counts both, and clients follow.
func TestGivenBack(t *testing.T) {
	program, module := otherSigner(t)
	s := newStage(t, "alice", "tina")
	online, err := s.onlineKey("online")
	s.no(err)
	both := signer.RoleAnswers{Signers: []string{"@alice", "@tina"}, Threshold: 2, ExpiryDays: 365, SigningDays: 60}
	_, err = signer.Init(s.ctx, s.signs("alice", "sign/init"), both, both, signer.OnlineAnswers{Key: online, TimestampExpiryDays: 7, TimestampSigningDays: 6})
	s.no(err)
	s.sign("tina", "sign/init", "root targets")
	s.sign("alice", "sign/init", "root")
	s.event("sign/init", true, "root 2/2", "targets 2/2")
	s.done("sign/init", mergeCommit)
	for range 14 {
		s.pass(24 * time.Hour)
		_, _, err := s.release(s.ctx)
		s.no(err)
	}
	s.clients()

	const event = "sign/next"
	s.no(s.push(s.ctx, "alice", event, "add", map[string][]byte{"targets/a.txt": text("a")}))
	s.event(event, false, "targets 0/2")
	s.sign("alice", event, "targets")

	// Tina's key as a token, and her clone as tuf-on-ci wants it.
	clone, err := s.clone(s.ctx, s.path("tina"), "", "tina")
	s.no(err)
	s.no(clone.Git.Close())
	s.no(os.WriteFile(s.path("tina", ".tuf-on-ci-sign.ini"), []byte("[settings]\nuser-name = @tina\npull-remote = origin\npush-remote = origin\npykcs11lib = "+module+"\n"), 0o600))
	s.no(os.MkdirAll(s.path("home", ".cache", "tuf-on-ci-sign"), 0o755))
	// Without this file it asks PyPI whether there is a newer version.
	s.no(os.WriteFile(s.path("home", ".cache", "tuf-on-ci-sign", "pypi_release_version"), []byte("0.21.0"), 0o644))
	s.no(os.MkdirAll(s.path("tokens"), 0o755))
	s.no(os.WriteFile(s.path("softhsm2.conf"), []byte("directories.tokendir = "+s.path("tokens")+"\nobjectstore.backend = file\n"), 0o644))
	env := append(os.Environ(), "SOFTHSM2_CONF="+s.path("softhsm2.conf"), "HOME="+s.path("home"), "XDG_CACHE_HOME="+s.path("home", ".cache"), "XDG_DATA_HOME="+s.path("home", "data"))
	run := func(stdin, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Dir, cmd.Stdin = env, s.path("tina"), strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("", "softhsm2-util", "--init-token", "--free", "--label", "tina", "--so-pin", "12345678", "--pin", "123456")
	run("", "softhsm2-util", "--import", s.path("keys", "tina.pem"), "--token", "tina", "--label", "tina", "--id", "02", "--pin", "123456")
	out := run("123456\n\n", program, event)
	if !strings.Contains(out, "Your signature is requested for role(s) {'targets'}") {
		t.Errorf("tuf-on-ci-sign saw something else:\n%s", out)
	}

	status := s.event(event, true, "targets 2/2")
	if got := strings.Join(status.Roles[0].Signed, " "); got != "@alice @tina" {
		t.Errorf("signed by %s", got)
	}
	s.done(event, mergeCommit)
}
