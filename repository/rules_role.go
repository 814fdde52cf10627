package repository

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
)

// view is one role's metadata in a state, next to the state it is judged
// against: the head against the known-good state, or the merge result against
// the tip of the base branch.
type view struct {
	*judge
	role    string
	doc     *metadata.Document
	known   *metadata.Document // the same role in from; nil where it is new or unreadable
	state   *State
	from    *State
	invites []string        // people invited to a role that this one delegates
	only    map[string]bool // files to look at, by path in the TUF repository; nil for all
	path    string          // the role's file, where there is no judge
}

func (v view) file() string {
	if v.judge == nil {
		return v.path
	}
	return v.event.repo.Path(MetadataFile(v.role))
}

// fileChanged reports whether the role's own file differs between the states;
// else the role is judged because of its delegation or of invitations.
func (v view) fileChanged() bool {
	a, _ := v.from.File(MetadataFile(v.role))
	b, _ := v.state.File(MetadataFile(v.role))
	return a.OID != b.OID
}

// head runs all rules about one changed role.
func (v view) head(f *findings) {
	v.structure(f)
	v.expired(f)
	v.expiryTooFar(f)
	v.dateForm(f)
	v.periodInvalid(f)
	v.signatureUnknown(f)
	v.signatureLost(f)
	if v.fileChanged() && v.doc.Delegations() != nil {
		v.keyIDMismatch(f)
		v.keyRules(f)
		v.rootJumpLong(f)
	}
}

// structure runs the rules that the merge result must hold as well.
func (v view) structure(f *findings) {
	v.duplicateJSONKey(f)
	v.tooLarge(f)
	v.specVersion(f)
	v.versionNotIncreased(f)
	v.signatureDuplicate(f)
	v.quorum(f)
	if v.fileChanged() && v.doc.Delegations() != nil {
		v.delegationRules(f)
	}
	if v.doc.Type() == metadata.Targets {
		v.artifacts(f, v.doc, v.role)
	}
	if v.role == metadata.Root && v.fileChanged() && !v.doc.ConsistentSnapshot() {
		f.add(consistentSnapshotOff, v.file(), "set it to true: tufops-sign delegate keeps it, a hand edit must not change it",
			"root version %d does not set consistent_snapshot", v.doc.Version())
	}
}

var (
	metadataInvalid = rule("metadata-invalid", LevelError, "ES",
		"a file that no client can read is signed and published")
	duplicateJSONKey = rule("duplicate-json-key", LevelError, "ESP",
		"two readers of one file see two documents, because one takes the first of a repeated name and one the last")
	metadataTooLarge = rule("metadata-too-large", LevelError, "EP",
		"clients refuse the file because it exceeds their limit, and stop updating")
	specVersionUnsupported = rule("spec-version-unsupported", LevelError, "EP",
		"clients refuse a major version of the specification that they do not know (#update-root)")
	versionNotIncreased = rule("version-not-increased", LevelError, "E",
		"two contents with one version: a client that has seen one refuses or never sees the other (rollback rule)")
	expired = rule("expired", LevelError, "EP",
		"clients refuse metadata that is no longer valid (#freeze attack)")
	expiryTooFar = rule("expiry-too-far", LevelError, "E",
		"metadata outlives the period that its signers agreed to")
	periodInvalid = rule("period-invalid", LevelError, "E",
		"a role would never, or always, be due for re-signing")
	quorumRule = rule("quorum", LevelAwaited, "ESP",
		"clients refuse metadata that fewer than threshold keys have signed")
	delegationUnsatisfied = rule("delegation-unsatisfied", LevelAwaited, "E",
		"the keys or threshold of a role change and its present metadata silently stops verifying (tuf-on-ci issue 95)")
	signatureInvalid = rule("signature-invalid", LevelAwaited, "E",
		"a signature by the wrong key or over other content is counted on (staging, 2024-03-27)")
	signatureDuplicate = rule("signature-duplicate", LevelError, "EP",
		"clients refuse a file that one keyid signs twice")
	signatureUnknown = rule("signature-unknown", LevelWarning, "",
		"signatures of unknown origin travel along unnoticed")
	signatureLost = rule("signature-lost", LevelWarning, "",
		"a merge or an edit drops a signature that a person has already given")
)

// sizeLimits are the bytes that common clients read of each kind of metadata.
var sizeLimits = map[string]int{
	metadata.Root: 512_000, metadata.Timestamp: 16_384, metadata.Snapshot: 2_000_000, metadata.Targets: 5_000_000,
}

func (v view) duplicateJSONKey(f *findings) {
	if dups := v.doc.Duplicates(); len(dups) > 0 {
		f.add(duplicateJSONKey, v.file(), "remove one of the two by hand, then sign again", "%s", dups[0])
	}
}

func (v view) tooLarge(f *findings) {
	if size, limit := len(v.doc.Raw()), sizeLimits[v.doc.Type()]; size > limit {
		f.add(metadataTooLarge, v.file(), "move artifacts or delegations to another role",
			"the file has %d bytes; common clients read at most %d", size, limit)
	}
}

func (v view) specVersion(f *findings) {
	if major, _, _ := strings.Cut(v.doc.SpecVersion(), "."); major != "1" {
		f.add(specVersionUnsupported, v.file(), "spec_version must begin with 1.", "spec_version is %q; clients know major version 1", v.doc.SpecVersion())
	}
}

func (v view) versionNotIncreased(f *findings) {
	version := v.doc.Version()
	if v.known == nil {
		if v.role == metadata.Root && version != 1 {
			f.add(versionNotIncreased, v.file(), "a new repository starts with root version 1", "the first root has version %d, not 1", version)
		}
		if listed := v.from.listed(v.role); v.role != metadata.Root && version <= listed {
			f.add(versionNotIncreased, v.file(), fmt.Sprintf("give it version %d: clients remember a role of that name", listed+1),
				"the new role %s has version %d, but the snapshot lists version %d of a role that was removed", v.role, version, listed)
		}
		return
	}
	before := v.known.Version()
	same := string(v.doc.Payload()) == string(v.known.Payload())
	switch {
	case same:
	case v.role == metadata.Root && version != before+1:
		f.add(versionNotIncreased, v.file(), "clients walk the roots one by one: edit it again with tufops-sign delegate, which sets the version",
			"root changes from version %d to %d, not to %d", before, version, before+1)
	case version <= before:
		f.add(versionNotIncreased, v.file(), "edit it with tufops update-targets or tufops-sign delegate, which set the version",
			"the content changes but the version goes from %d to %d", before, version)
	}
}

func (v view) expired(f *findings) {
	if v.doc.Expired(v.now) {
		f.add(expired, v.file(), v.bump(), "%s version %d expired on %s; it is now %s",
			v.role, v.doc.Version(), v.doc.Expires().Format(metadata.TimeFormat), v.now.UTC().Format(metadata.TimeFormat))
	}
}

// dateForm: history holds dates with fractions, but python-tuf reads none.
func (v view) dateForm(f *findings) {
	want := v.doc.Expires().Format(metadata.TimeFormat)
	if have, _ := v.doc.Signed()["expires"].(string); v.fileChanged() && have != want {
		f.add(metadataInvalid, v.file(), "edit the role again with tufops-sign delegate, which sets the date", "expires is %q, not in the form of %s", have, want)
	}
}

func (v view) bump() string {
	return fmt.Sprintf("make a new version: tufops-sign delegate %s %s --expiry-days N, or tufops create-signing-events", v.event.Name, v.role)
}

func (v view) expiryTooFar(f *findings) {
	p := metadata.PeriodOf(v.doc.Signed())
	latest := v.now.Add(days(p.Expiry))
	if p.Expiry > 0 && v.doc.Expires().After(latest) {
		f.add(expiryTooFar, v.file(), "edit the role again with tufops-sign delegate, which sets the date",
			"it expires on %s, later than %s: now and the expiry period of %d days",
			v.doc.Expires().Format(metadata.TimeFormat), latest.UTC().Format(metadata.TimeFormat), p.Expiry)
	}
}

func (v view) periodInvalid(f *findings) {
	v.period(f, v.role, v.doc.Signed())
	if v.role == metadata.Root && v.fileChanged() {
		for _, d := range v.doc.Delegations().Roles {
			if metadata.IsOnline(d.Role) {
				v.period(f, d.Role, d.Object)
			}
		}
	}
}

func (v view) period(f *findings, role string, o metadata.Object) {
	p := metadata.PeriodOf(o)
	hint := fmt.Sprintf("set both: tufops-sign delegate %s %s --expiry-days N --signing-days N", v.event.Name, role)
	if metadata.IsOnline(role) {
		hint = fmt.Sprintf("set both: tufops-sign delegate %s %s --%s-expiry-days N --%s-signing-days N", v.event.Name, role, role, role)
	}
	switch {
	case p.Expiry == 0:
		f.add(periodInvalid, v.file(), hint, "%s has no expiry period (%s)", role, metadata.FieldExpiryPeriod)
	case p.Expiry < 1 || p.Signing < 0 || p.Explicit && p.Signing < 1:
		f.add(periodInvalid, v.file(), hint, "%s has an expiry period of %d and a signing period of %d days; each must be at least one", role, p.Expiry, p.Signing)
	case p.Expiry > maxPeriod:
		f.add(periodInvalid, v.file(), hint, "%s has an expiry period of %d days, longer than a hundred years", role, p.Expiry)
	case p.Signing >= p.Expiry:
		f.add(periodInvalid, v.file(), hint, "%s has a signing period of %d days, not less than its expiry period of %d", role, p.Signing, p.Expiry)
	}
}

// quorum checks the signatures by the proposed delegation and, for root, by the
// known-good root's too (#update-root step 4). While an invitation to a role
// that this one delegates is open nobody is asked to sign, so nothing is said.
func (v view) quorum(f *findings) {
	r, people, machines := quorumRule, false, false
	if !v.fileChanged() {
		r = delegationUnsatisfied
	}
	var lacks []string
	lacking := func(d metadata.Delegation, by string) {
		q := metadata.Check(d, v.doc)
		if !q.Met() {
			who := holders(q.Missing)
			for _, owner := range v.event.Invites.To(v.role) {
				who = append(who, owner+" (invited)")
			}
			missing := "nobody else can sign"
			if len(who) > 0 {
				missing = "missing: " + strings.Join(who, ", ")
			}
			for _, h := range who {
				people, machines = people || h[0] == '@', machines || h[0] != '@'
			}
			lack := fmt.Sprintf("%d of %d signatures%s (%s)", q.Count, q.Threshold, by, missing)
			if !slices.Contains(lacks, lack) {
				lacks = append(lacks, lack)
			}
		}
		v.signatureInvalid(f, q)
	}
	delegations := v.state.Delegations(v.role)
	if len(delegations) == 0 {
		f.addAs(quorumRule, LevelError, v.file(), "add the role with tufops-sign delegate, or remove the file", "no role delegates to %s", v.role)
		return
	}
	for _, d := range delegations {
		by := ""
		if len(delegations) > 1 {
			by = " by the delegation of " + d.By
		}
		lacking(d.Delegation, by)
	}
	if root, err := v.from.Document(metadata.Root); v.role == metadata.Root && err == nil {
		d, _ := root.Delegation(metadata.Root)
		proposed := delegations[0]
		if !sameTrust(Delegated{By: metadata.Root, Delegation: d}, proposed) {
			for i := range lacks {
				lacks[i] += " by the new root's own delegation"
			}
			lacking(d, fmt.Sprintf(" by the delegation of root version %d", root.Version()))
		}
	}
	hint := "sign with: tufops-sign sign " + escape.Argument(v.event.Name)
	if machines && !people && v.role != metadata.Root {
		hint = "sign with: tufops online-sign-targets " + escape.Argument(v.role) + " --push"
	}
	if len(lacks) > 0 && len(v.invites) == 0 {
		f.add(r, v.file(), hint, "%s version %d has %s", v.role, v.doc.Version(), strings.Join(lacks, ", and "))
	}
}

// signatureInvalid reports listed keys whose signature does not verify. While
// the quorum lacks they are asked to sign again.
func (v view) signatureInvalid(f *findings, q metadata.Quorum) {
	level := LevelWarning
	if !q.Met() {
		level = LevelAwaited
	}
	for _, c := range q.Checks {
		if c.State != metadata.SignatureInvalid {
			continue
		}
		message := fmt.Sprintf("the signature of %s (keyid %s) does not count: %s", holderOf(c.Key), c.KeyID, c.Reason)
		if !slices.ContainsFunc(f.list, func(o Finding) bool { return o.Message == message }) {
			f.addAs(signatureInvalid, level, v.file(), "sign again with: tufops-sign sign "+escape.Argument(v.event.Name), "%s", message)
		}
	}
}

func holderOf(k *metadata.Key) string {
	if h := k.Holder(); h != "" {
		return h
	}
	return "an unnamed key"
}

func (v view) signatureDuplicate(f *findings) {
	seen := map[string]bool{}
	for _, s := range v.doc.Signatures() {
		if seen[s.KeyID] {
			f.add(signatureDuplicate, v.file(), "remove the second entry by hand", "keyid %s stands twice in the list of signatures", s.KeyID)
			return
		}
		seen[s.KeyID] = true
	}
}

func (v view) signatureUnknown(f *findings) {
	listed := map[string]bool{}
	for _, s := range []*State{v.from, v.state} {
		for _, d := range s.Delegations(v.role) {
			for _, id := range d.KeyIDs {
				listed[id] = true
			}
		}
	}
	for _, s := range v.doc.Signatures() {
		if s.Sig != "" && !listed[s.KeyID] {
			f.add(signatureUnknown, v.file(), "nothing to do: it is kept and never counts", "a signature by keyid %s, which %s lists neither now nor before", s.KeyID, v.role)
		}
	}
}

// signatureLost looks through the commits of the event for a signature over the
// very payload of the head that the head no longer has.
func (v view) signatureLost(f *findings) {
	if v.state != v.event.Proposed || v.event.Head == v.event.MergeBase {
		return
	}
	versions, err := v.event.versions(v.ctx, v.role)
	if err != nil {
		v.failed(err)
		return
	}
	has := v.validSignatures(v.doc)
	for _, old := range versions {
		if old.doc == nil || string(old.doc.Payload()) != string(v.doc.Payload()) {
			continue
		}
		for id, holder := range v.validSignatures(old.doc) {
			if _, still := has[id]; !still {
				has[id] = holder
				f.add(signatureLost, v.file(), fmt.Sprintf("take it back: git checkout %.10s -- %s, or sign again", old.commit, v.file()),
					"the signature of %s that commit %.10s had over this same content is gone", holder, old.commit)
			}
		}
	}
}

func (v view) validSignatures(doc *metadata.Document) map[string]string {
	valid := map[string]string{}
	for _, s := range []*State{v.from, v.state} {
		for _, d := range s.Delegations(v.role) {
			for _, k := range metadata.Check(d.Delegation, doc).Signed {
				valid[k.ID] = holderOf(k)
			}
		}
	}
	return valid
}
