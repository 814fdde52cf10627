package signingevent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Text is the report of an event for a terminal, at most about 80 columns wide
// where names allow. Names from the branch are made harmless.
func Text(s *repository.Status) string {
	var b strings.Builder
	t := escape.Terminal
	fmt.Fprintf(&b, "Signing event %s\n", t(s.Event))
	fmt.Fprintf(&b, "  commit %.12s, known-good %.12s\n", s.Commit, s.Base)
	if s.Deadline != nil {
		fmt.Fprintf(&b, "  %s\n", t(deadline(s.Deadline)))
	}
	if len(s.Roles) == 0 {
		b.WriteString("\nThe event changes no role.\n")
	}
	for _, r := range s.Roles {
		fmt.Fprintf(&b, "\n%s %s: %s\n", t(r.Role), versions(r), state(r))
		line := func(label, format string, args ...any) {
			fmt.Fprintf(&b, "  %-11s %s\n", label, fmt.Sprintf(format, args...))
		}
		line("signatures", "%s", t(signatures(r.Signed, r.Threshold)))
		if k := r.KnownGood; k != nil && differs(r) {
			line("", "%s, as the known-good root asks", t(signatures(k.Signed, k.Threshold)))
		}
		if missing := canSign(r); len(missing) > 0 {
			line("can sign", "%s", t(strings.Join(missing, ", ")))
		}
		if len(r.Invites) > 0 {
			line("invited", "%s", t(strings.Join(r.Invites, ", ")))
		}
		for i, a := range r.Artifacts {
			label := ""
			if i == 0 {
				label = "artifacts"
			}
			line(label, "%s %s", sign(a.Change), t(a.Path))
			for _, fact := range artifactFacts(a) {
				line("", "    %s", t(fact))
			}
			if a.Meaning != nil {
				for _, meaning := range a.Meaning.Lines() {
					fmt.Fprintf(&b, "      %s\n", t(meaning))
				}
			}
		}
		for i, a := range r.Attestations {
			label := ""
			if i == 0 {
				label = "attested"
			}
			line(label, "%s", t(attestation(a)))
			if a.Note != "" {
				line("", "    %s", t(a.Note))
			}
		}
		textFindings(&b, r.Findings)
	}
	if len(s.Findings) > 0 {
		b.WriteString("\nThe event as a whole\n")
		textFindings(&b, s.Findings)
	}
	for _, q := range s.Silenced {
		fmt.Fprintf(&b, "\nNot shown, by .tufops.yaml on main: %d of %s\n    reason: %s\n", q.Findings, q.Rule, t(q.Reason))
	}
	for _, o := range s.Overridden {
		fmt.Fprintf(&b, "\nCommit %.12s, by %s, says that they signed in spite of %s; nothing is decided by that\n    reason: %s\n", o.Commit, t(o.Author), o.Rule, t(o.Reason))
	}
	if s.Profile != nil {
		fmt.Fprintf(&b, "\n%s\n", ProfileText(s.Profile))
	}
	textRehearsal(&b, s.Rehearsal)
	fmt.Fprintf(&b, "\n%s\n", Verdict(s))
	return b.String()
}

// attestation is what keys/ says of a key, on one line.
func attestation(a repository.KeyAttestation) string {
	if a.Holds {
		return fmt.Sprintf("%s (key %.8s): %s", a.Owner, a.KeyID, a.Text)
	}
	return fmt.Sprintf("%s (key %.8s): not attested: %s", a.Owner, a.KeyID, a.Text)
}

// ProfileText says for a terminal which demands of a profile are met.
func ProfileText(p *repository.ProfileStatus) string {
	lines := []string{"Profile " + escape.Terminal(string(p.Name))}
	for _, d := range p.Demands {
		lines = append(lines, fmt.Sprintf("  %-8s %s: %s", metWord(d.Met), d.Name, escape.Terminal(d.Text)))
	}
	return strings.Join(lines, "\n")
}

func metWord(met string) string {
	switch met {
	case "yes":
		return "met"
	case "no":
		return "not met"
	}
	return "unknown"
}

func textFindings(b *strings.Builder, list []repository.Finding) {
	for _, f := range list {
		fmt.Fprintf(b, "  %s: %s\n", f.Level, escape.Terminal(f.Message))
		where := f.Rule
		if f.File != "" {
			where += ", " + f.File
		}
		fmt.Fprintf(b, "    rule %s\n", escape.Terminal(where))
		if f.Hint != "" {
			fmt.Fprintf(b, "    hint: %s\n", escape.Terminal(f.Hint))
		}
		if d := f.Decided(); d != "" {
			fmt.Fprintf(b, "    %s\n", escape.Terminal(d))
		}
	}
}

// Verdict is the state of the event in one sentence.
func Verdict(s *repository.Status) string {
	switch {
	case s.Complete:
		return "Complete: every role is signed as it must be. It can be merged."
	case s.Failed():
		return "Not complete: the errors above must be fixed before anybody signs."
	case len(s.Roles) == 0:
		return "Not complete: there is nothing to sign yet."
	}
	return "Not complete: people are awaited."
}

// Summary is the state of the event in a few words, such as
// "root 1 of 2, targets 2 of 2 signatures". Names in it are not escaped.
func Summary(s *repository.Status) string {
	var errs int
	for _, f := range s.AllFindings() {
		if f.Level == repository.LevelError {
			errs++
		}
	}
	switch {
	case errs == 1:
		return "1 error to fix"
	case errs > 1:
		return fmt.Sprintf("%d errors to fix", errs)
	case len(s.Roles) == 0:
		return "nothing to sign yet"
	}
	var parts []string
	for _, r := range s.Roles {
		n, threshold := len(r.Signed), r.Threshold
		if k := r.KnownGood; k != nil && int64(len(k.Signed))-k.Threshold < int64(n)-threshold {
			n, threshold = len(k.Signed), k.Threshold // what is further from done
		}
		parts = append(parts, fmt.Sprintf("%s %d of %d", r.Role, n, threshold))
	}
	const shown = 4
	if more := len(parts) - shown; more > 0 {
		parts = append(parts[:shown], fmt.Sprintf("and %d more roles", more))
	}
	text := strings.Join(parts, ", ") + " signatures"
	if s.Complete {
		text = "complete: " + text
	}
	return text
}

// People are those who must act now, sorted: whoever is invited, and whoever can
// still sign. Nobody is asked to sign what must first be fixed.
func People(s *repository.Status) []string {
	if s.Failed() || s.Complete {
		return nil
	}
	var list []string
	for _, r := range s.Roles {
		if r.Complete {
			continue
		}
		list = append(append(list, r.Invites...), canSign(r)...)
	}
	list = slices.DeleteFunc(list, func(name string) bool { return !strings.HasPrefix(name, "@") }) // an online key is nobody
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func deadline(d *repository.Deadline) string {
	return fmt.Sprintf("to be merged before %s: %s v%d expires then", d.Expires.Format("2006-01-02 15:04 MST"), d.Role, d.Version)
}

// artifactFacts tell what exactly an artifact becomes: its length, and its
// digests as the metadata states them.
func artifactFacts(a repository.ArtifactChange) []string {
	if a.After == nil {
		return nil
	}
	length := fmt.Sprintf("%d bytes", a.After.Length)
	if a.After.Length == 1 {
		length = "1 byte"
	}
	if a.Before != nil && a.Before.Length != a.After.Length {
		length += fmt.Sprintf(", were %d", a.Before.Length)
	}
	facts := []string{length}
	for _, algorithm := range slices.Sorted(maps.Keys(a.After.Hashes)) {
		facts = append(facts, algorithm+" "+a.After.Hashes[algorithm])
	}
	var before metadata.Object
	if a.Before != nil {
		before = a.Before.Object
	}
	if after := a.After.Object; string(metadata.Write(before["custom"])) != string(metadata.Write(after["custom"])) {
		text, err := metadata.Canonical(after["custom"])
		if err != nil {
			text = metadata.Write(after["custom"])
		}
		facts = append(facts, fmt.Sprintf("custom %.500s", text))
	}
	return facts
}

// signCommand is what people type to accept an invitation and to sign.
func signCommand(event string) string { return "tufops-sign sign " + escape.Argument(event) }

func versions(r repository.RoleStatus) string {
	switch {
	case r.Version == 0:
		return fmt.Sprintf("v%d, now unreadable", r.PreviousVersion)
	case r.PreviousVersion == 0:
		return fmt.Sprintf("v%d, new", r.Version)
	case r.PreviousVersion == r.Version:
		return fmt.Sprintf("v%d", r.Version)
	}
	return fmt.Sprintf("v%d -> v%d", r.PreviousVersion, r.Version)
}

func state(r repository.RoleStatus) string {
	for _, f := range r.Findings {
		if f.Level == repository.LevelError && f.Blocks() {
			return "has errors"
		}
	}
	switch {
	case r.Complete:
		return "complete"
	case len(r.Invites) > 0:
		return "waiting for invited people"
	}
	return "waiting for signatures"
}

func signatures(signed []string, threshold int64) string {
	text := fmt.Sprintf("%d of %d", len(signed), threshold)
	if len(signed) > 0 {
		text += ": " + strings.Join(signed, ", ")
	}
	return text
}

// differs reports whether the known-good root's view of the signatures is worth
// a line of its own.
func differs(r repository.RoleStatus) bool {
	k := r.KnownGood
	return k.Threshold != r.Threshold || fmt.Sprint(k.Signed) != fmt.Sprint(r.Signed) || fmt.Sprint(k.Missing) != fmt.Sprint(r.Missing)
}

// canSign lists whose signature is missing by either delegation.
//
// Nobody is while an invitation is open: whoever joins changes what is signed.
func canSign(r repository.RoleStatus) []string {
	if len(r.Invites) > 0 {
		return nil
	}
	list := append([]string(nil), r.Missing...)
	if r.KnownGood != nil {
		for _, name := range r.KnownGood.Missing {
			found := false
			for _, have := range list {
				found = found || have == name
			}
			if !found {
				list = append(list, name)
			}
		}
	}
	return list
}

func sign(change string) string {
	switch change {
	case "added":
		return "+"
	case "removed":
		return "-"
	}
	return "~"
}

// Markdown is the report of an event for a pull request. Names from the branch
// cannot mention, link or break out of their place.
func Markdown(s *repository.Status) string {
	var b strings.Builder
	code, plain := escape.MarkdownCode, escape.Markdown
	mark := "⏳"
	switch {
	case s.Complete:
		mark = "✅"
	case s.Failed():
		mark = "❌"
	}
	fmt.Fprintf(&b, "### %s Signing event %s\n\n%s\n", mark, code(s.Event), Verdict(s))
	if len(s.Roles) > 0 {
		b.WriteString("\n| role | version | signatures | signed | can still sign |\n| --- | --- | --- | --- | --- |\n")
	}
	for _, r := range s.Roles {
		mark := "⏳"
		switch state(r) {
		case "complete":
			mark = "✅"
		case "has errors":
			mark = "❌"
		}
		count := fmt.Sprintf("%d of %d", len(r.Signed), r.Threshold)
		if k := r.KnownGood; k != nil && differs(r) {
			count += fmt.Sprintf(", known-good root: %d of %d", len(k.Signed), k.Threshold)
		}
		still := names(canSign(r))
		if len(r.Invites) > 0 {
			still = "after " + names(r.Invites) + " joined"
		}
		fmt.Fprintf(&b, "| %s %s | %s | %s | %s | %s |\n", mark, code(r.Role), plain(versions(r)), count, names(r.Signed), still)
	}
	if people := People(s); len(people) > 0 {
		does := "shows what is to be signed, and signs"
		if slices.ContainsFunc(s.Roles, func(r repository.RoleStatus) bool { return len(r.Invites) > 0 }) {
			does = "shows what is to be signed, accepts an invitation, and signs"
		}
		fmt.Fprintf(&b, "\n**Awaited:** %s. This %s:\n\n    %s\n", names(people), does, escape.Terminal(signCommand(s.Event)))
	}
	if s.Deadline != nil {
		text := deadline(s.Deadline)
		fmt.Fprintf(&b, "\n%s%s.\n", strings.ToUpper(text[:1]), plain(text[1:]))
	}
	for _, r := range s.Roles {
		if len(r.Artifacts) > 0 {
			fmt.Fprintf(&b, "\nArtifacts of %s:\n\n", code(r.Role))
			for _, a := range r.Artifacts {
				fmt.Fprintf(&b, "* %s %s", a.Change, code(a.Path))
				for i, fact := range artifactFacts(a) {
					if name, value, ok := strings.Cut(fact, " "); i > 0 && ok {
						fmt.Fprintf(&b, "<br>%s %s", plain(name), code(value))
					} else {
						fmt.Fprintf(&b, ", %s", plain(fact))
					}
				}
				b.WriteByte('\n')
			}
			for _, a := range r.Artifacts {
				if a.Meaning != nil {
					fmt.Fprintf(&b, "\n%s\n", strings.Join(a.Meaning.Markdown(), "\n"))
				}
			}
		}
		if len(r.Attestations) > 0 {
			fmt.Fprintf(&b, "\nAttestations of the keys of %s:\n\n", code(r.Role))
			for _, a := range r.Attestations {
				fmt.Fprintf(&b, "* %s", plain(attestation(a)))
				if a.Note != "" {
					fmt.Fprintf(&b, "<br>%s", plain(a.Note))
				}
				b.WriteByte('\n')
			}
		}
		markdownFindings(&b, "Findings on "+code(r.Role), r.Findings)
	}
	markdownFindings(&b, "Findings on the event as a whole", s.Findings)
	if s.Profile != nil {
		fmt.Fprintf(&b, "\nProfile %s:\n\n", code(string(s.Profile.Name)))
		for _, d := range s.Profile.Demands {
			fmt.Fprintf(&b, "* **%s** %s: %s\n", metWord(d.Met), plain(d.Name), plain(d.Text))
		}
	}
	for _, q := range s.Silenced {
		fmt.Fprintf(&b, "\nNot shown, by .tufops.yaml on main: %d of %s (%s)\n", q.Findings, code(q.Rule), plain(q.Reason))
	}
	for _, o := range s.Overridden {
		fmt.Fprintf(&b, "\nCommit %.12s, by %s, says that they signed in spite of %s (%s). Nothing is decided by that.\n", o.Commit, plain(o.Author), code(o.Rule), plain(o.Reason))
	}
	markdownRehearsal(&b, s.Rehearsal)
	fmt.Fprintf(&b, "\n<sub>commit %.12s, known-good %.12s</sub>\n", s.Commit, s.Base)
	return b.String()
}

func markdownFindings(b *strings.Builder, title string, list []repository.Finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n\n", title)
	for _, f := range list {
		fmt.Fprintf(b, "* **%s** %s", f.Level, escape.Markdown(f.Message))
		if f.File != "" {
			fmt.Fprintf(b, " (%s)", escape.MarkdownCode(f.File))
		}
		fmt.Fprintf(b, "<br><sub>rule %s", escape.MarkdownCode(f.Rule))
		if f.Hint != "" {
			fmt.Fprintf(b, "; %s", escape.Markdown(f.Hint))
		}
		if d := f.Decided(); d != "" {
			fmt.Fprintf(b, "; %s", escape.Markdown(d))
		}
		b.WriteString("</sub>\n")
	}
}

// names lists logins without mentioning anybody: who is to be called by name is
// decided elsewhere, and only when it changes.
func names(list []string) string {
	var out []string
	for _, n := range list {
		out = append(out, escape.MarkdownCode(strings.TrimPrefix(n, "@")))
	}
	return strings.Join(out, " ")
}
