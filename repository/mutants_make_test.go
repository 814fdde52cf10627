package repository_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/mldsa"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// A mutant is a complete event with one thing changed.
type mutant struct {
	event *rekeyed
	class string // how it was changed
	where string // what was changed, the same for all events
	now   time.Time

	policy repository.Policy

	// What changes at the head of the event, and on main since the event began;
	// nil for nothing. One that changes nothing for this event is no mutant of it.
	head, main func() []change
	// Where head and main begin, if not at the event's own head and base.
	from, onto git.OID
}

// asMerged reports whether nothing is changed at all.
func (m *mutant) asMerged() bool { return m.class == control && m.head == nil }

func (m *mutant) String() string { return m.class + " " + m.where }

// control is the class of those that change nothing but what a new version must:
// they are complete, so it is the change that keeps another from being so.
const control = "control"

// A maker makes the mutants of one event.
type maker struct {
	*keyring
	e    *rekeyed
	emit func(*mutant)
}

// mutants makes every mutant, always in the same order. What is costly about one
// waits until it is judged.
func (m *rekeyedCorpus) mutants() []*mutant {
	var all []*mutant
	for i, e := range m.events {
		b := &maker{keyring: m.keyring, e: e, emit: func(one *mutant) { all = append(all, one) }}
		changed := e.changed()
		b.emit(&mutant{event: e, class: control, where: "the event as it was merged", now: e.now})
		for _, role := range []string{"root", "targets", "registry.npmjs.org"} {
			if e.head["metadata/"+role+".json"].data == "" {
				continue
			}
			// What the event does not change it changes first, in good order.
			touched := slices.Contains(changed, role)
			b.put(control, role, role, func(object) {})
			if touched || i%4 == 3 {
				b.fields(role)
				b.content(role)
				b.unsigned(role)
			}
		}
		b.pqKeys()
		b.files()
		b.quorums(changed)
		b.inFlight(changed)
		for _, other := range m.events {
			if other.now.Before(e.now) {
				all = append(all, again(e, other), oldBase(e, other))
			}
		}
	}
	// Parts of the tables above are maps.
	slices.SortStableFunc(all, func(x, y *mutant) int {
		return cmp.Or(x.event.now.Compare(y.event.now), cmp.Compare(x.String(), y.String()))
	})
	return all
}

// again proposes an older event, which was complete in its time, to the main of
// a later one.
func again(e, older *rekeyed) *mutant {
	kept, never := true, true
	for file, c := range older.head {
		if c != older.known[file] {
			kept = kept && e.base[file] == c
			never = never && e.base[file] == older.known[file]
		}
	}
	where := "an older event, of which main has moved on"
	if kept {
		where = "an older event, whose files still stand on main"
	} else if never {
		where = "an older event, whose files main does not have yet"
	}
	return &mutant{event: e, class: "replay", where: where, now: older.now, from: older.headAt, onto: e.baseAt}
}

// oldBase lets an event begin at the main of an older one.
func oldBase(e, older *rekeyed) *mutant {
	var changes []change
	where := "whose files have not changed since"
	for _, file := range slices.Sorted(maps.Keys(e.head)) {
		if c := e.head[file]; c != e.known[file] {
			changes = append(changes, change{path: file, content: c})
			if older.base[file] != e.base[file] {
				where = "whose files have changed since"
			}
		}
	}
	return &mutant{event: e, class: "old base", where: where, now: e.now, from: older.baseAt, onto: e.baseAt, head: func() []change { return changes }}
}

// signed is the signed part of a role at the head. A role that the event leaves
// alone gets a new version.
func (b *maker) signed(role string) object {
	file := repository.MetadataFile(role)
	signed := b.e.head.doc(file)["signed"].(object)
	if b.e.head[file] == b.e.known[file] {
		old := b.e.base.doc(file)["signed"].(object) // main may have moved
		signed["version"] = integer(old["version"]) + 1
		signed["expires"] = b.e.now.AddDate(0, 0, int(integer(signed[metadata.FieldExpiryPeriod]))).UTC().Format(metadata.TimeFormat)
	}
	return signed
}

func integer(v any) int64 {
	switch v := v.(type) {
	case json.Number:
		n, _ := v.Int64()
		return n
	case int64:
		return v
	}
	return 0
}

// put emits a mutant whose signed part is edited, and signed by everybody whom
// the role's delegations list: before the event, after it, and on main.
func (b *maker) put(class, where, role string, edit func(signed object)) {
	b.emit(&mutant{event: b.e, class: class, where: where, now: b.e.now, head: func() []change {
		signed := b.signed(role)
		before := string(metadata.Write(signed))
		if edit(signed); class != control && string(metadata.Write(signed)) == before {
			return nil
		}
		return b.seal(role, signed, nil)
	}})
}

// twin marks a name that takes the place of another of the same object once the
// file is written: a generic tree cannot hold a name twice.
const twin = "\ue000"

func twins(text string) string { return strings.ReplaceAll(text, `\ue000"`, `"`) }

// seal signs and writes a role's file, root's into root_history too. more
// changes the file's text at the end.
func (b *maker) seal(role string, signed any, more func(text string) string) []change {
	write := func(signatures []any) string {
		return twins(string(metadata.Write(object{"signatures": signatures, "signed": signed})))
	}
	payload := []byte("none")
	if v, _, err := metadata.ParseTree([]byte(write(nil))); err == nil {
		if p, err := metadata.Canonical(v.(object)["signed"]); err == nil {
			payload = p
		}
	}
	signatures, done := []any{}, map[string]bool{}
	collect := func(from object) {
		d, _ := from["signed"].(object)
		r := delegations(d)[role]
		ids, _ := r["keyids"].([]any)
		keys, _ := delegating(d)["keys"].(object)
		for _, id := range ids {
			id, _ := id.(string)
			if sig, ok := b.sign(keys[id], payload); ok && !done[id] {
				done[id] = true
				signatures = append(signatures, object{"keyid": id, "sig": sig})
			}
		}
	}
	delegator := "metadata/targets.json"
	if role == "root" || role == "targets" {
		delegator = "metadata/root.json"
	}
	for _, t := range []tree{b.e.known, b.e.base, b.e.head} {
		collect(t.doc(delegator))
	}
	if role == "root" {
		collect(object{"signed": signed})
	}
	text := write(signatures)
	if more != nil {
		text = more(text)
	}
	return b.place(role, signed, text)
}

// place puts a role's file where it belongs.
func (b *maker) place(role string, signed any, text string) []change {
	file := repository.MetadataFile(role)
	changes := []change{{path: file, content: content{b.e.head[file].mode, text}}}
	if role != "root" {
		return changes
	}
	for file := range b.e.head {
		if strings.HasPrefix(file, "metadata/root_history/") && b.e.known[file].data == "" {
			changes = append(changes, change{path: file, gone: true})
		}
	}
	o, _ := signed.(object)
	version := integer(o["version"])
	if copied := repository.RootFile(version); version > 0 && b.e.known[copied].data == "" {
		changes = append(changes, change{path: copied, content: content{git.ModeFile, text}})
	}
	return changes
}

// step is a name in an object or an index in a list.
type step any

// walk visits all that stands below a value, with its path and the path's
// general form: keys, artifacts and list entries have no name of their own.
func walk(v any, path []step, general string, visit func(path []step, general string, v any)) {
	down := func(s step, name string, v any) {
		p := append(slices.Clone(path), s)
		g := strings.TrimPrefix(general+"."+name, ".")
		visit(p, g, v)
		walk(v, p, g, visit)
	}
	switch v := v.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			shown := name
			switch {
			case strings.HasSuffix(general, "keys"):
				shown = "ONLINE"
				if k, _ := v[name].(object); k[metadata.FieldKeyOwner] != nil {
					shown = "PERSON"
				}
			case general == "targets":
				shown = "ARTIFACT"
			}
			down(name, shown, v[name])
		}
	case []any:
		for i := range v {
			down(i, "N", v[i])
		}
	}
}

// alter replaces what stands at a path by what edit returns: nothing removes it,
// two double it.
func alter(v any, path []step, edit func(v any) (next []any)) any {
	name, rest := path[0], path[1:]
	switch v := v.(type) {
	case object:
		n := name.(string)
		if len(rest) > 0 {
			v[n] = alter(v[n], rest, edit)
		} else if next := edit(v[n]); len(next) == 0 {
			delete(v, n)
		} else {
			v[n] = next[0]
			if len(next) > 1 {
				v[n+twin] = next[1]
			}
		}
		return v
	case []any:
		i := name.(int)
		if len(rest) > 0 {
			v[i] = alter(v[i], rest, edit)
			return v
		}
		return slices.Concat(v[:i:i], edit(v[i]), v[i+1:])
	}
	return v
}

// fields changes every field of a role's signed part in every way that needs no
// knowledge of its meaning.
func (b *maker) fields(role string) {
	seen := map[string]int{}
	walk(b.signed(role), nil, "", func(path []step, general string, v any) {
		if seen[general]++; seen[general] > 2 {
			return // one more of the same kind
		}
		where := role + " " + general
		one := func(class string, edit func(v any) []any) {
			b.put(class, where, role, func(s object) { alter(s, path, edit) })
		}
		one("removed", func(any) []any { return nil })
		one("doubled", func(v any) []any { return []any{v, metadata.Clone(v)} })
		one("null", func(any) []any { return []any{nil} })
		var other, empty any = "x", nil
		switch v := v.(type) {
		case string:
			other, empty = int64(7), ""
		case json.Number, int64:
			other, empty = fmt.Sprint(v), int64(0)
			one("doubled, first zero", func(v any) []any { return []any{int64(0), v} })
			one("fraction", func(v any) []any { return []any{json.Number(fmt.Sprint(v) + ".5")} })
		case bool:
			empty = false
		case object:
			other, empty = []any{}, object{}
		case []any:
			other, empty = object{}, []any{}
		}
		one("retyped", func(any) []any { return []any{other} })
		if string(metadata.Write(empty)) != string(metadata.Write(v)) {
			one("emptied", func(any) []any { return []any{empty} })
		}
		if o, ok := v.(object); ok {
			one("field added", func(any) []any { o := metadata.Clone(o); o["x-new"] = "x"; return []any{o} })
			if len(o) > 0 {
				name := slices.Sorted(maps.Keys(o))[0]
				one("cased", func(any) []any { o := metadata.Clone(o); o[strings.ToUpper(name)] = o[name]; return []any{o} })
			}
		}
	})
	b.put("field added", role+" signed", role, func(s object) { s["x-new"] = "x" })
	b.put("cased", role+" signed", role, func(s object) { s["VERSION"] = s["version"] })
}

// content changes what the rules know the meaning of.
func (b *maker) content(role string) {
	put := func(class, where string, edit func(s object)) { b.put(class, role+" "+where, role, edit) }
	known := b.e.known.doc(repository.MetadataFile(role))
	var before int64
	if known != nil {
		before = integer(known["signed"].(object)["version"])
	}
	for name, v := range map[string]any{"stays": before, "two more": before + 2, "-1": int64(-1), "2^53": int64(1) << 53, "2^63-1": int64(1<<63 - 1),
		"2^63": json.Number("9223372036854775808"), "as 1e1": json.Number("1e1"), "one less": before - 1} {
		put("version", name, func(s object) { s["version"] = v })
	}
	period := int(integer(b.signed(role)[metadata.FieldExpiryPeriod]))
	at := func(t time.Time) string { return t.UTC().Format(metadata.TimeFormat) }
	for name, v := range map[string]string{
		"a second ago": at(b.e.now.Add(-time.Second)), "now": at(b.e.now), "a year ago": at(b.e.now.AddDate(-1, 0, 0)),
		"a second beyond the period": at(b.e.now.AddDate(0, 0, period).Add(time.Second + 999*time.Millisecond)), "ten periods away": at(b.e.now.AddDate(0, 0, 10*period)), "in 9999": "9999-12-31T23:59:59Z",
		"with a fraction": b.e.now.AddDate(0, 0, 1).UTC().Format("2006-01-02T15:04:05.5Z"), "with an offset": b.e.now.AddDate(0, 0, 1).UTC().Format("2006-01-02T15:04:05+00:00"),
		"a day only": b.e.now.AddDate(0, 0, 1).Format("2006-01-02"), "in small letters": strings.ToLower(at(b.e.now.AddDate(0, 0, 1))),
	} {
		put("date", name, func(s object) { s["expires"] = v })
	}
	b.periods("signed", role, func(s object) object { return s })
	for _, v := range []string{"2.0.0", "0.9", "1", "1.0.99", "x", "11.0"} {
		put("spec version", v, func(s object) { s["spec_version"] = v })
	}
	for name, v := range map[string]any{"2^53": int64(1) << 53, "-2^53": -int64(1) << 53, "2^53+1": int64(1)<<53 + 1, "-2^53-1": -int64(1)<<53 - 1} {
		put("number", name, func(s object) { s["x"] = v })
		put("number", name+" in a list of objects", func(s object) { s["x"] = []any{object{"y": v}} })
	}
	put("type", "another role", func(s object) { s["_type"] = "snapshot" })
	put("type", "in capitals", func(s object) { s["_type"] = strings.ToUpper(s["_type"].(string)) })
	put("size", "beyond root's limit", func(s object) { s["x"] = strings.Repeat("x", 512_001) })
	if role != "root" && b.e.name == "sign/import" {
		put("size", "beyond targets' limit", func(s object) { s["x"] = strings.Repeat("x", 5_000_001) })
	}
	if role == "root" {
		for _, online := range []string{"timestamp", "snapshot"} {
			b.periods(online, role, func(s object) object { return delegations(s)[online] })
		}
		put("snapshots", "consistent_snapshot is false", func(s object) { s["consistent_snapshot"] = false })
		put("delegation", "a fifth role", func(s object) {
			s["roles"].(object)["mirrors"] = object{"keyids": []any{}, "threshold": int64(1)}
		})
	}
	signed := b.signed(role)
	for _, delegated := range slices.Sorted(maps.Keys(delegations(signed))) {
		b.delegation(role, delegated)
	}
	if d := delegating(signed); d != nil {
		b.keysOf(role)
	}
	if role != "root" {
		b.delegates(role)
		b.artifacts(role)
	}
}

func (b *maker) periods(name, role string, of func(s object) object) {
	set := func(where, field string, v any) {
		b.put("period", role+" "+name+" "+where, role, func(s object) { of(s)[field] = v })
	}
	for where, v := range map[string]any{"0": int64(0), "-1": int64(-1), "2^40": int64(1) << 40, "2^63": json.Number("9223372036854775808"), "1.5": json.Number("1.5"), "beyond a hundred years": int64(36_526)} {
		set("expiry "+where, metadata.FieldExpiryPeriod, v)
	}
	for where, v := range map[string]any{"0": int64(0), "-1": int64(-1), "1": int64(1), "2^40": int64(1) << 40} {
		set("signing "+where, metadata.FieldSigningPeriod, v)
	}
	b.put("period", role+" "+name+" signing as long as expiry", role, func(s object) {
		of(s)[metadata.FieldSigningPeriod] = of(s)[metadata.FieldExpiryPeriod]
	})
}

// delegation changes who may sign for one role.
func (b *maker) delegation(role, delegated string) {
	kind := delegated
	put := func(class, where string, edit func(s, d object)) {
		b.put(class, role+" to "+kind+": "+where, role, func(s object) { edit(s, delegations(s)[delegated]) })
	}
	ids := func(d object) []any { l, _ := d["keyids"].([]any); return l }
	for name, v := range map[string]func(d object) any{
		"0": func(object) any { return int64(0) }, "-1": func(object) any { return int64(-1) }, "1": func(object) any { return int64(1) },
		"one more": func(d object) any { return integer(d["threshold"]) + 1 }, "more than keys": func(d object) any { return int64(len(ids(d)) + 1) },
		"2^63-1": func(object) any { return int64(1<<63 - 1) }, "2^63": func(object) any { return json.Number("9223372036854775808") },
	} {
		put("threshold", name, func(s, d object) { d["threshold"] = v(d) })
	}
	stranger := b.person("stranger")
	put("keyids", "one fewer", func(s, d object) { d["keyids"] = ids(d)[1:] })
	put("keyids", "a stranger's, with the key", func(s, d object) {
		d["keyids"] = append(ids(d), keyID(stranger))
		delegating(s)["keys"].(object)[keyID(stranger)] = stranger
	})
	put("keyids", "a stranger's, without the key", func(s, d object) { d["keyids"] = append(ids(d), keyID(stranger)) })
	put("keyids", "only a stranger's", func(s, d object) {
		d["keyids"] = []any{keyID(stranger)}
		d["threshold"] = int64(1)
		delegating(s)["keys"].(object)[keyID(stranger)] = stranger
	})
	put("keyids", "one in capitals", func(s, d object) { ids(d)[0] = strings.ToUpper(ids(d)[0].(string)) })
	put("keyids", "the reverse order", func(s, d object) { slices.Reverse(ids(d)) })
	put("keyids", "the online key's too", func(s, d object) {
		for _, id := range slices.Sorted(maps.Keys(delegating(s)["keys"].(object))) {
			if k := delegating(s)["keys"].(object)[id].(object); k[metadata.FieldOnlineURI] != nil && !slices.Contains(ids(d), any(id)) {
				d["keyids"] = append(ids(d), id)
			}
		}
	})
	put("keyids", "one person twice, by a second keyid", func(s, d object) {
		key := metadata.Clone(delegating(s)["keys"].(object)[ids(d)[0].(string)].(object))
		key["x"] = "another keyid"
		delegating(s)["keys"].(object)[keyID(key)] = key
		d["keyids"] = append(ids(d), keyID(key))
	})
	if role == "root" {
		return
	}
	for name, v := range map[string]any{"all": []any{"*"}, "another role's": []any{"other/*"}, "the folder above": []any{"../*"}, "none": []any{},
		"no pattern": []any{"["}, "an absolute one": []any{"/*"}, "a number": []any{int64(1)}, "an empty one": []any{""}} {
		put("paths", name, func(s, d object) { d["paths"] = v })
	}
	put("paths", "one more", func(s, d object) { d["paths"] = append(d["paths"].([]any), "other/*") })
	put("paths", "hash prefixes instead", func(s, d object) { delete(d, "paths"); d["path_hash_prefixes"] = []any{"0"} })
	put("paths", "hash prefixes as well", func(s, d object) { d["path_hash_prefixes"] = []any{"0"} })
	put("paths", "not terminating", func(s, d object) { d["terminating"] = d["terminating"] != true })
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "root", "Timestamp", "targets", "3.root", "7.timestamp", ".hidden", "x.json", "a*", " sp", "a\x00b", "a\u202eb", strings.Repeat("x", 101), "con\n"} {
		put("role name", fmt.Sprintf("%.20q", name), func(s, d object) { d["name"] = name })
	}
}

// keysOf changes the keys that a role lists. The keyids follow, as in a real
// edit, unless the keyid itself is what is wrong.
func (b *maker) keysOf(role string) {
	signed := b.signed(role)
	first := map[string]string{}
	keys := delegating(signed)["keys"].(object)
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		kind := "PERSON"
		if keys[id].(object)[metadata.FieldOnlineURI] != nil {
			kind = "ONLINE"
		}
		if first[kind] == "" {
			first[kind] = id
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(first)) {
		id := first[kind]
		b.keyOf(role, kind, id, keys)
	}
	for where, key := range map[string]object{
		"a stranger's": b.person("stranger"), "one without a holder": func() object { k := b.person("stranger"); delete(k, metadata.FieldKeyOwner); return k }(),
		"an online key without a version": {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": object{"public": b.key("gcp", "ecdsa-sha2-nistp256")}, metadata.FieldOnlineURI: "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k"},
	} {
		b.put("keys", role+" "+where+", listed by nobody", role, func(s object) { delegating(s)["keys"].(object)[keyID(key)] = metadata.Clone(key) })
	}
}

// exchange puts a key, under its right keyid, in the place of another one.
func exchange(s object, id string, k object) {
	all := delegating(s)["keys"].(object)
	delete(all, id)
	all[keyID(k)] = k
	for _, d := range delegations(s) {
		for i, one := range d["keyids"].([]any) {
			if one == id {
				d["keyids"].([]any)[i] = keyID(k)
			}
		}
	}
}

func (b *maker) keyOf(role, kind, id string, keys object) {
	other := func(field string) object { // another key, of a person or online
		for _, one := range slices.Sorted(maps.Keys(keys)) {
			if k := keys[one].(object); one != id && k[field] != nil {
				return k
			}
		}
		return nil
	}
	// renamed changes a key and gives it its right keyid everywhere.
	renamed := func(where string, edit func(k object)) {
		b.put("key", role+" "+kind+" "+where, role, func(s object) {
			k := delegating(s)["keys"].(object)[id].(object)
			edit(k)
			exchange(s, id, k)
		})
	}
	kept := func(where string, edit func(k object)) {
		b.put("keyid", role+" "+kind+" "+where, role, func(s object) { edit(delegating(s)["keys"].(object)[id].(object)) })
	}
	owner := func(v any) func(k object) { return func(k object) { k[metadata.FieldKeyOwner] = v } }
	uri := func(v any) func(k object) { return func(k object) { k[metadata.FieldOnlineURI] = v } }
	for where, edit := range map[string]func(k object){
		"owner is another": owner("@stranger"), "owner is empty": owner(""), "owner is no login": owner("@Not A Login"), "owner without @": owner("jku"),
		"owner is a list": owner([]any{"@jku"}), "owner is odd": owner("@-x-"),
		"no holder": func(k object) { delete(k, metadata.FieldKeyOwner); delete(k, metadata.FieldOnlineURI) },
		"both":      func(k object) { owner("@jku")(k); uri("file2:x")(k) },
		"URI is gcp, pinned": func(k object) {
			delete(k, metadata.FieldKeyOwner)
			uri("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/9")(k)
		},
		"URI is gcp": func(k object) {
			delete(k, metadata.FieldKeyOwner)
			uri("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k")(k)
		},
		"URI is azure":           func(k object) { delete(k, metadata.FieldKeyOwner); uri("azurekms://v.vault.azure.net/keys/k")(k) },
		"URI is vault":           func(k object) { delete(k, metadata.FieldKeyOwner); uri("hv:k")(k) },
		"URI is aws":             func(k object) { delete(k, metadata.FieldKeyOwner); uri("awskms:alias/k")(k) },
		"URI is empty":           uri(""),
		"type is unknown":        func(k object) { k["keytype"], k["scheme"] = "ml-dsa", "ml-dsa-65/1" },
		"scheme is unknown":      func(k object) { k["scheme"] = "ecdsa-sha2-nistp521" },
		"public is a stranger's": func(k object) { k["keyval"] = object{"public": b.key("stranger", "ecdsa-sha2-nistp256")} },
		"public is nothing":      func(k object) { k["keyval"] = object{"public": ""} },
		"public is a number":     func(k object) { k["keyval"] = object{"public": int64(7)} },
		"public is null":         func(k object) { k["keyval"] = object{"public": nil} },
		"public is another person's": func(k object) {
			if o := other(metadata.FieldKeyOwner); o != nil {
				k["keyval"] = metadata.Clone(o["keyval"])
			}
		},
		"public is the online key's": func(k object) {
			if o := other(metadata.FieldOnlineURI); o != nil {
				k["keyval"] = metadata.Clone(o["keyval"])
			}
		},
		"public has another label": func(k object) {
			b.written(k, func(t string) string { return strings.ReplaceAll(t, "PUBLIC KEY", "KEY") })
		},
		"public is a point in hex":      func(k object) { b.written(k, hexPoint) },
		"public with carriage returns":  func(k object) { b.written(k, func(t string) string { return strings.ReplaceAll(t, "\n", "\r\n") }) },
		"public behind other text":      func(k object) { b.written(k, func(t string) string { return "x\n" + t }) },
		"type is that of another curve": func(k object) { k["keytype"] = "ecdsa-sha2-nistp384" },
		"private is there":              func(k object) { k["keyval"].(object)["private"] = "x" },
		"a new unknown field":           func(k object) { k["x-new"] = "x" },
		"a new unknown type": func(k object) { // a new key, of a type that is not written
			k["keytype"], k["scheme"], k["keyval"] = "ml-dsa", "ml-dsa-65/1", object{"public": "QUJD"}
		},
	} {
		renamed(where, edit)
	}
	kept("stays, owner is another", owner("@stranger"))
	kept("stays, public is a stranger's", func(k object) { k["keyval"] = object{"public": b.key("stranger", "ecdsa-sha2-nistp256")} })
	kept("stays, field added", func(k object) { k["x-new"] = "x" })
	b.put("keyid", role+" "+kind+" is another's", role, func(s object) {
		all := delegating(s)["keys"].(object)
		if o := other(metadata.FieldKeyOwner); o != nil {
			all[keyID(o)], all[id] = all[id], o
		}
	})
	b.put("keyid", role+" "+kind+" is made up, everywhere", role, func(s object) {
		all := delegating(s)["keys"].(object)
		made := strings.Repeat("ab", 32)
		all[made] = all[id]
		delete(all, id)
		for _, d := range delegations(s) {
			for i, one := range d["keyids"].([]any) {
				if one == id {
					d["keyids"].([]any)[i] = made
				}
			}
		}
	})
}

// delegates makes a targets role delegate once more.
func (b *maker) delegates(role string) {
	stranger := b.person("stranger")
	delegate := func(where, name, path string, withFile bool) {
		b.emit(&mutant{event: b.e, class: "new role", where: role + " " + where, now: b.e.now, head: func() []change {
			signed := b.signed(role)
			d, _ := signed["delegations"].(object)
			if d == nil {
				d = object{"keys": object{}, "roles": []any{}}
				signed["delegations"] = d
			}
			d["keys"].(object)[keyID(stranger)] = stranger
			d["roles"] = append(d["roles"].([]any), object{"name": name, "keyids": []any{keyID(stranger)}, "threshold": int64(1), "terminating": true, "paths": []any{path}})
			changes := b.seal(role, signed, nil)
			if withFile {
				s := object{"_type": "targets", "spec_version": "1.0.31", "version": int64(1), "expires": b.e.now.AddDate(0, 0, 90).UTC().Format(metadata.TimeFormat), "targets": object{},
					metadata.FieldExpiryPeriod: int64(90), metadata.FieldSigningPeriod: int64(30)}
				payload, err := metadata.Canonical(s)
				if err != nil {
					b.t.Fatal(err)
				}
				sig, _ := b.keyring.sign(stranger, payload)
				changes = append(changes, change{path: repository.MetadataFile(name), content: content{git.ModeFile,
					string(metadata.Write(object{"signatures": []any{object{"keyid": keyID(stranger), "sig": sig}}, "signed": s}))}})
			}
			return changes
		}})
	}
	delegate("in good order", "docs", "docs/*", true)
	delegate("without metadata", "docs", "docs/*", false)
	delegate("of all paths", "docs", "*", true)
	delegate("named like one but for case", "Registry.NPMjs.org", "x/*", true)
	delegate("named like a version of root", "9.root", "x/*", true)
	delegate("named root", "root", "x/*", false)
	delegate("named like itself", role, role+"/*", false)
	delegate("named twice", "registry.npmjs.org", "x/*", false)
	delegate("named like a file", "docs.json", "x/*", true)
	delegate("named with a reversal", "docs\u202e", "x/*", true)
	b.put("new role", role+" hash bins", role, func(s object) {
		s["delegations"] = object{"keys": object{keyID(stranger): stranger},
			"succinct_roles": object{"bit_length": int64(4), "name_prefix": "bin", "keyids": []any{keyID(stranger)}, "threshold": int64(1)}}
	})
	b.put("new role", role+" hash bins without a threshold", role, func(s object) {
		s["delegations"] = object{"keys": object{keyID(stranger): stranger},
			"succinct_roles": object{"bit_length": int64(4), "name_prefix": "bin", "keyids": []any{keyID(stranger)}, "threshold": int64(0)}}
	})
	b.put("new role", role+" hash bins named with a path", role, func(s object) {
		s["delegations"] = object{"keys": object{keyID(stranger): stranger},
			"succinct_roles": object{"bit_length": int64(4), "name_prefix": "../bin", "keyids": []any{keyID(stranger)}, "threshold": int64(1)}}
	})
}

// entryOf is what metadata says of an artifact.
func entryOf(data string) object {
	sum := sha256.Sum256([]byte(data))
	return object{"length": int64(len(data)), "hashes": object{"sha256": hex.EncodeToString(sum[:])}}
}

// artifacts changes what a targets role lists.
func (b *maker) artifacts(role string) {
	put := func(where string, edit func(listed object)) {
		b.put("artifact", role+" "+where, role, func(s object) { edit(s["targets"].(object)) })
	}
	names := slices.Sorted(maps.Keys(b.signed(role)["targets"].(object)))
	prefix := ""
	if role != "targets" {
		prefix = role + "/"
	}
	for _, name := range []string{"../x", "/x", "a//b", "a/./b", `a\b`, "a\x00b", "a\u202eb", ""} {
		put(fmt.Sprintf("lists %q", name), func(l object) { l[prefix+name] = entryOf("x") })
	}
	put("lists a file that is not there", func(l object) { l[prefix+"nothing"] = entryOf("x") })
	put("lists another role's", func(l object) { l["other/x"] = entryOf("x") })
	if len(names) == 0 {
		return
	}
	name := names[0]
	put("unlisted", func(l object) { delete(l, name) })
	put("in another case too", func(l object) { l[strings.ToUpper(name)] = l[name] })
	put("another file's hash", func(l object) { l[name].(object)["hashes"] = entryOf("other")["hashes"] })
	put("a byte longer", func(l object) { l[name].(object)["length"] = integer(l[name].(object)["length"]) + 1 })
	put("an unknown hash as well", func(l object) { l[name].(object)["hashes"].(object)["x"] = "00" })
	put("a hash that is a path", func(l object) { l[name].(object)["hashes"].(object)["x"] = "../../1.root.json" })
	put("an unknown hash only", func(l object) { l[name].(object)["hashes"] = object{"x": "00"} })
	put("a wrong sha512 as well", func(l object) { l[name].(object)["hashes"].(object)["sha512"] = strings.Repeat("00", 64) })
	put("custom", func(l object) { l[name].(object)["custom"] = object{"x": "x"} })
}

// unsigned changes what no signature covers.
func (b *maker) unsigned(role string) {
	text := func(where string, edit func(text string) string) {
		b.emit(&mutant{event: b.e, class: "unsigned", where: role + " " + where, now: b.e.now, head: func() []change {
			return b.seal(role, b.signed(role), edit)
		}})
	}
	list := func(where string, edit func(l []any) []any) {
		text("signatures: "+where, func(t string) string {
			v, _, err := metadata.ParseTree([]byte(t))
			if err != nil {
				b.t.Fatal(err)
			}
			o := v.(object)
			o["signatures"] = edit(o["signatures"].([]any))
			return string(metadata.Write(o))
		})
	}
	first := func(edit func(s object)) func(l []any) []any {
		return func(l []any) []any { edit(l[0].(object)); return l }
	}
	flip := func(s object) {
		sig := s["sig"].(string)
		last := "0"
		if strings.HasSuffix(sig, "0") {
			last = "1"
		}
		s["sig"] = sig[:len(sig)-1] + last
	}
	list("the reverse order", func(l []any) []any { slices.Reverse(l); return l })
	list("none", func([]any) []any { return []any{} })
	list("one fewer", func(l []any) []any { return l[1:] })
	list("one twice", func(l []any) []any { return append(l, l[0]) })
	list("one twice, first broken", func(l []any) []any { s := metadata.Clone(l[0].(object)); flip(s); return append([]any{s}, l...) })
	list("a stranger's", func(l []any) []any { return append(l, object{"keyid": strings.Repeat("cd", 32), "sig": "00"}) })
	list("a placeholder of a stranger", func(l []any) []any { return append(l, object{"keyid": strings.Repeat("cd", 32), "sig": ""}) })
	list("one emptied", first(func(s object) { s["sig"] = "" }))
	list("all emptied", func(l []any) []any {
		for _, s := range l {
			s.(object)["sig"] = ""
		}
		return l
	})
	list("one broken", first(flip))
	list("all broken", func(l []any) []any {
		for _, s := range l {
			flip(s.(object))
		}
		return l
	})
	list("one in capitals", first(func(s object) { s["sig"] = strings.ToUpper(s["sig"].(string)) }))
	list("one is no hex", first(func(s object) { s["sig"] = "zz" }))
	list("one is a number", first(func(s object) { s["sig"] = int64(7) }))
	list("one is null", func(l []any) []any { return append(l, nil) })
	list("one has no keyid", first(func(s object) { delete(s, "keyid") }))
	list("one keyid in capitals", first(func(s object) { s["keyid"] = strings.ToUpper(s["keyid"].(string)) }))
	list("all by one person", func(l []any) []any {
		for _, s := range l {
			s.(object)["sig"] = l[0].(object)["sig"]
		}
		return l
	})
	list("a field added", first(func(s object) { s["x"] = "x" }))
	text("a field added", func(t string) string { return strings.Replace(t, "{", `{"x": 1,`, 1) })
	text("signatures twice", func(t string) string { return strings.Replace(t, "{", `{"signatures": [],`, 1) })
	text("signed twice", func(t string) string { return strings.Replace(t, "{", `{"signed": {},`, 1) })
	text("Signed as well", func(t string) string { return strings.Replace(t, "{", `{"Signed": {},`, 1) })
	text("a newline at the end", func(t string) string { return t + "\n" })
	text("two indents", func(t string) string {
		v, _, err := metadata.ParseTree([]byte(t))
		if err != nil {
			b.t.Fatal(err)
		}
		return string(metadata.WriteIndent(v, 2))
	})
	text("tabs", func(t string) string { return strings.ReplaceAll(t, "\n ", "\n\t") })
	text("carriage returns", func(t string) string { return strings.ReplaceAll(t, "\n", "\r\n") })
	text("a byte order mark", func(t string) string { return "\ufeff" + t })
	text("something behind", func(t string) string { return t + "x" })
	text("a second document", func(t string) string { return t + t })
	text("a comment", func(t string) string { return "// x\n" + t })
	text("cut off", func(t string) string { return t[:len(t)/2] })
	text("nothing", func(string) string { return "" })
	text("null", func(string) string { return "null" })
	text("not UTF-8", func(t string) string { return strings.Replace(t, "_type", "_typ\xff", 1) })
	text("an escaped letter", func(t string) string { return strings.Replace(t, `"_type"`, `"\u005ftype"`, 1) })
	text("nested too deep", func(t string) string {
		return strings.Replace(t, "{", `{"x": `+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+",", 1)
	})
}

// files adds, removes, renames and links files.
func (b *maker) files() {
	put := func(class, where string, changes ...change) {
		b.emit(&mutant{event: b.e, class: class, where: where, now: b.e.now, head: func() []change { return changes }})
	}
	write := func(path, data string) change { return change{path: path, content: content{git.ModeFile, data}} }
	for _, path := range []string{".github/workflows/x.yml", ".github/CODEOWNERS", ".tufops.yaml", ".tufops.yaml/x", ".github", "README.md", "x/.github/workflows/x.yml", "metadata/x", "metadata/x.txt", "metadata/.x.json",
		"metadata/root_history/x", "metadata/root_history/0.root.json", "metadata/root_history/00.root.json", "metadata/sub/root.json", "metadata/root_history/999.root.json",
		"targets/new", "targets/.hidden", "targets/registry.npmjs.org/new", "targets/registry.npmjs.org/.hidden", "targets/nobody/new",
		"keys/x", "keys/aa/attestation.pem", "METADATA/root.json", "Metadata/root.json"} {
		if _, there := b.e.head[path]; !there {
			put("file added", path, write(path, "x\n"))
		}
	}
	put("file added", "metadata/stray.json, a copy of targets", write("metadata/stray.json", b.e.head["metadata/targets.json"].data))
	put("file added", "metadata/ROOT.json, a copy of root", write("metadata/ROOT.json", b.e.head["metadata/root.json"].data))
	put("file added", "metadata/stray.json, no JSON", write("metadata/stray.json", "{"))
	for where, data := range map[string]string{"garbage": "x", "no list": `{"invites": {"@x": "root"}}`, "no login": `{"invites": {"x y": ["root"]}}`, "no role": `{"invites": {"@x": ["nothing"]}}`,
		"an online role": `{"invites": {"@x": ["snapshot"]}}`, "a person for root": `{"invites": {"@x": ["root"]}}`, "a person for targets": `{"invites": {"@x": ["targets"]}}`, "a person twice": `{"invites": {"@x": ["root"], "@x": ["targets"]}}`,
		"nobody": `{"invites": {}}`, "more than invites": `{"invites": {}, "x": 1}`} {
		put("invitation", where, write(repository.StateFile, data))
	}
	seen := map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(b.e.head)) {
		kind := path
		_, old := b.e.known[path]
		switch {
		case strings.HasPrefix(path, "metadata/root_history/"):
			kind = "metadata/root_history/N.root.json"
			if b.e.head[path].data == b.e.head["metadata/root.json"].data {
				kind = "metadata/root_history/NEWEST.root.json"
			}
			if !old {
				kind += ", of the event"
			}
		case strings.HasPrefix(path, "targets/registry.npmjs.org/"):
			kind = "targets/registry.npmjs.org/ARTIFACT"
		case strings.HasPrefix(path, "targets/"):
			kind = "targets/ARTIFACT"
		case strings.HasPrefix(path, "keys/"):
			kind = "keys/KEY/FILE"
			if !old {
				kind += ", of the event"
			}
		case !strings.HasPrefix(path, "metadata/"):
			kind = "OTHER"
		}
		if seen[kind]++; seen[kind] > 2 {
			continue
		}
		c := b.e.head[path]
		put("file removed", kind, change{path: path, gone: true})
		put("file changed", kind+", a newline more", change{path: path, content: content{c.mode, c.data + "\n"}})
		put("file changed", kind+", emptied", change{path: path, content: content{c.mode, ""}})
		put("file renamed", kind, change{path: path, gone: true}, change{path: path + ".old", content: c})
		put("file renamed", kind+", in capitals", change{path: path, gone: true}, change{path: strings.ToUpper(path), content: c})
		put("file linked", kind, change{path: path, gone: true}, change{path: path, content: content{git.ModeSymlink, "root.json"}})
		put("file linked", kind+", to the same bytes", change{path: path, content: content{git.ModeSymlink, c.data}})
		put("file linked", kind+" is a submodule", change{path: path, content: content{git.ModeGitlink, ""}})
		put("file linked", kind+" is a folder", change{path: path, gone: true}, change{path: path + "/x", content: c})
		mode := git.ModeExecutable
		if c.mode == mode {
			mode = git.ModeFile
		}
		put("mode", kind, change{path: path, content: content{mode, c.data}})
	}
	for _, dir := range []string{"metadata", "targets", "keys", "metadata/root_history"} {
		put("file linked", dir+" is a link", change{path: dir, content: content{git.ModeSymlink, "elsewhere"}})
		put("file linked", "a link in "+dir, change{path: dir + "/link", content: content{git.ModeSymlink, "/etc/passwd"}})
		put("file linked", "a submodule in "+dir, change{path: dir + "/module", content: content{git.ModeGitlink, ""}})
	}
	for _, online := range []string{"timestamp", "snapshot"} {
		b.put("online", online+", a new version well signed", online, func(s object) { s["version"] = integer(s["version"]) + 1 })
	}
	if _, there := b.e.head["metadata/registry.npmjs.org.json"]; there {
		put("file removed", "metadata and artifacts of a delegated role", change{path: "metadata/registry.npmjs.org.json", gone: true}, change{path: "targets/registry.npmjs.org", gone: true})
	}
}

// quorums leaves one side's signatures away.
func (b *maker) quorums(changed []string) {
	for _, role := range changed {
		o := b.e.head.doc(repository.MetadataFile(role))
		keep := func(where string, keep func(id string) bool) {
			b.emit(&mutant{event: b.e, class: "quorum", where: role + " signed " + where, now: b.e.now, head: func() []change {
				v := metadata.Clone(o)
				v["signatures"] = slices.DeleteFunc(v["signatures"].([]any), func(s any) bool { return !keep(s.(object)["keyid"].(string)) })
				return b.place(role, v["signed"], string(metadata.Write(v)))
			}})
		}
		keep("by nobody", func(string) bool { return false })
		delegator := "metadata/targets.json"
		if role == "root" || role == "targets" {
			delegator = "metadata/root.json"
		}
		for where, t := range map[string]tree{"below the old threshold": b.e.known, "below the new threshold": b.e.head} {
			doc := t.doc(delegator)
			if doc == nil {
				continue
			}
			d := delegations(doc["signed"].(object))[role]
			if d == nil {
				continue
			}
			ids, _ := d["keyids"].([]any)
			keep(where, func(id string) bool {
				n := integer(d["threshold"]) - 1
				for _, one := range o["signatures"].([]any) { // the first few of those who may, and everybody else
					switch s := one.(object); {
					case !slices.Contains(ids, s["keyid"]):
						if s["keyid"] == id {
							return true
						}
					case s["sig"] != "":
						if n--; s["keyid"] == id {
							return n >= 0
						}
					}
				}
				return false
			})
		}
		b.emit(&mutant{event: b.e, class: "quorum", where: role + " signed for another payload", now: b.e.now, head: func() []change {
			v := metadata.Clone(o)
			v["signed"].(object)["x-new"] = "x"
			return b.place(role, v["signed"], string(metadata.Write(v)))
		}})
	}
}

// inFlight lets main move while the event is open: what was merged there is in
// good order, and signed.
func (b *maker) inFlight(changed []string) {
	main := func(where string, edit func() []change) {
		b.emit(&mutant{event: b.e, class: "main moves", where: where, now: b.e.now, main: edit})
	}
	// on seals against main rather than the head.
	on := func(role string, edit func(s object)) func() []change {
		return func() []change {
			e := *b.e
			e.head, e.known = e.base, tree{}
			o := maker{keyring: b.keyring, e: &e}
			signed := e.base.doc(repository.MetadataFile(role))["signed"].(object)
			signed["version"] = integer(signed["version"]) + 1
			edit(signed)
			changes := o.seal(role, signed, nil)
			return slices.DeleteFunc(changes, func(c change) bool { return c.gone })
		}
	}
	for _, role := range []string{"root", "targets", "registry.npmjs.org"} {
		if b.e.base[repository.MetadataFile(role)].data == "" {
			continue
		}
		kind := "another role, which the event leaves alone: " + role
		if slices.Contains(changed, role) {
			kind = "another version of the same role: " + role
		}
		main(kind, on(role, func(s object) { s["x-new"] = "x" }))
	}
	for _, role := range changed {
		if role == "root" {
			continue
		}
		delegator := "targets"
		if role == "targets" {
			delegator = "root"
		}
		if slices.Contains(changed, delegator) {
			continue
		}
		stranger := b.person("stranger")
		main(delegator+" takes "+role+" from all its people", on(delegator, func(s object) {
			d := delegations(s)[role]
			d["keyids"], d["threshold"] = []any{keyID(stranger)}, int64(1)
			delegating(s)["keys"].(object)[keyID(stranger)] = stranger
		}))
		main(delegator+" asks for all signatures of "+role, on(delegator, func(s object) {
			d := delegations(s)[role]
			d["keyids"] = append(d["keyids"].([]any), keyID(stranger))
			d["threshold"] = int64(len(d["keyids"].([]any)))
			delegating(s)["keys"].(object)[keyID(stranger)] = stranger
		}))
	}
	main("online-sign has run", func() []change {
		e := *b.e
		e.head, e.known = e.base, tree{}
		o := maker{keyring: b.keyring, e: &e}
		signed := e.base.doc("metadata/timestamp.json")["signed"].(object)
		signed["version"] = integer(signed["version"]) + 1
		return o.seal("timestamp", signed, nil)
	})
	for _, path := range slices.Sorted(maps.Keys(b.e.head)) {
		if strings.HasPrefix(path, "targets/") && b.e.base[path] == b.e.head[path] {
			main("an artifact is removed without its metadata", func() []change { return []change{{path: path, gone: true}} })
			main("an artifact is replaced without its metadata", func() []change {
				return []change{{path: path, content: content{git.ModeFile, "other\n"}}}
			})
			break
		}
	}
	main("an artifact is added without its metadata", func() []change { return []change{{path: "targets/added", content: content{git.ModeFile, "x\n"}}} })
	main("a root of history is removed", func() []change { return []change{{path: "metadata/root_history/1.root.json", gone: true}} })
	main("the event itself is merged, its branch stays", func() []change {
		var changes []change
		for _, role := range changed {
			file := repository.MetadataFile(role)
			changes = append(changes, change{path: file, content: b.e.head[file]})
		}
		return changes
	})
}

// hexPoint is an ECDSA key as Sigstore once wrote it.
func hexPoint(text string) string {
	block, _ := pem.Decode([]byte(text))
	public, _ := x509.ParsePKIXPublicKey(block.Bytes)
	point, err := public.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(point)
}

// A pqKey is a key of ML-DSA that takes the place of another one in root, whoever
// holds that. Root is signed by all who are listed before and after.
type pqKey struct {
	where   string
	level   string   // 44 if empty
	allowed []string // levels; nil: all
	online  bool     // it is not a person's

	key  func(k object)                                                      // changes it before it has its keyid
	root func(s object, id string)                                           // changes root
	sig  func(private *mldsa.PrivateKey, payload, sig []byte) (other []byte) // changes its signature
}

// needed asks for the signatures of all keys of root.
func needed(s object, _ string) {
	d := delegations(s)["root"]
	d["threshold"] = int64(len(d["keyids"].([]any)))
}

func (b *maker) pqKeys() {
	list := []pqKey{
		{where: "44 in the place of another", level: "44"},
		{where: "65 in the place of another", level: "65"},
		{where: "87 in the place of another", level: "87"},
		{where: "44 online", level: "44", online: true},
		{where: "unasked", allowed: []string{}},
		{where: "online, unasked", allowed: []string{}, online: true},
		{where: "of another level than was asked for", level: "65", allowed: []string{"44", "87"}},
		{where: "needed", root: needed},
		{where: "listed by nobody", root: func(s object, id string) {
			key := b.mldsaOf("another", "44")
			key[metadata.FieldKeyOwner] = "@another"
			delegating(s)["keys"].(object)[keyID(key)] = key
		}},
		{where: "twice, by a second keyid", root: func(s object, id string) { b.twice(s, id, func(k object) { k["x"] = "another keyid" }) }},
		{where: "twice, by another text", root: func(s object, id string) {
			b.twice(s, id, func(k object) {
				b.written(k, func(t string) string { return strings.ReplaceAll(t, "\n", "\r\n") })
			})
		}},
	}
	for where, edit := range map[string]func(k object){
		"scheme of a lower level":   func(k object) { k["scheme"] = "ml-dsa-44/1" },
		"scheme of a higher level":  func(k object) { k["scheme"] = "ml-dsa-87/1" },
		"scheme of a later version": func(k object) { k["scheme"] = "ml-dsa-65/2" },
		"scheme without a version":  func(k object) { k["scheme"] = "ml-dsa-65" },
		"scheme in capitals":        func(k object) { k["scheme"] = "ML-DSA-65/1" },
		"type in capitals":          func(k object) { k["keytype"] = "ML-DSA" },
		"type of ECDSA":             func(k object) { k["keytype"], k["scheme"] = "ecdsa", "ecdsa-sha2-nistp256" },
		"public is in hex": func(k object) {
			b.written(k, func(t string) string { block, _ := pem.Decode([]byte(t)); return hex.EncodeToString(block.Bytes) })
		},
		"public has another label": func(k object) {
			b.written(k, func(t string) string { return strings.ReplaceAll(t, "PUBLIC KEY", "ML-DSA PUBLIC KEY") })
		},
		"public is there twice": func(k object) { b.written(k, func(t string) string { return t + t }) },
		"public lacks a byte": func(k object) {
			b.written(k, func(t string) string {
				block, _ := pem.Decode([]byte(t))
				return string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes[:len(block.Bytes)-1]}))
			})
		},
	} {
		list = append(list, pqKey{where: where, level: "65", key: edit})
	}
	for where, change := range map[string]func(private *mldsa.PrivateKey, payload, sig []byte) []byte{
		"over the payload itself": func(p *mldsa.PrivateKey, payload, _ []byte) []byte { return b.mldsaSign(p, payload, "") },
		"over the digest alone":   func(p *mldsa.PrivateKey, payload, _ []byte) []byte { return b.mldsaSign(p, tap21(payload)[4:], "") },
		"with a context":          func(p *mldsa.PrivateKey, payload, _ []byte) []byte { return b.mldsaSign(p, tap21(payload), "tuf") },
		"over another payload":    func(p *mldsa.PrivateKey, payload, _ []byte) []byte { return b.mldsaSign(p, tap21(payload[1:]), "") },
		"a byte short":            func(_ *mldsa.PrivateKey, _, sig []byte) []byte { return sig[:len(sig)-1] },
		"a byte longer":           func(_ *mldsa.PrivateKey, _, sig []byte) []byte { return append(sig, 0) },
		"with one bit changed":    func(_ *mldsa.PrivateKey, _, sig []byte) []byte { sig[len(sig)/2] ^= 1; return sig },
		"emptied":                 func(*mldsa.PrivateKey, []byte, []byte) []byte { return nil },
	} {
		list = append(list, pqKey{where: "needed, signature " + where, root: needed, sig: change},
			pqKey{where: "not needed, signature " + where, sig: change})
	}
	for _, k := range list {
		b.pqKey(k)
	}
}

func (b *maker) pqKey(k pqKey) {
	policy := repository.Policy{KeyTypes: []string{"ecdsa/ecdsa-sha2-nistp256", "ecdsa/ecdsa-sha2-nistp384"}}
	if k.allowed == nil {
		k.allowed = []string{"44", "65", "87"}
	}
	for _, level := range k.allowed {
		policy.KeyTypes = append(policy.KeyTypes, "ml-dsa/ml-dsa-"+level+"/1")
	}
	b.emit(&mutant{event: b.e, class: "ml-dsa", where: k.where, now: b.e.now, policy: policy, head: func() []change {
		signed := b.signed("root")
		role, field := "root", metadata.FieldKeyOwner
		if k.online {
			role, field = "timestamp", metadata.FieldOnlineURI
		}
		old := delegations(signed)[role]["keyids"].([]any)[0].(string)
		key := b.mldsaOf("pq", cmp.Or(k.level, "44"))
		key[field] = delegating(signed)["keys"].(object)[old].(object)[field]
		if k.key != nil {
			k.key(key)
		}
		exchange(signed, old, key)
		if k.root != nil {
			k.root(signed, keyID(key))
		}
		return b.seal("root", signed, func(text string) string {
			if k.sig == nil {
				return text
			}
			v, _, err := metadata.ParseTree([]byte(text))
			if err != nil {
				b.t.Fatal(err)
			}
			payload, err := metadata.Canonical(v.(object)["signed"])
			if err != nil {
				b.t.Fatal(err)
			}
			for _, s := range v.(object)["signatures"].([]any) {
				if s := s.(object); s["keyid"] == keyID(key) {
					sig, err := hex.DecodeString(s["sig"].(string))
					if err != nil || len(sig) == 0 {
						b.t.Fatalf("no signature to change: %v", err)
					}
					s["sig"] = hex.EncodeToString(k.sig(b.mldsaKey("pq", cmp.Or(k.level, "44")), payload, sig))
				}
			}
			return string(metadata.Write(v.(object)))
		})
	}})
}

// twice lists a key of root a second time, changed.
func (b *maker) twice(s object, id string, how func(k object)) {
	all := delegating(s)["keys"].(object)
	key := metadata.Clone(all[id].(object))
	how(key)
	all[keyID(key)] = key
	d := delegations(s)["root"]
	d["keyids"] = append(d["keyids"].([]any), keyID(key))
	needed(s, id)
}
