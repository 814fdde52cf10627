// Command literal publishes a tree that it has put together by itself.
package main

import (
	"context"

	"github.com/tufops/tufops/publish"
)

func publishIt(ctx context.Context, t *publish.Tree) error {
	_, err := publish.Run(ctx, publish.Options{Commit: "main", Publishable: t})
	return err
}

func main() { _ = publishIt }
