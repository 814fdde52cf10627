package client_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// Delegations are drawn as "targets>A A>B! targets>C:*.txt": A > B with an
// exclamation mark is terminating, patterns stand after a colon and are * if
// there are none.
func drawn(t testing.TB, graph string) *clienttest.Repo {
	t.Helper()
	repo := clienttest.New()
	var roles []string
	for _, edge := range strings.Fields(graph) {
		from, to, _ := strings.Cut(edge, ">")
		to, patterns, _ := strings.Cut(to, ":")
		to, terminating := strings.CutSuffix(to, "!")
		paths := []string{"*"}
		if patterns != "" {
			paths = strings.Split(patterns, ",")
		}
		repo.Delegate(from, to, terminating, paths)
		roles = append(roles, to)
	}
	seen := map[string]bool{}
	for _, r := range roles {
		if !seen[r] && r != targets {
			repo.Publish(r)
		}
		seen[r] = true
	}
	repo.Publish(targets)
	return repo
}

func TestDelegationOrder(t *testing.T) {
	for name, c := range map[string]struct{ graph, path, asked string }{
		"one":                             {"targets>A", "x", "A"},
		"two":                             {"targets>A targets>B", "x", "A B"},
		"two levels":                      {"targets>A targets>B B>C", "x", "A B C"},
		"depth first":                     {"targets>A targets>B A>C A>D", "x", "A C D B"},
		"depth first, three levels":       {"targets>A targets>B A>C C>D", "x", "A C D B"},
		"terminating":                     {"targets>A targets>B A>C! A>D", "x", "A C"},
		"terminating, its own go on":      {"targets>A targets>B A>C! C>D", "x", "A C D"},
		"terminating, another path":       {"targets>A!:*.txt targets>B", "x", "B"},
		"terminating at the top":          {"targets>A! targets>B", "x", "A"},
		"terminating that was asked":      {"targets>A targets>B A>C B>C! B>D targets>E", "x", "A C B"},
		"other paths":                     {"targets>A:*.py targets>B A>C", "x", "B"},
		"other paths below":               {"targets>A targets>B A>C:*.py C>D", "x", "A B"},
		"cycle":                           {"targets>A targets>B B>C C>D D>B", "x", "A B C D"},
		"back to targets":                 {"targets>A A>targets targets>B", "x", "A B"},
		"to itself":                       {"targets>A A>A A>B", "x", "A B"},
		"two delegate to one":             {"targets>A targets>B B>C A>C", "x", "A C B"},
		"two delegate to one, other path": {"targets>A targets>B B>C A>C:*.py", "x", "A B C"},
		"a star does not cross a slash":   {"targets>A:* targets>B:*/*", "x/y", "B"},
		"question mark":                   {"targets>A:foo-?.tgz", "foo-1.tgz", "A"},
		"question mark is one":            {"targets>A:foo-?.tgz", "foo-12.tgz", ""},
		"case counts":                     {"targets>A:*.md", "README.MD", ""},
		"set":                             {"targets>A:[ab]* targets>B:[!ab]*", "bx", "A"},
		"negated set":                     {"targets>A:[ab]* targets>B:[!ab]*", "cx", "B"},
		"no pattern at all":               {"targets>A:nothing", "x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t, drawn(t, c.graph))
			cl := u.client()
			if _, err := cl.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			u.repo.Requests()
			_, err := cl.Target(t.Context(), c.path)
			e := refused[*client.TargetNotFoundError](t, "target", err)
			var want []string
			for _, role := range strings.Fields(c.asked) {
				want = append(want, fmt.Sprintf("%d.%s.json", u.repo.Roles[role].Version(), role))
			}
			u.wantRequests(strings.Join(want, " "))
			if got := strings.Join(e.Visited[1:], " "); got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			// Nothing is asked for twice, by this client or by the next one.
			_, _ = cl.Target(t.Context(), c.path)
			u.wantRequests("")
			_, _ = u.client().Target(t.Context(), c.path)
			u.wantRequests("2.root.json timestamp.json")
		})
	}
}

func TestFirstRoleWins(t *testing.T) {
	repo := clienttest.New()
	for _, role := range []string{"A", "B"} {
		repo.Delegate(targets, role, false, []string{"*"})
		repo.AddTarget(role, "tool", "by "+role)
	}
	repo.Delegate("A", "C", false, []string{"*"})
	repo.AddTarget("C", "tool2", "by C")
	repo.AddTarget("B", "tool2", "by B")
	repo.Roles["C"].Signed["targets"].(metadata.Object)["tool2"].(metadata.Object)["custom"] = metadata.Object{"a": "b"}
	repo.Publish("A", "B", "C", targets)
	c := newUser(t, repo).client()
	info, data, err := c.Read(t.Context(), "tool")
	if err != nil || string(data) != "by A" || info.Role() != "A" || len(info.Roles) != 2 {
		t.Errorf("tool: %q %+v, %v", data, info, err)
	}
	info, data, err = c.Read(t.Context(), "tool2")
	if err != nil || string(data) != "by C" || info.Role() != "C" || info.Roles[1].Role != "A" || info.Length != 4 {
		t.Errorf("tool2: %q %+v, %v", data, info, err)
	}
	if custom, ok := info.Custom.(map[string]any); !ok || custom["a"] != "b" {
		t.Errorf("custom: %v", info.Custom)
	}
}

// Two delegators share a role name and give it different keys. What A's key
// signed says nothing in B's name, however it came into memory or the cache.
func TestRoleIsVerifiedForItsDelegator(t *testing.T) {
	draw := func() *clienttest.Repo {
		repo := clienttest.New()
		repo.Delegate(targets, "A", false, []string{"a/*"})
		repo.Delegate(targets, "B", false, []string{"b/*"})
		repo.Delegate("A", "release", false, []string{"a/*"}, clienttest.NewKey("of A"))
		repo.Delegate("B", "release", false, []string{"b/*"}, clienttest.NewKey("of B"))
		repo.AddTarget("release", "a/tool", "trusted by A")
		repo.AddTarget("release", "b/tool", "signed by A alone")
		return repo
	}
	ofA := []*clienttest.Key{clienttest.NewKey("of A")}

	repo := draw()
	repo.Roles["release"].Keys = ofA
	repo.Publish("release", "A", "B", targets)
	for _, again := range []string{"fresh", "from the cache"} {
		u := newUser(t, repo)
		if again != "fresh" {
			if _, err := u.client().Target(t.Context(), "a/tool"); err != nil {
				t.Fatal(err)
			}
		}
		c := u.client()
		repo.Requests()
		if info, err := c.Target(t.Context(), "a/tool"); err != nil || info.Role() != "release" {
			t.Errorf("%s: a/tool: %+v, %v", again, info, err)
		}
		_, err := c.Target(t.Context(), "b/tool")
		if e := refused[*client.QuorumError](t, again+": b/tool", err); e.By != "B" {
			t.Errorf("got %v", e)
		}
		if _, err := c.Target(t.Context(), "a/tool"); err != nil {
			t.Errorf("%s: a/tool after b/tool: %v", again, err)
		}
		// What is in the cache may be out of date for B, so it is fetched once.
		if got := repo.Requests(); strings.Count(got, "1.release.json") != 1 {
			t.Errorf("%s: requests: %s", again, got)
		}
	}

	// Signed for both it serves both, with one request.
	repo = draw()
	repo.Publish("release", "A", "B", targets)
	u := newUser(t, repo)
	c := u.client()
	for _, path := range []string{"a/tool", "b/tool"} {
		if info, err := c.Target(t.Context(), path); err != nil || len(info.Roles) != 3 {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
	if got := u.repo.Requests(); strings.Count(got, "1.release.json") != 1 {
		t.Errorf("requests: %s", got)
	}

	// A cached file that holds for A only is replaced by one that holds for
	// both, if the repository has it.
	repo = draw()
	repo.Roles["release"].Keys = ofA
	repo.Publish("release", "A", "B", targets)
	u = newUser(t, repo)
	if _, err := u.client().Target(t.Context(), "a/tool"); err != nil {
		t.Fatal(err)
	}
	repo.Roles["release"].Keys = append(ofA, clienttest.NewKey("of B"))
	repo.Put("release", repo.Roles["release"].Sign())
	c = u.client()
	for _, path := range []string{"a/tool", "b/tool", "a/tool"} {
		if _, err := c.Target(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A delegated role that cannot be verified ends the search: to look further
// would let whoever blocks one role choose the answer of the next.
func TestBrokenRoleEndsTheSearch(t *testing.T) {
	for name, hurt := range map[string]func(r *clienttest.Repo){
		"missing":   func(r *clienttest.Repo) { delete(r.Files, "metadata/1.A.json") },
		"unsigned":  func(r *clienttest.Repo) { r.Put("A", clienttest.Sign(r.Roles["A"].Signed)) },
		"truncated": func(r *clienttest.Repo) { r.Files["metadata/1.A.json"] = r.Files["metadata/1.A.json"][:100] },
		"unlisted": func(r *clienttest.Repo) {
			delete(r.Roles[snapshot].Signed["meta"].(metadata.Object), "A.json")
			r.Roles[timestamp].Signed["version"] = int64(0)
			r.Publish(snapshot, timestamp)
		},
		"expired": func(r *clienttest.Repo) {
			r.Roles["A"].Expire(clienttest.Now)
			r.Put("A", r.Roles["A"].Sign())
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := clienttest.New()
			repo.Delegate(targets, "A", false, []string{"*"})
			repo.Delegate(targets, "B", false, []string{"*"})
			repo.AddTarget("B", "tool", "by B")
			repo.Publish("A", "B", targets)
			hurt(repo)
			u := newUser(t, repo)
			u.good("")
			_, err := u.client().Target(t.Context(), "tool")
			var none *client.TargetNotFoundError
			if err == nil || errors.As(err, &none) {
				t.Errorf("got %v", err)
			}
			t.Log(err)
			if got := u.cached(); strings.Contains(got, "A") {
				t.Errorf("cache: %s", got)
			}
		})
	}
}

func TestTooManyDelegations(t *testing.T) {
	for n, found := range map[int]bool{client.MaxDelegations: true, client.MaxDelegations + 1: false} {
		for _, shape := range []string{"chain", "row"} {
			repo := clienttest.New()
			from, roles := targets, []string{targets}
			for i := range n {
				role := fmt.Sprintf("r%d", i)
				repo.Delegate(from, role, false, []string{"*"})
				roles = append(roles, role)
				if shape == "chain" {
					from = role
				}
			}
			repo.AddTarget(roles[n], "tool", "here")
			repo.Publish(roles...)
			_, err := newUser(t, repo).client().Target(t.Context(), "tool")
			if found {
				if err != nil {
					t.Errorf("%s of %d: %v", shape, n, err)
				}
				continue
			}
			refused[*client.LimitError](t, shape, err)
		}
	}
}

func TestPathHashPrefixes(t *testing.T) {
	hash := func(path string) string {
		sum := sha256.Sum256([]byte(path))
		return hex.EncodeToString(sum[:])
	}
	repo := clienttest.New()
	mine := repo.Delegate(targets, "A", false, nil)
	delete(mine, "paths")
	mine["path_hash_prefixes"] = []any{"zz", strings.ToUpper(hash("tool")[:3])}
	other := repo.Delegate(targets, "B", false, nil)
	delete(other, "paths")
	other["path_hash_prefixes"] = []any{hash("dir/tool")[:5]}
	for _, role := range []string{"A", "B"} {
		repo.AddTarget(role, "tool", "by "+role)
		repo.AddTarget(role, "dir/tool", "by "+role)
	}
	repo.Publish("A", "B", targets)
	c := newUser(t, repo).client()
	for path, role := range map[string]string{"tool": "A", "dir/tool": "B"} {
		if info, err := c.Target(t.Context(), path); err != nil || info.Role() != role {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
}

func TestSuccinctRoles(t *testing.T) {
	repo := clienttest.New()
	key := clienttest.NewKey("bins")
	roles := []string{targets}
	for i := range 8 {
		name := fmt.Sprintf("bin-%x", i)
		repo.Delegate(targets, name, false, nil, key)
		roles = append(roles, name)
	}
	repo.Roles[targets].Signed["delegations"] = metadata.Object{"keys": metadata.Object{key.ID: key.Object},
		"succinct_roles": metadata.Object{"keyids": []any{key.ID}, "threshold": int64(1), "bit_length": int64(3), "name_prefix": "bin"}}
	bins := map[string]string{}
	for i := range 40 {
		path := fmt.Sprintf("dir/file%d", i)
		sum := sha256.Sum256([]byte(path))
		bins[path] = fmt.Sprintf("bin-%x", sum[0]>>5)
		repo.AddTarget(bins[path], path, path)
	}
	repo.Publish(roles...)
	c := newUser(t, repo).client()
	for path, bin := range bins {
		if info, err := c.Target(t.Context(), path); err != nil || info.Role() != bin {
			t.Errorf("%s: %+v, %v; want %s", path, info, err, bin)
		}
	}
	_, err := c.Target(t.Context(), "nothing")
	if e := refused[*client.TargetNotFoundError](t, "nothing", err); len(e.Visited) != 2 {
		t.Errorf("visited %v", e.Visited)
	}
}

// Role names are text from strangers: they must be neither a way out of a
// directory nor of a URL.
func TestOddRoleNames(t *testing.T) {
	for _, role := range []string{"?", "#", "/A", "../A", "..", ".", "", "a b", "%2e%2e", "a\\b", "\x00", "\n", "ä", "A.json", ".lock", "trust_anchor",
		"root_history/2.root", strings.Repeat("long", 100), strings.Repeat("%", 90), "CON", "snapshot.json", "$(reboot)"} {
		t.Run(fmt.Sprintf("%.20q", role), func(t *testing.T) {
			repo := clienttest.New()
			repo.Delegate(targets, role, false, []string{"*"})
			repo.AddTarget(role, "tool", "content")
			repo.Publish(role, targets)
			u := newUser(t, repo)
			parent := filepath.Dir(u.dir)
			if info, err := u.client().Target(t.Context(), "tool"); err != nil || info.Role() != role {
				t.Fatalf("%+v, %v", info, err)
			}
			if !strings.Contains(repo.Requests(), fmt.Sprintf("1.%s.json", role)) {
				t.Error("the role was not asked for by its name")
			}
			entries, err := os.ReadDir(parent)
			if err != nil || len(entries) != 1 {
				t.Errorf("something outside the cache: %v, %v", entries, err)
			}
			if _, err := u.client().Target(t.Context(), "tool"); err != nil {
				t.Error(err)
			}
			u.wantRequests("2.root.json timestamp.json")
		})
	}
}

func TestReservedRoleNames(t *testing.T) {
	for _, role := range []string{root, timestamp, snapshot} {
		repo := clienttest.New()
		repo.Delegate(targets, role, false, []string{"*"})
		repo.Publish(targets)
		_, err := newUser(t, repo).client().Target(t.Context(), "tool")
		refused[*client.FormatError](t, role, err)
	}
}
