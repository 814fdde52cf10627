package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/wholefile"
	"github.com/tufops/tufops/repository"
	"github.com/tufops/tufops/signingevent"
	"github.com/tufops/tufops/trustroot"
)

// fileOf names the file that a command works on where none is given.
var fileOf = map[trustroot.Kind]string{trustroot.TrustedRoot: "trusted_root.json", trustroot.SigningConfig: "signing_config.v0.2.json"}

func trustedRootCommand(env cli.Env) *urfave.Command {
	const kind = trustroot.TrustedRoot
	authority := func(name, what string, section trustroot.Section) *urfave.Command {
		return &urfave.Command{
			Name:  name,
			Usage: "add " + what + " from its certificates",
			Description: `The chain is a PEM file from the issuing certificate to the root. The entry
stands where its start puts it; the rest of the file stays as it is. A result
with an error that was not there before is not written.

Example:
  tufops trusted-root ` + name + ` --url URL --chain chain.pem --start now`,
			Flags:  slices.Concat(entryFlags(), []urfave.Flag{&urfave.StringFlag{Name: "chain", Required: true, Usage: "read certificates from `FILE`, in PEM form"}}),
			Action: func(c *urfave.Context) error { return addAuthority(c, env, section) },
		}
	}
	return &urfave.Command{
		Name:  string(kind),
		Usage: "show, check and edit Sigstore's trusted root",
		Description: `What a trusted_root.json says, what is wrong with it, what a change means, and
edits that leave the rest of its text alone.

Example:
  tufops trusted-root validate`,
		Subcommands: append(readCommands(env, kind),
			&urfave.Command{
				Name:  "add-log",
				Usage: "add a Rekor or CT log from its key",
				Description: `Computes the log ID. The entry stands where its start puts it; the rest of the
file stays as it is. A result with an error that was not there before is not
written.

Examples:
  tufops trusted-root add-log --kind ct --url URL --key ct.pub --start now
  tufops trusted-root add-log --kind rekor --url URL --key k.pem --start now`,
				Flags: slices.Concat(entryFlags(), []urfave.Flag{
					&urfave.StringFlag{Name: "kind", Required: true, Usage: "it is a `rekor|ct` log"},
					&urfave.StringFlag{Name: "key", Required: true, Usage: "read its public key, or a certificate, from `FILE`, in PEM form"},
					&urfave.BoolFlag{Name: "rekor-v2", Usage: "it speaks Rekor v2, whose log IDs are made in another way (known of log20...)"},
				}),
				Action: func(c *urfave.Context) error { return addLog(c, env) },
			},
			authority("add-ca", "a certificate authority", trustroot.CertificateAuthorities),
			authority("add-tsa", "a timestamp authority", trustroot.TimestampAuthorities),
			closeCommand(env, kind), reopenCommand(env, kind), removeCommand(env, kind),
		),
	}
}

func signingConfigCommand(env cli.Env) *urfave.Command {
	const kind = trustroot.SigningConfig
	return &urfave.Command{
		Name:  string(kind),
		Usage: "show, check and edit Sigstore's signing configuration",
		Description: `What a signing_config.json says, what is wrong with it, also next to the trusted
root beside it, what a change means, and edits that leave the rest of its text
alone.

Example:
  tufops signing-config validate`,
		Subcommands: append(readCommands(env, kind),
			&urfave.Command{
				Name:  "add",
				Usage: "add a service",
				Description: `The newest service stands first; the rest of the file stays as it is. A result
with an error that was not there before is not written.

Example:
  tufops signing-config add --kind ca --url URL --operator NAME --start now`,
				Flags: slices.Concat(entryFlags(), []urfave.Flag{
					&urfave.StringFlag{Name: "kind", Required: true, Usage: "it is a `ca|oidc|rekor|tsa` service"},
					&urfave.Uint64Flag{Name: "api-version", Value: 1, Usage: "it speaks version `N` of its interface"},
					&urfave.StringFlag{Name: "operator", Required: true, Usage: "it is run by `NAME`"},
				}),
				Action: func(c *urfave.Context) error { return addService(c, env) },
			},
			closeCommand(env, kind), reopenCommand(env, kind), removeCommand(env, kind),
		),
	}
}

// readCommands are those that only read a document.
func readCommands(env cli.Env, kind trustroot.Kind) []*urfave.Command {
	name := "tufops " + string(kind)
	return []*urfave.Command{
		{
			Name:      "show",
			Usage:     "print what it says",
			ArgsUsage: "[FILE]",
			Description: `FILE is the one in targets/ of the checkout unless it is given.

Examples:
  ` + name + ` show
  ` + name + ` show --format json`,
			Flags:  []urfave.Flag{formatFlag("text|json")},
			Action: func(c *urfave.Context) error { return showTrust(c, env, kind) },
		},
		{
			Name:      "validate",
			Usage:     "look for mistakes",
			ArgsUsage: "[FILE]",
			Description: `Runs every check, with the files beside it; --before adds the checks of what a
change does. Exit status: 0 no error; 1 an error was found, or it failed.
tufops rules explains each check.

Examples:
  ` + name + ` validate
  ` + name + ` validate new.json --before old.json`,
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "before", Usage: "the version that is trusted now is `FILE`"},
				&urfave.StringFlag{Name: "name", Usage: "judge the file as the artifact `NAME` (default: its own name)"},
				formatFlag("text|json"),
			},
			Action: func(c *urfave.Context) error { return validateTrust(c, env, kind) },
		},
		{
			Name:      "diff",
			Usage:     "say what the change from one file to another means",
			ArgsUsage: "A B",
			Description: `Says who joins, who ends when and which windows move. Order and form of the text
count for nothing.

Example:
  ` + name + ` diff old.json new.json`,
			Flags:  []urfave.Flag{formatFlag("text|markdown|json")},
			Action: func(c *urfave.Context) error { return diffTrust(c, env, kind) },
		},
	}
}

func closeCommand(env cli.Env, kind trustroot.Kind) *urfave.Command {
	return &urfave.Command{
		Name:      "close",
		Usage:     "set the end of an entry's window",
		ArgsUsage: "ENTRY",
		Description: `ENTRY is the URL of the entry or the beginning of its sha256, as show prints
them. Nothing else in the file changes. A result with an error that was not
there before is not written.

Example:
  tufops ` + string(kind) + ` close https://service.example --end 2026-04-01`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "end", Required: true, Usage: "it counts until `TIME` (RFC 3339, a day, or now)"},
			fileFlag(), dryRunFlag(), formatFlag("text|json"),
		},
		Action: func(c *urfave.Context) error { return closeEntry(c, env, kind) },
	}
}

func reopenCommand(env cli.Env, kind trustroot.Kind) *urfave.Command {
	return &urfave.Command{
		Name:      "reopen",
		Usage:     "take the end of an entry's window away",
		ArgsUsage: "ENTRY",
		Description: `Undoes close: the file is what it was, byte for byte. ENTRY is as there.

Example:
  tufops ` + string(kind) + ` reopen https://service.example`,
		Flags: []urfave.Flag{fileFlag(), dryRunFlag(), formatFlag("text|json")},
		Action: func(c *urfave.Context) error {
			return editEntry(c, env, kind, func(d *trustroot.Document, e trustroot.Entry, _ trustroot.Window) ([]byte, string, error) {
				after, err := d.Open(e)
				return after, "reopen " + e.Title(), err
			})
		},
	}
}

func removeCommand(env cli.Env, kind trustroot.Kind) *urfave.Command {
	return &urfave.Command{
		Name:      "remove",
		Usage:     "take out an entry that nobody trusts yet",
		ArgsUsage: "ENTRY",
		Description: `Undoes an addition: the file is what it was, byte for byte. ENTRY is the URL of
the entry or the beginning of its sha256, as show prints them.

What clients of a trusted root trust already is closed, not removed: what was
signed under it would stop verifying. That is the version of the file on
origin/main, unless --before names another; outside a git repository it is the
file itself. Services of a signing configuration come and go.

Examples:
  tufops ` + string(kind) + ` remove https://service.example
  tufops ` + string(kind) + ` remove https://service.example --before live.json`,
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "before", Usage: "the version that is trusted now is `FILE`"},
			fileFlag(), dryRunFlag(), formatFlag("text|json"),
		},
		Action: func(c *urfave.Context) error {
			return editEntry(c, env, kind, func(d *trustroot.Document, e trustroot.Entry, _ trustroot.Window) ([]byte, string, error) {
				after, err := d.Remove(e)
				return after, "remove " + e.Title(), err
			})
		},
	}
}

func fileFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "file", Usage: "edit `FILE` (default: the one in targets/ of the checkout)"}
}

func dryRunFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: "dry-run", Usage: "print what would change, and write nothing"}
}

func entryFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "url", Required: true, Usage: "it is reached at `URL`"},
		&urfave.StringFlag{Name: "start", Required: true, Usage: "it counts from `TIME` (RFC 3339, a day, or now)"},
		&urfave.StringFlag{Name: "end", Usage: "it counts until `TIME` (default: without an end)"},
		fileFlag(), dryRunFlag(), formatFlag("text|json"),
	}
}

func formatFlag(formats string) urfave.Flag {
	return &urfave.StringFlag{Name: "format", Value: "text", Usage: "print `" + formats + "`"}
}

// formatOf is how the result is to be printed.
func formatOf(c *urfave.Context, formats ...string) (string, error) {
	format := c.String("format")
	if !slices.Contains(formats, format) {
		return "", cli.Usagef("--format is %s or %s, not %q", strings.Join(formats[:len(formats)-1], ", "), formats[len(formats)-1], format)
	}
	return format, nil
}

// trustFile is a document on disk.
type trustFile struct {
	path   string
	name   string // it is judged by
	data   []byte
	beside map[string][]byte
	before []byte // what an edit is judged against; nil for nothing
	now    time.Time
	common cli.Common
}

// openTrust reads a document and what stands beside it; "" is the one in the
// checkout.
func openTrust(c *urfave.Context, env cli.Env, kind trustroot.Kind, path string) (trustFile, error) {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return trustFile{}, err
	}
	if path == "" {
		path = filepath.Join(common.Dir, filepath.FromSlash(common.TUFDir), "targets", fileOf[kind])
	}
	f := trustFile{path: path, name: fileOf[kind], beside: map[string][]byte{}, now: common.Now(), common: common}
	if f.data, err = os.ReadFile(path); err != nil {
		return trustFile{}, cli.WithHint(err, "name the file, or the checkout with -C")
	}
	if k, ok := trustroot.KindOf(filepath.Base(path)); ok && k == kind {
		f.name = filepath.Base(path)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return trustFile{}, err
	}
	for _, e := range entries {
		if !trustroot.Related(e.Name()) || e.Name() == filepath.Base(path) || !e.Type().IsRegular() {
			continue
		}
		if f.beside[e.Name()], err = os.ReadFile(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
			return trustFile{}, err
		}
	}
	return f, nil
}

func (f trustFile) parse(kind trustroot.Kind) (*trustroot.Document, error) {
	d, err := trustroot.Parse(kind, f.data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return d, nil
}

func (f trustFile) lint(data, before []byte) []trustroot.Finding {
	return trustroot.Lint(trustroot.Input{Name: f.name, Data: data, Before: before, Files: f.beside, Now: f.now})
}

func printLines(env cli.Env, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(env.Stdout, escape.Terminal(line))
	}
}

// trustDocument is what show prints.
type trustDocument struct {
	Schema   int                `json:"schema"`
	File     string             `json:"file"`
	Length   int                `json:"length"`
	SHA256   string             `json:"sha256"`
	Contents trustroot.Contents `json:"contents"`
}

func showTrust(c *urfave.Context, env cli.Env, kind trustroot.Kind) error {
	format, err := formatOf(c, "text", "json")
	if err != nil {
		return err
	}
	f, err := openTrust(c, env, kind, c.Args().First())
	if err != nil {
		return err
	}
	d, err := f.parse(kind)
	itself := trustroot.Compare(f.name, nil, f.data, f.now)
	if format == "json" {
		return errors.Join(printJSON(env, trustDocument{1, f.path, itself.Length, itself.SHA256, trustroot.Describe(kind, f.data, f.now)}), err)
	}
	if err != nil {
		return err
	}
	printLines(env, append([]string{f.path + ", " + itself.Digest()}, d.Lines(f.now)...))
	return nil
}

// trustVerdict is what validate prints.
type trustVerdict struct {
	Schema   int                       `json:"schema"`
	File     string                    `json:"file"`
	Name     string                    `json:"name"` // it was judged as
	Length   int                       `json:"length"`
	SHA256   string                    `json:"sha256"`
	Errors   int                       `json:"errors"`
	Warnings int                       `json:"warnings"`
	Findings []trustFinding            `json:"findings"`
	Profile  *repository.ProfileStatus `json:"profile,omitempty"` // of the commit, where .tufops.yaml names one
}

// trustFinding is a finding with the name of its rule.
type trustFinding struct {
	Rule    string          `json:"rule"`
	Level   trustroot.Level `json:"level"`
	Path    string          `json:"path,omitempty"`
	Line    int             `json:"line,omitempty"`
	Message string          `json:"message"`
	Hint    string          `json:"hint"`
}

func newTrustFinding(kind trustroot.Kind, f trustroot.Finding) trustFinding {
	return trustFinding{string(kind) + "/" + f.Check, f.Level, f.Path, f.Line, f.Message, f.Hint}
}

func validateTrust(c *urfave.Context, env cli.Env, kind trustroot.Kind) error {
	format, err := formatOf(c, "text", "json")
	if err != nil {
		return err
	}
	f, err := openTrust(c, env, kind, c.Args().First())
	if err != nil {
		return err
	}
	if name := c.String("name"); name != "" {
		if k, ok := trustroot.KindOf(name); !ok || k != kind {
			return cli.Usagef("--name %q is not the name of a %s", name, strings.ReplaceAll(string(kind), "-", " "))
		}
		f.name = name
	}
	var before []byte
	if path := c.String("before"); path != "" {
		if before, err = os.ReadFile(path); err != nil {
			return err
		}
	}
	itself := trustroot.Compare(f.name, nil, f.data, f.now)
	v := trustVerdict{Schema: 1, File: f.path, Name: f.name, Length: itself.Length, SHA256: itself.SHA256, Findings: []trustFinding{}}
	for _, one := range f.lint(f.data, before) {
		if one.Level == trustroot.Error {
			v.Errors++
		} else {
			v.Warnings++
		}
		v.Findings = append(v.Findings, newTrustFinding(kind, one))
	}
	if v.Profile, err = profileOf(c, f.common); err != nil {
		return err
	}
	if format == "json" {
		if err := printJSON(env, v); err != nil {
			return err
		}
	} else {
		for _, one := range v.Findings {
			one.print(env)
		}
		if v.Profile != nil {
			fmt.Fprintln(env.Stdout, signingevent.ProfileText(v.Profile))
		}
	}
	if v.Errors > 0 {
		return fmt.Errorf("%s has %s", f.path, plural(v.Errors, "error"))
	}
	if format == "text" {
		printLines(env, []string{fmt.Sprintf("%s: no error, %s", f.path, plural(v.Warnings, "warning"))})
	}
	return nil
}

// profileOf says how the checked-out commit stands to the profile that its
// .tufops.yaml names. Outside a git repository there is none.
func profileOf(c *urfave.Context, common cli.Common) (*repository.ProfileStatus, error) {
	repo, err := openRepository(c, common)
	if err != nil {
		return nil, nil
	}
	defer repo.Git.Close()
	head, err := repo.Git.Resolve(c.Context, "HEAD")
	if err != nil {
		return nil, nil // nothing is committed yet
	}
	policy, err := repo.Policy(c.Context, head)
	if err != nil || policy.Profile == "" {
		return nil, err
	}
	state, err := repo.At(c.Context, head)
	if err != nil {
		return nil, err
	}
	return state.Profile(c.Context, policy.Profile, nil)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (f trustFinding) print(env cli.Env) {
	where := f.Rule
	if f.Path != "" {
		where += ", " + f.Path
	}
	if f.Line > 0 {
		where += fmt.Sprintf(", line %d", f.Line)
	}
	printLines(env, []string{string(f.Level) + ": " + f.Message, "  rule " + where, "  hint: " + f.Hint})
}

// trustDifference is what diff prints.
type trustDifference struct {
	Schema int            `json:"schema"`
	File   string         `json:"file"`
	Diff   trustroot.Diff `json:"diff"`
}

func diffTrust(c *urfave.Context, env cli.Env, kind trustroot.Kind) error {
	format, err := formatOf(c, "text", "markdown", "json")
	if err != nil {
		return err
	}
	a, err := openTrust(c, env, kind, c.Args().Get(0))
	if err != nil {
		return err
	}
	b, err := openTrust(c, env, kind, c.Args().Get(1))
	if err != nil {
		return err
	}
	d := trustroot.Compare(b.name, a.data, b.data, b.now)
	switch format {
	case "json":
		if err := printJSON(env, trustDifference{1, b.path, d}); err != nil {
			return err
		}
	case "markdown":
		fmt.Fprintln(env.Stdout, strings.Join(d.Markdown(), "\n"))
	default:
		printLines(env, append([]string{b.path + ", " + d.Digest()}, d.Lines()...))
	}
	if d.Refused {
		return fmt.Errorf("clients cannot read %s: %s", b.path, d.Problem)
	}
	return nil
}

// moment reads a time that a person types.
func moment(c *urfave.Context, flag string, now time.Time) (time.Time, error) {
	text := c.String(flag)
	if text == "" {
		return time.Time{}, nil
	}
	if text == "now" {
		return now.UTC().Truncate(time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, cli.Usagef("--%s is a time like 2026-03-01 or 2026-03-01T12:00:00Z, or now, not %q", flag, text)
}

// edit is one change to a document: what it does to the text, and what is said
// of it in a commit.
type edit func(d *trustroot.Document, w trustroot.Window) (after []byte, message string, err error)

// trustEdit is what an edit prints.
type trustEdit struct {
	Schema  int    `json:"schema"`
	File    string `json:"file"`
	Changed bool   `json:"changed"` // the result differs from what the file says
	Written bool   `json:"written"`
	Message string `json:"message,omitempty"` // for a commit of it

	Diff       *trustroot.Diff  `json:"diff,omitempty"`
	Findings   []trustFinding   `json:"findings"`   // that the file does not have now
	Neighbours []trustNeighbour `json:"neighbours"` // what the change does beside it
}

// trustNeighbour is trust material beside the edited file, with the findings
// that the edit brings about in it.
type trustNeighbour struct {
	File     string         `json:"file"`
	Findings []trustFinding `json:"findings"`
}

// editTrust makes a change, judges the result, and writes the file. Where the
// result is the same nothing is written.
func editTrust(c *urfave.Context, env cli.Env, kind trustroot.Kind, change edit) error {
	format, err := formatOf(c, "text", "json")
	if err != nil {
		return err
	}
	f, err := openTrust(c, env, kind, c.String("file"))
	if err != nil {
		return err
	}
	if f.before, err = f.trusted(c); err != nil {
		return err
	}
	var w trustroot.Window
	for flag, at := range map[string]*time.Time{"start": &w.Start, "end": &w.End} {
		if !slices.Contains(c.FlagNames(), flag) {
			continue
		}
		if *at, err = moment(c, flag, f.now); err != nil {
			return err
		}
	}
	d, err := f.parse(kind)
	if err != nil {
		return err
	}
	after, message, err := change(d, w)
	if err != nil {
		return err
	}
	done := trustEdit{Schema: 1, File: f.path, Changed: !bytes.Equal(after, f.data), Findings: []trustFinding{}, Neighbours: []trustNeighbour{}}
	if done.Changed {
		done.Message = f.name + ": " + message
		err = f.edit(c, kind, after, &done)
	}
	if format == "json" {
		return errors.Join(printJSON(env, done), err)
	}
	done.print(env)
	return err
}

// edit judges what the file would say, and writes it if that has no error which
// the file does not have now.
func (f trustFile) edit(c *urfave.Context, kind trustroot.Kind, after []byte, done *trustEdit) error {
	old := f.lint(f.data, f.before)
	worse := 0
	for _, one := range f.lint(after, f.before) {
		if slices.ContainsFunc(old, func(o trustroot.Finding) bool { return o.Check == one.Check && o.Message == one.Message }) {
			continue
		}
		done.Findings = append(done.Findings, newTrustFinding(kind, one))
		if one.Level == trustroot.Error {
			worse++
		}
	}
	if worse > 0 {
		return cli.WithNote(fmt.Errorf("the result would have %s that %s does not have now", plural(worse, "error"), f.path), "nothing was written")
	}
	diff := trustroot.Compare(f.name, f.data, after, f.now)
	done.Diff, done.Neighbours = &diff, f.neighbours(after)
	if c.Bool("dry-run") {
		return nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(f.path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := wholefile.Write(f.path, after, mode); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	done.Written = true
	return nil
}

func (e trustEdit) print(env cli.Env) {
	if !e.Changed {
		printLines(env, []string{e.File + " says that already."})
		return
	}
	for _, one := range e.Findings {
		one.print(env)
	}
	for _, n := range e.Neighbours {
		printLines(env, []string{"in " + n.File + ":"})
		for _, one := range n.Findings {
			one.print(env)
		}
	}
	if e.Diff != nil {
		printLines(env, e.Diff.Lines())
	}
	if e.Written {
		printLines(env, []string{"", "Commit it with:", "  git commit -m " + escape.Argument(e.Message) + " -- " + escape.Argument(e.File)})
	}
}

// neighbours are what the change does to the trust material beside the file.
// That stops nothing here: the neighbour may be edited next. An event in which it
// still stands is not complete.
func (f trustFile) neighbours(after []byte) []trustNeighbour {
	list := []trustNeighbour{}
	for _, name := range slices.Sorted(maps.Keys(f.beside)) {
		kind, ok := trustroot.KindOf(name)
		if !ok {
			continue
		}
		files := maps.Clone(f.beside)
		in := trustroot.Input{Name: name, Data: f.beside[name], Files: files, Now: f.now}
		files[f.name] = f.data
		old := trustroot.Lint(in)
		files[f.name] = after
		n := trustNeighbour{File: name}
		for _, one := range trustroot.Lint(in) {
			if !slices.Contains(old, one) {
				n.Findings = append(n.Findings, newTrustFinding(kind, one))
			}
		}
		if n.Findings != nil {
			list = append(list, n)
		}
	}
	return list
}

func addLog(c *urfave.Context, env cli.Env) error {
	section, ok := map[string]trustroot.Section{"rekor": trustroot.TLogs, "ct": trustroot.CTLogs}[c.String("kind")]
	if !ok {
		return cli.Usagef("--kind is rekor or ct, not %q", c.String("kind"))
	}
	data, err := os.ReadFile(c.String("key"))
	if err != nil {
		return err
	}
	key, err := trustroot.ReadKey(data)
	if err != nil {
		return cli.WithHint(fmt.Errorf("read the key in %s: %w", c.String("key"), err), "it must be a public key or a certificate in PEM form")
	}
	return editTrust(c, env, trustroot.TrustedRoot, func(d *trustroot.Document, w trustroot.Window) ([]byte, string, error) {
		after, err := d.AddLog(section, trustroot.Log{URL: c.String("url"), Key: key, Window: w, Tiled: c.Bool("rekor-v2")})
		return after, "add " + c.String("kind") + " log " + c.String("url"), err
	})
}

func addAuthority(c *urfave.Context, env cli.Env, section trustroot.Section) error {
	data, err := os.ReadFile(c.String("chain"))
	if err != nil {
		return err
	}
	chain, err := trustroot.ReadChain(data)
	if err != nil {
		return cli.WithHint(fmt.Errorf("read the chain in %s: %w", c.String("chain"), err), "it must be certificates in PEM form, the issuing one first")
	}
	return editTrust(c, env, trustroot.TrustedRoot, func(d *trustroot.Document, w trustroot.Window) ([]byte, string, error) {
		after, err := d.AddAuthority(section, trustroot.Authority{URL: c.String("url"), Chain: chain, Window: w})
		return after, "add " + section.What() + " " + c.String("url"), err
	})
}

func addService(c *urfave.Context, env cli.Env) error {
	section, ok := map[string]trustroot.Section{
		"ca": trustroot.CAURLs, "oidc": trustroot.OIDCURLs, "rekor": trustroot.RekorURLs, "tsa": trustroot.TSAURLs,
	}[c.String("kind")]
	if !ok {
		return cli.Usagef("--kind is ca, oidc, rekor or tsa, not %q", c.String("kind"))
	}
	return editTrust(c, env, trustroot.SigningConfig, func(d *trustroot.Document, w trustroot.Window) ([]byte, string, error) {
		after, err := d.AddService(section, trustroot.Service{
			URL: c.String("url"), Version: c.Uint64("api-version"), Operator: c.String("operator"), Window: w,
		})
		return after, "add " + section.What() + " " + c.String("url"), err
	})
}

func closeEntry(c *urfave.Context, env cli.Env, kind trustroot.Kind) error {
	if c.String("end") == "" {
		return cli.Usagef("--end needs a time")
	}
	return editEntry(c, env, kind, func(d *trustroot.Document, e trustroot.Entry, w trustroot.Window) ([]byte, string, error) {
		after, err := d.Close(e, w.End)
		return after, "close " + e.Title() + " on " + w.End.Format(time.RFC3339), err
	})
}

// editEntry changes the entry that the command line names.
func editEntry(c *urfave.Context, env cli.Env, kind trustroot.Kind, change func(*trustroot.Document, trustroot.Entry, trustroot.Window) ([]byte, string, error)) error {
	return editTrust(c, env, kind, func(d *trustroot.Document, w trustroot.Window) ([]byte, string, error) {
		e, err := d.Find(c.Args().First())
		if err != nil {
			return nil, "", err
		}
		return change(d, e, w)
	})
}

// trusted is the version of the file that an edit is judged against: for remove
// the one that is trusted now, for the others the file itself.
func (f trustFile) trusted(c *urfave.Context) ([]byte, error) {
	if c.Command.Name != "remove" {
		return f.data, nil
	}
	if path := c.String("before"); path != "" {
		return os.ReadFile(path)
	}
	g, err := git.Open(c.Context, filepath.Dir(f.path))
	if err != nil || g.Top() == "" {
		return f.data, nil // who can tell what is trusted?
	}
	defer g.Close()
	main, err := g.Resolve(c.Context, remote+"/main")
	if err != nil {
		return f.data, nil
	}
	path, err := filepath.Abs(f.path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		path, err = filepath.Rel(g.Top(), path)
	}
	if err != nil {
		return nil, err
	}
	entry, ok, err := g.Lookup(c.Context, main, filepath.ToSlash(path))
	if err != nil || !ok {
		return nil, err
	}
	return g.Blob(c.Context, entry.OID)
}
