package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/cli"
)

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(app(cli.Env{})) {
		t.Error(problem)
	}
}

// maxInit is what a package of ours may allocate before main, in bytes: every run
// pays for it, whether it needs it or not. A template and most regular expressions
// can wait in a sync.OnceValue.
const maxInit = 80 << 10

// TestBeforeMain asks Go itself, in a run of this program that runs no test. It
// counts bytes and collections, which do not depend on the machine's mood.
func TestBeforeMain(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1,gctrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	ours := map[string]int{}
	for lines := bufio.NewScanner(&trace); lines.Scan(); {
		// init PACKAGE @1.2 ms, 0.034 ms clock, 5678 bytes, 9 allocs
		f := strings.Fields(lines.Text())
		if len(f) > 0 && f[0] == "gc" { // see internal/heap
			t.Errorf("garbage is collected before there is any: %s", lines.Text())
		}
		if len(f) != 11 || f[0] != "init" {
			continue
		}
		name, is := strings.CutPrefix(f[1], "github.com/tufops/tufops/")
		if !is || strings.HasSuffix(name, "test") {
			continue
		}
		size, err := strconv.Atoi(f[7])
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		ours[name] = size
		if size > maxInit {
			t.Errorf("%s allocates %d bytes before main, and may %d", name, size, maxInit)
		}
	}
	if ours["repository"] == 0 { // it registers its rules
		t.Errorf("Go said nothing of what repository does before main:\n%s", trace.Bytes())
	}
	t.Logf("in bytes: %v", ours)
}
