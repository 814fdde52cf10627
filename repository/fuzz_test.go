package repository_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/signingevent"
)

// FuzzStatus puts any bytes in the place of a file of an event. There is always
// a verdict; it is complete only if somebody who knows nothing of the rules finds
// the signatures; and what is said of it is fit for a terminal.
func FuzzStatus(f *testing.F) {
	w := New(f)
	files := []string{"metadata/targets.json", "metadata/releases.json", "metadata/root.json", repository.StateFile, "metadata/snapshot.json", "targets/a.txt"}
	for i, file := range files[:3] {
		f.Add(uint8(i), []byte(w.ReadFile(file)))
	}
	w.Edit("targets", nil).Sign("targets", "alice", "bob")
	f.Add(uint8(0), []byte(w.ReadFile("metadata/targets.json")))
	w.Edit("targets", func(s object) { s["version"] = int64(1 << 62) }).Sign("targets", "alice")
	f.Add(uint8(0), []byte(w.ReadFile("metadata/targets.json")))
	w.Run("checkout", "-q", "--", ".")
	w.Edit("root", func(s object) { AddKey(s, "targets", "dave") }).Sign("root", "alice", "bob")
	f.Add(uint8(2), []byte(w.ReadFile("metadata/root.json")))
	f.Add(uint8(3), []byte(`{"invites": {"@dave": ["releases"]}}`))
	f.Add(uint8(4), []byte("{}"))
	f.Add(uint8(5), []byte("\x1b[31m"))
	r, ctx := w.Open(), context.Background()
	main, err := r.Git.Resolve(ctx, "main")
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, rule := range repository.Rules() {
		known[rule.Name] = true
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		file := files[int(which)%len(files)]
		commit, err := r.Git.WriteCommit(ctx, git.CommitOptions{Parent: main, Changes: []git.FileChange{{Path: file, Data: data}}, Message: "x", When: w.Now})
		if errors.Is(err, git.ErrNothingToCommit) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := r.OpenEvent(ctx, repository.EventOptions{Name: Event, Head: string(commit), Base: "main"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.Status(ctx, w.Now, repository.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		for _, one := range s.AllFindings() {
			if !known[one.Rule] || one.Message == "" || one.Hint == "" || one.Blocks() && s.Complete {
				t.Errorf("complete is %v, %+v", s.Complete, one)
			}
		}
		for _, c := range signingevent.Text(s) + signingevent.Markdown(s) {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("%U comes through", c)
			}
		}
		if !s.Complete {
			return
		}
		doc, err := metadata.Parse(data)
		if err != nil {
			t.Fatalf("complete, but %v", err)
		}
		role := strings.TrimSuffix(strings.TrimPrefix(file, "metadata/"), ".json")
		need := map[string]int{"root": 2, "targets": 2, "releases": 1}[role] // as the world made them
		d, _ := e.KnownGood.Delegation(role)
		if count := metadata.Check(d.Delegation, doc).Count; need == 0 || count < need {
			t.Errorf("%s is complete with %d of %d signatures", role, count, need)
		}
	})
}

// FuzzInvites: what is read as invitations is of the documented shape, and is
// written and read again as the same.
func FuzzInvites(f *testing.F) {
	for _, s := range []string{``, `{"invites": {}}`, `{"invites": {"@zoe": ["root", "targets"], "@adam": ["root"]}}`, `{"invites": {"@z": ["a"], "@z": ["b"]}}`,
		`{"invites": {"@zoe": ["\u202e"]}}`, `{"invites": null}`, `{"invites": {"@zoe": []}}`, `[]`, "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := repository.ParseInvites(data)
		if err != nil {
			if inv != nil {
				t.Errorf("%q: %v and %v", data, inv, err)
			}
			return
		}
		for _, one := range inv {
			if !regexp.MustCompile(`^@[a-z0-9_-]+$`).MatchString(one.Owner) || len(one.Roles) == 0 || len(slices.Compact(slices.Sorted(slices.Values(one.Roles)))) != len(one.Roles) {
				t.Errorf("%q invites %+v", data, one)
			}
		}
		if len(inv) == 0 {
			return
		}
		again, err := repository.ParseInvites(inv.Bytes())
		if err != nil || !reflect.DeepEqual(again, inv) {
			t.Errorf("%q is read as %v, written and read again as %v, %v", data, inv, again, err)
		}
	})
}

// FuzzPolicy: no file lowers what cannot be lowered, and one that cannot be read
// is the strict default with one sentence.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		"", "rules: {threshold-of-one: {level: off, reason: x}}", "rules: {quorum: {level: off, reason: x}}", "attested-keys: required\ninvite-acceptance: own-login",
		"repositories: [., v2]\nlegacy-keyids: allowed\nkey-types: [ed25519/ed25519]", "a: &a [*a]", "rules: {new-key-unproven: {level: error}}", "--- !!binary x", "\x00", "? [a]\n: b", "<<: {rules: {}}",
	} {
		f.Add([]byte(s))
	}
	rules := map[string]repository.Rule{}
	for _, r := range repository.Rules() {
		rules[r.Name] = r
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := repository.ParsePolicy(data)
		if err != nil {
			if !reflect.DeepEqual(p, repository.Policy{}) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v, %q", p, err)
			}
			return
		}
		for name, d := range p.Rules {
			r, ok := rules[name]
			if !ok || fixed[name] != "" || !slices.Contains(r.Decisions(), d.Level) || strings.TrimSpace(d.Reason) == "" && d.Level != repository.LevelError {
				t.Errorf("%q decides %+v about %q", data, d, name)
			}
		}
	})
}
