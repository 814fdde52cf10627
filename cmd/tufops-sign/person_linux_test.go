package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/tufops/tufops/internal/cli"
)

// terminal opens a pseudo-terminal: keyboard and screen, and what a program has.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var unlock, n uint32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&n))
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		t.Fatal(errno)
	}
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	var state syscall.Termios
	ioctl(t, f, syscall.TCGETS, unsafe.Pointer(&state))
	return state.Lflag&syscall.ECHO != 0
}

// A PIN is not shown while it is typed, and the terminal shows again what is typed
// after that, also if the person has given up.
func TestPINIsNotShown(t *testing.T) {
	for _, giveUp := range []bool{false, true} {
		master, slave := terminal(t)
		var said bytes.Buffer
		p := newPerson(cli.Env{Stdin: slave, Stderr: &said, StdinIsTerminal: true}, "tufops-sign")
		ctx, cancel := context.WithCancel(t.Context())
		type answer struct {
			text string
			err  error
		}
		got := make(chan answer)
		go func() {
			text, err := p.Secret(ctx, "PIN")
			got <- answer{text, err}
		}()
		for echoes(t, slave) { // until the program reads
			runtime.Gosched()
		}
		if giveUp {
			cancel()
			if a := <-got; !errors.Is(a.err, context.Canceled) || !echoes(t, slave) {
				t.Errorf("given up: %v, echoes %v", a.err, echoes(t, slave))
			}
			continue
		}
		fmt.Fprint(master, "246810\n")
		if a := <-got; a.err != nil || a.text != "246810" {
			t.Errorf("%q, %v", a.text, a.err)
		}
		if !echoes(t, slave) {
			t.Error("the terminal does not show what is typed any more")
		}
		// What is typed next stands on the screen, and nothing before it.
		fmt.Fprint(master, "next\n")
		screen := make([]byte, 64)
		n, err := master.Read(screen)
		if err != nil || strings.Contains(string(screen[:n]), "246810") || !strings.Contains(string(screen[:n]), "next") {
			t.Errorf("the screen shows %q, %v", screen[:n], err)
		}
		if strings.Contains(said.String(), "246810") {
			t.Errorf("said %q", &said)
		}
		cancel()
	}
}
