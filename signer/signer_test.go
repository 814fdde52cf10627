package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

func TestParseINI(t *testing.T) {
	// The expected values are what Python's configparser reads, see
	// TestParseINIAsPythonDoes.
	for text, want := range iniFiles {
		got, err := parseINI(text)
		if want == nil {
			if err == nil {
				t.Errorf("%q: no error, but %v", text, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

type ini = map[string]map[string]string

var iniFiles = map[string]ini{
	"":                                      {},
	"# only\n; comments\n":                  {},
	"[a]\nx=1\n":                            {"a": {"x": "1"}},
	"[a]\nx = 1\ny: 2\nz==3\nk = a:b=c\n":   {"a": {"x": "1", "y": "2", "z": "=3", "k": "a:b=c"}},
	"[a]\r\nX = Y Z \r\n":                   {"a": {"x": "Y Z"}},
	"  [a]\n  x = 1\n  y = 2\n":             {"a": {"x": "1", "y": "2"}},
	"[a]\n    x = 1\n    y = 2\n[b]\nx=3\n": {"a": {"x": "1", "y": "2"}, "b": {"x": "3"}},
	"[a]\nx = 1\n  2\n  # not this\n  3\n":  {"a": {"x": "1\n2\n3"}},
	"[a]\nx =\n  1\n":                       {"a": {"x": "1"}},
	"[a]\nx = 1 # part of it\n":             {"a": {"x": "1 # part of it"}},
	"[a b]\nx y = %(z)s\n":                  {"a b": {"x y": "%(z)s"}},
	"x = 1\n":                               nil,
	"[a]\nx = 1\nx = 2\n":                   nil,
	"[a]\n[a]\n":                            nil,
	"[a]\nnothing\n":                        nil,
	"[a]\n= 1\n":                            nil,
	"[]\nx=1\n":                             nil,
}

// Python itself is asked where it is at hand.
func TestParseINIAsPythonDoes(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	script := `
import configparser, json, sys
answers = {}
for text in json.load(sys.stdin):
    c = configparser.ConfigParser(interpolation=None)
    try:
        c.read_string(text.replace("\r\n", "\n"))
        answers[text] = {s: {k: v.strip() for k, v in c.items(s)} for s in c.sections()}
    except configparser.Error:
        answers[text] = None
json.dump(answers, sys.stdout)
`
	var texts []string
	for text := range iniFiles {
		texts = append(texts, text)
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("python3: %v", err)
	}
	var answers map[string]ini
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	for text, want := range iniFiles {
		if got := answers[text]; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: Python reads %v, we %v", text, got, want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	id := strings.Repeat("ab", 32)
	c, err := parseConfig("[settings]\nuser-name = Alice\npush-remote = fork\nkey=file:a.pem\n[signing-keys]\n"+id+" = file:/x/b.pem\n", "/top")
	want := Config{User: "@alice", PullRemote: "origin", PushRemote: "fork", Key: "file:/top/a.pem", SigningKeys: map[string]string{id: "file:/x/b.pem"}}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := parseConfig("[settings]\nuser-name = @a\npull-remote = upstream\n", "/top"); err != nil || c.PushRemote != "upstream" {
		t.Errorf("push-remote is %q, %v; want that of pull-remote", c.PushRemote, err)
	}
	for _, bad := range []string{
		"", "[settings]\n", "[settings]\nuser-name = a b\n", "[settings]\nuser-name = a\n  b\n", "[settings]\nuser-name = \x1b\n",
		"[settings]\nuser-name = a\n[signing-keys]\nabc = file:x\n",
	} {
		if c, err := parseConfig(bad, "/top"); err == nil {
			t.Errorf("%q: no error, but %+v", bad, c)
		}
	}
}

func TestParseSigners(t *testing.T) {
	for text, want := range map[string][]string{
		"@a,@b": {"@a", "@b"}, "[@A, b ,]": {"@a", "@b"}, "a,@a,A": {"@a"}, " Zoë": nil, "": nil, "[]": nil, "a b": nil, "@@a": nil,
	} {
		got, err := ParseSigners(text)
		if (err != nil) != (want == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestEventNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"sign/x": true, "sign/a/b": true, "sign/ümläut": true, "sign/x-v1.2": true,
		"sign/": false, "sign": false, "main": false, "sign/x..y": false, "sign/.x": false, "sign/a//b": false,
		"sign/x.lock": false, "sign/x ": false, "sign/x~1": false, "sign/*": false, "sign/x:y": false, "sign/@{0}": false, "sign/x\n": false,
	} {
		if _, err := newSession(Options{Event: name, Repository: &repository.Repository{}}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Every encryption that OpenSSL writes by itself or by a common option opens.
func TestEncryptedKeys(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, private := range map[string]any{"ecdsa": ec, "ed25519": ed, "rsa": rs} {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		clear := filepath.Join(dir, name+".pem")
		if err := os.WriteFile(clear, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, options := range [][]string{
			{}, {"-v2", "aes-128-cbc"}, {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"}, {"-v2", "aes256", "-v2prf", "hmacWithSHA1", "-iter", "1"},
			{"-v2", "des3", "-v2prf", "hmacWithSHA384"},
		} {
			file := filepath.Join(dir, "encrypted.pem")
			args := append([]string{"pkcs8", "-topk8", "-in", clear, "-out", file, "-passout", "pass:sesäm"}, options...)
			if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
				t.Fatalf("openssl %v: %v\n%s", options, err, out)
			}
			k, err := OpenFileKey("file:" + file)
			if err != nil {
				t.Fatal(err)
			}
			if !k.Locked() {
				t.Errorf("%s %v is not locked", name, options)
			}
			pass := func(p string) PIN { return func(context.Context, string) (string, error) { return p, nil } }
			s, err := k.Open(context.Background(), pass("sesäm"))
			if err != nil {
				t.Errorf("%s %v: %v", name, options, err)
				continue
			}
			want, _ := metadata.NewKey(private.(crypto.Signer).Public(), "", "")
			got, err := metadata.NewKey(s.Public(), "", "")
			if want == nil || err != nil || got.ID != want.ID {
				t.Errorf("%s %v: another key", name, options)
			}
			for _, wrong := range []string{"", "sesam", "sesäm "} {
				if _, err := k.Open(context.Background(), pass(wrong)); !errors.Is(err, ErrPassphrase) {
					t.Errorf("%s %v with %q: %v", name, options, wrong, err)
				}
			}
		}
		scrypt := filepath.Join(dir, "scrypt.pem")
		if out, err := exec.Command(openssl, "pkcs8", "-topk8", "-in", clear, "-out", scrypt, "-passout", "pass:x", "-scrypt").CombinedOutput(); err == nil {
			k, err := OpenFileKey("file:" + scrypt)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = k.Open(context.Background(), func(context.Context, string) (string, error) { return "x", nil }); err == nil || !strings.Contains(err.Error(), "its encryption is not supported") {
				t.Errorf("scrypt: %v", err)
			}
		} else {
			t.Logf("no scrypt in this openssl: %s", out)
		}
	}
}

func TestOpenFileKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		file := filepath.Join(dir, "key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + file
	}
	for spec, word := range map[string]string{
		"":                      "is neither of the form file:PATH nor",
		"file:":                 "is neither of the form file:PATH nor",
		"/x.pem":                "is neither of the form file:PATH nor",
		"yubikey:123":           "hardware key",
		"file:" + dir:           "is not a regular file",
		"file:" + dir + "/none": "no such file",
		write("nothing"):        "no PEM block",
	} {
		if _, err := OpenFileKey(spec); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", spec, err)
		}
	}
	for text, word := range map[string]string{
		"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n": "openssl pkcs8 -topk8",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n":         "no PEM block",
	} {
		if _, err := OpenFileKey(write(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, kind := range []string{"PRIVATE KEY", "ENCRYPTED PRIVATE KEY"} {
		k, err := OpenFileKey(write("-----BEGIN " + kind + "-----\nAAAA\n-----END " + kind + "-----\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(context.Background(), func(context.Context, string) (string, error) { return "", nil }); err == nil {
			t.Errorf("%s: garbage opens", kind)
		}
	}
}

// Nothing is signed without a review, nor with that of another commit.
func TestSignNeedsTheReviewOfThisCommit(t *testing.T) {
	ctx := context.Background()
	upstream := gittest.New(t)
	r := upstream.Clone("alice")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.WriteFile("x", "x")
	base := r.Commit("start")
	r.Push("HEAD:main")
	g, err := git.Open(ctx, r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	state, err := repo.At(ctx, git.OID(base))
	if err != nil {
		t.Fatal(err)
	}
	edit, err := state.Edit(ctx, state, now)
	if err != nil {
		t.Fatal(err)
	}
	own, err := metadata.NewKey(key.Public(), "@alice", "")
	if err != nil {
		t.Fatal(err)
	}
	machine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	online, err := metadata.NewKey(machine.Public(), "", "file2:x")
	if err != nil {
		t.Fatal(err)
	}
	c := repository.RoleConfig{Signers: []string{"@alice"}, OwnKey: own}
	if err := edit.Init(c, c, repository.OnlineConfig{Key: online}); err != nil {
		t.Fatal(err)
	}
	changes, err := edit.Changes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	head, err := g.WriteCommit(ctx, git.CommitOptions{Parent: git.OID(base), Changes: changes, Message: "init"})
	if err != nil {
		t.Fatal(err)
	}
	event, err := repo.OpenEvent(ctx, repository.EventOptions{Name: "sign/x", Head: string(head), Base: base})
	if err != nil {
		t.Fatal(err)
	}
	reviewed, err := event.Reviewed(ctx, now, repository.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	signer := &countingKey{Signer: metadata.LocalSigner(key)}
	s, err := newSession(Options{
		Event: "sign/x", Repository: repo, Config: Config{User: "@alice"}, KeySpecs: []string{"fake"},
		OpenKey: func(string) (Key, error) { return signer, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.sign(ctx, repository.Reviewed{}, head, true); !errors.Is(err, repository.ErrUnchecked) {
		t.Errorf("zero value: %v", err)
	}
	var other *repository.OtherCommitError
	if _, err := s.sign(ctx, reviewed, git.OID(base), true); !errors.As(err, &other) {
		t.Errorf("another commit: %v", err)
	}
	if signer.n != 0 {
		t.Fatalf("%d signatures were made", signer.n)
	}
	list, err := s.sign(ctx, reviewed, head, true)
	if err != nil || len(list) != 2 || signer.n != 2 {
		t.Errorf("%d signatures, %v", len(list), err)
	}

	// A key that signs something else than it is given is found out at once.
	signer.lie = true
	if list, err := s.sign(ctx, reviewed, head, true); err == nil {
		t.Errorf("a bad signature was taken: %v", list)
	}
}

type countingKey struct {
	metadata.Signer
	n   int
	lie bool
}

func (k *countingKey) String() string { return "fake" }

func (k *countingKey) Locked() bool { return false }

func (k *countingKey) Open(context.Context, PIN) (metadata.Signer, error) { return k, nil }

func (k *countingKey) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	k.n++
	if k.lie {
		payload = append([]byte(" "), payload...)
	}
	return k.Signer.Sign(ctx, payload)
}

func TestFold(t *testing.T) {
	var p page
	p.fold(4, "  %s", strings.Repeat("word ", 30))
	p.fold(4, "  %s and then", strings.Repeat("x", 100))
	p.fold(4, "  ümläut %s", strings.Repeat("ü ", 60))
	p.fold(4, "  a\x1b[2J\n")
	for line := range strings.Lines(p.b.String()) {
		if n := len([]rune(strings.TrimSpace(line))); n > columns && !strings.Contains(line, "xxxx") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if got := strings.Count(p.b.String(), "word"); got != 30 {
		t.Errorf("%d words are left", got)
	}
	if got := strings.Count(p.b.String(), "ü"); got != 61 {
		t.Errorf("%d letters are left:\n%s", got, &p.b)
	}
	if strings.ContainsRune(p.b.String(), '\x1b') {
		t.Error("not escaped")
	}
}
