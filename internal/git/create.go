package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Init makes an empty bare repository in a folder, with main as its default
// branch.
func Init(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r := &Repo{dir: dir}
	if _, err := r.run(ctx, call{args: []string{"init", "--quiet", "--bare", "--initial-branch=main", "."}}); err != nil {
		return fmt.Errorf("make git repository %s: %w", dir, err)
	}
	return nil
}

// CloneOptions say how to clone.
type CloneOptions struct {
	Branch   string    // to check out; "" for the remote's default
	Identity *Identity // of commits in the clone; nil leaves it to git
	// Unsigned turns commit signatures off in the clone, whatever the user has
	// configured.
	Unsigned bool
}

// Clone makes a copy of a repository in a new folder and opens it. No hook or
// template of the user's gets into it.
func Clone(ctx context.Context, from, dir string, o CloneOptions) (*Repo, error) {
	args := []string{"clone", "--quiet", "--template="}
	set := func(key, value string) { args = append(args, "--config", key+"="+value) }
	if o.Identity != nil {
		set("user.name", o.Identity.Name)
		set("user.email", o.Identity.Email)
	}
	if o.Unsigned {
		set("commit.gpgSign", "false")
	}
	if o.Branch != "" {
		args = append(args, "--branch", o.Branch)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	r := &Repo{dir: parent}
	if _, err := r.run(ctx, call{args: append(args, "--", from, dir), prompt: true}); err != nil {
		return nil, fmt.Errorf("clone %s: %w", visible(redact(from)), err)
	}
	return Open(ctx, dir)
}
