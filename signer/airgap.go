package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// A machine without network gets an event as a file and gives signatures as a
// file. It is the same session there: the file's objects make a git repository
// that is only read, and everything else, from the root that this machine
// remembers to the review and the key, is what [Sign] does.

// ExportError says that an event cannot be reviewed from a file alone.
type ExportError struct {
	Event string
	Err   error
}

func (e *ExportError) Error() string {
	return fmt.Sprintf("event %s cannot go into a file: %v", e.Event, e.Err)
}

func (e *ExportError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ExportError) Hint() string {
	return fmt.Sprintf("merge %s into the event: git merge origin/%s (on branch %s), and push that", Main, Main, escape.Argument(e.Event))
}

// UnknownRepositoryError says that nothing which this machine knows vouches for
// the roots in a file.
type UnknownRepositoryError struct{ Remote string }

func (e *UnknownRepositoryError) Error() string {
	return "this machine knows no root of " + e.Remote + ", so nothing shows that the file has the right ones"
}

// Hint says what to do.
func (e *UnknownRepositoryError) Hint() string {
	return "ask another key holder for the SHA-256 of a root, by a way that the file has not come, and add --root-sha256 SHA256; once is enough"
}

// FirstRootError says that the first root of a repository is not the one that the
// person knows.
type FirstRootError struct{ Proposed, Known string } // SHA-256 of payloads

func (e *FirstRootError) Error() string {
	return fmt.Sprintf("the event proposes a first root with sha256 %s, and not %s", e.Proposed, e.Known)
}

// Hint says what to do.
func (e *FirstRootError) Hint() string {
	return "sign nothing; ask the other key holders what tufops-sign export or review shows them as sha256 of what is signed"
}

// IncompleteFileError says that a file lacks what its review needs.
type IncompleteFileError struct{ OID git.OID }

func (e *IncompleteFileError) Error() string {
	return fmt.Sprintf("the file lacks git object %s, so not all of the event could be looked at", e.OID)
}

// Hint says what to do.
func (e *IncompleteFileError) Hint() string {
	return "sign nothing from it; have it made anew with tufops-sign export, and ask who made this one"
}

// OtherPayloadError says that a signature is of another payload than the event
// proposes now.
type OtherPayloadError struct {
	Event  string
	Head   git.OID
	Role   string
	Signed Payload
	Now    Payload // zero where the event does not change the role
}

// Payload names what a signature is over.
type Payload struct {
	Version int64
	SHA256  string
}

func (p Payload) String() string { return fmt.Sprintf("v%d, sha256 %s", p.Version, p.SHA256) }

func (e *OtherPayloadError) Error() string {
	if e.Now == (Payload{}) {
		return fmt.Sprintf("the signature is of %s %s, and %s at %.12s does not change that role", e.Role, e.Signed, e.Event, e.Head)
	}
	return fmt.Sprintf("the signature is of %s %s, and %s at %.12s has %s", e.Role, e.Signed, e.Event, e.Head, e.Now)
}

// Hint says what to do.
func (e *OtherPayloadError) Hint() string {
	return "export the event as it is now, and have that reviewed and signed"
}

// CarriedSignatureError says that a signature from a file cannot be added.
type CarriedSignatureError struct {
	Role, KeyID, By string
	Err             error
}

func (e *CarriedSignatureError) Error() string {
	return fmt.Sprintf("the signature of %s by %s with keyid %s: %v", e.Role, e.By, e.KeyID, e.Err)
}

func (e *CarriedSignatureError) Unwrap() error { return e.Err }

// Export shows the review of an event and returns the file from which another
// machine can make the same review and sign. An event that nobody may sign is
// none that is carried.
func Export(ctx context.Context, o Options) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, outcome{err, nothingWritten} }
	s, err := newSession(o)
	if err != nil {
		return nil, err
	}
	st, err := s.fetch(ctx)
	if err != nil {
		return fail(err)
	}
	if st.new {
		return fail(&NoEventError{s.Event, s.Config.PullRemote})
	}
	p, err := s.plan(ctx, st, change{})
	if err != nil {
		return fail(err)
	}
	if err := s.reviewText(ctx, p).writeTo(s.Out); err != nil {
		return fail(err)
	}
	if _, err := p.event.Reviewed(ctx, s.Now, p.mine); err != nil {
		return fail(err)
	}
	remote, err := s.git.RemoteURL(ctx, s.Config.PullRemote)
	if err != nil {
		return fail(err)
	}
	noted, objects := s.git.Noted()
	f := &EventFile{
		Event: s.Event, Remote: plainURL(remote), TUFDir: s.Repository.Dir(), Main: st.main, Head: st.head, objects: objects,
	}
	if err := s.rehearse(ctx, f, noted, p); err != nil {
		return fail(&ExportError{s.Event, err})
	}
	data, err := f.Bytes()
	if err == nil {
		_, err = ReadEventFile(data)
	}
	if err != nil {
		return fail(&ExportError{s.Event, err})
	}
	return data, nil
}

// rehearse does what the other machine will, by its means, so that all it reads
// is noted, and makes sure that it will come to the same verdict.
func (s *session) rehearse(ctx context.Context, f *EventFile, noted *git.Repo, p *plan) error {
	there, err := s.carried(f, noted)
	if err != nil {
		return err
	}
	there.Memory, there.Live = "", nil
	q, err := there.plan(ctx, start{main: f.Main, head: f.Head, old: f.Head}, change{})
	if err != nil {
		return err
	}
	there.reviewText(ctx, q)
	if _, err := q.event.Reviewed(ctx, there.Now, q.mine); err != nil {
		return err
	}
	var keys []git.OID
	for _, file := range q.event.Proposed.Files("keys") {
		if file.Regular() {
			keys = append(keys, file.OID)
		}
	}
	if err := touchKeys(ctx, noted, keys); err != nil {
		return err
	}
	here, err := json.Marshal(p.status)
	if err != nil {
		return err
	}
	if away, err := json.Marshal(q.status); err != nil || !bytes.Equal(here, away) {
		return fmt.Errorf("without git it would be judged in another way: %s and the event have changed one file, or %s was merged into it in a way that only git can follow", Main, Main)
	}
	return nil
}

// carried is a session about the event in a file.
func (s *session) carried(f *EventFile, g *git.Repo) (*session, error) {
	repo, err := repository.New(g, f.TUFDir)
	if err != nil {
		return nil, err
	}
	o := s.Options
	o.Repository, o.Event, o.Config.PullRemote, o.Config.PushRemote = repo, f.Event, f.Remote, f.Remote
	there, err := newSession(o)
	if err != nil {
		return nil, err
	}
	there.file = f
	return there, nil
}

// SignFile shows the review of the event in a file and gives every signature that
// it asks of this person; nil where it asks for none. It needs neither git nor a
// network, and takes nothing from the file on trust: rootSHA256 is the digest of
// a root that the person knows to be right, and may be empty once this machine
// has seen one. Signatures beside an error were given, and this machine could not
// remember that.
func SignFile(ctx context.Context, o Options, f *EventFile, rootSHA256 string) (*SignatureFile, error) {
	const nothingSigned = "nothing was signed"
	fail := func(err error) (*SignatureFile, error) {
		revision := errors.As(err, new(*git.RevisionError))
		switch missed := f.objects.Missed(); {
		case missed != "" && (revision || errors.As(err, new(*git.MissingObjectError))):
			err = &IncompleteFileError{missed}
		case revision:
			err = &FileError{"event", err}
		}
		return nil, outcome{err, nothingSigned}
	}
	g := f.objects.Repo()
	defer g.Close()
	s, err := (&session{Options: o}).carried(f, g)
	if err != nil {
		return fail(err)
	}
	if err := s.vouched(ctx, strings.ToLower(strings.TrimSpace(rootSHA256))); err != nil {
		return fail(err)
	}
	p, err := s.plan(ctx, start{main: f.Main, head: f.Head, old: f.Head}, change{})
	if err != nil {
		return fail(err)
	}
	p.notes = append(p.notes, "not looked at, as this machine has no network: the root that clients get now, what has become of "+Main+
		" and of the event since the file was made, and who pushed it")
	if err := s.reviewText(ctx, p).writeTo(s.Out); err != nil {
		return fail(err)
	}
	reviewed, err := p.event.Reviewed(ctx, s.Now, p.mine)
	if err != nil {
		return fail(err)
	}
	// A part of the review that could not be read looks like one that is not there.
	if oid := f.objects.Missed(); oid != "" {
		return fail(&IncompleteFileError{oid})
	}
	keys, err := s.carryKeys(ctx, p.event)
	if err != nil {
		return fail(err)
	}
	signatures, err := s.sign(ctx, reviewed, f.Head, false)
	if err != nil {
		return fail(err)
	}
	if len(signatures)+len(keys) == 0 {
		return nil, s.nothing(p, change{})
	}
	out := &SignatureFile{Event: f.Event, Remote: f.Remote, By: s.Config.User, Keys: keys}
	for _, one := range signatures {
		out.Signatures = append(out.Signatures, CarriedSignature{
			Role: one.role, Version: one.version, SHA256: digest(one.payload), KeyID: one.key.ID, Sig: one.sig,
			Device: escape.Terminal(strings.TrimSpace(one.device)), // which a module has named
		})
	}
	err = s.rememberSigned(ctx, signatures)
	if err == nil && len(signatures) > 0 {
		err = s.agree(ctx, f.Main, p.policy)
	}
	return out, err
}

// carryKeys finds the key that this person brings to each role that has invited
// them. What they then sign is made where git is: it comes with the next file.
func (s *session) carryKeys(ctx context.Context, e *repository.Event) ([]CarriedKey, error) {
	var list []CarriedKey
	var roles []string
	for _, role := range e.Invites.Roles(s.Config.User) {
		d, ok := e.Proposed.Delegation(role)
		if !ok {
			continue // a finding
		}
		key, err := s.keys.own(ctx, s.Config.User, d.Delegation)
		if err != nil {
			return nil, fmt.Errorf("accept the invitation to role %s: %w", role, err)
		}
		if s.keys.doubt != nil {
			s.Log.Warn(s.keys.doubt.Error())
			s.keys.doubt = nil // once
		}
		val, _ := key.Object["keyval"].(metadata.Object)
		public, _ := val["public"].(string)
		one := CarriedKey{Role: role, KeyID: key.ID, Type: key.Type, Scheme: key.Scheme, Public: public}
		for _, name := range slices.Sorted(maps.Keys(s.keys.proof)) {
			one.Proof = append(one.Proof, CarriedProof{path.Base(name), s.keys.proof[name]})
		}
		list, roles = append(list, one), append(roles, role)
	}
	if len(list) == 0 || s.Person == nil {
		return list, nil
	}
	return list, s.goOn(ctx, fmt.Sprintf("Bring your key, keyid %.12s, to %s", list[0].KeyID, strings.Join(roles, " and ")))
}

// vouched makes sure that something which this machine knows vouches for the
// roots in a file: one that it has seen, one that its person has signed here, or
// the one whose digest they give. Where there is no root yet, what they give is
// the digest of the first.
func (s *session) vouched(ctx context.Context, pin string) error {
	m, err := s.recall(ctx)
	if err != nil {
		return err
	}
	tip, err := s.Repository.At(ctx, s.file.Main)
	if err != nil {
		return err
	}
	_, err = tip.Document(metadata.Root)
	if none := errors.As(err, new(*repository.MissingError)); none && m.Root == nil && pin != "" {
		head, err := s.Repository.At(ctx, s.file.Head)
		if err != nil {
			return err
		}
		first, err := head.Document(metadata.Root)
		if err != nil {
			return err
		}
		if pin != digest(first.Payload()) && pin != digest(first.Bytes()) {
			return &FirstRootError{Proposed: digest(first.Payload()), Known: pin}
		}
		return nil
	} else if none && m.Root == nil {
		return &UnknownRepositoryError{s.file.Remote}
	} else if none {
		return nil // which mainRoot refuses
	}
	if pin != "" {
		return s.pinRoot(ctx, tip, m, pin)
	}
	if m.Root != nil {
		return nil
	}
	r := &mainRoot{remote: s.file.Remote}
	if r.chain, err = tip.RootChain(ctx); err != nil {
		return r.refuse("%v", err)
	}
	if m.signedRoot(r.at) == nil {
		return &UnknownRepositoryError{s.file.Remote}
	}
	return nil
}

// ImportSignature adds the signatures of a file to their event, as [Sign] adds
// its own: each must be over what the event's head proposes now, and by a key
// that is asked for. Keys are brought to the roles that have invited their
// owner. What is there already is left as it is.
func ImportSignature(ctx context.Context, o Options, f *SignatureFile) (Result, error) {
	o.Event = f.Event
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	s.others = s.Config.User != f.By
	s.Config.User = f.By
	c := change{signing: "Signature from " + f.By, brought: f}
	if len(f.Keys) == 0 {
		return s.run(ctx, c)
	}
	s.keys.proof = map[string][]byte{}
	keys := map[string]*metadata.Key{} // by role
	for _, one := range f.Keys {
		key, err := one.key(f.By)
		if err != nil {
			return Result{}, outcome{fmt.Errorf("the key that %s brings to role %s: %w", f.By, one.Role, err), nothingDone}
		}
		keys[one.Role] = key
		for _, p := range one.Proof {
			s.keys.proof["keys/"+key.Fingerprint()+"/"+p.Name] = p.Data
		}
	}
	c.message, c.together = f.By+" accepted invitation", true
	c.apply = func(_ context.Context, edit *repository.Edit, _ *repository.State) error {
		for _, one := range f.Keys {
			key := keys[one.Role]
			d, _ := edit.Delegation(one.Role)
			if slices.ContainsFunc(keysOf(d), func(k *metadata.Key) bool { return k.ID == key.ID }) {
				continue // imported already
			}
			if err := edit.Accept(one.Role, key); err != nil {
				return fmt.Errorf("accept the invitation to role %s: %w", one.Role, err)
			}
		}
		return nil
	}
	return s.run(ctx, c)
}

// take is what [session.sign] is for signatures that were given elsewhere.
func (s *session) take(ctx context.Context, reviewed repository.Reviewed, head git.OID, f *SignatureFile, edited bool) ([]signature, error) {
	review, err := reviewed.For(head)
	if err != nil {
		return nil, err
	}
	e := review.Event
	var list []signature
	for _, one := range f.Signatures {
		fail := func(err error) ([]signature, error) {
			return nil, &CarriedSignatureError{Role: one.Role, KeyID: one.KeyID, By: f.By, Err: err}
		}
		other := &OtherPayloadError{Event: s.Event, Head: head, Role: one.Role, Signed: Payload{one.Version, one.SHA256}}
		i := slices.IndexFunc(review.Status.Roles, func(r repository.RoleStatus) bool { return r.Role == one.Role })
		doc, err := e.Proposed.Document(one.Role)
		if i < 0 || err != nil {
			return nil, other
		}
		if other.Now = (Payload{doc.Version(), digest(doc.Payload())}); other.Now != other.Signed {
			return nil, other
		}
		if why := heldUp(review.Status.Roles[i]); why != "" {
			return fail(errors.New("nobody is asked to sign that role yet: " + why))
		}
		all := signaturesOf(e, one.Role, f.By, true)
		i = slices.IndexFunc(all, func(a ask) bool { return a.key.ID == one.KeyID })
		if i < 0 {
			return fail(fmt.Errorf("%s has no such key for that role", f.By))
		}
		if err := all[i].key.Verify(all[i].payload, one.Sig); err != nil {
			return fail(err)
		}
		if s.Again || slices.ContainsFunc(unsigned(e, one.Role, f.By), func(a ask) bool { return a.key.ID == one.KeyID }) {
			list = append(list, signature{ask: all[i], sig: one.Sig})
		}
	}
	if len(list) == 0 && !edited || s.Person == nil {
		return list, nil
	}
	var what, roles []string
	for _, one := range list {
		what = append(what, fmt.Sprintf("%s v%d", one.role, one.version))
	}
	verb := ""
	if len(list) > 0 {
		verb = "Add the signature of " + f.By + " to " + strings.Join(unique(what), " and ")
	}
	if edited {
		for _, one := range f.Keys {
			roles = append(roles, one.Role)
		}
		if verb != "" {
			verb += ", "
		}
		verb += "Bring the key of " + f.By + " to " + strings.Join(roles, " and ")
	}
	return list, s.goOn(ctx, verb)
}
