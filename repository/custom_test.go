package repository_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// TestSyncCustom: update-targets gives artifacts the custom metadata that is
// asked for, once, and leaves that of others alone.
func TestSyncCustom(t *testing.T) {
	const asked = `{"a.txt": {"sigstore": {"usage": "CTFE", "status": "Active", "uri": "https://ctfe.example"}}, "old.txt": null}`
	for _, test := range []struct {
		name, file string
		want       map[string]string // custom by artifact, "" for none
		changes    bool
	}{
		{"no file", "", map[string]string{"a.txt": "", "old.txt": `{"x":"y"}`}, false},
		{"asked", asked, map[string]string{"a.txt": `{"sigstore":{"status":"Active","uri":"https://ctfe.example","usage":"CTFE"}}`, "old.txt": ""}, true},
		{"one alone", `{"old.txt": {"x": "z"}}`, map[string]string{"a.txt": "", "old.txt": `{"x":"z"}`}, true},
		{"as it is", `{"old.txt": {"x": "y"}, "a.txt": null}`, map[string]string{"a.txt": "", "old.txt": `{"x":"y"}`}, false},
		{"unreadable", `{`, map[string]string{"a.txt": "", "old.txt": `{"x":"y"}`}, false},
		{"of the wrong kind", `{"a.txt": []}`, map[string]string{"a.txt": "", "old.txt": `{"x":"y"}`}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			w.Artifact("old.txt", "old")
			bumpTargets(w, func(s object) {
				List(s, "old.txt", "old")
				s["targets"].(object)["old.txt"].(object)["custom"] = object{"x": "y"}
			})
			if test.file != "" {
				w.WriteFile(repository.CustomFile, test.file)
			}
			w.Commit("event")
			ctx := context.Background()
			repo := w.Open()
			head, err := repo.Git.Resolve(ctx, "HEAD")
			if err != nil {
				t.Fatal(err)
			}
			state, err := repo.At(ctx, head)
			if err != nil {
				t.Fatal(err)
			}
			edit, err := state.Edit(ctx, state, w.Now)
			if err != nil {
				t.Fatal(err)
			}
			for run, want := range []bool{test.changes, false} {
				if changed, err := edit.SyncTargets(ctx, "targets"); err != nil || changed != want {
					t.Errorf("run %d changes: %v (%v), want %v", run+1, changed, err, want)
				}
			}
			doc, err := edit.Document("targets")
			if err != nil {
				t.Fatal(err)
			}
			if len(doc.Targets()) != 2 {
				t.Errorf("%d artifacts are listed, want 2: %s is none", len(doc.Targets()), repository.CustomFile)
			}
			for target, want := range test.want {
				got := ""
				if custom, has := doc.Targets()[target].Object["custom"]; has {
					text, err := metadata.Canonical(custom)
					if err != nil {
						t.Fatal(err)
					}
					got = string(text)
				}
				if got != want {
					t.Errorf("%s has custom %s, want %s", target, got, want)
				}
				if doc.Targets()[target].Length == 0 || !strings.Contains(string(metadata.Write(doc.Targets()[target].Object)), "sha256") {
					t.Errorf("%s has lost its length or hash", target)
				}
			}
		})
	}
}
