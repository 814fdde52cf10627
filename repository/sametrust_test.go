package repository

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

// A role is part of an event if the event changes which signatures count for which
// paths, under whatever keyid; who is said to hold a key and how long versions live
// is not that.
func TestSameTrust(t *testing.T) {
	key := func(seed byte, owner string) *metadata.Key {
		t.Helper()
		private := ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
		k, err := metadata.NewKey(private.Public(), owner, "")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := Delegated{By: "targets", Delegation: metadata.Delegation{
		Role: "npm", KeyIDs: []string{"a", "b"}, Threshold: 1, Keys: map[string]*metadata.Key{"a": key(1, "@alice"), "b": key(2, "@bob")},
		Paths: []string{"npm/*", "js/*"}, HashPrefixes: []string{"00", "01"},
	}}
	for _, test := range []struct {
		name   string
		change func(d *Delegated)
		want   bool
	}{
		{"nothing", func(*Delegated) {}, true},
		{"order of keyids", func(d *Delegated) { d.KeyIDs = []string{"b", "a"} }, true},
		{"order of paths", func(d *Delegated) { d.Paths = []string{"js/*", "npm/*"} }, true},
		{"order of hash prefixes", func(d *Delegated) { d.HashPrefixes = []string{"01", "00"} }, true},
		{"owner", func(d *Delegated) { d.Keys["a"] = key(1, "@carol") }, true},
		{"a key that the role does not list", func(d *Delegated) { d.Keys["c"] = key(3, "@carol") }, true},
		{"periods", func(d *Delegated) { d.Object = metadata.Object{"x-tuf-on-ci-expiry-period": 1} }, true},

		{"another key under the same keyid", func(d *Delegated) { d.Keys["a"] = key(3, "@alice") }, false},
		{"another scheme", func(d *Delegated) { k := *d.Keys["a"]; k.Scheme = "ed25519ph"; d.Keys["a"] = &k }, false},
		{"a keyid without its key", func(d *Delegated) { delete(d.Keys, "a") }, false},
		{"one keyid less", func(d *Delegated) { d.KeyIDs = []string{"a"} }, false},
		{"one keyid more", func(d *Delegated) { d.KeyIDs = append(d.KeyIDs, "c") }, false},
		{"threshold", func(d *Delegated) { d.Threshold = 2 }, false},
		{"path", func(d *Delegated) { d.Paths = []string{"npm/*"} }, false},
		{"hash prefix", func(d *Delegated) { d.HashPrefixes = []string{"00"} }, false},
		{"terminating", func(d *Delegated) { d.Terminating = true }, false},
		{"delegator", func(d *Delegated) { d.By = "root" }, false},
	} {
		now := base
		now.KeyIDs, now.Keys = slices.Clone(base.KeyIDs), maps.Clone(base.Keys)
		test.change(&now)
		if got := sameTrust(base, now); got != test.want {
			t.Errorf("%s: same trust %t, want %t", test.name, got, test.want)
		}
		if got := sameTrust(now, base); got != test.want {
			t.Errorf("%s, the other way: same trust %t, want %t", test.name, got, test.want)
		}
	}
}
