package trustroot_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// forms are ways to write one document that edits must keep.
var forms = map[string]func([]byte) []byte{
	"two spaces": func(b []byte) []byte { return b },
	"tabs":       func(b []byte) []byte { return reindent(b, "\t") },
	"four":       func(b []byte) []byte { return reindent(b, "    ") },
	"one line": func(b []byte) []byte {
		var out bytes.Buffer
		if err := json.Compact(&out, b); err != nil {
			panic(err)
		}
		return out.Bytes()
	},
	"carriage returns": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
	"fractions":        func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("00Z\""), []byte("00.000Z\"")) },
}

func reindent(b []byte, indent string) []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", indent); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func parse(t *testing.T, data []byte) *trustroot.Document {
	t.Helper()
	kind := trustroot.TrustedRoot
	if bytes.Contains(data, []byte("signingconfig")) {
		kind = trustroot.SigningConfig
	}
	d, err := trustroot.Parse(kind, data)
	if err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	return d
}

func find(t *testing.T, d *trustroot.Document, name string) trustroot.Entry {
	t.Helper()
	e, err := d.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// edits are all edits, each with the inverse that must undo it.
func edits(t *testing.T) map[string]struct {
	config  bool
	do      func(*trustroot.Document) ([]byte, error)
	inverse func(*trustroot.Document) ([]byte, error)
	want    []string // what the difference must say
} {
	t.Helper()
	shard := trustroottest.Shard(t, "https://log2026-1.rekor.example.test", "2026-02-01T00:00:00Z")
	key, err := trustroot.ReadKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: at(shard, "publicKey")["rawBytes"].([]byte)}))
	if err != nil {
		t.Fatal(err)
	}
	var certs []byte
	for _, c := range trustroottest.Chain(t, trustroottest.Stamper, trustroottest.Anchor) {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	stamper, err := trustroot.ReadChain(certs)
	if err != nil {
		t.Fatal(err)
	}
	var issuing []*x509.Certificate
	for _, c := range trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor) {
		cert, err := x509.ParseCertificate(c)
		if err != nil {
			t.Fatal(err)
		}
		issuing = append(issuing, cert)
	}
	open := func(day string) trustroot.Window {
		start, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		return trustroot.Window{Start: start}
	}
	remove := func(name string) func(*trustroot.Document) ([]byte, error) {
		return func(d *trustroot.Document) ([]byte, error) { return d.Remove(find(t, d, name)) }
	}
	type edit = struct {
		config  bool
		do      func(*trustroot.Document) ([]byte, error)
		inverse func(*trustroot.Document) ([]byte, error)
		want    []string
	}
	const stampURL, issueURL = "https://stamper.example.test/api/v1/timestamp", "https://issuing.example.test"
	return map[string]edit{
		"add a shard": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.AddLog(trustroot.TLogs, trustroot.Log{URL: "https://log2026-1.rekor.example.test", Key: key, Window: open("2026-02-01")})
		}, remove("https://log2026-1.rekor.example.test"), []string{"+ ADDED rekor log https://log2026-1.rekor.example.test", "the C2SP key id of its key and name"}},
		"add a CT log in between": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.AddLog(trustroot.CTLogs, trustroot.Log{URL: "https://ctfe.example.test/early", Key: key, Window: open("2025-01-15")})
		}, remove("https://ctfe.example.test/early"), []string{"+ ADDED CT log https://ctfe.example.test/early", "the SHA-256 of its key"}},
		"add an authority": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.AddAuthority(trustroot.TimestampAuthorities, trustroot.Authority{URL: stampURL, Chain: stamper, Window: open("2026-02-01")})
		}, remove(stampURL), []string{"+ ADDED timestamp authority " + stampURL, "CN=stamper,O=example"}},
		"add a certificate authority": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.AddAuthority(trustroot.CertificateAuthorities, trustroot.Authority{URL: issueURL, Chain: issuing, Window: trustroot.Window{Start: day("2026-02-01"), End: day("2027-02-01")}})
		}, remove(issueURL), []string{"+ ADDED certificate authority " + issueURL, "CN=issuing,O=example", "2026-02-01 -> 2027-02-01"}},
		"close": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.Close(find(t, d, "https://ctfe.example.test/2025"), day("2026-03-01"))
		}, func(d *trustroot.Document) ([]byte, error) {
			return d.Open(find(t, d, "https://ctfe.example.test/2025"))
		},
			[]string{"~ WINDOW CT log https://ctfe.example.test/2025", "2025-02-01 -> 2026-03-01"}},
		"close an authority": {false, func(d *trustroot.Document) ([]byte, error) {
			return d.Close(find(t, d, "https://fulcio.example.test"), day("2026-03-01"))
		}, func(d *trustroot.Document) ([]byte, error) { return d.Open(find(t, d, "https://fulcio.example.test")) },
			[]string{"~ WINDOW certificate authority https://fulcio.example.test"}},
		"add a service": {true, func(d *trustroot.Document) ([]byte, error) {
			return d.AddService(trustroot.RekorURLs, trustroot.Service{URL: "https://log2026-1.rekor.example.test", Version: 2, Operator: "example", Window: open("2026-03-01")})
		}, remove("https://log2026-1.rekor.example.test"), []string{"+ ADDED rekor service https://log2026-1.rekor.example.test (API v2)"}},
		"add an older service": {true, func(d *trustroot.Document) ([]byte, error) {
			return d.AddService(trustroot.RekorURLs, trustroot.Service{URL: "https://old.rekor.example.test", Version: 1, Operator: "example", Window: open("2025-01-15")})
		}, remove("https://old.rekor.example.test"), []string{"+ ADDED rekor service https://old.rekor.example.test (API v1)"}},
		"close a service": {true, func(d *trustroot.Document) ([]byte, error) {
			return d.Close(find(t, d, "https://rekor.example.test"), day("2026-03-01"))
		}, func(d *trustroot.Document) ([]byte, error) { return d.Open(find(t, d, "https://rekor.example.test")) },
			[]string{"~ WINDOW rekor service https://rekor.example.test (API v1)"}},
	}
}

// Every edit does what it says and nothing else, in every form, and its inverse
// gives the same bytes.
func TestEdits(t *testing.T) {
	for name, edit := range edits(t) {
		for formName, write := range forms {
			t.Run(name+", "+formName, func(t *testing.T) {
				file, data := "trusted_root.json", trustroottest.Bytes(trustroottest.Root())
				if edit.config {
					file, data = "signing_config.v0.2.json", trustroottest.Bytes(trustroottest.Config())
				}
				before := write(data)
				after, err := edit.do(parse(t, before))
				if err != nil {
					t.Fatal(err)
				}
				d := trustroot.Compare(file, before, after, now)
				text := strings.Join(d.Lines(), "\n")
				if len(d.Changes) != 1 || d.Reformatted != 0 {
					t.Errorf("%d changes, %d entries reformatted:\n%s", len(d.Changes), d.Reformatted, text)
				}
				for _, want := range edit.want {
					if !strings.Contains(text, want) {
						t.Errorf("the difference lacks %q:\n%s", want, text)
					}
				}
				for _, f := range trustroot.Lint(trustroot.Input{Name: file, Data: after, Before: before, Now: now}) {
					if f.Level == trustroot.Error || f.Check == "order" {
						t.Errorf("the result has a fault: %s: %s", f.Check, f.Message)
					}
				}
				if want := write(bytes.Clone(after)); formName != "carriage returns" && formName != "fractions" && !bytes.Equal(after, want) {
					t.Errorf("the result is not in the form of the rest:\n%s", after)
				}
				if formName == "carriage returns" && bytes.Count(after, []byte("\n")) != bytes.Count(after, []byte("\r\n")) {
					t.Errorf("a line ends without its carriage return:\n%q", after)
				}
				if formName == "fractions" && strings.HasPrefix(name, "close") && !bytes.Contains(after, []byte(`"2026-03-01T00:00:00.000Z"`)) {
					t.Errorf("the time is not written as the others:\n%s", after)
				}
				back, err := edit.inverse(parse(t, after))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(back, before) {
					t.Errorf("the inverse gives\n%s\nwant\n%s", back, before)
				}
			})
		}
	}
}

// The same on documents that lack the section, or have it empty, and on every
// real file.
func TestEditsElsewhere(t *testing.T) {
	documents := map[string][]byte{}
	missing, empty := trustroottest.Root(), trustroottest.Root()
	for _, s := range []string{"tlogs", "ctlogs", "timestampAuthorities"} {
		delete(missing, s)
		empty[s] = []any{}
	}
	documents["missing"], documents["empty"] = trustroottest.Bytes(missing), trustroottest.Bytes(empty)
	documents["missing, one line"], documents["empty, one line"] = forms["one line"](documents["missing"]), forms["one line"](documents["empty"])
	for id, data := range corpus(t) {
		if kind, _ := trustroot.KindOf(artifact(id, data)); kind == trustroot.TrustedRoot {
			if _, err := trustroot.Parse(kind, data); err == nil {
				documents[id] = data
			}
		}
	}
	tried := 0
	for id, before := range documents {
		for name, edit := range edits(t) {
			if edit.config || strings.HasPrefix(name, "close") {
				continue
			}
			tried++
			after, err := edit.do(parse(t, before))
			if err != nil {
				t.Fatalf("%s, %s: %v", id, name, err)
			}
			if d := trustroot.Compare("trusted_root.json", before, after, now); len(d.Changes) != 1 || d.Changes[0].Op != trustroot.Added || d.Reformatted != 0 {
				t.Errorf("%s, %s: %q", id, name, d.Lines())
			}
			back, err := edit.inverse(parse(t, after))
			if err != nil {
				t.Fatalf("%s, %s: %v", id, name, err)
			}
			if !bytes.Equal(back, before) {
				t.Errorf("%s, %s: the inverse gives\n%s\nwant\n%s", id, name, back, before)
			}
		}
		d := parse(t, before)
		for _, e := range d.Entries {
			if !e.Window.End.IsZero() {
				continue
			}
			after, err := d.Close(e, day("2030-01-01"))
			if err != nil {
				t.Fatal(err)
			}
			closed := parse(t, after)
			i := slices.IndexFunc(closed.Entries, func(o trustroot.Entry) bool { return o.ID == e.ID && o.Section == e.Section })
			if back, err := closed.Open(closed.Entries[i]); err != nil || !bytes.Equal(back, before) {
				t.Errorf("%s: %s closed and opened: %v\n%s", id, e.Title(), err, back)
			}
			tried++
		}
	}
	if tried < 60 {
		t.Errorf("only %d edits were tried", tried)
	}
}

func TestFind(t *testing.T) {
	d := parse(t, trustroottest.Bytes(trustroottest.Root()))
	for _, e := range d.Entries {
		if got, err := d.Find(e.ID[:16]); err != nil || got.ID != e.ID {
			t.Errorf("%s: %v, %v", e.ID, got.ID, err)
		}
	}
	for _, bad := range []string{"", "https://nobody.test", d.Entries[0].ID[:7]} {
		if _, err := d.Find(bad); err == nil {
			t.Errorf("%q is found", bad)
		}
	}
	twice := trustroottest.Root()
	other := trustroottest.Log(t, "https://ctfe.example.test/2025", "ecdsa", "2025-06-01T00:00:00Z")
	trustroottest.Add(twice, "ctlogs", other)
	if _, err := parse(t, trustroottest.Bytes(twice)).Find("https://ctfe.example.test/2025"); err == nil || !strings.Contains(err.Error(), "2 entries") {
		t.Errorf("two entries of one URL: %v", err)
	}
}

func TestReadKeyRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "no PEM": "x", "a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})),
		"rubbish": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if _, err := trustroot.ReadKey([]byte(data)); err == nil {
			t.Errorf("%s is read as a key", name)
		}
		if _, err := trustroot.ReadChain([]byte(data)); err == nil {
			t.Errorf("%s is read as a chain", name)
		}
	}
}
