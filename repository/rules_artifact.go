package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	artifactMissing = rule(Rule{
		Name: "artifact-missing", Level: LevelError, Gates: "E",
		Title:   "listed, but no such file",
		Stops:   "clients are promised a file that cannot be published",
		Source:  "TUF specification, #fetch-target",
		Breaks:  "a targets role lists an artifact that is not below targets/",
		Example: "targets lists b.txt, but there is no such file in targets/",
		Hint:    "bring the metadata in line: tufops update-targets, or restore the file",
	})
	artifactUnlisted = rule(Rule{
		Name: "artifact-unlisted", Level: LevelError, Gates: "E",
		Title:   "a file that no metadata lists",
		Stops:   "a file that people believe they release is in no signed metadata",
		Source:  "artifacts and metadata are changed in two steps, and one is easily forgotten",
		Breaks:  "a file below targets/ is covered by a role and not listed by it, or comes with the event and is covered by no role; a warning for a name that begins with a dot",
		Example: "targets/b.txt is in git, but targets does not list it",
		Hint:    "bring the metadata in line: tufops update-targets, or remove the file",
	})
	artifactMismatch = rule(Rule{
		Name: "artifact-mismatch", Level: LevelError, Gates: "EP",
		Title:   "another file than the one listed",
		Stops:   "people sign the hash of another file than the one in git",
		Source:  "trusted_root.json was changed after targets had been signed, in three recorded events",
		Breaks:  "length or hash of a file differ from what the metadata lists, or a hash is of a kind that clients do not know",
		Example: "targets lists a.txt with a length of 2 bytes; the file in git has 7",
		Hint:    "bring the metadata in line: tufops update-targets",
	})
	artifactOutsideDelegation = rule(Rule{
		Name: "artifact-outside-delegation", Level: LevelError, Gates: "E",
		Title:   "a path that the role has not",
		Stops:   "clients never find it: they ask the role that the path is delegated to",
		Source:  "TUF specification, #update-targets: a client follows the paths of delegations",
		Breaks:  "a delegated role lists an artifact that no path pattern of its delegation covers",
		Example: "releases lists other/x, but no path pattern of its delegation covers that",
		Hint:    "move it to a path that is delegated to releases",
	})
	artifactPathUnsafe = rule(Rule{
		Name: "artifact-path-unsafe", Level: LevelError, Gates: "EP", Fixed: true,
		Title:   "a target path that is dangerous",
		Stops:   "a target path becomes a file name on clients and servers: it must not leave its folder",
		Source:  "CVE-2021-41149: a target name wrote a file elsewhere",
		Breaks:  "a target path is absolute, has an empty segment, . or .., a backslash or something invisible, or differs from another only in case; in an event also if one that it adds has a segment that ends in a dot or has more than 150 bytes, a folder named like a published file, U+FFFD, or more than 800 bytes",
		Example: `targets lists "../x", which has the path segment ".."`,
		Hint:    "rename the artifact",
	})
)

// printable leaves out U+FFFD, which stands for what is no text: a bucket takes it
// in no name.
func printable(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// ArtifactFiles are the files of a role's artifacts at this state: what a
// pattern of the role matches, as update-targets sees it. A `*` matches no name
// that begins with a dot.
func (s *State) ArtifactFiles(role string) []File {
	patterns := []string{"*"}
	var byHash func(target string) bool
	if role != metadata.Targets {
		d, ok := s.Delegation(role)
		if !ok {
			return nil
		}
		if patterns = d.Paths; patterns == nil {
			byHash = d.Covers
		}
	}
	var files []File
	for _, f := range s.withPrefix("targets/" + literal(patterns)) {
		target := strings.TrimPrefix(f.Path, "targets/")
		if !f.Regular() || hiddenName(target) {
			continue
		}
		if byHash != nil && byHash(target) {
			files = append(files, f)
		}
		for _, p := range patterns {
			if metadata.MatchPath(p, target) {
				files = append(files, f)
				break
			}
		}
	}
	return files
}

// literal is what every path that matches one of the patterns begins with.
func literal(patterns []string) string {
	common := ""
	for i, p := range patterns {
		if at := strings.IndexAny(p, "*?[\uFFFD"); at >= 0 { // U+FFFD matches any byte that is no UTF-8
			p = p[:at]
		}
		if i == 0 {
			common = p
		}
		for !strings.HasPrefix(p, common) {
			common = common[:len(common)-1]
		}
	}
	return common
}

func hiddenName(target string) bool {
	for _, segment := range strings.Split(target, "/") {
		if strings.HasPrefix(segment, ".") {
			return true
		}
	}
	return false
}

// Measured is what an artifact in git really is.
type Measured struct {
	Length int64             // bytes
	Hashes map[string]string // "sha256" and "sha512", in lower-case hex
}

// Measure reads artifacts from git and hashes them; the results stand in the
// order of the files. Each blob is read once in the life of the [Repository].
func (r *Repository) Measure(ctx context.Context, files []File) ([]Measured, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var want []git.OID
	for _, f := range files {
		if _, done := r.measured[f.OID]; !done {
			r.measured[f.OID] = Measured{Length: -1}
			want = append(want, f.OID)
		}
	}
	err := r.Git.Blobs(ctx, want, func(i int, size int64, rd io.Reader) error {
		m, err := measureFrom(rd)
		r.measured[want[i]] = m
		return err
	})
	list := make([]Measured, len(files))
	for i, f := range files {
		list[i] = r.measured[f.OID]
	}
	if err != nil {
		for _, oid := range want {
			delete(r.measured, oid)
		}
		return nil, fmt.Errorf("read artifacts from git: %w", err)
	}
	return list, nil
}

func measureFrom(rd io.Reader) (Measured, error) {
	h256, h512 := sha256.New(), sha512.New()
	n, err := io.Copy(io.MultiWriter(h256, h512), rd)
	return Measured{Length: n, Hashes: map[string]string{
		"sha256": hex.EncodeToString(h256.Sum(nil)), "sha512": hex.EncodeToString(h512.Sum(nil)),
	}}, err
}

func measure(data []byte) Measured {
	m, _ := measureFrom(bytes.NewReader(data)) // memory does not fail
	return m
}

// maxListed bounds how many findings of one kind are spelled out.
const maxListed = 20

// artifactRules are the rules about the artifacts that one targets role lists.
type artifactRules struct {
	view
	f      *findings
	role   string
	counts map[*Rule]int     // findings so far, those that are not spelled out among them
	folded map[string]string // target paths so far, in lower case
}

// syncArtifacts is what cures most of them.
const syncArtifacts = "bring the metadata in line: tufops update-targets"

func (a *artifactRules) report(r *Rule, level Level, file, hint, format string, args ...any) {
	if a.counts[r]++; a.counts[r] <= maxListed {
		a.f.addAs(r, level, file, hint, format, args...)
	}
}

// artifacts compares what a targets role lists with the files in git: all of
// them, or those at the paths of v.only.
func (v view) artifacts(f *findings, doc *metadata.Document, role string) {
	a := &artifactRules{view: v, f: f, role: role, counts: map[*Rule]int{}, folded: map[string]string{}}
	listed := doc.Targets()
	var have []File
	var paths []string
	for _, target := range sortedKeys(listed) {
		if v.only != nil && !v.only[ArtifactFile(target)] {
			continue
		}
		if a.pathUnsafe(target) || a.outsideDelegation(target) || a.missing(target) {
			continue
		}
		file, _ := v.state.File(ArtifactFile(target))
		have, paths = append(have, file), append(paths, target)
	}
	measured, err := v.event.repo.Measure(v.ctx, have)
	if err != nil {
		v.failed(err)
		return
	}
	for i, target := range paths {
		a.mismatch(target, have[i], measured[i], listed[target])
	}
	for _, file := range v.state.unlisted(role, listed) {
		if v.only == nil || v.only[file.Path] {
			a.unlisted(file)
		}
	}
	for _, r := range rules {
		if n := a.counts[r]; n > maxListed {
			f.add(r, v.file(), syncArtifacts, "%d more artifacts of %s like these", n-maxListed, role)
		}
	}
}

// pathUnsafe stops a target path that leaves its folder on clients and servers,
// or is the same file as another one there. It reports whether the path can
// stand for no file at all.
func (a *artifactRules) pathUnsafe(target string) bool {
	if why := UnsafeTargetPath(target); why != "" {
		a.report(artifactPathUnsafe, LevelError, a.file(), "rename the artifact", "%s lists %q, which %s", a.role, target, why)
		return true
	}
	// What is published under such a path already goes on being so: where it is, it
	// fits.
	if why := UnpublishableTargetPath(target); why != "" && !a.listedBefore(target) {
		a.report(artifactPathUnsafe, LevelError, a.file(), "rename the artifact", "%s lists %q, which %s", a.role, target, why)
	}
	if other, twice := a.folded[strings.ToLower(target)]; twice {
		a.report(artifactPathUnsafe, LevelError, a.file(), "rename one of them", "%s lists %q and %q, which differ only in case", a.role, other, target)
	}
	a.folded[strings.ToLower(target)] = target
	return false
}

func (a *artifactRules) listedBefore(target string) bool {
	if a.known == nil {
		return false
	}
	_, ok := a.known.Targets()[target]
	return ok
}

// outsideDelegation stops an artifact that no client finds, since it asks
// another role for it.
func (a *artifactRules) outsideDelegation(target string) bool {
	d, ok := a.state.Delegation(a.role)
	if !ok || a.role == metadata.Targets || d.Covers(target) {
		return false
	}
	a.report(artifactOutsideDelegation, LevelError, a.file(), "move it to a path that is delegated to "+a.role, "%s lists %s, but no path pattern of its delegation covers that", a.role, target)
	return true
}

// missing stops a promise of a file that cannot be published.
func (a *artifactRules) missing(target string) bool {
	if file, ok := a.state.File(ArtifactFile(target)); ok && file.Regular() {
		return false
	}
	a.report(artifactMissing, LevelError, a.event.repo.Path(ArtifactFile(target)), syncArtifacts+", or restore the file",
		"%s lists %s, but there is no such file in targets/", a.role, target)
	return true
}

// mismatch stops people from signing the hash of another file than the one in
// git.
func (a *artifactRules) mismatch(target string, file File, m Measured, listed metadata.TargetFile) {
	why := m.differs(listed)
	if why == "" {
		why = unknownHash(listed)
	}
	if why != "" {
		a.report(artifactMismatch, LevelError, a.event.repo.Path(file.Path), syncArtifacts, "%s lists %s with %s", a.role, target, why)
	}
}

// unlisted stops a file that people believe they release and no metadata lists.
func (a *artifactRules) unlisted(file File) {
	level := LevelError
	if hiddenName(strings.TrimPrefix(file.Path, "targets/")) {
		level = LevelWarning
	}
	a.report(artifactUnlisted, level, a.event.repo.Path(file.Path), syncArtifacts+", or remove the file",
		"%s is in git, but %s does not list it", file.Path, a.role)
}

// unlisted are the files of a role that its metadata does not list; hidden
// files are among them.
func (s *State) unlisted(role string, listed map[string]metadata.TargetFile) []File {
	var files []File
	d, _ := s.Delegation(role)
	prefix := "targets/"
	if role != metadata.Targets {
		prefix += literal(d.Paths)
	}
	for _, f := range s.withPrefix(prefix) {
		target := strings.TrimPrefix(f.Path, "targets/")
		if _, ok := listed[target]; ok || !f.Regular() || f.Path == CustomFile {
			continue
		}
		if role == metadata.Targets && !strings.Contains(target, "/") || role != metadata.Targets && d.Covers(target) {
			files = append(files, f)
		}
	}
	return files
}

// differs says in words how a file differs from what metadata lists; empty
// where it does not. A hash algorithm that is not known counts for nothing, but
// one that is known must be there.
func (m Measured) differs(t metadata.TargetFile) string {
	if t.Length != m.Length {
		return fmt.Sprintf("a length of %d bytes; the file in git has %d", t.Length, m.Length)
	}
	return m.differsFrom(t.Hashes)
}

func (m Measured) differsFrom(hashes map[string]string) string {
	known := false
	for _, algorithm := range sortedKeys(hashes) {
		if _, err := hex.DecodeString(hashes[algorithm]); err != nil || hashes[algorithm] == "" { // go-tuf reads no such file
			return fmt.Sprintf("%s %.80q, which is no hash in hex", algorithm, hashes[algorithm])
		}
		have, ok := m.Hashes[algorithm]
		known = known || ok
		if ok && !strings.EqualFold(have, hashes[algorithm]) {
			return fmt.Sprintf("%s %s; the file in git has %s", algorithm, hashes[algorithm], have)
		}
	}
	if !known {
		return "no hash of a kind that clients know (sha256, sha512)"
	}
	return ""
}

// hashKinds are the hashes that clients know.
var hashKinds = []string{"sha256", "sha512"}

// unknownHash says which hash is of a kind that clients do not know, and so
// refuse the artifact for, whatever its other hashes are.
func unknownHash(t metadata.TargetFile) string {
	for _, algorithm := range sortedKeys(t.Hashes) {
		if !slices.Contains(hashKinds, algorithm) {
			return fmt.Sprintf("a hash of the kind %q, which clients do not know", algorithm)
		}
	}
	return ""
}

// UnsafeTargetPath says why an artifact must not have this path; empty for a
// good path.
func UnsafeTargetPath(target string) string {
	switch {
	case target == "":
		return "is empty"
	case strings.HasPrefix(target, "/"):
		return "begins with a slash"
	case strings.Contains(target, `\`):
		return "holds a backslash"
	}
	for _, segment := range strings.Split(target, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Sprintf("has the path segment %q", segment)
		}
	}
	for _, r := range target {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("holds the invisible character %U", r)
		}
	}
	return ""
}

// What some place that is published to holds no more of, less what is added there:
// a name of 255 bytes in a directory, one of 1,024 with all folders in a bucket.
const (
	maxSegment = 150
	maxPath    = 800
)

var publishedName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})\.`) })

// UnpublishableTargetPath says why some place that is published to cannot hold an
// artifact of a path that is safe; empty where all can. One that cannot be held keeps
// all from being published there, the timestamp too, so no event may bring one. A
// repository that was taken over may have one: its own place holds it.
func UnpublishableTargetPath(target string) string {
	switch {
	case len(target) > maxPath:
		return fmt.Sprintf("is longer than %d bytes", maxPath)
	case strings.ContainsRune(target, utf8.RuneError):
		return fmt.Sprintf("holds %U, which buckets take in no name", utf8.RuneError)
	}
	segments := strings.Split(target, "/")
	for i, segment := range segments {
		switch {
		case len(segment) > maxSegment:
			return fmt.Sprintf("has a path segment of more than %d bytes", maxSegment)
		case strings.HasSuffix(segment, "."):
			return fmt.Sprintf("has the path segment %q, which ends in a dot", segment)
		case i < len(segments)-1 && publishedName().MatchString(segment):
			return fmt.Sprintf("has the folder %q, which may be the name of a published file", segment)
		}
	}
	return ""
}
