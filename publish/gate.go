package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Check tries the staged repository with somebody else's client. Red keeps what
// is new from the destinations, for this run: the next one tries again.
type Check struct {
	Name string // for people
	Run  func(ctx context.Context, s Staged) error
}

// Staged is what a [Check] looks at: metadata is below URL/metadata, artifacts
// are below URL/targets.
type Staged struct {
	URL    string // the public one, if there is one
	Commit string
}

// GateError says that new content was held back from a destination. Nothing was
// written there.
type GateError struct {
	Red []string // what failed: the stage, or names of checks
	Err error
	// Expires is until when clients are served with what is there; empty: they
	// are not.
	Expires string
}

func (e *GateError) Error() string {
	return fmt.Sprintf("held back, as the stage is red (%s): %v; nothing was written", strings.Join(e.Red, ", "), e.Err)
}

func (e *GateError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *GateError) Hint() string {
	hint := "look at what failed; the next run tries again by itself"
	if e.Expires != "" {
		hint += ". Clients are served with what is there until " + e.Expires
	}
	return hint
}

// gate decides, once for all destinations, whether new content may go out.
type gate struct {
	open bool
	red  []string
	err  error
}

// decide publishes to the stage and asks the checks. The checks are not asked
// where no destination gets anything but a fresh timestamp or snapshot: a client
// of somebody else that fails must not keep clients from being served.
func (r *runner) decide(ctx context.Context) *gate {
	g := &gate{}
	fail := func(name string, err error) {
		g.red, g.err = append(g.red, name), errors.Join(g.err, err)
	}
	if r.options.Stage == nil {
		g.open = true
		return g
	}
	needed := false
	for _, p := range r.to {
		content, err := p.gets(ctx)
		needed = needed || content || err != nil // what keeps it from being looked at now may be over when its turn comes
	}
	stage := r.publisher(*r.options.Stage)
	stage.open = true
	if err := stage.run(ctx); err != nil {
		stage.report.Error = err.Error()
		err = &DestinationError{URL: stage.report.URL, Err: err}
		r.failed = append(r.failed, err)
		fail("stage", err)
	}
	r.report.Stage = stage.report
	switch {
	case g.err != nil:
		return g
	case r.options.DryRun || len(r.options.Checks) == 0:
		g.open = true
		return g
	case !needed:
		fail("not checked", errors.New("the destination has changed since it was found to need nothing but a fresh timestamp"))
		return g
	}
	staged := Staged{URL: stage.report.URL, Commit: string(r.options.Commit)}
	if stage.public != "" {
		staged.URL = stage.public
	}
	for _, c := range r.options.Checks {
		r.options.Log.Info("checking the stage", "check", c.Name)
		one := CheckReport{Name: c.Name}
		if err := c.Run(ctx, staged); err != nil {
			one.Error = err.Error()
			fail(c.Name, fmt.Errorf("check %s: %w", c.Name, err))
		}
		r.report.Checks = append(r.report.Checks, one)
	}
	g.open = g.err == nil
	return g
}

// gets reports whether a destination lacks more than a fresh timestamp. It
// writes nothing and says nothing.
func (p *publisher) gets(ctx context.Context) (bool, error) {
	quiet := *p.report
	look := &publisher{options: p.options, tree: p.tree, from: p.from, report: &quiet}
	look.options.Log = slog.New(slog.DiscardHandler)
	l, err := look.look(ctx)
	if err != nil || l.current && !p.options.Deep {
		return false, err
	}
	if err := look.examine(ctx, l); err != nil {
		return false, err
	}
	pl, err := look.plan(l)
	if err != nil {
		return false, err
	}
	return pl.content, nil
}
