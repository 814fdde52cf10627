package trustroot

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Edits return a new text in which everything but the edited place is byte for
// byte the old one, in the form that the old one has: its indentation, its line
// ends, its way of writing times. Each has an inverse that gives the old text
// back: [Document.Remove] that of adding, [Document.Open] that of closing.
//
// An edit knows nothing of right and wrong: [Lint] the result.

// Log is a log to be added.
type Log struct {
	URL    string
	Key    []byte // PKIX, as [ReadKey] returns it
	Window Window
	// Tiled says that a Rekor log speaks version 2, whose log IDs are made in
	// another way. The name of a public shard says so by itself.
	Tiled bool
}

// Authority is a certificate or timestamp authority to be added.
type Authority struct {
	URL    string
	Chain  []*x509.Certificate // from the issuing certificate to the root
	Window Window
}

// Service is a service to be added to a signing configuration.
type Service struct {
	URL      string
	Version  uint64
	Operator string
	Window   Window
}

// pairOf is a member of an object to be written, in order.
type pairOf struct {
	name  string
	value any // string, uint64, []pairOf or []any
}

// AddLog adds a log to [TLogs] or [CTLogs], in the order of their starts.
func (d *Document) AddLog(s Section, l Log) ([]byte, error) {
	key, err := x509.ParsePKIXPublicKey(l.Key)
	if err != nil {
		return nil, fmt.Errorf("add log %s: %w", l.URL, err)
	}
	details, err := detailsOf(key)
	if err != nil {
		return nil, fmt.Errorf("add log %s: %w", l.URL, err)
	}
	e := Entry{Section: s, URL: l.URL, Key: key, RawKey: l.Key}
	id := e.spkiID()
	if _, ed := key.(ed25519.PublicKey); ed && s == TLogs && (l.Tiled || e.rekorV2(nil)) {
		id = e.noteID()
	}
	return d.insert(s, l.Window, 0, []pairOf{
		{"baseUrl", l.URL},
		{"hashAlgorithm", "SHA2_256"},
		{"publicKey", []pairOf{{"rawBytes", base64Text(l.Key)}, {"keyDetails", details}, {"validFor", d.window(l.Window)}}},
		{"logId", []pairOf{{"keyId", base64Text(id)}}},
	})
}

func detailsOf(key any) (string, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return "PKIX_ECDSA_P256_SHA_256", nil
		case 384:
			return "PKIX_ECDSA_P384_SHA_384", nil
		case 521:
			return "PKIX_ECDSA_P521_SHA_512", nil
		}
	case ed25519.PublicKey:
		return "PKIX_ED25519", nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n == 2048 || n == 3072 || n == 4096 {
			return fmt.Sprintf("PKIX_RSA_PKCS1V15_%d_SHA256", n), nil
		}
	}
	return "", fmt.Errorf("%s is no kind of key that the schema has a name for", keyName(key))
}

// AddAuthority adds an authority to [CertificateAuthorities] or
// [TimestampAuthorities], in the order of their starts. Its subject is that of
// the last certificate.
func (d *Document) AddAuthority(s Section, a Authority) ([]byte, error) {
	if len(a.Chain) == 0 {
		return nil, fmt.Errorf("add %s %s: there is no certificate", s.What(), a.URL)
	}
	var certs []any
	for _, c := range a.Chain {
		certs = append(certs, []pairOf{{"rawBytes", base64Text(c.Raw)}})
	}
	root := a.Chain[len(a.Chain)-1].Subject
	return d.insert(s, a.Window, 0, []pairOf{
		{"subject", []pairOf{{"organization", strings.Join(root.Organization, " ")}, {"commonName", root.CommonName}}},
		{"uri", a.URL},
		{"certChain", []pairOf{{"certificates", certs}}},
		{"validFor", d.window(a.Window)},
	})
}

// AddService adds a service to a signing configuration, the newest first.
func (d *Document) AddService(s Section, v Service) ([]byte, error) {
	if d.v1 {
		return nil, errors.New("add a service: the first form of a signing configuration knows neither windows nor versions; make a new file")
	}
	return d.insert(s, v.Window, v.Version, []pairOf{
		{"url", v.URL}, {"majorApiVersion", v.Version}, {"validFor", d.window(v.Window)}, {"operator", v.Operator},
	})
}

// ReadKey reads one public key from a PEM file, or that of the first
// certificate in it.
func ReadKey(data []byte) ([]byte, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("there is no PEM block")
	}
	switch block.Type {
	case "PUBLIC KEY":
		_, err := x509.ParsePKIXPublicKey(block.Bytes)
		return block.Bytes, err
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(key)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.RawSubjectPublicKeyInfo, nil
	}
	return nil, fmt.Errorf("the PEM block is a %.40q, not a public key", block.Type)
}

// ReadChain reads all certificates of a PEM file, in their order.
func ReadChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %d is a %.40q, not a certificate", len(chain)+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain, data = append(chain, cert), rest
	}
	if chain == nil {
		return nil, errors.New("there is no certificate in PEM form")
	}
	return chain, nil
}

// Find is the one entry that a person names: by its URL, or by the beginning
// of its ID in at least eight digits.
func (d *Document) Find(name string) (Entry, error) {
	var found []Entry
	for _, e := range d.Entries {
		if e.URL == name || len(name) >= 8 && strings.HasPrefix(e.ID, strings.ToLower(name)) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Entry{}, &FindError{Name: name}
	}
	return Entry{}, &FindError{Name: name, Found: found}
}

// FindError says that a name is that of no entry, or of several.
type FindError struct {
	Name  string
	Found []Entry
}

func (e *FindError) Error() string {
	if len(e.Found) == 0 {
		return fmt.Sprintf("no entry has the URL or sha256 %q", e.Name)
	}
	var list []string
	for _, f := range e.Found {
		list = append(list, fmt.Sprintf("%s (%.16s, %s)", f.path, f.ID, f.Window))
	}
	return fmt.Sprintf("%q is the name of %d entries: %s", e.Name, len(e.Found), strings.Join(list, ", "))
}

// Hint says what to do.
func (e *FindError) Hint() string {
	return "name it by its URL, or by the first 16 digits of its sha256, as show prints them"
}

// Close sets the end of an entry's window, or moves it.
func (d *Document) Close(e Entry, end time.Time) ([]byte, error) {
	w := e.windowNode()
	if w == nil || len(w.members) == 0 {
		return nil, fmt.Errorf("close %s: it has no window", e.Title())
	}
	text := quote(d.timeText(end, w))
	if old := w.member("end"); old != nil {
		return d.splice(old.start, old.end, text), nil
	}
	last := w.members[len(w.members)-1]
	return d.splice(last.value.end, last.value.end, ","+d.before(last.start)+quote("end")+d.colon(last)+text), nil
}

// Open takes the end of an entry's window away, if it has one.
func (d *Document) Open(e Entry) ([]byte, error) {
	w := e.windowNode()
	if w == nil {
		return nil, fmt.Errorf("open %s: it has no window", e.Title())
	}
	i := slices.IndexFunc(w.members, func(m member) bool { return m.name == "end" })
	switch {
	case i < 0:
		return slices.Clone(d.data), nil
	case i > 0:
		return d.splice(w.members[i-1].value.end, w.members[i].value.end, ""), nil
	case len(w.members) > 1:
		return d.splice(w.members[0].start, w.members[1].start, ""), nil
	}
	return d.splice(w.members[0].start, w.members[0].value.end, ""), nil
}

// Remove takes an entry out. Of a trusted root that is right only for one that
// was never published.
func (d *Document) Remove(e Entry) ([]byte, error) {
	i := slices.IndexFunc(d.top.members, func(m member) bool { return m.name == string(e.Section) })
	if i < 0 {
		return nil, fmt.Errorf("remove %s: there is no %s", e.Title(), e.Section)
	}
	m := d.top.members[i]
	list := m.value.elements
	switch {
	case e.Index >= len(list):
		return nil, fmt.Errorf("remove %s: there is no %s", e.Title(), e.path)
	case e.Index+1 < len(list):
		return d.splice(list[e.Index].start, list[e.Index+1].start, ""), nil
	case e.Index > 0:
		return d.splice(list[e.Index-1].end, list[e.Index].end, ""), nil
	case list[0].start == m.value.start+1 || i == 0: // as insert fills an empty list
		return d.splice(m.value.start, m.value.end, "[]"), nil
	}
	return d.splice(d.top.members[i-1].value.end, m.value.end, ""), nil
}

func (e Entry) windowNode() *node {
	if e.isLog() {
		return e.node.member("publicKey").member("validFor")
	}
	return e.node.member("validFor")
}

func (d *Document) splice(start, end int, text string) []byte {
	return slices.Concat(d.data[:start], []byte(text), d.data[end:])
}

// before is the space that stands before a place.
func (d *Document) before(at int) string {
	start := at
	for start > 0 && bytes.IndexByte([]byte(" \t\r\n"), d.data[start-1]) >= 0 {
		start--
	}
	return string(d.data[start:at])
}

// colon is what stands between a member's name and its value.
func (d *Document) colon(m member) string {
	at := bytes.LastIndexByte(d.data[:m.value.start], ':')
	return string(d.data[at:m.value.start])
}

func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // a string always encodes
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// timeText writes a time as the times in a window are written: with as many
// digits after the point.
func (d *Document) timeText(t time.Time, w *node) string {
	digits := 0
	for _, name := range []string{"end", "start"} {
		if m := w.member(name); m != nil {
			if _, rest, ok := strings.Cut(m.text, "."); ok {
				digits = len(strings.TrimRight(rest, "Z"))
			}
			break
		}
	}
	layout := "2006-01-02T15:04:05"
	if digits > 0 && digits <= 9 {
		layout += "." + strings.Repeat("0", digits)
	} else if t.Nanosecond() != 0 {
		layout += ".999999999"
	}
	return t.UTC().Format(layout + "Z")
}

func (d *Document) window(w Window) []pairOf {
	list := []pairOf{{"start", d.timeText(w.Start, nil)}}
	if !w.End.IsZero() {
		list = append(list, pairOf{"end", d.timeText(w.End, nil)})
	}
	return list
}

// insert adds an entry to a section, where its start puts it.
func (d *Document) insert(s Section, w Window, version uint64, entry []pairOf) ([]byte, error) {
	sections := rootSections
	if d.Kind == SigningConfig {
		sections = configSections
	}
	if !slices.Contains(sections, s) {
		return nil, fmt.Errorf("a %s has no %s", d.Kind, s)
	}
	if len(d.top.members) == 0 {
		return nil, errors.New("the document is empty: begin with its mediaType")
	}
	first := d.top.members[0]
	f := form{colon: d.colon(first), line: d.before(first.start)}
	if i := strings.LastIndexByte(f.line, '\n'); i >= 0 {
		f.unit = f.line[i+1:]
		f.line = f.line[:i+1]
	}
	at := d.top.member(string(s))
	switch {
	case at == nil:
		last := d.top.members[len(d.top.members)-1]
		open, end := f.at(2), f.at(1)
		if f.unit == "" {
			open, end = " ", "" // the space tells Remove that the list was not there
		}
		return d.splice(last.value.end, last.value.end, ","+d.before(last.start)+quote(string(s))+f.colon+"["+open+f.write(entry, 2)+end+"]"), nil
	case len(at.elements) == 0:
		return d.splice(at.start, at.end, "["+f.write(entry, 1)+"]"), nil
	}
	list := d.In(s)
	i := slices.IndexFunc(list, func(e Entry) bool {
		if d.Kind == SigningConfig {
			return e.Version < version || e.Version == version && !e.Window.Start.After(w.Start)
		}
		return e.Window.Start.After(w.Start)
	})
	if i < 0 {
		last := at.elements[len(at.elements)-1]
		return d.splice(last.end, last.end, ","+d.before(last.start)+f.write(entry, 2)), nil
	}
	next, space := at.elements[i], d.before(at.elements[max(i, 1)%len(at.elements)].start)
	return d.splice(next.start, next.start, f.write(entry, 2)+","+space), nil
}

// form is how a document is written.
type form struct {
	colon string
	line  string // a line end; what stands between members where there are no lines
	unit  string // one step of indentation; empty for a document on one line
}

// at begins a line at a depth.
func (f form) at(depth int) string {
	if f.unit == "" {
		return ""
	}
	return f.line + strings.Repeat(f.unit, depth)
}

func (f form) write(v any, depth int) string {
	var b strings.Builder
	switch v := v.(type) {
	case string:
		return quote(v)
	case uint64:
		return fmt.Sprint(v)
	case []pairOf:
		for i, p := range v {
			b.WriteString([]string{",", "{"}[btoi(i == 0)])
			b.WriteString(f.at(depth+1) + quote(p.name) + f.colon + f.write(p.value, depth+1))
		}
		return b.String() + f.at(depth) + "}"
	case []any:
		for i, one := range v {
			b.WriteString([]string{",", "["}[btoi(i == 0)])
			b.WriteString(f.at(depth+1) + f.write(one, depth+1))
		}
		return b.String() + f.at(depth) + "]"
	}
	return "null"
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
