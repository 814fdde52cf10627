package githubtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ActionsLogin is who the default token of a workflow writes as.
const ActionsLogin = "github-actions[bot]"

// Kind is where a token comes from.
type Kind int

const (
	// Personal tokens belong to a user.
	Personal Kind = iota
	// Workflow is the default token of a workflow job. Its pushes start no
	// workflows.
	Workflow
	// Installation tokens belong to an app.
	Installation
)

// Permissions are none, "read" or "write" for contents, pull_requests, issues,
// statuses and actions.
type Permissions map[string]string

// All is all that a bot could want.
func All() Permissions {
	return Permissions{"contents": "write", "pull_requests": "write", "issues": "write", "statuses": "write", "actions": "write"}
}

// Without returns p without those permissions.
func (p Permissions) Without(names ...string) Permissions {
	p = maps.Clone(p)
	for _, name := range names {
		delete(p, name)
	}
	return p
}

func (p Permissions) allow(n need) bool {
	have := p[n.permission]
	return have == "write" || have == "read" && n.access == "read"
}

// A Token is what a client shows. One without permissions cannot see a private
// repository at all.
type Token struct {
	Value       string // made if empty
	Login       string // for a Workflow token ActionsLogin if empty
	Kind        Kind
	Permissions Permissions
	Expires     time.Time // zero: never

	limit, remaining int
	reset            time.Time
}

// AddToken makes a token known, and returns its value. One with a value that is
// known already takes the other's place.
func (s *Server) AddToken(t Token) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addToken(t)
}

func (s *Server) addToken(t Token) string {
	if t.Kind == Workflow && t.Login == "" {
		t.Login = ActionsLogin
	}
	if t.Value == "" {
		prefix := "ghs_"
		if t.Kind == Personal {
			prefix = "ghp_"
		}
		t.Value = fmt.Sprintf("%s%036d", prefix, s.id())
	}
	t.Permissions = maps.Clone(t.Permissions)
	t.limit, t.remaining = 5000, 5000
	s.tokens[t.Value] = &t
	return t.Value
}

// Limit sets how many more requests a token has before reset. Then GitHub
// refuses all of them until then by the server's clock.
func (s *Server) Limit(token string, remaining int, reset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[token]
	if t == nil {
		s.must(fmt.Errorf("there is no token %q", token))
	}
	t.remaining, t.reset = remaining, reset
}

// spend takes one request off what the token has left.
func (s *Server) spend(c *call) *apiError {
	t := c.token
	if now := s.now(); !now.Before(t.reset) {
		t.remaining, t.reset = t.limit, now.Add(time.Hour)
	}
	over := t.remaining <= 0
	if !over {
		t.remaining--
	}
	resource := "core"
	if c.gql != nil {
		resource = "graphql"
	}
	said := map[string]string{
		"Limit": strconv.Itoa(t.limit), "Remaining": strconv.Itoa(t.remaining), "Used": strconv.Itoa(t.limit - t.remaining),
		"Reset": strconv.FormatInt(t.reset.Unix(), 10), "Resource": resource,
	}
	for name, value := range said {
		c.header.Set("X-Ratelimit-"+name, value)
	}
	if !over {
		return nil
	}
	message := fmt.Sprintf("API rate limit exceeded for user ID %d.", s.userID(t.Login))
	if c.gql != nil {
		c.gql.refusal = &gqlError{Type: "RATE_LIMITED", Message: message}
		return nil
	}
	return &apiError{Status: http.StatusForbidden, Message: message, Doc: primaryDoc}
}

// need is one permission that allows a request.
type need struct{ permission, access string }

// authorised answers a REST request, if its token may make it.
func (s *Server) authorised(c *call) (any, *apiError) {
	if c.route.app {
		if err := s.checkJWT(c.jwt); err != nil {
			return nil, err
		}
		return c.route.handle(c)
	}
	if c.jwt != "" {
		return nil, &apiError{Status: http.StatusUnauthorized, Message: "Bad credentials"}
	}
	if strings.HasPrefix(c.route.path, "/repos/") && !(strings.EqualFold(c.params["owner"], s.Owner) && strings.EqualFold(c.params["repo"], s.Repo)) {
		return nil, notFound
	}
	reading := c.req.Method == http.MethodGet
	if c.token == nil {
		switch {
		case c.route.path == "/user" || !reading && !s.settings.Private:
			return nil, &apiError{Status: http.StatusUnauthorized, Message: "Requires authentication"}
		case s.settings.Private:
			return nil, notFound
		}
		return c.route.handle(c)
	}
	if s.settings.Private && len(c.token.Permissions) == 0 && c.route.path != "/user" {
		return nil, notFound
	}
	var accepted []string
	for _, n := range c.route.needs {
		accepted = append(accepted, n.permission+"="+n.access)
	}
	if accepted != nil && c.token.Kind != Personal {
		c.header.Set("X-Accepted-Github-Permissions", strings.Join(accepted, "; "))
	}
	public := reading && !s.settings.Private
	if len(c.route.needs) > 0 && !public && !slices.ContainsFunc(c.route.needs, c.token.Permissions.allow) {
		return nil, c.token.forbidden()
	}
	return c.route.handle(c)
}

func (t *Token) forbidden() *apiError {
	return &apiError{Status: http.StatusForbidden, Message: t.refusal()}
}

func (t *Token) refusal() string {
	if t.Kind == Personal {
		return "Resource not accessible by personal access token"
	}
	return "Resource not accessible by integration"
}

// App is a GitHub App, installed on the repository.
type App struct {
	ID             int64  // what its JSON Web Tokens say as iss
	ClientID       string // or this
	Slug           string // it writes as slug[bot]
	Key            *rsa.PublicKey
	InstallationID int64
	Permissions    Permissions
}

// InstallApp installs an app on the repository; there is at most one.
func (s *Server) InstallApp(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app = &a
}

// checkJWT checks the token by which an app shows who it is.
func (s *Server) checkJWT(token string) *apiError {
	unauthorized := func(message string) *apiError {
		return &apiError{Status: http.StatusUnauthorized, Message: message}
	}
	undecodable := unauthorized("A JSON web token could not be decoded")
	if s.app == nil || token == "" {
		return undecodable
	}
	parts := strings.Split(token, ".")
	var header struct{ Alg string }
	var claims struct {
		Iss      any
		Iat, Exp *float64
	}
	if len(parts) != 3 || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return undecodable
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || header.Alg != "RS256" || rsa.VerifyPKCS1v15(s.app.Key, crypto.SHA256, digest[:], signature) != nil {
		return undecodable
	}
	switch iss := claims.Iss.(type) {
	case float64:
		err = same(strconv.FormatFloat(iss, 'f', -1, 64), strconv.FormatInt(s.app.ID, 10))
	case string:
		err = same(iss, strconv.FormatInt(s.app.ID, 10), s.app.ClientID)
	default:
		err = same("")
	}
	if err != nil {
		return &apiError{Status: http.StatusNotFound, Message: "Integration not found"}
	}
	now := float64(s.now().Unix())
	switch {
	case claims.Exp == nil || *claims.Exp <= now:
		return unauthorized("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case *claims.Exp > now+600:
		return unauthorized("'Expiration time' claim ('exp') is too far in the future")
	case claims.Iat == nil || *claims.Iat > now:
		return unauthorized("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	return nil
}

func same(have string, want ...string) error {
	if have == "" || !slices.Contains(want, have) {
		return fmt.Errorf("it is %q, not one of %q", have, want)
	}
	return nil
}

func decodePart(part string, v any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, v) == nil
}

func getApp(c *call) (any, *apiError) {
	a := c.s.app
	return obj{
		"id": a.ID, "slug": a.Slug, "node_id": nodeID("A", a.ID), "client_id": a.ClientID, "owner": c.s.user(c.s.Owner), "name": a.Slug,
		"description": nil, "external_url": Web, "html_url": Web + "/apps/" + a.Slug, "created_at": stamp(epoch), "updated_at": stamp(epoch),
		"permissions": a.permissions(), "events": []string{}, "installations_count": 1,
	}, nil
}

func (a *App) permissions() Permissions {
	p := maps.Clone(a.Permissions)
	p["metadata"] = "read"
	return p
}

func getInstallation(c *call) (any, *apiError) {
	a := c.s.app
	if !strings.EqualFold(c.params["owner"], c.s.Owner) || !strings.EqualFold(c.params["repo"], c.s.Repo) {
		return nil, notFound
	}
	base := fmt.Sprintf("%s/app/installations/%d", c.s.URL, a.InstallationID)
	return obj{
		"id": a.InstallationID, "account": c.s.user(c.s.Owner), "repository_selection": "selected", "access_tokens_url": base + "/access_tokens",
		"repositories_url": c.s.URL + "/installation/repositories", "html_url": fmt.Sprintf("%s/settings/installations/%d", Web, a.InstallationID),
		"app_id": a.ID, "client_id": a.ClientID, "app_slug": a.Slug, "target_id": c.s.userID(c.s.Owner), "target_type": "Organization",
		"permissions": a.permissions(), "events": []string{}, "created_at": stamp(epoch), "updated_at": stamp(epoch),
		"single_file_name": nil, "suspended_by": nil, "suspended_at": nil,
	}, nil
}

func createInstallationToken(c *call) (any, *apiError) {
	a := c.s.app
	if c.params["installation_id"] != strconv.FormatInt(a.InstallationID, 10) {
		return nil, notFound
	}
	var in struct {
		Repositories []string
		Permissions  Permissions
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	for _, name := range in.Repositories {
		if !strings.EqualFold(name, c.s.Repo) {
			return nil, refused("There is at least one repository that does not exist or is not accessible to the parent installation.")
		}
	}
	granted := a.permissions()
	if in.Permissions != nil {
		for name, access := range in.Permissions {
			if !granted.allow(need{name, access}) {
				return nil, refused("The permissions requested are not granted to this installation.")
			}
		}
		granted = maps.Clone(in.Permissions)
		granted["metadata"] = "read"
	}
	expires := c.s.now().Add(time.Hour)
	value := c.s.addToken(Token{Login: a.Slug + "[bot]", Kind: Installation, Permissions: granted, Expires: expires})
	return obj{"token": value, "expires_at": stamp(expires), "permissions": granted, "repository_selection": "selected"}, nil
}
