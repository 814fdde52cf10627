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

// notable are the steps that people must know of: those that failed, then those
// that could not be tried. more is how many are left out.
func notable(r *repository.Rehearsal) (list []repository.RehearsalStep, more int) {
	list = append(r.With(repository.Failed), r.With(repository.NotYet)...)
	if more = len(list) - maxSteps; more > 0 {
		return list[:maxSteps], more
	}
	return list, 0
}

// stepLine is a step that is not ok: "update (go-tuf, now): why".
func stepLine(s repository.RehearsalStep) string {
	return fmt.Sprintf("%s (%s): %s", s.What, s.Who(), s.Message)
}

func textRehearsal(b *strings.Builder, r *repository.Rehearsal) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\nRehearsal: %s\n", rehearsed(r))
	list, more := notable(r)
	for _, s := range list {
		fmt.Fprintf(b, "  %-11s %s\n", s.Outcome, escape.Terminal(stepLine(s)))
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
	list, more := notable(r)
	for i, s := range list {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "* **%s** %s\n", s.Outcome, escape.Markdown(stepLine(s)))
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
