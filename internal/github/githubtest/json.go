package githubtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/git/gittest"
)

// This file is how things look in REST.

type obj = map[string]any

// epoch is when everything was made that was there before the test.
var epoch = gittest.Epoch

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func stampOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return stamp(*t)
}

func orNull(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// nodeID is the id of a thing in GraphQL. Clients must not look into it.
func nodeID(kind string, id int64) string { return fmt.Sprintf("%s_kwDO%08d", kind, id) }

func (s *Server) userID(login string) int64 {
	id, ok := s.users[strings.ToLower(login)]
	if !ok {
		id = s.id()
		s.users[strings.ToLower(login)] = id
	}
	return id
}

func isBot(login string) bool { return strings.HasSuffix(login, "[bot]") }

func (s *Server) user(login string) obj {
	id := s.userID(login)
	api, kind, page := s.URL+"/users/"+login, "User", Web+"/"+login
	if isBot(login) {
		kind, page = "Bot", Web+"/apps/"+strings.TrimSuffix(login, "[bot]")
		api = s.URL + "/users/" + strings.NewReplacer("[", "%5B", "]", "%5D").Replace(login)
	}
	return obj{
		"login": login, "id": id, "node_id": nodeID("U", id), "avatar_url": fmt.Sprintf("%s/avatars/%d", Web, id), "gravatar_id": "",
		"url": api, "html_url": page, "followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
		"organizations_url": api + "/orgs", "repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events", "type": kind, "user_view_type": "public", "site_admin": false,
	}
}

func (s *Server) userOrNull(login string) any {
	if login == "" {
		return nil
	}
	return s.user(login)
}

func (s *Server) publicUser(login string) obj {
	o := s.user(login)
	for _, name := range []string{"name", "company", "blog", "location", "email", "hireable", "bio"} {
		o[name] = nil
	}
	for _, name := range []string{"public_repos", "public_gists", "followers", "following"} {
		o[name] = 0
	}
	o["created_at"], o["updated_at"] = stamp(epoch), stamp(epoch)
	return o
}

func (s *Server) repoURL(owner string) string { return s.URL + "/repos/" + owner + "/" + s.Repo }

// page is where people would see something of the repository.
func (s *Server) page(rest string) string { return Web + "/" + s.Owner + "/" + s.Repo + rest }

// minimalRepo is the repository, or somebody's fork of it, where it is mentioned
// in passing.
func (s *Server) minimalRepo(owner string) obj {
	api := s.repoURL(owner)
	full := owner + "/" + s.Repo
	id := s.userID("repository:" + full)
	o := obj{
		"id": id, "node_id": nodeID("R", id), "name": s.Repo, "full_name": full, "owner": s.user(owner), "private": s.settings.Private,
		"html_url": Web + "/" + full, "description": nil, "fork": owner != s.Owner, "url": api,
	}
	for _, name := range []string{"contributors", "deployments", "downloads", "events", "forks", "hooks", "languages", "merges",
		"stargazers", "subscribers", "subscription", "tags", "teams"} {
		o[name+"_url"] = api + "/" + name
	}
	tails := map[string]string{
		"archive": "{archive_format}{/ref}", "assignees": "assignees{/user}", "blobs": "git/blobs{/sha}", "branches": "branches{/branch}",
		"collaborators": "collaborators{/collaborator}", "comments": "comments{/number}", "commits": "commits{/sha}",
		"compare": "compare/{base}...{head}", "contents": "contents/{+path}", "git_commits": "git/commits{/sha}",
		"git_refs": "git/refs{/sha}", "git_tags": "git/tags{/sha}", "issue_comment": "issues/comments{/number}",
		"issue_events": "issues/events{/number}", "issues": "issues{/number}", "keys": "keys{/key_id}", "labels": "labels{/name}",
		"milestones": "milestones{/number}", "notifications": "notifications{?since,all,participating}", "pulls": "pulls{/number}",
		"releases": "releases{/id}", "statuses": "statuses/{sha}", "trees": "git/trees{/sha}",
	}
	for name, tail := range tails {
		o[name+"_url"] = api + "/" + tail
	}
	return o
}

func (s *Server) repo(owner string) obj {
	o := s.minimalRepo(owner)
	page := Web + "/" + owner + "/" + s.Repo
	visibility := "public"
	if s.settings.Private {
		visibility = "private"
	}
	open := 0
	for _, i := range s.issues {
		if i.open {
			open++
		}
	}
	maps.Copy(o, obj{
		"clone_url": page + ".git", "git_url": page + ".git", "ssh_url": "git@github.example:" + owner + "/" + s.Repo + ".git", "svn_url": page,
		"mirror_url": nil, "homepage": nil, "language": nil, "license": nil, "forks": 0, "forks_count": 0, "stargazers_count": 0,
		"watchers": 0, "watchers_count": 0, "size": 0, "open_issues": open, "open_issues_count": open, "default_branch": s.defaultBranch(),
		"has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false, "has_downloads": false, "has_discussions": false,
		"archived": false, "disabled": false, "visibility": visibility, "is_template": false, "topics": []string{}, "allow_forking": true,
		"pushed_at": stamp(epoch), "created_at": stamp(epoch), "updated_at": stamp(epoch),
	})
	return o
}

// defaultBranch is what the bare repository's HEAD says.
func (s *Server) defaultBranch() string {
	head, err := os.ReadFile(filepath.Join(s.Dir, "HEAD"))
	sure(err)
	return strings.TrimPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/")
}

func (s *Server) labelJSON(l *label) obj {
	return obj{"id": l.id, "node_id": nodeID("LA", l.id), "url": s.repoURL(s.Owner) + "/labels/" + l.name, "name": l.name,
		"description": deref(l.description), "color": l.color, "default": false}
}

// common is what an issue and a pull request have in common.
func (s *Server) common(i *issue) obj {
	api := fmt.Sprintf("%s/issues/%d", s.repoURL(s.Owner), i.number)
	return obj{
		"id": i.id, "number": i.number, "state": i.state(), "locked": false, "title": i.title, "body": orNull(i.body), "user": s.user(i.author),
		"labels": each(i.labels, s.labelJSON), "milestone": nil, "assignee": nil, "assignees": []obj{}, "active_lock_reason": nil,
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "closed_at": stampOrNull(i.closed),
		"comments_url": api + "/comments", "author_association": "CONTRIBUTOR",
	}
}

func (s *Server) pullPage(i *issue) string { return s.page("/pull/" + strconv.Itoa(i.number)) }

// pullJSON is a pull request in a list.
func (s *Server) pullJSON(i *issue) obj {
	p := i.pull
	o := s.common(i)
	page, api, repo := s.pullPage(i), fmt.Sprintf("%s/pulls/%d", s.repoURL(s.Owner), i.number), s.repoURL(s.Owner)
	links := map[string]string{
		"self": api, "html": page, "issue": fmt.Sprintf("%s/issues/%d", repo, i.number), "comments": o["comments_url"].(string),
		"review_comments": api + "/comments", "review_comment": repo + "/pulls/comments{/number}", "commits": api + "/commits",
		"statuses": repo + "/statuses/" + p.headSHA,
	}
	all := obj{}
	for name, href := range links {
		all[name] = obj{"href": href}
	}
	maps.Copy(o, obj{
		"node_id": s.pullID(i), "url": api, "html_url": page, "diff_url": page + ".diff", "patch_url": page + ".patch",
		"issue_url": links["issue"], "commits_url": links["commits"], "review_comments_url": links["review_comments"],
		"review_comment_url": links["review_comment"], "statuses_url": links["statuses"], "_links": all,
		"merged_at": stampOrNull(p.merged), "merge_commit_sha": nil, "requested_reviewers": []obj{}, "requested_teams": []obj{},
		"auto_merge": nil, "draft": p.draft,
		"head": s.end(p.headOwner, p.headBranch, p.headSHA), "base": s.end(s.Owner, p.base, p.baseSHA),
	})
	if p.merged != nil {
		o["merge_commit_sha"] = p.mergeCommit
	}
	return o
}

func (s *Server) pullID(i *issue) string { return nodeID("PR", i.id) }

func (s *Server) end(owner, branch, commit string) obj {
	return obj{"label": owner + ":" + branch, "ref": branch, "sha": commit, "user": s.user(owner), "repo": s.repo(owner)}
}

// fullPull is a pull request alone, with what only git knows.
func (s *Server) fullPull(i *issue) obj {
	p := i.pull
	o := s.pullJSON(i)
	commits, err := s.git.run("rev-list", "--count", p.baseSHA+".."+p.headSHA)
	sure(err)
	n, _ := strconv.Atoi(commits)
	stat, err := s.git.run("diff", "--numstat", p.baseSHA+"..."+p.headSHA)
	sure(err)
	files, added, deleted := 0, 0, 0
	for line := range strings.Lines(stat) {
		var a, d int
		fmt.Sscan(line, &a, &d) // a binary file has dashes
		files, added, deleted = files+1, added+a, deleted+d
	}
	maps.Copy(o, obj{
		"merged": p.merged != nil, "mergeable": nil, "rebaseable": nil, "mergeable_state": "unknown", "merged_by": s.userOrNull(p.mergedBy),
		"comments": len(s.commentList(i)), "review_comments": 0, "maintainer_can_modify": false,
		"commits": n, "additions": added, "deletions": deleted, "changed_files": files,
	})
	return o
}

func (s *Server) issueJSON(i *issue) obj {
	o := s.common(i)
	api := fmt.Sprintf("%s/issues/%d", s.repoURL(s.Owner), i.number)
	page := s.page("/issues/" + strconv.Itoa(i.number))
	var reason any
	o["node_id"] = nodeID("I", i.id)
	if i.pull != nil {
		pull := s.pullJSON(i)
		page = s.pullPage(i)
		o["node_id"], o["draft"] = pull["node_id"], i.pull.draft
		o["pull_request"] = obj{"url": pull["url"], "html_url": page, "diff_url": pull["diff_url"], "patch_url": pull["patch_url"], "merged_at": pull["merged_at"]}
	} else if !i.open {
		reason = "completed"
	}
	maps.Copy(o, obj{
		"url": api, "repository_url": s.repoURL(s.Owner), "labels_url": api + "/labels{/name}", "events_url": api + "/events",
		"html_url": page, "timeline_url": api + "/timeline", "comments": len(s.commentList(i)), "state_reason": reason,
		"closed_by": s.userOrNull(i.closedBy), "performed_via_github_app": nil,
	})
	return o
}

func (s *Server) commentJSON(c *comment) obj {
	page := s.page("/issues/" + strconv.Itoa(c.issue.number))
	if c.issue.pull != nil {
		page = s.pullPage(c.issue)
	}
	return obj{
		"id": c.id, "node_id": nodeID("IC", c.id), "url": fmt.Sprintf("%s/issues/comments/%d", s.repoURL(s.Owner), c.id),
		"html_url": fmt.Sprintf("%s#issuecomment-%d", page, c.id), "issue_url": fmt.Sprintf("%s/issues/%d", s.repoURL(s.Owner), c.issue.number),
		"user": s.user(c.author), "body": c.body, "created_at": stamp(c.created), "updated_at": stamp(c.updated),
		"author_association": "CONTRIBUTOR", "performed_via_github_app": nil,
	}
}

func (s *Server) statusJSON(st *status) obj {
	return obj{
		"id": st.id, "node_id": nodeID("SC", st.id), "url": s.repoURL(s.Owner) + "/statuses/" + st.commit, "avatar_url": Web + "/avatars/bot",
		"state": st.state, "description": orNull(st.description), "target_url": orNull(st.target), "context": st.context,
		"created_at": stamp(st.created), "updated_at": stamp(st.created),
	}
}

func (s *Server) activity(p Push) obj {
	return obj{"id": p.ID, "node_id": nodeID("PSH", p.ID), "before": p.Before, "after": p.After, "ref": p.Ref, "timestamp": stamp(p.At),
		"activity_type": p.Kind, "actor": s.user(p.Actor)}
}

// commitFields are what git says of a commit, one a line, the message last.
const commitFields = "%T%n%P%n%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%B"

func (s *Server) commitLines(oid string) []string {
	out, err := s.git.run("show", "--no-patch", "--format="+commitFields, oid)
	sure(err)
	return strings.SplitN(out, "\n", 9)
}

func (s *Server) commitJSON(oid string) obj {
	f := s.commitLines(oid)
	api, page := s.repoURL(s.Owner), s.page("/commit/")
	parents := []obj{}
	for _, p := range strings.Fields(f[1]) {
		parents = append(parents, obj{"sha": p, "url": api + "/commits/" + p, "html_url": page + p})
	}
	return obj{
		"sha": oid, "node_id": "C_" + oid, "url": api + "/commits/" + oid, "html_url": page + oid, "comments_url": api + "/commits/" + oid + "/comments",
		"commit": obj{
			"author": obj{"name": f[2], "email": f[3], "date": f[4]}, "committer": obj{"name": f[5], "email": f[6], "date": f[7]},
			"message": strings.TrimRight(f[8], "\n"), "tree": obj{"sha": f[0], "url": api + "/git/trees/" + f[0]},
			"url": api + "/git/commits/" + oid, "comment_count": 0,
			"verification": obj{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
		},
		"author": nil, "committer": nil, "parents": parents, // nobody's mail address is known here
	}
}

func (s *Server) runJSON(r *run) obj {
	f := s.commitLines(r.commit)
	api := fmt.Sprintf("%s/actions/runs/%d", s.repoURL(s.Owner), r.id)
	id := s.workflowID(r.workflow)
	return obj{
		"id": r.id, "name": r.workflow, "node_id": nodeID("WFR", r.id), "head_branch": r.branch, "head_sha": r.commit,
		"path": workflowDir + r.workflow, "display_title": r.workflow, "run_number": r.number, "run_attempt": 1, "event": r.event,
		"status": r.status, "conclusion": orNull(r.conclusion), "workflow_id": id, "check_suite_id": r.id, "check_suite_node_id": nodeID("CS", r.id),
		"url": api, "html_url": s.page(fmt.Sprintf("/actions/runs/%d", r.id)), "pull_requests": []obj{},
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "run_started_at": stamp(r.created),
		"actor": s.user(r.actor), "triggering_actor": s.user(r.actor), "jobs_url": api + "/jobs", "logs_url": api + "/logs",
		"check_suite_url": fmt.Sprintf("%s/check-suites/%d", s.repoURL(s.Owner), r.id), "artifacts_url": api + "/artifacts",
		"cancel_url": api + "/cancel", "rerun_url": api + "/rerun", "previous_attempt_url": nil,
		"workflow_url": fmt.Sprintf("%s/actions/workflows/%d", s.repoURL(s.Owner), id), "referenced_workflows": []obj{},
		"head_commit": obj{"id": r.commit, "tree_id": f[0], "message": strings.TrimRight(f[8], "\n"), "timestamp": f[7],
			"author": obj{"name": f[2], "email": f[3]}, "committer": obj{"name": f[5], "email": f[6]}},
		"repository": s.minimalRepo(s.Owner), "head_repository": s.minimalRepo(s.Owner),
	}
}
