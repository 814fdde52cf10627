package client

import (
	"bytes"
	"context"
	"fmt"

	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// Bounds on what a repository can make a client do. The lengths are in bytes.
const (
	MaxRootRotations   = 256 // new roots in one update
	MaxDelegations     = 32  // delegated roles asked for one artifact
	RootMaxLength      = 512000
	TimestampMaxLength = 16384
	SnapshotMaxLength  = 2000000
	TargetsMaxLength   = 5000000
)

// Options say where a repository is and what is trusted to begin with.
type Options struct {
	// Root is the trust anchor: the bytes of any root.json of the repository,
	// best one that the program embeds. If it is nil, the one that [Init] put
	// into CacheDir is used.
	Root []byte

	MetadataURL string // where N.root.json and timestamp.json are: http, https or file
	TargetsURL  string // where the artifacts are; needed only for downloads

	// Mirrors are asked in this order, file by file, where the place above does
	// not answer, has no such file or not the right one. They are trusted no more
	// than that: a file counts if it verifies, whoever serves it. Of timestamps the
	// first counts that verifies, has not expired and is not older than what this
	// client has seen; a root is looked for everywhere before it is the newest.
	Mirrors []Mirror

	// CacheDir keeps verified metadata between updates. If it is empty, the
	// memory of the Client does, and rollbacks across runs go unnoticed.
	CacheDir string

	// Offline clients fetch nothing and write nothing. They verify the cache
	// as if it came from the network, expiry included: whoever wants to use it
	// as of an earlier moment says so with Now.
	Offline bool

	Fetcher Fetcher          // nil: [NewFetcher]
	Now     func() time.Time // nil: time.Now; asked once for each update
	Logger  *slog.Logger     // nil: no log
}

// Mirror is another place where a repository is published.
type Mirror struct {
	MetadataURL string
	TargetsURL  string // empty: it has no artifacts
}

// Client is a TUF client of one repository. Make one with [New].
type Client struct {
	anchor        *metadata.Document
	anchorSource  string
	metadataURLs  mirrors
	targetsURLs   mirrors
	targetsURLErr error // why there are none
	fetcher       Fetcher
	now           func() time.Time
	sleep         func(context.Context, time.Duration) error
	log           *slog.Logger
	offline       bool

	turn    chan struct{} // holds one token; who has it may use what follows
	cache   *cache
	current *update // the last update, if it succeeded

	// What this client has verified itself, so that a later update need not do it
	// again: signatures do not change. Neither is what lies on disk.
	walked []RoleState        // the roots after the anchor
	newest *metadata.Document // the last of them
	proven map[edge]*metadata.Document
}

// New returns a client. It verifies the trust anchor and makes no request.
func New(o Options) (*Client, error) {
	ours := o.Fetcher == nil
	c := &Client{fetcher: o.Fetcher, now: o.Now, log: o.Logger, offline: o.Offline, sleep: sleep, turn: make(chan struct{}, 1)}
	if c.fetcher == nil {
		c.fetcher = NewFetcher()
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.cache = &cache{dir: o.CacheDir, memory: map[string][]byte{}, readOnly: o.Offline, log: c.log}
	data := o.Root
	if data == nil && o.CacheDir != "" {
		c.anchorSource = filepath.Join(o.CacheDir, anchorFile)
		var err error
		if data, err = readFile(c.anchorSource, RootMaxLength); err != nil && !os.IsNotExist(err) {
			return nil, &AnchorError{File: c.anchorSource, Err: reason(err)}
		}
	}
	if data == nil {
		return nil, &NoAnchorError{Dir: o.CacheDir}
	}
	var err error
	if c.anchor, err = parseAnchor(bytes.Clone(data)); err != nil {
		return nil, &AnchorError{File: c.anchorSource, Err: err}
	}
	if c.anchorSource == "" {
		c.anchorSource = "the trust anchor"
	}
	if !o.Offline {
		for _, m := range append([]Mirror{{MetadataURL: o.MetadataURL}}, o.Mirrors...) {
			base, err := baseURL("metadata", m.MetadataURL, ours)
			if err != nil {
				return nil, err
			}
			c.metadataURLs.urls = append(c.metadataURLs.urls, base)
		}
	}
	for _, m := range append([]Mirror{{TargetsURL: o.TargetsURL}}, o.Mirrors...) {
		base, err := baseURL("targets", m.TargetsURL, ours)
		switch {
		case err == nil:
			c.targetsURLs.urls = append(c.targetsURLs.urls, base)
		case m.TargetsURL != "":
			return nil, err
		case c.targetsURLErr == nil:
			c.targetsURLErr = err
		}
	}
	return c, nil
}

// RoleState is one version of a role that was verified.
type RoleState struct {
	Role    string
	Version int64
	Expires time.Time
	Cached  bool // it was not fetched
}

// Result is what an update found.
type Result struct {
	Time  time.Time   // the reference time: what expires by then is refused
	Roots []RoleState // every root, from the trust anchor to the newest

	// Zero where the update did not come so far.
	Timestamp, Snapshot, Targets RoleState
}

// Root is the newest root.
func (r *Result) Root() RoleState {
	if len(r.Roots) == 0 {
		return RoleState{}
	}
	return r.Roots[len(r.Roots)-1]
}

// String is a line like "root 1 -> 14, timestamp v703, snapshot v42, targets v11".
func (r *Result) String() string {
	var b strings.Builder
	switch n := len(r.Roots); n {
	case 0:
		return "nothing verified"
	case 1:
		fmt.Fprintf(&b, "root v%d", r.Roots[0].Version)
	default:
		fmt.Fprintf(&b, "root %d -> %d", r.Roots[0].Version, r.Roots[n-1].Version)
	}
	for _, s := range []RoleState{r.Timestamp, r.Snapshot, r.Targets} {
		if s.Version > 0 {
			fmt.Fprintf(&b, ", %s v%d", s.Role, s.Version)
		}
	}
	return b.String()
}

// Refresh updates the top-level metadata: the way from the trust anchor to the
// newest root, then timestamp, snapshot and targets. It may be called again at
// any time, which is a new update with its own reference time.
//
// What was verified before a failure stays in the cache. The Result is never
// nil; with an error it says how far the update came.
func (c *Client) Refresh(ctx context.Context) (*Result, error) {
	if err := c.begin(ctx); err != nil {
		return &Result{}, err
	}
	defer c.end()
	return c.refresh(ctx)
}

// begin waits for other goroutines, as long as ctx allows.
func (c *Client) begin(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another update of this client: %w", ctx.Err())
	}
}

func (c *Client) end() { <-c.turn }

func (c *Client) refresh(ctx context.Context) (*Result, error) {
	c.current = nil
	u := c.newUpdate()
	result := func() *Result { r := u.result; return &r } // the caller's own
	unlock, err := c.cache.lock(ctx)
	if err != nil {
		return result(), err
	}
	defer unlock()
	for _, step := range []func(context.Context) error{u.updateRoot, u.updateTimestamp, u.updateSnapshot, u.updateTargets} {
		if err := step(ctx); err != nil {
			return result(), err
		}
	}
	c.current, c.proven = u, u.proving
	return result(), nil
}

// newUpdate begins an update.
func (c *Client) newUpdate() *update {
	u := &update{Client: c, roles: map[edge]*metadata.Document{}, fetched: map[string]served{}, proving: map[edge]*metadata.Document{}}
	// One moment for the whole update, delegated roles that are asked for later
	// included.
	// Spec: https://theupdateframework.github.io/specification/latest/#fix-time.
	u.start = c.now().UTC()
	c.metadataURLs.begin()
	c.targetsURLs.begin()
	u.result.Time = u.start
	return u
}

// fresh returns the last update, after making one if there is none.
func (c *Client) fresh(ctx context.Context) (*update, error) {
	if c.current == nil {
		if _, err := c.refresh(ctx); err != nil {
			return nil, err
		}
	}
	return c.current, nil
}

// ReadRoot reads a root.json for [Options.Root] or [Init].
func ReadRoot(file string) ([]byte, error) {
	data, err := readFile(file, RootMaxLength)
	if err != nil {
		return nil, &AnchorError{File: file, Err: reason(err)}
	}
	if _, err := parseAnchor(data); err != nil {
		return nil, &AnchorError{File: file, Err: err}
	}
	return data, nil
}
