// Package workflows is the GitHub Actions side of a TUF repository: the files
// that tufops init lays down, and the way from tuf-on-ci's actions to ours and
// back.
//
// It owns which files there are and what they say. A workflow decides nothing: it
// says when something runs and what it may do, and every decision is in a command
// of tufops. A job that a push to a sign/ branch starts brings its own workflow
// file, so it holds the default token and nothing else.
//
// It trusts the checkout to be the user's, and nothing that stands in it: a
// symbolic link is never written through, a file that somebody has changed is
// never overwritten, and a line is rewritten only where it says exactly what is
// expected. It reads and writes files, and knows neither git nor TUF.
package workflows

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tufops/tufops/internal/wholefile"
)

// Names are the actions that there are, which but for publish-repository are those
// of tuf-on-ci with the same inputs.
var Names = []string{
	"create-signing-events", "online-sign", "online-sign-targets", "publish-repository", "signing-event",
	"test-repository", "update-issue", "upload-repository",
}

// Actions say where workflows take our actions from.
type Actions struct {
	Repository string // OWNER/NAME on the forge
	Ref        string // a full commit hash, in lower case
	Version    string // for the comment behind it: a version, or "unreleased"
}

var (
	repositoryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
	commitHash     = regexp.MustCompile(`^[0-9a-f]{40}$`)
	versionName    = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]*$`)
)

// Check reports what is wrong with a. A branch or a tag is refused as Ref: either
// can be moved to other code by whoever can push there.
func (a Actions) Check() error {
	switch {
	case !repositoryName.MatchString(a.Repository):
		return fmt.Errorf("the repository of the actions is OWNER/NAME, not %q", a.Repository)
	case !commitHash.MatchString(a.Ref):
		return fmt.Errorf("the ref of the actions is a full commit hash of 40 lower-case hex digits, not %q", a.Ref)
	case !versionName.MatchString(a.Version):
		return fmt.Errorf("the version of the actions is a word such as v0.1.0, not %q", a.Version)
	}
	return nil
}

// uses is what stands behind "uses:" for the action of this name, without comment.
func (a Actions) uses(name string) string {
	return a.Repository + "/.github/actions/" + name + "@" + a.Ref
}

// Policy is the file in which maintainers write what they decide. It is theirs:
// one that is there is left as it is.
const Policy = ".tufops.yaml"

//go:embed all:files
var embedded embed.FS

// A File is one to lay down.
type File struct {
	Path string // slash-separated, from the top of the checkout
	Data []byte
}

// Files returns the files of a new repository, by name.
func Files(a Actions) ([]File, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("ACTIONS/", a.Repository+"/.github/actions/", "@REF # VERSION", "@"+a.Ref+" # "+a.Version)
	var files []File
	err := fs.WalkDir(embedded, "files", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(embedded, name)
		if err != nil {
			return err
		}
		switch {
		case path.Ext(name) == ".yml":
			data = []byte(fill.Replace(string(data)))
		case strings.HasPrefix(name, "files/docs/"), name == "files/"+Policy:
			data = []byte(strings.NewReplacer("REPOSITORY", a.Repository, "REF", a.Ref, "VERSION", a.Version).Replace(string(data)))
		}
		files = append(files, File{strings.TrimPrefix(name, "files/"), data})
		return nil
	})
	return files, err
}

// A DiffersError says that files are in the way of those to be laid down.
type DiffersError struct {
	Paths []string
}

func (e *DiffersError) Error() string {
	return fmt.Sprintf("already there with other content: %s", strings.Join(e.Paths, ", "))
}

// Hint says what to do.
func (e *DiffersError) Hint() string {
	return "compare with what `tufops init --dry-run` prints, then move them away or keep them; workflows of tuf-on-ci are taken over with: tufops init --migrate"
}

// Note says how things were left.
func (e *DiffersError) Note() string { return "nothing was written" }

// Missing returns those of the files that are not in the checkout yet. One that is
// there with the same content is left out, and so is a [Policy] with any; others
// with other content are a [*DiffersError].
func Missing(top string, files []File) ([]File, error) {
	var missing []File
	differs := new(DiffersError)
	for _, f := range files {
		data, err := read(top, f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, f)
		case err != nil:
			return nil, err
		case f.Path != Policy && !bytes.Equal(data, f.Data):
			differs.Paths = append(differs.Paths, f.Path)
		}
	}
	if differs.Paths != nil {
		return nil, differs
	}
	return missing, nil
}

// Write puts the files into the checkout, each as a whole or not at all. After a
// crash some are there and some are not; calling it again completes them.
func Write(top string, files []File) error {
	for _, f := range files {
		if err := write(top, f.Path, f.Data); err != nil {
			return err
		}
	}
	return nil
}

// maxFile bounds what is read: GitHub takes no workflow near this size.
const maxFile = 4 << 20

// read returns a regular file of the checkout that is reached without a symbolic
// link. The error wraps fs.ErrNotExist if there is none.
func read(top, name string) ([]byte, error) {
	info, err := lstat(top, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes; more than %d are not read", name, info.Size(), maxFile)
	}
	return os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
}

// write replaces a file of the checkout, or makes it. Permissions of one that is
// there stay as they are, which wholefile.Write sees to.
func write(top, name string, data []byte) error {
	info, err := lstat(top, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: it is not a regular file", name)
	}
	file := filepath.Join(top, filepath.FromSlash(name))
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := wholefile.Write(file, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// lstat looks at a file of the checkout and refuses symbolic links on the way to
// it, the file itself included: behind one may be anything.
func lstat(top, name string) (fs.FileInfo, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("%q is not a path inside the checkout", name)
	}
	at := top
	var info fs.FileInfo
	for part := range strings.SplitSeq(name, "/") {
		at = filepath.Join(at, part)
		var err error
		if info, err = os.Lstat(at); err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			seen, _ := filepath.Rel(top, at)
			return nil, fmt.Errorf("%s is a symbolic link; files are neither read nor written through one", filepath.ToSlash(seen))
		}
	}
	return info, nil
}

// list returns the workflow files of the checkout, then the files of its own
// actions, by name.
func list(top string) ([]string, error) {
	isYAML := func(e fs.DirEntry) bool {
		ext := path.Ext(e.Name())
		return !e.IsDir() && (ext == ".yml" || ext == ".yaml")
	}
	var names []string
	workflows, err := folder(top, ".github/workflows")
	if err != nil {
		return nil, err
	}
	for _, e := range workflows {
		if isYAML(e) {
			names = append(names, ".github/workflows/"+e.Name())
		}
	}
	actions, err := folder(top, ".github/actions")
	if err != nil {
		return nil, err
	}
	for _, action := range actions {
		if !action.IsDir() {
			continue
		}
		files, err := folder(top, ".github/actions/"+action.Name())
		if err != nil {
			return nil, err
		}
		for _, e := range files {
			if isYAML(e) && strings.TrimSuffix(e.Name(), path.Ext(e.Name())) == "action" {
				names = append(names, ".github/actions/"+action.Name()+"/"+e.Name())
			}
		}
	}
	return names, nil
}

// folder lists a folder of the checkout by name; one that is not there is empty.
func folder(top, name string) ([]fs.DirEntry, error) {
	if _, err := lstat(top, name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return os.ReadDir(filepath.Join(top, filepath.FromSlash(name)))
}
