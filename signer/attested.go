package signer

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// oidSerial is where the attestation certificate of a YubiKey's key has the
// serial number of the device.
var oidSerial = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, 7}

// proofOf has a device prove that a key was made on it. The files are named as
// they stand in the TUF repository; none for a key that is on no device, or on
// one that proves nothing.
func proofOf(ctx context.Context, h *holder) (map[string][]byte, error) {
	k, ok := h.signer.(*onToken)
	if !ok {
		return nil, nil
	}
	device, ok := k.tokens.(Attester)
	if !ok {
		return nil, nil
	}
	certificates, err := device.Attest(ctx, k.token)
	if err != nil {
		return nil, fmt.Errorf("%s does not prove that its key was made on it: %w", k.token, err)
	}
	files := map[string][]byte{}
	for name, data := range certificates {
		files["keys/"+h.print+"/"+name] = data
	}
	return files, nil
}

// proof are the files that a key which was just brought adds to a commit. What
// stands there already stays as it is.
func (s *session) proof(state *repository.State) []git.FileChange {
	if s.keys.doubt != nil {
		s.Log.Warn(s.keys.doubt.Error())
		s.keys.doubt = nil // once
	}
	var files []git.FileChange
	for _, name := range slices.Sorted(maps.Keys(s.keys.proof)) {
		if _, there := state.File(name); !there {
			files = append(files, git.FileChange{Path: s.Repository.Path(name), Mode: git.ModeFile, Data: s.keys.proof[name]})
		}
	}
	return files
}

const (
	maxCertificate  = 16 << 10
	maxCertificates = 8
)

// where says on which device a key is, as the files below keys/ tell; empty where
// they do not. It finds a token for a person, and proves nothing.
func where(ctx context.Context, state *repository.State, key *metadata.Key) string {
	if state == nil {
		return ""
	}
	for i, f := range state.Files("keys/" + key.Fingerprint()) {
		if i >= maxCertificates || !f.Regular() {
			continue
		}
		data, err := state.Repository().Git.BlobLimit(ctx, f.OID, maxCertificate)
		if err != nil {
			continue
		}
		if block, _ := pem.Decode(data); block != nil {
			data = block.Bytes
		}
		cert, err := x509.ParseCertificate(data)
		if err != nil {
			continue
		}
		for _, e := range cert.Extensions {
			var serial int
			if e.Id.Equal(oidSerial) {
				if _, err := asn1.Unmarshal(e.Value, &serial); err == nil && serial > 0 {
					return fmt.Sprintf(" (on YubiKey %d, as keys/ says)", serial)
				}
			}
		}
	}
	return ""
}
