package rehearsal

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// TestStandIns: a stand-in looks like the key that it stands for, signs as it
// would, and is another key.
func TestStandIns(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	edwards, _, _ := ed25519.GenerateKey(rand.Reader)
	modulus, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	point, err := p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		pub  crypto.PublicKey
		set  metadata.Object // fields that are not as a new key has them
		form string          // how the public value begins
	}{
		{"ecdsa", p256.Public(), nil, "-----BEGIN PUBLIC KEY"},
		{"ecdsa-sha2-nistp256", p256.Public(), metadata.Object{"keytype": "ecdsa-sha2-nistp256"}, "-----BEGIN PUBLIC KEY"},
		{"a point", p256.Public(), metadata.Object{"keytype": "ecdsa-sha2-nistp256", "keyval": metadata.Object{"public": hex.EncodeToString(point)}}, "04"},
		{"P-384", p384.Public(), nil, "-----BEGIN PUBLIC KEY"},
		{"ed25519", edwards, nil, ""},
		{"rsa", modulus.Public(), nil, "-----BEGIN PUBLIC KEY"},
		{"rsa with SHA-512", modulus.Public(), metadata.Object{"scheme": "rsassa-pss-sha512"}, "-----BEGIN PUBLIC KEY"},
		{"with fields of others", edwards, metadata.Object{"keyid_hash_algorithms": []any{"sha256"}, "x": "y"}, ""},
	} {
		made, err := metadata.NewKey(test.pub, "@alice", "")
		if err != nil {
			t.Fatal(err)
		}
		obj := metadata.Clone(made.Object)
		for name, v := range test.set {
			obj[name] = v
		}
		real, err := metadata.DecodeKey("legacy", obj)
		if err != nil || real.Unusable != nil {
			t.Fatal(test.name, err, real.Unusable)
		}
		ring := newKeyring()
		id, like, err := ring.standIn(real)
		if err != nil {
			t.Fatal(test.name, err)
		}
		key, err := metadata.DecodeKey(id, like)
		if err != nil || key.Unusable != nil {
			t.Fatal(test.name, err, key.Unusable)
		}
		if key.Fingerprint() == real.Fingerprint() || id == "legacy" {
			t.Errorf("%s: it is the key itself", test.name)
		}
		if text := like["keyval"].(metadata.Object)["public"].(string); !strings.HasPrefix(text, test.form) {
			t.Errorf("%s: %.40s", test.name, text)
		}
		want := metadata.Clone(obj)
		want["keyval"] = like["keyval"]
		if string(metadata.Write(like)) != string(metadata.Write(want)) {
			t.Errorf("%s: %s, want %s", test.name, metadata.Write(like), metadata.Write(want))
		}
		sig, err := ring.byID[id].sign(t.Context(), []byte("payload"))
		if err != nil || key.Verify([]byte("payload"), sig) != nil || real.Verify([]byte("payload"), sig) == nil {
			t.Errorf("%s: the signature does not count: %v", test.name, err)
		}
		if again, _, _ := ring.standIn(real); again != id || len(ring.byPrint) != 1 {
			t.Errorf("%s: a second stand-in", test.name)
		}
		real.ID = "other"
		if other, _, _ := ring.standIn(real); other == id || len(ring.byPrint) != 1 {
			t.Errorf("%s: under two keyids it is two keys, or one keyid", test.name)
		}
	}
	nobody, err := metadata.DecodeKey("x", metadata.Object{"keytype": "slh-dsa", "scheme": "slh-dsa-sha2-128s/1", "keyval": metadata.Object{"public": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	ring := newKeyring()
	if id, obj, err := ring.standIn(nobody); err != nil || string(metadata.Write(obj)) != string(metadata.Write(nobody.Object)) || len(ring.byID) != 0 {
		t.Errorf("a key that nobody can read: %s %v %v", id, obj, err)
	}
}

// at reads a revision of a world.
func at(t *testing.T, w *World, revision string) *repository.State {
	t.Helper()
	s, err := w.Open().At(t.Context(), git.OID(w.Run("rev-parse", revision)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// trust is what a root's delegation accepts: the public keys and the threshold.
func trust(t *testing.T, root *metadata.Document, role string) string {
	t.Helper()
	d, ok := root.Delegation(role)
	if !ok {
		t.Fatalf("no %s", role)
	}
	var keys []string
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil {
			keys = append(keys, k.Fingerprint())
		}
	}
	slices.Sort(keys)
	return fmt.Sprint(keys, d.Threshold)
}

// TestShadow: a shadow has everything of the real state but the keys and
// signatures of root, snapshot and timestamp; and those change where the real
// ones do, and nowhere else.
func TestShadow(t *testing.T) {
	w := New(t)
	w.Edit("root", func(s metadata.Object) {
		SetKeys(s, "root", "alice", "dave")
		SetKeys(s, "snapshot", "online2")
		Roles(s, "targets")["threshold"] = int64(1)
		s["x"] = "y"
	}).Sign("root", "alice", "bob", "dave")
	w.Commit("event")
	ring := newKeyring()
	main, err := ring.newShadow(t.Context(), at(t, w, "main"), nil)
	if err != nil {
		t.Fatal(err)
	}
	event, err := ring.newShadow(t.Context(), at(t, w, "HEAD"), main)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*shadow{main, event} {
		real, err := s.state.Document("root")
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range metadata.TopLevel {
			if same := trust(t, s.root, role) == trust(t, real, role); same != (role == "targets") {
				t.Errorf("root v%d: the keys of %s are the real ones: %v", real.Version(), role, same)
			}
			if q := check(s.root, role, s.root); role == "root" && !q.Met() {
				t.Errorf("root v%d: %+v", real.Version(), q)
			}
		}
		if q := check(real, "root", s.root); q.Count != 0 {
			t.Errorf("root v%d: real keys have signed it: %+v", real.Version(), q)
		}
		a, b := metadata.Clone(s.root.Signed()), metadata.Clone(real.Signed())
		for _, o := range []metadata.Object{a, b} {
			delete(o, "keys")
			for _, role := range []string{"root", "snapshot", "timestamp"} {
				delete(Roles(o, role), "keyids")
			}
		}
		if string(metadata.Write(a)) != string(metadata.Write(b)) {
			t.Errorf("root v%d: %s\nis %s", real.Version(), metadata.Write(b), metadata.Write(a))
		}
	}
	for role, rotates := range map[string]bool{"root": true, "snapshot": true, "timestamp": false} {
		if got := trust(t, main.root, role) != trust(t, event.root, role); got != rotates {
			t.Errorf("%s rotates: %v", role, got)
		}
	}
	if q := check(main.root, "root", event.root); !q.Met() {
		t.Errorf("the keys of the root before have not signed: %+v", q)
	}
	same, err := ring.newShadow(t.Context(), at(t, w, "main"), main)
	if err != nil || same.root != main.root {
		t.Errorf("the same root is another: %v", err)
	}

	s := newSite(main.state.Repository().Git)
	if changed, err := ring.publish(t.Context(), s, main, w.Now); err != nil || changed != nil {
		t.Fatal(changed, err)
	}
	before := s.clone()
	if changed, err := ring.publish(t.Context(), s, event, w.Now); err != nil || changed != nil {
		t.Fatal(changed, err)
	}
	for name, file := range map[string]string{
		"metadata/1.targets.json": "metadata/targets.json", "metadata/1.releases.json": "metadata/releases.json",
		"targets/87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7.a.txt": "targets/a.txt",
	} {
		if got, err := s.open(t.Context(), name); err != nil || string(got) != w.ReadFile(file) {
			t.Errorf("%s: %.60q, %v", name, got, err)
		}
	}
	for _, name := range []string{"metadata/1.root.json", "metadata/2.snapshot.json", timestampFile} {
		if _, ok := before.files[name]; !ok {
			t.Errorf("main has no %s: %q", name, sorted(before.files))
		}
	}
	for _, name := range []string{"metadata/2.root.json", "metadata/3.snapshot.json"} {
		if _, had := before.files[name]; had || s.files[name].data == nil {
			t.Errorf("the event has no %s, or main has it: %q", name, sorted(s.files))
		}
	}
}

func check(by *metadata.Document, role string, doc *metadata.Document) metadata.Quorum {
	d, _ := by.Delegation(role)
	return metadata.Check(d, doc)
}
