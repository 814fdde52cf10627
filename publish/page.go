package publish

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

func newReader(data []byte) io.Reader { return bytes.NewReader(data) }

// Status is status.json: the facts of the status page, for machines.
type Status struct {
	Schema    int              `json:"schema"`
	Commit    string           `json:"commit"`
	Generated time.Time        `json:"generated"` // UTC
	Roles     []RoleStatus     `json:"roles"`
	Artifacts []ArtifactStatus `json:"artifacts"`
	Findings  []string         `json:"findings"`
}

// RoleStatus is one role of status.json.
type RoleStatus struct {
	Role      string    `json:"role"`
	File      string    `json:"file"`
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`             // UTC
	Resign    time.Time `json:"signing_starts"`      // when re-signing starts, UTC; equal to expires where no period is known
	Expired   bool      `json:"expired"`             // at Generated
	Threshold int64     `json:"threshold"`           // signatures needed
	Signed    int       `json:"signatures"`          // distinct public keys that signed
	Signers   []string  `json:"signers"`             // owners or online URIs of all keys of the role
	By        string    `json:"delegator,omitempty"` // who delegates to it
	ExpiryDay int64     `json:"expiry_period_days"`  // 0: not stated
	SignDay   int64     `json:"signing_period_days"` // 0: not stated
}

// ArtifactStatus is one artifact of status.json.
type ArtifactStatus struct {
	Path   string   `json:"path"`
	Role   string   `json:"role"`
	Length int64    `json:"length"` // bytes
	Files  []string `json:"files"`
}

// statusName is the status page for machines.
const statusName = "status.json"

//go:embed index.html
var indexText string

var index = template.Must(template.New("index").Funcs(template.FuncMap{
	"date": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
}).Parse(indexText))

func statusOf(p *repository.Published, generated time.Time) Status {
	s := Status{
		Schema: 1, Commit: string(p.Commit()), Generated: generated.UTC().Truncate(time.Second),
		Artifacts: []ArtifactStatus{}, Findings: []string{},
	}
	add := func(role, by, file string, doc *metadata.Document, d metadata.Delegation, periods metadata.Object) {
		q := metadata.Check(d, doc)
		period := metadata.PeriodOf(periods)
		r := RoleStatus{
			Role: role, File: file, By: by, Version: doc.Version(), Expires: doc.Expires(),
			Resign:  doc.Expires().AddDate(0, 0, -int(period.Signing)),
			Expired: doc.Expired(p.At()), Threshold: q.Threshold, Signed: q.Count, Signers: []string{},
			ExpiryDay: period.Expiry, SignDay: period.Signing,
		}
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; k != nil {
				name := k.Holder()
				if name == "" {
					name = "key " + k.ID[:min(12, len(k.ID))]
				}
				r.Signers = append(r.Signers, name)
			}
		}
		s.Roles = append(s.Roles, r)
	}
	root := p.Root()
	top := func(role string) metadata.Delegation { d, _ := root.Delegation(role); return d }
	add(metadata.Root, "", versioned(metadata.Root, root), root, top(metadata.Root), root.Signed())
	add(metadata.Timestamp, metadata.Root, "timestamp.json", p.Timestamp(), top(metadata.Timestamp), top(metadata.Timestamp).Object)
	add(metadata.Snapshot, metadata.Root, versioned(metadata.Snapshot, p.Snapshot()), p.Snapshot(), top(metadata.Snapshot), top(metadata.Snapshot).Object)
	for _, r := range p.Roles() {
		add(r.Role, r.By, versioned(r.Role, r.Document), r.Document, r.Delegation, r.Document.Signed())
	}
	for _, a := range p.Artifacts() {
		s.Artifacts = append(s.Artifacts, ArtifactStatus{Path: a.Target, Role: a.Role, Length: a.Length, Files: a.Names})
	}
	for _, f := range p.Findings() {
		s.Findings = append(s.Findings, string(f.Level)+": "+f.Message)
	}
	return s
}

func versioned(role string, doc *metadata.Document) string {
	return fmt.Sprintf("%d.%s.json", doc.Version(), role)
}

// pages makes the status page; generated is the moment that it states. What is
// judged by time is judged at the time of p.
func pages(p *repository.Published, generated time.Time) ([]File, error) {
	s := statusOf(p, generated)
	doc, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := index.Execute(&page, s); err != nil {
		return nil, err
	}
	return []File{
		{Class: Page, Name: "index.html", Data: page.Bytes(), Size: int64(page.Len())},
		{Class: Page, Name: statusName, Data: append(doc, '\n'), Size: int64(len(doc) + 1)},
	}, nil
}
