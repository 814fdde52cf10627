package signer

import (
	"slices"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// ask is one signature that a person is asked for.
type ask struct {
	role    string
	version int64
	key     *metadata.Key
	payload []byte
}

// asked lists the signatures that an event asks of a person: of every changed
// role that is not held up by open invitations or error findings, in report
// order. With again set also those that are there already.
func asked(e *repository.Event, s *repository.Status, user string, again bool) []ask {
	var list []ask
	for _, r := range s.Roles {
		if heldUp(r) == "" {
			list = append(list, signaturesOf(e, r.Role, user, again)...)
		}
	}
	return list
}

// heldUp says why nobody is asked to sign a role; empty where people are.
func heldUp(r repository.RoleStatus) string {
	if len(r.Invites) > 0 {
		return "invitations are open"
	}
	for _, f := range r.Findings {
		if f.Level == repository.LevelError && f.Blocks() {
			return "it has errors"
		}
	}
	return ""
}

// unsigned lists the keys of a person whose valid signature a role lacks, in the
// order in which they sign: those of the proposed delegation; for root then the
// same public keys under the keyid that the known-good root has for them (an
// import changes keyids), then all others of the known-good root.
func unsigned(e *repository.Event, role, user string) []ask {
	return signaturesOf(e, role, user, false)
}

// signaturesOf lists the same, and with again set those too whose signature is
// there.
func signaturesOf(e *repository.Event, role, user string, again bool) []ask {
	doc, err := e.Proposed.Document(role)
	if err != nil {
		return nil
	}
	var list []ask
	var prints []string // of the person's proposed keys
	add := func(k *metadata.Key, missing []*metadata.Key) {
		if !again && !slices.Contains(missing, k) || k.Unusable != nil ||
			slices.ContainsFunc(list, func(a ask) bool { return a.key.ID == k.ID }) {
			return
		}
		list = append(list, ask{role: role, version: doc.Version(), key: k, payload: doc.Payload()})
	}
	proposed, ok := e.Proposed.Delegation(role)
	if ok {
		missing := metadata.Check(proposed.Delegation, doc).Missing
		for _, k := range keysOf(proposed.Delegation) {
			if k.Owner == user {
				prints = append(prints, k.Fingerprint())
				add(k, missing)
			}
		}
	}
	known, err := e.KnownGood.Document(metadata.Root)
	if role != metadata.Root || err != nil {
		return list
	}
	d, _ := known.Delegation(metadata.Root)
	missing := metadata.Check(d, doc).Missing
	for _, k := range keysOf(d) {
		if !slices.Contains(proposed.KeyIDs, k.ID) && slices.Contains(prints, k.Fingerprint()) {
			add(k, missing)
		}
	}
	for _, k := range keysOf(d) {
		if k.Owner == user {
			add(k, missing)
		}
	}
	return list
}

// keysOf are the keys that a delegation lists, in its order.
func keysOf(d metadata.Delegation) []*metadata.Key {
	var list []*metadata.Key
	for _, id := range d.KeyIDs {
		if k := d.Keys[id]; k != nil && !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}
