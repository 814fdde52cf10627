package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf16"
)

// Write encodes a tree the way every metadata file of this format is written:
// what Python's json.dumps makes with indent=1, sort_keys=True,
// separators=(",", ": ") and ensure_ascii, without a newline at the end.
//
// Reading such a file and writing it gives the same bytes. Values other than
// those a parsed tree holds (and Go's int and int64, for convenience) panic:
// they are a programming error.
func Write(tree any) []byte { return appendValue(nil, tree, "\n", 1) }

// WriteIndent is [Write] with another number of spaces per level. The
// signing-event state file uses two.
func WriteIndent(tree any, spaces int) []byte { return appendValue(nil, tree, "\n", spaces) }

func appendValue(b []byte, v any, newline string, indent int) []byte {
	const blanks = "                "
	inner := newline + blanks[:indent]
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case json.Number:
		return append(b, v...)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case []any:
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, inner...)
			b = appendValue(b, e, inner, indent)
		}
		b = append(b, newline...)
		return append(b, ']')
	case Object:
		if len(v) == 0 {
			return append(b, "{}"...)
		}
		b = append(b, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, inner...)
			b = appendString(b, name)
			b = append(b, ": "...)
			b = appendValue(b, v[name], inner, indent)
		}
		b = append(b, newline...)
		return append(b, '}')
	}
	panic(fmt.Sprintf("metadata: a tree cannot hold a %T", v))
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names) // UTF-8 byte order is code point order, as Python sorts
	return names
}

func appendString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	unit := func(u uint16) {
		b = append(b, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r >= 0x20 && r < 0x7f:
			b = append(b, byte(r))
		case r < 0x10000:
			unit(uint16(r))
		default:
			high, low := utf16.EncodeRune(r)
			unit(uint16(high))
			unit(uint16(low))
		}
	}
	return append(b, '"')
}

// Canonical is the OLPC canonical JSON of a tree: what is signed, and what a
// keyid is the hash of. It fails on a number that is not an integer. Text must
// be valid UTF-8, as in a tree that was read or is to be written.
//
// It gives the same bytes as go-securesystemslib's cjson, which tests hold it
// against; that one goes through encoding/json twice, which took a third of the
// time of a whole client update.
func Canonical(tree any) ([]byte, error) { return canonical(tree, 0) }

// canonical makes room for size bytes at first.
func canonical(tree any, size int) ([]byte, error) {
	b, err := appendCanonical(make([]byte, 0, size), tree)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	return b, nil
}

func appendCanonical(b []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendCanonicalString(b, v), nil
	case json.Number:
		if _, err := v.Int64(); err != nil {
			return nil, fmt.Errorf("%.80q is not an integer of 64 bits", v)
		}
		return append(b, v...), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendCanonical(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case Object:
		b = append(b, '{')
		for i, name := range sortedNames(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendCanonicalString(b, name), ':')
			if b, err = appendCanonical(b, v[name]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("a tree cannot hold a %T", v)
}

// appendCanonicalString escapes what the canonical form escapes: two characters.
func appendCanonicalString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(append(b, s[done:i]...), '\\')
			done = i
		}
	}
	return append(append(b, s[done:]...), '"')
}

// KeyID is the hex SHA-256 of the canonical form of a whole key object, custom
// fields included.
func KeyID(key Object) (string, error) {
	b, err := Canonical(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Clone copies a tree, so that an edit of the copy leaves the original alone.
func Clone[T any](tree T) T {
	c, _ := cloneValue(tree).(T) // null stays null
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case Object:
		c := make(Object, len(v))
		for name, e := range v {
			c[name] = cloneValue(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneValue(e)
		}
		return c
	}
	return v
}
