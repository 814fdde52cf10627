package onlinesign_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// starts are workflows that remember what was started, and whose last run was for
// the commit last started and good.
type starts []string

func (s *starts) Start(_ context.Context, workflow, branch string, inputs map[string]string) error {
	*s = append(*s, fmt.Sprintf("%s %s %s", workflow, branch, inputs["ref"]))
	return nil
}

func (s *starts) LastRun(context.Context, string, string) (string, bool, error) {
	if len(*s) == 0 {
		return "", false, nil
	}
	var workflow, branch, commit string
	fmt.Sscan((*s)[len(*s)-1], &workflow, &branch, &commit)
	return commit, true, nil
}

// TestHandOff: the publish branch follows main and nothing else. Whoever else moves
// it, or whatever keeps it from moving, is told of and keeps no timestamp from
// being published.
func TestHandOff(t *testing.T) {
	for _, test := range []struct {
		name    string
		publish func(w *onlinesigntest.World, head, newer string) // before the run
		at      string                                            // where the branch is afterwards
		started bool
		failed  bool
	}{
		{name: "there is none", publish: func(*onlinesigntest.World, string, string) {}, at: "head", started: true},
		{name: "behind", publish: func(w *onlinesigntest.World, head, _ string) { set(w, head+"^") }, at: "head", started: true},
		{name: "there already", publish: func(w *onlinesigntest.World, head, _ string) { set(w, head) }, at: "head", started: true},
		{name: "a newer run was faster", publish: func(w *onlinesigntest.World, _, newer string) { set(w, newer) }, at: "newer"},
		{name: "a newer run is faster during the push", publish: func(w *onlinesigntest.World, head, newer string) {
			set(w, head+"^")
			hook(w, "if mv once done 2>/dev/null; then unset GIT_QUARANTINE_PATH; git update-ref refs/heads/publish "+newer+"; fi")
			if err := os.WriteFile(filepath.Join(w.Upstream.Dir, "once"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, at: "newer"},
		{name: "moved elsewhere", publish: func(w *onlinesigntest.World, head, _ string) { set(w, commit(w, head+"^", "mine")) }, at: "other", started: true, failed: true},
		{name: "moved beyond main", publish: func(w *onlinesigntest.World, head, _ string) { set(w, commit(w, head, "mine")) }, at: "other", started: true, failed: true},
		{name: "protected", publish: func(w *onlinesigntest.World, head, _ string) { set(w, head+"^"); hook(w, "echo no >&2; exit 1") }, at: "behind", started: true, failed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Sign()
			repo := w.Clone("run")
			head := w.Upstream.Head("main")
			newer := commit(w, head, "newer")
			w.Upstream.Run("update-ref", "refs/heads/main", newer)
			test.publish(w, head, newer)
			before := w.Upstream.Run("for-each-ref", "--format=%(objectname)", "refs/heads/publish")
			var started starts
			done, err := onlinesign.HandOff{Options: w.Options(repo), Workflows: &started, Workflow: "publish.yml", Idle: true}.Run(t.Context())
			if (err != nil) != test.failed || done.Started != test.started {
				t.Errorf("started %v, %v", done.Started, err)
			}
			if test.at == "other" && !errors.As(err, new(*onlinesign.MisplacedError)) || test.at == "behind" && !errors.As(err, new(*git.RejectedError)) {
				t.Errorf("the error is %v", err)
			}
			want := map[string]string{"head": head, "newer": newer, "other": before, "behind": before}[test.at]
			if at := w.Upstream.Head("publish"); at != want {
				t.Errorf("publish is at %s, want %s", at, want)
			}
			var wanted []string
			if test.started {
				wanted = []string{"publish.yml publish " + head}
			}
			if !slices.Equal(started, wanted) {
				t.Errorf("started %q, want %q", started, wanted)
			}
			if test.failed {
				return
			}
			// once more: nothing is left to do
			if done, err := (onlinesign.HandOff{Options: w.Options(repo), Workflows: &started, Workflow: "publish.yml", Idle: true}).Run(t.Context()); err != nil || done.Started || done.Moved {
				t.Errorf("the second run: %+v, %v", done, err)
			}
		})
	}
}

func set(w *onlinesigntest.World, commit string) {
	w.Upstream.Run("update-ref", "refs/heads/publish", commit)
}

// commit makes an empty commit on another.
func commit(w *onlinesigntest.World, on, message string) string {
	return w.Upstream.Run("-c", "user.name=x", "-c", "user.email=x@example.com", "commit-tree", "-m", message, "-p", on, on+"^{tree}")
}

// hook runs before the upstream takes a push.
func hook(w *onlinesigntest.World, script string) {
	if err := os.WriteFile(filepath.Join(w.Upstream.Dir, "hooks", "pre-receive"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		panic(err)
	}
}
