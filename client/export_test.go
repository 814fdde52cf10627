package client

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"time"
)

// SetSleep replaces the waiting between attempts, so that tests need not wait.
func (c *Client) SetSleep(f func(context.Context, time.Duration) error) { c.sleep = f }

// RetryAfter is the reader of that header.
var RetryAfter = retryAfter

// SetSleep does the same for the clients of [Check].
func (o *CheckOptions) SetSleep(f func(context.Context, time.Duration) error) { o.sleep = f }

// SetSync replaces the waiting for the disk.
func (c *Client) SetSync(f func(*os.File) error) { c.cache.sync = f }

// Through is a fetcher as the zero value makes it, but with a proxy that the
// environment does not name.
func Through(proxy *url.URL) *HTTPFetcher {
	f := &HTTPFetcher{}
	f.client().Transport.(*http.Transport).Proxy = http.ProxyURL(proxy)
	return f
}
