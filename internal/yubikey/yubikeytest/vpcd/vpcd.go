// Package vpcd starts the real PC/SC daemon, private to the caller, with the
// virtual reader driver of the vsmartcard project, and puts virtual cards into
// it. It is slower than yubikeytest/pcscd and shows what that cannot: that our
// cards and programs work with the daemon that people run.
//
// The daemon ends with the process that started it. It needs the programs pcscd
// and sh, the driver, and a directory /run/pcscd, so it has to run as root.
package vpcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
)

// Driver is where Debian installs the reader driver.
const Driver = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"

// Missing says what is not installed and how to get it; nil if nothing is
// missing.
func Missing() error {
	_, err := exec.LookPath("pcscd")
	if _, derr := os.Stat(Driver); err == nil {
		err = derr
	}
	if err != nil {
		return fmt.Errorf("%w: install them with: apt-get install pcscd vsmartcard-vpcd", err)
	}
	return nil
}

// slotsPerDriver is what one copy of the driver serves: it keeps its state in
// variables of the library, so that each two cards need a copy of their own.
const slotsPerDriver = 2

// Daemon is a running pcscd. Its methods may be called at the same time.
type Daemon struct {
	dir    string
	ports  []int // of the slots
	cmd    *exec.Cmd
	output bytes.Buffer

	mu    sync.Mutex
	conns map[*card.Card]*link
}

// link is a card in a slot.
type link struct {
	slot int
	conn *net.TCPConn
	done chan struct{}
}

// Start runs a daemon with room for so many cards, and returns when it listens.
func Start(ctx context.Context, cards int) (*Daemon, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	// The protocol has room for 107 bytes of path.
	dir, err := os.MkdirTemp("", "vpcd")
	if err != nil {
		return nil, err
	}
	d := &Daemon{dir: dir, conns: map[*card.Card]*link{}}
	if err := d.start(ctx, cards); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) start(ctx context.Context, cards int) error {
	config := filepath.Join(d.dir, "readers")
	if err := errors.Join(os.Mkdir(config, 0o700), os.MkdirAll("/run/pcscd", 0o755)); err != nil {
		return err
	}
	driver, err := os.ReadFile(Driver)
	if err != nil {
		return err
	}
	for n := 0; len(d.ports) < cards; n++ {
		port, err := freePorts()
		if err != nil {
			return err
		}
		library := filepath.Join(d.dir, fmt.Sprintf("driver%d.so", n))
		// Two readers of one name would be one to clients.
		entry := fmt.Sprintf("FRIENDLYNAME \"Yubico YubiKey OTP+FIDO+CCID [%d]\"\nDEVICENAME /dev/null:0x%X\nLIBPATH %s\nCHANNELID 0x%X\n", n, port, library, port)
		if err := errors.Join(os.WriteFile(library, driver, 0o700), os.WriteFile(filepath.Join(config, fmt.Sprint("r", n)), []byte(entry), 0o600)); err != nil {
			return err
		}
		for slot := range slotsPerDriver {
			d.ports = append(d.ports, port+slot)
		}
	}
	// pcscd has no option for its socket. It takes one that it is given, as
	// systemd would: descriptor 3, under its own process id.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.Socket(), Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	socket, err := l.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	d.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec pcscd --foreground --config "$0"`, config)
	d.cmd.ExtraFiles = []*os.File{socket}
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	d.cmd.SysProcAttr = endWithParent()
	if err := d.cmd.Start(); err != nil {
		d.cmd = nil
		return err
	}
	// The driver listens on the ports when the daemon is ready.
	for _, port := range d.ports {
		if err := d.waitFor(ctx, port); err != nil {
			return err
		}
	}
	return nil
}

const patience = 15 * time.Second

// waitFor returns when somebody listens on the port. It neither connects, which the
// driver would take for a card, nor tries to listen itself, which for that moment would
// keep the driver from it for good.
func (d *Daemon) waitFor(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		taken, err := listening()
		if err != nil || taken[port] {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("pcscd does not listen on port %d after %v: %w", port, patience, ctx.Err())
		}
	}
}

// listening are the TCP ports that somebody on this machine listens on, as the system
// tells, see proc_net_tcp(5).
func listening() (map[int]bool, error) {
	ports := map[int]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if errors.Is(err, fs.ErrNotExist) { // a machine without IPv6
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(data)) {
			// sl local_address rem_address st ..., an address as HEX:PORT
			f := strings.Fields(line)
			const listen = "0A"
			if len(f) < 4 || f[3] != listen {
				continue
			}
			_, text, _ := strings.Cut(f[1], ":")
			port, err := strconv.ParseUint(text, 16, 16)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", table, err)
			}
			ports[int(port)] = true
		}
	}
	return ports, nil
}

// The system gives ports from 32768 on to those who name none.
const lowestPort, highestPort = 20000, 32000

// freePorts finds as many free ports in a row as a driver serves.
func freePorts() (int, error) {
	taken, err := listening()
	if err != nil {
		return 0, err
	}
	const tries = 100
	for range tries {
		port := lowestPort + slotsPerDriver*rand.IntN((highestPort-lowestPort)/slotsPerDriver)
		free := true
		for slot := range slotsPerDriver {
			free = free && !taken[port+slot]
		}
		if free {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row after %d tries", slotsPerDriver, tries)
}

// Socket is the value for PCSCLITE_CSOCK_NAME, where libpcsclite looks.
func (d *Daemon) Socket() string { return filepath.Join(d.dir, "s") }

// Environ is PCSCLITE_CSOCK_NAME, where libpcsclite looks with the socket, as a process takes it.
func (d *Daemon) Environ() []string { return []string{"PCSCLITE_CSOCK_NAME=" + d.Socket()} }

// Insert puts a card into the first free reader. The daemon sees it within half a
// second.
func (d *Daemon) Insert(c *card.Card) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns[c] != nil {
		return fmt.Errorf("insert card %d: it is in a reader", c.Serial())
	}
	slot := 0
	for d.taken(slot) {
		slot++
	}
	if slot == len(d.ports) {
		return fmt.Errorf("insert card %d: all %d readers are taken", c.Serial(), len(d.ports))
	}
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", d.ports[slot]))
	if err != nil {
		return fmt.Errorf("insert card %d: %w", c.Serial(), err)
	}
	c.Plug()
	l := &link{slot: slot, conn: conn.(*net.TCPConn), done: make(chan struct{})}
	d.conns[c] = l
	go func() {
		defer close(l.done)
		serve(l.conn, c)
		// The card may have gone by itself.
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.conns[c] == l {
			delete(d.conns, c)
		}
	}()
	return nil
}

func (d *Daemon) taken(slot int) bool {
	for _, l := range d.conns {
		if l.slot == slot {
			return true
		}
	}
	return false
}

// Unplug takes a card out. It need not be in.
func (d *Daemon) Unplug(c *card.Card) {
	c.Unplug()
	d.mu.Lock()
	l := d.conns[c]
	delete(d.conns, c)
	d.mu.Unlock()
	if l != nil {
		l.conn.Close()
		<-l.done
	}
}

// Close ends the daemon and removes its directory.
func (d *Daemon) Close() error {
	var err error
	if d.cmd != nil {
		err = errors.Join(d.cmd.Process.Kill())
		d.cmd.Wait() // says that it was killed
	}
	d.mu.Lock()
	links := d.conns
	d.conns = map[*card.Card]*link{}
	d.mu.Unlock()
	for _, l := range links {
		l.conn.Close()
		<-l.done
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// Output is what the daemon has printed, once it is closed.
func (d *Daemon) Output() string { return d.output.String() }

// serve answers the driver: messages with a length of two bytes before them. One
// of a single byte is about the reader, any other a command for the card.
func serve(conn *net.TCPConn, c *card.Card) {
	const powerOff, powerOn, reset, askATR = 0, 1, 2, 4
	defer conn.Close()
	for {
		message, err := receive(conn)
		if err != nil {
			return
		}
		var answer []byte
		switch {
		case len(message) != 1:
			if answer, err = c.Transmit(message); errors.Is(err, card.ErrUnplugged) {
				return
			}
			// An answer of no length is what a disturbed wire gives.
		case message[0] == askATR:
			answer = c.ATR()
		case message[0] == powerOff, message[0] == powerOn, message[0] == reset:
			c.PowerCycle()
			continue
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func receive(conn *net.TCPConn) ([]byte, error) {
	// The driver sends length and body apart and waits for our acknowledgement in
	// between. The system forgets this wish with every read.
	prompt(conn)
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	prompt(conn)
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, message)
	return message, err
}
