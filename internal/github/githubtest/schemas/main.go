// Command schemas writes the schemas that package githubtest holds itself and its
// clients against, from archives that npm has packed. `make schemas` runs it.
//
// It trusts no archive whose digest is not the one that githubtest knows. It
// uses no network.
//
//	go run ./internal/github/githubtest/schemas DIR ARCHIVES
//	go run ./internal/github/githubtest/schemas      # prints what npm is to pack
package main

import (
	"fmt"
	"os"

	"github.com/tufops/tufops/internal/github/githubtest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		panic(fmt.Sprintf("schemas: %v", err)) // no room but cmd ends the process
	}
}

func run(args []string) error {
	switch len(args) {
	case 0:
		for _, p := range githubtest.Packages {
			fmt.Println(p.Name + "@" + p.Version)
		}
		return nil
	case 2:
		return githubtest.WriteSchemas(args[0], args[1], os.Stdout)
	}
	return fmt.Errorf("it takes the directory to write and the one with the archives, or nothing")
}
