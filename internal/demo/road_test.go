package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/git/gittest"
)

// TestRoad: the demo from nothing arrives, its narration fits a terminal, and
// what it promises to leave is there. Each of its steps fails by itself if what
// it shows is not so.
func TestRoad(t *testing.T) {
	t.Parallel()
	gittest.Isolate()
	dir := filepath.Join(t.TempDir(), "left")
	var out bytes.Buffer
	if err := Road(t.Context(), Options{Out: &out, Dir: dir, Now: start}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"with it release/hello.txt verifies", "an artifact with one more byte does not verify", "the client went from root v1 to v2",
		"old clients and new ones follow", "not one day without a valid timestamp", "ok refused", "made 3 roots",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("the narration lacks %q", want)
		}
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 80 && !strings.Contains(line, dir) {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, name := range []string{"git.git", "people/alice", "keys/alice.pem", "release/hello.txt", "1.root.json", "published/metadata/index.html", "client/trusted_root.json", "tampered", "ci"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := Road(t.Context(), Options{Out: &out, Dir: dir, Now: start}); err == nil {
		t.Error("a second demo in the same folder")
	}
}
