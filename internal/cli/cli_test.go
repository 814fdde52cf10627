package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
)

// program is an app whose commands record how they were called.
type program struct {
	env    map[string]string
	stdout bytes.Buffer
	stderr bytes.Buffer
	called string
	result error // what every command returns
}

func (p *program) environment() cli.Env {
	return cli.Env{
		Stdout: &p.stdout,
		Stderr: &p.stderr,
		LookupEnv: func(key string) (string, bool) {
			value, ok := p.env[key]
			return value, ok
		},
	}
}

func (p *program) run(args ...string) int {
	opt := cli.UsageIsFailure("refresh", "download")
	return cli.Run(context.Background(), p.environment(), p.app(), append([]string{"tufops"}, args...), opt)
}

func (p *program) app() *urfave.App {
	record := func(c *urfave.Context) error {
		if _, err := cli.ParseCommon(c, p.environment()); err != nil {
			return err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s C=%s tuf-dir=%s v=%t", c.Command.Name, c.String("C"), c.String("tuf-dir"), c.Bool("v"))
		for _, name := range c.LocalFlagNames() {
			switch value := c.Value(name).(type) {
			case urfave.StringSlice:
				fmt.Fprintf(&b, " %s=%q", name, value.Value())
			default:
				fmt.Fprintf(&b, " %s=%v", name, value)
			}
		}
		fmt.Fprintf(&b, " args=%q", c.Args().Slice())
		p.called = b.String()
		return p.result
	}
	command := func(name, args string, flags ...urfave.Flag) *urfave.Command {
		example := strings.Fields(args)
		if name == "issue" {
			example = []string{"--success", "true"}
		}
		return &urfave.Command{
			Name: name, Usage: "do " + name, ArgsUsage: args, Flags: flags, Action: record,
			Description: "Does it.\n\nExample:\n  tufops " + strings.Join(append([]string{name}, example...), " "),
		}
	}
	show := command("show", "[FILE]", &urfave.BoolFlag{Name: "raw", Usage: "no table"})
	show.Description = "Example:\n  tufops trust show"
	return &urfave.App{
		Name:        "tufops",
		Usage:       "test",
		Description: "Example:\n  tufops status",
		Flags:       cli.CommonFlags(),
		Commands: []*urfave.Command{
			command("status", "",
				&urfave.StringFlag{Name: "head", Value: "HEAD", Usage: "look at `REV`"},
				&urfave.BoolFlag{Name: "push", Usage: "push"}),
			command("sign", "EVENT [FILE]",
				&urfave.IntFlag{Name: "threshold", Aliases: []string{"t"}, Usage: "signatures"},
				&urfave.StringSliceFlag{Name: "to", Usage: "`URL`"},
				&urfave.BoolFlag{Name: "yes", Usage: "ask nothing"}),
			command("online", "ROLE..."),
			command("issue", "", &urfave.StringFlag{Name: "success", Required: true, Usage: "`BOOL`"}),
			command("refresh", ""),
			command("download", "", &urfave.StringFlag{Name: "name", Usage: "`FILE`"}),
			{
				Name: "trust", Usage: "trust material", Description: "Example:\n  tufops trust show",
				Flags:       []urfave.Flag{&urfave.StringFlag{Name: "format", Value: "text", Usage: "`text|json`"}},
				Subcommands: []*urfave.Command{show},
			},
			{
				Name: "panic", Usage: "fail", Description: "Example:\n  tufops panic",
				Action: func(*urfave.Context) error { panic("a\x1b[1mb") },
			},
			{
				Name: "typo", Usage: "ask for a flag that is not there", Description: "Example:\n  tufops typo",
				Action: func(c *urfave.Context) error { fmt.Fprint(c.App.Writer, c.String("haed")); return nil },
			},
		},
	}
}

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		args string // split at spaces; "_" stands for an empty argument
		want string
	}{
		{"status", `status C=. tuf-dir=. v=false args=[]`},
		{"status --head main", `status C=. tuf-dir=. v=false head=main args=[]`},
		{"status --head=main --push", `status C=. tuf-dir=. v=false head=main push=true args=[]`},
		{"status -head main", `status C=. tuf-dir=. v=false head=main args=[]`},
		{"status --head= --push=false", `status C=. tuf-dir=. v=false head= push=false args=[]`},
		{"status --head _", `status C=. tuf-dir=. v=false head= args=[]`},
		{"status --head a=b", `status C=. tuf-dir=. v=false head=a=b args=[]`},
		{"status --head=a=b", `status C=. tuf-dir=. v=false head=a=b args=[]`},
		{"status -C x", `status C=x tuf-dir=. v=false args=[]`},
		{"-C x status", `status C=x tuf-dir=. v=false args=[]`},
		{"-C=x -v status --tuf-dir v2/", `status C=x tuf-dir=v2/ v=true args=[]`},
		{"--push status", `status C=. tuf-dir=. v=false push=true args=[]`},
		{"--head main status", `status C=. tuf-dir=. v=false head=main args=[]`},
		{"-C x --head status status", `status C=x tuf-dir=. v=false head=status args=[]`},
		{"sign sign/x", `sign C=. tuf-dir=. v=false args=["sign/x"]`},
		{"sign sign/x --yes", `sign C=. tuf-dir=. v=false yes=true args=["sign/x"]`},
		{"sign --yes sign/x f --threshold 2", `sign C=. tuf-dir=. v=false t=2 threshold=2 yes=true args=["sign/x" "f"]`},
		{"sign sign/x --threshold -1", `sign C=. tuf-dir=. v=false t=-1 threshold=-1 args=["sign/x"]`},
		{"sign sign/x -t=-1 -C -", `sign C=- tuf-dir=. v=false t=-1 threshold=-1 args=["sign/x"]`},
		{"sign -t 1 x --threshold 2", `sign C=. tuf-dir=. v=false t=2 threshold=2 args=["x"]`},
		{"sign x --to a,b y --to c -v", `sign C=. tuf-dir=. v=true to=["a,b" "c"] args=["x" "y"]`},
		{"sign x -", `sign C=. tuf-dir=. v=false args=["x" "-"]`},
		{"sign -- --yes -v", `sign C=. tuf-dir=. v=false args=["--yes" "-v"]`},
		{"sign x -- --", `sign C=. tuf-dir=. v=false args=["x" "--"]`},
		{"sign --to -- x", `sign C=. tuf-dir=. v=false to=["--"] args=["x"]`},
		{"sign _", `sign C=. tuf-dir=. v=false args=[""]`},
		{"sign help", `sign C=. tuf-dir=. v=false args=["help"]`},
		{"sign status h", `sign C=. tuf-dir=. v=false args=["status" "h"]`},
		{"sign head", `sign C=. tuf-dir=. v=false args=["head"]`},
		{"sign C v", `sign C=. tuf-dir=. v=false args=["C" "v"]`},
		{"online root targets -v a", `online C=. tuf-dir=. v=true args=["root" "targets" "a"]`},
		{"trust show", `show C=. tuf-dir=. v=false args=[]`},
		{"trust show f --format json -C x --raw", `show C=x tuf-dir=. v=false raw=true args=["f"]`},
		{"-C x trust --format json show --raw f", `show C=x tuf-dir=. v=false raw=true args=["f"]`},
		{"issue --success false", `issue C=. tuf-dir=. v=false success=false args=[]`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var p program
			if status := p.run(split(test.args)...); status != 0 {
				t.Fatalf("exit status %d\n%s", status, &p.stderr)
			}
			if p.called != test.want {
				t.Errorf("called as\n%s, want\n%s", p.called, test.want)
			}
			if p.stdout.Len() > 0 || p.stderr.Len() > 0 {
				t.Errorf("printed %q, %q", &p.stdout, &p.stderr)
			}
		})
	}
}

func split(line string) []string {
	args := strings.Fields(line)
	for i := range args {
		if args[i] == "_" {
			args[i] = ""
		}
	}
	return args
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args, want string
	}{
		{"statsu", `tufops: error: tufops has no command "statsu"
tufops: hint: Did you mean "status"?
`},
		{"xyz", `tufops: error: tufops has no command "xyz"
tufops: hint: run: tufops --help
`},
		{"trust shwo", `tufops: error: tufops trust has no command "shwo"
tufops: hint: Did you mean "show"?
`},
		{"status --haed x", `tufops: error: tufops status has no flag --haed
tufops: hint: Did you mean --head?
`},
		{"status --bogus", `tufops: error: tufops status has no flag --bogus
tufops: hint: run: tufops status --help
`},
		{"status -x", `tufops: error: tufops status has no flag -x
tufops: hint: run: tufops status --help
`},
		{"--push sign x", `tufops: error: tufops sign has no flag --push
tufops: hint: run: tufops sign --help
`},
		{"status --head", `tufops: error: --head needs a value
tufops: hint: run: tufops status --help
`},
		{"status x", `tufops: error: unexpected argument "x"
tufops: hint: run: tufops status --help
`},
		{"sign", `tufops: error: tufops sign needs EVENT
tufops: hint: run: tufops sign --help
`},
		{"sign a b c", `tufops: error: unexpected argument "c"
tufops: hint: run: tufops sign --help
`},
		{"online", `tufops: error: tufops online needs ROLE
tufops: hint: run: tufops online --help
`},
		{"issue", `tufops: error: tufops issue needs --success
tufops: hint: run: tufops issue --help
`},
		{"sign x --threshold two", `tufops: error: --threshold is a whole number, not "two"
tufops: hint: run: tufops sign --help
`},
		{"status --push=maybe", `tufops: error: --push is true or false, not "maybe"
tufops: hint: run: tufops status --help
`},
		{"status --log-format xml", `tufops: error: --log-format is text or json, not "xml"
tufops: hint: run: tufops status --help
`},
		{"status --tuf-dir ../x", `tufops: error: --tuf-dir is a path inside the git checkout, not "../x"
tufops: hint: run: tufops status --help
`},
		{"help xyz", `tufops: error: tufops has no command "xyz"
tufops: hint: run: tufops help --help
`},
		{"-- status", `tufops: error: tufops has no command "status"
tufops: hint: Did you mean "status"?
`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			var p program
			if status := p.run(split(test.args)...); status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			if p.called != "" {
				t.Errorf("the command ran: %s", p.called)
			}
			if got := p.stderr.String(); got != test.want {
				t.Errorf("stderr\n%s, want\n%s", got, test.want)
			}
			if p.stdout.Len() > 0 {
				t.Errorf("stdout %q", &p.stdout)
			}
		})
	}
}

func TestBareGroupIsUsage(t *testing.T) {
	for _, args := range []string{"", "trust", "-v"} {
		var p program
		if status := p.run(split(args)...); status != 2 {
			t.Errorf("%q: exit status %d, want 2", args, status)
		}
		if p.stdout.Len() > 0 || !strings.Contains(p.stderr.String(), "\nCommands:\n") {
			t.Errorf("%q: stdout %q, stderr %q; want help on stderr", args, &p.stdout, &p.stderr)
		}
	}
}

// The conformance suite takes any status but 0 and 1 for a broken client.
func TestUsageIsFailure(t *testing.T) {
	for args, want := range map[string]int{
		"refresh --bogus": 1,
		"refresh x":       1,
		"--bogus refresh": 1,
		"--name download": 1,
		"status --bogus":  2,
		"--bogus status":  2,
		"refreshh":        2,
		"refresh":         0,
	} {
		var p program
		if got := p.run(split(args)...); got != want {
			t.Errorf("%q: exit status %d, want %d", args, got, want)
		}
	}
	p := program{env: map[string]string{"TUFOPS_NOW": "noon"}}
	if got := p.run("refresh"); got != 1 {
		t.Errorf("with a bad clock: exit status %d, want 1", got)
	}
}

type touchError struct{ serial int }

func (e touchError) Error() string {
	return fmt.Sprintf("YubiKey %d saw no touch within 15s", e.serial)
}
func (e touchError) Hint() string { return "touch the key while it blinks" }
func (e touchError) Note() string { return "nothing was committed or pushed" }

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"plain", errors.New("no such branch"), 1, "tufops: error: no such branch\n"},
		{"hint and note", fmt.Errorf("sign root v13: %w", touchError{12345678}), 1,
			`tufops: error: sign root v13: YubiKey 12345678 saw no touch within 15s
tufops: hint: touch the key while it blinks
tufops: note: nothing was committed or pushed
`},
		{"outer hint wins", cli.WithHint(touchError{1}, "try again"), 1,
			`tufops: error: YubiKey 1 saw no touch within 15s
tufops: hint: try again
tufops: note: nothing was committed or pushed
`},
		{"note", cli.WithNote(errors.New("x"), "pushed"), 1, "tufops: error: x\ntufops: note: pushed\n"},
		{"hint beside another error", fmt.Errorf("%w, then %w", errors.New("a"), touchError{2}), 1,
			`tufops: error: a, then YubiKey 2 saw no touch within 15s
tufops: hint: touch the key while it blinks
tufops: note: nothing was committed or pushed
`},
		{"joined", errors.Join(errors.New("a"), cli.WithHint(errors.New("b"), "c\n\nd")), 1,
			"tufops: error: a\ntufops: error: b\ntufops: hint: c\ntufops: hint: d\n"},
		{"lines", errors.New("git push: rejected\n  fetch first\n"), 1, "tufops: error: git push: rejected; fetch first\n"},
		{"hostile", errors.New("role \x1b[31m\u202ex"), 1, "tufops: error: role \\x1b[31m\\u202ex\n"},
		{"usage", fmt.Errorf("x: %w", cli.Usagef("bad %d", 1)), 2,
			"tufops: error: x: bad 1\ntufops: hint: run: tufops status --help\n"},
		{"usage with a hint", cli.WithHint(cli.Usagef("bad"), "good"), 2, "tufops: error: bad\ntufops: hint: good\n"},
		{"awaited", cli.Status(3), 3, ""},
		{"finding stands", cli.Status(1), 1, ""},
		{"status zero", cli.Status(0), 0, ""},
		{"wrapped status", fmt.Errorf("post comment: %w", cli.Status(3)), 3, "tufops: error: post comment: exit status 3\n"},
		{"exit status of another library", urfave.Exit("x", 3), 1, "tufops: error: x\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := program{result: test.err}
			if status := p.run("status"); status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			if got := p.stderr.String(); got != test.want {
				t.Errorf("stderr\n%s, want\n%s", got, test.want)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	var p program
	if status := p.run("panic"); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if got := p.stderr.String(); !strings.HasPrefix(got, "tufops: error: internal error: a\\x1b[1mb\n") || !strings.Contains(got, "cli_test.go") {
		t.Errorf("stderr %s", got)
	}
	p = program{}
	if status := p.run("typo"); status != 1 || !strings.Contains(p.stderr.String(), `flag "haed" is not declared`) {
		t.Errorf("an undeclared flag: exit status %d, stderr %s", status, &p.stderr)
	}
}

func TestHelp(t *testing.T) {
	const want = `tufops trust show: do show

Usage: tufops trust show [flags] [FILE]

Example:
  tufops trust show

Flags:
  --raw   no table

Flags of every trust command:
  --format text|json   text|json (default: text)

Flags of every tufops command:
  -C DIR                   work on the git checkout in DIR (default: .)
  --tuf-dir DIR            the TUF repository is in DIR of it (default: .)
  --log-format text|json   write the log on stderr as text|json (default: text)
  -v                       log more
`
	for _, args := range []string{
		"trust show --help", "trust show -h", "trust show x -h", "trust show a b c --help", "help trust show", "-C x trust show --help",
	} {
		var p program
		if status := p.run(split(args)...); status != 0 {
			t.Errorf("%q: exit status %d", args, status)
		}
		if got := p.stdout.String(); got != want {
			t.Errorf("%q printed\n%s, want\n%s", args, got, want)
		}
		if p.stderr.Len() > 0 || p.called != "" {
			t.Errorf("%q: stderr %q, called %q", args, &p.stderr, p.called)
		}
	}
	var p program
	if status := p.run("--help"); status != 0 || !strings.Contains(p.stdout.String(), "\n  status ") {
		t.Errorf("--help: exit status %d\n%s", status, &p.stdout)
	}
}

func TestHelpIgnoresClock(t *testing.T) {
	p := program{env: map[string]string{"TUFOPS_NOW": "noon"}}
	if status := p.run("status", "--help"); status != 0 || p.stderr.Len() > 0 {
		t.Errorf("exit status %d, stderr %q", status, &p.stderr)
	}
}

func TestVersion(t *testing.T) {
	var p program
	if status := p.run("--version"); status != 0 || !strings.HasPrefix(p.stdout.String(), "tufops ") {
		t.Errorf("exit status %d, stdout %q", status, &p.stdout)
	}
}

func TestCheckHelp(t *testing.T) {
	var p program
	app := p.app()
	if problems := cli.CheckHelp(app); problems != nil {
		t.Errorf("CheckHelp: %q", problems)
	}
	app = &urfave.App{
		Name: "tufops", Usage: "x", Description: "Example:\n  tufops a",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "v", Usage: "log more"}},
		Commands: []*urfave.Command{
			{Name: "a", Description: "Example:\n  tufops ab\n\n  tufops a", Usage: "x"},
			{Name: "b", Description: "tufops b\n\nExample:\n  tufops a\nNo more:\n  tufops b", Action: func(*urfave.Context) error { return nil },
				Flags: []urfave.Flag{&urfave.BoolFlag{Name: "verbose", Aliases: []string{"v"}}, &urfave.StringFlag{Name: "h", Usage: "x"}}},
			{Name: "c", Usage: "x", Description: strings.Repeat("y", 81) + "\n\nExamples:\n  tufops c > out\n  tufops c \\\n    --days 3 'of grace'\n  tufops c --hours 3\n  other --x", Action: func(*urfave.Context) error { return nil },
				Flags: []urfave.Flag{&urfave.Int64Flag{Name: "days", Usage: strings.Repeat("folded ", 20)}}},
		},
	}
	want := []string{
		`tufops a: example "tufops ab": tufops has no command "ab"`,
		"tufops a: neither an Action nor commands",
		"tufops b: no Usage",
		"tufops b: no example in its Description",
		"tufops b: --verbose has no Usage",
		"tufops b: -v is a flag of tufops too",
		"tufops b: -h belongs to the frame",
		`tufops c: example "tufops c --days 3 'of grace'": unexpected argument "word"`,
		`tufops c: example "tufops c --hours 3": tufops c has no flag --hours`,
		"tufops c: help is wider than 80 columns: " + strings.Repeat("y", 81),
	}
	if got := cli.CheckHelp(app); !slices.Equal(got, want) {
		t.Errorf("CheckHelp = %q, want %q", got, want)
	}
}

func TestCompletion(t *testing.T) {
	for _, test := range []struct {
		args, want string
	}{
		{"_", "status sign online issue refresh download trust panic typo help completion"},
		{"", "status sign online issue refresh download trust panic typo help completion"},
		{"st", "status"},
		{"status --", "--tuf-dir --log-format --head --push --help"},
		{"status --h", "--head --help"},
		{"status --head x --p", "--push"},
		{"trust _", "show"},
		{"-C x trust s", "show"},
		{"sign _", ""},
		{"sign x -- --y", ""},
		{"completion _", "bash zsh"},
	} {
		var p program
		if status := p.run(append(split(test.args), "--generate-bash-completion")...); status != 0 || p.stderr.Len() > 0 {
			t.Errorf("%q: exit status %d, stderr %q", test.args, status, &p.stderr)
		}
		if got := strings.Join(strings.Fields(p.stdout.String()), " "); got != test.want {
			t.Errorf("%q completes to %q, want %q", test.args, got, test.want)
		}
	}
}

func TestCompletionScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh"} {
		var p program
		if status := p.run("completion", shell); status != 0 || strings.Contains(p.stdout.String(), "PROGRAM") {
			t.Fatalf("exit status %d\n%s", status, &p.stdout)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s here to try its script", shell)
			continue
		}
		script := p.stdout.String()
		if shell == "bash" {
			// A program that prints its arguments; the half-typed command
			// substitution must reach it as text.
			script = `tufops() { printf '<%s>\n' "$@"; }
` + script + `
COMP_WORDS=(tufops sign '$(touch ran)' --y) COMP_CWORD=3
_tufops_complete
printf '%s\n' "${COMPREPLY[@]}"`
		}
		cmd := exec.Command(path, "-c", script)
		cmd.Dir = t.TempDir()
		if shell == "zsh" {
			cmd.Args = []string{path, "-n"} // parse only
			cmd.Stdin = strings.NewReader(script)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", shell, err, out)
		}
		if want := "<sign>\n<$(touch ran)>\n<--y>\n<--generate-bash-completion>\n"; shell == "bash" && string(out) != want {
			t.Errorf("the script asked %q, want %q", out, want)
		}
		if _, err := os.Stat(filepath.Join(cmd.Dir, "ran")); err == nil {
			t.Errorf("the %s script ran what was typed", shell)
		}
	}
}

func TestClock(t *testing.T) {
	p := program{env: map[string]string{"TUFOPS_NOW": "2026-08-21T00:00:00Z"}}
	now, err := cli.Clock(p.environment())
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC); !now().Equal(want) {
		t.Errorf("the clock stands at %s, want %s", now(), want)
	}
	if status := p.run("status"); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if got, want := p.stderr.String(), "tufops: note: TUFOPS_NOW is set: the clock stands at 2026-08-21T00:00:00Z\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}

	p = program{env: map[string]string{"TUFOPS_NOW": "2026-08-21"}}
	if status := p.run("status"); status != 2 || p.called != "" {
		t.Errorf("a bad value: exit status %d, called %q", status, p.called)
	}
	if got, want := p.stderr.String(), "tufops: error: TUFOPS_NOW is \"2026-08-21\", not a time such as 2026-08-21T00:00:00Z\n"; !strings.HasPrefix(got, want) {
		t.Errorf("a bad value: stderr %q, want %q", got, want)
	}

	p = program{env: map[string]string{"TUFOPS_NOW": ""}}
	if now, err = cli.Clock(p.environment()); err != nil || time.Since(now()).Abs() > time.Minute {
		t.Errorf("without TUFOPS_NOW the clock is not the system's: %v, %v", now(), err)
	}
}

func TestRefuseSimulatedClock(t *testing.T) {
	env := (&program{env: map[string]string{"TUFOPS_NOW": "2026-08-21T00:00:00Z"}}).environment()
	for target, allowed := range map[string]bool{
		// paths
		"/srv/git/x.git":          true,
		"../origin.git":           true,
		"origin.git":              true,
		".":                       true,
		"./host:path":             true,
		"dir/with:colon":          true,
		"file:///srv/x.git":       true,
		"file://localhost/srv/x":  true,
		"FILE:///srv/x":           true,
		"file:out":                true,
		"file2:key.pem":           true,
		"file2:/keys/key.pem":     true,
		"file://fileserver/srv/x": false,
		"":                        false,
		// loopback
		"http://localhost":           true,
		"http://LOCALHOST:8080/x":    true,
		"https://127.0.0.1:443/x":    true,
		"http://127.8.9.1/":          true,
		"http://[::1]:9000/bucket":   true,
		"http://[::ffff:127.0.0.1]/": true,
		"ssh://git@localhost/x":      true,
		"ssh://git@127.0.0.1:2222/x": true,
		"git://[::1]/x":              true,
		"git@localhost:x/y":          true,
		"localhost:x/y":              true,
		"127.0.0.1:4443":             true,
		"localhost:4443":             true,
		"[::1]:4443":                 true,
		"git@[::1]:x":                true,
		"[localhost:2222]:x":         true,
		// elsewhere
		"git@github.com:x/y":                            false,
		"github.com:x/y":                                false,
		"https://github.com/x/y":                        false,
		"https://localhost@github.com/x":                false,
		"https://localhost:80@github.com/x":             false,
		"https://github.com/?localhost":                 false,
		"https://github.com#@localhost/":                false,
		"http://localhost.example.com/":                 false,
		"http://127.0.0.1.example.com/":                 false,
		"http://0.0.0.0/":                               false,
		"http://10.0.0.1/":                              false,
		"http://[2001:db8::1]/":                         false,
		"http://localhost\\@github.com/":                false,
		"http://":                                       false,
		"ssh://git@github.com/x/y":                      false,
		"ssh://-oProxyCommand=x/y":                      false,
		"localhost@github.com:x/y":                      false,
		"git@[2001:db8::1]:x":                           false,
		"[github.com:22]:x":                             false,
		"ext::sh -c true":                               false,
		"localhost::x":                                  false,
		`C:\repo`:                                       false,
		"gs://bucket/metadata":                          false,
		"gs://localhost/metadata":                       false,
		"s3://127.0.0.1/":                               false,
		"kms.googleapis.com:443":                        false,
		"gcpkms:projects/P/locations/L":                 false,
		"awskms:arn:aws:kms:eu-west-1:1:key/x":          false,
		"azurekms://localhost.vault.azure.net/keys/a/1": false,
		"hv:name/1":                                     false,
		"unix:///run/x":                                 false,
	} {
		err := cli.RefuseSimulatedClock(env, target)
		if allowed != (err == nil) {
			t.Errorf("%q: %v, want allowed = %t", target, err, allowed)
		}
		if err := cli.RefuseSimulatedClock(cli.Env{}, target); err != nil {
			t.Errorf("%q refused with the real clock: %v", target, err)
		}
	}
	p := program{result: cli.RefuseSimulatedClock(env, "git@github.com:x/y")}
	if status := p.run("status"); status != 2 {
		t.Errorf("exit status %d, want 2", status)
	}
	want := `tufops: error: TUFOPS_NOW is set, and "git@github.com:x/y" is neither a path nor on loopback
tufops: hint: unset TUFOPS_NOW to work with the real clock
`
	if got := p.stderr.String(); got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func TestAddSummary(t *testing.T) {
	if err := cli.AddSummary(cli.Env{}, "# x\n"); err != nil {
		t.Errorf("without GITHUB_STEP_SUMMARY: %v", err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "summary")
	env := (&program{env: map[string]string{"GITHUB_STEP_SUMMARY": path}}).environment()
	for _, text := range []string{"one\n", "two\n"} {
		if err := cli.AddSummary(env, text); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "one\ntwo\n" {
		t.Errorf("got %q, %v", data, err)
	}
	env = (&program{env: map[string]string{"GITHUB_STEP_SUMMARY": dir}}).environment()
	if err := cli.AddSummary(env, "x"); err == nil {
		t.Error("a directory was written to")
	}
}

func TestSetOutput(t *testing.T) {
	if err := cli.SetOutput(cli.Env{}, "changed", "true"); err != nil {
		t.Errorf("without GITHUB_OUTPUT: %v", err)
	}
	path := filepath.Join(t.TempDir(), "output")
	env := (&program{env: map[string]string{"GITHUB_OUTPUT": path}}).environment()
	for _, output := range [][2]string{
		{"changed", "true"},
		{"equals", "a=b<<c"},
		{"empty", ""},
		{"lines", "one\nchanged=false\n"},
		{"return", "a\rchanged=false"},
	} {
		if err := cli.SetOutput(env, output[0], output[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"", "a=b", "a\nb", "a<<b", "1"} {
		if err := cli.SetOutput(env, key, "x"); err == nil {
			t.Errorf("the name %q was taken", key)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := readOutputs(t, string(data))
	want := []string{"changed=true", "equals=a=b<<c", "empty=", "lines=one\nchanged=false\n", "return=a\rchanged=false"}
	if !slices.Equal(got, want) {
		t.Errorf("outputs %q, want %q", got, want)
	}
}

// readOutputs reads the file as the Actions runner does: whichever of "=" and
// "<<" comes first decides.
func readOutputs(t *testing.T, s string) []string {
	var outputs []string
	rest := strings.SplitAfter(s, "\n")
	for len(rest) > 0 && rest[0] != "" {
		line := strings.TrimSuffix(rest[0], "\n")
		rest = rest[1:]
		eq, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		if heredoc < 0 || eq >= 0 && eq < heredoc {
			outputs = append(outputs, line)
			continue
		}
		value := ""
		for rest[0] != line[heredoc+2:]+"\n" {
			value += rest[0]
			if rest = rest[1:]; len(rest) == 0 {
				t.Fatalf("no end of %q", line)
			}
		}
		rest = rest[1:]
		outputs = append(outputs, line[:heredoc]+"="+strings.TrimSuffix(value, "\n"))
	}
	return outputs
}

func TestLog(t *testing.T) {
	log := func(args ...string) string {
		var out bytes.Buffer
		env := cli.Env{Stderr: &out}
		app := &urfave.App{Name: "tufops", Flags: cli.CommonFlags(), Action: func(c *urfave.Context) error {
			common, err := cli.ParseCommon(c, env)
			if err != nil {
				return err
			}
			common.Log.Debug("reads", "file", "root.json")
			common.Log.With("role", "a b").WithGroup("event").Warn("is \x1b[1mold", "days", 3, slog.Group("main", "ahead", 1), "path", "x\u202ey")
			common.Log.Info("done")
			return nil
		}}
		if status := cli.Run(context.Background(), env, app, append([]string{"tufops"}, args...)); status != 0 {
			t.Errorf("exit status %d", status)
		}
		return out.String()
	}
	const warning = `tufops: warning: is \x1b[1mold role="a b" event.days=3 event.main.ahead=1 event.path=x\u202ey` + "\n"
	if got, want := log(), warning+"tufops: done\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if got, want := log("-v"), "tufops: debug: reads file=root.json\n"+warning+"tufops: done\n"; got != want {
		t.Errorf("log -v %q, want %q", got, want)
	}
	got := log("--log-format", "json")
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, `"path":"x\u202ey"`) || !strings.Contains(got, `"msg":"is \u001b[1mold"`) {
		t.Errorf("log --log-format json: %s", got)
	}
}

func TestEnv(t *testing.T) {
	env := func(terminal bool, vars map[string]string) cli.Env {
		e := (&program{env: vars}).environment()
		e.StderrIsTerminal = terminal
		return e
	}
	for _, test := range []struct {
		env  cli.Env
		want bool
	}{
		{env(true, nil), true},
		{env(false, nil), false},
		{env(true, map[string]string{"NO_COLOR": "1"}), false},
		{env(true, map[string]string{"NO_COLOR": ""}), true},
		{env(true, map[string]string{"TERM": "dumb"}), false},
		{cli.Env{}, false},
	} {
		if got := test.env.StderrColor(); got != test.want {
			t.Errorf("StderrColor() = %t, want %t", got, test.want)
		}
	}
	if env := cli.System(); env.Stdout == nil || env.LookupEnv == nil {
		t.Error("System() lacks something")
	}
	// The zero Env must do for a whole run.
	app := &urfave.App{Name: "tufops", Action: func(c *urfave.Context) error {
		_, err := io.ReadAll(c.App.Reader)
		return errors.Join(err, errors.New("x"))
	}}
	if status := cli.Run(context.Background(), cli.Env{}, app, nil); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
}
