// Package schematest holds what the programs print against the JSON Schemas in
// schema/, for tests.
//
// It trusts neither side. A document must be valid, and every small change to it
// must make it invalid, so that a schema which allows anything does not pass; and
// every property of the schema must have been seen, so that one which describes
// what nobody prints does not either.
package schematest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// ID is where a schema says that it is to be found.
const ID = "https://raw.githubusercontent.com/tufops/tufops/main/schema/"

// Dir is the folder of the schemas.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "schema")
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no module above the test: %v", err)
	return ""
}

// Names are the schemas that there are, sorted.
func Names(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(Dir(t), "*.schema.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".schema.json"))
	}
	return names
}

// Schema is one schema and what has been seen of it.
type Schema struct {
	name     string
	compiled *jsonschema.Schema
	seen     map[string]bool // properties, by name
	want     map[string]bool
	optional map[string]bool
}

// New compiles a schema. Of its properties those that are not always there are
// named: of every other it must notice that it is missing.
func New(t testing.TB, name string, optional ...string) *Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	s := &Schema{name: name, seen: map[string]bool{}, want: map[string]bool{}, optional: map[string]bool{}}
	for _, o := range optional {
		s.optional[o] = true
	}
	for _, n := range Names(t) {
		if err := c.AddResource(ID+n+".schema.json", Read(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.compiled, err = c.Compile(ID + name + ".schema.json"); err != nil {
		t.Fatal(err)
	}
	properties(t, Read(t, name), s.want)
	return s
}

// Read is the text of a schema, decoded.
func Read(t testing.TB, name string) any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Dir(t), name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

func decode(t testing.TB, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

// properties collects the names of all properties that a schema describes, with
// those of the schemas that it refers to.
func properties(t testing.TB, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !strings.HasPrefix(ref, "#") {
			properties(t, Read(t, strings.TrimSuffix(ref, ".schema.json")), into)
		}
		if p, ok := v["properties"].(map[string]any); ok {
			for name := range p {
				into[name] = true
			}
		}
		for _, one := range v {
			properties(t, one, into)
		}
	case []any:
		for _, one := range v {
			properties(t, one, into)
		}
	}
}

// Valid says what is wrong with a value by the schema; nil for nothing.
func (s *Schema) Valid(v any) error { return s.compiled.Validate(v) }

// Check holds a document against the schema: it is valid, and with any field
// removed, added, or given another type it is not.
func (s *Schema) Check(t testing.TB, doc string) {
	t.Helper()
	v := decode(t, []byte(doc))
	if err := s.Valid(v); err != nil {
		t.Errorf("%s: %v\n%s", s.name, err, doc)
		return
	}
	s.mutate(t, v, "", func(changed any) any { return changed })
}

// Done fails for the properties of the schema that no document had, but for those
// that never can.
func (s *Schema) Done(t testing.TB, never ...string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(s.want)) {
		if s.seen[name] == slices.Contains(never, name) {
			t.Errorf("%s: a document has a property %s with a value: %v, want %v", s.name, name, s.seen[name], !s.seen[name])
		}
	}
}

// open are the properties that are maps: what stands in them has names of its
// own.
var open = map[string]bool{"lists": true, "hashes": true}

// mutate changes every part of v in turn; whole makes the document that has the
// changed part in place of v.
func (s *Schema) mutate(t testing.TB, v any, where string, whole func(any) any) {
	refused := func(changed any, what string) {
		t.Helper()
		doc := whole(changed)
		if s.Valid(doc) == nil {
			text, _ := json.Marshal(doc)
			t.Errorf("%s: still valid with %s at %s: %.300s", s.name, what, where, text)
		}
	}
	refused(nil, "null")
	switch v := v.(type) {
	case string:
		refused(json.Number("1"), "a number for a text")
	case bool:
		refused("true", "a text for a truth value")
	case json.Number:
		refused(v.String(), "a text for a number")
		refused(json.Number("-1"), "a negative number")
		refused(json.Number("1.5"), "a broken number")
	case []any:
		refused(map[string]any{}, "an object for a list")
		for i, one := range v {
			s.mutate(t, one, fmt.Sprintf("%s/%d", where, i), func(changed any) any {
				list := slices.Clone(v)
				list[i] = changed
				return whole(list)
			})
		}
	case map[string]any:
		refused([]any{}, "a list for an object")
		with := maps.Clone(v)
		with["unknown"] = map[string]any{"unknown": true}
		refused(with, "an unknown field")
		last := where[strings.LastIndex(where, "/")+1:]
		for name, one := range v {
			if empty, ok := one.([]any); one != "" && (!ok || len(empty) > 0) {
				s.seen[name] = true
			}
			if !s.optional[name] && !open[last] {
				without := maps.Clone(v)
				delete(without, name)
				refused(without, "no "+name)
			}
			s.mutate(t, one, where+"/"+name, func(changed any) any {
				other := maps.Clone(v)
				other[name] = changed
				return whole(other)
			})
		}
	}
}
