// Package s3 keeps published files in a bucket of Amazon S3, or of a service
// that speaks its language, the way [publish.Store] asks. The version of an
// object is its ETag.
//
// Credentials, region and endpoint (AWS_ENDPOINT_URL_S3) are those of the
// environment, as the vendor's client finds them. The SHA-256 of what is sent
// goes along and is checked by the service; what is read is checked by the client
// where the service keeps a digest.
//
// A write is one request, repeated by the rules of [bucket.Location.Write] and not
// by the client's, which would find its own first one and call it another
// publisher's. Reading is repeated by the client's rules, deleting never. A service that does not know If-Match and If-None-Match
// breaks the promise of Put, and nothing here can tell.
package s3

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

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
	client   *s3.Client
	pageSize int
	sleep    bucket.Sleep
	digests  atomic.Bool // ETags are digests, as far as answers say
}

// permissions are what the operations take.
var permissions = map[string]string{
	"get":    "s3:GetObject, and s3:ListBucket to tell what is not there from what is forbidden",
	"list":   "s3:ListBucket",
	"put":    "s3:PutObject",
	"delete": "s3:DeleteObject",
}

// defaultRegion is what services that have no regions call theirs.
const defaultRegion = "us-east-1"

// Open names a place in a bucket. It reads the configuration and asks nobody:
// whether credentials are there, and the bucket, is known with the first
// operation.
func Open(ctx context.Context, at bucket.Location, o Options) (*Store, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("open %s: read the configuration of AWS: %w", at, err)
	}
	client := s3.NewFromConfig(cfg, func(s *s3.Options) {
		if s.BaseEndpoint != nil {
			// Bucket names are no host names below every endpoint.
			s.UsePathStyle = true
			if s.Region == "" {
				s.Region = defaultRegion
			}
		}
		s.DisableLogOutputChecksumValidationSkipped = true // objects of others need have none
	})
	if client.Options().Region == "" {
		return nil, &bucket.Error{Op: "open", URL: at.String(), Kind: bucket.Elsewhere, Reason: "no region is configured"}
	}
	return &Store{at: at, client: client, pageSize: o.PageSize, sleep: o.Sleep}, nil
}

// URL names the destination.
func (s *Store) URL() string { return s.at.String() }

// Endpoint is where requests go.
func (s *Store) Endpoint() string {
	if base := s.client.Options().BaseEndpoint; base != nil {
		return *base
	}
	return "https://s3." + s.client.Options().Region + ".amazonaws.com"
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
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.at.Bucket, Key: &key})
	if code(err) == "NoSuchKey" {
		return nil, "", s.at.NotExist(name)
	}
	if err != nil {
		return nil, "", s.tell("get", name, err)
	}
	if aws.ToString(out.ETag) == "" {
		out.Body.Close()
		return nil, "", s.tell("get", name, errors.New("the answer has no ETag"))
	}
	s.learn(out.ServerSideEncryption)
	return s.at.Stream(name, out.Body, s.tell), publish.Version(*out.ETag), nil
}

// List implements [publish.Reader].
func (s *Store) List(ctx context.Context, prefix string) ([]publish.Object, error) {
	in := &s3.ListObjectsV2Input{Bucket: &s.at.Bucket, Prefix: aws.String(s.at.Prefix + prefix)}
	if s.pageSize > 0 {
		in.MaxKeys = aws.Int32(int32(s.pageSize))
	}
	var objects []publish.Object
	for pages := s3.NewListObjectsV2Paginator(s.client, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s.tell("list", prefix, err)
		}
		for _, o := range page.Contents {
			object := publish.Object{Name: s.at.Name(aws.ToString(o.Key)), Size: aws.ToInt64(o.Size)}
			if s.digests.Load() {
				object.MD5 = digest(aws.ToString(o.ETag))
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// learn takes from an answer whether ETags are digests. Of objects that are
// encrypted with a key of the KMS they look like it and are not, and a listing
// does not tell. So the last object that was read or written stands for all: it
// shows what the bucket does by default.
func (s *Store) learn(e types.ServerSideEncryption) {
	s.digests.Store(e == "" || e == types.ServerSideEncryptionAes256)
}

// digest is the MD5 that an ETag is; nil: it is something else.
func digest(etag string) []byte {
	md5, err := hex.DecodeString(strings.Trim(etag, `"`))
	if err != nil || len(md5) != 16 {
		return nil
	}
	return md5
}

// once lets a request be made once.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// Put implements [publish.Store].
func (s *Store) Put(ctx context.Context, u publish.Upload) error {
	key, err := s.at.Key(u.Name)
	if err != nil {
		return err
	}
	in := &s3.PutObjectInput{Bucket: &s.at.Bucket, Key: &key, ContentLength: &u.Size}
	if u.Was == "" {
		in.IfNoneMatch = aws.String("*")
	} else if in.IfMatch, err = s.etag(u.Name, u.Was); err != nil {
		return err
	}
	if u.ContentType != "" {
		in.ContentType = &u.ContentType
	}
	if u.CacheControl != "" {
		in.CacheControl = &u.CacheControl
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := sha256.New()
	body, err := bucket.ReadBody(u, sum)
	if err != nil {
		return err
	}
	defer body.Discard()
	in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	return s.at.Write(ctx, s, u, body, s.sleep, func() error {
		in.Body = body.ReadSeeker
		out, err := s.client.PutObject(ctx, in, once)
		if code(err) == "NoSuchKey" {
			return s.at.Changed(u.Name, "it is gone")
		}
		if err == nil {
			s.learn(out.ServerSideEncryption)
		}
		return s.tell("put", u.Name, err)
	})
}

// Delete implements [publish.Remover].
func (s *Store) Delete(ctx context.Context, name string, was publish.Version) error {
	if was == "" {
		return s.at.Gone(ctx, s, name)
	}
	key, err := s.at.Key(name)
	if err != nil {
		return err
	}
	etag, err := s.etag(name, was)
	if err != nil {
		return err
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.at.Bucket, Key: &key, IfMatch: etag}, once)
	if code(err) == "NoSuchKey" {
		return nil
	}
	if err = s.tell("delete", name, err); errors.Is(err, publish.ErrChanged) {
		return s.at.Gone(ctx, s, name)
	}
	return err
}

// etag is a version as a condition. One that no answer can have brought is no
// object's.
func (s *Store) etag(name string, was publish.Version) (*string, error) {
	if !strings.HasPrefix(string(was), `"`) {
		return nil, s.at.Changed(name, fmt.Sprintf("%q is no ETag", was))
	}
	return aws.String(string(was)), nil
}

func code(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// tell says what an error means; of none, it is none.
func (s *Store) tell(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &bucket.Error{Op: op, URL: s.at.URL(name), Needs: permissions[op] + " on the bucket", Reason: bucket.Reason(err), Again: bucket.Lost(err), Err: err}
	var status int
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		status = answer.HTTPStatusCode() // 0: there was no answer
		if status != 0 {
			e.Again, e.After = bucket.Busy(status) || code(err) == "OperationAborted", bucket.RetryAfter(answer.Response.Header)
		}
	}
	if api := smithy.APIError(nil); errors.As(err, &api) && status != 0 {
		e.Reason = fmt.Sprintf("%s (%d %s)", cmp.Or(api.ErrorMessage(), http.StatusText(status)), status, api.ErrorCode())
	}
	switch {
	case status == http.StatusPreconditionFailed, code(err) == "ConditionalRequestConflict":
		return s.at.Changed(name, e.Reason)
	case code(err) == "NoSuchBucket":
		e.Kind = bucket.NoBucket
	case status == http.StatusMovedPermanently, code(err) == "AuthorizationHeaderMalformed":
		e.Kind = bucket.Elsewhere
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Kind = bucket.Denied
	}
	return e
}
