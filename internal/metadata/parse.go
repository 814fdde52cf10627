package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Object is a JSON object of the generic tree. Its values are Object, []any,
// string, json.Number (the number as it was written), bool or nil.
type Object = map[string]any

const (
	// maxDepth bounds the nesting of a document. Real metadata nests eight deep.
	maxDepth = 128
	// maxDuplicates bounds how many repeated names are reported, and
	// maxPathName how much of each name their paths show: a hostile file must
	// not make us hold many times its size.
	maxDuplicates = 100
	maxPathName   = 80
)

// ParseError says why bytes are not a document of the kind that was expected.
type ParseError struct {
	Offset int    // bytes before the fault; -1 where the fault is one of structure
	Path   string // where in the document, like signed.roles.root; empty at the top
	Reason string
}

func (e *ParseError) Error() string {
	switch {
	case e.Offset >= 0:
		return fmt.Sprintf("not valid JSON at byte %d: %s", e.Offset, e.Reason)
	case e.Path != "":
		return fmt.Sprintf("not valid TUF metadata: %s %s", e.Path, e.Reason)
	}
	return "not valid TUF metadata: " + e.Reason
}

// Duplicate is a name that one JSON object holds twice, or that two names of
// one object differ from only in the case of their letters.
type Duplicate struct {
	Path string // the object, like signed.keys; empty at the top
	Name string // the second occurrence
	With string // the first; equal to Name unless only the case differs
}

func (d Duplicate) String() string {
	in := d.Path
	if in == "" {
		in = "the document"
	}
	if d.Name == d.With {
		return fmt.Sprintf("%s names %q twice", in, d.Name)
	}
	return fmt.Sprintf("%s names %q and %q, which differ only in case", in, d.With, d.Name)
}

// ParseTree reads one JSON value. Of names that an object repeats the last one
// counts, as in Python's json, and each is reported in the second result (of
// very many the first hundred).
//
// It is stricter than encoding/json where leniency would lose bytes or let two
// readers see two documents: invalid UTF-8 and unpaired surrogates are errors,
// as is anything after the value, and numbers keep their text.
func ParseTree(data []byte) (any, []Duplicate, error) {
	p := parser{data: data}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, nil, err
	}
	p.space()
	if p.pos != len(p.data) {
		return nil, nil, p.fail("data after the end of the document")
	}
	return v, p.dups, nil
}

type parser struct {
	data []byte
	pos  int
	path []string
	dups []Duplicate
}

func (p *parser) fail(format string, args ...any) error {
	return &ParseError{Offset: p.pos, Reason: fmt.Sprintf(format, args...)}
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) peek() (byte, error) {
	if p.pos >= len(p.data) {
		return 0, p.fail("the document ends too early (truncated?)")
	}
	return p.data[p.pos], nil
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.fail("nested deeper than %d levels", maxDepth)
	}
	c, err := p.peek()
	if err != nil {
		return nil, err
	}
	switch c {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.string()
	case 't':
		return true, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return nil, p.literal("null")
	}
	return p.number()
}

func (p *parser) literal(word string) error {
	if !bytes.HasPrefix(p.data[p.pos:], []byte(word)) {
		return p.fail("unexpected character %q", p.data[p.pos])
	}
	p.pos += len(word)
	return nil
}

func (p *parser) object(depth int) (any, error) {
	p.pos++
	obj := Object{}
	var seen names
	p.space()
	if c, err := p.peek(); err != nil {
		return nil, err
	} else if c == '}' {
		p.pos++
		return obj, nil
	}
	for {
		p.space()
		c, err := p.peek()
		if err != nil {
			return nil, err
		}
		if c != '"' {
			return nil, p.fail("a name in quotes must stand here, not %q", c)
		}
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		p.space()
		if c, err = p.peek(); err != nil {
			return nil, err
		} else if c != ':' {
			return nil, p.fail("a colon must stand here, not %q", c)
		}
		p.pos++
		p.space()
		p.path = append(p.path, name)
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		if first, twice := seen.add(obj, name); twice && len(p.dups) < maxDuplicates {
			p.dups = append(p.dups, Duplicate{Path: joinPath(p.path), Name: name, With: first})
		}
		obj[name] = v
		p.space()
		if c, err = p.peek(); err != nil {
			return nil, err
		}
		p.pos++
		switch c {
		case '}':
			return obj, nil
		case ',':
		default:
			p.pos--
			return nil, p.fail("a comma or } must stand here, not %q", c)
		}
	}
}

// names finds the names of one object that a reader may take for one another.
// The zero value does while every name is its own folding, as nearly always.
type names struct{ byFolding map[string]string }

// add reports whether obj, which does not hold name's value yet, has a name like
// it, and which.
func (n *names) add(obj Object, name string) (first string, twice bool) {
	folding := fold(name)
	if n.byFolding == nil {
		if folding == name {
			_, twice = obj[name]
			return name, twice
		}
		n.byFolding = make(map[string]string)
		for earlier := range obj {
			n.byFolding[earlier] = earlier
		}
	}
	if first, twice = n.byFolding[folding]; !twice {
		n.byFolding[folding] = name
	}
	return first, twice
}

// fold maps names that a reader may take for one another to the same string.
// It folds as encoding/json does, which also takes the long s for an s: go-tuf
// reads with that.
func fold(name string) string {
	plain := true
	for i := 0; i < len(name) && plain; i++ {
		plain = name[i] < utf8.RuneSelf && (name[i] < 'A' || name[i] > 'Z')
	}
	if plain {
		return name
	}
	return strings.Map(func(r rune) rune {
		next := unicode.SimpleFold(r)
		for next > r { // the orbit goes up, then back to its smallest rune
			r, next = next, unicode.SimpleFold(next)
		}
		r = next
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

// joinPath is where in a document, for a person to read: long names are cut.
func joinPath(path []string) string {
	short := make([]string, len(path))
	for i, name := range path {
		if short[i] = name; len(name) > maxPathName {
			short[i] = strings.ToValidUTF8(name[:maxPathName], "") + "…"
		}
	}
	return strings.Join(short, ".")
}

func (p *parser) array(depth int) (any, error) {
	p.pos++
	list := []any{}
	p.space()
	if c, err := p.peek(); err != nil {
		return nil, err
	} else if c == ']' {
		p.pos++
		return list, nil
	}
	for {
		p.space()
		p.path = append(p.path, strconv.Itoa(len(list)))
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		list = append(list, v)
		p.space()
		c, err := p.peek()
		if err != nil {
			return nil, err
		}
		p.pos++
		switch c {
		case ']':
			return list, nil
		case ',':
		default:
			p.pos--
			return nil, p.fail("a comma or ] must stand here, not %q", c)
		}
	}
}

func (p *parser) string() (string, error) {
	p.pos++ // the opening quote
	start := p.pos
	for p.pos < len(p.data) { // the usual case: no escapes
		switch c := p.data[p.pos]; {
		case c == '"':
			s := p.data[start:p.pos]
			if !utf8.Valid(s) {
				return "", p.fail("a string is not valid UTF-8")
			}
			p.pos++
			return string(s), nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.fail("control character 0x%02x inside a string", c)
		}
		p.pos++
	}
	return "", p.fail("the document ends inside a string (truncated?)")
}

func (p *parser) escaped(start int) (string, error) {
	rest := max(0, bytes.IndexByte(p.data[p.pos:], '"')) // it mostly ends there
	out := append(make([]byte, 0, p.pos-start+rest), p.data[start:p.pos]...)
	for p.pos < len(p.data) {
		c := p.data[p.pos]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", p.fail("a string is not valid UTF-8")
			}
			p.pos++
			return string(out), nil
		case c < 0x20:
			return "", p.fail("control character 0x%02x inside a string", c)
		case c != '\\':
			out = append(out, c)
			p.pos++
			continue
		}
		if p.pos+1 >= len(p.data) {
			break
		}
		e := p.data[p.pos+1]
		if i := strings.IndexByte(`"\/bfnrt`, e); i >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[i])
			p.pos += 2
			continue
		}
		if e != 'u' {
			return "", p.fail("unknown escape \\%c", e)
		}
		r, ok := p.hex4(p.pos + 2)
		if !ok {
			return "", p.fail("\\u needs four hex digits")
		}
		p.pos += 6
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if p.pos+1 < len(p.data) && p.data[p.pos] == '\\' && p.data[p.pos+1] == 'u' {
				low, ok = p.hex4(p.pos + 2)
			}
			if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
				return "", p.fail("unpaired surrogate in a string")
			}
			p.pos += 6
		}
		out = utf8.AppendRune(out, r)
	}
	return "", p.fail("the document ends inside a string (truncated?)")
}

func (p *parser) hex4(at int) (rune, bool) {
	if at+4 > len(p.data) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.data[at:at+4]), 16, 16)
	return rune(n), err == nil
}

func (p *parser) number() (any, error) {
	start, at := p.pos, p.pos
	digits := func() bool {
		from := at
		for at < len(p.data) && p.data[at] >= '0' && p.data[at] <= '9' {
			at++
		}
		return at > from
	}
	is := func(set string) bool {
		return at < len(p.data) && strings.IndexByte(set, p.data[at]) >= 0
	}
	bad := func() (any, error) { return nil, p.fail("unexpected character %q", p.data[start]) }
	if is("-") {
		at++
	}
	if is("0") {
		at++
	} else if !digits() {
		return bad()
	}
	if is(".") {
		if at++; !digits() {
			return bad()
		}
	}
	if is("eE") {
		if at++; is("+-") {
			at++
		}
		if !digits() {
			return bad()
		}
	}
	p.pos = at
	return json.Number(p.data[start:at]), nil
}
