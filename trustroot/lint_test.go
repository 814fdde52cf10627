package trustroot_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

type object = trustroottest.Object

var now = trustroottest.Now

func at(o object, path ...any) object { return trustroottest.At(o, path...) }

// sum lists findings as "level check path", sorted.
func sum(list []trustroot.Finding) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Level, f.Check, f.Path)))
	}
	slices.Sort(out)
	return out
}

// A world is a trusted root, a signing configuration and what stands beside
// them, in which nothing is wrong until a test changes it.
type world struct {
	root, config object
	files        map[string][]byte
	before       object // of the document under test; nil for none
	name         string // of the document under test
	data         []byte // instead of root or config
	now          time.Time
}

func newWorld() *world {
	return &world{root: trustroottest.Root(), config: trustroottest.Config(), files: map[string][]byte{}, name: "trusted_root.json", now: now}
}

func (w *world) lint() []trustroot.Finding {
	in := trustroot.Input{Name: w.name, Now: w.now, Files: map[string][]byte{
		"trusted_root.json": trustroottest.Bytes(w.root), "signing_config.v0.2.json": trustroottest.Bytes(w.config),
	}}
	for name, data := range w.files {
		in.Files[name] = data
	}
	in.Data = in.Files[w.name]
	if w.data != nil {
		in.Data = w.data
	}
	if w.before != nil {
		in.Before = trustroottest.Bytes(w.before)
	}
	return trustroot.Lint(in)
}

// text replaces a piece of the document under test, which must be there once.
func (w *world) text(t *testing.T, old, new string) {
	t.Helper()
	data := trustroottest.Bytes(w.root)
	if w.name != "trusted_root.json" {
		data = trustroottest.Bytes(w.config)
	}
	if bytes.Count(data, []byte(old)) < 1 {
		t.Fatalf("the document does not hold %q", old)
	}
	w.data = bytes.Replace(data, []byte(old), []byte(new), 1)
}

func day(s string) time.Time {
	t, err := time.Parse("2006-01-02", s)
	if err != nil {
		panic(err)
	}
	return t
}

// Where nothing is wrong nothing is found, in either document, and a document
// that is its own version before changes nothing.
func TestLintNothing(t *testing.T) {
	for _, name := range []string{"trusted_root.json", "signing_config.v0.2.json"} {
		w := newWorld()
		w.name = name
		if got := sum(w.lint()); len(got) != 0 {
			t.Errorf("%s: found %q, want nothing", name, got)
		}
		if w.before = w.root; name != "trusted_root.json" {
			w.before = w.config
		}
		if got := sum(w.lint()); len(got) != 0 {
			t.Errorf("%s, as before: found %q, want nothing", name, got)
		}
	}
}

// Every check has a document that breaks it, the whole set of findings being the
// wanted one, and beside it one that does not.
var lintCases = []struct {
	name   string
	change func(*testing.T, *world)
	want   []string // nil: nothing
}{
	{"a time without its T", func(t *testing.T, w *world) { w.text(t, "2025-02-01T00:00:00Z", "2025-02-01:00:00Z") },
		[]string{"error unreadable certificateAuthorities[0].validFor.start"}},
	{"a lower-case time", func(t *testing.T, w *world) { w.text(t, "2025-02-01T00:00:00Z", "2025-02-01t00:00:00z") },
		[]string{"error unreadable certificateAuthorities[0].validFor.start"}},
	{"a time in another zone", func(t *testing.T, w *world) {
		w.text(t, "2025-02-01T00:00:00Z", "2025-02-01T01:00:00.000+01:00")
	}, nil},
	{"a comma too many", func(t *testing.T, w *world) { w.text(t, `"uri"`, `,"uri"`) }, []string{"error unreadable"}},
	{"text behind the end", func(t *testing.T, w *world) { w.data = append(trustroottest.Bytes(w.root), "{}"...) }, []string{"error unreadable"}},
	{"space behind the end", func(t *testing.T, w *world) { w.data = append(trustroottest.Bytes(w.root), " \n\n"...) }, nil},
	{"not UTF-8", func(t *testing.T, w *world) { w.text(t, "anchor", "anch\xffor") }, []string{"error unreadable"}},
	{"a time after the last year", func(t *testing.T, w *world) {
		w.text(t, "2025-02-01T00:00:00Z", "9999-12-31T23:59:59-23:59")
	}, []string{"error unreadable"}},
	{"a tab in a string", func(t *testing.T, w *world) { w.text(t, "anchor", "anch\tor") }, []string{"error unreadable"}},
	{"an escape that JSON does not know", func(t *testing.T, w *world) { w.text(t, "anchor", `anch\xor`) }, []string{"error unreadable"}},
	{"an escape that JSON knows", func(t *testing.T, w *world) { w.text(t, `"mediaType"`, `"media\u0054ype"`) }, []string{}},
	{"an unknown field", func(t *testing.T, w *world) { w.root["comment"] = "hello" }, []string{"error unreadable comment"}},
	{"an unknown kind of key", func(t *testing.T, w *world) { at(w.root, "ctlogs", 0, "publicKey")["keyDetails"] = "PKIX_NEW" },
		[]string{"error unreadable ctlogs[0].publicKey.keyDetails"}},
	{"a key that is not base64", func(t *testing.T, w *world) { at(w.root, "ctlogs", 0, "publicKey")["rawBytes"] = "!!" },
		[]string{"error unreadable ctlogs[0].publicKey.rawBytes"}},
	{"a list that is an object", func(t *testing.T, w *world) { w.root["ctlogs"] = object{} }, []string{"error unreadable ctlogs"}},
	{"a fraction for a version", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "caUrls", 0)["majorApiVersion"] = 1.5
	}, []string{"error unreadable caUrls[0].majorApiVersion"}},

	{"a name twice", func(t *testing.T, w *world) { w.text(t, `"ctlogs":`, `"ctlogs": [], "ctlogs":`) }, []string{"error ambiguous ctlogs"}},
	{"a name as in the schema", func(t *testing.T, w *world) { w.text(t, `"baseUrl"`, `"base_url"`) }, []string{"error ambiguous ctlogs[0].base_url"}},
	{"null", func(t *testing.T, w *world) { at(w.root, "tlogs", 0)["checkpointKeyId"] = nil },
		[]string{"error ambiguous tlogs[0].checkpointKeyId", "error field-too-new tlogs[0].checkpointKeyId"}},
	{"a kind by number", func(t *testing.T, w *world) { at(w.root, "ctlogs", 0)["hashAlgorithm"] = 1 }, []string{"error ambiguous ctlogs[0].hashAlgorithm"}},
	{"bytes without padding", func(t *testing.T, w *world) {
		id := at(w.root, "ctlogs", 0, "logId")
		id["keyId"] = strings.TrimRight(id["keyId"].(string), "=")
	}, []string{"error ambiguous ctlogs[0].logId.keyId"}},
	{"a number in quotes", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "caUrls", 0)["majorApiVersion"] = "1"
	}, []string{"error ambiguous caUrls[0].majorApiVersion"}},

	{"no media type", func(t *testing.T, w *world) { delete(w.root, "mediaType") }, []string{"error media-type mediaType"}},
	{"a newer media type", func(t *testing.T, w *world) {
		w.root["mediaType"] = "application/vnd.dev.sigstore.trustedroot.v0.2+json"
	}, []string{"error media-type mediaType"}},
	{"a newer media type under its own name", func(t *testing.T, w *world) {
		w.root["mediaType"] = "application/vnd.dev.sigstore.trustedroot.v0.2+json"
		at(w.root, "tlogs", 0)["operator"] = "example"
		w.files["trusted_root.v0.2.json"], w.name = trustroottest.Bytes(w.root), "trusted_root.v0.2.json"
	}, nil},
	{"a signing configuration without media type", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		delete(w.config, "mediaType")
	}, []string{"error media-type mediaType"}},
	{"the first form of a signing configuration", func(t *testing.T, w *world) {
		w.files["signing_config.json"] = []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.1+json","caUrl":"https://fulcio.example.test",` +
			`"oidcUrl":"https://oauth2.example.test/auth","tlogUrls":["https://rekor.example.test"]}`)
		w.name = "signing_config.json"
	}, nil},

	{"an operator in a trusted root", func(t *testing.T, w *world) { at(w.root, "tlogs", 0)["operator"] = "example" },
		[]string{"error field-too-new tlogs[0].operator"}},
	{"a kind of key that came later", func(t *testing.T, w *world) { at(w.root, "tlogs", 1, "publicKey")["keyDetails"] = "PKIX_ED25519_PH" },
		[]string{"error field-too-new tlogs[1].publicKey.keyDetails"}},

	{"a window without a start", func(t *testing.T, w *world) { at(w.root, "ctlogs", 0, "publicKey")["validFor"] = object{} },
		[]string{"error window ctlogs[0]"}},
	{"a window that ends before it starts", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z"))
		at(w.root, "ctlogs", 1, "publicKey", "validFor")["end"] = "2025-05-31T00:00:00Z"
	}, []string{"error window ctlogs[1]"}},
	{"a window of a moment", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z"))
		at(w.root, "ctlogs", 1, "publicKey", "validFor")["end"] = "2025-06-01T00:00:00Z"
	}, []string{"error window ctlogs[1]"}},
	{"a new log that counts from the time of an old one", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		w.root["ctlogs"] = []any{trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2024-12-31T00:00:00Z"), at(w.root, "ctlogs", 0)}
	}, []string{"warning window ctlogs[0]"}},
	{"a new log that counts from half a year ago", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z"))
	}, nil},
	{"a window in another century", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["start"] = "1970-01-01T00:00:00Z"
	}, []string{"error window ctlogs[0]"}},
	{"an end in another century", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "9999-12-31T00:00:00Z"
	}, []string{"error window ctlogs[0]"}},
	{"a start that is still to come", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-06-01T00:00:00Z"))
	}, nil},

	{"a log twice", func(t *testing.T, w *world) { trustroottest.Add(w.root, "ctlogs", at(w.root, "ctlogs", 0)) },
		[]string{"error duplicate ctlogs[1]"}},
	{"a chain twice, in another order", func(t *testing.T, w *world) {
		twin := at(trustroottest.Root(), "certificateAuthorities", 0)
		slices.Reverse(at(twin, "certChain")["certificates"].([]any))
		trustroottest.Add(w.root, "certificateAuthorities", twin)
	}, []string{"error chain-order certificateAuthorities[1].certChain", "error duplicate certificateAuthorities[1]"}},
	{"two logs with one log ID", func(t *testing.T, w *world) {
		other := trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z")
		other["logId"] = at(w.root, "ctlogs", 0)["logId"]
		trustroottest.Add(w.root, "ctlogs", other)
	}, []string{"error duplicate ctlogs[1].logId", "error log-id ctlogs[1].logId"}},
	{"a service twice, one time after the other", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		first := at(trustroottest.Config(), "caUrls", 0)
		at(w.config, "caUrls", 0, "validFor")["start"] = "2025-05-01T00:00:00Z"
		at(first, "validFor")["end"] = "2025-04-01T00:00:00Z"
		trustroottest.Add(w.config, "caUrls", first)
	}, nil},

	{"the key of a Rekor log for a CT log", func(t *testing.T, w *world) {
		other := trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2025-06-01T00:00:00Z")
		other["publicKey"], other["logId"] = at(w.root, "tlogs", 0)["publicKey"], at(w.root, "tlogs", 0)["logId"]
		trustroottest.Add(w.root, "ctlogs", other)
	}, []string{"error duplicate ctlogs[1].publicKey"}},
	{"a service twice at one time", config(func(w *world) {
		first := at(trustroottest.Config(), "caUrls", 0)
		at(w.config, "caUrls", 0, "validFor")["start"] = "2025-05-01T00:00:00Z"
		at(first, "validFor")["end"] = "2025-05-02T00:00:00Z"
		trustroottest.Add(w.config, "caUrls", first)
	}), []string{"error duplicate caUrls[1].validFor"}},
	{"a service twice, one time from the end of the other", config(func(w *world) {
		first := at(trustroottest.Config(), "caUrls", 0)
		at(w.config, "caUrls", 0, "validFor")["start"] = "2025-05-01T00:00:00Z"
		at(first, "validFor")["end"] = "2025-05-01T00:00:00Z"
		trustroottest.Add(w.config, "caUrls", first)
	}), nil},

	{"the newest log first", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2024", "ecdsa", "2024-06-01T00:00:00Z"))
	}, []string{"warning order ctlogs[1]"}},
	{"the oldest service first", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		other := at(trustroottest.Config(), "caUrls", 0)
		at(w.config, "caUrls", 0, "validFor")["end"] = "2025-06-01T00:00:00Z"
		at(other, "validFor")["start"] = "2025-06-01T00:00:00Z"
		trustroottest.Add(w.config, "caUrls", other)
	}, []string{"warning order caUrls[1]"}},

	{"the last CT log closed", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "2025-12-01T00:00:00Z"
	}, []string{"error none-active ctlogs"}},
	{"the last CT log closes in a month", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-02-01T00:00:00Z"
	}, []string{"warning none-active ctlogs"}},
	{"the last CT log closes in two years", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "2028-01-01T00:00:00Z"
	}, nil},
	{"a CT log closes before its successor begins", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-02-01T00:00:00Z"
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-03-01T00:00:00Z"))
	}, []string{"warning none-active ctlogs"}},
	{"a CT log closes when its successor begins", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-02-28T23:59:59Z"
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-03-01T00:00:00Z"))
	}, nil},
	{"no certificate authority", func(t *testing.T, w *world) { delete(w.root, "certificateAuthorities") },
		[]string{"error none-active certificateAuthorities"}},
	{"a Rekor v2 log without timestamps", func(t *testing.T, w *world) { delete(w.root, "timestampAuthorities") },
		[]string{"error none-active timestampAuthorities"}},
	{"no Rekor v2 log and no timestamps", func(t *testing.T, w *world) {
		w.config["rekorTlogUrls"] = []any{at(w.config, "rekorTlogUrls", 1)}
		w.root["tlogs"] = []any{at(w.root, "tlogs", 0)}
		delete(w.root, "timestampAuthorities")
	}, nil},
	{"timestamps alone", func(t *testing.T, w *world) { delete(w.root, "tlogs"); delete(w.root, "ctlogs") }, nil},
	{"no OIDC service now", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "oidcUrls", 0, "validFor")["end"] = "2025-12-01T00:00:00Z"
	}, []string{"error none-active oidcUrls"}},

	{"a URL with a slash at the end", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "oidcUrls", 0)["url"] = "https://oauth2.example.test/auth/"
	}, []string{"warning url oidcUrls[0]"}},
	{"a URL without https", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "oidcUrls", 0)["url"] = "http://oauth2.example.test/auth"
	}, []string{"error url oidcUrls[0]"}},
	{"a timestamp authority without its path", func(t *testing.T, w *world) {
		at(w.root, "timestampAuthorities", 0)["uri"] = "https://timestamp.example.test"
	}, []string{"warning url timestampAuthorities[0]"}},
	{"an authority without a URL", func(t *testing.T, w *world) { delete(at(w.root, "timestampAuthorities", 0), "uri") }, nil},

	{"a log without a log ID", func(t *testing.T, w *world) { delete(at(w.root, "ctlogs", 0), "logId") }, []string{"error incomplete ctlogs[0].logId"}},
	{"a log without a key", func(t *testing.T, w *world) { delete(at(w.root, "ctlogs", 0, "publicKey"), "rawBytes") },
		[]string{"error incomplete ctlogs[0].publicKey"}},
	{"an authority without certificates", func(t *testing.T, w *world) { delete(at(w.root, "timestampAuthorities", 0), "certChain") },
		[]string{"error incomplete timestampAuthorities[0].certChain"}},

	{"a key of another kind", func(t *testing.T, w *world) {
		at(w.root, "tlogs", 1, "publicKey")["keyDetails"] = "PKIX_ECDSA_P256_SHA_256"
	},
		[]string{"error key tlogs[1].publicKey"}},
	{"a PKIX key called PKCS#1", func(t *testing.T, w *world) { at(w.root, "ctlogs", 0, "publicKey")["keyDetails"] = "PKCS1_RSA_PKCS1V5" },
		[]string{"error key ctlogs[0].publicKey", "warning key-deprecated ctlogs[0].publicKey"}},
	{"a kind of key that Go clients refuse", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://ctfe.example.test/test", "rsa", "2025-03-01T00:00:00Z")
		at(log, "publicKey")["keyDetails"] = "PKCS1_RSA_PSS"
		trustroottest.Add(w.root, "ctlogs", log)
	}, []string{"error key ctlogs[1].publicKey", "warning key-deprecated ctlogs[1].publicKey"}},
	{"a certificate cut short", func(t *testing.T, w *world) {
		cert := at(w.root, "certificateAuthorities", 0, "certChain", "certificates", 0)
		cert["rawBytes"] = cert["rawBytes"].(string)[:400]
	}, []string{"error key certificateAuthorities[0].certChain"}},

	{"an RSA log", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/test", "rsa", "2025-03-01T00:00:00Z"))
	}, []string{"warning key-deprecated ctlogs[1].publicKey"}},

	{"a Rekor v2 log with the SHA-256 of its key", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://log2025-2.rekor.example.test", "ed25519", "2025-06-01T00:00:00Z")
		trustroottest.Add(w.root, "tlogs", log)
	}, []string{"error log-id tlogs[2].logId"}},
	{"the same where only the signing configuration says v2", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://tiles.example.test", "ed25519", "2025-06-01T00:00:00Z")
		trustroottest.Add(w.root, "tlogs", log)
		at(w.config, "rekorTlogUrls", 0)["url"] = "https://tiles.example.test"
	}, []string{"error log-id tlogs[2].logId"}},
	{"the same where nothing says v2", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://tiles.example.test", "ed25519", "2025-06-01T00:00:00Z")
		trustroottest.Add(w.root, "tlogs", log)
	}, []string{"warning log-id tlogs[2].logId"}},
	{"another shard's name", func(t *testing.T, w *world) {
		at(w.root, "tlogs", 1)["baseUrl"] = "https://log2025-9.rekor.example.test"
	},
		[]string{"error log-id tlogs[1].logId"}},
	{"an RSA log with the SHA-256 of PKCS#1", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://ctfe.example.test/test", "rsa", "2025-03-01T00:00:00Z")
		id := sha256.Sum256(at(log, "publicKey")["rawBytes"].([]byte))
		log["logId"] = object{"keyId": id[:]}
		trustroottest.Add(w.root, "ctlogs", log)
	}, []string{"error log-id ctlogs[1].logId", "warning key-deprecated ctlogs[1].publicKey"}},

	{"a checkpoint key id of another key", func(t *testing.T, w *world) {
		at(w.root, "tlogs", 1)["checkpointKeyId"] = object{"keyId": []byte{1, 2, 3, 4}}
	}, []string{"error checkpoint-id tlogs[1].checkpointKeyId", "error field-too-new tlogs[1].checkpointKeyId"}},
	{"the right checkpoint key id", func(t *testing.T, w *world) {
		id, err := base64.StdEncoding.DecodeString(at(w.root, "tlogs", 1, "logId")["keyId"].(string))
		if err != nil {
			t.Fatal(err)
		}
		at(w.root, "tlogs", 1)["checkpointKeyId"] = object{"keyId": id[:4]}
	}, []string{"error field-too-new tlogs[1].checkpointKeyId"}},

	{"a reversed chain", func(t *testing.T, w *world) {
		slices.Reverse(at(w.root, "certificateAuthorities", 0, "certChain")["certificates"].([]any))
	}, []string{"error chain-order certificateAuthorities[0].certChain"}},
	{"a chain of the root alone", func(t *testing.T, w *world) {
		chain := trustroottest.Chain(t, trustroottest.Anchor)
		w.root["certificateAuthorities"] = []any{trustroottest.Authority("https://fulcio.example.test", chain, "2025-02-01T00:00:00Z")}
	}, nil},

	{"two chains mixed", func(t *testing.T, w *world) {
		a := trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor)
		b := trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor)
		w.root["certificateAuthorities"] = []any{trustroottest.Authority("https://fulcio.example.test", [][]byte{a[0], b[1]}, "2025-02-01T00:00:00Z")}
	}, []string{"error chain-broken certificateAuthorities[0].certChain"}},
	{"a chain longer than its root allows", func(t *testing.T, w *world) {
		last := trustroottest.Anchor
		last.Last = true
		w.authority(t, "certificateAuthorities", trustroottest.Issuing, last)
	}, []string{"error chain-broken certificateAuthorities[0].certChain"}},
	{"a root of timestamps that allows no authority", func(t *testing.T, w *world) {
		last := trustroottest.Anchor
		last.Last = true
		w.authority(t, "timestampAuthorities", trustroottest.Stamper, last)
	}, nil},
	{"a chain without its root", func(t *testing.T, w *world) {
		chain := trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor)
		w.root["certificateAuthorities"] = []any{trustroottest.Authority("https://fulcio.example.test", chain[:1], "2025-02-01T00:00:00Z")}
	}, []string{"error chain-broken certificateAuthorities[0].certChain"}},

	{"a web server for a timestamp authority", func(t *testing.T, w *world) {
		web := trustroottest.Stamper
		web.Usage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		w.authority(t, "timestampAuthorities", web, trustroottest.Anchor)
	}, []string{"error chain-usage timestampAuthorities[0].certChain"}},
	{"a timestamp authority that may do more", func(t *testing.T, w *world) {
		more := trustroottest.Stamper
		more.Usage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageCodeSigning}
		w.authority(t, "timestampAuthorities", more, trustroottest.Anchor)
	}, []string{"error chain-usage timestampAuthorities[0].certChain"}},
	{"a timestamp authority whose usage is not critical", func(t *testing.T, w *world) {
		loose := trustroottest.Stamper
		loose.Loose = true
		w.authority(t, "timestampAuthorities", loose, trustroottest.Anchor)
	}, []string{"error chain-usage timestampAuthorities[0].certChain"}},
	{"a certificate authority that may not sign certificates", func(t *testing.T, w *world) {
		mute := trustroottest.Issuing
		mute.Mute = true
		w.authority(t, "certificateAuthorities", mute, trustroottest.Anchor)
	}, []string{"error chain-usage certificateAuthorities[0].certChain"}},
	{"a certificate authority whose usage is not critical", func(t *testing.T, w *world) {
		loose := trustroottest.Issuing
		loose.Loose = true
		w.authority(t, "certificateAuthorities", loose, trustroottest.Anchor)
	}, nil},
	{"a timestamp authority for a certificate authority", func(t *testing.T, w *world) {
		wrong := trustroottest.Issuing
		wrong.Usage = trustroottest.Stamper.Usage
		w.authority(t, "certificateAuthorities", wrong, trustroottest.Anchor)
	}, []string{"error chain-usage certificateAuthorities[0].certChain"}},
	{"a leaf for a certificate authority", func(t *testing.T, w *world) {
		leaf := trustroottest.Issuing
		leaf.CA = false
		w.authority(t, "certificateAuthorities", leaf, trustroottest.Anchor)
	}, []string{"error chain-usage certificateAuthorities[0].certChain"}},
	{"an intermediate for something else", func(t *testing.T, w *world) {
		between := trustroottest.Cert{Name: "between", From: day("2025-01-01"), To: day("2035-01-01"), CA: true, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		w.authority(t, "timestampAuthorities", trustroottest.Stamper, between, trustroottest.Anchor)
	}, []string{"error chain-usage timestampAuthorities[0].certChain"}},
	{"a chain of three", func(t *testing.T, w *world) {
		between := trustroottest.Cert{Name: "between", From: day("2025-01-01"), To: day("2035-01-01"), CA: true, Usage: trustroottest.Stamper.Usage}
		w.authority(t, "timestampAuthorities", trustroottest.Stamper, between, trustroottest.Anchor)
	}, nil},

	{"a window from before its certificate", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["start"] = "2024-12-31T23:59:59Z"
	}, []string{"error chain-window certificateAuthorities[0].validFor"}},
	{"a window from the first moment of its certificate", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["start"] = "2025-01-01T00:00:00Z"
		at(w.config, "caUrls", 0, "validFor")["start"] = "2025-02-01T00:00:00Z"
	}, nil},
	{"a window beyond its certificate", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2035-01-01T00:00:01Z"
	}, []string{"error chain-window certificateAuthorities[0].validFor"}},

	{"an expired authority with an open window", func(t *testing.T, w *world) {
		old := trustroottest.Stamper
		old.To = day("2025-12-31")
		w.authority(t, "timestampAuthorities", old, trustroottest.Anchor)
	}, []string{"error chain-expired timestampAuthorities[0].certChain"}},
	{"an expired authority beside its successor", func(t *testing.T, w *world) {
		old := trustroottest.Stamper
		old.To = day("2025-12-31")
		closed := trustroottest.Authority("https://timestamp.example.test/api/v1/timestamp", trustroottest.Chain(t, old, trustroottest.Anchor), "2025-01-15T00:00:00Z")
		at(closed, "validFor")["end"] = "2025-12-30T00:00:00Z"
		w.root["timestampAuthorities"] = []any{closed, at(w.root, "timestampAuthorities", 0)}
	}, nil},
	{"an authority that expires next year", func(t *testing.T, w *world) {
		short := trustroottest.Stamper
		short.To = day("2027-06-09")
		w.authority(t, "timestampAuthorities", short, trustroottest.Anchor)
	}, []string{"warning chain-ending timestampAuthorities[0].certChain"}},

	{"the expiry of a certificate as the end", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2035-01-01T00:00:00Z"
	}, []string{"warning end-is-expiry certificateAuthorities[0].validFor"}},
	{"another end", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2034-12-01T00:00:00Z"
	}, nil},

	{"a subject of somebody else", func(t *testing.T, w *world) {
		at(w.root, "certificateAuthorities", 0, "subject")["organization"] = "sigstore.dev"
	},
		[]string{"warning subject certificateAuthorities[0].subject"}},

	{"a CT log without its key file", func(t *testing.T, w *world) {
		w.files["ctfe.pub"] = publicPEM(t, trustroottest.Log(t, "https://x.test", "ecdsa", "2025-01-01T00:00:00Z"))
	}, []string{"warning legacy-keys ctlogs", "warning legacy-keys ctlogs[0].publicKey"}},
	{"a CT log with its key file", func(t *testing.T, w *world) { w.files["ctfe.pub"] = publicPEM(t, at(w.root, "ctlogs", 0)) }, nil},
	{"a certificate authority without its file", func(t *testing.T, w *world) {
		certs := at(w.root, "certificateAuthorities", 0, "certChain")["certificates"].([]any)
		w.files["fulcio.crt.pem"] = certPEM(t, certs[1].(object))
	}, []string{"warning legacy-keys certificateAuthorities[0].certChain"}},
	{"a certificate authority with its files", func(t *testing.T, w *world) {
		certs := at(w.root, "certificateAuthorities", 0, "certChain")["certificates"].([]any)
		w.files["fulcio.crt.pem"], w.files["fulcio_intermediate.crt.pem"] = certPEM(t, certs[1].(object)), certPEM(t, certs[0].(object))
	}, nil},

	{"a log removed", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		trustroottest.Add(w.before, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/old", "ecdsa", "2025-03-01T00:00:00Z"))
	}, []string{"error removed ctlogs"}},
	{"a log that has not begun removed", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		trustroottest.Add(w.before, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/new", "ecdsa", "2026-03-01T00:00:00Z"))
	}, []string{"warning removed ctlogs"}},
	{"a log closed in the past", func(t *testing.T, w *world) { w.closes(t, "2025-12-01T00:00:00Z") }, []string{"warning end-in-past ctlogs[1]"}},
	{"a log closed within two weeks", func(t *testing.T, w *world) { w.closes(t, "2026-01-15T00:00:00Z") }, []string{"warning end-soon ctlogs[1]"}},
	{"a log closed in three weeks", func(t *testing.T, w *world) { w.closes(t, "2026-01-22T00:00:00Z") }, nil},
	{"a start moved later", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		at(w.before, "ctlogs", 0, "publicKey", "validFor")["start"] = "2025-01-25T00:00:00Z"
	}, []string{"warning start-later ctlogs[0]"}},
	{"a start moved earlier", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		at(w.before, "ctlogs", 0, "publicKey", "validFor")["start"] = "2025-02-25T00:00:00Z"
	}, nil},
	{"a log opened again", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		at(w.before, "ctlogs", 0, "publicKey", "validFor")["end"] = "2025-12-01T00:00:00Z"
	}, []string{"warning reopened ctlogs[0]"}},
	{"another log ID for the same key", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		at(w.before, "tlogs", 1, "logId")["keyId"] = make([]byte, 32)
	}, []string{"warning identity tlogs[1].logId"}},
	{"a chain turned round", func(t *testing.T, w *world) {
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		slices.Reverse(at(w.before, "certificateAuthorities", 0, "certChain")["certificates"].([]any))
	}, []string{"warning identity certificateAuthorities[0].certChain"}},

	{"a CT log to come without its key file", func(t *testing.T, w *world) {
		w.files["ctfe.pub"] = publicPEM(t, at(w.root, "ctlogs", 0))
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-06-01T00:00:00Z"))
	}, []string{"warning legacy-keys ctlogs[1].publicKey"}},
	{"a closed CT log without its key file", func(t *testing.T, w *world) {
		w.files["ctfe.pub"] = publicPEM(t, at(w.root, "ctlogs", 0))
		old := trustroottest.Log(t, "https://ctfe.example.test/old", "ecdsa", "2025-06-01T00:00:00Z")
		at(old, "publicKey", "validFor")["end"] = "2025-07-01T00:00:00Z"
		trustroottest.Add(w.root, "ctlogs", old)
	}, nil},
	{"a start to come moved later", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-06-01T00:00:00Z"))
		w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
		at(w.before, "ctlogs", 1, "publicKey", "validFor")["start"] = "2026-05-01T00:00:00Z"
	}, nil},
	{"a log that another folder's configuration calls v2", func(t *testing.T, w *world) {
		trustroottest.Add(w.root, "tlogs", trustroottest.Log(t, "https://tiles.example.test", "ed25519", "2025-06-01T00:00:00Z"))
		other := trustroottest.Config()
		at(other, "rekorTlogUrls", 0)["url"] = "https://tiles.example.test"
		w.files["other/signing_config.v0.2.json"] = trustroottest.Bytes(other)
	}, []string{"warning log-id tlogs[2].logId"}},
	{"an RSA key of another size", func(t *testing.T, w *world) {
		log := trustroottest.Log(t, "https://ctfe.example.test/test", "rsa", "2025-03-01T00:00:00Z")
		key, err := x509.ParsePKCS1PublicKey(at(log, "publicKey")["rawBytes"].([]byte))
		if err != nil {
			t.Fatal(err)
		}
		if at(log, "publicKey")["rawBytes"], err = x509.MarshalPKIXPublicKey(key); err != nil {
			t.Fatal(err)
		}
		at(log, "publicKey")["keyDetails"] = "PKIX_RSA_PKCS1V15_3072_SHA256"
		trustroottest.Add(w.root, "ctlogs", log)
	}, []string{"error field-too-new ctlogs[1].publicKey.keyDetails", "error key ctlogs[1].publicKey"}},
	{"a time with a comma", func(t *testing.T, w *world) { w.text(t, "2025-02-01T00:00:00Z", "2025-02-01T00:00:00,5Z") },
		[]string{"error unreadable certificateAuthorities[0].validFor.start"}},
	{"bytes on two lines", func(t *testing.T, w *world) {
		id := at(w.root, "ctlogs", 0, "logId")
		id["keyId"] = id["keyId"].(string)[:20] + "\n" + id["keyId"].(string)[20:]
	}, []string{"error unreadable ctlogs[0].logId.keyId"}},

	{"a front of Rekor v1", config(func(w *world) { at(w.config, "rekorTlogUrls", 1)["url"] = "https://global.rekor.example.test" }),
		[]string{"error untrusted rekorTlogUrls[1].url"}},
	{"a front in another part of the domain", config(func(w *world) { at(w.config, "rekorTlogUrls", 0)["url"] = "https://front.example.test" }),
		[]string{"error untrusted rekorTlogUrls[0].url"}},
	{"an older Rekor v2 before a newer Rekor v1", config(func(w *world) {
		at(w.config, "rekorTlogUrls", 1, "validFor")["start"] = "2025-04-01T00:00:00Z"
	}), nil},
	{"used in the second of two windows", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		first := trustroottest.Authority("https://fulcio.example.test", trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor), "2025-01-10T00:00:00Z")
		at(first, "validFor")["end"] = "2025-01-20T00:00:00Z"
		w.root["certificateAuthorities"] = []any{first, at(w.root, "certificateAuthorities", 0)}
	}, nil},

	{"a service without a version", config(func(w *world) { delete(at(w.config, "caUrls", 0), "majorApiVersion") }), []string{"error api-version caUrls[0].majorApiVersion"}},
	{"a Rekor v2 log called v1", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.config, "rekorTlogUrls", 0)["majorApiVersion"] = 1
	}, []string{"error api-version rekorTlogUrls[0].majorApiVersion"}},
	{"a service with two versions", config(func(w *world) {
		other := at(trustroottest.Config(), "caUrls", 0)
		other["majorApiVersion"] = 2
		trustroottest.Add(w.config, "caUrls", other)
	}), []string{"error api-version caUrls[1].majorApiVersion"}},
	{"production's OIDC service in staging's file", config(func(w *world) {
		w.files["trusted_root.json"] = []byte("none")
		for _, s := range []string{"caUrls", "rekorTlogUrls", "tsaUrls"} {
			for _, one := range w.config[s].([]any) {
				one.(object)["url"] = strings.Replace(one.(object)["url"].(string), "example.test", "sigstage.dev", 1)
			}
		}
		at(w.config, "oidcUrls", 0)["url"] = "https://oauth2.sigstore.dev/auth"
	}), []string{"error environment oidcUrls[0]"}},
	{"another instance with production's OIDC service", config(func(w *world) {
		at(w.config, "oidcUrls", 0)["url"] = "https://oauth2.sigstore.dev/auth"
	}), nil},
	{"a log of production by its name in staging's file", func(t *testing.T, w *world) {
		at(w.root, "ctlogs", 0)["baseUrl"] = "https://ctfe.sigstage.dev/2025"
		at(w.root, "certificateAuthorities", 0)["uri"] = "https://fulcio.sigstage.dev"
		trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.sigstore.dev/2026", "ecdsa", "2025-06-01T00:00:00Z"))
		w.config = nil
	}, []string{"error environment ctlogs[1]"}},
	{"a service without an operator", config(func(w *world) { delete(at(w.config, "caUrls", 0), "operator") }), []string{"warning operator caUrls[0].operator"}},
	{"no selector", config(func(w *world) { delete(w.config, "tsaConfig") }), []string{"error selector tsaConfig"}},
	{"an undefined selector", config(func(w *world) { w.config["tsaConfig"] = object{} }), []string{"error selector tsaConfig"}},
	{"more than there are", config(func(w *world) { w.config["tsaConfig"] = object{"selector": "EXACT", "count": 2} }), []string{"error selector tsaConfig"}},
	{"as many as there are", config(func(w *world) { w.config["tsaConfig"] = object{"selector": "EXACT", "count": 1} }), nil},
	{"a count for ANY", config(func(w *world) { w.config["tsaConfig"] = object{"selector": "ANY", "count": 1} }), []string{"error selector tsaConfig"}},

	{"a service that verifiers do not know", config(func(w *world) { at(w.config, "caUrls", 0)["url"] = "https://fulcio2.example.test" }),
		[]string{"error untrusted caUrls[0].url"}},
	{"a front of several Rekor v2 logs", config(func(w *world) { at(w.config, "rekorTlogUrls", 0)["url"] = "https://global.rekor.example.test" }),
		[]string{"warning untrusted rekorTlogUrls[0].url"}},
	{"a Rekor v2 log of somebody else", config(func(w *world) { at(w.config, "rekorTlogUrls", 0)["url"] = "https://global.rekor.example.com" }),
		[]string{"error untrusted rekorTlogUrls[0].url"}},
	{"used before it is trusted", config(func(w *world) { at(w.config, "caUrls", 0, "validFor")["start"] = "2025-01-31T00:00:00Z" }),
		[]string{"error untimely caUrls[0].validFor"}},
	{"used after it is trusted", config(func(w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2026-06-01T00:00:00Z"
	}), []string{"error untimely caUrls[0].validFor"}},
	{"used until it is no longer trusted", config(func(w *world) {
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2026-06-01T00:00:00Z"
		at(w.config, "caUrls", 0, "validFor")["end"] = "2026-06-01T00:00:00Z"
	}), []string{"warning none-active caUrls"}},
	{"trusted in two windows, one after the other", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2026-06-01T00:00:00Z"
		trustroottest.Add(w.root, "certificateAuthorities", trustroottest.Authority("https://fulcio.example.test",
			trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor), "2026-05-01T00:00:00Z"))
	}, nil},
	{"trusted in two windows with a gap", func(t *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		at(w.root, "certificateAuthorities", 0, "validFor")["end"] = "2026-06-01T00:00:00Z"
		trustroottest.Add(w.root, "certificateAuthorities", trustroottest.Authority("https://fulcio.example.test",
			trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor), "2026-07-01T00:00:00Z"))
	}, []string{"error untimely caUrls[0].validFor"}},

	{"a sibling that was forgotten", config(func(w *world) {
		w.files["signing_config_rekor_v2.v0.2.json"] = trustroottest.Bytes(trustroottest.Config())
		at(w.config, "oidcUrls", 0)["url"] = "https://oauth3.example.test/auth"
	}), []string{"warning sibling oidcUrls", "warning sibling oidcUrls"}},
	{"a sibling with a further Rekor v2 log", config(func(w *world) {
		w.files["signing_config_rekor_v2.v0.2.json"] = trustroottest.Bytes(trustroottest.Config())
		w.config["rekorTlogUrls"] = []any{at(w.config, "rekorTlogUrls", 1)}
	}), nil},
	{"a plain one with a Rekor v2 log that its sibling lacks", func(t *testing.T, w *world) {
		w.name = "signing_config_rekor_v2.v0.2.json"
		own := trustroottest.Config()
		own["rekorTlogUrls"] = []any{at(own, "rekorTlogUrls", 1)}
		w.files[w.name] = trustroottest.Bytes(own)
	}, []string{"warning sibling rekorTlogUrls"}},
}

func config(change func(*world)) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		w.name = "signing_config.v0.2.json"
		change(w)
	}
}

// authority replaces the authority of a section by one with this chain.
func (w *world) authority(t *testing.T, section string, certs ...trustroottest.Cert) {
	t.Helper()
	url := at(w.root, section, 0)["uri"].(string)
	w.root[section] = []any{trustroottest.Authority(url, trustroottest.Chain(t, certs...), "2025-02-01T00:00:00Z")}
}

// closes adds a second CT log that was open before and ends now.
func (w *world) closes(t *testing.T, end string) {
	t.Helper()
	trustroottest.Add(w.root, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/old", "ecdsa", "2025-03-01T00:00:00Z"))
	w.before = trustroottest.Parse(trustroottest.Bytes(w.root))
	at(w.root, "ctlogs", 1, "publicKey", "validFor")["end"] = end
}

func raw(t *testing.T, v any) []byte {
	t.Helper()
	if data, ok := v.([]byte); ok {
		return data
	}
	data, err := base64.StdEncoding.DecodeString(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func publicPEM(t *testing.T, log object) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw(t, at(log, "publicKey")["rawBytes"])})
}

func certPEM(t *testing.T, cert object) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw(t, cert["rawBytes"])})
}

func TestLint(t *testing.T) {
	for _, test := range lintCases {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			test.change(t, w)
			found := w.lint()
			if got := sum(found); !slices.Equal(got, append([]string{}, test.want...)) {
				t.Errorf("found %q, want %q", got, test.want)
			}
			for _, f := range found {
				if f.Message == "" || f.Hint == "" {
					t.Errorf("%s says %q, hint %q: both are needed", f.Check, f.Message, f.Hint)
				}
			}
		})
	}
}

// A check without a case that breaks it could be gone without anybody noticing.
func TestEveryCheckHasACase(t *testing.T) {
	seen := map[string]bool{}
	for _, test := range lintCases {
		for _, w := range test.want {
			seen[strings.Fields(w)[1]] = true
		}
	}
	for _, c := range trustroot.Checks() {
		if !seen[c.Name] {
			t.Errorf("no case breaks %s", c.Name)
		}
		delete(seen, c.Name)
		for what, text := range map[string]string{"title": c.Title, "stops": c.Stops, "source": c.Source, "example": c.Example, "hint": c.Hint} {
			if text == "" {
				t.Errorf("%s: no %s", c.Name, what)
			}
		}
	}
	said := map[string]bool{}
	for _, test := range lintCases {
		w := newWorld()
		test.change(t, w)
		for _, f := range w.lint() {
			said[f.Check+": "+general(f.Message)+" | "+f.Hint] = true
		}
	}
	for _, c := range trustroot.Checks() {
		if !said[c.Name+": "+general(c.Example)+" | "+c.Hint] {
			t.Errorf("no case of %s says its example %q with the hint %q", c.Name, c.Example, c.Hint)
			for s := range said {
				if strings.HasPrefix(s, c.Name+": ") {
					t.Log(s)
				}
			}
		}
	}
	for name := range seen {
		t.Errorf("a case wants %s, which is no check", name)
	}
}

// general leaves out what differs in every run: keys are made anew.
func general(message string) string {
	return regexp.MustCompile(`[A-Za-z0-9+/]{40,}=*|[A-Za-z0-9+/]{6}==|[0-9a-f]{16}`).ReplaceAllString(message, "KEY")
}

// A file has as many mistakes as its author likes; the list of them has not.
func TestLintIsBounded(t *testing.T) {
	w := newWorld()
	for range 500 {
		trustroottest.Add(w.root, "ctlogs", at(w.root, "ctlogs", 0))
	}
	got := w.lint()
	if len(got) != 21 || got[20].Message != "480 more like these" {
		t.Errorf("found %d, the last %q", len(got), got[len(got)-1].Message)
	}
}

// What nests without end is refused before it costs anything.
func TestParseIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 900_000), strings.Repeat(`{"a":`, 100_000), `{"tlogs":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}"} {
		if _, err := trustroot.Parse(trustroot.TrustedRoot, []byte(text)); err == nil || !strings.Contains(err.Error(), "nest more than 32 deep") {
			t.Errorf("%.20s: %v", text, err)
		}
	}
	if _, err := trustroot.Parse(trustroot.TrustedRoot, bytes.Repeat([]byte(" "), 1_000_001)); err == nil || !strings.Contains(err.Error(), "more than 1000000 bytes") {
		t.Errorf("a million spaces: %v", err)
	}
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]trustroot.Kind{
		"trusted_root.json": trustroot.TrustedRoot, "trusted_root.v0.2.json": trustroot.TrustedRoot,
		"a/b/signing_config_rekor_v2.v0.2.json": trustroot.SigningConfig, "Trusted_Root.JSON": trustroot.TrustedRoot,
		"trusted_root.json.pem": "", "my_trusted_root.json": "", "trusted_root": "", "": "",
	} {
		if got, ok := trustroot.KindOf(name); got != want || ok != (want != "") {
			t.Errorf("%q is %q (%v), want %q", name, got, ok, want)
		}
	}
}
