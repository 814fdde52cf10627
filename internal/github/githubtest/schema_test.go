package githubtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
)

// lenient is a server with a pull request, whose violations fail no test.
func lenient(t *testing.T) (s *Server, token string) {
	t.Helper()
	s = New(t, Options{Lenient: true, Schemas: MustHaveSchemas(t)})
	c := s.Upstream.Clone("alice")
	c.Commit("first")
	c.Push("HEAD:main")
	c.WriteFile("a", "1")
	c.Commit("second")
	c.Push("HEAD:refs/heads/sign/x")
	s.OpenPull("alice", "sign/x", "main", "t", "b", false)
	return s, s.AddToken(Token{Kind: Workflow, Permissions: All()})
}

func do(t *testing.T, token, method, address, body string) {
	t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// What a client may get wrong without being told.
func TestViolations(t *testing.T) {
	s, token := lenient(t)
	const repo = "/repos/octo/tuf"
	graphql := func(query string, variables obj) string {
		data, err := json.Marshal(obj{"query": query, "variables": variables})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, test := range []struct {
		name, method, path, body, want string
	}{
		{"fine", "GET", repo + "/pulls?state=all&head=octo:sign/x", "", ""},
		{"fine, and refused", "GET", repo + "/pulls/99", "", ""},
		{"unknown path", "PUT", repo + "/pulls/1/merge", "", "does not serve it"},
		{"unknown query", "GET", repo + "/pulls?states=all", "", `"states"`},
		{"wrong query", "GET", repo + "/pulls?state=merged", "", "state"},
		{"query of the wrong type", "GET", repo + "/pulls?per_page=many", "", "per_page"},
		{"unknown field", "POST", repo + "/issues", `{"title": "t", "lables": ["x"]}`, `the request has "lables"`},
		{"unknown field below", "POST", repo + "/issues", `{"title": "t", "labels": [{"nam": "x"}]}`, `"labels[].nam"`},
		{"missing field", "POST", repo + "/issues/1/comments", `{}`, `"body"`},
		{"field of the wrong type", "PATCH", repo + "/pulls/1", `{"title": 1}`, "title"},
		{"draft, which only GraphQL has", "PATCH", repo + "/pulls/1", `{"draft": true}`, `the request has "draft"`},
		{"null for a label list", "POST", repo + "/issues", `{"title": "t", "labels": null}`, "labels"},
		{"body where there is none", "DELETE", repo + "/issues/comments/1", `{}`, "not allowed"},
		{"many inputs", "POST", repo + "/actions/workflows/x.yml/dispatches", `{"ref": "main", "inputs": {` + manyInputs(26) + `}}`, "inputs"},
		{"GraphQL, fine", "POST", "/graphql", graphql(`query($n: Int!) { repository(owner: "octo", name: "tuf") { pullRequest(number: $n) { id } } }`, obj{"n": 1}), ""},
		{"GraphQL, no syntax", "POST", "/graphql", graphql(`query {`, nil), "Expected Name"},
		{"GraphQL, no JSON", "POST", "/graphql", `{`, "JSON"},
		{"GraphQL, unknown field", "POST", "/graphql", graphql(`{ viewer { logins } }`, nil), `Cannot query field "logins"`},
		{"GraphQL, unknown input", "POST", "/graphql", graphql(`mutation { convertPullRequestToDraft(input: {pullRequestID: "x"}) { clientMutationId } }`, nil), "pullRequestID"},
		{"GraphQL, variable of another type", "POST", "/graphql", graphql(`query($n: Int!) { repository(owner: "octo", name: "tuf") { pullRequest(number: $n) { id } } }`, obj{"n": "one"}), "cannot use string as Int"},
		{"GraphQL, variable missing", "POST", "/graphql", graphql(`query($n: Int!) { repository(owner: "octo", name: "tuf") { pullRequest(number: $n) { id } } }`, nil), "must be defined"},
		{"GraphQL, variable unused", "POST", "/graphql", graphql(`{ viewer { login } }`, obj{"n": 1}), `"n" is not declared`},
		{"GraphQL, real but not served", "POST", "/graphql", graphql(`{ viewer { bio } }`, nil), "does not serve viewer.bio"},
	} {
		before := len(s.Violations())
		do(t, token, test.method, s.URL+test.path, test.body)
		found := strings.Join(s.Violations()[before:], "\n")
		if test.want == "" && found != "" || !strings.Contains(found, test.want) {
			t.Errorf("%s: found was %q, want %q", test.name, found, test.want)
		}
	}
}

func manyInputs(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"i%d": "x"`, i))
	}
	return strings.Join(all, ", ")
}

// recorder is a test that notes down what it is told.
type recorder struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}
func (r *recorder) end() {
	slices.Reverse(r.cleanups)
	for _, f := range r.cleanups {
		f()
	}
}

func TestViolationsFailTheTest(t *testing.T) {
	for _, isLenient := range []bool{false, true} {
		r := &recorder{TB: t}
		s := New(r, Options{Dir: gittest.New(t).Dir, Lenient: isLenient})
		do(t, "", "GET", s.URL+"/nowhere", "")
		r.end()
		if got := len(r.errors) == 1 && strings.Contains(r.errors[0], "/nowhere"); got == isLenient {
			t.Errorf("lenient %v: the test is told %q", isLenient, r.errors)
		}
	}
}

// What the server may get wrong: a genuine answer of each route, less one field,
// with one misspelt, and with one of another type.
func TestAnswersAreChecked(t *testing.T) {
	s, token := lenient(t)
	s.Comment(1, "bob", "hello")
	for _, path := range []string{"/repos/octo/tuf", "/repos/octo/tuf/pulls/1", "/repos/octo/tuf/pulls", "/repos/octo/tuf/issues/1/comments", "/repos/octo/tuf/commits/main/status"} {
		do(t, token, "GET", s.URL+path, "")
		requests := s.Requests()
		genuine := requests[len(requests)-1].Answer
		r, params := findRoute("GET", path)
		problems := func(change func(obj)) []string {
			var v any
			if err := json.Unmarshal([]byte(genuine), &v); err != nil {
				t.Fatal(err)
			}
			o, ok := v.(map[string]any)
			if !ok {
				o = v.([]any)[0].(map[string]any)
			}
			change(o)
			req, err := http.NewRequest("GET", path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			a := &answer{status: 200, header: http.Header{}}
			a.json(v)
			return s.schemas.checkREST(r, req, params, a)
		}
		if got := problems(func(obj) {}); got != nil {
			t.Errorf("%s as it is: %q", path, got)
		}
		for name, change := range map[string]func(obj){
			"without url":       func(o obj) { delete(o, "url") },
			"misspelt":          func(o obj) { o["cretaed_at"] = "" },
			"of another type":   func(o obj) { o["url"] = 1 },
			"misspelt far down": func(o obj) { firstObject(o)["hmtl_url"] = "x" },
		} {
			if got := problems(change); len(got) == 0 {
				t.Errorf("%s, %s: nobody minds", path, name)
			}
		}
	}
	r, params := findRoute("GET", "/user")
	req, _ := http.NewRequest("GET", "/user", http.NoBody)
	if got := s.schemas.checkREST(r, req, params, &answer{status: 299, header: http.Header{}}); len(got) == 0 {
		t.Error("an undocumented status: nobody minds")
	}
}

// firstObject returns an object below o, the first in alphabetical order.
func firstObject(o obj) obj {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if below, ok := o[name].(map[string]any); ok {
			return below
		}
		if list, ok := o[name].([]any); ok && len(list) > 0 {
			return list[0].(map[string]any)
		}
	}
	return o
}

func TestGraphQLAnswersAreChecked(t *testing.T) {
	s := MustHaveSchemas(t)
	body, err := json.Marshal(obj{"query": `{ viewer { login } repository(owner: "a", name: "b") { pullRequest(number: 1) { isDraft number state } } }`})
	if err != nil {
		t.Fatal(err)
	}
	for answerText, want := range map[string]string{
		`{"data":{"viewer":{"login":"a"},"repository":null}}`:                                                         "",
		`{"data":{"viewer":{"login":"a"},"repository":{"pullRequest":{"isDraft":true,"number":1,"state":"OPEN"}}}}`:   "",
		`{"data":null,"errors":[{"message":"no"}]}`:                                                                   "",
		`{"data":{"viewer":null,"repository":null}}`:                                                                  "viewer, which is User!",
		`{"data":{"viewer":{"login":1},"repository":null}}`:                                                           "login, which is String!",
		`{"data":{"viewer":{"login":"a","id":"x"},"repository":null}}`:                                                "nobody asked for",
		`{"data":{"viewer":"a","repository":null}}`:                                                                   "viewer, which is User!",
		`{"data":{"viewer":{"login":"a"},"repository":{"pullRequest":{"isDraft":"true","number":1,"state":"OPEN"}}}}`: "isDraft",
		`{"data":{"viewer":{"login":"a"},"repository":{"pullRequest":{"isDraft":true,"number":"1","state":"OPEN"}}}}`: "number",
		`{"data":{"viewer":{"login":"a"},"repository":{"pullRequest":{"isDraft":true,"number":1,"state":"open"}}}}`:   "state",
		`no`: "not JSON",
	} {
		got := strings.Join(s.checkGraphQL(parseDocument(body), &answer{status: 200, body: []byte(answerText)}), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: found was %q, want %q", answerText, got, want)
		}
	}
}

func TestSchemasRequired(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadSchemas(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("where there are none the error is %v", err)
	}
	t.Setenv("TUFOPS_GITHUB_SCHEMAS", filepath.Join(dir, "none"))
	t.Setenv("TUFOPS_REQUIRE_GITHUB_SCHEMAS", "")
	if got := foundSchemas(t); got != nil {
		t.Errorf("found were %v", got)
	}
	t.Setenv("TUFOPS_REQUIRE_GITHUB_SCHEMAS", "1")
	f := &fatal{TB: t}
	func() {
		defer func() { _ = recover() }()
		foundSchemas(f)
	}()
	if !strings.Contains(f.text, "make schemas") {
		t.Errorf("the test is told %q", f.text)
	}
}

// fatal is a test that notes down why it ends.
type fatal struct {
	testing.TB
	text string
}

func (f *fatal) Helper() {}
func (f *fatal) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

func TestWriteSchemasRefuses(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	if err := WriteSchemas(dir, from, os.Stderr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without archives: %v", err)
	}
	for _, p := range Packages {
		if err := os.WriteFile(filepath.Join(from, p.Archive()), []byte("other bytes"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := WriteSchemas(dir, from, os.Stderr)
	if err == nil || !strings.Contains(err.Error(), Packages[0].Integrity) {
		t.Errorf("with other archives: %v, want one that names %s", err, Packages[0].Integrity)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("it has written %v", left)
	}
}

func TestSliceOpenAPI(t *testing.T) {
	paths := map[string]map[string]any{"/unserved": {"get": obj{"responses": obj{"200": obj{"$ref": "#/components/responses/unserved"}}}}}
	for _, r := range routes {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{"trace": obj{}}
		}
		paths[r.path][strings.ToLower(r.method)] = obj{"summary": "prose", "x-github": obj{}, "responses": obj{"200": obj{"description": "prose",
			"content": obj{"application/json": obj{"schema": obj{"$ref": "#/components/schemas/tree"}, "example": "prose"}}}}}
	}
	schemas := obj{
		"tree": obj{"type": "object", "description": "prose", "properties": obj{
			"description": obj{"type": "string"}, "below": obj{"type": "array", "items": obj{"$ref": "#/components/schemas/tree"}}, "leaf": obj{"$ref": "#/components/schemas/leaf"}}},
		"leaf": obj{"type": "string"}, "unserved": obj{"type": "string"},
	}
	doc := obj{"openapi": "3.0.3", "info": obj{}, "paths": paths, "components": obj{"schemas": schemas, "responses": obj{"unserved": obj{}}}}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := sliceOpenAPI(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"prose", "unserved", "trace", "x-github"} {
		if strings.Contains(string(got), never) {
			t.Errorf("%q is still in it", never)
		}
	}
	if want := `"components":{"schemas":{"leaf":{"type":"string"},"tree":{"properties":{"below":{"items":{"$ref":"#/components/schemas/tree"},"type":"array"},` +
		`"description":{"type":"string"},"leaf":{"$ref":"#/components/schemas/leaf"}},"type":"object"}}}`; !strings.Contains(string(got), want) {
		t.Errorf("it is %s, want in it %s", got, want)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{openAPIFile: string(got), graphQLFile: "type Query { a: Int }"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadSchemas(dir); err != nil {
		t.Errorf("loading it: %v", err)
	}

	delete(schemas, "leaf")
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if _, err := sliceOpenAPI(data); err == nil || !strings.Contains(err.Error(), "#/components/schemas/leaf leads nowhere") {
		t.Errorf("with a reference to nothing: %v", err)
	}
	delete(paths, routes[0].path)
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if _, err := sliceOpenAPI(data); err == nil {
		t.Error("without a path that is served: no error")
	}
}

func TestSliceGraphQL(t *testing.T) {
	got, err := sliceGraphQL([]byte(`"""
prose
"""
type Query {
  """prose"""
  a(
    "of an argument"
    b: Int
  ): Int

  c: Int
  a(
    d: Int
  ): String
}

type Other {
  a: Int
}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := `type Query {
  a(
    "of an argument"
    b: Int
  ): Int
  c: Int
}
type Other {
  a: Int
}
`
	if string(got) != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

func TestWaitWaits(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	defer func() {
		if r := recover(); r != http.ErrAbortHandler {
			t.Errorf("a client that gave up has its request go on: %v", r)
		}
	}()
	released := make(chan struct{})
	close(released)
	(&Fault{Until: released}).wait(t.Context())
	(&Fault{Until: make(chan struct{})}).wait(ended)
}
