// Package gotuf runs go-tuf's client, which is what cosign and sigstore-go run
// in the field, as a second opinion on what our own client says.
//
// It owns the way in and out and judges nothing: every answer is go-tuf's. What
// go-tuf panics on is an error, since it does so on files that nobody has signed.
// It fetches nothing itself and asks no clock.
package gotuf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// Base is where the client believes the repository to be: metadata and targets
// are folders below it. Messages of go-tuf may hold it.
const Base = "https://repository.invalid/"

// ErrTargetNotFound says that no role lists an artifact.
var ErrTargetNotFound = errors.New("target not found")

// ErrKeyType says that a role lists a key of a type that go-tuf does not know: it
// verifies nothing for that role then, whoever else has signed.
var ErrKeyType = errors.New("unsupported public key type")

// PanicError says that go-tuf panicked.
type PanicError struct{ Value any }

func (e *PanicError) Error() string { return fmt.Sprintf("go-tuf panics: %v", e.Value) }

// Expired reports whether an error of go-tuf is that metadata has expired.
func Expired(err error) bool { return errors.Is(err, &metadata.ErrExpiredMetadata{}) }

// Options say what a client trusts, when it runs, and what it is served.
type Options struct {
	Root []byte    // the trust anchor
	Now  time.Time // the reference time: what expires by then is refused

	// Dir keeps what was verified for the next client with the same Dir. Where it
	// is empty nothing is kept, and nothing is written.
	Dir string

	// Open returns a file by its name below [Base]: metadata/timestamp.json. That
	// there is none is an error that is [fs.ErrNotExist].
	Open func(name string) ([]byte, error)
}

// Client is one go-tuf updater. It can be refreshed once.
type Client struct {
	up  *updater.Updater
	cfg *config.UpdaterConfig
}

// New returns a client. It verifies the trust anchor and opens nothing.
func New(o Options) (c *Client, err error) {
	defer guard(&err)
	cfg, err := config.New(Base+"metadata", o.Root)
	if err != nil {
		return nil, err
	}
	cfg.RemoteTargetsURL = Base + "targets"
	cfg.Fetcher = fetcher(o.Open)
	if cfg.DisableLocalCache = o.Dir == ""; !cfg.DisableLocalCache {
		cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(o.Dir, "metadata"), filepath.Join(o.Dir, "targets")
	}
	up, err := updater.New(cfg)
	if err != nil {
		return nil, typed(err)
	}
	up.UnsafeSetRefTime(o.Now)
	return &Client{up, cfg}, nil
}

// Refresh updates the top-level metadata. What was verified before a failure
// counts: ask [Client.Version].
func (c *Client) Refresh() (err error) {
	defer guard(&err)
	return typed(c.up.Refresh())
}

// Version is the version of a role that the client has verified; 0 where it has
// none.
func (c *Client) Version(role string) int64 {
	set := c.up.GetTrustedMetadataSet()
	switch {
	case role == metadata.ROOT && set.Root != nil:
		return set.Root.Signed.Version
	case role == metadata.TIMESTAMP && set.Timestamp != nil:
		return set.Timestamp.Signed.Version
	case role == metadata.SNAPSHOT && set.Snapshot != nil:
		return set.Snapshot.Signed.Version
	case set.Targets[role] != nil:
		return set.Targets[role].Signed.Version
	}
	return 0
}

// Target is what go-tuf has found of an artifact.
type Target struct {
	Length int64
	Hashes map[string]string // algorithm to lower-case hex
	info   *metadata.TargetFiles
}

// Target looks an artifact up, through delegations. That no role lists it is
// [ErrTargetNotFound].
func (c *Client) Target(path string) (t Target, err error) {
	defer guard(&err)
	info, err := c.up.GetTargetInfo(path)
	if err != nil {
		if err.Error() == "target "+path+" not found" { // it has no type of its own
			err = ErrTargetNotFound
		}
		return Target{}, typed(err)
	}
	t = Target{Length: info.Length, Hashes: map[string]string{}, info: info}
	for algorithm, sum := range info.Hashes {
		t.Hashes[algorithm] = hex.EncodeToString(sum)
	}
	return t, nil
}

// Download fetches an artifact that [Client.Target] has found, and verifies it.
// It is kept nowhere.
func (c *Client) Download(t Target) (data []byte, err error) {
	defer guard(&err)
	defer func(was bool) { c.cfg.DisableLocalCache = was }(c.cfg.DisableLocalCache)
	c.cfg.DisableLocalCache = true
	_, data, err = c.up.DownloadTarget(t.info, "", "")
	return data, err
}

// fetcher answers go-tuf's requests.
type fetcher func(name string) ([]byte, error)

func (open fetcher) DownloadFile(from string, max int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, err := open(strings.TrimPrefix(u.Path, "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: from}
	case err != nil:
		return nil, err
	case int64(len(data)) > max:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has %d bytes, more than the %d that are read", from, len(data), max)}
	}
	return data, nil
}

// typed makes an error of go-tuf's that has no type of its own one of ours.
func typed(err error) error {
	if err != nil && err.Error() == ErrKeyType.Error() {
		return ErrKeyType
	}
	return err
}

func guard(err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{p}
	}
}
