package tufops_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file states which package may import which, and why. docs/architecture.md
// tells the same as a story. It looks at the source and not at one build, so
// that files for another system or with a build tag count as well.
//
// Tests may import what they like, with one limit: what a test file imports must
// be a room, a helper beside one, or somebody else's module.

const module = "github.com/tufops/tufops/"

// A room is a directory with one responsibility. Its subdirectories belong to
// it, and what is said here holds for them too.
type room struct {
	dir     string
	imports []string // rooms it may import; "*" means all
	why     string
}

// core is what every room that handles an event may use.
var core = []string{"repository", "trustroot", "internal/metadata", "internal/git", "internal/escape"}

var rooms = []room{
	{"cmd", []string{"*"}, "a command chooses the adapters and makes one call into a room"},
	{"internal/bench", []string{"*"}, "measures what people run"},
	{"internal/screenshot", nil, "draws the picture in README from a golden file"},
	{"internal/demo", []string{"*"}, "plays every part on one machine"},

	// These four do not import each other: each can be read, tested and
	// replaced alone, the job that signs cannot upload, and the job that
	// uploads cannot sign. What two of them need lies in repository.
	{"signingevent", core, "one event from push to ready"},
	{"onlinesign", core, "holds the online keys and no storage"},
	{"publish", append([]string{"client", "internal/gotuf"}, core...), "holds the storage and no keys; rehearses with our client and go-tuf's"},
	{"signer", append([]string{"internal/wholefile"}, core...), "trusts the machine it runs on and nothing else"},

	{"rehearsal", []string{"client", "repository", "internal/metadata", "internal/git", "internal/gotuf", "internal/escape"},
		"tries an event on clients; holds no real key and no storage"},

	{"client", []string{"trustroot", "internal/metadata", "internal/wholefile", "internal/escape"},
		"knows a TUF repository as files behind a URL, so it cannot lean on the git checkout that it is there to check"},

	{"repository", []string{"trustroot", "internal/metadata", "internal/attestation", "internal/git", "internal/escape"},
		"the model and the rules that all share"},
	{"trustroot", []string{"internal/metadata", "internal/escape"},
		"bytes in, findings out, so that the rules and the client may both use it"},
	{"internal/git", []string{"internal/escape"}, "git and nothing of TUF"},
	{"internal/gotuf", nil, "go-tuf's client as a second opinion: knows nothing of ours that could colour it"},
	{"internal/metadata", nil, "TUF documents: pure, so that what it says depends on its arguments alone"},
	{"internal/attestation", nil, "what a token says of a key: pure, since it comes from strangers"},

	// An adapter may import the room whose interface it fits. Only commands
	// import adapters, so no room depends on a vendor.
	{"internal/github", []string{"signingevent", "internal/escape"}, "adapter"},
	{"internal/cloudlogin", []string{"onlinesign", "internal/metadata"}, "adapter: logs a job in, for keys as for buckets"},
	{"internal/kms", []string{"onlinesign", "internal/metadata", "internal/escape"}, "adapter"},
	{"internal/objstore", []string{"publish", "internal/wholefile", "internal/escape"}, "adapter"},
	{"internal/yubikey", []string{"signer", "internal/metadata", "internal/attestation", "internal/escape"}, "adapter"},
	{"internal/pkcs11", []string{"signer", "internal/metadata", "internal/escape"}, "adapter"},

	{"internal/workflows", []string{"internal/wholefile"}, "files for a forge that runs them; knows neither git nor TUF"},
	{"schema", nil, "data: what the programs print, for those who read it"},

	{"internal/cli", []string{"internal/escape", "internal/heap"}, "the frame of the programs; knows no command"},
	{"internal/heap", nil, "puts off a garbage collection; knows nothing else"},
	{"internal/wholefile", nil, "files that appear whole; knows nothing of what is in them"},
	{"internal/escape", nil, "makes text from strangers safe to show"},
}

// A ban keeps something from the standard library out of all rooms but a few.
type ban struct {
	what   string   // an import path, or path.Name for one function
	except []string // rooms or files that may use it
	why    string
}

var bans = []ban{
	{"os/exec", []string{"internal/git", "internal/bench", "internal/demo", "internal/screenshot",
		"cmd/tufops/checks.go", // somebody else's client on the stage: a command of the caller's, without a shell and without our environment
	}, "git is the only program that is run, and internal/git runs it: text from strangers never reaches a shell"},
	{"os.Exit", []string{"cmd", "internal/screenshot"}, "only main ends the process, so that tests can run programs in theirs"},
	{"log.Fatal", nil, "only main ends the process"},
	{"log.Fatalf", nil, "only main ends the process"},
	{"time.Now", []string{
		"internal/cli", "internal/bench", "internal/demo",
		"client", // a library too, so it has a default; and Retry-After is the server's time, which nobody simulates
	}, "time is injected (TUFOPS_NOW)"},
	{"time.Since", []string{"internal/bench", "internal/demo"}, "time is injected (TUFOPS_NOW)"},
	{"time.Until", []string{"internal/bench", "internal/demo"}, "time is injected (TUFOPS_NOW)"},
	{"text/template", []string{"cmd", "signingevent"}, "it escapes nothing; HTML goes through html/template"},
}

// impure may not be imported by a pure room, nor may what lies below.
var impure = []string{"os", "io/fs", "io/ioutil", "path/filepath", "net", "log", "runtime", "syscall", "unsafe", "embed", "plugin"}

var pure = []string{"internal/metadata", "internal/attestation", "internal/escape", "trustroot"}

// nondescript names say nothing about what a package owns, and so collect
// everything.
var nondescript = []string{"util", "utils", "common", "types", "pkg", "helper", "helpers", "misc", "shared", "base", "lib"}

// forbidden lists modules that may not be linked into a program.
var forbidden = []struct {
	program string
	modules []string
	why     string
}{
	{"cmd/tufops-client", []string{
		"cloud.google.com/go", "github.com/aws", "github.com/Azure", "github.com/hashicorp/vault", "github.com/openbao",
		"google.golang.org/api", "github.com/google/go-github", "github.com/go-piv",
		"github.com/miekg/pkcs11", "github.com/ThalesGroup/crypto11",
	}, "the verifying client runs everywhere and verifies only: no cloud, forge or hardware library"},
	{"cmd/tufops", []string{"github.com/go-piv", "github.com/miekg/pkcs11", "github.com/ThalesGroup/crypto11"},
		"the bot holds nobody's key, and is built without cgo"},
	{"cmd/tufops-sign", []string{"github.com/google/go-github"},
		"a signer believes git objects, not what a forge says of them"},
}

// source is what the rules look at in one file.
type source struct {
	dir, file string // slash-separated, from the top of the module
	test      bool
	pkg       string
	doc       string
	imports   []string
	uses      []string // path.Name of what it uses from other packages
}

func TestArchitecture(t *testing.T) {
	files, err := readModule(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range violations(files) {
		t.Error(violation)
	}
}

func violations(files []source) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	documented := make(map[string]bool) // by directory of non-test files
	for _, f := range files {
		for name := range strings.SplitSeq(f.dir, "/") {
			if slices.Contains(nondescript, name) {
				add("%s: %q says nothing about what the package owns", f.dir, name)
			}
		}
		from, known := roomOf(f.dir)
		if !known && f.dir != "." {
			add("%s: no room of this name; add it to rooms in architecture_test.go and say what it may import", f.dir)
		}
		for _, p := range f.imports {
			dir, ours := strings.CutPrefix(p, module)
			if !ours {
				continue
			}
			to, known := roomOf(dir)
			switch {
			case !known:
				add("%s imports %s, which is no room", f.file, dir)
			case f.test || helper(f.dir):
			case helper(dir) && from.dir != "internal/bench" && from.dir != "internal/demo":
				add("%s imports %s, which is for tests", f.file, dir)
			case from.dir != to.dir && !slices.Contains(from.imports, to.dir) && !slices.Contains(from.imports, "*"):
				add("%s imports %s, but %s may import only [%s]: %s", f.file, dir, from.dir, strings.Join(from.imports, " "), from.why)
			}
		}
		if f.test || helper(f.dir) {
			continue
		}
		for _, b := range bans {
			if (slices.Contains(f.imports, b.what) || slices.Contains(f.uses, b.what)) &&
				!slices.Contains(b.except, from.dir) && !slices.Contains(b.except, f.file) {
				add("%s uses %s: %s", f.file, b.what, b.why)
			}
		}
		if slices.Contains(pure, from.dir) {
			for _, p := range f.imports {
				for _, bad := range impure {
					if below(p, bad) && p != "net/url" {
						add("%s imports %s, but %s is pure: no files, network, clock or log", f.file, p, from.dir)
					}
				}
			}
		}
		documented[f.dir] = documented[f.dir] || f.doc != ""
		if want := "Package " + f.pkg + " "; f.doc != "" && f.pkg != "main" && !strings.HasPrefix(f.doc, want) {
			add("%s: the package comment does not begin with %q", f.file, want)
		}
	}
	for dir, ok := range documented {
		if !ok {
			add("%s: no package comment", dir)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// roomOf returns the room that the directory belongs to.
func roomOf(dir string) (room, bool) {
	for _, r := range rooms {
		if dir == r.dir || strings.HasPrefix(dir, r.dir+"/") {
			return r, true
		}
	}
	return room{}, false
}

// helper reports whether the directory holds builders, fakes or contract suites
// for tests, such as internal/git/gittest beside internal/git, or lies below one
// that does.
func helper(dir string) bool {
	for ; path.Dir(dir) != "."; dir = path.Dir(dir) {
		if strings.HasSuffix(path.Base(dir), "test") {
			return true
		}
	}
	return false
}

func readModule(root string) ([]source, error) {
	var files []source
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // removed since the directory was read
				return nil
			}
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (base == "testdata" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		f, err := readSource(name, src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func readSource(name string, src []byte) (source, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	f := source{dir: path.Dir(name), file: name, test: strings.HasSuffix(name, "_test.go"), pkg: parsed.Name.Name, doc: parsed.Doc.Text()}
	local := make(map[string]string) // name in this file -> import path
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		f.imports = append(f.imports, p)
		local[path.Base(p)] = p
		if spec.Name != nil {
			local[spec.Name.Name] = p
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && local[x.Name] != "" {
				f.uses = append(f.uses, local[x.Name]+"."+sel.Sel.Name)
			}
		}
		return true
	})
	return f, nil
}

// A check that reports nothing looks the same as a tree that has nothing to
// report, so every rule is tried on a file that breaks it.
func TestArchitectureReports(t *testing.T) {
	const doc = "// Package p is documented.\n"
	for _, test := range []struct {
		name, file, src, want string
	}{
		{"upward", "repository/x.go", doc + `package p; import _ "github.com/tufops/tufops/publish"`, "repository/x.go imports publish, but repository may import only"},
		{"sideways", "onlinesign/x.go", doc + `package p; import _ "github.com/tufops/tufops/signer"`, "onlinesign/x.go imports signer,"},
		{"from below a room", "publish/plan/x.go", doc + `package p; import _ "github.com/tufops/tufops/signingevent"`, "publish/plan/x.go imports signingevent,"},
		{"behind a build tag", "client/x_windows.go", "//go:build windows\n\n" + doc + `package p; import _ "github.com/tufops/tufops/internal/git"`, "client/x_windows.go imports internal/git,"},
		{"client and repository", "client/x.go", doc + `package p; import _ "github.com/tufops/tufops/repository"`, "client/x.go imports repository,"},
		{"adapter from a room", "signingevent/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/github"`, "signingevent/x.go imports internal/github,"},
		{"adapter from an adapter", "internal/kms/gcp/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/objstore/gcs"`, "internal/kms/gcp/x.go imports internal/objstore/gcs,"},
		{"metadata imports ours", "internal/metadata/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/escape"`, "internal/metadata/x.go imports internal/escape,"},
		{"metadata reads files", "internal/metadata/x.go", doc + `package p; import _ "os"`, "imports os, but internal/metadata is pure"},
		{"metadata asks the network", "internal/metadata/x.go", doc + `package p; import _ "net/http"`, "imports net/http, but internal/metadata is pure"},
		{"metadata reads the clock", "internal/metadata/x.go", doc + `package p; import clock "time"; var _ = clock.Now`, "internal/metadata/x.go uses time.Now"},
		{"metadata logs", "internal/metadata/x.go", doc + `package p; import _ "log/slog"`, "imports log/slog, but internal/metadata is pure"},
		{"runs a program", "signer/x.go", doc + `package p; import _ "os/exec"`, "signer/x.go uses os/exec"},
		{"exits", "publish/x.go", doc + `package p; import "os"; func f() { os.Exit(1) }`, "publish/x.go uses os.Exit"},
		{"test helper in a program", "cmd/tufops/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/git/gittest"`, "internal/git/gittest, which is for tests"},
		{"below a test helper in a program", "cmd/tufops/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/git/gittest/x"`, "internal/git/gittest/x, which is for tests"},
		{"unknown room", "planner/x.go", doc + `package p`, "planner: no room of this name"},
		{"unknown room imported", "publish/x.go", doc + `package p; import _ "github.com/tufops/tufops/planner"`, "publish/x.go imports planner, which is no room"},
		{"room by prefix of a name", "clients/x.go", doc + `package p`, "clients: no room of this name"},
		{"nondescript name", "repository/util/x.go", doc + `package p`, `"util" says nothing`},
		{"no package comment", "signer/x.go", `package p`, "signer: no package comment"},
		{"wrong package comment", "signer/x.go", "// Signs things.\npackage p", `does not begin with "Package p "`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := readSource(test.file, []byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			got := violations([]source{f})
			if !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, test.want) }) {
				t.Errorf("reported %q, want %q", got, test.want)
			}
		})
	}
	for _, test := range []struct {
		name, file, src string
	}{
		{"downward", "publish/x.go", doc + `package p; import _ "github.com/tufops/tufops/client"`},
		{"within a room", "internal/kms/gcp/x.go", doc + `package p; import _ "github.com/tufops/tufops/internal/kms/uri"`},
		{"adapter to its room", "internal/objstore/x.go", doc + `package p; import _ "github.com/tufops/tufops/publish"`},
		{"command", "cmd/tufops/x.go", doc + `package p; import (_ "github.com/tufops/tufops/internal/kms"; _ "github.com/tufops/tufops/publish")`},
		{"test", "client/x_test.go", `package p; import (_ "github.com/tufops/tufops/internal/git/gittest"; _ "os/exec")`},
		{"method of the same name", "publish/x.go", doc + `package p; func f(time interface{ Now() int }) { time.Now() }`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := readSource(test.file, []byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			if got := violations([]source{f}); got != nil {
				t.Errorf("reported %q, want nothing", got)
			}
		})
	}
}

// Every row must name a room once, and only rooms.
func TestRooms(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rooms {
		if seen[r.dir] {
			t.Errorf("%s stands twice", r.dir)
		}
		seen[r.dir] = true
	}
	for _, r := range rooms {
		for _, dir := range r.imports {
			if dir != "*" && !seen[dir] {
				t.Errorf("%s may import %s, which is no room", r.dir, dir)
			}
		}
	}
}

func TestForbiddenDependencies(t *testing.T) {
	for _, f := range forbidden {
		if main, _ := filepath.Glob(f.program + "/*.go"); main == nil {
			continue // not written yet
		}
		for _, dep := range linked(t, "./"+f.program) {
			for _, m := range f.modules {
				if below(dep, m) {
					t.Errorf("%s links %s: %s", f.program, dep, f.why)
				}
			}
		}
	}
}

// sigstore-go describes log entries of Rekor v2 by generated code that holds that
// log's server as well, and so links gRPC. Nothing else in the client may.
func TestGRPC(t *testing.T) {
	importers := []string{"google.golang.org/grpc", "github.com/grpc-ecosystem/grpc-gateway/v2", "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"}
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./cmd/tufops-client")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		names := strings.Fields(line)
		if !slices.ContainsFunc(names[1:], func(name string) bool { return below(name, "google.golang.org/grpc") }) {
			continue
		}
		found++
		if !slices.ContainsFunc(importers, func(m string) bool { return below(names[0], m) }) {
			t.Errorf("cmd/tufops-client links %s, which talks gRPC", names[0])
		}
	}
	if found == 0 {
		t.Error("nothing links gRPC any more: forbid it in TestForbiddenDependencies")
	}
}

func TestForbiddenDependenciesReports(t *testing.T) {
	deps := linked(t, "./internal/cli")
	if !slices.ContainsFunc(deps, func(dep string) bool { return below(dep, "github.com/urfave") }) {
		t.Errorf("internal/cli links urfave/cli, but it is not among %q", deps)
	}
	if below("github.com/awsome/x", "github.com/aws") {
		t.Error("github.com/awsome/x is not below github.com/aws")
	}
}

func below(pkg, module string) bool { return pkg == module || strings.HasPrefix(pkg, module+"/") }

// linked returns the packages that the package at dir is built from.
func linked(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", dir, err)
	}
	return strings.Fields(string(out))
}
