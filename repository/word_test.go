package repository

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

// unquote reads one word as a POSIX shell does, and reports whether it is one.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for s != "" {
		switch {
		case s[0] == '\'':
			end := strings.IndexByte(s[1:], '\'')
			if end < 0 {
				return "", false
			}
			b.WriteString(s[1 : 1+end])
			s = s[end+2:]
		case s[0] == '\\' && len(s) > 1 && s[1] != '\n':
			b.WriteByte(s[1])
			s = s[2:]
		case strings.ContainsRune(" \t\n\"\\$`|&;<>(){}[]*?!~#", rune(s[0])) || s[0] >= 0x80:
			return "", false
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), true
}

func TestWord(t *testing.T) {
	for name, want := range map[string]string{
		"sign/root-v14": "sign/root-v14", "registry.npmjs.org": "registry.npmjs.org", "": "''", "a b": "'a b'", "$(reboot)": "'$(reboot)'", "it's": `'it'\''s'`, "größe": "'größe'", "~": "'~'",
	} {
		if got := word(name); got != want {
			t.Errorf("word(%q) = %s, want %s", name, got, want)
		}
	}
}

// FuzzWord: to a shell a name in a hint is that name and nothing else.
func FuzzWord(f *testing.F) {
	for _, s := range []string{"", "a", "'", "''", `\'`, "$(x)`y`;", "a\nb", "~", "#", "é", "\xff", "a=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, ok := unquote(word(name)); !ok || got != name {
			t.Errorf("%q is written %s, which a shell takes for %q (%v)", name, word(name), got, ok)
		}
	})
}

// FuzzLiteral: whatever a pattern matches begins with what literal says.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"a/*|a/b", "a/[xy]|a/x", "a/?z|a/bz", "a\uFFFD|a\xff", "|", "[|[", "é/*|é/b"} {
		pattern, path, _ := strings.Cut(s, "|")
		f.Add(pattern, "b/*", path)
	}
	f.Fuzz(func(t *testing.T, one, other, path string) {
		one, other = strings.ToValidUTF8(one, "?"), strings.ToValidUTF8(other, "?") // as a parsed document's
		for _, p := range []string{one, other} {
			if metadata.MatchPath(p, path) && !strings.HasPrefix(path, literal([]string{one, other})) {
				t.Errorf("%q matches %q, which does not begin with %q", p, path, literal([]string{one, other}))
			}
		}
	})
}
