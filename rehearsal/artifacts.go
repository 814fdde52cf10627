package rehearsal

import (
	"context"
	"errors"
	"fmt"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// maxListed bounds how many artifacts a step names that failed with each of
// them.
const maxListed = 10

// readable lists what a user can find in main's state, of all that it lists.
// What cannot be found for whatever reason was not readable.
func (p *play) readable(ctx context.Context, u user) (map[string]artifact, error) {
	found := map[string]artifact{}
	for path := range p.listing {
		a, err := u.find(ctx, path)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			found[path] = a
		}
	}
	return found, nil
}

// kept lists what an artifact that could be read from main may be now, by what
// its role lists; nothing where the event means it to be gone: its role does not
// list it any more, or has no file any more.
func (p *play) kept(ctx context.Context, path string, was artifact, at moment) (roles []string, list []metadata.TargetFile) {
	for _, role := range p.listing[path] {
		if !was.is(p.main.roles[role].Targets()[path]) {
			continue
		}
		doc := p.event.roles[role]
		if doc == nil { // it need not be delegated to any more
			doc, _ = document(ctx, p.event.state, role)
		}
		if doc == nil || doc.Type() != metadata.Targets || doc.Expired(at.at) && !p.changed[role] {
			continue
		}
		if entry, ok := doc.Targets()[path]; ok {
			roles, list = append(roles, role), append(list, entry)
		}
	}
	return roles, list
}

// artifacts has a user, who has updated to the event, look for every artifact
// that could be read before and that the event does not remove, and for all that
// it adds or changes; these the user downloads.
func (p *play) artifacts(ctx context.Context, kind kind, u user, a act, before map[string]artifact) error {
	read := tally{play: p, client: kind.name, at: a.moment, verb: "read", of: "artifact that could be read from main"}
	for _, path := range sorted(before) {
		roles, want := p.kept(ctx, path, before[path], a.moment)
		if len(want) == 0 {
			continue
		}
		got, err := u.find(ctx, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case p.excused(err):
			read.notYet(path, "key-types in %s allows keys that this client does not know: %s", repository.PolicyFile, words(err))
		case err != nil:
			read.failed(path, "it could be read from main, and %s still lists it: %s", roles[0], words(err))
		case !anyOf(got, want):
			read.failed(path, "%s", other(got, roles[0], want[0]))
		default:
			read.ok++
		}
	}
	read.done()

	get := tally{play: p, client: kind.name, at: a.moment, verb: "download", of: "artifact that the event adds or changes"}
	for _, role := range repository.SortRoles(sorted(p.event.roles)) {
		blind := p.blind(role, before)
		for _, path := range p.news(role) {
			entry := p.event.roles[role].Targets()[path]
			got, err := u.find(ctx, path)
			if err == nil && !got.is(entry) {
				err = errors.New(other(got, role, entry))
			}
			large := entry.Length > maxArtifact
			if err == nil && !large {
				err = u.download(ctx, path)
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil && large:
				get.notYet(path, "with %d bytes it is too large to be downloaded here", entry.Length)
			case err == nil:
				get.ok++
			case p.excused(err):
				get.notYet(path, "key-types in %s allows keys that this client does not know: %s", repository.PolicyFile, words(err))
			case blind:
				get.notYet(path, "the client could not read any artifact of %s from main either: %s", role, words(err))
			default:
				get.failed(path, "%s lists it: %s", role, words(err))
			}
		}
	}
	get.done()
	return nil
}

// other says that clients get another file than the one that a role lists.
func other(got artifact, role string, want metadata.TargetFile) string {
	facts := func(length int64, hashes map[string]string) string {
		text := count(int(length), "byte")
		for _, algorithm := range sorted(hashes) {
			text += fmt.Sprintf(", %s %.12s", algorithm, hashes[algorithm])
		}
		return text
	}
	return fmt.Sprintf("clients get another file (%s) than %s lists (%s)", facts(got.length, got.hashes), role, facts(want.Length, want.Hashes))
}

func anyOf(a artifact, list []metadata.TargetFile) bool {
	for _, t := range list {
		if a.is(t) {
			return true
		}
	}
	return false
}

// news lists the artifacts that the event adds to a role or changes, sorted.
func (p *play) news(role string) (list []string) {
	now := p.event.roles[role].Targets()
	var before map[string]metadata.TargetFile
	if p.main != nil && p.main.roles[role] != nil {
		before = p.main.roles[role].Targets()
	}
	for _, path := range sorted(now) {
		old, ok := before[path]
		same := ok && string(metadata.Write(old.Object)) == string(metadata.Write(now[path].Object))
		if same {
			a, _ := p.main.state.File(repository.ArtifactFile(path))
			b, _ := p.event.state.File(repository.ArtifactFile(path))
			same = a.OID == b.OID
		}
		if !same {
			list = append(list, path)
		}
	}
	return list
}

// blind reports whether a client could read nothing of what a role lists on
// main, as go-tuf can of a role behind path_hash_prefixes.
func (p *play) blind(role string, before map[string]artifact) bool {
	if before == nil || p.main.roles[role] == nil {
		return false
	}
	listed := p.main.roles[role].Targets()
	for path, entry := range listed {
		if was, ok := before[path]; ok && was.is(entry) {
			return false
		}
	}
	return len(listed) > 0
}

// tally counts what went well and makes a step for each thing that did not, up
// to a bound.
type tally struct {
	play         *play
	client       string
	at           moment
	verb, of     string
	ok, bad, not int
}

func (t *tally) failed(path, format string, args ...any) {
	if t.bad++; t.bad <= maxListed {
		t.play.step(repository.Failed, t.verb+" "+path, t.client, t.at, format, args...)
	}
}

func (t *tally) notYet(path, format string, args ...any) {
	if t.not++; t.not <= maxListed {
		t.play.step(repository.NotYet, t.verb+" "+path, t.client, t.at, format, args...)
	}
}

func (t *tally) done() {
	more := func(o repository.Outcome, n int) {
		if n > maxListed {
			t.play.step(o, fmt.Sprintf("%s %s like these", t.verb, count(n-maxListed, "more artifact")), t.client, t.at, "as above")
		}
	}
	more(repository.Failed, t.bad)
	more(repository.NotYet, t.not)
	if t.ok > 0 {
		t.play.step(repository.OK, t.verb+" each "+t.of, t.client, t.at, "%s", count(t.ok, "artifact"))
	}
}
