//go:build cgo

package main

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
)

// TestScripts runs the stories in testdata/script with the program that people
// get, on a terminal, each in a world of its own: $UPSTREAM has a repository on main, of which alice and bob sign root
// and targets, two of two; $ALICE and $BOB are their clones, and $ALICE has no
// configuration. Commands beside those of testscript:
//
//	event NAME ROLE...       bob proposes new versions of roles, and signs them
//	token SERIAL [NAME]      a virtual YubiKey is plugged in, with NAME's key or another; its PIN is 246810
//	tries SERIAL N           N wrong PINs block it
//	accident SERIAL WHAT     with the next signature: "no touch"; "pulled", and inserted again
//	did SERIAL [TEXT]        what was sent to it since the last time: "pin", and "key" for each use of the key
//	person NAME              NAME gets a clone, $NAME
//	invite NAME EVENT ROLE   bob makes NAME a signer; again, if they have a key
//	main COMMIT              main of the upstream is moved
//	root                     main gets the next root, signed by both
//	hostile KIND EVENT       a stranger pushes something
//	meanwhile EVENT          while alice pushes, bob's signature gets there first
//	verify EVENT ROLE N/M    N valid signatures of M that are needed, say others
//
// The program tufops-sign-alone is the same where there is neither git nor a
// network: the kernel ends it when it starts a program or opens a socket that leads
// out of this machine. With the one argument dial it is one that tries to.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) < 13 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	program := requireProgram(t)
	python := findPython(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			w := established(t)
			w.python = python
			daemon, err := pcscd.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { daemon.Close() }) // the script runs when this function has returned
			os.Remove(w.people["alice"].Path(".tufops-sign.ini"))
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error {
					for name, value := range map[string]string{
						"UPSTREAM": w.upstream.Dir, "KEYS": w.keys, "TUFOPS_NOW": w.now.Format(time.RFC3339),
						"CRYPTO_SIGNER_PATH_PREFIX": w.keys, "XDG_STATE_HOME": w.state("alice"),
						"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1",
						"ALICE": w.people["alice"].Dir, "BOB": w.people["bob"].Dir, "ROOT_SHA256": digestOf(w.document("main", "root").Payload()),
						"PATH": env.WorkDir + string(filepath.ListSeparator) + os.Getenv("PATH"),
					} {
						env.Setenv(name, value)
					}
					env.Setenv(pcscd.Variable, daemon.Socket())
					alone := "#!/bin/sh\n" + aloneVariable + "='" + program + "' exec '" + self + "' \"$@\"\n"
					return os.WriteFile(filepath.Join(env.WorkDir, "tufops-sign-alone"), []byte(alone), 0o755)
				},
				Cmds: w.scriptCommands(daemon),
			})
		})
	}
}

// aloneVariable has this test's binary become the program that it names, alone.
const aloneVariable = "TUFOPS_TEST_ALONE"

func (w *world) scriptCommands(daemon *pcscd.Daemon) map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){}
	add := func(name string, least, most int, f func(ts *testscript.TestScript, args []string)) {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < least || len(args) > most {
				ts.Fatalf("%s: %d arguments are not what it takes", name, len(args))
			}
			f(ts, args)
		}
	}
	add("event", 2, 9, func(_ *testscript.TestScript, args []string) {
		if len(args) == 2 && args[1] == "targets" {
			w.targetsEvent(args[0])
			return
		}
		for i, role := range args[1:] {
			w.ok("bob", "delegate", args[0], role, "--expiry-days", fmt.Sprint(300-i))
		}
	})
	cards, told := map[string]*card.Card{}, map[string]int{}
	ca, err := card.NewCA(0)
	if err != nil {
		w.t.Fatal(err)
	}
	add("token", 1, 2, func(ts *testscript.TestScript, args []string) {
		serial, err := strconv.ParseUint(args[0], 10, 32)
		ts.Check(err)
		c, err := card.New(card.Config{Serial: uint32(serial), CA: ca, Touch: func() bool { return true }})
		ts.Check(err)
		yubikeytest.Own(c)
		scalar := big.NewInt(int64(serial))
		if len(args) == 2 {
			scalar = w.scalar(args[1])
		}
		ts.Check(c.SetKey(card.SlotSignature, scalar))
		ts.Check(daemon.Insert(c))
		cards[args[0]] = c
	})
	add("tries", 2, 2, func(ts *testscript.TestScript, args []string) {
		left, err := strconv.Atoi(args[1])
		ts.Check(err)
		yubikeytest.Own(cards[args[0]])
		for tries, _ := cards[args[0]].Tries(); tries > left; tries-- {
			_, err := cards[args[0]].Transmit([]byte("\x00\xa4\x04\x00\x05\xa0\x00\x00\x03\x08"))
			ts.Check(err)
			_, err = cards[args[0]].Transmit([]byte("\x00\x20\x00\x80\x08wrong\xff\xff\xff"))
			ts.Check(err)
		}
		told[args[0]] = cards[args[0]].Commands()
	})
	add("accident", 2, 2, func(ts *testscript.TestScript, args []string) {
		c, happened := cards[args[0]], false
		c.SetTouch(func() bool {
			if happened {
				return true
			}
			happened = true
			if args[1] == "no touch" {
				return false
			}
			back := make(chan error)
			go func() {
				daemon.Unplug(c)
				back <- daemon.Insert(c)
			}()
			return <-back == nil
		})
	})
	add("did", 1, 2, func(ts *testscript.TestScript, args []string) {
		var did []string
		log := cards[args[0]].Log()
		for _, command := range log[told[args[0]]:] {
			switch {
			case command[1] == 0x20 && len(command) > 5: // VERIFY
				did = append(did, "pin")
			case command[1] == 0x87 && command[3] == card.SlotSignature: // GENERAL AUTHENTICATE
				did = append(did, "key")
			}
		}
		told[args[0]] = len(log)
		if got, want := strings.Join(did, ", "), strings.Join(args[1:], ""); got != want {
			ts.Fatalf("device %s got %q, want %q", args[0], got, want)
		}
	})
	add("person", 1, 1, func(ts *testscript.TestScript, args []string) {
		w.newcomer(args[0])
		ts.Setenv(strings.ToUpper(args[0]), w.people[args[0]].Dir)
	})
	add("invite", 3, 3, func(_ *testscript.TestScript, args []string) {
		if args[0] == "alice" { // no command of ours invites who is a signer
			w.commitFiles(args[1], "invite", map[string][]byte{"metadata/.signing-event-state": []byte(`{"invites": {"@alice": ["` + args[2] + `"]}}`)})
			return
		}
		w.ok("bob", "delegate", args[1], args[2], "--signers", "alice,bob,"+args[0], "--threshold", "2")
	})
	add("main", 1, 1, func(_ *testscript.TestScript, args []string) { w.reset(args[0]) })
	add("root", 0, 0, func(ts *testscript.TestScript, _ []string) {
		ts.Setenv("BEFORE", w.upstream.Head("main"))
		version := w.document("main", "root").Version() + 1
		w.commitFiles("main", "a root", w.root("main", next(version, "2027-01-01T00:00:00Z"), "alice", "bob"))
	})
	add("hostile", 2, 2, func(ts *testscript.TestScript, args []string) { w.hostile(ts, args[0], args[1]) })
	add("meanwhile", 1, 1, func(_ *testscript.TestScript, args []string) {
		event, m := args[0], w.people["maintainer"]
		head := w.upstream.Head(event)
		w.ok("bob", "sign", event)
		m.Run("fetch", "--quiet", "origin")
		m.Run("branch", "--force", "other", "origin/"+event)
		w.upstream.Run("update-ref", "refs/heads/"+event, head)
		w.race("alice", "git -C '"+m.Dir+"' push --quiet origin other:refs/heads/"+event)
	})
	add("verify", 3, 3, func(ts *testscript.TestScript, args []string) { w.verify(ts, args[0], args[1], args[2]) })
	return commands
}

// verify asks go-tuf whether the signatures of a role in an event are enough, and
// python-tuf, on which tuf-on-ci runs, how many of them count.
func (w *world) verify(ts *testscript.TestScript, event, role, want string) {
	by, dir := "root", w.t.TempDir()
	if role != "root" && role != "targets" {
		by = "targets"
	}
	for _, name := range []string{by, role} {
		ts.Check(os.WriteFile(filepath.Join(dir, name+".json"), w.file(event, "metadata/"+name+".json"), 0o644))
	}
	count, threshold, _ := strings.Cut(want, "/")
	if err := goTUF(filepath.Join(dir, by+".json"), filepath.Join(dir, role+".json"), role); (err == nil) != (count >= threshold) {
		ts.Fatalf("go-tuf says of %s in %s: %v, want %s", role, event, err, want)
	}
	if w.python == "" || count < threshold {
		return
	}
	out, err := exec.Command(w.python, "-c", counter, filepath.Join(dir, by+".json"), filepath.Join(dir, role+".json"), role).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		ts.Fatalf("python-tuf says of %s in %s: %s, %v, want %s", role, event, got, err, want)
	}
}

func goTUF(byFile, file, role string) error {
	if role == "root" || role == "targets" {
		root, err := gotuf.Root().FromFile(byFile)
		if err != nil {
			return err
		}
		if role == "root" {
			return root.VerifyDelegate(role, root)
		}
		targets, err := gotuf.Targets().FromFile(file)
		if err != nil {
			return err
		}
		return root.VerifyDelegate(role, targets)
	}
	by, err := gotuf.Targets().FromFile(byFile)
	if err != nil {
		return err
	}
	doc, err := gotuf.Targets().FromFile(file)
	if err != nil {
		return err
	}
	return by.VerifyDelegate(role, doc)
}

// counter is python-tuf's verdict on a role's signatures: how many count of how
// many are needed.
const counter = `
import sys
from tuf.api.metadata import Metadata
by, doc = (Metadata.from_file(f) for f in sys.argv[1:3])
r = by.signed.get_verification_result(sys.argv[3], doc.signed_bytes, doc.signatures)
print(f"{len(r.signed)}/{r.threshold}")
`

// findPython finds the Python that tuf-on-ci-sign runs on, which has python-tuf.
// Where it is missing go-tuf alone is asked, unless TUFOPS_REQUIRE_TUF_ON_CI is
// set, as CI does.
func findPython(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("tuf-on-ci-sign")
	if err != nil {
		if os.Getenv("TUFOPS_REQUIRE_TUF_ON_CI") != "" {
			t.Fatal("tuf-on-ci-sign is not in PATH: pip install tuf-on-ci-sign==0.21.0")
		}
		return ""
	}
	script, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(script, []byte("\n"))
	python, ok := strings.CutPrefix(string(line), "#!")
	if !ok {
		t.Fatalf("%s does not name its Python", program)
	}
	return python
}

// hostile pushes what a stranger could.
func (w *world) hostile(ts *testscript.TestScript, kind, event string) {
	m := w.people["maintainer"]
	m.Run("fetch", "--quiet", "origin")
	m.Run("switch", "--quiet", "--detach", "origin/main")
	if w.upstream.Head(event) != "" {
		m.Run("switch", "--quiet", "--detach", "origin/"+event)
	}
	targets := func(change func(metadata.Object)) {
		m.WriteFile("metadata/targets.json", string(w.edited("main", "targets", func(s metadata.Object) {
			s["version"] = int64(2)
			change(s)
		})))
	}
	switch kind {
	case "roles":
		targets(func(s metadata.Object) {
			var roles []any
			for i := range 300 {
				roles = append(roles, metadata.Object{
					"name": fmt.Sprintf("role%d\x1b[2J", i), "keyids": []any{}, "threshold": int64(1), "terminating": true, "paths": []any{"x\u202e/*"},
				})
			}
			s["delegations"] = metadata.Object{"keys": metadata.Object{}, "roles": roles}
		})
	case "size":
		targets(func(s metadata.Object) { s["x"] = strings.Repeat("a", hostileSize()) })
	case "links":
		ts.Check(os.Remove(m.Path("metadata/targets.json")))
		ts.Check(os.Symlink("/etc/passwd", m.Path("metadata/targets.json")))
		ts.Check(os.Symlink("../../../../..", m.Path("targets")))
	case "bump":
		targets(func(metadata.Object) {})
	case "configuration":
		m.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = alice\nkey = pkcs11:?module-path=./evil.so\n")
		m.WriteFile("evil.so", "code")
	default:
		ts.Fatalf("hostile %s is not known", kind)
	}
	m.Run("add", "--all", "--force")
	m.Commit("hostile")
	m.Push("HEAD:refs/heads/" + event)
}
