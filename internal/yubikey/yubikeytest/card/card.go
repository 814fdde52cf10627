// Package card is a YubiKey in software: the PIV application with Yubico's
// extensions, and as much of the management application as clients ask for. It
// is a fixture: its keys lie in memory and it is in no program that people run.
//
// It takes command APDUs and returns response APDUs. What carries them lies in
// yubikeytest/pcscd and yubikeytest/vpcd. It knows elliptic curve keys alone.
//
// Status words and formats follow NIST SP 800-73-4 and
// https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/; what real
// hardware does beyond them it cannot show.
package card

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"time"
)

// What a new token has, by Yubico's documentation.
const (
	FactoryPIN = "123456"
	FactoryPUK = "12345678"

	factoryTries = 3
)

var factoryManagementKey = bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 3)

// Firmware is the version that a token tells.
type Firmware [3]byte

// Two that are in use. From 5.7 the factory's management key is of AES.
var (
	Firmware543 = Firmware{5, 4, 3}
	Firmware571 = Firmware{5, 7, 1}
)

func (f Firmware) String() string { return fmt.Sprintf("%d.%d.%d", f[0], f[1], f[2]) }

func (f Firmware) atLeast(major, minor byte) bool {
	return f[0] > major || f[0] == major && f[1] >= minor
}

// ParseFirmware reads a version such as 5.7.1.
func ParseFirmware(text string) (Firmware, error) {
	var f Firmware
	if n, err := fmt.Sscanf(text, "%d.%d.%d", &f[0], &f[1], &f[2]); n != 3 || err != nil || f.String() != text {
		return f, fmt.Errorf("firmware %q is not of the form 5.7.1", text)
	}
	return f, nil
}

// Errors of the wire, as opposed to the status words of a card that answers.
var (
	ErrUnplugged = errors.New("the card is gone")
	ErrComm      = errors.New("communication with the card failed")
)

// Config says what is made. The zero value is a token of firmware 5.7.1 that was
// touched before it was asked.
type Config struct {
	Serial     uint32
	Firmware   Firmware
	FormFactor byte // 1 if it is not given: USB-A
	CA         *CA  // made the attestation key; nil: one that nobody trusts
	// Touch is called when a key waits for a finger, and says whether it came
	// before the token gave up. Unplugging the card does not wait for it.
	Touch func() bool
	// Clock is for keys that remember a touch for 15 seconds.
	Clock func() time.Time
}

// Fault breaks one command.
type Fault struct {
	At   int   // which one; the next is 1
	Err  error // ErrUnplugged or ErrComm
	Late bool  // the card has carried it out, and only the answer is lost
}

// Card is one token. Its methods may be called at the same time.
type Card struct {
	config Config

	mu       sync.Mutex // held while a command runs
	session  session
	pin, puk secret
	manage   managementKey
	slots    map[byte]*slot
	objects  map[uint32][]byte

	state    sync.Mutex // guards what follows, and is never held for long
	faults   []Fault
	commands int
	gone     chan struct{} // closed while the card is unplugged
	log      [][]byte
}

// session is what a card forgets when it loses power or an application is
// selected.
type session struct {
	app         application
	pinVerified bool // until the application is selected anew
	pinFresh    bool // until a private key is used
	managing    bool
	witness     []byte
	chain       []byte // of a command in several pieces
	answer      []byte // what has not been fetched yet
	touched     time.Time
}

type application int

const (
	none application = iota
	piv
	management
)

type secret struct {
	value      string
	tries, max int
}

type managementKey struct {
	algorithm byte
	key       []byte
	touch     bool
}

type slot struct {
	key       *ecdsa.PrivateKey
	algorithm byte
	pin       byte
	touch     byte
	imported  bool
}

// New makes a token as it leaves the factory.
func New(config Config) (*Card, error) {
	if config.Firmware == (Firmware{}) {
		config.Firmware = Firmware571
	}
	if config.FormFactor == 0 {
		config.FormFactor = 1
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.CA == nil {
		var err error
		if config.CA, err = NewCA(0); err != nil {
			return nil, err
		}
	}
	key, cert, err := config.CA.device(config.Serial)
	if err != nil {
		return nil, fmt.Errorf("attestation key of card %d: %w", config.Serial, err)
	}
	c := &Card{config: config, gone: make(chan struct{})}
	c.reset()
	c.slots[slotAttestation] = &slot{key: key, algorithm: algP256, pin: pinNever, touch: touchNever, imported: true}
	c.objects[objectAttestation] = certificateObject(cert)
	return c, nil
}

// reset makes the PIV application as the factory left it, but for the
// attestation key.
func (c *Card) reset() {
	f9, cert := c.slots[slotAttestation], c.objects[objectAttestation]
	c.slots, c.objects = map[byte]*slot{}, map[uint32][]byte{}
	if f9 != nil {
		c.slots[slotAttestation], c.objects[objectAttestation] = f9, cert
	}
	c.pin, c.puk = secret{FactoryPIN, factoryTries, factoryTries}, secret{FactoryPUK, factoryTries, factoryTries}
	c.manage = managementKey{algorithm: alg3DES, key: factoryManagementKey}
	if c.config.Firmware.atLeast(5, 7) {
		c.manage.algorithm = algAES192
	}
	c.session = session{app: c.session.app}
}

// Serial is the number printed on the token.
func (c *Card) Serial() uint32 { return c.config.Serial }

// ATR is the answer to reset of a YubiKey 5. It offers protocol T=1.
func (c *Card) ATR() []byte {
	return []byte{
		0x3b, 0xfd, 0x13, 0x00, 0x00, 0x81, 0x31, 0xfe, 0x15, 0x80, 0x73, 0xc0, 0x21, 0xc0, 0x57,
		0x59, 0x75, 0x62, 0x69, 0x4b, 0x65, 0x79, 0x40,
	}
}

// PowerCycle makes the card forget who has proved what.
func (c *Card) PowerCycle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session{}
}

// Unplug makes every command fail with [ErrUnplugged], a waiting one at once,
// until Plug is called.
func (c *Card) Unplug() {
	c.state.Lock()
	select {
	case <-c.gone:
	default:
		close(c.gone)
	}
	c.state.Unlock()
	c.PowerCycle()
}

// Plug puts the card back.
func (c *Card) Plug() {
	c.state.Lock()
	defer c.state.Unlock()
	select {
	case <-c.gone:
		c.gone = make(chan struct{})
	default:
	}
}

// Inject adds a fault. Each happens once.
func (c *Card) Inject(f Fault) {
	c.state.Lock()
	defer c.state.Unlock()
	f.At += c.commands
	c.faults = append(c.faults, f)
}

// Heal removes the faults that have not happened.
func (c *Card) Heal() {
	c.state.Lock()
	defer c.state.Unlock()
	c.faults = nil
}

// Commands counts the commands that have arrived.
func (c *Card) Commands() int {
	c.state.Lock()
	defer c.state.Unlock()
	return c.commands
}

// Log is all commands that have arrived, in order.
func (c *Card) Log() [][]byte {
	c.state.Lock()
	defer c.state.Unlock()
	return slices.Clone(c.log)
}

// SetTouch replaces [Config].Touch.
func (c *Card) SetTouch(touch func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config.Touch = touch
}

// PublicKey is that of a slot; nil if it is empty.
func (c *Card) PublicKey(slot byte) *ecdsa.PublicKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.slots[slot]; s != nil {
		return &s.key.PublicKey
	}
	return nil
}

// Tries are what is left for PIN and PUK.
func (c *Card) Tries() (pin, puk int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin.tries, c.puk.tries
}

// Secrets are what opens the card now.
func (c *Card) Secrets() (pin, puk string, management []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin.value, c.puk.value, bytes.Clone(c.manage.key)
}

// SetSecrets gives the card a PIN and a PUK, as its owner would have, and a
// management key of the kind that its firmware prefers.
func (c *Card) SetSecrets(pin, puk string, management []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin, c.puk = secret{pin, factoryTries, factoryTries}, secret{puk, factoryTries, factoryTries}
	c.manage.key = bytes.Clone(management)
}

// SetKey puts a key of P-256 into a slot as if it had been made there, with a PIN
// and a touch for each use, so that a test knows it beforehand.
func (c *Card) SetKey(slotID byte, scalar *big.Int) error {
	return c.put(slotID, scalar, slot{pin: pinAlways, touch: touchAlways})
}

// Import puts a key of P-256 into a slot that was made elsewhere, with policies as
// in the commands of Yubico: 1 is never, 3 always for a PIN, 2 always for a touch.
func (c *Card) Import(slotID byte, scalar *big.Int, pin, touch byte) error {
	return c.put(slotID, scalar, slot{pin: pin, touch: touch, imported: true})
}

func (c *Card) put(slotID byte, scalar *big.Int, s slot) error {
	var err error
	if s.key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar.FillBytes(make([]byte, 32))); err != nil {
		return err
	}
	s.algorithm = algP256
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots[slotID] = &s
	return nil
}

// Attestation returns the certificates of a slot and of the device, as a client
// would read them.
func (c *Card) Attestation(slotID byte) (key, device *x509.Certificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[slotID]
	if s == nil {
		return nil, nil, fmt.Errorf("slot %x is empty", slotID)
	}
	if key, err = c.attest(slotID, s); err != nil {
		return nil, nil, err
	}
	device, err = c.deviceCertificate()
	return key, device, err
}

// Transmit carries out one command APDU and returns the response APDU. An error
// is one of the wire.
func (c *Card) Transmit(command []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Lock()
	gone := c.gone
	select {
	case <-gone:
		c.state.Unlock()
		return nil, ErrUnplugged
	default:
	}
	c.commands++
	c.log = append(c.log, bytes.Clone(command))
	var fault *Fault
	for i, f := range c.faults {
		if f.At == c.commands {
			fault, c.faults = &f, append(c.faults[:i:i], c.faults[i+1:]...)
			break
		}
	}
	c.state.Unlock()
	if fault != nil && !fault.Late {
		c.session = session{}
		return nil, fault.Err
	}
	answer, err := c.run(command, gone)
	if err == nil && fault != nil {
		err = fault.Err
	}
	if err != nil {
		c.session = session{}
		return nil, err
	}
	return answer, nil
}

// status is an outcome other than success.
type status uint16

func (s status) bytes() []byte { return binary.BigEndian.AppendUint16(nil, uint16(s)) }

const (
	statusOK                 status = 0x9000
	statusWrongLength        status = 0x6700
	statusSecurity           status = 0x6982
	statusBlocked            status = 0x6983
	statusConditions         status = 0x6985
	statusWrongData          status = 0x6a80
	statusNotFound           status = 0x6a82
	statusWrongParameters    status = 0x6a86
	statusReferenceNotFound  status = 0x6a88
	statusUnknownInstruction status = 0x6d00
	statusUnknownClass       status = 0x6e00
)

func triesLeft(n int) status { return 0x63c0 | status(min(n, 15)) }

// run takes a command apart: chains, lengths, and the rest of a long answer.
func (c *Card) run(command []byte, gone <-chan struct{}) ([]byte, error) {
	if len(command) < 4 {
		return statusWrongLength.bytes(), nil
	}
	class, instruction := command[0], command[1]
	if class&^0x10 != 0 {
		return statusUnknownClass.bytes(), nil
	}
	data, most, ok := body(command[4:])
	if !ok {
		return statusWrongLength.bytes(), nil
	}
	if instruction == 0xc0 {
		if len(c.session.answer) == 0 {
			return statusConditions.bytes(), nil
		}
		return c.respond(c.session.answer, most), nil
	}
	c.session.answer = nil
	data = append(c.session.chain, data...)
	if class&0x10 != 0 {
		c.session.chain = data
		return statusOK.bytes(), nil
	}
	c.session.chain = nil
	answer, result, err := c.execute(instruction, command[2], command[3], data, gone)
	if err != nil {
		return nil, err
	}
	if result != statusOK {
		return result.bytes(), nil
	}
	return c.respond(answer, most), nil
}

// respond returns as much of an answer as fits, and keeps the rest.
func (c *Card) respond(answer []byte, most int) []byte {
	if len(answer) <= most {
		c.session.answer = nil
		return append(bytes.Clone(answer), statusOK.bytes()...)
	}
	c.session.answer = answer[most:]
	more := status(0x6100)
	if left := len(answer) - most; left < 256 {
		more |= status(left)
	}
	return append(bytes.Clone(answer[:most]), more.bytes()...)
}

// body reads what follows the header: a length, data, and how much may be
// answered, in short or extended form. Clients leave the last out and want an
// answer all the same.
func body(b []byte) (data []byte, most int, ok bool) {
	const short, extended = 256, 65536
	limit := func(n, all int) int {
		if n == 0 {
			return all
		}
		return n
	}
	switch {
	case len(b) == 0:
		return nil, short, true
	case len(b) == 1:
		return nil, limit(int(b[0]), short), true
	case b[0] != 0:
		n := int(b[0])
		switch len(b) - 1 - n {
		case 0:
			return b[1:], short, true
		case 1:
			return b[1 : 1+n], limit(int(b[1+n]), short), true
		}
	case len(b) == 3:
		return nil, limit(int(binary.BigEndian.Uint16(b[1:])), extended), true
	case len(b) > 3:
		n := int(binary.BigEndian.Uint16(b[1:]))
		switch len(b) - 3 - n {
		case 0:
			return b[3:], short, true
		case 2:
			return b[3 : 3+n], limit(int(binary.BigEndian.Uint16(b[3+n:])), extended), true
		}
	}
	return nil, 0, false
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
