package git_test

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
)

// drawn is a history made by chance: merges of two and three, histories that begin
// anew, files that come, change and go. Where dates lie a commit can be older
// than its parents.
func drawn(t *testing.T, rnd *rand.Rand, commits int, format string, lies bool) (*git.Repo, []git.OID) {
	t.Helper()
	u := gittest.Init(t, t.TempDir(), "--object-format="+format)
	paths := []string{"a", "b", "dir/a", "dir/b", "dir/deep/a", "dir.x"}
	var in strings.Builder
	has, when := make([]map[string]bool, commits), make([]int, commits)
	for i := range commits {
		parents := []int{}
		if i > 0 && rnd.IntN(15) > 0 {
			parents = append(parents, max(0, i-1-rnd.IntN(4)))
			for range rnd.IntN(3) {
				if p := rnd.IntN(i); !slices.Contains(parents, p) {
					parents = append(parents, p)
				}
			}
		}
		when[i] = 1700000000 + i*60
		if !lies {
			for _, p := range parents {
				when[i] = max(when[i], when[p])
			}
			when[i] += rnd.IntN(600) - rnd.IntN(2)*60
			for _, p := range parents {
				when[i] = max(when[i], when[p])
			}
		} else {
			when[i] += rnd.IntN(5000) - rnd.IntN(5000)
		}
		fmt.Fprintf(&in, "commit refs/heads/c%d\nmark :%d\ncommitter C <c@example.com> %d +0000\ndata 1\nx\n", i, i+1, when[i])
		has[i] = map[string]bool{}
		for n, p := range parents {
			if n == 0 {
				has[i] = maps.Clone(has[p])
				fmt.Fprintf(&in, "from :%d\n", p+1)
			} else {
				fmt.Fprintf(&in, "merge :%d\n", p+1)
			}
		}
		for range rnd.IntN(3) {
			path := paths[rnd.IntN(len(paths))]
			if has[i][path] && rnd.IntN(3) == 0 {
				delete(has[i], path)
				fmt.Fprintf(&in, "D %s\n", path)
				continue
			}
			// Lines that no other content has, so that git sees no rename, and a few
			// contents that come back.
			text := fmt.Sprintf("%x\n%x\n", rnd.Uint64(), rnd.Uint64())
			if rnd.IntN(3) == 0 {
				text = path + strconv.Itoa(rnd.IntN(2)) + "\n"
			}
			has[i][path] = true
			fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", []string{"100644", "100755"}[rnd.IntN(5)/4], path, len(text), text)
		}
		in.WriteString("\n")
	}
	if out, err := u.TryInput(in.String(), "fast-import", "--quiet"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := open(t, u.Dir)
	refs, err := r.Refs(t.Context(), "refs/heads/")
	check(t, err)
	list := make([]git.OID, commits)
	for i := range list {
		list[i] = refs[fmt.Sprintf("refs/heads/c%d", i)]
	}
	return r, list
}

// answers asks a repository about two commits: everything that git alone could
// say until now.
func answers(t *testing.T, r *git.Repo, a, b git.OID, lies bool) map[string]any {
	t.Helper()
	ctx := t.Context()
	said := map[string]any{}
	base, err := r.MergeBase(ctx, a, b)
	said["merge-base"] = base
	if err != nil {
		said["merge-base"] = wantError[*git.NoMergeBaseError](t, err).Error()
	}
	for name, o := range map[string]git.HistoryOptions{
		"all": {}, "first": {FirstParent: true}, "reverse": {Reverse: true}, "few": {Max: 5},
		"path":   {Paths: []string{"dir/deep/a"}, FullHistory: true},
		"folder": {Paths: []string{"dir", "a"}, FullHistory: true}, "path, first": {Paths: []string{"dir/a"}, FirstParent: true},
	} {
		for _, exclude := range []git.OID{"", b} {
			// Git itself leaves out too little where dates lie.
			if exclude != "" && (len(o.Paths) > 0 || lies) {
				continue
			}
			list, err := r.History(ctx, a, exclude, o)
			check(t, err)
			said[name+" "+string(exclude)] = append([]git.OID{}, list...)
		}
	}
	for _, oid := range []git.OID{a, b} {
		files, err := r.Files(ctx, oid, "")
		check(t, err)
		said["files "+string(oid)] = append([]git.Entry{}, files...)
		for _, f := range files {
			data, err := r.Blob(ctx, f.OID)
			check(t, err)
			said["blob "+string(f.OID)] = string(data)
		}
	}
	return said
}

func sameAnswers(t *testing.T, where string, got, want map[string]any) {
	t.Helper()
	for question := range want {
		if !reflect.DeepEqual(got[question], want[question]) {
			t.Fatalf("%s: %s:\n got %v\nwant %v", where, question, got[question], want[question])
		}
	}
}

// merged is what merging two commits gives: the files of the tree, or the paths
// that conflict. ours says "" where it takes git.
func merged(t *testing.T, r *git.Repo, a, b git.OID) (string, []git.Entry, []string) {
	t.Helper()
	m, err := r.MergeTree(t.Context(), a, b)
	switch {
	case errors.As(err, new(*git.NeedsGitError)):
		return "", nil, nil
	case err != nil:
		return wantError[*git.NoMergeBaseError](t, err).Error(), nil, nil
	case m.Conflicts != nil:
		return "conflict", nil, m.Conflicts
	}
	files, err := r.Files(t.Context(), m.Tree, "")
	check(t, err)
	return string(m.Tree), files, nil
}

// What is answered from objects alone is what git says of the whole repository,
// by whoever notes the objects and by whoever gets them as a file.
func TestObjectsAnswerAsGit(t *testing.T) {
	rounds, pairs := 2, 6
	if os.Getenv("TUFOPS_SOAK") != "" {
		rounds, pairs = 15, 40
	}
	seed := uint64(20261122)
	if s, err := strconv.ParseUint(os.Getenv("TUFOPS_SEED"), 10, 64); err == nil {
		seed = s
	}
	asked, mergedAlike, conflicts, left := 0, 0, 0, 0
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(seed, uint64(round)))
		lies := round%3 == 1
		r, commits := drawn(t, rnd, 60, []string{"sha1", "sha256"}[round%2], lies)
		for range pairs {
			a, b := commits[rnd.IntN(len(commits))], commits[rnd.IntN(len(commits))]
			where := fmt.Sprintf("TUFOPS_SEED=%d, round %d, %s %s in %s", seed, round, a, b, r.GitDir())
			want := answers(t, r, a, b, lies)
			noted, objects := r.Noted()
			tree, files, paths := merged(t, noted, a, b)
			sameAnswers(t, where, answers(t, noted, a, b, lies), want)
			data, err := objects.Bytes()
			check(t, err)
			alone, err := git.ReadObjects(data)
			check(t, err)
			there := alone.Repo()
			sameAnswers(t, where+": from a file", answers(t, there, a, b, lies), want)
			treeThere, filesThere, pathsThere := merged(t, there, a, b)
			if treeThere != tree || !slices.Equal(filesThere, files) || !slices.Equal(pathsThere, paths) || alone.Missed() != "" {
				t.Fatalf("%s: merged from a file: %s %v %v, %q missed, want %s %v %v", where, treeThere, filesThere, pathsThere, alone.Missed(), tree, files, paths)
			}
			if again, err := alone.Bytes(); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%s: written again: %v, %d bytes, want %d", where, err, len(again), len(data))
			}
			if there.Processes()+noted.Processes() != 0 {
				t.Fatal("a process was started")
			}
			asked++
			gitTree, gitFiles, gitPaths := merged(t, r, a, b)
			switch {
			case tree == "": // more than one merge base
				left++
			case gitTree == tree && slices.Equal(gitFiles, files):
				mergedAlike++
			case tree == "conflict" && gitTree != "conflict" && len(paths) > 0:
				left++ // git can put two changes of one file together
			default:
				t.Fatalf("%s: merged: %s %v %v, want %s %v %v", where, tree, files, paths, gitTree, gitFiles, gitPaths)
			}
			if tree == "conflict" {
				conflicts++
			}
		}
	}
	t.Logf("%d pairs of commits, seed %d: %d merged as git does, %d of them with conflicts, %d left to git", asked, seed, mergedAlike, conflicts, left)
	if mergedAlike < asked/2 {
		t.Error("the histories are too much alike to say anything")
	}
}

// What is not there is said, whoever goes on without it.
func TestObjectsMissing(t *testing.T) {
	ctx := t.Context()
	u := gittest.Init(t, t.TempDir())
	u.WriteFile("dir/a", "one\n")
	u.WriteFile("dir/b", "two\n")
	head := git.OID(u.Commit("start"))
	r := open(t, u.Dir)
	noted, objects := r.Noted()
	e, _, err := noted.Lookup(ctx, head, "dir/a")
	check(t, err)
	_, err = noted.Blob(ctx, e.OID)
	check(t, err)
	data, err := objects.Bytes()
	check(t, err)
	alone, err := git.ReadObjects(data)
	check(t, err)
	there := alone.Repo()
	if files, err := there.Files(ctx, head, ""); err != nil || len(files) != 2 || alone.Missed() != "" {
		t.Fatalf("%v, %v, %q missed", files, err, alone.Missed())
	}
	b, _, err := there.Lookup(ctx, head, "dir/b")
	check(t, err)
	_, err = there.Blob(ctx, b.OID)
	if wantError[*git.MissingObjectError](t, err); alone.Missed() != b.OID {
		t.Errorf("%q missed, want %s", alone.Missed(), b.OID)
	}
	// Nothing but objects: no ref, and no process for anything.
	if _, ok, err := there.Ref(ctx, "refs/heads/main"); ok || err != nil {
		t.Errorf("a ref: %v, %v", ok, err)
	}
	_, err = there.Resolve(ctx, "main")
	wantError[*git.RevisionError](t, err)
	for name, call := range map[string]func() error{
		"remote": func() error { _, err := there.RemoteURL(ctx, "origin"); return err },
		"fetch":  func() error { return there.Fetch(ctx, "origin", "+refs/heads/a:refs/heads/a") },
		"push":   func() error { return there.Push(ctx, "origin", git.RefUpdate{Ref: "refs/heads/a", New: head}) },
		"commit": func() error {
			_, err := there.WriteCommit(ctx, git.CommitOptions{Parent: head, Message: "x", Changes: []git.FileChange{{Path: "x"}}})
			return err
		},
		"ref":     func() error { return there.UpdateRef(ctx, "refs/heads/a", head, "") },
		"tracked": func() error { _, _, err := there.Config(ctx, "user.name"); return err },
		"simplified": func() error {
			_, err := there.History(ctx, head, "", git.HistoryOptions{Paths: []string{"a"}})
			return err
		},
	} {
		if err := call(); !errors.As(err, new(*git.NeedsGitError)) {
			t.Errorf("%s: %v, want a NeedsGitError", name, err)
		}
	}
	if there.Processes() != 0 {
		t.Errorf("%d processes were started", there.Processes())
	}
	check(t, there.Close())
}

// A file of objects is read as it was written or not at all.
func TestReadObjectsRefuses(t *testing.T) {
	empty, one := "sha1 blob 0\n\n", "sha1 blob 1\n1\n" // e69de..., 56a6...
	for name, data := range map[string]string{
		"no line":     "sha1 blob 1",
		"type":        "sha1 tag 1\nx\n",
		"hash":        "md5 blob 1\nx\n",
		"size":        "sha1 blob 01\nx\n",
		"negative":    "sha1 blob -1\nx\n",
		"huge":        "sha1 blob 99999999999999999999\nx\n",
		"cut off":     "sha1 blob 5\nx\n",
		"longer":      "sha1 blob 1\nxy\n",
		"spaces":      "sha1  blob 1\nx\n",
		"no end":      "sha1 blob 1\nx",
		"twice":       one + one,
		"order":       empty + one,
		"two hashes":  one + "sha256 blob 1\n1\n",
		"line of 1kB": strings.Repeat("s", 1000) + "\n",
	} {
		if o, err := git.ReadObjects([]byte(data)); err == nil {
			out, _ := o.Bytes()
			t.Errorf("%s: %q is read, as %q", name, data, out)
		}
	}
	for _, data := range []string{"", one, one + empty} {
		o, err := git.ReadObjects([]byte(data))
		check(t, err)
		if out, err := o.Bytes(); string(out) != data || err != nil {
			t.Errorf("%q is written as %q, %v", data, out, err)
		}
	}
	_, err := git.ReadObjects(make([]byte, git.MaxObjects+1))
	wantError[*git.ObjectsTooLargeError](t, err)
	if _, err := git.ReadAtMost([]byte(one+empty), 2); err != nil {
		t.Errorf("two objects of two: %v", err)
	}
	_, err = git.ReadAtMost([]byte(one+empty), 1)
	wantError[*git.ObjectsTooLargeError](t, err)
}

// written are commits that somebody has made up, with a date that is none.
type written map[string]string

func (w written) commit(parents ...git.OID) git.OID {
	data := "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
	for _, p := range parents {
		data += "parent " + string(p) + "\n"
	}
	data += "author A <a@example.com> x\ncommitter A <a@example.com> x\n\n" + strconv.Itoa(len(w)) + "\n"
	oid := fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(data), data)))
	w[oid] = fmt.Sprintf("sha1 commit %d\n%s\n", len(data), data)
	return git.OID(oid)
}

func (w written) repo(t *testing.T) *git.Repo {
	t.Helper()
	data := ""
	for _, oid := range slices.Sorted(maps.Keys(w)) {
		data += w[oid]
	}
	o, err := git.ReadObjects([]byte(data))
	check(t, err)
	return o.Repo()
}

// Where no date says which commit is newer, what lies behind both is found all the
// same, however far.
func TestHistoryWithoutDates(t *testing.T) {
	w := written{}
	far := w.commit(w.commit())
	base := far
	for range 20 {
		base = w.commit(base)
	}
	head := w.commit(far, base) // and far is met first
	r := w.repo(t)
	if got, err := r.History(t.Context(), head, base, git.HistoryOptions{}); err != nil || !slices.Equal(got, []git.OID{head}) {
		t.Errorf("%q, %v, want %s alone", got, err, head)
	}
	if got, err := r.MergeBase(t.Context(), head, base); got != base || err != nil {
		t.Errorf("merge base %s, %v, want %s", got, err, base)
	}
}

// Histories that meet in many places would be compared for hours.
func TestManyMergeBases(t *testing.T) {
	for n, needsGit := range map[int]bool{1: false, 2: false, 16: false, 17: true, 200: true} {
		w := written{}
		var middle []git.OID
		root := w.commit()
		for range n {
			middle = append(middle, w.commit(root))
		}
		a, b := w.commit(middle...), w.commit(middle...)
		base, err := w.repo(t).MergeBase(t.Context(), a, b)
		if errors.As(err, new(*git.NeedsGitError)) != needsGit || !needsGit && !slices.Contains(middle, base) {
			t.Errorf("%d merge bases: %s, %v", n, base, err)
		}
	}
}

// What is read is written as it was, and what it says breaks nothing.
func FuzzReadObjects(f *testing.F) {
	f.Add([]byte("sha1 blob 1\n1\nsha1 blob 0\n\n"))
	f.Add([]byte("sha256 tree 0\n\n"))
	f.Add([]byte("sha1 commit 2\nxx\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := git.ReadObjects(data)
		if err != nil {
			return
		}
		if out, err := o.Bytes(); err != nil || !bytes.Equal(out, data) {
			t.Errorf("%q is written as %q, %v", data, out, err)
		}
		oid := git.OID(strings.Repeat("0", 40))
		if _, err := o.Repo().Commit(t.Context(), oid); err == nil || o.Missed() != oid {
			t.Errorf("an object that is not there: %v, %q missed", err, o.Missed())
		}
	})
}
