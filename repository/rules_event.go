package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	onlineMetadataChanged = rule(Rule{
		Name: "online-metadata-changed", Level: LevelError, Gates: "E",
		Title:   "snapshot or timestamp changed",
		Stops:   "a merge brings back an old timestamp, or conflicts with the next online signing",
		Source:  "sigstore/root-signing#693: the timestamp job made a ceremony unmergeable, 2023-03-01",
		Breaks:  "the event changes snapshot.json or timestamp.json by so much as a byte, adds or removes one",
		Example: "the event changes metadata/timestamp.json, which only online-sign may",
		Hint:    "undo it: git checkout 0123456789 -- metadata/timestamp.json",
	})
	foreignChange = rule(Rule{
		Name: "foreign-change", Level: LevelError, Gates: "E",
		Title:   "a file that is no part of the event",
		Stops:   "an event that is reviewed for its metadata changes workflows or rules along the way",
		Source:  "a signing event is merged by people who look at keys and artifacts, not at workflows",
		Breaks:  "the event changes a file outside metadata/, targets/ and keys/: below .github/, .tufops.yaml, or below another of the TUF repositories that .tufops.yaml lists; a warning elsewhere",
		Example: "the event changes .github/workflows/ci.yml, which decides how events are handled",
		Hint:    "propose it in a pull request of its own",
	})
	notARegularFile = rule(Rule{
		Name: "not-a-regular-file", Level: LevelError, Gates: "E", Fixed: true,
		Title:   "a link or submodule",
		Stops:   "a link makes a reader outside git read another file than the one that was reviewed",
		Source:  "path traversal through links in archives and checkouts, CWE-59",
		Breaks:  "a link, submodule or device stands in metadata/, targets/ or keys/, or one of the three is not a folder",
		Example: "targets/other/link is 120000, not a regular file",
		Hint:    "replace it by a file",
	})
	rootHistoryRewritten = rule(Rule{
		Name: "root-history-rewritten", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "an old root changed or removed",
		Stops:   "clients that walk the root chain get another root than the one that was signed then",
		Source:  "TUF specification, #update-root: a client asks for every root between its own and the newest",
		Breaks:  "an existing metadata/root_history/N.root.json is changed or removed, at the head or by the merge",
		Example: "the event changes metadata/root_history/1.root.json",
		Hint:    "undo it: git checkout 0123456789 -- metadata/root_history/1.root.json",
	})
	rootHistoryMismatch = rule(Rule{
		Name: "root-history-mismatch", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "root_history and root.json disagree",
		Stops:   "clients that walk the root chain stop before the newest root",
		Source:  "TUF specification, #update-root; tuf-on-ci before 0.9 forgot the copy in a version bump",
		Breaks:  "the newest file in root_history is missing or differs from root.json, or its versions have a gap; awaited where the next signature writes the file anew",
		Example: "root.json has version 2, and metadata/root_history/2.root.json does not exist",
		Hint:    "copy it: cp metadata/root.json metadata/root_history/2.root.json",
	})
	attestationChanged = rule(Rule{
		Name: "attestation-changed", Level: LevelError, Gates: "E",
		Title:   "an attestation changed or removed",
		Stops:   "what was checked when a key came is taken away or replaced, once nobody looks at it any more",
		Source:  "an attestation says where a key was made, which does not change",
		Breaks:  "a file below keys/ is changed or removed that is of a key in root or a targets role; a warning where it is of none",
		Example: "the event removes an attestation of the key of @carol",
		Hint:    "undo it: git checkout 0123456789 -- keys",
	})
	metadataRemoved = rule(Rule{
		Name: "metadata-removed", Level: LevelError, Gates: "ESP", Fixed: true,
		Title:   "a delegated role without metadata",
		Stops:   "a role loses its metadata while clients are still sent to it",
		Source:  "TUF specification, #update-targets: a role that the snapshot lists must be there",
		Breaks:  "a file that the known-good state has is gone while its role is still delegated, or a delegated targets role has none (timestamp and snapshot may be missing until the first online-sign)",
		Example: "the event removes the metadata of role releases, which is still delegated",
		Hint:    "restore it: git checkout 0123456789 -- metadata/releases.json",
	})
	orphanMetadata = rule(Rule{
		Name: "orphan-metadata", Level: LevelWarning, Gates: "",
		Title:   "a file in metadata/ that says nothing",
		Stops:   "a file looks like a role but no delegation reaches it: people believe it is in force",
		Source:  "roles that were renamed or removed and left their file behind",
		Breaks:  "no delegation reaches a metadata file, or the event adds or changes a file below metadata/ that is none",
		Example: "no delegation reaches metadata/stray.json: it is neither judged nor published",
		Hint:    "remove the file, or delegate to the role: tufops-sign delegate sign/test stray",
	})
	hashBinMissing = rule(Rule{
		Name: "hash-bin-missing", Level: LevelError, Gates: "E",
		Title:   "a hash bin without metadata",
		Stops:   "clients cannot find the artifacts whose names hash into a bin that has no metadata",
		Source:  "TAP 15: succinct hash bin delegations name every bin, and a client asks for the one it needs",
		Breaks:  "a role that the event changes delegates to hash bins of which some have no file, or the event removes the file of one",
		Example: "targets delegates to the 2 hash bins bin-*, only 1 with metadata",
		Hint:    "add the missing files, one for each bin, also for those that list nothing",
	})
	stateFileInvalid = rule(Rule{
		Name: "state-file-invalid", Level: LevelError, Gates: "E",
		Title:   "invitations that cannot be read",
		Stops:   "invitations that nobody can read hide who is about to get a key",
		Source:  "two readers of one file must see the same invitations",
		Breaks:  "metadata/.signing-event-state is not of the documented shape, or invites to a role that nobody signs by hand",
		Example: `@dave is invited to "nowhere", which is no role that people sign`,
		Hint:    "remove the file, then invite again with tufops-sign delegate",
	})
	mergeResultIncomplete = rule(Rule{
		Name: "merge-result-incomplete", Level: LevelError, Gates: "E", Fixed: true,
		Title:   "not complete once merged",
		Stops:   "an event that was complete on its own base is not, once merged: an old base lists a revoked key",
		Source:  "real events merge long after they began, with a median of 12 days",
		Breaks:  "merging the head into the tip of the base branch conflicts, or gives a changed offline role that is not complete there; awaited where the merge lacks only more of what the head itself lacks",
		Example: "merged into the tip 0123456789 of its base branch, targets version 2 has 1 of 2 signatures (missing: @dave)",
		Hint:    "merge main into the event: git merge origin/main (on branch sign/test), then have it signed again where needed",
	})
	rotationWindow = rule(Rule{
		Name: "rotation-window", Level: LevelWarning, Gates: "",
		Title:   "keys that clients see change at once",
		Stops:   "clients see a short failure when online keys and targets keys change at once",
		Source:  "a client between two files of one publication knows only one of the two roots",
		Breaks:  "online keys and the keys of targets change in one event, or an outgoing online key has no URI and so cannot sign along",
		Example: "the event changes the online keys and the keys of targets at once: clients may fail until everything is published",
		Hint:    "make two events: first the online keys, then the keys of targets",
	})
)

// whole judges the event as a whole and its merge result. roles are the
// verdicts on the changed roles by the content of the head.
func (j *judge) whole(s *Status) []Finding {
	f := &findings{}
	j.onlineMetadataChanged(f)
	j.foreignChange(f)
	j.notARegularFile(f)
	j.rootHistory(f, s)
	j.rootNotChained(f)
	j.metadataRemoved(f)
	j.hashBinMissing(f)
	j.orphanMetadata(f)
	j.stateFileInvalid(f)
	j.rotationWindow(f)
	j.artifactsOfUnchangedRoles(f)
	j.artifactCustom(f, s)
	j.trustMaterial(f, s)
	j.artifactsOfNobody(f)
	j.attestationChanged(f)
	j.machinesUnsatisfied(f)
	j.mergeResult(f, s)
	return f.list
}

// onlineMetadataChanged stops a merge from bringing back an old timestamp, or from
// conflicting with the next online signing.
func (j *judge) onlineMetadataChanged(f *findings) {
	for _, role := range []string{metadata.Snapshot, metadata.Timestamp} {
		a, had := j.event.KnownGood.File(MetadataFile(role))
		b, has := j.event.Proposed.File(MetadataFile(role))
		if a.OID != b.OID || had != has {
			file := j.event.repo.Path(MetadataFile(role))
			f.add(onlineMetadataChanged, file, "undo it: git checkout "+short(j.event.MergeBase)+" -- "+escape.Argument(file),
				"the event changes %s, which only online-sign may", file)
		}
	}
}

func short(oid git.OID) string { return fmt.Sprintf("%.10s", oid) }

// foreignChange stops workflows and policy from being changed along the way, in an
// event that is reviewed for its metadata.
func (j *judge) foreignChange(f *findings) {
	others := 0
	var first string
	for _, c := range j.event.foreign {
		switch {
		case j.event.repo.folder(c.Path): // judged as not-a-regular-file
		case strings.HasPrefix(c.Path+"/", ".github/") || strings.HasPrefix(c.Path+"/", PolicyFile+"/"): // as a folder, no command could read it
			f.add(foreignChange, c.Path, "propose it in a pull request of its own",
				"the event changes %s, which decides how events are handled", c.Path)
		case slices.ContainsFunc(j.policy.others(j.event.repo.dir), func(dir string) bool { return below(dir, c.Path) }):
			f.add(foreignChange, c.Path, "make one event per repository",
				"the event also changes %s, which belongs to another TUF repository", c.Path)
		default:
			if others++; first == "" {
				first = c.Path
			}
		}
	}
	if others > 0 {
		f.addAs(foreignChange, LevelWarning, first, "propose it in a pull request of its own",
			"the event changes %d file(s) outside metadata/, targets/ and keys/, such as %s", others, first)
	}
}

// below reports whether a path belongs to the TUF repository in a folder.
func below(dir, p string) bool { return (&Repository{dir: dir}).owns(p) }

// notARegularFile stops links, with which a reader outside git reads another file
// than the one that was reviewed.
func (j *judge) notARegularFile(f *findings) {
	for _, p := range j.event.Proposed.order {
		if file := j.event.Proposed.files[p]; !file.Regular() {
			f.add(notARegularFile, j.event.repo.Path(p), "replace it by a file", "%s is %s, not a regular file", p, file.Mode)
		}
	}
	for _, c := range j.event.foreign {
		if j.event.repo.folder(c.Path) && c.New.OID != "" {
			f.add(notARegularFile, c.Path, "remove it", "%s is %s, not a folder", c.Path, c.New.Mode)
		}
	}
}

// rootHistory stops clients that walk the roots from getting another root than
// was signed, or none. It runs the two rules about root_history.
func (j *judge) rootHistory(f *findings, s *Status) {
	e := j.event
	for _, old := range e.KnownGood.Files("metadata/root_history") {
		if now, ok := e.Proposed.File(old.Path); !ok || now.OID != old.OID {
			what := "changes"
			if !ok {
				what = "removes"
			}
			file := e.repo.Path(old.Path)
			f.add(rootHistoryRewritten, file, "undo it: git checkout "+short(e.MergeBase)+" -- "+escape.Argument(file), "the event %s %s", what, file)
		}
	}
	rootStatus := s.role(metadata.Root)
	changed := rootStatus != nil || !slices.Equal(e.KnownGood.roots, e.Proposed.roots)
	if !changed {
		return
	}
	f.role = metadata.Root
	defer func() { f.role = "" }()
	level := LevelError
	if rootStatus != nil && slices.ContainsFunc(rootStatus.Findings, func(o Finding) bool { return o.Level == LevelAwaited }) {
		level = LevelAwaited // every signature writes the file anew
	}
	j.rootHistoryMismatch(f, e.Proposed, level)
}

// rootNotChained stops people from signing on top of a root that no client
// follows. It looks at the last link of the known-good root's chain: what
// people sign next is judged by that root. The signer, online-sign and publish
// verify the whole chain.
func (j *judge) rootNotChained(f *findings) {
	good := j.event.KnownGood
	root, err := good.Document(metadata.Root)
	if err != nil {
		return // a new repository, or reported as such
	}
	by := []*metadata.Document{root}
	if root.Version() > 1 {
		before, err := good.RootVersion(j.ctx, root.Version()-1)
		if j.ctx.Err() != nil {
			j.failed(j.ctx.Err())
			return
		}
		if err == nil {
			by = append(by, before)
		}
	}
	for _, doc := range by {
		d, _ := doc.Delegation(metadata.Root)
		if q := metadata.Check(d, root); !q.Met() {
			f.add(rootNotChained, j.event.repo.Path(MetadataFile(metadata.Root)), "do not sign anything; find out who merged it, and revert it on main",
				"the known-good root version %d has %d of %d signatures by the delegation of root version %d", root.Version(), q.Count, q.Threshold, doc.Version())
		}
	}
}

// rootHistoryMismatch stops clients that walk the roots from ending before the
// newest. It compares root.json with the newest file in root_history.
func (j *judge) rootHistoryMismatch(f *findings, state *State, level Level) {
	doc, err := state.Document(metadata.Root)
	if err != nil {
		return // reported as such
	}
	name := RootFile(doc.Version())
	file := j.event.repo.Path(name)
	hint := fmt.Sprintf("copy it: cp %s %s", escape.Argument(j.event.repo.Path(MetadataFile(metadata.Root))), escape.Argument(file))
	root, _ := state.File(MetadataFile(metadata.Root))
	copied, ok := state.File(name)
	switch {
	case !ok:
		f.addAs(rootHistoryMismatch, level, file, hint, "root.json has version %d, and %s does not exist", doc.Version(), name)
	case copied.OID != root.OID:
		f.addAs(rootHistoryMismatch, level, file, hint, "root.json and %s differ", name)
	}
	next := int64(1)
	for _, version := range state.roots {
		if version != next {
			f.add(rootHistoryMismatch, j.event.repo.Path(RootFile(next)), "restore the missing version from main", "root_history goes from version %d to %d", next-1, version)
			return
		}
		next++
	}
	if newest := next - 1; newest > doc.Version() {
		f.add(rootHistoryMismatch, j.event.repo.Path(RootFile(newest)), "remove the file", "root_history holds version %d, but root.json is version %d", newest, doc.Version())
	}
}

// metadataRemoved stops a role from losing its metadata while clients are still
// sent to it. It reports files that the known-good state has and that are
// gone, and delegated targets roles without a file. Roles that the event
// changes have been judged already.
func (j *judge) metadataRemoved(f *findings) {
	for _, role := range append([]string{metadata.Snapshot, metadata.Timestamp}, j.event.Proposed.TargetsRoles()...) {
		file := MetadataFile(role)
		_, had := j.event.KnownGood.File(file)
		_, has := j.event.Proposed.File(file)
		_, delegated := j.event.Proposed.Delegation(role)
		if has || !delegated || slices.Contains(j.event.changed, role) {
			continue
		}
		f.role = role
		switch {
		case had:
			f.add(metadataRemoved, j.event.repo.Path(file), "restore it: git checkout "+short(j.event.MergeBase)+" -- "+escape.Argument(j.event.repo.Path(file)),
				"the event removes %s, while %s is still delegated", file, role)
		case !metadata.IsOnline(role):
			f.add(metadataRemoved, j.event.repo.Path(file), "make it: tufops-sign delegate "+escape.Argument(j.event.Name)+" "+escape.Argument(role),
				"%s is delegated, but %s does not exist", role, file)
		}
		f.role = ""
	}
}

// hashBinMissing stops a gap that clients fall into by the hash of a name. A
// delegation to bins is not a list of roles, so metadata-removed does not see it.
func (j *judge) hashBinMissing(f *findings) {
	e := j.event
	for _, role := range e.Proposed.TargetsRoles() {
		doc, err := e.Proposed.Document(role)
		if err != nil || doc.Delegations() == nil || doc.Delegations().Succinct == nil {
			continue
		}
		bins := doc.Delegations().Succinct
		count := func(s *State) (n int64) {
			for _, name := range s.Roles() {
				if _, ok := doc.Delegation(name); ok && strings.HasPrefix(name, bins.NamePrefix+"-") {
					n++
				}
			}
			return n
		}
		all, have := int64(1)<<bins.BitLength, count(e.Proposed)
		if have < all && (slices.Contains(e.changed, role) || have < count(e.KnownGood)) {
			f.role = role
			f.add(hashBinMissing, e.repo.Path(MetadataFile(role)), "add the missing files, one for each bin, also for those that list nothing",
				"%s delegates to the %d hash bins %s-*, only %d with metadata", role, all, bins.NamePrefix, have)
			f.role = ""
		}
	}
}

// orphanMetadata shows a file that looks like a role in force and is none, and
// one that the event leaves behind below metadata/.
func (j *judge) orphanMetadata(f *findings) {
	for _, file := range j.event.Proposed.Files("metadata") {
		_, role := roleOf(file.Path)
		_, root := rootVersion(file.Path)
		old, had := j.event.KnownGood.File(file.Path)
		if file.Regular() && !role && !root && file.Path != StateFile && (!had || old.OID != file.OID) {
			f.add(orphanMetadata, j.event.repo.Path(file.Path), "remove the file", "%s is no metadata: it is neither judged nor published", file.Path)
		}
	}
	if !j.event.Proposed.delegationsKnown() {
		return // a file that cannot be read may delegate to it
	}
	for _, role := range j.event.Proposed.Roles() {
		if _, delegated := j.event.Proposed.Delegation(role); !delegated {
			f.add(orphanMetadata, j.event.repo.Path(MetadataFile(role)), "remove the file, or delegate to the role: tufops-sign delegate "+escape.Argument(j.event.Name)+" "+escape.Argument(role),
				"no delegation reaches %s: it is neither judged nor published", MetadataFile(role))
		}
	}
}

// delegationsKnown reports whether every file that could delegate can be read.
func (s *State) delegationsKnown() bool {
	for _, role := range append([]string{metadata.Root}, s.TargetsRoles()...) {
		if _, err := s.Document(role); err != nil {
			return false
		}
	}
	return true
}

// stateFileInvalid stops invitations that hide who is about to get a key.
func (j *judge) stateFileInvalid(f *findings) {
	file := j.event.repo.Path(StateFile)
	hint := "remove the file, then invite again with tufops-sign delegate"
	if j.event.stateErr != nil {
		f.add(stateFileInvalid, file, hint, "%v", j.event.stateErr)
		return
	}
	for _, one := range j.event.Invites {
		for _, role := range one.Roles {
			if _, ok := j.event.Proposed.Delegation(role); !ok || metadata.IsOnline(role) {
				f.add(stateFileInvalid, file, hint, "%s is invited to %q, which is no role that people sign", one.Owner, role)
			}
		}
	}
}

// rotationWindow shows that clients may see a short failure: a new root with an
// old timestamp fails in every client, and the
// reverse; the outgoing online key bridges that only if the rest stays.
func (j *judge) rotationWindow(f *findings) {
	e := j.event
	old, ok1 := e.KnownGood.Delegation(metadata.Timestamp)
	now, ok2 := e.Proposed.Delegation(metadata.Timestamp)
	if !ok1 || !ok2 || sameTrust(old, now) {
		return
	}
	file := e.repo.Path(MetadataFile(metadata.Root))
	oldTargets, _ := e.KnownGood.Delegation(metadata.Targets)
	newTargets, _ := e.Proposed.Delegation(metadata.Targets)
	if !sameTrust(oldTargets, newTargets) {
		f.add(rotationWindow, file, "make two events: first the online keys, then the keys of targets",
			"the event changes the online keys and the keys of targets at once: clients may fail until everything is published")
	}
	for _, id := range old.KeyIDs {
		if k := old.Keys[id]; k != nil && k.OnlineURI == "" && !slices.Contains(now.KeyIDs, id) {
			f.add(rotationWindow, file, "publish soon after the merge",
				"the outgoing online key %.12s has no %s: it cannot sign along, so clients may fail until everything is published", id, metadata.FieldOnlineURI)
		}
	}
}

// artifactsOfUnchangedRoles: an event that changes a file below targets/ is not
// done until the metadata of its role follows.
func (j *judge) artifactsOfUnchangedRoles(f *findings) {
	changed := map[string]bool{}
	from, to := j.event.KnownGood, j.event.Proposed
	for _, a := range to.Files("targets") {
		if b, ok := from.File(a.Path); !ok || a.OID != b.OID {
			changed[a.Path] = true
		}
	}
	for _, b := range from.Files("targets") {
		if _, ok := to.File(b.Path); !ok {
			changed[b.Path] = true
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, role := range to.TargetsRoles() {
		doc, err := to.Document(role)
		if err != nil || slices.Contains(j.event.changed, role) {
			continue
		}
		g := &findings{role: role}
		view{judge: j, role: role, doc: doc, state: to, from: from, only: changed}.artifacts(g, doc, role)
		for _, one := range g.list {
			if changed[strings.TrimPrefix(one.File, strings.TrimSuffix(j.event.repo.Path("x"), "x"))] {
				f.list = append(f.list, one)
			}
		}
	}
}

// artifactsOfNobody: a file that the event brings and no role covers is in no
// signed metadata, whichever role is signed.
func (j *judge) artifactsOfNobody(f *findings) {
	to := j.event.Proposed
	n := 0
	for _, file := range to.Files("targets") {
		target := strings.TrimPrefix(file.Path, "targets/")
		old, had := j.event.KnownGood.File(file.Path)
		if !file.Regular() || had && old.OID == file.OID || !to.delegationsKnown() || to.covered(target) {
			continue
		}
		level := LevelError
		if hiddenName(target) {
			level = LevelWarning
		}
		if n++; n <= maxListed {
			f.addAs(artifactUnlisted, level, j.event.repo.Path(file.Path), "delegate to a role for it: tufops-sign delegate "+escape.Argument(j.event.Name)+" ROLE, or remove the file",
				"%s is in git, but no role covers it", file.Path)
		}
	}
	if n > maxListed {
		f.add(artifactUnlisted, j.event.repo.Path("targets"), "delegate to a role for them, or remove the files", "%d more files that no role covers", n-maxListed)
	}
}

// covered reports whether a target path is one that some role may list, or does.
func (s *State) covered(target string) bool {
	if !strings.Contains(target, "/") {
		return true // of targets
	}
	for _, role := range s.reached {
		for _, d := range s.Delegations(role) {
			if d.Covers(target) {
				return true
			}
		}
	}
	for _, role := range s.TargetsRoles() {
		doc, err := s.Document(role)
		if err != nil {
			continue
		}
		_, listed := doc.Targets()[target]                                           // outside its delegation, which is said elsewhere
		if listed || doc.Delegations() != nil && doc.Delegations().Succinct != nil { // of hash bins only those with a file are reached
			return true
		}
	}
	return false
}

// attestationChanged stops what was checked about a key from being taken away
// again. An attestation is added, and then stays.
func (j *judge) attestationChanged(f *findings) {
	present := map[string]string{} // holders, by the public key
	for _, k := range j.event.Proposed.allKeys() {
		present[k.Fingerprint()] = holderOf(k)
	}
	for _, old := range j.event.KnownGood.Files("keys") {
		now, has := j.event.Proposed.File(old.Path)
		if has && now.OID == old.OID {
			continue
		}
		what := "removes"
		if has {
			what = "changes"
		}
		print, _, _ := strings.Cut(strings.TrimPrefix(old.Path, "keys/"), "/")
		file := j.event.repo.Path(old.Path)
		hint := "undo it: git checkout " + short(j.event.MergeBase) + " -- " + escape.Argument(j.event.repo.Path("keys"))
		if holder, ok := present[print]; ok {
			f.add(attestationChanged, file, hint, "the event %s an attestation of the key of %s", what, holder)
		} else {
			f.addAs(attestationChanged, LevelWarning, file, hint, "the event %s a file of no present key", what)
		}
	}
}

// allKeys are the keys of root and of all targets roles.
func (s *State) allKeys() []*metadata.Key {
	var list []*metadata.Key
	for _, role := range append([]string{metadata.Root}, s.TargetsRoles()...) {
		doc, err := s.Document(role)
		if err != nil || doc.Delegations() == nil {
			continue
		}
		for _, id := range sortedKeys(doc.Delegations().Keys) {
			list = append(list, doc.Delegations().Keys[id])
		}
	}
	return list
}

// machinesUnsatisfied stops the keys of a role that a machine signs from changing
// while its metadata stays as it was. It is no changed role, since no person is
// asked for it.
func (j *judge) machinesUnsatisfied(f *findings) {
	from, to := j.event.KnownGood, j.event.Proposed
	offline := to.OfflineRoles()
	for _, role := range to.reached {
		doc, err := to.Document(role)
		d, _ := to.Delegation(role)
		if err != nil || slices.Contains(offline, role) || slices.Contains(j.event.changed, role) || slices.EqualFunc(from.Delegations(role), to.Delegations(role), sameTrust) ||
			d.Threshold < 1 || d.Threshold > int64(d.PublicKeys()) { // threshold-invalid says so
			continue
		}
		g := &findings{role: role}
		view{judge: j, role: role, doc: doc, state: to, from: from}.quorum(g)
		f.list = append(f.list, g.list...)
	}
}

// mergeResult stops an event that is complete on an old base alone. It judges what merging the head into the base branch's tip would
// give, with the tip's root as known-good. What the head itself lacks has been
// said there.
func (j *judge) mergeResult(f *findings, s *Status) {
	e := j.event
	if len(e.changed) == 0 || e.Merged == e.Proposed && e.Tip == e.KnownGood {
		return
	}
	update := fmt.Sprintf("merge main into the event: git merge origin/main (on branch %s), then have it signed again where needed", escape.Argument(e.Name))
	if e.Merged == nil {
		f.add(mergeResultIncomplete, e.Conflicts[0], update, "merging the event into the tip %.10s of its base branch conflicts in %s", e.Base, strings.Join(e.Conflicts, ", "))
		return
	}
	for _, role := range e.changedRoles(e.Tip, e.Merged, nil) {
		g := &findings{role: role}
		doc, err := e.Merged.Document(role)
		if err != nil {
			j.unreadable(g, role, err)
		} else {
			known, _ := e.Tip.Document(role)
			v := view{judge: j, role: role, doc: doc, known: known, state: e.Merged, from: e.Tip, invites: e.invitedBy(role)}
			v.structure(g)
			if role == metadata.Root {
				j.rootHistoryMismatch(g, e.Merged, LevelError)
			}
		}
		j.reportMerge(f, s.role(role), g, update)
	}
	for _, old := range e.Tip.Files("metadata/root_history") {
		if now, ok := e.Merged.File(old.Path); !ok || now.OID != old.OID {
			f.add(mergeResultIncomplete, e.repo.Path(old.Path), update, "merged into the tip %.10s, the event would change or remove %s", e.Base, old.Path)
		}
	}
}

// reportMerge turns what the merge result of one role lacks into one finding:
// none where the head lacks the very same, awaited where it lacks the same kind
// of thing, an error else.
func (j *judge) reportMerge(f *findings, head *RoleStatus, merged *findings, hint string) {
	level := LevelAwaited
	var lacks []string
	file := ""
	list, _ := j.policy.decide(merged.list)
	for _, one := range list {
		if !one.Blocks() {
			continue
		}
		sameRule := false
		if head != nil && slices.ContainsFunc(head.Findings, func(o Finding) bool {
			sameRule = sameRule || o.Rule == one.Rule
			return o.Rule == one.Rule && o.Message == one.Message
		}) {
			continue
		}
		if !sameRule || one.Level == LevelError {
			level = LevelError
		}
		lacks = append(lacks, one.Message)
		file = one.File
	}
	if len(lacks) > 0 {
		f.role = merged.role
		f.addAs(mergeResultIncomplete, level, file, hint, "merged into the tip %.10s of its base branch, %s", j.event.Base, strings.Join(lacks, "; "))
		f.role = ""
	}
}

// version is a role's metadata at one commit of an event.
type version struct {
	commit git.OID
	doc    *metadata.Document // nil where it cannot be read
}

// maxEventCommits bounds how far back an event's own commits are looked at. Real
// events have at most thirty.
const maxEventCommits = 300

// versions are the distinct contents that a role's file has had in the commits
// of the event, newest first.
func (e *Event) versions(ctx context.Context, role string) ([]version, error) {
	var list []version
	var files []File
	seen := map[git.OID]bool{}
	for _, commit := range e.commits[:min(len(e.commits), maxEventCommits)] {
		entry, ok, err := e.repo.Git.Lookup(ctx, commit, e.repo.Path(MetadataFile(role)))
		if err != nil {
			return nil, err
		}
		f := File{Path: MetadataFile(role), Mode: entry.Mode, OID: entry.OID}
		if ok && f.Regular() && !seen[entry.OID] {
			seen[entry.OID] = true
			files = append(files, f)
			list = append(list, version{commit: commit})
		}
	}
	if err := e.repo.load(ctx, files); err != nil {
		return nil, err
	}
	for i := range list {
		list[i].doc, _ = e.repo.document(files[i])
	}
	return list, nil
}

// first is the oldest commit of the event at which a role's file is as wanted;
// "" where there is none.
func (e *Event) first(ctx context.Context, role string, wanted func(*metadata.Document) bool) (git.OID, error) {
	for _, commit := range slices.Backward(e.commits[:min(len(e.commits), maxEventCommits)]) {
		entry, ok, err := e.repo.Git.Lookup(ctx, commit, e.repo.Path(MetadataFile(role)))
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		doc, err := e.repo.read(ctx, File{Path: MetadataFile(role), Mode: entry.Mode, OID: entry.OID})
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil && wanted(doc) {
			return commit, nil
		}
	}
	return "", nil
}
