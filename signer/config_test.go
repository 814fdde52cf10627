package signer

import "testing"

// A key of the configuration means the same as in tuf-on-ci's, whose form is
// hsm:ID?label=TOKEN, and a file lies beside the configuration.
func TestConfigSpec(t *testing.T) {
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	for _, test := range []struct {
		module, spec, want string
	}{
		{"", "yubikey:123", "yubikey:123"},
		{"", "file:key.pem", "file:/clone/key.pem"},
		{"", "file:/home/alice/key.pem", "file:/home/alice/key.pem"},

		{"", "hsm:", "yubikey"},
		{"", "hsm:?label=YubiKey+PIV+%23123", "yubikey:123"},
		{"", "hsm:2?label=YubiKey+PIV+%23123", "yubikey:123"},
		{"", "hsm:1?label=YubiKey+PIV+%23123", "pkcs11:id=%01;token=YubiKey%20PIV%20%23123"}, // another slot than 9c
		{"", "hsm:2", "pkcs11:id=%02"},
		{module, "hsm:", "pkcs11:id=%02"},
		{module, "hsm:10?label=mine", "pkcs11:id=%0A;token=mine"},
		{module, "hsm:2?label=YubiKey+PIV+%23123", "pkcs11:id=%02;token=YubiKey%20PIV%20%23123"},

		// What cannot be read stays, for the message that names it.
		{"", "hsm:256", "hsm:256"},
		{"", "hsm:two", "hsm:two"},
		{"", "hsm:2?label=%zz", "hsm:2?label=%zz"},
	} {
		if got := (Config{Module: test.module}).spec(test.spec, "/clone"); got != test.want {
			t.Errorf("with the module %q %s is %s, want %s", test.module, test.spec, got, test.want)
		}
	}
}
