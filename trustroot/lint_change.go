package trustroot

import (
	"bytes"
	"slices"
	"time"
)

var (
	entryRemoved = check(Check{Name: "removed", Level: Error, Kinds: rootOnly,
		Title:   "a log or an authority is removed",
		Stops:   "everything that it has ever signed stops verifying",
		Source:  "protobuf-specs: previously used instances must stay; production 2025-01-21 removed a timestamp authority",
		Example: "CT log https://ctfe.example.test/old (sha256 47272b9d3ff5d564) is removed; what it has signed between 2025-03-01 and now stops verifying",
		Hint:    "keep it and set the end of its window: tufops trusted-root close"})
	endInPast = check(Check{Name: "end-in-past", Level: Warning, Kinds: rootOnly,
		Title:   "a change ends a window in the past",
		Stops:   "what was signed since then stops verifying, without a word to those who have signed it",
		Source:  "staging 2023-09-06 did it for superseded CT logs, with reason",
		Example: "CT log https://ctfe.example.test/old: it now ends 2025-12-01, 32 days ago; what it has signed since stops verifying",
		Hint:    "make sure that it has signed nothing since, or choose a later end"})
	endSoon = check(Check{Name: "end-soon", Level: Warning, Kinds: rootOnly,
		Title:   "a change ends a window in two weeks",
		Stops:   "a deployment is rolled back and the log that is still in use closes",
		Source:  "staging 2026-01-14 closed a CT log a week ahead and had to open it again the next day",
		Example: "CT log https://ctfe.example.test/old: it now ends 2026-01-15, in 14 days",
		Hint:    "close it only after its successor has been in use for a while"})
	startLater = check(Check{Name: "start-later", Level: Warning, Kinds: rootOnly,
		Title:   "a change moves a start later",
		Stops:   "what was signed before the new start stops verifying",
		Source:  "production 2023-02-20, as a correction",
		Example: "CT log https://ctfe.example.test/2025: it starts 2025-02-01, later than before (2025-01-25); what it has signed before stops verifying",
		Hint:    "make sure that it has signed nothing before the new start"})
	reopened = check(Check{Name: "reopened", Level: Warning, Kinds: rootOnly,
		Title:   "a change opens a window again",
		Stops:   "a log or an authority that was closed for a reason counts again",
		Source:  "staging 2026-01-15, as a correction",
		Example: "CT log https://ctfe.example.test/2025: its end moves from 2025-12-01 to open",
		Hint:    "make sure why it was closed"})
	identityChanged = check(Check{Name: "identity", Level: Warning, Kinds: rootOnly,
		Title:   "the same key, another log ID or kind",
		Stops:   "clients look for a log by its log ID: with another one nothing that it has taken verifies",
		Source:  "staging 2025-06-13, as a correction",
		Example: "rekor log https://log2025-1.rekor.example.test: its log ID changes from RycrnT/11WQ15JtgBXeYVLlFYMtbAka7+JnxUQaOX5E= to 8w1amZ2S5mJIQkQmPxdMuOrL/oJkvFg9MnQXmeOCXck=",
		Hint:    "make sure that the old value was wrong"})
)

// pair is an entry of two versions; one of them is nil where it is added or
// removed.
type pair struct{ before, after *Entry }

// pairs matches the entries of two versions by what they are: in the order of
// the new version, then what is removed. Entries that are the same thing twice
// are matched in order.
func pairs(before, after *Document) []pair {
	var list []pair
	rest := map[string][]*Entry{}
	key := func(e *Entry) string { return string(e.Section) + " " + e.ID }
	if before != nil {
		for i := range before.Entries {
			e := &before.Entries[i]
			rest[key(e)] = append(rest[key(e)], e)
		}
	}
	// What is twice there is matched by equal windows first, so that the order
	// in the file does not matter.
	take := func(e *Entry, same bool) *Entry {
		k := key(e)
		for i, b := range rest[k] {
			if !same || b.Window.Equal(e.Window) {
				rest[k] = slices.Delete(slices.Clone(rest[k]), i, i+1)
				return b
			}
		}
		return nil
	}
	if after != nil {
		matched := make([]*Entry, len(after.Entries))
		for i := range after.Entries {
			matched[i] = take(&after.Entries[i], true)
		}
		for i := range after.Entries {
			if matched[i] == nil {
				matched[i] = take(&after.Entries[i], false)
			}
			list = append(list, pair{matched[i], &after.Entries[i]})
		}
	}
	if before != nil {
		for i := range before.Entries {
			e := &before.Entries[i]
			if slices.Contains(rest[key(e)], e) {
				list = append(list, pair{before: e})
			}
		}
	}
	return list
}

// changes runs the checks of what a change does to entries that were there
// before.
func (l *linter) changes() {
	for _, p := range pairs(l.before, l.d) {
		switch {
		case p.before == nil:
			l.backdated(*p.after)
		case p.after == nil:
			l.entryRemoved(*p.before)
		default:
			l.endMoved(p.before.Window, *p.after)
			l.startLater(p.before.Window, *p.after)
			l.identityChanged(*p.before, *p.after)
		}
	}
}

// backdated points at a new log that counts from long ago, as one does that was
// made of a copy of another. An authority is bounded by its certificates.
func (l *linter) backdated(e Entry) {
	if e.isLog() && !e.Window.Start.IsZero() && e.Window.Start.Before(l.in.Now.AddDate(-1, 0, 0)) {
		l.entryAs(windowInvalid, Warning, e, "", "set the time from which it has signed: whoever has its key may date what it signs back to then",
			"it is new here, but counts from %s, %s", date(e.Window.Start), from(l.in.Now, e.Window.Start))
	}
}

// entryRemoved stops an entry from leaving: it is closed, never removed. One that
// never counted, or that never belonged here, leaves with a warning.
func (l *linter) entryRemoved(e Entry) {
	level := entryRemoved.Level
	if known := e.known(); e.Window.Start.After(l.in.Now) || len(known) > 0 && known[0].environment != l.before.environment() {
		level = Warning
	}
	until := "now"
	if !e.Window.End.IsZero() && e.Window.End.Before(l.in.Now) {
		until = date(e.Window.End)
	}
	l.addAs(entryRemoved, level, string(e.Section), nil, entryRemoved.Hint,
		"%s (sha256 %.16s) is removed; what it has signed between %s and %s stops verifying", e.Title(), e.ID, date(e.Window.Start), until)
}

// endMoved points at an end that a change sets in the past, soon, or later than
// before.
func (l *linter) endMoved(was Window, e Entry) {
	end, now := e.Window.End, l.in.Now
	switch {
	case end.Equal(was.End):
	case end.IsZero() || !was.End.IsZero() && end.After(was.End):
		l.entry(reopened, e, "", "its end moves from %s to %s", endText(was), endText(e.Window))
	case end.Before(now):
		l.entry(endInPast, e, "", "it now ends %s, %s; what it has signed since stops verifying", date(end), from(now, end))
	case end.Before(now.AddDate(0, 0, 14)):
		l.entry(endSoon, e, "", "it now ends %s, %s", date(end), from(now, end))
	}
}

func endText(w Window) string {
	if w.End.IsZero() {
		return "open"
	}
	return date(w.End)
}

// startLater points at a start that moves away from what was signed. A start
// that is still to come harms nobody.
func (l *linter) startLater(was Window, e Entry) {
	if e.Window.Start.After(was.Start) && was.Start.Before(l.in.Now) {
		l.entry(startLater, e, "", "it starts %s, later than before (%s); what it has signed before stops verifying", date(e.Window.Start), startText(was))
	}
}

func startText(w Window) string {
	if w.Start.Equal(time.Time{}) {
		return "always"
	}
	return date(w.Start)
}

// identityChanged points at changes of what clients find an entry by.
func (l *linter) identityChanged(was, e Entry) {
	if !bytes.Equal(was.LogID, e.LogID) {
		l.entry(identityChanged, e, "logId", "its log ID changes from %s to %s", base64Text(was.LogID), base64Text(e.LogID))
	}
	if was.KeyDetails != e.KeyDetails {
		l.entry(identityChanged, e, "publicKey", "its kind of key changes from %s to %s", was.KeyDetails, e.KeyDetails)
	}
	if was.HashAlgorithm != e.HashAlgorithm {
		l.entry(identityChanged, e, "hashAlgorithm", "its hash algorithm changes from %s to %s", was.HashAlgorithm, e.HashAlgorithm)
	}
	if a, b := order(was), order(e); a != b {
		l.entry(identityChanged, e, "certChain", "the order of its chain changes from %s to %s", a, b)
	}
}

// order names the certificates of a chain in their order.
func order(e Entry) string {
	var text string
	for i, c := range e.Chain {
		if i > 0 {
			text += " <- "
		}
		text += subject(c)
	}
	return text
}
