package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ProxyError says that the proxy on the way to a server lets nothing through. It
// shows no password.
type ProxyError struct {
	Proxy    string // its URL
	Variable string // of the environment, which names it
	Status   int    // what it answers
	named    bool   // a user was named to it
}

func (e *ProxyError) Error() string {
	switch {
	case e.Status == http.StatusProxyAuthRequired && e.named:
		return fmt.Sprintf("the proxy %s does not take the name and password it was given: HTTP status %d", e.Proxy, e.Status)
	case e.Status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("the proxy %s asks for a name and password: HTTP status %d", e.Proxy, e.Status)
	}
	return fmt.Sprintf("the proxy %s lets nothing through: HTTP status %d", e.Proxy, e.Status)
}

// Hint says what to do next.
func (e *ProxyError) Hint() string {
	if e.Status == http.StatusProxyAuthRequired {
		return fmt.Sprintf("put the name and password that it takes into %s, like http://NAME:PASSWORD@HOST:PORT with what is special in them percent-encoded, or except the server with NO_PROXY", e.Variable)
	}
	return "ask those who run the proxy to let the server through, or except it with NO_PROXY"
}

// transient reports whether trying again may help.
func (e *ProxyError) transient() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

func newProxyError(proxy *url.URL, scheme string, status int) *ProxyError {
	return &ProxyError{Proxy: proxy.Redacted(), Variable: strings.ToUpper(scheme) + "_PROXY", Status: status, named: proxy.User != nil}
}

// connected judges a proxy's answer to CONNECT, which is there for https alone.
func connected(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return newProxyError(proxy, "https", r.StatusCode)
	}
	return nil
}

// proxyOf is the proxy that a request went through; nil where there was none, or
// none that can be known.
func proxyOf(c *http.Client, r *http.Request) *url.URL {
	t, ok := c.Transport.(*http.Transport)
	if !ok || t.Proxy == nil {
		return nil
	}
	proxy, err := t.Proxy(r)
	if err != nil {
		return nil
	}
	return proxy
}
