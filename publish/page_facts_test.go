package publish_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
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
	for _, days := range []int64{-1, -1 << 53, 1 << 53, 800_000, 146_001} {
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

// quickest makes the page of p some times, and says how long that takes a machine
// that has nothing else to do.
func quickest(t *testing.T, p *repository.Published) (html string, best time.Duration) {
	t.Helper()
	best = time.Hour
	for range 7 {
		start := time.Now()
		html, _ = pagesOf(t, p)
		best = min(best, time.Since(start))
	}
	t.Logf("%d artifacts: %d kB in %v", len(p.Artifacts()), len(html)/1000, best)
	return html, best
}

// TestLargePage: a page of many roles and artifacts is folded, and its size and
// the time that it takes grow with them and no faster. With TUFOPS_SOAK set they
// are a hundred roles and ten thousand artifacts, and only then are times asserted.
func TestLargePage(t *testing.T) {
	many, each := 20, 50
	if full() {
		many, each = 100, 100
	}
	small, quick := quickest(t, large(t, many/10, each).published(t))
	html, slow := quickest(t, large(t, many, each).published(t))
	if n := strings.Count(html, `<li class="artifact">`); n != many*each+1 {
		t.Errorf("it has %d artifacts, want %d", n, many*each+1)
	}
	if strings.Contains(html, `<details class="group" open>`) || !strings.Contains(html, fmt.Sprintf(`<details class="folded"><summary>%d roles delegated by targets`, many)) {
		t.Error("it is not folded")
	}
	if len(html) > 10*len(small) || len(html) > 500*(many*each+many) {
		t.Errorf("it has %d bytes, a tenth of it %d", len(html), len(small))
	}
	if full() && slow > 60*quick { // the square would be a hundred times
		t.Errorf("it takes %v, a tenth of it %v", slow, quick)
	}
}

// TestPageOfCorpus: the page of a real repository is small and quick, and knows
// who its people are.
func TestPageOfCorpus(t *testing.T) {
	p := corpus(t)
	html, took := quickest(t, p)
	if len(html) > 200_000 {
		t.Errorf("it has %d bytes, want at most 200 kB", len(html))
	}
	if full() && took > 50*time.Millisecond {
		t.Errorf("it took %v, want at most 50ms", took)
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

// instancesOf lists the instances of an artifact, one a line.
func instancesOf(t *testing.T, s publish.Status, path string) string {
	t.Helper()
	for _, a := range s.Artifacts {
		if a.Path != path {
			continue
		}
		if a.Sigstore == nil {
			return "nothing"
		}
		if a.Sigstore.Problem != "" {
			return a.Sigstore.Problem
		}
		var lines []string
		for _, i := range a.Sigstore.Instances {
			lines = append(lines, fmt.Sprintf("%s %s %s", i.Kind, i.URL, i.State))
		}
		return strings.Join(lines, "\n")
	}
	t.Fatalf("there is no artifact %s", path)
	return ""
}

// TestInstances: each file of trust material says what it holds as of the moment of
// the page, or why clients cannot read it; no other artifact says anything.
func TestInstances(t *testing.T) {
	d := team(t)
	for _, test := range []struct {
		at   drawn
		log  string
		want string
	}{
		{d, "https://log2027-1.ctfe.example.test", "upcoming"},
		{at(d, "2026-12-31 23:59", 9), "https://log2027-1.ctfe.example.test", "upcoming"},
		{at(d, "2027-01-01 00:00", 9), "https://log2027-1.ctfe.example.test", "active"},
		{at(d, "2026-12-31 00:00", 9), "https://ctfe.example.test/2025", "active"},
		{at(d, "2026-12-31 00:01", 9), "https://ctfe.example.test/2025", "ended"},
	} {
		if got := instancesOf(t, statusOf(t, test.at.published(t)), "trusted_root.json"); !strings.Contains(got+"\n", "ct-log "+test.log+" "+test.want+"\n") {
			t.Errorf("at %s the log %s should be %s:\n%s", test.at.at, test.log, test.want, got)
		}
	}
	s := statusOf(t, team(t).published(t))
	if got := instancesOf(t, s, "signing_config.v0.2.json"); strings.Count(got, "\n") != 4 || !strings.Contains(got, "tsa-service https://timestamp.example.test/api/v1/timestamp active") {
		t.Errorf("the signing configuration says\n%s", got)
	}
	if got := instancesOf(t, s, "ctfe.pub"); got != "nothing" {
		t.Errorf("a key file says %s", got)
	}
	s = statusOf(t, hostile(t).published(t))
	for path, want := range map[string]string{
		"x/trusted_root.json": "no client knows the field <script>", "x/trusted_root_large.json": "it has 1000001 bytes, which is no trust material",
		"x/trusted_root<script>.json": "certificate-authority https://fulcio.example.test ended",
	} {
		if got := instancesOf(t, s, path); !strings.Contains(got, want) {
			t.Errorf("%s says %s, want %s", path, got, want)
		}
	}
}

var drawnWindow = regexp.MustCompile(`<span class="title">([^<]*)</span>.*?<rect class="past" x="(\d+)" width="(\d+)".*?<rect class="future" x="(\d+)" width="(\d+)".*?<line class="today" x1="(\d+)"`)

// TestWindowsAreDrawn: a bar begins and ends where its window does on the scale of
// the file, which goes from the first start to half a year after the page; what is
// past of it ends at today's line.
func TestWindowsAreDrawn(t *testing.T) {
	html, _ := pagesOf(t, team(t).published(t))
	day := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	from, today := day("2025-02-01 00:00"), day("2026-11-22 09:30")
	whole := today.AddDate(0, 6, 0).Sub(from)
	place := func(at time.Time) int { return int(1000 * float64(at.Sub(from)) / float64(whole)) }
	now := place(today)
	want := map[string][2]int{
		"https://rekor.example.test":           {0, place(day("2026-03-31 00:00"))},
		"https://log2026-1.rekor.example.test": {place(day("2026-02-15 08:30")), 1000},
		"https://ctfe.example.test/2025":       {0, place(day("2026-12-31 00:00"))},
		"https://log2027-1.ctfe.example.test":  {place(day("2027-01-01 00:00")), 1000},
	}
	for _, m := range drawnWindow.FindAllStringSubmatch(html, -1) {
		w, ok := want[m[1]]
		if !ok {
			continue
		}
		delete(want, m[1])
		var n [5]int
		for i := range n {
			fmt.Sscan(m[i+2], &n[i])
		}
		past := max(0, min(now, w[1])-w[0])
		if got, want := n, [5]int{w[0], past, w[0] + past, w[1] - w[0] - past, now}; got != want {
			t.Errorf("%s: past from %d, %d wide, to come from %d, %d wide, today at %d; want %v", m[1], n[0], n[1], n[2], n[3], n[4], want)
		}
	}
	if len(want) > 0 {
		t.Errorf("not drawn: %v", want)
	}
}

// TestAttested: of each key of a person, and of no machine's, it is said whether
// an attestation of it holds; where nobody can tell, nothing is said.
func TestAttested(t *testing.T) {
	d := team(t)
	p := d.published(t)
	said := func(s publish.Status) map[string]string {
		all := map[string]string{}
		for _, r := range s.Roles {
			for _, one := range r.Signers {
				mark := one.Device()
				if before, ok := all[one.Name]; ok && before != mark {
					t.Errorf("%s is %q in one role and %q in %s", one.Name, before, mark, r.Role)
				}
				all[one.Name] = mark
			}
		}
		return all
	}
	for name, mark := range said(statusOf(t, p)) {
		if mark != "" {
			t.Errorf("nobody can tell, but %s is %q", name, mark)
		}
	}
	asked := map[string]int{}
	tree := treeOf(t, p, func(ctx context.Context, s *repository.State, k *metadata.Key) (string, error) {
		asked[k.Holder()]++
		if s.Commit() != p.Commit() {
			t.Errorf("the attestation of %s is looked for in commit %s", k.Holder(), s.Commit())
		}
		return d.attested(ctx, s, k)
	})
	_, text := pagesIn(t, tree)
	var s publish.Status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	for name, mark := range said(s) {
		want, questions := "not attested", 1
		switch {
		case !strings.HasPrefix(name, "@"): // a machine's
			want, questions = "", 0
		case slices.Contains([]string{"@ada", "@grace", "@mary"}, name):
			want = "attested"
		}
		if mark != want || asked[name] != questions {
			t.Errorf("%s is %q after %d questions, want %q after %d", name, mark, asked[name], want, questions)
		}
	}
	broken := errors.New("disk on fire")
	if _, err := publish.NewTree(t.Context(), p, func(context.Context, *repository.State, *metadata.Key) (string, error) { return "", broken }); !errors.Is(err, broken) {
		t.Errorf("an attestation cannot be read: %v", err)
	}
}

// TestStatusDocument: status.json holds what index.html shows but for the
// timestamp, of which it holds what no renewal changes.
func TestStatusDocument(t *testing.T) {
	for name, draw := range map[string]func(testing.TB) drawn{"team": team, "expired": expiredTimestamp, "unrest": unrest, "single": single, "hostile": hostile} {
		tree := draw(t).tree(t)
		facts := tree.Facts()
		var got publish.Status
		decoder := json.NewDecoder(strings.NewReader(pageIn(t, tree, "status.json")))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for _, r := range facts.Roles {
			if r.Role != metadata.Timestamp {
				continue
			}
			want := publish.TimestampStatus{File: "timestamp.json", Threshold: r.Threshold, ExpiryDay: r.ExpiryDay, SignDay: r.SignDay}
			for _, s := range r.Signers {
				want.Signers = append(want.Signers, s.Name)
			}
			if got.Timestamp == nil || !reflect.DeepEqual(*got.Timestamp, want) {
				t.Errorf("%s: of the timestamp it says %+v, want %+v", name, got.Timestamp, want)
			}
		}
		for _, r := range got.Roles {
			if slices.Contains(metadata.TopLevel, r.Role) && (r.Expires.Before(got.Health.Until) || r.Role == got.Health.Role && !r.Expires.Equal(got.Health.Until)) {
				t.Errorf("%s: clients are served until %v by %s, and %s expires on %v", name, got.Health.Until, got.Health.Role, r.Role, r.Expires)
			}
		}
		facts.Roles = slices.DeleteFunc(facts.Roles, func(r publish.RoleStatus) bool { return r.Role == metadata.Timestamp })
		facts.Health.Until, facts.Health.Role, got.Timestamp = got.Health.Until, got.Health.Role, nil
		one, _ := json.Marshal(facts)
		two, _ := json.Marshal(got)
		if string(one) != string(two) {
			t.Errorf("%s: status.json says\n%s\nthe page shows\n%s", name, two, one)
		}
	}
}

// TestRenewalWrites: a renewal of the timestamp is two writes, however often it is
// renewed: status.json stays as it is, and says what it says of any commit. What
// somebody else made of it is replaced.
func TestRenewalWrites(t *testing.T) {
	r := publishtest.New(t)
	store := &storetest.Memory{}
	first := r.Commit(t, "first")
	mustRun(t, r, first, store)
	const status, index = "metadata/status.json", "metadata/index.html"
	was := store.Content()[status]
	var last git.OID
	for range 3 {
		r.Publish(metadata.Timestamp)
		last = r.Commit(t, "timestamp")
		before := store.Writes()
		report := mustRun(t, r, last, store)
		if n := store.Writes() - before; n != 2 || written(report) != "timestamp.json index.html" {
			t.Errorf("%d writes, %s", n, written(report))
		}
		if store.Content()[status] != was {
			t.Error("status.json has changed")
		}
		if page := store.Content()[index]; !strings.Contains(page, string(last)) || !strings.Contains(page, fmt.Sprintf(`version <span class="version">%d<`, r.Roles[metadata.Timestamp].Version())) {
			t.Error("the page for people is not of this commit and timestamp")
		}
		if again := mustRun(t, r, last, store); again.Changed {
			t.Errorf("a second run writes %s", written(again))
		}
	}

	// It is that of an earlier commit, and of no other.
	r.Git.Run("checkout", "-q", "--orphan", "elsewhere", string(first))
	r.Git.Run("commit", "-q", "-m", "elsewhere")
	elsewhere := r.Git.Run("rev-parse", "HEAD")
	unknown := strings.Repeat("a", 40)
	for name, commit := range map[string]string{"not ours": elsewhere, "no commit": "HEAD", "none": ""} {
		store.Set(status, strings.Replace(was, string(first), commit, 1))
		if got := written(mustRun(t, r, last, store)); got != "status.json" {
			t.Errorf("%s: written %q, want status.json", name, got)
		}
	}
	// One that is not known may be a later one, until the timestamp says otherwise.
	store.Set(status, strings.Replace(was, string(first), unknown, 1))
	if report := mustRun(t, r, last, store); report.Changed || codes(report) != publish.NotePageLeft {
		t.Errorf("unknown: written %q, notes %v", written(report), report.Notes)
	}
	r.Git.Run("checkout", "-q", string(last))
	r.Publish(metadata.Timestamp)
	last = r.Commit(t, "timestamp")
	if got := written(mustRun(t, r, last, store)); got != "timestamp.json index.html status.json" {
		t.Errorf("unknown, with a new timestamp: written %q", got)
	}
	store.Set(index, strings.ReplaceAll(store.Content()[index], string(last), string(first)))
	if got := written(mustRun(t, r, last, store)); got != "index.html" {
		t.Errorf("the page of an earlier commit: written %q, want index.html", got)
	}

	// All else changes both.
	r.Git.Run("checkout", "-q", string(last))
	for _, change := range []func(){
		func() { r.Publish(metadata.Snapshot, metadata.Timestamp) },
		func() { r.RotateKey(metadata.Root, "root2", true) },
		func() { of(r, metadata.Timestamp)[metadata.FieldExpiryPeriod] = int64(9); r.Publish(metadata.Root) },
	} {
		change()
		if got := written(mustRun(t, r, r.Commit(t, "change"), store)); !strings.HasSuffix(got, "index.html status.json") {
			t.Errorf("written %q, want both pages at the end", got)
		}
	}
}
