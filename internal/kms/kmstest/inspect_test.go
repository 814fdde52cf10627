package kmstest_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/onlinesign"
)

// What a service tells about its key. Permissions are told where the service can
// tell them, and else that it cannot.
func TestInspect(t *testing.T) {
	for name, want := range map[string]struct {
		version, algorithm, protection string
		grant                          []string // beyond signing; nil where permissions are not told
	}{
		"gcp":   {"1", "EC_SIGN_P256_SHA256", "HSM", []string{"cloudkms.cryptoKeyVersions.destroy", "cloudkms.cryptoKeys.setIamPolicy"}},
		"aws":   {"", "ECC_NIST_P256", "", nil},
		"azure": {"0a1b2c", "EC-HSM P-256", "HSM", nil},
		"vault": {"1", "ecdsa-p256", "software", []string{"delete on transit/keys/online", "read on transit/export/signing-key/online"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := adapters[slices.IndexFunc(adapters, func(a adapter) bool { return a.name == name })]
			f := a.start(t, quick)
			signer, err := f.keys.Resolve(t.Context(), f.uri, "")
			if err != nil {
				t.Fatal(err)
			}
			inspector := signer.(onlinesign.Inspector)
			i, err := inspector.Inspect(t.Context())
			if err != nil || i.Version != want.version || i.Algorithm != want.algorithm || i.Protection != want.protection {
				t.Errorf("%+v, %v", i, err)
			}
			if i.Told != (want.grant != nil) || i.Told == (i.Untold != "") || i.Told != (len(i.Asked) > 0) || len(i.Excess) != 0 {
				t.Errorf("an identity that may only sign: %+v", i)
			}
			if n := f.service.Requests("sign"); n != 0 {
				t.Errorf("%d requests to sign", n)
			}
			if want.grant == nil {
				return
			}
			f.service.Grant(want.grant...)
			if i, err = inspector.Inspect(t.Context()); err != nil || !slices.Equal(i.Excess, want.grant) {
				t.Errorf("excess is %q, want %q: %v", i.Excess, want.grant, err)
			}
			f.service.Break("inspect", kmstest.Denied, kmstest.Forever)
			if i, err = inspector.Inspect(t.Context()); err != nil || i.Told || i.Untold == "" || i.Version != want.version {
				t.Errorf("when it may not ask: %+v, %v", i, err)
			}
			f.service.Break("inspect", kmstest.Down, kmstest.Forever)
			var key *onlinesign.KeyError
			if _, err = inspector.Inspect(t.Context()); !errors.As(err, &key) || key.URI != f.uri {
				t.Errorf("when the service is down: %v", err)
			}
		})
	}
}
