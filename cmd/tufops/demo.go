package main

import (
	"errors"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/demo"
)

func demoCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "demo",
		Usage: "play the whole road on this machine",
		Description: `Starts from an empty directory: two people make a repository and sign a trusted
root, a machine signs freshness, it is published, and a client that knows only
the first root verifies an artifact with it. Then keys are replaced while the
client goes on, and a byte is changed, which it refuses. With --repo: the
reading half on an existing repository, which is only read. Nothing leaves this
machine.

Example:
  tufops demo --repo ~/src/root-signing-staging`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "repo", Usage: "read the git repository in `PATH`"},
			&urfave.StringFlag{Name: "dir", Usage: "leave what is made in `DIR` (default: a new directory for temporary files)"},
		},
		Action: func(c *urfave.Context) error { return runDemo(c, env) },
	}
}

func runDemo(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	o := demo.Options{Out: env.Stdout, Dir: c.String("dir")}
	if env.Getenv("TUFOPS_NOW") != "" {
		o.Now = common.Now()
	}
	if !c.IsSet("repo") {
		err = demo.Road(c.Context, o)
	} else {
		common.Dir = c.String("repo")
		repo, oerr := openRepository(c, common)
		if oerr != nil {
			return oerr
		}
		defer repo.Git.Close()
		err = demo.Audit(c.Context, o, repo, c.String("repo"))
	}
	var bad *demo.FolderError
	if errors.As(err, &bad) {
		return cli.Usagef("%w", bad)
	}
	return err
}
