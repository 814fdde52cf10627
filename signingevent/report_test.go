package signingevent_test

import (
	"context"
	"flag"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

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
	} {
		t.Run(name, func(t *testing.T) {
			w := New(t)
			event(w)
			s := w.Status(repository.Policy{})
			text, markdown := signingevent.Text(s), signingevent.Markdown(s)
			golden(t, name+".txt", text)
			golden(t, name+".md", markdown)
		})
	}
}

// decided is a policy of each kind.
var decided = repository.Policy{Rules: map[string]repository.Decision{
	"threshold-of-one":    {Level: "off", Reason: "one maintainer, on purpose\x1b[1m | @all"},
	"expiry-too-far":      {Level: "warning", Reason: "yearly signing was agreed in #12 \u202e`"},
	"new-key-unproven":    {Level: "error", Reason: "everybody signs with what they bring"},
	"nested-delegation":   {Level: "off", Reason: "not needed here"},
	"artifact-unlisted":   {Level: "warning", Reason: "not broken here"},
	"online-roles-differ": {Level: "warning", Reason: "not broken here"},
}}

// TestDecisionsInReports: what main has decided about a rule is said with its
// reason, where it matters and nowhere else.
func TestDecisionsInReports(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s metadata.Object) {
		AddKey(s, "releases", "dave")
		s["expires"] = "2032-01-01T00:00:00Z"
	}).Sign("targets", "alice", "bob")
	s := w.Status(decided)
	golden(t, "decided.txt", signingevent.Text(s))
	golden(t, "decided.md", signingevent.Markdown(s))
	harmless(t, s)
}

// harmless looks for what must not come through a report, however it was put in.
func harmless(t *testing.T, s *repository.Status) {
	t.Helper()
	text, markdown := signingevent.Text(s), signingevent.Markdown(s)
	for _, r := range text + markdown {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U comes through", r)
		}
	}
	rows := 0
	for line := range strings.Lines(markdown) {
		outside := regexp.MustCompile("`[^`]*`|<br>|</?sub>|</?code>").ReplaceAllString(line, "")
		if m := regexp.MustCompile("(?i)@[a-z]|://|www\\.|#[0-9]|[<>\\[\\]`]").FindString(html.UnescapeString(strings.NewReplacer("&lt;", "", "&gt;", "", "&#91;", "", "&#93;", "", "&#96;", "").Replace(outside))); m != "" {
			t.Errorf("%q is live in: %s", m, line)
		}
		if strings.HasPrefix(line, "| ") {
			if rows++; strings.Count(line, "|") != 6 {
				t.Errorf("a row of the table has %d bars: %s", strings.Count(line, "|"), line)
			}
		}
	}
	if rows != len(s.Roles)+2 {
		t.Errorf("the table has %d rows, want %d", rows, len(s.Roles)+2)
	}
	for _, f := range s.AllFindings() {
		_, command, _ := strings.Cut(f.Hint, ": ")
		if !regexp.MustCompile(`^(tufops|git|cp) `).MatchString(command) {
			continue
		}
		words := regexp.MustCompile(`'[^']*'|\\'`).ReplaceAllString(command, "")
		if m := regexp.MustCompile("[$`;|&<>\"(){}!*?\\[\\]~#\n]").FindString(strings.TrimSuffix(strings.ReplaceAll(words, "(on branch )", ""), "; ")); m != "" {
			t.Errorf("%q reaches a shell in: %s", m, command)
		}
	}
}

// TestHostile: names and contents that try a terminal, Markdown, HTML and a
// shell, wherever a stranger's branch can put them.
func TestHostile(t *testing.T) {
	nasty := "x\x1b[31m\u202e|`@all` [a](//b.example) <img src=x onerror=alert(1)> ![i](j) \u2066\U000e0041 ';$(reboot)`reboot`&\n| --- |\n# h\n#1 GH-1 www.b.example :tada: $x$"
	named := func(w *World) {
		w.Edit("targets", func(s metadata.Object) {
			d := s["delegations"].(metadata.Object)
			d["roles"] = append(d["roles"].([]any),
				metadata.Object{"name": nasty, "keyids": []any{Key("carol").ID, nasty}, "threshold": int64(3), "terminating": true, "paths": []any{nasty}},
				metadata.Object{"name": "a;$(reboot)|b `c`", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"a;$(reboot)|b `c`/*"}})
		}).Sign("targets", "alice", "bob")
		w.WriteFile("metadata/a;$(reboot)|b `c`.json", w.ReadFile("metadata/releases.json"))
		w.Edit("a;$(reboot)|b `c`", func(s metadata.Object) { s["targets"] = metadata.Object{} })
	}
	for name, event := range map[string]func(w *World){
		"hostile": func(w *World) {
			w.Edit("targets", func(s metadata.Object) { List(s, nasty, "x") }).Sign("targets", "alice", "bob")
		},
		"hostile-roles": named,
		"hostile-owners": func(w *World) {
			w.Edit("root", func(s metadata.Object) {
				for name, field := range map[string]string{"dave": metadata.FieldKeyOwner, "online2": metadata.FieldOnlineURI} {
					k := metadata.Clone(Key(name).Object)
					k[field] = "@all" + nasty
					if field == metadata.FieldOnlineURI {
						k[field] = "gcpkms:" + nasty
					}
					id, _ := metadata.KeyID(k)
					Keys(s)[id] = k
					Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
				}
				Roles(s, "targets")["threshold"] = int64(4)
			}).Sign("root", "alice")
		},
		"hostile-contents": func(w *World) {
			w.Edit("targets", func(s metadata.Object) {
				s["spec_version"], s[nasty], s[strings.ToUpper(nasty)] = nasty, "x", "x"
				s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["hashes"].(metadata.Object)["sha256"] = nasty
			}).Sign("targets", "alice", "bob")
			w.WriteFile("metadata/releases.json", `{"signed": {"_type": "`+"\u202e<b>@all"+`"}}`)
			w.WriteFile("metadata/timestamp.json", nasty)
			w.WriteFile(repository.StateFile, `{"invites": {"@all[x](//b.example)": ["releases"]}}`)
			w.WriteFile("a`@all`|<b>;$(reboot).md", "x")
			w.WriteFile("metadata/$(reboot);`id`|.json", "{}")
			w.WriteFile("targets/releases/$(reboot)|`<b>", "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(t)
			event(w)
			w.Commit("event")
			e, err := w.Open().OpenEvent(context.Background(), repository.EventOptions{Name: "sign/a;$(reboot)|`@all`<b>", Head: "HEAD", Base: "main"})
			if err != nil {
				t.Fatal(err)
			}
			s, err := e.Status(context.Background(), w.Now, repository.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.AllFindings()) == 0 {
				t.Error("nothing is found: the test shows nothing")
			}
			golden(t, name+".txt", signingevent.Text(s))
			golden(t, name+".md", signingevent.Markdown(s))
			harmless(t, s)
		})
	}
}
