// Command bench measures what people wait for: medians, how they compare with
// what the same work costs without our code, and at the end a table of what is
// promised and whether this machine has seen it. Nothing in it is asserted, and
// it uses no network.
//
// It owns a temporary directory with clones, generated repositories and the
// programs it builds; it changes nothing else. It trusts the go and git
// programs. What it measures as a floor it takes from a recorded run of the real
// program (see [record]), so a floor has no fewer processes and no less input
// than the thing it is compared with.
//
//	go run ./internal/bench [-only start,status,build,client,verify,sign,publish,growth] [-rounds N] [-cpu]
//
// With -cpu time is that of the processors, of programs and all that they start, and
// not of the clock: a machine that has other work to do disturbs it less. Waiting is
// then no time, so publish, and what people see of sign, go by the clock all the same.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tufops/tufops/internal/git/gittest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	work := run
	if dir := os.Getenv(recordTo); dir != "" {
		work = func(context.Context) error { return record(dir) }
	}
	if err := work(ctx); err != nil {
		panic(fmt.Sprintf("bench: %v", err)) // no room but cmd ends the process
	}
}

func run(ctx context.Context) (err error) {
	sections := []string{"start", "status", "build", "client", "verify", "sign", "publish", "growth"}
	only := flag.String("only", strings.Join(sections, ","), "measure these")
	rounds := flag.Int("rounds", 21, "how often a program is run for its median")
	growthRounds := flag.Int("growth-rounds", 5, "the same in the tables of growth")
	flag.BoolVar(&processors, "cpu", false, "measure the time of the processors")
	flag.Parse()
	wanted := strings.Split(*only, ",")
	for _, w := range wanted {
		if !slices.Contains(sections, w) {
			return fmt.Errorf("-only takes %s, not %q", strings.Join(sections, ", "), w)
		}
	}
	b := &bench{rounds: *rounds}
	if b.dir, err = os.MkdirTemp("", "tufops-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.printHead()
	defer func() {
		if err == nil {
			b.printPromises()
		}
	}()
	needCorpus := []string{"status", "build", "client", "sign"}
	speed := slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(needCorpus, w) })
	if slices.Contains(wanted, "start") {
		if err := b.start(ctx, *rounds); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	if speed {
		if err := b.corpus(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "bench: note: no corpus (%v): only start, verify, publish and growth are measured\n", err)
			speed = false
		}
	}
	if speed {
		for _, s := range []struct {
			name    string
			measure func(context.Context) error
		}{{"status", b.status}, {"build", b.build}, {"client", b.client}, {"sign", b.sign}} {
			if slices.Contains(wanted, s.name) {
				if err := s.measure(ctx); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
	}
	if slices.Contains(wanted, "verify") {
		if err := b.verify(ctx); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	if slices.Contains(wanted, "publish") {
		if err := b.publish(ctx, *growthRounds); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if slices.Contains(wanted, "growth") {
		if err := b.growth(ctx, *growthRounds); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
	}
	return nil
}

// bench is where the measurements happen.
type bench struct {
	rounds int
	dir    string // temporary; everything is below it
	module string // the top of the module
	tufops string // the program
	empty  string // a program with the same imports that does nothing, or copies a tree
	counts string // a program with the same imports that is status without the rules
	git    string

	tufopsClient string // the other programs
	tufopsSign   string
	noHardware   string // why tufops-sign was built without hardware keys; empty: it was not
	nothing      string // a program without imports that does nothing
	bareGets     string // a program with the imports of tufops-client that gets URLs and does no more
	bareVerify   string // one that verifies a bundle with the library

	promises []promise

	events string // the corpus's recorded events
	clone  string // of the corpus
}

// prepare builds the programs and closes the environment to the user's git
// configuration.
func (b *bench) prepare(ctx context.Context) error {
	gittest.Isolate()
	tmp := filepath.Join(b.dir, "tmp")
	for _, d := range []string{tmp, filepath.Join(b.dir, "empty")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	var err error
	if b.git, err = exec.LookPath("git"); err != nil {
		return err
	}
	mod, err := output(ctx, "", "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	b.module = filepath.Dir(mod)
	b.tufops, b.empty = filepath.Join(b.dir, "tufops"), filepath.Join(b.dir, "empty", "empty")
	b.counts = filepath.Join(b.dir, "empty", "counts")
	b.tufopsClient, b.bareGets = filepath.Join(b.dir, "tufops-client"), filepath.Join(b.dir, "empty", "gets")
	b.tufopsSign, b.nothing, b.bareVerify = filepath.Join(b.dir, "tufops-sign"), filepath.Join(b.dir, "empty", "nothing"), filepath.Join(b.dir, "empty", "verify")
	if err := b.buildSign(ctx); err != nil {
		return err
	}
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil { // as the Makefile builds them
		return err
	}
	for program, command := range map[string]string{b.tufops: "./cmd/tufops", b.tufopsClient: "./cmd/tufops-client"} {
		if _, err := output(ctx, b.module, "go", "build", "-tags", tags, "-trimpath", "-o", program, command); err != nil {
			return err
		}
	}
	if err := b.buildEmpty(ctx, "", b.nothing, ""); err != nil {
		return err
	}
	if err := b.buildEmpty(ctx, "./cmd/tufops-client", b.bareVerify, bareVerify,
		"encoding/hex", "strings", library+"bundle", library+"root", library+"verify"); err != nil {
		return err
	}
	if err := b.buildEmpty(ctx, "./cmd/tufops", b.empty, bareCopy); err != nil {
		return err
	}
	if err := b.buildEmpty(ctx, "./cmd/tufops", b.counts, countSignatures,
		"context", "encoding/json", module+"internal/git", module+"internal/metadata", module+"repository"); err != nil {
		return err
	}
	if err := b.buildEmpty(ctx, "./cmd/tufops-client", b.bareGets, bareGets); err != nil {
		return err
	}
	// Only now, since the go program keeps its work in a place of its own.
	return os.Setenv("TMPDIR", tmp)
}

// tags are those of the Makefile.
const tags = "disable_grpc_modules,urfave_cli_no_docs"

// buildSign builds tufops-sign, with hardware keys where that is possible.
func (b *bench) buildSign(ctx context.Context) error {
	cgo := "1"
	if _, err := output(ctx, "", "pkg-config", "--exists", "libpcsclite"); err != nil {
		b.noHardware, cgo = "the headers of PC/SC are missing: apt-get install gcc pkg-config libpcsclite-dev", "0"
	}
	if err := os.Setenv("CGO_ENABLED", cgo); err != nil {
		return err
	}
	_, err := output(ctx, b.module, "go", "build", "-tags", tags, "-trimpath", "-o", b.tufopsSign, "./cmd/tufops-sign")
	return err
}

// buildEmpty builds a program with the imports of a command, if one is named, and
// no more of its code, but for what body says; it may use the packages that are
// named, and os, io and net/http beside a command. Internal packages may be imported from inside the module only; an
// overlay puts the program there without writing to it.
func (b *bench) buildEmpty(ctx context.Context, command, to, body string, uses ...string) error {
	src := "package main\n"
	for _, p := range uses {
		src += fmt.Sprintf("import %q\n", p)
	}
	if command != "" {
		imports, err := output(ctx, b.module, "go", "list", "-tags", tags, "-f", `{{join .Imports "\n"}}`, command)
		if err != nil {
			return err
		}
		for _, p := range []string{"os", "io", "net/http"} {
			src += fmt.Sprintf("import %q\n", p)
		}
		for p := range strings.FieldsSeq(imports) {
			src += fmt.Sprintf("import _ %q\n", p)
		}
		src += "\nvar _ = os.Args\nvar _ = io.Discard\nvar _ = http.Get\n"
	}
	src += "\nfunc main() {" + body + "}\n"
	dir := to + ".src"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, []byte(src), 0o644); err != nil {
		return err
	}
	there := filepath.Join(b.module, "internal", "bench", "empty", "main.go")
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, there, file), 0o644); err != nil {
		return err
	}
	_, err := output(ctx, b.module, "go", "build", "-tags", tags, "-trimpath", "-overlay", overlay, "-o", to, "./internal/bench/empty")
	return err
}

const (
	module  = "github.com/tufops/tufops/"
	library = "github.com/sigstore/sigstore-go/pkg/"
)

// What the bare programs do: copy a folder, get URLs, and open an event to count
// the signatures of its roles, which is what is left of status without the rules.
const (
	countSignatures = `
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	g, err := git.Open(ctx, ".")
	check(err)
	defer g.Close()
	r, err := repository.New(g, "")
	check(err)
	e, err := r.OpenEvent(ctx, repository.EventOptions{Name: os.Args[1], Head: os.Args[2], Base: os.Args[3]})
	check(err)
	_, err = r.Policy(ctx, e.Base)
	check(err)
	verdict := map[string][]metadata.Quorum{}
	for _, role := range e.Changed() {
		doc, err := e.Proposed.Document(role)
		check(err)
		for _, d := range e.Proposed.Delegations(role) {
			verdict[role] = append(verdict[role], metadata.Check(d.Delegation, doc))
		}
		if d, ok := e.KnownGood.Delegation(role); ok && role == metadata.Root {
			verdict[role] = append(verdict[role], metadata.Check(d.Delegation, doc))
		}
		_, err = e.Baseline(ctx, role)
		check(err)
	}
	missing := map[string][]string{}
	for role, list := range verdict {
		for _, q := range list {
			for _, k := range q.Missing {
				missing[role] = append(missing[role], k.Holder())
			}
		}
	}
	doc, err := json.MarshalIndent(missing, "", "  ")
	check(err)
	os.Stdout.Write(doc)
`
	bareCopy = `
	if len(os.Args) == 3 {
		if err := os.CopyFS(os.Args[2], os.DirFS(os.Args[1])); err != nil {
			panic(err)
		}
	}
`
	bareGets = `
	for _, url := range os.Args[1:] {
		resp, err := http.Get(url)
		if err != nil {
			panic(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			panic(err)
		}
		resp.Body.Close()
	}
`
)

// output runs a program to its end and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// A timing is one thing that is measured over and over.
type timing struct {
	run   func() (time.Duration, error)
	times []time.Duration
}

// interleave measures the things in turn, one of each in every round, so that a
// machine that is busy for a while is busy for all of them. Each round begins with
// another thing, since what comes after a like thing finds the caches warm. A first
// round warms up and does not count.
func interleave(ctx context.Context, rounds int, things ...*timing) error {
	for round := range rounds + 1 {
		for i := range things {
			t := things[(round+i)%len(things)]
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := t.run()
			if err != nil {
				return err
			}
			if round > 0 {
				t.times = append(t.times, d)
			}
		}
	}
	return nil
}

func (t *timing) median() time.Duration {
	sorted := slices.Sorted(slices.Values(t.times))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// fastest is the run that other work on the machine disturbed least.
func (t *timing) fastest() time.Duration { return slices.Min(t.times) }

// repeated measures something short as the mean of n runs in a row.
func repeated(n int, run func() (time.Duration, error)) func() (time.Duration, error) {
	return func() (all time.Duration, err error) {
		for range n {
			d, err := run()
			if err != nil {
				return 0, err
			}
			all += d
		}
		return all / time.Duration(n), nil
	}
}

// processors says that what is measured is the time of the processors.
var processors bool

// timed measures f, which does its work in this process.
func timed(f func() error) (time.Duration, error) {
	if !processors {
		return clocked(f)
	}
	start, err := processTime()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	end, err := processTime()
	return end - start, err
}

// clocked measures f by the clock.
func clocked(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// processTime is what this process has used of the processors.
func processTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// program measures a run of a program, from start to end. Its output goes
// nowhere; allowed are the exit statuses that are no failure beside 0.
func program(ctx context.Context, dir string, env []string, allowed []int, name string, args ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		var stderr strings.Builder
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Stderr = dir, &stderr
		cmd.Env = append(os.Environ(), env...)
		d, err := clocked(func() error {
			err := cmd.Run()
			if cmd.ProcessState != nil && slices.Contains(allowed, cmd.ProcessState.ExitCode()) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
			}
			return nil
		})
		if err == nil && processors {
			d = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		return d, err
	}
}

// A promise is something that the project wants of itself.
type promise struct {
	what, measured, goal string
	met                  bool
}

// ratio notes how often a median may be its floor.
func (b *bench) ratio(what string, t *timing, floor time.Duration, goal float64) {
	r := float64(t.median()) / float64(floor)
	b.promises = append(b.promises, promise{what, fmt.Sprintf("%.2f times", r), fmt.Sprintf("%.1f", goal), r <= goal})
}

// most notes how many of something there may be.
func (b *bench) most(what string, n int, of string, goal int) {
	b.promises = append(b.promises, promise{what, fmt.Sprintf("%d %s", n, of), fmt.Sprint(goal), n <= goal})
}

func (b *bench) printPromises() {
	if len(b.promises) == 0 {
		return
	}
	fmt.Printf("\nPromised, and measured here\n  %-58s %16s %8s\n", "", "measured", "at most")
	for _, p := range b.promises {
		verdict := "met"
		if !p.met {
			verdict = "not met"
		}
		fmt.Printf("  %-58s %16s %8s   %s\n", p.what, p.measured, p.goal, verdict)
	}
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
