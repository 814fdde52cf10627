// Package repository is the model that the bot, the signer, the publisher and
// the auditor share: the TUF repository at one commit ([State]), a signing
// event between two commits ([Event]), its [Status], the one rule engine, and
// the edits that the format knows.
//
// It owns the meaning of the files described in docs/format.md: which roles
// exist and who delegates to them, which of them an event changes, whose
// signatures are there and whose are missing, and what is wrong.
//
// It trusts nobody's checkout and no file that git merely has on disk: git is
// its source of trees, a commit is the only name a state has. What stands on a
// branch may have been written by a stranger; it becomes findings, never a
// crash.
//
// It never signs, never pushes, never moves a branch, and asks no clock: the
// time is passed in.
package repository
