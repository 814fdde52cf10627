package storetest_test

import (
	"testing"

	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() publish.Store {
		m := &storetest.Memory{}
		return func() publish.Store { return m }
	})
}
