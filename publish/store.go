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

	// Put writes an object of size bytes if its present version is was, and
	// fails with [ErrChanged] (by errors.Is) if it is not. It is a
	// compare-and-swap: of two concurrent calls with the same was, one fails.
	// There is no way to write without having looked.
	//
	// The object appears whole or not at all, and is durable once Put returns.
	// After any error but ErrChanged it may have been written all the same.
	// Put does not try again by itself.
	Put(ctx context.Context, name string, size int64, body io.Reader, was Version) error
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
