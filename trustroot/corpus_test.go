package trustroot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// version is one real file with the moment and the company that it came in. A
// file is named by the first letters of its commit and its kind: 260bb561/tr.
type version struct {
	id     string
	before string   // what main held then; "" for nothing
	beside []string // what else stood in targets/
	now    string
	want   []string
}

const rsaKey = "warning key-deprecated ctlogs[0].publicKey" // staging's first CT log, in every version

// Every real version of staging's files, with all that is found in it. What was
// never corrected has no error here, but for the removal of an authority, which
// is one that somebody has to answer for.
var versions = []version{
	{"a146d3cb/tr", "", nil, "2023-11-10", []string{rsaKey,
		"warning chain-ending timestampAuthorities[0].certChain", "warning url timestampAuthorities[0]"}},
	{"6533dfb7/tr", "a146d3cb/tr", nil, "2024-08-21", []string{"error removed timestampAuthorities", rsaKey}},
	{"6533dfb7/sc", "", []string{"6533dfb7/tr"}, "2024-08-21", []string{"error media-type mediaType", "warning url oidcUrl"}},
	{"951cec17/sc", "6533dfb7/sc", []string{"6533dfb7/tr"}, "2024-08-23", []string{"warning url oidcUrl"}},
	{"3d980cd1/tr", "6533dfb7/tr", nil, "2025-04-09", []string{"error environment timestampAuthorities[0]", rsaKey, "warning url timestampAuthorities[0]"}},
	{"bb447401/sc", "", []string{"3d980cd1/tr"}, "2025-04-25", []string{"error untrusted tsaUrls[0].url",
		"warning operator caUrls[0].operator", "warning operator oidcUrls[0].operator",
		"warning operator rekorTlogUrls[0].operator", "warning operator tsaUrls[0].operator", "warning url oidcUrls[0]"}},
	{"05bd62b1/sc", "", []string{"36550344/tr"}, "2025-04-25", []string{
		"warning operator caUrls[0].operator", "warning operator oidcUrls[0].operator",
		"warning operator rekorTlogUrls[0].operator", "warning operator tsaUrls[0].operator"}},
	{"36550344/tr", "6533dfb7/tr", []string{"05bd62b1/sc"}, "2025-04-25", []string{rsaKey}},
	{"11ddff02/tr", "36550344/tr", nil, "2025-05-15", []string{
		"error field-too-new certificateAuthorities[0].operator", "error field-too-new ctlogs[0].operator", "error field-too-new ctlogs[1].operator",
		"error field-too-new ctlogs[2].operator", "error field-too-new timestampAuthorities[0].operator", "error field-too-new tlogs[0].operator", rsaKey}},
	{"e5a09078/sc", "05bd62b1/sc", []string{"36550344/tr"}, "2025-05-15", nil},
	{"260bb561/tr", "36550344/tr", []string{"e5a09078/sc"}, "2025-06-04", []string{"error log-id tlogs[1].logId", rsaKey}},
	{"90c66330/tr", "260bb561/tr", []string{"e5a09078/sc"}, "2025-06-12", []string{rsaKey, "warning identity tlogs[1].logId"}},
	{"1caaab88/sc", "e5a09078/sc", []string{"90c66330/tr"}, "2025-07-22", nil},
	{"8f89c913/tr", "90c66330/tr", []string{"8f89c913/sc"}, "2025-08-13", []string{"error unreadable tlogs[1].publicKey.validFor.end"}},
	{"8f89c913/sc", "1caaab88/sc", []string{"2ec248be/tr"}, "2025-08-13", nil},
	{"2ec248be/tr", "90c66330/tr", []string{"8f89c913/sc"}, "2025-08-13", []string{rsaKey}},
	{"ddcf69fa/tr", "2ec248be/tr", []string{"ddcf69fa/sc"}, "2025-09-22", []string{rsaKey, "warning end-soon tlogs[2]"}},
	{"ddcf69fa/sc", "8f89c913/sc", []string{"ddcf69fa/tr"}, "2025-09-22", nil},
	{"5aeefe57/tr", "ddcf69fa/tr", []string{"ddcf69fa/sc"}, "2026-01-12", []string{rsaKey}},
	{"41e2dadb/tr", "ddcf69fa/tr", []string{"ddcf69fa/sc"}, "2026-01-14", []string{rsaKey, "warning end-soon ctlogs[2]"}},
	{"652029d7/tr", "41e2dadb/tr", []string{"ddcf69fa/sc"}, "2026-01-15", []string{rsaKey, "warning reopened ctlogs[2]"}},
	{"8b4e8006/tr", "652029d7/tr", []string{"3de6037c/sc"}, "2026-06-12", []string{rsaKey,
		"warning chain-ending timestampAuthorities[1].certChain", "warning subject timestampAuthorities[1].subject"}},
	{"3de6037c/sc", "ddcf69fa/sc", []string{"8b4e8006/tr"}, "2026-06-12", []string{"warning untrusted rekorTlogUrls[0].url"}},
}

// corpus reads the real files, by the first letters of their commit and their
// kind.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	dir := filepath.Join(gittest.CorpusDir(t), "trust")
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no trust material in %s: %v", dir, err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Split(strings.TrimSuffix(filepath.Base(name), ".json"), "_") // DATE COMMIT BLOB KIND
		files[part[1]+"/"+part[3]] = data
	}
	return files
}

// artifact is the name that a file has in targets/.
func artifact(id string, data []byte) string {
	switch {
	case strings.HasSuffix(id, "/tr"):
		return "trusted_root.json"
	case bytes.Contains(data, []byte("v0.2+json")):
		return "signing_config.v0.2.json"
	}
	return "signing_config.json"
}

func (v version) moment() time.Time { return day(v.now).Add(12 * time.Hour) }

func (v version) input(t testing.TB, files map[string][]byte) trustroot.Input {
	t.Helper()
	in := trustroot.Input{Name: artifact(v.id, files[v.id]), Data: files[v.id], Now: v.moment(), Files: map[string][]byte{}}
	if v.before != "" {
		in.Before = files[v.before]
	}
	for _, id := range v.beside {
		in.Files[artifact(id, files[id])] = files[id]
	}
	if in.Data == nil || v.before != "" && in.Before == nil {
		t.Fatalf("the corpus has no %s or %s", v.id, v.before)
	}
	return in
}

func TestRealFiles(t *testing.T) {
	files := corpus(t)
	seen := map[string]bool{}
	for _, v := range versions {
		t.Run(v.id, func(t *testing.T) {
			seen[v.id] = true
			want := slices.Sorted(slices.Values(v.want))
			if got := sum(trustroot.Lint(v.input(t, files))); !slices.Equal(got, want) {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
	for id := range files {
		if !seen[id] {
			t.Errorf("the corpus has %s, which is not in the list", id)
		}
	}
}

// corrected are the versions that somebody had to put right, and the one that
// took an authority away.
var corrected = []string{"6533dfb7/tr", "6533dfb7/sc", "3d980cd1/tr", "bb447401/sc", "11ddff02/tr", "260bb561/tr", "8f89c913/tr"}

// What nobody ever had to correct has no error, and what somebody had to has one.
func TestErrorsAreMistakes(t *testing.T) {
	for _, v := range versions {
		errs := slices.ContainsFunc(v.want, func(s string) bool { return strings.HasPrefix(s, "error ") })
		if want := slices.Contains(corrected, v.id); errs != want {
			t.Errorf("%s: errors %v, want %v", v.id, errs, want)
		}
	}
}

// The file that people trust says which instance it is for: a whole file of
// another instance does not pass, and what never belonged there may leave.
func TestEnvironments(t *testing.T) {
	files := corpus(t)
	other := trustroottest.Root()
	at(other, "tlogs", 0)["baseUrl"] = "https://rekor.sigstore.dev"
	in := trustroot.Input{Name: "trusted_root.json", Data: files["36550344/tr"], Now: day("2025-05-01")}
	foreign := func(before []byte) int {
		in.Before = before
		return strings.Count(strings.Join(sum(trustroot.Lint(in)), "\n"), "error environment")
	}
	if n := foreign(trustroottest.Bytes(other)); n != 6 {
		t.Errorf("%d of staging's 6 entries are foreign to production", n)
	}
	for name, before := range map[string][]byte{"staging": files["6533dfb7/tr"], "nothing": nil, "another instance": trustroottest.Bytes(trustroottest.Root())} {
		if n := foreign(before); n != 0 {
			t.Errorf("%d of staging's entries are foreign after %s", n, name)
		}
	}
	in.Before = files["3d980cd1/tr"] // with production's authority
	if got := sum(trustroot.Lint(in)); !slices.Contains(got, "warning removed timestampAuthorities") {
		t.Errorf("what never belonged there leaves with %q", got)
	}
}

var tableRow = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `([a-z-]+)/([a-z-]+)` \\| `([0-9a-f]{8})` \\| `([0-9a-f]{8})` \\|$")

// The table of known mistakes in the docs is true: the rule breaks on the bad
// commit and not on the one that put it right.
func TestKnownMistakes(t *testing.T) {
	files := corpus(t)
	page, err := os.ReadFile("../docs/trust-material.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := tableRow.FindAllStringSubmatch(string(page), -1)
	if len(rows) < 9 {
		t.Fatalf("docs/trust-material.md has %d rows of known mistakes, want at least 9", len(rows))
	}
	told := map[string]bool{}
	for _, row := range rows {
		kind, rule, bad, fixed := trustroot.Kind(row[2]), row[3], row[4], row[5]
		suffix := map[trustroot.Kind]string{trustroot.TrustedRoot: "/tr", trustroot.SigningConfig: "/sc"}[kind]
		breaks := func(commit string) bool {
			i := slices.IndexFunc(versions, func(v version) bool { return v.id == commit+suffix })
			if i < 0 {
				t.Fatalf("the table names %s%s, which is not in the corpus", commit, suffix)
			}
			return slices.ContainsFunc(trustroot.Lint(versions[i].input(t, files)), func(f trustroot.Finding) bool { return f.Check == rule })
		}
		if !breaks(bad) {
			t.Errorf("%s: %s does not break %s/%s", row[1], bad, kind, rule)
		}
		if breaks(fixed) {
			t.Errorf("%s: %s still breaks %s/%s", row[1], fixed, kind, rule)
		}
		told[bad+suffix] = true
	}
	for _, id := range corrected {
		if !told[id] && id != "6533dfb7/tr" { // a removal, which nothing put right
			t.Errorf("docs/trust-material.md does not tell of %s", id)
		}
	}
}

// The library that Go clients read these files with agrees on what can be read.
// It does not know the first form of signing configurations, and demands a media
// type.
func TestSecondOpinion(t *testing.T) {
	for id, data := range corpus(t) {
		name := artifact(id, data)
		kind, _ := trustroot.KindOf(name)
		_, ours := trustroot.Parse(kind, data)
		var theirs error
		switch {
		case kind == trustroot.TrustedRoot:
			_, theirs = root.NewTrustedRootFromJSON(data)
		case name == "signing_config.json":
			continue
		default:
			_, theirs = root.NewSigningConfigFromJSON(data)
		}
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%s: we say %v, sigstore-go says %v", id, ours, theirs)
		}
	}
}
