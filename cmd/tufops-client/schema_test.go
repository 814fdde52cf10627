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

// TestCheckSchema: so is what check prints, of a good repository, a bad one and
// none.
func TestCheckSchema(t *testing.T) {
	s := schematest.New(t, "check")
	t.Chdir(t.TempDir())
	if err := lay("."); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"--time 2026-01-01T00:00:00Z check --metadata-url repo/metadata --mirror repo/metadata --mirror gone/metadata",
		"--time 2029-01-01T00:00:00Z check --metadata-url repo/metadata",
		"--time 2026-01-01T00:00:00Z check --metadata-url http://127.0.0.1:1/metadata",
	} {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
		run(t.Context(), env, append(strings.Fields("tufops-client "+args), "--format", "json"))
		s.Check(t, stdout.String())
	}
	s.Done(t)
}

// TestVerifySchema: so is what verify prints, of every kind of signer and trusted
// root.
func TestVerifySchema(t *testing.T) {
	s := schematest.New(t, "verify", "metadata_url", "predicate_type", "repository", "commit", "ref", "from", "until")
	t.Chdir(t.TempDir())
	if err := laySigned("."); err != nil {
		t.Fatal(err)
	}
	const by = "--certificate-identity release@example.com --certificate-oidc-issuer https://login.example.com "
	for _, args := range []string{
		"verify app --bundle app.sigstore.json --trusted-root tr.json " + by,
		"verify app2 --bundle app2.sigstore.json --root sigstore/metadata/1.root.json --metadata-url sigstore/metadata " + by,
		"verify app3 --bundle app3.sigstore.json --trusted-root tr.json --key key.pub",
	} {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
		if status := run(t.Context(), env, append(strings.Fields("tufops-client --time 2026-01-01T00:00:00Z "+args), "--json")); status != 0 {
			t.Fatalf("%s: %s", args, stderr.String())
		}
		s.Check(t, stdout.String())
	}
	s.Done(t)
}
