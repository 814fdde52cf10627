package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/onlinesign/onlinesigntest"
	"github.com/tufops/tufops/repository"
)

// TestBreakGlass types what the page says, word for word, on a night on which the
// timestamp has half a day left: it is fresh afterwards, at the destination and on
// main, and the workflow has nothing to do. On another night main moves before the
// commit can be pushed: the workflow goes on from what clients have.
func TestBreakGlass(t *testing.T) {
	text, err := os.ReadFile("../../docs/break-glass.md")
	if err != nil {
		t.Fatal(err)
	}
	list := blocks(string(text))
	if len(list) != 6 {
		t.Fatalf("%d blocks were found, want 6", len(list))
	}
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprintf("main moves: %v", moved), func(t *testing.T) {
			t.Parallel()
			w := onlinesigntest.New(t, repository.OnlineConfig{TimestampExpiry: 7, TimestampSigning: 6})
			w.Artifact("hello.txt", "hello\n", true)
			w.Sign()
			root := t.TempDir()
			site := filepath.Join(root, "srv/www/tuf")
			if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
				t.Fatal(err)
			}
			w.Site = site
			if err := w.Publish(); err != nil {
				t.Fatal(err)
			}
			w.Wait(6*24*time.Hour + 12*time.Hour)
			main := w.State().Commit()

			replace := strings.NewReplacer("https://github.com/example/tuf.git", w.Upstream.Dir, "https://tuf.example.org/", "file://"+site+"/", "file:///srv/", "file://"+root+"/srv/")
			dir := root
			for i, b := range list {
				if strings.Contains(b.commands, "git push") && moved {
					w.Write("Something else", map[string][]byte{"README.md": []byte("moved\n")})
				}
				cmd := exec.Command("sh", "-e", "-c", replace.Replace(b.commands)+"pwd > "+filepath.Join(root, "cwd"))
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+filepath.Join(root, "tmp"), "HOME="+root,
					"CRYPTO_SIGNER_PATH_PREFIX="+w.KeyDir, "TUFOPS_NOW="+w.Now.Format(time.RFC3339),
					"GIT_AUTHOR_NAME=Oncall", "GIT_AUTHOR_EMAIL=oncall@example.org", "GIT_COMMITTER_NAME=Oncall", "GIT_COMMITTER_EMAIL=oncall@example.org")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("line %d:\n%s\n%v\n%s", b.line, b.commands, err, out)
				}
				if i == 2 && w.State().Commit() != main {
					t.Error("signing has pushed something")
				}
				at, err := os.ReadFile(filepath.Join(root, "cwd"))
				if err != nil {
					t.Fatal(err)
				}
				dir = strings.TrimSpace(string(at))
			}

			served, err := os.ReadFile(filepath.Join(site, "metadata", "timestamp.json"))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := metadata.Parse(served)
			if err != nil || doc.Version() != 2 || !doc.Expires().Equal(w.Now.Add(7*24*time.Hour)) {
				t.Fatalf("served is version %d until %v, %v", doc.Version(), doc.Expires(), err)
			}
			// In the morning the workflow runs again.
			w.Wait(time.Hour)
			r, err := w.TrySign(w.Keys(), onlinesign.Live{URL: "file://" + site, Read: func(context.Context) ([]byte, error) { return served, nil }})
			if err != nil {
				t.Fatal(err)
			}
			if !moved {
				if got := w.Document("timestamp"); len(r.Signed) > 0 || got.Version() != 2 || string(got.Bytes()) != string(served) {
					t.Errorf("the workflow signs %+v; main has version %d", r.Signed, got.Version())
				}
				return
			}
			if n := len(r.Signed); n != 2 || r.Signed[1].Version != 3 {
				t.Errorf("the workflow signs %+v", r.Signed)
			}
			if err := w.Publish(); err != nil {
				t.Error(err)
			}
		})
	}
}
