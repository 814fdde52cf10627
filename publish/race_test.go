//go:build race

package publish_test

// The race detector makes everything slower.
const slower = 20
