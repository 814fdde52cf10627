package signingevent

import (
	"slices"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// People compare what an artifact becomes. What stays as it was is left out.
func TestArtifactFacts(t *testing.T) {
	file := func(length int64, custom string) *metadata.TargetFile {
		f := &metadata.TargetFile{Length: length, Hashes: map[string]string{"sha512": "cd", "sha256": "ab"}, Object: metadata.Object{}}
		if custom != "" {
			f.Object["custom"] = metadata.Object{"note": custom}
		}
		return f
	}
	for _, test := range []struct {
		name          string
		before, after *metadata.TargetFile
		want          []string
	}{
		{"added", nil, file(1, ""), []string{"1 byte", "sha256 ab", "sha512 cd"}},
		{"added with custom metadata", nil, file(2, "x"), []string{"2 bytes", "sha256 ab", "sha512 cd", `custom {"note":"x"}`}},
		{"other length", file(3, ""), file(2, ""), []string{"2 bytes, were 3", "sha256 ab", "sha512 cd"}},
		{"same custom metadata", file(2, "x"), file(2, "x"), []string{"2 bytes", "sha256 ab", "sha512 cd"}},
		{"other custom metadata", file(2, "x"), file(2, "y"), []string{"2 bytes", "sha256 ab", "sha512 cd", `custom {"note":"y"}`}},
		{"removed", file(2, "x"), nil, nil},
	} {
		if got := artifactFacts(repository.ArtifactChange{Before: test.before, After: test.after}); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
