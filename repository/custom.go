package repository

import (
	"context"
	"fmt"
	"strings"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// CustomFile says which custom metadata artifacts have, so that nobody edits
// targets metadata by hand: a JSON object from target path to the artifact's
// custom object, or null for none. What it does not name keeps what it has.
//
//	{"rekor.pub": {"sigstore": {"usage": "Rekor", "status": "Active", "uri": "https://rekor.example"}}}
//
// Its name begins with a dot, so it is no artifact.
const CustomFile = "targets/.custom.json"

var artifactCustom = rule(Rule{
	Name: "artifact-custom", Level: LevelError, Gates: "E",
	Title:   "custom metadata not as asked",
	Stops:   "custom metadata is edited by hand and lost again with the next update of the file",
	Source:  "staging 2026-04-09: \"Remove manual metadata changes\", then \"Re-add custom metadata\" around the bot",
	Breaks:  "targets/.custom.json cannot be read, names an artifact that no role lists, or asks for another custom than the metadata has",
	Example: `targets/.custom.json asks for custom {"sigstore":{"usage":"CTFE"}} of a.txt; targets lists none`,
	Hint:    "bring the metadata in line: tufops update-targets",
})

// maxCustom bounds [CustomFile], in bytes.
const maxCustom = 1_000_000

// custom reads [CustomFile]: by target path the custom object, nil for none. It
// is empty where there is no such file.
func (s *State) custom(ctx context.Context) (map[string]metadata.Object, error) {
	f, ok := s.File(CustomFile)
	if !ok {
		return nil, nil
	}
	if !f.Regular() {
		return nil, &CustomError{fmt.Errorf("it is %s, not a regular file", f.Mode)}
	}
	data, err := s.repo.Git.BlobLimit(ctx, f.OID, maxCustom)
	if large, ok := err.(*git.TooLargeError); ok {
		return nil, &CustomError{large}
	}
	if err != nil {
		return nil, err
	}
	return parseCustom(data)
}

// CustomError says that [CustomFile] cannot be read.
type CustomError struct{ Err error }

func (e *CustomError) Error() string { return CustomFile + ": " + e.Err.Error() }
func (e *CustomError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *CustomError) Hint() string {
	return `write it like {"rekor.pub": {"sigstore": {"usage": "Rekor", "status": "Active", "uri": "https://rekor.example"}}}`
}

// parseCustom reads the content of [CustomFile]. Of sigstore only the fields
// that clients know are allowed, since a misspelt one would be no field.
func parseCustom(data []byte) (map[string]metadata.Object, error) {
	tree, duplicates, err := metadata.ParseTree(data)
	if err != nil {
		return nil, &CustomError{err}
	}
	if len(duplicates) > 0 {
		return nil, &CustomError{fmt.Errorf("%v", duplicates[0])}
	}
	top, ok := tree.(metadata.Object)
	if !ok {
		return nil, &CustomError{fmt.Errorf("it holds no object")}
	}
	custom := map[string]metadata.Object{}
	for _, target := range sortedKeys(top) {
		switch v := top[target].(type) {
		case nil:
			custom[target] = nil
		case metadata.Object:
			sigstore, has := v["sigstore"]
			fields, ok := sigstore.(metadata.Object)
			if has && !ok {
				return nil, &CustomError{fmt.Errorf("sigstore of %q is no object", target)}
			}
			for _, name := range sortedKeys(fields) {
				if _, text := fields[name].(string); !text || name != "usage" && name != "status" && name != "uri" {
					return nil, &CustomError{fmt.Errorf("sigstore of %q has %q; it holds usage, status and uri, each a string", target, name)}
				}
			}
			if _, err := metadata.Canonical(v); err != nil { // or nobody could sign it
				return nil, &CustomError{fmt.Errorf("custom of %q: %w", target, err)}
			}
			custom[target] = v
		default:
			return nil, &CustomError{fmt.Errorf("custom of %q is neither an object nor null", target)}
		}
	}
	return custom, nil
}

// setCustom gives an entry of a targets role the custom object that is asked
// for, and reports whether it had it.
func setCustom(entry metadata.Object, target string, custom map[string]metadata.Object) bool {
	want, asked := custom[target]
	if !asked || sameCustom(entry, want) {
		return true
	}
	if want == nil {
		delete(entry, "custom")
	} else {
		entry["custom"] = metadata.Clone(want)
	}
	return false
}

func sameCustom(entry, want metadata.Object) bool {
	have, has := entry["custom"]
	if want == nil || !has {
		return want == nil && !has
	}
	return string(metadata.Write(have)) == string(metadata.Write(want))
}

// artifactCustom stops an event in which the custom metadata of an artifact is
// not what people have asked for. It is judged where the event changes the file
// that asks, or the role that lists the artifact.
func (j *judge) artifactCustom(f *findings, s *Status) {
	to := j.event.Proposed
	asked, has := to.File(CustomFile)
	was, had := j.event.KnownGood.File(CustomFile)
	changed := has != had || asked.OID != was.OID
	if !has || !changed && len(s.Roles) == 0 {
		return
	}
	file := j.event.repo.Path(CustomFile)
	custom, err := to.custom(j.ctx)
	if invalid, ok := err.(*CustomError); ok {
		if changed {
			f.add(artifactCustom, file, invalid.Hint(), "%v", invalid)
		}
		return
	}
	if err != nil {
		j.failed(err)
		return
	}
	defer func() { f.role = "" }()
	for _, target := range sortedKeys(custom) {
		role := to.holder(target)
		if !changed && s.role(role) == nil {
			continue
		}
		f.role = role
		doc, err := to.Document(role)
		if err != nil {
			continue // it has its own finding
		}
		entry, listed := doc.Targets()[target]
		switch {
		case !listed:
			f.add(artifactCustom, file, "take it out, or correct the path", "%s asks for custom of %q, which %s does not list", CustomFile, target, role)
		case !sameCustom(entry.Object, custom[target]):
			f.add(artifactCustom, file, artifactCustom.Hint, "%s asks for %s of %s; %s lists %s", CustomFile, customText(custom[target]), target, role, strings.TrimPrefix(customText(entry.Object["custom"]), "custom "))
		}
	}
}

func customText(v any) string {
	if o, ok := v.(metadata.Object); v == nil || ok && o == nil {
		return "custom none"
	}
	text, err := metadata.Canonical(v)
	if err != nil {
		text = metadata.Write(v)
	}
	return fmt.Sprintf("custom %.300s", text)
}
