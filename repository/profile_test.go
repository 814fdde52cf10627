package repository_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// keepers hold the five keys of a repository that meets the profile.
var keepers = []string{"alice", "bob", "carol", "dave", "erin"}

// publicGood changes a world so that it meets every demand that can be told.
func publicGood(s object) {
	for _, role := range []string{"root", "targets"} {
		SetKeys(s, role, keepers...)
		s["roles"].(object)[role].(object)["threshold"] = int64(3)
	}
	timestamp := s["roles"].(object)["timestamp"].(object)
	timestamp[metadata.FieldExpiryPeriod], timestamp[metadata.FieldSigningPeriod] = int64(7), int64(6)
}

// TestProfile: each demand is met by a repository that does what it asks, and by
// none that does not.
func TestProfile(t *testing.T) {
	artifacts := func(name string) func(w *World) {
		return func(w *World) {
			w.Edit("targets", func(s object) {
				delete(s["targets"].(object), "a.txt")
				List(s, name, "x")
			})
		}
	}
	fine := artifacts("trusted_root.json")
	root := func(edit func(object)) func(*World) {
		return func(w *World) {
			w.Edit("root", func(s object) {
				publicGood(s)
				edit(s)
			})
			fine(w)
		}
	}
	attested := func(owner string) repository.Attestation {
		return func(_ context.Context, _ *repository.State, k *metadata.Key) (string, error) {
			if k.Owner == owner {
				return "there is none", nil
			}
			return "", nil
		}
	}
	for _, test := range []struct {
		name     string
		change   func(*World)
		attested repository.Attestation
		unmet    []string // the rest is met
	}{
		{"all of it", root(func(object) {}), attested(""), nil},
		{"nobody can tell", root(func(object) {}), nil, []string{"root-devices unknown"}},
		{"one without a device", root(func(object) {}), attested("@carol"), []string{"root-devices no"}},
		{"four keys", root(func(s object) {
			SetKeys(s, "root", keepers[:4]...)
			SetKeys(s, "targets", keepers[:4]...)
		}), attested(""), []string{"root-keys no"}},
		{"two signatures", root(func(s object) { s["roles"].(object)["root"].(object)["threshold"] = int64(2) }), attested(""), []string{"root-threshold no"}},
		{"another person for targets", root(func(s object) { AddKey(s, "targets", "frank") }), attested(""), []string{"targets-keys no"}},
		{"targets with one signature", root(func(s object) { s["roles"].(object)["targets"].(object)["threshold"] = int64(1) }), attested(""), []string{"targets-keys no"}},
		{"a timestamp of eight days", root(func(s object) {
			timestamp := s["roles"].(object)["timestamp"].(object)
			timestamp[metadata.FieldExpiryPeriod], timestamp[metadata.FieldSigningPeriod] = int64(8), int64(7)
		}), attested(""), []string{"timestamp no"}},
		{"a timestamp every other day", root(func(s object) {
			s["roles"].(object)["timestamp"].(object)[metadata.FieldSigningPeriod] = int64(5)
		}), attested(""), []string{"timestamp no"}},
		{"another artifact", func(w *World) {
			w.Edit("root", publicGood)
			artifacts("trusted_root.json.bak")(w)
		}, attested(""), []string{"artifacts no"}},
		{"names of before", func(w *World) {
			w.Edit("root", publicGood)
			for _, name := range []string{"ctfe_2022_2.pub", "rekor.pub", "fulcio_intermediate_v1.crt.pem", "signing_config_rekor_v2.v0.2.json", "trusted_root.v0.2.json"} {
				artifacts(name)(w)
			}
		}, attested(""), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			test.change(w)
			w.Commit("event")
			ctx := context.Background()
			repo := w.Open()
			head, err := repo.Git.Resolve(ctx, "HEAD")
			if err != nil {
				t.Fatal(err)
			}
			state, err := repo.At(ctx, head)
			if err != nil {
				t.Fatal(err)
			}
			profile, err := state.Profile(ctx, repository.SigstorePublicGood, test.attested)
			if err != nil {
				t.Fatal(err)
			}
			var unmet, names []string
			for _, d := range profile.Demands {
				names = append(names, d.Name)
				if d.Met != "yes" {
					unmet = append(unmet, d.Name+" "+d.Met)
				}
				if d.Text == "" {
					t.Errorf("%s says nothing", d.Name)
				}
			}
			if !slices.Equal(unmet, test.unmet) || strings.Join(names, " ") != "root-keys root-threshold root-devices targets-keys timestamp artifacts" {
				t.Errorf("of %q unmet are %q, want %q: %+v", names, unmet, test.unmet, profile.Demands)
			}
		})
	}
}

// TestProfileInStatus: a status shows the profile that main's policy names, and
// no other gate follows from it.
func TestProfileInStatus(t *testing.T) {
	w := New(t)
	bumpTargets(w, nil)
	w.Commit("event")
	s := w.Status(repository.Policy{Profile: repository.SigstorePublicGood})
	if s.Profile == nil || s.Profile.Name != repository.SigstorePublicGood || !s.Complete {
		t.Errorf("profile %+v, complete %v", s.Profile, s.Complete)
	}
	if s = w.Status(repository.Policy{}); s.Profile != nil {
		t.Errorf("without a profile the status has %+v", s.Profile)
	}
	e, err := w.Open().OpenEvent(context.Background(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main",
		Attested: func(context.Context, *repository.State, *metadata.Key) (string, error) {
			return "", errors.New("no network")
		}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Status(context.Background(), w.Now, repository.Policy{Profile: repository.SigstorePublicGood}); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("attestation cannot be looked at: %v", err)
	}
}
