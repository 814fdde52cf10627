package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// tufops runs the program on a checkout at the world's time.
func tufops(t *testing.T, w *onlinesigntest.World, env map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	all := map[string]string{file.PrefixVariable: w.KeyDir, "TUFOPS_NOW": w.Now.Format(time.RFC3339)}
	for name, value := range env {
		all[name] = value
	}
	var out, errs bytes.Buffer
	status = run(context.Background(), cli.Env{Stdout: &out, Stderr: &errs, LookupEnv: func(name string) (string, bool) {
		value, ok := all[name]
		return value, ok && value != ""
	}}, append([]string{"tufops"}, args...))
	return status, out.String(), errs.String()
}

func TestOnlineSignCommand(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	output := filepath.Join(t.TempDir(), "output")
	env := map[string]string{"GITHUB_OUTPUT": output}
	outputs := func() string {
		data, _ := os.ReadFile(output)
		os.Remove(output)
		return string(data)
	}

	head := w.Upstream.Head("main")
	want := `Would sign snapshot version 1, valid until 2027-03-01T12:00:00Z: there was none yet.
  lists targets version 1
Would sign timestamp version 1, valid until 2026-03-03T12:00:00Z: there was none yet.
  lists snapshot version 1
`
	status, stdout, stderr := tufops(t, w, map[string]string{file.PrefixVariable: "/nowhere"}, "-C", bot.Dir, "online-sign", "--push", "--dry-run")
	if status != 0 || stdout != want || w.Upstream.Head("main") != head {
		t.Errorf("dry run: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}

	want = strings.ReplaceAll(want, "Would sign", "Signed")
	want = strings.Replace(want, "  lists targets version 1\n", "  lists targets version 1\n  signed with file2:online.pem\n", 1) + "  signed with file2:online.pem\n"
	status, stdout, stderr = tufops(t, w, env, "online-sign", "--push", "-C", bot.Dir)
	if status != 0 || stdout != want {
		t.Errorf("status %d, stderr %q, stdout %q, want %q", status, stderr, stdout, want)
	}
	if got := outputs(); got != "signed=snapshot timestamp\n" {
		t.Errorf("step output is %q", got)
	}
	if got := w.Upstream.Run("log", "-1", "--format=%s", "main"); got != "Online sign (snapshot & timestamp)" {
		t.Errorf("main is at %q", got)
	}

	status, stdout, _ = tufops(t, w, env, "online-sign", "--push", "-C", bot.Dir)
	if status != 0 || stdout != "Nothing to do: snapshot and timestamp are up to date.\n" || outputs() != "signed=\n" {
		t.Errorf("again: status %d, stdout %q", status, stdout)
	}

	// Blocked: exit status 0, and it says so.
	w.Artifact("a.txt", "one", false)
	w.Wait(24 * time.Hour)
	status, stdout, stderr = tufops(t, w, env, "online-sign", "--push", "-C", bot.Dir)
	want = `Signed timestamp version 2, valid until 2026-03-04T12:00:00Z: its signing period has begun.
  lists snapshot version 1
  signed with file2:online.pem

The content of the snapshot stays as it is, because of
  awaited: targets version 2 has 0 of 1 signatures (missing: @alice)
    rule quorum, metadata/targets.json
`
	if status != 0 || !strings.HasPrefix(stdout, want) || !strings.Contains(stdout, "    hint: ") {
		t.Errorf("blocked: status %d, stderr %q, stdout %q, want %q", status, stderr, stdout, want)
	}

	w.Wait(24 * time.Hour)
	status, stdout, stderr = tufops(t, w, env, "online-sign", "-C", bot.Dir, "--format", "json")
	var doc struct {
		Schema int
		Commit string
		Signed []struct {
			Role            string
			Version         int64
			PreviousVersion int64 `json:"previous_version"`
			Reason, Expires string
			Lists           map[string]int64
			Keys            []string
		}
		Blocked  []repository.Finding
		Warnings []string
		DryRun   *bool `json:"dry_run"`
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 0 {
		t.Fatalf("json: status %d, %v: %s %s", status, err, stdout, stderr)
	}
	if doc.Schema != 1 || doc.Commit != bot.Run("rev-parse", "HEAD") || len(doc.Signed) != 1 || doc.Warnings == nil || doc.DryRun == nil || *doc.DryRun ||
		len(doc.Blocked) != 1 || doc.Blocked[0].Rule != "quorum" {
		t.Errorf("json: %s", stdout)
	}
	if s := doc.Signed[0]; s.Role != "timestamp" || s.Version != 3 || s.PreviousVersion != 2 || s.Reason != "period" ||
		s.Expires != "2026-03-05T12:00:00Z" || s.Lists["snapshot.json"] != 1 || len(s.Keys) != 1 {
		t.Errorf("json: %s", stdout)
	}
	if w.Upstream.Head("main") == doc.Commit {
		t.Error("it pushed without --push")
	}
}

// An outgoing key that is gone is a warning on stderr; a key that is not the
// listed one fails with all that a person needs.
func TestOnlineSignCommandKeys(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Rotate(w.OnlineKey("next.pem"))
	bot := w.Upstream.Clone("bot")
	next := filepath.Join(w.KeyDir, "next.pem")
	right, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	w.OnlineKey("next.pem") // over it
	status, stdout, stderr := tufops(t, w, nil, "-C", bot.Dir, "online-sign", "--push")
	for _, want := range []string{"tufops: error: sign snapshot: 0 of 1 signatures: compare key file2:next.pem: ", "tufops: hint: ", "tufops: note: nothing was committed or pushed"} {
		if status != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("wrong key: status %d, stdout %q, stderr %q lacks %q", status, stdout, stderr, want)
		}
	}
	if err := os.WriteFile(next, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.KeyDir, "online.pem")); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr = tufops(t, w, nil, "-C", bot.Dir, "online-sign", "--push")
	if status != 0 || !strings.Contains(stdout, "Signed snapshot version 2") || strings.Count(stderr, "tufops: warning: the outgoing online key cannot sign") != 2 {
		t.Errorf("outgoing key gone: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// What a simulated clock says must not leave the machine: neither to a remote
// nor to a key service, and that is a matter of how the program was called.
func TestOnlineSignSimulatedClock(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	bot.Run("remote", "set-url", "--push", "origin", "git@example.invalid:a/b.git")
	bot.Run("branch", "sign/x")
	for _, command := range []string{"online-sign", "online-sign --dry-run", "online-sign-targets targets", "update-targets", "create-signing-events", "signing-event"} {
		args := append([]string{"-C", bot.Dir, "--push"}, strings.Fields(command)...)
		if status, _, stderr := tufops(t, w, nil, args...); status != 2 || !strings.Contains(stderr, "TUFOPS_NOW is set") || !strings.Contains(stderr, "example.invalid") {
			t.Errorf("%s: status %d, stderr %q", command, status, stderr)
		}
	}

	// git pushes to every URL that is configured
	bot.Run("config", "--replace-all", "remote.origin.pushurl", w.Upstream.Dir)
	bot.Run("config", "--add", "remote.origin.pushurl", "git@example.invalid:a/b.git")
	if status, _, stderr := tufops(t, w, nil, "-C", bot.Dir, "online-sign", "--push"); status != 2 || !strings.Contains(stderr, "example.invalid") {
		t.Errorf("two push URLs: status %d, stderr %q", status, stderr)
	}

	local := w.Upstream.Clone("local")
	const uri = "cloudkms:projects/p/keys/k/versions/1" // of no service that there is
	key, err := metadata.NewKey(onlinesigntest.Person("machine").Public(), "", uri)
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(key)
	head := w.Upstream.Head("main")
	status, _, stderr := tufops(t, w, nil, "-C", local.Dir, "online-sign", "--push")
	if status != 2 || !strings.Contains(stderr, "TUFOPS_NOW is set") || !strings.Contains(stderr, uri) {
		t.Errorf("simulated clock: status %d, stderr %q", status, stderr)
	}
	status, _, stderr = tufops(t, w, map[string]string{"TUFOPS_NOW": ""}, "-C", local.Dir, "online-sign", "--push")
	if status != 1 || !strings.Contains(stderr, "no key service") || !strings.Contains(stderr, uri) || !strings.Contains(stderr, "file2:") {
		t.Errorf("real clock: status %d, stderr %q", status, stderr)
	}
	if w.Upstream.Head("main") != head {
		t.Error("main moved")
	}
}

// TestOnlineSignOnLoopback: a service that the environment has on this machine
// signs under a simulated clock as well, through the vendor's own client. One that
// it does not have here is refused, also where an address is named that would not
// be used.
func TestOnlineSignOnLoopback(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "VAULT_AGENT_ADDR"} {
		t.Setenv(name, "")
	}
	for _, test := range []struct {
		uri     string
		start   func(*kmstest.Service) (env map[string]string, key *kmstest.Key)
		outside map[string]string // what sends it elsewhere
	}{
		{"awskms:alias/online", func(s *kmstest.Service) (map[string]string, *kmstest.Key) {
			return map[string]string{
				"AWS_ENDPOINT_URL_KMS": kmstest.AWS(t, s), "AWS_REGION": kmstest.AWSRegion, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
			}, s.Make(t, "online", "", kms.P256)
		}, map[string]string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}},
		{"hv:online/1", func(s *kmstest.Service) (map[string]string, *kmstest.Key) {
			return map[string]string{"VAULT_ADDR": kmstest.Vault(t, s), "VAULT_TOKEN": kmstest.VaultToken}, s.Make(t, "online", "1", kms.P256)
		}, map[string]string{"VAULT_AGENT_ADDR": "https://vault.example:8200"}},
	} {
		w := onlinesigntest.New(t, repository.OnlineConfig{})
		bot := w.Upstream.Clone("bot")
		service := kmstest.NewService(t)
		env, made := test.start(service)
		for name, value := range env {
			t.Setenv(name, value) // where the vendor's client looks
		}
		key, err := metadata.NewKey(made.Private.Public(), "", test.uri)
		if err != nil {
			t.Fatal(err)
		}
		w.Rotate(key)
		outside := maps.Clone(env)
		maps.Copy(outside, test.outside)
		for _, command := range [][]string{{"keys", "check"}, {"online-sign", "--push"}} {
			bot.Run("pull", "-q")
			args := append([]string{"-C", bot.Dir}, command...)
			for _, env := range []map[string]string{nil, outside} {
				if status, _, stderr := tufops(t, w, env, args...); status != 2 || !strings.Contains(stderr, "TUFOPS_NOW is set") || service.Requests("read") > 0 && command[0] == "keys" {
					t.Errorf("%s, %s, not on this machine: status %d, stderr %q", test.uri, command, status, stderr)
				}
			}
			if status, stdout, stderr := tufops(t, w, env, args...); status != 0 || !strings.Contains(stdout, test.uri) {
				t.Errorf("%s, %s: status %d, stdout %q, stderr %q", test.uri, command, status, stdout, stderr)
			}
		}
		for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
			if d, _ := w.Document("root").Delegation(role); !metadata.Check(d, w.Document(role)).Met() {
				t.Errorf("%s: %s is not signed", test.uri, role)
			}
		}
	}
}

// TestOnlineSignLogsIn: the inputs of the action that name a cloud identity are
// what the program logs in with.
func TestOnlineSignLogsIn(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	local := w.Upstream.Clone("local")
	for uri, input := range map[string]string{
		"gcpkms:projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1": "TUFOPS_GCP_WORKLOAD_IDENTITY_PROVIDER",
		"awskms:arn:aws:kms:eu-central-1:123456789012:key/1":                             "TUFOPS_AWS_ROLE_TO_ASSUME",
	} {
		key, err := metadata.NewKey(onlinesigntest.Person("machine").Public(), "", uri)
		if err != nil {
			t.Fatal(err)
		}
		w.Rotate(key)
		head := w.Upstream.Head("main")
		value := map[bool]string{true: "projects/1/locations/global/workloadIdentityPools/p/providers/p", false: "arn:aws:iam::1:role/r"}[strings.HasPrefix(uri, "gcp")]
		status, _, stderr := tufops(t, w, map[string]string{"TUFOPS_NOW": "", input: value}, "-C", local.Dir, "online-sign", "--push")
		if status != 1 || !strings.Contains(stderr, uri) || !strings.Contains(stderr, "id-token: write") || w.Upstream.Head("main") != head {
			t.Errorf("%s: status %d, stderr %q", input, status, stderr)
		}
	}
}

func TestOnlineSignTargetsCommand(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	key := w.OnlineKey("npm.pem")
	w.Change("'npm' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: key})
	}, "targets")
	bot := w.Upstream.Clone("bot")
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow}}})
	env, file := workflowEnv(t, gh, "workflow_dispatch")
	status, stdout, stderr := tufops(t, w, env, "-C", bot.Dir, "online-sign-targets", "npm", "--push", "--dispatch")
	if got := gh.Dispatches(); len(got) > 0 {
		t.Errorf("main is no event, and %+v was started", got)
	}
	if status != 0 || stdout != "Signed npm version 1 with file2:npm.pem.\n" {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if got := file("GITHUB_OUTPUT"); got != "signed=npm\n" {
		t.Errorf("step output is %q", got)
	}
	if got := w.Upstream.Run("log", "-1", "--format=%s", "main"); got != "Online sign targets role npm" {
		t.Errorf("main is at %q", got)
	}
	status, stdout, _ = tufops(t, w, nil, "-C", bot.Dir, "online-sign-targets", "npm", "--push", "--format", "json")
	var doc map[string]any
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 0 || doc["schema"] != 1.0 || doc["commit"] != w.Upstream.Head("main") || len(doc["signed"].([]any)) != 0 {
		t.Errorf("again: status %d, stdout %q", status, stdout)
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"online-sign-targets"}, 2, "ROLE"},
		{[]string{"online-sign-targets", "targets"}, 1, "lists no online key"},
		{[]string{"online-sign", "--format", "xml"}, 2, "--format"},
	} {
		status, _, stderr := tufops(t, w, nil, append([]string{"-C", bot.Dir}, test.args...)...)
		if status != test.status || !strings.Contains(stderr, test.want) {
			t.Errorf("%v: status %d, stderr %q", test.args, status, stderr)
		}
	}
}

// What clients are served keeps the next version above it, and what cannot be read
// stops nothing. With 2/1 the command says beforehand how long it may stand still.
func TestOnlineSignLive(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	before := w.State().Commit()
	w.Sign()
	if err := w.Publish(); err != nil {
		t.Fatal(err)
	}
	w.Upstream.Run("update-ref", "refs/heads/main", string(before)) // it was signed elsewhere, and never pushed
	bot := w.Upstream.Clone("bot")
	live := "file://" + filepath.Join(w.Site, "metadata")
	large := t.TempDir()
	if err := os.WriteFile(filepath.Join(large, "timestamp.json"), make([]byte, maxLive+1), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := tufops(t, w, nil, "-C", bot.Dir, "online-sign", "--push", "--live", "file:///none/at/all", "--live", "file://"+large, "--live", live+"/")
	if status != 0 || !strings.Contains(stdout, "Signed timestamp version 2, ") || !strings.Contains(stdout, "Signed snapshot version 2, ") || !strings.Contains(stdout, "there was none yet") {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
	for _, want := range []string{"file:///none/at/all: what clients are served cannot be read", "more than 100000 bytes", "clients have timestamp version 1, which", "more than 24 hours, clients stop"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in %s", want, stderr)
		}
	}
	if status, stdout, stderr := tufops(t, w, nil, "-C", bot.Dir, "online-sign", "--push", "--live", live); status != 0 || !strings.Contains(stdout, "Nothing to do") || strings.Contains(stderr, "WARN") || strings.Contains(stderr, "warning") {
		t.Errorf("the next run: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}
