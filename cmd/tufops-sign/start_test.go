package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A person waits until the PIN is asked for, and most of that time git starts. So
// this counts it, up to the PIN, which is not given. Two looks at the remote, one
// at main and one at the event, each ask before they fetch.
func TestGitProcessesBeforePIN(t *testing.T) {
	w := established(t)
	w.token("alice", "11111111")
	w.targetsEvent("sign/x")
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	shim := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> '%s'\nexec '%s' \"$@\"\n", log, git)
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(shim), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	const most = 15
	a := w.run("alice", "yes\n", "sign", "sign/x")
	w.says(a.stderr, "PIN of YubiKey 11111111 (3 tries left): ", "a question was not answered")
	w.did("11111111", "")
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(calls, []byte("\n")); n == 0 || n > most {
		t.Errorf("git starts %d times before the PIN is asked for, and may %d times:\n%s", n, most, calls)
	}
}
