package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// What a person reads of a key that is good, and of one that is not.
func TestKeysCheck(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	status, stdout, stderr := tufops(t, w, nil, "-C", bot.Dir, "keys", "check")
	d, _ := w.Document("root").Delegation("timestamp")
	print := d.Keys[d.KeyIDs[0]].Fingerprint()
	want := `file2:online.pem: good
  ok       pinned: the URI names one version of the key
  ok       found: the service has a public key with SHA-256 ` + print + `
  ok       type: its type is ecdsa/ecdsa-sha2-nistp256
  ok       listed: it is the key that the metadata lists for timestamp, snapshot
  ok       signs: it signed a test message, and the signature verifies
  untold   permissions: this service does not tell what else this identity may do
`
	if status != 0 || stdout != want {
		t.Errorf("status %d, stdout\n%s\nwant\n%s%s", status, stdout, want, stderr)
	}
	if status, stdout, _ := tufops(t, w, nil, "-C", bot.Dir, "keys", "check", "--expect-denied"); status != 1 || !strings.Contains(stdout, "NOT GOOD") || !strings.Contains(stdout, "must not") {
		t.Errorf("a canary that can sign: status %d, stdout %q", status, stdout)
	}
	w.OnlineKey("online.pem") // another one in its place
	if status, stdout, _ := tufops(t, w, nil, "-C", bot.Dir, "keys", "check", "file2:online.pem"); status != 1 || !strings.Contains(stdout, print) || !strings.Contains(stdout, "tufops-sign delegate") {
		t.Errorf("another key: status %d, stdout %q", status, stdout)
	}
	if err := os.Remove(filepath.Join(w.KeyDir, "online.pem")); err != nil {
		t.Fatal(err)
	}
	if status, stdout, _ := tufops(t, w, nil, "-C", bot.Dir, "keys", "check"); status != 1 || !strings.Contains(stdout, "failed   found: find key file2:online.pem") {
		t.Errorf("no key: status %d, stdout %q", status, stdout)
	}
	if bot.Run("status", "--porcelain") != "" || bot.Run("rev-parse", "HEAD") != w.Upstream.Head("main") {
		t.Error("the checkout was changed")
	}
}

// Who can push an event decides neither where this runs nor which service is
// called.
func TestKeysCheckOfEvents(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	bot := w.Upstream.Clone("bot")
	main := w.State().Commit()
	next := w.OnlineKey("next.pem")
	w.Rotate(next)
	w.Upstream.Run("branch", "sign/rotate", "main")
	w.Upstream.Run("update-ref", "refs/heads/main", string(main))
	w.Upstream.Run("branch", "sign/empty", "main")
	allow := func(list string) {
		t.Helper()
		w.Write("a policy", map[string][]byte{repository.PolicyFile: []byte("online-keys: [" + list + "]\n")})
		bot.Run("pull", "-q")
	}
	by := func(event string) map[string]string {
		return map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_REF": "refs/heads/main"}
	}
	event := []string{"keys", "check", "--event", "sign/rotate"}
	for _, test := range []struct {
		name   string
		before func()
		env    map[string]string
		args   []string
		status int
		want   string // in what is printed
	}{
		{"not allowed", nil, nil, event, 1, "key file2:next.pem is not asked for"},
		{"another one allowed", func() { allow("'file2:next'") }, nil, event, 1, "key file2:next.pem is not asked for"},
		{"allowed", func() { allow("'file2:next.pem'") }, nil, event, 0, "file2:next.pem: good"},
		{"by hand", nil, by("workflow_dispatch"), event, 0, "file2:next.pem: good"},
		{"by a push", nil, by("push"), event, 1, "started by push"},
		{"by the clock", nil, by("schedule"), event, 1, "started by schedule"},
		{"the listed keys by the clock", nil, by("schedule"), []string{"keys", "check"}, 0, "file2:online.pem: good"},
		{"on the event's branch", nil, map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_REF": "refs/heads/sign/rotate"}, event, 1, "does not run on sign/rotate"},
		{"the canary on the event's branch", nil, map[string]string{"GITHUB_REF": "refs/heads/sign/rotate"}, []string{"keys", "check", "--expect-denied"}, 1, "does not run on sign/rotate"},
		{"in its pull request", nil, map[string]string{"GITHUB_REF": "refs/pull/1/merge", "GITHUB_HEAD_REF": "sign/rotate"}, []string{"keys", "check"}, 1, "does not run on sign/rotate"},
		{"nothing proposed", nil, nil, []string{"keys", "check", "--event", "sign/empty"}, 0, "Nothing to do"},
		{"a URI of nobody in a workflow", nil, by("workflow_dispatch"), []string{"keys", "check", "file2:other.pem"}, 1, "key file2:other.pem is not asked for"},
		{"a URI that is allowed", nil, by("workflow_dispatch"), []string{"keys", "check", "file2:next.pem"}, 0, "file2:next.pem: good"},
		{"a URI of a person", nil, nil, []string{"keys", "check", "file2:other.pem"}, 1, "find key file2:other.pem"},
		{"a service and a simulated clock", nil, nil, []string{"keys", "check", "hv:online/1"}, 2, "TUFOPS_NOW is set"},
		{"no event", nil, nil, []string{"keys", "check", "--event", "main"}, 2, "sign/NAME"},
		{"event and URI", nil, nil, []string{"keys", "check", "--event", "sign/rotate", "file2:next.pem"}, 2, "neither a URI"},
		{"a broken policy allows nothing", func() { allow("x") }, nil, event, 1, "key file2:next.pem is not asked for"},
		{"and stops no check of what is listed", nil, nil, []string{"keys", "check"}, 0, "file2:online.pem: good"},
		{"with the event checked out", func() { bot.Run("switch", "-q", "-c", "sign/mine") }, nil, []string{"keys", "check"}, 1, "does not run on sign/mine"},
	} {
		if test.before != nil {
			test.before()
		}
		status, stdout, stderr := tufops(t, w, test.env, append([]string{"-C", bot.Dir}, test.args...)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.want) {
			t.Errorf("%s: status %d, want %d; no %q in\n%s%s", test.name, status, test.status, test.want, stdout, stderr)
		}
	}
}
