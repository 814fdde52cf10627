// Package pcscd speaks the protocol of PC/SC-lite's daemon on a unix socket, and
// serves virtual cards. Programs that link libpcsclite find it by the
// environment variable [Variable].
//
// It is exact about who may use a card when, and can be told to fail as readers
// do. What it does not know (waiting for a change, control codes) it refuses.
//
// libpcsclite remembers the name of the socket: one process sees one daemon.
package pcscd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
)

// Variable is where libpcsclite looks for the path of the socket.
const Variable = "PCSCLITE_CSOCK_NAME"

// Result codes of PC/SC that a test may choose from.
const (
	success           = 0
	InvalidHandle     = 0x80100003
	unknownReader     = 0x80100009
	sharingViolation  = 0x8010000b
	NoCard            = 0x8010000c
	protocolMismatch  = 0x8010000f
	NotTransacted     = 0x80100016
	ReaderUnavailable = 0x80100017
	unsupported       = 0x8010001f
	commError         = 0x8010002f
	Removed           = 0x80100069
)

// maxReaders is how many the protocol has room for.
const maxReaders = 16

// Daemon serves cards to the programs of this user. Its methods may be called at
// the same time.
type Daemon struct {
	dir      string
	listener net.Listener
	wait     sync.WaitGroup

	mu      sync.Mutex
	readers []*reader
	conns   map[net.Conn]bool
	handles map[uint32]*handle
	next    uint32
	removed uint32
}

type reader struct {
	name   string
	card   *card.Card
	held   bool    // by a program that is not there
	holder *handle // has it for itself
	shared int
	locked *handle // has a transaction
}

type handle struct {
	conn      net.Conn
	reader    *reader
	exclusive bool
	gone      bool // its card was unplugged
}

// Start makes a daemon with a socket of its own in a new directory. Its path is
// short, as the protocol asks for.
func Start() (*Daemon, error) {
	dir, err := os.MkdirTemp("", "pcsc")
	if err != nil {
		return nil, err
	}
	d := &Daemon{dir: dir, removed: Removed}
	if err := d.Listen(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return d, nil
}

// Listen makes the daemon answer, after Start or Hangup.
func (d *Daemon) Listen() error {
	l, err := net.Listen("unix", d.Socket())
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.listener, d.conns, d.handles = l, map[net.Conn]bool{}, map[uint32]*handle{}
	d.mu.Unlock()
	d.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns[conn] = true
			d.mu.Unlock()
			d.wait.Go(func() { d.serve(conn) })
		}
	})
	return nil
}

// Hangup ends what Listen began: no such daemon runs any more.
func (d *Daemon) Hangup() {
	d.mu.Lock()
	d.listener.Close()
	for conn := range d.conns {
		conn.Close()
	}
	d.mu.Unlock()
	d.wait.Wait()
}

// Close ends the daemon and removes its directory.
func (d *Daemon) Close() error {
	d.Hangup()
	return os.RemoveAll(d.dir)
}

// Socket is the value for [Variable].
func (d *Daemon) Socket() string { return filepath.Join(d.dir, "s") }

// Environ is [Variable] with the socket, as a process takes it.
func (d *Daemon) Environ() []string { return []string{Variable + "=" + d.Socket()} }

// Insert plugs a card into a reader of its own.
func (d *Daemon) Insert(c *card.Card) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.readers) == maxReaders {
		return fmt.Errorf("insert card %d: all %d readers are taken", c.Serial(), maxReaders)
	}
	if slices.ContainsFunc(d.readers, func(r *reader) bool { return r.card == c }) {
		return fmt.Errorf("insert card %d: it is in a reader", c.Serial())
	}
	c.Plug()
	n := 0 // the lowest number that is free
	name := func() string { return fmt.Sprintf("Yubico YubiKey OTP+FIDO+CCID %02d 00", n) }
	for slices.ContainsFunc(d.readers, func(r *reader) bool { return r.name == name() }) {
		n++
	}
	d.readers = append(d.readers, &reader{name: name(), card: c})
	return nil
}

// Unplug takes a card out, with its reader, as a token is. It need not be in.
func (d *Daemon) Unplug(c *card.Card) {
	c.Unplug() // first: a command that waits ends
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, r := range d.readers {
		if r.card == c {
			for _, h := range d.handles {
				h.gone = h.gone || h.reader == r
			}
			d.readers = slices.Delete(d.readers, i, i+1)
			return
		}
	}
}

// Hold makes another program have the card for itself, or let go of it.
func (d *Daemon) Hold(c *card.Card, held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.readers {
		if r.card == c {
			r.held = held
		}
	}
}

// SetRemoved chooses with which code a program is told that its card is gone.
// Readers and systems differ.
func (d *Daemon) SetRemoved(code uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removed = code
}

// Commands of the protocol, version 4:4, and the size of what follows each.
const (
	establish   = 0x01
	release     = 0x02
	connect     = 0x04
	reconnect   = 0x05
	disconnect  = 0x06
	begin       = 0x07
	end         = 0x08
	transmit    = 0x09
	control     = 0x0a
	statusOf    = 0x0b
	cancel      = 0x0d
	getAttrib   = 0x0f
	version     = 0x11
	readerState = 0x12
)

var sizes = map[uint32]int{
	establish: 12, release: 8, connect: 152, reconnect: 24, disconnect: 12, begin: 8, end: 12, transmit: 32, control: 24,
	statusOf: 8, cancel: 8, getAttrib: 280, version: 12, readerState: 0,
}

var native = binary.NativeEndian

// serve answers one connection. libpcsclite opens one for each context.
func (d *Daemon) serve(conn net.Conn) {
	defer func() {
		conn.Close()
		d.mu.Lock()
		delete(d.conns, conn)
		for id, h := range d.handles {
			if h.conn == conn {
				d.drop(id)
			}
		}
		d.mu.Unlock()
	}()
	for {
		var header [8]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		size, command := native.Uint32(header[:]), native.Uint32(header[4:])
		if want, known := sizes[command]; !known || int(size) != want {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		answer, err := d.answer(conn, command, body)
		if err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// answer carries out one request. The reply is the request's own structure with
// what was asked for filled in; its last field is the result.
func (d *Daemon) answer(conn net.Conn, command uint32, body []byte) ([]byte, error) {
	switch command {
	case transmit: // runs as long as the card does
		return d.transmit(conn, body)
	case control:
		if _, err := io.CopyN(io.Discard, conn, int64(native.Uint32(body[8:]))); err != nil {
			return nil, err
		}
		return result(body, unsupported), nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch command {
	case version:
		native.PutUint32(body, 4)
		native.PutUint32(body[4:], 4)
		return result(body, success), nil
	case establish:
		d.next++
		native.PutUint32(body[4:], d.next)
		return result(body, success), nil
	case release, cancel:
		return result(body, success), nil
	case readerState:
		return d.states(), nil
	case connect:
		return d.connect(conn, body), nil
	}
	id := native.Uint32(body)
	h := d.handles[id]
	if h == nil || h.conn != conn {
		return result(body, InvalidHandle), nil
	}
	r := h.reader
	switch command {
	case disconnect:
		if native.Uint32(body[4:]) != 0 && !h.gone { // other than to leave the card as it is
			r.card.PowerCycle()
		}
		d.drop(id)
		return result(body, success), nil
	case reconnect:
		if h.gone {
			return result(body, d.removed), nil
		}
		if native.Uint32(body[12:]) != 0 {
			r.card.PowerCycle()
		}
		native.PutUint32(body[16:], protocolT1)
		return result(body, success), nil
	case begin:
		switch {
		case h.gone:
			return result(body, d.removed), nil
		case r.locked != nil && r.locked != h:
			return result(body, sharingViolation), nil
		}
		r.locked = h
		return result(body, success), nil
	case end:
		switch {
		case h.gone:
			return result(body, d.removed), nil
		case r.locked != h:
			return result(body, NotTransacted), nil
		}
		r.locked = nil
		return result(body, success), nil
	case statusOf:
		if h.gone {
			return result(body, d.removed), nil
		}
		return result(body, success), nil
	case getAttrib:
		return result(body, unsupported), nil
	}
	return nil, fmt.Errorf("command %#x", command)
}

func result(body []byte, code uint32) []byte {
	native.PutUint32(body[len(body)-4:], code)
	return body
}

const protocolT1 = 2

func (d *Daemon) connect(conn net.Conn, body []byte) []byte {
	const shareExclusive, shareShared = 1, 2
	name, _, _ := bytes.Cut(body[4:132], []byte{0})
	share, protocols := native.Uint32(body[132:]), native.Uint32(body[136:])
	i := slices.IndexFunc(d.readers, func(r *reader) bool { return r.name == string(name) })
	if i < 0 {
		return result(body, unknownReader)
	}
	r := d.readers[i]
	h := &handle{conn: conn, reader: r, exclusive: share == shareExclusive}
	switch {
	case protocols&protocolT1 == 0:
		return result(body, protocolMismatch)
	case r.held, r.holder != nil, h.exclusive && r.shared > 0:
		return result(body, sharingViolation)
	case share != shareExclusive && share != shareShared:
		return result(body, unsupported)
	}
	if h.exclusive {
		r.holder = h
	} else {
		r.shared++
	}
	d.next++
	d.handles[d.next] = h
	native.PutUint32(body[140:], d.next)
	native.PutUint32(body[144:], protocolT1)
	return result(body, success)
}

// drop ends a handle and what it held.
func (d *Daemon) drop(id uint32) {
	h := d.handles[id]
	delete(d.handles, id)
	if h.reader.locked == h {
		h.reader.locked = nil
	}
	if h.exclusive {
		h.reader.holder = nil
	} else {
		h.reader.shared--
	}
}

func (d *Daemon) transmit(conn net.Conn, body []byte) ([]byte, error) {
	const maxCommand = 65548
	size := native.Uint32(body[12:])
	if size > maxCommand {
		return nil, fmt.Errorf("a command of %d bytes", size)
	}
	command := make([]byte, size)
	if _, err := io.ReadFull(conn, command); err != nil {
		return nil, err
	}
	d.mu.Lock()
	h, gone := d.handles[native.Uint32(body)], d.removed
	code := uint32(success)
	switch {
	case h == nil || h.conn != conn:
		code = InvalidHandle
	case h.gone:
		code = gone
	case h.reader.locked != nil && h.reader.locked != h:
		code = sharingViolation
	}
	d.mu.Unlock()
	native.PutUint32(body[24:], 0)
	if code != success {
		return result(body, code), nil
	}
	answer, err := h.reader.card.Transmit(command)
	switch {
	case errors.Is(err, card.ErrUnplugged):
		d.Unplug(h.reader.card)
		return result(body, gone), nil
	case err != nil:
		return result(body, commError), nil
	}
	native.PutUint32(body[24:], uint32(len(answer)))
	return append(result(body, success), answer...), nil
}

// states describes all readers.
func (d *Daemon) states() []byte {
	const (
		size, nameSize, maxATR = 184, 128, 33
		present                = 0x4 | 0x10 | 0x20 // powered, and its protocol can be chosen
	)
	all := make([]byte, size*maxReaders)
	for i, r := range d.readers {
		b := all[i*size : (i+1)*size]
		copy(b[:nameSize-1], r.name)
		native.PutUint32(b[nameSize+4:], present)
		sharing := int32(r.shared)
		if r.holder != nil || r.held {
			sharing = -1
		}
		native.PutUint32(b[nameSize+8:], uint32(sharing))
		atr := r.card.ATR()
		copy(b[nameSize+12:nameSize+12+maxATR], atr)
		native.PutUint32(b[nameSize+48:], uint32(len(atr)))
		native.PutUint32(b[nameSize+52:], protocolT1)
	}
	return all
}
