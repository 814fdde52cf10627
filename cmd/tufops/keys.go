package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/kms/services"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/repository"
)

func keysCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "keys",
		Usage: "look after online keys",
		Description: `Example:
  tufops keys check`,
		Subcommands: []*urfave.Command{{
			Name:      "check",
			Usage:     "try online keys before it matters",
			ArgsUsage: "[URI]",
			Description: `Tries each online key that HEAD's metadata lists, or the one at URI: it is
found, clients can use its type, it is the listed key, byte for byte, it signs
a test message, its URI names one version, and this identity may do nothing
more, as far as the service tells. Nothing is written. Ends with 1 if a key is
not good.

The test message begins with a sentence, and what is signed in TUF begins with
a brace, so no signature over it can ever be used.

--event tries the keys that an event proposes, before it is merged. Only keys
that online-keys in main's .tufops.yaml allows are asked for, and in GitHub
Actions only in a workflow that was started by hand. Run it on main: it is
refused on sign/*, where the pushed commit brings its own workflow.

--expect-denied is for a place that must not be able to sign, such as a
workflow on a throw-away branch: it ends with 0 only if every key was refused
to this identity.

Example:
  tufops keys check
  tufops keys check azurekms://example.vault.azure.net/keys/online/0123abcd
  tufops keys check --event sign/new-online-key`,
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "event", Usage: "try the keys that event `BRANCH` proposes"},
				&urfave.BoolFlag{Name: "expect-denied", Usage: "signing must be refused here"},
				&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|json`"},
			},
			Action: func(c *urfave.Context) error { return checkKeys(c, env) },
		}},
	}
}

func checkKeys(c *urfave.Context, env cli.Env) error {
	if c.String("event") != "" && (c.Args().Present() || c.Bool("expect-denied")) {
		return cli.Usagef("--event goes with neither a URI nor --expect-denied")
	}
	if fork, err := inFork(env); fork || err != nil {
		return err
	}
	if f := c.String("format"); f != "text" && f != "json" {
		return cli.Usagef("--format is text or json, not %q", f)
	}
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	repo, err := openRepository(c, common)
	if err != nil {
		return err
	}
	defer repo.Git.Close()
	if err := refuseOnEvents(c.Context, env, repo.Git); err != nil {
		return err
	}
	head, err := repo.Git.Resolve(c.Context, "HEAD")
	if err != nil {
		return err
	}
	policy, err := repo.Policy(c.Context, head)
	if err != nil {
		if !errors.As(err, new(*repository.PolicyError)) {
			return err
		}
		common.Log.Warn(err.Error())
	}
	list, err := keysToTry(c, env, repo, head, policy)
	if err != nil {
		return err
	}
	keys, loggedOut := onlineKeys(env)
	defer loggedOut()
	checked := []onlinesign.CheckedKey{}
	good := true
	for _, one := range list {
		if err := cli.RefuseSimulatedClock(env, services.Endpoints(one.URI, env.Getenv)...); err != nil {
			return err
		}
		var k onlinesign.CheckedKey
		if c.Bool("expect-denied") {
			k, err = onlinesign.CheckDenied(c.Context, keys, one)
		} else {
			k, err = onlinesign.Check(c.Context, keys, policy, one)
		}
		if err != nil {
			return err
		}
		good = good && k.Good()
		checked = append(checked, k)
	}
	text := checkedText(checked)
	if err := summarize(env, "    "+strings.ReplaceAll(text, "\n", "\n    ")); err != nil {
		return err
	}
	if c.String("format") == "json" {
		err = printJSON(env, map[string]any{"schema": 1, "commit": head, "good": good, "keys": checked})
	} else {
		_, err = fmt.Fprint(env.Stdout, text)
	}
	if err == nil && !good {
		err = cli.Status(1)
	}
	return err
}

// refuseOnEvents keeps whatever holds an identity of the cloud away from branches
// whose pusher decides what runs there.
func refuseOnEvents(ctx context.Context, env cli.Env, g *git.Repo) error {
	branch, err := g.CurrentBranch(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{branch, strings.TrimPrefix(env.Getenv("GITHUB_REF"), "refs/heads/"), env.Getenv("GITHUB_HEAD_REF")} {
		if strings.HasPrefix(name, "sign/") {
			return cli.WithHint(fmt.Errorf("keys check does not run on %s: a push to it decides what runs there", name),
				"run it on main, with --event "+name+" for the keys that the event proposes")
		}
	}
	return nil
}

// keysToTry are the keys that are asked for. Whoever can push an event must not
// decide which service is called.
func keysToTry(c *urfave.Context, env cli.Env, repo *repository.Repository, head git.OID, policy repository.Policy) ([]onlinesign.Candidate, error) {
	actions := env.Getenv("GITHUB_ACTIONS") == "true"
	main, err := repo.At(c.Context, head)
	if err != nil {
		return nil, err
	}
	if event := c.String("event"); event != "" {
		if !strings.HasPrefix(event, "sign/") {
			return nil, cli.Usagef("--event is a branch sign/NAME, not %q", event)
		}
		if actions && env.Getenv("GITHUB_EVENT_NAME") != "workflow_dispatch" {
			return nil, cli.WithHint(fmt.Errorf("--event: this workflow was started by %s, and not by hand", env.Getenv("GITHUB_EVENT_NAME")),
				"start it on main: gh workflow run WORKFLOW --ref main")
		}
		const ref = "refs/tufops/fetched/keys-check"
		if err := repo.Git.Fetch(c.Context, remote, "+refs/heads/"+event+":"+ref); err != nil {
			return nil, err
		}
		tip, err := repo.Git.Resolve(c.Context, ref)
		if err != nil {
			return nil, err
		}
		proposed, err := repo.At(c.Context, tip)
		if err != nil {
			return nil, err
		}
		list, err := onlinesign.Proposed(c.Context, main, proposed)
		for _, k := range list {
			if !policy.AllowsOnlineKey(k.URI) {
				return nil, notAllowed(k.URI)
			}
		}
		return list, err
	}
	list, err := onlinesign.Candidates(c.Context, main)
	if err != nil || !c.Args().Present() {
		if err == nil && len(list) == 0 {
			err = fmt.Errorf("no role at commit %s lists an online key that its people have signed for", head.Short())
		}
		return list, err
	}
	uri := c.Args().First()
	var named []onlinesign.Candidate
	for _, k := range list {
		if k.URI == uri {
			named = append(named, k)
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	if actions && !policy.AllowsOnlineKey(uri) {
		return nil, notAllowed(uri)
	}
	return []onlinesign.Candidate{{URI: uri}}, nil
}

func notAllowed(uri string) error {
	return cli.WithHint(fmt.Errorf("key %s is not asked for: no role on main lists it, and online-keys in main's %s does not allow it", uri, repository.PolicyFile),
		"if the key is yours, add the beginning of its URI to online-keys on main: docs/format.md#policy")
}

func checkedText(list []onlinesign.CheckedKey) string {
	var b strings.Builder
	t := escape.Terminal
	if len(list) == 0 {
		b.WriteString("Nothing to do: the event proposes no online key that main does not list.\n")
	}
	for _, k := range list {
		verdict := map[bool]string{true: "good", false: "NOT GOOD"}[k.Good()]
		fmt.Fprintf(&b, "%s: %s\n", t(k.URI), verdict)
		if k.Protection != "" {
			fmt.Fprintf(&b, "  kept in %s\n", t(k.Protection))
		}
		for _, s := range k.Steps {
			fmt.Fprintf(&b, "  %-8s %s: %s\n", s.Outcome, s.Step, t(s.Message))
			if s.Hint != "" {
				fmt.Fprintf(&b, "           hint: %s\n", t(s.Hint))
			}
		}
	}
	return b.String()
}
