package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/trustroot"
)

// EventOptions name a signing event.
type EventOptions struct {
	Name string // the branch, sign/NAME; shown, never interpreted
	Head string // revision of the event's newest commit
	Base string // revision of the tip of the branch that the event is to be merged into

	// Pushers are the logins under which commits were pushed, where a forge
	// tells; nil: nobody can. It is asked only if the event brings a person's key.
	// Of a commit that is not among them nothing is known. A login can bring a
	// finding about and never take one away.
	Pushers func(ctx context.Context) (map[git.OID]string, error)
	// Attested says why a person's key in a state has no hardware attestation
	// that holds; "" where it has one. An error means that it could not be
	// looked at. nil: [Policy.Attested], which goes by what lies in keys/.
	Attested func(ctx context.Context, s *State, k *metadata.Key) (string, error)
}

// Event is a signing event: what a branch proposes, next to what was agreed
// before it and to what merging it now would give.
type Event struct {
	Name      string
	Head      git.OID
	Base      git.OID // tip of the base branch
	MergeBase git.OID

	KnownGood *State // at MergeBase
	Proposed  *State // at Head
	Tip       *State // at Base; KnownGood itself where main has not moved
	Merged    *State // Head merged into Base; nil where that conflicts
	Conflicts []string

	Invites Invites // of Proposed; empty where the state file is invalid

	repo     *Repository
	stateErr error // why the state file is invalid
	changed  []string
	foreign  []git.Change
	commits  []git.OID // of the event itself, newest first
	options  EventOptions
}

// BaseError says that the base of an event cannot be found.
type BaseError struct {
	Base string
	Err  error
}

func (e *BaseError) Error() string {
	return fmt.Sprintf("the base branch %s cannot be found: %v", e.Base, e.Err)
}

func (e *BaseError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *BaseError) Hint() string {
	if remote, branch, ok := strings.Cut(e.Base, "/"); ok && remote != "refs" {
		return fmt.Sprintf("fetch it: git fetch %s %s, or name another with --base", remote, branch)
	}
	return "name the branch that the event is to be merged into with --base"
}

// OpenEvent reads a signing event from git objects alone. It fails where git
// does (an unknown revision, a shallow clone without a merge base) and where
// there is no TUF repository at all; whatever is wrong with the content of the
// branch becomes a finding of [Event.Status].
func (r *Repository) OpenEvent(ctx context.Context, o EventOptions) (*Event, error) {
	e := &Event{Name: o.Name, repo: r, options: o}
	var err error
	if e.Head, err = r.Git.Resolve(ctx, o.Head); err != nil {
		return nil, fmt.Errorf("head of the event: %w", err)
	}
	if e.Base, err = r.Git.Resolve(ctx, o.Base); err != nil {
		return nil, &BaseError{Base: o.Base, Err: err}
	}
	// What is asked of git's history takes a process each, and goes on while the
	// two tips are read.
	var wait sync.WaitGroup
	var m git.MergeResult
	var baseErr, mergeErr, historyErr error
	wait.Go(func() {
		if e.MergeBase, baseErr = r.Git.MergeBase(ctx, e.Base, e.Head); baseErr != nil {
			return
		}
		if e.Base != e.MergeBase {
			m, mergeErr = r.Git.MergeTree(ctx, e.Base, e.Head)
		}
		e.commits, historyErr = r.Git.History(ctx, e.Head, e.MergeBase, git.HistoryOptions{})
	})
	e.Proposed, err = r.At(ctx, e.Head)
	if err == nil {
		e.Tip, err = r.At(ctx, e.Base)
	}
	wait.Wait()
	if baseErr != nil {
		return nil, fmt.Errorf("event %s has no known-good state: %w", o.Name, baseErr)
	}
	if err != nil {
		return nil, err
	}
	if e.KnownGood = e.Tip; e.Base != e.MergeBase {
		if e.KnownGood, err = r.At(ctx, e.MergeBase); err != nil {
			return nil, err
		}
	}
	_, known := e.KnownGood.File(MetadataFile(metadata.Root))
	if _, proposed := e.Proposed.File(MetadataFile(metadata.Root)); !known && !proposed {
		return nil, &MissingError{Role: metadata.Root, File: r.Path(MetadataFile(metadata.Root)), Commit: e.Head}
	}
	if known { // a known-good root that cannot be read leaves nothing to judge by
		if _, err := e.KnownGood.Document(metadata.Root); err != nil {
			return nil, fmt.Errorf("known-good state: %w", err)
		}
	}
	if mergeErr != nil {
		return nil, fmt.Errorf("merge %.10s into %.10s in memory: %w", e.Head, e.Base, mergeErr)
	}
	if historyErr != nil {
		return nil, fmt.Errorf("list the commits of event %s: %w", e.Name, historyErr)
	}
	switch e.Conflicts = m.Conflicts; {
	case e.Base == e.MergeBase:
		e.Merged = e.Proposed
	case len(e.Conflicts) == 0:
		if e.Merged, err = r.At(ctx, m.Tree); err != nil {
			return nil, err
		}
	}
	if e.Invites, e.stateErr = e.Proposed.Invites(ctx); e.stateErr != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e.Invites = nil
	}
	if e.foreign, err = e.foreignChanges(ctx); err != nil {
		return nil, err
	}
	e.changed = e.changedRoles(e.KnownGood, e.Proposed, e.Invites)
	return e, nil
}

func (e *Event) foreignChanges(ctx context.Context) ([]git.Change, error) {
	changes, err := e.repo.Git.DiffTrees(ctx, e.MergeBase, e.Head)
	if err != nil {
		return nil, fmt.Errorf("compare %.10s with %.10s: %w", e.MergeBase, e.Head, err)
	}
	var foreign []git.Change
	for _, c := range changes {
		if !e.repo.owns(c.Path) {
			foreign = append(foreign, c)
		}
	}
	return foreign, nil
}

// owns reports whether a path of the git repository belongs to the TUF
// repository.
func (r *Repository) owns(p string) bool {
	if r.dir != "" {
		var ok bool
		if p, ok = strings.CutPrefix(p, r.dir+"/"); !ok {
			return false
		}
	}
	top, _, below := strings.Cut(p, "/")
	return below && (top == "metadata" || top == "targets" || top == "keys")
}

// folder reports whether a path is that of one of the folders of the TUF
// repository: as the path of a file it is a stranger's.
func (r *Repository) folder(p string) bool {
	return p == r.Path("metadata") || p == r.Path("targets") || p == r.Path("keys")
}

// Baseline is what the changes to a role are to be shown against: its newest
// known-good version that its people have signed, nil where there is none. It is
// the known-good version itself unless somebody merged one without its quorum;
// to compare with that would hide what it brought from those who sign next.
func (e *Event) Baseline(ctx context.Context, role string) (*metadata.Document, error) {
	if role == metadata.Root { // the chain of roots is verified as a whole
		doc, err := e.KnownGood.Document(role)
		if errors.As(err, new(*MissingError)) {
			return nil, nil
		}
		return doc, err
	}
	d, ok := e.KnownGood.Delegation(role)
	if !ok {
		return nil, nil
	}
	if doc, err := e.KnownGood.Document(role); err == nil && verified(d.Delegation, doc) == nil {
		return doc, nil
	}
	found, ok, err := e.KnownGood.search(ctx, role, func(doc *metadata.Document, at *State) error {
		d, ok := at.Delegation(role)
		if !ok {
			return errors.New("not delegated")
		}
		return verified(d.Delegation, doc)
	})
	if err != nil || !ok {
		return nil, err
	}
	return found.Document, nil
}

// Changed are the roles that the event changes: those whose file differs, those
// that delegate to a role with open invitations, and the offline roles whose
// delegation differs. timestamp and snapshot never are. In the order of
// [SortRoles].
func (e *Event) Changed() []string { return e.changed }

func (e *Event) changedRoles(from, to *State, invites Invites) []string {
	set := map[string]bool{}
	for _, s := range []*State{from, to} {
		for _, role := range s.Roles() {
			a, _ := from.File(MetadataFile(role))
			b, _ := to.File(MetadataFile(role))
			if a.OID == b.OID && a.Regular() == b.Regular() {
				continue
			}
			if _, delegated := to.Delegation(role); delegated || role == metadata.Root || role == metadata.Targets {
				set[role] = true
			}
		}
	}
	for _, one := range invites {
		for _, role := range one.Roles {
			if d, ok := to.Delegation(role); ok {
				set[d.By] = true
			}
		}
	}
	if from.hasRoot() && to.hasRoot() {
		for _, role := range to.OfflineRoles() {
			if role != metadata.Root && !slices.EqualFunc(from.Delegations(role), to.Delegations(role), sameTrust) {
				set[role] = true
			}
		}
	}
	var roles []string
	for role := range set {
		if !metadata.IsOnline(role) {
			roles = append(roles, role)
		}
	}
	return SortRoles(roles)
}

func (s *State) hasRoot() bool {
	_, err := s.Document(metadata.Root)
	return err == nil
}

// sameTrust reports whether two delegations of a role accept the same
// signatures for the same paths: keyids with their public keys, threshold,
// paths. Periods and owners do not matter to that.
func sameTrust(a, b Delegated) bool {
	trust := func(d Delegated) string {
		var keys []string
		for _, id := range d.KeyIDs {
			print := ""
			if k := d.Keys[id]; k != nil {
				print = k.Type + " " + k.Scheme + " " + k.Fingerprint()
			}
			keys = append(keys, id+" "+print)
		}
		sort.Strings(keys)
		paths := append([]string(nil), d.Paths...)
		sort.Strings(paths)
		prefixes := append([]string(nil), d.HashPrefixes...)
		sort.Strings(prefixes)
		return fmt.Sprintf("%q %d %q %q %v", keys, d.Threshold, paths, prefixes, d.Terminating)
	}
	return a.By == b.By && trust(a) == trust(b)
}

// ArtifactChange is an artifact that the metadata of an event adds, modifies or
// removes.
type ArtifactChange struct {
	Path   string `json:"path"`
	Change string `json:"change"` // added, modified, removed

	Before, After *metadata.TargetFile `json:"-"` // as the metadata lists it; nil where it is not listed

	// Meaning says of Sigstore's trust material what the change does. It is made
	// from the files in git; nil for any other artifact.
	Meaning *trustroot.Diff `json:"-"`
}

// artifactChanges compares what two versions of a targets role list.
func artifactChanges(from, to *metadata.Document) []ArtifactChange {
	changes := []ArtifactChange{}
	var before, after map[string]metadata.TargetFile
	if from != nil {
		before = from.Targets()
	}
	if to != nil {
		after = to.Targets()
	}
	for p, a := range after {
		if b, ok := before[p]; !ok {
			changes = append(changes, ArtifactChange{Path: p, Change: "added", After: &a})
		} else if string(metadata.Write(a.Object)) != string(metadata.Write(b.Object)) {
			changes = append(changes, ArtifactChange{Path: p, Change: "modified", Before: &b, After: &a})
		}
	}
	for p, b := range before {
		if _, ok := after[p]; !ok {
			changes = append(changes, ArtifactChange{Path: p, Change: "removed", Before: &b})
		}
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Path < changes[j].Path })
	return changes
}

// Status is the verdict on a signing event. Its JSON form is documented in
// docs/format.md and versioned by Schema.
type Status struct {
	Schema   int          `json:"schema"`
	Event    string       `json:"event"`
	Commit   string       `json:"commit"`
	Base     string       `json:"base"` // the known-good commit
	Complete bool         `json:"complete"`
	Deadline *Deadline    `json:"deadline,omitempty"` // nil where no changed role is on the base branch yet
	Roles    []RoleStatus `json:"roles"`
	Findings []Finding    `json:"findings"` // of the event as a whole and of its merge result
	Silenced []Silenced   `json:"silenced,omitempty"`
	// Overridden is what commits of the event claim; it decides about nothing.
	Overridden []Override `json:"overridden,omitempty"`
	// Profile is how the event would leave the repository, by the profile that
	// .tufops.yaml names; nil where it names none.
	Profile *ProfileStatus `json:"profile,omitempty"`

	Rehearsal *Rehearsal `json:"rehearsal,omitempty"` // nil where there was none, see [Status.AddRehearsal]
}

// Silenced is a rule whose warnings .tufops.yaml keeps out of a status.
type Silenced struct {
	Rule     string `json:"rule"`
	Findings int    `json:"findings"` // how many are left out
	Reason   string `json:"reason"`
}

// Deadline is the first expiry that the event must beat: of the versions on the
// base branch that it replaces, the one that expires first. From then on clients
// fail.
type Deadline struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"` // UTC
}

// RoleStatus is the verdict on one changed role.
type RoleStatus struct {
	Role            string           `json:"role"`
	Complete        bool             `json:"complete"`
	Version         int64            `json:"version"`          // 0 where there is no readable metadata
	PreviousVersion int64            `json:"previous_version"` // 0 for a new role
	Threshold       int64            `json:"threshold"`
	Signed          []string         `json:"signed"`  // owners, or online URIs, sorted
	Missing         []string         `json:"missing"` // likewise; an owner with two keys may be in both
	KnownGood       *KnownGoodStatus `json:"known_good,omitempty"`
	Invites         []string         `json:"invites"` // people invited to a role that this role delegates
	Artifacts       []ArtifactChange `json:"artifacts"`
	Findings        []Finding        `json:"findings"`
	// Attestations are what keys/ says of people's keys that may sign the role, or
	// that its file names; none where it says nothing of any.
	Attestations []KeyAttestation `json:"attestations,omitempty"`

	baseline *metadata.Document
}

// Baseline is what the changes to the role are to be shown against; nil where
// the role is new or unreadable. See [Event.Baseline].
func (r RoleStatus) Baseline() *metadata.Document { return r.baseline }

// KnownGoodStatus is how far a new root meets the delegation of the known-good
// root.
type KnownGoodStatus struct {
	Threshold int64    `json:"threshold"`
	Signed    []string `json:"signed"`
	Missing   []string `json:"missing"`
}

// AllFindings are those of the event and of all roles.
func (s *Status) AllFindings() []Finding {
	list := append([]Finding(nil), s.Findings...)
	for _, r := range s.Roles {
		list = append(list, r.Findings...)
	}
	return list
}

// Failed reports whether a finding of level error stands.
func (s *Status) Failed() bool {
	for _, f := range s.AllFindings() {
		if f.Level == LevelError {
			return true
		}
	}
	return false
}

// Status judges the event at a moment. Unless git fails it always has an
// answer.
func (e *Event) Status(ctx context.Context, now time.Time, policy Policy) (*Status, error) {
	j := &judge{ctx: ctx, event: e, now: now, policy: policy}
	s := &Status{
		Schema: 1, Event: e.Name, Commit: string(e.Head), Base: string(e.MergeBase),
		Roles: []RoleStatus{}, Findings: []Finding{},
	}
	for _, role := range e.changed {
		s.Roles = append(s.Roles, j.role(role))
		doc, err := e.Tip.Document(role)
		if err == nil && (s.Deadline == nil || doc.Expires().Before(s.Deadline.Expires)) {
			s.Deadline = &Deadline{Role: role, Version: doc.Version(), Expires: doc.Expires().UTC()}
		}
	}
	whole := j.settle(j.whole(s))
	if j.err != nil {
		return nil, j.err
	}
	// A finding about a role that the event changes stands with that role.
	for _, f := range whole {
		r := s.role(f.Role)
		if r == nil || f.Rule == mergeResultIncomplete.Name {
			s.Findings = append(s.Findings, f)
			continue
		}
		r.Findings = append(r.Findings, f)
		r.Complete = r.Complete && !f.Blocks()
	}
	s.Complete = len(s.Roles) > 0
	for _, r := range s.Roles {
		s.Complete = s.Complete && r.Complete
	}
	for _, f := range s.Findings {
		s.Complete = s.Complete && !f.Blocks()
	}
	s.Silenced = j.silenced
	if s.Overridden, j.err = e.overridden(ctx); j.err != nil {
		return nil, j.err
	}
	attested := e.options.Attested
	if attested == nil {
		attested = policy.Attested
	}
	if s.Profile, j.err = e.Proposed.Profile(ctx, policy.Profile, attested); j.err != nil {
		return nil, j.err
	}
	return s, nil
}

func (s *Status) role(role string) *RoleStatus {
	for i := range s.Roles {
		if s.Roles[i].Role == role {
			return &s.Roles[i]
		}
	}
	return nil
}

// judge evaluates the rules on one event.
type judge struct {
	ctx    context.Context
	event  *Event
	now    time.Time
	policy Policy
	err    error // git failed: there is no verdict

	silenced []Silenced
	material trustroot.Reader

	attestations map[string]*KeyAttestation // of the proposed state; see attested
}

// failed notes an error that leaves no verdict. What is wrong with content is
// never one.
func (j *judge) failed(err error) {
	if j.err == nil && err != nil {
		j.err = err
	}
}

func holders(keys []*metadata.Key) []string {
	list := []string{}
	seen := map[string]bool{}
	for _, k := range keys {
		if h := k.Holder(); h != "" && !seen[h] {
			seen[h] = true
			list = append(list, h)
		}
	}
	sort.Strings(list)
	return list
}

// role judges one changed role by the content of the head.
func (j *judge) role(role string) RoleStatus {
	e := j.event
	f := &findings{role: role}
	s := RoleStatus{Role: role, Signed: []string{}, Missing: []string{}, Invites: []string{}, Artifacts: []ArtifactChange{}}
	known, _ := e.KnownGood.Document(role)
	if known != nil {
		s.PreviousVersion = known.Version()
	}
	doc, err := e.Proposed.Document(role)
	if err != nil {
		j.unreadable(f, role, err)
		s.Findings = f.list
		return s
	}
	s.Version = doc.Version()
	s.Invites = e.invitedBy(role)
	baseline, err := e.Baseline(j.ctx, role)
	if err != nil {
		j.failed(err)
		return s
	}
	s.baseline = baseline
	if doc.Type() == metadata.Targets {
		s.Artifacts = artifactChanges(baseline, doc)
		if baseline != known && known != nil {
			against := "nothing, since no version before it is signed either"
			if baseline != nil {
				against = fmt.Sprintf("version %d", baseline.Version())
			}
			f.addAs(quorumRule, LevelWarning, e.repo.Path(MetadataFile(role)), "look at all changes: those of the unsigned version are among them",
				"%s version %d was merged without its quorum; the changes are shown against %s", role, known.Version(), against)
		}
	}
	v := view{judge: j, role: role, doc: doc, known: known, state: e.Proposed, from: e.KnownGood, invites: s.Invites}
	if d, ok := e.Proposed.Delegation(role); ok {
		q := metadata.Check(d.Delegation, doc)
		s.Threshold, s.Signed, s.Missing = q.Threshold, holders(q.Signed), holders(q.Missing)
	}
	if root, err := e.KnownGood.Document(metadata.Root); role == metadata.Root && err == nil {
		d, _ := root.Delegation(metadata.Root)
		q := metadata.Check(d, doc)
		s.KnownGood = &KnownGoodStatus{Threshold: q.Threshold, Signed: holders(q.Signed), Missing: holders(q.Missing)}
	}
	v.head(f)
	s.Attestations = j.attestationsOf(role, doc)
	s.Findings = j.settle(f.list)
	s.Complete = len(s.Invites) == 0 && !slices.ContainsFunc(s.Findings, Finding.Blocks)
	return s
}

// invitedBy lists the people with an open invitation to a role that the given
// role delegates to, sorted.
func (e *Event) invitedBy(by string) []string {
	set := map[string]bool{}
	for _, one := range e.Invites {
		for _, role := range one.Roles {
			if d, ok := e.Proposed.Delegation(role); ok && d.By == by {
				set[one.Owner] = true
			}
		}
	}
	list := []string{}
	for owner := range set {
		list = append(list, owner)
	}
	sort.Strings(list)
	return list
}

// unreadable stops a file that is missing, or that no client can read, from being
// signed and published.
func (j *judge) unreadable(f *findings, role string, err error) {
	file := j.event.repo.Path(MetadataFile(role))
	var missing *MissingError
	var large *TooLargeError
	switch {
	case errors.As(err, &missing) && !j.had(role):
		f.add(metadataRemoved, file, "make it: tufops-sign delegate "+escape.Argument(j.event.Name)+" "+escape.Argument(role), "%s is delegated, but %s does not exist", role, MetadataFile(role))
	case errors.As(err, &missing):
		f.add(metadataRemoved, file, "restore it: git checkout "+short(j.event.MergeBase)+" -- "+escape.Argument(file), "the event removes the metadata of role %s, which is still delegated", role)
	case errors.As(err, &large):
		f.add(metadataTooLarge, file, "move artifacts to delegated roles", "%v", large)
	default:
		var invalid *InvalidError
		if errors.As(err, &invalid) {
			err = invalid.Err
		}
		f.add(metadataInvalid, file, "restore the file from main, or fix the place that the message names", "%v", err)
	}
}

// had reports whether the known-good state has metadata of a role.
func (j *judge) had(role string) bool {
	_, ok := j.event.KnownGood.File(MetadataFile(role))
	return ok
}
