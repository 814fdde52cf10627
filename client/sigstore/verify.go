// Package sigstore verifies Sigstore bundles: that an artifact is what a known
// identity, or the holder of a known key, has signed, and that logs and clocks
// which the trusted root names have seen it.
//
// It owns the policy, which is the same for every bundle, and the words for what
// was proven and what was not. The cryptography is sigstore-go's, whose one
// verdict decides: nothing here lets a bundle pass that it refuses.
//
// It trusts the trusted root that it is given, best one that a TUF client has
// verified, and nothing in a bundle. It asks no service and no clock: a bundle
// brings the proof of its own time.
package sigstore

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// MaxBundle and MaxTrustedRoot bound what is read of a file, in bytes. Bundles
// hold whole attestations, and some of those list all that is in an image.
const (
	MaxBundle      = 16 << 20
	MaxTrustedRoot = 5 << 20
)

// Verifier verifies bundles with one trusted root. It is safe for concurrent use.
type Verifier struct{ trusted *root.TrustedRoot }

// New reads a trusted_root.json. One that cannot be used is a
// [*TrustedRootError].
func New(trustedRoot []byte) (v *Verifier, err error) {
	defer func() {
		if p := recover(); p != nil { // it may be anybody's file
			v, err = nil, &TrustedRootError{Err: fmt.Errorf("the library panics: %v", p)}
		}
	}()
	if len(trustedRoot) > MaxTrustedRoot {
		return nil, &TrustedRootError{Err: fmt.Errorf("it is longer than %d bytes", MaxTrustedRoot)}
	}
	trusted, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, &TrustedRootError{Err: err}
	}
	return &Verifier{trusted: trusted}, nil
}

// Artifact is what a bundle should be about, known by its digests.
type Artifact struct{ sha256, sha384, sha512 []byte }

// Read takes the digests of an artifact, which may be of any length.
func Read(r io.Reader) (Artifact, error) { return read(r, true, true) }

// ReadFor is Read for one bundle: it takes SHA-256 and those digests that the
// bundle speaks of, and so ends much sooner with a large artifact. It judges
// nothing. For a bundle that it cannot read it takes all, and [Verifier.Verify]
// says what is wrong.
func ReadFor(r io.Reader, data []byte) (Artifact, error) {
	names, err := spokenOf(data)
	if err != nil {
		return Read(r)
	}
	return read(r, strings.Contains(names, "384"), strings.Contains(names, "512"))
}

func read(r io.Reader, with384, with512 bool) (Artifact, error) {
	a, b, c := sha256.New(), sha512.New384(), sha512.New()
	all := []io.Writer{a}
	if with384 {
		all = append(all, b)
	}
	if with512 {
		all = append(all, c)
	}
	if _, err := io.Copy(io.MultiWriter(all...), r); err != nil {
		return Artifact{}, err
	}
	read := Artifact{sha256: a.Sum(nil)}
	if with384 {
		read.sha384 = b.Sum(nil)
	}
	if with512 {
		read.sha512 = c.Sum(nil)
	}
	return read, nil
}

// spokenOf are the names of all digests by which a bundle knows its artifact, as
// they are written there.
func spokenOf(data []byte) (names string, err error) {
	defer func() {
		if p := recover(); p != nil { // strangers write bundles
			err = fmt.Errorf("the library panics: %v", p)
		}
	}()
	if len(data) > MaxBundle {
		return "", errors.New("it is too long")
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return "", err
	}
	content, err := b.SignatureContent()
	if err != nil {
		return "", err
	}
	if message := content.MessageSignatureContent(); message != nil {
		return message.DigestAlgorithm(), nil
	}
	statement, err := content.EnvelopeContent().Statement()
	if err != nil {
		return "", err
	}
	for _, s := range statement.GetSubject() {
		for name := range s.GetDigest() {
			names += name + " "
		}
	}
	return names, nil
}

// Digest reads the name of an artifact that is not at hand: sha256:, sha384: or
// sha512: and hex digits. It reports false for anything else.
func Digest(text string) (Artifact, bool) {
	algorithm, digits, _ := strings.Cut(text, ":")
	sum, err := hex.DecodeString(digits)
	switch {
	case err != nil:
	case algorithm == "sha256" && len(sum) == sha256.Size:
		return Artifact{sha256: sum}, true
	case algorithm == "sha384" && len(sum) == sha512.Size384:
		return Artifact{sha384: sum}, true
	case algorithm == "sha512" && len(sum) == sha512.Size:
		return Artifact{sha512: sum}, true
	}
	return Artifact{}, false
}

// String is an algorithm and the digest: sha256, if that is known.
func (a Artifact) String() string {
	for _, d := range a.digests() {
		return d.Algorithm + ":" + hex.EncodeToString(d.Digest)
	}
	return ""
}

// digests are the known ones by their names in attestations, in the order in
// which they are tried.
func (a Artifact) digests() (list []verify.ArtifactDigest) {
	for _, d := range []verify.ArtifactDigest{{Algorithm: "sha256", Digest: a.sha256}, {Algorithm: "sha512", Digest: a.sha512}, {Algorithm: "sha384", Digest: a.sha384}} {
		if d.Digest != nil {
			list = append(list, d)
		}
	}
	return list
}

// Pattern is what a name must be.
type Pattern struct {
	exact string
	whole *regexp.Regexp
	text  string // of the regexp, as it was given
}

// Exactly is the pattern of one name.
func Exactly(name string) Pattern { return Pattern{exact: name} }

// Matching is the pattern of all names that a regular expression (RE2) matches
// from their first character to their last. That is stricter than what other
// Sigstore clients do, for which https://example\.com also matches
// https://evil.test/https://example.com.
func Matching(expression string) (Pattern, error) {
	// By itself first: "a)|(b" would be two halves of something else below.
	if _, err := regexp.Compile(expression); err != nil {
		return Pattern{}, err
	}
	whole, err := regexp.Compile(`\A(?:` + expression + `)\z`)
	if err != nil {
		return Pattern{}, err
	}
	return Pattern{whole: whole, text: expression}, nil
}

func (p Pattern) isZero() bool { return p.exact == "" && p.whole == nil }

// String is the name, or /the expression/.
func (p Pattern) String() string {
	if p.whole != nil {
		return "/" + p.text + "/"
	}
	return p.exact
}

func (p Pattern) parts() (exact, expression string) {
	if p.whole != nil {
		return "", p.whole.String()
	}
	return p.exact, ""
}

// Policy says who must have signed: an identity that an issuer vouches for, or
// the holder of a key.
type Policy struct {
	Identity, Issuer Pattern
	Key              *Key // nil: Identity and Issuer
}

// Key is a public key that is known beforehand.
type Key struct {
	public crypto.PublicKey
	sum    [sha256.Size]byte
}

// ParseKey reads a public key in PEM (PKIX). One that cannot be used is a
// [*KeyError].
func ParseKey(data []byte) (*Key, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil || block.Type != "PUBLIC KEY":
		return nil, &KeyError{Err: errors.New("there is no PEM block of type PUBLIC KEY")}
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, &KeyError{Err: errors.New("more follows the key")}
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, &KeyError{Err: err}
	}
	if _, err := signature.LoadDefaultVerifier(public); err != nil {
		return nil, &KeyError{Err: err}
	}
	return &Key{public: public, sum: sha256.Sum256(block.Bytes)}, nil
}

// Fingerprint is the SHA-256 of the key's PKIX form.
func (k *Key) Fingerprint() string { return hex.EncodeToString(k.sum[:]) }

// Verify reports what a bundle proves of an artifact. What it does not prove is
// an [*Error], whose Step says at which point the proof breaks.
//
// Asked for of every bundle: a signature of the artifact by whom the policy
// names; one entry of a transparency log; one time, by a timestamp authority or a
// log, that lies within the windows of everything used. Of a certificate: that an
// authority issued it, that one CT log saw it.
func (v *Verifier) Verify(data []byte, a Artifact, p Policy) (proof *Proof, err error) {
	defer func() {
		if r := recover(); r != nil { // strangers write bundles
			proof, err = nil, &Error{Step: Bundle, Err: fmt.Errorf("the library panics: %v", r)}
		}
	}()
	if p.Key == nil && (p.Identity.isZero() || p.Issuer.isZero()) {
		return nil, errors.New("a policy needs an identity with its issuer, or a key")
	}
	if p.Key != nil && !(p.Identity.isZero() && p.Issuer.isZero()) {
		return nil, errors.New("a policy has either a key or an identity, not both")
	}
	if len(a.digests()) == 0 {
		return nil, errors.New("there is no artifact to verify")
	}
	c := &call{trusted: v.trusted, artifact: a, policy: p}
	if err := c.open(data); err != nil {
		return nil, &Error{Step: Bundle, Err: err}
	}
	if err := c.signer(); err != nil {
		return nil, &Error{Step: Identity, Err: err}
	}
	return c.verify()
}

// call is the verification of one bundle.
type call struct {
	trusted  *root.TrustedRoot
	artifact Artifact
	policy   Policy

	bundle  *bundle.Bundle
	leaf    *x509.Certificate // nil: signed with a key
	message verify.MessageSignatureContent
	digests []verify.ArtifactDigest // those of the artifact that the bundle may be about
	seen    *witness
}

func (c *call) open(data []byte) error {
	if len(data) > MaxBundle {
		return fmt.Errorf("it is longer than %d bytes", MaxBundle)
	}
	c.bundle = new(bundle.Bundle)
	if err := c.bundle.UnmarshalJSON(data); err != nil {
		return err
	}
	material, err := c.bundle.VerificationContent()
	if err != nil {
		return err
	}
	c.leaf = material.Certificate()
	content, err := c.bundle.SignatureContent()
	if err != nil {
		return err
	}
	c.message = content.MessageSignatureContent()
	if c.message == nil {
		c.digests = c.artifact.digests()
		return nil
	}
	switch algorithm := c.message.DigestAlgorithm(); algorithm {
	case "SHA2_256":
		c.digests = []verify.ArtifactDigest{{Algorithm: "sha256", Digest: c.artifact.sha256}}
	case "SHA2_384":
		c.digests = []verify.ArtifactDigest{{Algorithm: "sha384", Digest: c.artifact.sha384}}
	case "SHA2_512":
		c.digests = []verify.ArtifactDigest{{Algorithm: "sha512", Digest: c.artifact.sha512}}
	default:
		return fmt.Errorf("it signs a digest by %s, and SHA2_256, SHA2_384 and SHA2_512 are known", algorithm)
	}
	if c.digests[0].Digest == nil {
		return fmt.Errorf("it signs a digest by %s, and of the artifact only %s is known", c.digests[0].Algorithm, c.artifact)
	}
	return nil
}

// signer compares the kind of signer with the kind that is asked for.
func (c *call) signer() error {
	e := &IdentityError{Policy: c.policy}
	switch {
	case c.policy.Key == nil && c.leaf == nil:
		return e
	case c.policy.Key != nil && c.leaf != nil:
		if summary, err := certificate.SummarizeCertificate(c.leaf); err == nil {
			e.Identity, e.Issuer = summary.SubjectAlternativeName, summary.Issuer
		}
		e.Certificate = true
		return e
	}
	return nil
}

// verify asks the library, once for each digest that an attestation may list.
func (c *call) verify() (*Proof, error) {
	var failure *Error
	for _, digest := range c.digests {
		result, err := c.ask(digest, true, true)
		if err == nil {
			return c.proof(result)
		}
		e := c.blame(digest, err)
		if e.Step != Subject {
			return nil, e
		}
		if failure == nil {
			failure = e
		}
	}
	return nil, failure
}

// ask is one call of the library. Without whole neither CT logs nor the signer
// count; without artifact, nor does the artifact. That is for finding out what
// is wrong, never for a verdict.
func (c *call) ask(digest verify.ArtifactDigest, artifact, whole bool) (*verify.VerificationResult, error) {
	v, err := c.verifier(whole && c.leaf != nil)
	if err != nil {
		return nil, err
	}
	var about verify.ArtifactPolicyOption
	switch {
	case artifact:
		about = verify.WithArtifactDigest(digest.Algorithm, digest.Digest)
	case c.message != nil:
		about = verify.WithArtifactDigest(digest.Algorithm, c.message.Digest())
	default:
		about = verify.WithoutArtifactUnsafe()
	}
	by, err := c.by(whole)
	if err != nil {
		return nil, err
	}
	return v.Verify(c.bundle, verify.NewPolicy(about, by))
}

func (c *call) verifier(ct bool) (*verify.Verifier, error) {
	c.seen = &witness{TrustedMaterial: c.trusted}
	material := root.TrustedMaterialCollection{c.seen}
	opts := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithoutStatementPredicate()}
	if c.policy.Key != nil {
		key, err := c.policy.Key.verifier(c.message != nil)
		if err != nil {
			return nil, err
		}
		// Whatever the bundle calls its key, it is this one.
		material = append(material, root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
			return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
		}))
	}
	if ct {
		opts = append(opts, verify.WithSignedCertificateTimestamps(1))
	}
	return verify.NewVerifier(material, opts...)
}

func (k *Key) verifier(message bool) (signature.Verifier, error) {
	if message { // a digest is all that is at hand, so Ed25519 is its prehashed form
		return signature.LoadDefaultVerifier(k.public, options.WithED25519ph())
	}
	return signature.LoadDefaultVerifier(k.public)
}

func (c *call) by(whole bool) (verify.PolicyOption, error) {
	switch {
	case c.policy.Key != nil:
		return verify.WithKey(), nil
	case !whole:
		return verify.WithoutIdentitiesUnsafe(), nil
	}
	san, sanExpression := c.policy.Identity.parts()
	issuer, issuerExpression := c.policy.Issuer.parts()
	identity, err := verify.NewShortCertificateIdentity(issuer, issuerExpression, san, sanExpression)
	return verify.WithCertificateIdentity(identity), err
}

// blame finds out at which step a bundle fails that the library refused.
func (c *call) blame(digest verify.ArtifactDigest, refusal error) *Error {
	v, err := c.verifier(false)
	if err != nil {
		return &Error{Step: Bundle, Err: err}
	}
	if c.policy.Key != nil { // another key explains all else
		if err := c.signedByKey(); err != nil {
			return &Error{Step: Signature, Err: err}
		}
	}
	times, err := v.VerifyTransparencyLogInclusion(c.bundle)
	if err != nil {
		if ids := c.strangeLogs(); ids != nil {
			return &Error{Step: Log, Err: err, UnknownLogs: ids}
		}
		return &Error{Step: Log, Err: err}
	}
	if _, err = v.VerifyObserverTimestamps(c.bundle, times); err != nil {
		return &Error{Step: Time, Err: err}
	}
	if _, err = c.ask(digest, false, false); err != nil {
		if c.seen.unissued() {
			return &Error{Step: Certificate, Err: err}
		}
		return &Error{Step: Signature, Err: err}
	}
	if _, err = c.ask(digest, true, false); err != nil {
		return &Error{Step: Subject, Err: err}
	}
	var mismatch *verify.ErrNoMatchingCertificateIdentity
	if !errors.As(refusal, &mismatch) {
		return &Error{Step: CTLog, Err: refusal} // all that is left
	}
	e := &IdentityError{Policy: c.policy, Certificate: true}
	if summary, err := certificate.SummarizeCertificate(c.leaf); err == nil {
		e.Identity, e.Issuer = summary.SubjectAlternativeName, summary.Issuer
	}
	return &Error{Step: Identity, Err: e}
}

// signedByKey asks for the signature alone, whatever is signed.
func (c *call) signedByKey() error {
	key, err := c.policy.Key.verifier(c.message != nil)
	if err != nil {
		return err
	}
	if c.message != nil {
		return key.VerifySignature(bytes.NewReader(c.message.Signature()), nil, options.WithDigest(c.message.Digest()))
	}
	content, err := c.bundle.SignatureContent()
	if err != nil {
		return err
	}
	material, err := c.bundle.VerificationContent()
	if err != nil {
		return err
	}
	return verify.VerifySignature(content, material, root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(key, time.Time{}, time.Time{}), nil
	}))
}

// strangeLogs are the logs of the bundle's entries if the trusted root knows none
// of them.
func (c *call) strangeLogs() (ids []string) {
	known := c.trusted.RekorLogs()
	for _, e := range c.bundle.GetVerificationMaterial().GetTlogEntries() {
		id := hex.EncodeToString(e.GetLogId().GetKeyId())
		if known[id] != nil {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}
