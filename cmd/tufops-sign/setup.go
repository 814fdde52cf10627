package main

import (
	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
)

func setupCommand(m machine) *urfave.Command {
	return &urfave.Command{
		Name:  "setup",
		Usage: "write the configuration of this clone and check it",
		Description: `Asks who you are, which remotes and which key you use, writes .tufops-sign.ini
where git does not see it, checks remote and key, and lets the key sign a trial
text. Nothing is committed or pushed.

The root of main is compared with what this machine has seen, with --root-sha256
(of the file or of what is signed) and with --metadata-url. Where there is
nothing to compare it with it is taken as it is, with a warning.

Examples:
  tufops-sign setup
  tufops-sign setup --yes --user alice --key yubikey:12345678 \
    --metadata-url https://tuf.example.com/metadata`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "user", Usage: "your `LOGIN` on the forge"},
			&urfave.StringFlag{Name: "pull-remote", Usage: "the git remote `NAME` that events are read from"},
			&urfave.StringFlag{Name: "push-remote", Usage: "the git remote `NAME` that you push to"},
			&urfave.StringFlag{Name: "key", Usage: "your key, a `SPEC`: yubikey[:SERIAL], a pkcs11: URI, file:PATH"},
			&urfave.StringFlag{Name: "pykcs11lib", Usage: "the PKCS#11 module at `PATH`"},
			&urfave.StringFlag{Name: "metadata-url", Usage: "where clients get the metadata, a `URL`"},
			&urfave.StringFlag{Name: "root-sha256", Usage: "a root of main that you know to be right has this `SHA256`"},
			&urfave.BoolFlag{Name: "replace", Usage: "write a configuration anew that is there"},
			&urfave.BoolFlag{Name: "no-trial", Usage: "do not let the key sign a trial text"},
			&urfave.BoolFlag{Name: "yes", Usage: "ask nothing: take flags and defaults"},
		},
		Action: func(c *urfave.Context) error {
			err := setup(c, m)
			if err != nil && c.Context.Err() != nil {
				return interrupted{err}
			}
			return err
		},
	}
}

func setup(c *urfave.Context, m machine) error {
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
	a := signer.SetupAnswers{
		User: c.String("user"), PullRemote: c.String("pull-remote"), PushRemote: c.String("push-remote"),
		Key: c.String("key"), Module: c.String("pykcs11lib"), MetadataURL: c.String("metadata-url"),
		RootSHA256: c.String("root-sha256"), Replace: c.Bool("replace"), NoTrial: c.Bool("no-trial"),
	}
	o := signer.Options{
		Repository: repo, Now: common.Now(), PIN: m.Getenv("TUFOPS_PIN"), Out: m.Stdout, Log: common.Log,
		OpenTokens: m.openTokens(g.Top()),
	}
	if o.Memory, err = memoryDir(m.Env); err != nil {
		return err
	}
	if !c.Bool("yes") {
		o.Person = newPerson(m.Env, c.App.Name)
	}
	return signer.Setup(c.Context, o, a, func(url string) signer.PublishedRoots {
		return &published{url: url, fetch: client.NewFetcher()}
	})
}
