// Command tufops is the bot: it opens and drives signing events, signs online,
// builds and publishes a TUF repository that is kept in git.
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
	return cli.Run(ctx, env, app(env), args)
}

func app(env cli.Env) *urfave.App {
	return &urfave.App{
		Name:  "tufops",
		Usage: "the bot that runs a TUF repository kept in git",
		Description: `Opens and drives signing events, signs online, builds and publishes.

Example:
  tufops status --head origin/sign/root-v14`,
		Flags: cli.CommonFlags(),
		Commands: []*urfave.Command{
			statusCommand(env),
			updateTargetsCommand(env),
			signingEventCommand(env),
			createEventsCommand(env),
			onlineSignCommand(env),
			onlineSignTargetsCommand(env),
			keysCommand(env),
			buildCommand(env),
			publishCommand(env),
			initCommand(env),
			updateIssueCommand(env),
			rulesCommand(env),
			trustedRootCommand(env),
			signingConfigCommand(env),
			demoCommand(env),
		},
	}
}
