//go:build !race

package publish_test

const slower = 1
