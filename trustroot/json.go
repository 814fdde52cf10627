package trustroot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// node is one value of a JSON text, with its place.
type node struct {
	kind       byte // one of { [ " 0 t n: object, array, string, number, boolean, null
	start, end int  // bytes of the text
	text       string
	members    []member
	elements   []*node
}

type member struct {
	name  string
	start int // of the name
	value *node
}

// member returns the value of a name; nil where there is none.
func (n *node) member(name string) *node {
	if n != nil {
		for _, m := range n.members {
			if m.name == name {
				return m.value
			}
		}
	}
	return nil
}

// syntaxError says where a text stops being JSON.
type syntaxError struct {
	at  int
	err error
}

func (e *syntaxError) Error() string { return e.err.Error() }

// maxDepth bounds how deeply values nest: these documents need eight levels.
const maxDepth = 32

// maxSize bounds a document, in bytes. Real ones have some thousands.
const maxSize = 1_000_000

// scanner reads one JSON text (RFC 8259) and keeps the places, which
// encoding/json does not. Strings and numbers are decoded by encoding/json.
type scanner struct {
	data       []byte
	at         int
	depth      int
	duplicates []member // each second member of a name
}

// scan reads a whole text. The error is a *syntaxError.
func scan(data []byte) (*node, []member, error) {
	s := &scanner{data: data}
	if len(data) > maxSize {
		return nil, nil, s.fail("it has more than %d bytes, which is no trust material", maxSize)
	}
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			s.at = at
			return nil, nil, s.fail("byte 0x%02x is not UTF-8", data[at])
		}
		at += size
	}
	n, err := s.value()
	if err != nil {
		return nil, nil, err
	}
	if s.space(); s.at < len(data) {
		return nil, nil, s.fail("%q follows the end of the document", s.next())
	}
	return n, s.duplicates, nil
}

func (s *scanner) fail(format string, args ...any) error {
	return &syntaxError{at: s.at, err: fmt.Errorf(format, args...)}
}

func (s *scanner) space() {
	for s.at < len(s.data) && bytes.IndexByte([]byte(" \t\r\n"), s.data[s.at]) >= 0 {
		s.at++
	}
}

// next is the character at the present place, for a message.
func (s *scanner) next() string {
	if s.at >= len(s.data) {
		return "the end of the file"
	}
	r, _ := utf8.DecodeRune(s.data[s.at:])
	return string(r)
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) value() (*node, error) {
	s.space()
	if s.at >= len(s.data) {
		return nil, s.fail("the file ends where a value should stand")
	}
	if s.depth++; s.depth > maxDepth {
		return nil, s.fail("values nest more than %d deep", maxDepth)
	}
	defer func() { s.depth-- }()
	n := &node{start: s.at}
	var err error
	switch c := s.data[s.at]; {
	case c == '{':
		n.kind = '{'
		err = s.object(n)
	case c == '[':
		n.kind = '['
		err = s.array(n)
	case c == '"':
		n.kind = '"'
		n.text, err = s.string()
	default:
		err = s.literal(n)
	}
	n.end = s.at
	return n, err
}

func (s *scanner) object(n *node) error {
	s.at++
	if s.space(); s.take('}') {
		return nil
	}
	seen := map[string]bool{}
	for {
		s.space()
		m := member{start: s.at}
		if s.at >= len(s.data) || s.data[s.at] != '"' {
			return s.fail("%q stands where a name in quotes should", s.next())
		}
		var err error
		if m.name, err = s.string(); err != nil {
			return err
		}
		if s.space(); !s.take(':') {
			return s.fail("%q stands where the colon after %q should", s.next(), m.name)
		}
		if m.value, err = s.value(); err != nil {
			return err
		}
		if seen[m.name] {
			s.duplicates = append(s.duplicates, m)
		}
		seen[m.name] = true
		n.members = append(n.members, m)
		if s.space(); s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.fail("%q stands where a comma or the end of the object should", s.next())
		}
	}
}

func (s *scanner) array(n *node) error {
	s.at++
	if s.space(); s.take(']') {
		return nil
	}
	for {
		e, err := s.value()
		if err != nil {
			return err
		}
		n.elements = append(n.elements, e)
		if s.space(); s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.fail("%q stands where a comma or the end of the list should", s.next())
		}
	}
}

func (s *scanner) string() (string, error) {
	plain := true // nothing to decode, which encoding/json takes its time for
	for end := s.at + 1; end < len(s.data); end++ {
		switch c := s.data[end]; {
		case c < ' ':
			plain = false
		case c == '\\':
			plain = false
			end++
		case c == '"':
			if plain {
				text := string(s.data[s.at+1 : end])
				s.at = end + 1
				return text, nil
			}
			var text string
			if err := json.Unmarshal(s.data[s.at:end+1], &text); err != nil {
				return "", &syntaxError{at: s.at, err: errors.New("a string holds an escape or a control character that JSON does not know")}
			}
			s.at = end + 1
			return text, nil
		}
	}
	return "", s.fail("a string does not end")
}

func (s *scanner) literal(n *node) error {
	end := s.at
	for end < len(s.data) && bytes.IndexByte([]byte(" \t\r\n,:]}"), s.data[end]) < 0 {
		end++
	}
	word := s.data[s.at:end]
	if !json.Valid(word) {
		return s.fail("%.40q is no value", word)
	}
	switch word[0] {
	case 't', 'f':
		n.kind = 't'
	case 'n':
		n.kind = 'n'
	default:
		n.kind = '0'
	}
	n.text = string(word)
	s.at = end
	return nil
}

// line and column of a byte, both from 1; the column counts characters.
func position(data []byte, at int) (line, column int) {
	at = min(at, len(data))
	before := data[:at]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}
