package storetest_test

import (
	"testing"

	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Destination {
		m := &storetest.Memory{}
		return storetest.Destination{
			Open: func() publish.Store { return m },
			Public: func(name string) (storetest.Answer, error) {
				contentType, cacheControl := m.Headers(name)
				return storetest.Answer{Content: m.Content()[name], ContentType: contentType, CacheControl: cacheControl}, nil
			},
		}
	})
}
