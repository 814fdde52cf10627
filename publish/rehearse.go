package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// site is what clients are shown in a rehearsal: metadata by its name at the
// destination. It is never written to once a client has seen it.
type site map[string][]byte

func (s site) with(name string, data []byte) site {
	next := make(site, len(s)+1)
	for n, d := range s {
		next[n] = d
	}
	next[name] = data
	return next
}

// user is somebody with a client that remembers what it has verified.
type user interface {
	refresh(ctx context.Context, from site, at time.Time) error
	version(role string) int64 // that the last refresh has verified; 0: none
	// find looks an artifact up in what the last refresh, which succeeded, came to;
	// that no role lists it is errUnlisted.
	find(ctx context.Context, path string) error
	expired(err error) bool // of find: a role has expired
}

// kind is a client program. user makes one that trusts a root; dir is a folder
// of its own, or "" for one that refreshes once, at this moment. A root that it
// cannot read is an error, here or at the first refresh.
type kind struct {
	name string
	user func(root []byte, dir string, at time.Time) (user, error)
}

var kinds = []kind{{"tufops-client", newOurs}, {"go-tuf", newTheirs}}

type ours struct {
	client *client.Client
	result *client.Result
	site   site
	now    time.Time
}

func newOurs(root []byte, _ string, _ time.Time) (user, error) {
	u := &ours{result: &client.Result{}}
	var err error
	u.client, err = client.New(client.Options{
		Root: root, MetadataURL: gotuf.Base + "metadata", Fetcher: u, Now: func() time.Time { return u.now },
	})
	return u, err
}

// Fetch implements [client.Fetcher].
func (u *ours) Fetch(_ context.Context, from string, _ int64) (io.ReadCloser, error) {
	parsed, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, ok := u.site[strings.TrimPrefix(parsed.Path, "/")]
	if !ok {
		return nil, &client.NotFoundError{URL: from}
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (u *ours) refresh(ctx context.Context, from site, at time.Time) (err error) {
	u.site, u.now = from, at
	u.result, err = u.client.Refresh(ctx)
	return err
}

func (u *ours) version(role string) int64 {
	switch role {
	case metadata.Root:
		return u.result.Root().Version
	case metadata.Timestamp:
		return u.result.Timestamp.Version
	case metadata.Snapshot:
		return u.result.Snapshot.Version
	}
	return u.result.Targets.Version
}

func (u *ours) find(ctx context.Context, path string) error {
	_, err := u.client.Target(ctx, path)
	if errors.As(err, new(*client.TargetNotFoundError)) {
		return errUnlisted
	}
	return err
}

func (u *ours) expired(err error) bool { return errors.As(err, new(*client.ExpiredError)) }

// theirs is go-tuf. Its updater serves one refresh; what the next one remembers
// lies in a folder.
type theirs struct {
	root   []byte
	dir    string
	client *gotuf.Client
	site   site
	ctx    context.Context // of the refresh under way: go-tuf knows none
}

func newTheirs(root []byte, dir string, at time.Time) (user, error) {
	u := &theirs{root: root, dir: dir}
	if dir != "" {
		return u, nil
	}
	return u, u.start(at)
}

func (u *theirs) start(at time.Time) (err error) {
	u.client, err = gotuf.New(gotuf.Options{Root: u.root, Now: at, Dir: u.dir, Open: func(name string) ([]byte, error) {
		if err := u.ctx.Err(); err != nil {
			return nil, err
		}
		data, ok := u.site[name]
		if !ok {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return data, nil
	}})
	return err
}

func (u *theirs) refresh(ctx context.Context, from site, at time.Time) error {
	u.ctx, u.site = ctx, from
	if u.dir != "" {
		if err := u.start(at); err != nil {
			return err
		}
	}
	return u.client.Refresh()
}

func (u *theirs) version(role string) int64 {
	if u.client == nil {
		return 0
	}
	return u.client.Version(role)
}

func (u *theirs) find(ctx context.Context, path string) error {
	u.ctx = ctx
	_, err := u.client.Target(path)
	if errors.Is(err, gotuf.ErrTargetNotFound) {
		return errUnlisted
	}
	return err
}

func (u *theirs) expired(err error) bool { return gotuf.Expired(err) }

// RehearsalError says that a client would fail with what was to be published.
// Nothing was written, or what clients go on with that stay at the live root.
type RehearsalError struct {
	Client string // whose: tufops-client or go-tuf
	From   string // where the client starts: a root, or the live state
	At     string // how far publishing is: "the end", or the file after which
	Err    error
	held   int64 // the root without which all else that clients read goes out; 0: nothing does
}

func (e *RehearsalError) Error() string {
	left := "nothing was written"
	if e.held > 0 {
		left = fmt.Sprintf("root version %d is held back, and what clients take without it goes out", e.held)
	}
	return fmt.Sprintf("rehearsal: %s, starting from %s, fails at %s: %s; %s", e.Client, e.From, e.At, words(e.Err), left)
}

func (e *RehearsalError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *RehearsalError) Hint() string {
	if errors.Is(e.Err, gotuf.ErrKeyType) {
		return "have a root signed without that key; if clients that are built with go-tuf may be left behind, name its type in key-types of " + repository.PolicyFile + " on main"
	}
	return "clients would fail the same way. See what the last merge changed, make an event that mends it, and run tufops online-sign"
}

// words are an error of a client without the address that it believed in.
func words(err error) string { return strings.ReplaceAll(err.Error(), gotuf.Base, "") }

// maxStarts bounds from how many roots clients walk, since the cost grows with
// the square: the oldest and the newest.
const maxStarts = 40

// rehearse lets clients update to what the plan makes of a destination, from
// memory and at the time of the commit's judgement: with the live state in their
// cache, and with nothing but a root. In between two writes it asks them wherever
// the live state serves clients now and what they fetch by a fixed name changes.
// A plan that replaces only the timestamp is tried from the newest root alone. With
// any other, clients that come from the newest root go on to the delegated roles,
// see [rehearsal.lookUp].
//
// What a client could not do with the live state either is not held against the
// plan.
func (p *publisher) rehearse(ctx context.Context, l *live, pl *plan) error {
	now := p.published().At()
	p.report.Rehearsed, p.report.LookedUp = 0, 0
	stages := p.stages(l, pl)
	if len(stages) == 0 {
		return nil // only pages
	}
	before, was := p.liveSite(l, now)
	r := &rehearsal{publisher: p, live: l, plan: pl, now: now, before: before, was: was, stages: stages, full: !pl.timestampOnly()}
	if l.recovered {
		r.before = nil // who has seen it is lost, as the person has said
	}
	for _, k := range kinds {
		err := r.play(ctx, k)
		if errors.Is(err, gotuf.ErrKeyType) {
			err = p.excuse(ctx, k, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// excuse turns a client's failure on a key of a type that it does not know into a
// note, where the policy of the commit names such a type: its maintainers have
// given that client up. A policy that cannot be read excuses nothing.
func (p *publisher) excuse(ctx context.Context, k kind, failure error) error {
	policy, err := p.published().Repository().Policy(ctx, p.published().Commit())
	if unusable := (*repository.PolicyError)(nil); err != nil && !errors.As(err, &unusable) {
		return fmt.Errorf("rehearsal: %w", err)
	}
	if err != nil || !policy.AllowsNew() {
		return failure
	}
	p.note(NoteNotRehearsed, "%s cannot update: a role lists a key of a type that it does not know, which key-types in %s allows; whoever uses it is left behind", k.name, repository.PolicyFile)
	return nil
}

type rehearsal struct {
	*publisher
	live   *live
	plan   *plan
	now    time.Time
	before site // nil: no client can update to what is live
	// beforeRoles is before with the delegated roles, as far as they are there;
	// nil until somebody asks.
	beforeRoles site
	was         time.Time // when clients have updated to it: now, or before it expired
	stages      []stage
	full        bool
}

// stage is what clients see after a write.
type stage struct {
	after  string
	site   site
	window bool // clients are known to fail here: see [NoteWindow]
}

// stages are the states after each write that changes what a client without a
// cache asks for by a name that it knows. The last is the end.
func (p *publisher) stages(l *live, pl *plan) []stage {
	s := site{}
	for _, root := range l.roots {
		s[metadataFolder+versioned(metadata.Root, root)] = root.Raw()
	}
	if l.timestamp.version != "" {
		s[metadataFolder+"timestamp.json"] = l.timestamp.data
	}
	for _, doc := range []*metadata.Document{l.snapshot, l.targets} {
		if doc != nil {
			s[metadataFolder+versioned(doc.Type(), doc)] = doc.Raw()
		}
	}
	// What is there already, and what never changes: clients find it or do not
	// ask for it.
	for _, f := range p.tree.files {
		if f.Class == TargetsRole || f.Class == Snapshot {
			s[ObjectName(f)] = f.Data
		}
	}
	var stages []stage
	writes := false
	for _, f := range pl.files {
		name := ObjectName(f)
		writes = writes || f.Class != Page
		_, again := l.resigned[name]
		if f.Class == Root || f.Class == Timestamp || again {
			s = s.with(name, f.Data)
			stages = append(stages, stage{after: name, site: s, window: pl.window && f.Class == Root})
		}
	}
	switch n := len(stages); {
	case n > 0:
		stages[n-1].after = "the end"
	case writes:
		stages = append(stages, stage{after: "the end", site: s})
	}
	return stages
}

// liveSite is what clients see now, and a moment at which it has not expired;
// nil if it serves nobody.
func (p *publisher) liveSite(l *live, now time.Time) (site, time.Time) {
	if l.root() == nil || l.valid == nil || l.snapshot == nil || l.targets == nil {
		return nil, now
	}
	s := site{}
	for _, root := range l.roots {
		s[metadataFolder+versioned(metadata.Root, root)] = root.Raw()
	}
	s[metadataFolder+"timestamp.json"] = l.timestamp.data
	for _, doc := range []*metadata.Document{l.snapshot, l.targets} {
		s[metadataFolder+versioned(doc.Type(), doc)] = doc.Raw()
	}
	was := now
	for _, doc := range []*metadata.Document{l.root(), l.valid, l.snapshot, l.targets} {
		if before := doc.Expires().Add(-time.Second); before.Before(was) {
			was = before
		}
	}
	return s, was
}

func (r *rehearsal) play(ctx context.Context, k kind) error {
	end := r.stages[len(r.stages)-1]
	roots, users, err := r.starts(k)
	if len(users) == 0 {
		return r.failed(ctx, k, roots[0], end, err)
	}
	for i, u := range users {
		err := u.refresh(ctx, end.site, r.now)
		if err == nil {
			err = r.arrived(u)
		}
		if err != nil {
			if err = r.failed(ctx, k, roots[i], end, err); err != nil {
				return err
			}
			continue
		}
		r.report.Rehearsed++
		if i == 0 && r.full {
			if err := r.lookUp(ctx, k, u, roots[i], end); err != nil {
				return err
			}
		}
	}
	if r.before == nil {
		return nil
	}
	if err := r.warm(ctx, k, r.stages[len(r.stages)-1:]); err != nil {
		return err
	}
	if len(r.stages) == 1 || !r.was.Equal(r.now) {
		return nil
	}
	if err := r.warm(ctx, k, r.stages); err != nil {
		return err
	}
	// Whoever comes with nothing but the live root while it is being written.
	anchor := r.liveRoot()
	for _, s := range r.stages[:len(r.stages)-1] {
		if s.window {
			continue
		}
		u, err := k.user(anchor.Raw(), "", r.now)
		if err == nil {
			err = u.refresh(ctx, s.site, r.now)
		}
		if err != nil {
			if err = r.failed(ctx, k, anchor, s, err); err != nil {
				return err
			}
			continue
		}
		r.report.Rehearsed++
	}
	return nil
}

func (r *rehearsal) liveRoot() *metadata.Document {
	var root *metadata.Document
	for _, one := range r.published().Roots() {
		if _, there := r.before[metadataFolder+versioned(metadata.Root, one.Document)]; there {
			root = one.Document
		}
	}
	return root
}

// starts are the roots that a client program can begin with, newest first, and a
// user for each: it can read that one and all that follow. Where only the timestamp
// changes the newest will do. If it cannot read even that the error says why.
func (r *rehearsal) starts(k kind) (roots []*metadata.Document, users []user, err error) {
	all := slices.DeleteFunc(slices.Clone(r.published().Roots()), func(one repository.RootFileVersion) bool {
		return one.Document.Version() > r.plan.root.Version()
	})
	newest := r.plan.root
	for i := len(all) - 1; i >= 0 && newest.Version()-all[i].Document.Version() <= client.MaxRootRotations; i-- {
		u, err := k.user(all[i].Document.Raw(), "", r.now)
		if err != nil {
			if len(users) == 0 {
				return []*metadata.Document{newest}, nil, err
			}
			break
		}
		roots, users = append(roots, all[i].Document), append(users, u)
		if !r.full {
			break
		}
	}
	if n := len(users); n > maxStarts {
		roots, users = append(roots[:maxStarts-1], roots[n-1]), append(users[:maxStarts-1], users[n-1])
	}
	return roots, users, nil
}

// warm lets a client that has the live state in its cache go through stages. A
// client that cannot even update to the live state has nothing to lose.
func (r *rehearsal) warm(ctx context.Context, k kind, stages []stage) error {
	dir, err := os.MkdirTemp("", "tufops-rehearsal-")
	if err != nil {
		return fmt.Errorf("rehearsal: %w", err)
	}
	defer os.RemoveAll(dir)
	u, err := k.user(r.liveRoot().Raw(), dir, r.was)
	if err == nil {
		err = u.refresh(ctx, r.before, r.was)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.note(NoteNotRehearsed, "%s cannot update to what is live: %s", k.name, words(err))
		return nil
	}
	for i, s := range stages {
		if s.window {
			continue
		}
		err := u.refresh(ctx, s.site, r.now)
		if err == nil && i == len(stages)-1 {
			err = r.arrived(u)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return &RehearsalError{Client: k.name, At: s.after, Err: err, From: "the live state"}
		}
		r.report.Rehearsed++
	}
	return nil
}

// arrived reports whether a client has what is published, and not merely
// something that verifies.
func (r *rehearsal) arrived(u user) error {
	var wrong []string
	docs := []*metadata.Document{r.plan.root, r.published().Timestamp(), r.published().Snapshot()}
	for _, role := range r.published().Roles() {
		if role.Role == metadata.Targets {
			docs = append(docs, role.Document)
		}
	}
	for _, doc := range docs {
		if got := u.version(doc.Type()); got != doc.Version() {
			wrong = append(wrong, fmt.Sprintf("%s version %d instead of %d", doc.Type(), got, doc.Version()))
		}
	}
	if wrong != nil {
		return errors.New("it ends with " + strings.Join(wrong, ", "))
	}
	return nil
}

// failed judges a failure from a root: it counts, unless the same client cannot
// update to what is live from there.
func (r *rehearsal) failed(ctx context.Context, k kind, root *metadata.Document, at stage, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, there := r.before[metadataFolder+versioned(metadata.Root, root)]; there {
		u, before := k.user(root.Raw(), "", r.was)
		if before == nil {
			before = u.refresh(ctx, r.before, r.was)
		}
		if before != nil && ctx.Err() == nil {
			r.note(NoteNotRehearsed, "%s cannot update from root version %d (%s), nor could it to what was live before", k.name, root.Version(), words(err))
			return nil
		}
	}
	return &RehearsalError{Client: k.name, From: fmt.Sprintf("root version %d", root.Version()), At: at.after, Err: err}
}

// ExpiryError says that something expires soon, where the caller wanted that to
// count. Nothing was written.
type ExpiryError struct{ Alerts []string }

func (e *ExpiryError) Error() string {
	return strings.Join(e.Alerts, "; ") + " (--strict: nothing was written)"
}

// Hint says what to do.
func (e *ExpiryError) Hint() string {
	return "have new versions signed: tufops create-signing-events, then tufops-sign sign. Without --strict this is an alert that keeps nothing from being published"
}

// alert tells of what people must sign soon. That is never a reason to withhold
// what is valid now: a fresh timestamp over a root that has three weeks to live
// serves clients for three weeks.
func (p *publisher) alert() error {
	timestamp := p.published().Timestamp()
	var alerts []string
	for _, r := range p.tree.status.Roles {
		top := slices.Contains(metadata.TopLevel, r.Role)
		switch {
		case r.Expired:
			continue // a finding of its own
		case top && r.Role != metadata.Timestamp && r.Expires.Before(timestamp.Expires()):
			alerts = append(alerts, fmt.Sprintf("%s version %d expires on %s, before the timestamp does (%s): clients fail from then on",
				r.Role, r.Version, r.Expires.Format(metadata.TimeFormat), timestamp.Expires().Format(metadata.TimeFormat)))
		case r.Signing && !r.Online:
			alerts = append(alerts, fmt.Sprintf("%s version %d expires on %s, and its signing period has begun", r.Role, r.Version, r.Expires.Format(metadata.TimeFormat)))
		}
	}
	for _, a := range alerts {
		p.note(NoteExpiresSoon, "%s", a)
	}
	if p.options.Strict && len(alerts) > 0 {
		return &ExpiryError{Alerts: alerts}
	}
	return nil
}
