package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
)

const trustedRootName = "trusted_root.json"

// maxKey is more than any public key has.
const maxKey = 64 << 10

// verifyFlags say what is verified, who must have signed and what is trusted.
func verifyFlags() []urfave.Flag {
	return append([]urfave.Flag{
		&urfave.StringFlag{Name: "bundle", Required: true, Usage: "the artifact's Sigstore bundle is `FILE`"},
		&urfave.StringFlag{Name: "certificate-identity", Usage: "the signer is `IDENTITY`: a URI or an email address"},
		&urfave.StringFlag{Name: "certificate-identity-regexp", Usage: "the signer's whole identity matches `EXPRESSION`"},
		&urfave.StringFlag{Name: "certificate-oidc-issuer", Usage: "the signer's identity was vouched for by `URL`"},
		&urfave.StringFlag{Name: "certificate-oidc-issuer-regexp", Usage: "the issuer's whole URL matches `EXPRESSION`"},
		&urfave.StringFlag{Name: "key", Usage: "the signer holds the public key in `FILE` (PEM)"},
		&urfave.StringFlag{Name: "trusted-root", Usage: "trust the trusted_root.json in `FILE`"},
		&urfave.BoolFlag{Name: "json", Usage: "print a report instead of text"},
	}, sourceFlags()...)
}

func verifyCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:      "verify",
		Usage:     "verify an artifact with its Sigstore bundle",
		ArgsUsage: "FILE|sha256:HEX",
		Description: "Says who signed the artifact, or what is attested of it, and which log, clock\n" +
			"and authority of the trusted root vouch for that. The trusted root is a file, or\n" +
			"comes from a TUF repository, as with trusted-root. The bundle's proof is\n" +
			"complete: no service is asked about it.\n\n" +
			"A regular expression must match the whole name. Of an artifact that is not at\n" +
			"hand, give its digest (sha256:, sha384: or sha512:).\n\n" +
			"Examples:\n" +
			"  tufops-client verify app.tar.gz --bundle app.tar.gz.sigstore.json \\\n" +
			"    --certificate-identity release@example.com \\\n" +
			"    --certificate-oidc-issuer https://accounts.example.com \\\n" +
			"    --instance sigstore\n" +
			"  tufops-client verify app.tar.gz --bundle app.tar.gz.sigstore.json \\\n" +
			"    --key release.pub --trusted-root trusted_root.json",
		Flags:  verifyFlags(),
		Action: func(c *urfave.Context) error { return verify(c, env, "") },
	}
}

func verifyBundleCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:      "verify-bundle",
		Usage:     "verify as Sigstore's conformance suite asks for it",
		ArgsUsage: "FILE|sha256:HEX",
		Description: "Like verify, but trusts Sigstore's public instance if nothing else is named.\n\n" +
			"Example:\n" +
			"  tufops-client verify-bundle --bundle a.sigstore.json \\\n" +
			"    --certificate-identity release@example.com \\\n" +
			"    --certificate-oidc-issuer https://accounts.example.com a.txt",
		Flags: append(verifyFlags(), &urfave.BoolFlag{Name: "staging", Usage: "trust Sigstore's staging instance instead"}),
		Action: func(c *urfave.Context) error {
			if c.Bool("staging") {
				return verify(c, env, sigstore.Staging)
			}
			return verify(c, env, sigstore.PublicGood)
		},
	}
}

// trust is where a trusted root comes from.
type trust struct {
	File    string `json:"file,omitempty"`
	SHA256  string `json:"sha256"`
	URL     string `json:"metadata_url,omitempty"` // of a repository; empty: offline, or a file
	Root    int64  `json:"root_version,omitempty"` // of the repository
	Targets int64  `json:"targets_version,omitempty"`

	data []byte
}

func (t trust) String() string {
	if t.File != "" {
		return fmt.Sprintf("%s (sha256 %.16s)", t.File, t.SHA256)
	}
	from := t.URL
	if from == "" {
		from = "the metadata directory"
	}
	return fmt.Sprintf("%s of %s, root v%d, targets v%d (sha256 %.16s)", trustedRootName, from, t.Root, t.Targets, t.SHA256)
}

// trustOf gets the trusted root that the flags name, else that of an instance.
func trustOf(c *urfave.Context, env cli.Env, otherwise string) (t trust, err error) {
	defer func() {
		sum := sha256.Sum256(t.data)
		t.SHA256 = hex.EncodeToString(sum[:])
	}()
	if t.File = c.String("trusted-root"); t.File != "" {
		for _, flag := range []string{"instance", "metadata-url", "target-base-url", "mirror", "metadata-dir", "root", "offline"} {
			if c.IsSet(flag) {
				return t, cli.Usagef("--trusted-root and --%s exclude each other", flag)
			}
		}
		t.data, err = readInput("--trusted-root", t.File, sigstore.MaxTrustedRoot)
		return t, err
	}
	instance := c.String("instance")
	if instance == "" && !c.IsSet("metadata-url") && !c.IsSet("offline") {
		if instance = otherwise; instance == "" {
			return t, cli.Usagef("verify needs --trusted-root, --instance, --metadata-url or --offline")
		}
	}
	f, err := fetch(c, env, trustedRootName, instance)
	if err != nil {
		return t, fmt.Errorf("get the trusted root: %w", err)
	}
	t.data, t.URL, t.Root, t.Targets = f.data, f.url, f.result.Root().Version, f.result.Targets.Version
	return t, nil
}

// policyOf reads who must have signed.
func policyOf(c *urfave.Context) (p sigstore.Policy, err error) {
	pattern := func(flag string) (sigstore.Pattern, error) {
		exact, expression := c.String(flag), c.String(flag+"-regexp")
		switch {
		case exact != "" && expression != "":
			return sigstore.Pattern{}, cli.Usagef("--%s and --%s-regexp exclude each other", flag, flag)
		case expression != "":
			p, err := sigstore.Matching(expression)
			if err != nil {
				return p, cli.Usagef("--%s-regexp %q: %w", flag, expression, err)
			}
			return p, nil
		}
		return sigstore.Exactly(exact), nil
	}
	const identity, issuer = "certificate-identity", "certificate-oidc-issuer"
	named := func(flag string) bool { return c.String(flag) != "" || c.String(flag+"-regexp") != "" }
	file := c.String("key")
	switch {
	case file != "" && (named(identity) || named(issuer)):
		return p, cli.Usagef("--key excludes --%s and --%s", identity, issuer)
	case file != "":
		data, err := readInput("--key", file, maxKey)
		if err != nil {
			return p, err
		}
		if p.Key, err = sigstore.ParseKey(data); err != nil {
			return p, fmt.Errorf("%s: %w", file, err)
		}
		return p, nil
	case !named(identity) || !named(issuer):
		return p, cli.Usagef("%s needs --%s and --%s, or --key: a signature by anybody proves nothing", c.Command.Name, identity, issuer)
	}
	if p.Identity, err = pattern(identity); err != nil {
		return p, err
	}
	p.Issuer, err = pattern(issuer)
	return p, err
}

// artifactOf takes the digests of a file that the bundle may be about. What reads
// like a digest is one, whatever lies in the working directory under such a name.
func artifactOf(name string, bundle []byte) (sigstore.Artifact, error) {
	if a, ok := sigstore.Digest(name); ok {
		return a, nil
	}
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		a, rerr := sigstore.ReadFor(f, bundle)
		if rerr == nil {
			return a, nil
		}
		err = rerr
	}
	return sigstore.Artifact{}, cli.WithHint(fmt.Errorf("read %s: %w", name, reason(err)), "name the artifact's file, or its digest as sha256: and 64 hex digits")
}

// readInput reads a file of at most max bytes.
func readInput(flag, file string, max int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, cli.WithHint(fmt.Errorf("read %s: %w", file, reason(err)), fmt.Sprintf("name with %s a file that is there and that you may read", flag))
	}
	info, err := os.Stat(file)
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0 { // <(command) is a pipe
		return fail(errors.New("it is not a file"))
	}
	f, err := os.Open(file)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("it is longer than %d bytes", max)
	}
	if err != nil {
		return fail(err)
	}
	return data, nil
}

// verifyReport is what verify --json prints.
type verifyReport struct {
	Schema      int    `json:"schema"`
	BundleFile  string `json:"bundle_file"`
	TrustedRoot trust  `json:"trusted_root"`
	*sigstore.Proof
}

func verify(c *urfave.Context, env cli.Env, otherwise string) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	if _, err := clock(c, common); err != nil {
		return err
	}
	// What is at hand first: a slip in a flag should not wait for the network.
	policy, err := policyOf(c)
	if err != nil {
		return err
	}
	name, file := c.Args().First(), c.String("bundle")
	bundle, err := readInput("--bundle", file, sigstore.MaxBundle)
	if err != nil {
		return err
	}
	artifact, err := artifactOf(name, bundle)
	if err != nil {
		return err
	}
	trusted, err := trustOf(c, env, otherwise)
	if err != nil {
		return err
	}
	v, err := sigstore.New(trusted.data)
	if err != nil {
		return fmt.Errorf("%s: %w", trusted, err)
	}
	proof, err := v.Verify(bundle, artifact, policy)
	if err != nil {
		return fmt.Errorf("verify %s with %s: %w", name, file, err)
	}
	if c.Bool("json") {
		doc, err := json.MarshalIndent(verifyReport{Schema: 1, BundleFile: file, TrustedRoot: trusted, Proof: proof}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s\n", escape.JSON(doc))
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s  %-12s %s\n", proof.Text(), "trusting", escape.Terminal(trusted.String()))
	return err
}
