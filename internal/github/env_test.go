package github

import (
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func env(vars ...string) func(string) string {
	return func(name string) string {
		for _, v := range vars {
			if n, value, _ := strings.Cut(v, "="); n == name {
				return value
			}
		}
		return ""
	}
}

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// TestAddresses: requests go to the instance that the environment names, and
// links too.
func TestAddresses(t *testing.T) {
	const repository = "GITHUB_REPOSITORY=octo/tuf"
	for _, test := range []struct {
		name               string
		env                []string
		rest, graphql, run string
	}{
		{"public", nil, "https://api.github.com/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "https://api.github.com/graphql", "https://github.com/octo/tuf/actions/runs/7"},
		{"public, as Actions sets it", []string{"GITHUB_API_URL=https://api.github.com", "GITHUB_GRAPHQL_URL=https://api.github.com/graphql", "GITHUB_SERVER_URL=https://github.com"},
			"https://api.github.com/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "https://api.github.com/graphql", "https://github.com/octo/tuf/actions/runs/7"},
		{"enterprise server", []string{"GITHUB_API_URL=https://ghe.example/api/v3", "GITHUB_GRAPHQL_URL=https://ghe.example/api/graphql", "GITHUB_SERVER_URL=https://ghe.example"},
			"https://ghe.example/api/v3/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "https://ghe.example/api/graphql", "https://ghe.example/octo/tuf/actions/runs/7"},
		{"enterprise server, GraphQL guessed", []string{"GITHUB_API_URL=https://ghe.example/api/v3/"},
			"https://ghe.example/api/v3/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "https://ghe.example/api/graphql", "https://github.com/octo/tuf/actions/runs/7"},
		{"enterprise cloud with its own host", []string{"GITHUB_API_URL=https://api.octo.ghe.example", "GITHUB_SERVER_URL=https://octo.ghe.example"},
			"https://api.octo.ghe.example/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "https://api.octo.ghe.example/graphql", "https://octo.ghe.example/octo/tuf/actions/runs/7"},
		{"loopback", []string{"GITHUB_API_URL=http://127.0.0.1:1", "GITHUB_GRAPHQL_URL=http://localhost:1/graphql", "GITHUB_SERVER_URL=http://[::1]:1"},
			"http://127.0.0.1:1/repos/octo/tuf/issues/1/comments?page=1&per_page=100", "http://localhost:1/graphql", "http://[::1]:1/octo/tuf/actions/runs/7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &hub{now: start, answer: func(_ int, r *http.Request, _ string) (*http.Response, error) {
				if r.Method == http.MethodGet {
					return reply(200, `[]`)
				}
				return reply(200, `{"data":{"viewer":{"login":"someone"}}}`)
			}}
			f, err := FromEnv(env(append(test.env, repository, "GITHUB_TOKEN="+token)...), h.options())
			if err != nil {
				t.Fatal(err)
			}
			if len(h.asked) != 0 {
				t.Errorf("opening it asked %+v", h.asked)
			}
			if _, err := f.comments(t.Context(), 1, readPulls); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Self(t.Context()); err != nil {
				t.Fatal(err)
			}
			if h.asked[0].url != test.rest || h.asked[1].url != test.graphql {
				t.Errorf("asked %s and %s, want %s and %s", h.asked[0].url, h.asked[1].url, test.rest, test.graphql)
			}
			if got := (issueUpdate{Forge: f, Failure: Failure{RunID: 7, Attempt: 1}}).runURL(); got != test.run {
				t.Errorf("run %s, want %s", got, test.run)
			}
			if got := f.Endpoints(); got[0]+"/" != f.client.BaseURL.String() || got[1] != test.graphql {
				t.Errorf("endpoints %q", got)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	repository, with := "GITHUB_REPOSITORY=octo/tuf", "GITHUB_TOKEN="+token
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"nothing", nil, "GITHUB_REPOSITORY is not set: no repository on GitHub is named"},
		{"no owner", []string{"GITHUB_REPOSITORY=tuf", with}, `GITHUB_REPOSITORY is "tuf", not owner/name`},
		{"three parts", []string{"GITHUB_REPOSITORY=a/b/c", with}, `GITHUB_REPOSITORY is "a/b/c", not owner/name`},
		{"leads up", []string{"GITHUB_REPOSITORY=octo/..", with}, `GITHUB_REPOSITORY is "octo/..", not owner/name`},
		{"a query", []string{"GITHUB_REPOSITORY=octo/tuf?x", with}, `GITHUB_REPOSITORY is "octo/tuf?x", not owner/name`},
		{"no token", []string{repository}, "GITHUB_TOKEN is not set, nor is TUF_ON_CI_TOKEN: there is no token to talk to GitHub with"},
		{"a default token is not for use", []string{repository, "TUFOPS_DEFAULT_TOKEN=" + token}, "GITHUB_TOKEN is not set, nor is TUF_ON_CI_TOKEN: there is no token to talk to GitHub with"},
		{"two lines", []string{repository, "GITHUB_TOKEN=" + token + "\n" + token}, "GITHUB_TOKEN holds something else than a token"},
		{"a space", []string{repository, "TUF_ON_CI_TOKEN=" + token + " x"}, "TUF_ON_CI_TOKEN holds something else than a token"},
		{"without TLS", []string{repository, with, "GITHUB_API_URL=http://ghe.example"}, "GITHUB_API_URL is http://ghe.example: without https a token would be open to everybody on the way"},
		{"looks like loopback", []string{repository, with, "GITHUB_API_URL=http://localhost.example"}, "GITHUB_API_URL is http://localhost.example: without https a token would be open to everybody on the way"},
		{"GraphQL without TLS", []string{repository, with, "GITHUB_GRAPHQL_URL=http://ghe.example"}, "GITHUB_GRAPHQL_URL is http://ghe.example: without https a token would be open to everybody on the way"},
		{"no scheme", []string{repository, with, "GITHUB_API_URL=ghe.example"}, "GITHUB_API_URL is ghe.example, not a URL like https://api.github.com"},
		{"a file", []string{repository, with, "GITHUB_API_URL=file:///x"}, "GITHUB_API_URL is file:///x, not a URL like https://api.github.com"},
		{"a password", []string{repository, with, "GITHUB_API_URL=https://u:" + token + "@ghe.example"}, "GITHUB_API_URL is https://u:xxxxx@ghe.example, not a URL like https://api.github.com"},
		{"no URL", []string{repository, with, "GITHUB_API_URL=https://u:" + token + "@x:y"}, "GITHUB_API_URL is not a URL"},
		{"a query in the URL", []string{repository, with, "GITHUB_API_URL=https://ghe.example?x"}, "GITHUB_API_URL is https://ghe.example?x, not a URL like https://api.github.com"},
		{"links by script", []string{repository, with, "GITHUB_SERVER_URL=javascript:x"}, "GITHUB_SERVER_URL is javascript:x, not a URL like https://github.com"},
		{"an app's id alone", []string{repository, with, "TUFOPS_APP_ID=1"}, "TUFOPS_APP_PRIVATE_KEY is not set, but TUFOPS_APP_ID is"},
		{"an app's key alone", []string{repository, with, "TUFOPS_APP_PRIVATE_KEY=" + token}, "TUFOPS_APP_ID is not set, but TUFOPS_APP_PRIVATE_KEY is"},
		{"no PEM", []string{repository, with, "TUFOPS_APP_ID=1", "TUFOPS_APP_PRIVATE_KEY=" + token}, "TUFOPS_APP_PRIVATE_KEY is not a private key: there is no PEM in it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := FromEnv(env(test.env...), Options{})
			var config *ConfigError
			if f != nil || !errors.As(err, &config) || err.Error() != test.want {
				t.Fatalf("error %v, want %s", err, test.want)
			}
			if strings.Contains(config.Error()+config.Hint(), token) {
				t.Errorf("the secret is told: %v, %v", err, config.Hint())
			}
			if errors.Is(err, ErrNotConfigured) != (test.env == nil) {
				t.Errorf("not configured: %v", errors.Is(err, ErrNotConfigured))
			}
		})
	}
}

// These match the addresses of the public GitHub where a program or a script
// would talk to them. In Go a sentence may hold a link.
var (
	inGo      = regexp.MustCompile("(?i)\\b(api|uploads|codeload|raw)\\.github(usercontent)?\\.com\\b|[\"`]https?://(www\\.)?github\\.com\\b")
	inScripts = regexp.MustCompile(`(?i)\b(api|uploads|codeload|raw)\.github(usercontent)?\.com\b|https?://(www\.)?github\.com\b`)
)

// TestAddressesStandOnce looks for addresses of the public GitHub in code that
// talks: those who run an instance of their own cannot find them all. Comments,
// links for people in a sentence and what `uses:` names are something else.
func TestAddressesStandOnce(t *testing.T) {
	read := 0
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && (d.Name() == ".git" || d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") || name == "build" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case ".go", ".yml", ".yaml", ".sh":
		default:
			if name != "Makefile" && !strings.HasPrefix(name, ".ci/") {
				return nil
			}
		}
		if name == "internal/bench/verify.go" { // it names who signed a bundle, and talks to loopback alone
			return nil
		}
		if name == "internal/github/env.go" || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "package-lock.json") { // npm's own
			return nil
		}
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			return err
		}
		read++
		for i, line := range strings.Split(string(data), "\n") {
			if talks(filepath.Ext(name), line) {
				t.Errorf("%s:%d: the address belongs in internal/github/env.go, or comes from the environment: %s", name, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 100 {
		t.Errorf("only %d files were read", read)
	}
}

func talks(ext, line string) bool {
	comment := "#"
	if ext == ".go" {
		comment = "//"
	}
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, comment) || strings.HasPrefix(strings.TrimPrefix(line, "- "), "uses:") {
		return false
	}
	if i := strings.Index(line, " "+comment+" "); i >= 0 {
		line = line[:i]
	}
	if ext == ".go" {
		return inGo.MatchString(line)
	}
	return inScripts.MatchString(line)
}

func TestTalks(t *testing.T) {
	for line, want := range map[string]bool{
		`url := "https://api.github.com/repos"`:          true,
		`const host = "api.github.com"`:                  true,
		`curl https://uploads.github.com/x`:              true,
		`gh := "https://github.com/" + repo`:             true,
		`run: git clone "https://github.com/$REPO"`:      true,
		`// https://api.github.com is the public one`:    false,
		`x := 1 // see https://github.com/o/r/issues/1`:  false,
		`import "github.com/tufops/tufops/internal/cli"`: false,
		`mail := "a@users.noreply.github.com"`:           false,
		`page := "https://docs.github.com/rest"`:         false,
	} {
		if got := talks(".go", line); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
	if !talks(".yml", `run: git clone "https://github.com/$REPO"`) {
		t.Error("a script that clones does not talk")
	}
	if talks(".yml", "- uses: https://github.com/x/y@v1") || !talks(".yml", "run: curl https://api.github.com") {
		t.Error("YAML is not told apart")
	}
}
