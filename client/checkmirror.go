package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/tufops/tufops/internal/metadata"
)

// Bounds on what a check of a mirror reads. With all artifacts asked for there is
// none.
const (
	MaxMirrorArtifacts  = 1000     // so many are looked at, those that were asked for first
	wholeMirrorArtifact = 64 << 10 // of a longer one only the length, unless it was asked for
)

// CheckedMirror is what a mirror serves.
type CheckedMirror struct {
	MetadataURL string        `json:"metadata_url"`
	Result      string        `json:"result"`    // passed, warning or failed
	Roles       []CheckedRole `json:"roles"`     // those that verified
	Artifacts   int           `json:"artifacts"` // that the roles list
	Looked      int           `json:"looked_at"` // of these
	problems    int
}

// mirrors looks at all that a client could ask of each mirror: the roots that lead
// to the newest, the other metadata, and the artifacts.
func (k *checker) mirrors(ctx context.Context) {
	if len(k.Mirrors) == 0 {
		return
	}
	if !k.reachedTargets() || k.expiredNow() {
		k.skip(CheckMirrors, "what they should serve is not known")
		return
	}
	var late, bad []Problem
	for _, m := range k.Mirrors {
		one, behind, wrong := k.mirror(ctx, m)
		one.problems = len(behind) + len(wrong)
		switch {
		case wrong != nil:
			one.Result = ResultFailed
		case behind != nil:
			one.Result = ResultWarning
		}
		k.report.Mirrors = append(k.report.Mirrors, one)
		late, bad = append(late, behind...), append(bad, wrong...)
	}
	switch {
	case bad != nil:
		k.fail(CheckMirrors, append(bad, late...)...)
	case late != nil:
		k.warn(CheckMirrors, late...)
	case len(k.Mirrors) == 1:
		k.pass(CheckMirrors, "%s serves the same", k.report.Mirrors[0].MetadataURL)
	default:
		k.pass(CheckMirrors, "all %d serve the same", len(k.Mirrors))
	}
}

// mirror updates from a mirror alone, with a client that begins with the newest root
// of what is checked, and goes on from there. A mirror that is behind still serves
// clients, as long as what it has is valid.
func (k *checker) mirror(ctx context.Context, m Mirror) (one CheckedMirror, late, bad []Problem) {
	one = CheckedMirror{MetadataURL: redact(m.MetadataURL), Result: ResultPassed, Roles: []CheckedRole{}}
	wrong := func(problems ...Problem) {
		for _, p := range problems {
			if p.Cause == CauseRepository {
				p.Hint = "copy the repository to the mirror again"
			}
			bad = append(bad, p)
		}
	}
	behind := func(role string, version, main int64) {
		p := k.problem(fmt.Errorf("%s serves %s v%d, and %s v%d", one.MetadataURL, role, version, redact(k.MetadataURL), main))
		p.Hint = "clients take what they are shown until it expires: copy the repository to the mirror more often"
		p.warning = true
		late = append(late, p)
	}
	c, err := k.client(k.seen.root.Raw(), Options{MetadataURL: m.MetadataURL, TargetsURL: m.TargetsURL}, beforeAll)
	if err == nil {
		_, err = c.Refresh(ctx)
	}
	if err != nil {
		wrong(k.problem(err))
		return one, late, bad
	}
	p := &place{url: c.metadataURLs.urls[0], seen: c.current, documents: map[string]checked{}, targetDocs: []*metadata.Document{c.current.targets}}
	for _, doc := range []*metadata.Document{p.seen.root, p.seen.timestamp, p.seen.snapshot, p.seen.targets} {
		p.documents[doc.Type()] = checked{doc, p.fileURL(doc.Type(), doc.Version())}
	}
	newest, err := k.mirrorRoots(ctx, p)
	if err != nil {
		wrong(k.problem(err))
	} else if main := k.seen.root.Version(); newest != main {
		behind(metadata.Root, newest, main)
	} else if served, main := p.seen.timestamp.Version(), k.seen.timestamp.Version(); served != main {
		behind(metadata.Timestamp, served, main)
	}
	wrong(k.below(ctx, p)...)
	for _, role := range p.order() {
		served, main := p.documents[role], k.documents[role]
		doc := served.doc
		one.Roles = append(one.Roles, CheckedRole{Role: role, Version: doc.Version(), Expires: doc.Expires(), Expired: doc.Expired(k.now)})
		switch same := main.doc != nil && main.doc.Version() == doc.Version(); {
		case same && !bytes.Equal(main.doc.Payload(), doc.Payload()):
			wrong(k.problem(fmt.Errorf("%s has another content than %s, and the same version", served.source, main.source)))
		case !same && doc.Expired(k.now): // else it has been said
			wrong(k.problem(&ExpiredError{Role: role, Version: doc.Version(), Source: served.source, Expires: doc.Expires(), Now: k.now}))
		}
	}
	listed := p.listed()
	one.Artifacts = len(listed)
	if m.TargetsURL != "" {
		list := k.wanted(listed)
		wrong(k.each(list, func(path string) error {
			info, from, err := p.lookUp(ctx, path)
			if err != nil {
				return nil // the files there are not to blame, and what is has been said
			}
			one.Looked++
			return k.mirrorArtifact(ctx, p, info, from)
		})...)
	}
	return one, late, bad
}

// mirrorRoots goes the way from the first root on a mirror, and says where it ends.
// That the last roots are not there yet is no error.
func (k *checker) mirrorRoots(ctx context.Context, p *place) (newest int64, err error) {
	u, err := k.walk(ctx, k.first, p.url)
	if err != nil {
		return 0, err
	}
	last, main := u.root.Version(), k.seen.root.Version()
	if last >= main {
		return last, nil
	}
	from := p.url + rootFile(main)
	if _, err := k.get.fetchFrom(ctx, metadata.Root, from, RootMaxLength); err == nil {
		return 0, fmt.Errorf("%s does not exist, and %s does: clients that start from an earlier root stop there", redact(p.url+rootFile(last+1)), redact(from))
	} else if !isMissing(err) {
		return 0, err
	}
	return last, nil
}

// wanted are the artifacts to look at, those that were asked for first.
func (k *checker) wanted(listed map[string]bool) []string {
	var first []string
	for _, path := range slices.Compact(slices.Sorted(slices.Values(k.Artifacts))) {
		if listed[path] { // else it has been said, or the mirror is behind
			first = append(first, path)
			delete(listed, path)
		}
	}
	list := append(first, slices.Sorted(maps.Keys(listed))...)
	if !k.AllArtifacts && len(list) > MaxMirrorArtifacts {
		list = list[:MaxMirrorArtifacts]
	}
	return list
}

// mirrorArtifact looks whether an artifact is there, and reads what was asked for
// and what is short.
func (k *checker) mirrorArtifact(ctx context.Context, p *place, info TargetInfo, from request) error {
	whole := k.AllArtifacts || info.Length <= wholeMirrorArtifact || slices.Contains(k.Artifacts, info.Path)
	return p.seen.transfer(ctx, from, func(source string, r io.Reader) error {
		n := lengthOf(r)
		switch {
		case whole || n < 0:
			return info.discard(source, r)
		case n != info.Length:
			return &LengthError{Name: info.Path, Source: source, Exact: true, Want: info.Length, Got: n}
		}
		return nil
	})
}

// lengthOf is what a file or a server says of the length of what it gives; -1 where
// it says nothing.
func lengthOf(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Length() int64 }:
		return r.Length()
	case *os.File:
		if info, err := r.Stat(); err == nil {
			return info.Size()
		}
	}
	return -1
}

// timestamp is the version of the role that is renewed most often.
func (m CheckedMirror) timestamp() string {
	for _, role := range m.Roles {
		if role.Role == metadata.Timestamp {
			return fmt.Sprintf("v%d", role.Version)
		}
	}
	return "none"
}

func (m CheckedMirror) artifacts() string {
	if m.Looked == m.Artifacts {
		return fmt.Sprintf("all %d", m.Looked)
	}
	return fmt.Sprintf("%d of %d", m.Looked, m.Artifacts)
}
