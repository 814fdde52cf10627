package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/github"
	"github.com/tufops/tufops/signingevent"
)

// The workflows that commands start, by the names that tuf-on-ci gave them.
const (
	eventWorkflow   = "signing-event.yml"
	publishWorkflow = "publish.yml"
)

func dispatchFlag(usage string) urfave.Flag {
	return &urfave.BoolFlag{Name: "dispatch", Usage: usage + "; needs --push"}
}

// openForge opens the forge that the environment names: nil where it names none.
func openForge(env cli.Env, common cli.Common) (*github.Forge, error) {
	f, err := github.FromEnv(env.Getenv, github.Options{Now: common.Now, Log: common.Log})
	if errors.Is(err, github.ErrNotConfigured) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := refuseSimulatedForge(env, f); err != nil {
		return nil, err
	}
	return f, nil
}

// refuseSimulatedForge keeps what a simulated clock brings about away from a real
// forge.
func refuseSimulatedForge(env cli.Env, f *github.Forge) error {
	for _, endpoint := range f.Endpoints() {
		if err := cli.RefuseSimulatedClock(env, endpoint); err != nil {
			return err
		}
	}
	return nil
}

// dispatching opens the forge for --dispatch; nil without the flag.
func dispatching(c *urfave.Context, env cli.Env, common cli.Common) (*github.Forge, error) {
	if !c.Bool("dispatch") {
		return nil, nil
	}
	if !c.Bool("push") {
		return nil, cli.Usagef("--dispatch starts workflows on what was pushed: it needs --push")
	}
	f, err := openForge(env, common)
	if err == nil && f == nil {
		err = cli.WithHint(errors.New("--dispatch: no repository on GitHub is named"), "GitHub Actions sets GITHUB_REPOSITORY; elsewhere leave --dispatch out")
	}
	return f, err
}

// maxEvent bounds the description of what started a workflow, in bytes.
const maxEvent = 10_000_000

// inFork reports whether the workflow runs in a fork, where the bot does nothing,
// and says so: old workflows in a signer's fork would else open pull requests
// there. Whoever runs a repository that is a fork sets TUFOPS_ALLOW_FORK.
func inFork(env cli.Env) (bool, error) {
	path := env.Getenv("GITHUB_EVENT_PATH")
	if path == "" || env.Getenv("TUFOPS_ALLOW_FORK") == "true" {
		return false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("read what started the workflow: %w", err)
	}
	defer f.Close()
	var event struct {
		Repository struct {
			Fork bool `json:"fork"`
		} `json:"repository"`
	}
	if err := json.NewDecoder(io.LimitReader(f, maxEvent)).Decode(&event); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read what started the workflow, %s: %w", path, err)
	}
	if event.Repository.Fork {
		fmt.Fprintln(env.Stderr, "This repository is a fork: the bot does nothing here. (TUFOPS_ALLOW_FORK=true lets it.)")
	}
	return event.Repository.Fork, nil
}

// workflows is the forge as onlinesign sees it.
type workflows struct{ *github.Forge }

func (w workflows) Start(ctx context.Context, workflow, branch string, inputs map[string]string) error {
	return w.Dispatch(ctx, workflow, branch, inputs)
}

func (w workflows) LastRun(ctx context.Context, workflow, branch string) (commit string, good bool, err error) {
	run, err := w.Forge.LastRun(ctx, workflow, branch)
	if errors.Is(err, signingevent.ErrNotFound) || run == nil {
		err = ignore(err, signingevent.ErrNotFound)
		return "", false, err
	}
	if err != nil {
		return "", false, err
	}
	return run.Head, run.Status != "completed" || run.Conclusion == "success", nil
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// maxSummary is how much of a report goes into the summary of a job, in bytes.
// GitHub shows nothing of more than 1 MiB.
const maxSummary = 1_000_000

// summarize adds Markdown to the summary of the GitHub Actions job. What is too
// long is cut at the end of a line.
func summarize(env cli.Env, markdown string) error {
	markdown = strings.TrimRight(markdown, "\n")
	if len(markdown) > maxSummary {
		cut := markdown[:maxSummary]
		markdown = cut[:strings.LastIndexByte(cut, '\n')+1] + "\nThis report is too long for a summary. All of it stands in the log."
	}
	return appendFile(env.Getenv("GITHUB_STEP_SUMMARY"), markdown+"\n\n")
}

// setVariable sets an environment variable of the steps that follow in the
// GitHub Actions job. Both are constants of ours.
func setVariable(env cli.Env, name, value string) error {
	return appendFile(env.Getenv("GITHUB_ENV"), name+"="+value+"\n")
}

func appendFile(path, text string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
