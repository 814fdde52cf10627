// Tufops-client is a TUF client: it fetches what a repository's signers vouch
// for, and nothing else. It speaks the command line of the TUF conformance
// suite and adds trusted-root, and check for those who run a repository.
package main

import (
	"os"

	"github.com/tufops/tufops/internal/cli"
)

func main() { os.Exit(cli.Main(run)) }
