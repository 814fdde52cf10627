package main

import (
	"strings"
	"testing"
)

// TestLoweredSinceLastSigned: who signs is shown what main has lowered since they
// signed last, once; a change of it again; and never what an event says.
func TestLoweredSinceLastSigned(t *testing.T) {
	const heading = "  since you last signed here, .tufops.yaml on main\n"
	w := established(t)
	policy := func(text string) {
		w.commitFiles("main", "a policy", map[string][]byte{".tufops.yaml": []byte(text)})
	}
	shows := func(who string, want ...string) {
		t.Helper()
		a := w.run(who, "", "review", "sign/x")
		if strings.Contains(a.stdout, heading) != (len(want) > 0) {
			t.Errorf("%s is shown:\n%s%s", who, a.stdout, a.stderr)
		}
		for _, line := range want {
			if !strings.Contains(a.stdout, line) {
				t.Errorf("%s is not shown %q:\n%s", who, line, a.stdout)
			}
		}
	}
	policy("rules:\n  threshold-of-one: {level: off, reason: \"one maintainer \\e[31m\"}\n  new-key-unproven: {level: error}\n")
	w.targetsEvent("sign/x")
	shows("alice", heading+"    silences threshold-of-one: one maintainer \\x1b[31m\n")
	shows("alice", heading) // to look is not to sign
	shows("bob")            // who has signed under it
	w.ok("alice", "sign", "sign/x")
	shows("alice")
	w.merge("sign/x")

	policy("rules:\n  threshold-of-one: {level: off, reason: two are on leave}\n  expired: {level: warning, reason: a drill}\n")
	w.ok("bob", "delegate", "sign/x", "targets", "--expiry-days", "70")
	shows("alice", heading+"    lowers expired to a warning: a drill\n    silences threshold-of-one: two are on leave\n")
	w.commitFiles("sign/x", "another policy", map[string][]byte{".tufops.yaml": []byte("rules: {key-unused: {level: off, reason: x}}\n")})
	if a := w.run("alice", "", "review", "sign/x"); strings.Contains(a.stdout, "silences key-unused") || !strings.Contains(a.stdout, "foreign-change") {
		t.Errorf("the event's own policy:\n%s", a.stdout)
	}
	w.refused(1, "alice", "", []string{"foreign-change"}, "sign", "sign/x", "--yes")
	shows("alice", heading+"    lowers expired to a warning: a drill\n")

	// What is silenced is counted where it would have stood.
	w.ok("bob", "delegate", "sign/y", "crew", "--signers", "bob")
	if a := w.run("alice", "", "review", "sign/y"); !strings.Contains(a.stdout, "\nNot shown, by .tufops.yaml on main: 1 of threshold-of-one: two are on leave\n") {
		t.Errorf("alice is shown:\n%s%s", a.stdout, a.stderr)
	}
}
