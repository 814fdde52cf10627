package repository_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512" // SHA-384 as well
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// A tree is what a commit holds, by path.
type tree map[string]content

type content struct {
	mode git.Mode
	data string
}

// doc is a metadata file of the tree, as a generic tree of its own; nil where it
// does not exist or is no JSON object.
func (t tree) doc(file string) object {
	v, _, err := metadata.ParseTree([]byte(t[file].data))
	o, ok := v.(object)
	if err != nil || !ok {
		return nil
	}
	return o
}

// A merged event of the corpus with other keys: what was signed is signed again
// by keys that the test has.
type rekeyed struct {
	name              string
	now               time.Time
	known, base, head tree // at the merge base, on main when it was merged, and what was merged
	baseAt, headAt    git.OID
}

// changed are the offline roles that the event changes, root first.
func (e *rekeyed) changed() []string {
	var roles []string
	for file, c := range e.head {
		role, ok := strings.CutSuffix(strings.TrimPrefix(file, "metadata/"), ".json")
		if ok && !strings.Contains(role, "/") && !metadata.IsOnline(role) && c.data != e.known[file].data {
			roles = append(roles, role)
		}
	}
	return repository.SortRoles(roles)
}

// A keyring holds the private keys that stand in for real ones. Each follows
// from the real public key, so a key that the corpus lists under two keyids, or
// with other custom fields later, stays one key.
type keyring struct {
	t       testing.TB
	private map[string]signs    // by public key, as it stands in keyval
	keys    map[string]object   // the stand-ins, by keyid
	ids     map[string][]string // real keyid to those of the stand-ins for what stands under it
	learnt  map[string]bool     // real files that ids knows
	rewrote map[string]string   // real file to the new one
}

// signs is a private key; it signs the same payload always in the same way.
type signs func(payload []byte) []byte

// key makes the stand-in of a name and returns its public key.
func (k *keyring) key(name, scheme string) string {
	sum := sha256.Sum256([]byte("tufops test key " + name))
	curve := elliptic.P256()
	if scheme == "ecdsa-sha2-nistp384" {
		curve = elliptic.P384()
	}
	private, err := ecdsa.ParseRawPrivateKey(curve, append(make([]byte, curve.Params().BitSize/8-len(sum)), sum[:]...))
	if err != nil {
		k.t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		k.t.Fatal(err)
	}
	h := crypto.SHA256
	if curve == elliptic.P384() {
		h = crypto.SHA384
	}
	return k.add(der, func(payload []byte) []byte {
		w := h.New()
		w.Write(payload)
		sig, err := private.Sign(nil, w.Sum(nil), h) // deterministic without a source of randomness
		if err != nil {
			k.t.Fatal(err)
		}
		return sig
	})
}

// mldsaKey makes the ML-DSA key of a name, of a level like 44.
func (k *keyring) mldsaKey(name, level string) *mldsa.PrivateKey {
	sum := sha256.Sum256([]byte("tufops test key " + name))
	private, err := mldsa.NewPrivateKey(map[string]mldsa.Parameters{"44": mldsa.MLDSA44(), "65": mldsa.MLDSA65(), "87": mldsa.MLDSA87()}[level], sum[:])
	if err != nil {
		k.t.Fatal(err)
	}
	return private
}

// mldsaOf is the key object of such a key, without a holder.
func (k *keyring) mldsaOf(name, level string) object {
	private := k.mldsaKey(name, level)
	der, err := mldsax509.MarshalPKIXPublicKey(private.PublicKey())
	if err != nil {
		k.t.Fatal(err)
	}
	public := k.add(der, func(payload []byte) []byte { return k.mldsaSign(private, tap21(payload), "") })
	return object{"keytype": "ml-dsa", "scheme": "ml-dsa-" + level + "/1", "keyval": object{"public": public}}
}

// mldsaSign signs without randomness.
func (k *keyring) mldsaSign(private *mldsa.PrivateKey, message []byte, context string) []byte {
	sig, err := private.SignDeterministic(message, &mldsa.Options{Context: context})
	if err != nil {
		k.t.Fatal(err)
	}
	return sig
}

// tap21 is what an ML-DSA key signs for a payload.
func tap21(payload []byte) []byte {
	sum := sha512.Sum512(payload)
	return append([]byte{'t', 'u', 'f', 1}, sum[:]...)
}

// add takes a key in and returns the text of its public key.
func (k *keyring) add(der []byte, private signs) string {
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	k.private[public] = private
	return public
}

// written is another text for the public key of a key object; it signs as before.
func (k *keyring) written(key object, how func(text string) string) {
	is := key["keyval"].(object)["public"].(string)
	text := how(is)
	k.private[text] = k.private[is]
	key["keyval"] = object{"public": text}
}

// person is the key object of a made-up person.
func (k *keyring) person(name string) object {
	return object{"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": object{"public": k.key(name, "ecdsa-sha2-nistp256")}, metadata.FieldKeyOwner: "@" + name}
}

// sign signs a payload with the key of a key object; false where the test does
// not have it.
func (k *keyring) sign(key any, payload []byte) (string, bool) {
	o, _ := key.(object)
	val, _ := o["keyval"].(object)
	public, _ := val["public"].(string)
	private, ok := k.private[public]
	if !ok {
		return "", false
	}
	return hex.EncodeToString(private(payload)), true
}

func keyID(key object) string {
	id, err := metadata.KeyID(key)
	if err != nil {
		panic(err)
	}
	return id
}

// delegating is the part of a root or targets file that holds keys: signed
// itself, or its delegations; nil where there is none.
func delegating(signed object) object {
	if _, ok := signed["roles"].(object); ok {
		return signed
	}
	d, _ := signed["delegations"].(object)
	return d
}

// delegations are the role objects of a root or targets file, by role.
func delegations(signed object) map[string]object {
	all := map[string]object{}
	if roles, ok := signed["roles"].(object); ok {
		for name, r := range roles {
			all[name], _ = r.(object)
		}
	} else if d := delegating(signed); d != nil {
		list, _ := d["roles"].([]any)
		for _, r := range list {
			o, _ := r.(object)
			if name, ok := o["name"].(string); ok {
				all[name] = o
			}
		}
	}
	return all
}

// rename puts the stand-ins in the place of a document's keys, under their right
// keyids.
func (k *keyring) rename(signed object) {
	d := delegating(signed)
	keys, _ := d["keys"].(object)
	local := map[string]string{}
	next := object{}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		key := metadata.Clone(keys[id].(object))
		decoded, err := metadata.DecodeKey(id, key)
		if err != nil || decoded.Unusable != nil {
			k.t.Fatalf("key %s of the corpus: %v, %v", id, err, decoded)
		}
		key["keyval"].(object)["public"] = k.key(decoded.Fingerprint(), decoded.Scheme)
		local[id] = keyID(key)
		next[local[id]], k.keys[local[id]] = key, key
		if !slices.Contains(k.ids[id], local[id]) {
			k.ids[id] = append(k.ids[id], local[id])
			slices.Sort(k.ids[id])
		}
	}
	if keys != nil {
		d["keys"] = next
	}
	for _, role := range delegations(signed) {
		list := role["keyids"].([]any)
		for i, id := range list {
			list[i] = local[id.(string)]
		}
	}
}

func isMetadata(file string) bool {
	return strings.HasPrefix(file, "metadata/") && strings.HasSuffix(file, ".json")
}

// learn reads which keys stand under which keyids in a tree.
func (k *keyring) learn(from tree) {
	for file, c := range from {
		if isMetadata(file) && !k.learnt[c.data] {
			k.learnt[c.data] = true
			k.rename(from.doc(file)["signed"].(object))
		}
	}
}

// state re-keys all metadata of a tree, once everything is learnt. Who has
// really signed a file signs it again: under each keyid that the stand-in has in
// the corpus, since a file that nobody edits must stay as it is while its
// delegator learns the right keyid.
func (k *keyring) state(from tree) tree {
	to := maps.Clone(from)
	for file, c := range from {
		if !isMetadata(file) {
			continue
		}
		if k.rewrote[c.data] == "" {
			o := from.doc(file)
			k.rename(o["signed"].(object))
			payload, err := metadata.Canonical(o["signed"])
			if err != nil {
				k.t.Fatal(err)
			}
			signatures, done := []any{}, map[string]bool{}
			for _, s := range o["signatures"].([]any) {
				s := s.(object)
				for _, id := range k.ids[s["keyid"].(string)] {
					if done[id] {
						continue
					}
					done[id] = true
					sig := ""
					if s["sig"] != "" {
						sig, _ = k.sign(k.keys[id], payload)
					}
					signatures = append(signatures, object{"keyid": id, "sig": sig})
				}
			}
			o["signatures"] = signatures
			k.rewrote[c.data] = string(metadata.Write(o))
		}
		to[file] = content{c.mode, k.rewrote[c.data]}
	}
	// The corpus is older than attestations.
	keys, _ := delegating(to.doc("metadata/root.json")["signed"].(object))["keys"].(object)
	for id, key := range keys {
		decoded, err := metadata.DecodeKey(id, key.(object))
		if err != nil {
			k.t.Fatal(err)
		}
		if decoded.Owner != "" {
			to["keys/"+decoded.Fingerprint()+"/attestation.pem"] = content{git.ModeFile, "made by hardware\n"}
		}
	}
	return to
}

// A rekeyedCorpus is all merged events of the corpus with other keys, in one bare
// repository. main is one line through their merge bases and bases.
type rekeyedCorpus struct {
	*keyring
	repo   *gittest.Repo
	events []*rekeyed // oldest first
}

// rekeyCorpus re-keys the corpus.
func rekeyCorpus(t testing.TB) *rekeyedCorpus {
	ctx := context.Background()
	corpus := openCorpus(t)
	m := &rekeyedCorpus{keyring: &keyring{t: t, private: map[string]signs{}, keys: map[string]object{}, ids: map[string][]string{}, learnt: map[string]bool{}, rewrote: map[string]string{}},
		repo: gittest.Init(t, filepath.Join(t.TempDir(), "mutants.git"), "--bare")}
	blobs := map[git.OID]string{}
	read := func(commit string) tree {
		entries, err := corpus.Git.Files(ctx, git.OID(commit), "")
		if err != nil {
			t.Fatal(err)
		}
		files := tree{}
		for _, e := range entries {
			if _, known := blobs[e.OID]; !known {
				data, err := corpus.Git.Blob(ctx, e.OID)
				if err != nil {
					t.Fatal(err)
				}
				blobs[e.OID] = string(data)
			}
			files[e.Path] = content{e.Mode, blobs[e.OID]}
		}
		m.learn(files)
		return files
	}
	last := map[string]row{}
	for _, r := range rows(t) {
		last[r.Event] = r
	}
	if len(last) != 28 {
		t.Fatalf("the corpus has %d events, want 28", len(last))
	}
	main, err := corpus.Git.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	history, err := corpus.Git.History(ctx, main, "", git.HistoryOptions{FirstParent: true, Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	trees := map[string]tree{}
	var line []string // of main
	for _, commit := range history {
		for _, r := range last {
			if c := string(commit); (r.Base == c || r.MergeBase == c) && trees[c] == nil {
				trees[c] = read(c)
				line = append(line, c)
			}
		}
	}
	for _, r := range last {
		trees[r.Head] = read(r.Head)
	}
	for c, files := range trees {
		trees[c] = m.state(files)
	}
	var in stream
	marks := map[string]int{}
	at := ""
	for _, c := range line {
		marks[c] = in.commit("refs/heads/main", at, trees[c])
		at = fmt.Sprintf(":%d", marks[c])
	}
	for _, name := range slices.SortedFunc(maps.Keys(last), func(a, b string) int { return last[a].Now.Compare(last[b].Now) }) {
		r := last[name]
		if trees[r.Base] == nil || trees[r.MergeBase] == nil {
			t.Fatalf("%s: its base is not on main", name)
		}
		m.events = append(m.events, &rekeyed{name: name, now: r.Now, known: trees[r.MergeBase], base: trees[r.Base], head: trees[r.Head]})
		marks[name] = in.commit("refs/heads/event", fmt.Sprintf(":%d", marks[r.MergeBase]), m.events[len(m.events)-1].head)
	}
	oids := in.write(t, m.repo)
	for _, e := range m.events {
		r := last[e.name]
		e.baseAt, e.headAt = oids[marks[r.Base]], oids[marks[e.name]]
	}
	return m
}

// A stream is input of git fast-import: many commits, one process.
type stream struct {
	b     strings.Builder
	marks int
}

// A change writes or removes one file.
type change struct {
	path string
	content
	gone bool
}

// commit makes a commit that holds exactly the files of a tree.
func (s *stream) commit(ref, parent string, files tree) int {
	var changes []change
	for _, file := range slices.Sorted(maps.Keys(files)) {
		changes = append(changes, change{path: file, content: files[file]})
	}
	return s.change(ref, parent, "deleteall\n", changes)
}

// change makes a commit that differs from its parent ("" for none, ":MARK" or an
// object id) and returns its mark. before is what else to do first.
func (s *stream) change(ref, parent, before string, changes []change) int {
	s.marks++
	fmt.Fprintf(&s.b, "reset %s\ncommit %s\nmark :%d\ncommitter T <t@example.com> %d +0000\ndata 1\nx\n", ref, ref, s.marks, 1_700_000_000+s.marks)
	if parent != "" {
		fmt.Fprintf(&s.b, "from %s\n", parent)
	}
	s.b.WriteString(before)
	for _, c := range changes { // removals first: a file may take the place of a folder
		if c.gone {
			fmt.Fprintf(&s.b, "D %s\n", quoted(c.path))
		}
	}
	for _, c := range changes {
		switch {
		case c.gone:
		case c.mode == git.ModeGitlink:
			fmt.Fprintf(&s.b, "M 160000 %s %s\n", strings.Repeat("1", 40), quoted(c.path))
		default:
			fmt.Fprintf(&s.b, "M %s inline %s\ndata %d\n%s\n", c.mode, quoted(c.path), len(c.data), c.data)
		}
	}
	s.b.WriteString("\n")
	return s.marks
}

func quoted(p string) string {
	if strings.ContainsAny(p, "\"\n\\") || strings.HasPrefix(p, " ") {
		return strconv.Quote(p)
	}
	return p
}

// write makes the commits and returns them by mark.
func (s *stream) write(t testing.TB, repo *gittest.Repo) map[int]git.OID {
	t.Helper()
	marks := filepath.Join(t.TempDir(), "marks")
	if _, err := repo.TryInput(s.b.String(), "fast-import", "--quiet", "--force", "--date-format=raw", "--export-marks="+marks); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(marks)
	if err != nil {
		t.Fatal(err)
	}
	oids := map[int]git.OID{}
	for line := range strings.Lines(string(data)) {
		var mark int
		var oid string
		if _, err := fmt.Sscanf(line, ":%d %s", &mark, &oid); err != nil {
			t.Fatal(err)
		}
		oids[mark] = git.OID(oid)
	}
	return oids
}
