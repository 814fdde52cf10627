package git

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// This file answers from objects alone what history.go asks the git program. It
// takes the same way through commits as git, newest first, so that what lies
// far back need not be there.

// A graph is the commits that one question has looked at.
type graph struct {
	ctx     context.Context
	r       *Repo
	commits map[OID]*Commit
}

func (g *graph) commit(oid OID) (*Commit, error) {
	if c := g.commits[oid]; c != nil {
		return c, nil
	}
	c, err := g.r.Commit(g.ctx, oid)
	if err == nil {
		g.commits[oid] = c
	}
	return c, err
}

// A queue of commits, the newest first; of two with one date the one that came
// first.
type queue struct {
	list []queued
	n    int
	in   map[OID]int
}

type queued struct {
	oid  OID
	when time.Time
	n    int
}

func (q *queue) Len() int { return len(q.list) }
func (q *queue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	if !a.when.Equal(b.when) {
		return a.when.After(b.when)
	}
	return a.n < b.n
}
func (q *queue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *queue) Push(x any)    { q.list = append(q.list, x.(queued)) }
func (q *queue) Pop() any {
	last := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return last
}

// Marks of a commit in paint.
const (
	ofA   = 1 << iota // a is it, or descends from it
	ofB               // the same of b
	stale             // a common ancestor descends from it, so nobody looks for it
)

// paint marks the ancestors of two commits until only those are left that lie
// behind what both have in common, and, to know all that is not of b, are older
// than what was found to be of a alone. It returns the marks, and the common
// ancestors in the order in which they were met.
func (g *graph) paint(a, b OID, all bool) (map[OID]int, []OID, error) {
	marks := map[OID]int{}
	q := &queue{in: map[OID]int{}}
	live := 0 // how many in the queue are not stale
	mark := func(oid OID, m int) error {
		if marks[oid]&m == m {
			return nil
		}
		c, err := g.commit(oid)
		if err != nil {
			return err
		}
		if marks[oid]&stale == 0 && m&stale != 0 {
			live -= q.in[oid]
		}
		marks[oid] |= m
		q.n++
		heap.Push(q, queued{oid, c.CommitterTime, q.n})
		q.in[oid]++
		if marks[oid]&stale == 0 {
			live++
		}
		return nil
	}
	if err := mark(a, ofA); err != nil {
		return nil, nil, err
	}
	if err := mark(b, ofB); err != nil {
		return nil, nil, err
	}
	var common []OID
	met := map[OID]bool{}
	var oldest time.Time // of those that are of a alone, where there are any
	alone := false
	for live > 0 || all && q.Len() > 0 && alone && !q.list[0].when.Before(oldest) {
		if err := g.ctx.Err(); err != nil {
			return nil, nil, err
		}
		next := heap.Pop(q).(queued)
		oid := next.oid
		q.in[oid]--
		m := marks[oid]
		if m == ofA && (!alone || next.when.Before(oldest)) {
			oldest, alone = next.when, true
		}
		if m&stale == 0 {
			live--
		}
		if m == ofA|ofB {
			if !met[oid] {
				met[oid] = true
				common = append(common, oid)
			}
			m |= stale
		}
		c, err := g.commit(oid)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range c.Parents {
			if err := mark(p, m); err != nil {
				return nil, nil, err
			}
		}
	}
	return marks, common, nil
}

// settle marks what lies behind a commit of b and was looked at before that was
// known, as happens where dates lie.
func (g *graph) settle(marks map[OID]int) {
	var look []OID
	for oid, m := range marks {
		if m&ofB != 0 {
			look = append(look, oid)
		}
	}
	for len(look) > 0 {
		c := g.commits[look[len(look)-1]]
		look = look[:len(look)-1]
		for _, p := range c.Parents {
			if m, seen := marks[p]; seen && m&ofB == 0 {
				marks[p] = m | ofB
				look = append(look, p)
			}
		}
	}
}

// maxBases bounds how many common ancestors are compared, each with all others and
// each time along all of the history.
const maxBases = 16

// bases are the best common ancestors of two commits, the newest first.
func (g *graph) bases(a, b OID) ([]OID, error) {
	if a == b {
		return []OID{a}, nil
	}
	marks, common, err := g.paint(a, b, false)
	if err != nil {
		return nil, err
	}
	common = slices.DeleteFunc(common, func(oid OID) bool { return marks[oid]&stale != 0 })
	if len(common) > maxBases {
		return nil, &NeedsGitError{fmt.Sprintf("a history with %d merge bases", len(common))}
	}
	// Dates that lie can leave one that is an ancestor of another.
	var best []OID
	for _, one := range common {
		behind := false
		for _, other := range common {
			if one == other || behind {
				continue
			}
			if behind, err = g.ancestor(one, other); err != nil {
				return nil, err
			}
		}
		if !behind {
			best = append(best, one)
		}
	}
	slices.SortStableFunc(best, func(a, b OID) int {
		return g.commits[b].CommitterTime.Compare(g.commits[a].CommitterTime)
	})
	return best, nil
}

// ancestor reports whether a is b or an ancestor of b.
func (g *graph) ancestor(a, b OID) (bool, error) {
	marks, _, err := g.paint(a, b, false)
	return err == nil && marks[a]&ofB != 0, err
}

func (r *Repo) graph(ctx context.Context) *graph {
	return &graph{ctx: ctx, r: r, commits: map[OID]*Commit{}}
}

func (r *Repo) mergeBase(ctx context.Context, a, b OID) (OID, error) {
	bases, err := r.graph(ctx).bases(a, b)
	if err != nil {
		return "", fmt.Errorf("find merge base of %s and %s: %w", a.Short(), b.Short(), err)
	}
	if len(bases) == 0 {
		return "", &NoMergeBaseError{A: a, B: b}
	}
	return bases[0], nil
}

// history is [Repo.History]. With Paths it needs FirstParent or FullHistory:
// git's other way leaves out what depends on the order in which it looks.
func (r *Repo) history(ctx context.Context, include, exclude OID, o HistoryOptions) ([]OID, error) {
	g := r.graph(ctx)
	list, err := g.list(include, exclude, o)
	if err != nil {
		return nil, fmt.Errorf("list history of %s: %w", include.Short(), err)
	}
	if o.Max > 0 && len(list) > o.Max {
		list = list[:o.Max]
	}
	if o.Reverse {
		slices.Reverse(list)
	}
	return list, nil
}

func (g *graph) list(include, exclude OID, o HistoryOptions) ([]OID, error) {
	if len(o.Paths) > 0 && o.FirstParent == o.FullHistory {
		return nil, &NeedsGitError{"the simplified history of a path"}
	}
	wanted := func(OID) bool { return true }
	if exclude != "" {
		marks, _, err := g.paint(include, exclude, true)
		if err != nil {
			return nil, err
		}
		g.settle(marks)
		wanted = func(oid OID) bool { return marks[oid]&ofB == 0 }
	}
	// How many children each commit has among those that are listed: none is
	// listed before all its children are.
	children := map[OID]int{}
	look := []OID{include}
	seen := map[OID]bool{include: true}
	for len(look) > 0 {
		oid := look[len(look)-1]
		look = look[:len(look)-1]
		if !wanted(oid) {
			continue
		}
		parents, err := g.parents(oid, o)
		if err != nil {
			return nil, err
		}
		for _, p := range parents {
			children[p]++
			if !seen[p] {
				seen[p] = true
				look = append(look, p)
			}
		}
	}
	var list []OID
	ready := []OID{include}
	for len(ready) > 0 {
		oid := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if !wanted(oid) {
			continue
		}
		parents, err := g.parents(oid, o)
		if err != nil {
			return nil, err
		}
		for _, p := range parents {
			if children[p]--; children[p] == 0 {
				ready = append(ready, p)
			}
		}
		if touches, err := g.touches(oid, parents, o.Paths); err != nil {
			return nil, err
		} else if touches {
			list = append(list, oid)
		}
	}
	return list, nil
}

func (g *graph) parents(oid OID, o HistoryOptions) ([]OID, error) {
	c, err := g.commit(oid)
	if err != nil {
		return nil, err
	}
	if o.FirstParent {
		return c.Parents[:min(len(c.Parents), 1)], nil
	}
	return slices.Compact(slices.Clone(c.Parents)), nil
}

// touches reports whether a commit differs in one of the paths from one of its
// parents, or has one and no parent.
func (g *graph) touches(oid OID, parents []OID, paths []string) (bool, error) {
	if len(paths) == 0 {
		return true, nil
	}
	for _, path := range paths {
		now, _, err := g.r.Lookup(g.ctx, oid, path)
		if err != nil {
			return false, err
		}
		if len(parents) == 0 && now != (Entry{}) {
			return true, nil
		}
		for _, p := range parents {
			before, _, err := g.r.Lookup(g.ctx, p, path)
			if err != nil || before != now {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// mergeTree is [Repo.MergeTree] where no file has changed on both sides: what
// both have changed conflicts here, also where git would put the two together.
// Histories that meet in more than one place, and renames, are git's.
func (r *Repo) mergeTree(ctx context.Context, ours, theirs OID) (MergeResult, error) {
	fail := func(err error) (MergeResult, error) {
		return MergeResult{}, fmt.Errorf("merge %s into %s: %w", theirs.Short(), ours.Short(), err)
	}
	g := r.graph(ctx)
	bases, err := g.bases(ours, theirs)
	switch {
	case err != nil:
		return fail(err)
	case len(bases) == 0:
		return fail(&NoMergeBaseError{A: ours, B: theirs})
	case len(bases) > 1:
		return fail(&NeedsGitError{fmt.Sprintf("a merge of histories with %d merge bases", len(bases))})
	}
	var trees [3]Entry
	for i, commit := range []OID{bases[0], ours, theirs} {
		t, err := r.tree(ctx, commit)
		if err != nil {
			return fail(err)
		}
		trees[i] = Entry{Mode: ModeTree, OID: t.oid}
	}
	m := &merge{walk: walk{ctx: ctx, r: r, root: theirs}, digits: len(ours)}
	e, err := m.entry(trees[0], trees[1], trees[2], "")
	if err != nil {
		return fail(err)
	}
	if e.OID == "" {
		e.OID = r.only.make("tree", nil, m.digits)
	}
	slices.Sort(m.conflicts)
	return MergeResult{Tree: e.OID, Conflicts: m.conflicts}, nil
}

type merge struct {
	walk
	digits    int
	conflicts []string
}

// entry merges what stands at one path; the zero Entry is nothing.
func (m *merge) entry(base, ours, theirs Entry, path string) (Entry, error) {
	same := func(a, b Entry) bool { return a.Mode == b.Mode && a.OID == b.OID }
	switch {
	case same(ours, theirs), same(base, theirs):
		return ours, nil
	case same(base, ours):
		return theirs, nil
	}
	folder := func(e Entry) bool { return e.Mode == 0 || e.Mode == ModeTree }
	if !folder(base) || !folder(ours) || !folder(theirs) {
		m.conflicts = append(m.conflicts, path)
		return ours, nil
	}
	type sides [3]Entry
	names := map[string]sides{}
	for i, side := range []Entry{base, ours, theirs} {
		if side.Mode == 0 {
			continue
		}
		t, err := m.r.tree(m.ctx, side.OID)
		if err != nil {
			return Entry{}, err
		}
		if err := m.count(len(t.entries)+1, path); err != nil {
			return Entry{}, err
		}
		for _, e := range t.entries {
			three := names[e.Path]
			three[i] = e
			names[e.Path] = three
		}
	}
	var merged []Entry
	for name, three := range names {
		at := name
		if path != "" {
			at = path + "/" + name
		}
		e, err := m.entry(three[0], three[1], three[2], at)
		if err != nil {
			return Entry{}, err
		}
		if e.Mode != 0 {
			e.Path = name
			merged = append(merged, e)
		}
	}
	if len(merged) == 0 {
		return Entry{}, nil
	}
	return Entry{Mode: ModeTree, OID: m.r.only.make("tree", encodeTree(merged), m.digits)}, nil
}

// encodeTree writes a tree as git does.
func encodeTree(entries []Entry) []byte {
	key := func(e Entry) string {
		if e.Mode == ModeTree {
			return e.Path + "/"
		}
		return e.Path
	}
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare([]byte(key(a)), []byte(key(b))) })
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%o %s\x00", uint32(e.Mode), e.Path)
		raw, _ := hex.DecodeString(string(e.OID))
		b.Write(raw)
	}
	return b.Bytes()
}
