package githubtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git/gittest"
)

// Web is where people would see the repository. Nothing answers there.
const Web = "https://github.example"

// maxBody is more than GitHub takes.
const maxBody = 1 << 20

// Options say what kind of GitHub it is. The zero value is a public repository
// octo/tuf on github.com.
type Options struct {
	Owner, Repo string // octo, tuf

	// Dir is the bare git repository. [New] makes one if it is empty.
	Dir string

	// BasePath is where REST is: empty as on github.com, with GraphQL at /graphql,
	// or /api/v3 as on GitHub Enterprise Server, with GraphQL at /api/graphql.
	BasePath string

	// Now is the server's clock. Without it time begins at [gittest.Epoch] and
	// goes on by a second whenever something happens.
	Now func() time.Time

	// Settings of the repository, to be changed later with [Server.Configure].
	Settings Settings

	// Schemas, if set, are what requests and answers must comply with. [New]
	// takes those that `make schemas` left, if there are any.
	Schemas *Schemas

	// Lenient has [New] not fail the test for [Server.Violations].
	Lenient bool
}

// Settings of the repository and of its owner.
type Settings struct {
	Private bool

	// NoDrafts: the plan has no draft pull requests.
	NoDrafts bool

	// ActionsOpenNoPulls: GitHub Actions may not create pull requests, which is how
	// organisations and repositories begin.
	ActionsOpenNoPulls bool

	// Workflows that exist beside those in .github/workflows on the default
	// branch. They can be dispatched.
	Workflows []string
}

// Server is a running GitHub. Its methods may be called from several
// goroutines, also while requests are under way.
type Server struct {
	URL        string // of REST, without a slash at the end: what GITHUB_API_URL says
	GraphQLURL string // what GITHUB_GRAPHQL_URL says
	Owner      string
	Repo       string
	Dir        string // the bare repository

	// Upstream is the bare repository that [New] made; nil if the test brought one.
	Upstream *gittest.Upstream

	t       testing.TB // nil without a test
	http    *httptest.Server
	base    string
	schemas *Schemas
	ctx     context.Context // ends with the server
	stop    context.CancelFunc

	mu         sync.Mutex
	now        func() time.Time
	settings   Settings
	git        bare
	refs       map[string]string // as last seen
	logSeen    int               // bytes of the push log that have been read
	ids        int64
	users      map[string]int64
	tokens     map[string]*Token
	app        *App
	issues     []*issue // pull requests too; number n is at n-1
	comments   []*comment
	statuses   []*status
	labels     []*label
	runs       []*run
	dispatches []Dispatch
	pushes     []Push
	requests   []*Request
	carried    int // requests carried out
	violations []string
	gate       func(context.Context, *Request)
	served     func(*Request)
	faults     []func(*Request) *Fault
}

// New starts a GitHub that ends with the test, and makes its repository: a bare
// one without a commit. What the server or the test does against GitHub's
// schemas, or asks for that the server does not know, fails the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	var upstream *gittest.Upstream
	if o.Dir == "" {
		upstream = gittest.New(t)
		o.Dir = upstream.Dir
	}
	if o.Schemas == nil {
		o.Schemas = foundSchemas(t)
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.Upstream = t, upstream
	t.Cleanup(func() {
		s.Close()
		if !o.Lenient {
			for _, v := range s.Violations() {
				t.Errorf("GitHub would not have it: %s", v)
			}
		}
	})
	return s
}

// Start is New without a test, for programs that other processes talk to. Dir
// must be given. The caller must Close the server. Its methods panic where those
// of New's end the test.
func Start(o Options) (*Server, error) {
	gittest.Isolate()
	s := &Server{
		Owner: o.Owner, Repo: o.Repo, Dir: o.Dir,
		base: strings.TrimSuffix(o.BasePath, "/"), now: o.Now, settings: o.Settings, schemas: o.Schemas,
		git: bare(o.Dir), users: map[string]int64{}, tokens: map[string]*Token{}, refs: map[string]string{}, ids: 1000,
	}
	if s.Owner == "" {
		s.Owner = "octo"
	}
	if s.Repo == "" {
		s.Repo = "tuf"
	}
	if s.now == nil {
		clock := gittest.Epoch
		s.now = func() time.Time {
			clock = clock.Add(time.Second)
			return clock
		}
	}
	if err := s.git.prepare(); err != nil {
		return nil, fmt.Errorf("start a GitHub over %q: %w", o.Dir, err)
	}
	if err := s.sync(); err != nil {
		return nil, fmt.Errorf("start a GitHub over %q: %w", o.Dir, err)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.http = httptest.NewServer(s)
	e := s.Endpoint("")
	s.URL, s.GraphQLURL = e.REST, e.GraphQL
	return s, nil
}

// Close ends the server. Requests that are held up end with it.
func (s *Server) Close() {
	s.stop()
	s.http.Close()
}

// An Endpoint is where one client finds the server.
type Endpoint struct{ REST, GraphQL string }

// Endpoint returns addresses of its own for a client, so that what it asks
// carries the name in [Request.Run]. Any process can use them.
func (s *Server) Endpoint(run string) Endpoint {
	host := s.http.URL
	if run != "" {
		host += "/~" + url.PathEscape(run)
	}
	return Endpoint{REST: host + s.base, GraphQL: host + s.graphqlPath()}
}

func (s *Server) graphqlPath() string {
	return strings.TrimSuffix(s.base, "/v3") + "/graphql"
}

// Configure changes the repository's settings.
func (s *Server) Configure(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.settings)
}

// Violations are the requests that GitHub would not understand or would partly
// ignore, and the answers that it would not give.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// A Request is one that reached the server, and what became of it.
type Request struct {
	Index int    // 1 for the first
	Run   string // whose address was used, see [Server.Endpoint]
	// Route is the method and GitHub's name for the path, as in "GET
	// /repos/{owner}/{repo}/pulls"; for GraphQL the operation and its first field,
	// as in "mutation convertPullRequestToDraft". Empty for what is not served.
	Route  string
	Method string
	Path   string // below the base path
	Query  url.Values
	Login  string // of the token; empty for none or one that is not known
	Body   string

	// Order is the place among the requests that were carried out, or refused for a
	// reason of their own, from 1; 0 for one that a fault kept from it.
	Order  int
	Status int // what the client was told; 0 if nothing
	Answer string
}

// Writes reports whether the request is there to change something.
func (r *Request) Writes() bool {
	if strings.HasPrefix(r.Route, "query ") {
		return false
	}
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

func (r *Request) String() string {
	return fmt.Sprintf("#%d %s %s by %q: %d", r.Index, r.Method, r.Path, r.Login, r.Status)
}

// Requests are all that have reached the server, in the order in which they
// arrived. A client may have sent one twice: Go's sends a GET again if the
// connection is dropped before a byte of the answer.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Request
	for _, r := range s.requests {
		all = append(all, *r)
	}
	return all
}

// answer is what is to be said to a client.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) json(v any) {
	a.header.Set("Content-Type", "application/json; charset=utf-8")
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // ours
	}
	a.body = data
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away, or sends what no test should
	}
	c := s.arrive(r, body)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	s.mu.Lock()
	gate, served := s.gate, s.served
	s.mu.Unlock()
	if served != nil {
		defer served(c.req)
	}
	if gate != nil {
		gate(ctx, c.req)
	}
	if ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}

	f := s.fault(c.req)
	if f != nil && !f.Done {
		f.wait(ctx)
		if f.Drop {
			panic(http.ErrAbortHandler)
		}
	}
	var a *answer
	if f != nil && !f.Done && f.Status != 0 {
		a = f.answer()
	} else {
		a = s.handle(c)
	}
	if f != nil && f.Done {
		f.wait(ctx)
		if f.Drop {
			panic(http.ErrAbortHandler)
		}
		if f.Status != 0 {
			a = f.answer()
		}
	}

	s.mu.Lock()
	c.req.Status, c.req.Answer = a.status, string(a.body)
	a.header.Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.mu.Unlock()
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// call is a request on its way.
type call struct {
	s      *Server
	r      *http.Request
	req    *Request
	route  *route // nil where none fits, and for GraphQL
	params map[string]string
	gql    *document // nil for REST
	token  *Token
	bad    bool // a token that is not known
	jwt    string
	header http.Header // of the answer
}

// arrive logs the request and finds out what it asks for and who asks.
func (s *Server) arrive(r *http.Request, body []byte) *call {
	path, run := r.URL.EscapedPath(), ""
	if rest, ok := strings.CutPrefix(path, "/~"); ok {
		name, below, _ := strings.Cut(rest, "/")
		run, _ = url.PathUnescape(name)
		path = "/" + below
	}
	req := &Request{Run: run, Method: r.Method, Path: path, Query: r.URL.Query(), Body: string(body)}
	c := &call{s: s, r: r, req: req, header: http.Header{}}
	if path == s.graphqlPath() && r.Method == http.MethodPost {
		c.gql = parseDocument(body)
		req.Route = c.gql.name()
	} else if below, ok := strings.CutPrefix(path, s.base); ok {
		req.Path = below
		c.route, c.params = findRoute(r.Method, below)
		if c.route != nil {
			req.Route = c.route.method + " " + c.route.path
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	kind, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case credential == "":
	case strings.Count(credential, ".") == 2 && strings.EqualFold(kind, "bearer"):
		c.jwt = credential
	case !strings.EqualFold(kind, "bearer") && !strings.EqualFold(kind, "token"):
		c.bad = true
	default:
		c.token = s.tokens[credential]
		if c.token == nil || !c.token.Expires.IsZero() && !s.now().Before(c.token.Expires) {
			c.token, c.bad = nil, true
		}
	}
	if c.token != nil {
		req.Login = c.token.Login
	}
	s.requests = append(s.requests, req)
	req.Index = len(s.requests)
	return c
}

// handle carries the request out. One at a time: what it reads and what it
// changes belong together, as far as the git repository's other users let it.
func (s *Server) handle(c *call) (a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carried++
	c.req.Order = s.carried
	a = &answer{status: http.StatusOK, header: c.header}
	defer func() {
		if r := recover(); r != nil {
			s.violations = append(s.violations, fmt.Sprintf("%s: %v", c.req, r))
			a = (&Fault{Status: http.StatusInternalServerError}).answer()
		}
	}()
	sure(s.sync())
	switch body, err := s.respond(c); {
	case err != nil:
		a.status = err.Status
		a.json(err.body(c))
	case c.route != nil:
		a.status = c.route.status
		if a.status != http.StatusNoContent {
			a.json(body)
		}
	default:
		a.json(body)
	}
	c.req.Status = a.status
	for _, problem := range s.check(c, a) {
		s.violations = append(s.violations, fmt.Sprintf("%s: %s", c.req, problem))
	}
	c.req.Status = 0 // nobody has been told yet
	return a
}

// respond is where a request gets past the porter, or not.
func (s *Server) respond(c *call) (any, *apiError) {
	switch {
	case c.r.Header.Get("User-Agent") == "":
		return nil, &apiError{Status: http.StatusForbidden, Message: "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"}
	case c.bad:
		return nil, &apiError{Status: http.StatusUnauthorized, Message: "Bad credentials"}
	}
	if c.token != nil {
		if err := s.spend(c); err != nil {
			return nil, err
		}
	}
	switch {
	case c.gql != nil:
		if c.token == nil {
			return nil, &apiError{Status: http.StatusUnauthorized, Message: "Requires authentication"}
		}
		return s.execute(c), nil
	case c.route == nil:
		return nil, notFound
	}
	return s.authorised(c)
}

// check returns what is wrong with a request or its answer by GitHub's schemas.
func (s *Server) check(c *call, a *answer) []string {
	if c.route == nil && c.gql == nil {
		return []string{"this server does not serve it"}
	}
	if c.gql != nil {
		if s.schemas == nil {
			return c.gql.unserved
		}
		return append(c.gql.unserved, s.schemas.checkGraphQL(c.gql, a)...)
	}
	if s.schemas == nil {
		return nil
	}
	body := c.req.Body
	if c.route.path == inRepo+"/issues/{issue_number}/labels" && strings.HasPrefix(strings.TrimSpace(body), "[") {
		body = `{"labels":` + body + `}` // the description allows the bare list in words only
	}
	r := c.r.Clone(context.Background())
	r.URL = &url.URL{Path: c.req.Path, RawQuery: c.r.URL.RawQuery}
	r.Body = io.NopCloser(strings.NewReader(body))
	return s.schemas.checkREST(c.route, r, c.params, a)
}

// apiError is an answer that says no.
type apiError struct {
	Status  int
	Message string
	Errors  []obj
	Doc     string // the documentation's address; that of the route if empty
}

func (e *apiError) body(c *call) obj {
	doc := e.Doc
	if doc == "" && c.route != nil {
		doc = c.route.doc
	}
	if doc == "" {
		doc = "rest"
	}
	if !strings.Contains(doc, "://") {
		doc = "https://docs.github.com/" + doc
	}
	o := obj{"message": e.Message, "documentation_url": doc, "status": strconv.Itoa(e.Status)}
	if e.Errors != nil {
		o["errors"] = e.Errors
	}
	return o
}

var notFound = &apiError{Status: http.StatusNotFound, Message: "Not Found"}

// invalid is what GitHub says of a field that it does not take.
func invalid(resource, field, code, message string) *apiError {
	e := obj{"resource": resource, "code": code}
	if field != "" {
		e["field"] = field
	}
	if message != "" {
		e["message"] = message
	}
	return &apiError{Status: http.StatusUnprocessableEntity, Message: "Validation Failed", Errors: []obj{e}}
}

// refused is 422 with a sentence and no field.
func refused(format string, args ...any) *apiError {
	return &apiError{Status: http.StatusUnprocessableEntity, Message: fmt.Sprintf(format, args...)}
}

// decode reads the request's JSON body. Fields that are not in v are ignored, as
// GitHub does.
func (c *call) decode(v any) *apiError {
	if strings.TrimSpace(c.req.Body) == "" {
		return nil
	}
	err := json.Unmarshal([]byte(c.req.Body), v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return refused("Invalid request.\n\nFor 'properties/%s', %s is not a %s.", wrong.Field, wrong.Value, wrong.Type)
	case err != nil:
		return &apiError{Status: http.StatusBadRequest, Message: "Problems parsing JSON"}
	}
	return nil
}

// must ends the test that asks for what cannot be.
func (s *Server) must(err error) {
	switch {
	case err == nil:
	case s.t != nil:
		s.t.Helper()
		s.t.Fatal(err)
	default:
		panic(err)
	}
}

// sure is for what only fails if the repository is broken. A request then is
// answered with 500, and it is a violation; see handle.
func sure(err error) {
	if err != nil {
		panic(err)
	}
}

// id returns a number that nothing else has.
func (s *Server) id() int64 {
	s.ids++
	return s.ids
}

// foundSchemas returns the schemas that `make schemas` made, nil if it did not.
func foundSchemas(t testing.TB) *Schemas {
	t.Helper()
	schemas, err := LoadSchemas(schemaDir())
	switch {
	case err == nil:
		return schemas
	case errors.Is(err, os.ErrNotExist) && os.Getenv("TUFOPS_REQUIRE_GITHUB_SCHEMAS") == "":
		return nil
	}
	t.Fatalf("%v\nhint: make schemas", err)
	return nil
}

// schemaDir is build/github-schemas at the top of the module that the process
// runs in, unless TUFOPS_GITHUB_SCHEMAS names another directory.
func schemaDir() string {
	if dir := os.Getenv("TUFOPS_GITHUB_SCHEMAS"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, "build", "github-schemas")
}
