package metadata_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

func parse(t testing.TB, text string) *metadata.Document {
	t.Helper()
	d, err := metadata.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// handWritten has unknown fields wherever there can be some, in this format's
// form.
const handWritten = `{
 "note": {
  "by": "h\u00e9l\u00e8ne",
  "n": 1.50
 },
 "signatures": [
  {
   "keyid": "aa",
   "sig": "00",
   "x-first": [
    1,
    null
   ]
  },
  {
   "bundle": "base64==",
   "keyid": "bb",
   "sig": ""
  },
  {
   "keyid": "cc",
   "sig": "not hex"
  }
 ],
 "signed": {
  "_type": "timestamp",
  "expires": "2026-01-31T00:00:00Z",
  "meta": {
   "snapshot.json": {
    "version": 2,
    "x": "y"
   }
  },
  "spec_version": "1.0",
  "version": 9,
  "x-unknown": {
   "a": []
  }
 },
 "zzz": null
}`

func TestWithSignature(t *testing.T) {
	d := parse(t, handWritten)
	for _, c := range []struct{ name, keyID, old, with string }{
		{"fills a placeholder", "bb", "   \"keyid\": \"bb\",\n   \"sig\": \"\"\n", "   \"keyid\": \"bb\",\n   \"sig\": \"c0ffee\"\n"},
		{"replaces in place, unknown fields stay", "aa", "\"sig\": \"00\"", "\"sig\": \"c0ffee\""},
		{"replaces what is no signature", "cc", "\"sig\": \"not hex\"", "\"sig\": \"c0ffee\""},
		{"appends", "dd", "   \"sig\": \"not hex\"\n  }\n", "   \"sig\": \"not hex\"\n  },\n  {\n   \"keyid\": \"dd\",\n   \"sig\": \"c0ffee\"\n  }\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := d.WithSignature(c.keyID, []byte{0xc0, 0xff, 0xee})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Replace(handWritten, c.old, c.with, 1); string(e.Bytes()) != want {
				t.Errorf("got %s\nwant %s", e.Bytes(), want)
			}
			if !bytes.Equal(e.Raw(), e.Bytes()) {
				t.Error("Raw of an edited document is not what it was written as")
			}
			if !bytes.Equal(e.Payload(), d.Payload()) {
				t.Error("the payload changed")
			}
			if string(d.Bytes()) != handWritten || d.Signatures()[1].Sig != "" || len(d.Signatures()) != 3 {
				t.Error("the original changed")
			}
		})
	}
	t.Run("an empty one makes a placeholder again", func(t *testing.T) {
		e, err := d.WithSignature("aa", nil)
		if err != nil || e.Signatures()[0] != (metadata.Signature{KeyID: "aa"}) {
			t.Errorf("%v, %v", e.Signatures(), err)
		}
	})
	t.Run("the first of two entries of one keyid", func(t *testing.T) { // the one that Check counts
		twice := parse(t, strings.Replace(handWritten, `"keyid": "cc"`, `"keyid": "aa"`, 1))
		e, err := twice.WithSignature("aa", []byte{1})
		if err != nil || e.Signatures()[0].Sig != "01" || e.Signatures()[2].Sig != "not hex" {
			t.Errorf("%v, %v", e.Signatures(), err)
		}
	})
	t.Run("an empty list", func(t *testing.T) {
		e, err := tinyTimestamp(t).WithSignature("aa", []byte{1})
		if err != nil || !reflect.DeepEqual(e.Signatures(), []metadata.Signature{{KeyID: "aa", Sig: "01"}}) {
			t.Errorf("%v, %v", e.Signatures(), err)
		}
	})
}

func TestWithSigned(t *testing.T) {
	d := parse(t, handWritten)
	signed := metadata.Clone(d.Signed())
	signed["version"] = d.Version() + 1
	signed["expires"] = time.Date(2026, 2, 7, 1, 2, 3, 4, time.UTC).Format(metadata.TimeFormat)
	e, err := d.WithSigned(signed, []metadata.Signature{{KeyID: "bb"}, {KeyID: "aa", Sig: "01"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(handWritten, `"version": 9`, `"version": 10`, 1)
	want = strings.Replace(want, "2026-01-31T00:00:00Z", "2026-02-07T01:02:03Z", 1)
	from, to := strings.Index(want, ` "signatures"`), strings.Index(want, ` "signed"`)
	want = want[:from] + ` "signatures": [
  {
   "keyid": "bb",
   "sig": ""
  },
  {
   "keyid": "aa",
   "sig": "01"
  }
 ],
` + want[to:]
	if string(e.Bytes()) != want {
		t.Errorf("got %s\nwant %s", e.Bytes(), want)
	}
	if e.Version() != 10 || !e.Expires().Equal(time.Date(2026, 2, 7, 1, 2, 3, 0, time.UTC)) {
		t.Errorf("version %d, expires %v", e.Version(), e.Expires())
	}
	if string(d.Bytes()) != handWritten || d.Version() != 9 {
		t.Error("the original changed")
	}
	signed["version"] = 77 // the tree was taken over; even a caller who breaks that must not reach into e
	if !bytes.Contains(e.Payload(), []byte(`"version":10`)) || string(e.Bytes()) != want {
		t.Error("the new document changed with the tree that it was made from")
	}
	if f, err := d.WithSigned(metadata.Clone(d.Signed()), nil); err != nil || !bytes.Contains(f.Bytes(), []byte("\n \"signatures\": [],\n")) {
		t.Errorf("without signatures: %s, %v", f.Bytes(), err)
	}
	if _, err := d.WithSigned(metadata.Object{}, nil); err == nil {
		t.Error("an edit that makes no metadata is accepted")
	}
}

// File names in git need not be UTF-8, JSON must be: writing the replacement
// character instead would describe another file, or two by one name.
func TestEditsRefuseInvalidUTF8(t *testing.T) {
	file := metadata.Object{"length": 1, "hashes": metadata.Object{"sha256": "ab"}}
	d := tinyTargets(t)
	for name, edit := range map[string]func(signed metadata.Object){
		"a name":        func(o metadata.Object) { o["targets"].(metadata.Object)["a\xff"] = file },
		"a value":       func(o metadata.Object) { o["x"] = []any{"a\xff"} },
		"two that meet": func(o metadata.Object) { o["targets"] = metadata.Object{"a\xff": file, "a\xfe": file} },
	} {
		signed := metadata.Clone(d.Signed())
		edit(signed)
		if e, err := d.WithSigned(signed, nil); err == nil {
			t.Errorf("%s: written as %s", name, e.Bytes())
		}
	}
}

func TestDocumentIsImmutable(t *testing.T) {
	data := []byte(handWritten)
	d, err := metadata.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X' // a reader that reuses its buffer
	}
	if string(d.Raw()) != handWritten || string(d.Bytes()) != handWritten || d.Signatures()[0].KeyID != "aa" {
		t.Error("the document changed with the bytes it was parsed from")
	}
	d.Bytes()[0] = 'X'
	if string(d.Bytes()) != handWritten {
		t.Error("Bytes hands out what the document holds")
	}
}

// Bytes come from the tree, whatever the file looked like.
func TestBytesAreOfTheFormat(t *testing.T) {
	var compact, tabbed bytes.Buffer
	if err := json.Compact(&compact, []byte(handWritten)); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&tabbed, []byte(handWritten), "", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{compact.String(), tabbed.String(), handWritten + "\n", "\n " + handWritten} {
		d := parse(t, text)
		if string(d.Raw()) != text {
			t.Errorf("Raw is %s", d.Raw())
		}
		if string(d.Bytes()) != handWritten {
			t.Errorf("Bytes are %s", d.Bytes())
		}
	}
}

func TestExpires(t *testing.T) {
	at := func(text string) (*metadata.Document, error) {
		return metadata.Parse([]byte(strings.Replace(handWritten, "2026-01-31T00:00:00Z", text, 1)))
	}
	for _, c := range []struct {
		text string
		want time.Time
	}{
		{"2026-01-31T00:00:00Z", time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
		// As Sigstore's production roots 1 to 4 have it.
		{"2022-05-11T19:09:02.663975009Z", time.Date(2022, 5, 11, 19, 9, 2, 663975009, time.UTC)},
		{"2021-12-18T13:28:12.99008-06:00", time.Date(2021, 12, 18, 19, 28, 12, 990080000, time.UTC)},
		{"2024-02-29T23:59:59Z", time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC)},
		{"9999-12-31T23:59:59Z", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		d, err := at(c.text)
		if err != nil || !d.Expires().Equal(c.want) || d.Expires().Location() != time.UTC {
			t.Errorf("%s is read as %v, %v", c.text, d.Expires(), err)
			continue
		}
		if d.Expired(c.want.Add(-1)) || !d.Expired(c.want) || !d.Expired(c.want.Add(1)) {
			t.Errorf("%s: not expired from that very moment on", c.text)
		}
	}
	for _, text := range []string{
		"", "soon", "2026-01-31", "2026-01-31 00:00:00Z", "2026-01-31t00:00:00z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z",
		"2026-01-31T24:00:00Z", "2026-01-31T00:00:60Z", "1769817600", "2026-01-31T00:00:00", "2026-01-31T00:00:00+0200",
	} {
		if d, err := at(text); err == nil {
			t.Errorf("%q is read as %v", text, d.Expires())
		}
	}
}

func TestAccessors(t *testing.T) {
	root := tinyRoot(t)
	if root.Type() != "root" || root.Version() != 3 || root.SpecVersion() != "1.0.31" || !root.ConsistentSnapshot() || root.Targets() != nil || root.Meta() != nil {
		t.Errorf("root: %+v", root)
	}
	var roles []string
	for _, del := range root.Delegations().Roles {
		roles = append(roles, del.Role)
	}
	if !reflect.DeepEqual(roles, metadata.TopLevel) {
		t.Errorf("the roles of root are %v", roles)
	}
	if del, ok := root.Delegation("npm"); ok {
		t.Errorf("root delegates npm: %v", del)
	}
	if ts, _ := root.Delegation(metadata.Timestamp); len(ts.KeyIDs) != 1 || !strings.HasPrefix(ts.Keys[ts.KeyIDs[0]].Holder(), "gcpkms:") {
		t.Errorf("timestamp is delegated to %v", ts.KeyIDs)
	}

	targets := tinyTargets(t)
	file, ok := targets.Targets()["a.txt"]
	if !ok || file.Length != 3 || file.Hashes["sha256"] != strings.Repeat("ab", 32) || len(targets.Targets()) != 1 {
		t.Errorf("targets: %v", targets.Targets())
	}
	npm, ok := targets.Delegation("npm")
	if !ok || !npm.Terminating || npm.Threshold != 1 || !reflect.DeepEqual(npm.Paths, []string{"npm/*", "npm/*/*"}) || !npm.Covers("npm/x/y") {
		t.Errorf("npm: %v, %v", npm, ok)
	}
	if targets.ConsistentSnapshot() || targets.Meta() != nil {
		t.Error("targets: what only others have")
	}

	meta := tinySnapshot(t).Meta()
	if m := meta["targets.json"]; m.Version != 1 || m.Length != -1 || m.Hashes != nil {
		t.Errorf("targets.json: %+v", m)
	}
	if m := meta["npm.json"]; m.Version != 4 || m.Length != 0 || len(m.Hashes) != 1 {
		t.Errorf("npm.json: %+v", m)
	}
	if ts := tinyTimestamp(t); ts.Meta()["snapshot.json"].Version != 2 || ts.Delegations() != nil {
		t.Errorf("timestamp: %+v", ts)
	}
	if _, ok := tinyTimestamp(t).Delegation("snapshot"); ok {
		t.Error("timestamp delegates")
	}
	if !metadata.IsOnline("timestamp") || !metadata.IsOnline("snapshot") || metadata.IsOnline("root") || metadata.IsOnline("targets") || metadata.IsOnline("npm") {
		t.Error("IsOnline")
	}
}

func TestPeriodOf(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   metadata.Period
	}{
		{`{}`, metadata.Period{}},
		{`{"x-tuf-on-ci-expiry-period":182,"x-tuf-on-ci-signing-period":60}`, metadata.Period{Expiry: 182, Signing: 60, Explicit: true}},
		{`{"x-tuf-on-ci-expiry-period":7}`, metadata.Period{Expiry: 7, Signing: 3}},
		{`{"x-tuf-on-ci-expiry-period":1}`, metadata.Period{Expiry: 1}},
		{`{"x-tuf-on-ci-expiry-period":7,"x-tuf-on-ci-signing-period":0}`, metadata.Period{Expiry: 7, Explicit: true}},
		{`{"x-tuf-on-ci-signing-period":4}`, metadata.Period{Signing: 4, Explicit: true}},
		{`{"x-tuf-on-ci-expiry-period":7,"x-tuf-on-ci-signing-period":null}`, metadata.Period{Expiry: 7, Signing: 3}},
		{`{"x-tuf-on-ci-expiry-period":"7"}`, metadata.Period{}},
		{`{"x-tuf-on-ci-expiry-period":7.5}`, metadata.Period{}},
		{`{"x-tuf-on-ci-expiry-period":99999999999999999999}`, metadata.Period{}},
		{`{"x-tuf-on-ci-expiry-period":-2}`, metadata.Period{Expiry: -2, Signing: -1}},
	} {
		tree, _, err := metadata.ParseTree([]byte(c.fields))
		if err != nil {
			t.Fatal(err)
		}
		if got := metadata.PeriodOf(tree.(metadata.Object)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.fields, got, c.want)
		}
	}
	if got := metadata.PeriodOf(nil); got != (metadata.Period{}) {
		t.Errorf("nil: %+v", got)
	}
}

// TestStructure changes one thing of a good document, at a path, and says
// whether what comes out is still metadata.
func TestStructure(t *testing.T) {
	docs := map[string]*metadata.Document{
		"root": tinyRoot(t), "targets": tinyTargets(t), "snapshot": tinySnapshot(t), "timestamp": tinyTimestamp(t),
	}
	const gone = "gone"
	for _, c := range []struct {
		doc, path string
		value     string // JSON, or gone
		fault     string // the path of the ParseError, or empty: accepted
	}{
		{"root", "signed.consistent_snapshot", gone, ""},
		{"root", "signed.consistent_snapshot", "false", ""},
		{"root", "signed.consistent_snapshot", `"true"`, "signed.consistent_snapshot"},
		{"root", "signed.roles.mirrors", `{"keyids":[],"threshold":1}`, ""},
		{"root", "signed.roles.timestamp", gone, "signed.roles.timestamp"},
		{"root", "signed.roles.root.threshold", "0", ""}, // for a rule, and for Check, to judge
		{"root", "signed.roles.root.threshold", "-1", ""},
		{"root", "signed.roles.root.threshold", "1.0", "signed.roles.root.threshold"},
		{"root", "signed.roles.root.threshold", "99999999999999999999", "signed.roles.root.threshold"},
		{"root", "signed.roles.root.keyids", "[]", ""},
		{"root", "signed.roles.root.keyids", "[1]", "signed.roles.root.keyids"},
		{"root", "signed.keys", "{}", ""},
		{"root", "signed.keys.x", "{}", "signed.keys.x"},
		{"root", "signed.keys.x", `{"keytype":"new","scheme":"new","keyval":{}}`, ""},
		{"root", "signed.keys.x", `{"keytype":"new","scheme":"new","keyval":{"a":0.5}}`, "signed.keys.x"},
		{"root", "signed.version", "9223372036854775807", ""},
		{"root", "signed.version", "9223372036854775808", "signed.version"},
		{"root", "signed.version", "-0", "signed.version"},
		{"root", "signed.spec_version", `"2.0"`, ""},
		{"root", "signed.x", "123456789012345678901234567890", "signed"},
		{"root", "x", "0.5", ""}, // not signed
		{"root", "signatures", "[]", ""},
		{"root", "signatures", gone, "signatures"},

		{"targets", "signed.delegations", gone, ""},
		{"targets", "signed.delegations", "null", ""},
		{"targets", "signed.delegations", "{}", "signed.delegations.keys"},
		{"targets", "signed.delegations.roles", gone, "signed.delegations.roles"},
		{"targets", "signed.delegations.roles", "[]", ""},
		{"targets", "signed.delegations.roles.0.terminating", gone, "signed.delegations.roles.0.terminating"},
		{"targets", "signed.delegations.roles.0.terminating", "1", "signed.delegations.roles.0.terminating"},
		{"targets", "signed.delegations.roles.0.paths", gone, "signed.delegations.roles.0.paths"},
		{"targets", "signed.delegations.roles.0.paths", "[]", ""},
		{"targets", "signed.delegations.roles.0.path_hash_prefixes", `["ab"]`, "signed.delegations.roles.0"},
		{"targets", "signed.delegations.roles.0.name", `"root"`, ""}, // for a rule to judge
		{"targets", "signed.delegations.roles.1", `{"name":"npm","keyids":[],"threshold":1,"terminating":true,"paths":[]}`, "signed.delegations.roles.1"},
		{"targets", "signed.delegations.roles.1", `{"name":"b","keyids":[],"threshold":1,"terminating":true,"path_hash_prefixes":["ab"]}`, ""},
		{"targets", "signed.delegations.succinct_roles", `{}`, "signed.delegations"},
		{"targets", "signed.targets", gone, "signed.targets"},
		{"targets", "signed.targets", "{}", ""},
		{"targets", "signed.targets.b", "null", "signed.targets.b"}, // makes go-tuf panic
		{"targets", "signed.targets.b", `{"length":0,"hashes":{"md5":"x"}}`, ""},
		{"targets", "signed.targets.b", `{"length":-1,"hashes":{"md5":"x"}}`, "signed.targets.b.length"},
		{"targets", "signed.targets.b", `{"length":1,"hashes":{}}`, "signed.targets.b.hashes"},
		{"targets", "signed.targets.b", `{"length":1}`, "signed.targets.b.hashes"},
		{"targets", "signed.targets.b", `{"hashes":{"md5":"x"}}`, "signed.targets.b.length"},

		{"snapshot", "signed.meta", "{}", ""},
		{"snapshot", "signed.meta.x", "null", "signed.meta.x"},
		{"snapshot", "signed.meta.x", `{"version":0}`, "signed.meta.x.version"},
		{"snapshot", "signed.meta.x", `{"version":1,"length":-1}`, "signed.meta.x.length"},
		{"snapshot", "signed.meta.x", `{"version":1,"length":null}`, "signed.meta.x.length"},
		{"snapshot", "signed.meta.x", `{"version":1,"hashes":{}}`, "signed.meta.x.hashes"},
		{"timestamp", "signed.meta", gone, "signed.meta"},
		{"timestamp", "signed.meta", "{}", ""},
		{"timestamp", "signed._type", `"snapshot"`, ""}, // one shape
		{"timestamp", "signed._type", `"Timestamp"`, "signed"},
		{"timestamp", "signed._type", `"root"`, "signed.keys"},
	} {
		t.Run(c.doc+" "+c.path+" "+c.value, func(t *testing.T) {
			tree, _, err := metadata.ParseTree(docs[c.doc].Bytes())
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if c.value != gone {
				if value, _, err = metadata.ParseTree([]byte(c.value)); err != nil {
					t.Fatal(err)
				}
			}
			d, err := metadata.Parse(metadata.Write(put(tree, strings.Split(c.path, "."), value, c.value == gone)))
			if c.fault == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				useAll(d)
				return
			}
			pe, ok := err.(*metadata.ParseError)
			if !ok || pe.Path != c.fault {
				t.Errorf("got %v (%+v), want a fault of %s", err, pe, c.fault)
			}
		})
	}
}

// put changes a tree at a path; a list grows by one entry at most.
func put(tree any, path []string, value any, remove bool) any {
	if len(path) == 0 {
		return value
	}
	switch node := tree.(type) {
	case metadata.Object:
		if len(path) == 1 && remove {
			delete(node, path[0])
		} else {
			node[path[0]] = put(node[path[0]], path[1:], value, remove)
		}
		return node
	case []any:
		var i int
		if _, err := fmt.Sscan(path[0], &i); err != nil {
			panic(err)
		}
		if i == len(node) {
			node = append(node, nil)
		}
		node[i] = put(node[i], path[1:], value, remove)
		return node
	}
	panic(fmt.Sprintf("nothing at %v", path))
}

// mutate writes every value of every type over every place of a document, one
// at a time, and calls visit with what comes out.
func mutate(t *testing.T, data []byte, visit func(path string, mutant []byte)) {
	t.Helper()
	tree, _, err := metadata.ParseTree(data)
	if err != nil {
		t.Fatal(err)
	}
	values := []any{
		nil, true, "", "x", json.Number("0"), json.Number("-1"), json.Number("1.5"), json.Number("99999999999999999999"),
		[]any{}, []any{nil}, []any{"x"}, metadata.Object{}, metadata.Object{"x": nil}, metadata.Object{"x": metadata.Object{}},
	}
	var walk func(path string, node any, set func(any), drop func() func())
	walk = func(path string, node any, set func(any), drop func() func()) {
		for i, v := range values {
			set(metadata.Clone(v))
			visit(fmt.Sprintf("%s #%d", path, i), metadata.Write(tree))
		}
		set(node)
		if drop != nil {
			undo := drop()
			visit(path+" dropped", metadata.Write(tree))
			undo()
		}
		switch node := node.(type) {
		case metadata.Object:
			names := make([]string, 0, len(node))
			for name := range node {
				names = append(names, name)
			}
			for _, name := range names {
				v := node[name]
				walk(path+"."+name, v, func(v any) { node[name] = v }, func() func() { delete(node, name); return func() { node[name] = v } })
			}
		case []any:
			for i, v := range node {
				walk(fmt.Sprint(path, ".", i), v, func(v any) { node[i] = v }, nil)
			}
		}
	}
	walk("", tree, func(v any) { tree = v }, nil)
}

// Whatever is wrong, and wherever, Parse refuses it or its result can be used.
func TestMutations(t *testing.T) {
	for _, d := range []*metadata.Document{tinyRoot(t), tinyTargets(t), tinySnapshot(t), tinyTimestamp(t)} {
		mutants, accepted := 0, 0
		mutate(t, d.Bytes(), func(path string, mutant []byte) {
			mutants++
			defer func() {
				if r := recover(); r != nil {
					t.Fatalf("%s %s panics: %v\n%s", d.Type(), path, r, mutant)
				}
			}()
			e, err := metadata.Parse(mutant)
			if err != nil {
				if pe, ok := err.(*metadata.ParseError); !ok || pe.Reason == "" || e != nil {
					t.Errorf("%s %s: %v, %v", d.Type(), path, e, err)
				}
				return
			}
			accepted++
			useAll(e)
		})
		t.Logf("%s: %d mutants, %d of them still metadata", d.Type(), mutants, accepted)
	}
}
