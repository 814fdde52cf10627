package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/repository/repositorytest"
)

// TestRehearse: status rehearses if it is told to, signing-event also where root
// or a delegation changes; what breaks a client is an error then.
func TestRehearse(t *testing.T) {
	paths := func(pattern string) func(w *repositorytest.World) {
		return func(w *repositorytest.World) {
			w.Edit("targets", func(s metadata.Object) { repositorytest.Roles(s, "releases")["paths"] = []any{pattern} }).Sign("targets", "alice", "bob")
		}
	}
	expires := func(date string) func(w *repositorytest.World) {
		return func(w *repositorytest.World) {
			w.Edit("targets", func(s metadata.Object) { s["expires"] = date }).Sign("targets", "alice", "bob")
		}
	}
	signing := []string{"signing-event"}
	told := []string{"signing-event", "--rehearse"}
	for _, test := range []struct {
		name     string
		command  []string
		event    func(w *repositorytest.World)
		exit     int
		rehearse bool
	}{
		{"status", []string{"status"}, paths("releases/[!x]*/*"), 0, false},
		{"status --rehearse, broken", []string{"status", "--rehearse"}, paths("releases/[!x]*/*"), 1, true},
		{"status --rehearse", []string{"status", "--rehearse"}, paths("releases/v1/*"), 0, true},
		{"a delegation, broken", signing, paths("releases/[!x]*/*"), 1, true},
		{"a delegation", signing, paths("releases/v1/*"), 0, true},
		{"root", signing, func(w *repositorytest.World) { w.Edit("root", nil).Sign("root", "alice") }, 3, true},
		{"no delegation", signing, expires("2030-01-01T06:00:00Z"), 0, false},
		{"no delegation, but told to", told, expires("2030-01-01T06:00:00Z"), 1, true},
		{"told to", told, expires("2030-06-01T00:00:00Z"), 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := repositorytest.New(t)
			test.event(w)
			w.Commit("event")
			args := append(slices.Clone(test.command), "-C", w.Dir, "--base", "main")
			exit, stdout, stderr := program(t, append(args, "--format", "json")...)
			if exit != test.exit {
				t.Errorf("exit %d, want %d: %s", exit, test.exit, stderr)
			}
			if exit == 1 && !strings.Contains(stderr, "[rehearsal-failed]") {
				t.Errorf("it does not say why: %s", stderr)
			}
			var doc struct {
				repository.Status
				Inner *repository.Status `json:"status"` // of signing-event
			}
			if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
				t.Fatal(err)
			}
			s := &doc.Status
			if doc.Inner != nil {
				s = doc.Inner
			}
			if (s.Rehearsal != nil) != test.rehearse || strings.Contains(stdout, `"rehearsal":`) != test.rehearse {
				t.Fatalf("rehearsal: %+v", s.Rehearsal)
			}
			if test.rehearse && (len(s.Rehearsal.With(repository.Failed)) > 0) != (exit == 1) || s.Complete != (exit == 0) {
				t.Errorf("complete %v, %+v", s.Complete, s.Rehearsal)
			}
			for _, format := range []string{"text", "markdown"} {
				_, stdout, _ := program(t, append(args, "--format", format)...)
				if strings.Contains(stdout, "Rehearsal:") != test.rehearse {
					t.Errorf("%s:\n%s", format, stdout)
				}
			}
		})
	}
}
