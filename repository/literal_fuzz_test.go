package repository

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

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
