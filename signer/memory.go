package signer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/tufops/tufops/internal/wholefile"
)

// memory is what a machine knows of one TUF repository: the newest root it has
// seen there, and what its person has signed. It is kept below the person's own
// state folder, where nobody else writes; a clone can be deleted and made again
// without losing it.
//
// It goes by where the repository is, which the person has configured, and by
// nothing that the repository says of itself: whoever serves one could else choose
// what it is compared with, and have it taken for one that was never seen.
type memory struct {
	Schema int    `json:"schema"`
	Remote string `json:"remote"` // see repositoryAt; in older files the URL
	TUFDir string `json:"tuf-dir"`

	Root   *seenRoot `json:"root,omitempty"`
	Signed []signed  `json:"signed"`
	// Agreed is the policy file of main that the person has last signed under from a
	// file. In a clone it is found by [agreedRef].
	Agreed string `json:"agreed,omitempty"`
}

// seenRoot is the newest root that was seen.
type seenRoot struct {
	Version int64     `json:"version"`
	SHA256  string    `json:"sha256"` // of the payload: signatures may be added later
	Seen    time.Time `json:"seen"`
}

// signed is one payload that the person has signed.
type signed struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	SHA256  string    `json:"sha256"`
	Event   string    `json:"event"`
	Time    time.Time `json:"time"`
}

const (
	memorySchema = 1
	maxMemory    = 16 << 20
	lockEvery    = 10 * time.Millisecond
)

// MemoryError says that what this machine remembers cannot be used.
type MemoryError struct {
	File string
	Err  error
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("what this machine remembers, %s: %v", e.File, e.Err)
}

func (e *MemoryError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *MemoryError) Hint() string {
	if e, ok := e.Err.(*disagreeError); ok {
		return e.Hint()
	}
	return "if the file is damaged, move it away and pin the root anew: tufops-sign setup --root-sha256 SHA256"
}

// memoryFile is where a repository at a remote is remembered; "" where nothing
// is.
func (s *session) memoryFile(ctx context.Context) (file, remote string, err error) {
	if s.Memory == "" {
		return "", "", nil
	}
	if s.remote == "" {
		if s.file != nil {
			s.remote = repositoryAt(s.file.Remote)
		} else if at, err := s.git.RemoteURL(ctx, s.Config.PullRemote); err != nil {
			return "", "", err
		} else {
			s.remote = repositoryAt(at)
		}
	}
	sum := sha256.Sum256([]byte(s.remote + "\x00" + s.Repository.Dir()))
	return filepath.Join(s.Memory, hex.EncodeToString(sum[:])+".json"), s.remote, nil
}

// repositoryAt is where the URL of a remote leads, without how one gets there: ssh,
// https and scp's form of one repository are the same, on whatever port, and case is
// none on a forge. Two repositories that come out as one are at worst refused.
func repositoryAt(remote string) string {
	_, host, path := located(remote)
	if host == "" {
		return strings.TrimPrefix(plainURL(remote), "file://")
	}
	return host + "/" + strings.ToLower(path)
}

// plainURL is the URL of a remote without what differs between clones of the
// same: credentials, .git and a slash at the end.
func plainURL(remote string) string {
	if u, err := url.Parse(remote); err == nil && u.User != nil && u.Scheme != "ssh" {
		u.User = nil
		remote = u.String()
	}
	return strings.TrimSuffix(strings.TrimRight(remote, "/"), ".git")
}

// recall reads what is remembered: an empty memory where there is none yet.
func (s *session) recall(ctx context.Context) (*memory, error) {
	file, remote, err := s.memoryFile(ctx)
	if err != nil {
		return nil, err
	}
	m := &memory{Schema: memorySchema, Remote: remote, TUFDir: s.Repository.Dir(), Signed: []signed{}}
	if file == "" {
		return m, nil
	}
	switch found, err := m.read(file); {
	case err != nil:
		return nil, &MemoryError{file, err}
	case found && m.Remote != remote:
		return nil, &MemoryError{file, fmt.Errorf("it is about %q, not about %q", m.Remote, remote)}
	case !found:
		return m, m.inherit(s.Memory)
	}
	return m, nil
}

// read reads a file of this version, if it is there.
func (m *memory) read(file string) (found bool, err error) {
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case st.Size() > maxMemory:
		return false, fmt.Errorf("it has %d bytes, more than %d", st.Size(), maxMemory)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, m); err != nil {
		return false, err
	}
	if m.Schema != memorySchema {
		return false, fmt.Errorf("it has schema %d, not schema %d", m.Schema, memorySchema)
	}
	return true, nil
}

// memoryName is the name of a memory's file.
var memoryName = regexp.MustCompile(`^[0-9a-f]{64}\.json$`)

// inherit takes over what was remembered of the same repository when each URL of it
// had a memory of its own.
func (m *memory) inherit(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from := "" // which file m.Root is of
	first := true
	for _, e := range entries {
		file, old := filepath.Join(dir, e.Name()), &memory{}
		if !memoryName.MatchString(e.Name()) {
			continue
		}
		if _, err := old.read(file); err != nil {
			return &MemoryError{file, err}
		}
		if repositoryAt(old.Remote) != m.Remote || old.TUFDir != m.TUFDir {
			continue
		}
		if old.Root != nil {
			if m.Root != nil && m.Root.Version == old.Root.Version && m.Root.SHA256 != old.Root.SHA256 {
				return &MemoryError{file, &disagreeError{from, m.Root, old.Root}}
			}
			if m.Root == nil || m.Root.Version < old.Root.Version {
				m.Root, from = old.Root, file
			}
		}
		for _, one := range old.Signed {
			if !slices.Contains(m.Signed, one) {
				m.Signed = append(m.Signed, one)
			}
		}
		// Where two have agreed to different policies the person is shown all of it anew.
		if first {
			m.Agreed = old.Agreed
		} else if m.Agreed != old.Agreed {
			m.Agreed = ""
		}
		first = false
	}
	return nil
}

// disagreeError says that a machine has seen two roots of one version.
type disagreeError struct {
	other       string
	there, here *seenRoot
}

func (e *disagreeError) Error() string {
	return fmt.Sprintf("it says that root v%d has sha256 %s, and %s says that it has %s", e.here.Version, e.here.SHA256, e.other, e.there.SHA256)
}

// Hint says what to do.
func (e *disagreeError) Hint() string {
	return "sign nothing; ask the other key holders which of the two they see, and move the file with the other away"
}

// remember changes what is remembered, as a whole or not at all, and one process
// after the other. change gets what is there then.
func (s *session) remember(ctx context.Context, change func(*memory)) error {
	file, _, err := s.memoryFile(ctx)
	if err != nil || file == "" {
		return err
	}
	fail := func(err error) error { return &MemoryError{file, err} }
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fail(err)
	}
	lock := flock.New(file + ".lock")
	if _, err := lock.TryLockContext(ctx, lockEvery); err != nil {
		return fail(err)
	}
	defer lock.Close()
	m, err := s.recall(ctx)
	if err != nil {
		return err
	}
	change(m)
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fail(err)
	}
	if err := wholefile.Write(file, append(data, '\n'), 0o600); err != nil {
		return fail(err)
	}
	return nil
}

// rememberSigned adds what was signed.
func (s *session) rememberSigned(ctx context.Context, list []signature) error {
	if len(list) == 0 {
		return nil
	}
	return s.remember(ctx, func(m *memory) {
		for _, one := range list {
			entry := signed{Role: one.role, Version: one.version, SHA256: digest(one.payload), Event: s.Event, Time: s.Now.UTC()}
			if !slices.ContainsFunc(m.Signed, func(o signed) bool {
				return o.Role == entry.Role && o.Version == entry.Version && o.SHA256 == entry.SHA256
			}) {
				m.Signed = append(m.Signed, entry)
			}
		}
	})
}

// others are the payloads that the person has signed for the same version of a
// role.
func (m *memory) others(a ask) []signed {
	var list []signed
	for _, one := range m.Signed {
		if one.Role == a.role && one.Version == a.version && one.SHA256 != digest(a.payload) {
			list = append(list, one)
		}
	}
	return list
}
