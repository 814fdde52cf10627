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
	"slices"
	"strings"
	"unicode"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

var (
	artifactMissing = rule("artifact-missing", LevelError, "E",
		"clients are promised a file that cannot be published")
	artifactUnlisted = rule("artifact-unlisted", LevelError, "E",
		"a file that people believe they release is in no signed metadata")
	artifactMismatch = rule("artifact-mismatch", LevelError, "EP",
		"people sign the hash of another file than the one in git")
	artifactOutsideDelegation = rule("artifact-outside-delegation", LevelError, "E",
		"clients never find it: they ask the role that the path is delegated to")
	artifactPathUnsafe = rule("artifact-path-unsafe", LevelError, "EP",
		"a target path becomes a file name on clients and servers: it must not leave its folder")
)

func printable(r rune) bool { return unicode.IsPrint(r) }

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

// artifacts compares what a targets role lists with the files in git: all of
// them, or those at the paths of v.only.
func (v view) artifacts(f *findings, doc *metadata.Document, role string) {
	sync := "bring the metadata in line: tufops update-targets"
	counts := map[*Rule]int{}
	report := func(r *Rule, level Level, file, hint, format string, args ...any) {
		if counts[r]++; counts[r] <= maxListed {
			f.addAs(r, level, file, hint, format, args...)
		}
	}
	listed := doc.Targets()
	folded := map[string]string{}
	var have []File
	var paths []string
	for _, target := range sortedKeys(listed) {
		if v.only != nil && !v.only[ArtifactFile(target)] {
			continue
		}
		if why := UnsafeTargetPath(target); why != "" {
			report(artifactPathUnsafe, LevelError, v.file(), "rename the artifact", "%s lists %q, which %s", role, target, why)
			continue
		}
		if other, twice := folded[strings.ToLower(target)]; twice {
			report(artifactPathUnsafe, LevelError, v.file(), "rename one of them", "%s lists %q and %q, which differ only in case", role, other, target)
		}
		folded[strings.ToLower(target)] = target
		if d, ok := v.state.Delegation(role); ok && role != metadata.Targets && !d.Covers(target) {
			report(artifactOutsideDelegation, LevelError, v.file(), "move it to a path that is delegated to "+role, "%s lists %s, but no path pattern of its delegation covers that", role, target)
			continue
		}
		file, ok := v.state.File(ArtifactFile(target))
		if !ok || !file.Regular() {
			report(artifactMissing, LevelError, v.event.repo.Path(ArtifactFile(target)), sync+", or restore the file",
				"%s lists %s, but there is no such file in targets/", role, target)
			continue
		}
		have, paths = append(have, file), append(paths, target)
	}
	measured, err := v.event.repo.Measure(v.ctx, have)
	if err != nil {
		v.failed(err)
		return
	}
	for i, target := range paths {
		if why := measured[i].differs(listed[target]); why != "" {
			report(artifactMismatch, LevelError, v.event.repo.Path(have[i].Path), sync, "%s lists %s with %s", role, target, why)
		}
	}
	for _, file := range v.state.unlisted(role, listed) {
		if v.only != nil && !v.only[file.Path] {
			continue
		}
		level := LevelError
		if hiddenName(strings.TrimPrefix(file.Path, "targets/")) {
			level = LevelWarning
		}
		report(artifactUnlisted, level, v.event.repo.Path(file.Path), sync+", or remove the file",
			"%s is in git, but %s does not list it", file.Path, role)
	}
	for r, n := range counts {
		if n > maxListed {
			f.add(r, v.file(), sync, "%d more artifacts of %s like these", n-maxListed, role)
		}
	}
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
		if _, ok := listed[target]; ok || !f.Regular() {
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
