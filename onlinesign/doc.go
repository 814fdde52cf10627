// Package onlinesign signs what a machine signs: snapshot and timestamp, so that
// clients know what is current, and targets roles that list an online key.
//
// It owns the use of online keys: which key signs what, in which order, and that
// no signature is written before it has been checked with the public key that
// the delegation lists. Where the keys are is behind [Keys].
//
// It trusts package repository's verdict on a commit ([repository.Signable]) and
// nothing that it remembers: every run compares main as it is with what is due
// now, and ends in one commit or none. It may be stopped anywhere and run again.
//
// It never decides what is in a snapshot: those versions have been signed by
// people. It never uploads.
package onlinesign
