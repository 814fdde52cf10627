package signingevent_test

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

// TestOverridden: what a commit claims stands in both reports as a claim, and breaks
// out of neither.
func TestOverridden(t *testing.T) {
	s := &repository.Status{Event: "sign/x", Overridden: []repository.Override{{
		Commit: strings.Repeat("ab", 20), Author: "@all\x1b[1m", Rule: "foreign-change", Reason: "<b> @carol [x](//y) `z`\u202e",
	}}}
	text, markdown := signingevent.Text(s), signingevent.Markdown(s)
	for _, want := range []string{
		"Commit abababababab, by @all\\x1b[1m, says that they signed in spite of foreign-change; nothing is decided by that\n    reason: <b> @carol [x](//y) `z`\\u202e\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if !strings.Contains(markdown, "says that they signed in spite of `foreign-change` (") || !strings.Contains(markdown, "Nothing is decided by that.\n") {
		t.Errorf("the Markdown lacks it:\n%s", markdown)
	}
	for _, bad := range []string{"@all", "@carol", "<b>", "](", "`z`", "\x1b", "\u202e"} {
		if strings.Contains(markdown, bad) {
			t.Errorf("the Markdown has %q as it is:\n%s", bad, markdown)
		}
	}
}
