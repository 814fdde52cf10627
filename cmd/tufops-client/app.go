package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/wholefile"
)

// run is the program.
func run(ctx context.Context, env cli.Env, args []string) int {
	return cli.Run(ctx, env, newApp(env), args, cli.UsageIsFailure("init", "refresh", "download", "verify-bundle"))
}

// commonFlags are those of every program. A client works on no git checkout, so it
// takes the flags that name one and does not offer them.
func commonFlags() []urfave.Flag {
	list := cli.CommonFlags()
	for _, f := range list {
		if s, ok := f.(*urfave.StringFlag); ok && (s.Name == "C" || s.Name == "tuf-dir") {
			s.Hidden = true
		}
	}
	return list
}

func newApp(env cli.Env) *urfave.App {
	metadataDir := &urfave.StringFlag{Name: "metadata-dir", Usage: "keep verified metadata in `DIR`"}
	metadataURL := &urfave.StringFlag{Name: "metadata-url", Usage: "the repository's metadata is at `URL` (http, https, file, or a path)"}
	targetsURL := &urfave.StringFlag{Name: "target-base-url", Usage: "the repository's artifacts are at `URL`"}
	at := &urfave.StringFlag{Name: "time", Usage: "judge expiry as of `TIME` (RFC 3339, or seconds since 1970) instead of now"}
	required := func(f *urfave.StringFlag) *urfave.StringFlag {
		r := *f
		r.Required = true
		return &r
	}
	// A flag must not be shared between commands: urfave/cli keeps its value in it.
	flags := func(list ...*urfave.StringFlag) (out []urfave.Flag) {
		for _, f := range list {
			copied := *f
			out = append(out, &copied)
		}
		return out
	}
	return &urfave.App{
		Name:  "tufops-client",
		Usage: "fetch what a TUF repository's signers vouch for",
		Description: "It believes one root.json that you give it, and from there on signatures alone:\n" +
			"no server, no mirror, and not its own disk.\n\n" +
			"Example:\n" +
			"  tufops-client init root.json --metadata-dir tuf\n" +
			"  tufops-client trusted-root --metadata-dir tuf \\\n" +
			"    --metadata-url https://tuf.example.org/metadata",
		Flags: commonFlags(),
		Commands: []*urfave.Command{
			{
				Name:      "init",
				Usage:     "trust a root.json to begin with",
				ArgsUsage: "ROOT",
				Description: "Puts the root into the metadata directory. It makes no request. An old root will\n" +
					"do: later ones are found from there.\n\n" +
					"Example:\n" +
					"  tufops-client init root.json --metadata-dir tuf",
				Flags:  flags(required(metadataDir), at),
				Action: func(c *urfave.Context) error { return initialise(c, env) },
			},
			{
				Name:  "refresh",
				Usage: "bring the metadata directory up to date",
				Description: "Example:\n" +
					"  tufops-client refresh --metadata-dir tuf \\\n" +
					"    --metadata-url https://tuf.example.org/metadata",
				Flags:  append(flags(required(metadataDir), required(metadataURL), at), mirrorFlag()),
				Action: func(c *urfave.Context) error { return refresh(c, env) },
			},
			{
				Name:  "download",
				Usage: "refresh, then fetch artifacts",
				Description: "Fetches the artifacts in the order given and stops at the first that fails. What\n" +
					"is there already and still is what was signed is not fetched again. A file is\n" +
					"named like its artifact, with %2F for a slash.\n\n" +
					"Example:\n" +
					"  tufops-client download --metadata-dir tuf \\\n" +
					"    --metadata-url https://tuf.example.org/metadata \\\n" +
					"    --target-base-url https://tuf.example.org/targets \\\n" +
					"    --target-dir . --target-name trusted_root.json",
				Flags: append(flags(required(metadataDir), required(metadataURL), required(targetsURL),
					&urfave.StringFlag{Name: "target-dir", Required: true, Usage: "store the artifacts in `DIR`"}, at),
					&urfave.StringSliceFlag{Name: "target-name", Required: true, Usage: "fetch the artifact `PATH`; may be repeated"}, mirrorFlag()),
				Action: func(c *urfave.Context) error { return download(c, env) },
			},
			artifactCommand(env, "trusted-root", "print the repository's verified trusted_root.json", "trusted_root.json",
				"Examples:\n"+
					"  tufops-client trusted-root --root root.json \\\n"+
					"    --metadata-url https://tuf.example.org/metadata\n"+
					"  tufops-client trusted-root --root root.json \\\n"+
					"    --metadata-url https://tuf.example.org/metadata \\\n"+
					"    --mirror https://mirror.example.net/tuf/metadata\n"+
					"  tufops-client trusted-root --metadata-dir tuf --offline --output trust.json\n"+
					"  tufops-client trusted-root --instance sigstore"),
			artifactCommand(env, "signing-config", "print the verified signing configuration", "signing_config.v0.2.json",
				"It says where to sign: which authorities and logs are in use.\n\n"+
					"Example:\n"+
					"  tufops-client signing-config --instance staging --output signing-config.json"),
			verifyCommand(env),
			verifyBundleCommand(env),
			checkCommand(env, *metadataDir, *required(metadataURL), *at),
		},
	}
}

// clock is the reference time: --time, else TUFOPS_NOW, else now.
func clock(c *urfave.Context, common cli.Common) (func() time.Time, error) {
	text := c.String("time")
	if text == "" {
		return common.Now, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, cli.Usagef("--time is like 2026-01-31T00:00:00Z or seconds since 1970, not %q", text)
		}
		at = time.Unix(seconds, 0)
	}
	return func() time.Time { return at }, nil
}

// location turns a path into a file URL and leaves a URL alone.
func location(flag, text string) (string, error) {
	if text == "" || strings.Contains(text, "://") || strings.HasPrefix(text, "file:/") {
		return text, nil
	}
	abs, err := filepath.Abs(text)
	if err != nil {
		return "", cli.Usagef("--%s %q: %w", flag, text, err)
	}
	return fileURL(filepath.ToSlash(abs)), nil
}

// fileURL is the URL of an absolute path, which on Windows begins with a drive:
// C:/tuf is file:///C:/tuf, and not a file of a host called C.
func fileURL(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// beside is where artifacts are if nobody says where: in targets, next to the
// metadata.
func beside(metadataURL string) string {
	u, err := url.Parse(metadataURL)
	if err != nil {
		return "" // the client says what is wrong with the other one
	}
	return u.JoinPath("..", "targets").String()
}

func mirrorFlag() *urfave.StringSliceFlag {
	return &urfave.StringSliceFlag{Name: "mirror", Usage: "where that place fails, ask the mirror with the metadata at `URL` and targets beside it (with --instance below it); may be repeated, asked in order"}
}

// mirrors are the places that --mirror names. targets says where a mirror has its
// artifacts.
func mirrors(c *urfave.Context, targets func(metadataURL string) string) (list []client.Mirror, err error) {
	for _, text := range c.StringSlice("mirror") {
		if text == "" {
			return nil, cli.Usagef("--mirror is empty")
		}
		base, err := location("mirror", text)
		if err != nil {
			return nil, err
		}
		list = append(list, client.Mirror{MetadataURL: base, TargetsURL: targets(base)})
	}
	return list, nil
}

// newClient makes the client that the flags describe.
func newClient(c *urfave.Context, env cli.Env, o client.Options, metadataURL, targetsURL string) (*client.Client, cli.Common, error) {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return nil, common, err
	}
	if o.Now, err = clock(c, common); err != nil {
		return nil, common, err
	}
	o.Logger, o.CacheDir = common.Log, c.String("metadata-dir")
	if o.MetadataURL, err = location("metadata-url", metadataURL); err != nil {
		return nil, common, err
	}
	if o.TargetsURL, err = location("target-base-url", targetsURL); err != nil {
		return nil, common, err
	}
	if o.Mirrors == nil {
		if o.Mirrors, err = mirrors(c, beside); err != nil {
			return nil, common, err
		}
	}
	cl, err := client.New(o)
	return cl, common, err
}

func initialise(c *urfave.Context, env cli.Env) error {
	common, err := cli.ParseCommon(c, env)
	if err != nil {
		return err
	}
	if _, err := clock(c, common); err != nil {
		return err
	}
	root, err := client.ReadRoot(c.Args().First())
	if err != nil {
		return err
	}
	if err := client.Init(c.Context, c.String("metadata-dir"), root); err != nil {
		return err
	}
	common.Log.Debug("initialised", "dir", c.String("metadata-dir"))
	return nil
}

func refresh(c *urfave.Context, env cli.Env) error {
	cl, _, err := newClient(c, env, client.Options{}, c.String("metadata-url"), "")
	if err != nil {
		return err
	}
	result, err := cl.Refresh(c.Context)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, result)
	return nil
}

func download(c *urfave.Context, env cli.Env) error {
	cl, common, err := newClient(c, env, client.Options{}, c.String("metadata-url"), c.String("target-base-url"))
	if err != nil {
		return err
	}
	result, err := cl.Refresh(c.Context)
	if err != nil {
		return err
	}
	common.Log.Debug("refreshed", "result", result)
	for _, name := range c.StringSlice("target-name") {
		d, err := cl.Download(c.Context, name, c.String("target-dir"))
		if err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer, d.File)
	}
	return nil
}

// artifactCommand makes a command that brings one artifact which is known by its
// name.
func artifactCommand(env cli.Env, name, usage, artifact, examples string) *urfave.Command {
	return &urfave.Command{
		Name:  name,
		Usage: usage,
		Description: "Without a metadata directory nothing is kept, and --root or --instance says what\n" +
			"to trust. With --offline nothing is fetched: all of it, the artifact too, is\n" +
			"verified again as it lies in the metadata directory, expiry included.\n\n" + examples,
		Flags: append(sourceFlags(),
			&urfave.StringFlag{Name: "output", Usage: "write to `FILE` instead of standard output"},
			&urfave.StringFlag{Name: "artifact", Value: artifact, Usage: "the artifact is `PATH`"},
			&urfave.BoolFlag{Name: "json", Usage: "print a report of what was verified instead of the file"}),
		Action: func(c *urfave.Context) error { return printArtifact(c, env) },
	}
}

func printArtifact(c *urfave.Context, env cli.Env) error {
	f, err := fetch(c, env, c.String("artifact"), c.String("instance"))
	if err != nil {
		return err
	}
	if file := c.String("output"); file != "" {
		if err := wholefile.Write(file, f.data, 0o644); err != nil {
			return cli.WithHint(fmt.Errorf("write %s: %w", file, reason(err)), "name a file in a directory that exists and that you may write to")
		}
	}
	switch {
	case c.Bool("json"):
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		return enc.Encode(newReport(f.result, f.download, c.String("output"), f.url == ""))
	case c.String("output") == "":
		_, err = c.App.Writer.Write(f.data)
	}
	return err
}

// reason takes the path of a temporary file out of an error.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// report is what --json prints.
type report struct {
	Schema    int       `json:"schema"`
	Time      time.Time `json:"time"`
	Offline   bool      `json:"offline"`
	Roots     []role    `json:"roots"`
	Timestamp role      `json:"timestamp"`
	Snapshot  role      `json:"snapshot"`
	Targets   role      `json:"targets"`
	Artifact  artifact  `json:"artifact"`
}

type role struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Cached  bool      `json:"cached"`
}

type artifact struct {
	Path   string            `json:"path"`
	Role   string            `json:"role"`
	Roles  []role            `json:"roles"`
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
	Cached bool              `json:"cached"`
	File   string            `json:"file,omitempty"`
}

func newReport(r *client.Result, d client.Download, output string, offline bool) report {
	roles := func(list []client.RoleState) []role {
		out := make([]role, 0, len(list))
		for _, s := range list {
			out = append(out, role(s))
		}
		return out
	}
	file := output
	if file == "" {
		file = d.File
	}
	return report{
		Schema: 1, Time: r.Time, Offline: offline, Roots: roles(r.Roots),
		Timestamp: role(r.Timestamp), Snapshot: role(r.Snapshot), Targets: role(r.Targets),
		Artifact: artifact{Path: d.Path, Role: d.Role(), Roles: roles(d.Roles), Length: d.Length, Hashes: d.Hashes, Cached: d.Cached, File: file},
	}
}
