package demo

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// instance is a whole Sigstore in memory: certificate authority, transparency
// log, timestamp authority.
type instance struct {
	virtual     *ca.VirtualSigstore
	trustedRoot []byte // trusted_root.json
}

// Who signs the artifact, and who vouched for that at the time.
const (
	artifactSigner = "release@example.com"
	artifactIssuer = "https://login.example.com"
)

func newInstance() (*instance, error) {
	v, err := ca.NewVirtualSigstore()
	if err != nil {
		return nil, fmt.Errorf("make a Sigstore instance: %w", err)
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, issuers(v.FulcioCertificateAuthorities()), logs(v.CTLogs()), stampers(v.TimestampingAuthorities()), logs(v.RekorLogs()))
	if err != nil {
		return nil, fmt.Errorf("describe the Sigstore instance: %w", err)
	}
	data, err := tr.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return &instance{virtual: v, trustedRoot: append(data, '\n')}, nil
}

// The virtual instance lives for some hours of real time and says so in its
// windows, which lie far from the clock of the demo and begin before its
// certificates do. issuers, stampers and logs let each begin with the last of its
// certificates and stay open.

func issuers(list []root.CertificateAuthority) []root.CertificateAuthority {
	for i, one := range list {
		if ca, ok := one.(*root.FulcioCertificateAuthority); ok {
			open := *ca
			open.ValidityPeriodStart, open.ValidityPeriodEnd = latest(append(ca.Intermediates, ca.Root)), time.Time{}
			list[i] = &open
		}
	}
	return list
}

func stampers(list []root.TimestampingAuthority) []root.TimestampingAuthority {
	for i, one := range list {
		if tsa, ok := one.(*root.SigstoreTimestampingAuthority); ok {
			open := *tsa
			open.ValidityPeriodStart, open.ValidityPeriodEnd = latest(append(tsa.Intermediates, tsa.Leaf, tsa.Root)), time.Time{}
			open.URI += "/api/v1/timestamp"
			list[i] = &open
		}
	}
	return list
}

// latest is when the last of some certificates becomes valid.
func latest(certs []*x509.Certificate) time.Time {
	var at time.Time
	for _, c := range certs {
		if c != nil && c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	return at
}

// logs also sets the ids of logs to what clients compute: the virtual instance
// holds their hex where the bytes should be.
func logs(virtual map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	fixed := map[string]*root.TransparencyLog{}
	for id, l := range virtual {
		log := *l
		if raw, err := hex.DecodeString(id); err == nil {
			log.ID = raw
		}
		log.ValidityPeriodEnd = time.Time{}
		if !strings.HasPrefix(log.BaseURL, "https://") {
			log.BaseURL = "https://ctfe.localhost"
		}
		fixed[id] = &log
	}
	return fixed
}

// sign makes a Sigstore bundle that says who built an artifact.
func (i *instance) sign(name string, artifact []byte) ([]byte, error) {
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":{"sha256":"%x"}}],`+
		`"predicateType":"https://example.com/built-by","predicate":{}}`, path.Base(name), sha256.Sum256(artifact))
	e, err := i.virtual.AttestAtTimeHashedRekordV2(artifactSigner, artifactIssuer, []byte(statement), time.Now())
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	cert, err := e.VerificationContent()
	if err != nil {
		return nil, err
	}
	content, err := e.SignatureContent()
	if err != nil {
		return nil, err
	}
	stamps, err := e.Timestamps()
	if err != nil {
		return nil, err
	}
	entries, err := e.TlogEntries()
	if err != nil {
		return nil, err
	}
	envelope := content.EnvelopeContent().RawEnvelope()
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		return nil, err
	}
	material := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: cert.Certificate().Raw}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	for _, t := range stamps {
		material.TimestampVerificationData.Rfc3161Timestamps = append(material.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: t})
	}
	for _, l := range entries {
		material.TlogEntries = append(material.TlogEntries, []*protorekor.TransparencyLogEntry{l.TransparencyLogEntry()}...)
	}
	b, err := bundle.NewBundle(&protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: material,
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: payload, PayloadType: envelope.PayloadType, Signatures: []*protodsse.Signature{{Sig: content.Signature()}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("bundle for %s: %w", name, err)
	}
	return b.MarshalJSON()
}

// verifyBundle verifies an artifact with nothing but a trusted root and its
// bundle: certificate, transparency log, timestamp and identity.
func verifyBundle(trustedRoot, bundleJSON, artifact []byte) error {
	tr, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return fmt.Errorf("trusted root: %w", err)
	}
	b := &bundle.Bundle{}
	if err := b.UnmarshalJSON(bundleJSON); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	v, err := verify.NewVerifier(tr, verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1))
	if err != nil {
		return err
	}
	who, err := verify.NewShortCertificateIdentity(artifactIssuer, "", artifactSigner, "")
	if err != nil {
		return err
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(artifact)), verify.WithCertificateIdentity(who)))
	return err
}
