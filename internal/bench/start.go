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

// initialised is what the packages of a program do before main.
type initialised struct {
	total    time.Duration
	bytes    int
	packages map[string]time.Duration
}

// start measures what every run of a program pays for what it is linked with, by
// the account that Go itself keeps (GODEBUG=inittrace=1).
func (b *bench) start(ctx context.Context, rounds int) error {
	fmt.Printf("\nBefore main: medians of %d runs of --version\n", rounds)
	for _, p := range []struct{ name, program string }{{"tufops", b.tufops}, {"tufops-client", b.tufopsClient}} {
		var runs []initialised
		for range rounds {
			run, err := initTrace(ctx, p.program)
			if err != nil {
				return err
			}
			runs = append(runs, run)
		}
		slices.SortFunc(runs, func(a, b initialised) int { return cmp.Compare(a.total, b.total) })
		fastest := runs[0] // the account is in wall time, so the least disturbed run says most
		names := slices.SortedFunc(maps.Keys(fastest.packages), func(a, b string) int { return cmp.Compare(fastest.packages[b], fastest.packages[a]) })
		var dear []string
		for _, name := range names[:min(5, len(names))] {
			dear = append(dear, name+" "+milliseconds(fastest.packages[name]))
		}
		row(p.name+": all packages", runs[len(runs)/2].total, fmt.Sprintf("fastest run: %s, %d packages, %d KiB; the dearest: %s",
			milliseconds(fastest.total), len(names), fastest.bytes>>10, strings.Join(dear, ", ")))
	}
	return nil
}

func initTrace(ctx context.Context, program string) (initialised, error) {
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		return initialised{}, fmt.Errorf("%s --version: %w", program, err)
	}
	run := initialised{packages: map[string]time.Duration{}}
	for lines := bufio.NewScanner(&trace); lines.Scan(); {
		// init PACKAGE @1.2 ms, 0.034 ms clock, 5678 bytes, 9 allocs
		f := strings.Fields(lines.Text())
		if len(f) != 11 || f[0] != "init" {
			continue
		}
		clock, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return run, err
		}
		size, err := strconv.Atoi(f[7])
		if err != nil {
			return run, err
		}
		took := time.Duration(clock * float64(time.Millisecond))
		run.total += took
		run.bytes += size
		run.packages[f[1]] = took
	}
	if len(run.packages) == 0 {
		return run, fmt.Errorf("%s told nothing of what it does before main", program)
	}
	return run, nil
}
