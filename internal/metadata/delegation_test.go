package metadata_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

func TestMatchPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		// As Python 3.11's fnmatch says, segment by segment.
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"", "a", false},
		{"*", "a", true}, {"*", "a/b", false}, {"*/*", "a/b", true}, {"*/*", "a", false}, {"*/*", "a/b/c", false},
		{"npm/*", "npm/a", true}, {"npm/*", "npm/", true}, {"npm/*", "npm", false}, {"npm/*", "npmx/a", false}, {"npm/*", "npm/a/b", false},
		{"*", ".hidden", true}, {"/a", "a", false}, {"a", "/a", false}, {"/*", "/a", true}, {"a//b", "a//b", true}, {"a/*/b", "a//b", true},
		{"*.txt", "a.txt", true}, {"*.txt", "a.txt2", false}, {"*.txt", ".txt", true}, {"a.txt", "aXtxt", false}, // no regular expression
		{"**", "a/b", false}, {"**", "ab", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "abcb", false}, {"a*a", "a", false}, {"*a*b", "aab", true},
		{"?", "a", true}, {"?", "é", true}, {"?", "\U0001f600", true}, {"??", "é", false}, {"?", "/", false}, {"a?b", "a/b", false},
		{"[abc]", "b", true}, {"[abc]", "d", false}, {"[abc]", "", false}, {"[a-c]x", "ax", true}, {"[a-c]x", "bx", true}, {"[a-c]x", "cx", true}, {"[a-c]x", "dx", false}, {"[a-c]", "-", false},
		{"[!a]", "b", true}, {"[!a]", "a", false}, {"[^a]", "a", true}, {"[^a]", "b", false}, {"[^a]", "^", true}, // only ! negates
		{"[]]", "]", true}, {"[]a]", "a", true}, {"[!]]", "]", false}, {"[!]]", "a", true}, {"[]-a]", "^", true},
		{"[-a]", "-", true}, {"[a-]", "-", true}, {"[a-c-e]", "-", true}, {"[a-c-e]", "d", false}, {"[--/]", "-", false},
		{"[z-a]", "m", false}, {"[!z-a]", "m", true}, {"[c-ab]", "b", true}, {"[c-ab]", "c", false}, // empty ranges
		{"[", "[", true}, {"[a", "[a", true}, {"[!", "[!", true}, {"[]", "[]", true}, {"[!]", "[!]", true}, {"*[", "a[", true}, {"[a", "a", false},
		{"[a/b]", "a", false}, {"[a/b]", "[a/b]", true}, // a slash ends the segment, and so leaves the bracket open
		{`\*`, `\x`, true}, {`\*`, "*", false}, {`[\]`, `\`, true}, {"[[]", "[", true}, {"[*]", "*", true}, {"[*]", "a", false},
		{"A", "a", false}, {"{a,b}", "a", false}, {"{a,b}", "{a,b}", true}, {"a", "a\n", false}, {"*", "a\nb", true}, {"?", "\n", true},
		{"[&&]", "&", true}, {"[~~|]", "|", true},
	} {
		if got := metadata.MatchPath(c.pattern, c.path); got != c.want {
			t.Errorf("MatchPath(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

// translate is Python's fnmatch.translate of one segment, for Go's regexp.
func translate(pattern string) string {
	pat := []rune(pattern)
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	for i := 0; i < len(pat); {
		c := pat[i]
		i++
		switch c {
		case '*':
			re.WriteString(`.*`)
		case '?':
			re.WriteString(`.`)
		case '[':
			j := i
			if j < len(pat) && pat[j] == '!' {
				j++
			}
			if j < len(pat) && pat[j] == ']' {
				j++
			}
			for j < len(pat) && pat[j] != ']' {
				j++
			}
			if j >= len(pat) {
				re.WriteString(`\[`)
				continue
			}
			negated := pat[i] == '!'
			if negated {
				i++
			}
			var chunks []string // what stands between the hyphens that make ranges
			for k := i + 1; ; {
				for k < j && pat[k] != '-' {
					k++
				}
				if k >= j {
					break
				}
				chunks = append(chunks, string(pat[i:k]))
				i, k = k+1, k+3
			}
			if rest := string(pat[i:j]); rest != "" || len(chunks) == 0 {
				chunks = append(chunks, rest)
			} else {
				chunks[len(chunks)-1] += "-"
			}
			for k := len(chunks) - 1; k > 0; k-- { // remove empty ranges
				low, high := []rune(chunks[k-1]), []rune(chunks[k])
				if low[len(low)-1] > high[0] {
					chunks[k-1] = string(low[:len(low)-1]) + string(high[1:])
					chunks = append(chunks[:k], chunks[k+1:]...)
				}
			}
			var set strings.Builder
			for k, chunk := range chunks {
				if k > 0 {
					set.WriteString("-")
				}
				for _, r := range chunk {
					set.WriteString(`\x{` + hex.EncodeToString([]byte{byte(r >> 16), byte(r >> 8), byte(r)}) + `}`)
				}
			}
			switch {
			case set.Len() == 0 && negated:
				re.WriteString(`.`)
			case set.Len() == 0:
				re.WriteString(`[^\x{0}-\x{10ffff}]`) // never
			case negated:
				re.WriteString(`[^` + set.String() + `]`)
			default:
				re.WriteString(`[` + set.String() + `]`)
			}
			i = j + 1
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return re.String() + `\z`
}

func referenceMatch(t *testing.T, pattern, path string) bool {
	ps, ts := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(ps) != len(ts) {
		return false
	}
	for i := range ps {
		re, err := regexp.Compile(translate(ps[i]))
		if err != nil {
			t.Skip(err) // too large for Go's regexp
		}
		if !re.MatchString(ts[i]) {
			return false
		}
	}
	return true
}

func FuzzMatchPath(f *testing.F) {
	for _, s := range []string{"npm/*|npm/a", "*|a/b", "[a-c-e-g]|f", "[!]-a]|]", "[z-a]|a", "[!z-a]|a", "[b-a-z-c]|-", "a*b*c[x-|abcb[x-", "[--z]|m", "?|é", "*[|[["} {
		pattern, path, _ := strings.Cut(s, "|")
		f.Add(pattern, path)
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		pattern, path = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(path, "?") // as a parsed document's
		if got, want := metadata.MatchPath(pattern, path), referenceMatch(t, pattern, path); got != want {
			t.Errorf("MatchPath(%q, %q) = %v, Python's fnmatch says %v", pattern, path, got, want)
		}
	})
}

// A pattern is a stranger's: it must not cost more than pattern times path.
func TestMatchPathIsQuick(t *testing.T) {
	for name, c := range map[string]struct{ pattern, path string }{
		"stars":          {strings.Repeat("a*", 1000) + "b", strings.Repeat("a", 2000)},
		"open brackets":  {"*" + strings.Repeat("[", 2000) + "x", strings.Repeat("[", 4000)},
		"sets":           {"*" + strings.Repeat("[!a]", 1000) + "x", strings.Repeat("b", 4000)},
		"a large set":    {"*[" + strings.Repeat("ab", 2000) + "]x", strings.Repeat("b", 4000)},
		"closed far off": {"*" + strings.Repeat("[", 4000) + "]x", strings.Repeat("[", 4000)},
	} {
		start := time.Now()
		if metadata.MatchPath(c.pattern, c.path) {
			t.Errorf("%s: matches", name)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func TestCovers(t *testing.T) {
	// printf %s npm/a | sha256sum
	const hash = "bd33a20551b8714ef05ebfd49fdc5e69742689004dae5d1715dd56648ddf7b80"
	for _, c := range []struct {
		name string
		d    metadata.Delegation
		want bool
	}{
		{"nothing", metadata.Delegation{}, false},
		{"a path", metadata.Delegation{Paths: []string{"x", "npm/*"}}, true},
		{"other paths", metadata.Delegation{Paths: []string{"*", "npm", "npm/*/*"}}, false},
		{"a hash prefix", metadata.Delegation{HashPrefixes: []string{"ff", hash[:3]}}, true},
		{"an upper-case prefix", metadata.Delegation{HashPrefixes: []string{strings.ToUpper(hash[:8])}}, true},
		{"the whole hash", metadata.Delegation{HashPrefixes: []string{hash}}, true},
		{"more than the hash", metadata.Delegation{HashPrefixes: []string{hash + "0"}}, false},
		{"other prefixes", metadata.Delegation{HashPrefixes: []string{"ff", hash[1:4]}}, false},
		{"the empty prefix", metadata.Delegation{HashPrefixes: []string{""}}, true},
	} {
		if got := c.d.Covers("npm/a"); got != c.want {
			t.Errorf("%s: Covers = %v", c.name, got)
		}
	}
	if sum := sha256.Sum256([]byte("npm/a")); hex.EncodeToString(sum[:]) != hash {
		t.Errorf("the hash by hand is wrong: %x", sum)
	}
	root := tinyRoot(t)
	for _, role := range metadata.TopLevel {
		if del, ok := root.Delegation(role); !ok || del.Covers("npm/a") || del.Covers("") {
			t.Errorf("the delegation of %s covers a path (or is missing: %v)", role, ok)
		}
	}
}

func succinct(t *testing.T, bits any, prefix string) (*metadata.Document, error) {
	carol := keyFor(t, "carol")
	signed := metadata.Clone(tinyTargets(t).Signed())
	signed["delegations"] = metadata.Object{
		"keys":           metadata.Object{carol.id: carol.object},
		"succinct_roles": metadata.Object{"keyids": []any{carol.id}, "threshold": 1, "bit_length": bits, "name_prefix": prefix},
	}
	return metadata.New(signed, nil)
}

func TestSuccinct(t *testing.T) {
	// By hand, from `printf %s PATH | sha256sum`: the first bits of the hash are
	// the bin, in as many hex digits as the last bin has.
	for _, c := range []struct {
		bits            int
		path, want      string
		others, foreign string
	}{
		{1, "npm/a", "bin-1", "bin-0", "bin-2 bin-01 bin-00"},
		{3, "npm/a", "bin-5", "bin-0 bin-7", "bin-8 bin-05"},
		{4, "npm/a", "bin-b", "bin-0 bin-f", "bin-B bin-0b bin-10"},
		{5, "npm/a", "bin-17", "bin-00 bin-1f bin-16", "bin-20 bin-5 bin-0"},
		{8, "file.txt", "bin-aa", "bin-ab bin-ff", "bin-100 bin-0aa bin-AA"},
		{10, "file.txt", "bin-2ab", "bin-000 bin-3ff", "bin-400 bin-2ab0 bin-ab"},
		{16, "foo/bar", "bin-cc5d", "bin-cc5c bin-ffff", "bin-10000 bin-cc5D"},
		{31, "npm/a", "bin-5e99d102", "bin-00000000 bin-7fffffff", "bin-80000000"},
		{32, "foo/bar", "bin-cc5d46bd", "bin-00000000 bin-ffffffff", "bin-100000000 bin-0cc5d46bd bin-1cc5d46bd"},
		{32, "", "bin-e3b0c442", "bin-e3b0c443", "bin-e3b0c44"},
	} {
		d, err := succinct(t, c.bits, "bin")
		if err != nil {
			t.Fatal(err)
		}
		s := d.Delegations().Succinct
		bin := s.For(c.path)
		if bin.Role != c.want {
			t.Errorf("%d bits: %s is in %s, want %s", c.bits, c.path, bin.Role, c.want)
		}
		if !bin.Terminating || bin.Threshold != 1 || len(bin.KeyIDs) != 1 || bin.Keys[bin.KeyIDs[0]] == nil {
			t.Errorf("%d bits: the bin's delegation is %+v", c.bits, bin)
		}
		if !bin.Covers(c.path) {
			t.Errorf("%d bits: %s does not cover %s, which is in it", c.bits, bin.Role, c.path)
		}
		if found, ok := d.Delegation(c.want); !ok || found.Role != c.want || !found.Covers(c.path) {
			t.Errorf("%d bits: %s is not found by its name, or does not cover %s", c.bits, c.want, c.path)
		}
		for _, name := range strings.Fields(c.others) {
			other, ok := d.Delegation(name)
			if !ok || other.Role != name {
				t.Errorf("%d bits: no bin %s", c.bits, name)
			} else if other.Covers(c.path) {
				t.Errorf("%d bits: %s covers %s, which is in %s", c.bits, name, c.path, c.want)
			}
		}
		for _, name := range append(strings.Fields(c.foreign), "", "bin", "bin-", "bin--1", "bin-+1", "bin-0x1", "bin- 1", "bin-1 ", "Bin-0", "bin-g", "0", "bin-00000000000000000000000000000001") {
			if _, ok := d.Delegation(name); ok {
				t.Errorf("%d bits: %q is taken for a bin", c.bits, name)
			}
		}
	}
	for _, bits := range []any{0, -1, 33, 64, "4", nil} {
		if d, err := succinct(t, bits, "bin"); err == nil {
			t.Errorf("bit_length %v is accepted: %v", bits, d.Delegations().Succinct)
		}
	}
	if d, err := succinct(t, 4, "a-b"); err != nil {
		t.Error(err)
	} else if _, ok := d.Delegation("a-b-0"); !ok {
		t.Error("a prefix with a hyphen is not found")
	}
}
