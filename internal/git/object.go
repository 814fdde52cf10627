package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxBlob is the size up to which [Repo.Blob] reads. It is far above any TUF
// metadata file; artifacts are read with [Repo.Blobs].
const MaxBlob = 32 << 20

// maxCommit bounds a commit object: a message no person will read.
const maxCommit = 4 << 20

// Resolve returns the commit that rev names: an object id, a branch, a tag, a
// remote branch, HEAD~2 and so on. Tags are followed.
//
// A rev that is empty, begins with "-" or holds a newline, NUL or ":" is refused
// before git sees it. So is a short name that stands for more than one ref at
// different commits: git would take the tag `origin/main`, which anybody who may
// push can make, for the branch. Both are a [*RevisionError], as is a rev that
// names no commit.
func (r *Repo) Resolve(ctx context.Context, rev string) (OID, error) {
	fail := func(reason string) (OID, error) {
		return "", &RevisionError{Rev: rev, Dir: r.dir, Reason: reason}
	}
	switch {
	case rev == "":
		return fail("the name is empty")
	case strings.HasPrefix(rev, "-"):
		return fail(`the name begins with "-"`)
	case strings.ContainsAny(rev, "\n\r\x00:"):
		return fail("the name holds a newline, NUL or colon")
	}
	names := []string{rev + "^{commit}"}
	base := rev
	if i := strings.IndexAny(base, "^~"); i >= 0 {
		base = base[:i]
	}
	base, _, _ = strings.Cut(base, "@{")
	if base != "" && base != "HEAD" && !OID(base).valid() && !strings.HasPrefix(base, "refs/") {
		for _, space := range []string{"refs/", "refs/tags/", "refs/heads/", "refs/remotes/"} {
			names = append(names, space+base+"^{commit}")
		}
	}
	found, err := r.info(ctx, names)
	if err != nil {
		return "", fmt.Errorf("find commit %q: %w", rev, err)
	}
	var refs []string
	var at OID
	differ := false
	for i, h := range found[1:] {
		if !h.missing {
			refs = append(refs, strings.TrimSuffix(names[1+i], "^{commit}"))
			differ = differ || at != "" && at != h.oid
			at = h.oid
		}
	}
	switch {
	case differ:
		return fail("the name is ambiguous: it is " + strings.Join(refs, " and "))
	case len(refs) > 0 && shortHex.MatchString(base):
		return fail("the name is ambiguous: it is " + refs[0] + ", and has the form of an abbreviated object id")
	case found[0].kind == "ambiguous":
		return fail("the name is ambiguous: it begins more than one object id")
	case found[0].missing:
		return fail("no such commit")
	}
	return found[0].oid, nil
}

var shortHex = regexp.MustCompile(`^[0-9a-f]{7,}$`)

// Ref returns the object that a ref points at. ref is a full name, refs/... or
// HEAD. A ref that does not exist, as HEAD in an empty repository, gives false.
func (r *Repo) Ref(ctx context.Context, ref string) (OID, bool, error) {
	if err := checkRef(ref); err != nil && ref != "HEAD" {
		return "", false, err
	}
	found, err := r.info(ctx, []string{ref})
	if err != nil {
		return "", false, fmt.Errorf("read ref %s: %w", ref, err)
	}
	return found[0].oid, !found[0].missing, nil
}

// checkRef refuses what cannot be the full name of a ref. Git has more rules; it
// checks them itself.
func checkRef(ref string) error {
	if !strings.HasPrefix(ref, "refs/") || strings.ContainsAny(ref, "\x00\n\r\t :?*[\\^~") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return fmt.Errorf("%q is not the full name of a git ref (refs/heads/...)", ref)
	}
	return nil
}

func (r *Repo) info(ctx context.Context, names []string) (found []header, err error) {
	if r.only != nil {
		for _, name := range names {
			h, _, err := r.only.find(ctx, name)
			if err != nil {
				return nil, err
			}
			found = append(found, h)
		}
		return found, nil
	}
	err = r.ask(ctx, func(c *catFile) error {
		found = nil
		requests := make([]string, len(names))
		for i, n := range names {
			requests[i] = "info " + n
		}
		if err := c.send(requests...); err != nil {
			return err
		}
		for range names {
			h, err := c.header()
			if err != nil {
				return err
			}
			found = append(found, h)
		}
		return nil
	})
	return found, err
}

// A Commit is a parsed commit object. The text in it is as its author wrote it:
// it may hold control characters and need not be UTF-8.
type Commit struct {
	OID     OID
	Tree    OID
	Parents []OID // as recorded, also where a shallow clone lacks them

	AuthorName, AuthorEmail       string
	AuthorTime                    time.Time
	CommitterName, CommitterEmail string
	CommitterTime                 time.Time

	Message string
}

// Subject returns the first line of the message.
func (c *Commit) Subject() string {
	s, _, _ := strings.Cut(c.Message, "\n")
	return strings.TrimRight(s, "\r")
}

// Commit reads a commit. It returns a [*MissingObjectError], a [*TypeError] (also
// for a tag: see [Repo.Resolve]), a [*TooLargeError] or a [*MalformedError].
func (r *Repo) Commit(ctx context.Context, oid OID) (*Commit, error) {
	data, err := r.object(ctx, oid, "commit", maxCommit)
	if err != nil {
		return nil, err
	}
	return parseCommit(oid, data)
}

// object reads an object of one type.
func (r *Repo) object(ctx context.Context, oid OID, kind string, limit int64) ([]byte, error) {
	if err := checkOIDs(oid); err != nil {
		return nil, err
	}
	h, data, err := r.measured(ctx, string(oid), limit)
	var large *TooLargeError
	switch {
	case err != nil && !errors.As(err, &large):
		return nil, fmt.Errorf("read git object %s: %w", oid, err)
	case h.missing:
		return nil, &MissingObjectError{OID: oid}
	case h.kind != kind:
		return nil, &TypeError{OID: oid, Got: h.kind, Want: kind}
	}
	return data, err
}

func parseCommit(oid OID, data []byte) (*Commit, error) {
	bad := func(reason string) (*Commit, error) { return nil, &MalformedError{OID: oid, Reason: reason} }
	c := &Commit{OID: oid}
	head, message, ok := strings.Cut(string(data), "\n\n")
	if !ok {
		// An empty message without its blank line.
		head, message = strings.TrimSuffix(head, "\n"), ""
	}
	c.Message = message
	// A fixed order, as git writes and reads it: tree, parents, author,
	// committer; then headers that we skip (encoding, gpgsig with its
	// continuation lines, mergetag).
	lines := strings.Split(head, "\n")
	next := func(key string) (string, bool) {
		if len(lines) == 0 {
			return "", false
		}
		value, ok := strings.CutPrefix(lines[0], key+" ")
		if ok {
			lines = lines[1:]
		}
		return value, ok
	}
	tree, ok := next("tree")
	if c.Tree = OID(tree); !ok || !c.Tree.valid() {
		return bad("a commit must begin with its tree")
	}
	for {
		p, ok := next("parent")
		if !ok {
			break
		}
		if !OID(p).valid() {
			return bad("a parent is not an object id")
		}
		c.Parents = append(c.Parents, OID(p))
	}
	author, ok := next("author")
	if !ok {
		return bad("the author does not stand where it must")
	}
	committer, ok := next("committer")
	if !ok {
		return bad("the committer does not stand where it must")
	}
	c.AuthorName, c.AuthorEmail, c.AuthorTime = parseIdent(author)
	c.CommitterName, c.CommitterEmail, c.CommitterTime = parseIdent(committer)
	return c, nil
}

// parseIdent splits `Name <mail> 1700000000 +0100`. Real histories hold odd ones,
// so what cannot be read is left zero.
func parseIdent(s string) (name, email string, when time.Time) {
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return strings.TrimSpace(s), "", time.Time{}
	}
	name, email = strings.TrimSpace(s[:open]), s[open+1:end]
	f := strings.Fields(s[end+1:])
	if len(f) == 0 {
		return name, email, time.Time{}
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || sec < 0 || sec > 1<<40 {
		return name, email, time.Time{}
	}
	zone := time.UTC
	if len(f) > 1 && len(f[1]) == 5 && (f[1][0] == '+' || f[1][0] == '-') && f[1] != "+0000" {
		if n, err := strconv.Atoi(f[1][1:]); err == nil && n/100 < 24 && n%100 < 60 {
			off := n/100*3600 + n%100*60
			if f[1][0] == '-' {
				off = -off
			}
			zone = time.FixedZone("", off)
		}
	}
	return name, email, time.Unix(sec, 0).In(zone)
}

// Blob reads a blob of at most [MaxBlob] bytes; see [Repo.BlobLimit].
func (r *Repo) Blob(ctx context.Context, oid OID) ([]byte, error) {
	return r.BlobLimit(ctx, oid, MaxBlob)
}

// BlobLimit reads a blob of at most limit bytes.
//
// A larger one is a [*TooLargeError]; git was asked for its size only. The other
// outcomes are a [*MissingObjectError] and a [*TypeError].
func (r *Repo) BlobLimit(ctx context.Context, oid OID, limit int64) ([]byte, error) {
	return r.object(ctx, oid, "blob", limit)
}

// Blobs reads many blobs, in order, and calls fn for each: i is the index in
// oids, rd yields exactly size bytes or an error, and is valid until fn returns.
// Requests run ahead of the replies, so a blob costs microseconds.
//
// fn need not read rd to its end, may take its time, and may call r. If fn fails,
// Blobs stops and returns its error as it is. A blob that is missing or no blob
// stops it too, with a [*MissingObjectError] or a [*TypeError].
func (r *Repo) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, rd io.Reader) error) error {
	if err := checkOIDs(oids...); err != nil {
		return err
	}
	if len(oids) == 0 {
		return nil
	}
	if r.only != nil {
		return r.only.blobs(ctx, oids, fn)
	}
	return r.bulk(ctx, func(c *catFile) error {
		// The requests are written from another goroutine: git stops reading
		// them while nobody reads its replies.
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			w := bufio.NewWriterSize(c.in, 16<<10)
			for _, oid := range oids {
				w.WriteString("contents " + string(oid) + "\n")
			}
			w.WriteString("flush\n")
			w.Flush() // on an error the reading side sees the process end
		}()
		err := c.readBlobs(oids, fn)
		if err != nil {
			// Replies are outstanding. A new process is cheaper than they are.
			c.broken = true
			c.cmd.Process.Kill()
			c.in.Close()
		}
		<-wrote
		return err
	})
}

func (c *catFile) readBlobs(oids []OID, fn func(int, int64, io.Reader) error) error {
	for i, oid := range oids {
		h, err := c.header()
		switch {
		case err != nil:
			return err
		case h.missing:
			return &MissingObjectError{OID: oid}
		case h.kind != "blob":
			return &TypeError{OID: oid, Got: h.kind, Want: "blob"}
		case h.oid != oid:
			return fmt.Errorf("git cat-file sent object %s, want %s", h.oid, oid)
		}
		b := c.body(h)
		if err := fn(i, h.size, b); err != nil {
			return err
		}
		if err := b.finish(); err != nil {
			return err
		}
	}
	return nil
}
