//go:build cgo && linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/vpcd"
)

// TestKeysRealDaemon runs the program as people do, beside the daemon that people
// run: from a token as it leaves the factory to a key with an attestation.
func TestKeysRealDaemon(t *testing.T) {
	if err := vpcd.Missing(); err != nil {
		if os.Getenv("TUFOPS_REQUIRE_PCSCD") != "" {
			t.Fatalf("%v (TUFOPS_REQUIRE_PCSCD is set)", err)
		}
		t.Skip(err)
	}
	d, err := vpcd.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := card.New(card.Config{Serial: 12345678})
	if err == nil {
		err = d.Insert(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := requireProgram(t)
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"keys"}, args...)...)
		cmd.Env = append(os.Environ(), append(d.Environ(), "TUFOPS_NEW_PIN=7777777", "TUFOPS_NEW_PUK=88888888")...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	// The daemon looks for cards a few times a second.
	const patience = 20 * time.Second
	for end := time.Now().Add(patience); ; {
		out, err := run("list")
		if err == nil && strings.Contains(out, "YubiKey 12345678 (firmware 5.7.1") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the token is not seen: %v\n%s\n%s", err, out, d.Output())
		}
	}
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--yes"}, "YubiKey 12345678 has a new key in slot 9c\n  ECDSA P-256, sha256 "},
		{[]string{"list"}, "PIN always, touch always\n  PIN      tries left: 3\n"},
		{[]string{"attest"}, "-----BEGIN CERTIFICATE-----"},
	} {
		if out, err := run(step.args...); err != nil || !strings.Contains(out, step.want) {
			t.Errorf("keys %s: %v\n%s", step.args, err, out)
		}
	}
	if pin, _, management := c.Secrets(); pin != "7777777" || management[0] == 1 && management[1] == 2 || c.PublicKey(card.SlotSignature) == nil {
		t.Errorf("the card has PIN %s and management key %x", pin, management)
	}
}
