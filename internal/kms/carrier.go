package kms

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Carrier carries the requests of a vendor's client. It follows no redirect, since
// that would show a login to another host: one is a *[Failure]. What the requests
// show of a login it notes in Secrets, before anybody can repeat it.
type Carrier struct {
	Base    http.RoundTripper // nil: http.DefaultTransport
	Secrets *Secrets
}

// shown are the fields of a form that hold a login.
var shown = []string{"subject_token", "actor_token", "assertion", "client_assertion", "client_secret", "refresh_token", "password"}

// maxForm is more than the form of a login has.
const maxForm = 1 << 20

// RoundTrip is part of [http.RoundTripper].
func (c Carrier) RoundTrip(req *http.Request) (*http.Response, error) {
	c.Secrets.Keep(req.Header.Get("X-Vault-Token"))
	if _, token, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		c.Secrets.Keep(token)
	}
	if req.Body != nil && strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		data, err := io.ReadAll(io.LimitReader(req.Body, maxForm))
		if err == nil {
			err = req.Body.Close()
		}
		if err != nil {
			return nil, err
		}
		form, _ := url.ParseQuery(string(data))
		for _, name := range shown {
			c.Secrets.Keep(form[name]...)
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(data))
	}
	base := c.Base
	if base == nil {
		base = http.DefaultTransport
	}
	answer, err := base.RoundTrip(req)
	if err != nil || !slices.Contains([]int{301, 302, 303, 307, 308}, answer.StatusCode) {
		return answer, err
	}
	defer answer.Body.Close()
	where := "elsewhere"
	if to, err := answer.Location(); err == nil {
		where = to.Scheme + "://" + to.Host
	}
	return nil, &Failure{Cause: Refused, Detail: Line(fmt.Sprintf("%s sends us to %s, which is not shown a login", req.URL.Host, where))}
}
