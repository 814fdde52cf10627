package repository_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/repository"
)

// row is one recorded state of events.json.
type row struct {
	Event       string            `json:"event"`
	Base        string            `json:"base"`
	MergeBase   string            `json:"merge_base"`
	Head        string            `json:"head"`
	MergedAs    string            `json:"merged_as"`
	Now         time.Time         `json:"now"`
	Valid       bool              `json:"tuf_on_ci_valid"`
	ValidLegacy bool              `json:"tuf_on_ci_valid_allowing_legacy_keyids"`
	Roles       []recordedRole    `json:"roles"`
	Update      map[string]string `json:"update_targets"`
}

type recordedRole struct {
	Role            string
	Version         int64
	PreviousVersion int64 `json:"previous_version"`
	Threshold       int64
	Signed          []string
	Missing         []string
	Invites         []string
	Artifacts       []repository.ArtifactChange
	KnownGood       *repository.KnownGoodStatus `json:"known_good"`
}

func rows(t testing.TB) []row {
	data, err := os.ReadFile(filepath.Join(gittest.CorpusDir(t), "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []row
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func openCorpus(t testing.TB) *repository.Repository {
	g, err := git.Open(context.Background(), gittest.Corpus(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	r, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// extraRoles are the rows where we name a role that tuf-on-ci does not. Each
// stands in docs/divergences.md.
var extraRoles = map[string][]string{}

// mistakes are the rows that we do not call complete, where trust material is
// enforced, because of what it says, by the first letters of the head. Each was put right
// later, but for the removal of an authority in the first four.
var mistakes = map[string][]string{
	"a22a45e4": {"signing-config/media-type", "trusted-root/removed"},
	"870f2f91": {"signing-config/media-type", "trusted-root/removed"},
	"fb202d48": {"signing-config/media-type", "trusted-root/removed"},
	"2a17c996": {"signing-config/media-type", "trusted-root/removed"},
	"076ae7f2": {"trusted-root/field-too-new"}, // add-operator
	"1d5b3f47": {"trusted-root/log-id"},        // rekor-tiles
	"a6c46ad1": {"trusted-root/log-id"},
	"7a52835d": {"trusted-root/unreadable"}, // log2025-alpha2
	"797c09b6": {"trusted-root/unreadable"},
}

// rulesOf names the rules of findings, each once, sorted.
func rulesOf(list []repository.Finding) []string {
	var names []string
	for _, f := range list {
		names = append(names, f.Rule)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestHistoryAsOracle compares our status of 162 states of 28 real signing
// events with what tuf-on-ci 0.20 recorded.
func TestHistoryAsOracle(t *testing.T) {
	r := openCorpus(t)
	ctx := context.Background()
	strict, legacy := 0, 0
	for _, want := range rows(t) {
		name := want.Event + " " + want.Head[:8]
		e, err := r.OpenEvent(ctx, repository.EventOptions{Name: want.Event, Head: want.Head, Base: want.Base})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(e.MergeBase) != want.MergeBase {
			t.Errorf("%s: merge base %s, want %s", name, e.MergeBase, want.MergeBase)
		}
		got, err := e.Status(ctx, want.Now, repository.Policy{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		enforced, err := e.Status(ctx, want.Now, repository.Policy{EnforceTrust: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if enforced.Complete != (got.Complete && mistakes[want.Head[:8]] == nil) {
			t.Errorf("%s: with trust material enforced complete is %v, blocked by %v", name, enforced.Complete, rulesOf(blocking(enforced)))
		}
		lenient, err := e.Status(ctx, want.Now, repository.Policy{AllowLegacyKeyIDs: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compareRoles(t, name, want, got)
		if got.Complete && !want.Valid {
			t.Errorf("%s: complete, but tuf-on-ci says not valid", name)
		}
		if lenient.Complete && !want.ValidLegacy {
			t.Errorf("%s: complete with legacy keyids, but tuf-on-ci says not valid", name)
		}
		if got.Complete {
			strict++
		} else if want.Valid {
			t.Logf("%s: stricter: %v", name, rulesOf(blocking(got)))
		}
		if lenient.Complete {
			legacy++
		} else if want.ValidLegacy {
			t.Logf("%s: stricter with legacy keyids: %v", name, rulesOf(blocking(lenient)))
		}
	}
	t.Logf("complete: %d of 46, with legacy keyids %d of 61", strict, legacy)
	if strict < 42 || legacy < 57 {
		t.Errorf("complete on %d and %d rows, want at least 42 and 57", strict, legacy)
	}
}

func blocking(s *repository.Status) []repository.Finding {
	return slices.DeleteFunc(s.AllFindings(), func(f repository.Finding) bool { return !f.Blocks() })
}

func compareRoles(t *testing.T, name string, want row, got *repository.Status) {
	t.Helper()
	ours := map[string]repository.RoleStatus{}
	for _, role := range got.Roles {
		ours[role.Role] = role
	}
	for _, w := range want.Roles {
		g, ok := ours[w.Role]
		delete(ours, w.Role)
		if !ok {
			t.Errorf("%s: role %s is missing", name, w.Role)
			continue
		}
		if w.Role != "root" {
			w.KnownGood = nil
		}
		artifacts := slices.Clone(g.Artifacts)
		for i := range artifacts { // which tuf-on-ci does not tell
			artifacts[i].Before, artifacts[i].After, artifacts[i].Meaning = nil, nil, nil
		}
		have := recordedRole{w.Role, g.Version, g.PreviousVersion, g.Threshold, g.Signed, g.Missing, g.Invites, artifacts, g.KnownGood}
		slices.SortFunc(w.Artifacts, func(a, b repository.ArtifactChange) int {
			if a.Path < b.Path {
				return -1
			}
			return 1
		})
		if !reflect.DeepEqual(w, have) {
			t.Errorf("%s: role %s:\n got %+v %+v\nwant %+v %+v", name, w.Role, have, have.KnownGood, w, w.KnownGood)
		}
	}
	for role := range ours {
		if !slices.Contains(extraRoles[want.Head], role) {
			t.Errorf("%s: role %s is named, tuf-on-ci does not: %v", name, role, ours[role].Findings)
		}
	}
}

// TestUpdateTargetsAsOracle: at every recorded state the same files change as
// tuf-on-ci's update-targets would change, to the same bytes.
func TestUpdateTargetsAsOracle(t *testing.T) {
	r := openCorpus(t)
	ctx := context.Background()
	updates := 0
	for _, want := range rows(t) {
		name := want.Event + " " + want.Head[:8]
		state, err := r.At(ctx, git.OID(want.Head))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		edit, err := state.Edit(ctx, state, want.Now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, role := range state.TargetsRoles() {
			if _, err := edit.SyncTargets(ctx, role); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		changes, err := edit.Changes(ctx)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := map[string]string{}
		for _, c := range changes {
			got[c.Path] = fmt.Sprintf("%x", sha256.Sum256(c.Data))
		}
		if !maps.Equal(got, want.Update) {
			t.Errorf("%s: changes %v, want %v", name, got, want.Update)
		}
		updates += len(got)
	}
	if updates < 25 {
		t.Errorf("only %d files change over all rows: did the corpus change?", updates)
	}
}
