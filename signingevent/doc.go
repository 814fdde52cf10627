// Package signingevent takes one signing event from push to ready: it brings
// targets metadata in line with the artifacts, says what the event changes and
// who still has to sign, and opens events for what is about to expire.
//
// It owns the words in which an event is reported. It trusts the verdict of
// package repository and nothing that a forge says: commit status, draft state
// and comments are written, never read as an input to a decision.
//
// It never signs and never merges.
package signingevent
