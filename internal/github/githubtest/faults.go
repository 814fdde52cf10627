package githubtest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Fault is one way in which a request goes wrong. Without Done it goes wrong
// before anything has happened, with Done after: the server has done what was
// asked, and the client does not get to know.
type Fault struct {
	// On chooses the requests; nil: every one. Of those Skip pass unharmed, then
	// Times are hit; 0: all.
	On          func(*Request) bool
	Skip, Times int

	Done bool

	// Until, if set, is what the request waits for, or for the client to give up.
	Until <-chan struct{}

	// Drop closes the connection without a word.
	Drop bool

	// Status, if not 0, is answered, with Header and Body.
	Status int
	Header http.Header
	Body   string
}

// Inject has requests go wrong from now on. Of several faults that fit a request
// the one injected first has it.
func (s *Server) Inject(f Fault) {
	if f.Until == nil && !f.Drop && f.Status == 0 {
		panic("githubtest: a fault that does nothing")
	}
	matched := 0
	s.InjectFunc(func(r *Request) *Fault {
		if f.On != nil && !f.On(r) {
			return nil
		}
		matched++
		if matched <= f.Skip || f.Times > 0 && matched > f.Skip+f.Times {
			return nil
		}
		return &f
	})
}

// InjectFunc asks choose of every request what goes wrong with it; nil for
// nothing. It is called for one request at a time, in the order in which they
// are carried out.
func (s *Server) InjectFunc(choose func(*Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, choose)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) fault(r *Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, choose := range s.faults {
		if f := choose(r); f != nil {
			return f
		}
	}
	return nil
}

func (f *Fault) wait(ctx context.Context) {
	if f.Until == nil {
		return
	}
	select {
	case <-f.Until:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// answer makes the server's words for a status for which the test has none:
// JSON for 500, and for what a proxy before GitHub says, a page.
func (f *Fault) answer() *answer {
	a := &answer{status: f.Status, header: http.Header{}, body: []byte(f.Body)}
	switch {
	case f.Body != "":
		a.header.Set("Content-Type", "application/json; charset=utf-8")
	case f.Status == http.StatusBadGateway, f.Status == http.StatusServiceUnavailable, f.Status == http.StatusGatewayTimeout:
		a.header.Set("Content-Type", "text/html; charset=utf-8")
		a.body = fmt.Appendf(nil, "<html><body><h1>%d %s</h1></body></html>\n", f.Status, http.StatusText(f.Status))
	default:
		a.json(obj{"message": "Server Error"})
	}
	maps.Copy(a.header, f.Header)
	return a
}

// Nth chooses the n-th request that reaches the server, from 1.
func Nth(n int) func(*Request) bool {
	return func(r *Request) bool { return r.Index == n }
}

// Writes chooses requests that are there to change something.
func Writes(r *Request) bool { return r.Writes() }

// To chooses the requests of a [Request.Route].
func To(route string) func(*Request) bool {
	return func(r *Request) bool { return r.Route == route }
}

// PrimaryLimit is the answer to a token that has used up its hour, until reset.
// GitHub gives it with status 403 or 429.
func PrimaryLimit(status int, reset time.Time) Fault {
	return Fault{Status: status, Body: errorJSON("API rate limit exceeded for user ID 1001.", primaryDoc), Header: http.Header{
		"X-Ratelimit-Limit":     {"5000"},
		"X-Ratelimit-Remaining": {"0"},
		"X-Ratelimit-Used":      {"5000"},
		"X-Ratelimit-Reset":     {strconv.FormatInt(reset.Unix(), 10)},
		"X-Ratelimit-Resource":  {"core"},
	}}
}

// SecondaryLimit is the answer to a client that asks too much at once. GitHub
// gives it with status 403 or 429; the client is to wait for some seconds.
func SecondaryLimit(status, seconds int) Fault {
	return Fault{Status: status, Body: errorJSON("You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", secondaryDoc),
		Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}}}
}

const (
	primaryDoc   = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"
	secondaryDoc = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
)

func errorJSON(message, doc string) string {
	a := answer{header: http.Header{}}
	a.json(obj{"message": message, "documentation_url": doc})
	return string(a.body)
}

// Flaky chooses a share of requests, between 0 and 1, and in which way each goes
// wrong: an error of the server or a lost connection, before or after it is
// done. The same seed and the same requests give the same faults.
func Flaky(seed uint64, share float64) func(*Request) *Fault {
	random := rand.New(rand.NewPCG(seed, 0))
	return func(*Request) *Fault {
		if random.Float64() >= share {
			return nil
		}
		f := &Fault{Done: random.IntN(2) == 1}
		switch random.IntN(4) {
		case 0:
			f.Status = http.StatusInternalServerError
		case 1:
			f.Status = http.StatusBadGateway
		case 2:
			f.Status = http.StatusServiceUnavailable
		default:
			f.Drop = true
		}
		return f
	}
}

// Gate has f called for each request when it has arrived and nothing has been
// done. The request goes on when f returns; f must return when its context ends.
// nil opens the gate.
func (s *Server) Gate(f func(context.Context, *Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = f
}

// Interleave carries out several runs at the same time, and has one of them move
// at a time: from its beginning, or from a request that it sends, to its next
// request or its end. Which one moves next choose says, out of those that can, in
// alphabetical order; see [Order] and [Shuffle]. So a run that makes one request
// after the other has the same neighbours whenever the test runs, git commands
// between the requests included. It returns when all runs have ended.
//
// Each run gets an address of its own. Requests to other addresses pass at any
// time.
func (s *Server) Interleave(choose func(waiting []string) string, runs map[string]func(Endpoint)) {
	t := &turns{wake: make(chan struct{}, 1), runs: map[string]*turn{}}
	for name, run := range runs {
		start := make(chan struct{})
		t.runs[name] = &turn{waiting: []chan struct{}{start}}
		go func() {
			defer t.change(func() { t.runs[name].ended = true })
			<-start
			run(s.Endpoint(name))
		}()
	}
	s.mu.Lock()
	s.gate, s.served = t.arrive, t.served
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.gate, s.served = nil, nil
		s.mu.Unlock()
	}()
	for {
		waiting := t.settle()
		if len(waiting) == 0 {
			return
		}
		name := choose(waiting)
		if !slices.Contains(waiting, name) {
			panic(fmt.Sprintf("githubtest: %q cannot move, only %q can", name, waiting))
		}
		t.pass(name)
	}
}

// turns is who waits for whom in Interleave.
type turns struct {
	mu   sync.Mutex
	wake chan struct{} // something has changed
	runs map[string]*turn
}

type turn struct {
	waiting []chan struct{} // the beginning, or requests at the gate
	serving int             // requests that have passed and are not answered
	begun   bool            // it has passed its beginning
	ended   bool
}

func (t *turns) change(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *turns) arrive(ctx context.Context, r *Request) {
	own := t.runs[r.Run]
	if own == nil {
		return
	}
	turn := make(chan struct{})
	t.change(func() { own.waiting = append(own.waiting, turn) })
	select {
	case <-turn:
	case <-ctx.Done():
		t.change(func() {
			if i := slices.Index(own.waiting, turn); i >= 0 {
				own.waiting = slices.Delete(own.waiting, i, i+1)
				own.serving++ // served takes it back
			}
		})
	}
}

func (t *turns) served(r *Request) {
	if own := t.runs[r.Run]; own != nil {
		t.change(func() { own.serving-- })
	}
}

// settle waits until every run waits at the gate or has ended, and returns the
// names of those that wait.
func (t *turns) settle() []string {
	for {
		var waiting []string
		settled := true
		t.mu.Lock()
		for name, r := range t.runs {
			switch {
			case r.serving > 0 || len(r.waiting) == 0 && !r.ended:
				settled = false
			case len(r.waiting) > 0:
				waiting = append(waiting, name)
			}
		}
		t.mu.Unlock()
		if settled {
			slices.Sort(waiting)
			return waiting
		}
		<-t.wake
	}
}

// pass lets the named run move.
func (t *turns) pass(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.runs[name]
	turn := r.waiting[0]
	r.waiting = r.waiting[1:]
	if r.begun {
		r.serving++
	}
	r.begun = true
	close(turn)
}

// Order has the runs move in the order of their names in the list. A run that has
// ended is passed over; after the list, the first that can moves until it ends.
func Order(names ...string) func([]string) string {
	return func(waiting []string) string {
		for len(names) > 0 {
			name := names[0]
			names = names[1:]
			if slices.Contains(waiting, name) {
				return name
			}
		}
		return waiting[0]
	}
}

// Shuffle has the runs move in an order that follows from the seed.
func Shuffle(seed uint64) func([]string) string {
	random := rand.New(rand.NewPCG(seed, 1))
	return func(waiting []string) string { return waiting[random.IntN(len(waiting))] }
}
