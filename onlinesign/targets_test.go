package onlinesign_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// A role that alice and two online keys sign together, in a signing event: the
// keys sign, in one commit that changes nothing else; alice's signature stays.
func TestSignTargets(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	first, second := w.OnlineKey("first.pem"), w.OnlineKey("second.pem")
	for _, role := range []string{"mixed", "online"} {
		w.Change("'"+role+"' role/delegation change", func(e *repository.Edit) error {
			return e.SetRole(role, repository.RoleConfig{OnlineKey: first})
		}, "targets")
	}
	alice := onlinesigntest.PersonKey(t, "alice")
	w.Raw("targets", "alice and two online keys for one role", func(targets metadata.Object) {
		d := targets["delegations"].(metadata.Object)
		d["keys"].(metadata.Object)[alice.ID] = alice.Object
		d["keys"].(metadata.Object)[second.ID] = second.Object
		mixed := d["roles"].([]any)[0].(metadata.Object)
		mixed["keyids"], mixed["threshold"] = []any{alice.ID, first.ID, second.ID}, int64(3)
	})
	w.Change("Signature from @alice", nil, "mixed")
	before := w.Document("mixed")

	bot := w.Upstream.Clone("bot")
	bot.Run("switch", "--quiet", "--create", "sign/mixed")
	bot.Push()
	repo := w.Open(bot.Dir)
	main := w.Upstream.Head("main")

	o := w.Options(repo)
	o.DryRun, o.Keys = true, unusable{t}
	dry, err := onlinesign.SignTargets(ctx, o, main, []string{"mixed", "online"})
	if err != nil || len(dry.Signed) != 2 || w.Upstream.Head("sign/mixed") != main {
		t.Fatalf("dry run: %v, %v", dry, err)
	}
	r, err := onlinesign.SignTargets(ctx, w.Options(repo), main, []string{"mixed", "online", "mixed"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []onlinesign.SignedTargets{
		{Role: "mixed", Version: 1, Keys: []string{"file2:first.pem", "file2:second.pem"}},
		{Role: "online", Version: 1, Keys: []string{"file2:first.pem"}},
	} {
		got := r.Signed[i]
		if dry := dry.Signed[i]; dry.Role != want.Role || dry.Version != want.Version || !slices.Equal(dry.Keys, want.Keys) {
			t.Errorf("dry run: %v, want %v", dry, want)
		}
		if got.Role != want.Role || got.Version != want.Version || !slices.Equal(got.Keys, want.Keys) {
			t.Errorf("signed %v, want %v", got, want)
		}
		if text := w.Upstream.Run("log", "-1", "--format=%s", string(got.Commit)); text != "Online sign targets role "+want.Role {
			t.Errorf("commit is %q", text)
		}
		if text := w.Upstream.Run("diff-tree", "-r", "--name-only", string(got.Commit)+"^", string(got.Commit)); text != "metadata/"+want.Role+".json" {
			t.Errorf("the commit for %s changes %q", want.Role, text)
		}
	}
	if len(r.Signed) != 2 || w.Upstream.Head("sign/mixed") != string(r.Commit) || w.Upstream.Head("main") != main {
		t.Errorf("signed %v; the event is at %s", r.Signed, w.Upstream.Head("sign/mixed"))
	}
	// The placeholder of the first key is filled in, the second key is appended.
	if text := w.Upstream.Run("diff", "--numstat", main, string(r.Signed[0].Commit)); text != "5\t1\tmetadata/mixed.json" {
		t.Errorf("the commit changes lines: %s", text)
	}
	state, err := repo.At(ctx, r.Commit)
	if err != nil {
		t.Fatal(err)
	}
	after, err := state.Document("mixed")
	if err != nil {
		t.Fatal(err)
	}
	d, _ := state.Delegation("mixed")
	if q := metadata.Check(d.Delegation, after); !q.Met() || q.Count != 3 {
		t.Errorf("mixed has %d of %d signatures", q.Count, q.Threshold)
	}
	if string(after.Payload()) != string(before.Payload()) {
		t.Error("the signed part changed")
	}
	if !slices.Contains(after.Signatures(), before.Signatures()[slices.IndexFunc(before.Signatures(), func(s metadata.Signature) bool { return s.KeyID == alice.ID })]) {
		t.Error("alice's signature changed")
	}
	// Again: nothing to do, no key is asked for.
	o = w.Options(repo)
	o.Keys = unusable{t}
	again, err := onlinesign.SignTargets(ctx, o, main, []string{"mixed", "online"})
	if err != nil || len(again.Signed) > 0 || again.Commit != r.Commit {
		t.Errorf("a second run: %v, %v", again, err)
	}
}

func TestSignTargetsRefuses(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	key := w.OnlineKey("role.pem")
	w.Sign()
	w.Change("'online' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("online", repository.RoleConfig{OnlineKey: key})
	}, "targets")
	w.Change("'broken' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("broken", repository.RoleConfig{OnlineKey: key})
	}, "targets")
	w.Write("Break it", map[string][]byte{"metadata/broken.json": []byte("{"), "metadata/orphan.json": w.Document("online").Bytes()})
	repo := w.Clone("bot")
	head := w.Upstream.Head("main")
	for _, test := range []struct {
		roles []string
		want  string
		as    any
	}{
		{[]string{"root"}, "root is no targets role", nil},
		{[]string{"timestamp"}, "timestamp is no targets role", nil},
		{[]string{"snapshot"}, "snapshot is no targets role", nil},
		{[]string{"nobody"}, "no role delegates to nobody", nil},
		{[]string{"orphan"}, "no role delegates to orphan", nil},
		{[]string{"targets"}, "role targets lists no online key", new(*onlinesign.NoOnlineKeyError)},
		{[]string{"broken"}, "metadata/broken.json", new(*repository.InvalidError)},
		{[]string{"online", "targets"}, "role targets lists no online key", new(*onlinesign.NoOnlineKeyError)}, // all or none
	} {
		o := w.Options(repo)
		o.Keys = unusable{t}
		_, err := onlinesign.SignTargets(ctx, o, head, test.roles)
		if err == nil || !strings.Contains(err.Error(), test.want) || test.as != nil && !errors.As(err, test.as) {
			t.Errorf("%v: error is %v, want %q", test.roles, err, test.want)
		}
	}
	o := w.Options(repo)
	o.Keys = keysFunc(func(string) (metadata.Signer, error) {
		return liar{public: key.Public, signer: metadata.LocalSigner(newPrivate(t))}, nil
	})
	var keyError *onlinesign.KeyError
	if _, err := onlinesign.SignTargets(ctx, o, head, []string{"online"}); !errors.As(err, &keyError) || keyError.URI != "file2:role.pem" {
		t.Errorf("a key that signs with another one: error is %v", err)
	}
	if w.Upstream.Head("main") != head {
		t.Error("main moved")
	}
}

// TestSignTargetsTogether: three runs at the same moment on one event, and a person who
// pushes in between. The roles are signed once each, nothing of the person's is lost.
func TestSignTargetsTogether(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	key := w.OnlineKey("npm.pem")
	roles := []string{"one", "two"}
	for _, role := range roles {
		w.Change("'"+role+"' role/delegation change", func(e *repository.Edit) error {
			return e.SetRole(role, repository.RoleConfig{OnlineKey: key})
		}, "targets")
	}
	main := w.Upstream.Head("main")
	w.Upstream.Run("branch", "sign/x", main)
	var repos []*repository.Repository
	for _, name := range []string{"a", "b", "c"} {
		repos = append(repos, w.Open(w.Upstream.Clone(name, "--branch", "sign/x").Dir))
	}
	person := w.Upstream.Clone("person", "--branch", "sign/x")
	person.WriteFile("notes.txt", "mine\n")
	person.Commit("a note")
	person.Push()
	signed := make([]int, len(repos))
	var runs sync.WaitGroup
	for i, repo := range repos {
		runs.Go(func() {
			r, err := onlinesign.SignTargets(context.Background(), w.Options(repo), main, roles)
			if err != nil {
				t.Error(err)
			}
			signed[i] = len(r.Signed)
		})
	}
	runs.Wait()
	log := w.Upstream.Run("log", "--format=%s|%p", main+"..sign/x")
	for _, want := range []string{"Online sign targets role one", "Online sign targets role two", "a note"} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("%d times %q:\n%s", n, want, log)
		}
	}
	if n := strings.Count(log, "\n") + 1; n != 3 || signed[0]+signed[1]+signed[2] != 2 {
		t.Errorf("signed %v, in %d commits:\n%s", signed, n, log)
	}
}
