package pkcs11

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for spec, want := range map[string]uri{
		"pkcs11:": {id: "\x02"},
		"pkcs11:id=%02?module-path=/usr/lib/x.so":                  {id: "\x02", module: "/usr/lib/x.so"},
		"pkcs11:token=My%20token;serial=ab;id=%01%ff;type=private": {token: "My token", serial: "ab", id: "\x01\xff"},
		"pkcs11:object=k;manufacturer=m;model=n;slot-id=7":         {object: "k", manufacturer: "m", model: "n", slot: 7, hasSlot: true},
		"pkcs11:id=%02?module-path=/a%20b.so":                      {id: "\x02", module: "/a b.so"},
	} {
		if got, err := parse(spec); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for spec, words := range map[string]string{
		"yubikey":                              "is no pkcs11: URI",
		"pkcs11:token":                         `attribute "token" that is not NAME=VALUE`,
		"pkcs11:token=%zz":                     `attribute "token" that is not NAME=VALUE`,
		"pkcs11:token=a;token=b":               "has the attribute token twice",
		"pkcs11:type=cert":                     "selects objects of type cert",
		"pkcs11:slot-id=x":                     "which is no number",
		"pkcs11:module-path=/x.so":             "has the attribute module-path, which is not known",
		"pkcs11:colour=red":                    "has the attribute colour, which is not known",
		"pkcs11:?module-name=x":                "has the attribute module-name, which is not known",
		"pkcs11:id=%02?pin-value=123456":       "holds a PIN",
		"pkcs11:?pin-source=/p&module-path=/x": "holds a PIN",
	} {
		_, err := parse(spec)
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "123456") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
