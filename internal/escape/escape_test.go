package escape_test

import (
	"encoding/json"
	"html"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/escape"
)

func TestTerminal(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "registry.npmjs.org/keys.json", "registry.npmjs.org/keys.json"},
		{"letters of other scripts", "größe 日本語 ключ", "größe 日本語 ключ"},
		{"emoji", "✅", "✅"},
		{"backslash", `C:\x`, `C:\x`},
		{"colour", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"title sequence", "\x1b]0;owned\a", `\x1b]0;owned\x07`},
		{"C1 control sequence introducer", "\u009b31m", `\u009b31m`},
		{"raw C1 byte", "\x9b31m", `\x9b31m`},
		{"line breaks", "a\r\nb\tc", `a\r\nb\tc`},
		{"backspace, delete", "a\b\x7f", `a\x08\x7f`},
		{"NUL", "a\x00", `a\x00`},
		{"bidirectional override", "root\u202enosj.", `root\u202enosj.`},
		{"bidirectional isolate", "\u2066a\u2069", `\u2066a\u2069`},
		{"Arabic letter mark", "a\u061cb", `a\u061cb`},
		{"zero width", "ro\u200bot\u200d\u2060\ufeff", `ro\u200bot\u200d\u2060\ufeff`},
		{"soft hyphen", "a\u00adb", `a\u00adb`},
		{"line separator", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"unusual spaces", "a\u00a0b\u3000c", `a\u00a0b\u3000c`},
		{"letters drawn as nothing", "\u115f\u3164\uffa0\u2800", `\u115f\u3164\uffa0\u2800`},
		{"variation selectors", "a\ufe0f\U000e0100", `a\ufe0f\U000e0100`},
		{"tag characters", "a\U000e0041", `a\U000e0041`},
		{"private use", "\ue000", `\ue000`},
		{"not UTF-8", "a\xff\xc3", `a\xff\xc3`},
		{"replacement character", "\ufffd", "\ufffd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := escape.Terminal(test.in); got != test.want {
				t.Errorf("Terminal(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestTerminalLines(t *testing.T) {
	got := escape.TerminalLines("one\n\ttwo\r\x1b[2J\n")
	if want := "one\n\ttwo\\r\\x1b[2J\n"; got != want {
		t.Errorf("TerminalLines = %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	in := "{\n \"a\\\\\": \"x\u202ey\u009b\U000e0041 größe\u007f\"\n}"
	got := escape.JSON([]byte(in))
	if want := "{\n \"a\\\\\": \"x\\u202ey\\u009b\\udb40\\udc41 größe\\u007f\"\n}"; string(got) != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
	var before, after any
	if err := json.Unmarshal([]byte(in), &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &after); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the document's meaning changed: %q, was %q", after, before)
	}
}

func TestMarkdown(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "root v14", "root v14"},
		{"a word with an underscore", "signing_config.v0.2.json", "signing_config.v0.2.json"},
		{"mention", "@jku", "@&#8203;jku"},
		{"team mention", "cc @sigstore/tuf", "cc @&#8203;sigstore/tuf"},
		{"address", "a@example.com", "a@&#8203;example.com"},
		{"URL", "https://evil.example", "https:&#8203;//evil.example"},
		{"www", "WWW.evil.example", "WWW&#8203;.evil.example"},
		{"autolink", "<https://evil.example>", "&lt;https:&#8203;//evil.example&gt;"},
		{"inline link", "[x](//evil.example)", "&#91;x&#93;(//evil.example)"},
		{"image", "![x](y)", "&#33;&#91;x&#93;(y)"},
		{"issue", "closes #123", "closes &#35;&#8203;123"},
		{"issue elsewhere", "x/y#1", "x/y&#35;&#8203;1"},
		{"GH-1", "GH-1 gh-2", "GH-&#8203;1 gh-&#8203;2"},
		{"commit", "a5c4f32", "a5c4f32"},
		{"HTML", `<img src=x onerror="y">&amp;`, `&lt;img src=x onerror="y"&gt;&amp;amp;`},
		{"comment marker", "<!-- tufops -->", "&lt;&#33;-- tufops --&gt;"},
		{"table cell", `a|b\|c`, "a&#124;b&#92;&#124;c"},
		{"code span", "a`b", "a&#96;b"},
		{"emphasis", "*a* _b_ ~~c~~", "&#42;a&#42; &#95;b&#95; &#126;&#126;c&#126;&#126;"},
		{"mathematics", "$x$", "&#36;&#8203;x&#36;&#8203;"},
		{"emoji short code", "ok :white_check_mark:", "ok :&#8203;white_check_mark:"},
		{"digest", "sha256:00ff", "sha256:00ff"},
		{"heading", "# big", "&#35;&#8203; big"},
		{"list", "- item", "&#45; item"},
		{"numbered list", "1. item", "1&#46; item"},
		{"version number", "v1.2", "v1.2"},
		{"heading underline", "===", "&#61;=="},
		{"table rule", ":--", "&#58;--"},
		{"code block", "    a", "&#32;&#32;&#32;&#32;a"},
		{"line break", "a\n\n# b", `a&#92;n&#92;n&#35;&#8203; b`},
		{"hidden", "a\u202eb\x1b[1m", "a&#92;u202eb&#92;x1b&#91;1m"},
		{"empty", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := escape.Markdown(test.in); got != test.want {
				t.Errorf("Markdown(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestMarkdownCode(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain", "root", "`root`"},
		{"mention stays as it is in a span", "@jku", "`@jku`"},
		{"URL stays as it is in a span", "https://x.example", "`https://x.example`"},
		{"HTML stays as it is in a span", "<b>", "`<b>`"},
		{"backtick", "a`b @jku", "<code>a&#96;b @&#8203;jku</code>"},
		{"pipe", "a|b", "<code>a&#124;b</code>"},
		{"line break", "a\n\nb", "`a\\n\\nb`"},
		{"spaces at both ends", " a ", "`  a  `"},
		{"only spaces", "  ", "`  `"},
		{"empty", "", "` `"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := escape.MarkdownCode(test.in); got != test.want {
				t.Errorf("MarkdownCode(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

var seeds = []string{
	"", "root", "@jku", "a\u202eb", "\x1b[31m", "\xff\xfe", "https://a@b.example/#1", "|`<>&[]()", "GH-1",
	"www.www.example", ":a::b:", "::://", "1.", " - ", "\U000e0041", "&#64;jku", "&commat;jku", "#\n#", "$$",
}

func FuzzTerminal(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := escape.Terminal(s)
		if !utf8.ValidString(got) {
			t.Errorf("Terminal(%q) is not UTF-8: %q", s, got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("Terminal(%q) = %q contains %U", s, got, r)
			}
		}
		if again := escape.Terminal(got); again != got {
			t.Errorf("Terminal(%q) = %q, the second time %q", s, got, again)
		}
	})
}

// FuzzTerminalLines: only line feeds and tabs get through beside what is seen,
// and each line is what Terminal makes of it.
func FuzzTerminalLines(f *testing.F) {
	for _, s := range seeds {
		f.Add("a\n\t" + s + "\n")
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := escape.TerminalLines(s)
		lines, want := strings.FieldsFunc(got, newLineOrTab), strings.FieldsFunc(s, newLineOrTab)
		if len(lines) != len(want) || strings.Count(got, "\n") != strings.Count(s, "\n") || strings.Count(got, "\t") != strings.Count(s, "\t") {
			t.Fatalf("TerminalLines(%q) = %q", s, got)
		}
		for i := range lines {
			if lines[i] != escape.Terminal(want[i]) {
				t.Errorf("TerminalLines(%q) has the line %q, Terminal makes %q of it", s, lines[i], escape.Terminal(want[i]))
			}
		}
	})
}

func newLineOrTab(r rune) bool { return r == '\n' || r == '\t' }

// FuzzJSON: a document means the same, and shows nothing that is not seen.
func FuzzJSON(f *testing.F) {
	for _, s := range append(seeds, "\u0000", "\u007f\\", "\U0010ffff") {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		doc, err := json.MarshalIndent(map[string]any{name: []string{value}}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got := escape.JSON(doc)
		for _, r := range string(got) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("JSON(%q) = %q contains %U", doc, got, r)
			}
		}
		var before, after any
		if err := json.Unmarshal(doc, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("JSON(%q) = %q means %v, %v", doc, got, after, err)
		}
	})
}

// markup matches what must not stand in the source of inline text.
var markup = regexp.MustCompile("[`|<>\\[\\]*~\\\\^!$\n\r]")

// active matches what a forge turns into a link or a mention in rendered text.
var active = regexp.MustCompile(`(?i)@[a-z0-9]|://|www\.|#[0-9]|gh-[0-9]|:[a-z0-9_+-]+:`)

func FuzzMarkdown(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := escape.Markdown(s)
		if m := markup.FindString(got); m != "" {
			t.Errorf("Markdown(%q) = %q contains %q", s, got, m)
		}
		rendered := html.UnescapeString(got)
		if m := active.FindString(rendered); m != "" {
			t.Errorf("Markdown(%q) = %q renders with %q", s, got, m)
		}
		if shown, want := strings.ReplaceAll(rendered, "\u200b", ""), escape.Terminal(s); shown != want {
			t.Errorf("Markdown(%q) shows %q, want %q", s, shown, want)
		}
		code := escape.MarkdownCode(s)
		inner := strings.TrimSuffix(strings.TrimPrefix(code, "<code>"), "</code>")
		if inner == code {
			inner = strings.TrimSuffix(strings.TrimPrefix(code, "`"), "`")
		}
		if strings.ContainsAny(inner, "`|\n") {
			t.Errorf("MarkdownCode(%q) = %q can be broken", s, code)
		}
	})
}

func TestArgument(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "''",
		"sign/root-v14":            "sign/root-v14",
		"metadata/a+b.json":        "metadata/a+b.json",
		"-rf":                      "'-rf'",
		"sign/x;rm$IFS-rf":         "'sign/x;rm$IFS-rf'",
		"sign/$(id)":               "'sign/$(id)'",
		"sign/`id`":                "'sign/`id`'",
		"sign/it's|sh":             `'sign/it'\''s|sh'`,
		"sign/a b\nc":              "'sign/a b\nc'",
		"sign/\u202excod.exe":      "'sign/\u202excod.exe'",
		"~root/x":                  "'~root/x'",
		"sign/{a,b}":               "'sign/{a,b}'",
		"sign/*":                   "'sign/*'",
		"sign/a&b":                 "'sign/a&b'",
		"sign/ä":                   "'sign/ä'",
		"https://example.org/a#b?": "'https://example.org/a#b?'",
	} {
		if got := escape.Argument(in); got != want {
			t.Errorf("Argument(%q) = %s, want %s", in, got, want)
		}
	}
}

// FuzzArgument asks a real shell what it understands.
func FuzzArgument(f *testing.F) {
	for _, s := range []string{"", "a", "-n", "a'b", "$(id)", "`id`", "a\nb", "~", "*", "{a,b}", "\\", "!!", "a\tb", "\xff"} {
		f.Add(s)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("no POSIX shell")
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			return // no argument can hold one
		}
		cmd := exec.Command(sh)
		cmd.Stdin = strings.NewReader("printf %s " + escape.Argument(s))
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != s {
			t.Errorf("the shell read %q from %s, want %q (%v)", out, escape.Argument(s), s, err)
		}
	})
}
