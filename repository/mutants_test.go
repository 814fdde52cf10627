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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// A verdict is what status says of a mutant.
type verdict struct {
	none     bool // the change changes nothing in this event
	complete bool
	rules    []string // that keep it from being complete, sorted
	invited  bool     // an invitation does so as well
	empty    bool     // no role is changed, which does so too
	gotuf    error    // why go-tuf does not read or verify what is complete
	err      error
}

// without reports whether the mutant would be complete if the findings of one
// rule were dropped; of rule "", whether it is as it stands.
func (v verdict) without(rule string) bool {
	return v.err == nil && !v.none && !v.empty && !v.invited && !slices.ContainsFunc(v.rules, func(r string) bool { return r != rule })
}

// judge makes mutants and asks for their status. It does so in batches: the
// objects of one are written by one process, and what is remembered of them is
// forgotten with it.
func (m *menagerie) judge(list []*mutant) []verdict {
	m.t.Helper()
	verdicts := make([]verdict, 0, len(list))
	for batch := range slices.Chunk(list, 400) {
		verdicts = append(verdicts, m.judgeBatch(batch)...)
	}
	return verdicts
}

func (m *menagerie) judgeBatch(batch []*mutant) []verdict {
	m.t.Helper()
	ctx := context.Background()
	var in stream
	heads, bases := make([]int, len(batch)), make([]int, len(batch))
	changes := make([][]change, len(batch))
	verdicts := make([]verdict, len(batch))
	for i, one := range batch {
		if one.head != nil {
			if changes[i] = one.head(); changes[i] == nil {
				verdicts[i].none = true
				continue
			}
			heads[i] = in.change("refs/heads/mutant", string(one.event.headAt), "", changes[i])
		}
		if one.main != nil {
			bases[i] = in.change("refs/heads/mutant", string(one.event.baseAt), "", one.main())
		}
	}
	oids := in.write(m.t, m.repo)
	g, err := git.Open(ctx, m.repo.Dir)
	if err != nil {
		m.t.Fatal(err)
	}
	defer g.Close()
	r, err := repository.New(g, "")
	if err != nil {
		m.t.Fatal(err)
	}
	work := make(chan int)
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := range work {
				one := batch[i]
				verdicts[i] = status(ctx, r, one, first(oids[heads[i]], one.from, one.event.headAt), first(oids[bases[i]], one.onto, one.event.baseAt))
				if verdicts[i].complete && one.from == "" {
					verdicts[i].gotuf = goTUF(one.event, changes[i])
				}
			}
		})
	}
	for i := range batch {
		if !verdicts[i].none {
			work <- i
		}
	}
	close(work)
	wait.Wait()
	return verdicts
}

func first(choices ...git.OID) git.OID {
	return choices[slices.IndexFunc(choices, func(o git.OID) bool { return o != "" })]
}

func status(ctx context.Context, r *repository.Repository, one *mutant, head, base git.OID) (v verdict) {
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

// goTUF says why go-tuf, from the known-good root on, does not read and verify
// the roles of a changed head; nil if it does.
func goTUF(e *rekeyed, changes []change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	head := maps.Clone(e.head)
	for _, c := range changes {
		if head[c.path] = c.content; c.gone {
			delete(head, c.path)
		}
	}
	known, err := gotuf.Root().FromBytes([]byte(e.known["metadata/root.json"].data))
	if err != nil {
		return err
	}
	root, err := gotuf.Root().FromBytes([]byte(head["metadata/root.json"].data))
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := known.VerifyDelegate(metadata.Root, root); err != nil {
		return err
	}
	if err := root.VerifyDelegate(metadata.Root, root); err != nil {
		return err
	}
	targets, err := gotuf.Targets().FromBytes([]byte(head["metadata/targets.json"].data))
	if err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	if err := root.VerifyDelegate(metadata.Targets, targets); err != nil {
		return err
	}
	if targets.Signed.Delegations == nil {
		return nil
	}
	for _, d := range targets.Signed.Delegations.Roles {
		if d.Name == "" {
			continue
		}
		role, err := gotuf.Targets().FromBytes([]byte(head[repository.MetadataFile(d.Name)].data))
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		if err := targets.VerifyDelegate(d.Name, role); err != nil {
			return err
		}
		if _, err := d.IsDelegatedPath("some/path"); err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return nil
}

// A claim is about the mutants whose class and place fit a pattern, in which *
// stands for anything.
type claim struct{ pattern, why string }

func (c claim) fits(one *mutant) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(c.pattern), `\*`, ".*") + "$").MatchString(one.String())
}

func TestDiscover(t *testing.T) {
	m := newMenagerie(t)
	all := m.mutants()
	chosen := all
	if os.Getenv("TUFOPS_MUTANTS") != "all" {
		seed, err := strconv.ParseUint(os.Getenv("TUFOPS_MUTANTS"), 10, 64)
		if err != nil {
			seed = uint64(time.Now().UnixNano())
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		chosen = nil
		for _, i := range rng.Perm(len(all))[:400] {
			chosen = append(chosen, all[i])
		}
	}
	start := time.Now()
	verdicts := m.judge(chosen)
	t.Logf("%d of %d, %v", len(chosen), len(all), time.Since(start))
	sole := map[string]map[string]int{}
	surv, tot, bad := map[string]int{}, map[string]int{}, map[string]string{}
	for i, v := range verdicts {
		one := chosen[i]
		if v.none {
			continue
		}
		tot[one.String()]++
		if v.err != nil {
			t.Logf("ERR %s %s: %v", one.event.name, one, v.err)
			continue
		}
		if v.complete != v.without("") {
			t.Errorf("%s %s: complete %v, but blocked by %v", one.event.name, one, v.complete, v.rules)
		}
		for _, r := range v.rules {
			if len(v.rules) == 1 && v.without(r) {
				if sole[r] == nil {
					sole[r] = map[string]int{}
				}
				sole[r][one.String()]++
			}
		}
		if v.complete {
			surv[one.String()]++
			if v.gotuf != nil {
				bad[one.String()] = v.gotuf.Error()
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(surv)) {
		t.Logf("SURV %d/%d %s", surv[name], tot[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		t.Logf("GOTUF %s: %.150s", name, bad[name])
	}
	for _, r := range repository.Rules() {
		best := ""
		for _, name := range slices.Sorted(maps.Keys(sole[r.Name])) {
			if best == "" || sole[r.Name][name]*100/tot[name] > sole[r.Name][best]*100/tot[best] {
				best = name
			}
		}
		t.Logf("RULE %s %s %d %s %d/%d", r.Name, r.Gates, len(sole[r.Name]), best, sole[r.Name][best], tot[best])
	}
}
