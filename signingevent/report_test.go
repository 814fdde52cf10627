package signingevent_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares a text with a file in testdata. Commit ids differ with git's
// version and are left out.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = regexp.MustCompile(`\b(?:[0-9a-f]{10,12}|[0-9a-f]{40})\b`).ReplaceAllString(got, "COMMIT")
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and read the difference. Got:\n%s", file, got)
	}
}

func TestReports(t *testing.T) {
	hostile := "x\x1b[31m\u202e|`@all` [a](b) <b>\n#1"
	for name, event := range map[string]func(w *World){
		"nothing":  func(w *World) {},
		"complete": func(w *World) { w.Edit("targets", nil).Sign("targets", "alice", "bob") },
		"awaited": func(w *World) {
			w.Artifact("b.txt", "b").Edit("targets", func(s metadata.Object) { List(s, "b.txt", "b") }).Sign("targets", "alice")
			w.Edit("root", func(s metadata.Object) { SetKeys(s, "root", "alice", "dave") }).Sign("root", "alice", "dave")
			w.WriteFile(repository.StateFile, `{"invites": {"@erin": ["releases"]}}`)
		},
		"errors": func(w *World) {
			w.Edit("targets", func(s metadata.Object) { s["expires"] = "2029-01-01T00:00:00Z" }).Sign("targets", "alice")
			w.Edit("timestamp", nil)
			w.Artifact("a.txt", "changed")
		},
		"hostile": func(w *World) {
			w.Edit("targets", func(s metadata.Object) { List(s, hostile, "x") }).Sign("targets", "alice", "bob")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(t)
			event(w)
			s := w.Status(repository.Policy{})
			text, markdown := signingevent.Text(s), signingevent.Markdown(s)
			golden(t, name+".txt", text)
			golden(t, name+".md", markdown)
			if strings.ContainsAny(text+markdown, "\x1b\u202e") {
				t.Error("control characters come through")
			}
		})
	}
}
