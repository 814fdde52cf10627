package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// site is a published repository, the state before it, and a check of both
// that asks for everything.
type site struct {
	t          testing.TB
	repo, base *clienttest.Repo
	o          client.CheckOptions
	slept      int
}

// newSite draws three roots, targets > A > C, and an artifact in targets and in C.
func newSite(t testing.TB) *site {
	t.Helper()
	repo := clienttest.New()
	repo.MetaHashes = true
	repo.Delegate(targets, "A", false, []string{"a/*"})
	repo.Delegate("A", "C", false, []string{"a/tool"})
	repo.AddTarget(targets, "top", "of targets")
	repo.AddTarget("C", "a/tool", "of C")
	repo.Publish("A", "C", targets)
	repo.Publish(root)
	repo.Publish(root)
	s := &site{t: t, base: repo.Clone(), repo: repo}
	repo.Publish("C")
	s.o = client.CheckOptions{
		MetadataURL: s.serve(&s.repo) + "/metadata", BaseURL: s.serve(&s.base) + "/metadata",
		Root: repo.Files["metadata/2.root.json"], RootFile: "second.json",
		MetadataDir: filepath.Join(t.TempDir(), "received"), SourceDir: t.TempDir(),
		ValidDays: 10, OfflineValidDays: 20, Artifacts: []string{"top"}, AllArtifacts: true,
		Now: func() time.Time { return clienttest.Now },
	}
	s.o.TargetsURL = strings.TrimSuffix(s.o.MetadataURL, "metadata") + "targets"
	s.o.SetSleep(func(context.Context, time.Duration) error { s.slept++; return nil })
	s.writeSource()
	return s
}

func (s *site) serve(repo **clienttest.Repo) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*repo).ServeHTTP(w, r) }))
	s.t.Cleanup(server.Close)
	return server.URL
}

// writeSource makes what is published now what was to be published.
func (s *site) writeSource() {
	for _, role := range []string{root, timestamp} {
		if err := os.WriteFile(filepath.Join(s.o.SourceDir, role+".json"), s.repo.Current(role), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) check() *client.CheckReport {
	s.t.Helper()
	r, err := client.Check(s.t.Context(), s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// verdict is the result, and the checks that did not pass: "failed valid:failed update:not-judged".
func (s *site) verdict(r *client.CheckReport) string {
	s.t.Helper()
	list := []string{r.Result}
	for _, c := range r.Checks {
		if c.Result != client.ResultPassed {
			list = append(list, c.Check+":"+c.Result)
		}
		troubled := c.Result == client.ResultFailed || c.Result == client.ResultWarning
		if troubled != (len(c.Problems) > 0) || troubled == (c.Message != "") {
			s.t.Errorf("%s is %s with the message %q and %d problems", c.Check, c.Result, c.Message, len(c.Problems))
		}
		for _, p := range c.Problems {
			if p.Message == "" || p.Hint == "" || p.Cause == "" {
				s.t.Errorf("%s: incomplete problem %+v", c.Check, p)
			}
		}
	}
	if good := r.Result == client.CheckPassed; good != (r.Err() == nil) {
		s.t.Errorf("%s, and the error is %v", r.Result, r.Err())
	}
	return strings.Join(list, " ")
}

// gone takes a file off the server.
func (s *site) gone(file string) { delete(s.repo.Files, file) }

// refuse answers requests for files of that name with a status.
func refuse(status int, name string) func(http.ResponseWriter, *http.Request, string) bool {
	return func(w http.ResponseWriter, _ *http.Request, file string) bool {
		if !strings.HasSuffix(file, name) {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

// expire lets roles expire so many days after Now; the snapshot follows.
func (s *site) expire(days int, roles ...string) {
	for _, role := range roles {
		s.repo.Roles[role].Expire(clienttest.Now.Add(time.Duration(days) * day))
	}
	s.repo.Publish(roles...)
	s.writeSource()
}

var stranger = clienttest.NewKey("stranger")

// signedByStranger signs a role's present content with another key, and has
// snapshot and timestamp list that.
func (s *site) signedByStranger(role string) {
	keys := s.repo.Roles[role].Keys
	s.repo.Roles[role].Keys = []*clienttest.Key{stranger}
	s.repo.Publish(role)
	s.repo.Roles[role].Keys = keys
	s.writeSource()
}

// Each check fails alone, but for those that need what it did not find, and
// passes where it only nearly would have failed.
func TestCheck(t *testing.T) {
	const (
		pass      = "passed"
		rest      = " consistent:not-judged metadata:not-judged roles:not-judged valid:not-judged offline-valid:not-judged"
		noTargets = " roles:not-judged valid:not-judged offline-valid:not-judged update:not-judged"
	)
	for _, c := range []struct {
		name string
		hurt func(*site)
		want string
		says string // in the first problem
	}{
		{"everything is good", func(*site) {}, pass, ""},
		{"nothing is asked for", func(s *site) {
			s.o = client.CheckOptions{MetadataURL: s.o.MetadataURL, Now: s.o.Now}
		}, pass, ""},

		{"no first root to trust", func(s *site) { s.o.Root = nil; s.gone("metadata/1.root.json") },
			"failed initial-root:failed roots:not-judged" + rest + " base:not-judged update:not-judged artifacts:not-judged", "1.root.json does not exist"},
		{"the first root is the second", func(s *site) {
			s.o.Root = nil
			s.repo.Files["metadata/1.root.json"] = s.repo.Files["metadata/2.root.json"]
		}, "failed initial-root:failed roots:not-judged" + rest + " base:not-judged update:not-judged artifacts:not-judged", "is v2 and should be v1"},
		{"the first root is trusted", func(s *site) { s.o.Root = nil }, pass, ""},

		{"a root that its predecessor did not sign", func(s *site) { s.signedByStranger(root) },
			"failed roots:failed" + rest + " update:not-judged artifacts:not-judged", "root v4 from"},
		{"the same, and the one before has expired", func(s *site) { s.expire(-1, root); s.signedByStranger(root) },
			"failed roots:failed" + rest + " update:not-judged artifacts:not-judged", "root v5 from"},
		{"a root that somebody else signed too", func(s *site) {
			s.repo.Roles[root].Keys = append(s.repo.Roles[root].Keys, stranger)
			s.repo.Publish(root)
			s.writeSource()
		}, pass, ""},
		{"a gap before the newest root", func(s *site) {
			s.repo.Publish(root)
			s.repo.Publish(root)
			s.gone("metadata/4.root.json")
			s.o.SourceDir = ""
		}, "failed roots:failed", "clients stop at root v3"},
		{"a gap before the root that was given", func(s *site) {
			s.o.Root = s.repo.Files["metadata/3.root.json"]
			s.gone("metadata/2.root.json")
		}, "failed roots:failed", "ends the way from root v1"},
		{"two roots of one version", func(s *site) {
			fork := s.base.Clone()
			fork.Roles[root].Signed["version"] = int64(1)
			fork.Roles[root].Signed["x-other"] = true
			fork.Publish(root)
			s.o.Root = fork.Current(root)
		}, "failed roots:failed", "has another content than second.json"},
		{"the first root is not what was given", func(s *site) {
			fork := clienttest.New()
			fork.Roles[root].Signed["x-other"] = true
			s.o.Root = fork.Roles[root].Sign()
		}, "failed roots:failed", "1.root.json has another content"},
		{"one root, signed twice over", func(s *site) {
			again := s.base.Clone()
			again.Roles[root].Signed["version"] = int64(1)
			again.Roles[root].Keys = append(again.Roles[root].Keys, stranger)
			again.Publish(root)
			s.o.Root = again.Current(root)
		}, pass, ""},
		{"no first root beside the one that was given", func(s *site) { s.gone("metadata/1.root.json") },
			"passed roots:warning", "whoever has no root yet"},
		{"the root before the one that was given is broken", func(s *site) {
			s.o.Root = s.repo.Files["metadata/3.root.json"]
			s.repo.Files["metadata/2.root.json"] = s.repo.Files["metadata/3.root.json"]
		}, "failed roots:failed", "is v3 and should be v2"},

		{"no consistent snapshots", func(s *site) {
			s.repo.Roles[root].Signed["consistent_snapshot"] = false
			s.repo.Publish(root)
			s.writeSource()
			for name, data := range maps.Clone(s.repo.Files) {
				if _, rest, ok := strings.Cut(filepath.Base(name), "."); ok && rest != "root.json" && rest != "json" {
					plain := strings.TrimSuffix(name, filepath.Base(name)) + rest
					if version, ok := s.repo.Roles[strings.TrimSuffix(rest, ".json")]; !ok || clienttest.File(version.Name, version.Version()) == name {
						s.repo.Files[plain] = data
					}
				}
			}
		}, "failed consistent:failed", "root v4 from"},

		{"a snapshot that is gone", func(s *site) { s.gone(clienttest.File(snapshot, s.repo.Roles[snapshot].Version())) },
			"failed metadata:failed" + noTargets + " artifacts:not-judged", "snapshot.json does not exist"},
		{"a targets file that was changed", func(s *site) {
			file := clienttest.File(targets, s.repo.Roles[targets].Version())
			s.repo.Files[file] = bytes.Replace(s.repo.Files[file], []byte(`"length": 10`), []byte(`"length": 11`), 1)
		}, "failed metadata:failed roles:not-judged valid:not-judged offline-valid:not-judged artifacts:not-judged", "targets from"}, // who has the base has it
		{"a timestamp by another key", func(s *site) {
			s.repo.Roles[timestamp].Keys = []*clienttest.Key{stranger}
			s.repo.Publish(timestamp)
			s.writeSource()
		}, "failed metadata:failed" + noTargets + " artifacts:not-judged", "has 0 of the 1 signatures"},
		{"a timestamp with a field that nobody knows", func(s *site) {
			s.repo.Roles[timestamp].Signed["x-new"] = int64(1)
			s.repo.Publish(timestamp)
			s.writeSource()
		}, pass, ""},

		{"a delegated role by another key", func(s *site) { s.signedByStranger("A"); s.o.AllArtifacts = false },
			"failed roles:failed valid:not-judged offline-valid:not-judged", "A v2 from"},
		{"a role two below targets by another key", func(s *site) { s.signedByStranger("C"); s.o.AllArtifacts = false },
			"failed roles:failed valid:not-judged offline-valid:not-judged", "C v3 from"},
		{"a role two below targets that is gone", func(s *site) { s.gone("metadata/2.C.json"); s.o.AllArtifacts = false },
			"failed roles:failed valid:not-judged offline-valid:not-judged", "2.C.json does not exist"},
		{"a role that the snapshot forgot", func(s *site) {
			delete(s.repo.Roles[snapshot].Signed["meta"].(metadata.Object), "C.json")
			s.repo.Publish(snapshot, timestamp)
			s.writeSource()
			s.o.AllArtifacts, s.o.BaseURL = false, ""
		}, "failed roles:failed valid:not-judged offline-valid:not-judged", "does not list C, to which A delegates"},
		{"a role good for one delegator and not for the other", func(s *site) {
			s.repo.Delegate(targets, "B", false, []string{"b"})
			s.repo.Delegate("B", "C", false, []string{"b"}, stranger)
			s.repo.Roles["C"].Keys = s.base.Roles["C"].Keys
			s.repo.Publish("B", targets)
			s.writeSource()
		}, "failed roles:failed valid:not-judged offline-valid:not-judged", "that B v1 asks for"},
		{"a role good for both", func(s *site) {
			s.repo.Delegate(targets, "B", false, []string{"b"})
			s.repo.Delegate("B", "C", false, []string{"b"}, stranger)
			s.repo.Publish("B", "C", targets)
			s.writeSource()
		}, pass, ""},
		{"roles that delegate to each other", func(s *site) {
			s.repo.Delegate("C", "A", false, []string{"*"})
			s.repo.Delegate("C", targets, false, []string{"*"})
			s.repo.Publish("C")
			s.writeSource()
		}, pass, ""},
		{"hash bins", func(s *site) { s.bins(); s.repo.Publish(targets); s.writeSource() }, pass, ""},
		{"a hash bin by another key", func(s *site) {
			s.bins()
			s.repo.Roles["bin-2"].Keys = []*clienttest.Key{stranger}
			s.repo.Publish("bin-2", targets)
			s.writeSource()
		}, "failed roles:failed valid:not-judged offline-valid:not-judged", "bin-2 v2 from"},
		{"a role with a reserved name", func(s *site) {
			s.repo.Delegate("C", "snapshot", false, []string{"*"})
			s.repo.Publish("C")
			s.writeSource()
		}, "failed roles:failed valid:not-judged offline-valid:not-judged", "reserved name snapshot"},

		{"a timestamp that expires on that very second", func(s *site) { s.expire(10, timestamp) },
			"failed valid:failed", "timestamp v4 from"},
		{"a timestamp that expires a day later", func(s *site) { s.expire(11, timestamp) }, pass, ""},
		{"a role two below targets that has expired", func(s *site) { s.expire(-1, "C"); s.o.OfflineValidDays = 0 },
			"failed valid:failed", "C v3 from"},
		{"a timestamp that has expired", func(s *site) { s.expire(-1, timestamp) },
			"failed valid:failed update:not-judged", "expired at 2025-12-31T00:00:00Z, and it is 2026-01-01T00:00:00Z"},
		{"a root that has expired", func(s *site) { s.expire(0, root); s.o.OfflineValidDays = 0 },
			"failed valid:failed update:not-judged", "root v4 from"},
		{"an older root that has expired", func(s *site) {
			s.expire(0, root)
			s.expire(30, root)
		}, pass, ""},
		{"a role two below targets that people must sign soon", func(s *site) { s.expire(20, "C") },
			"failed offline-valid:failed", "C v3 from"},
		{"a root that people must sign soon", func(s *site) { s.expire(20, root) },
			"failed offline-valid:failed", "root v4 from"},
		{"a snapshot that people need not sign", func(s *site) { s.expire(20, snapshot, timestamp) }, pass, ""},

		{"a base that is newer", func(s *site) {
			s.base = s.repo.Clone()
			s.base.Publish("C")
		}, "failed update:failed", "goes back from v4 to v3"},
		{"a base that is newer, and no directory", func(s *site) {
			s.base = s.repo.Clone()
			s.base.Publish("C")
			s.o.MetadataDir = ""
		}, "failed update:failed", "goes back from v4 to v3"},
		{"a base that has expired", func(s *site) {
			s.base.Roles[timestamp].Expire(clienttest.Now)
			s.base.Publish(timestamp, root)
			delete(s.base.Files, "metadata/4.root.json")
			s.repo.Publish(timestamp)
			s.writeSource()
		}, "passed base:warning", "timestamp v3 from"},
		{"a base that is another repository", func(s *site) {
			s.base = clienttest.New()
			s.base.SetKeys(timestamp, 1, stranger)
			s.base.Publish(timestamp)
		}, "failed base:failed", "timestamp v2 from"},
		{"a base that is not there", func(s *site) { s.base.Hook = refuse(403, "") },
			"unreachable base:failed", "HTTP status 403"},
		{"a directory that has seen a newer state", func(s *site) {
			s.o.BaseURL = ""
			old := s.repo
			s.repo = old.Clone()
			s.repo.Publish("A")
			source := s.o.SourceDir
			s.o.SourceDir = ""
			s.check()
			s.repo, s.o.SourceDir = old, source
		}, "failed update:failed", "goes back from v4 to v3"},
		{"a directory that has seen an older state", func(s *site) {
			s.o.BaseURL = ""
			s.check()
			s.repo.Publish("A", root)
			s.writeSource()
		}, pass, ""},

		{"another root was to be published", func(s *site) {
			old := s.repo.Clone()
			s.repo.Publish(root)
			s.writeSource()
			s.repo = old
		}, "failed source:failed", "root.json is v4"},
		{"another timestamp was to be published", func(s *site) {
			old := s.repo.Clone()
			s.repo.Publish(timestamp)
			s.writeSource()
			s.repo = old
		}, "failed source:failed", "timestamp.json is v4"},
		{"the source has other bytes that mean the same", func(s *site) {
			file := filepath.Join(s.o.SourceDir, "timestamp.json")
			if err := os.WriteFile(file, append(s.repo.Current(timestamp), '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "failed source:failed", "as well with other bytes"},

		{"an artifact that is gone", func(s *site) { s.goneArtifact("tool") }, "failed artifacts:failed", "tool does not exist"},
		{"another artifact is gone", func(s *site) { s.goneArtifact("tool"); s.o.AllArtifacts = false }, pass, ""},
		{"an artifact with one byte changed", func(s *site) {
			s.eachArtifact("top", func(name string) { s.repo.Files[name] = []byte("of Targets") })
			s.o.AllArtifacts = false
		}, "failed artifacts:failed", "has sha256"},
		{"an artifact that nobody lists", func(s *site) { s.o.Artifacts = []string{"top", "nothing"} },
			"failed artifacts:failed", `no artifact "nothing"`},
		{"an artifact that its role may not vouch for", func(s *site) {
			s.repo.AddTarget("C", "elsewhere", "x")
			s.repo.Publish("C")
			s.writeSource()
		}, "failed artifacts:failed", `no artifact "elsewhere"`},

		{"403 for what is not there", func(s *site) {
			s.repo.Hook = func(w http.ResponseWriter, _ *http.Request, file string) bool {
				_, there := s.repo.Files[file]
				if !there {
					w.WriteHeader(403)
				}
				return !there
			}
		}, "failed roots:failed", "clients that are built with go-tuf fail here"},
		{"403 for the newest root", func(s *site) { s.repo.Hook = refuse(403, "3.root.json"); s.o.SourceDir = "" },
			"failed roots:failed", "if it does no client sees it"},
		{"a timestamp that is refused", func(s *site) { s.repo.Hook = refuse(403, "timestamp.json"); s.o.SourceDir = "" },
			"unreachable metadata:failed" + noTargets + " artifacts:not-judged", "HTTP status 403"},
		{"a timestamp that is not there", func(s *site) { s.gone("metadata/timestamp.json"); s.o.SourceDir = "" },
			"failed metadata:failed" + noTargets + " artifacts:not-judged", "timestamp.json does not exist"},
		{"a timestamp that is there half", func(s *site) {
			s.repo.Files["metadata/timestamp.json"] = s.repo.Files["metadata/timestamp.json"][:99]
			s.o.SourceDir = ""
		}, "failed metadata:failed" + noTargets + " artifacts:not-judged", "truncated?"},
		{"an artifact that is refused, and one that is wrong", func(s *site) {
			s.repo.Hook = refuse(500, ".tool")
			s.eachArtifact("top", func(name string) { s.repo.Files[name] = nil })
		}, "failed artifacts:failed", "HTTP status 500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c.hurt(s)
			r := s.check()
			if got := s.verdict(r); got != c.want {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, r.Text())
			}
			first := ""
			for _, check := range r.Checks {
				if first == "" && len(check.Problems) > 0 {
					first = check.Problems[0].Message
				}
			}
			if !strings.Contains(first, c.says) || (c.says == "") != (first == "") {
				t.Errorf("the first problem is %q, want %q", first, c.says)
			}
		})
	}
}

// bins has C delegate to four hash bins, all by one key.
func (s *site) bins() {
	c := s.repo.Roles["C"]
	s.repo.Delegate("C", "bin-0", false, nil)
	key := s.repo.Roles["bin-0"].Keys[0]
	for i := 1; i < 4; i++ {
		s.repo.Delegate("C", fmt.Sprintf("bin-%d", i), false, nil, key)
	}
	all := c.Signed["delegations"].(metadata.Object)
	delete(all, "roles")
	all["succinct_roles"] = metadata.Object{"keyids": []any{key.ID}, "threshold": int64(1), "bit_length": int64(2), "name_prefix": "bin"}
	s.repo.Publish("C", "bin-0", "bin-1", "bin-2", "bin-3")
}

func (s *site) eachArtifact(name string, do func(file string)) {
	n := 0
	for file := range maps.Clone(s.repo.Files) {
		if strings.HasPrefix(file, "targets/") && strings.HasSuffix(file, "."+name) {
			do(file)
			n++
		}
	}
	if n == 0 {
		s.t.Fatalf("no artifact %s", name)
	}
}

func (s *site) goneArtifact(name string) { s.eachArtifact(name, s.gone) }

// All roles are in the report, with what they say of themselves, and in the
// directory, byte for byte.
// TestCheckMirrors: each mirror is held against what is checked. One that is
// behind is told of and is no fault; one that clients cannot use is.
func TestCheckMirrors(t *testing.T) {
	for name, c := range map[string]struct {
		mirrors []func(s *site) *clienttest.Repo
		want    string
		says    []string
	}{
		"the same":                 {[]func(*site) *clienttest.Repo{mirrorSame, mirrorSame}, "passed", []string{"all 2 serve the same"}},
		"one behind":               {[]func(*site) *clienttest.Repo{mirrorSame, mirrorLate}, "passed mirrors:warning", []string{"serves timestamp v3, and"}},
		"one ahead in root":        {[]func(*site) *clienttest.Repo{mirrorAhead}, "passed mirrors:warning", []string{"serves root v4, and"}},
		"one empty":                {[]func(*site) *clienttest.Repo{mirrorSame, mirrorEmpty}, "failed mirrors:failed", []string{"timestamp.json does not exist"}},
		"one torn, and one behind": {[]func(*site) *clienttest.Repo{mirrorTorn, mirrorLate}, "failed mirrors:failed", []string{"snapshot", "serves timestamp v3"}},
		"of somebody else":         {[]func(*site) *clienttest.Repo{mirrorEvil}, "failed mirrors:failed", []string{"signatures that root v3 asks for"}},

		// Beyond the newest top-level metadata.
		"without the newest root":         {[]func(*site) *clienttest.Repo{mirrorWithout("metadata/3.root.json")}, "passed mirrors:warning", []string{"serves root v2, and"}},
		"without a root on the way":       {[]func(*site) *clienttest.Repo{mirrorWithout("metadata/2.root.json")}, "failed mirrors:failed", []string{"2.root.json does not exist, and http"}},
		"a root on the way cut off":       {[]func(*site) *clienttest.Repo{mirrorCut("metadata/2.root.json")}, "failed mirrors:failed", []string{"2.root.json"}},
		"without a delegated role":        {[]func(*site) *clienttest.Repo{mirrorWithout("metadata/2.C.json")}, "failed mirrors:failed", []string{"2.C.json does not exist"}},
		"a delegated role cut off":        {[]func(*site) *clienttest.Repo{mirrorCut("metadata/1.A.json")}, "failed mirrors:failed", []string{"1.A.json"}},
		"a delegated role of that number": {[]func(*site) *clienttest.Repo{mirrorOther}, "failed mirrors:failed", []string{"2.C.json has another content than http"}},
		"behind, and a role has expired":  {[]func(*site) *clienttest.Repo{mirrorExpired}, "failed mirrors:failed", []string{"C v2 from http", "expired at 2025-12-31", "serves timestamp v4, and"}},
		"expired here and there":          {[]func(*site) *clienttest.Repo{func(s *site) *clienttest.Repo { s.expire(-1, "C"); return s.repo.Clone() }}, "failed valid:failed offline-valid:failed", nil},
		"without an artifact":             {[]func(*site) *clienttest.Repo{mirrorArtifact("top", func(string) []byte { return nil })}, "failed mirrors:failed", []string{".top does not exist"}},
		"without one of a delegated role": {[]func(*site) *clienttest.Repo{mirrorArtifact("tool", func(string) []byte { return nil })}, "failed mirrors:failed", []string{".tool does not exist"}},
		"an artifact that is another":     {[]func(*site) *clienttest.Repo{mirrorArtifact("top", func(is string) []byte { return []byte(strings.ToUpper(is)) })}, "failed mirrors:failed", []string{"has sha256"}},
		"a short artifact":                {[]func(*site) *clienttest.Repo{mirrorArtifact("top", func(string) []byte { return []byte("x") })}, "failed mirrors:failed", []string{"ends after 1 of"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.o.AllArtifacts = false
			for _, m := range c.mirrors {
				repo := m(s)
				s.o.Mirrors = append(s.o.Mirrors, s.mirror(repo))
			}
			r := s.check()
			if got := s.verdict(r); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			for _, text := range c.says {
				if !strings.Contains(r.Text(), text) {
					t.Errorf("%s\ndoes not say %q", r.Text(), text)
				}
			}
			if len(r.Mirrors) != len(c.mirrors) {
				t.Errorf("%d mirrors in the report", len(r.Mirrors))
			}
		})
	}
	s := newSite(t)
	for _, m := range []client.Mirror{{MetadataURL: "x"}, {MetadataURL: s.o.MetadataURL, TargetsURL: "x"}} {
		s.o.Mirrors = []client.Mirror{m}
		if _, err := client.Check(t.Context(), s.o); !errors.As(err, new(*client.URLError)) {
			t.Errorf("a mirror that is no URL: %v", err)
		}
	}
	s = newSite(t)
	s.o.Mirrors = []client.Mirror{{MetadataURL: s.o.MetadataURL}}
	s.gone("metadata/timestamp.json")
	if got := s.verdict(s.check()); !strings.Contains(got, "mirrors:not-judged") {
		t.Errorf("nothing to compare with: %s", got)
	}
}

// TestCheckMirrorReport: what a mirror serves is in the report of every form, each
// mirror for itself.
func TestCheckMirrorReport(t *testing.T) {
	s := newSite(t)
	bad := mirrorWithout("metadata/2.C.json")(s)
	s.o.Mirrors = []client.Mirror{s.mirror(s.repo.Clone()), s.mirror(bad)}
	s.o.Mirrors[1].TargetsURL = ""
	good, poor := s.o.Mirrors[0].MetadataURL, s.o.Mirrors[1].MetadataURL
	r := s.check()
	var got []string
	for _, m := range r.Mirrors {
		got = append(got, fmt.Sprintf("%s %s %d of %d", m.MetadataURL, m.Result, m.Looked, m.Artifacts))
		for _, role := range m.Roles {
			got = append(got, fmt.Sprintf("%s %d %d %v", role.Role, role.Version, int(role.Expires.Sub(clienttest.Now)/day), role.Expired))
		}
	}
	want := []string{good + " passed 2 of 2", "root 3 30 false", "timestamp 3 30 false", "snapshot 3 30 false", "targets 2 30 false", "A 1 30 false", "C 2 30 false",
		poor + " failed 0 of 1", "root 3 30 false", "timestamp 3 30 false", "snapshot 3 30 false", "targets 2 30 false", "A 1 30 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, line := range []string{
		"passed      v3             6  all 2          " + good,
		"FAILED      v3             5  0 of 1         " + poor,
	} {
		if !strings.Contains(r.Text(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, r.Text())
		}
	}
	if line := "| failed | v3 | 5 | 0 of 1 |\n"; !strings.Contains(r.Markdown(), line) {
		t.Errorf("%q is not in\n%s", line, r.Markdown())
	}
	for _, line := range []string{
		`tufops_check_mirror_problems{repository="` + s.o.MetadataURL + `",mirror="` + good + `"} 0`,
		`tufops_check_mirror_problems{repository="` + s.o.MetadataURL + `",mirror="` + poor + `"} 1`,
		`tufops_check_mirror_role_version{repository="` + s.o.MetadataURL + `",mirror="` + good + `",role="C"} 2`,
		`tufops_check_mirror_role_expires_seconds{repository="` + s.o.MetadataURL + `",mirror="` + poor + `",role="timestamp"} 1769817600`,
	} {
		if !strings.Contains(r.Prometheus(), line+"\n") {
			t.Errorf("%s is not in\n%s", line, r.Prometheus())
		}
	}
}

// TestCheckMirrorReads: of a long artifact a mirror's word for its length is enough
// unless it was asked for, and beyond a number of artifacts none is asked for.
func TestCheckMirrorReads(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	s := newSite(t)
	s.repo.AddTarget(targets, "long", long)
	s.repo.Publish(targets)
	s.writeSource()
	s.o.AllArtifacts, s.o.BaseURL = false, ""
	for _, c := range []struct {
		is   string
		ask  func(o *client.CheckOptions)
		want string
	}{
		{long[1:] + "y", func(*client.CheckOptions) {}, "passed"},
		{long[1:], func(*client.CheckOptions) {}, "failed mirrors:failed"},
		{long + "x", func(*client.CheckOptions) {}, "failed mirrors:failed"},
		{long[1:] + "y", func(o *client.CheckOptions) { o.Artifacts = []string{"long"} }, "failed mirrors:failed"},
		{long[1:] + "y", func(o *client.CheckOptions) { o.AllArtifacts = true }, "failed mirrors:failed"},
	} {
		asked := *s
		c.ask(&asked.o)
		asked.o.Mirrors = []client.Mirror{s.mirror(mirrorArtifact("long", func(string) []byte { return []byte(c.is) })(s))}
		if r := asked.check(); s.verdict(r) != c.want || r.Mirrors[0].Looked != 3 {
			t.Errorf("%s, and %d artifacts looked at; want %s", s.verdict(r), r.Mirrors[0].Looked, c.want)
		}
	}

	for i := range client.MaxMirrorArtifacts {
		s.repo.AddTarget(targets, fmt.Sprintf("many/%04d", i), "x")
	}
	s.repo.Publish(targets)
	s.writeSource()
	s.o.Fetcher = fetchFunc(func(_ context.Context, from string, _ int64) (io.ReadCloser, error) {
		u, err := url.Parse(from)
		if err != nil {
			return nil, err
		}
		data, ok := s.repo.Files[strings.TrimPrefix(u.Path, "/")]
		if !ok {
			return nil, &client.NotFoundError{URL: from}
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	})
	s.o.Artifacts = []string{"top"} // which is the last by name
	s.o.Mirrors = []client.Mirror{{MetadataURL: "https://mirror.test/metadata", TargetsURL: "https://mirror.test/targets"}}
	for _, c := range []struct {
		all    bool
		looked int
	}{{false, client.MaxMirrorArtifacts}, {true, client.MaxMirrorArtifacts + 3}} {
		s.o.AllArtifacts = c.all
		r := s.check()
		if m := r.Mirrors[0]; s.verdict(r) != "passed" || m.Looked != c.looked || m.Artifacts != client.MaxMirrorArtifacts+3 {
			t.Errorf("%s, looked at %d of %d", s.verdict(r), m.Looked, m.Artifacts)
		}
	}
	s.o.AllArtifacts = false
	s.goneArtifact("top")
	if r := s.check(); !strings.Contains(s.verdict(r), "mirrors:failed") {
		t.Errorf("%s: what was asked for comes first", s.verdict(r))
	}
}

func (s *site) mirror(repo *clienttest.Repo) client.Mirror {
	at := s.serve(&repo)
	return client.Mirror{MetadataURL: at + "/metadata", TargetsURL: at + "/targets"}
}

func mirrorSame(s *site) *clienttest.Repo { return s.repo.Clone() }

func mirrorWithout(file string) func(s *site) *clienttest.Repo {
	return func(s *site) *clienttest.Repo {
		m := s.repo.Clone()
		if m.Files[file] == nil {
			s.t.Fatalf("no file %s", file)
		}
		delete(m.Files, file)
		return m
	}
}

func mirrorCut(file string) func(s *site) *clienttest.Repo {
	return func(s *site) *clienttest.Repo {
		m := mirrorWithout(file)(s)
		m.Files[file] = s.repo.Files[file][:100]
		return m
	}
}

// mirrorArtifact serves something else for an artifact; nil: nothing.
func mirrorArtifact(name string, instead func(is string) []byte) func(s *site) *clienttest.Repo {
	return func(s *site) *clienttest.Repo {
		m := s.repo.Clone()
		s.eachArtifact(name, func(file string) {
			if m.Files[file] = instead(string(m.Files[file])); m.Files[file] == nil {
				delete(m.Files, file)
			}
		})
		return m
	}
}

// mirrorOther has another C of the same version, well signed.
func mirrorOther(s *site) *clienttest.Repo {
	m := s.repo.Clone()
	m.Roles["C"].Signed["x"] = "y"
	m.Put("C", m.Roles["C"].Sign())
	m.Publish(snapshot, timestamp)
	return m
}

// mirrorExpired is behind, and what it has of C is no longer good.
func mirrorExpired(s *site) *clienttest.Repo {
	m := s.base.Clone()
	m.Roles["C"].Expire(clienttest.Now.Add(-day))
	m.Publish("C")
	m.Publish(timestamp)
	for range 2 {
		s.repo.Publish("C")
	}
	s.writeSource()
	return m
}
func mirrorLate(s *site) *clienttest.Repo {
	late := s.base.Clone()
	late.Publish(timestamp)
	s.repo.Publish(timestamp)
	s.repo.Publish(timestamp)
	s.writeSource()
	return late
}
func mirrorEmpty(*site) *clienttest.Repo { return &clienttest.Repo{} }
func mirrorAhead(s *site) *clienttest.Repo {
	ahead := s.repo.Clone()
	ahead.Publish(root)
	return ahead
}
func mirrorTorn(s *site) *clienttest.Repo {
	torn := s.repo.Clone()
	name := clienttest.File(snapshot, torn.Roles[snapshot].Version())
	torn.Files[name] = torn.Files[name][:100]
	return torn
}
func mirrorEvil(s *site) *clienttest.Repo {
	evil := s.repo.Clone()
	for _, role := range evil.Roles {
		role.Keys = []*clienttest.Key{clienttest.NewKey("mallory")}
	}
	evil.Publish(targets)
	return evil
}

func TestCheckReports(t *testing.T) {
	s := newSite(t)
	s.expire(25, "C")
	r := s.check()
	var got []string
	for _, role := range r.Roles {
		got = append(got, fmt.Sprintf("%s %d %d %v", role.Role, role.Version, int(role.Expires.Sub(clienttest.Now)/day), role.Expired))
	}
	if want := "root 3 30 false, timestamp 4 30 false, snapshot 4 30 false, targets 2 30 false, A 1 30 false, C 3 25 false"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	for name, role := range map[string]string{"root.json": root, "timestamp.json": timestamp, "snapshot.json": snapshot,
		"targets.json": targets, "A.json": "A", "C.json": "C"} {
		if data, err := os.ReadFile(filepath.Join(s.o.MetadataDir, name)); err != nil || !bytes.Equal(data, s.repo.Current(role)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.Schema != 1 || !r.Time.Equal(clienttest.Now) {
		t.Errorf("schema %d, time %s", r.Schema, r.Time)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// Artifacts are fetched only if somebody asks for them.
func TestCheckFetchesNoArtifactUnasked(t *testing.T) {
	s := newSite(t)
	s.o.AllArtifacts, s.o.Artifacts = false, nil
	if got := s.verdict(s.check()); got != "passed" {
		t.Error(got)
	}
	if got := s.repo.Requests(); strings.Contains(got, "top") || strings.Contains(got, "tool") {
		t.Errorf("asked for %s", got)
	}
	s.o.Artifacts = []string{"a/tool"}
	s.check()
	if got := s.repo.Requests(); strings.Contains(got, "top") || strings.Count(got, ".tool") != 1 {
		t.Errorf("asked for %s", got)
	}
}

// The report says how much was fetched.
func TestCheckCountsArtifacts(t *testing.T) {
	message := func(o client.CheckOptions) string {
		t.Helper()
		report, err := client.Check(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(report.Checks, func(c client.CheckResult) bool { return c.Check == client.CheckArtifacts })
		if i < 0 {
			return ""
		}
		return report.Checks[i].Message
	}
	s := newSite(t)
	s.o.Artifacts = nil
	if got, want := message(s.o), "all 2, 14 bytes"; got != want {
		t.Errorf("all: %q, want %q", got, want)
	}
	s.o.AllArtifacts, s.o.Artifacts = false, []string{"a/tool"}
	if got, want := message(s.o), "a/tool, 4 bytes"; got != want {
		t.Errorf("one: %q, want %q", got, want)
	}
	s.o.Artifacts = nil
	if got := message(s.o); got != "" {
		t.Errorf("none: %q", got)
	}
	empty := clienttest.New()
	server := httptest.NewServer(empty)
	defer server.Close()
	o := client.CheckOptions{MetadataURL: server.URL + "/metadata", TargetsURL: server.URL + "/targets", AllArtifacts: true, Now: s.o.Now}
	if got, want := message(o), "no role lists any"; got != want {
		t.Errorf("all of none: %q, want %q", got, want)
	}
}

// A server that answers nothing is not a repository that is bad, and is not
// asked for each of a thousand artifacts.
func TestCheckUnreachable(t *testing.T) {
	s := newSite(t)
	for i := range 1000 {
		s.repo.AddTarget(targets, fmt.Sprintf("n%03d", i), "x")
	}
	s.repo.Publish(targets)
	s.writeSource()
	asked := 0
	s.repo.Hook = func(w http.ResponseWriter, _ *http.Request, file string) bool {
		if !strings.HasPrefix(file, "targets/") {
			return false
		}
		asked++
		w.WriteHeader(503)
		return true
	}
	r := s.check()
	if got := s.verdict(r); got != "unreachable artifacts:failed" || asked > 20 {
		t.Errorf("%s after %d requests", got, asked)
	}
	if want := fmt.Sprintf("%d more were not tried", 1002-3); !strings.Contains(r.Text(), want) {
		t.Errorf("it does not say %q:\n%s", want, r.Text())
	}
	if !strings.Contains(r.Summary(), "could not be reached") || s.slept == 0 {
		t.Errorf("%s; it waited %d times", r.Summary(), s.slept)
	}

	s = newSite(t)
	s.o.SourceDir = ""
	s.repo.Hook = func(http.ResponseWriter, *http.Request, string) bool { panic(http.ErrAbortHandler) } // hangs up
	if r = s.check(); r.Result != client.CheckUnreachable {
		t.Errorf("%s:\n%s", r.Result, r.Text())
	}
	s.o.Root = nil
	if r = s.check(); r.Result != client.CheckUnreachable {
		t.Errorf("%s:\n%s", r.Result, r.Text())
	}
}

// A base that is bad says nothing against the repository.
func TestCheckTellsTheBaseApart(t *testing.T) {
	s := newSite(t)
	s.base.Files["metadata/timestamp.json"] = nil
	if got := s.check().Summary(); !strings.Contains(got, "could not be checked from its previous state") {
		t.Error(got)
	}
	s.repo.Files["metadata/timestamp.json"] = nil
	if got := s.check().Summary(); !strings.Contains(got, s.o.MetadataURL+" is bad: timestamp from "+s.o.MetadataURL) {
		t.Error(got)
	}
}

// What this machine lacks is an error and no verdict.
func TestCheckNeedsThisMachine(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*site) error
		want  any
	}{
		"a root that is none":          {func(s *site) error { s.o.Root = []byte("{}"); return nil }, new(*client.AnchorError)},
		"no URL":                       {func(s *site) error { s.o.MetadataURL = ""; return nil }, new(*client.URLError)},
		"a base that is no URL":        {func(s *site) error { s.o.BaseURL = "x"; return nil }, new(*client.URLError)},
		"no URL of artifacts":          {func(s *site) error { s.o.TargetsURL = ""; return nil }, new(*client.URLError)},
		"no source":                    {func(s *site) error { return os.Remove(filepath.Join(s.o.SourceDir, "timestamp.json")) }, new(*client.SourceError)},
		"a file instead of a folder":   {func(s *site) error { return os.WriteFile(s.o.MetadataDir, nil, 0o600) }, new(*client.CacheError)},
		"a source of another kind":     {func(s *site) error { return s.swapSource() }, new(*client.SourceError)},
		"no directory for a delegated": {func(s *site) error { return os.MkdirAll(filepath.Join(s.o.MetadataDir, "C.json", "x"), 0o700) }, new(*client.CacheError)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if err := c.spoil(s); err != nil {
				t.Fatal(err)
			}
			r, err := client.Check(t.Context(), s.o)
			if r != nil || !errors.As(err, c.want) {
				t.Errorf("got %v, %T %v", r, err, err)
			}
		})
	}
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := client.Check(ctx, s.o); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", r, err)
	}
}

func (s *site) swapSource() error {
	return os.WriteFile(filepath.Join(s.o.SourceDir, "root.json"), s.repo.Current(timestamp), 0o600)
}

// Whoever serves a repository chooses names. None of them reaches a terminal
// or a page as it is, and the tables stay tables.
func TestCheckEscapes(t *testing.T) {
	const evil = "x\x1b[31m\u202e|`<b>@everyone\n| a | b |"
	s := newSite(t)
	long := strings.Repeat("long", 1000)
	for _, role := range []string{evil, long} {
		s.repo.Delegate(targets, role, false, []string{"*"})
		s.repo.Publish(role)
	}
	s.repo.Publish(targets)
	for _, path := range []string{evil, long} {
		s.repo.AddTarget(evil, path, "x")
		s.eachArtifact(filepath.Base(path), s.gone)
	}
	s.repo.Publish(evil)
	for _, role := range []string{evil, long} { // which no URL spells as it is
		version := s.repo.Roles[role].Version()
		s.repo.Files["metadata/"+fmt.Sprint(version)+"."+role+".json"] = s.repo.Current(role)
	}
	s.writeSource()
	r := s.check()
	if got := s.verdict(r); got != "failed artifacts:failed" {
		t.Fatalf("%s\n%s", got, r.Text())
	}
	text := r.Text()
	for _, bad := range []string{"\x1b", "\u202e"} {
		if strings.Contains(text, bad) || strings.Contains(r.Markdown(), bad) {
			t.Errorf("%q is shown as it is", bad)
		}
	}
	for _, bad := range []string{"<b>", "@everyone", "| a |"} {
		if strings.Contains(r.Markdown(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	_, table, _ := strings.Cut(text, "\n version")
	rows := 0
	for line := range strings.Lines(table) {
		if line == "\n" {
			break
		}
		if rows++; utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("wider than 80: %q", line)
		}
	}
	if rows != 9 { // the rest of its head, and eight roles
		t.Errorf("%d rows:\n%s", rows, text)
	}
	if len(text) > 6000 {
		t.Errorf("%d bytes of text", len(text))
	}
}
