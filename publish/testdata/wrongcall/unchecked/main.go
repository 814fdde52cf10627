// Command unchecked publishes without asking whether it may.
package main

import (
	"context"

	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

func publishIt(ctx context.Context, p *repository.Published) error {
	_, err := publish.Run(ctx, publish.Options{Commit: p.Commit(), Publishable: p})
	return err
}

func main() { _ = publishIt }
