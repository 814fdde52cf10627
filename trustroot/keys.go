package trustroot

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// parseKey reads a public key as the kind that a file declares.
func parseKey(raw []byte, details string) (any, error) {
	switch {
	case len(raw) == 0:
		return nil, errors.New("there is no key")
	case details == "" || details == "PUBLIC_KEY_DETAILS_UNSPECIFIED":
		return nil, errors.New("keyDetails does not say of what kind it is")
	case strings.HasPrefix(details, "PKCS1_RSA"):
		key, err := x509.ParsePKCS1PublicKey(raw)
		if err != nil {
			return nil, fmt.Errorf("it is not the PKCS#1 form of an RSA key: %w", err)
		}
		return key, nil
	}
	key, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("it is not a public key in PKIX form: %w", err)
	}
	fits := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		for prefix, curve := range map[string]elliptic.Curve{"P256": elliptic.P256(), "P384": elliptic.P384(), "P521": elliptic.P521()} {
			fits = fits || strings.HasPrefix(details, "PKIX_ECDSA_"+prefix) && k.Curve == curve
		}
	case ed25519.PublicKey:
		fits = strings.HasPrefix(details, "PKIX_ED25519")
	case *rsa.PublicKey:
		fits = strings.HasPrefix(details, "PKIX_RSA")
		for _, size := range []int{2048, 3072, 4096} {
			if strings.Contains(details, fmt.Sprintf("_%d_", size)) {
				fits = fits && k.N.BitLen() == size
			}
		}
	}
	if !fits {
		return nil, fmt.Errorf("it is %s, but keyDetails says %s", keyName(key), details)
	}
	return key, nil
}

// keyName names the kind of a key as people do.
func keyName(key any) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	}
	return "a key of an unknown kind"
}

// spki is the PKIX form of a key; what is in the file where it cannot be parsed.
func spki(key any, raw []byte) []byte {
	if key != nil {
		if der, err := x509.MarshalPKIXPublicKey(key); err == nil {
			return der
		}
	}
	return raw
}

// shardName is how hosts of Rekor v2 shards are called: log2025-1.rekor...
var shardName = regexp.MustCompile(`^log[0-9]{4}-`)

// rekorV2 reports whether a log is known to speak Rekor v2: by the name of its
// shard, or because a signing configuration says so.
func (e Entry) rekorV2(configs []*Document) bool {
	if e.Section != TLogs {
		return false
	}
	if shardName.MatchString(host(e.URL)) {
		return true
	}
	for _, d := range configs {
		for _, s := range d.In(RekorURLs) {
			if s.Version == 2 && sameURL(s.URL, e.URL) {
				return true
			}
		}
	}
	return false
}

// spkiID is the log id of RFC 6962: the SHA-256 of the key.
func (e Entry) spkiID() []byte {
	sum := sha256.Sum256(spki(e.Key, e.RawKey))
	return sum[:]
}

// noteID is the log id of a Rekor v2 log: the key id of C2SP signed-note before
// it is cut to four bytes, with the host of the log as its name.
//
// Spec: https://github.com/C2SP/C2SP/blob/main/signed-note.md#signature-types
func (e Entry) noteID() []byte {
	const ed25519Type = 0x01
	h := sha256.New()
	h.Write([]byte(origin(e.URL)))
	if key, ok := e.Key.(ed25519.PublicKey); ok {
		h.Write(append([]byte{'\n', ed25519Type}, key...))
	} else {
		// An ECDSA log states the SHA-256 of its key.
		return e.spkiID()
	}
	return h.Sum(nil)
}

// origin is the name of a log in its checkpoints: its URL without the scheme.
func origin(u string) string {
	_, rest, ok := strings.Cut(u, "://")
	if !ok {
		rest = u
	}
	return strings.TrimSuffix(rest, "/")
}

func host(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || parsed.Host == "" {
		return ""
	}
	return strings.ToLower(parsed.Hostname())
}

// sameURL compares URLs as clients do not but people do: without a slash at the
// end.
func sameURL(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }

// pkcs1 is the hash of an RSA key in PKCS#1 form; nil for other keys.
func pkcs1(e Entry) []byte {
	key, ok := e.Key.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(key))
	return sum[:]
}
