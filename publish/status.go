package publish

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/trustroot"
)

// Status are the facts of the status page, and status.json as far as no renewal
// of the timestamp changes them (see [Status.settled]). They are those of a
// [repository.Published], so of what was verified; text in it is as strangers
// wrote it.
type Status struct {
	Schema    int                  `json:"schema"`
	Commit    string               `json:"commit"`
	Generated time.Time            `json:"generated"` // UTC, like all times here
	Health    Health               `json:"health"`
	Timestamp *TimestampStatus     `json:"timestamp,omitempty"` // in status.json alone, where it stands for the role
	Roles     []RoleStatus         `json:"roles"`               // root, timestamp, snapshot, then targets roles as clients meet them
	Roots     []RootStatus         `json:"root_history"`        // ascending
	Artifacts []ArtifactStatus     `json:"artifacts"`
	Findings  []repository.Finding `json:"findings"`
}

// The states of a repository, from best to worst; the worst one that holds
// counts.
const (
	HealthGood      = "good"
	HealthSigning   = "signing"   // a role that people sign is in its signing period
	HealthAttention = "attention" // a finding stands, and clients go on
	HealthFailing   = "failing"   // clients fail
)

// Health says whether clients are served, and how long they will be if nobody
// signs anything any more.
type Health struct {
	State string    `json:"state"`
	Until time.Time `json:"until_if_renewed"` // the first expiry among the roles that every client needs; in status.json the timestamp is none of them
	Role  string    `json:"role"`             // the role that expires then
	// Next is when people are asked to sign next; nil where machines sign all.
	Next *NextSigning `json:"next_signing,omitempty"`
}

// TimestampStatus is what status.json says of the timestamp. Its version and its
// dates stand in the file itself, where they are signed.
type TimestampStatus struct {
	File      string   `json:"file"`
	Threshold int64    `json:"threshold"`           // signatures needed
	Signers   []string `json:"signers"`             // one for each public key, named as in the other roles
	ExpiryDay int64    `json:"expiry_period_days"`  // 0: not stated
	SignDay   int64    `json:"signing_period_days"` // 0: not stated
}

// NextSigning is when people are asked to sign, and what.
type NextSigning struct {
	Role   string    `json:"role"`
	Starts time.Time `json:"starts"` // may be past
}

// RoleStatus is one role of status.json.
type RoleStatus struct {
	Role      string     `json:"role"`
	File      string     `json:"file"`
	Commit    string     `json:"commit,omitempty"` // an earlier commit that the version was taken from, as the one built has none that snapshot lists and that verifies
	Version   int64      `json:"version"`
	Issued    *time.Time `json:"issued,omitempty"`    // expires less the expiry period; nil where no period is known
	Resign    time.Time  `json:"signing_starts"`      // when re-signing starts; equal to expires where no period is known
	Expires   time.Time  `json:"expires"`             //
	Signing   bool       `json:"signing"`             // re-signing has started, when this was judged
	Expired   bool       `json:"expired"`             // when this was judged
	Online    bool       `json:"online"`              // a machine signs it
	Threshold int64      `json:"threshold"`           // signatures needed
	Signed    int        `json:"signatures"`          // distinct public keys that signed
	Signers   []Signer   `json:"signers"`             // one for each public key of the role, in the order of the delegation
	By        string     `json:"delegator,omitempty"` // who delegates to it
	ExpiryDay int64      `json:"expiry_period_days"`  // 0: not stated
	SignDay   int64      `json:"signing_period_days"` // 0: not stated

	// What is delegated to it; for root and its four roles there is nothing.
	Paths        []string `json:"paths,omitempty"`
	HashPrefixes []string `json:"path_hash_prefixes,omitempty"`
	Terminating  bool     `json:"terminating,omitempty"`
}

// Signer is the holder of one key of a role.
type Signer struct {
	Name   string `json:"name"`   // owner, online URI, or the beginning of the keyid
	Signed bool   `json:"signed"` // signed this version
	// Attested says whether a hardware attestation of the key holds; nil for a
	// machine's key, and where nobody can tell.
	Attested *bool `json:"attested,omitempty"`
}

// ArtifactStatus is one artifact of status.json.
type ArtifactStatus struct {
	Path   string            `json:"path"`
	Role   string            `json:"role"`
	Length int64             `json:"length"` // bytes
	Hashes map[string]string `json:"hashes"` // by algorithm, those that name its files
	Files  []string          `json:"files"`

	Sigstore *trustroot.Contents `json:"sigstore,omitempty"` // what it says, where it is Sigstore's trust material
}

// statusOf states the facts of p, as generated at the time of p, which is what
// they are judged by.
func statusOf(ctx context.Context, p *repository.Published, attested repository.Attestation) (Status, error) {
	devices, err := devicesOf(ctx, p, attested)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Schema: 1, Commit: string(p.Commit()), Generated: p.At().UTC().Truncate(time.Second),
		Roots: rootHistory(p.Roots()), Artifacts: []ArtifactStatus{}, Findings: append([]repository.Finding{}, p.Findings()...),
	}
	add := func(role, by, file string, doc *metadata.Document, d metadata.Delegation, periods metadata.Object) *RoleStatus {
		q := metadata.Check(d, doc)
		r := RoleStatus{
			Role: role, File: file, By: by, Version: doc.Version(), Expires: doc.Expires(), Resign: doc.Expires(),
			Expired: doc.Expired(p.At()), Online: true, Threshold: q.Threshold, Signed: q.Count, Signers: []Signer{},
		}
		period := metadata.PeriodOf(periods)
		if issued, ok := daysBefore(r.Expires, period.Expiry); ok {
			r.Issued, r.ExpiryDay = &issued, period.Expiry
		}
		if resign, ok := daysBefore(r.Expires, period.Signing); ok {
			r.Resign, r.SignDay = resign, period.Signing
			r.Signing = !r.Expired && repository.Due(doc, period, p.At())
		}
		signed, seen := map[string]bool{}, map[string]bool{}
		for _, k := range q.Signed {
			signed[k.Fingerprint()] = true
		}
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; k != nil && !seen[k.Fingerprint()] {
				seen[k.Fingerprint()] = true
				r.Signers = append(r.Signers, Signer{Name: holder(k), Signed: signed[k.Fingerprint()], Attested: devices[k.Fingerprint()]})
				r.Online = r.Online && k.OnlineURI != ""
			}
		}
		r.Online = r.Online || metadata.IsOnline(role)
		s.Roles = append(s.Roles, r)
		return &s.Roles[len(s.Roles)-1]
	}
	root := p.Root()
	top := func(role string) metadata.Delegation { d, _ := root.Delegation(role); return d }
	add(metadata.Root, "", versioned(metadata.Root, root), root, top(metadata.Root), root.Signed())
	add(metadata.Timestamp, metadata.Root, "timestamp.json", p.Timestamp(), top(metadata.Timestamp), top(metadata.Timestamp).Object)
	add(metadata.Snapshot, metadata.Root, versioned(metadata.Snapshot, p.Snapshot()), p.Snapshot(), top(metadata.Snapshot), top(metadata.Snapshot).Object)
	listed := map[string]map[string]metadata.TargetFile{}
	for _, r := range p.Roles() {
		one := add(r.Role, r.By, versioned(r.Role, r.Document), r.Document, r.Delegation, r.Document.Signed())
		one.Paths, one.HashPrefixes, one.Terminating = r.Delegation.Paths, r.Delegation.HashPrefixes, r.Delegation.Terminating
		if r.Commit != p.Commit() {
			one.Commit = string(r.Commit)
		}
		listed[r.Role] = r.Document.Targets()
	}
	for _, a := range p.Artifacts() {
		one := ArtifactStatus{Path: a.Target, Role: a.Role, Length: a.Length, Hashes: map[string]string{}, Files: a.Names}
		for _, algorithm := range []string{"sha256", "sha512"} {
			if hash := listed[a.Role][a.Target].Hashes[algorithm]; hash != "" {
				one.Hashes[algorithm] = hash
			}
		}
		if one.Sigstore, err = material(ctx, p, a); err != nil {
			return Status{}, err
		}
		s.Artifacts = append(s.Artifacts, one)
	}
	_, err = p.Publishable()
	s.Health = healthOf(s.Roles, len(s.Findings) > 0, err != nil)
	return s, nil
}

// settled is status.json: the facts that stay while nothing but the timestamp is
// renewed, so that a renewal writes the timestamp and one page. What it leaves
// out stands in timestamp.json beside it, which programs read and trust more
// than any page; people, who do not, find it in index.html.
func (s Status) settled() Status {
	out := s
	out.Roles = []RoleStatus{}
	for _, r := range s.Roles {
		if r.Role != metadata.Timestamp {
			out.Roles = append(out.Roles, r)
			continue
		}
		out.Timestamp = &TimestampStatus{File: r.File, Threshold: r.Threshold, Signers: []string{}, ExpiryDay: r.ExpiryDay, SignDay: r.SignDay}
		for _, signer := range r.Signers {
			out.Timestamp.Signers = append(out.Timestamp.Signers, signer.Name)
		}
	}
	rest := healthOf(out.Roles, false, false)
	out.Health.Until, out.Health.Role = rest.Until, rest.Role
	return out
}

// devicesOf says of the people's keys in the roles of p whether an attestation
// holds for them, by fingerprint. It is empty where attested is nil.
func devicesOf(ctx context.Context, p *repository.Published, attested repository.Attestation) (map[string]*bool, error) {
	known := map[string]*bool{}
	if attested == nil {
		return known, nil
	}
	state, err := p.Repository().At(ctx, p.Commit())
	if err != nil {
		return nil, err
	}
	delegations := []metadata.Delegation{}
	for _, role := range metadata.TopLevel {
		d, _ := p.Root().Delegation(role)
		delegations = append(delegations, d)
	}
	for _, r := range p.Roles() {
		delegations = append(delegations, r.Delegation)
	}
	for _, d := range delegations {
		for _, id := range d.KeyIDs {
			k := d.Keys[id]
			if k == nil || k.OnlineURI != "" || known[k.Fingerprint()] != nil {
				continue
			}
			why, err := attested(ctx, state, k)
			if err != nil {
				return nil, fmt.Errorf("look at the attestation of %s: %w", holder(k), err)
			}
			holds := why == ""
			known[k.Fingerprint()] = &holds
		}
	}
	return known, nil
}

// material reads an artifact that is trust material by its name; nil for any
// other.
func material(ctx context.Context, p *repository.Published, a repository.PublishedArtifact) (*trustroot.Contents, error) {
	kind, ok := trustroot.KindOf(a.Target)
	if !ok {
		return nil, nil
	}
	const limit = 1_000_000
	if a.Length > limit {
		return &trustroot.Contents{
			Kind: kind, Problem: fmt.Sprintf("it has %d bytes, which is no trust material", a.Length),
			Instances: []trustroot.Instance{}, Selectors: []trustroot.Choice{},
		}, nil
	}
	data, err := p.Repository().Git.BlobLimit(ctx, a.File.OID, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", a.File.Path, err)
	}
	says := trustroot.Describe(kind, data, p.At())
	return &says, nil
}

// healthOf sums up. Roles of the top level fail every client when they expire;
// what happens to a delegated role only those who ask for it.
func healthOf(roles []RoleStatus, findings, failing bool) Health {
	h := Health{State: HealthGood}
	for _, r := range roles {
		if slices.Contains(metadata.TopLevel, r.Role) && (h.Role == "" || r.Expires.Before(h.Until)) {
			h.Until, h.Role = r.Expires, r.Role
		}
		if r.Online {
			continue
		}
		if h.Next == nil || r.Resign.Before(h.Next.Starts) {
			h.Next = &NextSigning{r.Role, r.Resign}
		}
		if r.Signing {
			h.State = HealthSigning
		}
	}
	if findings {
		h.State = HealthAttention
	}
	if failing {
		h.State = HealthFailing
	}
	return h
}

// daysBefore reports false for days that are not stated, or absurd: a period is a
// number that somebody signed, and years have four digits in what we write.
func daysBefore(t time.Time, days int64) (time.Time, bool) {
	if days < 1 || days > 400*365 {
		return t, false
	}
	before := t.AddDate(0, 0, -int(days))
	return before, before.Year() >= 1
}

// holder names who holds a key, for people.
func holder(k *metadata.Key) string {
	if name := k.Holder(); name != "" {
		return name
	}
	return "key " + k.ID[:min(12, len(k.ID))]
}

func versioned(role string, doc *metadata.Document) string {
	return fmt.Sprintf("%d.%s.json", doc.Version(), role)
}
