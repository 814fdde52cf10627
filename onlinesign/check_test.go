package onlinesign_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// telling is a signer of a service that tells about its key, and keeps what it was
// asked to sign.
type telling struct {
	metadata.Signer
	tells  onlinesign.Inspection
	err    error
	signed *[]string
}

func (s telling) Inspect(context.Context) (onlinesign.Inspection, error) { return s.tells, s.err }

func (s telling) Sign(ctx context.Context, payload []byte) ([]byte, error) {
	if s.signed != nil {
		*s.signed = append(*s.signed, string(payload))
	}
	return s.Signer.Sign(ctx, payload)
}

func stepsText(k onlinesign.CheckedKey) string {
	var list []string
	for _, s := range k.Steps {
		list = append(list, fmt.Sprintf("%s %s", s.Step, s.Outcome))
	}
	return strings.Join(list, ", ")
}

// What keys check says of a key, for each thing that may be wrong with it.
func TestCheck(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	listed, err := onlinesign.Candidates(ctx, w.State())
	if err != nil || len(listed) != 1 || listed[0].URI != "file2:online.pem" || strings.Join(listed[0].Roles, " ") != "timestamp snapshot" {
		t.Fatalf("candidates %+v, %v", listed, err)
	}
	key := listed[0]
	real, err := w.Keys().Resolve(ctx, key.URI, "")
	if err != nil {
		t.Fatal(err)
	}
	at := func(uri string) onlinesign.Candidate { c := key; c.URI = uri; return c }
	is := func(s metadata.Signer) onlinesign.Keys {
		return keysFunc(func(string) (metadata.Signer, error) { return s, nil })
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	replay := &replaying{Signer: real}
	if replay.answer, err = real.Sign(ctx, []byte(onlinesign.TestMessage)); err != nil {
		t.Fatal(err)
	}
	const gcp = "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3"
	for _, test := range []struct {
		name   string
		keys   onlinesign.Keys
		key    onlinesign.Candidate
		policy repository.Policy
		good   bool
		steps  string
		want   []string // in messages and hints
	}{
		{"a file", w.Keys(), key, repository.Policy{}, true, "pinned ok, found ok, type ok, listed ok, signs ok, permissions untold", []string{key.Key.Fingerprint(), "timestamp, snapshot"}},
		{"nothing too much", is(telling{Signer: real, tells: onlinesign.Inspection{Told: true, Asked: []string{"a.b", "c.d"}}}), key, repository.Policy{}, true,
			"pinned ok, found ok, type ok, listed ok, signs ok, permissions ok", []string{"asked about a.b, c.d"}},
		{"too much", is(telling{Signer: real, tells: onlinesign.Inspection{Told: true, Excess: []string{"keys.destroy"}}}), key, repository.Policy{}, true,
			"pinned ok, found ok, type ok, listed ok, signs ok, permissions warning", []string{"keys.destroy", "docs/infrastructure.md"}},
		{"not told", is(telling{Signer: real, tells: onlinesign.Inspection{Untold: "the service is silent"}}), key, repository.Policy{}, true,
			"pinned ok, found ok, type ok, listed ok, signs ok, permissions untold", []string{"the service is silent"}},
		{"cannot be asked", is(telling{Signer: real, err: errors.New("no answer")}), key, repository.Policy{}, true,
			"pinned ok, found ok, type ok, listed ok, signs ok, permissions untold", []string{"no answer"}},
		{"this version", is(telling{Signer: real, tells: onlinesign.Inspection{Version: "3"}}), at(gcp), repository.Policy{}, true,
			"pinned ok, found ok, type ok, listed ok, signs ok, permissions untold", nil},
		{"another version", is(telling{Signer: real, tells: onlinesign.Inspection{Version: "4"}}), at(gcp), repository.Policy{}, false,
			"pinned ok, found ok, type ok, listed ok, signs ok, pinned failed, permissions untold", []string{"version 4"}},
		{"no version", is(real), at(strings.TrimSuffix(gcp, "/cryptoKeyVersions/3")), repository.Policy{}, false,
			"pinned failed, found ok, type ok, listed ok, signs ok, permissions untold", []string{"names no version", "tufops-sign delegate"}},
		{"an alias", is(real), at("awskms:alias/tuf"), repository.Policy{}, true, "pinned warning, found ok, type ok, listed ok, signs ok, permissions untold", nil},
		{"gone", w.Keys(), at("file2:none.pem"), repository.Policy{}, false, "pinned ok, found failed", []string{"file2:none.pem", "CRYPTO_SIGNER_PATH_PREFIX"}},
		{"no service", w.Keys(), at("hv:x/1"), repository.Policy{}, false, "pinned ok, found failed", []string{"hv:x/1", "no key service"}},
		{"no keys", nil, key, repository.Policy{}, false, "pinned ok, found failed", []string{"no key service"}},
		{"another key", is(metadata.LocalSigner(newPrivate(t))), key, repository.Policy{}, false, "pinned ok, found ok, type ok, listed failed", []string{key.Key.Fingerprint(), "file2:online.pem"}},
		{"signs with another key", is(liar{public: real.Public(), signer: metadata.LocalSigner(newPrivate(t))}), key, repository.Policy{}, false,
			"pinned ok, found ok, type ok, listed ok, signs failed", []string{"does not verify", "file2:online.pem"}},
		{"an old answer", is(replay), key, repository.Policy{}, false, "pinned ok, found ok, type ok, listed ok, signs failed", []string{"does not verify"}},
		{"denied", is(failingSigner{real, onlinesign.ErrDenied}), key, repository.Policy{}, false, "pinned ok, found ok, type ok, listed ok, signs failed", []string{"permission denied", "file2:online.pem"}},
		{"listed, and not allowed any more", w.Keys(), key, repository.Policy{KeyTypes: []string{"ed25519/ed25519"}}, true,
			"pinned ok, found ok, type warning, listed ok, signs ok, permissions untold", []string{"key-types", "ecdsa/ecdsa-sha2-nistp256"}},
		{"new", w.Keys(), onlinesign.Candidate{URI: key.URI}, repository.Policy{}, true, "pinned ok, found ok, type ok, listed untold, signs ok, permissions untold", nil},
		{"new, and not allowed", w.Keys(), onlinesign.Candidate{URI: key.URI}, repository.Policy{KeyTypes: []string{"ed25519/ed25519"}}, false,
			"pinned ok, found ok, type failed", []string{"ecdsa/ecdsa-sha2-nistp256"}},
		{"new, of another curve", is(metadata.LocalSigner(p384)), onlinesign.Candidate{URI: key.URI}, repository.Policy{KeyTypes: []string{"ecdsa/ecdsa-sha2-nistp256"}}, false,
			"pinned ok, found ok, type failed", []string{"ecdsa/ecdsa-sha2-nistp384"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := onlinesign.Check(ctx, test.keys, test.policy, test.key)
			if err != nil {
				t.Fatal(err)
			}
			if k.Good() != test.good || stepsText(k) != test.steps {
				t.Errorf("good %v: %s\nwant %v: %s", k.Good(), stepsText(k), test.good, test.steps)
			}
			text := ""
			for _, s := range k.Steps {
				text += s.Message + " " + s.Hint + "\n"
				if s.Outcome == onlinesign.OutcomeFailed && (s.Message == "" || s.Hint == "") {
					t.Errorf("%s failed and says %q, hint %q", s.Step, s.Message, s.Hint)
				}
			}
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
		})
	}
	if (onlinesign.CheckedKey{}).Good() {
		t.Error("a key that nothing was tried with is good")
	}
}

// replaying gives the same answer to everything.
type replaying struct {
	metadata.Signer
	answer []byte
}

func (s *replaying) Sign(context.Context, []byte) ([]byte, error) { return s.answer, nil }

// The test message can stand for no metadata: it is no JSON at all. Two of them
// differ, and the canonical form of what TUF signs begins with a brace.
func TestCheckMessage(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	real, err := w.Keys().Resolve(ctx, "file2:online.pem", "")
	if err != nil {
		t.Fatal(err)
	}
	var signed []string
	keys := keysFunc(func(string) (metadata.Signer, error) { return telling{Signer: real, signed: &signed}, nil })
	list, err := onlinesign.Candidates(ctx, w.State())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if k, err := onlinesign.Check(ctx, keys, repository.Policy{}, list[0]); err != nil || !k.Good() {
			t.Fatal(err)
		}
	}
	if _, err := onlinesign.CheckDenied(ctx, keys, list[0]); err != nil {
		t.Fatal(err)
	}
	if len(signed) != 3 || signed[0] == signed[1] || signed[1] == signed[2] {
		t.Fatalf("signed %q", signed)
	}
	for _, message := range signed {
		if _, err := metadata.Parse([]byte(message)); err == nil || message[0] == '{' || !strings.HasPrefix(message, onlinesign.TestMessage+"file2:online.pem\n") {
			t.Errorf("%q was signed (%v)", message, err)
		}
	}
	for _, role := range []string{"root", "targets"} {
		if payload := w.Document(role).Payload(); payload[0] != '{' {
			t.Errorf("%s is signed over %q", role, payload[:1])
		}
	}
}

// The canary: only a refusal because of who asks is a denial.
func TestCheckDenied(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	list, err := onlinesign.Candidates(ctx, w.State())
	if err != nil {
		t.Fatal(err)
	}
	real, err := w.Keys().Resolve(ctx, list[0].URI, "")
	if err != nil {
		t.Fatal(err)
	}
	denied := &onlinesign.KeyError{URI: list[0].URI, Operation: "sign with", Err: fmt.Errorf("403: %w", onlinesign.ErrDenied)}
	for _, test := range []struct {
		name string
		keys onlinesign.Keys
		good bool
		want string
	}{
		{"it signs", w.Keys(), false, "can sign with the key, and must not"},
		{"the key is refused", keysFunc(func(string) (metadata.Signer, error) { return nil, denied }), true, "may not sign"},
		{"signing is refused", keysFunc(func(string) (metadata.Signer, error) { return failingSigner{real, denied}, nil }), true, "may not sign"},
		{"no network", keysFunc(func(string) (metadata.Signer, error) { return nil, errors.New("connection refused") }), false, "cannot be told"},
		{"rate limit", keysFunc(func(string) (metadata.Signer, error) { return failingSigner{real, errors.New("429")}, nil }), false, "cannot be told"},
		{"no such key", onlinesign.Services{"file2": keysFunc(func(uri string) (metadata.Signer, error) {
			return nil, &onlinesign.KeyError{URI: uri, Operation: "find", Err: os.ErrNotExist}
		})}, false, "cannot be told"},
		{"no service", nil, false, "cannot be told"},
	} {
		k, err := onlinesign.CheckDenied(ctx, test.keys, list[0])
		if err != nil || k.Good() != test.good || len(k.Steps) != 1 || k.Steps[0].Step != onlinesign.StepDenied || !strings.Contains(k.Steps[0].Message, test.want) {
			t.Errorf("%s: %v, %v", test.name, k, err)
		}
	}
}

// A check that is stopped stops, and says nothing of the key.
func TestCheckStopped(t *testing.T) {
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	list, err := onlinesign.Candidates(context.Background(), w.State())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []func(context.Context, onlinesign.Keys) (onlinesign.CheckedKey, error){
		func(ctx context.Context, keys onlinesign.Keys) (onlinesign.CheckedKey, error) {
			return onlinesign.Check(ctx, keys, repository.Policy{}, list[0])
		},
		func(ctx context.Context, keys onlinesign.Keys) (onlinesign.CheckedKey, error) {
			return onlinesign.CheckDenied(ctx, keys, list[0])
		},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := check(ctx, keysFunc(func(string) (metadata.Signer, error) { cancel(); return nil, onlinesign.ErrDenied }))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
}

// What somebody without a key pushes to main lists no key: neither a root nor a
// delegation.
func TestCandidatesAreSigned(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	npm, evil := w.OnlineKey("npm.pem"), w.OnlineKey("evil.pem")
	uris := func() string {
		t.Helper()
		list, err := onlinesign.Candidates(ctx, w.State())
		if err != nil {
			return err.Error()
		}
		var text []string
		for _, c := range list {
			text = append(text, c.URI+" "+strings.Join(c.Roles, "+"))
		}
		return strings.Join(text, ", ")
	}
	w.Change("'npm' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: npm})
	}, "targets")
	if got, want := uris(), "file2:online.pem timestamp+snapshot, file2:npm.pem npm"; got != want {
		t.Errorf("keys are %s, want %s", got, want)
	}
	before := w.State()
	w.Change("A delegation that nobody signed", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: evil})
	})
	if got, want := uris(), "file2:online.pem timestamp+snapshot"; got != want {
		t.Errorf("keys are %s, want %s", got, want)
	}
	// As an event it proposes the key all the same: whether it may be asked for is
	// a matter of the policy.
	proposed, err := onlinesign.Proposed(ctx, before, w.State())
	if err != nil || len(proposed) != 1 || proposed[0].URI != "file2:evil.pem" || proposed[0].Roles[0] != "npm" {
		t.Errorf("proposed %+v, %v", proposed, err)
	}
	// So it does where the URI is one that main lists, and the key is another.
	another := w.OnlineKey("npm.pem")
	w.Change("Another key at the same URI", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: another})
	})
	proposed, err = onlinesign.Proposed(ctx, before, w.State())
	if err != nil || len(proposed) != 1 || proposed[0].URI != npm.OnlineURI || proposed[0].Key.Fingerprint() != another.Fingerprint() {
		t.Errorf("proposed %+v, %v", proposed, err)
	}
	w.Change("A root that nobody signed", func(e *repository.Edit) error { return e.SetOnline(repository.OnlineConfig{Key: evil}) })
	if got := uris(); !strings.Contains(got, "root version 2 breaks the root chain") {
		t.Errorf("keys are %s", got)
	}
}

// An event may not choose which service signs: what main neither lists nor allows
// is not asked for.
func TestSignTargetsStranger(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	base := w.State().Commit()
	ours, stranger := w.OnlineKey("ours.pem"), w.OnlineKey("stranger.pem")
	both := func(e *repository.Edit) error { return e.SetRole("npm", repository.RoleConfig{OnlineKey: stranger}) }
	w.Change("'npm' role/delegation change", both, "targets")
	repo := w.Clone("bot")
	asked := map[string]int{}
	o := w.Options(repo)
	o.Keys = keysFunc(func(uri string) (metadata.Signer, error) {
		asked[uri]++
		return w.Keys().Resolve(ctx, uri, "")
	})
	head := w.Upstream.Head("main")
	_, err := onlinesign.SignTargets(ctx, o, string(base), []string{"npm"})
	var e *onlinesign.StrangerError
	if !errors.As(err, &e) || e.URI != "file2:stranger.pem" || len(asked) > 0 || w.Upstream.Head("main") != head || !strings.Contains(e.Hint(), "online-keys") {
		t.Errorf("error is %v; asked for %v", err, asked)
	}
	// Beside a key that main allows: that one signs, the other is told of.
	w.Raw("targets", "Another key", func(s metadata.Object) {
		d := s["delegations"].(metadata.Object)
		d["keys"].(metadata.Object)[ours.ID] = ours.Object
		role := d["roles"].([]any)[0].(metadata.Object)
		role["keyids"] = append(role["keyids"].([]any), ours.ID)
	})
	main := w.Upstream.Clone("main")
	main.Run("switch", "-q", "--detach", string(base))
	main.WriteFile(repository.PolicyFile, "online-keys: ['file2:ours.pem']\n")
	allowing := main.Commit("a policy")
	main.Push("HEAD:refs/heads/allowing")
	if err := repo.Git.Fetch(ctx, "origin", "refs/heads/allowing:refs/tufops/allowing"); err != nil {
		t.Fatal(err)
	}
	at, err := repo.Git.Resolve(ctx, "refs/tufops/allowing")
	if err != nil || string(at) != allowing {
		t.Fatal(at, err)
	}
	r, err := onlinesign.SignTargets(ctx, o, string(at), []string{"npm"})
	if err != nil || len(r.Signed) != 1 || strings.Join(r.Signed[0].Keys, " ") != "file2:ours.pem" || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "file2:stranger.pem") {
		t.Errorf("%+v, %v", r, err)
	}
	if asked["file2:stranger.pem"] > 0 || asked["file2:ours.pem"] != 1 {
		t.Errorf("asked for %v", asked)
	}
	// A policy that cannot be read allows nothing.
	main.WriteFile(repository.PolicyFile, "online-keys: yes\n")
	main.Commit("a broken policy")
	main.Push("HEAD:refs/heads/broken")
	if err := repo.Git.Fetch(ctx, "origin", "refs/heads/broken:refs/tufops/broken"); err != nil {
		t.Fatal(err)
	}
	if at, err = repo.Git.Resolve(ctx, "refs/tufops/broken"); err != nil {
		t.Fatal(err)
	}
	if _, err := onlinesign.SignTargets(ctx, o, string(at), []string{"npm"}); !errors.As(err, &e) {
		t.Errorf("error is %v", err)
	}
}

// Of a role's online keys one is dead: the other signs, and the dead one is told of.
// Where all are dead, that is an error and nothing is written.
func TestSignTargetsWithoutOneKey(t *testing.T) {
	ctx := context.Background()
	w := onlinesigntest.New(t, repository.OnlineConfig{})
	first, second := w.OnlineKey("first.pem"), w.OnlineKey("second.pem")
	w.Change("'npm' role/delegation change", func(e *repository.Edit) error {
		return e.SetRole("npm", repository.RoleConfig{OnlineKey: first})
	}, "targets")
	w.Raw("targets", "Another key", func(s metadata.Object) {
		d := s["delegations"].(metadata.Object)
		d["keys"].(metadata.Object)[second.ID] = second.Object
		role := d["roles"].([]any)[0].(metadata.Object)
		role["keyids"], role["threshold"] = append(role["keyids"].([]any), second.ID), int64(2)
	})
	base := w.State().Commit()
	repo := w.Clone("bot")
	for _, name := range []string{"first.pem", "second.pem"} {
		if err := os.Rename(filepath.Join(w.KeyDir, name), filepath.Join(w.KeyDir, name+".away")); err != nil {
			t.Fatal(err)
		}
	}
	var dead *onlinesign.KeyError
	if _, err := onlinesign.SignTargets(ctx, w.Options(repo), string(base), []string{"npm"}); !errors.As(err, &dead) || w.State().Commit() != base {
		t.Errorf("error is %v, main at %s", err, w.State().Commit())
	}
	if err := os.Rename(filepath.Join(w.KeyDir, "second.pem.away"), filepath.Join(w.KeyDir, "second.pem")); err != nil {
		t.Fatal(err)
	}
	r, err := onlinesign.SignTargets(ctx, w.Options(repo), string(base), []string{"npm"})
	if err != nil || len(r.Signed) != 1 || strings.Join(r.Signed[0].Keys, " ") != "file2:second.pem" || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "file2:first.pem") {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Rename(filepath.Join(w.KeyDir, "first.pem.away"), filepath.Join(w.KeyDir, "first.pem")); err != nil {
		t.Fatal(err)
	}
	if r, err := onlinesign.SignTargets(ctx, w.Options(repo), string(base), []string{"npm"}); err != nil || len(r.Warnings) > 0 || strings.Join(r.Signed[0].Keys, " ") != "file2:first.pem" {
		t.Errorf("%+v, %v", r, err)
	}
	d, _ := w.State().Delegation("npm")
	if q := metadata.Check(d.Delegation, w.Document("npm")); q.Count != 2 {
		t.Errorf("%d of 2 signatures", q.Count)
	}
}
