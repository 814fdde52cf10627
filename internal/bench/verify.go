package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigverify "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/client/sigstore/sigstoretest"
)

// bareVerify calls the library as its documentation does. Its arguments are
// bundle, trusted root, artifact, identity and issuer; the artifact is a file, or
// sha512: and its digest.
const bareVerify = `
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	data, err := os.ReadFile(os.Args[1])
	check(err)
	trusted, err := os.ReadFile(os.Args[2])
	check(err)
	material, err := root.NewTrustedRootFromJSON(trusted)
	check(err)
	v, err := verify.NewVerifier(material, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	check(err)
	b := new(bundle.Bundle)
	check(b.UnmarshalJSON(data))
	who, err := verify.NewShortCertificateIdentity(os.Args[5], "", os.Args[4], "")
	check(err)
	var what verify.ArtifactPolicyOption
	if digits, is := strings.CutPrefix(os.Args[3], "sha512:"); is {
		digest, err := hex.DecodeString(digits)
		check(err)
		what = verify.WithArtifactDigest("sha512", digest)
	} else {
		file, err := os.Open(os.Args[3])
		check(err)
		what = verify.WithArtifact(file)
	}
	result, err := v.Verify(b, verify.NewPolicy(what, verify.WithCertificateIdentity(who)))
	check(err)
	os.Stdout.WriteString(result.VerifiedIdentity.SubjectAlternativeName.SubjectAlternativeName)
`

// A signed artifact is what a bundle is about.
type signed struct {
	what              string
	artifact          string // a file, or sha512: and its digest
	bundle, root      []byte
	identity, issuer  string
	bundleAt, trustAt string // files with the two
}

// largeArtifact is the size of one whose digest takes longer than its proof.
const largeArtifact = 64 << 20

// verify measures tufops-client verify beside a program that is linked with the
// same and calls sigstore-go's verification of the same bundle.
func (b *bench) verify(ctx context.Context) error {
	dir := filepath.Join(b.dir, "bundles")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	recorded, err := b.recordedBundle(ctx)
	if err != nil {
		return err
	}
	large, err := signLarge(filepath.Join(dir, "artifact"))
	if err != nil {
		return err
	}
	for i, s := range []*signed{recorded, large} {
		s.bundleAt, s.trustAt = filepath.Join(dir, fmt.Sprint(i, ".sigstore.json")), filepath.Join(dir, fmt.Sprint(i, ".trusted_root.json"))
		if err := errors.Join(os.WriteFile(s.bundleAt, s.bundle, 0o644), os.WriteFile(s.trustAt, s.root, 0o644)); err != nil {
			return err
		}
		ours := &timing{run: program(ctx, dir, nil, nil, b.tufopsClient, "verify", s.artifact, "--bundle", s.bundleAt, "--trusted-root", s.trustAt,
			"--certificate-identity", s.identity, "--certificate-oidc-issuer", s.issuer)}
		theirs := &timing{run: program(ctx, dir, nil, nil, b.bareVerify, s.bundleAt, s.trustAt, s.artifact, s.identity, s.issuer)}
		things := []*timing{ours, theirs}
		if i == 0 {
			inside, bare, err := s.inProcess()
			if err != nil {
				return err
			}
			things = append(things, inside, bare)
		}
		if err := interleave(ctx, b.rounds, things...); err != nil {
			return err
		}
		fmt.Printf("\nverify: %s\n", s.what)
		row("sigstore-go alone, linked with the same", theirs.median(), "")
		b.compare(s.what+": ", []*timing{theirs}, 1.5, []string{"tufops-client verify"}, ours)
		if i == 0 {
			row("sigstore-go in a running process", things[3].median(), "")
			b.compare(s.what+": ", []*timing{things[3]}, 1.5, []string{"in a running process"}, things[2])
		}
	}
	return nil
}

// recordedBundle is a real one of the library's own, from 2023, of which only the
// digest is known.
func (b *bench) recordedBundle(ctx context.Context) (*signed, error) {
	module, err := output(ctx, b.module, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go")
	if err != nil {
		return nil, err
	}
	s := &signed{
		what:     "a recorded attestation",
		artifact: "sha512:46d4e2f74c4877316640000a6fdf8a8b59f1e0847667973e9859f774dd31b8f1e0937813b777fb66a2ac67d50540fe34640966eee9fc2ccca387082b4c85cd3c",
		identity: "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
		issuer:   "https://token.actions.githubusercontent.com",
	}
	data := filepath.Join(module, "pkg", "testing", "data")
	if s.bundle, err = os.ReadFile(filepath.Join(data, "bundles", "sigstore.js@2.0.0-provenance.sigstore.json")); err != nil {
		return nil, err
	}
	s.root, err = os.ReadFile(filepath.Join(data, "trusted-roots", "public-good.json"))
	return s, err
}

// signLarge writes a large artifact, which an instance of our own signs.
func signLarge(file string) (*signed, error) {
	s := &signed{
		what: fmt.Sprintf("an artifact of %d MiB", largeArtifact>>20), artifact: file,
		identity: "release@example.com", issuer: "https://accounts.example.com",
	}
	artifact := make([]byte, largeArtifact)
	for i := 0; i < len(artifact); i += sha256.Size {
		sum := sha256.Sum256(fmt.Append(nil, i))
		copy(artifact[i:], sum[:])
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	instance := sigstoretest.New("bench.test", at)
	s.root = instance.TrustedRoot()
	s.bundle = sigstoretest.JSON(instance.Sign(sigstoretest.Signing{Artifact: artifact, Identity: s.identity, Issuer: s.issuer, At: at.Add(time.Hour)}))
	return s, os.WriteFile(file, artifact, 0o644)
}

// inProcess is the same without the start of a program, from the bytes of the two
// files to the verdict: ours, and the library alone.
func (s *signed) inProcess() (ours, bare *timing, err error) {
	const inARow = 10
	artifact, ok := sigstore.Digest(s.artifact)
	digest, err := hex.DecodeString(s.artifact[len("sha512:"):])
	if !ok || err != nil {
		return nil, nil, fmt.Errorf("%s is no digest", s.artifact)
	}
	ours = &timing{run: repeated(inARow, func() (time.Duration, error) {
		return timed(func() error {
			v, err := sigstore.New(s.root)
			if err != nil {
				return err
			}
			_, err = v.Verify(s.bundle, artifact, sigstore.Policy{Identity: sigstore.Exactly(s.identity), Issuer: sigstore.Exactly(s.issuer)})
			return err
		})
	})}
	bare = &timing{run: repeated(inARow, func() (time.Duration, error) {
		return timed(func() error {
			material, err := root.NewTrustedRootFromJSON(s.root)
			if err != nil {
				return err
			}
			v, err := sigverify.NewVerifier(material, sigverify.WithTransparencyLog(1), sigverify.WithObserverTimestamps(1), sigverify.WithSignedCertificateTimestamps(1))
			if err != nil {
				return err
			}
			parsed := new(bundle.Bundle)
			if err := parsed.UnmarshalJSON(s.bundle); err != nil {
				return err
			}
			who, err := sigverify.NewShortCertificateIdentity(s.issuer, "", s.identity, "")
			if err != nil {
				return err
			}
			_, err = v.Verify(parsed, sigverify.NewPolicy(sigverify.WithArtifactDigest("sha512", digest), sigverify.WithCertificateIdentity(who)))
			return err
		})
	})}
	return ours, bare, nil
}
