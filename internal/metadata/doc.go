// Package metadata is the TUF document layer: reading and writing metadata
// files, keys and their ids, the canonical form that is signed, and counting
// signatures towards a threshold.
//
// It owns the bytes. A document is kept as the generic JSON tree it arrived
// as, so that a field nobody here has heard of survives an edit and takes part
// in what is signed; a signature is always checked over the canonical form of
// what was received, never over a struct that was filled from it.
//
// It trusts nothing: every input may come from a stranger. Parsing is bounded
// in depth, never panics, and says where and why it refuses.
//
// It never touches files, git, the network, the clock or a log. Documents are
// immutable once parsed and safe for concurrent use; an edit makes a new one.
//
// Spec: https://theupdateframework.github.io/specification/v1.0.34/
package metadata
