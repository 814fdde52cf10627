package repository

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

// Whatever a pattern matches must begin with what literal says, or
// update-targets would overlook it.
func TestLiteral(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		want     string
	}{
		{nil, ""},
		{[]string{"*"}, ""},
		{[]string{"a/*", "a/*/*", "a/*/*/*"}, "a/"},
		{[]string{"ab/x", "ac/y"}, "a"},
		{[]string{"a/file"}, "a/file"},
		{[]string{"a/[xy]", "a/?z"}, "a/"},
		{[]string{"a/[x"}, "a/"},
		{[]string{"a\uFFFD/*"}, "a"},
		{[]string{"", "a"}, ""},
		{[]string{"é/*", "è/*"}, "\xc3"},
	} {
		if got := literal(c.patterns); got != c.want {
			t.Errorf("literal(%q) = %q, want %q", c.patterns, got, c.want)
		}
		for _, path := range []string{"a/b", "a/file", "a/x", "a/yz", "a/[x", "a\xff/b", "é/b", "è/b", "b", "ab/x"} {
			for _, p := range c.patterns {
				if metadata.MatchPath(p, path) && !strings.HasPrefix(path, literal(c.patterns)) {
					t.Errorf("%q matches %q, which does not begin with %q", p, path, literal(c.patterns))
				}
			}
		}
	}
}
