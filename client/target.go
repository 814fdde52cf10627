package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/wholefile"
)

// TargetInfo is what the repository's signers say of one artifact.
type TargetInfo struct {
	Path   string
	Length int64
	Hashes map[string]string // algorithm to hex
	Custom any               // the field of that name as decoded JSON; nil where there is none

	// Roles are the targets roles on the way to the artifact, the one that
	// lists it last.
	Roles []RoleState
}

// Role is the role that lists the artifact.
func (t TargetInfo) Role() string {
	if len(t.Roles) == 0 {
		return ""
	}
	return t.Roles[len(t.Roles)-1].Role
}

// Verify reads an artifact to its end and reports whether it is the one that
// was signed: nil, or a [*LengthError] or [*HashError].
func (t TargetInfo) Verify(r io.Reader) error { return t.copy(io.Discard, r, "the input") }

// copy copies an artifact. What was written is good only if the error is nil.
func (t TargetInfo) copy(w io.Writer, r io.Reader, source string) error {
	d, err := newDigests(t.Path, t.Hashes)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(w, d), io.LimitReader(r, t.Length+1))
	switch {
	case err != nil:
		return err
	case n != t.Length:
		return &LengthError{Name: t.Path, Source: source, Exact: true, Want: t.Length, Got: n}
	}
	return d.check(source)
}

// Target looks an artifact up, through delegations where targets does not list
// it itself. It refreshes if this client has not yet done so; after that it
// answers from the same update, however long ago that was, until Refresh is
// called again.
//
// That the repository has no such artifact is a [*TargetNotFoundError].
func (c *Client) Target(ctx context.Context, path string) (TargetInfo, error) {
	info, _, err := c.target(ctx, path)
	return info, err
}

func (c *Client) target(ctx context.Context, path string) (TargetInfo, *update, error) {
	if err := c.begin(ctx); err != nil {
		return TargetInfo{}, nil, err
	}
	defer c.end()
	u, err := c.fresh(ctx)
	if err != nil {
		return TargetInfo{}, nil, err
	}
	s := &search{update: u, path: path, visited: map[string]bool{metadata.Targets: true}}
	info, _, err := s.visit(ctx, u.targets, []RoleState{u.result.Targets})
	switch {
	case err != nil:
		return TargetInfo{}, nil, fmt.Errorf("look for %q: %w", path, err)
	case info == nil:
		return TargetInfo{}, nil, &TargetNotFoundError{Path: path, Visited: s.order}
	}
	return *info, u, nil
}

// search is a pre-order depth-first walk over the delegations that are
// responsible for a path.
//
// A role that cannot be had or does not verify ends the search, with the reason:
// to look further would let whoever blocks one role choose who answers instead.
//
// Spec: https://theupdateframework.github.io/specification/latest/#update-targets, step 7.
type search struct {
	*update
	path    string
	visited map[string]bool
	order   []string
}

// visit looks into a role and then into those it delegates the path to. stop
// says that a terminating delegation forbids to look any further.
func (s *search) visit(ctx context.Context, doc *metadata.Document, way []RoleState) (info *TargetInfo, stop bool, err error) {
	role := way[len(way)-1].Role
	s.order = append(s.order, role)
	if t, ok := doc.Targets()[s.path]; ok {
		return &TargetInfo{Path: s.path, Length: t.Length, Hashes: maps.Clone(t.Hashes),
			Custom: metadata.Clone(t.Object)["custom"], Roles: way}, false, nil
	}
	for _, d := range responsible(doc, s.path) {
		if !s.visited[d.Role] { // else a cycle, or a role that two delegate to
			s.visited[d.Role] = true
			if len(s.visited)-1 > MaxDelegations {
				return nil, false, &LimitError{What: "delegated roles", Limit: MaxDelegations,
					Next: "the repository delegates this path to too many roles: report it to its maintainers"}
			}
			switch d.Role {
			case metadata.Root, metadata.Timestamp, metadata.Snapshot:
				return nil, false, &FormatError{Role: role, Source: "the repository",
					Err: fmt.Errorf("it delegates to a role with the reserved name %s", d.Role)}
			}
			child, state, err := s.loadTargets(ctx, doc, role, d)
			if err != nil {
				return nil, false, err
			}
			info, stop, err := s.visit(ctx, child, append(way[:len(way):len(way)], state))
			if info != nil || stop || err != nil {
				return info, stop, err
			}
		}
		if d.Terminating {
			return nil, true, nil
		}
	}
	return nil, false, nil
}

// responsible returns the delegations of a path, in order.
func responsible(doc *metadata.Document, path string) (list []metadata.Delegation) {
	all := doc.Delegations()
	if all == nil {
		return nil
	}
	if all.Succinct != nil {
		return []metadata.Delegation{all.Succinct.For(path)}
	}
	for _, d := range all.Roles {
		if d.Covers(path) {
			list = append(list, d)
		}
	}
	return list
}

// Download is an artifact in a file.
type Download struct {
	TargetInfo
	File   string
	Cached bool // it was there already
}

// Download looks an artifact up and stores it in the directory dir, as
// [LocalName] of its path. An artifact that is there and still is what was
// signed is not fetched again.
//
// The file appears whole and verified or not at all, and nothing else is left
// in the directory. The directory's content is never trusted.
func (c *Client) Download(ctx context.Context, path, dir string) (Download, error) {
	info, u, err := c.target(ctx, path)
	if err != nil {
		return Download{}, err
	}
	d := Download{TargetInfo: info, File: filepath.Join(dir, LocalName(path))}
	if d.stored() {
		d.Cached = true
		return d, nil
	}
	if c.offline {
		return Download{}, &NotCachedError{Name: path, Dir: dir}
	}
	from, err := u.artifact(info)
	if err != nil {
		return Download{}, err
	}
	trouble := func(err error) error {
		return &CacheError{Do: "store " + path + " in directory", Path: dir, Err: reason(err)}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Download{}, trouble(err)
	}
	err = c.transfer(ctx, from, func(source string, r io.Reader) error {
		f, err := wholefile.Create(d.File, "", 0o644)
		if err != nil {
			return trouble(err)
		}
		defer f.Discard()
		if err := info.copy(diskWriter{f, trouble}, r, source); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return trouble(err)
		}
		if err := f.Commit(); err != nil {
			return trouble(err)
		}
		return nil
	})
	if err != nil {
		return Download{}, err
	}
	return d, nil
}

// diskWriter tells a full disk from a broken connection.
type diskWriter struct {
	w       io.Writer
	trouble func(error) error
}

func (d diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		err = d.trouble(err)
	}
	return n, err
}

// ReadFile returns the artifact's bytes, verified as they are read.
func (d Download) ReadFile() ([]byte, error) {
	f, err := os.Open(d.File)
	if err != nil {
		return nil, &CacheError{Do: "read", Path: d.File, Err: reason(err)}
	}
	defer f.Close()
	var data bytes.Buffer
	if err := d.copy(&data, f, d.File); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// stored reports whether the file is there and is the artifact.
func (d Download) stored() bool {
	info, err := os.Stat(d.File)
	if err != nil || !info.Mode().IsRegular() || info.Size() != d.Length {
		return false
	}
	f, err := os.Open(d.File)
	if err != nil {
		return false
	}
	defer f.Close()
	return d.Verify(f) == nil
}

// Read looks an artifact up and returns its bytes, for artifacts that are to be
// used at once and fit into memory. It neither reads nor writes any directory.
func (c *Client) Read(ctx context.Context, path string) (TargetInfo, []byte, error) {
	info, u, err := c.target(ctx, path)
	if err != nil {
		return TargetInfo{}, nil, err
	}
	if c.offline {
		return TargetInfo{}, nil, &NotCachedError{Name: path}
	}
	from, err := u.artifact(info)
	if err != nil {
		return TargetInfo{}, nil, err
	}
	var data bytes.Buffer
	err = c.transfer(ctx, from, func(source string, r io.Reader) error {
		data.Reset()
		return info.copy(&data, r, source)
	})
	if err != nil {
		return TargetInfo{}, nil, err
	}
	return info, data.Bytes(), nil
}

// artifact is where the repository keeps an artifact.
//
// Spec: https://theupdateframework.github.io/specification/latest/#fetch-target, step 3: with
// consistent snapshots the file name begins with one of its hashes.
func (u *update) artifact(t TargetInfo) (request, error) {
	switch {
	case len(u.targetsURLs.urls) == 0:
		return request{}, fmt.Errorf("download %s: %w", t.Path, u.targetsURLErr)
	case t.Path == "":
		return request{}, errors.New("an artifact without a name cannot be fetched")
	}
	d, err := newDigests(t.Path, t.Hashes)
	if err != nil {
		return request{}, err
	}
	prefix, err := d.prefix()
	if err != nil {
		return request{}, err
	}
	segments := strings.Split(t.Path, "/")
	for i, s := range segments {
		segments[i] = quote(s)
	}
	if last := len(segments) - 1; u.root.ConsistentSnapshot() {
		segments[last] = prefix + "." + segments[last]
	}
	return request{name: t.Path, from: &u.targetsURLs, file: strings.Join(segments, "/"), maxBytes: t.Length}, nil
}
