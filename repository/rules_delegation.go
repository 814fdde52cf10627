package repository

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	thresholdInvalid = rule(Rule{
		Name: "threshold-invalid", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "a threshold that makes no sense",
		Stops:   "a threshold of zero accepts unsigned metadata; one beyond the keys can never be met",
		Source:  "GHSA-fphv-w9fq-2525: go-tuf accepted a threshold of zero",
		Breaks:  "a threshold is less than one, or more than the role has distinct public keys; awaited while open invitations fill the gap",
		Example: "targets delegates to releases with a threshold of 0; the least is 1",
		Hint:    "set it: tufops-sign delegate sign/test releases --threshold N",
	})
	duplicatePublicKey = rule(Rule{
		Name: "duplicate-public-key", Level: LevelError, Gates: "E", Fixed: true,
		Title:   "one key counts twice",
		Stops:   "one person meets a threshold of two, because one key is listed under two keyids",
		Source:  "CVE-2020-6174: python-tuf counted one signature more than once",
		Breaks:  "a role lists a keyid twice, or the same public key under two keyids",
		Example: "role releases lists one public key twice: as keyid 052a316c011cc223d2860a8d4dddb36d130db746f323b7f43cea2bf6e995e229 (@carol) and as keyid c03129f2bb8782c97f506d9bbc93b5dfd87ee3c93457cd1e44595082556b2d4b (@carol)",
		Hint:    "remove one of the two: tufops-sign delegate sign/test releases",
	})
	keyMissing = rule(Rule{
		Name: "key-missing", Level: LevelError, Gates: "ESP",
		Title:   "a keyid without its key",
		Stops:   "go-tuf refuses a role that lists a keyid without a key, whoever else has signed",
		Source:  "found by comparing verdicts with go-tuf, see docs/divergences.md",
		Breaks:  "a role lists a keyid that keys lacks; a root that does so on main is held back",
		Example: "role releases lists keyid aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, which the keys of targets lack",
		Hint:    "set the signers again: tufops-sign delegate sign/test releases",
	})
	keyIDMismatch = rule(Rule{
		Name: "keyid-mismatch", Level: LevelError, Gates: "E",
		Title:   "a keyid is not its key's hash",
		Stops:   "strict clients refuse a keyid that is not the hash of its key",
		Source:  "TUF specification, #file-formats-keys; root v11 broke sigstore-rs, sigstore/root-signing#1431, 2025-02-03",
		Breaks:  "a keyid is not the hash of its key object: any key of a root that the event changes, and keys that it adds or changes in targets; a warning for others, and for all with legacy-keyids: allowed",
		Example: "the key of @dave is declared as keyid bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, but its content gives 14a683edf8761d00dc57b7c9a45b52da052abf8283cbda1070ddf9c99336058e",
		Hint:    "remove and add the key again with tufops-sign delegate, or allow it: --allow-legacy-keyids",
	})
	onlineRolesDiffer = rule(Rule{
		Name: "online-roles-differ", Level: LevelError, Gates: "E",
		Title:   "timestamp and snapshot differ in keys",
		Stops:   "snapshot and timestamp are signed by one service: a difference is a slip that stops freshness",
		Source:  "online keys are set for both at once, and rotated at once",
		Breaks:  "timestamp and snapshot do not have the same keys and threshold",
		Example: "timestamp needs 1 of [7cef8ad62ab5ea8740739475950970ee456b845d20aa94f22ff93d44199bc4be], snapshot 1 of [d597f4c8e8ae29f3bb8dda8b7e64a03e33ae2b8427cb3ccdbfb758cab6808372]",
		Hint:    "set both at once: tufops-sign delegate sign/test timestamp",
	})
	roleNameUnsafe = rule(Rule{
		Name: "role-name-unsafe", Level: LevelError, Gates: "ESP", Fixed: true,
		Title:   "a role name that is a path",
		Stops:   "a role name becomes a file name and a URL: it must not leave its folder or shadow another role",
		Source:  "CVE-2021-41131, CVE-2021-41150: role names wrote files elsewhere",
		Breaks:  "the name of a delegated role or of its hash bins is not a plain file name (a slash, a backslash, a leading dot, a wildcard, something invisible), is that of a top-level role or of a version of one, or differs only in case from that of another role, whoever delegates to it",
		Example: `targets delegates to "../x": the name begins with a dot`,
		Hint:    "delegate to a role with a plain name, like releases",
	})
)

// delegationRules judge the delegations that a root or targets file makes.
func (v view) delegationRules(f *findings) {
	all := v.doc.Delegations()
	for _, d := range all.Roles {
		v.thresholdInvalid(f, d)
		v.duplicatePublicKey(f, d)
		v.keyMissing(f, d)
		v.roleNameUnsafe(f, d)
	}
	if all.Succinct != nil {
		d := all.Succinct.Delegation
		d.Role = all.Succinct.NamePrefix + "-*"
		v.thresholdInvalid(f, d)
		v.duplicatePublicKey(f, d)
		v.keyMissing(f, d)
		if why := UnsafeRoleName(all.Succinct.NamePrefix + "-0"); why != "" {
			f.add(roleNameUnsafe, v.file(), "give the bins a plain name, like bin", "%s delegates to hash bins named %q: the name %s", v.role, all.Succinct.NamePrefix, why)
		}
	}
	if v.role == metadata.Root {
		v.onlineRolesDiffer(f)
	}
}

// thresholdInvalid stops a threshold that accepts unsigned metadata, or that
// nobody can meet.
func (v view) thresholdInvalid(f *findings, d metadata.Delegation) {
	hint := fmt.Sprintf("set it: tufops-sign delegate %s %s --threshold N", escape.Argument(v.event.Name), escape.Argument(d.Role))
	keys := int64(d.PublicKeys())
	invited := v.event.Invites.To(d.Role)
	count := func(what string) string {
		if keys == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", keys, what)
	}
	switch {
	case d.Threshold < 1:
		f.add(thresholdInvalid, v.file(), hint, "%s delegates to %s with a threshold of %d; the least is 1", v.role, d.Role, d.Threshold)
	case d.Threshold <= keys:
	case d.Threshold <= keys+int64(len(invited)):
		f.addAs(thresholdInvalid, LevelAwaited, v.file(), "whoever is invited accepts with: tufops-sign sign "+escape.Argument(v.event.Name),
			"%s needs %d signatures and has %s until the invited bring theirs: %s", d.Role, d.Threshold, count("key"), strings.Join(invited, ", "))
	default:
		f.add(thresholdInvalid, v.file(), hint, "%s needs %d signatures but has only %s", d.Role, d.Threshold, count("distinct public key"))
	}
}

// duplicatePublicKey stops one person from meeting a threshold of two.
func (v view) duplicatePublicKey(f *findings, d metadata.Delegation) {
	first := map[string]*metadata.Key{}
	seen := map[string]bool{}
	for _, id := range d.KeyIDs {
		k := d.Keys[id]
		if k == nil {
			continue
		}
		other, twice := first[k.Fingerprint()]
		if seen[id] || twice && other.ID != id {
			f.add(duplicatePublicKey, v.file(), fmt.Sprintf("remove one of the two: tufops-sign delegate %s %s", escape.Argument(v.event.Name), escape.Argument(d.Role)),
				"role %s lists one public key twice: as keyid %s (%s) and as keyid %s (%s)", d.Role, first[k.Fingerprint()].ID, holderOf(first[k.Fingerprint()]), id, holderOf(k))
			return
		}
		seen[id] = true
		first[k.Fingerprint()] = k
	}
}

// keyMissing stops a role that go-tuf refuses because of a key it cannot find.
func (v view) keyMissing(f *findings, d metadata.Delegation) {
	for _, id := range keyless(d) {
		f.add(keyMissing, v.file(), fmt.Sprintf("set the signers again: tufops-sign delegate %s %s", escape.Argument(v.event.Name), escape.Argument(d.Role)),
			"role %s lists keyid %s, which the keys of %s lack", d.Role, id, v.role)
	}
}

// keyless are the keyids of a role that have no key.
func keyless(d metadata.Delegation) []string {
	return slices.DeleteFunc(slices.Clone(d.KeyIDs), func(id string) bool { return d.Keys[id] != nil })
}

// keyIDMismatch stops a keyid that strict clients refuse. It is judged for every key of a changed root, and for the keys
// that a targets role adds or changes.
func (v view) keyIDMismatch(f *findings) {
	for _, id := range sortedKeys(v.doc.Delegations().Keys) {
		k := v.doc.Delegations().Keys[id]
		computed, ok := k.CheckID()
		if ok {
			continue
		}
		level := LevelError
		if v.role != metadata.Root && v.hadKey(k) || v.policy.AllowLegacyKeyIDs {
			level = LevelWarning
		}
		f.addAs(keyIDMismatch, level, v.file(),
			"remove and add the key again with tufops-sign delegate, or allow it: --allow-legacy-keyids",
			"the key of %s is declared as keyid %s, but its content gives %s", holderOf(k), id, computed)
	}
}

// hadKey reports whether the known-good version of the role has the very key.
func (v view) hadKey(k *metadata.Key) bool {
	if v.known == nil || v.known.Delegations() == nil {
		return false
	}
	old := v.known.Delegations().Keys[k.ID]
	return old != nil && string(metadata.Write(old.Object)) == string(metadata.Write(k.Object))
}

// onlineRolesDiffer stops a slip that would end freshness: one service signs both.
func (v view) onlineRolesDiffer(f *findings) {
	t, _ := v.doc.Delegation(metadata.Timestamp)
	s, _ := v.doc.Delegation(metadata.Snapshot)
	a, b := slices.Sorted(slices.Values(t.KeyIDs)), slices.Sorted(slices.Values(s.KeyIDs))
	if !slices.Equal(a, b) || t.Threshold != s.Threshold {
		f.add(onlineRolesDiffer, v.file(), fmt.Sprintf("set both at once: tufops-sign delegate %s timestamp", escape.Argument(v.event.Name)),
			"timestamp needs %d of %v, snapshot %d of %v", t.Threshold, a, s.Threshold, b)
	}
}

// roleNameUnsafe stops a name that leaves its folder or shadows another role: it
// is a file name below metadata/ and a part of a URL.
func (v view) roleNameUnsafe(f *findings, d metadata.Delegation) {
	if v.role == metadata.Root {
		return // the four names are given
	}
	own := func(role string) bool {
		return slices.ContainsFunc(v.doc.Delegations().Roles, func(o metadata.Delegation) bool { return o.Role == role })
	}
	for _, other := range v.doc.Delegations().Roles {
		if other.Role < d.Role && strings.EqualFold(other.Role, d.Role) {
			f.add(roleNameUnsafe, v.file(), "rename one of them", "%s delegates to %q and to %q, which differ only in case: they are one file on some disks", v.role, other.Role, d.Role)
		}
	}
	for _, other := range v.state.TargetsRoles() {
		if other != d.Role && strings.EqualFold(other, d.Role) && !own(other) && !reserved(d.Role) {
			f.add(roleNameUnsafe, v.file(), "rename one of them", "%s delegates to %q and another role to %q, which differ only in case: they are one file on some disks", v.role, d.Role, other)
		}
	}
	if why := UnsafeRoleName(d.Role); why != "" {
		f.add(roleNameUnsafe, v.file(), "delegate to a role with a plain name, like releases", "%s delegates to %q: the name %s", v.role, d.Role, why)
	}
}

// UnsafeRoleName says why a delegated role must not have this name; empty for a
// good name.
func UnsafeRoleName(role string) string {
	switch {
	case role == "":
		return "is empty"
	case len(role) > 100:
		return "is longer than 100 bytes"
	case strings.TrimSpace(role) != role:
		return "begins or ends with a space"
	case strings.HasPrefix(role, "."):
		return "begins with a dot"
	case strings.ContainsAny(role, `/\`):
		return "holds a path separator"
	case strings.ContainsAny(role, "*?["): // in its path patterns these cover other roles' artifacts
		return "holds a wildcard"
	case reserved(role):
		return "is that of a top-level role"
	case strings.HasSuffix(strings.ToLower(role), ".json"):
		return "ends in .json"
	}
	for _, r := range role {
		if r < 0x20 || r == 0x7f || !printable(r) {
			return fmt.Sprintf("holds the invisible character %U", r)
		}
	}
	// N.root would be published under the name of a root version, and so on.
	number, rest, ok := strings.Cut(role, ".")
	if ok && reserved(rest) && strings.Trim(number, "0123456789") == "" {
		return "is that of a version of a top-level role"
	}
	return ""
}
