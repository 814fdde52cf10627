package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/kms"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/services"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/repository"
)

// onlineKeys reads the public half of online keys, and tries them: what stands in
// root takes people to put right.
type onlineKeys struct {
	env     cli.Env
	log     *slog.Logger
	untried bool   // it is not asked to sign: this person may not
	public  string // file that the public key is in, for want of a login; "" for none
}

// later is what people do about a key that was not tried.
const later = "before the merge, start the workflow that signs online by hand with this event, which tries it"

// Public reads the public half of a key, with the login of the person who asks,
// and has it sign a test message, as tufops keys check does.
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
	_, known := keys[scheme]
	if k.public != "" && known {
		k.log.Warn(fmt.Sprintf("no service was asked whether %s is of %s: %s", k.public, uri, later))
		return readPublic(k.public)
	}
	if known {
		if err := cli.RefuseSimulatedClock(k.env, services.Endpoints(uri, k.env.Getenv)...); err != nil {
			return nil, err
		}
	}
	key, err := keys.Resolve(ctx, uri, "")
	if failed := (*kms.Failure)(nil); errors.As(err, &failed) && (failed.Cause == kms.NoCredentials || failed.Cause == kms.Denied) {
		return nil, cli.WithHint(err, hintOf(err)+"; or have its public key from somebody who may read it, and add --online-public FILE")
	}
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
	if k.untried {
		k.log.Warn(uri + " was not asked to sign: " + later)
		return key.Public(), nil
	}
	return key.Public(), k.try(ctx, keys, uri, object)
}

// try has a key sign. What else the check finds is a warning here: what this
// person may do is not what the machine may, and how a key is named a rule judges.
func (k onlineKeys) try(ctx context.Context, keys onlinesign.Keys, uri string, object *metadata.Key) error {
	checked, err := onlinesign.Check(ctx, keys, repository.Policy{}, onlinesign.Candidate{URI: uri, Key: object})
	if err != nil {
		return err
	}
	for _, s := range checked.Steps {
		switch {
		case s.Outcome == onlinesign.OutcomeFailed && s.Err != nil:
			return cli.WithHint(s.Err, s.Hint+"; if you are not one who may sign with it, add --no-check")
		case s.Step == onlinesign.StepPinned && s.Outcome != onlinesign.OutcomeOK:
			k.log.Warn(uri + ": " + s.Message)
		}
	}
	return nil
}

func hintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return "log in"
}

// readPublic reads a public key as the services give it: PKIX in PEM.
func readPublic(name string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, cli.WithHint(fmt.Errorf("%s holds no public key in PEM form", name), "it must begin with: -----BEGIN PUBLIC KEY-----")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the public key in %s: %w", name, err)
	}
	return key, nil
}
