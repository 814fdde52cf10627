package publish

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// RootStatus is one version of root in status.json.
type RootStatus struct {
	Version   int64      `json:"version"`
	File      string     `json:"file"`
	Issued    *time.Time `json:"issued,omitempty"` // expires less the expiry period; nil where no period is known
	Expires   time.Time  `json:"expires"`
	Threshold int64      `json:"threshold"`
	Keys      int        `json:"keys"`      // distinct public keys of root
	SignedBy  []string   `json:"signed_by"` // whose keys signed it, by its own delegation or its predecessor's
	// Changes are what is different from its predecessor beside version and
	// expiry; empty for the first.
	Changes []RootChange `json:"changes"`
}

// RootChange is one difference between a root and its predecessor.
type RootChange struct {
	Change string   `json:"change"`
	Roles  []string `json:"roles"`            // the roles it is the same for
	Signer string   `json:"signer,omitempty"` // whose key it is about
	Field  string   `json:"field,omitempty"`  // the field it is about
	From   string   `json:"from,omitempty"`   // "" where nothing was stated
	To     string   `json:"to,omitempty"`
}

// What a [RootChange] can be.
const (
	SignerAdded   = "signer-added"
	SignerRemoved = "signer-removed"
	SignerRenamed = "signer-renamed" // the same key, said to be another's
	KeyAdded      = "key-added"      // a further key of one who has one already
	KeyRemoved    = "key-removed"    // one of several keys
	KeyReplaced   = "key-replaced"
	KeyIDChanged  = "keyid-changed" // the same key under another keyid
	Threshold     = "threshold"
	ExpiryPeriod  = "expiry-period"  // in days
	SigningPeriod = "signing-period" // in days
	FieldChanged  = "field"          // any other field
)

// rootHistory tells who signed each version of root and what it changed.
func rootHistory(roots []repository.RootFileVersion) []RootStatus {
	history := make([]RootStatus, 0, len(roots))
	for i, r := range roots {
		doc := r.Document
		d, _ := doc.Delegation(metadata.Root)
		one := RootStatus{
			Version: doc.Version(), File: versioned(metadata.Root, doc), Expires: doc.Expires(),
			Threshold: d.Threshold, Keys: d.PublicKeys(), SignedBy: []string{}, Changes: []RootChange{},
		}
		if issued, ok := daysBefore(one.Expires, repository.PeriodOf(doc).Expiry); ok {
			one.Issued = &issued
		}
		signed := metadata.Check(d, doc).Signed
		if i > 0 {
			before := roots[i-1].Document
			old, _ := before.Delegation(metadata.Root)
			for _, k := range metadata.Check(old, doc).Signed {
				if !slices.ContainsFunc(signed, func(s *metadata.Key) bool { return s.Fingerprint() == k.Fingerprint() }) {
					signed = append(signed, k)
				}
			}
			one.Changes = rootChanges(before, doc)
		}
		for _, k := range signed {
			one.SignedBy = append(one.SignedBy, holder(k))
		}
		slices.Sort(one.SignedBy)
		history = append(history, one)
	}
	return history
}

func rootChanges(before, after *metadata.Document) []RootChange {
	changes := []RootChange{}
	add := func(role string, c RootChange) {
		for i := range changes {
			same := changes[i]
			if same.Change == c.Change && same.Signer == c.Signer && same.Field == c.Field && same.From == c.From && same.To == c.To {
				if !slices.Contains(same.Roles, role) {
					changes[i].Roles = append(same.Roles, role)
				}
				return
			}
		}
		c.Roles = []string{role}
		changes = append(changes, c)
	}
	number := func(role, what string, from, to int64) {
		if from != to {
			add(role, RootChange{Change: what, From: stated(from), To: stated(to)})
		}
	}
	for _, role := range metadata.TopLevel {
		old, _ := before.Delegation(role)
		now, _ := after.Delegation(role)
		keyChanges(old, now, func(c RootChange) { add(role, c) })
		number(role, Threshold, old.Threshold, now.Threshold)
		from, to := old.Object, now.Object
		if role == metadata.Root {
			from, to = before.Signed(), after.Signed()
		}
		if role != metadata.Targets { // whose periods stand in targets itself
			p, q := metadata.PeriodOf(from), metadata.PeriodOf(to)
			number(role, ExpiryPeriod, p.Expiry, q.Expiry)
			number(role, SigningPeriod, p.Signing, q.Signing)
		}
		for _, field := range differing(old.Object, now.Object, "keyids", "threshold", metadata.FieldExpiryPeriod, metadata.FieldSigningPeriod) {
			add(role, RootChange{Change: FieldChanged, Field: field})
		}
	}
	for _, field := range differing(before.Signed(), after.Signed(), "version", "expires", "keys", "roles", metadata.FieldExpiryPeriod, metadata.FieldSigningPeriod) {
		add(metadata.Root, RootChange{Change: FieldChanged, Field: field})
	}
	return changes
}

// stated is a number as text, "" where none is stated.
func stated(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// keyChanges compares who can sign a role. Keys are told apart by public key, so
// that a new name for an old key is no new key.
func keyChanges(before, after metadata.Delegation, add func(RootChange)) {
	type keys struct {
		order  []*metadata.Key
		byKey  map[string]*metadata.Key // by fingerprint
		byName map[string]int
	}
	of := func(d metadata.Delegation) keys {
		k := keys{byKey: map[string]*metadata.Key{}, byName: map[string]int{}}
		for _, id := range d.KeyIDs {
			if key := d.Keys[id]; key != nil && k.byKey[key.Fingerprint()] == nil {
				k.byKey[key.Fingerprint()] = key
				k.byName[holder(key)]++
				k.order = append(k.order, key)
			}
		}
		return k
	}
	old, now := of(before), of(after)
	added, removed := map[string]int{}, map[string]int{}
	for _, k := range now.order {
		was := old.byKey[k.Fingerprint()]
		switch name := holder(k); {
		case was == nil:
			added[name]++
		case holder(was) != name:
			add(RootChange{Change: SignerRenamed, From: holder(was), To: name})
		case was.ID != k.ID:
			add(RootChange{Change: KeyIDChanged, Signer: name})
		}
	}
	for _, k := range old.order {
		if now.byKey[k.Fingerprint()] == nil {
			removed[holder(k)]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		c := RootChange{Change: SignerAdded, Signer: name}
		switch {
		case added[name] == removed[name]:
			c.Change = KeyReplaced
		case old.byName[name] > 0:
			c.Change = KeyAdded
		}
		add(c)
	}
	for _, name := range slices.Sorted(maps.Keys(removed)) {
		switch {
		case added[name] == removed[name]:
		case now.byName[name] > 0:
			add(RootChange{Change: KeyRemoved, Signer: name})
		default:
			add(RootChange{Change: SignerRemoved, Signer: name})
		}
	}
}

// differing names the fields that differ between two objects, but for some.
func differing(before, after metadata.Object, but ...string) []string {
	var names []string
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		old, had := before[name]
		now, has := after[name]
		if !slices.Contains(but, name) && (had != has || !bytes.Equal(metadata.Write(old), metadata.Write(now))) {
			names = append(names, name)
		}
	}
	return names
}
