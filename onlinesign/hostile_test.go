package onlinesign_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// twice is a role's metadata with an entry of the signature list repeated: what
// is signed stays, and clients refuse the file.
func twice(w *onlinesigntest.World, role string) []byte {
	tree, _, err := metadata.ParseTree(w.Document(role).Raw())
	if err != nil {
		panic(err)
	}
	o := tree.(metadata.Object)
	list := o["signatures"].([]any)
	o["signatures"] = append(list, list[0])
	return metadata.Write(o)
}

// named is a role's metadata that names something outside the signed part twice.
func named(w *onlinesigntest.World, role string) []byte {
	return []byte(strings.Replace(string(w.Document(role).Raw()), "{\n", "{\n \"x\": 1,\n \"x\": 2,\n", 1))
}

// Somebody who may write to main, and has no key, spoils files that are validly
// signed without touching what is signed, or brings what is signed and cannot be
// published. Neither may stop what clients live on.
func TestSpoiltFilesOnMain(t *testing.T) {
	raw := func(change func(metadata.Object)) func(*onlinesigntest.World) {
		return func(w *onlinesigntest.World) { w.Raw("targets", "A red event", change) }
	}
	file := func(role string, spoil func(*onlinesigntest.World, string) []byte) func(*onlinesigntest.World) {
		return func(w *onlinesigntest.World) {
			w.Write("Something else", map[string][]byte{repository.MetadataFile(role): spoil(w, role)})
		}
	}
	entry := func(hashes metadata.Object) metadata.Object {
		return metadata.Object{"length": 3, "hashes": hashes}
	}
	one := "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
	for _, test := range []struct {
		name    string
		push    func(w *onlinesigntest.World)
		blocked string
	}{
		{"targets, a signature twice", file("targets", twice), "targets signature-duplicate"},
		{"targets, a name twice", file("targets", named), "targets duplicate-json-key"},
		{"snapshot, a signature twice", file("snapshot", twice), ""},
		{"snapshot, a name twice", file("snapshot", named), ""},
		{"timestamp, a signature twice", file("timestamp", twice), ""},
		{"timestamp, a name twice", file("timestamp", named), ""},
		{"new targets, a signature twice", func(w *onlinesigntest.World) {
			w.Artifact("a.txt", "two", true)
			file("targets", twice)(w)
		}, "targets signature-duplicate"},
		{"new targets of another specification", raw(func(s metadata.Object) { s["spec_version"] = "2.0" }), "targets spec-version-unsupported"},
		{"new targets that have expired", raw(func(s metadata.Object) { s["expires"] = "2026-03-02T00:00:00Z" }), "targets expired"},
		{"new targets with the hash of a file that never was", raw(func(s metadata.Object) {
			s["targets"].(metadata.Object)["a.txt"] = entry(metadata.Object{"sha256": strings.Repeat("ab", 32)})
		}), "targets artifact-mismatch"},
		{"new targets with an unsafe path", raw(func(s metadata.Object) {
			s["targets"].(metadata.Object)["../a.txt"] = entry(metadata.Object{"sha256": one})
		}), "targets artifact-path-unsafe"},
		{"new targets with a hash that is a path", raw(func(s metadata.Object) {
			s["targets"].(metadata.Object)["a.txt"] = entry(metadata.Object{"sha256": one, "x": "../metadata/9"})
		}), "targets artifact-mismatch"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Artifact("a.txt", "one", true)
			w.Sign()
			dirs := map[string]string{}
			update(t, w, dirs)
			test.push(w)
			days := 2
			if os.Getenv("TUFOPS_SOAK") != "" {
				days = 4
			}
			for range days {
				w.Wait(day)
				if got := blockedText(w.Sign()); got != test.blocked {
					t.Fatalf("blocked by %q, want %q", got, test.blocked)
				}
				update(t, w, dirs)
				update(t, w, nil)
			}
		})
	}
}

// A hash of a kind that nobody knows is compared with nothing, so no file is
// published under it: it could be the name of another.
func TestUnknownHash(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Artifact("a.txt", "one", true)
	w.Raw("targets", "A hash more", func(s metadata.Object) {
		s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["hashes"].(metadata.Object)["x"] = strings.Repeat("ab", 32)
	})
	w.Sign()
	if got := update(t, w, nil); got != 3 {
		t.Errorf("clients see targets version %d", got)
	}
	names, err := filepath.Glob(filepath.Join(w.Site, "targets", "*"))
	if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], ".a.txt") || strings.Contains(names[0], "abab") {
		t.Errorf("published %q, %v", names, err)
	}
}

// An old timestamp, validly signed, comes back to main: somebody pushes it, or
// resolves the conflict of a merge with it. What clients have is newer, so the
// next version goes on from the newest that was signed.
func TestTimestampPutBack(t *testing.T) {
	for name, putBack := range map[string]func(t *testing.T, w *onlinesigntest.World){
		"pushed": func(t *testing.T, w *onlinesigntest.World) {
			w.Write("Put back", map[string][]byte{"metadata/timestamp.json": old(t, w, "timestamp"), "metadata/snapshot.json": old(t, w, "snapshot")})
		},
		"timestamp alone": func(t *testing.T, w *onlinesigntest.World) {
			w.Write("Put back", map[string][]byte{"metadata/timestamp.json": old(t, w, "timestamp")})
		},
		"merged": func(t *testing.T, w *onlinesigntest.World) {
			c := w.Upstream.Clone("merging")
			first := strings.Fields(c.Run("log", "--reverse", "--diff-filter=A", "--format=%H", "--", "metadata/timestamp.json"))[0]
			c.Run("switch", "-q", "-c", "sign/old", first)
			c.WriteFile("README.md", "an event\n")
			c.Commit("An event")
			c.Run("switch", "-q", "main")
			c.Run("merge", "-q", "--no-ff", "--no-commit", "sign/old")
			c.Run("checkout", "sign/old", "--", "metadata/timestamp.json", "metadata/snapshot.json")
			c.Commit("Merge sign/old")
			c.Push()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Sign()
			w.Artifact("a.txt", "one", true)
			w.Sign()
			for range 3 {
				w.Wait(day)
				w.Sign()
			}
			dirs := map[string]string{}
			update(t, w, dirs)
			before := w.Document("timestamp").Version()
			putBack(t, w)
			if got := w.Document("timestamp").Version(); got != 1 {
				t.Fatalf("main has timestamp version %d", got)
			}
			w.Sign()
			if got := w.Document("timestamp").Version(); got != before+1 {
				t.Errorf("timestamp version %d follows version %d", got, before)
			}
			if got := update(t, w, dirs); got != 2 {
				t.Errorf("clients see targets version %d", got)
			}
			if r := w.Sign(); len(r.Signed) > 0 {
				t.Errorf("a second run signed %q", signedText(r))
			}
		})
	}
}
