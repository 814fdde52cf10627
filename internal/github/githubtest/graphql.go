package githubtest

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// document is a GraphQL request.
type document struct {
	query     *ast.QueryDocument
	operation *ast.OperationDefinition // nil if it could not be read
	variables map[string]any
	problem   error
	refusal   *gqlError // of the whole request
	unserved  []string  // fields that this server does not have
}

func parseDocument(body []byte) *document {
	var in struct {
		Query         string
		OperationName string
		Variables     map[string]any
	}
	d := &document{}
	if d.problem = json.Unmarshal(body, &in); d.problem != nil {
		return d
	}
	d.variables = in.Variables
	query, err := parser.ParseQuery(&ast.Source{Input: in.Query})
	if err != nil {
		d.problem = err
		return d
	}
	d.query = query
	if d.operation = query.Operations.ForName(in.OperationName); d.operation == nil {
		d.problem = gqlerror.Errorf("No operation named %q", in.OperationName)
	}
	return d
}

// name is the operation and its first field.
func (d *document) name() string {
	if d.operation == nil {
		return "query"
	}
	name := string(d.operation.Operation)
	for _, selection := range d.operation.SelectionSet {
		if f, ok := selection.(*ast.Field); ok {
			return name + " " + f.Name
		}
	}
	return name
}

// gqlError is one error of an answer, which has status 200 all the same.
type gqlError struct {
	Type      string   `json:"type,omitempty"`
	Path      []string `json:"path,omitempty"`
	Locations []obj    `json:"locations,omitempty"`
	Message   string   `json:"message"`
}

// resolver makes the value of a field that has arguments, or that not every
// token may have.
type resolver func(args map[string]any) (any, *gqlError)

// execution is one request under way.
type execution struct {
	c      *call
	errors []*gqlError
}

func (s *Server) execute(c *call) obj {
	d := c.gql
	if d.refusal != nil {
		return obj{"errors": []*gqlError{d.refusal}}
	}
	if d.problem != nil {
		return obj{"errors": []*gqlError{{Message: d.problem.Error()}}}
	}
	e := &execution{c: c}
	root := e.queryRoot()
	if d.operation.Operation == ast.Mutation {
		root = e.mutationRoot()
	}
	data := e.fields(root, d.operation.SelectionSet, nil)
	if e.errors == nil {
		return obj{"data": data}
	}
	return obj{"data": data, "errors": e.errors}
}

// fields picks what was asked for out of source.
func (e *execution) fields(source obj, set ast.SelectionSet, path []string) obj {
	out := obj{}
	for _, selection := range set {
		switch selection := selection.(type) {
		case *ast.Field:
			e.field(out, source, selection, path)
		case *ast.InlineFragment:
			if selection.TypeCondition == "" || selection.TypeCondition == source["__typename"] {
				for name, value := range e.fields(source, selection.SelectionSet, path) {
					out[name] = value
				}
			}
		case *ast.FragmentSpread:
			f := e.c.gql.query.Fragments.ForName(selection.Name)
			if f != nil && f.TypeCondition == source["__typename"] {
				for name, value := range e.fields(source, f.SelectionSet, path) {
					out[name] = value
				}
			}
		}
	}
	return out
}

func (e *execution) field(out, source obj, f *ast.Field, path []string) {
	path = append(path[:len(path):len(path)], f.Alias)
	fail := func(err *gqlError) {
		err.Path = path
		err.Locations = []obj{{"line": f.Position.Line, "column": f.Position.Column}}
		e.errors = append(e.errors, err)
		out[f.Alias] = nil
	}
	value, ok := source[f.Name]
	if !ok {
		e.c.gql.unserved = append(e.c.gql.unserved, fmt.Sprintf("this server does not serve %s", strings.Join(path, ".")))
		fail(&gqlError{Type: "undefinedField", Message: fmt.Sprintf("Field '%s' doesn't exist on type '%s'", f.Name, source["__typename"])})
		return
	}
	if resolve, ok := value.(resolver); ok {
		args := map[string]any{}
		for _, a := range f.Arguments {
			v, err := a.Value.Value(e.c.gql.variables)
			if err != nil {
				fail(&gqlError{Message: err.Error()})
				return
			}
			args[a.Name] = v
		}
		var err *gqlError
		if value, err = resolve(args); err != nil {
			fail(err)
			return
		}
	}
	switch nested := value.(type) {
	case obj:
		value = e.fields(nested, f.SelectionSet, path)
	case []obj:
		list := make([]obj, len(nested))
		for i := range nested {
			list[i] = e.fields(nested[i], f.SelectionSet, path)
		}
		value = list
	}
	out[f.Alias] = value
}

func (e *execution) queryRoot() obj {
	s, t := e.c.s, e.c.token
	return obj{
		"__typename": "Query",
		"viewer": obj{"__typename": "User", "login": t.Login, "id": nodeID("U", s.userID(t.Login)),
			"databaseId": s.userID(t.Login), "url": s.user(t.Login)["html_url"]},
		"rateLimit": obj{"__typename": "RateLimit", "limit": t.limit, "cost": 1, "remaining": t.remaining, "used": t.limit - t.remaining, "resetAt": stamp(t.reset)},
		"repository": resolver(func(args map[string]any) (any, *gqlError) {
			owner, name := fmt.Sprint(args["owner"]), fmt.Sprint(args["name"])
			if !strings.EqualFold(owner, s.Owner) || !strings.EqualFold(name, s.Repo) || s.settings.Private && len(t.Permissions) == 0 {
				return nil, &gqlError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to a Repository with the name '%s/%s'.", owner, name)}
			}
			return e.repository(), nil
		}),
		"node": resolver(func(args map[string]any) (any, *gqlError) {
			i, err := e.node(args["id"])
			if err != nil {
				return nil, err
			}
			return e.pull(i), nil
		}),
	}
}

func (e *execution) repository() obj {
	s := e.c.s
	repo := s.repo(s.Owner)
	return obj{
		"__typename": "Repository", "id": repo["node_id"], "databaseId": repo["id"], "name": s.Repo, "nameWithOwner": repo["full_name"],
		"isPrivate": s.settings.Private, "url": repo["html_url"],
		"pullRequest": resolver(func(args map[string]any) (any, *gqlError) {
			number := 0
			fmt.Sscan(fmt.Sprint(args["number"]), &number)
			i := s.issue(number)
			if i == nil || i.pull == nil {
				return nil, &gqlError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to a PullRequest with the number of %d.", number)}
			}
			if err := e.may("read", "pull_requests"); s.settings.Private && err != nil {
				return nil, err
			}
			return e.pull(i), nil
		}),
	}
}

func (e *execution) pull(i *issue) obj {
	s, p := e.c.s, i.pull
	state := strings.ToUpper(i.state())
	if p.merged != nil {
		state = "MERGED"
	}
	return obj{
		"__typename": "PullRequest", "id": s.pullID(i), "databaseId": i.id, "number": i.number, "isDraft": p.draft, "state": state, "title": i.title,
		"body": deref(i.body), "url": s.pullPage(i), "merged": p.merged != nil, "closed": !i.open, "headRefName": p.headBranch,
		"headRefOid": p.headSHA, "baseRefName": p.base, "baseRefOid": p.baseSHA, "isCrossRepository": p.headOwner != s.Owner,
		"comments": resolver(func(args map[string]any) (any, *gqlError) { return e.comments(i, args) }),
	}
}

// comments is one page of what was said, oldest first.
func (e *execution) comments(i *issue, args map[string]any) (any, *gqlError) {
	if args["first"] == nil {
		return nil, &gqlError{Type: "MISSING_PAGINATION_BOUNDARIES", Message: "You must provide a `first` or `last` value to properly paginate the `comments` connection."}
	}
	var first, after int
	fmt.Sscan(fmt.Sprint(args["first"]), &first)
	if first < 1 || first > 100 {
		return nil, &gqlError{Type: "EXCESSIVE_PAGINATION", Message: fmt.Sprintf("Requesting %d records on the `comments` connection exceeds the `first` limit of 100 records.", first)}
	}
	if cursor, ok := args["after"].(string); ok {
		if _, err := fmt.Sscanf(cursor, "cursor%d", &after); err != nil {
			return nil, &gqlError{Type: "INVALID_CURSOR_ARGUMENTS", Message: fmt.Sprintf("`%s` does not appear to be a valid cursor.", cursor)}
		}
	}
	s := e.c.s
	var all []*comment
	for _, c := range s.comments {
		if c.issue == i {
			all = append(all, c)
		}
	}
	page := all[min(after, len(all)):min(after+first, len(all))]
	nodes := []obj{}
	for _, c := range page {
		// An app is an author without the [bot] that it has as a viewer.
		author := obj{"__typename": "User", "login": c.author}
		if name, bot := strings.CutSuffix(c.author, "[bot]"); bot {
			author = obj{"__typename": "Bot", "login": name}
		}
		nodes = append(nodes, obj{
			"__typename": "IssueComment", "id": nodeID("IC", c.id), "fullDatabaseId": fmt.Sprint(c.id), "author": author,
			"body": c.body, "url": fmt.Sprintf("%s#issuecomment-%d", s.pullPage(i), c.id), "viewerDidAuthor": c.author == e.c.token.Login,
		})
	}
	info := obj{"__typename": "PageInfo", "hasNextPage": after+len(page) < len(all), "endCursor": nil}
	if len(page) > 0 {
		info["endCursor"] = fmt.Sprintf("cursor%d", after+len(page))
	}
	return obj{"__typename": "IssueCommentConnection", "totalCount": len(all), "nodes": nodes, "pageInfo": info}, nil
}

// node finds a pull request by its id in GraphQL.
func (e *execution) node(id any) (*issue, *gqlError) {
	for _, i := range e.c.s.issues {
		if i.pull != nil && e.c.s.pullID(i) == id {
			return i, nil
		}
	}
	return nil, &gqlError{Type: "NOT_FOUND", Message: fmt.Sprintf("Could not resolve to a node with the global id of '%v'.", id)}
}

func (e *execution) may(access string, permissions ...string) *gqlError {
	for _, p := range permissions {
		if !e.c.token.Permissions.allow(need{p, access}) {
			return &gqlError{Type: "FORBIDDEN", Message: e.c.token.refusal()}
		}
	}
	return nil
}

func (e *execution) mutationRoot() obj {
	return obj{
		"__typename":                    "Mutation",
		"convertPullRequestToDraft":     e.setDraft(true),
		"markPullRequestReadyForReview": e.setDraft(false),
	}
}

// setDraft is both mutations. They are asked for write access to contents too,
// which the documentation does not say.
func (e *execution) setDraft(draft bool) resolver {
	payload := "MarkPullRequestReadyForReviewPayload"
	if draft {
		payload = "ConvertPullRequestToDraftPayload"
	}
	return func(args map[string]any) (any, *gqlError) {
		input, _ := args["input"].(map[string]any)
		i, err := e.node(input["pullRequestId"])
		if err != nil {
			return nil, err
		}
		if err := e.may("write", "pull_requests", "contents"); err != nil {
			return nil, err
		}
		switch {
		case draft && e.c.s.settings.NoDrafts: // GitHub says no more than this
			return nil, &gqlError{Type: "FORBIDDEN", Message: fmt.Sprintf("%s does not have permission to convert the pull request %s to draft.",
				e.c.token.Login, e.c.s.pullID(i))}
		case !i.open:
			return nil, &gqlError{Type: "UNPROCESSABLE", Message: "Pull request is closed"}
		}
		if i.pull.draft != draft {
			i.pull.draft, i.updated = draft, e.c.s.now()
		}
		return obj{"__typename": payload, "clientMutationId": input["clientMutationId"], "pullRequest": e.pull(i)}, nil
	}
}
