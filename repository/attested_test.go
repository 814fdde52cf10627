package repository_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	proof "github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// A deviceMaker makes devices that attest any key that a test wants.
type deviceMaker struct {
	t         *testing.T
	root, dev *ecdsa.PrivateKey
	rootCert  *x509.Certificate
	devCert   *x509.Certificate
}

func newDeviceMaker(t *testing.T) *deviceMaker {
	m := &deviceMaker{t: t}
	for _, key := range []**ecdsa.PrivateKey{&m.root, &m.dev} {
		var err error
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
	}
	root := authority("Maker")
	m.rootCert = m.sign(root, root, m.root.Public(), m.root)
	m.devCert = m.sign(authority("Device"), m.rootCert, m.dev.Public(), m.root)
	return m
}

func (m *deviceMaker) sign(template, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	m.t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Unix(0, 0), time.Unix(1<<33, 0)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		m.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return cert
}

// roots is the value of attestation-roots.
func (m *deviceMaker) roots() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.rootCert.Raw}))
}

// attest writes an attestation of the key of somebody, by a device with a serial,
// into the folder of the key of another.
func (m *deviceMaker) attest(w *World, name, folder string, serial int64, pin byte) {
	m.t.Helper()
	number, err := asn1.Marshal(serial)
	if err != nil {
		m.t.Fatal(err)
	}
	extension := func(n int, value ...byte) pkix.Extension {
		return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, n}, Value: value}
	}
	key := m.sign(&x509.Certificate{
		Subject:         pkix.Name{CommonName: "YubiKey PIV Attestation 9c"},
		ExtraExtensions: []pkix.Extension{extension(3, 5, 4, 3), extension(7, number...), extension(8, pin, 2), extension(9, 1)},
	}, m.devCert, Private(name).Public(), m.dev)
	for file, data := range (proof.Certificates{Key: key, Device: m.devCert}).Files() {
		w.WriteFile(repository.AttestationDir(Key(folder))+"/"+file, string(data))
	}
}

const always = 3

// TestAttested: what keys/ says of a new key decides, where the policy asks for
// it.
func TestAttested(t *testing.T) {
	m := newDeviceMaker(t)
	dave := func(w *World) string { return repository.AttestationDir(Key("dave")) }
	for _, test := range []struct {
		name     string
		event    func(w *World)
		required string // the message where attested keys are required; "": none
		optional string // "": the same, as a warning; "-": nothing is said
	}{
		{"nothing", nil, "keys/ holds nothing for it", ""},
		{"nothing for two", func(w *World) { w.Edit("root", func(s object) { AddKey(s, "root", "zoe") }) },
			"new keys are not attested, keys/ holds nothing for them: @dave (keyid " + Key("dave").ID + "), @zoe (keyid " + Key("zoe").ID + ")", ""},
		{"an attestation", func(w *World) { m.attest(w, "dave", "dave", 11, always) }, "", ""},
		{"nothing, and others are attested", func(w *World) { m.attest(w, "alice", "alice", 11, always) }, "keys/ holds nothing for it", ""},
		{"an attestation of another key", func(w *World) { m.attest(w, "alice", "dave", 11, always) }, "the attestation is of another key of YubiKey 11", ""},
		{"an attestation of a key without PIN", func(w *World) { m.attest(w, "dave", "dave", 11, 1) }, "the PIN policy of the key is never, not always", ""},
		{"an attestation of another maker", func(w *World) { newDeviceMaker(t).attest(w, "dave", "dave", 11, always) }, "is not of a maker who is trusted", ""},
		{"half an attestation", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			w.Remove(dave(w) + "/" + proof.DeviceFile)
		}, "device_cert.pem is missing", ""},
		{"text for a certificate", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			w.WriteFile(dave(w)+"/"+proof.KeyFile, "made by hardware\n")
		}, "key_cert.pem: it holds no certificate in PEM", ""},
		{"very long", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			w.WriteFile(dave(w)+"/"+proof.KeyFile, strings.Repeat("x", proof.MaxFile+1))
		}, "key_cert.pem is larger than 16384 bytes", ""},
		{"a file of another name beside it", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			w.WriteFile(dave(w)+"/README", "hello\n")
		}, "", ""},
		{"the device of another signer of the role", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			m.attest(w, "carol", "carol", 11, always)
		}, "YubiKey 11 attests another key of targets too, that of @carol", ""},
		{"the device of a signer of another role", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			w.Edit("root", func(s object) { AddKey(s, "root", "zoe") })
			m.attest(w, "zoe", "zoe", 11, always)
		}, "", ""},
		{"another device than the other signer's", func(w *World) {
			m.attest(w, "dave", "dave", 11, always)
			m.attest(w, "carol", "carol", 12, always)
		}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			w.Edit("root", func(s object) { AddKey(s, "targets", "dave") })
			if test.event != nil {
				test.event(w)
			}
			w.Sign("root", "alice", "bob").Sign("targets", "dave").Commit("event")
			said := func(required bool) (*repository.Status, []repository.Finding) {
				p := repository.Policy{AttestationRoots: m.roots()}
				if required {
					p.Rules = map[string]repository.Decision{"key-not-attested": {Level: repository.LevelError}}
				}
				s := w.Status(p)
				var list []repository.Finding
				for _, f := range s.AllFindings() {
					if f.Rule == "key-not-attested" && strings.Contains(f.Message, "@dave") {
						list = append(list, f)
					}
				}
				return s, list
			}
			_, list := said(true)
			switch {
			case test.required == "" && len(list) > 0:
				t.Errorf("%v", list)
			case test.required != "" && (len(list) != 1 || list[0].Level != repository.LevelError || !list[0].Blocks() || !strings.Contains(list[0].Message, test.required)):
				t.Errorf("%+v, want an error with %q", list, test.required)
			}
			_, list = said(false)
			want := test.required
			if test.optional == "-" {
				want = ""
			}
			if want == "" && len(list) > 0 || want != "" && (len(list) != 1 || list[0].Level != repository.LevelWarning || !strings.Contains(list[0].Message, want)) {
				t.Errorf("without being required: %+v, want a warning with %q", list, want)
			}
		})
	}
}

// TestAttestedKnown: somebody's key that main lists gets another role. Nothing new
// is lacking; where the policy asks for attestations, it asks again.
func TestAttestedKnown(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s object) {
		s["version"] = int64(2)
		AddKey(s, "releases", "alice")
	})
	w.Sign("targets", "alice").Commit("event")
	for level, want := range map[repository.Level]string{"": "", repository.LevelWarning: "", repository.LevelError: "error"} {
		p := repository.Policy{}
		if level != "" {
			p.Rules = map[string]repository.Decision{"key-not-attested": {Level: level}}
		}
		got := ""
		for _, f := range w.Status(p).AllFindings() {
			if f.Rule == "key-not-attested" {
				got += string(f.Level)
			}
		}
		if got != want {
			t.Errorf("by the policy %q: found %q, want %q", level, got, want)
		}
	}
}

// TestAttestedFacts: the facts stand in the status, and which of the other keys
// have none.
func TestAttestedFacts(t *testing.T) {
	m := newDeviceMaker(t)
	w := New(t)
	w.Edit("root", func(s object) { AddKey(s, "targets", "dave") })
	m.attest(w, "dave", "dave", 77, always)
	m.attest(w, "carol", "carol", 78, 1)
	w.Sign("root", "alice", "bob").Sign("targets", "dave").Commit("event")
	s := w.Status(repository.Policy{AttestationRoots: m.roots()})
	for _, r := range s.Roles {
		if r.Role != "root" {
			continue
		}
		got, err := json.Marshal(r.Attestations)
		none := func(name string) string {
			return `{"keyid":"` + Key(name).ID + `","owner":"@` + name + `","holds":false,"text":"keys/ holds nothing for it"},`
		}
		want := `[` + none("alice") + none("bob") + `{"keyid":"` + Key("carol").ID + `","owner":"@carol","holds":false,"text":"the PIN policy of the key is never, not always","note":"` + advice + `",` +
			`"device":{"serial":78,"firmware":"5.4.3","form_factor":"USB-A keychain","slot":"9c","pin_policy":"never","touch_policy":"always"}},` +
			`{"keyid":"` + Key("dave").ID + `","owner":"@dave","holds":true,"text":"YubiKey 77 (firmware 5.4.3, USB-A keychain), slot 9c, PIN always, touch always","note":"` + advice + `",` +
			`"device":{"serial":77,"firmware":"5.4.3","form_factor":"USB-A keychain","slot":"9c","pin_policy":"always","touch_policy":"always"}}]`
		if err != nil || string(got) != want {
			t.Errorf("%s, %v, want\n%s", got, err, want)
		}
		return
	}
	t.Error("root is no role of the event")
}

const advice = "with firmware before 5.7 somebody who has the token, the PIN and costly equipment can copy the key (YSA-2024-03)"

// TestAttestationRoots: the policy file names makers, and one that cannot be read
// is no policy.
func TestAttestationRoots(t *testing.T) {
	m := newDeviceMaker(t)
	indented := strings.ReplaceAll(strings.TrimSpace(m.roots()), "\n", "\n  ")
	p, err := repository.ParsePolicy([]byte("attested-keys: required\nattestation-roots: |\n  " + indented + "\n"))
	if err != nil || strings.TrimSpace(p.AttestationRoots) != strings.TrimSpace(m.roots()) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, text := range []string{"attestation-roots: yubico", "attestation-roots: ''", "attestation-roots: []", "attestation-roots: |\n  -----BEGIN CERTIFICATE-----\n  -----END CERTIFICATE-----"} {
		if _, err := repository.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), "attestation-roots") && !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
