package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/wholefile"
)

// maxDays is a hundred years: what is asked for beyond that is a slip.
const maxDays = 36500

func checkCommand(env cli.Env, metadataDir, metadataURL, at urfave.StringFlag) *urfave.Command {
	metadataDir.Usage = "leave what a client accepted in `DIR`; if something is there, update from that"
	return &urfave.Command{
		Name:  "check",
		Usage: "test a published repository as those who run it do",
		Description: "Fetches everything that is served but the artifacts, verifies it, and updates to\n" +
			"it with a client like any other. It goes on after a fault as far as the rest can\n" +
			"be judged, and says whether the repository is bad or only not reached.\n\n" +
			"Without --initial-root it trusts the repository's own 1.root.json. That finds\n" +
			"mistakes, and not that somebody has put up another repository.\n\n" +
			"Ends with 0 if the repository is good (a warning is no fault), else with 1. In a\n" +
			"GitHub Actions step it writes a summary, and the output result: passed, failed\n" +
			"or unreachable.\n\n" +
			"Of a mirror it looks at all that clients could ask for: the way from the first\n" +
			"root, every role, and whether artifacts are there: a thousand of them, those up\n" +
			"to 64 KiB byte by byte; all of them so with --all-artifacts.\n\n" +
			"With --state it also fails on what is older than before, or has other bytes\n" +
			"under the same version. --watch goes on until it is interrupted, and\n" +
			"--format prometheus with --output writes a file for a collector.\n\n" +
			"Examples:\n" +
			"  tufops-client check --metadata-url https://tuf.example.org/metadata\n" +
			"  tufops-client check --metadata-url https://tuf.example.org/metadata \\\n" +
			"    --initial-root root.json --compare-source metadata --valid-days 2 \\\n" +
			"    --offline-valid-days 20 --expected-artifact trusted_root.json\n" +
			"  tufops-client check --metadata-url https://tuf.example.org/metadata \\\n" +
			"    --initial-root root.json --state seen.json --watch 10m",
		Flags: []urfave.Flag{
			&metadataURL,
			&urfave.StringFlag{Name: "artifact-url", Usage: "the repository's artifacts are at `URL` (default: targets beside the metadata)"},
			&urfave.StringFlag{Name: "initial-root", Usage: "start from the root.json in `FILE` (default: the repository's 1.root.json)"},
			&urfave.StringFlag{Name: "update-base-url", Usage: "update from the previous state, which is at `URL`"},
			&urfave.StringFlag{Name: "compare-source", Usage: "root.json and timestamp.json are those in `DIR`, byte for byte"},
			&urfave.IntFlag{Name: "valid-days", Usage: "all roles are valid `N` days from now"},
			&urfave.IntFlag{Name: "offline-valid-days", Usage: "root and all targets roles are valid `N` days from now"},
			&urfave.StringSliceFlag{Name: "mirror", Usage: "the mirror with the metadata at `URL` and targets beside it (below, if --artifact-url is so) serves the same; may be repeated"},
			&urfave.StringSliceFlag{Name: "expected-artifact", Usage: "the artifact `PATH` is there; may be repeated"},
			&urfave.BoolFlag{Name: "all-artifacts", Usage: "every artifact is there"},
			&metadataDir,
			&at,
			&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json|prometheus`"},
			&urfave.StringFlag{Name: "output", Usage: "write to `FILE` instead of standard output"},
			&urfave.StringFlag{Name: "state", Usage: "remember in `FILE` what was seen, and fail on what is older or other than that"},
			&urfave.DurationFlag{Name: "watch", Usage: "check again every `TIME`, like 10m, until interrupted"},
		},
		Action: func(c *urfave.Context) error { return check(c, env) },
	}
}

func check(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	format := c.String("format")
	if format != "text" && format != "json" && format != "prometheus" {
		return cli.Usagef("--format is text, json or prometheus, not %q", format)
	}
	every := c.Duration("watch")
	switch {
	case every < 0:
		return cli.Usagef("--watch is a time like 10m, not %v", every)
	case every > 0 && c.String("state") == "":
		return cli.Usagef("--watch needs --state")
	}
	for _, flag := range []string{"valid-days", "offline-valid-days"} {
		if n := c.Int(flag); n < 0 || n > maxDays {
			return cli.Usagef("--%s is a number of days from 0 to %d, not %d", flag, maxDays, n)
		}
	}
	o := client.CheckOptions{
		MetadataDir: c.String("metadata-dir"), SourceDir: c.String("compare-source"),
		ValidDays: c.Int("valid-days"), OfflineValidDays: c.Int("offline-valid-days"),
		Artifacts: c.StringSlice("expected-artifact"), AllArtifacts: c.Bool("all-artifacts"),
		Logger: common.Log,
	}
	if o.Now, err = clock(c, common); err != nil {
		return err
	}
	for flag, to := range map[string]*string{"metadata-url": &o.MetadataURL, "artifact-url": &o.TargetsURL, "update-base-url": &o.BaseURL} {
		if *to, err = location(flag, c.String(flag)); err != nil {
			return err
		}
	}
	targets := beside // where a mirror has them: as the place itself
	if o.TargetsURL == "" {
		o.TargetsURL = beside(o.MetadataURL)
	} else if strings.TrimRight(o.TargetsURL, "/") == sigstore.At(o.MetadataURL).TargetsURL {
		targets = func(metadataURL string) string { return sigstore.At(metadataURL).TargetsURL }
	}
	if o.Mirrors, err = mirrors(c, targets); err != nil {
		return err
	}
	if o.RootFile = c.String("initial-root"); o.RootFile != "" {
		if o.Root, err = client.ReadRoot(o.RootFile); err != nil {
			return err
		}
	} else {
		common.Log.Info("trusting the repository's own 1.root.json on first use; --initial-root FILE says which root you trust")
	}
	once := func() (*client.CheckReport, error) {
		file := c.String("state")
		if file != "" {
			if o.Seen, err = client.ReadSeen(file); err != nil {
				return nil, err
			}
		}
		report, err := client.Check(c.Context, o)
		if err != nil {
			return nil, err
		}
		text, err := render(report, format)
		if err != nil {
			return nil, err
		}
		if file != "" {
			err = o.Seen.Write(file)
		}
		// The verdict first, whatever becomes of the rest.
		if output := c.String("output"); output == "" {
			fmt.Fprint(env.Stdout, text)
		} else if werr := wholefile.Write(output, []byte(text), 0o644); werr != nil {
			err = errors.Join(err, cli.WithHint(fmt.Errorf("write %s: %w", output, reason(werr)), "name a file in a directory that exists and that you may write to"))
		}
		return report, err
	}
	if every > 0 {
		return watch(c.Context, common.Log, every, once)
	}
	report, err := once()
	if report == nil {
		return err
	}
	return errors.Join(report.Err(), err, cli.AddSummary(env, report.Markdown()), cli.SetOutput(env, "result", report.Result))
}

func render(report *client.CheckReport, format string) (string, error) {
	switch format {
	case "json":
		doc, err := json.MarshalIndent(report, "", "  ")
		return string(escape.JSON(doc)) + "\n", err
	case "prometheus":
		return report.Prometheus(), nil
	}
	return report.Text(), nil
}

// watch checks again and again until it is interrupted, which is no fault. It logs
// each change of the verdict.
func watch(ctx context.Context, log *slog.Logger, every time.Duration, once func() (*client.CheckReport, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		report, err := once()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if summary := report.Summary(); summary != last {
			if last = summary; report.Err() != nil {
				log.Error(escape.Terminal(summary))
			} else {
				log.Info(escape.Terminal(summary))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
