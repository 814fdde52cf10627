// Command control publishes what was checked. It compiles; the programs beside
// it, which do not check, must not.
package main

import (
	"context"

	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/repository"
)

func publishIt(ctx context.Context, p *repository.Published) error {
	checked, err := p.Publishable()
	if err != nil {
		return err
	}
	_, err = publish.Run(ctx, publish.Options{Commit: p.Commit(), Publishable: checked})
	return err
}

func main() { _ = publishIt }
