package escape

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// breaker is a zero-width space. A forge looks for mentions and links in the
// rendered text, where a backslash or an entity no longer counts; only a
// character in between keeps "@" from "name". Written as an entity, it shows
// in the source.
const breaker = "&#8203;"

// Markdown returns s as inline Markdown text. It shows as [Terminal] would
// show s, and wherever it is put, at the start of a line and in a table cell
// included, it cannot mention anybody, link (a bare URL, #123 and GH-1
// included), start markup, mathematics or an emoji, end a table cell or a code
// span, or contain HTML.
//
// What Markdown returns may hold zero-width spaces, which people would copy
// with the text. For what is to be copied use [MarkdownCode].
func Markdown(s string) string {
	s = Terminal(s)
	var b strings.Builder
	for i, r := range s {
		rest := s[i+len(string(r)):]
		switch {
		case r == '@' || r == '#':
			// "#" also as an entity: at the start of a line it is a heading.
			if r == '#' {
				b.WriteString("&#35;")
			} else {
				b.WriteByte('@')
			}
			b.WriteString(breaker)
		case r == ':' && (strings.HasPrefix(rest, "//") || emoji(rest)):
			b.WriteString(":" + breaker)
		case r == ':' && i == 0: // ":--" is the second row of a table
			b.WriteString("&#58;")
		case r == '.' && hasSuffixFold(s[:i], "www"):
			b.WriteString(breaker + ".")
		case r == '-' && hasSuffixFold(s[:i], "gh") && startsWithDigit(rest):
			b.WriteString("-" + breaker)
		case r == '$':
			b.WriteString("&#36;" + breaker)
		case r == '_' && wordBefore(s[:i]) && wordAfter(rest):
			b.WriteByte('_') // inside a word it is no emphasis
		case strings.ContainsRune("\\`*_~[]|<>&!^", r):
			entity(&b, r)
		case i == 0 && strings.ContainsRune("-+=", r):
			entity(&b, r) // a list, a heading or a rule
		case (r == '.' || r == ')') && allDigits(s[:i]):
			entity(&b, r) // a numbered list
		case r == ' ' && (strings.Trim(s[:i], " ") == "" || strings.Trim(rest, " ") == ""):
			entity(&b, r) // leading spaces make a code block, trailing ones a line break
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// MarkdownCode returns s as a code span. It shows as [Terminal] would show s;
// s cannot end the span, nor the table cell that it may stand in.
func MarkdownCode(s string) string {
	s = Terminal(s)
	switch {
	case s == "":
		return "` `" // two backticks alone are no span
	case strings.ContainsAny(s, "`|"):
		// A pipe in a span ends a table cell unless it has a backslash, and
		// outside a table that backslash would show. The element works in
		// both places; what is in it is still read as Markdown.
		return "<code>" + Markdown(s) + "</code>"
	case s[0] == ' ' && s[len(s)-1] == ' ' && strings.Trim(s, " ") != "":
		return "` " + s + " `" // one space at either end is not shown
	default:
		return "`" + s + "`"
	}
}

func entity(b *strings.Builder, r rune) {
	switch r {
	case '<':
		b.WriteString("&lt;")
	case '>':
		b.WriteString("&gt;")
	case '&':
		b.WriteString("&amp;")
	default:
		b.WriteString("&#")
		b.WriteString(strconv.Itoa(int(r)))
		b.WriteByte(';')
	}
}

// emoji reports whether s, which follows a colon, completes a short code such
// as :white_check_mark:.
func emoji(s string) bool {
	name, _, found := strings.Cut(s, ":")
	return found && name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_+-") == ""
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

func startsWithDigit(s string) bool {
	return s != "" && '0' <= s[0] && s[0] <= '9'
}

// allDigits reports whether s can be the number of a list; CommonMark allows
// nine digits.
func allDigits(s string) bool {
	return s != "" && len(s) <= 9 && strings.Trim(s, "0123456789") == ""
}

func wordBefore(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return s != "" && word(r)
}

func wordAfter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return s != "" && word(r)
}

func word(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}
