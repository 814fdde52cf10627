package onlinesign_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// ours has our client, which alone reads ML-DSA, update from what main publishes.
func ours(t *testing.T, w *onlinesigntest.World, root int) error {
	t.Helper()
	if err := w.Publish(); err != nil {
		t.Fatalf("publish: %v", err)
	}
	timestamp, _, err := clients["tufops-client"](w, anchor(t, w, root), t.TempDir())
	if want := w.Document(metadata.Timestamp).Version(); err == nil && timestamp != want {
		t.Errorf("a client comes to timestamp version %d, want %d", timestamp, want)
	}
	return err
}

// size is that of the timestamp on main. It fails if clients would not read all of
// it.
func size(t *testing.T, w *onlinesigntest.World) int {
	t.Helper()
	n := len(w.Document(metadata.Timestamp).Raw())
	if n > client.TimestampMaxLength {
		t.Errorf("timestamp version %d has %d bytes; clients read at most %d", w.Document(metadata.Timestamp).Version(), n, client.TimestampMaxLength)
	}
	return n
}

// An online key is replaced by another one of ML-DSA. What clients can read with
// both signatures has both; what they cannot has the new one, and a warning says
// who fails for a moment. By way of a short key nobody does.
func TestRotationOfLongKeys(t *testing.T) {
	for _, test := range []struct {
		from, to mldsa.Parameters
		both     bool
	}{
		{mldsa.MLDSA65(), mldsa.MLDSA87(), true}, // just
		{mldsa.MLDSA87(), mldsa.MLDSA87(), false},
	} {
		t.Run(fmt.Sprint(test.from, " to ", test.to), func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Rotate(w.MLDSAKey("old.pem", test.from)) // root 2
			w.Sign()
			if err := ours(t, w, 1); err != nil {
				t.Fatal(err)
			}
			w.Rotate(w.MLDSAKey("new.pem", test.to)) // root 3
			r := w.Sign()
			want := []string{"file2:new.pem", "file2:old.pem"}
			if !test.both {
				want = want[:1]
			}
			if got := signers(t, w, metadata.Timestamp); !slices.Equal(got, want) {
				t.Errorf("the timestamp is signed by %q, want %q", got, want)
			}
			// A snapshot has room for both.
			if got, want := signers(t, w, metadata.Snapshot), []string{"file2:new.pem", "file2:old.pem"}; !slices.Equal(got, want) {
				t.Errorf("the snapshot is signed by %q, want %q", got, want)
			}
			t.Logf("the timestamp has %d bytes", size(t, w))
			if (len(r.Warnings) == 0) != test.both {
				t.Errorf("warnings %q", r.Warnings)
			}
			for _, text := range []string{"the outgoing online key cannot sign timestamp version 2", "file2:old.pem", "clients read at most 16384", "by way of"} {
				if !test.both && !strings.Contains(strings.Join(r.Warnings, "\n"), text) {
					t.Errorf("the warning %q does not say %q", r.Warnings[0], text)
				}
			}
			for root := 1; root <= 3; root++ {
				if err := ours(t, w, root); err != nil {
					t.Errorf("from root %d: %v", root, err)
				}
			}
			if r := w.Sign(); len(r.Signed) > 0 {
				t.Errorf("a second run signed %q", signedText(r))
			}

			if test.both {
				return
			}
			// What the warning advises: a client that has not got the new root yet
			// reads each first timestamp.
			for i, key := range []*metadata.Key{w.OnlineKey("short.pem"), w.MLDSAKey("third.pem", test.to)} {
				w.Rotate(key)
				if r := w.Sign(); len(r.Warnings) > 0 {
					t.Errorf("rotation %d by way of a short key: %q", i+1, r.Warnings)
				}
				size(t, w)
				if err := ours(t, w, 1); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(w.Site, "metadata", fmt.Sprintf("%d.root.json", 4+i))
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				if _, _, err := clients["tufops-client"](w, anchor(t, w, 3+i), t.TempDir()); err != nil {
					t.Errorf("rotation %d by way of a short key, before its root is out: %v", i+1, err)
				}
			}
		})
	}
}

// Several keys of the timestamp have to sign: where their signatures are more than
// clients read nothing is committed; where others suffice these sign.
func TestTooManyLongKeys(t *testing.T) {
	for _, test := range []struct {
		name      string
		keys      []mldsa.Parameters
		threshold int
		signs     []string // nil: refused
	}{
		{"two long ones, both asked for", []mldsa.Parameters{mldsa.MLDSA87(), mldsa.MLDSA87()}, 2, nil},
		{"a long one before two short ones, two asked for", []mldsa.Parameters{mldsa.MLDSA87(), mldsa.MLDSA65(), mldsa.MLDSA65()}, 2, []string{"file2:1.pem", "file2:2.pem"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{})
			w.Sign()
			head := w.Raw(metadata.Root, "Several online keys", func(root metadata.Object) {
				role := root["roles"].(metadata.Object)["timestamp"].(metadata.Object)
				ids := []any{}
				for i, p := range test.keys {
					key := w.MLDSAKey(fmt.Sprintf("%d.pem", i), p)
					root["keys"].(metadata.Object)[key.ID] = key.Object
					ids = append(ids, key.ID)
				}
				role["keyids"], role["threshold"] = ids, int64(test.threshold)
			})
			if err := os.Remove(filepath.Join(w.KeyDir, "online.pem")); err != nil { // the snapshot's as well, which stays
				t.Fatal(err)
			}
			w.Wait(day)
			r, err := w.TrySign(w.Keys())
			if test.signs == nil {
				var long *repository.TooLongError
				if !errors.As(err, new(*onlinesign.QuorumError)) || !errors.As(err, &long) || long.Limit != client.TimestampMaxLength || long.Size <= long.Limit {
					t.Fatalf("got %v, want a QuorumError that names the limit", err)
				}
				if !strings.Contains(long.Hint(), "tufops-sign delegate EVENT timestamp --online-key URI") {
					t.Errorf("the hint is %q", long.Hint())
				}
				if got := w.Upstream.Head("main"); got != string(head) {
					t.Errorf("main is at %s: something was committed", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			size(t, w)
			var got []string
			for _, uri := range signers(t, w, metadata.Timestamp) {
				if uri != "none that verifies" { // a place that was kept
					got = append(got, uri)
				}
			}
			if !slices.Equal(got, test.signs) {
				t.Errorf("signed by %q, want %q", got, test.signs)
			}
			if len(r.Warnings) == 0 || !strings.Contains(strings.Join(r.Warnings, "\n"), "clients read at most 16384") {
				t.Errorf("warnings %q", r.Warnings)
			}
			if err := ours(t, w, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// A snapshot that would list more than clients read is not made: what it lists
// stays, and the timestamp goes on.
func TestSnapshotAtItsLimit(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	signed := metadata.Object{"_type": "snapshot", "spec_version": "1.0.31", "version": 1, "expires": "2036-01-31T00:00:00Z", "meta": metadata.Object{}}
	doc, err := metadata.New(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	const room = 16384                                                                  // for signatures
	signed["x"] = strings.Repeat("x", client.SnapshotMaxLength-room-len(doc.Raw())-100) // leaves enough for targets.json
	if doc, err = doc.WithSigned(signed, nil); err != nil {
		t.Fatal(err)
	}
	w.Write("Import", map[string][]byte{"metadata/snapshot.json": doc.Bytes()})
	if r := w.Sign(); len(r.Signed) != 2 || blockedText(r) != "" {
		t.Fatalf("signed %d, blocked by %q", len(r.Signed), blockedText(r))
	}
	role := strings.Repeat("d", 100)
	w.Change("a role/delegation change", func(e *repository.Edit) error {
		return e.SetRole(role, repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: onlinesigntest.PersonKey(t, "alice")})
	}, metadata.Targets, role)
	w.Wait(day)
	r := w.Sign()
	if got, want := signedRoles(r), "timestamp 2"; got != want || blockedText(r) != "snapshot metadata-too-large" {
		t.Errorf("signed %q, want %q; blocked by %q", got, want, blockedText(r))
	}
	if n := len(w.Document(metadata.Snapshot).Raw()); n > client.SnapshotMaxLength {
		t.Errorf("the snapshot has %d bytes", n)
	}
	update(t, w, nil)
}

func signedRoles(r onlinesign.Result) string {
	var list []string
	for _, s := range r.Signed {
		list = append(list, fmt.Sprint(s.Role, " ", s.Version))
	}
	return strings.Join(list, ", ")
}
