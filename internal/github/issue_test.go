package github

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gh "github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/signingevent"
)

const (
	fails    = false
	succeeds = true
)

// run tells of one run of a workflow, and returns what was done: "open 1".
func (w *world) run(workflow string, success bool, id int64, attempt int) string {
	w.t.Helper()
	report, err := w.UpdateIssue(w.t.Context(), Failure{Workflow: workflow, Success: success, Template: "Ask @maintainers.\n", RunID: id, Attempt: attempt})
	if err != nil {
		w.t.Fatal(err)
	}
	return steps(report)
}

func steps(report IssueReport) string {
	var done []string
	for _, s := range report.Steps {
		done = append(done, fmt.Sprintf("%s %d", s.Do, s.Issue))
	}
	return strings.Join(done, ", ")
}

// openIssues are those that are open, as number: title.
func (w *world) openIssues() string {
	var open []string
	for _, i := range w.Issues() {
		if i.State == "open" {
			open = append(open, fmt.Sprintf("%d: %s", i.Number, i.Title))
		}
	}
	return strings.Join(open, "; ")
}

// TestIssueOfAWorkflow is the life of such an issue, word for word.
func TestIssueOfAWorkflow(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	type step struct {
		success bool
		run     int64
		attempt int
		did     string
	}
	for _, s := range []step{
		{succeeds, 10, 1, ""},
		{fails, 11, 1, "open 0"},
		{fails, 11, 1, ""}, // the same run once more
		{fails, 11, 2, "comment 1"},
		{fails, 12, 1, "edit 1"},
		{fails, 12, 1, ""},
		{fails, 11, 2, ""}, // told of before
	} {
		if did := w.run("publish", s.success, s.run, s.attempt); did != s.did {
			t.Errorf("%+v: did %q", s, did)
		}
	}
	issue := w.Issues()[0]
	want := githubtest.Issue{Number: 1, Title: "Failure in publish", Author: githubtest.ActionsLogin, State: "open", Labels: []string{"publish"},
		Body: "### Workflow run failed for publish.\nFailed run: https://github.example/octo/tuf/actions/runs/11\n\nAsk @maintainers.\n<!-- tufops failures=1 runs=11/1 -->"}
	comments := issue.Comments
	issue.Comments = nil
	if !reflect.DeepEqual(issue, want) {
		t.Errorf("issue %+v\nwant %+v", issue, want)
	}
	since := must(w.issue(t, 1))(t).GetCreatedAt().UTC().Format("2006-01-02T15:04:05Z")
	if want := "### Workflow run failed for publish.\nFailed run: https://github.example/octo/tuf/actions/runs/12\n\nFailed 3 times in a row since " + since +
		".\n<!-- tufops failures=3 runs=11/1,11/2,12/1 -->"; len(comments) != 1 || comments[0].Body != want {
		t.Errorf("comments %+v\nwant %s", comments, want)
	}
	for _, s := range []step{
		{succeeds, 13, 1, "close 1"},
		{succeeds, 13, 1, ""},
		{succeeds, 14, 1, ""},
		{fails, 15, 1, "open 0"},
	} {
		if did := w.run("publish", s.success, s.run, s.attempt); did != s.did {
			t.Errorf("%+v: did %q", s, did)
		}
	}
	if want := "### Workflow run succeeded for publish.\nSuccessful run: https://github.example/octo/tuf/actions/runs/13\n\nClosing issue based on this success.\n<!-- tufops failures=0 runs=13/1 -->"; w.Server.Comments(1)[1].Body != want {
		t.Errorf("comments %+v", w.Server.Comments(1))
	}
	if got := w.openIssues(); got != "2: Failure in publish" {
		t.Errorf("open: %s", got)
	}
}

func (w *world) issue(t *testing.T, number int) (*gh.Issue, error) {
	i, _, err := w.client.Issues.Get(t.Context(), w.owner, w.Forge.name, number)
	return i, err
}

// TestHundredFailures make one issue and one comment.
func TestHundredFailures(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	for n := range 100 {
		w.run("publish", fails, int64(n+1), 1)
	}
	issues := w.Issues()
	if len(issues) != 1 || len(issues[0].Comments) != 1 {
		t.Fatalf("%d issues, the first with %d comments", len(issues), len(issues[0].Comments))
	}
	if body := issues[0].Comments[0].Body; !strings.Contains(body, "Failed 100 times in a row") || !strings.Contains(body, "/runs/100\n") || len(body) > 1000 {
		t.Errorf("comment %s", body)
	}
}

// TestWhoseIssue: which issues are taken for those of a workflow.
func TestWhoseIssue(t *testing.T) {
	long := strings.Repeat("long name ", 8)
	for _, test := range []struct {
		name, workflow string
		title, body    string
		labels         []string
		pull, closed   bool
		taken          bool
	}{
		{"as tuf-on-ci opens it", "publish", "Failure in publish", "### Workflow run failed for publish.\nFailed run: https://github.example/x\n\n", []string{"publish"}, false, false, true},
		{"with another title", "publish", "Publishing is broken, see the KMS", "### Workflow run failed for publish.\nFailed run: x", []string{"publish", "urgent"}, false, false, true},
		{"with another text", "publish", "Failure in publish", "see the KMS", []string{"publish"}, false, false, true},
		{"a label in other letters", "publish", "Failure in publish", "", []string{"Publish"}, false, false, true},
		{"a comma in the name", "build, publish", "Failure in build, publish", "", []string{"build, publish"}, false, false, true},
		{"markup in the name", "build *all*", "Failure in build *all*", "### Workflow run failed for build *all*.\nx", []string{"build *all*"}, false, false, true},
		{"somebody's, with the label", "publish", "Write a page on how to publish", "please", []string{"publish"}, false, false, false},
		{"a stranger's, without the label", "publish", "Failure in publish", "### Workflow run failed for publish.\nx", nil, false, false, false},
		{"of another workflow", "publish", "Failure in publish-all", "### Workflow run failed for publish-all.\n", []string{"publish-all"}, false, false, false},
		{"a pull request", "publish", "Failure in publish", "", []string{"publish"}, true, false, false},
		{"closed", "publish", "Failure in publish", "", []string{"publish"}, false, true, false},
		{"two labels for a comma", "build,publish", "Failure in build,publish", "", []string{"build", "publish"}, false, false, false},
		{"a long name", long, "Failure in " + long, "", []string{label(long)}, false, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := emptyWorld(t, githubtest.Options{})
			if test.pull {
				w = newWorld(t, githubtest.Options{})
				w.Label(w.Server.OpenPull("alice", "sign/x", "main", test.title, test.body, false), test.labels...)
			} else {
				made, _, err := w.client.Issues.Create(t.Context(), "octo", "tuf", &gh.IssueRequest{Title: &test.title, Body: &test.body})
				if err != nil {
					t.Fatal(err)
				}
				w.Label(made.GetNumber(), test.labels...)
			}
			if test.closed {
				w.ClosePull(1, "alice")
			}
			want := "open 0"
			if test.taken {
				want = "comment 1"
			}
			if did := w.run(test.workflow, fails, 1, 1); did != want {
				t.Errorf("did %q, want %q", did, want)
			}
			if !test.taken && len(w.Server.Comments(1)) != 0 {
				t.Errorf("comments %+v", w.Server.Comments(1))
			}
			// What was opened is found again, whatever the name.
			want = "close 2"
			if test.taken {
				want = "close 1"
			}
			if did := w.run(test.workflow, succeeds, 2, 1); did != want {
				t.Errorf("did %q, want %q", did, want)
			}
		})
	}
}

func TestLabel(t *testing.T) {
	for _, test := range []struct{ workflow, want, digest string }{
		{"publish", "publish", ""},
		{"Publish (all) / x", "Publish (all) / x", ""},
		{strings.Repeat("ä", 50), strings.Repeat("ä", 50), ""},
		{strings.Repeat("ä", 51), strings.Repeat("ä", 41), "-[0-9a-f]{8}"},
		{strings.Repeat("ä", 40) + " bcdefghijkl", strings.Repeat("ä", 40), "-[0-9a-f]{8}"},
		{"build, publish", "build publish", "-[0-9a-f]{8}"},
		{",", "", "-[0-9a-f]{8}"},
	} {
		got := label(test.workflow)
		if !regexp.MustCompile("^" + regexp.QuoteMeta(test.want) + test.digest + "$").MatchString(got) {
			t.Errorf("label of %q is %q, want %q%s", test.workflow, got, test.want, test.digest)
		}
		if n := utf8.RuneCountInString(got); n > 50 {
			t.Errorf("label of %q has %d characters", test.workflow, n)
		}
	}
	if label("a,b") == label("a b") || label("a,b") == label("a, b") {
		t.Error("two workflows have one label")
	}
}

// TestTwoIssues: two runs that fail at the same time open two issues, and the
// next run, however it ends, makes one of them.
func TestTwoIssues(t *testing.T) {
	for _, success := range []bool{fails, succeeds} {
		w := emptyWorld(t, githubtest.Options{})
		runs := map[string]func(githubtest.Endpoint){}
		for n, name := range []string{"a", "b"} {
			runs[name] = func(at githubtest.Endpoint) {
				if _, err := w.open(at, w.token).UpdateIssue(t.Context(), Failure{Workflow: "publish", RunID: int64(n + 1), Attempt: 1}); err != nil {
					t.Error(err)
				}
			}
		}
		w.Interleave(githubtest.Order("a", "b", "a", "b"), runs) // both look before either opens
		if got := w.openIssues(); got != "1: Failure in publish; 2: Failure in publish" {
			t.Fatalf("open: %s", got)
		}
		want, open := "close-duplicate 2, comment 1", "1: Failure in publish"
		if success {
			want, open = "close-duplicate 2, close 1", ""
		}
		if did := w.run("publish", success, 3, 1); did != want || w.openIssues() != open {
			t.Errorf("did %q, want %q; open: %s", did, want, w.openIssues())
		}
		if got := bodies(w.Server.Comments(2)); got != "Duplicate of #1\n" {
			t.Errorf("the duplicate says %q", got)
		}
	}
}

// TestForgedMarks: what others write does not have a run pass for told of, nor
// count.
func TestForgedMarks(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	w.run("publish", fails, 1, 1)
	w.Comment(1, "mallory", "### Workflow run failed for publish.\nx\n<!-- tufops failures=900 runs=2/1 -->")
	w.Comment(1, "mallory", "### Workflow run succeeded for publish.\nx\n<!-- tufops failures=0 runs=3/1 -->")
	if did := w.run("publish", fails, 2, 1); did != "comment 1" || !strings.Contains(w.Server.Comments(1)[2].Body, "Failed 2 times") {
		t.Errorf("did %q: %+v", did, w.Server.Comments(1))
	}
	if did := w.run("publish", succeeds, 3, 1); did != "close 1" || len(w.Server.Comments(1)) != 4 {
		t.Errorf("did %q: %+v", did, w.Server.Comments(1))
	}
	// An issue that somebody else has opened for the workflow says nothing
	// about runs either.
	w = emptyWorld(t, githubtest.Options{})
	f := w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Login: "mallory", Permissions: githubtest.All()}))
	if _, err := f.UpdateIssue(t.Context(), Failure{Workflow: "publish", RunID: 1, Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if did := w.run("publish", fails, 1, 1); did != "comment 1" {
		t.Errorf("did %q", did)
	}
}

// TestMarkdownInAName: a name is shown as it is, and mentions nobody.
func TestMarkdownInAName(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	name := "x @octo/all <!-- [y](z)"
	w.run(name, fails, 1, 1)
	w.run(name, fails, 2, 1)
	w.run(name, succeeds, 3, 1)
	for _, text := range []string{w.Issues()[0].Body, bodies(w.Server.Comments(1))} {
		text = strings.ReplaceAll(text, "Ask @maintainers", "")
		if strings.Contains(text, "@octo") || strings.Contains(text, "[y]") || strings.Contains(text, "<!-- [") {
			t.Errorf("%s", text)
		}
	}
	if w.openIssues() != "" || len(w.Server.Comments(1)) != 2 {
		t.Errorf("open %s, comments %+v", w.openIssues(), w.Server.Comments(1))
	}
}

// TestIssueDryRun: a dry run reports the same, and writes nothing.
func TestIssueDryRun(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	dry := func(success bool, id int64) string {
		before := string(w.Dump())
		report, err := w.UpdateIssue(t.Context(), Failure{Workflow: "publish", Success: success, RunID: id, Attempt: 1, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		after := string(w.Dump())
		if i, j := strings.Index(before, `"requests"`), strings.Index(after, `"requests"`); before[:i] != after[:j] {
			t.Errorf("it has written: %s", after[:j])
		}
		return steps(report)
	}
	for n, success := range []bool{fails, fails, fails, succeeds, succeeds} {
		would := dry(success, int64(n+1))
		if did := w.run("publish", success, int64(n+1), 1); did != would {
			t.Errorf("did %q, and would have done %q", did, would)
		}
	}
}

// TestIssuePermission: the sentence that a maintainer reads.
func TestIssuePermission(t *testing.T) {
	w := emptyWorld(t, githubtest.Options{})
	f := w.open(w.Endpoint(""), w.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.All().Without("issues", "pull_requests")}))
	_, err := f.UpdateIssue(t.Context(), Failure{Workflow: "publish", RunID: 1, Attempt: 1})
	var permission *signingevent.PermissionError
	if !errors.As(err, &permission) || err.Error() != `the token may not open an issue for workflow "publish" (it needs issues: write): GitHub answered 403 Forbidden: Resource not accessible by integration` ||
		hintOf(err) != "give the workflow job, or the token, the permission issues: write" {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
}

// TestIssueStopped breaks every request of every kind of run, before and after it
// is carried out, for good; the same run once more, unharmed, leaves what an
// unharmed run leaves.
func TestIssueStopped(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"open":    func(*world) {},
		"comment": func(w *world) { w.run("publish", fails, 1, 1) },
		"edit":    func(w *world) { w.run("publish", fails, 1, 1); w.run("publish", fails, 2, 1) },
		"duplicate": func(w *world) {
			w.run("publish", fails, 1, 1)
			w.Label(1)
			w.run("publish", fails, 2, 1)
			w.Label(1, "publish")
		},
	} {
		for _, success := range []bool{fails, succeeds} {
			t.Run(fmt.Sprintf("%s success %v", name, success), func(t *testing.T) {
				// state is what people see: no ids, no times.
				state := func(w *world) string {
					var all []string
					for _, i := range w.Issues() {
						all = append(all, fmt.Sprint(i.Number, i.State, i.Labels, i.Title, withoutTime(i.Body), withoutTime(bodies(i.Comments))))
					}
					return strings.Join(all, "\n")
				}
				clean := emptyWorld(t, githubtest.Options{})
				prepare(clean)
				first := len(clean.Requests())
				clean.run("publish", success, 9, 1)
				want, requests := state(clean), len(clean.Requests())-first
				for n := 1; n <= requests; n++ {
					for _, done := range []bool{false, true} {
						w := emptyWorld(t, githubtest.Options{})
						prepare(w)
						from := len(w.Requests()) + n
						w.Inject(githubtest.Fault{Drop: true, Done: done, On: func(r *githubtest.Request) bool { return r.Index >= from }, Times: 1})
						w.Inject(githubtest.Fault{Drop: true, On: func(r *githubtest.Request) bool { return r.Index > from }})
						_, err := w.UpdateIssue(t.Context(), Failure{Workflow: "publish", Success: success, Template: "Ask @maintainers.\n", RunID: 9, Attempt: 1})
						if err == nil {
							t.Errorf("request %d, done %v: no error", n, done)
						}
						w.Heal()
						w.run("publish", success, 9, 1)
						if got := state(w); got != want {
							t.Errorf("request %d, done %v: leaves\n%s\nwant\n%s", n, done, got, want)
						}
					}
				}
			})
		}
	}
}

func withoutTime(s string) string {
	before, after, found := strings.Cut(s, " since ")
	if !found {
		return s
	}
	_, after, _ = strings.Cut(after, "\n")
	return before + "\n" + withoutTime(after)
}

// TestUnlabelled: GitHub leaves labels out, without a word, for a token that
// may not set them. The issue gets its label, or that is said: without one it
// would not be found again.
func TestUnlabelled(t *testing.T) {
	f, h := open(t, func(n int, _ *http.Request, _ string) (*http.Response, error) {
		if n == 1 {
			return reply(200, `[]`)
		}
		return reply(201, `{"number":7,"html_url":"u","labels":[]}`)
	})
	report, err := f.UpdateIssue(t.Context(), Failure{Workflow: "publish", RunID: 1, Attempt: 1})
	if err == nil || !strings.Contains(err.Error(), `add the label "publish" to #7`) || report.Issue != 7 {
		t.Errorf("%+v, %v", report, err)
	}
	if last := h.asked[len(h.asked)-1]; last.method != "POST" || !strings.HasSuffix(last.url, "/issues/7/labels") || last.body != `["publish"]`+"\n" {
		t.Errorf("asked %+v", last)
	}
}

func TestNoRun(t *testing.T) {
	f, h := open(t, always(200, `[]`))
	for _, what := range []Failure{{}, {Workflow: "x"}, {Workflow: "x", RunID: 1}, {Workflow: " ", RunID: 1, Attempt: 1}, {Workflow: "x", RunID: -1, Attempt: 1}} {
		if _, err := f.UpdateIssue(t.Context(), what); err == nil || len(h.asked) != 0 {
			t.Errorf("%+v: %v", what, err)
		}
	}
}

func TestMark(t *testing.T) {
	var m mark
	for n := range 50 {
		m.runs = append(m.runs, fmt.Sprintf("%d/1", n))
	}
	m.failures = 50
	got := parseMark("text <!-- tufops failures=1 runs=9/9 -->\n" + m.String())
	if got.failures != 50 || len(got.runs) != maxRuns || !slices.Contains(got.runs, "49/1") {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"", "<!-- tufops failures=x runs=1/1 -->", "<!-- tufops failures=99999999999999999999 runs=1/1 -->", "tufops failures=1 runs=1/1"} {
		if got := parseMark(text); got.failures != 0 || got.runs != nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestIssueTemplate(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		file := filepath.Join(dir, ".github", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const ours, theirs = "TUFOPS_TEMPLATE/failure.md", "TUF_ON_CI_TEMPLATE/failure.md"
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    string
		err     string
	}{
		{"none", func(*testing.T, string) {}, "", ""},
		{"tuf-on-ci's", func(t *testing.T, dir string) { write(t, dir, theirs, "theirs\n") }, "theirs\n", ""},
		{"both", func(t *testing.T, dir string) { write(t, dir, theirs, "theirs\n"); write(t, dir, ours, "ours\n") }, "ours\n", ""},
		{"an empty one", func(t *testing.T, dir string) { write(t, dir, theirs, "theirs\n"); write(t, dir, ours, "") }, "", ""},
		{"the largest", func(t *testing.T, dir string) { write(t, dir, ours, strings.Repeat("x", maxTemplate)) }, strings.Repeat("x", maxTemplate), ""},
		{"too large", func(t *testing.T, dir string) { write(t, dir, ours, strings.Repeat("x", maxTemplate+1)) }, "", "read the template .github/TUFOPS_TEMPLATE/failure.md: it is larger than 32768 bytes"},
		{"no text", func(t *testing.T, dir string) { write(t, dir, ours, "\xff") }, "", "read the template .github/TUFOPS_TEMPLATE/failure.md: it is not UTF-8"},
		{"a folder", func(t *testing.T, dir string) { write(t, dir, ours+"/x", "x") }, "", "it is not a regular file"},
		{"a link", func(t *testing.T, dir string) {
			write(t, dir, "TUFOPS_TEMPLATE/x", "x")
			if err := os.Symlink("x", filepath.Join(dir, ".github", ours)); err != nil {
				t.Fatal(err)
			}
		}, "", "it is not a regular file"},
		{"a folder that leads out", func(t *testing.T, dir string) {
			out := t.TempDir()
			write(t, out, ours, "secret")
			if err := os.Symlink(filepath.Join(out, ".github"), filepath.Join(dir, ".github")); err != nil {
				t.Fatal(err)
			}
		}, "", "read the template .github/TUFOPS_TEMPLATE/failure.md: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.prepare(t, dir)
			got, err := IssueTemplate(dir)
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%.40q, %v; want %.40q, %q", got, err, test.want, test.err)
			}
		})
	}
	if _, err := IssueTemplate(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a checkout that is not there")
	}
}
