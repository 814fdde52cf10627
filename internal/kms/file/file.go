// Package file finds online keys in files on this machine: `file2:PATH`, as
// tuf-on-ci has it. It is for tests and demos, and for a night on which nothing
// else works: whoever reads the file can sign freshness for every client.
//
// It reads the file it is told to and no other, writes nothing, and never shows
// what is in it.
package file

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/mldsa/x509"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
)

// Scheme is what stands before the colon of the URIs of this package.
const Scheme = "file2"

// PrefixVariable names the folder that relative paths lie below.
const PrefixVariable = "CRYPTO_SIGNER_PATH_PREFIX"

// maxFile is far more than any key has.
const maxFile = 64 << 10

// Keys finds keys in files: PKCS#8, PEM, not encrypted. RSA, ECDSA on P-256 and
// P-384, Ed25519, and ML-DSA by its seed.
type Keys struct {
	// Prefix is the folder that relative paths lie below; "" is the current one.
	Prefix string
}

// Resolve reads the key. Every error is an *[onlinesign.KeyError].
func (k Keys) Resolve(_ context.Context, uri, _ string) (metadata.Signer, error) {
	fail := func(operation, fix string, err error) (metadata.Signer, error) {
		return nil, &onlinesign.KeyError{URI: uri, Operation: operation, Fix: fix, Err: err}
	}
	name, ok := strings.CutPrefix(uri, Scheme+":")
	if !ok || name == "" {
		return fail("find", "write it as file2:PATH", errors.New("it names no file"))
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(k.Prefix, name)
	}
	data, err := read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && k.Prefix == "":
		return fail("find", "put the key there, or set "+PrefixVariable+" to the folder that it is in", err)
	case errors.Is(err, fs.ErrNotExist):
		return fail("find", "put the key there, or set "+PrefixVariable+", now "+k.Prefix+", to the folder that it is in", err)
	case err != nil:
		return fail("read", "see that this user can read the file", err)
	}
	key, err := parse(data)
	if err != nil {
		return fail("read", "the file must be an unencrypted PKCS#8 key in PEM: openssl pkcs8 -topk8 -nocrypt -in KEY -out "+name, fmt.Errorf("%s: %w", name, err))
	}
	if _, err := metadata.NewKey(key.Public(), "", ""); err != nil {
		return fail("read", "make a key of a supported type: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "+name, fmt.Errorf("%s: %w", name, err))
	}
	return metadata.LocalSigner(key), nil
}

func read(name string) ([]byte, error) {
	if st, err := os.Stat(name); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() { // a named pipe would wait for a writer
		return nil, fmt.Errorf("%s is not a file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes: it is no key", name, maxFile)
	}
	return data, err
}

func parse(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it holds no PEM block")
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("it holds a PEM block %.40q, not PRIVATE KEY", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the PEM block does not hold a PKCS#8 key") // x509's words could show a part of it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("keys of type %T do not sign", key)
	}
	return signer, nil
}
