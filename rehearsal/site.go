package rehearsal

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// timestampFile is the one file that is ever replaced.
const timestampFile = "metadata/timestamp.json"

// maxArtifact is the size, in bytes, up to which artifacts are downloaded in a
// rehearsal: clients hold them in memory.
const maxArtifact = 256 << 20

// site is what a web server would have: files by name, metadata/3.targets.json.
type site struct {
	git   *git.Repo
	files map[string]content
	asked map[string]bool // the names that somebody has asked for

	online map[string]*metadata.Document // the snapshot and timestamp that it has
}

// content is bytes, or a blob that is read when it is asked for.
type content struct {
	data []byte
	blob git.OID
}

func newSite(g *git.Repo) *site {
	return &site{git: g, files: map[string]content{}, asked: map[string]bool{}, online: map[string]*metadata.Document{}}
}

// clone is a site with the same files, to be published over.
func (s *site) clone() *site {
	return &site{git: s.git, files: maps.Clone(s.files), asked: map[string]bool{}, online: maps.Clone(s.online)}
}

// open reads a file. That there is none is [fs.ErrNotExist].
func (s *site) open(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil { // go-tuf knows no context
		return nil, err
	}
	s.asked[name] = true
	c, ok := s.files[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case c.blob != "":
		return s.git.BlobLimit(ctx, c.blob, maxArtifact)
	}
	return c.data, nil
}

// put publishes a file. It reports false where a file that caches may keep for
// good gets other bytes.
func (s *site) put(name string, data []byte) bool {
	old, ok := s.files[name]
	s.files[name] = content{data: data}
	return !ok || name == timestampFile || bytes.Equal(old.data, data)
}

// artifacts publishes what a targets role lists, under the names that clients
// ask for: one for each hash. A file that git does not have is not there.
func (s *site) artifacts(state *repository.State, doc *metadata.Document) {
	for target, entry := range doc.Targets() {
		file, ok := state.File(repository.ArtifactFile(target))
		if !ok || !file.Regular() {
			continue
		}
		for _, hash := range entry.Hashes {
			s.files[path.Join("targets", path.Dir(target), hash+"."+path.Base(target))] = content{blob: file.OID}
		}
	}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
