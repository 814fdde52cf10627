package metadata_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/metadata"
)

func TestParseTreeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		offset   int
		reason   string
	}{
		{"empty", "", 0, "ends too early"},
		{"blank", " \n", 2, "ends too early"},
		{"BOM", "\ufeff{}", 0, "unexpected character"},
		{"two documents", "{} {}", 3, "data after the end"},
		{"trailing comma", "{}\n,", 3, "data after the end"},
		{"trailing NUL", "{}\x00", 2, "data after the end"},
		{"comma before brace", `{"a":1,}`, 7, "a name in quotes"},
		{"comma before bracket", `[1,]`, 3, "unexpected character"},
		{"leading comma", `[,1]`, 1, "unexpected character"},
		{"no colon", `{"a" 1}`, 5, "a colon"},
		{"no comma", `[1 2]`, 3, "a comma or ]"},
		{"wrong bracket", `[1}`, 2, "a comma or ]"},
		{"wrong brace", `{"a":1]`, 6, "a comma or }"},
		{"name without quotes", `{a:1}`, 1, "a name in quotes"},
		{"name is a number", `{1:1}`, 1, "a name in quotes"},
		{"single quotes", `['a']`, 1, "unexpected character"},
		{"comment", `[/**/]`, 1, "unexpected character"},
		{"leading zero", `[01]`, 2, "a comma or ]"},
		{"leading plus", `[+1]`, 1, "unexpected character"},
		{"leading point", `[.5]`, 1, "unexpected character"},
		{"trailing point", `[1.]`, 1, "unexpected character"},
		{"lone minus", `[-]`, 1, "unexpected character"},
		{"no exponent", `[1e]`, 1, "unexpected character"},
		{"signed nothing", `[1e+]`, 1, "unexpected character"},
		{"hex number", `[0x1]`, 2, "a comma or ]"},
		{"NaN", `[NaN]`, 1, "unexpected character"},
		{"Infinity", `[-Infinity]`, 1, "unexpected character"},
		{"capital True", `[True]`, 1, "unexpected character"},
		{"longer literal", `[nulll]`, 5, "a comma or ]"},
		{"shorter literal", `[nul]`, 1, "unexpected character"},
		{"form feed as space", "[\f1]", 1, "unexpected character"},
		{"no-break space", "[\u00a01]", 1, "unexpected character"},
		{"newline in a string", "\"a\nb\"", 2, "control character 0x0a"},
		{"NUL in a string", "\"\x00\"", 1, "control character 0x00"},
		{"newline after an escape", "\"\\n\n\"", 3, "control character 0x0a"},
		{"unknown escape", `"\x41"`, 1, `unknown escape \x`},
		{"escaped quote only", `"\"`, 3, "inside a string"},
		{"three hex digits", `"\u00e"`, 1, "four hex digits"},
		{"signed hex digits", `"\u+123"`, 1, "four hex digits"},
		{"hex with underscore", `"\u1_23"`, 1, "four hex digits"},
		{"high surrogate alone", `"\ud83d"`, 7, "unpaired surrogate"},
		{"high surrogate, then text", `"\ud83dxxxxxx"`, 7, "unpaired surrogate"},
		{"high surrogate, then high", `"\ud83d\ud83d"`, 7, "unpaired surrogate"},
		{"high surrogate, then a letter", `"\ud83d\u0041"`, 7, "unpaired surrogate"},
		{"high surrogate, then half an escape", `"\ud83d\ude0"`, 7, "unpaired surrogate"},
		{"low surrogate alone", `"\ude00"`, 7, "unpaired surrogate"},
		{"surrogates the wrong way round", `"\ude00\ud83d"`, 7, "unpaired surrogate"},
		{"surrogate in a name", `{"\ud83d":1}`, 8, "unpaired surrogate"},
		{"invalid UTF-8", "\"a\xffb\"", 4, "not valid UTF-8"},
		{"invalid UTF-8 after an escape", "\"\\n\xff\"", 4, "not valid UTF-8"},
		{"invalid UTF-8 in a name", "{\"\xc3\":1}", 3, "not valid UTF-8"},
		{"surrogate as UTF-8", "\"\xed\xa0\x80\"", 4, "not valid UTF-8"},
		{"overlong UTF-8", "\"\xc0\xaf\"", 3, "not valid UTF-8"},
		{"UTF-8 joined over an escape", "\"\xc3\\u00a9\"", 8, "not valid UTF-8"},
		{"too deep", strings.Repeat("[", 130) + strings.Repeat("]", 130), 129, "nested deeper than 128"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, _, err := metadata.ParseTree([]byte(c.in))
			var pe *metadata.ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("ParseTree(%q) = %v, %v; want a ParseError", c.in, v, err)
			}
			if v != nil {
				t.Errorf("a value comes with the error: %v", v)
			}
			if pe.Offset != c.offset || !strings.Contains(pe.Reason, c.reason) {
				t.Errorf("at byte %d: %s; want %d, %s", pe.Offset, pe.Reason, c.offset, c.reason)
			}
		})
	}
}

func TestDepthLimit(t *testing.T) {
	for _, pair := range []string{"[ ]", `{"a": }`} {
		open, shut, _ := strings.Cut(pair, " ")
		leaf := ""
		if open != "[" {
			leaf = "{}" // the innermost object needs a value
		}
		deep := func(n int) []byte { return []byte(strings.Repeat(open, n) + leaf + strings.Repeat(shut, n)) }
		if _, _, err := metadata.ParseTree(deep(128)); err != nil {
			t.Errorf("128 levels of %s: %v", pair, err)
		}
		if _, _, err := metadata.ParseTree(deep(130)); err == nil {
			t.Errorf("130 levels of %s are accepted", pair)
		}
		if _, _, err := metadata.ParseTree([]byte(strings.Repeat(open, 5_000_000))); err == nil { // no stack overflow
			t.Errorf("an unclosed pile of %s is accepted", pair)
		}
	}
}

func TestDuplicates(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []metadata.Duplicate
		text     string // of the first
	}{
		{"none", `{"a":{"a":1},"b":[{"a":1},{"a":1}]}`, nil, ""},
		{"exact, at the top", `{"a":1,"a":2}`, []metadata.Duplicate{{Name: "a", With: "a"}}, `the document names "a" twice`},
		{"with other escapes", `{"a":1,"\u0061":2}`, []metadata.Duplicate{{Name: "a", With: "a"}}, `the document names "a" twice`},
		{"by case", `{"signed":{"version":1,"Version":2}}`, []metadata.Duplicate{{Path: "signed", Name: "Version", With: "version"}},
			`signed names "version" and "Version", which differ only in case`},
		{"in a list", `{"l":[{},{"x":1,"x":1}]}`, []metadata.Duplicate{{Path: "l.1", Name: "x", With: "x"}}, `l.1 names "x" twice`},
		{"three times", `{"a":1,"a":2,"A":3}`, []metadata.Duplicate{{Name: "a", With: "a"}, {Name: "A", With: "a"}}, ""},
		{"inside a value that is overwritten", `{"a":{"b":1,"b":2},"a":{}}`,
			[]metadata.Duplicate{{Path: "a", Name: "b", With: "b"}, {Name: "a", With: "a"}}, ""},
		{"case of a name that stands late", `{"b":1,"a":2,"B":3,"b":4}`, []metadata.Duplicate{{Name: "B", With: "b"}, {Name: "b", With: "b"}}, ""},
		{"beyond ASCII", `{"É":1,"é":2}`, []metadata.Duplicate{{Name: "é", With: "É"}}, ""},
		// encoding/json, and with it go-tuf, also takes the long s for an s and
		// the Kelvin sign for a k.
		{"long s", `{"signed":1,"ſigned":2}`, []metadata.Duplicate{{Name: "ſigned", With: "signed"}}, ""},
		{"Kelvin sign", `{"keys":1,"\u212aeys":2}`, []metadata.Duplicate{{Name: "\u212aeys", With: "keys"}}, ""},
		{"no case, no duplicate", `{"straße":1,"strasse":2,"e\u0301":3,"\u00e9":4}`, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got, err := metadata.ParseTree([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if c.text != "" && got[0].String() != c.text {
				t.Errorf("text %q, want %q", got[0].String(), c.text)
			}
		})
	}
}

// What a reader that ignores case takes for the same name must be reported, or
// two clients could read two documents from one file.
func TestDuplicatesAreWhatEncodingJSONFolds(t *testing.T) {
	for _, name := range []string{"KEYS", "keyS", "\u212aeys", "ſigned", "SIGNED", "verſion", "versıon", "VERSİON", "kéys"} {
		for _, plain := range []string{"keys", "signed", "version"} {
			var read struct{ Keys, Signed, Version int }
			if err := json.Unmarshal([]byte(`{"`+name+`":1}`), &read); err != nil {
				t.Fatal(err)
			}
			same := map[string]int{"keys": read.Keys, "signed": read.Signed, "version": read.Version}[plain] == 1
			_, dups, err := metadata.ParseTree([]byte(`{"` + plain + `":1,"` + name + `":2}`))
			if err != nil {
				t.Fatal(err)
			}
			if same != (len(dups) > 0) {
				t.Errorf("encoding/json takes %q for %q: %v, but the duplicates are %v", name, plain, same, dups)
			}
		}
	}
}

// A hostile file of a few megabytes must not blow up into gigabytes of paths.
func TestDuplicatesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	in := `{"a":{"` + long + `":{"a":1` + strings.Repeat(`,"a":1`, 1<<17) + `}}}`
	_, dups, err := metadata.ParseTree([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(dups) == 0 || len(dups) > 1000 {
		t.Errorf("%d duplicates are reported, want some and at most 1000", len(dups))
	}
	size := 0
	for _, d := range dups {
		size += len(d.Path)
	}
	if size > 1<<20 {
		t.Errorf("the paths of the duplicates take %d bytes", size)
	}
}

func TestParseTreeTruncatedAnywhere(t *testing.T) {
	for _, data := range [][]byte{
		tinyRoot(t).Bytes(),
		[]byte(`{"a\n\u00e9":"\ud83d\ude00 \\ \"","b":[1,-2.5e3,true,false,null,{}]}`), // in every escape, and between the halves of a pair
	} {
		if _, _, err := metadata.ParseTree(data); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for n := range data {
			v, _, err := metadata.ParseTree(data[:n])
			var pe *metadata.ParseError
			if !errors.As(err, &pe) || v != nil {
				t.Fatalf("the first %d bytes of %d parse as %v, %v", n, len(data), v, err)
			}
			if pe.Offset < 0 || pe.Offset > n {
				t.Fatalf("the first %d bytes fail at byte %d", n, pe.Offset)
			}
		}
	}
}

func TestParseErrorText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"signed":`, "not valid JSON at byte 10: the document ends too early (truncated?)"},
		{`[]`, "not valid TUF metadata: it is not a JSON object"},
		{`{"signatures":[]}`, "not valid TUF metadata: signed is missing"},
		{`{"signed":[],"signatures":[]}`, "not valid TUF metadata: signed is not an object"},
		{`{"signed":{}}`, "not valid TUF metadata: signatures is missing"},
		{`{"signed":{},"signatures":{}}`, "not valid TUF metadata: signatures is not a list"},
		{`{"signed":{},"signatures":[null]}`, "not valid TUF metadata: signatures.0 is not an object"},
		{`{"signed":{},"signatures":[{"keyid":"x"}]}`, "not valid TUF metadata: signatures.0.sig is missing"},
		{`{"signed":{},"signatures":[]}`, "not valid TUF metadata: signed._type is missing"},
		{`{"signed":{"_type":"mirror","spec_version":"1","version":1,"expires":"2026-01-31T00:00:00Z"},"signatures":[]}`,
			`not valid TUF metadata: signed _type is "mirror", not root, targets, snapshot or timestamp`},
		{`{"signed":{"_type":"targets","spec_version":"1","version":0,"expires":""},"signatures":[]}`,
			"not valid TUF metadata: signed.version is 0, not an integer of 1 or more"},
		{`{"signed":{"_type":"targets","spec_version":"1","version":"1","expires":""},"signatures":[]}`,
			"not valid TUF metadata: signed.version is not a number"},
		{`{"signed":{"_type":"targets","spec_version":"1","version":1,"expires":"soon"},"signatures":[]}`,
			`not valid TUF metadata: signed.expires is "soon", not a date like 2026-01-31T00:00:00Z`},
		{`{"signed":{"_type":"targets","spec_version":"1","version":1,"expires":"2026-01-31T00:00:00Z","targets":{},"x":0.5},"signatures":[]}`,
			"not valid TUF metadata: signed has no canonical form: canonical form: \"0.5\" is not an integer of 64 bits"},
	} {
		_, err := metadata.Parse([]byte(c.in))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.in, err, c.want)
		}
	}
}

// FuzzParse checks that no input panics, that writing is stable, and that the
// parser takes exactly the JSON that encoding/json takes, less what ParseTree
// says it refuses: invalid UTF-8, unpaired surrogates, and deep nesting.
func FuzzParse(f *testing.F) {
	for _, c := range pythonCases {
		f.Add([]byte(c.in))
	}
	for _, s := range []string{"", "{", `{"a":1,"A":2}`, "[1e5,-0,1.50]", "\"\xff\"", `"\ud83d"`, `"\ud83d\ude00"`, "\x7f", "{}{}"} {
		f.Add([]byte(s))
	}
	f.Add(tinyRoot(f).Bytes())
	f.Add(tinyTargets(f).Bytes())
	f.Add([]byte(strings.Repeat("[", 129) + strings.Repeat("]", 129)))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, _, err := metadata.ParseTree(data)
		if valid := json.Valid(data); valid != (err == nil) {
			if !valid {
				t.Fatalf("%q is no JSON, but parses as %v", data, tree)
			}
			switch reason := err.(*metadata.ParseError).Reason; {
			case strings.Contains(reason, "UTF-8") && !utf8.Valid(data):
			case strings.Contains(reason, "surrogate") && bytes.Contains(bytes.ToLower(data), []byte(`\ud`)):
			case strings.Contains(reason, "nested deeper") && bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > 128:
			default:
				t.Fatalf("%q is JSON, but refused: %v", data, err)
			}
		}
		if err == nil {
			var std any
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.UseNumber()
			if err := dec.Decode(&std); err != nil || !reflect.DeepEqual(tree, std) {
				t.Fatalf("%q parses as %#v, by encoding/json as %#v, %v", data, tree, std, err)
			}
			once := metadata.Write(tree)
			again, dups, err := metadata.ParseTree(once)
			if err != nil || !reflect.DeepEqual(again, tree) {
				t.Fatalf("%q is written %q, which parses as %v, %v", data, once, again, err)
			}
			for _, d := range dups {
				if d.Name == d.With {
					t.Fatalf("what is written of %q repeats a name: %v", data, d)
				}
			}
			if twice := metadata.Write(again); !bytes.Equal(once, twice) {
				t.Fatalf("writing is not stable: %q, then %q", once, twice)
			}
		}
		d, err := metadata.Parse(data)
		if err != nil {
			var pe *metadata.ParseError
			if !errors.As(err, &pe) || d != nil {
				t.Fatalf("Parse(%q) = %v, %v", data, d, err)
			}
			return
		}
		useAll(d)
		e, err := metadata.Parse(d.Bytes())
		if err != nil || !bytes.Equal(d.Payload(), e.Payload()) || !bytes.Equal(d.Bytes(), e.Bytes()) {
			t.Fatalf("%q does not survive writing: %v", data, err)
		}
	})
}

// A document of the size that clients still accept for targets (5 MB) must not
// stall anybody.
func TestParseLargeTargets(t *testing.T) {
	data := largeTargets(5_000_000)
	start := time.Now()
	d, err := metadata.Parse(data)
	took := time.Since(start)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d targets: %v", len(data), len(d.Targets()), took)
	if took > 5*time.Second { // some 0.3 s alone; much more beside other tests and with -race
		t.Errorf("parsing %d bytes took %v", len(data), took)
	}
}

func largeTargets(size int) []byte {
	files := metadata.Object{}
	for i := 0; i*161 < size; i++ {
		files[fmt.Sprintf("role/artifact-%06d", i)] = metadata.Object{
			"length": i, "hashes": metadata.Object{"sha256": fmt.Sprintf("%064x", i)},
		}
	}
	return metadata.Write(metadata.Object{"signatures": []any{}, "signed": metadata.Object{
		"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2026-01-31T00:00:00Z", "targets": files,
	}})
}

func BenchmarkParseLargeTargets(b *testing.B) {
	data := largeTargets(5_000_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := metadata.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
