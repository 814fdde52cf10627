package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// filesFetcher serves http://repo/ from a map, without a network.
type filesFetcher map[string][]byte

func (f filesFetcher) Fetch(_ context.Context, from string, _ int64) (io.ReadCloser, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, ok := f[strings.TrimPrefix(u.Path, "/")]
	if !ok {
		return nil, &client.NotFoundError{URL: from}
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// verdict is what a client makes of a repository: the content of an artifact,
// or why not.
func verdict(files map[string][]byte, root []byte, now time.Time, path string) (content string, err error) {
	c, err := client.New(client.Options{Root: root, MetadataURL: "http://repo/metadata", TargetsURL: "http://repo/targets",
		Fetcher: filesFetcher(files), Now: func() time.Time { return now }})
	if err != nil {
		return "", err
	}
	_, data, err := c.Read(context.Background(), path)
	return string(data), err
}

// mutations yields every tree that differs from the given one in one place: a
// value is gone, or one of another kind.
func mutations(tree any) iter.Seq2[string, any] {
	values := []any{nil, true, "", "x", json.Number("0"), json.Number("-1"), json.Number("1.5"), json.Number("1e400"),
		json.Number("9223372036854775808"), []any{}, []any{nil}, metadata.Object{}, metadata.Object{"x": nil}}
	return func(each func(string, any) bool) {
		more, n := true, 0
		yield := func(what string, tree any) bool {
			n++
			return n%everyNth != 0 || each(what, tree)
		}
		var walk func(path string, v any, removable bool, put func(v any, gone bool))
		walk = func(path string, v any, removable bool, put func(any, bool)) {
			for _, other := range values {
				if more && !reflect.DeepEqual(other, v) {
					put(other, false)
					more = yield(fmt.Sprintf("%s = %s", path, metadata.Write(other)), tree)
				}
			}
			if more && removable {
				put(v, true)
				more = yield(path+" gone", tree)
			}
			put(v, false)
			switch v := v.(type) {
			case metadata.Object:
				for _, name := range slices.Sorted(maps.Keys(v)) {
					if !more {
						return
					}
					e := v[name]
					walk(path+"."+name, e, true, func(e any, gone bool) {
						if v[name] = e; gone {
							delete(v, name)
						}
					})
					v[name] = e
				}
			case []any:
				for i := range v {
					if !more {
						return
					}
					e := v[i]
					walk(fmt.Sprintf("%s.%d", path, i), e, false, func(e any, _ bool) { v[i] = e })
					v[i] = e
				}
			}
		}
		walk("", tree, false, func(v any, _ bool) { tree = v })
	}
}

// mutable is a small repository with a bit of everything, and its artifact.
func mutable() *clienttest.Repo {
	repo := clienttest.New()
	repo.MetaHashes = false // so that nothing but the signature protects a file
	repo.Delegate(targets, "A", true, []string{"a/*", "b"})
	prefixes := repo.Delegate(targets, "B", false, nil)
	delete(prefixes, "paths")
	prefixes["path_hash_prefixes"] = []any{"0"}
	repo.Delegate("A", "C", false, []string{"a/tool"})
	repo.AddTarget("C", "a/tool", "content")
	repo.Roles["C"].Signed["targets"].(metadata.Object)["a/tool"].(metadata.Object)["custom"] = metadata.Object{"x": []any{int64(1)}}
	repo.Publish(root, "A", "B", "C", targets)
	return repo
}

var mutableRoles = []string{root, timestamp, snapshot, targets, "A", "C"}

// Anybody between a client and its repository can change a file in any way.
// Kills: a client that panics on a null before it looks at the signature, and
// one that verifies what it read into a struct instead of what was sent.
func TestUnsignedChangesAreRefused(t *testing.T) {
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	if content, err := verdict(repo.Files, anchor, clienttest.Now, "a/tool"); err != nil || content != "content" {
		t.Fatalf("unchanged: %q, %v", content, err)
	}
	n := 0
	for _, role := range mutableRoles {
		file := clienttest.File(role, repo.Roles[role].Version())
		tree, _, err := metadata.ParseTree(repo.Files[file])
		if err != nil {
			t.Fatal(err)
		}
		for what, changed := range mutations(tree) {
			files := maps.Clone(repo.Files)
			files[file] = metadata.Write(changed)
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s%s: panic: %v", role, what, p)
					}
				}()
				if content, err := verdict(files, anchor, clienttest.Now, "a/tool"); err == nil {
					t.Errorf("%s%s: got %q", role, what, content)
				}
			}()
			n++
		}
	}
	t.Logf("%d changes", n)
}

// Whoever holds the keys can sign nonsense; a client then says so or makes
// sense of it, and goes on living.
func TestSignedNonsenseDoesNotPanic(t *testing.T) {
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	n, accepted := 0, 0
	for _, role := range mutableRoles {
		file := clienttest.File(role, repo.Roles[role].Version())
		tree, _, _ := metadata.ParseTree(repo.Files[file])
		signed := tree.(metadata.Object)["signed"]
		for what, changed := range mutations(signed) {
			data, ok := signAny(changed, repo.Roles[role].Keys)
			if !ok {
				continue
			}
			files := maps.Clone(repo.Files)
			files[file] = data
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s%s: panic: %v", role, what, p)
					}
				}()
				content, err := verdict(files, anchor, clienttest.Now, "a/tool")
				if err == nil {
					accepted++
					if content != "content" {
						t.Errorf("%s%s: got %q", role, what, content)
					}
				}
			}()
			n++
		}
	}
	t.Logf("%d changes, %d of them harmless", n, accepted)
}

// signAny signs what may be no object; false where there is nothing to sign.
func signAny(signed any, keys []*clienttest.Key) ([]byte, bool) {
	if _, err := metadata.Canonical(signed); err != nil {
		return nil, false
	}
	o, ok := signed.(metadata.Object)
	if !ok {
		return nil, false
	}
	return clienttest.Sign(o, keys...), true
}
