// Package cli is the frame that the three programs share: arguments, help,
// exit status, error text, clock and log.
//
// It owns what is said when a command ends. A command returns an error, or a
// [Status] when the answer is an exit status and not a failure; only [Run]
// prints it, and only main calls os.Exit. Everything a program touches comes in
// through [Env], so tests run whole programs in their own process.
//
// Text in errors is taken to come from strangers and is escaped. The package
// knows no command and no room of the project.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/tufops/tufops/internal/escape"
	_ "github.com/tufops/tufops/internal/heap" // less garbage collection at the start
)

// Env is the world as a program sees it. The zero value has no input, discards
// its output, and has an empty environment and no terminal.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer // results
	Stderr io.Writer // conversation, progress, log, errors

	// LookupEnv returns an environment variable, like os.LookupEnv.
	LookupEnv func(key string) (string, bool)

	// These report whether a person sits at the other end.
	StdinIsTerminal, StderrIsTerminal bool
}

// System returns the environment of this process.
func System() Env {
	return Env{
		Stdin:            os.Stdin,
		Stdout:           os.Stdout,
		Stderr:           os.Stderr,
		LookupEnv:        os.LookupEnv,
		StdinIsTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		StderrIsTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// Getenv returns the variable's value, or "" if it is not set.
func (e Env) Getenv(key string) string {
	if e.LookupEnv == nil {
		return ""
	}
	value, _ := e.LookupEnv(key)
	return value
}

// StderrColor reports whether conversation may be coloured and progress redrawn:
// on a terminal that is able to, unless NO_COLOR is set (https://no-color.org).
// Results are never coloured.
func (e Env) StderrColor() bool {
	return e.StderrIsTerminal && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

func (e Env) withDefaults() Env {
	if e.Stdin == nil {
		e.Stdin = eof{}
	}
	if e.Stdout == nil {
		e.Stdout = io.Discard
	}
	if e.Stderr == nil {
		e.Stderr = io.Discard
	}
	return e
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// An Option changes how [Run] treats a program.
type Option func(*options)

type options struct {
	usageFails map[string]bool
}

// UsageIsFailure makes usage errors of the named commands exit 1, for commands
// whose exit status is by contract 0 or 1, such as those of the TUF conformance
// suite.
func UsageIsFailure(commands ...string) Option {
	return func(o *options) {
		for _, name := range commands {
			o.usageFails[name] = true
		}
	}
}

// Main runs a program in this process, for func main:
//
//	func main() { os.Exit(cli.Main(run)) }
//
// where run calls [Run], so that tests can call it too. The first interrupt
// cancels the context, so that commands leave things in order; the second ends
// the process.
func Main(run func(ctx context.Context, env Env, args []string) int) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, System(), os.Args)
}

// Run runs the program with args, the first of which is its name, and returns
// the exit status: 0 done, 1 failed, 2 usage, or what a [Status] says.
//
// Flags may stand before or after positional arguments, and before or after
// the name of the command they belong to; "--" ends them. The number of
// positional arguments is checked against the command's ArgsUsage: "EVENT
// [FILE]" is one or two, "ROLE..." one or more, "" none. Lists are given by
// repeating a flag, never by commas.
//
// Run adds --help, --version, "help", "completion" and the shell's completion
// request. It sets app's writers, error handling and clock note, so app must be
// a new one for every call. Only the command line sets a flag: EnvVars and
// FilePath of a flag that is Required are not looked at.
func Run(ctx context.Context, env Env, app *urfave.App, args []string, opts ...Option) (status int) {
	env = env.withDefaults()
	o := options{usageFails: make(map[string]bool)}
	for _, opt := range opts {
		opt(&o)
	}
	defer func() {
		// A panic would exit 2, which says usage.
		if p := recover(); p != nil {
			report(env.Stderr, app.Name, WithHint(fmt.Errorf("internal error: %v", p), "please report this with what follows"))
			fmt.Fprint(env.Stderr, escape.TerminalLines(string(debug.Stack())))
			status = 1
		}
	}()

	prepare(app, env)
	if len(args) > 0 {
		args = args[1:]
	}
	if n := len(args) - 1; n >= 0 && args[n] == completionRequest {
		complete(env.Stdout, app, args[:n])
		return 0
	}
	inv, err := resolve(rootCommand(app), args)
	switch {
	case err != nil:
	case inv.help:
		printHelp(env.Stdout, inv.chain)
		return 0
	case inv.version:
		info, _ := debug.ReadBuildInfo()
		fmt.Fprintln(env.Stdout, versionLine(app, info))
		return 0
	case inv.bare():
		printHelp(env.Stderr, inv.chain)
		err = usageError{fmt.Errorf("%s needs a command", inv.name())}
	default:
		if err = noteClock(env, app.Name); err == nil {
			err = app.RunContext(ctx, inv.arguments())
		}
	}
	if err == nil {
		return 0
	}
	if s, ok := err.(Status); ok { // not errors.As: a wrapped Status has text that must be seen
		return int(s)
	}
	if isUsage(err) && findText(err, hintOf) == "" {
		err = WithHint(err, "run: "+inv.name()+" --help")
	}
	report(env.Stderr, app.Name, err)
	status = exitStatus(err)
	if status == 2 && inv.names(o.usageFails, args) {
		status = 1
	}
	return status
}

// prepare turns off what urfave/cli does by itself (printing, exiting, flags
// and commands shared between apps) and adds what the frame does instead.
func prepare(app *urfave.App, env Env) {
	app.Reader, app.Writer, app.ErrWriter = env.Stdin, env.Stdout, env.Stderr
	app.ExitErrHandler = func(*urfave.Context, error) {}
	app.HideHelp, app.HideHelpCommand, app.HideVersion = true, true, true
	app.EnableBashCompletion = false // handled in complete
	app.DisableSliceFlagSeparator = true
	app.Compiled = time.Unix(0, 0) // else it looks for the file of the program
	app.InvalidFlagAccessHandler = func(_ *urfave.Context, name string) {
		if name != "help" && name != "h" { // urfave/cli itself asks for these
			panic(fmt.Sprintf("flag %q is not declared", name))
		}
	}
	if app.Command("help") == nil {
		app.Commands = append(app.Commands, helpCommand(app))
	}
	if app.Command("completion") == nil {
		app.Commands = append(app.Commands, completionCommand(app))
	}
	app.OnUsageError = onUsageError
	var walk func([]*urfave.Command)
	walk = func(commands []*urfave.Command) {
		for _, c := range commands {
			c.HideHelp, c.HideHelpCommand = true, true
			c.OnUsageError = onUsageError
			walk(c.Subcommands)
		}
	}
	walk(app.Commands)
}

// rootCommand is app in the shape of a command.
func rootCommand(app *urfave.App) *urfave.Command {
	return &urfave.Command{
		Name: app.Name, Usage: app.Usage, Description: app.Description, ArgsUsage: app.ArgsUsage,
		Flags: app.Flags, Subcommands: app.Commands, Action: app.Action,
	}
}

// release is the version of a released program, set by the linker. Such a program
// knows no commit, so that its bytes can be named in the commit that it is built
// from.
var release string

func versionLine(app *urfave.App, info *debug.BuildInfo) string {
	version, revision, modified, goVersion := app.Version, "", "", ""
	if version == "" {
		version = release
	}
	if info != nil {
		if version == "" {
			version = info.Main.Version
		}
		goVersion = info.GoVersion
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					modified = ", modified"
				}
			}
		}
	}
	if version == "" {
		version = "(devel)"
	}
	line := app.Name + " " + version
	if revision != "" {
		line += " (commit " + revision + modified + ")"
	}
	if goVersion != "" {
		line += " " + goVersion
	}
	return line
}
