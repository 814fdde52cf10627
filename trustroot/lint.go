package trustroot

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

var (
	both       = []Kind{TrustedRoot, SigningConfig}
	rootOnly   = []Kind{TrustedRoot}
	configOnly = []Kind{SigningConfig}
)

var (
	unreadable = check(Check{Name: "unreadable", Level: Error, Kinds: both, Fixed: true,
		Title:   "clients cannot read the file",
		Stops:   "a slip of the pen takes verification away from everybody who updates",
		Source:  "staging 2025-08-13: a time without its T was signed by two people, merged, and online within a minute",
		Example: `line 20:18: certificateAuthorities[0].validFor.start is "2025-02-01:00:00Z", not a time`,
		Hint:    "write it like 2006-01-02T15:04:05Z"})
	ambiguousJSON = check(Check{Name: "ambiguous", Level: Error, Kinds: both, Fixed: true,
		Title:   "clients read the file differently",
		Stops:   "a person reviews one value and a client takes another: a name that stands twice, a name or a form of bytes that only some libraries know",
		Source:  "protojson accepts names and numbers that other readers refuse",
		Example: `line 24:17: "ctlogs" stands twice in one object: some clients take the first, some the last, some neither`,
		Hint:    "remove one of the two"})
	mediaType = check(Check{Name: "media-type", Level: Error, Kinds: both,
		Title:   "a media type that clients do not know",
		Stops:   "clients tell by it how to read the file, and refuse one that they do not know",
		Source:  "staging 2024-08-21: a signing configuration without one had to be signed again",
		Example: "there is no mediaType; clients read " + configV2,
		Hint:    "set the mediaType that the name of the file promises"})
	fieldTooNew = check(Check{Name: "field-too-new", Level: Error, Kinds: rootOnly,
		Title:   "a field that older clients do not know",
		Stops:   "clients that are deployed refuse a whole file for one new field",
		Source:  "staging 2025-05-15: operator was added to the trusted root and taken back the next day",
		Example: "line 70:7: the field tlogs[0].operator came after this form of the file: older clients refuse the whole file for it",
		Hint:    "leave it out, or publish it in a new file beside this one (trusted_root.v0.2.json)"})
	windowInvalid = check(Check{Name: "window", Level: Error, Kinds: both,
		Title:   "a window that nobody can mean",
		Stops:   "a log or an authority is never trusted, or for ever",
		Source:  "protobuf-specs demands a start; sigstore-go takes what is there",
		Example: "CT log https://ctfe.example.test/2026: its window ends 2025-05-31, before it starts 2025-06-01",
		Hint:    "set the time from which it has signed, and an end only where it has stopped"})
	duplicateEntry = check(Check{Name: "duplicate", Level: Error, Kinds: both,
		Title:   "the same entry twice",
		Stops:   "clients keep one of the two and silently drop the other, with its window",
		Source:  "sigstore-go keeps logs by log ID",
		Example: "CT log https://ctfe.example.test/2025: ctlogs[0] is the same",
		Hint:    "make one entry of the two"})
	entryOrder = check(Check{Name: "order", Level: Warning, Kinds: both,
		Title:   "entries not sorted by their start",
		Stops:   "people read the last entry as the newest, and clients that take the first take a wrong one",
		Source:  "protobuf-specs: oldest first in a trusted root, newest first in a signing configuration",
		Example: "CT log https://ctfe.example.test/2024: it starts 2024-06-01, but the entry before it starts 2025-02-01",
		Hint:    "sort the section: oldest first in a trusted root, newest first in a signing configuration"})
	noneActive = check(Check{Name: "none-active", Level: Error, Kinds: both,
		Title:   "none of a kind that is needed counts",
		Stops:   "everything that is signed from now on fails to verify, or nobody can sign",
		Source:  "sigstore-go enforces windows for logs and authorities alike",
		Example: "no OIDC service counts at 2026-01-01T12:00:00Z: 2025-02-01 -> 2025-12-01",
		Hint:    "leave one open until its successor counts"})
	urlForm = check(Check{Name: "url", Level: Error, Kinds: both,
		Title:   "a URL that clients cannot use",
		Stops:   "services are found by their URL: a missing path or a slash at the end is another service",
		Source:  "staging 2025-04-09: a timestamp authority without its path; slashes at the end, 2024-08-21 and 2025-04-25",
		Example: "OIDC service https://oauth2.example.test/auth/ (API v1): the URL ends with a slash",
		Hint:    "write the URL as the service itself writes it"})
)

// Lint runs every check on a document. It never fails: a document that cannot be
// read is a finding. Findings stand in the order of the checks.
func Lint(in Input) []Finding { return new(Reader).Lint(in) }

// Lint is [Lint].
func (r *Reader) Lint(in Input) []Finding {
	kind, ok := KindOf(in.Name)
	if !ok {
		return nil
	}
	d, w := r.read(kind, in.Data)
	l := &linter{in: in, reader: r, d: d, found: slices.Concat(w.unreadable, w.ambiguous, w.newer)}
	if d == nil {
		return l.bounded()
	}
	if in.Before != nil {
		l.before, _ = r.read(kind, in.Before)
	}
	l.mediaType()
	l.windowInvalid()
	l.duplicateEntry()
	l.entryOrder()
	l.noneActive()
	l.urlForm()
	if kind == TrustedRoot {
		l.trustedRoot()
	} else {
		l.signingConfig()
	}
	return l.bounded()
}

// maxListed bounds how many findings of one check are spelled out: a file has as
// many mistakes as its author likes.
const maxListed = 20

func (l *linter) bounded() []Finding {
	counts := map[string]int{}
	list := slices.DeleteFunc(l.found, func(f Finding) bool {
		counts[f.Check]++
		return counts[f.Check] > maxListed
	})
	for _, c := range checks {
		if n := counts[c.Name] - maxListed; n > 0 {
			list = append(list, Finding{Check: c.Name, Level: c.Level, Hint: c.Hint, Message: fmt.Sprintf("%d more like these", n)})
		}
	}
	return list
}

// Related reports whether an artifact is one that trust material has to agree
// with: trust material itself, or a key file of older clients.
func Related(target string) bool {
	if _, ok := KindOf(target); ok {
		return true
	}
	return legacyKind(target) != ""
}

// mediaType stops a document that clients do not know how to read.
func (l *linter) mediaType() {
	known := []string{rootV1}
	switch {
	case l.d.Kind == SigningConfig && l.d.v1:
		known = []string{configV1}
	case l.d.Kind == SigningConfig:
		known = []string{configV2}
	case path.Base(l.in.Name) != "trusted_root.json": // deployed clients read that one
		known = append(known, rootV2)
	}
	n := l.d.top.member("mediaType")
	switch {
	case slices.Contains(known, l.d.MediaType):
	case n == nil:
		l.add(mediaType, "mediaType", l.d.top, "there is no mediaType; clients read %s", strings.Join(known, " or "))
	default:
		l.add(mediaType, "mediaType", n, "the mediaType is %q; clients read %s", cut(l.d.MediaType, 100), strings.Join(known, " or "))
	}
}

// windowInvalid stops windows in which an entry never counts, or counts by
// accident.
func (l *linter) windowInvalid() {
	if l.d.v1 {
		return
	}
	earliest := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	latest := l.in.Now.AddDate(50, 0, 0)
	for _, e := range l.d.Entries {
		w := e.Window
		switch {
		case w.Start.IsZero():
			l.entry(windowInvalid, e, "", "its window has no start")
		case !w.End.IsZero() && w.End.Before(w.Start):
			l.entry(windowInvalid, e, "", "its window ends %s, before it starts %s", date(w.End), date(w.Start))
		case w.End.Equal(w.Start):
			l.entry(windowInvalid, e, "", "its window ends %s, the moment at which it starts", date(w.End))
		case w.Start.Before(earliest) || w.Start.After(latest):
			l.entry(windowInvalid, e, "", "its window starts %s, which nobody can mean", date(w.Start))
		case !w.End.IsZero() && w.End.After(latest):
			l.entry(windowInvalid, e, "", "its window ends %s, which nobody can mean", date(w.End))
		}
	}
}

// duplicateEntry stops an entry from hiding another, and one key from being two
// logs.
func (l *linter) duplicateEntry() {
	seen := map[string][]Entry{}
	keys := map[string]Entry{}
	logs := map[string]Entry{}
	for _, e := range l.d.Entries {
		key := string(e.Section) + " " + e.ID
		same := slices.IndexFunc(seen[key], func(o Entry) bool {
			// One service may stand twice with windows that follow each other.
			return l.d.Kind == TrustedRoot || o.Window.Equal(e.Window)
		})
		if same >= 0 {
			l.entry(duplicateEntry, e, "", "%s is the same", seen[key][same].path)
			continue
		}
		for _, o := range seen[key] {
			if o.Window.overlaps(e.Window) {
				l.entry(duplicateEntry, e, "validFor", "%s is the same service, and its window %s overlaps %s", o.path, o.Window, e.Window)
			}
		}
		seen[key] = append(seen[key], e)
		if !e.isLog() || len(e.RawKey) == 0 {
			continue
		}
		if first, ok := keys[e.ID]; ok {
			l.entryAs(duplicateEntry, duplicateEntry.Level, e, "publicKey", "take the key of each log from the log itself", "%s (%s) has the same key", first.path, first.Title())
		} else {
			keys[e.ID] = e
		}
		if len(e.LogID) == 0 {
			continue
		}
		id := string(e.Section) + string(e.LogID)
		if first, ok := logs[id]; ok {
			l.entry(duplicateEntry, e, "logId", "%s has the same log ID %s", first.path, base64Text(e.LogID))
		} else {
			logs[id] = e
		}
	}
}

// entryOrder keeps the order that the schema promises.
func (l *linter) entryOrder() {
	sections, before := rootSections, func(a, b time.Time) bool { return a.Before(b) }
	if l.d.Kind == SigningConfig {
		sections, before = configSections, func(a, b time.Time) bool { return a.After(b) }
	}
	for _, s := range sections {
		list := l.d.In(s)
		for i := 1; i < len(list); i++ {
			if list[i].Version != list[i-1].Version {
				continue // newer API versions may stand first
			}
			if a, b := list[i-1].Window.Start, list[i].Window.Start; before(b, a) {
				l.entry(entryOrder, list[i], "", "it starts %s, but the entry before it starts %s", date(b), date(a))
			}
		}
	}
}

// noneActive stops the last log or authority of a kind from closing.
func (l *linter) noneActive() {
	active := func(s Section) []Entry {
		return slices.DeleteFunc(l.d.In(s), func(e Entry) bool { return !e.Window.Active(l.in.Now) })
	}
	need := func(s Section, why string) {
		all := l.d.In(s)
		if len(active(s)) > 0 {
			l.gap(s, why)
			return
		}
		if len(all) == 0 {
			l.add(noneActive, string(s), l.d.top, "there is no %s%s", s.What(), why)
			return
		}
		l.add(noneActive, string(s), all[0].node, "no %s counts at %s%s: %s", s.What(), date(l.in.Now), why, windows(all))
	}
	v2 := false
	if l.d.Kind == TrustedRoot {
		need(CertificateAuthorities, "")
		for _, e := range active(TLogs) {
			v2 = v2 || e.rekorV2(l.configs())
		}
		if len(l.d.In(TLogs)) > 0 || len(l.d.In(TimestampAuthorities)) == 0 {
			need(TLogs, "")
		}
		if len(l.d.In(CTLogs)) > 0 {
			need(CTLogs, "")
		}
		if v2 {
			need(TimestampAuthorities, ", and what a Rekor v2 log takes verifies only with a timestamp")
		}
		return
	}
	need(CAURLs, "")
	need(OIDCURLs, "")
	for _, e := range active(RekorURLs) {
		v2 = v2 || e.Version == 2
	}
	if len(l.d.In(RekorURLs)) > 0 || len(l.d.In(TSAURLs)) == 0 {
		need(RekorURLs, "")
	}
	if v2 || len(l.d.In(TSAURLs)) > 0 {
		why := ""
		if v2 {
			why = ", and what a Rekor v2 log takes verifies only with a timestamp"
		}
		need(TSAURLs, why)
	}
}

// gap points at a moment in the year to come from which nothing of a section
// counts, for a while or for good.
func (l *linter) gap(s Section, why string) {
	all := l.d.In(s)
	at := l.in.Now
	for {
		end := at
		for _, e := range all {
			// What begins in the second in which another ends leaves no gap.
			if !e.Window.Active(at) && !e.Window.Active(at.Add(time.Second)) {
				continue
			}
			if e.Window.End.IsZero() {
				return
			}
			if e.Window.End.After(end) {
				end = e.Window.End
			}
		}
		if end.Equal(at) {
			break
		}
		at = end
	}
	if at.After(l.in.Now.AddDate(1, 0, 0)) {
		return
	}
	last := all[0]
	until := "on"
	var next time.Time
	for _, e := range all {
		if e.Window.End.Equal(at) {
			last = e
		}
		if e.Window.Start.After(at) && (next.IsZero() || e.Window.Start.Before(next)) {
			next = e.Window.Start
		}
	}
	if !next.IsZero() {
		until = "to " + date(next)
	}
	l.addAs(noneActive, Warning, string(s), last.node, noneActive.Hint, "no %s will count from %s %s%s: %s", s.What(), date(at), until, why, windows(all))
}

func windows(list []Entry) string {
	var parts []string
	for _, e := range list {
		parts = append(parts, e.Window.String())
	}
	return strings.Join(parts, ", ")
}

// urlForm stops URLs that lead nowhere or that another file writes in another
// way. In a trusted root a URL helps people only, so there it is a warning.
func (l *linter) urlForm() {
	level := Error
	if l.d.Kind == TrustedRoot {
		level = Warning
	}
	for _, e := range l.d.Entries {
		say := func(level Level, format string, args ...any) {
			l.entryAs(urlForm, level, e, "", urlForm.Hint, format, args...)
		}
		switch e.Section {
		case CertificateAuthorities, TimestampAuthorities:
			if e.URL == "" {
				continue // recommended, not required
			}
		}
		rest, https := strings.CutPrefix(e.URL, "https://")
		switch {
		case e.URL == "":
			say(level, "it has no URL")
		case !https || host(e.URL) == "" || strings.ContainsAny(rest, "?#@ "):
			say(level, "%q is not a plain https URL", cut(e.URL, 200))
		case strings.HasSuffix(e.URL, "/"):
			// Issuers are compared as text, so an OIDC URL may really end with one.
			say(Warning, "the URL ends with a slash")
		case (e.Section == TSAURLs || e.Section == TimestampAuthorities) && !strings.Contains(rest, "/"):
			say(level, "the URL has no path; clients send their request to exactly that URL")
		}
	}
}

// configs are the signing configurations beside the document that can be read.
func (l *linter) configs() []*Document {
	var list []*Document
	for _, name := range sortedNames(l.in.Files) {
		if kind, _ := KindOf(name); kind == SigningConfig && path.Dir(name) == path.Dir(l.in.Name) {
			if d, _ := l.reader.read(kind, l.in.Files[name]); d != nil {
				list = append(list, d)
			}
		}
	}
	return list
}

func sortedNames(m map[string][]byte) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// legacyKind tells which section the key files of older clients repeat, by
// their names: ctfe*.pub and fulcio*.pem.
//
// rekor*.pub is not among them: clients that read it cannot verify what a
// Rekor v2 log takes, so it must not follow.
func legacyKind(target string) Section {
	name := path.Base(target)
	switch {
	case strings.HasPrefix(name, "ctfe") && strings.HasSuffix(name, ".pub"):
		return CTLogs
	case strings.HasPrefix(name, "fulcio") && strings.HasSuffix(name, ".pem"):
		return CertificateAuthorities
	}
	return ""
}

// pemBlocks are the contents of all blocks of a PEM file.
func pemBlocks(data []byte) [][]byte {
	var list [][]byte
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return list
		}
		list, data = append(list, block.Bytes), rest
	}
}

func containsBytes(list [][]byte, one []byte) bool {
	return slices.ContainsFunc(list, func(b []byte) bool { return bytes.Equal(b, one) })
}
