package signer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tufops/tufops/internal/git"
)

// The names of the configuration file, at the top of the checkout: the first
// that exists is read.
const (
	ConfigFile       = ".tufops-sign.ini"
	LegacyConfigFile = ".tuf-on-ci-sign.ini"
)

// Config is what a key holder has set up on this machine.
type Config struct {
	File        string            // where it was read
	User        string            // @login, lower case
	PullRemote  string            // where events are read
	PushRemote  string            // where signatures go
	Module      string            // pykcs11lib; empty where it is not set
	Key         string            // the SPEC of the usual key; empty where it is not set
	MetadataURL string            // where clients get the metadata; empty where it is not set
	SigningKeys map[string]string // keyid to URI
}

// ConfigError says that the configuration cannot be used.
type ConfigError struct {
	File string
	Err  error
	hint string
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }

func (e *ConfigError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ConfigError) Hint() string { return e.hint }

var (
	loginPattern = regexp.MustCompile(`^@[a-z0-9_-]+$`)
	keyidPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

const maxConfig = 1 << 20

// LoadConfig reads the configuration of the checkout. A file that git tracks is
// refused, and so is one whose content lies in the checkout under another name:
// somebody else could have written it. A PKCS#11 module inside the checkout is
// refused for the same reason.
func LoadConfig(ctx context.Context, g *git.Repo) (Config, error) {
	top := g.Top()
	if top == "" {
		return Config{}, &ConfigError{
			File: g.GitDir(), Err: errors.New("it has no work tree, and so no place for " + ConfigFile),
			hint: "run it in a clone that has one",
		}
	}
	for _, name := range []string{ConfigFile, LegacyConfigFile} {
		file := filepath.Join(top, name)
		st, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Config{}, err
		}
		fail := func(hint, format string, args ...any) (Config, error) {
			return Config{}, &ConfigError{File: file, Err: fmt.Errorf(format, args...), hint: hint}
		}
		tracked, err := g.IsTracked(ctx, name)
		if err != nil {
			return Config{}, err
		}
		if tracked {
			return Config{}, trackedConfig(file)
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			target, err := filepath.EvalSymlinks(file)
			if err != nil {
				return Config{}, err
			}
			if inside(top, target) {
				return fail("put your settings into the file itself", "it is a link to %s, inside the checkout", target)
			}
			if st, err = os.Stat(target); err != nil {
				return Config{}, err
			}
		}
		if !st.Mode().IsRegular() || st.Size() > maxConfig {
			return fail("", "it is not a regular file of reasonable size")
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return Config{}, err
		}
		c, err := parseConfig(string(data), top)
		if err != nil {
			return fail("it looks like this:\n"+sampleConfig, "%w", err)
		}
		c.File = file
		if c.Module != "" {
			if err := CheckModule(top, c.Module); err != nil {
				return Config{}, fmt.Errorf("%s: %w", file, err)
			}
		}
		return c, nil
	}
	return Config{}, &ConfigError{File: filepath.Join(top, ConfigFile), Err: errors.New("there is no configuration"), hint: "run: tufops-sign setup; or write this into it:\n" + sampleConfig}
}

// ReadConfig reads a configuration that belongs to no checkout, from a folder that
// only its person writes to. Where there is none it is empty.
func ReadConfig(file string) (Config, error) {
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{SigningKeys: map[string]string{}}, nil
	}
	fail := func(hint string, err error) (Config, error) { return Config{}, &ConfigError{file, err, hint} }
	if err != nil {
		return fail("", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxConfig {
		return fail("", errors.New("it is not a regular file of reasonable size"))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fail("", err)
	}
	c, err := parseConfig(string(data), filepath.Dir(file))
	if err != nil {
		return fail("it looks like this:\n"+sampleConfig, err)
	}
	c.File = file
	return c, nil
}

func trackedConfig(file string) error {
	return &ConfigError{
		File: file, Err: errors.New("git tracks it, so it is not your configuration but that of whoever committed it"),
		hint: "git rm --cached " + filepath.Base(file) + ", commit that, and write your own with: tufops-sign setup",
	}
}

// ModuleError says that a PKCS#11 module must not be loaded.
type ModuleError struct{ Module string }

func (e *ModuleError) Error() string {
	return fmt.Sprintf("the PKCS#11 module %s lies inside the checkout, where others can write", e.Module)
}

// Hint says what to do.
func (e *ModuleError) Hint() string {
	return "name a module of the system, such as /usr/lib/x86_64-linux-gnu/libykcs11.so"
}

// CheckModule refuses a PKCS#11 module that lies in the checkout whose top is
// given, by whatever path or link: whoever can push would run code on this
// machine.
func CheckModule(top, module string) error {
	if top != "" && inside(top, module) {
		return &ModuleError{module}
	}
	return nil
}

const sampleConfig = `[settings]
user-name = @your-login
pull-remote = origin
push-remote = origin
key = yubikey`

func parseConfig(text, top string) (Config, error) {
	ini, err := parseINI(text)
	if err != nil {
		return Config{}, err
	}
	c := Config{PullRemote: "origin", SigningKeys: map[string]string{}}
	c.PushRemote = ini["settings"]["pull-remote"]
	for name, to := range map[string]*string{
		"user-name": &c.User, "pull-remote": &c.PullRemote, "push-remote": &c.PushRemote,
		"pykcs11lib": &c.Module, "key": &c.Key, "metadata-url": &c.MetadataURL,
	} {
		value, there := ini["settings"][name]
		if strings.Contains(value, "\n") {
			return Config{}, fmt.Errorf("%s has more than one line", name)
		}
		if there && value != "" {
			*to = value
		}
	}
	if c.PushRemote == "" {
		c.PushRemote = c.PullRemote
	}
	c.User = Login(c.User)
	if c.User == "@" {
		return Config{}, errors.New("user-name is missing in [settings]")
	}
	if !loginPattern.MatchString(c.User) {
		return Config{}, fmt.Errorf("user-name %q is not a login like @alice", c.User)
	}
	c.Key = c.spec(c.Key, top)
	for id, uri := range ini["signing-keys"] {
		if !keyidPattern.MatchString(id) {
			return Config{}, fmt.Errorf("%q in [signing-keys] is not a keyid of 64 hex digits", id)
		}
		c.SigningKeys[id] = c.spec(uri, top)
	}
	return c, nil
}

// spec makes the path of a file: SPEC absolute: one in the configuration is
// relative to it. What tuf-on-ci calls hsm: it gives the name that it has here.
func (c Config) spec(spec, top string) string {
	if p, ok := strings.CutPrefix(spec, "file:"); ok && !filepath.IsAbs(p) {
		return "file:" + filepath.Join(top, p)
	}
	rest, ok := strings.CutPrefix(spec, "hsm:")
	if !ok {
		return spec
	}
	id, query, _ := strings.Cut(rest, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return spec
	}
	label := values.Get("label")
	if serial, ok := strings.CutPrefix(label, "YubiKey PIV #"); ok && c.Module == "" && (id == "" || id == "2") {
		return "yubikey:" + serial
	}
	if c.Module == "" && rest == "" {
		return "yubikey"
	}
	n, err := strconv.ParseUint(cmp.Or(id, "2"), 10, 8)
	if err != nil {
		return spec
	}
	uri := fmt.Sprintf("pkcs11:id=%%%02X", n)
	if label != "" {
		uri += ";token=" + url.PathEscape(label)
	}
	return uri
}

// usual is the key that is looked for where none is named: a YubiKey's, or that
// of the configured PKCS#11 module with the CKA_ID that ykcs11 has for slot 9c.
func (c Config) usual() string {
	if c.Module != "" {
		return "pkcs11:id=%02"
	}
	return "yubikey"
}

// Login is a login the way owners are written: lower case, with an @.
func Login(s string) string {
	return "@" + strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "@")
}

// inside reports whether a path, or what it links to, lies in a directory. A
// relative path is one from the working directory or from dir.
func inside(dir, path string) bool {
	real := func(p string) string {
		if r, err := filepath.EvalSymlinks(p); err == nil {
			return r
		}
		return filepath.Clean(p)
	}
	candidates := []string{path}
	if !filepath.IsAbs(path) {
		if !strings.ContainsAny(path, `/\`) { // the system's loader searches its own folders
			if _, err := os.Stat(path); err != nil {
				return false
			}
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return true
		}
		candidates = []string{abs, filepath.Join(dir, path)}
	}
	for _, p := range candidates {
		for _, form := range []string{filepath.Clean(p), real(p)} {
			for _, d := range []string{filepath.Clean(dir), real(dir)} {
				if rel, err := filepath.Rel(d, form); err == nil && filepath.IsLocal(rel) {
					return true
				}
			}
		}
	}
	return false
}
