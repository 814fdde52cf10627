package publish

import (
	"context"
	"errors"
	"io"
)

// ErrChanged is what [Store.Put] answers where the object is not what the
// caller says it was: another publisher was faster. Nothing was written.
var ErrChanged = errors.New("the object has changed since it was read")

// Version tells the contents of one object apart. The empty Version is that of
// an object that does not exist.
type Version string

// Object is one entry of a listing.
type Object struct {
	Name string
	Size int64 // bytes
	// MD5 is the digest of the content; nil where the listing does not tell. It
	// spares reading what is there already: it finds accidents, and whoever can
	// forge it can write to the destination anyway, where clients check all. One
	// that differs is a reason to read the object and no proof that it differs:
	// what S3 tells of objects that were encrypted with a KMS key looks the same.
	MD5 []byte
}

// Upload is an object that is to be written.
type Upload struct {
	Name string
	Size int64 // bytes
	Body io.Reader
	// Was is the version that the object must have until it is replaced; empty:
	// it must not exist.
	Was Version
	// ContentType and CacheControl are the headers of HTTP that readers and
	// caches are to be told. A store that has no headers ignores them.
	ContentType, CacheControl string
}

// Guarantees are what a store can do beyond what publishing needs. What is
// lost without one of them is for people to know ([Guarantees.Lost]).
type Guarantees struct {
	// CompareAndSwap: of two concurrent writes over the same version one fails,
	// whoever makes them. Without it only publishers on the same machine, or in
	// the same concurrency group, keep out of each other's way.
	CompareAndSwap bool
	// Headers: content type and cache headers are kept.
	Headers bool
	// AtomicSite: all objects change at once for readers.
	AtomicSite bool
}

// Lost says, one sentence each, what a person should know about a store that
// lacks a guarantee. None: an empty list.
func (g Guarantees) Lost() []string {
	var lost []string
	if !g.CompareAndSwap && !g.AtomicSite {
		lost = append(lost, "two publishers at once can overwrite each other: let only one run at a time")
	}
	if !g.Headers {
		lost = append(lost, "cache headers are not kept: have the web server send no-cache for metadata/timestamp.json, or clients may see an old one")
	}
	return lost
}

// Reader is what planning needs of a destination. Names are slash-separated and
// relative: metadata/timestamp.json.
type Reader interface {
	// Get opens an object, from the same content that the Version stands for.
	// An object that does not exist is fs.ErrNotExist (by errors.Is). What was
	// put is seen by every Get that begins after Put has returned.
	Get(ctx context.Context, name string) (io.ReadCloser, Version, error)

	// List lists all objects whose name begins with prefix, in any order. A
	// destination that does not exist yet has none.
	List(ctx context.Context, prefix string) ([]Object, error)
}

// Store is a destination. It is split from [Reader] so that a dry run cannot
// write.
type Store interface {
	Reader

	// Put writes an object if its present version is u.Was, and fails with
	// [ErrChanged] (by errors.Is) if it is not. It is a compare-and-swap: of two
	// concurrent calls with the same Was, one fails.
	// There is no way to write without having looked.
	//
	// The object appears whole or not at all, and is durable once Put returns.
	// After any error but ErrChanged it may have been written all the same. Put may
	// repeat its request where that can help; if a repetition finds that the object
	// holds what was to be written, that is a success.
	Put(ctx context.Context, u Upload) error

	// Guarantees does not change, and asks nobody.
	Guarantees() Guarantees
}

// Remover is a store that can delete.
type Remover interface {
	// Delete removes an object whose present version is was, and fails with
	// [ErrChanged] if it is another one. That it is gone already is no error.
	Delete(ctx context.Context, name string, was Version) error
}

// Exclusive is a store that can let one publisher in at a time. [Run] takes the
// lock where there is one; where there is none, compare-and-swap alone decides,
// and the newest state wins all the same.
type Exclusive interface {
	// Lock waits for other publishers as long as the store thinks fit, then
	// fails with a sentence that says who is waited for. The lock ends with the
	// process, however that ends.
	Lock(ctx context.Context) (unlock func(), err error)
}
