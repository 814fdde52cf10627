package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/signer"
	"github.com/tufops/tufops/signer/signertest"
)

// In scripts the program is this one, with devices that are folders.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tufops-sign": func() {
		devices := os.Getenv("DEVICES")
		os.Exit(cli.Main(func(ctx context.Context, env cli.Env, args []string) int {
			open := func(spec, _, _ string) (signer.Tokens, error) { return signertest.Open(devices, spec) }
			return cli.Run(ctx, env, newApp(machine{env, open}), args)
		}))
	}})
}

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(newApp(machine{})) {
		t.Error(problem)
	}
}
