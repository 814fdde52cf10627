package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/schema/schematest"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// TestSchemas: what each command prints is what schema/ says, in all its fields
// and in no other.
func TestSchemas(t *testing.T) {
	for name, test := range map[string]struct {
		optional []string
		print    func(t *testing.T, check func(stdout string))
	}{
		"signing-event": {[]string{"role", "file", "known_good", "lowered", "reason", "silenced", "overridden", "deadline", "status", "pull", "profile",
			"attestations", "note", "device", "form_factor"}, signingEventDocuments},
		"status": {[]string{"deadline", "profile", "role", "file", "known_good", "lowered", "reason", "silenced", "overridden", "rehearsal", "client", "trouble",
			"attestations", "note", "device", "form_factor"}, statusDocuments},
		"rules":                 {nil, rulesDocuments},
		"update-targets":        {nil, updateTargetsDocuments},
		"create-signing-events": {nil, createEventsDocuments},
		"online-sign":           {[]string{"file", "role", "lowered", "reason"}, onlineSignDocuments},
		"online-sign-targets":   {nil, onlineSignTargetsDocuments},
		"keys-check":            {nil, keysCheckDocuments},
		"publish":               {[]string{"error", "stage", "read_back", "prune"}, publishDocuments},
		"published-status": {[]string{"attested", "next_signing", "issued", "commit", "delegator", "paths", "path_hash_prefixes", "terminating", "signer", "field", "from", "to", "role", "file",
			"sigstore", "id", "url", "subject", "operator", "api_version", "start", "end", "key", "log_id", "certificates", "problem", "count"}, publishedStatusDocuments},
		"trust-show":     {[]string{"id", "url", "subject", "operator", "api_version", "start", "end", "key", "log_id", "certificates", "problem", "count"}, trustShowDocuments},
		"trust-validate": {[]string{"path", "line", "profile"}, trustValidateDocuments},
		"trust-diff":     {[]string{"problem"}, trustDiffDocuments},
		"trust-edit":     {[]string{"path", "line", "message", "diff", "problem"}, trustEditDocuments},
	} {
		t.Run(name, func(t *testing.T) {
			s := schematest.New(t, name, test.optional...)
			test.print(t, func(stdout string) { t.Helper(); s.Check(t, stdout) })
			switch name {
			case "online-sign": // which knows no policy
				s.Done(t, "lowered")
			case "keys-check": // a file tells neither
				s.Done(t, "version", "protection")
			case "published-status": // nor does build
				s.Done(t, "lowered", "reason")
			case "trust-edit": // which begins with what can be read, and leaves it so
				s.Done(t, "problem")
			case "signing-event": // of the verdict in it the test of status sees all
				s.Done(t, "invites", "known_good", "lowered", "reason", "signed", "silenced", "overridden", "author", "profile", "demands", "met", "name", "text",
					"rehearsal", "steps", "what", "client", "when", "at", "outcome", "unproven", "trouble",
					"attestations", "keyid", "owner", "holds", "note", "device", "serial", "firmware", "form_factor", "slot", "pin_policy", "touch_policy")
			default:
				s.Done(t)
			}
		})
	}
}

func statusDocuments(t *testing.T, check func(string)) {
	w := repositorytest.New(t)
	w.OnMain(func() {
		w.WriteFile(repository.PolicyFile, `
profile: sigstore-public-good
rules:
  threshold-of-one: {level: off, reason: one maintainer}
  expiry-too-far: {level: warning, reason: yearly signing}
`)
	})
	w.Artifact("b.txt", "b")
	w.Edit("root", func(s metadata.Object) { repositorytest.AddKey(s, "targets", "erin") }).Sign("root", "alice")
	w.Edit("targets", func(s metadata.Object) {
		repositorytest.AddKey(s, "releases", "dave")
		repositorytest.List(s, "b.txt", "b")
		s["expires"] = "2032-01-01T00:00:00Z"
	}).Sign("targets", "alice")
	w.WriteFile(repository.StateFile, `{"invites": {"@frank": ["releases"]}}`)
	w.WriteFile("README", "x")
	w.Commit("event\n\n" + repository.OverrideTrailer("foreign-change", "the text was read"))
	_, stdout, _ := program(t, "-C", w.Dir, "status", "--base", "main", "--format", "json")
	check(stdout)
	_, stdout, _ = program(t, "-C", w.Dir, "status", "--base", "main", "--head", "main", "--format", "json")
	check(stdout)
	w = repositorytest.New(t)
	w.Edit("root", nil).Sign("root", "alice")
	w.Edit("targets", func(s metadata.Object) { repositorytest.Roles(s, "releases")["paths"] = []any{"releases/[!x]*/*"} }).Sign("targets", "alice", "bob")
	w.Commit("event")
	_, stdout, _ = program(t, "-C", w.Dir, "status", "--base", "main", "--rehearse", "--format", "json")
	check(stdout)
	s := w.Status(repository.Policy{})
	s.AddRehearsal(&repository.Rehearsal{Steps: []repository.RehearsalStep{}, Unproven: []string{}, Trouble: "the disk is full"})
	s.Roles[0].Attestations = []repository.KeyAttestation{{KeyID: "k", Owner: "@alice", Holds: true, Text: "facts", Note: "it is old", Device: &repository.AttestedDevice{
		Serial: 7, Firmware: "5.4.3", FormFactor: "USB-A keychain", Slot: "9c", PINPolicy: "always", TouchPolicy: "always",
	}}}
	doc, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	check(string(doc))
}

func signingEventDocuments(t *testing.T, check func(string)) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow}}})
	env, _ := workflowEnv(t, gh, "push")
	env["TUF_ON_CI_TOKEN"] = gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All().Without("statuses")})
	bot := w.Upstream.Clone("driver")
	bot.Run("switch", "-q", "-c", "sign/new")
	bot.WriteFile("targets/a.txt", "one\n")
	bot.Commit("an artifact")
	bot.Push()
	for _, args := range [][]string{{"--dry-run"}, {}, {}} {
		_, stdout, _ := tufops(t, w, env, append([]string{"-C", bot.Dir, "signing-event", "--push", "--format", "json"}, args...)...)
		check(stdout)
	}
	w.Upstream.Run("branch", "-D", "sign/new")
	_, stdout, _ := tufops(t, w, env, "-C", bot.Dir, "signing-event", "--push", "--format", "json")
	check(stdout)
}

func rulesDocuments(t *testing.T, check func(string)) {
	// The list is theirs together: to change each part of it would take the square
	// of the time.
	var all struct{ Rules []json.RawMessage }
	_, stdout, _ := program(t, "rules", "--format", "json")
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all.Rules) != len(repository.Rules()) {
		t.Fatalf("%d rules are listed, want %d (%v)", len(all.Rules), len(repository.Rules()), err)
	}
	for _, one := range all.Rules {
		check(`{"schema": 1, "rules": [` + string(one) + `]}`)
	}
}

func updateTargetsDocuments(t *testing.T, check func(string)) {
	w, dir, _ := eventsWorld(t)
	for _, args := range [][]string{{"--dry-run"}, {}, {}} {
		_, stdout, _ := tufops(t, w, nil, append([]string{"-C", dir, "update-targets", "--format", "json"}, args...)...)
		check(stdout)
	}
}

func createEventsDocuments(t *testing.T, check func(string)) {
	w, dir, _ := eventsWorld(t)
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow}}})
	env, _ := workflowEnv(t, gh, "schedule")
	for _, args := range [][]string{{}, {"--dry-run"}, {"--push"}, {"--push", "--dispatch"}} {
		_, stdout, _ := tufops(t, w, env, append([]string{"-C", dir, "create-signing-events", "--format", "json"}, args...)...)
		check(stdout)
		w.Wait(1200 * 24 * time.Hour)
	}
}

func onlineSignDocuments(t *testing.T, check func(string)) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow, publishWorkflow}}})
	env, _ := workflowEnv(t, gh, "push")
	sign := func(args ...string) {
		t.Helper()
		_, stdout, _ := tufops(t, w, env, append([]string{"-C", bot.Dir, "online-sign", "--push", "--dispatch", "--format", "json"}, args...)...)
		check(stdout)
	}
	sign("--dry-run")
	sign()
	w.Artifact("a.txt", "one", false)
	w.Write("a policy", map[string][]byte{repository.PolicyFile: []byte("strict\n")})
	w.Wait(24 * time.Hour)
	sign()
}

func onlineSignTargetsDocuments(t *testing.T, check func(string)) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	key, gone := w.OnlineKey("npm.pem"), w.OnlineKey("gone.pem")
	w.Change("'npm' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: key})
	}, metadata.Targets)
	w.Raw(metadata.Targets, "Another key", func(s metadata.Object) {
		d := s["delegations"].(metadata.Object)
		d["keys"].(metadata.Object)[gone.ID] = gone.Object
		role := d["roles"].([]any)[0].(metadata.Object)
		role["keyids"] = append(role["keyids"].([]any), gone.ID)
	})
	if err := os.Remove(filepath.Join(w.KeyDir, "gone.pem")); err != nil {
		t.Fatal(err)
	}
	bot := w.Upstream.Clone("bot")
	for _, args := range [][]string{{"--dry-run"}, {}} {
		_, stdout, _ := tufops(t, w, nil, append([]string{"-C", bot.Dir, "online-sign-targets", "npm", "--format", "json"}, args...)...)
		check(stdout)
	}
}

func keysCheckDocuments(t *testing.T, check func(string)) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	for _, args := range [][]string{{}, {"--expect-denied"}, {"file2:none.pem"}} {
		_, stdout, stderr := tufops(t, w, nil, append([]string{"-C", bot.Dir, "keys", "check", "--format", "json"}, args...)...)
		if stdout == "" {
			t.Fatal(stderr)
		}
		check(stdout)
	}
}

func publishDocuments(t *testing.T, check func(string)) {
	r := publishtest.New(t)
	first := r.Commit(t, "first")
	site := filepath.Join(t.TempDir(), "site")
	publish := func(args ...string) {
		t.Helper()
		_, stdout, _ := tufopsAt(t, publishtest.Now, nil, append([]string{"-C", r.Git.Dir, "publish", "--to", "file://" + site, "--format", "json"}, args...)...)
		check(stdout)
	}
	publish("--dry-run")
	publish()
	publish()
	if err := os.WriteFile(filepath.Join(site, "metadata/timestamp.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	publish() // with a note
	r.Publish(metadata.Timestamp)
	r.Commit(t, "second")
	publish()
	r.Git.Run("checkout", "-q", string(first))
	publish() // refused, as an older state

	// Through a stage, read back, and with something that can go.
	r.Git.Run("checkout", "-q", "main")
	for name, role := range r.Roles {
		role.Expire(publishtest.Now.AddDate(0, 3, 0))
		if name == metadata.Timestamp {
			role.Expire(publishtest.Now.AddDate(0, 2, 0))
		}
	}
	r.Publish(metadata.Root, metadata.Targets)
	r.Commit(t, "third")
	for _, args := range [][]string{{"--check", "false", "--check", "true"}, {"--public-url", "file://" + site, "--prune", "--check", "true"}} {
		_, stdout, _ := tufopsAt(t, publishtest.Now.AddDate(0, 0, 40), nil, append([]string{"-C", r.Git.Dir, "publish", "--to", "file://" + site, "--format", "json",
			"--stage", "file://" + site + "-stage"}, args...)...)
		check(stdout)
	}
}

func publishedStatusDocuments(t *testing.T, check func(string)) {
	w := repositorytest.New(t)
	site := filepath.Join(t.TempDir(), "site")
	build := func(want string) {
		t.Helper()
		if status, _, stderr := program(t, "-C", w.Dir, "build", "--metadata", site); status != 0 {
			t.Fatal(stderr)
		}
		data, err := os.ReadFile(filepath.Join(site, "status.json"))
		if err != nil || !strings.Contains(string(data), want) {
			t.Fatalf("%v\n%s", err, data)
		}
		check(string(data))
	}
	list := func(in, role string, version int64) {
		w.Edit(in, func(s metadata.Object) {
			s["meta"].(metadata.Object)[role+".json"] = metadata.Object{"version": version}
		}).Sign(in, "online")
	}
	w.Edit("releases", func(s metadata.Object) { s["expires"] = "2029-01-01T00:00:00Z" }).Sign("releases", "carol")
	w.Edit("targets", func(s metadata.Object) {
		for name, data := range map[string]string{"trusted_root.json": odd(t), "signing_config.json": exact(), "trusted_root.v0.2.json": "{"} {
			w.Artifact(name, data)
			repositorytest.List(s, name, data)
		}
	}).Sign("targets", "alice", "bob", "carol")
	w.Edit("snapshot", func(s metadata.Object) {
		for _, role := range []string{"releases", "targets"} {
			s["meta"].(metadata.Object)[role+".json"] = metadata.Object{"version": int64(2)}
		}
	}).Sign("snapshot", "online")
	list("timestamp", "snapshot", 2)
	w.Commit("main")
	build(`"kind": "signing-config"`)

	w.Edit("root", func(s metadata.Object) {
		repositorytest.AddKey(s, "targets", "erin")
		s[metadata.FieldExpiryPeriod], s["x-note"] = int64(300), "new"
	}).Sign("root", "alice", "bob")
	w.Edit("targets", func(s metadata.Object) {
		releases := repositorytest.Roles(s, "releases")
		delete(releases, "paths")
		releases["path_hash_prefixes"] = []any{"0", "a"}
	}).Sign("targets", "alice", "bob")
	list("snapshot", "targets", 3)
	list("timestamp", "snapshot", 3)
	w.Edit("timestamp", func(s metadata.Object) { s["expires"] = "2029-12-31T00:00:00Z" }).Sign("timestamp", "online")
	w.Commit("an expired timestamp")
	w.Edit("targets", nil).Sign("targets", "alice", "bob")
	w.Commit("targets in no snapshot")
	build(`"state": "failing"`)

	// Of keys that keys/ says nothing of; before, there was no keys/ at all.
	w.WriteFile("keys/of-nobody/note.txt", "-")
	w.Commit("something in keys/")
	build(`"attested": false`)
}

// odd is a trusted root in which every field of an instance is set somewhere, and
// missing elsewhere.
func odd(t *testing.T) string {
	t.Helper()
	o := trustroottest.Root()
	log := trustroottest.At(o, "ctlogs", 0)
	log["operator"] = "example"
	log["publicKey"].(trustroottest.Object)["keyDetails"] = "PKIX_ED25519" // which it is not
	trustroottest.At(o, "tlogs", 0, "publicKey", "validFor")["end"] = "2029-01-01T00:00:00Z"
	trustroottest.At(o, "timestampAuthorities", 0)["validFor"] = trustroottest.Object{}
	trustroottest.Add(o, "certificateAuthorities", trustroottest.Object{})
	return string(trustroottest.Bytes(o))
}

// exact is a signing configuration that counts.
func exact() string {
	o := trustroottest.Config()
	o["tsaConfig"] = trustroottest.Object{"selector": "EXACT", "count": 1}
	return string(trustroottest.Bytes(o))
}

// prints runs a command about trust material, which must end with a status.
func (d trustDir) prints(check func(string), status int, args ...string) {
	d.t.Helper()
	check(d.run(status, nil, append(args, "--format", "json")...))
}

func trustShowDocuments(t *testing.T, check func(string)) {
	d := newTrustDir(t)
	d.prints(check, 0, "trusted-root", "show")
	d.prints(check, 0, "trusted-root", "show", d.write("odd.json", []byte(odd(t))))
	d.prints(check, 0, "signing-config", "show", d.write("exact.json", []byte(exact())))
	d.prints(check, 1, "trusted-root", "show", d.write("unreadable.json", []byte("{")))
}

func trustValidateDocuments(t *testing.T, check func(string)) {
	d := newTrustDir(t)
	d.prints(check, 0, "trusted-root", "validate")
	d.prints(check, 1, "trusted-root", "validate", d.write("odd.json", []byte(odd(t))))
	d.prints(check, 1, "trusted-root", "validate", d.write("unreadable.json", []byte("{")))
	w := repositorytest.New(t)
	w.WriteFile(repository.PolicyFile, "profile: sigstore-public-good\n")
	w.WriteFile("targets/trusted_root.json", string(trustroottest.Bytes(trustroottest.Root())))
	w.Commit("a profile")
	status, stdout, stderr := program(t, "-C", w.Dir, "trusted-root", "validate", "--format", "json")
	if status != 0 || !strings.Contains(stdout, `"name": "sigstore-public-good"`) {
		t.Fatalf("exit %d: %s%s", status, stdout, stderr)
	}
	check(stdout)
}

func trustDiffDocuments(t *testing.T, check func(string)) {
	d := newTrustDir(t)
	good, other := d.path("targets/trusted_root.json"), d.write("odd.json", []byte(odd(t)))
	d.prints(check, 0, "trusted-root", "diff", good, other)
	d.prints(check, 0, "trusted-root", "diff", other, good)
	d.prints(check, 0, "trusted-root", "diff", good, d.write("compact.json", compact(t, d.read("targets/trusted_root.json"))))
	d.prints(check, 1, "trusted-root", "diff", good, d.write("unreadable.json", []byte("{")))
	d.prints(check, 0, "signing-config", "diff", d.path("targets/signing_config.v0.2.json"), d.write("exact.json", []byte(exact())))
}

func compact(t *testing.T, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func trustEditDocuments(t *testing.T, check func(string)) {
	d := newTrustDir(t)
	closeLog := []string{"trusted-root", "close", "https://rekor.example.test", "--end", "2030-06-01"}
	d.prints(check, 0, append(closeLog, "--dry-run")...)
	d.prints(check, 0, closeLog...) // which its neighbour still uses
	d.prints(check, 0, closeLog...) // which is so already
	d.prints(check, 1, "trusted-root", "close", "https://fulcio.example.test", "--end", "2020-01-01")
	d.prints(check, 0, "signing-config", "close", "https://rekor.example.test", "--end", "2030-05-01")
}
