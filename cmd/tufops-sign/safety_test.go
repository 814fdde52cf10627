package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/metadata"
)

// edited is a role's metadata at a revision with its signed part changed by
// hand, as somebody would who does not use the tools.
func (w *world) edited(rev, role string, change func(signed metadata.Object), signatures ...metadata.Signature) []byte {
	w.t.Helper()
	doc := w.document(rev, role)
	signed := metadata.Clone(doc.Signed())
	change(signed)
	next, err := doc.WithSigned(signed, signatures)
	if err != nil {
		w.t.Fatal(err)
	}
	return next.Bytes()
}

func TestConfigurationThatGitTracksIsRefused(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	w.commitFiles("sign/evil", "settings", map[string][]byte{".tufops-sign.ini": []byte("[settings]\nuser-name=alice\npykcs11lib=./evil.so\n")})
	r := w.people["alice"]
	ini := r.ReadFile(".tufops-sign.ini")

	for name, prepare := range map[string]func(){
		"committed": func() {
			os.Remove(r.Path(".tufops-sign.ini"))
			r.Run("fetch", "--quiet", "origin")
			r.Run("switch", "--quiet", "--detach", "origin/sign/evil")
		},
		"staged": func() {
			r.WriteFile(".tufops-sign.ini", ini)
			r.Run("add", "--force", ".tufops-sign.ini")
		},
	} {
		t.Run(name, func(t *testing.T) {
			prepare()
			a := w.refused(1, "alice", "", []string{".tufops-sign.ini: git tracks it", "git rm --cached .tufops-sign.ini"}, "sign", "sign/x", "--yes")
			if a.stdout != "" {
				t.Errorf("stdout: %s", a.stdout)
			}
			r.Run("reset", "--quiet")
			r.Run("switch", "--quiet", "--force", "--detach", "origin/main")
			os.Remove(r.Path(".tufops-sign.ini"))
		})
	}
	t.Run("a link into the checkout", func(t *testing.T) {
		r.WriteFile("README", ini)
		if err := os.Symlink("README", r.Path(".tufops-sign.ini")); err != nil {
			t.Fatal(err)
		}
		w.refused(1, "alice", "", []string{"it is a link to", "inside the checkout"}, "sign", "sign/x", "--yes")
		os.Remove(r.Path(".tufops-sign.ini"))
	})
	t.Run("a module in the checkout", func(t *testing.T) {
		for _, module := range []string{"./evil.so", "metadata/evil.so", r.Path("evil.so"), filepath.Join(r.Dir, "..", filepath.Base(r.Dir), "x", "evil.so")} {
			r.WriteFile(".tufops-sign.ini", ini+"pykcs11lib = "+module+"\n")
			w.refused(1, "alice", "", []string{"lies inside the checkout"}, "sign", "sign/x", "--yes")
		}
		r.WriteFile("evil.so", "")
		link := filepath.Join(t.TempDir(), "link.so")
		if err := os.Symlink(r.Path("evil.so"), link); err != nil {
			t.Fatal(err)
		}
		r.WriteFile(".tufops-sign.ini", ini+"pykcs11lib = "+link+"\n")
		w.refused(1, "alice", "", []string{"lies inside the checkout"}, "sign", "sign/x", "--yes")
		r.WriteFile(".tufops-sign.ini", ini+"pykcs11lib = /usr/lib/x86_64-linux-gnu/libykcs11.so\n")
		w.ok2("alice", "review", "sign/x")
	})
	t.Run("none", func(t *testing.T) {
		os.Remove(r.Path(".tufops-sign.ini"))
		w.refused(1, "alice", "", []string{"there is no configuration", "user-name = @your-login"}, "sign", "sign/x", "--yes")
	})
}

func TestUsage(t *testing.T) {
	w := established(t)
	for _, c := range []struct {
		words string
		args  []string
	}{
		{`"main" is not the branch of a signing event`, []string{"sign", "main", "--yes"}},
		{`name it sign/NAME, such as sign/x`, []string{"delegate", "x", "root", "--yes"}},
		{"is not the branch", []string{"sign", "sign/../main", "--yes"}},
		{"is not the branch", []string{"sign", "sign/x:refs/heads/main", "--yes"}},
		{"is not the branch", []string{"sign", "--yes", "--", "--upload-pack=x"}},
		{"--threshold is a number", []string{"delegate", "sign/x", "root", "--threshold", "0"}},
		{"--expiry-days is a number", []string{"delegate", "sign/x", "root", "--expiry-days", "-3"}},
		{`"@a b" is not a login`, []string{"delegate", "sign/x", "root", "--signers", "@a b"}},
		{"role timestamp is signed online", []string{"delegate", "sign/x", "timestamp", "--signers", "@a", "--yes"}},
		{"role targets is not an online role", []string{"delegate", "sign/x", "targets", "--timestamp-expiry-days", "3", "--yes"}},
		{"role root is signed by people only", []string{"delegate", "sign/x", "root", "--online-key", "file2:online.pem", "--yes"}},
		{"either an online key or signers", []string{"delegate", "sign/x", "r", "--online-key", "file2:online.pem", "--signers", "a", "--yes"}},
		{"TUFOPS_NOW is set, and", []string{"delegate", "sign/x", "timestamp", "--online-key", "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "--yes"}},
		{"needs ROLE", []string{"delegate", "sign/x"}},
	} {
		w.refused(2, "alice", "", []string{c.words}, c.args...)
	}
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"remote origin has no branch sign/none", []string{"sign", "sign/none", "--yes"}},
		{"remote origin has no branch sign/none", []string{"review", "sign/none"}},
		{"clients that are built with go-tuf cannot read", []string{"delegate", "sign/x", "timestamp", "--online-key", "sigstore:", "--yes"}},
		{"no key service for it", []string{"delegate", "sign/x", "timestamp", "--online-key", "gopher:x", "--yes"}},
		{"none.pem", []string{"delegate", "sign/x", "timestamp", "--online-key", "file2:none.pem", "--yes"}},
		{"its name", []string{"delegate", "sign/x", "../evil", "--yes"}},
		{"cannot need 3 signatures of 2 signers", []string{"delegate", "sign/x", "root", "--threshold", "3", "--yes"}},
		{"a question was not answered", []string{"delegate", "sign/x", "root"}},
		{"no token is inserted that yubikey names", []string{"delegate", "sign/x", "crew", "--key", "yubikey", "--yes"}},
	} {
		a := w.refused(1, "alice", "", []string{c.words}, c.args...)
		if c.args[0] != "review" && !strings.Contains(a.stderr, "note: nothing was committed or pushed") {
			t.Errorf("%q: no note:\n%s", c.args, a.stderr)
		}
	}
	// Declining is not an error of the program's, but not success either.
	w.refused(1, "alice", "\n\n\n\nno\n", []string{"you did not agree", "nothing was committed or pushed"}, "delegate", "sign/x", "root", "--threshold", "2", "--signers", "alice,bob,carol")
	// A simulated clock signs nothing that leaves the machine.
	w.people["alice"].Run("remote", "set-url", "--push", "origin", "https://example.com/x.git")
	w.refused(2, "alice", "", []string{"TUFOPS_NOW is set"}, "delegate", "sign/x", "crew", "--yes")
}

// A signature by another key under bob's keyid fills the list, and is none.
func TestASignatureByAnotherKeyDoesNotCount(t *testing.T) {
	w := established(t)
	w.ok("alice", "delegate", "sign/x", "targets", "--expiry-days", "80")
	doc := w.document("sign/x", "targets")
	bob := w.keyObject("bob", "@bob")
	w.makeKey("mallory")
	forged, err := doc.WithSignature(bob.ID, w.signature("mallory", doc.Payload()))
	if err != nil {
		t.Fatal(err)
	}
	w.commitFiles("sign/x", "forged", map[string][]byte{"metadata/targets.json": forged.Bytes()})
	for _, s := range w.document("sign/x", "targets").Signatures() {
		if s.Sig == "" {
			t.Fatal("the list does not look complete")
		}
	}
	w.expect("sign/x", "targets v2 1/2 signed=@alice missing=@bob")
	a := w.ok("alice", "sign", "sign/x")
	if strings.Contains(a.stdout, "very role has the signatures") || !strings.Contains(a.stdout, "targets: 1 of @bob") {
		t.Errorf("alice sees:\n%s", a.stdout)
	}
	// Mallory's key in bob's configuration is refused before anything is signed.
	w.refused(1, "bob", "", []string{"not the right key: file:" + w.key("mallory"), "keyid " + bob.ID + " of role targets"},
		"sign", "sign/x", "--yes", "--key", "file:"+w.key("mallory"))
	w.ok("bob", "sign", "sign/x")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
	if got := w.document("sign/x", "targets").Signatures(); len(got) != 2 {
		t.Errorf("signatures: %v", got)
	}
}

// A signature of the role's own key over other content is none either.
func TestASignatureOverOtherContentDoesNotCount(t *testing.T) {
	w := established(t)
	w.ok("alice", "delegate", "sign/x", "targets", "--expiry-days", "80")
	bob := w.keyObject("bob", "@bob")
	forged, err := w.document("sign/x", "targets").WithSignature(bob.ID, w.signature("bob", w.document("main", "targets").Payload()))
	if err != nil {
		t.Fatal(err)
	}
	w.commitFiles("sign/x", "forged", map[string][]byte{"metadata/targets.json": forged.Bytes()})
	w.expect("sign/x", "targets v2 1/2 signed=@alice missing=@bob")
	w.ok("bob", "sign", "sign/x")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

func TestErrorsStopSigning(t *testing.T) {
	w := established(t)
	root := w.edited("main", "root", func(signed metadata.Object) { signed["version"] = int64(5) })
	for name, files := range map[string]map[string][]byte{
		"version":  {"metadata/root.json": root, "metadata/root_history/5.root.json": root},
		"workflow": {"metadata/targets.json": w.edited("main", "targets", func(s metadata.Object) { s["version"] = int64(2) }), ".github/workflows/x.yml": []byte("on: push\n")},
		"artifact": {"metadata/targets.json": w.edited("main", "targets", func(s metadata.Object) { s["version"] = int64(2) }), "targets/unlisted": []byte("x")},
	} {
		w.commitFiles("sign/"+name, "bad", files)
		for _, args := range [][]string{{"sign", "sign/" + name, "--yes"}, {"delegate", "sign/" + name, "crew", "--yes"}} {
			a := w.refused(1, "alice", "", []string{"error: sign event sign/" + name + ": ", "nothing was committed or pushed"}, args...)
			if !strings.Contains(a.stdout, "The errors above must be fixed before anybody signs.") || !strings.Contains(a.stdout, "  error: ") {
				t.Errorf("%v: the review is not shown:\n%s", args, a.stdout)
			}
		}
		// Looking is not refused.
		a := w.ok2("alice", "review", "sign/"+name)
		if !strings.Contains(a.stdout, "The errors above must be fixed") {
			t.Errorf("review:\n%s", a.stdout)
		}
	}
}

// ok2 is run for a command without --yes that must succeed.
func (w *world) ok2(name string, args ...string) answer {
	w.t.Helper()
	a := w.run(name, "", args...)
	if a.status != 0 {
		w.t.Fatalf("%s: tufops-sign %s: status %d\n%s%s", name, strings.Join(args, " "), a.status, a.stdout, a.stderr)
	}
	return a
}

// What a stranger writes on the branch reaches the terminal as text only.
func TestHostileNamesAreEscaped(t *testing.T) {
	w := established(t)
	evil := "\x1b[2J\x1b]0;owned\x07\u202egpj.exe\u200b\r\n@alice approves"
	key := w.keyObject("bob", "@bob")
	object := metadata.Clone(key.Object)
	object[metadata.FieldKeyOwner] = "@bob" + evil
	targets := w.edited("main", "targets", func(s metadata.Object) {
		s["version"] = int64(2)
		s[evil] = "x"
		s["targets"] = metadata.Object{evil: metadata.Object{
			"length": int64(3), "hashes": metadata.Object{evil: strings.Repeat("ab", 32)}, "custom": metadata.Object{evil: evil}, evil: evil,
		}}
		s["delegations"] = metadata.Object{
			"keys": metadata.Object{evil: object},
			"roles": []any{metadata.Object{
				"name": evil, "keyids": []any{evil}, "threshold": int64(1), "terminating": true, "paths": []any{evil + "/*"}, evil: evil,
			}},
		}
	}, metadata.Signature{KeyID: evil, Sig: ""})
	w.commitFiles("sign/x", "evil\x1b[2J", map[string][]byte{
		"metadata/targets.json":         targets,
		"metadata/.signing-event-state": []byte(`{"invites": {"@x\u001b[2J": ["` + "\u202e" + `"]}}`),
		"targets/\u202egpj\x1b":         []byte("x"),
		"no\ttes\x1b[2J":                []byte("x"),
	})
	for _, args := range [][]string{{"review", "sign/x"}, {"sign", "sign/x", "--yes"}, {"delegate", "sign/x", evil, "--yes"}} {
		a := w.run("alice", "", args...)
		for where, text := range map[string]string{"stdout": a.stdout, "stderr": a.stderr} {
			if !utf8.ValidString(text) {
				t.Errorf("%v: %s is not UTF-8", args, where)
			}
			for _, bad := range []string{"\x1b", "\x07", "\r", "\t", "\u202e", "\u200b"} {
				if strings.Contains(text, bad) {
					t.Errorf("%v: %s holds %q:\n%q", args, where, bad, text)
				}
			}
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "@alice approves") {
					t.Errorf("%v: a line of the stranger's on %s", args, where)
				}
			}
		}
		if args[0] == "review" && !strings.Contains(a.stdout, `\x1b[2J`) {
			t.Errorf("nothing of it is shown:\n%s", a.stdout)
		}
	}
}

func TestReviewFitsEightyColumns(t *testing.T) {
	w := established(t)
	w.ok("alice", "delegate", "sign/x", "crew", "--signers", "alice,bob,carol", "--threshold", "2")
	w.commitFiles("sign/x", "artifact", map[string][]byte{"targets/crew/a.txt": []byte("hello\n")})
	a := w.ok2("bob", "review", "sign/x")
	for line := range strings.Lines(a.stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestReviewShowsArtifacts(t *testing.T) {
	w := established(t)
	entry := func(data string) metadata.Object {
		sum := hex.EncodeToString(sha256sum(data))
		return metadata.Object{"length": int64(len(data)), "hashes": metadata.Object{"sha256": sum}}
	}
	add := func(from, event string, version int64, files map[string]string) {
		t.Helper()
		targets := metadata.Object{}
		commit := map[string][]byte{}
		for name, data := range files {
			if data == "" {
				commit["targets/"+name] = nil
				continue
			}
			targets[name] = entry(data)
			commit["targets/"+name] = []byte(data)
		}
		commit["metadata/targets.json"] = w.edited(from, "targets", func(s metadata.Object) { s["version"], s["targets"] = version, targets })
		w.commitFiles(event, "artifacts", commit)
	}
	add("main", "sign/a", 2, map[string]string{"one.txt": "one", "two.txt": "two"})
	w.ok("alice", "sign", "sign/a")
	w.ok("bob", "sign", "sign/a")
	w.merge("sign/a")
	add("main", "sign/b", 3, map[string]string{"one.txt": "", "two.txt": "zwei", "three.txt": "three"})
	a := w.ok2("alice", "review", "sign/b")
	want := `  artifacts
    - one.txt
    + three.txt
        5 bytes
        sha256 ` + hex.EncodeToString(sha256sum("three")) + `
      text
        @@ -0,0 +1,1 @@
        +three
        \ No newline at end of file
    ~ two.txt
        4 bytes
        sha256 ` + hex.EncodeToString(sha256sum("zwei")) + `
      was
        3 bytes
        sha256 ` + hex.EncodeToString(sha256sum("two")) + `
`
	if !strings.Contains(a.stdout, want) {
		t.Errorf("review:\n%s\nlacks\n%s", a.stdout, want)
	}
	sum := hex.EncodeToString(sha256sum(string(w.document("sign/b", "targets").Payload())))
	if !strings.Contains(a.stdout, "\n        "+sum+"\n") {
		t.Errorf("the payload's digest %s is not shown:\n%s", sum, a.stdout)
	}
	w.refused(1, "alice", "", []string{"which is not among those given with --expect-sha256"}, "sign", "sign/b", "--yes", "--expect-sha256", strings.Repeat("0", 64))
	w.ok("alice", "sign", "sign/b", "--expect-sha256", strings.ToUpper(sum))
}

func TestPassphrase(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	w := established(t)
	encrypted := filepath.Join(w.keys, "encrypted.pem")
	if out, err := exec.Command(openssl, "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", w.key("alice"), "-out", encrypted, "-passout", "pass:sesam").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.people["alice"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name=alice\nkey=file:"+encrypted+"\n")
	sign := func(stdin string, args ...string) answer {
		return w.run("alice", stdin, append([]string{"delegate", "sign/x", "crew"}, args...)...)
	}
	for name, c := range map[string]struct {
		stdin, pin, word string
		args             []string
	}{
		"nobody to ask":     {"", "", "needs a passphrase", []string{"--yes"}},
		"wrong":             {"", "nonsense", "the passphrase does not open it", []string{"--yes"}},
		"wrong on terminal": {"\n\n\nnonsense\n", "", "the passphrase does not open it", nil},
	} {
		w.env["TUFOPS_PIN"] = c.pin
		if a := sign(c.stdin, c.args...); a.status != 1 || !strings.Contains(a.stderr, c.word) || strings.Contains(a.stderr+a.stdout, "nonsense") {
			t.Errorf("%s: status %d\n%s", name, a.status, a.stderr)
		}
	}
	delete(w.env, "TUFOPS_PIN")
	// A wrong --key in the clear is refused before the passphrase is asked for.
	w.targetsEvent("sign/y")
	a := w.refused(1, "alice", "", []string{"not the right key: file:" + w.key("bob"), "keyid " + w.keyObject("alice", "@alice").ID + " of role targets"},
		"sign", "sign/y", "--key", "file:"+w.key("bob"))
	if strings.Contains(a.stderr, "Passphrase of") {
		t.Errorf("stderr:\n%s", a.stderr)
	}
	w.people["alice"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name=alice\n")
	// No key is named: one is asked for, then its passphrase, then agreement.
	a = w.run("alice", "file:"+encrypted+"\nsesam\ny\n", "sign", "sign/y")
	if a.status != 0 || strings.Contains(a.stderr, "sesam") {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.env["TUFOPS_PIN"] = "sesam"
	w.people["alice"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name=alice\nkey=file:"+encrypted+"\n")
	w.ok("alice", "delegate", "sign/x", "crew")
	w.expect("sign/x", "targets v2 1/2 signed=@alice missing=@bob", "crew v1 1/1 signed=@alice complete")
}

// bare is somebody's key as another tool lists it, without custom fields, and its
// keyid.
func (w *world) bare(name string) (string, metadata.Object) {
	w.t.Helper()
	o := metadata.Clone(w.keyObject(name, "").Object)
	delete(o, metadata.FieldKeyOwner)
	delete(o, metadata.FieldOnlineURI)
	id, err := metadata.KeyID(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return id, o
}

// foreign gives main what another tool made: no custom fields anywhere. alice and
// bob sign root and targets.
func (w *world) foreign() {
	w.t.Helper()
	alice, aliceObject := w.bare("alice")
	bob, bobObject := w.bare("bob")
	online, onlineObject := w.bare("online")
	role := func(ids ...any) metadata.Object {
		return metadata.Object{"keyids": ids, "threshold": int64(len(ids))}
	}
	sign := func(signed metadata.Object) []byte {
		doc, err := metadata.New(signed, nil)
		for name, id := range map[string]string{"alice": alice, "bob": bob} {
			if err == nil {
				doc, err = doc.WithSignature(id, w.signature(name, doc.Payload()))
			}
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return doc.Bytes()
	}
	root := sign(metadata.Object{
		"_type": "root", "spec_version": "1.0.31", "version": int64(1), "expires": "2026-12-01T00:00:00Z", "consistent_snapshot": true,
		"keys":  metadata.Object{alice: aliceObject, bob: bobObject, online: onlineObject},
		"roles": metadata.Object{"root": role(alice, bob), "targets": role(alice, bob), "timestamp": role(online), "snapshot": role(online)},
	})
	targets := sign(metadata.Object{"_type": "targets", "spec_version": "1.0.31", "version": int64(4), "expires": "2026-12-01T00:00:00Z", "targets": metadata.Object{}})
	w.commitFiles("main", "another tool", map[string][]byte{
		"metadata/root.json": root, "metadata/root_history/1.root.json": root, "metadata/targets.json": targets,
	})
}

// filled is what import asks to fill in for a foreign repository, filled in.
func (w *world) filled(text string) string {
	w.t.Helper()
	for name, value := range map[string]string{"alice": "@alice", "bob": "@bob", "online": "file2:online.pem"} {
		id, _ := w.bare(name)
		text = strings.ReplaceAll(text, `"`+id+`": "UNDEFINED ONLINE_URI OR KEYOWNER"`, `"`+id+`": "`+value+`"`)
	}
	return strings.NewReplacer(`"x-tuf-on-ci-expiry-period": -1`, `"x-tuf-on-ci-expiry-period": 90`, `"x-tuf-on-ci-signing-period": -1`, `"x-tuf-on-ci-signing-period": 30`).Replace(text)
}

// A repository that another tool made.
func TestImport(t *testing.T) {
	w := established(t)
	w.foreign()
	a := w.refused(1, "alice", "", []string{"the metadata lacks values that only you know", "tufops-sign import sign/import FILE"}, "import", "sign/import", "--yes")
	if strings.Count(a.stdout, `"UNDEFINED ONLINE_URI OR KEYOWNER"`) != 3 || strings.Count(a.stdout, ": -1") != 4 {
		t.Errorf("to fill in:\n%s", a.stdout)
	}
	file := filepath.Join(t.TempDir(), "values.json")
	if err := os.WriteFile(file, []byte(w.filled(a.stdout)), 0o644); err != nil {
		t.Fatal(err)
	}
	w.ok("alice", "import", "sign/import", file)
	w.expectCommits("sign/import", "Repo import by @alice", "Signed by @alice")
	// The known-good root lists alice's key under its old keyid: she signed with both.
	w.expect("sign/import",
		"root v2 1/2 signed=@alice missing=@bob known=0/2",
		"targets v5 1/2 signed=@alice missing=@bob")
	old, _ := w.bare("alice")
	var ids []string
	for _, s := range w.document("sign/import", "root").Signatures() {
		if s.Sig != "" {
			ids = append(ids, s.KeyID)
		}
	}
	if len(ids) != 2 || ids[0] != w.keyObject("alice", "@alice").ID || ids[1] != old {
		t.Errorf("signed with %v", ids)
	}
	w.ok("bob", "sign", "sign/import")
	w.expect("sign/import",
		"root v2 2/2 signed=@alice,@bob known=0/2 complete",
		"targets v5 2/2 signed=@alice,@bob complete")
	w.merge("sign/import")
}

func TestTUFDirectory(t *testing.T) {
	w := newWorld(t)
	w.tufDir = "v2"
	w.person("alice")
	w.ok("alice", "init", "sign/init", "--online-key", "file2:online.pem")
	w.expect("sign/init", "root v1 1/1 signed=@alice complete", "targets v1 1/1 signed=@alice complete")
	w.merge("sign/init")
	if got := w.upstream.Run("ls-tree", "-r", "--name-only", "main"); got != "README\nv2/metadata/root.json\nv2/metadata/root_history/1.root.json\nv2/metadata/targets.json" {
		t.Errorf("files:\n%s", got)
	}
}

// A fork: read from one remote, push to another.
func TestFork(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	r := w.people["alice"]
	fork := filepath.Join(t.TempDir(), "fork.git")
	r.Run("clone", "--quiet", "--bare", w.upstream.Dir, fork)
	r.Run("remote", "add", "fork", fork)
	r.WriteFile(".tufops-sign.ini", r.ReadFile(".tufops-sign.ini")+"# my own\n")
	r.WriteFile(".tufops-sign.ini", strings.Replace(r.ReadFile(".tufops-sign.ini"), "push-remote = origin", "push-remote = fork", 1))
	before := w.upstream.Run("for-each-ref")
	a := w.ok("alice", "sign", "sign/x")
	if w.upstream.Run("for-each-ref") != before || !strings.Contains(a.stdout, "Open a pull request from fork to branch sign/x of origin.") {
		t.Errorf("stdout:\n%s", a.stdout)
	}
	if got := r.Run("ls-remote", fork, "refs/heads/sign/x"); !strings.HasPrefix(got, r.Run("rev-parse", "refs/remotes/fork/sign/x")) {
		t.Errorf("fork: %s", got)
	}
	// It is there already.
	if a := w.ok("alice", "sign", "sign/x"); !strings.Contains(a.stdout, "Nothing to do") {
		t.Errorf("again:\n%s", a.stdout)
	}
}

func sha256sum(data string) []byte {
	sum := sha256.Sum256([]byte(data))
	return sum[:]
}

// Who overrides a rule signs, and nothing else: the event stays as incomplete as
// it was.
func TestOverride(t *testing.T) {
	w := established(t)
	w.commitFiles("sign/x", "workflow", map[string][]byte{
		"metadata/targets.json": w.edited("main", "targets", func(s metadata.Object) { s["version"] = int64(2) }), ".github/workflows/x.yml": []byte("on: push\n"),
	})
	for _, c := range []struct {
		status      int
		words, rule string
	}{
		{2, `rule "foreign" is not one of the rules`, "foreign=x"},
		{2, `rule "foreign-change" is overridden without a reason`, "foreign-change"},
		{2, `rule "foreign-change" is overridden without a reason`, "foreign-change= "},
		{2, `rule "duplicate-public-key" cannot be overridden`, "duplicate-public-key=x"},
		{2, `rule "key-unused" keeps nobody from signing`, "key-unused=x"},
		{1, "foreign-change", "expired=another rule"},
	} {
		w.refused(c.status, "alice", "", []string{c.words}, "sign", "sign/x", "--yes", "--override", c.rule)
	}
	a := w.ok("alice", "sign", "sign/x", "--override", "foreign-change=the workflow was reviewed apart")
	w.says(a.stdout, "The event as a whole\n  error: ", "rule foreign-change", "You override foreign-change: the workflow was reviewed apart.", "Asked of @alice:\n  targets v2", "Signed targets v2 as @alice.")
	if strings.Contains(a.stdout, "is complete") || strings.Contains(a.stdout, ".tufops.yaml on main: the workflow") {
		t.Errorf("the override is taken for more than it is:\n%s", a.stdout)
	}
	// The commit says so, and of no rule that had no error.
	w.ok("bob", "sign", "sign/x", "--override", "foreign-change=so said\n\nalice", "--override", "expired=x")
	for rev, want := range map[string]string{
		"sign/x^": "Signature from @alice\n\nOverridden: foreign-change (the workflow was reviewed apart)\nSigned-off-by: Alice <alice@example.com>",
		"sign/x":  "Signature from @bob\n\nOverridden: foreign-change (so said alice)\nSigned-off-by: Bob <bob@example.com>",
	} {
		if got := w.upstream.Run("log", "-1", "--format=%B", rev); strings.TrimSpace(got) != want {
			t.Errorf("%s:\n%s", rev, got)
		}
	}
	// Who comes next sees it.
	a = w.run("alice", "", "review", "sign/x")
	w.says(strings.Join(strings.Fields(a.stdout), " "), "by Alice, says that they signed in spite of foreign-change: the workflow was reviewed apart. Nothing is decided by that",
		"by Bob, says that they signed in spite of foreign-change: so said alice.")
	if _, s := w.event("sign/x"); s.Complete || !s.Failed() || len(s.Roles[0].Signed) != 2 {
		t.Errorf("the event is complete %v, failed %v, signed %v", s.Complete, s.Failed(), s.Roles[0].Signed)
	}
}

// What differs in a text is shown, from the files whose digests are signed.
func TestReviewShowsText(t *testing.T) {
	w := established(t)
	list := func(version int64, files map[string]string) map[string][]byte {
		targets, commit := metadata.Object{}, map[string][]byte{}
		for name, data := range files {
			targets[name] = metadata.Object{"length": int64(len(data)), "hashes": metadata.Object{"sha256": hexOf(sha256sum(data))}}
			commit["targets/"+name] = []byte(data)
		}
		commit["metadata/targets.json"] = w.edited("main", "targets", func(s metadata.Object) { s["version"], s["targets"] = version, targets })
		return commit
	}
	w.commitFiles("sign/a", "one", list(2, map[string]string{"keys.txt": "one\ntwo\nthree\n", "binary": "\x00\x01"}))
	w.ok("alice", "sign", "sign/a")
	w.ok("bob", "sign", "sign/a")
	w.merge("sign/a")
	w.commitFiles("sign/b", "two", list(3, map[string]string{"keys.txt": "one\nzwei\x1b[2J\nthree\n", "binary": "\x00\x02", "long.txt": strings.Repeat("x\n", 100)}))
	a := w.ok2("alice", "review", "sign/b")
	for _, want := range []string{
		"      text\n        @@ -1,3 +1,3 @@\n         one\n        -two\n        +zwei\\x1b[2J\n         three\n",
		"        +x\n        ... and 41 lines more\n",
	} {
		if !strings.Contains(a.stdout, want) {
			t.Errorf("is not shown %q:\n%s", want, a.stdout)
		}
	}
	if n := strings.Count(a.stdout, "      text\n"); n != 2 {
		t.Errorf("%d texts are shown:\n%s", n, a.stdout)
	}
}
