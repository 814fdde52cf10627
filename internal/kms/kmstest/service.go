// Package kmstest holds key services of ours, which speak the protocols of
// Google Cloud KMS, AWS KMS, Azure Key Vault and Vault to the vendors' own
// clients, over loopback. They keep state, refuse what the real ones refuse, and
// break on demand.
//
// It trusts its caller, and its keys are worth nothing: they are for tests.
package kmstest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/internal/kms"
)

// Fault is how a [Service] breaks.
type Fault string

// The faults.
const (
	Denied       Fault = "denied"           // this identity may not
	LoggedOut    Fault = "logged out"       // its credentials are not valid
	Throttled    Fault = "throttled"        // too many requests
	Down         Fault = "down"             // answers that it cannot, now
	Hangs        Fault = "hangs"            // never answers
	Garbage      Fault = "garbage"          // answers, but not in its protocol
	CutOff       Fault = "cut off"          // the connection breaks in the middle of the answer
	Damaged      Fault = "damaged"          // what was sent does not arrive as it was
	Corrupted    Fault = "corrupted"        // one bit of the public key or the signature is another
	OtherKey     Fault = "another key"      // uses another key of the same type
	OtherVersion Fault = "another version"  // says that it has used another version
	Unchecked    Fault = "unchecked"        // does not confirm the checksum it was sent
	Disabled     Fault = "disabled version" // of the key
	Destroyed    Fault = "destroyed version"
	Gone         Fault = "key not found"
	Echo         Fault = "echo" // refuses, and repeats all that it was sent
)

// Service is what lies behind a protocol: keys, and what is broken. It is safe
// for concurrent use.
type Service struct {
	mu     sync.Mutex
	keys   map[string]map[string]*Key // by name and version
	broken map[string]*broken         // by operation
	log    []string
	excess []string // permissions, in the service's words
	end    <-chan struct{}
}

type broken struct {
	fault Fault
	times int
}

// Key is one version of a key.
type Key struct {
	Name, Version string
	Scheme        string // as metadata lists it
	Private       crypto.Signer
	other         crypto.Signer
}

// NewService makes one without keys.
func NewService(t testing.TB) *Service {
	return &Service{keys: map[string]map[string]*Key{}, broken: map[string]*broken{}, end: t.Context().Done()}
}

// Forever is how often a fault happens that does not heal.
const Forever = -1

// Break has the next requests for an operation fail: "read" the public key,
// "sign", "list" the versions, "inspect" the permissions. No times heal it.
func (s *Service) Break(operation string, fault Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[operation] = &broken{fault, times}
}

// Heal ends all faults.
func (s *Service) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.broken)
}

// Grant gives the identity that asks permissions beyond signing.
func (s *Service) Grant(permissions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.excess = permissions
}

func (s *Service) granted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.excess)
}

// Requests counts the requests for an operation so far, those that failed
// included.
func (s *Service) Requests(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, o := range s.log {
		if o == operation {
			n++
		}
	}
	return n
}

// begin notes a request, and returns how it is to fail. A request that hangs
// ends with its ctx, or the test.
func (s *Service) begin(ctx context.Context, operation string) Fault {
	s.mu.Lock()
	s.log = append(s.log, operation)
	fault := Fault("")
	if b := s.broken[operation]; b != nil && b.times != 0 {
		fault = b.fault
		b.times--
	}
	s.mu.Unlock()
	if fault == Hangs {
		select {
		case <-ctx.Done():
		case <-s.end:
		}
	}
	return fault
}

// Make makes a version of a key that signs in a scheme.
func (s *Service) Make(t testing.TB, name, version, scheme string) *Key {
	t.Helper()
	k := &Key{Name: name, Version: version, Scheme: scheme, Private: private(t, scheme), other: private(t, scheme)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[name] == nil {
		s.keys[name] = map[string]*Key{}
	}
	s.keys[name][version] = k
	return k
}

// find is a version of a key; nil if there is none.
func (s *Service) find(name, version string) *Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[name][version]
}

// versions are those of a key, sorted.
func (s *Service) versions(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for v := range s.keys[name] {
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

// public is what the service says is the public key.
func (k *Key) public(fault Fault) crypto.PublicKey {
	if fault == OtherKey {
		return k.other.Public()
	}
	return k.Private.Public()
}

// signsIn reports whether the key is of the type that a scheme is for.
func (k *Key) signsIn(scheme string) bool {
	return kind(scheme) == kind(k.Scheme) && (kind(scheme) != "ecdsa" || scheme == k.Scheme)
}

// sign signs a digest, or a payload for Ed25519. It refuses what the key is not
// for.
func (k *Key) sign(fault Fault, scheme string, message []byte) ([]byte, error) {
	hash := kms.Hash(scheme)
	if !k.signsIn(scheme) {
		return nil, fmt.Errorf("a key for %s does not sign in %s", k.Scheme, scheme)
	}
	if hash != 0 && len(message) != hash.Size() {
		return nil, fmt.Errorf("a digest of %d bytes, not %d", len(message), hash.Size())
	}
	private := k.Private
	if fault == OtherKey {
		private = k.other
	}
	var options crypto.SignerOpts = hash
	if kms.PSS(scheme) {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := private.Sign(rand.Reader, message, options)
	if fault == Corrupted && err == nil {
		sig = flip(sig)
	}
	return sig, err
}

// cutOff begins an answer, and ends the connection.
func cutOff(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "500")
	fmt.Fprint(w, `{"`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// repeat is a request as text.
func repeat(r *http.Request) string {
	text, err := httputil.DumpRequest(r, true)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func flip(data []byte) []byte {
	data = slices.Clone(data)
	data[len(data)-1] ^= 1
	return data
}

func kind(scheme string) string {
	kind, _, _ := strings.Cut(scheme, "-")
	return strings.Replace(kind, "rsassa", "rsa", 1)
}

// rsaKeys are two: making one takes long.
var rsaKeys = sync.OnceValues(func() ([]*rsa.PrivateKey, error) {
	var keys []*rsa.PrivateKey
	for range 2 {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
})

var rsaNext struct {
	sync.Mutex
	n int
}

func private(t testing.TB, scheme string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch {
	case scheme == kms.P256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case scheme == kms.P384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case scheme == kms.Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case kind(scheme) == "rsa":
		var keys []*rsa.PrivateKey
		if keys, err = rsaKeys(); err == nil {
			rsaNext.Lock()
			defer rsaNext.Unlock()
			key, rsaNext.n = keys[rsaNext.n%2], rsaNext.n+1
		}
	default:
		t.Fatalf("no key signs in %s", scheme)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// loggedOut reports whether the credentials are refused somewhere.
func (s *Service) loggedOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.broken {
		if b.fault == LoggedOut {
			return true
		}
	}
	return false
}
