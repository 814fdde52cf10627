package kmstest_test

import (
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/kms/kmstest"
	"github.com/tufops/tufops/onlinesign"
)

// The canary is good where signing is refused, and nowhere else: not where only the
// public part may not be read, which everybody has from the metadata.
func TestCanary(t *testing.T) {
	each(t, func(t *testing.T, a adapter) {
		f := a.start(t, quick)
		key, uri := a.make(t, f, a.schemes[1])
		listed := onlinesign.Candidate{URI: uri, Key: object(t, key, uri, a.schemes[1])}
		for _, test := range []struct {
			name       string
			read, sign kmstest.Fault
			good       bool
			want       string
		}{
			{"it may do both", "", "", false, "can sign with the key, and must not"},
			{"it may only sign", kmstest.Denied, "", false, "can sign with the key, and must not"},
			{"it may only read", "", kmstest.Denied, true, "may not sign"},
			{"it may do nothing", kmstest.Denied, kmstest.Denied, true, "may not sign"},
			{"it may not read, and the service is down", kmstest.Denied, kmstest.Down, false, "cannot be told"},
			{"it is logged out", kmstest.LoggedOut, kmstest.LoggedOut, false, "cannot be told"},
		} {
			f.service.Heal()
			for operation, fault := range map[string]kmstest.Fault{"read": test.read, "sign": test.sign} {
				if fault != "" {
					f.service.Break(operation, fault, kmstest.Forever)
				}
			}
			for _, c := range []onlinesign.Candidate{listed, {URI: f.uri}} { // and one that no metadata lists
				k, err := onlinesign.CheckDenied(t.Context(), f.keys, c)
				if err != nil || k.Good() != test.good || len(k.Steps) != 1 || !strings.Contains(k.Steps[0].Message, test.want) {
					t.Errorf("%s: good is %t, want %t: %+v, %v", test.name, k.Good(), test.good, k.Steps, err)
				}
			}
		}
	})
}
