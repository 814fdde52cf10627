package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/github/githubtest"
	"github.com/tufops/tufops/schema/schematest"
)

// issueWorld is a GitHub, a checkout with a template, and the environment of a
// workflow's job.
func issueWorld(t *testing.T) (*githubtest.Server, map[string]string, func(args ...string) (int, string, string)) {
	t.Helper()
	s := githubtest.New(t, githubtest.Options{})
	dir := t.TempDir()
	template := filepath.Join(dir, ".github", "TUF_ON_CI_TEMPLATE", "failure.md")
	if err := os.MkdirAll(filepath.Dir(template), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(template, []byte("Ask the maintainers.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"GITHUB_REPOSITORY": "octo/tuf", "GITHUB_API_URL": s.URL, "GITHUB_GRAPHQL_URL": s.GraphQLURL, "GITHUB_SERVER_URL": "https://github.example",
		"GITHUB_WORKFLOW": "publish", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1",
		"GITHUB_TOKEN":  s.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{"issues": "write"}}),
		"GITHUB_OUTPUT": filepath.Join(t.TempDir(), "output"),
	}
	return s, vars, func(args ...string) (int, string, string) {
		var stdout, stderr strings.Builder
		env := cli.Env{Stdout: &stdout, Stderr: &stderr, LookupEnv: func(key string) (string, bool) { v, ok := vars[key]; return v, ok }}
		status := run(t.Context(), env, append([]string{"tufops", "update-issue", "-C", dir}, args...))
		return status, stdout.String(), stderr.String()
	}
}

// TestUpdateIssue is what a person reads as a workflow fails and recovers.
func TestUpdateIssue(t *testing.T) {
	s, vars, tufops := issueWorld(t)
	const url = "https://github.example/octo/tuf/issues/1\n"
	for _, step := range []struct {
		run, success, want, output string
		args                       []string
	}{
		{"6", "true", "Nothing to do: the workflow succeeded, and no issue is open for it.\n", "issue=\n", nil},
		{"7", "false", "Would open an issue for publish.\n", "issue=\n", []string{"--dry-run"}},
		{"7", "false", "Opened issue #1 for publish.\n" + url, "issue=1\n", nil},
		{"7", "false", "Nothing to do: issue #1 tells of this run already.\n", "issue=1\n", nil},
		{"8", "false", "Would comment on issue #1 for publish.\n" + url, "issue=1\n", []string{"--dry-run"}},
		{"8", "false", "Commented on issue #1 for publish.\n" + url, "issue=1\n", nil},
		{"9", "false", "Updated the comment on issue #1 for publish.\n" + url, "issue=1\n", nil},
		{"10", "true", "Would close issue #1 for publish.\n" + url, "issue=1\n", []string{"--dry-run"}},
		{"10", "true", "Closed issue #1 for publish.\n" + url, "issue=1\n", nil},
	} {
		vars["GITHUB_RUN_ID"] = step.run
		os.Remove(vars["GITHUB_OUTPUT"])
		status, stdout, stderr := tufops(append(step.args, "--success", step.success)...)
		if status != 0 || stdout != step.want || stderr != "" {
			t.Errorf("run %s: status %d, stdout %q, want %q, stderr %q", step.run, status, stdout, step.want, stderr)
		}
		if got, _ := os.ReadFile(vars["GITHUB_OUTPUT"]); string(got) != step.output {
			t.Errorf("run %s: step output is %q, want %q", step.run, got, step.output)
		}
	}
	issues := s.Issues()
	if len(issues) != 1 || issues[0].State != "closed" || len(issues[0].Comments) != 2 || !strings.Contains(issues[0].Body, "/actions/runs/7\n\nAsk the maintainers.\n") {
		t.Errorf("issues %+v", issues)
	}
}

func TestUpdateIssueJSON(t *testing.T) {
	s, vars, tufops := issueWorld(t)
	vars["GITHUB_RUN_ATTEMPT"] = "3"
	status, stdout, stderr := tufops("--success", "false", "--workflow", "a, b", "--format", "json")
	var doc struct {
		Schema, Issue int
		Workflow, URL string
		Success       bool
		Steps         []struct{ Do string }
		DryRun        *bool `json:"dry_run"`
	}
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || status != 0 {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if doc.Schema != 1 || doc.Issue != 1 || doc.Workflow != "a, b" || doc.Success || len(doc.Steps) != 1 || doc.Steps[0].Do != "open" || doc.DryRun == nil || *doc.DryRun {
		t.Errorf("%+v", doc)
	}
	if body := s.Issues()[0].Body; !strings.Contains(body, "/actions/runs/7/attempts/3\n") {
		t.Errorf("body %s", body)
	}
	status, stdout, _ = tufops("--success", "true", "--format", "json")
	if !strings.Contains(stdout, `"steps": []`) || status != 0 {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
}

// TestUpdateIssueTold: what a person reads where it cannot work, and the exit
// status.
func TestUpdateIssueTold(t *testing.T) {
	for _, test := range []struct {
		name   string
		change map[string]string
		args   []string
		status int
		stderr string
	}{
		{"no answer to the question", nil, nil, 2, "tufops: error: tufops update-issue needs --success\n"},
		{"neither", nil, []string{"--success", "yes"}, 2, "tufops: error: --success is true or false, not \"yes\"\n"},
		{"empty", nil, []string{"--success", ""}, 2, "tufops: error: --success is true or false, not \"\"\n"},
		{"no name", map[string]string{"GITHUB_WORKFLOW": ""}, []string{"--success", "true"}, 2, "tufops: error: the workflow has no name\ntufops: hint: give one with --workflow, or set GITHUB_WORKFLOW\n"},
		{"an empty name", nil, []string{"--success", "true", "--workflow", " "}, 2, "tufops: error: the workflow has no name\n"},
		{"two lines", nil, []string{"--success", "true", "--workflow", "a\nb"}, 2, "--workflow is a name on one line"},
		{"no run", map[string]string{"GITHUB_RUN_ID": ""}, []string{"--success", "true"}, 2, "tufops: error: GITHUB_RUN_ID is \"\", not the number of a run\ntufops: hint: GitHub Actions sets it"},
		{"attempt", map[string]string{"GITHUB_RUN_ATTEMPT": "0"}, []string{"--success", "true"}, 2, "GITHUB_RUN_ATTEMPT is \"0\", not a number from 1\n"},
		{"format", nil, []string{"--success", "true", "--format", "xml"}, 2, "--format is text or json, not \"xml\"\n"},
		{"not on GitHub", map[string]string{"GITHUB_REPOSITORY": ""}, []string{"--success", "true"}, 2, "tufops: error: GITHUB_REPOSITORY is not set: no repository on GitHub is named\ntufops: hint: "},
		{"no token", map[string]string{"GITHUB_TOKEN": ""}, []string{"--success", "true"}, 2, "tufops: error: GITHUB_TOKEN is not set, nor is TUF_ON_CI_TOKEN: there is no token to talk to GitHub with\ntufops: hint: in a workflow step: env: GITHUB_TOKEN: ${{ github.token }}\n"},
		{"a wrong token", map[string]string{"GITHUB_TOKEN": "ghs_wrong"}, []string{"--success", "false"}, 1, "tufops: error: look for the issue of workflow \"publish\": GitHub answered 401 Unauthorized: Bad credentials\ntufops: hint: the token of GITHUB_TOKEN is wrong, has expired or was revoked\n"},
		{"no permission", nil, []string{"--success", "false"}, 1, "tufops: error: the token may not open an issue for workflow \"publish\" (it needs issues: write): GitHub answered 403 Forbidden: Resource not accessible by integration\n" +
			"tufops: hint: give the workflow job, or the token, the permission issues: write\n"},
		{"a simulation would leave the machine", map[string]string{"TUFOPS_NOW": "2026-11-22T00:00:00Z", "GITHUB_GRAPHQL_URL": "https://ghe.example/api/graphql"}, []string{"--success", "false"}, 2, `"https://ghe.example/api/graphql" is neither a path nor on loopback`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, vars, tufops := issueWorld(t)
			for name, value := range test.change {
				vars[name] = value
			}
			if test.name == "no permission" {
				vars["GITHUB_TOKEN"] = s.AddToken(githubtest.Token{Kind: githubtest.Workflow, Permissions: githubtest.Permissions{"issues": "read"}})
			}
			status, stdout, stderr := tufops(test.args...)
			if status != test.status || !strings.Contains(stderr, test.stderr) || test.status == 1 && stdout != "" {
				t.Errorf("status %d, want %d; stdout %q; stderr\n%swant\n%s", status, test.status, stdout, stderr, test.stderr)
			}
			if len(s.Issues()) != 0 {
				t.Errorf("issues %+v", s.Issues())
			}
		})
	}
}

// TestUpdateIssueTemplate: an issue without the template is better than none.
func TestUpdateIssueTemplate(t *testing.T) {
	s, _, tufops := issueWorld(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".github", "TUFOPS_TEMPLATE", "failure.md"), 0o755); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := tufops("-C", dir, "--success", "false")
	if status != 0 || !strings.HasPrefix(stdout, "Opened issue #1") || !strings.Contains(stderr, "tufops: warning: a new issue goes without the template because=") || len(s.Issues()) != 1 {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// TestUpdateIssueSchema: what it prints as JSON is what schema/ says.
func TestUpdateIssueSchema(t *testing.T) {
	s := schematest.New(t, "update-issue")
	_, vars, tufops := issueWorld(t)
	for run, args := range [][]string{{"true"}, {"false", "--dry-run"}, {"false"}, {"false"}, {"false"}, {"true"}} {
		vars["GITHUB_RUN_ID"] = strconv.Itoa(10 + run)
		_, stdout, _ := tufops(append([]string{"--format", "json", "--success"}, args...)...)
		s.Check(t, stdout)
	}
	s.Done(t)
}
