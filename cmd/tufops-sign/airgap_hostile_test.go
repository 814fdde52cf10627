package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/signer"
)

// forgery is the file of an event as somebody writes it who can do everything but
// break a hash or sign: each object under its id, and what stands before them.
type forgery struct {
	head    [][2]string
	objects map[string]object
}

type object struct {
	kind string
	data []byte
}

func (f *forgery) set(name, value string) {
	for i := range f.head {
		if f.head[i][0] == name {
			f.head[i][1] = value
		}
	}
}

func (f *forgery) get(name string) string {
	for _, one := range f.head {
		if one[0] == name {
			return one[1]
		}
	}
	return ""
}

func (f *forgery) add(kind string, data []byte) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d\x00%s", kind, len(data), data))
	oid := hex.EncodeToString(sum[:])
	f.objects[oid] = object{kind, data}
	return oid
}

// alter changes an object and leaves those that name it as they are.
func (f *forgery) alter(t *testing.T, having string, change func([]byte) []byte) {
	t.Helper()
	for oid, o := range f.objects {
		if bytes.Contains(o.data, []byte(having)) {
			delete(f.objects, oid)
			if data := change(slices.Clone(o.data)); data != nil {
				f.add(o.kind, data)
			}
			return
		}
	}
	t.Fatalf("no object has %q", having)
}

func (f *forgery) write(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("tufops event 1\n")
	for _, one := range f.head {
		fmt.Fprintf(&b, "%s %s\n", one[0], one[1])
	}
	b.WriteString("\n")
	for _, oid := range slices.Sorted(maps.Keys(f.objects)) {
		fmt.Fprintf(&b, "sha1 %s %d\n%s\n", f.objects[oid].kind, len(f.objects[oid].data), f.objects[oid].data)
	}
	fmt.Fprintf(&b, "sha256 %s\n", digestOf(b.Bytes()))
	return written(t, b.Bytes())
}

func written(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.event")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// forge carries an event whatever its review says: with every object that looking
// at it reads, and the whole of what a forger wants to be there.
func (w *world) forge(event string) *forgery {
	w.t.Helper()
	f := &forgery{objects: map[string]object{}, head: [][2]string{
		{"event", event}, {"repository", strings.TrimSuffix(w.upstream.Dir, ".git")}, {"folder", "."},
		{"main", w.upstream.Head("main")}, {"head", w.upstream.Head(event)},
	}}
	cmd := exec.Command("git", "-C", w.upstream.Dir, "cat-file", "--batch", "--buffer")
	for line := range strings.Lines(w.upstream.Run("rev-list", "--objects", "main", event)) {
		f.objects[line[:40]] = object{}
	}
	cmd.Stdin = strings.NewReader(strings.Join(slices.Collect(maps.Keys(f.objects)), "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	for len(out) > 0 {
		var oid, kind string
		var size int
		line, rest, _ := bytes.Cut(out, []byte("\n"))
		if n, err := fmt.Sscanf(string(line), "%s %s %d", &oid, &kind, &size); n != 3 || f.add(kind, rest[:size]) != oid {
			w.t.Fatalf("%q, %v", line, err)
		}
		out = rest[size+1:]
	}
	return f
}

// nothingSigned runs sign-file and makes sure that it refuses in one sentence:
// no signature, no control character, and what this machine remembers of what it
// signed is as before.
func (w *world) nothingSigned(t *testing.T, file, want string, more ...string) answer {
	t.Helper()
	a := w.signFile(file, more...)
	if a.status == 0 || strings.Count(a.stderr, "error: ") != 1 || !strings.Contains(a.stderr, want) || strings.Contains(a.stderr, "internal error") {
		t.Fatalf("status %d, want %q\n%.3000s\n%.3000s", a.status, want, a.stdout, a.stderr)
	}
	for _, r := range a.stdout + a.stderr {
		if r != '\n' && r < ' ' || r == 0x7f || r == '\u202e' {
			t.Fatalf("%q is shown:\n%q", r, a.stderr)
		}
	}
	if _, err := os.Stat(signatureOf(file)); err == nil {
		t.Fatal("a signature was written")
	}
	if files, _ := filepath.Glob(filepath.Join(w.state("away"), "tufops-sign", "*.json")); len(files) > 0 {
		data, err := os.ReadFile(files[0])
		if err != nil || !strings.Contains(string(data), `"signed": []`) {
			t.Fatalf("something was signed: %s, %v", data, err)
		}
	}
	return a
}

// TestAirGapHostileFile has somebody on the way, or the machine that made the
// file, change it. A forger signs nothing here either.
func TestAirGapHostileFile(t *testing.T) {
	w := established(t)
	w.artifacts("sign/x", map[string][]byte{"file.txt": []byte("something to read\n")})
	w.ok("bob", "sign", "sign/x")
	w.commitFiles("main", "a readme", map[string][]byte{"README": []byte("another\n")}) // there is something to merge
	knows := w.knows()
	good, err := os.ReadFile(w.exported("sign/x"))
	if err != nil {
		t.Fatal(err)
	}

	// Damage: any byte, any end.
	step := max(1, len(good)/60)
	if os.Getenv("TUFOPS_SOAK") != "" {
		step = 1
	}
	damaged := 0
	read := func(data []byte) {
		if f, err := signer.ReadEventFile(data); err == nil {
			t.Fatalf("a damaged file is read, as %+v", f)
		}
		damaged++
	}
	for i := range good {
		if i >= 300 && i%step != 0 && i < len(good)-80 {
			continue
		}
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		read(bad)
		read(good[:i])
	}
	read(append(slices.Clone(good), '\n'))
	read(append(slices.Clone(good), good...))
	t.Logf("%d damaged files of %d bytes are not read", damaged, len(good))
	w.nothingSigned(t, written(t, good[:len(good)/2]), "this is no event: it is damaged or cut off", knows...)
	w.nothingSigned(t, written(t, nil), "this is no event", knows...)
	for size, want := range map[int64]string{50 << 20: "this is no event", signer.MaxEventFile + 1: "is larger than"} {
		large := written(t, nil)
		if err := os.Truncate(large, size); err != nil {
			t.Fatal(err)
		}
		w.nothingSigned(t, large, want, knows...)
	}
	w.nothingSigned(t, t.TempDir(), "is not a regular file", knows...)

	payload, honest := `"version": 2`, w.forge("sign/x")
	tree := func(f *forgery, oid string) []byte {
		o := f.objects[oid]
		if o.kind == "commit" {
			_, rest, _ := strings.Cut(string(o.data), "tree ")
			o = f.objects[rest[:40]]
		}
		return slices.Clone(o.data)
	}
	// commit makes a commit on the head of another tree.
	commit := func(f *forgery, data []byte) {
		f.set("head", f.add("commit", fmt.Appendf(nil, "tree %s\nparent %s\nauthor A <a@example.com> 1800000000 +0000\ncommitter A <a@example.com> 1800000000 +0000\n\nx\n",
			f.add("tree", data), f.get("head"))))
	}
	entry := func(mode, name, oid string) []byte {
		raw, _ := hex.DecodeString(oid)
		return append([]byte(mode+" "+name+"\x00"), raw...)
	}
	for name, one := range map[string]struct {
		change func(f *forgery)
		want   string
	}{
		"payload swapped": {func(f *forgery) {
			f.alter(t, payload, func(b []byte) []byte { return bytes.Replace(b, []byte(`"length": 18`), []byte(`"length": 19`), 1) })
		}, "the file lacks git object"},
		"artifact swapped": {func(f *forgery) {
			f.alter(t, "something to read", func([]byte) []byte { return []byte("something to believe\n") })
		}, "the file lacks git object"},
		"artifact left out":  {func(f *forgery) { f.alter(t, "something to read", func([]byte) []byte { return nil }) }, "the file lacks git object"},
		"head left out":      {func(f *forgery) { delete(f.objects, f.get("head")) }, "the file lacks git object"},
		"main left out":      {func(f *forgery) { delete(f.objects, f.get("main")) }, "the file lacks git object"},
		"all left out":       {func(f *forgery) { clear(f.objects) }, "the file lacks git object"},
		"history left out":   {func(f *forgery) { f.alter(t, "\nartifacts\n", func([]byte) []byte { return nil }) }, "the file lacks git object"},
		"another repository": {func(f *forgery) { f.set("repository", "/tmp/other") }, "this machine knows no root of /tmp/other"},
		"event no branch":    {func(f *forgery) { f.set("event", "sign/../../etc/passwd") }, "is not the branch of a signing event"},
		"event main":         {func(f *forgery) { f.set("event", "main") }, "is not the branch of a signing event"},
		"escape codes":       {func(f *forgery) { f.set("repository", "\x1b[2J\u202egood") }, "which is no name that can be shown as it is"},
		"folder outside":     {func(f *forgery) { f.set("folder", "../..") }, "does not lie inside a git repository"},
		"folder of root":     {func(f *forgery) { f.set("folder", "/etc") }, "does not lie inside a git repository"},
		"folder of nothing":  {func(f *forgery) { f.set("folder", "docs") }, "knows no root of"},
		"no commit":          {func(f *forgery) { f.set("head", "HEAD") }, "is not a git object id"},
		"a tree as head":     {func(f *forgery) { f.set("head", f.add("tree", tree(f, f.get("head")))) }, "no such commit"},
		"a line more":        {func(f *forgery) { f.head = append(f.head, [2]string{"policy", "none"}) }, `there is "policy none`},
		"a line less":        {func(f *forgery) { f.head = f.head[:4] }, `where "head" must stand`},
		"a name that leaves": {func(f *forgery) {
			commit(f, append(entry("100644", "..", f.add("blob", []byte("x"))), tree(f, f.get("head"))...))
		}, `".." is not a name a tree may hold`},
		"a name with slashes": {func(f *forgery) {
			commit(f, append(entry("100644", "../../x", f.add("blob", []byte("x"))), tree(f, f.get("head"))...))
		}, `"../../x" is not a name a tree may hold`},
		"a tree of itself many times": {func(f *forgery) {
			data := entry("100644", "x", f.add("blob", []byte("x")))
			for range 12 {
				oid := f.add("tree", data)
				data = nil
				for i := range 10 {
					data = append(data, entry("40000", fmt.Sprintf("d%d", i), oid)...)
				}
			}
			oid := f.add("tree", data)
			commit(f, entry("40000", "metadata", oid))
		}, "stands for more than 1048576 entries"},
		"no commit at all": {func(f *forgery) { f.set("head", f.add("commit", []byte("x"))) }, "is malformed"},
		"another history": {func(f *forgery) {
			f.set("head", f.add("commit", fmt.Appendf(nil, "tree %s\nauthor A <a@example.com> 1 +0000\ncommitter A <a@example.com> 1 +0000\n\nx\n", f.add("tree", tree(f, f.get("head"))))))
		}, "have no common ancestor"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forgery{head: slices.Clone(honest.head), objects: maps.Clone(honest.objects)}
			one.change(f)
			pin := knows
			if name == "another repository" || name == "folder of nothing" {
				pin = nil
			}
			w.nothingSigned(t, f.write(t), one.want, pin...)
		})
	}
	// A forger who changes nothing has written what is signed, so it was the change.
	if a := w.signFile(honest.write(t)); a.status != 0 {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
}

// hostileSize is how large a stranger makes metadata: more than clients read.
func hostileSize() int {
	if os.Getenv("TUFOPS_SOAK") != "" {
		return 50 << 20
	}
	return 6 << 20
}

// TestAirGapHostileEvent carries events that a stranger has pushed.
func TestAirGapHostileEvent(t *testing.T) {
	w := established(t)
	knows := w.knows()
	event := func(name string, change func(metadata.Object), files map[string][]byte) {
		if files == nil {
			files = map[string][]byte{}
		}
		if change != nil {
			files["metadata/targets.json"] = w.edited("main", "targets", func(s metadata.Object) {
				s["version"] = int64(2)
				change(s)
			})
		}
		w.commitFiles(name, "hostile", files)
	}
	event("sign/roles", func(s metadata.Object) {
		var roles []any
		for i := range 300 {
			roles = append(roles, metadata.Object{
				"name": fmt.Sprintf("role%d\x1b[2J", i), "keyids": []any{}, "threshold": int64(1), "terminating": true, "paths": []any{"x\u202e/*"},
			})
		}
		s["delegations"] = metadata.Object{"keys": metadata.Object{}, "roles": roles}
	}, nil)
	event("sign/size", nil, map[string][]byte{"metadata/targets.json": append(w.file("main", "metadata/targets.json"), bytes.Repeat([]byte(" "), hostileSize())...)})
	event("sign/version", func(s metadata.Object) { s["version"], s["expires"] = int64(1), "2027-02-02T00:00:00Z" }, nil)
	event("sign/names", nil, map[string][]byte{"targets/..\\..\\x": []byte("x"), "targets/\x1b[2J": []byte("x"), "metadata/..x.json": []byte("{}")})
	for name, want := range map[string]string{
		"sign/roles": "sign event sign/roles: ", "sign/size": "metadata-too-large", "sign/version": "sign event sign/version: ", "sign/names": "sign event sign/names: ",
	} {
		w.nothingSigned(t, w.forge(name).write(t), want, knows...)
		if name != "sign/roles" {
			continue
		}
		// And a machine that is honest carries none of it.
		file := filepath.Join(t.TempDir(), "x.event")
		a := w.refused(1, "alice", "", []string{want, "note: nothing was written"}, "export", name, "--output", file)
		if _, err := os.Stat(file); err == nil || strings.ContainsRune(a.stdout+a.stderr, '\x1b') {
			t.Errorf("%s was written: %v\n%q", name, err, a.stderr)
		}
	}
}

// TestAirGapOtherRoot carries events of a main whose roots are not those that the
// machine knows.
func TestAirGapOtherRoot(t *testing.T) {
	w := established(t)
	knows := w.knows()
	w.commitBump("sign/x", "targets")
	first := w.upstream.Head("main")
	w.commitFiles("main", "a root", w.root("main", next(2, "2027-01-01T00:00:00Z"), "alice", "bob"))
	second := w.upstream.Head("main")
	if a := w.signFile(w.forge("sign/x").write(t), knows...); a.status != 0 || !strings.Contains(a.stdout, "root v2 of main follows v1") {
		t.Fatalf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
	// From here on nothing older: it has seen version 2, and has forgotten what it signed.
	files, err := filepath.Glob(filepath.Join(w.state("away"), "tufops-sign", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	from := bytes.Index(data, []byte(`"signed":`))
	if err := os.WriteFile(files[0], append(data[:from:from], []byte("\"signed\": []\n}\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.reset(first)
	w.nothingSigned(t, w.forge("sign/x").write(t), "it is version 1, older than what was seen: this machine saw version 2")
	w.nothingSigned(t, w.forge("sign/x").write(t), "older than what was seen", knows...)
	w.commitFiles("main", "another root", w.root("main", next(2, "2027-02-02T00:00:00Z"), "alice", "bob"))
	w.nothingSigned(t, w.forge("sign/x").write(t), "its version 2 is another one, sha256 "+digestOf(w.document("main", "root").Payload()))
	w.reset(second)
	w.commitFiles("main", "a root of bob's", w.root("main", next(3, "2027-03-03T00:00:00Z"), "bob"))
	w.nothingSigned(t, w.forge("sign/x").write(t), "cannot be trusted")
	w.reset(second)
	w.commitFiles("main", "no root", map[string][]byte{"metadata/root.json": nil, "metadata/root_history/1.root.json": nil, "metadata/root_history/2.root.json": nil})
	w.nothingSigned(t, w.forge("sign/x").write(t), "there is none, but this machine saw version 2")
	// A machine that knows nothing is not told by a file either.
	os.Remove(files[0])
	w.nothingSigned(t, w.forge("sign/x").write(t), "this machine knows no root of")
	w.nothingSigned(t, w.forge("sign/x").write(t), "proposes a first root with sha256 "+digestOf(w.document("sign/x", "root").Payload())+", and not "+strings.Repeat("0", 64), "--root-sha256", strings.Repeat("0", 64))
	w.reset(second)
	if a := w.signFile(w.forge("sign/x").write(t), knows...); a.status != 0 {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
}

// An event whose merge only git can make is not carried, and one that main has
// nothing to do with is: what the other machine would merge is what git does.
func TestExportMerges(t *testing.T) {
	w := established(t)
	w.commitFiles("main", "a file", map[string][]byte{"README": []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\n")})
	w.commitBump("sign/x", "targets")
	w.commitFiles("sign/x", "the end", map[string][]byte{"README": []byte("1\n2\n3\n4\n5\n6\n7\n8\nnine\n")})
	w.commitFiles("main", "the beginning", map[string][]byte{"README": []byte("one\n2\n3\n4\n5\n6\n7\n8\n9\n")})
	if _, s := w.event("sign/x"); s.Failed() {
		t.Fatalf("%+v", s.AllFindings())
	}
	file := filepath.Join(t.TempDir(), "x.event")
	w.refused(1, "alice", "", []string{
		"event sign/x cannot go into a file: ", "hint: merge main into the event: git merge origin/main (on branch sign/x)", "nothing was written",
	}, "export", "sign/x", "--output", file)
	m := w.people["maintainer"]
	m.Run("fetch", "--quiet", "origin")
	m.Run("switch", "--quiet", "--detach", "origin/sign/x")
	m.Run("merge", "--quiet", "-m", "merge", "origin/main")
	m.Push("HEAD:refs/heads/sign/x")
	if a := w.signFile(w.exported("sign/x"), w.knows()...); a.status != 0 {
		t.Errorf("status %d\n%s%s", a.status, a.stdout, a.stderr)
	}
}
