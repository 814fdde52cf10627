package githubtest

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const workflowDir = ".github/workflows/"

// workflow finds the workflow that a request names, by its file name or its
// number. GitHub knows those on the default branch.
func (c *call) workflow() (string, *apiError) {
	s := c.s
	known := slices.Clone(s.settings.Workflows)
	if tip := s.refs["refs/heads/"+s.defaultBranch()]; tip != "" {
		out, err := s.git.run("ls-tree", "--name-only", tip, workflowDir)
		sure(err)
		for name := range strings.Lines(out) {
			if name = path.Base(strings.TrimSpace(name)); path.Ext(name) == ".yml" || path.Ext(name) == ".yaml" {
				known = append(known, name)
			}
		}
	}
	for _, name := range known {
		if id := c.params["workflow_id"]; id == name || id == strconv.FormatInt(s.workflowID(name), 10) {
			return name, nil
		}
	}
	return "", notFound
}

func (s *Server) workflowID(file string) int64 { return s.userID("workflow:" + file) }

// input is one that a workflow declares.
type input struct {
	Required bool
	Default  any
}

// dispatchable reports whether a workflow may be started by request, and the
// inputs that it takes.
func dispatchable(file string) (inputs map[string]input, ok bool) {
	var doc struct {
		On yaml.Node `yaml:"on"`
	}
	if yaml.Unmarshal([]byte(file), &doc) != nil {
		return nil, false
	}
	const trigger = "workflow_dispatch"
	var name string
	var list []string
	var events map[string]yaml.Node
	switch {
	case doc.On.Decode(&name) == nil && name != "":
		return nil, name == trigger
	case doc.On.Decode(&list) == nil && list != nil:
		return nil, slices.Contains(list, trigger)
	case doc.On.Decode(&events) == nil:
		event, ok := events[trigger]
		var declared struct{ Inputs map[string]input }
		if ok && event.Decode(&declared) != nil {
			return nil, false
		}
		return declared.Inputs, ok
	}
	return nil, false
}

func dispatch(c *call) (any, *apiError) {
	s := c.s
	name, problem := c.workflow()
	if problem != nil {
		return nil, problem
	}
	var in struct {
		Ref    string
		Inputs map[string]any
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Ref == "" {
		return nil, refused("Invalid request.\n\n\"ref\" wasn't supplied.")
	}
	branch := strings.TrimPrefix(in.Ref, "refs/heads/")
	oid := s.refs["refs/heads/"+branch]
	if oid == "" {
		oid = s.refs["refs/tags/"+strings.TrimPrefix(in.Ref, "refs/tags/")]
	}
	if oid == "" {
		return nil, refused("No ref found for: %s", in.Ref)
	}
	given := map[string]string{}
	for key, value := range in.Inputs {
		text, ok := value.(string)
		if !ok {
			data, _ := json.Marshal(value) // came from JSON
			text = string(data)
		}
		given[key] = text
	}
	// A workflow that only the settings name takes any inputs.
	if file, ok := s.file(oid, workflowDir+name); ok || !slices.Contains(s.settings.Workflows, name) {
		declared, ok := dispatchable(file)
		if !ok {
			return nil, refused("Workflow does not have 'workflow_dispatch' trigger")
		}
		for key := range given {
			if _, ok := declared[key]; !ok {
				return nil, refused("Unexpected inputs provided: [%q]", key)
			}
		}
		for key, i := range declared {
			if given[key] == "" && i.Required && i.Default == nil {
				return nil, refused("Required input '%s' not provided", key)
			}
		}
	}
	s.dispatches = append(s.dispatches, Dispatch{Workflow: name, Ref: in.Ref, Inputs: given, Login: c.token.Login})
	s.addRun(name, "workflow_dispatch", branch, oid, c.token.Login)
	return nil, nil
}

func (s *Server) addRun(workflow, event, branch, commit, actor string) *run {
	number := 1
	for _, r := range s.runs {
		if r.workflow == workflow {
			number++
		}
	}
	r := &run{id: s.id(), number: number, workflow: workflow, event: event, branch: branch, commit: commit, actor: actor,
		status: "queued", created: s.now()}
	s.runs = append(s.runs, r)
	return r
}

// AddRun notes down a run of a workflow at the tip of a branch, with a conclusion
// such as "success", or queued if that is empty.
func (s *Server) AddRun(workflow, event, branch, actor, conclusion string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(s.sync())
	tip := s.refs["refs/heads/"+branch]
	if tip == "" {
		s.must(fmt.Errorf("add a run of %s: there is no branch %q", workflow, branch))
	}
	r := s.addRun(workflow, event, branch, tip, actor)
	if conclusion != "" {
		r.status, r.conclusion = "completed", &conclusion
	}
}

func listRuns(c *call) (any, *apiError) {
	name, err := c.workflow()
	if err != nil {
		return nil, err
	}
	fits := func(param string, values ...string) bool {
		want := c.req.Query.Get(param)
		return want == "" || slices.Contains(values, want)
	}
	var found []*run
	for _, r := range slices.Backward(c.s.runs) {
		if r.workflow == name && fits("branch", r.branch) && fits("event", r.event) && fits("actor", r.actor) &&
			fits("head_sha", r.commit) && fits("status", r.status, deref(r.conclusion)) {
			found = append(found, r)
		}
	}
	return obj{"total_count": len(found), "workflow_runs": each(page(c, found), c.s.runJSON)}, nil
}
