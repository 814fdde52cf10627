package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/repository"
)

// SetupAnswers are what is known beforehand of how this machine is to sign. What
// is empty is asked for, or, where nobody is asked, takes its default.
type SetupAnswers struct {
	User        string // @login
	PullRemote  string // origin
	PushRemote  string // PullRemote
	Key         string // SPEC; what is plugged in
	Module      string // pykcs11lib; none
	MetadataURL string // where clients get the metadata; it is not compared
	// RootSHA256 is the digest of a root that the person knows to be right: of its
	// file, or of what is signed, as the review shows it.
	RootSHA256 string
	Replace    bool // an existing configuration gives way
	NoTrial    bool // the key signs no trial text

	keys map[string]string // of the configuration that was there
}

// ConfiguredError says that there is a configuration already.
type ConfiguredError struct{ File string }

func (e *ConfiguredError) Error() string { return "there is a configuration already: " + e.File }

// Hint says what to do.
func (e *ConfiguredError) Hint() string {
	return "edit it, or write it anew with: tufops-sign setup --replace"
}

// PinError says that no root of main is the one that the person knows.
type PinError struct {
	SHA256      string
	First, Last int64
}

func (e *PinError) Error() string {
	if e.Last == 0 {
		return fmt.Sprintf("the root sha256 %s cannot be found: %s has no root yet", e.SHA256, Main)
	}
	return fmt.Sprintf("none of the roots of %s, versions %d to %d, has sha256 %s", Main, e.First, e.Last, e.SHA256)
}

// Hint says what to do.
func (e *PinError) Hint() string {
	return "check the digest with whoever gave it to you; if it is right, this remote has another repository: sign nothing from it"
}

// trial is what Setup lets a key sign. It is no JSON, so no signature of it can
// ever be one of metadata.
const trial = "tufops-sign setup: this signature is a trial and means nothing\n"

// Setup writes the configuration of a checkout, out of git's sight, checks what
// it names, and lets the key sign a trial text. live opens the place where
// clients get the metadata.
//
// The file is written before the key is tried: a token that is at home today
// keeps nobody from being set up. If something that the configuration names is
// not right, nothing is written.
func Setup(ctx context.Context, o Options, a SetupAnswers, live func(url string) PublishedRoots) error {
	o.Event = "sign/setup" // none is opened
	s, err := newSession(o)
	if err != nil {
		return err
	}
	file, err := s.configurable(ctx, a.Replace)
	if err != nil {
		return outcome{err, nothingWritten}
	}
	fail := func(err error) error { return outcome{err, nothingWritten} }
	if err := s.askSetup(ctx, &a); err != nil {
		return fail(err)
	}
	text := a.text()
	c, err := parseConfig(text, s.git.Top())
	if err != nil {
		return fail(&ConfigError{File: file, Err: err, hint: "it looks like this:\n" + sampleConfig})
	}
	if c.Module != "" {
		if err := CheckModule(s.git.Top(), c.Module); err != nil {
			return fail(err)
		}
	}
	s.Config, s.keys.config = c, c
	if a.MetadataURL != "" {
		s.Live = live(a.MetadataURL)
	}
	t := &page{}
	main, err := s.checkRemotes(ctx, t, a.RootSHA256)
	if err != nil {
		return fail(err)
	}
	if err := wholefile.Write(file, []byte(text), 0o600); err != nil {
		return fail(err)
	}
	if err := exclude(s.git, "/"+ConfigFile); err != nil {
		return outcome{err, "wrote " + file}
	}
	t.line("Wrote %s, which git does not see.", file)
	if err := t.writeTo(s.Out); err != nil {
		return err
	}
	if err := s.tryKeys(ctx, main, a.NoTrial); err != nil {
		return outcome{err, "wrote " + file + "; run setup --replace again once the key is at hand"}
	}
	t = &page{}
	var nobody *git.IdentityError
	if _, err := s.git.Committer(ctx); errors.As(err, &nobody) {
		t.fold(2, "warning: %v, and a signature is one. Before you sign: %s", nobody, nobody.Hint())
	} else if err != nil {
		return outcome{err, "wrote " + file}
	}
	t.line("When you are asked to sign: tufops-sign sign sign/NAME")
	return t.writeTo(s.Out)
}

const nothingWritten = "nothing was written"

// configurable is the file that the configuration is to be written to. One that
// git tracks is not this person's to write.
func (s *session) configurable(ctx context.Context, replace bool) (string, error) {
	top := s.git.Top()
	if top == "" {
		_, err := LoadConfig(ctx, s.git) // which says so
		return "", err
	}
	for _, name := range []string{ConfigFile, LegacyConfigFile} {
		if tracked, err := s.git.IsTracked(ctx, name); err != nil {
			return "", err
		} else if tracked {
			return "", trackedConfig(filepath.Join(top, name))
		}
	}
	file := filepath.Join(top, ConfigFile)
	switch _, err := os.Lstat(file); {
	case err == nil && !replace:
		return "", &ConfiguredError{file}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return file, nil
}

// askSetup completes the answers. What a configuration for tuf-on-ci says is
// what is offered.
func (s *session) askSetup(ctx context.Context, a *SetupAnswers) error {
	present := Config{PullRemote: "origin"}
	if c, err := LoadConfig(ctx, s.git); err == nil {
		present = c
	} else if login, ok, err := s.git.Config(ctx, "github.user"); err == nil && ok {
		present.User = Login(login)
	}
	if a.Module == "" {
		a.Module = present.Module
	}
	a.keys = present.SigningKeys
	ask := func(to *string, question, otherwise string) error {
		if *to != "" {
			return nil
		}
		var err error
		*to, err = askFor(ctx, s.Person, question, otherwise, func(answer string) (string, error) {
			return strings.TrimSpace(answer), nil
		})
		return err
	}
	err := ask(&a.User, "Your login on the forge", present.User)
	if err == nil {
		err = ask(&a.PullRemote, "Git remote that events are read from", present.PullRemote)
	}
	if err == nil {
		push := present.PushRemote
		if push == "" {
			push = a.PullRemote
		}
		err = ask(&a.PushRemote, "Git remote that you push to (your fork, if you may not push to the other)", push)
	}
	if err == nil {
		key := present.Key
		if key == "" {
			key = Config{Module: a.Module}.usual()
		}
		err = ask(&a.Key, "Your key (yubikey, yubikey:SERIAL, a pkcs11: URI or file:PATH)", key)
	}
	if err == nil && s.Person != nil {
		err = ask(&a.MetadataURL, "URL where clients get the metadata (empty: the root there is not compared)", present.MetadataURL)
	}
	return err
}

// text is the configuration as a file.
func (a SetupAnswers) text() string {
	var b strings.Builder
	b.WriteString("# Written by tufops-sign setup. Git must not track this file.\n[settings]\n")
	for _, one := range [][2]string{
		{"user-name", a.User}, {"pull-remote", a.PullRemote}, {"push-remote", a.PushRemote},
		{"key", a.Key}, {"pykcs11lib", a.Module}, {"metadata-url", a.MetadataURL},
	} {
		if value := strings.Join(strings.Fields(one[1]), " "); value != "" {
			fmt.Fprintf(&b, "%s = %s\n", one[0], value)
		}
	}
	if len(a.keys) > 0 {
		b.WriteString("\n[signing-keys]\n")
	}
	for _, id := range slices.Sorted(maps.Keys(a.keys)) {
		fmt.Fprintf(&b, "%s = %s\n", id, a.keys[id])
	}
	return b.String()
}

// checkRemotes asks the remotes whether they are there, and compares the root of
// main with what the person knows. It returns main's tip, nil in a repository
// without a root.
func (s *session) checkRemotes(ctx context.Context, t *page, pin string) (*repository.State, error) {
	if _, err := s.git.RemotePushURLs(ctx, s.Config.PushRemote); err != nil {
		return nil, err
	}
	if s.Config.PushRemote != s.Config.PullRemote {
		if _, err := s.git.LsRemote(ctx, s.Config.PushRemote, eventRef(Main)); err != nil {
			return nil, err
		}
	}
	at, err := s.fetchBranches(ctx, s.Config.PullRemote, Main)
	if err != nil {
		return nil, err
	}
	tip := at[Main]
	if tip == "" {
		return nil, &NoMainError{s.Config.PullRemote}
	}
	m, err := s.recall(ctx)
	if err != nil {
		return nil, err
	}
	main, err := s.Repository.At(ctx, tip)
	if err != nil {
		return nil, err
	}
	if pin != "" {
		if err := s.pinRoot(ctx, main, m, strings.ToLower(strings.TrimSpace(pin))); err != nil {
			return nil, err
		}
	}
	root, err := s.mainRoot(ctx, tip, m)
	if err != nil {
		return nil, err
	}
	t.line("Remote %s has %s at %.12s.", s.Config.PullRemote, Main, tip)
	for _, note := range root.notes {
		t.fold(2, "%s", note)
	}
	if len(root.chain) == 0 {
		t.line("It has no root yet: tufops-sign init starts the repository.")
		return nil, nil
	}
	return main, nil
}

// pinRoot takes a root that the person knows as the newest that this machine has
// seen, unless it has seen a newer one.
func (s *session) pinRoot(ctx context.Context, main *repository.State, m *memory, pin string) error {
	chain, err := main.RootChain(ctx)
	if errors.As(err, new(*repository.MissingError)) {
		return &PinError{SHA256: pin}
	}
	if err != nil {
		return (&mainRoot{remote: s.Config.PullRemote}).refuse("%v", err)
	}
	i := slices.IndexFunc(chain, func(r repository.RootFileVersion) bool {
		return digest(r.Document.Payload()) == pin || digest(r.Document.Bytes()) == pin
	})
	if i < 0 {
		return &PinError{SHA256: pin, First: chain[0].Document.Version(), Last: chain[len(chain)-1].Document.Version()}
	}
	doc := chain[i].Document
	pinned := &seenRoot{Version: doc.Version(), SHA256: digest(doc.Payload()), Seen: s.Now.UTC()}
	if m.Root != nil && m.Root.Version >= pinned.Version {
		return nil
	}
	m.Root = pinned
	return s.remember(ctx, func(m *memory) {
		if m.Root == nil || m.Root.Version < pinned.Version {
			m.Root = pinned
		}
	})
}

// tryKeys says what the key of the configuration is, and lets it sign.
func (s *session) tryKeys(ctx context.Context, main *repository.State, noTrial bool) error {
	spec := s.Config.Key
	list, err := s.keys.hold(ctx, spec)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &NoTokenError{s.keys.describe(spec)}
	}
	t := &page{}
	for _, h := range list {
		t.fold(4, "%s: %s", h.name, holds(main, h.print, s.Config.User))
	}
	for _, seen := range s.keys.seen[spec] {
		for _, doubt := range seen.Doubts {
			t.fold(4, "  warning: %s", doubt)
		}
		if seen.Problem != nil {
			t.fold(4, "  %s cannot be used: %v", seen, seen.Problem)
		}
	}
	if err := t.writeTo(s.Out); err != nil {
		return err
	}
	if noTrial {
		return nil
	}
	for _, h := range list {
		if h.token && s.Person == nil && s.PIN == "" {
			s.Log.Warn(h.name + " was not tried: nobody is asked for its PIN")
			continue
		}
		if h.token && s.Person != nil {
			answer, err := s.Person.Ask(ctx, "Try "+h.name+" now, with PIN and touch? (yes/no)", "yes")
			if err != nil {
				return err
			}
			if !agrees(answer, true) {
				continue
			}
		}
		sig, err := h.signer.Sign(ctx, []byte(trial))
		var key *metadata.Key
		if err == nil {
			key, err = metadata.NewKey(h.signer.Public(), "", "")
		}
		if err == nil {
			err = key.Verify([]byte(trial), sig)
		}
		if err != nil {
			return fmt.Errorf("try %s: %w", h.name, err)
		}
		t := &page{}
		t.line("%s signs, and its signature verifies.", h.name)
		if err := t.writeTo(s.Out); err != nil {
			return err
		}
	}
	return nil
}

// holds says what a key is for in a repository.
func holds(main *repository.State, print, user string) string {
	if main == nil {
		return "there is no role yet that it could sign"
	}
	var roles []string
	owner := ""
	for _, role := range main.OfflineRoles() {
		d, ok := main.Delegation(role)
		if !ok {
			continue
		}
		for _, k := range keysOf(d.Delegation) {
			if k.Fingerprint() == print {
				roles, owner = append(roles, role), k.Holder()
			}
		}
	}
	switch {
	case len(roles) == 0:
		return "no role lists it yet; you bring it when you accept an invitation"
	case owner != user:
		return fmt.Sprintf("signs %s as %s, and you are %s: check user-name", strings.Join(unique(roles), ", "), owner, user)
	}
	return fmt.Sprintf("signs %s as %s", strings.Join(unique(roles), ", "), owner)
}

// agrees reads a yes or no.
func agrees(answer string, otherwise bool) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "":
		return otherwise
	case "y", "yes":
		return true
	}
	return false
}

// exclude has git leave a file out of everything in this clone.
func exclude(g *git.Repo, pattern string) error {
	dir := filepath.Join(commonDir(g), "info")
	file := filepath.Join(dir, "exclude")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range bytes.Lines(data) {
		if string(bytes.TrimSpace(line)) == pattern {
			return nil
		}
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return wholefile.Write(file, append(data, pattern+"\n"...), 0o644)
}

// commonDir is the folder that all work trees of a clone share.
func commonDir(g *git.Repo) string {
	common := g.GitDir()
	rel, err := os.ReadFile(filepath.Join(common, "commondir"))
	if err != nil {
		return common
	}
	if p := strings.TrimSpace(string(rel)); filepath.IsAbs(p) {
		return p
	} else {
		return filepath.Join(common, p)
	}
}
