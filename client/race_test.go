//go:build race

package client_test

// everyNth thins out what is only a matter of numbers: under the race detector
// it takes ten times as long, and holds no races.
const everyNth = 11
