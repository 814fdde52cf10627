//go:build cgo

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/signer"
)

// hsm is a SoftHSM with tokens of its own.
type hsm struct {
	t           *testing.T
	dir, module string
}

// newHSM finds SoftHSM. Where it is missing the test is skipped and says how to
// get it, unless TUFOPS_REQUIRE_TUF_ON_CI is set, as CI does.
func newHSM(t *testing.T) *hsm {
	t.Helper()
	lack := func(what string) {
		if os.Getenv("TUFOPS_REQUIRE_TUF_ON_CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		lack("softhsm2-util is not in PATH: apt-get install softhsm2")
	}
	h := &hsm{t: t, dir: t.TempDir()}
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			h.module = found[0]
		}
	}
	if h.module == "" {
		lack("libsofthsm2.so is not where it usually is: apt-get install softhsm2")
	}
	conf := filepath.Join(h.dir, "softhsm2.conf")
	h.must(os.Mkdir(filepath.Join(h.dir, "tokens"), 0o700))
	h.must(os.WriteFile(conf, []byte("directories.tokendir = "+filepath.Join(h.dir, "tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	return h
}

func (h *hsm) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hsm) util(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("softhsm2-util %q: %v\n%s", args, err, out)
	}
}

const pin = "123456"

func (h *hsm) token(label string) {
	h.t.Helper()
	h.util("--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", pin)
}

func (h *hsm) key(token, id string, key crypto.Signer) {
	h.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	h.must(err)
	file := filepath.Join(h.dir, "key.pem")
	h.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	h.util("--import", file, "--token", token, "--label", "key "+id, "--id", id, "--pin", pin)
}

func (h *hsm) open(spec string) signer.Tokens {
	h.t.Helper()
	all, err := Open(spec, h.module, "")
	h.must(err)
	return all
}

func (h *hsm) list(spec string) []signer.Token {
	h.t.Helper()
	list, err := h.open(spec).List(h.t.Context())
	h.must(err)
	return list
}

// asks is a person who knows one PIN.
type asks struct {
	pin   string
	tries []int
}

func (a *asks) PIN(_ context.Context, _ signer.Token, tries int) (string, error) {
	a.tries = append(a.tries, tries)
	return a.pin, nil
}

func (a *asks) Touch(signer.Token) {}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestListNeedsNoPIN(t *testing.T) {
	h := newHSM(t)
	small, large := newKey(t, elliptic.P256()), newKey(t, elliptic.P384())
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	h.must(err)
	h.token("alice")
	h.token("bob")
	h.key("alice", "02", small)
	h.key("alice", "03", large)
	h.key("bob", "02", other)
	for _, c := range []struct {
		spec string
		want []crypto.PublicKey // nil: a problem
	}{
		{"pkcs11:token=alice", []crypto.PublicKey{small.Public()}},
		{"pkcs11:token=alice;id=%03", []crypto.PublicKey{large.Public()}},
		{"pkcs11:token=alice;object=key%2003", []crypto.PublicKey{large.Public()}},
		{"pkcs11:token=alice;id=%04", []crypto.PublicKey{nil}},
		{"pkcs11:", []crypto.PublicKey{small.Public(), nil}},
		{"pkcs11:token=carol", nil},
		{"pkcs11:token=alice;model=other", nil},
	} {
		list := h.list(c.spec)
		if len(list) != len(c.want) {
			t.Errorf("%s: %v", c.spec, list)
			continue
		}
		for i, one := range list {
			public, _ := one.Public.(*ecdsa.PublicKey)
			if c.want[i] == nil && (one.Public != nil || one.Problem == nil) || c.want[i] != nil && (public == nil || one.Problem != nil || !public.Equal(c.want[i])) {
				t.Errorf("%s: %+v", c.spec, one)
			}
		}
	}
	if list := h.list("pkcs11:token=bob"); !errors.Is(list[0].Problem, errKind) || !strings.HasPrefix(list[0].String(), "token bob ") {
		t.Errorf("an RSA key: %+v", list[0])
	}
	serial := h.list("pkcs11:token=alice")[0].Serial
	if list := h.list("pkcs11:serial=" + serial); len(list) != 1 || list[0].Kind != "token alice" {
		t.Errorf("by serial %s: %v", serial, list)
	}
}

func TestSign(t *testing.T) {
	h := newHSM(t)
	ctx := t.Context()
	payload := []byte(`{"_type":"root"}`)
	h.token("alice")
	for id, curve := range map[string]elliptic.Curve{"02": elliptic.P256(), "03": elliptic.P384()} {
		private := newKey(t, curve)
		h.key("alice", id, private)
		public, err := metadata.NewKey(private.Public(), "@alice", "")
		h.must(err)
		spec := "pkcs11:token=alice;id=%" + id
		all, token := h.open(spec), h.list(spec)[0]
		p := &asks{pin: pin}
		sig, err := all.Sign(ctx, token, payload, p)
		h.must(err)
		if err := public.Verify(payload, sig); err != nil || len(p.tries) != 1 {
			t.Errorf("%s: %v, asked %v", id, err, p.tries)
		}
		// The login has ended with the signature: a wrong PIN is wrong again, costs
		// one question, and is told.
		var wrong *signer.WrongPINError
		p = &asks{pin: "654321"}
		if _, err := all.Sign(ctx, token, payload, p); !errors.As(err, &wrong) || wrong.Reason != "" || len(p.tries) != 1 {
			t.Errorf("wrong PIN: %v, asked %v", err, p.tries)
		}
		p = &asks{pin: "12"}
		if _, err := all.Sign(ctx, token, payload, p); !errors.As(err, &wrong) || wrong.Reason == "" {
			t.Errorf("a PIN that cannot be: %v", err)
		}
		if _, err := all.Sign(ctx, token, payload, &asks{pin: pin}); err != nil {
			t.Errorf("after a wrong PIN: %v", err)
		}
	}
}

// What another token says it is must not sign, nor a token that is gone.
func TestTokenIsFoundAnew(t *testing.T) {
	h := newHSM(t)
	h.token("alice")
	h.key("alice", "02", newKey(t, elliptic.P256()))
	all, token := h.open("pkcs11:"), h.list("pkcs11:")[0]
	h.must(all.Wait(t.Context(), token))
	tokens := filepath.Join(h.dir, "tokens")
	h.must(os.Rename(tokens, tokens+".away"))
	h.must(os.Mkdir(tokens, 0o700))
	h.token("alice")
	h.key("alice", "02", newKey(t, elliptic.P256()))
	var gone *signer.RemovedError
	p := &asks{pin: pin}
	if _, err := all.Sign(t.Context(), token, nil, p); !errors.As(err, &gone) || len(p.tries) > 0 {
		t.Errorf("another token: %v, asked %v", err, p.tries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() { waited <- all.Wait(ctx, token) }()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("waited for what is not there: %v", err)
	}
	h.must(os.RemoveAll(tokens))
	h.must(os.Rename(tokens+".away", tokens))
	h.must(all.Wait(t.Context(), token))
	if _, err := all.Sign(t.Context(), token, nil, p); err != nil {
		t.Error(err)
	}
}

// A conversation that was given up is not cut short by the one after it: the
// process has one module, and once crashed in it.
func TestGivenUp(t *testing.T) {
	h := newHSM(t)
	h.token("alice")
	h.key("alice", "02", newKey(t, elliptic.P256()))
	all := h.open("pkcs11:")
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := all.List(ctx)
			left <- err
		}()
		for range i {
			runtime.Gosched()
		}
		cancel()
		if err := <-left; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if list, err := all.List(t.Context()); err != nil || len(list) != 1 || list[0].Problem != nil {
			t.Fatalf("after one that was given up: %v, %v", list, err)
		}
	}
}

func TestModules(t *testing.T) {
	top := t.TempDir()
	inside := filepath.Join(top, "evil.so")
	if err := os.WriteFile(inside, []byte("no module"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(inside, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"pkcs11:", inside}, {"pkcs11:?module-path=" + inside, "/usr/lib/other.so"}, {"pkcs11:?module-path=" + link, ""}} {
		var refused *signer.ModuleError
		if _, err := Open(c[0], c[1], top); !errors.As(err, &refused) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if _, err := Open("pkcs11:id=%02", "", top); err == nil || !strings.Contains(err.Error(), "names no module") {
		t.Errorf("no module: %v", err)
	}
	for _, module := range []string{inside, filepath.Join(top, "none.so")} {
		all, err := Open("pkcs11:", module, "")
		if err != nil {
			t.Fatal(err)
		}
		var load *LoadError
		if _, err := all.List(t.Context()); !errors.As(err, &load) {
			t.Errorf("%s: %v", module, err)
		}
	}
}
