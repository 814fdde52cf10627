package publish

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// The folders of a destination.
const (
	metadataFolder = "metadata/"
	targetsFolder  = "targets/"
)

// ObjectName is where a file stands at a destination.
func ObjectName(f File) string {
	if f.Class == Artifact {
		return targetsFolder + f.Name
	}
	return metadataFolder + f.Name
}

// live is what a destination shows.
type live struct {
	timestamp object
	pages     []livePage
	current   bool // timestamp and pages are those of this commit

	missing []File // of the files that never change, and those resigned; in the tree's order
	altered []string
	// resigned are targets roles that are there with the same content and other
	// signatures: whoever joins a role signs its present version. They are written
	// again, over the very version that was read.
	resigned map[string]Version
	roots    []*metadata.Document // those of our roots that are there, ascending
	foreign  *ForeignRootError

	// valid is the live timestamp, if it counts. It counts under the newest of
	// our roots, or under the newest live one if that has other online keys.
	valid *metadata.Document
	anew  bool // it counts only under the live root: its versions do not bind ours

	// snapshot and targets are what valid leads to; nil where it leads nowhere.
	snapshot, targets *metadata.Document

	recovered bool // versions that ours go back from were given up by a person
}

func (l *live) root() *metadata.Document {
	var last *metadata.Document
	for _, root := range l.roots {
		if last != nil && root.Version() != last.Version()+1 {
			break
		}
		last = root
	}
	return last
}

// livePage is one of the pages for people and machines.
type livePage struct {
	object
	drawing
	name  string
	same  bool // it says what ours would
	leave bool // see [publisher.late]
}

// object is a small file as it was read; its version is empty where there is
// none.
type object struct {
	data    []byte
	version Version
}

// get reads a file of at most max bytes; of one that is longer only so much,
// since it is not ours.
func (p *publisher) get(ctx context.Context, name string, max int64) (object, error) {
	rd, v, err := p.from.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return object{}, nil
	}
	if err != nil {
		return object{}, err
	}
	defer rd.Close()
	data, err := io.ReadAll(io.LimitReader(rd, max+1))
	if err != nil {
		return object{}, fmt.Errorf("read %s: %w", name, err)
	}
	return object{data: data, version: v}, nil
}

// look reads the files that change under one name. All else is written before
// the timestamp, and the pages after it; so if these are as they should be,
// everything is.
func (p *publisher) look(ctx context.Context) (*live, error) {
	l := &live{}
	var err error
	for _, f := range p.tree.files {
		switch f.Class {
		case Timestamp:
			if l.timestamp, err = p.get(ctx, ObjectName(f), client.TimestampMaxLength); err != nil {
				return nil, err
			}
			l.current = bytes.Equal(l.timestamp.data, f.Data)
		case Page:
			page, err := p.get(ctx, ObjectName(f), maxPage(f))
			if err != nil {
				return nil, err
			}
			l.pages = append(l.pages, livePage{object: page, name: f.Name, drawing: drawingOf(f.Name, page.data)})
		}
	}
	for i := range l.pages {
		if l.pages[i].same, err = p.samePage(ctx, l.pages[i]); err != nil {
			return nil, err
		}
		page, past := &l.pages[i], false
		if !page.same && bytes.Equal(l.timestamp.data, p.published().Timestamp().Raw()) {
			if page.leave, past, err = p.late(ctx, page.drawing); err != nil {
				return nil, err
			}
		}
		l.current = l.current && (page.same || past && !bytes.HasPrefix(page.data, []byte(deleting)))
	}
	return l, nil
}

// late reports whether this run leaves a page alone that stands beside its own
// timestamp: the commit of the page comes after ours, so all that we have is past; or
// it is not known here, and may. What a stranger makes up stays until the timestamp is
// renewed.
func (p *publisher) late(ctx context.Context, page drawing) (leave, past bool, err error) {
	theirs, ours := git.OID(page.Commit), p.options.Commit
	if theirs == "" || theirs == ours {
		return false, false, nil
	}
	repo := p.published().Repository().Git
	if _, err := repo.Commit(ctx, theirs); err != nil {
		if ctx.Err() != nil {
			return false, false, ctx.Err()
		}
		p.note(NotePageLeft, "the status page there is of commit %.12s, which is not known here: it is left alone until the timestamp is renewed", theirs)
		return true, false, nil
	}
	past, err = repo.IsAncestor(ctx, ours, theirs)
	return past, past, err
}

// samePage reports whether a live page is ours but for the time at which it was
// made: to run again later is no change. Of status.json it may also be that of an
// earlier commit which says the same: then no more than the timestamp was renewed.
func (p *publisher) samePage(ctx context.Context, live livePage) (bool, error) {
	if live.version == "" {
		return false, nil
	}
	facts := p.tree.status
	facts.Generated = live.Generated
	if live.name == statusName && live.Commit != "" {
		facts.Commit = live.Commit
	}
	want, err := draw(live.name, facts)
	if err != nil || !bytes.Equal(want, live.data) || facts.Commit == p.tree.status.Commit {
		return err == nil && bytes.Equal(want, live.data), err
	}
	// Not what somebody has made up: a commit that ours came after. Where that
	// cannot be told the page is written anew.
	before, err := p.published().Repository().Git.IsAncestor(ctx, git.OID(facts.Commit), p.options.Commit)
	return err == nil && before, ctx.Err()
}

// examine compares everything that never changes, and works out which live
// timestamp ours has to follow.
func (p *publisher) examine(ctx context.Context, l *live) error {
	there := map[string]Object{}
	for _, folder := range []string{metadataFolder, targetsFolder} {
		objects, err := p.from.List(ctx, folder)
		if err != nil {
			return err
		}
		for _, o := range objects {
			there[o.Name] = o
		}
	}
	var present []File
	var differ []File
	absent := map[string]bool{}
	for _, f := range p.tree.files {
		if f.Class == Timestamp || f.Class == Page {
			continue
		}
		switch o, ok := there[ObjectName(f)]; {
		case !ok:
			absent[ObjectName(f)] = true
		case o.Size != f.Size:
			differ = append(differ, f)
		default:
			present = append(present, f)
		}
	}
	others, err := p.compare(ctx, present, there)
	if err != nil {
		return err
	}
	differ = append(differ, others...)
	p.report.Present = len(present)
	l.resigned = map[string]Version{}
	for _, f := range differ {
		if err := p.examineDiffering(ctx, l, f); err != nil {
			return err
		}
	}
	slices.Sort(l.altered)
	for _, f := range p.tree.files {
		if _, again := l.resigned[ObjectName(f)]; again || absent[ObjectName(f)] {
			l.missing = append(l.missing, f)
		}
	}
	for _, r := range p.published().Roots() {
		if _, ok := there[metadataFolder+versioned(metadata.Root, r.Document)]; ok {
			l.roots = append(l.roots, r.Document)
		}
	}
	if err := p.examineNextRoot(ctx, l, there); err != nil {
		return err
	}
	p.examineTimestamp(l)
	p.report.Roles = p.roles(l.root(), l.valid)
	if err := p.follow(ctx, l); err != nil {
		return err
	}
	return p.guard(ctx, l)
}

// compare returns those of the files that differ from what is there, where the
// size is the same. A digest in the listing spares reading there; a deep run
// reads all the same.
func (p *publisher) compare(ctx context.Context, files []File, there map[string]Object) (differ []File, err error) {
	var mu sync.Mutex
	err = p.each(ctx, files, func(ctx context.Context, f File, ours io.Reader) error {
		name := ObjectName(f)
		sum := there[name].MD5
		listed := len(sum) == md5.Size && !p.options.Deep
		digest, content := md5.New(), sha256.New()
		if _, err := io.Copy(io.MultiWriter(digest, content), ours); err != nil {
			return fmt.Errorf("compare %s: %w", name, err)
		}
		// A digest that differs may be that of something else, such as of the object
		// as it is encrypted. Only its content accuses somebody of having altered it.
		same := listed && bytes.Equal(digest.Sum(nil), sum)
		if !same {
			theirs, _, err := p.from.Get(ctx, name)
			if errors.Is(err, fs.ErrNotExist) { // it was listed a moment ago
				return fmt.Errorf("compare %s: it is gone: %w", name, ErrChanged)
			}
			if err != nil {
				return fmt.Errorf("compare %s: %w", name, err)
			}
			defer theirs.Close()
			have := sha256.New()
			if _, err := io.Copy(have, theirs); err != nil {
				return fmt.Errorf("compare %s: %w", name, err)
			}
			same = bytes.Equal(have.Sum(nil), content.Sum(nil))
		}
		if !same {
			mu.Lock()
			defer mu.Unlock()
			differ = append(differ, f)
		}
		return nil
	})
	slices.SortFunc(differ, func(a, b File) int { return strings.Compare(ObjectName(a), ObjectName(b)) })
	return differ, err
}

// follow reads what the live timestamp leads to, as far as a client could.
func (p *publisher) follow(ctx context.Context, l *live) (err error) {
	if l.valid == nil {
		return nil
	}
	if l.snapshot, err = p.liveDocument(ctx, metadata.Snapshot, metadata.Snapshot, l.valid.Meta()["snapshot.json"].Version); err != nil || l.snapshot == nil {
		return err
	}
	l.targets, err = p.liveDocument(ctx, metadata.Targets, metadata.Targets, l.snapshot.Meta()["targets.json"].Version)
	return err
}

// examineDiffering tells a role whose signatures have changed from a file that
// somebody has altered.
func (p *publisher) examineDiffering(ctx context.Context, l *live, f File) error {
	name := ObjectName(f)
	if f.Class == TargetsRole {
		theirs, err := p.get(ctx, name, client.TargetsMaxLength)
		if err != nil {
			return err
		}
		ours, err := metadata.Parse(f.Data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		doc, err := metadata.Parse(theirs.data)
		if err == nil && bytes.Equal(doc.Payload(), ours.Payload()) && !slices.Equal(doc.Signatures(), ours.Signatures()) {
			l.resigned[name] = theirs.version
			p.note(NoteResigned, "%s is there with the same content and other signatures; it is written again, and caches may serve the old one for a while", name)
			return nil
		}
	}
	l.altered = append(l.altered, name)
	return nil
}

// examineNextRoot looks for a root after our newest: then the destination is
// ahead of us, or somebody has put a stumbling block there.
func (p *publisher) examineNextRoot(ctx context.Context, l *live, there map[string]Object) error {
	newest := p.published().Root()
	name := fmt.Sprintf("%s%d.root.json", metadataFolder, newest.Version()+1)
	if _, ok := there[name]; !ok {
		return nil
	}
	next, err := p.get(ctx, name, client.RootMaxLength)
	if err != nil {
		return err
	}
	doc, err := metadata.Parse(next.data)
	if err == nil && (doc.Type() != metadata.Root || doc.Version() != newest.Version()+1) {
		err = fmt.Errorf("it holds %s version %d", doc.Type(), doc.Version())
	}
	if err == nil {
		err = errors.Join(verifies(newest, metadata.Root, doc), verifies(doc, metadata.Root, doc))
	}
	if err != nil {
		l.foreign = &ForeignRootError{Name: name, Reason: err}
		return nil
	}
	return &NewerError{What: metadata.Root, Live: doc.Version(), Ours: newest.Version(), Commit: string(p.options.Commit), By: p.publishedBy(ctx, l, metadata.Root, doc.Version())}
}

func verifies(root *metadata.Document, role string, doc *metadata.Document) error {
	d, _ := root.Delegation(role)
	if q := metadata.Check(d, doc); !q.Met() {
		return fmt.Errorf("%s version %d has %d of %d signatures by the delegation of root version %d", role, doc.Version(), q.Count, q.Threshold, root.Version())
	}
	return nil
}

// examineTimestamp decides whether the live timestamp counts. Only a signature
// makes it count: whoever can write to the destination can put anything there.
func (p *publisher) examineTimestamp(l *live) {
	if l.timestamp.version == "" {
		return
	}
	newest := p.published().Root()
	doc, err := metadata.Parse(l.timestamp.data)
	if err == nil && doc.Type() != metadata.Timestamp {
		err = fmt.Errorf("it holds metadata of type %s", doc.Type())
	}
	if err == nil {
		if err = verifies(newest, metadata.Timestamp, doc); err == nil {
			l.valid = doc
			return
		}
		// Any live root: what stands between two of them may have been removed.
		if slices.ContainsFunc(l.roots, func(root *metadata.Document) bool { return verifies(root, metadata.Timestamp, doc) == nil }) {
			// Our root changes the online keys. Clients forget the versions that
			// the old ones have signed: it is how a repository recovers when the
			// online key was stolen.
			//
			// Spec: #update-root, step 11.
			l.valid, l.anew = doc, true
			if ours := p.published().Timestamp().Version(); doc.Version() >= ours {
				p.note(NoteRestarted, "the live timestamp has version %d and ours %d, but root version %d changes the online keys: with it, clients forget the old versions",
					doc.Version(), ours, newest.Version())
			}
			return
		}
	}
	p.note(NoteTimestampReplaced, "the live timestamp.json does not count and is replaced: %v", err)
}

// guard refuses to take clients back, unless a person names the version that is
// to be given up.
func (p *publisher) guard(ctx context.Context, l *live) error {
	pub, commit := p.published(), string(p.options.Commit)
	if l.valid == nil || l.anew || bytes.Equal(l.timestamp.data, pub.Timestamp().Raw()) {
		return nil
	}
	var refused error
	version := l.valid.Version()
	by := func(role string, version int64) string { return p.publishedBy(ctx, l, role, version) }
	if version == pub.Timestamp().Version() {
		refused = &SameVersionError{Version: version, Commit: commit, By: by(metadata.Timestamp, version)}
	} else {
		snapshot := l.snapshot
		if snapshot != nil && verifies(pub.Root(), metadata.Snapshot, snapshot) != nil {
			snapshot = nil // clients could not read it either
		}
		if newer := p.goesBack(l.valid, snapshot); newer != nil {
			newer.By = by(metadata.Timestamp, version)
			refused = newer
		}
	}
	switch give := p.options.RecoverFastForward; {
	case refused == nil || give == 0:
		return refused
	case give != version:
		return fmt.Errorf("%w; version %d was to be given up, and that is not it", refused, give)
	}
	l.recovered = true
	p.note(NoteRecovered, "timestamp version %d at the destination is given up, as was asked for: clients that have seen it refuse ours until a root changes the online keys", version)
	return nil
}

// publishedBy says for a person who published a version: the commit that the
// status page at the destination names, if it was drawn with the version, and who
// made the commit, if it is known here. It is what a stranger can write there, and
// decides nothing.
func (p *publisher) publishedBy(ctx context.Context, l *live, role string, version int64) string {
	var d drawing
	for _, page := range l.pages {
		if page.name == indexName {
			d = page.drawing
		}
	}
	if d.Versions[role] != version || d.Commit == "" {
		return "the status page there does not know this version, so it was signed or uploaded by hand, or a run is still at work"
	}
	text := fmt.Sprintf("the status page there names commit %.12s, built on %s", d.Commit, d.Generated.Format(metadata.TimeFormat))
	if c, err := p.published().Repository().Git.Commit(ctx, git.OID(d.Commit)); err == nil {
		subject, _, _ := strings.Cut(c.Message, "\n")
		text += fmt.Sprintf(" (%s: %s)", c.AuthorName, subject)
	}
	return text
}

var commitName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`) })

// goesBack reports what of a live timestamp and snapshot is newer than ours;
// nil: nothing, so clients that have them accept ours.
func (p *publisher) goesBack(timestamp, snapshot *metadata.Document) *NewerError {
	pub, commit := p.published(), string(p.options.Commit)
	if live, ours := timestamp.Version(), pub.Timestamp().Version(); live > ours {
		return &NewerError{What: metadata.Timestamp, Live: live, Ours: ours, Commit: commit}
	}
	if live, ours := timestamp.Meta()["snapshot.json"].Version, pub.Snapshot().Version(); live > ours {
		return &NewerError{What: metadata.Snapshot, Live: live, Ours: ours, Commit: commit}
	}
	if snapshot == nil {
		return nil
	}
	for _, file := range slices.Sorted(maps.Keys(snapshot.Meta())) {
		live, ours := snapshot.Meta()[file].Version, pub.Snapshot().Meta()[file].Version
		if live > ours {
			return &NewerError{What: strings.TrimSuffix(file, ".json"), Live: live, Ours: ours, Commit: commit}
		}
	}
	return nil
}

// liveDocument reads a versioned file; nil where there is none that makes
// sense.
func (p *publisher) liveDocument(ctx context.Context, role, kind string, version int64) (*metadata.Document, error) {
	o, err := p.get(ctx, fmt.Sprintf("%s%d.%s.json", metadataFolder, version, role), client.TargetsMaxLength)
	if err != nil || o.version == "" {
		return nil, err
	}
	doc, err := metadata.Parse(o.data)
	if err != nil || doc.Type() != kind || doc.Version() != version {
		return nil, nil
	}
	return doc, nil
}

// plan is what is to be written, in order.
type plan struct {
	live     *live
	files    []File
	was      map[string]Version // of the files that change under one name
	readBack bool               // the timestamp and what it leads to, before the first root
	window   bool               // clients fail between the first root and the timestamp
	content  bool               // clients get more than a fresh timestamp, or a fresh snapshot of the same
	root     *metadata.Document // the newest that clients get
}

// timestampOnly reports whether the timestamp is all that clients get.
func (pl *plan) timestampOnly() bool {
	return !slices.ContainsFunc(pl.files, func(f File) bool { return f.Class != Timestamp && f.Class != Page })
}

// plan puts what is missing into an order in which every state between two
// writes serves a client at the live root and one at the new root.
func (p *publisher) plan(l *live) (*plan, error) {
	if stop := slices.DeleteFunc(slices.Clone(l.altered), func(name string) bool { return name[:len(targetsFolder)] == targetsFolder }); len(stop) > 0 {
		return nil, &DiffersError{Names: stop, Stopped: true}
	}
	order := p.order(l)
	pl := &plan{live: l, was: map[string]Version{}, readBack: order == timestampFirst, window: order == together, root: p.published().Root()}
	for name, version := range l.resigned {
		pl.was[name] = version
	}
	var before, roots, timestamp []File
	for _, f := range l.missing {
		if f.Class == Root {
			roots = append(roots, f)
		} else {
			before = append(before, f)
		}
	}
	var pages []File
	livePages := l.pages // in the tree's order
	for _, f := range p.tree.files {
		switch f.Class {
		case Timestamp:
			pl.was[ObjectName(f)] = l.timestamp.version
			if !bytes.Equal(l.timestamp.data, f.Data) {
				timestamp = append(timestamp, f)
			} else {
				p.report.Present++
			}
		case Page:
			page := livePages[0]
			livePages = livePages[1:]
			pl.was[ObjectName(f)] = page.version
			switch {
			case page.same:
				p.report.Present++
			case !page.leave:
				pages = append(pages, f)
			}
		}
	}
	if len(l.altered) > 0 || l.foreign != nil || p.beside(l) {
		pages = nil // so that the next run looks at everything again
	}
	// From the newest back: a client at the live root finds either none of them or
	// all, and cannot stop at one that the next was made to cure.
	slices.Reverse(roots)
	if order == timestampFirst {
		pl.files = slices.Concat(before, timestamp, roots, pages)
	} else {
		pl.files = slices.Concat(before, roots, timestamp, pages)
	}
	pl.content = p.content(l, pl.files)
	return pl, nil
}

// content reports whether files bring clients more than a fresh timestamp, or a
// fresh snapshot of the same.
func (p *publisher) content(l *live, files []File) bool {
	return slices.ContainsFunc(files, func(f File) bool {
		switch f.Class {
		case Timestamp, Page:
			return false
		case Snapshot:
			return l.snapshot == nil || !sameList(l.snapshot, p.published().Snapshot())
		}
		return true
	})
}

// withoutRoots is what a plan brings to clients that stay at the live root; nil
// where that is nothing, or where it is not new roots that the plan has besides.
func (p *publisher) withoutRoots(pl *plan) *plan {
	l := pl.live
	if len(l.roots) == 0 || l.root() != l.roots[len(l.roots)-1] || l.root().Version() == pl.root.Version() {
		return nil
	}
	less := *pl
	less.root, less.readBack, less.window = l.root(), false, false
	// Without pages, so that the next run looks at everything again.
	less.files = slices.DeleteFunc(slices.Clone(pl.files), func(f File) bool { return f.Class == Root || f.Class == Page })
	less.content = p.content(l, less.files)
	if len(less.files) == 0 {
		return nil
	}
	return &less
}

// beside reports whether somebody may be deleting files beside the timestamp that
// this run replaces, see [deleting].
func (p *publisher) beside(l *live) bool {
	mark := besidePrune(p.began)
	return !bytes.Equal(p.began, p.published().Timestamp().Raw()) &&
		slices.ContainsFunc(l.pages, func(page livePage) bool { return bytes.HasPrefix(page.data, []byte(mark)) })
}

// sameList reports whether two snapshots list the same.
func sameList(a, b *metadata.Document) bool {
	return bytes.Equal(metadata.Write(metadata.Object{"meta": a.Signed()["meta"]}), metadata.Write(metadata.Object{"meta": b.Signed()["meta"]}))
}

// order says when new roots are written.
type order int

const (
	// rootsFirst is the normal case: what is live verifies under the new roots.
	rootsFirst order = iota
	// timestampFirst is for a rotation whose first timestamp and snapshot the
	// outgoing key has signed too: they verify under the live root, but what is
	// live would not verify under the new one.
	timestampFirst
	// together is for a rotation where neither holds: roots and timestamp right
	// after each other, and for that moment clients fail.
	together
)

// order looks for the order in which no client fails. What counts for it are
// the keys of timestamp, snapshot and targets: delegated roles do not depend on
// root.
func (p *publisher) order(l *live) order {
	if l.root() == nil || l.valid == nil || l.snapshot == nil || l.targets == nil {
		return rootsFirst // no client can update from here anyway
	}
	before := []*metadata.Document{l.valid, l.snapshot, l.targets}
	pub := p.published()
	after := []*metadata.Document{pub.Timestamp(), pub.Snapshot()}
	for _, r := range pub.Roles() {
		if r.Role == metadata.Targets {
			after = append(after, r.Document)
		}
	}
	serves := func(root *metadata.Document, docs []*metadata.Document) bool {
		for _, doc := range docs {
			if verifies(root, doc.Type(), doc) != nil {
				return false
			}
		}
		return true
	}
	// Roots are written from the newest back, so the first of them that clients at
	// the live root can reach is the newest: they stop at none in between.
	newest := pub.Root()
	liveServesNew := newest.Version() <= l.root().Version() || serves(newest, before)
	newServesAll := serves(l.root(), after) && serves(newest, after)
	why := ""
	switch newer := p.goesBack(l.valid, l.snapshot); {
	case liveServesNew:
		return rootsFirst
	case !newServesAll:
		why = "the outgoing key has not signed it"
	case newer != nil:
		why = fmt.Sprintf("it goes back from %s version %d", newer.What, newer.Live)
	default:
		p.note(NoteTimestampFirst, "root version %d does not accept what is live; timestamp version %d, which old and new root accept, goes out before it",
			newest.Version(), pub.Timestamp().Version())
		return timestampFirst
	}
	p.note(NoteWindow, "root version %d does not accept what is live, and clients at root version %d would not accept timestamp version %d before it (%s): "+
		"roots and timestamp go together, and a client that updates just in between fails once",
		newest.Version(), l.root().Version(), pub.Timestamp().Version(), why)
	return together
}

// write carries the plan out. The comments say what a stop right there leaves;
// in each case the next run goes on from what it finds.
func (p *publisher) write(ctx context.Context, pl *plan) error {
	// Before the timestamp: files that no client asks for yet, under names that
	// nothing else will ever have; and roots that lead on from the live one.
	rest := pl.files
	for len(rest) > 0 && rest[0].Class != Page {
		n := 1
		for n < len(rest) && rest[n].Class == rest[0].Class {
			n++
		}
		if err := p.writeClass(ctx, pl, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if pl.content {
		if err := p.stillThere(ctx, pl); err != nil {
			return err
		}
	}
	// After it: clients have the new state, only people's pages are old.
	if len(rest) == 0 {
		return nil
	}
	return p.writeClass(ctx, pl, rest)
}

// stillThere reports, as [ErrChanged], that a file is gone which was there or was
// written: somebody has pruned what nothing listed until now. Once the timestamp
// is out nobody takes away any more, see [publisher.remove]. It is asked before the
// pages, by which the next run knows whether to look.
func (p *publisher) stillThere(ctx context.Context, pl *plan) error {
	if p.to == nil {
		return nil
	}
	there := map[string]bool{}
	for _, folder := range []string{metadataFolder, targetsFolder} {
		objects, err := p.from.List(ctx, folder)
		if err != nil {
			return err
		}
		for _, o := range objects {
			there[o.Name] = true
		}
	}
	for _, r := range p.published().Roots() {
		if r.Document.Version() > pl.root.Version() {
			there[metadataFolder+versioned(metadata.Root, r.Document)] = true // held back
		}
	}
	for _, f := range p.tree.files {
		if name := ObjectName(f); f.Class != Page && !there[name] {
			return fmt.Errorf("%s is gone: %w", name, ErrChanged)
		}
	}
	return nil
}

// writeClass writes files of one class: artifacts and targets roles, which no
// client asks for before the timestamp leads to them, several at a time, and the
// others one after the other.
func (p *publisher) writeClass(ctx context.Context, pl *plan, files []File) error {
	put := func(ctx context.Context, f File, rd io.Reader) error {
		name := ObjectName(f)
		if p.to == nil {
			p.wrote(name, f.Size, len(pl.files))
			return nil
		}
		if err := p.to.Put(ctx, upload(f, rd, pl.was[name])); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		p.wrote(name, f.Size, len(pl.files))
		if f.Class == Timestamp && pl.readBack {
			// Clients at the live root have the new timestamp now. The roots
			// that put an end to the old one follow only if it can be read.
			return p.confirm(ctx, pl)
		}
		return nil
	}
	if class := files[0].Class; class == Artifact || class == TargetsRole {
		first := len(p.report.Written)
		err := p.each(ctx, files, put)
		position := map[string]int{}
		for i, f := range files {
			position[ObjectName(f)] = i
		}
		slices.SortFunc(p.report.Written[first:], func(a, b WrittenFile) int { return position[a.Name] - position[b.Name] })
		return err
	}
	return p.tree.Read(ctx, files, func(f File, rd io.Reader) error { return put(ctx, f, rd) })
}

// standing is what is wrong at the destination and keeps nothing from being
// published.
func (l *live) standing() error {
	var errs []error
	if len(l.altered) > 0 {
		errs = append(errs, &DiffersError{Names: l.altered})
	}
	if l.foreign != nil {
		errs = append(errs, l.foreign)
	}
	return errors.Join(errs...)
}

// maxHeld is the size, in bytes, up to which a file is held in memory while
// others are worked on. A larger one is streamed, and others wait for it.
const maxHeld = 1 << 20

// each calls fn with the content of each of the files, several at a time. The
// first failure ends it, and is returned once all calls have.
func (p *publisher) each(ctx context.Context, files []File, fn func(ctx context.Context, f File, rd io.Reader) error) error {
	parallel := p.options.Parallel
	if parallel == 0 {
		parallel = DefaultParallel
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	err := p.tree.Read(ctx, files, func(f File, rd io.Reader) error {
		if f.Size > maxHeld {
			return fn(ctx, f, rd)
		}
		data := make([]byte, f.Size)
		if _, err := io.ReadFull(rd, data); err != nil {
			return fmt.Errorf("read %s: %w", ObjectName(f), err)
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := fn(ctx, f, bytes.NewReader(data)); err != nil {
				stop(err)
			}
		})
		return nil
	})
	if err != nil {
		stop(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (p *publisher) wrote(name string, size int64, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Changed = true
	p.report.Written = append(p.report.Written, WrittenFile{Name: name, Bytes: size})
	if p.to != nil && p.options.Progress != nil {
		p.options.Progress(Progress{URL: p.report.URL, Done: len(p.report.Written) - p.already, Of: of})
	}
}

// confirm reads back the timestamp and what it leads to.
func (p *publisher) confirm(ctx context.Context, pl *plan) error {
	for _, f := range p.tree.files {
		if f.Class != Timestamp && f.Class != Snapshot && f.Class != TargetsRole {
			continue
		}
		got, err := p.get(ctx, ObjectName(f), f.Size)
		if err != nil {
			return fmt.Errorf("read back %s: %w", ObjectName(f), err)
		}
		if !bytes.Equal(got.data, f.Data) {
			return fmt.Errorf("read back %s: it is not what was written; the new roots were not published", ObjectName(f))
		}
	}
	// A cache that still shows the old timestamp would break whoever gets the
	// new root.
	if err := p.readBack(ctx, pl.live.root().Version(), nil); err != nil {
		return fmt.Errorf("%w; the new roots were not published", err)
	}
	return nil
}

// equal reports whether two streams have the same content.
func equal(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		endA := errA == io.EOF || errA == io.ErrUnexpectedEOF
		endB := errB == io.EOF || errB == io.ErrUnexpectedEOF
		switch {
		case errA != nil && !endA:
			return false, errA
		case errB != nil && !endB:
			return false, errB
		case !bytes.Equal(bufA[:n], bufB[:m]) || endA != endB:
			return false, nil
		case endA:
			return true, nil
		}
	}
}
