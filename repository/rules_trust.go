package repository

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/replay"
)

// trustRules are the checks of trust material as rules, by name: trusted-root/
// or signing-config/, and the name of the check.
//
// They gate E alone. An event that does not touch the files cannot mend them,
// and clients take a published file as it is: to stop a timestamp for it would
// add one harm to another.
var trustRules = registerTrust()

func registerTrust() map[string]*Rule {
	byName := map[string]*Rule{}
	for _, kind := range []trustroot.Kind{trustroot.TrustedRoot, trustroot.SigningConfig} {
		for _, c := range trustroot.Checks() {
			if !c.For(kind) {
				continue
			}
			level, gates := LevelWarning, Gates("")
			breaks := "an event changes the file and leaves in it, or brings into it, what the title says"
			if c.Level == trustroot.Error {
				level, gates = LevelError, "E"
				breaks += "; a warning unless .tufops.yaml says trust-material: enforced"
				if c.Fixed {
					breaks = strings.Replace(breaks, "a warning", "a warning where everybody has signed it already,", 1)
				}
			}
			name := string(kind) + "/" + c.Name
			byName[name] = rule(Rule{
				Name: name, Level: level, Gates: gates, Fixed: c.Fixed, Title: c.Title, Stops: c.Stops, Source: c.Source,
				Breaks:  breaks,
				Example: c.Example, Hint: c.Hint,
			})
		}
	}
	return byName
}

// BundleFolder is where maintainers keep Sigstore bundles, as *.json, that a
// trusted root must go on verifying. It stands beside metadata/ and is read from
// the tip of the base branch, never from an event.
const BundleFolder = ".tufops/bundles"

var trustReplay = rule(Rule{
	Name: "trusted-root/replay", Level: LevelError, Gates: "E",
	Title:   "a real signature stops verifying",
	Stops:   "a change that every check lets pass takes away what people have signed: a window that was guessed, a log that was still in use",
	Source:  "production 2023-02-20: the window of a CT log was read from its first and last entries, after it had been guessed",
	Breaks:  "a bundle of .tufops/bundles on main verifies with the trusted root before the change and not with the one after it; a warning for a bundle that verifies with neither",
	Example: "the signature in .tufops/bundles/a.json verified and no longer does: no certificate authority counted then",
	Hint:    "let the windows hold what was signed, or take the bundle out of main if it is to stop",
})

// trustMaterial is an artifact of an event that is trust material.
type trustMaterial struct {
	target string
	role   string // which lists it, or would
	change *ArtifactChange
	after  []byte // nil where the event removes it
}

// trustMaterial judges the trust material that an event changes, and says with
// each artifact what its change means.
//
// A file that the event leaves alone is judged only for what the change of a
// neighbour does to it: a log that closes in the trusted root may still be
// listed in a signing configuration.
func (j *judge) trustMaterial(f *findings, s *Status) {
	after, before := j.event.Proposed.trust(), j.event.KnownGood.trust()
	if slices.Equal(after, before) && !changesTrust(s) {
		return
	}
	files, err := j.contents(after)
	if err != nil {
		j.failed(err)
		return
	}
	was, err := j.contents(before)
	if err != nil {
		j.failed(err)
		return
	}
	changed := map[string]bool{}
	for _, m := range j.changedTrust(s, files, was) {
		changed[m.target] = true
		before, err := j.readable(m, was[m.target])
		if err != nil {
			j.failed(err)
			return
		}
		if m.change != nil {
			d := j.material.Compare(m.target, before, m.after, j.now)
			m.change.Meaning = &d
		}
		f.role = m.role
		if m.after == nil {
			j.trustRemoved(f, m)
			continue
		}
		j.trust(f, s, m.target, j.material.Lint(trustroot.Input{
			Name: m.target, Data: m.after, Before: before, Files: beside(m.target, files), Now: j.now,
		}))
		if err := j.trustReplay(f, m, before); err != nil {
			j.failed(err)
			return
		}
	}
	for _, target := range sortedKeys(files) {
		if _, ok := trustroot.KindOf(target); !ok || changed[target] {
			continue
		}
		old := j.material.Lint(trustroot.Input{Name: target, Data: was[target], Files: beside(target, was), Now: j.now})
		fresh := j.material.Lint(trustroot.Input{Name: target, Data: files[target], Files: beside(target, files), Now: j.now})
		f.role = j.event.Proposed.holder(target)
		j.trust(f, s, target, slices.DeleteFunc(fresh, func(one trustroot.Finding) bool {
			return slices.Contains(old, one)
		}))
	}
	f.role = ""
}

// trust are the files of a state that trust material is judged by.
func (s *State) trust() []File {
	var list []File
	for _, f := range s.Files("targets") {
		if trustroot.Related(strings.TrimPrefix(f.Path, "targets/")) && f.Regular() {
			list = append(list, f)
		}
	}
	return list
}

// changesTrust reports whether what is signed about trust material changes.
func changesTrust(s *Status) bool {
	for _, r := range s.Roles {
		for _, a := range r.Artifacts {
			if _, ok := trustroot.KindOf(a.Path); ok {
				return true
			}
		}
	}
	return false
}

// contents reads files, by target path. Of one that is too large to be trust
// material there is only so much that the check of its size fails.
func (j *judge) contents(files []File) (map[string][]byte, error) {
	const limit = 1_000_000
	byPath := map[string][]byte{}
	for _, f := range files {
		data, err := j.event.repo.Git.BlobLimit(j.ctx, f.OID, limit)
		if large := new(git.TooLargeError); errors.As(err, &large) {
			data, err = make([]byte, limit+1), nil
		}
		if err != nil {
			return nil, err
		}
		byPath[strings.TrimPrefix(f.Path, "targets/")] = data
	}
	return byPath, nil
}

// beside are the files in the folder of a target, without the target itself.
func beside(target string, files map[string][]byte) map[string][]byte {
	list := map[string][]byte{}
	for name, data := range files {
		if path.Dir(name) == path.Dir(target) && name != target {
			list[name] = data
		}
	}
	return list
}

// holder is the role that lists a target, else the first that could.
func (s *State) holder(target string) string {
	could := ""
	for _, role := range s.TargetsRoles() {
		doc, err := s.Document(role)
		if err == nil {
			if _, ok := doc.Targets()[target]; ok {
				return role
			}
		}
		if d, ok := s.Delegation(role); could == "" && ok && role != metadata.Targets && d.Covers(target) {
			could = role
		}
	}
	if could == "" {
		could = metadata.Targets
	}
	return could
}

// changedTrust is the trust material that the event changes, in git or in what
// is signed, by path.
func (j *judge) changedTrust(s *Status, files, was map[string][]byte) []trustMaterial {
	found := map[string]trustMaterial{}
	for _, list := range []map[string][]byte{files, was} {
		for target := range list {
			a, is := j.event.Proposed.File(ArtifactFile(target))
			b, had := j.event.KnownGood.File(ArtifactFile(target))
			if _, ok := trustroot.KindOf(target); ok && (is != had || a.OID != b.OID) {
				found[target] = trustMaterial{target: target, role: j.event.Proposed.holder(target)}
			}
		}
	}
	for i := range s.Roles {
		for k := range s.Roles[i].Artifacts {
			change := &s.Roles[i].Artifacts[k]
			if _, ok := trustroot.KindOf(change.Path); ok {
				found[change.Path] = trustMaterial{target: change.Path, role: s.Roles[i].Role, change: change}
			}
		}
	}
	var list []trustMaterial
	for _, target := range sortedKeys(found) {
		m := found[target]
		m.after = files[target]
		list = append(list, m)
	}
	return list
}

// readable is the version that a change is to be judged against: the one that
// the people of the role have signed, or, where no client could read that, the
// newest before it that they could. Without it a correction would look like a
// new file, and what it takes away would not be seen.
func (j *judge) readable(m trustMaterial, known []byte) ([]byte, error) {
	r, kind := j.event.repo, trustroot.TrustedRoot
	if k, ok := trustroot.KindOf(m.target); ok {
		kind = k
	}
	before := known
	if m.change != nil && m.change.Before != nil && (known == nil || measure(known).differs(*m.change.Before) != "") {
		file, ok, err := r.findArtifact(j.ctx, j.event.KnownGood.commit, m.target, *m.change.Before)
		if err != nil {
			return nil, err
		}
		if ok {
			data, err := j.contents([]File{file})
			if err != nil {
				return nil, err
			}
			before = data[m.target]
		}
	}
	if before == nil {
		return nil, nil
	}
	if _, err := j.material.Parse(kind, before); err == nil {
		return before, nil
	}
	file := r.Path(ArtifactFile(m.target))
	commits, err := r.Git.History(j.ctx, j.event.KnownGood.commit, "", git.HistoryOptions{Paths: []string{file}, FirstParent: true})
	if err != nil {
		return nil, err
	}
	for _, commit := range commits[:min(len(commits), maxSearch)] {
		entry, ok, err := r.Git.Lookup(j.ctx, commit, file)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		data, err := j.contents([]File{{Path: ArtifactFile(m.target), Mode: entry.Mode, OID: entry.OID}})
		if err != nil {
			return nil, err
		}
		if _, err := j.material.Parse(kind, data[m.target]); err == nil {
			return data[m.target], nil
		}
	}
	return before, nil
}

// trustReplay stops a change that takes real signatures away. A file that cannot
// be read takes all of them, and has been reported.
func (j *judge) trustReplay(f *findings, m trustMaterial, before []byte) error {
	r := j.event.repo
	kind, _ := trustroot.KindOf(m.target)
	if _, err := j.material.Parse(kind, m.after); err != nil || kind != trustroot.TrustedRoot || before == nil {
		return nil
	}
	entries, err := r.Git.Files(j.ctx, j.event.Base, r.Path(BundleFolder))
	if err != nil {
		return fmt.Errorf("read %s at commit %.10s: %w", r.Path(BundleFolder), j.event.Base, err)
	}
	bundles := map[string][]byte{}
	for _, e := range entries {
		if !e.Mode.IsRegular() || path.Ext(e.Path) != ".json" {
			continue
		}
		data, err := r.Git.BlobLimit(j.ctx, e.OID, maxBundle)
		if large := new(git.TooLargeError); errors.As(err, &large) {
			data, err = nil, nil // which verifies nowhere
		}
		if err != nil {
			return err
		}
		bundles[e.Path] = data
	}
	if len(bundles) == 0 {
		return nil
	}
	for _, one := range replay.Run(bundles, before, m.after) {
		file := r.Path(ArtifactFile(m.target))
		switch {
		case one.Broken():
			f.addAs(trustReplay, j.trustLevel(trustroot.Error), file, trustReplay.Hint, "the signature in %s verified and no longer does: %v", one.Name, one.After)
		case one.Idle():
			f.addAs(trustReplay, LevelWarning, file, "replace it by a bundle that "+m.target+" verifies",
				"the signature in %s verifies neither before nor after the change, so it says nothing: %v", one.Name, one.Before)
		}
	}
	return nil
}

// maxBundle bounds a bundle, in bytes.
const maxBundle = 1_000_000

// trustRemoved stops a trusted root from leaving altogether. Signing
// configurations come and go with their versions.
func (j *judge) trustRemoved(f *findings, m trustMaterial) {
	if kind, _ := trustroot.KindOf(m.target); kind == trustroot.TrustedRoot {
		file := j.event.repo.Path(ArtifactFile(m.target))
		f.addAs(trustRules[string(kind)+"/removed"], j.trustLevel(trustroot.Error), file, "restore it", "the event removes %s: everything that was ever verified with it stops verifying", m.target)
	}
}

// trust reports what the checks of trust material have found in a file.
//
// What cannot be read nobody is asked to sign, whatever the policy says. Where the
// role has its signatures all the same, from people who sign with tuf-on-ci, that
// is as far as tuf-on-ci's verdict on it is kept.
func (j *judge) trust(f *findings, s *Status, target string, list []trustroot.Finding) {
	kind, _ := trustroot.KindOf(target)
	r := s.role(f.role)
	signed := r != nil && r.Complete
	for _, one := range list {
		rule, level := trustRules[string(kind)+"/"+one.Check], j.trustLevel(one.Level)
		if rule.Fixed && (!signed || j.policy.RefuseUnreadable) {
			level = rule.Level
		}
		f.addAs(rule, level, j.event.repo.Path(ArtifactFile(target)), one.Hint, "%s", one.Message)
	}
}

// trustLevel is the level of a mistake in trust material, see
// [Policy.EnforceTrust].
func (j *judge) trustLevel(l trustroot.Level) Level {
	if l == trustroot.Error && j.policy.EnforceTrust {
		return LevelError
	}
	return LevelWarning
}
