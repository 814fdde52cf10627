package repository_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

func delegate(s object, by ...object) {
	d, ok := s["delegations"].(object)
	if !ok {
		d = object{"keys": object{}, "roles": []any{}}
		s["delegations"] = d
	}
	for _, o := range by {
		d["roles"] = append(d["roles"].([]any), o)
	}
}

// A role that is delegated by hash has its artifacts wherever their names hash
// to: update-targets must not take them all for gone.
func TestSyncTargetsByHash(t *testing.T) {
	w := New(t)
	sum := sha256.Sum256([]byte("bins/file"))
	prefix := hex.EncodeToString(sum[:])[:2]
	w.Edit("targets", func(s object) {
		delegate(s, object{"name": "bin", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "path_hash_prefixes": []any{prefix}})
	}).Sign("targets", "alice", "bob")
	w.WriteFile("metadata/bin.json", w.ReadFile("metadata/releases.json"))
	w.Artifact("bins/file", "x").Artifact("bins/.hidden", "x")
	w.Edit("bin", func(s object) { s["version"], s["targets"] = int64(1), object{}; List(s, "bins/file", "x") }).Sign("bin", "carol")
	e := editing(t, w)
	if changed, err := e.SyncTargets(context.Background(), "bin"); changed || err != nil {
		t.Errorf("%v, %v: %s", changed, err, files(t, e)["metadata/bin.json"])
	}
	w.Artifact("bins/file", "y")
	e = editing(t, w)
	changed, err := e.SyncTargets(context.Background(), "bin")
	must(t, err)
	equal(t, "changed", changed, true)
	equal(t, "artifacts", len(document(t, e, "bin").Targets()), 1)
}

// The people of one role delegate to another, which main's targets delegates to
// as well, with a key of their own: what is there does not meet that, and after
// the merge no snapshot could be made.
func TestSecondDelegator(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s object) {
		delegate(s, object{"name": "other", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"other/*"}})
	}).Sign("targets", "alice", "bob")
	w.WriteFile("metadata/other.json", w.ReadFile("metadata/releases.json"))
	w.Edit("other", func(s object) { s["version"], s["targets"] = int64(1), object{} }).Sign("other", "carol")
	w.Commit("main")
	w.Run("branch", "-f", "main", "HEAD")
	w.Edit("other", func(s object) {
		delegate(s, object{"name": "releases", "keyids": []any{}, "threshold": int64(1), "terminating": true, "paths": []any{"other/*"}})
		AddKey(s, "releases", "mallory")
	}).Sign("other", "carol")
	s := w.Status(repository.Policy{})
	if s.Complete {
		t.Errorf("complete: %v", found(s))
	}
	hit := false
	for _, f := range s.AllFindings() {
		hit = hit || f.Role == "releases" && f.Rule == "delegation-unsatisfied"
	}
	if !hit {
		t.Errorf("findings %v", found(s))
	}
}

// Root may name roles that we do not know, of any shape.
func TestUnknownRootRole(t *testing.T) {
	for _, shape := range []any{nil, "x", object{}, object{"keyids": "x"}, object{"keyids": []any{nil}}} {
		w := New(t)
		w.Edit("root", func(s object) { s["roles"].(object)["mirrors"] = shape; SetKeys(s, "targets", "alice", "carol") }).Sign("root", "alice", "bob")
		e := editing(t, w)
		must(t, e.SetRole("root", repository.RoleConfig{Signers: []string{"@alice"}}))
		equal(t, "signers", len(keyids(document(t, e, "root"), "root")), 1)
	}
}

// A name with a wildcard gets path patterns that cover other roles' artifacts.
func TestWildcardRole(t *testing.T) {
	for _, name := range []string{"*", "release?", "[rs]eleases"} {
		if repository.UnsafeRoleName(name) == "" {
			t.Errorf("%q passes", name)
		}
	}
}

// .github, and metadata, targets and keys themselves, as links.
func TestLinkedFolders(t *testing.T) {
	for name, want := range map[string]string{".github": "- foreign-change error", "keys": "- not-a-regular-file error"} {
		w := New(t)
		w.Edit("targets", nil).Sign("targets", "alice", "bob")
		if err := os.Symlink("elsewhere", filepath.Join(w.Dir, name)); err != nil {
			t.Fatal(err)
		}
		s := w.Status(repository.Policy{})
		if got := found(s); len(got) == 0 || got[0] != want || s.Complete {
			t.Errorf("%s: %v, complete %v", name, got, s.Complete)
		}
	}
}

// A role that was removed comes back: clients remember its last version, which
// the snapshot lists.
func TestRoleComesBack(t *testing.T) {
	w := New(t)
	w.Edit("snapshot", func(s object) { s["meta"].(object)["docs.json"] = object{"version": int64(5)} }).Sign("snapshot", "online")
	w.Commit("main")
	w.Run("branch", "-f", "main", "HEAD")
	e := editing(t, w)
	must(t, e.SetRole("docs", repository.RoleConfig{Signers: []string{"@carol"}, OwnKey: Key("carol")}))
	equal(t, "version", document(t, e, "docs").Version(), 6)

	w.Edit("targets", func(s object) {
		delegate(s, object{"name": "docs", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"}})
	}).Sign("targets", "alice", "bob")
	w.WriteFile("metadata/docs.json", w.ReadFile("metadata/releases.json"))
	w.Edit("docs", func(s object) { s["version"], s["targets"] = int64(5), object{} }).Sign("docs", "carol")
	if s := w.Status(repository.Policy{}); s.Complete {
		t.Errorf("complete at a version that the snapshot lists: %v", found(s))
	}
	w.Edit("docs", func(s object) { s["version"] = int64(6) }).Sign("docs", "carol")
	if s := w.Status(repository.Policy{}); !s.Complete {
		t.Errorf("not complete: %v", found(s))
	}
}
