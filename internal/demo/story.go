package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/escape"
)

// story prints a narration for a terminal of 80 columns.
type story struct {
	w     io.Writer
	steps int
}

const (
	columns = 80
	indent  = "   "
)

// visible makes text of the repository safe to show.
func visible(s string) string { return escape.Terminal(s) }

func (s *story) title(text string) {
	fmt.Fprintf(s.w, "%s\n%s\n\n", text, strings.Repeat("=", utf8.RuneCountInString(text)))
}

func (s *story) step(text string) {
	s.steps++
	text = fmt.Sprintf("%d. %s", s.steps, text)
	fmt.Fprintf(s.w, "\n%s\n%s\n", text, strings.Repeat("-", utf8.RuneCountInString(text)))
}

// row is one line of a table of two columns.
func (s *story) row(name, value string) { s.hang(fmt.Sprintf("%-12s", name), value) }

// para is a paragraph.
func (s *story) para(format string, args ...any) {
	s.blank()
	s.wrap(indent, indent, fmt.Sprintf(format, args...))
}

// check is something that was verified.
func (s *story) check(format string, args ...any) {
	s.wrap("   ok  ", "       ", fmt.Sprintf(format, args...))
}

// hang is a text behind a label, its further lines below its first.
func (s *story) hang(label, text string) {
	s.wrap(indent+label, strings.Repeat(" ", utf8.RuneCountInString(indent+label)), visible(text))
}

func (s *story) line(text string) { fmt.Fprintf(s.w, "%s%s\n", indent, visible(text)) }

func (s *story) blank() { fmt.Fprintln(s.w) }

// wrap breaks a text between words, and a word that is longer than a line where
// the line ends.
func (s *story) wrap(first, other, text string) {
	line, empty := first, true
	flush := func() {
		fmt.Fprintln(s.w, strings.TrimRight(line, " "))
		line, empty = other, true
	}
	for _, word := range strings.Fields(text) {
		for {
			room := columns - utf8.RuneCountInString(line)
			gap := 0
			if !empty {
				gap = 1
			}
			if utf8.RuneCountInString(word)+gap <= room {
				line += strings.Repeat(" ", gap) + word
				empty = false
				break
			}
			if !empty {
				flush()
				continue
			}
			runes := []rune(word)
			line += string(runes[:room])
			word = string(runes[room:])
			flush()
		}
	}
	if !empty || line == first {
		flush()
	}
}

// shorten cuts a text that is too long for its column.
func shorten(s string, max int) string {
	runes := []rune(s)
	if len(runes) <= max {
		return s
	}
	return string(runes[:max-3]) + "..."
}

// quoted is a word for a shell to be shown, in quotes if it needs them.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
