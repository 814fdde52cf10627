package main

import (
	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
)

func demoCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{Name: "demo", Usage: "x", Action: func(c *urfave.Context) error { return nil }}
}
