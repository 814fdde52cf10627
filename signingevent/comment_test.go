package signingevent_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// TestComments: the comment that README shows, and the call beside it.
func TestComments(t *testing.T) {
	w := New(t)
	before := trustroottest.Root()
	after := trustroottest.Root()
	trustroottest.Add(after, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2031", "ecdsa", "2031-01-01T00:00:00Z"))
	trustroottest.At(after, "ctlogs", 0, "publicKey", "validFor")["end"] = "2031-03-01T00:00:00Z"
	trustedRoot := string(trustroottest.Bytes(after))
	w.OnMain(func() {
		w.Artifact("trusted_root.json", string(trustroottest.Bytes(before)))
		w.Edit("targets", func(s metadata.Object) { List(s, "trusted_root.json", string(trustroottest.Bytes(before))) }).Sign("targets", "alice", "bob", "carol")
		w.Edit("root", func(s metadata.Object) {
			Roles(s, "targets")["threshold"] = int64(3)
		}).Sign("root", "alice", "bob")
	})
	w.Run("reset", "-q", "--hard", "main")
	policy := repository.Policy{}
	var states []*repository.Status
	var times []time.Time
	show := func(hours int) {
		w.Commit("event")
		states = append(states, w.Status(policy))
		times = append(times, Start.Add(time.Duration(hours)*time.Hour))
	}
	w.Artifact("trusted_root.json", trustedRoot)
	show(0)
	w.Edit("targets", func(s metadata.Object) {
		List(s, "trusted_root.json", trustedRoot)
	})
	show(0)
	w.Sign("targets", "alice")
	show(5)
	w.Sign("targets", "carol")
	show(30)
	// The keys of the logs are others in each run.
	steady := func(text string) string {
		text = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(text, strings.Repeat("6494e21e", 8))
		text = regexp.MustCompile(`\d{4} bytes`).ReplaceAllString(text, "5040 bytes")
		text = regexp.MustCompile(`were \d{4}`).ReplaceAllString(text, "were 4510")
		return regexp.MustCompile(`[A-Za-z0-9+/]{43}=`).ReplaceAllString(text, "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0=")
	}
	golden(t, "comment.md", steady(signingevent.Shown(nil, times, states...)))
	golden(t, "call.md", signingevent.Called(states[len(states)-1]))
	golden(t, "note.md", steady(signingevent.Shown([]string{"The token may not set the commit status. It needs statuses: write."}, times[:1], states[2])))
}

// TestLongComments: what a forge takes is kept, whatever the branch holds, and
// the hidden line stays whole.
func TestLongComments(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s metadata.Object) {
		for i := range 1500 {
			List(s, strings.Repeat("ä", 60)+string(rune('a'+i%26))+strings.Repeat("x", i/26), "x")
		}
	})
	w.Commit("event")
	s := w.Status(repository.Policy{})
	body := signingevent.Shown(nil, []time.Time{Start}, s)
	if n := utf8.RuneCountInString(body); n > 65_000 {
		t.Errorf("%d characters", n)
	}
	for _, want := range []string{"All of it: `tufops status`", `<!-- tufops:status {"since":"2030-01-01T00:00:00Z","commit":"` + s.Commit, "-->\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in the last 600 bytes %q", want, body[len(body)-600:])
		}
	}
	if strings.Count(body, "\n")-strings.Count(signingevent.Markdown(s), "\n") > 10 {
		t.Error("not cut at the end of a line")
	}
}

// TestFullComments: what strangers, git and people who edit our comment can make
// long is cut, and what matters most goes last.
func TestFullComments(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s metadata.Object) {
		for i := range 300 {
			List(s, strings.Repeat("#", i), "x")
		}
	})
	w.Commit("event")
	s := w.Status(repository.Policy{})
	long := strings.Repeat("#", 20_000)
	edited := signingevent.Shown(nil, []time.Time{Start}, s)
	edited = edited[:strings.LastIndex(edited, `"summary":"`)] + `"summary":"` + long + `","awaited":"` + long + `"} -->`
	for name, body := range map[string]string{
		"notes":         signingevent.Shown([]string{long, long, long, "a", "b", "c", long, long, long, long, long}, []time.Time{Start}, s),
		"edited":        signingevent.After(edited, Start, s),
		"edited, notes": signingevent.After(edited, Start, s, long, long, long, long),
	} {
		if n := utf8.RuneCountInString(body); n > 65_000 {
			t.Errorf("%s: %d characters", name, n)
		}
		if !strings.HasPrefix(body, "### ") || !strings.Contains(body, "| `targets` |") && !strings.Contains(body, " `targets` | v1") || !strings.HasSuffix(body, " -->\n") {
			t.Errorf("%s: the role or the hidden line is missing: %.300q ... %q", name, body, body[len(body)-100:])
		}
		if again := signingevent.After(body, Start, s); !strings.Contains(again, s.Commit) {
			t.Errorf("%s: the hidden line is no longer legible", name)
		}
	}
}

// TestLogins: who can be mentioned.
func TestLogins(t *testing.T) {
	for name, want := range map[string]bool{
		"@alice": true, "@Alice-B": true, "@a": true, "@" + strings.Repeat("a", 39): true, "@jku_acme": true, "@a-b_c1": true,
		"alice": false, "@": false, "@" + strings.Repeat("a", 40): false, "@-a": false, "@a-": false, "@a--b": false, "@org/team": false,
		"@a_b_c": false, "@_a": false, "@a_": false, "@a-_b": false, "@a_b-c": false, "@größe": false, "@a b": false,
		"@" + strings.Repeat("a", 35) + "_acm": true, "@" + strings.Repeat("a", 35) + "_acme": false,
	} {
		if got := signingevent.Login(name); got != want {
			t.Errorf("%s is a login: %v", name, got)
		}
	}
}
