package publish_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/publish/storetest"
	"github.com/tufops/tufops/repository"
)

// TestHealth: the verdict, what it rests on, and that the page says the same.
func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name  string
		drawn drawn
		state string
		until string
		role  string
		next  string
		title string
	}{
		{"all valid", team(t), publish.HealthGood, "2026-11-28 14:05", "timestamp", "nightly 2026-12-11 10:00", "All is well"},
		{"a moment before people sign", at(team(t), "2026-12-11 09:59", 9), publish.HealthGood, "2026-12-20 09:59", "timestamp", "nightly 2026-12-11 10:00", "All is well"},
		{"when people sign", at(team(t), "2026-12-11 10:00", 9), publish.HealthSigning, "2026-12-20 10:00", "timestamp", "nightly 2026-12-11 10:00", "Signatures are due"},
		{"a delegated role has expired", unrest(t), publish.HealthAttention, "2027-01-21 09:30", "timestamp", "nightly 2026-12-11 10:00", "Something needs attention"},
		{"a moment before clients fail", at(team(t), "2026-11-28 14:04", 0), publish.HealthGood, "2026-11-28 14:05", "timestamp", "nightly 2026-12-11 10:00", "All is well"},
		{"when clients fail", at(team(t), "2026-11-28 14:05", 0), publish.HealthFailing, "2026-11-28 14:05", "timestamp", "nightly 2026-12-11 10:00", "Clients fail"},
		{"root expires first", at(team(t), "2027-02-08 09:00", 9), publish.HealthAttention, "2027-02-09 09:00", "root", "nightly 2026-12-11 10:00", "Something needs attention"},
		{"no periods", drawn{repo: publishtest.New(t), at: publishtest.Now}, publish.HealthGood, "2026-01-31 00:00", "root", "root 2026-01-31 00:00", "All is well"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.drawn.published(t)
			h := statusOf(t, p).Health
			const minute = "2006-01-02 15:04"
			next := h.Next.Role + " " + h.Next.Starts.Format(minute)
			if h.State != test.state || h.Until.Format(minute) != test.until || h.Role != test.role || next != test.next {
				t.Errorf("%s until %s by %s, next %s; want %s until %s by %s, next %s", h.State, h.Until.Format(minute), h.Role, next, test.state, test.until, test.role, test.next)
			}
			if html, _ := pagesOf(t, p); !strings.Contains(html, "<h1>"+test.title+"</h1>") {
				t.Errorf("the page does not say %q", test.title)
			}
		})
	}
}

// at is a drawing at another moment, with a timestamp that lives some days more;
// 0 leaves the timestamp alone.
func at(d drawn, moment string, days int) drawn {
	now, err := time.Parse("2006-01-02 15:04", moment)
	if err != nil {
		panic(err)
	}
	d.at = now
	if days > 0 {
		d.repo.Roles[metadata.Timestamp].Expire(now.AddDate(0, 0, days))
		d.repo.Publish(metadata.Timestamp)
	}
	return d
}

// TestMachinesOnly: where no person signs, nobody is asked next.
func TestMachinesOnly(t *testing.T) {
	d := drawn{repo: publishtest.New(t), at: publishtest.Now}
	old := slices.Concat(d.repo.Roles[metadata.Root].Keys)
	for _, role := range metadata.TopLevel {
		d.repo.SetKeys(role, 1, online("file2:"+role+".pem"))
	}
	d.repo.Roles[metadata.Root].Keys = append(d.repo.Roles[metadata.Root].Keys, old...)
	d.repo.Publish(metadata.Root)
	d.repo.Publish(metadata.Targets)
	p := d.published(t)
	if s := statusOf(t, p); s.Health.Next != nil || !s.Roles[0].Online {
		t.Errorf("people are asked for %+v, root is signed by a machine: %v", s.Health.Next, s.Roles[0].Online)
	}
	if html, _ := pagesOf(t, p); strings.Contains(html, "sign next") {
		t.Error("the page says that people sign next")
	}
}

// TestRootHistory: each kind of change between two roots, and no other, is told
// with the roles it is the same for; nothing is told of what did not change.
func TestRootHistory(t *testing.T) {
	key := func(owner, material string) *clienttest.Key {
		k := clienttest.NewKey(material)
		k.Object = metadata.Clone(k.Object)
		k.Object[metadata.FieldKeyOwner] = owner
		id, err := metadata.KeyID(k.Object)
		if err != nil {
			t.Fatal(err)
		}
		k.ID = id
		return k
	}
	ada, bob, ada2 := key("@ada", "a"), key("@bob", "b"), key("@ada", "a2")
	renamed, moved := key("@zoe", "b"), key("@ada", "a")
	moved.ID = strings.Repeat("0", 64)
	const root, targets = metadata.Root, metadata.Targets
	for _, test := range []struct {
		name   string
		change func(r *publishtest.Repo)
		want   string
	}{
		{"nothing", func(*publishtest.Repo) {}, ""},
		{"dates", func(r *publishtest.Repo) { r.Roles[root].Expire(clienttest.Now.AddDate(1, 0, 0)) }, ""},
		{"added", func(r *publishtest.Repo) { r.SetKeys(root, 1, ada, bob, key("@eve", "e")) }, "@eve added to root"},
		{"added to two", func(r *publishtest.Repo) {
			r.SetKeys(root, 1, ada, bob, key("@eve", "e"))
			r.SetKeys(targets, 1, ada, key("@eve", "e"))
		}, "@eve added to root and targets"},
		{"removed", func(r *publishtest.Repo) { r.SetKeys(root, 1, ada) }, "@bob removed from root"},
		{"replaced", func(r *publishtest.Repo) { r.SetKeys(root, 1, ada2, bob) }, "@ada has a new key in root"},
		{"one more", func(r *publishtest.Repo) { r.SetKeys(root, 1, ada, ada2, bob) }, "@ada has a further key in root"},
		{"other person", func(r *publishtest.Repo) { r.SetKeys(targets, 1, bob) }, "@bob added to targets; @ada removed from targets"},
		{"renamed", func(r *publishtest.Repo) { r.SetKeys(root, 1, ada, renamed) }, "the key of @bob in root is now that of @zoe"},
		{"keyid", func(r *publishtest.Repo) { r.SetKeys(targets, 1, moved) }, "the key of @ada in targets has another keyid"},
		{"threshold", func(r *publishtest.Repo) { r.SetKeys(root, 2, ada, bob) }, "threshold of root: 2, was 1"},
		{"online key", func(r *publishtest.Repo) {
			r.SetKeys(metadata.Snapshot, 1, online("file2:new"))
			r.SetKeys(metadata.Timestamp, 1, online("file2:new"))
		}, "file2:new added to timestamp and snapshot; @timestamp removed from timestamp; @snapshot removed from snapshot"},
		{"root's period", func(r *publishtest.Repo) { r.Roles[root].Signed[metadata.FieldExpiryPeriod] = int64(182) }, "expiry period of root: 182 days, was not stated; signing period of root: 91 days, was not stated"},
		{"timestamp's period", func(r *publishtest.Repo) {
			of(r, metadata.Timestamp)[metadata.FieldSigningPeriod] = int64(6)
		}, "signing period of timestamp: 6 days, was not stated"},
		{"a field of root", func(r *publishtest.Repo) { r.Roles[root].Signed["spec_version"] = "1.0.34" }, "field spec_version of root changed"},
		{"a field of a role", func(r *publishtest.Repo) { of(r, targets)["x-note"] = "x" }, "field x-note of targets changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := drawn{repo: publishtest.New(t), at: publishtest.Now}
			first := d.repo.Roles[root].Keys
			d.repo.SetKeys(root, 1, ada, bob)
			d.repo.SetKeys(targets, 1, ada)
			d.repo.Roles[root].Keys = append(first, ada)
			d.repo.Publish(root)
			d.repo.Publish(targets)
			test.change(d.repo)
			d.repo.Roles[root].Keys = []*clienttest.Key{ada, ada2, bob}
			d.repo.Publish(root)
			d.repo.Roles[metadata.Targets].Keys = []*clienttest.Key{ada, moved, bob}
			d.repo.Publish(targets)
			s := statusOf(t, d.published(t))
			var got []string
			for _, c := range s.Roots[2].Changes {
				got = append(got, c.Text())
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("%q, want %q", strings.Join(got, "; "), test.want)
			}
			if len(s.Roots) != 3 || len(s.Roots[0].Changes) != 0 || s.Roots[0].File != "1.root.json" {
				t.Errorf("the first of %d roots is %+v", len(s.Roots), s.Roots[0])
			}
		})
	}
}

func of(r *publishtest.Repo, role string) metadata.Object {
	return r.Roles[metadata.Root].Signed["roles"].(metadata.Object)[role].(metadata.Object)
}

// TestSignedBy: whose signature counts for a root by its own delegation or by the
// one before is named, and nobody else.
func TestSignedBy(t *testing.T) {
	var got []string
	for _, r := range statusOf(t, team(t).published(t)).Roots {
		got = append(got, fmt.Sprintf("%s: %d of %d", strings.Join(r.SignedBy, " "), r.Threshold, r.Keys))
	}
	want := []string{"@root: 1 of 1", "@ada @grace @root: 2 of 3", "@ada @hedy: 2 of 3", "@ada @grace @joan: 2 of 4", "@grace @hedy: 2 of 4", "@ada @grace @hedy @joan: 3 of 5", "@ada @grace @mary: 3 of 4"}
	if !slices.Equal(got, want) {
		t.Errorf("signed by\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestMerged: a version that was merged and is in no snapshot is not on the page,
// which says where the one that it shows was found.
func TestMerged(t *testing.T) {
	d := merged(t)
	newest := d.repo.Roles[metadata.Targets].Version()
	p := d.published(t)
	s := statusOf(t, p)
	for _, r := range s.Roles {
		earlier := r.Commit != "" && r.Commit != s.Commit
		if r.Role == metadata.Targets && (r.Version != newest-1 || !earlier) || r.Role != metadata.Targets && r.Commit != "" {
			t.Errorf("%s version %d is from commit %q, that built is %s", r.Role, r.Version, r.Commit, s.Commit)
		}
	}
	if slices.ContainsFunc(s.Artifacts, func(a publish.ArtifactStatus) bool { return a.Path == "new.txt" }) {
		t.Error("an artifact that no published role lists is on the page")
	}
}

// TestSameFactsLater: a page on which only the time is another one is not written
// again, however its bars would be drawn now; one with another verdict is.
func TestSameFactsLater(t *testing.T) {
	d := team(t)
	commit := d.repo.Commit(t, "drawn")
	store := &storetest.Memory{}
	for _, step := range []struct {
		at      string
		changed bool
	}{
		{"2026-11-22 09:30", true}, // the first
		{"2026-11-22 09:30", false},
		{"2026-11-22 14:00", false},
		{"2026-11-22 14:05", true}, // the timestamp is to be renewed
		{"2026-11-28 14:04", false},
	} {
		now, err := time.Parse("2006-01-02 15:04", step.at)
		if err != nil {
			t.Fatal(err)
		}
		report, err := publish.Run(t.Context(), publish.Options{Commit: commit, Publishable: d.repo.PublishableAt(t, commit, now), To: []publish.Destination{{URL: "memory", Store: store}}})
		if err != nil {
			t.Fatal(err)
		}
		if report.Changed != step.changed {
			t.Errorf("at %s something was written: %v, want %v: %+v", step.at, report.Changed, step.changed, report.Destinations[0].Written)
		}
	}
}

// TestAbsurdPeriods: a period is what somebody signed, and must not keep the page
// from being written.
func TestAbsurdPeriods(t *testing.T) {
	for _, days := range []int64{-1, -1 << 62, 1 << 62, 800_000, 146_001} {
		d := drawn{repo: publishtest.New(t), at: publishtest.Now}
		for _, in := range []metadata.Object{d.repo.Roles[metadata.Targets].Signed, of(d.repo, metadata.Timestamp)} {
			in[metadata.FieldExpiryPeriod], in[metadata.FieldSigningPeriod] = days, days
		}
		d.repo.Publish(metadata.Root)
		d.repo.Publish(metadata.Targets)
		for _, r := range statusOf(t, d.published(t)).Roles {
			if r.Issued != nil || !r.Resign.Equal(r.Expires) || r.ExpiryDay != 0 || r.SignDay != 0 || r.Signing {
				t.Errorf("%d days: %+v", days, r)
			}
		}
	}
}

// TestPolicy: the page allows its own style, as it is, and nothing else.
func TestPolicy(t *testing.T) {
	html, _ := pagesOf(t, team(t).published(t))
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(html)
	sum := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	got := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`).FindStringSubmatch(html)
	if len(got) != 2 || strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(got[1]) != want {
		t.Errorf("the policy is %q, want %s", got, want)
	}
	if strings.Index(html, "<meta http-equiv") > strings.Index(html, "<style>") {
		t.Error("the style stands before the policy that is to hold for it")
	}
}

// TestHostilePage: text of strangers stays text, and what cannot be seen is made
// visible.
func TestHostilePage(t *testing.T) {
	html, _ := pagesOf(t, hostile(t).published(t))
	for _, bad := range []string{"<script", "<img", "<svg onload", "</style><b>", "javascript:alert(1)\"", "\u202e", "\u2066", "href=\"javascript", "ZgotmplZ"} {
		if strings.Contains(html, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, good := range []string{`\u202egnp.exe`, "&lt;script&gt;alert(1)", `javascript:alert(1)`, "&lt;svg onload=alert(4)&gt;"} {
		if !strings.Contains(html, good) {
			t.Errorf("the page does not show %s", good)
		}
	}
}

// within makes the page of p and checks that it can be made in some time: the best
// of some tries counts, as the machine may be at something else.
func within(t *testing.T, p *repository.Published, limit time.Duration) (html string) {
	t.Helper()
	limit *= slower
	best := time.Hour
	for range 5 {
		start := time.Now()
		html, _ = pagesOf(t, p)
		if best = min(best, time.Since(start)); best <= limit {
			t.Logf("%d kB in %v", len(html)/1000, best)
			return html
		}
	}
	t.Errorf("the best of 5 tries took %v, want %v", best, limit)
	return html
}

// TestLargePage: a hundred delegated roles and ten thousand artifacts are folded,
// and written in less than a second of a machine that has nothing else to do. What
// is held against a busy one is that the time does not grow faster than the page.
func TestLargePage(t *testing.T) {
	html := within(t, large(t, 10_000).published(t), 5*time.Second)
	if n := strings.Count(html, `<li class="artifact">`); n != 10_001 {
		t.Errorf("it has %d artifacts", n)
	}
	if strings.Contains(html, `<details class="group" open>`) || !strings.Contains(html, `<details class="folded"><summary>100 roles delegated by targets`) {
		t.Error("it is not folded")
	}
}

// TestPageOfCorpus: the page of a real repository is small and quick, and knows
// who its people are.
func TestPageOfCorpus(t *testing.T) {
	p := corpus(t)
	if html := within(t, p, 50*time.Millisecond); len(html) > 200_000 {
		t.Errorf("it has %d bytes, want at most 200 kB", len(html))
	}
	s := statusOf(t, p)
	var changes []string
	for _, r := range s.Roots {
		for _, c := range r.Changes {
			changes = append(changes, fmt.Sprintf("%d: %s", r.Version, c.Text()))
		}
	}
	if got := s.Roots[13].SignedBy; len(s.Roots) != 14 || !slices.Equal(got, []string{"@jku", "@kommendorkapten"}) || s.Health.State != publish.HealthGood {
		t.Errorf("%d roots, the last signed by %q, %+v", len(s.Roots), got, s.Health)
	}
	if !slices.Contains(changes, "10: signing period of timestamp: 6 days, was 4") {
		t.Errorf("changes\n%s", strings.Join(changes, "\n"))
	}
}
