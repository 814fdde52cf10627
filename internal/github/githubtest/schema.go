package githubtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
)

// The two files of a directory with schemas.
const (
	openAPIFile = "openapi.json"
	graphQLFile = "schema.graphql"
)

// Schemas are GitHub's own descriptions of REST (OpenAPI) and GraphQL, as far as
// this package serves them.
type Schemas struct {
	rest    *openapi3.T
	graphql *ast.Schema
}

var loaded sync.Map // what LoadSchemas has returned, by directory

// LoadSchemas reads the schemas that [WriteSchemas] wrote, once for each
// directory. If there are none the error wraps [os.ErrNotExist].
func LoadSchemas(dir string) (*Schemas, error) {
	load, _ := loaded.LoadOrStore(dir, sync.OnceValues(func() (*Schemas, error) {
		s, err := loadSchemas(dir)
		if err != nil {
			return nil, fmt.Errorf("load GitHub's schemas: %w", err)
		}
		return s, nil
	}))
	return load.(func() (*Schemas, error))()
}

func loadSchemas(dir string) (*Schemas, error) {
	spec, err := os.ReadFile(filepath.Join(dir, openAPIFile))
	if err != nil {
		return nil, err
	}
	graph, err := os.ReadFile(filepath.Join(dir, graphQLFile))
	if err != nil {
		return nil, err
	}
	var s Schemas
	if s.rest, err = openapi3.NewLoader().LoadFromData(spec); err != nil {
		return nil, fmt.Errorf("%s: %w", openAPIFile, err)
	}
	if s.graphql, err = gqlparser.LoadSchema(&ast.Source{Name: graphQLFile, Input: string(graph)}); err != nil {
		return nil, fmt.Errorf("%s: %w", graphQLFile, err)
	}
	for _, r := range routes {
		if item := s.rest.Paths.Value(r.path); item == nil || item.GetOperation(r.method) == nil {
			return nil, fmt.Errorf("%s has no %s %s, which is served", openAPIFile, r.method, r.path)
		}
	}
	return &s, nil
}

// checkREST returns what is wrong with a request or its answer. Beyond what the
// schemas forbid, that is any field and any query parameter that they do not
// know: GitHub ignores those, so whoever sends one is mistaken.
func (s *Schemas) checkREST(r *route, req *http.Request, params map[string]string, a *answer) []string {
	item := s.rest.Paths.Value(r.path)
	operation := item.GetOperation(r.method)
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return []string{err.Error()}
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	options := &openapi3filter.Options{SkipSettingDefaults: true, MultiError: true, RejectWhenRequestBodyNotSpecified: true}
	options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return fmt.Sprintf("%s at /%s", err.Reason, strings.Join(err.JSONPointer(), "/"))
	})
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Options: options,
		Route: &routers.Route{Spec: s.rest, Path: r.path, PathItem: item, Method: r.method, Operation: operation},
	}
	var found []string
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		found = append(found, err.Error())
	}
	for name := range req.URL.Query() {
		if operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			found = append(found, fmt.Sprintf("the query has %q, which GitHub does not know", name))
		}
	}
	if operation.RequestBody != nil && len(body) > 0 {
		found = append(found, unknownIn("the request", operation.RequestBody.Value.Content, body)...)
	}

	response := operation.Responses.Status(a.status)
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), Options: options,
	}
	switch err := openapi3filter.ValidateResponse(context.Background(), output); {
	case err != nil:
		found = append(found, fmt.Sprintf("the answer %d: %v", a.status, err))
	case response == nil && a.status < 400:
		found = append(found, fmt.Sprintf("the answer has status %d, which GitHub does not document", a.status))
	case response != nil && a.status < 300 && len(a.body) > 0:
		found = append(found, unknownIn("the answer", response.Value.Content, a.body)...)
	}
	return found
}

func unknownIn(what string, content openapi3.Content, body []byte) []string {
	media := content.Get("application/json")
	var value any
	if media == nil || media.Schema == nil || json.Unmarshal(body, &value) != nil {
		return nil
	}
	var found []string
	for _, name := range unknown([]*openapi3.Schema{media.Schema.Value}, value, "") {
		found = append(found, fmt.Sprintf("%s has %s, which GitHub does not know", what, name))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// unknown returns the fields in value that none of the schemas knows.
func unknown(schemas []*openapi3.Schema, value any, at string) []string {
	var all []*openapi3.Schema
	for len(schemas) > 0 {
		s := schemas[0]
		schemas = schemas[1:]
		all = append(all, s)
		for _, refs := range []openapi3.SchemaRefs{s.AllOf, s.AnyOf, s.OneOf} {
			for _, ref := range refs {
				schemas = append(schemas, ref.Value)
			}
		}
	}
	var found []string
	switch value := value.(type) {
	case []any:
		var items []*openapi3.Schema
		for _, s := range all {
			if s.Items != nil {
				items = append(items, s.Items.Value)
			}
		}
		for _, v := range value {
			found = append(found, unknown(items, v, at+"[]")...)
		}
	case map[string]any:
		closed := false
		for _, s := range all {
			closed = closed || len(s.Properties) > 0
			if s.AdditionalProperties.Schema != nil || s.AdditionalProperties.Has != nil && *s.AdditionalProperties.Has {
				return nil
			}
		}
		if !closed {
			return nil
		}
		for name, v := range value {
			var known []*openapi3.Schema
			for _, s := range all {
				if p := s.Properties[name]; p != nil {
					known = append(known, p.Value)
				}
			}
			if known == nil {
				found = append(found, fmt.Sprintf("%q", strings.TrimPrefix(at+"."+name, ".")))
				continue
			}
			found = append(found, unknown(known, v, at+"."+name)...)
		}
	}
	return found
}

// checkGraphQL returns what is wrong with a document, its variables, or the data
// in the answer.
func (s *Schemas) checkGraphQL(d *document, a *answer) []string {
	if d.problem != nil {
		return []string{d.problem.Error()}
	}
	var found []string
	for _, err := range validator.ValidateWithRules(s.graphql, d.query, nil) {
		found = append(found, err.Error())
	}
	if found != nil {
		return found
	}
	if _, err := validator.VariableValues(s.graphql, d.operation, d.variables); err != nil {
		return []string{err.Error()}
	}
	for name := range d.variables {
		if d.operation.VariableDefinitions.ForName(name) == nil {
			found = append(found, fmt.Sprintf("the variable %q is not declared", name))
		}
	}
	var out struct {
		Data   map[string]any
		Errors []json.RawMessage
	}
	if a.status != http.StatusOK {
		return found
	}
	if err := json.Unmarshal(a.body, &out); err != nil {
		return append(found, "the answer is not JSON: "+err.Error())
	}
	if out.Data != nil {
		found = append(found, s.mistyped(d.operation.SelectionSet, out.Data, "")...)
	}
	return found
}

// mistyped returns what in data does not have the type that the schema gives it.
// What was not asked for counts too.
func (s *Schemas) mistyped(set ast.SelectionSet, data map[string]any, at string) []string {
	var found []string
	asked := map[string]bool{}
	var visit func(ast.SelectionSet)
	visit = func(set ast.SelectionSet) {
		for _, selection := range set {
			switch selection := selection.(type) {
			case *ast.InlineFragment:
				visit(selection.SelectionSet)
			case *ast.FragmentSpread:
				visit(selection.Definition.SelectionSet)
			case *ast.Field:
				asked[selection.Alias] = true
				value, ok := data[selection.Alias]
				if !ok {
					continue // of another type's fragment
				}
				found = append(found, s.mismatch(selection.Definition.Type, selection.SelectionSet, value, at+"."+selection.Alias)...)
			}
		}
	}
	visit(set)
	for name := range data {
		if !asked[name] {
			found = append(found, fmt.Sprintf("the answer has %s.%s, which nobody asked for", at, name))
		}
	}
	return found
}

func (s *Schemas) mismatch(t *ast.Type, set ast.SelectionSet, value any, at string) []string {
	wrong := []string{fmt.Sprintf("the answer has %v for %s, which is %s", value, at, t)}
	if value == nil {
		if t.NonNull {
			return wrong
		}
		return nil
	}
	if t.Elem != nil {
		list, ok := value.([]any)
		if !ok {
			return wrong
		}
		var found []string
		for _, v := range list {
			found = append(found, s.mismatch(t.Elem, set, v, at+"[]")...)
		}
		return found
	}
	definition := s.graphql.Types[t.NamedType]
	ok := true
	switch object, isObject := value.(map[string]any); {
	case definition.IsCompositeType():
		if isObject {
			return s.mistyped(set, object, at)
		}
		ok = false
	case definition.Kind == ast.Enum:
		name, _ := value.(string)
		ok = definition.EnumValues.ForName(name) != nil
	case t.NamedType == "Boolean":
		_, ok = value.(bool)
	case t.NamedType == "Int" || t.NamedType == "Float":
		_, ok = value.(float64)
	default:
		_, isText := value.(string)
		_, isNumber := value.(float64)
		ok = isText || isNumber && t.NamedType != "String" && t.NamedType != "ID"
	}
	if !ok {
		return wrong
	}
	return nil
}
