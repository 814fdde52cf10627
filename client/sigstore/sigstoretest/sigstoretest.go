// Package sigstoretest is a whole Sigstore instance in memory, for tests: a
// certificate authority, a CT log, transparency logs of both versions and a
// timestamp authority. It lives at the times that a test names, needs no network,
// and what it signs verifies with the libraries that people use.
package sigstoretest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Life is for how long an instance's certificates are valid.
const Life = 10 * 365 * 24 * time.Hour

// Instance is a Sigstore instance. Its services are fulcio.HOST, ct.HOST,
// rekor.HOST (version 1), rekor2.HOST and tsa.HOST.
type Instance struct {
	host            string
	from            time.Time
	caRoot, ca      authority
	tsaRoot, tsa    authority
	ct, log1        *ecdsa.PrivateKey
	log2            ed25519.PrivateKey
	ctID, id1, id2  []byte
	serial, entries int64
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an instance that is in use from a moment on.
func New(host string, from time.Time) *Instance {
	i := &Instance{host: host, from: from, entries: 1000}
	i.caRoot = i.authority("fulcio root", authority{}, x509.ExtKeyUsageCodeSigning, true)
	i.ca = i.authority("fulcio", i.caRoot, x509.ExtKeyUsageCodeSigning, true)
	i.tsaRoot = i.authority("tsa root", authority{}, x509.ExtKeyUsageTimeStamping, true)
	i.tsa = i.authority("tsa", i.tsaRoot, x509.ExtKeyUsageTimeStamping, false)
	i.ct, i.log1 = key(), key()
	_, i.log2, _ = ed25519.GenerateKey(rand.Reader)
	i.ctID, i.id1 = sum(spki(i.ct.Public())), sum(spki(i.log1.Public()))
	i.id2 = sum([]byte("rekor2."+host+"\n\x01"), i.log2.Public().(ed25519.PublicKey))
	return i
}

func key() *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sum(parts ...[]byte) []byte {
	s := sha256.Sum256(bytes.Join(parts, nil))
	return s[:]
}

func spki(public crypto.PublicKey) []byte { return must(x509.MarshalPKIXPublicKey(public)) }

func (i *Instance) authority(name string, parent authority, usage x509.ExtKeyUsage, issues bool) authority {
	i.serial++
	a := authority{key: key()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(i.serial), Subject: pkix.Name{CommonName: name, Organization: []string{i.host}},
		NotBefore: i.from, NotAfter: i.from.Add(Life), BasicConstraintsValid: issues, IsCA: issues,
	}
	switch {
	case issues:
		template.KeyUsage = x509.KeyUsageCertSign
		if parent.cert != nil {
			template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		}
	default: // a timestamp authority's certificate is for that alone, and says so with emphasis
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
			Value: must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))}}
	}
	if parent.cert == nil {
		parent = authority{template, a.key}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent.cert, a.key.Public(), parent.key))
	a.cert = must(x509.ParseCertificate(der))
	return a
}

// TrustedRoot is the instance's trusted_root.json, with something changed if a
// test wants that.
func (i *Instance) TrustedRoot(change ...func(*prototrust.TrustedRoot)) []byte {
	window := func() *protocommon.TimeRange { return &protocommon.TimeRange{Start: timestamppb.New(i.from)} }
	log := func(service string, public crypto.PublicKey, details protocommon.PublicKeyDetails, id []byte) *prototrust.TransparencyLogInstance {
		return &prototrust.TransparencyLogInstance{
			BaseUrl: "https://" + service + "." + i.host, HashAlgorithm: protocommon.HashAlgorithm_SHA2_256,
			PublicKey: &protocommon.PublicKey{RawBytes: spki(public), KeyDetails: details, ValidFor: window()},
			LogId:     &protocommon.LogId{KeyId: id},
		}
	}
	issuer := func(service, path string, chain ...authority) *prototrust.CertificateAuthority {
		ca := &prototrust.CertificateAuthority{
			Subject: &protocommon.DistinguishedName{CommonName: chain[len(chain)-1].cert.Subject.CommonName, Organization: i.host},
			Uri:     "https://" + service + "." + i.host + path, CertChain: &protocommon.X509CertificateChain{}, ValidFor: window(),
		}
		for _, a := range chain {
			ca.CertChain.Certificates = append(ca.CertChain.Certificates, &protocommon.X509Certificate{RawBytes: a.cert.Raw})
		}
		return ca
	}
	const p256 = protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
	tr := &prototrust.TrustedRoot{
		MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		Tlogs: []*prototrust.TransparencyLogInstance{
			log("rekor", i.log1.Public(), p256, i.id1), log("rekor2", i.log2.Public(), protocommon.PublicKeyDetails_PKIX_ED25519, i.id2),
		},
		CertificateAuthorities: []*prototrust.CertificateAuthority{issuer("fulcio", "", i.ca, i.caRoot)},
		Ctlogs:                 []*prototrust.TransparencyLogInstance{log("ct", i.ct.Public(), p256, i.ctID)},
		TimestampAuthorities:   []*prototrust.CertificateAuthority{issuer("tsa", "/api/v1/timestamp", i.tsa, i.tsaRoot)},
	}
	for _, f := range change {
		f(tr)
	}
	return must(protojson.Marshal(tr))
}

// Signing says what is signed, by whom and when.
type Signing struct {
	Artifact         []byte
	Identity, Issuer string            // of the certificate; an identity with :// is a URI, else an email address
	Key              *ecdsa.PrivateKey // signs instead, without a certificate
	At               time.Time
	Predicate        string        // the type of an attestation; empty: a signature of the artifact itself
	Rekor2           bool          // logged in a log of version 2, which gives no time; a timestamp authority does
	Unseen           bool          // by any CT log
	Late             time.Duration // so long after At log and timestamp authority are asked
	Forged           bool          // by another key than the certificate's

	Repository, Commit, Ref string // of a build
}

// Sign signs and makes the bundle.
func (i *Instance) Sign(s Signing) *protobundle.Bundle {
	signer, material := s.Key, &protobundle.VerificationMaterial{}
	var shown []byte // what the log is shown of the signer
	if s.Key != nil {
		shown = spki(s.Key.Public())
		material.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: base64.StdEncoding.EncodeToString(sum(shown))}}
	} else {
		signer = key()
		shown = i.certify(s, signer)
		material.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: shown}}
	}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", VerificationMaterial: material}
	message := s.Artifact
	var payload, envelope []byte
	const payloadType = "application/vnd.in-toto+json"
	if s.Predicate != "" {
		payload = must(json.Marshal(map[string]any{
			"_type": "https://in-toto.io/Statement/v1", "predicateType": s.Predicate, "predicate": map[string]any{"built": "here"},
			"subject": []any{map[string]any{"name": "artifact", "digest": map[string]string{"sha256": fmt.Sprintf("%x", sum(s.Artifact))}}},
		}))
		message = fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	}
	digest := sum(message)
	if s.Forged {
		signer = key()
	}
	signature := must(ecdsa.SignASN1(rand.Reader, signer, digest))
	seen := s.At.Add(s.Late)
	if s.Predicate != "" {
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: payloadType, Signatures: []*protodsse.Signature{{Sig: signature}}}}
		envelope = must(json.Marshal(map[string]any{"payload": payload, "payloadType": payloadType, "signatures": []any{map[string]any{"sig": signature}}}))
	} else {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest}, Signature: signature}}
	}
	block := "CERTIFICATE"
	if s.Key != nil {
		block = "PUBLIC KEY"
	}
	armoured := pem.EncodeToMemory(&pem.Block{Type: block, Bytes: shown})
	switch {
	case s.Rekor2:
		verifier := map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256"}
		if s.Key != nil {
			verifier["publicKey"] = map[string]any{"rawBytes": shown}
		} else {
			verifier["x509Certificate"] = map[string]any{"rawBytes": shown}
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{i.record2(map[string]any{"hashedRekordV002": map[string]any{
			"data": map[string]any{"algorithm": "SHA2_256", "digest": digest}, "signature": map[string]any{"content": signature, "verifier": verifier}}})}
	case s.Predicate != "":
		hash := func(of []byte) any {
			return map[string]string{"algorithm": "sha256", "value": fmt.Sprintf("%x", sum(of))}
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{i.record1("dsse", seen, map[string]any{
			"envelopeHash": hash(envelope), "payloadHash": hash(payload), "signatures": []any{map[string]any{"signature": signature, "verifier": armoured}}})}
	default:
		material.TlogEntries = []*protorekor.TransparencyLogEntry{i.record1("hashedrekord", seen, map[string]any{
			"data":      map[string]any{"hash": map[string]string{"algorithm": "sha256", "value": fmt.Sprintf("%x", digest)}},
			"signature": map[string]any{"content": signature, "publicKey": map[string]any{"content": armoured}}})}
	}
	if s.Rekor2 {
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: i.Stamp(signature, seen)}}}
	}
	return b
}

// JSON is a bundle as it is published, with something changed if a test wants
// that. The bundle itself stays as it is.
func JSON(b *protobundle.Bundle, change ...func(*protobundle.Bundle)) []byte {
	b = proto.Clone(b).(*protobundle.Bundle)
	for _, f := range change {
		f(b)
	}
	return must(protojson.Marshal(b))
}

// Stamp is a timestamp authority's word that a signature was there.
func (i *Instance) Stamp(signature []byte, at time.Time) []byte {
	t := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum(signature), Time: at, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		SerialNumber: big.NewInt(1), AddTSACertificate: true,
	}
	return must(t.CreateResponseWithOpts(i.tsa.cert, i.tsa.key, crypto.SHA256))
}

// certify issues a certificate for ten minutes, which the CT log has seen.
func (i *Instance) certify(s Signing, holder *ecdsa.PrivateKey) []byte {
	i.serial++
	oid := func(last int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, last} }
	template := &x509.Certificate{
		SerialNumber: big.NewInt(i.serial), NotBefore: s.At.Add(-time.Minute), NotAfter: s.At.Add(9 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{
			{Id: oid(1), Value: []byte(s.Issuer)},
			{Id: oid(8), Value: must(asn1.MarshalWithParams(s.Issuer, "utf8"))},
		},
	}
	for last, text := range []string{12: s.Repository, 13: s.Commit, 14: s.Ref} {
		if text != "" {
			template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oid(last), Value: must(asn1.MarshalWithParams(text, "utf8"))})
		}
	}
	if strings.Contains(s.Identity, "://") {
		template.URIs = []*url.URL{must(url.Parse(s.Identity))}
	} else {
		template.EmailAddresses = []string{s.Identity}
	}
	issue := func() []byte {
		return must(x509.CreateCertificate(rand.Reader, template, i.ca.cert, holder.Public(), i.ca.key))
	}
	if s.Unseen {
		return issue()
	}
	// What a CT log signs is the certificate without the signature itself.
	// https://www.rfc-editor.org/rfc/rfc6962#section-3.2
	pre := must(x509.ParseCertificate(issue())).RawTBSCertificate
	at := binary.BigEndian.AppendUint64(nil, uint64(s.At.UnixMilli()))
	signed := append([]byte{0, 0}, at...)
	signed = append(signed, 0, 1)
	signed = append(signed, sum(i.ca.cert.RawSubjectPublicKeyInfo)...)
	signed = append(signed, byte(len(pre)>>16), byte(len(pre)>>8), byte(len(pre)))
	signed = append(append(signed, pre...), 0, 0)
	signature := must(ecdsa.SignASN1(rand.Reader, i.ct, sum(signed)))
	sct := append(append([]byte{0}, i.ctID...), at...)
	sct = append(sct, 0, 0, 4, 3, 0, byte(len(signature)))
	sct = append(sct, signature...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(sct)+2))
	list = append(binary.BigEndian.AppendUint16(list, uint16(len(sct))), sct...)
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: must(asn1.Marshal(list))})
	return issue()
}

// record1 logs something in the log of version 1, which promises at once to
// include it.
func (i *Instance) record1(kind string, at time.Time, spec map[string]any) *protorekor.TransparencyLogEntry {
	body := must(json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": kind, "spec": spec}))
	e := i.include(body, "rekor."+i.host+" - 42", i.id1, func(note []byte) []byte {
		return append(i.id1[:4:4], must(ecdsa.SignASN1(rand.Reader, i.log1, sum(note)))...)
	})
	e.KindVersion = &protorekor.KindVersion{Kind: kind, Version: "0.0.1"}
	e.IntegratedTime = at.Unix()
	promise := must(json.Marshal(map[string]any{"body": body, "integratedTime": e.IntegratedTime, "logID": fmt.Sprintf("%x", i.id1), "logIndex": e.LogIndex}))
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: must(ecdsa.SignASN1(rand.Reader, i.log1, sum(promise)))}
	return e
}

// record2 logs something in the log of version 2.
func (i *Instance) record2(spec map[string]any) *protorekor.TransparencyLogEntry {
	body := must(json.Marshal(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}))
	e := i.include(body, "rekor2."+i.host, i.id2, func(note []byte) []byte {
		return append(i.id2[:4:4], ed25519.Sign(i.log2, note)...)
	})
	e.KindVersion = &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"}
	e.LogIndex = e.InclusionProof.LogIndex
	return e
}

// include makes a log of two entries, the second of which is body.
func (i *Instance) include(body []byte, origin string, id []byte, sign func(note []byte) []byte) *protorekor.TransparencyLogEntry {
	i.entries++
	other := sum([]byte("\x00another entry"))
	root := sum([]byte{1}, other, sum([]byte{0}, body))
	note := fmt.Sprintf("%s\n2\n%s\n", origin, base64.StdEncoding.EncodeToString(root))
	name, _, _ := strings.Cut(origin, " ")
	checkpoint := fmt.Sprintf("%s\n— %s %s\n", note, name, base64.StdEncoding.EncodeToString(sign([]byte(note))))
	return &protorekor.TransparencyLogEntry{
		LogIndex: i.entries, LogId: &protocommon.LogId{KeyId: id}, CanonicalizedBody: body,
		InclusionProof: &protorekor.InclusionProof{LogIndex: 1, TreeSize: 2, RootHash: root, Hashes: [][]byte{other}, Checkpoint: &protorekor.Checkpoint{Envelope: checkpoint}},
	}
}
