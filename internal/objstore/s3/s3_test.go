package s3_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	vendor "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/internal/objstore/s3"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

const secret = "correct-horse-battery-staple"

// environment is all of AWS that a test sees.
func environment(t *testing.T, endpoint string) {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "publisher", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": endpoint, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
	} {
		t.Setenv(name, value)
	}
}

func open(t *testing.T, url string, clock *storetest.Clock) *s3.Store {
	t.Helper()
	at, err := bucket.Parse(url, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3.Open(t.Context(), at, s3.Options{PageSize: storetest.PageSize(), Sleep: clock.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gateway starts versitygw, a server that speaks S3, over a directory, and
// returns its socket.
func gateway(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s3") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	objects := filepath.Join(dir, "objects")
	if err := os.Mkdir(objects, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROOT_ACCESS_KEY", "publisher")
	t.Setenv("ROOT_SECRET_KEY", secret)
	socket := filepath.Join(dir, "socket")
	storetest.Emulate(t, regexp.MustCompile("listening on"), "versitygw", "-p", socket, "posix", objects)
	for wait := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return "unix:" + socket
		}
		if time.Now().After(wait) {
			t.Fatal(err)
		}
	}
}

// newBucket makes a bucket that everybody may read.
func newBucket(t *testing.T, name string) {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"))
	if err != nil {
		t.Fatal(err)
	}
	client := vendor.NewFromConfig(cfg, func(o *vendor.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &vendor.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	policy := fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::%s/*"}]}`, name)
	if _, err := client.PutBucketPolicy(t.Context(), &vendor.PutBucketPolicyInput{Bucket: &name, Policy: aws.String(policy)}); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	service := gateway(t)
	buckets := 0
	storetest.Run(t, func(t *testing.T) storetest.Destination {
		way, clock := storetest.NewWay(t, service), &storetest.Clock{}
		environment(t, way.URL)
		buckets++
		name := fmt.Sprintf("tuf-%d", buckets)
		newBucket(t, name)
		return storetest.Destination{
			Open:    func() publish.Store { return open(t, "s3://"+name+"/staging/new", clock) },
			Public:  storetest.OverHTTP(way.URL + "/" + name + "/staging/new"),
			Digests: true,
			Way:     way,
			Clock:   clock,
			Secrets: []string{secret},
		}
	})
	t.Run("Errors", func(t *testing.T) {
		way := storetest.NewWay(t, service)
		environment(t, way.URL)
		_, err := open(t, "s3://missing", &storetest.Clock{}).List(t.Context(), "metadata/")
		wantKind(t, err, bucket.NoBucket)
		wantKind(t, storetest.Put(t.Context(), open(t, "s3://missing", &storetest.Clock{}), "metadata/x", "x", ""), bucket.NoBucket)
		wantKind(t, storetest.Put(t.Context(), open(t, "s3://missing", &storetest.Clock{}), "metadata/x", "x", `"was"`), bucket.NoBucket)
		newBucket(t, "forbidden")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
		wantKind(t, storetest.Put(t.Context(), open(t, "s3://forbidden", &storetest.Clock{}), "metadata/x", "x", ""), bucket.Denied)
	})
}

func wantKind(t *testing.T, err error, kind bucket.Kind) {
	t.Helper()
	var e *bucket.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Hint() == "" || errors.Is(err, publish.ErrChanged) {
		t.Errorf("got %v, want one of kind %d with a hint", err, kind)
	}
}
