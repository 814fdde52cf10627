package githubtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/github/githubtest"
)

// Each way in which a request can go wrong, before and after its effect.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	comment := githubtest.To("POST /repos/{owner}/{repo}/issues/{issue_number}/comments")
	for _, test := range []struct {
		name  string
		fault githubtest.Fault
		says  string
	}{
		{"500", githubtest.Fault{Status: 500}, "Server Error"},
		{"502", githubtest.Fault{Status: 502}, "<html>"},
		{"503", githubtest.Fault{Status: 503}, "<html>"},
		{"dropped", githubtest.Fault{Drop: true}, ""},
		{"own words", githubtest.Fault{Status: 418, Body: `{"message": "no coffee"}`, Header: http.Header{"X-Own": {"1"}}}, "no coffee"},
	} {
		for _, done := range []bool{false, true} {
			w.Heal()
			before := len(w.Comments(1))
			test.fault.Done, test.fault.On, test.fault.Skip, test.fault.Times = done, comment, 1, 2
			w.Inject(test.fault)
			for i, fails := range []bool{false, true, true, false} {
				status, header, body, err := send(w.token, "POST", w.URL+repo+"/issues/1/comments", `{"body": "x"}`)
				switch {
				case !fails && (err != nil || status != 201):
					t.Errorf("%s: request %d is hit: %d, %v", test.name, i, status, err)
				case fails && test.fault.Drop && err == nil:
					t.Errorf("%s: request %d is answered with %d", test.name, i, status)
				case fails && !test.fault.Drop && (status != test.fault.Status || !strings.Contains(body, test.says)):
					t.Errorf("%s: request %d is answered with %d %s, %v", test.name, i, status, body, err)
				case fails && test.fault.Header != nil && header.Get("X-Own") != "1":
					t.Errorf("%s: the header is %v", test.name, header)
				}
			}
			want := before + 2
			if done {
				want += 2
			}
			if got := len(w.Comments(1)); got != want {
				t.Errorf("%s, done %v: there are %d comments, want %d", test.name, done, got, want)
			}
			last := w.Requests()
			if r := last[len(last)-2]; (r.Order > 0) != done || test.fault.Drop && r.Status != 0 || !test.fault.Drop && r.Status != test.fault.Status {
				t.Errorf("%s, done %v: logged is %+v", test.name, done, r)
			}
		}
	}
	w.Heal()
	w.Inject(githubtest.Fault{On: githubtest.Writes, Status: 500})
	if status, _ := w.ask(w.token, "GET", repo+"/pulls", ""); status != 200 {
		t.Errorf("a read is hit by what is for writes: %d", status)
	}
	w.Inject(githubtest.Fault{On: githubtest.Nth(len(w.Requests()) + 1), Status: 502})
	for _, want := range []int{502, 200} {
		if status, _ := w.ask(w.token, "GET", repo+"/pulls", ""); status != want {
			t.Errorf("it answers %d, want %d", status, want)
		}
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	for _, done := range []bool{false, true} {
		w.Heal()
		before := len(w.Comments(1))
		release, arrived := make(chan struct{}), make(chan struct{}, 2)
		w.Inject(githubtest.Fault{On: githubtest.Writes, Until: release, Done: done})
		w.Gate(func(context.Context, *githubtest.Request) { arrived <- struct{}{} })
		answers := make(chan int)
		go func() {
			status, _, _, _ := send(w.token, "POST", w.URL+repo+"/issues/1/comments", `{"body": "x"}`)
			answers <- status
		}()
		<-arrived
		select {
		case status := <-answers:
			t.Fatalf("done %v: answered %d at once", done, status)
		default:
		}
		close(release)
		if status := <-answers; status != 201 {
			t.Errorf("done %v: answered %d in the end", done, status)
		}
		// One that gives up: nothing has happened yet, or it has.
		w.Heal()
		w.Inject(githubtest.Fault{On: githubtest.Writes, Until: make(chan struct{}), Done: done})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		req, err := http.NewRequestWithContext(ctx, "POST", w.URL+repo+"/issues/1/comments", strings.NewReader(`{"body": "x"}`))
		check(t, err)
		req.Header.Set("Authorization", "token "+w.token)
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("done %v: the answer came: %d", done, resp.StatusCode)
		}
		w.Gate(nil)
		if !done {
			if got := len(w.Comments(1)); got != before+1 {
				t.Errorf("there are %d comments, want %d", got, before+1)
			}
		}
	}
}

func TestFlaky(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	outcome := func(seed uint64) (kinds []string) {
		choose := githubtest.Flaky(seed, 0.5)
		for range 200 {
			f := choose(nil)
			if f == nil {
				kinds = append(kinds, "fine")
				continue
			}
			kinds = append(kinds, fmt.Sprint(f.Status, f.Drop, f.Done))
		}
		return kinds
	}
	if !slices.Equal(outcome(1), outcome(1)) || slices.Equal(outcome(1), outcome(2)) {
		t.Error("the faults do not follow from the seed")
	}
	kinds := outcome(1)
	slices.Sort(kinds)
	if kinds = slices.Compact(kinds); len(kinds) != 9 {
		t.Errorf("the ways to go wrong are %q", kinds)
	}
	w.InjectFunc(githubtest.Flaky(1, 1))
	if status, _, _, err := send(w.token, "GET", w.URL+repo, ""); err == nil && status < 500 {
		t.Errorf("a server that always fails answers %d", status)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := gittest.Epoch
	w := newWorld(t, githubtest.Options{Now: func() time.Time { return now }})
	w.openPull("sign/x")
	reset := now.Add(30 * time.Minute)
	w.Limit(w.token, 2, reset)
	for _, want := range []int{200, 200, 403, 403} {
		status, header, body := w.askFor(w.token, "GET", w.URL+repo+"/pulls", "")
		if status != want || header.Get("X-RateLimit-Reset") != strconv.FormatInt(reset.Unix(), 10) {
			t.Errorf("it answers %d %s with %v, want %d", status, body, header, want)
		}
		if status == 403 && (header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(body, "API rate limit exceeded")) {
			t.Errorf("the limit says %s with %v", body, header)
		}
	}
	if got := w.graphql(w.token, "{ viewer { login } }", nil); !strings.Contains(got, `"RATE_LIMITED"`) {
		t.Errorf("GraphQL says %s", got)
	}
	if status, _ := w.ask("", "GET", repo+"/pulls", ""); status != 200 {
		t.Errorf("another one's limit is over too: %d", status)
	}
	var limit *github.RateLimitError
	if _, _, err := w.client(w.token).PullRequests.Get(t.Context(), "octo", "tuf", 1); !errors.As(err, &limit) || !limit.Rate.Reset.Time.Equal(reset) {
		t.Errorf("the client says %v", err)
	}
	now = reset
	if status, header, _ := w.askFor(w.token, "GET", w.URL+repo+"/pulls", ""); status != 200 || header.Get("X-RateLimit-Remaining") != "4999" {
		t.Errorf("after the reset it answers %d with %v", status, header)
	}

	// Limits by injection change nothing.
	for name, fault := range map[string]githubtest.Fault{
		"primary": githubtest.PrimaryLimit(403, reset), "primary, 429": githubtest.PrimaryLimit(429, reset),
		"secondary": githubtest.SecondaryLimit(403, 60), "secondary, 429": githubtest.SecondaryLimit(429, 60),
	} {
		w.Heal()
		w.Inject(fault)
		_, resp, err := w.client(w.token).Issues.CreateComment(t.Context(), "octo", "tuf", 1, &github.IssueComment{Body: github.String("x")})
		var abuse *github.AbuseRateLimitError
		switch {
		case resp.StatusCode != fault.Status:
			t.Errorf("%s: answered %d", name, resp.StatusCode)
		case name == "primary" && !errors.As(err, &limit), name == "secondary" && (!errors.As(err, &abuse) || *abuse.RetryAfter != time.Minute):
			t.Errorf("%s: the client says %v", name, err)
		case strings.HasPrefix(name, "secondary") && resp.Header.Get("Retry-After") != "60":
			t.Errorf("%s: the header is %v", name, resp.Header)
		}
	}
	if got := w.Comments(1); len(got) != 0 {
		t.Errorf("there are %d comments", len(got))
	}
}

// Two runs that look for a pull request and open one if there is none. Whether
// both find none is up to the order.
func TestInterleave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	for _, test := range []struct {
		order []string
		log   string
	}{
		{[]string{"a", "a", "a", "b", "b"}, "a GET 200, a POST 201, b GET 200"},
		{[]string{"a", "b", "a", "b", "a", "b"}, "a GET 200, b GET 200, a POST 201, b POST 422"},
		{[]string{"a", "b", "b", "b", "a", "a"}, "b GET 200, b POST 201, a GET 200"},
		{[]string{"b", "a", "a", "b", "b", "a"}, "a GET 200, b GET 200, b POST 201, a POST 422"},
		{nil, "a GET 200, a POST 201, b GET 200"},
	} {
		if got := interleave(w, githubtest.Order(test.order...)); got != test.log {
			t.Errorf("in the order %q it went %s, want %s", test.order, got, test.log)
		}
	}
	logs := map[string]bool{}
	for seed := range uint64(8) {
		first, again := interleave(w, githubtest.Shuffle(seed)), interleave(w, githubtest.Shuffle(seed))
		if again != first {
			t.Errorf("seed %d went %s, and then %s", seed, first, again)
		}
		logs[first] = true
	}
	if len(logs) < 3 {
		t.Errorf("eight seeds give only %v", logs)
	}
}

// interleave returns what the requests of two runs were, in the order in which
// they were carried out, and closes the pull request that they open.
func interleave(w *world, choose func([]string) string) string {
	run := func(e githubtest.Endpoint) {
		_, _, body, err := send(w.token, "GET", e.REST+repo+"/pulls?head=octo:sign/x", "")
		if err == nil && body == "[]" {
			send(w.token, "POST", e.REST+repo+"/pulls", `{"title": "t", "head": "sign/x", "base": "main"}`)
		}
	}
	before := len(w.Requests())
	w.Interleave(choose, map[string]func(githubtest.Endpoint){"a": run, "b": run})
	requests := w.Requests()[before:]
	slices.SortFunc(requests, func(a, b githubtest.Request) int { return a.Order - b.Order })
	var log []string
	for _, r := range requests {
		log = append(log, fmt.Sprintf("%s %s %d", r.Run, r.Method, r.Status))
	}
	open := w.numbers("")
	if len(open) != 1 {
		w.t.Errorf("there are pull requests %v after %s", open, log)
	}
	for _, n := range open {
		w.ClosePull(n, "alice")
	}
	return strings.Join(log, ", ")
}

// A run that sends two requests at once has them carried out one after the
// other: nobody moves while one is under way.
func TestInterleaveWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	run := func(e githubtest.Endpoint) {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { send(w.token, "GET", e.REST+repo+"/pulls", "") })
		}
		both.Wait()
	}
	moves := 0
	w.Interleave(func(waiting []string) string {
		if moves++; moves > 2 { // the first two are the beginnings
			passed := 0
			for _, r := range w.Requests() {
				if r.Order > 0 {
					passed++
				}
			}
			if passed != moves-3 {
				t.Errorf("at move %d %d requests are done, want %d", moves, passed, moves-3)
			}
		}
		if moves <= 2 {
			return []string{"a", "b"}[moves-1]
		}
		return waiting[0]
	}, map[string]func(githubtest.Endpoint){"a": run, "b": run})
	if got := len(w.Requests()); got != 4 {
		t.Errorf("there were %d requests, want 4", got)
	}
}

// A run whose request is lost, one that gives up waiting, and one that asks
// nothing do not stop the others.
func TestInterleaveGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.Inject(githubtest.Fault{On: githubtest.To("POST /repos/{owner}/{repo}/issues"), Drop: true, Done: true})
	ended := make(chan string, 3)
	w.Interleave(githubtest.Order("gives up", "lost", "lost", "silent"), map[string]func(githubtest.Endpoint){
		"silent": func(githubtest.Endpoint) { ended <- "silent" },
		"lost": func(e githubtest.Endpoint) {
			send(w.token, "POST", e.REST+repo+"/issues", `{"title": "t"}`)
			ended <- "lost"
		},
		"gives up": func(e githubtest.Endpoint) {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, "GET", e.REST+repo, nil)
			cancel()
			http.DefaultClient.Do(req)
			ended <- "gives up"
		},
	})
	close(ended)
	var order []string
	for name := range ended {
		order = append(order, name)
	}
	if got := strings.Join(order, ", "); got != "gives up, lost, silent" {
		t.Errorf("they ended as %s", got)
	}
	if got := w.Issues(); len(got) != 1 {
		t.Errorf("there are %d issues", len(got))
	}
	// Interleave leaves no gate behind.
	if status, _, _, err := send(w.token, "GET", w.Endpoint("lost").REST+repo, ""); status != 200 {
		t.Errorf("afterwards it answers %d, %v", status, err)
	}
}
