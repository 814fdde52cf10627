package github

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Budget is how much patience one request is met with. All in all it takes at
// most Tries*Timeout + Wait.
type Budget struct {
	Tries   int           // including the first
	Wait    time.Duration // between tries, taken together
	Timeout time.Duration // of one try
}

// DefaultBudget outlasts a secondary rate limit, which is about a minute, and
// not a primary one, which can be an hour.
var DefaultBudget = Budget{Tries: 6, Wait: 5 * time.Minute, Timeout: 30 * time.Second}

// maxAnswer is the size of the largest answer that is read: a page of a hundred
// comments of the longest kind, with what GitHub says of their authors, and
// each letter escaped.
const maxAnswer = 64 << 20

// transport stands between go-github and the network. It signs requests, tries
// again where that is safe, and hands on answers that are complete and not too
// large. What it gives up is an [*UnavailableError].
//
// It is below go-github, since go-github asks the system's clock how long a
// limit lasts; it is not shown what is left of one.
type transport struct {
	base   http.RoundTripper
	forge  *Forge
	budget Budget
	sleep  func(context.Context, time.Duration) error
	log    *slog.Logger
}

type (
	repeatableKey struct{}
	readingKey    struct{}
)

// repeatable marks requests that may be made again although their method is
// POST: what they do twice is the same as done once.
func repeatable(ctx context.Context) context.Context {
	return context.WithValue(ctx, repeatableKey{}, true)
}

// reading marks requests that change nothing although their method is POST.
func reading(ctx context.Context) context.Context {
	return context.WithValue(repeatable(ctx), readingKey{}, true)
}

// verdict is what is to be done about the outcome of one try.
type verdict struct {
	last  string        // the outcome in words; "" if it is one to hand on
	again bool          // may be tried again
	asked time.Duration // how long GitHub asks to wait at least
	limit bool          // because of a rate limit
	done  bool          // it is not known whether it was done
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	reads := req.Method == http.MethodGet || req.Context().Value(readingKey{}) != nil
	again := req.Method != http.MethodPost || req.Context().Value(repeatableKey{}) != nil
	pause := backoff.NewExponentialBackOff() // with jitter
	pause.InitialInterval, pause.Multiplier = time.Second, 2
	var waited time.Duration
	renewed := false
	for try := 1; ; try++ {
		token, err := t.forge.authorization(req)
		if err != nil {
			return nil, err
		}
		resp, err := t.try(req, token)
		if err == nil && resp.StatusCode == http.StatusUnauthorized && !renewed && req.Context().Value(signedBy{}) == nil && t.forge.credentials.renew(token) {
			renewed = true // a token of an app that ended early
			continue
		}
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		v := t.judge(req, resp, err, again)
		t.log.Debug("asked GitHub", "method", req.Method, "path", req.URL.Path, "try", try, "answer", answer(resp, err))
		if v.last == "" {
			return resp, err
		}
		wait := v.asked + pause.NextBackOff()
		if !v.again || try >= t.budget.Tries || waited+wait > t.budget.Wait {
			e := &UnavailableError{
				Method: req.Method, Path: req.URL.Path, Tries: try, Waited: waited, Last: v.last,
				RateLimited: v.limit, MayBeDone: v.done && !reads, Err: err,
			}
			if v.limit {
				e.Until = t.forge.now().Add(v.asked)
			}
			return nil, e
		}
		t.log.Info("GitHub is asked again", "after", wait.Round(time.Millisecond).String(), "method", req.Method, "path", req.URL.Path, "because", v.last)
		if err := t.sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		waited += wait
	}
}

// try makes the request once and reads the whole answer.
func (t *transport) try(req *http.Request, token secret) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), t.budget.Timeout)
	defer cancel()
	out := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	out.Header.Set("Authorization", "Bearer "+token())
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, &tooLargeError{maxAnswer}
	}
	data = censor(data, token) // a server may repeat what it was shown
	for _, values := range resp.Header {
		for i := range values {
			values[i] = string(censor([]byte(values[i]), token))
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	resp.ContentLength = int64(len(data))
	resp.Request = req // without the token
	return resp, nil
}

// judge says what to make of one try. A POST is tried again only if it was
// certainly not done.
func (t *transport) judge(req *http.Request, resp *http.Response, err error, again bool) verdict {
	if err != nil {
		return judgeError(err, again)
	}
	body := peek(resp)
	if limited(req, resp, body, t.forge) {
		v := verdict{last: "a rate limit", again: true, asked: t.asked(resp), limit: true}
		dropLimits(resp)
		return v
	}
	dropLimits(resp)
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusRequestTimeout {
		v := verdict{last: status(resp.StatusCode), again: again, done: true}
		if resp.Header.Get("Retry-After") != "" {
			v.asked = t.asked(resp)
		}
		return v
	}
	if resp.StatusCode == http.StatusOK && t.forge.toGraphQL(req) && bytes.Contains(body[:min(len(body), 4<<10)], []byte("Something went wrong while executing your query")) {
		return verdict{last: "an error of GraphQL", again: again, done: true} // its 500 has status 200
	}
	if text := strings.TrimSpace(string(body)); req.Method == http.MethodGet && resp.StatusCode/100 == 2 && (text == "" || text == "null") {
		// It would pass for a list without entries, and what is on it would be
		// made a second time.
		return verdict{last: "an empty answer", again: again}
	}
	return verdict{}
}

func judgeError(err error, again bool) verdict {
	v := verdict{last: reason(err), again: again, done: true}
	var dial *net.OpError
	switch {
	case errors.As(err, new(*tooLargeError)):
		return verdict{} // another try would not change it
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(tls.RecordHeaderError)):
		v.again, v.done = false, false
	case errors.As(err, &dial) && dial.Op == "dial":
		v.again, v.done = true, false
	}
	return v
}

// reason says in few words why there was no answer.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// limited reports whether GitHub refuses because there were too many requests:
// then it has done nothing.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
func limited(req *http.Request, resp *http.Response, body []byte, f *Forge) bool {
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		var said struct {
			Message string `json:"message"`
			Docs    string `json:"documentation_url"`
		}
		_ = json.Unmarshal(body, &said)
		if strings.HasPrefix(said.Message, "Resource not accessible") {
			return false // also where this was the last request that the limit allowed
		}
		return resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-RateLimit-Remaining") == "0" || secondary(body) ||
			strings.Contains(strings.ToLower(said.Message), "rate limit exceeded")
	case http.StatusOK:
		if !f.toGraphQL(req) {
			return false
		}
		var said struct{ Errors []graphQLError }
		_ = json.Unmarshal(body, &said)
		for _, e := range said.Errors {
			if e.Type == "RATE_LIMITED" || e.Type == "RATE_LIMIT" {
				return true
			}
		}
	}
	return false
}

func (f *Forge) toGraphQL(req *http.Request) bool {
	return sameOrigin(req.URL, f.graphql) && req.URL.Path == f.graphql.Path
}

func secondary(body []byte) bool {
	text := strings.ToLower(string(body[:min(len(body), 4<<10)]))
	return strings.Contains(text, "secondary rate limit") || strings.Contains(text, "secondary-rate-limits") || strings.Contains(text, "abuse-rate-limits") || strings.Contains(text, "abuse detection")
}

// asked returns how long GitHub wants to be left alone. The reset is a time on
// GitHub's clock, so it is compared with what that clock says now.
func (t *transport) asked(resp *http.Response) time.Duration {
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		now = t.forge.now()
	}
	if text := resp.Header.Get("Retry-After"); text != "" {
		if s, err := strconv.ParseInt(text, 10, 32); err == nil {
			return max(time.Duration(s)*time.Second, 0)
		}
		if at, err := http.ParseTime(text); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if s, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(s, 0).Sub(now), 0)
		}
	}
	return time.Minute // what GitHub's documentation asks for where an answer does not say
}

// dropLimits hides from go-github what is left of a limit.
func dropLimits(resp *http.Response) {
	for name := range resp.Header {
		if strings.HasPrefix(name, "X-Ratelimit-") {
			resp.Header.Del(name)
		}
	}
}

// peek returns the body of an answer that try has read.
func peek(resp *http.Response) []byte {
	data, _ := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return data
}

func answer(resp *http.Response, err error) string {
	if err != nil {
		return reason(err)
	}
	return strconv.Itoa(resp.StatusCode)
}

// checkRedirect lets a request be led on, as for a repository that was renamed,
// with the same method: net/http makes a GET of a POST. Where to, the transport
// looks: it goes to the API and nowhere else.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case req.Method != first.Method:
		return &redirectError{from: first.URL.Host, to: "another place, for which " + first.Method + " would become " + req.Method}
	case len(via) > 3:
		return &redirectError{from: first.URL.Host, to: "one place after the other"}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
