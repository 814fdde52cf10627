package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAnswersThatCannotBe: what cannot be is asked again at once, not refused
// after the last question.
func TestAnswersThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.person("alice")
	answers := strings.Join([]string{
		"@alice, bob", "3", "2", "1", "30", "30", "10", // root: three of two; a life of one day; no life before the signing period
		"", "", "", "", // targets, as root
		"file2:online.pem", "7", "7", "3", "20", "", // snapshot, with a default that fits
		"yes",
	}, "\n") + "\n"
	a := w.run("alice", answers, "init", "sign/first")
	if a.status != 0 {
		t.Fatalf("status %d\n%s\n%s", a.status, a.stdout, a.stderr)
	}
	for _, want := range []string{
		`3 is too much: 2 at most. Again, Signatures that root needs (of 2) [1]: 2`,
		`1 is too little: 2 at least. Again, `,
		`30 is too much: 29 at most. Again, `,
		"Days before its expiry from which snapshot is signed again [10]: ",
	} {
		if !strings.Contains(a.stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, a.stderr)
		}
	}
	// Piped answers are shown where a terminal would echo them.
	if !strings.Contains(a.stderr, "tufops-sign: Signers of root [@alice]: @alice, bob\ntufops-sign: Signatures") {
		t.Errorf("questions do not stand on lines of their own:\n%s", a.stderr)
	}
}

// TestHelpfulRefusals: one sentence, and what to do.
func TestHelpfulRefusals(t *testing.T) {
	w := newWorld(t)
	w.person("alice")
	for _, c := range []struct {
		status int
		words  []string
		args   []string
	}{
		{2, []string{"such as sign/x.y\n"}, []string{"review", "sign/x..y"}},
		{2, []string{"such as sign/NAME\n"}, []string{"review", "sign/"}},
		{2, []string{"needs an online key", "hint: name it with --online-key URI"}, []string{"init", "sign/x", "--yes"}},
	} {
		w.refused(c.status, "alice", "", c.words, c.args...)
	}
	alice := w.people["alice"]
	alice.WriteFile(".tufops-sign.ini", "[settings]\nuser-name = alice\npull-remote = upsteam\npush-remote = origin\n")
	w.refused(1, "alice", "", []string{`git remote "upsteam" is not configured`, "hint: list remotes with git remote -v"}, "review", "sign/x")
	alice.WriteFile(".tufops-sign.ini", "[settings]\n")
	w.refused(1, "alice", "", []string{"user-name is missing", "hint: it looks like this:\n", "hint: [settings]\n"}, "review", "sign/x")

	bare := filepath.Join(t.TempDir(), "bare.git")
	alice.Run("clone", "-q", "--bare", w.upstream.Dir, bare)
	alice.Dir = bare
	if a := w.run("alice", "", "review", "sign/x"); a.status != 1 || !strings.Contains(a.stderr, "has no work tree") || !strings.Contains(a.stderr, "hint: run it in a clone") {
		t.Errorf("status %d, stderr %s", a.status, a.stderr)
	}
}

// TestReviewWords: a line is said once, and one day is a day.
func TestReviewWords(t *testing.T) {
	w := established(t)
	a := w.ok("alice", "delegate", "sign/x", "timestamp", "--timestamp-expiry-days", "7", "--timestamp-signing-days", "1")
	for _, want := range []string{"7 days, re-signed from 1 day before the end (was 2, 1)", "\n  signatures  0 of 2\n  awaited: ", "After that still awaited:\n  root: 1 of @bob\nSigned"} {
		if !strings.Contains(a.stdout, want) {
			t.Errorf("no %q in\n%s", want, a.stdout)
		}
	}
	// Where old and new root ask different people both are said.
	w.person("carol")
	w.ok("alice", "delegate", "sign/y", "root", "--signers", "alice,carol")
	w.ok("carol", "sign", "sign/y")
	a = w.ok("alice", "sign", "sign/y")
	if want := "After that still awaited:\n  root: 1 of @bob, as the known-good root asks\n"; !strings.Contains(a.stdout, want) {
		t.Errorf("no %q in\n%s", want, a.stdout)
	}
}
