package main

import (
	"testing"

	"github.com/tufops/tufops/internal/cli"
)

func TestHelp(t *testing.T) {
	for _, problem := range cli.CheckHelp(newApp(machine{})) {
		t.Error(problem)
	}
}
