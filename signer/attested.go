package signer

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// oidSerial is where the attestation certificate of a YubiKey's key has the
// serial number of the device.
var oidSerial = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 41482, 3, 7}

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
