package rehearsal

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/metadata"
)

// keyring holds the keys that stand in for those that are elsewhere. A stand-in
// is of the same type and scheme and looks the same in metadata, so a client
// that cannot read the one cannot read the other. A real key has one stand-in
// wherever it is listed: so what rotates in the real roots rotates here too.
//
// The keys are random, are never written anywhere, and are gone with the keyring.
type keyring struct {
	byPrint map[string]crypto.Signer // by fingerprint of the real key
	byID    map[string]standIn       // by keyid of the stand-in
}

type standIn struct {
	signer crypto.Signer
	scheme string
}

func newKeyring() *keyring {
	return &keyring{byPrint: map[string]crypto.Signer{}, byID: map[string]standIn{}}
}

// standIn is the stand-in for a key as metadata holds it. For a key that no
// client of ours can read it is the key itself, under the other id: nobody can
// sign with it, here as there.
func (r *keyring) standIn(real *metadata.Key) (id string, obj metadata.Object, err error) {
	sum := sha256.Sum256([]byte("the stand-in for " + real.ID))
	id, obj = hex.EncodeToString(sum[:]), metadata.Clone(real.Object)
	if real.Unusable != nil {
		return id, obj, nil
	}
	signer := r.byPrint[real.Fingerprint()]
	if signer == nil {
		if signer, err = generate(real.Public); err != nil {
			return "", nil, fmt.Errorf("make a key like %s: %w", real.ID, err)
		}
		r.byPrint[real.Fingerprint()] = signer
	}
	like, err := metadata.NewKey(signer.Public(), "", "")
	if err != nil {
		return "", nil, err
	}
	val, old := like.Object["keyval"].(metadata.Object)["public"], obj["keyval"].(metadata.Object)
	if pub, ok := signer.Public().(*ecdsa.PublicKey); ok && !strings.Contains(old["public"].(string), "-----") {
		point, err := pub.Bytes()
		if err != nil {
			return "", nil, err
		}
		val = hex.EncodeToString(point) // as the real one: a point, not PEM
	}
	old["public"] = val
	r.byID[id] = standIn{signer, real.Scheme}
	return id, obj, nil
}

// generate makes a key of the same type and strength as another, but for RSA,
// of which 2048 bits will do for a few minutes.
func generate(like crypto.PublicKey) (crypto.Signer, error) {
	switch like := like.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(like.Curve, rand.Reader)
	case ed25519.PublicKey:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, 2048)
	case *mldsa.PublicKey:
		return mldsa.GenerateKey(like.Parameters())
	}
	return nil, fmt.Errorf("keys of type %T are not known", like)
}

// sign signs a new document with all stand-ins that delegations list.
func (r *keyring) sign(ctx context.Context, signed metadata.Object, by ...metadata.Delegation) (*metadata.Document, error) {
	doc, err := metadata.New(signed, nil)
	if err != nil {
		return nil, err
	}
	var list []metadata.Signature
	done := map[string]bool{}
	for _, d := range by {
		for _, id := range d.KeyIDs {
			key, ok := r.byID[id]
			if !ok || done[id] {
				continue
			}
			done[id] = true
			sig, err := key.sign(ctx, doc.Payload())
			if err != nil {
				return nil, err
			}
			list = append(list, metadata.Signature{KeyID: id, Sig: hex.EncodeToString(sig)})
		}
	}
	return doc.WithSigned(doc.Signed(), list)
}

func (k standIn) sign(ctx context.Context, payload []byte) ([]byte, error) {
	hash := map[string]crypto.Hash{"rsassa-pss-sha384": crypto.SHA384, "rsassa-pss-sha512": crypto.SHA512}[k.scheme]
	private, ok := k.signer.(*rsa.PrivateKey)
	if !ok || hash == 0 {
		return metadata.LocalSigner(k.signer).Sign(ctx, payload)
	}
	h := hash.New()
	h.Write(payload)
	return rsa.SignPSS(rand.Reader, private, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}
