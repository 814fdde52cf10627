package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	attest "github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/internal/yubikey"
	"github.com/tufops/tufops/signer"
)

func keysCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "keys",
		Usage: "see, make and attest keys on YubiKeys",
		Description: `Works with slot 9c of the YubiKeys that are inserted, and needs no checkout.

Example:
  tufops-sign keys list`,
		Subcommands: []*urfave.Command{keysListCommand(env), keysGenerateCommand(env), keysAttestCommand(env)},
	}
}

func keysListCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "list",
		Usage: "show the YubiKeys that are inserted",
		Description: `Shows each token with its serial, its firmware, the key in slot 9c, the tries
left for the PIN, and which of its secrets are still the factory's. It asks for
nothing and changes nothing.

Examples:
  tufops-sign keys list
  tufops-sign keys list --format json`,
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"}},
		Action: func(c *urfave.Context) error {
			format := c.String("format")
			if format != "text" && format != "json" {
				return cli.Usagef("--format is text or json, not %q", format)
			}
			devices, err := yubikey.List(c.Context)
			if err != nil {
				return err
			}
			if format == "json" {
				return printTokens(env, devices)
			}
			if len(devices) == 0 {
				fmt.Fprintln(env.Stdout, yubikey.ErrNoToken)
			}
			for _, d := range devices {
				fmt.Fprint(env.Stdout, describe(d))
			}
			return nil
		},
	}
}

// describe is what keys list says of one token.
func describe(d yubikey.Device) string {
	if d.Problem != nil {
		return fmt.Sprintf("%s\n  %v\n", d, d.Problem)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if d.FormFactor == 0 {
		line("%s (firmware %s)", d, d.Firmware)
	} else {
		line("%s (firmware %s, %s)", d, d.Firmware, d.FormFactor)
	}
	if d.Public == nil {
		line("  slot 9c  empty")
	} else {
		line("  slot 9c  %s", publicLine(d.Public))
		line("           PIN %s, touch %s%s", orUnknown(d.PINPolicy), orUnknown(d.TouchPolicy), map[bool]string{true: ", not known to be made on the token"}[d.Imported])
	}
	if d.PINTries == 0 {
		line("  PIN      blocked")
	} else {
		line("  PIN      tries left: %d", d.PINTries)
	}
	names := []string{"PIN", "PUK", "management key"}
	answers := []yubikey.Answer{d.Factory.PIN, d.Factory.PUK, d.Factory.ManagementKey}
	switch is := func(a yubikey.Answer) []string {
		var list []string
		for i, answer := range answers {
			if answer == a {
				list = append(list, names[i])
			}
		}
		return list
	}; {
	case len(is(yubikey.Yes)) > 0:
		line("  factory  still has the factory's: %s", strings.Join(is(yubikey.Yes), ", "))
	case len(is(yubikey.Unknown)) > 0:
		line("  factory  does not say whether it has the factory's: %s", strings.Join(is(yubikey.Unknown), ", "))
	}
	return b.String()
}

// tokenList is what keys list prints as JSON, see schema/keys-list.schema.json.
type tokenList struct {
	Schema int         `json:"schema"`
	Tokens []tokenJSON `json:"tokens"`
}

// tokenJSON is a token: what can be seen of it, or what is wrong with it.
type tokenJSON struct {
	Name       string       `json:"name"`
	Serial     uint32       `json:"serial,omitempty"`
	Problem    string       `json:"problem,omitempty"`
	Firmware   string       `json:"firmware,omitempty"`
	FormFactor string       `json:"form_factor,omitempty"`
	Key        *keyJSON     `json:"key,omitempty"`
	PINTries   *int         `json:"pin_tries,omitempty"`
	Factory    *factoryJSON `json:"factory,omitempty"`
}

// keyJSON is the key in slot 9c.
type keyJSON struct {
	Kind     string `json:"kind"`
	SHA256   string `json:"sha256,omitempty"` // as keys/ knows it
	PIN      string `json:"pin_policy"`
	Touch    string `json:"touch_policy"`
	Imported bool   `json:"imported"`
}

// factoryJSON says of secrets whether they are still the factory's.
type factoryJSON struct {
	PIN           yubikey.Answer `json:"pin"`
	PUK           yubikey.Answer `json:"puk"`
	ManagementKey yubikey.Answer `json:"management_key"`
}

func printTokens(env cli.Env, devices []yubikey.Device) error {
	list := tokenList{Schema: 1, Tokens: []tokenJSON{}}
	for _, d := range devices {
		t := tokenJSON{Name: d.String(), Serial: d.Serial}
		if d.Problem != nil {
			t.Problem = d.Problem.Error()
			list.Tokens = append(list.Tokens, t)
			continue
		}
		t.Firmware, t.PINTries = d.Firmware.String(), &d.PINTries
		if d.FormFactor != 0 {
			t.FormFactor = d.FormFactor.String()
		}
		t.Factory = &factoryJSON{d.Factory.PIN, d.Factory.PUK, d.Factory.ManagementKey}
		if d.Public != nil {
			t.Key = &keyJSON{PIN: orUnknown(d.PINPolicy), Touch: orUnknown(d.TouchPolicy), Imported: d.Imported}
			t.Key.Kind, t.Key.SHA256 = publicName(d.Public)
		}
		list.Tokens = append(list.Tokens, t)
	}
	doc, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", escape.JSON(doc))
	return err
}

func orUnknown(p attest.Policy) string {
	if p == "" {
		return "unknown"
	}
	return string(p)
}

// publicLine names a public key on one line.
func publicLine(public crypto.PublicKey) string {
	kind, sum := publicName(public)
	if sum == "" {
		return kind + ", which TUF metadata cannot use"
	}
	return kind + ", sha256 " + sum
}

// publicName is the kind of a public key, and the SHA-256 by which keys/ knows it;
// empty where TUF metadata cannot use it.
func publicName(public crypto.PublicKey) (kind, sum string) {
	kind = fmt.Sprintf("%T", public)
	if k, ok := public.(*ecdsa.PublicKey); ok {
		kind = "ECDSA " + k.Params().Name
	}
	k, err := metadata.NewKey(public, "", "")
	if err != nil {
		return kind, ""
	}
	return kind, k.Fingerprint()
}

func serialFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "serial", Usage: "use the token with this `SERIAL`; needed if there are several"}
}

// Secrets can be flags, for tokens that are set up by a machine, and variables,
// which other users of the machine do not see.
var secretFlags = []struct{ flag, variable, usage string }{
	{"pin", "TUFOPS_PIN", "the `PIN` that the token has now"},
	{"new-pin", "TUFOPS_NEW_PIN", "the `PIN` that it gets"},
	{"puk", "TUFOPS_PUK", "the `PUK` that the token has now"},
	{"new-puk", "TUFOPS_NEW_PUK", "the `PUK` that it gets"},
	{"management-key", "TUFOPS_MANAGEMENT_KEY", "its management key in `HEX`, if it does not keep it itself"},
}

func keysGenerateCommand(env cli.Env) *urfave.Command {
	flags := []urfave.Flag{
		serialFlag(),
		&urfave.BoolFlag{Name: "p384", Usage: "make a key on the curve P-384, not P-256"},
		&urfave.StringFlag{Name: "overwrite", Usage: "destroy the key that is in slot 9c of the token with this `SERIAL`"},
	}
	for _, s := range secretFlags {
		flags = append(flags, &urfave.StringFlag{Name: s.flag, Usage: s.usage + "; better in " + s.variable})
	}
	return &urfave.Command{
		Name:  "generate",
		Usage: "make a key on a YubiKey",
		Description: `Makes a key in slot 9c that wants the PIN and a touch for each signature. It
cannot leave the token: there is no copy, and what is in the slot is lost.

PIN, PUK and management key must not be the factory's: you are asked for new
ones, of six to eight characters. The PIN is for each signature; the PUK sets a
new PIN when wrong ones have blocked it. The management key becomes a random one
that the token keeps, to be read with the PIN.

What is not given is asked for. Whether the token is right is asked by its
serial, if a key would be lost. With the wrong PIN or PUK a try is used up.

Examples:
  tufops-sign keys generate
  TUFOPS_NEW_PIN=... TUFOPS_NEW_PUK=... tufops-sign keys generate --yes`,
		Flags: append(flags, &urfave.BoolFlag{Name: "yes", Usage: "ask nothing: what is missing is an error"}),
		Action: func(c *urfave.Context) error {
			if err := keysGenerate(c, env); err != nil {
				if c.Context.Err() != nil {
					return interrupted{err}
				}
				return err
			}
			return nil
		},
	}
}

func keysGenerate(c *urfave.Context, env cli.Env) error {
	overwrite, err := serial(c, "overwrite")
	if err != nil {
		return err
	}
	given := func(i int) string {
		if s := c.String(secretFlags[i].flag); s != "" {
			return s
		}
		return env.Getenv(secretFlags[i].variable)
	}
	s := yubikey.Setup{P384: c.Bool("p384"), PIN: given(0), NewPIN: given(1), PUK: given(2), NewPUK: given(3)}
	if text := given(4); text != "" {
		if s.ManagementKey, err = hex.DecodeString(text); err != nil {
			return cli.Usagef("the management key is not in hex")
		}
	}
	var p signer.Person
	if !c.Bool("yes") {
		p = newPerson(env, c.App.Name)
	}
	d, err := choose(c, p)
	if err != nil {
		return err
	}
	if overwrite != 0 && overwrite != d.Serial {
		return cli.Usagef("--overwrite %d names another token than %s", overwrite, d)
	}
	s.Overwrite = overwrite == d.Serial
	if p != nil {
		if err := askSetup(c.Context, p, d, &s); err != nil {
			return err
		}
	}
	public, err := yubikey.Generate(c.Context, d.Serial, s)
	var secret *yubikey.SecretError
	if errors.As(err, &secret) && secret.Which == "management key" && p != nil {
		// PIN and PUK have been changed by now.
		if s.NewPIN != "" {
			s.PIN, s.NewPIN = s.NewPIN, ""
		}
		if s.NewPUK != "" {
			s.PUK, s.NewPUK = "", ""
		}
		text, aerr := p.Secret(c.Context, fmt.Sprintf("Management key of %s, in hex", d))
		if aerr != nil {
			return aerr
		}
		if s.ManagementKey, aerr = hex.DecodeString(strings.TrimSpace(text)); aerr != nil {
			return fmt.Errorf("the answer is not in hex: %w", err)
		}
		public, err = yubikey.Generate(c.Context, d.Serial, s)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s has a new key in slot 9c\n  %s\n  PIN always, touch always\nKeep PIN and PUK apart from the token. Next, in a clone of the repository: tufops-sign setup --key yubikey:%d\n", d, publicLine(public), d.Serial)
	return nil
}

// serial reads a flag; 0 if it is not given.
func serial(c *urfave.Context, flag string) (uint32, error) {
	text := c.String(flag)
	if !c.IsSet(flag) {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, cli.Usagef("--%s is the number on a token, not %q", flag, text)
	}
	return uint32(n), nil
}

// choose finds the token of --serial, or the only one, or asks which.
func choose(c *urfave.Context, p signer.Person) (yubikey.Device, error) {
	wanted, err := serial(c, "serial")
	if err != nil {
		return yubikey.Device{}, err
	}
	devices, err := yubikey.List(c.Context)
	if err != nil {
		return yubikey.Device{}, err
	}
	if len(devices) == 0 {
		return yubikey.Device{}, yubikey.ErrNoToken
	}
	var serials []string
	for _, d := range devices {
		if d.Problem == nil {
			serials = append(serials, fmt.Sprint(d.Serial))
		}
	}
	if wanted == 0 && len(devices) > 1 && len(serials) > 0 {
		list := strings.Join(serials, ", ")
		if p == nil {
			return yubikey.Device{}, cli.Usagef("there are several tokens (%s): choose one with --serial", list)
		}
		answer, err := p.Ask(c.Context, "Which token? There are "+list, "")
		if err != nil {
			return yubikey.Device{}, err
		}
		if !slices.Contains(serials, answer) {
			return yubikey.Device{}, cli.WithHint(fmt.Errorf("%q is none of the tokens %s", answer, list), "name one of them with --serial")
		}
		n, err := strconv.ParseUint(answer, 10, 32)
		if err != nil {
			return yubikey.Device{}, err
		}
		wanted = uint32(n)
	}
	for _, d := range devices {
		if wanted == 0 || d.Serial == wanted {
			return d, d.Problem
		}
	}
	return yubikey.Device{}, cli.WithHint(fmt.Errorf("YubiKey %d is not inserted", wanted), "insert it, or name one that is: tufops-sign keys list")
}

// askSetup asks for what Generate is going to need.
func askSetup(ctx context.Context, p signer.Person, d yubikey.Device, s *yubikey.Setup) error {
	if d.Public != nil && !s.Overwrite {
		answer, err := p.Ask(ctx, fmt.Sprintf("%s holds a key (%s), which would be lost for good. Type its serial to give it up", d, publicLine(d.Public)), "")
		if err != nil {
			return err
		}
		if answer != fmt.Sprint(d.Serial) {
			return &yubikey.OverwriteError{Device: d}
		}
		s.Overwrite = true
	}
	for _, one := range []struct {
		which, use   string
		present, new *string
		factory      string
		is           yubikey.Answer
		needed       bool
	}{
		{"PIN", "you type it for each signature", &s.PIN, &s.NewPIN, yubikey.FactoryPIN, d.Factory.PIN, true},
		{"PUK", "it sets a new PIN when wrong ones have blocked it", &s.PUK, &s.NewPUK, yubikey.FactoryPUK, d.Factory.PUK, d.Factory.PUK == yubikey.Unknown || s.NewPUK != ""},
	} {
		if one.is == yubikey.Yes {
			*one.present = one.factory
		}
		if *one.present == "" && one.needed {
			question := fmt.Sprintf("%s of %s", one.which, d)
			if one.which == "PIN" {
				question += fmt.Sprintf(" (tries left: %d)", d.PINTries)
			}
			if one.is == yubikey.Unknown {
				question += ", " + one.factory + " if it is new"
			}
			var err error
			if *one.present, err = p.Secret(ctx, question); err != nil {
				return err
			}
		}
		if *one.present == one.factory && *one.new == "" {
			var err error
			if *one.new, err = askTwice(ctx, p, fmt.Sprintf("New %s of %s, six to eight characters; %s", one.which, d, one.use)); err != nil {
				return err
			}
		}
	}
	return nil
}

// askTwice asks for something that nobody sees, until it is given alike two
// times.
func askTwice(ctx context.Context, p signer.Person, question string) (string, error) {
	const tries = 3
	for range tries {
		first, err := p.Secret(ctx, question)
		if err != nil {
			return "", err
		}
		second, err := p.Secret(ctx, "Again")
		if err != nil {
			return "", err
		}
		if first == second {
			return first, nil
		}
		p.Tell("the two differ")
	}
	return "", errors.New("a new secret was not given alike two times")
}

func keysAttestCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "attest",
		Usage: "have a YubiKey prove where its key was made",
		Description: `Prints the two certificates with which a token shows that the key in its slot 9c
was made there and wants PIN and touch, or writes them as key_cert.pem and
device_cert.pem into a folder. It says what they show, and whether they lead to
Yubico, or to a root in the file of --roots. No PIN is needed.

Examples:
  tufops-sign keys attest
  tufops-sign keys attest --serial 12345678 --output attestation`,
		Flags: []urfave.Flag{
			serialFlag(),
			&urfave.StringFlag{Name: "output", Usage: "write two files into the folder `DIR`"},
			&urfave.StringFlag{Name: "roots", Usage: "believe the certificates in `FILE`, in PEM, as well as Yubico's"},
		},
		Action: func(c *urfave.Context) error { return keysAttest(c, env) },
	}
}

func keysAttest(c *urfave.Context, env cli.Env) error {
	verifier := attest.Yubico()
	if name := c.String("roots"); name != "" {
		data, err := readFile(name)
		if err != nil {
			return fmt.Errorf("roots: %w", err)
		}
		more, err := attest.ParseVerifier(data)
		if err != nil {
			return fmt.Errorf("roots in %s: %w", name, err)
		}
		verifier = verifier.Also(more)
	}
	d, err := choose(c, nil)
	if err != nil {
		return err
	}
	certificates, err := yubikey.Attest(c.Context, d.Serial)
	if err != nil {
		return err
	}
	files := certificates.Files()
	if dir := c.String("output"); dir != "" {
		if err := writeNew(dir, files); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(env.Stdout, "%s%s", files[attest.KeyFile], files[attest.DeviceFile])
	}
	facts, err := verifier.Verify(certificates, certificates.Key.PublicKey)
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: warning: the attestation does not hold: %v\n", c.App.Name, err)
		return nil
	}
	fmt.Fprintf(env.Stderr, "%s: the attestation holds: %v\n", c.App.Name, facts)
	if advice := facts.Advice(); advice != "" {
		fmt.Fprintf(env.Stderr, "%s: note: %s\n", c.App.Name, advice)
	}
	return nil
}

// writeNew writes files into a folder, and leaves others of the same name alone.
func writeNew(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return cli.WithHint(fmt.Errorf("%s is there already", filepath.Join(dir, name)), "name another folder with --output")
		}
	}
	for name, data := range files {
		if err := wholefile.Write(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
