// Package publish turns one verified commit into the tree that clients read,
// and brings destinations to that tree.
//
// It owns the layout and the order of writes: every state in between serves a
// client at the old root and one at the new. It trusts only a
// [repository.Published]; what a branch is called, what a workflow says and
// what a destination claims decide nothing.
//
// It holds no keys and never signs.
package publish
