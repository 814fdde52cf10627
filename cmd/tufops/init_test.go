package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/git/gittest"
	laid "github.com/tufops/tufops/internal/workflows"
	"github.com/tufops/tufops/repository"
)

const actionsRef = "0123456789abcdef0123456789abcdef01234567"

func initIn(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	env := cli.Env{Stdout: &out, Stderr: &errOut}
	status = run(t.Context(), env, append([]string{"tufops", "-C", dir, "init"}, args...))
	return status, out.String(), errOut.String()
}

func checkout(t *testing.T) string {
	t.Helper()
	return gittest.New(t).Clone("checkout").Dir
}

func TestInit(t *testing.T) {
	dir := checkout(t)
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--actions-ref", actionsRef, "--actions-version", "v0.1.0", "--actions-repository", "example/fork"}
	status, stdout, stderr := initIn(t, dir, append(flags, "--dry-run")...)
	if status != 0 || !strings.Contains(stdout, "==> .github/workflows/signing-event.yml\nname: tufops signing event\n") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".github")); err == nil {
		t.Error("--dry-run has written")
	}
	// From a folder of the checkout: the files go to the top of it.
	if status, stdout, stderr = initIn(t, below, flags...); status != 0 || strings.Count(stdout, "Wrote .github/") != 8 || !strings.HasSuffix(stdout, ": tufops-sign init sign/first\n") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	data, err := os.ReadFile(filepath.Join(dir, ".github/workflows/signing-event.yml"))
	if want := "uses: example/fork/.github/actions/signing-event@" + actionsRef + " # v0.1.0\n"; err != nil || !strings.Contains(string(data), want) {
		t.Errorf("signing-event.yml does not say %q (%v):\n%s", want, err, data)
	}
	before := listing(t, dir)
	if status, stdout, _ = initIn(t, dir, flags...); status != 0 || stdout != "Nothing to do: the files are there.\n" || listing(t, dir) != before {
		t.Errorf("again: status %d, stdout %q", status, stdout)
	}
	status, stdout, stderr = initIn(t, dir, "--actions-ref", strings.Repeat("f", 40))
	if status != 1 || stdout != "" || listing(t, dir) != before || !strings.Contains(stderr, "error: already there with other content: .github/workflows/create-signing-events.yml, ") ||
		!strings.Contains(stderr, "hint: compare with what") || !strings.Contains(stderr, "note: nothing was written") {
		t.Errorf("over other files: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// TestInitPolicy: a new repository begins with a policy that has mistakes in trust
// material stop an event. What maintainers have written stays, and a repository
// that has metadata already keeps its verdicts.
func TestInitPolicy(t *testing.T) {
	for _, test := range []struct {
		name     string
		files    map[string]string
		args     []string
		want     string // "": what is laid down
		enforced bool
	}{
		{"new", nil, nil, "", true},
		{"decided", map[string]string{repository.PolicyFile: "legacy-keyids: allowed\n"}, nil, "legacy-keyids: allowed\n", false},
		{"begun", map[string]string{"metadata/root.json": "{}"}, nil, "", false},
		{"of tuf-on-ci", map[string]string{".github/workflows/w.yml": "jobs: {j: {steps: [{uses: actions/checkout@v4}]}}\n"}, []string{"--migrate"}, "", false},
	} {
		dir := checkout(t)
		for name, content := range test.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time it changes nothing
			status, stdout, stderr := initIn(t, dir, append([]string{"--actions-ref", actionsRef}, test.args...)...)
			data, err := os.ReadFile(filepath.Join(dir, repository.PolicyFile))
			if there := err == nil; status != 0 || there != (test.enforced || test.want != "") || test.want != "" && string(data) != test.want {
				t.Errorf("%s: status %d, %q, stdout %q, stderr %q", test.name, status, data, stdout, stderr)
			}
			policy, err := repository.ParsePolicy(data)
			if err != nil || policy.EnforceTrust != test.enforced {
				t.Errorf("%s: the policy is %+v, %v", test.name, policy, err)
			}
		}
	}
}

func TestInitMigrate(t *testing.T) {
	dir := checkout(t)
	file := filepath.Join(dir, ".github/workflows/w.yml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	const action = "theupdateframework/tuf-on-ci/actions/online-sign@v0.20.0"
	write := func(uses string) string {
		src := "on: push\njobs:\n  j:\n    steps:\n      - uses: " + uses + "\n      - name: \"\x07\"\n"
		src = strings.ReplaceAll(src, "\x07", `\a`)
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		return src
	}
	read := func() string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	old := write(action + " # \x1b[31mv0.20.0")
	if status, _, _ := initIn(t, dir, "--migrate", "--actions-ref", actionsRef); status != 1 || read() != old {
		t.Errorf("a workflow that is not YAML: status %d", status)
	}
	old = write(action + " # v0.20.0 \u202e")
	status, dry, stderr := initIn(t, dir, "--migrate", "--actions-ref", actionsRef, "--dry-run")
	wantDiff := "+      - uses: tufops/tufops/.github/actions/online-sign@" + actionsRef + " # unreleased, was: " + action + ` # v0.20.0 \u202e` + "\n"
	if status != 0 || read() != old || !strings.Contains(dry, wantDiff) || !strings.HasPrefix(dry, "--- a/.github/workflows/w.yml\n") {
		t.Fatalf("dry run: status %d, stdout %q, stderr %q", status, dry, stderr)
	}
	if status, stdout, stderr := initIn(t, dir, "--migrate", "--actions-ref", actionsRef); status != 0 || stdout != dry || read() == old {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its permissions are %v (%v), were 0600", info.Mode(), err)
	}
	if status, stdout, _ := initIn(t, dir, "--migrate", "--actions-ref", actionsRef); status != 0 || stdout != "Nothing to do: no workflow uses actions of tuf-on-ci.\n" {
		t.Errorf("again: status %d, stdout %q", status, stdout)
	}
	if status, _, stderr := initIn(t, dir, "--migrate", "--undo"); status != 0 || read() != old {
		t.Errorf("undone: status %d, stderr %q, file %q", status, stderr, read())
	}
	if status, stdout, _ := initIn(t, dir, "--migrate", "--undo"); status != 0 || stdout != "Nothing to do: no workflow uses actions of tufops.\n" {
		t.Errorf("undone again: status %d, stdout %q", status, stdout)
	}

	old = write("theupdateframework/tuf-on-ci/actions/unheard-of@v9")
	status, _, stderr = initIn(t, dir, "--migrate", "--actions-ref", actionsRef)
	if status != 1 || read() != old || !strings.Contains(stderr, ".github/workflows/w.yml:5: uses theupdateframework/tuf-on-ci/actions/unheard-of@v9: tufops has no action of this name") {
		t.Errorf("unknown action: status %d, stderr %q", status, stderr)
	}
}

func TestInitRefuses(t *testing.T) {
	bare := gittest.New(t)
	for _, test := range []struct {
		name   string
		dir    string
		args   []string
		status int
		want   string
	}{
		{"branch", checkout(t), []string{"--actions-ref", "main"}, 2, "full commit hash"},
		{"short hash", checkout(t), []string{"--actions-ref", actionsRef[:10]}, 2, "full commit hash"},
		{"repository", checkout(t), []string{"--actions-ref", actionsRef, "--actions-repository", "tufops"}, 2, "OWNER/NAME"},
		{"undo alone", checkout(t), []string{"--undo"}, 2, "--undo goes with --migrate"},
		{"other folder", checkout(t), []string{"--tuf-dir", "v2", "--actions-ref", actionsRef}, 2, "--tuf-dir v2"},
		{"no repository", t.TempDir(), []string{"--actions-ref", actionsRef}, 1, "git repository"},
		{"bare repository", bare.Dir, []string{"--actions-ref", actionsRef}, 1, "no work tree"},
	} {
		status, stdout, stderr := initIn(t, test.dir, test.args...)
		if status != test.status || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: status %d, stdout %q, stderr %q; want status %d and %q", test.name, status, stdout, stderr, test.status, test.want)
		}
	}
}

// Where the commit of the build is not known for certain it is not used.
func TestBuiltActions(t *testing.T) {
	build := func(version string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	unknown := laid.Actions{Version: "unreleased"}
	for _, test := range []struct {
		name string
		info *debug.BuildInfo
		want laid.Actions
	}{
		{"nothing known", nil, unknown},
		{"no commit", build("v1.2.3"), unknown},
		{"a commit", build("v0.0.0-20261122000000-0123456789ab", "vcs.revision", actionsRef, "vcs.modified", "false"), laid.Actions{Ref: actionsRef, Version: "unreleased"}},
		{"a release", build("v1.2.3", "vcs.revision", actionsRef, "vcs.modified", "false"), laid.Actions{Ref: actionsRef, Version: "v1.2.3"}},
		{"changed since", build("v1.2.3+dirty", "vcs.revision", actionsRef, "vcs.modified", "true"), unknown},
		{"changed since, told first", build("v1.2.3", "vcs.modified", "true", "vcs.revision", actionsRef), unknown},
	} {
		if got := builtActions(test.info); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}
