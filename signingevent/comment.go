package signingevent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/repository"
)

// What the bot remembers on the forge stands in hidden lines of its own
// comments, and serves only to edit them in place and to call nobody twice. A
// comment of anybody else is never read for it: on a public repository everyone
// can write one.
const (
	statusMarker = "<!-- tufops:status "
	callMarker   = "<!-- tufops:call "
	markerEnd    = " -->"
)

// maxComment is how long a comment may be, in characters. GitHub refuses more
// than 65,536.
const maxComment = 65_000

// maxHistory is how many earlier states a comment lists, if there is room.
const maxHistory = 50

// maxSummary and maxNote bound, in characters, what one state and one note say:
// role names, and what git answers, may be of any length.
const (
	maxSummary = 300
	maxNote    = 1_000
)

// memo is what the status comment remembers in its hidden line.
type memo struct {
	entry
	Awaited string  `json:"awaited"` // crowd of those who were called last, or would have been
	History []entry `json:"history,omitempty"`
}

// entry is one state of the event as it was shown.
type entry struct {
	Since   time.Time `json:"since"` // when it was first shown, UTC
	Commit  string    `json:"commit"`
	Summary string    `json:"summary"`
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40,64}$`)

// readMemo finds the hidden line of a status comment. What it holds is checked
// as if it came from a stranger: people can edit any comment.
func readMemo(body string) (m memo, ok bool) {
	i := strings.LastIndex(body, statusMarker)
	if i < 0 {
		return m, false
	}
	text, _, found := strings.Cut(body[i+len(statusMarker):], markerEnd)
	if !found || json.Unmarshal([]byte(text), &m) != nil {
		return memo{}, true // ours, and no longer legible
	}
	if len(m.Awaited) > 2*crowdSize {
		m.Awaited = ""
	}
	m.History = slices.DeleteFunc(m.History, func(e entry) bool { return !e.valid() })
	return m, true
}

func (e entry) valid() bool {
	return commitPattern.MatchString(e.Commit) && !e.Since.IsZero() && e.Summary != "" && utf8.RuneCountInString(e.Summary) <= maxSummary
}

// next is the memo after the event was found in another state: the state that
// was shown until now joins the history.
func (m memo) next(now entry, awaited string) memo {
	n := memo{entry: now, Awaited: awaited, History: m.History}
	switch {
	case !m.valid():
	case m.Commit == now.Commit && m.Summary == now.Summary:
		n.Since = m.Since
	default:
		n.History = append([]entry{m.entry}, m.History...)
	}
	n.History = n.History[:min(len(n.History), maxHistory)]
	return n
}

// statusComment is the status comment: the newest state on top, what the run
// could not do, and earlier states folded. Where there is no room for all of it,
// the oldest states go first, then the last notes, then the end of the report.
func statusComment(s *repository.Status, notes []string, m memo) string {
	for {
		end := ending(notes, m)
		room := maxComment - utf8.RuneCountInString(end)
		switch {
		case room >= maxComment/2 || len(m.History)+len(notes) == 0:
			return shorten(Markdown(s), room) + end
		case len(m.History) > 0:
			m.History = m.History[:len(m.History)-1]
		default:
			notes = notes[:len(notes)-1]
		}
	}
}

// ending is the status comment below the report.
func ending(notes []string, m memo) string {
	var end strings.Builder
	for _, note := range notes {
		fmt.Fprintf(&end, "\n> **Note** %s\n", escape.Markdown(cut(note, maxNote)))
	}
	if len(m.History) > 0 {
		fmt.Fprintf(&end, "\n<details><summary>Earlier states (%d)</summary>\n\n", len(m.History))
		for _, e := range m.History {
			fmt.Fprintf(&end, "* %s, %s: %s\n", e.Since.UTC().Format("2006-01-02 15:04 MST"), escape.MarkdownCode(e.Commit[:12]), escape.Markdown(e.Summary))
		}
		end.WriteString("\n</details>\n")
	}
	hidden, err := json.Marshal(m) // it writes ">" as \u003e, so nothing in it ends the hidden line
	if err != nil {
		panic(err) // times of a year beyond 9999, which no clock gives
	}
	fmt.Fprintf(&end, "\n%s%s%s\n", statusMarker, hidden, markerEnd)
	return end.String()
}

// cut returns text with at most n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// shorten cuts a report at the end of a line.
func shorten(report string, limit int) string {
	if utf8.RuneCountInString(report) <= limit {
		return report
	}
	const more = "\nThis report is too long for a comment. All of it: `tufops status`.\n"
	runes := []rune(report)[:max(0, limit-len(more))]
	cut := string(runes)
	if i := strings.LastIndexByte(cut, '\n'); i >= 0 {
		cut = cut[:i+1]
	}
	return cut + more
}

// call is a comment that mentions those who must act.
type call struct {
	commit string
	people []string
}

// marker is the call's hidden line.
func (c call) marker() string { return callMarker + c.commit + " " + crowd(c.people) + markerEnd }

// crowdSize is how much of a digest tells crowds apart, in bytes.
const crowdSize = 8

// crowd stands for these people in hidden lines: their names come from the branch,
// and there may be any number of them. Nobody is "".
func crowd(people []string) string {
	if len(people) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(people, "\n")))
	return hex.EncodeToString(sum[:crowdSize])
}

// isCall reports whether a comment is a call, and returns its hidden line.
func isCall(body string) (marker string, ok bool) {
	i := strings.LastIndex(body, callMarker)
	if i < 0 {
		return "", false
	}
	text, _, found := strings.Cut(body[i:], markerEnd)
	return text + markerEnd, found
}

// maxMentions bounds how many people one comment calls, and how many more it
// names: the names come from the branch, and a stranger could list everybody.
const maxMentions = 20

// callComment mentions those who must act.
func callComment(s *repository.Status, c call) string {
	var mentions, others []string
	for _, name := range c.people {
		if login(name) && len(mentions) < maxMentions {
			mentions = append(mentions, name)
		} else {
			others = append(others, name)
		}
	}
	who := strings.Join(mentions, " ")
	if len(others) > 0 {
		who = strings.TrimSpace(who + " " + names(others[:min(len(others), maxMentions)]))
	}
	if more := len(others) - maxMentions; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	text := "your signature is asked for"
	for _, r := range s.Roles {
		if len(r.Invites) > 0 {
			text = "this signing event waits for you"
		}
	}
	body := fmt.Sprintf("%s: %s.\n\n    %s\n\nIt shows what you would sign before it asks for your key.", who, text, escape.Terminal(signCommand(s.Event)))
	if s.Deadline != nil {
		d := deadline(s.Deadline)
		body += " " + strings.ToUpper(d[:1]) + escape.Markdown(d[1:]) + "."
	}
	return body + "\n\n" + c.marker() + "\n"
}

// login reports whether a name can be a GitHub login with its @: letters of
// ASCII, digits and single hyphens, and in accounts that a company manages an
// underscore before its short name; at most 39.
func login(name string) bool {
	s, ok := strings.CutPrefix(name, "@")
	if user, company, managed := strings.Cut(s, "_"); managed && company != "" && !strings.ContainsAny(company, "_-") && !strings.HasSuffix(user, "-") {
		s = user + company
		ok = ok && user != "" && len(s) < 39
	}
	if !ok || s == "" || len(s) > 39 || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}
