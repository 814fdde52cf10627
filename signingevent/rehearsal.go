package signingevent

import (
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/repository"
)

// maxSteps bounds how many steps of a rehearsal are spelled out.
const maxSteps = 20

// rehearsed is a rehearsal in a few words: "24 steps ok, 1 failed, 1 not yet".
func rehearsed(r *repository.Rehearsal) string {
	var parts []string
	for _, o := range []repository.Outcome{repository.OK, repository.Failed, repository.NotYet} {
		n := len(r.With(o))
		switch {
		case n == 1 && len(parts) == 0:
			parts = append(parts, "1 step "+string(o))
		case n > 0 && len(parts) == 0:
			parts = append(parts, fmt.Sprintf("%d steps %s", n, o))
		case n > 0:
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if parts == nil {
		return "nothing was tried"
	}
	return strings.Join(parts, ", ")
}

// notable tells what people must know of: the steps that failed, then those that
// could not be tried, each once however many moments it has. more is how many
// are left out.
func notable(r *repository.Rehearsal) (outcomes []repository.Outcome, lines []string, more int) {
	type group struct {
		repository.RehearsalStep
		others int // moments
	}
	var groups []*group
	byStep := map[[3]string]*group{}
	for _, s := range append(r.With(repository.Failed), r.With(repository.NotYet)...) {
		key := [3]string{string(s.Outcome), s.What, s.Client}
		if g := byStep[key]; g != nil {
			g.others++
			continue
		}
		byStep[key] = &group{RehearsalStep: s}
		groups = append(groups, byStep[key])
	}
	if more = max(0, len(groups)-maxSteps); more > 0 {
		groups = groups[:maxSteps]
	}
	for _, g := range groups {
		who := g.Who()
		switch {
		case g.others == 1:
			who += " and at 1 other moment"
		case g.others > 1:
			who += fmt.Sprintf(" and at %d other moments", g.others)
		}
		outcomes, lines = append(outcomes, g.Outcome), append(lines, fmt.Sprintf("%s (%s): %s", g.What, who, g.Message))
	}
	return outcomes, lines, more
}

func textRehearsal(b *strings.Builder, r *repository.Rehearsal) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\nRehearsal: %s\n", rehearsed(r))
	outcomes, lines, more := notable(r)
	for i, line := range lines {
		fmt.Fprintf(b, "  %-11s %s\n", outcomes[i], escape.Terminal(line))
	}
	if more > 0 {
		fmt.Fprintf(b, "  %-11s and %d more steps: see --format json\n", "", more)
	}
	if r.Trouble != "" {
		fmt.Fprintf(b, "  %-11s %s\n", "broken off", escape.Terminal(r.Trouble))
	}
	for i, text := range r.Unproven {
		label := ""
		if i == 0 {
			label = "unproven"
		}
		fmt.Fprintf(b, "  %-11s %s\n", label, escape.Terminal(text))
	}
}

func markdownRehearsal(b *strings.Builder, r *repository.Rehearsal) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\n**Rehearsal:** %s.\n", rehearsed(r))
	outcomes, lines, more := notable(r)
	for i, line := range lines {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "* **%s** %s\n", outcomes[i], escape.Markdown(line))
	}
	if more > 0 {
		fmt.Fprintf(b, "* and %d more steps\n", more)
	}
	if r.Trouble != "" {
		fmt.Fprintf(b, "\nIt broke off: %s\n", escape.Markdown(r.Trouble))
	}
	if len(r.Unproven) > 0 {
		fmt.Fprintf(b, "\n<sub>Unproven until the merge: %s.</sub>\n", escape.Markdown(strings.Join(r.Unproven, "; ")))
	}
}
