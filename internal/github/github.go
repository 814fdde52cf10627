// Package github keeps a signing event's pull requests, comments and commit
// statuses on GitHub, and the issue that says that a workflow fails. It fits
// [signingevent.Forge].
//
// It owns the conversation: which token is used and what it may do, how often a
// request is made, and which answer means what. It trusts nothing that it is
// answered: answers are bounded, may lack any field, and are led nowhere else. A
// token goes to the API that the environment names and to no other host, and
// never into a log, an error or a URL.
//
// It decides nothing about an event.
package github

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	gh "github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/signingevent"
)

// What a call needs, as a workflow spells it.
const (
	readContents  = "contents: read"
	readPulls     = "pull-requests: read"
	writePulls    = "pull-requests: write"
	writeDraft    = "pull-requests: write and contents: write" // found out by others; GitHub does not say
	readStatuses  = "statuses: read"
	writeStatuses = "statuses: write"
	readActions   = "actions: read"
	writeActions  = "actions: write"
	writeIssues   = "issues: write"
)

// maxPages bounds every list. Somebody who fills more pages of a hundred stops
// the bot, loudly, where part of a list would mislead it.
const maxPages = 100

// maxDescription is what GitHub allows in a commit status.
const maxDescription = 140

// Forge is one repository on GitHub, written to with one token. It is safe for
// concurrent use. It prints as the repository's name.
type Forge struct {
	owner, name          string
	api, graphql, server *url.URL
	client               *gh.Client
	credentials          credentials
	now                  func() time.Time

	mu    sync.Mutex
	login string // of the token's owner; "" until it was asked for
}

var _ signingevent.Forge = (*Forge)(nil)

func newForge(owner, name string, api, graphql, server *url.URL, o Options) *Forge {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Budget == (Budget{}) {
		o.Budget = DefaultBudget
	}
	f := &Forge{owner: owner, name: name, api: api, graphql: graphql, server: server, now: o.Now}
	f.client = gh.NewClient(&http.Client{
		Transport:     &transport{base: o.Transport, forge: f, budget: o.Budget, sleep: o.Sleep, log: o.Log},
		CheckRedirect: checkRedirect,
	})
	f.client.UserAgent = "tufops"
	base := *api // set, since WithEnterpriseURLs guesses a path
	base.Path += "/"
	f.client.BaseURL = &base
	return f
}

func (f *Forge) String() string { return "GitHub repository " + f.owner + "/" + f.name }

// GoString keeps %#v from looking inside.
func (f *Forge) GoString() string { return f.String() }

// Endpoints lists the URLs that requests go to.
func (f *Forge) Endpoints() []string { return []string{f.api.String(), f.graphql.String()} }

// Self is the login that this token writes under, such as
// "github-actions[bot]".
func (f *Forge) Self(ctx context.Context) (string, error) {
	if d := f.credentials.isDefault; d != nil && *d {
		return ActionsBot, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.login != "" {
		return f.login, nil
	}
	// Unlike REST's /user, this answers the tokens of apps and workflows too. An
	// app's login ends in [bot] here as in the comments that it writes.
	var data struct{ Viewer struct{ Login string } }
	const action = "ask whom the token belongs to"
	if err := f.query(reading(ctx), action, "", `query { viewer { login } }`, nil, &data); err != nil {
		return "", err
	}
	if data.Viewer.Login == "" {
		return "", fmt.Errorf("%s: GitHub's answer holds no login", action)
	}
	f.login = data.Viewer.Login
	return f.login, nil
}

// PushStartsWorkflows implements [signingevent.Forge].
func (f *Forge) PushStartsWorkflows(ctx context.Context) (bool, error) {
	if d := f.credentials.isDefault; d != nil {
		return !*d, nil
	}
	self, err := f.Self(ctx)
	return err == nil && self != ActionsBot, err
}

// Pulls implements [signingevent.Forge].
func (f *Forge) Pulls(ctx context.Context, branch string) ([]signingevent.Pull, error) {
	list, err := pages(maxPages, func(o gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return f.client.PullRequests.List(ctx, f.owner, f.name, &gh.PullRequestListOptions{
			State: "all", Head: f.owner + ":" + branch, Sort: "created", Direction: "desc", ListOptions: o,
		})
	})
	if err != nil {
		return nil, f.failed(fmt.Sprintf("list the pull requests of branch %q", branch), readPulls, err)
	}
	var pulls []signingevent.Pull
	seen := map[int]bool{} // a new one shifts the pages
	for _, p := range list {
		// The filter knows an owner, who may have a fork too.
		if p.GetHead().GetRef() != branch || !f.ours(p) || seen[p.GetNumber()] {
			continue
		}
		seen[p.GetNumber()] = true
		pull := pullOf(p)
		if !pull.Open && !pull.Merged { // rare, so most runs need not know who we are
			self, err := f.Self(ctx)
			if err != nil {
				return nil, err
			}
			pull.Own = strings.EqualFold(p.GetUser().GetLogin(), self)
		}
		pulls = append(pulls, pull)
	}
	slices.SortStableFunc(pulls, func(a, b signingevent.Pull) int { return cmp.Compare(b.Number, a.Number) })
	return pulls, nil
}

// ours reports whether the head of a pull request is a branch of this
// repository. Ids stay when a repository is renamed.
func (f *Forge) ours(p *gh.PullRequest) bool {
	head, base := p.GetHead().GetRepo(), p.GetBase().GetRepo()
	return head.GetID() != 0 && head.GetID() == base.GetID()
}

func pullOf(p *gh.PullRequest) signingevent.Pull {
	pull := signingevent.Pull{
		Number: p.GetNumber(), ID: p.GetNodeID(), Head: p.GetHead().GetSHA(), Base: p.GetBase().GetRef(),
		Open: p.GetState() == "open", Merged: p.GetMerged() || p.MergedAt != nil, Draft: p.GetDraft(), URL: p.GetHTMLURL(),
	}
	for _, l := range p.Labels {
		pull.Labels = append(pull.Labels, l.GetName())
	}
	return pull
}

// OpenPull implements [signingevent.Forge]. A title that is too long is cut.
func (f *Forge) OpenPull(ctx context.Context, p signingevent.NewPull) (signingevent.Pull, error) {
	action := fmt.Sprintf("open a pull request for branch %q", p.Branch)
	title := cut(p.Title, maxTitle)
	made, _, err := f.client.PullRequests.Create(ctx, f.owner, f.name, &gh.NewPullRequest{
		Title: &title, Head: &p.Branch, Base: &p.Base, Body: &p.Body, Draft: &p.Draft,
	})
	if err != nil {
		return signingevent.Pull{}, f.failed(action, writePulls, err)
	}
	if made.GetNumber() <= 0 {
		return signingevent.Pull{}, fmt.Errorf("%s: GitHub's answer holds no pull request", action)
	}
	return pullOf(made), nil
}

// SetDraft implements [signingevent.Forge]. REST cannot do it.
func (f *Forge) SetDraft(ctx context.Context, p signingevent.Pull, draft bool) error {
	mutation, action := "markPullRequestReadyForReview", fmt.Sprintf("mark pull request #%d as ready for review", p.Number)
	if draft {
		mutation, action = "convertPullRequestToDraft", fmt.Sprintf("make pull request #%d a draft", p.Number)
	}
	var data map[string]struct {
		PullRequest struct{ IsDraft *bool }
	}
	err := f.query(ctx, action, writeDraft,
		`mutation($id: ID!) { `+mutation+`(input: {pullRequestId: $id}) { pullRequest { isDraft } } }`, map[string]any{"id": p.ID}, &data)
	if err != nil {
		return err
	}
	if is := data[mutation].PullRequest.IsDraft; is == nil || *is != draft {
		return fmt.Errorf("%s: GitHub answered without an error, and it is not so", action)
	}
	return nil
}

// SetLabel implements [signingevent.Forge]. GitHub makes a label that does not
// exist when it is first used.
func (f *Forge) SetLabel(ctx context.Context, p signingevent.Pull, label string, on bool) error {
	if on {
		return f.addLabel(ctx, p.Number, label, writePulls)
	}
	action := fmt.Sprintf("remove the label %q from #%d", label, p.Number)
	if err := segment(label); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	_, err := f.client.Issues.RemoveLabelForIssue(ctx, f.owner, f.name, p.Number, url.PathEscape(label))
	if is := (*gh.ErrorResponse)(nil); errors.As(err, &is) && is.Response.StatusCode == http.StatusNotFound && is.Message == "Label does not exist" {
		return nil
	}
	return f.failed(action, writePulls, err)
}

func (f *Forge) addLabel(ctx context.Context, number int, label, permission string) error {
	_, _, err := f.client.Issues.AddLabelsToIssue(repeatable(ctx), f.owner, f.name, number, []string{label})
	return f.failed(fmt.Sprintf("add the label %q to #%d", label, number), permission, err)
}

// Comments implements [signingevent.Forge]. It asks GraphQL, which tells in the
// same answer who we are.
func (f *Forge) Comments(ctx context.Context, pull int) ([]signingevent.Comment, error) {
	const query = `query($owner: String!, $name: String!, $number: Int!, $after: String) {
  viewer { login }
  repository(owner: $owner, name: $name) { pullRequest(number: $number) { comments(first: 100, after: $after) {
    nodes { fullDatabaseId author { __typename login } body url }
    pageInfo { hasNextPage endCursor }
  } } }
}`
	action := fmt.Sprintf("list the comments of #%d", pull)
	type answer struct {
		Viewer     struct{ Login string }
		Repository *struct {
			PullRequest *struct {
				Comments *struct {
					Nodes []*struct {
						FullDatabaseID string
						Author         *struct {
							Typename string `json:"__typename"`
							Login    string
						}
						Body, URL string
					}
					PageInfo struct {
						HasNextPage bool
						EndCursor   string
					}
				}
			}
		}
	}
	comments := []signingevent.Comment{}
	seen := map[int64]bool{}
	variables := map[string]any{"owner": f.owner, "name": f.name, "number": pull}
	for range maxPages {
		var a answer
		if err := f.query(reading(ctx), action, readPulls, query, variables, &a); err != nil {
			return nil, err
		}
		if a.Viewer.Login == "" || a.Repository == nil || a.Repository.PullRequest == nil || a.Repository.PullRequest.Comments == nil {
			return nil, fmt.Errorf("%s: GitHub's answer holds no list", action)
		}
		list := a.Repository.PullRequest.Comments
		for _, n := range list.Nodes {
			if n == nil {
				continue
			}
			id, err := strconv.ParseInt(n.FullDatabaseID, 10, 64)
			if err != nil || id <= 0 || seen[id] { // a page may shift while we read
				continue
			}
			seen[id] = true
			c := signingevent.Comment{ID: id, Body: n.Body, URL: n.URL}
			if n.Author != nil { // whoever is gone is nobody
				c.Author = n.Author.Login
				// In GraphQL the login of an app ends in [bot] as a viewer, but not as
				// an author, where a person may have the same without it.
				if n.Author.Typename == "Bot" && !strings.HasSuffix(c.Author, botSuffix) {
					c.Author += botSuffix
				}
				c.Own = strings.EqualFold(c.Author, a.Viewer.Login)
			}
			comments = append(comments, c)
		}
		if !list.PageInfo.HasNextPage || list.PageInfo.EndCursor == "" || list.PageInfo.EndCursor == variables["after"] {
			slices.SortStableFunc(comments, func(a, b signingevent.Comment) int { return cmp.Compare(a.ID, b.ID) })
			return comments, nil
		}
		variables["after"] = list.PageInfo.EndCursor
	}
	return nil, fmt.Errorf("%s: %w: more than %d", action, errTooMany, maxPages*100)
}

// botSuffix ends the login of an app.
const botSuffix = "[bot]"

// comments lists what was said below a pull request or an issue, oldest first.
func (f *Forge) comments(ctx context.Context, number int, permission string) ([]*gh.IssueComment, error) {
	action := fmt.Sprintf("list the comments of #%d", number)
	if number <= 0 { // go-github would list those of the whole repository
		return nil, fmt.Errorf("%s: there is no such number", action)
	}
	list, err := pages(maxPages, func(o gh.ListOptions) ([]*gh.IssueComment, *gh.Response, error) {
		return f.client.Issues.ListComments(ctx, f.owner, f.name, number, &gh.IssueListCommentsOptions{ListOptions: o})
	})
	if err != nil {
		return nil, f.failed(action, permission, err)
	}
	list = slices.DeleteFunc(list, func(c *gh.IssueComment) bool { return c.GetID() == 0 })
	slices.SortStableFunc(list, func(a, b *gh.IssueComment) int { return cmp.Compare(a.GetID(), b.GetID()) })
	return slices.CompactFunc(list, func(a, b *gh.IssueComment) bool { return a.GetID() == b.GetID() }), nil
}

// commentOf is a comment that we have just written.
func commentOf(c *gh.IssueComment) signingevent.Comment {
	return signingevent.Comment{ID: c.GetID(), Author: c.GetUser().GetLogin(), Own: true, Body: c.GetBody(), URL: c.GetHTMLURL()}
}

// CreateComment implements [signingevent.Forge].
func (f *Forge) CreateComment(ctx context.Context, pull int, body string) (signingevent.Comment, error) {
	return f.comment(ctx, pull, body, writePulls)
}

func (f *Forge) comment(ctx context.Context, number int, body, permission string) (signingevent.Comment, error) {
	action := fmt.Sprintf("comment on #%d", number)
	made, _, err := f.client.Issues.CreateComment(ctx, f.owner, f.name, number, &gh.IssueComment{Body: &body})
	if err != nil {
		return signingevent.Comment{}, f.failed(action, permission, err)
	}
	if made.GetID() == 0 {
		return signingevent.Comment{}, fmt.Errorf("%s: GitHub's answer holds no comment", action)
	}
	return commentOf(made), nil
}

// EditComment implements [signingevent.Forge].
func (f *Forge) EditComment(ctx context.Context, id int64, body string) error {
	return f.edit(ctx, id, body, writePulls)
}

func (f *Forge) edit(ctx context.Context, id int64, body, permission string) error {
	_, _, err := f.client.Issues.EditComment(ctx, f.owner, f.name, id, &gh.IssueComment{Body: &body})
	return f.failed(fmt.Sprintf("edit comment %d", id), permission, err)
}

// DeleteComment implements [signingevent.Forge].
func (f *Forge) DeleteComment(ctx context.Context, id int64) error {
	_, err := f.client.Issues.DeleteComment(ctx, f.owner, f.name, id)
	if err = f.failed(fmt.Sprintf("delete comment %d", id), writePulls, err); errors.Is(err, signingevent.ErrNotFound) {
		return nil
	}
	return err
}

// Status implements [signingevent.Forge].
func (f *Forge) Status(ctx context.Context, commit, statusContext string) (*signingevent.CommitStatus, error) {
	if !commitID().MatchString(commit) {
		return nil, fmt.Errorf("read the commit statuses of %q: it is no commit", commit)
	}
	// The combined status has the newest of each context.
	list, err := pages(maxPages, func(o gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
		combined, resp, err := f.client.Repositories.GetCombinedStatus(ctx, f.owner, f.name, commit, &o)
		if combined == nil {
			return nil, resp, err
		}
		return combined.Statuses, resp, err
	})
	if err != nil {
		return nil, f.failed("read the commit statuses of "+short(commit), readStatuses, err)
	}
	var newest *gh.RepoStatus
	for _, s := range list {
		if s != nil && s.GetContext() == statusContext && (newest == nil || s.GetID() > newest.GetID()) {
			newest = s
		}
	}
	if newest == nil {
		return nil, nil
	}
	return &signingevent.CommitStatus{
		Context: newest.GetContext(), State: newest.GetState(), Description: newest.GetDescription(), URL: newest.GetTargetURL(),
	}, nil
}

// SetStatus implements [signingevent.Forge]. A description that is too long is
// cut.
func (f *Forge) SetStatus(ctx context.Context, commit string, s signingevent.CommitStatus) error {
	if !commitID().MatchString(commit) {
		return fmt.Errorf("set the commit status of %q: it is no commit", commit)
	}
	status := &gh.RepoStatus{State: &s.State, Context: &s.Context}
	if s.Description != "" {
		description := cut(s.Description, maxDescription)
		status.Description = &description
	}
	if s.URL != "" {
		status.TargetURL = &s.URL
	}
	_, _, err := f.client.Repositories.CreateStatus(repeatable(ctx), f.owner, f.name, commit, status)
	return f.failed("set the commit status of "+short(commit), writeStatuses, err)
}

var commitID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{1,64}$`) })

// cut returns s with at most n characters, the last of which says that there
// was more.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func short(commit string) string { return cut(commit, 12+1)[:min(len(commit), 12)] }

// Dispatch implements [signingevent.Forge].
func (f *Forge) Dispatch(ctx context.Context, workflow, branch string, inputs map[string]string) error {
	action := fmt.Sprintf("start the workflow %s on %q", workflow, branch)
	if err := segment(workflow); err != nil {
		return fmt.Errorf("%s: %w: %w", action, err, signingevent.ErrNotFound)
	}
	event := gh.CreateWorkflowDispatchEventRequest{Ref: branch}
	for name, value := range inputs {
		if event.Inputs == nil {
			event.Inputs = map[string]any{}
		}
		event.Inputs[name] = value
	}
	_, err := f.client.Actions.CreateWorkflowDispatchEventByFileName(ctx, f.owner, f.name, url.PathEscape(workflow), event)
	err = f.failed(action, writeActions, err)
	// 422 is a workflow that has no such trigger, input or branch.
	if answer := (*AnswerError)(nil); errors.As(err, &answer) && answer.Status == http.StatusUnprocessableEntity {
		answer.Err = signingevent.ErrNotFound
		return fmt.Errorf("%s: %w", action, answer)
	}
	return err
}

// Run is one run of a workflow.
type Run struct {
	Head       string // commit
	Status     string // queued, in_progress, completed, ...
	Conclusion string // success, failure, ...; empty while it runs
}

// LastRun returns the newest run of a workflow, named by its file, on a branch;
// nil for none. Where there is no such workflow the error wraps
// [signingevent.ErrNotFound].
func (f *Forge) LastRun(ctx context.Context, workflow, branch string) (*Run, error) {
	action := fmt.Sprintf("find the last run of the workflow %s on %q", workflow, branch)
	if err := segment(workflow); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", action, err, signingevent.ErrNotFound)
	}
	found, _, err := f.client.Actions.ListWorkflowRunsByFileName(ctx, f.owner, f.name, url.PathEscape(workflow),
		&gh.ListWorkflowRunsOptions{Branch: branch, ListOptions: gh.ListOptions{PerPage: 1}})
	if err != nil {
		return nil, f.failed(action, readActions, err)
	}
	if found == nil {
		return nil, fmt.Errorf("%s: GitHub's answer holds no list", action)
	}
	for _, r := range found.WorkflowRuns { // newest first
		if r.GetHeadBranch() == branch {
			return &Run{Head: r.GetHeadSHA(), Status: r.GetStatus(), Conclusion: r.GetConclusion()}, nil
		}
	}
	return nil, nil
}

// segment refuses what would not stay one part of a path.
func segment(name string) error {
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("%q is no name", name)
	}
	return nil
}

// pages collects a list of several pages. The error is errTooMany if there are
// more than limit.
func pages[T any](limit int, page func(gh.ListOptions) ([]T, *gh.Response, error)) ([]T, error) {
	var all []T
	o := gh.ListOptions{Page: 1, PerPage: 100}
	for range limit {
		list, resp, err := page(o)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if resp.NextPage <= o.Page { // none, or one that leads back
			return all, nil
		}
		o.Page = resp.NextPage
	}
	return all, fmt.Errorf("%w: more than %d", errTooMany, limit*o.PerPage)
}

var errTooMany = errors.New("there are too many to read")

// graphQLError is one of the errors that GraphQL reports, with status 200.
type graphQLError struct{ Type, Message string }

// query asks GraphQL. What is asked must be the same done twice as once.
func (f *Forge) query(ctx context.Context, action, permission, text string, variables map[string]any, data any) error {
	req, err := f.client.NewRequest(http.MethodPost, f.graphql.String(), map[string]any{"query": text, "variables": variables})
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	var answer struct {
		Data   json.RawMessage
		Errors []graphQLError
	}
	resp, err := f.client.Do(repeatable(ctx), req, &answer)
	if err != nil {
		return f.failed(action, permission, err)
	}
	if len(answer.Errors) > 0 {
		code := http.StatusUnprocessableEntity
		var messages []string
		for _, e := range answer.Errors {
			messages = append(messages, e.Message)
			switch e.Type {
			case "FORBIDDEN", "INSUFFICIENT_SCOPES":
				code = http.StatusForbidden
			case "NOT_FOUND":
				code = http.StatusNotFound
			}
		}
		return f.refused(action, permission, code, strings.Join(messages, ": "), resp.Header)
	}
	if len(answer.Data) == 0 {
		return fmt.Errorf("%s: GitHub's answer holds no data", action)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		return fmt.Errorf("%s: read GitHub's answer: %w", action, err)
	}
	return nil
}
