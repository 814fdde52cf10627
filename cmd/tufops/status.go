package main

import (
	"encoding/json"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

func statusCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "status",
		Usage: "say how far a signing event is",
		Description: `Evaluates a signing event from git objects alone; no checkout is touched.
Exit status: 0 complete; 1 an error finding stands, or it failed;
3 nothing is wrong and people are awaited, or nothing is changed yet.

With --rehearse two clients, ours and go-tuf's, also try what a merge would
give: from every root in history, from what main is now, today and while it
lives. It needs no network.

Example:
  tufops status --head origin/sign/root-v14 --format markdown`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "head", Value: "HEAD", Usage: "judge the event at `REV`"},
			&urfave.StringFlag{Name: "base", Value: "origin/main", Usage: "the event is to be merged into `REV`"},
			&urfave.StringFlag{Name: "event", Usage: "the event's `NAME` (default: the branch of --head)"},
			&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|markdown|json`"},
			&urfave.BoolFlag{Name: "allow-legacy-keyids", Usage: "only warn of keyids that are not the hash of their key"},
			rehearseFlag("also try the event on clients"),
		},
		Action: func(c *urfave.Context) error { return status(c, env) },
	}
}

func rehearseFlag(usage string) urfave.Flag {
	return &urfave.BoolFlag{Name: "rehearse", Usage: usage}
}

func status(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	format := c.String("format")
	if format != "text" && format != "markdown" && format != "json" {
		return cli.Usagef("--format is text, markdown or json, not %q", format)
	}
	repo, err := openRepository(c, common)
	if err != nil {
		return err
	}
	defer repo.Git.Close()
	name, err := eventName(c, repo.Git)
	if err != nil {
		return err
	}
	event, err := repo.OpenEvent(c.Context, repository.EventOptions{Name: name, Head: c.String("head"), Base: c.String("base")})
	if err != nil {
		return err
	}
	policy, err := repo.Policy(c.Context, event.Base)
	if err != nil {
		return err
	}
	policy.AllowLegacyKeyIDs = policy.AllowLegacyKeyIDs || c.Bool("allow-legacy-keyids")
	s, err := event.Status(c.Context, common.Now(), policy)
	if err != nil {
		return err
	}
	if c.Bool("rehearse") {
		if err := rehearsal.Judge(c.Context, event, s, common.Now()); err != nil {
			return err
		}
	}
	common.Log.Debug("evaluated", "git-processes", repo.Git.Processes())
	switch format {
	case "json":
		doc, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s\n", escape.JSON(doc))
	case "markdown":
		fmt.Fprint(env.Stdout, signingevent.Markdown(s))
	default:
		fmt.Fprint(env.Stdout, signingevent.Text(s))
	}
	switch {
	case s.Failed():
		return firstError(s)
	case s.Complete:
		return nil
	}
	return cli.Status(3)
}

// findingError is an error finding as the sentence that a program ends with.
type findingError struct{ f repository.Finding }

func (e findingError) Error() string {
	where := e.f.File
	if e.f.Role != "" {
		where = strings.TrimSpace(where + " (role " + e.f.Role + ")")
	}
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s%s [%s]", where, e.f.Message, e.f.Rule)
}

func (e findingError) Hint() string { return e.f.Hint }

func firstError(s *repository.Status) error {
	for _, f := range s.AllFindings() {
		if f.Level == repository.LevelError {
			return findingError{f}
		}
	}
	return cli.Status(1)
}

// openRepository opens the git checkout and the TUF repository in it. The
// caller closes its Git.
func openRepository(c *urfave.Context, common cli.Common) (*repository.Repository, error) {
	g, err := git.Open(c.Context, common.Dir)
	if err != nil {
		return nil, err
	}
	repo, err := repository.New(g, common.TUFDir)
	if err != nil {
		g.Close()
		return nil, err
	}
	return repo, nil
}

// eventName is the name of the event: as given, else from the revision, else
// the checked-out branch.
func eventName(c *urfave.Context, g *git.Repo) (string, error) {
	if name := c.String("event"); name != "" {
		return name, nil
	}
	if head := c.String("head"); head != "HEAD" {
		if i := strings.Index("/"+head, "/sign/"); i >= 0 { // of origin/sign/x, not of origin/design/x
			return head[i:], nil
		}
		return head, nil
	}
	branch, err := g.CurrentBranch(c.Context)
	if err != nil || branch != "" {
		return branch, err
	}
	return "HEAD", nil
}
