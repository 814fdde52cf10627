package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/internal/cli"
)

// memoryDir is where this machine remembers what it has seen and signed:
// $XDG_STATE_HOME, as the XDG base directory specification has it, or
// ~/.local/state.
func memoryDir(env cli.Env) (string, error) {
	if dir := env.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // a relative one is to be ignored
		return filepath.Join(dir, "tufops-sign"), nil
	}
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if home := env.Getenv(name); home != "" {
			return filepath.Join(home, ".local", "state", "tufops-sign"), nil
		}
	}
	return "", cli.WithHint(errors.New("there is no place to remember the roots that were seen: neither XDG_STATE_HOME nor HOME is set"),
		"set HOME, or XDG_STATE_HOME to a folder that only you can write")
}

// published reads the roots that clients get at a URL.
type published struct {
	url   string
	fetch client.Fetcher
}

const maxRoot = 512_000 // what clients take

func (p *published) Root(ctx context.Context, version int64) ([]byte, bool, error) {
	at := fmt.Sprintf("%s/%d.root.json", strings.TrimRight(p.url, "/"), version)
	body, err := p.fetch.Fetch(ctx, at, maxRoot)
	if errors.As(err, new(*client.NotFoundError)) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxRoot+1))
	if err == nil && len(data) > maxRoot {
		err = fmt.Errorf("root version %d has more than %d bytes", version, maxRoot)
	}
	return data, err == nil, err
}

// String is the URL without credentials.
func (p *published) String() string {
	u, err := url.Parse(p.url)
	if err != nil {
		return "the published repository"
	}
	return u.Redacted()
}
