package publish

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Class says what kind of file a published file is; files are written in the
// order of their class (see [Tree.Files]).
type Class int

// The classes, in the order in which they are written.
const (
	Artifact Class = iota
	TargetsRole
	Snapshot
	Root
	Timestamp
	Page // index.html and status.json: for people, after all that clients read
)

// File is one file of the published tree.
type File struct {
	Class Class
	Name  string // slash-separated, below the artifact or the metadata folder
	Data  []byte // nil for artifacts: read them with [Tree.Read]
	Size  int64  // bytes
	blob  git.OID
}

// Tree is everything that is published of one commit.
type Tree struct {
	published *repository.Published
	status    Status
	files     []File
}

// NewTree lays out what is published of a commit. The status page says of
// people's keys whether attested finds an attestation of them; where that is nil
// it says nothing.
func NewTree(ctx context.Context, p *repository.Published, attested repository.Attestation) (*Tree, error) {
	status, err := statusOf(ctx, p, attested)
	if err != nil {
		return nil, err
	}
	t := &Tree{published: p, status: status}
	add := func(class Class, name string, doc *metadata.Document) {
		t.files = append(t.files, File{Class: class, Name: name, Data: doc.Raw(), Size: int64(len(doc.Raw()))})
	}
	seen := map[string]bool{}
	for _, a := range p.Artifacts() {
		for _, name := range a.Names {
			if !seen[name] {
				seen[name] = true
				t.files = append(t.files, File{Class: Artifact, Name: name, Size: a.Length, blob: a.File.OID})
			}
		}
	}
	for _, r := range p.Roles() {
		add(TargetsRole, versioned(r.Role, r.Document), r.Document)
	}
	add(Snapshot, versioned(metadata.Snapshot, p.Snapshot()), p.Snapshot())
	for _, r := range p.Roots() {
		add(Root, versioned(metadata.Root, r.Document), r.Document)
	}
	add(Timestamp, "timestamp.json", p.Timestamp())
	pages, err := pages(status)
	if err != nil {
		return nil, err
	}
	t.files = append(t.files, pages...)
	sort.SliceStable(t.files, func(i, j int) bool { return t.files[i].Class < t.files[j].Class })
	return t, nil
}

// Published is what the tree was made from.
func (t *Tree) Published() *repository.Published { return t.published }

// Files lists the tree in the order in which it is to be written: artifacts,
// targets roles, snapshot, roots, timestamp, pages. So a client that reads in
// between finds all that the timestamp it sees leads to.
func (t *Tree) Files() []File { return t.files }

// Read calls fn with the content of each of the files, which must be from this
// tree. Artifacts are streamed from git in one go.
func (t *Tree) Read(ctx context.Context, files []File, fn func(f File, rd io.Reader) error) error {
	var blobs []git.OID
	var artifacts []File
	for _, f := range files {
		if f.blob != "" {
			blobs, artifacts = append(blobs, f.blob), append(artifacts, f)
		}
	}
	g := t.published.Repository().Git
	if err := g.Blobs(ctx, blobs, func(i int, _ int64, rd io.Reader) error { return fn(artifacts[i], rd) }); err != nil {
		return err
	}
	for _, f := range files {
		if f.blob == "" {
			if err := fn(f, newReader(f.Data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Build writes the tree into two folders, which it makes where they are
// missing: metadata with the pages, and artifacts unless that is empty. Other
// files there are left alone. It is for a site that does not exist yet, so a
// crash may leave part of it; use it again to write the rest.
func (t *Tree) Build(ctx context.Context, metadataDir, artifactDir string) error {
	for _, dir := range []string{metadataDir, artifactDir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	var files []File
	made := map[string]bool{}
	for _, f := range t.files {
		if f.Class == Artifact && artifactDir == "" {
			continue
		}
		files = append(files, f)
		dir := filepath.Dir(filepath.Join(folder(f, metadataDir, artifactDir), filepath.FromSlash(f.Name)))
		if !made[dir] {
			made[dir] = true
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make folder for %s: %w", f.Name, err)
			}
		}
	}
	return t.Read(ctx, files, func(f File, rd io.Reader) error {
		return write(filepath.Join(folder(f, metadataDir, artifactDir), filepath.FromSlash(f.Name)), rd)
	})
}

func folder(f File, metadataDir, artifactDir string) string {
	if f.Class == Artifact {
		return artifactDir
	}
	return metadataDir
}

func write(name string, rd io.Reader) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, rd); err != nil {
		out.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return out.Close()
}

// How long caches may keep a file, by whether its name is its content's. The
// timestamp may be kept, but not shown without asking for a newer one.
const (
	forever    = "public, max-age=31536000, immutable"
	revalidate = "no-cache, max-age=60"
	briefly    = "public, max-age=300"
)

// upload is how a file is written.
func upload(f File, body io.Reader, was Version) Upload {
	u := Upload{Name: ObjectName(f), Size: f.Size, Body: body, Was: was, ContentType: "application/json", CacheControl: forever}
	switch f.Class {
	case Timestamp:
		u.CacheControl = revalidate
	case Page:
		u.CacheControl = briefly
	}
	switch ext := path.Ext(f.Name); {
	case f.Class == Artifact && ext != ".json":
		u.ContentType = "application/octet-stream"
	case ext == ".html":
		u.ContentType = "text/html; charset=utf-8"
	}
	return u
}
