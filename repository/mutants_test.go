package repository_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
)

// A verdict is what status says of a mutant.
type verdict struct {
	complete bool
	rules    []string // that keep it from being complete, sorted
	invited  bool     // an invitation does so as well
	empty    bool     // no role is changed, which does so too
	err      error
}

// without reports whether the mutant would be complete if one rule were off; ""
// for none.
func (v verdict) without(rule string) bool {
	return v.err == nil && !v.empty && !v.invited && !slices.ContainsFunc(v.rules, func(r string) bool { return r != rule })
}

// judge makes mutants and asks status about them. It does so in batches: the
// objects of one batch are written by one process, and forgotten with it.
func (m *menagerie) judge(t *testing.T, list []*mutant) []verdict {
	t.Helper()
	verdicts := make([]verdict, 0, len(list))
	for batch := range slices.Chunk(list, 400) {
		var in stream
		type marked struct{ head, base int }
		var marks []marked
		for _, one := range batch {
			var at marked
			if one.head != nil {
				at.head = in.change("refs/heads/mutant", string(one.event.headAt), "", one.head())
			}
			if one.main != nil {
				at.base = in.change("refs/heads/mutant", string(one.event.baseAt), "", one.main())
			}
			marks = append(marks, at)
		}
		oids := map[int]git.OID{}
		if in.marks > 0 {
			oids = in.write(t, m.repo)
		}
		or := func(choices ...git.OID) git.OID {
			i := slices.IndexFunc(choices, func(o git.OID) bool { return o != "" })
			return choices[i]
		}
		verdicts = append(verdicts, judged(t, m.repo.Dir, batch, func(i int) (head, base git.OID) {
			one := batch[i]
			return or(oids[marks[i].head], one.from, one.event.headAt), or(oids[marks[i].base], one.onto, one.event.baseAt)
		})...)
	}
	return verdicts
}

func judged(t *testing.T, dir string, batch []*mutant, commits func(i int) (head, base git.OID)) []verdict {
	ctx := t.Context()
	g, err := git.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	verdicts := make([]verdict, len(batch))
	work := make(chan int)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := range work {
				head, base := commits(i)
				verdicts[i] = judgedOne(ctx, r, batch[i], head, base)
			}
		})
	}
	for i := range batch {
		work <- i
	}
	close(work)
	wait.Wait()
	return verdicts
}

func judgedOne(ctx context.Context, r *repository.Repository, one *mutant, head, base git.OID) (v verdict) {
	defer func() {
		if p := recover(); p != nil {
			v.err = fmt.Errorf("panic: %v", p)
		}
	}()
	e, err := r.OpenEvent(ctx, repository.EventOptions{Name: one.event.name, Head: string(head), Base: string(base)})
	if err != nil {
		return verdict{err: err}
	}
	s, err := e.Status(ctx, one.now, repository.Policy{})
	if err != nil {
		return verdict{err: err}
	}
	v.complete, v.empty = s.Complete, len(s.Roles) == 0
	for _, role := range s.Roles {
		v.invited = v.invited || len(role.Invites) > 0
	}
	for _, f := range blocking(s) {
		v.rules = append(v.rules, f.Rule)
	}
	slices.Sort(v.rules)
	v.rules = slices.Compact(v.rules)
	return v
}

// fits compiles a pattern of the lists: * stands for anything.
func fits(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
}

func TestMutants(t *testing.T) {
	m := newMenagerie(t)
	all := m.mutants()
	full := os.Getenv("TUFOPS_MUTANTS") != ""
	chosen := all
	if !full {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		chosen = nil
		for _, i := range rng.Perm(len(all))[:400] {
			chosen = append(chosen, all[i])
		}
	}
	start := time.Now()
	verdicts := m.judge(t, chosen)
	t.Logf("%d of %d, %v", len(chosen), len(all), time.Since(start))
	type cell struct {
		n, survived, errs int
		rules       map[string]int
	}
	classes := map[string]*cell{}
	sole := map[string]map[string]int{}
	surv := map[string]int{}
	tot := map[string]int{}
	for i, v := range verdicts {
		one := chosen[i]
		c := classes[one.class]
		if c == nil {
			c = &cell{rules: map[string]int{}}
			classes[one.class] = c
		}
		c.n++
		tot[one.String()]++
		if v.err != nil {
			c.errs++
			t.Logf("ERR %s %s: %v", one.event.name, one, v.err)
			continue
		}
		if v.complete != v.without("") {
			t.Errorf("%s %s: complete %v, but blocked by %v", one.event.name, one, v.complete, v.rules)
		}
		for _, r := range v.rules {
			c.rules[r]++
			if len(v.rules) == 1 && v.without(r) {
				if sole[r] == nil {
					sole[r] = map[string]int{}
				}
				sole[r][one.String()]++
			}
		}
		if v.complete {
			c.survived++
			surv[one.String()]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		t.Logf("%-16s %5d %5d %v", name, classes[name].n, classes[name].survived, classes[name].rules)
	}
	for _, name := range slices.Sorted(maps.Keys(surv)) {
		t.Logf("SURV %d/%d %s", surv[name], tot[name], name)
	}
	for _, r := range repository.Rules() {
		ex := slices.Sorted(maps.Keys(sole[r.Name]))
		t.Logf("RULE %s %s %d %.3q", r.Name, r.Gates, len(ex), ex[:min(3, len(ex))])
	}
}
