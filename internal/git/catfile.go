package git

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// A catFile is a running `git cat-file --batch-command --buffer`: it answers what
// it was asked when it is told to flush, in few large writes. One goroutine at a
// time may talk to it.
type catFile struct {
	cmd    *exec.Cmd
	args   []string
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	used   bool // some conversation went well
	heard  bool // a reply came in this conversation
	broken bool // what it says next is not the reply to what we ask next
}

// errBroken says that the cat-file process ended or was ended in mid conversation.
var errBroken = errors.New("git cat-file ended early")

func (r *Repo) startCatFile() (*catFile, error) {
	if r.only != nil {
		return nil, r.noGit([]string{"cat-file"})
	}
	// Git looks for object directories once, when it starts. The temporary one
	// is made now, so that this process sees what a merge will put there.
	tmp, err := r.tempDir()
	if err != nil {
		return nil, err
	}
	cl := call{args: []string{"cat-file", "--batch-command", "--buffer"}, env: []string{alternates(tmp)}}
	// Not CommandContext: the process outlives the call that starts it. Should
	// this program die, cat-file reads the end of its input and ends too.
	c := &catFile{cmd: exec.Command("git", cl.argv()...), args: cl.args, stderr: new(tail)}
	c.cmd.Dir = r.dir
	c.cmd.Env = append(environ(cl), cl.env...)
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = waitDelay
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 64<<10)
	r.processes.Add(1)
	if err := c.cmd.Start(); err != nil {
		return nil, newCommandError(c.args, c.cmd, "", err)
	}
	return c, nil
}

// close ends the process. It has nothing to lose, so it is not asked politely.
func (c *catFile) close() {
	c.in.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// ask runs f with the shared process while nobody else talks to it. f must read
// every reply to its end, and must not call into r.
func (r *Repo) ask(ctx context.Context, f func(*catFile) error) error {
	select {
	case <-r.catLock:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.catLock <- struct{}{} }()
	for {
		c, err := r.idle()
		if err != nil {
			return err
		}
		again, err := c.converse(ctx, f)
		if !c.broken {
			r.cat = c
		}
		if !again {
			return err
		}
	}
}

// bulk runs f with a process of its own: f may take long, and may call into r.
// It is the shared process, which somebody else will replace if they need one
// meanwhile.
func (r *Repo) bulk(ctx context.Context, f func(*catFile) error) error {
	for {
		select {
		case <-r.catLock:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, err := r.idle()
		r.catLock <- struct{}{}
		if err != nil {
			return err
		}
		again, err := c.converse(ctx, f)
		if !c.broken {
			<-r.catLock
			r.mu.Lock()
			if r.cat == nil && !r.closed {
				r.cat, c = c, nil
			}
			r.mu.Unlock()
			r.catLock <- struct{}{}
			if c != nil {
				c.close()
			}
		}
		if !again {
			return err
		}
	}
}

// idle takes the idle process away from r, or starts one. The caller holds
// catLock.
func (r *Repo) idle() (*catFile, error) {
	if c := r.cat; c != nil {
		r.cat = nil
		return c, nil
	}
	return r.startCatFile()
}

// converse runs f, and ends the process if the conversation breaks or ctx ends.
// again says that f may be run once more with another process: this one had died
// while it was idle (Ctrl-C reaches every process of a terminal), before f heard
// anything from it.
func (c *catFile) converse(ctx context.Context, f func(*catFile) error) (again bool, err error) {
	c.heard = false
	stop := context.AfterFunc(ctx, func() { c.cmd.Process.Kill() })
	err = f(c)
	if !stop() {
		c.broken = true
	}
	if !c.broken {
		c.used = true
		return false, err
	}
	c.close()
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, errBroken)):
		return false, newCommandError(c.args, c.cmd, "", ctx.Err())
	case errors.Is(err, errBroken) && c.used && !c.heard:
		return true, nil
	case errors.Is(err, errBroken):
		return false, newCommandError(c.args, c.cmd, c.stderr.String(), err)
	}
	return false, err
}

// send asks for objects. Requests of one call are few; see [Repo.Blobs] for many.
func (c *catFile) send(requests ...string) error {
	if _, err := io.WriteString(c.in, strings.Join(requests, "\n")+"\nflush\n"); err != nil {
		c.broken = true
		return errBroken
	}
	return nil
}

// A header is the first line of a reply.
type header struct {
	oid     OID
	kind    string // "blob", "tree", "commit", "tag", "missing" or "ambiguous"
	size    int64
	missing bool // missing or ambiguous: nothing follows
}

func (c *catFile) header() (header, error) {
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.broken = true
		return header{}, errBroken
	}
	c.heard = true
	line = strings.TrimSuffix(line, "\n")
	for _, kind := range []string{"missing", "ambiguous"} {
		if strings.HasSuffix(line, " "+kind) {
			return header{kind: kind, missing: true}, nil
		}
	}
	f := strings.Split(line, " ")
	if len(f) == 3 && OID(f[0]).valid() {
		if size, err := strconv.ParseInt(f[2], 10, 64); err == nil && size >= 0 {
			return header{oid: OID(f[0]), kind: f[1], size: size}, nil
		}
	}
	c.broken = true
	return header{}, fmt.Errorf("git cat-file said %q, want an object's id, type and size", line)
}

// body returns a reader of the object that header announced. finish must follow.
func (c *catFile) body(h header) *body {
	return &body{c: c, left: h.size}
}

// A body reads one object. It is of no use once finish was called.
type body struct {
	c    *catFile
	left int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.c == nil || b.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.c.out.Read(p)
	b.left -= int64(n)
	if err != nil {
		b.c.broken = true
		if b.left > 0 || err != io.EOF {
			return n, errBroken
		}
	}
	return n, nil
}

// finish skips what was not read, and the newline that ends every object.
func (b *body) finish() error {
	c := b.c
	b.c = nil
	if c.broken {
		return errBroken
	}
	if _, err := io.CopyN(io.Discard, c.out, b.left); err != nil {
		c.broken = true
		return errBroken
	}
	if nl, err := c.out.ReadByte(); err != nil || nl != '\n' {
		c.broken = true
		return errBroken
	}
	return nil
}

// read reads one whole object of at most limit bytes, in one exchange. A larger
// one costs the process, which would go on sending it; see [Repo.measured].
func (r *Repo) read(ctx context.Context, name string, limit int64) (h header, data []byte, err error) {
	if r.only != nil {
		h, data, err = r.only.find(ctx, name)
		if err == nil && h.size > limit {
			data, err = nil, &TooLargeError{OID: h.oid, Size: h.size, Max: limit}
		}
		return h, data, err
	}
	err = r.ask(ctx, func(c *catFile) error {
		if err := c.send("contents " + name); err != nil {
			return err
		}
		if h, err = c.header(); err != nil || h.missing {
			return err
		}
		if h.size > limit {
			c.broken = true
			return &TooLargeError{OID: h.oid, Size: h.size, Max: limit}
		}
		data = make([]byte, h.size)
		b := c.body(h)
		if _, err := io.ReadFull(b, data); err != nil {
			return err
		}
		return b.finish()
	})
	return h, data, err
}

// measured is read for objects that may well be too large: git is asked for the
// size first.
func (r *Repo) measured(ctx context.Context, name string, limit int64) (h header, data []byte, err error) {
	found, err := r.info(ctx, []string{name})
	if err != nil || found[0].missing {
		return header{missing: err == nil}, nil, err
	}
	if h = found[0]; h.size > limit {
		return h, nil, &TooLargeError{OID: h.oid, Size: h.size, Max: limit}
	}
	return r.read(ctx, string(h.oid), limit)
}
