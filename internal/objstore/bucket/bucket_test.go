package bucket_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
)

// TestReadBody: what can be read is all of it, twice, with its digest; what is
// not what it should be is refused. Nothing stays behind.
func TestReadBody(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 5 << 20} {
		content := bytes.Repeat([]byte("x"), size)
		digest := md5.New()
		b, err := bucket.ReadBody(publish.Upload{Name: "x", Size: int64(size), Body: iotest.HalfReader(bytes.NewReader(content))}, digest)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("of %d bytes %d come, %v", size, len(got), err)
			}
			if _, err := b.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
		if want := md5.Sum(content); !bytes.Equal(digest.Sum(nil), want[:]) {
			t.Errorf("the digest of %d bytes is %x, want %x", size, digest.Sum(nil), want)
		}
		b.Discard()
	}
	broken := errors.New("the source broke off")
	for _, size := range []int64{3, 2 << 20} {
		content := strings.Repeat("x", int(size))
		for _, test := range []struct {
			body io.Reader
			want string
		}{
			{strings.NewReader(content[1:]), "bytes came, not"},
			{strings.NewReader(content + "y"), "more than"},
			{io.MultiReader(strings.NewReader(content[1:]), iotest.ErrReader(broken)), broken.Error()},
			{io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)), broken.Error()},
		} {
			if _, err := bucket.ReadBody(publish.Upload{Name: "x", Size: size, Body: test.body}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v stays behind, %v", left, err)
	}
}
