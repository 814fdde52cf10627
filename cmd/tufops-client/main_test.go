package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	prototrust "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/client/sigstore/sigstoretest"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/metadata"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tufops-client": main})
}

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(newApp(cli.Env{})) {
		t.Error(problem)
	}
}

// TestScripts runs the stories in testdata/script. Each finds root.json, the
// trust anchor, and published trees that follow each other: old; repo; repo2, after
// a rotation of all keys and with a new trusted_root.json; evil, which is repo
// with one byte of trusted_root.json changed; stranger, another repository; source, the
// metadata that repo2 was published from.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("NOW", clienttest.Now.Format("2006-01-02T15:04:05Z07:00"))
			env.Setenv("APP3", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("app3"))))
			env.Setenv("LATER", clienttest.Now.Add(clienttest.Life).Format("2006-01-02T15:04:05Z07:00"))
			return errors.Join(lay(env.WorkDir), laySigned(env.WorkDir))
		},
	})
}

const trustedRoot1, trustedRoot2 = "{\"mediaType\": \"one\"}\n", "{\"mediaType\": \"two\"}\n"

func lay(dir string) error {
	repo := clienttest.New()
	old := repo.Clone()
	repo.Delegate(metadata.Targets, "npm", true, []string{"npm/*"})
	repo.AddTarget("npm", "npm/keys.json", "keys")
	repo.AddTarget(metadata.Targets, "trusted_root.json", trustedRoot1)
	repo.Publish("npm", metadata.Targets)
	root := repo.Files["metadata/1.root.json"]

	evil := repo.Clone()
	for name, data := range evil.Files {
		if strings.HasSuffix(name, ".trusted_root.json") {
			evil.Files[name] = bytes.Replace(data, []byte("one"), []byte("eno"), 1)
		}
	}
	next := repo.Clone()
	for _, role := range metadata.TopLevel {
		old := next.Roles[role].Keys
		next.SetKeys(role, 1, clienttest.NewKey("new-"+role))
		if role == metadata.Root {
			next.Roles[role].Keys = append(next.Roles[role].Keys, old...)
		}
	}
	next.AddTarget(metadata.Targets, "trusted_root.json", trustedRoot2)
	next.Publish(metadata.Root, metadata.Targets)

	stranger := clienttest.New()
	for _, role := range metadata.TopLevel {
		stranger.SetKeys(role, 1, clienttest.NewKey("strange-"+role))
	}
	stranger.Publish(metadata.Root, metadata.Targets)
	return errors.Join(
		old.WriteTo(filepath.Join(dir, "old")),
		repo.WriteTo(filepath.Join(dir, "repo")), next.WriteTo(filepath.Join(dir, "repo2")),
		evil.WriteTo(filepath.Join(dir, "evil")), stranger.WriteTo(filepath.Join(dir, "stranger")),
		os.WriteFile(filepath.Join(dir, "root.json"), root, 0o644),
		os.MkdirAll(filepath.Join(dir, "source"), 0o755),
		os.WriteFile(filepath.Join(dir, "source", "root.json"), next.Current(metadata.Root), 0o644),
		os.WriteFile(filepath.Join(dir, "source", "timestamp.json"), next.Current(metadata.Timestamp), 0o644),
		os.WriteFile(filepath.Join(dir, "truncated.json"), root[:len(root)/2], 0o644),
		os.WriteFile(filepath.Join(dir, "targets.json"), repo.Current(metadata.Targets), 0o644),
		os.WriteFile(filepath.Join(dir, "unsigned.json"), clienttest.Sign(repo.Roles[metadata.Root].Signed), 0o644),
	)
}

// laySigned lays artifacts with their bundles, and the trusted root for them as a
// file and in a repository of its own. Bundles are made anew for each run, so
// they are not for TestMessages.
func laySigned(dir string) error {
	instance := sigstoretest.New("sigstore.test", clienttest.Now.AddDate(0, 0, -1))
	trustedRoot := instance.TrustedRoot(func(r *prototrust.TrustedRoot) {
		r.Tlogs[0].PublicKey.ValidFor.End = timestamppb.New(clienttest.Now.AddDate(1, 0, 0)) // the one that has been replaced
	})
	repo := clienttest.New()
	repo.AddTarget(metadata.Targets, "trusted_root.json", string(trustedRoot))
	repo.AddTarget(metadata.Targets, "signing_config.v0.2.json", `{"signing": "config"}`)
	repo.Publish(metadata.Targets)
	write := func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(dir, name), data, 0o644)
	}
	key := func(name string) (*ecdsa.PrivateKey, error) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		return k, errors.Join(err, write(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	}
	holder, err := key("key.pub")
	_, err2 := key("other.pub")
	err = errors.Join(err, err2, repo.WriteTo(filepath.Join(dir, "sigstore")), write("tr.json", trustedRoot), write("altered", []byte("altered")),
		write("stranger.sigstore.json", sigstoretest.JSON(sigstoretest.New("stranger.test", clienttest.Now).Sign(person("app")))))
	for name, change := range map[string]func(*sigstoretest.Signing){
		"app": func(s *sigstoretest.Signing) {
			s.Repository, s.Commit, s.Ref = "https://forge.example.com/app", "0123456789abcdef", "refs/tags/v1"
		},
		"app2": func(s *sigstoretest.Signing) { s.Predicate, s.Rekor2 = "https://example.com/built", true },
		"app3": func(s *sigstoretest.Signing) { s.Key = holder },
	} {
		s := person(name)
		change(&s)
		err = errors.Join(err, write(name, []byte(name)), write(name+".sigstore.json", sigstoretest.JSON(instance.Sign(s))))
	}
	return err
}

func person(artifact string) sigstoretest.Signing {
	return sigstoretest.Signing{Artifact: []byte(artifact), At: clienttest.Now, Identity: "release@example.com", Issuer: "https://login.example.com"}
}

// TestMessages compares all that a person sees, and the exit status, with
// testdata/messages.golden. Run with -update after a change, and read the diff.
func TestMessages(t *testing.T) {
	dir := t.TempDir()
	if err := lay(dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	call := func(args string) {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(string) (string, bool) { return "", false }}
		status := run(t.Context(), env, append([]string{"tufops-client"}, strings.Fields(args)...))
		fmt.Fprintf(&got, "$ tufops-client %s\n%s%s= %d\n\n", args, stdout.String(), stderr.String(), status)
	}
	const at = "--time 2026-01-01T00:00:00Z "
	for _, args := range []string{
		"",
		"fetch",
		"init",
		"--metadata-dir d init",
		"--metadata-dir d init no-such.json",
		"--metadata-dir d init truncated.json",
		"--metadata-dir d init unsigned.json",
		"--metadata-dir d init targets.json",
		"--metadata-dir d init repo",
		"--metadata-dir file init root.json",
		"--metadata-dir d refresh",
		"--metadata-dir d --metadata-url repo/metadata refresh",
		"--metadata-dir d init root.json",
		"--metadata-dir d --metadata-url mailto://x refresh",
		"--metadata-dir d --metadata-url http://[ refresh",
		"--metadata-dir d --metadata-url http://h/?q refresh",
		"--metadata-dir d --metadata-url gopher://h/ refresh",
		"--metadata-dir d --metadata-url repo/metadata --time yesterday refresh",
		"--metadata-dir d --metadata-url repo/metadata --time 2027-01-01T00:00:00Z refresh",
		at + "--metadata-dir d --metadata-url no-such-repo refresh",
		at + "--metadata-dir d --metadata-url stranger/metadata refresh",
		at + "--metadata-dir d --metadata-url repo/metadata refresh",
		"--time 1767225600 --metadata-dir d --metadata-url repo/metadata refresh",
		"refresh --metadata-dir d --metadata-url repo/metadata --time 1767225600",
		at + "--metadata-dir d --metadata-url repo/metadata --target-base-url repo/targets --target-dir out --target-name npm/keys.json --target-name trusted_root.json download",
		at + "--metadata-dir d --metadata-url repo/metadata --target-base-url repo/targets --target-dir out --target-name trustedroot.json download",
		at + "--metadata-dir d --metadata-url repo/metadata --target-base-url repo/targets --target-dir file --target-name trusted_root.json download",
		at + "--metadata-dir d --metadata-url evil/metadata --target-base-url evil/targets --target-dir out2 --target-name npm/keys.json --target-name trusted_root.json download",
		at + "--metadata-dir d --metadata-url repo/metadata --target-base-url nowhere --target-dir out2 --target-name trusted_root.json download",
		at + "--metadata-dir d --metadata-url old/metadata refresh",
		at + "--metadata-dir d --metadata-url repo2/metadata refresh",
		at + "--metadata-dir d --metadata-url repo/metadata refresh",
		"trusted-root",
		"trusted-root --offline",
		"trusted-root --metadata-url repo/metadata",
		at + "trusted-root --metadata-dir new --offline",
		at + "trusted-root --metadata-dir new --root root.json --offline",
		at + "trusted-root --metadata-dir d --offline",
		at + "trusted-root --root root.json --metadata-url repo/metadata",
		at + "trusted-root --root truncated.json --metadata-url repo/metadata",
		at + "trusted-root --root root.json --metadata-url evil/metadata",
		at + "trusted-root --root root.json --metadata-url repo/metadata --output no/such/dir",
		at + "trusted-root --metadata-dir d --metadata-url repo2/metadata",
		at + "trusted-root --metadata-dir d --offline",
		at + "trusted-root --metadata-dir d --offline --json",
		"trusted-root --metadata-dir d --offline",
		at + "trusted-root --root root.json --metadata-url no-such-repo --mirror repo/metadata",
		at + "trusted-root --root root.json --metadata-url no-such-repo --mirror evil/metadata",
		at + "trusted-root --root root.json --metadata-url repo/metadata --mirror gopher://h/",
		"trusted-root --help",
		"trusted-root --instance prod",
		"trusted-root --instance https://sigstore.example.org",
		at + "trusted-root --instance sigstore --metadata-url no-such-repo",
		at + "trusted-root --instance staging --metadata-url no-such-repo",
		"--time 2027-01-01T00:00:00Z trusted-root --instance staging --metadata-url no-such-repo",
		"signing-config",
		at + "signing-config --root root.json --metadata-url repo/metadata",
		"signing-config --help",
		"verify",
		"verify root.json",
		"verify root.json --bundle targets.json",
		"verify root.json --bundle targets.json --certificate-identity i",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-identity-regexp r --certificate-oidc-issuer o --trusted-root targets.json",
		"verify root.json --bundle targets.json --certificate-identity-regexp ( --certificate-oidc-issuer o --trusted-root targets.json",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --key k --trusted-root targets.json",
		"verify root.json --bundle targets.json --key targets.json --trusted-root targets.json",
		"verify root.json --bundle targets.json --key no-such.pub --trusted-root targets.json",
		"verify root.json --bundle no-such.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json",
		"verify no-such --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json",
		"verify repo --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json",
		"verify sha256:00 --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root repo",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json --instance staging",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json --mirror repo/metadata",
		"verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --trusted-root targets.json --time yesterday",
		at + "verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --metadata-dir d --metadata-url repo/metadata",
		at + "verify root.json --bundle targets.json --certificate-identity i --certificate-oidc-issuer o --root root.json --metadata-url repo/metadata",
		"verify --help",
		"verify-bundle root.json --bundle targets.json",
		"verify-bundle --help",
		"check",
		"check --metadata-url repo/metadata --format xml",
		"check --metadata-url repo/metadata --valid-days -1",
		"check --metadata-url repo/metadata --watch 1s",
		"check --metadata-url repo/metadata --watch -1s --state s.json",
		"check --metadata-url repo/metadata --state root.json",
		at + "check --metadata-url repo2/metadata --initial-root root.json --state s.json",
		at + "check --metadata-url repo/metadata --initial-root root.json --state s.json",
		"check --metadata-url repo/metadata --offline-valid-days 36501",
		"check --metadata-url repo/metadata --update-base-url gopher://h/",
		"check --metadata-url repo/metadata --initial-root truncated.json",
		"check --metadata-url repo/metadata --compare-source nowhere",
		at + "check --metadata-url repo/metadata",
		at + "check --metadata-url repo2/metadata --initial-root root.json --update-base-url repo/metadata --compare-source source --metadata-dir c --valid-days 3 --offline-valid-days 20 --expected-artifact npm/keys.json --expected-artifact trusted_root.json",
		at + "check --metadata-url repo/metadata --initial-root root.json --compare-source source --metadata-dir c --valid-days 30 --expected-artifact trusted_rot.json",
		at + "check --metadata-url evil/metadata --initial-root root.json --all-artifacts",
		at + "check --metadata-url stranger/metadata --initial-root root.json",
		at + "check --metadata-url no-such-repo",
		at + "check --metadata-url repo2/metadata --artifact-url nowhere --update-base-url stranger/metadata --all-artifacts",
		"check --metadata-url repo/metadata --time 2026-01-31T00:00:00Z",
		"check --metadata-url repo/metadata --time 2026-01-01T00:00:00Z --format json",
		"check --help",
	} {
		call(args)
	}
	text := strings.ReplaceAll(got.String(), dir, "$WORK")
	// These speak of the present moment.
	text = regexp.MustCompile(`and it is 20[0-9TZ:-]+`).ReplaceAllStringFunc(text, func(s string) string {
		if strings.Contains(s, "2027-01-01") {
			return s
		}
		return "and it is $NOW"
	})
	golden := "testdata/messages.golden"
	t.Chdir(cwd)
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("messages differ from %s; run with -update and look at the diff. Got:\n%s", golden, text)
	}
}

// TestFileURL: a path is a file URL, with a drive too. Kills: file://C:/tuf, which
// is a file of a host called C.
func TestFileURL(t *testing.T) {
	for path, want := range map[string]string{"/srv/tuf": "file:///srv/tuf", "C:/Users/a b/tuf": "file:///C:/Users/a%20b/tuf"} {
		if got := fileURL(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for _, text := range []string{"https://h/metadata", "file:/srv/tuf", "file:///srv/tuf", ""} {
		if got, err := location("metadata-url", text); err != nil || got != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

var cwd, _ = os.Getwd()
