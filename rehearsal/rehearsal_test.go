package rehearsal_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/rehearsal"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

const both = "tufops-client go-tuf"

// open opens the event of a world.
func open(t testing.TB, w *World) *repository.Event {
	t.Helper()
	w.Commit("event")
	e, err := w.Open().OpenEvent(t.Context(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// with lists the steps of an outcome, each once however many moments it has:
// "what", and the clients that it has it of.
func with(r *repository.Rehearsal, o repository.Outcome) map[string]string {
	clients := map[string]string{}
	for _, s := range r.With(o) {
		if s.Message == "" || s.When == "" || s.At.IsZero() {
			panic(fmt.Sprintf("%+v", s))
		}
		if have := clients[s.What]; have == "" || !strings.Contains(have, s.Client) {
			clients[s.What] = strings.TrimSpace(have + " " + s.Client)
		}
	}
	return clients
}

// p384 is a key that our client reads and go-tuf does not: of a type that only
// old documents have. With plain it is of the type that everybody reads.
func p384(signed metadata.Object, plain bool, owner, uri string, roles ...string) {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		panic(err)
	}
	k, err := metadata.NewKey(private.Public(), owner, uri)
	if err != nil {
		panic(err)
	}
	obj := metadata.Clone(k.Object)
	if !plain {
		obj["keytype"] = "ecdsa-sha2-nistp384"
	}
	id, err := metadata.KeyID(obj)
	if err != nil {
		panic(err)
	}
	Keys(signed)[id] = obj
	for _, role := range roles {
		list := Roles(signed, role)["keyids"].([]any)
		if uri != "" {
			list = nil // the only one
		}
		Roles(signed, role)["keyids"] = append(list, id)
	}
}

// role makes a delegated role of carol's, before those that are there.
func role(w *World, name string, terminating bool, paths []any, list func(signed metadata.Object)) {
	w.WriteFile(repository.MetadataFile(name), string(metadata.Write(metadata.Object{"signatures": []any{}, "signed": metadata.Object{
		"_type": "targets", "spec_version": "1.0.31", "version": int64(0), "expires": "", "targets": metadata.Object{},
		metadata.FieldExpiryPeriod: int64(365), metadata.FieldSigningPeriod: int64(60)}})))
	tree := w.Tree(name)
	signed := tree["signed"].(metadata.Object)
	signed["version"], signed["expires"] = int64(1), w.Now.AddDate(1, 0, 0).Format(metadata.TimeFormat)
	if list != nil {
		list(signed)
	}
	w.WriteFile(repository.MetadataFile(name), string(metadata.Write(tree)))
	w.Sign(name, "carol")
	w.Edit("targets", func(s metadata.Object) {
		d := s["delegations"].(metadata.Object)
		d["roles"] = append([]any{metadata.Object{"name": name, "keyids": []any{Key("carol").ID}, "threshold": int64(1),
			"terminating": terminating, "paths": paths}}, d["roles"].([]any)...)
	}).Sign("targets", "alice", "bob")
}

// hashed delegates to a role by the hashes of paths, which go-tuf 2.4.2 takes for
// something else.
func hashed(w *World, role string) {
	targets(w, func(s metadata.Object) {
		d := Roles(s, role)
		delete(d, "paths")
		d["path_hash_prefixes"] = []any{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"}
	})
}

func targets(w *World, edit func(s metadata.Object)) {
	w.Edit("targets", edit).Sign("targets", "alice", "bob")
}

func root(w *World, edit func(s metadata.Object)) { w.Edit("root", edit).Sign("root", "alice", "bob") }

// onMain changes main and begins the event anew from there.
func onMain(w *World, change func()) {
	w.OnMain(change)
	w.Run("reset", "-q", "--hard", "main")
}

// TestEvents: events that break clients, each beside one that is almost the same
// and does not. complete is the verdict of the rules alone: where it is true only
// the rehearsal saw it.
func TestEvents(t *testing.T) {
	const (
		update = "update from main's state"
		fresh  = "update with an empty cache"
		read   = "read releases/v1/tool"
	)
	pad := func(n int) func(s metadata.Object) {
		return func(s metadata.Object) { s["x"] = strings.Repeat("x", n) }
	}
	in := func(w *World, d time.Duration) string { return w.Now.Add(d).Format(metadata.TimeFormat) }
	for _, test := range []struct {
		name     string
		event    func(w *World)
		sibling  func(w *World)
		failed   map[string]string // what, and whose client
		notYet   map[string]string // of the event
		message  string            // part of each message of what failed
		complete bool
	}{
		{
			name:    "a root key of a type that go-tuf cannot read",
			event:   func(w *World) { root(w, func(s metadata.Object) { p384(s, false, "@dave", "", "root") }) },
			sibling: func(w *World) { root(w, func(s metadata.Object) { p384(s, true, "@dave", "", "root") }) },
			failed: map[string]string{"walk from root v1 to root v2": "go-tuf", "walk from root v2 to root v2": "go-tuf",
				update: "go-tuf", fresh: "go-tuf"},
			message: "unsupported public key type",
		},
		{
			name:    "the same before anybody has signed",
			event:   func(w *World) { w.Edit("root", func(s metadata.Object) { p384(s, false, "@dave", "", "root") }) },
			sibling: func(w *World) { w.Edit("root", func(s metadata.Object) { p384(s, true, "@dave", "", "root") }) },
			failed:  map[string]string{update: "go-tuf", fresh: "go-tuf"},
			notYet:  map[string]string{"walk from every root in history to the proposed root": ""},
			message: "unsupported public key type",
		},
		{
			// the chain of roots is fine: it takes the rotation to see it
			name: "an online key of a type that go-tuf cannot read",
			event: func(w *World) {
				root(w, func(s metadata.Object) { p384(s, false, "", "file2:new", "timestamp", "snapshot") })
			},
			sibling: func(w *World) {
				root(w, func(s metadata.Object) { p384(s, true, "", "file2:new", "timestamp", "snapshot") })
			},
			failed:  map[string]string{update: "go-tuf", fresh: "go-tuf"},
			message: "unsupported public key type",
		},
		{
			name: "a keyid without a key",
			event: func(w *World) {
				root(w, func(s metadata.Object) {
					Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), Key("dave").ID)
				})
			},
			sibling: func(w *World) { root(w, func(s metadata.Object) { AddKey(s, "targets", "dave") }) },
			failed:  map[string]string{update: "go-tuf", fresh: "go-tuf"},
			message: "not found in targets keyids",
		},
		{
			name: "an online keyid without a key",
			event: func(w *World) {
				root(w, func(s metadata.Object) {
					for _, role := range []string{"timestamp", "snapshot"} {
						Roles(s, role)["keyids"] = append(Roles(s, role)["keyids"].([]any), Key("online2").ID)
					}
				})
			},
			sibling: func(w *World) {
				root(w, func(s metadata.Object) { AddKey(s, "timestamp", "online2"); AddKey(s, "snapshot", "online2") })
			},
			failed:  map[string]string{update: "go-tuf", fresh: "go-tuf"},
			message: "not found in timestamp keyids",
		},
		{
			name: "a root that does not follow",
			event: func(w *World) {
				root(w, func(s metadata.Object) { s["version"] = int64(3) })
			},
			sibling: func(w *World) { root(w, nil) },
			failed:  map[string]string{"walk from root v1 to root v3": both, update: both},
			message: "root v1",
		},
		{
			name:    "a delegation that steals by ending the search",
			event:   func(w *World) { role(w, "team", true, []any{"releases/v1/*"}, nil) },
			sibling: func(w *World) { role(w, "team", false, []any{"releases/v1/*"}, nil) },
			failed:  map[string]string{read: both},
			message: "no role that clients ask lists it",
		},
		{
			name: "a delegation that steals by listing another file",
			event: func(w *World) {
				role(w, "team", false, []any{"releases/v1/*"}, func(s metadata.Object) { List(s, "releases/v1/tool", "fool\n") })
			},
			sibling: func(w *World) {
				role(w, "team", false, []any{"releases/v1/*"}, func(s metadata.Object) { List(s, "releases/v1/tool", "tool\n") })
			},
			failed: map[string]string{read: both, "download releases/v1/tool": both},
		},
		{
			// what clients get is in order, and it is not what releases lists
			name: "a new artifact that clients get from another role",
			event: func(w *World) {
				w.Artifact("releases/v2/tool", "tool 2\n")
				role(w, "team", false, []any{"releases/v2/*"}, func(s metadata.Object) { List(s, "releases/v2/tool", "tool 2\n") })
				w.Edit("releases", func(s metadata.Object) { List(s, "releases/v2/tool", "two") }).Sign("releases", "carol")
			},
			sibling: func(w *World) {
				w.Artifact("releases/v2/tool", "tool 2\n")
				role(w, "team", false, []any{"releases/v2/*"}, func(s metadata.Object) { List(s, "releases/v2/tool", "tool 2\n") })
				w.Edit("releases", func(s metadata.Object) { List(s, "releases/v2/tool", "tool 2\n") }).Sign("releases", "carol")
			},
			failed:  map[string]string{"download releases/v2/tool": both},
			message: "than releases lists (3 bytes, sha256 ",
		},
		{
			name: "a first artifact that go-tuf never finds",
			event: func(w *World) {
				onMain(w, func() { role(w, "bins", false, []any{"x"}, nil); hashed(w, "bins") })
				w.Edit("bins", func(s metadata.Object) { List(s, "bins/tool", "tool") }).Sign("bins", "carol").Artifact("bins/tool", "tool")
			},
			sibling: func(w *World) {
				onMain(w, func() { role(w, "bins", false, []any{"bins/*"}, nil) })
				w.Edit("bins", func(s metadata.Object) { List(s, "bins/tool", "tool") }).Sign("bins", "carol").Artifact("bins/tool", "tool")
			},
			failed: map[string]string{"download bins/tool": "go-tuf"},
		},
		{
			name: "paths that leave an artifact out",
			event: func(w *World) {
				targets(w, func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"releases/v2/*"} })
			},
			sibling: func(w *World) {
				targets(w, func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"releases/v1/*"} })
			},
			failed:  map[string]string{read: both},
			message: "no role that clients ask lists it",
		},
		{
			name: "a pattern that go-tuf reads otherwise",
			event: func(w *World) {
				targets(w, func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"releases/[!x]*/*"} })
			},
			sibling: func(w *World) {
				targets(w, func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"releases/[^x]*/*", "releases/v1/*"} })
			},
			failed:   map[string]string{read: "go-tuf"},
			complete: true,
		},
		{
			name: "a delegation that is gone while its role is not",
			event: func(w *World) {
				targets(w, func(s metadata.Object) {
					s["delegations"] = metadata.Object{"keys": metadata.Object{}, "roles": []any{}}
				})
			},
			sibling: func(w *World) {
				targets(w, func(s metadata.Object) {
					s["delegations"] = metadata.Object{"keys": metadata.Object{}, "roles": []any{}}
				})
				w.Remove("metadata/releases.json").Remove("targets/releases")
			},
			failed:   map[string]string{read: both},
			complete: true,
		},
		{
			name: "a field that go-tuf drops",
			event: func(w *World) {
				targets(w, func(s metadata.Object) { s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = nil })
			},
			sibling: func(w *World) {
				targets(w, func(s metadata.Object) {
					s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = metadata.Object{}
				})
			},
			failed: map[string]string{update: "go-tuf", fresh: "go-tuf"},
		},
		{
			name: "an empty role with a field that go-tuf drops",
			event: func(w *World) {
				role(w, "team", false, []any{"team/*"}, func(s metadata.Object) { s["delegations"] = nil })
			},
			sibling: func(w *World) { role(w, "team", false, []any{"team/*"}, nil) },
			failed:  map[string]string{"look into team": "go-tuf"},
		},
		{
			name:     "targets that are gone tomorrow",
			event:    func(w *World) { targets(w, func(s metadata.Object) { s["expires"] = in(w, 12*time.Hour) }) },
			sibling:  func(w *World) { targets(w, func(s metadata.Object) { s["expires"] = in(w, 72*time.Hour) }) },
			failed:   map[string]string{update: both, fresh: both},
			message:  "expired",
			complete: true,
		},
		{
			name: "a delegated role that is gone tomorrow",
			event: func(w *World) {
				w.Edit("releases", func(s metadata.Object) { s["expires"] = in(w, 12*time.Hour) }).Sign("releases", "carol")
			},
			sibling: func(w *World) {
				w.Edit("releases", func(s metadata.Object) { s["expires"] = in(w, 25*time.Hour) }).Sign("releases", "carol")
			},
			failed:   map[string]string{"look into releases": both},
			message:  "expired",
			complete: true,
		},
		{
			name:     "a root that is gone tomorrow",
			event:    func(w *World) { root(w, func(s metadata.Object) { s["expires"] = in(w, 12*time.Hour) }) },
			sibling:  func(w *World) { root(w, func(s metadata.Object) { s["expires"] = in(w, 25*time.Hour) }) },
			failed:   map[string]string{update: both, fresh: both},
			message:  "expired",
			complete: true,
		},
		{
			name:    "a targets file over the limit of clients", // on root's last day, so that one moment is enough
			event:   func(w *World) { w.Now = Start.AddDate(0, 0, 364); targets(w, pad(5_000_000)) },
			sibling: func(w *World) { w.Now = Start.AddDate(0, 0, 364); targets(w, pad(4_900_000)) },
			failed:  map[string]string{update: both, fresh: both},
			message: "metadata/2.targets.json",
		},
		{
			name:    "a root over the limit of clients",
			event:   func(w *World) { root(w, pad(511_000)) },
			sibling: func(w *World) { root(w, pad(505_000)) },
			failed:  map[string]string{"walk from root v1 to root v2": both, "walk from root v2 to root v2": "tufops-client", update: both, fresh: "tufops-client"},
		},
		{
			name: "a version that does not grow",
			event: func(w *World) {
				w.Artifact("b.txt", "b")
				targets(w, func(s metadata.Object) { s["version"] = int64(1); List(s, "b.txt", "b") })
			},
			sibling: func(w *World) {
				w.Artifact("b.txt", "b")
				targets(w, func(s metadata.Object) { List(s, "b.txt", "b") })
			},
			failed: map[string]string{"publish the event": "", "download b.txt": both},
		},
		{
			name:    "an artifact that is not any more what was signed",
			event:   func(w *World) { w.Artifact("a.txt", "A\n"); targets(w, nil) },
			sibling: func(w *World) { targets(w, nil) },
			failed:  map[string]string{"download a.txt": both},
		},
		{
			name: "an artifact that is not what is signed",
			event: func(w *World) {
				w.Artifact("b.txt", "B")
				targets(w, func(s metadata.Object) { List(s, "b.txt", "b") })
			},
			sibling: func(w *World) { // it is the same file for both
				w.Artifact("b.txt", "b")
				targets(w, func(s metadata.Object) { List(s, "b.txt", "b") })
			},
			failed: map[string]string{"download b.txt": both},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			test.event(w)
			e := open(t, w)
			r := rehearsal.Run(t.Context(), e, w.Now)
			if r.Trouble != "" {
				t.Fatal(r.Trouble)
			}
			if got := with(r, repository.Failed); !equal(got, test.failed) {
				t.Errorf("failed: %v, want %v", got, test.failed)
				log(t, r)
			}
			if got := with(r, repository.NotYet); !equal(got, test.notYet) {
				t.Errorf("not yet: %v, want %v", got, test.notYet)
			}
			for _, s := range r.With(repository.Failed) {
				if !strings.Contains(s.Message, test.message) || strings.Contains(s.Message, "repository.invalid") {
					t.Errorf("%s (%s): %q, want %q", s.What, s.Who(), s.Message, test.message)
				}
			}
			s, err := e.Status(t.Context(), w.Now, repository.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			if s.Complete != test.complete {
				t.Errorf("complete by the rules alone is %v: %+v", s.Complete, s.AllFindings())
			}
			if s.AddRehearsal(r); s.Complete || !s.Failed() {
				t.Errorf("with the rehearsal complete is %v, failed %v", s.Complete, s.Failed())
			}
			// The sibling.
			w = New(t)
			test.sibling(w)
			e = open(t, w)
			r = rehearsal.Run(t.Context(), e, w.Now)
			if failed := r.With(repository.Failed); len(failed) > 0 || r.Trouble != "" {
				t.Errorf("the sibling fails: %+v, %s", failed, r.Trouble)
			}
			if got := with(r, repository.NotYet); !equal(got, test.notYet) {
				t.Errorf("the sibling, not yet: %v, want %v", got, test.notYet)
			}
			for _, what := range []string{update, fresh} {
				if got := with(r, repository.OK)[what]; got != both {
					t.Errorf("the sibling: %q is ok of %q", what, got)
				}
			}
		})
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if other, ok := b[k]; !ok || other != v {
			return false
		}
	}
	return true
}

func log(t *testing.T, r *repository.Rehearsal) {
	for _, s := range r.Steps {
		t.Logf("%s: %s (%s): %s", s.Outcome, s.What, s.Who(), s.Message)
	}
	t.Log(r.Unproven, r.Trouble)
}

// TestNotYet: what cannot be tried yet is said, with the reason, and fails
// nothing.
func TestNotYet(t *testing.T) {
	chain, update := "walk from every root in history to the proposed root", "update to the event"
	for _, test := range []struct {
		name  string
		event func(w *World)
		want  map[string]string // what, and part of the reason
		ok    string            // what is tried all the same
	}{
		{"nothing changed", func(w *World) {}, map[string]string{"rehearse the event": "the event changes no role"}, ""},
		{"targets lacks one", func(w *World) { w.Edit("targets", nil).Sign("targets", "alice") },
			map[string]string{update: "targets has 1 of 2 signatures"}, ""},
		{"a delegated role lacks one", func(w *World) { w.Edit("releases", nil) }, map[string]string{update: "releases has 0 of 1 signatures"}, ""},
		{"a delegation that the role does not meet", func(w *World) {
			targets(w, func(s metadata.Object) { SetKeys(s, "releases", "dave") })
		}, map[string]string{update: "releases has 0 of 1 signatures"}, ""},
		{"root lacks one", func(w *World) { w.Edit("root", nil).Sign("root", "alice") },
			map[string]string{chain: "root has 1 of 2 signatures"}, "update from main's state"},
		{"root lacks the old keys", func(w *World) {
			w.Edit("root", func(s metadata.Object) { SetKeys(s, "root", "alice", "dave") }).Sign("root", "alice", "dave")
		}, map[string]string{chain: "root has 1 of 2 signatures by the delegation of root version 1"}, "update from main's state"},
		{"both lack", func(w *World) { w.Edit("root", nil).Edit("targets", nil) },
			map[string]string{chain: "root has 0 of 2 signatures", update: "targets has 0 of 2 signatures"}, ""},
		{"somebody is invited", func(w *World) {
			root(w, nil)
			w.WriteFile(repository.StateFile, `{"invites": {"@erin": ["root"]}}`)
		}, map[string]string{"rehearse the event": "the keys of those who are invited are awaited: @erin"}, ""},
		{"a conflict", func(w *World) {
			targets(w, nil)
			w.OnMain(func() { targets(w, func(s metadata.Object) { s["x"] = "y" }) })
		}, map[string]string{"rehearse the event": "conflicts in metadata/targets.json"}, ""},
		{"main's targets expired, and stay", func(w *World) {
			onMain(w, func() { targets(w, func(s metadata.Object) { s["expires"] = "2029-12-31T00:00:00Z" }) })
			root(w, nil)
		}, map[string]string{update: "targets v2, which the event does not change, expired at 2029-12-31T00:00:00Z"}, chain},
		{"main's targets were never signed", func(w *World) {
			onMain(w, func() { w.Edit("targets", nil) })
			root(w, nil)
		}, map[string]string{update: "targets has 0 of 2 signatures"}, chain},
		{"targets cannot be read", func(w *World) { w.WriteFile("metadata/targets.json", "{}") },
			map[string]string{update: "metadata/targets.json (role targets)"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			test.event(w)
			e := open(t, w)
			r := rehearsal.Run(t.Context(), e, w.Now)
			if len(r.With(repository.Failed)) > 0 || r.Trouble != "" {
				log(t, r)
				t.Fatal("it fails")
			}
			for _, s := range r.With(repository.NotYet) {
				if part, ok := test.want[s.What]; !ok || !strings.Contains(s.Message, part) {
					t.Errorf("%s: %q, want %q", s.What, s.Message, part)
				}
				delete(test.want, s.What)
			}
			if len(test.want) > 0 {
				t.Errorf("not said: %v", test.want)
			}
			if got := with(r, repository.OK)[test.ok]; test.ok == "" && len(r.With(repository.OK)) > 0 || test.ok != "" && got != both {
				t.Errorf("%q is ok of %q", test.ok, got)
				log(t, r)
			}
			s, err := e.Status(t.Context(), w.Now, repository.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			findings, complete := len(s.AllFindings()), s.Complete
			if s.AddRehearsal(r); len(s.AllFindings()) != findings || s.Complete != complete {
				t.Errorf("the verdict changes: %+v", s.AllFindings())
			}
		})
	}
}

// TestAsBefore: what clients could not do with main is not held against the
// event.
func TestAsBefore(t *testing.T) {
	for _, test := range []struct {
		name   string
		event  func(w *World)
		notYet map[string]string
		ok     string
	}{
		{"roots that go-tuf never read", func(w *World) {
			onMain(w, func() {
				w.Edit("root", func(s metadata.Object) { p384(s, false, "@dave", "", "root") }).Sign("root", "alice", "bob")
			})
			onMain(w, func() { root(w, func(s metadata.Object) { SetKeys(s, "root", "alice", "bob") }) })
			root(w, nil)
		}, map[string]string{"walk from root v1 to root v4": "go-tuf", "walk from root v2 to root v4": "go-tuf"}, "update from main's state"},
		{"a role that go-tuf never found", func(w *World) {
			onMain(w, func() { hashed(w, "releases") })
			w.Artifact("releases/v2/tool", "tool 2\n")
			w.Edit("releases", func(s metadata.Object) { List(s, "releases/v2/tool", "tool 2\n") }).Sign("releases", "carol")
		}, map[string]string{"download releases/v2/tool": "go-tuf"}, "update from main's state"},
		{"a main that go-tuf cannot update to", func(w *World) {
			onMain(w, func() {
				targets(w, func(s metadata.Object) { s["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = nil })
			})
			targets(w, func(s metadata.Object) { delete(s["targets"].(metadata.Object)["a.txt"].(metadata.Object), "custom") })
		}, map[string]string{"update from main's state": "go-tuf"}, "update with an empty cache"},
		{"targets that had expired", func(w *World) {
			onMain(w, func() { targets(w, func(s metadata.Object) { s["expires"] = "2029-12-31T00:00:00Z" }) })
			targets(w, nil)
		}, nil, "update from main's state"},
		{"a delegated role that had expired as well", func(w *World) {
			onMain(w, func() {
				w.Edit("releases", func(s metadata.Object) { s["expires"] = "2029-12-31T12:00:00Z" }).Sign("releases", "carol")
				targets(w, func(s metadata.Object) { s["expires"] = "2029-12-31T00:00:00Z" })
			})
			targets(w, nil)
		}, nil, "update from main's state"},
		{"a first root", func(w *World) {
			w.Run("switch", "-q", "--orphan", "empty")
			w.WriteFile("README", "empty")
			w.Commit("empty")
			w.Run("branch", "-f", "main", "empty")
			w.Run("checkout", "-q", "sign/test", "--", "metadata", "targets")
			w.Run("branch", "-D", "sign/test")
			w.Run("switch", "-q", "-c", "sign/test")
			w.Remove("metadata/snapshot.json").Remove("metadata/timestamp.json")
		}, nil, "update with an empty cache"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			test.event(w)
			r := rehearsal.Run(t.Context(), open(t, w), w.Now)
			if got := with(r, repository.NotYet); !equal(got, test.notYet) || len(r.With(repository.Failed)) > 0 || r.Trouble != "" {
				t.Errorf("not yet: %v, want %v", got, test.notYet)
				log(t, r)
			}
			if got := with(r, repository.OK)[test.ok]; got != both {
				t.Errorf("%q is ok of %q", test.ok, got)
			}
		})
	}
}

// TestMoments: now, half of what is left, and one day before the end, of each
// role that changes and as long as nothing else ends before.
func TestMoments(t *testing.T) {
	w := New(t)
	w.Now = Start.AddDate(0, 0, 300) // root and targets of main live for 65 days more
	w.Edit("releases", func(s metadata.Object) { s["expires"] = w.Now.AddDate(0, 0, 100).Format(metadata.TimeFormat) }).Sign("releases", "carol")
	r := rehearsal.Run(t.Context(), open(t, w), w.Now)
	var got []string
	for _, s := range r.With(repository.OK) {
		if s.What == "update from main's state" && s.Client == "go-tuf" {
			got = append(got, s.At.Format(time.DateOnly)+" "+s.When)
		}
	}
	want := []string{"2030-10-28 now", "2030-12-17 halfway to the expiry of releases v2"}
	if !slices.Equal(got, want) || len(r.With(repository.Failed)) > 0 {
		t.Errorf("%q, want %q", got, want)
		log(t, r)
	}
	if text := strings.Join(r.Unproven, "; "); !strings.Contains(text, "anything from 2031-01-01T00:00:00Z on, when root v1 expires") || !strings.Contains(text, "real online keys") {
		t.Errorf("unproven: %q", text)
	}
}

// TestMovedMain: what is tried is what merging now would give, not the head of an
// event that began long ago.
func TestMovedMain(t *testing.T) {
	w := New(t)
	w.Artifact("releases/v2/tool", "tool 2\n")
	w.Edit("releases", func(s metadata.Object) { List(s, "releases/v2/tool", "tool 2\n") }).Sign("releases", "carol")
	w.OnMain(func() { targets(w, func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"releases/v1/*"} }) })
	r := rehearsal.Run(t.Context(), open(t, w), w.Now)
	if got := with(r, repository.Failed); !equal(got, map[string]string{"download releases/v2/tool": both}) {
		t.Errorf("failed: %v", got)
	}
}

// TestCannotBeHeld: that a rehearsal breaks off is a warning and blocks nothing;
// that it was stopped is an error.
func TestCannotBeHeld(t *testing.T) {
	w := New(t)
	targets(w, nil)
	e := open(t, w)
	s, err := e.Status(t.Context(), w.Now, repository.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := rehearsal.Judge(ctx, e, s, w.Now); !errors.Is(err, context.Canceled) || s.Rehearsal != nil {
		t.Errorf("stopped: %v, %+v", err, s.Rehearsal)
	}
	t.Setenv("TMPDIR", w.Dir+"/nowhere")
	if err := rehearsal.Judge(t.Context(), e, s, w.Now); err != nil {
		t.Fatal(err)
	}
	f := s.Findings[len(s.Findings)-1]
	if !s.Complete || s.Failed() || f.Rule != "rehearsal-failed" || f.Level != repository.LevelWarning || f.Gates != "" || !strings.Contains(f.Message, "nowhere") {
		t.Errorf("complete %v, %+v", s.Complete, f)
	}
}

// TestLeavesNothing: no file is left, and git stays as it is.
func TestLeavesNothing(t *testing.T) {
	w := New(t)
	w.Artifact("b.txt", "b")
	targets(w, func(s metadata.Object) { List(s, "b.txt", "b") })
	e := open(t, w)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	before := w.Run("for-each-ref") + w.Run("status", "--porcelain") + w.Run("count-objects", "-v")
	if r := rehearsal.Run(t.Context(), e, w.Now); len(r.With(repository.OK)) == 0 {
		log(t, r)
		t.Fatal("nothing was tried")
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if after := w.Run("for-each-ref") + w.Run("status", "--porcelain") + w.Run("count-objects", "-v"); after != before {
		t.Errorf("git: %s, was %s", after, before)
	}
}

// TestNeeded: root and delegations are what people do not see in a list of
// artifacts.
func TestNeeded(t *testing.T) {
	for _, test := range []struct {
		name  string
		event func(w *World)
		want  bool
	}{
		{"nothing", func(w *World) {}, false},
		{"artifacts", func(w *World) { targets(w, func(s metadata.Object) { List(s, "b.txt", "b") }) }, false},
		{"a delegated role", func(w *World) { w.Edit("releases", nil) }, false},
		{"root", func(w *World) { w.Edit("root", nil) }, true},
		{"paths", func(w *World) {
			w.Edit("targets", func(s metadata.Object) { Roles(s, "releases")["paths"] = []any{"x"} })
		}, true},
		{"a key", func(w *World) { w.Edit("targets", func(s metadata.Object) { AddKey(s, "releases", "dave") }) }, true},
		{"no delegations", func(w *World) { w.Edit("targets", func(s metadata.Object) { delete(s, "delegations") }) }, true},
	} {
		w := New(t)
		test.event(w)
		if got := rehearsal.Needed(open(t, w)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestBounded: a large event takes a bounded number of moments, downloads what
// it must, and what expires first is still tried.
func TestBounded(t *testing.T) {
	const roles, artifacts = 100, 10
	w := New(t)
	name := func(i int) string { return fmt.Sprintf("r%02d", i) }
	w.OnMain(func() {
		targets(w, func(s metadata.Object) {
			d := s["delegations"].(metadata.Object)
			for i := range roles {
				d["roles"] = append(d["roles"].([]any), metadata.Object{"name": name(i), "keyids": []any{Key("carol").ID}, "threshold": int64(1),
					"terminating": true, "paths": []any{name(i) + "/*"}})
			}
		})
	})
	w.Run("reset", "-q", "--hard", "main")
	for i := range roles {
		list := metadata.Object{"targets": metadata.Object{}}
		for a := range artifacts {
			path := fmt.Sprintf("%s/%d", name(i), a)
			List(list, path, path)
			w.Artifact(path, path)
		}
		expires := w.Now.AddDate(0, 0, 300-i)
		if i == roles-1 {
			expires = w.Now.Add(time.Hour)
		}
		w.WriteFile(repository.MetadataFile(name(i)), string(metadata.Write(metadata.Object{"signatures": []any{}, "signed": metadata.Object{
			"_type": "targets", "spec_version": "1.0.31", "version": int64(1), "expires": expires.Format(metadata.TimeFormat), "targets": list["targets"]}})))
		w.Sign(name(i), "carol")
	}
	r := rehearsal.Run(t.Context(), open(t, w), w.Now)
	moments := map[time.Time]bool{}
	for _, s := range r.Steps {
		moments[s.At] = true
		if s.What == "download each artifact that the event adds or changes" && s.Message != "1000 artifacts" {
			t.Errorf("%s downloads %s", s.Client, s.Message)
		}
	}
	if got := with(r, repository.OK)["download each artifact that the event adds or changes"]; got != both {
		t.Errorf("downloaded by %q", got)
	}
	if len(moments) < 20 || len(moments) > 50 || len(r.Steps) > 300 {
		t.Errorf("%d moments, %d steps", len(moments), len(r.Steps))
	}
	if got := with(r, repository.Failed); !equal(got, map[string]string{"look into r99": both}) {
		t.Errorf("failed: %v", got)
	}
	if text := strings.Join(r.Unproven, "; "); !strings.Contains(text, "later moments of ") {
		t.Errorf("unproven: %q", text)
	}
}

// TestManyRoots: clients start from the oldest root and from the newest, forty in
// all; a root that breaks the chain in between is still in the way.
func TestManyRoots(t *testing.T) {
	w := New(t)
	onMain(w, func() {
		for range 42 {
			root(w, nil)
		}
	})
	root(w, nil) // version 44
	const what = "walk from every root in history to the proposed root"
	r := rehearsal.Run(t.Context(), open(t, w), w.Now)
	walked := map[string]string{}
	for _, s := range r.With(repository.OK) {
		if s.What == what {
			walked[s.Client] = s.Message
		}
	}
	if want := "40 starting points, to root v44"; walked["tufops-client"] != want || walked["go-tuf"] != want || len(r.With(repository.Failed)) > 0 {
		t.Errorf("walked %q, want %q", walked, want)
	}
	if text := strings.Join(r.Unproven, "; "); !strings.Contains(text, "the way from 4 roots, v2 to v5, which clients that start from root v1 pass") {
		t.Errorf("unproven: %q", text)
	}
	w.Remove("metadata/root_history/3.root.json")
	r = rehearsal.Run(t.Context(), open(t, w), w.Now)
	if got := with(r, repository.Failed); !equal(got, map[string]string{"walk from root v1 to root v44": both}) {
		t.Errorf("failed: %v", got)
	}
}
