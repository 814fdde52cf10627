package publish_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/gotuf"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

// showing is a store that shows a repository as it is drawn, whoever wrote it.
func showing(r *publishtest.Repo) *storetest.Memory {
	store := &storetest.Memory{}
	for name, data := range r.Files {
		store.Set(name, string(data))
	}
	return store
}

// TestRehearsal: what a client fails on is not written, and the error says whose
// client, from where, and how far publishing would have been.
func TestRehearsal(t *testing.T) {
	refuse := func(t *testing.T, r *publishtest.Repo, store *storetest.Memory, want ...string) {
		t.Helper()
		commit := r.Commit(t, "ours")
		before := store.Content()
		_, err := run(t, r, commit, store)
		var failed *publish.RehearsalError
		if !errors.As(err, &failed) || failed.Hint() == "" {
			t.Fatalf("got %v, want a RehearsalError with a hint", err)
		}
		for _, text := range append(want, "nothing was written") {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%q does not say %q", err, text)
			}
		}
		if !maps.Equal(store.Content(), before) {
			t.Error("something was written")
		}
	}
	t.Run("first", func(t *testing.T) {
		r := publishtest.New(t)
		garble(r, metadata.Targets)
		refuse(t, r, &storetest.Memory{}, "go-tuf, starting from root version 1, fails at the end")
	})
	t.Run("over a live state", func(t *testing.T) {
		r := publishtest.New(t)
		store := &storetest.Memory{}
		mustRun(t, r, r.Commit(t, "live"), store)
		r.RotateKey(metadata.Root, "root2", true)
		garble(r, metadata.Targets)
		refuse(t, r, store, "go-tuf, starting from root version 2")
	})
	t.Run("only a timestamp", func(t *testing.T) {
		r := publishtest.New(t)
		store := &storetest.Memory{}
		mustRun(t, r, r.Commit(t, "live"), store)
		garble(r, metadata.Timestamp)
		refuse(t, r, store, "go-tuf, starting from root version 1", "Verifying timestamp failed")
	})
}

// TestRehearsalOfNewKeyTypes: a key that go-tuf does not know is published only
// where the policy names such a type, and nothing else that go-tuf fails on is.
func TestRehearsalOfNewKeyTypes(t *testing.T) {
	const named = "key-types: [ed25519/ed25519, ml-dsa/ml-dsa-44/1]\n"
	add := func(r *publishtest.Repo) {
		key := clienttest.NewMLDSAKey("bob")
		r.SetKeys(metadata.Root, 2, append(r.Roles[metadata.Root].Keys, key)...)
		r.Publish(metadata.Root)
	}
	for _, test := range []struct {
		name, policy string
		change       func(r *publishtest.Repo)
		refused      string // by go-tuf; "" for published
	}{
		{"named", named, add, ""},
		{"no policy", "", add, "unsupported public key type"},
		{"a policy that names others", "key-types: [ed25519/ed25519]\n", add, "unsupported public key type"},
		{"a policy that cannot be read", named + "no-such-key: x\n", add, "unsupported public key type"},
		{"named, and something else is wrong", named, func(r *publishtest.Repo) { garble(r, metadata.Targets) }, "Verifying targets failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := publishtest.New(t)
			store := &storetest.Memory{}
			mustRun(t, r, r.Commit(t, "live"), store)
			before := store.Content()
			if test.policy != "" {
				r.Git.WriteFile(repository.PolicyFile, test.policy)
			}
			test.change(r)
			commit := r.Commit(t, "event")
			if test.refused != "" {
				_, err := run(t, r, commit, store)
				var failed *publish.RehearsalError
				if !errors.As(err, &failed) || failed.Client != "go-tuf" || !strings.Contains(err.Error(), test.refused) {
					t.Fatalf("got %v, want go-tuf to fail on %s", err, test.refused)
				}
				if told := strings.Contains(failed.Hint(), "key-types of .tufops.yaml"); told != strings.Contains(test.refused, "key type") {
					t.Errorf("the hint is %s", failed.Hint())
				}
				if !maps.Equal(store.Content(), before) {
					t.Error("something was written")
				}
				return
			}
			report := mustRun(t, r, commit, store)
			if got := codes(report); got != publish.NoteNotRehearsed || !strings.Contains(report.Notes[0].Message, "go-tuf cannot update: a role lists a key of a type that it does not know") {
				t.Errorf("notes %v", report.Notes)
			}
			if report.Rehearsed == 0 {
				t.Error("our client was not asked either")
			}
			if got := store.Content()["metadata/2.root.json"]; got != string(r.Files["metadata/2.root.json"]) {
				t.Error("the root was not published")
			}
			// Once it is live nobody is left to be kept from harm: freshness goes on
			// whatever becomes of the policy.
			r.Git.WriteFile(repository.PolicyFile, "no-such-key: x\n")
			r.Publish(metadata.Timestamp)
			mustRun(t, r, r.Commit(t, "timestamp"), store)
			if got := store.Content()["metadata/timestamp.json"]; got != string(r.Files["metadata/timestamp.json"]) {
				t.Error("the timestamp was not renewed")
			}
		})
	}
}

// TestRootHeldBack: a root under which go-tuf fails, as it knows a key's type not and
// no policy names that, costs nobody the freshness of what they have: all that clients
// at the live root take goes out without it, every day, and each run fails and says
// why. What they would not take either stays away. Once the root is allowed it goes
// out, by itself.
func TestRootHeldBack(t *testing.T) {
	const day = 24 * time.Hour
	begin := func(t *testing.T) (r *publishtest.Repo, store *storetest.Memory) {
		r, store = publishtest.New(t), &storetest.Memory{}
		r.Roles[metadata.Timestamp].Expire(publishtest.Now.Add(day))
		r.Publish(metadata.Timestamp)
		mustRun(t, r, r.Commit(t, "live"), store)
		r.Roles[metadata.Timestamp].Expire(publishtest.Now.Add(3 * day))
		r.SetKeys(metadata.Targets, 1, append(r.Roles[metadata.Targets].Keys, clienttest.NewMLDSAKey("bob"))...)
		r.Publish(metadata.Root)
		return r, store
	}
	held := func(t *testing.T, r *publishtest.Repo, store *storetest.Memory, commit git.OID, want string) {
		t.Helper()
		report, err := run(t, r, commit, store)
		var failed *publish.RehearsalError
		if !errors.As(err, &failed) || failed.Client != "go-tuf" || !errors.Is(err, gotuf.ErrKeyType) || !strings.Contains(failed.Hint(), "key-types of .tufops.yaml") {
			t.Fatalf("got %v, want go-tuf to fail on a key, with a hint", err)
		}
		if got := written(report); got != want {
			t.Errorf("written %q, want %q", got, want)
		}
		said := map[bool]string{true: "nothing was written", false: "root version 2 is held back, and what clients take without it goes out"}[want == ""]
		if !strings.Contains(err.Error(), said) {
			t.Errorf("the error is %v, want it to say %q", err, said)
		}
		if store.Content()["metadata/2.root.json"] != "" {
			t.Error("the root was published")
		}
	}

	t.Run("the timestamp goes on", func(t *testing.T) {
		r, store := begin(t)
		root := r.Files["metadata/1.root.json"]
		r.AddTarget(metadata.Targets, "b.txt", "b")
		r.Publish(metadata.Targets)
		commit := r.Commit(t, "merged all the same")
		held(t, r, store, commit, "b.txt 3.targets.json 3.snapshot.json timestamp.json")
		later := func() time.Time { return publishtest.Now.Add(2 * day) } // the timestamp from before has expired
		if got := update(t, publishtest.ClientAt(t, store, root, "", later), nil); got.Timestamp.Version != r.Roles[metadata.Timestamp].Version() || got.Root().Version != 1 {
			t.Errorf("our client is at %v", got)
		}
		if got := updateTheirs(t, store, root, "", nil); got[metadata.Timestamp] != r.Roles[metadata.Timestamp].Version() {
			t.Errorf("go-tuf is at %v", got)
		}
		held(t, r, store, commit, "") // the next run does not forget
		r.Publish(metadata.Timestamp)
		held(t, r, store, r.Commit(t, "the next day"), "timestamp.json")

		r.Git.WriteFile(repository.PolicyFile, "key-types: [ed25519/ed25519, ml-dsa/ml-dsa-44/1]\n")
		if got, want := written(mustRun(t, r, r.Commit(t, "allowed"), store)), "2.root.json index.html status.json"; got != want {
			t.Errorf("once it is allowed %q is written, want %q", got, want)
		}
		update(t, publishtest.Client(t, store, root, ""), nil)
	})
	t.Run("nothing that clients at the live root take", func(t *testing.T) {
		r, store := begin(t)
		r.RotateOnlineKey("online2", false)
		commit := r.Commit(t, "with other online keys")
		before := store.Content()
		if report, err := run(t, r, commit, store); !errors.Is(err, gotuf.ErrKeyType) || report.Changed || !maps.Equal(store.Content(), before) {
			t.Errorf("written %q, error %v", written(report), err)
		}
	})
	t.Run("the first publication", func(t *testing.T) {
		r, _ := begin(t)
		store := &storetest.Memory{}
		if report, err := run(t, r, r.Commit(t, "first"), store); !errors.Is(err, gotuf.ErrKeyType) || report.Changed || len(store.Content()) > 0 {
			t.Errorf("written %q, error %v", written(report), err)
		}
	})
}

// garble publishes a role with something that go-tuf writes otherwise before it
// verifies, so that the signature does not hold there: a key whose type has no
// public part, or a length of nothing.
func garble(r *publishtest.Repo, role string) {
	signed := r.Roles[role].Signed
	if role == metadata.Timestamp {
		signed["meta"].(metadata.Object)["other.json"] = metadata.Object{"version": 1, "length": 0}
	} else {
		signed["delegations"] = metadata.Object{"roles": []any{}, "keys": metadata.Object{strings.Repeat("e", 64): metadata.Object{
			"keytype": "sigstore-oidc", "scheme": "Fulcio", "keyval": metadata.Object{"identity": "ada@example.com", "issuer": "https://accounts.example.com"},
		}}}
	}
	r.Publish(role)
}

// TestRehearsalInBetween: with a rotation the order of writes decides, and a
// rehearsal that looked only at the end would take any.
func TestRehearsalInBetween(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(r *publishtest.Repo)
	}{
		{"online key", func(r *publishtest.Repo) { r.RotateOnlineKey("online2", true) }},
		{"targets key", func(r *publishtest.Repo) {
			r.RotateKey(metadata.Targets, "targets2", true)
			r.Publish(metadata.Targets)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := publishtest.New(t)
			store := &storetest.Memory{}
			mustRun(t, r, r.Commit(t, "live"), store)
			test.make(r)
			commit := r.Commit(t, "rotated")
			o := publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), To: []publish.Destination{{URL: "store:", Store: store}}}
			if err := publish.RehearseInOrder(t.Context(), o, func([]publish.File) {}); err != nil {
				t.Errorf("in the right order: %v", err)
			}
			err := publish.RehearseInOrder(t.Context(), o, func(files []publish.File) {
				slices.SortStableFunc(files, func(a, b publish.File) int { return int(a.Class - b.Class) })
			})
			var failed *publish.RehearsalError
			if !errors.As(err, &failed) || failed.At != "metadata/2.root.json" || failed.From != "the live state" {
				t.Errorf("with the root before the timestamp: %v", err)
			}
		})
	}
}

// TestRehearsalCounts: every root that a client can read is a start, for both
// clients, and only the newest where nothing but the timestamp changes.
func TestRehearsalCounts(t *testing.T) {
	r := publishtest.New(t)
	store := &storetest.Memory{}
	publishAt := func(message string) publish.DestinationReport {
		t.Helper()
		return mustRun(t, r, r.Commit(t, message), store)
	}
	r.RotateKey(metadata.Root, "root2", true)
	r.RotateKey(metadata.Root, "root3", true)
	if got := publishAt("three roots").Rehearsed; got != 2*3 {
		t.Errorf("first: %d updates, want both clients from 3 roots", got)
	}
	r.Publish(metadata.Timestamp)
	if got := publishAt("timestamp").Rehearsed; got != 2*(1+1) {
		t.Errorf("timestamp: %d updates, want both clients from the newest root and from the live state", got)
	}
	r.Publish(metadata.Targets)
	if got := publishAt("targets").Rehearsed; got != 2*(3+1) {
		t.Errorf("targets: %d updates, want both clients from 3 roots and from the live state", got)
	}
	r.RotateOnlineKey("online2", true)
	// Both from 4 roots, from the live state to the end, by way of the timestamp
	// to the end, and with the live root after the timestamp.
	if got := publishAt("online key").Rehearsed; got != 2*(4+1+2+1) {
		t.Errorf("online key: %d updates", got)
	}
	commit := git.OID(r.Git.Run("rev-parse", "HEAD"))
	if got := mustRun(t, r, commit, store).Rehearsed; got != 0 {
		t.Errorf("nothing to do: %d updates", got)
	}
}

// TestRehearsalOfBadLuck: a client that could not update before does not keep the
// others from a fresh timestamp, and somebody is told.
func TestRehearsalOfBadLuck(t *testing.T) {
	r := publishtest.New(t)
	garble(r, metadata.Targets)
	store := showing(r)
	r.Publish(metadata.Timestamp)
	report := mustRun(t, r, r.Commit(t, "timestamp"), store)
	if got := codes(report); got != publish.NoteNotRehearsed+" "+publish.NoteNotRehearsed || !strings.Contains(report.Notes[0].Message, "go-tuf") {
		t.Errorf("notes %v", report.Notes)
	}
	if got := store.Content()["metadata/timestamp.json"]; got != string(r.Files["metadata/timestamp.json"]) {
		t.Error("the timestamp was not renewed")
	}

	// A live state that has expired served clients before: they must come on.
	r = publishtest.New(t)
	store = &storetest.Memory{}
	r.Roles[metadata.Timestamp].Expire(publishtest.Now.Add(24 * time.Hour))
	r.Publish(metadata.Timestamp)
	mustRun(t, r, r.Commit(t, "live"), store)
	r.Roles[metadata.Timestamp].Expire(publishtest.Now.AddDate(0, 0, 20))
	r.Publish(metadata.Timestamp)
	commit := r.Commit(t, "late")
	late, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: r.PublishableAt(t, commit, publishtest.Now.AddDate(0, 0, 3)),
		To: []publish.Destination{{Store: store}}})
	if err != nil || late.Destinations[0].Rehearsed != 4 || len(late.Destinations[0].Notes) != 0 {
		t.Errorf("after the live timestamp has expired: %d updates, notes %v, %v", late.Destinations[0].Rehearsed, late.Destinations[0].Notes, err)
	}
}

// TestExpiresSoon: an alert, and with Strict a refusal.
func TestExpiresSoon(t *testing.T) {
	r := publishtest.New(t)
	r.Roles[metadata.Targets].Expire(publishtest.Now.AddDate(0, 0, 5))
	r.Publish(metadata.Targets)
	commit := r.Commit(t, "first")
	store := &storetest.Memory{}
	o := publish.Options{Commit: commit, Publishable: r.Publishable(t, commit), Strict: true, To: []publish.Destination{{Store: store}}}
	_, err := publish.Run(t.Context(), o)
	var soon *publish.ExpiryError
	if !errors.As(err, &soon) || !strings.Contains(err.Error(), "targets version 3 expires on 2026-01-06T01:00:00Z") || soon.Hint() == "" || store.Writes() != 0 {
		t.Errorf("strict: %v, %d writes", err, store.Writes())
	}
	if report := mustRun(t, r, commit, store); codes(report) != publish.NoteExpiresSoon {
		t.Errorf("notes %v", report.Notes)
	}
}
