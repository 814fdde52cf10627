package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

const day = 24 * time.Hour

// Needed reports whether an event is one that a rehearsal can tell something
// about that people do not see in a diff: it changes root, or who may sign what.
func Needed(e *repository.Event) bool {
	for _, role := range e.Changed() {
		if role == metadata.Root || delegations(e.KnownGood, role) != delegations(e.Proposed, role) {
			return true
		}
	}
	return false
}

// delegations is what a role's file says of delegations.
func delegations(s *repository.State, role string) string {
	doc, err := s.Document(role)
	if err != nil {
		return ""
	}
	return string(metadata.Write(doc.Signed()["delegations"]))
}

// Judge rehearses an event and adds the result to its status. It fails only if
// ctx ends: a rehearsal that cannot be held is a warning in the status.
func Judge(ctx context.Context, e *repository.Event, s *repository.Status, now time.Time) error {
	r := Run(ctx, e, now)
	if ctx.Err() != nil {
		return fmt.Errorf("rehearse event %s: %w", e.Name, ctx.Err())
	}
	s.AddRehearsal(r)
	return nil
}

// Run rehearses what merging an event now would give. It always has an answer;
// what keeps it from going on, a fault of its own included, is its Trouble.
func Run(ctx context.Context, e *repository.Event, now time.Time) (result *repository.Rehearsal) {
	r := &run{
		event: e, now: now.UTC(), git: e.Tip.Repository().Git, keys: newKeyring(),
		result: &repository.Rehearsal{Steps: []repository.RehearsalStep{}, Unproven: []string{}},
	}
	defer func() {
		if p := recover(); p != nil {
			r.result.Trouble = fmt.Sprint(p)
		}
		result = r.result
	}()
	var err error
	if r.dir, err = os.MkdirTemp("", "tufops-rehearsal-"); err == nil {
		defer os.RemoveAll(r.dir)
		if r.policy, err = e.Tip.Repository().Policy(ctx, e.Base); errors.As(err, new(*repository.PolicyError)) {
			err = nil // said by the status; it excuses nothing
		}
	}
	if err == nil {
		err = r.rehearse(ctx)
	}
	if err != nil {
		r.result.Trouble = err.Error()
	}
	return r.result
}

// run is one rehearsal. Its methods fail only where the rehearsal cannot go on.
type run struct {
	event  *repository.Event
	policy repository.Policy // main's
	now    time.Time
	git    *git.Repo
	dir    string // for the caches of clients
	dirs   int    // folders in it that are taken
	keys   *keyring
	result *repository.Rehearsal
}

// moment is a time with its name.
type moment struct {
	name string
	at   time.Time
}

// step notes how something ended. Where only its outcome is of interest,
// message may be empty.
func (r *run) step(outcome repository.Outcome, what, client string, m moment, format string, args ...any) {
	r.result.Steps = append(r.result.Steps, repository.RehearsalStep{
		What: what, Client: client, When: m.name, At: m.at, Outcome: outcome, Message: fmt.Sprintf(format, args...),
	})
}

// failure notes that a client fails. It says nothing against the event where the
// client does not know a type of keys and the policy names such a type: who uses
// that client has been given up.
func (r *run) failure(what, client string, m moment, err error, format string, args ...any) {
	outcome, message := repository.Failed, fmt.Sprintf(format, args...)
	if r.excused(err) {
		outcome, message = repository.NotYet, message+" (key-types in "+repository.PolicyFile+" allows keys that this client does not know)"
	}
	r.step(outcome, what, client, m, "%s", message)
}

func (r *run) excused(err error) bool {
	return errors.Is(err, gotuf.ErrKeyType) && r.policy.AllowsNew()
}

// folder is a new place for a client's cache.
func (r *run) folder() string {
	r.dirs++
	return filepath.Join(r.dir, fmt.Sprint(r.dirs))
}

func (r *run) present() moment { return moment{"now", r.now} }

func (r *run) rehearse(ctx context.Context) error {
	e := r.event
	var why string
	switch {
	case len(e.Changed()) == 0:
		why = "the event changes no role"
	case e.Merged == nil:
		why = "merging the event into its base branch conflicts in " + strings.Join(e.Conflicts, ", ")
	case len(e.Invites) > 0:
		var owners []string
		for _, one := range e.Invites {
			owners = append(owners, one.Owner)
		}
		why = "the keys of those who are invited are awaited: " + strings.Join(owners, ", ")
	}
	if why != "" {
		r.step(repository.NotYet, "rehearse the event", "", r.present(), "%s", why)
		return nil
	}
	if err := r.chain(ctx); err != nil {
		return err
	}
	return r.shadows(ctx)
}

// lacks says how many signatures a document lacks by a delegation; "" for none.
func lacks(d metadata.Delegation, doc *metadata.Document, by string) string {
	if q := metadata.Check(d, doc); !q.Met() {
		return fmt.Sprintf("%s has %d of %d signatures%s", d.Role, q.Count, q.Threshold, by)
	}
	return ""
}

// maxStarts bounds from how many roots clients walk, since the cost grows with
// the square: the oldest and the newest.
const maxStarts = 40

// chain has clients walk from every root in history to the proposed root: real
// bytes, real signatures.
func (r *run) chain(ctx context.Context) error {
	tip, merged := r.event.Tip, r.event.Merged
	a, _ := tip.File(repository.MetadataFile(metadata.Root))
	b, _ := merged.File(repository.MetadataFile(metadata.Root))
	same := slices.Equal(tip.Files("metadata/root_history"), merged.Files("metadata/root_history"))
	if same && a.OID == b.OID {
		return nil
	}
	const what = "walk from every root in history to the proposed root"
	notYet := func(format string, args ...any) error {
		r.step(repository.NotYet, what, "", r.present(), format, args...)
		return nil
	}
	root, err := merged.Document(metadata.Root)
	if err != nil {
		return notYet("%v", err)
	}
	d, _ := root.Delegation(metadata.Root)
	lack := lacks(d, root, "")
	known, knownErr := tip.Document(metadata.Root)
	if knownErr == nil && lack == "" {
		d, _ := known.Delegation(metadata.Root)
		lack = lacks(d, root, fmt.Sprintf(" by the delegation of root version %d", known.Version()))
	}
	if lack != "" {
		r.result.Unproven = append(r.result.Unproven, fmt.Sprintf("the signatures of root v%d, as long as they are not there", root.Version()))
		return notYet("%s", lack)
	}
	var starts []int64
	for _, v := range merged.RootVersions() {
		if v <= root.Version() {
			starts = append(starts, v)
		}
	}
	if n := len(starts) - maxStarts; n > 0 {
		r.result.Unproven = append(r.result.Unproven, fmt.Sprintf("the way from %s, v%d to v%d, which clients that start from root v%d pass", count(n, "root"), starts[1], starts[n], starts[0]))
		starts = append(starts[:1:1], starts[1+n:]...)
	}
	for _, kind := range kinds {
		walked := 0
		for _, from := range starts {
			err := r.walk(ctx, kind, merged, from, root.Version())
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				walked++
				continue
			}
			one := fmt.Sprintf("walk from root v%d to root v%d", from, root.Version())
			if knownErr == nil && from <= known.Version() && r.walk(ctx, kind, tip, from, known.Version()) != nil {
				r.step(repository.NotYet, one, kind.name, r.present(), "the client does not reach root v%d of main from there either: %s", known.Version(), words(err))
				continue
			}
			r.failure(one, kind.name, r.present(), err, "%s", words(err))
		}
		if walked > 0 {
			r.step(repository.OK, what, kind.name, r.present(), "%s, to root v%d", count(walked, "starting point"), root.Version())
		}
	}
	return nil
}

// walk has a client that trusts one real root look for the newest of a state.
func (r *run) walk(ctx context.Context, kind kind, state *repository.State, from, to int64) error {
	s := newSite(r.git)
	for _, v := range state.RootVersions() {
		file, _ := state.File(repository.RootFile(v))
		s.files[fmt.Sprintf("metadata/%d.root.json", v)] = content{blob: file.OID}
	}
	anchor, err := s.open(ctx, fmt.Sprintf("metadata/%d.root.json", from))
	if err != nil {
		return err
	}
	u, err := kind.user(anchor, "")
	if err != nil {
		return err
	}
	// There is no timestamp: to be asked for it is the end of the way.
	err = u.refresh(ctx, s, r.now)
	switch got := u.version(metadata.Root); {
	case !s.asked[timestampFile] && err != nil:
		return err
	case got != to:
		return fmt.Errorf("it ends at root v%d", got)
	}
	return nil
}

// shadows has clients go from main's shadow to the event's.
func (r *run) shadows(ctx context.Context) error {
	e := r.event
	const what = "update to the event"
	if _, err := document(ctx, e.Merged, metadata.Root); err != nil {
		r.step(repository.NotYet, what, "", r.present(), "%v", err)
		return ctx.Err()
	}
	why, err := r.unready(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		r.step(repository.NotYet, what, "", r.present(), "%s", why)
		return nil
	}
	p := &play{run: r}
	if _, err := e.Tip.Document(metadata.Root); err == nil {
		if p.main, err = r.keys.newShadow(ctx, e.Tip, nil); err != nil {
			return err
		}
		if p.main.roles[metadata.Targets] == nil {
			p.main = nil // nothing can be published of it
		}
	}
	if p.event, err = r.keys.newShadow(ctx, e.Merged, p.main); err != nil {
		return err
	}
	if err := p.play(ctx); err != nil {
		return err
	}
	r.result.Unproven = append(r.result.Unproven, "the snapshot and the timestamp that are signed after the merge, with the real online keys")
	return nil
}

// unready says why clients could not go on with the event whatever it holds: a
// targets role lacks signatures, or what the event leaves as it is has expired.
func (r *run) unready(ctx context.Context) (why string, err error) {
	e := r.event
	roles := []string{metadata.Targets}
	for _, role := range e.Changed() {
		if role != metadata.Root && role != metadata.Targets {
			roles = append(roles, role)
		}
	}
	var all []string
	for _, role := range roles {
		doc, err := document(ctx, e.Merged, role)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		for _, d := range e.Merged.Delegations(role) {
			if err != nil {
				all = append(all, err.Error())
			} else if lack := lacks(d.Delegation, doc, ""); lack != "" {
				all = append(all, lack)
			} else {
				continue
			}
			break
		}
	}
	for _, role := range []string{metadata.Root, metadata.Targets} {
		doc, err := document(ctx, e.Merged, role)
		if err == nil && doc.Expired(r.now) && !slices.Contains(e.Changed(), role) {
			all = append(all, fmt.Sprintf("%s v%d, which the event does not change, expired at %s", role, doc.Version(), doc.Expires().Format(metadata.TimeFormat)))
		}
	}
	return strings.Join(all, "; "), nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
