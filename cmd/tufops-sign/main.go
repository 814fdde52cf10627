// Tufops-sign is for the people who hold keys: it shows what a signing event
// means and signs it.
//
// This package declares commands and flags, chooses adapters, and makes one
// call into a room for each command. Decisions are made in the rooms.
package main

import (
	"context"
	"os"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
)

func main() { os.Exit(cli.Main(run)) }

// run is the whole program: tests call it in their own process.
func run(ctx context.Context, env cli.Env, args []string) int {
	return cli.Run(ctx, env, newApp(machine{env, openTokens}), args)
}

func newApp(m machine) *urfave.App {
	return &urfave.App{
		Name:  "tufops-sign",
		Usage: "review and sign TUF metadata that lives in git",
		Description: `Works on git objects that it fetches from the remote: your checkout, index,
branch and stash stay as they are. It pushes once, at the end, and only if
nobody else has pushed something that you have not seen.

Who you are stands in .tufops-sign.ini (or .tuf-on-ci-sign.ini) at the top of
the checkout, which git must not track:

  [settings]
  user-name = @your-login
  pull-remote = origin
  push-remote = origin
  key = yubikey

Example:
  tufops-sign sign sign/root-v14`,
		Flags: cli.CommonFlags(),
		Commands: []*urfave.Command{
			setupCommand(m),
			reviewCommand(m),
			signCommand(m),
			initCommand(m),
			delegateCommand(m),
			importCommand(m),
			exportCommand(m),
			signFileCommand(m),
			importSignatureCommand(m),
			keysCommand(m.Env),
			cli.ManCommand("tufops-sign"),
		},
	}
}
