package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/publishtest"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// drawn is a repository whose page is looked at, at a moment.
type drawn struct {
	repo     *publishtest.Repo
	at       time.Time
	attested repository.Attestation // nil: nobody can tell
}

// published checks what is drawn, whether it may be published or not.
func (d drawn) published(t testing.TB) *repository.Published {
	t.Helper()
	return publishedAt(t, d.repo.Git.Dir, d.repo.Commit(t, "drawn"), d.at)
}

func publishedAt(t testing.TB, dir string, commit git.OID, at time.Time) *repository.Published {
	t.Helper()
	g, err := git.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	repo, err := repository.New(g, "")
	if err != nil {
		t.Fatal(err)
	}
	if commit == "" {
		if commit, err = g.Resolve(t.Context(), "HEAD"); err != nil {
			t.Fatal(err)
		}
	}
	p, err := repo.Published(t.Context(), commit, at)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tree is what is published of the drawing.
func (d drawn) tree(t testing.TB) *publish.Tree {
	t.Helper()
	return treeOf(t, d.published(t), d.attested)
}

func treeOf(t testing.TB, p *repository.Published, attested repository.Attestation) *publish.Tree {
	t.Helper()
	tree, err := publish.NewTree(t.Context(), p, attested)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// pagesOf are index.html of a commit, and as JSON the facts that it shows.
func pagesOf(t testing.TB, p *repository.Published) (html, facts string) {
	t.Helper()
	return pagesIn(t, treeOf(t, p, nil))
}

func pagesIn(t testing.TB, tree *publish.Tree) (html, facts string) {
	t.Helper()
	doc, err := json.Marshal(tree.Facts())
	if err != nil {
		t.Fatal(err)
	}
	return pageIn(t, tree, "index.html"), string(doc)
}

// pageIn is one page of a tree.
func pageIn(t testing.TB, tree *publish.Tree, name string) string {
	t.Helper()
	for _, f := range tree.Files() {
		if f.Class == publish.Page && f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("the tree has no page %s", name)
	return ""
}

func statusOf(t testing.TB, p *repository.Published) publish.Status {
	t.Helper()
	return treeOf(t, p, nil).Facts()
}

// people are keys that persons hold.
func people(names ...string) []*clienttest.Key {
	var keys []*clienttest.Key
	for _, n := range names {
		keys = append(keys, clienttest.NewKey(n))
	}
	return keys
}

// online is a key that a machine holds.
func online(uri string) *clienttest.Key {
	k := clienttest.NewKey(uri)
	k.Object = metadata.Clone(k.Object)
	delete(k.Object, metadata.FieldKeyOwner)
	k.Object[metadata.FieldOnlineURI] = uri
	id, err := metadata.KeyID(k.Object)
	if err != nil {
		panic(err)
	}
	k.ID = id
	return k
}

// periods states how long versions of a role live, and has the next one begin at
// a moment.
func (d drawn) periods(role string, issued time.Time, expiry, signing int) {
	in := d.repo.Roles[role].Signed
	if metadata.IsOnline(role) {
		in = d.repo.Roles[metadata.Root].Signed["roles"].(metadata.Object)[role].(metadata.Object)
	}
	in[metadata.FieldExpiryPeriod], in[metadata.FieldSigningPeriod] = int64(expiry), int64(signing)
	d.repo.Roles[role].Expire(issued.AddDate(0, 0, expiry))
}

// root publishes a new root, signed by some.
func (d drawn) root(issued time.Time, signed ...*clienttest.Key) {
	d.repo.Roles[metadata.Root].Expire(issued.AddDate(0, 0, 182))
	d.repo.Roles[metadata.Root].Keys = signed
	d.repo.Publish(metadata.Root)
}

// team draws what a repository of some years looks like: five people, an online
// key that was replaced, delegated roles, and roots of which each changed
// something else.
func team(t testing.TB) drawn {
	d := drawn{repo: publishtest.New(t), at: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)}
	ada, grace, hedy, joan, mary := clienttest.NewKey("ada"), clienttest.NewKey("grace"), clienttest.NewKey("hedy"), clienttest.NewKey("joan"), clienttest.NewKey("mary")
	const keyRing = "gcpkms:projects/example/locations/global/keyRings/tuf/cryptoKeys/online/cryptoKeyVersions/"
	kms1, kms2 := online(keyRing+"1"), online(keyRing+"2")
	day := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	r := d.repo
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
		r.SetKeys(role, 1, kms1)
	}
	r.SetKeys(metadata.Targets, 2, ada, grace, hedy)
	d.periods(metadata.Timestamp, day("2026-11-21 14:05"), 7, 6)
	d.periods(metadata.Snapshot, day("2026-10-06 14:05"), 365, 60)
	r.SetKeys(metadata.Root, 2, ada, grace, hedy)
	d.periods(metadata.Root, day("2024-05-14 09:00"), 182, 35)
	d.root(day("2024-05-14 09:00"), append([]*clienttest.Key{clienttest.NewKey(metadata.Root)}, ada, grace)...)
	d.root(day("2024-10-22 09:00"), ada, hedy)
	r.SetKeys(metadata.Root, 2, ada, grace, hedy, joan)
	r.SetKeys(metadata.Targets, 2, ada, grace, hedy, joan)
	d.root(day("2025-04-08 09:00"), ada, grace, joan)
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
		r.SetKeys(role, 1, kms2)
	}
	d.periods(metadata.Timestamp, day("2026-11-21 14:05"), 7, 6)
	d.periods(metadata.Snapshot, day("2026-10-06 14:05"), 365, 60)
	d.root(day("2025-09-16 09:00"), grace, hedy)
	r.SetKeys(metadata.Root, 3, ada, grace, hedy, joan, mary)
	d.root(day("2026-03-03 09:00"), ada, grace, hedy, joan)
	r.SetKeys(metadata.Root, 3, ada, grace, joan, mary)
	r.SetKeys(metadata.Targets, 2, ada, grace, joan, mary)
	d.root(day("2026-08-11 09:00"), ada, grace, mary)

	r.Delegate(metadata.Targets, "releases", true, []string{"releases/*", "releases/*/*"}, joan, mary)
	r.Delegate(metadata.Targets, "registry.example.org", true, []string{"registry.example.org/*"}, online("azurekms://example.vault.azure.net/keys/registry/2"))
	r.Delegate("releases", "nightly", false, []string{"releases/nightly/*"}, hedy)
	targets := r.Roles[metadata.Targets].Signed["targets"].(metadata.Object)
	clear(targets)
	for name, content := range map[string]string{
		"trusted_root.json": string(trustroottest.Bytes(instances(t))), "signing_config.v0.2.json": string(trustroottest.Bytes(trustroottest.Config())),
		"ctfe.pub": strings.Repeat("k", 775), "rekor.pub": strings.Repeat("k", 178),
	} {
		r.AddTarget(metadata.Targets, name, content)
	}
	r.AddTarget("releases", "releases/v3.1/tool-linux-amd64.tar.gz", strings.Repeat("tool", 200_000))
	r.AddTarget("registry.example.org", "registry.example.org/keys.json", strings.Repeat("[]", 1300))
	d.periods(metadata.Targets, day("2026-10-06 10:00"), 365, 60)
	d.periods("releases", day("2026-09-29 10:00"), 182, 35)
	d.periods("registry.example.org", day("2026-02-03 10:00"), 365, 60)
	d.periods("nightly", day("2026-11-17 10:00"), 30, 6)
	r.Roles[metadata.Targets].Keys = []*clienttest.Key{ada, joan}
	r.Publish(metadata.Targets, "releases", "registry.example.org", "nightly")
	d.attested = devices("@ada", "@grace", "@mary")
	return d
}

// devices attests the keys of some people.
func devices(owners ...string) repository.Attestation {
	return func(_ context.Context, s *repository.State, k *metadata.Key) (string, error) {
		if slices.Contains(owners, k.Holder()) {
			return "", nil
		}
		return "keys/ holds nothing for it", nil
	}
}

// instances are those of an instance of Sigstore of some years: what is over, what
// counts, and what is to come.
func instances(t testing.TB) trustroottest.Object {
	root := trustroottest.Root()
	window := func(section string, i int, end string) {
		in := trustroottest.At(root, section, i)
		if section == "tlogs" || section == "ctlogs" {
			in = in["publicKey"].(trustroottest.Object)
		}
		in["validFor"].(trustroottest.Object)["end"] = end
	}
	window("tlogs", 0, "2026-03-31T00:00:00Z")
	trustroottest.Add(root, "tlogs", trustroottest.Shard(t, "https://log2026-1.rekor.example.test", "2026-02-15T08:30:00Z"))
	window("ctlogs", 0, "2026-12-31T00:00:00Z")
	trustroottest.Add(root, "ctlogs", trustroottest.Log(t, "https://log2026-1.ctfe.example.test", "ecdsa", "2026-03-01T00:00:00Z"),
		trustroottest.Log(t, "https://log2027-1.ctfe.example.test", "ecdsa", "2027-01-01T00:00:00Z"))
	trustroottest.Add(root, "certificateAuthorities", trustroottest.Authority("https://fulcio.eu.example.test", trustroottest.Chain(t, trustroottest.Issuing, trustroottest.Anchor), "2026-05-04T00:00:00Z"))
	return root
}

// expiredTimestamp: the machine that renews the timestamp has stopped.
func expiredTimestamp(t testing.TB) drawn {
	d := team(t)
	d.at = d.at.AddDate(0, 0, 9)
	return d
}

// unrest: root is in its signing period, and a delegated role has expired.
func unrest(t testing.TB) drawn {
	d := team(t)
	d.at = time.Date(2027, 1, 15, 9, 30, 0, 0, time.UTC)
	d.repo.Roles[metadata.Timestamp].Expire(d.at.AddDate(0, 0, 6))
	d.repo.Publish(metadata.Timestamp)
	return d
}

// single: one person holds every key.
func single(t testing.TB) drawn {
	d := drawn{repo: publishtest.New(t), at: publishtest.Now}
	one := people("solo")
	first := d.repo.Roles[metadata.Root].Keys
	for _, role := range metadata.TopLevel {
		d.repo.SetKeys(role, 1, one...)
	}
	for _, role := range []string{metadata.Timestamp, metadata.Snapshot} {
		d.repo.SetKeys(role, 1, online("file2:online.pem"))
	}
	for _, role := range metadata.TopLevel {
		d.periods(role, clienttest.Now.AddDate(0, 0, -20), 365, 60)
	}
	d.repo.Roles[metadata.Root].Keys = append(first, one...)
	d.repo.Publish(metadata.Root)
	d.repo.Publish(metadata.Targets)
	return d
}

// large has many delegated roles with as many artifacts each.
func large(t testing.TB, many, each int) drawn {
	d := drawn{repo: publishtest.New(t), at: publishtest.Now}
	roles := []string{metadata.Targets}
	for i := range many {
		role := fmt.Sprintf("team-%02d", i)
		roles = append(roles, role)
		d.repo.Delegate(metadata.Targets, role, true, []string{role + "/*"})
		for j := range each {
			d.repo.AddTarget(role, fmt.Sprintf("%s/artifact-%03d.tar.gz", role, j), fmt.Sprint(role, j))
		}
		d.periods(role, clienttest.Now.AddDate(0, 0, -i), 182, 35)
	}
	d.repo.Publish(roles...)
	return d
}

// nasty is what a stranger would like to see run, or looked at, or believed.
const nasty = `<script>alert(1)</script><img src=x onerror=alert(2)>"'` + "`" + `{{.}}` + "\u202egnp.exe\u2066"

// hostile has such text wherever a stranger's text gets to.
func hostile(t testing.TB) drawn {
	d := drawn{repo: publishtest.New(t), at: publishtest.Now}
	const role = `javascript:alert(1)"><img src=x onerror=alert(3)>#&%2e%2e`
	k := clienttest.NewKey("mallory")
	k.Object = metadata.Clone(k.Object)
	k.Object[metadata.FieldKeyOwner] = nasty
	root := d.repo.Roles[metadata.Root].Keys
	d.repo.SetKeys(metadata.Root, 1, append(root, k)...)
	d.repo.Roles[metadata.Root].Signed["</style><b>"] = nasty
	d.repo.Publish(metadata.Root)
	d.repo.Delegate(metadata.Targets, role, true, []string{nasty, "x/*"}, k)
	d.repo.Delegate(metadata.Targets, strings.Repeat("w", 100), false, []string{strings.Repeat("w", 1000)}, clienttest.NewKey(strings.Repeat("w", 300)))
	d.repo.AddTarget(role, `x/--><svg onload=alert(4)>#?%2f..;  '".txt`, "<script>alert(5)</script>")
	d.repo.AddTarget(role, "x/"+strings.Repeat("w", 200), "wide")
	material := trustroottest.Root()
	log := trustroottest.At(material, "ctlogs", 0)
	log["baseUrl"], log["operator"] = nasty, nasty
	log["publicKey"].(trustroottest.Object)["keyDetails"] = "PKIX_ED25519" // which it is not
	authority := trustroottest.At(material, "timestampAuthorities", 0)
	authority["uri"] = strings.Repeat("w", 300)
	authority["subject"].(trustroottest.Object)["organization"] = nasty
	authority["validFor"] = trustroottest.Object{"end": "9999-12-31T23:59:59Z"}
	trustroottest.At(material, "certificateAuthorities", 0)["certChain"] = trustroottest.Object{"certificates": []any{trustroottest.Object{"rawBytes": "MIIB"}}}
	trustroottest.At(material, "certificateAuthorities", 0)["validFor"] = trustroottest.Object{"start": "0001-01-01T00:00:00Z", "end": "2010-01-01T00:00:00Z"}
	d.repo.AddTarget(role, "x/trusted_root"+nasty[:8]+".json", string(trustroottest.Bytes(material)))
	services := trustroottest.Config()
	services["mediaType"], services["rekorTlogConfig"] = nasty, trustroottest.Object{"selector": "EXACT", "count": 3}
	d.repo.AddTarget(role, "x/signing_config.json", string(trustroottest.Bytes(services)))
	d.repo.AddTarget(role, "x/trusted_root.json", `{"`+strings.ReplaceAll(nasty, `"`, `'`)+`": 1}`)
	d.repo.AddTarget(role, "x/trusted_root_large.json", strings.Repeat(" ", 1_000_001))
	d.repo.Publish(metadata.Targets, role, strings.Repeat("w", 100))
	d.repo.Roles[role].Expire(d.at.Add(-time.Hour)) // so that a finding names it
	d.repo.Publish(role)
	return d
}

// merged: main holds versions of roles that no snapshot lists yet.
func merged(t testing.TB) drawn {
	d := team(t)
	d.repo.Commit(t, "published")
	d.repo.AddTarget(metadata.Targets, "new.txt", "new\n")
	role := d.repo.Roles[metadata.Targets]
	role.Signed["version"] = role.Version() + 1
	d.repo.Files[clienttest.File(metadata.Targets, role.Version())] = role.Sign()
	return d
}

// corpus is main of a real repository.
func corpus(t testing.TB) *repository.Published {
	return publishedAt(t, gittest.Corpus(t), "", time.Date(2026, 8, 21, 20, 0, 0, 0, time.UTC))
}
