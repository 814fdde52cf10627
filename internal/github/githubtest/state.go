package githubtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// issue is an issue, or a pull request, which is one too.
type issue struct {
	number           int
	id               int64
	title, author    string
	body             *string
	open             bool
	labels           []*label
	created, updated time.Time
	closed           *time.Time
	closedBy         string
	pull             *pull // nil for a plain issue
}

type pull struct {
	draft                 bool
	headOwner, headBranch string
	base                  string
	headSHA, baseSHA      string // as of the last look; those of a closed one stay
	merged                *time.Time
	mergedBy, mergeCommit string
}

type comment struct {
	id               int64
	issue            *issue
	author, body     string
	created, updated time.Time
}

type status struct {
	id                              int64
	commit, context, state, creator string
	description, target             *string
	created                         time.Time
}

type label struct {
	id          int64
	name, color string
	description *string
}

type run struct {
	id                           int64
	number                       int
	workflow                     string // file name
	event, branch, commit, actor string
	status                       string
	conclusion                   *string
	created                      time.Time
}

// A Pull is a pull request as it is now.
type Pull struct {
	Number      int       `json:"number"`
	Title       string    `json:"title"`
	Body        string    `json:"body"`
	Author      string    `json:"author"`
	State       string    `json:"state"` // open or closed
	Draft       bool      `json:"draft"`
	Merged      bool      `json:"merged"`
	MergeCommit string    `json:"merge_commit,omitempty"`
	HeadOwner   string    `json:"head_owner"`
	Head        string    `json:"head"` // branch
	HeadSHA     string    `json:"head_sha"`
	Base        string    `json:"base"`
	Labels      []string  `json:"labels"`
	Comments    []Comment `json:"comments"`
}

// An Issue is a plain issue as it is now.
type Issue struct {
	Number   int       `json:"number"`
	Title    string    `json:"title"`
	Body     string    `json:"body"`
	Author   string    `json:"author"`
	State    string    `json:"state"`
	Labels   []string  `json:"labels"`
	Comments []Comment `json:"comments"`
}

// A Comment is one on an issue or a pull request.
type Comment struct {
	ID     int64  `json:"id"`
	Author string `json:"author"`
	Body   string `json:"body"`
	Edited bool   `json:"edited"`
}

// A Status is what somebody said of a commit.
type Status struct {
	Commit      string `json:"commit"`
	Context     string `json:"context"`
	State       string `json:"state"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Creator     string `json:"creator"`
}

// A Dispatch is a workflow that was started by request.
type Dispatch struct {
	Workflow string            `json:"workflow"` // file name
	Ref      string            `json:"ref"`      // as it was given
	Inputs   map[string]string `json:"inputs"`
	Login    string            `json:"login"`
}

// Pulls are all pull requests, by number.
func (s *Server) Pulls() []Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	return s.pullList()
}

func (s *Server) pullList() []Pull {
	all := []Pull{}
	for _, i := range s.issues {
		if i.pull != nil {
			all = append(all, s.snapshot(i))
		}
	}
	return all
}

// Pull returns one pull request; none of that number ends the test.
func (s *Server) Pull(number int) Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	i := s.issue(number)
	if i == nil || i.pull == nil {
		s.must(fmt.Errorf("there is no pull request %d", number))
	}
	return s.snapshot(i)
}

func (s *Server) snapshot(i *issue) Pull {
	p := i.pull
	return Pull{
		Number: i.number, Title: i.title, Body: deref(i.body), Author: i.author, State: i.state(), Draft: p.draft,
		Merged: p.merged != nil, MergeCommit: p.mergeCommit, HeadOwner: p.headOwner, Head: p.headBranch, HeadSHA: p.headSHA,
		Base: p.base, Labels: names(i.labels), Comments: s.commentList(i),
	}
}

// Issues are all plain issues, by number.
func (s *Server) Issues() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issueList()
}

func (s *Server) issueList() []Issue {
	all := []Issue{}
	for _, i := range s.issues {
		if i.pull == nil {
			all = append(all, Issue{Number: i.number, Title: i.title, Body: deref(i.body), Author: i.author, State: i.state(),
				Labels: names(i.labels), Comments: s.commentList(i)})
		}
	}
	return all
}

// Comments are those of an issue or a pull request, oldest first.
func (s *Server) Comments(number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commentList(s.known(number))
}

func (s *Server) commentList(i *issue) []Comment {
	all := []Comment{}
	for _, c := range s.comments {
		if c.issue == i {
			all = append(all, Comment{ID: c.id, Author: c.author, Body: c.body, Edited: c.updated != c.created})
		}
	}
	return all
}

// Statuses are all that were set on a commit, oldest first; on all commits if
// it is empty.
func (s *Server) Statuses(commit string) []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statusList(commit)
}

func (s *Server) statusList(commit string) []Status {
	all := []Status{}
	for _, st := range s.statuses {
		if commit == "" || st.commit == commit {
			all = append(all, Status{Commit: st.commit, Context: st.context, State: st.state,
				Description: deref(st.description), URL: deref(st.target), Creator: st.creator})
		}
	}
	return all
}

// Dispatches are the workflows that were started by request, in their order.
func (s *Server) Dispatches() []Dispatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dispatches)
}

// Dump is all there is, as JSON for people.
func (s *Server) Dump() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	requests := []string{}
	for _, r := range s.requests {
		requests = append(requests, r.String())
	}
	data, err := json.MarshalIndent(struct {
		Pulls      []Pull     `json:"pulls"`
		Issues     []Issue    `json:"issues"`
		Statuses   []Status   `json:"statuses"`
		Dispatches []Dispatch `json:"dispatches"`
		Pushes     []Push     `json:"pushes"`
		Requests   []string   `json:"requests"`
		Violations []string   `json:"violations"`
	}{s.pullList(), s.issueList(), s.statusList(""), append([]Dispatch{}, s.dispatches...), append([]Push{}, s.pushes...),
		requests, append([]string{}, s.violations...)}, "", "  ")
	s.must(err)
	return append(data, '\n')
}

// Comment comments on an issue or a pull request as somebody.
func (s *Server) Comment(number int, login, body string) Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.comment(s.known(number), login, body)
	return Comment{ID: c.id, Author: login, Body: body}
}

func (s *Server) comment(i *issue, login, body string) *comment {
	now := s.now()
	c := &comment{id: s.id(), issue: i, author: login, body: body, created: now, updated: now}
	s.comments = append(s.comments, c)
	i.updated = now
	return c
}

// EditComment changes a comment by hand.
func (s *Server) EditComment(id int64, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.comments {
		if c.id == id {
			c.body, c.updated = body, s.now()
			return
		}
	}
	s.must(fmt.Errorf("there is no comment %d", id))
}

// DeleteComment deletes a comment by hand.
func (s *Server) DeleteComment(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropComment(id) {
		s.must(fmt.Errorf("there is no comment %d", id))
	}
}

func (s *Server) dropComment(id int64) bool {
	before := len(s.comments)
	s.comments = slices.DeleteFunc(s.comments, func(c *comment) bool { return c.id == id })
	return len(s.comments) < before
}

// OpenPull opens a pull request as somebody: from a branch, or from
// "login:branch" of a fork. It returns the number; what GitHub refuses ends the
// test.
func (s *Server) OpenPull(login, head, base, title, body string, draft bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	i, err := s.openPull(login, head, base, title, &body, draft)
	if err != nil {
		s.must(fmt.Errorf("open a pull request from %s to %s: %s %v", head, base, err.Message, err.Errors))
	}
	return i.number
}

// ClosePull closes an issue or a pull request by hand.
func (s *Server) ClosePull(number int, login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	s.close(s.known(number), login)
}

// Reopen opens a closed issue or pull request again; what GitHub refuses ends the
// test.
func (s *Server) Reopen(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	if err := s.reopen(s.known(number)); err != nil {
		s.must(fmt.Errorf("reopen %d: %v", number, err.Errors))
	}
}

// SetDraft makes a pull request a draft or ready by hand.
func (s *Server) SetDraft(number int, draft bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known(number).pull.draft = draft
}

// Label puts labels on an issue or a pull request by hand, and takes others away.
func (s *Server) Label(number int, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.known(number)
	i.labels = nil
	s.label(i, labels)
}

func (s *Server) issue(number int) *issue {
	if number < 1 || number > len(s.issues) {
		return nil
	}
	return s.issues[number-1]
}

// known is issue for a number that a test gives.
func (s *Server) known(number int) *issue {
	i := s.issue(number)
	if i == nil {
		s.must(fmt.Errorf("there is no issue or pull request %d", number))
	}
	return i
}

func (s *Server) newIssue(login, title string, body *string) *issue {
	now := s.now()
	i := &issue{number: len(s.issues) + 1, id: s.id(), title: title, body: body, author: login, open: true, created: now, updated: now}
	s.issues = append(s.issues, i)
	return i
}

func (i *issue) state() string {
	if i.open {
		return "open"
	}
	return "closed"
}

func (s *Server) close(i *issue, login string) {
	if !i.open {
		return
	}
	now := s.now()
	i.open, i.closed, i.closedBy, i.updated = false, &now, login, now
}

func (s *Server) merged(i *issue, commit, login string) {
	s.close(i, login)
	i.pull.merged, i.pull.mergedBy, i.pull.mergeCommit = i.closed, login, commit
}

// label puts labels on an issue and makes those that do not exist. A name is
// the same in capitals.
func (s *Server) label(i *issue, labels []string) {
	for _, name := range labels {
		l := s.findLabel(name)
		if l == nil {
			l = &label{id: s.id(), name: name, color: "ededed"}
			s.labels = append(s.labels, l)
		}
		if !slices.Contains(i.labels, l) {
			i.labels = append(i.labels, l)
		}
	}
	i.updated = s.now()
}

func (s *Server) findLabel(name string) *label {
	for _, l := range s.labels {
		if strings.EqualFold(l.name, name) {
			return l
		}
	}
	return nil
}

func names(labels []*label) []string {
	all := []string{}
	for _, l := range labels {
		all = append(all, l.name)
	}
	return all
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
