package main

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

func signingEventCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "signing-event",
		Usage: "do all that CI does for a push to an event",
		Description: `Works on the checked-out branch. Brings targets metadata in line with the
artifacts, judges the event and, with --push in a workflow on GitHub, makes its
pull request show that: status comment, who is called, draft or ready, commit
status. Where no forge is named it prints the report and does the git part.

An event that changes root or a delegation is rehearsed: our client and go-tuf's
try what a merge would give (see tufops status --rehearse).

It may run twice, late or at the same time as another one. In a fork it does
nothing. Exit status: 0 complete; 1 an error finding stands, or it failed; 3
nothing is wrong and people are awaited, or nothing is changed yet.

Example:
  tufops signing-event --push`,
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "push", Usage: "push to " + remote + " and write to the forge"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			&urfave.StringFlag{Name: "base", Value: remote + "/main", Usage: "the event is to be merged into `REV`"},
			&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|markdown|json`"},
			&urfave.BoolFlag{Name: "allow-legacy-keyids", Usage: "only warn of keyids that are not the hash of their key"},
			rehearseFlag("try the event on clients whatever it changes"),
		},
		Action: func(c *urfave.Context) error { return signingEvent(c, env) },
	}
}

func signingEvent(c *urfave.Context, env cli.Env) error {
	format := c.String("format")
	if format != "text" && format != "markdown" && format != "json" {
		return cli.Usagef("--format is text, markdown or json, not %q", format)
	}
	fork, err := inFork(env)
	if err != nil {
		return err
	}
	if fork {
		return cli.SetOutput(env, "result", "fork")
	}
	common, repo, to, err := opening(c, env)
	if err != nil {
		return err
	}
	defer repo.Git.Close()
	o := signingevent.DriveOptions{
		Options:  signingevent.Options{Repository: repo, Now: common.Now(), Remote: to, DryRun: c.Bool("dry-run"), Log: common.Log},
		Base:     c.String("base"),
		Workflow: eventWorkflow,
		Policy: func(p *repository.Policy) {
			p.AllowLegacyKeyIDs = p.AllowLegacyKeyIDs || c.Bool("allow-legacy-keyids")
		},
		Rehearse: func(ctx context.Context, e *repository.Event, s *repository.Status) error {
			if !c.Bool("rehearse") && !rehearsal.Needed(e) {
				return nil
			}
			return rehearsal.Judge(ctx, e, s, common.Now())
		},
	}
	if to != "" {
		f, err := openForge(env, common)
		if err != nil {
			return err
		}
		if f != nil {
			o.Forge, o.CompareURL = f, f.CompareURL
		}
	}
	done, failed := signingevent.Drive(c.Context, o)
	if err := reportDriven(c, env, done, format); err != nil {
		return err
	}
	result, status := outcome(done, failed)
	if err := setChanged(c, env, "updated", done.Sync.Roles); err != nil {
		return err
	}
	for key, value := range map[string]string{"result": result, "pull": pullNumber(done)} {
		if err := cli.SetOutput(env, key, value); err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	return status
}

// outcome is the result as a step output, and as an exit status.
func outcome(done signingevent.Driven, failed error) (string, error) {
	switch {
	case failed != nil:
		return "failed", failed
	case done.Gone:
		return "gone", nil
	case done.Merged:
		return "merged", nil
	case done.Status.Failed():
		return "findings", firstError(done.Status)
	case done.Status.Complete:
		return "complete", nil
	}
	return "awaiting", cli.Status(3)
}

func pullNumber(done signingevent.Driven) string {
	if done.Pull == nil || done.Pull.Number == 0 {
		return ""
	}
	return fmt.Sprint(done.Pull.Number)
}

func reportDriven(c *urfave.Context, env cli.Env, done signingevent.Driven, format string) error {
	if done.Status != nil {
		if err := summarize(env, done.Markdown()); err != nil {
			return fmt.Errorf("write the summary of the job: %w", err)
		}
	}
	switch {
	case format == "json":
		doc := map[string]any{
			"schema": 1, "event": done.Event, "gone": done.Gone, "merged": done.Merged, "dry_run": c.Bool("dry-run"),
			"updated": append([]string{}, done.Sync.Roles...),
			"done":    append([]string{}, done.Done...), "notes": append([]string{}, done.Notes...),
		}
		if done.Status != nil {
			doc["status"] = done.Status
		}
		if done.Pull != nil {
			doc["pull"] = map[string]any{"number": done.Pull.Number, "url": done.Pull.URL, "open": done.Pull.Open, "draft": done.Pull.Draft}
		}
		return printJSON(env, doc)
	case done.Gone:
		fmt.Fprintf(env.Stdout, "Branch %s is not at %s: nothing to do.\n", escape.Terminal(done.Event), remote)
		return nil
	case done.Merged:
		fmt.Fprintf(env.Stdout, "The pull request of %s was merged: nothing to do.\n", escape.Terminal(done.Event))
		return nil
	case done.Status == nil:
		return nil
	case format == "markdown":
		fmt.Fprint(env.Stdout, done.Markdown())
		return nil
	}
	fmt.Fprint(env.Stdout, signingevent.Text(done.Status))
	list := func(title string, lines []string) {
		for i, line := range lines {
			if i == 0 {
				fmt.Fprintf(env.Stdout, "\n%s\n", title)
			}
			fmt.Fprintf(env.Stdout, "  %s\n", escape.Terminal(line))
		}
	}
	list(would(c, "Done", "Would do (dry run)")+":", done.Done)
	list("Notes:", done.Notes)
	return nil
}
