package repository

import (
	"encoding/json"
	"fmt"
	"regexp"
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
	v.readable(f)
	v.versionNotIncreased(f)
	v.versionJump(f)
	v.quorum(f)
	if v.fileChanged() && v.doc.Delegations() != nil {
		v.delegationRules(f)
	}
	if v.doc.Type() == metadata.Targets {
		v.artifacts(f, v.doc, v.role)
	}
	v.consistentSnapshotOff(f)
}

// readable runs the rules about files that clients do not read, whoever has
// signed them.
func (v view) readable(f *findings) {
	v.duplicateJSONKey(f)
	v.tooLarge(f)
	v.specVersion(f)
	v.clientForm(f)
	v.signatureDuplicate(f)
}

// consistentSnapshotOff stops a root that sends clients to file names which are
// not published.
func (v view) consistentSnapshotOff(f *findings) {
	if v.role == metadata.Root && v.fileChanged() && !v.doc.ConsistentSnapshot() {
		f.add(consistentSnapshotOff, v.file(), "set it to true: tufops-sign delegate keeps it, a hand edit must not change it",
			"root version %d does not set consistent_snapshot", v.doc.Version())
	}
}

var (
	metadataInvalid = rule(Rule{
		Name: "metadata-invalid", Level: LevelError, Gates: "ESP", Fixed: true,
		Title:   "metadata that cannot be read",
		Stops:   "a file that no client can read is signed and published",
		Source:  "broken roots in main stopped a deployment for weeks in 2022, sigstore/root-signing#118",
		Breaks:  "a metadata file is no regular file, not JSON, not of its type, lacks a field, or has something that not every client reads: a date in another form, a signature that is not hex, null for delegations or custom, a number beyond 2^53, a public key that is no text, a root with other than the four roles",
		Example: "it holds metadata of type snapshot, not targets",
		Hint:    "restore the file from main, or fix the place that the message names",
	})
	duplicateJSONKey = rule(Rule{
		Name: "duplicate-json-key", Level: LevelError, Gates: "ESP", Fixed: true,
		Title:   "an object names a key twice",
		Stops:   "two readers of one file see two documents, because one takes the first of a repeated name and one the last",
		Source:  "RFC 8259, section 4: what a receiver does with repeated names is unpredictable",
		Breaks:  "an object in metadata has a name twice, or two that differ only in case",
		Example: `signed names "_type" twice`,
		Hint:    "remove one of the two by hand, then sign again",
	})
	metadataTooLarge = rule(Rule{
		Name: "metadata-too-large", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "bigger than clients read",
		Stops:   "clients refuse the file because it exceeds their limit, and stop updating",
		Source:  "TUF specification, #goals-to-protect-against-specific-attacks: endless data",
		Breaks:  "root has more than 512,000 bytes, timestamp more than 16,384, snapshot more than 2,000,000, a targets role more than 5,000,000",
		Example: "the file has 514751 bytes; common clients read at most 512000",
		Hint:    "move artifacts or delegations to another role",
	})
	specVersionUnsupported = rule(Rule{
		Name: "spec-version-unsupported", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "not version 1 of the specification",
		Stops:   "clients refuse a major version of the specification that they do not know",
		Source:  "TUF specification, #file-formats-root: spec_version",
		Breaks:  "spec_version is not 1 with one or two more numbers, like 1.0 or 1.0.31",
		Example: `spec_version is "2.0.0"; clients read 1.N or 1.N.N`,
		Hint:    "set spec_version to 1.0.31",
	})
	versionNotIncreased = rule(Rule{
		Name: "version-not-increased", Level: LevelError, Gates: "E", Fixed: true,
		Title:   "new content, no new version",
		Stops:   "two contents with one version: a client that has seen one refuses or never sees the other",
		Source:  "TUF specification, #goals-to-protect-against-specific-attacks: rollback; a targets version fell back in 2022, sigstore/root-signing#413",
		Breaks:  "the content changed and the version did not grow, for root by exactly one; or a role that comes back has no higher version than the snapshot lists of it",
		Example: "the content changes but the version goes from 1 to 1",
		Hint:    "edit it with tufops update-targets or tufops-sign delegate, which set the version",
	})
	versionJump = rule(Rule{
		Name: "version-jump", Level: LevelError, Gates: "E", Fixed: true,
		Title:   "the version grows far too much",
		Stops:   "one signed version near the largest number leaves no room for another: clients would refuse every later one as a rollback",
		Source:  "TUF specification, #goals-to-protect-against-specific-attacks: fast-forward",
		Breaks:  "the version of a role other than root grows by more than a million; a new role starts above a million over what the snapshot lists",
		Example: "the version goes from 1 to 9223372036854775807, by more than 1000000",
		Hint:    "edit it again with tufops update-targets or tufops-sign delegate, which set the version",
	})
	expired = rule(Rule{
		Name: "expired", Level: LevelError, Gates: "EP",
		Title:   "its time is over",
		Stops:   "clients refuse metadata that is no longer valid, all of them at the same moment",
		Source:  "TUF specification, #goals-to-protect-against-specific-attacks: freeze; timestamps of Sigstore lapsed in 2021 and 2022",
		Breaks:  "expires is not after now: of an offline role that the event changes (E), of root, targets, snapshot or timestamp as published (P); a delegated role that is published is a warning",
		Example: "targets version 2 expired on 2030-01-01T00:00:00Z; it is now 2030-01-01T00:00:00Z",
		Hint:    "make a new version: tufops-sign delegate sign/test targets --expiry-days N, or tufops create-signing-events",
	})
	expiryTooFar = rule(Rule{
		Name: "expiry-too-far", Level: LevelError, Gates: "E",
		Title:   "valid for longer than agreed",
		Stops:   "metadata outlives the period that its signers agreed to, and a stolen copy stays good for as long",
		Source:  "wrong expiry dates were signed in 2022, sigstore/root-signing#227",
		Breaks:  "expires is later than now and the expiry period of the role; not judged on the merge result, since main is newer than the head",
		Example: "it expires on 2031-01-01T00:00:01Z, later than 2031-01-01T00:00:00Z: now and the expiry period of 365 days",
		Hint:    "edit the role again with tufops-sign delegate, which sets the date",
	})
	periodInvalid = rule(Rule{
		Name: "period-invalid", Level: LevelError, Gates: "E",
		Title:   "periods that make no sense",
		Stops:   "a role would never, or always, be due for re-signing",
		Source:  "deadlines that contradicted each other, sigstore/root-signing#1355",
		Breaks:  "there is no expiry period, one under a day or over a hundred years, the signing period is not shorter than it (a missing one is half of it), or one of them is no whole number",
		Example: "targets has a signing period of 365 days, not less than its expiry period of 365",
		Hint:    "set both: tufops-sign delegate sign/test targets --expiry-days N --signing-days N",
	})
	quorumRule = rule(Rule{
		Name: "quorum", Level: LevelAwaited, Gates: "ESP", Fixed: true,
		Title:   "fewer signatures than the threshold",
		Stops:   "clients refuse metadata that fewer than threshold keys have signed",
		Source:  "TUF specification, #update-root step 4 and #update-targets",
		Breaks:  "fewer valid signatures by distinct public keys than the threshold asks for; of root also by the known-good root's delegation. A warning says that changes are shown against an older version, since one was merged without its quorum",
		Example: "targets version 2 has 1 of 2 signatures (missing: @bob, @carol)",
		Hint:    "sign with: tufops-sign sign sign/test",
	})
	delegationUnsatisfied = rule(Rule{
		Name: "delegation-unsatisfied", Level: LevelAwaited, Gates: "E", Fixed: true,
		Title:   "signatures miss the new delegation",
		Stops:   "the keys or threshold of a role change and its present metadata silently stops verifying",
		Source:  "theupdateframework/tuf-on-ci#95",
		Breaks:  "a changed delegation leaves the present metadata of the delegated role below its threshold",
		Example: "releases version 1 has 0 of 1 signatures (missing: @dave)",
		Hint:    "sign with: tufops-sign sign sign/test",
	})
	signatureInvalid = rule(Rule{
		Name: "signature-invalid", Level: LevelAwaited, Gates: "E", Fixed: true,
		Title:   "a signature that does not verify",
		Stops:   "a signature by the wrong key or over other content is counted on",
		Source:  "theupdateframework/tuf-on-ci#236: one of two signatures did not verify, staging, 2024-03-27",
		Breaks:  "a signature by a listed key, empty placeholders aside, does not verify over this content; a warning once the quorum is met without it",
		Example: "the signature of @bob (keyid fb81ed92e13b2a663a6a057402ff7c4a8e3d224373e2dbf49ba14a5941195550) does not count: the signature does not verify over this content",
		Hint:    "sign again with: tufops-sign sign sign/test",
	})
	signatureDuplicate = rule(Rule{
		Name: "signature-duplicate", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "one keyid signs twice",
		Stops:   "clients refuse a file that one keyid signs twice",
		Source:  "TUF specification, #file-formats-object-format; go-tuf and python-tuf fail to parse it",
		Breaks:  "the list of signatures has a keyid more than once",
		Example: "keyid 08d9675a8316d8aeadd6230e29bd4bb4cbd5ea704a84a30d17faaf1968b2740e stands twice in the list of signatures",
		Hint:    "remove the second entry by hand",
	})
	signatureUnknown = rule(Rule{
		Name: "signature-unknown", Level: LevelWarning, Gates: "", Fixed: true,
		Title:   "a signature of nobody",
		Stops:   "signatures of unknown origin travel along unnoticed",
		Source:  "signatures of removed keys stayed in real metadata, sigstore/root-signing#1331",
		Breaks:  "a signature is by a key that neither the proposed nor the known-good delegation lists; empty placeholders are no finding",
		Example: "a signature by keyid 603c0ae8eb40e832f312015b4c578abfb031d872752dea5c7a4a0eda7b67c6cf, which targets lists neither now nor before",
		Hint:    "nothing to do: it is kept and never counts",
	})
	signatureLost = rule(Rule{
		Name: "signature-lost", Level: LevelWarning, Gates: "", Fixed: true,
		Title:   "a signature is gone again",
		Stops:   "a merge or an edit drops a signature that a person has already given",
		Source:  "people had to be asked for the same signature a second time",
		Breaks:  "an earlier commit of the event had a valid signature over the very content of the head, and the head has not",
		Example: "the signature of @carol that commit 0123456789 had over this same content is gone",
		Hint:    "take it back: git checkout 0123456789 -- metadata/targets.json, or sign again",
	})
)

// sizeLimits are the bytes that common clients read of each kind of metadata.
var sizeLimits = map[string]int{
	metadata.Root: 512_000, metadata.Timestamp: 16_384, metadata.Snapshot: 2_000_000, metadata.Targets: 5_000_000,
}

// duplicateJSONKey stops a file that two readers read as two documents.
func (v view) duplicateJSONKey(f *findings) {
	if dups := v.doc.Duplicates(); len(dups) > 0 {
		f.add(duplicateJSONKey, v.file(), "remove one of the two by hand, then sign again", "%s", dups[0])
	}
}

// tooLarge stops a file that clients refuse to read to its end.
func (v view) tooLarge(f *findings) {
	if size, limit := len(v.doc.Raw()), sizeLimits[v.doc.Type()]; size > limit {
		f.add(metadataTooLarge, v.file(), "move artifacts or delegations to another role",
			"the file has %d bytes; common clients read at most %d", size, limit)
	}
}

// specPattern is what python-tuf reads of major version 1; go-tuf reads more.
var specPattern = regexp.MustCompile(`^1(\.[0-9]+){1,2}$`)

// specVersion stops a file whose specification clients do not know.
func (v view) specVersion(f *findings) {
	if !specPattern.MatchString(v.doc.SpecVersion()) {
		f.add(specVersionUnsupported, v.file(), "set spec_version to 1.0.31", "spec_version is %q; clients read 1.N or 1.N.N", v.doc.SpecVersion())
	}
}

// clientForm stops what reads well here and in no common client, so that the
// whole file fails there. A signature needs no key: whoever can push can add one.
func (v view) clientForm(f *findings) {
	for _, s := range v.doc.Signatures() {
		if _, err := s.Bytes(); err != nil {
			f.add(metadataInvalid, v.file(), "remove the entry by hand, or sign again", "the signature of keyid %s is %.80q, which is no hex: clients refuse the whole file", s.KeyID, s.Sig)
			break
		}
	}
	if path, number := largeNumber(v.doc.Signed(), "signed"); path != "" {
		f.add(metadataInvalid, v.file(), "write a smaller number, or a text",
			"%s is %.40s: clients built with go-tuf read numbers beyond 2^53 as others, and refuse the signatures", path, number)
	}
	v.keyForm(f)
	switch v.doc.Type() {
	case metadata.Root: // python-tuf reads no root with a role more
		for _, role := range sortedKeys(v.doc.Signed()["roles"].(metadata.Object)) {
			if !slices.Contains(metadata.TopLevel, role) {
				f.add(metadataInvalid, v.file(), "remove it: tufops-sign delegate keeps the four roles, a hand edit must too",
					"root lists the role %q; clients read no root with other roles than %s", role, strings.Join(metadata.TopLevel, ", "))
				break
			}
		}
	case metadata.Targets: // go-tuf drops what is null, and with it the signatures
		if null, there := v.doc.Signed()["delegations"]; there && null == nil {
			f.add(metadataInvalid, v.file(), "remove the field", "delegations is null: clients refuse the whole file")
		}
		targets := v.doc.Targets()
		for _, target := range sortedKeys(targets) {
			if null, there := targets[target].Object["custom"]; there && null == nil {
				f.add(metadataInvalid, v.file(), "remove the field", "custom of the artifact %q is null: clients refuse the whole file", target)
				break
			}
		}
	}
}

// keyForm stops a key whose public part is there and no text. Whether anybody can
// use it is the business of other rules: the file that holds it is read by none.
func (v view) keyForm(f *findings) {
	holder := v.doc.Signed()
	if v.doc.Type() == metadata.Targets {
		holder, _ = holder["delegations"].(metadata.Object)
	}
	keys, _ := holder["keys"].(metadata.Object)
	for _, id := range sortedKeys(keys) {
		key, _ := keys[id].(metadata.Object)
		value, _ := key["keyval"].(metadata.Object)
		public, there := value["public"]
		if _, ok := public.(string); there && !ok {
			f.add(metadataInvalid, v.file(), "make it a text, or remove the key", "the public part of key %.12s is %.40s, which is no text: clients refuse the whole file", id, metadata.Write(public))
			break
		}
	}
}

// largeNumber finds an integer that a float64, as which many readers take what
// they do not know, may not hold. The path is empty if there is none.
//
// RFC 7493, section 2.2.
func largeNumber(value any, path string) (where, number string) {
	if path == "signed.version" || strings.HasPrefix(path, "signed.meta.") { // all read versions as what they are
		return "", ""
	}
	switch value := value.(type) {
	case metadata.Object:
		for _, name := range sortedKeys(value) {
			if where, number = largeNumber(value[name], path+"."+name); where != "" {
				return where, number
			}
		}
	case []any:
		for _, one := range value {
			if where, number = largeNumber(one, path+"[]"); where != "" {
				return where, number
			}
		}
	case json.Number:
		if n, err := value.Int64(); err != nil || n > 1<<53 || n < -1<<53 {
			return path, value.String()
		}
	case int64:
		if value > 1<<53 || value < -1<<53 {
			return path, fmt.Sprint(value)
		}
	}
	return "", ""
}

// versionNotIncreased stops two contents under one version, which clients take
// for a rollback or never see.
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

// maxVersionGrowth is how far a version may grow in one event: by a version a
// minute for two years, so no practice of anybody comes near it. From there to
// the largest number takes more events than there will ever be, while one step
// to it would end the role: no client takes a lower version again.
const maxVersionGrowth = 1_000_000

// versionJump stops a fast-forward: one signed version so high that no other
// can follow. Root grows by exactly one anyway.
func (v view) versionJump(f *findings) {
	before := v.from.listed(v.role)
	if v.known != nil {
		before = v.known.Version()
	}
	if version := v.doc.Version(); v.role != metadata.Root && version-before > maxVersionGrowth {
		f.add(versionJump, v.file(), "edit it again with tufops update-targets or tufops-sign delegate, which set the version",
			"the version goes from %d to %d, by more than %d", before, version, maxVersionGrowth)
	}
}

// expired stops metadata that clients refuse from being signed and published.
func (v view) expired(f *findings) {
	if v.doc.Expired(v.now) {
		f.add(expired, v.file(), v.bump(), "%s version %d expired on %s; it is now %s",
			v.role, v.doc.Version(), v.doc.Expires().Format(metadata.TimeFormat), v.now.UTC().Format(metadata.TimeFormat))
	}
}

// dateForm stops a date that some clients cannot read: history holds dates with
// fractions, but python-tuf reads none.
func (v view) dateForm(f *findings) {
	want := v.doc.Expires().Format(metadata.TimeFormat)
	if have, _ := v.doc.Signed()["expires"].(string); v.fileChanged() && have != want {
		f.add(metadataInvalid, v.file(), "edit the role again with tufops-sign delegate, which sets the date", "expires is %q, not in the form of %s", have, want)
	}
}

func (v view) bump() string {
	return fmt.Sprintf("make a new version: tufops-sign delegate %s %s --expiry-days N, or tufops create-signing-events", escape.Argument(v.event.Name), escape.Argument(v.role))
}

// expiryTooFar stops metadata that outlives what its signers agreed to.
func (v view) expiryTooFar(f *findings) {
	p := metadata.PeriodOf(v.doc.Signed())
	latest := v.now.Add(days(p.Expiry))
	if p.Expiry > 0 && v.doc.Expires().After(latest) {
		f.add(expiryTooFar, v.file(), "edit the role again with tufops-sign delegate, which sets the date",
			"it expires on %s, later than %s: now and the expiry period of %d days",
			v.doc.Expires().Format(metadata.TimeFormat), latest.UTC().Format(metadata.TimeFormat), p.Expiry)
	}
}

// periodInvalid stops a role that would never, or always, be due for re-signing.
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
	hint := fmt.Sprintf("set both: tufops-sign delegate %s %s --expiry-days N --signing-days N", escape.Argument(v.event.Name), escape.Argument(role))
	if metadata.IsOnline(role) {
		hint = fmt.Sprintf("set both: tufops-sign delegate %s %s --%s-expiry-days N --%s-signing-days N", escape.Argument(v.event.Name), role, role, role)
	}
	for _, field := range []string{metadata.FieldExpiryPeriod, metadata.FieldSigningPeriod} {
		if n, there := o[field]; there && !wholeNumber(n) {
			f.add(periodInvalid, v.file(), hint, "%s has %s %.80s, which is no whole number of days", role, field, metadata.Write(n))
			return
		}
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

func wholeNumber(v any) bool {
	n, ok := v.(json.Number)
	_, err := n.Int64()
	return ok && err == nil
}

// quorum stops metadata that too few have signed. It checks the signatures by the proposed delegation and, for root, by the
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

// signatureInvalid stops a signature by the wrong key, or over other content,
// from being counted on. While the quorum lacks its people are asked to sign
// again.
func (v view) signatureInvalid(f *findings, q metadata.Quorum) {
	level := LevelWarning
	if !q.Met() {
		level = LevelAwaited
	}
	for i, c := range q.Checks {
		if _, err := v.doc.Signatures()[i].Bytes(); c.State != metadata.SignatureInvalid || err != nil {
			continue // one that is no hex spoils the whole file, and is reported so
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

// signatureDuplicate stops a file that clients refuse because one keyid signs it
// twice.
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

// signatureUnknown shows signatures of unknown origin, which would travel along
// unnoticed.
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
		if _, err := s.Bytes(); s.Sig != "" && err == nil && !listed[s.KeyID] {
			f.add(signatureUnknown, v.file(), "nothing to do: it is kept and never counts", "a signature by keyid %s, which %s lists neither now nor before", s.KeyID, v.role)
		}
	}
}

// signatureLost shows that a merge or an edit dropped what somebody had signed.
// It looks through the commits of the event for a signature over the
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
				f.add(signatureLost, v.file(), fmt.Sprintf("take it back: git checkout %.10s -- %s, or sign again", old.commit, escape.Argument(v.file())),
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
