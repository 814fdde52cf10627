package workflows

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/infrastructure.md says which permissions each job holds. People decide by
// it, so it must say what the files say.
func TestInfrastructurePage(t *testing.T) {
	told := make(map[string][]string) // by "FILE JOB"
	row := regexp.MustCompile("(?m)^\\| (?:`([a-z-]+\\.yml)` ([a-z-]+)|(update-issue), [^|]*) \\|[^|]*\\|([^|]*)\\|")
	permission := regexp.MustCompile("`([a-z-]+: (?:read|write))`")
	for _, m := range row.FindAllStringSubmatch(string(readFile(t, "../../docs/infrastructure.md")), -1) {
		for _, p := range permission.FindAllStringSubmatch(m[4], -1) {
			name := strings.TrimSpace(m[1] + " " + m[2] + m[3])
			told[name] = append(told[name], p[1])
		}
	}
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range files {
		if !isWorkflow(f.Path) {
			continue
		}
		doc, err := parse(f.Data)
		if err != nil {
			t.Fatal(err)
		}
		jobs := field(doc, "jobs")
		for i := 0; i+1 < len(jobs.Content); i += 2 {
			id, job := jobs.Content[i].Value, jobs.Content[i+1]
			if field(job, "uses") != nil {
				continue // it holds nothing itself
			}
			name := strings.TrimPrefix(f.Path, ".github/workflows/") + " " + id
			if id == "update-issue" {
				name = id
			}
			seen[name] = true
			var have []string
			for j := 0; j+1 < len(field(job, "permissions").Content); j += 2 {
				have = append(have, field(job, "permissions").Content[j].Value+": "+field(job, "permissions").Content[j+1].Value)
			}
			slices.Sort(have)
			slices.Sort(told[name])
			if !slices.Equal(have, told[name]) {
				t.Errorf("%s has %q, and the page says %q", name, have, told[name])
			}
		}
	}
	if names := slices.Sorted(maps.Keys(told)); !slices.Equal(names, slices.Sorted(maps.Keys(seen))) {
		t.Errorf("the page tells of %q, there are %q", names, slices.Sorted(maps.Keys(seen)))
	}
}

// docs/infrastructure.md has the job that publishes to a bucket. People copy it, so
// it must be one that we would lay down.
func TestBucketJob(t *testing.T) {
	page := string(readFile(t, "../../docs/infrastructure.md"))
	_, page, found := strings.Cut(page, "\n### A bucket, in a workflow\n")
	_, page, fenced := strings.Cut(page, "\n```yaml\n")
	job, _, ends := strings.Cut(page, "\n```\n")
	if !found || !fenced || !ends {
		t.Fatal("the page has no such job")
	}
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path != ".github/workflows/publish.yml" {
			continue
		}
		head, _, _ := strings.Cut(string(f.Data), "\njobs:\n")
		data := []byte(head + "\n" + strings.NewReplacer("@COMMIT # VERSION", "@"+laid.Ref+" # "+laid.Version).Replace(job) + "\n")
		for _, problem := range append(lint(f.Path, data), lintFork(data)...) {
			t.Error(problem)
		}
		doc, err := parse(data)
		if err != nil {
			t.Fatal(err)
		}
		one := field(field(doc, "jobs"), "publish")
		step := field(one, "steps").Content[0]
		takes := inputs["publish-repository"]
		if uses := field(step, "uses").Value; uses != laid.uses("publish-repository") {
			t.Errorf("it uses %s", uses)
		}
		given := map[string]bool{}
		with := field(step, "with")
		for i := 0; i+1 < len(with.Content); i += 2 {
			given[with.Content[i].Value] = true
			if _, ok := takes[with.Content[i].Value]; !ok {
				t.Errorf("the action takes no %s", with.Content[i].Value)
			}
		}
		for name, how := range takes {
			if how == "required" && !given[name] {
				t.Errorf("it does not give %s", name)
			}
		}
		if env := field(field(one, "environment"), "name"); env == nil || env.Value == "tufops-sign" || env.Value == "" {
			t.Error("it has no environment of its own")
		}
		return
	}
	t.Fatal("no publish.yml is laid down")
}
