// Package escape makes text from strangers safe to show.
//
// Role names, target paths, logins, commit messages and file contents come
// from a branch that anyone with push rights can write. This package owns the
// last step before such text reaches a terminal ([Terminal], [TerminalLines],
// [JSON]) or Markdown on a forge ([Markdown], [MarkdownCode]). It trusts
// nothing about its input, not even that it is UTF-8, and it never fails.
//
// HTML has no function here on purpose: pages go through html/template, which
// knows whether a value stands in text, an attribute or a URL. Nothing here
// makes text safe for a shell; such text never reaches one. People do paste:
// [Argument] is for commands that they are told to type.
package escape

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Terminal returns s on one line with everything invisible made visible:
// control characters and so ANSI sequences (\x1b), line breaks (\n),
// bidirectional overrides and isolates (\u202e), zero-width and filler
// characters, unusual spaces, and bytes that are not UTF-8 (\xff).
//
// A backslash stays as it is, since most text has been through %q before. So
// the result cannot be turned back into s, and applying Terminal twice changes
// nothing.
func Terminal(s string) string {
	return visible(s, "")
}

// TerminalLines is [Terminal] for text of several lines, such as the output of
// another program: line feeds and tabs stay.
func TerminalLines(s string) string {
	return visible(s, "\n\t")
}

// JSON makes the invisible characters in a valid JSON document visible, as
// JSON's own escapes, so that the document may be shown on a terminal and still
// means the same.
func JSON(doc []byte) []byte {
	// Outside strings JSON has only printable ASCII and white space, so
	// whatever is replaced here stands in a string.
	out := make([]byte, 0, len(doc))
	for _, r := range string(doc) {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || !hidden(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func visible(s, keep string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hidden(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

// hidden reports whether r has no glyph of its own. unicode.IsPrint is false
// for controls, formats (the bidirectional ones among them), private use and
// every space but the common one; the rest are marks and letters that the
// Unicode standard draws as nothing.
func hidden(r rune) bool {
	const brailleBlank = '\u2800'
	return !unicode.IsPrint(r) || r == brailleBlank ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Argument returns s as one argument of a command that people are told to type:
// s itself where no shell could take it for anything else, else in single
// quotes, in which a POSIX shell leaves everything alone. The command is text
// like any other and still goes through the function of its sink.
//
// The name of a branch may hold ";", "$" or "|": shown bare in a command it
// would run what a stranger wrote.
func Argument(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
