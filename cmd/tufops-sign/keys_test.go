//go:build cgo && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/yubikey"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
	"github.com/tufops/tufops/schema/schematest"
)

// daemon is the one that this process sees, from its first use of smart cards on:
// libpcsclite remembers it.
var daemon *pcscd.Daemon

func TestKeys(t *testing.T) {
	var err error
	if daemon, err = pcscd.Start(); err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	t.Setenv(pcscd.Variable, daemon.Socket())
	t.Run("generate", testKeysGenerate)
	t.Run("generate by machine", testKeysGenerateByMachine)
	t.Run("attest", testKeysAttest)
	t.Run("list", testKeysList)
}

// insert plugs a virtual token in until the test ends.
func insert(t *testing.T, config card.Config) *card.Card {
	t.Helper()
	c, err := card.New(config)
	if err == nil {
		err = daemon.Insert(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Unplug(c) })
	return c
}

// keys runs tufops-sign keys with answers on stdin.
func keys(t *testing.T, stdin string, env map[string]string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(context.Background(), cli.Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}, append([]string{"tufops-sign", "keys"}, args...))
	return answer{status, out.String(), errs.String()}
}

// says asserts the status and words of an answer.
func says(t *testing.T, a answer, status int, stdout, stderr []string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d\n%s%s", a.status, status, a.stdout, a.stderr)
	}
	for _, want := range stdout {
		if !strings.Contains(a.stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, a.stdout)
		}
	}
	for _, want := range stderr {
		if !strings.Contains(a.stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, a.stderr)
		}
	}
}

// testKeysGenerate: from an unopened token to a key, with answers.
func testKeysGenerate(t *testing.T) {
	says(t, keys(t, "", nil, "list"), 0, []string{"no YubiKey is inserted\n"}, nil)
	says(t, keys(t, "", nil, "generate"), 1, nil, []string{"error: no YubiKey is inserted", "hint: insert it"})

	c := insert(t, card.Config{Serial: 501, FormFactor: 2})
	says(t, keys(t, "", nil, "list"), 0, []string{
		"YubiKey 501 (firmware 5.7.1, USB-A nano)\n  slot 9c  empty\n  PIN      tries left: 3\n  factory  still has the factory's: PIN, PUK, management key\n",
	}, nil)
	says(t, keys(t, "", nil, "attest"), 1, nil, []string{"YubiKey 501: slot 9c holds no key", "hint: see what the tokens hold"})
	// Nothing is asked, so nothing can be set.
	says(t, keys(t, "", nil, "generate", "--yes"), 1, nil, []string{"error: PIN of YubiKey 501: it is still the factory's", "hint: choose a new one of six to eight characters: --new-pin"})
	says(t, keys(t, "", nil, "generate"), 1, nil, []string{"a question was not answered"})
	// A slip is forgiven; two that differ for good are not.
	says(t, keys(t, "1\n2\n1\n2\n1\n2\n", nil, "generate"), 1, nil, []string{"the two differ", "not given alike"})
	a := keys(t, "7777777\n7777771\n7777777\n7777777\n88888888\n88888888\n", nil, "generate")
	says(t, a, 0, []string{"YubiKey 501 has a new key in slot 9c\n  ECDSA P-256, sha256 ", "tufops-sign setup --key yubikey:501\n"},
		[]string{"New PIN of YubiKey 501, six to eight characters; you type it for each signature: \n", "New PUK of YubiKey 501, six to eight characters; it sets a new PIN"})
	if strings.Contains(a.stdout+a.stderr, "7777777") || strings.Contains(a.stdout+a.stderr, "88888888") {
		t.Errorf("a secret is shown:\n%s%s", a.stdout, a.stderr)
	}
	pin, puk, management := c.Secrets()
	if pin != "7777777" || puk != "88888888" || bytes.HasPrefix(management, []byte{1, 2, 3}) {
		t.Errorf("secrets %s, %s, %x", pin, puk, management)
	}
	says(t, keys(t, "", nil, "list"), 0, []string{"ECDSA P-256, sha256 ", "PIN always, touch always\n"}, nil)
	if a := keys(t, "", nil, "list"); strings.Contains(a.stdout, "factory") {
		t.Errorf("something is still the factory's:\n%s", a.stdout)
	}

	// The key is not lost without its serial.
	before := c.PublicKey(card.SlotSignature)
	for _, test := range []struct {
		stdin  string
		status int
		stderr string
		args   []string
	}{
		{"\n", 1, "Type its serial to give it up", nil},
		{"yes\n", 1, "which would be lost for good", nil},
		{"502\n", 1, "hint: use another token, or give it up: --overwrite 501", nil},
		{"", 1, "which would be lost for good", []string{"--yes", "--pin", "7777777"}},
		{"", 2, "--overwrite 502 names another token than YubiKey 501", []string{"--overwrite", "502"}},
		{"", 2, "--overwrite is the number on a token", []string{"--overwrite", "yes"}},
		{"501\n000000\n", 1, "wrong PIN for YubiKey 501, 2 tries left", nil},
		{"501\n12\n", 1, "PIN of YubiKey 501: it has 2 characters", nil},
		{"", 1, "PIN of YubiKey 501: it is needed and was not given", []string{"--yes", "--overwrite", "501"}},
	} {
		says(t, keys(t, test.stdin, nil, append([]string{"generate"}, test.args...)...), test.status, nil, []string{test.stderr})
		if !before.Equal(c.PublicKey(card.SlotSignature)) {
			t.Fatalf("%q: the key is lost", test.stdin)
		}
	}
	says(t, keys(t, "501\n7777777\n", nil, "generate", "--p384"), 0, []string{"ECDSA P-384"}, []string{"PIN of YubiKey 501 (tries left: 2)"})
	if before.Equal(c.PublicKey(card.SlotSignature)) {
		t.Error("the key is the old one")
	}
	says(t, keys(t, "", map[string]string{"TUFOPS_PIN": "7777777"}, "generate", "--yes", "--overwrite", "501"), 0, []string{"ECDSA P-256"}, nil)
}

// testKeysGenerateByMachine: no question is needed.
func testKeysGenerateByMachine(t *testing.T) {
	c := insert(t, card.Config{Serial: 511, Firmware: card.Firmware543})
	says(t, keys(t, "", map[string]string{"TUFOPS_NEW_PIN": "7777777", "TUFOPS_NEW_PUK": "88888888"}, "generate", "--yes"), 0, []string{"YubiKey 511 has a new key"}, nil)
	if pin, puk, _ := c.Secrets(); pin != "7777777" || puk != "88888888" {
		t.Errorf("secrets %s, %s", pin, puk)
	}
	// A management key of the owner's own is asked for, or given.
	d := insert(t, card.Config{Serial: 512})
	yubikeytest.Own(d)
	hex := fmt.Sprintf("%x", yubikeytest.ManagementKey)
	says(t, keys(t, "", nil, "generate", "--yes", "--serial", "512", "--pin", yubikeytest.PIN), 1, nil, []string{"management key of YubiKey 512: it is neither", "hint: name it in hex: --management-key"})
	says(t, keys(t, "", nil, "generate", "--serial", "512", "--management-key", "xyz"), 2, nil, []string{"not in hex"})
	says(t, keys(t, yubikeytest.PIN+"\n"+hex+"\n", nil, "generate", "--serial", "512"), 0, []string{"YubiKey 512 has a new key"}, []string{"Management key of YubiKey 512, in hex"})
	says(t, keys(t, "", nil, "generate", "--yes", "--serial", "512", "--overwrite", "512", "--pin", yubikeytest.PIN, "--management-key", hex), 0, []string{"YubiKey 512 has a new key"}, nil)

	// Which of the two has to be said.
	says(t, keys(t, "", nil, "generate", "--yes"), 2, nil, []string{"there are several tokens (511, 512)", "--serial"})
	says(t, keys(t, "513\n", nil, "generate"), 1, nil, []string{"Which token? There are 511, 512", `"513" is none of the tokens`})
	says(t, keys(t, "", nil, "generate", "--serial", "513"), 1, nil, []string{"YubiKey 513 is not inserted", "hint: insert it, or name one that is: tufops-sign keys list"})
	says(t, keys(t, "", nil, "generate", "--serial", "x"), 2, nil, []string{"--serial is the number on a token"})
	says(t, keys(t, "511\n\n", nil, "generate"), 1, nil, []string{"YubiKey 511 holds a key in slot 9c"})
}

func testKeysAttest(t *testing.T) {
	ca, err := card.NewCA(1)
	if err != nil {
		t.Fatal(err)
	}
	c := insert(t, card.Config{Serial: 521, Firmware: card.Firmware543, CA: ca})
	if err := c.SetKey(card.SlotSignature, big.NewInt(521)); err != nil {
		t.Fatal(err)
	}
	key, device, err := c.Attestation(card.SlotSignature)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, []byte(encode(ca.Root.Raw)+encode(ca.Intermediates[0].Raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := keys(t, "", nil, "attest")
	says(t, a, 0, []string{encode(device.Raw)}, []string{"warning: the attestation does not hold: the certificate of the device is not of a maker who is trusted"})
	if n := strings.Count(a.stdout, "BEGIN CERTIFICATE"); n != 2 {
		t.Errorf("%d certificates", n)
	}
	out := filepath.Join(dir, "out")
	says(t, keys(t, "", nil, "attest", "--roots", roots, "--output", out), 0, nil,
		[]string{"the attestation holds: YubiKey 521 (firmware 5.4.3, USB-A keychain), slot 9c, PIN always, touch always\n", "note: with firmware before 5.7"})
	data, err := os.ReadFile(filepath.Join(out, "device_cert.pem"))
	if err != nil || string(data) != encode(device.Raw) {
		t.Errorf("%s, %v", data, err)
	}
	data, err = os.ReadFile(filepath.Join(out, "key_cert.pem"))
	block, _ := pem.Decode(data)
	if err != nil || block == nil || !bytes.Contains(block.Bytes, key.RawSubjectPublicKeyInfo) {
		t.Errorf("%s, %v", data, err)
	}
	says(t, keys(t, "", nil, "attest", "--output", out), 1, nil, []string{"is there already", "hint: name another folder"})
	says(t, keys(t, "", nil, "attest", "--roots", filepath.Join(dir, "none")), 1, nil, []string{"roots: "})
	says(t, keys(t, "", nil, "attest", "--roots", filepath.Join(out, "device_cert.pem")), 1, nil, []string{"a root is needed"})
}

// testKeysList: what is printed as JSON is what schema/ says, in all its fields, and
// what the tokens are.
func testKeysList(t *testing.T) {
	s := schematest.New(t, "keys-list", "serial", "form_factor", "key", "sha256", "problem", "firmware", "pin_tries", "factory")
	list := func() (l tokenList) {
		t.Helper()
		a := keys(t, "", nil, "list", "--format", "json")
		says(t, a, 0, nil, nil)
		s.Check(t, a.stdout)
		if err := json.Unmarshal([]byte(a.stdout), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := list(); l.Tokens == nil || len(l.Tokens) != 0 {
		t.Errorf("without a token: %+v", l)
	}
	insert(t, card.Config{Serial: 531, FormFactor: 2})
	c := insert(t, card.Config{Serial: 532, Firmware: card.Firmware543})
	yubikeytest.Own(c)
	if err := c.SetKey(card.SlotSignature, big.NewInt(532)); err != nil {
		t.Fatal(err)
	}
	held := insert(t, card.Config{Serial: 533})
	daemon.Hold(held, true)
	defer daemon.Hold(held, false)
	bySerial, problems := map[uint32]tokenJSON{}, 0
	for _, one := range list().Tokens {
		if one.Problem != "" {
			problems++
			continue
		}
		bySerial[one.Serial] = one
	}
	k, err := metadata.NewKey(c.PublicKey(card.SlotSignature), "", "")
	if err != nil {
		t.Fatal(err)
	}
	three := 3
	if one, want := bySerial[531], (tokenJSON{
		Name: "YubiKey 531", Serial: 531, Firmware: "5.7.1", FormFactor: "USB-A nano", PINTries: &three, Factory: &factoryJSON{yubikey.Yes, yubikey.Yes, yubikey.Yes},
	}); !reflect.DeepEqual(one, want) {
		t.Errorf("%+v, want %+v", one, want)
	}
	if one, want := bySerial[532].Key, (&keyJSON{Kind: "ECDSA P-256", SHA256: k.Fingerprint(), PIN: "always", Touch: "always"}); !reflect.DeepEqual(one, want) {
		t.Errorf("%+v, want %+v", one, want)
	}
	if f := bySerial[532].Factory; f == nil || f.PIN != yubikey.No || f.ManagementKey != yubikey.No {
		t.Errorf("%+v", f)
	}
	if problems != 1 || len(bySerial) != 2 {
		t.Errorf("%d tokens and %d problems", len(bySerial), problems)
	}
	says(t, keys(t, "", nil, "list", "--format", "yaml"), 2, nil, []string{`--format is text or json, not "yaml"`})
	s.Done(t)
}
