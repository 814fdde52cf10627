package repository_test

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

type object = metadata.Object

// found lists the findings of an event as "role rule level", sorted.
func found(s *repository.Status) []string {
	list := []string{}
	for _, f := range s.AllFindings() {
		role := f.Role
		if role == "" {
			role = "-"
		}
		list = append(list, fmt.Sprintf("%s %s %s", role, f.Rule, f.Level))
	}
	slices.Sort(list)
	return list
}

// ruleCase is an event and what the rules find in it.
type ruleCase struct {
	name     string
	event    func(w *World)
	want     []string // findings
	complete bool
}

// ruleCases break one rule at a time: the whole set of findings must be that
// rule's. Events without findings are complete, which keeps a rule from always
// answering, and a complete event from always being refused.
func ruleCases() []ruleCase {
	sigs := func(w *World, role string) []any { return w.Tree(role)["signatures"].([]any) }
	setSigs := func(w *World, role string, list []any) {
		tree := w.Tree(role)
		tree["signatures"] = list
		w.WriteFile(repository.MetadataFile(role), string(metadata.Write(tree)))
	}
	// newRole delegates a role of alice and bob, who sign it.
	newRole := func(w *World, name string, paths ...any) {
		bumpTargets(w, func(s object) {
			d := s["delegations"].(object)
			d["roles"] = append(d["roles"].([]any), object{"name": name, "keyids": []any{}, "threshold": int64(2), "terminating": true, "paths": paths})
			AddKey(s, name, "alice")
			AddKey(s, name, "bob")
		})
		w.WriteFile(repository.MetadataFile(name), w.ReadFile("metadata/releases.json"))
		w.Edit(name, func(s object) { s["version"], s["targets"] = int64(1), object{} }).Sign(name, "alice", "bob")
	}
	// bins delegates from targets to two hash bins, and makes so many of them.
	bins := func(w *World, n int) {
		bumpTargets(w, func(s object) {
			s["targets"] = object{}
			s["delegations"] = object{"keys": object{}, "succinct_roles": object{
				"keyids": []any{Key("alice").ID, Key("bob").ID}, "threshold": int64(2), "bit_length": int64(1), "name_prefix": "bin"}}
			Keys(s)[Key("alice").ID], Keys(s)[Key("bob").ID] = metadata.Clone(Key("alice").Object), metadata.Clone(Key("bob").Object)
		})
		for _, bin := range []string{"bin-0", "bin-1"}[:n] {
			w.WriteFile(repository.MetadataFile(bin), w.ReadFile("metadata/releases.json"))
			w.Edit(bin, func(s object) { s["version"], s["targets"] = int64(1), object{} }).Sign(bin, "alice", "bob")
		}
		w.Remove("metadata/releases.json").Remove("targets")
	}
	return []ruleCase{
		{"nothing changed", func(w *World) {}, nil, false},
		{"root, good", func(w *World) { bumpRoot(w, nil) }, nil, true},
		{"targets, good", func(w *World) { bumpTargets(w, nil) }, nil, true},
		{"delegated role, good", func(w *World) { w.Edit("releases", nil).Sign("releases", "carol") }, nil, true},
		{"a date that python-tuf does not read", func(w *World) {
			bumpTargets(w, func(s object) { s["expires"] = "2030-12-01T00:00:00.5+02:00" })
		}, []string{"targets metadata-invalid error"}, false},
		{"artifact with a hash that is a path", func(w *World) {
			bumpTargets(w, func(s object) {
				s["targets"].(object)["a.txt"].(object)["hashes"].(object)["x"] = "../metadata/9"
			})
		}, []string{"targets artifact-mismatch error"}, false},
		{"artifact with a hash of an unknown kind as well", func(w *World) {
			bumpTargets(w, func(s object) {
				s["targets"].(object)["a.txt"].(object)["hashes"].(object)["sha384"] = strings.Repeat("0", 96)
			})
		}, []string{"targets artifact-mismatch error"}, false},
		{"artifact with two hashes", func(w *World) {
			bumpTargets(w, func(s object) {
				sum := sha512.Sum512([]byte("a\n"))
				s["targets"].(object)["a.txt"].(object)["hashes"].(object)["sha512"] = hex.EncodeToString(sum[:])
			})
		}, nil, true},
		{"artifact, good", func(w *World) {
			w.Artifact("b.txt", "b")
			bumpTargets(w, func(s object) { List(s, "b.txt", "b") })
		}, nil, true},
		{"root signer replaced, signed by old and new", func(w *World) {
			w.Edit("root", func(s object) { SetKeys(s, "root", "alice", "dave") }).Sign("root", "alice", "bob", "dave")
		}, nil, true},
		{"custom metadata as asked", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {"sigstore": {"usage": "CTFE"}}}`)
			bumpTargets(w, func(s object) {
				s["targets"].(object)["a.txt"].(object)["custom"] = object{"sigstore": object{"usage": "CTFE"}}
			})
		}, nil, true},
		{"custom metadata not as asked", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {"sigstore": {"usage": "CTFE"}}}`)
			bumpTargets(w, nil)
		}, []string{"targets artifact-custom error"}, false},
		{"custom metadata in an event that changes no role", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {"sigstore": {"usage": "CTFE"}}}`)
		}, []string{"targets artifact-custom error"}, false},
		{"custom metadata of no artifact", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"b.txt": null}`)
			bumpTargets(w, nil)
		}, []string{"targets artifact-custom error"}, false},
		{"custom metadata with a misspelt field", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {"sigstore": {"useage": "CTFE"}}}`)
			bumpTargets(w, nil)
		}, []string{"- artifact-custom error"}, false},
		{"custom metadata that nobody could sign", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {"n": 1.5}}`)
			bumpTargets(w, nil)
		}, []string{"- artifact-custom error"}, false},
		{"custom metadata with a name twice", func(w *World) {
			w.WriteFile(repository.CustomFile, `{"a.txt": {}, "a.txt": null}`)
			bumpTargets(w, nil)
		}, []string{"- artifact-custom error"}, false},
		{"new delegated role, good", func(w *World) {
			bumpTargets(w, func(s object) {
				d := s["delegations"].(object)
				d["roles"] = append(d["roles"].([]any), object{"name": "docs", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"}})
			})
			w.WriteFile("metadata/docs.json", w.ReadFile("metadata/releases.json"))
			w.Edit("docs", func(s object) { s["version"], s["targets"] = int64(1), object{} }).Sign("docs", "carol")
		}, []string{"targets threshold-of-one warning"}, true},

		{"online metadata changed", func(w *World) {
			bumpTargets(w, nil)
			w.Edit("timestamp", nil).Sign("timestamp", "online")
		}, []string{"- online-metadata-changed error"}, false},
		{"online metadata reformatted", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile("metadata/snapshot.json", w.ReadFile("metadata/snapshot.json")+"\n")
		}, []string{"- online-metadata-changed error"}, false},
		{"workflow changed", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile(".github/workflows/ci.yml", "x")
		}, []string{"- foreign-change error"}, false},
		{"policy changed", func(w *World) { bumpTargets(w, nil); w.WriteFile(".tufops.yaml", "x") }, []string{"- foreign-change error"}, false},
		{"policy becomes a folder", func(w *World) { bumpTargets(w, nil); w.WriteFile(".tufops.yaml/x", "x") }, []string{"- foreign-change error"}, false},
		{"a file named like the policy", func(w *World) { bumpTargets(w, nil); w.WriteFile("x/.tufops.yaml", "x") }, []string{"- foreign-change warning"}, true},
		{"readme changed", func(w *World) { bumpTargets(w, nil); w.WriteFile("README.md", "x") }, []string{"- foreign-change warning"}, true},
		{"link in targets", func(w *World) {
			bumpTargets(w, nil)
			if err := os.MkdirAll(filepath.Join(w.Dir, "targets/other"), 0o755); err != nil {
				w.T.Fatal(err)
			}
			if err := os.Symlink("/etc/passwd", filepath.Join(w.Dir, "targets/other/link")); err != nil {
				w.T.Fatal(err)
			}
		}, []string{"- not-a-regular-file error"}, false},
		{"link instead of metadata", func(w *World) {
			w.Remove("metadata/releases.json")
			if err := os.Symlink("targets.json", filepath.Join(w.Dir, "metadata/releases.json")); err != nil {
				w.T.Fatal(err)
			}
		}, []string{"- not-a-regular-file error", "releases metadata-invalid error"}, false},
		{"old root rewritten", func(w *World) {
			bumpRoot(w, nil)
			w.WriteFile("metadata/root_history/1.root.json", w.ReadFile("metadata/root_history/1.root.json")+"\n")
		}, []string{"- root-history-rewritten error"}, false},
		{"old root removed", func(w *World) { bumpRoot(w, nil); w.Remove("metadata/root_history/1.root.json") },
			[]string{"- root-history-rewritten error", "root root-history-mismatch error"}, false},
		{"root copy missing", func(w *World) { bumpRoot(w, nil); w.Remove("metadata/root_history/2.root.json") },
			[]string{"root root-history-mismatch error"}, false},
		{"root copy differs", func(w *World) {
			bumpRoot(w, nil)
			w.WriteFile("metadata/root_history/2.root.json", w.ReadFile("metadata/root_history/2.root.json")+"\n")
		}, []string{"root root-history-mismatch error"}, false},
		{"root copy missing, signature awaited", func(w *World) {
			w.Edit("root", nil).Sign("root", "alice")
			w.Remove("metadata/root_history/2.root.json")
		}, []string{"root quorum awaited", "root root-history-mismatch awaited"}, false},
		{"root version without root", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile("metadata/root_history/2.root.json", w.ReadFile("metadata/root.json"))
		}, []string{"root root-history-mismatch error"}, false},
		{"delegated metadata removed", func(w *World) { w.Remove("metadata/releases.json") }, []string{"releases metadata-removed error"}, false},
		{"targets removed", func(w *World) { w.Remove("metadata/targets.json") }, []string{"targets metadata-removed error"}, false},
		{"root removed", func(w *World) { w.Remove("metadata/root.json") }, []string{"root metadata-removed error"}, false},
		{"timestamp removed", func(w *World) { bumpTargets(w, nil); w.Remove("metadata/timestamp.json") },
			[]string{"- online-metadata-changed error", "timestamp metadata-removed error"}, false},
		{"delegated without metadata", func(w *World) {
			bumpTargets(w, func(s object) {
				d := s["delegations"].(object)
				d["roles"] = append(d["roles"].([]any), object{"name": "docs", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"docs/*"}})
			})
		}, []string{"docs metadata-removed error", "targets threshold-of-one warning"}, false},
		{"orphan", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile("metadata/stray.json", w.ReadFile("metadata/releases.json"))
		}, []string{"- orphan-metadata warning"}, true},
		{"junk in metadata", func(w *World) { bumpTargets(w, nil); w.WriteFile("metadata/root_history/notes.txt", "x") },
			[]string{"- orphan-metadata warning"}, true},
		{"junk that main has in metadata", func(w *World) {
			w.WriteFile("metadata/notes.txt", "x")
			onMain(w)
			bumpTargets(w, nil)
		}, nil, true},
		{"an attestation is changed", func(w *World) {
			attest(w, "alice")
			bumpTargets(w, nil).WriteFile(attestation("alice"), "other")
		}, []string{"- attestation-changed error"}, false},
		{"an attestation is removed", func(w *World) { attest(w, "carol"); bumpTargets(w, nil).Remove(attestation("carol")) },
			[]string{"- attestation-changed error"}, false},
		{"an attestation leaves with its key", func(w *World) {
			attest(w, "dave")
			bumpTargets(w, nil).Remove(attestation("dave"))
		}, []string{"- attestation-changed warning"}, true},
		{"a second attestation is added", func(w *World) { attest(w, "alice"); bumpTargets(w, nil).WriteFile(attestation("alice")+".2", "x") }, nil, true},
		{"truncated", func(w *World) { w.WriteFile("metadata/targets.json", w.ReadFile("metadata/targets.json")[:300]) },
			[]string{"targets metadata-invalid error"}, false},
		{"another type", func(w *World) { w.WriteFile("metadata/targets.json", w.ReadFile("metadata/snapshot.json")) },
			[]string{"targets metadata-invalid error"}, false},
		{"name twice", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile("metadata/targets.json", strings.Replace(w.ReadFile("metadata/targets.json"), `"_type": "targets",`, `"_type": "root", "_type": "targets",`, 1))
		}, []string{"targets duplicate-json-key error"}, false},
		{"name twice but for case", func(w *World) { bumpTargets(w, func(s object) { s["Version"] = int64(7) }) },
			[]string{"targets duplicate-json-key error"}, false},
		{"root too large", func(w *World) { bumpRoot(w, func(s object) { s["x"] = strings.Repeat("x", 512_000) }) },
			[]string{"root metadata-too-large error"}, false},
		{"targets far too large", func(w *World) { bumpTargets(w, func(s object) { s["x"] = strings.Repeat("x", 5_000_001) }) },
			[]string{"targets metadata-too-large error"}, false},
		{"state file garbage", func(w *World) { bumpTargets(w, nil); w.WriteFile(repository.StateFile, `{"invites": []}`) },
			[]string{"- state-file-invalid error"}, false},
		{"invited to no role", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["nowhere"]}}`)
		}, []string{"- state-file-invalid error"}, false},
		{"invited to an online role", func(w *World) {
			bumpTargets(w, nil)
			w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["timestamp"]}}`)
		}, []string{"- state-file-invalid error"}, false},
		{"invitation open", func(w *World) { w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["releases"]}}`) }, nil, false},
		{"online key rotated", func(w *World) {
			bumpRoot(w, func(s object) { SetKeys(s, "timestamp", "online2"); SetKeys(s, "snapshot", "online2") })
		}, nil, true},
		{"online and targets keys rotated", func(w *World) {
			bumpRoot(w, func(s object) {
				SetKeys(s, "timestamp", "online2")
				SetKeys(s, "snapshot", "online2")
				SetKeys(s, "targets", "alice", "bob")
			})
		}, []string{"- rotation-window warning"}, true},

		{"version stays", func(w *World) { bumpTargets(w, func(s object) { s["version"], s["x"] = int64(1), "new" }) }, []string{"targets version-not-increased error"}, false},
		{"only signatures change", func(w *World) { w.Sign("targets", "carol") }, nil, true},
		{"targets jumps", func(w *World) { bumpTargets(w, func(s object) { s["version"] = int64(9) }) }, nil, true},
		{"root jumps", func(w *World) { bumpRoot(w, func(s object) { s["version"] = int64(3) }) },
			[]string{"root root-history-mismatch error", "root version-not-increased error"}, false},
		{"expired", func(w *World) { bumpTargets(w, func(s object) { s["expires"] = "2030-01-01T00:00:00Z" }) }, []string{"targets expired error"}, false},
		{"a second left", func(w *World) { bumpTargets(w, func(s object) { s["expires"] = "2030-01-01T00:00:01Z" }) }, nil, true},
		{"expires too late", func(w *World) { bumpTargets(w, func(s object) { s["expires"] = "2031-01-01T00:00:01Z" }) }, []string{"targets expiry-too-far error"}, false},
		{"no expiry period", func(w *World) { bumpTargets(w, func(s object) { delete(s, metadata.FieldExpiryPeriod) }) }, []string{"targets period-invalid error"}, false},
		{"no signing period", func(w *World) { bumpTargets(w, func(s object) { delete(s, metadata.FieldSigningPeriod) }) }, nil, true},
		{"signing period is null", func(w *World) { bumpTargets(w, func(s object) { s[metadata.FieldSigningPeriod] = nil }) }, []string{"targets period-invalid error"}, false},
		{"signing period of an online role is text", func(w *World) {
			bumpRoot(w, func(s object) { Roles(s, "timestamp")[metadata.FieldSigningPeriod] = "1" })
		}, []string{"root period-invalid error"}, false},
		{"expiry period is text", func(w *World) { bumpTargets(w, func(s object) { s[metadata.FieldExpiryPeriod] = "365" }) }, []string{"targets period-invalid error"}, false},
		{"signing period too long", func(w *World) { bumpTargets(w, func(s object) { s[metadata.FieldSigningPeriod] = int64(365) }) }, []string{"targets period-invalid error"}, false},
		{"a period that overflows", func(w *World) {
			bumpTargets(w, func(s object) { s[metadata.FieldExpiryPeriod] = int64(1) << 40 })
		}, []string{"targets period-invalid error"}, false},
		{"period of an online role", func(w *World) {
			bumpRoot(w, func(s object) { Roles(s, "timestamp")[metadata.FieldSigningPeriod] = int64(2) })
		}, []string{"root period-invalid error"}, false},
		{"one signature short", func(w *World) { w.Edit("targets", nil).Sign("targets", "alice") }, []string{"targets quorum awaited"}, false},
		{"signed by strangers", func(w *World) { w.Edit("targets", nil).Sign("targets", "eve", "mallory") },
			[]string{"targets quorum awaited", "targets signature-unknown warning", "targets signature-unknown warning"}, false},
		{"one key for two people", func(w *World) {
			w.Edit("targets", nil).Sign("targets", "alice").SignAs("targets", Key("bob").ID, "alice")
		}, []string{"targets quorum awaited", "targets signature-invalid awaited"}, false},
		{"new root without the old quorum", func(w *World) {
			w.Edit("root", func(s object) { SetKeys(s, "root", "alice", "dave") }).Sign("root", "alice", "dave")
		}, []string{"root quorum awaited"}, false},
		{"new root without its own quorum", func(w *World) {
			w.Edit("root", func(s object) { SetKeys(s, "root", "alice", "dave") }).Sign("root", "alice", "bob")
		}, []string{"root quorum awaited"}, false},
		{"signature invalid, quorum met", func(w *World) {
			bumpTargets(w, nil).SignAs("targets", Key("carol").ID, "eve")
		}, []string{"targets signature-invalid warning"}, true},
		{"signed twice", func(w *World) {
			bumpTargets(w, nil)
			setSigs(w, "targets", append(sigs(w, "targets"), sigs(w, "targets")[0]))
		}, []string{"targets signature-duplicate error"}, false},
		{"stranger signs too", func(w *World) { bumpTargets(w, nil).Sign("targets", "eve") }, []string{"targets signature-unknown warning"}, true},
		{"signature lost", func(w *World) {
			bumpTargets(w, nil).Sign("targets", "carol").Commit("three signatures")
			setSigs(w, "targets", sigs(w, "targets")[:2])
		}, []string{"targets signature-lost warning"}, true},
		{"a signature that is no hex", func(w *World) {
			bumpTargets(w, nil)
			setSigs(w, "targets", append(sigs(w, "targets"), object{"keyid": Key("carol").ID, "sig": "zz"}))
		}, []string{"targets metadata-invalid error"}, false},
		{"a stranger's signature that is no hex", func(w *World) {
			bumpRoot(w, nil)
			setSigs(w, "root", append(sigs(w, "root"), object{"keyid": Key("eve").ID, "sig": "0"}))
			w.WriteFile("metadata/root_history/2.root.json", w.ReadFile("metadata/root.json"))
		}, []string{"root metadata-invalid error"}, false},
		{"signatures in capitals", func(w *World) {
			bumpTargets(w, nil)
			list := sigs(w, "targets")
			for _, one := range list {
				one.(object)["sig"] = strings.ToUpper(one.(object)["sig"].(string))
			}
			setSigs(w, "targets", list)
		}, nil, true},
		{"a root with a fifth role", func(w *World) {
			bumpRoot(w, func(s object) {
				s["roles"].(object)["mirrors"] = object{"keyids": []any{Key("alice").ID}, "threshold": int64(1)}
			})
		}, []string{"root metadata-invalid error"}, false},
		{"a root with a role that is no object", func(w *World) { bumpRoot(w, func(s object) { s["roles"].(object)["x"] = "x" }) },
			[]string{"root metadata-invalid error"}, false},
		{"a root with a field more", func(w *World) { bumpRoot(w, func(s object) { s["mirrors"], Roles(s, "root")["x"] = "x", nil }) }, nil, true},
		{"delegations are null", func(w *World) {
			bumpTargets(w, func(s object) { s["delegations"] = nil })
			w.Remove("metadata/releases.json").Remove("targets/releases")
		}, []string{"targets metadata-invalid error"}, false},
		{"custom is null", func(w *World) {
			bumpTargets(w, func(s object) { s["targets"].(object)["a.txt"].(object)["custom"] = nil })
		},
			[]string{"targets metadata-invalid error"}, false},
		{"a number that go-tuf reads as another one", func(w *World) {
			bumpTargets(w, func(s object) { s["x-note"] = []any{object{"n": int64(1<<53 + 1)}} })
		}, []string{"targets metadata-invalid error"}, false},
		{"a negative one, in custom", func(w *World) {
			bumpTargets(w, func(s object) {
				s["targets"].(object)["a.txt"].(object)["custom"] = object{"n": int64(-1<<53 - 1)}
			})
		}, []string{"targets metadata-invalid error"}, false},
		{"the largest number that all read", func(w *World) {
			bumpTargets(w, func(s object) { s["x-note"] = []any{object{"n": int64(1 << 53)}} })
		}, nil, true},
		{"a public key that is a number", func(w *World) {
			bumpRoot(w, func(s object) { oddKey(Keys(s), int64(7)) })
		}, []string{"root key-type-not-allowed error", "root key-unused warning", "root metadata-invalid error"}, false},
		{"a public key that is null, in targets", func(w *World) {
			bumpTargets(w, func(s object) { oddKey(s["delegations"].(object)["keys"].(object), nil) })
		}, []string{"targets key-type-not-allowed error", "targets key-unused warning", "targets metadata-invalid error"}, false},
		{"custom holds a null", func(w *World) {
			bumpTargets(w, func(s object) { s["targets"].(object)["a.txt"].(object)["custom"] = object{"x": nil} })
		}, nil, true},
		{"other major version", func(w *World) { bumpTargets(w, func(s object) { s["spec_version"] = "2.0.0" }) }, []string{"targets spec-version-unsupported error"}, false},
		{"spec version of one number", func(w *World) { bumpTargets(w, func(s object) { s["spec_version"] = "1" }) }, []string{"targets spec-version-unsupported error"}, false},
		{"short spec version", func(w *World) { bumpTargets(w, func(s object) { s["spec_version"] = "1.0" }) }, nil, true},

		{"threshold zero", func(w *World) { bumpTargets(w, func(s object) { Roles(s, "releases")["threshold"] = int64(0) }) },
			[]string{"releases delegation-unsatisfied awaited", "targets threshold-invalid error"}, false},
		{"threshold beyond the keys", func(w *World) { bumpTargets(w, func(s object) { Roles(s, "releases")["threshold"] = int64(2) }) },
			[]string{"releases delegation-unsatisfied awaited", "targets threshold-invalid error"}, false},
		{"threshold that an invitation fills", func(w *World) {
			bumpTargets(w, func(s object) { Roles(s, "releases")["threshold"] = int64(2) })
			w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["releases"]}}`)
		}, []string{"releases delegation-unsatisfied awaited", "targets threshold-invalid awaited"}, false},
		{"one key under two names", func(w *World) {
			bumpTargets(w, func(s object) {
				twin := metadata.Clone(Key("carol").Object)
				twin["x"] = "another keyid for the same key"
				id, _ := metadata.KeyID(twin)
				Keys(s)[id] = twin
				Roles(s, "releases")["keyids"] = append(Roles(s, "releases")["keyids"].([]any), id)
			})
		}, []string{"targets duplicate-public-key error", "targets threshold-of-one warning"}, false},
		{"key missing", func(w *World) {
			bumpTargets(w, func(s object) {
				Roles(s, "releases")["keyids"] = append(Roles(s, "releases")["keyids"].([]any), strings.Repeat("a", 64))
			})
		}, []string{"targets key-missing error", "targets threshold-of-one warning"}, false},
		{"keyid is no hash", func(w *World) {
			bumpTargets(w, func(s object) {
				id := strings.Repeat("b", 64)
				Keys(s)[id] = metadata.Clone(Key("dave").Object)
				Roles(s, "releases")["keyids"] = append(Roles(s, "releases")["keyids"].([]any), id)
			})
		}, []string{"targets keyid-mismatch error", "targets new-key-unproven warning", "targets threshold-of-one warning"}, false},
		{"online roles differ", func(w *World) { bumpRoot(w, func(s object) { SetKeys(s, "timestamp", "online2") }) },
			[]string{"root online-roles-differ error"}, false},
		{"delegation unsatisfied", func(w *World) { bumpTargets(w, func(s object) { SetKeys(s, "releases", "dave") }) },
			[]string{"releases delegation-unsatisfied awaited", "targets threshold-of-one warning"}, false},
		{"role names that differ in case", func(w *World) {
			bumpTargets(w, func(s object) {
				d := s["delegations"].(object)
				d["roles"] = append(d["roles"].([]any), object{"name": "Releases", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"Releases/*"}})
			})
			w.WriteFile("metadata/Releases.json", w.ReadFile("metadata/releases.json"))
			w.Edit("Releases", func(s object) { s["version"], s["targets"] = int64(1), object{} }).Sign("Releases", "carol")
		}, []string{"targets role-name-unsafe error", "targets threshold-of-one warning"}, false},
		{"role names of two delegators that differ in case", func(w *World) {
			w.Edit("releases", func(s object) { nested(s, "Releases") }).Sign("releases", "carol")
			w.WriteFile("metadata/Releases.json", w.ReadFile("metadata/releases.json"))
			w.Edit("Releases", func(s object) { delete(s, "delegations"); s["version"], s["targets"] = int64(1), object{} }).Sign("Releases", "alice", "bob")
		}, []string{"releases nested-delegation warning", "releases role-name-unsafe error"}, false},
		{"hash bins named like a path", func(w *World) { namedBins(w, "../bin") }, []string{"targets hash-bin-missing error", "targets role-name-unsafe error"}, false},
		{"role name shadows", func(w *World) {
			bumpTargets(w, func(s object) {
				d := s["delegations"].(object)
				d["roles"] = append(d["roles"].([]any), object{"name": "../x", "keyids": []any{Key("carol").ID}, "threshold": int64(1), "terminating": true, "paths": []any{"../x/*"}})
			})
		}, []string{"../x metadata-removed error", "targets role-name-unsafe error", "targets threshold-of-one warning"}, false},

		{"key that nobody lists", func(w *World) {
			bumpTargets(w, func(s object) { Keys(s)[Key("dave").ID] = metadata.Clone(Key("dave").Object) })
		}, []string{"targets key-unused warning", "targets new-key-unproven warning"}, true},
		{"new key of another type", func(w *World) {
			w.Edit("root", func(s object) {
				k := metadata.Clone(Key("dave").Object)
				k["keytype"], k["scheme"] = "ml-dsa", "ml-dsa-65/1"
				id, _ := metadata.KeyID(k)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
			}).Sign("root", "alice", "bob")
		}, []string{"root key-type-not-allowed error"}, false},
		{"new key of Sigstore's", func(w *World) {
			bumpRoot(w, func(s object) { listSigstore(s, "timestamp", "snapshot") })
		}, []string{"root key-type-not-allowed error"}, false},
		{"key of Sigstore's that is there already", func(w *World) {
			bumpRoot(w, func(s object) { listSigstore(s, "targets") })
			onMain(w)
			bumpRoot(w, func(object) {})
		}, nil, true},
		{"key of Sigstore's that is there already, for another role", func(w *World) {
			bumpRoot(w, func(s object) { listSigstore(s, "targets") })
			onMain(w)
			bumpRoot(w, func(s object) { listSigstore(s, "timestamp", "snapshot") })
		}, []string{"root key-type-not-allowed error", "root key-type-not-allowed error"}, false},
		{"new key without a public value", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("dave").Object)
				k["keyval"] = object{"public": ""}
				id, _ := metadata.KeyID(k)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
			})
		}, []string{"root key-type-not-allowed error"}, false},
		{"key without a holder", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("dave").Object)
				delete(k, metadata.FieldKeyOwner)
				id, _ := metadata.KeyID(k)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
			})
		}, []string{"root keyowner-invalid error"}, false},
		{"a person's key is the machine's", func(w *World) { bumpRoot(w, func(s object) { withKeyOf(s, "dave", "online") }) },
			[]string{"root keyowner-invalid error"}, false},
		{"a person's key is another's of another role", func(w *World) {
			bumpTargets(w, func(s object) {
				k := metadata.Clone(Key("alice").Object)
				k[metadata.FieldKeyOwner] = "@dave"
				id, _ := metadata.KeyID(k)
				Keys(s)[id] = k
				Roles(s, "releases")["keyids"] = []any{Key("carol").ID, id}
			})
		}, []string{"targets keyowner-invalid error", "targets new-key-unproven warning", "targets threshold-of-one warning"}, false},
		{"one key of one person in two roles", func(w *World) {
			bumpTargets(w, func(s object) { AddKey(s, "releases", "alice"); Roles(s, "releases")["threshold"] = int64(2) })
			w.Sign("releases", "alice")
		}, nil, true},
		{"the machine may sign root", func(w *World) { bumpRoot(w, func(s object) { AddKey(s, "root", "online") }) },
			[]string{"root machine-signs warning"}, true},
		{"the key of a role that a machine signs changes", func(w *World) {
			machine(w)
			bumpTargets(w, func(s object) { SetKeys(s, "releases", "online3") })
		}, []string{"releases delegation-unsatisfied awaited"}, false},
		{"the key of a role that a machine signs changes, and it signs", func(w *World) {
			machine(w)
			bumpTargets(w, func(s object) { SetKeys(s, "releases", "online3") })
			w.Sign("releases", "online3")
		}, nil, true},
		{"owner that is no login", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("dave").Object)
				k[metadata.FieldKeyOwner] = "@-dave"
				id, _ := metadata.KeyID(k)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
			}).SignAs("targets", "", "dave")
			w.Run("checkout", "-q", "--", "metadata/targets.json")
		}, []string{"root keyowner-invalid warning", "root new-key-unproven warning"}, true},
		{"key of one person booked for another", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("carol").Object)
				k[metadata.FieldKeyOwner] = "@dave"
				id, _ := metadata.KeyID(k)
				delete(Keys(s), Key("carol").ID)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = []any{Key("alice").ID, Key("bob").ID, id}
			})
		}, []string{"root keyowner-changed error"}, false},
		{"look-alike", func(w *World) {
			w.Edit("root", func(s object) { AddKey(s, "targets", "a1ice") }).Sign("root", "alice", "bob")
		}, []string{"root new-key-unproven warning", "root owner-confusable warning"}, true},
		{"online URI without version", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("online").Object)
				k[metadata.FieldOnlineURI] = "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k"
				id, _ := metadata.KeyID(k)
				delete(Keys(s), Key("online").ID)
				Keys(s)[id] = k
				for _, role := range []string{"timestamp", "snapshot"} {
					Roles(s, role)["keyids"] = []any{id}
				}
			})
		}, []string{"root online-uri-unpinned error"}, false},
		{"consistent_snapshot off", func(w *World) { bumpRoot(w, func(s object) { s["consistent_snapshot"] = false }) },
			[]string{"root consistent-snapshot-off error"}, false},
		{"foreign path", func(w *World) {
			bumpTargets(w, func(s object) { Roles(s, "releases")["paths"] = append(Roles(s, "releases")["paths"].([]any), "*.md") })
		}, []string{"targets delegation-path-foreign warning", "targets threshold-of-one warning"}, true},
		{"nested delegation", func(w *World) {
			w.Edit("releases", func(s object) {
				nested(s, "nightly")
			}).Sign("releases", "carol")
			w.WriteFile("metadata/nightly.json", w.ReadFile("metadata/releases.json"))
			w.Edit("nightly", func(s object) { delete(s, "delegations"); s["version"], s["targets"] = int64(1), object{} }).Sign("nightly", "alice", "bob")
		}, []string{"releases nested-delegation warning"}, true},
		{"artifact outside its delegation", func(w *World) {
			w.Artifact("other/x", "x").Edit("releases", func(s object) { List(s, "other/x", "x") }).Sign("releases", "carol")
		}, []string{"releases artifact-outside-delegation error"}, false},

		{"artifact listed, not there", func(w *World) { bumpTargets(w, func(s object) { List(s, "b.txt", "b") }) }, []string{"targets artifact-missing error"}, false},
		{"artifact there, not listed", func(w *World) { bumpTargets(w, nil).Artifact("b.txt", "b") }, []string{"targets artifact-unlisted error"}, false},
		{"artifact there, no role changed", func(w *World) { w.Artifact("b.txt", "b") }, []string{"targets artifact-unlisted error"}, false},
		{"artifact of no role", func(w *World) { bumpTargets(w, nil).Artifact("nobody/new", "x") }, []string{"- artifact-unlisted error"}, false},
		{"hidden file of no role", func(w *World) { bumpTargets(w, nil).Artifact("nobody/.keep", "") }, []string{"- artifact-unlisted warning"}, true},
		{"artifact of no role that main has", func(w *World) {
			w.Artifact("nobody/old", "x")
			onMain(w)
			bumpTargets(w, nil)
		}, nil, true},
		{"hidden file", func(w *World) { bumpTargets(w, nil).Artifact(".keep", "") }, []string{"targets artifact-unlisted warning"}, true},
		{"artifact with another hash", func(w *World) { bumpTargets(w, nil).Artifact("a.txt", "A\n") }, []string{"targets artifact-mismatch error"}, false},
		{"artifact with another length", func(w *World) { bumpTargets(w, nil).Artifact("a.txt", "longer\n") }, []string{"targets artifact-mismatch error"}, false},
		{"artifact of another role", func(w *World) { bumpTargets(w, nil).Artifact("releases/v1/tool", "other") }, []string{"releases artifact-mismatch error"}, false},
		{"artifact path climbs", func(w *World) { bumpTargets(w, func(s object) { List(s, "../x", "x") }) }, []string{"targets artifact-path-unsafe error"}, false},
		{"artifact path that not every place holds", func(w *World) { bumpTargets(w, func(s object) { List(s, "b.", "b") }).Artifact("b.", "b") }, []string{"targets artifact-path-unsafe error"}, false},
		{"artifact path that not every place holds, on main already", func(w *World) {
			w.Artifact("b.", "b").Edit("targets", func(s object) { List(s, "b.", "b") }).Sign("targets", "alice", "bob")
			onMain(w)
			bumpTargets(w, nil)
		}, nil, true},

		{"main revoked a signer meanwhile", func(w *World) {
			bumpTargets(w, nil).OnMain(func() {
				w.Edit("root", func(s object) { SetKeys(s, "targets", "carol", "dave") }).Sign("root", "alice", "bob")
				w.Edit("targets", nil).Sign("targets", "carol", "dave")
			})
		}, []string{"- merge-result-incomplete error"}, false},
		{"main revoked a signer, targets as it was", func(w *World) {
			w.Artifact("b.txt", "b").Edit("targets", func(s object) { List(s, "b.txt", "b") }).Sign("targets", "alice", "bob").OnMain(func() {
				w.Edit("root", func(s object) { SetKeys(s, "targets", "bob", "dave") }).Sign("root", "alice", "bob")
			})
		}, []string{"targets merge-result-incomplete error"}, false},
		{"main holds targets that nobody signed", func(w *World) {
			w.OnMain(func() { w.Edit("targets", nil) })
			w.Run("merge", "-q", "main")
			w.Edit("targets", nil).Sign("targets", "alice", "bob")
		}, []string{"targets quorum warning"}, true},
		{"main holds a root that nobody signed", func(w *World) {
			w.OnMain(func() { w.Edit("root", nil) })
			w.Run("merge", "-q", "main")
			bumpTargets(w, nil)
		}, []string{"- root-not-chained error", "- root-not-chained error"}, true},
		{"main moved by online signing", func(w *World) {
			bumpTargets(w, nil).OnMain(func() { w.Edit("timestamp", nil).Sign("timestamp", "online") })
		}, nil, true},
		{"main moved, event still lacks the same", func(w *World) {
			w.Edit("targets", nil).Sign("targets", "alice").OnMain(func() { w.Edit("timestamp", nil).Sign("timestamp", "online") })
		}, []string{"targets quorum awaited"}, false},
		{"another root was merged meanwhile", func(w *World) {
			bumpRoot(w, nil).OnMain(func() { bumpRoot(w, func(s object) { s["x"] = int64(1) }) })
		}, []string{"- merge-result-incomplete error"}, false},

		{"a hash bin is missing", func(w *World) { bins(w, 1) }, []string{"targets hash-bin-missing error"}, false},
		{"a hash bin is removed", func(w *World) {
			bins(w, 2)
			w.Commit("bins")
			w.Run("branch", "-f", "main", "HEAD")
			w.Remove("metadata/bin-1.json")
			bumpRoot(w, nil)
		}, []string{"targets hash-bin-missing error"}, false},
		{"all hash bins", func(w *World) { bins(w, 2) }, nil, true},

		// Each of these is nearly broken.
		{"an attestation is added", func(w *World) { bumpTargets(w, nil).WriteFile("keys/x/attestation.pem", "x") }, nil, true},
		{"metadata is executable", func(w *World) {
			bumpTargets(w, nil)
			if err := os.Chmod(filepath.Join(w.Dir, "metadata/targets.json"), 0o755); err != nil {
				w.T.Fatal(err)
			}
		}, nil, true},
		{"a role is removed with its delegation", func(w *World) {
			bumpTargets(w, func(s object) { delete(s, "delegations") })
			w.Remove("metadata/releases.json").Remove("targets/releases")
		}, nil, true},
		{"a field that nobody knows", func(w *World) { bumpTargets(w, func(s object) { s["versions"] = object{"version": int64(1)} }) }, nil, true},
		{"root nearly too large", func(w *World) { bumpRoot(w, func(s object) { s["x"] = strings.Repeat("x", 509_000) }) }, nil, true},
		{"a signer of targets is removed, and two are left", func(w *World) { bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "bob") }) }, nil, true},
		{"placeholders, of a stranger too", func(w *World) {
			bumpTargets(w, nil)
			setSigs(w, "targets", append(sigs(w, "targets"), object{"keyid": Key("carol").ID, "sig": ""}, object{"keyid": Key("eve").ID, "sig": ""}))
		}, nil, true},
		{"a signature over older content", func(w *World) {
			bumpTargets(w, nil).Sign("targets", "carol").Commit("three signatures")
			bumpTargets(w, func(s object) { s["version"] = int64(2); s["x"] = "newer" })
		}, nil, true},
		{"a threshold of all keys", func(w *World) {
			bumpRoot(w, func(s object) { Roles(s, "targets")["threshold"] = int64(3) })
			w.Sign("targets", "carol")
		}, nil, true},
		{"an online key with a version", func(w *World) {
			bumpRoot(w, func(s object) {
				k := metadata.Clone(Key("online").Object)
				k[metadata.FieldOnlineURI] = "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
				id, _ := metadata.KeyID(k)
				delete(Keys(s), Key("online").ID)
				Keys(s)[id] = k
				for _, role := range []string{"timestamp", "snapshot"} {
					Roles(s, role)["keyids"] = []any{id}
				}
			})
		}, nil, true},
		{"an artifact in the role's folder", func(w *World) {
			w.Artifact("releases/v2/a b..c~", "x").Edit("releases", func(s object) { List(s, "releases/v2/a b..c~", "x") }).Sign("releases", "carol")
		}, nil, true},
		{"an ownerless key gets an owner", func(w *World) {
			w.Edit("root", func(s object) {
				k := metadata.Clone(Key("carol").Object)
				delete(k, metadata.FieldKeyOwner)
				id, _ := metadata.KeyID(k)
				delete(Keys(s), Key("carol").ID)
				Keys(s)[id] = k
				Roles(s, "targets")["keyids"] = []any{Key("alice").ID, Key("bob").ID, id}
			}).Sign("root", "alice", "bob")
			w.Commit("an import is to come")
			w.Run("branch", "-f", "main", "HEAD")
			bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "bob", "carol") })
		}, nil, true},

		// Each of these breaks its rule and nothing else.
		{"a key counts twice", func(w *World) {
			bumpRoot(w, func(s object) {
				twin := metadata.Clone(Key("carol").Object)
				twin["x"] = "another keyid for the same key"
				id, _ := metadata.KeyID(twin)
				Keys(s)[id] = twin
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
			})
		}, []string{"root duplicate-public-key error"}, false},
		{"a keyid without a key", func(w *World) {
			bumpRoot(w, func(s object) {
				Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), strings.Repeat("a", 64))
			})
		}, []string{"root key-missing error"}, false},
		{"a keyid that is no hash", func(w *World) {
			bumpRoot(w, func(s object) {
				delete(Keys(s), Key("carol").ID)
				Keys(s)[strings.Repeat("b", 64)] = metadata.Clone(Key("carol").Object)
				Roles(s, "targets")["keyids"] = []any{Key("alice").ID, Key("bob").ID, strings.Repeat("b", 64)}
			})
		}, []string{"root keyid-mismatch error"}, false},
		{"targets no longer meets its delegation", func(w *World) { bumpRoot(w, func(s object) { SetKeys(s, "targets", "alice", "carol") }) },
			[]string{"targets delegation-unsatisfied awaited"}, false},
		{"two roles that are one file", func(w *World) { newRole(w, "Releases", "Releases/*") }, []string{"targets role-name-unsafe error"}, false},
		{"an online key that nobody lists", func(w *World) {
			bumpRoot(w, func(s object) { Keys(s)[Key("online2").ID] = metadata.Clone(Key("online2").Object) })
		}, []string{"root key-unused warning"}, true},
		{"a look-alike who signs", func(w *World) {
			bumpRoot(w, func(s object) { AddKey(s, "targets", "a1ice") })
			w.Sign("targets", "a1ice")
		}, []string{"root owner-confusable warning"}, true},
		{"a threshold of the online roles beyond their key", func(w *World) {
			bumpRoot(w, func(s object) {
				Roles(s, "timestamp")["threshold"], Roles(s, "snapshot")["threshold"] = int64(2), int64(2)
			})
		}, []string{"root threshold-invalid error", "root threshold-invalid error"}, false},
		{"a role with a foreign path", func(w *World) { newRole(w, "docs", "docs/*", "*.md") }, []string{"targets delegation-path-foreign warning"}, true},
		{"a role of two people", func(w *World) { newRole(w, "docs", "docs/*") }, nil, true},
		{"more roots than clients walk", func(w *World) { roots(w, 32) }, []string{"root root-jump-long warning"}, true},
		{"as many roots as clients walk", func(w *World) { roots(w, 31) }, nil, true},
		{"the largest version", func(w *World) { bumpTargets(w, func(s object) { s["version"] = int64(math.MaxInt64) }) },
			[]string{"targets version-jump error"}, false},
		{"a version a little too far", func(w *World) { bumpTargets(w, func(s object) { s["version"] = int64(1_000_002) }) },
			[]string{"targets version-jump error"}, false},
		{"a version as far as it may go", func(w *World) { bumpTargets(w, func(s object) { s["version"] = int64(1_000_001) }) }, nil, true},
		{"a new role with the largest version", func(w *World) {
			newRole(w, "docs", "docs/*")
			w.Edit("docs", func(s object) { s["version"] = int64(math.MaxInt64) }).Sign("docs", "alice", "bob")
		}, []string{"docs version-jump error"}, false},
	}
}

func bumpRoot(w *World, edit func(object)) *World {
	return w.Edit("root", edit).Sign("root", "alice", "bob")
}

// listSigstore lists an identity at Sigstore for roles, as tuf-on-ci writes one.
func listSigstore(root object, roles ...string) {
	k := object{
		"keytype": "sigstore-oidc", "scheme": "Fulcio", metadata.FieldOnlineURI: "sigstore:",
		"keyval": object{"identity": "https://github.com/o/r/.github/workflows/online-sign.yml@refs/heads/main", "issuer": "https://token.actions.githubusercontent.com"},
	}
	id, _ := metadata.KeyID(k)
	Keys(root)[id] = k
	for _, role := range roles {
		Roles(root, role)["keyids"] = append(Roles(root, role)["keyids"].([]any), id)
	}
}

// oddKey adds a key of an unknown type.
func oddKey(keys object, public any) {
	k := object{"keytype": "odd", "scheme": "odd", "keyval": object{"public": public}, metadata.FieldKeyOwner: "@dave"}
	id, _ := metadata.KeyID(k)
	keys[id] = k
}

func bumpTargets(w *World, edit func(object)) *World {
	return w.Edit("targets", edit).Sign("targets", "alice", "bob")
}

// onMain moves main to the event's commit.
func onMain(w *World) {
	w.Commit("as main has it")
	w.Run("branch", "-f", "main", "HEAD")
}

// attestation is where that of a key stands.
func attestation(name string) string { return "keys/" + Key(name).Fingerprint() + "/attestation.pem" }

// attest gives main an attestation of a key.
func attest(w *World, name string) {
	w.WriteFile(attestation(name), "made by hardware")
	onMain(w)
}

// machine has main's releases be signed by an online key alone.
func machine(w *World) {
	bumpTargets(w, func(s object) { SetKeys(s, "releases", "online2") }).Edit("releases", nil).Sign("releases", "online2")
	onMain(w)
}

// withKeyOf gives a person's new key for targets the public key of another.
func withKeyOf(s object, name, as string) {
	k := metadata.Clone(Key(name).Object)
	k["keyval"], k["keytype"], k["scheme"] = metadata.Clone(Key(as).Object["keyval"]), Key(as).Type, Key(as).Scheme
	id, _ := metadata.KeyID(k)
	Keys(s)[id] = k
	Roles(s, "targets")["keyids"] = append(Roles(s, "targets")["keyids"].([]any), id)
}

// nested has a role delegate to one that alice and bob sign.
func nested(s object, name string) {
	keys := object{}
	for _, who := range []string{"alice", "bob"} {
		keys[Key(who).ID] = metadata.Clone(Key(who).Object)
	}
	s["delegations"] = object{"keys": keys, "roles": []any{
		object{"name": name, "keyids": []any{Key("alice").ID, Key("bob").ID}, "threshold": int64(2), "terminating": true, "paths": []any{name + "/*"}}}}
}

// bins has targets delegate to hash bins in the place of releases.
func namedBins(w *World, prefix string) {
	bumpTargets(w, func(s object) {
		d := s["delegations"].(object)
		delete(d, "roles")
		d["succinct_roles"] = object{"bit_length": int64(4), "name_prefix": prefix, "keyids": []any{Key("carol").ID}, "threshold": int64(1)}
	})
	w.Remove("metadata/releases.json").Remove("targets/releases")
}

// roots makes a number of roots on main, and one more in the event.
func roots(w *World, n int) {
	for range n {
		bumpRoot(w, nil)
	}
	w.Commit("roots")
	w.Run("branch", "-f", "main", "HEAD")
	bumpRoot(w, nil)
}

// personCase says beside the event who pushed its newest commit, and why the
// key of dave is not attested.
type personCase struct {
	ruleCase
	who, attested string
}

// personCases break the rules about what is known of a person beside the
// metadata, and next to each stands the event that does not.
func personCases() []personCase {
	// dave's key is added to the role targets, and has signed it.
	added := func(w *World) {
		bumpRoot(w, func(s object) { AddKey(s, "targets", "dave") })
		w.Sign("targets", "dave")
	}
	return []personCase{
		{ruleCase{"a key that its person pushed", added, nil, true}, "dave", ""},
		{ruleCase{"a key that its person pushed, in capitals", added, nil, true}, "Dave", ""},
		{ruleCase{"a key that nobody knows who pushed", added, nil, true}, "", ""},
		{ruleCase{"a key that another pushed", added, []string{"root invite-accepted-by-other warning"}, true}, "mallory", ""},
		{ruleCase{"a key that is not attested", added, []string{"root key-not-attested warning"}, true}, "dave", "keys/ holds nothing for it"},
		{ruleCase{"a key that has not signed", func(w *World) { bumpRoot(w, func(s object) { AddKey(s, "targets", "dave") }) },
			[]string{"root new-key-unproven warning"}, true}, "dave", ""},
		{ruleCase{"a key that was there, and nothing is known of it", func(w *World) { bumpRoot(w, nil) }, nil, true}, "mallory", "no"},
	}
}

// options are what the forge and the attestation check say of a case.
func (test personCase) options(w *World) repository.EventOptions {
	return repository.EventOptions{
		Pushers: told(map[git.OID]string{git.OID(strings.TrimSpace(w.Run("rev-parse", "HEAD"))): test.who}),
		Attested: func(_ context.Context, _ *repository.State, k *metadata.Key) (string, error) {
			if k.Owner != "@dave" {
				return "not asked for", nil
			}
			return test.attested, nil
		},
	}
}

// siblings are, by rule, the case that nearly breaks it: nothing is found there.
var siblings = map[string]string{
	"artifact-custom":     "custom metadata as asked",
	"attestation-changed": "a second attestation is added", "machine-signs": "the key of a role that a machine signs changes, and it signs",
	"artifact-mismatch": "artifact with two hashes", "artifact-missing": "artifact, good", "artifact-unlisted": "artifact of no role that main has",
	"artifact-outside-delegation": "an artifact in the role's folder", "artifact-path-unsafe": "an artifact in the role's folder",
	"consistent-snapshot-off": "root, good", "delegation-path-foreign": "a role of two people",
	"delegation-unsatisfied": "the key of a role that a machine signs changes, and it signs", "duplicate-json-key": "a field that nobody knows",
	"duplicate-public-key": "root signer replaced, signed by old and new", "expired": "a second left", "expiry-too-far": "targets, good",
	"foreign-change": "an attestation is added", "hash-bin-missing": "all hash bins", "invite-accepted-by-other": "a key that its person pushed",
	"key-missing": "a signer of targets is removed, and two are left", "key-not-attested": "a key that its person pushed",
	"key-type-not-allowed": "a key that its person pushed", "key-unused": "a signer of targets is removed, and two are left",
	"keyid-mismatch": "an ownerless key gets an owner", "keyowner-changed": "an ownerless key gets an owner", "keyowner-invalid": "one key of one person in two roles",
	"merge-result-incomplete": "main moved by online signing", "metadata-invalid": "a root with a field more", "metadata-removed": "a role is removed with its delegation",
	"metadata-too-large": "root nearly too large", "nested-delegation": "a role of two people", "new-key-unproven": "a key that its person pushed",
	"not-a-regular-file": "metadata is executable", "online-metadata-changed": "main moved by online signing", "online-roles-differ": "online key rotated",
	"online-uri-unpinned": "an online key with a version", "orphan-metadata": "junk that main has in metadata", "owner-confusable": "a key that its person pushed",
	"period-invalid": "no signing period", "quorum": "targets, good", "role-name-unsafe": "all hash bins", "root-history-mismatch": "root, good",
	"root-history-rewritten": "root, good", "root-jump-long": "as many roots as clients walk", "root-not-chained": "as many roots as clients walk",
	"rotation-window": "online key rotated", "signature-duplicate": "placeholders, of a stranger too", "signature-invalid": "placeholders, of a stranger too",
	"signature-lost": "a signature over older content", "signature-unknown": "placeholders, of a stranger too", "spec-version-unsupported": "short spec version",
	"state-file-invalid": "invitation open", "threshold-invalid": "a threshold of all keys", "threshold-of-one": "a role of two people",
	"version-jump": "a version as far as it may go", "version-not-increased": "only signatures change",
}

// check judges the event of a case.
func (test ruleCase) check(t *testing.T, w *World, policy repository.Policy, o repository.EventOptions) *repository.Status {
	t.Helper()
	o.Name, o.Head, o.Base = Event, "HEAD", "main"
	if _, asked := policy.Rules["key-not-attested"]; o.Attested == nil && !asked { // other rules are judged
		o.Attested = func(context.Context, *repository.State, *metadata.Key) (string, error) { return "", nil }
	}
	e, err := w.Open().OpenEvent(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Status(context.Background(), w.Now, policy)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]string{}, test.want...)
	slices.Sort(want)
	if got := found(s); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q\n%+v", got, want, s.AllFindings())
	}
	if s.Complete != test.complete {
		t.Errorf("complete is %v, want %v\n%+v", s.Complete, test.complete, s)
	}
	for _, f := range s.AllFindings() {
		if f.Message == "" || f.Hint == "" {
			t.Errorf("%s has no message or no hint: %+v", f.Rule, f)
		}
	}
	return s
}

// TestRules: each case finds what it is to find. Every rule has a case that
// breaks it alone and one that nearly does, and says in one what the list of
// rules shows as its example.
func TestRules(t *testing.T) {
	var mu sync.Mutex
	alone := map[string]bool{}    // rules that a case breaks and nothing else
	said := map[string][]string{} // by rule: messages with their hints
	note := func(s *repository.Status) {
		mu.Lock()
		defer mu.Unlock()
		list := s.AllFindings()
		for _, f := range list {
			alone[f.Rule] = alone[f.Rule] || !slices.ContainsFunc(list, func(o repository.Finding) bool { return o.Rule != f.Rule })
			said[f.Rule] = append(said[f.Rule], example(f.Level, f.Message, f.Hint))
		}
	}
	t.Run("event", func(t *testing.T) {
		for _, test := range ruleCases() {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				w := New(t)
				test.event(w)
				w.Commit("event")
				note(test.check(t, w, repository.Policy{}, repository.EventOptions{}))
			})
		}
		for _, test := range personCases() {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				w := New(t)
				test.event(w)
				w.Commit("event")
				note(test.check(t, w, repository.Policy{}, test.options(w)))
			})
		}
	})
	var good []string
	for _, c := range ruleCases() {
		if c.want == nil {
			good = append(good, c.name)
		}
	}
	for _, c := range personCases() {
		if c.want == nil {
			good = append(good, c.name)
		}
	}
	for _, r := range repository.Rules() {
		if isElsewhere(r.Name) {
			continue
		}
		if !slices.Contains(good, siblings[r.Name]) {
			t.Errorf("no case nearly breaks %s and finds nothing: %q", r.Name, siblings[r.Name])
		}
		if !alone[r.Name] {
			t.Errorf("no case breaks %s and nothing else", r.Name)
		}
		if !slices.Contains(said[r.Name], example(r.Level, r.Example, r.Hint)) {
			t.Errorf("the example of %s is\n%s\nbut its cases say\n%s", r.Name, example(r.Level, r.Example, r.Hint), strings.Join(said[r.Name], "\n"))
		}
	}
}

// example is a message and its hint, with commits left out: they differ with
// git's version.
func example(level repository.Level, message, hint string) string {
	return regexp.MustCompile(`\b[0-9a-f]{10}\b`).ReplaceAllString(string(level)+": "+message+" | "+hint, "COMMIT")
}

// TestEveryRuleHasAReason keeps the list of rules readable.
func TestEveryRuleHasAReason(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range repository.Rules() {
		if r.Stops == "" || seen[r.Name] || r.Level == repository.LevelWarning && r.Gates != "" {
			t.Errorf("rule %+v", r)
		}
		seen[r.Name] = true
	}
}

// TestCapabilities: what signs or publishes cannot be called with anything but a
// checked value of the very commit.
func TestCapabilities(t *testing.T) {
	w := New(t)
	w.Edit("targets", nil).Sign("targets", "alice")
	w.Commit("event")
	r := w.Open()
	ctx := context.Background()
	head, err := r.Git.Resolve(ctx, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	main, err := r.Git.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	event, err := r.OpenEvent(ctx, repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	reviewed, err := event.Reviewed(ctx, w.Now, repository.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	signable, err := r.Signable(ctx, main)
	if err != nil {
		t.Fatal(err)
	}
	published, err := r.Published(ctx, main, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	publishable, err := published.Publishable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reviewed.For(head); err != nil {
		t.Error(err)
	}
	if _, err := signable.For(main); err != nil {
		t.Error(err)
	}
	if _, err := publishable.For(main); err != nil {
		t.Error(err)
	}
	_, a := reviewed.For(main)
	_, b := signable.For(head)
	_, c := publishable.For(head)
	for _, err := range []error{a, b, c} {
		if _, ok := err.(*repository.OtherCommitError); !ok {
			t.Errorf("another commit: %v", err)
		}
	}
	_, a = repository.Reviewed{}.For(head)
	_, b = repository.Signable{}.For(head)
	_, c = repository.Publishable{}.For(head)
	_, d := (&repository.Published{}).Publishable()
	for _, err := range []error{a, b, c, d} {
		if err != repository.ErrUnchecked {
			t.Errorf("zero value: %v", err)
		}
	}
}

// TestQuorumWords: who is still to sign, whoever that is, and with which command.
func TestQuorumWords(t *testing.T) {
	threshold := func(w *World, n int64, names ...string) {
		w.Edit("targets", func(s object) {
			SetKeys(s, "releases", names...)
			Roles(s, "releases")["threshold"] = n
		}).Sign("targets", "alice", "bob")
	}
	for _, test := range []struct {
		name                string
		event               func(w *World)
		rule, message, hint string
	}{
		{"people", func(w *World) { w.Edit("targets", nil).Sign("targets", "alice") },
			"quorum", "targets version 2 has 1 of 2 signatures (missing: @bob, @carol)", "sign with: tufops-sign sign sign/test"},
		{"a machine", func(w *World) { threshold(w, 1, "online2"); w.Edit("releases", nil) },
			"quorum", "releases version 2 has 0 of 1 signatures (missing: file2:online2)", "sign with: tufops online-sign-targets releases --push"},
		{"a machine and people", func(w *World) { threshold(w, 2, "carol", "online2"); w.Edit("releases", nil) },
			"quorum", "releases version 2 has 0 of 2 signatures (missing: @carol, file2:online2)", "sign with: tufops-sign sign sign/test"},
		{"the invited", func(w *World) {
			threshold(w, 2, "carol")
			w.Edit("releases", nil).Sign("releases", "carol")
			w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["releases"], "@erin": ["releases"]}}`)
		}, "quorum", "releases version 2 has 1 of 2 signatures (missing: @dave (invited), @erin (invited))", "sign with: tufops-sign sign sign/test"},
		{"a threshold for the invited", func(w *World) {
			threshold(w, 2, "carol")
			w.WriteFile(repository.StateFile, `{"invites": {"@dave": ["releases"], "@erin": ["releases"]}}`)
		}, "threshold-invalid", "releases needs 2 signatures and has 1 key until the invited bring theirs: @dave, @erin", "whoever is invited accepts with: tufops-sign sign sign/test"},
		{"a threshold that nobody can meet", func(w *World) { threshold(w, 2, "carol") },
			"threshold-invalid", "releases needs 2 signatures but has only 1 distinct public key", "set it: tufops-sign delegate sign/test releases --threshold N"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			test.event(w)
			w.Commit("event")
			for _, f := range w.Status(repository.Policy{}).AllFindings() {
				if f.Rule == test.rule {
					if f.Message != test.message || f.Hint != test.hint {
						t.Errorf("%q, hint %q", f.Message, f.Hint)
					}
					return
				}
			}
			t.Errorf("no finding %s in %q", test.rule, found(w.Status(repository.Policy{})))
		})
	}
}

// told is a forge that tells who pushed what.
func told(pushers map[git.OID]string) func(context.Context) (map[git.OID]string, error) {
	return func(context.Context) (map[git.OID]string, error) { return pushers, nil }
}
