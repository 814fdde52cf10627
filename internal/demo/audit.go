// Package demo plays the road from git to a verified file on one machine, with
// all parts of the real thing: git, the bot, the people, the publisher and the
// clients.
//
// It owns the narration. It trusts nothing that it has not made or checked
// itself, and it is no part of what the programs do otherwise: no room imports
// it. Nothing leaves the machine.
package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/objstore/dir"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

// Options say what a demo plays with.
type Options struct {
	Out io.Writer // the narration, for 80 columns
	Dir string    // where everything is left, empty or missing; "" makes a temporary directory
	Now time.Time // the clock at the beginning; zero leaves it to the demo
}

// Audit plays the reading half on an existing repository: its chain of roots is
// checked, it is published to a directory, and a client that knows only the first
// root fetches a file; then bytes are changed, and the client refuses. The
// repository, which the person knows as path, is only read.
func Audit(ctx context.Context, o Options, repo *repository.Repository, path string) error {
	folder, err := folder(o.Dir, repo.Git)
	if err != nil {
		return err
	}
	d := &audit{story: &story{w: o.Out}, repo: repo, path: path, dir: folder, now: o.Now}
	return play(ctx, folder, d.open, d.rootChain, d.publish, d.walk, d.tamper, d.end)
}

// play runs the acts of a demo one after the other. Where one fails, what was
// made so far is left to look at.
func play(ctx context.Context, folder string, acts ...func(context.Context) error) error {
	for _, act := range acts {
		if err := act(ctx); err != nil {
			if os.Remove(folder) == nil { // it was still empty
				return err
			}
			return &UnfinishedError{Dir: folder, Err: err}
		}
	}
	return nil
}

// UnfinishedError says that a demo ended in the middle.
type UnfinishedError struct {
	Dir string
	Err error
}

func (e *UnfinishedError) Error() string { return e.Err.Error() }
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Note says what is left.
func (e *UnfinishedError) Note() string { return "what the demo has made so far is in " + e.Dir }

// FolderError says that the directory for what a demo leaves cannot be used.
type FolderError struct{ Reason string }

func (e *FolderError) Error() string { return "--dir " + e.Reason }

// folder makes the directory for what the demo leaves. It must be empty, and
// outside the repository, which is only read.
func folder(name string, g *git.Repo) (string, error) {
	if name == "" {
		return os.MkdirTemp("", "tufops-demo-")
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	var tops []string
	if g != nil {
		tops = []string{g.Top(), g.GitDir()}
	}
	for _, top := range tops {
		if rel, err := filepath.Rel(top, name); top != "" && err == nil && filepath.IsLocal(rel) {
			return "", &FolderError{name + " is inside the repository, which is only read"}
		}
	}
	entries, err := os.ReadDir(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", &FolderError{err.Error()}
	case len(entries) > 0:
		return "", &FolderError{name + " is not empty"}
	}
	return name, os.MkdirAll(name, 0o755)
}

// audit is the reading half on an existing repository. Its acts follow each
// other; each says what happens and why, and leaves what it made in dir.
type audit struct {
	*story
	repo *repository.Repository
	path string    // of the repository, as it was given
	dir  string    // where everything is left
	now  time.Time // the clock of the demo

	commit    git.OID
	published *repository.Published
	reached   *client.Result // by the client
	refusals  int
	artifact  *repository.PublishedArtifact // what the client fetches; nil: there is none
	firstRoot []byte
}

// open finds out when the repository was last signed, and what it publishes.
func (d *audit) open(ctx context.Context) (err error) {
	if d.commit, err = d.repo.Git.Resolve(ctx, "HEAD"); err != nil {
		return err
	}
	signed, err := d.lastSigned(ctx)
	if err != nil {
		return err
	}
	set := "at the moment when the repository's timestamp was last signed"
	if d.now.IsZero() {
		d.now = signed
	} else {
		set = "as TUFOPS_NOW says"
	}
	d.title("From a git repository to a verified file")
	d.row("repository", d.path)
	d.row("commit", string(d.commit))
	d.row("left in", d.dir)
	d.row("the clock", d.now.Format("2006-01-02 15:04:05")+" UTC")
	d.para("The clock of this demo stands still, %s. Metadata expires, some of it within days, so that "+
		"nobody can hold clients back on an old state for long; today this commit's may have expired. Expiry is checked all the same.", set)
	if d.published, err = d.repo.Published(ctx, d.commit, d.now); err != nil {
		return err
	}
	for _, a := range d.published.Artifacts() {
		if path.Base(a.Target) == "trusted_root.json" {
			d.artifact = &a
			break
		}
		if d.artifact == nil && len(a.Names) > 0 {
			d.artifact = &a
		}
	}
	return nil
}

// lastSigned is when the timestamp was signed: its expiry less the period it
// lives, or if nobody knows that, when it was committed.
func (d *audit) lastSigned(ctx context.Context) (time.Time, error) {
	state, err := d.repo.At(ctx, d.commit)
	if err != nil {
		return time.Time{}, err
	}
	root, err := state.Document(metadata.Root)
	if err != nil {
		return time.Time{}, err
	}
	timestamp, err := state.Document(metadata.Timestamp)
	if err != nil {
		return time.Time{}, err
	}
	if delegation, ok := root.Delegation(metadata.Timestamp); ok {
		if days := metadata.PeriodOf(delegation.Object).Expiry; days > 0 {
			return timestamp.Expires().AddDate(0, 0, -int(days)), nil
		}
	}
	return d.since(ctx, repository.MetadataFile(metadata.Timestamp))
}

// since is when a file got its present content.
func (d *audit) since(ctx context.Context, file string) (time.Time, error) {
	commits, err := d.repo.Git.History(ctx, d.commit, "", git.HistoryOptions{Paths: []string{d.repo.Path(file)}})
	if err != nil {
		return time.Time{}, err
	}
	last := d.commit
	if len(commits) > 0 {
		last = commits[0]
	}
	c, err := d.repo.Git.Commit(ctx, last)
	if err != nil {
		return time.Time{}, err
	}
	return c.CommitterTime.UTC(), nil
}

func (d *audit) rootChain(ctx context.Context) error {
	roots := d.published.Roots()
	first := roots[0].Document
	d.firstRoot = first.Raw()
	d.step("The chain of roots")
	d.para("A root says whose keys count, and how many of them must sign. Each new root must be signed "+
		"by enough keys of the root before it, and by enough of its own. So whoever trusts root %d "+
		"can find the way to the newest, and nobody can add a root without a quorum of people.", first.Version())
	d.blank()
	d.line("root  in git since  by old root  by itself  signed by")
	for i, r := range roots {
		since, err := d.since(ctx, r.File.Path)
		if err != nil {
			return err
		}
		quorum := func(by *metadata.Document) metadata.Quorum {
			delegation, _ := by.Delegation(metadata.Root)
			return metadata.Check(delegation, r.Document)
		}
		own := quorum(r.Document)
		old, keys := "the first", own.Signed
		if i > 0 {
			before := quorum(roots[i-1].Document)
			old, keys = count(before), append(before.Signed[:len(before.Signed):len(before.Signed)], keys...)
		}
		d.hang(fmt.Sprintf("%4d  %-12s  %-11s  %-9s  ", r.Document.Version(), since.Format("2006-01-02"), old, count(own)), names(keys))
	}
	d.check("%d roots, each signed by enough keys of the one before it and of its own", len(roots))
	return nil
}

// count says how many signatures there are of how many needed.
func count(q metadata.Quorum) string { return fmt.Sprintf("%d of %d", q.Count, q.Threshold) }

// names says whose the keys are, each person once.
func names(keys []*metadata.Key) string {
	var list []string
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.Fingerprint()] {
			continue
		}
		seen[k.Fingerprint()] = true
		name := k.Holder()
		if name == "" {
			name = "key " + k.ID[:min(8, len(k.ID))]
		}
		if !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

func (d *audit) publish(ctx context.Context) error {
	p := d.published
	d.step("What is published, and in which order")
	d.para("Root delegates to three roles: targets lists files with their hashes and is signed by people; snapshot " +
		"lists the versions of all metadata, so that it cannot be mixed; timestamp says which snapshot is the newest, and " +
		"is signed by a machine every few days. Targets may delegate further.")
	d.blank()
	d.line("role                      version  expires     signatures  files")
	root := p.Root()
	row := func(role string, doc *metadata.Document, delegation metadata.Delegation) {
		files := ""
		if doc.Type() == metadata.Targets {
			files = fmt.Sprint(len(doc.Targets()))
		}
		d.line(strings.TrimRight(fmt.Sprintf("%-24s  %7d  %s  %-10s  %5s", shorten(visible(role), 24), doc.Version(), doc.Expires().Format("2006-01-02"),
			count(metadata.Check(delegation, doc)), files), " "))
	}
	for _, doc := range []*metadata.Document{root, p.Timestamp(), p.Snapshot()} {
		delegation, _ := root.Delegation(doc.Type())
		row(doc.Type(), doc, delegation)
	}
	for _, r := range p.Roles() {
		row(r.Role, r.Document, r.Delegation)
	}

	publishable, err := p.Publishable()
	if err != nil {
		return err
	}
	report, err := d.publishOnce(ctx, publishable)
	if err != nil {
		return err
	}
	wrote := report.Destinations[0].Written
	d.para("All of it goes into the directory published/ in an order that serves clients at every moment: "+
		"files, targets roles, snapshot, roots, and timestamp.json last, since everything else is reached "+
		"from it. A page for people follows. %d files were written.", len(wrote))
	if report, err = d.publishOnce(ctx, publishable); err != nil {
		return err
	}
	if report.Changed {
		return fmt.Errorf("publishing a second time wrote %d files, and nothing had changed", len(report.Destinations[0].Written))
	}
	d.check("nothing stands in the way of publishing this commit")
	d.check("publishing it again finds everything in place and writes nothing")
	return nil
}

func (d *audit) publishOnce(ctx context.Context, publishable repository.Publishable) (*publish.Report, error) {
	store, err := dir.Open(filepath.Join(d.dir, "published"), dir.Options{})
	if err != nil {
		return nil, err
	}
	return publish.Run(ctx, publish.Options{Commit: d.commit, Publishable: publishable,
		To: []publish.Destination{{URL: "file://" + filepath.ToSlash(store.Dir()), Store: store}}})
}

// walk lets a client that knows one root update and fetch a file.
func (d *audit) walk(ctx context.Context) error {
	first := d.published.Roots()[0].Document.Version()
	rootFile := filepath.Join(d.dir, fmt.Sprintf("%d.root.json", first))
	if err := os.WriteFile(rootFile, d.firstRoot, 0o644); err != nil {
		return err
	}
	site, err := serve(filepath.Join(d.dir, "published"))
	if err != nil {
		return err
	}
	defer site.close()
	c, err := d.client(ctx, site, "client", d.now)
	if err != nil {
		return err
	}
	d.step("A client that knows one file")
	d.para("A new client gets one file by a way that it trusts, as part of a program for instance: %d.root.json. "+
		"Everything else it fetches from %s, which it does not trust at all.", first, site.url)
	result, err := c.Refresh(ctx)
	if err != nil {
		return err
	}
	d.blank()
	d.hang("it asked for  ", asked(site.taken()))
	d.hang("it is now at  ", result.String())
	d.reached = result
	d.check("the client walked from root %d to root %d, each verified by the one before", first, result.Root().Version)
	d.check("timestamp v%d leads to snapshot v%d and targets v%d; none has expired", result.Timestamp.Version, result.Snapshot.Version, result.Targets.Version)
	if want := d.published.Timestamp().Version(); result.Timestamp.Version != want {
		return fmt.Errorf("the client is at timestamp v%d, and v%d was published", result.Timestamp.Version, want)
	}
	if d.artifact == nil {
		d.para("This repository lists no file, so there is nothing to fetch.")
		return nil
	}
	target := d.artifact.Target
	if path.Base(target) == "trusted_root.json" {
		d.para("Now for what all this is about: %s names the certificate authorities and the transparency logs that "+
			"Sigstore clients rely on. Whoever could change it could forge signatures.", visible(target))
	} else {
		d.para("This repository lists no trusted_root.json. The demo fetches %s instead.", visible(target))
	}
	got, err := c.Download(ctx, target, filepath.Join(d.dir, "client", "files"))
	if err != nil {
		return err
	}
	data, err := got.ReadFile()
	if err != nil {
		return err
	}
	want, err := d.repo.Git.Blob(ctx, d.artifact.File.OID)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, want) {
		return fmt.Errorf("%s differs from %s in git", got.File, d.artifact.File.Path)
	}
	sum := sha256.Sum256(data)
	d.blank()
	d.hang("file    ", d.inDir(got.File))
	d.hang("sha256  ", hex.EncodeToString(sum[:]))
	d.hang("listed  ", fmt.Sprintf("by role %s v%d", visible(got.Role()), got.Roles[len(got.Roles)-1].Version))
	if text := trustMaterial(data); text != "" {
		d.hang("names   ", text)
	}
	d.check("length and hash are those that the role's people have signed")
	d.check("its %d bytes are, byte for byte, %s in git", len(data), visible(d.repo.Path(d.artifact.File.Path)))
	return nil
}

// client is a client of the site that trusts the first root and nothing else. It
// keeps what it has verified in a folder of its own.
func (d *audit) client(ctx context.Context, s *site, folder string, now time.Time) (*client.Client, error) {
	cache := filepath.Join(d.dir, folder, "metadata")
	if err := client.Init(ctx, cache, d.firstRoot); err != nil {
		return nil, err
	}
	return client.New(client.Options{CacheDir: cache, MetadataURL: s.url + "/metadata", TargetsURL: s.url + "/targets", Now: func() time.Time { return now }})
}

// asked lists the files that were asked for, runs of roots in short.
func asked(files []string) string {
	var list []string
	for i := 0; i < len(files); i++ {
		run := i
		for run+1 < len(files) && strings.HasSuffix(files[run+1], ".root.json") && strings.HasSuffix(files[i], ".root.json") {
			run++
		}
		if run > i+2 { // all but the last, which is the one that was not there
			list = append(list, files[i]+" to "+files[run-1])
			i = run
		}
		list = append(list, files[i])
	}
	for i, f := range list {
		if strings.HasSuffix(f, ".root.json") && !strings.Contains(f, " ") && (i+1 == len(list) || !strings.Contains(list[i+1], ".root.json")) {
			list[i] = f + " (not there, so the root before is the newest)"
		}
	}
	return strings.Join(list, ", ")
}

// trustMaterial says what a trusted_root.json names.
func trustMaterial(data []byte) string {
	var root struct {
		MediaType              string            `json:"mediaType"`
		TLogs                  []json.RawMessage `json:"tlogs"`
		CertificateAuthorities []json.RawMessage `json:"certificateAuthorities"`
		CTLogs                 []json.RawMessage `json:"ctlogs"`
		TimestampAuthorities   []json.RawMessage `json:"timestampAuthorities"`
	}
	if json.Unmarshal(data, &root) != nil || !strings.Contains(root.MediaType, "trustedroot") {
		return ""
	}
	return fmt.Sprintf("certificate authorities: %d, transparency logs: %d, certificate logs: %d, timestamp authorities: %d",
		len(root.CertificateAuthorities), len(root.TLogs), len(root.CTLogs), len(root.TimestampAuthorities))
}

// tamper changes single bytes of what was published, each in a copy of its own,
// and lets the same kind of client try.
func (d *audit) tamper(ctx context.Context) error {
	d.step("One byte is changed")
	d.para("Suppose that somebody controls the web server, or sits on the line. Each attempt is a copy of " +
		"published/ with one byte changed, and a new client that knows the same one root.")

	if d.artifact != nil {
		err := d.attempt(ctx, attempt{
			folder: "tampered-file", file: "targets/" + d.artifact.Names[0], change: flipMiddle,
			story: "a byte in the middle of the file itself",
			why:   "The signed list says how long the file is and what its hash is. The client keeps nothing of it.",
			is:    func(err error) bool { return errors.As(err, new(*client.HashError)) },
		})
		if err != nil {
			return err
		}
	}
	err := d.attempt(ctx, attempt{
		folder: "tampered-timestamp", file: "metadata/timestamp.json", change: nextVersion,
		story: "the version in timestamp.json, as if there were a newer state",
		why:   "The signature is over every byte that says something, and only the machine's key can make one.",
		is:    func(err error) bool { return errors.As(err, new(*client.QuorumError)) },
	})
	if err != nil {
		return err
	}
	if roots := d.published.Roots(); len(roots) > 1 {
		err := d.attempt(ctx, attempt{
			folder: "tampered-root", file: fmt.Sprintf("metadata/%d.root.json", roots[len(roots)-1].Document.Version()), change: lowerThreshold,
			story: "the newest root, as if fewer people could sign the next one",
			why:   "A quorum of people signed the root as it was. The client stays with the root before.",
			is:    func(err error) bool { return errors.As(err, new(*client.QuorumError)) },
		})
		if err != nil {
			return err
		}
	}
	return d.freeze(ctx)
}

type attempt struct {
	folder string // of the copy
	file   string // the file that is changed
	change func([]byte) (int, byte)
	story  string
	why    string
	is     func(error) bool // the refusal that is expected
}

func (d *audit) attempt(ctx context.Context, a attempt) error {
	copied := filepath.Join(d.dir, a.folder)
	if err := os.CopyFS(filepath.Join(copied, "published"), os.DirFS(filepath.Join(d.dir, "published"))); err != nil {
		return err
	}
	name := filepath.Join(copied, "published", filepath.FromSlash(a.file))
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	at, to := a.change(data)
	if at < 0 {
		return nil // there is no such byte in this repository's file
	}
	from := data[at]
	data[at] = to
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	site, err := serve(filepath.Join(copied, "published"))
	if err != nil {
		return err
	}
	defer site.close()
	c, err := d.client(ctx, site, filepath.Join(a.folder, "client"), d.now)
	if err != nil {
		return err
	}
	_, err = c.Refresh(ctx)
	if err == nil && d.artifact != nil {
		_, err = c.Download(ctx, d.artifact.Target, filepath.Join(copied, "client", "files"))
	}
	if err == nil || !a.is(err) {
		return fmt.Errorf("%s was changed at byte %d, and a client did not refuse it as it should: %w", a.file, at, errOr(err))
	}
	d.blank()
	d.hang("changed  ", a.story)
	d.hang("         ", fmt.Sprintf("%s, byte %d: %q became %q", d.inDir(name), at, from, to))
	d.hang("client   ", strings.ReplaceAll(err.Error(), site.url+"/", ""))
	d.para("%s", a.why)
	d.refused()
	return nil
}

func (d *audit) refused() {
	d.refusals++
	d.check("refused")
}

func errOr(err error) error {
	if err == nil {
		return errors.New("it accepted everything")
	}
	return err
}

// freeze serves the very same bytes, later.
func (d *audit) freeze(ctx context.Context) error {
	site, err := serve(filepath.Join(d.dir, "published"))
	if err != nil {
		return err
	}
	defer site.close()
	later := d.published.Timestamp().Expires().Add(time.Hour)
	c, err := d.client(ctx, site, "client-later", later)
	if err != nil {
		return err
	}
	if _, err = c.Refresh(ctx); !errors.As(err, new(*client.ExpiredError)) {
		return fmt.Errorf("a client accepts the repository at %s, when its timestamp has expired: %w", later.Format(time.RFC3339), errOr(err))
	}
	d.blank()
	d.hang("changed  ", fmt.Sprintf("nothing, for %s: somebody goes on serving this state and hides all that follows", days(later.Sub(d.now))))
	d.hang("client   ", strings.ReplaceAll(err.Error(), site.url+"/", ""))
	d.para("That is why the timestamp lives so short: nobody can hide a new version for longer.")
	d.refused()
	return nil
}

func days(t time.Duration) string {
	if n := int(t.Hours() / 24); n > 1 {
		return fmt.Sprintf("%d days", n)
	}
	return t.String()
}

// flipMiddle changes a byte in the middle: a letter or a digit into another.
func flipMiddle(data []byte) (int, byte) {
	for at := len(data) / 2; at < len(data); at++ {
		switch c := data[at]; {
		case c >= 'a' && c < 'z', c >= 'A' && c < 'Z', c >= '0' && c < '9':
			return at, c + 1
		}
	}
	if len(data) == 0 {
		return -1, 0
	}
	return len(data) / 2, data[len(data)/2] ^ 1
}

// nextVersion adds one to the version.
func nextVersion(data []byte) (int, byte) {
	at := lastDigit(data, `"spec_version": `, `"version": `)
	if at < 0 || data[at] == '9' { // nine and one would be two bytes
		return flipMiddle(data)
	}
	return at, data[at] + 1
}

// lowerThreshold takes one from the number of people who must sign a root.
func lowerThreshold(data []byte) (int, byte) {
	at := lastDigit(data, `"root": {`, `"threshold": `)
	if at < 0 || data[at] == '0' {
		return flipMiddle(data)
	}
	return at, data[at] - 1
}

// lastDigit finds the number behind the first of labels and, after it, the next
// and so on, in the layout that people sign in; -1: there is none.
func lastDigit(data []byte, labels ...string) int {
	at := 0
	for _, label := range labels {
		i := bytes.Index(data[at:], []byte(label))
		if i < 0 {
			return -1
		}
		at += i + len(label)
	}
	end := at
	for end < len(data) && data[end] >= '0' && data[end] <= '9' {
		end++
	}
	if end == at {
		return -1
	}
	return end - 1
}

func (d *audit) end(context.Context) error {
	d.step("In short")
	got := ""
	if d.artifact != nil {
		got = fmt.Sprintf(" It has %s, byte for byte as it is in git.", visible(d.artifact.Target))
	}
	d.para("From root v%d alone a client has reached root v%d and timestamp v%d.%s %d attempts to deceive it have failed.",
		d.reached.Roots[0].Version, d.reached.Root().Version, d.reached.Timestamp.Version, got, d.refusals)
	d.para("What is left to look at, in %s:", d.dir)
	d.blank()
	first := fmt.Sprintf("%d.root.json", d.published.Roots()[0].Document.Version())
	for _, e := range []struct{ name, what string }{
		{first, "the one file that the clients trusted"},
		{"published", "what was published; begin with metadata/index.html"},
		{"published.lock", "what keeps two publishers apart"},
		{"client/metadata", "what the client has verified, root_history among it"},
		{"client/files", "the file that it fetched"},
		{"tampered-file", "the attempts, each with what its client kept"},
		{"tampered-timestamp", ""},
		{"tampered-root", ""},
		{"client-later", "what the client at the later time kept"},
	} {
		if _, err := os.Stat(filepath.Join(d.dir, filepath.FromSlash(e.name))); err == nil {
			d.line(strings.TrimRight(fmt.Sprintf("%-20s  %s", e.name, e.what), " "))
		}
	}
	if d.artifact != nil {
		d.para("The same with the client program, run in that directory:")
		d.blank()
		d.line(`tufops-client --metadata-dir mine init ` + first)
		d.line(`tufops-client --metadata-dir mine --time ` + d.now.Format(time.RFC3339) + ` \`)
		d.line(`  --metadata-url "file://$PWD/published/metadata" \`)
		d.line(`  --target-base-url "file://$PWD/published/targets" \`)
		d.line(`  --target-name ` + quoted(d.artifact.Target) + ` --target-dir mine download`)
	}
	return nil
}

func (d *audit) inDir(name string) string {
	if rel, err := filepath.Rel(d.dir, name); err == nil {
		return filepath.ToSlash(rel)
	}
	return name
}

// site is a web server on loopback.
type site struct {
	url    string
	server *http.Server

	mu       sync.Mutex
	requests []string
}

func serve(folder string) (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve on loopback: %w", err)
	}
	s := &site{url: "http://" + l.Addr().String()}
	files := http.FileServer(http.Dir(folder))
	s.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, path.Base(r.URL.Path))
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	})}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

func (s *site) close() { _ = s.server.Close() }

// taken are the files that were asked for so far.
func (s *site) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}
