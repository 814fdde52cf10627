package signingevent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

// StatusContext names the commit status that the bot sets. It is a convenience:
// nothing ever reads it for a verdict.
const StatusContext = "tufops/signing-event"

// DraftLabel marks the pull request of an event that is not complete where the
// forge has no drafts.
const DraftLabel = "signing event: not complete"

// templates are files on the base branch whose Markdown a new pull request ends
// with; the first that is there counts. The second is tuf-on-ci's.
var templates = []string{".github/TUFOPS_TEMPLATE/signing_event.md", ".github/PULL_REQUEST_TEMPLATE/signing_event.md"}

// maxTemplate bounds a template, in bytes.
const maxTemplate = 20_000

// DriveOptions say what [Drive] is to work on.
type DriveOptions struct {
	Options

	// Base is the branch that events are merged into, as a revision: "origin/main",
	// or "main" where there is no remote.
	Base string

	// Forge is where people talk about the event; nil for plain git.
	Forge Forge

	// Workflow is the file name of the workflow that runs this, to be started
	// again after a push that starts none by itself.
	Workflow string

	// CompareURL is the page on which people open the pull request if the bot may
	// not; nil where the forge has none.
	CompareURL func(base, branch string) string

	// Policy changes the policy that main's tip has; nil for not.
	Policy func(*repository.Policy)

	// Rehearse adds a rehearsal to the verdict, if it finds that the event needs
	// one; nil for never. An error says that there is no verdict.
	Rehearse func(context.Context, *repository.Event, *repository.Status) error
}

// Driven is what [Drive] found and did.
type Driven struct {
	Event  string // the branch
	Gone   bool   // the branch is not at the remote (any more): nothing was done
	Merged bool   // its pull request was merged as it is: nothing was done
	Sync   Sync
	Status *repository.Status // nil if the run failed before there was a verdict
	Pull   *Pull              // nil where there is none
	Done   []string           // what was written, in order: "opened pull request 4"; in a dry run what would be: "open a pull request"
	Notes  []string           // what a person should know: what the token may not do, a second pull request

	page string // at the end of a note: where people open the pull request
}

// maxRounds bounds how often a run starts over because main or the event moved
// under it.
const maxRounds = 5

// Drive does all that CI does for one push to an event: it brings targets
// metadata in line, judges the event as it then is, and makes the forge show
// that: the pull request, its status comment, who is called, draft or ready, the
// commit status.
//
// It compares what is with what should be and closes the difference, so it may
// run twice, late, at the same time as another one, and after one that was
// killed. When the event or main has moved by the time it is done it starts over,
// so that of two runs the later one to finish has looked at the newest state.
//
// What the token may not do becomes a note in the pull request. What the forge
// fails to do is an error, after everything else was tried; the verdict is
// returned with it.
func Drive(ctx context.Context, o DriveOptions) (Driven, error) {
	d := &driver{DriveOptions: o}
	for round := 1; ; round++ {
		moved, err := d.round(ctx)
		if !moved || ctx.Err() != nil {
			return d.result, err
		}
		if round == maxRounds {
			return d.result, errors.Join(err, fmt.Errorf("event %s or %s moved %d times while it was looked at: run it again", d.result.Event, o.Base, round))
		}
		o.log().Info("the event or its base moved meanwhile: starting over", "event", d.result.Event)
	}
}

type driver struct {
	DriveOptions
	result Driven

	branch string // of the event
	base   string // the branch that it is merged into
	rev    string // the same, as a revision that no tag can stand for
	head   git.OID
	tip    git.OID // of the base; "" where it is not at the remote
	again  bool    // another run was faster

	noDrafts bool // the forge said that it has none
	errs     []error
	notes    []string
}

// round is one look at the event. It reports whether the event or its base was
// somewhere else by the end of it.
func (d *driver) round(ctx context.Context) (moved bool, err error) {
	d.errs, d.notes, d.again = nil, nil, false
	d.result.Merged, d.result.Pull = false, nil // of a round before, for another head
	g := d.Repository.Git
	branch, err := g.OpenBranch(ctx, d.Remote)
	if err != nil {
		return false, err
	}
	if d.branch = branch.Name(); d.branch == "" {
		return false, &git.DetachedError{Head: branch.Head()}
	}
	d.result.Event = d.branch
	remoteBase := false
	d.rev = d.Base
	if d.base = d.Base; d.Remote != "" {
		d.base, remoteBase = strings.CutPrefix(d.Base, d.Remote+"/")
	}
	if d.base == d.branch {
		return false, fmt.Errorf("branch %s is what events are merged into, and no event itself: check out the event's branch", d.branch)
	}
	if d.Remote != "" {
		refs, err := d.refs(ctx)
		if err != nil {
			return false, err
		}
		if d.result.Gone = refs[d.ref(d.branch)] == ""; d.result.Gone {
			return false, nil
		}
		if remoteBase && refs[d.ref(d.base)] != "" {
			d.rev = "refs/remotes/" + d.Base
			refspec := "+" + d.ref(d.base) + ":" + d.rev
			if err := g.Fetch(ctx, d.Remote, refspec); err != nil {
				return false, err
			}
		}
	}

	// Whatever keeps metadata from being brought in line, the event as it is has a
	// verdict, and people see it.
	head := branch.Head()
	sync, err := UpdateTargets(ctx, d.Options)
	if ctx.Err() != nil {
		return false, err
	}
	if err != nil {
		d.failed(fmt.Errorf("update targets metadata: %w", err))
		d.notes = append(d.notes, "The metadata could not be brought in line with the artifacts: "+err.Error())
	} else {
		if !d.DryRun {
			head = sync.Head
		}
		d.result.Sync.Head = sync.Head
		for _, role := range sync.Roles {
			d.did("update the metadata of %s", role)
		}
		d.result.Sync.Roles = append(d.result.Sync.Roles, sync.Roles...)
		d.result.Sync.Pushed = d.result.Sync.Pushed || sync.Pushed
	}

	o := repository.EventOptions{Name: d.branch, Head: string(head), Base: d.rev}
	if d.Forge != nil {
		o.Pushers = d.pushers
	}
	event, err := d.Repository.OpenEvent(ctx, o)
	if err != nil {
		return false, err // what kept the metadata back says no more
	}
	policy, err := d.Repository.Policy(ctx, event.Base)
	if err != nil {
		return false, errors.Join(append(d.errs, err)...)
	}
	if d.Policy != nil {
		d.Policy(&policy)
	}
	if d.result.Status, err = event.Status(ctx, d.Now, policy); err != nil {
		return false, errors.Join(append(d.errs, err)...)
	}
	if d.Rehearse != nil {
		if err := d.Rehearse(ctx, event, d.result.Status); err != nil {
			return false, errors.Join(append(d.errs, err)...)
		}
	}
	d.head, d.tip = event.Head, ""
	if remoteBase {
		d.tip = event.Base
	}
	if d.Forge != nil {
		d.failed(d.show(ctx, event))
		if sync.Pushed {
			d.failed(d.startAgain(ctx))
		}
	}
	d.result.Notes = d.notes
	if ctx.Err() == nil {
		moved, err = d.moved(ctx)
		d.failed(err)
	}
	return moved, errors.Join(d.errs...)
}

// pushers tells who pushed the commits of the event, as far as the forge says.
// Where it does not, nothing is known.
func (d *driver) pushers(ctx context.Context) (map[git.OID]string, error) {
	pushes, err := d.Forge.Pushes(ctx, d.branch)
	if err != nil {
		d.log().Warn("the forge does not tell who pushed what", "error", err)
		return nil, ctx.Err()
	}
	known := func(commit string) git.OID {
		if commit == "" {
			return ""
		}
		oid, err := d.Repository.Git.Resolve(ctx, commit)
		if err != nil {
			return "" // pushed over since
		}
		return oid
	}
	base, err := d.Repository.Git.Resolve(ctx, d.rev)
	if err != nil {
		return nil, err
	}
	by := map[git.OID]string{}
	for _, p := range slices.Backward(pushes) { // whoever pushed a commit last is its pusher
		after, before := known(p.After), known(p.Before)
		if after == "" || p.Before != "" && before == "" {
			continue
		}
		if before == "" {
			before = base
		}
		commits, err := d.Repository.Git.History(ctx, after, before, git.HistoryOptions{})
		if err != nil {
			return nil, err
		}
		for _, commit := range commits {
			by[commit] = p.Login
		}
	}
	return by, nil
}

// moved reports whether the event or its base is not any more where it was
// judged. It asks the remote, not the forge, which may lag behind.
func (d *driver) moved(ctx context.Context) (bool, error) {
	if d.again || d.Remote == "" || d.DryRun {
		return d.again, nil
	}
	refs, err := d.refs(ctx)
	if err != nil {
		return false, err
	}
	now := refs[d.ref(d.branch)]
	return now != "" && now != d.head || d.tip != "" && refs[d.ref(d.base)] != d.tip, nil
}

func (d *driver) ref(branch string) string { return "refs/heads/" + branch }

func (d *driver) refs(ctx context.Context) (map[string]git.OID, error) {
	return d.Repository.Git.LsRemote(ctx, d.Remote, d.ref(d.branch), d.ref(d.base))
}

func (d *driver) failed(err error) {
	if err != nil {
		d.errs = append(d.errs, err)
	}
}

func (d *driver) did(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if verb, rest, _ := strings.Cut(text, " "); !d.DryRun && past[verb] != "" {
		text = past[verb] + " " + rest
	}
	d.result.Done = append(d.result.Done, text)
}

var past = map[string]string{
	"add": "added", "call": "called", "delete": "deleted", "edit": "edited", "make": "made", "open": "opened",
	"remove": "removed", "start": "started", "update": "updated", "write": "wrote",
}

// do is one write to the forge. In a dry run it only says what it would be. A
// permission that lacks becomes a note, and ok is false.
func (d *driver) do(write func() error, format string, args ...any) (ok bool, err error) {
	if !d.DryRun {
		if err := write(); err != nil {
			var denied *PermissionError
			if errors.As(err, &denied) {
				d.note(denied, err)
				return false, nil
			}
			return false, err
		}
	}
	d.did(format, args...)
	return true, nil
}

// note keeps what a permission that lacks means. Where none is named, what the
// forge says does: the conversation may be locked, the repository archived.
func (d *driver) note(denied *PermissionError, err error) {
	text := "The token may not " + denied.Action + "."
	if denied.Permission != "" {
		text += " It needs " + denied.Permission + "."
	} else {
		if denied.Err != nil {
			text += " " + strings.TrimRight(denied.Err.Error(), ".") + "."
		}
		var hint interface{ Hint() string }
		if errors.As(err, &hint) && hint.Hint() != "" {
			advice := hint.Hint()
			text += " " + strings.ToUpper(advice[:1]) + advice[1:] + "."
		}
	}
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
		d.log().Warn(text)
	}
}

// show makes the forge show the verdict. First everything is read; then, unless
// the event has moved meanwhile, everything is written.
func (d *driver) show(ctx context.Context, event *repository.Event) error {
	s := d.result.Status
	pulls, err := d.Forge.Pulls(ctx, d.branch)
	if err = d.tolerate(err); err != nil {
		return fmt.Errorf("list the pull requests of %s: %w", d.branch, err)
	}
	pull, err := d.choose(ctx, event, pulls)
	if err != nil {
		return err
	}
	var b board
	if pull != nil {
		comments, err := d.ownComments(ctx, pull.Number)
		if err = d.tolerate(err); err != nil {
			return err
		}
		b = readBoard(comments)
	}
	if moved, err := d.moved(ctx); moved || err != nil {
		return err
	}

	if pull == nil {
		if pull, err = d.open(ctx, event, pulls); err != nil || d.result.Merged {
			return err
		}
	}
	d.result.Pull = pull
	var people []string
	awaited := b.memo.Awaited // nobody is called to a pull request that is closed
	switch {
	case pull == nil:
		if len(s.Roles) == 0 {
			return nil
		}
	case pull.Open:
		people = People(s)
		awaited = crowd(people)
		d.failed(d.setDraft(ctx, pull, !s.Complete, b.shows(s, d.notes, awaited)))
	}
	d.failed(d.setStatus(ctx, pull, b.shows(s, d.notes, awaited)))
	if pull == nil {
		return nil
	}
	for _, c := range b.spare {
		_, err := d.do(func() error { return d.Forge.DeleteComment(ctx, c.ID) }, "delete a comment of ours that was there twice")
		d.failed(explain(err, "delete comment %d of pull request %d", c.ID, pull.Number))
	}
	// The status comment remembers who was called, so it is written after the
	// call; the very first one before it, since it is to stand on top. Without any
	// call in the pull request the next run calls.
	call := func() error { return d.call(ctx, pull, b, call{s.Commit, people}) }
	if b.status != nil {
		if err := call(); err != nil {
			return err
		}
		if b.shows(s, d.notes, awaited) {
			return nil
		}
		body := statusComment(s, d.notes, b.memo.next(d.entry(), awaited))
		_, err := d.do(func() error { return d.Forge.EditComment(ctx, b.status.ID, body) }, "edit the status comment")
		return explain(err, "edit the status comment of pull request %d", pull.Number)
	}
	body := statusComment(s, d.notes, memo{}.next(d.entry(), awaited))
	_, err = d.do(func() error { _, err := d.Forge.CreateComment(ctx, pull.Number, body); return err }, "write the status comment")
	if err != nil {
		return explain(err, "write the status comment of pull request %d", pull.Number)
	}
	return call()
}

// tolerate turns a permission that lacks into a note.
func (d *driver) tolerate(err error) error {
	var denied *PermissionError
	if errors.As(err, &denied) {
		d.note(denied, err)
		return nil
	}
	return err
}

// call mentions those who must act, if they are others than before.
func (d *driver) call(ctx context.Context, pull *Pull, b board, c call) error {
	if !pull.Open || len(c.people) == 0 || !b.mustCall(c) {
		return nil
	}
	who := strings.Join(c.people, ", ")
	_, err := d.do(func() error {
		_, err := d.Forge.CreateComment(ctx, pull.Number, callComment(d.result.Status, c))
		return err
	}, "call %s", who)
	return explain(err, "call %s in pull request %d", who, pull.Number)
}

func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// open opens the pull request of an event that has none. It is nil where there is
// none to have: nothing to merge, merged already, or nobody lets us.
func (d *driver) open(ctx context.Context, event *repository.Event, pulls []Pull) (*Pull, error) {
	if event.Head == event.MergeBase {
		d.log().Info("the event has nothing that its base lacks: there is nothing to open a pull request for", "event", d.branch)
		return nil, nil
	}
	if last := d.newest(pulls); last != nil && last.Merged && last.Head == string(event.Head) {
		d.log().Info("the event was merged", "pull-request", last.Number)
		d.result.Merged = true
		return nil, nil
	}
	body, err := d.pullBody(ctx, event)
	if err != nil {
		return nil, err
	}
	n := NewPull{Branch: d.branch, Base: d.base, Title: "Signing event: " + escape.Terminal(d.branch), Body: body, Draft: !d.result.Status.Complete}
	if d.DryRun {
		d.did("open a pull request into %s", d.base)
		return &Pull{Base: d.base, Open: true, Draft: n.Draft}, nil
	}
	opened, err := d.Forge.OpenPull(ctx, n)
	if errors.Is(err, ErrNoDrafts) {
		n.Draft, d.noDrafts = false, true
		opened, err = d.Forge.OpenPull(ctx, n)
	}
	var denied *PermissionError
	switch {
	case errors.Is(err, ErrExists): // another run was faster, and goes on from there
		d.again = true
		return nil, nil
	case errors.As(err, &denied):
		d.note(denied, err)
		if d.CompareURL != nil {
			d.result.page = d.CompareURL(d.base, d.branch)
			d.notes = append(d.notes, byHand+d.result.page)
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("open a pull request from %s into %s: %w", d.branch, d.base, err)
	}
	d.did("open pull request %d", opened.Number)
	return &opened, nil
}

const byHand = "Open the pull request by hand, the bot takes it from there: "

// choose picks the pull request that shows the event: the open one into the base
// branch, else one of ours that was closed by hand.
func (d *driver) choose(ctx context.Context, event *repository.Event, pulls []Pull) (*Pull, error) {
	var open *Pull
	for _, p := range slices.Backward(pulls) { // the oldest first
		switch {
		case !p.Open:
		case open == nil && p.Base == d.base:
			open = &p
		default: // anybody may open one into another branch, so it is not ours to fill
			d.notes = append(d.notes, fmt.Sprintf("Pull request %d into %s is open for the same branch. Close it unless it is meant.", p.Number, p.Base))
		}
	}
	if open != nil {
		return open, nil
	}
	// Whoever closed it wanted the event to stop. A branch of the same name that
	// was begun anew is another event.
	last := d.newest(pulls)
	if last == nil || last.Merged {
		return nil, nil
	}
	was, err := d.Repository.Git.Resolve(ctx, last.Head)
	if err != nil {
		return nil, ctx.Err() // not part of this branch's history
	}
	same, err := d.Repository.Git.IsAncestor(ctx, was, event.Head)
	if err != nil || !same {
		return nil, err
	}
	d.notes = append(d.notes, "This pull request was closed by hand. Reopen it to go on with the event.")
	return last, nil
}

// newest is the last pull request into the base branch whose end was decided. What
// became of the branch elsewhere says nothing about the event.
func (d *driver) newest(pulls []Pull) *Pull {
	for _, p := range pulls {
		if p.Base == d.base && p.decided() {
			return &p
		}
	}
	return nil
}

// pullBody is how a new pull request begins. It is not written again: what
// changes stands in the status comment, and people may edit this.
func (d *driver) pullBody(ctx context.Context, event *repository.Event) (string, error) {
	s := d.result.Status
	var b strings.Builder
	fmt.Fprintf(&b, "Signing event %s: what it changes, and whose signature is still missing, stands in the first comment, which is kept up to date.\n", escape.MarkdownCode(d.branch))
	fmt.Fprintf(&b, "\nWho holds a key reviews, accepts an invitation and signs with\n\n    %s\n", escape.Terminal(signCommand(d.branch)))
	b.WriteString("\nWhen every signature is there this is ready to be reviewed and merged. The commit status and the draft state only say so: what counts are the signatures.\n")
	if s.Deadline != nil {
		text := deadline(s.Deadline)
		fmt.Fprintf(&b, "\n%s%s.\n", strings.ToUpper(text[:1]), escape.Markdown(text[1:]))
	}
	for _, name := range templates { // of the base: what the branch brings is a stranger's
		entry, ok, err := d.Repository.Git.Lookup(ctx, event.Base, name)
		if err != nil {
			return "", err
		}
		if !ok || !entry.Mode.IsRegular() {
			continue
		}
		text, err := d.Repository.Git.BlobLimit(ctx, entry.OID, maxTemplate)
		if err != nil {
			return "", fmt.Errorf("%s on %s: %w", name, d.base, err)
		}
		fmt.Fprintf(&b, "\n%s\n", strings.ToValidUTF8(strings.TrimSpace(string(text)), "�"))
		break
	}
	return b.String(), nil
}

// setDraft makes the pull request a draft or ready. Where the forge has no
// drafts a label says the same; as people can set it too, it is believed only
// while nothing else has changed.
func (d *driver) setDraft(ctx context.Context, p *Pull, draft, unchanged bool) error {
	labelled := slices.Contains(p.Labels, DraftLabel)
	if p.Draft == draft && !labelled {
		return nil
	}
	verb := map[bool]string{true: "make the pull request a draft", false: "make the pull request ready"}[draft]
	if p.Draft != draft && !(draft && labelled && unchanged) && !d.noDrafts { // the label says that there are no drafts here
		done, err := d.do(func() error {
			err := d.Forge.SetDraft(ctx, *p, draft)
			if draft && errors.As(err, new(*PermissionError)) {
				return fmt.Errorf("%w: %v", ErrNoDrafts, err) // GitHub says no more where the plan has none
			}
			return err
		}, "%s", verb)
		switch {
		case done:
			p.Draft = draft
		case err == nil: // noted
			return nil
		case !errors.Is(err, ErrNoDrafts):
			return explain(err, "%s (number %d)", verb, p.Number)
		}
	}
	label := draft && !p.Draft
	if labelled == label {
		return nil
	}
	_, err := d.do(func() error { return d.Forge.SetLabel(ctx, *p, DraftLabel, label) },
		"%s the label %q", map[bool]string{true: "add", false: "remove"}[label], DraftLabel)
	return explain(err, "set the label %q of pull request %d", DraftLabel, p.Number)
}

// setStatus sets the commit status. Where nothing else changed it first looks
// whether it is there already.
func (d *driver) setStatus(ctx context.Context, pull *Pull, look bool) error {
	s := d.result.Status
	want := CommitStatus{Context: StatusContext, State: "pending", Description: describe(s)}
	switch {
	case s.Complete:
		want.State = "success"
	case s.Failed():
		want.State = "failure"
	}
	if pull != nil {
		want.URL = pull.URL
	}
	if look {
		have, err := d.Forge.Status(ctx, s.Commit, want.Context)
		if errors.As(err, new(*PermissionError)) {
			return d.tolerate(err)
		}
		if err != nil || have != nil && have.State == want.State && have.Description == want.Description {
			return explain(err, "read the commit status of %.10s", s.Commit)
		}
	}
	_, err := d.do(func() error { return d.Forge.SetStatus(ctx, s.Commit, want) }, "set the commit status of %.10s to %s", s.Commit, want.State)
	return explain(err, "set the commit status of %.10s", s.Commit)
}

// describe is the commit status in words, within what GitHub takes.
func describe(s *repository.Status) string {
	return cut(escape.Terminal(Summary(s)), 140)
}

// startAgain starts the workflow that a push of ours would have started, had it
// been made with another token.
func (d *driver) startAgain(ctx context.Context) error {
	starts, err := d.Forge.PushStartsWorkflows(ctx)
	if err != nil {
		return fmt.Errorf("find out whether the push started a workflow: %w", err)
	}
	if starts || d.Workflow == "" {
		return nil
	}
	_, err = d.do(func() error { return d.Forge.Dispatch(ctx, d.Workflow, d.branch, nil) }, "start %s on %s", d.Workflow, d.branch)
	if errors.Is(err, ErrNotFound) { // it is there to be started by pushes only
		d.log().Warn("workflow cannot be started by hand", "workflow", d.Workflow, "error", err)
		return nil
	}
	return explain(err, "start %s on %s", d.Workflow, d.branch)
}

func (d *driver) entry() entry {
	s := d.result.Status
	return entry{Since: d.Now.UTC().Truncate(1e9), Commit: s.Commit, Summary: cut(Summary(s), maxSummary)}
}

// ownComments lists the comments with our hidden lines that we have written.
func (d *driver) ownComments(ctx context.Context, pull int) ([]Comment, error) {
	all, err := d.Forge.Comments(ctx, pull)
	if err != nil {
		return nil, fmt.Errorf("list the comments of pull request %d: %w", pull, err)
	}
	var marked []Comment
	for _, c := range all {
		if c.Own && (strings.Contains(c.Body, statusMarker) || strings.Contains(c.Body, callMarker)) {
			marked = append(marked, c)
		}
	}
	return marked, nil
}

// board is what our comments say.
type board struct {
	status *Comment // nil where there is none
	memo   memo     // of the status comment
	known  bool     // the memo was legible
	calls  []string // hidden lines, oldest first
	spare  []Comment
}

// readBoard sorts our comments, which are oldest first. Of what is there twice
// the oldest stays.
func readBoard(comments []Comment) board {
	var b board
	for _, c := range comments {
		if m, ok := readMemo(c.Body); ok {
			if b.status != nil {
				b.spare = append(b.spare, c)
				continue
			}
			b.status, b.memo, b.known = &c, m, m.valid()
			continue
		}
		if marker, ok := isCall(c.Body); ok {
			if slices.Contains(b.calls, marker) {
				b.spare = append(b.spare, c)
				continue
			}
			b.calls = append(b.calls, marker)
		}
	}
	return b
}

// shows reports whether the status comment says all this already.
func (b board) shows(s *repository.Status, notes []string, awaited string) bool {
	if b.status == nil {
		return false
	}
	m := b.memo
	m.Awaited = awaited
	return same(b.status.Body, statusComment(s, notes, m))
}

// mustCall reports whether those who must act have to be told: whether they are
// others than when the status comment was written. A call that was made for this
// very commit, by a run that was stopped right after it, is not made again; nor,
// where the status comment is gone, the last one that was.
func (b board) mustCall(c call) bool {
	switch {
	case slices.Contains(b.calls, c.marker()):
		return false
	case len(b.calls) == 0:
		return true
	case b.known:
		return b.memo.Awaited != crowd(c.people)
	}
	people := func(marker string) string {
		return marker[strings.LastIndex(strings.TrimSuffix(marker, markerEnd), " "):]
	}
	return people(b.calls[len(b.calls)-1]) != people(c.marker())
}

// same compares comments as a forge stores them.
func same(a, b string) bool {
	tidy := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return tidy(a) == tidy(b)
}

// Markdown tells what the status comment says, for where there is no pull request
// to say it in, and what was done. d.Status must not be nil.
func (d Driven) Markdown() string {
	var b strings.Builder
	b.WriteString(Markdown(d.Status))
	for _, note := range d.Notes {
		text := escape.Markdown(note)
		if note == byHand+d.page { // a URL of ours, in which nothing is left to escape
			text = byHand + "<" + d.page + ">"
		}
		fmt.Fprintf(&b, "\n> **Note** %s\n", text)
	}
	for i, done := range d.Done {
		if i == 0 {
			b.WriteString("\nDone:\n\n")
		}
		fmt.Fprintf(&b, "* %s\n", escape.Markdown(done))
	}
	return b.String()
}
