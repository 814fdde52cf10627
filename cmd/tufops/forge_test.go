package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// workflowEnv is what a job on GitHub has, and a reader of its step outputs.
func workflowEnv(t *testing.T, gh *githubtest.Server, event string) (env map[string]string, file func(name string) string) {
	t.Helper()
	dir := t.TempDir()
	token := gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})
	env = map[string]string{
		"GITHUB_REPOSITORY": gh.Owner + "/" + gh.Repo, "GITHUB_API_URL": gh.URL, "GITHUB_GRAPHQL_URL": gh.GraphQLURL,
		"GITHUB_SERVER_URL": githubtest.Web, "GITHUB_EVENT_NAME": event, "TUF_ON_CI_TOKEN": token, "TUFOPS_DEFAULT_TOKEN": token,
		"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"), "GITHUB_ENV": filepath.Join(dir, "env"),
	}
	return env, func(name string) string {
		data, _ := os.ReadFile(env[name])
		os.Remove(env[name])
		return string(data)
	}
}

func dispatches(gh *githubtest.Server) (list []string) {
	for _, d := range gh.Dispatches() {
		line := d.Workflow + " " + strings.TrimPrefix(d.Ref, "refs/heads/")
		if d.Inputs["ref"] != "" {
			line += " " + d.Inputs["ref"]
		}
		list = append(list, line)
	}
	return list
}

// TestSigningEventCommand: the same command on plain git and on GitHub.
func TestSigningEventCommand(t *testing.T) {
	w, dir, _ := eventsWorld(t)
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow}}})
	env, file := workflowEnv(t, gh, "push")

	// a dry run, then without a forge: the report and the git part
	head := w.Upstream.Head("sign/new")
	status, stdout, stderr := tufops(t, w, env, "-C", dir, "signing-event", "--push", "--dry-run")
	if status != 1 || !strings.Contains(stdout, "Would do (dry run):\n  update the metadata of targets\n  open a pull request into main\n") {
		t.Errorf("dry run: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if len(gh.Pulls()) > 0 || w.Upstream.Head("sign/new") != head {
		t.Error("a dry run wrote something")
	}
	if got := lines(file("GITHUB_OUTPUT")); !slices.Equal(got, []string{"pull=", "result=findings", "updated="}) {
		t.Errorf("dry run: step outputs %q", got)
	}
	file("GITHUB_STEP_SUMMARY")
	plain := w.Upstream.Clone("plain", "--branch", "sign/new")
	status, stdout, stderr = tufops(t, w, nil, "-C", plain.Dir, "signing-event")
	if status != 3 || !strings.Contains(stdout, "targets v1 -> v2: waiting for signatures") || !strings.Contains(stdout, "Done:\n  updated the metadata of targets\n") {
		t.Errorf("plain git: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if got := plain.Run("log", "-1", "--format=%s"); got != "Update targets metadata for role targets" || w.Upstream.Head("sign/new") != head {
		t.Errorf("plain git: the checkout is at %q", got)
	}

	status, stdout, stderr = tufops(t, w, env, "-C", dir, "signing-event", "--push")
	if status != 3 || !strings.Contains(stdout, "  opened pull request 1\n") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if got := lines(file("GITHUB_OUTPUT")); !slices.Equal(got, []string{"pull=1", "result=awaiting", "updated=targets"}) {
		t.Errorf("step outputs %q", got)
	}
	if got := file("GITHUB_STEP_SUMMARY"); !strings.HasPrefix(got, "### ⏳ Signing event `sign/new`\n") {
		t.Errorf("summary %q", got)
	}
	if got := dispatches(gh); !slices.Equal(got, []string{"signing-event.yml sign/new"}) {
		t.Errorf("dispatches %q", got)
	}
	if strings.Contains(stdout+stderr, env["TUF_ON_CI_TOKEN"]) {
		t.Error("the token is in the output")
	}

	status, stdout, _ = tufops(t, w, env, "-C", dir, "signing-event", "--push", "--format", "json")
	var doc struct {
		Schema      int
		Event       string
		Status      repository.Status
		Done, Notes []string
		Pull        struct{ Number int }
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 3 || doc.Schema != 1 || doc.Event != "sign/new" || doc.Status.Roles[0].Role != "targets" || doc.Pull.Number != 1 || len(doc.Done) > 0 {
		t.Errorf("json: status %d, %v, %s", status, err, stdout)
	}
	if status, stdout, _ := tufops(t, w, env, "-C", dir, "signing-event", "--format", "markdown"); status != 3 || !strings.HasPrefix(stdout, "### ⏳") {
		t.Errorf("markdown: status %d, stdout %q", status, stdout)
	}
}

func lines(s string) []string {
	list := strings.Split(strings.TrimRight(s, "\n"), "\n")
	slices.Sort(list)
	return list
}

// TestSigningEventRefuses says why in one sentence.
func TestSigningEventRefuses(t *testing.T) {
	w, dir, _ := eventsWorld(t)
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir})
	env, file := workflowEnv(t, gh, "push")
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for k, v := range env {
			all[k] = v
		}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	event := filepath.Join(t.TempDir(), "event.json")
	write := func(text string) {
		if err := os.WriteFile(event, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := w.Upstream.Run("for-each-ref")

	write(`{"repository": {"fork": true, "full_name": "mallory/tuf"}}`)
	status, stdout, stderr := tufops(t, w, with(map[string]string{"GITHUB_EVENT_PATH": event}), "-C", dir, "signing-event", "--push")
	if status != 0 || stdout != "" || !strings.Contains(stderr, "is a fork: the bot does nothing here") || file("GITHUB_OUTPUT") != "result=fork\n" {
		t.Errorf("fork: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	main := w.Upstream.Clone("main")
	for _, test := range []struct {
		name   string
		env    map[string]string
		args   []string
		status int
		stderr string
	}{
		{"format", nil, []string{"signing-event", "--format", "yaml"}, 2, "--format is text, markdown or json"},
		{"base branch", nil, []string{"-C", main.Dir, "signing-event", "--push"}, 1, "branch main is what events are merged into"},
		{"no token", map[string]string{"TUF_ON_CI_TOKEN": ""}, []string{"-C", dir, "signing-event", "--push"}, 1, "TUF_ON_CI_TOKEN"},
		{"simulated clock", map[string]string{"GITHUB_API_URL": "https://github.example/api/v3"}, []string{"-C", dir, "signing-event", "--push"}, 2, "neither a path nor on loopback"},
		{"dispatch alone", nil, []string{"-C", main.Dir, "online-sign", "--dispatch"}, 2, "it needs --push"},
		{"dispatch without a forge", map[string]string{"GITHUB_REPOSITORY": ""}, []string{"-C", main.Dir, "create-signing-events", "--push", "--dispatch"}, 1, "no repository on GitHub is named"},
		{"event file", map[string]string{"GITHUB_EVENT_PATH": event + ".gone"}, []string{"-C", dir, "signing-event"}, 1, "what started the workflow"},
		{"bad token", map[string]string{"TUF_ON_CI_TOKEN": "ghs_wrong"}, []string{"-C", dir, "signing-event", "--push"}, 1, "TUF_ON_CI_TOKEN"},
	} {
		status, _, stderr := tufops(t, w, with(test.env), test.args...)
		if status != test.status || !strings.Contains(stderr, test.stderr) || strings.Contains(stderr, "ghs_") {
			t.Errorf("%s: status %d, stderr %q", test.name, status, stderr)
		}
		if len(gh.Pulls()) > 0 || test.name != "bad token" && w.Upstream.Run("for-each-ref") != before {
			t.Errorf("%s: something was written", test.name)
		}
	}
}

// TestDispatch: what follows a push is started where the push does not, and by a
// scheduled run where publishing has failed.
func TestDispatch(t *testing.T) {
	w, _, _ := eventsWorld(t)
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow, publishWorkflow}}})
	bot := w.Upstream.Clone("dispatcher")
	seen := 0
	step := func(event string, want []string, args ...string) {
		t.Helper()
		env, file := workflowEnv(t, gh, event)
		status, stdout, stderr := tufops(t, w, env, append([]string{"-C", bot.Dir}, args...)...)
		if status != 0 {
			t.Fatalf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
		got := dispatches(gh)[seen:]
		seen += len(got)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q on %s started %q, want %q", args, event, got, want)
		}
		if args[0] == "online-sign" {
			if head := w.Upstream.Head("publish"); head != w.Upstream.Head("main") {
				t.Errorf("publish is at %s, main at %s", head, w.Upstream.Head("main"))
			}
			if got := file("GITHUB_ENV"); got != "ONLINE_SIGNED=true\n" && got != "ONLINE_SIGNED=false\n" {
				t.Errorf("environment %q", got)
			}
		}
	}
	main := func() string { return w.Upstream.Head("main") }
	step("push", []string{"publish.yml publish " + main(), "signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch")
	// nothing to sign: asked for by a person it publishes, by the clock only if the
	// last time failed
	step("workflow_dispatch", []string{"publish.yml publish " + main(), "signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch")
	gh.AddRun(publishWorkflow, "workflow_dispatch", "publish", "bot", "success")
	step("schedule", []string{"signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch")
	step("workflow_dispatch", []string{"publish.yml publish " + main(), "signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch")
	step("schedule", []string{"signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch") // it still runs
	gh.AddRun(publishWorkflow, "workflow_dispatch", "publish", "bot", "failure")
	step("schedule", []string{"publish.yml publish " + main(), "signing-event.yml sign/new"}, "online-sign", "--push", "--dispatch")

	w.Wait(3600 * 24 * time.Hour)
	step("schedule", []string{"signing-event.yml sign/root-v2", "signing-event.yml sign/targets-v2"}, "create-signing-events", "--push", "--dispatch")
}

// TestHandOffNeverGoesBack: a slow run does not move publish behind a newer one.
func TestHandOffNeverGoesBack(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow, publishWorkflow}}})
	env, _ := workflowEnv(t, gh, "push")
	slow := w.Upstream.Clone("slow")
	newer := w.Upstream.Clone("newer")
	newer.WriteFile("README.md", "newer\n")
	newer.Commit("newer")
	newer.Push("HEAD:main", "HEAD:publish")
	slow.Run("remote", "set-url", "origin", w.Upstream.Dir)
	head := w.Upstream.Head("publish")
	if status, stdout, stderr := tufops(t, w, env, "-C", slow.Dir, "online-sign", "--push", "--dispatch"); status != 0 {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if w.Upstream.Head("publish") != head {
		t.Errorf("publish went from %s to %s", head, w.Upstream.Head("publish"))
	}
}

// TestForks: no command of the bot writes anything in a fork.
func TestForks(t *testing.T) {
	w, dir, _ := eventsWorld(t)
	w.Wait(3600 * 24 * time.Hour) // everything is due
	gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir, Settings: githubtest.Settings{Workflows: []string{eventWorkflow, publishWorkflow}}})
	env, _ := workflowEnv(t, gh, "schedule")
	env["GITHUB_RUN_ID"] = "1"
	env["GITHUB_EVENT_PATH"] = filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(env["GITHUB_EVENT_PATH"], []byte(`{"schedule": "0 0 * * *", "repository": {"fork": true}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	before := w.Upstream.Run("for-each-ref")
	main := w.Upstream.Clone("main")
	for _, args := range [][]string{
		{"-C", dir, "signing-event", "--push"},
		{"-C", dir, "update-targets", "--push"},
		{"-C", main.Dir, "create-signing-events", "--push", "--dispatch"},
		{"-C", main.Dir, "online-sign", "--push", "--dispatch"},
		{"-C", main.Dir, "online-sign-targets", "targets", "--push", "--dispatch"},
		{"-C", main.Dir, "update-issue", "--workflow", "x", "--success", "false"},
	} {
		status, stdout, stderr := tufops(t, w, env, args...)
		if status != 0 || stdout != "" || !strings.Contains(stderr, "is a fork: the bot does nothing here") {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
		}
	}
	if w.Upstream.Run("for-each-ref") != before || len(gh.Requests()) > 0 {
		t.Errorf("something was written in a fork: %v", gh.Requests())
	}
}

// TestSignedIsTold: what was signed and pushed is reported also where nothing can
// be started afterwards.
func TestSignedIsTold(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		w, _, _ := eventsWorld(t)
		gh := githubtest.New(t, githubtest.Options{Dir: w.Upstream.Dir}) // without a workflow to start
		env, file := workflowEnv(t, gh, "push")
		w.Wait(24 * time.Hour)
		main := w.Upstream.Clone("main")
		before := w.Upstream.Head("main")
		status, stdout, stderr := tufops(t, w, env, "-C", main.Dir, "online-sign", "--push", "--dispatch", "--format", format)
		if status != 1 || !strings.Contains(stderr, publishWorkflow) || w.Upstream.Head("main") == before {
			t.Fatalf("status %d, stderr %q", status, stderr)
		}
		var doc struct{ Signed []struct{ Role string } }
		if format == "text" && !strings.HasPrefix(stdout, "Signed ") || format == "json" && (json.Unmarshal([]byte(stdout), &doc) != nil || len(doc.Signed) == 0) {
			t.Errorf("%s: stdout %q", format, stdout)
		}
		if got := file("GITHUB_ENV"); got != "ONLINE_SIGNED=true\n" {
			t.Errorf("environment %q", got)
		}
	}
}

// TestLongSummary: GitHub shows no summary of more than a mebibyte.
func TestLongSummary(t *testing.T) {
	summary := filepath.Join(t.TempDir(), "summary")
	env := cli.Env{LookupEnv: func(string) (string, bool) { return summary, true }}
	if err := summarize(env, "# title\n"+strings.Repeat("* ä line of a report\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(summary)
	if err != nil || len(data) > 1<<20 || len(data) < 900_000 || !utf8.Valid(data) || !strings.HasSuffix(string(data), "\n* ä line of a report\n\nThis report is too long for a summary. All of it stands in the log.\n\n") {
		t.Errorf("%v, %d bytes, ending in %q", err, len(data), data[max(0, len(data)-200):])
	}
}
