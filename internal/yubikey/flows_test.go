//go:build cgo && linux

package yubikey

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/vpcd"
	"github.com/tufops/tufops/signer"
)

// One process sees one PC/SC daemon. This one has ours, or the real one if the
// variable says so: then the test binary was started by TestRealDaemon.
const transportVariable = "TUFOPS_YUBIKEY_TRANSPORT"

var (
	daemon yubikeytest.Daemon
	fake   *pcscd.Daemon // nil if the daemon is the real one
	maker  *card.CA
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	pollInterval = interval
	var err error
	if os.Getenv(transportVariable) == "real" {
		daemon, err = vpcd.Start(context.Background(), 2)
	} else {
		fake, err = pcscd.Start()
		daemon = fake
	}
	if err == nil {
		defer daemon.Close()
		maker, err = card.NewCA(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, variable := range daemon.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		os.Setenv(name, value)
	}
	return m.Run()
}

// world is one test's tokens and the person in front of them.
type world struct {
	*testing.T
	firmware card.Firmware
	person   person
}

// person is asked for PINs and touches.
type person struct {
	pins    []string // the answers, in order
	asked   []int    // the tries that were left each time
	touches int
	onPIN   func()
	onTouch func()
}

func (p *person) PIN(ctx context.Context, t signer.Token, tries int) (string, error) {
	if p.asked = append(p.asked, tries); len(p.pins) == 0 {
		return "", errors.New("nobody expected to be asked for a PIN")
	}
	pin := p.pins[0]
	p.pins = p.pins[1:]
	if p.onPIN != nil {
		p.onPIN()
	}
	return pin, nil
}

func (p *person) Touch(signer.Token) {
	p.touches++
	if p.onTouch != nil {
		p.onTouch()
	}
}

// factoryNew inserts a token as it leaves the factory.
func (w *world) factoryNew(serial uint32) *card.Card {
	w.Helper()
	c, err := card.New(card.Config{Serial: serial, Firmware: w.firmware, FormFactor: 3, CA: maker})
	if err != nil {
		w.Fatal(err)
	}
	w.insert(c)
	return c
}

// ready inserts a token with secrets of its own and a key.
func (w *world) ready(serial uint32) *card.Card {
	w.Helper()
	c := w.factoryNew(serial)
	yubikeytest.Own(c)
	if err := c.SetKey(card.SlotSignature, big.NewInt(int64(serial))); err != nil {
		w.Fatal(err)
	}
	return c
}

// insert plugs a token in and returns when it can be seen.
func (w *world) insert(c *card.Card) {
	w.Helper()
	if err := daemon.Insert(c); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { daemon.Unplug(c) })
	w.wait(c)
}

func (w *world) wait(c *card.Card) {
	w.Helper()
	ctx, stop := context.WithTimeout(w.Context(), 20*time.Second)
	defer stop()
	if err := (tokens{}).Wait(ctx, token(c.Serial())); err != nil {
		w.Fatalf("card %d is not seen: %v", c.Serial(), err)
	}
}

// open returns the token of a card, as a signer sees it.
func (w *world) open(c *card.Card) (signer.Tokens, signer.Token) {
	w.Helper()
	ts, err := Open(fmt.Sprint("yubikey:", c.Serial()))
	if err != nil {
		w.Fatal(err)
	}
	list, err := ts.List(w.Context())
	if err != nil || len(list) != 1 || list[0].Serial != fmt.Sprint(c.Serial()) {
		w.Fatalf("card %d: %+v, %v", c.Serial(), list, err)
	}
	return ts, list[0]
}

var payload = []byte(`{"_type":"root"}`)

// signs asserts that the token signs, after the PIN and a touch.
func (w *world) signs(c *card.Card, pin string) {
	w.Helper()
	ts, t := w.open(c)
	w.person.pins = []string{pin}
	signature, err := ts.Sign(w.Context(), t, payload, &w.person)
	if err != nil {
		w.Fatalf("card %d: %v", c.Serial(), err)
	}
	w.good(c, signature)
}

// good asserts that a signature is one of the key of the card.
func (w *world) good(c *card.Card, signature []byte) {
	w.Helper()
	key, err := metadata.NewKey(c.PublicKey(card.SlotSignature), "", "")
	if err != nil {
		w.Fatal(err)
	}
	if err := key.Verify(payload, signature); err != nil {
		w.Errorf("card %d: %v", c.Serial(), err)
	}
}

// fails asserts the type of an error, and that it says what to do.
func fails[E error](w *world, err error) E {
	w.Helper()
	var e E
	if !errors.As(err, &e) {
		w.Fatalf("%v (%T), want %T", err, err, e)
	}
	if h, ok := any(e).(interface{ Hint() string }); !ok || h.Hint() == "" {
		w.Errorf("%T gives no hint", e)
	}
	return e
}

// verifies counts how often a PIN was presented to the card.
func verifies(c *card.Card) int {
	n := 0
	for _, command := range c.Log() {
		if len(command) > 5 && command[1] == 0x20 {
			n++
		}
	}
	return n
}

// flows run over both daemons and both firmwares. Serials are of their own, since
// a real daemon sees a card leave only after a while.
var flows = []struct {
	name string
	run  func(*world)
}{
	{"a new token", func(w *world) {
		c := w.factoryNew(101)
		all, err := List(w.Context())
		if err != nil || len(all) != 1 {
			w.Fatalf("%+v, %v", all, err)
		}
		d := all[0]
		if d.Serial != 101 || d.Firmware.String() != w.firmware.String() || d.FormFactor != 3 || d.Public != nil || d.PINTries != 3 ||
			d.Factory != (Factory{Yes, Yes, Yes}) || d.Problem != nil || d.String() != "YubiKey 101" {
			w.Errorf("%+v", d)
		}
		_, t := w.open(c)
		if t.Public != nil || t.Problem == nil || t.String() != "YubiKey 101" || t.Slot != "9c" {
			w.Errorf("%+v", t)
		}
		e := fails[*SlotError](w, second(Attest(w.Context(), 101)))
		if !strings.Contains(e.Error(), "YubiKey 101") {
			w.Errorf("%v does not name the token", e)
		}
	}},
	{"a key is made and signs", func(w *world) {
		c := w.factoryNew(102)
		for _, s := range []Setup{{}, {NewPIN: "1234567"}, {NewPIN: "1234567", NewPUK: FactoryPUK}, {NewPIN: "12345", NewPUK: "12345670"}, {NewPIN: "1234567", NewPUK: "123456789"}} {
			fails[*SecretError](w, second(Generate(w.Context(), 102, s)))
		}
		if pin, puk, management := c.Secrets(); pin != FactoryPIN || puk != FactoryPUK || management[0] != 1 || c.PublicKey(card.SlotSignature) != nil {
			w.Errorf("after refusals: %s, %s, %x", pin, puk, management)
		}
		public, err := Generate(w.Context(), 102, Setup{NewPIN: "1234567", NewPUK: "7654321"})
		if err != nil || !samePublic(public, c.PublicKey(card.SlotSignature)) || public.(*ecdsa.PublicKey).Curve != elliptic.P256() {
			w.Fatalf("%v, %v", public, err)
		}
		pin, puk, management := c.Secrets()
		if pin != "1234567" || puk != "7654321" || bytes.HasPrefix(management, []byte{1, 2, 3}) || len(management) != 24 {
			w.Errorf("secrets %s, %s, %x", pin, puk, management)
		}
		all, err := List(w.Context())
		if err != nil || len(all) != 1 || all[0].Factory != (Factory{No, No, No}) || all[0].PINPolicy != attestation.Always || all[0].TouchPolicy != attestation.Always || all[0].Imported {
			w.Errorf("%+v, %v", all, err)
		}
		certificates, err := Attest(w.Context(), 102)
		if err != nil {
			w.Fatal(err)
		}
		f, err := attestation.NewVerifier(roots(maker)).Verify(certificates, public)
		if err != nil || f.Serial != 102 || f.Firmware.String() != w.firmware.String() || f.FormFactor != 3 {
			w.Errorf("%+v, %v", f, err)
		}
		if _, err := attestation.Yubico().Verify(certificates, public); err == nil {
			w.Error("Yubico is said to have made a virtual token")
		}
		w.signs(c, "1234567")
		if w.person.touches != 1 || !slices.Equal(w.person.asked, []int{3}) {
			w.Errorf("%d touches, tries %v", w.person.touches, w.person.asked)
		}
		// The management key is found again by the PIN.
		fails[*OverwriteError](w, second(Generate(w.Context(), 102, Setup{PIN: "1234567"})))
		if !samePublic(public, c.PublicKey(card.SlotSignature)) {
			w.Error("a key was lost without consent")
		}
		public, err = Generate(w.Context(), 102, Setup{PIN: "1234567", Overwrite: true, P384: true})
		if err != nil || public.(*ecdsa.PublicKey).Curve != elliptic.P384() {
			w.Fatalf("%v, %v", public, err)
		}
		if _, _, after := c.Secrets(); !bytes.Equal(after, management) {
			w.Error("the management key changed for no reason")
		}
		w.signs(c, "1234567")
	}},
	{"a management key that only its owner knows", func(w *world) {
		c := w.factoryNew(103)
		yubikeytest.Own(c)
		e := fails[*SecretError](w, second(Generate(w.Context(), 103, Setup{PIN: yubikeytest.PIN})))
		if e.Which != "management key" {
			w.Errorf("%v", e)
		}
		fails[*SecretError](w, second(Generate(w.Context(), 103, Setup{PIN: yubikeytest.PIN, ManagementKey: make([]byte, 24)})))
		if _, err := Generate(w.Context(), 103, Setup{PIN: yubikeytest.PIN, ManagementKey: yubikeytest.ManagementKey}); err != nil {
			w.Fatal(err)
		}
		if _, _, management := c.Secrets(); !bytes.Equal(management, yubikeytest.ManagementKey) {
			w.Error("the owner's management key was replaced")
		}
		w.signs(c, yubikeytest.PIN)
	}},
	{"a wrong PIN or PUK while a key is made", func(w *world) {
		c := w.factoryNew(104)
		yubikeytest.Own(c)
		s := Setup{PIN: "000000", ManagementKey: yubikeytest.ManagementKey}
		if e := fails[*signer.WrongPINError](w, second(Generate(w.Context(), 104, s))); e.Tries != 2 {
			w.Errorf("%v", e)
		}
		fails[*SecretError](w, second(Generate(w.Context(), 104, Setup{PIN: FactoryPIN}))) // known to be wrong: costs nothing
		s = Setup{PIN: yubikeytest.PIN, PUK: "00000000", NewPUK: "11111111", ManagementKey: yubikeytest.ManagementKey}
		if e := fails[*SecretError](w, second(Generate(w.Context(), 104, s))); e.Which != "PUK" || !strings.Contains(e.Error(), "2 more tries") {
			w.Errorf("%v", e)
		}
		if pin, puk := c.Tries(); pin != 3 || puk != 2 || c.PublicKey(card.SlotSignature) != nil {
			w.Errorf("tries %d and %d", pin, puk)
		}
	}},
	{"a wrong PIN, then the right one", func(w *world) {
		c := w.ready(105)
		ts, t := w.open(c)
		w.person.pins = []string{"000000", yubikeytest.PIN}
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		if e := fails[*signer.WrongPINError](w, err); e.Tries != 2 || e.Token.String() != "YubiKey 105" {
			w.Errorf("%v", e)
		}
		if n := verifies(c); n != 1 || w.person.touches != 0 {
			w.Errorf("the PIN was presented %d times, touches %d", n, w.person.touches)
		}
		signature, err := ts.Sign(w.Context(), t, payload, &w.person)
		if err != nil {
			w.Fatal(err)
		}
		w.good(c, signature)
		if pin, _ := c.Tries(); pin != 3 || !slices.Equal(w.person.asked, []int{3, 2}) || verifies(c) != 2 {
			w.Errorf("%d tries, asked with %v, presented %d times", pin, w.person.asked, verifies(c))
		}
	}},
	{"a PIN that cannot be one", func(w *world) {
		c := w.ready(106)
		ts, t := w.open(c)
		for _, pin := range []string{"12345", "123456789", "12345\n", "1234\xff\xff"} {
			w.person.pins = []string{pin}
			_, err := ts.Sign(w.Context(), t, payload, &w.person)
			if e := fails[*signer.WrongPINError](w, err); e.Reason == "" || e.Tries != 3 {
				w.Errorf("%q: %+v", pin, e)
			}
		}
		if verifies(c) != 0 {
			w.Error("one of them was presented")
		}
	}},
	{"a blocked PIN", func(w *world) {
		c := w.ready(107)
		ts, t := w.open(c)
		w.person.pins = []string{"000001", "000002", "000003"}
		for i := range 3 {
			_, err := ts.Sign(w.Context(), t, payload, &w.person)
			if i < 2 {
				fails[*signer.WrongPINError](w, err)
			} else {
				fails[*signer.BlockedPINError](w, err)
			}
		}
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		fails[*signer.BlockedPINError](w, err)
		if len(w.person.asked) != 3 {
			w.Errorf("asked %d times", len(w.person.asked))
		}
		fails[*signer.BlockedPINError](w, second(Generate(w.Context(), 107, Setup{PIN: yubikeytest.PIN, Overwrite: true, ManagementKey: yubikeytest.ManagementKey})))
		if all, err := List(w.Context()); err != nil || len(all) != 1 || all[0].PINTries != 0 || all[0].Public == nil {
			w.Errorf("%+v, %v", all, err)
		}
	}},
	{"no touch", func(w *world) {
		c := w.ready(108)
		ts, t := w.open(c)
		c.SetTouch(func() bool { return false })
		w.person.pins = []string{yubikeytest.PIN}
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		fails[*signer.TouchError](w, err)
		if w.person.touches != 1 {
			w.Errorf("%d touches", w.person.touches)
		}
		c.SetTouch(nil)
		w.signs(c, yubikeytest.PIN)
	}},
	{"taken out while it waits for a touch, and put back", func(w *world) {
		c := w.ready(109)
		ts, t := w.open(c)
		never := make(chan bool)
		defer close(never)
		waiting := make(chan bool)
		c.SetTouch(func() bool { close(waiting); return <-never })
		go func() { <-waiting; daemon.Unplug(c) }()
		w.person.pins = []string{yubikeytest.PIN}
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		if e := fails[*signer.RemovedError](w, err); e.Token.Serial != "109" {
			w.Errorf("%v", e)
		}
		soon, stop := context.WithTimeout(w.Context(), 2*interval)
		defer stop()
		if err := ts.Wait(soon, t); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("the wait for a token that is not there ended with %v", err)
		}
		c.SetTouch(nil)
		if err := daemon.Insert(c); err != nil {
			w.Fatal(err)
		}
		w.wait(c)
		w.person.pins = []string{yubikeytest.PIN}
		signature, err := ts.Sign(w.Context(), t, payload, &w.person)
		if err != nil {
			w.Fatal(err)
		}
		w.good(c, signature)
	}},
	{"taken out while the person types", func(w *world) {
		c := w.ready(110)
		ts, t := w.open(c)
		w.person.pins, w.person.onPIN = []string{yubikeytest.PIN}, func() { daemon.Unplug(c) }
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		fails[*signer.RemovedError](w, err)
		if verifies(c) != 0 {
			w.Error("a PIN was presented")
		}
	}},
	{"another key since it was listed", func(w *world) {
		c := w.ready(111)
		ts, t := w.open(c)
		if err := c.SetKey(card.SlotSignature, big.NewInt(7)); err != nil {
			w.Fatal(err)
		}
		_, err := ts.Sign(w.Context(), t, payload, &w.person)
		fails[*SlotError](w, err)
		_, err = ts.(signer.Attester).Attest(w.Context(), t)
		fails[*SlotError](w, err)
		_, t = w.open(c)
		w.person.asked, w.person.pins = nil, []string{yubikeytest.PIN}
		w.person.onPIN = func() { c.SetKey(card.SlotSignature, big.NewInt(8)) }
		_, err = ts.Sign(w.Context(), t, payload, &w.person)
		fails[*SlotError](w, err)
		if verifies(c) != 0 || len(w.person.asked) != 1 {
			w.Errorf("asked %d times, presented %d times", len(w.person.asked), verifies(c))
		}
	}},
	{"two tokens", func(w *world) {
		b, a := w.ready(113), w.ready(112)
		ts, err := Open("yubikey")
		if err != nil {
			w.Fatal(err)
		}
		list, err := ts.List(w.Context())
		if err != nil || len(list) != 2 || list[0].Serial != "112" || list[1].Serial != "113" {
			w.Fatalf("%+v, %v", list, err)
		}
		for i, c := range []*card.Card{a, b} {
			if !samePublic(list[i].Public, c.PublicKey(card.SlotSignature)) || list[i].Doubts != nil {
				w.Errorf("%+v", list[i])
			}
			w.person.pins = []string{yubikeytest.PIN}
			signature, err := ts.Sign(w.Context(), list[i], payload, &w.person)
			if err != nil {
				w.Fatal(err)
			}
			w.good(c, signature)
			if files, err := ts.(signer.Attester).Attest(w.Context(), list[i]); err != nil || len(files) != 2 {
				w.Errorf("%d files, %v", len(files), err)
			}
			w.signs(c, yubikeytest.PIN) // by its serial alone
		}
	}},
	{"a key from elsewhere", func(w *world) {
		c := w.factoryNew(114)
		yubikeytest.Own(c)
		importKey(w, c, 12345, 1, 1) // PIN never, touch never
		ts, t := w.open(c)
		if len(t.Doubts) != 3 || !strings.Contains(strings.Join(t.Doubts, "; "), "without a PIN; the key signs without a touch") {
			w.Errorf("doubts %q", t.Doubts)
		}
		fails[*SlotError](w, second(Attest(w.Context(), 114)))
		signature, err := ts.Sign(w.Context(), t, payload, &w.person)
		if err != nil {
			w.Fatal(err)
		}
		w.good(c, signature)
		if w.person.asked != nil || w.person.touches != 0 || verifies(c) != 0 {
			w.Error("the person was asked for what the key does not need")
		}
	}},
	{"given up while it waits for a touch", func(w *world) {
		c := w.ready(115)
		ts, t := w.open(c)
		release := make(chan bool)
		c.SetTouch(func() bool { return <-release })
		defer close(release)
		ctx, stop := context.WithCancel(w.Context())
		w.person.pins, w.person.onTouch = []string{yubikeytest.PIN}, stop
		if _, err := ts.Sign(ctx, t, payload, &w.person); !errors.Is(err, context.Canceled) {
			w.Errorf("%v", err)
		}
	}},
}

// second is the error of a call.
func second[T any](_ T, err error) error { return err }

func roots(ca *card.CA) (roots, intermediates []*x509.Certificate) {
	return []*x509.Certificate{ca.Root}, ca.Intermediates
}

// importKey puts a key into slot 9c as a tool would, through the card's own
// commands.
func importKey(w *world, c *card.Card, scalar int64, pin, touch byte) {
	w.Helper()
	if err := c.Import(card.SlotSignature, big.NewInt(scalar), pin, touch); err != nil {
		w.Fatal(err)
	}
}

// TestFlows runs all flows, or those that the variable names by their place.
func TestFlows(t *testing.T) {
	var some []int
	for _, text := range strings.Fields(os.Getenv(flowsVariable)) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n >= len(flows) {
			t.Fatalf("there is no flow %q", text)
		}
		some = append(some, n)
	}
	ran := 0
	for _, firmware := range []card.Firmware{card.Firmware543, card.Firmware571} {
		for i, flow := range flows {
			if some != nil && !slices.Contains(some, i) {
				continue
			}
			t.Run(firmware.String()+"/"+flow.name, func(t *testing.T) {
				flow.run(&world{T: t, firmware: firmware})
			})
			ran++
		}
	}
	fmt.Printf("%s: %d flows\n", t.Name(), ran)
}

const flowsVariable = "TUFOPS_YUBIKEY_FLOWS"
