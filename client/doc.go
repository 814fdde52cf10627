// Package client is a TUF client: it brings a machine from one root that it was
// given to the artifacts that a repository's signers vouch for, through
// whatever mirror, proxy or attacker lies between.
//
// It owns the client workflow of the specification (section 5), the cache
// directory and the fetching. It trusts one thing: the root in
// [Options.Root], or the one that [Init] put into the cache directory. Nothing
// else is trusted because of where it lies: a file of the cache is verified at
// every start like a file from the network, and one that does not hold is
// ignored. Every length that is read is bounded before it is read.
//
// [Check] is for those who run a repository: it says what is wrong with what
// they publish.
//
// It never writes a file that has not been verified, never asks the clock twice
// in one update, and never mutates [net/http.DefaultClient]. It does not know
// git, nor how a repository is made.
//
// A [Client] is safe for concurrent use, and any number of clients and
// processes may share a cache directory.
//
// Spec: https://theupdateframework.github.io/specification/latest/#detailed-client-workflow
package client
