package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/kms/file"
)

// onlineKeys reads the public half of online keys.
type onlineKeys struct{ env cli.Env }

// Public reads a file2: key. Keys in a cloud need its client library, which this
// program does not have yet.
func (k onlineKeys) Public(ctx context.Context, uri string) (crypto.PublicKey, error) {
	switch scheme, _, _ := strings.Cut(uri, ":"); scheme {
	case file.Scheme:
	case "gcpkms", "awskms", "azurekms", "hv", "sigstore":
		return nil, cli.WithHint(fmt.Errorf("the public key of a %s: key cannot be fetched in this build", scheme),
			"name a key in a file (file2:PATH), or use a build that knows "+scheme+":")
	default:
		return nil, cli.WithHint(errors.New("this is no kind of online key that is known"), "name a key in a file: file2:PATH")
	}
	key, err := file.Keys{Prefix: k.env.Getenv(file.PrefixVariable)}.Resolve(ctx, uri, "")
	if err != nil {
		return nil, err
	}
	return key.Public(), nil
}
