package repository

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

var (
	keyUnused = rule("key-unused", LevelWarning, "",
		"a key that no role lists waits for somebody to list it unseen")
	keyTypeNotAllowed = rule("key-type-not-allowed", LevelError, "E",
		"deployed clients cannot verify the key: a P-384 online key broke cosign (rss#25)")
	keyOwnerInvalid = rule("keyowner-invalid", LevelError, "E",
		"nobody can tell who holds a key, or where it is")
	keyOwnerChanged = rule("keyowner-changed", LevelError, "E",
		"a key that one person holds is booked for another, who then seems to have signed")
	ownerConfusable = rule("owner-confusable", LevelWarning, "",
		"a look-alike login passes for a known signer")
	newKeyUnproven = rule("new-key-unproven", LevelWarning, "",
		"a key is listed that the person does not hold: it never signed what adds it")
	onlineURIUnpinned = rule("online-uri-unpinned", LevelError, "E",
		"a key URI without a version cannot be signed with, or changes its key (rs#1347)")
	delegationPathForeign = rule("delegation-path-foreign", LevelWarning, "",
		"a role speaks for artifacts of another")
	nestedDelegation = rule("nested-delegation", LevelWarning, "",
		"people look one level deep; a delegated role that delegates is easily overlooked")
	thresholdOfOne = rule("threshold-of-one", LevelWarning, "",
		"one stolen key, or one person under pressure, signs for all")
	rootJumpLong = rule("root-jump-long", LevelWarning, "",
		"clients that walk at most 32 roots in one update are left behind")
)

// keyRules judge the keys of a root or targets file that the event changes.
func (v view) keyRules(f *findings) {
	v.keyUnused(f)
	v.keyTypeNotAllowed(f)
	v.keyOwnerInvalid(f)
	v.keyOwnerChanged(f)
	v.ownerConfusable(f)
	v.newKeyUnproven(f)
	v.onlineURIUnpinned(f)
	v.thresholdOfOne(f)
	if v.doc.Type() == metadata.Targets {
		v.delegationPathForeign(f)
		v.nestedDelegation(f)
	}
}

// keys are the keys of the file, by keyid; added reports whether the event adds
// or changes one.
func (v view) keys() ([]*metadata.Key, func(*metadata.Key) bool) {
	var list []*metadata.Key
	all := v.doc.Delegations().Keys
	for _, id := range sortedKeys(all) {
		list = append(list, all[id])
	}
	return list, func(k *metadata.Key) bool { return !v.hadKey(k) }
}

// hadPublicKey reports whether the known-good version of the role has the key
// material, under whatever id and with whatever fields.
func (v view) hadPublicKey(k *metadata.Key) bool {
	if v.known == nil || v.known.Delegations() == nil {
		return false
	}
	for _, old := range v.known.Delegations().Keys {
		if old.Fingerprint() == k.Fingerprint() {
			return true
		}
	}
	return false
}

// listing calls visit for each delegation of the file and each keyid it lists.
func (v view) listing(visit func(d metadata.Delegation, id string)) {
	all := v.doc.Delegations()
	list := all.Roles
	if all.Succinct != nil {
		list = append(list[:len(list):len(list)], all.Succinct.Delegation)
	}
	for _, d := range list {
		for _, id := range d.KeyIDs {
			visit(d, id)
		}
	}
}

func (v view) keyUnused(f *findings) {
	listed := map[string]bool{}
	v.listing(func(_ metadata.Delegation, id string) { listed[id] = true })
	keys, _ := v.keys()
	for _, k := range keys {
		if !listed[k.ID] {
			f.add(keyUnused, v.file(), "remove it from keys, or list it for a role with tufops-sign delegate", "no role of %s lists the key of %s (keyid %s)", v.role, holderOf(k), k.ID)
		}
	}
}

// writtenTypes are the key types that new keys may have, by type and scheme.
var writtenTypes = map[string]bool{
	"ecdsa/ecdsa-sha2-nistp256": true, "ecdsa/ecdsa-sha2-nistp384": true, "ed25519/ed25519": true, "rsa/rsassa-pss-sha256": true,
}

// keyTypeNotAllowed judges key material that the event adds: what is there, or
// was imported, may be of any type that can be read.
func (v view) keyTypeNotAllowed(f *findings) {
	keys, _ := v.keys()
	for _, k := range keys {
		if !v.hadPublicKey(k) && !writtenTypes[k.Type+"/"+k.Scheme] {
			f.add(keyTypeNotAllowed, v.file(), "use an ECDSA P-256 key", "the new key of %s has type %s and scheme %s, which deployed clients may not verify", holderOf(k), k.Type, k.Scheme)
		}
	}
}

// login is what GitHub accepts as one, with the @.
var login = regexp.MustCompile(`^@[a-z0-9]+(-[a-z0-9]+)*$`)

func (v view) keyOwnerInvalid(f *findings) {
	keys, added := v.keys()
	hint := "remove the key and add it again with tufops-sign delegate"
	for _, k := range keys {
		if !added(k) {
			continue
		}
		_, owner := k.Object[metadata.FieldKeyOwner]
		_, uri := k.Object[metadata.FieldOnlineURI]
		switch {
		case owner && uri:
			f.add(keyOwnerInvalid, v.file(), hint, "keyid %s has an owner (%v) and an online URI (%v)", k.ID, k.Object[metadata.FieldKeyOwner], k.Object[metadata.FieldOnlineURI])
		case k.Holder() == "":
			f.add(keyOwnerInvalid, v.file(), hint, "keyid %s has neither an owner nor an online URI", k.ID)
		case owner && !ownerPattern.MatchString(k.Owner):
			f.add(keyOwnerInvalid, v.file(), hint, "keyid %s has the owner %q, which is not a login like @alice", k.ID, k.Owner)
		case owner && (!login.MatchString(k.Owner) || len(k.Owner) > 40):
			f.addAs(keyOwnerInvalid, LevelWarning, v.file(), "check the spelling", "keyid %s has the owner %q, which GitHub would not accept as a login", k.ID, k.Owner)
		}
	}
}

func (v view) keyOwnerChanged(f *findings) {
	if v.known == nil || v.known.Delegations() == nil {
		return
	}
	keys, _ := v.keys()
	for _, k := range keys {
		for _, id := range sortedKeys(v.known.Delegations().Keys) {
			old := v.known.Delegations().Keys[id]
			if old.Fingerprint() == k.Fingerprint() && old.Owner != "" && k.Owner != old.Owner {
				f.add(keyOwnerChanged, v.file(), "remove the key; the new person brings their own", "the key of %s (keyid %s) is now said to be of %s", old.Owner, k.ID, holderOf(k))
				break
			}
		}
	}
}

// lookAlike folds what people take for the same letter.
var lookAlike = strings.NewReplacer("l", "i", "1", "i", "0", "o", "rn", "m", "-", "", "_", "")

func (v view) ownerConfusable(f *findings) {
	keys, added := v.keys()
	for _, k := range keys {
		if k.Owner == "" || !added(k) || v.ownedBefore(k.Owner) {
			continue
		}
		for _, other := range keys {
			if other.Owner != "" && other.Owner != k.Owner && lookAlike.Replace(other.Owner) == lookAlike.Replace(k.Owner) {
				f.add(ownerConfusable, v.file(), "check the spelling with the person", "the new owner %s looks like %s", k.Owner, other.Owner)
				break
			}
		}
	}
}

func (v view) ownedBefore(owner string) bool {
	if v.known == nil || v.known.Delegations() == nil {
		return false
	}
	for _, k := range v.known.Delegations().Keys {
		if k.Owner == owner {
			return true
		}
	}
	return false
}

// newKeyUnproven looks for a signature of each new person's key over the payload
// that adds it, or over the present metadata of a role that it is for. While that
// role lacks its quorum the person is asked to sign anyway, and nothing is said.
func (v view) newKeyUnproven(f *findings) {
	proven := map[string]bool{}
	mark := func(d metadata.Delegation, doc *metadata.Document) {
		q := metadata.Check(d, doc)
		for _, k := range q.Signed {
			proven[k.Fingerprint()] = true
		}
		for _, k := range q.Missing {
			if !q.Met() {
				proven[k.Fingerprint()] = true
			}
		}
	}
	keys, added := v.keys()
	all := v.doc.Delegations()
	for _, k := range metadata.Check(metadata.Delegation{Role: v.role, Keys: all.Keys, KeyIDs: sortedKeys(all.Keys)}, v.doc).Signed {
		proven[k.Fingerprint()] = true
	}
	for _, d := range all.Roles {
		if doc, err := v.state.Document(d.Role); err == nil && !metadata.IsOnline(d.Role) {
			mark(d, doc)
		}
	}
	for _, k := range keys {
		if added(k) && k.Owner != "" && k.Unusable == nil && !v.hadPublicKey(k) && !proven[k.Fingerprint()] {
			f.add(newKeyUnproven, v.file(), "wait until "+k.Owner+" has signed, or ask them for the fingerprint of their key",
				"the new key of %s (keyid %s) has signed neither %s nor the role it is for", k.Owner, k.ID, v.role)
		}
	}
}

func (v view) onlineURIUnpinned(f *findings) {
	keys, added := v.keys()
	for _, k := range keys {
		if k.OnlineURI == "" || !added(k) {
			continue
		}
		scheme, rest, _ := strings.Cut(k.OnlineURI, ":")
		unpinned, level := false, LevelError
		switch scheme {
		case "gcpkms":
			unpinned = !regexp.MustCompile(`/cryptoKeyVersions/[0-9]+$`).MatchString(rest)
		case "azurekms":
			unpinned = !regexp.MustCompile(`/keys/[^/]+/[^/]+$`).MatchString(rest)
		case "hv":
			unpinned = !regexp.MustCompile(`^[^/]+/[0-9]+$`).MatchString(rest)
		case "awskms":
			unpinned, level = strings.HasPrefix(rest, "alias/") || strings.Contains(rest, ":alias/"), LevelWarning
		}
		if unpinned {
			f.addAs(onlineURIUnpinned, level, v.file(), "name the version of the key: tufops-sign delegate "+v.event.Name+" timestamp --online-key URI",
				"the online key URI %s names no version of the key", k.OnlineURI)
		}
	}
}

func (v view) thresholdOfOne(f *findings) {
	for _, d := range v.doc.Delegations().Roles {
		old, had := metadata.Delegation{}, false
		if v.known != nil {
			old, had = v.known.Delegation(d.Role)
		}
		if metadata.IsOnline(d.Role) || had && sameTrust(Delegated{By: v.role, Delegation: old}, Delegated{By: v.role, Delegation: d}) {
			continue
		}
		people := false
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; k != nil && k.OnlineURI == "" {
				people = true
			}
		}
		if people && d.Threshold == 1 {
			f.add(thresholdOfOne, v.file(), fmt.Sprintf("ask for two signatures: tufops-sign delegate %s %s --threshold 2", v.event.Name, d.Role), "one person alone can sign %s", d.Role)
		}
	}
}

func (v view) delegationPathForeign(f *findings) {
	for _, d := range v.doc.Delegations().Roles {
		for _, p := range d.Paths {
			if !strings.HasPrefix(p, d.Role+"/") {
				f.add(delegationPathForeign, v.file(), "delegate only paths below "+d.Role+"/", "%s delegates %q to %s, which is outside %s/", v.role, p, d.Role, d.Role)
			}
		}
	}
}

func (v view) nestedDelegation(f *findings) {
	if v.role != metadata.Targets && len(v.doc.Delegations().Roles) > 0 {
		f.add(nestedDelegation, v.file(), "delegate from targets instead", "%s is a delegated role and delegates to %s", v.role, v.doc.Delegations().Roles[0].Role)
	}
}

// maxJump is how many new roots common clients take in one update.
const maxJump = 32

// rootJumpLong counts the roots of the last year.
func (v view) rootJumpLong(f *findings) {
	if v.role != metadata.Root || v.doc.Version() <= maxJump {
		return
	}
	old, err := v.state.RootVersion(v.ctx, v.doc.Version()-maxJump)
	if v.ctx.Err() != nil {
		v.failed(v.ctx.Err())
		return
	}
	if err != nil {
		return
	}
	// A root is signed at the beginning of its expiry period, as far as we know.
	p := metadata.PeriodOf(old.Signed())
	if made := old.Expires().Add(-days(p.Expiry)); p.Expiry > 0 && v.now.Sub(made) < days(365) {
		f.add(rootJumpLong, v.file(), "wait with changes that can wait, and put several into one root",
			"root version %d was made on %s: a client that was built with it a year ago or less needs more than %d new roots in one update",
			old.Version(), made.Format("2006-01-02"), maxJump)
	}
}
