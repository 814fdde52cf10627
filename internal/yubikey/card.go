//go:build cgo || windows

package yubikey

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-piv/piv-go/v2/piv"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/signer"
)

// Supported reports whether this build can speak with smart cards.
const Supported = true

// Another program that only looks is done in a moment; waiting for it spares the
// person an error. The same goes for a token that has just been inserted.
const (
	patience = 600 * time.Millisecond
	interval = 30 * time.Millisecond
)

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cause is what a PC/SC error comes of.
type cause int

const (
	other   cause = iota
	service       // no smart card service
	busy          // another program has the card for itself
	absent        // there is no card, or not any more
	comm          // unclear: it may be gone, or only disturbed
)

// causes tells errors of PC/SC apart. Their type is not exported, so it goes by
// their texts, which a test holds against the codes.
var causes = []struct {
	text  string
	cause cause
}{
	{"Smart card resource manager is not running", service},
	{"Smart card resource manager has shut down", service},
	{"no service", service},
	{"because of other connections outstanding", busy},
	{"no Smart Card is currently in the device", absent},
	{"specified reader name is not recognized", absent},
	{"reader is not currently available", absent},
	{"smart card has been removed", absent},
	{"cannot find a smart card reader", absent},
	{"power has been removed from the smart card", comm},
	{"smart card has been reset", comm},
	{"smart card is not responding to a reset", comm},
	{"a communications error with the smart card", comm},
	{"an unexpected card error has occurred", comm},
	{"an internal communications error", comm},
	{"supplied handle was invalid", comm},
	{"attempt was made to end a non-existent transaction", comm},
	{"reader or smart card is not ready", comm},
	{"scard response too short", comm},
}

func causeOf(err error) cause {
	if err == nil {
		return other
	}
	var coded *pcscError
	if errors.As(err, &coded) {
		return coded.cause()
	}
	text := err.Error()
	for _, c := range causes {
		if strings.Contains(text, c.text) {
			return c.cause
		}
	}
	return other
}

// pcscError is an error of a call of our own.
type pcscError struct {
	what string
	code uint32
}

const commFailed = 0x8010002f

func (e *pcscError) Error() string { return fmt.Sprintf("%s: PC/SC error %#x", e.what, e.code) }

func (e *pcscError) cause() cause {
	switch e.code {
	case 0x8010001d, 0x8010001e:
		return service
	case 0x8010000b:
		return busy
	case 0x80100009, 0x8010000c, 0x80100017, 0x8010002e, 0x80100069:
		return absent
	}
	return comm
}

// statusOf is the status word that a token answered with, 0 if it is none.
func statusOf(err error) uint16 {
	var s interface{ Status() uint16 }
	if errors.As(err, &s) {
		return s.Status()
	}
	return 0
}

// swSecurity is what a token answers if it misses a PIN, a touch or the
// management key; it does not say which.
const swSecurity = 0x6982

// readers are those with a YubiKey, sorted.
func readers() ([]string, error) {
	all, err := piv.Cards()
	if causeOf(err) == service {
		return nil, &ServiceError{err}
	}
	if err != nil {
		return nil, fmt.Errorf("list smart card readers: %w", err)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return !strings.Contains(strings.ToLower(name), "yubikey") })
	slices.Sort(all)
	return all, nil
}

// selectPIV is the command with which every conversation begins.
var selectPIV = []byte{0x00, 0xa4, 0x04, 0x00, 0x05, 0xa0, 0x00, 0x00, 0x03, 0x08}

// open takes the token in a reader for this program alone. It waits a moment for
// another program that has it, and for a service that has not seen a token leave.
func open(ctx context.Context, reader string) (*piv.YubiKey, error) {
	for waited := time.Duration(0); ; waited += interval {
		yk, taken, err := openNow(reader)
		if c := causeOf(err); taken || c != busy && c != comm || waited >= patience {
			return yk, err
		}
		if err := pause(ctx, interval); err != nil {
			return nil, err
		}
	}
}

// openNow tries the token before it opens it: where a token does not answer,
// piv.Open keeps it taken until the program ends or the token is taken out. taken
// says that this has happened all the same, so to try again would be in vain.
func openNow(reader string) (yk *piv.YubiKey, taken bool, err error) {
	if canExchange {
		if _, err := exchange(reader, selectPIV); err != nil {
			return nil, false, err
		}
	}
	yk, err = piv.Open(reader)
	return yk, causeOf(err) == comm, err
}

// find opens the token of a serial. It returns nil without an error if that is
// not there. A token that could not be read may be the one: then the error is a
// [signer.BusyError] or a [CommError].
func find(ctx context.Context, serial uint32) (yk *piv.YubiKey, reader string, err error) {
	all, err := readers()
	if err != nil {
		return nil, "", err
	}
	var unread error
	for _, reader := range all {
		yk, err := open(ctx, reader)
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		var n uint32
		if err == nil {
			if n, err = yk.Serial(); err == nil && n == serial {
				return yk, reader, nil
			}
			yk.Close()
		}
		switch c := causeOf(err); {
		case err == nil || c == absent:
		case c == busy:
			unread = &signer.BusyError{Token: token(serial), Err: err}
		case unread == nil:
			unread = &CommError{token(serial).String(), err}
		}
	}
	return nil, "", unread
}

// token is a token of which nothing but the serial is known.
func token(serial uint32) signer.Token {
	t := signer.Token{Kind: kind, Slot: slot9}
	if serial != 0 {
		t.Serial = fmt.Sprint(serial)
	}
	return t
}

// explain gives an error of the wire its cause. What is unclear is looked at: a
// token that can be opened is there.
func explain(ctx context.Context, serial uint32, err error) error {
	switch causeOf(err) {
	case service:
		return &ServiceError{err}
	case busy:
		return &signer.BusyError{Token: token(serial), Err: err}
	case absent:
		return &signer.RemovedError{Token: token(serial)}
	case comm:
		for waited := time.Duration(0); waited < patience; waited += interval {
			if yk, _, ferr := find(ctx, serial); ferr == nil && yk != nil {
				yk.Close()
				return &CommError{token(serial).String(), err}
			}
			if err := pause(ctx, interval); err != nil {
				return err
			}
		}
		return &signer.RemovedError{Token: token(serial)}
	}
	return err
}

// with runs f on the token of a serial, and closes it. The context ends the wait
// and not f: a token cannot be interrupted, and gives up by itself in seconds.
func with[T any](ctx context.Context, serial uint32, f func(yk *piv.YubiKey, reader string) (T, error)) (T, error) {
	var none T
	yk, reader, err := find(ctx, serial)
	if err != nil {
		return none, err
	}
	if yk == nil {
		return none, &signer.RemovedError{Token: token(serial)}
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := f(yk, reader)
		yk.Close() // fails for a token that is gone, which f has said
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return none, explain(ctx, serial, o.err)
		}
		return o.value, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// version of the token's firmware.
func version(yk *piv.YubiKey) attestation.Version {
	v := yk.Version()
	return attestation.Version{Major: byte(v.Major), Minor: byte(v.Minor), Patch: byte(v.Patch)}
}

// says reports whether the token tells what it knows of keys and secrets.
func says(v attestation.Version) bool { return v.Major > 5 || v.Major == 5 && v.Minor >= 3 }

var pinPolicies = map[piv.PINPolicy]attestation.Policy{
	piv.PINPolicyNever: attestation.Never, piv.PINPolicyOnce: attestation.Once, piv.PINPolicyAlways: attestation.Always,
	piv.PINPolicyMatchOnce: attestation.MatchOnce, piv.PINPolicyMatchAlways: attestation.MatchAlways,
}

var touchPolicies = map[piv.TouchPolicy]attestation.Policy{
	piv.TouchPolicyNever: attestation.Never, piv.TouchPolicyAlways: attestation.Always, piv.TouchPolicyCached: attestation.Cached,
}

// inspect reads what can be read without a PIN: the key in slot 9c and the tries
// that are left. It leaves Factory and FormFactor out.
func inspect(yk *piv.YubiKey) (Device, error) {
	d := Device{Firmware: version(yk), Factory: Factory{Unknown, Unknown, Unknown}}
	var err error
	if d.Serial, err = yk.Serial(); err != nil {
		return d, fmt.Errorf("read the serial: %w", err)
	}
	if d.PINTries, err = yk.Retries(); err != nil {
		return d, fmt.Errorf("read the tries that are left: %w", err)
	}
	if err := readKey(yk, &d); err != nil && !errors.Is(err, piv.ErrNotFound) {
		return d, fmt.Errorf("read slot 9c: %w", err)
	}
	return d, nil
}

// readKey reads the key in slot 9c. The error is [piv.ErrNotFound] if the slot is
// empty, as far as can be seen.
func readKey(yk *piv.YubiKey, d *Device) error {
	if says(d.Firmware) {
		info, err := yk.KeyInfo(piv.SlotSignature)
		if err != nil {
			return err
		}
		d.Public, d.PINPolicy, d.TouchPolicy = info.PublicKey, pinPolicies[info.PINPolicy], touchPolicies[info.TouchPolicy]
		d.Imported = info.Origin != piv.OriginGenerated
		return nil
	}
	// Before that only a key that was made there can be seen, by what attests it,
	// or one for which somebody stored a certificate.
	key, err := yk.Attest(piv.SlotSignature)
	if err == nil {
		d.Public = key.PublicKey
		if f, err := attestation.Read(key); err == nil {
			d.PINPolicy, d.TouchPolicy = f.PINPolicy, f.TouchPolicy
		}
		return nil
	}
	if !errors.Is(err, piv.ErrNotFound) && statusOf(err) == 0 {
		return err
	}
	cert, err := yk.Certificate(piv.SlotSignature)
	if err != nil {
		return err
	}
	d.Public, d.Imported = cert.PublicKey, true
	return nil
}

// List returns the tokens that are there, by serial; those that cannot be read
// come last, with the reason. That none is there is no error.
func List(ctx context.Context) ([]Device, error) {
	return list(ctx, func(yk *piv.YubiKey, reader string) (Device, error) {
		d, err := inspect(yk)
		if err != nil {
			return d, err
		}
		form, err := yk.FormFactor()
		if causeOf(err) != other {
			return d, err
		}
		d.FormFactor = attestation.FormFactor(form)
		return d, nil
	}, func(d *Device, reader string) { d.Factory = factory(reader, d.Firmware) })
}

// list looks at each token with see, and then, when it is free again, with after.
func list(ctx context.Context, see func(*piv.YubiKey, string) (Device, error), after func(*Device, string)) ([]Device, error) {
	all, err := readers()
	if err != nil {
		return nil, err
	}
	var devices []Device
	for _, reader := range all {
		yk, err := open(ctx, reader)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch causeOf(err) {
		case absent: // an empty reader, or one that is gone by now
			continue
		case busy:
			devices = append(devices, Device{Problem: &signer.BusyError{Token: token(0), Err: err}})
			continue
		}
		if err != nil {
			devices = append(devices, Device{Problem: &CommError{kind, err}})
			continue
		}
		d, err := see(yk, reader)
		yk.Close()
		switch c := causeOf(err); {
		case c == absent:
			continue
		case err != nil:
			d = Device{Serial: d.Serial, Problem: &CommError{d.String(), err}}
		case after != nil:
			after(&d, reader)
		}
		devices = append(devices, d)
	}
	slices.SortStableFunc(devices, func(a, b Device) int {
		// What has no serial comes last.
		return cmp.Compare(a.Serial-1, b.Serial-1)
	})
	return devices, nil
}

// Attest asks the token where the key in its slot 9c was made. It needs no PIN.
// A key that was made elsewhere has no attestation: that is a [SlotError].
func Attest(ctx context.Context, serial uint32) (attestation.Certificates, error) {
	return with(ctx, serial, func(yk *piv.YubiKey, _ string) (c attestation.Certificates, err error) {
		name := token(serial).String()
		if c.Key, err = yk.Attest(piv.SlotSignature); errors.Is(err, piv.ErrNotFound) {
			return c, &SlotError{name, "slot 9c holds no key that was made on the token, so nothing can be attested"}
		} else if err != nil {
			return c, fmt.Errorf("attest slot 9c of %s: %w", name, err)
		}
		if c.Device, err = yk.AttestationCertificate(); err != nil {
			return c, fmt.Errorf("read the attestation certificate of %s: %w", name, err)
		}
		return c, nil
	})
}

// samePublic reports whether two public keys are one.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && k.Equal(b)
}
