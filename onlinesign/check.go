package onlinesign

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// ErrDenied says that a key service, or the login before it, knows who asks and
// refuses: what has to be true of every identity that is not to sign. A
// *[KeyError] of a service wraps it for that and for nothing else. No credentials
// at all, a key that is not there, a network that fails or a rate limit are no
// denial.
var ErrDenied = errors.New("permission denied")

// Inspector is what a signer that [Keys] resolve may be as well: it tells what
// only the service knows about its key. A signer that is none is checked by what
// it does.
type Inspector interface {
	// Inspect asks the service; it signs and changes nothing. It needs no permission
	// that signing does not: what the service does not tell this identity stays
	// empty, and is no error. An error is a *[KeyError], and means that the service
	// could not be asked.
	Inspect(ctx context.Context) (Inspection, error)
}

// Inspection is what a service tells about the key that it signs with. What is
// empty is not known.
type Inspection struct {
	// Version is the version of the key that signs, as the service writes it in a
	// URI. Empty where the keys of the service have none.
	Version string

	// Algorithm is what the key signs with, in the service's words. Protection is
	// where it is: "HSM", "software".
	Algorithm, Protection string

	// Excess are the permissions, in the service's words, that this identity has and
	// online signing does not need: whatever goes beyond signing with the key and
	// reading its public part. Empty and Told: there are none of those in Asked.
	Excess []string

	// Told says that the service has answered what this identity may do, and Asked
	// what it was asked about. Where it has not, Untold is why, in a sentence that
	// goes into a report: "AWS KMS does not tell a caller its permissions".
	Told   bool
	Asked  []string
	Untold string
}

// Candidate is a key to try.
type Candidate struct {
	URI string
	// Key is the key as the metadata lists it; nil for one that no metadata lists.
	Key *metadata.Key
	// Roles list it, sorted. Each is one that a machine signs.
	Roles []string
}

// Candidates are the online keys of a commit of main: those of timestamp and
// snapshot, then those of targets roles. A key that stands under several keyids is
// one. What the delegating role's people have not signed lists none: whoever may
// push to main must not decide which service is called.
func Candidates(ctx context.Context, state *repository.State) ([]Candidate, error) {
	if _, err := state.RootChain(ctx); err != nil {
		return nil, fmt.Errorf("find the online keys of commit %.10s: %w", state.Commit(), err)
	}
	signed := agreed(state)
	return candidates(state, func(by string) bool { return signed[by] }), nil
}

// agreed are root and the targets roles that are signed by those whom they are
// delegated to, from root down.
func agreed(state *repository.State) map[string]bool {
	signed := map[string]bool{metadata.Root: true}
	for _, role := range state.TargetsRoles() { // the delegating role comes first
		doc, err := state.Document(role)
		signed[role] = err == nil && !slices.ContainsFunc(state.Delegations(role), func(d repository.Delegated) bool {
			return signed[d.By] && !metadata.Check(d.Delegation, doc).Met()
		}) && slices.ContainsFunc(state.Delegations(role), func(d repository.Delegated) bool { return signed[d.By] })
	}
	return signed
}

// Proposed are the online keys of an event that main does not list.
func Proposed(ctx context.Context, main, event *repository.State) ([]Candidate, error) {
	known, err := Candidates(ctx, main)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(candidates(event, func(string) bool { return true }), func(c Candidate) bool {
		return slices.ContainsFunc(known, func(k Candidate) bool { return k.is(c.Key) })
	}), nil
}

func (c Candidate) is(key *metadata.Key) bool {
	return c.URI == key.OnlineURI && c.Key.Fingerprint() == key.Fingerprint() && c.Key.Scheme == key.Scheme
}

func candidates(state *repository.State, trusted func(by string) bool) []Candidate {
	var list []Candidate
	for _, role := range append([]string{metadata.Timestamp, metadata.Snapshot}, state.TargetsRoles()...) {
		for _, d := range state.Delegations(role) {
			if !trusted(d.By) {
				continue
			}
			for _, id := range d.KeyIDs {
				key := d.Keys[id]
				if key == nil || key.OnlineURI == "" || key.Owner != "" {
					continue
				}
				i := slices.IndexFunc(list, func(c Candidate) bool { return c.is(key) })
				if i < 0 {
					i = len(list)
					list = append(list, Candidate{URI: key.OnlineURI, Key: key})
				}
				if !slices.Contains(list[i].Roles, role) {
					list[i].Roles = append(list[i].Roles, role)
				}
			}
		}
	}
	return list
}

// Step is one thing that was tried with a key.
type Step string

// The steps, in their order.
const (
	StepPinned      Step = "pinned"      // the URI names one version of the key
	StepFound       Step = "found"       // the service has it
	StepType        Step = "type"        // clients can use it, and the policy allows it
	StepListed      Step = "listed"      // it is the key that the metadata lists
	StepSigns       Step = "signs"       // it has signed a test message
	StepPermissions Step = "permissions" // this identity may do nothing more
	StepDenied      Step = "denied"      // this identity may not sign, as is wanted
)

// Outcome is how a step ended.
type Outcome string

// The outcomes.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeWarning Outcome = "warning" // signing works; something should be better
	OutcomeFailed  Outcome = "failed"
	OutcomeUntold  Outcome = "untold" // it could not be found out
)

// StepResult is the outcome of one step in a sentence, with what to do where it is
// not good.
type StepResult struct {
	Step    Step    `json:"step"`
	Outcome Outcome `json:"outcome"`
	Message string  `json:"message"`
	Hint    string  `json:"hint"`
	Err     error   `json:"-"`
}

// CheckedKey is what came of trying one key. Steps end with the first that failed,
// where those after it would only fail for the same reason.
type CheckedKey struct {
	URI         string       `json:"uri"`
	Roles       []string     `json:"roles"`
	KeyID       string       `json:"keyid"`       // "" where no metadata lists the key
	Fingerprint string       `json:"fingerprint"` // of the key that was found; "" for none
	Type        string       `json:"type"`        // TYPE/SCHEME
	Version     string       `json:"version"`     // as the service tells it
	Protection  string       `json:"protection"`  // as the service tells it
	Steps       []StepResult `json:"steps"`
}

// Good reports whether no step failed.
func (k CheckedKey) Good() bool {
	return len(k.Steps) > 0 && !slices.ContainsFunc(k.Steps, func(s StepResult) bool { return s.Outcome == OutcomeFailed })
}

func (k *CheckedKey) add(step Step, outcome Outcome, hint, format string, args ...any) {
	k.Steps = append(k.Steps, StepResult{Step: step, Outcome: outcome, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (k *CheckedKey) failed(step Step, err error, otherwise string) {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		otherwise = hinted.Hint()
	}
	k.Steps = append(k.Steps, StepResult{Step: step, Outcome: OutcomeFailed, Message: err.Error(), Hint: otherwise, Err: err})
}

// testMessage is what [Check] has a key sign. It begins with a letter, and what is
// signed in TUF is the canonical form of a JSON object, which begins with a brace:
// so no signature over it can ever stand for metadata. Part of it is new each time,
// so that an old answer does not pass.
func testMessage(uri string) ([]byte, error) {
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return []byte(TestMessage + uri + "\n" + hex.EncodeToString(nonce[:]) + "\n"), nil
}

// TestMessage is how every message begins that [Check] has a key sign.
const TestMessage = "tufops keys check: this message is no TUF metadata\n"

// Check tries a key as online signing would use it, and compares what it finds with
// the metadata. Nothing is written anywhere. What is wrong with the key is an
// outcome; an error means that ctx has ended, or this machine has no random numbers.
func Check(ctx context.Context, keys Keys, policy repository.Policy, c Candidate) (CheckedKey, error) {
	k := CheckedKey{URI: c.URI, Roles: append([]string{}, c.Roles...), Steps: []StepResult{}}
	if c.Key != nil {
		k.KeyID, k.Type = c.Key.ID, c.Key.Type+"/"+c.Key.Scheme
	}
	if unpinned, level := repository.UnpinnedURI(c.URI); unpinned {
		outcome := map[bool]Outcome{true: OutcomeWarning, false: OutcomeFailed}[level == repository.LevelWarning]
		k.add(StepPinned, outcome, "name the version of the key: tufops-sign delegate EVENT timestamp --online-key URI", "the URI names no version of the key")
	} else {
		k.add(StepPinned, OutcomeOK, "", "the URI names one version of the key")
	}
	key, signer, err := k.find(ctx, keys, policy, c)
	if err != nil || signer == nil {
		return k, err
	}
	payload, err := testMessage(c.URI)
	if err != nil {
		return k, err
	}
	ring := newKeyring(keys, 0)
	ring.signers[key.OnlineURI+" "+key.Scheme] = resolved{signer: signer}
	if _, err := ring.sign(ctx, key, payload); ctx.Err() != nil {
		return k, ctx.Err()
	} else if err != nil {
		k.failed(StepSigns, err, "")
		return k, nil
	}
	k.add(StepSigns, OutcomeOK, "", "it signed a test message, and the signature verifies")
	return k, k.inspect(ctx, signer)
}

// find asks the service for the key and compares it with the metadata. signer is
// nil where that failed.
func (k *CheckedKey) find(ctx context.Context, keys Keys, policy repository.Policy, c Candidate) (key *metadata.Key, signer metadata.Signer, err error) {
	scheme := ""
	if c.Key != nil {
		scheme = c.Key.Scheme
	}
	resolve := func(scheme string) (metadata.Signer, error) {
		ring := newKeyring(keys, 0)
		err := ring.call(ctx, c.URI, "find", func(ctx context.Context) (err error) {
			signer, err = ring.keys.Resolve(ctx, c.URI, scheme)
			return err
		})
		if err == nil && signer == nil {
			err = errors.New("the service answered with no key")
		}
		if ctx.Err() == nil && err != nil {
			k.failed(StepFound, err, "look at the key service")
		}
		return signer, err
	}
	if signer, err = resolve(scheme); err != nil {
		return nil, nil, ctx.Err()
	}
	found, err := metadata.NewKey(signer.Public(), "", c.URI)
	if err != nil {
		k.failed(StepType, &KeyError{URI: c.URI, Operation: "use", Err: err, Fix: "make a key of a type that clients can use: ECDSA on P-256"}, "")
		return nil, nil, nil
	}
	k.Fingerprint = found.Fingerprint()
	k.add(StepFound, OutcomeOK, "", "the service has a public key with SHA-256 %s", k.Fingerprint)
	if key = c.Key; key == nil {
		key, k.Type = found, found.Type+"/"+found.Scheme
		if found.Type == "rsa" { // the service may prefer another scheme
			if signer, err = resolve(found.Scheme); err != nil {
				return nil, nil, ctx.Err()
			}
		}
	}
	switch {
	case key.Unusable != nil:
		k.failed(StepType, &KeyError{URI: c.URI, Operation: "use", Err: key.Unusable, Fix: "have a key of a supported type signed for: tufops-sign delegate EVENT timestamp --online-key URI"}, "")
		return nil, nil, nil
	case !policy.Allows(k.Type):
		outcome := map[bool]Outcome{true: OutcomeFailed, false: OutcomeWarning}[c.Key == nil] // what is listed goes on signing
		k.add(StepType, outcome, "key-types in .tufops.yaml lists what an event may add", "an event may not add a key of type %s", k.Type)
		if outcome == OutcomeFailed {
			return nil, nil, nil
		}
	default:
		k.add(StepType, OutcomeOK, "", "its type is %s", k.Type)
	}
	switch {
	case c.Key == nil:
		k.add(StepListed, OutcomeUntold, "", "no role lists the key: there is nothing to compare it with")
	case found.Fingerprint() != key.Fingerprint():
		k.failed(StepListed, &MismatchError{URI: c.URI, KeyID: key.ID, Listed: key.Fingerprint(), Found: found.Fingerprint()}, "")
		return nil, nil, nil
	default:
		k.add(StepListed, OutcomeOK, "", "it is the key that the metadata lists for %s", strings.Join(c.Roles, ", "))
	}
	return key, signer, nil
}

// inspect asks the service what only it knows.
func (k *CheckedKey) inspect(ctx context.Context, signer metadata.Signer) error {
	inspector, ok := signer.(Inspector)
	if !ok {
		k.add(StepPermissions, OutcomeUntold, "", "this service does not tell what else this identity may do")
		return nil
	}
	found, err := inspector.Inspect(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		k.add(StepPermissions, OutcomeUntold, "", "what else this identity may do could not be asked: %v", err)
		return nil
	}
	k.Version, k.Protection = found.Version, found.Protection
	if found.Version != "" && k.URI[strings.LastIndexByte(k.URI, '/')+1:] != found.Version {
		k.add(StepPinned, OutcomeFailed, "name the version of the key: tufops-sign delegate EVENT timestamp --online-key URI",
			"the service signs with version %s of the key, which the URI does not name", found.Version)
	}
	switch {
	case len(found.Excess) > 0:
		k.add(StepPermissions, OutcomeWarning, "let this identity read the public key and sign, and nothing else: docs/infrastructure.md",
			"this identity may do more than sign with the key: %s", strings.Join(found.Excess, ", "))
	case found.Told:
		k.add(StepPermissions, OutcomeOK, "", "this identity has none of the permissions that signing does not need (asked about %s)", strings.Join(found.Asked, ", "))
	default:
		k.add(StepPermissions, OutcomeUntold, "", "%s", cmp.Or(found.Untold, "the service does not tell what else this identity may do"))
	}
	return nil
}

// CheckDenied tries to have a key sign a test message as an identity that must not,
// and is good only where that was refused because of who asks. A network that fails
// or a key that is not there proves nothing, so it is no denial.
func CheckDenied(ctx context.Context, keys Keys, c Candidate) (CheckedKey, error) {
	k := CheckedKey{URI: c.URI, Roles: append([]string{}, c.Roles...), Steps: []StepResult{}}
	scheme := ""
	if c.Key != nil {
		k.KeyID, k.Type, scheme = c.Key.ID, c.Key.Type+"/"+c.Key.Scheme, c.Key.Scheme
	}
	payload, err := testMessage(c.URI)
	if err != nil {
		return k, err
	}
	ring := newKeyring(keys, 0)
	err = ring.call(ctx, c.URI, "sign with", func(ctx context.Context) error {
		signer, err := ring.keys.Resolve(ctx, c.URI, scheme)
		if err == nil {
			_, err = signer.Sign(ctx, payload)
			return err
		}
		// Who may not read the public part may sign all the same: it is in the metadata.
		if unread := (*KeyError)(nil); errors.As(err, &unread) && unread.Blind != nil {
			return unread.Blind(ctx, payload)
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return k, ctx.Err()
	case err == nil:
		k.add(StepDenied, OutcomeFailed, "take the right to sign away from whatever this is run as: docs/infrastructure.md", "this identity can sign with the key, and must not")
	case errors.Is(err, ErrDenied):
		k.add(StepDenied, OutcomeOK, "", "this identity may not sign: %v", err)
	default:
		k.failed(StepDenied, fmt.Errorf("whether this identity may sign cannot be told: %w", err), "run it where the service can be reached and a login is tried")
	}
	return k, nil
}
