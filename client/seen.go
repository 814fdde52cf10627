package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/wholefile"
)

// Seen is what earlier checks of a repository saw, so that the next one notices
// what goes back or changes under its name. A cache cannot do that for whoever
// watches: it takes what a client takes, and an older file fails there as one of
// many faults.
type Seen struct {
	Schema      int                 `json:"schema"`
	MetadataURL string              `json:"metadata_url"`
	Roles       map[string]SeenRole `json:"roles"`
}

// SeenRole is the newest version of a role, and its bytes.
type SeenRole struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"`
}

// maxSeen is more than all the roles of a snapshot take.
const maxSeen = 16 << 20

// ReadSeen reads what [Seen.Write] wrote. A file that is not there is empty.
func ReadSeen(file string) (*Seen, error) {
	s := &Seen{Schema: 1, Roles: map[string]SeenRole{}}
	data, err := readFile(file, maxSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, &SeenFileError{File: file, Err: reason(err)}
	}
	s.Schema = 0
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, &SeenFileError{File: file, Err: err}
	}
	if s.Schema != 1 || s.Roles == nil {
		return nil, &SeenFileError{File: file, Err: fmt.Errorf("it has schema %d, and 1 is known", s.Schema)}
	}
	return s, nil
}

// Write stores it, as a whole or not at all.
func (s *Seen) Write(file string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := wholefile.Write(file, append(data, '\n'), 0o644); err != nil {
		return &CacheError{Do: "write", Path: file, Err: reason(err)}
	}
	return nil
}

// history compares what is served with what was seen before, and adds to that. What
// goes back or has changed is not added: it is told again until it is mended.
func (k *checker) history() {
	if k.Seen == nil {
		return
	}
	if k.Seen.MetadataURL == "" {
		k.Seen.MetadataURL = k.report.MetadataURL
	}
	var problems []Problem
	known := 0
	for _, role := range k.order() {
		if role == metadata.Root && !k.rootsGood {
			continue // as far as the walk came, which is not what is served
		}
		c := k.documents[role]
		sum := sha256.Sum256(c.doc.Raw())
		now, before := SeenRole{c.doc.Version(), hex.EncodeToString(sum[:])}, k.Seen.Roles[role]
		switch {
		case now.Version > before.Version:
			k.Seen.Roles[role] = now
		case now != before:
			err := &SeenError{Role: role, Source: c.source, Now: now, Before: before}
			problems = append(problems, Problem{Cause: CauseRepository, Message: err.Error(), Hint: err.Hint()})
			continue
		}
		if before.Version > 0 {
			known++
		}
	}
	switch {
	case problems != nil:
		k.fail(CheckSeen, problems...)
	case !k.rootsGood:
		k.skip(CheckSeen, "the newest root is not known")
	default:
		k.pass(CheckSeen, "nothing older or other than before, of %s seen before", plural(known, "role"))
	}
}

// SeenError says that a role is older than what was seen before, or another one
// under the same version.
type SeenError struct {
	Role, Source string
	Now, Before  SeenRole
}

func (e *SeenError) Error() string {
	if e.Now.Version < e.Before.Version {
		return fmt.Sprintf("%s is %s v%d, and v%d was served before", e.Source, e.Role, e.Now.Version, e.Before.Version)
	}
	return fmt.Sprintf("%s is %s v%d with other bytes than before: sha256 %s and %s", e.Source, e.Role, e.Now.Version, e.Now.SHA256, e.Before.SHA256)
}

// Hint says what to do next.
func (e *SeenError) Hint() string {
	if e.Now.Version < e.Before.Version {
		return "something old was published, or a cache serves it: clients that were here before refuse it; publish again with tufops publish --deep"
	}
	return "a version never changes once it is published: look who else writes to that place; if both are yours, raise the version and publish"
}

// SeenFileError says that the state of earlier checks cannot be used.
type SeenFileError struct {
	File string
	Err  error
}

func (e *SeenFileError) Error() string {
	return fmt.Sprintf("the state %s cannot be used: %v", e.File, e.Err)
}

func (e *SeenFileError) Unwrap() error { return e.Err }

// Hint says what to do next.
func (e *SeenFileError) Hint() string {
	return "name the file that an earlier check of this repository wrote, or one that is not there yet"
}

// Prometheus is the report as metrics, in the text format of Prometheus.
func (r *CheckReport) Prometheus() string {
	var b strings.Builder
	metric := func(name, help string, rows func(row func(labels map[string]string, value int64))) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		rows(func(labels map[string]string, value int64) {
			fmt.Fprintf(&b, "%s{repository=%s", name, label(r.MetadataURL))
			for _, key := range []string{"result", "check", "mirror", "role"} {
				if v, ok := labels[key]; ok {
					fmt.Fprintf(&b, ",%s=%s", key, label(v))
				}
			}
			fmt.Fprintf(&b, "} %d\n", value)
		})
	}
	type labels = map[string]string
	metric("tufops_check_result", "1 for what the last check came to.", func(row func(labels, int64)) {
		for _, result := range []string{CheckPassed, CheckFailed, CheckUnreachable} {
			value := int64(0)
			if result == r.Result {
				value = 1
			}
			row(labels{"result": result}, value)
		}
	})
	metric("tufops_check_time_seconds", "When that was.", func(row func(labels, int64)) { row(nil, r.Time.Unix()) })
	metric("tufops_check_problems", "What each check found wrong, warnings included.", func(row func(labels, int64)) {
		for _, c := range r.Checks {
			row(labels{"check": c.Check}, int64(len(c.Problems)))
		}
	})
	metric("tufops_check_role_version", "The version of each role that verified.", func(row func(labels, int64)) {
		for _, role := range r.Roles {
			row(labels{"role": role.Role}, role.Version)
		}
	})
	metric("tufops_check_role_expires_seconds", "When it expires.", func(row func(labels, int64)) {
		for _, role := range r.Roles {
			row(labels{"role": role.Role}, role.Expires.Unix())
		}
	})
	if len(r.Mirrors) == 0 {
		return b.String()
	}
	metric("tufops_check_mirror_problems", "What was found wrong with each mirror, warnings included.", func(row func(labels, int64)) {
		for _, m := range r.Mirrors {
			row(labels{"mirror": m.MetadataURL}, int64(m.problems))
		}
	})
	metric("tufops_check_mirror_role_version", "The version of each role that verified there.", func(row func(labels, int64)) {
		for _, m := range r.Mirrors {
			for _, role := range m.Roles {
				row(labels{"mirror": m.MetadataURL, "role": role.Role}, role.Version)
			}
		}
	})
	metric("tufops_check_mirror_role_expires_seconds", "When it expires.", func(row func(labels, int64)) {
		for _, m := range r.Mirrors {
			for _, role := range m.Roles {
				row(labels{"mirror": m.MetadataURL, "role": role.Role}, role.Expires.Unix())
			}
		}
	})
	return b.String()
}

// label quotes the value of a label. Role names are strangers' text.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(escape.Terminal(cut(s))) + `"`
}
