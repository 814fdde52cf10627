package cli

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// printHelp prints the help of the last command of the chain.
func printHelp(w io.Writer, chain []*urfave.Command) {
	c := chain[len(chain)-1]
	path := commandPath(chain)
	fmt.Fprintf(w, "%s: %s\n\n", path, c.Usage)
	usage := path
	if len(c.VisibleFlags()) > 0 || len(chain) > 1 {
		usage += " [flags]"
	}
	if len(c.Subcommands) > 0 {
		usage += " COMMAND"
	}
	if c.ArgsUsage != "" {
		usage += " " + c.ArgsUsage
	}
	fmt.Fprintf(w, "Usage: %s\n", usage)
	if text := strings.TrimSpace(c.Description); text != "" {
		fmt.Fprintf(w, "\n%s\n", text)
	}
	if commands := c.VisibleCommands(); len(commands) > 0 {
		fmt.Fprintf(w, "\nCommands:\n")
		var rows [][2]string
		for _, sub := range commands {
			rows = append(rows, [2]string{strings.Join(sub.Names(), ", "), sub.Usage})
		}
		printRows(w, rows)
	}
	if flags := c.VisibleFlags(); len(flags) > 0 {
		fmt.Fprintf(w, "\nFlags:\n")
		printFlags(w, flags)
	}
	for _, parent := range slices.Backward(chain[:len(chain)-1]) {
		if flags := parent.VisibleFlags(); len(flags) > 0 {
			fmt.Fprintf(w, "\nFlags of every %s command:\n", parent.Name)
			printFlags(w, flags)
		}
	}
}

func printFlags(w io.Writer, flags []urfave.Flag) {
	var rows [][2]string
	for _, f := range flags {
		var names []string
		for _, name := range f.Names() {
			names = append(names, dashes(name))
		}
		left, usage := strings.Join(names, ", "), ""
		if d, ok := f.(urfave.DocGenerationFlag); ok {
			usage = d.GetUsage()
			if takesValue(f) {
				// A word in backquotes names the value, as in the flag package.
				value := "VALUE"
				if before, rest, found := strings.Cut(usage, "`"); found {
					if name, after, found := strings.Cut(rest, "`"); found {
						value, usage = name, before+name+after
					}
				}
				left += " " + value
				// A number's zero says that it was not given, which is no default.
				if text := d.GetDefaultText(); text != "" && text != "0" {
					usage += fmt.Sprintf(" (default: %s)", strings.Trim(text, `"`))
				}
			}
		}
		rows = append(rows, [2]string{left, usage})
	}
	printRows(w, rows)
}

// columns is how wide help is where words allow.
const columns = 80

// printRows prints two columns, the second folded to fit.
func printRows(w io.Writer, rows [][2]string) {
	indent := 0
	for _, row := range rows {
		indent = max(indent, 2+len(row[0])+3)
	}
	for _, row := range rows {
		line := fmt.Sprintf("  %-*s", indent-2, row[0])
		for i, word := range strings.Fields(row[1]) {
			switch {
			case i == 0:
				line += word
			case len(line)+1+len(word) > columns:
				fmt.Fprintln(w, line)
				line = strings.Repeat(" ", indent) + word
			default:
				line += " " + word
			}
		}
		fmt.Fprintln(w, line)
	}
}

func helpCommand(app *urfave.App) *urfave.Command {
	return &urfave.Command{
		Name:        "help",
		Usage:       "show the help of a command",
		ArgsUsage:   "[COMMAND...]",
		Description: "Example:\n  " + app.Name + " help completion",
		Action: func(c *urfave.Context) error {
			inv := &invocation{chain: []*urfave.Command{rootCommand(app)}}
			for _, name := range c.Args().Slice() {
				sub := inv.command().Command(name)
				if sub == nil {
					return inv.unknownCommand(name)
				}
				inv.chain = append(inv.chain, sub)
			}
			printHelp(app.Writer, inv.chain)
			return nil
		},
	}
}

// CheckHelp returns what is wrong with the help and the flags of the program's
// commands, for a test: every command has a Usage and, in its Description, a
// line "Example:" or "Examples:" followed by an indented line that calls it; what
// examples call would be understood; the help fits on a terminal of 80 columns; no
// flag has the name of one that the frame or an outer command declares.
func CheckHelp(app *urfave.App) []string {
	prepare(app, Env{}.withDefaults())
	quoted := regexp.MustCompile(`"[^"]*"|'[^']*'`) // one word for a shell
	var problems []string
	var walk func(chain []*urfave.Command)
	walk = func(chain []*urfave.Command) {
		c, path := chain[len(chain)-1], commandPath(chain)
		problem := func(format string, args ...any) {
			problems = append(problems, path+": "+fmt.Sprintf(format, args...))
		}
		if c.Usage == "" {
			problem("no Usage")
		}
		if !slices.ContainsFunc(examples(c.Description), func(line string) bool { return containsCommand(line, path) }) {
			problem("no example in its Description")
		}
		for _, line := range examples(c.Description) {
			words := strings.Fields(quoted.ReplaceAllString(line, "word"))
			if end := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w, ">|;&") }); end >= 0 {
				words = words[:end]
			}
			if len(words) == 0 || words[0] != app.Name {
				continue // of another program, or this one within a line of the shell
			}
			if _, err := resolve(chain[0], words[1:]); err != nil {
				problem("example %q: %v", line, err)
			}
		}
		var help strings.Builder
		printHelp(&help, chain)
		for line := range strings.Lines(help.String()) {
			if line = strings.TrimRight(line, "\n"); len(line) > columns {
				problem("help is wider than %d columns: %s", columns, line)
			}
		}
		if c.Action == nil && len(c.Subcommands) == 0 {
			problem("neither an Action nor commands")
		}
		for _, f := range c.Flags {
			if d, ok := f.(urfave.DocGenerationFlag); !ok || d.GetUsage() == "" {
				problem("%s has no Usage", dashes(f.Names()[0]))
			}
			for _, name := range f.Names() {
				if name == "help" || name == "h" || name == "version" {
					problem("%s belongs to the frame", dashes(name))
				}
				for _, outer := range chain[:len(chain)-1] {
					if findFlag(outer, name) != nil {
						problem("%s is a flag of %s too", dashes(name), outer.Name)
					}
				}
			}
		}
		for _, sub := range c.Subcommands {
			walk(append(slices.Clone(chain), sub))
		}
	}
	walk([]*urfave.Command{rootCommand(app)})
	return problems
}

// examples are the lines below "Example:", as a shell reads them.
func examples(description string) (list []string) {
	inExample, goesOn := false, false
	for line := range strings.Lines(description) {
		text := strings.TrimSpace(line)
		switch {
		case text == "Example:" || text == "Examples:":
			inExample = true
			continue
		case inExample && line[0] != ' ' && line[0] != '\t' && text != "":
			inExample = false
		}
		if !inExample {
			continue
		}
		text, more := strings.CutSuffix(text, "\\")
		if goesOn {
			list[len(list)-1] += text
		} else {
			list = append(list, text)
		}
		goesOn = more
	}
	return list
}

func containsCommand(line, command string) bool {
	_, rest, found := strings.Cut(line, command)
	return found && (rest == "" || strings.ContainsRune(" )", rune(rest[0])))
}
