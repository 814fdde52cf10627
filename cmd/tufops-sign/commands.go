package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
)

// policyFlags are those of every command that judges an event.
func policyFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.BoolFlag{Name: "allow-legacy-keyids", Usage: "only warn of keyids that are not the hash of their key"},
	}
}

// signingFlags are those of every command that signs.
func signingFlags() []urfave.Flag {
	return append(policyFlags(), append(keyFlags(), overrideFlag(), noPushFlag(), yesFlag())...)
}

// keyFlags say with what, and what, is signed.
func keyFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{Name: "key", Usage: "sign with the key `SPEC` (yubikey[:SERIAL], a pkcs11: URI, file:PATH), not that of the configuration; repeat for several"},
		&urfave.StringSliceFlag{Name: "expect-sha256", Usage: "sign only payloads with this `SHA256`; repeat for several"},
	}
}

func overrideFlag() urfave.Flag {
	return &urfave.StringSliceFlag{Name: "override", Usage: "sign in spite of errors of a rule, as `RULE=REASON`; repeat for several"}
}

func noPushFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "no-push", Usage: "move the local branch EVENT and push nothing"}
}

func yesFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "yes", Usage: "ask nothing: take flags and defaults; errors stop it all the same"}
}

func againFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "again", Usage: "give signatures, too, that are there already"}
}

func roleFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringSliceFlag{Name: "signers", Usage: "the people who sign, as `LOGINS`: @a,@b"},
		&urfave.Int64Flag{Name: "threshold", Usage: "the role needs `N` signatures"},
		&urfave.Int64Flag{Name: "expiry-days", Usage: "a version expires after `N` days"},
		&urfave.Int64Flag{Name: "signing-days", Usage: "re-signing starts `N` days before that"},
	}
}

func onlineFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "online-key", Usage: "a machine signs, with the key at `URI`: gcpkms:, awskms:, azurekms:, hv: or file2:"},
		&urfave.BoolFlag{Name: "no-check", Usage: "do not have that key sign a test message: you may not sign with it"},
		&urfave.StringFlag{Name: "online-public", Usage: "take its public key from `FILE` in PEM form, and ask no service: you have no login"},
		&urfave.Int64Flag{Name: "timestamp-expiry-days", Usage: "a timestamp expires after `N` days"},
		&urfave.Int64Flag{Name: "timestamp-signing-days", Usage: "a new timestamp is made `N` days before that"},
		&urfave.Int64Flag{Name: "snapshot-expiry-days", Usage: "a snapshot expires after `N` days"},
		&urfave.Int64Flag{Name: "snapshot-signing-days", Usage: "a new snapshot is made `N` days before that"},
	}
}

func flags(groups ...[]urfave.Flag) []urfave.Flag {
	var all []urfave.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func reviewCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "review",
		Usage:     "show what signing an event would approve; sign nothing",
		ArgsUsage: "EVENT",
		Description: `Shows, from git objects: who is added and removed, thresholds, periods, expiry
dates, artifacts with length and SHA-256, findings, and the SHA-256 of what
would be signed.

Example:
  tufops-sign review sign/root-v14`,
		Flags: policyFlags(),
		Action: func(c *urfave.Context) error {
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				return signer.Review(ctx, o)
			})
		},
	}
}

func signCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "sign",
		Usage:     "accept your invitations and sign what is asked of you",
		ArgsUsage: "EVENT",
		Description: `Accepts your open invitations, shows the review, signs everything that is asked
of you, and pushes one commit.

Examples:
  tufops-sign sign sign/root-v14
  tufops-sign sign sign/root-v14 --key yubikey:12345678
  tufops-sign sign sign/root-v14 --yes --key file:key.pem`,
		Flags: append(signingFlags(), againFlag()),
		Action: func(c *urfave.Context) error {
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				o.Again = c.Bool("again")
				return signer.Sign(ctx, o)
			})
		},
	}
}

func initCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "init",
		Usage:     "make the first root and targets of a new repository",
		ArgsUsage: "EVENT",
		Description: `Other people among the signers are invited; they bring their keys with
tufops-sign sign.

What is not given is asked for. With --yes it is one signer, you, a threshold of
1, and 365 days, re-signed from 60 days before the end; for timestamp 2 days and
1 day. What holds for root is the default for targets, and root's days are the
default for snapshot.

Example:
  tufops-sign init sign/init --yes --signers @alice,@bob --threshold 2 \
    --online-key file2:online.pem`,
		Flags: flags(roleFlags(), []urfave.Flag{
			&urfave.StringSliceFlag{Name: "targets-signers", Usage: "the people who sign targets, as `LOGINS`"},
			&urfave.Int64Flag{Name: "targets-threshold", Usage: "targets needs `N` signatures"},
			&urfave.Int64Flag{Name: "targets-expiry-days", Usage: "targets expires after `N` days"},
			&urfave.Int64Flag{Name: "targets-signing-days", Usage: "re-signing of targets starts `N` days before that"},
		}, onlineFlags(), signingFlags()),
		Action: func(c *urfave.Context) error {
			root, err := roleAnswers(c, "")
			if err != nil {
				return err
			}
			targets, err := roleAnswers(c, "targets-")
			if err != nil {
				return err
			}
			online, err := onlineAnswers(c)
			if err != nil {
				return err
			}
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				return signer.Init(ctx, o, root, targets, online)
			})
		},
	}
}

func delegateCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "delegate",
		Usage:     "change who signs a role and its periods, or create a role",
		ArgsUsage: "EVENT ROLE",
		Description: `Starts the event from main if the remote has no such branch. New people are
invited. ROLE timestamp or snapshot changes both online roles.

An online key is tried before anything is written: it is found, clients can use
its type, and it signs a test message. On a machine that may read but not sign,
--no-check leaves that out; without any login, --online-public says which key it
is. Then have it tried before the merge: tufops keys check --event EVENT.

What is not given is asked for; with --yes it stays as it is. A new role then
has one signer, you, a threshold of 1, and 365 days, re-signed from 60 days
before the end.

Examples:
  tufops-sign delegate sign/add-bob root --signers @alice,@bob --threshold 2
  tufops-sign delegate sign/rekey timestamp --online-key file2:new.pem --yes
  tufops-sign delegate sign/new-token root --replace-key \
    --key yubikey:22222222 --key yubikey:11111111`,
		Flags: flags(roleFlags(), onlineFlags(), signingFlags(), []urfave.Flag{
			&urfave.BoolFlag{Name: "replace-key", Usage: "bring another key in place of the one that you have for ROLE"},
		}),
		Action: func(c *urfave.Context) error {
			role := c.Args().Get(1)
			answers, err := roleAnswers(c, "")
			if err != nil {
				return err
			}
			online, err := onlineAnswers(c)
			if err != nil {
				return err
			}
			answers.ReplaceKey = c.Bool("replace-key")
			if role != "timestamp" && role != "snapshot" {
				answers.OnlineKey, online.Key = online.Key, ""
			}
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				return signer.Delegate(ctx, o, role, answers, online)
			})
		},
	}
}

func importCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:      "import",
		Usage:     "adopt an existing TUF repository",
		ArgsUsage: "EVENT [FILE]",
		Description: `Adds periods, and the owner or online URI of every key. What cannot be known is
printed as a file to fill in: days for -1, and for each key the @login of its
owner, or the URI of a key that a machine signs with. Run it again with that
FILE.

Examples:
  tufops-sign import sign/import > values.json
  tufops-sign import sign/import values.json`,
		Flags: signingFlags(),
		Action: func(c *urfave.Context) error {
			var data []byte
			if name := c.Args().Get(1); name != "" {
				var err error
				if data, err = readFile(name); err != nil {
					return fmt.Errorf("import file: %w", err)
				}
			}
			return with(c, m, func(ctx context.Context, o signer.Options) (signer.Result, error) {
				return signer.Import(ctx, o, data)
			})
		},
	}
}

const maxImportFile = 1 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxImportFile+1))
	if err == nil && len(data) > maxImportFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxImportFile)
	}
	return data, err
}

// roleAnswers reads the flags about one role.
func roleAnswers(c *urfave.Context, prefix string) (signer.RoleAnswers, error) {
	var a signer.RoleAnswers
	if name := prefix + "signers"; c.IsSet(name) {
		var err error
		if a.Signers, err = signer.ParseSigners(strings.Join(c.StringSlice(name), ",")); err != nil {
			return a, cli.Usagef("--%s: %v", name, err)
		}
	}
	err := numbers(c, map[string]*int64{
		prefix + "threshold": &a.Threshold, prefix + "expiry-days": &a.ExpiryDays, prefix + "signing-days": &a.SigningDays,
	})
	return a, err
}

func onlineAnswers(c *urfave.Context) (signer.OnlineAnswers, error) {
	a := signer.OnlineAnswers{Key: c.String("online-key")}
	if c.IsSet("online-key") && a.Key == "" {
		return a, cli.Usagef("--online-key needs a URI")
	}
	if a.Key == "" && (c.Bool("no-check") || c.IsSet("online-public")) {
		return a, cli.Usagef("--no-check and --online-public go with --online-key")
	}
	err := numbers(c, map[string]*int64{
		"timestamp-expiry-days": &a.TimestampExpiryDays, "timestamp-signing-days": &a.TimestampSigningDays,
		"snapshot-expiry-days": &a.SnapshotExpiryDays, "snapshot-signing-days": &a.SnapshotSigningDays,
	})
	return a, err
}

// maxNumber keeps a date far from where calendars end: a century of days.
const maxNumber = 36525

func numbers(c *urfave.Context, to map[string]*int64) error {
	for name, n := range to {
		if !c.IsSet(name) {
			continue
		}
		if *n = c.Int64(name); *n < 1 || *n > maxNumber {
			return cli.Usagef("--%s is a number from 1 to %d, not %d", name, maxNumber, *n)
		}
	}
	return nil
}

// with opens what every command works on, and calls it.
func with(c *urfave.Context, m machine, command func(context.Context, signer.Options) (signer.Result, error)) error {
	err := open(c, m, command)
	if err != nil && c.Context.Err() != nil {
		return interrupted{err}
	}
	return err
}

func open(c *urfave.Context, m machine, command func(context.Context, signer.Options) (signer.Result, error)) error {
	common, err := cli.ParseCommon(c, m.Env)
	if err != nil {
		return err
	}
	g, err := git.Open(c.Context, common.Dir)
	if err != nil {
		return err
	}
	defer g.Close()
	repo, err := repository.New(g, common.TUFDir)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	config, err := signer.LoadConfig(c.Context, g)
	if err != nil {
		return err
	}
	o := signer.Options{
		Repository: repo, Config: config, Event: c.Args().First(), Now: common.Now(),
		AllowLegacyKeyIDs: c.Bool("allow-legacy-keyids"), PIN: m.Getenv("TUFOPS_PIN"),
		OnlineKeys: onlineKeysOf(c, m, common.Log),
		OpenTokens: m.openTokens(g.Top()),
		Out:        m.Stdout, Log: common.Log,
	}
	if o.Memory, err = memoryDir(m.Env); err != nil {
		return err
	}
	if config.MetadataURL != "" {
		o.Live = &published{url: config.MetadataURL, fetch: client.NewFetcher()}
	}
	if _, err := g.RemoteURL(c.Context, config.PullRemote); err != nil {
		return err
	}
	signingOptions(c, m, &o)
	if takes(c, "no-push") && !o.NoPush {
		urls, err := g.RemotePushURLs(c.Context, config.PushRemote)
		if err == nil {
			err = cli.RefuseSimulatedClock(m.Env, urls...)
		}
		if err != nil {
			return err
		}
	}
	_, err = command(c.Context, o)
	return usage(err)
}

// onlineKeysOf reads how an online key is to be looked at, where the command takes
// one.
func onlineKeysOf(c *urfave.Context, m machine, log *slog.Logger) onlineKeys {
	k := onlineKeys{env: m.Env, log: log}
	if takes(c, "online-key") {
		k.untried, k.public = c.Bool("no-check"), c.String("online-public")
	}
	return k
}

// takes reports whether a command has a flag.
func takes(c *urfave.Context, name string) bool {
	return slices.ContainsFunc(c.Command.Flags, func(f urfave.Flag) bool { return slices.Contains(f.Names(), name) })
}

// signingOptions reads those flags about signing that the command has.
func signingOptions(c *urfave.Context, m machine, o *signer.Options) {
	if takes(c, "key") {
		o.KeySpecs = c.StringSlice("key")
		for _, sum := range c.StringSlice("expect-sha256") {
			o.Expect = append(o.Expect, strings.ToLower(strings.TrimSpace(sum)))
		}
	}
	if takes(c, "override") {
		o.Override = map[string]string{}
		for _, one := range c.StringSlice("override") {
			rule, reason, _ := strings.Cut(one, "=")
			o.Override[strings.TrimSpace(rule)] = strings.TrimSpace(reason)
		}
	}
	if takes(c, "no-push") {
		o.NoPush = c.Bool("no-push")
	}
	if takes(c, "yes") && !c.Bool("yes") {
		o.Person = newPerson(m.Env, c.App.Name)
	}
}

// usage marks the errors that come of how the program was called.
func usage(err error) error {
	var name *signer.EventNameError
	var answer *signer.AnswerError
	var online *signer.NoOnlineKeyError
	var override *signer.OverrideError
	if errors.As(err, &name) || errors.As(err, &answer) || errors.As(err, &online) || errors.As(err, &override) {
		return cli.Usagef("%w", err)
	}
	return err
}

// interrupted is an error that came of the person's own Ctrl-C.
type interrupted struct{ error }

func (interrupted) Error() string { return "interrupted" }

func (e interrupted) Unwrap() error { return e.error }

// Hint takes the place of what the interrupted step would advise.
func (interrupted) Hint() string { return "run the same command again: it starts over" }
