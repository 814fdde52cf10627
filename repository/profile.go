package repository

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tufops/tufops/internal/metadata"
)

// Profile is a set of demands on a repository that its maintainers hold it to,
// by the name that `profile` has in [PolicyFile]. Demands gate nothing: they are
// shown, met or not, wherever the state of the repository is.
type Profile string

// SigstorePublicGood is what Sigstore's public instance promises of its root.
//
// Spec: https://github.com/sigstore/architecture-docs/blob/main/sigstore-public-deployment-spec.md,
// section 4.
const SigstorePublicGood Profile = "sigstore-public-good"

var profiles = []string{string(SigstorePublicGood)}

// Demand is one line of a profile, as a state meets it.
type Demand struct {
	Name string `json:"name"`
	Met  string `json:"met"` // yes, no, or unknown where nobody can tell
	Text string `json:"text"`
}

// ProfileStatus is how a state stands to a profile.
type ProfileStatus struct {
	Name    Profile  `json:"name"`
	Demands []Demand `json:"demands"`
}

// Attestation says why a person's key has no hardware attestation that holds, as
// [EventOptions].Attested does.
type Attestation = func(ctx context.Context, s *State, k *metadata.Key) (string, error)

// Profile says which demands of a profile a state meets. attested may be nil.
func (s *State) Profile(ctx context.Context, p Profile, attested Attestation) (*ProfileStatus, error) {
	if p == "" {
		return nil, nil
	}
	status := &ProfileStatus{Name: p, Demands: []Demand{}}
	add := func(name string, met bool, format string, args ...any) {
		status.Demands = append(status.Demands, Demand{name, map[bool]string{true: "yes", false: "no"}[met], fmt.Sprintf(format, args...)})
	}
	root, ok := s.Delegation(metadata.Root)
	if !ok {
		add("root-keys", false, "there is no root that can be read")
		return status, nil
	}
	keys := fingerprints(root.Delegation)
	add("root-keys", len(keys) >= 5, "root has %d distinct keys; five are asked for", len(keys))
	add("root-threshold", root.Threshold >= 3, "root needs %d signatures; three are asked for", root.Threshold)
	device, err := s.devices(ctx, root.Delegation, attested)
	if err != nil {
		return nil, err
	}
	status.Demands = append(status.Demands, device)
	if targets, ok := s.Delegation(metadata.Targets); ok {
		same := slices.Equal(keys, fingerprints(targets.Delegation))
		words := "are those of root"
		if !same {
			words = "are not those of root"
		}
		add("targets-keys", same && targets.Threshold >= root.Threshold, "the keys of targets %s; it needs %d signatures, root %d", words, targets.Threshold, root.Threshold)
	}
	if timestamp, ok := s.Delegation(metadata.Timestamp); ok {
		period := metadata.PeriodOf(timestamp.Object)
		age := period.Expiry - period.Signing
		add("timestamp", period.Expiry > 0 && period.Expiry <= 7 && age <= 1,
			"a timestamp lives %s and is renewed after %s; at most seven days and one are asked for", dayCount(period.Expiry), dayCount(age))
	}
	foreign := s.foreignArtifacts()
	switch {
	case len(foreign) == 0:
		add("artifacts", true, "every artifact of targets has a name that is asked for")
	default:
		add("artifacts", false, "targets lists %s, whose names are not asked for", strings.Join(foreign, ", "))
	}
	return status, nil
}

func dayCount(n int64) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// fingerprints are the distinct public keys of a delegation, sorted.
func fingerprints(d metadata.Delegation) []string {
	var list []string
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil {
			list = append(list, k.Fingerprint())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// devices is the demand that each key of root lives in a device of its own.
func (s *State) devices(ctx context.Context, root metadata.Delegation, attested Attestation) (Demand, error) {
	d := Demand{Name: "root-devices", Met: "unknown", Text: "nobody can tell here whether the keys of root live in attested devices"}
	if attested == nil {
		return d, nil
	}
	var without []string
	for _, id := range root.KeyIDs {
		k := root.Keys[id]
		if k == nil {
			continue
		}
		why, err := attested(ctx, s, k)
		if err != nil {
			return d, fmt.Errorf("look at the attestation of %s: %w", k.Holder(), err)
		}
		if why != "" {
			without = append(without, fmt.Sprintf("%s (%s)", k.Holder(), why))
		}
	}
	d.Met, d.Text = "yes", "every key of root is attested to live in a device"
	if without != nil {
		d.Met, d.Text = "no", "keys of root without an attestation that holds: "+strings.Join(without, ", ")
	}
	return d, nil
}

// artifactNames are what the public instance distributes; the last line is for
// clients from before trusted_root.json.
var artifactNames = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`^trusted_root(\.v[0-9]+\.[0-9]+)?\.json$`),
		regexp.MustCompile(`^signing_config(_rekor_v2)?(\.v[0-9]+\.[0-9]+)?\.json$`),
		regexp.MustCompile(`^(rekor|ctfe|artifact)[a-z0-9_]*\.pub$|^fulcio[a-z0-9_]*\.(crt\.)?pem$`),
	}
})

const maxForeign = 10

// foreignArtifacts are the artifacts of the top targets role that have another
// name, quoted, and of very many the first.
func (s *State) foreignArtifacts() []string {
	doc, err := s.Document(metadata.Targets)
	if err != nil {
		return nil
	}
	var list []string
	for _, target := range sortedKeys(doc.Targets()) {
		if !slices.ContainsFunc(artifactNames(), func(r *regexp.Regexp) bool { return r.MatchString(target) }) {
			list = append(list, fmt.Sprintf("%q", target))
		}
	}
	if more := len(list) - maxForeign; more > 0 {
		list = append(list[:maxForeign], fmt.Sprintf("and %d more", more))
	}
	return list
}
