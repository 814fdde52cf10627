package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tufops/tufops/internal/cli"
)

// In scripts the program is this one.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tufops-sign": func() { os.Exit(cli.Main(run)) }})
}

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(newApp(machine{})) {
		t.Error(problem)
	}
}
