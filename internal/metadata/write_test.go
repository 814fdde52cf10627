package metadata_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"github.com/tufops/tufops/internal/metadata"
)

// pythonCases pair a JSON text with what Python 3.11 makes of it:
// json.dumps(json.loads(in), indent=1, sort_keys=True, separators=(",", ": ")).
var pythonCases = []struct{ name, in, want string }{
	{"null", `null`, `null`},
	{"empty object", `{}`, `{}`},
	{"empty list", `[]`, `[]`},
	{"empties inside", `{"a":{},"b":[],"c":""}`, `{
 "a": {},
 "b": [],
 "c": ""
}`},
	{"nesting", `{"b":[1,[2,{"a":null}],true],"a":false}`, `{
 "a": false,
 "b": [
  1,
  [
   2,
   {
    "a": null
   }
  ],
  true
 ]
}`},
	{"sorted by code point", "{\"b\":1,\"B\":2,\"a\":3,\"_\":4,\"\":5,\"\u00e9\":6,\"\U0001f600\":7,\"\uffee\":8,\"a b\":9,\"10\":10,\"9\":11}", `{
 "": 5,
 "10": 10,
 "9": 11,
 "B": 2,
 "_": 4,
 "a": 3,
 "a b": 9,
 "b": 1,
 "\u00e9": 6,
 "\uffee": 8,
 "\ud83d\ude00": 7
}`},
	{"html stays", `"<script>&'/"`, `"<script>&'/"`},
	{"slash escape is undone", `"a\/b"`, `"a/b"`},
	{"quotes and backslash", `"\"\\"`, `"\"\\"`},
	{"short escapes", `"\n\r\t\f\b"`, `"\n\r\t\f\b"`},
	{"long form of short escapes", `"\u000a\u0009\u0008"`, `"\n\t\b"`},
	{"control characters", `"\u0000\u0001\u001b\u001f"`, `"\u0000\u0001\u001b\u001f"`},
	{"delete", "\"~\x7f\u0080\"", `"~\u007f\u0080"`},
	{"delete escaped", `"\u007f"`, `"\u007f"`},
	{"latin and CJK", "\"\u00e9\u6f22\\u00e9\"", `"\u00e9\u6f22\u00e9"`},
	{"line separators", "\"\u2028\u2029\ufeff\"", `"\u2028\u2029\ufeff"`},
	{"edges of the plane", "\"\ud7ff\ue000\uffff\"", `"\ud7ff\ue000\uffff"`},
	{"surrogate pair", "\"\\ud83d\\ude00 \U0001f600\"", `"\ud83d\ude00 \ud83d\ude00"`},
	{"highest rune", "\"\U0010ffff\"", `"\udbff\udfff"`},
	{"replacement character", "\"\ufffd\\ufffd\"", `"\ufffd\ufffd"`},
	{"upper-case hex", `"\u00E9\uD83D\uDE00"`, `"\u00e9\ud83d\ude00"`},
	{"integers", `[0,1,-1,9007199254740993,-9223372036854775808,123456789012345678901234567890]`, `[
 0,
 1,
 -1,
 9007199254740993,
 -9223372036854775808,
 123456789012345678901234567890
]`},
	{"floats Python keeps", `[1.0,0.5,-2.25,1e+16,1e-07]`, `[
 1.0,
 0.5,
 -2.25,
 1e+16,
 1e-07
]`},
	{"space everywhere", " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n", `{
 "a": [
  1,
  2
 ],
 "b": {}
}`},
	{"repeated name", `{"a":1,"b":2,"a":3}`, `{
 "a": 3,
 "b": 2
}`},
	{"escaped name", `{"\u0061\n":1}`, `{
 "a\n": 1
}`},
}

func TestWriteIsPythons(t *testing.T) {
	for _, c := range pythonCases {
		t.Run(c.name, func(t *testing.T) {
			tree, _, err := metadata.ParseTree([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(metadata.Write(tree)); got != c.want {
				t.Errorf("Write(ParseTree(%q)):\n got %s\nwant %s", c.in, got, c.want)
			}
			again, _, err := metadata.ParseTree([]byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(metadata.Write(again)); got != c.want {
				t.Errorf("not stable:\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// Python reads a number into an int or a float and writes that; we keep the
// text, since what was signed may hold it.
func TestNumberTextIsKept(t *testing.T) {
	for _, n := range []string{"-0", "1E5", "1e5", "1.50", "0.10", "1e400", "123456789012345678901234567890", "0e0", "-0.0"} {
		tree, _, err := metadata.ParseTree([]byte(n))
		if err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		if tree != json.Number(n) {
			t.Errorf("%s is read as %#v", n, tree)
		}
		if got := string(metadata.Write(tree)); got != n {
			t.Errorf("%s is written %s", n, got)
		}
	}
}

func TestWriteIndent(t *testing.T) {
	tree := metadata.Object{"invites": metadata.Object{"@alice": []any{"root", "targets"}}}
	const want = `{
  "invites": {
    "@alice": [
      "root",
      "targets"
    ]
  }
}`
	if got := string(metadata.WriteIndent(tree, 2)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := string(metadata.WriteIndent(tree, 1)); got != string(metadata.Write(tree)) {
		t.Errorf("an indent of one is not Write: %s", got)
	}
}

func TestWriteTakesGoIntegers(t *testing.T) {
	got := string(metadata.Write([]any{7, int64(-8), json.Number("9")}))
	if want := "[\n 7,\n -8,\n 9\n]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("Write took a []string, which no parsed tree holds")
		}
	}()
	metadata.Write([]string{"x"})
}

func TestClone(t *testing.T) {
	inner := metadata.Object{"b": []any{json.Number("1"), nil}}
	tree := metadata.Object{"a": inner, "n": nil, "s": "x", "t": true}
	c := metadata.Clone(tree)
	if !reflect.DeepEqual(c, tree) {
		t.Fatalf("the clone differs: %v", c)
	}
	inner["b"].([]any)[0] = "changed"
	inner["c"] = "added"
	if got, want := string(metadata.Write(c["a"])), "{\n \"b\": [\n  1,\n  null\n ]\n}"; got != want {
		t.Errorf("a change of the original reached the clone: %s", got)
	}
	if got := metadata.Clone(tree["n"]); got != nil { // a null of a document
		t.Errorf("the clone of null is %v", got)
	}
	if got := metadata.Clone(tree["s"]); got != "x" {
		t.Errorf("the clone of a string is %v", got)
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":[true,false,null,"x"]}`, `{"a":[true,false,null,"x"],"b":1}`},
		{`{"":{},"a":[]}`, `{"":{},"a":[]}`},
		{`"\"\\\n\t/<&>\u00e9\u2028\u007f"`, "\"\\\"\\\\\n\t/<&>é\u2028\x7f\""}, // only quote and backslash are escaped
		{`{"\ud83d\ude00":1,"\uffee":2}`, "{\"\uffee\":2,\"\U0001f600\":1}"},    // by code point
		{`9007199254740993`, `9007199254740993`},
	} {
		tree, _, err := metadata.ParseTree([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		got, err := metadata.Canonical(tree)
		if err != nil || string(got) != c.want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", c.in, got, err, c.want)
		}
		sameAsCJSON(t, tree)
	}
	for _, in := range []string{"1.0", "1e5", "[0.5]", "123456789012345678901234567890"} {
		tree, _, err := metadata.ParseTree([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := metadata.Canonical(tree); err == nil {
			t.Errorf("Canonical(%s) = %s, which has no canonical form", in, got)
		}
		sameAsCJSON(t, tree)
	}
}

// sameAsCJSON holds our canonical form against the encoder that everybody else
// signs with.
func sameAsCJSON(t *testing.T, tree any) {
	t.Helper()
	got, err := metadata.Canonical(tree)
	want, wantErr := cjson.EncodeCanonical(tree)
	if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
		t.Errorf("Canonical gives %s (%v), cjson %s (%v)", got, err, want, wantErr)
	}
}

// FuzzCanonical checks that what is signed does not depend on how the file was
// formatted, and is what cjson makes of it.
func FuzzCanonical(f *testing.F) {
	for _, c := range pythonCases {
		f.Add([]byte(c.in))
	}
	f.Add([]byte(`{"signed":{"version":1,"x":"\u00e9\\"},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, _, err := metadata.ParseTree(data)
		if err != nil {
			t.Skip()
		}
		sameAsCJSON(t, tree)
		before, errBefore := metadata.Canonical(tree)
		again, _, err := metadata.ParseTree(metadata.Write(tree))
		if err != nil {
			t.Fatalf("what Write makes of %q does not parse: %v", data, err)
		}
		after, errAfter := metadata.Canonical(again)
		if !bytes.Equal(before, after) || (errBefore == nil) != (errAfter == nil) {
			t.Fatalf("the canonical form of %q changed: %s (%v), then %s (%v)", data, before, errBefore, after, errAfter)
		}
		if clone, err := metadata.Canonical(metadata.Clone(tree)); !bytes.Equal(clone, before) || (err == nil) != (errBefore == nil) {
			t.Fatalf("the canonical form of a clone of %q differs: %s", data, clone)
		}
	})
}

func TestKeyIDIsTheHashOfTheWholeObject(t *testing.T) {
	key := metadata.Object{
		"keytype": "ed25519", "scheme": "ed25519", metadata.FieldKeyOwner: "@alice",
		"keyval": metadata.Object{"public": strings.Repeat("ab", 32)},
	}
	// printf %s $CANONICAL | sha256sum
	for _, c := range []struct {
		owner any
		want  string
	}{
		{"@alice", "f3e380cd59a436ec632abc5d5d2d495c34b12e3f3a5406076f42469eba1ff8d8"},
		{nil, "05584cc3bfabb85de26cb80479f075fa802c97add45fd61feebaa0423da7f57a"},
	} {
		if key[metadata.FieldKeyOwner] = c.owner; c.owner == nil {
			delete(key, metadata.FieldKeyOwner)
		}
		if got, err := metadata.KeyID(key); err != nil || got != c.want {
			t.Errorf("owner %v: keyid %s, %v; want %s", c.owner, got, err, c.want)
		}
	}
	if _, err := metadata.KeyID(metadata.Object{"keytype": json.Number("1.5")}); err == nil {
		t.Error("a key object with a fraction has a keyid")
	}
}
