package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// SpecVersion is what new metadata says; existing metadata keeps its own.
const SpecVersion = "1.0.31"

// Edit is a set of changes to one state that is not committed yet. It knows
// every edit of the format (docs/format.md, "Edits, exactly") and makes no other
// bytes than those. It is not safe for concurrent use.
//
// A person's edit sets the known-good version plus one, however often a role is
// edited in one event; the bot's sets the current version plus one. Every edit
// of a document drops all its signatures and leaves placeholders for those who
// are asked to sign.
type Edit struct {
	base    *State // what is edited
	known   *State // the known-good state; base itself for the bot
	now     time.Time
	docs    map[string]*metadata.Document
	edited  map[string]bool // roles whose signed part this edit has set
	invites Invites
	had     Invites
	files   map[string][]byte // other files; nil removes
}

// Edit begins an edit of the state at base. known is the known-good state of
// the event; for the bot's own edits it is base.
func (base *State) Edit(ctx context.Context, known *State, now time.Time) (*Edit, error) {
	inv, err := base.Invites(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s at commit %.10s: %w", base.repo.Path(StateFile), base.commit, err)
	}
	return &Edit{
		base: base, known: known, now: now, docs: map[string]*metadata.Document{},
		edited: map[string]bool{}, invites: inv, had: inv, files: map[string][]byte{},
	}, nil
}

// Document is the metadata of a role with the changes made so far.
func (e *Edit) Document(role string) (*metadata.Document, error) {
	if doc, ok := e.docs[role]; ok {
		return doc, nil
	}
	return e.base.Document(role)
}

// Invites are the open invitations with the changes made so far.
func (e *Edit) Invites() Invites { return e.invites }

// Delegator is the role that delegates to role, with the changes made so far:
// root for the top-level roles; else the one that does, or targets for a role
// that does not exist yet.
func (e *Edit) Delegator(role string) string {
	if slices.Contains(metadata.TopLevel, role) {
		return metadata.Root
	}
	if d, ok := e.base.Delegation(role); ok {
		return d.By
	}
	return metadata.Targets
}

// Delegation is the delegation to a role with the changes made so far.
func (e *Edit) Delegation(role string) (metadata.Delegation, bool) {
	doc, err := e.Document(e.Delegator(role))
	if err != nil {
		return metadata.Delegation{}, false
	}
	return doc.Delegation(role)
}

// Changes are the files to commit: only those whose content differs from the
// state that was edited. Sorted by path.
func (e *Edit) Changes(ctx context.Context) ([]git.FileChange, error) {
	files := map[string][]byte{}
	for role, doc := range e.docs {
		data := doc.Bytes()
		files[MetadataFile(role)] = data
		if role == metadata.Root {
			files[RootFile(doc.Version())] = data
		}
	}
	_, hadFile := e.base.File(StateFile)
	if fmt.Sprint(e.invites) != fmt.Sprint(e.had) || len(e.invites) == 0 && hadFile && len(e.edited) > 0 {
		files[StateFile] = e.invites.Bytes()
	}
	for name, data := range e.files {
		files[name] = data
	}
	var changes []git.FileChange
	for _, name := range sortedKeys(files) {
		old, exists := e.base.File(name)
		if files[name] == nil {
			if exists {
				changes = append(changes, git.FileChange{Path: e.base.repo.Path(name), Delete: true})
			}
			continue
		}
		if exists && old.Regular() {
			have, err := e.base.repo.Git.Blob(ctx, old.OID)
			if err != nil {
				return nil, err
			}
			if string(have) == string(files[name]) {
				continue
			}
		}
		changes = append(changes, git.FileChange{Path: e.base.repo.Path(name), Data: files[name]})
	}
	return changes, nil
}

// Changed reports the roles whose file this edit changes, in report order.
func (e *Edit) Changed() []string {
	var roles []string
	for role := range e.docs {
		roles = append(roles, role)
	}
	return SortRoles(roles)
}

// signedPart is a copy of the signed part of a role to change, or a new one
// for a role that does not exist yet.
func (e *Edit) signedPart(role string) (*metadata.Document, metadata.Object, error) {
	doc, err := e.Document(role)
	var missing *MissingError
	if errors.As(err, &missing) {
		signed := metadata.Object{
			"_type": typeOf(role), "spec_version": SpecVersion, "version": int64(0), "expires": "",
		}
		switch typeOf(role) {
		case metadata.Root:
			signed["consistent_snapshot"] = true
			signed["keys"] = metadata.Object{}
			roles := metadata.Object{}
			for _, top := range metadata.TopLevel {
				roles[top] = metadata.Object{"keyids": []any{}, "threshold": int64(1)}
			}
			signed["roles"] = roles
		case metadata.Targets:
			signed["targets"] = metadata.Object{}
		default:
			signed["meta"] = metadata.Object{}
		}
		return nil, signed, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return doc, metadata.Clone(doc.Signed()), nil
}

// setSigned gives a role a new signed part: version, expiry date and
// placeholders are set here.
func (e *Edit) setSigned(role string, signed metadata.Object, version int64, period int64, placeholders []string) error {
	signed["version"] = version
	if period > maxPeriod {
		return fmt.Errorf("edit role %s: its expiry period of %d days is longer than a hundred years", role, period)
	}
	signed["expires"] = e.now.UTC().Add(days(period)).Truncate(time.Second).Format(metadata.TimeFormat)
	signatures := make([]metadata.Signature, 0, len(placeholders))
	for _, id := range placeholders {
		signatures = append(signatures, metadata.Signature{KeyID: id})
	}
	doc, err := e.Document(role)
	if err == nil {
		doc, err = doc.WithSigned(signed, signatures)
	} else if errors.As(err, new(*MissingError)) {
		doc, err = metadata.New(signed, signatures)
	}
	if err != nil {
		return fmt.Errorf("edit role %s: %w", role, err)
	}
	e.docs[role] = doc
	e.edited[role] = true
	return nil
}

// personEdit changes the signed part of a role the way a person's edit does.
func (e *Edit) personEdit(role string, change func(signed metadata.Object) error) error {
	_, signed, err := e.signedPart(role)
	if err != nil {
		return err
	}
	if err := change(signed); err != nil {
		return err
	}
	version := e.known.listed(role) + 1 // of a new role: 1, unless clients remember one of that name
	if known, err := e.known.Document(role); err == nil {
		version = known.Version() + 1
	}
	period := metadata.PeriodOf(normal(signed)).Expiry
	if period < 1 {
		return fmt.Errorf("edit role %s: it has no expiry period (%s); set one with --expiry-days", role, metadata.FieldExpiryPeriod)
	}
	placeholders := e.asked(role)
	if role == metadata.Root {
		placeholders = e.askedForRoot(signed)
	}
	return e.setSigned(role, signed, version, period, placeholders)
}

// normal is a tree as it would be read back: numbers that were set as Go
// integers become what a parsed tree holds.
func normal(o metadata.Object) metadata.Object {
	v, _, err := metadata.ParseTree(metadata.Write(o))
	if err != nil {
		return o
	}
	return v.(metadata.Object)
}

// asked lists the keyids of a role by its delegation.
func (e *Edit) asked(role string) []string {
	d, _ := e.Delegation(role)
	return d.KeyIDs
}

// askedForRoot lists whose signature a person's edit of root needs: the
// known-good root's keys that have an owner or URI, then the proposed ones.
func (e *Edit) askedForRoot(signed metadata.Object) []string {
	var ids []string
	if known, err := e.known.Document(metadata.Root); err == nil {
		d, _ := known.Delegation(metadata.Root)
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; k != nil && k.Holder() != "" {
				ids = append(ids, id)
			}
		}
	}
	roles, _ := signed["roles"].(metadata.Object)
	root, _ := roles[metadata.Root].(metadata.Object)
	for _, id := range texts(root["keyids"]) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func texts(v any) []string {
	var list []string
	for _, e := range v.([]any) {
		list = append(list, e.(string))
	}
	return list
}

// maxPeriod is the longest period that is computed with, in days. Anything
// longer is a slip, and would overflow a duration.
const maxPeriod = 36_525

// days is a period as a duration, bounded by maxPeriod on both sides.
func days(n int64) time.Duration {
	return time.Duration(max(-maxPeriod, min(n, maxPeriod))) * 24 * time.Hour
}

// Bump is the bot's expiry bump: the same content with the next version and a
// new date.
func (e *Edit) Bump(role string) error {
	doc, signed, err := e.signedPart(role)
	if err != nil {
		return err
	}
	if doc == nil {
		return &MissingError{Role: role, File: e.base.repo.Path(MetadataFile(role)), Commit: e.base.commit}
	}
	return e.botEdit(role, doc, signed)
}

func (e *Edit) botEdit(role string, doc *metadata.Document, signed metadata.Object) error {
	period := metadata.PeriodOf(signed).Expiry
	if period < 1 {
		return fmt.Errorf("edit role %s: it has no expiry period (%s); set one with tufops-sign delegate", role, metadata.FieldExpiryPeriod)
	}
	return e.setSigned(role, signed, doc.Version()+1, period, e.asked(role))
}

// Due reports whether the signing period of a role has begun at a moment. A role
// without periods is never due.
func Due(doc *metadata.Document, p metadata.Period, now time.Time) bool {
	return p.Expiry > 0 && !doc.Expires().Add(-days(p.Signing)).After(now)
}

// SyncTargets brings a targets role in line with the artifacts of its folder.
// It reports whether there was anything to do; if not, not a byte changes.
//
// Artifacts get the custom metadata that [CustomFile] asks for. A file that
// cannot be read asks for nothing: the rules say what is wrong with it.
func (e *Edit) SyncTargets(ctx context.Context, role string) (bool, error) {
	doc, signed, err := e.signedPart(role)
	if err != nil {
		return false, err
	}
	if doc == nil {
		return false, &MissingError{Role: role, File: e.base.repo.Path(MetadataFile(role)), Commit: e.base.commit}
	}
	files := e.base.ArtifactFiles(role)
	measured, err := e.base.repo.Measure(ctx, files)
	if err != nil {
		return false, err
	}
	custom, err := e.base.custom(ctx)
	if err != nil && !errors.As(err, new(*CustomError)) {
		return false, err
	}
	listed := doc.Targets()
	same := len(listed) == len(files)
	targets := metadata.Object{}
	for i, f := range files {
		target := strings.TrimPrefix(f.Path, "targets/")
		entry := metadata.Object{}
		if old, ok := listed[target]; ok {
			entry = metadata.Clone(old.Object)
			same = same && measured[i].differs(old) == ""
		} else {
			same = false
		}
		same = setCustom(entry, target, custom) && same
		entry["length"] = measured[i].Length
		entry["hashes"] = metadata.Object{"sha256": measured[i].Hashes["sha256"]}
		targets[target] = entry
	}
	if same {
		return false, nil
	}
	signed["targets"] = targets
	return true, e.botEdit(role, doc, signed)
}

// TooLongError says that a signature would make metadata longer than clients read.
type TooLongError struct {
	Role        string
	Version     int64
	KeyID       string // whose signature it is
	Size, Limit int    // bytes
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("with the signature of keyid %.12s, %s version %d would have %d bytes; clients read at most %d [%s]",
		e.KeyID, e.Role, e.Version, e.Size, e.Limit, metadataTooLarge.Name)
}

// Hint says what to do.
func (e *TooLongError) Hint() string {
	if metadata.IsOnline(e.Role) {
		return "have a root signed that lists a key with shorter signatures, such as ECDSA on P-256: tufops-sign delegate EVENT timestamp --online-key URI"
	}
	return metadataTooLarge.Hint
}

// AddSignature puts a signature into a role's present metadata, without a new
// version. The signature is checked first: it must verify with key. One that makes
// the file longer than clients read is not put there, and a *[TooLongError].
func (e *Edit) AddSignature(role string, key *metadata.Key, sig []byte) error {
	doc, err := e.Document(role)
	if err != nil {
		return err
	}
	if err := key.Verify(doc.Payload(), sig); err != nil {
		return fmt.Errorf("sign role %s version %d with keyid %s: %w", role, doc.Version(), key.ID, err)
	}
	if doc, err = doc.WithSignature(key.ID, sig); err != nil {
		return fmt.Errorf("sign role %s: %w", role, err)
	}
	if size, limit := len(doc.Raw()), sizeLimits[doc.Type()]; size > limit {
		return &TooLongError{Role: role, Version: doc.Version(), KeyID: key.ID, Size: size, Limit: limit}
	}
	e.docs[role] = doc
	return nil
}

// RoleConfig is what a person wants of a role. A zero field keeps what is there;
// for a new role it stands for the default.
type RoleConfig struct {
	// Signers are owners, @login; nil keeps the present ones. Those without a
	// key for the role are invited.
	Signers []string
	// OnlineKey is the one key of a role that a machine signs; its object has
	// an online URI. It replaces all signers.
	OnlineKey *metadata.Key
	// OwnKey is the key that one of the signers, the person who edits, brings
	// along; it is listed at once instead of an invitation.
	OwnKey *metadata.Key
	// ReplaceOwn has OwnKey take the place of all keys that its owner has for the
	// role.
	ReplaceOwn bool

	Threshold     int64 // 0 keeps; a single signer always has 1
	ExpiryPeriod  int64 // days; 0 keeps
	SigningPeriod int64 // days; 0 keeps
}

// SetRole changes the delegation of an offline role (root, targets or a
// delegated role) and its periods, or creates a delegated role. The delegator is
// edited only if keys or threshold change (a mere invitation changes neither),
// the role's own file only if a period changes or the role is new.
func (e *Edit) SetRole(role string, c RoleConfig) error {
	if metadata.IsOnline(role) {
		return fmt.Errorf("role %s is signed online: set it with SetOnline", role)
	}
	if why := UnsafeRoleName(role); why != "" && role != metadata.Root && role != metadata.Targets {
		return fmt.Errorf("role %q cannot be made: its name %s", role, why)
	}
	by := e.Delegator(role)
	_, roleErr := e.Document(role)
	isNew := errors.As(roleErr, new(*MissingError))
	if roleErr != nil && !isNew {
		return roleErr
	}
	_, delegated := e.Delegation(role)

	invites, changed, change, err := e.planDelegation(by, role, delegated, c)
	if err != nil {
		return err
	}
	e.invites = invites
	setPeriods := func(signed metadata.Object) bool {
		before := metadata.PeriodOf(normal(signed))
		set := func(field string, days, least int64) {
			if days > 0 {
				signed[field] = days
			} else if _, there := signed[field]; !there {
				signed[field] = least
			}
		}
		set(metadata.FieldExpiryPeriod, c.ExpiryPeriod, DefaultExpiryDays)
		set(metadata.FieldSigningPeriod, c.SigningPeriod, min(DefaultSigningDays, max(1, metadata.PeriodOf(normal(signed)).Expiry/2)))
		return metadata.PeriodOf(normal(signed)) != before
	}
	if by == role { // root delegates to itself
		periods := false
		if doc, err := e.Document(role); err == nil {
			periods = c.wantsPeriods(doc.Signed())
		}
		if !changed && !periods && !isNew {
			return nil
		}
		return e.personEdit(role, func(signed metadata.Object) error {
			if isNew || periods {
				setPeriods(signed)
			}
			return change(signed)
		})
	}
	if changed {
		if err := e.personEdit(by, change); err != nil {
			return err
		}
	}
	if isNew {
		return e.personEdit(role, func(signed metadata.Object) error { setPeriods(signed); return nil })
	}
	if doc, _ := e.Document(role); c.wantsPeriods(doc.Signed()) {
		return e.personEdit(role, func(signed metadata.Object) error { setPeriods(signed); return nil })
	}
	return nil
}

// The periods of a new role, in days.
const (
	DefaultExpiryDays  = 365
	DefaultSigningDays = 60
)

// wantsPeriods reports whether the configuration asks for other periods than
// those of an object.
func (c RoleConfig) wantsPeriods(o metadata.Object) bool {
	p := metadata.PeriodOf(o)
	return c.ExpiryPeriod > 0 && c.ExpiryPeriod != p.Expiry ||
		c.SigningPeriod > 0 && (c.SigningPeriod != p.Signing || !p.Explicit)
}

// planDelegation works out the new keys, threshold and invitations of a role. It
// returns the change to apply to the delegator's signed part and whether that
// would change anything.
func (e *Edit) planDelegation(by, role string, delegated bool, c RoleConfig) (Invites, bool, func(metadata.Object) error, error) {
	present, _ := e.Delegation(role)
	invites := e.invites
	keyids := slices.Clone(present.KeyIDs)
	var add []*metadata.Key
	threshold := present.Threshold
	if !delegated {
		threshold = 1
	}
	if c.Threshold > 0 {
		threshold = c.Threshold
	}
	signers := 0
	switch {
	case c.OnlineKey != nil:
		invites = invites.Without("", role)
		keyids, add, threshold, signers = nil, []*metadata.Key{c.OnlineKey}, 1, 1
	case c.Signers != nil:
		for _, owner := range c.Signers {
			if !ownerPattern.MatchString(owner) {
				return nil, false, nil, fmt.Errorf("%q is not a signer: use a login like @alice", owner)
			}
		}
		invites = invites.Without("", role)
		keyids = slices.DeleteFunc(keyids, func(id string) bool {
			k := present.Keys[id]
			return k == nil || !slices.Contains(c.Signers, k.Owner) || c.ReplaceOwn && c.OwnKey != nil && k.Owner == c.OwnKey.Owner
		})
		for _, owner := range c.Signers {
			has := slices.ContainsFunc(keyids, func(id string) bool { return present.Keys[id].Owner == owner })
			switch {
			case has:
			case c.OwnKey != nil && c.OwnKey.Owner == owner:
				add = append(add, c.OwnKey)
			default:
				invites = invites.With(owner, role)
			}
		}
		signers = len(c.Signers)
	default:
		for _, id := range keyids {
			if k := present.Keys[id]; k != nil && k.OnlineURI == "" {
				signers++
			}
		}
		signers += len(invites.To(role))
	}
	if signers == 1 {
		threshold = 1
	}
	if signers > 0 && threshold > int64(signers) {
		return nil, false, nil, fmt.Errorf("role %s cannot need %d signatures of %d signers: lower --threshold or add signers", role, threshold, signers)
	}
	for _, k := range add {
		if !slices.Contains(keyids, k.ID) {
			keyids = append(keyids, k.ID)
		}
	}
	// An invitation alone changes no metadata: that happens when it is accepted.
	changed := !delegated || !slices.Equal(keyids, present.KeyIDs) || threshold != present.Threshold
	for _, k := range add {
		old := present.Keys[k.ID]
		changed = changed || old == nil || string(metadata.Write(old.Object)) != string(metadata.Write(k.Object))
	}
	change := func(signed metadata.Object) error {
		return changeDelegation(signed, by, role, keyids, threshold, add)
	}
	return invites, changed, change, nil
}

// changeDelegation sets keyids and threshold of a role in its delegator's signed
// part, adds keys, and removes keys that no role of the document lists any more.
func changeDelegation(signed metadata.Object, by, role string, keyids []string, threshold int64, add []*metadata.Key) error {
	holder := signed
	if by != metadata.Root {
		d, ok := signed["delegations"].(metadata.Object)
		if !ok {
			d = metadata.Object{"keys": metadata.Object{}, "roles": []any{}}
			signed["delegations"] = d
		}
		holder = d
	}
	o, err := delegationObject(holder, by, role)
	if err != nil {
		return err
	}
	before := texts(o["keyids"])
	list := make([]any, 0, len(keyids))
	for _, id := range keyids {
		list = append(list, id)
	}
	o["keyids"], o["threshold"] = list, threshold
	keys := holder["keys"].(metadata.Object)
	for _, k := range add {
		keys[k.ID] = metadata.Clone(k.Object)
	}
	for _, id := range before {
		if !slices.Contains(keyids, id) && !listedAnywhere(holder, by, id) {
			delete(keys, id)
		}
	}
	return nil
}

// delegationObject is the object of a role's delegation, made where it is new.
func delegationObject(holder metadata.Object, by, role string) (metadata.Object, error) {
	if by == metadata.Root {
		roles, _ := holder["roles"].(metadata.Object)
		o, ok := roles[role].(metadata.Object)
		if !ok {
			return nil, fmt.Errorf("root has no role %s", role)
		}
		return o, nil
	}
	roles, ok := holder["roles"].([]any)
	if !ok {
		return nil, fmt.Errorf("%s delegates to hash bins; tufops cannot add role %s beside them", by, role)
	}
	for _, e := range roles {
		if o := e.(metadata.Object); o["name"] == role {
			return o, nil
		}
	}
	o := metadata.Object{
		"name": role, "keyids": []any{}, "threshold": int64(1), "terminating": true,
		"paths": []any{role + "/*", role + "/*/*", role + "/*/*/*", role + "/*/*/*/*"},
	}
	holder["roles"] = append(roles, o)
	return o, nil
}

// roleObjects are the delegations of a document, in no particular order.
func roleObjects(holder metadata.Object, by string) []any {
	if by != metadata.Root {
		roles, _ := holder["roles"].([]any)
		return roles
	}
	var roles []any
	for _, o := range holder["roles"].(metadata.Object) {
		roles = append(roles, o)
	}
	return roles
}

// listedAnywhere looks at roles that we do not know as well: root may name some,
// of any shape.
func listedAnywhere(holder metadata.Object, by, id string) bool {
	return slices.ContainsFunc(roleObjects(holder, by), func(o any) bool {
		role, _ := o.(metadata.Object)
		ids, _ := role["keyids"].([]any)
		return slices.Contains(ids, any(id))
	})
}

// Accept brings a key for an open invitation of its owner to a role: the key is
// listed and the invitation closed. The role's present metadata is left as it
// is; sign it next.
func (e *Edit) Accept(role string, key *metadata.Key) error {
	if !slices.Contains(e.invites.Roles(key.Owner), role) {
		return fmt.Errorf("%s has no open invitation to role %s", key.Owner, role)
	}
	d, ok := e.Delegation(role)
	if !ok {
		return fmt.Errorf("no role delegates to %s", role)
	}
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil && k.Fingerprint() == key.Fingerprint() {
			return fmt.Errorf("role %s lists this key already, as keyid %s of %s", role, id, holderOf(k))
		}
	}
	keyids := append(slices.Clone(d.KeyIDs), key.ID)
	by := e.Delegator(role)
	e.invites = e.invites.Without(key.Owner, role)
	return e.personEdit(by, func(signed metadata.Object) error {
		return changeDelegation(signed, by, role, keyids, d.Threshold, []*metadata.Key{key})
	})
}

// OnlineConfig is what a person wants of timestamp and snapshot. A zero field
// keeps what is there; for a new repository it stands for the default.
type OnlineConfig struct {
	Key              *metadata.Key // the one online key of both; nil keeps
	TimestampExpiry  int64         // days
	TimestampSigning int64
	SnapshotExpiry   int64
	SnapshotSigning  int64
}

// SetOnline changes key and periods of both online roles. Thresholds stay. It
// writes all four periods.
func (e *Edit) SetOnline(c OnlineConfig) error {
	root, err := e.Document(metadata.Root)
	if err != nil {
		return err
	}
	wanted := map[string][2]int64{
		metadata.Timestamp: {c.TimestampExpiry, c.TimestampSigning},
		metadata.Snapshot:  {c.SnapshotExpiry, c.SnapshotSigning},
	}
	changed := false
	for role, days := range wanted {
		d, _ := root.Delegation(role)
		p := metadata.PeriodOf(d.Object)
		fallback := [2]int64{2, 1}
		if role == metadata.Snapshot {
			fallback = [2]int64{DefaultExpiryDays, DefaultSigningDays}
		}
		for i, have := range [2]int64{p.Expiry, p.Signing} {
			if days[i] == 0 && have > 0 {
				days[i] = have
			} else if days[i] == 0 {
				days[i] = fallback[i]
			}
		}
		wanted[role] = days
		changed = changed || days != [2]int64{p.Expiry, p.Signing} || !p.Explicit
		if c.Key != nil {
			old := d.Keys[c.Key.ID]
			changed = changed || !slices.Equal(d.KeyIDs, []string{c.Key.ID}) || old == nil ||
				string(metadata.Write(old.Object)) != string(metadata.Write(c.Key.Object))
		}
	}
	if !changed {
		return nil
	}
	return e.personEdit(metadata.Root, func(signed metadata.Object) error {
		roles := signed["roles"].(metadata.Object)
		for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
			d, _ := root.Delegation(role)
			if c.Key != nil {
				if err := changeDelegation(signed, metadata.Root, role, []string{c.Key.ID}, d.Threshold, []*metadata.Key{c.Key}); err != nil {
					return err
				}
			}
			o := roles[role].(metadata.Object)
			o[metadata.FieldExpiryPeriod], o[metadata.FieldSigningPeriod] = wanted[role][0], wanted[role][1]
		}
		return nil
	})
}

// Init makes root and targets of a new repository. Both get their signers,
// threshold and periods; the online roles one key.
func (e *Edit) Init(root, targets RoleConfig, online OnlineConfig) error {
	if e.base.hasRoot() {
		return errors.New("there is a root already: change it with tufops-sign delegate")
	}
	if online.Key == nil {
		return errors.New("a new repository needs an online key for timestamp and snapshot: --online-key URI")
	}
	// A root needs its expiry period before anything can be edited into it.
	_, signed, err := e.signedPart(metadata.Root)
	if err != nil {
		return err
	}
	signed[metadata.FieldExpiryPeriod] = or(root.ExpiryPeriod, DefaultExpiryDays)
	signed[metadata.FieldSigningPeriod] = or(root.SigningPeriod, DefaultSigningDays)
	if err := e.setSigned(metadata.Root, signed, 1, or(root.ExpiryPeriod, DefaultExpiryDays), nil); err != nil {
		return err
	}
	if online.SnapshotExpiry == 0 {
		online.SnapshotExpiry = or(root.ExpiryPeriod, DefaultExpiryDays)
	}
	if online.SnapshotSigning == 0 {
		online.SnapshotSigning = or(root.SigningPeriod, DefaultSigningDays)
	}
	if err := e.SetOnline(online); err != nil {
		return err
	}
	if err := e.SetRole(metadata.Root, root); err != nil {
		return err
	}
	return e.SetRole(metadata.Targets, targets)
}

func or(days, otherwise int64) int64 {
	if days == 0 {
		return otherwise
	}
	return days
}

// PeriodOf is the period of an offline role, which stands in its own metadata.
func PeriodOf(doc *metadata.Document) metadata.Period { return metadata.PeriodOf(doc.Signed()) }
