package signer

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// Key is a private key that a person can sign with, wherever it is.
type Key interface {
	// String names the key to the person: the SPEC it was opened with, or better.
	String() string
	// Locked reports whether the public key cannot be read before the PIN or
	// passphrase is known. A hardware key is not locked in this sense.
	Locked() bool
	// Open returns what signs. pin asks the person, or takes TUFOPS_PIN; it is
	// called here only if the key is Locked, and otherwise not before the first
	// Sign. A wrong passphrase is an error and not asked again.
	Open(ctx context.Context, pin PIN) (metadata.Signer, error)
}

// PIN asks for the PIN or passphrase of a key.
type PIN func(ctx context.Context, key string) (string, error)

// SpecError says that a key SPEC is none that this program can use.
type SpecError struct{ Spec, Reason string }

func (e *SpecError) Error() string { return fmt.Sprintf("key %q %s", e.Spec, e.Reason) }

// Hint says what to do.
func (e *SpecError) Hint() string { return "name a file with a PKCS#8 private key: file:PATH" }

const maxKeyFile = 1 << 20

// OpenFileKey opens a key of the form file:PATH, a PKCS#8 private key in PEM,
// encrypted (PBES2) or not.
func OpenFileKey(spec string) (Key, error) {
	path, ok := strings.CutPrefix(spec, "file:")
	switch scheme, _, _ := strings.Cut(spec, ":"); {
	case ok && path != "":
	case scheme == "yubikey" || scheme == "pkcs11":
		return nil, &SpecError{spec, "names a hardware key, which this build cannot use yet"}
	default:
		return nil, &SpecError{spec, "is not of the form file:PATH"}
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxKeyFile {
		return nil, &SpecError{spec, "is not a regular file of reasonable size"}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	k := &fileKey{spec: spec}
	if k.der, k.encrypted, err = privateKeyBlock(data); err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	return k, nil
}

type fileKey struct {
	spec      string
	der       []byte
	encrypted bool
}

func (k *fileKey) String() string { return k.spec }

func (k *fileKey) Locked() bool { return k.encrypted }

func (k *fileKey) Open(ctx context.Context, pin PIN) (metadata.Signer, error) {
	var key crypto.Signer
	var err error
	if k.encrypted {
		passphrase, perr := pin(ctx, k.spec)
		if perr != nil {
			return nil, perr
		}
		key, err = decryptPKCS8(k.der, passphrase)
	} else {
		key, err = parsePKCS8(k.der)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", k.spec, err)
	}
	return metadata.LocalSigner(key), nil
}

// WrongKeyError says that none of the keys at hand is one that is asked to sign.
type WrongKeyError struct {
	Owner  string
	Wanted []string // "keyid ... of role ..."
	Tried  []string // SPECs; none where no key was named at all
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
	return "name the key with --key, or in the configuration as key = SPEC in [settings] or KEYID = SPEC in [signing-keys]"
}

// keyring finds the private key for a keyid. Each key is opened once.
type keyring struct {
	explicit []string // --key, in order
	config   Config
	open     func(string) (Key, error)
	pin      PIN
	ask      func(ctx context.Context, question string) (string, error) // nil: nobody is asked

	keys    map[string]Key
	signers map[string]metadata.Signer
	prints  map[string]string // fingerprint of what was opened
	failed  map[string]error  // why a key of the configuration could not be read
	brought string            // the SPEC of the key that was brought to a role
}

// key opens what a SPEC names, once.
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

// signer opens the key and reads its public key, once.
func (r *keyring) signer(ctx context.Context, spec string) (metadata.Signer, error) {
	if s, ok := r.signers[spec]; ok {
		return s, nil
	}
	k, err := r.key(spec)
	if err != nil {
		return nil, err
	}
	s, err := k.Open(ctx, r.pin)
	if err != nil {
		return nil, err
	}
	public, err := metadata.NewKey(s.Public(), "", "")
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	r.signers[spec], r.prints[spec] = s, public.Fingerprint()
	return s, nil
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
	return unique(append(list, rest...))
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
func (r *keyring) find(ctx context.Context, want *metadata.Key) (s metadata.Signer, spec string, tried []string, err error) {
	tried = r.candidates(want.ID)
	for pass := range 4 {
		explicit, locked := pass < 2, pass%2 == 1
		for _, spec := range tried {
			if slices.Contains(r.explicit, spec) != explicit {
				continue
			}
			k, err := r.key(spec)
			if err != nil {
				if explicit {
					return nil, "", nil, err
				}
				r.failed[spec] = err
				continue
			}
			if k.Locked() != locked {
				continue
			}
			s, err := r.signer(ctx, spec)
			if err != nil {
				return nil, "", nil, err
			}
			if r.prints[spec] == want.Fingerprint() {
				return s, spec, tried, nil
			}
		}
	}
	return nil, "", tried, nil
}

// own is the key that the person brings to a new role: the first --key, the
// usual key of the configuration, its only signing key, or what they answer.
func (r *keyring) own(ctx context.Context, owner string) (*metadata.Key, error) {
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
	case r.ask != nil:
		answer, err := r.ask(ctx, "Your key (file:PATH)")
		if err != nil {
			return nil, err
		}
		r.explicit = append(r.explicit, answer)
		spec = answer
	default:
		return nil, &WrongKeyError{Owner: owner, Wanted: []string{"the key to sign with from now on"}}
	}
	s, err := r.signer(ctx, spec)
	if err != nil {
		return nil, err
	}
	r.brought = spec
	k, err := metadata.NewKey(s.Public(), owner, "")
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", spec, err)
	}
	return k, nil
}
