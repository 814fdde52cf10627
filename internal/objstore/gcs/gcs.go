// Package gcs keeps published files in a bucket of Google Cloud Storage, the way
// [publish.Store] asks. The version of an object is its generation, which no two
// writes share.
//
// Credentials are those of the environment (Application Default Credentials);
// STORAGE_EMULATOR_HOST names another endpoint, which gets none. The CRC32C of
// what is sent goes along and is checked by the service; that of what is read is
// checked by the client.
//
// A write is one request, repeated by the rules of [bucket.Location.Write] and not
// by the client's, which would find its own first one and call it another
// publisher's. Reading is repeated by the client's rules, deleting never.
package gcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
)

// Options for [Open].
type Options struct {
	PageSize int          // objects in one answer when listing; 0: as many as the service likes
	Sleep    bucket.Sleep // waits before a write is repeated; nil: by the real clock
}

// Store is a place in a bucket. It is safe for concurrent use, also by several
// processes.
type Store struct {
	at       bucket.Location
	client   func() (*storage.Client, error)
	pageSize int
	sleep    bucket.Sleep
}

// attempts is how often something is read before its error is told: by itself
// the client would go on for as long as it is let.
const attempts = 5

// permissions are what the operations take.
var permissions = map[string]string{
	"get":    "storage.objects.get",
	"list":   "storage.objects.list",
	"put":    "storage.objects.create, and to replace an object storage.objects.delete",
	"delete": "storage.objects.delete",
}

// Open names a place in a bucket. It asks nobody, not even for credentials:
// whether they are there, and the bucket, is known with the first operation.
func Open(at bucket.Location, o Options) *Store {
	return &Store{at: at, pageSize: o.PageSize, sleep: o.Sleep, client: sync.OnceValues(func() (*storage.Client, error) {
		// The client outlives the first operation. The API for reading is the one
		// for all else, so that one name and one permission decide.
		client, err := storage.NewClient(context.Background(), storage.WithJSONReads())
		if err == nil {
			client.SetRetry(storage.WithMaxAttempts(attempts))
		}
		return client, err
	})}
}

// bucket is the bucket, with credentials.
func (s *Store) bucket(op, name string) (*storage.BucketHandle, error) {
	client, err := s.client()
	if err != nil {
		return nil, &bucket.Error{Op: op, URL: s.at.URL(name), Kind: bucket.Denied, Needs: "credentials, such as gcloud auth application-default login leaves", Reason: bucket.Reason(err), Err: err}
	}
	return client.Bucket(s.at.Bucket), nil
}

// URL names the destination.
func (s *Store) URL() string { return s.at.String() }

// Endpoint is where requests go.
func (s *Store) Endpoint() string {
	switch host := os.Getenv("STORAGE_EMULATOR_HOST"); {
	case host == "":
		return "https://storage.googleapis.com"
	case strings.Contains(host, "://"):
		return host
	default:
		return "http://" + host
	}
}

// Guarantees implements [publish.Store].
func (s *Store) Guarantees() publish.Guarantees {
	return publish.Guarantees{CompareAndSwap: true, Headers: true}
}

// Get implements [publish.Reader].
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	key, err := s.at.Key(name)
	if err != nil {
		return nil, "", err
	}
	b, err := s.bucket("get", name)
	if err != nil {
		return nil, "", err
	}
	rd, err := b.Object(key).NewReader(ctx)
	if errors.Is(err, storage.ErrObjectNotExist) {
		return nil, "", s.at.NotExist(name)
	}
	if err != nil {
		return nil, "", s.tell("get", name, err)
	}
	if rd.Attrs.Generation <= 0 {
		rd.Close()
		return nil, "", s.tell("get", name, errors.New("the answer tells no generation"))
	}
	return s.at.Stream(name, rd, s.tell), version(rd.Attrs.Generation), nil
}

func version(generation int64) publish.Version {
	return publish.Version(strconv.FormatInt(generation, 10))
}

// List implements [publish.Reader].
func (s *Store) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	query := &storage.Query{Prefix: s.at.Prefix + prefix}
	if err := query.SetAttrSelection([]string{"Name", "Size", "MD5"}); err != nil {
		return nil, err
	}
	b, err := s.bucket("list", prefix)
	if err != nil {
		return nil, err
	}
	it := b.Objects(ctx, query)
	it.PageInfo().MaxSize = s.pageSize
	var objects []publish.Object
	for {
		o, err := it.Next()
		if err == iterator.Done {
			return objects, nil
		}
		if err != nil {
			return nil, s.tell("list", prefix, err)
		}
		objects = append(objects, publish.Object{Name: s.at.Name(o.Name), Size: o.Size, MD5: o.MD5})
	}
}

// Put implements [publish.Store].
func (s *Store) Put(ctx context.Context, u publish.Upload) error {
	object, err := s.conditional("put", u.Name, u.Was)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	digest := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	body, err := bucket.ReadBody(u, digest)
	if err != nil {
		return err
	}
	defer body.Discard()

	return s.at.Write(ctx, s, u, body, s.sleep, func() error { return s.tell("put", u.Name, send(ctx, object, u, body, digest.Sum32())) })
}

// send makes one request. An upload that ends before all is written is cancelled,
// never closed: closing it is what makes the object.
func send(ctx context.Context, object *storage.ObjectHandle, u publish.Upload, body io.Reader, crc uint32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := object.Retryer(storage.WithPolicy(storage.RetryNever)).NewWriter(ctx)
	w.ChunkSize = 0 // one request
	w.ContentType, w.CacheControl = u.ContentType, u.CacheControl
	w.CRC32C, w.SendCRC32C = crc, true
	if _, err := io.Copy(w, body); err != nil {
		cancel()
		if closed := w.Close(); closed != nil && !errors.Is(closed, context.Canceled) {
			err = closed // why the service did not want to hear the rest
		}
		return err
	}
	return w.Close()
}

// Delete implements [publish.Remover].
func (s *Store) Delete(ctx context.Context, name string, was publish.Version) error {
	if was == "" {
		return s.at.Gone(ctx, s, name)
	}
	object, err := s.conditional("delete", name, was)
	if err != nil {
		return err
	}
	err = object.Retryer(storage.WithPolicy(storage.RetryNever)).Delete(ctx)
	if errors.Is(err, storage.ErrObjectNotExist) {
		return nil
	}
	if err = s.tell("delete", name, err); errors.Is(err, publish.ErrChanged) {
		return s.at.Gone(ctx, s, name)
	}
	return err
}

// conditional is an object on the condition that it has this version.
func (s *Store) conditional(op, name string, was publish.Version) (*storage.ObjectHandle, error) {
	key, err := s.at.Key(name)
	if err != nil {
		return nil, err
	}
	b, err := s.bucket(op, name)
	if err != nil {
		return nil, err
	}
	if was == "" {
		return b.Object(key).If(storage.Conditions{DoesNotExist: true}), nil
	}
	generation, err := strconv.ParseInt(string(was), 10, 64)
	if err != nil || generation <= 0 {
		return nil, s.at.Changed(name, fmt.Sprintf("%q is no generation", was))
	}
	return b.Object(key).If(storage.Conditions{GenerationMatch: generation}), nil
}

// tell says what an error means; of none, it is none.
func (s *Store) tell(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &bucket.Error{Op: op, URL: s.at.URL(name), Needs: permissions[op] + " on the bucket", Reason: bucket.Reason(err), Again: bucket.Lost(err), Err: err}
	if errors.Is(err, storage.ErrBucketNotExist) {
		e.Kind = bucket.NoBucket
	}
	if api := (*googleapi.Error)(nil); errors.As(err, &api) {
		e.Reason = fmt.Sprintf("%s (%d)", cmp.Or(api.Message, http.StatusText(api.Code)), api.Code)
		e.Again, e.After = bucket.Busy(api.Code), bucket.RetryAfter(api.Header)
		switch api.Code {
		case http.StatusPreconditionFailed:
			return s.at.Changed(name, e.Reason)
		case http.StatusUnauthorized, http.StatusForbidden:
			e.Kind = bucket.Denied
		case http.StatusNotFound:
			e.Kind = bucket.NoBucket
		}
	}
	return e
}
