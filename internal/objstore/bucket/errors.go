package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/tufops/tufops/publish"
)

// Kind says what a person can do about an error.
type Kind int

// The kinds.
const (
	Other     Kind = iota
	Denied         // the service knows us and refuses, or does not know us
	NoBucket       // there is no such bucket
	Elsewhere      // the bucket is in another region
)

// Error says what could not be done with what, and what the service said.
type Error struct {
	Op     string // get, list, put, delete
	URL    string // gs://bucket/metadata/timestamp.json
	Kind   Kind
	Needs  string        // the permission that the operation takes
	Reason string        // as the service said it
	Again  bool          // the service was busy or its answer was lost: the same request may succeed
	After  time.Duration // how long the service asks to be left alone; 0: it does not say
	Err    error         // for errors.Is and errors.As; its text may hold more than people should see
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %s", e.Op, e.URL, e.Reason) }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string {
	switch e.Kind {
	case Denied:
		return "this identity needs " + e.Needs + "; docs/infrastructure.md lists what publishing needs, and why"
	case NoBucket:
		return "make the bucket first, publishing makes none; or look for a slip in its name"
	case Elsewhere:
		return "name the region of the bucket: AWS_REGION"
	}
	return ""
}

// Reason is the text of an error without the request it belongs to: a URL may
// carry a signature.
func Reason(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return Reason(u.Err)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Changed says that an object is not what the caller took it for.
func (l Location) Changed(name, reason string) error {
	return fmt.Errorf("%s: %w (%s)", l.URL(name), publish.ErrChanged, reason)
}

// NotExist says that an object does not exist.
func (l Location) NotExist(name string) error {
	return fmt.Errorf("%s: %w", l.URL(name), fs.ErrNotExist)
}

// Gone is nil if an object is not there, and fails with [publish.ErrChanged] if it
// is. It serves deletions: no service deletes on the condition that nothing is
// there, and some do not tell what is gone from what has changed.
func (l Location) Gone(ctx context.Context, r publish.Reader, name string) error {
	rd, _, err := r.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	rd.Close()
	return l.Changed(name, "it is there now")
}

// Stream is the body of an answer whose errors name the object.
func (l Location) Stream(name string, body io.ReadCloser, tell func(op, name string, err error) error) io.ReadCloser {
	return &stream{ReadCloser: body, name: name, tell: tell}
}

type stream struct {
	io.ReadCloser
	name string
	tell func(op, name string, err error) error
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = s.tell("get", s.name, err)
	}
	return n, err
}
