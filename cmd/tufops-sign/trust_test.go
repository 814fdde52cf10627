package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/github"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// bot is what CI does on a GitHub that keeps the world's upstream.
type bot struct {
	w     *world
	gh    *githubtest.Server
	token string
	runs  int
}

func newBot(w *world) *bot {
	const workflow = "signing-event.yml"
	gh := githubtest.New(w.t, githubtest.Options{Dir: w.upstream.Dir, Settings: githubtest.Settings{Workflows: []string{workflow}}})
	return &bot{w: w, gh: gh, token: gh.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All()})}
}

// look runs the workflow for a push to an event, in a fresh checkout.
func (b *bot) look(event string) *repository.Status {
	t := b.w.t
	t.Helper()
	env := map[string]string{
		"GITHUB_REPOSITORY": b.gh.Owner + "/" + b.gh.Repo, "GITHUB_API_URL": b.gh.URL, "GITHUB_GRAPHQL_URL": b.gh.GraphQLURL,
		"GITHUB_TOKEN": b.token, "TUFOPS_DEFAULT_TOKEN": b.token,
	}
	f, err := github.FromEnv(func(name string) string { return env[name] }, github.Options{Now: func() time.Time { return b.w.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.runs++
	g, err := git.Open(t.Context(), b.w.upstream.Clone(fmt.Sprintf("run-%d", b.runs), "--branch", event).Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	done, err := signingevent.Drive(context.Background(), signingevent.DriveOptions{
		Options: signingevent.Options{Repository: repo, Now: b.w.now, Remote: "origin"},
		Base:    "origin/main", Workflow: "signing-event.yml", Forge: f, CompareURL: f.CompareURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	return done.Status
}

// seen is the one pull request, and its one comment as people see it.
func (b *bot) seen() (githubtest.Pull, string) {
	b.w.t.Helper()
	pulls := b.gh.Pulls()
	if len(pulls) != 1 {
		b.w.t.Fatalf("%d pull requests, want one", len(pulls))
	}
	for _, c := range b.gh.Comments(pulls[0].Number) {
		if strings.Contains(c.Body, "Signing event") {
			return pulls[0], strings.ReplaceAll(html.UnescapeString(c.Body), "\u200b", "")
		}
	}
	b.w.t.Fatal("the pull request has no status comment")
	return githubtest.Pull{}, ""
}

// TestUnreadableTrustedRoot is what happened on staging on 2025-08-13: a trusted
// root with a time without its T. Then two people signed it and it was merged.
// Here nobody has decided anything about trust material, and all the same the
// event cannot become complete, its pull request says why in one line, nobody can
// sign, and a mended file heals it.
func TestUnreadableTrustedRoot(t *testing.T) {
	w := established(t)
	w.commitFiles("main", "trust material", map[string][]byte{"targets/trusted_root.json": trustroottest.Bytes(trustroottest.Root())})
	b := newBot(w)

	next := trustroottest.Root()
	trustroottest.Add(next, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2026", "ecdsa", "2026-02-01T00:00:00Z"))
	trustroottest.At(next, "ctlogs", 0, "publicKey", "validFor")["end"] = "2026-03-23T00:00:00Z"
	good := trustroottest.Bytes(next)
	bad := bytes.Replace(good, []byte("2026-03-23T00"), []byte("2026-03-23:00"), 1)
	w.commitFiles("sign/x", "close a log", map[string][]byte{"targets/trusted_root.json": bad})

	const why = `ctlogs[0].publicKey.validFor.end is "2026-03-23:00:00:00Z", not a time`
	s := b.look("sign/x")
	if s.Complete || !s.Failed() || s.Roles[0].Version != 2 {
		t.Errorf("complete: %v, failed: %v, role %+v", s.Complete, s.Failed(), s.Roles[0])
	}
	pull, comment := b.seen()
	lines := 0
	for line := range strings.Lines(comment) {
		if strings.Contains(line, why) && strings.Contains(line, "error") {
			lines++
		}
	}
	if !pull.Draft || lines != 1 || !strings.Contains(comment, "DO NOT SIGN: clients cannot read this file.") || !strings.Contains(comment, "`trusted-root/unreadable`") {
		t.Errorf("draft: %v; the comment says why on %d lines, want one:\n%s", pull.Draft, lines, comment)
	}
	if got := b.gh.Statuses(pull.HeadSHA); len(got) != 1 || got[0].State != "failure" {
		t.Errorf("the commit status is %+v, want failure", got)
	}
	review := w.run("alice", "", "review", "sign/x")
	if !strings.Contains(review.stdout, "DO NOT SIGN: clients cannot read this file.") || !strings.Contains(review.stdout, "The errors above must be fixed before anybody signs.") {
		t.Errorf("the review says\n%s%s", review.stdout, review.stderr)
	}
	for _, name := range []string{"alice", "bob"} {
		w.refused(1, name, "", []string{"sign/x"}, "sign", "sign/x", "--yes")
	}
	// Whoever has signed with another tool brings nobody else to sign.
	doc := w.document("sign/x", "targets")
	for _, name := range []string{"alice", "bob"} {
		var err error
		if doc, err = doc.WithSignature(w.keyObject(name, "@"+name).ID, w.signature(name, doc.Payload())); err != nil {
			t.Fatal(err)
		}
	}
	w.commitFiles("sign/x", "signed elsewhere", map[string][]byte{"metadata/targets.json": doc.Bytes()})
	w.refused(1, "alice", "", []string{"sign/x"}, "sign", "sign/x", "--yes", "--again")

	w.commitFiles("sign/x", "mend it", map[string][]byte{"targets/trusted_root.json": good})
	b.look("sign/x")
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
	if s := b.look("sign/x"); !s.Complete {
		t.Errorf("mended and signed, the event is not complete:\n%s", signingevent.Text(s))
	}
	pull, comment = b.seen()
	if now, _, _ := strings.Cut(comment, "<details>"); pull.Draft || strings.Contains(now, "DO NOT SIGN") || !strings.Contains(now, "It can be merged.") {
		t.Errorf("draft: %v, comment:\n%s", pull.Draft, comment)
	}
	w.merge("sign/x")
	if !bytes.Equal(bytes.TrimSpace(w.file("main", "targets/trusted_root.json")), bytes.TrimSpace(good)) {
		t.Error("main holds another file")
	}
}
