package demo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git/gittest"
)

// A block is what a manual tells people to type.
type block struct {
	line     int
	as       string // who types it
	commands string
	merge    string // or: this branch is merged with the button
	legacy   bool   // or: from here on in a repository with tuf-on-ci's workflows
}

var directive = regexp.MustCompile(`^<!-- (as|merge|with) (.+) -->$`)

// blocks reads the indented command blocks of a manual. Comments before them say
// who types them; they do not show on the page.
func blocks(text string) []block {
	var list []block
	as, open := "", false
	for i, line := range strings.Split(text, "\n") {
		switch m := directive.FindStringSubmatch(line); {
		case m != nil && m[1] == "as":
			as = m[2]
		case m != nil && m[1] == "merge":
			list = append(list, block{line: i + 1, merge: m[2]})
		case m != nil:
			list = append(list, block{line: i + 1, legacy: true})
			as = "legacy"
		case strings.HasPrefix(line, "    "):
			if !open {
				list = append(list, block{line: i + 1, as: as})
			}
			list[len(list)-1].commands += line[4:] + "\n"
			open = true
			continue
		}
		open = false
	}
	return list
}

// TestMaintainerManual types what the manual says, word for word, and has GitHub
// merge where it says so.
func TestMaintainerManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/maintainer-manual.md")
	if err != nil {
		t.Fatal(err)
	}
	list := blocks(string(text))
	if len(list) < 15 {
		t.Fatalf("only %d blocks were found", len(list))
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("TUFOPS_REQUIRE_TUF_ON_CI") != "" {
			t.Fatal("openssl is missing")
		}
		t.Skip("needs openssl, with which the manual makes keys")
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	u := gittest.New(t)
	seed := u.Clone("seed")
	seed.WriteFile("README.md", "a place to meet\n")
	seed.Commit("begin")
	seed.Push()
	root := t.TempDir()
	for _, dir := range []string{"srv/tuf", "srv/www", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Nobody sits at the terminal: what the signer would ask is answered with yes.
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --yes\n", filepath.Join(bin, "tufops-sign"))
	if err := os.WriteFile(filepath.Join(root, "tufops-sign"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	clones := map[string]string{}
	for _, name := range []string{"alice", "bob"} {
		key := filepath.Join(root, name+".pem")
		if out, err := exec.Command("openssl", "genpkey", "-algorithm", "ED25519", "-out", key).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		c := u.Clone(name)
		clones[name] = c.Dir
		ini := "[settings]\nuser-name = " + name + "\npull-remote = origin\npush-remote = origin\nkey = file:" + key + "\n"
		if err := os.WriteFile(filepath.Join(c.Dir, ".tufops-sign.ini"), []byte(ini), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for _, b := range list {
		switch {
		case b.merge != "":
			seed.Run("fetch", "-q", "origin")
			seed.Run("switch", "-q", "-C", "main", "origin/main")
			seed.Run("merge", "-q", "--no-ff", "--no-edit", "origin/"+b.merge)
			seed.Run("push", "-q", "origin", "main")
			continue
		case b.legacy:
			legacy := u.Clone("legacy")
			legacy.WriteFile(".github/workflows/signing-event.yml", predecessorWorkflow)
			for _, file := range []string{"create-signing-events", "online-sign", "publish", "test"} {
				legacy.Run("rm", "-q", ".github/workflows/"+file+".yml")
			}
			legacy.Commit("as tuf-on-ci's users have it")
			clones["legacy"] = legacy.Dir
			continue
		}
		dir := clones[b.as]
		if dir == "" {
			t.Fatalf("line %d: who types this? %q", b.line, b.as)
		}
		script := strings.ReplaceAll(b.commands, "/srv/", root+"/srv/")
		script = strings.ReplaceAll(script, "file://"+root, "file://"+root)
		cmd := exec.Command("sh", "-e", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+root+":"+bin+":"+os.Getenv("PATH"), "TMPDIR="+filepath.Join(root, "tmp"), "HOME="+root)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("line %d, as %s:\n%s\n%v\n%s", b.line, b.as, b.commands, err, out)
		}
		ran++
	}
	for _, file := range []string{"srv/www/tuf/metadata/timestamp.json", "srv/www/tuf/metadata/2.root.json"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Errorf("after %d blocks: %v", ran, err)
		}
	}
}

const predecessorWorkflow = `name: TUF-on-CI signing event

on:
  push:
    branches: ['sign/**']

jobs:
  handle-signing-event:
    runs-on: ubuntu-latest
    steps:
      - name: Signing event
        uses: theupdateframework/tuf-on-ci/actions/signing-event@4e63a5934064216b7caa7a4a833b1b0936bec660 # v0.20.0
        with:
          token: ${{ secrets.GITHUB_TOKEN }}
`
