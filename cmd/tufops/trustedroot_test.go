package main

import (
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// trustDir is a checkout that holds trust material; the clock stands at 2030.
type trustDir struct {
	t   *testing.T
	dir string
}

func newTrustDir(t *testing.T) trustDir {
	t.Helper()
	d := trustDir{t, t.TempDir()}
	d.write("targets/trusted_root.json", trustroottest.Bytes(trustroottest.Root()))
	d.write("targets/signing_config.v0.2.json", trustroottest.Bytes(trustroottest.Config()))
	return d
}

func (d trustDir) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

func (d trustDir) write(name string, data []byte) string {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), data, 0o644); err != nil {
		d.t.Fatal(err)
	}
	return d.path(name)
}

func (d trustDir) read(name string) string {
	d.t.Helper()
	data, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(data)
}

// run runs a command with a status, and with words that it must print.
func (d trustDir) run(status int, words []string, args ...string) string {
	d.t.Helper()
	got, stdout, stderr := program(d.t, append([]string{"-C", d.dir}, args...)...)
	if got != status {
		d.t.Errorf("tufops %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stdout+stderr, word) {
			d.t.Errorf("tufops %s: lacks %q:\n%s%s", strings.Join(args, " "), word, stdout, stderr)
		}
	}
	return stdout
}

func TestTrustedRootRead(t *testing.T) {
	d := newTrustDir(t)
	root := d.read("targets/trusted_root.json")
	shown := d.run(0, []string{"CT log https://ctfe.example.test/2025", "the C2SP key id of its key and name", "2025-02-01 -> open, active now"}, "trusted-root", "show")
	if strings.Count(shown, "    window ") != 5 {
		t.Errorf("five entries have a window each:\n%s", shown)
	}
	d.run(0, []string{"signers choose a rekor service by ANY"}, "signing-config", "show")
	d.run(0, []string{"no error, 0 warnings"}, "trusted-root", "validate")
	d.run(0, []string{"no error, 0 warnings"}, "signing-config", "validate")

	bad := d.write("bad.json", []byte(strings.Replace(root, "2025-02-01T", "2025-02-01 ", 1)))
	for _, args := range [][]string{{"show", bad}, {"validate", bad}, {"diff", d.path("targets/trusted_root.json"), bad}} {
		d.run(1, []string{`certificateAuthorities[0].validFor.start is "2025-02-01 00:00:00Z", not a time`}, append([]string{"trusted-root"}, args...)...)
	}
	d.run(1, []string{"trusted-root/unreadable, certificateAuthorities[0].validFor.start, line 20", "has 1 error"}, "trusted-root", "validate", bad)

	// A change is judged with --before, and a file by the name it will have.
	fewer := trustroottest.Parse([]byte(root))
	fewer["tlogs"] = []any{trustroottest.At(fewer, "tlogs", 1)}
	less := d.write("less.json", trustroottest.Bytes(fewer))
	d.run(0, nil, "trusted-root", "validate", less)
	d.run(1, []string{"rule trusted-root/removed"}, "trusted-root", "validate", less, "--before", d.path("targets/trusted_root.json"))
	d.run(2, []string{"is not the name of a trusted root"}, "trusted-root", "validate", less, "--name", "signing_config.json")

	text := d.run(0, []string{"- REMOVED rekor log https://rekor.example.test", "everything that it has ever logged stops verifying"}, "trusted-root", "diff", d.path("targets/trusted_root.json"), less)
	if !strings.Contains(text, "= 4 entries unchanged") {
		t.Errorf("the difference is\n%s", text)
	}
	d.run(0, []string{"* **removed** rekor log"}, "trusted-root", "diff", "--format", "markdown", d.path("targets/trusted_root.json"), less)
	d.run(1, []string{"no such file"}, "trusted-root", "show", d.path("nothing.json"))
}

func TestTrustedRootEdit(t *testing.T) {
	d := newTrustDir(t)
	before := d.read("targets/trusted_root.json")
	shard := trustroottest.Shard(t, "https://log2030-1.rekor.example.test", "2030-01-01T00:00:00Z")
	key := d.write("log.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: trustroottest.At(shard, "publicKey")["rawBytes"].([]byte)}))
	var chain []byte
	for _, c := range trustroottest.Chain(t, trustroottest.Stamper, trustroottest.Anchor) {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	certs := d.write("chain.pem", chain)

	addLog := []string{"trusted-root", "add-log", "--kind", "rekor", "--url", "https://log2030-1.rekor.example.test", "--key", key, "--start", "2030-01-01"}
	d.run(0, []string{"+ ADDED rekor log https://log2030-1.rekor.example.test"}, append(addLog, "--dry-run")...)
	if d.read("targets/trusted_root.json") != before {
		t.Error("a dry run has written the file")
	}
	d.run(0, []string{
		"+ ADDED rekor log https://log2030-1.rekor.example.test", "Commit it with:",
		"git commit -m 'trusted_root.json: add rekor log https://log2030-1.rekor.example.test'",
	}, addLog...)
	added, err := trustroot.Parse(trustroot.TrustedRoot, []byte(d.read("targets/trusted_root.json")))
	if err != nil {
		t.Fatal(err)
	}
	e, err := added.Find("https://log2030-1.rekor.example.test")
	if want := trustroottest.At(shard, "logId")["keyId"].([]byte); err != nil || string(e.LogID) != string(want) {
		t.Errorf("the log ID is %s, want %s (%v)", base64.StdEncoding.EncodeToString(e.LogID), base64.StdEncoding.EncodeToString(want), err)
	}
	twice := d.read("targets/trusted_root.json")
	d.run(1, []string{"rule trusted-root/duplicate", "nothing was written"}, addLog...)
	d.run(1, []string{"trusted-root/chain-window", "nothing was written"}, "trusted-root", "add-tsa", "--url", "https://tsa.example.test/api", "--chain", certs, "--start", "2024-01-01")
	d.run(1, []string{"trusted-root/chain-usage", "nothing was written"}, "trusted-root", "add-ca", "--url", "https://ca.example.test", "--chain", certs, "--start", "2029-01-01")
	d.run(1, []string{"read the key in " + certs[:4]}, "trusted-root", "add-log", "--kind", "ct", "--url", "https://x.test", "--key", d.write("empty", nil), "--start", "now")
	d.run(1, []string{`no entry has the URL or sha256 "https://nobody.test"`}, "trusted-root", "close", "https://nobody.test", "--end", "2031-01-01")
	d.run(2, []string{"--end is a time like"}, "trusted-root", "close", "https://rekor.example.test", "--end", "tomorrow")
	if d.read("targets/trusted_root.json") != twice {
		t.Error("a refused edit has written the file")
	}
	d.run(0, []string{"+ ADDED timestamp authority https://tsa.example.test/api"}, "trusted-root", "add-tsa", "--url", "https://tsa.example.test/api", "--chain", certs, "--start", "2029-01-01")

	// Closing names the neighbour that goes on using the log, and a second time
	// changes nothing.
	closeLog := []string{"trusted-root", "close", "https://rekor.example.test", "--end", "2030-06-01"}
	d.run(0, []string{"closes in 151 days", "in signing_config.v0.2.json:", "rule signing-config/untimely"}, closeLog...)
	closed := d.read("targets/trusted_root.json")
	d.run(0, []string{"says that already"}, closeLog...)
	if d.read("targets/trusted_root.json") != closed {
		t.Error("closing twice has changed the file")
	}
	d.run(1, []string{"has 1 error"}, "signing-config", "validate")
	d.run(0, []string{"signers stop using it in 120 days"}, "signing-config", "close", "https://rekor.example.test", "--end", "2030-05-01")
	d.run(0, nil, "signing-config", "validate")
	add := []string{"signing-config", "add", "--kind", "rekor", "--api-version", "2", "--operator", "example", "--start", "2030-02-01", "--url"}
	d.run(0, []string{"+ ADDED rekor service https://log2030-1.rekor.example.test (API v2)"}, append(add, "https://log2030-1.rekor.example.test")...)
	d.run(1, []string{"rule signing-config/untrusted", "nothing was written"}, append(add, "https://log2030-1.rekor.example.com")...)
	d.run(0, nil, "signing-config", "validate")
	d.run(0, nil, "trusted-root", "validate")
}

// TestTrustEditsUndone: every command that edits has one that gives the same bytes
// back, also after the edit was committed; what main's clients trust is not
// removed.
func TestTrustEditsUndone(t *testing.T) {
	upstream := gittest.New(t)
	clone := upstream.Clone("clone")
	d := trustDir{t, clone.Dir}
	const root, config = "targets/trusted_root.json", "targets/signing_config.v0.2.json"
	d.write(root, trustroottest.Bytes(trustroottest.Root()))
	d.write(config, trustroottest.Bytes(trustroottest.Config()))
	clone.Commit("trust material")
	clone.Push("HEAD:main")
	clone.Run("fetch", "--quiet", "origin")
	const shard = "https://log2029-1.rekor.example.test"
	key := d.write("../log.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: trustroottest.At(trustroottest.Shard(t, shard, "2029-01-01T00:00:00Z"), "publicKey")["rawBytes"].([]byte)}))
	var chain []byte
	for _, c := range trustroottest.Chain(t, trustroottest.Stamper, trustroottest.Anchor) {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	certs := d.write("../chain.pem", chain)
	for _, test := range []struct {
		file string
		do   []string
		undo []string
	}{
		{root, []string{"trusted-root", "add-log", "--kind", "rekor", "--url", shard, "--key", key, "--start", "2029-01-01"}, []string{"trusted-root", "remove", shard}},
		{root, []string{"trusted-root", "add-tsa", "--url", "https://tsa.example.test/api", "--chain", certs, "--start", "2029-01-01"}, []string{"trusted-root", "remove", "https://tsa.example.test/api"}},
		{root, []string{"trusted-root", "close", "https://fulcio.example.test", "--end", "2030-06-01"}, []string{"trusted-root", "reopen", "https://fulcio.example.test"}},
		{config, []string{"signing-config", "add", "--kind", "rekor", "--operator", "example", "--url", "https://rekor.example.test", "--api-version", "2", "--start", "2030-02-01"}, nil},
		{config, []string{"signing-config", "close", "https://fulcio.example.test", "--end", "2030-06-01"}, []string{"signing-config", "reopen", "https://fulcio.example.test"}},
	} {
		before := d.read(test.file)
		d.run(0, []string{"Commit it with:"}, test.do...)
		if d.read(test.file) == before {
			t.Fatalf("%q has changed nothing", test.do)
		}
		clone.Commit("edited")
		if test.undo == nil { // two services of one URL: named by the sha256 that show prints
			doc, err := trustroot.Parse(trustroot.SigningConfig, []byte(d.read(config)))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(doc.Entries, func(e trustroot.Entry) bool { return e.Version == 2 && e.URL == "https://rekor.example.test" })
			test.undo = []string{"signing-config", "remove", doc.Entries[i].ID[:16]}
			d.run(1, []string{"is the name of 2 entries", doc.Entries[i].ID[:16]}, "signing-config", "remove", "https://rekor.example.test")
		}
		d.run(0, []string{"Commit it with:", "git commit -m '" + filepath.Base(test.file) + ": " + test.undo[1]}, test.undo...)
		if got := d.read(test.file); got != before {
			t.Errorf("after %q and %q the file is\n%s\nwant\n%s", test.do, test.undo, got, before)
		}
		clone.Commit("undone")
	}
	d.run(0, []string{"says that already"}, "trusted-root", "reopen", "https://fulcio.example.test")

	before := d.read(root)
	for _, args := range [][]string{nil, {"--before", d.write("../live.json", []byte(before))}} {
		d.run(1, []string{"rule trusted-root/removed", "nothing was written"}, append([]string{"trusted-root", "remove", "https://rekor.example.test"}, args...)...)
	}
	alone := trustDir{t, t.TempDir()} // where nobody can tell what is trusted
	alone.write(root, []byte(before))
	alone.run(1, []string{"rule trusted-root/removed", "nothing was written"}, "trusted-root", "remove", "https://rekor.example.test")
	if d.read(root) != before || alone.read(root) != before {
		t.Error("a refused edit has written the file")
	}
}

// TestValidateShowsProfile: where the commit's .tufops.yaml names a profile, each of
// its demands is shown, met or not, and changes nothing else.
func TestValidateShowsProfile(t *testing.T) {
	w := repositorytest.New(t)
	w.WriteFile("targets/trusted_root.json", string(trustroottest.Bytes(trustroottest.Root())))
	w.Commit("no profile")
	d := trustDir{t, w.Dir}
	before := d.run(0, []string{"no error"}, "trusted-root", "validate")
	w.WriteFile(repository.PolicyFile, "profile: sigstore-public-good\n")
	w.Commit("a profile")
	after := d.run(0, []string{"no error"}, "trusted-root", "validate")
	for _, want := range []string{"root has 2 distinct keys; five are asked for", "a timestamp lives", "nobody can tell here whether the keys of root live in attested devices"} {
		if strings.Contains(before, want) || !strings.Contains(after, want) {
			t.Errorf("%q is missing with the profile, or there without it:\n%s", want, after)
		}
	}
}
