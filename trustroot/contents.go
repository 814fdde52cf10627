package trustroot

import (
	"crypto/x509"
	"strings"
	"time"
)

// Contents is what a document says, for programs: what [Document.Lines] says to
// people. Text in it is the file's.
type Contents struct {
	Kind      Kind       `json:"kind"`
	Problem   string     `json:"problem,omitempty"` // why clients cannot read it; then nothing else is known
	MediaType string     `json:"media_type"`        // empty where the file states none
	Instances []Instance `json:"instances"`         // section by section, each in the order of the file
	Selectors []Choice   `json:"selectors"`         // of a signing configuration
}

// Instance is one [Entry]. Which fields are set follows from its kind.
type Instance struct {
	Kind     string     `json:"kind"`                  // what people call it, like ct-log
	ID       string     `json:"id,omitempty"`          // of a log or an authority, see [Entry]
	URL      string     `json:"url,omitempty"`         //
	Subject  string     `json:"subject,omitempty"`     // of an authority: organization and common name
	Operator string     `json:"operator,omitempty"`    //
	Version  uint64     `json:"api_version,omitempty"` // of a service
	Start    *time.Time `json:"start,omitempty"`       // UTC, like all times here
	End      *time.Time `json:"end,omitempty"`         // absent where the window is open
	State    State      `json:"state"`                 // at the moment that was asked for

	Key          string        `json:"key,omitempty"`    // the kind of a log's key, like ECDSA P-256
	LogID        string        `json:"log_id,omitempty"` // in base64, as in the file
	Certificates []Certificate `json:"certificates,omitempty"`
	Problem      string        `json:"problem,omitempty"` // why its key or a certificate cannot be used
}

// Certificate is one of an authority's chain, in the order of the file.
type Certificate struct {
	Subject   string    `json:"subject"`
	SHA256    string    `json:"sha256"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// Choice is how signers choose among services of one kind.
type Choice struct {
	Kind     string `json:"kind"`
	Selector string `json:"selector"`
	Count    uint64 `json:"count,omitempty"`
}

// State is how a window stands to a moment.
type State string

const (
	Active   State = "active"
	Ended    State = "ended"
	Upcoming State = "upcoming"
)

// At says how the window stands to a moment.
func (w Window) At(now time.Time) State {
	switch {
	case !w.Start.IsZero() && w.Start.After(now):
		return Upcoming
	case !w.End.IsZero() && w.End.Before(now):
		return Ended
	}
	return Active
}

// Describe says what a document says, with the states of its windows at a moment.
// It never fails: of one that clients cannot read it says why.
func Describe(kind Kind, data []byte, now time.Time) Contents {
	c := Contents{Kind: kind, Instances: []Instance{}, Selectors: []Choice{}}
	d, err := Parse(kind, data)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	c.MediaType = d.MediaType
	for _, e := range d.Entries {
		c.Instances = append(c.Instances, e.instance(now))
	}
	for _, s := range []Section{RekorURLs, TSAURLs} {
		if sel, ok := d.Selectors[s]; ok {
			c.Selectors = append(c.Selectors, Choice{s.kind(), sel.Name, sel.Count})
		}
	}
	return c
}

func (e Entry) instance(now time.Time) Instance {
	i := Instance{
		Kind: e.Section.kind(), URL: e.URL, Subject: e.subject(), Operator: e.Operator, Version: e.Version,
		Start: stated(e.Window.Start), End: stated(e.Window.End), State: e.Window.At(now),
	}
	if !e.service() {
		i.ID = e.ID
	}
	switch {
	case e.Key != nil:
		i.Key = keyName(e.Key)
	case e.KeyErr != nil:
		i.Problem = e.KeyErr.Error()
	}
	if len(e.LogID) > 0 {
		i.LogID = base64Text(e.LogID)
	}
	for _, c := range e.Chain {
		i.Certificates = append(i.Certificates, certificateOf(c))
	}
	if e.ChainErr != nil {
		i.Problem = e.ChainErr.Error()
	}
	return i
}

func certificateOf(c *x509.Certificate) Certificate {
	return Certificate{Subject: subject(c), SHA256: fingerprint(c.Raw), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
}

// stated is nil for a time that is not set.
func stated(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// kind is [Section.What] as a name.
func (s Section) kind() string { return strings.ToLower(strings.ReplaceAll(s.What(), " ", "-")) }
