package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/cloudlogin"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/objstore"
	"github.com/tufops/tufops/publish"
)

func publishCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "publish",
		Usage: "bring destinations to the state of HEAD's commit",
		Description: `Compares what each destination shows with what HEAD's commit publishes, and
writes the difference, in an order that serves a client at every moment. Clients
read metadata from URL/metadata and artifacts from URL/targets.

Before the first byte our client and go-tuf's update to it from memory. With
--stage it goes to a test repository first; new content goes on only if every
--check succeeds there, a fresh timestamp in any case. With --public-url a new
client updates through that until it has what was written.

It may be run again at any time, also after it was killed, and a later run heals
whatever failed. A state that is older than what the destination shows is
refused. Nothing is deleted but by --prune --yes.

Examples:
  tufops publish --to file:///srv/tuf
  tufops publish --to file:///srv/tuf --dry-run
  tufops publish --to file:///srv/tuf --public-url https://tuf.example.org
  tufops publish --stage file:///srv/stage --check ./test --to file:///srv/tuf
  tufops publish --to file:///srv/tuf --prune
  tufops publish --to gs://tuf-repo-cdn/prod`,
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "to", Required: true, Usage: "publish to `URL`: " + objstore.Forms() + "; may be repeated"},
			&urfave.StringSliceFlag{Name: "public-url", Usage: "read back through `URL`, where clients find the --to of the same place in order"},
			&urfave.DurationFlag{Name: "within", Value: publish.DefaultWithin, Usage: "fail if a public URL does not show it after `TIME`"},
			&urfave.StringFlag{Name: "stage", Usage: "publish to the test repository at `URL` first"},
			&urfave.StringFlag{Name: "stage-public-url", Usage: "read the stage back through `URL`"},
			&urfave.StringSliceFlag{Name: "check", Usage: "run `COMMAND` on the stage before new content goes on; may be repeated. TUFOPS_STAGE_METADATA_URL and TUFOPS_STAGE_TARGETS_URL say where it is"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "print what would be written, and write nothing"},
			&urfave.BoolFlag{Name: "deep", Usage: "read every file, also if this commit was published before"},
			&urfave.BoolFlag{Name: "strict", Usage: "write nothing if something expires soon"},
			&urfave.BoolFlag{Name: "prune", Usage: "list files that no client can ask for any more"},
			&urfave.BoolFlag{Name: "yes", Usage: "with --prune: delete them"},
			&urfave.Int64Flag{Name: "recover-fast-forward", Usage: "go back from the valid timestamp `VERSION` at a destination; clients that have seen it refuse ours"},
			&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"},
		},
		Action: func(c *urfave.Context) error { return publishTo(c, env) },
	}
}

func publishTo(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	format := c.String("format")
	if format != "text" && format != "json" {
		return cli.Usagef("--format is text or json, not %q", format)
	}
	job := &cloudlogin.Job{Getenv: env.Getenv}
	defer job.Close()
	to, err := destinations(c.Context, "--to", c.StringSlice("to"), common, env, job)
	if err != nil {
		return err
	}
	options, err := publishOptions(c, env, common, to, job)
	if err != nil {
		return err
	}
	published, err := publishedHead(c, common)
	if err != nil {
		return cli.WithNote(err, "nothing was published")
	}
	defer published.Repository().Git.Close()
	if w := policyWarning(c.Context, published.Repository(), published.Commit()); w != "" {
		common.Log.Warn(w)
	}
	options.Commit = published.Commit()
	if options.Publishable, err = published.Publishable(); err != nil {
		return cli.WithNote(err, "nothing was published")
	}
	if options.Attested, err = attestations(c.Context, published); err != nil {
		return cli.WithNote(err, "nothing was published")
	}
	for _, f := range published.Findings() {
		common.Log.Warn(f.Message, "rule", f.Rule)
	}
	report, failed := publish.Run(c.Context, options)
	if report == nil {
		return failed
	}
	if format == "json" {
		doc, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s\n", escape.JSON(doc))
	} else {
		fmt.Fprint(env.Stdout, report.Text())
	}
	if failed != nil {
		return failed
	}
	return cli.SetOutput(env, "changed", strconv.FormatBool(report.Changed && !report.DryRun))
}

// publishOptions reads the flags, but for what is published.
func publishOptions(c *urfave.Context, env cli.Env, common cli.Common, to []publish.Destination, job *cloudlogin.Job) (publish.Options, error) {
	o := publish.Options{
		To: to, DryRun: c.Bool("dry-run"), Deep: c.Bool("deep"), Strict: c.Bool("strict"), Log: common.Log,
		Within: c.Duration("within"), RecoverFastForward: c.Int64("recover-fast-forward"),
	}
	fail := func(format string, args ...any) (publish.Options, error) {
		return publish.Options{}, cli.Usagef(format, args...)
	}
	if o.Within <= 0 {
		return fail("--within is a time such as 10m, not %v", o.Within)
	}
	if c.IsSet("recover-fast-forward") && o.RecoverFastForward <= 0 {
		return fail("--recover-fast-forward is the version of a timestamp, not %d", o.RecoverFastForward)
	}
	switch {
	case c.Bool("yes") && !c.Bool("prune"):
		return fail("--yes goes with --prune")
	case c.Bool("yes"):
		o.Prune = publish.PruneDelete
	case c.Bool("prune"):
		o.Prune = publish.PruneList
	}
	public := c.StringSlice("public-url")
	if len(public) > 0 && len(public) != len(to) {
		return fail("--public-url is given %d times and --to %d times: the first belongs to the first, and so on", len(public), len(to))
	}
	for i, text := range public {
		if err := publicURL(env, "--public-url", text); err != nil {
			return publish.Options{}, err
		}
		o.To[i].Public = text
	}
	checks := c.StringSlice("check")
	if c.String("stage") == "" {
		if len(checks) > 0 || c.String("stage-public-url") != "" {
			return fail("--check and --stage-public-url need --stage, the test repository that they are about")
		}
	} else {
		stage, err := destinations(c.Context, "--stage", []string{c.String("stage")}, common, env, job)
		if err != nil {
			return publish.Options{}, err
		}
		for _, d := range to {
			if d.URL == stage[0].URL {
				return fail("--stage and --to both name %s", d.URL)
			}
		}
		o.Stage = &stage[0]
		if o.Stage.Public = c.String("stage-public-url"); o.Stage.Public != "" {
			if err := publicURL(env, "--stage-public-url", o.Stage.Public); err != nil {
				return publish.Options{}, err
			}
		}
	}
	for _, text := range checks {
		check, err := programCheck(text, env)
		if err != nil {
			return publish.Options{}, err
		}
		o.Checks = append(o.Checks, check)
	}
	if env.StderrColor() {
		o.Progress = func(p publish.Progress) {
			end := ""
			if p.Done == p.Of {
				end = "\r\x1b[K"
			}
			fmt.Fprintf(env.Stderr, "\r\x1b[K%s: %d of %d files%s", escape.Terminal(p.URL), p.Done, p.Of, end)
		}
	}
	return o, nil
}

// publicURL checks where something is to be read back.
func publicURL(env cli.Env, flag, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "file" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") || u.RawQuery != "" || u.Fragment != "" {
		return cli.Usagef("%s is a URL like https://tuf.example.org, not %q", flag, text)
	}
	return cli.RefuseSimulatedClock(env, text)
}

// destinations opens what a flag names, after a job has logged in for it.
func destinations(ctx context.Context, flag string, urls []string, common cli.Common, env cli.Env, job *cloudlogin.Job) ([]publish.Destination, error) {
	var list []publish.Destination
	seen := map[string]bool{}
	for _, text := range urls {
		if err := job.Login(ctx, text); err != nil {
			return nil, cli.WithNote(err, "nothing was published")
		}
		store, err := objstore.Open(ctx, text, objstore.Options{Log: common.Log})
		if bad := (*objstore.URLError)(nil); errors.As(err, &bad) {
			return nil, cli.Usagef("%s: %w", flag, err)
		}
		if err != nil {
			return nil, err
		}
		if err := cli.RefuseSimulatedClock(env, store.Endpoint()); err != nil {
			return nil, err
		}
		if seen[store.URL()] {
			return nil, cli.Usagef("%s names %s twice", flag, store.URL())
		}
		seen[store.URL()] = true
		list = append(list, publish.Destination{URL: store.URL(), Store: store})
	}
	return list, nil
}
