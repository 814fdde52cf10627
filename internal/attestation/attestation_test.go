package attestation_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/git/gittest"
)

// check asserts how a verdict came out; "" is that the attestation holds.
func check(t *testing.T, err error, want attestation.Check) {
	t.Helper()
	var e *attestation.Error
	switch {
	case want == "" && err != nil:
		t.Errorf("%v, and should hold", err)
	case want != "" && !errors.As(err, &e):
		t.Errorf("%v, want a failure of %s", err, want)
	case want != "" && e.Check != want:
		t.Errorf("%s: %v, want %s", e.Check, e, want)
	}
}

// realSet is a set that its owner published.
type realSet struct {
	serial      string
	files       map[string][]byte
	public      crypto.PublicKey
	key, device []byte // DER
}

func realSets(t *testing.T) []realSet {
	dir := filepath.Join(gittest.CorpusDir(t), "attestations")
	names, err := filepath.Glob(filepath.Join(dir, "*_pubkey.pem"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no attestations in %s (%v)", dir, err)
	}
	var sets []realSet
	for _, name := range names {
		s := realSet{serial: strings.TrimSuffix(filepath.Base(name), "_pubkey.pem"), files: map[string][]byte{}}
		block := func(file string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, s.serial+"_"+file))
			if err != nil {
				t.Fatal(err)
			}
			s.files[file] = data
			b, _ := pem.Decode(data)
			if b == nil {
				t.Fatalf("%s_%s is not in PEM", s.serial, file)
			}
			return b.Bytes
		}
		if s.public, err = x509.ParsePKIXPublicKey(block("pubkey.pem")); err != nil {
			t.Fatal(err)
		}
		s.key, s.device = block(attestation.KeyFile), block(attestation.DeviceFile)
		sets = append(sets, s)
	}
	return sets
}

// TestRealSets: what owners of root keys published holds, and says what they
// said of it.
func TestRealSets(t *testing.T) {
	var serials []string
	for _, s := range realSets(t) {
		c, err := attestation.Parse(s.files)
		if err != nil {
			t.Fatalf("%s: %v", s.serial, err)
		}
		f, err := attestation.Yubico().Verify(c, s.public)
		if err != nil || fmt.Sprint(f.Serial) != s.serial || f.Slot != "9c" || f.PINPolicy != attestation.Always || f.TouchPolicy != attestation.Always {
			t.Errorf("%s: %v, %v", s.serial, f, err)
		}
		if f.Firmware.Major != 5 || f.Advice() == "" {
			t.Errorf("%s: firmware %v, advice %q: all of them are older than 5.7", s.serial, f.Firmware, f.Advice())
		}
		again, err := attestation.Parse(c.Files())
		if err != nil || !again.Key.Equal(c.Key) || !again.Device.Equal(c.Device) {
			t.Errorf("%s: written and read back: %v", s.serial, err)
		}
		serials = append(serials, s.serial)
	}
	slices.Sort(serials)
	if len(slices.Compact(serials)) != 5 {
		t.Errorf("%d sets of %v, want five devices", len(serials), serials)
	}
}

// TestRealSetsChanged: of a real set no bit can be changed, and no part
// exchanged. Some bits are enough for most runs; soaking takes all.
func TestRealSetsChanged(t *testing.T) {
	seed := uint64(1)
	if os.Getenv("TUFOPS_SOAK") != "" {
		seed = mathrand.Uint64()
	}
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	sets := realSets(t)
	verify := func(key, device []byte, public crypto.PublicKey) error {
		encode := func(der []byte) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
		c, err := attestation.Parse(map[string][]byte{attestation.KeyFile: encode(key), attestation.DeviceFile: encode(device)})
		if err != nil {
			return err
		}
		_, err = attestation.Yubico().Verify(c, public)
		return err
	}
	tried := 0
	for i, s := range sets {
		check(t, verify(s.key, s.device, s.public), "")
		other := sets[(i+1)%len(sets)]
		check(t, verify(s.key, s.device, other.public), attestation.PublicKey)
		check(t, verify(other.key, s.device, other.public), attestation.Chain)
		check(t, verify(s.key, other.device, s.public), attestation.Chain)
		check(t, verify(s.device, s.key, s.public), attestation.Chain) // in the other order
		check(t, verify(s.key, s.key, s.public), attestation.Chain)
		// The extensions alone, so that the facts are surely among what is changed.
		at := bytes.Index(s.key, []byte{0x82, 0xc4, 0x0a, 0x03, 0x03}) // of 41482.3.3, the first of them
		if at < 0 {
			t.Fatalf("%s: the extensions are not found", s.serial)
		}
		var bits []int
		for bit := range 8 * (len(s.key) + len(s.device)) {
			inFacts := bit/8 >= at && bit/8 < at+80
			if inFacts || os.Getenv("TUFOPS_SOAK") != "" || random.IntN(100) == 0 {
				bits = append(bits, bit)
			}
		}
		for _, bit := range bits {
			key, device := bytes.Clone(s.key), bytes.Clone(s.device)
			if n := bit / 8; n < len(key) {
				key[n] ^= 1 << (bit % 8)
			} else {
				device[n-len(key)] ^= 1 << (bit % 8)
			}
			if verify(key, device, s.public) == nil {
				t.Errorf("%s: holds with bit %d changed", s.serial, bit)
			}
			tried++
		}
	}
	t.Logf("%d changes of one bit", tried)
	if tried < 1000 {
		t.Errorf("only %d changes of one bit were tried", tried)
	}
}

// TestYubico pins the certificates to the fingerprints that are known of them
// from elsewhere.
func TestYubico(t *testing.T) {
	want := []string{
		"63ece914e54dd87915f34033c85af4c0696ba1512f8add66ced738331207b546",
		"0fa1386f80eb8713263ae5c1d84deb455bdf08aea50ab05503cefee82b092d42",
		"62760c6a6ef91679f454c8902b80fd009825b3f25da90f1fbace2ec6586cd5a8",
		"4698a1d3389c3ec60016c216250f1d0439922832d65142327436376dc2942b55",
		"d4cc3f456fdaf4e7812a21aab1dfe9d8e27d24e2fd2d6f21c9940109f0daa754",
		"6de693f05376f5d8ca29069261e1c8626c75d503bd2edbfd75354cad1f722870",
		"2d55b7998f4e42569d6d8fa382b6dc77d1dacf07358b19701163892922b17052",
	}
	var got []string
	for _, cert := range attestation.Yubico().Issuers() {
		sum := sha256.Sum256(cert.Raw)
		got = append(got, hex.EncodeToString(sum[:]))
	}
	if !slices.Equal(got, want) {
		t.Errorf("Yubico's certificates are %q", got)
	}
}

// A maker of tokens whose every certificate a test may spoil. The names are those
// of what is made.
type maker struct {
	t                                 *testing.T
	roots, intermediates              []*x509.Certificate
	keys                              map[string]*ecdsa.PrivateKey
	root, intermediate1, intermediate *x509.Certificate
	device, key                       *x509.Certificate // templates
}

var (
	from  = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	until = time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
)

func newMaker(t *testing.T) *maker {
	m := &maker{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	for i, name := range []string{"root", "intermediate1", "intermediate", "device", "key", "stranger"} {
		scalar := big.NewInt(int64(1000 + i))
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar.FillBytes(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		m.keys[name] = key
	}
	m.root = m.sign(authority("Maker Root"), nil, "root", "root")
	m.intermediate1 = m.sign(authority("Maker Intermediate"), m.root, "intermediate1", "root")
	m.intermediate = m.sign(authority("Maker PIV"), m.intermediate1, "intermediate", "intermediate1")
	m.roots, m.intermediates = []*x509.Certificate{m.root}, []*x509.Certificate{m.intermediate, m.intermediate1}
	m.device = authority("Yubico PIV Attestation")
	serial, err := asn1.Marshal(int64(20000001))
	if err != nil {
		t.Fatal(err)
	}
	m.key = &x509.Certificate{
		Subject: pkix.Name{CommonName: "YubiKey PIV Attestation 9c"},
		ExtraExtensions: []pkix.Extension{
			extension(3, 5, 7, 4), extension(7, serial...), extension(8, 3, 2), extension(9, 0x83),
		},
	}
	return m
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
}

func extension(number int, value ...byte) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, number}, Value: value}
}

// set replaces an extension of the key's certificate; without a value it goes.
func (m *maker) set(number int, value ...byte) {
	m.key.ExtraExtensions = slices.DeleteFunc(m.key.ExtraExtensions, func(e pkix.Extension) bool { return e.Id[len(e.Id)-1] == number })
	if value != nil {
		m.key.ExtraExtensions = append(m.key.ExtraExtensions, extension(number, value...))
	}
}

func (m *maker) sign(template, parent *x509.Certificate, of, by string) *x509.Certificate {
	m.t.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = from, until
	}
	if parent == nil {
		parent = template
	}
	issuer := *parent
	issuer.PublicKey = &m.keys[by].PublicKey // CreateCertificate compares, and some are to be wrong
	der, err := x509.CreateCertificate(rand.Reader, template, &issuer, &m.keys[of].PublicKey, m.keys[by])
	if err != nil {
		m.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return cert
}

// TestFacts changes one fact at a time in a set that is signed as it should be.
func TestFacts(t *testing.T) {
	type result = attestation.Certificates
	make2 := func(m *maker) result {
		device := m.sign(m.device, m.intermediate, "device", "intermediate")
		return result{Key: m.sign(m.key, device, "key", "device"), Device: device}
	}
	for _, test := range []struct {
		name  string
		spoil func(*maker)
		make  func(*maker) result
		want  attestation.Check
	}{
		{name: "nothing changed"},
		{"form factor not named", func(m *maker) { m.set(9) }, nil, ""},
		{"no intermediate", func(m *maker) { m.intermediates = nil }, nil, attestation.Chain},
		{"the upper intermediate missing", func(m *maker) { m.intermediates = m.intermediates[:1] }, nil, attestation.Chain},
		{"the lower intermediate missing", func(m *maker) { m.intermediates = m.intermediates[1:] }, nil, attestation.Chain},
		{"another root of the same name", func(m *maker) { m.roots[0] = m.sign(authority("Maker Root"), nil, "stranger", "stranger") }, nil, attestation.Chain},
		{"device of a stranger", nil, func(m *maker) result {
			device := m.sign(m.device, m.intermediate, "device", "stranger")
			return result{Key: m.sign(m.key, device, "key", "device"), Device: device}
		}, attestation.Chain},
		{"key signed by a stranger", nil, func(m *maker) result {
			device := m.sign(m.device, m.intermediate, "device", "intermediate")
			return result{Key: m.sign(m.key, device, "key", "stranger"), Device: device}
		}, attestation.Chain},
		{"key signed by the maker itself", nil, func(m *maker) result {
			device := m.sign(m.device, m.intermediate, "device", "intermediate")
			return result{Key: m.sign(m.key, m.intermediate, "key", "intermediate"), Device: device}
		}, attestation.Chain},
		// A key that a token made can sign anything, what looks like an attestation too.
		{"an attested key attests another", nil, func(m *maker) result {
			device := m.sign(m.device, m.intermediate, "device", "intermediate")
			m.key.Subject.CommonName = "YubiKey PIV Attestation 9a"
			attested := m.sign(m.key, device, "stranger", "device")
			m.key.Subject.CommonName = "YubiKey PIV Attestation 9c"
			return result{Key: m.sign(m.key, attested, "key", "stranger"), Device: attested}
		}, attestation.Chain},
		{"device that may not issue", func(m *maker) { m.device.IsCA = false }, nil, attestation.Chain},
		{"device that does not say whether it may", func(m *maker) { m.device.BasicConstraintsValid, m.device.IsCA = false, false }, nil, ""},
		{"key older than its device lived", func(m *maker) { m.key.NotBefore, m.key.NotAfter = until.AddDate(1, 0, 0), until.AddDate(2, 0, 0) }, nil, attestation.Chain},
		{"something critical that is not known", func(m *maker) {
			m.key.ExtraExtensions = append(m.key.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
		}, nil, attestation.Chain},
		{"slot 9a", func(m *maker) { m.key.Subject.CommonName = "YubiKey PIV Attestation 9a" }, nil, attestation.Slot},
		{"slot without a number", func(m *maker) { m.key.Subject.CommonName = "YubiKey PIV Attestation " }, nil, attestation.Form},
		{"slot in another form", func(m *maker) { m.key.Subject.CommonName = "YubiKey PIV Attestation 9C" }, nil, attestation.Form},
		{"another kind of attestation", func(m *maker) { m.key.Subject.CommonName = "YubiKey OPGP Attestation 9c" }, nil, attestation.Form},
		{"no serial", func(m *maker) { m.set(7) }, nil, attestation.Form},
		{"negative serial", func(m *maker) { m.set(7, 2, 1, 0xff) }, nil, attestation.Form},
		{"serial beyond 32 bits", func(m *maker) { m.set(7, 2, 5, 1, 0, 0, 0, 0) }, nil, attestation.Form},
		{"no firmware", func(m *maker) { m.set(3) }, nil, attestation.Form},
		{"firmware of two numbers", func(m *maker) { m.set(3, 5, 7) }, nil, attestation.Form},
		{"firmware 4.3.4", func(m *maker) { m.set(3, 4, 3, 4) }, nil, attestation.Firmware},
		{"firmware 4.3.5", func(m *maker) { m.set(3, 4, 3, 5) }, nil, ""},
		{"no policy", func(m *maker) { m.set(8) }, nil, attestation.Form},
		{"half a policy", func(m *maker) { m.set(8, 3) }, nil, attestation.Form},
		{"a policy that is not known", func(m *maker) { m.set(8, 3, 9) }, nil, attestation.Form},
		{"PIN never", func(m *maker) { m.set(8, 1, 2) }, nil, attestation.PINPolicy},
		{"PIN once", func(m *maker) { m.set(8, 2, 2) }, nil, attestation.PINPolicy},
		{"a finger in place of a PIN", func(m *maker) { m.set(8, 5, 2) }, nil, attestation.PINPolicy},
		{"touch never", func(m *maker) { m.set(8, 3, 1) }, nil, attestation.TouchPolicy},
		{"touch cached", func(m *maker) { m.set(8, 3, 3) }, nil, attestation.TouchPolicy},
		{"two bytes of form factor", func(m *maker) { m.set(9, 1, 1) }, nil, attestation.Form},
		{"another public key", func(m *maker) { m.keys["key"] = m.keys["stranger"] }, nil, attestation.PublicKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMaker(t)
			public := &m.keys["key"].PublicKey
			if test.spoil != nil {
				test.spoil(m)
			}
			if test.make == nil {
				test.make = make2
			}
			c := test.make(m)
			f, err := attestation.NewVerifier(m.roots, m.intermediates).Verify(c, public)
			check(t, err, test.want)
			told := f.Serial == 20000001
			if known := !slices.Contains([]attestation.Check{attestation.Form, attestation.Chain, attestation.PublicKey}, test.want); told != known {
				t.Errorf("facts %+v beside %v", f, err)
			}
			if _, err := attestation.Yubico().Verify(c, public); err == nil {
				t.Error("Yubico's roots lead to it too")
			}
		})
	}
}

func TestString(t *testing.T) {
	m := newMaker(t)
	device := m.sign(m.device, m.root, "device", "root")
	f, err := attestation.NewVerifier(m.roots, nil).Verify(attestation.Certificates{Key: m.sign(m.key, device, "key", "device"), Device: device}, &m.keys["key"].PublicKey)
	if want := "YubiKey 20000001 (firmware 5.7.4, USB-C keychain FIPS), slot 9c, PIN always, touch always"; err != nil || f.String() != want || f.Advice() != "" {
		t.Errorf("%q, advice %q, %v, want %q", f, f.Advice(), err, want)
	}
}

func TestParse(t *testing.T) {
	m := newMaker(t)
	good := attestation.Certificates{Key: m.root, Device: m.intermediate}.Files()
	one := good[attestation.KeyFile]
	for name, key := range map[string][]byte{
		"empty":           nil,
		"no PEM":          []byte("hello"),
		"two":             append(bytes.Clone(one), one...),
		"text behind":     append(bytes.Clone(one), "hello"...),
		"another block":   bytes.ReplaceAll(one, []byte("CERTIFICATE"), []byte("PUBLIC KEY")),
		"no certificate":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hello")}),
		"something after": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(bytes.Clone(m.root.Raw), 0)}),
		"very long":       append(bytes.Clone(one), bytes.Repeat([]byte("\n"), attestation.MaxFile)...),
	} {
		_, err := attestation.Parse(map[string][]byte{attestation.KeyFile: key, attestation.DeviceFile: good[attestation.DeviceFile]})
		if check(t, err, attestation.Form); err != nil && !strings.Contains(err.Error(), attestation.KeyFile) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	for _, name := range []string{attestation.KeyFile, attestation.DeviceFile} {
		files := attestation.Certificates{Key: m.root, Device: m.intermediate}.Files()
		delete(files, name)
		_, err := attestation.Parse(files)
		check(t, err, attestation.Form)
	}
}

func TestParseVerifier(t *testing.T) {
	m := newMaker(t)
	var text []byte
	add := func(certs ...*x509.Certificate) []byte {
		text = nil
		for _, c := range certs {
			text = append(append(text, "# a certificate\n"...), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		return text
	}
	device := m.sign(m.device, m.intermediate, "device", "intermediate")
	c := attestation.Certificates{Key: m.sign(m.key, device, "key", "device"), Device: device}
	v, err := attestation.ParseVerifier(add(m.intermediate, m.intermediate1, m.root))
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(c, &m.keys["key"].PublicKey)
	check(t, err, "")
	if _, err = attestation.Yubico().Also(v).Verify(c, &m.keys["key"].PublicKey); err != nil {
		t.Errorf("beside Yubico's: %v", err)
	}
	posing := m.sign(authority("Maker Root"), m.root, "intermediate1", "stranger") // of a root's name, and not signed by itself
	for name, data := range map[string][]byte{
		"nothing": nil, "no root": add(m.intermediate, m.intermediate1), "a hole": add(m.root, m.intermediate), "no root but in name": add(posing),
		"another block": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"}), "no certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}),
	} {
		if _, err := attestation.ParseVerifier(data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
