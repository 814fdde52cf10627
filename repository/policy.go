package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/git"
)

// PolicyFile is where maintainers decide what the rules leave open. It stands at
// the top of the git repository and is read from the tip of the base branch,
// never from an event.
const PolicyFile = ".tufops.yaml"

// maxPolicy bounds the policy file, in bytes.
const maxPolicy = 100_000

// maxReason bounds a reason, in bytes: it is shown with every finding that it
// lowers.
const maxReason = 500

// Policy is what the maintainers of a repository have decided where the rules
// leave a choice. The zero value is the strict default.
//
// A policy reaches as far as the verdict on an event (gate E). What gates S and P
// is harm to clients, and clients know no policy: a reason that convinces
// maintainers does not keep a client from failing. So [Repository.Signable] and
// [Repository.Published] take none, and neither a hostile nor an unreadable file
// can make them refuse or pass anything. Rehearsals alone ask one thing of it, see
// [Policy.AllowsNew].
type Policy struct {
	// AllowLegacyKeyIDs turns keyid-mismatch into a warning. Staging roots 5 to 8
	// and production root 11 hold such ids.
	AllowLegacyKeyIDs bool
	// Repositories are the folders of all TUF repositories in the git
	// repository, "" for its top: an event must not touch two. Empty where there
	// is only one.
	Repositories []string
	// KeyTypes are the types of keys that an event may add, each as TYPE/SCHEME;
	// empty for all that every client reads. One that go-tuf does not read has to
	// be named.
	KeyTypes []string
	// OnlineKeys are where online keys may be, as beginnings of their URIs. A
	// machine calls no other service or host for a key that only an event names.
	// Empty: none.
	OnlineKeys []string
	// AttestationRoots are certificates in PEM, one after another: makers of tokens
	// whose attestations are believed besides Yubico's.
	AttestationRoots string
	// Profile is what the repository is held to; "" for nothing beyond the rules.
	Profile Profile
	// EnforceTrust lets mistakes in Sigstore's trust material keep an event from
	// being complete. Without it they are warnings: a repository that is taken over
	// goes on with the verdicts that it had, nine of which in the history of
	// Sigstore's staging were mistakes (docs/trust-material.md). A file that no
	// client can read is an error in any case, until everybody has signed it.
	EnforceTrust bool
	// RefuseUnreadable makes trust material that no client can read an error also
	// where everybody has signed it. It stands in no file: the machine of a person
	// who is about to sign says so to itself.
	RefuseUnreadable bool
	// Rules are the decisions about single rules, by name.
	Rules map[string]Decision
}

// Decision is what maintainers have decided about one rule.
type Decision struct {
	// Level is one of [Rule.Decisions]: off keeps warnings of the rule out of a
	// status, warning takes their gate from errors, error gives one to warnings.
	Level Level
	// Reason is why, in the maintainers' words. It is empty only where the
	// decision makes the rule stricter.
	Reason string
}

// PolicyError says that the policy file of a commit cannot be used.
type PolicyError struct {
	Commit git.OID
	Err    error
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("%s at commit %.10s: %v", PolicyFile, e.Commit, e.Err)
}

func (e *PolicyError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *PolicyError) Hint() string {
	return "fix the file on main; known keys are " + strings.Join(policyKeys, ", ")
}

// policyKeys are the names at the top of [PolicyFile].
var policyKeys = []string{"repositories", "legacy-keyids", "key-types", "online-keys", "attested-keys", "attestation-roots", "invite-acceptance", "trust-material", "profile", "rules"}

// policyFile is the form of [PolicyFile].
type policyFile struct {
	Repositories     []string                `yaml:"repositories"`
	LegacyKeyIDs     *string                 `yaml:"legacy-keyids"`
	KeyTypes         []string                `yaml:"key-types"`
	OnlineKeys       []string                `yaml:"online-keys"`
	AttestedKeys     *string                 `yaml:"attested-keys"`
	AttestationRoots *string                 `yaml:"attestation-roots"`
	InviteAcceptance *string                 `yaml:"invite-acceptance"`
	Profile          *string                 `yaml:"profile"`
	TrustMaterial    *string                 `yaml:"trust-material"`
	Rules            map[string]ruleDecision `yaml:"rules"`
}

type ruleDecision struct {
	Level  Level  `yaml:"level"`
	Reason string `yaml:"reason"`
}

// Policy reads the policy file at a commit; without one it is the strict
// default. A file that is not as documented is a *[PolicyError], down to a key
// that is not known: a misspelt rule would else be no rule.
func (r *Repository) Policy(ctx context.Context, commit git.OID) (Policy, error) {
	fail := func(err error) (Policy, error) { return Policy{}, &PolicyError{Commit: commit, Err: err} }
	entry, ok, err := r.Git.Lookup(ctx, commit, PolicyFile)
	if err != nil || !ok {
		return Policy{}, err
	}
	if !entry.Mode.IsRegular() {
		return fail(errors.New("it is not a regular file"))
	}
	data, err := r.Git.BlobLimit(ctx, entry.OID, maxPolicy)
	if err != nil {
		return fail(err)
	}
	p, err := ParsePolicy(data)
	if err != nil {
		return fail(err)
	}
	if len(p.Repositories) > 0 && !slices.Contains(p.Repositories, r.dir) {
		return fail(fmt.Errorf("the TUF repository in folder %q is not one of repositories (%q): name one with --tuf-dir", r.dir, p.Repositories))
	}
	return p, nil
}

// ParsePolicy reads the content of a policy file.
func ParsePolicy(data []byte) (Policy, error) {
	f, err := decodePolicy(data)
	if err != nil {
		return Policy{}, err
	}
	p := Policy{Rules: map[string]Decision{}}
	if p.Repositories, err = f.folders(); err != nil {
		return Policy{}, err
	}
	if p.KeyTypes, err = f.keyTypes(); err != nil {
		return Policy{}, err
	}
	if p.OnlineKeys, err = f.onlineKeys(); err != nil {
		return Policy{}, err
	}
	if p.AllowLegacyKeyIDs, err = choice("legacy-keyids", f.LegacyKeyIDs, "allowed", "refused"); err != nil {
		return Policy{}, err
	}
	if f.Profile != nil {
		if !slices.Contains(profiles, *f.Profile) {
			return Policy{}, fmt.Errorf("profile is %q, not %s", *f.Profile, strings.Join(profiles, " or "))
		}
		p.Profile = Profile(*f.Profile)
	}
	if p.EnforceTrust, err = choice("trust-material", f.TrustMaterial, "enforced", "shown"); err != nil {
		return Policy{}, err
	}
	if f.AttestationRoots != nil {
		p.AttestationRoots = *f.AttestationRoots
		if _, err := attestation.ParseVerifier([]byte(p.AttestationRoots)); err != nil {
			return Policy{}, fmt.Errorf("attestation-roots: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Rules)) {
		d := Decision(f.Rules[name])
		if err := d.check(name); err != nil {
			return Policy{}, err
		}
		p.Rules[name] = d
	}
	for _, key := range []struct {
		name   string
		value  *string
		yes    string
		no     string
		raises *Rule
	}{
		{"attested-keys", f.AttestedKeys, "required", "optional", keyNotAttested},
		{"invite-acceptance", f.InviteAcceptance, "own-login", "any-login", inviteAcceptedByOther},
	} {
		strict, err := choice(key.name, key.value, key.yes, key.no)
		if err != nil {
			return Policy{}, err
		}
		if _, twice := p.Rules[key.raises.Name]; twice && key.value != nil {
			return Policy{}, fmt.Errorf("%s and rules both decide about %s: keep one of the two", key.name, key.raises.Name)
		}
		if strict {
			p.Rules[key.raises.Name] = Decision{Level: LevelError}
		}
	}
	if len(p.Rules) == 0 {
		p.Rules = nil
	}
	return p, nil
}

// choice is whether a key says yes; it says no where it is not there.
func choice(name string, value *string, yes, no string) (bool, error) {
	switch {
	case value == nil || *value == no:
		return false, nil
	case *value == yes:
		return true, nil
	}
	return false, fmt.Errorf("%s is %q, not %s or %s", name, *value, yes, no)
}

// decodePolicy reads the form of the file. It takes names, lists and text and
// nothing else: YAML makes a number of 0.10 and a truth value of true, and an
// alias can grow without bound.
func decodePolicy(data []byte) (policyFile, error) {
	var f policyFile
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return f, nil // nothing but comments
	} else if err != nil {
		return f, errors.New(strings.TrimPrefix(oneLine(err.Error()), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return f, errors.New("it holds more than one document")
	}
	top := doc.Content[0]
	if err := plainYAML(top); err != nil {
		return f, err
	}
	if top.Kind != yaml.MappingNode {
		return f, fmt.Errorf("line %d: it does not hold keys like rules and key-types", top.Line)
	}
	if err := knownKeys(top, "", policyKeys); err != nil {
		return f, err
	}
	for i := 0; i < len(top.Content); i += 2 {
		if top.Content[i].Value != "rules" || top.Content[i+1].Kind != yaml.MappingNode {
			continue
		}
		list := top.Content[i+1].Content
		for j := 0; j < len(list); j += 2 {
			if list[j+1].Kind == yaml.MappingNode {
				if err := knownKeys(list[j+1], "rule "+list[j].Value+": ", []string{"level", "reason"}); err != nil {
					return f, err
				}
			}
		}
	}
	if err := top.Decode(&f); err != nil {
		return f, errors.New(strings.TrimPrefix(oneLine(err.Error()), "yaml: unmarshal errors: "))
	}
	return f, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// plainYAML refuses what is neither a mapping, a list nor text, and a key that
// stands twice.
func plainYAML(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not read", n.Line)
	case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || strings.TrimSpace(n.Value) == ""):
		return fmt.Errorf("line %d: nothing stands where a value belongs", n.Line)
	case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str":
		return fmt.Errorf("line %d: %s is not text; put it in quotes if it is meant to be", n.Line, n.Value)
	case n.Kind == yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
				return fmt.Errorf("line %d: a key is not text", key.Line)
			}
			if seen[key.Value] {
				return fmt.Errorf("line %d: %q stands twice", key.Line, key.Value)
			}
			seen[key.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := plainYAML(c); err != nil {
			return err
		}
	}
	return nil
}

func knownKeys(n *yaml.Node, where string, known []string) error {
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i]; !slices.Contains(known, key.Value) {
			return fmt.Errorf("line %d: %sthere is no key %q, only %s", key.Line, where, key.Value, strings.Join(known, ", "))
		}
	}
	return nil
}

func (f policyFile) folders() ([]string, error) {
	var list []string
	for _, dir := range f.Repositories {
		clean := path.Clean(dir)
		if !filepath.IsLocal(dir) {
			return nil, fmt.Errorf("repositories lists %q, which is no folder of this git repository", dir)
		}
		if clean == "." {
			clean = ""
		}
		if slices.Contains(list, clean) {
			return nil, fmt.Errorf("repositories lists %q twice", dir)
		}
		list = append(list, clean)
	}
	return list, nil
}

func (f policyFile) keyTypes() ([]string, error) {
	if f.KeyTypes != nil && len(f.KeyTypes) == 0 {
		return nil, errors.New("key-types is empty: no key could ever be added")
	}
	for i, t := range f.KeyTypes {
		if !slices.Contains(writtenTypes, t) && !slices.Contains(newTypes, t) {
			return nil, fmt.Errorf("key-types lists %q, which cannot be written, only %s", t, strings.Join(slices.Concat(writtenTypes, newTypes), ", "))
		}
		if slices.Contains(f.KeyTypes[:i], t) {
			return nil, fmt.Errorf("key-types lists %q twice", t)
		}
	}
	return f.KeyTypes, nil
}

// onlineKeys takes beginnings that end where a name of the URI ends, and that name
// the host where the URI has one: azurekms: alone would be any host in the world.
func (f policyFile) onlineKeys() ([]string, error) {
	if f.OnlineKeys != nil && len(f.OnlineKeys) == 0 {
		return nil, errors.New("online-keys is empty: leave it out, no key that only an event names is then called")
	}
	for i, u := range f.OnlineKeys {
		switch {
		case slices.Contains(f.OnlineKeys[:i], u):
			return nil, fmt.Errorf("online-keys lists %q twice", u)
		case !onlineKeysForm().MatchString(u) || !plainURI(u) || strings.HasPrefix(u, "azurekms:") && !strings.HasPrefix(u, "azurekms://"):
			return nil, fmt.Errorf("online-keys lists %q, which is no beginning of a key's URI: write SERVICE: and what follows, up to a / or a : (gcpkms:projects/example/, azurekms://example.vault.azure.net/, hv:), or a whole URI", u)
		}
	}
	return f.OnlineKeys, nil
}

// onlineKeysForm is a service, its host if it stands in the URI, and what follows.
var onlineKeysForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z][a-z0-9]*://[A-Za-z0-9.-]+/.*|[a-z][a-z0-9]*:(/?[^/].*)?)$`)
})

// plainURI reports whether a URI means what it looks like: no dots that lead
// upwards, nothing encoded, no query, no account.
func plainURI(uri string) bool {
	if strings.ContainsAny(uri, `%?#@\`) || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	_, path, _ := strings.Cut(uri, ":")
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "//"), "/") {
		if part == "." || part == ".." {
			return false
		}
	}
	return true
}

// AllowsOnlineKey reports whether a key that the metadata of main does not list may
// be asked for at its URI: whether [Policy.OnlineKeys] has a beginning of it.
func (p Policy) AllowsOnlineKey(uri string) bool {
	return plainURI(uri) && slices.ContainsFunc(p.OnlineKeys, func(begin string) bool {
		return uri == begin || strings.HasPrefix(uri, begin) && (strings.HasSuffix(begin, "/") || strings.HasSuffix(begin, ":"))
	})
}

// check says why a decision about a rule cannot be made.
func (d Decision) check(name string) error {
	r := ruleNamed(name)
	switch {
	case r == nil:
		return fmt.Errorf("rules names %q, which is no rule; list them with: tufops rules", name)
	case d.Level == "":
		return fmt.Errorf("rules gives %s no level", name)
	case r.Fixed:
		return fmt.Errorf("rules gives %s the level %s, but it can neither be lowered nor silenced: without it a role is not what its people have agreed to", name, d.Level)
	case !slices.Contains(r.Decisions(), d.Level):
		var can []string
		for _, l := range r.Decisions() {
			can = append(can, string(l))
		}
		return fmt.Errorf("rules gives %s the level %q; it has the level %s and can be given %s", name, d.Level, r.Level, strings.Join(can, " or "))
	case d.Reason == "" && d.Level != LevelError:
		return fmt.Errorf("rules gives %s the level %s without a reason", name, d.Level)
	case len(d.Reason) > maxReason:
		return fmt.Errorf("the reason for %s has %d bytes, more than %d", name, len(d.Reason), maxReason)
	}
	return nil
}

// Allows reports whether an event may add a key of a type, TYPE/SCHEME.
func (p Policy) Allows(typeAndScheme string) bool {
	if len(p.KeyTypes) > 0 {
		return slices.Contains(p.KeyTypes, typeAndScheme)
	}
	return slices.Contains(writtenTypes, typeAndScheme)
}

// AllowsNew reports whether the policy names a type of keys that go-tuf does not
// read. Who names one gives up the clients that are built with it: that they fail
// on such a key, and on nothing else, keeps nothing from being published.
func (p Policy) AllowsNew() bool {
	return slices.ContainsFunc(p.KeyTypes, func(t string) bool { return slices.Contains(newTypes, t) })
}

// decide gives each finding on an event the level that the policy gives its
// rule. left are those that it keeps out; a finding that the rule itself has
// made a warning of is neither lowered again nor told with a reason.
func (p Policy) decide(list []Finding) (shown, left []Finding) {
	shown = []Finding{}
	for _, f := range list {
		d, ok := p.Rules[f.Rule]
		switch {
		case !ok:
		case d.Level == LevelOff:
			left = append(left, f)
			continue
		case d.Level == LevelWarning && f.Level != LevelWarning:
			f.Level, f.Gates, f.Lowered, f.Reason = LevelWarning, "", f.Level, d.Reason
		case d.Level == LevelError:
			f.Level, f.Gates, f.Reason = ruleNamed(f.Rule).Raised, "E", d.Reason
		}
		shown = append(shown, f)
	}
	return shown, left
}

// settle applies the policy to what the rules have found, and counts what it
// keeps out.
func (j *judge) settle(list []Finding) []Finding {
	shown, left := j.policy.decide(list)
	for _, f := range left {
		i := slices.IndexFunc(j.silenced, func(s Silenced) bool { return s.Rule == f.Rule })
		if i < 0 {
			i = len(j.silenced)
			j.silenced = append(j.silenced, Silenced{Rule: f.Rule, Reason: j.policy.Rules[f.Rule].Reason})
		}
		j.silenced[i].Findings++
	}
	return shown
}

// others are the folders of the other TUF repositories in the same git
// repository.
func (p Policy) others(dir string) []string {
	return slices.DeleteFunc(slices.Clone(p.Repositories), func(d string) bool { return d == dir })
}
