package signer

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// holder is a private key at hand.
type holder struct {
	spec   string // the SPEC it was found by
	name   string // what the person calls it
	print  string // fingerprint of its public key
	signer metadata.Signer
	token  bool // it is on a device
}

// keyring finds the private key for a keyid. Each key file is opened once; what
// devices there are is looked up once, and again if the person says so.
type keyring struct {
	explicit []string // --key, in order
	config   Config
	open     func(string) (Key, error)
	tokens   func(spec, module string) (Tokens, error) // nil: no hardware
	holdOf   func(Tokens, Token) metadata.Signer       // signs with a token
	pin      PIN
	ask      func(ctx context.Context, question, otherwise string) (string, error) // nil: nobody is asked

	keys    map[string]Key
	holders map[string][]holder
	seen    map[string][]Token // what a SPEC for hardware found
	failed  map[string]error   // why a key of the configuration could not be read
	brought string             // the SPEC of the key that was brought to a role
	proof   map[string][]byte  // that it was made on its device: files of the TUF repository
	doubt   error              // why there is none
}

// onDevice reports whether a SPEC names keys on devices.
func onDevice(spec string) bool {
	scheme, _, _ := strings.Cut(spec, ":")
	return scheme == "yubikey" || scheme == "pkcs11"
}

// key opens the file that a SPEC names, once.
func (r *keyring) key(spec string) (Key, error) {
	if k, ok := r.keys[spec]; ok {
		return k, nil
	}
	k, err := r.open(spec)
	if err == nil {
		r.keys[spec] = k
	}
	return k, err
}

// locked reports whether the passphrase of a key is needed to see what it is.
func (r *keyring) locked(spec string) (bool, error) {
	if onDevice(spec) {
		return false, nil
	}
	k, err := r.key(spec)
	return err == nil && k.Locked(), err
}

// hold reads the public keys of what a SPEC names: one of a file, any number of
// hardware. No PIN is asked for, but the passphrase of a file.
func (r *keyring) hold(ctx context.Context, spec string) ([]holder, error) {
	if list, ok := r.holders[spec]; ok {
		return list, nil
	}
	var list []holder
	add := func(name string, s metadata.Signer, token bool) error {
		public, err := metadata.NewKey(s.Public(), "", "")
		if err == nil {
			list = append(list, holder{spec: spec, name: name, print: public.Fingerprint(), signer: s, token: token})
		}
		return err
	}
	if !onDevice(spec) {
		k, err := r.key(spec)
		if err != nil {
			return nil, err
		}
		s, err := k.Open(ctx, r.pin)
		if err != nil {
			return nil, err
		}
		if err := add(spec, s, false); err != nil {
			return nil, fmt.Errorf("key %s: %w", spec, err)
		}
		r.holders[spec] = list
		return list, nil
	}
	if r.tokens == nil {
		return nil, &SpecError{spec, "names a hardware key, which this build cannot use"}
	}
	all, err := r.tokens(spec, r.config.Module)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	seen, err := all.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	for i, t := range seen {
		if t.Public == nil || t.Problem != nil {
			continue
		}
		if err := add(t.String(), r.holdOf(all, t), true); err != nil { // of a kind that TUF does not know
			seen[i].Problem = err
		}
	}
	r.holders[spec], r.seen[spec] = list, seen
	return list, nil
}

// lookAgain forgets which devices were there.
func (r *keyring) lookAgain() {
	for spec := range r.seen {
		delete(r.seen, spec)
		delete(r.holders, spec)
	}
}

// candidates are the keys that may hold a keyid, likeliest first.
func (r *keyring) candidates(id string) []string {
	list := append([]string(nil), r.explicit...)
	if uri, ok := r.config.SigningKeys[id]; ok {
		return unique(append(list, uri))
	}
	if r.config.Key != "" {
		list = append(list, r.config.Key)
	}
	var rest []string
	for _, uri := range r.config.SigningKeys {
		rest = append(rest, uri)
	}
	sort.Strings(rest)
	if list = append(list, rest...); len(list) == 0 && r.tokens != nil {
		list = append(list, r.config.usual())
	}
	return unique(list)
}

func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// find returns what signs for a key of a role; nil where none of the keys at
// hand does. Keys given with --key go first. Of the others, those whose public
// part can be read go first, so that nobody is asked for the passphrase of a key
// that is not wanted while the right one lies open. tried are the SPECs that
// were looked at.
func (r *keyring) find(ctx context.Context, want *metadata.Key) (found *holder, tried []string, err error) {
	tried = r.candidates(want.ID)
	for pass := range 4 {
		explicit, locked := pass < 2, pass%2 == 1
		for _, spec := range tried {
			if slices.Contains(r.explicit, spec) != explicit {
				continue
			}
			is, err := r.locked(spec)
			var list []holder
			if err == nil && is == locked {
				list, err = r.hold(ctx, spec)
			}
			if err != nil {
				// A file that opens for no passphrase was meant; a file that is not
				// there, or a reader that does not work, may belong to another key.
				if explicit || locked || ctx.Err() != nil {
					return nil, nil, err
				}
				r.failed[spec] = err
				continue
			}
			for _, h := range list {
				if h.print == want.Fingerprint() {
					return &h, tried, nil
				}
			}
		}
	}
	return nil, tried, nil
}

// describe says what looking for the key of a SPEC has found.
func (r *keyring) describe(spec string) string {
	if !onDevice(spec) {
		return spec
	}
	if err := r.failed[spec]; err != nil {
		return err.Error()
	}
	var found []string
	for _, t := range r.seen[spec] {
		what := t.String()
		if t.Problem != nil {
			what += " (" + t.Problem.Error() + ")"
		}
		found = append(found, what)
	}
	if len(found) == 0 {
		return "no token is inserted that " + spec + " names"
	}
	return spec + " is " + strings.Join(found, " and ")
}

// SeveralKeysError says that more than one key could be brought to a role.
type SeveralKeysError struct {
	Spec   string
	Tokens []Token
}

func (e *SeveralKeysError) Error() string {
	var names []string
	for _, t := range e.Tokens {
		names = append(names, t.String())
	}
	return fmt.Sprintf("%s is more than one key: %s", e.Spec, strings.Join(names, " and "))
}

// Hint says what to do.
func (e *SeveralKeysError) Hint() string {
	if len(e.Tokens) > 0 && strings.HasPrefix(e.Spec, "yubikey") {
		return "name the one that you bring, such as --key yubikey:" + e.Tokens[0].Serial + ", or remove the others"
	}
	return "name the one that you bring with --key, or remove the others"
}

// NoTokenError says that no token with a key is there.
type NoTokenError struct{ What string }

func (e *NoTokenError) Error() string { return e.What }

// Hint says what to do.
func (e *NoTokenError) Hint() string {
	return "insert your token; a new one gets its key with: tufops-sign keys generate"
}

// own is the key that the person brings to a new role: the first --key, the
// usual key of the configuration, its only signing key, that of its PKCS#11
// module, or what they answer. A key that the role lists already is none.
func (r *keyring) own(ctx context.Context, owner string, role metadata.Delegation) (*metadata.Key, error) {
	var uris []string
	for _, uri := range r.config.SigningKeys {
		uris = append(uris, uri)
	}
	uris = unique(uris)
	spec := ""
	switch {
	case len(r.explicit) > 0:
		spec = r.explicit[0]
	case r.config.Key != "":
		spec = r.config.Key
	case len(uris) == 1:
		spec = uris[0]
	case r.config.Module != "" && r.tokens != nil:
		spec = r.config.usual()
	case r.ask != nil:
		otherwise := ""
		if r.tokens != nil {
			otherwise = r.config.usual()
		}
		answer, err := r.ask(ctx, "Your key (yubikey, a pkcs11: URI or file:PATH)", otherwise)
		if err != nil {
			return nil, err
		}
		if answer == "" {
			answer = otherwise
		}
		r.explicit = append(r.explicit, answer)
		spec = answer
	case r.tokens != nil:
		spec = r.config.usual()
	default:
		return nil, &WrongKeyError{Owner: owner, Wanted: []string{"the key to sign with from now on"}}
	}
	h, err := r.bring(ctx, spec, role)
	if err != nil {
		return nil, err
	}
	r.brought = spec
	k, err := metadata.NewKey(h.signer.Public(), owner, "")
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	r.proof, r.doubt = proofOf(ctx, h)
	return k, ctx.Err()
}

// bring is the one key that a SPEC names and that a role does not list.
func (r *keyring) bring(ctx context.Context, spec string, role metadata.Delegation) (*holder, error) {
	list, err := r.hold(ctx, spec)
	if err != nil {
		return nil, err
	}
	listed := func(h holder) bool {
		return slices.ContainsFunc(keysOf(role), func(k *metadata.Key) bool { return k.Fingerprint() == h.print })
	}
	free := slices.DeleteFunc(slices.Clone(list), listed)
	switch {
	case len(list) == 0:
		return nil, &NoTokenError{r.describe(spec)}
	case len(free) == 0:
		return nil, &NoTokenError{r.describe(spec) + ": role " + role.Role + " lists that key already"}
	case len(free) > 1:
		e := &SeveralKeysError{Spec: spec}
		for _, h := range free {
			if k, ok := h.signer.(*onToken); ok {
				e.Tokens = append(e.Tokens, k.token)
			}
		}
		return nil, e
	}
	return &free[0], nil
}

// WrongKeyError says that none of the keys at hand is one that is asked to sign.
type WrongKeyError struct {
	Owner  string
	Wanted []string // "keyid ... of role ..."
	Tried  []string // what was looked at; none where no key was named at all
	Device bool     // a token that is not inserted may be what is missing
}

func (e *WrongKeyError) Error() string {
	wanted := "wanted of " + e.Owner + ": " + strings.Join(e.Wanted, ", or ")
	if len(e.Tried) == 0 {
		return "no key is named; " + wanted
	}
	return "not the right key: " + strings.Join(e.Tried, ", ") + "; " + wanted
}

// Hint says what to do.
func (e *WrongKeyError) Hint() string {
	if e.Device {
		return "insert the token that holds it and run the same command again; no PIN was asked for"
	}
	return "name the key with --key, or in the configuration as key = SPEC in [settings] or KEYID = SPEC in [signing-keys]"
}
