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
	return cli.Run(ctx, env, newApp(env), args)
}

func newApp(env cli.Env) *urfave.App {
	return &urfave.App{
		Name:        "tufops-sign",
		Usage:       "review and sign TUF metadata that lives in git",
		Description: "Example:\n  tufops-sign completion bash",
		Flags:       cli.CommonFlags(),
	}
}
