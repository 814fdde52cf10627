package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// CheckOptions say what [Check] looks at.
type CheckOptions struct {
	MetadataURL string // what is checked: http, https or file
	TargetsURL  string // where the artifacts are; needed only if any is asked for

	// Root is the trust anchor, and RootFile what people call it. If Root is nil,
	// the repository's own 1.root.json is trusted on first use: then all checks
	// say that the repository fits together, and nothing about whose it is.
	Root     []byte
	RootFile string

	// MetadataDir is the cache of the client that updates. What it accepted is
	// left there, and what an earlier check left there it must be able to update
	// from. Empty: memory.
	MetadataDir string

	// BaseURL is where the previous state is: the client that updates has that
	// one first. Empty: it has the root and nothing else.
	BaseURL string

	// Mirrors are other places that must serve the same: metadata, and artifacts
	// where they have a TargetsURL. Artifacts are looked at as far as
	// [MaxMirrorArtifacts] says.
	Mirrors []Mirror

	SourceDir string // root.json and timestamp.json that must be what is served; empty: not asked

	ValidDays        int // so many days from now all roles must still be valid
	OfflineValidDays int // the same of root and the targets roles; 0: not asked

	Artifacts    []string // these must be there
	AllArtifacts bool     // and everything that any targets role lists

	// Seen is what earlier checks saw, and is brought up to date. Nil: not asked.
	Seen *Seen

	Fetcher Fetcher          // nil: [NewFetcher]
	Now     func() time.Time // nil: time.Now; asked once
	Logger  *slog.Logger     // nil: no log

	sleep func(context.Context, time.Duration) error
}

// The checks, in the order of a report.
const (
	CheckInitialRoot = "initial-root"  // there is a root to start from
	CheckRoots       = "roots"         // every root is there and signed by the one before
	CheckConsistent  = "consistent"    // files have names with versions and hashes
	CheckMetadata    = "metadata"      // timestamp, snapshot and targets
	CheckRoles       = "roles"         // every targets role that any targets role delegates to
	CheckValid       = "valid"         // nothing expires too early
	CheckOffline     = "offline-valid" // the same of root and the targets roles
	CheckBase        = "base"          // a client can have the previous state
	CheckUpdate      = "update"        // a client can update to this one
	CheckMirrors     = "mirrors"       // mirrors serve the same
	CheckSource      = "source"        // what is served is what was to be published
	CheckArtifacts   = "artifacts"     // artifacts are there and are what was signed
	CheckSeen        = "seen"          // nothing is older or other than before
)

// beforeAll is a reference time at which nothing has expired, whatever date
// somebody has written down.
var beforeAll = time.Date(-10, 1, 1, 0, 0, 0, 0, time.UTC)

// Check is the smoke test of a published repository. It fetches all metadata, and
// artifacts if they are asked for, and goes on as far as anything can still be
// judged. Each fault is reported once, by the check that it belongs to.
//
// One client forgets expiry, so that one expired role hides nothing, and looks
// at everything. A second one, like any other, updates. Whoever starts from a
// later root has the rest of the same way to go, so the walk from the first root
// speaks for all of them.
//
// A fault of the repository or of the way to it is an outcome: ask
// [CheckReport.Err]. An error means that this machine could not do the
// checking, or that ctx ended.
func Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	k, err := newChecker(o)
	if err != nil {
		return nil, err
	}
	anchor := k.initialRoot(ctx)
	k.roots(ctx, anchor)
	k.consistent()
	k.metadata(ctx)
	k.delegated(ctx)
	k.valid()
	k.offlineValid()
	if err := k.update(ctx, anchor); err != nil {
		return nil, err
	}
	k.mirrors(ctx)
	k.compare(ctx)
	k.artifacts(ctx)
	k.history()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("check %s: %w", redact(o.MetadataURL), err)
	}
	return k.finish(), nil
}

// checker is one run of [Check].
type checker struct {
	CheckOptions
	*place
	report    *CheckReport
	now       time.Time
	get       *Client           // fetches, and trusts nothing
	source    map[string][]byte // by role: the files of SourceDir
	first     []byte            // the earliest root from which the way is good
	rootsGood bool              // seen came to the newest root
	rolesGood bool              // and through all targets roles
}

// place is where a repository is published, and what a client that forgets expiry
// has verified there.
type place struct {
	url        string // of the metadata, with its slash
	seen       *update
	documents  map[string]checked
	targetDocs []*metadata.Document // the targets roles, each once
}

// checked is a role that was verified, and where it was.
type checked struct {
	doc    *metadata.Document
	source string
}

func newChecker(o CheckOptions) (*checker, error) {
	k := &checker{CheckOptions: o, place: &place{documents: map[string]checked{}}, source: map[string][]byte{}}
	ours := k.Fetcher == nil
	if ours {
		k.Fetcher = NewFetcher()
	}
	if k.Now == nil {
		k.Now = time.Now
	}
	if k.Logger == nil {
		k.Logger = slog.New(slog.DiscardHandler)
	}
	if k.sleep == nil {
		k.sleep = sleep
	}
	k.now = k.Now().UTC()
	var err error
	if k.url, err = baseURL("metadata", o.MetadataURL, ours); err != nil {
		return nil, err
	}
	if o.BaseURL != "" {
		if _, err := baseURL("metadata", o.BaseURL, ours); err != nil {
			return nil, err
		}
	}
	for _, m := range o.Mirrors {
		if _, err := baseURL("metadata", m.MetadataURL, ours); err != nil {
			return nil, err
		}
		if m.TargetsURL != "" {
			if _, err := baseURL("targets", m.TargetsURL, ours); err != nil {
				return nil, err
			}
		}
	}
	if len(o.Artifacts) > 0 || o.AllArtifacts || o.TargetsURL != "" {
		if _, err := baseURL("targets", o.TargetsURL, ours); err != nil {
			return nil, err
		}
	}
	if o.Root != nil {
		if _, err := parseAnchor(o.Root); err != nil {
			return nil, &AnchorError{File: o.RootFile, Err: err}
		}
	}
	if s := o.Seen; s != nil && s.MetadataURL != "" && strings.TrimRight(s.MetadataURL, "/") != strings.TrimRight(redact(o.MetadataURL), "/") {
		return nil, &SeenFileError{File: "of earlier checks", Err: fmt.Errorf("it is of %s, and %s is checked", s.MetadataURL, redact(o.MetadataURL))}
	}
	if o.SourceDir != "" {
		for _, role := range []string{metadata.Root, metadata.Timestamp} {
			file := filepath.Join(o.SourceDir, role+".json")
			data, err := readFile(file, RootMaxLength)
			if err != nil {
				return nil, &SourceError{File: file, Err: reason(err)}
			}
			if versionOf(role, data) == 0 {
				return nil, &SourceError{File: file, Err: fmt.Errorf("it is no metadata of %s", role)}
			}
			k.source[role] = data
		}
	}
	k.get = &Client{fetcher: k.Fetcher, log: k.Logger, sleep: k.sleep}
	k.report = &CheckReport{Schema: 1, MetadataURL: redact(o.MetadataURL), Time: k.now, Roles: []CheckedRole{}, Mirrors: []CheckedMirror{}}
	return k, nil
}

// client makes a client that starts from root, at a time that stands.
func (k *checker) client(root []byte, o Options, now time.Time) (*Client, error) {
	o.Root, o.Fetcher, o.Now = root, k.Fetcher, func() time.Time { return now }
	c, err := New(o)
	if err == nil {
		c.sleep = k.sleep
	}
	return c, err
}

// initialRoot returns the root to start from: the one that was given, else the
// first one of the repository; nil where that cannot be used.
func (k *checker) initialRoot(ctx context.Context) []byte {
	if k.Root != nil {
		doc, _ := parseAnchor(k.Root) // newChecker did it before
		k.pass(CheckInitialRoot, "root v%d from %s", doc.Version(), k.rootFile())
		return k.Root
	}
	data, doc, err := k.firstRoot(ctx)
	if err != nil {
		k.fail(CheckInitialRoot, k.problem(err))
		return nil
	}
	k.pass(CheckInitialRoot, "root v%d of the repository itself, trusted on first use", doc.Version())
	return data
}

func (k *checker) rootFile() string {
	if k.RootFile == "" {
		return "the caller"
	}
	return k.RootFile
}

func (k *checker) firstRoot(ctx context.Context) ([]byte, *metadata.Document, error) {
	from := k.url + "1.root.json"
	data, err := k.get.fetchFrom(ctx, metadata.Root, from, RootMaxLength)
	if err != nil {
		return nil, nil, err
	}
	doc, err := parseAnchor(data)
	if err != nil {
		return nil, nil, &FormatError{Role: metadata.Root, Source: redact(from), Err: err}
	}
	if doc.Version() != 1 {
		return nil, nil, &VersionError{Role: metadata.Root, Source: redact(from), Want: 1, Got: doc.Version()}
	}
	return data, doc, nil
}

// roots walks from the anchor to the newest root and, where the anchor is not
// the first, from the first as well.
func (k *checker) roots(ctx context.Context, anchor []byte) {
	if anchor == nil {
		k.skip(CheckRoots, "there is no root to start from")
		return
	}
	u, err := k.walk(ctx, anchor, k.url)
	if u == nil {
		k.fail(CheckRoots, k.problem(err))
		return
	}
	k.seen, k.first = u, anchor
	first, last := u.anchor.Version(), u.root.Version()
	k.documents[metadata.Root] = checked{u.root, redact(k.url + fmt.Sprintf("%d.root.json", last))}
	if err != nil {
		k.fail(CheckRoots, k.problem(err))
		return
	}
	k.rootsGood = true
	var problems []Problem
	// A client takes the first number without a file for the end. A gap would
	// leave it on an old root without a word.
	// And many take nothing but 404 for the end.
	var fault *FetchError
	if _, err := k.get.fetchFrom(ctx, metadata.Root, k.url+fmt.Sprintf("%d.root.json", last+1), RootMaxLength); errors.As(err, &fault) && fault.Status == http.StatusForbidden {
		p := k.problem(err)
		p.Cause = CauseRepository
		p.Message += ": if the file does not exist clients that are built with go-tuf fail here, which take only 404 for the end of the roots; if it does no client sees it"
		p.Hint = "let the public read all files and list the place, or have the server answer 404 for what is not there"
		problems = append(problems, p)
	} else if _, err := k.get.fetchFrom(ctx, metadata.Root, k.url+fmt.Sprintf("%d.root.json", last+2), RootMaxLength); !isMissing(err) {
		if err == nil || !isUnreachable(err) {
			err = fmt.Errorf("%s does not exist, and %d.root.json does: clients stop at root v%d and never see what follows",
				redact(k.url+fmt.Sprintf("%d.root.json", last+1)), last+2, last)
		}
		problems = append(problems, k.problem(err))
	}
	warnings := 0
	if k.Root != nil {
		begin, p := k.walkFromFirst(ctx, u)
		if first = min(first, begin); p != nil {
			problems = append(problems, *p)
			if p.warning {
				warnings++
			}
		}
	}
	switch text := u.result.String(); {
	case len(problems) > warnings:
		k.fail(CheckRoots, problems...)
	case warnings > 0:
		k.warn(CheckRoots, problems...)
	case first < u.anchor.Version():
		k.pass(CheckRoots, "root %d -> %d, each signed by the one before; root v%d is on the way", first, last, u.anchor.Version())
	case first == last:
		k.pass(CheckRoots, "%s, the only one", text)
	default:
		k.pass(CheckRoots, "%s, each signed by the one before", text)
	}
}

// walk goes from an anchor to the newest root of a place with a client that
// forgets expiry. The update is not nil if there was a root to start from.
func (k *checker) walk(ctx context.Context, anchor []byte, url string) (*update, error) {
	c, err := k.client(anchor, Options{MetadataURL: url, TargetsURL: k.TargetsURL}, beforeAll)
	if err != nil {
		return nil, err
	}
	u := c.newUpdate()
	return u, u.updateRoot(ctx)
}

// walkFromFirst compares the way from 1.root.json with the way from the root
// that was given. It returns where the way begins that was found good.
func (k *checker) walkFromFirst(ctx context.Context, given *update) (begin int64, p *Problem) {
	anchor := given.anchor.Version()
	trouble := func(err error) (int64, *Problem) {
		p := k.problem(err)
		return anchor, &p
	}
	data, _, err := k.firstRoot(ctx)
	if isMissing(err) {
		p := k.problem(fmt.Errorf("%w: whoever has no root yet finds none here, and the way from root v1 cannot be checked", err))
		p.warning = true
		return anchor, &p
	}
	if err != nil {
		return trouble(err)
	}
	served := data
	if anchor > 1 {
		u, err := k.walk(ctx, data, k.url)
		if err != nil {
			return trouble(err)
		}
		if last := u.root.Version(); last < anchor {
			return trouble(fmt.Errorf("%s ends the way from root v1, and %s is v%d: clients that start from an earlier root never get there",
				redact(k.url+fmt.Sprintf("%d.root.json", last+1)), k.rootFile(), anchor))
		}
		served = u.cache.memory[filepath.Join(historyDir, fmt.Sprintf("%d.root.json", anchor))] // kept by the walk
	}
	doc, err := metadata.Parse(served)
	if err != nil {
		return trouble(err)
	}
	if !bytes.Equal(doc.Payload(), given.anchor.Payload()) {
		return trouble(fmt.Errorf("%s has another content than %s: there are two roots v%d, or these are two repositories",
			redact(k.url+fmt.Sprintf("%d.root.json", anchor)), k.rootFile(), anchor))
	}
	k.first = data
	return 1, nil
}

func (k *checker) consistent() {
	switch {
	case !k.rootsGood:
		k.skip(CheckConsistent, "the newest root is not known")
	case !k.seen.root.ConsistentSnapshot():
		k.fail(CheckConsistent, Problem{Cause: CauseRepository,
			Message: fmt.Sprintf("root v%d from %s does not set consistent_snapshot, so a client that updates while you publish may see half of it",
				k.seen.root.Version(), k.documents[metadata.Root].source),
			Hint: "have a root signed that sets consistent_snapshot to true"})
	default:
		k.pass(CheckConsistent, "file names carry versions and hashes")
	}
}

// metadata verifies the other top-level roles, each of which stands on the one
// before.
func (k *checker) metadata(ctx context.Context) {
	if !k.rootsGood {
		k.skip(CheckMetadata, "the newest root is not known")
		return
	}
	u := k.seen
	for _, step := range []struct {
		role string
		run  func(context.Context) error
		doc  **metadata.Document
	}{
		{metadata.Timestamp, u.updateTimestamp, &u.timestamp},
		{metadata.Snapshot, u.updateSnapshot, &u.snapshot},
		{metadata.Targets, u.updateTargets, &u.targets},
	} {
		if err := step.run(ctx); err != nil {
			k.fail(CheckMetadata, k.problem(err))
			return
		}
		k.documents[step.role] = checked{*step.doc, k.fileURL(step.role, (*step.doc).Version())}
	}
	k.targetDocs = append(k.targetDocs, u.targets)
	u.current = u // artifacts are looked up in what was seen
	k.pass(CheckMetadata, "timestamp v%d, snapshot v%d, targets v%d", u.timestamp.Version(), u.snapshot.Version(), u.targets.Version())
}

func (p *place) fileURL(role string, version int64) string {
	if role == metadata.Timestamp {
		return redact(p.url + "timestamp.json")
	}
	return redact(p.url + p.seen.versioned(role, version))
}

// delegated verifies every targets role.
func (k *checker) delegated(ctx context.Context) {
	if !k.reachedTargets() {
		k.skip(CheckRoles, "targets is not known")
		return
	}
	problems := k.below(ctx, k.place)
	k.rolesGood = problems == nil
	switch n := len(k.targetDocs) - 1; {
	case problems != nil:
		k.fail(CheckRoles, problems...)
	case n == 0:
		k.pass(CheckRoles, "targets delegates to no other role")
	case n == 1:
		k.pass(CheckRoles, "the one role that targets delegates to")
	default:
		k.pass(CheckRoles, "all %d roles below targets", n)
	}
}

// below verifies every targets role of a place, for every role that delegates to
// it. The snapshot lists them all, so its length bounds how many there are.
func (k *checker) below(ctx context.Context, p *place) (problems []Problem) {
	for next := 0; next < len(p.targetDocs); next++ {
		delegator := p.targetDocs[next]
		by := p.roleOf(delegator)
		for _, d := range p.delegations(delegator) {
			if d.Role == metadata.Targets {
				continue // a lookup never goes back there
			}
			if slices.Contains(metadata.TopLevel, d.Role) {
				problems = append(problems, k.problem(&FormatError{Role: by, Source: p.documents[by].source,
					Err: fmt.Errorf("it delegates to a role with the reserved name %s", d.Role)}))
				continue
			}
			doc, state, err := p.seen.loadTargets(ctx, delegator, by, d)
			if err != nil {
				problems = append(problems, k.problem(err))
				continue
			}
			if _, known := p.documents[d.Role]; !known {
				p.documents[d.Role] = checked{doc, p.fileURL(d.Role, state.Version)}
				p.targetDocs = append(p.targetDocs, doc)
			}
		}
	}
	return problems
}

func (p *place) roleOf(doc *metadata.Document) string {
	for role, c := range p.documents {
		if c.doc == doc {
			return role
		}
	}
	return ""
}

// delegations are those of a targets role. Of hash bins they are the ones that
// the snapshot lists: there may be four thousand million of the others.
func (p *place) delegations(doc *metadata.Document) []metadata.Delegation {
	all := doc.Delegations()
	if all == nil || all.Succinct == nil {
		if all == nil {
			return nil
		}
		return all.Roles
	}
	var bins []metadata.Delegation
	for _, file := range slices.Sorted(maps.Keys(p.seen.snapshot.Meta())) {
		if d, ok := doc.Delegation(strings.TrimSuffix(file, ".json")); ok {
			bins = append(bins, d)
		}
	}
	return bins
}

func (k *checker) reachedTargets() bool { return k.seen != nil && k.seen.targets != nil }

// valid says what of all that was seen expires before its time.
func (k *checker) valid() {
	k.validUntil(CheckValid, k.ValidDays, func(string) bool { return true })
}

func (k *checker) offlineValid() {
	if k.OfflineValidDays != 0 {
		k.validUntil(CheckOffline, k.OfflineValidDays, func(role string) bool { return !metadata.IsOnline(role) })
	}
}

func (k *checker) validUntil(check string, days int, wanted func(role string) bool) {
	until := k.now.AddDate(0, 0, days)
	first := ""
	var problems []Problem
	for _, role := range k.order() {
		c := k.documents[role]
		if !wanted(role) || role == metadata.Root && !k.rootsGood { // an older root may be expired
			continue
		}
		if first == "" || c.doc.Expires().Before(k.documents[first].doc.Expires()) {
			first = role
		}
		if c.doc.Expired(until) {
			problems = append(problems, k.problem(&EarlyExpiryError{Role: role, Version: c.doc.Version(), Source: c.source,
				Expires: c.doc.Expires(), Now: k.now, Days: days}))
		}
	}
	switch {
	case problems != nil:
		k.fail(check, problems...)
	case !k.rootsGood:
		k.skip(check, "the newest root is not known")
	case !k.reachedTargets() || !k.rolesGood:
		k.skip(check, "not all roles are known; those that are do not expire too early")
	default:
		c := k.documents[first]
		when := "now"
		if days > 0 {
			when = "at " + until.Format(time.RFC3339)
		}
		k.pass(check, "all are valid %s; %s v%d expires first, at %s", when, first, c.doc.Version(), c.doc.Expires().Format(time.RFC3339))
	}
}

// order is how roles are listed: the top-level ones, then the others by name.
func (p *place) order() []string {
	var list []string
	for _, role := range metadata.TopLevel {
		if _, ok := p.documents[role]; ok {
			list = append(list, role)
		}
	}
	for _, role := range slices.Sorted(maps.Keys(p.documents)) {
		if !slices.Contains(metadata.TopLevel, role) {
			list = append(list, role)
		}
	}
	return list
}

// update updates with a client like any other, which begins with the previous
// state if that is asked for. An error is one of this machine.
func (k *checker) update(ctx context.Context, anchor []byte) error {
	if anchor == nil {
		if k.BaseURL != "" {
			k.skip(CheckBase, "there is no root to start from")
		}
		k.skip(CheckUpdate, "there is no root to start from")
		return nil
	}
	if k.seen == nil { // the anchor is none
		k.skip(CheckUpdate, "there is no root to start from")
		return nil
	}
	var memory *cache
	refresh := func(from string) (*Client, *Result, error) {
		c, err := k.client(anchor, Options{MetadataURL: from, CacheDir: k.MetadataDir, Logger: k.Logger}, k.now)
		if err != nil {
			return nil, &Result{}, err
		}
		if k.MetadataDir == "" {
			if memory == nil {
				memory = c.cache
			}
			c.cache = memory
		}
		r, err := c.Refresh(ctx)
		return c, r, err
	}
	var disk *CacheError
	if k.BaseURL != "" {
		_, r, err := refresh(k.BaseURL)
		var expired *ExpiredError
		switch {
		case err == nil:
			k.pass(CheckBase, "%s", r)
		case errors.As(err, &disk):
			return err
		case errors.As(err, &expired):
			p := k.problem(err)
			p.Hint = "clients may well be on a state that has expired; take a newer one to try more of them"
			k.warn(CheckBase, p)
		default:
			p := k.problem(err)
			if p.Cause == CauseRepository {
				p.Cause = CausePrevious
				p.Hint = "this is about the previous state: look whether --update-base-url names the right place"
			}
			k.fail(CheckBase, p)
		}
	}
	c, r, err := refresh(k.MetadataURL)
	if err == nil && k.MetadataDir != "" {
		err = k.fill(ctx, c)
	}
	switch {
	case err == nil:
		k.pass(CheckUpdate, "%s", r)
	case errors.As(err, &disk):
		return err
	case !k.reachedTargets() || k.expiredNow():
		k.skip(CheckUpdate, "clients stop at what is said above")
	default:
		p := k.problem(err)
		if p.Cause == CauseRepository {
			// Who begins with nothing gets there, so it is what was there before.
			p.Hint = "clients that were here before refuse this, new ones do not: an old state was published, or a cache in front of the server has one; wait until it has expired, then publish again with tufops publish --deep"
		}
		k.fail(CheckUpdate, p)
	}
	return nil
}

// expiredNow reports whether a role has expired without which no client
// updates.
func (k *checker) expiredNow() bool {
	for _, role := range metadata.TopLevel {
		if k.documents[role].doc.Expired(k.now) {
			return true
		}
	}
	return false
}

// fill leaves the delegated roles in the cache directory as well. What is wrong
// with them has been said.
func (k *checker) fill(ctx context.Context, c *Client) error {
	u := c.current
	var disk *CacheError
	visited := map[string]bool{metadata.Targets: true}
	docs := map[string]*metadata.Document{metadata.Targets: u.targets}
	for queue := []string{metadata.Targets}; len(queue) > 0; queue = queue[1:] {
		for _, d := range k.delegations(docs[queue[0]]) {
			if _, good := k.documents[d.Role]; !good || visited[d.Role] {
				continue
			}
			visited[d.Role] = true
			doc, _, err := u.loadTargets(ctx, docs[queue[0]], queue[0], d)
			if errors.As(err, &disk) {
				return err
			}
			if err == nil {
				docs[d.Role] = doc
				queue = append(queue, d.Role)
			}
		}
	}
	return nil
}

// compare holds what is served against the files that were to be published.
// Whether it verifies does not matter here: that the two are the same tells a
// bad main from somebody who writes to the server.
func (k *checker) compare(ctx context.Context) {
	if k.SourceDir == "" {
		return
	}
	var problems []Problem
	name := fmt.Sprintf("%d.root.json", versionOf(metadata.Root, k.source[metadata.Root]))
	var got []byte
	var err error
	if k.rootsGood {
		name, got = fmt.Sprintf("%d.root.json", k.seen.root.Version()), k.seen.root.Raw()
	} else {
		got, err = k.get.fetchFrom(ctx, metadata.Root, k.url+name, RootMaxLength)
	}
	problems = append(problems, k.same(metadata.Root, name, got, err)...)

	got, err = nil, nil
	if k.seen != nil && k.seen.timestamp != nil {
		got = k.seen.timestamp.Raw()
	} else {
		got, err = k.get.fetchFrom(ctx, metadata.Timestamp, k.url+"timestamp.json", TimestampMaxLength)
	}
	problems = append(problems, k.same(metadata.Timestamp, "timestamp.json", got, err)...)
	if problems != nil {
		k.fail(CheckSource, problems...)
		return
	}
	k.pass(CheckSource, "root.json and timestamp.json are those in %s", k.SourceDir)
}

func (k *checker) same(role, name string, got []byte, err error) []Problem {
	want := k.source[role]
	switch {
	case err != nil:
		return []Problem{k.problem(err)}
	case bytes.Equal(got, want):
		return nil
	}
	return []Problem{k.problem(&SourceMismatchError{Role: role, Source: redact(k.url + name), File: filepath.Join(k.SourceDir, role+".json"),
		Served: versionOf(role, got), Wanted: versionOf(role, want), ServedSum: sha256.Sum256(got), WantedSum: sha256.Sum256(want)})}
}

// versionOf is the version that a file states; 0 where it is no metadata of
// the role.
func versionOf(role string, data []byte) int64 {
	doc, err := metadata.Parse(data)
	if err != nil || doc.Type() != role {
		return 0
	}
	return doc.Version()
}

// maxUnreachable is how many artifacts in a row may be unreachable before the
// rest is left alone: each of them is waited for.
const maxUnreachable = 3

// artifacts fetches artifacts to their end and keeps nothing of them.
func (k *checker) artifacts(ctx context.Context) {
	if len(k.Artifacts) == 0 && !k.AllArtifacts {
		return
	}
	if !k.reachedTargets() {
		k.skip(CheckArtifacts, "targets is not known")
		return
	}
	paths := map[string]bool{}
	if k.AllArtifacts {
		paths = k.listed()
	}
	for _, path := range k.Artifacts {
		paths[path] = true
	}
	var bytes int64
	list := slices.Sorted(maps.Keys(paths))
	problems := k.each(list, func(path string) error {
		info, from, err := k.lookUp(ctx, path)
		if err == nil {
			err = k.seen.transfer(ctx, from, info.discard)
		}
		if err == nil {
			bytes += info.Length
		}
		return err
	})
	switch {
	case problems != nil:
		k.fail(CheckArtifacts, problems...)
	case len(list) == 1:
		k.pass(CheckArtifacts, "%s, %d bytes", list[0], bytes)
	case len(list) == 0:
		k.pass(CheckArtifacts, "no role lists any")
	default:
		k.pass(CheckArtifacts, "all %d, %d bytes", len(list), bytes)
	}
}

// listed are the artifacts that any targets role lists.
func (p *place) listed() map[string]bool {
	paths := map[string]bool{}
	for _, doc := range p.targetDocs {
		for path := range doc.Targets() {
			paths[path] = true
		}
	}
	return paths
}

// lookUp looks an artifact up as any client does.
func (p *place) lookUp(ctx context.Context, path string) (TargetInfo, request, error) {
	info, u, err := p.seen.target(ctx, path)
	if err != nil {
		return info, request{}, err
	}
	from, err := u.artifact(info)
	return info, from, err
}

// discard reads an artifact to its end.
func (t TargetInfo) discard(source string, r io.Reader) error { return t.copy(io.Discard, r, source) }

// each looks at artifacts one after the other, and gives up where it would only
// wait.
func (k *checker) each(list []string, look func(path string) error) (problems []Problem) {
	unreachable := 0
	for i, path := range list {
		err := look(path)
		if err == nil {
			unreachable = 0
			continue
		}
		problems = append(problems, k.problem(err))
		if unreachable++; !isUnreachable(err) {
			unreachable = 0
		}
		if rest := len(list) - i - 1; unreachable == maxUnreachable && rest > 0 {
			return append(problems, Problem{Cause: CauseUnreachable,
				Message: fmt.Sprintf("gave up after %d artifacts in a row that could not be fetched: %d more were not tried", maxUnreachable, rest),
				Hint:    (&FetchError{}).Hint()})
		}
	}
	return problems
}

func isMissing(err error) bool {
	var missing *NotFoundError
	return errors.As(err, &missing)
}

func isUnreachable(err error) bool {
	var fetch *FetchError
	return errors.As(err, &fetch)
}
