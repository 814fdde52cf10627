package repository_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// editing commits the work tree and begins an edit of it, with main as the
// known-good state.
func editing(t *testing.T, w *World) *repository.Edit {
	t.Helper()
	w.Commit("event")
	r := w.Open()
	at := func(rev string) *repository.State {
		oid, err := r.Git.Resolve(context.Background(), rev)
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.At(context.Background(), oid)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e, err := at("HEAD").Edit(context.Background(), at("main"), w.Now.Add(90*time.Minute+time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// files are the changes of an edit by path; "-" stands for a removed file.
func files(t *testing.T, e *repository.Edit) map[string]string {
	t.Helper()
	changes, err := e.Changes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, c := range changes {
		list[c.Path] = string(c.Data)
		if c.Delete {
			list[c.Path] = "-"
		}
	}
	return list
}

func names(files map[string]string) string {
	var list []string
	for name := range files {
		list = append(list, strings.TrimPrefix(name, "metadata/"))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func document(t *testing.T, e *repository.Edit, role string) *metadata.Document {
	t.Helper()
	doc, err := e.Document(role)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func placeholders(doc *metadata.Document) []string {
	var ids []string
	for _, s := range doc.Signatures() {
		if s.Sig != "" {
			ids = append(ids, "signed:"+s.KeyID)
		} else {
			ids = append(ids, s.KeyID)
		}
	}
	return ids
}

func ids(names ...string) []string {
	var list []string
	for _, n := range names {
		list = append(list, Key(n).ID)
	}
	return list
}

func keyids(doc *metadata.Document, role string) []string {
	d, _ := doc.Delegation(role)
	return d.KeyIDs
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestInit(t *testing.T) {
	w := New(t)
	w.Remove("metadata")
	w.Run("switch", "-q", "main")
	w.Commit("empty")
	w.Run("switch", "-q", "-C", Event)
	e := editing(t, w)
	must(t, e.Init(
		repository.RoleConfig{Signers: []string{"@alice", "@bob"}, OwnKey: Key("alice"), Threshold: 2, ExpiryPeriod: 182, SigningPeriod: 35},
		repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: Key("alice"), Threshold: 1, ExpiryPeriod: 90, SigningPeriod: 30},
		repository.OnlineConfig{Key: Key("online"), TimestampExpiry: 7, TimestampSigning: 6}))
	f := files(t, e)
	equal(t, "files", names(f), ".signing-event-state root.json root_history/1.root.json targets.json")
	equal(t, "root copy", f["metadata/root_history/1.root.json"], f["metadata/root.json"])
	equal(t, "invitations", f[repository.StateFile], "{\n  \"invites\": {\n    \"@bob\": [\n      \"root\"\n    ]\n  }\n}")
	equal(t, "targets", f["metadata/targets.json"], `{
 "signatures": [
  {
   "keyid": "`+Key("alice").ID+`",
   "sig": ""
  }
 ],
 "signed": {
  "_type": "targets",
  "expires": "2030-04-01T01:30:00Z",
  "spec_version": "1.0.31",
  "targets": {},
  "version": 1,
  "x-tuf-on-ci-expiry-period": 90,
  "x-tuf-on-ci-signing-period": 30
 }
}`)
	root := document(t, e, "root")
	equal(t, "version", root.Version(), 1)
	equal(t, "consistent_snapshot", root.ConsistentSnapshot(), true)
	equal(t, "spec_version", root.SpecVersion(), "1.0.31")
	same(t, "root placeholders", placeholders(root), ids("alice"))
	for role, want := range map[string]metadata.Period{"timestamp": {Expiry: 7, Signing: 6, Explicit: true}, "snapshot": {Expiry: 182, Signing: 35, Explicit: true}} {
		d, _ := root.Delegation(role)
		same(t, role+" keys", d.KeyIDs, ids("online"))
		equal(t, role+" threshold", d.Threshold, 1)
		equal(t, role+" periods", metadata.PeriodOf(d.Object), want)
	}
	if err := editing(t, New(t)).Init(repository.RoleConfig{}, repository.RoleConfig{}, repository.OnlineConfig{Key: Key("online")}); err == nil {
		t.Error("a second first root")
	}
}

// A person's edit sets the known-good version plus one however often; the bot's
// the current one.
func TestVersions(t *testing.T) {
	w := New(t)
	w.Edit("targets", nil).Edit("targets", nil)
	e := editing(t, w)
	must(t, e.SetRole("targets", repository.RoleConfig{ExpiryPeriod: 100}))
	must(t, e.SetRole("targets", repository.RoleConfig{ExpiryPeriod: 200}))
	equal(t, "person", document(t, e, "targets").Version(), 2)
	equal(t, "expires", document(t, e, "targets").Expires(), Start.Add(90*time.Minute).AddDate(0, 0, 200))
	equal(t, "files", names(files(t, e)), "targets.json")
	e = editing(t, w)
	must(t, e.Bump("targets"))
	equal(t, "bot", document(t, e, "targets").Version(), 4)
	must(t, e.Bump("root"))
	equal(t, "files", names(files(t, e)), "root.json root_history/2.root.json targets.json")
}

func TestSetRole(t *testing.T) {
	t.Run("nothing changes", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("root", repository.RoleConfig{Signers: []string{"@bob", "@alice"}, Threshold: 2, ExpiryPeriod: 365, SigningPeriod: 60}))
		must(t, e.SetRole("releases", repository.RoleConfig{}))
		must(t, e.SetRole("targets", repository.RoleConfig{Signers: []string{"@alice", "@bob", "@carol"}}))
		equal(t, "files", names(files(t, e)), "")
	})
	t.Run("a period changes only the role's own file", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("releases", repository.RoleConfig{SigningPeriod: 50}))
		equal(t, "files", names(files(t, e)), "releases.json")
		same(t, "placeholders", placeholders(document(t, e, "releases")), ids("carol"))
	})
	t.Run("a threshold changes only the delegator", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("targets", repository.RoleConfig{Threshold: 3}))
		equal(t, "files", names(files(t, e)), "root.json root_history/2.root.json")
	})
	t.Run("an invitation changes no metadata", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("targets", repository.RoleConfig{Signers: []string{"@alice", "@bob", "@carol", "@dave"}}))
		equal(t, "files", names(files(t, e)), ".signing-event-state")
		must(t, e.SetRole("targets", repository.RoleConfig{Signers: []string{"@alice", "@bob", "@carol"}}))
		equal(t, "files", names(files(t, e)), "")
	})
	t.Run("root signer replaced", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("root", repository.RoleConfig{Signers: []string{"@dave", "@alice"}, OwnKey: Key("dave")}))
		root := document(t, e, "root")
		same(t, "keyids: the new one at the end", keyids(root, "root"), ids("alice", "dave"))
		same(t, "placeholders: old ones first", placeholders(root), ids("alice", "bob", "dave"))
		if root.Delegations().Keys[Key("bob").ID] == nil {
			t.Error("bob's key is gone, though targets still lists it")
		}
		must(t, e.SetRole("targets", repository.RoleConfig{Signers: []string{"@alice", "@carol"}}))
		if document(t, e, "root").Delegations().Keys[Key("bob").ID] != nil {
			t.Error("bob's key is still there, though no role lists it")
		}
		if _, ok := files(t, e)["metadata/targets.json"]; ok {
			t.Error("targets.json was edited, though only its delegation changed")
		}
	})
	t.Run("one signer has threshold one", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("targets", repository.RoleConfig{Signers: []string{"@alice"}}))
		d, _ := document(t, e, "root").Delegation("targets")
		equal(t, "threshold", d.Threshold, 1)
	})
	t.Run("more signatures than signers", func(t *testing.T) {
		if err := editing(t, New(t)).SetRole("targets", repository.RoleConfig{Threshold: 4}); err == nil {
			t.Error("4 of 3")
		}
	})
	t.Run("new delegated role", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("alpha", repository.RoleConfig{Signers: []string{"@dave"}, OwnKey: Key("dave"), ExpiryPeriod: 30, SigningPeriod: 10}))
		equal(t, "files", names(files(t, e)), "alpha.json targets.json")
		targets := document(t, e, "targets")
		var order []string
		for _, d := range targets.Delegations().Roles {
			order = append(order, d.Role)
		}
		same(t, "roles: the new one at the end", order, []string{"releases", "alpha"})
		d, _ := targets.Delegation("alpha")
		equal(t, "terminating", d.Terminating, true)
		same(t, "paths", d.Paths, []string{"alpha/*", "alpha/*/*", "alpha/*/*/*", "alpha/*/*/*/*"})
		alpha := document(t, e, "alpha")
		equal(t, "version", alpha.Version(), 1)
		same(t, "placeholders", placeholders(alpha), ids("dave"))
		if alpha.Delegations() != nil || len(alpha.Targets()) != 0 {
			t.Error("a new role has delegations or targets")
		}
	})
	t.Run("first delegated role makes the delegations", func(t *testing.T) {
		w := New(t)
		w.Edit("targets", func(s object) { delete(s, "delegations") }).Sign("targets", "alice", "bob").Remove("metadata/releases.json")
		e := editing(t, w)
		must(t, e.SetRole("alpha", repository.RoleConfig{Signers: []string{"@dave"}}))
		d, ok := document(t, e, "targets").Delegation("alpha")
		if !ok || len(d.KeyIDs) != 0 || d.Threshold != 1 {
			t.Errorf("%+v", d)
		}
		same(t, "invited", e.Invites().To("alpha"), []string{"@dave"})
	})
	t.Run("online role signer", func(t *testing.T) {
		e := editing(t, New(t))
		must(t, e.SetRole("releases", repository.RoleConfig{OnlineKey: Key("online-releases")}))
		d, _ := document(t, e, "targets").Delegation("releases")
		same(t, "keys", d.KeyIDs, ids("online-releases"))
		equal(t, "files", names(files(t, e)), "targets.json")
		if len(e.Invites()) != 0 {
			t.Error("an online key was invited")
		}
	})
	t.Run("unsafe names", func(t *testing.T) {
		e := editing(t, New(t))
		for _, name := range []string{"../x", "a/b", ".x", "root ", "Snapshot", "3.root", "x.json", "a\x1bb", ""} {
			if err := e.SetRole(name, repository.RoleConfig{Signers: []string{"@dave"}}); err == nil {
				t.Errorf("role %q was made", name)
			}
		}
	})
}

func TestAccept(t *testing.T) {
	w := New(t)
	w.WriteFile(repository.StateFile, `{"invites": {"@erin": ["releases"], "@dave": ["targets", "root"]}}`)
	e := editing(t, w)
	before := w.ReadFile("metadata/releases.json")
	must(t, e.Accept("root", Key("dave")))
	equal(t, "state file", files(t, e)[repository.StateFile], "{\n  \"invites\": {\n    \"@erin\": [\n      \"releases\"\n    ],\n    \"@dave\": [\n      \"targets\"\n    ]\n  }\n}")
	must(t, e.Accept("targets", Key("dave")))
	must(t, e.Accept("releases", Key("erin")))
	equal(t, "state file", files(t, e)[repository.StateFile], "-")
	same(t, "root keys", keyids(document(t, e, "root"), "root"), ids("alice", "bob", "dave"))
	same(t, "targets keys", keyids(document(t, e, "root"), "targets"), ids("alice", "bob", "carol", "dave"))
	equal(t, "root version", document(t, e, "root").Version(), 2)
	if f := files(t, e); f["metadata/releases.json"] != "" || w.ReadFile("metadata/releases.json") != before {
		t.Error("the role that was joined was edited")
	}
	for _, err := range []error{
		e.Accept("root", Key("dave")),
		editing(t, w).Accept("releases", Key("dave")),
		editing(t, w).Accept("nowhere", Key("dave")),
	} {
		if err == nil {
			t.Error("accepted without an invitation")
		}
	}
	same2 := metadata.Clone(Key("alice").Object)
	same2[metadata.FieldKeyOwner] = "@dave"
	id, _ := metadata.KeyID(same2)
	k, err := metadata.DecodeKey(id, same2)
	must(t, err)
	if err := editing(t, w).Accept("root", k); err == nil || !strings.Contains(err.Error(), "@alice") {
		t.Errorf("alice's key as dave's: %v", err)
	}
}

func TestAddSignature(t *testing.T) {
	w := New(t)
	w.Edit("root", nil).Sign("root", "eve")
	e := editing(t, w)
	doc := document(t, e, "root")
	good, err := metadata.LocalSigner(Private("alice")).Sign(context.Background(), doc.Payload())
	must(t, err)
	if err := e.AddSignature("root", Key("bob"), good); err == nil {
		t.Error("alice's signature was taken for bob's")
	}
	equal(t, "files", names(files(t, e)), "")
	must(t, e.AddSignature("root", Key("alice"), good))
	f := files(t, e)
	equal(t, "files", names(f), "root.json root_history/2.root.json")
	same(t, "signatures", placeholders(document(t, e, "root")), []string{"signed:" + Key("eve").ID, "signed:" + Key("alice").ID})
	equal(t, "lines that differ", difference(f["metadata/root.json"], w.ReadFile("metadata/root.json")), 4)
}

// difference counts lines of a that b lacks.
func difference(a, b string) int {
	n := 0
	have := strings.Split(b, "\n")
	for _, line := range strings.Split(a, "\n") {
		if !slices.Contains(have, line) && !slices.Contains(have, strings.TrimSuffix(line, ",")) {
			n++
		}
	}
	return n + 2 // the braces of the new entry are not new lines
}

func TestSetOnline(t *testing.T) {
	e := editing(t, New(t))
	must(t, e.SetOnline(repository.OnlineConfig{Key: Key("online"), TimestampExpiry: 2, TimestampSigning: 1, SnapshotExpiry: 365, SnapshotSigning: 60}))
	equal(t, "files of no change", names(files(t, e)), "")
	must(t, e.SetOnline(repository.OnlineConfig{TimestampExpiry: 7}))
	equal(t, "files", names(files(t, e)), "root.json root_history/2.root.json")
	root := document(t, e, "root")
	d, _ := root.Delegation("timestamp")
	equal(t, "periods", metadata.PeriodOf(d.Object), metadata.Period{Expiry: 7, Signing: 1, Explicit: true})
	same(t, "keys stay", d.KeyIDs, ids("online"))
	must(t, e.SetOnline(repository.OnlineConfig{Key: Key("online2")}))
	root = document(t, e, "root")
	same(t, "snapshot keys", keyids(root, "snapshot"), ids("online2"))
	if root.Delegations().Keys[Key("online").ID] != nil {
		t.Error("the old online key stayed")
	}
	same(t, "placeholders", placeholders(root), ids("alice", "bob"))
}

func TestSyncTargets(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s object) {
		a := s["targets"].(object)["a.txt"].(object)
		a["custom"], a["x"] = object{"sigstore": object{"usage": "CTFE"}}, json.Number("7")
		a["hashes"].(object)["sha512"] = "unchanged artifacts lose other hashes only when the role changes"
	}).Sign("targets", "alice", "bob")
	w.Artifact(".hidden", "x").Artifact("deep/er/file", "no role covers it")
	e := editing(t, w)
	if changed, err := e.SyncTargets(context.Background(), "releases"); changed || err != nil {
		t.Errorf("releases: %v, %v", changed, err)
	}
	w.Artifact("b.txt", "b").Artifact("releases/a/b/c/file", "deepest").Artifact("releases/a/b/c/d/file", "too deep").Artifact("releases/.x/file", "hidden")
	e = editing(t, w)
	for _, role := range []string{"targets", "releases"} {
		changed, err := e.SyncTargets(context.Background(), role)
		must(t, err)
		equal(t, role, changed, true)
	}
	var listed []string
	for _, role := range []string{"targets", "releases"} {
		for target := range document(t, e, role).Targets() {
			listed = append(listed, target)
		}
	}
	slices.Sort(listed)
	same(t, "artifacts", listed, []string{"a.txt", "b.txt", "releases/a/b/c/file", "releases/v1/tool"})
	a := string(metadata.Write(document(t, e, "targets").Targets()["a.txt"].Object))
	equal(t, "a.txt", a, "{\n \"custom\": {\n  \"sigstore\": {\n   \"usage\": \"CTFE\"\n  }\n },\n \"hashes\": {\n  \"sha256\": \"87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7\"\n },\n \"length\": 2,\n \"x\": 7\n}")
	equal(t, "version", document(t, e, "targets").Version(), 3)
	w.Remove("targets/a.txt").Remove("targets/b.txt")
	e = editing(t, w)
	_, err := e.SyncTargets(context.Background(), "targets")
	must(t, err)
	if !strings.Contains(files(t, e)["metadata/targets.json"], `"targets": {},`) {
		t.Error("an empty map is not {}")
	}
}

func TestImport(t *testing.T) {
	w := New(t)
	strip := func(s object) {
		delete(s, metadata.FieldExpiryPeriod)
		delete(s, metadata.FieldSigningPeriod)
	}
	w.Run("switch", "-q", "main")
	w.Edit("root", func(s object) {
		strip(s)
		s["x-playground-expiry-period"] = int64(301)
		for _, role := range []string{"timestamp", "snapshot"} {
			strip(Roles(s, role))
		}
		for _, k := range Keys(s) {
			delete(k.(object), metadata.FieldKeyOwner)
		}
	}).Sign("root", "alice", "bob").Edit("targets", strip).Sign("targets", "alice", "bob").Edit("releases", strip).Sign("releases", "carol")
	w.Commit("not managed")
	w.Run("switch", "-q", "-C", Event)

	e := editing(t, w)
	missing, err := e.Import(nil)
	must(t, err)
	equal(t, "files while values are missing", names(files(t, e)), "")
	for role, want := range map[string]map[string]any{
		"root":     {metadata.FieldExpiryPeriod: int64(-1), metadata.FieldSigningPeriod: int64(-1), Key("alice").ID: repository.UndefinedHolder, Key("bob").ID: repository.UndefinedHolder, Key("carol").ID: repository.UndefinedHolder},
		"targets":  {metadata.FieldExpiryPeriod: int64(-1), metadata.FieldSigningPeriod: int64(-1)},
		"releases": {metadata.FieldExpiryPeriod: int64(-1), metadata.FieldSigningPeriod: int64(-1)},
	} {
		got, _ := json.Marshal(missing[role])
		wanted, _ := json.Marshal(want)
		equal(t, role+" asks for", string(got), string(wanted))
	}
	text, err := json.Marshal(missing)
	must(t, err)
	filled := string(text)
	for _, n := range []string{"alice", "bob", "carol"} {
		filled = strings.Replace(filled, `"`+Key(n).ID+`":"`+repository.UndefinedHolder+`"`, `"`+Key(n).ID+`":"@`+n+`"`, 1)
	}
	file, err := repository.ParseImportFile([]byte(strings.ReplaceAll(filled, "-1", "90")))
	must(t, err)
	file["targets"][metadata.FieldSigningPeriod], file["root"][metadata.FieldSigningPeriod], file["releases"][metadata.FieldSigningPeriod] = int64(30), int64(30), int64(30)
	missing, err = e.Import(file)
	must(t, err)
	if missing != nil {
		t.Fatalf("still missing: %v", missing)
	}
	equal(t, "files", names(files(t, e)), "releases.json root.json root_history/3.root.json targets.json")
	root := document(t, e, "root")
	same(t, "root keys in their old places, with new ids", keyids(root, "root"), ids("alice", "bob"))
	equal(t, "version", root.Version(), 3)
	d, _ := root.Delegation("timestamp")
	equal(t, "timestamp periods", metadata.PeriodOf(d.Object), metadata.Period{Expiry: 90, Signing: 30, Explicit: true})
	if _, there := root.Signed()["x-playground-expiry-period"]; there {
		t.Error("the old field stayed")
	}
	for id, k := range root.Delegations().Keys {
		if _, ok := k.CheckID(); !ok {
			t.Errorf("keyid %s is no hash", id)
		}
	}
	if _, err := editing(t, w).Import(repository.ImportFile{"nowhere": {}}); err == nil {
		t.Error("values for a role that is not there")
	}
	if _, err := repository.ParseImportFile([]byte(`{"root": {"x": 1, "x": 2}}`)); err == nil {
		t.Error("a name twice")
	}
}

// Modes stay as they were; a new file is 100644.
func TestModes(t *testing.T) {
	w := New(t)
	w.Run("update-index", "--chmod=+x", "metadata/targets.json")
	w.Run("commit", "-qm", "mode")
	w.Run("checkout", "-q", "--", ".")
	w.Artifact("b.txt", "b")
	e := editing(t, w)
	_, err := e.SyncTargets(context.Background(), "targets")
	must(t, err)
	changes, err := e.Changes(context.Background())
	must(t, err)
	r := w.Open()
	head, err := r.Git.Resolve(context.Background(), "HEAD")
	must(t, err)
	commit, err := r.Git.WriteCommit(context.Background(), git.CommitOptions{Parent: head, Changes: changes, Message: "x"})
	must(t, err)
	entry, _, err := r.Git.Lookup(context.Background(), commit, "metadata/targets.json")
	must(t, err)
	equal(t, "mode", entry.Mode, git.ModeExecutable)
}

func TestInvites(t *testing.T) {
	const good = "{\n  \"invites\": {\n    \"@zoe\": [\n      \"root\",\n      \"targets\"\n    ],\n    \"@adam\": [\n      \"root\"\n    ]\n  }\n}"
	inv, err := repository.ParseInvites([]byte(good))
	must(t, err)
	equal(t, "written again", string(inv.Bytes()), good)
	same(t, "to root", inv.To("root"), []string{"@adam", "@zoe"})
	for _, bad := range []string{
		``, `[]`, `{}`, `{"invites": null}`, `{"invites": {"zoe": ["root"]}}`, `{"invites": {"@Zoe": ["root"]}}`, `{"invites": {"@zoe": []}}`,
		`{"invites": {"@zoe": ["root", "root"]}}`, `{"invites": {"@zoe": [1]}}`, `{"invites": {}, "x": 1}`, `{"invites": {"@z": ["root"], "@z": ["targets"]}}`,
	} {
		if inv, err := repository.ParseInvites([]byte(bad)); err == nil {
			t.Errorf("%s was read as %v", bad, inv)
		}
	}
	empty, err := repository.ParseInvites([]byte(`{"invites":{}}`))
	if err != nil || empty.Bytes() != nil {
		t.Errorf("an empty file of an older tuf-on-ci: %v, %v", empty, err)
	}
}

func TestPolicyFile(t *testing.T) {
	for _, test := range []struct {
		file, want string // want: part of the error, or the folders
	}{
		{"", ""},
		{"repositories: [., v2]\nlegacy-keyids: allowed\n", ",v2"},
		{"legacy-keyids: maybe\n", "legacy-keyids"},
		{"repositries: [v2]\n", "repositries"},
		{"repositories: [v2]\n", "--tuf-dir"},
		{"repositories: [., ./]\n", "twice"},
		{"repositories: [., ../x]\n", "../x"},
		{"repositories: {", "line 1"},
		{"legacy-keyids: refused\n---\nlegacy-keyids: allowed\n", "more than one document"},
	} {
		w := New(t)
		w.WriteFile(repository.PolicyFile, test.file)
		w.Commit("policy")
		r := w.Open()
		head, err := r.Git.Resolve(context.Background(), "HEAD")
		must(t, err)
		p, err := r.Policy(context.Background(), head)
		if err != nil {
			if !strings.Contains(err.Error(), test.want) && !strings.Contains(err.(*repository.PolicyError).Hint(), test.want) || test.want == "" {
				t.Errorf("%q: %v", test.file, err)
			}
			continue
		}
		equal(t, test.file, strings.Join(p.Repositories, ","), test.want)
		equal(t, test.file, p.AllowLegacyKeyIDs, strings.Contains(test.file, "allowed"))
	}
}
