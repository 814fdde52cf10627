//go:build unix

package github

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTemplatePipe: opening a pipe would wait for ever.
func TestTemplatePipe(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, ".github", "TUFOPS_TEMPLATE")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "failure.md"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := IssueTemplate(dir); text != "" || err == nil || !strings.Contains(err.Error(), "it is not a regular file") {
		t.Errorf("%q, %v", text, err)
	}
}
