package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/cloudlogin"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/github"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/services"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

// onlineKeys are the key services of this build. What logging in to them leaves
// on disk is removed by done.
func onlineKeys(env cli.Env) (keys onlinesign.Keys, done func()) {
	job := &cloudlogin.Keys{Keys: services.New(env.Getenv(file.PrefixVariable)), Job: cloudlogin.Job{Getenv: env.Getenv}}
	return realTime{env, job}, func() { _ = job.Close() }
}

// realTime keeps keys of other machines from signing what a simulated clock
// says.
type realTime struct {
	env  cli.Env
	keys onlinesign.Keys
}

func (k realTime) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	if err := cli.RefuseSimulatedClock(k.env, services.Endpoints(uri, k.env.Getenv)...); err != nil {
		return nil, err
	}
	return k.keys.Resolve(ctx, uri, scheme)
}

func onlineSignCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "online-sign",
		Usage: "sign snapshot and timestamp, if they are due",
		Description: `Makes one commit, or none where nothing is due; no key is asked for then. Works
on HEAD's commit; without --push it moves the checked-out branch and its files.
If main moves meanwhile it starts over from the new main.

If a role on main is not signed as it must be, the timestamp is renewed all the
same, over the content of the snapshot that there is, and the report says so.

--live reads the timestamp that clients are served, below a metadata URL. Where
somebody has signed elsewhere, as on a night without GitHub, the next version
goes on from there: clients do not go back. What cannot be read is a warning.

Keys are found by their URI in the metadata: gcpkms:, awskms:, azurekms: and
hv: (Vault, OpenBao), with the login that the vendor's own tools would use;
file2:PATH is a file, below $CRYPTO_SIGNER_PATH_PREFIX where PATH is relative.

Example:
  tufops online-sign --push
  tufops online-sign --push --live https://tuf.example.org/metadata`,
		Flags: append(writeFlags(), dispatchFlag("then move branch publish, start "+publishWorkflow+", and "+eventWorkflow+" on every open event"),
			&urfave.StringSliceFlag{Name: "live", Usage: "go on from the timestamp that clients get below the metadata `URL`"}),
		Action: func(c *urfave.Context) error { return onlineSign(c, env) },
	}
}

func onlineSign(c *urfave.Context, env cli.Env) error {
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
	keys, loggedOut := onlineKeys(env)
	defer loggedOut()
	o := onlinesign.Options{
		Repository: repo, Keys: keys, Now: common.Now(), Remote: to, DryRun: c.Bool("dry-run"), Log: common.Log,
	}
	for _, url := range c.StringSlice("live") {
		o.Live = append(o.Live, liveAt(url))
	}
	done, err := onlinesign.Run(c.Context, o)
	if err != nil {
		return err
	}
	if len(done.Signed) > 0 && done.Outage < onlinesign.ShortOutage {
		common.Log.Warn(fmt.Sprintf("if online signing stands still for more than %d hours, clients stop: longer signing periods give more time (tufops-sign delegate EVENT timestamp --timestamp-expiry-days 7 --timestamp-signing-days 6)",
			int(done.Outage.Hours())))
	}
	if w := policyWarning(c.Context, repo, done.Commit); w != "" {
		done.Warnings = append(done.Warnings, w)
	}
	var roles []string
	signed := []map[string]any{}
	for _, s := range done.Signed {
		roles = append(roles, s.Role)
		signed = append(signed, map[string]any{
			"role": s.Role, "version": s.Version, "previous_version": s.Previous, "reason": s.Why,
			"expires": s.Expires.Format(metadata.TimeFormat), "lists": s.Meta, "keys": append([]string{}, s.Keys...),
		})
	}
	if err := setChanged(c, env, "signed", roles); err != nil {
		return err
	}
	for _, w := range done.Warnings {
		common.Log.Warn(w)
	}
	text := onlineSignText(done, would(c, "Signed", "sign"))
	if err := summarize(env, "    "+strings.ReplaceAll(text, "\n", "\n    ")); err != nil {
		return err
	}
	started := []string{}
	var failed error // what was signed is told of all the same
	if forge != nil {
		var list []string
		list, failed = handOff(c, env, o, forge, len(roles) > 0)
		started = append(started, list...)
	}
	if c.String("format") == "json" {
		return errors.Join(failed, printJSON(env, map[string]any{
			"schema": 1, "commit": done.Commit, "signed": signed, "started": started, "blocked": append([]repository.Finding{}, done.Blocked...),
			"warnings": append([]string{}, done.Warnings...), "outage_hours": int(done.Outage.Hours()), "dry_run": c.Bool("dry-run"),
		}))
	}
	fmt.Fprint(env.Stdout, text)
	for _, s := range started {
		fmt.Fprintf(env.Stdout, "%s %s.\n", would(c, "Started", "start"), escape.Terminal(s))
	}
	return failed
}

// How much of a timestamp is read, and how long that may take.
const (
	maxLive  = 100_000
	liveTime = 30 * time.Second
)

// liveAt is the timestamp below a metadata URL.
func liveAt(base string) onlinesign.Live {
	return onlinesign.Live{URL: base, Read: func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, liveTime)
		defer cancel()
		body, err := client.NewFetcher().Fetch(ctx, strings.TrimSuffix(base, "/")+"/timestamp.json", maxLive)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		data, err := io.ReadAll(io.LimitReader(body, maxLive+1))
		if err == nil && len(data) > maxLive {
			err = fmt.Errorf("it has more than %d bytes", maxLive)
		}
		return data, err
	}}
}

// handOff starts what follows on a push to main. What a workflow was asked for
// by a person or a push is always started; a scheduled run starts publishing
// only where that is due or has failed.
func handOff(c *urfave.Context, env cli.Env, o onlinesign.Options, forge *github.Forge, signed bool) (started []string, err error) {
	if !o.DryRun {
		if err := setVariable(env, "ONLINE_SIGNED", strconv.FormatBool(signed)); err != nil {
			return nil, err
		}
	}
	idle := !signed && env.Getenv("GITHUB_EVENT_NAME") == "schedule"
	done, err := onlinesign.HandOff{Options: o, Workflows: workflows{forge}, Workflow: publishWorkflow, Idle: idle}.Run(c.Context)
	if done.Started {
		started = append(started, publishWorkflow+" for commit "+done.Commit.Short())
	}
	events, failed := signingevent.Reevaluate(c.Context, signingevent.Options{
		Repository: o.Repository, Now: o.Now, Remote: o.Remote, DryRun: o.DryRun, Log: o.Log,
	}, forge, eventWorkflow)
	for _, branch := range events {
		started = append(started, eventWorkflow+" on "+branch)
	}
	return started, errors.Join(err, failed)
}

// reasons say why a new version was made.
var reasons = map[repository.Reason]string{
	repository.ReasonNew:       "there was none yet",
	repository.ReasonSignature: "the present one is not signed by the keys of the newest root",
	repository.ReasonContent:   "what it lists has changed",
	repository.ReasonPeriod:    "its signing period has begun",
	repository.ReasonLive:      "clients have a version that main does not know",
	repository.ReasonRestored:  "the file on the branch was removed, put back or never signed",
}

func onlineSignText(r onlinesign.Result, verb string) string {
	var b strings.Builder
	t := escape.Terminal
	if len(r.Signed) == 0 {
		b.WriteString("Nothing to do: snapshot and timestamp are up to date.\n")
		if len(r.Blocked) > 0 {
			b.Reset()
			b.WriteString("Nothing to do: nothing is due that can be signed.\n")
		}
	}
	for _, s := range r.Signed {
		fmt.Fprintf(&b, "%s %s version %d, valid until %s: %s.\n", verb, s.Role, s.Version, s.Expires.Format(metadata.TimeFormat), reasons[s.Why])
		for _, name := range slices.Sorted(maps.Keys(s.Meta)) {
			fmt.Fprintf(&b, "  lists %s version %d\n", t(strings.TrimSuffix(name, ".json")), s.Meta[name])
		}
		for _, key := range s.Keys {
			fmt.Fprintf(&b, "  signed with %s\n", t(key))
		}
	}
	if len(r.Blocked) > 0 {
		b.WriteString("\nThe content of the snapshot stays as it is, because of\n")
		for _, f := range r.Blocked {
			fmt.Fprintf(&b, "  %s: %s\n    rule %s, %s\n    hint: %s\n", f.Level, t(f.Message), f.Rule, t(f.File), t(f.Hint))
		}
	}
	return b.String()
}

func onlineSignTargetsCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:      "online-sign-targets",
		Usage:     "sign targets roles with their online keys",
		ArgsUsage: "ROLE...",
		Description: `Signs the present metadata of each role with the online keys that its
delegation lists: one commit per role, none where they have signed already.
Versions, dates and the signatures of people stay as they are. Works on HEAD's
commit, of main or of a signing event; without --push it moves the checked-out
branch and its files.

Only keys that main lists are asked for, and those that online-keys in main's
.tufops.yaml allows: an event does not choose which service is called. Of a role
that people sign as well, their signatures stay for them. A key that fails while
another one signs is a warning.

Example:
  tufops online-sign-targets registry.npmjs.org --push`,
		Flags: append(writeFlags(), dispatchFlag("then start "+eventWorkflow+" on the branch, where the push does not"),
			&urfave.StringFlag{Name: "base", Value: "origin/main", Usage: "the tip of main is `REV`"}),
		Action: func(c *urfave.Context) error { return onlineSignTargets(c, env) },
	}
}

func onlineSignTargets(c *urfave.Context, env cli.Env) error {
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
	keys, loggedOut := onlineKeys(env)
	defer loggedOut()
	done, err := onlinesign.SignTargets(c.Context, onlinesign.Options{
		Repository: repo, Keys: keys, Now: common.Now(), Remote: to, DryRun: c.Bool("dry-run"), Log: common.Log,
	}, c.String("base"), c.Args().Slice())
	if err != nil {
		return err
	}
	for _, w := range done.Warnings {
		common.Log.Warn(w)
	}
	var roles []string
	signed := []map[string]any{}
	for _, s := range done.Signed {
		roles = append(roles, s.Role)
		signed = append(signed, map[string]any{"role": s.Role, "version": s.Version, "keys": s.Keys, "commit": s.Commit})
	}
	if err := setChanged(c, env, "signed", roles); err != nil {
		return err
	}
	var failed error // what was signed is told of all the same
	if forge != nil && len(done.Signed) > 0 {
		branch, err := repo.Git.CurrentBranch(c.Context)
		if err != nil {
			return err
		}
		if strings.HasPrefix(branch, "sign/") { // main is no event
			event := []signingevent.NewEvent{{Branch: branch, Created: true}}
			_, failed = signingevent.StartEvents(c.Context, forge, eventWorkflow, event, c.Bool("dry-run"))
		}
	}
	if c.String("format") == "json" {
		return errors.Join(failed, printJSON(env, map[string]any{"schema": 1, "commit": done.Commit, "signed": signed, "warnings": append([]string{}, done.Warnings...), "dry_run": c.Bool("dry-run")}))
	}
	if len(done.Signed) == 0 {
		fmt.Fprintln(env.Stdout, "Nothing to do: the online keys have signed already.")
	}
	for _, s := range done.Signed {
		fmt.Fprintf(env.Stdout, "%s %s version %d with %s.\n", would(c, "Signed", "sign"), escape.Terminal(s.Role), s.Version, escape.Terminal(strings.Join(s.Keys, ", ")))
	}
	return failed
}
