package cli

import (
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// completionRequest is what the shell scripts put last, the argument that
// urfave/cli reserves for this.
const completionRequest = "--generate-bash-completion"

// complete prints what could stand in place of the last argument, one word a
// line, or nothing where that is a value or a file.
func complete(w io.Writer, app *urfave.App, args []string) {
	word := ""
	if n := len(args); n > 0 {
		word, args = args[n-1], args[:n-1]
	}
	inv, _ := resolve(rootCommand(app), args) // unfinished lines are expected
	for _, arg := range args {
		if arg == "--" {
			return
		}
	}
	if strings.HasPrefix(word, "-") {
		for _, c := range inv.chain {
			for _, f := range c.VisibleFlags() {
				printMatches(w, word, dashes(f.Names()[0]))
			}
		}
		printMatches(w, word, "--help")
		return
	}
	if len(inv.positional) == 0 {
		for _, c := range inv.command().VisibleCommands() {
			printMatches(w, word, c.Name)
		}
	}
}

func printMatches(w io.Writer, prefix, word string) {
	if strings.HasPrefix(word, prefix) {
		fmt.Fprintln(w, word)
	}
}

func completionCommand(app *urfave.App) *urfave.Command {
	shell := func(name, example, script string) *urfave.Command {
		return &urfave.Command{
			Name:        name,
			Usage:       "print the script for " + name,
			Description: "Example:\n  " + strings.ReplaceAll(example, "PROGRAM", app.Name),
			Action: func(c *urfave.Context) error {
				_, err := io.WriteString(app.Writer, strings.ReplaceAll(script, "PROGRAM", app.Name))
				return err
			},
		}
	}
	return &urfave.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		Description: "Example:\n  " + app.Name + " completion bash",
		Subcommands: []*urfave.Command{
			shell("bash", `eval "$(PROGRAM completion bash)"`, bashScript),
			shell("zsh", `PROGRAM completion zsh > "${fpath[1]}/_PROGRAM"`, zshScript),
		},
	}
}

// The scripts hand over the words as they stand. They never eval them: a
// half-typed line may hold a command substitution.
const bashScript = `_PROGRAM_complete() {
  local word="${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS= read -r line; do
    COMPREPLY+=("$line")
  done < <("${COMP_WORDS[@]:0:COMP_CWORD}" "$word" --generate-bash-completion 2>/dev/null)
}
complete -o bashdefault -o default -F _PROGRAM_complete PROGRAM
`

const zshScript = `#compdef PROGRAM
_PROGRAM() {
  local -a found
  found=("${(@f)$("${(@)words[1,CURRENT]}" --generate-bash-completion 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then
    compadd -- "${found[@]}"
  else
    _files
  fi
}
if [[ "${funcstack[1]}" = "_PROGRAM" ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
`
