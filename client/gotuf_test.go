package client_test

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// go-tuf is what cosign and sigstore-go run in the field. Where it and we judge
// one repository differently, the reason stands here.

// gotufFetcher serves http://repo/ from a map.
type gotufFetcher map[string][]byte

func (f gotufFetcher) DownloadFile(from string, max int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, ok := f[strings.TrimPrefix(u.Path, "/")]
	switch {
	case !ok:
		return nil, &gotuf.ErrDownloadHTTP{StatusCode: 404, URL: from}
	case int64(len(data)) > max:
		return nil, &gotuf.ErrDownloadLengthMismatch{Msg: "too long"}
	}
	return data, nil
}

// gotufVerdict is [verdict] by go-tuf. A panic is an error here.
func gotufVerdict(files map[string][]byte, root []byte, now time.Time, path string) (content string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cfg, err := config.New("http://repo/metadata", root)
	if err != nil {
		return "", err
	}
	cfg.RemoteTargetsURL = "http://repo/targets"
	cfg.Fetcher = gotufFetcher(files)
	cfg.DisableLocalCache = true
	up, err := updater.New(cfg)
	if err != nil {
		return "", err
	}
	up.UnsafeSetRefTime(now)
	if err := up.Refresh(); err != nil {
		return "", err
	}
	info, err := up.GetTargetInfo(path)
	if err != nil {
		return "", err
	}
	_, data, err := up.DownloadTarget(info, "", "")
	return string(data), err
}

func TestGoTUFAgreesOnTheCorpus(t *testing.T) {
	files := published(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, ok := strings.CutPrefix(name, "targets/")
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			path = path[:i+1] + path[i+66:]
		} else {
			path = path[65:]
		}
		for v := 1; v <= 14; v++ {
			if v > 1 && path != "trusted_root.json" {
				break
			}
			root := files[fmt.Sprintf("metadata/%d.root.json", v)]
			theirs, err := gotufVerdict(files, root, corpusTime, path)
			if err != nil {
				t.Fatalf("go-tuf from root v%d: %s: %v", v, path, err)
			}
			ours, err := verdict(files, root, corpusTime, path)
			if err != nil || ours != theirs {
				t.Errorf("from root v%d: %s: %v", v, path, err)
			}
		}
	}
}

func TestGoTUFAgreesOnDelegations(t *testing.T) {
	for _, graph := range []string{
		"targets>A", "targets>A targets>B A>C B>C", "targets>A! targets>B", "targets>A targets>B A>C! A>D", "targets>A:*.txt targets>B:t*",
		"targets>A A>B B>A B>C", "targets>A:x/* targets>B:*", "targets>A:too? targets>B", "targets>A A>B:other targets>C", "targets>A:t[a-p]ol targets>B",
	} {
		for _, role := range []string{targets, "A", "B", "C", "D", "nobody"} {
			repo := drawn(t, graph)
			if repo.Roles[role] == nil && role != "nobody" {
				continue
			}
			if role != "nobody" {
				repo.AddTarget(role, "tool", "by "+role)
				repo.Publish(role)
			}
			anchor := repo.Files["metadata/1.root.json"]
			ours, errOurs := verdict(repo.Files, anchor, clienttest.Now, "tool")
			theirs, errTheirs := gotufVerdict(repo.Files, anchor, clienttest.Now, "tool")
			if ours != theirs || (errOurs == nil) != (errTheirs == nil) {
				t.Errorf("%s, tool in %s: %q %v, go-tuf %q %v", graph, role, ours, errOurs, theirs, errTheirs)
			}
		}
	}
}

// Where we and go-tuf differ about validly signed nonsense, and why. A rule
// that explains nothing any more fails the test, so that this list stays true.
var disagreements = []struct {
	weAccept bool
	where    *regexp.Regexp // in "role" + description of [mutations]
	why      string
}{
	{false, regexp.MustCompile(`\.scheme = `), "go-tuf verifies with a key whose scheme it does not know"},
	{false, regexp.MustCompile(`\.spec_version = `), "go-tuf does not compare the major version of the specification"},
	{false, regexp.MustCompile(`\.version = (0|-1)$`), "go-tuf takes versions below 1, which the specification forbids"},
	{false, regexp.MustCompile(`^snapshot\.meta\.B\.json = null$`), "go-tuf takes null for an entry that it does not need"},
	{false, regexp.MustCompile(`\.delegations\.keys\.[0-9a-f]+ = null$`), "go-tuf takes null for a key that it does not need"},
	{false, regexp.MustCompile(`\.delegations\.roles\.1\.(keyids = null|path_hash_prefixes gone)$`), "go-tuf takes a delegation without keyids or paths"},
	{false, regexp.MustCompile(`\.targets = null$`), "go-tuf reads null as no targets"},
	{true, regexp.MustCompile(`\.keyval(\.public)? (=|gone)`), "go-tuf adds an empty public key, so that the signature no longer holds, or cannot read one of another type"},
	{true, regexp.MustCompile(`\.custom = null$`), "go-tuf drops the null, so that the signature no longer holds"},
}

func TestGoTUFAgreesOnSignedNonsense(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	used := make([]int, len(disagreements))
	for _, role := range mutableRoles {
		file := clienttest.File(role, repo.Roles[role].Version())
		tree, _, _ := metadata.ParseTree(repo.Files[file])
		signed := tree.(metadata.Object)["signed"]
		for what, changed := range mutations(signed) {
			data, ok := signAny(changed, repo.Roles[role].Keys)
			if !ok {
				continue
			}
			files := maps.Clone(repo.Files)
			files[file] = data
			ours, errOurs := verdict(files, anchor, clienttest.Now, "a/tool")
			theirs, errTheirs := gotufVerdict(files, anchor, clienttest.Now, "a/tool")
			if ours == theirs && (errOurs == nil) == (errTheirs == nil) {
				continue
			}
			i := slices.IndexFunc(disagreements, func(d struct {
				weAccept bool
				where    *regexp.Regexp
				why      string
			}) bool {
				return d.weAccept == (errOurs == nil) && d.where.MatchString(role+what)
			})
			if i < 0 {
				t.Errorf("%s%s: ours %q %v; go-tuf's %q %v", role, what, ours, errOurs, theirs, errTheirs)
				continue
			}
			used[i]++
		}
	}
	for i, n := range used {
		t.Logf("%3d: %s", n, disagreements[i].why)
		if n == 0 && everyNth == 1 {
			t.Errorf("no longer true: %s", disagreements[i].why)
		}
	}
}

// What nobody signed neither accepts, but that go-tuf verifies its own rendering
// of what it read; and it panics at times.
func TestGoTUFAgreesOnUnsignedChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	panics := 0
	for _, role := range mutableRoles {
		file := clienttest.File(role, repo.Roles[role].Version())
		tree, _, _ := metadata.ParseTree(repo.Files[file])
		for what, changed := range mutations(tree) {
			files := maps.Clone(repo.Files)
			files[file] = metadata.Write(changed)
			content, err := gotufVerdict(files, anchor, clienttest.Now, "a/tool")
			if err == nil && strings.Contains(what, ".terminating ") {
				continue // it was false, which is what go-tuf reads and signs where there is none
			}
			if err == nil {
				t.Errorf("%s%s: go-tuf returns %q", role, what, content)
			} else if strings.HasPrefix(err.Error(), "panic: ") {
				panics++
			}
		}
	}
	t.Logf("go-tuf panicked %d times", panics)
}

// go-tuf keeps a verified role by its name alone (go-tuf#759), we by the
// delegator too: see [TestRoleIsVerifiedForItsDelegator].
func TestGoTUFDiffersOnASharedRoleName(t *testing.T) {
	repo := clienttest.New()
	repo.Delegate(targets, "A", false, []string{"a/*"})
	repo.Delegate(targets, "B", false, []string{"b/*"})
	repo.Delegate("A", "release", false, []string{"a/*"}, clienttest.NewKey("of A"))
	repo.Delegate("B", "release", false, []string{"b/*"}, clienttest.NewKey("of B"))
	repo.AddTarget("release", "b/tool", "signed by A alone")
	repo.Roles["release"].Keys = []*clienttest.Key{clienttest.NewKey("of A")}
	repo.Publish("release", "A", "B", targets)
	cfg, err := config.New("http://repo/metadata", repo.Files["metadata/1.root.json"])
	if err != nil {
		t.Fatal(err)
	}
	cfg.Fetcher, cfg.DisableLocalCache = gotufFetcher(repo.Files), true
	up, err := updater.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	up.UnsafeSetRefTime(clienttest.Now)
	if err := up.Refresh(); err != nil {
		t.Fatal(err)
	}
	_, _ = up.GetTargetInfo("a/none")
	if _, err := up.GetTargetInfo("b/tool"); err != nil {
		t.Errorf("go-tuf has mended this (%v): say so in the notes", err)
	}
}
