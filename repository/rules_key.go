package repository

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	keyUnused = rule(Rule{
		Name: "key-unused", Level: LevelWarning, Gates: "",
		Title:   "a key that no role lists",
		Stops:   "a key that no role lists waits for somebody to list it unseen",
		Source:  "keys of people who had left stayed in real metadata",
		Breaks:  "no role of the file lists a key that stands in its keys",
		Example: "no role of targets lists the key of @dave (keyid 14a683edf8761d00dc57b7c9a45b52da052abf8283cbda1070ddf9c99336058e)",
		Hint:    "remove it from keys, or list it for a role with tufops-sign delegate",
	})
	keyTypeNotAllowed = rule(Rule{
		Name: "key-type-not-allowed", Level: LevelError, Gates: "EP",
		Title:   "a key that clients cannot use",
		Stops:   "deployed clients cannot verify the key",
		Source:  "sigstore/root-signing-staging#25: a P-384 online key broke cosign; the key type of root v9, cosign#3614",
		Breaks:  "a key that the event adds cannot be decoded, or has a type and scheme that key-types in .tufops.yaml does not list; without that list, one that clients built with go-tuf do not read, as ML-DSA. A warning where key-types lists such a one. A public key of ECDSA in hex is one too. Keys that are there already, and stay as they are written, may be of every type. A root on main that lists a key that can verify nothing for a role of its own is held back",
		Example: "the new key of @dave has type ml-dsa and scheme ml-dsa-65/1, which deployed clients may not verify",
		Hint:    "use an ECDSA P-256 key",
	})
	keyOwnerInvalid = rule(Rule{
		Name: "keyowner-invalid", Level: LevelError, Gates: "E",
		Title:   "a key of nobody",
		Stops:   "nobody can tell who holds a key, or where it is",
		Source:  "a status that lists people is only as good as the names on the keys",
		Breaks:  "a key that the event adds or changes has neither an owner nor an online URI, or both, or an owner that is not like @alice, or its public key is that of somebody else too; a warning where GitHub would not accept the login",
		Example: "keyid 0885f89b5bc44d7cd8fde9765576244d337c66e374d9b016294eafde31087987 has neither an owner nor an online URI",
		Hint:    "remove the key and add it again with tufops-sign delegate",
	})
	keyOwnerChanged = rule(Rule{
		Name: "keyowner-changed", Level: LevelError, Gates: "E",
		Title:   "a key changes hands",
		Stops:   "a key that one person holds is booked for another, who then seems to have signed",
		Source:  "the owner of a key is a field of our own, which no client checks",
		Breaks:  "a public key that has an owner gets another one (none to owner, and a corrected URI, are no finding)",
		Example: "the key of @carol (keyid 1f44dad83ab600c7bfe15b3e06d1fd5d0a14f6cc619bcfe176d79a8fea4fa1c7) is now said to be of @dave",
		Hint:    "remove the key; the new person brings their own",
	})
	ownerConfusable = rule(Rule{
		Name: "owner-confusable", Level: LevelWarning, Gates: "",
		Title:   "an owner that looks like another",
		Stops:   "a look-alike login passes for a known signer",
		Source:  "Unicode TR 39, confusable identifiers",
		Breaks:  "a new owner differs from another only by look-alikes: l, 1 and i; o and 0; rn and m; hyphens and underscores",
		Example: "the new owner @a1ice looks like @alice",
		Hint:    "check the spelling with the person",
	})
	newKeyUnproven = rule(Rule{
		Name: "new-key-unproven", Level: LevelWarning, Gates: "", Raised: LevelAwaited,
		Title:   "a new key that has not signed",
		Stops:   "a key is listed that the person does not hold, or that somebody else holds",
		Source:  "a ceremony in which everybody signs with the key they bring proves that they have it",
		Breaks:  "a key that the event adds for a person has signed neither the payload that adds it nor the role it is for; awaited if .tufops.yaml raises it, since that person cures it by signing",
		Example: "the new key of @dave (keyid 14a683edf8761d00dc57b7c9a45b52da052abf8283cbda1070ddf9c99336058e) has signed neither targets nor the role it is for",
		Hint:    "wait until @dave has signed, or ask them for the fingerprint of their key",
	})
	inviteAcceptedByOther = rule(Rule{
		Name: "invite-accepted-by-other", Level: LevelWarning, Gates: "", Raised: LevelError,
		Title:   "somebody else brings a person's key",
		Stops:   "somebody with push rights brings a key of their own in the name of the person who was invited",
		Source:  "an invitation names a login, and the login that a forge saw pushing is the only one that is not self-chosen",
		Breaks:  "a key that the event adds for a person was first listed in a commit that another login pushed; known only where the forge tells, which it does not on a signer's machine",
		Example: "the new key of @dave (keyid 14a683edf8761d00dc57b7c9a45b52da052abf8283cbda1070ddf9c99336058e) came with commit 0123456789, which @mallory pushed",
		Hint:    "ask @dave for the fingerprint of their key, or have the invitation accepted again",
	})
	keyNotAttested = rule(Rule{
		Name: "key-not-attested", Level: LevelWarning, Gates: "", Raised: LevelError,
		Title:   "a new key that may be in a file",
		Stops:   "a key that was to be made in hardware can be copied",
		Source:  "sigstore/root-signing#1364: the check was lost in a migration",
		Breaks:  "a key that the event adds for a person has no hardware attestation in keys/, or one that does not hold: its certificates do not lead to Yubico or a root of attestation-roots, are about another key or slot, the key signs without PIN and touch each time, the firmware is older than 4.3.5, or the same device attests another key of the role; a key that a role of main lists for that person counts as new only if .tufops.yaml requires attestations",
		Example: "the new key of @dave (keyid 14a683edf8761d00dc57b7c9a45b52da052abf8283cbda1070ddf9c99336058e) is not attested: keys/ holds nothing for it",
		Hint:    "have @dave attest the key on its device, and commit the attestation below keys/: tufops-sign keys attest",
	})
	onlineURIUnpinned = rule(Rule{
		Name: "online-uri-unpinned", Level: LevelError, Gates: "E",
		Title:   "an online key without a version",
		Stops:   "a key URI without a version cannot be signed with, or changes its key one day",
		Source:  "sigstore/root-signing#1347: a migration was merged and reverted for it, 2024-08-30",
		Breaks:  "the URI of a Google Cloud, Azure or Vault key that the event adds or changes names no key version; a warning for an alias at AWS",
		Example: "the online key URI gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k names no version of the key",
		Hint:    "name the version of the key: tufops-sign delegate sign/test timestamp --online-key URI",
	})
	delegationPathForeign = rule(Rule{
		Name: "delegation-path-foreign", Level: LevelWarning, Gates: "",
		Title:   "a path outside the role's folder",
		Stops:   "a role speaks for artifacts of another",
		Source:  "TUF specification, #file-formats-targets: paths say what a role is trusted for",
		Breaks:  "a delegation of role R lists a path outside R/",
		Example: `targets delegates "*.md" to releases, which is outside releases/`,
		Hint:    "delegate only paths below releases/",
	})
	nestedDelegation = rule(Rule{
		Name: "nested-delegation", Level: LevelWarning, Gates: "",
		Title:   "a delegated role delegates",
		Stops:   "people look one level deep: a delegated role that delegates is easily overlooked",
		Source:  "events are reviewed role by role, and editing deeper levels is not supported yet",
		Breaks:  "a delegated role delegates to another",
		Example: "releases is a delegated role and delegates to nightly",
		Hint:    "delegate from targets instead",
	})
	thresholdOfOne = rule(Rule{
		Name: "threshold-of-one", Level: LevelWarning, Gates: "",
		Title:   "one person alone can sign",
		Stops:   "one stolen key, or one person under pressure, signs for all",
		Source:  "TUF specification, #key-management-and-migration: offline roles should need several keys",
		Breaks:  "the event leaves an offline role that it delegates anew with a threshold of one and a key of a person",
		Example: "one person alone can sign releases",
		Hint:    "ask for two signatures: tufops-sign delegate sign/test releases --threshold 2",
	})
	machineSigns = rule(Rule{
		Name: "machine-signs", Level: LevelWarning, Gates: "", Raised: LevelError,
		Title:   "a machine may sign what people sign",
		Stops:   "an online key, which a machine uses unasked, counts towards the signatures of people",
		Source:  "TUF specification, #key-management-and-migration: online keys are for timestamp and snapshot, not for root",
		Breaks:  "the event lists an online key for root, or for another role that people sign too",
		Example: "the online key file2:online (keyid d597f4c8e8ae29f3bb8dda8b7e64a03e33ae2b8427cb3ccdbfb758cab6808372) may sign root along with people",
		Hint:    "leave it to people: tufops-sign delegate sign/test root",
	})
	rootJumpLong = rule(Rule{
		Name: "root-jump-long", Level: LevelWarning, Gates: "",
		Title:   "more roots than clients walk",
		Stops:   "clients that walk at most 32 roots in one update are left behind",
		Source:  "TUF specification, #update-root step 2: a client bounds the roots that it takes in one update",
		Breaks:  "a client that was built with a root a year ago would need more than 32 new ones",
		Example: "root version 1 was made on 2030-01-01: a client that was built with it a year ago or less needs more than 32 new roots in one update",
		Hint:    "wait with changes that can wait, and put several into one root",
	})
)

// keyRules judge the keys of a root or targets file that the event changes.
func (v view) keyRules(f *findings) {
	v.keyUnused(f)
	v.keyTypeNotAllowed(f)
	v.keyOwnerInvalid(f)
	v.keyOwnerChanged(f)
	v.ownerConfusable(f)
	v.newKeyUnproven(f)
	v.inviteAcceptedByOther(f)
	v.keyNotAttested(f)
	v.onlineURIUnpinned(f)
	v.thresholdOfOne(f)
	v.machineSigns(f)
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

// keyUnused shows a key that waits for somebody to list it unseen.
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
// newTypes are those that go-tuf does not read: they may where the policy names
// them.
var (
	writtenTypes = []string{"ecdsa/ecdsa-sha2-nistp256", "ecdsa/ecdsa-sha2-nistp384", "ed25519/ed25519", "rsa/rsassa-pss-sha256"}
	newTypes     = []string{"ml-dsa/ml-dsa-44/1", "ml-dsa/ml-dsa-65/1", "ml-dsa/ml-dsa-87/1"}
)

// hadWritten reports whether the known-good version of the role has a key that
// every reader takes for the same: with its type, scheme and text.
func (v view) hadWritten(k *metadata.Key) bool {
	if v.known == nil || v.known.Delegations() == nil {
		return false
	}
	for _, old := range v.known.Delegations().Keys {
		if old.Fingerprint() == k.Fingerprint() && old.Type == k.Type && old.Scheme == k.Scheme && publicText(old) == publicText(k) {
			return true
		}
	}
	return false
}

// publicText is the public key as the metadata has it.
func publicText(k *metadata.Key) string {
	val, _ := k.Object["keyval"].(metadata.Object)
	text, _ := val["public"].(string)
	return text
}

// keyTypeNotAllowed stops a key that deployed clients cannot use: go-tuf verifies
// no role that lists one, whoever else has signed. It judges key material that
// the event adds or writes in another way: what is there, or was imported, may be
// of any type. A key of Sigstore's is judged wherever the event lists it anew.
func (v view) keyTypeNotAllowed(f *findings) {
	keys, _ := v.keys()
	for _, k := range keys {
		switch {
		case v.hadWritten(k):
		case !v.policy.Allows(k.Type + "/" + k.Scheme):
			why := "deployed clients may not verify"
			if k.Type == metadata.SigstoreKey {
				why = unreadableSigstore
			}
			f.add(keyTypeNotAllowed, v.file(), "use an ECDSA P-256 key", "the new key of %s has type %s and scheme %s, which %s", holderOf(k), k.Type, k.Scheme, why)
		case k.Unusable != nil:
			f.add(keyTypeNotAllowed, v.file(), "remove the key and add it again with tufops-sign delegate", "the new key of %s (keyid %s) can verify nothing: %v", holderOf(k), k.ID, k.Unusable)
		case k.Type == "ecdsa" && !strings.Contains(publicText(k), "-----BEGIN"):
			f.add(keyTypeNotAllowed, v.file(), "remove the key and add it again with tufops-sign delegate", "the public key of %s (keyid %s) is in hex, which deployed clients do not read: they read PEM", holderOf(k), k.ID)
		case slices.Contains(newTypes, k.Type+"/"+k.Scheme):
			f.addAs(keyTypeNotAllowed, LevelWarning, v.file(), "see that nobody depends on such clients; else use an ECDSA P-256 key", "the new key of %s has type %s and scheme %s: clients that are built with go-tuf will verify no role that lists it. key-types in %s allows that", holderOf(k), k.Type, k.Scheme, PolicyFile)
		}
	}
	v.listing(func(d metadata.Delegation, id string) {
		k := d.Keys[id]
		if k == nil || k.Type != metadata.SigstoreKey || !v.hadPublicKey(k) {
			return
		}
		var old metadata.Delegation
		if v.known != nil {
			old, _ = v.known.Delegation(d.Role)
		}
		if !slices.Contains(old.KeyIDs, id) {
			f.add(keyTypeNotAllowed, v.file(), "use an ECDSA P-256 key", "%s is to list the key of %s, which has type %s and scheme %s, which %s", d.Role, holderOf(k), k.Type, k.Scheme, unreadableSigstore)
		}
	})
}

// unreadableSigstore is why no role that clients read may list a key of
// Sigstore's: go-tuf knows no such type, and cannot parse a file with such a
// signature in it.
const unreadableSigstore = "clients that are built with go-tuf cannot verify; and they cannot read a file that it has signed, since the signature is not in hex"

// login is what GitHub accepts as one, with the @.
var login = regexp.MustCompile(`^@[a-z0-9]+(-[a-z0-9]+)*$`)

// keyOwnerInvalid stops a key of which nobody can tell who holds it or where it is.
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
		for _, other := range v.state.allKeys() {
			if old := v.ownerBefore(k); old != "" && old != k.Owner {
				break // keyowner-changed says so
			}
			if other.Holder() != k.Holder() && other.Holder() != "" && k.Holder() != "" && other.Owner+k.Owner != "" && other.Fingerprint() == k.Fingerprint() {
				f.add(keyOwnerInvalid, v.file(), hint, "keyid %s of %s has the public key of %s (keyid %s)", k.ID, k.Holder(), other.Holder(), other.ID)
				break
			}
		}
	}
}

// keyOwnerChanged stops the key of one person from being booked for another, who
// would then seem to have signed.
func (v view) keyOwnerChanged(f *findings) {
	keys, _ := v.keys()
	for _, k := range keys {
		if old := v.ownerBefore(k); old != "" && old != k.Owner {
			f.add(keyOwnerChanged, v.file(), "remove the key; the new person brings their own", "the key of %s (keyid %s) is now said to be of %s", old, k.ID, holderOf(k))
		}
	}
}

// ownerBefore is whose the public key is in the known-good version of the role;
// of two owners, one who is not its owner now. "" where it has none there.
func (v view) ownerBefore(k *metadata.Key) string {
	owner := ""
	if v.known == nil || v.known.Delegations() == nil {
		return owner
	}
	for _, id := range sortedKeys(v.known.Delegations().Keys) {
		old := v.known.Delegations().Keys[id]
		if old.Fingerprint() == k.Fingerprint() && old.Owner != "" && (owner == "" || owner == k.Owner) {
			owner = old.Owner
		}
	}
	return owner
}

// lookAlike folds what people take for the same letter.
var lookAlike = strings.NewReplacer("l", "i", "1", "i", "0", "o", "rn", "m", "-", "", "_", "")

// ownerConfusable shows a login that passes for that of a known signer.
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

// newKeyUnproven shows a key that its person may not hold. It looks for a signature of each new person's key over the payload
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
	all := v.doc.Delegations()
	for _, k := range metadata.Check(metadata.Delegation{Role: v.role, Keys: all.Keys, KeyIDs: sortedKeys(all.Keys)}, v.doc).Signed {
		proven[k.Fingerprint()] = true
	}
	for _, d := range all.Roles {
		if doc, err := v.state.Document(d.Role); err == nil && !metadata.IsOnline(d.Role) {
			mark(d, doc)
		}
	}
	for _, k := range v.newKeys() {
		if k.Unusable == nil && !proven[k.Fingerprint()] {
			f.add(newKeyUnproven, v.file(), "wait until "+k.Owner+" has signed, or ask them for the fingerprint of their key",
				"the new key of %s (keyid %s) has signed neither %s nor the role it is for", k.Owner, k.ID, v.role)
		}
	}
}

// newKeys are the keys that the event adds for people.
func (v view) newKeys() []*metadata.Key {
	keys, added := v.keys()
	return slices.DeleteFunc(keys, func(k *metadata.Key) bool { return k.Owner == "" || !added(k) || v.hadPublicKey(k) })
}

// inviteAcceptedByOther shows a key that somebody with push rights may have
// brought in another's name. Whether the person was ever invited does not
// matter: who forges an acceptance can leave the invitation out.
//
// It goes by the first commit of the event that lists the key for its owner.
// Who rewrites history becomes the pusher of what they rewrite, so that the key
// cannot be moved under another login. Where the forge does not tell, and on a
// signer's machine it never does, nothing is said, whatever the policy: else
// nobody could sign.
func (v view) inviteAcceptedByOther(f *findings) {
	keys := v.newKeys()
	if v.event.options.Pushers == nil || len(keys) == 0 {
		return
	}
	pushers, err := v.event.options.Pushers(v.ctx)
	if err != nil {
		v.failed(err)
		return
	}
	for _, k := range keys {
		commit, err := v.event.first(v.ctx, v.role, func(doc *metadata.Document) bool {
			all := doc.Delegations()
			return all != nil && all.Keys[k.ID] != nil && string(metadata.Write(all.Keys[k.ID].Object)) == string(metadata.Write(k.Object))
		})
		if err != nil {
			v.failed(err)
			return
		}
		pusher := strings.TrimPrefix(pushers[commit], "@")
		if pusher != "" && !strings.EqualFold("@"+pusher, k.Owner) {
			f.add(inviteAcceptedByOther, v.file(), fmt.Sprintf("ask %s for the fingerprint of their key, or have the invitation accepted again", k.Owner),
				"the new key of %s (keyid %s) came with commit %s, which @%s pushed", k.Owner, k.ID, short(commit), pusher)
		}
	}
}

// keyNotAttested shows new keys that can be copied, since nothing says that they
// were made in hardware. Keys that are there already are not judged: an
// emergency must not wait for the attestation of an old one.
//
// Those for which keys/ has nothing are one finding, since that is one lack: who
// begins a repository without attesting keys is told once, and not again where a
// known key gets another role, unless the policy asks for it. An attestation that
// does not hold is a finding of its own.
func (v view) keyNotAttested(f *findings) {
	const commit = "commit the attestation below keys/: tufops-sign keys attest"
	var without []string
	for _, k := range v.newKeys() {
		why, err := v.notAttested(k)
		switch name := fmt.Sprintf("%s (keyid %s)", k.Owner, k.ID); {
		case err != nil:
			v.failed(fmt.Errorf("attestation of the key of %s: %w", name, err))
			return
		case why == noAttestation:
			if v.policy.Rules[keyNotAttested.Name].Level == LevelError || !v.from.lists(k) {
				without = append(without, name)
			}
		case why != "":
			f.add(keyNotAttested, v.file(), fmt.Sprintf("have %s attest the key on its device, and "+commit, k.Owner),
				"the new key of %s is not attested: %s", name, why)
		}
	}
	switch len(without) {
	case 0:
	case 1:
		owner, _, _ := strings.Cut(without[0], " ")
		f.add(keyNotAttested, v.file(), fmt.Sprintf("have %s attest the key on its device, and "+commit, owner),
			"the new key of %s is not attested: %s", without[0], noAttestation)
	default:
		f.add(keyNotAttested, v.file(), "have each attest their key on its device, and "+commit,
			"new keys are not attested, keys/ holds nothing for them: %s", strings.Join(without, ", "))
	}
}

// lists reports whether a role of the state can be signed with a key.
func (s *State) lists(k *metadata.Key) bool {
	for _, role := range append([]string{metadata.Root}, s.TargetsRoles()...) {
		for _, d := range s.Delegations(role) {
			for _, id := range d.KeyIDs {
				if old := d.Keys[id]; old != nil && old.Owner == k.Owner && old.Fingerprint() == k.Fingerprint() {
					return true
				}
			}
		}
	}
	return false
}

// notAttested says why nothing shows that a key was made in hardware; empty where
// something does.
func (v view) notAttested(k *metadata.Key) (string, error) {
	if attested := v.event.options.Attested; attested != nil {
		return attested(v.ctx, v.state, k)
	}
	switch a := v.attested()[k.Fingerprint()]; {
	case a == nil:
		return noAttestation, nil
	case !a.Holds:
		return a.Text, nil
	}
	return "", nil
}

// onlineURIUnpinned stops a key URI that nothing can be signed with, or that names
// another key one day.
func (v view) onlineURIUnpinned(f *findings) {
	keys, added := v.keys()
	for _, k := range keys {
		if k.OnlineURI == "" || !added(k) {
			continue
		}
		unpinned, level := UnpinnedURI(k.OnlineURI)
		if unpinned {
			f.addAs(onlineURIUnpinned, level, v.file(), "name the version of the key: tufops-sign delegate "+escape.Argument(v.event.Name)+" timestamp --online-key URI",
				"the online key URI %s names no version of the key", k.OnlineURI)
		}
	}
}

// UnpinnedURI reports whether the URI of an online key leaves open which version of
// the key is meant, so that the service may sign with another one tomorrow, and how
// bad that is: an alias of AWS is a warning, since it is what tuf-on-ci writes.
func UnpinnedURI(uri string) (unpinned bool, level Level) {
	scheme, rest, _ := strings.Cut(uri, ":")
	switch scheme {
	case "gcpkms":
		return !gcpVersion.MatchString(rest), LevelError
	case "azurekms":
		return !azureVersion.MatchString(rest), LevelError
	case "hv":
		return !vaultVersion.MatchString(rest), LevelError
	case "awskms":
		return strings.HasPrefix(rest, "alias/") || strings.Contains(rest, ":alias/"), LevelWarning
	}
	return false, LevelError
}

var (
	gcpVersion   = regexp.MustCompile(`/cryptoKeyVersions/[0-9]+$`)
	azureVersion = regexp.MustCompile(`/keys/[^/]+/[^/]+$`)
	vaultVersion = regexp.MustCompile(`^[^/]+/[0-9]+$`)
)

// thresholdOfOne shows a role that one stolen key, or one person under pressure,
// signs alone.
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
			f.add(thresholdOfOne, v.file(), fmt.Sprintf("ask for two signatures: tufops-sign delegate %s %s --threshold 2", escape.Argument(v.event.Name), escape.Argument(d.Role)), "one person alone can sign %s", d.Role)
		}
	}
}

// machineSigns shows an online key among those of people.
func (v view) machineSigns(f *findings) {
	for _, d := range v.doc.Delegations().Roles {
		var old metadata.Delegation
		if v.known != nil {
			old, _ = v.known.Delegation(d.Role)
		}
		people := d.Role == metadata.Root
		for _, id := range d.KeyIDs {
			people = people || d.Keys[id] != nil && d.Keys[id].Owner != ""
		}
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; people && k != nil && k.OnlineURI != "" && !metadata.IsOnline(d.Role) && !slices.Contains(old.KeyIDs, id) {
				f.add(machineSigns, v.file(), fmt.Sprintf("leave it to people: tufops-sign delegate %s %s", escape.Argument(v.event.Name), escape.Argument(d.Role)),
					"the online key %s (keyid %s) may sign %s along with people", k.OnlineURI, id, d.Role)
			}
		}
	}
}

// delegationPathForeign shows a role that speaks for another's artifacts.
func (v view) delegationPathForeign(f *findings) {
	for _, d := range v.doc.Delegations().Roles {
		for _, p := range d.Paths {
			if !strings.HasPrefix(p, d.Role+"/") {
				f.add(delegationPathForeign, v.file(), "delegate only paths below "+d.Role+"/", "%s delegates %q to %s, which is outside %s/", v.role, p, d.Role, d.Role)
			}
		}
	}
}

// nestedDelegation shows delegations where people do not look for them.
func (v view) nestedDelegation(f *findings) {
	if v.role != metadata.Targets && len(v.doc.Delegations().Roles) > 0 {
		f.add(nestedDelegation, v.file(), "delegate from targets instead", "%s is a delegated role and delegates to %s", v.role, v.doc.Delegations().Roles[0].Role)
	}
}

// maxJump is how many new roots common clients take in one update.
const maxJump = 32

// rootJumpLong shows that clients will be left behind. It counts the roots of the
// last year.
func (v view) rootJumpLong(f *findings) {
	from := v.doc.Version() - maxJump - 1
	if v.role != metadata.Root || from < 1 {
		return
	}
	old, err := v.state.RootVersion(v.ctx, from)
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
