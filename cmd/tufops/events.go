package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

// remote is where the bot pushes.
const remote = "origin"

// writeFlags are the flags of every bot command that writes to a branch.
func writeFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.BoolFlag{Name: "push", Usage: "push to " + remote + ", if nobody else has pushed meanwhile"},
		&urfave.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
		&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"},
	}
}

// writing opens what every bot command that writes to a branch works on.
func writing(c *urfave.Context, env cli.Env) (cli.Common, *repository.Repository, string, error) {
	if f := c.String("format"); f != "text" && f != "json" {
		return cli.Common{}, nil, "", cli.Usagef("--format is text or json, not %q", f)
	}
	return opening(c, env)
}

// opening opens the repository, and names the remote if --push is given. The
// caller closes the repository's Git.
func opening(c *urfave.Context, env cli.Env) (cli.Common, *repository.Repository, string, error) {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return common, nil, "", err
	}
	repo, err := openRepository(c, common)
	if err != nil {
		return common, nil, "", err
	}
	if !c.Bool("push") {
		return common, repo, "", nil
	}
	urls, err := repo.Git.RemotePushURLs(c.Context, remote)
	if err == nil {
		err = cli.RefuseSimulatedClock(env, urls...)
	}
	if err != nil {
		repo.Git.Close()
		return common, nil, "", err
	}
	return common, repo, remote, nil
}

// setChanged sets a step output to what was written: a dry run writes nothing.
func setChanged(c *urfave.Context, env cli.Env, key string, names []string) error {
	if c.Bool("dry-run") {
		names = nil
	}
	return cli.SetOutput(env, key, strings.Join(names, " "))
}

// would is the verb of a report: what was done, or what a dry run found to do.
func would(c *urfave.Context, done, todo string) string {
	if c.Bool("dry-run") {
		return "Would " + todo
	}
	return done
}

func printJSON(env cli.Env, v any) error {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", escape.JSON(doc))
	return err
}

func updateTargetsCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "update-targets",
		Usage: "bring targets metadata in line with targets/",
		Description: `Makes one commit per role whose artifacts differ from its metadata. Works on
HEAD's commit; without --push it moves the checked-out branch and its files.

Example:
  tufops update-targets --push`,
		Flags:  writeFlags(),
		Action: func(c *urfave.Context) error { return updateTargets(c, env) },
	}
}

func updateTargets(c *urfave.Context, env cli.Env) error {
	if fork, err := inFork(env); fork || err != nil {
		return err
	}
	common, repo, to, err := writing(c, env)
	if err != nil {
		return err
	}
	defer repo.Git.Close()
	done, err := signingevent.UpdateTargets(c.Context, signingevent.Options{
		Repository: repo, Now: common.Now(), Remote: to, DryRun: c.Bool("dry-run"), Log: common.Log,
	})
	if err != nil {
		return err
	}
	if err := setChanged(c, env, "updated", done.Roles); err != nil {
		return err
	}
	if c.String("format") == "json" {
		return printJSON(env, map[string]any{"schema": 1, "commit": done.Head, "roles": append([]string{}, done.Roles...), "dry_run": c.Bool("dry-run")})
	}
	if len(done.Roles) == 0 {
		fmt.Fprintln(env.Stdout, "Nothing to do: metadata and artifacts agree.")
	}
	for _, role := range done.Roles {
		fmt.Fprintf(env.Stdout, "%s the metadata of %s.\n", would(c, "Updated", "update"), escape.Terminal(role))
	}
	return nil
}

func createEventsCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "create-signing-events",
		Usage: "open an event for each role due for re-signing",
		Description: `For every offline role in its signing period: one commit that bumps version and
expiry, on branch sign/ROLE-vN, unless that branch exists and has something that
main lacks. Prints the branches.

Example:
  tufops create-signing-events --push`,
		Flags:  append(writeFlags(), dispatchFlag("start "+eventWorkflow+" on events whose branch no push has started it for")),
		Action: func(c *urfave.Context) error { return createEvents(c, env) },
	}
}

func createEvents(c *urfave.Context, env cli.Env) error {
	if fork, err := inFork(env); fork || err != nil {
		return err
	}
	common, repo, to, err := writing(c, env)
	if err != nil {
		return err
	}
	defer repo.Git.Close()
	forge, err := dispatching(c, env, common)
	if err != nil {
		return err
	}
	upstream := remote
	if _, err := repo.Git.RemoteURL(c.Context, remote); errors.As(err, new(*git.RemoteError)) {
		upstream = ""
	}
	events, failed := signingevent.CreateEvents(c.Context, signingevent.Options{
		Repository: repo, Now: common.Now(), Remote: to, Upstream: upstream, DryRun: c.Bool("dry-run"), Log: common.Log,
	})
	if failed != nil && len(events) == 0 {
		return failed
	}
	var created []string // those that were made are told of, whatever failed besides
	list := []map[string]any{}
	for _, e := range events {
		list = append(list, map[string]any{"role": e.Role, "version": e.Version, "branch": e.Branch, "created": e.Created})
		if e.Created {
			created = append(created, e.Branch)
		}
	}
	if err := setChanged(c, env, "events", created); err != nil {
		return err
	}
	started := []string{}
	if forge != nil {
		list, err := signingevent.StartEvents(c.Context, forge, eventWorkflow, events, c.Bool("dry-run"))
		started, failed = append(started, list...), errors.Join(failed, err)
	}
	if err := summarize(env, eventsSummary(created, c.Bool("dry-run"))); err != nil {
		return err
	}
	if c.String("format") == "json" {
		return errors.Join(printJSON(env, map[string]any{"schema": 1, "events": list, "started": started, "dry_run": c.Bool("dry-run")}), failed)
	}
	for _, e := range events {
		if e.Created {
			fmt.Fprintln(env.Stdout, escape.Terminal(e.Branch))
		} else {
			common.Log.Info("the event is open already", "branch", e.Branch)
		}
	}
	for _, branch := range started {
		common.Log.Info(would(c, "started ", "start ")+eventWorkflow, "branch", branch)
	}
	switch {
	case failed != nil:
	case len(events) == 0:
		common.Log.Info("no role is due for re-signing")
	case c.Bool("dry-run"):
		common.Log.Info("dry run: nothing was written")
	}
	return failed
}

func eventsSummary(created []string, dryRun bool) string {
	if dryRun || len(created) == 0 {
		return "No signing event was opened."
	}
	var b strings.Builder
	b.WriteString("Signing events opened:\n\n")
	for _, branch := range created {
		fmt.Fprintf(&b, "* %s\n", escape.MarkdownCode(branch))
	}
	return b.String()
}
