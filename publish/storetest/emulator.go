package storetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// Emulate starts a program that stands in for a service, and returns what the
// pattern finds in the output of the program: by it the program says that it is
// ready, and where. It ends with the test.
//
// Programs are looked for where make emulators puts them, then in PATH. The test
// is skipped where there is none, unless TUFOPS_REQUIRE_STORES is set.
func Emulate(t *testing.T, ready *regexp.Regexp, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(top(t), "build", "emulators", "bin", program)
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath(program); err != nil {
			if os.Getenv("TUFOPS_REQUIRE_STORES") != "" {
				t.Fatalf("%v (TUFOPS_REQUIRE_STORES is set); make emulators gets it", err)
			}
			t.Skipf("%v; to try the store on it: make emulators", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = t.TempDir()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		defer close(found)
		said := ""
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if m := ready.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[len(m)-1]
				_, _ = io.Copy(io.Discard, output) // a full pipe would stop it
				return
			}
			said += lines.Text() + "\n"
		}
		fmt.Fprintf(os.Stderr, "%s ended without being ready:\n%s", program, said)
	}()
	select {
	case address, ok := <-found:
		if !ok {
			t.Fatalf("%s did not start", path)
		}
		return address
	case <-time.After(time.Minute):
		t.Fatalf("%s is not ready after a minute", path)
	}
	return ""
}

// top is the top of the module.
func top(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the directory of the test")
		}
	}
}
