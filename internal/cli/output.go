package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

var outputKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// SetOutput sets an output of the GitHub Actions step that runs the program.
// It does nothing where $GITHUB_OUTPUT is not set. The value may hold anything:
// it cannot set another output.
func SetOutput(env Env, key, value string) error {
	path := env.Getenv("GITHUB_OUTPUT")
	if path == "" {
		return nil
	}
	if !outputKey.MatchString(key) {
		return fmt.Errorf("set step output: %q is not a name", key)
	}
	entry := key + "=" + value + "\n"
	if strings.ContainsAny(value, "\r\n") {
		// The value was there before the delimiter was drawn.
		delimiter := "end-" + rand.Text()
		entry = key + "<<" + delimiter + "\n" + value + "\n" + delimiter + "\n"
	}
	if err := appendTo(path, entry); err != nil {
		return fmt.Errorf("set step output %s: %w", key, err)
	}
	return nil
}

// AddSummary adds Markdown to the summary of the GitHub Actions step that runs
// the program. It does nothing where $GITHUB_STEP_SUMMARY is not set.
func AddSummary(env Env, markdown string) error {
	path := env.Getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	if err := appendTo(path, markdown); err != nil {
		return fmt.Errorf("add to the step's summary: %w", err)
	}
	return nil
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
