package metadata_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
)

// history is all metadata that a real repository ever held: three years of
// sigstore/root-signing-staging.
type history struct {
	files   []historyFile                 // every distinct (blob, path), by path, then blob
	docs    map[string]*metadata.Document // by blob
	commits []historyCommit               // that touch metadata/, side branches included, newest first
}

type historyFile struct{ blob, path string }

type historyCommit struct {
	id     string
	onMain bool              // a first parent of main
	roles  map[string]string // role to blob
	roots  map[int]string    // of root_history: version to blob
}

var (
	historyOnce sync.Once
	theHistory  *history
)

// corpus reads the history, once for all tests.
func corpus(t testing.TB) *history {
	t.Helper()
	dir := gittest.Corpus(t)
	historyOnce.Do(func() { theHistory = readHistory(t, dir) })
	if theHistory == nil {
		t.Fatal("the corpus could not be read")
	}
	return theHistory
}

func readHistory(t testing.TB, dir string) *history {
	t.Helper()
	git := func(stdin string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	objects := func(names []string) map[string][]byte { // a missing one is left out
		out, found := git(strings.Join(names, "\n")+"\n", "cat-file", "--batch"), map[string][]byte{}
		for _, name := range names {
			header, rest, _ := bytes.Cut(out, []byte("\n"))
			fields := strings.Fields(string(header))
			if out = rest; fields[len(fields)-1] == "missing" {
				continue
			}
			size, err := strconv.Atoi(fields[2])
			if err != nil {
				t.Fatalf("git cat-file says %q", header)
			}
			found[name], out = rest[:size], rest[size+1:]
		}
		return found
	}

	h := &history{docs: map[string]*metadata.Document{}}
	blobs := map[string]bool{}
	seen := map[historyFile]bool{}
	for line := range strings.Lines(string(git("", "log", "--all", "-m", "--raw", "--no-abbrev", "--no-renames", "--format=", "--", "metadata"))) {
		fields := strings.Fields(line) // :mode mode old new status path
		if len(fields) != 6 || fields[4] == "D" || !strings.HasSuffix(fields[5], ".json") {
			continue
		}
		blobs[fields[3]] = true
		if f := (historyFile{fields[3], fields[5]}); !seen[f] {
			seen[f] = true
			h.files = append(h.files, f)
		}
	}
	sort.Slice(h.files, func(i, j int) bool {
		a, b := h.files[i], h.files[j]
		return a.path < b.path || a.path == b.path && a.blob < b.blob
	})

	// A merge that took a signing event as it was differs from main before it,
	// but not from the event's head: the first list has it, the second does not.
	main, touching := map[string]bool{}, map[string]bool{}
	for _, id := range strings.Fields(string(git("", "rev-list", "--first-parent", "main", "--", "metadata"))) {
		main[id], touching[id] = true, true
	}
	for _, id := range strings.Fields(string(git("", "rev-list", "--all", "--", "metadata"))) {
		touching[id] = true
	}
	var ids []string
	for _, id := range strings.Fields(string(git("", "rev-list", "--topo-order", "--all"))) {
		if touching[id] {
			ids = append(ids, id)
		}
	}
	var trees []string
	for _, id := range ids {
		trees = append(trees, id+":metadata", id+":metadata/root_history")
	}
	content := objects(trees)
	for _, id := range ids {
		c := historyCommit{id: id, onMain: main[id], roles: map[string]string{}, roots: map[int]string{}}
		for name, blob := range treeBlobs(content[id+":metadata"]) {
			if role, ok := strings.CutSuffix(name, ".json"); ok {
				c.roles[role] = blob
			}
		}
		for name, blob := range treeBlobs(content[id+":metadata/root_history"]) {
			if n, err := strconv.Atoi(strings.TrimSuffix(name, ".root.json")); err == nil {
				c.roots[n] = blob
			}
		}
		h.commits = append(h.commits, c)
	}

	names := make([]string, 0, len(blobs))
	for blob := range blobs {
		names = append(names, blob)
	}
	for blob, data := range objects(names) {
		d, err := metadata.Parse(data)
		if err != nil {
			t.Fatalf("blob %s: %v", blob, err)
		}
		h.docs[blob] = d
	}
	return h
}

// treeBlobs reads a git tree object: mode, a blank, name, NUL, 20 bytes.
func treeBlobs(data []byte) map[string]string {
	blobs := map[string]string{}
	for len(data) > 0 {
		head, rest, _ := bytes.Cut(data, []byte{0})
		mode, name, _ := strings.Cut(string(head), " ")
		if strings.HasPrefix(mode, "100") {
			blobs[name] = fmt.Sprintf("%x", rest[:20])
		}
		data = rest[20:]
	}
	return blobs
}

// otherwiseFormatted are the files of the history that are not in this format's
// form, and so change when they are written. The list is exact: a file that
// would come out the same does not belong here.
var otherwiseFormatted = map[string]string{
	// The repository of go-tuf v0's time, imported as it was.
	"4ca0da87fe2b2738bd85b3783d5536c95d4cb6ef": "tabs: root_history/1.root.json",
	"f848d7d8468130db03df618a3315d29d12fe50fc": "tabs: root_history/2.root.json",
	"2729165697e9b30070828bd7eb9bbb5caf5a195d": "tabs: root_history/3.root.json",
	"e506177b8ed995ef4f73d6bb956b002cf9e81593": "tabs: root_history/4.root.json, and the first root.json",
	"7aec6c837110fd4c480d8b201e022c5a903c18ed": "tabs: the first targets.json, version 4",
	"d53f15267b3bad4dd46a383a3e3a3d866f783a12": "tabs: the first registry.npmjs.org.json, version 2",
	"013e76b16274bffbefbcf1656f9d6cb62edce4cb": "tabs: the first snapshot.json, version 4",
	"5aa16c8e3d4c8be9717f5c34be05c74dff485eea": "tabs: the first timestamp.json, version 4",
	// Edited by hand in an event, with an editor that ends files with a newline.
	"7cf414dd2a16dd88fffed88d21ad8a38f929788f": "final newline: targets.json, version 23",
	"4e03b669d4572fc9fc723da929be5ea4fd914fcd": "final newline: targets.json, version 24",
}

func TestCorpusRoundTrip(t *testing.T) {
	t.Parallel()
	h := corpus(t)
	used := map[string]bool{}
	for _, f := range h.files {
		d := h.docs[f.blob]
		raw := string(d.Raw())
		tree, dups, err := metadata.ParseTree([]byte(raw))
		if err != nil || len(dups) > 0 {
			t.Errorf("%s %s: %v, duplicates %v", f.blob, f.path, err, dups)
			continue
		}
		// From the tree alone; from the document; from the document of another
		// form of the file, so that nothing that kept the bytes passes.
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(raw)); err != nil {
			t.Fatal(err)
		}
		other, err := metadata.Parse(compact.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		written := string(metadata.Write(tree))
		if string(d.Bytes()) != written || string(other.Bytes()) != written {
			t.Errorf("%s %s: Bytes depend on how the file was formatted", f.blob, f.path)
		}
		if !bytes.Equal(other.Payload(), d.Payload()) {
			t.Errorf("%s %s: the payload depends on how the file was formatted", f.blob, f.path)
		}
		// An edit and its reverse.
		signed := metadata.Clone(d.Signed())
		signed["version"] = d.Version() + 1
		edited, err := d.WithSigned(signed, nil)
		if err != nil {
			t.Fatal(err)
		}
		if edited.Version() != d.Version()+1 || bytes.Equal(edited.Bytes(), d.Bytes()) || len(edited.Signatures()) != 0 {
			t.Errorf("%s %s: the edit had no effect", f.blob, f.path)
		}
		signed = metadata.Clone(edited.Signed())
		signed["version"] = d.Version()
		back, err := edited.WithSigned(signed, d.Signatures())
		if err != nil {
			t.Fatal(err)
		}
		if string(back.Bytes()) != written {
			t.Errorf("%s %s: an edit and its reverse leave a difference", f.blob, f.path)
		}
		// A signature put where it stands already.
		for _, s := range d.Signatures() {
			sig, err := s.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if same, err := d.WithSignature(s.KeyID, sig); err != nil || string(same.Bytes()) != written {
				t.Errorf("%s %s: the signature of %s, replaced by itself, changes the file (%v)", f.blob, f.path, s.KeyID, err)
			}
		}
		reason, excepted := otherwiseFormatted[f.blob]
		used[f.blob] = true
		switch {
		case !excepted && written != raw:
			t.Errorf("%s %s: written otherwise than it was read", f.blob, f.path)
		case excepted && written == raw:
			t.Errorf("%s %s: is listed as otherwise formatted (%s), but comes out the same", f.blob, f.path, reason)
		case excepted && strings.HasPrefix(reason, "final newline") && written+"\n" != raw:
			t.Errorf("%s %s: differs by more than a final newline", f.blob, f.path)
		case excepted && strings.HasPrefix(reason, "tabs") && !strings.Contains(raw, "\n\t\""):
			t.Errorf("%s %s: is not indented by tabs", f.blob, f.path)
		}
	}
	for blob := range otherwiseFormatted {
		if !used[blob] {
			t.Errorf("%s is listed as otherwise formatted, but is not in the history", blob)
		}
	}
	if len(h.files) < 943 { // 945 paths, less two deletions
		t.Errorf("only %d files were checked", len(h.files))
	}
	t.Logf("%d files, %d commits", len(h.files), len(h.commits))
}

// pair is a question: does delegator vouch for the document as role?
type pair struct{ delegator, role, doc string } // the files by blob

// pairs are all such questions about one commit.
func (h *history) pairs(c historyCommit) []pair {
	var list []pair
	add := func(delegator, role string) {
		if doc := c.roles[role]; delegator != "" && doc != "" {
			list = append(list, pair{delegator, role, doc})
		}
	}
	for _, role := range metadata.TopLevel {
		add(c.roles[metadata.Root], role)
	}
	if targets := h.docs[c.roles[metadata.Targets]]; targets != nil && targets.Delegations() != nil {
		for _, del := range targets.Delegations().Roles {
			add(c.roles[metadata.Targets], del.Role)
		}
	}
	return list
}

func (h *history) met(t testing.TB, p pair) bool {
	t.Helper()
	del, ok := h.docs[p.delegator].Delegation(p.role)
	if !ok {
		t.Fatalf("%s does not delegate %s", p.delegator, p.role)
	}
	met := metadata.Met(del, h.docs[p.doc])
	if all := metadata.Check(del, h.docs[p.doc]).Met(); met != all {
		t.Errorf("%s by %s: Met says %v, Check %v", p.doc, p.delegator, met, all)
	}
	return met
}

// betweenRotationAndSigning are the merges that rotate the online key: until
// online-sign has run once more, main's snapshot and timestamp do not verify.
// They are named by the blobs of root and timestamp, since the corpus and the
// public repository number the same commits differently.
var betweenRotationAndSigning = map[[2]string]string{
	{"54f5a731d5fadd3b861196d0820028d0b0ea626a", "680b1a980dd12985f1af05572461b71c134f934c"}: "root 5, sign/import, 2024-01-10",
	{"23f1629f42b067937f4eb055c91f61153f86ac1c", "680b1a980dd12985f1af05572461b71c134f934c"}: "root 6, sign/switch-online-key, 2024-01-18",
	{"50c354d4399a94720ac3140f097883e8cdb3ba6b", "680b1a980dd12985f1af05572461b71c134f934c"}: "root 5 again, sign/import-v2, 2024-01-22",
	{"b45b5cb67bb944ad3c7c6ff5d91d90c6c34f371a", "4130692adf575bed9b194bd91cb8da463f262ae6"}: "root 9, sign/keyid-update, 2024-07-08",
}

func TestCorpusSignatures(t *testing.T) {
	h := corpus(t)
	verdicts := map[pair]bool{}
	check := func(p pair) bool {
		if _, known := verdicts[p]; !known {
			verdicts[p] = h.met(t, p)
		}
		return verdicts[p]
	}
	rotations := map[[2]string]int{}
	otherForm := 0
	roles := map[string]int{}
	commits := 0
	for _, c := range h.commits {
		if !c.onMain {
			continue
		}
		commits++
		var bad []string
		for _, p := range h.pairs(c) {
			roles[p.role]++
			if !check(p) {
				bad = append(bad, p.role)
			}
		}
		state := [2]string{c.roles[metadata.Root], c.roles[metadata.Timestamp]}
		if why, excepted := betweenRotationAndSigning[state]; excepted {
			rotations[state]++
			if got := strings.Join(bad, " "); got != "timestamp snapshot" {
				t.Errorf("%s (%s) rotates the online key; what does not verify is %q, want timestamp and snapshot", c.id, why, got)
			}
		} else if len(bad) > 0 {
			t.Errorf("%s: %v do not verify", c.id, bad)
		}
		// The chain: each root by itself and by the one before it.
		n := 1
		for ; c.roots[n] != ""; n++ {
			if v := h.docs[c.roots[n]].Version(); v != int64(n) {
				t.Errorf("%s: root_history/%d.root.json is version %d", c.id, n, v)
			}
			if !check(pair{c.roots[n], metadata.Root, c.roots[n]}) {
				t.Errorf("%s: root %d does not meet its own threshold", c.id, n)
			}
			if n > 1 && !check(pair{c.roots[n-1], metadata.Root, c.roots[n]}) {
				t.Errorf("%s: root %d does not meet the threshold of root %d", c.id, n, n-1)
			}
		}
		if newest := c.roots[n-1]; len(c.roots) != n-1 {
			t.Errorf("%s: root_history has a gap: %v", c.id, c.roots)
		} else if newest != c.roles[metadata.Root] {
			otherForm++
			if !bytes.Equal(h.docs[newest].Bytes(), h.docs[c.roles[metadata.Root]].Bytes()) {
				t.Errorf("%s: root.json is not the newest of root_history", c.id)
			}
		}
	}
	if otherForm != 2 {
		t.Errorf("in %d commits root.json differs from root_history in form alone, want 2 (before the imports)", otherForm)
	}
	for state, why := range betweenRotationAndSigning {
		if rotations[state] != 1 {
			t.Errorf("%s is listed as not verifying, and stands in %d commits", why, rotations[state])
		}
	}
	if newest := h.commits[0]; len(newest.roots) < 14 {
		t.Errorf("the newest commit has the roots %v, want 1 to 14 at least", newest.roots)
	}
	for _, role := range append([]string{"registry.npmjs.org"}, metadata.TopLevel...) {
		if roles[role] < 700 {
			t.Errorf("%s was checked only %d times", role, roles[role])
		}
	}
	t.Logf("%d commits, %v, %d distinct questions", commits, roles, len(verdicts))
}

// Every signature that is there is by the key whose keyid it bears, over what
// the file says: turning one bit of the payload or of the signature undoes it.
func TestCorpusSignaturesAreOverTheContent(t *testing.T) {
	h := corpus(t)
	newest := h.commits[0]
	for _, p := range h.pairs(newest) {
		del, _ := h.docs[p.delegator].Delegation(p.role)
		doc := h.docs[p.doc]
		if !metadata.Check(del, doc).Met() {
			t.Errorf("%s does not verify", p.role)
		}
		signed := metadata.Clone(doc.Signed())
		signed["expires"] = strings.Replace(signed["expires"].(string), "Z", ".000Z", 1) // the same moment
		edited, err := doc.WithSigned(signed, doc.Signatures())
		if err != nil {
			t.Fatal(err)
		}
		if q := metadata.Check(del, edited); q.Count != 0 {
			t.Errorf("%s: %d signatures verify over another content", p.role, q.Count)
		}
		for _, s := range doc.Signatures() {
			sig, err := s.Bytes()
			if err != nil || len(sig) == 0 {
				continue
			}
			sig[len(sig)-1] ^= 1
			if edited, err := doc.WithSignature(s.KeyID, sig); err != nil || metadata.Check(del, edited).Count >= metadata.Check(del, doc).Count {
				t.Errorf("%s: a changed signature of %s still counts (%v)", p.role, s.KeyID, err)
			}
		}
	}
}

func TestCorpusHostile(t *testing.T) {
	t.Parallel()
	h := corpus(t)
	for role, blob := range h.commits[0].roles {
		raw := h.docs[blob].Raw()
		for n := range raw {
			if v, _, err := metadata.ParseTree(raw[:n]); err == nil || v != nil {
				t.Fatalf("%s cut after %d of %d bytes parses", role, n, len(raw))
			}
		}
		mutants := 0
		mutate(t, raw, func(where string, mutant []byte) {
			if mutants++; testing.Short() && mutants%7 != 0 {
				return
			}
			defer func() {
				if r := recover(); r != nil {
					t.Fatalf("%s %s panics: %v", role, where, r)
				}
			}()
			if d, err := metadata.Parse(mutant); err == nil && mutants%10 == 0 {
				useAll(d)
			}
		})
		t.Logf("%s: %d mutants", path.Base(role), mutants)
	}
}

func BenchmarkParseRoot(b *testing.B) {
	h := corpus(b)
	data := h.docs[h.commits[0].roles[metadata.Root]].Raw()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := metadata.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
