package onlinesign_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// signers are the URIs of the keys whose signature on a role's present metadata
// verifies, by whichever root declares them, in the order of the file.
func signers(t *testing.T, w *onlinesigntest.World, role string) []string {
	t.Helper()
	state := w.State()
	doc := w.Document(role)
	var list []string
	for _, s := range doc.Signatures() {
		uri := "none that verifies"
		for _, v := range state.RootVersions() {
			root, err := state.RootVersion(context.Background(), v)
			if err != nil {
				t.Fatal(err)
			}
			key := root.Delegations().Keys[s.KeyID]
			sig, err := s.Bytes()
			if key != nil && err == nil && key.Verify(doc.Payload(), sig) == nil {
				uri = key.OnlineURI
			}
		}
		list = append(list, uri)
	}
	return list
}

// After a rotation both roles are signed anew, by both keys: so that a client
// that knows only the old root updates to what goes out first, and one that
// knows the new root updates too. The versions after that are the new key's.
func TestRotation(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	old := map[string]string{} // clients that were there before
	update(t, w, old)
	w.Artifact("a.txt", "one", true) // due in the same run, and no reason to sign twice

	next := w.OnlineKey("next.pem")
	w.Rotate(next)
	r := w.Sign()
	if got, want := signedText(r), "snapshot 2 signature [targets.json:2], timestamp 2 signature [snapshot.json:2]"; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	if len(r.Warnings) > 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	both := []string{"file2:next.pem", "file2:online.pem"} // the outgoing key's is appended
	for _, s := range r.Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, both) || !slices.Equal(s.Keys, both) {
			t.Errorf("%s is signed by %q, the result says %q, want %q", s.Role, got, s.Keys, both)
		}
	}
	if err := w.Publish(); err != nil {
		t.Fatal(err)
	}
	// Between two writes: snapshot and timestamp are out, the new root is not.
	rootFile := filepath.Join(w.Site, "metadata", "2.root.json")
	root, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rootFile); err != nil {
		t.Fatal(err)
	}
	refresh(t, w, 1, old)
	refresh(t, w, 1, nil)
	if err := os.WriteFile(rootFile, root, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{1, 2} {
		refresh(t, w, version, nil)
	}
	refresh(t, w, 1, old)

	// Nothing more is due, and the next version is the new key's alone: even
	// where the outgoing key could still sign.
	if r := w.Sign(); len(r.Signed) > 0 {
		t.Errorf("a second run signed %q", signedText(r))
	}
	w.Wait(day)
	w.Artifact("a.txt", "two", true)
	for _, s := range w.Sign().Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, []string{"file2:next.pem"}) {
			t.Errorf("the second %s after the rotation is signed by %q", s.Role, got)
		}
	}
	update(t, w, old)
}

// Without the outgoing key's signature a client that knows only the old root
// fails between the two writes: what TestRotation relies on.
func TestRotationWithoutOutgoingKey(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Rotate(w.OnlineKey("next.pem"))
	if err := os.Remove(filepath.Join(w.KeyDir, "online.pem")); err != nil {
		t.Fatal(err)
	}
	r := w.Sign()
	if len(r.Signed) != 2 || len(r.Warnings) != 2 {
		t.Fatalf("signed %q, warnings %q: want both roles and a warning for each", signedText(r), r.Warnings)
	}
	for i, s := range r.Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, []string{"file2:next.pem"}) {
			t.Errorf("%s is signed by %q", s.Role, got)
		}
		if text := r.Warnings[i]; !strings.Contains(text, "outgoing") || !strings.Contains(text, s.Role) || !strings.Contains(text, "file2:online.pem") {
			t.Errorf("warning is %q", text)
		}
	}
	if err := w.Publish(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{1, 2} {
		refresh(t, w, version, nil) // all is out at once
	}
	if err := os.Remove(filepath.Join(w.Site, "metadata", "2.root.json")); err != nil {
		t.Fatal(err)
	}
	for name, one := range clients {
		if _, _, err := one(w, anchor(t, w, 1), t.TempDir()); err == nil {
			t.Errorf("%s at root 1 takes a timestamp that only the new key has signed", name)
		}
	}
	if r := w.Sign(); len(r.Signed)+len(r.Warnings) > 0 {
		t.Errorf("the next run signed %q and warns %q", signedText(r), r.Warnings)
	}
}

// Two rotations are merged before online-sign runs once: what clients hold is
// signed by the first key, so that is the outgoing one.
func TestTwoRotationsAtOnce(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Rotate(w.OnlineKey("second.pem"))
	w.Rotate(w.OnlineKey("third.pem"))
	r := w.Sign()
	for _, s := range r.Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, []string{"file2:third.pem", "file2:online.pem"}) {
			t.Errorf("%s is signed by %q", s.Role, got)
		}
	}
	if len(r.Signed) != 2 {
		t.Errorf("signed %q", signedText(r))
	}
	if err := w.Publish(); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{1, 2, 3} {
		refresh(t, w, version, nil)
	}
}

// The same private key under another URI gets another keyid. It signs under
// both, and its old URI is not asked for, which may be what was wrong with it.
func TestRotationOfTheURIAlone(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	if err := os.Rename(filepath.Join(w.KeyDir, "online.pem"), filepath.Join(w.KeyDir, "moved.pem")); err != nil {
		t.Fatal(err)
	}
	d, _ := w.Document("root").Delegation("timestamp")
	moved, err := metadata.NewKey(d.Keys[d.KeyIDs[0]].Public, "", "file2:moved.pem")
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(moved)
	r := w.Sign()
	if len(r.Warnings) > 0 || len(r.Signed) != 2 {
		t.Fatalf("signed %q, warnings %q", signedText(r), r.Warnings)
	}
	for _, s := range r.Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, []string{"file2:moved.pem", "file2:online.pem"}) {
			t.Errorf("%s is signed by %q", s.Role, got)
		}
	}
}

// A rotation and an unsigned targets.json reach main together. Neither role
// verifies any more, so both are renewed at once, over the old content.
func TestRotationWhileBlocked(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Artifact("a.txt", "one", false)
	w.Rotate(w.OnlineKey("next.pem"))
	r := w.Sign()
	if got, want := signedText(r), "snapshot 2 signature [targets.json:1], timestamp 2 signature [snapshot.json:2]"; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	if blockedText(r) != "targets quorum" {
		t.Errorf("blocked by %q", blockedText(r))
	}
	if got := update(t, w, nil); got != 1 {
		t.Errorf("clients see targets version %d", got)
	}
	refresh(t, w, 2, nil)
	if r, err := onlinesign.Run(context.Background(), w.Options(w.Clone("bot"))); err != nil || len(r.Signed) > 0 {
		t.Errorf("a second run signed %q: %v", signedText(r), err)
	}
}

// A rotation that is not merged changes nothing: no key is asked for it, and what is
// due is signed by the key that main lists.
func TestRotationBeforeTheMerge(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	main := w.Upstream.Head("main")
	event := w.Rotate(w.OnlineKey("next.pem"))
	w.Upstream.Run("branch", "sign/online-key", string(event))
	w.Upstream.Run("update-ref", "refs/heads/main", main)
	if r, err := w.TrySign(unusable{t}); err != nil || len(r.Signed) > 0 {
		t.Errorf("signed %q: %v", signedText(r), err)
	}
	w.Wait(day)
	if got, want := signedText(w.Sign()), "timestamp 2 period [snapshot.json:1]"; got != want {
		t.Errorf("signed %q, want %q", got, want)
	}
	if got := signers(t, w, "timestamp"); !slices.Equal(got, []string{"file2:online.pem"}) {
		t.Errorf("timestamp is signed by %q", got)
	}
}

// The outgoing key's service never answers: the new key signs both roles all the
// same, and it is asked once.
func TestRotationOutgoingHangs(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Rotate(w.OnlineKey("next.pem"))
	o := w.Options(w.Clone("bot"))
	o.Patience = time.Minute
	// The time of a call is over when the dead service has been asked. Calls that
	// were answered must not be ended any more.
	var over func()
	o.SetAfter(func(d time.Duration, end func()) func() bool {
		if d != time.Minute || over != nil {
			t.Errorf("a call may take %v, beside another: %v", d, over != nil)
		}
		over = end
		return func() bool { over = nil; return true }
	})
	asked := 0
	o.Keys = onlinesign.Services{"file2": resolveFunc(func(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
		if uri == "file2:online.pem" {
			asked++
			over()
			return hanging{}.Resolve(ctx, uri, scheme)
		}
		return w.Keys().Resolve(ctx, uri, scheme)
	})}
	r, err := onlinesign.Run(context.Background(), o)
	if err != nil || len(r.Signed) != 2 || len(r.Warnings) != 2 || !strings.Contains(r.Warnings[0], "no answer within 1m0s") {
		t.Errorf("signed %q, warnings %q: %v", signedText(r), r.Warnings, err)
	}
	if asked != 1 {
		t.Errorf("the dead service was asked %d times", asked)
	}
	for _, s := range r.Signed {
		if got := signers(t, w, s.Role); !slices.Equal(got, []string{"file2:next.pem"}) {
			t.Errorf("%s is signed by %q", s.Role, got)
		}
	}
	if n := w.Upstream.Run("log", "--format=%s", "-2", "main"); !strings.HasPrefix(n, "Online sign (snapshot & timestamp)\n'timestamp' role") {
		t.Errorf("commits %q", n)
	}
}

type resolveFunc func(ctx context.Context, uri, scheme string) (metadata.Signer, error)

func (f resolveFunc) Resolve(ctx context.Context, uri, scheme string) (metadata.Signer, error) {
	return f(ctx, uri, scheme)
}
