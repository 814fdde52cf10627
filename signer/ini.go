package signer

import (
	"fmt"
	"math"
	"strings"
)

// parseINI reads the subset of Python's configparser that tuf-on-ci's
// configuration uses: sections, "name = value" or "name: value", whole-line
// comments, lines that are indented deeper than their name to go on with a
// value. Names are lower-cased. A section or name that stands twice is an
// error, as it is there. Values are not interpolated.
func parseINI(text string) (map[string]map[string]string, error) {
	sections := map[string]map[string]string{}
	section, name := "", ""
	indent := math.MaxInt
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		value := strings.TrimSpace(line)
		if value == "" || value[0] == '#' || value[0] == ';' {
			continue
		}
		fail := func(format string, args ...any) error {
			return fmt.Errorf("line %d: %s", i+1, fmt.Sprintf(format, args...))
		}
		depth := len(line) - len(strings.TrimLeft(line, " \t\r\v\f"))
		if name != "" && depth > indent {
			sections[section][name] = strings.TrimSpace(sections[section][name] + "\n" + value)
			continue
		}
		indent = depth
		if rest, ok := strings.CutPrefix(value, "["); ok {
			end := strings.LastIndexByte(rest, ']')
			if end < 1 {
				return nil, fail("%q is not a section like [settings]", value)
			}
			section, name = rest[:end], ""
			if sections[section] != nil {
				return nil, fail("section [%s] stands there twice", section)
			}
			sections[section] = map[string]string{}
			continue
		}
		if section == "" {
			return nil, fail("%q stands before the first section", value)
		}
		at := strings.IndexAny(value, "=:")
		if at < 1 {
			return nil, fail("%q is not of the form name = value", value)
		}
		name = strings.ToLower(strings.TrimSpace(value[:at]))
		if _, twice := sections[section][name]; twice {
			return nil, fail("%s stands in [%s] twice", name, section)
		}
		sections[section][name] = strings.TrimSpace(value[at+1:])
	}
	return sections, nil
}
