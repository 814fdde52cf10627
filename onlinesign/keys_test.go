package onlinesign_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// liar says that it has one key and signs with another.
type liar struct {
	public crypto.PublicKey
	signer metadata.Signer
}

func (l liar) Public() crypto.PublicKey { return l.public }
func (l liar) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	return l.signer.Sign(ctx, payload)
}

// keysFunc finds keys by a function.
type keysFunc func(uri string) (metadata.Signer, error)

func (f keysFunc) Resolve(_ context.Context, uri, _ string) (metadata.Signer, error) { return f(uri) }

type failingSigner struct {
	metadata.Signer
	err error
}

func (s failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, s.err }

// corrupting changes one bit of each signature.
type corrupting struct{ metadata.Signer }

func (s corrupting) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	sig, err := s.Signer.Sign(ctx, payload)
	if len(sig) > 0 {
		sig[len(sig)/2] ^= 1
	}
	return sig, err
}

// hanging never answers.
type hanging struct{}

func (hanging) Resolve(ctx context.Context, _, _ string) (metadata.Signer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type hangingSigner struct{ metadata.Signer }

func (hangingSigner) Sign(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func newPrivate(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// Whatever is wrong with the key: an error that names URI, operation and fix,
// nothing on main, nothing in the checkout. Once the key is back the next run
// signs the version that was due.
func TestKeyFaults(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	w.Sign()
	w.Wait(day)
	name := filepath.Join(w.KeyDir, "online.pem")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := w.Document("root").Delegation("timestamp")
	listed := d.Keys[d.KeyIDs[0]]
	real, err := w.Keys().Resolve(context.Background(), "file2:online.pem", "")
	if err != nil {
		t.Fatal(err)
	}
	other := newPrivate(t)
	denied := errors.New("permission denied by the service")

	repo := w.Clone("bot")
	head := w.Upstream.Head("main")
	write := func(data string) func() onlinesign.Keys {
		return func() onlinesign.Keys {
			if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			return w.Keys()
		}
	}
	for _, test := range []struct {
		name string
		keys func() onlinesign.Keys
		want []string // in error or hint
		as   any      // or
		is   error
	}{
		{"missing file", func() onlinesign.Keys {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			return w.Keys()
		}, []string{"find key file2:online.pem", "CRYPTO_SIGNER_PATH_PREFIX"}, new(*onlinesign.KeyError), os.ErrNotExist},
		{"garbage", write("no key"), []string{"read key file2:online.pem", "openssl pkcs8"}, new(*onlinesign.KeyError), nil},
		{"public key", write("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), []string{"read key file2:online.pem", "PUBLIC KEY"}, new(*onlinesign.KeyError), nil},
		{"damaged key", write("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), []string{"read key file2:online.pem", "PKCS#8"}, new(*onlinesign.KeyError), nil},
		{"another key", func() onlinesign.Keys {
			onlinesigntest.WriteKey(t, name, other)
			return w.Keys()
		}, []string{"compare key file2:online.pem", listed.Fingerprint(), mustKey(t, other.Public()).Fingerprint(), "tufops-sign delegate"}, new(*onlinesign.MismatchError), nil},
		{"no service", func() onlinesign.Keys { return onlinesign.Services{"gcpkms": w.Keys()} },
			[]string{"find key file2:online.pem", "no key service", "gcpkms:"}, new(*onlinesign.NoServiceError), nil},
		{"no keys at all", func() onlinesign.Keys { return nil }, []string{"no key service"}, new(*onlinesign.NoServiceError), nil},
		{"signs with another key", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) {
				return liar{public: real.Public(), signer: metadata.LocalSigner(other)}, nil
			})
		}, []string{"sign with key file2:online.pem", "does not verify", "algorithm"}, new(*onlinesign.KeyError), nil},
		{"signs something else", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return prefixSigner{real}, nil })
		}, []string{"sign with key file2:online.pem", "does not verify"}, new(*onlinesign.KeyError), nil},
		{"no key and no error", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return nil, nil })
		}, []string{"find key file2:online.pem", "no key"}, new(*onlinesign.KeyError), nil},
		{"an empty signature", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return &replaying{Signer: real}, nil })
		}, []string{"sign with key file2:online.pem", "does not verify"}, new(*onlinesign.KeyError), nil},
		{"a corrupted signature", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return corrupting{real}, nil })
		}, []string{"sign with key file2:online.pem", "does not verify", "algorithm"}, new(*onlinesign.KeyError), nil},
		{"a rate limit", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) {
				return failingSigner{real, &onlinesign.KeyError{URI: "file2:online.pem", Operation: "sign with", Err: errors.New("429: quota exceeded"), Fix: "wait a minute, or have the quota raised"}}, nil
			})
		}, []string{"sign with key file2:online.pem", "429", "have the quota raised"}, new(*onlinesign.KeyError), nil},
		{"slow to find", func() onlinesign.Keys { return hanging{} },
			[]string{"find key file2:online.pem", "no answer within 1ms", "reached from here"}, new(*onlinesign.KeyError), nil},
		{"slow to sign", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return hangingSigner{real}, nil })
		}, []string{"sign with key file2:online.pem", "no answer within 1ms", "reached from here"}, new(*onlinesign.KeyError), nil},
		{"refused", func() onlinesign.Keys {
			return keysFunc(func(uri string) (metadata.Signer, error) {
				return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: fmt.Errorf("403: %w", onlinesign.ErrDenied), Fix: "give this identity the right to sign"}
			})
		}, []string{"find key file2:online.pem", "403", "the right to sign"}, new(*onlinesign.KeyError), onlinesign.ErrDenied},
		{"denied", func() onlinesign.Keys {
			return keysFunc(func(string) (metadata.Signer, error) { return failingSigner{real, denied}, nil })
		}, []string{"sign with key file2:online.pem", "permission denied by the service"}, new(*onlinesign.KeyError), denied},
	} {
		o := w.Options(repo)
		o.Keys = test.keys()
		if strings.HasPrefix(test.name, "slow") {
			o.Patience = time.Millisecond
		}
		r, err := onlinesign.Run(context.Background(), o)
		if err == nil {
			t.Fatalf("%s: signed %q", test.name, signedText(r))
		}
		var quorum *onlinesign.QuorumError
		if !errors.As(err, &quorum) || quorum.Role != "timestamp" || quorum.Count != 0 || quorum.Threshold != 1 {
			t.Errorf("%s: error is %v, want a QuorumError", test.name, err)
		}
		if !errors.As(err, test.as) || test.is != nil && !errors.Is(err, test.is) || !strings.HasPrefix(err.Error(), "sign timestamp") {
			t.Errorf("%s: error is %T %v", test.name, err, err)
		}
		text := err.Error()
		var hinted interface{ Hint() string }
		for _, e := range quorum.Errs {
			if errors.As(e, &hinted) {
				text += " " + hinted.Hint()
			}
		}
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: error and hint are %q, they lack %q", test.name, text, want)
			}
		}
		if w.Upstream.Head("main") != head {
			t.Errorf("%s: main moved", test.name)
		}
		if at, err := repo.Git.Resolve(context.Background(), "HEAD"); err != nil || string(at) != head {
			t.Errorf("%s: the checkout moved to %s (%v)", test.name, at, err)
		}
		if err := os.WriteFile(name, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Run(repo)
	if err != nil || signedText(r) != "timestamp 2 period [snapshot.json:1]" {
		t.Errorf("with the key back it signed %q: %v", signedText(r), err)
	}
	update(t, w, nil)
}

// prefixSigner signs with the right key, but other content.
type prefixSigner struct{ metadata.Signer }

func (s prefixSigner) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	return s.Signer.Sign(ctx, append([]byte(" "), payload...))
}

func mustKey(t *testing.T, public crypto.PublicKey) *metadata.Key {
	t.Helper()
	key, err := metadata.NewKey(public, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A role may list several online keys. All sign; one that fails is a warning
// where the threshold is met without it, and an error where it is not.
func TestSeveralOnlineKeys(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	second := w.OnlineKey("second.pem")
	both := func(threshold int64) {
		w.Raw("root", "Two online keys", func(root metadata.Object) {
			root["keys"].(metadata.Object)[second.ID] = second.Object
			for _, role := range []string{"timestamp", "snapshot"} {
				d := root["roles"].(metadata.Object)[role].(metadata.Object)
				d["keyids"], d["threshold"] = []any{d["keyids"].([]any)[0], second.ID}, threshold
			}
		})
	}
	both(1)
	r := w.Sign()
	want := []string{"file2:online.pem", "file2:second.pem"}
	if len(r.Signed) != 2 || strings.Join(signers(t, w, "timestamp"), " ") != strings.Join(want, " ") {
		t.Fatalf("signed %q by %q, want %q", signedText(r), signers(t, w, "timestamp"), want)
	}
	update(t, w, nil)

	if err := os.Rename(filepath.Join(w.KeyDir, "second.pem"), filepath.Join(w.KeyDir, "away.pem")); err != nil {
		t.Fatal(err)
	}
	w.Wait(day)
	r = w.Sign()
	if signedText(r) != "timestamp 2 period [snapshot.json:1]" || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "second.pem") {
		t.Errorf("signed %q, warnings %q", signedText(r), r.Warnings)
	}
	update(t, w, nil)

	both(2)
	_, err := w.Run(w.Clone("bot"))
	var quorum *onlinesign.QuorumError
	if !errors.As(err, &quorum) || quorum.Count != 1 || quorum.Threshold != 2 {
		t.Errorf("error is %v, want a QuorumError with 1 of 2", err)
	}
	if err := os.Rename(filepath.Join(w.KeyDir, "away.pem"), filepath.Join(w.KeyDir, "second.pem")); err != nil {
		t.Fatal(err)
	}
	// Nothing is outgoing here: the keys are the same. (The snapshot carries both
	// signatures since its first version.)
	r = w.Sign()
	if signedText(r) != "timestamp 3 signature [snapshot.json:1]" || len(r.Warnings) > 0 || len(signers(t, w, "timestamp")) != 2 {
		t.Errorf("signed %q by %q, warnings %q", signedText(r), signers(t, w, "timestamp"), r.Warnings)
	}
	update(t, w, nil)
}
