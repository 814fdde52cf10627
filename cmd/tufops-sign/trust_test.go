package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"html"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// commitArtifact puts an artifact on an event, with the metadata that
// update-targets would write for it.
func (w *world) commitArtifact(event, name string, data []byte) {
	w.t.Helper()
	ctx := context.Background()
	head := w.commitFiles(event, "change "+name, map[string][]byte{"targets/" + name: data})
	g, err := git.Open(ctx, w.upstream.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, w.tufDir)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := repo.OpenEvent(ctx, repository.EventOptions{Name: event, Head: "refs/heads/" + event, Base: "refs/heads/main"})
	if err != nil {
		w.t.Fatal(err)
	}
	edit, err := e.Proposed.Edit(ctx, e.KnownGood, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := edit.SyncTargets(ctx, "targets"); err != nil {
		w.t.Fatal(err)
	}
	changes, err := edit.Changes(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	commit, err := g.WriteCommit(ctx, git.CommitOptions{Parent: git.OID(head), Changes: changes, Message: "Update targets metadata for role targets", Signoff: true, When: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.UpdateRef(ctx, "refs/heads/"+event, commit, git.OID(head)); err != nil {
		w.t.Fatal(err)
	}
}

// TestUnreadableTrustedRoot is what happened on staging on 2025-08-13: a trusted
// root with a time without its T. Then two people signed it and it was merged.
// Here the event cannot become complete, its pull request says why in one line,
// nobody can sign, and a mended file heals it.
func TestUnreadableTrustedRoot(t *testing.T) {
	w := established(t)
	w.commitArtifact("sign/first", "trusted_root.json", trustroottest.Bytes(trustroottest.Root()))
	w.ok("alice", "sign", "sign/first")
	w.ok("bob", "sign", "sign/first")
	w.merge("sign/first")
	w.commitFiles("main", "mistakes in trust material stop an event", map[string][]byte{repository.PolicyFile: []byte("trust-material: enforced\n")})

	next := trustroottest.Root()
	trustroottest.Add(next, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-02-01T00:00:00Z"))
	trustroottest.At(next, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-03-23T00:00:00Z"
	good := trustroottest.Bytes(next)
	bad := bytes.Replace(good, []byte("2026-03-23T00"), []byte("2026-03-23:00"), 1)
	w.commitArtifact("sign/x", "trusted_root.json", bad)

	_, s := w.event("sign/x")
	if s.Complete || !s.Failed() {
		t.Errorf("the event is complete: %v, failed: %v", s.Complete, s.Failed())
	}
	const why = `ctlogs[0].publicKey.validFor.end is "2026-03-23:00:00:00Z", not a time`
	once := func(report string) int {
		n := 0
		for line := range strings.Lines(strings.ReplaceAll(html.UnescapeString(report), "\u200b", "")) { // as it is seen
			if strings.Contains(line, why) && strings.Contains(line, "error") {
				n++
			}
		}
		return n
	}
	text := signingevent.Markdown(s) // of the pull request
	if once(text) != 1 || once(signingevent.Text(s)) != 1 || !strings.Contains(text, "DO NOT SIGN: clients cannot read this file.") || !strings.Contains(text, "`trusted-root/unreadable`") {
		t.Errorf("the reports say why on %d and %d lines:\n%s", once(text), once(signingevent.Text(s)), text)
	}
	review := w.run("alice", "", "review", "sign/x")
	if !strings.Contains(review.stdout, "DO NOT SIGN: clients cannot read this file.") || !strings.Contains(review.stdout, "The errors above must be fixed before anybody signs.") {
		t.Errorf("the review says\n%s%s", review.stdout, review.stderr)
	}
	for _, name := range []string{"alice", "bob"} {
		w.refused(1, name, "", []string{"sign/x"}, "sign", "sign/x", "--yes")
	}

	w.commitArtifact("sign/x", "trusted_root.json", good)
	sum := sha256.Sum256(good)
	review = w.run("alice", "", "review", "sign/x")
	for _, want := range []string{
		"~ WINDOW CT log https://ctfe.example.test/2025", "closes in 22 days: later signatures will not verify",
		"+ ADDED CT log https://ctfe.example.test/2026", "= 4 entries unchanged", "sha256 " + hex.EncodeToString(sum[:]),
	} {
		if !strings.Contains(strings.Join(strings.Fields(review.stdout), " "), want) {
			t.Errorf("the review lacks %q:\n%s", want, review.stdout)
		}
	}
	w.ok("alice", "sign", "sign/x")
	w.ok("bob", "sign", "sign/x")
	if _, s := w.event("sign/x"); !s.Complete {
		t.Errorf("mended and signed, the event is not complete:\n%s", signingevent.Text(s))
	}
	w.merge("sign/x")
	if !bytes.Equal(bytes.TrimSpace(w.file("main", "targets/trusted_root.json")), bytes.TrimSpace(good)) {
		t.Error("main holds another file")
	}
}
