package main

import (
	"fmt"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/github"
)

func updateIssueCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "update-issue",
		Usage: "keep one issue open for as long as a workflow fails",
		Description: `The first failure opens an issue, the second comments on it, each one after
that edits the comment, and success closes it. The issue carries the workflow's
name as its label. What .github/TUFOPS_TEMPLATE/failure.md says in the checkout,
or tuf-on-ci's .github/TUF_ON_CI_TEMPLATE/failure.md, is added to a new issue.

Runs in a workflow of GitHub Actions, whose variables say which repository and
which run; the token needs issues: write.

Example:
  tufops update-issue --success false --workflow "TUF-on-CI publish"`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "workflow", Usage: "the `NAME` of the workflow (default: $GITHUB_WORKFLOW)"},
			&urfave.StringFlag{Name: "success", Required: true, Usage: "whether it succeeded: `true|false`"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "say what would be written, and write nothing"},
			&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"},
		},
		Action: func(c *urfave.Context) error { return updateIssue(c, env) },
	}
}

func updateIssue(c *urfave.Context, env cli.Env) error {
	if fork, err := inFork(env); fork || err != nil {
		return err
	}
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	what, err := failureOf(c, env)
	if err != nil {
		return err
	}
	forge, err := github.FromEnv(env.Getenv, github.Options{Now: common.Now, Log: common.Log})
	if err != nil {
		return cli.Usagef("%w", err)
	}
	if err := refuseSimulatedForge(env, forge); err != nil {
		return err
	}
	if !what.Success {
		if what.Template, err = github.IssueTemplate(common.Dir); err != nil {
			common.Log.Warn("a new issue goes without the template", "because", err.Error()) // better than no issue
		}
	}
	report, failed := forge.UpdateIssue(c.Context, what)
	number := ""
	if report.Issue != 0 {
		number = strconv.Itoa(report.Issue)
	}
	if err := cli.SetOutput(env, "issue", number); err != nil {
		return err
	}
	if failed != nil && len(report.Steps) == 0 {
		return failed
	}
	if c.String("format") == "json" {
		err = printJSON(env, map[string]any{
			"schema": 1, "workflow": what.Workflow, "success": what.Success, "issue": report.Issue, "url": report.URL,
			"steps": append([]github.IssueStep{}, report.Steps...), "dry_run": what.DryRun,
		})
	} else {
		err = printIssueReport(c, env, what, report)
	}
	if failed != nil {
		return failed // what was done before it is told of
	}
	return err
}

// failureOf reads which run of which workflow is told of.
func failureOf(c *urfave.Context, env cli.Env) (github.Failure, error) {
	what := github.Failure{Workflow: strings.TrimSpace(c.String("workflow")), DryRun: c.Bool("dry-run"), Attempt: 1}
	if !c.IsSet("workflow") {
		what.Workflow = strings.TrimSpace(env.Getenv("GITHUB_WORKFLOW"))
	}
	switch {
	case what.Workflow == "":
		return what, cli.WithHint(cli.Usagef("the workflow has no name"), "give one with --workflow, or set GITHUB_WORKFLOW")
	case strings.ContainsAny(what.Workflow, "\r\n"):
		return what, cli.Usagef("--workflow is a name on one line, not %q", what.Workflow)
	}
	switch s := c.String("success"); s {
	case "true", "false":
		what.Success = s == "true"
	default:
		return what, cli.Usagef("--success is true or false, not %q", s)
	}
	if f := c.String("format"); f != "text" && f != "json" {
		return what, cli.Usagef("--format is text or json, not %q", f)
	}
	var err error
	id := env.Getenv("GITHUB_RUN_ID")
	if what.RunID, err = strconv.ParseInt(id, 10, 64); err != nil || what.RunID <= 0 {
		return what, cli.WithHint(cli.Usagef("GITHUB_RUN_ID is %q, not the number of a run", id), "GitHub Actions sets it; elsewhere take it from the URL of the run")
	}
	if attempt := env.Getenv("GITHUB_RUN_ATTEMPT"); attempt != "" {
		if what.Attempt, err = strconv.Atoi(attempt); err != nil || what.Attempt <= 0 {
			return what, cli.Usagef("GITHUB_RUN_ATTEMPT is %q, not a number from 1", attempt)
		}
	}
	return what, nil
}

func printIssueReport(c *urfave.Context, env cli.Env, what github.Failure, report github.IssueReport) error {
	if len(report.Steps) == 0 {
		if report.Issue == 0 {
			fmt.Fprintln(env.Stdout, "Nothing to do: the workflow succeeded, and no issue is open for it.")
		} else {
			fmt.Fprintf(env.Stdout, "Nothing to do: issue #%d tells of this run already.\n", report.Issue)
		}
		return nil
	}
	for _, s := range report.Steps {
		var line string
		switch s.Do {
		case "open":
			line = would(c, "Opened", "open") + " an issue"
			if report.Issue != 0 {
				line = fmt.Sprintf("Opened issue #%d", report.Issue)
			}
		case "comment":
			line = fmt.Sprintf("%s on issue #%d", would(c, "Commented", "comment"), s.Issue)
		case "edit":
			line = fmt.Sprintf("%s the comment on issue #%d", would(c, "Updated", "update"), s.Issue)
		case "close":
			line = fmt.Sprintf("%s issue #%d", would(c, "Closed", "close"), s.Issue)
		case "close-duplicate":
			line = fmt.Sprintf("%s issue #%d as a duplicate of #%d", would(c, "Closed", "close"), s.Issue, report.Issue)
		}
		fmt.Fprintf(env.Stdout, "%s for %s.\n", line, escape.Terminal(what.Workflow))
	}
	if report.URL != "" {
		_, err := fmt.Fprintln(env.Stdout, escape.Terminal(report.URL))
		return err
	}
	return nil
}
