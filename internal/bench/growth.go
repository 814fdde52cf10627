package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// The sizes of the generated repositories.
var (
	artifactCounts = []int{100, 1000, 10000}
	roleCounts     = []int{1, 10, 100}
)

// growthNow is the time in the generated repositories.
var growthNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// growth measures the commands on repositories of several sizes. In each one
// artifact of one role has changed; what differs is how much has not.
func (b *bench) growth(ctx context.Context, rounds int) error {
	commands := []string{"status", "update-targets", "online-sign", "build"}
	medians := map[string]map[[2]int]time.Duration{}
	for _, c := range commands {
		medians[c] = map[[2]int]time.Duration{}
	}
	for _, artifacts := range artifactCounts {
		for _, roles := range roleCounts {
			g, err := b.generate(ctx, artifacts, roles)
			if err != nil {
				return fmt.Errorf("make a repository with %d artifacts in %d roles: %w", artifacts, roles, err)
			}
			for _, c := range commands {
				t := &timing{run: g.runs[c]}
				if err := interleave(ctx, rounds, t); err != nil {
					return err
				}
				medians[c][[2]int{artifacts, roles}] = t.median()
			}
			if err := os.RemoveAll(g.dir); err != nil {
				return err
			}
		}
	}
	fmt.Printf("\nGrowth: medians of %d rounds, and in brackets how many times the row or the column before.\n", rounds)
	fmt.Println("One artifact of one role is new to the event (status, update-targets) or to the snapshot")
	fmt.Println("(online-sign); build writes the whole tree into an empty folder.")
	for _, c := range commands {
		fmt.Printf("\n  %-16s", c)
		for _, roles := range roleCounts {
			fmt.Printf("%35s", fmt.Sprintf("%d delegated roles", roles))
		}
		fmt.Println()
		for i, artifacts := range artifactCounts {
			fmt.Printf("  %6d artifacts", artifacts)
			for j, roles := range roleCounts {
				here := medians[c][[2]int{artifacts, roles}]
				up, left := "", ""
				if i > 0 {
					up = fmt.Sprintf("%.1f down", float64(here)/float64(medians[c][[2]int{artifactCounts[i-1], roles}]))
				}
				if j > 0 {
					left = fmt.Sprintf("%.1f right", float64(here)/float64(medians[c][[2]int{artifacts, roleCounts[j-1]}]))
				}
				factors := strings.Trim(up+", "+left, ", ")
				if factors != "" {
					factors = " (" + factors + ")"
				}
				fmt.Printf("%35s", milliseconds(here)+factors)
			}
			fmt.Println()
		}
	}
	return nil
}

// generated is a repository that bench made, and what to run in it.
type generated struct {
	dir  string
	repo *repository.Repository
	key  ed25519.PrivateKey
	own  *metadata.Key
	env  []string
	runs map[string]func() (time.Duration, error)
}

func artifactName(i, roles int) string { return fmt.Sprintf("role%03d/%06d.bin", i%roles, i) }

func artifactContent(i int, version string) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%s of artifact %06d\n", version, i), 40)
}

// generate makes a repository with that many artifacts, spread over so many
// delegated roles, all signed and published once.
//
//	main      as published
//	unsynced  one artifact changed, metadata not yet
//	event     the same with metadata, signed
func (b *bench) generate(ctx context.Context, artifacts, roles int) (_ *generated, err error) {
	g := &generated{runs: map[string]func() (time.Duration, error){}}
	if g.dir, err = os.MkdirTemp(b.dir, "growth-"); err != nil {
		return nil, err
	}
	clone := filepath.Join(g.dir, "clone")
	if _, err := output(ctx, "", b.git, "init", "--quiet", "--initial-branch=main", clone); err != nil {
		return nil, err
	}
	in := func(args ...string) (string, error) { return output(ctx, clone, b.git, args...) }
	for _, setting := range []string{"user.name=Bench", "user.email=bench@example.com", "gc.auto=0"} {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := in("config", name, value); err != nil {
			return nil, err
		}
	}
	seed := bytes.Repeat([]byte{1}, ed25519.SeedSize)
	g.key = ed25519.NewKeyFromSeed(seed)
	if g.own, err = metadata.NewKey(g.key.Public(), "@bench", ""); err != nil {
		return nil, err
	}
	if err := importArtifacts(ctx, b.git, clone, artifacts, roles); err != nil {
		return nil, err
	}
	gr, err := git.Open(ctx, clone)
	if err != nil {
		return nil, err
	}
	defer gr.Close()
	if g.repo, err = repository.New(gr, ""); err != nil {
		return nil, err
	}
	if err := g.first(ctx, roles); err != nil {
		return nil, err
	}
	g.env = []string{"TUFOPS_NOW=" + growthNow.Add(time.Hour).Format(time.RFC3339), "CRYPTO_SIGNER_PATH_PREFIX=" + g.dir}
	if _, err := in("reset", "--quiet", "--hard", "main"); err != nil {
		return nil, err
	}
	if _, err := program(ctx, clone, g.env, nil, b.tufops, "online-sign")(); err != nil {
		return nil, err
	}
	// Packed, as a clone is.
	for _, args := range [][]string{
		{"update-ref", "refs/remotes/origin/main", "main"}, {"repack", "-a", "-d", "--quiet"}, {"checkout", "--quiet", "-b", "unsynced"},
	} {
		if _, err := in(args...); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(clone, "targets", artifactName(0, roles)), artifactContent(0, "second content"), 0o644); err != nil {
		return nil, err
	}
	if _, err := in("commit", "--quiet", "--all", "--message", "Change an artifact"); err != nil {
		return nil, err
	}
	if err := g.syncAndSign(ctx, "unsynced", "event", []string{"role000"}); err != nil {
		return nil, err
	}

	// at checks a branch out again before a run that moves it.
	at := func(branch string, run func() (time.Duration, error)) func() (time.Duration, error) {
		return func() (time.Duration, error) {
			if _, err := in("checkout", "--quiet", "--force", "-B", "work", branch); err != nil {
				return 0, err
			}
			return run()
		}
	}
	site := filepath.Join(g.dir, "site")
	build := at("main", program(ctx, clone, g.env, nil, b.tufops, "build", "--metadata", site, "--artifacts", filepath.Join(site, "targets")))
	g.runs["status"] = program(ctx, clone, g.env, nil, b.tufops, "status", "--head", "event", "--base", "origin/main")
	g.runs["update-targets"] = at("unsynced", program(ctx, clone, g.env, nil, b.tufops, "update-targets"))
	g.runs["online-sign"] = at("event", program(ctx, clone, g.env, nil, b.tufops, "online-sign"))
	g.runs["build"] = func() (time.Duration, error) {
		if err := os.RemoveAll(site); err != nil {
			return 0, err
		}
		return build()
	}
	return g, nil
}

// importArtifacts commits the artifacts to main.
func importArtifacts(ctx context.Context, gitProgram, clone string, artifacts, roles int) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "commit refs/heads/main\ncommitter Bench <bench@example.com> %d +0000\ndata 9\nArtifacts\n", growthNow.Unix())
	for i := range artifacts {
		data := artifactContent(i, "first content")
		fmt.Fprintf(&b, "M 100644 inline targets/%s\ndata %d\n%s\n", artifactName(i, roles), len(data), data)
	}
	cmd := exec.CommandContext(ctx, gitProgram, "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin, cmd.Stderr = clone, &b, os.Stderr
	return cmd.Run()
}

// first makes root, targets and the delegated roles, all signed by one person.
func (g *generated) first(ctx context.Context, roles int) error {
	online := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	der, err := x509.MarshalPKCS8PrivateKey(online)
	if err != nil {
		return err
	}
	const file = "online.pem"
	if err := os.WriteFile(filepath.Join(g.dir, file), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return err
	}
	onlineKey, err := metadata.NewKey(online.Public(), "", "file2:"+file)
	if err != nil {
		return err
	}
	config := repository.RoleConfig{Signers: []string{g.own.Owner}, OwnKey: g.own}
	edit, base, err := g.edit(ctx, "main")
	if err != nil {
		return err
	}
	if err := edit.Init(config, config, repository.OnlineConfig{Key: onlineKey}); err != nil {
		return err
	}
	names := make([]string, 0, roles)
	for i := range roles {
		names = append(names, fmt.Sprintf("role%03d", i))
		if err := edit.SetRole(names[i], config); err != nil {
			return err
		}
	}
	if err := g.commit(ctx, edit, base, "main"); err != nil {
		return err
	}
	return g.syncAndSign(ctx, "main", "main", append(names, metadata.Root, metadata.Targets))
}

// syncAndSign brings roles in line with their artifacts, signs them, and lets a
// branch point at the result.
func (g *generated) syncAndSign(ctx context.Context, from, branch string, roles []string) error {
	edit, base, err := g.edit(ctx, from)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if role != metadata.Root && role != metadata.Targets {
			if _, err := edit.SyncTargets(ctx, role); err != nil {
				return err
			}
		}
		doc, err := edit.Document(role)
		if err != nil {
			return err
		}
		sig, err := metadata.LocalSigner(g.key).Sign(ctx, doc.Payload())
		if err != nil {
			return err
		}
		if err := edit.AddSignature(role, g.own, sig); err != nil {
			return err
		}
	}
	return g.commit(ctx, edit, base, branch)
}

func (g *generated) edit(ctx context.Context, rev string) (*repository.Edit, git.OID, error) {
	base, err := g.repo.Git.Resolve(ctx, rev)
	if err != nil {
		return nil, "", err
	}
	state, err := g.repo.At(ctx, base)
	if err != nil {
		return nil, "", err
	}
	edit, err := state.Edit(ctx, state, growthNow)
	return edit, base, err
}

func (g *generated) commit(ctx context.Context, edit *repository.Edit, parent git.OID, branch string) error {
	changes, err := edit.Changes(ctx)
	if err != nil {
		return err
	}
	oid, err := g.repo.Git.WriteCommit(ctx, git.CommitOptions{Parent: parent, Changes: changes, Message: "Metadata", When: growthNow})
	if err != nil {
		return err
	}
	ref := "refs/heads/" + branch
	old, _, err := g.repo.Git.Ref(ctx, ref)
	if err != nil {
		return err
	}
	return g.repo.Git.UpdateRef(ctx, ref, oid, old)
}
