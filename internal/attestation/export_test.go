package attestation

import "crypto/x509"

// Issuers are the certificates that are believed.
func (v *Verifier) Issuers() []*x509.Certificate { return v.issuers }
