package github

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tufops/tufops/signingevent"
)

// calls are the ways in which a request is made, and whether it may be made
// again when nobody knows whether it was carried out.
var calls = []struct {
	name  string
	again bool
	ok    string // an answer that it takes
	call  func(context.Context, *Forge) error
}{
	{"read", true, `[]`, func(ctx context.Context, f *Forge) error { _, err := f.comments(ctx, 1, readPulls); return err }},
	{"edit", true, `{"id":1}`, func(ctx context.Context, f *Forge) error { return f.EditComment(ctx, 1, "x") }},
	{"delete", true, `{}`, func(ctx context.Context, f *Forge) error { return f.DeleteComment(ctx, 1) }},
	{"label", true, `[]`, func(ctx context.Context, f *Forge) error {
		return f.SetLabel(ctx, signingevent.Pull{Number: 1}, "l", true)
	}},
	{"unlabel", true, `[]`, func(ctx context.Context, f *Forge) error {
		return f.SetLabel(ctx, signingevent.Pull{Number: 1}, "l", false)
	}},
	{"status", true, `{"id":1}`, func(ctx context.Context, f *Forge) error {
		return f.SetStatus(ctx, "abc", signingevent.CommitStatus{Context: "c", State: "success"})
	}},
	{"draft", true, `{"data":{"convertPullRequestToDraft":{"pullRequest":{"isDraft":true}}}}`, func(ctx context.Context, f *Forge) error {
		return f.SetDraft(ctx, signingevent.Pull{Number: 1, ID: "PR_1"}, true)
	}},
	{"comments", true, `{"data":{"viewer":{"login":"someone"},"repository":{"pullRequest":{"comments":{"nodes":[]}}}}}`, func(ctx context.Context, f *Forge) error {
		_, err := f.Comments(ctx, 1)
		return err
	}},
	{"self", true, `{"data":{"viewer":{"login":"someone"}}}`, func(ctx context.Context, f *Forge) error { _, err := f.Self(ctx); return err }},
	{"comment", false, `{"id":1}`, func(ctx context.Context, f *Forge) error { _, err := f.CreateComment(ctx, 1, "x"); return err }},
	{"open", false, `{"number":1}`, func(ctx context.Context, f *Forge) error {
		_, err := f.OpenPull(ctx, signingevent.NewPull{Branch: "b", Base: "main"})
		return err
	}},
	{"dispatch", false, ``, func(ctx context.Context, f *Forge) error { return f.Dispatch(ctx, "w.yml", "main", nil) }},
	{"issue", false, `{"number":1,"labels":[{"name":"w"}]}`, func(ctx context.Context, f *Forge) error {
		return issueUpdate{Forge: f, Failure: Failure{Workflow: "w", RunID: 1, Attempt: 1}, report: &IssueReport{}}.open(ctx)
	}},
}

type failing struct {
	name   string
	undone bool          // GitHub says, or it is plain, that the request was not carried out
	wait   time.Duration // at least, before the next try
	fail   func() (*http.Response, error)
}

var failures = []failing{
	{"502", false, 0, func() (*http.Response, error) { return reply(502, "<html>") }},
	{"500", false, 0, func() (*http.Response, error) { return reply(500, message("Server Error")) }},
	{"503 that says when", false, 20 * time.Second, func() (*http.Response, error) { return reply(503, "", "Retry-After: 20") }},
	{"dropped", false, 0, func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }},
	{"timeout", false, 0, func() (*http.Response, error) { return nil, context.DeadlineExceeded }},
	{"half an answer", false, 0, func() (*http.Response, error) {
		resp, err := reply(200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`[{"id":`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return resp, err
	}},
	{"refused", true, 0, func() (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}},
	{"secondary limit", true, 60 * time.Second, func() (*http.Response, error) {
		return reply(403, message("You have exceeded a secondary rate limit. Please wait a few minutes before you try again."))
	}},
	{"secondary limit that says when", true, 30 * time.Second, func() (*http.Response, error) {
		return reply(403, message("You have exceeded a secondary rate limit."), "Retry-After: 30")
	}},
	{"secondary limit by its page", true, 60 * time.Second, func() (*http.Response, error) {
		return reply(403, `{"message":"Slow down","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
	}},
	{"429", true, 10 * time.Second, func() (*http.Response, error) { return reply(429, "", "Retry-After: 10") }},
	{"429 with a date", true, 10 * time.Second, func() (*http.Response, error) {
		return reply(429, "", "Retry-After: "+start.Add(10*time.Second).Format(http.TimeFormat), "Date: "+start.Format(http.TimeFormat))
	}},
	{"primary limit", true, 90 * time.Second, func() (*http.Response, error) {
		return reply(403, message("API rate limit exceeded for user ID 1."), "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", start.Add(90*time.Second).Unix()))
	}},
	{"primary limit by GitHub's clock", true, 90 * time.Second, func() (*http.Response, error) {
		theirs := start.Add(-time.Hour)
		return reply(429, message("API rate limit exceeded"), "Date: "+theirs.Format(http.TimeFormat),
			"X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", theirs.Add(90*time.Second).Unix()))
	}},
	{"an empty answer", false, 0, func() (*http.Response, error) { return reply(200, "") }},
}

// TestTriedAgain tries every call with every way of going wrong: it is made
// again, once, after a pause, exactly where that is safe.
func TestTriedAgain(t *testing.T) {
	for _, call := range calls {
		for _, failing := range failures {
			if failing.name == "an empty answer" && call.name != "read" {
				continue // others have nothing to read
			}
			t.Run(call.name+"/"+failing.name, func(t *testing.T) {
				f, h := open(t, func(n int, r *http.Request, body string) (*http.Response, error) {
					if n == 1 {
						return failing.fail()
					}
					return reply(200, call.ok)
				})
				err := call.call(t.Context(), f)
				if call.again || failing.undone {
					if err != nil || len(h.asked) != 2 || len(h.slept) != 1 {
						t.Fatalf("asked %d times, slept %v, error %v", len(h.asked), h.slept, err)
					}
					if h.asked[0] != h.asked[1] {
						t.Errorf("asked %+v, then %+v", h.asked[0], h.asked[1])
					}
					if d := h.slept[0] - failing.wait; d <= 0 || d > 2*time.Second {
						t.Errorf("slept %v; asked to wait %v", h.slept[0], failing.wait)
					}
					return
				}
				var gone *UnavailableError
				if !errors.As(err, &gone) || len(h.asked) != 1 || len(h.slept) != 0 {
					t.Fatalf("asked %d times, slept %v, error %v", len(h.asked), h.slept, err)
				}
				if gone.Tries != 1 || !gone.MayBeDone || gone.Note() == "" || gone.Hint() == "" || !strings.Contains(err.Error(), "tried once, at last: ") {
					t.Errorf("%+v: %v", gone, err)
				}
			})
		}
	}
}

// TestGivenUp: what never gets better is reported with what was tried, how
// often, and what came of it.
func TestGivenUp(t *testing.T) {
	for _, call := range calls {
		for _, failing := range failures {
			if !call.again && !failing.undone || failing.name == "an empty answer" && call.name != "read" {
				continue
			}
			t.Run(call.name+"/"+failing.name, func(t *testing.T) {
				f, h := open(t, func(int, *http.Request, string) (*http.Response, error) { return failing.fail() })
				err := call.call(t.Context(), f)
				var gone *UnavailableError
				if !errors.As(err, &gone) {
					t.Fatalf("error %v, want an UnavailableError", err)
				}
				var slept time.Duration
				for _, d := range h.slept {
					slept += d
				}
				if gone.Tries != len(h.asked) || gone.Tries < 2 || gone.Tries > DefaultBudget.Tries || gone.Waited != slept || slept > DefaultBudget.Wait {
					t.Errorf("asked %d times, slept %v: %+v", len(h.asked), slept, gone)
				}
				if failing.wait == 0 && gone.Tries != DefaultBudget.Tries {
					t.Errorf("%d tries, want %d", gone.Tries, DefaultBudget.Tries)
				}
				if want := fmt.Sprintf("tried %d times, waiting %v, at last: %s", gone.Tries, slept.Round(time.Second), gone.Last); !strings.Contains(err.Error(), want) {
					t.Errorf("%v: does not say %q", err, want)
				}
				if limit := strings.Contains(failing.name, "limit") || strings.Contains(failing.name, "429"); limit != gone.RateLimited || limit != strings.Contains(hintOf(err), "no more requests before 2026-11-22T12:") {
					t.Errorf("rate limited: %v, hint %q", gone.RateLimited, hintOf(err))
				}
				if gone.MayBeDone != (!failing.undone && call.name != "read" && call.name != "self" && call.name != "comments") {
					t.Errorf("may be done: %v", gone.MayBeDone)
				}
			})
		}
	}
}

// TestGrowingPauses: each pause is about twice the one before, none is the same
// twice over, and none follows from another.
func TestGrowingPauses(t *testing.T) {
	f, h := open(t, always(502, ""))
	_, _ = f.comments(t.Context(), 1, readPulls)
	if len(h.slept) != DefaultBudget.Tries-1 {
		t.Fatalf("slept %v", h.slept)
	}
	jitter := false
	for i, d := range h.slept {
		middle := time.Second << i
		if d < middle/2 || d > middle*3/2+1 {
			t.Errorf("pause %d is %v, want about %v", i+1, d, middle)
		}
		jitter = jitter || d != middle
	}
	if !jitter {
		t.Errorf("no jitter: %v", h.slept)
	}
}

// TestLimitBeyondTheBudget: an hour is not waited for, and the hint says when it
// ends.
func TestLimitBeyondTheBudget(t *testing.T) {
	reset := start.Add(50 * time.Minute)
	f, h := open(t, always(403, message("API rate limit exceeded"), "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", reset.Unix())))
	_, err := f.comments(t.Context(), 1, readPulls)
	if len(h.asked) != 1 || len(h.slept) != 0 {
		t.Errorf("asked %d times, slept %v", len(h.asked), h.slept)
	}
	if want := "GitHub allows this token no more requests before 2026-11-22T12:50:00Z: run it again then"; hintOf(err) != want {
		t.Errorf("hint %q, want %q", hintOf(err), want)
	}
	if errors.As(err, new(*signingevent.PermissionError)) {
		t.Errorf("a limit is no lack of permission: %v", err)
	}
}

// TestLastOfALimit: an answer that uses up the limit is an answer, and the next
// request is made: GitHub says no, not the client.
func TestLastOfALimit(t *testing.T) {
	f, h := open(t, always(200, `[]`, "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", time.Now().Add(time.Hour).Unix())))
	for range 2 {
		if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
			t.Error(err)
		}
	}
	if len(h.asked) != 2 {
		t.Errorf("asked %d times", len(h.asked))
	}
	f, h = open(t, always(403, message("Resource not accessible by integration"), "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", start.Add(time.Hour).Unix())))
	if _, err := f.comments(t.Context(), 1, readPulls); !errors.As(err, new(*signingevent.PermissionError)) || len(h.asked) != 1 {
		t.Errorf("asked %d times: %v", len(h.asked), err)
	}
}

// TestGraphQLLimit: GraphQL says so with status 200.
func TestGraphQLLimit(t *testing.T) {
	f, h := open(t, func(n int, r *http.Request, body string) (*http.Response, error) {
		if n == 1 {
			return reply(200, `{"data":null,"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}`,
				"X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", start.Add(time.Minute).Unix()))
		}
		return reply(200, `{"data":{"viewer":{"login":"someone"}}}`)
	})
	if self, err := f.Self(t.Context()); err != nil || self != "someone" || len(h.slept) != 1 || h.slept[0] < time.Minute {
		t.Errorf("%q, %v, slept %v", self, err, h.slept)
	}
}

// TestCancelled: somebody who gives up is not kept waiting.
// TestGraphQLBreaks: what REST answers with status 500, GraphQL answers with 200. Who
// comments with those words gets nothing repeated.
func TestGraphQLBreaks(t *testing.T) {
	const broken = "Something went wrong while executing your query. Please include `ABCD:1:2` when reporting this issue."
	f, h := open(t, func(n int, r *http.Request, _ string) (*http.Response, error) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/comments"):
			return reply(200, `[{"id":1,"body":"`+broken+`"}]`)
		case n == 1:
			return reply(200, `{"data":null,"errors":[{"message":"`+broken+`"}]}`)
		}
		return reply(200, `{"data":{"viewer":{"login":"robot"}}}`)
	})
	if self, err := f.Self(t.Context()); self != "robot" || err != nil || len(h.asked) != 2 {
		t.Errorf("%q, %v, %d requests", self, err, len(h.asked))
	}
	if comments, err := f.comments(t.Context(), 1, readPulls); len(comments) != 1 || err != nil || len(h.asked) != 3 {
		t.Errorf("%v, %v, %d requests", comments, err, len(h.asked))
	}
}

func TestCancelled(t *testing.T) {
	t.Run("while waiting", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, h := open(t, func(int, *http.Request, string) (*http.Response, error) {
			cancel()
			return reply(502, "")
		})
		if _, err := f.comments(ctx, 1, readPulls); !errors.Is(err, context.Canceled) || len(h.asked) != 1 {
			t.Errorf("asked %d times: %v", len(h.asked), err)
		}
	})
	t.Run("while asking", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, h := open(t, func(_ int, r *http.Request, _ string) (*http.Response, error) {
			cancel()
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		if _, err := f.comments(ctx, 1, readPulls); !errors.Is(err, context.Canceled) || len(h.asked) != 1 {
			t.Errorf("asked %d times: %v", len(h.asked), err)
		}
	})
	t.Run("by the real sleep", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := sleep(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

// TestTimeout: a server that says nothing is asked again when the time of one
// try is over.
func TestTimeout(t *testing.T) {
	h := &hub{now: start}
	h.answer = func(n int, r *http.Request, _ string) (*http.Response, error) {
		if _, ok := r.Context().Deadline(); !ok {
			t.Error("the request has no deadline")
		}
		if n == 1 {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return reply(200, `[]`)
	}
	o := h.options()
	o.Budget = Budget{Tries: 2, Wait: time.Minute, Timeout: time.Millisecond}
	f, err := FromEnv(env("GITHUB_REPOSITORY=octo/tuf", "GITHUB_TOKEN="+token), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.comments(t.Context(), 1, readPulls); err != nil || len(h.asked) != 2 {
		t.Errorf("asked %d times: %v", len(h.asked), err)
	}
	h.asked, h.answer = nil, func(_ int, r *http.Request, _ string) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if _, err := f.comments(t.Context(), 1, readPulls); err == nil || !strings.Contains(err.Error(), "at last: no answer in time") || len(h.asked) != 2 {
		t.Errorf("asked %d times: %v", len(h.asked), err)
	}
}

// TestHugeAnswer: an answer without end is not read to it, nor asked for again.
func TestHugeAnswer(t *testing.T) {
	var read int64
	f, h := open(t, func(int, *http.Request, string) (*http.Response, error) {
		resp, err := reply(200, "")
		resp.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			for i := range p {
				p[i] = ' '
			}
			read += int64(len(p))
			return len(p), nil
		}))
		return resp, err
	})
	_, err := f.comments(t.Context(), 1, readPulls)
	if err == nil || !strings.Contains(err.Error(), "larger than") || len(h.asked) != 1 || read > 2*maxAnswer {
		t.Errorf("asked %d times, read %d bytes: %v", len(h.asked), read, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestRedirects: within the API a request is led on, with its token. It goes
// nowhere else, neither with the token nor without, and does not become another
// request.
func TestRedirects(t *testing.T) {
	const api = "https://api.github.com"
	for _, test := range []struct {
		name, to string
		status   int
		call     string
		followed bool
	}{
		{"renamed repository", api + "/repositories/1/issues/1/comments", 301, "read", true},
		{"renamed repository, POST", api + "/repositories/1/issues/1/comments", 307, "comment", true},
		{"POST that would become GET", api + "/repositories/1/issues/1/comments", 301, "comment", false},
		{"PATCH that would become GET", api + "/repositories/1/issues/comments/1", 302, "edit", false},
		{"another host", "https://evil.example/x", 307, "read", false},
		{"another host, POST", "https://evil.example/x", 307, "comment", false},
		{"a host that begins the same", "https://api.github.com.evil.example/x", 302, "read", false},
		{"another port", "https://api.github.com:8443/x", 302, "read", false},
		{"without TLS", "http://api.github.com/x", 301, "read", false},
		{"in circles", api + "/repos/octo/tuf/issues/1/comments", 301, "read", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, h := open(t, func(n int, r *http.Request, _ string) (*http.Response, error) {
				if n > 1 && test.followed {
					if r.URL.String() != test.to && !strings.HasPrefix(r.URL.String(), test.to+"?") {
						t.Errorf("led to %s", r.URL)
					}
					if r.Method == http.MethodPost {
						return reply(201, `{"id":1}`)
					}
					return reply(200, `[]`)
				}
				return reply(test.status, "", "Location: "+test.to)
			})
			var err error
			for _, call := range calls {
				if call.name == test.call {
					err = call.call(t.Context(), f)
				}
			}
			if test.followed {
				if err != nil || len(h.asked) != 2 || h.asked[1].authorization != "Bearer "+token || h.asked[1].body != h.asked[0].body || h.asked[1].method != h.asked[0].method {
					t.Errorf("asked %+v: %v", h.asked, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "api.github.com leads to ") || hintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, hintOf(err))
			}
			for _, a := range h.asked {
				if !strings.HasPrefix(a.url, api+"/repos/octo/tuf/") {
					t.Errorf("%s %s was asked", a.method, a.url)
				}
			}
		})
	}
}

// TestElsewhere: the transport itself gives a token to no other host, whoever
// asks it to.
func TestElsewhere(t *testing.T) {
	f, h := open(t, always(200, `{}`))
	req, err := f.client.NewRequest("GET", "https://evil.example/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Do(t.Context(), req, nil); err == nil || len(h.asked) != 0 {
		t.Errorf("asked %+v: %v", h.asked, err)
	}
	// What is handed on does not hold it either.
	if req, err = f.client.NewRequest("GET", "rate_limit", nil); err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Do(t.Context(), req, nil)
	if err != nil || len(resp.Request.Header["Authorization"]) != 0 || h.asked[0].authorization != "Bearer "+token {
		t.Errorf("asked %+v, %v", h.asked, err)
	}
}

// TestCertificate: a server that is not GitHub gets no second request, and never
// the token. This goes over real sockets.
func TestCertificate(t *testing.T) {
	var reached int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	server.Config.ErrorLog = nil
	server.Config.ErrorLog = discard()
	server.StartTLS()
	defer server.Close()
	h := &hub{now: start}
	o := h.options()
	o.Transport = &http.Transport{TLSClientConfig: &tls.Config{}, DisableKeepAlives: true}
	f, err := FromEnv(env("GITHUB_REPOSITORY=octo/tuf", "GITHUB_TOKEN="+token, "GITHUB_API_URL="+server.URL), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.comments(t.Context(), 1, readPulls)
	if !errors.As(err, new(*tls.CertificateVerificationError)) || reached != 0 || len(h.slept) != 0 {
		t.Errorf("reached %d times, slept %v: %v", reached, h.slept, err)
	}
}

// TestRefusedConnection: where nobody listens, a POST may be tried again. This
// goes over real sockets.
func TestRefusedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	h := &hub{now: start}
	o := h.options()
	o.Transport = &http.Transport{DisableKeepAlives: true}
	f, err := FromEnv(env("GITHUB_REPOSITORY=octo/tuf", "GITHUB_TOKEN="+token, "GITHUB_API_URL="+url), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.CreateComment(t.Context(), 1, "x")
	var gone *UnavailableError
	if !errors.As(err, &gone) || gone.Tries != DefaultBudget.Tries || gone.MayBeDone {
		t.Errorf("%v", err)
	}
}
