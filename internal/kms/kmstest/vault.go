package kmstest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/kms"
)

// VaultToken is the one that [Vault] knows.
const VaultToken = "hvs.token-of-a-test"

// Vault serves keys as Vault's transit engine does, and returns its URL.
func Vault(t testing.TB, s *Service) string {
	t.Helper()
	server := httptest.NewServer(transit{s})
	t.Cleanup(server.Close)
	return server.URL
}

type transit struct{ service *Service }

var transitTypes = map[string]string{
	kms.P256: "ecdsa-p256", kms.P384: "ecdsa-p384", kms.Ed25519: "ed25519",
	kms.PSS256: "rsa-2048", kms.PSS384: "rsa-3072", kms.PSS512: "rsa-4096", kms.PKCS1v256: "rsa-2048", kms.PKCS1v384: "rsa-2048", kms.PKCS1v512: "rsa-2048",
}

// transitFaults are status and message.
var transitFaults = map[Fault][2]string{
	Denied:    {"403", "1 error occurred:\n\t* permission denied\n\n"},
	LoggedOut: {"403", "permission denied"},
	Throttled: {"429", "request path \"transit\": rate limit quota exceeded"},
	Down:      {"503", "Vault is sealed"},
}

func (v transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	operation := map[string]string{
		"GET transit/keys/" + name: "read", "PUT transit/sign/" + name: "sign", "PUT sys/capabilities-self": "inspect", "GET auth/token/lookup-self": "lookup",
	}[r.Method+" "+path]
	if operation == "" || r.Header.Get("X-Vault-Request") != "true" {
		answerVault(w, "404", "no handler for route \""+path+"\"")
		return
	}
	fault := v.service.begin(r.Context(), operation)
	if said, ok := transitFaults[fault]; ok {
		answerVault(w, said[0], said[1])
		return
	}
	if fault == Echo {
		answerVault(w, "403", repeat(r))
		return
	}
	if r.Header.Get("X-Vault-Token") != VaultToken || operation == "lookup" && v.service.loggedOut() {
		answerVault(w, "403", "permission denied")
		return
	}
	if fault == CutOff {
		cutOff(w)
	}
	if fault == Garbage {
		fmt.Fprint(w, "<html>not what you look for</html>")
		return
	}
	versions := v.service.versions(name)
	switch operation {
	case "lookup":
		writeJSON(w, "application/json", 200, map[string]any{"data": map[string]any{"policies": []string{"default"}}})
	case "inspect":
		v.inspect(w, r)
	case "read":
		if fault == Gone || len(versions) == 0 {
			answerVault(w, "404")
			return
		}
		v.read(w, name, versions, fault)
	case "sign":
		if fault == Gone || len(versions) == 0 {
			answerVault(w, "400", "signing key not found")
			return
		}
		v.sign(w, r, name, fault)
	}
}

func (v transit) read(w http.ResponseWriter, name string, versions []string, fault Fault) {
	keys, latest, scheme := map[string]any{}, 0, ""
	for _, version := range versions {
		k := v.service.find(name, version)
		n, err := strconv.Atoi(version)
		if err != nil {
			panic(err)
		}
		latest, scheme = max(latest, n), k.Scheme
		entry := map[string]any{"creation_time": "2026-01-01T00:00:00Z", "name": transitTypes[scheme], "public_key": text(k.public(fault), fault)}
		switch fault {
		case Disabled, Destroyed: // they are no longer listed
		case OtherVersion:
			keys[version] = map[string]any{"public_key": "", "version": "other"}
		default:
			keys[version] = entry
		}
	}
	writeJSON(w, "application/json", 200, map[string]any{"data": map[string]any{
		"name": name, "type": transitTypes[scheme], "latest_version": latest, "min_decryption_version": 1, "min_encryption_version": 0,
		"exportable": false, "derived": false, "supports_signing": true, "keys": keys,
	}})
}

func text(public crypto.PublicKey, fault Fault) string {
	if raw, ok := public.(ed25519.PublicKey); ok {
		return base64.StdEncoding.EncodeToString(raw)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	if fault == Corrupted {
		der = der[:len(der)-1]
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (v transit) sign(w http.ResponseWriter, r *http.Request, name string, fault Fault) {
	var in struct {
		Input      []byte `json:"input"`
		Version    int    `json:"key_version"`
		Prehashed  bool   `json:"prehashed"`
		Hash       string `json:"hash_algorithm"`
		Marshaling string `json:"marshaling_algorithm"`
		Algorithm  string `json:"signature_algorithm"`
		Salt       string `json:"salt_length"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		answerVault(w, "400", "error converting input: "+err.Error())
		return
	}
	if fault == Disabled || fault == Destroyed {
		answerVault(w, "400", "requested version for signing is less than the minimum encryption key version")
		return
	}
	k := v.service.find(name, strconv.Itoa(in.Version)) // 0 is the newest with Vault, and nothing here: an adapter says which
	if k == nil {
		answerVault(w, "400", "requested version for signing is higher than the latest key version")
		return
	}
	scheme := k.Scheme
	bits := strings.TrimPrefix(in.Hash, "sha2-")
	switch kind(scheme) {
	case "rsa":
		if scheme = "rsassa-pss-sha" + bits; in.Algorithm == "pkcs1v15" {
			scheme = "rsa-pkcs1v15-sha" + bits
		}
		if !slices.Contains(kms.RSASchemes, scheme) || in.Algorithm == "" || in.Algorithm == "pss" && in.Salt != "hash" {
			answerVault(w, "400", "unsupported signature algorithm "+in.Algorithm+" "+in.Hash)
			return
		}
	case "ecdsa":
		if strings.TrimPrefix(scheme, "ecdsa-sha2-nistp") != bits || in.Marshaling != "asn1" {
			answerVault(w, "400", "unsupported hash algorithm "+in.Hash)
			return
		}
	}
	if in.Prehashed != (kms.Hash(scheme) != 0) {
		answerVault(w, "400", "prehashed does not fit the key")
		return
	}
	sig, err := k.sign(fault, scheme, in.Input)
	if err != nil {
		answerVault(w, "400", err.Error())
		return
	}
	version := in.Version
	if fault == OtherVersion {
		version++
	}
	writeJSON(w, "application/json", 200, map[string]any{"data": map[string]any{
		"signature": fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(sig)), "key_version": version,
	}})
}

func (v transit) inspect(w http.ResponseWriter, r *http.Request) {
	var in struct{ Paths []string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		answerVault(w, "400", err.Error())
		return
	}
	data := map[string]any{}
	for _, path := range in.Paths {
		capabilities := []string{}
		switch {
		case strings.HasPrefix(path, "transit/keys/") && strings.Count(path, "/") == 2:
			capabilities = append(capabilities, "read")
		case strings.HasPrefix(path, "transit/sign/"):
			capabilities = append(capabilities, "update")
		}
		for _, excess := range v.service.granted() {
			if capability, on, _ := strings.Cut(excess, " on "); on == path {
				capabilities = append(capabilities, capability)
			}
		}
		if len(capabilities) == 0 {
			capabilities = []string{"deny"}
		}
		data[path] = capabilities
	}
	writeJSON(w, "application/json", 200, map[string]any{"data": data})
}

func answerVault(w http.ResponseWriter, status string, messages ...string) {
	var n int
	fmt.Sscan(status, &n)
	writeJSON(w, "application/json", n, map[string]any{"errors": append([]string{}, messages...)})
}
