package publish_test

import (
	"cmp"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

// TestNamesThatFit: an artifact that a place cannot hold would keep everything from
// being published there, the timestamp too. So it has a path that no event may bring.
// The longest that may be brought fit.
func TestNamesThatFit(t *testing.T) {
	const hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	deep := strings.Repeat(strings.Repeat("d", 129)+"/", 5)
	for _, test := range []struct {
		target string
		good   bool
		fits   bool // in a directory
	}{
		{strings.Repeat("b", 150), true, true},
		{strings.Repeat("ü", 75), true, true},
		{deep + strings.Repeat("b", 150), true, true},
		{strings.Repeat("d", 150) + "/b", true, true},
		{hash + "/b", true, true},
		{hash + ".b", true, true},
		{"x.y/" + hash[1:] + ".a.txt/b", true, true},

		{strings.Repeat("b", 200), false, false},
		{strings.Repeat("d", 256) + "/b", false, false},
		{hash + ".a.txt/b", false, false}, // a.txt is published under the name of this folder
		{"x/" + hash + ".a.txt/b", false, false},
		{strings.Repeat("b", 151), false, true},
		{strings.Repeat("ü", 76), false, true},
		{deep + "d/" + strings.Repeat("b", 149), false, true},
		{"x./a", false, true}, // Azure
		{"a.", false, true},
		{"a\ufffdb", false, true}, // all buckets
	} {
		why := cmp.Or(repository.UnsafeTargetPath(test.target), repository.UnpublishableTargetPath(test.target))
		if (why == "") != test.good {
			t.Errorf("%.80q (%d bytes): the rule says %q", test.target, len(test.target), why)
		}
		store, err := dir.Open(filepath.Join(t.TempDir(), "site"), dir.Options{})
		if err != nil {
			t.Fatal(err)
		}
		put := func(target string) error {
			name := path.Join("targets", path.Dir(target), hash+"."+path.Base(target))
			return store.Put(t.Context(), publish.Upload{Name: name, Size: 1, Body: strings.NewReader("x")})
		}
		for _, other := range []string{"a.txt", "x/a.txt"} {
			if err := put(other); err != nil {
				t.Fatal(err)
			}
		}
		if err := put(test.target); (err == nil) != test.fits {
			t.Errorf("%.80q: a directory answers %v", test.target, err)
		}
	}
	if repository.UnsafeRoleName("a\ufffdb") == "" {
		t.Error("a role may have a name that no bucket takes")
	}
}
