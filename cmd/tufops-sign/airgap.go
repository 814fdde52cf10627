package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/signer"
)

// The endings of the files that go to a machine without network and back.
const (
	eventEnding     = ".event"
	signatureEnding = ".signature"
)

func exportCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "export",
		Usage:     "write an event into a file, for a machine without network",
		ArgsUsage: "EVENT",
		Description: `Shows the review, and writes one file with all that the same review takes
elsewhere: what is proposed, what was agreed before, and main's roots. There,
tufops-sign sign-file computes the review anew from the file, and signs. The
signature comes back with tufops-sign import-signature.

Example:
  tufops-sign export sign/root-v14 --output /media/usb/root-v14.event`,
		Flags: append(policyFlags(), overrideFlag(),
			&urfave.StringFlag{Name: "output", Usage: "write `FILE`, not NAME.event for the event sign/NAME"}),
		Action: func(c *urfave.Context) error {
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				name := c.String("output")
				if name == "" {
					name = strings.ReplaceAll(strings.TrimPrefix(o.Event, "sign/"), "/", "-") + eventEnding
				}
				data, err := signer.Export(ctx, o)
				if err != nil {
					return signer.Result{}, err
				}
				if err := writeOnce(name, data); err != nil {
					return signer.Result{}, err
				}
				fmt.Fprintf(m.Stdout, "\nWrote %s, %d bytes. Where the token is:\n  tufops-sign sign-file %s\n", name, len(data), filepath.Base(name))
				return signer.Result{}, nil
			})
		},
	}
}

func signFileCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "sign-file",
		Usage:     "sign the event in a file, without network and git",
		ArgsUsage: "FILE",
		Description: `Shows the review of an event that tufops-sign export has written, computed from
the bytes in FILE, signs what is asked of you, and writes the signatures into a
file for tufops-sign import-signature. Review, checks and questions are those of
tufops-sign sign. If you are invited to a role, your public key goes along, with
the device's proof that it was made there; you sign in the next file.

Nothing in FILE is taken on trust: main's roots must lead from one that this
machine has seen. The first time, name one that another key holder has told you,
by a way that FILE has not come. It is remembered. What cannot be looked at
without a network is said.

Who you are stands in config.ini in $XDG_CONFIG_HOME/tufops-sign, by default
~/.config/tufops-sign, in the form of .tufops-sign.ini; or give --user and
--key. No configuration is read from where FILE lies.

Examples:
  tufops-sign sign-file root-v14.event --user alice --root-sha256 SHA256
  tufops-sign sign-file root-v14.event --key yubikey:12345678`,
		Flags: append(policyFlags(), append(keyFlags(), overrideFlag(), yesFlag(),
			&urfave.StringFlag{Name: "user", Usage: "your `LOGIN` on the forge"},
			&urfave.StringFlag{Name: "root-sha256", Usage: "a root of main that you know to be right has this `SHA256`"},
			&urfave.StringFlag{Name: "output", Usage: "write the signatures to `FILE`, not NAME.LOGIN.signature"},
			againFlag())...),
		Action: func(c *urfave.Context) error {
			err := signFile(c, m)
			if err != nil && c.Context.Err() != nil {
				return interrupted{err}
			}
			return usage(err)
		},
	}
}

func signFile(c *urfave.Context, m machine) error {
	common, err := cli.ParseCommon(c, m.Env)
	if err != nil {
		return err
	}
	in := c.Args().First()
	data, err := readWhole(in, signer.MaxEventFile)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	f, err := signer.ReadEventFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if err := cli.RefuseSimulatedClock(m.Env, f.Remote); err != nil {
		return err
	}
	o := signer.Options{
		Now: common.Now(), Out: m.Stdout, Log: common.Log, PIN: m.Getenv("TUFOPS_PIN"),
		OpenTokens: m.openTokens(""), AllowLegacyKeyIDs: c.Bool("allow-legacy-keyids"), Again: c.Bool("again"),
	}
	signingOptions(c, m, &o)
	if o.Memory, err = memoryDir(m.Env); err != nil {
		return err
	}
	if o.Config, err = ownConfig(c.Context, m.Env, c.String("user"), o.Person); err != nil {
		return err
	}
	out := c.String("output")
	if out == "" {
		out = strings.TrimSuffix(in, eventEnding) + "." + strings.TrimPrefix(o.Config.User, "@") + signatureEnding
	}
	if err := writable(out); err != nil { // before anybody is asked for a PIN
		return err
	}
	signed, err := signer.SignFile(c.Context, o, f, c.String("root-sha256"))
	if signed == nil {
		return err
	}
	text, terr := signed.Bytes()
	if terr != nil {
		return terr
	}
	if werr := writeOnce(out, text); werr != nil {
		fmt.Fprintf(m.Stdout, "\n%s\n", text)
		return &unwrittenError{out, errors.Join(werr, err)}
	}
	for _, one := range signed.Keys {
		fmt.Fprintf(m.Stdout, "Your key for %s goes along; export the event anew once it is there.\n", one.Role)
	}
	for _, one := range signed.Signatures {
		fmt.Fprintf(m.Stdout, "Signed %s v%d as %s.\n", one.Role, one.Version, signed.By)
	}
	fmt.Fprintf(m.Stdout, "Wrote %s. Where the network is:\n  tufops-sign import-signature %s\n", out, filepath.Base(out))
	if err != nil {
		return cli.WithNote(err, "what was signed is in "+out+" all the same")
	}
	return nil
}

// unwrittenError says that what was given could not be written where it was to be.
type unwrittenError struct {
	file string
	err  error
}

func (e *unwrittenError) Error() string { return fmt.Sprintf("write %s: %v", e.file, e.err) }

func (e *unwrittenError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *unwrittenError) Hint() string {
	return "copy the lines above, from \"tufops signatures 1\" on, into a file for tufops-sign import-signature"
}

// Note says in what state things were left.
func (e *unwrittenError) Note() string { return "nothing is lost: what was given stands above" }

// roomForSignatures is more than a person's signatures and keys take.
const roomForSignatures = 64 << 10

// writable makes sure that a file is not there and can be written, with room for
// what is to be in it, by writing another beside it that does not stay.
func writable(name string) error {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return cannotWrite(name, err)
		}
		return there(name)
	}
	f, err := wholefile.Create(name, "", 0o600)
	if err != nil {
		return cannotWrite(name, err)
	}
	defer f.Discard()
	if _, err := f.Write(make([]byte, roomForSignatures)); err != nil {
		return cannotWrite(name, err)
	}
	if err := f.Sync(); err != nil {
		return cannotWrite(name, err)
	}
	return nil
}

func cannotWrite(name string, err error) error {
	return cli.WithNote(cli.WithHint(fmt.Errorf("%s cannot be written: %w", name, err), "name a file on another medium with --output"), "nothing was signed")
}

func importSignatureCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "import-signature",
		Usage:     "add signatures from a file to their event",
		ArgsUsage: "FILE",
		Description: `Takes the file that tufops-sign sign-file has written, makes sure that each
signature is over what the event proposes now and by a key that is asked for,
and pushes one commit. What is there already is left as it is.

Examples:
  tufops-sign import-signature root-v14.alice.signature
  tufops-sign import-signature root-v14.alice.signature --yes --no-push`,
		Flags: append(policyFlags(), overrideFlag(), noPushFlag(), yesFlag(), againFlag()),
		Action: func(c *urfave.Context) error {
			name := c.Args().First()
			data, err := readWhole(name, signer.MaxSignatureFile)
			if err != nil {
				return fmt.Errorf("signature file: %w", err)
			}
			f, err := signer.ReadSignatureFile(data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				o.Again = c.Bool("again")
				return signer.ImportSignature(ctx, o, f)
			})
		},
	}
}

// ownConfig is who the person is where there is no checkout: the file below their
// own configuration folder, --user, or what they answer.
func ownConfig(ctx context.Context, env cli.Env, user string, p signer.Person) (signer.Config, error) {
	c := signer.Config{}
	dir := env.Getenv("XDG_CONFIG_HOME")
	if home := env.Getenv("HOME"); !filepath.IsAbs(dir) && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(dir) {
		var err error
		if c, err = signer.ReadConfig(filepath.Join(dir, "tufops-sign", "config.ini")); err != nil {
			return c, err
		}
	}
	if user == "" && c.User == "" && p != nil {
		var err error
		if user, err = p.Ask(ctx, "Your login on the forge", ""); err != nil {
			return c, err
		}
	}
	if user == "" && c.User == "" {
		return c, cli.Usagef("name yourself with --user LOGIN")
	}
	if user != "" {
		names, err := signer.ParseSigners(user)
		if err != nil || len(names) != 1 {
			return c, cli.Usagef("--user: %q is not a login like @alice", user)
		}
		c.User = names[0]
	}
	return c, nil
}

// readWhole reads a file that may lie on somebody else's medium: once, so that
// what was checked is what is used.
func readWhole(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	large := fmt.Errorf("%s is larger than %d bytes", name, limit)
	if st.Size() > limit {
		return nil, large
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = large // it has grown
	}
	return data, err
}

func there(name string) error {
	return cli.WithHint(fmt.Errorf("%s is there already", name), "name another with --output, or move that one away")
}

// writeOnce writes a file that is not there, as a whole; one that has the same
// content is left as it is.
func writeOnce(name string, data []byte) error {
	switch have, err := os.ReadFile(name); {
	case err == nil && bytes.Equal(have, data):
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return there(name)
	}
	return wholefile.Write(name, data, 0o644)
}
