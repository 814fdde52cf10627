package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxProgram is what the program may weigh, in bytes. The library that verifies
// bundles is most of it. Raise the limit only with the dependency that needs it.
const maxProgram = 30 << 20

// TestSize builds the program with what the tests have compiled already.
func TestSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tufops-client")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tufops-client has %.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > maxProgram || info.Size() < 1<<20 {
		t.Errorf("tufops-client has %d bytes, and may have %d: see what go list -deps ./cmd/tufops-client has more than before", info.Size(), maxProgram)
	}
}
