package bucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tufops/tufops/publish"
)

// Attempts is how often a write is tried before its error is told.
const Attempts = 4

// MaxPause is the longest that a service may ask for in between. Where it asks for
// more, the next run is the better time.
const MaxPause = 30 * time.Second

// Sleep waits until a time has passed or the context ends, which is its error.
type Sleep func(ctx context.Context, d time.Duration) error

// Write carries out a conditional write: send makes one request, and tells its
// error as the store does. Where the service was busy or its answer was lost
// ([Error.Again]) the request is made again, after a pause.
//
// The write that is repeated may have been carried out, so one that is then told
// that the object has changed looks at it: if it is what was to be written, that
// is a success, whoever wrote it. Another content is another publisher's.
func (l Location) Write(ctx context.Context, r publish.Reader, u publish.Upload, body *Body, sleep Sleep, send func() error) error {
	if sleep == nil {
		sleep = wait
	}
	pause := backoff.NewExponentialBackOff() // with jitter
	for attempt := 1; ; attempt++ {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		err := send()
		if errors.Is(err, publish.ErrChanged) && attempt > 1 {
			return l.written(ctx, r, u, body, err)
		}
		told := (*Error)(nil)
		if !errors.As(err, &told) || !told.Again || attempt == Attempts || told.After > MaxPause || ctx.Err() != nil {
			return err
		}
		if err := sleep(ctx, max(told.After, pause.NextBackOff())); err != nil {
			return fmt.Errorf("%w, after %w", err, told)
		}
	}
}

// written is nil if an object is what was to be written, and else what was told of
// it.
func (l Location) written(ctx context.Context, r publish.Reader, u publish.Upload, body *Body, told error) error {
	rd, _, err := r.Get(ctx, u.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return told
	}
	if err != nil {
		return err // then nobody knows
	}
	defer rd.Close()
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	theirs, err := digest(rd)
	if err != nil {
		return err
	}
	ours, err := digest(body)
	if err == nil && theirs != ours {
		err = told
	}
	return err
}

func digest(rd io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, rd)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// Busy reports whether a status says that the same request may succeed later.
func Busy(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// Lost reports whether an error is that of a connection, so that nobody knows
// whether the service has heard of the request.
func Lost(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return errors.As(err, new(net.Error)) || errors.As(err, new(*url.Error))
}

// RetryAfter is how long a service asks to be left alone; 0: it does not say, or
// names a date, as none of ours does.
func RetryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
