package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// reviewText says what signing an event would approve, from git objects alone.
func (sn *session) reviewText(ctx context.Context, pl *plan) *page {
	p, e, s := &page{}, pl.event, pl.status
	p.line("Signing event %s", e.Name)
	if pl.head != pl.start.head {
		p.line("  your change, not pushed yet, on known-good %.12s", e.MergeBase)
	} else {
		p.line("  commit %.12s, known-good %.12s", e.Head, e.MergeBase)
	}
	if pl.policy.AllowLegacyKeyIDs {
		p.line("  keyids that are not the hash of their key are allowed here")
	}
	for _, note := range pl.notes {
		p.fold(4, "  %s", note)
	}
	reviewLowered(p, pl.policy, pl.agreed)
	if len(s.Roles) == 0 {
		p.blank()
		p.line("The event changes no role yet.")
	}
	for _, r := range s.Roles {
		p.blank()
		reviewRole(ctx, p, e, r, sn.Now)
	}
	if len(s.Findings) > 0 {
		p.blank()
		p.line("The event as a whole")
		reviewFindings(p, s.Findings)
	}
	for _, q := range s.Silenced {
		p.blank()
		p.fold(4, "Not shown, by .tufops.yaml on main: %d of %s: %s", q.Findings, q.Rule, q.Reason)
	}
	for _, o := range s.Overridden {
		p.blank()
		p.fold(4, "Commit %.12s, by %s, says that they signed in spite of %s: %s. Nothing is decided by that; ask them.", o.Commit, o.Author, o.Rule, o.Reason)
	}
	p.blank()
	for _, rule := range slices.Sorted(maps.Keys(sn.Override)) {
		p.fold(4, "You override %s: %s. That lets you sign; it changes nothing for anybody else, and the event stays incomplete while the error stands.", rule, sn.Override[rule])
	}
	reviewAsked(p, e, s, sn.Config.User, pl.asks)
	told := map[string]bool{} // who signs with two keys is told once
	for _, a := range pl.asks {
		if told[a.role] {
			continue
		}
		told[a.role] = true
		for _, other := range pl.memory.others(a) {
			p.fold(4, "  warning: on %s you signed another %s v%d, in %s: sha256 %s. Clients take whichever gets enough signatures first.",
				date(other.Time), a.role, a.version, other.Event, other.SHA256)
		}
	}
	return p
}

func reviewRole(ctx context.Context, p *page, e *repository.Event, r repository.RoleStatus, now time.Time) {
	doc, err := e.Proposed.Document(r.Role)
	if err != nil {
		p.line("%s: unreadable", r.Role)
		reviewFindings(p, r.Findings)
		return
	}
	known := r.Baseline()
	switch {
	case known == nil && r.PreviousVersion > 0:
		p.line("%s v%d -> v%d; nobody has ever signed the version before, so all of it is shown as new", r.Role, r.PreviousVersion, r.Version)
	case known == nil:
		p.line("%s v%d, new", r.Role, r.Version)
	case bytes.Equal(known.Payload(), doc.Payload()):
		p.line("%s v%d, content unchanged", r.Role, r.Version)
	default:
		p.line("%s v%d -> v%d", r.Role, r.PreviousVersion, r.Version)
	}
	left := doc.Expires().Sub(now)
	p.line("  expires     %s (in %d days)", doc.Expires().Format("2006-01-02 15:04 MST"), int64((left+12*time.Hour)/(24*time.Hour)))
	now2, before := metadata.PeriodOf(doc.Signed()), metadata.Period{}
	if known != nil {
		before = metadata.PeriodOf(known.Signed())
	}
	p.line("  periods     %s", periods(now2, before, known != nil))
	p.line("  sha256 of what is signed")
	p.line("        %s", digest(doc.Payload()))
	reviewDelegations(p, e, doc, known)
	reviewArtifacts(ctx, p, e, doc, known, r.Artifacts)
	for _, name := range otherFields(signedOf(known), doc.Signed(), signedFields) {
		p.line("  other field %s changes", name)
	}
	reviewSignatures(p, r)
	reviewFindings(p, r.Findings)
}

func signedOf(doc *metadata.Document) metadata.Object {
	if doc == nil {
		return nil
	}
	return doc.Signed()
}

func digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

func periods(p, before metadata.Period, had bool) string {
	days := func(n int64) string {
		if n == 1 {
			return "1 day"
		}
		return fmt.Sprintf("%d days", n)
	}
	text := fmt.Sprintf("%s, re-signed from %s before the end", days(p.Expiry), days(p.Signing))
	if had && (p.Expiry != before.Expiry || p.Signing != before.Signing) {
		text += fmt.Sprintf(" (was %d, %d)", before.Expiry, before.Signing)
	}
	return text
}

// The fields that the review shows by themselves; a change of any other is
// named at least.
var (
	signedFields = []string{
		"version", "expires", "keys", "roles", "targets", "delegations",
		metadata.FieldExpiryPeriod, metadata.FieldSigningPeriod,
	}
	delegationFields = []string{
		"name", "keyids", "threshold", "paths", "path_hash_prefixes", "terminating",
		metadata.FieldExpiryPeriod, metadata.FieldSigningPeriod,
	}
)

// otherFields names the fields of an object that differ and are not shown
// elsewhere. Fields of a new object are no change but for those nobody knows.
func otherFields(before, after metadata.Object, shown []string) []string {
	var list []string
	for name := range after {
		if !slices.Contains(shown, name) && string(metadata.Write(before[name])) != string(metadata.Write(after[name])) {
			if before == nil && slices.Contains([]string{"_type", "spec_version", "consistent_snapshot"}, name) {
				continue
			}
			list = append(list, name)
		}
	}
	for name := range before {
		if _, still := after[name]; !still && !slices.Contains(shown, name) {
			list = append(list, name)
		}
	}
	sort.Strings(list)
	return list
}

// reviewDelegations shows what a root or targets document says of the roles it
// delegates to, and what it said before.
func reviewDelegations(p *page, e *repository.Event, doc, known *metadata.Document) {
	before := map[string]metadata.Delegation{}
	for _, d := range allDelegations(known) {
		before[d.Role] = d
	}
	after := map[string]bool{}
	for _, d := range allDelegations(doc) {
		after[d.Role] = true
		old, had := before[d.Role]
		reviewDelegation(p, d, old, had, e.Invites.To(d.Role))
	}
	for _, d := range allDelegations(known) {
		if !after[d.Role] {
			p.line("  role %s is no longer delegated", d.Role)
		}
	}
}

// allDelegations are the delegations of a document, hash bins as one.
func allDelegations(doc *metadata.Document) []metadata.Delegation {
	if doc == nil || doc.Delegations() == nil {
		return nil
	}
	list := append([]metadata.Delegation(nil), doc.Delegations().Roles...)
	if s := doc.Delegations().Succinct; s != nil {
		d := s.Delegation
		d.Role = fmt.Sprintf("%s-* (%d hash bits)", s.NamePrefix, s.BitLength)
		list = append(list, d)
	}
	return list
}

// sameKey reports whether two entries of a keys map are the same in every field.
func sameKey(a, b *metadata.Key) bool {
	return a != nil && b != nil && a.ID == b.ID && bytes.Equal(metadata.Write(a.Object), metadata.Write(b.Object))
}

func reviewDelegation(p *page, d, old metadata.Delegation, had bool, invited []string) {
	var gone, came []*metadata.Key
	for _, k := range keysOf(d) {
		if !slices.ContainsFunc(keysOf(old), func(o *metadata.Key) bool { return sameKey(o, k) }) {
			came = append(came, k)
		}
	}
	for _, k := range keysOf(old) {
		if !slices.ContainsFunc(keysOf(d), func(o *metadata.Key) bool { return sameKey(o, k) }) {
			gone = append(gone, k)
		}
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, k := range gone {
		add("    - %s", describeKey(k))
		add("        %s", k.ID)
	}
	for _, k := range came {
		add("    + %s", describeKey(k))
		add("        %s", k.ID)
	}
	for _, owner := range invited {
		add("    ? %s is invited and will bring a key", owner)
	}
	if had && old.Threshold != d.Threshold {
		add("    threshold %d -> %d", old.Threshold, d.Threshold)
	}
	now, before := metadata.PeriodOf(d.Object), metadata.PeriodOf(old.Object)
	if metadata.IsOnline(d.Role) && (!had || now.Expiry != before.Expiry || now.Signing != before.Signing) {
		add("    periods   %s", periods(now, before, had))
	}
	if !slices.Equal(d.Paths, old.Paths) {
		for _, path := range old.Paths {
			if !slices.Contains(d.Paths, path) {
				add("    - path %s", path)
			}
		}
		for _, path := range d.Paths {
			if !slices.Contains(old.Paths, path) {
				add("    + path %s", path)
			}
		}
	}
	if !slices.Equal(d.HashPrefixes, old.HashPrefixes) {
		add("    hash prefixes %s", strings.Join(d.HashPrefixes, " "))
	}
	if had && d.Terminating != old.Terminating {
		add("    terminating %v -> %v", old.Terminating, d.Terminating)
	}
	for _, name := range otherFields(old.Object, d.Object, delegationFields) {
		add("    other field %s changes", name)
	}
	people := holdersOf(d)
	for _, owner := range invited {
		people = append(people, owner+" (invited)")
	}
	if len(people) == 0 {
		people = []string{"nobody"}
	}
	who := fmt.Sprintf("%d of %s", d.Threshold, strings.Join(people, ", "))
	switch {
	case len(lines) == 0:
		p.fold(14, "  role %s is signed by %s, as before", d.Role, who)
		return
	case !had:
		p.fold(14, "  new role %s, to be signed by %s", d.Role, who)
	default:
		p.fold(14, "  role %s is signed by %s", d.Role, who)
	}
	for _, line := range lines {
		p.line("%s", line)
	}
}

// describeKey names a key's holder and kind.
func describeKey(k *metadata.Key) string {
	holder := k.Holder()
	if holder == "" {
		holder = "nobody's key"
	}
	if k.Unusable != nil {
		return fmt.Sprintf("%s, %s (cannot sign: %v)", holder, k.Type, k.Unusable)
	}
	return fmt.Sprintf("%s, %s", holder, k.Scheme)
}

// holdersOf lists who holds the keys of a delegation, each as often as they have
// a key.
func holdersOf(d metadata.Delegation) []string {
	var list []string
	for _, k := range keysOf(d) {
		holder := k.Holder()
		if holder == "" {
			holder = fmt.Sprintf("keyid %.12s", k.ID)
		}
		list = append(list, holder)
	}
	return list
}

func reviewArtifacts(ctx context.Context, p *page, e *repository.Event, doc, known *metadata.Document, changes []repository.ArtifactChange) {
	if len(changes) == 0 {
		return
	}
	p.line("  artifacts")
	describe := func(f metadata.TargetFile) {
		p.line("        %d bytes", f.Length)
		for _, name := range sortedNames(f.Hashes) {
			p.line("        %s %s", name, f.Hashes[name])
		}
	}
	for _, c := range changes {
		now := doc.Targets()[c.Path]
		switch c.Change {
		case "removed":
			p.line("    - %s", c.Path)
			reviewMeaning(p, c)
			continue
		case "added":
			p.line("    + %s", c.Path)
			describe(now)
		default:
			p.line("    ~ %s", c.Path)
			was := known.Targets()[c.Path]
			describe(now)
			p.line("      was")
			describe(was)
		}
		for _, name := range otherFields(metadata.Object{}, now.Object, []string{"length", "hashes"}) {
			p.line("        %s %s", name, metadata.Write(now.Object[name]))
		}
		reviewMeaning(p, c)
		reviewLines(ctx, p, e, c)
	}
}

// reviewMeaning says what a change of Sigstore's trust material does: it is made
// from the file in git whose digest stands above, on this machine.
func reviewMeaning(p *page, c repository.ArtifactChange) {
	if c.Meaning == nil {
		return
	}
	p.line("      meaning")
	for _, line := range c.Meaning.Lines() {
		p.fold(23, "        %s", line)
	}
}

// What is shown of an artifact's text at most.
const (
	maxText  = 64 << 10
	maxLines = 60
)

// reviewLines shows which lines of a text differ, unless its meaning says it
// better: from the files in git, if they are what the metadata lists.
func reviewLines(ctx context.Context, p *page, e *repository.Event, c repository.ArtifactChange) {
	if c.Meaning != nil || c.After == nil {
		return
	}
	after, ok := text(ctx, e.Proposed, c.Path, c.After)
	if !ok {
		return
	}
	before := []byte(nil)
	if c.Before != nil {
		if before, ok = text(ctx, e.KnownGood, c.Path, c.Before); !ok {
			return
		}
	}
	// The first three lines name the files, which is said above.
	lines := strings.Split(strings.TrimSuffix(string(diff.Diff("before", before, "after", after)), "\n"), "\n")
	if len(lines) <= 3 {
		return
	}
	p.line("      text")
	for i, line := range lines[3:] {
		if i == maxLines {
			p.line("        ... and %d lines more", len(lines)-3-maxLines)
			break
		}
		p.line("        %s", line)
	}
}

// text is an artifact that people can read, if it is what the metadata lists.
func text(ctx context.Context, s *repository.State, target string, listed *metadata.TargetFile) ([]byte, bool) {
	f, ok := s.File(repository.ArtifactFile(target))
	if !ok || !f.Regular() || listed.Length > maxText {
		return nil, false
	}
	data, err := s.Repository().Git.BlobLimit(ctx, f.OID, maxText)
	if err != nil || listed.Hashes["sha256"] != digest(data) || !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil, false
	}
	return data, true
}

func sortedNames(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func reviewSignatures(p *page, r repository.RoleStatus) {
	count := func(signed []string, threshold int64) string {
		text := fmt.Sprintf("%d of %d", len(signed), threshold)
		if len(signed) > 0 {
			text += ": " + strings.Join(signed, ", ")
		}
		return text
	}
	p.fold(14, "  signatures  %s", count(r.Signed, r.Threshold))
	if k := r.KnownGood; k != nil && count(k.Signed, k.Threshold) != count(r.Signed, r.Threshold) {
		p.fold(14, "              %s, as the known-good root asks", count(k.Signed, k.Threshold))
	}
}

func reviewFindings(p *page, list []repository.Finding) {
	for _, f := range list {
		p.fold(4, "  %s: %s", f.Level, f.Message)
		where := f.Rule
		if f.File != "" {
			where += ", " + f.File
		}
		p.fold(8, "    rule %s", where)
		if f.Hint != "" {
			p.fold(10, "    hint: %s", f.Hint)
		}
		if d := f.Decided(); d != "" {
			p.fold(6, "    %s", d)
		}
	}
}

// reviewAsked says what is asked of this person and who is awaited after that.
func reviewAsked(p *page, e *repository.Event, s *repository.Status, user string, asks []ask) {
	if s.Failed() && len(asks) == 0 {
		p.line("The errors above must be fixed before anybody signs.")
		return
	}
	if len(asks) == 0 {
		p.line("Nothing is asked of %s.", user)
	} else {
		p.line("Asked of %s:", user)
		for _, a := range asks {
			p.line("  %s v%d, with keyid", a.role, a.version)
			p.line("        %s", a.key.ID)
		}
	}
	after := awaitedAfter(e, s, asks)
	enough, still := "Every role has the signatures it needs.", "Still awaited:"
	if len(asks) > 0 {
		enough, still = "After that every role has the signatures it needs.", "After that still awaited:"
	}
	switch {
	case len(s.Roles) == 0:
	case len(after) == 0:
		p.line("%s", enough)
	default:
		p.line("%s", still)
		for _, line := range after {
			p.fold(4, "  %s", line)
		}
	}
}

// awaitedAfter says, per role, who is awaited once the asks are signed.
func awaitedAfter(e *repository.Event, s *repository.Status, asks []ask) []string {
	var list []string
	for _, r := range s.Roles {
		if len(r.Invites) > 0 {
			list = append(list, fmt.Sprintf("%s: %s, invited to bring a key", r.Role, strings.Join(r.Invites, ", ")))
			continue
		}
		doc, err := e.Proposed.Document(r.Role)
		if err != nil {
			continue
		}
		lack := func(d metadata.Delegation, by string) {
			q := metadata.Check(d, doc)
			counted := map[string]bool{}
			for _, k := range q.Signed {
				counted[k.Fingerprint()] = true
			}
			var others []string
			for _, k := range q.Missing {
				if slices.ContainsFunc(asks, func(a ask) bool { return a.role == r.Role && a.key.ID == k.ID }) {
					counted[k.Fingerprint()] = true
				} else if h := k.Holder(); h != "" && !slices.Contains(others, h) {
					others = append(others, h)
				}
			}
			if need := d.Threshold - int64(len(counted)); need > 0 {
				sort.Strings(others)
				for _, owner := range e.Invites.To(r.Role) {
					others = append(others, owner+" (invited)")
				}
				who := strings.Join(others, ", ")
				if who == "" {
					who = "nobody who could sign"
				}
				line := fmt.Sprintf("%s: %d of %s", r.Role, need, who)
				if !slices.Contains(list, line) { // both delegations of root may ask the same
					list = append(list, line+by)
				}
			}
		}
		if d, ok := e.Proposed.Delegation(r.Role); ok {
			lack(d.Delegation, "")
		}
		if known, err := e.KnownGood.Document(metadata.Root); err == nil && r.Role == metadata.Root {
			d, _ := known.Delegation(metadata.Root)
			lack(d, ", as the known-good root asks")
		}
	}
	return list
}
