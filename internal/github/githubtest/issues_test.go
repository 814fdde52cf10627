package githubtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/internal/github/githubtest"
)

func TestComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Lenient: true}) // what breaks the schema is refused too
	w.openPull("sign/x")
	own := w.Comment(1, githubtest.ActionsLogin, "mine")
	hers := w.Comment(1, "bob", "hers")
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		says                     string
	}{
		{"none", "GET", "/issues/comments/1", "", 404, "Not Found"},
		{"edit none", "PATCH", "/issues/comments/1", `{"body": "x"}`, 404, "Not Found"},
		{"delete none", "DELETE", "/issues/comments/1", "", 404, "Not Found"},
		{"on nothing", "POST", "/issues/99/comments", `{"body": "x"}`, 404, "Not Found"},
		{"of nothing", "GET", "/issues/99/comments", "", 404, "Not Found"},
		{"blank", "POST", "/issues/1/comments", `{"body": " \n"}`, 422, "Body cannot be blank"},
		{"no body", "POST", "/issues/1/comments", `{}`, 422, "body"},
		{"longest", "POST", "/issues/1/comments", `{"body": "` + strings.Repeat("é", 65536) + `"}`, 201, "éé"},
		{"too long", "POST", "/issues/1/comments", `{"body": "` + strings.Repeat("é", 65537) + `"}`, 422, "maximum is 65536"},
		{"edit too long", "PATCH", "/issues/comments/" + itoa(int(own.ID)), `{"body": "` + strings.Repeat("x", 65537) + `"}`, 422, "maximum is 65536"},
		{"edit", "PATCH", "/issues/comments/" + itoa(int(own.ID)), `{"body": "edited"}`, 200, "edited"},
		{"delete another's", "DELETE", "/issues/comments/" + itoa(int(hers.ID)), "", 204, ""},
		{"delete it twice", "DELETE", "/issues/comments/" + itoa(int(hers.ID)), "", 404, ""},
	} {
		if status, body := w.ask(w.token, test.method, repo+test.path, test.body); status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %.200s, want %d %.50s", test.name, status, body, test.status, test.says)
		}
	}
	got := w.Comments(1)
	if len(got) != 2 || got[0].Body != "edited" || !got[0].Edited || got[1].Edited {
		t.Errorf("left are %d comments, the first %+v", len(got), got[0])
	}
	w.EditComment(own.ID, "edited by hand")
	w.DeleteComment(got[1].ID)
	if got := w.Comments(1); len(got) != 1 || got[0].Body != "edited by hand" || got[0].Author != githubtest.ActionsLogin {
		t.Errorf("in the end they are %+v", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/api/v3"} {
		w := newWorld(t, githubtest.Options{BasePath: base})
		w.openPull("sign/x")
		for i := range 101 {
			w.Comment(1, "bob", fmt.Sprint(i))
		}
		for _, test := range []struct {
			query       string
			from, count int
			links       string
		}{
			{"", 0, 30, "next last"},
			{"?per_page=100", 0, 100, "next last"},
			{"?per_page=1000", 0, 100, "next last"},
			{"?per_page=100&page=2", 100, 1, "prev first"},
			{"?per_page=40&page=2", 40, 40, "prev next last first"},
			{"?page=4", 90, 11, "prev first"},
		} {
			_, header, body := w.askFor(w.token, "GET", w.Endpoint("").REST+repo+"/issues/1/comments"+test.query, "")
			var list []struct{ Body string }
			check(t, json.Unmarshal([]byte(body), &list))
			if len(list) != test.count || list[0].Body != fmt.Sprint(test.from) {
				t.Errorf("%q lists %d from %s, want %d from %d", test.query, len(list), list[0].Body, test.count, test.from)
			}
			var links []string
			for link := range strings.SplitSeq(header.Get("Link"), ", ") {
				_, rel, _ := strings.Cut(link, `; rel="`)
				links = append(links, strings.TrimSuffix(rel, `"`))
			}
			if got := strings.Join(links, " "); got != test.links {
				t.Errorf("%q links to %q, want %q", test.query, got, test.links)
			}
		}
		// A client that follows the links sees each once.
		c, ctx := w.client(w.token), t.Context()
		opts := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 10}}
		var all []string
		for {
			list, resp, err := c.Issues.ListComments(ctx, "octo", "tuf", 1, opts)
			check(t, err)
			for _, m := range list {
				all = append(all, m.GetBody())
			}
			if resp.NextPage == 0 {
				break
			}
			opts.Page = resp.NextPage
		}
		if len(all) != 101 || all[0] != "0" || all[100] != "100" {
			t.Errorf("following the links gave %q", all)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.openPull("sign/x")
	w.Label(1, "by hand", "Root")
	for _, test := range []struct {
		method, path, body string
		status             int
		want               []string
	}{
		{"POST", "/issues/1/labels", `{"labels": ["signing", "root"]}`, 200, []string{"by hand", "Root", "signing"}},
		{"POST", "/issues/1/labels", `["bare"]`, 200, []string{"by hand", "Root", "signing", "bare"}},
		{"DELETE", "/issues/1/labels/by%20hand", "", 200, []string{"Root", "signing", "bare"}},
		{"DELETE", "/issues/1/labels/by%20hand", "", 404, []string{"Root", "signing", "bare"}},
		{"DELETE", "/issues/1/labels/ROOT", "", 200, []string{"signing", "bare"}},
		{"PATCH", "/issues/1", `{"labels": ["a/b"]}`, 200, []string{"a/b"}},
		{"DELETE", "/issues/1/labels/a%2Fb", "", 200, []string{}},
		{"POST", "/issues/99/labels", `{"labels": ["x"]}`, 404, []string{}},
	} {
		status, body := w.ask(w.token, test.method, repo+test.path, test.body)
		if got := w.Pull(1).Labels; status != test.status || !slices.Equal(got, test.want) {
			t.Errorf("%s %s %s: %d %s, labels are %q; want %d, %q", test.method, test.path, test.body, status, body, got, test.status, test.want)
		}
	}
	if status, body := w.ask(w.token, "POST", repo+"/labels", `{"name": "SIGNING"}`); status != 422 || !strings.Contains(body, "already_exists") {
		t.Errorf("making a label twice says %d %s", status, body)
	}
}

func TestIssues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	w.issue("one", "failing", "root") // 1
	w.issue("two", "failing")         // 2
	w.openPull("sign/x")              // 3
	w.Label(3, "Failing")             //
	w.issue("four")                   // 4
	w.ClosePull(2, "bob")
	for _, test := range []struct {
		query string
		want  []int
	}{
		{"", []int{4, 3, 1}},
		{"?state=all", []int{4, 3, 2, 1}},
		{"?state=closed", []int{2}},
		{"?labels=failing", []int{3, 1}},
		{"?labels=failing,root", []int{1}},
		{"?labels=failing&state=all&direction=asc", []int{1, 2, 3}},
		{"?creator=alice", []int{3}},
		{"?labels=none", []int{}},
	} {
		status, body := w.ask(w.token, "GET", repo+"/issues"+test.query, "")
		var list []struct{ Number int }
		check(t, json.Unmarshal([]byte(body), &list))
		got := []int{}
		for _, i := range list {
			got = append(got, i.Number)
		}
		if status != 200 || !slices.Equal(got, test.want) {
			t.Errorf("%q lists %v, want %v", test.query, got, test.want)
		}
	}
	for _, test := range []struct {
		body, state, title string
		labels             []string
	}{
		{`{"state": "closed"}`, "closed", "one", []string{"failing", "root"}},
		{`{"state": "open", "title": "again"}`, "open", "again", []string{"failing", "root"}},
		{`{"labels": []}`, "open", "again", []string{}},
	} {
		w.ask(w.token, "PATCH", repo+"/issues/1", test.body)
		if got := w.Issues()[0]; got.State != test.state || got.Title != test.title || !slices.Equal(got.Labels, test.labels) {
			t.Errorf("after %s it is %+v", test.body, got)
		}
	}
	w.ask(w.token, "PATCH", repo+"/issues/3", `{"state": "closed"}`)
	if p := w.Pull(3); p.State != "closed" || p.Merged {
		t.Errorf("a pull request closed as an issue is %+v", p)
	}
	if status, _ := w.ask(w.token, "GET", repo+"/pulls/1", ""); status != http.StatusNotFound {
		t.Errorf("an issue as a pull request is %d, want 404", status)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Lenient: true}) // what breaks the schema is refused too
	head := w.Upstream.Head("sign/x")
	for _, test := range []struct {
		name, sha, body string
		status          int
		says            string
	}{
		{"unknown commit", strings.Repeat("1", 40), `{"state": "success"}`, 422, "No commit found for SHA: 1111"},
		{"short", head[:12], `{"state": "success"}`, 422, "No commit found for SHA"},
		{"a tree", w.Upstream.Run("rev-parse", head+"^{tree}"), `{"state": "success"}`, 422, "No commit found for SHA"},
		{"no state", head, `{}`, 422, "state"},
		{"another state", head, `{"state": "neutral"}`, 422, "state"},
		{"longest", head, `{"state": "success", "description": "` + strings.Repeat("é", 140) + `"}`, 201, ""},
		{"too long", head, `{"state": "success", "description": "` + strings.Repeat("é", 141) + `"}`, 422, "maximum is 140"},
		{"not for the web", head, `{"state": "success", "target_url": "file:///x"}`, 422, "target_url must use http(s) scheme"},
	} {
		if status, body := w.ask(w.token, "POST", repo+"/statuses/"+test.sha, test.body); status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s, want %d %s", test.name, status, body, test.status, test.says)
		}
	}
	if got := w.Statuses(""); len(got) != 1 || got[0].Context != "default" || got[0].Commit != head {
		t.Errorf("set were %+v", got)
	}
}

func TestCombinedStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{})
	head := w.Upstream.Head("sign/x")
	for _, test := range []struct{ context, state, want string }{
		{"", "", "pending"}, // none
		{"a", "success", "success"},
		{"b", "pending", "pending"},
		{"c", "error", "failure"},
		{"c", "success", "pending"},
		{"b", "success", "success"},
		{"a", "failure", "failure"},
	} {
		if test.context != "" {
			w.ask(w.token, "POST", repo+"/statuses/"+head, fmt.Sprintf(`{"state": %q, "context": %q}`, test.state, test.context))
		}
		for _, ref := range []string{head, "sign/x", "heads/sign/x", "heads%2Fsign%2Fx"} {
			status, body := w.ask(w.token, "GET", repo+"/commits/"+ref+"/status", "")
			var got struct{ State, Sha string }
			check(t, json.Unmarshal([]byte(body), &got))
			if status != 200 || got.State != test.want || got.Sha != head {
				t.Errorf("after %s is %s, %s is %d %s of %s, want %s of %s", test.context, test.state, ref, status, got.State, got.Sha, test.want, head)
			}
		}
	}
	var list []struct{ State, Context string }
	_, body := w.ask(w.token, "GET", repo+"/commits/"+head+"/statuses", "")
	check(t, json.Unmarshal([]byte(body), &list))
	if len(list) != 6 || list[0].Context != "a" || list[0].State != "failure" || list[5].State != "success" {
		t.Errorf("newest first they are %v", list)
	}
	if status, _ := w.ask(w.token, "GET", repo+"/commits/none/status", ""); status != 404 {
		t.Errorf("the status of what is not there is %d", status)
	}
	if status, body := w.ask(w.token, "GET", repo+"/commits/none", ""); status != 422 || !strings.Contains(body, "No commit found for SHA: none") {
		t.Errorf("a commit that is not there is %d %s", status, body)
	}
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, githubtest.Options{Settings: githubtest.Settings{Workflows: []string{"elsewhere.yml"}}})
	w.clone.Run("checkout", "--quiet", "--detach", "origin/main")
	w.clone.WriteFile(".github/workflows/plain.yml", "on: workflow_dispatch\n")
	w.clone.WriteFile(".github/workflows/list.yaml", "on: [push, workflow_dispatch]\n")
	w.clone.WriteFile(".github/workflows/optional.yml", "on:\n  push:\n  workflow_dispatch:\n    inputs:\n      a: {required: true, default: x}\n      b:\n")
	w.clone.WriteFile(".github/workflows/odd.yml", "on: {")
	w.clone.WriteFile(".github/workflows/notes.md", "on: workflow_dispatch\n")
	w.clone.Commit("workflows")
	w.clone.Push("HEAD:main")
	w.clone.WriteFile(".github/workflows/plain.yml", "on: push\n")
	w.clone.WriteFile(".github/workflows/new.yml", "on: workflow_dispatch\n")
	w.clone.Commit("others")
	w.clone.Push("HEAD:refs/heads/sign/w")
	count := 0
	for _, test := range []struct {
		name, workflow, body string
		status               int
		says                 string
	}{
		{"plain", "plain.yml", `{"ref": "main"}`, 204, ""},
		{"full ref", "plain.yml", `{"ref": "refs/heads/main"}`, 204, ""},
		{"in a list", "list.yaml", `{"ref": "main"}`, 204, ""},
		{"inputs", "optional.yml", `{"ref": "main", "inputs": {"b": "1"}}`, 204, ""},
		{"input missing", "publish.yml", `{"ref": "main"}`, 422, "Required input 'what' not provided"},
		{"input unknown", "plain.yml", `{"ref": "main", "inputs": {"x": "1"}}`, 422, "Unexpected inputs provided"},
		{"no trigger", "test.yml", `{"ref": "main"}`, 422, "Workflow does not have 'workflow_dispatch' trigger"},
		{"no trigger on that branch", "plain.yml", `{"ref": "sign/w"}`, 422, "Workflow does not have 'workflow_dispatch' trigger"},
		{"not on the default branch", "new.yml", `{"ref": "sign/w"}`, 404, "Not Found"},
		{"unreadable", "odd.yml", `{"ref": "main"}`, 422, "trigger"},
		{"not there", "none.yml", `{"ref": "main"}`, 404, "Not Found"},
		{"no workflow", "notes.md", `{"ref": "main"}`, 404, "Not Found"},
		{"no ref", "plain.yml", `{"ref": "sign/none"}`, 422, "No ref found for: sign/none"},
		{"elsewhere", "elsewhere.yml", `{"ref": "main", "inputs": {"x": "1"}}`, 204, ""},
	} {
		status, body := w.ask(w.token, "POST", repo+"/actions/workflows/"+test.workflow+"/dispatches", test.body)
		if status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s, want %d %s", test.name, status, body, test.status, test.says)
		}
		if status == 204 {
			count++
		}
	}
	got := w.Dispatches()
	if len(got) != count || got[3].Workflow != "optional.yml" || got[3].Inputs["b"] != "1" || got[3].Login != githubtest.ActionsLogin {
		t.Errorf("dispatched were %+v", got)
	}
	w.AddRun("plain.yml", "push", "sign/w", "bob", "failure")
	for query, want := range map[string]int{"": 3, "?event=push": 1, "?branch=sign/w": 1, "?branch=main": 2, "?status=queued": 2, "?status=failure": 1, "?actor=bob": 1} {
		status, body := w.ask(w.token, "GET", repo+"/actions/workflows/plain.yml/runs"+query, "")
		var list struct {
			Count int `json:"total_count"`
			Runs  []struct {
				ID int `json:"workflow_id"`
			} `json:"workflow_runs"`
		}
		check(t, json.Unmarshal([]byte(body), &list))
		if status != 200 || list.Count != want || len(list.Runs) != want {
			t.Errorf("runs%s: %d, %d of them, want %d", query, status, list.Count, want)
			continue
		}
		if status, _ := w.ask(w.token, "GET", repo+"/actions/workflows/"+itoa(list.Runs[0].ID)+"/runs", ""); status != 200 {
			t.Errorf("by number the workflow is %d", status)
		}
	}
}

func TestPushes(t *testing.T) {
	t.Setenv("GITHUB_ACTOR", "") // no t.Parallel
	w := newWorld(t, githubtest.Options{})
	before := len(w.Pushes())
	made := w.push("sign/y")
	t.Setenv("GITHUB_ACTOR", githubtest.ActionsLogin)
	more := w.push("sign/y")
	w.clone.Push("+" + made + ":refs/heads/sign/y")
	t.Setenv("GITHUB_ACTOR", "")
	w.clone.Push(":refs/heads/sign/y")
	zeros := strings.Repeat("0", 40)
	want := []githubtest.Push{
		{Ref: "refs/heads/sign/y", Before: zeros, After: made, Kind: "branch_creation", Actor: "octo"},
		{Ref: "refs/heads/sign/y", Before: made, After: more, Kind: "push", Actor: githubtest.ActionsLogin},
		{Ref: "refs/heads/sign/y", Before: more, After: made, Kind: "force_push", Actor: githubtest.ActionsLogin},
		{Ref: "refs/heads/sign/y", Before: made, After: zeros, Kind: "branch_deletion", Actor: "octo"},
	}
	got := w.Pushes()[before:]
	if len(got) != len(want) {
		t.Fatalf("there were %d pushes, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		want[i].ID, want[i].At = got[i].ID, got[i].At
		if got[i] != want[i] {
			t.Errorf("push %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	for query, kinds := range map[string]string{
		"?ref=sign/y":                                             "branch_deletion force_push push branch_creation",
		"?ref=refs/heads/sign/y&direction=asc":                    "branch_creation push force_push branch_deletion",
		"?ref=sign/y&activity_type=force_push":                    "force_push",
		"?actor=github-actions%5Bbot%5D":                          "force_push push",
		"?ref=sign/y&per_page=2":                                  "branch_deletion force_push",
		fmt.Sprintf("?ref=sign/y&per_page=2&after=%d", got[2].ID): "push branch_creation",
	} {
		var list []struct {
			Kind string `json:"activity_type"`
		}
		_, body := w.ask(w.token, "GET", repo+"/activity"+query, "")
		check(t, json.Unmarshal([]byte(body), &list))
		var have []string
		for _, a := range list {
			have = append(have, a.Kind)
		}
		if strings.Join(have, " ") != kinds {
			t.Errorf("%s is %q, want %q", query, have, kinds)
		}
	}
}
