package git

import (
	"bytes"
	"context"
	"crypto/sha1" // names of objects, as git makes them
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Objects are some objects of a repository, held in memory. Each is found under
// the id that its own content gives it, so whoever changes one on the way changes
// its name. What they say is no more to be believed than what stands on a branch:
// whoever made them up could name other ones, and needs no collision of SHA-1.
//
// They are written one after the other, sorted by id, each as its type, its
// size and its bytes. Nothing is compressed, so nothing grows when it is read,
// and no name in them becomes a path on this machine.
type Objects struct {
	mu     sync.Mutex
	from   *Repo // where what is not kept is read; nil: nowhere
	kept   map[OID]object
	made   map[OID]object // trees of merges, which are made anew by whoever needs them
	size   int
	digits int // of an id
	missed OID
}

type object struct {
	kind string
	data []byte
}

// MaxObjects bounds how many bytes [Objects] hold in all.
const MaxObjects = 256 << 20

// maxObjectCount bounds how many there are: small ones take ten times their size
// in memory.
const maxObjectCount = 1 << 20

// ObjectsTooLargeError says that objects are more than [MaxObjects], or too many.
type ObjectsTooLargeError struct {
	Size  int
	Count int // 0 where it is the size
}

func (e *ObjectsTooLargeError) Error() string {
	if e.Count > 0 {
		return fmt.Sprintf("there are %d objects or more, and at most %d are carried", e.Count, maxObjectCount)
	}
	return fmt.Sprintf("the objects have %d bytes or more, and at most %d are carried", e.Size, MaxObjects)
}

// NeedsGitError says that something was asked of a repository that is only some
// objects, which takes the git program.
type NeedsGitError struct{ What string }

func (e *NeedsGitError) Error() string {
	return visible(e.What) + " takes git and a whole repository, and here are only some objects of one"
}

func (r *Repo) noGit(args []string) error {
	return &NeedsGitError{"git " + strings.Join(args[:min(len(args), 2)], " ")}
}

// Noted returns a repository that reads r's objects and answers whatever it is
// asked from them alone, and the objects that it has read so far. A [Repo] of
// these objects gives the same answers to the same questions, elsewhere and
// without git.
func (r *Repo) Noted() (*Repo, *Objects) {
	o := &Objects{from: r}
	return o.Repo(), o
}

// ReadObjects reads what [Objects.Bytes] has written. It refuses what is cut
// off, out of order, or there twice.
func ReadObjects(data []byte) (*Objects, error) { return readObjects(data, maxObjectCount) }

func readObjects(data []byte, most int) (*Objects, error) {
	if len(data) > MaxObjects {
		return nil, &ObjectsTooLargeError{Size: len(data)}
	}
	o := &Objects{}
	previous := OID("")
	for n := 1; len(data) > 0; n++ {
		fail := func(format string, args ...any) (*Objects, error) {
			return nil, fmt.Errorf("object %d: %s", n, fmt.Sprintf(format, args...))
		}
		if n > most {
			return nil, &ObjectsTooLargeError{Count: n}
		}
		line, _, ok := bytes.Cut(data[:min(len(data), 64)], []byte("\n"))
		if !ok {
			return fail("there is no line with its type and size")
		}
		f := strings.Split(string(line), " ")
		if len(f) != 3 || !slices.Contains([]string{"sha1", "sha256"}, f[0]) || !slices.Contains([]string{"blob", "commit", "tree"}, f[1]) {
			return fail("%q is not an object's kind of id, type and size", line)
		}
		rest := data[len(line)+1:]
		size, err := strconv.Atoi(f[2])
		if err != nil || strconv.Itoa(size) != f[2] || size < 0 {
			return fail("%q is not a size", f[2])
		}
		if size >= len(rest) || rest[size] != '\n' {
			return fail("it does not end after the %d bytes that it is said to have", size)
		}
		digits := 40
		if f[0] == "sha256" {
			digits = 64
		}
		if o.digits != 0 && o.digits != digits {
			return fail("it is named by %s, and those before are not", f[0])
		}
		o.digits = digits
		oid := o.keep(f[1], slices.Clip(rest[:size]))
		if oid <= previous {
			return fail("%s is there twice or out of order", oid)
		}
		previous, data = oid, rest[size+1:]
	}
	return o, nil
}

// Bytes are the objects as a file. The same objects give the same bytes.
func (o *Objects) Bytes() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.kept); n > maxObjectCount {
		return nil, &ObjectsTooLargeError{Count: n}
	}
	var b bytes.Buffer
	for _, oid := range slices.Sorted(maps.Keys(o.kept)) {
		one := o.kept[oid]
		name := "sha1"
		if len(oid) == 64 {
			name = "sha256"
		}
		fmt.Fprintf(&b, "%s %s %d\n%s\n", name, one.kind, len(one.data), one.data)
	}
	if b.Len() > MaxObjects {
		return nil, &ObjectsTooLargeError{Size: b.Len()}
	}
	return b.Bytes(), nil
}

// Missed is the first object that was asked for and is not there; "" for none.
// Who goes on after an object could not be read asks this at the end: what
// lacks must not look like what says nothing.
func (o *Objects) Missed() OID {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.missed
}

// Repo is a repository that has these objects and nothing else: no ref, no
// remote, no work tree. It starts no process. What cannot be answered from
// objects is a [*NeedsGitError].
func (o *Objects) Repo() *Repo {
	r := &Repo{only: o, dir: "the file", catLock: make(chan struct{}, 1)}
	r.catLock <- struct{}{}
	return r
}

// nameOf is the id of an object, of as many digits as others in its repository
// have.
func nameOf(kind string, data []byte, digits int) OID {
	head := fmt.Sprintf("%s %d\x00", kind, len(data))
	if digits == 64 {
		h := sha256.New()
		io.WriteString(h, head)
		h.Write(data)
		return OID(hex.EncodeToString(h.Sum(nil)))
	}
	h := sha1.New()
	io.WriteString(h, head)
	h.Write(data)
	return OID(hex.EncodeToString(h.Sum(nil)))
}

func (o *Objects) keep(kind string, data []byte) OID {
	oid := nameOf(kind, data, o.digits)
	if o.kept == nil {
		o.kept = map[OID]object{}
	}
	if _, there := o.kept[oid]; !there {
		o.kept[oid] = object{kind, data}
		o.size += len(data)
	}
	return oid
}

// make adds a tree that nobody has written.
func (o *Objects) make(kind string, data []byte, digits int) OID {
	o.mu.Lock()
	defer o.mu.Unlock()
	oid := nameOf(kind, data, digits)
	if o.made == nil {
		o.made = map[OID]object{}
	}
	o.made[oid] = object{kind, data}
	return oid
}

// get finds one object; false where it is not there.
func (o *Objects) get(ctx context.Context, oid OID) (object, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return object{}, false, err
	}
	if one, ok := o.kept[oid]; ok {
		return one, true, nil
	}
	// Before what was made: whoever gets the objects may ask for it before they make it.
	if o.from != nil {
		h, data, err := o.from.measured(ctx, string(oid), int64(MaxObjects-o.size))
		if err != nil {
			return object{}, false, err
		}
		if !h.missing {
			if o.digits = len(h.oid); o.keep(h.kind, data) != oid {
				return object{}, false, &MalformedError{OID: oid, Reason: "its content has another id"}
			}
			return object{h.kind, data}, true, nil
		}
	}
	if one, ok := o.made[oid]; ok {
		return one, true, nil
	}
	if o.missed == "" {
		o.missed = oid
	}
	return object{}, false, nil
}

// find is get for a name as `git cat-file` takes it: an id, with ^{commit} or
// ^{tree} after it where it must be or lead to one. There are no refs.
func (o *Objects) find(ctx context.Context, name string) (header, []byte, error) {
	id, kind, peel := strings.Cut(strings.TrimSuffix(name, "}"), "^{")
	oid := OID(id)
	if !oid.valid() {
		return header{missing: true}, nil, nil
	}
	one, ok, err := o.get(ctx, oid)
	if ok && peel && kind == "tree" && one.kind == "commit" {
		c, cerr := parseCommit(oid, one.data)
		if cerr != nil {
			return header{}, nil, cerr
		}
		oid = c.Tree
		one, ok, err = o.get(ctx, oid)
	}
	if err != nil || !ok || peel && one.kind != kind {
		return header{missing: true}, nil, err
	}
	return header{oid: oid, kind: one.kind, size: int64(len(one.data))}, one.data, nil
}

// blobs is [Repo.Blobs].
func (o *Objects) blobs(ctx context.Context, oids []OID, fn func(i int, size int64, rd io.Reader) error) error {
	for i, oid := range oids {
		one, ok, err := o.get(ctx, oid)
		switch {
		case err != nil:
			return err
		case !ok:
			return &MissingObjectError{OID: oid}
		case one.kind != "blob":
			return &TypeError{OID: oid, Got: one.kind, Want: "blob"}
		}
		if err := fn(i, int64(len(one.data)), bytes.NewReader(one.data)); err != nil {
			return err
		}
	}
	return nil
}
