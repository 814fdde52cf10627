package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// root is the root of a revision, changed and signed anew by some people, as the
// files that hold it.
func (w *world) root(rev string, change func(signed metadata.Object), people ...string) map[string][]byte {
	w.t.Helper()
	doc, err := metadata.Parse(w.edited(rev, "root", change))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range people {
		if doc, err = doc.WithSignature(w.keyObject(name, "@"+name).ID, w.signature(name, doc.Payload())); err != nil {
			w.t.Fatal(err)
		}
	}
	return map[string][]byte{
		"metadata/root.json": doc.Bytes(), fmt.Sprintf("metadata/root_history/%d.root.json", doc.Version()): doc.Bytes(),
	}
}

// next changes nothing but version and, so that versions can differ, the expiry.
func next(version int64, expires string) func(metadata.Object) {
	return func(o metadata.Object) { o["version"], o["expires"] = version, expires }
}

// reset moves main of the upstream, whatever is there.
func (w *world) reset(commit string) {
	w.t.Helper()
	w.upstream.Run("update-ref", "refs/heads/main", commit)
}

const reviewFirst = "warning: this machine has never seen a root of this repository"

func TestKnownGoodRoot(t *testing.T) {
	w := established(t)
	one := w.upstream.Head("main")
	w.targetsEvent("sign/x")
	review := func() answer { w.t.Helper(); return w.ok2("alice", "review", "sign/x") }
	flat := func(a answer) string { return strings.Join(strings.Fields(a.stdout), " ") }

	// The first root is taken as it is, with a word about that, once.
	sum := payloadDigest(w.document("main", "root"))
	if got := flat(review()); !strings.Contains(got, reviewFirst+", and takes v1 of main, sha256 "+sum) {
		t.Errorf("first use:\n%s", got)
	}
	if got := flat(review()); strings.Contains(got, reviewFirst) || !strings.Contains(got, "root v1 of main is the one that this machine saw on 2026-03-01") {
		t.Errorf("second use:\n%s", got)
	}
	w.now = w.now.Add(48 * time.Hour)
	two := w.commitFiles("main", "root 2", w.root("main", next(2, "2027-01-01T00:00:00Z"), "alice", "bob"))
	if got := flat(review()); !strings.Contains(got, "root v2 of main follows v1, which this machine saw on 2026-03-01") {
		t.Errorf("a newer root:\n%s", got)
	}
	seen := "this machine saw version 2, sha256 " + payloadDigest(w.document("main", "root")) + ", on 2026-03-03"

	// What each of these leaves on main, a machine that has seen v2 refuses. It
	// says so before it shows anything, for every command.
	files := func(at string, f map[string][]byte) func() string {
		return func() string { w.reset(at); return w.commitFiles("main", "x", f) }
	}
	for _, c := range []struct {
		name  string
		main  func() string
		words string
	}{
		{"rolled back", func() string { return one }, "it is version 1, older than what was seen: " + seen},
		{"forked", files(one, w.root(one, next(2, "2027-06-06T00:00:00Z"), "alice", "bob")), "its version 2 is another one, sha256 "},
		{"forked and gone on", func() string {
			files(one, w.root(one, next(2, "2027-06-06T00:00:00Z"), "alice", "bob"))()
			return w.commitFiles("main", "x", w.root("main", next(3, "2027-06-06T00:00:00Z"), "alice", "bob"))
		}, "its version 2 is another one, sha256 "},
		{"unchained", files(two, w.root(two, next(3, "2027-06-06T00:00:00Z"), "alice")), "root version 3 breaks the root chain"},
		{"without its history", files(two, map[string][]byte{"metadata/root_history/1.root.json": nil, "metadata/root_history/2.root.json": nil}), "cannot be trusted"},
		{"removed", files(two, map[string][]byte{
			"metadata/root.json": nil, "metadata/targets.json": nil, "metadata/root_history/1.root.json": nil, "metadata/root_history/2.root.json": nil,
		}), "there is none, but " + seen},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.reset(c.main())
			for _, args := range [][]string{{"review", "sign/x"}, {"sign", "sign/x", "--yes"}, {"delegate", "sign/new", "targets", "--expiry-days", "70", "--yes"}} {
				a := w.refused(1, "alice", "", []string{"the root on main of remote origin cannot be trusted: ", c.words, "hint: sign nothing"}, args...)
				if a.stdout != "" {
					t.Errorf("%v: shows a review all the same:\n%s", args, a.stdout)
				}
			}
		})
	}
	w.t = t
	w.reset(two)
	w.ok("alice", "sign", "sign/x")
	// A history that begins later is no chain from what was seen.
	w.reset(two)
	w.commitFiles("main", "root 3", w.root("main", next(3, "2027-06-06T00:00:00Z"), "alice", "bob"))
	w.commitFiles("main", "cut", map[string][]byte{"metadata/root_history/1.root.json": nil, "metadata/root_history/2.root.json": nil})
	w.refused(1, "alice", "", []string{"its chain begins at version 3 and does not lead from what was seen: " + seen}, "review", "sign/x")
	// Another machine does not know better; it says that it does not.
	if a := w.run("bob", "", "review", "sign/x"); strings.Contains(a.stdout, "this machine saw version 2") {
		t.Errorf("bob's machine knows what it has not seen:\n%s", a.stdout)
	}
}

// The known-good root of an event must lie on main's chain, also for who has seen
// neither.
func TestKnownGoodRootOffTheChain(t *testing.T) {
	w := established(t)
	one := w.upstream.Head("main")
	fork := w.commitFiles("main", "fork", w.root(one, next(2, "2027-06-06T00:00:00Z"), "alice", "bob"))
	w.targetsEvent("sign/x")
	w.commitFiles("main", "the other", w.root(one, next(2, "2027-01-01T00:00:00Z"), "alice", "bob"))
	if w.upstream.Run("merge-base", "main", "sign/x") != fork {
		t.Fatal("the event does not begin at the fork")
	}
	w.refused(1, "alice", "", []string{"the known-good root of event sign/x, version 2, sha256 ", "does not lie on its chain of versions 1 to 2"}, "sign", "sign/x", "--yes")
}

// A remote that is another repository altogether, under the URL of the one that
// was seen.
func TestHostileRemote(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	w.ok2("alice", "review", "sign/x")
	other := newWorld(t)
	other.person("mallory")
	other.ok("mallory", "init", "sign/init", "--online-key", "file2:online.pem")
	other.merge("sign/init")
	other.ok("mallory", "delegate", "sign/x", "targets", "--expiry-days", "70")
	if err := os.Rename(w.upstream.Dir, w.upstream.Dir+".was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other.upstream.Dir, w.upstream.Dir); err != nil {
		t.Fatal(err)
	}
	w.refused(1, "alice", "", []string{"its version 1 is another one, sha256 ", "this machine saw version 1, sha256 "}, "sign", "sign/x", "--yes")
}

// What the person has signed themselves needs no other proof.
func TestFirstRootIsOnesOwn(t *testing.T) {
	w := newWorld(t)
	w.person("alice")
	w.ok("alice", "init", "sign/init", "--online-key", "file2:online.pem")
	w.merge("sign/init")
	a := w.ok("alice", "delegate", "sign/x", "targets", "--expiry-days", "70")
	if got := strings.Join(strings.Fields(a.stdout), " "); strings.Contains(got, reviewFirst) || !strings.Contains(got, "root v1 of main is the one that you signed on 2026-03-01") {
		t.Errorf("alice is shown:\n%s", got)
	}
}

// Who has signed another payload of the same version is told, with date and
// event.
func TestAnotherPayloadOfASignedVersion(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	w.ok("alice", "sign", "sign/x")
	signed := payloadDigest(w.document("sign/x", "targets"))
	w.now = w.now.Add(24 * time.Hour)
	w.ok("bob", "delegate", "sign/y", "targets", "--expiry-days", "90")
	want := "warning: on 2026-03-01 you signed another targets v2, in sign/x: sha256 " + signed
	for _, args := range [][]string{{"review", "sign/y"}, {"sign", "sign/y", "--yes"}} {
		a := w.run("alice", "", args...)
		if got := strings.Join(strings.Fields(a.stdout), " "); a.status != 0 || !strings.Contains(got, want) {
			t.Errorf("%v: status %d, alice is shown:\n%s%s", args, a.status, a.stdout, a.stderr)
		}
	}
	if a := w.ok2("bob", "review", "sign/x"); strings.Contains(a.stdout, "you signed another") {
		t.Errorf("bob has signed nothing twice:\n%s", a.stdout)
	}
}

// What is damaged is said, and never taken for nothing.
func TestDamagedMemory(t *testing.T) {
	w := established(t)
	w.targetsEvent("sign/x")
	w.ok2("alice", "review", "sign/x")
	found, err := filepath.Glob(filepath.Join(w.state("alice"), "tufops-sign", "*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	if st, err := os.Stat(found[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for _, text := range []string{"", "{", `{"schema": 2, "remote": ""}`} {
		if err := os.WriteFile(found[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.refused(1, "alice", "", []string{"what this machine remembers, " + found[0], "tufops-sign setup --root-sha256"}, "sign", "sign/x", "--yes")
	}
}

// The root that clients get is compared, too.
func TestPublishedRoot(t *testing.T) {
	w := established(t)
	one := w.upstream.Head("main")
	two := w.commitFiles("main", "root 2", w.root("main", next(2, "2027-01-01T00:00:00Z"), "alice", "bob"))
	w.targetsEvent("sign/x")
	dir := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	publish := func(version int, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.root.json", version)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	publish(1, w.file(one, "metadata/root.json"))
	publish(2, w.file(two, "metadata/root.json"))
	alice := w.people["alice"]
	ini := alice.ReadFile(".tufops-sign.ini")
	alice.WriteFile(".tufops-sign.ini", ini+"metadata-url = "+server.URL+"/\n")
	flat := func(words string) {
		t.Helper()
		a := w.ok2("alice", "review", "sign/x")
		if got := strings.Join(strings.Fields(a.stdout), " "); !strings.Contains(got, words) || strings.Contains(got, reviewFirst) {
			t.Errorf("is shown, without %q:\n%s", words, a.stdout)
		}
	}
	flat("root v2 of main is the one at " + server.URL)
	// What is merged is not published yet.
	three := w.commitFiles("main", "root 3", w.root("main", next(3, "2027-02-01T00:00:00Z"), "alice", "bob"))
	flat("root v2 of main is the one at " + server.URL)
	// Garbage from whoever holds the server delays nobody, and is told.
	publish(4, w.root(three, next(4, "2027-02-01T00:00:00Z"), "alice")["metadata/root.json"])
	flat("has a root v4 that v3 does not vouch for")
	publish(4, w.root(three, next(4, "2027-02-01T00:00:00Z"), "alice", "bob")["metadata/root.json"])
	w.refused(1, "alice", "", []string{"it is version 3, older than what clients get", "has version 4, sha256 "}, "sign", "sign/x", "--yes")
	os.Remove(filepath.Join(dir, "4.root.json"))
	publish(3, w.root(two, next(3, "2027-03-01T00:00:00Z"), "alice", "bob")["metadata/root.json"])
	w.refused(1, "alice", "", []string{"its version 3 has sha256 ", "clients get another one from " + server.URL}, "sign", "sign/x", "--yes")
	publish(3, []byte("{"))
	w.refused(1, "alice", "", []string{"version 3 at " + server.URL, "cannot be read"}, "sign", "sign/x", "--yes")
	server.Close()
	flat("was not compared")
	alice.WriteFile(".tufops-sign.ini", ini+"metadata-url = file://"+t.TempDir()+"\n")
	flat("has none of the newest roots of main")
}

func payloadDigest(doc *metadata.Document) string {
	return hexOf(sha256sum(string(doc.Payload())))
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }
