package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"

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
	// Artifacts first, then roles, then snapshots: what leads to a file goes after
	// it, so that a run which is stopped leaves nothing that the next one does not
	// find.
	for _, name := range g {
		rd, v, err := p.from.Get(ctx, name)
		if err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		rd.Close()
		if err := remover.Delete(ctx, name, v); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		p.report.Prune.Deleted++
		p.report.Changed = true
	}
	return nil
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
	live, err := p.get(ctx, metadataFolder+"timestamp.json", client.TimestampMaxLength)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(live.data, p.published().Timestamp().Raw()) {
		return nil, errors.New("another publisher was faster; run it again")
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
