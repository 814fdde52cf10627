package repository_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
)

// fixed are the rules that no policy can lower or silence, and what each of them
// is: the list is a promise to signers, so it does not change by itself.
var fixed = map[string]string{
	"quorum":                   "quorum",
	"delegation-unsatisfied":   "quorum",
	"merge-result-incomplete":  "quorum",
	"root-not-chained":         "root chain",
	"signature-invalid":        "signatures",
	"signature-duplicate":      "signatures",
	"signature-unknown":        "signatures",
	"signature-lost":           "signatures",
	"threshold-invalid":        "thresholds",
	"duplicate-public-key":     "thresholds",
	"root-history-rewritten":   "root history",
	"root-history-mismatch":    "root history",
	"version-not-increased":    "versions",
	"version-jump":             "versions",
	"spec-version-unsupported": "versions",
	"artifact-path-unsafe":     "path safety",
	"not-a-regular-file":       "path safety",
	"role-name-unsafe":         "role-name safety",
	"metadata-invalid":         "what is not read cannot be judged",
	"metadata-removed":         "what is not read cannot be judged",
	"metadata-too-large":       "what is not read cannot be judged",
	"duplicate-json-key":       "what is not read cannot be judged",
	"rehearsal-failed":         "the rehearsal knows no policy",

	"trusted-root/unreadable": "what is not read cannot be judged", "trusted-root/ambiguous": "what is not read cannot be judged",
	"signing-config/unreadable": "what is not read cannot be judged", "signing-config/ambiguous": "what is not read cannot be judged",
}

func TestFixedRules(t *testing.T) {
	seen := 0
	for _, r := range repository.Rules() {
		if _, want := fixed[r.Name]; r.Fixed != want {
			t.Errorf("%s: fixed is %v, want %v", r.Name, r.Fixed, want)
		}
		if !r.Fixed {
			continue
		}
		seen++
		for _, level := range []string{"off", "warning", "error", "awaited"} {
			_, err := repository.ParsePolicy([]byte("rules: {" + r.Name + ": {level: " + level + ", reason: we know}}"))
			if err == nil || !strings.Contains(err.Error(), r.Name) {
				t.Errorf("%s is given the level %s: %v", r.Name, level, err)
			}
		}
		if len(r.Decisions()) > 0 || r.Raised != "" {
			t.Errorf("%s can be given %q", r.Name, r.Decisions())
		}
	}
	if seen != len(fixed) {
		t.Errorf("%d rules are fixed, want %d", seen, len(fixed))
	}
}

func TestParsePolicy(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       repository.Policy
	}{
		{"empty", "", repository.Policy{}},
		{"comments", "# nothing\n", repository.Policy{}},
		{"profile", "profile: sigstore-public-good\n", repository.Policy{Profile: repository.SigstorePublicGood}},
		{"strict by word", "legacy-keyids: refused\nattested-keys: optional\ninvite-acceptance: any-login\ntrust-material: shown\n", repository.Policy{}},
		{"trust material", "trust-material: enforced\n", repository.Policy{EnforceTrust: true}},
		{"everything", `
repositories: [v1, ./v2/]
legacy-keyids: allowed
key-types: [ecdsa/ecdsa-sha2-nistp256]
online-keys: ["gcpkms:projects/example/", "hv:"]
attested-keys: required
invite-acceptance: own-login
rules:
  threshold-of-one: {level: off, reason: "one maintainer, on purpose"}
  expiry-too-far:
    level: warning
    reason: moved to yearly signing
  new-key-unproven: {level: error}
`, repository.Policy{
			Repositories: []string{"v1", "v2"}, AllowLegacyKeyIDs: true, KeyTypes: []string{"ecdsa/ecdsa-sha2-nistp256"},
			OnlineKeys: []string{"gcpkms:projects/example/", "hv:"},
			Rules: map[string]repository.Decision{
				"threshold-of-one":         {Level: "off", Reason: "one maintainer, on purpose"},
				"expiry-too-far":           {Level: "warning", Reason: "moved to yearly signing"},
				"new-key-unproven":         {Level: "error"},
				"key-not-attested":         {Level: "error"},
				"invite-accepted-by-other": {Level: "error"},
			},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := repository.ParsePolicy([]byte(test.text))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestParsePolicyErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"not YAML", "rules: {", "line 1: did not find expected node content"},
		{"a list", "- rules", "line 1: it does not hold keys like rules and key-types"},
		{"a word", "strict", "line 1: it does not hold keys like rules and key-types"},
		{"two documents", "rules: {}\n---\nrules: {}", "it holds more than one document"},
		{"a second document that is broken", "rules: {}\n---\n: {", "it holds more than one document"},
		{"unknown key", "legacy-keyids: allowed\nlegacy-keyid: allowed", `line 2: there is no key "legacy-keyid", only repositories, legacy-keyids, key-types, online-keys, attested-keys, attestation-roots, invite-acceptance, trust-material, profile, rules`},
		{"key twice", "legacy-keyids: refused\nlegacy-keyids: allowed", `line 2: "legacy-keyids" stands twice`},
		{"a number for a key", "1: x", "line 1: a key is not text"},
		{"alias", "key-types: &x [ed25519/ed25519]\nrepositories: *x", "line 1: anchors and aliases are not read"},
		{"truth value", "legacy-keyids: true", "line 1: true is not text; put it in quotes if it is meant to be"},
		{"number", "repositories: [2024]", "line 1: 2024 is not text; put it in quotes if it is meant to be"},
		{"no value", "legacy-keyids:", "line 1: nothing stands where a value belongs"},
		{"list for text", "legacy-keyids: [allowed]", "cannot unmarshal"},
		{"text for a list", "repositories: v1", "cannot unmarshal"},
		{"text for rules", "rules: strict", "cannot unmarshal"},
		{"text for a decision", "rules: {threshold-of-one: off}", "cannot unmarshal"},
		{"other word", "legacy-keyids: yes", `legacy-keyids is "yes", not allowed or refused`},
		{"other word for keys", "attested-keys: maybe", `attested-keys is "maybe", not required or optional`},
		{"other profile", "profile: sigstore", `profile is "sigstore", not sigstore-public-good`},
		{"other word for invitations", "invite-acceptance: anyone", `invite-acceptance is "anyone", not own-login or any-login`},
		{"folder outside", "repositories: [../x]", `repositories lists "../x", which is no folder of this git repository`},
		{"folder twice", "repositories: [v1, v1/]", `repositories lists "v1/" twice`},
		{"key type unknown", "key-types: [ml-dsa/ml-dsa-65/2]", `key-types lists "ml-dsa/ml-dsa-65/2", which cannot be written, only ecdsa/ecdsa-sha2-nistp256, `},
		{"key type twice", "key-types: [ed25519/ed25519, ed25519/ed25519]", `key-types lists "ed25519/ed25519" twice`},
		{"no key types", "key-types: []", "key-types is empty: no key could ever be added"},
		{"no online keys", "online-keys: []", "online-keys is empty"},
		{"online key twice", "online-keys: ['hv:', 'hv:']", `online-keys lists "hv:" twice`},
		{"online key of no service", "online-keys: [projects/example/]", `online-keys lists "projects/example/", which is no beginning of a key's URI`},
		{"online key of any host", "online-keys: ['azurekms:']", `online-keys lists "azurekms:", which is no`},
		{"online key of no host", "online-keys: ['azurekms:///keys/']", `online-keys lists "azurekms:///keys/", which is no`},
		{"online key that goes up", "online-keys: ['gcpkms:projects/x/../']", `online-keys lists "gcpkms:projects/x/../", which is no`},
		{"unknown rule", "rules: {treshold-of-one: {level: off, reason: x}}", `rules names "treshold-of-one", which is no rule; list them with: tufops rules`},
		{"unknown key of a decision", "rules: {threshold-of-one: {level: off, reason: x, until: tomorrow}}", `line 1: rule threshold-of-one: there is no key "until", only level, reason`},
		{"no level", "rules: {threshold-of-one: {reason: x}}", "rules gives threshold-of-one no level"},
		{"no reason", "rules: {threshold-of-one: {level: off}}", "rules gives threshold-of-one the level off without a reason"},
		{"empty reason", `rules: {threshold-of-one: {level: off, reason: " \t"}}`, "line 1: nothing stands where a value belongs"},
		{"a number for a reason", "rules: {threshold-of-one: {level: off, reason: 12}}", "line 1: 12 is not text"},
		{"long reason", "rules: {threshold-of-one: {level: off, reason: " + strings.Repeat("x", 501) + "}}", "the reason for threshold-of-one has 501 bytes, more than 500"},
		{"an error switched off", "rules: {expired: {level: off, reason: x}}", `rules gives expired the level "off"; it has the level error and can be given warning`},
		{"an error raised", "rules: {expired: {level: error, reason: x}}", `rules gives expired the level "error"; it has the level error and can be given warning`},
		{"a warning raised that is none of policy", "rules: {threshold-of-one: {level: error, reason: x}}", `rules gives threshold-of-one the level "error"; it has the level warning and can be given off`},
		{"a warning made one", "rules: {new-key-unproven: {level: warning, reason: x}}", `rules gives new-key-unproven the level "warning"; it has the level warning and can be given off or error`},
		{"said twice", "attested-keys: required\nrules: {key-not-attested: {level: off, reason: x}}", "attested-keys and rules both decide about key-not-attested: keep one of the two"},
		{"the quorum", "rules: {quorum: {level: warning, reason: x}}", "rules gives quorum the level warning, but it can neither be lowered nor silenced"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := repository.ParsePolicy([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, test.want)
			}
			if !reflect.DeepEqual(p, repository.Policy{}) {
				t.Errorf("the policy is not the strict default: %+v", p)
			}
		})
	}
}

// TestDecisions takes, for every rule that a policy can decide about, the case
// that breaks it alone: the decision does to it what it says, and to no other.
func TestDecisions(t *testing.T) {
	type broken struct {
		ruleCase
		options func(w *World) repository.EventOptions
	}
	var cases []broken
	for _, c := range ruleCases() {
		cases = append(cases, broken{c, func(*World) repository.EventOptions { return repository.EventOptions{} }})
	}
	for _, c := range personCases() {
		cases = append(cases, broken{c.ruleCase, c.options})
	}
	for _, r := range repository.Rules() {
		if strings.Contains(r.Name, "/") { // of trust material one is tried, in TestTrustMaterialLowered
			continue
		}
		i := slices.IndexFunc(cases, func(c broken) bool {
			return len(c.want) > 0 && !slices.ContainsFunc(c.want, func(s string) bool { return !strings.HasSuffix(s, " "+r.Name+" "+string(r.Level)) })
		})
		for _, level := range r.Decisions() {
			t.Run(r.Name+" "+string(level), func(t *testing.T) {
				t.Parallel()
				if i < 0 {
					t.Fatalf("no case breaks %s alone at its own level", r.Name)
				}
				w := New(t)
				cases[i].event(w)
				w.Commit("event")
				var other string // a decision about another rule changes nothing
				for _, o := range repository.Rules() {
					if other == "" && o.Name != r.Name && slices.Contains(o.Decisions(), repository.LevelWarning) {
						other = o.Name
					}
				}
				cases[i].check(t, w, repository.Policy{Rules: map[string]repository.Decision{other: {Level: "warning", Reason: "y"}}}, cases[i].options(w))

				decided := cases[i].ruleCase
				decided.want = nil
				decided.complete = level != repository.LevelError
				for _, one := range cases[i].want {
					if level == repository.LevelError {
						decided.want = append(decided.want, strings.TrimSuffix(one, string(r.Level))+string(r.Raised))
					} else if level == repository.LevelWarning {
						decided.want = append(decided.want, strings.TrimSuffix(one, string(r.Level))+"warning")
					}
				}
				s := decided.check(t, w, repository.Policy{Rules: map[string]repository.Decision{r.Name: {Level: level, Reason: "because"}}}, cases[i].options(w))
				for _, f := range s.AllFindings() {
					lowered := repository.Level("")
					if level == repository.LevelWarning {
						lowered = r.Level
					}
					if f.Lowered != lowered || f.Reason != "because" || f.Gates.Event() != (level == repository.LevelError) {
						t.Errorf("%+v", f)
					}
				}
				silenced := []repository.Silenced{{Rule: r.Name, Findings: len(cases[i].want), Reason: "because"}}
				if level != repository.LevelOff {
					silenced = nil
				}
				if !reflect.DeepEqual(s.Silenced, silenced) {
					t.Errorf("silenced is %+v, want %+v", s.Silenced, silenced)
				}
			})
		}
	}
}

// TestLoweredInTheMerge: what is lowered does not come back as a fault of the
// merge result, also where the merge has more of it than the head.
func TestLoweredInTheMerge(t *testing.T) {
	w := New(t)
	w.Edit("targets", func(s object) { List(s, "b.txt", "b") }).Sign("targets", "alice", "bob")
	w.OnMain(func() { w.Remove("targets/a.txt") })
	lower := repository.Policy{Rules: map[string]repository.Decision{"artifact-missing": {Level: "warning", Reason: "x"}}}
	ruleCase{want: []string{"targets artifact-missing warning"}, complete: true}.check(t, w, lower, repository.EventOptions{})
	ruleCase{want: []string{"targets artifact-missing error", "targets merge-result-incomplete error"}}.check(t, w, repository.Policy{}, repository.EventOptions{})
}

// TestPolicyStopsAtEvents: a policy that lowers all it can lets no bad byte into
// a snapshot or onto a destination. That Signable and Published take no policy
// is what makes it so; this holds it from outside.
func TestPolicyStopsAtEvents(t *testing.T) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for _, r := range repository.Rules() {
		if d := r.Decisions(); len(d) > 0 {
			text.WriteString("  " + r.Name + ": {level: " + string(d[0]) + ", reason: we accept it}\n")
		}
	}
	w := New(t)
	w.Edit("root", func(s object) { s["consistent_snapshot"] = false }).Sign("root", "alice", "bob")
	w.Edit("targets", func(s object) { s["expires"] = "2030-01-01T00:00:00Z"; List(s, "a.txt", "other\n") }).Sign("targets", "alice", "bob")
	w.WriteFile(repository.PolicyFile, text.String())
	w.Edit("snapshot", func(s object) { s["meta"].(object)["targets.json"] = object{"version": int64(2)} }).Sign("snapshot", "online")
	w.Edit("timestamp", func(s object) { s["meta"].(object)["snapshot.json"] = object{"version": int64(2)} }).Sign("timestamp", "online")
	w.Commit("main")
	r, ctx := w.Open(), context.Background()
	head, err := r.Git.Resolve(ctx, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Policy(ctx, head); err != nil || len(p.Rules) < 20 {
		t.Fatalf("%+v, %v", p, err)
	}
	published, err := r.Published(ctx, head, w.Now)
	if err != nil {
		t.Fatal(err)
	}
	var gated *repository.GatedError
	if _, err := published.Publishable(); !errors.As(err, &gated) {
		t.Fatalf("publishable: %v", err)
	}
	if published.Root().Version() != 1 {
		t.Errorf("root version %d goes out, which does not set consistent_snapshot", published.Root().Version())
	}
	for _, want := range []string{"expired", "artifact-mismatch"} {
		if !slices.ContainsFunc(gated.Findings, func(f repository.Finding) bool { return f.Rule == want && f.Level == "error" && f.Gates.Publish() }) {
			t.Errorf("%s does not gate: %+v", want, gated.Findings)
		}
	}
}

// TestPolicyOfTheTip: the policy is that of main's newest commit, whatever the
// event brings or began with.
func TestPolicyOfTheTip(t *testing.T) {
	w := New(t)
	w.Edit("targets", nil).Sign("targets", "alice", "bob").WriteFile(repository.PolicyFile, "legacy-keyids: allowed\n")
	w.OnMain(func() { w.WriteFile(repository.PolicyFile, "rules: {threshold-of-one: {level: off, reason: x}}\n") })
	r := w.Open()
	e, err := r.OpenEvent(context.Background(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Policy(context.Background(), e.Base)
	if err != nil || p.AllowLegacyKeyIDs || p.Rules["threshold-of-one"].Level != "off" {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestKeyTypes: what key-types does not list cannot be added, and what is there
// stays.
func TestKeyTypes(t *testing.T) {
	w := New(t)
	w.Edit("root", func(s object) { AddKey(s, "targets", "dave") }).Sign("root", "alice", "bob")
	w.Sign("targets", "dave").Commit("event")
	ruleCase{complete: true}.check(t, w, repository.Policy{KeyTypes: []string{"rsa/rsassa-pss-sha256", "ed25519/ed25519"}}, repository.EventOptions{})
	ruleCase{want: []string{"root key-type-not-allowed error"}}.check(t, w, repository.Policy{KeyTypes: []string{"ecdsa/ecdsa-sha2-nistp256"}}, repository.EventOptions{})
}

// TestMLDSAKeyTypes: a key of ML-DSA needs the policy's word, level by level; and
// with it people are told whom it leaves behind.
func TestMLDSAKeyTypes(t *testing.T) {
	w := New(t)
	w.Edit("root", func(s object) { AddKey(s, "targets", "mldsa-dave") }).Sign("root", "alice", "bob")
	w.Sign("targets", "mldsa-dave").Commit("event")
	const ed = "ed25519/ed25519"
	for _, test := range []struct {
		types []string
		want  string
	}{
		{nil, "error"}, {[]string{ed}, "error"}, {[]string{ed, "ml-dsa/ml-dsa-65/1"}, "error"},
		{[]string{ed, "ml-dsa/ml-dsa-44/1"}, "warning"},
	} {
		p := repository.Policy{KeyTypes: test.types}
		s := ruleCase{want: []string{"root key-type-not-allowed " + test.want}, complete: test.want == "warning"}.check(t, w, p, repository.EventOptions{})
		if p.AllowsNew() != (len(test.types) == 2) {
			t.Errorf("%v: AllowsNew is %v", test.types, p.AllowsNew())
		}
		if text := s.Roles[0].Findings[0].Message; test.want == "warning" && !strings.Contains(text, "go-tuf will verify no role that lists it") {
			t.Errorf("the warning is %q", text)
		}
	}
}

// TestAllowsOnlineKey: what an event names is called only where the list has a
// beginning of it that ends where a name ends.
func TestAllowsOnlineKey(t *testing.T) {
	p, err := repository.ParsePolicy([]byte(`online-keys: ["gcpkms:projects/ours/", "azurekms://ours.vault.azure.net/", "awskms:arn:aws:kms:eu-west-1:111122223333:", "hv:root/3", "file2:/srv/tuf/"]`))
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]bool{
		"gcpkms:projects/ours/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1": true,
		"gcpkms:projects/ours": false, "gcpkms:projects/ours-not/locations/l": false, "gcpkms:projects/ours/../theirs/k": false, "gcpkms:projects/ours/./k": false,
		"gcpkms:projects/ours/%2e%2e/theirs": false, "gcpkms:projects/ours/k?x=y": false, "gcpkms:projects/ours/k#x": false, "gcpkms:projects/ours/a b": false,
		"azurekms://ours.vault.azure.net/keys/k/1": true, "azurekms://ours.vault.azure.net.evil.example/keys/k/1": false,
		"azurekms://ours.vault.azure.net@evil.example/keys/k/1": false, "azurekms://OURS.vault.azure.net/keys/k/1": false,
		"awskms:arn:aws:kms:eu-west-1:111122223333:key/x": true, "awskms:arn:aws:kms:eu-west-1:111122223334:key/x": false, "awskms:alias/x": false,
		"hv:root/3": true, "hv:root/33": false, "hv:root/3/": false, "file2:/srv/tuf/k.pem": true, "file2:/srv/tuf/../k.pem": false, "file2:/srv/tufk.pem": false,
		"": false, "gcpkms:": false, "gcpkms:projects/ours/k\n": false, "gcpkms:projects/ours/\\k": false, "gcpkms:projects/ours/k\u00e9": false,
	} {
		if got := p.AllowsOnlineKey(uri); got != want {
			t.Errorf("%q: %v, want %v", uri, got, want)
		}
	}
	if (repository.Policy{}).AllowsOnlineKey("file2:/srv/tuf/k.pem") {
		t.Error("without a list a key is allowed")
	}
}

// TestRequiredAttestation: what the policy asks for and nobody can check is not
// granted, and a check that fails is no verdict.
func TestRequiredAttestation(t *testing.T) {
	w := New(t)
	w.Edit("root", func(s object) { AddKey(s, "targets", "dave") }).Sign("root", "alice", "bob")
	w.Sign("targets", "dave").Commit("event")
	required := repository.Policy{Rules: map[string]repository.Decision{"key-not-attested": {Level: "error"}}}
	ruleCase{want: []string{"root key-not-attested error"}}.check(t, w, required, repository.EventOptions{})
	holds := func(_ context.Context, s *repository.State, k *metadata.Key) (string, error) {
		if _, ok := s.File("metadata/root.json"); !ok || k.Owner != "@dave" {
			return "another state or key than the event's", nil
		}
		return "", nil
	}
	ruleCase{complete: true}.check(t, w, required, repository.EventOptions{Attested: holds})
	broken := errors.New("disk gone")
	e, err := w.Open().OpenEvent(context.Background(), repository.EventOptions{Name: Event, Head: "HEAD", Base: "main",
		Attested: func(context.Context, *repository.State, *metadata.Key) (string, error) { return "", broken }})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := e.Status(context.Background(), w.Now, required); !errors.Is(err, broken) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestFirstCommitOfAKey: the commit that first listed the key counts, however
// often the file changes after it.
func TestFirstCommitOfAKey(t *testing.T) {
	w := New(t)
	oid := func() string { return strings.TrimSpace(w.Run("rev-parse", "HEAD")) }
	w.Edit("root", func(s object) { s["x"] = "before" }).Commit("one")
	w.Edit("root", func(s object) { AddKey(s, "targets", "dave"); s["version"] = int64(2) }).Commit("two")
	brought := oid()
	w.Sign("root", "alice", "bob").Sign("targets", "dave").Commit("three")
	for login, want := range map[string][]string{"mallory": {"root invite-accepted-by-other warning"}, "dave": nil} {
		other := map[string]string{"mallory": "dave", "dave": "mallory"}[login]
		pushers := map[git.OID]string{git.OID(oid()): other, git.OID(brought): login}
		ruleCase{want: want, complete: true}.check(t, w, repository.Policy{}, repository.EventOptions{Pushers: told(pushers)})
	}
}
