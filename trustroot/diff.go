package trustroot

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/escape"
)

// Diff is what a change to a document means.
type Diff struct {
	Name string `json:"name"` // path of the artifact

	// Length and SHA256 are of the new text: the values that the metadata lists
	// and people sign. Before is the SHA-256 of the text before. Empty where the
	// document is not there.
	Length int    `json:"length"`
	SHA256 string `json:"sha256"`
	Before string `json:"before"`

	// Problem says why there is nothing to compare: clients cannot read the new
	// document, or the old one could not be read.
	Problem string `json:"problem,omitempty"`
	Refused bool   `json:"refused"` // the new one cannot be read

	Changes     []Change `json:"changes"`
	Unchanged   int      `json:"unchanged"`   // entries that are the same in every value
	Reformatted int      `json:"reformatted"` // of these, those that are written differently
}

// Op is what happens to one entry.
type Op string

const (
	Added    Op = "added"
	Removed  Op = "removed"
	Windowed Op = "window"  // its window moves, and nothing else
	Changed  Op = "changed" // another value differs
)

// Change is what happens to one entry, or to a field of the document itself.
type Change struct {
	Op    Op     `json:"op"`
	Title string `json:"title"` // what it is, by [Entry.Title]
	Facts []Fact `json:"facts"` // in the order in which they are shown
}

// Fact is one value with its name.
type Fact struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

// Compare says what the change from one text to another means. A nil text is a
// document that is not there. It depends on what the documents say, never on the
// order or the form in which they say it.
func Compare(name string, before, after []byte, now time.Time) Diff {
	return new(Reader).Compare(name, before, after, now)
}

// Compare is [Compare].
func (r *Reader) Compare(name string, before, after []byte, now time.Time) Diff {
	d := Diff{Name: name, Length: len(after), Changes: []Change{}}
	if after != nil {
		d.SHA256 = fingerprint(after)
	}
	if before != nil {
		d.Before = fingerprint(before)
	}
	kind, ok := KindOf(name)
	if !ok {
		d.Problem = "it is neither a trusted root nor a signing configuration"
		return d
	}
	var old, fresh *Document
	var err error
	if after != nil {
		if fresh, err = r.Parse(kind, after); err != nil {
			d.Problem, d.Refused = err.Error(), true
			return d
		}
	}
	if before != nil {
		if old, err = r.Parse(kind, before); err != nil {
			d.Problem = "the version before cannot be read, so all is shown as new: " + err.Error()
		}
	}
	for _, p := range pairs(old, fresh) {
		if c, differs := changeOf(p, now); differs {
			d.Changes = append(d.Changes, c)
		} else {
			d.Unchanged++
			if !bytes.Equal(p.before.raw, p.after.raw) {
				d.Reformatted++
			}
		}
	}
	if old != nil && fresh != nil {
		d.Changes = append(d.Changes, settings(old, fresh)...)
	}
	slices.SortStableFunc(d.Changes, func(a, b Change) int { return strings.Compare(a.key(), b.key()) })
	return d
}

// key sorts changes so that their order does not follow that of the file:
// removals first, since they cannot be taken back.
func (c Change) key() string {
	rank := map[Op]string{Removed: "0", Windowed: "1", Changed: "2", Added: "3"}[c.Op]
	return rank + c.Title + fmt.Sprint(c.Facts)
}

// Empty reports whether nothing changes but the form of the text.
func (d Diff) Empty() bool { return d.Problem == "" && len(d.Changes) == 0 }

// settings compares what stands outside entries.
func settings(old, fresh *Document) []Change {
	var list []Change
	change := func(title, was, now string) {
		if was != now {
			list = append(list, Change{Op: Changed, Title: title, Facts: []Fact{{"was", was}, {"now", now}}})
		}
	}
	change("media type", orNone(old.MediaType), orNone(fresh.MediaType))
	for _, s := range []Section{RekorURLs, TSAURLs} {
		change("how signers choose a "+s.What(), old.Selectors[s].String(), fresh.Selectors[s].String())
	}
	return list
}

// String writes a selector as people read it.
func (s Selector) String() string {
	switch {
	case s.node == nil:
		return "not set"
	case s.Count > 0:
		return fmt.Sprintf("%s %d", s.Name, s.Count)
	}
	return orNone(s.Name)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func changeOf(p pair, now time.Time) (Change, bool) {
	switch {
	case p.before == nil:
		return Change{Added, p.after.Title(), append(p.after.facts(now, true), Fact{"effect", addedEffect(*p.after, now)})}, true
	case p.after == nil:
		return Change{Removed, p.before.Title(), append(p.before.facts(now, false), Fact{"effect", removedEffect(*p.before, now)})}, true
	}
	was, is := *p.before, *p.after
	c := Change{Op: Windowed, Title: is.Title()}
	if !was.Window.Equal(is.Window) {
		c.Facts = append(c.Facts,
			Fact{"was", was.Window.String()},
			Fact{"now", is.Window.String() + ", " + activity(is.Window, now)},
			Fact{"effect", strings.Join(windowEffects(was, is, now), "; ")})
	}
	a, b := was.values(), is.values()
	for i := range a {
		if a[i].Text != b[i].Text {
			c.Op = Changed
			c.Facts = append(c.Facts, Fact{a[i].Label, orNone(a[i].Text) + " becomes " + orNone(b[i].Text)})
		}
	}
	if !bytes.Equal(was.LogID, is.LogID) {
		c.Facts = append(c.Facts, Fact{"effect", "clients look the log up by its ID: what names the old one stops verifying, what names the new one begins to"})
	}
	return c, len(c.Facts) > 0
}

// values are all values of an entry but its identity and its window.
func (e Entry) values() []Fact {
	if e.Version > 0 || e.Section == CAURLs || e.Section == OIDCURLs || e.Section == RekorURLs || e.Section == TSAURLs {
		return []Fact{{"operator", e.Operator}}
	}
	var chain []string
	for _, c := range e.Chain {
		chain = append(chain, subject(c))
	}
	return []Fact{
		{"url", e.URL}, {"operator", e.Operator},
		{"log ID", base64Text(e.LogID)}, {"checkpoint", base64Text(e.CheckpointKeyID)},
		{"kind of key", e.KeyDetails}, {"hash", e.HashAlgorithm},
		{"subject", strings.Trim(e.Organization+", "+e.CommonName, ", ")},
		{"chain", strings.Join(chain, " <- ")},
	}
}

// facts describe an entry that joins or leaves.
func (e Entry) facts(now time.Time, withIDs bool) []Fact {
	var list []Fact
	add := func(label, format string, args ...any) {
		list = append(list, Fact{label, fmt.Sprintf(format, args...)})
	}
	switch {
	case e.isLog():
		if e.Key != nil {
			add("key", "%s", keyName(e.Key))
		} else {
			add("key", "%s, unusable: %v", orNone(e.KeyDetails), e.KeyErr)
		}
		add("sha256", "%s", e.ID)
		if withIDs {
			add("log ID", "%s, %s", base64Text(e.LogID), e.logIDKind())
		}
	case e.Section == CertificateAuthorities || e.Section == TimestampAuthorities:
		for i, c := range e.Chain {
			label := "issued by"
			if i == 0 {
				label = "chain"
			}
			expired := ""
			if now.After(c.NotAfter) {
				expired = ", expired"
			}
			add(label, "%s, %s -> %s%s", subject(c), date(c.NotBefore), date(c.NotAfter), expired)
			add("sha256", "%s", fingerprint(c.Raw))
		}
		if e.ChainErr != nil {
			add("chain", "unusable: %v", e.ChainErr)
		}
	}
	if e.Operator != "" {
		add("operator", "%s", e.Operator)
	}
	add("window", "%s, %s", e.Window, activity(e.Window, now))
	return list
}

// logIDKind says what a log ID is the hash of.
func (e Entry) logIDKind() string {
	switch {
	case e.Key == nil:
		return "not to be checked without a key"
	case bytes.Equal(e.LogID, e.spkiID()):
		return "the SHA-256 of its key"
	case e.Section == TLogs && bytes.Equal(e.LogID, e.noteID()):
		return "the C2SP key id of its key and name"
	}
	return "which is not the one of its key"
}

// activity says how a window stands to the present.
func activity(w Window, now time.Time) string {
	switch w.At(now) {
	case Upcoming:
		return "begins " + from(now, w.Start)
	case Ended:
		return "ended " + from(now, w.End)
	}
	return "active now"
}

// verb is what an entry does, for its effect.
func (s Section) verb() string {
	switch s {
	case TLogs, CTLogs:
		return "logged"
	case CertificateAuthorities:
		return "issued"
	case TimestampAuthorities:
		return "timestamped"
	}
	return ""
}

func (e Entry) service() bool { return e.Section.verb() == "" }

func addedEffect(e Entry, now time.Time) string {
	w := e.Window
	switch {
	case e.service() && w.Start.After(now):
		return "signers begin to use it " + from(now, w.Start)
	case e.service() && !w.Active(now):
		return "signers do not use it: its time is over"
	case e.service():
		return "signers use it from now on"
	case w.Start.After(now):
		return fmt.Sprintf("what it has %s from %s on verifies, once that day has come", e.Section.verb(), date(w.Start))
	case w.End.IsZero():
		return fmt.Sprintf("whatever it has %s since %s verifies", e.Section.verb(), date(w.Start))
	}
	return fmt.Sprintf("whatever it has %s from %s to %s verifies", e.Section.verb(), date(w.Start), date(w.End))
}

func removedEffect(e Entry, now time.Time) string {
	switch {
	case e.service() && e.Window.Active(now):
		return "signers stop using it at once"
	case e.service():
		return "none: signers do not use it now"
	case e.Window.Start.After(now):
		return "none: it has not counted yet"
	}
	return fmt.Sprintf("everything that it has ever %s stops verifying", e.Section.verb())
}

// windowEffects says what a moved window does to what was signed, and to what
// will be.
func windowEffects(was, is Entry, now time.Time) []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	a, b, verb := was.Window, is.Window, is.Section.verb()
	switch {
	case a.Start.Equal(b.Start):
	case is.service():
		add("signers begin to use it %s instead of %s", date(b.Start), startText(a))
	case b.Start.After(a.Start) && a.Start.After(now):
		add("begins later, %s", from(now, b.Start))
	case b.Start.After(a.Start):
		add("starts later: what it %s before %s stops verifying", verb, date(b.Start))
	default:
		add("starts earlier: what it %s since %s verifies too", verb, startText(b))
	}
	switch end := b.End; {
	case a.End.Equal(end):
	case is.service() && end.IsZero():
		add("signers use it without an end")
	case is.service():
		add("signers stop using it %s", from(now, end))
	case end.IsZero():
		add("opens again: what it %s after %s verifies", verb, date(a.End))
	case !a.End.IsZero() && end.After(a.End):
		add("stays open longer: what it %s from %s to %s verifies too", verb, date(a.End), date(end))
	case end.Before(now):
		add("closed %s: what it has %s since stops verifying", from(now, end), verb)
	default:
		add("closes %s: later signatures will not verify", from(now, end))
	}
	return list
}

// mark is how a change is marked in text.
func (o Op) mark() string {
	return map[Op]string{Added: "+ ADDED", Removed: "- REMOVED", Windowed: "~ WINDOW", Changed: "~ CHANGED"}[o]
}

// summary is what is said of a document as a whole; empty for nothing.
func (d Diff) summary() []string {
	var list []string
	switch {
	case d.SHA256 == "":
		list = append(list, "the file is removed")
	case d.Refused:
		return []string{"DO NOT SIGN: clients cannot read this file.", d.Problem}
	case d.Before == "":
		list = append(list, "new file")
	case d.Before == d.SHA256:
		return []string{"the same bytes"}
	case d.Empty():
		list = append(list, "only the form of the text changes: every value is the same")
	}
	if d.Problem != "" {
		list = append(list, d.Problem)
	}
	return list
}

func (d Diff) unchanged() string {
	if d.Unchanged == 0 {
		return ""
	}
	text := fmt.Sprintf("= %s unchanged", entries(d.Unchanged))
	if d.Reformatted > 0 {
		text += fmt.Sprintf(", %d written differently", d.Reformatted)
	}
	return text
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// Digest names the text itself: its length and its SHA-256, as the metadata
// lists them.
func (d Diff) Digest() string {
	if d.SHA256 == "" {
		return "removed"
	}
	return fmt.Sprintf("%d bytes, sha256 %s", d.Length, d.SHA256)
}

// Lines are what the document says, entry by entry; in brackets stands what
// [Document.Find] knows a log or an authority by. Text in it comes from the
// file and is not escaped.
func (d *Document) Lines(now time.Time) []string {
	var list []string
	for _, e := range d.Entries {
		title := e.Title()
		if !e.service() {
			title += fmt.Sprintf(" (%.16s)", e.ID)
		}
		list = append(list, title)
		for _, f := range e.facts(now, true) {
			list = append(list, fmt.Sprintf("    %-10s %s", f.Label, f.Text))
		}
	}
	for _, s := range []Section{RekorURLs, TSAURLs} {
		if sel, ok := d.Selectors[s]; ok {
			list = append(list, fmt.Sprintf("signers choose a %s by %s", s.What(), sel))
		}
	}
	return list
}

// Lines are the difference for a terminal, without the name of the file. Text in
// it comes from the file and is not escaped.
func (d Diff) Lines() []string {
	list := d.summary()
	for _, c := range d.Changes {
		list = append(list, c.Op.mark()+" "+c.Title)
		for _, f := range c.Facts {
			list = append(list, fmt.Sprintf("    %-10s %s", f.Label, f.Text))
		}
	}
	if u := d.unchanged(); u != "" {
		list = append(list, u)
	}
	return list
}

// Markdown is the difference for a pull request, as lines of a list that stands
// alone. Everything from the file is escaped.
func (d Diff) Markdown() []string {
	plain, code := escape.Markdown, escape.MarkdownCode
	digest := "removed"
	if d.SHA256 != "" {
		digest = fmt.Sprintf("%d bytes, sha256 %s", d.Length, code(d.SHA256))
	}
	list := []string{fmt.Sprintf("What changes in %s (%s):", code(path.Base(d.Name)), digest), ""}
	for i, s := range d.summary() {
		if i == 0 && d.Refused {
			s = "**" + plain(s) + "**"
		} else {
			s = plain(s)
		}
		list = append(list, "* "+s)
	}
	for _, c := range d.Changes {
		text := fmt.Sprintf("* **%s** %s", strings.ToLower(strings.TrimLeft(c.Op.mark(), "+-~ ")), plain(c.Title))
		for _, f := range c.Facts {
			value := plain(f.Text)
			if f.Label == "sha256" || f.Label == "log ID" && c.Op == Added {
				first, rest, _ := strings.Cut(f.Text, ", ")
				if value = code(first); rest != "" {
					value += ", " + plain(rest)
				}
			}
			text += "<br>" + plain(f.Label) + ": " + value
		}
		list = append(list, text)
	}
	if u := d.unchanged(); u != "" {
		list = append(list, "*"+strings.TrimPrefix(u, "="))
	}
	return list
}
