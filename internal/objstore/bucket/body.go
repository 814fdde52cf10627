package bucket

import (
	"bytes"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/tufops/tufops/publish"
)

// inMemory is how much of a body is kept in memory; what is longer goes through
// a temporary file.
const inMemory = 1 << 20

// Body is a body that was read whole, so that it is known before the first byte
// leaves that it has the length it should have, that its source did not break
// off, and what its digest is. The services take the digest along and refuse
// anything else, so an object appears whole or not at all.
type Body struct {
	io.ReadSeeker
	file *os.File // nil: in memory
	name string   // of the file, as long as it has one
}

// ReadBody reads the body of an upload, and adds it to the digests. It fails,
// with the error of the source, where there are more or fewer bytes than there
// should be. Of a long body only a part is in memory at any time.
func ReadBody(u publish.Upload, digests ...hash.Hash) (*Body, error) {
	var b Body
	var to io.Writer
	if u.Size > inMemory {
		f, err := os.CreateTemp("", "tufops-upload-")
		if err != nil {
			return nil, fmt.Errorf("keep %s until it is sent: %w", u.Name, err)
		}
		// Where a file can lose its name while it is open, nothing stays behind
		// if this process is killed.
		if os.Remove(f.Name()) != nil {
			b.name = f.Name()
		}
		b.ReadSeeker, b.file, to = f, f, f
	} else {
		to = &bytes.Buffer{}
	}
	writers := []io.Writer{to}
	for _, d := range digests {
		writers = append(writers, d)
	}
	n, err := io.Copy(io.MultiWriter(writers...), io.LimitReader(u.Body, u.Size+1))
	switch {
	case err != nil:
		err = fmt.Errorf("read %s: %w", u.Name, err)
	case n > u.Size:
		err = fmt.Errorf("read %s: more than %d bytes came", u.Name, u.Size)
	case n < u.Size:
		err = fmt.Errorf("read %s: %d bytes came, not %d", u.Name, n, u.Size)
	case b.file != nil:
		_, err = b.file.Seek(0, io.SeekStart)
	default:
		b.ReadSeeker = bytes.NewReader(to.(*bytes.Buffer).Bytes())
	}
	if err != nil {
		b.Discard()
		return nil, err
	}
	return &b, nil
}

// Discard ends the use of the body. The body is no io.Closer, since some clients
// close what they are given to send, and then want to read it again.
func (b *Body) Discard() {
	if b.file != nil {
		_ = b.file.Close()
	}
	if b.name != "" {
		_ = os.Remove(b.name)
	}
}
