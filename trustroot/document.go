package trustroot

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Kind is one of the two documents. Its value is the first part of the names of
// its rules.
type Kind string

const (
	TrustedRoot   Kind = "trusted-root"   // which logs and authorities verifiers trust, and when
	SigningConfig Kind = "signing-config" // which services signers ask
)

// KindOf tells by its name what an artifact is: trusted_root*.json or
// signing_config*.json, in any folder.
func KindOf(target string) (Kind, bool) {
	name := strings.ToLower(path.Base(target))
	switch {
	case !strings.HasSuffix(name, ".json"):
	case strings.HasPrefix(name, "trusted_root"):
		return TrustedRoot, true
	case strings.HasPrefix(name, "signing_config"):
		return SigningConfig, true
	}
	return "", false
}

// The media types that clients read.
const (
	rootV1   = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
	rootV2   = "application/vnd.dev.sigstore.trustedroot.v0.2+json"
	configV1 = "application/vnd.dev.sigstore.signingconfig.v0.1+json"
	configV2 = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
)

// Section is the list of a document that an entry stands in, by its name in the
// file.
type Section string

const (
	TLogs                  Section = "tlogs"
	CertificateAuthorities Section = "certificateAuthorities"
	CTLogs                 Section = "ctlogs"
	TimestampAuthorities   Section = "timestampAuthorities"

	CAURLs    Section = "caUrls"
	OIDCURLs  Section = "oidcUrls"
	RekorURLs Section = "rekorTlogUrls"
	TSAURLs   Section = "tsaUrls"
)

var (
	rootSections   = []Section{TLogs, CertificateAuthorities, CTLogs, TimestampAuthorities}
	configSections = []Section{CAURLs, OIDCURLs, RekorURLs, TSAURLs}
)

// What is how people call an entry of the section.
func (s Section) What() string {
	switch s {
	case TLogs:
		return "rekor log"
	case CertificateAuthorities:
		return "certificate authority"
	case CTLogs:
		return "CT log"
	case TimestampAuthorities:
		return "timestamp authority"
	case CAURLs:
		return "CA service"
	case OIDCURLs:
		return "OIDC service"
	case RekorURLs:
		return "rekor service"
	}
	return "TSA service"
}

// Window is when an entry counts, both ends included. A zero time is an end that
// the file does not set.
type Window struct {
	Start, End time.Time
}

// Active reports whether a moment lies in the window.
func (w Window) Active(at time.Time) bool {
	return (w.Start.IsZero() || !at.Before(w.Start)) && (w.End.IsZero() || !at.After(w.End))
}

// Equal reports whether both windows hold the same moments.
func (w Window) Equal(o Window) bool { return w.Start.Equal(o.Start) && w.End.Equal(o.End) }

// overlaps reports whether both windows hold more than a moment in common.
func (w Window) overlaps(o Window) bool {
	return (w.End.IsZero() || o.Start.Before(w.End)) && (o.End.IsZero() || w.Start.Before(o.End))
}

// Entry is one log, authority or service. Which fields are set follows from its
// section.
type Entry struct {
	Section Section
	Index   int // in its section, from 0

	// ID tells what the entry is: the SHA-256, in hex, of a log's public key (as
	// SPKI where it can be parsed), or over the SHA-256 of an authority's
	// certificates in whatever order they stand; for a service its API version
	// and URL.
	ID       string
	URL      string // baseUrl, uri or url
	Operator string
	Window   Window

	// Of a log.
	Key             any    // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey; nil where KeyErr says why
	KeyErr          error  // the key cannot be read as its declared kind
	RawKey          []byte // as in the file
	KeyDetails      string
	HashAlgorithm   string
	LogID           []byte
	CheckpointKeyID []byte

	// Of an authority, in the order of the file.
	Organization, CommonName string
	Chain                    []*x509.Certificate
	ChainErr                 error // a certificate cannot be parsed

	// Of a service.
	Version uint64 // majorApiVersion

	node *node
	path string
	raw  []byte // its text
}

// Selector is how signers choose among services of one kind.
type Selector struct {
	Name  string // ALL, ANY, EXACT
	Count uint64

	node *node
	path string
}

// Document is a document that clients can read.
type Document struct {
	Kind      Kind
	MediaType string
	Entries   []Entry              // section by section, each in the order of the file
	Selectors map[Section]Selector // of RekorURLs and TSAURLs

	data []byte
	top  *node
	v1   bool // the first form of a signing configuration
}

// ParseError says that clients refuse a document as a whole, and where.
type ParseError struct {
	Findings []Finding // at least one
}

func (e *ParseError) Error() string {
	text := e.Findings[0].Message
	if n := len(e.Findings) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Hint says what to do.
func (e *ParseError) Hint() string { return e.Findings[0].Hint }

// Parse reads a document strictly. What clients refuse, or read as two different
// things, is a *[ParseError]. All other mistakes are for [Lint]: a document may
// parse and still be wrong from top to bottom.
func Parse(kind Kind, data []byte) (*Document, error) {
	return new(Reader).Parse(kind, data)
}

// read parses a document and keeps what the walk over its form has found. The
// document is nil if something is unreadable or ambiguous.
func read(kind Kind, data []byte) (*Document, *walker) {
	w := &walker{data: data}
	top, duplicates, err := scan(data)
	if err != nil {
		at := 0
		if s, ok := err.(*syntaxError); ok {
			at = s.at
		}
		w.at(&w.unreadable, unreadable, "", at, "mend the JSON at that place", "%v", err)
		return nil, w
	}
	for _, m := range duplicates {
		w.at(&w.ambiguous, ambiguousJSON, cut(m.name, 80), m.start, "remove one of the two",
			"%q stands twice in one object: some clients take the first, some the last, some neither", cut(m.name, 80))
	}
	d := &Document{Kind: kind, data: data, top: top, Selectors: map[Section]Selector{}}
	if m := top.member("mediaType"); m != nil && m.kind == '"' {
		d.MediaType = m.text
	}
	form := trustedRootMessage
	if kind == SigningConfig {
		d.v1 = d.MediaType == configV1 || d.MediaType == "" && (top.member("caUrl") != nil || top.member("tlogUrls") != nil)
		form = signingConfigMessage
		if d.v1 {
			form = signingConfigV1Message
		}
	}
	w.object("", top, form)
	if d.MediaType == rootV2 {
		w.newer = nil // that form has them
	}
	if len(w.unreadable)+len(w.ambiguous) > 0 {
		return nil, w
	}
	if err := d.secondOpinion(); err != nil {
		w.at(&w.unreadable, unreadable, "", 0, "mend what the message names", "clients cannot read it: %v", err)
		return nil, w
	}
	d.fill()
	for i := range d.Entries {
		n := d.Entries[i].node
		d.Entries[i].raw = data[n.start:n.end]
	}
	return d, w
}

// secondOpinion reads the document with the library that Go clients read it
// with.
func (d *Document) secondOpinion() error {
	if d.v1 {
		return nil // dropped from it
	}
	var m proto.Message = &pb.TrustedRoot{}
	if d.Kind == SigningConfig {
		m = &pb.SigningConfig{}
	}
	err := protojson.Unmarshal(d.data, m)
	if err != nil {
		// The library varies the space in its messages at random.
		return fmt.Errorf("%s", strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}

func (d *Document) fill() {
	if d.Kind == TrustedRoot {
		for _, s := range rootSections {
			for i, n := range d.top.member(string(s)).list() {
				d.Entries = append(d.Entries, readInstance(s, i, n))
			}
		}
		return
	}
	if d.v1 {
		d.fillV1()
		return
	}
	for _, s := range configSections {
		for i, n := range d.top.member(string(s)).list() {
			e := Entry{
				Section: s, Index: i, node: n, path: place(s, i),
				URL: n.text1("url"), Operator: n.text1("operator"), Window: readWindow(n.member("validFor")),
			}
			e.Version, _ = strconv.ParseUint(n.text1("majorApiVersion"), 10, 32)
			e.ID = fmt.Sprintf("v%d %s", e.Version, e.URL)
			d.Entries = append(d.Entries, e)
		}
	}
	for s, name := range map[Section]string{RekorURLs: "rekorTlogConfig", TSAURLs: "tsaConfig"} {
		if n := d.top.member(name); n != nil {
			sel := Selector{Name: n.text1("selector"), node: n, path: name}
			sel.Count, _ = strconv.ParseUint(n.text1("count"), 10, 32)
			d.Selectors[s] = sel
		}
	}
}

// fillV1 reads the first form of a signing configuration, which knows neither
// windows nor versions.
func (d *Document) fillV1() {
	for _, one := range []struct {
		section Section
		name    string
	}{{CAURLs, "caUrl"}, {OIDCURLs, "oidcUrl"}, {RekorURLs, "tlogUrls"}, {TSAURLs, "tsaUrls"}} {
		n := d.top.member(one.name)
		nodes := n.list()
		if n != nil && n.kind == '"' {
			nodes = []*node{n}
		}
		for i, n := range nodes {
			path := one.name
			if len(d.top.member(one.name).list()) > 0 {
				path = fmt.Sprintf("%s[%d]", one.name, i)
			}
			d.Entries = append(d.Entries, Entry{Section: one.section, Index: i, node: n, path: path, URL: n.text, Version: 1, ID: "v1 " + n.text})
		}
	}
}

func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.elements
}

// text1 is the text of a member; empty where there is none.
func (n *node) text1(name string) string {
	if m := n.member(name); m != nil {
		return m.text
	}
	return ""
}

func place(s Section, i int) string { return fmt.Sprintf("%s[%d]", s, i) }

func readWindow(n *node) Window {
	var w Window
	if s := n.text1("start"); s != "" {
		w.Start, _ = parseTime(s)
	}
	if s := n.text1("end"); s != "" {
		w.End, _ = parseTime(s)
	}
	return w
}

func readInstance(s Section, i int, n *node) Entry {
	e := Entry{Section: s, Index: i, node: n, path: place(s, i), Operator: n.text1("operator")}
	if s == TLogs || s == CTLogs {
		key := n.member("publicKey")
		e.URL, e.HashAlgorithm = n.text1("baseUrl"), n.text1("hashAlgorithm")
		e.KeyDetails, e.Window = key.text1("keyDetails"), readWindow(key.member("validFor"))
		e.RawKey, _ = lenientBase64(key.text1("rawBytes"))
		e.Key, e.KeyErr = parseKey(e.RawKey, e.KeyDetails)
		e.LogID, _ = lenientBase64(n.member("logId").text1("keyId"))
		e.CheckpointKeyID, _ = lenientBase64(n.member("checkpointKeyId").text1("keyId"))
		e.ID = fingerprint(spki(e.Key, e.RawKey))
		return e
	}
	e.URL, e.Window = n.text1("uri"), readWindow(n.member("validFor"))
	subject := n.member("subject")
	e.Organization, e.CommonName = subject.text1("organization"), subject.text1("commonName")
	var prints []string
	for j, c := range n.member("certChain").member("certificates").list() {
		raw, _ := lenientBase64(c.text1("rawBytes"))
		prints = append(prints, fingerprint(raw))
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			if e.ChainErr == nil {
				e.ChainErr = fmt.Errorf("certificate %d of the chain: %w", j+1, err)
			}
			continue
		}
		e.Chain = append(e.Chain, cert)
	}
	slices.Sort(prints)
	e.ID = fingerprint([]byte(strings.Join(prints, "\n")))
	return e
}

func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// In are the entries of a section, in the order of the file.
func (d *Document) In(s Section) []Entry {
	var list []Entry
	for _, e := range d.Entries {
		if e.Section == s {
			list = append(list, e)
		}
	}
	return list
}

// subject is whose the entry is, as the file states it.
func (e Entry) subject() string {
	return strings.Join(slices.DeleteFunc([]string{e.Organization, e.CommonName}, func(s string) bool { return s == "" }), ", ")
}

// Title names the entry for people: what it is, and its URL or whose it is.
func (e Entry) Title() string {
	name := e.URL
	if name == "" {
		name = e.subject()
	}
	if name == "" {
		name = "without a name"
	}
	if e.Version > 0 {
		name += fmt.Sprintf(" (API v%d)", e.Version)
	}
	return e.Section.What() + " " + name
}
