//go:build cgo && linux

package yubikey

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
)

// TestYubicoPIVTool has Yubico's own program use a virtual token. It knows
// nothing of ours, so what it understands is not just what we believe.
func TestYubicoPIVTool(t *testing.T) {
	ours(t)
	const program = "yubico-piv-tool"
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("TUFOPS_REQUIRE_PCSCD") != "" {
			t.Fatalf("%v (TUFOPS_REQUIRE_PCSCD is set)", err)
		}
		t.Skipf("%v: install it with: apt-get install yubico-piv-tool", err)
	}
	run := func(args ...string) (stdout, stderr string, err error) {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--reader="}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = cmd.Run()
		return out.String(), errs.String(), err
	}
	for _, firmware := range []card.Firmware{card.Firmware543, card.Firmware571} {
		t.Run(firmware.String(), func(t *testing.T) {
			w := &world{T: t, firmware: firmware}
			c := w.ready(601)
			out, errs, err := run("--action=status")
			if err != nil || !strings.Contains(out, "Version:\t"+firmware.String()+"\n") || !strings.Contains(out, "Serial Number:\t601\n") || !strings.Contains(out, "PIN tries left:\t3\n") {
				t.Errorf("status: %v\n%s%s", err, out, errs)
			}
			if out, errs, err := run("--action=verify-pin", "--pin=000000"); err == nil {
				t.Errorf("a wrong PIN is right:\n%s%s", out, errs)
			}
			if pin, _ := c.Tries(); pin != 2 {
				t.Errorf("%d tries after a wrong PIN", pin)
			}
			if out, errs, err := run("--action=verify-pin", "--pin="+yubikeytest.PIN); err != nil {
				t.Errorf("verify-pin: %v\n%s%s", err, out, errs)
			}
			out, errs, err = run("--action=attest", "--slot=9c")
			key := certificate(t, out)
			if err != nil || key == nil {
				t.Fatalf("attest: %v\n%s%s", err, out, errs)
			}
			out, errs, err = run("--action=read-certificate", "--slot=f9")
			device := certificate(t, out)
			if err != nil || device == nil {
				t.Fatalf("read-certificate: %v\n%s%s", err, out, errs)
			}
			// Go's own verifier builds the chain, not ours.
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(maker.Root)
			for _, cert := range append(maker.Intermediates, device) {
				between.AddCert(cert)
			}
			options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
			if chains, err := key.Verify(options); err != nil || len(chains) != 1 || len(chains[0]) != 4 {
				t.Errorf("%d chains, %v", len(chains), err)
			}
			if !samePublic(c.PublicKey(card.SlotSignature), key.PublicKey) {
				t.Error("it attests another key")
			}
			// A key that it makes is one that we see. Version 2.2 knows no management
			// keys of AES, which 5.7 has.
			if firmware == card.Firmware571 {
				return
			}
			out, errs, err = run("--action=generate", "--slot=9c", "--algorithm=ECCP256", "--pin-policy=always", "--touch-policy=always", "--key="+strings.Repeat("7a1542", 8))
			if err != nil {
				t.Fatalf("generate: %v\n%s%s", err, out, errs)
			}
			w.signs(c, yubikeytest.PIN)
		})
	}
}

func certificate(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
