package metadata

import (
	"crypto/sha256"
	"fmt"
	"sync"
)

// SignatureState says whether a signature counts, and why not.
type SignatureState int

// The states of a signature, from counted to unknown.
const (
	SignatureValid        SignatureState = iota // counts towards the threshold
	SignaturePlaceholder                        // empty: the key is asked to sign
	SignatureInvalid                            // by a listed key, and does not verify
	SignatureUnlisted                           // by a key that the role does not list
	SignatureKeyMissing                         // the role lists the keyid, `keys` has no such key
	SignatureKeyUnusable                        // of a type or encoding that cannot be verified
	SignatureDuplicateID                        // the keyid stands in the list a second time
	SignatureDuplicateKey                       // verifies, by a public key that has been counted already
)

// SignatureCheck is the verdict on one entry of a signature list.
type SignatureCheck struct {
	KeyID  string
	Key    *Key // nil where the delegator's keys have no such keyid
	State  SignatureState
	Reason string // why the signature does not count; empty where it does
}

// Quorum is how far the signatures of a document meet a delegation. Too few is
// not an error: ask [Quorum.Met].
type Quorum struct {
	Threshold int64
	Count     int              // distinct public keys with a valid signature
	Checks    []SignatureCheck // one per signature, in the order of the document
	Signed    []*Key           // listed keys whose signature verifies, in the order of the delegation
	Missing   []*Key           // listed keys without a valid signature, likewise
}

// Met reports whether the threshold is reached. A threshold below one is never
// met: it would accept an unsigned document (GHSA-fphv-w9fq-2525).
func (q Quorum) Met() bool { return q.Threshold >= 1 && int64(q.Count) >= q.Threshold }

// Check reports which of the delegation's keys have signed doc.
//
// A key counts once, and keys are told apart by public key, not keyid: a keyid
// repeated in the document, or one key listed under two keyids, is still one
// signature. Key types that are not known never count and never fail the
// others. A new root needs two calls: with the known-good root's delegation and
// with its own.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-root, step 4.
func Check(d Delegation, doc *Document) Quorum { return check(d, doc, false) }

// Met is Check(d, doc).Met(). It verifies no more signatures than that takes,
// for those who need not know who has signed.
func Met(d Delegation, doc *Document) bool { return check(d, doc, true).Met() }

// check counts signatures: all of them, or until enough are counted. One more
// never undoes those before it.
func check(d Delegation, doc *Document, untilMet bool) Quorum {
	q := Quorum{Threshold: d.Threshold, Checks: make([]SignatureCheck, 0, len(doc.signatures))}
	listed := make(map[string]bool, len(d.KeyIDs))
	for _, id := range d.KeyIDs {
		listed[id] = true
	}
	valid := map[string]bool{}
	seen := map[string]bool{}
	counted := map[[sha256.Size]byte]string{}
	for _, s := range doc.signatures {
		if q.Count = len(counted); untilMet && q.Met() {
			return q
		}
		c := SignatureCheck{KeyID: s.KeyID, Key: d.Keys[s.KeyID]}
		refuse := func(state SignatureState, format string, args ...any) {
			c.State, c.Reason = state, fmt.Sprintf(format, args...)
		}
		switch {
		case seen[s.KeyID]:
			refuse(SignatureDuplicateID, "the keyid signs a second time")
		case s.Sig == "":
			refuse(SignaturePlaceholder, "not signed yet")
		case !listed[s.KeyID]:
			refuse(SignatureUnlisted, "role %s does not list this key", d.Role)
		case c.Key == nil:
			refuse(SignatureKeyMissing, "role %s lists this keyid, but its delegator has no such key", d.Role)
		case c.Key.Unusable != nil:
			refuse(SignatureKeyUnusable, "%v", c.Key.Unusable)
		default:
			sig, err := s.Bytes()
			if err == nil {
				err = doc.verify(c.Key, sig)
			}
			if err != nil {
				refuse(SignatureInvalid, "%v", err)
				break
			}
			valid[s.KeyID] = true
			if first, twice := counted[c.Key.print]; twice {
				refuse(SignatureDuplicateKey, "the same public key as keyid %s, which has been counted", first)
				break
			}
			counted[c.Key.print] = s.KeyID
		}
		seen[s.KeyID] = true
		q.Checks = append(q.Checks, c)
	}
	q.Count = len(counted)
	done := map[string]bool{}
	for _, id := range d.KeyIDs {
		k := d.Keys[id]
		if k == nil || done[id] {
			continue
		}
		done[id] = true
		if valid[id] {
			q.Signed = append(q.Signed, k)
		} else {
			q.Missing = append(q.Missing, k)
		}
	}
	return q
}

// verified remembers which signatures over one document verify. It never goes
// stale, since a document does not change.
type verified struct {
	mu   sync.Mutex
	errs map[verification]error
}

// A verification is all that the answer depends on beside the document.
type verification struct {
	print       [sha256.Size]byte
	scheme, sig string
}

// verify is [Key.Verify] over the payload of d, for each signature once: the
// delegations that a document is held against mostly list the same keys.
func (d *Document) verify(k *Key, sig []byte) error {
	one := verification{k.print, k.Scheme, string(sig)}
	d.verified.mu.Lock()
	defer d.verified.mu.Unlock()
	err, done := d.verified.errs[one]
	if !done {
		if d.verified.errs == nil {
			d.verified.errs = map[verification]error{}
		}
		err = k.Verify(d.payload, sig)
		d.verified.errs[one] = err
	}
	return err
}
