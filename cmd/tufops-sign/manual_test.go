//go:build cgo

package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
)

var update = flag.Bool("update", false, "write the transcript anew")

// desk is where alice sits: a clone, and a virtual YubiKey with her key.
type desk struct {
	w      *world
	daemon *pcscd.Daemon
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	w := established(t)
	os.Remove(w.people["alice"].Path(".tufops-sign.ini"))
	daemon, err := pcscd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Close() })
	c, err := card.New(card.Config{Serial: 12345678, Touch: func() bool { return true }})
	if err == nil {
		yubikeytest.Own(c)
		err = c.SetKey(card.SlotSignature, w.scalar("alice"))
	}
	if err == nil {
		err = daemon.Insert(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &desk{w, daemon}
}

// types runs what somebody types into a shell in the clone, and returns what they
// see. Their answers follow, one a line.
func (d *desk) types(command string, answers ...string) (string, error) {
	cmd := exec.Command("sh", "-e", "-c", command)
	cmd.Dir = d.w.people["alice"].Dir
	cmd.Stdin = strings.NewReader(strings.Join(append(answers, ""), "\n"))
	cmd.Env = append(os.Environ(), d.daemon.Environ()...)
	cmd.Env = append(cmd.Env, "TUFOPS_NOW="+d.w.now.Format(time.RFC3339), "XDG_STATE_HOME="+d.w.state("alice"), "CRYPTO_SIGNER_PATH_PREFIX="+d.w.keys)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

var answersLine = regexp.MustCompile(`^<!-- answers (.*) -->$`)

// TestManual types what the signer manual says, word for word, with a virtual
// YubiKey. Comments that do not show on the page hold the answers.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/signer-manual.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.w.ok("bob", "delegate", "sign/NAME", "targets", "--expiry-days", "80")
	var answers []string
	ran := 0
	for i, line := range strings.Split(string(text), "\n") {
		if m := answersLine.FindStringSubmatch(line); m != nil {
			answers = strings.Split(m[1], "|")
		}
		command, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		if out, err := d.types(command, answers...); err != nil {
			t.Fatalf("line %d: %s: %v\n%s", i+1, command, err, out)
		}
		answers = nil
		ran++
	}
	if ran != 6 {
		t.Errorf("%d commands were run", ran)
	}
	d.w.expect("sign/NAME", "targets v2 2/2 signed=@alice,@bob complete")
	d.w.expect("sign/periods", "targets v2 1/2 signed=@alice missing=@bob")
	d.w.expect("sign/crew", "targets v2 1/2 signed=@alice missing=@bob", "crew v1 1/1 signed=@alice complete")
	if got := d.w.commits("sign/timestamp"); got[0] != "'timestamp' role/delegation change" {
		t.Errorf("commits: %q", got)
	}
}

// hexDigits are what differs each time: digests, commits, keyids.
var hexDigits = regexp.MustCompile(`[0-9a-f]{12,64}`)

// TestTranscript: docs/transcript.txt is what alice sees. make transcript writes
// it anew.
func TestTranscript(t *testing.T) {
	const file = "../../docs/transcript.txt"
	d := newDesk(t)
	d.w.person("carol")
	hello := []byte("hello\n")
	if out, err := d.types("tufops-sign setup", "alice", "", "", "", "", "", yubikeytest.PIN); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.w.ok("bob", "delegate", "sign/carol", "root", "--signers", "alice,bob,carol")
	d.w.ok("carol", "sign", "sign/carol")
	signed := d.w.edited("main", "targets", targetsWith("hello.txt", hello))
	d.w.commitFiles("sign/carol", "hello", map[string][]byte{"metadata/targets.json": signed, "targets/hello.txt": hello})
	out, err := d.types("tufops-sign sign sign/carol", "yes", yubikeytest.PIN)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.SplitAfter(out, "\n")
	got := "$ tufops-sign sign sign/carol\n" + strings.Join(lines[1:], "") // without the note on the clock
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain := func(s string) string { return hexDigits.ReplaceAllString(s, "X") }
	if plain(got) != plain(string(want)) {
		t.Errorf("%s is not what alice sees (make transcript):\n%s", filepath.Base(file), got)
	}
	if strings.Contains(got, yubikeytest.PIN) {
		t.Error("the PIN is shown")
	}
}
