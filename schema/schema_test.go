package schema_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/schema/schematest"
)

// TestSchemas: each schema says what it is and describes everything in it, and
// no object takes what it does not describe.
func TestSchemas(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range schematest.Names(t) {
		schematest.New(t, name) // it compiles
		top := schematest.Read(t, name).(map[string]any)
		if top["$schema"] != "https://json-schema.org/draft/2020-12/schema" || top["$id"] != schematest.ID+name+".schema.json" || text(top["title"]) == "" {
			t.Errorf("%s: $schema %v, $id %v, title %v", name, top["$schema"], top["$id"], top["title"])
		}
		if !strings.Contains(string(page), "("+name+".schema.json)") {
			t.Errorf("schema/README.md does not name %s", name)
		}
		described(t, name, top)
	}
}

func text(v any) string { s, _ := v.(string); return s }

func described(t *testing.T, where string, v any) {
	s, ok := v.(map[string]any)
	if !ok {
		if list, ok := v.([]any); ok {
			for i, one := range list {
				described(t, fmt.Sprintf("%s/%d", where, i), one)
			}
		}
		return
	}
	if s["type"] == "object" {
		if text(s["description"]) == "" {
			t.Errorf("%s: an object without a description", where)
		}
		if more, ok := s["additionalProperties"]; !ok || more == true {
			t.Errorf("%s: an object that takes any property", where)
		}
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if p, ok := p.(map[string]any); !ok || text(p["description"]) == "" {
				t.Errorf("%s/%s has no description", where, name)
			}
		}
	}
	for key, one := range s {
		if key == "properties" && s["type"] == "object" {
			for name, p := range one.(map[string]any) {
				described(t, where+"/"+name, p)
			}
		} else {
			described(t, where+"/"+key, one)
		}
	}
}

// TestPolicy: the schema of .tufops.yaml and the program agree on every decision
// about every rule, and on all else that can stand there.
func TestPolicy(t *testing.T) {
	files := []string{
		"legacy-keyids: allowed", "legacy-keyids: refused", "legacy-keyids: maybe", "legacy-keyids: true", "legacy-keyids:", "legacy-keyids: [allowed]",
		"repositories: [v1, v2]", "repositories: [v1, v1]", "repositories: v1", "repositories: [1]", "repositories: ['']",
		"key-types: [ed25519/ed25519]", "key-types: [ed25519]", "key-types: []", "key-types: [ed25519/ed25519, ed25519/ed25519]",
		"online-keys: ['gcpkms:projects/x/']", "online-keys: ['azurekms://x.vault.azure.net/']", "online-keys: ['hv:']", "online-keys: ['hv:', 'hv:']", "online-keys: []", "online-keys: hv", "online-keys: [x]",
		"online-keys: ['file2:/srv/tuf/']", "online-keys: ['azurekms:']", "online-keys: ['azurekms:/x/']", "online-keys: ['azurekms:///x/']", "online-keys: ['gcpkms:projects/../']", "online-keys: ['gcpkms:..']",
		"online-keys: ['gcpkms:pro jects/']", "online-keys: ['gcpkms:projects/x?y']", "online-keys: ['azurekms://x@y/']", "online-keys: ['GCPKMS:x/']", "online-keys: ['gcpkms:%2e/']",
		"attested-keys: required", "attested-keys: optional", "attested-keys: yes", "invite-acceptance: own-login", "invite-acceptance: any-login", "invite-acceptance: no",
		"trust-material: enforced", "trust-material: shown", "trust-material: no", "profile: sigstore-public-good", "profile: sigstore",
		"rules: {}", "rules: []", "rules: {expired: warning}", "rules: {no-such-rule: {level: off, reason: x}}", "rule: {}", "- rules",
		"rules: {expired: {level: warning, reason: x, until: y}}", "rules: {expired: {reason: x}}", "rules: {expired: {level: warning, reason: ' '}}",
		"rules: {expired: {level: warning, reason: 5}}", "rules: {expired: {level: warning, reason: " + strings.Repeat("x", 501) + "}}",
		"rules: {expired: {level: warning, reason: " + strings.Repeat("x", 500) + "}}",
		"attested-keys: required\nrules: {key-not-attested: {level: off, reason: x}}", "invite-acceptance: any-login\nrules: {invite-accepted-by-other: {level: error}}",
		"attested-keys: required\nrules: {expired: {level: warning, reason: x}}",
	}
	for _, r := range repository.Rules() {
		for _, level := range []string{"off", "warning", "error", "awaited"} {
			for _, reason := range []string{"", ", reason: because", ", reason: ''"} {
				files = append(files, "rules: {"+r.Name+": {level: "+level+reason+"}}")
			}
		}
	}
	s := schematest.New(t, "policy")
	good := 0
	for _, f := range files {
		_, err := repository.ParsePolicy([]byte(f))
		invalid := s.Valid(decoded(t, f))
		if (err == nil) != (invalid == nil) {
			t.Errorf("%.200s\nthe program says %v, the schema %v", f, err, invalid)
		}
		if err == nil {
			good++
		}
	}
	if good < 30 || good > len(files)/2 {
		t.Errorf("%d of %d files are good", good, len(files))
	}
}

// TestPolicyWhole: a file with all keys, with every small change to it.
func TestPolicyWhole(t *testing.T) {
	keys := []string{"repositories", "legacy-keyids", "key-types", "online-keys", "attested-keys", "attestation-roots", "invite-acceptance", "trust-material", "profile", "rules", "reason"}
	whole := object{
		"repositories": []string{"v1"}, "legacy-keyids": "allowed", "key-types": []string{"ed25519/ed25519"}, "online-keys": []string{"hv:"}, "attested-keys": "required", "invite-acceptance": "own-login", "trust-material": "enforced",
		"attestation-roots": "-----BEGIN CERTIFICATE-----\n", "profile": "sigstore-public-good",
	}
	decisions := object{}
	for _, r := range repository.Rules() {
		if d := r.Decisions(); len(d) > 0 {
			decisions[r.Name] = object{"level": d[0], "reason": "because"}
			keys = append(keys, r.Name)
		}
	}
	s := schematest.New(t, "policy", slices.DeleteFunc(keys, func(k string) bool { return k == "reason" })...)
	without := object{"rules": decisions}
	s.Check(t, encoded(t, without))
	s.Check(t, encoded(t, whole))
	s.Done(t)
}

type object = map[string]any

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
