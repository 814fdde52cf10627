//go:build !race

package client_test

const everyNth = 1
