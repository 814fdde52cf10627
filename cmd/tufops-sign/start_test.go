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
// this counts it, up to the PIN, which is not given.
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
	// before runs up to the PIN, and counts how often git is asked each question, and
	// in all.
	before := func(asked map[string]int, most int) {
		t.Helper()
		os.Remove(log)
		a := w.run("alice", "yes\n", "sign", "sign/x")
		w.says(a.stderr, "PIN of YubiKey 11111111 (3 tries left): ", "a question was not answered")
		w.did("11111111", "")
		calls, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for question, want := range asked {
			if n := bytes.Count(calls, []byte(" "+question+" ")); n != want {
				t.Errorf("git is asked %q %d times, want %d:\n%s", question, n, want, calls)
			}
		}
		if n := bytes.Count(calls, []byte("\n")); n == 0 || n > most {
			t.Errorf("git starts %d times before the PIN is asked for, and may %d times:\n%s", n, most, calls)
		}
	}
	before(map[string]int{"remote get-url --": 1, "remote get-url --push": 1, "merge-base": 1, "ls-remote": 1, "fetch": 1}, 9)
	// Who has looked already has what the remote has.
	before(map[string]int{"ls-remote": 1, "fetch": 0}, 8)
}
