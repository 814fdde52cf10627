package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Covers reports whether the delegation is responsible for a target path. A
// delegation of a top-level role covers nothing: root does not delegate paths.
//
// Spec: #delegation-paths, #delegation-path_hash_prefixes.
func (d Delegation) Covers(path string) bool {
	for _, pattern := range d.Paths {
		if MatchPath(pattern, path) {
			return true
		}
	}
	if d.bins != nil {
		return d.bins.For(path).Role == d.Role
	}
	if len(d.HashPrefixes) > 0 {
		sum := sha256.Sum256([]byte(path))
		name := hex.EncodeToString(sum[:])
		for _, prefix := range d.HashPrefixes {
			if strings.HasPrefix(name, strings.ToLower(prefix)) {
				return true
			}
		}
	}
	return false
}

// PublicKeys counts the distinct public keys that the role lists and that can
// sign: the highest threshold that could ever be met.
func (d Delegation) PublicKeys() int {
	seen := map[[sha256.Size]byte]bool{}
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil && k.Unusable == nil {
			seen[k.print] = true
		}
	}
	return len(seen)
}

// For returns the delegation of the bin that a target path falls into.
func (s *Succinct) For(path string) Delegation {
	sum := sha256.Sum256([]byte(path))
	bin := binary.BigEndian.Uint32(sum[:4]) >> (32 - s.BitLength)
	return s.bin(s.name(bin))
}

func (s *Succinct) name(bin uint32) string {
	last := uint64(1)<<s.BitLength - 1
	return fmt.Sprintf("%s-%0*x", s.NamePrefix, len(fmt.Sprintf("%x", last)), bin)
}

func (s *Succinct) bin(role string) Delegation {
	d := s.Delegation
	d.Role, d.Terminating, d.bins = role, true, s
	return d
}

func (s *Succinct) has(role string) bool {
	number, ok := strings.CutPrefix(role, s.NamePrefix+"-")
	var bin uint64
	if !ok {
		return false
	}
	if _, err := fmt.Sscanf(number, "%x", &bin); err != nil || bin >= 1<<s.BitLength {
		return false
	}
	return s.name(uint32(bin)) == role
}

// MatchPath reports whether a target path matches a path pattern: segment by
// segment, each as Python's fnmatch does (`*`, `?`, `[seq]`, `[!seq]`, an
// unclosed `[` is itself, nothing escapes). A `*` does not cross a `/`. It takes
// time linear in the product of the lengths, whatever the pattern.
//
// Spec: #delegation-paths.
func MatchPath(pattern, path string) bool {
	ps, ts := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(ps) != len(ts) {
		return false
	}
	for i := range ps {
		if !matchSegment([]rune(ps[i]), []rune(ts[i])) {
			return false
		}
	}
	return true
}

func matchSegment(pattern, text []rune) bool {
	p, t := 0, 0
	star, mark := -1, 0 // where to go on after the last * took one more rune
	lastClose := len(pattern) - 1
	for lastClose >= 0 && pattern[lastClose] != ']' {
		lastClose--
	}
	for t < len(text) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, t
				p++
				continue
			}
			if ok, width := matchOne(pattern[p:], lastClose-p, text[t]); ok {
				p += width
				t++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, t = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one rune against the element that pattern begins with, and
// says how many runes of the pattern that element takes. lastClose is where the
// last ] of the pattern stands, so that nobody searches for it at every [.
func matchOne(pattern []rune, lastClose int, r rune) (ok bool, width int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '[':
		end := 1
		if end < len(pattern) && pattern[end] == '!' {
			end++
		}
		if end < len(pattern) && pattern[end] == ']' {
			end++
		}
		if end > lastClose {
			return r == '[', 1
		}
		for pattern[end] != ']' {
			end++
		}
		set, negated := pattern[1:end], false
		if set[0] == '!' {
			set, negated = set[1:], true
		}
		in := false
		for i := 0; i < len(set); {
			if i+2 < len(set) && set[i+1] == '-' {
				in = in || set[i] <= r && r <= set[i+2]
				i += 3
				continue
			}
			in = in || set[i] == r
			i++
		}
		return in != negated, end + 1
	}
	return pattern[0] == r, 1
}
