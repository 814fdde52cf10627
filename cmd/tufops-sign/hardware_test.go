package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/signer/signertest"
)

// token puts somebody's key into a device and plugs that in. Their configuration
// names no key: what is plugged in is looked at.
func (w *world) token(name, serial string) {
	w.t.Helper()
	data, err := os.ReadFile(w.key(name))
	if err != nil {
		w.t.Fatal(err)
	}
	signertest.Set(w.t, w.devices, serial, "key.pem", string(data))
	w.people[name].WriteFile(".tufops-sign.ini", "[settings]\nuser-name = "+name+"\npull-remote = origin\npush-remote = origin\n")
}

// unplug takes a device away.
func (w *world) unplug(serial string) {
	w.t.Helper()
	if err := os.Rename(filepath.Join(w.devices, serial), filepath.Join(w.keys, serial)); err != nil {
		w.t.Fatal(err)
	}
}

// did asserts what a device has done since it was asked last.
func (w *world) did(serial, want string) {
	w.t.Helper()
	if got := signertest.Log(w.t, w.devices, serial); got != want {
		w.t.Errorf("device %s did %q, want %q", serial, got, want)
	}
}

// says asserts what a command said, in this order, wherever its lines break.
func (w *world) says(text string, want ...string) {
	w.t.Helper()
	flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	rest := flat(text)
	for _, words := range want {
		_, after, ok := strings.Cut(rest, flat(words))
		if !ok {
			w.t.Errorf("does not say %q (in this order):\n%s", words, text)
			return
		}
		rest = after
	}
}

// targetsEvent starts an event in which targets v2 is asked of alice and bob, and
// bob has signed it.
func (w *world) targetsEvent(event string) {
	w.t.Helper()
	if w.upstream.Head("main") == template.main && w.upstream.Head(event) == "" {
		w.upstream.Run("update-ref", "refs/heads/"+event, template.event) // which was made once
		return
	}
	w.ok("bob", "delegate", event, "targets", "--expiry-days", "80")
}

func TestTokenSigns(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	// Root and targets are asked in one run: one PIN, and a touch for each.
	w.ok("bob", "delegate", "sign/x", "root", "--expiry-days", "300")
	w.targetsEvent("sign/x")
	a := w.run("alice", "yes\n123456\n", "sign", "sign/x")
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.says(a.stderr, "Sign root v2 and targets v2 with YubiKey 11111111 and push it to origin sign/x? (yes/no) [no]: ",
		"PIN of YubiKey 11111111 (3 tries left): ", "touch YubiKey 11111111 now", "touch YubiKey 11111111 now")
	if strings.Count(a.stderr, "PIN of") != 1 {
		t.Errorf("asked for the PIN more than once:\n%s", a.stderr)
	}
	w.did("11111111", "pin, signed, pin, signed")
	w.expect("sign/x", "root v2 2/2 signed=@alice,@bob known=2/2 complete", "targets v2 2/2 signed=@alice,@bob complete")
}

func TestWrongPIN(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	w.targetsEvent("sign/x")
	// Too short is not even sent; then a wrong one, then the right one.
	a := w.run("alice", "yes\n1234\n654321\n123456\n", "sign", "sign/x")
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.says(a.stderr, "(3 tries left): ", "not a PIN of YubiKey 11111111 (it has 6 to 8 characters), 3 tries left",
		"(3 tries left): ", "wrong PIN for YubiKey 11111111, 2 tries left", "(2 tries left): ")
	w.did("11111111", "wrong pin, pin, signed")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")

	// Nobody answers: one try, and no more.
	w.targetsEvent("sign/y")
	for name, run := range map[string]func() answer{
		"piped": func() answer {
			return w.refused(1, "alice", "yes\n654321\n", []string{"2 tries left", "a question was not answered"}, "sign", "sign/y")
		},
		"TUFOPS_PIN": func() answer {
			w.env["TUFOPS_PIN"] = "654321"
			defer delete(w.env, "TUFOPS_PIN")
			return w.refused(1, "alice", "yes\n", []string{"wrong PIN for YubiKey 11111111, 2 tries left", "hint: look the PIN up"}, "sign", "sign/y")
		},
		"no PIN": func() answer {
			return w.refused(1, "alice", "yes\n\n", []string{"error: sign targets v2 with keyid", "no PIN was given", "hint: run the same command again"}, "sign", "sign/y")
		},
	} {
		signertest.Set(t, w.devices, "11111111", "tries", "3")
		run()
		want := "wrong pin"
		if name == "no PIN" {
			want = ""
		}
		w.did("11111111", want)
	}
	// The last try blocks it: no more questions, and what to do.
	signertest.Set(t, w.devices, "11111111", "tries", "1")
	w.refused(1, "alice", "yes\n654321\n123456\n", []string{"(1 try left, then it is blocked)", "the PIN of YubiKey 11111111 is blocked", "hint: set a new PIN with the PUK", "nothing was committed or pushed"}, "sign", "sign/y")
	w.did("11111111", "wrong pin")
	a = w.refused(1, "alice", "yes\n123456\n", []string{"is blocked"}, "sign", "sign/y")
	if strings.Contains(a.stderr, "PIN of YubiKey 11111111 (") {
		t.Errorf("asks for a PIN that is blocked:\n%s", a.stderr)
	}
	w.did("11111111", "")
}

func TestTokenTrouble(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	w.targetsEvent("sign/x")
	for accident, words := range map[string][]string{
		"no touch": {"YubiKey 11111111 saw no touch", "hint: run the same command again, and touch the metal of the device while it blinks"},
		"busy":     {"YubiKey 11111111 is in use by another program: sharing violation", "hint: close what else uses it"},
		"lost":     {"YubiKey 11111111 was removed", "insert it again, or end with Ctrl-C", "was not inserted again", "hint: insert it and run"},
	} {
		signertest.Set(t, w.devices, "11111111", "accident", accident)
		w.refused(1, "alice", "yes\n123456\n", words, "sign", "sign/x")
		if accident == "lost" {
			if err := os.Rename(filepath.Join(w.devices, ".drawer", "11111111"), filepath.Join(w.devices, "11111111")); err != nil {
				t.Fatal(err)
			}
			os.Remove(filepath.Join(w.devices, "11111111", "lost"))
		}
	}
	signertest.Log(t, w.devices, "11111111")
	signertest.Set(t, w.devices, "11111111", "accident", "pulled")
	a := w.run("alice", "yes\n123456\n123456\n", "sign", "sign/x")
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.says(a.stderr, "PIN of", "YubiKey 11111111 was removed: insert it again", "PIN of", "touch")
	w.did("11111111", "pin, pin, signed")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// The right one of several tokens signs, and where none is right nobody is asked
// for a PIN.
func TestTokensAreMatchedBeforeThePIN(t *testing.T) {
	w := established(t)
	w.token("alice", "22222222")
	signertest.Insert(t, w.devices, "11111111")
	signertest.Set(t, w.devices, "33333333", "pin", "an empty slot")
	w.targetsEvent("sign/x")
	alice := w.keyObject("alice", "@alice")
	wanted := "keyid " + alice.ID + " of role targets"

	w.refused(1, "alice", "yes\n123456\n", []string{"not the right key: yubikey:11111111 is YubiKey 11111111; wanted of @alice: " + wanted, "hint: insert the token that holds it", "no PIN was asked for"},
		"sign", "sign/x", "--key", "yubikey:11111111")
	w.refused(1, "alice", "yes\n123456\n", []string{"not the right key: no token is inserted that yubikey:44444444 names"}, "sign", "sign/x", "--key", "yubikey:44444444")
	w.unplug("22222222")
	a := w.refused(1, "alice", "\n", []string{"yubikey is YubiKey 11111111 and YubiKey 33333333 (its slot 9c is empty)", "Insert the token with " + wanted}, "sign", "sign/x")
	if strings.Contains(a.stderr, "PIN of") {
		t.Errorf("asks for a PIN:\n%s", a.stderr)
	}
	for _, serial := range []string{"11111111", "33333333"} {
		w.did(serial, "")
	}

	// What an attestation in keys/ says helps to find it.
	w.commitFiles("sign/x", "attestation", map[string][]byte{"keys/" + alice.Fingerprint() + "/key_cert.pem": attestation(t, 22222222)})
	w.refused(1, "alice", "\n", []string{wanted + " (on YubiKey 22222222, as keys/ says)"}, "sign", "sign/x")

	if err := os.Rename(filepath.Join(w.keys, "22222222"), filepath.Join(w.devices, "22222222")); err != nil {
		t.Fatal(err)
	}
	if a := w.run("alice", "yes\n123456\n", "sign", "sign/x"); a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.did("22222222", "pin, signed")
	w.did("11111111", "")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// The token is inserted when the program says which one is missing.
func TestTokenInsertedWhenAsked(t *testing.T) {
	w := established(t)
	w.token("alice", "22222222")
	signertest.Insert(t, w.devices, "11111111")
	w.targetsEvent("sign/x")
	w.unplug("22222222")
	inserted := &onRead{text: "yubikey\nyes\n123456\n", first: func() {
		if err := os.Rename(filepath.Join(w.keys, "22222222"), filepath.Join(w.devices, "22222222")); err != nil {
			t.Error(err)
		}
	}}
	if a := w.runReader(t.Context(), "alice", inserted, "sign", "sign/x"); a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.did("22222222", "pin, signed")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// onRead calls first before it is read for the first time.
type onRead struct {
	text  string
	first func()
}

func (r *onRead) Read(p []byte) (int, error) {
	if r.first != nil {
		r.first()
		r.first = nil
	}
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	return n, nil
}

// Without anybody at the terminal a YubiKey signs only what was agreed to.
func TestTokenWithoutQuestions(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	w.targetsEvent("sign/x")
	w.env["TUFOPS_PIN"] = "123456"
	sum := sha256.Sum256(w.document("sign/x", "targets").Payload())
	digest := hex.EncodeToString(sum[:])
	w.refused(1, "alice", "", []string{"with --yes a YubiKey signs only what was expected", "--expect-sha256 " + digest}, "sign", "sign/x", "--yes")
	w.refused(1, "alice", "", []string{"not among those given with --expect-sha256"}, "sign", "sign/x", "--yes", "--expect-sha256", strings.Repeat("0", 64))
	w.did("11111111", "")
	delete(w.env, "TUFOPS_PIN")
	w.refused(1, "alice", "", []string{"YubiKey 11111111 needs its PIN", "hint: set TUFOPS_PIN"}, "sign", "sign/x", "--yes", "--expect-sha256", digest)
	w.env["TUFOPS_PIN"] = "123456"
	w.ok("alice", "sign", "sign/x", "--expect-sha256", digest)
	w.did("11111111", "pin, signed")
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}

// An invitation is accepted with the token that is inserted; of two, with the one
// that is named.
func TestInvitationWithToken(t *testing.T) {
	w := established(t)
	carol := w.upstream.Clone("carol")
	w.people["carol"] = carol
	carol.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = carol\n")
	w.ok("alice", "delegate", "sign/carol", "root", "--signers", "alice,bob,carol")
	w.refused(1, "carol", "\n", []string{"no token is inserted that yubikey names", "hint: insert your token"}, "sign", "sign/carol")
	key := signertest.Insert(t, w.devices, "55555555")
	signertest.Insert(t, w.devices, "66666666")
	w.refused(1, "carol", "\n", []string{"yubikey is more than one key: YubiKey 55555555 and YubiKey 66666666", "--key yubikey:55555555"}, "sign", "sign/carol")
	if a := w.run("carol", "yes\n123456\n", "sign", "sign/carol", "--key", "yubikey:55555555"); a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	w.expect("sign/carol", "root v2 1/2 signed=@carol missing=@alice,@bob known=0/2")
	object, err := metadata.NewKey(key.Public(), "@carol", "")
	if err != nil {
		t.Fatal(err)
	}
	if w.document("sign/carol", "root").Delegations().Keys[object.ID] == nil {
		t.Errorf("root does not list the key of the token")
	}
	w.did("66666666", "")
}

// attestation is a certificate that names a device, as a YubiKey's does.
func attestation(t *testing.T, serial int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal(serial)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "YubiKey PIV Attestation 9c"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, 7}, Value: value}},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A new token takes the place of an old one: the new key signs for the root to
// come and the old one for the root that knows it, in one run.
func TestReplaceOwnKey(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	key := signertest.Insert(t, w.devices, "22222222")
	object, err := metadata.NewKey(key.Public(), "@alice", "")
	if err != nil {
		t.Fatal(err)
	}
	old := w.keyObject("alice", "@alice")
	// Which of the two is new is seen from the role.
	a := w.run("alice", "\n\n\n\n\nyes\n123456\n123456\n", "delegate", "sign/token", "root", "--replace-key")
	if a.status != 0 {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	root := w.document("sign/token", "root")
	d, _ := root.Delegation("root")
	if d.Keys[object.ID] == nil || strings.Contains(strings.Join(d.KeyIDs, " "), old.ID) || len(d.KeyIDs) != 2 || d.Threshold != 2 {
		t.Errorf("root is signed by %d of %v", d.Threshold, d.KeyIDs)
	}
	w.did("11111111", "pin, signed")
	w.did("22222222", "pin, signed")
	w.expect("sign/token", "root v2 1/2 signed=@alice missing=@bob known=1/2")
	w.ok("bob", "sign", "sign/token")
	w.expect("sign/token", "root v2 2/2 signed=@alice,@bob known=2/2 complete")
	w.merge("sign/token")
	w.refused(1, "alice", "", []string{"yubikey:22222222 is YubiKey 22222222: role root lists that key already"}, "delegate", "sign/again", "root", "--replace-key", "--yes", "--key", "yubikey:22222222")
	w.people["bob"].WriteFile(".tufops-sign.ini", "[settings]\nuser-name = carol\nkey = yubikey\n")
	w.refused(2, "bob", "", []string{"role root lists no key of @carol that could be replaced"}, "delegate", "sign/carol", "root", "--replace-key", "--yes")
}

// Who is asked to sign again does, though a signature is there.
func TestSignAgain(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	w.ok("alice", "sign", "sign/x")
	first := w.document("sign/x", "targets").Signatures()
	if a := w.ok("alice", "sign", "sign/x"); !strings.Contains(a.stdout, "Nothing to do") {
		t.Errorf("signed again without being asked:\n%s", a.stdout)
	}
	w.ok("alice", "sign", "sign/x", "--again")
	again := w.document("sign/x", "targets").Signatures()
	if len(again) != len(first) {
		t.Fatalf("signatures: %v, before %v", again, first)
	}
	for i := range again {
		if own := again[i].KeyID == w.keyObject("alice", "@alice").ID; own == (again[i].Sig == first[i].Sig) || again[i].KeyID != first[i].KeyID {
			t.Errorf("signature %d: %v, before %v", i, again[i], first[i])
		}
	}
	w.expect("sign/x", "targets v2 2/2 signed=@alice,@bob complete")
}
