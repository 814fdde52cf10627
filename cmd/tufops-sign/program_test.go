package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// shipped has the folder with the program as people get it; see requireProgram.
var shipped struct {
	sync.Once
	dir string
	err error
	out string
}

func TestMain(m *testing.M) {
	status := m.Run()
	if shipped.dir != "" {
		os.RemoveAll(shipped.dir)
	}
	os.Exit(status)
}

// requireProgram puts the program first in PATH, made once by the very command of
// make build: what a test then runs by name is not the test's own binary, but what
// people have, built with the same tags. It returns where the program is.
func requireProgram(t *testing.T) string {
	t.Helper()
	shipped.Do(func() {
		if shipped.dir, shipped.err = os.MkdirTemp("", "tufops-sign"); shipped.err != nil {
			return
		}
		if shipped.out, shipped.err = buildInto(shipped.dir); shipped.err == nil {
			shipped.err = os.Setenv("PATH", shipped.dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
		}
	})
	if shipped.err != nil {
		t.Fatalf("make build: %v\n%s", shipped.err, shipped.out)
	}
	return filepath.Join(shipped.dir, "tufops-sign")
}

// buildInto runs the line of make build that makes this program, with another
// folder.
func buildInto(dir string) (string, error) {
	makes := exec.Command("make", "--no-print-directory", "--dry-run", "build")
	makes.Dir = filepath.Join("..", "..")
	makes.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { // of a make that runs this test
		return strings.HasPrefix(kv, "MAKE") || strings.HasPrefix(kv, "MFLAGS=")
	})
	lines, err := makes.CombinedOutput()
	if err != nil {
		return string(lines), err
	}
	const into, what = " -o bin/ ", "./cmd/tufops-sign"
	build := ""
	for line := range strings.Lines(string(lines)) {
		if strings.Contains(line, what) && strings.Contains(line, into) {
			build += line
		}
	}
	if strings.Count(build, "\n") != 1 {
		return string(lines), fmt.Errorf("make build has %d lines that make %s into bin/, not one", strings.Count(build, "\n"), what)
	}
	cmd := exec.Command("sh", "-c", strings.Replace(build, into, " -o '"+dir+"/' ", 1))
	cmd.Dir, cmd.Env = makes.Dir, makes.Env
	out, err := cmd.CombinedOutput()
	return build + string(out), err
}
