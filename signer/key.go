package signer

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// Key is a private key in this machine's memory or files. Those on devices are
// [Tokens].
type Key interface {
	// String names the key to the person: the SPEC it was opened with, or better.
	String() string
	// Locked reports whether the public key cannot be read before the passphrase
	// is known.
	Locked() bool
	// Open returns what signs. pin asks the person, or takes TUFOPS_PIN; it is
	// called only if the key is Locked. A wrong passphrase is an error and not
	// asked again.
	Open(ctx context.Context, pin PIN) (metadata.Signer, error)
}

// PIN asks for the passphrase of a key.
type PIN func(ctx context.Context, key string) (string, error)

// SpecError says that a key SPEC is none that this program can use.
type SpecError struct{ Spec, Reason string }

func (e *SpecError) Error() string { return fmt.Sprintf("key %q %s", e.Spec, e.Reason) }

// Hint says what to do.
func (e *SpecError) Hint() string {
	return "name a token (yubikey, or yubikey:SERIAL), a PKCS#11 key (pkcs11:id=%02?module-path=PATH), or a file with a PKCS#8 private key (file:PATH)"
}

const maxKeyFile = 1 << 20

// OpenFileKey opens a key of the form file:PATH, a PKCS#8 private key in PEM,
// encrypted (PBES2) or not.
func OpenFileKey(spec string) (Key, error) {
	path, ok := strings.CutPrefix(spec, "file:")
	if !ok || path == "" {
		return nil, &SpecError{spec, "is neither of the form file:PATH nor a hardware key"}
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
