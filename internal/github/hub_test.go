package github

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// token is what the tests write with. Whatever a test prints is searched for it.
const token = "ghp_0123456789abcdefSECRET"

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// hub is the network in memory: it answers each request with what answer says,
// and keeps what it was asked. The clock moves only while somebody sleeps.
type hub struct {
	answer func(n int, r *http.Request, body string) (*http.Response, error)

	mu    sync.Mutex
	asked []asked
	now   time.Time
	slept []time.Duration
	log   bytes.Buffer
}

type asked struct {
	method, url, authorization, body string
}

func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	h.mu.Lock()
	h.asked = append(h.asked, asked{r.Method, r.URL.String(), r.Header.Get("Authorization"), string(body)})
	n := len(h.asked)
	h.mu.Unlock()
	return h.answer(n, r, string(body))
}

// open opens octo/tuf on a GitHub that answers so, with a personal token unless
// the environment says otherwise.
func open(t *testing.T, answer func(n int, r *http.Request, body string) (*http.Response, error), env ...string) (*Forge, *hub) {
	t.Helper()
	h := &hub{answer: answer, now: start}
	vars := map[string]string{"GITHUB_REPOSITORY": "octo/tuf", "TUF_ON_CI_TOKEN": token, "TUFOPS_DEFAULT_TOKEN": "another"}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	f, err := FromEnv(func(name string) string { return vars[name] }, h.options())
	if err != nil {
		t.Fatal(err)
	}
	return f, h
}

func (h *hub) options() Options {
	return Options{
		Transport: h,
		Log:       slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.now
		},
		Sleep: func(ctx context.Context, d time.Duration) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.slept = append(h.slept, d)
			h.now = h.now.Add(d)
			return ctx.Err()
		},
	}
}

// reply makes an answer; headers are "Name: value".
func reply(status int, body string, headers ...string) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		w.Header().Add(name, value)
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
	return w.Result(), nil
}

// always gives the same answer to everything.
func always(status int, body string, headers ...string) func(int, *http.Request, string) (*http.Response, error) {
	return func(int, *http.Request, string) (*http.Response, error) { return reply(status, body, headers...) }
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func message(text string) string { return fmt.Sprintf(`{"message":%q}`, text) }

// hintOf is what a program would print as the hint.
func hintOf(err error) string {
	for err != nil {
		if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
			return h.Hint()
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return ""
		}
		err = u.Unwrap()
	}
	return ""
}
