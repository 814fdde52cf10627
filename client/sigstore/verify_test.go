package sigstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/client/sigstore/sigstoretest"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

var (
	start  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	signed = start.Add(48 * time.Hour)

	artifact = []byte("an artifact")

	here  = sigstoretest.New("one.test", start)
	there = sigstoretest.New("two.test", start)
)

const (
	who   = "https://forge.test/good/repo/release.yml@refs/tags/v1"
	vouch = "https://login.test"
)

// signings are the kinds of bundle that there are.
func signings() map[string]sigstoretest.Signing {
	list := map[string]sigstoretest.Signing{}
	for name, s := range map[string]sigstoretest.Signing{
		"message": {}, "attestation": {Predicate: "https://predicate.test/v1"},
	} {
		s.Artifact, s.At, s.Identity, s.Issuer = artifact, signed, who, vouch
		list[name+", rekor v1"] = s
		s.Rekor2 = true
		list[name+", rekor v2"] = s
		s.Identity, s.Issuer, s.Key = "", "", holder
		list[name+", key, rekor v2"] = s
		s.Rekor2 = false
		list[name+", key, rekor v1"] = s
	}
	return list
}

var holder, stranger = newKey(), newKey()

func newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

func publicKey(t testing.TB, k *ecdsa.PrivateKey) *sigstore.Key {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := sigstore.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// policy asks for what a signing is.
func policy(t testing.TB, s sigstoretest.Signing) sigstore.Policy {
	t.Helper()
	if s.Key != nil {
		return sigstore.Policy{Key: publicKey(t, s.Key)}
	}
	return sigstore.Policy{Identity: sigstore.Exactly(who), Issuer: sigstore.Exactly(vouch)}
}

func digests(t testing.TB, data []byte) sigstore.Artifact {
	t.Helper()
	a, err := sigstore.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func verifier(t testing.TB, trustedRoot []byte) *sigstore.Verifier {
	t.Helper()
	v, err := sigstore.New(trustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantStep fails unless err is that a bundle breaks at a step, with a hint.
func wantStep(t *testing.T, err error, want sigstore.Step) *sigstore.Error {
	t.Helper()
	var e *sigstore.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T), want a *sigstore.Error", err, err)
	}
	if e.Step != want {
		t.Fatalf("breaks at %q, want %q: %v", e.Step, want, err)
	}
	if e.Hint() == "" || e.Error() == "" {
		t.Errorf("%#v has no text or no hint", e)
	}
	return e
}

// Every kind of bundle verifies, by file and by digest, and the proof names the
// entries of the trusted root that it stands on, and no others.
func TestGood(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	named, _ := sigstore.Digest(digests(t, artifact).String())
	for name, s := range signings() {
		t.Run(name, func(t *testing.T) {
			b := here.Sign(s)
			proof, err := v.Verify(sigstoretest.JSON(b), digests(t, artifact), policy(t, s))
			if err != nil {
				t.Fatal(err)
			}
			again, err := v.Verify(sigstoretest.JSON(b), named, policy(t, s))
			if err != nil || !reflect.DeepEqual(proof, again) {
				t.Errorf("by digest: %+v, %v; by file: %+v", again, err, proof)
			}
			alone, err := sigstore.ReadFor(bytes.NewReader(artifact), sigstoretest.JSON(b))
			if err != nil {
				t.Fatal(err)
			}
			if again, err = v.Verify(sigstoretest.JSON(b), alone, policy(t, s)); err != nil || !reflect.DeepEqual(proof, again) {
				t.Errorf("by what the bundle speaks of: %+v, %v; by file: %+v", again, err, proof)
			}
			if proof.Artifact != named.String() || proof.PredicateType != s.Predicate || proof.Bundle != "v0.3" {
				t.Errorf("artifact %s, predicate %q, bundle %s", proof.Artifact, proof.PredicateType, proof.Bundle)
			}
			logURL, clock := "https://rekor.one.test", "https://rekor.one.test"
			if s.Rekor2 {
				logURL, clock = "https://rekor2.one.test", "https://tsa.one.test/api/v1/timestamp"
			}
			if len(proof.Logs) != 1 || proof.Logs[0].Log.URL != logURL || !proof.Logs[0].Included || proof.Logs[0].Promised == s.Rekor2 {
				t.Errorf("logs %+v, want %s", proof.Logs, logURL)
			}
			if len(proof.Times) != 1 || proof.Times[0].By.URL != clock || !proof.Times[0].At.Equal(signed) {
				t.Errorf("times %+v, want %s of %s", proof.Times, signed, clock)
			}
			if s.Key != nil {
				if want := (sigstore.Signer{Key: publicKey(t, s.Key).Fingerprint()}); proof.Signer != want || len(proof.Issuers)+len(proof.CTLogs) > 0 {
					t.Errorf("signer %+v, issuers %+v, CT logs %+v", proof.Signer, proof.Issuers, proof.CTLogs)
				}
				return
			}
			if want := (sigstore.Signer{Identity: who, Issuer: vouch}); proof.Signer != want {
				t.Errorf("signer %+v", proof.Signer)
			}
			if len(proof.Issuers) != 1 || proof.Issuers[0].URL != "https://fulcio.one.test" || !proof.Issuers[0].Window.Start.Equal(start) {
				t.Errorf("issuers %+v", proof.Issuers)
			}
			if len(proof.CTLogs) != 1 || proof.CTLogs[0].URL != "https://ct.one.test" {
				t.Errorf("CT logs %+v", proof.CTLogs)
			}
			for _, part := range []string{"verified " + proof.Artifact, who, vouch, logURL, clock, "https://fulcio.one.test", "https://ct.one.test", "2026-01-03T00:00:00Z", s.Predicate} {
				if !strings.Contains(proof.Text(), part) {
					t.Errorf("%q is not in\n%s", part, proof.Text())
				}
			}
		})
	}
}

// Of an artifact no digest is taken that its bundle does not speak of, but SHA-256,
// by which people know it; and all are taken where the bundle cannot be read. The
// verdict is that over all digests.
func TestReadFor(t *testing.T) {
	message, attestation := signings()["message, rekor v1"], signings()["attestation, rekor v1"]
	by := func(algorithm protocommon.HashAlgorithm) []byte {
		return sigstoretest.JSON(here.Sign(message), func(b *protobundle.Bundle) { b.GetMessageSignature().MessageDigest.Algorithm = algorithm })
	}
	subject := func(names ...string) []byte {
		sums := map[string]string{}
		for _, n := range names {
			sums[n] = "00"
		}
		return sigstoretest.JSON(here.Sign(attestation), func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = must(json.Marshal(map[string]any{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://predicate.test/v1",
				"subject": []any{map[string]any{"name": "another", "digest": map[string]string{"sha256": "00"}}, map[string]any{"name": "this", "digest": sums}}}))
		})
	}
	all := []string{"sha256", "sha512", "sha384"}
	for what, c := range map[string]struct {
		bundle []byte
		want   []string
	}{
		"message":                  {sigstoretest.JSON(here.Sign(message)), []string{"sha256"}},
		"message by SHA-384":       {by(protocommon.HashAlgorithm_SHA2_384), []string{"sha256", "sha384"}},
		"message by SHA-512":       {by(protocommon.HashAlgorithm_SHA2_512), []string{"sha256", "sha512"}},
		"attestation":              {sigstoretest.JSON(here.Sign(attestation)), []string{"sha256"}},
		"attestation of a SHA-512": {subject("sha512"), []string{"sha256", "sha512"}},
		"of a SHA-384":             {subject("sha384", "gitCommit"), []string{"sha256", "sha384"}},
		"of several":               {subject("sha512", "sha384", "sha256"), all},
		"a real one":               {trustroottest.SigstoreData(t, "bundles/sigstore.js@2.0.0-provenance.sigstore.json"), []string{"sha256", "sha512"}},
		"no bundle":                {[]byte("{}"), all},
		"cut off":                  {sigstoretest.JSON(here.Sign(message))[:100], all},
		"empty":                    {nil, all},
		"too long":                 {make([]byte, sigstore.MaxBundle+1), all},
		"an attestation of what is unknown": {sigstoretest.JSON(here.Sign(attestation), func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().PayloadType = "text/plain"
		}), all},
	} {
		a, err := sigstore.ReadFor(bytes.NewReader(artifact), c.bundle)
		if err != nil || !slices.Equal(a.Algorithms(), c.want) {
			t.Errorf("%s: takes %v, %v, want %v", what, a.Algorithms(), err, c.want)
		}
		if every := digests(t, artifact); a.String() != every.String() || !slices.Equal(every.Algorithms(), all) {
			t.Errorf("%s: %s, by Read %s", what, a, every)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := sigstore.ReadFor(iotest.ErrReader(broken), nil); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// flip changes one bit in the middle.
func flip(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

func shut(r *protocommon.TimeRange) { r.End = timestamppb.New(signed.Add(-time.Hour)) }

// Each change breaks a bundle that is good without it, at the step that it
// belongs to.
func TestTampered(t *testing.T) {
	type kind func(s sigstoretest.Signing) bool
	var (
		all         = kind(func(sigstoretest.Signing) bool { return true })
		v1          = kind(func(s sigstoretest.Signing) bool { return !s.Rekor2 })
		v2          = kind(func(s sigstoretest.Signing) bool { return s.Rekor2 })
		certified   = kind(func(s sigstoretest.Signing) bool { return s.Key == nil })
		byKey       = kind(func(s sigstoretest.Signing) bool { return s.Key != nil })
		message     = kind(func(s sigstoretest.Signing) bool { return s.Predicate == "" })
		attestation = kind(func(s sigstoretest.Signing) bool { return s.Predicate != "" })
		and         = func(a, b kind) kind {
			return func(s sigstoretest.Signing) bool { return a(s) && b(s) }
		}
		entry = func(b *protobundle.Bundle) *protorekor.TransparencyLogEntry {
			return b.VerificationMaterial.TlogEntries[0]
		}
	)
	v := verifier(t, here.TrustedRoot())
	goods := map[string]*protobundle.Bundle{}
	for name, s := range signings() {
		goods[name] = here.Sign(s)
		if _, err := v.Verify(sigstoretest.JSON(goods[name]), digests(t, artifact), policy(t, s)); err != nil {
			t.Fatalf("%s, without any change: %v", name, err)
		}
	}
	for _, test := range []struct {
		name   string
		of     kind
		sign   func(*sigstoretest.Signing)
		change func(*protobundle.Bundle)
		trust  func(*prototrust.TrustedRoot)
		want   sigstore.Step
	}{
		{name: "no media type", of: all, want: sigstore.Bundle, change: func(b *protobundle.Bundle) { b.MediaType = "" }},
		{name: "of a later version", of: all, want: sigstore.Bundle, change: func(b *protobundle.Bundle) {
			b.MediaType = "application/vnd.dev.sigstore.bundle.v0.9+json"
		}},
		{name: "no content", of: all, want: sigstore.Bundle, change: func(b *protobundle.Bundle) { b.Content = nil }},
		{name: "no signer", of: all, want: sigstore.Bundle, change: func(b *protobundle.Bundle) { b.VerificationMaterial.Content = nil }},
		{name: "the digest of an unknown kind", of: message, want: sigstore.Bundle, change: func(b *protobundle.Bundle) {
			b.GetMessageSignature().MessageDigest.Algorithm = protocommon.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED
		}},
		{name: "no certificate", of: certified, want: sigstore.Bundle, change: func(b *protobundle.Bundle) {
			b.VerificationMaterial.GetCertificate().RawBytes = []byte("a certificate")
		}},

		{name: "not logged", of: all, want: sigstore.Log, change: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }},
		{name: "logged twice the same", of: all, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, entry(b))
		}},
		{name: "promise", of: v1, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			entry(b).InclusionPromise.SignedEntryTimestamp = flip(entry(b).InclusionPromise.SignedEntryTimestamp)
		}},
		{name: "the time of the promise", of: v1, want: sigstore.Log, change: func(b *protobundle.Bundle) { entry(b).IntegratedTime++ }},
		{name: "the way to the root of the log", of: all, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			entry(b).InclusionProof.Hashes[0] = flip(entry(b).InclusionProof.Hashes[0])
		}},
		{name: "another root of the log", of: v1, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			entry(b).InclusionProof.RootHash = flip(entry(b).InclusionProof.RootHash)
		}},
		{name: "no checkpoint", of: all, want: sigstore.Bundle, change: func(b *protobundle.Bundle) {
			entry(b).InclusionProof.Checkpoint = nil
		}},
		{name: "a checkpoint of another size", of: all, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			c := entry(b).InclusionProof.Checkpoint
			c.Envelope = strings.Replace(c.Envelope, "\n2\n", "\n3\n", 1)
		}},
		{name: "the entry of another signature", of: all, want: sigstore.Log, change: func(b *protobundle.Bundle) {
			s := signings()["message, rekor v1"]
			if entry(b).InclusionPromise == nil {
				s = signings()["message, rekor v2"]
			}
			b.VerificationMaterial.TlogEntries = here.Sign(s).VerificationMaterial.TlogEntries
		}},
		{name: "logged when the certificate had ended", of: and(v1, certified), want: sigstore.Log, sign: func(s *sigstoretest.Signing) { s.Late = time.Hour }},
		{name: "the log was closed", of: all, want: sigstore.Log, trust: func(r *prototrust.TrustedRoot) {
			shut(r.Tlogs[0].PublicKey.ValidFor)
			shut(r.Tlogs[1].PublicKey.ValidFor)
		}},
		{name: "the log is of another", of: all, want: sigstore.Log, trust: func(r *prototrust.TrustedRoot) {
			r.Tlogs[0].PublicKey.RawBytes = other(t).Tlogs[0].PublicKey.RawBytes
			r.Tlogs[1].PublicKey.RawBytes = other(t).Tlogs[1].PublicKey.RawBytes
		}},
		{name: "no log is known", of: all, want: sigstore.Log, trust: func(r *prototrust.TrustedRoot) { r.Tlogs = nil }},

		{name: "no timestamp", of: v2, want: sigstore.Time, change: func(b *protobundle.Bundle) { b.VerificationMaterial.TimestampVerificationData = nil }},
		{name: "the timestamp of another signature", of: v2, want: sigstore.Time, change: restamp(here, []byte("another signature"))},
		{name: "the timestamp of a stranger", of: v2, want: sigstore.Time, change: func(b *protobundle.Bundle) {
			restamp(there, b.GetMessageSignature().GetSignature())(b)
		}},
		{name: "the timestamp authority was closed", of: v2, want: sigstore.Time, trust: func(r *prototrust.TrustedRoot) { shut(r.TimestampAuthorities[0].ValidFor) }},
		{name: "no timestamp authority is known", of: v2, want: sigstore.Time, trust: func(r *prototrust.TrustedRoot) { r.TimestampAuthorities = nil }},

		{name: "stamped when the certificate had ended", of: and(v2, certified), want: sigstore.Certificate, sign: func(s *sigstoretest.Signing) { s.Late = time.Hour }},
		{name: "stamped once more when the certificate had ended", of: and(v1, certified), want: sigstore.Certificate, change: func(b *protobundle.Bundle) {
			signature := b.GetMessageSignature().GetSignature()
			if e := b.GetDsseEnvelope(); e != nil {
				signature = e.Signatures[0].Sig
			}
			b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
				Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: here.Stamp(signature, signed.Add(time.Hour))}}}
		}},
		{name: "the authority was closed", of: certified, want: sigstore.Certificate, trust: func(r *prototrust.TrustedRoot) { shut(r.CertificateAuthorities[0].ValidFor) }},
		{name: "the authority is of another", of: certified, want: sigstore.Certificate, trust: func(r *prototrust.TrustedRoot) {
			r.CertificateAuthorities = other(t).CertificateAuthorities
		}},

		{name: "signed by another key than the certificate's", want: sigstore.Signature, sign: func(s *sigstoretest.Signing) { s.Forged = true },
			of: func(s sigstoretest.Signing) bool { return s.Key == nil && (s.Rekor2 || s.Predicate != "") }},
		{name: "the same in an entry that holds it whole", of: and(certified, and(v1, message)), want: sigstore.Bundle, sign: func(s *sigstoretest.Signing) { s.Forged = true }},
		{name: "signed by another key", of: byKey, want: sigstore.Signature, sign: func(s *sigstoretest.Signing) { s.Key = stranger }},
		{name: "the signature of a key", of: and(byKey, message), want: sigstore.Signature, change: func(b *protobundle.Bundle) {
			b.GetMessageSignature().Signature = flip(b.GetMessageSignature().Signature)
		}},
		// What is not logged like this fails there already.
		{name: "the signature", of: and(certified, message), want: sigstore.Log, change: func(b *protobundle.Bundle) {
			b.GetMessageSignature().Signature = flip(b.GetMessageSignature().Signature)
		}},
		{name: "the attestation", of: and(certified, attestation), want: sigstore.Log, change: func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = bytes.Replace(b.GetDsseEnvelope().Payload, []byte("here"), []byte("hers"), 1)
		}},
		{name: "the attestation of a key", of: and(byKey, attestation), want: sigstore.Signature, change: func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = bytes.Replace(b.GetDsseEnvelope().Payload, []byte("here"), []byte("hers"), 1)
		}},
		{name: "a second signature", of: and(certified, attestation), want: sigstore.Signature, change: func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Signatures = append(e.Signatures, e.Signatures[0])
		}},

		{name: "of another artifact", of: all, want: sigstore.Subject, sign: func(s *sigstoretest.Signing) { s.Artifact = []byte("another artifact") }},

		{name: "no CT log has seen it", of: certified, want: sigstore.CTLog, sign: func(s *sigstoretest.Signing) { s.Unseen = true }},
		{name: "the CT log was closed", of: certified, want: sigstore.CTLog, trust: func(r *prototrust.TrustedRoot) { shut(r.Ctlogs[0].PublicKey.ValidFor) }},
		{name: "the CT log is of another", of: certified, want: sigstore.CTLog, trust: func(r *prototrust.TrustedRoot) {
			r.Ctlogs[0].PublicKey.RawBytes = other(t).Ctlogs[0].PublicKey.RawBytes
		}},
		{name: "no CT log is known", of: certified, want: sigstore.CTLog, trust: func(r *prototrust.TrustedRoot) { r.Ctlogs = nil }},

		{name: "by somebody else", of: certified, want: sigstore.Identity, sign: func(s *sigstoretest.Signing) { s.Identity = who + "0" }},
		{name: "somebody else vouches", of: certified, want: sigstore.Identity, sign: func(s *sigstoretest.Signing) { s.Issuer = vouch + "/" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			tried := 0
			for name, s := range signings() {
				if !test.of(s) {
					continue
				}
				tried++
				t.Run(name, func(t *testing.T) {
					asked := policy(t, s)
					bad, judge := goods[name], v
					if test.sign != nil {
						changed := s
						test.sign(&changed)
						bad = here.Sign(changed)
					}
					data := sigstoretest.JSON(bad)
					if test.change != nil {
						data = sigstoretest.JSON(bad, test.change)
					}
					if test.trust != nil {
						judge = verifier(t, here.TrustedRoot(test.trust))
					}
					proof, err := judge.Verify(data, digests(t, artifact), asked)
					wantStep(t, err, test.want)
					if proof != nil {
						t.Errorf("proves %+v all the same", proof)
					}
				})
			}
			if tried == 0 {
				t.Error("no bundle is of this kind")
			}
		})
	}
}

// restamp replaces the timestamp.
func restamp(i *sigstoretest.Instance, signature []byte) func(*protobundle.Bundle) {
	return func(b *protobundle.Bundle) {
		b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps[0].SignedTimestamp = i.Stamp(signature, signed)
	}
}

// other is the trusted root of the other instance.
func other(t *testing.T) (tr *prototrust.TrustedRoot) {
	t.Helper()
	there.TrustedRoot(func(r *prototrust.TrustedRoot) { tr = r })
	return tr
}

// An entry that does not verify beside one that does stands in no proof, nor does
// the time that it states. Of a log of version 2, whose entries bring no promise, it
// breaks the whole bundle.
func TestOneGoodEntry(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	for name, s := range signings() {
		for first, place := range map[bool]string{true: "before", false: "after"} {
			b := here.Sign(s)
			good := b.VerificationMaterial.TlogEntries[0]
			bad := proto.Clone(good).(*protorekor.TransparencyLogEntry)
			bad.LogIndex++
			bad.IntegratedTime = signed.Add(-time.Minute).Unix()
			bad.InclusionProof.Hashes[0] = flip(bad.InclusionProof.Hashes[0])
			if first {
				b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{bad, good}
			} else {
				b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{good, bad}
			}
			proof, err := v.Verify(sigstoretest.JSON(b), digests(t, artifact), policy(t, s))
			if s.Rekor2 {
				wantStep(t, err, sigstore.Log)
				continue
			}
			if err != nil {
				t.Errorf("%s, a bad entry %s the good one: %v", name, place, err)
				continue
			}
			if len(proof.Logs) != 1 || proof.Logs[0].Index != good.LogIndex {
				t.Errorf("%s, a bad entry %s the good one: logs %+v, want the entry %d", name, place, proof.Logs, good.LogIndex)
			}
			if len(proof.Times) != 1 || !proof.Times[0].At.Equal(signed) {
				t.Errorf("%s, a bad entry %s the good one: times %+v, want %s", name, place, proof.Times, signed)
			}
		}
	}
}

// An entry of a log that the trusted root does not know is passed over.
func TestEntryOfUnknownLog(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	for name, s := range signings() {
		b := here.Sign(s)
		good := b.VerificationMaterial.TlogEntries[0]
		unknown := proto.Clone(good).(*protorekor.TransparencyLogEntry)
		unknown.LogIndex++
		unknown.LogId.KeyId = flip(unknown.LogId.KeyId)
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{unknown, good}
		proof, err := v.Verify(sigstoretest.JSON(b), digests(t, artifact), policy(t, s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(proof.Logs) != 1 || proof.Logs[0].Index != good.LogIndex {
			t.Errorf("%s: logs %+v, want the entry %d", name, proof.Logs, good.LogIndex)
		}
	}
}

// Who signed is said in full: of a key its digest, of a build where it came from.
func TestProofSays(t *testing.T) {
	for _, test := range []struct {
		signer sigstore.Signer
		want   string
	}{
		{sigstore.Signer{Key: "ab"}, "  signed by    the key with SHA-256 ab\n"},
		{sigstore.Signer{Identity: who, Issuer: vouch}, "  signed by    " + who + "\n               for whom " + vouch + " vouched\n"},
		{sigstore.Signer{Identity: "i", Issuer: "j", Repository: "https://forge.test/good/repo", Ref: "refs/tags/v1", Commit: "c0ffee"},
			"  signed by    i\n               for whom j vouched\n  built from   https://forge.test/good/repo\n               refs/tags/v1 c0ffee\n"},
		{sigstore.Signer{Identity: "i\x1b[2J", Issuer: "j"}, "  signed by    i\\x1b[2J\n               for whom j vouched\n"},
	} {
		got := (&sigstore.Proof{Artifact: "sha256:00", Signer: test.signer}).Text()
		if want := "verified sha256:00\n" + test.want; got != want {
			t.Errorf("%+v:\n%s\nwant\n%s", test.signer, got, want)
		}
	}
}

// A bundle of another instance is called that, with the IDs of its logs.
func TestOtherInstance(t *testing.T) {
	for name, s := range signings() {
		b := sigstoretest.JSON(there.Sign(s))
		if _, err := verifier(t, there.TrustedRoot()).Verify(b, digests(t, artifact), policy(t, s)); err != nil {
			t.Fatalf("%s, in its own instance: %v", name, err)
		}
		_, err := verifier(t, here.TrustedRoot()).Verify(b, digests(t, artifact), policy(t, s))
		e := wantStep(t, err, sigstore.Log)
		if len(e.UnknownLogs) != 1 || !strings.Contains(e.Error(), e.UnknownLogs[0]) || !strings.Contains(e.Hint(), "another Sigstore instance") {
			t.Errorf("%s: %q, hint %q", name, e, e.Hint())
		}
	}
}

// An identity is matched as a whole, by name or by expression.
func TestIdentity(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	s := signings()["message, rekor v1"]
	b := sigstoretest.JSON(here.Sign(s))
	const prefix = "https://forge.test/good/"
	s.Identity = "https://evil.test/" + who
	longer := sigstoretest.JSON(here.Sign(s))
	for _, test := range []struct {
		identity, issuer string // an expression begins with ~
		bundle           []byte
		good             bool
	}{
		{who, vouch, b, true},
		{"~https://forge\\.test/good/repo/.*", vouch, b, true},
		{"~.*", "~https://login\\.(test|example)", b, true},
		{"~wrong|" + who, vouch, b, true},

		{strings.ToUpper(who), vouch, b, false},
		{who + " ", vouch, b, false},
		{who[:len(who)-1], vouch, b, false},
		{vouch, who, b, false},
		{who, "http://login.test", b, false},
		{who, "https://login.test.evil.test", b, false},

		// Almost: part of it matches.
		{"~" + prefix, vouch, b, false},
		{"~^https://forge\\.test/good", vouch, b, false},
		{"~v1$", vouch, b, false},
		{"~.*@refs/tags/v", vouch, b, false},
		{"~(?i)HTTPS://FORGE", vouch, b, false},
		{"~good|evil", vouch, b, false},
		{who, "~https://login", b, false},
		{who, "~login\\.test", b, false},
		{"~https://forge\\.test/good/.*", vouch, longer, false},
		{"~(?m)^https://forge\\.test/good/.*$", vouch, longer, false},
		{who, vouch, longer, false},
	} {
		pattern := func(text string) sigstore.Pattern {
			expression, ok := strings.CutPrefix(text, "~")
			if !ok {
				return sigstore.Exactly(text)
			}
			p, err := sigstore.Matching(expression)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		_, err := v.Verify(test.bundle, digests(t, artifact), sigstore.Policy{Identity: pattern(test.identity), Issuer: pattern(test.issuer)})
		if test.good {
			if err != nil {
				t.Errorf("%s, %s: %v", test.identity, test.issuer, err)
			}
			continue
		}
		wantStep(t, err, sigstore.Identity)
		var e *sigstore.IdentityError
		if !errors.As(err, &e) || !strings.HasSuffix(e.Identity, who) || e.Issuer != vouch || !strings.Contains(err.Error(), e.Identity) || !strings.Contains(err.Error(), strings.TrimPrefix(test.identity, "~")) && !strings.Contains(test.identity, `\`) {
			t.Errorf("%s, %s: %v does not say who has signed and who should have", test.identity, test.issuer, err)
		}
	}
	for _, bad := range []string{"(", "a)|(b", "[z-a]", "\\"} {
		if _, err := sigstore.Matching(bad); err == nil {
			t.Errorf("%q is an expression", bad)
		}
	}
}

// A certificate where a key is asked for is no proof, nor the other way.
func TestKindOfSigner(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	for name, s := range signings() {
		asked := sigstore.Policy{Key: publicKey(t, holder)}
		if s.Key != nil {
			asked = sigstore.Policy{Identity: sigstore.Exactly(who), Issuer: sigstore.Exactly(vouch)}
		}
		_, err := v.Verify(sigstoretest.JSON(here.Sign(s)), digests(t, artifact), asked)
		wantStep(t, err, sigstore.Identity)
		if s.Key == nil && !strings.Contains(err.Error(), who) {
			t.Errorf("%s: %v does not say who has signed", name, err)
		}
	}
}

// A policy that asks for too little is none.
func TestPolicy(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	b := sigstoretest.JSON(here.Sign(signings()["message, rekor v1"]))
	for _, p := range []sigstore.Policy{
		{}, {Identity: sigstore.Exactly(who)}, {Issuer: sigstore.Exactly(vouch)}, {Identity: sigstore.Exactly(""), Issuer: sigstore.Exactly(vouch)},
		{Identity: sigstore.Exactly(who), Issuer: sigstore.Exactly(vouch), Key: publicKey(t, holder)},
	} {
		if proof, err := v.Verify(b, digests(t, artifact), p); err == nil {
			t.Errorf("%+v proves %+v", p, proof)
		}
	}
	if proof, err := v.Verify(b, sigstore.Artifact{}, policy(t, signings()["message, rekor v1"])); err == nil {
		t.Errorf("no artifact, and it proves %+v", proof)
	}
}

func TestParse(t *testing.T) {
	var root *sigstore.TrustedRootError
	for _, text := range []string{"", "{}", "null", "[]", `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [{}]}`,
		`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [null]}`, strings.Repeat(" ", sigstore.MaxTrustedRoot+1)} {
		if _, err := sigstore.New([]byte(text)); !errors.As(err, &root) {
			t.Errorf("%.80q: %v", text, err)
		}
	}
	var key *sigstore.KeyError
	good := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(holder.Public()))})
	for _, text := range []string{"", "key", string(good) + string(good), strings.ReplaceAll(string(good), "PUBLIC", "PRIVATE"),
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := sigstore.ParseKey([]byte(text)); !errors.As(err, &key) {
			t.Errorf("%.80q: %v", text, err)
		}
	}
	for _, text := range []string{"", "sha256:", "sha256:00", "SHA256:" + strings.Repeat("00", 32), strings.Repeat("00", 32), "sha512:" + strings.Repeat("00", 32), "sha1:" + strings.Repeat("00", 20), "sha256:" + strings.Repeat("0g", 32)} {
		if a, ok := sigstore.Digest(text); ok {
			t.Errorf("%q is the digest %v", text, a)
		}
	}
	v := verifier(t, here.TrustedRoot())
	for _, text := range []string{"", "{", "{}", "null", "[]", strings.Repeat(" ", sigstore.MaxBundle+1)} {
		_, err := v.Verify([]byte(text), digests(t, artifact), policy(t, signings()["message, rekor v1"]))
		wantStep(t, err, sigstore.Bundle)
	}
}

// The provenance of a real package, made in August 2023, of which only the sha512
// is attested.
func TestRealBundle(t *testing.T) {
	v := verifier(t, trustroottest.SigstoreData(t, "trusted-roots/public-good.json"))
	b := trustroottest.SigstoreData(t, "bundles/sigstore.js@2.0.0-provenance.sigstore.json")
	asked := sigstore.Policy{Issuer: sigstore.Exactly("https://token.actions.githubusercontent.com"),
		Identity: must(sigstore.Matching("https://github\\.com/sigstore/sigstore-js/.*"))}
	const sum = "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"
	a, ok := sigstore.Digest(sum)
	if !ok {
		t.Fatal("no digest")
	}
	proof, err := v.Verify(b, a, asked)
	if err != nil {
		t.Fatal(err)
	}
	text := proof.Text()
	for _, part := range []string{"verified " + sum, "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		"built from   https://github.com/sigstore/sigstore-js", "https://slsa.dev/provenance/v1", "entry 31821305, included in", "https://rekor.sigstore.dev (in use 2021-01-12",
		"https://fulcio.sigstore.dev", "https://ctfe.sigstore.dev/2022 ", "2023-08-18T"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	// Two authorities and two CT logs are called alike, and only one of each took
	// part.
	if len(proof.Issuers) != 1 || len(proof.CTLogs) != 1 || len(proof.Logs) != 1 {
		t.Errorf("%+v", proof)
	}
	for what, mistake := range map[string]struct {
		artifact string
		policy   sigstore.Policy
		root     string
		want     sigstore.Step
	}{
		"another package":     {"sha512:" + strings.Repeat("46", 64), asked, "public-good", sigstore.Subject},
		"its sha256":          {"sha256:" + strings.Repeat("46", 32), asked, "public-good", sigstore.Subject},
		"another workflow":    {sum, sigstore.Policy{Issuer: asked.Issuer, Identity: sigstore.Exactly("https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/next")}, "public-good", sigstore.Identity},
		"another issuer":      {sum, sigstore.Policy{Issuer: sigstore.Exactly("https://accounts.google.com"), Identity: asked.Identity}, "public-good", sigstore.Identity},
		"of another instance": {sum, asked, "scaffolding", sigstore.Log},
	} {
		a, _ := sigstore.Digest(mistake.artifact)
		_, err := verifier(t, trustroottest.SigstoreData(t, "trusted-roots/"+mistake.root+".json")).Verify(b, a, mistake.policy)
		t.Run(what, func(t *testing.T) { wantStep(t, err, mistake.want) })
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
