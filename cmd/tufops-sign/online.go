package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/services"
	"github.com/tufops/tufops/internal/metadata"
)

// onlineKeys reads the public half of online keys.
type onlineKeys struct{ env cli.Env }

// Public reads the public half of a key, with the login of the person who asks.
//
// A key object of ours lists one scheme for each type of key. A key that signs in
// another, as one of RSA at Google may, is refused here, and not at its first
// signature.
func (k onlineKeys) Public(ctx context.Context, uri string) (crypto.PublicKey, error) {
	scheme, _, _ := strings.Cut(uri, ":")
	if scheme == "sigstore" {
		return nil, cli.WithHint(errors.New("clients that are built with go-tuf cannot read metadata that lists a key of Sigstore's: its signatures are not in hex"),
			"name a key that has a private half: gcpkms:, awskms:, azurekms:, hv: or file2:")
	}
	keys := services.New(k.env.Getenv(file.PrefixVariable))
	if _, known := keys[scheme]; known {
		if err := cli.RefuseSimulatedClock(k.env, uri); err != nil {
			return nil, err
		}
	}
	key, err := keys.Resolve(ctx, uri, "")
	if err != nil {
		return nil, err
	}
	object, err := metadata.NewKey(key.Public(), "", uri)
	if err != nil {
		return nil, err
	}
	if _, err := keys.Resolve(ctx, uri, object.Scheme); err != nil {
		return nil, fmt.Errorf("the metadata would list it as %s: %w", object.Scheme, err)
	}
	return key.Public(), nil
}
