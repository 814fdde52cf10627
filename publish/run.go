package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Options say what is published, and where.
type Options struct {
	// Commit is what the caller means to publish, and Publishable the proof that
	// it may be: it opens for the commit that was checked and no other.
	Commit      git.OID
	Publishable repository.Publishable

	// Attested finds the attestation of a person's key, see [NewTree]; nil: nobody
	// can tell.
	Attested repository.Attestation

	To []Destination

	// Stage, if it is set, is a test repository. It is published first, and what
	// is new goes to the destinations only if that and every one of Checks
	// succeeds; a fresh timestamp goes out in any case.
	Stage  *Destination
	Checks []Check

	DryRun bool // write nothing, and say what would be written
	// Deep looks at every file even if timestamp and status page show that this
	// commit was published, and reads it even if the listing tells a digest: it
	// finds what was removed or altered by hand.
	Deep bool
	// Strict lets what expires soon keep the commit from being published.
	Strict bool
	// RecoverFastForward is the version of a timestamp at a destination that ours
	// may go back from, though it is valid; 0: none.
	RecoverFastForward int64
	Prune              Prune

	Parallel int            // how many files are worked on at the same time; 0: DefaultParallel
	Progress func(Progress) // called after each write, by one goroutine at a time; may be nil

	// Within is how long to wait until a public URL shows what was written; 0:
	// DefaultWithin. Sleep waits; nil: by the real clock.
	Within time.Duration
	Sleep  func(ctx context.Context, d time.Duration) error

	Log *slog.Logger // nil: no log
}

// DefaultParallel is how many files are read or written at the same time.
const DefaultParallel = 16

// Progress is how far the writing to one destination is.
type Progress struct {
	URL      string
	Done, Of int // files
}

// Destination is a place that clients read from: metadata in its folder
// metadata, artifacts in its folder targets.
type Destination struct {
	URL   string // for people
	Store Store
	// Public is where clients find it, if what was written is to be read back
	// through that: an http, https or file URL.
	Public string
}

// Run brings destinations to the state of a commit. It compares what is there
// with what should be and closes the difference, so it may be run again at any
// time: twice, late, concurrently, or after it was killed between any two
// writes. Nothing is deleted but by [PruneDelete].
//
// Before the first byte leaves, clients update from memory to what will be there.
// After the last one a new client does through the public URL, if there is one.
//
// Destinations are independent of each other: one that fails does not keep the
// others from being published. The error joins one *[DestinationError] for each
// that failed. The Report is nil only if nothing was looked at: then the error is
// [repository.ErrUnchecked] or a *[repository.OtherCommitError].
func Run(ctx context.Context, o Options) (*Report, error) {
	published, err := o.Publishable.For(o.Commit)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	tree, err := NewTree(ctx, published, o.Attested)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &runner{options: o, tree: tree, report: &Report{
		Schema: 1, Commit: string(o.Commit), DryRun: o.DryRun, Checks: []CheckReport{}, Destinations: []DestinationReport{},
	}}
	for _, to := range o.To {
		r.to = append(r.to, r.publisher(to))
	}
	gate := r.decide(ctx)
	for _, p := range r.to {
		p.open, p.gate = gate.open, gate
		if err := p.run(ctx); err != nil {
			p.report.Error = err.Error()
			r.failed = append(r.failed, &DestinationError{URL: p.report.URL, Err: err})
		}
		r.report.Changed = r.report.Changed || p.report.Changed
		r.report.Destinations = append(r.report.Destinations, *p.report)
	}
	return r.report, errors.Join(r.failed...)
}

// runner is one call of [Run].
type runner struct {
	options Options
	tree    *Tree
	to      []*publisher
	report  *Report
	failed  []error
}

func (r *runner) publisher(to Destination) *publisher {
	p := &publisher{options: r.options, tree: r.tree, from: to.Store, public: strings.TrimRight(to.Public, "/"),
		report: &DestinationReport{URL: to.URL, Roles: []RoleChange{}, Written: []WrittenFile{}, Notes: []Note{},
			Lost: append([]string{}, to.Store.Guarantees().Lost()...)}}
	if !r.options.DryRun {
		p.to = to.Store
	}
	return p
}

// publisher brings one destination to one tree.
type publisher struct {
	options Options
	tree    *Tree
	from    Reader
	to      Store // nil in a dry run
	public  string
	open    bool   // new content may go out
	gate    *gate  // why not
	began   []byte // the timestamp that was live when this run began; nil: it has not looked yet

	mu      sync.Mutex // guards what several writes at a time report
	report  *DestinationReport
	already int // files that an earlier attempt has written
}

// attempts is how often a publisher starts over because another was faster.
const attempts = 5

func (p *publisher) run(ctx context.Context) error {
	if lock, ok := p.to.(Exclusive); ok {
		unlock, err := lock.Lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	for attempt := 1; ; attempt++ {
		err := p.once(ctx)
		// Whoever was faster may have published something newer, so everything
		// is judged again.
		if !errors.Is(err, ErrChanged) || attempt == attempts {
			return err
		}
		p.options.Log.Info("another publisher was faster; looking again", "destination", p.report.URL, "reason", err)
		p.note(NoteChangedMeanwhile, "another publisher wrote at the same time; started over")
	}
}

func (p *publisher) once(ctx context.Context) error {
	live, err := p.look(ctx)
	if err != nil {
		return err
	}
	if p.began == nil {
		p.began = append([]byte{}, live.timestamp.data...)
	}
	if live.current && !p.options.Deep {
		p.report.Roles = p.roles(p.published().Root(), p.published().Timestamp())
		p.report.Present = 1 + len(live.pages)
		return p.after(ctx, nil)
	}
	if err := p.examine(ctx, live); err != nil {
		return err
	}
	plan, err := p.plan(live)
	if err != nil {
		return err
	}
	if err := p.alert(); err != nil {
		return err
	}
	refused := p.rehearse(ctx, live, plan)
	if refused != nil {
		// A root costs nobody the freshness of what they have.
		failed := (*RehearsalError)(nil)
		if plan = p.withoutRoots(plan); plan == nil || !errors.As(refused, &failed) || p.rehearse(ctx, live, plan) != nil {
			return refused
		}
		p.report.Roles[0].To = plan.root.Version()
		failed.held = p.published().Root().Version()
	}
	if plan.content && !p.open {
		held := &GateError{Red: p.gate.red, Err: p.gate.err}
		if live.valid != nil {
			held.Expires = live.valid.Expires().Format(metadata.TimeFormat)
		}
		return held
	}
	p.already = len(p.report.Written)
	if err := p.write(ctx, plan); err != nil {
		return err
	}
	if err := live.standing(); err != nil || refused != nil {
		return errors.Join(err, refused, p.readBack(ctx, plan.root.Version(), nil))
	}
	return p.after(ctx, immutable(plan.files))
}

// after is what follows on a destination that is as it should be.
func (p *publisher) after(ctx context.Context, written []File) error {
	if err := p.readBack(ctx, p.published().Root().Version(), written); err != nil {
		return err
	}
	if p.options.Prune == PruneNothing || p.to == nil && p.report.Changed {
		return nil
	}
	return p.prune(ctx)
}

func (p *publisher) published() *repository.Published { return p.tree.published }

func (p *publisher) note(code, format string, args ...any) {
	n := Note{Code: code, Message: fmt.Sprintf(format, args...)}
	for _, have := range p.report.Notes {
		if have == n {
			return
		}
	}
	p.report.Notes = append(p.report.Notes, n)
	if slices.Contains(alarms, code) {
		p.options.Log.Warn(n.Message, "note", code, "destination", p.report.URL)
	}
}

// roles is the report's table, given what clients saw before; nil: nothing.
func (p *publisher) roles(root, timestamp *metadata.Document) []RoleChange {
	pub := p.published()
	r := RoleChange{Role: metadata.Root, To: pub.Root().Version()}
	t := RoleChange{Role: metadata.Timestamp, To: pub.Timestamp().Version()}
	s := RoleChange{Role: metadata.Snapshot, To: pub.Snapshot().Version()}
	if root != nil {
		r.From = root.Version()
	}
	if timestamp != nil {
		t.From, s.From = timestamp.Version(), timestamp.Meta()["snapshot.json"].Version
	}
	return []RoleChange{r, t, s}
}
