package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/metadata"
)

// The errors of this package are typed, to be told apart with errors.As. Each
// says which role, version and file it is about, and its Hint what to do next.

// AnchorError says that the root to start from cannot be used: it is missing,
// is not a root, or is not signed by its own keys.
type AnchorError struct {
	File string // empty for [Options.Root]
	Err  error
}

func (e *AnchorError) Error() string {
	if e.File == "" {
		return "the initial root cannot be used: " + e.Err.Error()
	}
	return fmt.Sprintf("the initial root %s cannot be used: %v", e.File, e.Err)
}

func (e *AnchorError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *AnchorError) Hint() string {
	return "start from a root.json that you obtained from somebody you trust, complete and unchanged"
}

// NoAnchorError says that neither a root was given nor the cache directory has
// one.
type NoAnchorError struct{ Dir string }

func (e *NoAnchorError) Error() string {
	if e.Dir == "" {
		return "there is no root to start from"
	}
	return fmt.Sprintf("%s holds no root to start from", e.Dir)
}

// Hint says what to do next.
func (e *NoAnchorError) Hint() string {
	if e.Dir == "" {
		return "give a root.json that you trust"
	}
	return fmt.Sprintf("give a root.json that you trust: tufops-client --metadata-dir %s init ROOT", e.Dir)
}

// URLError says that [Options] hold a URL that cannot be used.
type URLError struct {
	Of     string // metadata or targets
	URL    string
	Reason string
}

func (e *URLError) Error() string {
	return fmt.Sprintf("the URL of the %s is %q: %s", e.Of, e.URL, e.Reason)
}

// Hint says what to do next.
func (e *URLError) Hint() string {
	return fmt.Sprintf("give a URL like https://tuf.example.org/%s or file:///srv/tuf/%s", e.Of, e.Of)
}

// FormatError says that a file is not metadata of the role that was asked for.
type FormatError struct {
	Role   string
	Source string // URL or file
	Err    error
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s from %s: %v", e.Role, e.Source, e.Err)
}

func (e *FormatError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *FormatError) Hint() string {
	return "the repository or something on the way to it serves a broken file: compare with another network, then report it to the repository's maintainers"
}

// QuorumError says that a role is not signed by enough of its keys.
type QuorumError struct {
	Role      string
	Version   int64
	Source    string
	By        string // the role whose keys count
	ByVersion int64  // and its version
	Quorum    metadata.Quorum
}

func (e *QuorumError) Error() string {
	var missing []string
	for _, k := range e.Quorum.Missing {
		name := k.ID
		if len(name) > 8 {
			name = name[:8]
		}
		if h := k.Holder(); h != "" {
			name = h
		}
		missing = append(missing, name)
	}
	text := fmt.Sprintf("%s v%d from %s has %d of the %d signatures that %s v%d asks for",
		e.Role, e.Version, e.Source, e.Quorum.Count, e.Quorum.Threshold, e.By, e.ByVersion)
	if len(missing) > 0 {
		text += "; no valid signature by " + strings.Join(missing, ", ")
	}
	return text
}

// Hint says what to do next.
func (e *QuorumError) Hint() string {
	return "do not use this file: it is a publishing mistake or an attack; report it to the repository's maintainers"
}

// ExpiredError says that a role was no longer valid when the update began.
type ExpiredError struct {
	Role    string
	Version int64
	Source  string
	Expires time.Time
	Now     time.Time // the reference time of the update
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("%s v%d from %s expired at %s, and it is %s",
		e.Role, e.Version, e.Source, e.Expires.Format(time.RFC3339), e.Now.Format(time.RFC3339))
}

// Hint says what to do next.
func (e *ExpiredError) Hint() string {
	return "check this machine's clock; if it is right, the repository has not been renewed, or somebody withholds the renewal"
}

// RollbackError says that a repository offers something older than what this
// client has seen before.
type RollbackError struct {
	Role    string
	Version int64 // what is offered; 0: the role is no longer listed
	Trusted int64 // what was seen before
	In      string
	Source  string
}

func (e *RollbackError) Error() string {
	switch {
	case e.Version == 0:
		return fmt.Sprintf("%s from %s no longer lists %s, which it listed before with v%d", e.In, e.Source, e.Role, e.Trusted)
	case e.In == "":
		return fmt.Sprintf("%s from %s goes back from v%d to v%d", e.Role, e.Source, e.Trusted, e.Version)
	}
	return fmt.Sprintf("%s from %s takes %s back from v%d to v%d", e.In, e.Source, e.Role, e.Trusted, e.Version)
}

// Hint says what to do next.
func (e *RollbackError) Hint() string {
	return "the mirror is behind or somebody replays old files: try again later; if it stays so, report it to the repository's maintainers"
}

// VersionError says that a file has another version than its place promises.
type VersionError struct {
	Role   string
	Source string
	Want   int64
	Got    int64
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s from %s is v%d and should be v%d", e.Role, e.Source, e.Got, e.Want)
}

// Hint says what to do next.
func (e *VersionError) Hint() string { return (&FormatError{}).Hint() }

// UnlistedError says that a role is delegated to, and the snapshot does not
// list it.
type UnlistedError struct {
	Role     string
	In       string // snapshot or timestamp
	Version  int64
	Delegate string // the delegating role
}

func (e *UnlistedError) Error() string {
	return fmt.Sprintf("%s v%d does not list %s, to which %s delegates", e.In, e.Version, e.Role, e.Delegate)
}

// Hint says what to do next.
func (e *UnlistedError) Hint() string {
	return "the repository is inconsistent: report it to its maintainers"
}

// LengthError says that a file is longer than it may be, or shorter or longer
// than it should be.
type LengthError struct {
	Name   string // what was read
	Source string
	Exact  bool  // Want is the length, not the most that is read
	Want   int64 // bytes
	Got    int64 // bytes; where the file is longer, only that it is more than Want
}

func (e *LengthError) Error() string {
	switch {
	case e.Exact && e.Got < e.Want:
		return fmt.Sprintf("%s from %s ends after %d of %d bytes", e.Name, e.Source, e.Got, e.Want)
	case e.Exact:
		return fmt.Sprintf("%s from %s is longer than the %d bytes it should have", e.Name, e.Source, e.Want)
	}
	return fmt.Sprintf("%s from %s is longer than the %d bytes it may have", e.Name, e.Source, e.Want)
}

// Hint says what to do next.
func (e *LengthError) Hint() string {
	return "something between this machine and the repository alters or cuts off files: try another network or mirror"
}

// HashError says that the content of a file is not what signed metadata says
// it is.
type HashError struct {
	Name      string
	Source    string
	Algorithm string // empty: signed metadata states no hash that this client knows
	Want      string
	Got       string
}

func (e *HashError) Error() string {
	if e.Algorithm == "" {
		return fmt.Sprintf("%s cannot be verified: its metadata states no hash by sha256, sha384 or sha512", e.Name)
	}
	return fmt.Sprintf("%s from %s has %s %s and should have %s", e.Name, e.Source, e.Algorithm, e.Got, e.Want)
}

// Hint says what to do next.
func (e *HashError) Hint() string {
	if e.Algorithm == "" {
		return "the repository's maintainers must publish a sha256"
	}
	return (&LengthError{}).Hint()
}

// TargetNotFoundError says that the repository has no artifact of that name:
// no role that is responsible for the path lists it.
type TargetNotFoundError struct {
	Path    string
	Visited []string // the roles that were asked, in order
}

func (e *TargetNotFoundError) Error() string {
	return fmt.Sprintf("the repository has no artifact %q (asked: %s)", e.Path, strings.Join(e.Visited, ", "))
}

// Hint says what to do next.
func (e *TargetNotFoundError) Hint() string {
	return "check the spelling; names are case-sensitive and contain the directories"
}

// LimitError says that a repository asks for more work than a client does.
type LimitError struct {
	What  string
	Limit int
	Next  string // what to do
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("stopped after %d %s", e.Limit, e.What)
}

// Hint says what to do next.
func (e *LimitError) Hint() string { return e.Next }

// NotCachedError says that an offline client misses a file.
type NotCachedError struct {
	Name string
	Dir  string
}

func (e *NotCachedError) Error() string {
	if e.Dir == "" {
		return fmt.Sprintf("%s is not in the cache, or what is there does not verify", e.Name)
	}
	return fmt.Sprintf("%s is not in %s, or what is there does not verify", e.Name, e.Dir)
}

// Hint says what to do next.
func (e *NotCachedError) Hint() string { return "run once with the network, without --offline" }

// CacheError says that a directory of this machine cannot be used.
type CacheError struct {
	Do   string // what was tried
	Path string
	Err  error
}

func (e *CacheError) Error() string { return fmt.Sprintf("%s %s: %v", e.Do, e.Path, e.Err) }

func (e *CacheError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *CacheError) Hint() string {
	return "check that the directory exists, that this user may write to it and that the disk is not full, or name another one"
}

// NotFoundError says that a server has no such file.
type NotFoundError struct{ URL string }

func (e *NotFoundError) Error() string { return e.URL + " does not exist" }

// Hint says what to do next.
func (e *NotFoundError) Hint() string {
	return "check the URL; if it is right, the repository is incomplete: report it to its maintainers"
}

// FetchError says that a file could not be fetched for a reason other than that
// it does not exist.
type FetchError struct {
	URL    string
	Status int // HTTP status; 0 where there was no answer
	Err    error
	// Transient says that trying again may help. RetryAfter is how long the
	// server asked to wait; 0 where it did not.
	Transient  bool
	RetryAfter time.Duration
}

func (e *FetchError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("fetch %s: HTTP status %d", e.URL, e.Status)
	}
	return fmt.Sprintf("fetch %s: %v", e.URL, e.Err)
}

func (e *FetchError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *FetchError) Hint() string {
	var proxy *ProxyError
	switch {
	case errors.As(e.Err, &proxy):
		return proxy.Hint()
	case e.Status == 401 || e.Status == 403:
		return "the server refuses access: check the URL and what this machine may read"
	case e.Status != 0 && !e.Transient:
		return "check the URL"
	}
	return "check the network and the URL, then try again"
}

// MirrorsError says that none of several mirrors has served a file. What each of
// them did can be found with errors.As.
type MirrorsError struct {
	Name     string  // of the role or the artifact
	Failures []error // one for each mirror, each with its URL
}

// mirrorsError is the failure of all mirrors: where there is one, its own.
func mirrorsError(name string, failures []error) error {
	failures = slices.DeleteFunc(slices.Clone(failures), func(err error) bool { return err == nil })
	if len(failures) == 1 {
		return failures[0]
	}
	return &MirrorsError{Name: name, Failures: failures}
}

func (e *MirrorsError) Error() string {
	var texts []string
	for _, err := range e.Failures {
		texts = append(texts, err.Error())
	}
	return fmt.Sprintf("none of %d mirrors serves %s as it should be: %s", len(e.Failures), e.Name, strings.Join(texts, "; "))
}

func (e *MirrorsError) Unwrap() []error { return e.Failures }

// Hint says what to do next.
func (e *MirrorsError) Hint() string {
	return "check the network and the URLs; if the mirrors can be reached, report it to the repository's maintainers"
}

// SlowError says that a server sends too slowly to be waited for.
type SlowError struct {
	Idle time.Duration // nothing came for so long; 0: the whole took too long
	All  time.Duration // the whole took longer than this
}

func (e *SlowError) Error() string {
	if e.Idle > 0 {
		return fmt.Sprintf("nothing came for %v", e.Idle)
	}
	return fmt.Sprintf("it took longer than %v", e.All)
}

// EarlyExpiryError says that a role of a checked repository expires before it
// should, or has.
type EarlyExpiryError struct {
	Role    string
	Version int64
	Source  string
	Expires time.Time
	Now     time.Time
	Days    int // it should be valid for so long
}

func (e *EarlyExpiryError) Error() string {
	if !e.Expires.After(e.Now) {
		return fmt.Sprintf("%s v%d from %s expired at %s, and it is %s",
			e.Role, e.Version, e.Source, e.Expires.Format(time.RFC3339), e.Now.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s v%d from %s expires at %s, and should be valid at %s, which is %d days from now",
		e.Role, e.Version, e.Source, e.Expires.Format(time.RFC3339), e.Now.AddDate(0, 0, e.Days).Format(time.RFC3339), e.Days)
}

// Hint says what to do next.
func (e *EarlyExpiryError) Hint() string {
	if metadata.IsOnline(e.Role) {
		return "run tufops online-sign --push and tufops publish; if they run by themselves, look why they failed"
	}
	return "it needs a new version that people sign: tufops create-signing-events --push opens the signing event if there is none; when it is merged, publish"
}

// SourceError says that a directory does not hold what a published repository
// is to be compared with.
type SourceError struct {
	File string
	Err  error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("compare with %s: %v", e.File, e.Err)
}

func (e *SourceError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *SourceError) Hint() string {
	return "name the metadata directory of a checkout: it holds root.json and timestamp.json"
}

// SourceMismatchError says that a repository serves another file than was to be
// published.
type SourceMismatchError struct {
	Role                 string
	Source               string // what is served
	File                 string // what was to be published
	Served, Wanted       int64  // their versions; 0 for a file that is no metadata of the role
	ServedSum, WantedSum [sha256.Size]byte
}

func (e *SourceMismatchError) Error() string {
	served := "no metadata of " + e.Role
	if e.Served != 0 {
		served = fmt.Sprintf("%s v%d", e.Role, e.Served)
	}
	text := fmt.Sprintf("%s is %s, and %s is v%d", e.Source, served, e.File, e.Wanted)
	if e.Served == e.Wanted {
		text += fmt.Sprintf(" as well with other bytes: sha256 %x and %x", e.ServedSum, e.WantedSum)
	}
	return text
}

// Hint says what to do next.
func (e *SourceMismatchError) Hint() string {
	switch {
	case e.Served == 0:
		return "somebody else writes to that place, or something in between answers: look at the file, then publish again with tufops publish --deep"
	case e.Served < e.Wanted:
		return "publish; if that was done, a cache still has the old file: wait until it has expired and check again"
	case e.Served > e.Wanted:
		return "bring the checkout up to date (git pull) and check again; if it is, somebody else publishes to that place"
	}
	return "publish again with tufops publish --deep; if it stays, somebody else publishes to that place"
}

// CheckError says that a [Check] found a repository bad, or could not see it.
type CheckError struct{ Report *CheckReport }

func (e *CheckError) Error() string { return e.Report.Summary() }

// Hint says what to do next.
func (e *CheckError) Hint() string {
	if p := e.Report.worst(); p != nil {
		return p.Hint
	}
	return ""
}
