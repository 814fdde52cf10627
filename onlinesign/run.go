package onlinesign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Options are what online signing works with.
type Options struct {
	Repository *repository.Repository
	Keys       Keys
	Now        time.Time
	// Remote is where to push; "" for not at all.
	Remote string
	// DryRun stops before the first key is asked for. What would be signed is
	// reported all the same.
	DryRun bool
	Log    *slog.Logger // nil: silent

	// Patience is how long one call of a key service may take; 0 for [Patience].
	Patience time.Duration
	after    func(time.Duration, func()) (stop func() bool) // nil: the clock

	// Live are places where clients get the timestamp. What they serve keeps the
	// next version above it; where one cannot be read that is a warning, since it
	// must not stop the timestamp.
	Live []Live
}

// Live is a place where clients get the timestamp.
type Live struct {
	URL string
	// Read reads what is served as timestamp.json. It ends with ctx, and bounds
	// what it reads and how long that takes.
	Read func(ctx context.Context) ([]byte, error)
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Result is what a run did, or would do.
type Result struct {
	Commit git.OID // the branch's head afterwards
	// Signed is in the order snapshot, timestamp; empty where nothing was due.
	Signed []Signed
	// Blocked are the findings on main that keep the content of the snapshot as
	// it is. That is an outcome: the timestamp has been renewed all the same.
	Blocked []repository.Finding
	// Warnings are what clients may feel although the run succeeded.
	Warnings []string
	// Outage is how long online signing may stand still before clients stop, at
	// the worst moment: the shorter of the two signing periods.
	Outage time.Duration
}

// ShortOutage is the [Result.Outage] below which people should be warned: a weekend.
const ShortOutage = 48 * time.Hour

// Signed is one new version of an online role.
type Signed struct {
	Role     string
	Version  int64
	Previous int64 // 0 for the first
	Why      repository.Reason
	Expires  time.Time
	Meta     map[string]int64 // what it lists: file name to version
	Keys     []string         // online URIs of the keys that signed, the outgoing ones last; none on a dry run
}

// maxAttempts bounds how often a push that lost a race is tried again.
const maxAttempts = 5

// QuorumError says that too few of a role's keys are online to sign it. Nothing
// was written.
type QuorumError struct {
	Role             string
	Count, Threshold int
	Errs             []error // why the others did not sign
}

func (e *QuorumError) Error() string {
	text := fmt.Sprintf("sign %s: %d of %d signatures", e.Role, e.Count, e.Threshold)
	for i, err := range e.Errs {
		text += map[bool]string{true: ": ", false: "; "}[i == 0] + err.Error()
	}
	return text
}

func (e *QuorumError) Unwrap() []error { return e.Errs }

// Hint says what to do where no key has failed; else the key's error does.
func (e *QuorumError) Hint() string {
	if len(e.Errs) > 0 {
		return ""
	}
	return "too few of its keys have an online URI: tufops-sign delegate EVENT timestamp --online-key URI"
}

// Note says in what state things were left.
func (e *QuorumError) Note() string { return "nothing was committed or pushed" }

// Run brings snapshot and timestamp up to date at the head of the checked-out
// branch: one commit, or none where nothing is due. If the branch moves
// meanwhile it starts over from where it is then. A second call does nothing.
//
// A fault in what people sign is no error: the timestamp is renewed over the
// content of the snapshot that there is, and [Result.Blocked] says why. A root
// chain that does not hold is one, and so is a key that cannot be used.
func Run(ctx context.Context, o Options) (Result, error) {
	live, unread, err := o.live(ctx)
	if err != nil {
		return Result{}, err
	}
	var r Result
	err = onBranch(ctx, o, func(head git.OID) (_ git.OID, err error) {
		r, err = sign(ctx, o, head, live)
		r.Warnings = append(unread, r.Warnings...)
		return r.Commit, err
	})
	if err != nil {
		return Result{}, err
	}
	return r, nil
}

// live reads what clients are served; unread says of which places it cannot be.
func (o Options) live(ctx context.Context) (list []repository.Live, unread []string, err error) {
	for _, l := range o.Live {
		data, err := l.Read(ctx)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			unread = append(unread, fmt.Sprintf("%s: what clients are served cannot be read, so the next version goes on from main alone: %v", l.URL, err))
			continue
		}
		list = append(list, repository.Live{Where: l.URL, Data: data})
	}
	return list, slices.Clip(unread), nil
}

// outage is how long online signing may stand still. A version is renewed when its
// signing period begins, or later: so much is left of its life then, at
// most.
func outage(root *metadata.Document) time.Duration {
	shortest := int64(-1)
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
		d, _ := root.Delegation(role)
		if days := metadata.PeriodOf(d.Object).Signing; shortest < 0 || days < shortest {
			shortest = days
		}
	}
	const most = 100 * 365
	return time.Duration(min(max(shortest, 0), most)) * 24 * time.Hour
}

// onBranch has work make commits on top of the branch's head, and moves the
// branch there: at the remote first, then here. A crash before the push leaves
// objects that nothing refers to; one after it leaves the checkout behind the
// remote. The next run starts from whichever of the two is ahead, finds its work
// done, and moves the other.
func onBranch(ctx context.Context, o Options, work func(head git.OID) (git.OID, error)) error {
	branch, err := o.Repository.Git.OpenBranch(ctx, o.Remote)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		head, err := work(branch.Head())
		if err != nil || o.DryRun {
			return err
		}
		if err = branch.Move(ctx, head); err == nil {
			if branch.Pushed() {
				o.log().Info("pushed", "branch", branch.Name(), "commit", head.Short())
			}
			return nil
		}
		again, err := branch.Again(ctx, err)
		if !again {
			return err
		}
		if attempt == maxAttempts {
			return fmt.Errorf("branch %s moved during each of %d attempts to sign: run the same again", branch.Name(), attempt)
		}
		o.log().Info("the branch moved meanwhile: starting over", "branch", branch.Name())
	}
}

// sign makes one commit on head, or none.
func sign(ctx context.Context, o Options, head git.OID, live []repository.Live) (Result, error) {
	result, edit, err := prepare(ctx, o, head, live)
	if err != nil || edit == nil || o.DryRun {
		return result, err
	}
	message := "Online sign (timestamp)"
	if result.Signed[0].Role == metadata.Snapshot {
		message = "Online sign (snapshot & timestamp)"
	}
	result.Commit, err = commit(ctx, o, head, edit, message)
	return result, err
}

// prepare signs what is due at head; edit is nil where nothing is.
func prepare(ctx context.Context, o Options, head git.OID, live []repository.Live) (result Result, edit *repository.Edit, err error) {
	result = Result{Commit: head}
	signable, err := o.Repository.Signable(ctx, head)
	if err != nil {
		return result, nil, err
	}
	online, err := signable.For(head)
	if err != nil {
		return result, nil, err
	}
	due, err := online.Renew(ctx, o.Now, live...)
	if err != nil {
		return result, nil, err
	}
	result.Blocked, result.Warnings, result.Outage = due.Blocked, due.Notes, outage(online.Root)
	if len(due.List) == 0 {
		return result, nil, nil
	}
	keys := o.keyring()
	for _, renewal := range due.List {
		if renewal.From != "" {
			result.Warnings = append(result.Warnings, fmt.Sprintf("%s.json at commit %.10s was removed, put back or never signed; %s version %d goes on from version %d of commit %.10s",
				renewal.Role, head, renewal.Role, renewal.Version, renewal.Previous, renewal.From))
		}
		var by []string
		if !o.DryRun {
			var warnings []string
			if by, warnings, err = signRole(ctx, keys, due.Edit, renewal); err != nil {
				return result, nil, err
			}
			result.Warnings = append(result.Warnings, warnings...)
		}
		doc, err := due.Edit.Document(renewal.Role)
		if err != nil {
			return result, nil, err
		}
		s := Signed{Role: renewal.Role, Version: renewal.Version, Previous: renewal.Previous, Why: renewal.Why,
			Expires: doc.Expires(), Meta: map[string]int64{}, Keys: by}
		for name, entry := range doc.Meta() {
			s.Meta[name] = entry.Version
		}
		result.Signed = append(result.Signed, s)
	}
	return result, due.Edit, nil
}

func commit(ctx context.Context, o Options, on git.OID, edit *repository.Edit, message string) (git.OID, error) {
	changes, err := edit.Changes(ctx)
	if err != nil {
		return "", err
	}
	return o.Repository.Git.WriteCommit(ctx, git.CommitOptions{
		Parent: on, Changes: changes, Message: message, Signoff: true, Identity: repository.Bot, When: o.Now,
	})
}

// signRole signs a new version with every online key of its delegation, then
// with those of the outgoing one. A key that fails is an error only where the
// threshold is not met without it, and so is one whose signature makes the file
// longer than clients read.
func signRole(ctx context.Context, keys *keyring, edit *repository.Edit, r repository.Renewal) (by, warnings []string, err error) {
	by, failed, err := signWith(ctx, keys, edit, r.Role, r.Delegation, nil)
	if err != nil {
		return nil, nil, err
	}
	failed = slices.DeleteFunc(failed, func(err error) bool { return errors.Is(err, errNotOnline) })
	doc, err := edit.Document(r.Role)
	if err != nil {
		return nil, nil, err
	}
	if q := metadata.Check(r.Delegation, doc); !q.Met() {
		return nil, nil, &QuorumError{Role: r.Role, Count: q.Count, Threshold: int(q.Threshold), Errs: failed}
	}
	for _, err := range failed {
		warnings = append(warnings, fmt.Sprintf("%s version %d is signed without one of its keys: %v", r.Role, r.Version, err))
	}
	if r.Outgoing == nil {
		return by, warnings, nil
	}
	// Clients that have not seen the newest root yet know only these keys. If one
	// of them is gone, waiting would not bring it back.
	outgoing, failed, err := signWith(ctx, keys, edit, r.Role, *r.Outgoing, r.Delegation.KeyIDs)
	if err != nil {
		return nil, nil, err
	}
	for _, err := range failed {
		text := fmt.Sprintf("the outgoing online key cannot sign %s version %d, so clients may fail until they have the newest root: %s",
			r.Role, r.Version, strings.TrimSpace(err.Error()))
		if long := (*repository.TooLongError)(nil); errors.As(err, &long) {
			text += ". The next time, rotate by way of a key with short signatures, such as ECDSA on P-256, and publish in between"
		}
		warnings = append(warnings, text)
	}
	return append(by, outgoing...), warnings, nil
}

// signWith signs with the online keys of a delegation, but for those in done. It
// returns whose signatures were put into the file, and why the others were not. Of
// several the shortest signatures go first, since the file may not have room for all.
func signWith(ctx context.Context, keys *keyring, edit *repository.Edit, role string, d metadata.Delegation, done []string) (by []string, failed []error, err error) {
	doc, err := edit.Document(role)
	if err != nil {
		return nil, nil, err
	}
	type made struct {
		key *metadata.Key
		sig []byte
	}
	var list []made
	for _, id := range d.KeyIDs {
		key := d.Keys[id]
		if key == nil || slices.Contains(done, id) {
			continue
		}
		sig, err := keys.sign(ctx, key, doc.Payload())
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		list = append(list, made{key, sig})
	}
	// By steps: the length of an ECDSA signature is a matter of chance.
	const step = 128
	slices.SortStableFunc(list, func(a, b made) int { return len(a.sig)/step - len(b.sig)/step })
	for _, m := range list {
		if err := edit.AddSignature(role, m.key, m.sig); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.key.Holder(), err))
			continue
		}
		by = append(by, m.key.Holder())
	}
	return by, failed, nil
}
