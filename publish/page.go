package publish

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/trustroot"
)

func newReader(data []byte) io.Reader { return bytes.NewReader(data) }

// The pages: one for people, and one for machines.
const (
	indexName  = "index.html"
	statusName = "status.json"
)

// Lists that are longer than this are folded: a page is to be read from the top,
// and a browser lays out what is folded only when it is opened.
const (
	foldRoles     = 12 // delegated by one role
	foldRoots     = 5  // versions of root, newest first
	foldArtifacts = 30 // of all roles together
	foldPaths     = 6  // patterns of one delegation
	foldInstances = 40 // of one file of trust material
)

//go:embed index.html
var indexText string

//go:embed index.css
var indexStyle string

// policy allows the page its own style and nothing else: should text of a
// stranger ever become markup, it can neither run nor load anything.
var policy = fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'", digest(indexStyle))

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// index is parsed when a page is drawn: most runs of the program draw none.
var index = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("index").Funcs(template.FuncMap{
		"show":   escape.Terminal, // the template escapes markup, this what cannot be seen
		"link":   link,
		"when":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04") },
		"day":    func(t time.Time) string { return t.UTC().Format("2 Jan 2006") },
		"clock":  func(t time.Time) string { return t.UTC().Format("15:04") },
		"stamp":  func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"size":   size,
		"long":   func(s string) bool { return len(s) > 40 },
		"plural": plural,
		"list":   list,
		"kinds":  func(kind string) string { return kindNames[kind] },
	}).Parse(indexText))
})

// page is what the template is given.
type page struct {
	Status
	Style     template.CSS
	Policy    string
	Tree      *node
	First     RoleStatus // the role that expires first of those that every client needs
	Due       bool       // people are asked to sign already
	Now, Past []version
	Materials []materialView
	Artifacts []artifactGroup
	Count     int // artifacts
}

// node is a role with the roles that it delegates to.
type node struct {
	RoleStatus
	Bar       *bar
	Below     []*node
	Fold      bool // its delegated roles are folded
	FoldPaths bool
	Uneasy    int // how many roles below are not simply valid
}

// version is one of root; First has no predecessor here.
type version struct {
	RootStatus
	First bool
}

// materialView is one file of trust material.
type materialView struct {
	ArtifactStatus
	Open   bool
	Groups []instanceGroup
	From   time.Time // where the scale of its bars begins
}

// instanceGroup are the instances of one kind in one file.
type instanceGroup struct {
	Kind   string
	Listed []instanceView
}

type instanceView struct {
	trustroot.Instance
	Bar span
}

// artifactGroup are the artifacts of one role.
type artifactGroup struct {
	Role   string
	Bytes  int64
	Open   bool
	Listed []ArtifactStatus
}

// pages makes the status page. What is drawn by time is drawn as of the moment
// that s was generated.
func pages(s Status) ([]File, error) {
	var files []File
	for _, name := range []string{indexName, statusName} {
		data, err := draw(name, s)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		files = append(files, File{Class: Page, Name: name, Data: data, Size: int64(len(data))})
	}
	return files, nil
}

// maxPage is how much is read of a page at a destination: the time that it states,
// and what it is drawn with, may be longer than ours.
func maxPage(ours File) int64 { return ours.Size + ours.Size/4 + 1000 }

// draw makes one of the pages.
func draw(name string, s Status) ([]byte, error) {
	if name == statusName {
		doc, err := json.MarshalIndent(s.settled(), "", "  ")
		return append(doc, '\n'), err
	}
	var html bytes.Buffer
	err := index().Execute(&html, pageOf(s))
	return html.Bytes(), err
}

// drawing is what a page says of its own making.
type drawing struct {
	Commit    string
	Generated time.Time
	Versions  map[string]int64 // of the roles that it shows, as far as it is asked for them
}

var indexDrawing = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`<body data-commit="([^"]*)" data-generated="([^"]*)" data-root="([0-9]+)" data-timestamp="([0-9]+)">`)
})

// drawingOf reads what a page at a destination says of its making: of status.json
// without the timestamp. It is what a stranger can write there; what makes no
// sense is left out.
func drawingOf(name string, data []byte) drawing {
	d := drawing{Versions: map[string]int64{}}
	if name == statusName {
		var s Status
		_ = json.Unmarshal(data, &s)
		d.Commit, d.Generated = s.Commit, s.Generated
		for _, r := range s.Roles {
			d.Versions[r.Role] = r.Version
		}
	} else if m := indexDrawing().FindSubmatch(data); m != nil {
		d.Commit = string(m[1])
		d.Generated, _ = time.Parse(time.RFC3339, string(m[2]))
		d.Versions[metadata.Root], _ = strconv.ParseInt(string(m[3]), 10, 64)
		d.Versions[metadata.Timestamp], _ = strconv.ParseInt(string(m[4]), 10, 64)
	}
	if !commitName().MatchString(d.Commit) {
		d.Commit = ""
	}
	d.Generated = d.Generated.UTC().Truncate(time.Second)
	return d
}

// Version is that of a top-level role.
func (p page) Version(role string) int64 {
	for _, r := range p.Roles {
		if r.Role == role {
			return r.Version
		}
	}
	return 0
}

func pageOf(s Status) page {
	p := page{Status: s, Style: template.CSS(indexStyle), Policy: policy, Count: len(s.Artifacts)}
	nodes := map[string]*node{}
	for _, r := range s.Roles {
		n := &node{RoleStatus: r, Bar: barOf(r, s.Generated), FoldPaths: len(r.Paths)+len(r.HashPrefixes) > foldPaths}
		nodes[r.Role] = n
		if r.Role == s.Health.Role {
			p.First = r
		}
		if s.Health.Next != nil && r.Role == s.Health.Next.Role {
			p.Due = r.Signing || r.Expired
		}
		if above := nodes[r.By]; above != nil {
			above.Below = append(above.Below, n)
			above.Fold = len(above.Below) > foldRoles
			if r.Expired || r.Signing && !r.Online {
				above.Uneasy++
			}
		} else {
			p.Tree = n
		}
	}
	for i, r := range slices.Backward(s.Roots) {
		p.Now = append(p.Now, version{r, i == 0})
	}
	if len(p.Now) > foldRoots {
		p.Now, p.Past = p.Now[:foldRoots], p.Now[foldRoots:]
	}
	for _, a := range s.Artifacts {
		if n := len(p.Artifacts); n == 0 || p.Artifacts[n-1].Role != a.Role {
			p.Artifacts = append(p.Artifacts, artifactGroup{Role: a.Role, Open: p.Count <= foldArtifacts})
		}
		group := &p.Artifacts[len(p.Artifacts)-1]
		group.Bytes += a.Length
		group.Listed = append(group.Listed, a)
		if a.Sigstore != nil {
			p.Materials = append(p.Materials, viewOf(a, s.Generated))
		}
	}
	// What verifiers trust stands before what signers ask.
	slices.SortStableFunc(p.Materials, func(a, b materialView) int { return -strings.Compare(string(a.Sigstore.Kind), string(b.Sigstore.Kind)) })
	return p
}

// viewOf draws a file of trust material. All its bars have one scale.
func viewOf(a ArtifactStatus, today time.Time) materialView {
	list := a.Sigstore.Instances
	v := materialView{ArtifactStatus: a, Open: a.Sigstore.Problem != "" || a.Sigstore.Kind == trustroot.TrustedRoot && len(list) <= foldInstances}
	s := scaleOf(list, today)
	v.From = s.from
	for _, i := range list {
		if n := len(v.Groups); n == 0 || v.Groups[n-1].Kind != i.Kind {
			v.Groups = append(v.Groups, instanceGroup{Kind: i.Kind})
		}
		group := &v.Groups[len(v.Groups)-1]
		group.Listed = append(group.Listed, instanceView{i, s.span(i.Start, i.End)})
	}
	return v
}

// Name is what the file is for people.
func (v materialView) Name() string {
	if v.Sigstore.Kind == trustroot.SigningConfig {
		return "signing configuration"
	}
	return "trusted root"
}

// Active is how many instances count.
func (v materialView) Active() int {
	n := 0
	for _, i := range v.Sigstore.Instances {
		if i.State == trustroot.Active {
			n++
		}
	}
	return n
}

// kindNames are the kinds of instances for people.
var kindNames = map[string]string{
	"rekor-log": "Rekor logs", "certificate-authority": "Certificate authorities", "ct-log": "CT logs", "timestamp-authority": "Timestamp authorities",
	"ca-service": "CA services", "oidc-service": "OIDC services", "rekor-service": "Rekor services", "tsa-service": "TSA services",
}

// Title is what the instance is called: its URL, else whose it is.
func (i instanceView) Title() string {
	switch {
	case i.URL != "":
		return i.URL
	case i.Subject != "":
		return i.Subject
	}
	return "without a name"
}

// scale is the time that the bars of one file stand on, a thousand wide.
type scale struct {
	from, to, today time.Time
	years           []int // where years turn
}

// maxYears bounds how much time is drawn before and after today.
const maxYears = 10

// scaleOf begins with the first window and ends half a year from now, or with the
// last end that is known.
func scaleOf(list []trustroot.Instance, today time.Time) scale {
	s := scale{from: today, to: today.AddDate(0, 6, 0), today: today}
	for _, i := range list {
		for _, t := range []*time.Time{i.Start, i.End} {
			if t != nil && t.Before(s.from) {
				s.from = *t
			}
			if t != nil && t.After(s.to) {
				s.to = *t
			}
		}
	}
	if first := today.AddDate(-maxYears, 0, 0); s.from.Before(first) {
		s.from = first
	}
	if last := today.AddDate(maxYears, 0, 0); s.to.After(last) {
		s.to = last
	}
	for year := s.from.Year() + 1; year <= s.to.Year(); year++ {
		s.years = append(s.years, s.at(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
	}
	return s
}

func (s scale) at(t time.Time) int {
	return int(1000 * min(1, max(0, float64(t.Sub(s.from))/float64(s.to.Sub(s.from)))))
}

// span is a window as a drawing: what is past of it, and what is to come.
type span struct {
	Start, Past, Future int // where it begins, and how wide its parts are
	Today               int
	Years               []int
}

func (s scale) span(start, end *time.Time) span {
	a, b, now := 0, 1000, s.at(s.today)
	if start != nil {
		a = s.at(*start)
	}
	if end != nil {
		b = s.at(*end)
	}
	b = max(a, b)
	past := min(max(now, a), b) - a
	return span{Start: a, Past: past, Future: b - a - past, Today: now, Years: s.years}
}

// Turn is where the future begins.
func (s span) Turn() int { return s.Start + s.Past }

// Device says of the signer's key whether it is attested to live in a device.
func (s Signer) Device() string {
	switch {
	case s.Attested == nil:
		return ""
	case *s.Attested:
		return "attested"
	}
	return "not attested"
}

// Label is the state of a role in a word or two.
func (r RoleStatus) Label() string {
	switch {
	case r.Expired:
		return "expired"
	case r.Signing && r.Online:
		return "renewal due"
	case r.Signing:
		return "signatures due"
	}
	return "valid"
}

// Kind names the class that the state of a role is drawn with.
func (r RoleStatus) Kind() string {
	switch {
	case r.Expired:
		return "bad"
	case r.Signing && !r.Online:
		return "due"
	}
	return "good"
}

// Title is the verdict.
func (h Health) Title() string {
	switch h.State {
	case HealthGood:
		return "All is well"
	case HealthSigning:
		return "Signatures are due"
	case HealthAttention:
		return "Something needs attention"
	}
	return "Clients fail"
}

// Kind names the class that the verdict is drawn with.
func (h Health) Kind() string {
	switch h.State {
	case HealthGood:
		return "good"
	case HealthFailing:
		return "bad"
	}
	return "due"
}

// Text says a change in words; the names in it are a stranger's.
func (c RootChange) Text() string {
	roles, from, to := list(c.Roles), c.From, c.To
	if from == "" {
		from = "not stated"
	}
	if to == "" {
		to = "not stated"
	}
	switch c.Change {
	case SignerAdded:
		return fmt.Sprintf("%s added to %s", c.Signer, roles)
	case SignerRemoved:
		return fmt.Sprintf("%s removed from %s", c.Signer, roles)
	case SignerRenamed:
		return fmt.Sprintf("the key of %s in %s is now that of %s", from, roles, to)
	case KeyAdded:
		return fmt.Sprintf("%s has a further key in %s", c.Signer, roles)
	case KeyRemoved:
		return fmt.Sprintf("%s has fewer keys in %s", c.Signer, roles)
	case KeyReplaced:
		return fmt.Sprintf("%s has a new key in %s", c.Signer, roles)
	case KeyIDChanged:
		return fmt.Sprintf("the key of %s in %s has another keyid", c.Signer, roles)
	case Threshold:
		return fmt.Sprintf("threshold of %s: %s, was %s", roles, to, from)
	case ExpiryPeriod:
		return fmt.Sprintf("expiry period of %s: %s days, was %s", roles, to, from)
	case SigningPeriod:
		return fmt.Sprintf("signing period of %s: %s days, was %s", roles, to, from)
	}
	return fmt.Sprintf("field %s of %s changed", c.Field, roles)
}

// ArtifactLink is where the page finds a published artifact: the folder of the
// artifacts stands beside the one of the metadata, or in it where that is the top
// of a site.
func (a ArtifactStatus) ArtifactLink() string {
	if len(a.Files) == 0 {
		return ""
	}
	return "../" + targetsFolder + strings.TrimPrefix(link(a.Files[0]), "./")
}

// link is a relative reference to a file, whatever characters its name holds.
func link(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "./" + strings.Join(parts, "/")
}

func list(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// size is a number of bytes for people.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, units[unit])
}

// bar is the life of a version as a drawing a thousand wide: from its issue over
// the start of re-signing to its expiry, or to the moment of the drawing where
// that is later.
type bar struct {
	Resign, Expires, Today int // where they are
	Window, Over           int // how wide the signing period is, and the time after expiry
	Text                   string
}

// barOf is nil where it is not known when the version was issued.
func barOf(r RoleStatus, today time.Time) *bar {
	if r.Issued == nil {
		return nil
	}
	end := r.Expires
	if today.After(end) {
		end = today
	}
	whole := end.Sub(*r.Issued)
	at := func(t time.Time) int {
		return int(1000 * min(1, max(0, float64(t.Sub(*r.Issued))/float64(whole))))
	}
	b := &bar{Resign: at(r.Resign), Expires: at(r.Expires), Today: at(today)}
	b.Window, b.Over = b.Expires-b.Resign, 1000-b.Expires
	used := at(today) * 1000 / max(1, b.Expires)
	switch {
	case r.Expired:
		b.Text = "Life of this version: over"
	default:
		b.Text = fmt.Sprintf("Life of this version: %d%% is over", min(used, 1000)/10)
	}
	return b
}
