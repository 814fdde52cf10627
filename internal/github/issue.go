package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	gh "github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/escape"
)

// What GitHub allows in a label and in a title.
const (
	maxLabel = 50
	maxTitle = 256
)

// maxTemplate leaves most of an issue's 65536 characters to what else is in it.
const maxTemplate = 32 << 10

// maxRuns is how many runs a comment remembers, so that none counts twice.
const maxRuns = 20

// Failure is what [Forge.UpdateIssue] has to tell of one run of a workflow.
type Failure struct {
	Workflow string // its name
	Success  bool   // this run has not failed
	Template string // Markdown, below the first words of a new issue; trusted
	RunID    int64
	Attempt  int // of the run; 1 for the first
	DryRun   bool
}

// IssueReport says what [Forge.UpdateIssue] did, or, in a dry run, would do.
type IssueReport struct {
	Issue int // the one that tells of the failure; 0 for none, or if it is yet to be opened
	URL   string
	Steps []IssueStep // none: nothing was to be done
}

// IssueStep is one thing done to an issue.
type IssueStep struct {
	Do    string `json:"do"` // open, comment, edit, close or close-duplicate
	Issue int    `json:"issue"`
}

// UpdateIssue keeps one issue open for as long as a workflow fails. The first
// failure opens it, the second comments on it, each one after that edits the
// comment, and success closes it. A run that was told of is not told of again.
//
// The issue carries the workflow's name as its label, and says so in its title
// or in its first line, as those of tuf-on-ci do; an issue that people have given
// the label is left alone. Where there are two, opened by runs at the same time,
// the newer one is closed as a duplicate.
//
// The report tells what was done, also if the rest failed.
func (f *Forge) UpdateIssue(ctx context.Context, what Failure) (IssueReport, error) {
	var report IssueReport
	if strings.TrimSpace(what.Workflow) == "" || what.RunID <= 0 || what.Attempt <= 0 {
		return report, fmt.Errorf("update the issue of workflow %q: run %d/%d is not a run of a workflow", what.Workflow, what.RunID, what.Attempt)
	}
	u := issueUpdate{Forge: f, Failure: what, report: &report}
	open, err := u.find(ctx)
	if err != nil {
		return report, err
	}
	if len(open) == 0 {
		if what.Success {
			return report, nil
		}
		return report, u.open(ctx)
	}
	report.Issue, report.URL = open[0].GetNumber(), open[0].GetHTMLURL()
	for _, duplicate := range open[1:] {
		if err := u.closeDuplicate(ctx, duplicate, open[0].GetNumber()); err != nil {
			return report, err
		}
	}
	if what.Success {
		return report, u.close(ctx, open[0])
	}
	return report, u.again(ctx, open[0])
}

type issueUpdate struct {
	*Forge
	Failure
	report *IssueReport
}

// step does something to an issue, unless this is a dry run, and reports it.
func (u issueUpdate) step(what string, number int, do func() error) error {
	if !u.DryRun {
		if err := do(); err != nil {
			return err
		}
	}
	u.report.Steps = append(u.report.Steps, IssueStep{what, number})
	return nil
}

// find lists the open issues of the workflow, oldest first.
func (u issueUpdate) find(ctx context.Context) ([]*gh.Issue, error) {
	labels := []string{label(u.Workflow)}
	list, err := u.issues(ctx, labels, maxPages)
	if err == nil && strings.Contains(u.Workflow, ",") && utf8.RuneCountInString(u.Workflow) <= maxLabel {
		// tuf-on-ci would have given the label as it is, by which nobody can ask:
		// in a question a comma stands between two labels.
		labels = append(labels, u.Workflow)
		var more []*gh.Issue
		more, err = u.issues(ctx, nil, 10)
		list = append(list, more...)
	}
	if err != nil {
		return nil, u.failed(fmt.Sprintf("look for the issue of workflow %q", u.Workflow), writeIssues, err)
	}
	list = slices.DeleteFunc(list, func(i *gh.Issue) bool {
		return i.GetNumber() <= 0 || i.GetState() != "open" || i.GetPullRequestLinks() != nil || !labelled(i, labels) || !u.tellsOfIt(i)
	})
	slices.SortStableFunc(list, func(a, b *gh.Issue) int { return cmp.Compare(a.GetNumber(), b.GetNumber()) })
	return slices.CompactFunc(list, func(a, b *gh.Issue) bool { return a.GetNumber() == b.GetNumber() }), nil
}

// issues lists open issues and pull requests, newest first: those that have
// all the labels, on so many pages.
func (u issueUpdate) issues(ctx context.Context, labels []string, limit int) ([]*gh.Issue, error) {
	list, err := pages(limit, func(o gh.ListOptions) ([]*gh.Issue, *gh.Response, error) {
		return u.client.Issues.ListByRepo(ctx, u.owner, u.name, &gh.IssueListByRepoOptions{State: "open", Labels: labels, ListOptions: o})
	})
	if labels == nil && errors.Is(err, errTooMany) {
		err = nil // what is older than all of them was not opened for a run of late
	}
	return list, err
}

func labelled(i *gh.Issue, these []string) bool {
	return slices.ContainsFunc(i.Labels, func(l *gh.Label) bool {
		return slices.ContainsFunc(these, func(s string) bool { return strings.EqualFold(l.GetName(), s) })
	})
}

// tellsOfIt reports whether an issue was opened for the workflow. People may
// change the title.
func (u issueUpdate) tellsOfIt(i *gh.Issue) bool {
	return i.GetTitle() == u.title() || u.headed(i.GetBody(), "failed")
}

func (u issueUpdate) title() string {
	return cut("Failure in "+escape.Terminal(u.Workflow), maxTitle)
}

// heading is the first line of what is written: "### Workflow run failed for
// publish.", in words of tuf-on-ci.
func (u issueUpdate) heading(outcome string) string {
	return "### Workflow run " + outcome + " for " + escape.Markdown(u.Workflow) + "."
}

func (u issueUpdate) headed(body, outcome string) bool {
	first, _, _ := strings.Cut(body, "\n")
	first = strings.TrimSpace(first)
	return first == u.heading(outcome) || first == "### Workflow run "+outcome+" for "+u.Workflow+"." // not escaped
}

// label is the workflow's name, in a form that can be a label and be asked for.
func label(workflow string) string {
	if utf8.RuneCountInString(workflow) <= maxLabel && !strings.Contains(workflow, ",") {
		return workflow
	}
	digest := sha256.Sum256([]byte(workflow))
	suffix := "-" + hex.EncodeToString(digest[:4])
	name := []rune(strings.Join(strings.FieldsFunc(workflow, func(r rune) bool { return r == ',' || r == ' ' }), " "))
	return strings.TrimSpace(string(name[:min(len(name), maxLabel-len(suffix))])) + suffix
}

// open opens the issue. A label that does not exist is made by GitHub, and left
// out, without a word, for a token that may not label.
func (u issueUpdate) open(ctx context.Context) error {
	title, labels := u.title(), []string{label(u.Workflow)}
	body := u.heading("failed") + "\nFailed run: " + u.runURL() + "\n\n" + u.Template
	if !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	body += mark{failures: 1, runs: []string{u.run()}}.String()
	return u.step("open", 0, func() error {
		made, _, err := u.client.Issues.Create(ctx, u.owner, u.name, &gh.IssueRequest{Title: &title, Body: &body, Labels: &labels})
		if err != nil {
			return u.failed(fmt.Sprintf("open an issue for workflow %q", u.Workflow), writeIssues, err)
		}
		u.report.Issue, u.report.URL = made.GetNumber(), made.GetHTMLURL()
		if labelled(made, labels) {
			return nil
		}
		return u.addLabel(ctx, made.GetNumber(), labels[0], writeIssues)
	})
}

// again tells of a failure that is not the first.
func (u issueUpdate) again(ctx context.Context, issue *gh.Issue) error {
	self, comments, err := u.said(ctx, issue)
	if err != nil {
		return err
	}
	count, known := 1, mark{} // the issue is the first failure
	if issue.GetUser().GetLogin() == self {
		known = parseMark(issue.GetBody())
	}
	var newest *gh.IssueComment
	for _, c := range comments {
		if u.headed(c.GetBody(), "failed") {
			newest = c
			count++
			m := parseMark(c.GetBody())
			count = max(count, m.failures)
			known.add(m.runs...)
		}
	}
	if slices.Contains(known.runs, u.run()) {
		return nil
	}
	count++
	known.failures = count
	known.add(u.run())
	body := fmt.Sprintf("%s\nFailed run: %s\n\nFailed %d times in a row since %s.\n%s",
		u.heading("failed"), u.runURL(), count, issue.GetCreatedAt().UTC().Format(time.RFC3339), known)
	if newest == nil {
		return u.step("comment", issue.GetNumber(), func() error {
			_, err := u.comment(ctx, issue.GetNumber(), body, writeIssues)
			return err
		})
	}
	return u.step("edit", issue.GetNumber(), func() error { return u.edit(ctx, newest.GetID(), body, writeIssues) })
}

// close says that the workflow succeeds again, once, and closes the issue.
func (u issueUpdate) close(ctx context.Context, issue *gh.Issue) error {
	body := u.heading("succeeded") + "\nSuccessful run: " + u.runURL() + "\n\nClosing issue based on this success.\n" +
		mark{runs: []string{u.run()}}.String()
	said := func(c *gh.IssueComment) bool {
		return u.headed(c.GetBody(), "succeeded") && slices.Contains(parseMark(c.GetBody()).runs, u.run())
	}
	return u.closeSaying(ctx, issue, "close", "completed", body, said)
}

func (u issueUpdate) closeDuplicate(ctx context.Context, issue *gh.Issue, of int) error {
	body := fmt.Sprintf("Duplicate of #%d\n", of) // GitHub links the two
	said := func(c *gh.IssueComment) bool { return strings.TrimSpace(c.GetBody()) == strings.TrimSpace(body) }
	return u.closeSaying(ctx, issue, "close-duplicate", "not_planned", body, said)
}

// closeSaying comments, unless that was said before the last run was stopped,
// and then closes: the comment last would be missing for good.
func (u issueUpdate) closeSaying(ctx context.Context, issue *gh.Issue, step, why, body string, said func(*gh.IssueComment) bool) error {
	number, closed := issue.GetNumber(), "closed"
	_, comments, err := u.said(ctx, issue)
	if err != nil {
		return err
	}
	return u.step(step, number, func() error {
		if !slices.ContainsFunc(comments, said) {
			if _, err := u.comment(ctx, number, body, writeIssues); err != nil {
				return err
			}
		}
		_, _, err := u.client.Issues.Edit(ctx, u.owner, u.name, number, &gh.IssueRequest{State: &closed, StateReason: &why})
		return u.failed(fmt.Sprintf("close issue #%d", number), writeIssues, err)
	})
}

// said lists the comments that this token's owner has written on an issue.
// What others write says nothing about which runs were told of.
func (u issueUpdate) said(ctx context.Context, issue *gh.Issue) (self string, comments []*gh.IssueComment, err error) {
	if self, err = u.Self(ctx); err != nil {
		return "", nil, err
	}
	if comments, err = u.comments(ctx, issue.GetNumber(), writeIssues); err != nil {
		return "", nil, err
	}
	return self, slices.DeleteFunc(comments, func(c *gh.IssueComment) bool { return c.GetUser().GetLogin() != self }), nil
}

func (u issueUpdate) run() string { return fmt.Sprintf("%d/%d", u.RunID, u.Attempt) }

func (u issueUpdate) runURL() string {
	url := fmt.Sprintf("%s/%s/%s/actions/runs/%d", u.server, u.owner, u.name, u.RunID)
	if u.Attempt > 1 {
		url += "/attempts/" + strconv.Itoa(u.Attempt)
	}
	return url
}

// A mark is what a comment remembers for the next run, where people do not see
// it.
type mark struct {
	failures int
	runs     []string // "ID/ATTEMPT", oldest first
}

func (m *mark) add(runs ...string) {
	for _, r := range runs {
		if !slices.Contains(m.runs, r) {
			m.runs = append(m.runs, r)
		}
	}
}

func (m mark) String() string {
	runs := m.runs[max(len(m.runs)-maxRuns, 0):]
	return fmt.Sprintf("<!-- tufops failures=%d runs=%s -->", m.failures, strings.Join(runs, ","))
}

var markText = regexp.MustCompile(`<!-- tufops failures=([0-9]{1,9}) runs=([0-9/,]*) -->`)

func parseMark(body string) mark {
	all := markText.FindAllStringSubmatch(body, -1)
	if all == nil {
		return mark{}
	}
	last := all[len(all)-1] // what a template holds stands before ours
	failures, _ := strconv.Atoi(last[1])
	return mark{failures: failures, runs: strings.Split(last[2], ",")}
}

// IssueTemplate reads what a new issue is to say beside the run, from
// .github/TUFOPS_TEMPLATE/failure.md in the checkout, else from tuf-on-ci's
// .github/TUF_ON_CI_TEMPLATE/failure.md; "" for none. Only a regular file inside
// the checkout is read, and only if it is no larger than 32 KiB.
func IssueTemplate(checkout string) (string, error) {
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return "", fmt.Errorf("look for a template: %w", err)
	}
	defer root.Close()
	for _, folder := range []string{"TUFOPS_TEMPLATE", "TUF_ON_CI_TEMPLATE"} {
		name := path.Join(".github", folder, "failure.md")
		text, err := readTemplate(root, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the template %s: %w", name, err)
		}
		return text, nil
	}
	return "", nil
}

func readTemplate(root *os.Root, name string) (string, error) {
	info, err := root.Lstat(name) // first, since opening a pipe would wait
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	file, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTemplate+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxTemplate {
		return "", fmt.Errorf("it is larger than %d bytes", maxTemplate)
	}
	if !utf8.Valid(data) {
		return "", errors.New("it is not UTF-8")
	}
	return string(data), nil
}
