package signer

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// Main is the branch that events are merged into.
const Main = "main"

// Options are what the commands of a key holder have in common.
type Options struct {
	Repository *repository.Repository
	Config     Config
	Event      string    // the branch, sign/NAME
	Now        time.Time // one moment for the whole command
	// AllowLegacyKeyIDs turns keyid-mismatch into a warning, beside what
	// .tufops.yaml of main's tip says.
	AllowLegacyKeyIDs bool

	KeySpecs []string                       // keys named for this call; they go before those of Config
	OpenKey  func(spec string) (Key, error) // of file:PATH; nil: [OpenFileKey]
	// OpenTokens opens yubikey[:SERIAL] and pkcs11: URIs; module is pykcs11lib of the
	// configuration. nil: no hardware.
	OpenTokens func(spec, module string) (Tokens, error)
	PIN        string // TUFOPS_PIN; empty: Person is asked

	OnlineKeys OnlineKeys // nil: no online key can be configured
	Person     Person     // nil: nobody is asked anything
	// Memory is the folder where this machine remembers roots it has seen and what
	// was signed; nobody else may write there. Empty: nothing is remembered.
	Memory string
	Live   PublishedRoots // what clients get; nil: it is not compared
	// Expect are SHA-256 digests in hex: unless empty, nothing is signed whose
	// payload is not among them.
	Expect []string
	// Again asks for signatures, too, that are there already: somebody doubts one.
	Again bool
	// Override lets this person, and nobody else, sign in spite of errors of a rule:
	// its name, and why.
	Override map[string]string
	// NoPush moves the local branch of the event instead of the remote's.
	NoPush bool

	Out io.Writer    // the review and what was done
	Log *slog.Logger // nil: silent
}

// OnlineKeys reads the public half of keys that machines sign with.
type OnlineKeys interface {
	// Public returns the public key behind an online URI. An error says why the
	// URI cannot be used; it is shown to the person who gave it.
	Public(ctx context.Context, uri string) (crypto.PublicKey, error)
}

// Person answers questions. An error ends the command; nothing has been
// committed or pushed then.
type Person interface {
	// Ask asks for one line. An empty answer means otherwise, which is shown
	// where it is not empty.
	Ask(ctx context.Context, question, otherwise string) (string, error)
	// Secret asks for a PIN or passphrase, without showing it.
	Secret(ctx context.Context, question string) (string, error)
	// Tell says one line that cannot wait: a device wants a touch, a PIN was
	// wrong.
	Tell(text string)
}

// Result is what a command did.
type Result struct {
	Commit git.OID            // the event's new head; "" where nothing was done
	Signed []string           // roles that got a signature of this person
	Status *repository.Status // of the event afterwards
}

// EventNameError says that a name cannot be that of a signing event.
type EventNameError struct{ Name string }

func (e *EventNameError) Error() string {
	return fmt.Sprintf("%q is not the branch of a signing event", e.Name)
}

// Hint says what to do.
func (e *EventNameError) Hint() string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r) {
			return r
		}
		return '-'
	}, strings.TrimPrefix(e.Name, "sign/"))
	for strings.Contains(name, "..") {
		name = strings.ReplaceAll(name, "..", ".")
	}
	if name = strings.Trim(name, "-."); !validBranch(name) {
		name = "NAME"
	}
	return "name it sign/NAME, such as sign/" + name
}

// NoEventError says that the remote has no such event.
type NoEventError struct{ Event, Remote string }

func (e *NoEventError) Error() string {
	return fmt.Sprintf("remote %s has no branch %s", e.Remote, e.Event)
}

// Hint says what to do.
func (e *NoEventError) Hint() string {
	return "check the name with git ls-remote --heads " + e.Remote + " 'sign/*', or start an event with tufops-sign delegate " + e.Event + " ROLE"
}

// NoMainError says that the remote has no main branch.
type NoMainError struct{ Remote string }

func (e *NoMainError) Error() string {
	return fmt.Sprintf("remote %s has no branch %s to start from", e.Remote, Main)
}

// Hint says what to do.
func (e *NoMainError) Hint() string {
	return "make a first commit: git commit --allow-empty -m start && git push " + e.Remote + " HEAD:" + Main
}

// CheckedOutError says that a branch cannot be moved because it is checked out.
type CheckedOutError struct{ Branch, Dir string }

func (e *CheckedOutError) Error() string {
	return fmt.Sprintf("branch %s is checked out in %s, and --no-push would have to move it there", e.Branch, e.Dir)
}

// Hint says what to do.
func (e *CheckedOutError) Hint() string {
	return "switch to another branch first: git switch " + Main
}

// ContentChangedError says that what was signed is no longer what the event
// proposes.
type ContentChangedError struct {
	Event, Role string
	Head        git.OID
}

func (e *ContentChangedError) Error() string {
	return fmt.Sprintf("somebody pushed meanwhile, and at the new head %.12s of %s role %s has other content than what you were shown", e.Head, e.Event, e.Role)
}

// Hint says what to do.
func (e *ContentChangedError) Hint() string { return "run the same command again and review anew" }

// UnexpectedPayloadError says that what is asked is not what was expected.
type UnexpectedPayloadError struct {
	Role    string
	Version int64
	SHA256  string
}

func (e *UnexpectedPayloadError) Error() string {
	return fmt.Sprintf("%s v%d has the payload sha256 %s, which is not among those given with --expect-sha256", e.Role, e.Version, e.SHA256)
}

// DeclinedError says that the person did not agree.
type DeclinedError struct{}

func (DeclinedError) Error() string { return "you did not agree" }

// outcome adds to an error in what state things were left.
type outcome struct {
	error
	note string
}

func (o outcome) Unwrap() error { return o.error }

// Note says in what state things were left.
func (o outcome) Note() string { return o.note }

const nothingDone = "nothing was committed or pushed"

// session is one run of a command.
type session struct {
	Options
	git    *git.Repo
	keys   *keyring
	pins   map[string]string // that devices have taken in this run
	remote string            // the URL that what is remembered goes by, once it is known
	file   *EventFile        // where the event stands in one; nil: it is fetched
	// others is set where what is signed is not this person's.
	others bool
}

func newSession(o Options) (*session, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OpenKey == nil {
		o.OpenKey = OpenFileKey
	}
	if name, ok := strings.CutPrefix(o.Event, "sign/"); !ok || !validBranch(name) {
		return nil, &EventNameError{o.Event}
	}
	if err := checkOverrides(o.Override); err != nil {
		return nil, err
	}
	s := &session{Options: o, git: o.Repository.Git, pins: map[string]string{}}
	s.keys = &keyring{
		explicit: slices.Clone(o.KeySpecs), config: o.Config, open: o.OpenKey, tokens: o.OpenTokens, pin: s.pin,
		holdOf: func(all Tokens, t Token) metadata.Signer { return &onToken{s: s, tokens: all, token: t} },
		keys:   map[string]Key{}, holders: map[string][]holder{}, seen: map[string][]Token{}, failed: map[string]error{},
	}
	if o.Person != nil {
		s.keys.ask = o.Person.Ask
	}
	return s, nil
}

// validBranch reports whether git would take the rest of a branch name, see git
// check-ref-format.
func validBranch(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") || strings.HasSuffix(part, ".") {
			return false
		}
	}
	for _, r := range name {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) {
			return false
		}
	}
	return !strings.Contains(name, "..") && !strings.Contains(name, "@{")
}

// NoPassphraseError says that a passphrase or PIN is needed and nobody can be
// asked.
type NoPassphraseError struct {
	Key string
	PIN bool
}

func (e *NoPassphraseError) Error() string {
	if e.PIN {
		return e.Key + " needs its PIN"
	}
	return "key " + e.Key + " needs a passphrase"
}

// Hint says what to do.
func (e *NoPassphraseError) Hint() string {
	return "set TUFOPS_PIN, or run without --yes to be asked"
}

func (s *session) pin(ctx context.Context, key string) (string, error) {
	switch {
	case s.PIN != "":
		return s.PIN, nil
	case s.Person != nil:
		return s.Person.Secret(ctx, "Passphrase of "+key)
	}
	return "", &NoPassphraseError{Key: key}
}

// start is where a command begins.
type start struct {
	main git.OID // tip of the remote's main branch
	head git.OID // what the event's next commit follows
	old  git.OID // where the branch to move is now; "" where it is not there
	new  bool    // the event has no branch yet
}

func eventRef(event string) string { return "refs/heads/" + event }

// fetch reads main and the event from the remote.
func (s *session) fetch(ctx context.Context) (start, error) {
	pull, push := s.Config.PullRemote, s.Config.PushRemote
	at, err := s.fetchBranches(ctx, pull, Main, s.Event)
	if err != nil {
		return start{}, err
	}
	main, head := at[Main], at[s.Event]
	if main == "" {
		return start{}, &NoMainError{pull}
	}
	st := start{main: main, head: head, old: head, new: head == ""}
	if st.new {
		st.head = main
	}
	other, where := git.OID(""), ""
	switch {
	case s.NoPush:
		where = "your local branch " + s.Event
		if other, _, err = s.git.Ref(ctx, eventRef(s.Event)); err != nil {
			return start{}, err
		}
	case push != pull:
		where = "remote " + push
		if at, err = s.fetchBranches(ctx, push, s.Event); err != nil {
			return start{}, err
		}
		other = at[s.Event]
	default:
		return st, nil
	}
	// The branch that is to be moved is another one than the one that is read.
	st.old = other
	if other == "" || other == st.head {
		return st, nil
	}
	if ahead, err := s.git.IsAncestor(ctx, st.head, other); err != nil {
		return start{}, err
	} else if ahead {
		st.head, st.new = other, false
		return st, nil
	}
	behind, err := s.git.IsAncestor(ctx, other, st.head)
	if err == nil && !behind {
		err = &divergedError{event: s.Event, where: where, here: other, there: st.head}
	}
	return st, err
}

type divergedError struct {
	event, where string
	here, there  git.OID
}

func (e *divergedError) Error() string {
	return fmt.Sprintf("%s has %s at %.12s, and the event is at %.12s: neither contains the other", e.where, e.event, e.here, e.there)
}

func (e *divergedError) Hint() string {
	return "delete or rename that branch if nothing on it is needed any more"
}

// fetchBranches fetches branches of a remote to refs of our own: the user's
// tracking branches stay as they are. Those that the remote does not have are left
// out. The remote is asked twice, however many there are, and once where nothing is
// new: each time a person may wait for a connection, or touch a token for it.
func (s *session) fetchBranches(ctx context.Context, remote string, branches ...string) (map[string]git.OID, error) {
	var names, specs []string
	for _, branch := range branches {
		names = append(names, eventRef(branch))
	}
	there, err := s.git.LsRemote(ctx, remote, names...)
	if err != nil {
		return nil, err
	}
	const fetched = "refs/tufops/fetched/"
	at, missing := map[string]git.OID{}, []string{}
	for _, branch := range branches {
		oid, ok := there[eventRef(branch)]
		if !ok {
			continue
		}
		at[branch] = oid
		if have, _, err := s.git.Ref(ctx, fetched+branch); err != nil {
			return nil, err
		} else if have != oid {
			missing = append(missing, branch)
			specs = append(specs, "+"+eventRef(branch)+":"+fetched+branch)
		}
	}
	if len(specs) == 0 {
		return at, nil
	}
	if err := s.git.Fetch(ctx, remote, specs...); err != nil {
		return nil, err
	}
	for _, branch := range missing {
		oid, ok, err := s.git.Ref(ctx, fetched+branch)
		if err != nil {
			return nil, err
		}
		if ok {
			at[branch] = oid // newer, if somebody pushed just now
		}
	}
	return at, nil
}

// change is what a command does to an event before it is signed. The zero value
// changes nothing.
type change struct {
	// apply edits. It may be called again, on a newer head, and must then do the
	// same without a question.
	apply func(context.Context, *repository.Edit, *repository.State) error
	// message is that of the edit's commit. Where it is together with signatures
	// in one commit, together is set.
	message  string
	together bool
	// signing is the message of a commit that holds signatures only.
	signing string
	// brought are signatures that were given elsewhere; nil: this person gives them.
	brought *SignatureFile
	// opens is set where the event may be a new one.
	opens bool
	// nothing says why there is nothing to do; empty where the event tells.
	nothing func() string
}

// plan is an event with a change applied, before anything is signed or moved.
type plan struct {
	start  start
	policy repository.Policy // of main's tip, never of the event
	mine   repository.Policy // that, with what this person overrides
	agreed repository.Policy // what this person last signed under
	head   git.OID           // start.head, or a commit on it that nobody has seen
	files  []git.FileChange
	roles  []string // whose file the change touches
	event  *repository.Event
	status *repository.Status // by policy: what everybody sees
	asks   []ask              // by mine; none while an error stands
	memory *memory
	notes  []string // about the root of main
}

func (s *session) commit(ctx context.Context, parent git.OID, files []git.FileChange, message string) (git.OID, error) {
	return s.git.WriteCommit(ctx, git.CommitOptions{Parent: parent, Changes: files, Message: message, Signoff: true, When: s.Now})
}

func (s *session) plan(ctx context.Context, st start, c change) (*plan, error) {
	p := &plan{start: st, head: st.head}
	var err error
	if p.memory, err = s.recall(ctx); err != nil {
		return nil, err
	}
	root, err := s.mainRoot(ctx, st.main, p.memory)
	if err != nil {
		return nil, err
	}
	p.notes = root.notes
	if p.policy, err = s.Repository.Policy(ctx, st.main); err != nil {
		return nil, err
	}
	if p.agreed, err = s.agreed(ctx); err != nil {
		return nil, err
	}
	p.policy.AllowLegacyKeyIDs = p.policy.AllowLegacyKeyIDs || s.AllowLegacyKeyIDs
	p.policy.RefuseUnreadable = true
	if c.apply != nil {
		base, err := s.git.MergeBase(ctx, st.main, st.head)
		if err != nil {
			return nil, err
		}
		known, err := s.Repository.At(ctx, base)
		if err != nil {
			return nil, err
		}
		state, err := s.Repository.At(ctx, st.head)
		if err != nil {
			return nil, err
		}
		edit, err := state.Edit(ctx, known, s.Now)
		if err != nil {
			return nil, err
		}
		if err := c.apply(ctx, edit, state); err != nil {
			return nil, err
		}
		if p.files, err = edit.Changes(ctx); err != nil {
			return nil, err
		}
		if len(p.files) > 0 {
			p.roles = edit.Changed()
			p.files = append(p.files, s.proof(state)...)
			if p.head, err = s.commit(ctx, st.head, p.files, c.message); err != nil {
				return nil, err
			}
		}
	}
	p.event, err = s.Repository.OpenEvent(ctx, repository.EventOptions{Name: s.Event, Head: string(p.head), Base: string(st.main)})
	if err != nil {
		return nil, err
	}
	if err := root.holds(p.event); err != nil {
		return nil, err
	}
	if p.status, err = p.event.Status(ctx, s.Now, p.policy); err != nil {
		return nil, err
	}
	mine := p.status
	if p.mine = overridden(p.policy, s.Override); len(s.Override) > 0 {
		if mine, err = p.event.Status(ctx, s.Now, p.mine); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(mine.AllFindings(), func(f repository.Finding) bool {
		return f.Level == repository.LevelError && f.Gates.Event()
	}) {
		p.asks = asked(p.event, mine, s.Config.User, s.Again)
	}
	return p, nil
}

// signature is one that this person gave.
type signature struct {
	ask
	sig    []byte
	device string // what it was given with; "file" for a key on none
}

// maxAttempts bounds how often a push that lost a race is tried again.
const maxAttempts = 5

// run does a command: apply the change, show the review, sign what is then
// asked, and move the event's branch once, at the end.
func (s *session) run(ctx context.Context, c change) (Result, error) {
	done := false
	note := nothingDone
	fail := func(err error) (Result, error) {
		if done {
			return Result{}, err
		}
		return Result{}, outcome{err, note}
	}
	if s.NoPush {
		if err := s.notCheckedOut(ctx); err != nil {
			return fail(err)
		}
	}
	st, err := s.fetch(ctx)
	if err != nil {
		return fail(err)
	}
	if st.new && !c.opens {
		return fail(&NoEventError{s.Event, s.Config.PullRemote})
	}
	p, err := s.plan(ctx, st, c)
	if err != nil {
		return fail(err)
	}
	if len(p.files) > 0 || len(p.status.Roles) > 0 || len(p.status.Findings) > 0 {
		if err := s.reviewText(ctx, p).writeTo(s.Out); err != nil {
			return fail(err)
		}
	}
	reviewed, err := p.event.Reviewed(ctx, s.Now, p.mine)
	if err != nil {
		return fail(err)
	}
	var signatures []signature
	if c.brought != nil {
		signatures, err = s.take(ctx, reviewed, p.head, c.brought, len(p.files) > 0)
	} else {
		signatures, err = s.sign(ctx, reviewed, p.head, len(p.files) > 0)
	}
	if err != nil {
		return fail(err)
	}
	if len(p.files) == 0 && len(signatures) == 0 {
		return Result{Status: p.status}, s.nothing(p, c)
	}
	if len(signatures) > 0 && !s.others {
		// A signature that exists is remembered, whatever becomes of the push.
		if err := s.rememberSigned(ctx, signatures); err != nil {
			return fail(err)
		}
		if err := s.agree(ctx, st.main, p.policy); err != nil {
			return fail(err)
		}
	}
	shown := map[string]string{} // what the person agreed to, by role
	for _, role := range p.roles {
		if doc, err := p.event.Proposed.Document(role); err == nil {
			shown[role] = digest(doc.Payload())
		}
	}
	for _, one := range signatures {
		shown[one.role] = digest(one.payload)
	}
	for attempt := 1; ; attempt++ {
		final, status, err := s.finish(ctx, p, c, signatures)
		if err != nil {
			return fail(err)
		}
		if err = s.move(ctx, p.start, final); err == nil {
			done = true
			return s.report(ctx, p, final, status, signatures)
		}
		var rejected *git.RejectedError
		var stale *git.StaleRefError
		moved := errors.As(err, &rejected) && rejected.Moved() || errors.As(err, &stale)
		if rejected == nil && stale == nil {
			note = "it is not known whether the push was done: see with tufops-sign review " + s.Event
		}
		if !moved || attempt == maxAttempts {
			return fail(err)
		}
		s.Log.Info("somebody pushed meanwhile: putting your work on top of theirs", "event", s.Event)
		if st, err = s.fetch(ctx); err != nil {
			return fail(err)
		}
		if p, err = s.again(ctx, st, c, shown); err != nil {
			return fail(err)
		}
	}
}

// again plans the same change on a newer head. What the person was shown must
// not have changed: what they signed then is still what is asked of them.
func (s *session) again(ctx context.Context, st start, c change, shown map[string]string) (*plan, error) {
	p, err := s.plan(ctx, st, c)
	if err != nil {
		return nil, err
	}
	roles := make([]string, 0, len(shown))
	for role := range shown {
		roles = append(roles, role)
	}
	for _, role := range repository.SortRoles(roles) {
		doc, err := p.event.Proposed.Document(role)
		if err != nil || digest(doc.Payload()) != shown[role] {
			return nil, &ContentChangedError{Event: s.Event, Role: role, Head: st.head}
		}
	}
	if len(p.files) > 0 { // an edit is new content on that head, so it is judged anew
		reviewed, err := p.event.Reviewed(ctx, s.Now, p.mine)
		if err == nil {
			_, err = reviewed.For(p.head)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// sign gives every signature that a reviewed event asks of this person. It is the
// only place that signs, and it signs nothing but what the review holds.
func (s *session) sign(ctx context.Context, reviewed repository.Reviewed, head git.OID, edited bool) ([]signature, error) {
	review, err := reviewed.For(head)
	if err != nil {
		return nil, err
	}
	asks := asked(review.Event, review.Status, s.Config.User, s.Again)
	for _, a := range asks {
		if sum := digest(a.payload); len(s.Expect) > 0 && !slices.Contains(s.Expect, sum) {
			return nil, &UnexpectedPayloadError{Role: a.role, Version: a.version, SHA256: sum}
		}
	}
	holders, err := s.holders(ctx, review.Event.Proposed, asks)
	if err != nil {
		return nil, err
	}
	if err := s.expected(asks, holders); err != nil {
		return nil, err
	}
	if err := s.confirm(ctx, asks, holders, edited); err != nil {
		return nil, err
	}
	var list []signature
	for i, a := range asks {
		if holders[i] == nil {
			continue
		}
		sig, err := holders[i].signer.Sign(ctx, a.payload)
		if err == nil {
			err = a.key.Verify(a.payload, sig)
		}
		if err != nil {
			return nil, fmt.Errorf("sign %s v%d with keyid %s: %w", a.role, a.version, a.key.ID, err)
		}
		one := signature{ask: a, sig: sig, device: "file"}
		if holders[i].token {
			one.device = holders[i].name
		}
		list = append(list, one)
	}
	return list, nil
}

// holders finds the private key for each ask. Of several keys one may be
// missing, or a lost key could never be replaced; without any it is an error.
func (s *session) holders(ctx context.Context, state *repository.State, asks []ask) ([]*holder, error) {
	wanted := func(a ask) string {
		return fmt.Sprintf("keyid %s of role %s%s", a.key.ID, a.role, where(ctx, state, a.key))
	}
	notAsked := func(spec string) error {
		e := &WrongKeyError{Owner: s.Config.User, Tried: []string{s.keys.describe(spec)}, Device: onDevice(spec)}
		for _, a := range asks {
			e.Wanted = append(e.Wanted, wanted(a))
		}
		return e
	}
	for _, spec := range s.keys.explicit { // before anybody is asked for a passphrase
		locked, err := s.keys.locked(spec)
		if err != nil {
			return nil, err
		}
		if locked || len(asks) == 0 || spec == s.keys.brought {
			continue
		}
		list, err := s.keys.hold(ctx, spec)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(h holder) bool {
			return slices.ContainsFunc(asks, func(a ask) bool { return a.key.Fingerprint() == h.print })
		}) {
			return nil, notAsked(spec)
		}
	}
	found := make([]*holder, len(asks))
	wrong := &WrongKeyError{Owner: s.Config.User}
	used := map[string]bool{}
	byPrint := map[string]bool{} // asked in vain already
	var unread error             // why a key file could not be read
	any := false
	for i, a := range asks {
		h, tried, err := s.keys.find(ctx, a.key)
		if err != nil {
			return nil, err
		}
		if h == nil && len(tried) == 1 && s.keys.failed[tried[0]] != nil && !any { // nothing could be looked at
			return nil, s.keys.failed[tried[0]]
		}
		if h == nil && len(s.keys.explicit) == 0 && s.Person != nil && !byPrint[a.key.Fingerprint()] {
			byPrint[a.key.Fingerprint()] = true
			if h, err = s.another(ctx, a, wanted(a), &tried); err != nil {
				return nil, err
			}
		}
		if h == nil {
			wrong.Wanted = append(wrong.Wanted, wanted(a))
			for _, spec := range tried {
				wrong.Device = wrong.Device || onDevice(spec)
				wrong.Tried = unique(append(wrong.Tried, s.keys.describe(spec)))
				if !onDevice(spec) {
					unread = cmp.Or(unread, s.keys.failed[spec])
				}
			}
			continue
		}
		found[i] = h
		used[h.spec] = true
		any = true
	}
	if len(asks) > 0 && !any {
		return nil, cmp.Or[error](unread, wrong)
	}
	for _, spec := range s.keys.explicit {
		if len(asks) > 0 && !used[spec] && spec != s.keys.brought {
			return nil, notAsked(spec)
		}
	}
	for _, w := range wrong.Wanted {
		s.Log.Warn("not signed with " + w + ": that key is not at hand")
	}
	return found, nil
}

// another asks the person for a key that was not found.
func (s *session) another(ctx context.Context, a ask, wanted string, tried *[]string) (*holder, error) {
	for _, spec := range *tried {
		if onDevice(spec) {
			s.tell(s.keys.describe(spec))
		}
	}
	answer, err := s.Person.Ask(ctx, "Insert the token with "+wanted+" and answer yubikey, or name another key (empty to sign without it)", "")
	if err != nil || answer == "" {
		return nil, err
	}
	s.keys.lookAgain()
	list, err := s.keys.hold(ctx, answer)
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		if h.print == a.key.Fingerprint() {
			return &h, nil
		}
	}
	*tried = append(*tried, answer)
	return nil, nil
}

// expected keeps a YubiKey from signing what nobody has looked at: where nobody
// is asked, the digests of the payloads must have been given.
func (s *session) expected(asks []ask, holders []*holder) error {
	if s.Person != nil || len(s.Expect) > 0 {
		return nil
	}
	e := &ExpectError{}
	for i, a := range asks {
		if h := holders[i]; h != nil && strings.HasPrefix(h.spec, "yubikey") {
			e.Payloads = unique(append(e.Payloads, digest(a.payload)))
		}
	}
	if len(e.Payloads) == 0 {
		return nil
	}
	return e
}

// confirm asks whether to go on, once everything has been shown.
func (s *session) confirm(ctx context.Context, asks []ask, holders []*holder, edited bool) error {
	if s.Person == nil || len(asks) == 0 && !edited {
		return nil
	}
	var what, with []string
	for i, a := range asks {
		if h := holders[i]; h != nil {
			what = append(what, fmt.Sprintf("%s v%d", a.role, a.version))
			if h.token {
				with = append(with, h.name)
			}
		}
	}
	verb := "Commit this change"
	if len(what) > 0 {
		verb = "Sign " + strings.Join(unique(what), " and ")
	}
	if len(with) > 0 {
		verb += " with " + strings.Join(unique(with), " and ")
	}
	return s.goOn(ctx, verb)
}

// goOn asks whether to do something and let it leave this session.
func (s *session) goOn(ctx context.Context, verb string) error {
	to := "and push it to " + s.Config.PushRemote + " " + s.Event
	switch {
	case s.file != nil:
		to = "into a file, for " + s.Event + " of " + s.file.Remote
	case s.NoPush:
		to = "on the local branch " + s.Event
	}
	answer, err := s.Person.Ask(ctx, verb+" "+to+"? (yes/no)", "no")
	if err != nil {
		return err
	}
	if !agrees(answer, false) {
		return DeclinedError{}
	}
	return nil
}

// finish makes the commits: the edit and the signatures, in one or two.
func (s *session) finish(ctx context.Context, p *plan, c change, signatures []signature) (git.OID, *repository.Status, error) {
	// The base may be a newer one than the signatures were given on: only those
	// that are still missing there are added.
	edit, err := p.event.Proposed.Edit(ctx, p.event.KnownGood, s.Now)
	if err != nil {
		return "", nil, err
	}
	for _, one := range signatures {
		missing := signaturesOf(p.event, one.role, s.Config.User, s.Again)
		if !slices.ContainsFunc(missing, func(a ask) bool { return a.key.ID == one.key.ID }) {
			continue
		}
		if err := edit.AddSignature(one.role, one.key, one.sig); err != nil {
			return "", nil, err
		}
	}
	signed, err := edit.Changes(ctx)
	if err != nil {
		return "", nil, err
	}
	head := p.head
	switch {
	case len(signed) == 0:
	case c.together && len(p.files) > 0:
		head, err = s.commit(ctx, p.start.head, overlay(p.files, signed), s.record(p, c.message))
	default:
		head, err = s.commit(ctx, p.head, signed, s.record(p, c.signing))
	}
	if err != nil {
		return "", nil, err
	}
	event, err := s.Repository.OpenEvent(ctx, repository.EventOptions{Name: s.Event, Head: string(head), Base: string(p.start.main)})
	if err != nil {
		return "", nil, err
	}
	status, err := event.Status(ctx, s.Now, p.policy)
	if err != nil {
		return "", nil, err
	}
	// What is about to be pushed is read back from git and judged.
	for _, one := range signatures {
		if slices.ContainsFunc(unsigned(event, one.role, s.Config.User), func(a ask) bool { return a.key.ID == one.key.ID }) {
			return "", nil, fmt.Errorf("the signature of %s with keyid %s does not count in commit %.12s", one.role, one.key.ID, head)
		}
	}
	return head, status, nil
}

// overlay is the files of both lists, those of the second where both have one.
func overlay(first, second []git.FileChange) []git.FileChange {
	files := append([]git.FileChange(nil), second...)
	for _, f := range first {
		if !slices.ContainsFunc(second, func(o git.FileChange) bool { return o.Path == f.Path }) {
			files = append(files, f)
		}
	}
	return files
}

// move moves the event's branch, at the remote or here, if it is still where it
// was.
func (s *session) move(ctx context.Context, st start, final git.OID) error {
	if st.old == final {
		return nil // somebody, or an earlier try, has done it
	}
	if s.NoPush {
		return s.git.UpdateRef(ctx, eventRef(s.Event), final, st.old)
	}
	return s.git.Push(ctx, s.Config.PushRemote, git.RefUpdate{Ref: eventRef(s.Event), New: final, Old: st.old})
}

// nothing says that and why there is nothing to do.
func (s *session) nothing(p *plan, c change) error {
	t := &page{}
	why := s.why(p)
	if c.nothing != nil && c.nothing() != "" {
		why = c.nothing()
	}
	t.fold(2, "Nothing to do in %s: %s.", s.Event, why)
	return t.writeTo(s.Out)
}

func (s *session) why(p *plan) string {
	if len(p.status.Roles) == 0 {
		return "the event changes no role"
	}
	var waiting, signed []string
	for _, r := range p.status.Roles {
		switch {
		case heldUp(r) != "":
			waiting = append(waiting, fmt.Sprintf("%s waits until %s have brought their keys", r.Role, strings.Join(r.Invites, ", ")))
		case slices.Contains(r.Signed, s.Config.User):
			signed = append(signed, r.Role)
		}
	}
	switch {
	case len(signed) > 0 && len(waiting) == 0:
		return s.Config.User + " has signed " + strings.Join(signed, ", ") + " already"
	case len(waiting) > 0:
		return strings.Join(waiting, "; ")
	}
	return s.Config.User + " holds no key of a role that it changes"
}

// report says what was done and what comes next.
func (s *session) report(ctx context.Context, p *plan, final git.OID, status *repository.Status, signatures []signature) (Result, error) {
	res := Result{Commit: final, Status: status}
	t := &page{}
	for _, one := range signatures {
		if !slices.Contains(res.Signed, one.role) {
			res.Signed = append(res.Signed, one.role)
			t.line("Signed %s v%d as %s.", one.role, one.version, s.Config.User)
		}
	}
	if s.NoPush {
		t.line("Local branch %s is at %.12s; nothing was pushed.", s.Event, final)
	} else {
		t.line("Pushed %.12s to %s %s.", final, s.Config.PushRemote, s.Event)
	}
	if status.Complete {
		t.line("The event is complete: it can be merged.")
	}
	if !s.NoPush {
		if s.Config.PushRemote != s.Config.PullRemote {
			t.line("Open a pull request from %s to branch %s of %s.", s.Config.PushRemote, s.Event, s.Config.PullRemote)
			if at := s.pullRequest(ctx); at != "" {
				t.line("  %s", at)
			}
		}
		if dir, err := s.checkedOut(ctx); err == nil && dir != "" {
			s.Log.Info("branch " + s.Event + " is checked out in " + dir + " and was left as it is: git pull brings it up to date")
		}
	}
	return res, t.writeTo(s.Out)
}

// pullRequest is where the pull request from the fork is opened; empty where that
// is not known.
func (s *session) pullRequest(ctx context.Context) string {
	pull, err := s.git.RemoteURL(ctx, s.Config.PullRemote)
	if err != nil {
		return ""
	}
	push, err := s.git.RemotePushURLs(ctx, s.Config.PushRemote)
	if err != nil || len(push) == 0 {
		return ""
	}
	return pullRequestURL(pull, push[0], s.Event, "Signature from "+s.Config.User)
}

func (s *session) notCheckedOut(ctx context.Context) error {
	dir, err := s.checkedOut(ctx)
	if err == nil && dir != "" {
		err = &CheckedOutError{Branch: s.Event, Dir: dir}
	}
	return err
}

// checkedOut is the work tree that has the event's branch checked out, this one
// or a linked one; "" for none.
func (s *session) checkedOut(ctx context.Context) (string, error) {
	branch, err := s.git.CurrentBranch(ctx)
	if err != nil {
		return "", err
	}
	if branch == s.Event {
		return s.git.Top(), nil
	}
	common := commonDir(s.git)
	linked, _ := filepath.Glob(filepath.Join(common, "worktrees", "*", "HEAD"))
	for _, head := range append(linked, filepath.Join(common, "HEAD")) {
		if filepath.Dir(head) == s.git.GitDir() {
			continue
		}
		data, err := os.ReadFile(head)
		if err != nil || strings.TrimSpace(string(data)) != "ref: "+eventRef(s.Event) {
			continue
		}
		if at, err := os.ReadFile(filepath.Join(filepath.Dir(head), "gitdir")); err == nil {
			return filepath.Dir(strings.TrimSpace(string(at))), nil
		}
		return filepath.Dir(common), nil
	}
	return "", nil
}
