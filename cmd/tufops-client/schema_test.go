package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/schema/schematest"
)

// TestSchema: what trusted-root prints as JSON is what schema/ says, in all its
// fields and in no other.
func TestSchema(t *testing.T) {
	s := schematest.New(t, "trusted-root", "file")
	t.Chdir(t.TempDir())
	if err := lay("."); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"--root root.json --metadata-url repo/metadata",
		"--root root.json --metadata-dir d --metadata-url repo2/metadata",
		"--root root.json --metadata-dir d --offline",
		"--root root.json --metadata-dir d --offline --output out.json",
	} {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
		words := append([]string{"tufops-client", "--time", "2026-01-01T00:00:00Z", "trusted-root", "--json"}, strings.Fields(args)...)
		if status := run(t.Context(), env, words); status != 0 {
			t.Fatalf("%s: %s", args, stderr.String())
		}
		s.Check(t, stdout.String())
	}
	s.Done(t)
}
