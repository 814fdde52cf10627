package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// initialised is what a package does before main.
type initialised struct {
	took  time.Duration
	bytes int
}

// A family is what a program is linked with for one purpose: all that it would
// lack without some packages of ours, and what no family before has.
type family struct {
	name     string
	packages []string
}

var families = []family{
	{"Google Cloud", []string{"internal/kms/gcp", "internal/objstore/gcs"}},
	{"AWS", []string{"internal/kms/aws", "internal/objstore/s3"}},
	{"Azure", []string{"internal/kms/azure", "internal/objstore/azure"}},
	{"Vault", []string{"internal/kms/vault"}},
	{"GitHub", []string{"internal/github"}},
	{"go-tuf", []string{"internal/gotuf"}},
	{"the demo", []string{"internal/demo"}},
	{"sigstore-go", []string{"client/sigstore", "trustroot/replay", "internal/demo"}},
}

// start measures what every run of a program pays for what it is linked with: a run
// that does nothing, from start to end, and what the packages do before main, by
// the account that Go itself keeps (GODEBUG=inittrace=1).
func (b *bench) start(ctx context.Context, rounds int) error {
	programs := []struct{ name, program string }{{"tufops", b.tufops}, {"tufops-client", b.tufopsClient}, {"tufops-sign", b.tufopsSign}}
	whole := []*timing{{run: program(ctx, b.dir, nil, nil, b.nothing)}}
	for _, p := range programs {
		whole = append(whole, &timing{run: program(ctx, b.dir, nil, nil, p.program, "--version")})
	}
	if err := interleave(ctx, rounds, whole...); err != nil {
		return err
	}
	fmt.Printf("\nStart: a run of --version, and what of it the packages take before main\n")
	row("an empty program", whole[0].median(), fmt.Sprintf("fastest run: %s", milliseconds(whole[0].fastest())))
	for i, p := range programs {
		least := map[string]initialised{} // the account is in wall time, so the least disturbed run says most
		for range rounds {
			run, err := initTrace(ctx, p.program)
			if err != nil {
				return err
			}
			for name, one := range run {
				if known, there := least[name]; !there || one.took < known.took {
					least[name] = one
				}
			}
		}
		groups, err := b.grouped(ctx, "./cmd/"+p.name)
		if err != nil {
			return err
		}
		var all initialised
		sums := map[string]initialised{}
		for name, one := range least {
			all = initialised{all.took + one.took, all.bytes + one.bytes}
			g := cmp.Or(groups[name], "Go and the rest")
			sums[g] = initialised{sums[g].took + one.took, sums[g].bytes + one.bytes}
		}
		row(p.name, whole[i+1].median(), fmt.Sprintf("fastest run: %s; before main %s, %d packages, %d KiB",
			milliseconds(whole[i+1].fastest()), milliseconds(all.took), len(least), all.bytes>>10))
		for _, g := range slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Compare(sums[b].took, sums[a].took) }) {
			var dear []string
			names := slices.DeleteFunc(slices.Collect(maps.Keys(least)), func(name string) bool { return cmp.Or(groups[name], "Go and the rest") != g })
			slices.SortFunc(names, func(a, b string) int { return cmp.Compare(least[b].took, least[a].took) })
			for _, name := range names[:min(2, len(names))] {
				dear = append(dear, name+" "+milliseconds(least[name].took))
			}
			row("  "+g, sums[g].took, fmt.Sprintf("%d KiB; the dearest: %s", sums[g].bytes>>10, strings.Join(dear, ", ")))
		}
	}
	return nil
}

// grouped says what each package of a program is linked for: by the name of the
// one family that needs it, "several of these", "tufops itself", or nothing.
func (b *bench) grouped(ctx context.Context, command string) (map[string]string, error) {
	list, err := output(ctx, b.module, "go", "list", "-tags", tags, "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, command)
	if err != nil {
		return nil, err
	}
	imports := map[string][]string{}
	var top string
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		top = f[0] // go list -deps ends with what was asked for
		imports[top] = f[1:]
	}
	// needed are the packages that are left without some.
	needed := func(without []string) map[string]bool {
		seen := map[string]bool{}
		var walk func(name string)
		walk = func(name string) {
			if seen[name] || slices.Contains(without, strings.TrimPrefix(name, module)) {
				return
			}
			seen[name] = true
			for _, p := range imports[name] {
				walk(p)
			}
		}
		walk(top)
		return seen
	}
	groups := map[string]string{}
	var all []string
	for _, f := range families {
		all = append(all, f.packages...)
		left := needed(f.packages)
		for name := range imports {
			if !left[name] && groups[name] == "" {
				groups[name] = f.name
			}
		}
	}
	left := needed(all)
	for name := range imports {
		switch {
		case strings.HasPrefix(name, module):
			groups[name] = "tufops itself"
		case !left[name] && groups[name] == "":
			groups[name] = "several of these"
		}
	}
	return groups, nil
}

// initTrace is what each package of a program does before main in one run.
func initTrace(ctx context.Context, program string) (map[string]initialised, error) {
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s --version: %w", program, err)
	}
	run := map[string]initialised{}
	for lines := bufio.NewScanner(&trace); lines.Scan(); {
		// init PACKAGE @1.2 ms, 0.034 ms clock, 5678 bytes, 9 allocs
		f := strings.Fields(lines.Text())
		if len(f) != 11 || f[0] != "init" {
			continue
		}
		clock, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(f[7])
		if err != nil {
			return nil, err
		}
		run[f[1]] = initialised{time.Duration(clock * float64(time.Millisecond)), size}
	}
	if len(run) == 0 {
		return nil, fmt.Errorf("%s told nothing of what it does before main", program)
	}
	return run, nil
}
