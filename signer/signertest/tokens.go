// Package signertest is a fake of hardware keys, for tests: a folder in which
// each folder is a device that is plugged in. It behaves as a YubiKey does with
// a key that always wants PIN and touch. What happened to a device is written
// into its folder, so a test sees it after the program has ended, and a script
// can plug and unplug by moving folders.
package signertest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/signer"
)

// The files of a device. All but the key are optional.
const (
	keyFile   = "key.pem" // PKCS#8; none: the slot is empty
	pinFile   = "pin"     // 123456 where there is none
	triesFile = "tries"   // left; 3 where there is none
	// accidentFile names what goes wrong with the next signature: "no touch";
	// "pulled", and put back while the program waits; "lost", and never put back;
	// "busy". It is removed when it has happened.
	accidentFile = "accident"
	// logFile has a line for each thing that the device did: "pin", "wrong pin",
	// "touch", "signed".
	logFile = "log"
	drawer  = ".drawer" // where devices lie that are not plugged in
)

const fullTries = 3

// Tokens are the devices in a folder that a SPEC selects.
type Tokens struct{ dir, serial string }

// Open selects devices in dir by yubikey[:SERIAL].
func Open(dir, spec string) (*Tokens, error) {
	serial, ok := strings.CutPrefix(spec, "yubikey")
	if !ok || serial != "" && !strings.HasPrefix(serial, ":") {
		return nil, &signer.SpecError{Spec: spec, Reason: "names no device of this test"}
	}
	return &Tokens{dir: dir, serial: strings.TrimPrefix(serial, ":")}, nil
}

// Insert plugs a device with a new P-256 key in.
func Insert(t testing.TB, dir, serial string) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	Set(t, dir, serial, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return key
}

// Set writes one of the files of a device.
func Set(t testing.TB, dir, serial, file, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Join(dir, serial), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, serial, file), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Log is what a device has done since the last call, with commas between.
func Log(t testing.TB, dir, serial string) string {
	t.Helper()
	file := filepath.Join(dir, serial, logFile)
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	os.Remove(file)
	return strings.Join(strings.Split(strings.TrimSpace(string(data)), "\n"), ", ")
}

func (d *Tokens) List(context.Context) ([]signer.Token, error) {
	found, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var list []signer.Token
	for _, f := range found {
		if f.Name() == drawer || d.serial != "" && d.serial != f.Name() {
			continue
		}
		t := signer.Token{Kind: "YubiKey", Serial: f.Name(), Slot: "9c"}
		if key, err := d.key(t); err != nil {
			t.Problem = errors.New("its slot 9c is empty")
		} else {
			t.Public = key.Public()
		}
		list = append(list, t)
	}
	return list, nil
}

func (d *Tokens) Sign(ctx context.Context, t signer.Token, payload []byte, p signer.Prompt) ([]byte, error) {
	key, err := d.key(t)
	if err != nil {
		return nil, &signer.RemovedError{Token: t}
	}
	tries := fullTries
	if text := d.read(t, triesFile); text != "" {
		if tries, err = strconv.Atoi(text); err != nil {
			return nil, err
		}
	}
	accident := d.read(t, accidentFile)
	if accident != "" {
		os.Remove(d.path(t, accidentFile))
	}
	switch {
	case accident == "busy":
		return nil, &signer.BusyError{Token: t, Err: errors.New("sharing violation")}
	case tries == 0:
		return nil, &signer.BlockedPINError{Token: t}
	}
	pin, err := p.PIN(ctx, t, tries)
	if err != nil {
		return nil, err
	}
	if len(pin) < 6 || len(pin) > 8 {
		return nil, &signer.WrongPINError{Token: t, Tries: tries, Reason: "it has 6 to 8 characters"}
	}
	want := d.read(t, pinFile)
	if want == "" {
		want = "123456"
	}
	if pin != want {
		tries--
		if err := d.note(t, "wrong pin", triesFile, strconv.Itoa(tries)); err != nil {
			return nil, err
		}
		if tries == 0 {
			return nil, &signer.BlockedPINError{Token: t}
		}
		return nil, &signer.WrongPINError{Token: t, Tries: tries}
	}
	if err := d.note(t, "pin", triesFile, strconv.Itoa(fullTries)); err != nil {
		return nil, err
	}
	switch accident {
	case "pulled", "lost":
		away := filepath.Join(d.dir, drawer)
		err := os.MkdirAll(away, 0o755)
		if err == nil {
			err = os.Rename(d.path(t, ""), filepath.Join(away, t.Serial))
		}
		if err == nil && accident == "lost" {
			err = os.WriteFile(filepath.Join(away, t.Serial, "lost"), nil, 0o600)
		}
		return nil, errors.Join(&signer.RemovedError{Token: t}, err)
	}
	p.Touch(t)
	if accident == "no touch" {
		return nil, &signer.TouchError{Token: t}
	}
	sig, err := metadata.LocalSigner(key).Sign(ctx, payload)
	if err == nil {
		err = d.note(t, "signed", "", "")
	}
	return sig, err
}

// Wait puts a device that was pulled back. For one that is lost the time is up
// at once.
func (d *Tokens) Wait(ctx context.Context, t signer.Token) error {
	away := filepath.Join(d.dir, drawer, t.Serial)
	if _, err := os.Stat(filepath.Join(away, "lost")); err == nil {
		return context.DeadlineExceeded
	}
	if _, err := os.Stat(away); err == nil {
		return os.Rename(away, d.path(t, ""))
	}
	return ctx.Err()
}

func (d *Tokens) path(t signer.Token, file string) string {
	return filepath.Join(d.dir, t.Serial, file)
}

func (d *Tokens) read(t signer.Token, file string) string {
	data, err := os.ReadFile(d.path(t, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// note adds a line to the log, and sets a file.
func (d *Tokens) note(t signer.Token, line, file, text string) error {
	if file != "" {
		if err := os.WriteFile(d.path(t, file), []byte(text), 0o600); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(d.path(t, logFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

func (d *Tokens) key(t signer.Token) (crypto.Signer, error) {
	data, err := os.ReadFile(d.path(t, keyFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", d.path(t, keyFile))
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return s, nil
}
