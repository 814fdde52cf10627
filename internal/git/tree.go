package git

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Limits of one walk over trees. A few kilobytes of tree objects can stand for
// billions of paths, by naming the same subtree again and again.
const (
	maxTreeSize = 32 << 20 // bytes of one tree object
	maxWalk     = 1 << 20  // entries looked at in one walk
	maxPath     = 4096     // bytes of one path
)

// A Mode is the mode of a tree entry. Git has five.
type Mode uint32

const (
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeGitlink    Mode = 0o160000 // a submodule: the OID is a commit elsewhere
	ModeTree       Mode = 0o040000
)

// IsRegular reports whether the entry is a file, executable or not.
func (m Mode) IsRegular() bool { return m == ModeFile || m == ModeExecutable }

// String returns the mode as git prints it, six octal digits.
func (m Mode) String() string { return fmt.Sprintf("%06o", uint32(m)) }

// An Entry is a file, symlink, submodule or directory in a tree. The zero Entry
// means that there is none.
type Entry struct {
	Path string // from the root of the tree, with slashes
	Mode Mode
	OID  OID
}

// A Change is a path at which two trees differ. Old is zero for an added path,
// New for a removed one.
type Change struct {
	Path     string
	Old, New Entry
}

// A tree is one parsed tree object; the paths of its entries are single names.
type tree struct {
	oid     OID
	entries []Entry
}

func (t *tree) find(name string) (Entry, bool) {
	for _, e := range t.entries {
		if e.Path == name {
			return e, true
		}
	}
	return Entry{}, false
}

// A treeCache keeps parsed trees by OID, of the tree or of a commit or tag that
// leads to it. Objects never change, so nothing in it goes stale.
type treeCache struct {
	mu      sync.Mutex
	trees   map[OID]*tree
	entries int
}

// maxCachedEntries bounds the cache to some tens of megabytes.
const maxCachedEntries = 200_000

func (c *treeCache) get(oid OID) *tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trees[oid]
}

func (c *treeCache) put(oid OID, t *tree) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(t.entries) + 1
	if c.trees == nil || c.entries+n > maxCachedEntries {
		// What is in use comes back at the cost of one read each.
		c.trees, c.entries = make(map[OID]*tree), 0
	}
	if c.trees[oid] == nil {
		c.trees[oid] = t
		c.entries += n
	}
}

// tree returns the tree that oid names, or that the commit or tag oid leads to.
func (r *Repo) tree(ctx context.Context, oid OID) (*tree, error) {
	if t := r.trees.get(oid); t != nil {
		return t, nil
	}
	if err := checkOIDs(oid); err != nil {
		return nil, err
	}
	h, data, err := r.read(ctx, string(oid)+"^{tree}", maxTreeSize)
	if err != nil {
		return nil, fmt.Errorf("read git tree %s: %w", oid, err)
	}
	if h.missing {
		// Not there, or there and no tree.
		found, err := r.info(ctx, []string{string(oid)})
		if err != nil {
			return nil, fmt.Errorf("read git tree %s: %w", oid, err)
		}
		if found[0].missing || found[0].kind != "blob" {
			return nil, &MissingObjectError{OID: oid}
		}
		return nil, &TypeError{OID: oid, Got: found[0].kind, Want: "tree"}
	}
	t, err := parseTree(h.oid, data)
	if err != nil {
		return nil, err
	}
	r.trees.put(oid, t)
	r.trees.put(h.oid, t)
	return t, nil
}

// parseTree refuses what git fsck calls an error: such a tree can show one
// content to us and another to the git that merges it.
func parseTree(oid OID, data []byte) (*tree, error) {
	bad := func(format string, args ...any) (*tree, error) {
		return nil, &MalformedError{OID: oid, Reason: fmt.Sprintf(format, args...)}
	}
	t := &tree{oid: oid}
	rawOID := len(oid) / 2
	seen := make(map[string]bool)
	previous := ""
	for len(data) > 0 {
		sp := bytes.IndexByte(data, ' ')
		nul := bytes.IndexByte(data, 0)
		if sp < 0 || nul < sp || len(data) < nul+1+rawOID {
			return bad("the tree is cut off")
		}
		m, err := strconv.ParseUint(string(data[:sp]), 8, 32)
		if err != nil {
			return bad("%q is not a mode", data[:sp])
		}
		mode, ok := canonicalMode(uint32(m))
		if !ok {
			return bad("%o is not a mode of git", m)
		}
		name := string(data[sp+1 : nul])
		if name == "" || name == "." || name == ".." || strings.EqualFold(name, ".git") || strings.Contains(name, "/") {
			return bad("%q is not a name a tree may hold", name)
		}
		key := name
		if mode == ModeTree {
			key += "/" // the order of git: as in the list of all paths
		}
		if seen[name] || key <= previous {
			return bad("%q is there twice or out of order", name)
		}
		seen[name], previous = true, key
		t.entries = append(t.entries, Entry{Path: name, Mode: mode, OID: OID(fmt.Sprintf("%x", data[nul+1:nul+1+rawOID]))})
		data = data[nul+1+rawOID:]
	}
	return t, nil
}

// canonicalMode maps the modes of old git versions (100664) as git does.
func canonicalMode(m uint32) (Mode, bool) {
	switch m & 0o170000 {
	case 0o100000:
		if m&0o100 != 0 {
			return ModeExecutable, true
		}
		return ModeFile, true
	case 0o120000:
		return ModeSymlink, true
	case 0o160000:
		return ModeGitlink, true
	case 0o040000:
		return ModeTree, true
	}
	return 0, false
}

// A walk counts what it has seen, to end at a tree bomb.
type walk struct {
	ctx  context.Context
	r    *Repo
	root OID
	seen int
}

func (w *walk) count(n int, path string) error {
	if w.seen += n; w.seen > maxWalk {
		return &MalformedError{OID: w.root, Reason: fmt.Sprintf("the tree stands for more than %d entries", maxWalk)}
	}
	if len(path) > maxPath {
		return &MalformedError{OID: w.root, Reason: fmt.Sprintf("the tree holds a path of more than %d bytes", maxPath)}
	}
	return w.ctx.Err()
}

// files calls fn for every entry below the tree oid that is no directory itself.
func (w *walk) files(oid OID, prefix string, fn func(Entry)) error {
	t, err := w.r.tree(w.ctx, oid)
	if err != nil {
		return err
	}
	if err := w.count(len(t.entries)+1, prefix); err != nil {
		return err
	}
	for _, e := range t.entries {
		e.Path = prefix + e.Path
		if e.Mode != ModeTree {
			fn(e)
		} else if err := w.files(e.OID, e.Path+"/", fn); err != nil {
			return err
		}
	}
	return nil
}

// Files returns everything below dir that is not a directory: files, symlinks
// and submodules, sorted by path, with paths from the root of the tree. oid is a
// commit, a tag or a tree; dir "" or "." is all of it.
//
// A dir that is not there, or is no directory, holds no files: nil, nil. A tree
// that git fsck would refuse, or one that stands for more than a million entries,
// is a [*MalformedError]. Trees are cached by OID, so a second commit costs only
// the directories in which it differs.
func (r *Repo) Files(ctx context.Context, oid OID, dir string) ([]Entry, error) {
	e, ok, err := r.Lookup(ctx, oid, dir)
	if err != nil || !ok || e.Mode != ModeTree {
		return nil, err
	}
	prefix := ""
	if e.Path != "" {
		prefix = e.Path + "/"
	}
	var files []Entry
	w := &walk{ctx: ctx, r: r, root: e.OID}
	if err := w.files(e.OID, prefix, func(e Entry) { files = append(files, e) }); err != nil {
		return nil, fmt.Errorf("list files of %s: %w", oid.Short(), err)
	}
	return files, nil
}

// Lookup finds one path in a commit, a tag or a tree, and reports whether it is
// there. A directory gives an entry of [ModeTree]; so does "" or ".", with an
// empty Path. A path through a symlink or a submodule is not there.
func (r *Repo) Lookup(ctx context.Context, oid OID, path string) (Entry, bool, error) {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		path = "."
	}
	if !fs.ValidPath(path) {
		return Entry{}, false, fmt.Errorf("%q is not a path inside a git tree", path)
	}
	t, err := r.tree(ctx, oid)
	if err != nil {
		return Entry{}, false, err
	}
	if path == "." {
		return Entry{Mode: ModeTree, OID: t.oid}, true, nil
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		e, ok := t.find(name)
		if !ok {
			return Entry{}, false, nil
		}
		if i == len(names)-1 {
			e.Path = path
			return e, true, nil
		}
		if e.Mode != ModeTree {
			return Entry{}, false, nil
		}
		if t, err = r.tree(ctx, e.OID); err != nil {
			return Entry{}, false, err
		}
	}
	return Entry{}, false, nil
}

// DiffTrees returns the paths at which two commits or trees differ, sorted. A
// renamed file is one path removed and one added; a directory that became a file
// is its files removed and the file added. An empty OID is the empty tree. Equal
// subtrees are not read.
func (r *Repo) DiffTrees(ctx context.Context, a, b OID) ([]Change, error) {
	w := &walk{ctx: ctx, r: r, root: b}
	var changes []Change
	if err := w.diff(a, b, "", &changes); err != nil {
		return nil, fmt.Errorf("compare %s with %s: %w", a.Short(), b.Short(), err)
	}
	sort.SliceStable(changes, func(i, j int) bool { return changes[i].Path < changes[j].Path })
	return changes, nil
}

func (w *walk) diff(a, b OID, prefix string, changes *[]Change) error {
	if a == b {
		return nil
	}
	at, bt := &tree{}, &tree{}
	var err error
	if a != "" {
		if at, err = w.r.tree(w.ctx, a); err != nil {
			return err
		}
	}
	if b != "" {
		if bt, err = w.r.tree(w.ctx, b); err != nil {
			return err
		}
	}
	if err := w.count(len(at.entries)+len(bt.entries)+2, prefix); err != nil {
		return err
	}
	type pair struct{ a, b Entry }
	pairs := make(map[string]pair, len(at.entries))
	for _, e := range at.entries {
		pairs[e.Path] = pair{a: e}
	}
	for _, e := range bt.entries {
		p := pairs[e.Path]
		p.b = e
		pairs[e.Path] = p
	}
	for name, p := range pairs {
		if p.a.Mode == p.b.Mode && p.a.OID == p.b.OID {
			continue
		}
		path := prefix + name
		c := Change{Path: path}
		var ta, tb OID
		switch p.a.Mode {
		case 0:
		case ModeTree:
			ta = p.a.OID
		default:
			c.Old = Entry{Path: path, Mode: p.a.Mode, OID: p.a.OID}
		}
		switch p.b.Mode {
		case 0:
		case ModeTree:
			tb = p.b.OID
		default:
			c.New = Entry{Path: path, Mode: p.b.Mode, OID: p.b.OID}
		}
		if c.Old.Mode != 0 || c.New.Mode != 0 {
			*changes = append(*changes, c)
		}
		if err := w.diff(ta, tb, path+"/", changes); err != nil {
			return err
		}
	}
	return nil
}
