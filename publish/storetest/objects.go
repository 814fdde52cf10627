package storetest

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/publish"
)

// PageSize is how many objects the views of a service list at a time: few, so
// that few objects make many pages; or what services do by themselves, where
// TUFOPS_SOAK is set.
func PageSize() int {
	if os.Getenv("TUFOPS_SOAK") != "" {
		return 1000
	}
	return 3
}

// Answer is an object as everybody reads it.
type Answer struct {
	Content                   string
	ContentType, CacheControl string
}

// OverHTTP reads objects below a URL.
func OverHTTP(base string) func(name string) (Answer, error) {
	return func(name string) (Answer, error) {
		segments := strings.Split(name, "/")
		for i, s := range segments {
			segments[i] = url.PathEscape(s)
		}
		answer, err := http.Get(base + "/" + strings.Join(segments, "/"))
		if err != nil {
			return Answer{}, err
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", answer.Status, content)
		}
		return Answer{string(content), answer.Header.Get("Content-Type"), answer.Header.Get("Cache-Control")}, err
	}
}

// oddNames must each be an object of its own, and be listed as they are.
var oddNames = []string{
	"targets/a b", "targets/a+b", "targets/a%20b", "targets/a%2Bb", "targets/100%", "targets/a%2fb", "targets/a/b",
	"targets/question?x=1&y=2", "targets/hash#part", "targets/größe", "targets/日本語/ファイル",
	"targets/'single'", `targets/"double"`, "targets/<angle>&amp;", "targets/.hidden", "targets/..twice", "targets/~tilde",
	"targets/semi;colon", "targets/[brackets]{braces}", "targets/a=b@c:d,e!f$g*h(i)", "targets/pipe|caret^tick`", "targets/%2e%2e/x",
	"targets/-dash",
}

func objectNames(t *testing.T, d Destination) {
	s := d.Open()
	for _, name := range oddNames {
		put(t, s, name, "content of "+name, "")
	}
	objects, err := s.List(t.Context(), "targets/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.Name)
	}
	wanted := slices.Sorted(slices.Values(oddNames))
	if slices.Sort(got); !slices.Equal(got, wanted) {
		t.Errorf("List gives %q, want %q", got, wanted)
	}
	for _, name := range oddNames {
		want(t, s, name, "content of "+name)
		if d.Way != nil && d.Public != nil {
			if a, err := d.Public(name); err != nil || a.Content != "content of "+name {
				t.Errorf("everybody reads %s as %q, %v", name, a.Content, err)
			}
		}
	}
	for _, name := range []string{"", ".", "..", "/targets/x", "../x", "targets/../x", "targets/./x", "targets//x", "targets/", `targets\x`, "targets/\xff"} {
		if err := Put(t.Context(), s, name, "x", ""); err == nil || errors.Is(err, publish.ErrChanged) {
			t.Errorf("Put(%q) gives %v; it should be refused", name, err)
		}
		if _, _, err := s.Get(t.Context(), name); err == nil {
			t.Errorf("Get(%q) succeeds", name)
		}
		if r, ok := s.(publish.Remover); ok {
			if err := r.Delete(t.Context(), name, "1"); err == nil || errors.Is(err, publish.ErrChanged) {
				t.Errorf("Delete(%q) gives %v; it should be refused", name, err)
			}
		}
	}
}

// listing: of more objects than fit into one answer each is told once, with its
// size and, where that is promised, its digest.
func listing(t *testing.T, d Destination) {
	s := d.Open()
	count := 3*PageSize() + 1
	content := func(i int) string { return strings.Repeat("x", i%7) + fmt.Sprint(i) }
	for i := range count {
		put(t, s, fmt.Sprintf("targets/%d", i), content(i), "")
	}
	put(t, s, "metadata/timestamp.json", "timestamp", "")
	before := d.Way.count()
	objects, err := s.List(t.Context(), "targets/")
	if err != nil {
		t.Fatal(err)
	}
	if asked := d.Way.count() - before; d.Way != nil && asked < 4 {
		t.Errorf("%d objects came in %d answers; this does not try what it should", count, asked)
	}
	seen := map[string]publish.Object{}
	for _, o := range objects {
		seen[o.Name] = o
	}
	if len(objects) != count || len(seen) != count {
		t.Errorf("List gives %d objects, %d different ones, want %d", len(objects), len(seen), count)
	}
	for i := range count {
		digest := md5.Sum([]byte(content(i)))
		switch o := seen[fmt.Sprintf("targets/%d", i)]; {
		case o.Size != int64(len(content(i))):
			t.Errorf("targets/%d is listed with %d bytes, has %d", i, o.Size, len(content(i)))
		case !d.Digests && o.MD5 != nil:
			t.Errorf("targets/%d is listed with a digest, which is not promised", i)
		case d.Digests && string(o.MD5) != string(digest[:]):
			t.Errorf("targets/%d is listed with the digest %x, has %x", i, o.MD5, digest)
		}
	}
}

// headers: everybody gets the headers of the last write.
func headers(t *testing.T, d Destination) {
	s := d.Open()
	if keeps := s.Guarantees().Headers; keeps != (d.Public != nil) {
		t.Fatalf("the store says that it keeps headers: %v; that they can be read: %v", keeps, d.Public != nil)
	} else if !keeps {
		return
	}
	versions := map[string]publish.Version{}
	for _, u := range []publish.Upload{
		{Name: "metadata/timestamp.json", ContentType: "application/json", CacheControl: "public, max-age=300"},
		{Name: "metadata/timestamp.json", ContentType: "application/json", CacheControl: "no-cache, max-age=60"},
		{Name: "metadata/index.html", ContentType: "text/html; charset=utf-8", CacheControl: "public, max-age=300"},
		{Name: "targets/abc.gz", ContentType: "application/octet-stream", CacheControl: "public, max-age=31536000, immutable"},
		{Name: "targets/empty", ContentType: "application/octet-stream", CacheControl: "public, max-age=31536000, immutable"},
	} {
		content := "for " + u.CacheControl
		if u.Name == "targets/empty" {
			content = ""
		}
		u.Size, u.Body, u.Was = int64(len(content)), strings.NewReader(content), versions[u.Name]
		if err := s.Put(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		versions[u.Name] = want(t, s, u.Name, content)
		got, err := d.Public(u.Name)
		if want := (Answer{content, u.ContentType, u.CacheControl}); err != nil || got != want {
			t.Errorf("%s is served as %+v, %v, want %+v", u.Name, got, err, want)
		}
	}
}

func remove(t *testing.T, d Destination) {
	s := d.Open()
	r, ok := s.(publish.Remover)
	if !ok {
		t.Fatal("the store cannot delete")
	}
	const name = "targets/abc.file"
	if err := r.Delete(t.Context(), name, "never-seen"); err != nil && !errors.Is(err, publish.ErrChanged) {
		t.Errorf("Delete of an object that does not exist gives %v", err)
	}
	if err := r.Delete(t.Context(), name, ""); err != nil {
		t.Errorf("Delete of an object that does not exist, as its caller knows, gives %v", err)
	}
	put(t, s, name, "1", "")
	v1 := want(t, s, name, "1")
	put(t, s, name, "2", v1)
	v2 := want(t, s, name, "2")
	put(t, s, "targets/other", "other", "")
	for _, was := range []publish.Version{v1, "", "other"} {
		if err := r.Delete(t.Context(), name, was); !errors.Is(err, publish.ErrChanged) {
			t.Errorf("Delete(was %q) gives %v, want ErrChanged", was, err)
		}
		want(t, s, name, "2")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Delete(ctx, name, v2); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete gives %v, want context.Canceled", err)
	}
	want(t, s, name, "2")
	for range 2 { // that it is gone already is no error
		if err := r.Delete(t.Context(), name, v2); err != nil {
			t.Errorf("Delete gives %v", err)
		}
	}
	if _, _, err := d.Open().Get(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of what was deleted gives %v", err)
	}
	if got, want := names(t, d.Open(), "targets/"), "targets/other:5"; got != want {
		t.Errorf("List gives %s, want %s", got, want)
	}
	if err := Put(t.Context(), s, name, "3", v2); !errors.Is(err, publish.ErrChanged) {
		t.Errorf("Put over what was deleted gives %v, want ErrChanged", err)
	}
	put(t, s, name, "3", "")
}
