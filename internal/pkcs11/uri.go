// Package pkcs11 signs with keys on devices that come with a PKCS#11 module:
// hardware security modules, smart cards, SoftHSM in tests. YubiKeys need no
// module, see package yubikey.
//
// It runs somebody else's code in this process, the module. So it loads none
// that lies in the checkout, nor one that a SPEC does not name. The module is
// loaded for each call and given back after it, so no login outlives a
// signature: a login is the process's in PKCS#11, and the next one would succeed
// with any PIN.
//
// It is built with cgo only; without, [Open] says so.
package pkcs11

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tufops/tufops/signer"
)

// defaultID is the CKA_ID of PIV slot 9c in Yubico's module, which tuf-on-ci
// looks for as well.
const defaultID = "\x02"

// uri is what a pkcs11: URI selects (RFC 7512). An attribute that is empty
// selects all.
type uri struct {
	module                             string
	token, serial, manufacturer, model string
	object, id                         string
	slot                               uint
	hasSlot                            bool
}

// parse reads a pkcs11: URI. What it does not know it refuses: to leave an
// attribute out would select more than was asked for.
func parse(spec string) (uri, error) {
	refuse := func(format string, args ...any) (uri, error) {
		return uri{}, &signer.SpecError{Spec: shown(spec), Reason: fmt.Sprintf(format, args...)}
	}
	rest, ok := strings.CutPrefix(spec, "pkcs11:")
	if !ok {
		return refuse("is no pkcs11: URI")
	}
	path, query, _ := strings.Cut(rest, "?")
	var u uri
	seen := map[string]bool{}
	for sep, part := range map[string]string{";": path, "&": query} {
		for attribute := range strings.SplitSeq(part, sep) {
			if attribute == "" {
				continue
			}
			name, raw, ok := strings.Cut(attribute, "=")
			value, err := url.PathUnescape(raw)
			if !ok || err != nil {
				return refuse("has an attribute %q that is not NAME=VALUE", name)
			}
			if seen[name] {
				return refuse("has the attribute %s twice", name)
			}
			seen[name] = true
			switch sep + name {
			case ";token":
				u.token = value
			case ";serial":
				u.serial = value
			case ";manufacturer":
				u.manufacturer = value
			case ";model":
				u.model = value
			case ";object":
				u.object = value
			case ";id":
				u.id = value
			case ";slot-id":
				n, err := strconv.ParseUint(value, 10, 32)
				if err != nil {
					return refuse("has the slot-id %q, which is no number", value)
				}
				u.slot, u.hasSlot = uint(n), true
			case ";type":
				if value != "private" && value != "public" {
					return refuse("selects objects of type %s, which do not sign", value)
				}
			case "&module-path":
				u.module = value
			case "&pin-value", "&pin-source":
				return refuse("holds a PIN, which everybody on this machine could read: take it out, and you are asked, or set TUFOPS_PIN")
			default:
				return refuse("has the attribute %s, which is not known here", name)
			}
		}
	}
	if u.object == "" && u.id == "" {
		u.id = defaultID
	}
	return u, nil
}

// shown is a SPEC as it may be shown: without a PIN.
func shown(spec string) string {
	for _, name := range []string{"pin-value=", "pin-source="} {
		if at := strings.Index(spec, name); at >= 0 {
			end := strings.IndexByte(spec[at:], '&')
			if end < 0 {
				end = len(spec) - at
			}
			spec = spec[:at+len(name)] + "..." + spec[at+end:]
		}
	}
	return spec
}

// slotOf says where on a device a key is.
func slotOf(id, label string) string {
	if id == "" {
		return label
	}
	return "id " + hex.EncodeToString([]byte(id))
}
