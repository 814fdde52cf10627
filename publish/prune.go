package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/metadata"
)

// Prune says what is done about files that no client can ask for any more.
type Prune int

// The ways to prune.
const (
	PruneNothing Prune = iota
	PruneList          // list them in the report
	PruneDelete        // list them and delete them
)

// CannotDeleteError says that a destination offers no way to delete.
type CannotDeleteError struct{ Names int }

func (e *CannotDeleteError) Error() string {
	return fmt.Sprintf("%d files could go, and this kind of destination offers no way to delete", e.Names)
}

// Hint says what to do.
func (e *CannotDeleteError) Hint() string {
	return "list them with --prune, and delete them by the means of the destination"
}

// prune lists what was published once and cannot be asked for any more, and
// deletes it if that is wanted.
//
// A client goes by what is signed and has not expired: so everything stays that
// a snapshot at the destination leads to, until that snapshot expires. Roots stay
// for good, since a client may begin at any. What no metadata there has ever
// listed stays too: it may be what another publisher has just begun with.
func (p *publisher) prune(ctx context.Context) error {
	g, err := p.garbage(ctx)
	if err != nil {
		return fmt.Errorf("look for what can go: %w", err)
	}
	p.report.Prune = &PruneReport{Files: append([]string{}, g...)}
	if p.options.Prune != PruneDelete || p.to == nil || len(g) == 0 {
		return nil
	}
	remover, ok := p.to.(Remover)
	if !ok {
		return &CannotDeleteError{Names: len(g)}
	}
	unmark, err := p.mark(ctx)
	if err != nil {
		return fmt.Errorf("delete %s: %w", plural(len(g), "file"), err)
	}
	// Artifacts first, then roles, then snapshots: what leads to a file goes after
	// it, so that a run which is stopped leaves nothing that the next one does not
	// find.
	for _, name := range g {
		if err := p.remove(ctx, remover, name); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		p.report.Prune.Deleted++
		p.report.Changed = true
	}
	return unmark(ctx)
}

// deleting is what a page for people begins with while files are deleted beside the
// timestamp that clients get: an ordinary run looks at everything where a page is
// not as it should be, so it puts back what a run that was killed has deleted, and
// not put back. A publisher that replaces this very timestamp leaves it there, since
// whoever deletes may be about to take away what it has just looked at.
const deleting = "<!-- files are deleted beside the timestamp with SHA-256 "

func besidePrune(timestamp []byte) string {
	return fmt.Sprintf("%s%x -->\n", deleting, sha256.Sum256(timestamp))
}

// mark has the page say that files are deleted. unmark puts back what was there.
func (p *publisher) mark(ctx context.Context) (unmark func(context.Context) error, err error) {
	const name = metadataFolder + indexName
	var size int64
	for _, f := range p.tree.files {
		if f.Class == Page && f.Name == indexName {
			size = maxPage(f)
		}
	}
	page, err := p.get(ctx, name, size)
	if err != nil {
		return nil, err
	}
	// Of another publisher, or gone: whoever runs next writes it.
	if page.version == "" || int64(len(page.data)) > size || bytes.HasPrefix(page.data, []byte(deleting)) {
		return nil, errOvertaken
	}
	put := func(data []byte, was Version) error {
		f := File{Class: Page, Name: indexName, Size: int64(len(data))}
		return p.to.Put(ctx, upload(f, bytes.NewReader(data), was))
	}
	marked := append([]byte(besidePrune(p.published().Timestamp().Raw())), page.data...)
	if err := put(marked, page.version); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return func(ctx context.Context) error {
		now, err := p.get(ctx, name, int64(len(marked)))
		if err != nil || !bytes.Equal(now.data, marked) {
			return err // somebody has written it anew
		}
		if err := put(page.data, now.version); err != nil && !errors.Is(err, ErrChanged) {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}, nil
}

// errOvertaken says that what can go was judged by a state that is over.
var errOvertaken = errors.New("another publisher was faster; run it again")

// remove deletes a file if ours is still the timestamp that clients get. Another
// publisher may be about to list the file again, so the timestamp is read once more
// after it: where theirs came in between, the file is put back. Where it comes
// later they look themselves, see [publisher.stillThere].
func (p *publisher) remove(ctx context.Context, remover Remover, name string) error {
	rd, version, err := p.from.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer rd.Close()
	data, err := io.ReadAll(rd)
	if err != nil {
		return err
	}
	if err := p.ours(ctx); err != nil {
		return err
	}
	if err := remover.Delete(ctx, name, version); err != nil {
		return err
	}
	late := p.ours(ctx)
	if late == nil {
		return nil
	}
	f := File{Class: TargetsRole, Name: strings.TrimPrefix(name, metadataFolder), Size: int64(len(data))}
	if artifact, ok := strings.CutPrefix(name, targetsFolder); ok {
		f.Class, f.Name = Artifact, artifact
	}
	if err := p.to.Put(ctx, upload(f, bytes.NewReader(data), "")); err != nil && !errors.Is(err, ErrChanged) {
		return fmt.Errorf("%w; it could not be put back, and the next run does so if they list it: %w", late, err)
	}
	return late
}

// ours fails unless ours is the timestamp that clients get.
func (p *publisher) ours(ctx context.Context) error {
	live, err := p.get(ctx, metadataFolder+"timestamp.json", client.TimestampMaxLength)
	if err == nil && !bytes.Equal(live.data, p.published().Timestamp().Raw()) {
		err = errOvertaken
	}
	return err
}

var roleFile = regexp.MustCompile(`^metadata/([1-9][0-9]{0,17})\.(.+)\.json$`)

// garbage lists what can go, in the order in which it is to go.
func (p *publisher) garbage(ctx context.Context) ([]string, error) {
	there := map[string]bool{}
	for _, folder := range []string{metadataFolder, targetsFolder} {
		objects, err := p.from.List(ctx, folder)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			there[o.Name] = true
		}
	}
	keep := map[string]bool{}
	newest := map[string]int64{metadata.Snapshot: p.published().Snapshot().Version()}
	for _, f := range p.tree.files {
		keep[ObjectName(f)] = true
	}
	for _, r := range p.published().Roles() {
		newest[r.Role] = r.Document.Version()
	}

	// What is there of old versions.
	old := map[string]*metadata.Document{}
	var snapshots, roles []string
	for _, name := range slices.Sorted(maps.Keys(there)) {
		m := roleFile.FindStringSubmatch(name)
		if m == nil || keep[name] || m[2] == metadata.Root {
			continue
		}
		o, err := p.get(ctx, name, client.TargetsMaxLength)
		if err != nil {
			return nil, err
		}
		doc, err := metadata.Parse(o.data)
		version, _ := strconv.ParseInt(m[1], 10, 64)
		switch ours, known := newest[m[2]]; {
		case err != nil || doc.Version() != version || known && version > ours:
			continue // not ours, or newer than ours
		case m[2] == metadata.Snapshot && doc.Type() == metadata.Snapshot:
			snapshots = append(snapshots, name)
		case m[2] != metadata.Snapshot && doc.Type() == metadata.Targets:
			roles = append(roles, name)
		default:
			continue
		}
		old[name] = doc
	}

	// What clients can still come to.
	if err := p.ours(ctx); err != nil {
		return nil, err
	}
	listed := map[string]bool{} // once published, and not merely uploaded
	for _, name := range snapshots {
		alive := !old[name].Expired(p.published().At())
		keep[name] = alive
		for file, meta := range old[name].Meta() {
			role := fmt.Sprintf("%s%d.%s", metadataFolder, meta.Version, file)
			listed[role] = true
			keep[role] = keep[role] || alive
		}
	}
	roles = slices.DeleteFunc(roles, func(name string) bool { return !listed[name] })
	for _, name := range roles {
		if keep[name] {
			for artifact := range artifactNames(old[name]) {
				keep[artifact] = true
			}
		}
	}

	gone := map[string]bool{}
	for _, name := range roles {
		for artifact := range artifactNames(old[name]) {
			if there[artifact] && !keep[artifact] {
				gone[artifact] = true
			}
		}
	}
	list := slices.Sorted(maps.Keys(gone))
	for _, name := range slices.Concat(roles, snapshots) {
		if !keep[name] {
			list = append(list, name)
		}
	}
	return list, nil
}

// artifactNames are the names of all files that a role lists.
func artifactNames(doc *metadata.Document) map[string]bool {
	names := map[string]bool{}
	for target, entry := range doc.Targets() {
		for _, hash := range entry.Hashes {
			names[targetsFolder+path.Join(path.Dir(target), hash+"."+path.Base(target))] = true
		}
	}
	return names
}
