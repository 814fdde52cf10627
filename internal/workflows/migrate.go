package workflows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// A Plan is what a migration would change. Nothing has been written.
type Plan struct {
	Edits []Edit
	Left  []Reference // what stays as it is, and should not
}

// An Edit is the new content of one file. Both have the same number of
// lines.
type Edit struct {
	Path     string
	Old, New []byte
}

// A Reference is a "uses:" of a workflow file that was left as it is.
type Reference struct {
	Path string
	Line int
	Uses string
	Why  string
}

// Migrate plans to let the workflows of a checkout, and the actions of its own that
// stand in .github/actions/NAME, use our actions instead of tuf-on-ci's. Only the lines with such a "uses:" change, and of those only what
// follows it. The original text goes into the comment behind the new one, so that
// [Undo] needs nothing else, whatever happens to the rest of the file.
//
// Uses of tuf-on-ci that have no counterpart, or that are not written on a line of
// their own, are in Left. A file that is not YAML is an error.
func Migrate(top string, a Actions) (Plan, error) {
	if err := a.Check(); err != nil {
		return Plan{}, err
	}
	return plan(top, func(u use) (string, error) {
		name, ours := strings.CutPrefix(u.value, tufOnCI)
		if !ours {
			if foldPrefix(u.value, tufOnCI) {
				return "", fmt.Errorf("spelt other than %s", tufOnCI)
			}
			return "", nil
		}
		name, ref, pinned := strings.Cut(strings.TrimPrefix(name, "actions/"), "@")
		switch {
		case !strings.HasPrefix(u.value, tufOnCI+"actions/") || !slices.Contains(Names, name):
			return "", errors.New("tufops has no action of this name")
		case !pinned || ref == "":
			return "", errors.New("no version stands behind an @")
		}
		return u.quote + a.uses(name) + u.quote + " # " + a.Version + wasMark + u.rest, nil
	})
}

// Undo plans to take back what [Migrate] did: every line that it has written, and
// that still names one of our actions, gets its original text back, byte for byte.
// In Left are lines whose original is not of the form that Migrate writes, and
// those that take an action from this repository without having an original.
func Undo(top, repository string) (Plan, error) {
	return plan(top, func(u use) (string, error) {
		_, was, found := strings.Cut(u.comment, wasMark)
		switch {
		case !ourAction().MatchString(u.value):
			return "", nil
		case !found && foldPrefix(u.value, repository+"/"):
			return "", errors.New("its comment does not say what was there before")
		case !found:
			return "", nil
		case !original().MatchString(was):
			return "", fmt.Errorf("its comment does not end with a use of tuf-on-ci, but with %q", was)
		}
		return was, nil
	})
}

const (
	tufOnCI = "theupdateframework/tuf-on-ci/"
	wasMark = ", was: "
)

var (
	ourAction = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[^/]+/[^/]+/\.github/actions/(?:` + strings.Join(Names, "|") + `)@[0-9A-Za-z._/-]+$`)
	})
	original = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:` + tufOnCI + `actions/[a-z-]+@[^\s"'#]+|"` + tufOnCI + `actions/[a-z-]+@[^\s"'#]+"|'` + tufOnCI +
			`actions/[a-z-]+@[^\s"'#]+')(?:[ \t]+#.*|[ \t]*)$`)
	})

	// usesLine is a "uses:" on a line of its own: what stands before the value, the
	// value with its quotes, and what follows.
	usesLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([ \t]*(?:-[ \t]+)*(?:uses|"uses"|'uses')[ \t]*:[ \t]+(?:&[^\s]+[ \t]+)?)(["']?)([^\s"'#]+)(["']?)([ \t]+#.*|[ \t]*)$`)
	})
)

// use is a "uses:" of a job or a step.
type use struct {
	line           int // from 1
	value          string
	inUsesLine     bool // the line has the form of usesLine, and the rest is set
	before, quote  string
	rest           string // the line from the value on
	comment        string // what follows the value
	carriageReturn string // "\r" where the line ends with CRLF
}

// plan asks for each "uses:" of each workflow what is to stand there from the value
// to the end of the line; "" leaves it, an error leaves and reports it.
func plan(top string, replacement func(use) (string, error)) (Plan, error) {
	var p Plan
	names, err := list(top)
	if err != nil {
		return p, err
	}
	for _, name := range names {
		old, err := read(top, name)
		if err != nil {
			return p, err
		}
		found, err := findUses(old)
		if err != nil {
			return p, fmt.Errorf("read %s: %w", name, err)
		}
		lines := bytes.SplitAfter(old, []byte("\n"))
		changed := false
		want := make([]string, len(found)) // the values after the change
		for i, u := range found {
			want[i] = u.value
			text, err := replacement(u)
			if err == nil && text == "" {
				continue
			}
			if err == nil && !u.inUsesLine {
				err = errors.New("it is not written as one `uses: VALUE` on a line of its own")
			}
			if err != nil {
				p.Left = append(p.Left, Reference{name, u.line, u.value, err.Error()})
				continue
			}
			line := u.before + text + u.carriageReturn
			if bytes.HasSuffix(lines[u.line-1], []byte("\n")) {
				line += "\n"
			}
			lines[u.line-1] = []byte(line)
			want[i] = usesLine().FindStringSubmatch(u.before + text)[3]
			changed = true
		}
		if !changed {
			continue
		}
		edited := bytes.Join(lines, nil)
		if err := checkUses(edited, want); err != nil {
			return Plan{}, fmt.Errorf("rewrite %s: %w", name, err)
		}
		p.Edits = append(p.Edits, Edit{name, old, edited})
	}
	return p, nil
}

// checkUses reports whether the workflow uses exactly this: the proof that the
// lines that were rewritten are the ones that count, and that it is YAML still.
func checkUses(workflow []byte, want []string) error {
	found, err := findUses(workflow)
	if err != nil {
		return err
	}
	var have []string
	for _, u := range found {
		have = append(have, u.value)
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("it would use %q, but should use %q; please change it by hand", have, want)
	}
	return nil
}

// findUses returns the "uses:" of all jobs and steps of a workflow, or of the steps
// of a composite action, in the order in which they stand there.
func findUses(workflow []byte) ([]use, error) {
	lines := bytes.Split(workflow, []byte("\n"))
	var found []use
	add := func(mapping *yaml.Node) {
		value := field(mapping, "uses")
		if value == nil || value.Kind != yaml.ScalarNode {
			return
		}
		u := use{line: value.Line, value: value.Value}
		if u.line <= len(lines) {
			line, cr := bytes.CutSuffix(lines[u.line-1], []byte("\r"))
			if m := usesLine().FindStringSubmatch(string(line)); m != nil && m[2] == m[4] && m[3] == u.value {
				u.inUsesLine, u.before, u.quote, u.comment = true, m[1], m[2], m[5]
				u.rest = m[2] + m[3] + m[4] + m[5]
				if cr {
					u.carriageReturn = "\r"
				}
			}
		}
		found = append(found, u)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(workflow))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if len(doc.Content) == 0 {
			continue
		}
		addSteps := func(of *yaml.Node) {
			if steps := field(of, "steps"); steps != nil && steps.Kind == yaml.SequenceNode {
				for _, step := range steps.Content {
					add(step)
				}
			}
		}
		if runs := field(doc.Content[0], "runs"); runs != nil { // a composite action
			addSteps(runs)
		}
		jobs := field(doc.Content[0], "jobs")
		if jobs == nil || jobs.Kind != yaml.MappingNode {
			continue
		}
		for i := 1; i < len(jobs.Content); i += 2 {
			add(jobs.Content[i])
			addSteps(jobs.Content[i])
		}
	}
	slices.SortFunc(found, func(a, b use) int { return a.line - b.line })
	return found, nil
}

// field returns the value of a key in a mapping, nil if there is none.
func field(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func foldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Write carries the plan out, each file as a whole or not at all. After a crash
// some files are changed and some are not; planning again does the rest.
func (p Plan) Write(top string) error {
	for _, e := range p.Edits {
		if err := write(top, e.Path, e.New); err != nil {
			return err
		}
	}
	return nil
}

// Diff returns the plan as a unified diff, which git and patch can apply.
func (p Plan) Diff() string {
	var b strings.Builder
	for _, e := range p.Edits {
		e.diff(&b)
	}
	return b.String()
}

// diff relies on lines being replaced, never added or removed.
func (e Edit) diff(b *strings.Builder) {
	const around = 3
	old, now := bytes.SplitAfter(e.Old, []byte("\n")), bytes.SplitAfter(e.New, []byte("\n"))
	if n := len(old); len(old[n-1]) == 0 { // what follows the last line feed
		old, now = old[:n-1], now[:n-1]
	}
	fmt.Fprintf(b, "--- a/%s\n+++ b/%s\n", e.Path, e.Path)
	line := func(sign string, text []byte) {
		b.WriteString(sign)
		b.Write(text)
		if !bytes.HasSuffix(text, []byte("\n")) {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
	differs := func(i int) bool { return !bytes.Equal(old[i], now[i]) }
	for next := 0; next < len(old); {
		if !differs(next) {
			next++
			continue
		}
		last := next // the last change of this hunk
		for i := next; i < len(old) && i <= last+2*around; i++ {
			if differs(i) {
				last = i
			}
		}
		from, to := max(next-around, 0), min(last+around+1, len(old))
		fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n", from+1, to-from, from+1, to-from)
		for i := from; i < to; {
			end := i
			for end < to && differs(end) {
				end++
			}
			if end == i {
				line(" ", old[i])
				i++
				continue
			}
			for j := i; j < end; j++ {
				line("-", old[j])
			}
			for j := i; j < end; j++ {
				line("+", now[j])
			}
			i = end
		}
		next = to
	}
}
