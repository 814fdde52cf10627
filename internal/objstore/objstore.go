// Package objstore opens destinations by URL: the directory, the cloud stores
// and the site of a forge, each in a package of its own beside this one.
//
// It owns what a destination is called. Credentials are those that each vendor's
// client finds by itself in the environment of the process; none is passed,
// printed or logged here.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/objstore/azure"
	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/internal/objstore/gcs"
	"github.com/tufops/tufops/internal/objstore/pages"
	"github.com/tufops/tufops/internal/objstore/s3"
	"github.com/tufops/tufops/publish"
)

// Store is a destination that knows its name. It may also be a
// [publish.Exclusive] and a [publish.Remover].
type Store interface {
	publish.Store

	// URL is the same for the same destination, however it was spelt.
	URL() string
	// Endpoint is where bytes really go, as a URL: an emulator has the
	// destination's name and stands elsewhere.
	Endpoint() string
}

// Options for [Open].
type Options struct {
	Log *slog.Logger // nil: no log
}

// kind is one kind of destination.
type kind struct {
	form string // how it is written
	open func(ctx context.Context, url string, o Options) (Store, error)
}

// kinds are the kinds of destinations, by scheme.
var kinds = map[string]kind{
	"file":   {"file://DIR", openDir},
	"gs":     {"gs://BUCKET/PREFIX", openGCS},
	"s3":     {"s3://BUCKET/PREFIX", openS3},
	"azblob": {"azblob://ACCOUNT/CONTAINER/PREFIX", openAzure},
	"pages":  {"pages:DIR", openPages},
}

// Forms lists how destinations are written, for help texts.
func Forms() string {
	var forms []string
	for _, scheme := range slices.Sorted(maps.Keys(kinds)) {
		forms = append(forms, kinds[scheme].form)
	}
	return strings.Join(forms, ", ")
}

// URLError says that a URL names no destination. Nothing was asked to find out.
type URLError struct {
	URL    string
	Reason string
	Form   string // how it is written; empty: unknown
}

func (e *URLError) Error() string { return fmt.Sprintf("destination %q: %s", e.URL, e.Reason) }

// Hint says how destinations are written.
func (e *URLError) Hint() string {
	if e.Form != "" {
		return "it is written " + e.Form
	}
	return "destinations are written " + Forms()
}

// Open opens the destination that a URL names. A URL that names none is a
// *[URLError]. Whether it can be reached and written is known with the first
// request; Open makes none.
func Open(ctx context.Context, url string, o Options) (Store, error) {
	scheme, _, found := strings.Cut(url, ":")
	if !found {
		return nil, &URLError{URL: url, Reason: "it is no URL, such as file:///srv/tuf"}
	}
	k, known := kinds[scheme]
	if !known {
		return nil, &URLError{URL: url, Reason: fmt.Sprintf("there is no kind %q", scheme)}
	}
	store, err := k.open(ctx, url, o)
	if bad := (*URLError)(nil); errors.As(err, &bad) {
		bad.Form = k.form
	}
	return store, err
}

func openDir(_ context.Context, text string, o Options) (Store, error) {
	path, err := filePath(text)
	if err != nil {
		return nil, err
	}
	return dir.Open(path, dir.Options{Log: o.Log})
}

// filePath is the directory that a file URL names. A relative one, file://site,
// is taken as it is meant.
func filePath(text string) (string, error) {
	bad := &URLError{URL: text, Reason: "it is no URL of a directory, such as file:///srv/tuf"}
	rest, ok := strings.CutPrefix(text, "file://")
	if !ok {
		return "", bad
	}
	if local, ok := strings.CutPrefix(rest, "localhost/"); ok {
		rest = "/" + local
	}
	path, err := url.PathUnescape(rest)
	if err != nil || path == "" || strings.ContainsRune(path, 0) || strings.ContainsAny(rest, "?#") {
		return "", bad
	}
	return filepath.FromSlash(path), nil
}

// location is the place in a bucket that a URL names.
func location(text string, parts int) (bucket.Location, error) {
	if _, _, found := strings.Cut(text, "://"); !found {
		return bucket.Location{}, &URLError{URL: text, Reason: "it names no bucket"}
	}
	at, err := bucket.Parse(text, parts)
	if err != nil {
		return at, &URLError{URL: text, Reason: err.Error()}
	}
	return at, nil
}

func openGCS(_ context.Context, text string, _ Options) (Store, error) {
	at, err := location(text, 1)
	if err != nil {
		return nil, err
	}
	return gcs.Open(at, gcs.Options{}), nil
}

func openS3(ctx context.Context, text string, _ Options) (Store, error) {
	at, err := location(text, 1)
	if err != nil {
		return nil, err
	}
	return s3.Open(ctx, at, s3.Options{})
}

func openAzure(_ context.Context, text string, _ Options) (Store, error) {
	at, err := location(text, 2)
	if err != nil {
		return nil, err
	}
	return azure.Open(at, azure.Options{})
}

func openPages(_ context.Context, text string, o Options) (Store, error) {
	path := strings.TrimPrefix(text, "pages:")
	if path == "" || strings.HasPrefix(path, "//") || strings.ContainsRune(path, 0) {
		return nil, &URLError{URL: text, Reason: "it names no directory"}
	}
	return pages.Open(filepath.FromSlash(path), pages.Options{Log: o.Log})
}
