// Package azure keeps published files in a container of Azure Blob Storage, the
// way [publish.Store] asks. The version of an object is its ETag, which no two
// writes share.
//
// Credentials are those of the environment (DefaultAzureCredential), or a
// connection string in AZURE_STORAGE_CONNECTION_STRING, which may name another
// endpoint. The MD5 of what is sent goes along and is checked by the service;
// that of what is read is checked here.
//
// A write is one request, repeated by the rules of [bucket.Location.Write] and not
// by the client's, which would find its own first one and call it another
// publisher's. Reading is repeated by the client's rules, deleting never.
package azure

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
)

// Options for [Open].
type Options struct {
	PageSize int          // objects in one answer when listing; 0: as many as the service likes
	Sleep    bucket.Sleep // waits before a write is repeated; nil: by the real clock
}

// Store is a place in a container. It is safe for concurrent use, also by
// several processes.
type Store struct {
	at       bucket.Location
	client   *container.Client
	pageSize int
	sleep    bucket.Sleep
}

// needs is the role that all operations take.
const needs = "the role Storage Blob Data Contributor on the container"

// connection is the variable that holds a connection string.
const connection = "AZURE_STORAGE_CONNECTION_STRING"

// Open names a place in a container; the bucket of at is ACCOUNT/CONTAINER. It
// asks nobody: whether credentials are there, and the container, is known with
// the first operation.
func Open(at bucket.Location, o Options) (*Store, error) {
	account, name, _ := strings.Cut(at.Bucket, "/")
	client, err := newClient(account, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", at, err)
	}
	return &Store{at: at, client: client, pageSize: o.PageSize, sleep: o.Sleep}, nil
}

func newClient(account, name string) (*container.Client, error) {
	if text := os.Getenv(connection); text != "" {
		if theirs := accountOf(text); theirs != account {
			return nil, fmt.Errorf("%s is for the account %q, not %q", connection, theirs, account)
		}
		client, err := container.NewClientFromConnectionString(text, name, nil)
		if err != nil {
			// The client's own words may repeat what the string holds.
			return nil, fmt.Errorf("%s is no connection string", connection)
		}
		return client, nil
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("look for credentials of Azure: %w", err)
	}
	return container.NewClient("https://"+account+".blob.core.windows.net/"+name, credential, nil)
}

// accountOf is the account that a connection string is for; one with a signature
// in the place of a key need not name it but in the address.
func accountOf(text string) string {
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(part, "=")
		parts[name] = value
	}
	if account := parts["AccountName"]; account != "" {
		return account
	}
	endpoint, err := url.Parse(parts["BlobEndpoint"])
	if err != nil {
		return ""
	}
	if path := strings.Trim(endpoint.Path, "/"); path != "" {
		return path
	}
	account, _, _ := strings.Cut(endpoint.Host, ".")
	return account
}

// URL names the destination.
func (s *Store) URL() string { return s.at.String() }

// Endpoint is where requests go.
func (s *Store) Endpoint() string {
	endpoint, _, _ := strings.Cut(s.client.URL(), "?") // behind it may be a signature
	return endpoint
}

// Guarantees implements [publish.Store].
func (s *Store) Guarantees() publish.Guarantees {
	return publish.Guarantees{CompareAndSwap: true, Headers: true}
}

// Get implements [publish.Reader].
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	b, err := s.blob(name)
	if err != nil {
		return nil, "", err
	}
	answer, err := b.DownloadStream(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil, "", s.at.NotExist(name)
	}
	if err != nil {
		return nil, "", s.tell("get", name, err)
	}
	if answer.ETag == nil || *answer.ETag == "" {
		answer.Body.Close()
		return nil, "", s.tell("get", name, errors.New("the answer has no ETag"))
	}
	body := io.ReadCloser(answer.NewRetryReader(ctx, nil))
	if answer.ContentMD5 != nil { // what others have written need have none
		body = &checked{ReadCloser: body, want: answer.ContentMD5, digest: md5.New()}
	}
	return s.at.Stream(name, body, s.tell), publish.Version(*answer.ETag), nil
}

// checked is a body that fails at its end if it is not what the service keeps:
// the client leaves that to its user.
type checked struct {
	io.ReadCloser
	want   []byte
	digest hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.digest.Write(p[:n])
	if have := c.digest.Sum(nil); err == io.EOF && !bytes.Equal(have, c.want) {
		err = fmt.Errorf("the MD5 of what came is %x, that of the object %x", have, c.want)
	}
	return n, err
}

// List implements [publish.Reader].
func (s *Store) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	prefix = s.at.Prefix + prefix
	o := &container.ListBlobsFlatOptions{Prefix: &prefix}
	if s.pageSize > 0 {
		size := int32(s.pageSize)
		o.MaxResults = &size
	}
	var objects []publish.Object
	for pages := s.client.NewListBlobsFlatPager(o); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s.tell("list", s.at.Name(prefix), err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil {
				return nil, s.tell("list", s.at.Name(prefix), errors.New("the answer lists an object without name or size"))
			}
			objects = append(objects, publish.Object{
				Name: s.at.Name(*item.Name), Size: *item.Properties.ContentLength, MD5: item.Properties.ContentMD5,
			})
		}
	}
	return objects, nil
}

// once lets the requests of a context be made once.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// Put implements [publish.Store].
func (s *Store) Put(ctx context.Context, u publish.Upload) error {
	b, err := s.blob(u.Name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	digest := md5.New()
	body, err := bucket.ReadBody(u, digest)
	if err != nil {
		return err
	}
	defer body.Discard()
	sum := digest.Sum(nil)
	headers := &blob.HTTPHeaders{BlobContentMD5: sum}
	if u.ContentType != "" {
		headers.BlobContentType = &u.ContentType
	}
	if u.CacheControl != "" {
		headers.BlobCacheControl = &u.CacheControl
	}
	return s.at.Write(ctx, s, u, body, s.sleep, func() error {
		_, err := b.Upload(once(ctx), streaming.NopCloser(body), &blockblob.UploadOptions{
			HTTPHeaders:             headers,
			TransactionalValidation: blob.TransferValidationTypeMD5(sum),
			AccessConditions:        condition(u.Was),
		})
		return s.tell("put", u.Name, err)
	})
}

// Delete implements [publish.Remover].
func (s *Store) Delete(ctx context.Context, name string, was publish.Version) error {
	if was == "" {
		return s.at.Gone(ctx, s, name)
	}
	b, err := s.blob(name)
	if err != nil {
		return err
	}
	_, err = b.Delete(once(ctx), &blob.DeleteOptions{AccessConditions: condition(was)})
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil
	}
	if err = s.tell("delete", name, err); errors.Is(err, publish.ErrChanged) {
		return s.at.Gone(ctx, s, name)
	}
	return err
}

func condition(was publish.Version) *blob.AccessConditions {
	if was == "" {
		anything := azcore.ETagAny
		return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anything}}
	}
	etag := azcore.ETag(was)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
}

// blob is an object. The service drops a dot at the end of a segment.
func (s *Store) blob(name string) (*blockblob.Client, error) {
	key, err := s.at.Key(name)
	if err != nil {
		return nil, err
	}
	if strings.Contains(key+"/", "./") {
		return nil, fmt.Errorf("%q cannot be the name of a published file on Azure: a part of it ends with a dot", name)
	}
	return s.client.NewBlockBlobClient(key), nil
}

// tell says what an error means; of none, it is none.
func (s *Store) tell(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &bucket.Error{Op: op, URL: s.at.URL(name), Needs: needs, Reason: bucket.Reason(err), Again: bucket.Lost(err), Err: err}
	if answer := (*azcore.ResponseError)(nil); errors.As(err, &answer) {
		e.Reason = fmt.Sprintf("%s (%d)", cmp.Or(answer.ErrorCode, http.StatusText(answer.StatusCode)), answer.StatusCode)
		if e.Again = bucket.Busy(answer.StatusCode); answer.RawResponse != nil {
			e.After = bucket.RetryAfter(answer.RawResponse.Header)
		}
		switch {
		// Not every 409 and 412: there are leases, and blobs that policy keeps.
		case bloberror.HasCode(err, bloberror.ConditionNotMet, bloberror.BlobAlreadyExists),
			op == "put" && bloberror.HasCode(err, bloberror.BlobNotFound):
			return s.at.Changed(name, e.Reason)
		case bloberror.HasCode(err, bloberror.ContainerNotFound):
			e.Kind = bucket.NoBucket
		case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
			e.Kind = bucket.Denied
		}
	}
	if unknown := (*azidentity.AuthenticationFailedError)(nil); errors.As(err, &unknown) {
		e.Kind = bucket.Denied
	}
	return e
}
