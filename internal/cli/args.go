package cli

import (
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// urfave/cli v2 stops looking for flags at the first positional argument, and
// knows a flag only right behind the command that declares it. resolve reads
// the command line as people write it; arguments writes it as urfave/cli reads
// it.

// invocation is a command line that was understood, or as far as it was.
type invocation struct {
	chain         []*urfave.Command // the program first
	given         []given
	positional    []string
	help, version bool
}

type given struct {
	flag  string // as spelled, without dashes
	value string
}

func (inv *invocation) command() *urfave.Command { return inv.chain[len(inv.chain)-1] }

// name returns the command with the program's name in front.
func (inv *invocation) name() string { return commandPath(inv.chain) }

func commandPath(chain []*urfave.Command) string {
	var names []string
	for _, c := range chain {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

// bare reports whether only a group of commands was named, and none of it.
func (inv *invocation) bare() bool { return inv.command().Action == nil }

// names reports whether one of the commands was called, or, if none was
// recognised, meant.
func (inv *invocation) names(commands map[string]bool, args []string) bool {
	if len(inv.chain) > 1 {
		return commands[inv.chain[1].Name]
	}
	return slices.ContainsFunc(args, func(arg string) bool { return commands[arg] })
}

// resolve reads args, which lack the program's name. The invocation is never
// nil. Every error is a usage error.
func resolve(root *urfave.Command, args []string) (*invocation, error) {
	inv := &invocation{chain: []*urfave.Command{root}}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			inv.positional = append(inv.positional, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			if len(inv.positional) == 0 {
				if sub := inv.command().Command(arg); sub != nil {
					inv.chain = append(inv.chain, sub)
					continue
				}
				if inv.bare() {
					return inv, inv.unknownCommand(arg)
				}
			}
			inv.positional = append(inv.positional, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		switch {
		case name == "help" || name == "h":
			inv.help = true
			return inv, nil
		case name == "version" && len(inv.chain) == 1:
			inv.version = true
			return inv, nil
		}
		takesValue, err := inv.takesValue(name)
		if err != nil {
			return inv, err
		}
		switch {
		case hasValue:
		case !takesValue:
			value = "true"
		case i+1 < len(args):
			i++ // whatever it looks like: "-1" is a value too
			value = args[i]
		default:
			return inv, Usagef("%s needs a value", dashes(name))
		}
		inv.given = append(inv.given, given{name, value})
	}
	return inv, inv.check()
}

// takesValue reports whether the flag has a value. It may belong to a command
// named already or, if none is yet, to one that follows.
func (inv *invocation) takesValue(name string) (bool, error) {
	for _, c := range slices.Backward(inv.chain) {
		if f := findFlag(c, name); f != nil {
			return takesValue(f), nil
		}
	}
	var found []urfave.Flag
	var search func(*urfave.Command)
	search = func(c *urfave.Command) {
		for _, sub := range c.Subcommands {
			if f := findFlag(sub, name); f != nil {
				found = append(found, f)
			}
			search(sub)
		}
	}
	if len(inv.positional) == 0 {
		search(inv.command())
	}
	if len(found) == 0 {
		return false, inv.unknownFlag(name)
	}
	for _, f := range found[1:] {
		if takesValue(f) != takesValue(found[0]) {
			return false, Usagef("%s must stand after the command", dashes(name))
		}
	}
	return takesValue(found[0]), nil
}

// check reports what is wrong with a command line that is read to its end.
func (inv *invocation) check() error {
	if inv.bare() {
		if len(inv.positional) > 0 {
			return inv.unknownCommand(inv.positional[0])
		}
		return nil
	}
	for _, g := range inv.given {
		if inv.owner(g.flag) < 0 {
			return inv.unknownFlag(g.flag)
		}
	}
	for i, c := range inv.chain {
		for _, f := range c.Flags {
			r, ok := f.(urfave.RequiredFlag)
			if ok && r.IsRequired() && !slices.ContainsFunc(inv.given, func(g given) bool {
				return inv.owner(g.flag) == i && slices.Contains(f.Names(), g.flag)
			}) {
				return Usagef("%s needs %s", inv.name(), dashes(f.Names()[0]))
			}
		}
	}
	return checkArgs(inv.name(), inv.command().ArgsUsage, inv.positional)
}

// checkArgs compares positional arguments with an ArgsUsage such as
// "EVENT [FILE]" or "ROLE...".
func checkArgs(command, usage string, args []string) error {
	want := strings.Fields(usage)
	for i, name := range want {
		if i >= len(args) && !strings.HasPrefix(name, "[") {
			return Usagef("%s needs %s", command, strings.TrimSuffix(name, "..."))
		}
	}
	if n := len(want); n > 0 && strings.HasSuffix(strings.TrimSuffix(want[n-1], "]"), "...") {
		return nil
	}
	if len(args) > len(want) {
		return Usagef("unexpected argument %q", args[len(want)])
	}
	return nil
}

// owner returns the index of the innermost command that declares the flag, or
// -1.
func (inv *invocation) owner(name string) int {
	for i, c := range slices.Backward(inv.chain) {
		if findFlag(c, name) != nil {
			return i
		}
	}
	return -1
}

// arguments returns the command line in the form that urfave/cli parses:
// each command with its own flags as --name=value, then "--" and the rest.
func (inv *invocation) arguments() []string {
	var args []string
	for i, c := range inv.chain {
		args = append(args, c.Name)
		for _, g := range inv.given {
			if inv.owner(g.flag) == i {
				args = append(args, "--"+findFlag(c, g.flag).Names()[0]+"="+g.value)
			}
		}
	}
	if len(inv.positional) > 0 {
		args = append(args, "--")
		args = append(args, inv.positional...)
	}
	return args
}

func (inv *invocation) unknownCommand(name string) error {
	err := Usagef("%s has no command %q", inv.name(), name)
	var names []string
	for _, c := range inv.command().VisibleCommands() {
		names = append(names, c.Names()...)
	}
	if s := closest(name, names); s != "" {
		return WithHint(err, fmt.Sprintf("Did you mean %q?", s))
	}
	return err
}

func (inv *invocation) unknownFlag(name string) error {
	err := Usagef("%s has no flag %s", inv.name(), dashes(name))
	var names []string
	for _, c := range inv.chain {
		for _, f := range c.VisibleFlags() {
			names = append(names, f.Names()...)
		}
	}
	if s := closest(name, names); s != "" {
		return WithHint(err, fmt.Sprintf("Did you mean %s?", dashes(s)))
	}
	return err
}

func findFlag(c *urfave.Command, name string) urfave.Flag {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f urfave.Flag) bool {
	d, ok := f.(urfave.DocGenerationFlag)
	return !ok || d.TakesValue()
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// closest returns the name that a slip of the keyboard could have turned into
// s, or "".
func closest(s string, names []string) string {
	best, limit := "", max(1, len(s)/3)
	for _, name := range names {
		d := distance(s, name)
		if len(s) >= 3 && strings.HasPrefix(name, s) {
			d = min(d, 1)
		}
		if len(name) > 1 && d <= limit {
			best, limit = name, d-1
		}
	}
	return best
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour to get from a to b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
