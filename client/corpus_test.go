package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
)

// corpusTime is a moment at which the corpus's main was live.
var corpusTime = time.Date(2026, 8, 22, 0, 0, 0, 0, time.UTC)

// published lays the corpus's main out as it is published: the "Published tree"
// of the repository format.
func published(t testing.TB) map[string][]byte {
	t.Helper()
	dir := gittest.Corpus(t)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	files := map[string][]byte{"metadata/timestamp.json": read("metadata/timestamp.json")}
	history, err := filepath.Glob(filepath.Join(dir, "metadata", "root_history", "*.root.json"))
	if err != nil || len(history) == 0 {
		t.Fatalf("no roots in the corpus: %v", err)
	}
	for _, file := range history {
		files["metadata/"+filepath.Base(file)] = read("metadata/root_history/" + filepath.Base(file))
	}
	parse := func(role string) *metadata.Document {
		doc, err := metadata.Parse(read("metadata/" + role + ".json"))
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		files[fmt.Sprintf("metadata/%d.%s.json", doc.Version(), role)] = doc.Raw()
		return doc
	}
	parse(snapshot)
	var add func(role, below string)
	add = func(role, below string) {
		doc := parse(role)
		for path, target := range doc.Targets() {
			for _, hash := range target.Hashes {
				files[clienttest.TargetFile(path, hash)] = read("targets/" + path)
			}
		}
		if all := doc.Delegations(); all != nil {
			for _, d := range all.Roles {
				add(d.Role, d.Role+"/")
			}
		}
	}
	add(targets, "")
	return files
}

// The tree above is the one that tuf-on-ci builds.
func TestCorpusTree(t *testing.T) {
	files := published(t)
	list, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "published.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	for _, line := range lines {
		want, name, _ := strings.Cut(line, "  ")
		sum := sha256.Sum256(files[name])
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if len(lines) != len(files) {
		t.Errorf("%d files, want %d", len(files), len(lines))
	}
}

// The real repository, from its first root to its last day.
func TestCorpus(t *testing.T) {
	files := published(t)
	repo := &clienttest.Repo{Files: files}
	u := newUser(t, repo)
	u.now = corpusTime
	r, err := u.refresh()
	if err != nil {
		t.Fatal(err)
	}
	if got := r.String(); !strings.HasPrefix(got, "root 1 -> 14, timestamp v703, snapshot v25, targets v28") || len(r.Roots) != 14 {
		t.Errorf("got %s", got)
	}
	u.repo.Requests()
	dir := t.TempDir()
	d, err := u.client().Download(t.Context(), "trusted_root.json", dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(gittest.Corpus(t), "targets", "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.ReadFile(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("trusted_root.json is not the repository's (%v)", err)
	}
	hash := d.Hashes["sha256"]
	u.wantRequests("15.root.json timestamp.json " + hash + ".trusted_root.json")

	// Every artifact of every role.
	for name, data := range files {
		path, ok := strings.CutPrefix(name, "targets/")
		if !ok {
			continue
		}
		sub, base := filepath.Split(path)
		_, got, err := u.client().Read(t.Context(), sub+base[65:])
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", path, err)
		}
	}

	// A day later than the timestamp lives it is frozen.
	u.now = r.Timestamp.Expires
	if e := bad[*client.ExpiredError](u); e.Role != timestamp || e.Version != 703 {
		t.Errorf("got %v", e)
	}
}

// One byte of any file is enough to be refused, first and last byte included,
// except white space between the JSON of metadata that no hash protects.
func TestCorpusOneByte(t *testing.T) {
	files := published(t)
	root := files["metadata/1.root.json"]
	names := slices.Sorted(maps.Keys(files))
	if testing.Short() {
		names = []string{"metadata/14.root.json", "metadata/timestamp.json"}
	}
	for _, name := range names {
		if name == "metadata/1.root.json" {
			continue // the trust anchor: nobody asks for it
		}
		path := "trusted_root.json"
		if rest, ok := strings.CutPrefix(name, "targets/"); ok {
			sub, base := filepath.Split(rest)
			path = sub + base[65:]
		}
		if strings.Contains(name, "npmjs") {
			path = "registry.npmjs.org/keys.json"
		}
		data := files[name]
		places := []int{0, len(data) / 3, len(data) / 2, len(data) - 1}
		for _, at := range places {
			for isMetadata(name) && strings.IndexByte(" \n\t\r", data[at]) >= 0 {
				at++
			}
			changed := maps.Clone(files)
			changed[name] = bytes.Clone(data)
			changed[name][at] ^= 1
			_, err := verdict(changed, root, corpusTime, path)
			if err == nil && !onlyInSpareSignature(data, changed[name]) {
				t.Errorf("%s with byte %d changed was accepted", name, at)
			}
		}
		if _, err := verdict(files, root, corpusTime, path); err != nil {
			t.Fatalf("%s, unchanged: %v", path, err)
		}
	}
}

func isMetadata(name string) bool { return strings.HasPrefix(name, "metadata/") }

// onlyInSpareSignature reports whether two files differ in one signature that is
// not needed: real files have more than the threshold, and some by keys that
// are not listed.
func onlyInSpareSignature(a, b []byte) bool {
	da, errA := metadata.Parse(a)
	db, errB := metadata.Parse(b)
	return errA == nil && errB == nil && bytes.Equal(da.Payload(), db.Payload())
}

// The changed trusted_root.json that the demo shows: one byte, one sentence.
func TestCorpusChangedTrustedRoot(t *testing.T) {
	repo := &clienttest.Repo{Files: published(t)}
	for name, data := range repo.Files {
		if strings.HasSuffix(name, ".trusted_root.json") {
			repo.Files[name] = append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1)
		}
	}
	u := newUser(t, repo)
	u.now = corpusTime
	dir := t.TempDir()
	_, err := u.client().Download(t.Context(), "trusted_root.json", dir)
	if e := refused[*client.HashError](t, "download", err); e.Name != "trusted_root.json" || e.Algorithm != "sha256" {
		t.Errorf("got %v", e)
	}
	wantFiles(t, dir)
}

// From the root that programs embed for staging to a trusted root that verifies
// bundles.
func TestCorpusFromEmbeddedRoot(t *testing.T) {
	repo := &clienttest.Repo{Files: published(t)}
	u := newUser(t, repo)
	known, ok := sigstore.Lookup(sigstore.Staging)
	if !ok {
		t.Fatal("staging is not known")
	}
	u.root, u.now = known.Root, corpusTime
	r, err := u.refresh()
	if err != nil {
		t.Fatal(err)
	}
	if r.Root().Version != 14 || r.Roots[0].Version < 13 || !r.Roots[0].Cached {
		t.Errorf("got %+v", r.Roots)
	}
	_, data, err := u.client().Read(t.Context(), "trusted_root.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sigstore.New(data); err != nil {
		t.Error(err)
	}
}
