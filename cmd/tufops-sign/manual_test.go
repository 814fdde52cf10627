//go:build cgo

package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
	"github.com/tufops/tufops/signer"
)

var update = flag.Bool("update", false, "write the transcript anew")

// desk is where somebody sits who has the program and virtual YubiKeys.
type desk struct {
	w      *world
	daemon *pcscd.Daemon
	name   string // who it is
	dir    string // in which they type
}

func newDesk(t *testing.T, name string) *desk {
	t.Helper()
	requireProgram(t)
	daemon, err := pcscd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Close() })
	return &desk{w: established(t), daemon: daemon, name: name, dir: t.TempDir()}
}

// factoryNew inserts a token that nobody has used.
func (d *desk) factoryNew(serial uint32) *card.Card {
	d.w.t.Helper()
	c, err := card.New(card.Config{Serial: serial, Touch: func() bool { return true }})
	if err == nil {
		err = d.daemon.Insert(c)
	}
	if err != nil {
		d.w.t.Fatal(err)
	}
	return c
}

// owned inserts a token with a key, and the PIN of yubikeytest.
func (d *desk) owned(serial uint32, key *big.Int) *card.Card {
	d.w.t.Helper()
	c := d.factoryNew(serial)
	yubikeytest.Own(c)
	if err := c.SetKey(card.SlotSignature, key); err != nil {
		d.w.t.Fatal(err)
	}
	return c
}

// types runs what they type into a shell, and returns what they see. Their answers
// follow, one a line.
func (d *desk) types(command string, answers ...string) (string, error) {
	cmd := exec.Command("sh", "-e", "-c", command)
	cmd.Dir = d.dir
	cmd.Stdin = strings.NewReader(strings.Join(append(answers, ""), "\n"))
	cmd.Env = append(os.Environ(), d.daemon.Environ()...)
	cmd.Env = append(cmd.Env, "TUFOPS_NOW="+d.w.now.Format(time.RFC3339), "XDG_STATE_HOME="+d.w.state(d.name), "CRYPTO_SIGNER_PATH_PREFIX="+d.w.keys)
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		cmd.Env = append(cmd.Env, "GIT_"+who+"_NAME="+d.name, "GIT_"+who+"_EMAIL="+d.name+"@example.com")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// commandsOf are the command lines of a page, in its order: those of indented blocks
// and of blocks of sh, without the comment behind them, and each span of code in the
// text that has more than one word and is not a flag. A block of another kind must be among others.
func commandsOf(page string, others ...string) (commands []string, err error) {
	fence := ""
	for i, line := range strings.Split(page, "\n") {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(line), "```"); ok {
			if fence == "" && kind != "sh" && !slices.Contains(others, kind) {
				return nil, fmt.Errorf("line %d: a block of %q is none of commands and none of %q", i+1, kind, others)
			}
			fence = map[bool]string{true: kind}[fence == ""]
			continue
		}
		block, indented := strings.CutPrefix(line, "    ")
		switch {
		case fence == "sh", fence == "" && indented:
			block, _, _ = strings.Cut(block, " #")
			if block = strings.TrimSpace(block); block != "" {
				commands = append(commands, block)
			}
		case fence == "":
			for i, text := range strings.Split(line, "`") {
				if inCode := i%2 == 1; inCode && strings.Contains(text, " ") && text[0] != '-' {
					commands = append(commands, text)
				}
			}
		}
	}
	return commands, nil
}

// No command of a page goes unseen.
func TestCommandsOf(t *testing.T) {
	page := "a `one` `b -c` d `--e f`\n\n    d `e f`\n\n```sh\ng  # why\n\n    h\n```\n| `i j` | `k` |\n```ini\nl = m\n```\n  - `n o`\n"
	got, err := commandsOf(page, "ini")
	if want := []string{"b -c", "d `e f`", "g", "h", "i j", "n o"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, page := range []string{"```\na\n```", "```bash\na\n```", "```console\n$ a\n```", "  ```text\na\n```"} {
		if got, err := commandsOf(page, "ini"); err == nil {
			t.Errorf("%q gives %q", page, got)
		}
	}
}

// scene is one command of the manual.
type scene struct {
	command string // as the page has it
	before  func() // what has happened until then
	answers string // what is typed, separated by |
	fails   bool   // it ends with an error, as the page says
	want    string // an expression for what is seen
	after   func() // what is looked at then
	notRun  string // why it is not run
}

// TestManual types what the signer manual says, word for word but for what stands
// there in capitals, with virtual YubiKeys: carol has one that is new, and becomes a
// signer beside alice and bob. A command that the page has and this test has not, or
// the other way round, is a failure.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/signer-manual.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, "carol")
	w, media, clone := d.w, t.TempDir(), filepath.Join(d.dir, "tuf")
	fill := map[string]string{ // what stands in capitals
		"URL": w.upstream.Dir, "SHA256": hexOf(sha256sum(string(w.file("main", "metadata/root.json")))), "/media": media, "LOGIN": "carol", "URI": "file2:online.pem",
		"yubikey:SERIAL": "yubikey:22222222", "RULE=REASON": "'foreign-change=the workflow was reviewed apart'",
	}
	in := func(dir string) func() { return func() { d.dir = dir } }
	another := func() { // event of the same name
		d.dir = clone
		if w.upstream.Head("sign/NAME") != "" {
			w.upstream.Run("update-ref", "-d", "refs/heads/sign/NAME")
		}
	}
	files := func(message string, files map[string][]byte) func() {
		return func() {
			another()
			w.commitFiles("sign/NAME", message, files)
		}
	}
	invite := files("invite", map[string][]byte{"metadata/.signing-event-state": []byte(`{"invites": {"@carol": ["root"]}}`)})
	workflow := files("workflow", map[string][]byte{
		".github/workflows/x.yml": []byte("on: push\n"),
		"metadata/targets.json":   w.edited("main", "targets", func(s metadata.Object) { s["version"] = int64(3) }),
	})
	days := 80
	periods := func() {
		another()
		days--
		w.ok("bob", "delegate", "sign/NAME", "targets", "--expiry-days", fmt.Sprint(days))
	}
	own := d.factoryNew(12345678)
	var alices *card.Card
	started, adopting := newWorld(t), newWorld(t)
	pin := yubikeytest.PIN
	scenes := []scene{
		{command: "tufops-sign keys list", want: `YubiKey 12345678 .*\n  slot 9c  empty`},
		{
			command: "tufops-sign keys generate", answers: pin + "|" + pin + "|" + yubikeytest.PUK + "|" + yubikeytest.PUK,
			want: `YubiKey 12345678 has a new key in slot 9c\n.*\n  PIN always, touch always`,
			after: func() {
				if gotPIN, puk, _ := own.Secrets(); gotPIN != pin || puk != yubikeytest.PUK || own.PublicKey(card.SlotSignature) == nil {
					t.Errorf("the token has PIN %s and PUK %s", gotPIN, puk)
				}
			},
		},
		{command: "tufops-sign keys generate --help", want: "PIN, PUK and management key must not be the factory's"},
		{command: "git clone URL tuf", after: in(clone)},
		{command: "tufops-sign setup", answers: "carol||||||" + pin, want: "YubiKey 12345678 signs, and its signature verifies"},
		{command: "tufops-sign setup --help", want: "--metadata-url"},
		{command: "tufops-sign setup --replace --root-sha256 SHA256", answers: "||||||" + pin, want: `root v1 of main .*\n`},
		{
			command: "tufops-sign review sign/NAME", want: "@carol is invited and will bring a key",
			before: func() {
				w.ok("bob", "delegate", "sign/NAME", "root", "--signers", "alice,bob,carol")
				w.ok("bob", "delegate", "sign/NAME", "targets", "--signers", "alice,bob,carol")
			},
		},
		{
			command: "tufops-sign sign sign/NAME", answers: "yes|" + pin, want: `(?s)touch YubiKey 12345678 now.*Signed root v2 as @carol.*Signed targets v1 as @carol`,
			after: func() {
				w.ok("bob", "sign", "sign/NAME")
				w.expect("sign/NAME", "root v2 2/2 signed=@bob,@carol missing=@alice known=1/2", "targets v1 3/2 signed=@alice,@bob,@carol complete")
				w.ok("alice", "sign", "sign/NAME")
				w.merge("sign/NAME")
			},
		},
		{command: "tufops-sign export sign/NAME --output /media/NAME.event", before: periods, want: "Wrote .*NAME.event"},
		{
			command: "tufops-sign sign-file /media/NAME.event --user LOGIN --root-sha256 SHA256", answers: "yes|" + pin,
			before: in(t.TempDir()), want: `(?s)touch YubiKey 12345678 now.*Wrote .*NAME\.carol\.signature`,
		},
		{
			command: "tufops-sign import-signature /media/NAME.LOGIN.signature", answers: "yes", before: in(clone), want: "Pushed",
			after: func() {
				w.expect("sign/NAME", "targets v2 2/2 signed=@bob,@carol missing=@alice complete")
				w.merge("sign/NAME")
			},
		},
		{
			command: "tufops-sign delegate sign/periods targets --expiry-days 90", answers: "|||yes|" + pin, want: "Signed targets v3 as @carol",
			after: func() { w.expect("sign/periods", "targets v3 1/2 signed=@carol missing=@alice,@bob") },
		},
		{
			command: "tufops-sign delegate sign/crew crew", answers: "|||yes|" + pin, want: "Signed crew v1 as @carol",
			after: func() {
				w.expect("sign/crew", "targets v3 1/2 signed=@carol missing=@alice,@bob", "crew v1 1/1 signed=@carol complete")
			},
		},
		{
			command: "tufops-sign delegate sign/timestamp timestamp --timestamp-expiry-days 7", answers: "||||yes|" + pin, want: "Signed root v3 as @carol",
			after: func() { w.expectCommits("sign/timestamp", "'timestamp' role/delegation change", "Signed by @carol") },
		},
		{
			command: "tufops-sign init sign/first --signers @alice,@bob --threshold 2 --online-key URI", answers: "||||||||||yes|" + pin,
			before: func() { d.dir = d.cloneOf(started, "alice") }, want: "root v1",
			after: func() {
				started.expect("sign/first", "root v1 0/2 missing=@alice invites=@bob", "targets v1 1/2 signed=@alice")
			},
		},
		{
			command: "tufops-sign import sign/adopt > values.json", fails: true, want: "the metadata lacks values that only you know",
			before: func() {
				adopting.person("alice", "bob")
				adopting.foreign()
				d.dir = d.cloneOf(adopting, "alice")
				alices = d.owned(11111111, adopting.scalar("alice"))
			},
		},
		{
			command: "tufops-sign import sign/adopt values.json", answers: "yes|" + pin, want: "(?s)Signed root v2 as @alice.*Signed targets v5 as @alice",
			before: func() {
				file := filepath.Join(d.dir, "values.json")
				asked, err := os.ReadFile(file)
				if err == nil {
					err = os.WriteFile(file, []byte(adopting.filled(string(asked))), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			after: func() {
				adopting.expectCommits("sign/adopt", "Repo import by @alice", "Signed by @alice")
				d.daemon.Unplug(alices)
			},
		},
		{
			command: "tufops-sign delegate sign/new-token root --replace-key", answers: "||||yes|" + pin + "|" + pin, want: "Signed root v3 as @carol",
			before: func() {
				d.dir = clone
				d.owned(22222222, big.NewInt(22222222))
			},
			after: func() {
				w.expect("sign/new-token", "root v3 1/2 signed=@carol missing=@alice,@bob known=1/2")
			},
		},
		{
			command: "tufops-sign sign sign/NAME --key yubikey:SERIAL", before: invite, answers: "yes|" + pin + "|" + pin, want: "Signed root v3 as @carol",
			after: func() {
				root := w.document("sign/NAME", "root")
				if d, _ := root.Delegation("root"); len(d.KeyIDs) != 4 {
					t.Errorf("root lists %q", d.KeyIDs)
				}
			},
		},
		{command: "ykman piv access unblock-pin", notRun: "it is Yubico's; what a PUK does to a PIN is tried in internal/yubikey"},
		{command: "tufops-sign sign sign/NAME --override RULE=REASON", before: workflow, answers: "yes|" + pin, want: "Signed targets v3 as @carol"},
		{
			command: "tufops-sign sign sign/NAME --again", answers: "yes|" + pin, want: "Signed targets v3 as @carol",
			before: func() {
				periods()
				if out, err := d.types("tufops-sign sign sign/NAME", "yes", pin); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			},
		},
	}
	commands, err := commandsOf(string(page), "ini")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, s := range scenes {
		have = append(have, s.command)
	}
	if !slices.Equal(commands, have) {
		t.Fatalf("the manual has\n  %s\nand this test runs\n  %s", strings.Join(commands, "\n  "), strings.Join(have, "\n  "))
	}
	for _, s := range scenes {
		if s.notRun != "" {
			continue
		}
		if s.before != nil {
			s.before()
		}
		command := s.command
		for _, name := range slices.Sorted(maps.Keys(fill)) {
			command = strings.ReplaceAll(command, name, fill[name])
		}
		out, err := d.types(command, strings.Split(s.answers, "|")...)
		if (err != nil) != s.fails || !regexp.MustCompile(s.want).MatchString(out) {
			t.Fatalf("%s: %v, want %q\n%s", s.command, err, s.want, out)
		}
		told := anotherPayload.FindAllString(out, -1)
		if slices.Sort(told); len(slices.Compact(slices.Clone(told))) != len(told) {
			t.Errorf("%s: a warning is shown twice\n%s", s.command, out)
		}
		if s.after != nil {
			s.after()
		}
	}
}

var anotherPayload = regexp.MustCompile(`you signed another \S+ \S+ in \S+\s+sha256\s+[0-9a-f]+`)

// cloneOf clones another world's upstream for somebody with a YubiKey.
func (d *desk) cloneOf(w *world, name string) string {
	w.t.Helper()
	r := w.upstream.Clone(name)
	w.people[name] = r
	r.WriteFile(".git/info/exclude", ".tufops-sign.ini\n")
	r.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = "+name+"\nkey = yubikey\n")
	return r.Dir
}

// The configuration that the manual shows is one.
func TestManualConfiguration(t *testing.T) {
	page, err := os.ReadFile("../../docs/signer-manual.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```ini\n")
	ini, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatal("the manual shows no configuration")
	}
	r := gittest.New(t).Clone("alice")
	r.WriteFile(".tufops-sign.ini", ini)
	g, err := git.Open(t.Context(), r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	got, err := signer.LoadConfig(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got.User != "@alice" || got.PullRemote != "origin" || got.PushRemote != "origin" || got.Key != "yubikey" || got.Module != "/usr/lib/module.so" || got.MetadataURL != "https://tuf.example.com/metadata" {
		t.Errorf("it is read as %+v", got)
	}
}

// hexDigits are what differs each time: digests, commits, keyids.
var hexDigits = regexp.MustCompile(`[0-9a-f]{12,64}`)

// TestTranscript: docs/transcript.txt is what alice sees. make transcript writes
// it anew.
func TestTranscript(t *testing.T) {
	const file = "../../docs/transcript.txt"
	d := newDesk(t, "alice")
	d.w.newcomer("alice")
	d.dir = d.w.people["alice"].Dir
	d.owned(12345678, d.w.scalar("alice"))
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
