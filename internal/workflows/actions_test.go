package workflows

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const actionsDir = "../../.github/actions"

// What tuf-on-ci's actions of the same names take, by version 0.20: a repository
// that passes these must need no other change than its "uses:" lines. A default
// that is not set is written "-". (live, event and publish-repository are ours.)
var inputs = map[string]map[string]string{
	"signing-event":         {"token": "required"},
	"create-signing-events": {"token": "required"},
	"online-sign": {"token": "required", "live": "", "event": "", "gcp_workload_identity_provider": "", "gcp_service_account": "", "aws_region": "",
		"aws_role_to_assume": "", "azure_client_id": "", "azure_tenant_id": "", "azure_subscription_id": ""},
	"online-sign-targets": {"token": "required", "event": "", "targets_to_sign": "", "gcp_workload_identity_provider": "", "gcp_service_account": "",
		"aws_region": "", "aws_role_to_assume": "", "azure_client_id": "", "azure_tenant_id": "", "azure_subscription_id": ""},
	"publish-repository": {"to": "required", "public_url": "", "stage": "", "stage_public_url": "", "checks": "", "deep": "false", "ref": "",
		"gcp_workload_identity_provider": "", "gcp_service_account": "", "aws_region": "", "aws_role_to_assume": "", "azure_client_id": "", "azure_tenant_id": ""},
	"upload-repository": {"gh_pages": "false", "metadata_path": "metadata", "artifacts_path": "targets", "ref": ""},
	"test-repository": {"metadata_url": "", "artifact_url": "", "update_base_url": "", "expected_artifact": "", "compare_source": "true",
		"valid_days": "0", "offline_valid_days": "0", "metadata_dir": ""},
	"update-issue": {"token": "required", "success": "required"},
}

func TestInputs(t *testing.T) {
	dirs, err := filepath.Glob(actionsDir + "/*/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range dirs {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	if !slices.Equal(names, Names) {
		t.Errorf("the actions are %q, but Names is %q", names, Names)
	}
	for _, name := range names {
		var action struct {
			Inputs map[string]struct {
				Required bool
				Default  *string
			}
		}
		if err := yaml.Unmarshal(readFile(t, filepath.Join(actionsDir, name, "action.yml")), &action); err != nil {
			t.Fatal(err)
		}
		have := make(map[string]string)
		for input, a := range action.Inputs {
			switch {
			case a.Required:
				have[input] = "required"
			case a.Default == nil:
				have[input] = "-"
			default:
				have[input] = *a.Default
			}
		}
		if fmt.Sprint(have) != fmt.Sprint(inputs[name]) {
			t.Errorf("%s has the inputs\n%v, want\n%v", name, have, inputs[name])
		}
	}
}

// A step is one of an action.
type step struct {
	ID   string
	Uses string
	Run  string
	If   string
	Env  map[string]string
	With map[string]string
}

func stepsOf(t *testing.T, name string) []step {
	t.Helper()
	var action struct{ Runs struct{ Steps []step } }
	if err := yaml.Unmarshal(readFile(t, filepath.Join(actionsDir, name, "action.yml")), &action); err != nil {
		t.Fatal(err)
	}
	return action.Runs.Steps
}

// Every input has to arrive somewhere, tokens in the environment only, and what is
// run has to be what setup.sh made.
func TestInputsArrive(t *testing.T) {
	program := regexp.MustCompile(`(?m)^\s*"\$TUFOPS" `)
	for _, name := range Names {
		var all strings.Builder
		ran := false
		for i, s := range stepsOf(t, name) {
			for key, value := range s.Env {
				fmt.Fprintln(&all, value)
				if strings.Contains(value, "github.token") && key != "TUFOPS_DEFAULT_TOKEN" || strings.Contains(value, "inputs.token") && key != "TUF_ON_CI_TOKEN" {
					t.Errorf("%s: %s holds a token", name, key)
				}
			}
			for _, value := range s.With {
				fmt.Fprintln(&all, value)
			}
			fmt.Fprintln(&all, s.If)
			if i == 0 && (s.ID != "setup" || !strings.HasPrefix(s.Run, `bash "$GITHUB_ACTION_PATH/../setup/setup.sh" tufops`)) {
				t.Errorf("%s does not begin by preparing its program: %q", name, s.Run)
			}
			if program.MatchString(s.Run) {
				ran = true
				if s.Env["TUFOPS"] != "${{ steps.setup.outputs.tufops }}" {
					t.Errorf("%s runs %q", name, s.Env["TUFOPS"])
				}
			}
			if s.Env["TUFOPS_CLIENT"] == "${{ steps.setup.outputs.tufops-client }}" && s.Run == `bash "$GITHUB_ACTION_PATH/check.sh"` {
				ran = true
			}
		}
		if !ran {
			t.Errorf("%s runs no program of ours", name)
		}
		for input := range inputs[name] {
			if !strings.Contains(all.String(), "inputs."+input+" ") {
				t.Errorf("%s takes %s and does nothing with it", name, input)
			}
		}
	}
}

// The signing event's job fails if the run failed, and only then.
func TestSigningEventOutcome(t *testing.T) {
	steps := stepsOf(t, "signing-event")
	run, verdict := steps[len(steps)-2], steps[len(steps)-1]
	if want := "${{ steps.event.outputs.result }} ${{ steps.event.outputs.status }}"; verdict.Env["OUTCOME"] != want || run.ID != "event" {
		t.Fatalf("the outcome is %q of step %q, want %q", verdict.Env["OUTCOME"], run.ID, want)
	}
	for _, test := range []struct {
		result string // what the program says, if anything
		status int
		good   bool
	}{
		{"complete", 0, true},
		{"awaiting", 3, true},
		{"findings", 1, true},
		{"merged", 0, true},
		{"gone", 0, true}, // the branch was deleted meanwhile
		{"fork", 0, true},
		{"failed", 1, false},
		{"", 0, false},         // it did nothing
		{"", 1, false},         // it could not begin
		{"", 2, false},         // it was called in a wrong way
		{"complete", 1, false}, // it failed behind its verdict
		{"awaiting", 0, false},
		{"findings", 2, false},
		{"complete", 137, false},
	} {
		tufops := fakeProgram(t, fmt.Sprintf("[ -z '%s' ] || echo 'result=%s' >>\"$GITHUB_OUTPUT\"\nexit %d", test.result, test.result, test.status))
		output := filepath.Join(t.TempDir(), "output")
		if out, err := bash(t, run.Run, "TUFOPS="+tufops, "GITHUB_OUTPUT="+output, "TUF_ON_CI_TOKEN=one", "TUFOPS_DEFAULT_TOKEN=one").CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%+v: %v\n%s", test, err, out)
		}
		outputs := make(map[string]string)
		for line := range strings.Lines(string(readFile(t, output))) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			outputs[key] = value
		}
		out, err := bash(t, verdict.Run, "OUTCOME="+outputs["result"]+" "+outputs["status"]).CombinedOutput()
		if (err == nil) != test.good {
			t.Errorf("%+v: the job ends with %v\n%s", test, err, out)
		}
		if !test.good && !strings.Contains(string(out), "::error::tufops signing-event did not finish") {
			t.Errorf("%+v: no reason given: %s", test, out)
		}
	}
}

// Another token than the default one is taken, and people are told.
func TestSigningEventWarnsOfCustomToken(t *testing.T) {
	steps := stepsOf(t, "signing-event")
	out, err := bash(t, steps[len(steps)-2].Run, "TUFOPS="+fakeProgram(t, "exit 3"), "GITHUB_OUTPUT="+filepath.Join(t.TempDir(), "output"),
		"TUF_ON_CI_TOKEN=custom-secret", "TUFOPS_DEFAULT_TOKEN=default-secret").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "::warning::This job holds another token") || strings.Contains(string(out), "secret") {
		t.Errorf("%v, said %q; want a warning without a token", err, out)
	}
}

func TestOnlineSignTargetsArguments(t *testing.T) {
	steps := stepsOf(t, "online-sign-targets")
	for targets, want := range map[string]string{
		"one":                 "[online-sign-targets][--push][--dispatch][--][one]",
		" a  b\n c\t":         "[online-sign-targets][--push][--dispatch][--][a][b][c]",
		"* $(touch x) `y` \"": "[online-sign-targets][--push][--dispatch][--][*][$(touch][x)][`y`][\"]",
		"--help":              "[online-sign-targets][--push][--dispatch][--][--help]",
		" \n":                 "[online-sign-targets][--push][--dispatch][--]",
	} {
		cmd := bash(t, steps[len(steps)-1].Run, "TUFOPS="+fakeProgram(t, `printf '[%s]' "$@"`), "TARGETS_TO_SIGN="+targets)
		writeFile(t, filepath.Join(cmd.Dir, "file"), "that * must not become")
		got, err := cmd.CombinedOutput()
		if err != nil || string(got) != want {
			t.Errorf("%q: ran %s (%v), want %s", targets, got, err, want)
		}
	}
}

func TestOnlineSignArguments(t *testing.T) {
	steps := stepsOf(t, "online-sign")
	run := func(i int, env ...string) string {
		t.Helper()
		cmd := bash(t, steps[i].Run, append(env, "TUFOPS="+fakeProgram(t, `printf '[%s]' "$@"`))...)
		writeFile(t, filepath.Join(cmd.Dir, "file"), "that * must not become")
		got, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, got)
		}
		return string(got)
	}
	for live, want := range map[string]string{
		"": "[online-sign][--push][--dispatch]",
		" https://a.example/metadata\n https://b.example/* ": "[online-sign][--push][--dispatch][--live=https://a.example/metadata][--live=https://b.example/*]",
		"$(touch x) --dry-run":                               "[online-sign][--push][--dispatch][--live=$(touch][--live=x)][--live=--dry-run]",
	} {
		if got := run(len(steps)-2, "LIVE="+live); got != want {
			t.Errorf("%q: ran %s, want %s", live, got, want)
		}
	}
	for event, want := range map[string]string{"": "[keys][check]", "sign/x": "[keys][check][--event=sign/x]", "$(touch x) --expect-denied": "[keys][check][--event=$(touch x) --expect-denied]"} {
		if got := run(len(steps)-1, "EVENT="+event); got != want {
			t.Errorf("%q: ran %s, want %s", event, got, want)
		}
	}
}

func TestPublishRepositoryArguments(t *testing.T) {
	steps := stepsOf(t, "publish-repository")
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"one bucket", []string{"TO=gs://tuf"}, "[publish][--to=gs://tuf]"},
		{"two, read back", []string{"TO= s3://a\n gs://b/* ", "PUBLIC_URL=https://a.example https://b.example"},
			"[publish][--to=s3://a][--to=gs://b/*][--public-url=https://a.example][--public-url=https://b.example]"},
		{"staged", []string{"TO=azblob://account/tuf", "STAGE=azblob://account/stage", "STAGE_PUBLIC_URL=https://stage.example", "CHECKS=./a 'b c' d,e\n\n  \n ./f $(touch x)", "DEEP=true"},
			"[publish][--to=azblob://account/tuf][--stage=azblob://account/stage][--stage-public-url=https://stage.example][--check=./a 'b c' d,e][--check= ./f $(touch x)][--deep]"},
		{"no flags of others", []string{"TO=gs://tuf --prune --yes", "DEEP=--yes"}, "[publish][--to=gs://tuf][--to=--prune][--to=--yes]"},
	} {
		env := append([]string{"PUBLIC_URL=", "STAGE=", "STAGE_PUBLIC_URL=", "CHECKS=", "DEEP=false"}, test.env...)
		cmd := bash(t, steps[len(steps)-1].Run, append(env, "TUFOPS="+fakeProgram(t, `printf '[%s]' "$@"`))...)
		writeFile(t, filepath.Join(cmd.Dir, "file"), "that * must not become")
		if got, err := cmd.CombinedOutput(); err != nil || string(got) != test.want {
			t.Errorf("%s: ran %s (%v), want %s", test.name, got, err, test.want)
		}
	}
}

func TestTestRepositoryArguments(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"defaults", nil,
			"[check][--metadata-url][https://o.github.io/r/metadata/][--artifact-url][https://o.github.io/r/targets/][--compare-source][source/metadata]"},
		{"site of an owner", []string{"GITHUB_REPOSITORY=Octo/octo.github.io", "COMPARE_SOURCE=false"},
			"[check][--metadata-url][https://Octo.github.io/metadata/][--artifact-url][https://Octo.github.io/targets/]"},
		{"metadata at the top of a host", []string{"METADATA_URL=https://tuf.example/", "COMPARE_SOURCE=false"},
			"[check][--metadata-url][https://tuf.example/][--artifact-url][https://tuf.example/targets/]"},
		{"no slash at the end", []string{"METADATA_URL=https://tuf.example/x/metadata", "COMPARE_SOURCE=false"},
			"[check][--metadata-url][https://tuf.example/x/metadata/][--artifact-url][https://tuf.example/x/targets/]"},
		{"everything", []string{"METADATA_URL=https://m.example/", "ARTIFACT_URL=https://a.example/", "UPDATE_BASE_URL=https://b.example/ x",
			"EXPECTED_ARTIFACT=$(touch x)", "VALID_DAYS=5", "OFFLINE_VALID_DAYS=16", "METADATA_DIR=a b"},
			"[check][--metadata-url][https://m.example/][--artifact-url][https://a.example/][--update-base-url][https://b.example/ x]" +
				"[--expected-artifact][$(touch x)][--compare-source][source/metadata][--valid-days][5][--offline-valid-days][16][--metadata-dir][a b]"},
		{"own root", []string{"ROOT=1", "METADATA_URL=https://m.example/", "COMPARE_SOURCE=false"},
			"[check][--metadata-url][https://m.example/][--artifact-url][https://m.example/targets/][--initial-root][root.json]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := []string{"GITHUB_REPOSITORY=o/r", "METADATA_URL=", "ARTIFACT_URL=", "UPDATE_BASE_URL=", "EXPECTED_ARTIFACT=", "COMPARE_SOURCE=true",
				"VALID_DAYS=0", "OFFLINE_VALID_DAYS=0", "METADATA_DIR=", "TUFOPS_CLIENT=" + fakeProgram(t, `printf '[%s]' "$@" >args`)}
			cmd := exec.Command("bash", absolute(t, actionsDir+"/test-repository/check.sh"))
			cmd.Env, cmd.Dir = append(append(os.Environ(), env...), test.env...), t.TempDir()
			if slices.Contains(test.env, "ROOT=1") {
				writeFile(t, filepath.Join(cmd.Dir, "root.json"), "{}")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := string(readFile(t, filepath.Join(cmd.Dir, "args"))); got != test.want {
				t.Errorf("ran %s\nwant %s", got, test.want)
			}
		})
	}
}

// asset is what a release holds; its digest stands in tables.
const asset = "#!/bin/sh\necho the release\n"

func TestObtain(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(asset)))
	other := strings.Repeat("0", 64)
	for _, test := range []struct {
		name, table string
		asset       string // "" for none
		says        string // what the program that was made says
		fails       string
	}{
		{"release", "# c\n\nv1.2.3 " + platform + " tufops " + digest + "\n", asset, "the release", ""},
		{"no line feed at the end", "v1.2.3 " + platform + " tufops " + digest, asset, "the release", ""},
		{"among others", "v1.2.3 plan9/arm tufops " + other + "\nv1.2.3 " + platform + " tufops-client " + other + "\nv1.2.3 " + platform + " tufops " + digest + "\n", asset, "the release", ""},
		{"empty table", "# c\n", asset, "the source", ""},
		{"other platform", "v1.2.3 plan9/arm tufops " + digest + "\n", asset, "the source", ""},
		{"other program", "v1.2.3 " + platform + " tufops-client " + digest + "\n", asset, "the source", ""},
		{"no such asset", "v1.2.3 " + platform + " tufops " + digest + "\n", "", "the source", ""},
		{"other digest", "v1.2.3 " + platform + " tufops " + digest + "\n", asset + "#", "", "the table has " + digest},
		{"empty asset", "v1.2.3 " + platform + " tufops " + digest + "\n", "\n", "", "the table has " + digest},
		{"twice", "v1.2.3 " + platform + " tufops " + digest + "\nv1.2.4 " + platform + " tufops " + other + "\n", asset, "", "stands there twice"},
		{"digest too short", "v1.2.3 " + platform + " tufops " + digest[1:] + "\n", asset, "", "a line is not"},
		{"digest missing", "v1.2.3 " + platform + " tufops\n", asset, "", "a line is not"},
		{"more words", "v1.2.3 " + platform + " tufops " + digest + " x\n", asset, "", "a line is not"},
		{"version that leads elsewhere", "v1/../../.. " + platform + " tufops " + digest + "\n", asset, "", "a line is not"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "made", "tufops")
			writeFile(t, filepath.Join(dir, "table"), test.table)
			writeFile(t, filepath.Join(dir, "source", "built"), "")
			if test.asset != "" {
				writeFile(t, filepath.Join(dir, "assets", "v1.2.3", "tufops_"+strings.ReplaceAll(platform, "/", "_")), test.asset)
			}
			// The network and the compiler are replaced, and nothing else.
			script := `
				source "$SETUP"
				download() { cp -- "${1#https://assets.example/}" "$2"; }
				build() { test -e "$1/built" && printf '#!/bin/sh\necho the source\n' >"$3" && chmod 0755 "$3"; }
				cd "$DIR/assets" 2>/dev/null || cd "$DIR"
				mkdir "$DIR/made"
				obtain "$DIR/table" https://assets.example "$DIR/source" tufops "$DIR/made/tufops"`
			out, err := bash(t, script, "SETUP="+absolute(t, actionsDir+"/setup/setup.sh"), "DIR="+dir).CombinedOutput()
			if test.fails != "" {
				if err == nil || !strings.Contains(string(out), test.fails) || !strings.Contains(string(out), "::error::") {
					t.Errorf("ended with %v, want an error with %q:\n%s", err, test.fails, out)
				}
				if _, err := os.Lstat(file); err == nil {
					t.Error("a program is there all the same")
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			says, err := exec.Command(file).Output()
			if err != nil || strings.TrimSpace(string(says)) != test.says {
				t.Errorf("the program says %q (%v), want %q\n%s", says, err, test.says, out)
			}
		})
	}
}

// The whole script, with a real compiler: it builds what lies beside it, whatever
// the working directory and the environment hold.
func TestSetupBuildsItsOwnSource(t *testing.T) {
	top, workspace, temp := t.TempDir(), t.TempDir(), t.TempDir()
	program := func(says string) string {
		return "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"" + says + "\") }\n"
	}
	for name, content := range map[string]string{
		".github/actions/setup/setup.sh":            string(readFile(t, actionsDir+"/setup/setup.sh")),
		".github/actions/setup/tufops-binaries.txt": "# nothing\n",
		"go.mod":                    "module example.com/own\n\ngo 1.21\n",
		"cmd/tufops/main.go":        program("own tufops"),
		"cmd/tufops-client/main.go": program("own client"),
	} {
		writeFile(t, filepath.Join(top, name), content)
	}
	hostile := "#!/bin/sh\ntouch \"$TRACE\"\n"
	for name, content := range map[string]string{
		"go.mod":             "module example.com/hostile\n\ngo 1.21\n",
		"go.work":            "go 1.21\n\nuse .\n",
		"cmd/tufops/main.go": program("hostile"),
		"go":                 hostile, "tufops": hostile, "curl": hostile, "sha256sum": hostile, "uname": hostile,
	} {
		writeFile(t, filepath.Join(workspace, name), content)
		if err := os.Chmod(filepath.Join(workspace, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	output, trace := filepath.Join(temp, "output"), filepath.Join(temp, "trace")
	cmd := exec.Command("bash", filepath.Join(top, ".github/actions/signing-event/../setup/setup.sh"), "tufops", "tufops-client")
	if err := os.MkdirAll(filepath.Join(top, ".github/actions/signing-event"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = workspace
	cmd.Env = append(os.Environ(), "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output, "GITHUB_SERVER_URL=http://127.0.0.1:1", "TRACE="+trace,
		"GOFLAGS=-toolexec="+filepath.Join(workspace, "go"), "GOWORK="+filepath.Join(workspace, "go.work"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Lstat(trace); err == nil {
		t.Error("a file of the workspace was run")
	}
	made := make(map[string]string)
	for line := range strings.Lines(string(readFile(t, output))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		made[key] = value
	}
	for name, want := range map[string]string{"tufops": "own tufops\n", "tufops-client": "own client\n"} {
		if !filepath.IsAbs(made[name]) || !strings.HasPrefix(made[name], temp) {
			t.Errorf("output %s is %q, want a path below %s", name, made[name], temp)
			continue
		}
		if got, err := exec.Command(made[name]).Output(); err != nil || string(got) != want {
			t.Errorf("%s says %q (%v), want %q", name, got, err, want)
		}
	}
	if !bytes.Contains(out, []byte("own tufops")) {
		t.Errorf("the log does not say which program it is:\n%s", out)
	}
}

// A download must not be talked down to plain HTTP.
func TestDownloadInsistsOnTLS(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("curl is not in PATH, and CI is set")
		}
		t.Skip("curl is not in PATH")
	}
	out, err := bash(t, `source "$SETUP"; download http://127.0.0.1:1/x "$DIR/x"`,
		"SETUP="+absolute(t, actionsDir+"/setup/setup.sh"), "DIR="+t.TempDir()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "rotocol") {
		t.Errorf("ended with %v, want that the protocol is refused:\n%s", err, out)
	}
}

// bash returns a command that runs a script as GitHub runs a step.
func bash(t *testing.T, script string, env ...string) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sh")
	writeFile(t, file, script)
	cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", file)
	cmd.Env, cmd.Dir = append(os.Environ(), env...), t.TempDir()
	return cmd
}

// fakeProgram returns the path of a program with this body.
func fakeProgram(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	writeFile(t, file, "#!/usr/bin/env bash\n"+body+"\n")
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
