package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// play is the part of a rehearsal that goes from main's shadow to the event's.
type play struct {
	*run
	main  *shadow // nil where nothing could be published of main
	event *shadow

	changed map[string]bool     // the roles that the event changes, by file or by delegation
	site    *site               // main's
	was     time.Time           // when clients were at main's state: now, or before main expired
	listing map[string][]string // by path of an artifact: main's roles that list it
	lost    map[string]bool     // kinds that cannot even update to main's state
	found   map[string]bool     // kind + path: found now, so it must be found later
}

// act is a moment, and the roles whose dates it is about.
type act struct {
	moment
	roles []string
}

func (p *play) play(ctx context.Context) error {
	p.changed, p.listing, p.lost, p.found = map[string]bool{}, map[string][]string{}, map[string]bool{}, map[string]bool{}
	p.was = p.now
	p.site = newSite(p.git)
	if p.main != nil {
		for _, doc := range []*metadata.Document{p.main.root, p.main.roles[metadata.Targets]} {
			if doc.Expired(p.was) {
				p.was = doc.Expires().Add(-time.Second)
			}
		}
		if _, err := p.keys.publish(ctx, p.site, p.main, p.was); err != nil {
			return err
		}
		for _, role := range repository.SortRoles(sorted(p.main.roles)) {
			for path := range p.main.roles[role].Targets() {
				p.listing[path] = append(p.listing[path], role)
			}
		}
	}
	for _, role := range p.run.event.Changed() {
		p.changed[role] = true
	}
	for i, act := range p.acts() {
		s := p.site.clone()
		overwritten, err := p.keys.publish(ctx, s, p.event, act.at)
		if err != nil {
			return err
		}
		for _, name := range overwritten {
			if i == 0 {
				p.step(repository.Failed, "publish the event", "", act.moment, "%s would get other bytes under the same name, and whoever has it would not notice", name)
			}
		}
		for _, kind := range kinds {
			if err := p.update(ctx, kind, s, act, i == 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// document is the event's version of a role.
func (p *play) document(role string) *metadata.Document {
	if role == metadata.Root {
		return p.event.root
	}
	return p.event.roles[role]
}

// way lists a role and those through which clients come to it.
func (p *play) way(role string) []string {
	way := []string{metadata.Root, metadata.Targets}
	for range p.event.roles { // more than the longest way, where delegations go round
		d, ok := p.event.state.Delegation(role)
		if !ok || role == metadata.Root || role == metadata.Targets {
			break
		}
		way = append(way, role)
		role = d.By
	}
	return way
}

// maxActs bounds the moments of a rehearsal. Roles that expire last go without
// where it is reached.
const maxActs = 50

// acts are the moments of the rehearsal: now, and for each role that the event
// changes the half of what it has left to live and one day before it expires, as
// long as nothing else on the way to it must be renewed before. What lives for
// less than a day is tried tomorrow.
func (p *play) acts() []act {
	all := []act{{moment: p.present()}}
	index := map[time.Time]int{}
	var end *metadata.Document // what expires first, of what kept a moment from being tried
	ending, without := "", map[string]bool{}
	add := func(role, name string, at time.Time) {
		for _, other := range p.way(role) {
			if doc := p.document(other); other != role && doc != nil && doc.Expired(at) {
				if end == nil || doc.Expires().Before(end.Expires()) {
					end, ending = doc, other
				}
				return
			}
		}
		i, ok := index[at]
		switch {
		case !ok && len(all) == maxActs:
			without[role] = true
			return
		case !ok:
			i, index[at] = len(all), len(all)
			all = append(all, act{moment: moment{name, at}})
		}
		all[i].roles = append(all[i].roles, role)
	}
	for _, role := range p.byExpiry() {
		all[0].roles = append(all[0].roles, role)
		doc := p.document(role)
		left := doc.Expires().Sub(p.now)
		if left <= 0 {
			continue // it fails now
		}
		add(role, fmt.Sprintf("halfway to the expiry of %s v%d", role, doc.Version()), p.now.Add(left/2).Truncate(time.Second))
		if left < day {
			add(role, "one day from now", p.now.Add(day))
		} else {
			add(role, fmt.Sprintf("one day before %s v%d expires", role, doc.Version()), doc.Expires().Add(-day))
		}
	}
	if end != nil {
		p.result.Unproven = append(p.result.Unproven, fmt.Sprintf("anything from %s on, when %s v%d expires: it is to be renewed before",
			end.Expires().Format(metadata.TimeFormat), ending, end.Version()))
	}
	if len(without) > 0 {
		p.result.Unproven = append(p.result.Unproven, fmt.Sprintf("later moments of %s, those that expire last", count(len(without), "role")))
	}
	return all
}

// byExpiry lists the roles that the event changes and that clients come to: root
// and targets, then the others, which expires first first.
func (p *play) byExpiry() []string {
	roles := slices.DeleteFunc(repository.SortRoles(sorted(p.changed)), func(role string) bool { return p.document(role) == nil })
	first := 0 // of the others
	for first < len(roles) && (roles[first] == metadata.Root || roles[first] == metadata.Targets) {
		first++
	}
	slices.SortStableFunc(roles[first:], func(a, b string) int { return p.document(a).Expires().Compare(p.document(b).Expires()) })
	return roles
}

// update has two users of a kind update to the event: one who was at main's
// state, and one who has nothing but the event's root. Now, which comes first,
// the first of them who arrives also looks for all artifacts.
func (p *play) update(ctx context.Context, kind kind, s *site, a act, now bool) error {
	arrive := func(what string, u user) (bool, error) {
		err := u.refresh(ctx, s, a.at)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil {
			err = p.arrived(u, s)
		}
		if err != nil {
			p.failure(what, kind.name, a.moment, err, "%s", words(err))
			return false, nil
		}
		p.step(repository.OK, what, kind.name, a.moment, "%s", versions(u))
		return true, p.look(ctx, kind, u, a)
	}
	var before map[string]artifact
	if p.main != nil && !p.lost[kind.name] {
		const what = "update from main's state"
		u, err := kind.user(p.main.root.Raw(), p.folder())
		if err == nil {
			err = u.refresh(ctx, p.site, p.was)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			p.lost[kind.name] = true
			p.step(repository.NotYet, what, kind.name, a.moment, "the client cannot update to main as it is either: %s", words(err))
		default:
			if now {
				if before, err = p.readable(ctx, u); err != nil {
					return err
				}
			}
			ok, err := arrive(what, u)
			if err != nil {
				return err
			}
			if ok && now {
				now = false
				if err := p.artifacts(ctx, kind, u, a, before); err != nil {
					return err
				}
			}
		}
	}
	const what = "update with an empty cache"
	u, err := kind.user(p.event.root.Raw(), "")
	if err != nil {
		p.failure(what, kind.name, a.moment, err, "%s", words(err))
		return nil
	}
	ok, err := arrive(what, u)
	if ok && err == nil && now {
		err = p.artifacts(ctx, kind, u, a, before)
	}
	return err
}

// arrived reports whether a user has what the event brings, and not merely
// something that verifies.
func (p *play) arrived(u user, s *site) error {
	var wrong []string
	for role, doc := range map[string]*metadata.Document{
		metadata.Root: p.event.root, metadata.Targets: p.event.roles[metadata.Targets],
		metadata.Snapshot: s.online[metadata.Snapshot], metadata.Timestamp: s.online[metadata.Timestamp],
	} {
		if got := u.version(role); got != doc.Version() {
			wrong = append(wrong, fmt.Sprintf("%s v%d instead of v%d", role, got, doc.Version()))
		}
	}
	if wrong != nil {
		return errors.New("it succeeds, but with " + strings.Join(wrong, ", "))
	}
	return nil
}

// look has a user look into the roles of an act, by a path that leads there.
func (p *play) look(ctx context.Context, kind kind, u user, a act) error {
	for _, role := range a.roles {
		path := p.probe(role)
		if path == "" {
			continue
		}
		_, err := u.find(ctx, path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			p.found[kind.name+" "+path] = true
		case errors.Is(err, errNotFound) && !p.found[kind.name+" "+path]:
		default:
			p.failure("look into "+role, kind.name, a.moment, err, "%s: %s", path, words(err))
		}
	}
	return nil
}

// probe is a path that leads clients to a role: one that it lists, else one that
// is made up from its patterns; "" where there is none.
func (p *play) probe(role string) string {
	if role == metadata.Root {
		return ""
	}
	for _, path := range sorted(p.event.roles[role].Targets()) {
		return path
	}
	d, _ := p.event.state.Delegation(role)
	if role == metadata.Targets {
		return ""
	}
	for _, pattern := range d.Paths {
		path := strings.NewReplacer("*", "rehearsal", "?", "x").Replace(pattern)
		if metadata.MatchPath(pattern, path) {
			return path
		}
	}
	return ""
}
