package sigstore_test

import (
	"encoding/hex"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// BenchmarkVerify compares with what the library takes for the same, from reading
// the files to the verdict. The goal is 1.5 times that.
func BenchmarkVerify(b *testing.B) {
	data, trusted := trustroottest.SigstoreData(b, "bundles/sigstore.js@2.0.0-provenance.sigstore.json"), trustroottest.SigstoreData(b, "trusted-roots/public-good.json")
	const (
		sum    = "46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c"
		signer = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
		issuer = "https://token.actions.githubusercontent.com"
	)
	b.Run("ours", func(b *testing.B) {
		a, _ := sigstore.Digest("sha512:" + sum)
		for b.Loop() {
			if _, err := verifier(b, trusted).Verify(data, a, sigstore.Policy{Identity: sigstore.Exactly(signer), Issuer: sigstore.Exactly(issuer)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("the library", func(b *testing.B) {
		digest := must(hex.DecodeString(sum))
		for b.Loop() {
			v := must(verify.NewVerifier(must(root.NewTrustedRootFromJSON(trusted)),
				verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1)))
			parsed := new(bundle.Bundle)
			if err := parsed.UnmarshalJSON(data); err != nil {
				b.Fatal(err)
			}
			who := must(verify.NewShortCertificateIdentity(issuer, "", signer, ""))
			if _, err := v.Verify(parsed, verify.NewPolicy(verify.WithArtifactDigest("sha512", digest), verify.WithCertificateIdentity(who))); err != nil {
				b.Fatal(err)
			}
		}
	})
}
