package trustroot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	incomplete = check(Check{Name: "incomplete", Level: Error, Kinds: rootOnly,
		Title:   "an entry that lacks a part",
		Stops:   "clients drop the entry, or refuse the file",
		Source:  "REQUIRED fields of protobuf-specs",
		Example: "CT log https://ctfe.example.test/2025: it has no log ID",
		Hint:    "fill in what is missing from the service itself"})
	keyInvalid = check(Check{Name: "key", Level: Error, Kinds: rootOnly,
		Title:   "a key of another kind than declared",
		Stops:   "clients refuse the file, or the entry never verifies anything",
		Source:  "sigstore-go does not compare the size of a key with its declared kind",
		Example: "rekor log https://log2025-1.rekor.example.test: its key cannot be used: it is Ed25519, but keyDetails says PKIX_ECDSA_P256_SHA_256",
		Hint:    "take the key from the service again, and state its kind"})
	keyDeprecated = check(Check{Name: "key-deprecated", Level: Warning, Kinds: rootOnly,
		Title:   "a kind of key that is deprecated",
		Stops:   "new logs with keys that clients are about to stop reading",
		Source:  "staging's first CT log, whose RSA key stands in PKCS#1 form",
		Example: "CT log https://ctfe.example.test/test: PKCS1_RSA_PKCS1V5 is deprecated",
		Hint:    "leave old logs as they are; give a new one another kind of key"})
	logIDMismatch = check(Check{Name: "log-id", Level: Error, Kinds: rootOnly,
		Title:   "a log ID that is not of the key",
		Stops:   "clients find no log for what they verify: every entry of the log fails",
		Source:  "staging 2025-06-05: a Rekor v2 log with the SHA-256 of its key was online for eight days; 2023-04-03: a CT log with the SHA-256 of PKCS#1",
		Example: "rekor log https://log2025-9.rekor.example.test: its log ID is RycrnT/11WQ15JtgBXeYVLlFYMtbAka7+JnxUQaOX5E=, but its key and name give 8w1amZ2S5mJIQkQmPxdMuOrL/oJkvFg9MnQXmeOCXck=",
		Hint:    "a CT log and an ECDSA log state the SHA-256 of the key in PKIX form, an Ed25519 Rekor v2 log its C2SP key id"})
	checkpointIDMismatch = check(Check{Name: "checkpoint-id", Level: Error, Kinds: rootOnly,
		Title:   "a checkpoint id that is not of the key",
		Stops:   "clients find no key for the log's checkpoints",
		Source:  "C2SP signed-note: the first four bytes of the hash",
		Example: "rekor log https://log2025-1.rekor.example.test: its checkpoint key id is AQIDBA==, but its key and name give 8w1amQ==",
		Hint:    "state the first four bytes of the log ID"})
	chainOrder = check(Check{Name: "chain-order", Level: Error, Kinds: rootOnly,
		Title:   "a chain that is upside down",
		Stops:   "clients take the first certificate for the one that signs and the last for the anchor",
		Source:  "production 2023: a reversed chain lay there for 34 days, and Go clients did not notice",
		Example: "certificate authority https://fulcio.example.test: the chain stands in reverse, from CN=anchor,O=example to CN=issuing,O=example",
		Hint:    "write the issuing certificate first and the self-signed root last"})
	chainBroken = check(Check{Name: "chain-broken", Level: Error, Kinds: rootOnly,
		Title:   "a chain that does not hold",
		Stops:   "nothing that the authority issues verifies",
		Source:  "protobuf-specs: the chain ends with a trust anchor",
		Example: "certificate authority https://fulcio.example.test: certificate 1 (CN=issuing,O=example) is not signed by certificate 2 (CN=anchor,O=example)",
		Hint:    "take the whole chain from the service again"})
	chainUsage = check(Check{Name: "chain-usage", Level: Error, Kinds: rootOnly,
		Title:   "a certificate for something else",
		Stops:   "a web server's certificate, or the chain of another authority, ends up in the file",
		Source:  "RFC 3161 section 2.3 for timestamps; Fulcio's certificate specification",
		Example: "timestamp authority https://timestamp.example.test/api/v1/timestamp: certificate 1 (CN=stamper,O=example) is not for timestamping alone: it is for servers",
		Hint:    "a certificate authority needs code signing, a timestamp authority timestamping alone"})
	windowOutsideChain = check(Check{Name: "chain-window", Level: Error, Kinds: rootOnly,
		Title:   "a window beyond its certificates",
		Stops:   "the file promises trust at times at which no certificate holds",
		Source:  "staging 2023-04-03: an authority began before its intermediate",
		Example: "certificate authority https://fulcio.example.test: it counts from 2024-12-31T23:59:59Z, but certificate 1 (CN=issuing,O=example) is valid from 2025-01-01",
		Hint:    "let the window begin when the last of its certificates does, and end before the first expires"})
	chainExpired = check(Check{Name: "chain-expired", Level: Error, Kinds: rootOnly,
		Title:   "an open window on an expired chain",
		Stops:   "people believe in an authority whose signatures no longer verify",
		Source:  "production: a timestamp authority's certificate expired 2024-04-13, and users noticed nine months later",
		Example: "timestamp authority https://timestamp.example.test/api/v1/timestamp: its window is open, but certificate 1 (CN=stamper,O=example) expired 2025-12-31",
		Hint:    "end the window at the expiry, and add the authority's next chain as an entry of its own"})
	chainExpiresSoon = check(Check{Name: "chain-ending", Level: Warning, Kinds: rootOnly,
		Title:   "an open window on a chain that ends",
		Stops:   "nobody plans the next chain until the present one is over",
		Source:  "staging 2026-06: a timestamp authority whose whole chain lives one year",
		Example: "timestamp authority https://timestamp.example.test/api/v1/timestamp: its window is open, but certificate 1 (CN=stamper,O=example) expires 2027-06-09, in 524 days",
		Hint:    "plan the next chain now; clients need it before that day"})
	endIsExpiry = check(Check{Name: "end-is-expiry", Level: Warning, Kinds: rootOnly,
		Title:   "a window that ends with a certificate",
		Stops:   "the expiry of a certificate is written down as the end of a service, which ends earlier or later",
		Source:  "production 2023-02-08, taken out on 2023-02-14",
		Example: "certificate authority https://fulcio.example.test: its window ends 2035-01-01, which is the expiry of certificate 1 (CN=issuing,O=example)",
		Hint:    "leave the end out until the service ends"})
	subjectMismatch = check(Check{Name: "subject", Level: Warning, Kinds: rootOnly,
		Title:   "a subject that is not of the chain",
		Stops:   "people review another name than the one in the certificates",
		Source:  "staging 2026-06: the subject names sigstore.dev, the certificates nobody",
		Example: `certificate authority https://fulcio.example.test: its subject is "sigstore.dev, anchor", but its root says "example, anchor"`,
		Hint:    "copy organization and common name from the last certificate"})
	otherEnvironment = check(Check{Name: "environment", Level: Error, Kinds: both,
		Title:   "a key or a URL of another instance of Sigstore",
		Stops:   "production trusts what staging signs, where keys are handled lightly; or the reverse, and nothing verifies",
		Source:  "staging 2025-04-09: production's timestamp authority was proposed, and stood there for 16 days",
		Example: "OIDC service https://oauth2.sigstore.dev/auth (API v1): its URL is production's, but this file is staging's",
		Hint:    "take key, chain and URL from the instance that this file is for"})
	legacyKeyMissing = check(Check{Name: "legacy-keys", Level: Warning, Kinds: rootOnly,
		Title:   "key files with other keys",
		Stops:   "older clients, which read key files, stop verifying while newer ones go on",
		Source:  "staging 2026-07-07: a new CT log was in no ctfe*.pub, and older clients of cosign broke",
		Example: "CT log https://ctfe.example.test/2025: its key is in none of ctfe.pub",
		Hint:    "add a key file for it in the same event, or remove the one that is left over"})
)

func (l *linter) trustedRoot() {
	l.incomplete()
	l.keyInvalid()
	l.keyDeprecated()
	l.logIDMismatch()
	l.checkpointIDMismatch()
	l.checkSignatures()
	for _, e := range l.d.Entries {
		if len(e.Chain) == 0 || e.ChainErr != nil {
			continue
		}
		if l.chainOrder(e) && l.chainBroken(e) {
			l.chainUsage(e)
			l.subjectMismatch(e)
		}
		l.windowOutsideChain(e)
		l.chainExpiry(e)
		l.endIsExpiry(e)
	}
	l.otherEnvironment()
	l.legacyKeyMissing()
	if l.before != nil {
		l.changes()
	}
}

func (e Entry) isLog() bool { return e.Section == TLogs || e.Section == CTLogs }

// incomplete stops entries that lack what makes them one.
func (l *linter) incomplete() {
	for _, e := range l.d.Entries {
		switch {
		case e.isLog() && len(e.RawKey) == 0:
			l.entry(incomplete, e, "publicKey", "it has no key")
		case e.isLog() && len(e.LogID) == 0:
			l.entry(incomplete, e, "logId", "it has no log ID")
		case e.isLog() && (e.HashAlgorithm == "" || e.HashAlgorithm == "HASH_ALGORITHM_UNSPECIFIED"):
			l.entry(incomplete, e, "hashAlgorithm", "it has no hash algorithm")
		case !e.isLog() && len(e.Chain) == 0 && e.ChainErr == nil:
			l.entry(incomplete, e, "certChain", "it has no certificates")
		}
	}
}

// keyInvalid stops keys that are not what the file calls them.
func (l *linter) keyInvalid() {
	for _, e := range l.d.Entries {
		if e.isLog() && len(e.RawKey) > 0 && e.KeyErr != nil {
			l.entry(keyInvalid, e, "publicKey", "its key cannot be used: %v", e.KeyErr)
		}
		if e.isLog() && l.d.MediaType == rootV1 && slices.Contains(refusedKinds, e.KeyDetails) {
			l.entryAs(keyInvalid, keyInvalid.Level, e, "publicKey", "state the kind with its size and hash, like PKIX_ECDSA_P256_SHA_256",
				"its kind of key is %s, for which Go clients refuse the whole file", e.KeyDetails)
		}
		if e.ChainErr != nil {
			l.entry(keyInvalid, e, "certChain", "%v", e.ChainErr)
		}
	}
}

// refusedKinds are the kinds of keys that clients can read but that sigstore-go
// has never known for a log: with one of them it refuses the whole file. The
// later ones break field-too-new already.
var refusedKinds = []string{"PKCS1_RSA_PSS", "PKIX_RSA_PKCS1V5", "PKIX_RSA_PSS", "PKIX_ECDSA_P256_HMAC_SHA_256"}

// deprecatedKinds are those that the registry of protobuf-specs marks so.
var deprecatedKinds = []string{
	"PKCS1_RSA_PKCS1V5", "PKCS1_RSA_PSS", "PKIX_RSA_PKCS1V5", "PKIX_RSA_PSS", "PKIX_ECDSA_P256_HMAC_SHA_256",
	"LMS_SHA256", "LMOTS_SHA256",
}

// keyDeprecated points at kinds of keys that are on their way out.
func (l *linter) keyDeprecated() {
	for _, e := range l.d.Entries {
		if slices.Contains(deprecatedKinds, e.KeyDetails) {
			l.entry(keyDeprecated, e, "publicKey", "%s is deprecated", e.KeyDetails)
		}
	}
}

// logIDMismatch recomputes log IDs.
//
// An Ed25519 log that nothing tells to be Rekor v2 may state either id: with the
// SHA-256 of its key that is a warning.
func (l *linter) logIDMismatch() {
	configs := l.configs()
	for _, e := range l.d.Entries {
		if !e.isLog() || e.Key == nil || len(e.LogID) == 0 {
			continue
		}
		want := e.spkiID()
		if e.Section == TLogs {
			want = e.noteID()
		}
		if bytes.Equal(e.LogID, want) {
			continue
		}
		level, why := Error, ""
		if bytes.Equal(e.LogID, e.spkiID()) {
			why = " (what it states is the SHA-256 of the key, as for a CT log)"
			if !e.rekorV2(configs) {
				level = Warning
			}
		} else if pkcs1(e) != nil && bytes.Equal(e.LogID, pkcs1(e)) {
			why = " (what it states is the SHA-256 of the key in PKCS#1 form)"
		}
		l.entryAs(logIDMismatch, level, e, "logId", logIDMismatch.Hint,
			"its log ID is %s, but its key and name give %s%s", base64Text(e.LogID), base64Text(want), why)
	}
}

// checkpointIDMismatch recomputes the short id of a log's checkpoints.
func (l *linter) checkpointIDMismatch() {
	for _, e := range l.d.Entries {
		if e.Section != TLogs || e.Key == nil || len(e.CheckpointKeyID) == 0 {
			continue
		}
		if want := e.noteID()[:4]; !bytes.Equal(e.CheckpointKeyID, want) {
			l.entry(checkpointIDMismatch, e, "checkpointKeyId", "its checkpoint key id is %s, but its key and name give %s",
				base64Text(e.CheckpointKeyID), base64Text(want))
		}
	}
}

// verified remembers which certificate has signed which, by the digest of the
// two: a file is judged next to its neighbours and to what it was before, and
// most chains are in all of them.
var (
	verified      sync.Map // [sha256.Size]byte to bool
	verifiedCount atomic.Int64
)

// maxVerified bounds what is remembered, in pairs.
const maxVerified = 10_000

// signedBy reports whether a certificate is signed by another, as x509 says.
func signedBy(c, by *x509.Certificate) bool {
	h := sha256.New()
	for _, one := range []*x509.Certificate{c, by} {
		sum := sha256.Sum256(one.Raw)
		h.Write(sum[:])
	}
	pair := [sha256.Size]byte(h.Sum(nil))
	if known, ok := verified.Load(pair); ok {
		return known.(bool)
	}
	signed := c.CheckSignatureFrom(by) == nil
	if verifiedCount.Add(1) <= maxVerified {
		verified.Store(pair, signed)
	}
	return signed
}

// checkSignatures checks the chains of the document side by side, as they take
// longer than all else: what asks [signedBy] later finds the answer there.
func (l *linter) checkSignatures() {
	var all sync.WaitGroup
	for _, e := range l.d.Entries {
		if len(e.Chain) > 0 && e.ChainErr == nil {
			all.Go(func() {
				if signedInTurn(e.Chain) < 0 {
					selfSigned(e.Chain[len(e.Chain)-1])
				}
			})
		}
	}
	all.Wait()
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && signedBy(c, c)
}

// chainOrder stops reversed chains. It reports whether the chain is in order.
func (l *linter) chainOrder(e Entry) bool {
	if len(e.Chain) < 2 {
		return true
	}
	reversed := slices.Clone(e.Chain)
	slices.Reverse(reversed)
	if signedInTurn(e.Chain) < 0 || signedInTurn(reversed) >= 0 {
		return true
	}
	l.entry(chainOrder, e, "certChain", "the chain stands in reverse, from %s to %s", subject(e.Chain[0]), subject(e.Chain[len(e.Chain)-1]))
	return false
}

// signedInTurn is the first certificate that the next one has not signed; -1
// where each has.
func signedInTurn(chain []*x509.Certificate) int {
	for i := range chain[:len(chain)-1] {
		if !signedBy(chain[i], chain[i+1]) {
			return i
		}
	}
	return -1
}

// chainBroken stops chains that lead nowhere. It reports whether the chain
// holds.
func (l *linter) chainBroken(e Entry) bool {
	if i := signedInTurn(e.Chain); i >= 0 {
		l.entry(chainBroken, e, "certChain", "certificate %d (%s) is not signed by certificate %d (%s)", i+1, subject(e.Chain[i]), i+2, subject(e.Chain[i+1]))
		return false
	}
	if root := e.Chain[len(e.Chain)-1]; !root.IsCA || !selfSigned(root) {
		l.entry(chainBroken, e, "certChain", "the last certificate (%s, issued by %s) is no self-signed authority", subject(root), root.Issuer)
		return false
	}
	below := 0 // authorities under a certificate
	for i, c := range e.Chain {
		if limited := c.MaxPathLen > 0 || c.MaxPathLenZero; limited && below > c.MaxPathLen {
			l.entry(chainBroken, e, "certChain", "certificate %d (%s) allows %d authorities under it, but there are %d", i+1, subject(c), c.MaxPathLen, below)
			return false
		}
		if c.IsCA {
			below++
		}
	}
	return true
}

// chainUsage stops certificates that are for something else. A root alone may
// leave its usage open.
func (l *linter) chainUsage(e Entry) {
	want, name := x509.ExtKeyUsageCodeSigning, "code signing"
	if e.Section == TimestampAuthorities {
		want, name = x509.ExtKeyUsageTimeStamping, "timestamping"
	}
	first := e.Chain[0]
	switch {
	case e.Section == TimestampAuthorities && (first.IsCA || !slices.Equal(first.ExtKeyUsage, []x509.ExtKeyUsage{want}) || len(first.UnknownExtKeyUsage) > 0):
		l.entry(chainUsage, e, "certChain", "certificate 1 (%s) is not for timestamping alone: it %s", subject(first), usages(first))
	case e.Section == CertificateAuthorities && !first.IsCA:
		l.entry(chainUsage, e, "certChain", "certificate 1 (%s) is no authority: it cannot issue certificates", subject(first))
	case e.Section == TimestampAuthorities && !usageCritical(first):
		l.entry(chainUsage, e, "certChain", "certificate 1 (%s) does not mark its usage critical: clients refuse its timestamps", subject(first))
	case e.Section == CertificateAuthorities && first.KeyUsage != 0 && first.KeyUsage&x509.KeyUsageCertSign == 0:
		l.entry(chainUsage, e, "certChain", "certificate 1 (%s) may not sign certificates", subject(first))
	}
	for i, c := range e.Chain {
		open := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 && i == len(e.Chain)-1
		if i == 0 && e.Section == TimestampAuthorities || open {
			continue
		}
		restricted := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0
		if (restricted || i == 0) && !slices.Contains(c.ExtKeyUsage, want) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
			l.entry(chainUsage, e, "certChain", "certificate %d (%s) is not for %s: it %s", i+1, subject(c), name, usages(c))
		}
	}
}

// usageCritical reports whether a certificate marks its extended key usage
// critical, as RFC 3161 demands of those that sign timestamps.
func usageCritical(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Critical && e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 37})
	})
}

func usages(c *x509.Certificate) string {
	names := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageAny: "anything", x509.ExtKeyUsageServerAuth: "servers", x509.ExtKeyUsageClientAuth: "clients",
		x509.ExtKeyUsageCodeSigning: "code signing", x509.ExtKeyUsageEmailProtection: "mail",
		x509.ExtKeyUsageTimeStamping: "timestamping", x509.ExtKeyUsageOCSPSigning: "OCSP",
	}
	var list []string
	for _, u := range c.ExtKeyUsage {
		if names[u] == "" {
			names[u] = "something else"
		}
		list = append(list, names[u])
	}
	if len(c.UnknownExtKeyUsage) > 0 {
		list = append(list, "something else")
	}
	text := "is for " + strings.Join(list, " and ")
	if list == nil {
		text = "does not say what it is for"
	}
	if c.IsCA {
		text += ", and is an authority"
	}
	return text
}

func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	return "serial " + c.SerialNumber.String()
}

// windowOutsideChain stops a window that begins before, or ends after, what its
// certificates allow. Clients demand both (the hybrid model).
func (l *linter) windowOutsideChain(e Entry) {
	for i, c := range e.Chain {
		switch w := e.Window; {
		case !w.Start.IsZero() && w.Start.Before(c.NotBefore):
			l.entry(windowOutsideChain, e, "validFor", "it counts from %s, but certificate %d (%s) is valid from %s", date(w.Start), i+1, subject(c), date(c.NotBefore))
		case !w.End.IsZero() && w.End.After(c.NotAfter):
			l.entry(windowOutsideChain, e, "validFor", "it counts until %s, but certificate %d (%s) is valid until %s", date(w.End), i+1, subject(c), date(c.NotAfter))
		case w.Start.After(c.NotAfter):
			l.entry(windowOutsideChain, e, "validFor", "it counts from %s, but certificate %d (%s) is valid until %s", date(w.Start), i+1, subject(c), date(c.NotAfter))
		default:
			continue
		}
		return
	}
}

// chainExpiry stops an open window over a chain that has expired, and points at
// one that soon will.
func (l *linter) chainExpiry(e Entry) {
	if !e.Window.End.IsZero() || e.Window.Start.After(l.in.Now) {
		return
	}
	first := 0
	for i, c := range e.Chain {
		if c.NotAfter.Before(e.Chain[first].NotAfter) {
			first = i
		}
	}
	c := e.Chain[first]
	switch {
	case c.NotAfter.Before(l.in.Now):
		l.entry(chainExpired, e, "certChain", "its window is open, but certificate %d (%s) expired %s", first+1, subject(c), date(c.NotAfter))
	case c.NotAfter.Before(l.in.Now.AddDate(2, 0, 0)):
		l.entry(chainExpiresSoon, e, "certChain", "its window is open, but certificate %d (%s) expires %s, %s", first+1, subject(c), date(c.NotAfter), from(l.in.Now, c.NotAfter))
	}
}

// endIsExpiry points at an end that was copied from a certificate.
func (l *linter) endIsExpiry(e Entry) {
	for i, c := range e.Chain {
		if !e.Window.End.IsZero() && e.Window.End.Truncate(time.Second).Equal(c.NotAfter) {
			l.entry(endIsExpiry, e, "validFor", "its window ends %s, which is the expiry of certificate %d (%s)", date(e.Window.End), i+1, subject(c))
			return
		}
	}
}

// subjectMismatch points at a subject that is not the root's.
func (l *linter) subjectMismatch(e Entry) {
	root := e.Chain[len(e.Chain)-1]
	have := e.Organization + ", " + e.CommonName
	if e.Organization == "" && e.CommonName == "" {
		return
	}
	if want := strings.Join(root.Subject.Organization, " ") + ", " + root.Subject.CommonName; have != want {
		l.entry(subjectMismatch, e, "subject", "its subject is %q, but its root says %q", have, want)
	}
}

// otherEnvironment stops keys, certificates and URLs of another instance than the
// one that the file is for: the one that most of the version before belongs to, or
// else most of this version, or else the hosts.
func (l *linter) otherEnvironment() {
	home := l.d.environment()
	if l.before != nil {
		if e := l.before.environment(); e != "" {
			home = e
		}
	}
	for _, e := range l.d.Entries {
		known := e.known()
		if of := environmentOf(host(e.URL)); len(known) == 0 && of != "" && home != "" && of != home {
			l.entry(otherEnvironment, e, "", "its URL is %s's, but this file is %s's", of, home)
		}
		if len(known) == 0 || home == "" || known[0].environment == home {
			continue
		}
		what := "its key"
		if !e.isLog() {
			what = "a certificate of its chain"
		}
		l.entry(otherEnvironment, e, "", "%s is %s's (%s), but this file is %s's", what, known[0].environment, known[0].service, home)
	}
}

// legacyKeyMissing compares the key files of older clients with the trusted
// root, both ways. It looks only at kinds of which there is such a file.
func (l *linter) legacyKeyMissing() {
	for _, s := range []Section{CTLogs, CertificateAuthorities} {
		var names []string
		var blocks [][]byte
		for _, name := range sortedNames(l.in.Files) {
			if legacyKind(name) == s && path.Dir(name) == path.Dir(l.in.Name) {
				names, blocks = append(names, path.Base(name)), append(blocks, pemBlocks(l.in.Files[name])...)
			}
		}
		if names == nil {
			continue
		}
		var listed [][]byte
		for _, e := range l.d.In(s) {
			open := e.Window.Active(l.in.Now) || e.Window.Start.After(l.in.Now)
			if s == CTLogs {
				listed = append(listed, e.RawKey, spki(e.Key, e.RawKey))
				if open && !containsBytes(blocks, e.RawKey) && !containsBytes(blocks, spki(e.Key, e.RawKey)) {
					l.entry(legacyKeyMissing, e, "publicKey", "its key is in none of %s", strings.Join(names, ", "))
				}
			}
			for i, c := range e.Chain {
				listed = append(listed, c.Raw)
				if open && !containsBytes(blocks, c.Raw) {
					l.entry(legacyKeyMissing, e, "certChain", "certificate %d (%s) is in none of %s", i+1, subject(c), strings.Join(names, ", "))
				}
			}
		}
		for _, name := range sortedNames(l.in.Files) {
			if legacyKind(name) != s || path.Dir(name) != path.Dir(l.in.Name) {
				continue
			}
			for i, b := range pemBlocks(l.in.Files[name]) {
				if !containsBytes(listed, b) {
					l.add(legacyKeyMissing, string(s), nil, "block %d of %s is no %s of the trusted root", i+1, path.Base(name), s.What())
				}
			}
		}
	}
}
