//go:build cgo && (linux || darwin || freebsd || openbsd)

package yubikey

// #cgo darwin LDFLAGS: -framework PCSC
// #cgo linux pkg-config: libpcsclite
// #cgo freebsd CFLAGS: -I/usr/local/include/
// #cgo freebsd LDFLAGS: -L/usr/local/lib/ -lpcsclite
// #cgo openbsd CFLAGS: -I/usr/local/include/
// #cgo openbsd LDFLAGS: -L/usr/local/lib/ -lpcsclite
// #include <stdlib.h>
// #include <PCSC/winscard.h>
import "C"

import "unsafe"

// canExchange reports whether this system has exchange.
const canExchange = true

// exchange sends commands to the card in a reader and returns what it answers to
// each, with the status word. It takes the card for this program alone, and lets
// go of it whatever happens.
func exchange(reader string, commands ...[]byte) ([][]byte, error) {
	check := func(what string, rc C.LONG) error {
		if rc == C.SCARD_S_SUCCESS {
			return nil
		}
		return &pcscError{what, uint32(rc)}
	}
	var context C.SCARDCONTEXT
	if err := check("reach the smart card service", C.LONG(C.SCardEstablishContext(C.SCARD_SCOPE_SYSTEM, nil, nil, &context))); err != nil {
		return nil, err
	}
	defer C.SCardReleaseContext(context)
	name := C.CString(reader)
	defer C.free(unsafe.Pointer(name))
	var card C.SCARDHANDLE
	var protocol C.DWORD
	if err := check("connect", C.LONG(C.SCardConnect(context, name, C.SCARD_SHARE_EXCLUSIVE, C.SCARD_PROTOCOL_T1, &card, &protocol))); err != nil {
		return nil, err
	}
	defer C.SCardDisconnect(card, C.SCARD_LEAVE_CARD)
	var answers [][]byte
	for _, command := range commands {
		answer := make([]byte, 258) // of a command in short form
		n := C.DWORD(len(answer))
		rc := C.SCardTransmit(card, C.SCARD_PCI_T1, (*C.BYTE)(&command[0]), C.DWORD(len(command)), nil, (*C.BYTE)(&answer[0]), &n)
		if err := check("transmit", C.LONG(rc)); err != nil {
			return nil, err
		}
		if n < 2 {
			return nil, &pcscError{"transmit", commFailed}
		}
		answers = append(answers, answer[:n])
	}
	return answers, nil
}
