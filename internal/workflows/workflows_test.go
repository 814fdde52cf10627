package workflows

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestFiles(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	uses := make(map[string]int)
	for _, f := range files {
		paths = append(paths, f.Path)
		for _, placeholder := range []string{"ACTIONS/", "@REF", "# VERSION", "REPOSITORY", "(VERSION)"} {
			if strings.Contains(string(f.Data), placeholder) {
				t.Errorf("%s still says %s", f.Path, placeholder)
			}
		}
		for line := range strings.Lines(string(f.Data)) {
			if _, of, found := strings.Cut(line, "tufops/tufops/.github/actions/"); found {
				name, rest, _ := strings.Cut(of, "@")
				if want := laid.Ref + " # v0.1.0\n"; rest != want {
					t.Errorf("%s uses %s at %q, want %q", f.Path, name, rest, want)
				}
				uses[name]++
			}
		}
	}
	want := []string{
		".github/PULL_REQUEST_TEMPLATE/signing_event.md", ".github/TUFOPS_TEMPLATE/failure.md", ".github/dependabot.yml",
		".github/workflows/create-signing-events.yml", ".github/workflows/online-sign.yml", ".github/workflows/publish.yml",
		".github/workflows/signing-event.yml", ".github/workflows/test.yml", ".tufops.yaml", "docs/signing.md",
	}
	if !reflect.DeepEqual(paths, want) {
		t.Errorf("the files are %q, want %q", paths, want)
	}
	for _, name := range Names {
		if want := map[string]int{"update-issue": 4, "online-sign-targets": 0}; uses[name] != want[name] && (want[name] != 0 || uses[name] != 1) {
			t.Errorf("%s is used %d times", name, uses[name])
		}
	}
}

// TestDocs: the page that is laid down tells of every workflow and no other, and
// of files that are there.
func TestDocs(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	page := ""
	there := map[string]bool{}
	for _, f := range files {
		there[f.Path] = true
		if f.Path == "docs/signing.md" {
			page = string(f.Data)
		}
	}
	if !strings.Contains(page, laid.Repository+" at commit "+laid.Ref+" ("+laid.Version+")") {
		t.Errorf("the page does not say where the manuals are:\n%s", page)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z-]+\\.yml|\\.(?:github/|tufops)[^`]*)`").FindAllStringSubmatch(page, -1) {
		name := m[1]
		if !strings.HasPrefix(name, ".") {
			name = ".github/workflows/" + name
		}
		if told[name] = true; !there[name] {
			t.Errorf("the page tells of %s, which is not laid down", name)
		}
	}
	for name := range there {
		if isWorkflow(name) && !told[name] {
			t.Errorf("the page says nothing of %s", name)
		}
	}
}

// TestPushToMain: whatever on main decides about events has them judged again when
// it changes, and what online signing writes does not start it again.
// TestPublishHeals: a publication that failed is made again by the schedule, and
// nobody has to do anything. So a scheduled run builds and deploys like any other,
// of the newest commit that was to be published, whatever has become of the last.
func TestPublishHeals(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path != ".github/workflows/publish.yml" {
			continue
		}
		var doc struct {
			On   struct{ Schedule []struct{ Cron string } }
			Jobs map[string]struct {
				If    string
				Needs []string
				Steps []struct {
					If   string
					With map[string]any
				}
			}
		}
		if err := yaml.Unmarshal(f.Data, &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.On.Schedule) == 0 {
			t.Error("no schedule")
		}
		const notInForks = "${{ !github.event.repository.fork }}"
		build, deploy := doc.Jobs["build"], doc.Jobs["deploy"]
		if build.If != notInForks || len(build.Needs) != 0 || deploy.If != "" || !reflect.DeepEqual(deploy.Needs, []string{"build"}) {
			t.Errorf("build is run if %q after %q, deploy if %q after %q", build.If, build.Needs, deploy.If, deploy.Needs)
		}
		for _, step := range append(build.Steps, deploy.Steps...) {
			if step.If != "" {
				t.Errorf("a step is run only if %s", step.If)
			}
		}
		if ref := build.Steps[0].With["ref"]; ref != "${{ inputs.ref || 'publish' }}" {
			t.Errorf("it builds %v", ref)
		}
		return
	}
	t.Error("there is no publish.yml")
}

func TestPushToMain(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path != ".github/workflows/online-sign.yml" {
			continue
		}
		var doc struct {
			On struct {
				Push struct{ Branches, Paths []string }
			}
		}
		if err := yaml.Unmarshal(f.Data, &doc); err != nil {
			t.Fatal(err)
		}
		want := []string{"metadata/**", "!metadata/timestamp.json", "!metadata/snapshot.json", ".tufops.yaml"}
		if push := doc.On.Push; !reflect.DeepEqual(push.Branches, []string{"main"}) || !reflect.DeepEqual(push.Paths, want) {
			t.Errorf("it is started by a push of %q to %q", push.Paths, push.Branches)
		}
		return
	}
	t.Error("there is no online-sign.yml")
}

func TestActionsCheck(t *testing.T) {
	good := laid
	for _, test := range []struct {
		name   string
		change func(*Actions)
	}{
		{"branch", func(a *Actions) { a.Ref = "main" }},
		{"tag", func(a *Actions) { a.Ref = "v0.1.0" }},
		{"short hash", func(a *Actions) { a.Ref = a.Ref[:12] }},
		{"capitals", func(a *Actions) { a.Ref = strings.ToUpper(a.Ref) }},
		{"hash and more", func(a *Actions) { a.Ref += "\n" }},
		{"no owner", func(a *Actions) { a.Repository = "tufops" }},
		{"folder", func(a *Actions) { a.Repository = "tufops/tufops/x" }},
		{"line in the repository", func(a *Actions) { a.Repository = "tufops/tufops\n- run: x" }},
		{"line in the version", func(a *Actions) { a.Version = "v1\n- run: x" }},
		{"no version", func(a *Actions) { a.Version = "" }},
		{"mark in the version", func(a *Actions) { a.Version = "v1, was: x" }},
	} {
		bad := good
		test.change(&bad)
		if _, err := Files(bad); err == nil {
			t.Errorf("%s: Files takes %+v", test.name, bad)
		}
		if _, err := Migrate(t.TempDir(), bad); err == nil {
			t.Errorf("%s: Migrate takes %+v", test.name, bad)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

func TestLayDown(t *testing.T) {
	top := t.TempDir()
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	// What a crash after some files leaves behind.
	if err := Write(top, files[3:5]); err != nil {
		t.Fatal(err)
	}
	missing, err := Missing(top, files)
	if err != nil || len(missing) != len(files)-2 {
		t.Fatalf("%d files are missing (%v), want %d", len(missing), err, len(files)-2)
	}
	if err := Write(top, missing); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if got := string(readFile(t, filepath.Join(top, f.Path))); got != string(f.Data) {
			t.Errorf("%s holds %q", f.Path, got)
		}
	}
	if missing, err = Missing(top, files); err != nil || missing != nil {
		t.Errorf("%v are missing after all were written (%v)", missing, err)
	}
	left := tree(t, top)
	if len(left) != len(files) {
		t.Errorf("there are %d files, want %d: nothing temporary may stay", len(left), len(files))
	}
}

func TestLayDownKeepsWhatIsThere(t *testing.T) {
	top := t.TempDir()
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(top, ".github/workflows/publish.yml"), "mine\n")
	writeFile(t, filepath.Join(top, ".github/dependabot.yml"), "mine too\n")
	_, err = Missing(top, files)
	var differs *DiffersError
	if !errors.As(err, &differs) || !reflect.DeepEqual(differs.Paths, []string{".github/dependabot.yml", ".github/workflows/publish.yml"}) {
		t.Errorf("got %v, want both files named", err)
	}
}

func TestSymbolicLinks(t *testing.T) {
	files, err := Files(laid)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{".github", ".github/workflows", ".github/workflows/publish.yml"} {
		t.Run(link, func(t *testing.T) {
			top, elsewhere := t.TempDir(), t.TempDir()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(top, link)), 0o755); err != nil {
				t.Fatal(err)
			}
			target := elsewhere
			if strings.HasSuffix(link, ".yml") {
				target = filepath.Join(elsewhere, "file")
				for _, f := range files {
					if f.Path == link { // the content that is wanted does not make it right
						writeFile(t, target, string(f.Data))
					}
				}
			}
			if err := os.Symlink(target, filepath.Join(top, link)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, elsewhere)
			want := link + " is a symbolic link"
			if _, err := Missing(top, files); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Missing: %v, want %q", err, want)
			}
			for _, f := range files {
				if strings.HasPrefix(f.Path, link) {
					if err := Write(top, []File{f}); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Write %s: %v, want %q", f.Path, err, want)
					}
				}
			}
			if _, err := Migrate(top, laid); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Migrate: %v, want %q", err, want)
			}
			if after := tree(t, elsewhere); !reflect.DeepEqual(before, after) {
				t.Errorf("what the link leads to was changed: %v, before %v", after, before)
			}
		})
	}
}

// A file is replaced, not written into: a reader, or a crash, sees the old one or
// the new one.
func TestWriteReplaces(t *testing.T) {
	top := t.TempDir()
	file, other := filepath.Join(top, "a/b"), filepath.Join(top, "other")
	writeFile(t, file, "old")
	if err := os.Link(file, other); err != nil {
		t.Skipf("no hard links here: %v", err)
	}
	if err := write(top, "a/b", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if string(readFile(t, file)) != "new" || string(readFile(t, other)) != "old" {
		t.Errorf("it holds %q, and what it was before %q", readFile(t, file), readFile(t, other))
	}
}

func TestWriteStaysInside(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"../x", "/x", "a/../../x", ""} {
		if err := write(top, name, nil); err == nil {
			t.Errorf("wrote %q", name)
		}
	}
	writeFile(t, filepath.Join(top, "dir/x"), "")
	if err := write(top, "dir", nil); err == nil {
		t.Error("wrote over a folder")
	}
}

// tree returns the files below a folder and what they hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[name] = string(readFile(t, filepath.Join(dir, name)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
