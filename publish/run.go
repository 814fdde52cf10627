package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

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

	To     []Destination
	DryRun bool // write nothing, and say what would be written
	// Deep looks at every file even if timestamp and status page show that this
	// commit was published: it finds what was removed or altered by hand.
	Deep bool
	Log  *slog.Logger // nil: no log
}

// Destination is a place that clients read from: metadata in its folder
// metadata, artifacts in its folder targets.
type Destination struct {
	URL   string // for people
	Store Store
}

// Run brings destinations to the state of a commit. It compares what is there
// with what should be and closes the difference, so it may be run again at any
// time: twice, late, concurrently, or after it was killed between any two
// writes. Nothing is ever deleted.
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
	report := &Report{Schema: 1, Commit: string(o.Commit), DryRun: o.DryRun, Destinations: []DestinationReport{}}
	var errs []error
	for _, to := range o.To {
		p := &publisher{options: o, tree: tree, from: to.Store,
			report: &DestinationReport{URL: to.URL, Roles: []RoleChange{}, Written: []WrittenFile{}, Notes: []Note{}}}
		if !o.DryRun {
			p.to = to.Store
		}
		if err := p.run(ctx); err != nil {
			p.report.Error = err.Error()
			errs = append(errs, &DestinationError{URL: to.URL, Err: err})
		}
		report.Changed = report.Changed || p.report.Changed
		report.Destinations = append(report.Destinations, *p.report)
	}
	return report, errors.Join(errs...)
}

// publisher brings one destination to one tree.
type publisher struct {
	options Options
	tree    *Tree
	from    Reader
	to      Store // nil in a dry run
	report  *DestinationReport
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
	if live.current && !p.options.Deep {
		p.report.Roles = p.roles(p.published().Root(), p.published().Timestamp())
		p.report.Present = 1 + len(live.pages)
		return nil
	}
	if err := p.examine(ctx, live); err != nil {
		return err
	}
	plan, err := p.plan(ctx, live)
	if err != nil {
		return err
	}
	return p.write(ctx, plan)
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
