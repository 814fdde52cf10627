package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

func rulesCommand(env cli.Env) *urfave.Command {
	return &urfave.Command{
		Name:      "rules",
		Usage:     "list the rules, or explain one",
		ArgsUsage: "[NAME]",
		Description: `Each line has a rule's name, its level, where it gates, and when it breaks.
Levels: error, people are not asked to sign; awaited, only people can cure it;
warning, shown only. Gates: E, the event is not complete; S, no new snapshot is
made; P, publish refuses. Elsewhere a finding is shown and blocks nothing.

Examples:
  tufops rules
  tufops rules keyid-mismatch
  tufops rules --format markdown > docs/rules.md`,
		Flags:  []urfave.Flag{&urfave.StringFlag{Name: "format", Value: "text", Usage: "print `text|markdown|json`"}},
		Action: func(c *urfave.Context) error { return listRules(c, env) },
	}
}

func listRules(c *urfave.Context, env cli.Env) error {
	if _, err := cli.ParseCommon(c, env); err != nil {
		return err
	}
	format, name := c.String("format"), c.Args().First()
	if format != "text" && format != "markdown" && format != "json" {
		return cli.Usagef("--format is text, markdown or json, not %q", format)
	}
	list := repository.Rules()
	if name != "" {
		i := slices.IndexFunc(list, func(r repository.Rule) bool { return r.Name == name })
		if i < 0 {
			return cli.WithHint(cli.Usagef("there is no rule %q", name), "list them with: tufops rules")
		}
		list = list[i : i+1]
	}
	switch {
	case format == "json":
		return printJSON(env, rulesJSON(list))
	case format == "markdown" && name == "":
		fmt.Fprint(env.Stdout, rulesPage(list))
	case format == "markdown":
		fmt.Fprint(env.Stdout, ruleSection(list[0]))
	case name == "":
		for _, r := range list {
			fmt.Fprintf(env.Stdout, "%-27s %-7s %-3s %s\n", r.Name, r.Level, r.Gates, r.Title)
		}
	default:
		fmt.Fprint(env.Stdout, ruleText(list[0]))
	}
	return nil
}

type ruleDoc struct {
	Name      string             `json:"name"`
	Level     repository.Level   `json:"level"`
	Gates     repository.Gates   `json:"gates"`
	Title     string             `json:"title"`
	Stops     string             `json:"stops"`
	Source    string             `json:"source"`
	Breaks    string             `json:"breaks"`
	Example   ruleExample        `json:"example"`
	Decisions []repository.Level `json:"decisions"` // what .tufops.yaml can make of it
}

type ruleExample struct {
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func rulesJSON(list []repository.Rule) any {
	docs := []ruleDoc{}
	for _, r := range list {
		docs = append(docs, ruleDoc{
			Name: r.Name, Level: r.Level, Gates: r.Gates, Title: r.Title, Stops: r.Stops, Source: r.Source, Breaks: r.Breaks,
			Example: ruleExample{r.Example, r.Hint}, Decisions: append([]repository.Level{}, r.Decisions()...),
		})
	}
	return map[string]any{"schema": 1, "rules": docs}
}

// ruleText explains a rule on a terminal of 80 columns.
func ruleText(r repository.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Name, r.Title)
	fold(&b, fmt.Sprintf("level %s; %s", r.Level, gatesInWords(r.Gates)))
	for _, part := range [][2]string{
		{"What it stops", r.Stops}, {"Where that comes from", r.Source}, {"When it breaks", r.Breaks},
		{"An example", string(r.Level) + ": " + r.Example}, {"", "hint: " + r.Hint},
		{"In .tufops.yaml", decisionsInWords(r)},
	} {
		if part[0] != "" {
			fmt.Fprintf(&b, "\n%s\n", part[0])
		}
		fold(&b, part[1])
	}
	if level := lowest(r); level != "" {
		fmt.Fprintf(&b, "\n  rules:\n    %s: {level: %s, reason: WHY}\n", r.Name, level)
	}
	return b.String()
}

// fold writes a text, indented by two and broken at spaces to fit.
func fold(b *strings.Builder, text string) {
	line := " "
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 80 && line != " " {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

func gatesInWords(g repository.Gates) string {
	var list []string
	if g.Event() {
		list = append(list, "the event is not complete (E)")
	}
	if g.Snapshot() {
		list = append(list, "no new snapshot is made (S)")
	}
	if g.Publish() {
		list = append(list, "publish refuses (P)")
	}
	if len(list) == 0 {
		return "it gates nothing"
	}
	return strings.Join(list, ", ")
}

func decisionsInWords(r repository.Rule) string {
	var list []string
	for _, level := range r.Decisions() {
		switch level {
		case repository.LevelOff:
			list = append(list, "It can be silenced, with a reason.")
		case repository.LevelWarning:
			text := "It can be lowered to a warning, with a reason that every status shows."
			if r.Gates.Snapshot() || r.Gates.Publish() {
				text += " That lets an event be complete and no more: online-sign and publish know no policy."
			}
			list = append(list, text)
		case repository.LevelError:
			list = append(list, fmt.Sprintf("It can be raised: with level error its findings are of level %s and gate the event.", r.Raised))
		}
	}
	if len(list) == 0 {
		return "It can neither be lowered nor silenced."
	}
	return strings.Join(list, " ")
}

// lowest is the mildest level that .tufops.yaml can give a rule.
func lowest(r repository.Rule) repository.Level {
	if d := r.Decisions(); len(d) > 0 {
		return d[0]
	}
	return ""
}

// rulesPage is docs/rules.md.
func rulesPage(list []repository.Rule) string {
	var b strings.Builder
	b.WriteString(`# Rules

<!-- Made by: tufops rules --format markdown > docs/rules.md -->

One list of rules for everybody: ` + "`tufops status`" + ` in CI, ` + "`tufops-sign`" + ` before a person signs, ` + "`tufops online-sign`" + ` and ` + "`tufops publish`" + `.
` + "`tufops rules NAME`" + ` says of one what this page says.

A finding has a level. **error**: the role is not complete, and people are not asked to sign. **awaited**: the role is not complete, and only people can
cure it, so they are asked. **warning**: shown, and gates nothing.

It gates only where going on would do harm, or a slip in one file would stop every client in the world. **E**: the signing event is not complete.
**S**: no new snapshot is made; the timestamp is renewed all the same, unless the root chain is broken. **P**: publish refuses, because a client would fail
now. Everywhere else a finding is shown and blocks nothing.

What maintainers can decide about a rule, they decide in ` + "`.tufops.yaml`" + ` on main: see [format.md](format.md#policy). A decision reaches as far as E.

| rule | level | gates | in short |
| --- | --- | --- | --- |
`)
	for _, r := range list {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", r.Name, r.Name, r.Level, r.Gates, r.Title)
	}
	for _, r := range list {
		b.WriteString("\n" + ruleSection(r))
	}
	return b.String()
}

// specAnchor is a section of the specification in a rule's source.
var specAnchor = regexp.MustCompile(` #([a-z][a-z-]*)`)

func ruleSection(r repository.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", r.Name)
	fmt.Fprintf(&b, "Level %s; %s. %s\n\n", r.Level, gatesInWords(r.Gates), decisionsInWords(r))
	fmt.Fprintf(&b, "* **Stops:** %s.\n* **Comes from:** %s.\n* **Breaks when:** %s.\n\nExample:\n\n", r.Stops, specAnchor.ReplaceAllString(r.Source, " [#$1](https://theupdateframework.github.io/specification/v1.0.34/#$1)"), r.Breaks)
	fmt.Fprintf(&b, "    %s: %s\n    hint: %s\n", r.Level, r.Example, r.Hint)
	return b.String()
}

// policyWarning says that nobody can read the policy at a commit; "" where it
// can be read. What signs and publishes for clients goes on without it: it works
// by the strict rules whatever the policy says, and a file that anybody with
// push rights to main can break must not stop a timestamp.
func policyWarning(ctx context.Context, repo *repository.Repository, commit git.OID) string {
	var unusable *repository.PolicyError
	if _, err := repo.Policy(ctx, commit); errors.As(err, &unusable) {
		return unusable.Error() + "; this changes nothing here, but no signing event can be judged until it is fixed on main"
	}
	return ""
}
