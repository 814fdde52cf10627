package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
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

It may be run again at any time, also after it was killed. A state that is older
than what the destination shows is refused. Nothing is ever deleted.

Examples:
  tufops publish --to file:///srv/tuf
  tufops publish --to file:///srv/tuf --dry-run
  tufops publish --to gs://tuf-repo-cdn/prod`,
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "to", Required: true, Usage: "publish to `URL`: " + objstore.Forms() + "; may be repeated"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "print what would be written, and write nothing"},
			&urfave.BoolFlag{Name: "deep", Usage: "look at every file, also if this commit was published before"},
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
	to, err := destinations(c.Context, c.StringSlice("to"), common, env)
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
	publishable, err := published.Publishable()
	if err != nil {
		return cli.WithNote(err, "nothing was published")
	}
	for _, f := range published.Findings() {
		common.Log.Warn(f.Message, "rule", f.Rule)
	}
	report, failed := publish.Run(c.Context, publish.Options{
		Commit: published.Commit(), Publishable: publishable, To: to,
		DryRun: c.Bool("dry-run"), Deep: c.Bool("deep"), Log: common.Log,
	})
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

// destinations opens what --to names.
func destinations(ctx context.Context, urls []string, common cli.Common, env cli.Env) ([]publish.Destination, error) {
	var list []publish.Destination
	seen := map[string]bool{}
	for _, text := range urls {
		store, err := objstore.Open(ctx, text, objstore.Options{Log: common.Log})
		if bad := (*objstore.URLError)(nil); errors.As(err, &bad) {
			return nil, cli.Usagef("--to: %w", err)
		}
		if err != nil {
			return nil, err
		}
		if err := cli.RefuseSimulatedClock(env, store.Endpoint()); err != nil {
			return nil, err
		}
		if seen[store.URL()] {
			return nil, cli.Usagef("--to names %s twice", store.URL())
		}
		seen[store.URL()] = true
		list = append(list, publish.Destination{URL: store.URL(), Store: store})
	}
	return list, nil
}
