package main

import (
	"context"
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

func buildCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:  "build",
		Usage: "write the tree that clients read",
		Description: `Writes what HEAD's commit publishes: per role the newest version that verifies
and that the snapshot lists, with index.html and status.json. Nothing is
uploaded; a version that is merged but in no snapshot yet is left out.

Examples:
  tufops build --metadata site/metadata --artifacts site/targets
  tufops build --metadata site/metadata --dry-run`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "metadata", Required: true, Usage: "write metadata and the status page to `DIR`"},
			&urfave.StringFlag{Name: "artifacts", Usage: "write artifacts to `DIR` (default: not at all)"},
			&urfave.BoolFlag{Name: "dry-run", Usage: "print what would be written, and write nothing"},
		},
		Action: func(c *urfave.Context) error { return build(c, env) },
	}
}

func build(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	published, err := publishedHead(c, common)
	if err != nil {
		return err
	}
	defer published.Repository().Git.Close()
	for _, f := range published.Findings() {
		common.Log.Warn(f.Message, "rule", f.Rule)
	}
	for _, f := range published.Findings() {
		// What is expired can still be looked at; publish refuses it.
		if f.Level == repository.LevelError && f.Gates.Publish() && f.Rule != "expired" {
			return findingError{f}
		}
	}
	attested, err := attestations(c.Context, published)
	if err != nil {
		return err
	}
	tree, err := publish.NewTree(c.Context, published, attested)
	if err != nil {
		return err
	}
	if !c.Bool("dry-run") {
		if err := tree.Build(c.Context, c.String("metadata"), c.String("artifacts")); err != nil {
			return fmt.Errorf("build: %w", err)
		}
	}
	var metadata, artifacts []publish.File
	for _, f := range tree.Files() {
		if f.Class == publish.Artifact {
			artifacts = append(artifacts, f)
		} else {
			metadata = append(metadata, f)
		}
	}
	report := func(dir string, files []publish.File) {
		if dir == "" {
			return
		}
		fmt.Fprintf(env.Stdout, "%s %d files to %s (commit %.12s)\n", would(c, "Wrote", "write"), len(files), escape.Terminal(dir), published.Commit())
		for _, f := range files {
			if c.Bool("dry-run") {
				fmt.Fprintf(env.Stdout, "  %s (%d bytes)\n", escape.Terminal(f.Name), f.Size)
			}
		}
	}
	report(c.String("metadata"), metadata)
	report(c.String("artifacts"), artifacts)
	return nil
}

// attestations is how the status page tells which keys live in a device: as the
// policy of the same commit has it, and with no policy that can be read as Yubico
// has it. Where nothing lies in keys/ the page says nothing, so it is nil.
func attestations(ctx context.Context, p *repository.Published) (repository.Attestation, error) {
	state, err := p.Repository().At(ctx, p.Commit())
	if err != nil || len(state.Files("keys")) == 0 {
		return nil, err
	}
	policy, err := p.Repository().Policy(ctx, p.Commit())
	if unusable := (*repository.PolicyError)(nil); err != nil && !errors.As(err, &unusable) {
		return nil, err
	}
	return policy.Attested, nil
}

// publishedHead works out what HEAD's commit publishes. The caller closes the
// Git of its repository.
func publishedHead(c *urfave.Context, common cli.Common) (*repository.Published, error) {
	repo, err := openRepository(c, common)
	if err != nil {
		return nil, err
	}
	head, err := repo.Git.Resolve(c.Context, "HEAD")
	if err == nil {
		var p *repository.Published
		if p, err = repo.Published(c.Context, head, common.Now()); err == nil {
			return p, nil
		}
	}
	repo.Git.Close()
	return nil, err
}
