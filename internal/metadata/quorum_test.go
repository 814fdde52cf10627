package metadata_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
)

// stateNames are how the tables below write the states of signatures.
var stateNames = map[metadata.SignatureState]string{
	metadata.SignatureValid: "valid", metadata.SignaturePlaceholder: "placeholder", metadata.SignatureInvalid: "invalid",
	metadata.SignatureUnlisted: "unlisted", metadata.SignatureKeyMissing: "key-missing", metadata.SignatureKeyUnusable: "unusable",
	metadata.SignatureDuplicateID: "duplicate-id", metadata.SignatureDuplicateKey: "duplicate-key",
}

func TestCheck(t *testing.T) {
	const (
		doesNotVerify = "the signature does not verify over this content"
		notHex        = "the signature is not hex"
		notSigned     = "not signed yet"
		unlisted      = "role targets does not list this key"
		keyMissing    = "role targets lists this keyid, but its delegator has no such key"
		twice         = "the keyid signs a second time"
	)
	for _, c := range []struct {
		name string
		situation
		met     bool
		count   int
		states  string // of the signatures, in their order
		reasons []string
		// by name; "-" for none
		whoSigned, whoMisses string
	}{
		{"one of one", situation{"alice", "alice", "alice", 1}, true, 1, "valid", []string{""}, "alice", "-"},
		{"two of two", situation{"alice bob", "alice bob", "alice bob", 2}, true, 2, "valid valid", []string{"", ""}, "alice bob", "-"},
		{"one of two", situation{"alice bob", "alice bob", "bob", 2}, false, 1, "valid", []string{""}, "bob", "alice"},
		{"more than needed", situation{"alice bob carol", "alice bob carol", "carol alice bob", 2}, true, 3, "valid valid valid", nil, "alice bob carol", "-"},
		{"in the order of the delegation", situation{"alice bob carol dave", "dave alice carol bob", "bob dave", 2}, true, 2, "valid valid", nil, "dave bob", "alice carol"},
		{"no signature at all", situation{"alice", "alice", "", 1}, false, 0, "", nil, "-", "alice"},
		{"every type together", situation{"alice ed-bob p384-carol rsa-dave hex-erin compat-frank", "alice ed-bob p384-carol rsa-dave hex-erin compat-frank",
			"alice ed-bob p384-carol rsa-dave hex-erin compat-frank", 6}, true, 6, "valid valid valid valid valid valid", nil,
			"alice ed-bob p384-carol rsa-dave hex-erin compat-frank", "-"},

		// Kills counting of signatures, and of keyids in the document.
		{"keyid twice", situation{"alice bob", "alice bob", "alice alice", 2}, false, 1, "valid duplicate-id", []string{"", twice}, "alice", "bob"},
		{"keyid twice, the first wrong", situation{"alice", "alice", "alice:other alice", 1}, false, 0, "invalid duplicate-id", []string{doesNotVerify, twice}, "-", "alice"},
		{"keyid twice, the first empty", situation{"alice", "alice", "alice:empty alice", 1}, false, 0, "placeholder duplicate-id", []string{notSigned, twice}, "-", "alice"},
		{"unlisted keyid twice", situation{"alice bob", "alice", "bob bob alice", 1}, true, 1, "unlisted duplicate-id valid", []string{unlisted, twice, ""}, "alice", "-"},
		// Kills counting of keyids in the delegation.
		{"keyid listed twice", situation{"alice bob", "alice alice bob", "alice", 2}, false, 1, "valid", []string{""}, "alice", "bob"},
		// Kills telling keys apart by keyid, by key object, or by the text of the key.
		{"one key under two owners", situation{"alice alice2=alice bob", "alice alice2 bob", "alice alice2", 2}, false, 1,
			"valid duplicate-key", []string{"", "the same public key as keyid KEYID(alice), which has been counted"}, "alice alice2", "bob"},
		{"one key, hex and PEM", situation{"alice hex-alice", "alice hex-alice", "hex-alice alice", 2}, false, 1,
			"valid duplicate-key", []string{"", "the same public key as keyid KEYID(hex-alice), which has been counted"}, "alice hex-alice", "-"},
		{"one key, two key types", situation{"alice compat-alice", "alice compat-alice", "alice compat-alice", 2}, false, 1, "valid duplicate-key", nil, "alice compat-alice", "-"},
		{"one key under two keyids, and another", situation{"alice alice2=alice bob", "alice alice2 bob", "alice alice2 bob", 2}, true, 2, "valid duplicate-key valid", nil, "alice alice2 bob", "-"},
		{"one key under two keyids, first signature wrong", situation{"alice alice2=alice", "alice alice2", "alice:other alice2", 1}, true, 1, "invalid valid", []string{doesNotVerify, ""}, "alice2", "alice"},
		// Kills "the same key object is one signer" in reverse: one person may hold two keys.
		{"one owner, two keys", situation{"alice alice2", "alice alice2", "alice alice2", 2}, true, 2, "valid valid", nil, "alice alice2", "-"},

		// Kills always-met, and verifying less than the whole.
		{"over another payload", situation{"alice", "alice", "alice:other", 1}, false, 0, "invalid", []string{doesNotVerify}, "-", "alice"},
		{"by another key", situation{"alice bob", "alice bob", "alice:by=bob", 1}, false, 0, "invalid", []string{doesNotVerify}, "-", "alice bob"},
		{"by each other", situation{"alice bob", "alice bob", "alice:by=bob bob:by=alice", 1}, false, 0, "invalid invalid", nil, "-", "alice bob"},
		{"cut short", situation{"alice", "alice", "alice:short", 1}, false, 0, "invalid", []string{doesNotVerify}, "-", "alice"},
		{"not hex", situation{"alice bob", "alice bob", "alice:nothex bob", 1}, true, 1, "invalid valid", []string{notHex, ""}, "bob", "alice"},
		{"upper-case hex", situation{"alice", "alice", "alice:upper", 1}, true, 1, "valid", []string{""}, "alice", "-"},
		{"placeholder", situation{"alice bob", "alice bob", "alice bob:empty", 2}, false, 1, "valid placeholder", []string{"", notSigned}, "alice", "bob"},
		{"placeholder of a stranger", situation{"alice", "alice", "bob:empty alice", 1}, true, 1, "placeholder valid", []string{notSigned, ""}, "alice", "-"},
		{"a wrong one among enough", situation{"alice bob carol", "alice bob carol", "alice bob:other carol", 2}, true, 2, "valid invalid valid", []string{"", doesNotVerify, ""}, "alice carol", "bob"},

		// Kills looking keys up in the delegator's keys alone.
		{"a key of the delegator that the role does not list", situation{"alice bob", "alice", "bob", 1}, false, 0, "unlisted", []string{unlisted}, "-", "alice"},
		{"a key nobody has", situation{"alice", "alice", "mallory alice", 1}, true, 1, "unlisted valid", []string{unlisted, ""}, "alice", "-"},
		{"nobody listed", situation{"alice", "", "alice", 1}, false, 0, "unlisted", []string{unlisted}, "-", "-"},
		{"old signatures stay", situation{"alice bob", "alice", "carol bob alice dave:other", 1}, true, 1, "unlisted unlisted valid unlisted", nil, "alice", "-"},

		// Kills failing on what a client must skip.
		{"listed, but not among the keys", situation{"alice", "ghost alice", "alice", 1}, true, 1, "valid", []string{""}, "alice", "-"},
		{"listed, not among the keys, signs", situation{"alice", "ghost alice", "ghost", 1}, false, 0, "key-missing", []string{keyMissing}, "-", "alice"},
		{"unknown key type beside a valid signer", situation{"alice sigstore-bob", "sigstore-bob alice", "alice sigstore-bob", 1}, true, 1,
			"valid unusable", []string{"", `key type "sigstore-oidc" is not supported`}, "alice", "sigstore-bob"},
		{"unknown key type alone", situation{"sigstore-bob future-carol", "sigstore-bob future-carol", "sigstore-bob future-carol", 1}, false, 0,
			"unusable unusable", []string{`key type "sigstore-oidc" is not supported`, `key type "slh-dsa" is not supported`}, "-", "sigstore-bob future-carol"},
		{"scheme of another curve", situation{"as384-alice as256-bob oddscheme-carol bob", "as384-alice as256-bob oddscheme-carol bob", "as384-alice as256-bob oddscheme-carol bob", 2}, false, 1,
			"unusable unusable unusable valid", []string{"the key is on curve P-256 but its scheme is ecdsa-sha2-nistp384",
				"the key is on curve P-384 but its scheme is ecdsa-sha2-nistp256", `scheme "ecdsa-sha2-nistp521" of key type ecdsa is not supported`, ""},
			"bob", "as384-alice as256-bob oddscheme-carol"},
		{"junk after the PEM", situation{"junk-alice", "junk-alice", "junk-alice", 1}, false, 0, "unusable", []string{"the public key is not one PEM block"}, "-", "junk-alice"},

		// Kills counting a new key type for nothing, or for more than one.
		{"ECDSA and ML-DSA", situation{"alice mldsa65-bob", "alice mldsa65-bob", "alice mldsa65-bob", 2}, true, 2, "valid valid", nil, "alice mldsa65-bob", "-"},
		{"ECDSA of the two", situation{"alice mldsa65-bob", "alice mldsa65-bob", "alice", 2}, false, 1, "valid", nil, "alice", "mldsa65-bob"},
		{"ML-DSA of the two", situation{"alice mldsa65-bob", "alice mldsa65-bob", "mldsa65-bob", 2}, false, 1, "valid", nil, "mldsa65-bob", "alice"},
		{"ML-DSA over another payload", situation{"alice mldsa65-bob", "alice mldsa65-bob", "alice mldsa65-bob:other", 2}, false, 1, "valid invalid", []string{"", doesNotVerify}, "alice", "mldsa65-bob"},
		{"ML-DSA of another level", situation{"mldsa44-bob mldsa65-bob", "mldsa44-bob mldsa65-bob", "mldsa44-bob mldsa65-bob:by=mldsa44-bob", 2}, false, 1, "valid invalid", nil, "mldsa44-bob", "mldsa65-bob"},
		{"one ML-DSA key under two keyids", situation{"mldsa65-bob mldsa65-rob=bob", "mldsa65-bob mldsa65-rob", "mldsa65-bob mldsa65-rob", 2}, false, 1, "valid duplicate-key", nil, "mldsa65-bob mldsa65-rob", "-"},

		// Kills `count >= threshold` alone.
		{"threshold zero, unsigned", situation{"alice", "alice", "", 0}, false, 0, "", nil, "-", "alice"},
		{"threshold zero, signed", situation{"alice", "alice", "alice", 0}, false, 1, "valid", nil, "alice", "-"},
		{"threshold negative", situation{"alice", "alice", "alice", -1}, false, 1, "valid", nil, "alice", "-"},
		{"threshold far negative", situation{"alice", "alice", "alice", -1 << 31}, false, 1, "valid", nil, "alice", "-"},
		{"threshold beyond 32 bits", situation{"alice", "alice", "alice", int64(1)<<32 + 1}, false, 1, "valid", nil, "alice", "-"},
		{"threshold beyond the keys", situation{"alice bob", "alice bob", "alice bob", 3}, false, 2, "valid valid", nil, "alice bob", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, targets, names := c.build(t)
			del, ok := root.Delegation(metadata.Targets)
			if !ok {
				t.Fatal("no delegation")
			}
			if got := metadata.Met(del, targets); got != c.met { // before Check, which would have verified all
				t.Errorf("Met says %v, want %v", got, c.met)
			}
			q := metadata.Check(del, targets)
			if q.Met() != c.met || q.Count != c.count || fmt.Sprint(q.Threshold) != fmt.Sprint(c.threshold) {
				t.Errorf("met %v, count %d, threshold %d; want %v, %d, %v", q.Met(), q.Count, q.Threshold, c.met, c.count, c.threshold)
			}
			var states, reasons []string
			for i, check := range q.Checks {
				states, reasons = append(states, stateNames[check.State]), append(reasons, check.Reason)
				if check.KeyID != targets.Signatures()[i].KeyID {
					t.Errorf("check %d is about keyid %s, the signature about %s", i, check.KeyID, targets.Signatures()[i].KeyID)
				}
				if (check.Reason == "") != (check.State == metadata.SignatureValid) {
					t.Errorf("state %s has the reason %q", stateNames[check.State], check.Reason)
				}
				if check.Key != del.Keys[check.KeyID] {
					t.Errorf("check %d has the key %v", i, check.Key)
				}
			}
			if got := strings.Join(states, " "); got != c.states {
				t.Errorf("states %s, want %s", got, c.states)
			}
			if c.reasons != nil {
				want := append([]string(nil), c.reasons...)
				for i := range want {
					for id, name := range names {
						want[i] = strings.ReplaceAll(want[i], "KEYID("+name+")", id)
					}
				}
				if !reflect.DeepEqual(reasons, want) {
					t.Errorf("reasons %q, want %q", reasons, want)
				}
			}
			who := func(keys []*metadata.Key) string {
				list := []string{}
				for _, k := range keys {
					list = append(list, names[k.ID])
				}
				return strings.Join(append(list, []string{"-"}[:max(0, 1-len(keys))]...), " ")
			}
			if got := who(q.Signed); got != c.whoSigned {
				t.Errorf("signed by %s, want %s", got, c.whoSigned)
			}
			if got := who(q.Missing); got != c.whoMisses {
				t.Errorf("missing %s, want %s", got, c.whoMisses)
			}
		})
	}
}

// Kills: a Met that verifies everything, and one that stops before it should.
func TestMetVerifiesNoMoreThanItTakes(t *testing.T) {
	for _, c := range []struct {
		situation
		want int
	}{
		{situation{"alice bob carol", "alice bob carol", "alice bob carol", 1}, 1},
		{situation{"alice bob carol", "alice bob carol", "alice bob carol", 2}, 2},
		{situation{"alice bob carol", "alice bob carol", "alice bob carol", 3}, 3},
		{situation{"alice bob carol", "alice bob carol", "alice bob carol", 4}, 3}, // never enough
		{situation{"alice bob carol", "alice bob carol", "alice bob carol", 0}, 3},
		{situation{"alice alice2=alice bob", "alice alice2 bob", "alice alice2 bob", 2}, 3}, // one key counts once
	} {
		root, targets, _ := c.build(t)
		del, _ := root.Delegation(metadata.Targets)
		met := metadata.Met(del, targets)
		if got := targets.Verifications(); got != c.want {
			t.Errorf("%+v: %d verifications, want %d", c.situation, got, c.want)
		}
		if met != metadata.Check(del, targets).Met() {
			t.Errorf("%+v: Met says %v", c.situation, met)
		}
	}
}

// A signature is over the received content, unknown fields included, not over
// the fields that we know.
func TestCheckCoversUnknownFields(t *testing.T) {
	alice := keyFor(t, "alice")
	root, targets, _ := situation{"alice", "alice", "alice", 1}.build(t)
	del, _ := root.Delegation(metadata.Targets)
	for name, edit := range map[string]func(signed metadata.Object){
		"a new field":          func(o metadata.Object) { o["x"] = "y" },
		"a new field far down": func(o metadata.Object) { o["targets"].(metadata.Object)["a.txt"].(metadata.Object)["x"] = nil },
		"custom": func(o metadata.Object) {
			o["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = metadata.Object{}
		},
		"a period":                  func(o metadata.Object) { o[metadata.FieldExpiryPeriod] = 366 },
		"the version":               func(o metadata.Object) { o["version"] = 2 },
		"the expiry, same moment":   func(o metadata.Object) { o["expires"] = "2036-01-31T00:00:00+00:00" },
		"a period that disappeared": func(o metadata.Object) { delete(o, metadata.FieldSigningPeriod) },
	} {
		signed := metadata.Clone(targets.Signed())
		edit(signed)
		changed, err := targets.WithSigned(signed, targets.Signatures())
		if err != nil {
			t.Fatal(err)
		}
		if metadata.Check(del, changed).Met() {
			t.Errorf("%s: the old signature still counts", name)
		}
		again, err := changed.WithSignature(alice.id, alice.sign(t, changed.Payload()))
		if err != nil || !metadata.Check(del, again).Met() {
			t.Errorf("%s: a new signature does not count (%v)", name, err)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	for _, c := range []struct {
		keys, lists string
		want        int
	}{
		{"alice bob", "alice bob", 2},
		{"alice bob", "alice", 1},
		{"alice", "alice alice", 1},
		{"alice alice2=alice hex-alice", "alice alice2 hex-alice", 1},
		{"alice sigstore-bob future-carol as384-dave", "alice sigstore-bob future-carol as384-dave", 1},
		{"alice", "ghost", 0},
		{"alice", "", 0},
	} {
		root, _, _ := situation{c.keys, c.lists, "", 1}.build(t)
		if del, _ := root.Delegation(metadata.Targets); del.PublicKeys() != c.want {
			t.Errorf("keys %q, listed %q: %d public keys, want %d", c.keys, c.lists, del.PublicKeys(), c.want)
		}
	}
}

// The zero values must never say yes.
func TestZeroQuorumIsNotMet(t *testing.T) {
	if (metadata.Quorum{}).Met() || (metadata.Quorum{Count: 5}).Met() || (metadata.Quorum{Count: 5, Threshold: -3}).Met() {
		t.Error("a quorum without a threshold is met")
	}
	if metadata.Check(metadata.Delegation{}, tinyRoot(t)).Met() {
		t.Error("an empty delegation is met")
	}
}
