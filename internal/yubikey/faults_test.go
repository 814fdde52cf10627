//go:build cgo && linux

package yubikey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
	"github.com/tufops/tufops/signer"
)

// ours skips what needs a daemon that can be told to fail.
func ours(t *testing.T) {
	if fake == nil {
		t.Skip("the real daemon cannot be told to fail")
	}
}

// TestNoDaemon: without a service the error says so, and once it is there again
// everything works in the same process.
func TestNoDaemon(t *testing.T) {
	ours(t)
	w := &world{T: t}
	c := w.ready(301)
	ts, token := w.open(c)
	fake.Hangup()
	_, err := ts.List(t.Context())
	fails[*ServiceError](w, err)
	_, err = ts.Sign(t.Context(), token, payload, &w.person)
	fails[*ServiceError](w, err)
	fails[*ServiceError](w, second(Generate(t.Context(), 301, Setup{NewPIN: "1234567", NewPUK: "1234567"})))
	if err := ts.Wait(t.Context(), token); err == nil {
		t.Error("waited for a token without a service")
	}
	if err := fake.Listen(); err != nil {
		t.Fatal(err)
	}
	w.signs(c, yubikeytest.PIN)
}

// TestHeld: a token that another program has is said to be in use, and one that
// is let go of in time is waited for.
func TestHeld(t *testing.T) {
	ours(t)
	w := &world{T: t}
	c := w.ready(302)
	ts, token := w.open(c)
	fake.Hold(c, true)
	_, err := ts.Sign(t.Context(), token, payload, &w.person)
	if e := fails[*signer.BusyError](w, err); e.Token.Serial != "302" {
		t.Errorf("%v", e)
	}
	list, err := ts.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Serial != "" || list[0].String() != "YubiKey" {
		t.Fatalf("%+v, %v", list, err)
	}
	fails[*signer.BusyError](w, list[0].Problem)
	w.person.pins = []string{yubikeytest.PIN}
	w.person.onPIN = func() {
		fake.Hold(c, true)
		go func() {
			time.Sleep(2 * interval)
			fake.Hold(c, false)
		}()
	}
	fake.Hold(c, false)
	signature, err := ts.Sign(t.Context(), token, payload, &w.person)
	if err != nil {
		t.Fatal(err)
	}
	w.good(c, signature)
}

// TestRemovedInManyWords: systems say in different words that a token is gone.
func TestRemovedInManyWords(t *testing.T) {
	ours(t)
	defer fake.SetRemoved(pcscd.Removed)
	for _, code := range []uint32{pcscd.Removed, pcscd.InvalidHandle, pcscd.NoCard, pcscd.NotTransacted, pcscd.ReaderUnavailable} {
		t.Run(fmt.Sprintf("%#x", code), func(t *testing.T) {
			fake.SetRemoved(code)
			w := &world{T: t}
			c := w.ready(303)
			ts, token := w.open(c)
			w.person.pins, w.person.onTouch = []string{yubikeytest.PIN}, func() { fake.Unplug(c) }
			_, err := ts.Sign(t.Context(), token, payload, &w.person)
			fails[*signer.RemovedError](w, err)
			w.person.onTouch = nil
			w.insert(c)
			w.signs(c, yubikeytest.PIN)
		})
	}
}

// TestCodes holds the words of piv-go, by which causes are told apart, against
// those of its table: each of ours stands in an error that it gives.
func TestCodes(t *testing.T) {
	ours(t)
	defer fake.SetRemoved(pcscd.Removed)
	w := &world{T: t}
	for code, want := range map[uint32]cause{
		0x80100003: comm, 0x80100009: absent, 0x8010000c: absent, 0x80100010: comm, 0x80100013: comm, 0x80100016: comm,
		0x80100017: absent, 0x8010001d: service, 0x8010001e: service, 0x8010001f: comm, 0x8010002e: absent, 0x8010002f: comm,
		0x80100066: comm, 0x80100067: comm, 0x80100068: comm, 0x80100069: absent, 0x8010006a: other,
	} {
		c := w.factoryNew(304)
		names, err := piv.Cards()
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		yk, err := piv.Open(names[0])
		if err != nil {
			t.Fatal(err)
		}
		fake.SetRemoved(code)
		fake.Unplug(c)
		_, err = yk.Serial()
		if got := causeOf(err); err == nil || got != want {
			t.Errorf("%#x: %v is taken for cause %d, want %d", code, err, got, want)
		}
		yk.Close()
		if got := (&pcscError{"x", code}).cause(); got != want && want != other {
			t.Errorf("%#x of our own call is taken for cause %d, want %d", code, got, want)
		}
	}
}

// TestManagementKeyProbe holds what piv-go says to a right management key
// against what it says to wrong ones.
func TestManagementKeyProbe(t *testing.T) {
	ours(t)
	for _, firmware := range []card.Firmware{card.Firmware543, card.Firmware571} {
		w := &world{T: t, firmware: firmware}
		c := w.ready(305)
		names, err := piv.Cards()
		if err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
		yk, err := piv.Open(names[0])
		if err != nil {
			t.Fatal(err)
		}
		wrong := bytes.Repeat([]byte{9}, 24)
		for _, keys := range [][][]byte{{wrong}, {wrong[:16]}, {append(wrong, wrong[:8]...)}, {}} {
			if key, err := firstThatOpens(yk, keys); key != nil || err != nil {
				t.Errorf("%x: %x, %v", keys, key, err)
			}
		}
		if key, err := firstThatOpens(yk, [][]byte{wrong, wrong[:16], yubikeytest.ManagementKey}); !bytes.Equal(key, yubikeytest.ManagementKey) || err != nil {
			t.Errorf("%x, %v", key, err)
		}
		fake.Unplug(c)
		if key, err := firstThatOpens(yk, [][]byte{wrong}); key != nil || err == nil {
			t.Errorf("of a token that is gone: %x, %v", key, err)
		}
		yk.Close()
	}
}

// everyCommand calls f with a fault at each command in turn, early and late,
// until one was not reached. Some are enough for most runs.
func everyCommand(t *testing.T, f func(fault card.Fault) (reached bool)) {
	step := 3
	if os.Getenv("TUFOPS_SOAK") != "" {
		step = 1
	}
	tried := 0
	for _, fault := range []card.Fault{{Err: card.ErrUnplugged}, {Err: card.ErrUnplugged, Late: true}, {Err: card.ErrComm}, {Err: card.ErrComm, Late: true}} {
		for fault.At = 1 + tried%step; f(fault); fault.At += step {
			if tried++; tried > 2000 {
				t.Fatal("there is no end of commands")
			}
		}
	}
	t.Logf("%d faults", tried)
	if tried < 20 {
		t.Errorf("only %d faults were tried", tried)
	}
}

// TestSignStoppedAnywhere: whatever fails at whatever command, the PIN is
// presented once at most, no try is lost, no bad signature comes out, and after
// it the token signs.
func TestSignStoppedAnywhere(t *testing.T) {
	ours(t)
	serial := uint32(400)
	everyCommand(t, func(fault card.Fault) bool {
		serial++
		w := &world{T: t}
		c := w.ready(serial)
		defer fake.Unplug(c)
		ts, token := w.open(c)
		before := c.Commands()
		w.person.pins = []string{yubikeytest.PIN}
		c.Inject(fault)
		signature, err := ts.Sign(t.Context(), token, payload, &w.person)
		reached := c.Commands() >= before+fault.At
		c.Heal()
		if err == nil {
			// A command that only looks may be given twice.
			w.good(c, signature)
		} else {
			var removed *signer.RemovedError
			var comm *CommError
			if errors.Is(fault.Err, card.ErrUnplugged) != errors.As(err, &removed) || errors.Is(fault.Err, card.ErrComm) != errors.As(err, &comm) {
				t.Errorf("%+v: %v (%T)", fault, err, err)
			}
			if signature != nil {
				t.Errorf("%+v: a signature beside %v", fault, err)
			}
		}
		if !reached && err != nil {
			t.Errorf("%+v was not reached: %v", fault, err)
		}
		if n := verifies(c); n > 1 {
			t.Errorf("%+v: the PIN was presented %d times", fault, n)
		}
		fake.Unplug(c)
		w.insert(c)
		if pin, _ := c.Tries(); pin != 3 {
			t.Errorf("%+v: %d tries left", fault, pin)
		}
		w.signs(c, yubikeytest.PIN)
		return reached
	})
}

// TestGenerateStoppedAnywhere: making a key on a new token goes on where it was
// stopped, and nobody is locked out.
func TestGenerateStoppedAnywhere(t *testing.T) {
	ours(t)
	serial := uint32(10000)
	everyCommand(t, func(fault card.Fault) bool {
		serial++
		w := &world{T: t, firmware: []card.Firmware{card.Firmware543, card.Firmware571}[serial%2]}
		c := w.factoryNew(serial)
		defer fake.Unplug(c)
		s := Setup{NewPIN: "1234567", NewPUK: "7654321"}
		before := c.Commands()
		c.Inject(fault)
		_, err := Generate(t.Context(), serial, s)
		reached := c.Commands() >= before+fault.At
		c.Heal()
		if err != nil && !reached {
			t.Errorf("%+v was not reached: %v", fault, err)
		}
		fake.Unplug(c)
		w.insert(c)
		// What the person knows now: secrets that were changed are the new ones.
		all, err := List(t.Context())
		if err != nil || len(all) != 1 || all[0].Problem != nil {
			t.Fatalf("%+v: %+v, %v", fault, all, err)
		}
		if all[0].Factory.PIN == No {
			s.PIN, s.NewPIN = s.NewPIN, ""
		}
		if all[0].Factory.PUK == No {
			s.NewPUK = ""
		}
		s.Overwrite = true
		if _, err := Generate(t.Context(), serial, s); err != nil {
			t.Errorf("%+v, again: %v", fault, err)
			return reached
		}
		if pin, puk, management := c.Secrets(); pin != "1234567" || puk != "7654321" || bytes.HasPrefix(management, []byte{1, 2, 3, 4}) {
			t.Errorf("%+v: secrets %s, %s, %x", fault, pin, puk, management)
		}
		if pin, puk := c.Tries(); pin != 3 || puk != 3 {
			t.Errorf("%+v: tries %d and %d", fault, pin, puk)
		}
		w.signs(c, "1234567")
		return reached
	})
}

// TestOpen: what is no SPEC is refused, and with a hint.
func TestOpen(t *testing.T) {
	w := &world{T: t}
	for _, spec := range []string{"", "yubikey:", "yubikey:x", "yubikey:0", "yubikey:-1", "yubikey:4294967296", "yubikey:1 ", "file:x", "yubikeys"} {
		_, err := Open(spec)
		fails[*signer.SpecError](w, err)
	}
	if _, err := Open("yubikey:4294967295"); err != nil {
		t.Error(err)
	}
}

// TestNone: no token at all is an empty list, and asking for one is an error.
func TestNone(t *testing.T) {
	all, err := List(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	w := &world{T: t}
	fails[*signer.RemovedError](w, second(Attest(t.Context(), 5)))
	ctx, stop := context.WithTimeout(t.Context(), interval)
	defer stop()
	if err := (tokens{}).Wait(ctx, token(5)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for _, e := range []interface{ Hint() string }{noSupport{}, noToken{}} {
		if strings.TrimSpace(e.Hint()) == "" {
			t.Errorf("%T gives no hint", e)
		}
	}
}
