package trustroot

import (
	"path"
	"slices"
	"strings"
	"time"
)

var (
	apiVersion = check(Check{Name: "api-version", Level: Error, Kinds: configOnly,
		Title:   "a service without a version",
		Stops:   "clients skip services whose version they do not speak, and version 0 is nobody's",
		Source:  "protobuf-specs: REQUIRED",
		Example: "CA service https://fulcio.example.test: majorApiVersion is missing or 0",
		Hint:    "set majorApiVersion, 1 for all but Rekor v2"})
	operatorMissing = check(Check{Name: "operator", Level: Warning, Kinds: configOnly,
		Title:   "a service without an operator",
		Stops:   "clients that ask one service per operator take two services of one operator for independent",
		Source:  "protobuf-specs: REQUIRED; staging added it on 2025-05-15",
		Example: "CA service https://fulcio.example.test (API v1): operator is missing",
		Hint:    "name the operator, like sigstore.dev"})
	selectorInvalid = check(Check{Name: "selector", Level: Error, Kinds: configOnly,
		Title:   "a choice that clients cannot make",
		Stops:   "signers fail only when they sign: nothing checks it before",
		Source:  "sigstore-go reads the selector when a service is chosen",
		Example: "tsaConfig asks for EXACT 2, but 1 operator counts now",
		Hint:    "choose ANY, ALL, or EXACT with a count that the services allow"})
	notInTrustedRoot = check(Check{Name: "untrusted", Level: Error, Kinds: configOnly,
		Title:   "a service that verifiers do not know",
		Stops:   "people sign, and nobody can verify it",
		Source:  "staging 2025-04-25: the URLs of the two files differed",
		Example: "CA service https://fulcio2.example.test (API v1): the trusted root has no certificate authority of that URL; it has https://fulcio.example.test",
		Hint:    "add it to the trusted root first, or correct the URL"})
	windowOutsideRoot = check(Check{Name: "untimely", Level: Error, Kinds: configOnly,
		Title:   "a service used while not trusted",
		Stops:   "what is signed then never verifies",
		Source:  "the windows of the two files are edited apart; 2025-08-13 leaves two weeks between them, as it should be",
		Example: "CA service https://fulcio.example.test (API v1): it is used from 2025-01-31, but trusted only from 2025-02-01",
		Hint:    "let verifiers trust it before signers use it, and for longer"})
	siblingStale = check(Check{Name: "sibling", Level: Warning, Kinds: configOnly,
		Title:   "two signing configurations disagree",
		Stops:   "one is edited and the other forgotten: its signers go on with services that are gone",
		Source:  "staging 2026-07-06: the file for Rekor v2 was a copy of an old version, and stayed so",
		Example: "rekor service https://log2025-1.rekor.example.test (API v2), 2025-03-01 -> open, of signing_config.v0.2.json is not in this file",
		Hint:    "make the same change in both; the one for Rekor v2 may only hold further Rekor v2 logs"})
)

func (l *linter) signingConfig() {
	if !l.d.v1 {
		l.apiVersion()
		l.operatorMissing()
		l.selectorInvalid()
	}
	l.againstTrustedRoot()
	l.siblingStale()
	l.otherEnvironment()
}

// apiVersion stops services that no client speaks to.
func (l *linter) apiVersion() {
	versions := map[string]Entry{}
	for _, e := range l.d.Entries {
		key := string(e.Section) + " " + strings.TrimSuffix(e.URL, "/")
		first, again := versions[key]
		switch {
		case e.Version == 0:
			l.entry(apiVersion, e, "majorApiVersion", "majorApiVersion is missing or 0")
			continue
		case again && first.Version != e.Version:
			l.entry(apiVersion, e, "majorApiVersion", "%s has the same URL and API v%d", first.path, first.Version)
		case e.Section == RekorURLs && e.Version != 2 && shardName.MatchString(host(e.URL)):
			l.entryAs(apiVersion, apiVersion.Level, e, "majorApiVersion", "set majorApiVersion to 2", "its name is one of Rekor v2, but majorApiVersion is %d", e.Version)
		}
		versions[key] = e
	}
}

// operatorMissing points at services that belong to nobody.
func (l *linter) operatorMissing() {
	for _, e := range l.d.Entries {
		if e.Operator == "" {
			l.entry(operatorMissing, e, "operator", "operator is missing")
		}
	}
}

// selectorInvalid stops choices that fail when somebody signs.
func (l *linter) selectorInvalid() {
	for _, s := range []Section{RekorURLs, TSAURLs} {
		name := map[Section]string{RekorURLs: "rekorTlogConfig", TSAURLs: "tsaConfig"}[s]
		sel, ok := l.d.Selectors[s]
		operators := map[string]bool{}
		for _, e := range l.d.In(s) {
			if e.Window.Active(l.in.Now) {
				operators[e.Operator] = true
			}
		}
		switch {
		case len(l.d.In(s)) == 0 && !ok:
		case !ok || sel.Name == "" || sel.Name == "SERVICE_SELECTOR_UNDEFINED":
			l.add(selectorInvalid, name, sel.node, "%s does not say how to choose among %d %ss", name, len(l.d.In(s)), s.What())
		case sel.Name == "EXACT" && (sel.Count == 0 || sel.Count > uint64(len(operators))):
			l.add(selectorInvalid, name, sel.node, "%s asks for EXACT %d, but %s now", name, sel.Count, counted(len(operators)))
		case sel.Name != "EXACT" && sel.Count != 0:
			l.add(selectorInvalid, name, sel.node, "%s has a count of %d, which means nothing with %s", name, sel.Count, sel.Name)
		}
	}
}

func counted(operators int) string {
	if operators == 1 {
		return "1 operator counts"
	}
	return count(int64(operators), "operator") + " count"
}

// againstTrustedRoot stops signers from using what verifiers do not trust. It
// compares with trusted_root.json in the same folder, if that can be read.
//
// A Rekor v2 service may be the common front of several logs, each of which the
// trusted root names by itself: where their hosts belong together it is a
// warning, since only the logs behind it decide.
func (l *linter) againstTrustedRoot() {
	root, _ := l.reader.read(TrustedRoot, l.in.Files[path.Join(path.Dir(l.in.Name), "trusted_root.json")])
	if root == nil {
		return
	}
	for _, e := range l.d.Entries {
		section, ok := map[Section]Section{CAURLs: CertificateAuthorities, RekorURLs: TLogs, TSAURLs: TimestampAuthorities}[e.Section]
		if !ok {
			continue // verifiers do not know OIDC
		}
		var trusted []Window
		var others []string
		for _, one := range root.In(section) {
			if sameURL(one.URL, e.URL) {
				trusted = append(trusted, one.Window)
			}
			if one.URL != "" && !slices.Contains(others, one.URL) {
				others = append(others, one.URL)
			}
		}
		if trusted == nil {
			level := Error
			if e.Section == RekorURLs && e.Version == 2 && slices.ContainsFunc(others, func(u string) bool { return sameDomain(u, e.URL) }) {
				level = Warning
			}
			has := "it has none"
			if others != nil {
				has = "it has " + strings.Join(others, ", ")
			}
			l.entryAs(notInTrustedRoot, level, e, "url", notInTrustedRoot.Hint, "the trusted root has no %s of that URL; %s", section.What(), has)
			continue
		}
		if l.d.v1 {
			continue
		}
		l.insideWindows(e, trusted)
	}
}

// sameDomain reports whether two hosts share the domain that one of them stands
// right below, which has at least three labels.
func sameDomain(a, b string) bool {
	a, b = host(a), host(b)
	_, parent, ok := strings.Cut(b, ".")
	return ok && strings.Count(parent, ".") >= 2 && strings.HasSuffix(a, "."+parent)
}

// insideWindows compares the window of a service with all windows in which
// verifiers trust its URL: several logs may have had it one after another.
func (l *linter) insideWindows(e Entry, trusted []Window) {
	slices.SortFunc(trusted, func(a, b Window) int { return a.Start.Compare(b.Start) })
	at := e.Window.Start
	covered := false
	for _, w := range trusted {
		if w.Start.After(at) || !w.End.IsZero() && w.End.Before(at) {
			continue
		}
		covered = true
		if w.End.IsZero() {
			return
		}
		at = w.End
	}
	switch {
	case !covered:
		var first time.Time
		for _, w := range trusted {
			if w.Start.After(at) {
				first = w.Start
				break
			}
		}
		if first.IsZero() {
			l.entry(windowOutsideRoot, e, "validFor", "it is used from %s, but trusted no longer then: %s", date(at), windowList(trusted))
			return
		}
		l.entry(windowOutsideRoot, e, "validFor", "it is used from %s, but trusted only from %s", date(at), date(first))
	case e.Window.End.IsZero():
		l.entry(windowOutsideRoot, e, "validFor", "its use has no end, but it is trusted only until %s", date(at))
	case e.Window.End.After(at):
		l.entry(windowOutsideRoot, e, "validFor", "it is used until %s, but trusted only until %s", date(e.Window.End), date(at))
	}
}

func windowList(list []Window) string {
	var parts []string
	for _, w := range list {
		parts = append(parts, w.String())
	}
	return strings.Join(parts, ", ")
}

// siblingStale compares the configuration for Rekor v2 (signing_config_rekor_v2*)
// with the plain one of the same form: it must hold everything that the plain
// one holds, and beyond that only Rekor v2 logs.
func (l *linter) siblingStale() {
	name := path.Base(l.in.Name)
	const marker = "_rekor_v2"
	var v2, plain *Document
	var other string
	if strings.Contains(name, marker) {
		other = strings.Replace(name, marker, "", 1)
		v2 = l.d
	} else {
		other = strings.Replace(name, "signing_config", "signing_config"+marker, 1)
		plain = l.d
	}
	data, ok := l.in.Files[path.Join(path.Dir(l.in.Name), other)]
	if !ok || l.d.v1 {
		return
	}
	sibling, _ := l.reader.read(SigningConfig, data)
	if sibling == nil || sibling.v1 {
		return
	}
	if v2 == nil {
		v2 = sibling
	} else {
		plain = sibling
	}
	here, there := "this file", other
	if v2 != l.d {
		here, there = other, "this file"
	}
	has := func(d *Document, e Entry) bool {
		return slices.ContainsFunc(d.In(e.Section), func(o Entry) bool { return o.ID == e.ID && o.Window.Equal(e.Window) })
	}
	for _, e := range plain.Entries {
		if !has(v2, e) {
			l.add(siblingStale, string(e.Section), nil, "%s, %s, of %s is not in %s", e.Title(), e.Window, there, here)
		}
	}
	for _, e := range v2.Entries {
		if !has(plain, e) && !(e.Section == RekorURLs && e.Version == 2) {
			l.add(siblingStale, string(e.Section), nil, "%s, %s, of %s is not in %s", e.Title(), e.Window, here, there)
		}
	}
}
