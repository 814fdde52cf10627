package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tufops/tufops/internal/attestation"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// AttestationDir is where the attestation of a key lies in the TUF repository:
// the files that attestation.Certificates gives. What stands there is never
// altered.
func AttestationDir(k *metadata.Key) string { return "keys/" + k.Fingerprint() }

// KeyAttestation is what keys/ says of one key, or that it says nothing.
type KeyAttestation struct {
	KeyID string `json:"keyid"`
	Owner string `json:"owner"`
	Holds bool   `json:"holds"`
	Text  string `json:"text"`           // the facts on one line, or why none holds
	Note  string `json:"note,omitempty"` // what is known against such devices

	// What the device says, where it was made by who it should be. A key can be
	// attested and still not be what is asked for.
	Device *AttestedDevice `json:"device,omitempty"`
}

// AttestedDevice is a device, and what it says of a key that it made.
type AttestedDevice struct {
	Serial      uint32 `json:"serial"`
	Firmware    string `json:"firmware"`
	FormFactor  string `json:"form_factor,omitempty"`
	Slot        string `json:"slot"`
	PINPolicy   string `json:"pin_policy"`
	TouchPolicy string `json:"touch_policy"`
}

// verifier believes Yubico, and whom the policy adds.
func (p Policy) verifier() (*attestation.Verifier, error) {
	if p.AttestationRoots == "" {
		return attestation.Yubico(), nil
	}
	more, err := attestation.ParseVerifier([]byte(p.AttestationRoots))
	if err != nil {
		return nil, fmt.Errorf("attestation-roots: %w", err)
	}
	return attestation.Yubico().Also(more), nil
}

// attestation looks for the attestation of a person's key and judges it; nil if
// there is none. It does not look at other keys of the same device.
func (s *State) attestation(ctx context.Context, v *attestation.Verifier, k *metadata.Key) (*KeyAttestation, error) {
	files := map[string][]byte{}
	found := &KeyAttestation{KeyID: k.ID, Owner: k.Owner}
	for _, name := range []string{attestation.KeyFile, attestation.DeviceFile} {
		f, ok := s.File(AttestationDir(k) + "/" + name)
		if !ok {
			continue
		}
		if !f.Regular() {
			found.Text = name + " is not a regular file"
			return found, nil
		}
		data, err := s.repo.Git.BlobLimit(ctx, f.OID, attestation.MaxFile)
		var large *git.TooLargeError
		if errors.As(err, &large) {
			found.Text = fmt.Sprintf("%s is larger than %d bytes, which are enough for a certificate", name, attestation.MaxFile)
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("attestation of the key of %s (keyid %s): %w", k.Owner, k.ID, err)
		}
		files[name] = data
	}
	if len(files) == 0 {
		return nil, nil
	}
	certificates, err := attestation.Parse(files)
	if err != nil {
		found.Text = err.Error()
		return found, nil
	}
	facts, err := v.Verify(certificates, k.Public)
	if facts.PublicKey != nil {
		found.Device = &AttestedDevice{
			Serial: facts.Serial, Firmware: facts.Firmware.String(), Slot: facts.Slot,
			PINPolicy: string(facts.PINPolicy), TouchPolicy: string(facts.TouchPolicy),
		}
		if facts.FormFactor != 0 {
			found.Device.FormFactor = facts.FormFactor.String()
		}
		found.Note = facts.Advice()
	}
	if found.Holds = err == nil; found.Holds {
		found.Text = facts.String()
	} else {
		found.Text = err.Error()
	}
	return found, nil
}

// attestations judges what keys/ says of the keys of people, by public key; those
// of which it says nothing are left out. Of two keys of a role that one device
// attests neither holds: it cannot take two seats.
func (s *State) attestations(ctx context.Context, v *attestation.Verifier) (map[string]*KeyAttestation, error) {
	all := map[string]*KeyAttestation{}
	if len(s.Files("keys")) == 0 {
		return all, nil
	}
	for _, role := range append([]string{metadata.Root}, s.TargetsRoles()...) {
		for _, d := range s.Delegations(role) {
			for _, k := range d.Keys {
				print := k.Fingerprint()
				if k.Owner == "" || all[print] != nil {
					continue
				}
				a, err := s.attestation(ctx, v, k)
				if err != nil {
					return nil, err
				}
				if a != nil {
					all[print] = a
				}
			}
		}
	}
	taken := map[string]string{} // what is wrong, by public key
	for _, role := range append([]string{metadata.Root}, s.TargetsRoles()...) {
		for _, d := range s.Delegations(role) {
			seats := map[uint32]*metadata.Key{}
			for _, id := range d.KeyIDs {
				k := d.Keys[id]
				if k == nil || all[k.Fingerprint()] == nil || !all[k.Fingerprint()].Holds {
					continue
				}
				serial := all[k.Fingerprint()].Device.Serial
				first := seats[serial]
				if first == nil {
					seats[serial] = k
					continue
				}
				if first.Fingerprint() == k.Fingerprint() {
					continue // one key under two ids, which is said elsewhere
				}
				for _, pair := range [][2]*metadata.Key{{first, k}, {k, first}} {
					taken[pair[0].Fingerprint()] = fmt.Sprintf("YubiKey %d attests another key of %s too, that of %s (keyid %s), and one device cannot take two seats",
						serial, role, pair[1].Owner, pair[1].ID)
				}
			}
		}
	}
	for print, why := range taken {
		all[print].Holds, all[print].Text = false, why
	}
	return all, nil
}

const noAttestation = "keys/ holds nothing for it"

// Attested is an [Attestation] that goes by what lies in keys/, and believes
// Yubico and whom the policy adds.
func (p Policy) Attested(ctx context.Context, s *State, k *metadata.Key) (string, error) {
	v, err := p.verifier()
	if err != nil {
		return "", err
	}
	all, err := s.attestations(ctx, v)
	if err != nil {
		return "", err
	}
	switch a := all[k.Fingerprint()]; {
	case a == nil:
		return noAttestation, nil
	case !a.Holds:
		return a.Text, nil
	}
	return "", nil
}

// attested are the attestations of the proposed state, judged once.
func (j *judge) attested() map[string]*KeyAttestation {
	if j.attestations == nil {
		v, err := j.policy.verifier()
		if err == nil {
			j.attestations, err = j.event.Proposed.attestations(j.ctx, v)
		}
		if err != nil {
			j.failed(err)
			j.attestations = map[string]*KeyAttestation{}
		}
	}
	return j.attestations
}

// attestationsOf are those of people's keys that may sign a role, or that its file
// names, by owner and keyid. Where keys/ has something for one of them, those that
// it has nothing for stand there too.
func (j *judge) attestationsOf(role string, doc *metadata.Document) []KeyAttestation {
	var list []KeyAttestation
	some := false
	seen := map[string]bool{}
	add := func(keys map[string]*metadata.Key) {
		for _, id := range sortedKeys(keys) {
			print := keys[id].Fingerprint()
			if keys[id].Owner == "" || seen[print] {
				continue
			}
			seen[print] = true
			a := j.attested()[print]
			if a == nil {
				a = &KeyAttestation{KeyID: id, Owner: keys[id].Owner, Text: noAttestation}
			} else {
				some = true
			}
			list = append(list, *a)
		}
	}
	if d, ok := j.event.Proposed.Delegation(role); ok {
		add(d.Keys)
	}
	if d := doc.Delegations(); d != nil {
		add(d.Keys)
	}
	if !some {
		return nil
	}
	slices.SortFunc(list, func(a, b KeyAttestation) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.KeyID, b.KeyID))
	})
	return list
}
