package trustroot_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

var update = flag.Bool("update", false, "write the worked diffs of docs/trust-material.md anew")

// What a change means, said in the lines that people read.
func TestCompareLines(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(before, after object)
		want   []string // lines that must stand there, in this order
	}{
		{"closes ahead", func(_, a object) { at(a, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-01-23T00:00:00Z" }, []string{
			"~ WINDOW CT log https://ctfe.example.test/2025",
			"    was        2025-02-01 -> open",
			"    now        2025-02-01 -> 2026-01-23, active now",
			"    effect     closes in 22 days: later signatures will not verify",
			"= 4 entries unchanged"}},
		{"closes in the past", func(_, a object) { at(a, "ctlogs", 0, "publicKey", "validFor")["end"] = "2025-12-31T12:00:00Z" }, []string{
			"    now        2025-02-01 -> 2025-12-31T12:00:00Z, ended 1 day ago",
			"    effect     closed 1 day ago: what it has logged since stops verifying"}},
		{"opens again", func(b, _ object) { at(b, "ctlogs", 0, "publicKey", "validFor")["end"] = "2025-12-31T00:00:00Z" }, []string{
			"    effect     opens again: what it logged after 2025-12-31 verifies"}},
		{"closes later", func(b, a object) {
			at(b, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-03-01T00:00:00Z"
			at(a, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-04-01T00:00:00Z"
		}, []string{"    effect     stays open longer: what it logged from 2026-03-01 to 2026-04-01 verifies too"}},
		{"starts later", func(b, _ object) {
			at(b, "certificateAuthorities", 0, "validFor")["start"] = "2025-01-10T00:00:00Z"
		}, []string{"    effect     starts later: what it issued before 2025-02-01 stops verifying"}},
		{"starts earlier and closes", func(_, a object) {
			at(a, "certificateAuthorities", 0, "validFor")["start"] = "2025-01-10T00:00:00Z"
			at(a, "certificateAuthorities", 0, "validFor")["end"] = "2026-01-02T00:00:00Z"
		}, []string{"    effect     starts earlier: what it issued since 2025-01-10 verifies too; closes in 1 day: later signatures will not verify"}},
		{"an authority leaves", func(_, a object) { delete(a, "timestampAuthorities") }, []string{
			"- REMOVED timestamp authority https://timestamp.example.test/api/v1/timestamp",
			"    effect     everything that it has ever timestamped stops verifying",
			"= 4 entries unchanged"}},
		{"an authority joins", func(b, _ object) { delete(b, "timestampAuthorities") }, []string{
			"+ ADDED timestamp authority https://timestamp.example.test/api/v1/timestamp",
			"    chain      CN=stamper,O=example, 2025-01-01 -> 2035-01-01",
			"    issued by  CN=anchor,O=example, 2025-01-01 -> 2035-01-01",
			"    window     2025-02-01 -> open, active now",
			"    effect     whatever it has timestamped since 2025-02-01 verifies"}},
		{"a shard joins", func(b, _ object) { b["tlogs"] = []any{at(b, "tlogs", 0)} }, []string{
			"+ ADDED rekor log https://log2025-1.rekor.example.test", "    key        Ed25519"}},
		{"the chain is turned round", func(b, _ object) {
			slices.Reverse(at(b, "certificateAuthorities", 0, "certChain")["certificates"].([]any))
		}, []string{"~ CHANGED certificate authority https://fulcio.example.test",
			"    chain      CN=anchor,O=example <- CN=issuing,O=example becomes CN=issuing,O=example <- CN=anchor,O=example"}},
		{"the media type", func(b, _ object) { delete(b, "mediaType") }, []string{"~ CHANGED media type", "    was        none"}},
		{"another way to write a time", func(b, _ object) {
			at(b, "ctlogs", 0, "publicKey", "validFor")["start"] = "2025-02-01T00:00:00.000Z"
		}, []string{"only the form of the text changes: every value is the same", "= 5 entries unchanged, 1 written differently"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, after := trustroottest.Root(), trustroottest.Root()
			test.change(before, after)
			lines := trustroot.Compare("trusted_root.json", trustroottest.Bytes(before), trustroottest.Bytes(after), now).Lines()
			rest := lines
			for _, want := range test.want {
				i := slices.Index(rest, want)
				if i < 0 {
					t.Fatalf("no line %q, in this place, of\n%s", want, strings.Join(lines, "\n"))
				}
				rest = rest[i+1:]
			}
		})
	}
}

func TestCompareServices(t *testing.T) {
	before, after := trustroottest.Config(), trustroottest.Config()
	at(after, "rekorTlogUrls", 1, "validFor")["end"] = "2026-01-11T12:00:00Z"
	at(after, "tsaUrls", 0)["operator"] = "somebody else"
	after["tsaConfig"] = object{"selector": "EXACT", "count": 1}
	trustroottest.Add(after, "caUrls", object{"url": "https://fulcio2.example.test", "majorApiVersion": 1, "operator": "example", "validFor": object{"start": "2026-02-01T00:00:00Z"}})
	delete(after, "oidcUrls")
	got := trustroot.Compare("signing_config.v0.2.json", trustroottest.Bytes(before), trustroottest.Bytes(after), now).Lines()
	want := []string{
		"- REMOVED OIDC service https://oauth2.example.test/auth (API v1)",
		"    operator   example",
		"    window     2025-02-01 -> open, active now",
		"    effect     signers stop using it at once",
		"~ WINDOW rekor service https://rekor.example.test (API v1)",
		"    was        2025-02-01 -> open",
		"    now        2025-02-01 -> 2026-01-11T12:00:00Z, active now",
		"    effect     signers stop using it in 10 days",
		"~ CHANGED TSA service https://timestamp.example.test/api/v1/timestamp (API v1)",
		"    operator   example becomes somebody else",
		"~ CHANGED how signers choose a TSA service",
		"    was        ANY",
		"    now        EXACT 1",
		"+ ADDED CA service https://fulcio2.example.test (API v1)",
		"    operator   example",
		"    window     2026-02-01 -> open, begins in 31 days",
		"    effect     signers begin to use it in 31 days",
		"= 2 entries unchanged",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What stands twice is told apart by its window, wherever it stands.
func TestCompareTwice(t *testing.T) {
	one, other := trustroottest.Config(), trustroottest.Config()
	twin := at(trustroottest.Config(), "caUrls", 0)
	at(twin, "validFor")["end"] = "2025-06-01T00:00:00Z"
	trustroottest.Add(one, "caUrls", twin)
	other["caUrls"] = []any{twin, at(other, "caUrls", 0)}
	if d := trustroot.Compare("signing_config.v0.2.json", trustroottest.Bytes(one), trustroottest.Bytes(other), now); !d.Empty() {
		t.Errorf("in another order: %q", d.Lines())
	}
}

// A document that cannot be read is never shown as one that changes little.
func TestCompareUnreadable(t *testing.T) {
	good := trustroottest.Bytes(trustroottest.Root())
	bad := bytes.Replace(good, []byte("2025-02-01T"), []byte("2025-02-01:"), 1) // as on staging, 2025-08-13
	d := trustroot.Compare("trusted_root.json", good, bad, now)
	if !d.Refused || d.Empty() || d.Lines()[0] != "DO NOT SIGN: clients cannot read this file." || !strings.Contains(d.Lines()[1], `"2025-02-01:00:00:00Z", not a time`) {
		t.Errorf("good to bad: %q", d.Lines())
	}
	d = trustroot.Compare("trusted_root.json", bad, good, now)
	if d.Refused || d.Empty() || len(d.Changes) != 5 || !strings.Contains(d.Lines()[0], "all is shown as new") {
		t.Errorf("bad to good: %q", d.Lines())
	}
	for name, d := range map[string]trustroot.Diff{
		"new":     trustroot.Compare("trusted_root.json", nil, good, now),
		"removed": trustroot.Compare("trusted_root.json", good, nil, now),
	} {
		if d.Empty() || len(d.Changes) != 5 {
			t.Errorf("%s: %q", name, d.Lines())
		}
	}
}

// shuffled writes the same document with its entries in another order and
// another form.
func shuffled(t *testing.T, data []byte, rng *rand.Rand) []byte {
	t.Helper()
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	for _, v := range o {
		if list, ok := v.([]any); ok {
			rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		}
	}
	out, err := json.MarshalIndent(o, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(out, []byte(`T00:00:00Z"`), []byte(`T00:00:00.000Z"`))
}

// The difference depends on what documents say, not on how: nothing differs from
// itself, and order and form count for nothing. Tried on every real change.
func TestCompareIsStable(t *testing.T) {
	const seed = 10
	rng := rand.New(rand.NewPCG(seed, seed))
	files := corpus(t)
	changed := 0
	for _, v := range versions {
		name, data, moment := artifact(v.id, files[v.id]), files[v.id], v.moment()
		kind, _ := trustroot.KindOf(name)
		if _, err := trustroot.Parse(kind, data); err != nil {
			continue
		}
		self := trustroot.Compare(name, data, data, moment)
		if !self.Empty() || self.Unchanged == 0 || self.Reformatted != 0 || self.Lines()[0] != "the same bytes" {
			t.Errorf("%s differs from itself: %q", v.id, self.Lines())
		}
		if got := trustroot.Compare(name, data, shuffled(t, data, rng), moment); !got.Empty() || got.Unchanged != self.Unchanged {
			t.Errorf("seed %d: %s differs from itself in another form: %q", seed, v.id, got.Lines())
		}
		if v.before == "" {
			continue
		}
		want := trustroot.Compare(name, files[v.before], data, moment)
		changed += len(want.Changes)
		for range 5 {
			got := trustroot.Compare(name, shuffled(t, files[v.before], rng), shuffled(t, data, rng), moment)
			if !reflect.DeepEqual(got.Changes, want.Changes) || got.Unchanged != want.Unchanged {
				t.Errorf("seed %d: %s in another order gives\n%q, want\n%q", seed, v.id, got.Changes, want.Changes)
			}
		}
	}
	if changed < 20 {
		t.Errorf("the real changes come to %d entries; the comparison has lost some", changed)
	}
}

// Text from a file reaches a pull request only through the escaper.
func TestCompareMarkdownIsEscaped(t *testing.T) {
	before, after := trustroottest.Root(), trustroottest.Root()
	at(after, "certificateAuthorities", 0, "subject")["organization"] = "@everybody <b>\n# x | y `z`"
	at(after, "ctlogs", 0)["baseUrl"] = "https://evil.test/[a](b)"
	text := strings.Join(trustroot.Compare("trusted_root.json", trustroottest.Bytes(before), trustroottest.Bytes(after), now).Markdown(), "\n")
	for _, bad := range []string{"@everybody", "<b>", "\n# x", "[a](b)", "https://evil"} {
		if strings.Contains(text, bad) {
			t.Errorf("the text holds %q as it stands:\n%s", bad, text)
		}
	}
	if !strings.Contains(text, "everybody") || !strings.Contains(text, "sha256 `") {
		t.Errorf("the text does not tell of the change:\n%s", text)
	}
}

// The worked diffs of the docs are made from the real files; the lengths and
// digests are those that the metadata of these events lists.
func TestWorkedDiffs(t *testing.T) {
	const page = "../docs/trust-material.md"
	doc, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files := corpus(t)
	// Production's removal of 2025-01-21 stands in no file here, but the file that
	// it was removed from does.
	files["production/tr"] = trustroottest.SigstoreData(t, "trusted-roots/public-good.json")
	production := parse(t, files["production/tr"])
	if files["36aee789/tr"], err = production.Remove(production.In(trustroot.TimestampAuthorities)[0]); err != nil {
		t.Fatal(err)
	}
	for _, work := range []struct {
		title, before, after string
		moment               time.Time
	}{
		{"production's authority for staging", "6533dfb7/tr", "3d980cd1/tr", day("2025-04-09")},
		{"a file that no client can read", "90c66330/tr", "8f89c913/tr", day("2025-08-13")},
		{"the same, mended", "90c66330/tr", "2ec248be/tr", day("2025-08-13")},
		{"and its signing configuration", "1caaab88/sc", "8f89c913/sc", day("2025-08-13")},
		{"an authority removed", "a146d3cb/tr", "6533dfb7/tr", day("2024-08-21")},
		{"production's authority removed", "production/tr", "36aee789/tr", day("2025-01-21")},
		{"and a signing configuration that was not there before", "", "6533dfb7/sc", day("2024-08-21")},
	} {
		name := artifact(work.after, files[work.after])
		d := trustroot.Compare(name, files[work.before], files[work.after], work.moment.Add(12*time.Hour))
		block := "    " + strings.Join(append([]string{name + ", " + d.Digest()}, d.Lines()...), "\n    ") + "\n\n"
		head := "### " + strings.ToUpper(work.title[:1]) + work.title[1:] + "\n\n"
		start := bytes.Index(doc, []byte(head))
		if start < 0 {
			t.Errorf("%s has no heading %q", page, head)
			continue
		}
		start += len(head)
		end := start
		for _, line := range bytes.SplitAfter(doc[start:], []byte("\n")) {
			if !bytes.HasPrefix(line, []byte("    ")) && string(line) != "\n" {
				break
			}
			end += len(line)
		}
		if string(doc[start:end]) != block {
			if *update {
				doc = slices.Concat(doc[:start], []byte(block), doc[end:])
				continue
			}
			t.Errorf("%s, %s, has\n%s\nwant (-update writes it)\n%s", page, work.title, doc[start:end], block)
		}
	}
	if *update {
		if err := os.WriteFile(page, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// small documents of every kind, whose bytes are the same in each run.
var seeds = []string{
	`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[{"baseUrl":"https://log2025-1.example.test","hashAlgorithm":"SHA2_256",` +
		`"publicKey":{"rawBytes":"MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=","keyDetails":"PKIX_ED25519","validFor":{"start":"2025-01-01T00:00:00Z"}},"logId":{"keyId":"AAAA"}}]}`,
	`{"tlogs":[{}],"ctlogs":[{"publicKey":{"validFor":{"end":"0001-01-01T00:00:00Z"}}}],"certificateAuthorities":[{"certChain":{"certificates":[{"rawBytes":"MIIB"}]}}]}`,
	`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogUrls":[{"url":"https://[::1","majorApiVersion":2,"validFor":{"start":"2025-01-01T00:00:00Z"}}],"rekorTlogConfig":{"selector":"EXACT","count":3}}`,
	`{"caUrls":[{"url":"x","validFor":{"start":"9999-12-31T23:59:59-23:59","end":"0001-01-01T00:00:00+23:59"}}]}`,
	`{"caUrl":"x","tlogUrls":[""]}`, `{}`, `[[`, `{"\ud800":null,"a":1e999}`,
}

// judge runs everything on one text and checks what always holds: nothing
// panics, what cannot be read is found, what can be read can be told to programs,
// and nothing differs from itself.
func judge(t *testing.T, data, other []byte) {
	t.Helper()
	for _, name := range []string{"trusted_root.json", "signing_config.v0.2.json"} {
		kind, _ := trustroot.KindOf(name)
		files := map[string][]byte{"trusted_root.json": other, "signing_config_rekor_v2.v0.2.json": other, "ctfe.pub": other, "fulcio.pem": other}
		found := trustroot.Lint(trustroot.Input{Name: name, Data: data, Before: other, Files: files, Now: now})
		trustroot.Compare(name, other, data, now).Markdown()
		if _, err := json.Marshal(trustroot.Describe(kind, data, now)); err != nil { // which status pages are made of
			t.Fatal(err)
		}
		d := trustroot.Compare(name, data, data, now)
		if _, err := trustroot.Parse(kind, data); err != nil {
			if len(found) == 0 || !d.Refused {
				t.Fatalf("%v, but lint says %v and the difference is refused: %v", err, found, d.Refused)
			}
			continue
		}
		if !d.Empty() {
			t.Fatalf("differs from itself: %q", d.Lines())
		}
	}
}

func FuzzLint(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), []byte(seeds[(i+1)%len(seeds)]))
	}
	f.Fuzz(func(t *testing.T, data, other []byte) { judge(t, data, other) })
}

// Whole documents, with keys and chains, in which something is damaged.
func TestLintMutated(t *testing.T) {
	const seed = 2025
	rng := rand.New(rand.NewPCG(seed, seed))
	documents := [][]byte{trustroottest.Bytes(trustroottest.Root()), trustroottest.Bytes(trustroottest.Config())}
	read := 0
	for i := range 400 {
		good := documents[i%2]
		data := bytes.Clone(good)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(data))
			switch rng.IntN(4) {
			case 0:
				data[at] = byte(rng.IntN(256))
			case 1:
				data = slices.Delete(data, at, min(len(data), at+rng.IntN(40)))
			case 2:
				data = slices.Insert(data, at, data[at:min(len(data), at+rng.IntN(200))]...)
			default: // one letter of a value, which leaves most of it readable
				if i := bytes.IndexAny(data[at:], "ABCabc012"); i >= 0 {
					data[at+i]++
				}
			}
		}
		kind, _ := trustroot.KindOf([]string{"trusted_root.json", "signing_config.v0.2.json"}[i%2])
		if _, err := trustroot.Parse(kind, data); err == nil {
			read++
		}
		t.Run("", func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("seed %d, number %d: panic: %v\n%s", seed, i, p, data)
				}
			}()
			judge(t, data, good)
		})
	}
	if read < 20 {
		t.Errorf("only %d of 400 mutated documents can be read: the mutations are too rough to try much", read)
	}
}
