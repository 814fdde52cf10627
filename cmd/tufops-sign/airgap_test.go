package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// away runs the program on alice's other machine, which has a key file, no clone,
// and a memory of its own.
func (w *world) away(stdin string, args ...string) answer {
	w.t.Helper()
	return w.awayReader(strings.NewReader(stdin), args...)
}

func (w *world) awayReader(stdin io.Reader, args ...string) answer {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	env := cli.Env{
		Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
		LookupEnv: func(key string) (string, bool) {
			switch key {
			case "TUFOPS_NOW":
				return w.now.Format("2006-01-02T15:04:05Z07:00"), true
			case "XDG_STATE_HOME":
				return w.state("away"), true
			}
			return "", false
		},
	}
	a := answer{status: cli.Run(w.t.Context(), env, newApp(machine{env, w.openTokens}), append([]string{"tufops-sign"}, args...))}
	a.stdout, a.stderr = stdout.String(), stderr.String()
	return a
}

// signFile is a call of sign-file that asks nothing, as alice with her key.
func (w *world) signFile(file string, more ...string) answer {
	w.t.Helper()
	return w.away("", append([]string{"sign-file", file, "--yes", "--user", "alice", "--key", "file:" + w.key("alice")}, more...)...)
}

// exported is an event as alice's clone exports it.
func (w *world) exported(event string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "x.event")
	if a := w.run("alice", "", "export", event, "--output", file); a.status != 0 {
		w.t.Fatalf("export: status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	return file
}

// artifacts puts artifacts on an event, with the metadata that lists them.
func (w *world) artifacts(event string, files map[string][]byte) {
	w.t.Helper()
	all, listed := map[string][]byte{}, metadata.Object{}
	for name, data := range files {
		all["targets/"+name] = data
		listed[name] = metadata.Object{"length": int64(len(data)), "hashes": metadata.Object{"sha256": digestOf(data)}}
	}
	all["metadata/targets.json"] = w.edited("main", "targets", func(s metadata.Object) { s["version"], s["targets"] = int64(2), listed })
	w.commitFiles(event, "artifacts", all)
}

// knows makes the other machine know the root of main.
func (w *world) knows() []string {
	return []string{"--root-sha256", digestOf(w.document("main", "root").Payload())}
}

func digestOf(data []byte) string { return hexOf(sha256sum(string(data))) }

func signatureOf(event string) string {
	return strings.TrimSuffix(event, ".event") + ".alice.signature"
}

// roleReview is what a review says of the event, without where it is seen.
func roleReview(text string) string {
	_, text, _ = strings.Cut(text, "\n\n")
	text, _, _ = strings.Cut(text, "\n\nWrote ")
	text, _, _ = strings.Cut(text, "Signed ")
	return strings.TrimSpace(text)
}

func TestAirGap(t *testing.T) {
	w := established(t)
	w.artifacts("sign/x", map[string][]byte{"file.txt": []byte("something to read\n"), "trusted_root.json": trustroottest.Bytes(trustroottest.Root())})
	w.ok("bob", "sign", "sign/x")
	event := w.exported("sign/x")
	upstream := w.upstream.Run("for-each-ref")

	// Without a root that it knows the machine signs nothing, whoever names one.
	for name, more := range map[string][]string{
		"knows no root of": nil, "none of the roots of main": {"--root-sha256", strings.Repeat("0", 64)},
	} {
		a := w.signFile(event, more...)
		if a.status != 1 || !strings.Contains(a.stderr, name) || !strings.Contains(a.stderr, "note: nothing was signed") || strings.Contains(a.stdout, "Signing event") {
			t.Fatalf("%s: status %d\n%s%s", name, a.status, a.stdout, a.stderr)
		}
	}
	if _, err := os.Stat(signatureOf(event)); err == nil {
		t.Fatal("a signature was written")
	}

	a := w.signFile(event, w.knows()...)
	if a.status != 0 {
		t.Fatalf("sign-file: status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	review := w.run("alice", "", "review", "sign/x")
	if here, there := roleReview(review.stdout), roleReview(a.stdout); here != there || !strings.Contains(there, "+something to read") || !strings.Contains(there, "      meaning\n") {
		t.Errorf("the review is another one:\n%s\n--- there:\n%s", here, there)
	}
	if !strings.Contains(strings.Join(strings.Fields(a.stdout), " "), "not looked at, as this machine has no network: the root that clients get now") {
		t.Errorf("it does not say what it has not looked at:\n%s", a.stdout)
	}
	text, err := os.ReadFile(signatureOf(event))
	if err != nil {
		t.Fatal(err)
	}
	doc := w.document("sign/x", "targets")
	form := regexp.MustCompile(`\Atufops signatures 1\nevent sign/x\nrepository .*upstream\nby @alice\n\nrole targets\nversion 2\nsha256 ` +
		digestOf(doc.Payload()) + `\nkeyid ` + w.keyObject("alice", "@alice").ID + `\nkey file\nsignature [0-9a-f]+\n\z`)
	if !form.Match(text) {
		t.Errorf("the signatures are\n%s", text)
	}
	if after := w.upstream.Run("for-each-ref"); after != upstream {
		t.Fatalf("the remote has moved:\n%s", after)
	}
	// A file that is there is not written over, and nobody is asked for it.
	if a := w.signFile(event); a.status != 1 || !strings.Contains(a.stderr, "is there already") || a.stdout != "" {
		t.Errorf("once more: status %d\n%s%s", a.status, a.stdout, a.stderr)
	}

	w.ok("alice", "import-signature", signatureOf(event))
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
	if commits := w.commits2("sign/x"); commits[len(commits)-1] != "Signature from @alice" {
		t.Errorf("commits %q", commits)
	}
	head := w.upstream.Head("sign/x")
	if a := w.ok("alice", "import-signature", signatureOf(event)); !strings.Contains(a.stdout, "Nothing to do in sign/x") || w.upstream.Head("sign/x") != head {
		t.Errorf("imported twice, the branch is at %s:\n%s", w.upstream.Head("sign/x"), a.stdout)
	}
	w.merge("sign/x")

	// The machine remembers: the root needs no pin any more, and another payload of
	// the version that was signed is told.
	w.reset(w.upstream.Run("rev-parse", "main^1"))
	w.commitFiles("main", "policy", map[string][]byte{".tufops.yaml": []byte("rules: {foreign-change: {level: warning, reason: we know}}\n")})
	w.ok("bob", "delegate", "sign/y", "targets", "--expiry-days", "200")
	event = w.exported("sign/y")
	const lowered = "since you last signed here, .tufops.yaml on main"
	a = w.signFile(event)
	if again := w.signFile(event, "--output", event+".again"); again.status != 0 || !strings.Contains(a.stdout, lowered) || strings.Contains(again.stdout, lowered) {
		t.Errorf("what main has lowered is not shown once:\n%s\n---\n%s%s", a.stdout, again.stdout, again.stderr)
	}
	if a.status != 0 || !strings.Contains(a.stdout, "is the one that this machine saw on") ||
		!strings.Contains(strings.Join(strings.Fields(a.stdout), " "), "you signed another targets v2, in sign/x: sha256 "+digestOf(doc.Payload())) {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
}

// commits2 are the subjects of an event's commits, oldest first.
func (w *world) commits2(event string) []string {
	return strings.Split(strings.TrimSpace(w.upstream.Run("log", "--reverse", "--format=%s", "main.."+event)), "\n")
}

// What is there at the second look is what counts: the branch may have moved, its
// payload may not.
func TestImportSignatureLate(t *testing.T) {
	w := established(t)
	w.ok("bob", "delegate", "sign/x", "targets", "--expiry-days", "300")
	event := w.exported("sign/x")
	if a := w.signFile(event, w.knows()...); a.status != 0 {
		t.Fatal(a.stderr)
	}
	first := w.document("sign/x", "targets")

	// Somebody pushes while it is imported.
	other := w.people["maintainer"]
	other.Run("fetch", "--quiet", "origin")
	other.Run("switch", "--quiet", "-C", "other", "origin/sign/x")
	other.Run("commit", "--quiet", "--allow-empty", "-m", "meanwhile")
	w.race("alice", "git -C '"+other.Dir+"' push --quiet origin other:refs/heads/sign/x")
	dirty := w.checkout("alice")
	w.ok("alice", "import-signature", signatureOf(event))
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
	if got := w.commits2("sign/x"); !slices.Contains(got, "meanwhile") {
		t.Errorf("commits %q", got)
	}
	if after := w.checkout("alice"); after != dirty {
		t.Errorf("the checkout has changed:\n%s\n---\n%s", dirty, after)
	}

	// Bob changes his mind.
	w.ok("bob", "delegate", "sign/x", "targets", "--expiry-days", "200")
	second := w.document("sign/x", "targets")
	w.refused(1, "alice", "", []string{
		"v2, sha256 " + digestOf(first.Payload()), "v2, sha256 " + digestOf(second.Payload()), "hint: export the event as it is now", "nothing was committed or pushed",
	}, "import-signature", signatureOf(event), "--yes")
	// No branch, no push; a person who says no.
	w.refused(1, "alice", "", []string{"has no branch sign/x2"}, "import-signature", w.altered(signatureOf(event), "event sign/x", "event sign/x2"), "--yes")
	event = w.exported("sign/x")
	if a := w.signFile(event); a.status != 0 {
		t.Fatal(a.stderr)
	}
	w.refused(1, "alice", "no\n", []string{"Add the signature of @alice to targets v2 and push it to origin sign/x? (yes/no)", "you did not agree"},
		"import-signature", signatureOf(event))
	head := w.upstream.Head("sign/x")
	w.ok("alice", "import-signature", signatureOf(event), "--no-push")
	if w.upstream.Head("sign/x") != head || !strings.Contains(w.people["alice"].Run("log", "-1", "--format=%s", "sign/x"), "Signature from @alice") {
		t.Error("--no-push did not move the local branch alone")
	}
}

// altered is a copy of a file in which one text has given way to another.
func (w *world) altered(file, from, to string) string {
	w.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), from) {
		w.t.Fatalf("%s has no %q: %v", file, from, err)
	}
	out := filepath.Join(w.t.TempDir(), "altered")
	if err := os.WriteFile(out, []byte(strings.Replace(string(data), from, to, 1)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// A signature that is not the one that is asked for is refused in a sentence, and
// nothing is pushed. (What is no file of signatures at all: see package signer.)
func TestImportSignatureRefuses(t *testing.T) {
	w := established(t)
	w.ok("bob", "delegate", "sign/x", "targets", "--expiry-days", "300")
	w.ok("bob", "delegate", "sign/root", "root", "--expiry-days", "300")
	event := w.exported("sign/x")
	if a := w.signFile(event, w.knows()...); a.status != 0 {
		t.Fatal(a.stderr)
	}
	file := signatureOf(event)
	payload := w.document("sign/x", "targets").Payload()
	line := func(name string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m)^` + name + ` .*$`).FindString(string(data))
	}
	alice, bob, sig := w.keyObject("alice", "@alice"), w.keyObject("bob", "@bob"), line("signature")
	upstream := w.upstream.Run("for-each-ref")
	for name, one := range map[string]struct{ from, to, want string }{
		"another event":        {"event sign/x", "event sign/root", "sign/root at [0-9a-f]{12} does not change that role"},
		"no event":             {"event sign/x", "event main", `"main" is not the branch of a signing event`},
		"another role":         {"role targets", "role root", "sign/x at [0-9a-f]{12} does not change that role"},
		"another version":      {"version 2", "version 3", "is of targets v3, sha256 .* has v2, sha256"},
		"another payload":      {"sha256 " + digestOf(payload), "sha256 " + digestOf([]byte("x")), "is of targets v2, sha256 .* has v2, sha256"},
		"another's key":        {"keyid " + alice.ID, "keyid " + bob.ID, "@alice has no such key for that role"},
		"another person":       {"by @alice", "by @bob", "@bob has no such key for that role"},
		"by another key":       {sig, "signature " + hexOf(w.signature("bob", payload)), "the signature of targets by @alice with keyid"},
		"over another payload": {sig, "signature " + hexOf(w.signature("alice", []byte("x"))), "the signature of targets by @alice with keyid"},
		"too large":            {"key file", "key " + strings.Repeat("x", 1<<20), "larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.run("alice", "", "import-signature", w.altered(file, one.from, one.to), "--yes")
			if a.status == 0 || !regexp.MustCompile(one.want).MatchString(a.stderr) {
				t.Errorf("status %d, stderr lacks %q:\n%s", a.status, one.want, a.stderr)
			}
		})
	}
	if after := w.upstream.Run("for-each-ref"); after != upstream {
		t.Errorf("the remote has moved:\n%s\n%s", upstream, after)
	}
	w.expect("sign/x", "targets v2 1/2 signed=@bob missing=@alice")
	w.ok("bob", "import-signature", file) // whoever carries it
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
	if a := w.run("bob", "", "review", "sign/x"); strings.Contains(a.stdout, "you signed another") {
		t.Error("bob's machine takes it for his")
	}
}

// A key from a file is the one that its owner was invited to bring, or it is not
// brought.
func TestImportSignatureKey(t *testing.T) {
	w := established(t)
	w.person("carol")
	w.ok("bob", "delegate", "sign/x", "root", "--signers", "alice,bob,carol", "--threshold", "2")
	event := w.exported("sign/x")
	out := filepath.Join(t.TempDir(), "carol")
	a := w.away("", append([]string{"sign-file", event, "--yes", "--user", "carol", "--key", "file:" + w.key("carol"), "--output", out}, w.knows()...)...)
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	hexKey := func(name string) string {
		val, _ := w.keyObject(name, "").Object["keyval"].(metadata.Object)
		text, _ := val["public"].(string)
		return hexOf([]byte(text))
	}
	upstream := w.upstream.Run("for-each-ref")
	for name, one := range map[string]struct{ from, to, want string }{
		"another person": {"by @carol", "by @dave", "as a key of @dave it has keyid"},
		"another key":    {hexKey("carol"), hexKey("bob"), "as a key of @carol it has keyid"},
		"no key":         {hexKey("carol"), hexOf([]byte("x")), "the key that @carol brings to role root: "},
		"another role":   {"invitation root", "invitation targets", "accept the invitation to role targets: @carol has no open invitation"},
	} {
		a := w.run("alice", "", "import-signature", w.altered(out, one.from, one.to), "--yes")
		if a.status != 1 || !strings.Contains(a.stderr, one.want) || !strings.Contains(a.stderr, "note: nothing was committed or pushed") {
			t.Errorf("%s: status %d, want %q:\n%s", name, a.status, one.want, a.stderr)
		}
	}
	if after := w.upstream.Run("for-each-ref"); after != upstream {
		t.Errorf("the remote has moved:\n%s\n%s", upstream, after)
	}
	w.ok("alice", "import-signature", out)
	w.expect("sign/x", "root v2 0/2 missing=@alice,@bob,@carol known=0/2")
}

// A signature that was given is not lost, whatever becomes of its file and of the
// memory of it; where none can be written none is given.
func TestNoSignatureIsLost(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	event := w.exported("sign/x")
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 300))
	for _, output := range []string{filepath.Join(t.TempDir(), "none", "x"), filepath.Join(event, "x"), long, "/proc/x"} {
		a := w.signFile(event, append(w.knows(), "--output", output)...)
		if a.status != 1 || a.stdout != "" || !strings.Contains(a.stderr, output+" cannot be written: ") || !strings.Contains(a.stderr, "hint: name a file on another medium with --output") ||
			!strings.Contains(a.stderr, "note: nothing was signed") {
			t.Errorf("%.80s: status %d\n%s%s", output, a.status, a.stdout, a.stderr)
		}
	}
	sign := func(output string, happens func()) answer {
		t.Helper()
		a := w.awayReader(&onRead{text: "yes\n", first: happens},
			append([]string{"sign-file", event, "--user", "alice", "--key", "file:" + w.key("alice"), "--output", output}, w.knows()...)...)
		if a.status != 1 || !strings.Contains(a.stderr, "Sign targets v2 into a file") {
			t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
		}
		return a
	}
	// The medium is taken out, or somebody else writes there, while the person reads.
	medium := filepath.Join(t.TempDir(), "usb")
	if err := os.Mkdir(medium, 0o755); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(medium, "x.signature")
	for _, one := range []struct {
		name    string
		happens func() error
	}{
		{"taken by another", func() error { return os.WriteFile(output, []byte("mine"), 0o600) }},
		{"taken out", func() error { return os.RemoveAll(medium) }},
	} {
		name := one.name
		if left, _ := os.ReadDir(medium); len(left) > 0 {
			t.Errorf("%s: %v is left from the last try", name, left)
		}
		a := sign(output, func() {
			if err := one.happens(); err != nil {
				t.Error(err)
			}
		})
		if !strings.Contains(a.stderr, "error: write "+output+": ") || !strings.Contains(a.stderr, `hint: copy the lines above, from "tufops signatures 1" on, into a file for tufops-sign import-signature`) ||
			!strings.Contains(a.stderr, "note: nothing is lost") || strings.Contains(a.stdout, "Wrote") {
			t.Errorf("%s:\n%s", name, a.stderr)
		}
		if data, err := os.ReadFile(output); err == nil && string(data) != "mine" {
			t.Errorf("%s: written over by %q", name, data)
		}
		os.Remove(output)
		_, text, _ := strings.Cut(a.stdout, "\ntufops signatures 1\n")
		copied := filepath.Join(t.TempDir(), "copied")
		if err := os.WriteFile(copied, []byte("\r\ntufops signatures 1\r\n"+strings.ReplaceAll(text, "\n", "\r\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		w.ok("alice", "import-signature", copied, "--no-push")
		if _, s := w.eventAt(w.people["alice"].Dir, "sign/x"); !s.Complete {
			t.Errorf("%s: the event is not complete: %+v", name, s.Roles)
		}
		w.people["alice"].Run("branch", "-D", "sign/x")
	}
	// The memory cannot be written.
	output = filepath.Join(t.TempDir(), "x.signature")
	memory := filepath.Join(w.state("away"), "tufops-sign")
	a := sign(output, func() {
		if err := errors.Join(os.Rename(memory, memory+".was"), os.WriteFile(memory, nil, 0o600)); err != nil {
			t.Error(err)
		}
	})
	for _, want := range []string{"error: what this machine remembers, ", "note: what was signed is in " + output + " all the same"} {
		if !strings.Contains(a.stderr, want) {
			t.Errorf("lacks %q:\n%s", want, a.stderr)
		}
	}
	w.ok("alice", "import-signature", output)
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// Before there is a root, what the person knows is the first.
func TestAirGapFirstRoot(t *testing.T) {
	w := newWorld(t)
	w.person("alice", "bob")
	w.ok("alice", "init", "sign/init", "--signers", "alice,bob", "--threshold", "2", "--online-key", "file2:online.pem")
	w.ok("bob", "sign", "sign/init")
	event := w.exported("sign/init")
	first := digestOf(w.document("sign/init", "root").Payload())
	for _, one := range [][]string{
		{"this machine knows no root of"},
		{"proposes a first root with sha256 " + first + ", and not " + strings.Repeat("0", 64), "--root-sha256", strings.Repeat("0", 64)},
	} {
		w.nothingSigned(t, event, one[0], one[1:]...)
	}
	if a := w.signFile(event, "--root-sha256", first); a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.ok("alice", "import-signature", signatureOf(event))
	w.expect("sign/init", "root v1 2/2 signed=@alice,@bob complete", "targets v1 2/2 signed=@alice,@bob complete")
	w.merge("sign/init")
	// The machine knows that root, since its person has signed it there.
	w.commitBump("sign/x", "targets")
	if a := w.signFile(w.exported("sign/x")); a.status != 0 || !strings.Contains(a.stdout, "root v1 of main is the one that you signed") {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
}
