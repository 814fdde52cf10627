package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	laid "github.com/tufops/tufops/internal/workflows"
)

func initCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "init",
		Usage: "lay the GitHub Actions workflows into a repository",
		Description: `Writes the workflows, the text of a failure issue and of a signing event's pull
request, a dependabot.yml, and a page for people (docs/signing.md) into the
checkout. A file that is there with other content stops it, and nothing is
written. Nothing is committed.

A new repository also gets a .tufops.yaml, in which mistakes in Sigstore's trust
material stop an event. One that is there stays as it is, and where there is
TUF metadata already none is laid: its events keep the verdicts that they had.

With --migrate it takes over a repository of tuf-on-ci instead: in its workflow
files, the lines that use tuf-on-ci's actions use ours of the same name, and
nothing else changes. The difference is printed. With --undo they get back what
they said, byte for byte.

Workflows name our actions by commit: --actions-ref is the commit of a release,
or without it the one that this program was built from, where it knows that.
--actions-version is what tools that keep workflows up to date go by.

Examples:
  tufops init --dry-run
  tufops init --migrate --actions-ref 0123456789abcdef0123456789abcdef01234567 \
    --actions-version v0.1.0
  tufops init --migrate --undo`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "actions-ref", Usage: "use the actions of `COMMIT`, a full hash"},
			&urfave.StringFlag{Name: "actions-version", Usage: "say in a comment that it is `VERSION`"},
			&urfave.StringFlag{Name: "actions-repository", Value: "tufops/tufops", Usage: "use the actions of `OWNER/NAME`"},
			&urfave.BoolFlag{Name: "migrate", Usage: "rewrite the workflows of tuf-on-ci that are there"},
			&urfave.BoolFlag{Name: "undo", Usage: "with --migrate: take it back"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "print what would be written, and write nothing"},
		},
		Action: func(c *urfave.Context) error { return initialise(c, env) },
	}
}

func initialise(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	if common.TUFDir != "." {
		return cli.Usagef("init lays down workflows for a TUF repository at the top of the checkout; --tuf-dir %s is not", common.TUFDir)
	}
	if c.Bool("undo") && !c.Bool("migrate") {
		return cli.Usagef("--undo goes with --migrate")
	}
	info, _ := debug.ReadBuildInfo()
	actions := builtActions(info)
	actions.Repository = c.String("actions-repository")
	if ref := c.String("actions-ref"); ref != "" && ref != actions.Ref {
		actions.Ref, actions.Version = ref, "unreleased"
	}
	if version := c.String("actions-version"); version != "" {
		actions.Version = version
	}
	if !c.Bool("undo") {
		if actions.Ref == "" {
			return cli.WithHint(cli.Usagef("--actions-ref is needed: this program does not know which commit it was built from"),
				"give the commit of a release of "+actions.Repository+", as a full hash")
		}
		if err := actions.Check(); err != nil {
			return cli.Usagef("%w", err)
		}
	}
	repo, err := git.Open(c.Context, common.Dir)
	if err != nil {
		return err
	}
	defer repo.Close()
	if repo.Top() == "" {
		return fmt.Errorf("%s has no work tree to write to", common.Dir)
	}
	if c.Bool("migrate") {
		return migrate(c, env, repo.Top(), actions)
	}
	return layDown(c, env, repo.Top(), actions)
}

// builtActions are the actions of the commit that this program was built from. Ref
// is empty where that is not known, or where files were changed.
func builtActions(info *debug.BuildInfo) laid.Actions {
	a := laid.Actions{Version: "unreleased"}
	if info == nil {
		return a
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			a.Ref = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			return laid.Actions{Version: a.Version}
		}
	}
	if a.Ref != "" && released.MatchString(info.Main.Version) {
		a.Version = info.Main.Version
	}
	return a
}

// released is a version that somebody tagged, not one that Go made up.
var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.?\d+)?$`)

func layDown(c *urfave.Context, env cli.Env, top string, actions laid.Actions) error {
	files, err := laid.Files(actions)
	if err != nil {
		return err
	}
	begun, err := hasMetadata(top)
	if err != nil {
		return err
	}
	if begun {
		files = slices.DeleteFunc(files, func(f laid.File) bool { return f.Path == laid.Policy })
	}
	missing, err := laid.Missing(top, files)
	if c.Bool("dry-run") {
		// What stands in the way is told after it: people want to compare.
		for _, f := range files {
			fmt.Fprintf(env.Stdout, "==> %s\n%s\n", f.Path, f.Data)
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := laid.Write(top, missing); err != nil {
		return err
	}
	for _, f := range missing {
		fmt.Fprintf(env.Stdout, "Wrote %s\n", f.Path)
	}
	switch {
	case len(missing) == 0:
		fmt.Fprintln(env.Stdout, "Nothing to do: the files are there.")
	case begun:
		fmt.Fprintln(env.Stdout, "Next: look at them, commit them, push them to main.")
	default:
		fmt.Fprintln(env.Stdout, "Next: look at them, commit them, push them to main. Then whoever holds a key begins: tufops-sign init sign/first")
	}
	return nil
}

// hasMetadata reports whether the TUF repository in a checkout has begun.
func hasMetadata(top string) (bool, error) {
	_, err := os.Lstat(filepath.Join(top, "metadata", "root.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func migrate(c *urfave.Context, env cli.Env, top string, actions laid.Actions) error {
	var plan laid.Plan
	var err error
	from := "tuf-on-ci"
	if c.Bool("undo") {
		from = "tufops"
		plan, err = laid.Undo(top, actions.Repository)
	} else {
		plan, err = laid.Migrate(top, actions)
	}
	if err != nil {
		return cli.WithNote(err, "nothing was written")
	}
	if !c.Bool("dry-run") {
		if err := plan.Write(top); err != nil {
			return cli.WithHint(err, "run it again: what was written stays, and the rest follows")
		}
	}
	for line := range strings.Lines(plan.Diff()) {
		fmt.Fprintln(env.Stdout, escape.Terminal(strings.TrimSuffix(line, "\n")))
	}
	if len(plan.Edits) == 0 && len(plan.Left) == 0 {
		fmt.Fprintf(env.Stdout, "Nothing to do: no workflow uses actions of %s.\n", from)
	}
	if len(plan.Left) == 0 {
		return nil
	}
	var left []string
	for _, r := range plan.Left {
		left = append(left, fmt.Sprintf("%s:%d: uses %s: %s", r.Path, r.Line, r.Uses, r.Why))
	}
	return cli.WithHint(fmt.Errorf("left as it is:\n%s", strings.Join(left, "\n")), "change these by hand")
}
