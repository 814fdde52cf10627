// Package rehearsal tries a signing event on clients before it is merged: ours,
// and go-tuf's as a second opinion.
//
// It owns two questions. Do clients that start from any root in history reach
// the proposed root, as it is? And do clients of main as it would be published
// today go on with the event, now and while it lives, without losing an
// artifact? For the second the targets roles are taken as they are, byte for
// byte, and stand below a root, a snapshot and a timestamp that are made for the
// occasion: with the same delegations, thresholds and dates, and keys that live
// in memory for as long as the rehearsal and sign for those that nobody has here.
//
// It trusts the clients alone: what a rule or our own model says of the event is
// no reason for a step to succeed. What was never possible on main is not held
// against the event.
//
// It never uses the network, moves nothing in git, asks no clock, and writes
// nothing but the cache of a client in a temporary folder that it removes.
package rehearsal
