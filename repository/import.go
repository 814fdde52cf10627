package repository

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// ImportFile holds what an import cannot know: per role the two periods in
// days, and per keyid the owner (@login) or the online URI of the key. A value in
// it wins over one in the metadata.
type ImportFile map[string]map[string]any

// What stands in an [ImportFile] where somebody has to fill in a value.
const (
	UndefinedPeriod = -1
	UndefinedHolder = "UNDEFINED ONLINE_URI OR KEYOWNER"
)

// The fields of the tool that came before tuf-on-ci.
const (
	playgroundExpiry  = "x-playground-expiry-period"
	playgroundSigning = "x-playground-signing-period"
	playgroundOwner   = "x-playground-keyowner"
	playgroundURI     = "x-playground-online-uri"
)

// ParseImportFile reads an import file. Empty data is an empty file.
func ParseImportFile(data []byte) (ImportFile, error) {
	file := ImportFile{}
	if len(data) == 0 {
		return file, nil
	}
	tree, dups, err := metadata.ParseTree(data)
	if err != nil {
		return nil, err
	}
	if len(dups) > 0 {
		return nil, errors.New(dups[0].String())
	}
	top, ok := tree.(metadata.Object)
	if !ok {
		return nil, errors.New(`it is not of the form {"root": {"` + metadata.FieldExpiryPeriod + `": 365}}`)
	}
	for role, v := range top {
		values, ok := v.(metadata.Object)
		if !ok {
			return nil, fmt.Errorf("the values of role %q are not an object", role)
		}
		file[role] = map[string]any{}
		for name, v := range values {
			switch v := v.(type) {
			case json.Number:
				n, err := v.Int64()
				if err != nil {
					return nil, fmt.Errorf("%s of role %q is %s, not a number of days", name, role, v)
				}
				file[role][name] = n
			case string:
				file[role][name] = v
			default:
				return nil, fmt.Errorf("%s of role %q is neither a number nor a string", name, role)
			}
		}
	}
	return file, nil
}

// Import adopts a TUF repository that lacks the custom fields: periods, and
// owner or online URI of every key. Root, targets and every other targets role
// with a file are edited; the periods of root also become those of timestamp
// and snapshot where these have none. Keyids of keys that change are computed
// anew.
//
// Where a value is known neither to file nor to the metadata nothing is edited,
// and the file is returned with what is to be filled in; else the result is nil.
func (e *Edit) Import(file ImportFile) (missing ImportFile, err error) {
	filled := ImportFile{}
	for role, values := range file {
		filled[role] = map[string]any{}
		for name, v := range values {
			filled[role][name] = v
		}
	}
	ok := true
	roles := append([]string{metadata.Root, metadata.Targets}, slices.DeleteFunc(e.base.Roles(), func(role string) bool {
		return slices.Contains(metadata.TopLevel, role)
	})...)
	for role := range file {
		if !slices.Contains(roles, role) {
			return nil, fmt.Errorf("the import file has values for role %q, which has no metadata", role)
		}
	}
	changes := map[string]metadata.Object{}
	for _, role := range roles {
		if filled[role] == nil {
			filled[role] = map[string]any{}
		}
		doc, err := e.Document(role)
		if err != nil {
			return nil, err
		}
		signed := metadata.Clone(doc.Signed())
		changes[role] = signed
		ok = importPeriods(signed, filled[role]) && ok
		if role == metadata.Root {
			for _, online := range []string{metadata.Timestamp, metadata.Snapshot} {
				ok = importPeriods(signed["roles"].(metadata.Object)[online].(metadata.Object), filled[role]) && ok
			}
		}
		if holder := delegationsObject(signed, role); holder != nil {
			good, err := importKeys(holder, role, filled[role])
			if err != nil {
				return nil, err
			}
			ok = good && ok
		}
	}
	if !ok {
		return filled, nil
	}
	for _, role := range roles { // delegators first: their keyids are the placeholders of the rest
		if e.importedAlready(role, changes[role]) {
			continue // a second run must not take away the signatures that it has by now
		}
		if err := e.personEdit(role, func(signed metadata.Object) error {
			clear(signed)
			for name, v := range changes[role] {
				signed[name] = v
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// importedAlready reports whether the event has a new version of the role
// already and the import would change nothing in it.
func (e *Edit) importedAlready(role string, signed metadata.Object) bool {
	doc, err := e.Document(role)
	if err != nil || string(metadata.Write(signed)) != string(metadata.Write(doc.Signed())) {
		return false
	}
	known, err := e.known.Document(role)
	return err == nil && doc.Version() > known.Version()
}

// delegationsObject is the part of a signed tree that holds keys and roles; nil
// where there is none.
func delegationsObject(signed metadata.Object, role string) metadata.Object {
	if role == metadata.Root {
		return signed
	}
	d, _ := signed["delegations"].(metadata.Object)
	return d
}

// importPeriods sets both periods of an object. It reports false and asks for a
// value where there is none.
func importPeriods(o metadata.Object, values map[string]any) bool {
	take := func(field string, others ...func() (any, bool)) bool {
		v, ok := values[field]
		if n, isNumber := v.(int64); ok && isNumber && n != UndefinedPeriod {
			o[field] = n
			return true
		}
		if _, there := o[field]; there {
			return true
		}
		for _, other := range others {
			if v, ok := other(); ok {
				o[field] = v
				return true
			}
		}
		values[field] = int64(UndefinedPeriod)
		return false
	}
	legacy := func(field string) func() (any, bool) {
		return func() (any, bool) { v, ok := o[field]; return v, ok }
	}
	signing := take(metadata.FieldSigningPeriod, legacy(playgroundSigning), func() (any, bool) {
		n, ok := o[playgroundExpiry].(json.Number)
		if !ok {
			return nil, false
		}
		days, err := n.Int64()
		return days / 2, err == nil // the signing period was not always required
	})
	expiry := take(metadata.FieldExpiryPeriod, legacy(playgroundExpiry))
	if expiry && signing {
		delete(o, playgroundExpiry)
		delete(o, playgroundSigning)
	}
	return expiry && signing
}

// importKeys gives every key its owner or URI and replaces keyids that no longer
// are the hash of their key.
func importKeys(holder metadata.Object, role string, values map[string]any) (bool, error) {
	keys := holder["keys"].(metadata.Object)
	ok := true
	for _, id := range sortedKeys(keys) {
		key := keys[id].(metadata.Object)
		value := ""
		if given, isText := values[id].(string); isText && given != UndefinedHolder {
			value = given
		}
		for _, field := range []string{metadata.FieldOnlineURI, metadata.FieldKeyOwner, playgroundURI, playgroundOwner} {
			if have, isText := key[field].(string); isText && value == "" {
				value = have
			}
		}
		switch {
		case value == "":
			values[id] = UndefinedHolder
			ok = false
			continue
		case strings.HasPrefix(value, "@"):
			if !ownerPattern.MatchString(value) {
				return false, fmt.Errorf("%q is not an owner of keyid %s of role %s: use a login like @alice", value, id, role)
			}
			key[metadata.FieldKeyOwner] = value
			delete(key, metadata.FieldOnlineURI)
		default:
			key[metadata.FieldOnlineURI] = value
			delete(key, metadata.FieldKeyOwner)
		}
		delete(key, playgroundOwner)
		delete(key, playgroundURI)
		computed, err := metadata.KeyID(key)
		if err != nil {
			return false, err
		}
		if computed != id {
			delete(keys, id)
			keys[computed] = key
			replaceKeyID(holder, role, id, computed)
		}
	}
	return ok, nil
}

// replaceKeyID puts a new keyid in the place of an old one in every role of a
// document.
func replaceKeyID(holder metadata.Object, by, old, computed string) {
	for _, o := range roleObjects(holder, by) {
		role, _ := o.(metadata.Object)
		ids, _ := role["keyids"].([]any)
		for i := range ids {
			if ids[i] == old {
				ids[i] = computed
			}
		}
	}
}
