package signingevent_test

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
)

// TestAttestations: what keys/ says of a key stands in both reports, and nothing
// in it breaks out of its place.
func TestAttestations(t *testing.T) {
	s := &repository.Status{Event: "sign/x", Roles: []repository.RoleStatus{{
		Role: "root", Version: 2, PreviousVersion: 1, Threshold: 1,
		Attestations: []repository.KeyAttestation{
			{KeyID: "0123456789abcdef", Owner: "@alice", Holds: true, Text: "YubiKey 7 (firmware 5.4.3), slot 9c, PIN always, touch always", Note: "it is old"},
			{KeyID: "fedcba9876543210", Owner: "@b\x1b[1m_ob_", Text: "its issuer calls itself \"<b>\n@carol\""},
		},
	}}}
	text, markdown := signingevent.Text(s), signingevent.Markdown(s)
	for _, want := range []string{
		"  attested    @alice (key 01234567): YubiKey 7 (firmware 5.4.3), slot 9c, PIN always, touch always\n                  it is old\n",
		"(key fedcba98): not attested: its issuer calls itself",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, "<b>\n") {
		t.Errorf("the text holds what a stranger wrote as it is:\n%s", text)
	}
	if !strings.Contains(markdown, "Attestations of the keys of `root`:\n\n* ") || !strings.Contains(markdown, "<br>it is old\n* ") {
		t.Errorf("the Markdown lacks the attestations:\n%s", markdown)
	}
	if strings.Contains(markdown, "<b>") || strings.Contains(markdown, "\n@carol") {
		t.Errorf("the Markdown holds what a stranger wrote as it is:\n%s", markdown)
	}
}
