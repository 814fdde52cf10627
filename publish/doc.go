// Package publish turns one verified commit into the tree that clients read,
// and brings destinations to that tree.
//
// It owns the layout and the order of writes: every state in between serves a
// client at the old root and one at the new. It trusts only a
// [repository.Published], and writes only what a [repository.Publishable] opens;
// what a branch is called, what a workflow says and what a destination claims
// without a signature decide nothing.
//
// [Run] reconciles: it remembers nothing, compares what is there with what
// should be, and closes the difference. A destination is a [Store], whose one way
// to write is a compare-and-swap. Files with a version or a hash in their name
// are written once and never again; only timestamp.json and the two pages for
// people are replaced. Nothing is deleted.
//
// It holds no keys and never signs.
package publish
