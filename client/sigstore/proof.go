package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/trustroot"
)

// Proof says what a bundle has proven, and by which entries of the trusted root.
// Text in it is the signer's in part: it is escaped by Text, and by nothing else.
type Proof struct {
	Artifact string `json:"artifact"` // its digest, like sha256:HEX

	// Of an attestation; empty for a signature of the artifact itself.
	PredicateType string `json:"predicate_type,omitempty"`

	Signer  Signer     `json:"signer"`
	Issuers []Instance `json:"issuers"` // authorities that issued the certificate; none for a key
	CTLogs  []Instance `json:"ct_logs"` // that saw it
	Logs    []Entry    `json:"logs"`
	Times   []Moment   `json:"times"`
	Bundle  string     `json:"bundle"` // its version
}

// Signer is who signed. Either Key is set, or the others are.
type Signer struct {
	Key      string `json:"key,omitempty"` // SHA-256 of the PKIX form, in hex
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`

	// What the issuer said beyond that, of a build. Empty for a person.
	Repository string `json:"repository,omitempty"`
	Commit     string `json:"commit,omitempty"`
	Ref        string `json:"ref,omitempty"`
}

// Instance is an entry of the trusted root.
type Instance struct {
	URL string `json:"url"`
	// ID is, in hex, a log's ID, or the SHA-256 of an authority's certificate:
	// the one that signs, which is the first of its chain.
	ID     string           `json:"id"`
	Window trustroot.Window `json:"-"`
	From   *time.Time       `json:"from,omitempty"`
	Until  *time.Time       `json:"until,omitempty"`
}

func (i Instance) String() string {
	url := i.URL
	if url == "" {
		url = "without a URL"
	}
	return fmt.Sprintf("%s (in use %s, ID %.16s)", url, i.Window, i.ID)
}

// Entry is a record in a transparency log.
type Entry struct {
	Log   Instance `json:"log"`
	Index int64    `json:"index"`
	// Included: the log is proven to hold it. Promised: the log has signed that it
	// will, and when it was told.
	Included bool `json:"included"`
	Promised bool `json:"promised"`
}

// Moment is a time at which the signature existed.
type Moment struct {
	At time.Time `json:"at"`
	By Instance  `json:"by"` // a timestamp authority, or a log
}

// witness watches which of the trusted root's authorities a verification relies
// on.
type witness struct {
	root.TrustedMaterial
	asked   []time.Time // for which an authority was looked for
	issuers []issued
	stamps  []Moment
}

// unissued reports whether no authority had issued the certificate at one of the
// times that were asked for.
func (w *witness) unissued() bool {
	return slices.ContainsFunc(w.asked, func(t time.Time) bool {
		return !slices.ContainsFunc(w.issuers, func(i issued) bool { return i.at.Equal(t) })
	})
}

type issued struct {
	at     time.Time
	by     Instance
	chains [][]*x509.Certificate
}

func (w *witness) FulcioCertificateAuthorities() (list []root.CertificateAuthority) {
	for _, ca := range w.TrustedMaterial.FulcioCertificateAuthorities() {
		list = append(list, watchedIssuer{ca, w})
	}
	return list
}

func (w *witness) TimestampingAuthorities() (list []root.TimestampingAuthority) {
	for _, tsa := range w.TrustedMaterial.TimestampingAuthorities() {
		list = append(list, watchedStamper{tsa, w})
	}
	return list
}

type watchedIssuer struct {
	root.CertificateAuthority
	by *witness
}

func (i watchedIssuer) Verify(cert *x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	i.by.asked = append(i.by.asked, at)
	chains, err := i.CertificateAuthority.Verify(cert, at)
	if err == nil {
		found := issued{at: at, chains: chains}
		if ca, ok := i.CertificateAuthority.(*root.FulcioCertificateAuthority); ok {
			found.by = instance(ca.URI, authorityID(ca.Intermediates, ca.Root), ca.ValidityPeriodStart, ca.ValidityPeriodEnd)
		}
		i.by.issuers = append(i.by.issuers, found)
	}
	return chains, err
}

type watchedStamper struct {
	root.TimestampingAuthority
	by *witness
}

func (s watchedStamper) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	t, err := s.TimestampingAuthority.Verify(stamp, signature)
	if err == nil {
		moment := Moment{At: t.Time.UTC()}
		if tsa, ok := s.TimestampingAuthority.(*root.SigstoreTimestampingAuthority); ok {
			chain := tsa.Intermediates
			if tsa.Leaf != nil {
				chain = []*x509.Certificate{tsa.Leaf}
			}
			moment.By = instance(tsa.URI, authorityID(chain, tsa.Root), tsa.ValidityPeriodStart, tsa.ValidityPeriodEnd)
		}
		s.by.stamps = append(s.by.stamps, moment)
	}
	return t, err
}

func authorityID(chain []*x509.Certificate, anchor *x509.Certificate) string {
	signer := anchor
	if len(chain) > 0 {
		signer = chain[0]
	}
	sum := sha256.Sum256(signer.Raw)
	return hex.EncodeToString(sum[:])
}

func logInstance(id string, log *root.TransparencyLog) Instance {
	return instance(log.BaseURL, id, log.ValidityPeriodStart, log.ValidityPeriodEnd)
}

func instance(url, id string, from, until time.Time) Instance {
	i := Instance{URL: url, ID: id, Window: trustroot.Window{Start: from, End: until}}
	if !from.IsZero() {
		i.From = &from
	}
	if !until.IsZero() {
		i.Until = &until
	}
	return i
}

// proof puts into words what the library found good.
func (c *call) proof(result *verify.VerificationResult) (*Proof, error) {
	seen := c.seen
	p := &Proof{Artifact: c.artifact.String(), Issuers: []Instance{}, CTLogs: []Instance{}, Logs: []Entry{}, Times: []Moment{}}
	p.Bundle, _ = c.bundle.Version()
	if result.Statement != nil {
		p.PredicateType = result.Statement.GetPredicateType()
	}
	if c.policy.Key != nil {
		p.Signer = Signer{Key: c.policy.Key.Fingerprint()}
	} else {
		cert := result.Signature.Certificate
		p.Signer = Signer{Identity: cert.SubjectAlternativeName, Issuer: cert.Issuer,
			Repository: cert.SourceRepositoryURI, Commit: cert.SourceRepositoryDigest, Ref: cert.SourceRepositoryRef}
		for _, i := range seen.issuers {
			if !slices.ContainsFunc(p.Issuers, func(o Instance) bool { return o.ID == i.by.ID && o.Window.Equal(i.by.Window) }) {
				p.Issuers = append(p.Issuers, i.by)
			}
		}
		p.CTLogs = c.ctLogs(seen.issuers)
	}
	for _, t := range result.VerifiedTimestamps {
		if t.Type != "Tlog" {
			p.Times = append(p.Times, seen.stamped(t))
		}
	}
	if err := c.logged(p); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.Times, func(a, b Moment) int { return a.At.Compare(b.At) })
	return p, nil
}

// stamped is who vouched for a time that the library counts.
func (w *witness) stamped(t verify.TimestampVerificationResult) Moment {
	for _, s := range w.stamps {
		if s.At.Equal(t.Timestamp) && s.By.URL == t.URI {
			return s
		}
	}
	return Moment{At: t.Timestamp.UTC(), By: Instance{URL: t.URI}}
}

// logged adds the log entries that hold. The library passes over what it cannot
// judge as long as one entry is good, so where there are several each is judged
// alone.
//
// A log may be used within its window only. The library asks that of the time in
// a promise; an entry without one has none, so it is asked of the other times.
func (c *call) logged(p *Proof) error {
	entries, err := c.bundle.TlogEntries()
	if err != nil {
		return &Error{Step: Log, Err: err}
	}
	known := c.trusted.RekorLogs()
	outside := errors.New("there is no entry")
	for _, e := range entries {
		id := hex.EncodeToString([]byte(e.LogKeyID()))
		log := known[id]
		if log == nil {
			continue
		}
		if len(entries) > 1 {
			v, err := c.verifier(false)
			if err != nil {
				return &Error{Step: Log, Err: err}
			}
			if _, err := v.VerifyTransparencyLogInclusion(single{c.bundle, e}); err != nil {
				continue
			}
		}
		entry := Entry{Log: logInstance(id, log), Index: e.LogIndex(), Included: e.HasInclusionProof(), Promised: e.HasInclusionPromise()}
		if entry.Promised {
			p.Times = append(p.Times, Moment{At: e.IntegratedTime().UTC(), By: entry.Log})
		} else if !slices.ContainsFunc(p.Times, func(m Moment) bool { return within(entry.Log.Window, m.At) }) {
			outside = fmt.Errorf("the log %s was in use %s, and none of the proven times lies there", log.BaseURL, entry.Log.Window)
			continue
		}
		p.Logs = append(p.Logs, entry)
	}
	if len(p.Logs) == 0 {
		return &Error{Step: Log, Err: outside}
	}
	return nil
}

// within reports whether t lies in a window, whose ends belong to it.
func within(w trustroot.Window, t time.Time) bool {
	return !t.Before(w.Start) && (w.End.IsZero() || !t.After(w.End))
}

// single is a bundle with one of its entries.
type single struct {
	verify.SignedEntity
	entry *tlog.Entry
}

func (s single) TlogEntries() ([]*tlog.Entry, error) { return []*tlog.Entry{s.entry}, nil }

// ctLogs are the CT logs that saw the certificate. The library has found one at
// least. Where the certificate names several, each is judged alone.
func (c *call) ctLogs(by []issued) []Instance {
	list := []Instance{}
	if len(by) == 0 {
		return list
	}
	for id, log := range c.trusted.CTLogs() {
		if c.names(id) && verify.VerifySignedCertificateTimestamp(by[len(by)-1].chains, 1, oneCTLog{c.trusted, id, log}) == nil {
			list = append(list, logInstance(id, log))
		}
	}
	slices.SortFunc(list, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// names reports whether the certificate holds the ID of a log: what it says of
// that log is worth reading.
func (c *call) names(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && bytes.Contains(c.leaf.Raw, raw)
}

type oneCTLog struct {
	root.TrustedMaterial
	id  string
	log *root.TransparencyLog
}

func (o oneCTLog) CTLogs() map[string]*root.TransparencyLog {
	return map[string]*root.TransparencyLog{o.id: o.log}
}

// Text says it to people.
func (p *Proof) Text() string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", what, escape.Terminal(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "verified %s\n", escape.Terminal(p.Artifact))
	if s := p.Signer; s.Key != "" {
		line("signed by", "the key with SHA-256 %s", s.Key)
	} else {
		line("signed by", "%s", s.Identity)
		line("", "for whom %s vouched", s.Issuer)
		if s.Repository != "" {
			line("built from", "%s", s.Repository)
			if s.Ref != "" || s.Commit != "" {
				line("", "%s", strings.TrimSpace(s.Ref+" "+s.Commit))
			}
		}
	}
	if p.PredicateType != "" {
		line("attests", "%s", p.PredicateType)
	}
	for _, t := range p.Times {
		line("at", "%s", t.At.Format(time.RFC3339))
		line("", "says %s", t.By)
	}
	for _, e := range p.Logs {
		how := "included in"
		if !e.Included {
			how = "promised to"
		}
		line("logged", "entry %d, %s", e.Index, how)
		line("", "%s", e.Log)
	}
	for _, i := range p.Issuers {
		line("certified by", "%s", i)
	}
	for _, i := range p.CTLogs {
		line("seen by", "%s", i)
	}
	return b.String()
}
