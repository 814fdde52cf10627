package metadata_test

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/tufops/tufops/internal/metadata"
)

// goTUF asks go-tuf, which is what most clients run, whether it takes doc as
// signed by role's keys in delegator. An answer of nil is yes; its panics are
// answers too.
func goTUF(delegator []byte, role string, doc []byte) error {
	return goTUFVerify(goTUFRead(delegator), role, goTUFRead(doc))
}

// goTUFFile is what go-tuf reads in a file, or why it reads nothing.
type goTUFFile struct {
	parsed any
	err    error
}

func goTUFRead(data []byte) (f goTUFFile) {
	defer func() {
		if r := recover(); r != nil {
			f.err = fmt.Errorf("panic: %v", r)
		}
	}()
	f.parsed, f.err = goTUFParse(data)
	return f
}

func goTUFVerify(delegator goTUFFile, role string, doc goTUFFile) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if doc.err != nil {
		return fmt.Errorf("parse: %w", doc.err)
	}
	if delegator.err != nil {
		return fmt.Errorf("parse delegator: %w", delegator.err)
	}
	switch by := delegator.parsed.(type) {
	case *gotuf.Metadata[gotuf.RootType]:
		return by.VerifyDelegate(role, doc.parsed)
	case *gotuf.Metadata[gotuf.TargetsType]:
		return by.VerifyDelegate(role, doc.parsed)
	}
	return errors.New("not a delegator")
}

func goTUFParse(data []byte) (any, error) {
	var head struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	switch head.Signed.Type {
	case metadata.Root:
		return gotuf.Root().FromBytes(data)
	case metadata.Targets:
		return gotuf.Targets().FromBytes(data)
	case metadata.Snapshot:
		return gotuf.Snapshot().FromBytes(data)
	}
	return gotuf.Timestamp().FromBytes(data)
}

// Of every question that the history of a real repository asks, side branches
// and half-signed events included, go-tuf and we think the same.
func TestCorpusGoTUFAgrees(t *testing.T) {
	t.Parallel()
	h := corpus(t)
	asked := map[pair]bool{}
	read := map[string]goTUFFile{}
	for blob, d := range h.docs {
		read[blob] = goTUFRead(d.Raw())
	}
	yes := 0
	ask := func(p pair) {
		if asked[p] {
			return
		}
		asked[p] = true
		ours := h.met(t, p)
		theirs := goTUFVerify(read[p.delegator], p.role, read[p.doc])
		if ours {
			yes++
		}
		if ours != (theirs == nil) {
			t.Errorf("%s of %s by %s: met %v, go-tuf says %v", p.role, p.doc, p.delegator, ours, theirs)
		}
	}
	before := map[string]string{} // role to blob, one commit later
	for _, c := range h.commits {
		for _, p := range h.pairs(c) {
			ask(p)
			// And by the delegator of the commit beside it: keys come and go.
			if d := before[metadata.Root]; d != "" && p.role != "registry.npmjs.org" {
				ask(pair{d, p.role, p.doc})
			}
		}
		for n := 2; c.roots[n] != ""; n++ {
			ask(pair{c.roots[n-1], metadata.Root, c.roots[n]})
			ask(pair{c.roots[n], metadata.Root, c.roots[n-1]})
		}
		before = c.roles
	}
	if len(asked) < 1000 || yes == len(asked) || yes < 800 {
		t.Errorf("%d questions, %d of them met", len(asked), yes)
	}
	t.Logf("%d questions, %d of them met: no disagreement", len(asked), yes)
}

// TestGoTUFDiffers lists where go-tuf v2.4.2 and we give another answer to one
// question, and why; and beside them the near misses on which we agree. A change
// on either side should be noticed.
//
// Every difference is one where go-tuf says no. It must never be the reverse:
// clients in the field would take what we would not have published.
func TestGoTUFDiffers(t *testing.T) {
	const yes = ""
	for _, c := range []struct {
		name string
		situation
		met   bool
		gotuf string // part of its error; yes for none
	}{
		// Agreement.
		{"two of two", situation{"alice bob", "alice bob", "alice bob", 2}, true, yes},
		{"one of two", situation{"alice bob", "alice bob", "alice", 2}, false, "got 1, want 2"},
		{"placeholder", situation{"alice bob", "alice bob", "alice bob:empty", 2}, false, "got 1, want 2"},
		{"over another payload", situation{"alice", "alice", "alice:other", 1}, false, "got 0, want 1"},
		{"unlisted", situation{"alice bob", "alice", "bob", 1}, false, "got 0, want 1"},
		{"unlisted among enough", situation{"alice bob", "alice", "bob alice mallory", 1}, true, yes},
		{"one key under two keyids", situation{"alice alice2=alice", "alice alice2", "alice alice2", 2}, false, "got 1, want 2"},
		{"one key, two key types", situation{"alice compat-alice", "alice compat-alice", "alice compat-alice", 2}, false, "got 1, want 2"},
		{"keyid listed twice", situation{"alice bob", "alice alice bob", "alice", 2}, false, "got 1, want 2"},
		{"threshold zero", situation{"alice", "alice", "alice", 0}, false, "insufficient threshold (0)"},
		{"threshold negative", situation{"alice", "alice", "alice", -1}, false, "insufficient threshold (-1)"},
		{"nobody listed", situation{"alice", "", "alice", 1}, false, "no delegation found"},
		{"P-384", situation{"p384-alice", "p384-alice", "p384-alice", 1}, true, yes},
		{"Ed25519", situation{"ed-alice", "ed-alice", "ed-alice", 1}, true, yes},
		{"RSA", situation{"rsa-alice", "rsa-alice", "rsa-alice", 1}, true, yes},
		{"key type ecdsa-sha2-nistp256", situation{"compat-alice", "compat-alice", "compat-alice", 1}, true, yes},
		{"upper-case hex", situation{"alice", "alice", "alice:upper", 1}, true, yes},
		{"unknown key types, not listed", situation{"alice future-bob sigstore-carol", "alice", "alice", 1}, true, yes},

		// Keys that a client must skip fail the whole role in go-tuf.
		{"unknown key type beside a valid signer", situation{"alice future-bob", "alice future-bob", "alice", 1}, true, "unsupported public key type"},
		{"listed key that is not among the keys", situation{"alice", "ghost alice", "alice", 1}, true, "not found in targets keyids"},
		{"ML-DSA beside a valid signer", situation{"alice mldsa65-bob", "alice mldsa65-bob", "alice", 1}, true, "unsupported public key type"},
		{"ECDSA and ML-DSA, two of two", situation{"alice mldsa44-bob", "alice mldsa44-bob", "alice mldsa44-bob", 2}, true, "unsupported public key type"},
		{"ML-DSA among the keys, not listed", situation{"alice mldsa87-bob", "alice", "alice", 1}, true, yes},
		{"a key that is no PEM beside a valid signer", situation{"alice hex-bob", "alice hex-bob", "alice", 1}, true, "PEM decoding failed"},
		// Production roots 1 to 4; go-tuf has no other form than PEM.
		{"hex EC point", situation{"hex-alice", "hex-alice", "hex-alice", 1}, true, "PEM decoding failed"},
		// A signature that is not hex, as Sigstore keys have: the file does not parse.
		{"not hex beside enough", situation{"alice bob", "alice bob", "alice bob:nothex", 1}, true, "parse: "},
		// We count the first and have a rule (signature-duplicate) that stops it.
		{"one keyid signs twice", situation{"alice bob", "alice bob", "alice alice bob", 2}, true, "parse: "},
		{"an unlisted keyid signs twice", situation{"alice bob", "alice", "alice bob bob", 1}, true, "parse: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, targets, _ := c.build(t)
			del, _ := root.Delegation(metadata.Targets)
			if met := metadata.Check(del, targets).Met(); met != c.met {
				t.Errorf("met %v, want %v", met, c.met)
			}
			compareGoTUF(t, goTUF(root.Bytes(), metadata.Targets, targets.Bytes()), c.gotuf)
		})
	}
}

func compareGoTUF(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("go-tuf says %v, want yes", err)
	case want != "" && err == nil:
		t.Errorf("go-tuf says yes, want %s", want)
	case err != nil && !strings.Contains(err.Error(), want):
		t.Errorf("go-tuf says %v, want %s", err, want)
	}
}

// Cases in which go-tuf says yes and we say no: keys that contradict themselves.
// No event can add one (key-type-not-allowed), and the threshold that it would
// help to meet is not met here.
func TestGoTUFIsLooser(t *testing.T) {
	for _, c := range []struct {
		word string
		hash crypto.Hash // what go-tuf hashes with
	}{
		{"oddscheme-alice", crypto.SHA256}, // an unknown scheme is taken for SHA-256
		{"junk-alice", crypto.SHA256},      // what follows the PEM block is not looked at
		{"as384-alice", crypto.SHA384},     // the scheme of the other curve gives the hash
		{"as256-alice", crypto.SHA256},
	} {
		t.Run(c.word, func(t *testing.T) {
			root, targets, _ := situation{c.word, c.word, "", 1}.build(t)
			k := keyFor(t, c.word)
			w := c.hash.New()
			w.Write(targets.Payload())
			sig, err := k.private.Sign(rand.Reader, w.Sum(nil), c.hash)
			if err != nil {
				t.Fatal(err)
			}
			if targets, err = targets.WithSignature(k.id, sig); err != nil {
				t.Fatal(err)
			}
			del, _ := root.Delegation(metadata.Targets)
			if metadata.Check(del, targets).Met() {
				t.Error("met")
			}
			compareGoTUF(t, goTUF(root.Bytes(), metadata.Targets, targets.Bytes()), "")
		})
	}
}

// Content that go-tuf does not carry: it verifies over what its structs write,
// not over what it read, and so refuses what is validly signed.
func TestGoTUFLosesContent(t *testing.T) {
	alice := keyFor(t, "alice")
	sigstore := keyFor(t, "sigstore-bob")
	for _, c := range []struct {
		name  string
		base  *metadata.Document
		edit  func(signed metadata.Object)
		gotuf string
	}{
		{"nothing odd", tinyTargets(t), func(metadata.Object) {}, ""},
		{"an unknown field", tinyTargets(t), func(o metadata.Object) { o["x"] = []any{"é", nil, "\x7f"} }, ""},
		{"an unknown number of 2^53+1", tinyTargets(t), func(o metadata.Object) { o["x"] = json.Number("9007199254740993") }, "got 0, want 1"},
		{"a date with a zero fraction", tinyTargets(t), func(o metadata.Object) { o["expires"] = "2036-01-31T00:00:00.500Z" }, "got 0, want 1"},
		{"a date with +00:00", tinyTargets(t), func(o metadata.Object) { o["expires"] = "2036-01-31T00:00:00+00:00" }, "got 0, want 1"},
		{"delegations: null", tinyTargets(t), func(o metadata.Object) { o["delegations"] = nil }, "got 0, want 1"},
		{"custom: null", tinyTargets(t), func(o metadata.Object) {
			o["targets"].(metadata.Object)["a.txt"].(metadata.Object)["custom"] = nil
		}, "got 0, want 1"},
		{"a delegated key without a public", tinyTargets(t), func(o metadata.Object) {
			o["delegations"].(metadata.Object)["keys"].(metadata.Object)[sigstore.id] = sigstore.object
		}, "got 0, want 1"},
		{"length 0 in snapshot", tinySnapshot(t), func(metadata.Object) {}, "got 0, want 1"},
		{"no odd length", tinyTimestamp(t), func(metadata.Object) {}, ""},
		// Rule duplicate-json-key. Of names that fold to one, go-tuf takes the last
		// of the file: in this format's order capitals stand first, the long s last.
		{"Version beside version", tinyTargets(t), func(o metadata.Object) { o["Version"] = 7 }, ""},
		{"ver\u017fion beside version", tinyTargets(t), func(o metadata.Object) { o["ver\u017fion"] = 7 }, "got 0, want 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			signed := metadata.Clone(c.base.Signed())
			c.edit(signed)
			doc, err := c.base.WithSigned(signed, nil)
			if err != nil {
				t.Fatal(err)
			}
			if doc, err = doc.WithSignature(alice.id, alice.sign(t, doc.Payload())); err != nil {
				t.Fatal(err)
			}
			root, _, _ := situation{"alice", "alice", "", 1}.build(t)
			del, _ := root.Delegation(metadata.Targets)
			if !metadata.Check(del, doc).Met() {
				t.Error("not met")
			}
			compareGoTUF(t, goTUF(root.Bytes(), metadata.Targets, doc.Bytes()), c.gotuf)
		})
	}
}

// What makes go-tuf crash is an error here, or harmless.
func TestGoTUFPanics(t *testing.T) {
	root, targets, _ := situation{"alice", "alice", "alice", 1}.build(t)
	edit := func(d *metadata.Document, path, value string) []byte {
		t.Helper()
		tree, _, err := metadata.ParseTree(d.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := metadata.ParseTree([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		return metadata.Write(put(tree, strings.Split(path, "."), v, false))
	}
	for _, c := range []struct {
		name            string
		delegator, file []byte
	}{
		{"a key that is null", edit(root, "signed.keys."+keyFor(t, "alice").id, "null"), targets.Bytes()},
		{"a role that is null", edit(root, "signed.roles.targets", "null"), targets.Bytes()},
	} {
		compareGoTUF(t, goTUF(c.delegator, metadata.Targets, c.file), "panic: ")
		if d, err := metadata.Parse(c.delegator); err == nil {
			t.Errorf("%s: parses as %v", c.name, d)
		}
	}
}

// Mutations of a real root, and of the timestamp that it delegates: what go-tuf
// takes we take, or do not even read, and the reverse, but for a few reasons.
func TestCorpusGoTUFMutations(t *testing.T) {
	t.Parallel()
	h := corpus(t)
	newest := h.commits[0].roles
	root, doc := h.docs[newest[metadata.Root]], h.docs[newest[metadata.Timestamp]]
	count := map[string]int{}
	compare := func(where string, delegator, file goTUFFile, delegatorDoc, fileDoc *metadata.Document, err error) {
		ours := false
		if err == nil {
			if del, ok := delegatorDoc.Delegation(metadata.Timestamp); ok {
				ours = metadata.Check(del, fileDoc).Met()
			}
		}
		theirs := goTUFVerify(delegator, metadata.Timestamp, file)
		says := func(text string) bool { return theirs != nil && strings.Contains(theirs.Error(), text) }
		what := ""
		switch {
		case says("panic"):
			if what = "go-tuf panics"; ours {
				t.Errorf("%s: met, but %v", where, theirs)
			}
		case ours == (theirs == nil):
			what = fmt.Sprintf("both say met is %v", ours)
		case err != nil && strings.HasPrefix(where, "root"):
			what = "a root that we do not read" // a field is missing or of another type
		case ours && says("keyval.public of type string"):
			what = "go-tuf does not read a root with another key whose public is no string"
		case ours && says("invalid JSON hex"):
			what = "go-tuf does not read a root with a signature that is not hex"
		case !ours && strings.HasSuffix(strings.Split(where, " ")[0], ".scheme"):
			what = "go-tuf does not mind an unknown scheme"
		default:
			t.Errorf("%s: met %v (%v), go-tuf says %v", where, ours, err, theirs)
		}
		count[what]++
	}
	theirRoot, theirDoc := goTUFRead(root.Raw()), goTUFRead(doc.Raw())
	mutate(t, root.Raw(), func(where string, mutant []byte) {
		d, err := metadata.Parse(mutant)
		compare("root"+where, goTUFRead(mutant), theirDoc, d, doc, err)
	})
	mutate(t, doc.Raw(), func(where string, mutant []byte) {
		d, err := metadata.Parse(mutant)
		compare("timestamp"+where, theirRoot, goTUFRead(mutant), root, d, err)
	})
	for what, n := range count {
		t.Logf("%4d %s", n, what)
	}
}
