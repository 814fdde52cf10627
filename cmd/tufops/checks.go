package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/publish"
)

// passedOn are the variables that a check gets of ours. It runs somebody else's
// client, so it gets no token and no cloud identity.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "SYSTEMROOT", "TEMP", "USERPROFILE"}

// programCheck is a check that runs a program. The command comes from whoever
// calls tufops, never from the repository; no shell reads it.
func programCheck(command string, env cli.Env) (publish.Check, error) {
	argv, err := splitCommand(command)
	if err != nil {
		return publish.Check{}, cli.Usagef("--check %q: %w", command, err)
	}
	return publish.Check{Name: command, Run: func(ctx context.Context, s publish.Staged) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = env.Stderr, env.Stderr // results of ours go to stdout
		cmd.Env = []string{
			"TUFOPS_STAGE_URL=" + s.URL, "TUFOPS_STAGE_METADATA_URL=" + s.URL + "/metadata", "TUFOPS_STAGE_TARGETS_URL=" + s.URL + "/targets",
			"TUFOPS_STAGE_COMMIT=" + s.Commit,
		}
		for _, name := range passedOn {
			if v := env.Getenv(name); v != "" {
				cmd.Env = append(cmd.Env, name+"="+v)
			}
		}
		return cmd.Run()
	}}, nil
}

// splitCommand splits at spaces. What stands in single or double quotes stays
// together; nothing else has a meaning.
func splitCommand(text string) ([]string, error) {
	var argv []string
	var word strings.Builder
	in, quote := false, rune(0)
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			in, quote = true, c
		case quote == 0 && strings.ContainsRune(" \t\n", c):
			if in {
				argv = append(argv, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	if in {
		argv = append(argv, word.String())
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("it names no program")
	}
	return argv, nil
}
