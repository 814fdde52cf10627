package repository

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	rootNotChained = rule(Rule{
		Name: "root-not-chained", Level: LevelError, Gates: "SP", Fixed: true,
		Title:   "a root its predecessor did not sign",
		Stops:   "a root that its predecessor's keys have not signed reaches clients, which stop there for good",
		Source:  "TUF specification, #update-root step 4",
		Breaks:  "in the history of main a root does not meet the threshold of its predecessor or its own; in an event that is the rule quorum",
		Example: "the known-good root version 2 has 0 of 2 signatures by the delegation of root version 1",
		Hint:    "do not sign anything; find out who merged it, and revert it on main",
	})
)

// Published is what clients should see of one commit of main: per role the
// newest version that verifies and that the snapshot lists. A version that was
// merged but is in no snapshot yet is not part of it, nor is one that does not
// verify: for those an older version is looked up in history. A root that
// clients do not read, or under which no targets verify, is held back with all
// that follow it.
//
// It is made by [Repository.Published]; its zero value holds nothing. What may
// keep it from being published stands in Findings; only [Published.Publishable]
// opens the way to a destination.
type Published struct {
	repo      *Repository
	commit    git.OID
	at        time.Time
	roots     []RootFileVersion
	timestamp *metadata.Document
	snapshot  *metadata.Document
	roles     []PublishedRole
	artifacts []PublishedArtifact
	findings  findings
}

// RootFileVersion is one version of root with the file it stands in.
type RootFileVersion struct {
	Document *metadata.Document
	File     File
}

// PublishedRole is a targets role as it is published.
type PublishedRole struct {
	Role       string
	By         string // the delegator
	Delegation metadata.Delegation
	Document   *metadata.Document
	// Commit is where the version was found: the commit of the tree, or an
	// earlier one where main holds a newer or a broken version.
	Commit git.OID
	state  *State
}

// PublishedArtifact is an artifact with all names that it is published under.
type PublishedArtifact struct {
	Role   string
	Target string   // target path
	Names  []string // HASH.name in the folder of the target path, one per hash
	Length int64
	File   File
}

// NotPublishableError says that a commit has nothing that clients could accept.
type NotPublishableError struct {
	Commit git.OID
	Role   string
	Err    error
	hint   string
}

func (e *NotPublishableError) Error() string {
	var missing *MissingError
	if errors.As(e.Err, &missing) && missing.Commit == e.Commit {
		return fmt.Sprintf("nothing can be published from commit %.10s: it has no %s (role %s)", e.Commit, missing.File, missing.Role)
	}
	return fmt.Sprintf("nothing can be published from commit %.10s: role %s: %v", e.Commit, e.Role, e.Err)
}

func (e *NotPublishableError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *NotPublishableError) Hint() string { return e.hint }

// RootChain reads all versions of root up to root.json and checks that each is
// signed by its predecessor and by itself. The first has no predecessor here:
// who trusts it trusts the rest. History is judged by chain and quorum alone,
// not by the rules of today.
func (s *State) RootChain(ctx context.Context) ([]RootFileVersion, error) {
	newest, err := s.Document(metadata.Root)
	if err != nil {
		return nil, err
	}
	if len(s.roots) == 0 {
		return nil, &MissingError{Role: metadata.Root, File: s.repo.Path(RootFile(newest.Version())), Commit: s.commit}
	}
	var files []File
	for _, v := range s.roots {
		files = append(files, s.files[RootFile(v)])
	}
	if err := s.repo.load(ctx, files); err != nil {
		return nil, err
	}
	var chain []RootFileVersion
	for i, v := range s.roots {
		if i > 0 && v != s.roots[i-1]+1 {
			return nil, &ChainError{Version: v, Reason: fmt.Sprintf("root_history goes from version %d to %d", s.roots[i-1], v)}
		}
		doc, err := s.RootVersion(ctx, v)
		if err != nil {
			return nil, err
		}
		d, _ := doc.Delegation(metadata.Root)
		if q := metadata.Check(d, doc); !q.Met() {
			return nil, &ChainError{Version: v, Reason: fmt.Sprintf("it has %d of %d signatures by its own delegation", q.Count, q.Threshold)}
		}
		if i > 0 {
			d, _ := chain[i-1].Document.Delegation(metadata.Root)
			if q := metadata.Check(d, doc); !q.Met() {
				return nil, &ChainError{Version: v, Reason: fmt.Sprintf("it has %d of %d signatures by the delegation of version %d", q.Count, q.Threshold, v-1)}
			}
		}
		chain = append(chain, RootFileVersion{Document: doc, File: files[i]})
	}
	last := chain[len(chain)-1]
	root := s.files[MetadataFile(metadata.Root)]
	if last.File.OID != root.OID && (last.Document.Version() != newest.Version() || string(last.Document.Payload()) != string(newest.Payload())) {
		return nil, &ChainError{Version: newest.Version(), Reason: fmt.Sprintf("root.json is version %d and differs from the newest file in root_history, version %d", newest.Version(), last.Document.Version())}
	}
	return chain, nil
}

// ChainError says where the chain of roots breaks.
type ChainError struct {
	Version int64
	Reason  string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("root version %d breaks the root chain: %s", e.Version, e.Reason)
}

// Hint says what to do.
func (e *ChainError) Hint() string {
	return "no client can follow this root: revert the commit that brought it, or let the missing people sign it in a signing event"
}

// Published works out what clients should see of a commit. It fails with a
// *[NotPublishableError] where there is no root chain, timestamp, snapshot or
// targets that verify; lesser faults become findings.
func (r *Repository) Published(ctx context.Context, commit git.OID, now time.Time) (*Published, error) {
	s, err := r.At(ctx, commit)
	if err != nil {
		return nil, err
	}
	p := &Published{repo: r, commit: commit, at: now}
	refuse := func(role, hint string, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &NotPublishableError{Commit: commit, Role: role, Err: err, hint: hint}
	}
	if p.roots, p.findings.list, err = s.servable(ctx); err != nil {
		return nil, refuse(metadata.Root, hintOf(err), err)
	}
	root := p.Root()
	online := "renew it: tufops online-sign"
	if p.timestamp, err = s.Document(metadata.Timestamp); err != nil {
		return nil, refuse(metadata.Timestamp, online, err)
	}
	d, _ := root.Delegation(metadata.Timestamp)
	if err := verified(d, p.timestamp); err != nil {
		return nil, refuse(metadata.Timestamp, online, err)
	}
	want, ok := p.timestamp.Meta()["snapshot.json"]
	if !ok {
		return nil, refuse(metadata.Timestamp, online, errors.New("it does not list snapshot.json"))
	}
	d, _ = root.Delegation(metadata.Snapshot)
	snapshot, err := s.find(ctx, metadata.Snapshot, d, want, nil)
	if err != nil {
		return nil, refuse(metadata.Snapshot, online, err)
	}
	p.snapshot = snapshot.Document
	if err := p.targetsRoles(ctx, s); err != nil {
		return nil, refuse(metadata.Targets, "merge a version of targets that its people have signed, then run tufops online-sign", err)
	}
	if err := p.collectArtifacts(ctx); err != nil {
		return nil, err
	}
	p.judge()
	return p, nil
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// verified reports whether a document meets its delegation and clients read it
// at all.
func verified(d metadata.Delegation, doc *metadata.Document) error {
	if q := metadata.Check(d, doc); !q.Met() {
		return fmt.Errorf("version %d has %d of %d signatures", doc.Version(), q.Count, q.Threshold)
	}
	if spoilt := refused(&findings{}, "", doc); len(spoilt) > 0 {
		return fmt.Errorf("version %d: %s [%s]", doc.Version(), spoilt[0].Message, spoilt[0].Rule)
	}
	return nil
}

// refused adds why clients do not read a file whoever has signed it. Most of it
// needs no key: whoever can write to main can bring it about.
func refused(f *findings, file string, doc *metadata.Document) []Finding {
	n := len(f.list)
	view{doc: doc, path: file}.readable(f)
	return f.list[n:]
}

// maxSearch bounds how many versions of one file are looked at in history.
const maxSearch = 1000

// find is the version of a role that another file lists, verified by a
// delegation: this state's own, or the newest in the history of the file. Where
// one document is known to be meant, another with its version will not do.
func (s *State) find(ctx context.Context, role string, d metadata.Delegation, want metadata.MetaFile, meant *metadata.Document) (PublishedRole, error) {
	fits := func(doc *metadata.Document) error {
		switch {
		case doc.Version() != want.Version:
			return fmt.Errorf("version %d is listed, main has %d", want.Version, doc.Version())
		case doc.Type() != typeOf(role):
			return fmt.Errorf("it holds metadata of type %s", doc.Type())
		case want.Length >= 0 && want.Length != int64(len(doc.Raw())):
			return fmt.Errorf("a length of %d bytes is listed, it has %d", want.Length, len(doc.Raw()))
		case meant != nil && string(doc.Payload()) != string(meant.Payload()):
			return fmt.Errorf("version %d has other content than the version %d that the snapshot was made of", doc.Version(), doc.Version())
		}
		if len(want.Hashes) > 0 {
			if why := measure(doc.Raw()).differsFrom(want.Hashes); why != "" {
				return fmt.Errorf("it is listed with %s", why)
			}
		}
		return verified(d, doc)
	}
	doc, err := s.Document(role)
	if err == nil {
		err = fits(doc)
	}
	if err == nil {
		return PublishedRole{Role: role, Delegation: d, Document: doc, Commit: s.commit, state: s}, nil
	}
	found, ok, serr := s.search(ctx, role, func(doc *metadata.Document, _ *State) error { return fits(doc) })
	if serr != nil {
		return PublishedRole{}, serr
	}
	if !ok {
		return PublishedRole{}, fmt.Errorf("no version that is listed and verifies: %w", err)
	}
	found.Delegation = d
	return found, nil
}

// search looks in the history of a role's file for the newest version that
// fits; each is judged with the state of its commit. It reports false where
// there is none.
func (s *State) search(ctx context.Context, role string, fits func(*metadata.Document, *State) error) (PublishedRole, bool, error) {
	r := s.repo
	file := r.Path(MetadataFile(role))
	commits, err := r.Git.History(ctx, s.commit, "", git.HistoryOptions{Paths: []string{file}, FullHistory: true})
	if err != nil {
		return PublishedRole{}, false, err
	}
	seen := map[git.OID]bool{}
	for _, commit := range commits {
		entry, ok, err := r.Git.Lookup(ctx, commit, file)
		if err != nil {
			return PublishedRole{}, false, err
		}
		if !ok || seen[entry.OID] {
			continue
		}
		if len(seen) == maxSearch {
			break
		}
		seen[entry.OID] = true
		doc, err := r.read(ctx, File{Path: MetadataFile(role), Mode: entry.Mode, OID: entry.OID})
		if ctx.Err() != nil {
			return PublishedRole{}, false, ctx.Err()
		}
		if err != nil {
			continue
		}
		state, err := r.At(ctx, commit)
		if err != nil {
			return PublishedRole{}, false, err
		}
		if fits(doc, state) == nil {
			return PublishedRole{Role: role, Document: doc, Commit: commit, state: state}, true, nil
		}
	}
	return PublishedRole{}, false, nil
}

// targetsRoles walks the delegation tree as published: each role's delegations
// are those of its delegator's published version.
func (p *Published) targetsRoles(ctx context.Context, s *State) error {
	d, _ := p.Root().Delegation(metadata.Targets)
	type step struct {
		by string
		d  metadata.Delegation
	}
	queue := []step{{metadata.Root, d}}
	done := map[string]bool{}
	meant, err := p.meant(ctx, s)
	if err != nil {
		return err
	}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		role := next.d.Role
		if done[role] {
			continue
		}
		listed, ok := p.snapshot.Meta()[role+".json"]
		if !ok {
			if role == metadata.Targets {
				return fmt.Errorf("snapshot version %d does not list targets.json", p.snapshot.Version())
			}
			continue // merged, but in no snapshot yet
		}
		if why := UnsafeRoleName(role); why != "" && role != metadata.Targets {
			p.findings.role = next.by
			p.findings.add(roleNameUnsafe, p.repo.Path(MetadataFile(next.by)), "delegate to a role with a plain name", "%s delegates to %q: the name %s", next.by, role, why)
			continue
		}
		found, err := s.find(ctx, role, next.d, listed, meant[role])
		if err != nil {
			if ctx.Err() != nil || role == metadata.Targets {
				return err
			}
			p.findings.role = role
			p.findings.add(quorumRule, p.repo.Path(MetadataFile(role)), "have it signed in a signing event, then run tufops online-sign", "%s version %d, which the snapshot lists, cannot be published: %v", role, listed.Version, err)
			continue
		}
		if main, err := s.Document(role); err == nil && main.Version() == listed.Version && string(main.Payload()) != string(found.Document.Payload()) {
			p.findings.role = role
			p.findings.add(versionNotIncreased, p.repo.Path(MetadataFile(role)), "have a higher version signed in a signing event",
				"%s has other content than the version %d that is published; that of commit %.10s stays", role, listed.Version, found.Commit)
		}
		found.By = next.by
		done[role] = true
		p.roles = append(p.roles, found)
		if del := found.Document.Delegations(); del != nil {
			for _, d := range del.Roles {
				if !reserved(d.Role) {
					queue = append(queue, step{role, d})
				}
			}
			if del.Succinct != nil {
				for name := range p.snapshot.Meta() {
					if d, ok := found.Document.Delegation(strings.TrimSuffix(name, ".json")); ok {
						queue = append(queue, step{role, d})
					}
				}
			}
		}
	}
	return nil
}

// meant are the roles as they stood when a snapshot first listed their present
// version: clients may have seen these, and nothing else will ever be published
// under that version. It knows those of which this commit holds another file.
func (p *Published) meant(ctx context.Context, s *State) (map[string]*metadata.Document, error) {
	r, file := s.repo, s.repo.Path(MetadataFile(metadata.Snapshot))
	commits, err := r.Git.History(ctx, s.commit, "", git.HistoryOptions{Paths: []string{file}, FirstParent: true, Max: maxSearch})
	if err != nil {
		return nil, err
	}
	// other is a role's metadata at a commit; nil where it is s's own, or cannot
	// be read and so was never published.
	other := func(commit git.OID, role string) (*metadata.Document, error) {
		f := File{Path: MetadataFile(role)}
		entry, ok, err := r.Git.Lookup(ctx, commit, r.Path(f.Path))
		if err != nil || !ok || entry.OID == s.files[f.Path].OID {
			return nil, err
		}
		f.Mode, f.OID = entry.Mode, entry.OID
		doc, err := r.read(ctx, f)
		if err != nil && ctx.Err() == nil {
			return nil, nil
		}
		return doc, err
	}
	first := map[string]git.OID{}
	for _, commit := range commits {
		snapshot, err := other(commit, metadata.Snapshot)
		if err != nil {
			return nil, err
		}
		if snapshot == nil {
			snapshot, _ = s.Document(metadata.Snapshot)
		}
		if snapshot == nil || !slices.ContainsFunc(p.roots, func(r RootFileVersion) bool {
			d, _ := r.Document.Delegation(metadata.Snapshot)
			return verified(d, snapshot) == nil
		}) {
			continue
		}
		older := true
		for name, listed := range p.snapshot.Meta() {
			role := strings.TrimSuffix(name, ".json")
			if snapshot.Meta()[name].Version == listed.Version && (role == metadata.Targets || UnsafeRoleName(role) == "") {
				first[role], older = commit, false
			}
		}
		if older {
			break
		}
	}
	meant := map[string]*metadata.Document{}
	for role, commit := range first {
		doc, err := other(commit, role)
		if err != nil {
			return nil, err
		}
		if doc != nil && doc.Version() == p.snapshot.Meta()[metaName(role)].Version {
			meant[role] = doc
		}
	}
	return meant, nil
}

// collectArtifacts finds the file of each target: in the tree that the role's
// metadata was found in, else under the same path in history.
func (p *Published) collectArtifacts(ctx context.Context) error {
	for _, role := range p.roles {
		p.findings.role = role.Role
		artifacts, err := p.repo.publishedArtifacts(ctx, &p.findings, role)
		if err != nil {
			return err
		}
		p.artifacts = append(p.artifacts, artifacts...)
	}
	return nil
}

func (r *Repository) publishedArtifacts(ctx context.Context, f *findings, role PublishedRole) (list []PublishedArtifact, err error) {
	listed := role.Document.Targets()
	var files []File
	var targets []string
	for _, target := range sortedKeys(listed) {
		if why := UnsafeTargetPath(target); why != "" {
			f.add(artifactPathUnsafe, r.Path(MetadataFile(role.Role)), "rename the artifact", "%s lists %q, which %s", role.Role, target, why)
			continue
		}
		file, ok := role.state.File(ArtifactFile(target))
		if !ok || !file.Regular() {
			file = File{Path: ArtifactFile(target)}
		}
		files, targets = append(files, file), append(targets, target)
	}
	present := make([]File, 0, len(files))
	for _, file := range files {
		if file.OID != "" {
			present = append(present, file)
		}
	}
	measured, err := r.Measure(ctx, present)
	if err != nil {
		return nil, err
	}
	at := 0
	for i, target := range targets {
		file, why := files[i], "there is no such file in targets/"
		if file.OID != "" {
			why = measured[at].differs(listed[target])
			at++
		}
		if why != "" {
			old, ok, err := r.findArtifact(ctx, role.Commit, target, listed[target])
			if err != nil {
				return nil, err
			}
			if !ok {
				rule, where := artifactMismatch, r.Path(file.Path)
				if file.OID == "" {
					rule = artifactMissing
				}
				f.add(rule, where, "restore the file that was signed", "%s lists %s with %s", role.Role, target, why)
				continue
			}
			file = old
		}
		a := PublishedArtifact{Role: role.Role, Target: target, Length: listed[target].Length, File: file}
		dir, base := path.Split(target)
		for _, algorithm := range sortedKeys(listed[target].Hashes) {
			// A hash of a kind that is not known has not been compared with the
			// file: it could be another file's, whose name it would take.
			if slices.Contains(hashKinds, algorithm) {
				a.Names = append(a.Names, dir+strings.ToLower(listed[target].Hashes[algorithm])+"."+base)
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// findArtifact looks for a file with the signed content in the history of its
// path: someone may have pushed a newer one that is not signed yet.
func (r *Repository) findArtifact(ctx context.Context, from git.OID, target string, t metadata.TargetFile) (File, bool, error) {
	file := r.Path(ArtifactFile(target))
	commits, err := r.Git.History(ctx, from, "", git.HistoryOptions{Paths: []string{file}, FullHistory: true})
	if err != nil {
		return File{}, false, err
	}
	for _, commit := range commits[:min(len(commits), maxSearch)] {
		entry, ok, err := r.Git.Lookup(ctx, commit, file)
		if err != nil {
			return File{}, false, err
		}
		f := File{Path: ArtifactFile(target), Mode: entry.Mode, OID: entry.OID}
		if !ok || !f.Regular() {
			continue
		}
		m, err := r.Measure(ctx, []File{f})
		if err != nil {
			return File{}, false, err
		}
		if m[0].differs(t) == "" {
			return f, true, nil
		}
	}
	return File{}, false, nil
}

// judge adds what a client of this tree would stumble over now.
func (p *Published) judge() {
	check := func(role string, doc *metadata.Document) {
		f := &p.findings
		f.role = role
		file := p.repo.Path(MetadataFile(role))
		hint := "renew it: tufops online-sign"
		if !metadata.IsOnline(role) {
			hint = "have a new version signed: tufops create-signing-events, then tufops-sign sign"
		}
		if doc.Expired(p.at) {
			f.add(expired, file, hint, "%s version %d expired on %s; it is now %s", role, doc.Version(),
				doc.Expires().Format(metadata.TimeFormat), p.at.UTC().Format(metadata.TimeFormat))
		}
		refused(f, file, doc)
	}
	root := p.Root()
	check(metadata.Root, root)
	if !root.ConsistentSnapshot() {
		p.findings.add(consistentSnapshotOff, p.repo.Path(MetadataFile(metadata.Root)), "have a root signed that sets consistent_snapshot to true",
			"root version %d does not set consistent_snapshot; the published files have names with versions and hashes", root.Version())
	}
	check(metadata.Timestamp, p.timestamp)
	check(metadata.Snapshot, p.snapshot)
	for _, role := range p.roles {
		if role.Role == metadata.Targets {
			check(role.Role, role.Document)
			continue
		}
		n := len(p.findings.list)
		check(role.Role, role.Document)
		for i := n; i < len(p.findings.list); i++ { // an expired delegated role fails only who asks for it
			if one := &p.findings.list[i]; one.Rule == expired.Name {
				one.Level, one.Gates = LevelWarning, ""
			}
		}
	}
}

var consistentSnapshotOff = rule(Rule{
	Name: "consistent-snapshot-off", Level: LevelError, Gates: "EP",
	Title:   "root has no consistent_snapshot",
	Stops:   "clients look for file names without a version, which are not published",
	Source:  "TUF specification, #consistent-snapshots",
	Breaks:  "root does not set consistent_snapshot to true",
	Example: "root version 2 does not set consistent_snapshot",
	Hint:    "set it to true: tufops-sign delegate keeps it, a hand edit must not change it",
})

// Commit is what the tree was built from.
func (p *Published) Commit() git.OID { return p.commit }

// At is the time that the tree was judged at.
func (p *Published) At() time.Time { return p.at }

// Repository is where the tree comes from.
func (p *Published) Repository() *Repository { return p.repo }

// Root is the newest root that is published.
func (p *Published) Root() *metadata.Document { return p.roots[len(p.roots)-1].Document }

// Roots are all versions of root up to it, ascending.
func (p *Published) Roots() []RootFileVersion { return p.roots }

// Timestamp is the published timestamp.
func (p *Published) Timestamp() *metadata.Document { return p.timestamp }

// Snapshot is the published snapshot.
func (p *Published) Snapshot() *metadata.Document { return p.snapshot }

// Roles are targets and the delegated roles, in the order a client meets them.
func (p *Published) Roles() []PublishedRole { return p.roles }

// Artifacts are the artifacts of all roles.
func (p *Published) Artifacts() []PublishedArtifact { return p.artifacts }

// Findings are the faults of the tree; those that gate P keep it from being
// published.
func (p *Published) Findings() []Finding { return p.findings.list }
