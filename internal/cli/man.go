package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// ManCommand prints the program's manual page. It is made from the help texts, so
// that it says what they say.
func ManCommand(program string) *urfave.Command {
	return &urfave.Command{
		Name:        "man",
		Usage:       "print the manual page",
		Description: "Example:\n  " + program + " man > ~/.local/share/man/man1/" + program + ".1",
		Action: func(c *urfave.Context) error {
			var page bytes.Buffer
			writeMan(&page, c.App)
			_, err := c.App.Writer.Write(page.Bytes())
			return err
		},
	}
}

// writeMan writes the help of the program and of each command as a section.
func writeMan(w io.Writer, app *urfave.App) {
	fmt.Fprintf(w, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(app.Name), roff(app.Name), roff(app.Usage))
	root := rootCommand(app)
	var walk func(chain []*urfave.Command)
	walk = func(chain []*urfave.Command) {
		title := "DESCRIPTION"
		if len(chain) > 1 {
			title = strings.ToUpper(commandPath(chain[1:]))
		}
		var help bytes.Buffer
		printHelp(&help, chain)
		fmt.Fprintf(w, ".SH %s\n.nf\n%s.fi\n", roff(title), roff(help.String()))
		for _, sub := range chain[len(chain)-1].VisibleCommands() {
			walk(append(chain[:len(chain):len(chain)], sub))
		}
	}
	walk([]*urfave.Command{root})
}

// roff escapes what roff would take as a request or an escape.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "")
}
