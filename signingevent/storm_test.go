package signingevent_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// TestNoStorm: whatever a branch holds, the bot's second run on it changes nothing.
// Each push of the bot starts the next run, so a branch of which that is not true
// would keep runners at work until somebody removes it.
func TestNoStorm(t *testing.T) {
	pushed := 0
	for name, spoil := range map[string]func(w *World){
		"odd names": func(w *World) {
			for _, name := range []string{"a\nb", `a"b`, `a\b`, "a\u2028b", "e\u0301", "\u00e9", "-x", " x ", "%2e", "targets.json", "a\x01b", "a\x7fb", "\U0001F600"} {
				w.Artifact(name, name).Artifact("releases/"+name, name)
			}
		},
		"a name that is not UTF-8": func(w *World) { w.Artifact("a\xffb", "x").Artifact("releases/x", "x") },
		"more hashes": func(w *World) {
			w.Artifact("b.txt", "b")
			w.Edit("targets", func(s metadata.Object) {
				List(s, "b.txt", "b")
				entry := s["targets"].(metadata.Object)["b.txt"].(metadata.Object)
				entry["hashes"].(metadata.Object)["sha512"] = "00"
				entry["length"] = int64(1)
				entry["custom"] = nil
			})
		},
		"a link, a submodule's place, an executable": func(w *World) {
			w.Artifact("b.txt", "b")
			for link, to := range map[string]string{"targets/link": "b.txt", "targets/releases/out": "../../metadata/root.json", "targets/dir": "releases"} {
				if err := os.Symlink(to, filepath.Join(w.Dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(filepath.Join(w.Dir, "targets/b.txt"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"line endings and filters": func(w *World) {
			w.WriteFile(".gitattributes", "* text=auto eol=crlf\n*.txt ident filter=lfs\n*.json eol=crlf merge=union\n")
			w.Artifact("b.txt", "one\r\ntwo\n$Id$\n").Artifact("c", "one\ntwo\r\n")
		},
		"a role twice": func(w *World) {
			w.Artifact("releases/x", "x")
			w.Edit("targets", func(s metadata.Object) {
				delegations := s["delegations"].(metadata.Object)
				roles := delegations["roles"].([]any)
				delegations["roles"] = append(roles, roles[0], metadata.Object{"name": "targets", "keyids": []any{}, "threshold": int64(1), "terminating": true, "paths": []any{"*"}})
			})
		},
		"a role that delegates to itself": func(w *World) {
			w.Artifact("releases/x", "x")
			w.Edit("releases", func(s metadata.Object) {
				s["delegations"] = metadata.Clone(w.Tree("targets")["signed"].(metadata.Object))["delegations"]
			})
		},
		"an odd layout": func(w *World) {
			w.Artifact("b.txt", "b")
			w.WriteFile("metadata/targets.json", "\ufeff"+w.ReadFile("metadata/targets.json"))
		},
		"versions at the end of numbers": func(w *World) {
			w.Artifact("b.txt", "b")
			w.Edit("targets", func(s metadata.Object) { s["version"] = int64(1<<63 - 1) })
		},
		"periods of any size": func(w *World) {
			w.Artifact("b.txt", "b")
			w.Edit("targets", func(s metadata.Object) {
				s["x-tuf-on-ci-expiry-period"] = int64(1 << 40)
				s["expires"] = "9999-12-31T23:59:59Z"
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := upstream(t, spoil)
			for run := range 3 {
				before := u.Head(Event)
				done, err := signingevent.UpdateTargets(context.Background(), bot(t, u, []string{"a", "b", "c"}[run], Event, Start))
				if moved := u.Head(Event) != before; run > 0 && moved || done.Pushed != moved || err != nil && moved {
					t.Fatalf("run %d: pushed %v, moved %v, roles %q, %v", run, done.Pushed, moved, done.Roles, err)
				}
				if done.Pushed {
					pushed++
				}
			}
		})
	}
	if pushed < 5 {
		t.Errorf("of the branches only %d gave the bot something to do", pushed)
	}
}
