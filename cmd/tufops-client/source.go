package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/internal/cli"
)

// sourceFlags say which repository an artifact comes from, and what is trusted.
func sourceFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "metadata-dir", Usage: "keep verified metadata in `DIR`"},
		&urfave.StringFlag{Name: "metadata-url", Usage: "the repository's metadata is at `URL` (http, https, file, or a path)"},
		&urfave.StringFlag{Name: "target-base-url", Usage: "the repository's artifacts are at `URL` (default: targets beside the metadata)"},
		mirrorFlag(),
		&urfave.StringFlag{Name: "instance", Usage: "the repository is that of the Sigstore instance `NAME`: sigstore or staging, from an embedded root, or a URL"},
		&urfave.StringFlag{Name: "root", Usage: "start from the root.json in `FILE` (default: what init put into the metadata directory)"},
		&urfave.BoolFlag{Name: "offline", Usage: "use the metadata directory only"},
		&urfave.StringFlag{Name: "time", Usage: "judge expiry as of `TIME` (RFC 3339, or seconds since 1970) instead of now"},
	}
}

// fetched is an artifact, and how it was verified.
type fetched struct {
	result   *client.Result
	download client.Download
	data     []byte
	url      string // of the metadata; empty: offline
}

// orRoot adds to the hint of a client without a root what these commands alone
// have.
func orRoot(err error) error {
	var none *client.NoAnchorError
	if errors.As(err, &none) {
		return cli.WithHint(err, none.Hint()+", or name it with --root FILE")
	}
	return err
}

// fetch brings one artifact of the repository that the flags name, or of an
// instance.
func fetch(c *urfave.Context, env cli.Env, name, instance string) (*fetched, error) {
	dir, offline := c.String("metadata-dir"), c.Bool("offline")
	o := client.Options{Offline: offline}
	metadataURL, targetsURL := c.String("metadata-url"), c.String("target-base-url")
	var known sigstore.Repository
	if instance != "" {
		var err error
		if known, err = repositoryOf(instance); err != nil {
			return nil, err
		}
		if metadataURL == "" { // else that is a mirror of it
			metadataURL = known.MetadataURL
			if targetsURL == "" {
				targetsURL = known.TargetsURL
			}
		}
	}
	switch {
	case offline && dir == "":
		return nil, cli.Usagef("--offline needs --metadata-dir")
	case !offline && metadataURL == "":
		return nil, cli.Usagef("%s needs --metadata-url, --instance or --offline", c.Command.Name)
	case dir == "" && c.String("root") == "" && known.Root == nil:
		return nil, cli.Usagef("%s needs --root, or a --metadata-dir that init has prepared", c.Command.Name)
	}
	embedded := false
	switch file := c.String("root"); {
	case file != "":
		root, err := client.ReadRoot(file)
		if err != nil {
			return nil, err
		}
		o.Root = root
	case known.Root != nil:
		o.Root, embedded = known.Root, true
	}
	if targetsURL == "" && !offline {
		base, err := location("metadata-url", metadataURL)
		if err != nil {
			return nil, err
		}
		targetsURL = beside(base)
	}
	if instance != "" { // whose mirrors are laid out like it
		var err error
		if o.Mirrors, err = mirrors(c, func(url string) string { return sigstore.At(url).TargetsURL }); err != nil {
			return nil, err
		}
	}
	cl, common, err := newClient(c, env, o, metadataURL, targetsURL)
	if err != nil {
		return nil, orRoot(err)
	}
	result, err := cl.Refresh(c.Context)
	if embedded && len(result.Roots) > 0 {
		common.Log.Info(embeddedRoot(known.Name, result.Roots[0], result.Time))
	}
	if err != nil {
		return nil, orRoot(err)
	}
	common.Log.Debug("refreshed", "result", result)
	f := &fetched{result: result}
	if !offline {
		f.url = withoutPassword(metadataURL)
	}
	if dir == "" {
		f.download.TargetInfo, f.data, err = cl.Read(c.Context, name)
	} else if f.download, err = cl.Download(c.Context, name, filepath.Join(dir, "artifacts")); err == nil {
		// Read and verified once more: what is printed is what was verified,
		// not what lies under the name by now.
		f.data, err = f.download.ReadFile()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// withoutPassword is a URL as people may see it.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

func repositoryOf(instance string) (sigstore.Repository, error) {
	if known, ok := sigstore.Lookup(instance); ok {
		return known, nil
	}
	if !strings.Contains(instance, "://") {
		return sigstore.Repository{}, cli.Usagef("--instance is sigstore, staging or a URL, not %q", instance)
	}
	return sigstore.At(instance), nil
}

// embeddedRoot tells how old the root is that a program brings along. An expired
// one looks alarming and is not.
func embeddedRoot(instance string, root client.RoleState, now time.Time) string {
	text := fmt.Sprintf("starting from root v%d of %s, which this program embeds", root.Version, instance)
	if day := root.Expires.Format(time.DateOnly); now.Before(root.Expires) {
		text += ", valid until " + day
	} else {
		text += fmt.Sprintf("; it expired on %s, %d days ago, which does no harm: later roots are found from it", day, int(now.Sub(root.Expires).Hours()/24))
	}
	return text
}
