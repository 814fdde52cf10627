package gotuf_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
)

// client is one of a drawn repository, refreshed.
func client(t *testing.T, repo *clienttest.Repo, o gotuf.Options) (*gotuf.Client, error) {
	t.Helper()
	o.Root, o.Open = repo.Files["metadata/1.root.json"], func(name string) ([]byte, error) {
		data, ok := repo.Files[name]
		if !ok {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return data, nil
	}
	if o.Now.IsZero() {
		o.Now = clienttest.Now
	}
	c, err := gotuf.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, c.Refresh()
}

func drawn() *clienttest.Repo {
	repo := clienttest.New()
	repo.Delegate(metadata.Targets, "A", false, []string{"a/*"})
	repo.AddTarget("A", "a/tool", "the tool")
	repo.Publish("A", metadata.Targets)
	return repo
}

func TestClient(t *testing.T) {
	repo := drawn()
	c, err := client(t, repo, gotuf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := []int64{c.Version("root"), c.Version("timestamp"), c.Version("snapshot"), c.Version("targets"), c.Version("A")}; fmt.Sprint(got) != "[1 2 2 2 0]" {
		t.Errorf("versions %v", got)
	}
	info, err := c.Target("a/tool")
	if err != nil || info.Length != 8 || len(info.Hashes["sha256"]) != 64 || c.Version("A") != 1 {
		t.Errorf("%+v, %v, A v%d", info, err, c.Version("A"))
	}
	if data, err := c.Download(info); err != nil || string(data) != "the tool" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := c.Target("a/none"); !errors.Is(err, gotuf.ErrTargetNotFound) {
		t.Errorf("not found: %v", err)
	}
	repo.Files[clienttest.TargetFile("a/tool", info.Hashes["sha256"])] = []byte("the fool")
	if data, err := c.Download(info); err == nil {
		t.Errorf("it takes %q", data)
	}
	repo.Files[clienttest.TargetFile("a/tool", info.Hashes["sha256"])] = []byte("the tool and more")
	if _, err := c.Download(info); err == nil || !strings.Contains(err.Error(), "17 bytes, more than the 8") {
		t.Errorf("too long: %v", err)
	}
	if _, err := client(t, repo, gotuf.Options{Now: clienttest.Now.Add(2 * clienttest.Life)}); err == nil {
		t.Error("the time does not count")
	}
}

// TestDir: the folder is the memory, and artifacts are not kept in it.
func TestDir(t *testing.T) {
	repo, dir := drawn(), t.TempDir()
	c, err := client(t, repo, gotuf.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Target("a/tool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Download(info); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir + "/targets"); err != nil || len(left) > 0 {
		t.Errorf("it keeps %v, %v", left, err)
	}
	old := clienttest.New() // the timestamp goes back from 2 to 1
	maps.Copy(old.Files, map[string][]byte{"metadata/1.root.json": repo.Files["metadata/1.root.json"]})
	if _, err := client(t, old, gotuf.Options{Dir: dir}); err == nil {
		t.Error("it does not remember")
	}
	if _, err := client(t, old, gotuf.Options{}); err != nil {
		t.Errorf("it remembers without a folder: %v", err)
	}
}

// TestKeyType: a key of a type that go-tuf does not know fails the role that lists
// it, whoever else has signed, and no other.
func TestKeyType(t *testing.T) {
	with := func(role string) (*gotuf.Client, error) {
		repo, other := drawn(), clienttest.NewMLDSAKey("bob")
		if role == "A" {
			d := repo.Roles[metadata.Targets].Signed["delegations"].(metadata.Object)
			d["keys"].(metadata.Object)[other.ID] = other.Object
			one := d["roles"].([]any)[0].(metadata.Object)
			one["keyids"] = append(one["keyids"].([]any), other.ID)
			repo.Publish(metadata.Targets)
		} else {
			repo.SetKeys(role, 1, append(repo.Roles[role].Keys, other)...)
			repo.Publish(metadata.Root, metadata.Targets)
		}
		return client(t, repo, gotuf.Options{})
	}
	for _, role := range metadata.TopLevel {
		if _, err := with(role); !errors.Is(err, gotuf.ErrKeyType) {
			t.Errorf("%s: go-tuf says %v: if it has learnt ML-DSA, docs/divergences.md and the excuses for it have to go", role, err)
		}
	}
	c, err := with("A")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Target("a/tool"); !errors.Is(err, gotuf.ErrKeyType) {
		t.Errorf("a delegated role: %v", err)
	}
	repo := clienttest.New()
	repo.SetKeys(metadata.Root, 1, append(repo.Roles[metadata.Root].Keys, clienttest.NewMLDSAKey("bob"))...)
	repo.Publish(metadata.Root)
	if _, err := gotuf.New(gotuf.Options{Root: repo.Files["metadata/2.root.json"], Now: clienttest.Now}); !errors.Is(err, gotuf.ErrKeyType) {
		t.Errorf("as the trust anchor: %v", err)
	}
}

// TestPanic: go-tuf panics on a targets file that nobody needs to have signed.
func TestPanic(t *testing.T) {
	repo := drawn()
	repo.Files["metadata/2.targets.json"] = []byte(`{"signatures": [], "signed": {"_type": "targets", "targets": {"a": null}}}`)
	_, err := client(t, repo, gotuf.Options{})
	if !errors.As(err, new(*gotuf.PanicError)) {
		t.Errorf("go-tuf has mended this (%v): say so in the notes", err)
	}
}
