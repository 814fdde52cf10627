// Package trustroottest makes trust material of an instance of Sigstore that
// does not exist, for tests: with real keys and certificates that are made anew
// in each test binary.
package trustroottest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Object is a JSON object that a test may change as it likes.
type Object = map[string]any

// Now is a moment at which everything that [Root] and [Config] hold is in order.
var Now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// Cert is one certificate of a chain.
type Cert struct {
	Name     string // common name; the organization is always "example"
	From, To time.Time
	CA       bool
	Usage    []x509.ExtKeyUsage

	Loose bool // does not mark its usage critical
	Last  bool // an authority that allows no authority under it
	Mute  bool // an authority that may not sign certificates
}

func day(s string) time.Time {
	t, err := time.Parse("2006-01-02", s)
	if err != nil {
		panic(err)
	}
	return t
}

// Issuing and its siblings are the certificates of [Root]'s chains.
var (
	Issuing = Cert{Name: "issuing", From: day("2025-01-01"), To: day("2035-01-01"), CA: true, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	Stamper = Cert{Name: "stamper", From: day("2025-01-01"), To: day("2035-01-01"), Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}
	Anchor  = Cert{Name: "anchor", From: day("2025-01-01"), To: day("2035-01-01"), CA: true}
)

// Chain makes a chain of certificates: each is signed by the next and the last
// by itself.
func Chain(t testing.TB, certs ...Cert) [][]byte {
	t.Helper()
	chain := make([][]byte, len(certs))
	var issuer *x509.Certificate
	var issuerKey crypto.Signer
	for i := len(certs) - 1; i >= 0; i-- {
		c := certs[i]
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{Organization: []string{"example"}, CommonName: c.Name},
			NotBefore: c.From, NotAfter: c.To, IsCA: c.CA, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if c.CA {
			template.KeyUsage, template.MaxPathLenZero = x509.KeyUsageCertSign, c.Last
		}
		if c.Mute {
			template.KeyUsage = x509.KeyUsageDigitalSignature
		}
		if len(c.Usage) > 0 {
			// x509 never marks the extension critical; RFC 3161 demands it.
			ext, err := usageExtension(c.Usage)
			if err != nil {
				t.Fatal(err)
			}
			ext.Critical = !c.Loose
			template.ExtraExtensions = append(template.ExtraExtensions, ext)
		}
		if issuer == nil {
			issuer, issuerKey = template, key
		}
		chain[i], err = x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
		if err != nil {
			t.Fatal(err)
		}
		if issuer, err = x509.ParseCertificate(chain[i]); err != nil {
			t.Fatal(err)
		}
		issuerKey = key
	}
	return chain
}

func usageExtension(usages []x509.ExtKeyUsage) (pkix.Extension, error) {
	oids := map[x509.ExtKeyUsage]asn1.ObjectIdentifier{
		x509.ExtKeyUsageServerAuth:   {1, 3, 6, 1, 5, 5, 7, 3, 1},
		x509.ExtKeyUsageCodeSigning:  {1, 3, 6, 1, 5, 5, 7, 3, 3},
		x509.ExtKeyUsageTimeStamping: {1, 3, 6, 1, 5, 5, 7, 3, 8},
	}
	var list []asn1.ObjectIdentifier
	for _, u := range usages {
		list = append(list, oids[u])
	}
	value, err := asn1.Marshal(list)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: value}, err
}

// Authority is an authority with a chain, whose subject is that of its last
// certificate.
func Authority(url string, chain [][]byte, start string) Object {
	root, err := x509.ParseCertificate(chain[len(chain)-1])
	if err != nil {
		panic(err)
	}
	var certs []any
	for _, c := range chain {
		certs = append(certs, Object{"rawBytes": c})
	}
	return Object{
		"subject":   Object{"organization": strings.Join(root.Subject.Organization, " "), "commonName": root.Subject.CommonName},
		"uri":       url,
		"certChain": Object{"certificates": certs},
		"validFor":  Object{"start": start},
	}
}

// rsaKey is one: making it takes longer than all else.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Log is a log with a new key of a kind (ecdsa, ed25519 or rsa, which is a PKCS#1
// form and always the same) and the SHA-256 of the key as its log ID.
func Log(t testing.TB, url, kind, start string) Object {
	t.Helper()
	var public any
	var details string
	var err error
	switch kind {
	case "ecdsa":
		details = "PKIX_ECDSA_P256_SHA_256"
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			public = key.Public()
		}
	case "ed25519":
		details = "PKIX_ED25519"
		public, _, err = ed25519.GenerateKey(rand.Reader)
	case "rsa":
		details = "PKCS1_RSA_PKCS1V5"
		var key *rsa.PrivateKey
		if key, err = rsaKey(); err == nil {
			public = key.Public()
		}
	default:
		t.Fatalf("no kind of key %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(raw)
	if key, ok := public.(*rsa.PublicKey); ok {
		raw = x509.MarshalPKCS1PublicKey(key)
	}
	return Object{
		"baseUrl": url, "hashAlgorithm": "SHA2_256",
		"publicKey": Object{"rawBytes": raw, "keyDetails": details, "validFor": Object{"start": start}},
		"logId":     Object{"keyId": id[:]},
	}
}

// Shard is a Rekor v2 log, with its C2SP key id as its log ID.
func Shard(t testing.TB, url, start string) Object {
	t.Helper()
	log := Log(t, url, "ed25519", start)
	public, err := x509.ParsePKIXPublicKey(log["publicKey"].(Object)["rawBytes"].([]byte))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	h.Write([]byte(strings.TrimPrefix(url, "https://") + "\n\x01"))
	h.Write(public.(ed25519.PublicKey))
	log["logId"] = Object{"keyId": h.Sum(nil)}
	return log
}

var once = sync.OnceValue(func() []byte {
	t := &panics{}
	return Bytes(Object{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs": []any{
			Log(t, "https://rekor.example.test", "ecdsa", "2025-02-01T00:00:00Z"),
			Shard(t, "https://log2025-1.rekor.example.test", "2025-03-01T00:00:00Z"),
		},
		"certificateAuthorities": []any{Authority("https://fulcio.example.test", Chain(t, Issuing, Anchor), "2025-02-01T00:00:00Z")},
		"ctlogs":                 []any{Log(t, "https://ctfe.example.test/2025", "ecdsa", "2025-02-01T00:00:00Z")},
		"timestampAuthorities": []any{
			Authority("https://timestamp.example.test/api/v1/timestamp", Chain(t, Stamper, Anchor), "2025-02-01T00:00:00Z"),
		},
	})
})

// panics is what makes the one document that all tests of a binary share.
type panics struct{ testing.TB }

func (*panics) Helper()                   {}
func (*panics) Fatal(args ...any)         { panic(args) }
func (*panics) Fatalf(s string, a ...any) { panic(s) }

// Root is a trusted root in which nothing is wrong: a Rekor v1 log, a Rekor v2
// shard, a certificate authority, a CT log and a timestamp authority. Bytes in
// it are text, in base64.
func Root() Object { return Parse(once()) }

// Config is a signing configuration that agrees with [Root].
func Config() Object {
	service := func(url string, version int, start string) Object {
		return Object{"url": url, "majorApiVersion": version, "validFor": Object{"start": start}, "operator": "example"}
	}
	return Parse(Bytes(Object{
		"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":    []any{service("https://fulcio.example.test", 1, "2025-02-01T00:00:00Z")},
		"oidcUrls":  []any{service("https://oauth2.example.test/auth", 1, "2025-02-01T00:00:00Z")},
		"rekorTlogUrls": []any{
			service("https://log2025-1.rekor.example.test", 2, "2025-03-01T00:00:00Z"),
			service("https://rekor.example.test", 1, "2025-02-01T00:00:00Z"),
		},
		"tsaUrls":         []any{service("https://timestamp.example.test/api/v1/timestamp", 1, "2025-02-01T00:00:00Z")},
		"rekorTlogConfig": Object{"selector": "ANY"},
		"tsaConfig":       Object{"selector": "ANY"},
	}))
}

// Bytes writes an object as a file.
func Bytes(o Object) []byte {
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(data, '\n')
}

// Parse reads a file into an object.
func Parse(data []byte) Object {
	var o Object
	if err := json.Unmarshal(data, &o); err != nil {
		panic(err)
	}
	return o
}

// At is the object at a path of names and positions.
func At(o Object, path ...any) Object {
	var v any = o
	for _, step := range path {
		switch s := step.(type) {
		case string:
			v = v.(Object)[s]
		case int:
			v = v.([]any)[s]
		}
	}
	return v.(Object)
}

// Add appends entries to a section.
func Add(o Object, section string, entries ...Object) {
	list, _ := o[section].([]any)
	for _, e := range entries {
		list = append(list, e)
	}
	o[section] = list
}

// SigstoreData reads a file of sigstore-go's test data from the module itself:
// real bundles, and production's trusted root of 2023 ("trusted-roots/public-good.json").
func SigstoreData(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := sigstoreGo()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "pkg", "testing", "data", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var sigstoreGo = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
})
