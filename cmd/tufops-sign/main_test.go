package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
)

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(newApp(machine{})) {
		t.Error(problem)
	}
}

// The manual page says what the help says, of every command, and groff reads it.
func TestMan(t *testing.T) {
	var page, errs bytes.Buffer
	env := cli.Env{Stdout: &page, Stderr: &errs}
	if status := run(t.Context(), env, []string{"tufops-sign", "man"}); status != 0 {
		t.Fatalf("status %d\n%s", status, &errs)
	}
	plain := strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "").Replace(page.String())
	for _, c := range newApp(machine{}).Commands {
		var help bytes.Buffer
		if status := run(t.Context(), cli.Env{Stdout: &help}, []string{"tufops-sign", c.Name, "--help"}); status != 0 || !strings.Contains(plain, help.String()) {
			t.Errorf("the help of %s is not in the page", c.Name)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		return // the page was compared with the help all the same
	}
	cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = &page
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}
