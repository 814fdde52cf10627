package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// route is one method on one path, named as in GitHub's description.
type route struct {
	method, path string
	doc          string // page of the documentation
	status       int    // if all goes well
	needs        []need // one of them will do; reading a public repository needs none
	app          bool   // asks for an app's JSON Web Token, and for no other
	handle       func(*call) (any, *apiError)

	pattern *regexp.Regexp
}

// may lists permissions of which one will do.
func may(access string, permissions ...string) []need {
	var needs []need
	for _, p := range permissions {
		needs = append(needs, need{p, access})
	}
	return needs
}

const inRepo = "/repos/{owner}/{repo}"

// routes is all of REST that is served. Of two that fit, the first counts.
var routes = compile([]*route{
	{method: "GET", path: inRepo, status: 200, handle: getRepo, doc: "rest/repos/repos#get-a-repository"},
	{method: "GET", path: inRepo + "/activity", status: 200, needs: may("read", "contents"), handle: listActivity, doc: "rest/repos/repos#list-repository-activities"},

	{method: "GET", path: inRepo + "/pulls", status: 200, needs: may("read", "pull_requests"), handle: listPulls, doc: "rest/pulls/pulls#list-pull-requests"},
	{method: "POST", path: inRepo + "/pulls", status: 201, needs: may("write", "pull_requests"), handle: createPull, doc: "rest/pulls/pulls#create-a-pull-request"},
	{method: "GET", path: inRepo + "/pulls/{pull_number}", status: 200, needs: may("read", "pull_requests"), handle: getPull, doc: "rest/pulls/pulls#get-a-pull-request"},
	{method: "PATCH", path: inRepo + "/pulls/{pull_number}", status: 200, needs: may("write", "pull_requests"), handle: updatePull, doc: "rest/pulls/pulls#update-a-pull-request"},

	{method: "GET", path: inRepo + "/issues", status: 200, needs: may("read", "issues", "pull_requests"), handle: listIssues, doc: "rest/issues/issues#list-repository-issues"},
	{method: "POST", path: inRepo + "/issues", status: 201, needs: may("write", "issues"), handle: createIssue, doc: "rest/issues/issues#create-an-issue"},
	{method: "GET", path: inRepo + "/issues/{issue_number}", status: 200, needs: may("read", "issues", "pull_requests"), handle: getIssue, doc: "rest/issues/issues#get-an-issue"},
	{method: "PATCH", path: inRepo + "/issues/{issue_number}", status: 200, needs: may("write", "issues", "pull_requests"), handle: updateIssue, doc: "rest/issues/issues#update-an-issue"},

	{method: "GET", path: inRepo + "/issues/{issue_number}/comments", status: 200, needs: may("read", "issues", "pull_requests"), handle: listComments, doc: "rest/issues/comments#list-issue-comments"},
	{method: "POST", path: inRepo + "/issues/{issue_number}/comments", status: 201, needs: may("write", "issues", "pull_requests"), handle: createComment, doc: "rest/issues/comments#create-an-issue-comment"},
	{method: "GET", path: inRepo + "/issues/comments/{comment_id}", status: 200, needs: may("read", "issues", "pull_requests"), handle: getComment, doc: "rest/issues/comments#get-an-issue-comment"},
	{method: "PATCH", path: inRepo + "/issues/comments/{comment_id}", status: 200, needs: may("write", "issues", "pull_requests"), handle: updateComment, doc: "rest/issues/comments#update-an-issue-comment"},
	{method: "DELETE", path: inRepo + "/issues/comments/{comment_id}", status: 204, needs: may("write", "issues", "pull_requests"), handle: deleteComment, doc: "rest/issues/comments#delete-an-issue-comment"},

	{method: "GET", path: inRepo + "/issues/{issue_number}/labels", status: 200, needs: may("read", "issues", "pull_requests"), handle: listIssueLabels, doc: "rest/issues/labels#list-labels-for-an-issue"},
	{method: "POST", path: inRepo + "/issues/{issue_number}/labels", status: 200, needs: may("write", "issues", "pull_requests"), handle: addLabels, doc: "rest/issues/labels#add-labels-to-an-issue"},
	{method: "DELETE", path: inRepo + "/issues/{issue_number}/labels/{name}", status: 200, needs: may("write", "issues", "pull_requests"), handle: removeLabel, doc: "rest/issues/labels#remove-a-label-from-an-issue"},
	{method: "GET", path: inRepo + "/labels", status: 200, needs: may("read", "issues", "pull_requests"), handle: listLabels, doc: "rest/issues/labels#list-labels-for-a-repository"},
	{method: "POST", path: inRepo + "/labels", status: 201, needs: may("write", "issues", "pull_requests"), handle: createLabel, doc: "rest/issues/labels#create-a-label"},

	{method: "POST", path: inRepo + "/statuses/{sha}", status: 201, needs: may("write", "statuses"), handle: createStatus, doc: "rest/commits/statuses#create-a-commit-status"},
	{method: "GET", path: inRepo + "/commits/{ref}/status", status: 200, needs: may("read", "statuses"), handle: combinedStatus, doc: "rest/commits/statuses#get-the-combined-status-for-a-specific-reference"},
	{method: "GET", path: inRepo + "/commits/{ref}/statuses", status: 200, needs: may("read", "statuses"), handle: listStatuses, doc: "rest/commits/statuses#list-commit-statuses-for-a-reference"},
	{method: "GET", path: inRepo + "/commits/{ref}", status: 200, needs: may("read", "contents"), handle: getCommit, doc: "rest/commits/commits#get-a-commit"},

	{method: "POST", path: inRepo + "/actions/workflows/{workflow_id}/dispatches", status: 204, needs: may("write", "actions"), handle: dispatch, doc: "rest/actions/workflows#create-a-workflow-dispatch-event"},
	{method: "GET", path: inRepo + "/actions/workflows/{workflow_id}/runs", status: 200, needs: may("read", "actions"), handle: listRuns, doc: "rest/actions/workflow-runs#list-workflow-runs-for-a-workflow"},

	{method: "GET", path: "/user", status: 200, handle: getUser, doc: "rest/users/users#get-the-authenticated-user"},

	{method: "GET", path: "/app", status: 200, app: true, handle: getApp, doc: "rest/apps/apps#get-the-authenticated-app"},
	{method: "GET", path: inRepo + "/installation", status: 200, app: true, handle: getInstallation, doc: "rest/apps/apps#get-a-repository-installation-for-the-authenticated-app"},
	{method: "POST", path: "/app/installations/{installation_id}/access_tokens", status: 201, app: true, handle: createInstallationToken, doc: "rest/apps/apps#create-an-installation-access-token-for-an-app"},
})

var param = regexp.MustCompile(`\\\{(\w+)\\\}`)

func compile(routes []*route) []*route {
	for _, r := range routes {
		pattern := param.ReplaceAllStringFunc(regexp.QuoteMeta(r.path), func(p string) string {
			name := param.FindStringSubmatch(p)[1]
			if name == "ref" { // may be heads/sign/x
				return `(?P<ref>.+)`
			}
			return `(?P<` + name + `>[^/]+)`
		})
		r.pattern = regexp.MustCompile("^" + pattern + "$")
	}
	return routes
}

// findRoute takes an escaped path.
func findRoute(method, path string) (*route, map[string]string) {
	for _, r := range routes {
		m := r.pattern.FindStringSubmatch(path)
		if m == nil || r.method != method {
			continue
		}
		params := map[string]string{}
		for i, name := range r.pattern.SubexpNames() {
			if i > 0 {
				params[name], _ = url.PathUnescape(m[i])
			}
		}
		return r, params
	}
	return nil, nil
}

// page cuts out the page that the request asks for, and says in the Link header
// where the others are.
func page[T any](c *call, all []T) []T {
	size, err := strconv.Atoi(c.req.Query.Get("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	size = min(size, 100)
	number, err := strconv.Atoi(c.req.Query.Get("page"))
	if err != nil || number < 1 {
		number = 1
	}
	last := max(1, (len(all)+size-1)/size)
	var links []string
	link := func(n int, rel string) {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf(`<http://%s%s?%s>; rel="%s"`, c.r.Host, c.r.URL.EscapedPath(), q.Encode(), rel))
	}
	if number > 1 {
		link(number-1, "prev")
	}
	if number < last {
		link(number+1, "next")
		link(last, "last")
	}
	if number > 1 {
		link(1, "first")
	}
	if links != nil {
		c.header.Set("Link", strings.Join(links, ", "))
	}
	from := min((number-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

// number reads a number in the path.
func (c *call) number(name string) int {
	n, err := strconv.Atoi(c.params[name])
	if err != nil {
		return 0
	}
	return n
}

// each is never null in JSON.
func each[T any](list []T, f func(T) obj) []obj {
	all := []obj{}
	for _, x := range list {
		all = append(all, f(x))
	}
	return all
}

// limits of GitHub, in characters.
const (
	maxTitle       = 256
	maxText        = 65536
	maxDescription = 140
)

func tooLong(s string, limit int) bool { return utf8.RuneCountInString(s) > limit }

func getRepo(c *call) (any, *apiError) {
	o := c.s.repo(c.s.Owner)
	delete(o, "temp_clone_token")
	o["network_count"], o["subscribers_count"] = 0, 0
	return o, nil
}

func getUser(c *call) (any, *apiError) {
	if c.token.Kind != Personal {
		return nil, c.token.forbidden()
	}
	c.header.Set("X-Oauth-Scopes", "repo, workflow")
	return c.s.publicUser(c.token.Login), nil
}

func listActivity(c *call) (any, *apiError) {
	q := c.req.Query
	var found []Push
	for _, p := range c.s.pushes {
		ref := q.Get("ref")
		if (ref == "" || p.Ref == ref || p.Ref == "refs/heads/"+ref) &&
			(q.Get("actor") == "" || q.Get("actor") == p.Actor) &&
			(q.Get("activity_type") == "" || q.Get("activity_type") == p.Kind) {
			found = append(found, p)
		}
	}
	if q.Get("direction") != "asc" {
		slices.Reverse(found)
	}
	// Pages are told apart by the last id of the one before.
	if after, err := strconv.ParseInt(q.Get("after"), 10, 64); err == nil {
		if i := slices.IndexFunc(found, func(p Push) bool { return p.ID == after }); i >= 0 {
			found = found[i+1:]
		}
	}
	size, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	if size = min(size, 100); size < len(found) {
		found = found[:size]
		next := c.r.URL.Query()
		next.Set("after", strconv.FormatInt(found[size-1].ID, 10))
		c.header.Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, c.r.Host, c.r.URL.EscapedPath(), next.Encode()))
	}
	return each(found, c.s.activity), nil
}

// pulls

func listPulls(c *call) (any, *apiError) {
	q := c.req.Query
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	// GitHub ignores a head that has no colon.
	owner, branch, byHead := strings.Cut(q.Get("head"), ":")
	var found []*issue
	for _, i := range c.s.issues {
		p := i.pull
		if p == nil || state != "all" && state != i.state() {
			continue
		}
		if byHead && !(strings.EqualFold(p.headOwner, owner) && p.headBranch == branch) {
			continue
		}
		if q.Get("base") != "" && q.Get("base") != p.base {
			continue
		}
		found = append(found, i)
	}
	byCreation := q.Get("sort") == "" || q.Get("sort") == "created"
	order(found, q.Get("sort"), q.Get("direction") == "desc" || q.Get("direction") == "" && byCreation)
	return each(page(c, found), c.s.pullJSON), nil
}

// order sorts by time of creation, which is the order they are in, or by time of
// the last change.
func order(found []*issue, by string, descending bool) {
	if by == "updated" {
		slices.SortStableFunc(found, func(a, b *issue) int { return a.updated.Compare(b.updated) })
	}
	if descending {
		slices.Reverse(found)
	}
}

func createPull(c *call) (any, *apiError) {
	var in struct {
		Title, Head, Base string
		Body              *string
		Draft             bool
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if c.token.Kind == Workflow && c.s.settings.ActionsOpenNoPulls {
		return nil, &apiError{Status: http.StatusForbidden, Message: "GitHub Actions is not permitted to create or approve pull requests."}
	}
	i, err := c.s.openPull(c.token.Login, in.Head, in.Base, in.Title, in.Body, in.Draft)
	if err != nil {
		return nil, err
	}
	return c.s.fullPull(i), nil
}

const pullResource = "PullRequest"

func (s *Server) openPull(login, head, base, title string, body *string, draft bool) (*issue, *apiError) {
	owner, branch, ok := strings.Cut(head, ":")
	if !ok {
		owner, branch = s.Owner, head
	}
	if strings.EqualFold(owner, s.Owner) {
		owner = s.Owner
	}
	p := &pull{draft: draft, headOwner: owner, headBranch: branch, base: base}
	p.headSHA, p.baseSHA = s.refs[s.headRef(p)], s.refs["refs/heads/"+base]
	switch {
	case title == "":
		return nil, invalid(pullResource, "title", "missing_field", "")
	case head == "" || base == "":
		return nil, refused("Invalid request.\n\n\"head\", \"base\" weren't supplied.")
	case p.headSHA == "":
		return nil, invalid(pullResource, "head", "invalid", "")
	case p.baseSHA == "":
		return nil, invalid(pullResource, "base", "invalid", "")
	case tooLong(title, maxTitle):
		return nil, invalid(pullResource, "title", "custom", fmt.Sprintf("title is too long (maximum is %d characters)", maxTitle))
	case tooLong(deref(body), maxText):
		return nil, invalid(pullResource, "body", "custom", fmt.Sprintf("body is too long (maximum is %d characters)", maxText))
	case draft && s.settings.NoDrafts:
		return nil, refused("Draft pull requests are not supported in this repository.")
	}
	if err := s.pullable(p); err != nil {
		return nil, err
	}
	i := s.newIssue(login, title, body)
	i.pull = p
	sure(s.setHead(i, p.headSHA))
	return i, nil
}

// pullable says why there can be no such open pull request.
func (s *Server) pullable(p *pull) *apiError {
	for _, other := range s.issues {
		o := other.pull
		if o != nil && o != p && other.open && o.headOwner == p.headOwner && o.headBranch == p.headBranch && o.base == p.base {
			return invalid(pullResource, "", "custom", fmt.Sprintf("A pull request already exists for %s:%s.", p.headOwner, p.headBranch))
		}
	}
	if related, err := s.git.says("merge-base", p.baseSHA, p.headSHA); err != nil || !related {
		return invalid(pullResource, "", "custom", fmt.Sprintf("The %s branch has no history in common with %s", p.headBranch, p.base))
	}
	if contained, err := s.git.says("merge-base", "--is-ancestor", p.headSHA, p.baseSHA); err != nil || contained {
		return invalid(pullResource, "", "custom", fmt.Sprintf("No commits between %s and %s", p.base, p.headBranch))
	}
	return nil
}

func (c *call) pull() (*issue, *apiError) {
	i := c.s.issue(c.number("pull_number"))
	if i == nil || i.pull == nil {
		return nil, notFound
	}
	return i, nil
}

func getPull(c *call) (any, *apiError) {
	i, err := c.pull()
	if err != nil {
		return nil, err
	}
	return c.s.fullPull(i), nil
}

func updatePull(c *call) (any, *apiError) {
	i, err := c.pull()
	if err != nil {
		return nil, err
	}
	var in struct{ Title, Body, State, Base *string } // no draft: GitHub ignores it here
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Base != nil && *in.Base != i.pull.base {
		changed := *i.pull
		changed.base, changed.baseSHA = *in.Base, c.s.refs["refs/heads/"+*in.Base]
		if !i.open {
			return nil, invalid(pullResource, "base", "invalid", "Cannot change the base branch of a closed pull request.")
		}
		if changed.baseSHA == "" {
			return nil, invalid(pullResource, "base", "invalid", "")
		}
		if err := c.s.pullable(&changed); err != nil {
			return nil, err
		}
		*i.pull = changed
	}
	if err := c.s.change(i, c.token.Login, in.Title, in.Body, in.State); err != nil {
		return nil, err
	}
	return c.s.fullPull(i), nil
}

// change is what an edit of an issue and of a pull request have in common.
func (s *Server) change(i *issue, login string, title, body, state *string) *apiError {
	resource := "Issue"
	if i.pull != nil {
		resource = pullResource
	}
	switch {
	case title != nil && *title == "":
		return invalid(resource, "title", "missing_field", "")
	case title != nil && tooLong(*title, maxTitle):
		return invalid(resource, "title", "custom", fmt.Sprintf("title is too long (maximum is %d characters)", maxTitle))
	case body != nil && tooLong(*body, maxText):
		return invalid(resource, "body", "custom", fmt.Sprintf("body is too long (maximum is %d characters)", maxText))
	case state != nil && *state != "open" && *state != "closed":
		return invalid(resource, "state", "invalid", "")
	}
	if state != nil && *state == "open" && !i.open {
		if err := s.reopen(i); err != nil {
			return err
		}
	}
	if state != nil && *state == "closed" {
		s.close(i, login)
	}
	if title != nil {
		i.title = *title
	}
	if body != nil {
		i.body = body
	}
	i.updated = s.now()
	return nil
}

// reopen opens a closed issue, and a pull request if its branches still stand as
// they must.
func (s *Server) reopen(i *issue) *apiError {
	if i.open {
		return nil
	}
	if p := i.pull; p != nil {
		cannot := func(format string, args ...any) *apiError {
			return invalid(pullResource, "state", "custom", "state cannot be changed. "+fmt.Sprintf(format, args...))
		}
		head, base := s.refs[s.headRef(p)], s.refs["refs/heads/"+p.base]
		switch {
		case p.merged != nil:
			return cannot("The pull request cannot be reopened.")
		case head == "":
			return cannot("The %s branch has been deleted.", p.headBranch)
		case base == "":
			return cannot("The %s branch has been deleted.", p.base)
		}
		if onward, err := s.git.says("merge-base", "--is-ancestor", p.headSHA, head); err != nil || !onward {
			return cannot("The %s branch was force-pushed or recreated.", p.headBranch)
		}
		now := *p
		now.headSHA, now.baseSHA = head, base
		if err := s.pullable(&now); err != nil {
			return cannot("%s", err.Errors[0]["message"])
		}
		p.baseSHA = base
		sure(s.setHead(i, head))
	}
	i.open, i.closed, i.closedBy, i.updated = true, nil, "", s.now()
	return nil
}

// issues

func (c *call) issue() (*issue, *apiError) {
	i := c.s.issue(c.number("issue_number"))
	if i == nil {
		return nil, notFound
	}
	return i, nil
}

// listIssues lists pull requests too, as GitHub does.
func listIssues(c *call) (any, *apiError) {
	q := c.req.Query
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	var found []*issue
	for _, i := range c.s.issues {
		if state != "all" && state != i.state() || q.Get("creator") != "" && q.Get("creator") != i.author {
			continue
		}
		if hasLabels(i, q.Get("labels")) {
			found = append(found, i)
		}
	}
	order(found, q.Get("sort"), q.Get("direction") != "asc")
	return each(page(c, found), c.s.issueJSON), nil
}

func hasLabels(i *issue, list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name != "" && !slices.ContainsFunc(i.labels, func(l *label) bool { return strings.EqualFold(l.name, name) }) {
			return false
		}
	}
	return true
}

func createIssue(c *call) (any, *apiError) {
	var in struct {
		Title  string
		Body   *string
		Labels []string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	i := &issue{}
	if err := c.s.change(i, c.token.Login, &in.Title, in.Body, nil); err != nil {
		return nil, err
	}
	i = c.s.newIssue(c.token.Login, in.Title, in.Body)
	c.s.label(i, in.Labels)
	return c.s.issueJSON(i), nil
}

func getIssue(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	return c.s.issueJSON(i), nil
}

func updateIssue(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	var in struct {
		Title, Body, State *string
		Labels             *[]string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := c.writable(i); err != nil {
		return nil, err
	}
	if err := c.s.change(i, c.token.Login, in.Title, in.Body, in.State); err != nil {
		return nil, err
	}
	if in.Labels != nil {
		i.labels = nil
		c.s.label(i, *in.Labels)
	}
	return c.s.issueJSON(i), nil
}

// writable refuses a token that may write to pull requests only, where the
// issue is none.
func (c *call) writable(i *issue) *apiError {
	if i.pull == nil && !c.token.Permissions.allow(need{"issues", "write"}) {
		return c.token.forbidden()
	}
	return nil
}

func listComments(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	since, _ := time.Parse(time.RFC3339, c.req.Query.Get("since"))
	var found []*comment
	for _, m := range c.s.comments {
		if m.issue == i && !m.updated.Before(since) {
			found = append(found, m)
		}
	}
	return each(page(c, found), c.s.commentJSON), nil
}

// commentText reads the text of a comment to be.
func commentText(c *call) (string, *apiError) {
	var in struct{ Body *string }
	if err := c.decode(&in); err != nil {
		return "", err
	}
	switch {
	case in.Body == nil:
		return "", refused("Invalid request.\n\n\"body\" wasn't supplied.")
	case strings.TrimSpace(*in.Body) == "":
		return "", invalid("IssueComment", "body", "unprocessable", "Body cannot be blank")
	case tooLong(*in.Body, maxText):
		return "", invalid("IssueComment", "body", "unprocessable", fmt.Sprintf("Body is too long (maximum is %d characters)", maxText))
	}
	return *in.Body, nil
}

func createComment(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	if err := c.writable(i); err != nil {
		return nil, err
	}
	text, err := commentText(c)
	if err != nil {
		return nil, err
	}
	return c.s.commentJSON(c.s.comment(i, c.token.Login, text)), nil
}

func (c *call) comment() (*comment, *apiError) {
	for _, m := range c.s.comments {
		if strconv.FormatInt(m.id, 10) == c.params["comment_id"] {
			return m, nil
		}
	}
	return nil, notFound
}

func getComment(c *call) (any, *apiError) {
	m, err := c.comment()
	if err != nil {
		return nil, err
	}
	return c.s.commentJSON(m), nil
}

func updateComment(c *call) (any, *apiError) {
	m, err := c.comment()
	if err != nil {
		return nil, err
	}
	if err := c.writable(m.issue); err != nil {
		return nil, err
	}
	text, err := commentText(c)
	if err != nil {
		return nil, err
	}
	m.body, m.updated = text, c.s.now()
	return c.s.commentJSON(m), nil
}

func deleteComment(c *call) (any, *apiError) {
	m, err := c.comment()
	if err != nil {
		return nil, err
	}
	if err := c.writable(m.issue); err != nil {
		return nil, err
	}
	c.s.dropComment(m.id)
	return nil, nil
}

// labels

func listIssueLabels(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	return each(page(c, i.labels), c.s.labelJSON), nil
}

func addLabels(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	if err := c.writable(i); err != nil {
		return nil, err
	}
	var list []string
	if err := c.decode(&list); err != nil { // not a bare list
		var in struct{ Labels []string }
		if err := c.decode(&in); err != nil {
			return nil, err
		}
		list = in.Labels
	}
	c.s.label(i, list)
	return each(i.labels, c.s.labelJSON), nil
}

func removeLabel(c *call) (any, *apiError) {
	i, err := c.issue()
	if err != nil {
		return nil, err
	}
	if err := c.writable(i); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(i.labels, func(l *label) bool { return strings.EqualFold(l.name, c.params["name"]) })
	if at < 0 {
		return nil, &apiError{Status: http.StatusNotFound, Message: "Label does not exist"}
	}
	i.labels, i.updated = slices.Delete(i.labels, at, at+1), c.s.now()
	return each(i.labels, c.s.labelJSON), nil
}

func listLabels(c *call) (any, *apiError) { return each(page(c, c.s.labels), c.s.labelJSON), nil }

func createLabel(c *call) (any, *apiError) {
	var in struct {
		Name, Color string
		Description *string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	switch {
	case in.Name == "":
		return nil, invalid("Label", "name", "missing_field", "")
	case c.s.findLabel(in.Name) != nil:
		return nil, invalid("Label", "name", "already_exists", "")
	}
	if in.Color == "" {
		in.Color = "ededed"
	}
	l := &label{id: c.s.id(), name: in.Name, color: in.Color, description: in.Description}
	c.s.labels = append(c.s.labels, l)
	return c.s.labelJSON(l), nil
}

// commits

func getCommit(c *call) (any, *apiError) {
	oid, ok := c.s.resolve(c.params["ref"])
	if !ok {
		return nil, refused("No commit found for SHA: %s", c.params["ref"])
	}
	return c.s.commitJSON(oid), nil
}

func createStatus(c *call) (any, *apiError) {
	var in struct {
		State, Context string
		Description    *string
		TargetURL      *string `json:"target_url"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	sha := c.params["sha"]
	if in.Context == "" {
		in.Context = "default"
	}
	set := 0
	for _, st := range c.s.statuses {
		if st.commit == sha && st.context == in.Context {
			set++
		}
	}
	switch {
	case !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State):
		return nil, invalid("Status", "state", "custom", "state is not included in the list")
	case !c.s.hasCommit(sha):
		return nil, refused("No commit found for SHA: %s", sha)
	case tooLong(deref(in.Description), maxDescription):
		return nil, invalid("Status", "description", "custom", fmt.Sprintf("description is too long (maximum is %d characters)", maxDescription))
	case in.TargetURL != nil && *in.TargetURL != "" && !webAddress(*in.TargetURL):
		return nil, invalid("Status", "target_url", "custom", "target_url must use http(s) scheme")
	case set >= 1000:
		return nil, invalid("Status", "", "custom", "This SHA and context has reached the maximum number of statuses.")
	}
	st := &status{id: c.s.id(), commit: sha, context: in.Context, state: in.State, creator: c.token.Login,
		description: in.Description, target: in.TargetURL, created: c.s.now()}
	c.s.statuses = append(c.s.statuses, st)
	o := c.s.statusJSON(st)
	o["creator"] = c.s.user(st.creator)
	return o, nil
}

func webAddress(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// statusesOf returns the statuses of a commit, newest first.
func (s *Server) statusesOf(oid string) []*status {
	var found []*status
	for _, st := range slices.Backward(s.statuses) {
		if st.commit == oid {
			found = append(found, st)
		}
	}
	return found
}

func listStatuses(c *call) (any, *apiError) {
	oid, ok := c.s.resolve(c.params["ref"])
	if !ok {
		return nil, notFound
	}
	return each(page(c, c.s.statusesOf(oid)), func(st *status) obj {
		o := c.s.statusJSON(st)
		o["creator"] = c.s.user(st.creator)
		return o
	}), nil
}

func combinedStatus(c *call) (any, *apiError) {
	oid, ok := c.s.resolve(c.params["ref"])
	if !ok {
		return nil, notFound
	}
	var newest []*status
	for _, st := range c.s.statusesOf(oid) {
		if !slices.ContainsFunc(newest, func(n *status) bool { return n.context == st.context }) {
			newest = append(newest, st)
		}
	}
	state := "success"
	for _, st := range newest {
		switch {
		case st.state == "error" || st.state == "failure":
			state = "failure"
		case st.state == "pending" && state == "success":
			state = "pending"
		}
	}
	if newest == nil {
		state = "pending"
	}
	base := c.s.repoURL(c.s.Owner) + "/commits/" + oid
	return obj{
		"state": state, "statuses": each(page(c, newest), c.s.statusJSON), "sha": oid, "total_count": len(newest),
		"repository": c.s.minimalRepo(c.s.Owner), "commit_url": base, "url": base + "/status",
	}, nil
}
