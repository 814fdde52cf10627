// Vyk runs a program with virtual YubiKeys in place of real ones:
//
//	go run ./internal/yubikey/yubikeytest/vyk -n 2 -- tufops-sign keys list
//
// Their serials are 9000001, 9000002 and so on. They come from the factory: PIN
// 123456, PUK 12345678, no key. With -owned they have a PIN of their own, 246810,
// and a key in slot 9c, the same one each time. Whoever waits for a touch gets it
// after a moment. All is gone when the program ends.
package main

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/vpcd"
)

const firstSerial = 9000001

type options struct {
	n        int
	firmware card.Firmware
	owned    bool
	touch    string
	roots    string
	real     bool
}

func main() {
	status, err := run(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vyk: error:", err)
	}
	os.Exit(status)
}

func run(args []string, stderr io.Writer) (int, error) {
	flags := flag.NewFlagSet("vyk", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: vyk [flags] -- PROGRAM [ARGUMENT...]\n\nFlags:")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nExample:\n  vyk -n 2 -firmware 5.4.3 -- tufops-sign keys list")
	}
	var o options
	var firmware string
	flags.IntVar(&o.n, "n", 1, "how many tokens")
	flags.StringVar(&firmware, "firmware", card.Firmware571.String(), "their firmware")
	flags.BoolVar(&o.owned, "owned", false, "with a PIN of their own and a key in slot 9c")
	flags.StringVar(&o.touch, "touch", "yes", "yes: they are touched a moment after they ask; no: nobody is there")
	flags.StringVar(&o.roots, "roots", "", "write the certificate that their attestations lead to into this file")
	flags.BoolVar(&o.real, "real", false, "through the real pcscd and Debian's virtual reader, as root")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0, nil
	} else if err != nil {
		return 2, nil // it has been said
	}
	var err error
	if o.firmware, err = card.ParseFirmware(firmware); err != nil {
		return 2, err
	}
	if flags.NArg() == 0 || o.n < 0 || o.touch != "yes" && o.touch != "no" {
		flags.Usage()
		return 2, nil
	}
	return serve(o, flags.Args(), stderr)
}

// serve runs the program while the tokens are there, and returns its status.
func serve(o options, program []string, stderr io.Writer) (status int, err error) {
	var d yubikeytest.Daemon
	if o.real {
		d, err = vpcd.Start(context.Background(), o.n)
	} else {
		d, err = pcscd.Start()
	}
	if err != nil {
		return 1, err
	}
	defer func() {
		if cerr := d.Close(); cerr != nil && err == nil {
			status, err = 1, cerr
		}
	}()
	ca, err := card.NewCA(0)
	if err != nil {
		return 1, err
	}
	if o.roots != "" {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root.Raw})
		if err := os.WriteFile(o.roots, block, 0o644); err != nil {
			return 1, err
		}
	}
	for i := range o.n {
		if err := insert(d, o, ca, uint32(firstSerial+i), stderr); err != nil {
			return 1, err
		}
	}
	// Ctrl-C is for the program; what is here ends with it.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), d.Environ()...)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil // a signal gives -1
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// hesitation is long enough to read that a touch is awaited.
const hesitation = 300 * time.Millisecond

func insert(d yubikeytest.Daemon, o options, ca *card.CA, serial uint32, stderr io.Writer) error {
	c, err := card.New(card.Config{Serial: serial, Firmware: o.firmware, CA: ca, Touch: func() bool {
		time.Sleep(hesitation)
		if o.touch == "yes" {
			fmt.Fprintf(stderr, "vyk: token %d was touched\n", serial)
		}
		return o.touch == "yes"
	}})
	if err != nil {
		return err
	}
	if o.owned {
		yubikeytest.Own(c)
		if err := c.SetKey(card.SlotSignature, big.NewInt(int64(serial))); err != nil {
			return err
		}
	}
	return d.Insert(c)
}
