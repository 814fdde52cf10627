package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/tufops/tufops/internal/git/gittest"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/onlinesign"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signer"
	"github.com/tufops/tufops/signingevent"
)

// start is when every scenario begins.
var start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// stage is a scene in a test.
type stage struct {
	*scene
	t    *testing.T
	ctx  context.Context
	site *site
	warm *gotufClient // updates after each step, from what it has
}

func newStage(t *testing.T, people ...string) *stage {
	t.Helper()
	gittest.Isolate()
	sc, err := newScene(t.Context(), t.TempDir(), start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sc.close)
	s := &stage{scene: sc, t: t, ctx: t.Context()}
	for _, name := range people {
		s.no(s.person(s.ctx, name))
	}
	return s
}

func (s *stage) no(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// initial makes a repository that alice and bob sign, 2 of 2, merged and
// published.
func (s *stage) initial() *stage {
	s.t.Helper()
	s.start()
	s.event("sign/init", false, "root 0/2 invited @bob", "targets 1/2")
	s.sign("bob", "sign/init", "root targets")
	s.event("sign/init", false, "root 1/2", "targets 2/2")
	s.sign("alice", "sign/init", "root")
	s.event("sign/init", true, "root 2/2", "targets 2/2")
	s.done("sign/init", mergeCommit)
	return s
}

func (s *stage) start() {
	s.t.Helper()
	online, err := s.onlineKey("online")
	s.no(err)
	both := signer.RoleAnswers{Signers: []string{"@alice", "@bob"}, Threshold: 2, ExpiryDays: 365, SigningDays: 60}
	_, err = signer.Init(s.ctx, s.signs("alice", "sign/init"), both, both,
		signer.OnlineAnswers{Key: online, TimestampExpiryDays: 7, TimestampSigningDays: 6, SnapshotExpiryDays: 365, SnapshotSigningDays: 60})
	s.no(err)
}

// sign lets a person sign, and checks what they were asked for.
func (s *stage) sign(name, event, want string) {
	s.t.Helper()
	done, err := signer.Sign(s.ctx, s.signs(name, event))
	s.no(err)
	if got := strings.Join(done.Signed, " "); got != want {
		s.t.Fatalf("%s signed %q in %s, want %q", name, got, event, want)
	}
}

// event runs CI for an event and compares each role: "role signed/threshold",
// and who is invited.
func (s *stage) event(event string, complete bool, want ...string) *repository.Status {
	s.t.Helper()
	status, err := s.signingEvent(s.ctx, event)
	s.no(err)
	var got []string
	for _, r := range status.Roles {
		text := fmt.Sprintf("%s %d/%d", r.Role, len(r.Signed), r.Threshold)
		if len(r.Invites) > 0 {
			text += " invited " + strings.Join(r.Invites, " ")
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) || status.Complete != complete {
		s.t.Fatalf("%s: %q, complete %v, want %q, %v\n%+v", event, got, status.Complete, want, complete, status.AllFindings())
	}
	return status
}

// done merges an event, signs online, publishes, and lets all clients update.
func (s *stage) done(event string, how merging) {
	s.t.Helper()
	s.no(s.merge(s.ctx, event, how))
	_, _, err := s.release(s.ctx)
	s.no(err)
	s.clients()
}

// clients: a fresh and a warm client, ours and go-tuf's, update to what is
// published and find every artifact there.
func (s *stage) clients() {
	s.t.Helper()
	root, err := s.firstRoot()
	s.no(err)
	if s.site == nil {
		s.site, err = serve(s.path("published"))
		s.no(err)
		s.t.Cleanup(s.site.close)
	}
	var published *repository.Published
	s.no(s.ci(s.ctx, "", func(r *repository.Repository) error {
		head, err := r.Git.Resolve(s.ctx, "HEAD")
		if err != nil {
			return err
		}
		published, err = r.Published(s.ctx, head, s.now)
		return err
	}))
	fresh := fmt.Sprintf("fresh-%d", s.runs)
	for _, folder := range []string{fresh, "warm"} {
		c, err := s.scene.client(s.ctx, folder, s.site.url, root)
		s.no(err)
		result, err := c.Refresh(s.ctx)
		if err != nil {
			s.t.Fatalf("our %s client: %v", folder, err)
		}
		if result.Timestamp.Version != published.Timestamp().Version() || result.Root().Version != published.Root().Version() {
			s.t.Errorf("our %s client is at %s, published are root v%d and timestamp v%d", folder, result, published.Root().Version(), published.Timestamp().Version())
		}
		for _, a := range published.Artifacts() {
			if _, data, err := c.Read(s.ctx, a.Target); err != nil || int64(len(data)) != a.Length {
				s.t.Errorf("our %s client reads %s: %d bytes, %v", folder, a.Target, len(data), err)
			}
		}
	}
	if s.warm == nil {
		s.warm = &gotufClient{site: s.path("published"), cache: s.t.TempDir()}
	}
	for name, c := range map[string]*gotufClient{"fresh": {site: s.path("published"), cache: s.t.TempDir()}, "warm": s.warm} {
		if err := c.update(root, s.now, published); err != nil {
			s.t.Errorf("go-tuf's %s client: %v", name, err)
		}
	}
}

// gotufClient is go-tuf's updater on a folder.
type gotufClient struct{ site, cache string }

func (g *gotufClient) DownloadFile(from string, max int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(g.site, filepath.FromSlash(u.Path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &gotuf.ErrDownloadHTTP{StatusCode: 404, URL: from}
	}
	if int64(len(data)) > max {
		return nil, &gotuf.ErrDownloadLengthMismatch{Msg: "too long"}
	}
	return data, err
}

func (g *gotufClient) update(root []byte, now time.Time, want *repository.Published) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	cfg, err := config.New("https://site.invalid/metadata", root)
	if err != nil {
		return err
	}
	cfg.RemoteTargetsURL, cfg.Fetcher = "https://site.invalid/targets", g
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = g.cache, filepath.Join(g.cache, "targets")
	up, err := updater.New(cfg)
	if err != nil {
		return err
	}
	up.UnsafeSetRefTime(now)
	if err := up.Refresh(); err != nil {
		return err
	}
	if got := up.GetTrustedMetadataSet().Timestamp.Signed.Version; got != want.Timestamp().Version() {
		return fmt.Errorf("timestamp v%d, published is v%d", got, want.Timestamp().Version())
	}
	for _, a := range want.Artifacts() {
		info, err := up.GetTargetInfo(a.Target)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Target, err)
		}
		if _, data, err := up.DownloadTarget(info, filepath.Join(g.cache, "file"), ""); err != nil || int64(len(data)) != a.Length {
			return fmt.Errorf("%s: %d bytes: %w", a.Target, len(data), err)
		}
	}
	return nil
}

func text(s string) []byte { return []byte(s) }

func TestInitialEvent(t *testing.T) {
	t.Parallel()
	newStage(t, "alice", "bob").initial()
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	const event = "sign/artifacts"
	s.no(s.push(s.ctx, "alice", event, "add", map[string][]byte{"targets/a.txt": text("a"), "targets/b.txt": text("b")}))
	status := s.event(event, false, "targets 0/2")
	if got := fmt.Sprint(changes(status.Roles[0])); got != "[added a.txt added b.txt]" {
		t.Errorf("artifacts: %s", got)
	}
	s.sign("alice", event, "targets")
	// Another person changes something after the first has signed: the
	// signature was for something else, and is asked for again.
	s.no(s.push(s.ctx, "bob", event, "change", map[string][]byte{"targets/b.txt": text("bb")}))
	s.event(event, false, "targets 0/2")
	s.sign("bob", event, "targets")
	s.sign("alice", event, "targets")
	s.event(event, true, "targets 2/2")
	s.done(event, mergeCommit)

	s.pass(24 * time.Hour)
	s.no(s.push(s.ctx, "bob", "sign/remove", "remove", map[string][]byte{"targets/a.txt": nil}))
	s.event("sign/remove", false, "targets 0/2")
	s.sign("bob", "sign/remove", "targets")
	s.sign("alice", "sign/remove", "targets")
	s.event("sign/remove", true, "targets 2/2")
	s.done("sign/remove", mergeCommit)
}

func TestDelegatedRole(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob", "carol").initial()
	const event = "sign/releases"
	_, err := signer.Delegate(s.ctx, s.signs("alice", event), "releases", signer.RoleAnswers{Signers: []string{"@carol"}, Threshold: 1, ExpiryDays: 100, SigningDays: 30}, signer.OnlineAnswers{})
	s.no(err)
	s.no(s.push(s.ctx, "bob", event, "three folders deep", map[string][]byte{"targets/releases/1/2/tool": text("tool"), "targets/releases/1/2/.hidden": text("x")}))
	s.event(event, false, "targets 0/2 invited @carol", "releases 0/1")
	s.sign("carol", event, "releases")
	s.event(event, false, "targets 0/2", "releases 1/1")
	s.sign("alice", event, "targets")
	s.sign("bob", event, "targets")
	s.event(event, true, "targets 2/2", "releases 1/1")
	s.done(event, mergeCommit)
	if _, err := os.Stat(s.path("published", "metadata", "2.releases.json")); err != nil {
		t.Error(err)
	}
}

func TestRootSignerReplaced(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob", "carol").initial()
	const event = "sign/carol"
	_, err := signer.Delegate(s.ctx, s.signs("alice", event), "root", signer.RoleAnswers{Signers: []string{"@alice", "@carol"}}, signer.OnlineAnswers{})
	s.no(err)
	s.event(event, false, "root 0/2 invited @carol")
	s.sign("carol", event, "root")
	s.sign("alice", event, "root")
	s.event(event, false, "root 2/2") // the new quorum alone is not enough
	s.sign("bob", event, "root")
	status := s.event(event, true, "root 2/2")
	if k := status.Roles[0].KnownGood; k == nil || len(k.Signed) != 2 {
		t.Errorf("known-good: %+v", k)
	}
	s.done(event, mergeCommit)
}

// Somebody who holds no key of root changes the periods of the online roles;
// those who do sign it.
func TestOnlinePeriods(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob", "dave").initial()
	const event = "sign/periods"
	done, err := signer.Delegate(s.ctx, s.signs("dave", event), "timestamp", signer.RoleAnswers{}, signer.OnlineAnswers{TimestampExpiryDays: 4, TimestampSigningDays: 2})
	s.no(err)
	if len(done.Signed) > 0 {
		t.Errorf("dave signed %v", done.Signed)
	}
	s.event(event, false, "root 0/2")
	s.sign("alice", event, "root")
	s.sign("bob", event, "root")
	s.event(event, true, "root 2/2")
	s.done(event, mergeCommit)
	s.pass(5*24*time.Hour + time.Minute)
	result, err := s.onlineSign(s.ctx)
	s.no(err)
	if len(result.Signed) != 1 || !result.Signed[0].Expires.Equal(s.now.Add(4*24*time.Hour)) {
		t.Errorf("%+v", result.Signed)
	}
}

func TestExpiryBumps(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	s.pass(304 * 24 * time.Hour)
	events, err := s.createEvents(s.ctx)
	s.no(err)
	if len(events) != 0 {
		t.Errorf("opened a day early: %+v", events)
	}
	s.pass(24 * time.Hour)
	for run := range 2 { // the second finds the branches and leaves them alone
		events, err = s.createEvents(s.ctx)
		s.no(err)
		if len(events) != 2 || events[0].Branch != "sign/root-v2" || events[1].Branch != "sign/targets-v2" || events[0].Created != (run == 0) {
			t.Fatalf("run %d: %+v", run, events)
		}
		s.pass(time.Hour)
	}
	_, err = s.onlineSign(s.ctx) // main moves while people sign
	s.no(err)
	for _, role := range []string{"root", "targets"} {
		event := "sign/" + role + "-v2"
		s.event(event, false, role+" 0/2")
		s.sign("alice", event, role)
		s.sign("bob", event, role)
		s.event(event, true, role+" 2/2")
		s.done(event, mergeCommit)
	}
	if events, err = s.createEvents(s.ctx); err != nil || len(events) != 0 {
		t.Errorf("after the merge: %+v, %v", events, err)
	}
}

func TestOnlineSigning(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	for week := range 3 {
		s.pass(7*24*time.Hour - time.Minute)
		result, report, err := s.release(s.ctx)
		s.no(err)
		if len(result.Signed) != 1 || result.Signed[0].Version != int64(week+2) || !report.Changed {
			t.Errorf("week %d: %+v", week, result.Signed)
		}
		s.clients()
	}
	result, report, err := s.release(s.ctx)
	s.no(err)
	if len(result.Signed) != 0 || report.Changed {
		t.Errorf("a second run signed %+v, changed %v", result.Signed, report.Changed)
	}
}

func TestOnlineKeyRotation(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	online, err := s.onlineKey("online-2")
	s.no(err)
	const event = "sign/online"
	_, err = signer.Delegate(s.ctx, s.signs("alice", event), "timestamp", signer.RoleAnswers{}, signer.OnlineAnswers{Key: online})
	s.no(err)
	s.sign("bob", event, "root")
	s.event(event, true, "root 2/2")
	s.done(event, mergeCommit)
	s.pass(6 * 24 * time.Hour)
	result, _, err := s.release(s.ctx)
	s.no(err)
	if len(result.Signed) != 1 || len(result.Signed[0].Keys) != 1 || result.Signed[0].Keys[0] != online {
		t.Errorf("the second timestamp after the rotation: %+v", result.Signed)
	}
	s.clients()
}

// TestImport adopts a repository without custom fields.
func TestImport(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	s.no(s.push(s.ctx, "alice", "main", "forget what tufops added", s.strip("alice")))
	const event = "sign/import"
	var out strings.Builder
	s.out = &out
	_, err := signer.Import(s.ctx, s.signs("alice", event), nil)
	if !errors.As(err, new(*signer.MissingValuesError)) || !strings.Contains(out.String(), repository.UndefinedHolder) {
		t.Fatalf("import without values: %v\n%s", err, out.String())
	}
	file := strings.ReplaceAll(out.String(), "-1", "90")
	root, err := s.document("alice", "root")
	s.no(err)
	for id, k := range root.Delegations().Keys {
		holder := "@alice"
		switch k.Fingerprint() {
		case s.fingerprint("bob"):
			holder = "@bob"
		case s.fingerprint("online"):
			holder = "file2:" + s.path("keys", "online.pem")
		}
		file = strings.Replace(file, `"`+id+`": "`+repository.UndefinedHolder+`"`, `"`+id+`": "`+holder+`"`, 1)
	}
	file = strings.ReplaceAll(file, `"x-tuf-on-ci-signing-period": 90`, `"x-tuf-on-ci-signing-period": 30`)
	_, err = signer.Import(s.ctx, s.signs("alice", event), []byte(file[strings.Index(file, "{"):]))
	s.no(err)
	s.sign("bob", event, "root targets")
	s.event(event, true, "root 2/2", "targets 2/2")
	s.no(s.merge(s.ctx, event, mergeCommit))
	_, _, err = s.release(s.ctx)
	s.no(err)
	s.clients()
}

// TestTwoRepositories: two TUF repositories in one git repository, each with its
// own events.
func TestTwoRepositories(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob")
	s.no(s.push(s.ctx, "alice", "main", "two repositories", map[string][]byte{repository.PolicyFile: text("repositories: [v1, v2]\n")}))
	for _, dir := range []string{"v1", "v2"} {
		s.tufDir, s.warm, s.site = dir, nil, nil
		for name, r := range s.people {
			r2, err := repository.New(r.Git, dir)
			s.no(err)
			s.people[name] = r2
		}
		s.no(os.RemoveAll(s.path("published")))
		s.no(os.RemoveAll(s.path("warm")))
		event := "sign/init-" + dir
		online, err := s.onlineKey("online-" + dir)
		s.no(err)
		one := signer.RoleAnswers{Signers: []string{"@alice"}, Threshold: 1, ExpiryDays: 365, SigningDays: 60}
		_, err = signer.Init(s.ctx, s.signs("alice", event), one, one, signer.OnlineAnswers{Key: online, TimestampExpiryDays: 7, TimestampSigningDays: 6})
		s.no(err)
		s.event(event, true, "root 1/1", "targets 1/1")
		s.done(event, mergeCommit)
	}
	s.no(s.push(s.ctx, "bob", "sign/both", "touch both", map[string][]byte{"targets/a.txt": text("a"), "../v1/targets/a.txt": text("a")}))
	status, err := s.signingEvent(s.ctx, "sign/both")
	s.no(err)
	if !slices.ContainsFunc(status.Findings, func(f repository.Finding) bool {
		return f.Rule == "foreign-change" && f.Level == repository.LevelError
	}) {
		t.Errorf("an event that touches two repositories: %+v", status.AllFindings())
	}
	s.pass(330 * 24 * time.Hour)
	events, err := s.createEvents(s.ctx)
	s.no(err)
	if len(events) != 2 || events[0].Branch != "sign/v2-root-v2" {
		t.Errorf("%+v", events)
	}
}

// TestMerges: the same event, merged three ways, gives the same later verdicts
// and the same published bytes.
func TestMerges(t *testing.T) {
	t.Parallel()
	var first string
	for _, how := range []merging{mergeCommit, squash, rebase} {
		s := newStage(t, "alice", "bob").initial()
		s.no(s.push(s.ctx, "alice", "sign/a", "add", map[string][]byte{"targets/a.txt": text("a")}))
		s.event("sign/a", false, "targets 0/2")
		s.sign("alice", "sign/a", "targets")
		s.sign("bob", "sign/a", "targets")
		_, err := s.onlineSign(s.ctx) // nothing to do, main stays
		s.no(err)
		s.pass(6 * 24 * time.Hour)
		_, err = s.onlineSign(s.ctx) // main moves before the merge
		s.no(err)
		s.done("sign/a", how)
		s.no(s.push(s.ctx, "bob", "sign/b", "add", map[string][]byte{"targets/b.txt": text("b")}))
		status := s.event("sign/b", false, "targets 0/2")
		s.sign("bob", "sign/b", "targets")
		s.sign("alice", "sign/b", "targets")
		after := s.event("sign/b", true, "targets 2/2")
		verdicts := fmt.Sprintf("%+v %+v", changes(status.Roles[0]), after.Roles[0].PreviousVersion)
		s.done("sign/b", how)
		var files []string
		s.no(filepath.WalkDir(s.path("published"), func(p string, d fs.DirEntry, err error) error {
			files = append(files, strings.TrimPrefix(p, s.dir))
			return err
		}))
		verdicts += fmt.Sprint(files)
		if first == "" {
			first = verdicts
		}
		if verdicts != first {
			t.Errorf("merged way %d:\n%s\nfirst:\n%s", how, verdicts, first)
		}
	}
}

// TestBadMain: somebody pushes unsigned metadata to main. For thirty days clients
// stay fresh on the old content; the event that fixes it heals it.
func TestBadMain(t *testing.T) {
	t.Parallel()
	s := newStage(t, "alice", "bob").initial()
	s.no(s.push(s.ctx, "alice", "sign/a", "add", map[string][]byte{"targets/a.txt": text("a")}))
	s.event("sign/a", false, "targets 0/2")
	s.no(s.merge(s.ctx, "sign/a", squash)) // a red event, merged all the same
	for range 30 {
		s.pass(24 * time.Hour)
		result, _, err := s.release(s.ctx)
		s.no(err)
		if len(result.Blocked) == 0 {
			t.Fatal("the unsigned targets were not noticed")
		}
		s.clients()
	}
	if _, err := os.Stat(s.path("published", "metadata", "2.targets.json")); err == nil {
		t.Error("unsigned targets were published")
	}
	s.no(s.push(s.ctx, "bob", "sign/fix", "add another", map[string][]byte{"targets/b.txt": text("b")}))
	status := s.event("sign/fix", false, "targets 0/2")
	// Those who sign see what the unsigned version brought as well.
	if got := fmt.Sprint(changes(status.Roles[0])); got != "[added a.txt added b.txt]" {
		t.Errorf("artifacts: %s", got)
	}
	s.sign("bob", "sign/fix", "targets")
	s.sign("alice", "sign/fix", "targets")
	s.event("sign/fix", true, "targets 2/2")
	s.done("sign/fix", mergeCommit)
	if _, err := os.Stat(s.path("published", "metadata", "3.targets.json")); err != nil {
		t.Error(err)
	}
}

// document reads a role at main's tip.
func (s *stage) document(name, role string) (*metadata.Document, error) {
	r := s.people[name]
	if err := r.Git.Fetch(s.ctx, "origin", "+refs/heads/*:refs/remotes/origin/*"); err != nil {
		return nil, err
	}
	main, err := r.Git.Resolve(s.ctx, "refs/remotes/origin/main")
	if err != nil {
		return nil, err
	}
	state, err := r.At(s.ctx, main)
	if err != nil {
		return nil, err
	}
	return state.Document(role)
}

func (s *stage) fingerprint(name string) string {
	k, err := publicKeys{s.keys}.Public(s.ctx, "file2:"+s.path("keys", name+".pem"))
	s.no(err)
	key, err := metadata.NewKey(k, "", "")
	s.no(err)
	return key.Fingerprint()
}

// strip is root and targets as another tool would have made them: without the
// custom fields, signed by the same keys.
func (s *stage) strip(name string) map[string][]byte {
	files := map[string][]byte{}
	var ids map[string]string
	for _, role := range []string{"root", "targets"} {
		doc, err := s.document(name, role)
		s.no(err)
		signed := metadata.Clone(doc.Signed())
		signed["version"] = doc.Version() + 1
		delete(signed, metadata.FieldExpiryPeriod)
		delete(signed, metadata.FieldSigningPeriod)
		if role == "root" {
			ids = map[string]string{}
			keys := metadata.Object{}
			for id, k := range signed["keys"].(metadata.Object) {
				k := k.(metadata.Object)
				delete(k, metadata.FieldKeyOwner)
				delete(k, metadata.FieldOnlineURI)
				ids[id], err = metadata.KeyID(k)
				s.no(err)
				keys[ids[id]] = k
			}
			signed["keys"] = keys
			for _, o := range signed["roles"].(metadata.Object) {
				o := o.(metadata.Object)
				delete(o, metadata.FieldExpiryPeriod)
				delete(o, metadata.FieldSigningPeriod)
				list := o["keyids"].([]any)
				for i := range list {
					list[i] = ids[list[i].(string)]
				}
			}
		}
		out, err := metadata.New(signed, nil)
		s.no(err)
		// The old root lists the old ids, the new one the new ids.
		for old, id := range ids {
			for _, person := range []string{"alice", "bob"} {
				if s.fingerprint(person) != s.keyPrint(name, old) {
					continue
				}
				private, err := s.keys.Resolve(s.ctx, "file2:"+s.path("keys", person+".pem"), "")
				s.no(err)
				sig, err := private.Sign(s.ctx, out.Payload())
				s.no(err)
				out, err = out.WithSignature(old, sig)
				s.no(err)
				out, err = out.WithSignature(id, sig)
				s.no(err)
			}
		}
		files[repository.MetadataFile(role)] = out.Bytes()
		if role == "root" {
			files[repository.RootFile(out.Version())] = out.Bytes()
		}
	}
	return files
}

func (s *stage) keyPrint(name, id string) string {
	root, err := s.document(name, "root")
	s.no(err)
	return root.Delegations().Keys[id].Fingerprint()
}

// changes are what a role changes of its artifacts, in words.
func changes(r repository.RoleStatus) (list []string) {
	for _, a := range r.Artifacts {
		list = append(list, a.Change+" "+a.Path)
	}
	return list
}

// createEvents is what CI does from time to time.
func (s *scene) createEvents(ctx context.Context) (events []signingevent.NewEvent, err error) {
	err = s.ci(ctx, "", func(r *repository.Repository) error {
		events, err = signingevent.CreateEvents(ctx, signingevent.Options{Repository: r, Now: s.now, Remote: "origin", Log: s.log})
		return err
	})
	return events, err
}

// onlineSign is what CI does after a push to main and every day, in a checkout of its own.
func (s *scene) onlineSign(ctx context.Context) (result onlinesign.Result, err error) {
	err = s.ci(ctx, "", func(r *repository.Repository) error {
		result, err = s.onlineSignIn(ctx, r)
		return err
	})
	return result, err
}
